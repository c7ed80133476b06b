# SPDX-License-Identifier: GPL-2.0-or-later
"""The session of Windows that the journal of an NTFS volume ends with: its records, and the three passes of a replay.

An implementation for tests, made from the format alone: it shares nothing with the program that it is to judge.
"""

import bisect
import struct
from dataclasses import dataclass, field

from ntfs_structures import (ALLOCATION, CHANGING, DATA, END, ON_BITS, ON_BLOCKS, ON_RECORDS, PAGE, UPDATE_NONRESIDENT,
                             Impossible, Volume, need, on_bits, on_block, on_record, protect, put, u16, u32, u64,
                             unprotect)

HEADER, FIRST_DATA = 0x30, 0x40
NOOP, COMPENSATION, INITIALIZE, DEALLOCATE = 0x00, 0x01, 0x02, 0x03
DELETE_DIRTY, HOT_FIX, END_TOP_LEVEL, PREPARE, COMMIT, FORGET, OPEN = 0x0A, 0x17, 0x18, 0x19, 0x1A, 0x1B, 0x1C
OPEN_DUMP, DIRTY_DUMP, TRANSACTION_DUMP = 0x1D, 0x1F, 0x20


@dataclass
class Record:
    """A log record."""

    lsn: int
    previous: int
    undo_next: int
    kind: int
    transaction: int
    flags: int
    data: bytes
    end: int  # offset in the log behind it
    opened: tuple = None  # the open attribute at its time: (type, bytes per index block)

    def __post_init__(self):
        if self.kind == 1:
            (self.redo_op, self.undo_op, self.redo_at, self.redo_length, self.undo_at, self.undo_length, self.target,
             count, self.at, self.offset, self.cluster_offset) = struct.unpack_from("<11H", self.data)
            self.vcn = u64(self.data, 0x18)
            self.lcns = list(struct.unpack_from(f"<{count}Q", self.data, 0x20))

    def half(self, undo):
        """(operation, payload, length of the other half); zeros where no bytes were stored."""
        op, at, length, other, missing = (
            (self.undo_op, self.undo_at, self.undo_length, self.redo_length, 4) if undo else
            (self.redo_op, self.redo_at, self.redo_length, self.undo_length, 2))
        stored = not self.flags & missing and at + length <= len(self.data)
        return op, self.data[at : at + length] if stored else bytes(length), other

    def changes(self, undo=False):
        """It has something to do with clusters, in this direction."""
        return self.kind == 1 and self.lcns and (self.undo_op if undo else self.redo_op) in CHANGING

    def kind_of(self, op):
        """What an operation of this record changes: F an MFT record, I an index block, R plain bytes."""
        if op == UPDATE_NONRESIDENT:
            return "I" if self.opened and self.opened[0] == ALLOCATION else "R"
        return "F" if op in ON_RECORDS else "I" if op in ON_BLOCKS else "R"


