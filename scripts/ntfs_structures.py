# SPDX-License-Identifier: GPL-2.0-or-later
"""What the records of an NTFS journal change: MFT records, index blocks and plain bytes, each operation by itself.

An implementation for tests, made from the format alone: it shares nothing with the program that it is to judge.
Operations raise `Impossible` where they do not fit the structure that they find.
"""

import struct

SECTOR = 512
PAGE = 4096

# Operations by what they change; UpdateNonresidentValue (8) is on index blocks or on plain bytes.
ON_RECORDS = {0x02, 0x03, 0x04, 0x05, 0x06, 0x07, 0x09, 0x0B, 0x0C, 0x0D, 0x11, 0x13, 0x21, 0x25}
ON_BLOCKS = {0x0E, 0x0F, 0x10, 0x12, 0x14, 0x22}
ON_BITS = {0x15, 0x16}
UPDATE_NONRESIDENT = 0x08
CHANGING = ON_RECORDS | ON_BLOCKS | ON_BITS | {UPDATE_NONRESIDENT}

LSN_MASK = (1 << 64) - 1
DATA, ROOT, ALLOCATION, END = 0x80, 0x90, 0xA0, 0xFFFFFFFF


class Impossible(Exception):
    """What was to be done does not fit what is there."""


def need(condition, text):
    if not condition:
        raise Impossible(text)


def u16(buffer, at):
    return struct.unpack_from("<H", buffer, at)[0]


def u32(buffer, at):
    return struct.unpack_from("<I", buffer, at)[0]


def u64(buffer, at):
    return struct.unpack_from("<Q", buffer, at)[0]


def put(buffer, at, form, value):
    struct.pack_into("<" + form, buffer, at, value)


class Image:
    """Part of a file from an offset, with changes kept in memory."""

    def __init__(self, file, offset, changed=None):
        self.file, self.offset, self.changed = file, offset, changed or {}

    def branch(self):
        return Image(self.file, self.offset, dict(self.changed))

    def original(self, at, length):
        self.file.seek(self.offset + at)
        data = self.file.read(length)
        return data + bytes(length - len(data))

    def read(self, at, length):
        first, last = at // PAGE, (at + length - 1) // PAGE
        if not any(page in self.changed for page in range(first, last + 1)):
            return self.original(at, length)
        whole = b"".join(self.changed.get(page) or self.original(page * PAGE, PAGE) for page in range(first, last + 1))
        return whole[at - first * PAGE : at - first * PAGE + length]

    def write(self, at, data):
        first, last = at // PAGE, (at + len(data) - 1) // PAGE
        whole = bytearray(self.read(first * PAGE, (last - first + 1) * PAGE))
        whole[at - first * PAGE : at - first * PAGE + len(data)] = data
        for page in range(first, last + 1):
            self.changed[page] = bytes(whole[(page - first) * PAGE : (page - first + 1) * PAGE])

    def patch(self):
        """The sectors that differ from the file, as (offset, bytes)."""
        found = []
        for page in sorted(self.changed):
            old, new = self.original(page * PAGE, PAGE), self.changed[page]
            for at in range(0, PAGE, SECTOR):
                if old[at : at + SECTOR] != new[at : at + SECTOR]:
                    found.append((page * PAGE + at, new[at : at + SECTOR]))
        return found


def unprotect(data, magic):
    """The structure without its update sequence, or None where it is not one or is torn."""
    if data[:4] != magic:
        return None
    buffer, at, count = bytearray(data), u16(data, 4), u16(data, 6)
    if count != len(data) // SECTOR + 1 or at + 2 * count > SECTOR - 2:
        return None
    for sector in range(1, count):
        tail = sector * SECTOR - 2
        if buffer[tail : tail + 2] != buffer[at : at + 2]:
            return None
        buffer[tail : tail + 2] = buffer[at + 2 * sector : at + 2 * sector + 2]
    return buffer


