# SPDX-License-Identifier: GPL-2.0-or-later
"""The security descriptors of files on an NTFS volume, as dissect.ntfs finds them.

descriptors.py IMAGE OFFSET PATH...     prints for each path: id, a tab, the descriptor in hexadecimal
"""
import sys

from dissect.ntfs import NTFS
from dissect.ntfs.c_ntfs import ATTRIBUTE_TYPE_CODE


class Window:
    """A volume inside a disk."""

    def __init__(self, file, offset):
        self.file, self.offset = file, offset

    def seek(self, to, whence=0):
        return self.file.seek(self.offset + to if whence == 0 else to, whence) - self.offset

    def tell(self):
        return self.file.tell() - self.offset

    def read(self, count=-1):
        return self.file.read(count)


with open(sys.argv[1], "rb") as disk:
    volume = NTFS(Window(disk, int(sys.argv[2])))
    for path in sys.argv[3:]:
        record = volume.mft.get(path)
        standard = record.attributes[ATTRIBUTE_TYPE_CODE.STANDARD_INFORMATION][0]
        number = standard.security_id
        stream = volume.secure.sds
        for entry in volume.secure.sii.entries():
            head = entry.data
            if int.from_bytes(head[4:8], "little") == number:
                stream.seek(int.from_bytes(head[8:16], "little"))
                whole = stream.read(int.from_bytes(head[16:20], "little"))
                assert whole[:20] == head[:20], "the entry in $SDS is another one"
                print(f"{number}\t{whole[20:].hex()}")
                break
        else:
            print(f"{number}\tnone")
