#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints a whole hive as a foreign reader sees it: a line of JSON for each key.

    read_hive.py hivex|python-registry|dissect|libregf|regipy FILE [KEY]

{"key": "A\\B", "class": "text" or null, "values": [["name", type, "hex of the data"], ...]}
The root's path is "", an unnamed value's name is "". With KEY, that key and what is below it.
regipy has no way to the raw data: its lines hold the type as text and the value as it decodes it.
"""

import json
import sys


def hivex(path):
    import hivex

    hive = hivex.Hivex(path)

    def values(node):
        return [[hive.value_key(value), *raw(hive.value_value(value))] for value in hive.node_values(node)]

    def raw(pair):
        return pair[0], pair[1].hex()

    def children(node):
        return [(hive.node_name(child), child) for child in hive.node_children(node)]

    return hive.root(), children, values, lambda node: None


def python_registry(path):
    from Registry import Registry

    def values(key):
        found = []
        for value in key.values():
            record = value._vkrecord
            found.append([record.name() if record.has_name() else "", record.unpack_dword(0xC), raw(record).hex()])
        return found

    def raw(record):
        size = record.unpack_dword(0x4)
        if size & 0x80000000:  # inline: raw_data() would give all four bytes, or none for a device property
            return record.unpack_binary(0x8, size & 0x7FFFFFFF)
        return record.raw_data()[:size]

    def class_name(key):
        record = key._nkrecord
        return record.classname() if record.has_classname() else None

    return Registry.Registry(path).root(), lambda key: [(sub.name(), sub) for sub in key.subkeys()], values, class_name


def dissect(path):
    from dissect.regf import regf

    hive = regf.RegistryHive(open(path, "rb"))

    def values(key):
        return [[value.name if value.cell.NameLength else "", value.type, value.data.hex()] for value in key.values()]

    return hive.root(), lambda key: [(sub.name, sub) for sub in key.subkeys()], values, lambda key: key.class_name


def libregf(path):
    import pyregf

    hive = pyregf.open(path)

    def values(key):
        return [[value.name or "", value.type, (value.data or b"").hex()] for value in key.values]

    # Its keys do not keep the file open.
    def children(key, hive=hive):
        return [(sub.name, sub) for sub in key.sub_keys]

    return hive.get_root_key(), children, values, lambda key: key.class_name


def regipy(path):
    from regipy.registry import RegistryHive

    def values(key):
        found = []
        for value in key.iter_values(as_json=True, trim_values=False):
            found.append(["" if value.name == "(default)" else value.name, str(value.value_type), str(value.value)])
        return found

    def class_name(key):
        return key.get_class_name() if key.header.class_name_size else None

    root = RegistryHive(path).root
    return root, lambda key: [(sub.name, sub) for sub in key.iter_subkeys()] if key.subkey_count else [], values, class_name


READERS = {"hivex": hivex, "python-registry": python_registry, "dissect": dissect, "libregf": libregf, "regipy": regipy}


def main():
    reader, path, *only = sys.argv[1:]
    root, children, values, class_name = READERS[reader](path)
    top = ""
    for part in only[0].split("\\") if only else []:
        match = [pair for pair in children(root) if pair[0].upper() == part.upper()]
        if not match:
            return
        top, root = f"{top}\\{match[0][0]}" if top else match[0][0], match[0][1]
    stack = [(top, root)]
    while stack:
        name, key = stack.pop()
        print(json.dumps({"key": name, "class": class_name(key) or None, "values": values(key)}))
        for child, node in children(key):
            stack.append((f"{name}\\{child}" if name else child, node))


if __name__ == "__main__":
    main()
