# SPDX-License-Identifier: GPL-2.0-or-later
"""Descriptors in hexadecimal, one a line, as SDDL by Samba, with the rights of files in hexadecimal."""
import sys

from samba.dcerpc import security
from samba.ndr import ndr_unpack

DOMAIN = security.dom_sid("S-1-5-21-1-2-3")
for line in sys.stdin:
    found = ndr_unpack(security.descriptor, bytes.fromhex(line.strip()))
    entries = [] if found.dacl is None else found.dacl.aces
    # as_sddl knows the directory's names for rights, not those of files: so entry by entry.
    shown = "".join(f"({ace.type};{ace.flags:#x};{ace.access_mask:#x};{ace.trustee})" for ace in entries)
    print(f"O:{found.owner_sid}G:{found.group_sid}C:{found.type:#06x}D:{shown}")
