# SPDX-License-Identifier: GPL-2.0-or-later
"""Registry policy files as Samba writes and reads them. Lines of JSON on standard input, one answer for each.

    {"write": "FILE", "entries": [[key, value, type, "hex"], ...]}    -> true
    {"read": "FILE"}                                                  -> the entries, or null where Samba refuses it
"""

import json
import sys

from samba.dcerpc import preg
from samba.ndr import ndr_pack, ndr_unpack

REG_SZ, REG_EXPAND_SZ, REG_BINARY, REG_DWORD = 1, 2, 3, 4


def entry(key, value, kind, data):
    """Samba keeps data as its type has it: a number, text without its terminator, or bytes."""
    made = preg.entry()
    made.keyname, made.valuename, made.type = key, value, kind
    data = bytes.fromhex(data)
    made.size = len(data)
    if kind == REG_DWORD:
        made.data = int.from_bytes(data, "little")
    elif kind in (REG_SZ, REG_EXPAND_SZ):
        made.data = data.decode("utf-16-le").rstrip("\0")
    else:
        made.data = data
    return made


def raw(found):
    if found.type == REG_DWORD:
        return found.data.to_bytes(4, "little")
    if found.type in (REG_SZ, REG_EXPAND_SZ):
        return (found.data + "\0").encode("utf-16-le")
    return bytes(found.data)


def write(path, entries):
    made = preg.file()
    made.header.signature, made.header.version = "PReg", 1
    made.num_entries = len(entries)
    made.entries = [entry(*fields) for fields in entries]
    with open(path, "wb") as target:
        target.write(ndr_pack(made))
    return True


def read(path):
    with open(path, "rb") as source:
        content = source.read()
    try:
        found = ndr_unpack(preg.file, content)
    except RuntimeError:
        return None
    return [[one.keyname, one.valuename, one.type, raw(one).hex()] for one in found.entries]


for line in sys.stdin:
    asked = json.loads(line)
    print(json.dumps(write(asked["write"], asked["entries"]) if "write" in asked else read(asked["read"])))