def protect(buffer):
    """The bytes for the disk, under the next update sequence number."""
    out, at = bytearray(buffer), u16(buffer, 4)
    put(out, at, "H", u16(out, at) % 0xFFFF + 1)
    for sector in range(1, u16(out, 6)):
        tail = sector * SECTOR - 2
        out[at + 2 * sector : at + 2 * sector + 2] = out[tail : tail + 2]
        out[tail : tail + 2] = out[at : at + 2]
    return bytes(out)


def mapping(record, at):
    """(VCN, LCN or None, clusters) of each run of a non-resident attribute."""
    position, end = at + u16(record, at + 0x20), at + u32(record, at + 4)
    vcn, lcn, found = u64(record, at + 0x10), 0, []
    while position < end and record[position]:
        lengths, offsets = record[position] & 15, record[position] >> 4
        need(0 < lengths <= 8 and offsets <= 8 and position + 1 + lengths + offsets <= end, "mapping pairs are damaged")
        count = int.from_bytes(record[position + 1 : position + 1 + lengths], "little", signed=True)
        need(count > 0, "a run of no clusters")
        position += 1 + lengths
        lcn += int.from_bytes(record[position : position + offsets], "little", signed=True)
        found.append((vcn, lcn if offsets else None, count))
        vcn, position = vcn + count, position + offsets
    return found


def attributes(record):
    """Offsets of the attributes; checks that they fill exactly what the record says it uses."""
    at, used, previous, found = u16(record, 0x14), u32(record, 0x18), 0, []
    need(used <= u32(record, 0x1C) <= len(record), f"a record uses {used:#x} bytes")
    while True:
        need(at % 8 == 0 and at + 8 <= used, f"the attributes leave the record at {at:#x}")
        kind = u32(record, at)
        if kind == END:
            need(at + 8 == used, f"the attributes end at {at:#x} of {used:#x} bytes")
            return found
        length = u32(record, at + 4)
        need(kind >= previous and length % 8 == 0 and length >= 0x18, f"an attribute at {at:#x} has length {length:#x}")
        previous = kind
        found.append(at)
        at += length


def attribute_name(record, at):
    start = at + u16(record, at + 0x0A)
    return bytes(record[start : start + 2 * record[at + 9]]).decode("utf-16-le", "replace")


def entries(buffer, header):
    """Offsets of the entries of an index, the last one included; `header` is where its header is."""
    at, end, found = header + u32(buffer, header), header + u32(buffer, header + 4), []
    while True:
        need(at + 0x10 <= end <= len(buffer), f"the entries of an index leave it at {at:#x}")
        length = u16(buffer, at + 8)
        need(length >= 0x10 and length % 8 == 0, f"an entry at {at:#x} has length {length:#x}")
        found.append(at)
        if buffer[at + 0x0C] & 2:
            need(at + length == end, f"the entries of an index end at {at + length:#x}, not {end:#x}")
            return found
        at += length


def grow(buffer, used, at, count):
    """Opens (or closes, with a negative count) a gap before `at`, in what is used."""
    if count >= 0:
        need(used + count <= len(buffer), f"no room for {count} bytes more")
        buffer[at + count : used + count] = buffer[at:used]
    else:
        buffer[at : used + count] = buffer[at - count : used]


def resize_record(record, at, count):
    used = u32(record, 0x18)
    need(used + count <= u32(record, 0x1C), f"no room in the record for {count} bytes more")
    grow(record, used, at, count)
    put(record, 0x18, "I", used + count)