class Log:
    """The journal of a volume, and the session of Windows that it ends with."""

    def __init__(self, volume):
        self.volume = volume
        record = volume.record(list(zip(range(3), volume.record_places()))[2][1])
        self.runs = Volume.find(record, DATA)
        pages = [(at, unprotect(self.read(at, PAGE), b"RSTR")) for at in (0, PAGE)]
        self.restart_at, self.restart = max(
            ((at, page) for at, page in pages if page), key=lambda one: (u64(one[1], 0x30), -one[0]), default=(0, None))
        need(self.restart, "the journal has no restart page")
        area = self.restart
        need(u32(area, 0x10) == u32(area, 0x14) == PAGE and u16(area, 0x18) == 0x30, "pages of another size")
        self.version = (u16(area, 0x1C), u16(area, 0x1A))
        need(self.version in ((1, 1), (2, 0)), f"version {self.version}")
        self.shift = 64 - u32(area, 0x30 + 0x10)
        self.size, self.current = u64(area, 0x30 + 0x18), u64(area, 0x30)
        self.first = 0x22 * PAGE if self.version == (2, 0) else 4 * PAGE
        self.copies = range(2 * PAGE, self.first, PAGE)
        self.pages = self.chain()
        self.records = self.walk()
        self.by_lsn = {record.lsn: record for record in self.records}
        self.lsns = [record.lsn for record in self.records]
        self.follow_opened()

    # Where things are.

    def place(self, at):
        """Where a byte of the journal is on the volume."""
        for start, place, length in self.volume.spans(self.runs):
            if start <= at < start + length:
                return place + at - start
        raise Impossible(f"the journal has no byte {at:#x}")

    def read(self, at, length, image=None):
        step, image = min(self.volume.cluster, PAGE), image or self.volume.image
        return b"".join(image.read(self.place(one), step) for one in range(at, at + length, step))

    def write(self, image, at, data):
        step = min(self.volume.cluster, PAGE)
        for one in range(0, len(data), step):
            image.write(self.place(at + one), data[one : one + step])

    def offset(self, lsn):
        return (lsn & ((1 << self.shift) - 1)) * 8

    def lsn_at(self, at):
        """The LSN of a record that begins there, in this session."""
        return at >> 3 | self.sequence(self.current) << self.shift

    def sequence(self, lsn):
        return lsn >> self.shift

    def page_of(self, lsn):
        return self.offset(lsn) // PAGE * PAGE

    # Pages.

    def target_of(self, page):
        """The place of which a page among the copies is a copy, or None; its last LSN is put in order."""
        if self.version == (1, 1):
            target = u64(page, 8)
            put(page, 8, "Q", u64(page, 0x20))
        else:
            target = u32(page, 0x3C)
        good = self.first <= target < self.size and target % PAGE == 0
        return target if good and u64(page, 8) else None

    def chain(self):
        """The pages of the session by their place: from the page of the current LSN down and up, while they belong."""
        copies = {}
        for at in self.copies:
            page = unprotect(self.read(at, PAGE), b"RCRD")
            target = self.target_of(page) if page else None
            if target is not None:
                copies.setdefault(target, []).append(page)
        wanted = self.sequence(self.current)

        def best(at):
            found = [page for page in [unprotect(self.read(at, PAGE), b"RCRD")] if page] + copies.get(at, [])
            fits = [page for page in found
                    if self.sequence(u64(page, 8)) == wanted and self.page_of(u64(page, 8)) <= at]
            return max(fits, key=lambda page: (u64(page, 0x20), u64(page, 8), u16(page, 0x18)), default=None)

        pages = {}
        for step in (-PAGE, PAGE):
            at = self.page_of(self.current)
            while self.first <= at < self.size and (page := best(at)):
                pages[at] = page
                at += step
        need(pages, "the page of the current LSN is not there")
        self.end = max(u64(page, 0x20) for page in pages.values())
        return pages

    # Records.

    def walk(self):
        """The records from the first that begins a page of the session to the end."""
        for start in sorted(self.pages):
            if u64(self.pages[start], FIRST_DATA) == self.lsn_at(start + FIRST_DATA):
                break
        else:
            raise Impossible("no page of the session begins with a record")
        at, found = start + FIRST_DATA, []
        while True:
            record = self.parse(at)
            found.append(record)
            if record.lsn >= self.end:
                need(record.lsn == self.end, "the walk does not end at the last record")
                return found
            page = (record.end - 1) // PAGE * PAGE
            at = -(-record.end // 8) * 8
            if u64(self.pages[page], 8) == record.lsn or at >= page + PAGE:
                at = page + PAGE + FIRST_DATA

    def parse(self, at):
        page = self.pages.get(at // PAGE * PAGE)
        need(page is not None and at % PAGE + HEADER <= PAGE, f"no record at {at:#x}")
        lsn, previous, undo_next, length, _, kind, transaction, flags = struct.unpack_from(
            "<QQQIIIIH", page, at % PAGE)
        need(lsn == self.lsn_at(at), f"another record at {at:#x}: {lsn:#x}")
        data, position = bytearray(), at + HEADER
        while len(data) < length:
            if position % PAGE == 0:
                position += FIRST_DATA
            page = self.pages.get(position // PAGE * PAGE)
            need(page is not None and u64(page, 8) >= lsn, f"the rest of record {lsn:#x} is not there")
            part = min(PAGE - position % PAGE, length - len(data))
            data += page[position % PAGE : position % PAGE + part]
            position += part
        return Record(lsn, previous, undo_next, kind, transaction, flags, bytes(data), position)

    def follow_opened(self):
        """Gives each record the open attribute that it speaks of."""
        table = {}
        for record in self.records:
            if record.kind != 1:
                continue
            if record.redo_op == OPEN_DUMP:
                table = dict(self.open_table(record.half(False)[1]))
            elif record.redo_op == OPEN:
                table[record.target] = self.open_entry(record.half(False)[1])
            record.opened = table.get(record.target)

    @staticmethod
    def open_entry(entry):
        """(type, bytes per index block) of an entry of the table of open attributes, in either form."""
        return (u32(entry, 8), u32(entry, 4)) if len(entry) == 0x28 else (u32(entry, 0x1C), u32(entry, 0x28))

    @staticmethod
    def table(data):
        """(number, bytes) of the entries of a dumped table."""
        size, count = u16(data, 0), u16(data, 2)
        need(len(data) >= 0x18 + size * count, "a table is shorter than it says")
        for at in range(0x18, 0x18 + size * count, size):
            if u32(data, at) == END:
                yield at, data[at : at + size]

    def open_table(self, data):
        return ((number, self.open_entry(entry)) for number, entry in self.table(data))

    def edit(self, image, record, at, form, value):
        """Changes a field of a record, wherever a page with it is; `at` counts from the record's header."""
        place, edited = self.offset(record.lsn), 0
        need(place % PAGE + at < PAGE, f"record {record.lsn:#x} lies on two pages")
        for one in [place // PAGE * PAGE, *self.copies]:
            page = unprotect(self.read(one, PAGE, image), b"RCRD")
            if page and u64(page, place % PAGE) == record.lsn and u32(page, place % PAGE + 0x18) == len(record.data):
                put(page, place % PAGE + at, form, value)
                self.write(image, one, protect(page))
                edited += 1
        need(edited, f"no page holds record {record.lsn:#x}")

    def checkpoints(self):
        """The checkpoints from which a replay could begin. The first one of a session is empty."""
        return [record for record in self.records
                if record.kind == 2 and (u64(record.data, 8) in self.by_lsn or not u64(record.data, 8))]


@dataclass
class Analysis:
    """What a checkpoint and the records after it say of what was not on the disk."""

    opened: dict = field(default_factory=dict)
    dirty: dict = field(default_factory=dict)  # (attribute, VCN of a page) -> [oldest LSN, {VCN: LCN}]
    active: dict = field(default_factory=dict)  # transaction -> [state, first LSN, LSN to undo next]
    start: int = 0
    redo: int = 0
    records: int = 0


def read_checkpoint(log, checkpoint):
    """The tables of a checkpoint."""
    found, data = Analysis(), checkpoint.data
    found.start = u64(data, 8) or checkpoint.lsn

    def dumped(lsn, length, op):
        if not u32(data, length):
            return None
        record = log.by_lsn.get(u64(data, lsn))
        need(record and record.kind == 1 and record.redo_op == op, f"no table at {u64(data, lsn):#x}")
        return record.half(False)[1]

    if table := dumped(0x10, 0x30, OPEN_DUMP):
        found.opened = dict(log.open_table(table))
    if table := dumped(0x20, 0x38, DIRTY_DUMP):
        shape = (0x20, 0x10, 0x18) if u32(data, 0) else (0x24, 0x14, 0x1C)
        for _, entry in log.table(table):
            vcn, oldest = u64(entry, shape[1]), u64(entry, shape[2])
            lcns = struct.unpack_from(f"<{u32(entry, 0x0C)}Q", entry, shape[0])
            one = found.dirty.setdefault((u32(entry, 4), vcn), [oldest, {}])
            one[0] = min(one[0], oldest)
            one[1].update((vcn + index, lcn) for index, lcn in enumerate(lcns))
    if table := dumped(0x28, 0x3C, TRANSACTION_DUMP):
        found.active = {number: [entry[4], u64(entry, 8), u64(entry, 0x18)] for number, entry in log.table(table)}
    return found


def follow_transaction(active, record):
    """What a record does to the table of transactions."""
    entry = active.setdefault(record.transaction, [1, record.lsn, 0])
    entry[2] = record.undo_next if record.undo_op == COMPENSATION or record.redo_op == END_TOP_LEVEL else record.lsn
    if record.redo_op in (PREPARE, COMMIT):
        entry[0] = 2 if record.redo_op == PREPARE else 3
    if record.redo_op == FORGET:
        del active[record.transaction]


def analyse(log, checkpoint, end):
    """The first pass."""
    found, per_page = read_checkpoint(log, checkpoint), log.volume.per_page
    first = bisect.bisect_right(log.lsns, found.start)
    lsns = [one[0] for one in found.dirty.values()] + [one[1] for one in found.active.values()]
    lsns += log.lsns[first : first + 1]
    found.redo = min(lsn for lsn in lsns if lsn)
    for record in log.records[first : bisect.bisect_right(log.lsns, end)]:
        found.records += 1
        if record.kind != 1:
            continue
        follow_transaction(found.active, record)
        if record.redo_op == OPEN:
            found.opened[record.target] = log.open_entry(record.half(False)[1])
        elif record.redo_op == DELETE_DIRTY:
            for lcn, count in struct.iter_unpack("<QQ", record.half(False)[1]):
                for _, slots in found.dirty.values():
                    slots.update((vcn, 0) for vcn, one in slots.items() if lcn <= one < lcn + count)
        elif record.redo_op == HOT_FIX:
            slots = found.dirty.get((record.target, record.vcn // per_page * per_page), [0, {}])[1]
            if slots.get(record.vcn):
                slots[record.vcn] = record.lcns[0]
        elif record.changes():
            need(record.target in found.opened, f"record {record.lsn:#x} has an unknown attribute")
            for index, lcn in enumerate(record.lcns):
                vcn = record.vcn + index
                key = record.target, vcn // per_page * per_page
                found.dirty.setdefault(key, [record.lsn, {}])[1][vcn] = lcn
    return found


class Target:
    """The bytes that an operation of a record changes, wherever its clusters are."""

    def __init__(self, volume, image, record, op, lcns):
        self.volume, self.image, self.lcns = volume, image, lcns
        self.kind = record.kind_of(op)
        self.start = record.cluster_offset * 512 + (record.at if self.kind == "R" else 0)
        self.size = volume.record_size if self.kind == "F" else (record.opened or (0, 0))[1] or volume.index_size
        self.place = self.byte(self.start)

    def byte(self, at):
        need(at // self.volume.cluster < len(self.lcns), "the clusters of a record are fewer")
        return self.lcns[at // self.volume.cluster] * self.volume.cluster + at % self.volume.cluster

    def pieces(self, length):
        at = self.start
        while at < self.start + length:
            step = min(self.volume.cluster - at % self.volume.cluster, self.start + length - at)
            yield at - self.start, self.byte(at), step
            at += step

    def read(self, length):
        return b"".join(self.image.read(place, step) for _, place, step in self.pieces(length))

    def write(self, data):
        for at, place, step in self.pieces(len(data)):
            self.image.write(place, data[at : at + step])


def carry_out(target, record, undo, lsn=None, only_older=False):
    """One half of a record on its target. False when the page has it already.

    `lsn` makes the new LSN of the page from the old one.
    """
    op, payload, other = record.half(undo)
    if target.kind == "R":
        if op in ON_BITS:
            length = len(target.lcns) * target.volume.cluster - target.start
            target.write(on_bits(target.read(length), op, payload))
        else:
            target.start += record.offset
            payload and target.write(payload)
        return True
    magic = b"FILE" if target.kind == "F" else b"INDX"
    buffer = unprotect(target.read(target.size), magic)
    if buffer is None:
        whole = op == (INITIALIZE if target.kind == "F" else UPDATE_NONRESIDENT)
        need(whole and record.at + record.offset == 0 and payload[:4] == magic, f"record {record.lsn:#x}: torn target")
        buffer = bytearray(target.size)
    elif only_older and u64(buffer, 8) >= record.lsn:
        return False
    before = u64(buffer, 8)
    if target.kind == "F":
        on_record(buffer, op, record.at, record.offset, payload, other)
    else:
        on_block(buffer, op, record.at + record.offset, payload)
    put(buffer, 8, "Q", lsn(before) if lsn else before)
    target.write(protect(buffer))
    return True


def replay(log, image, checkpoint, end):
    """Analysis, redo and undo on `image`; how many records each pass came to."""
    found, volume = analyse(log, checkpoint, end), log.volume
    counts = {"records": found.records, "dirty": len(found.dirty), "redo_lsn": found.redo, "candidates": 0,
              "redone": 0, "on_disk": 0, "undone": 0}
    last = bisect.bisect_right(log.lsns, end)
    for record in log.records[bisect.bisect_left(log.lsns, found.redo) : last]:
        if not record.changes():
            continue
        entry = found.dirty.get((record.target, record.vcn // volume.per_page * volume.per_page))
        if not entry or record.lsn < entry[0]:
            continue
        lcns = [dirty_lcn(found, volume, record, index) for index in range(len(record.lcns))]
        if not lcns[0]:
            continue
        counts["candidates"] += 1
        target = Target(volume, image, record, record.redo_op, lcns)
        done = carry_out(target, record, False, lambda _, lsn=record.lsn: lsn, only_older=True)
        counts["redone" if done else "on_disk"] += 1
    for state, _, lsn in found.active.values():
        if state == 1:
            counts["undone"] += undo_transaction(log, image, lsn)
    first, length = next(volume.spans(volume.mft))[1], volume.mirrored * volume.record_size
    image.write(volume.mirror, image.read(first, length))
    return counts


def dirty_lcn(found, volume, record, index):
    vcn = record.vcn + index
    return found.dirty.get((record.target, vcn // volume.per_page * volume.per_page), [0, {}])[1].get(vcn, 0)


def undo_transaction(log, image, lsn, lost=()):
    """Takes a transaction back; how many of its records had something to take back."""
    count = 0
    while lsn:
        record = log.by_lsn.get(lsn)
        need(record and record.kind == 1, f"no record {lsn:#x} to be undone")
        if record.changes(undo=True):
            target = Target(log.volume, image, record, record.undo_op, record.lcns)
            need(all(target.place != place for _, place, _ in lost), f"what {record.lsn:#x} changed is lost")
            carry_out(target, record, True)
            count += 1
        need(record.undo_next < lsn, "an undo chain that goes forward")
        lsn = record.undo_next
    return count
