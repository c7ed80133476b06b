# SPDX-License-Identifier: GPL-2.0-or-later
"""Reads a VHD or VHDX with libvhdi, or a VHDX with dissect.

  read_vhd.py OUT IMAGE [PARENT ...]             the disk as a raw file with holes
  read_vhd.py --at OFFSET,... IMAGE [PARENT ...]  4096 bytes at each offset, one after the other, to standard output
  read_vhd.py --dissect OUT IMAGE                the VHDX as a raw file with holes; it finds parents itself

Parents stand in the order of the chain: the image's own first.
"""

import sys
from pathlib import Path

CHUNK = 1 << 20


def open_chain(paths):
    import pyvhdi

    files = []
    for path in paths:
        file = pyvhdi.file()
        file.open(path)
        files.append(file)
    for child, parent in reversed(list(zip(files, files[1:]))):
        child.set_parent(parent)
    return files


def pieces_of_dissect(image):
    """Whole blocks: in the middle of one, dissect may miss the last bits of a bitmap."""
    from dissect.hypervisor.disk.vhdx import VHDX

    disk = VHDX(Path(image))
    block = disk.block_size // disk.sector_size
    sectors = disk.size // disk.sector_size
    for sector in range(0, sectors, block):
        yield sector * disk.sector_size, disk.read_sectors(sector, min(block, sectors - sector))


def pieces_of_libvhdi(disk):
    size = disk.get_media_size()
    for offset in range(0, size, CHUNK):
        yield offset, disk.read_buffer_at_offset(min(CHUNK, size - offset), offset)


def main():
    if sys.argv[1] == "--at":
        disk, *_parents = open_chain(sys.argv[3:])
        for offset in sys.argv[2].split(","):
            sys.stdout.buffer.write(disk.read_buffer_at_offset(4096, int(offset)))
        return
    if sys.argv[1] == "--dissect":
        name, pieces = sys.argv[2], pieces_of_dissect(sys.argv[3])
    else:
        disk, *_parents = open_chain(sys.argv[2:])
        name, pieces = sys.argv[1], pieces_of_libvhdi(disk)
    end = 0
    with open(name, "wb") as out:
        for offset, data in pieces:
            if data.strip(b"\0"):
                out.seek(offset)
                out.write(data)
            end = offset + len(data)
        out.truncate(end)


main()
