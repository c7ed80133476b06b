# SPDX-License-Identifier: GPL-2.0-or-later
"""Dumps registry hives with a reader that is not ours.

    dump_hive.py hivex|python-registry|dissect|libregf HIVE...

For every HIVE a file HIVE.READER is written, one line for each key and value:

    K<tab>path<tab>last written
    V<tab>path<tab>name<tab>type<tab>length<tab>data in hexadecimal, or its SHA-256 above 64 bytes

Paths and names are written as Python literals without quotes, so that no name breaks a line. A hive that the
reader cannot read whole gets a single line "E<tab>reason" instead.
"""

import hashlib
import logging
import sys

logging.disable(logging.CRITICAL)


def text(name):
    return ascii(name)[1:-1]


def shown(data):
    return data.hex() if len(data) <= 64 else hashlib.sha256(data).hexdigest()


def key_line(path, written):
    return f"K\t{text(path)}\t{written}"


def value_line(path, name, kind, data):
    return f"V\t{text(path)}\t{text(name)}\t{kind}\t{len(data)}\t{shown(data)}"


def below(path, name):
    return f"{path}\\{name}" if path else name


def walk(root, children):
    """Yields (path, key) from the root down, without recursion."""
    pending = [("", root)]
    while pending:
        path, key = pending.pop()
        yield path, key
        pending.extend((below(path, name), child) for name, child in children(key))


def hivex_lines(file):
    import hivex

    hive = hivex.Hivex(file)

    def children(node):
        return [(hive.node_name(child), child) for child in hive.node_children(node)]

    for path, node in walk(hive.root(), children):
        yield key_line(path, hive.node_timestamp(node))
        for value in hive.node_values(node):
            kind, data = hive.value_value(value)
            yield value_line(path, hive.value_key(value), kind, data)


def python_registry_lines(file):
    from Registry import Registry

    hive = Registry.Registry(file)

    def children(key):
        return [(child.name(), child) for child in key.subkeys()]

    for path, key in walk(hive.root(), children):
        yield key_line(path, key._nkrecord.unpack_qword(4))
        for value in key.values():
            data = value.raw_data() or b""
            yield value_line(path, value.name(), value.value_type(), bytes(data))


def dissect_lines(file):
    from dissect.regf import regf

    with open(file, "rb") as handle:
        hive = regf.RegistryHive(handle)

        def children(key):
            return [(child.name, child) for child in key.subkeys()]

        for path, key in walk(hive.root(), children):
            yield key_line(path, key.cell.LastWriteTime)
            for value in key.values():
                yield value_line(path, value.name, value.type, value.data)


def libregf_lines(file):
    import pyregf

    hive = pyregf.open(file)

    def children(key):
        return [(child.name, child) for child in key.sub_keys]

    for path, key in walk(hive.get_root_key(), children):
        yield key_line(path, key.get_last_written_time_as_integer())
        for value in key.values:
            yield value_line(path, value.name or "", value.type, value.data or b"")


READERS = {
    "hivex": hivex_lines,
    "python-registry": python_registry_lines,
    "dissect": dissect_lines,
    "libregf": libregf_lines,
}


def main():
    reader = sys.argv[1]
    for file in sys.argv[2:]:
        try:
            lines = list(READERS[reader](file))
        except ImportError:
            raise
        except Exception as error:  # whatever a reader throws at a hive it does not like
            lines = [f"E\t{type(error).__name__}: {error}".splitlines()[0]]
        with open(f"{file}.{reader}", "w", encoding="ascii", errors="backslashreplace") as out:
            out.write("\n".join(lines) + "\n")


main()
