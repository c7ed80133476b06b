# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a VHD or VHDX with libvhdi.

  read_vhd.py OUT IMAGE [PARENT ...]             the disk as a raw file with holes
  read_vhd.py --at OFFSET,... IMAGE [PARENT ...]  4096 bytes at each offset, one after the other, to standard output

Parents stand in the order of the chain: the image's own first.
"""

import sys

import pyvhdi

CHUNK = 1 << 20


def open_chain(paths):
    files = []
    for path in paths:
        file = pyvhdi.file()
        file.open(path)
        files.append(file)
    for child, parent in reversed(list(zip(files, files[1:]))):
        child.set_parent(parent)
    return files


def main():
    if sys.argv[1] == "--at":
        disk, *_parents = open_chain(sys.argv[3:])
        for offset in sys.argv[2].split(","):
            sys.stdout.buffer.write(disk.read_buffer_at_offset(4096, int(offset)))
        return
    disk, *_parents = open_chain(sys.argv[2:])
    size = disk.get_media_size()
    with open(sys.argv[1], "wb") as out:
        for offset in range(0, size, CHUNK):
            wanted = min(CHUNK, size - offset)
            data = disk.read_buffer_at_offset(wanted, offset)
            if len(data) != wanted:
                sys.exit(f"{len(data)} of {wanted} bytes at {offset}")
            if data.strip(b"\0"):
                out.seek(offset)
                out.write(data)
        out.truncate(size)


main()
