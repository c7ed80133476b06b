# SPDX-License-Identifier: GPL-2.0-or-later
"""The accounts of a SAM as impacket sees them: one line each, `rid name nt-hash`, by tabs.

    sam_dump.py SAM SYSTEM
"""

import sys

from impacket.examples.secretsdump import LocalOperations, SAMHashes

lines = []
boot_key = LocalOperations(sys.argv[2]).getBootKey()
SAMHashes(sys.argv[1], boot_key, isRemote=False, perSecretCallback=lines.append).dump()
for line in lines:
    name, rid, _, nt = line.split(":")[:4]
    print(rid, name, nt, sep="\t")