def resize_attribute(record, at, length):
    """Changes the length of an attribute at its end; what is new is zero."""
    length, old = -(-length // 8) * 8, u32(record, at + 4)
    resize_record(record, at + min(old, length), length - old)
    if length > old:
        record[at + old : at + length] = bytes(length - old)
    put(record, at + 4, "I", length)


def links(record, attribute, change):
    if attribute[8] == 0 and attribute[0x16] & 1:
        put(record, 0x12, "H", u16(record, 0x12) + change)


def change_index(buffer, header, op, at, data):
    """What is the same on an index root and an index block. True when `op` was one of these."""
    found = entries(buffer, header)
    need(at in found, f"no entry begins at {at:#x}")
    end, length = found[-1], u16(buffer, at + 8)
    if op in (0x11, 0x12):
        need(len(data) == 8 and buffer[at + 0x0C] & 1, "the entry has no node below it")
        buffer[at + length - 8 : at + length] = data
    elif op in (0x13, 0x14):
        need(len(data) == 0x38 and length >= 0x50, "no file name to be changed")
        buffer[at + 0x18 : at + 0x50] = data
    elif op in (0x21, 0x22):
        start = at + u16(buffer, at)
        need(start + len(data) <= at + length, "the data of the entry are shorter")
        buffer[start : start + len(data)] = data
    elif op in (0x0D, 0x0F):
        need(at != end, "the last entry was to be removed")
    else:
        need(len(data) >= 0x10 and u16(data, 8) == len(data), "an entry of another length")


def on_record(record, op, at, offset, data, other):
    """An operation on an MFT record; `at` is the attribute, `other` the length of the record's other half."""
    size = len(data)
    if op == 0x02:
        need(at + size <= len(record), "the record is shorter")
        record[at : at + size] = data
        need(record[:4] == b"FILE", "not a record")
        return
    if op == 0x03:
        put(record, 0x16, "H", u16(record, 0x16) & ~1)
        put(record, 0x10, "H", u16(record, 0x10) % 0xFFFF + 1)
        return
    if op == 0x04:
        need(at + size <= len(record), "the record is shorter")
        record[at : at + size] = data
        put(record, 0x18, "I", -(-(at + size) // 8) * 8)
    elif op == 0x25:
        need(at + offset + size <= len(record), "the record is shorter")
        record[at + offset : at + offset + size] = bytes(size)
    else:
        starts = attributes(record)
        if op == 0x05:
            length = u32(data, 4)
            need(at in starts or at == u32(record, 0x18) - 8, f"no attribute begins at {at:#x}")
            need(0x18 <= length <= size and length % 8 == 0, "the new attribute has another length")
            resize_record(record, at, length)
            record[at : at + length] = data[:length]
            links(record, data, 1)
            put(record, 0x28, "H", max(u16(record, 0x28), u16(data, 0x0E) + 1))
        else:
            need(at in starts, f"no attribute begins at {at:#x}")
            on_attribute(record, op, at, offset, data, other)
    attributes(record)


def on_attribute(record, op, at, offset, data, other):
    length, size, resident = u32(record, at + 4), len(data), record[at + 8] == 0
    if op == 0x06:
        links(record, record[at : at + length], -1)
        resize_record(record, at, -length)
    elif op == 0x07:
        if size != other:
            need(resident and offset >= u16(record, at + 0x14), "a value that is not resident")
            resize_attribute(record, at, offset + size)
            put(record, at + 0x10, "I", offset + size - u16(record, at + 0x14))
            length = u32(record, at + 4)
        need(offset + size <= length, "the attribute is shorter")
        record[at + offset : at + offset + size] = data
        record[at + offset + size : at + length] = (
            bytes(length - offset - size) if size != other else record[at + offset + size : at + length]
        )
    elif op == 0x09:
        need(not resident and u16(record, at + 0x20) <= offset <= length, "no mapping pairs there")
        resize_attribute(record, at, offset + size)
        length = u32(record, at + 4)
        record[at + offset : at + length] = data + bytes(length - offset - size)
        runs = mapping(record, at)
        last = runs[-1][0] + runs[-1][2] if runs else u64(record, at + 0x10)
        put(record, at + 0x18, "Q", (last - 1) & LSN_MASK)
    elif op == 0x0B:
        need(not resident and size in (0x18, 0x20), "sizes of another form")
        for field, value in zip((0x28, 0x38, 0x30, 0x40), struct.unpack(f"<{size // 8}Q", data)):
            put(record, at + field, "Q", value)
    else:
        need(resident and u32(record, at) == ROOT, "not an index root")
        header = at + u16(record, at + 0x14) + 0x10
        change_index(record, header, op, at + offset, data)
        if op in (0x0C, 0x0D):
            more = size if op == 0x0C else -u16(record, at + offset + 8)
            resize_record(record, at + offset, more)
            if op == 0x0C:
                record[at + offset : at + offset + size] = data
            for field in (at + 4, at + 0x10, header + 4, header + 8):
                put(record, field, "I", u32(record, field) + more)
        entries(record, header)


def on_block(block, op, offset, data):
    """An operation on an index block, whose header of the index is at 18h."""
    header, size = 0x18, len(data)
    if op == UPDATE_NONRESIDENT:
        need(offset + size <= len(block), "the block is shorter")
        block[offset : offset + size] = data
    elif op == 0x10:
        need(offset in entries(block, header) and offset + size <= header + u32(block, header + 8), "no entry there")
        block[offset : offset + size] = data
        put(block, header + 4, "I", offset + size - header)
    else:
        change_index(block, header, op, offset, data)
        used = u32(block, header + 4)
        if op in (0x0E, 0x0F):
            more = size if op == 0x0E else -u16(block, offset + 8)
            need(used + more <= u32(block, header + 8), "no room in the block")
            grow(block, header + used, offset, more)
            if op == 0x0E:
                block[offset : offset + size] = data
            put(block, header + 4, "I", used + more)
    entries(block, header)


def on_bits(data, op, payload):
    """The bytes with a range of bits set or cleared."""
    need(len(payload) == 8, "a range of bits of another form")
    first, count = struct.unpack("<II", payload)
    need(first + count <= 8 * len(data), "bits outside of the clusters")
    out = bytearray(data)
    for bit in range(first, first + count):
        if op == 0x15:
            out[bit // 8] |= 1 << bit % 8
        else:
            out[bit // 8] &= ~(1 << bit % 8) & 0xFF
    return bytes(out)


class Volume:
    """The NTFS volume in an image."""

    def __init__(self, image):
        self.image = image
        boot = image.read(0, SECTOR)
        need(boot[3:7] == b"NTFS", "no NTFS volume begins here")
        sector, per = u16(boot, 0x0B), boot[0x0D]
        self.cluster = sector * (per if per <= 0x80 else 1 << (256 - per))
        self.clusters = u64(boot, 0x28) * sector // self.cluster
        self.record_size, self.index_size = (self.size(boot[at]) for at in (0x40, 0x44))
        # Large clusters give room for copies of more than four records: no more than those before the users'.
        self.mirror = u64(boot, 0x38) * self.cluster
        self.mirrored = min(24, max(4, self.cluster // self.record_size))
        self.per_page = max(1, PAGE // self.cluster)
        first = unprotect(image.read(u64(boot, 0x30) * self.cluster, self.record_size), b"FILE")
        need(first, "the record of $MFT is torn")
        self.mft = self.find(first, DATA)

    def size(self, code):
        return code * self.cluster if code < 0x80 else 1 << (256 - code)

    @staticmethod
    def find(record, kind, name=""):
        """The runs of an attribute that lies in one record."""
        for at in attributes(record):
            if u32(record, at) == kind and record[at + 8] and attribute_name(record, at) == name:
                return mapping(record, at)
        raise Impossible(f"no non-resident attribute {kind:#x}")

    def spans(self, runs):
        """(offset inside the attribute, place on the volume, length) of the runs that have clusters."""
        for vcn, lcn, count in runs:
            if lcn is not None:
                yield vcn * self.cluster, lcn * self.cluster, count * self.cluster

    def record_places(self):
        """Where each record of $MFT is, in order of their numbers."""
        for start, place, length in self.spans(self.mft):
            need(start % self.record_size == 0, "a record in two pieces")
            yield from range(place, place + length - self.record_size + 1, self.record_size)

    def record(self, place):
        return unprotect(self.image.read(place, self.record_size), b"FILE")
