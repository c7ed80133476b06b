#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes an NTFS image whose free space is in very many pieces: make_scattered.sh IMAGE KIB CLUSTER SECTOR
set -eu
image=$1 kib=$2 cluster=$3 sector=$4
PATH=$PATH:/usr/sbin:/sbin
folder=$(mktemp -d)
truncate -s "${kib}K" "$image"
mkntfs -q -Q -F -c "$cluster" -s "$sector" -p 2048 -H 255 -S 63 "$image" >/dev/null 2>&1
unmount() { fusermount3 -u "$folder" || umount "$folder"; while mountpoint -q "$folder"; do sleep 0.05; done; }
ntfs-3g -o big_writes "$image" "$folder"
trap 'umount "$folder" 2>/dev/null || true; rmdir "$folder"' EXIT
cd "$folder"
echo small > resident
head -c 5000 /dev/urandom > clusters
# Each takes one cluster, or the fewest with which a content does not fit a record.
length=$((cluster > 4096 ? cluster : 4096))
mkdir fill
i=0
while head -c "$length" /dev/zero > "fill/$i"; do i=$((i + 1)); done 2>/dev/null
rm -f fill/*[02468]
cd /
unmount
