#!/bin/sh
# SPDX-License-Identifier: GPL-2.0-or-later
# Makes an NTFS image with one file of each kind: make.sh IMAGE MIB CLUSTER SECTOR NAMES
set -eu
image=$1 mib=$2 cluster=$3 sector=$4 names=$5
PATH=$PATH:/usr/sbin:/sbin
folder=$(mktemp -d)
truncate -s "${mib}M" "$image"
mkntfs -q -Q -F -L "Label ä" -c "$cluster" -s "$sector" -p 2048 -H 255 -S 63 "$image" >/dev/null 2>&1
# The same bytes each time, of any length.
bytes() { openssl enc -aes-128-ctr -K "$1" -iv 0 -in /dev/zero 2>/dev/null | head -c "$2" || true; }
mount() { ntfs-3g -o big_writes "$image" "$folder"; }
unmount() { fusermount3 -u "$folder" || umount "$folder"; while mountpoint -q "$folder"; do sleep 0.05; done; }
mount
trap 'umount "$folder" 2>/dev/null || true; rmdir "$folder"' EXIT
cd "$folder"

mkdir -p Windows/System32/config 'Ünïcode 日本 😀'
bytes 01 1000000 > Windows/System32/config/SYSTEM
bytes 02 100 > Windows/System32/config/small
: > Windows/System32/config/empty
bytes 03 5000 > 'Ünïcode 日本 😀/naïve Ω.txt'
bytes 04 70000 > linked
ln linked Windows/linked-again
bytes 05 20 > 'a long name with a short one.txt'
setfattr -n system.ntfs_dos_name -v ALONGN~1.TXT 'a long name with a short one.txt'
setfattr -n system.ntfs_dos_name -v SYSTEM~9 Windows/System32/config/SYSTEM
bytes 06 50 > Case
bytes 07 60 > case
bytes 08 9000 > sparse
truncate -s 3000000 sparse
bytes 09 9000 >> sparse
bytes 0a 300000 > initialised
# A file as "compact /exe" leaves it, a junction, and a symbolic link.
bytes 10 3000 > wof
setfattr -n system.ntfs_reparse_data -v 0x170000801000000001000000020000000100000000000000 wof
mkdir junction
setfattr -n system.ntfs_reparse_data -v 0x030000a03c00000000001c001e0014005c003f003f005c0043003a005c00570069006e0064006f0077007300000043003a005c00570069006e0064006f00770073000000 junction
ln -s Windows link
# Enough names for index blocks and inner nodes.
mkdir many
for i in $(seq 1 "$names"); do echo "$i" > "many/file with the number $i"; done
rm -f many/*7

if [ "$cluster" -le 4096 ]; then
    mkdir compressed
    setfattr -n system.ntfs_attrib -v 0x00080000 compressed
    yes "a line that repeats itself, as lines in logs do" | head -c 200000 > compressed/text
    bytes 0b 150000 > compressed/random
    head -c 300000 /dev/zero > compressed/zeros
    { bytes 0c 70000; head -c 100000 /dev/zero; seq 1 20000; bytes 0d 3333; } > compressed/mixed
    bytes 0e 30 > compressed/resident
fi

# A file in very many pieces: its mapping needs an attribute list.
mkdir fill
if [ "$cluster" -eq 4096 ]; then
    i=0
    while head -c 4096 /dev/zero > "fill/$i"; do i=$((i + 1)); done 2>/dev/null
    rm -f fill/*[02468]
fi
cd /
sync
unmount
mount
bytes 0f 3000000 > "$folder/fragmented" || true
rm -rf "$folder/fill"
unmount
