# SPDX-License-Identifier: GPL-2.0-or-later
"""A file that takes whole sectors only, as a Windows volume does; and keeps a list of what is done to it.

    strict_volume.py IMAGE FOLDER LOG SECTOR [WRITES]

Shows IMAGE as FOLDER/volume. A read or write whose offset or length is not a multiple of SECTOR fails (EINVAL, which
wine gives on as Windows' 87), one past the end too (ENOSPC), and so does cutting it. LOG gets a line for each write
and flush. With WRITES only so many writes succeed; the rest fail as a disk does that is gone.
"""

import errno
import os
import stat
import sys

from fusepy import FUSE, FuseOSError, Operations


class Volume(Operations):
    def __init__(self, image, log, sector, writes):
        self.image = os.open(image, os.O_RDWR)
        self.length = os.fstat(self.image).st_size
        self.log = open(log, "a", buffering=1)
        self.sector = sector
        self.writes = writes

    def getattr(self, path, fh=None):
        if path == "/":
            return {"st_mode": stat.S_IFDIR | 0o755, "st_nlink": 2}
        if path != "/volume":
            raise FuseOSError(errno.ENOENT)
        return {"st_mode": stat.S_IFREG | 0o600, "st_nlink": 1, "st_size": self.length}

    def readdir(self, path, fh):
        return [".", "..", "volume"]

    def open(self, path, flags):
        return 1

    def check(self, what, offset, length):
        # Wine looks at a few bytes at the start by itself when it opens the file.
        probe = what == "read" and offset == 0 and length < 64
        if not probe and (offset % self.sector or length % self.sector):
            self.log.write(f"unaligned {what} {offset} {length}\n")
            raise FuseOSError(errno.EINVAL)

    def read(self, path, size, offset, fh):
        self.check("read", offset, size)
        return os.pread(self.image, size, offset)

    def write(self, path, data, offset, fh):
        self.check("write", offset, len(data))
        if offset + len(data) > self.length:
            raise FuseOSError(errno.ENOSPC)
        if self.writes is not None:
            if self.writes == 0:
                raise FuseOSError(errno.EIO)
            self.writes -= 1
        self.log.write(f"write {offset} {len(data)}\n")
        return os.pwrite(self.image, data, offset)

    def truncate(self, path, length, fh=None):
        raise FuseOSError(errno.EPERM)

    def fsync(self, path, datasync, fh):
        self.log.write("flush\n")
        return 0


def main():
    image, folder, log, sector, *writes = sys.argv[1:]
    volume = Volume(image, log, int(sector), int(writes[0]) if writes else None)
    FUSE(volume, folder, foreground=True, nothreads=True, direct_io=True)


main()
