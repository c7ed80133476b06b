#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes an NTFS image whose $MFT is in so many pieces that it has an attribute list: make_fragmented_mft.sh IMAGE
set -eu
image=$1
PATH=$PATH:/usr/sbin:/sbin
folder=$(mktemp -d)
truncate -s 8M "$image"
mkntfs -q -Q -F -c 1024 "$image" >/dev/null 2>&1
ntfs-3g -o big_writes "$image" "$folder"
trap 'umount "$folder" 2>/dev/null || true; rmdir "$folder"' EXIT
mkdir "$folder/fill" "$folder/names"
i=0
while head -c 1024 /dev/zero > "$folder/fill/$i"; do i=$((i + 1)); done 2>/dev/null
rm -f "$folder"/fill/*[02468]
# More files than records came free: $MFT grows into the gaps.
for i in $(seq 1 1900); do echo "content $i" > "$folder/names/n$i"; done
sync
umount "$folder"
while fuser -s "$image" 2>/dev/null; do sleep 0.05; done
