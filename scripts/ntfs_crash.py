# SPDX-License-Identifier: GPL-2.0-or-later
"""Crashes that could have been: a real volume taken back in time, its journal cut, and what a replay has to come to.

What a journal says was done after a checkpoint is undone page by page, as if those pages had never been written. What
cannot be undone, because a structure was filled anew, is made again from its last beginning in the journal.
"""

import bisect
import random
import struct
from dataclasses import dataclass

from ntfs_session import (COMPENSATION, DEALLOCATE, FORGET, HEADER, INITIALIZE, NOOP, OPEN_DUMP, Log, Record, Target,
                          carry_out, follow_transaction, read_checkpoint, undo_transaction)
from ntfs_structures import (ALLOCATION, PAGE, UPDATE_NONRESIDENT, Impossible, Volume, entries, need, on_block, protect,
                             put, u16, u32, u64, unprotect)


def structure_of(target):
    return b"FILE" if target.kind == "F" else b"INDX", target.place, target.size


def begins(record, kind):
    """It fills a whole structure, whatever was there before."""
    return record.redo_op == (INITIALIZE if kind == "F" else UPDATE_NONRESIDENT)


class RollBack:
    """Takes records back, newest first, as if their pages had not been written."""

    def __init__(self, log, image, history=None, lost=(), garbled=False):
        self.log, self.image, self.garbled = log, image, garbled
        self.filled = set()  # structures that were filled anew by a record that was taken back
        self.lost = set(lost)  # those where that record is behind the cut, and what they held at the cut is nowhere
        self.lowered = {}  # the LSN of each structure that was taken back
        self.older = False  # one that is lost had changes before that record: the volume does not quite fit
        self.history = self.changes_of_structures() if history is None else history

    def changes_of_structures(self):
        found = {}
        for record in self.log.records:
            if record.changes() and record.kind_of(record.redo_op) != "R":
                target = Target(self.log.volume, self.image, record, record.redo_op, record.lcns)
                found.setdefault(structure_of(target), []).append(record)
        return found

    def rebuild(self, structure, lsn):
        """Makes a structure as it was after a record, from its last beginning in the journal, if it has one."""
        history = [one for one in self.history.get(structure, ()) if one.lsn <= lsn]
        first = [at for at, one in enumerate(history) if begins(one, one.kind_of(one.redo_op))]
        for one in history[first[-1]:] if first else ():
            target = Target(self.log.volume, self.image, one, one.redo_op, one.lcns)
            carry_out(target, one, False, lambda _, lsn=one.lsn: lsn)
        return bool(first)

    def at_cut(self, lsn):
        """The volume at a cut, no structure newer than that. One whose content is lost counts as written by then."""
        back = RollBack(self.log, self.image.branch(), self.history, (), True)
        back.lost = {structure for structure in self.filled if not back.rebuild(structure, lsn)}
        for target, _ in self.lowered.values():
            target.image = back.image
            buffer = unprotect(target.read(target.size), structure_of(target)[0])
            if u64(buffer, 8) > lsn:
                put(buffer, 8, "Q", lsn)
                target.write(protect(buffer))
        return back

    def compensated(self, record):
        """The record that a compensation took back: the next one to take back is the same for both."""
        before = [one for one in self.log.records[: bisect.bisect_left(self.log.lsns, record.lsn)]
                  if one.kind == 1 and one.undo_op == record.redo_op and one.undo_next == record.undo_next
                  and (one.target, one.vcn, one.lcns) == (record.target, record.vcn, record.lcns)]
        need(before, f"{record.lsn:#x} compensates nothing that is in the journal")
        return before[-1]

    def undo(self, record):
        if not (record.changes() or record.changes(undo=True)):
            return
        undo = record.changes(undo=True)
        compensated = self.compensated(record) if record.undo_op == COMPENSATION else None
        target = Target(self.log.volume, self.image, record, record.undo_op if undo else record.redo_op, record.lcns)
        if target.kind == "R":
            if undo or compensated:
                carry_out(target, compensated or record, not compensated)
            return
        structure = structure_of(target)
        if structure in self.lost:
            return
        if structure in self.filled and self.rebuild(structure, record.lsn):
            self.filled.discard(structure)
        if record.redo_op == NOOP and structure not in self.filled:
            return  # it only says what undoes the record after it
        if structure in self.filled and record.redo_op != NOOP:
            need(not self.garbled, f"{record.lsn:#x} is older than a new beginning")
            self.older = True
            return

        def lower(old):
            self.lowered[structure] = target, min(old, record.lsn - 1)
            return self.lowered[structure][1]

        if undo:
            carry_out(target, record, True, lower)
            if record.redo_op == NOOP and record.undo_op == INITIALIZE:
                self.filled.discard(structure)  # it kept what was there before
        elif compensated and compensated.changes():
            carry_out(target, compensated, False, lower)
        else:
            buffer = unprotect(target.read(target.size), structure[0])
            need(buffer, f"{record.lsn:#x}: the target is torn")
            if compensated:
                # It freed a record that was to be filled, and had not been: what changed is the number of its uses.
                need(record.redo_op == DEALLOCATE, f"{record.lsn:#x} compensates nothing that was done")
                put(buffer, 0x10, "H", (u16(buffer, 0x10) - 2) % 0xFFFF + 1)
            put(buffer, 8, "Q", lower(u64(buffer, 8)))
            target.write(protect(buffer))
        if begins(record, target.kind):
            self.filled.add(structure)
            if self.garbled and target.kind == "I":
                target.write(b"\x5a\xa5" * (target.size // 2))


@dataclass
class Case:
    """A crash: from which checkpoint, after which record, and what was on the disk by then."""

    checkpoint: Record
    end: Record
    flushed: int = 0  # seed of the points up to which pages were written; 0: as little as can be
    version: tuple = (2, 0)
    turned_back: bool = False  # the journal stays whole, and so does the volume
    fits: bool = True  # the volume at the cut is whole, see `RollBack.older`
    more: str = ""  # of its name
    withheld: str = None  # a name of the root folder that was logged as the last thing, and not written

    @property
    def name(self):
        how = "again" if self.turned_back else f"{self.end.lsn:x}-{self.flushed}-v{self.version[0]}"
        return f"{self.checkpoint.lsn:x}-{how}{self.more}"


def page_key(log, record):
    """The page of the cache that a record changes, by where it is on the volume."""
    volume = log.volume
    return record.lcns[0] - record.vcn % volume.per_page, (
        record.cluster_offset * 512 + (record.at if record.kind_of(record.redo_op) == "R" else 0)) // PAGE


def flush_points(log, found, case):
    """Up to which LSN each page was written; a function of a record."""
    lsns = log.lsns[: bisect.bisect_right(log.lsns, case.end.lsn)]
    chosen = {}

    def point(record):
        entry = found.dirty.get((record.target, record.vcn // log.volume.per_page * log.volume.per_page))
        least = entry[0] - 1 if entry else found.start
        if not case.flushed:
            return least
        key = page_key(log, record)
        if key not in chosen:
            later = lsns[bisect.bisect_left(lsns, least):]
            chosen[key] = random.Random(f"{case.name} {key}").choice(later + [least] * (len(later) + 1))
        return max(least, chosen[key])

    return point


def crash(log, after, case):
    """What the disk would have held at a crash; `after` is the volume without anything after the cut."""
    found = read_checkpoint(log, case.checkpoint)
    oldest = min([found.start] + [one[0] for one in found.dirty.values() if one[0]])
    if case.turned_back:
        image = log.volume.image.branch()
    else:
        back, point = after.at_cut(case.end.lsn), flush_points(log, found, case)
        last = bisect.bisect_right(log.lsns, case.end.lsn)
        for record in reversed(log.records[bisect.bisect_left(log.lsns, oldest) : last]):
            if (record.changes() or record.changes(undo=True)) and record.lsn > point(record):
                back.undo(record)
        image = back.image
        cut(log, image, case, withhold(log, image, case) if case.withheld else ())
    write_restart(log, image, case, oldest)
    return image


def withhold(log, image, case):
    """Takes a name out of the root folder; the records of the transaction that put it in."""
    volume, found = log.volume, read_checkpoint(log, case.checkpoint)
    root = volume.record(list(volume.record_places())[5])
    runs = Volume.find(root, ALLOCATION, "$I30")
    for vcn, place, length in volume.spans(runs):
        for at in range(0, length, volume.index_size):
            block = unprotect(image.read(place + at, volume.index_size), b"INDX")
            for entry in entries(block, 0x18) if block else ():
                if block[entry + 0x52 : entry + 0x52 + 2 * block[entry + 0x50]] != case.withheld.encode("utf-16-le"):
                    continue
                data = bytes(block[entry : entry + u16(block, entry + 8)])
                on_block(block, 0x0F, entry, data)
                image.write(place + at, protect(block))
                slot = max(found.opened) + 0x28
                opened = struct.pack("<IIIIQQQ", 0xFFFFFFFF, volume.index_size, ALLOCATION, 0,
                                     5 | u16(root, 0x10) << 48, case.end.lsn, 0)
                count = max(1, volume.index_size // volume.cluster)
                lcns = [(place + at) // volume.cluster + one for one in range(count)]
                where = (at % volume.cluster) // 512, (vcn + at) // volume.cluster, lcns
                return [(0x1C, 0, slot, (0, 0, []), 0, opened, "$I30".encode("utf-16-le")),
                        (0x0E, 0x0F, slot, where, entry, data, b""), (0x1B, 1, 0x18, (0, 0, []), 0, b"", b"")]
    raise Impossible(f"the root folder has no {case.withheld}")


def append(log, page, at, record, previous, transaction=0x40):
    """Adds a record behind the last one of a page; its LSN."""
    redo, undo, slot, (cluster_offset, vcn, lcns), offset, data, undo_data = record
    start = 0x20 + 8 * max(1, len(lcns))
    padded = data + bytes(-len(data) % 8)
    client = bytearray(start) + padded + undo_data + bytes(-len(undo_data) % 8)
    struct.pack_into("<12H", client, 0, redo, undo, start, len(data), start + len(padded), len(undo_data), slot,
                     len(lcns), 0, offset, cluster_offset, 8 if lcns else 0)
    struct.pack_into(f"<Q{len(lcns)}Q", client, 0x18, vcn, *lcns)
    position = u16(page, 0x18)
    need(position + HEADER + len(client) <= PAGE, "the last page of the journal has no room")
    lsn = log.lsn_at(at + position)
    sequence = u32(log.pages[log.page_of(log.current)], log.offset(log.current) % PAGE + 0x1C)
    struct.pack_into("<QQQIIIIQ", page, position, lsn, previous, previous, len(client), sequence, 1, transaction, 0)
    page[position + HEADER : position + HEADER + len(client)] = client
    put(page, 8, "Q", lsn)
    put(page, 0x18, "H", position + HEADER + len(client))
    put(page, 0x20, "Q", lsn)
    return 0 if redo == 0x1C else lsn


def cut(log, image, case, more=()):
    """Ends the journal after a record, or `more` behind it: the last page is there only as a copy."""
    end = case.end
    at = (end.end - 1) // PAGE * PAGE
    page = bytearray(log.pages[at])
    last = bisect.bisect_right(log.lsns, end.lsn)
    following = log.records[last] if last < len(log.records) else None
    gone = bytes([0xFF]) * PAGE
    for later in log.pages:
        if later > at:
            log.write(image, later, gone)
    slots = list(range(2 * PAGE, 0x22 * PAGE, PAGE)) if case.version == (2, 0) else [2 * PAGE, 3 * PAGE]
    for slot in slots:
        copy = unprotect(log.read(slot, PAGE), b"RCRD")
        target = copy and (u32(copy, 0x3C) if case.version == (2, 0) else u64(copy, 8))
        if copy is None or case.version == (1, 1) or target >= at:
            log.write(image, slot, gone)
    if following and log.page_of(following.lsn) == at and following.end > at + PAGE:
        # A record that goes on behind the page was cut off: the page was full, and so is in its place.
        need(not more, "the last page of the journal is full")
        need(u64(page, 0x20) == end.lsn, "the page says that another record ended last")
        log.write(image, at, protect(page))
        return
    begun = [lsn for lsn in log.lsns[:last] if log.page_of(lsn) == at]
    put(page, 8, "Q", begun[-1] if begun else end.lsn)
    put(page, 0x10, "I", u32(page, 0x10) | 1)
    put(page, 0x18, "H", -(-(end.end - at) // 8) * 8)
    put(page, 0x20, "Q", end.lsn)
    previous = 0
    for record in more:
        previous = append(log, page, at, record, previous)
    if case.version == (2, 0):
        put(page, 0x3C, "I", at)
    else:
        put(page, 8, "Q", at)
    log.write(image, at, gone)
    log.write(image, slots[case.end.lsn % len(slots)], protect(page))


def write_restart(log, image, case, oldest):
    """Both restart pages, as they are while a volume is mounted."""
    page = bytearray(log.restart)
    put(page, 0x1A, "H", case.version[1])
    put(page, 0x1C, "H", case.version[0])
    client = 0x30 + u16(page, 0x30 + 0x16)
    current = log.by_lsn[log.end] if case.turned_back else case.checkpoint
    put(page, 0x30, "Q", current.lsn)
    struct.pack_into("<HHH", page, 0x30 + 0x0A, 0xFFFF, 0, 0)
    put(page, 0x30 + 0x20, "I", len(current.data))
    struct.pack_into("<QQHH", page, client, oldest, case.checkpoint.lsn, 0xFFFF, 0xFFFF)
    for at in (0, PAGE):
        log.write(image, at, protect(page))


def expectation(log, after, end):
    """The volume at a cut, with what was not finished taken back."""
    back, active = after.at_cut(end.lsn), {}
    for record in log.records[: bisect.bisect_right(log.lsns, end.lsn)]:
        if record.kind == 1:
            follow_transaction(active, record)
    for state, _, lsn in active.values():
        if state == 1:
            undo_transaction(log, back.image, lsn, back.lost)
    return back.image


def choose(log, limit):
    """A fair sample of all pairs of a checkpoint and a cut: every so many-th, also of cuts inside of transactions."""
    cuts = [record for record in log.records if record.kind == 1 and (record.redo_op == FORGET or record.changes())]
    pairs = []
    for checkpoint in log.checkpoints():
        pairs += [(checkpoint, end) for end in [*cuts, log.records[-1]] if end.lsn > checkpoint.lsn]
    return pairs[:: max(1, -(-len(pairs) // limit))] if limit else []


def make_cases(log, limit, wanted, again, withheld=None):
    """(case, crash, expectation) of a sample of pairs; (case, None, why) where the roll-back cannot make it."""
    pairs = choose(log, limit)
    pairs += [(log.by_lsn[c], log.by_lsn[e]) for c, e in wanted]
    # A session that begins behind the copies of version 2.0 was written in that version.
    versions = [(2, 0), (1, 1)] if log.version == (1, 1) and min(log.pages) >= 0x22 * PAGE else [log.version]
    cases = {}
    for index, (c, e) in enumerate(pairs):
        seed = 0 if (c.lsn, e.lsn) in wanted else index % 3
        case = Case(c, e, seed, versions[index % len(versions)])
        cases[case.name] = case
    after, position, stopped = RollBack(log, log.volume.image.branch()), len(log.records), None
    for case in sorted(cases.values(), key=lambda one: -one.end.lsn):
        try:
            while not stopped and log.records[position - 1].lsn > case.end.lsn:
                after.undo(log.records[position - 1])
                position -= 1
        except Impossible as why:
            stopped = f"before {log.records[position - 1].lsn:#x}: {why}"
        case.fits, case.withheld = not after.older, withheld
        try:
            need(not stopped, stopped)
            made = crash(log, after, case), expectation(log, after, case.end)
        except Impossible as why:
            made = None, str(why)
        yield case, *made
    for checkpoint in log.checkpoints() if again else []:
        case = Case(checkpoint, log.records[-1], 0, log.version, True)
        yield case, crash(log, None, case), log.volume.image.branch()


def side_by_side(log, limit):
    """(another log, what `make_cases` gives) of journals in which two transactions run at the same time.

    Neighbours that change no structure in common: the first gets another number, and its end is taken away.
    """
    transactions, begun = [], []
    for record in log.records:
        if record.kind != 1 or OPEN_DUMP <= record.redo_op <= OPEN_DUMP + 3:
            begun = begun if record.kind == 1 else begun + [None]
            continue
        begun.append(record)
        if record.redo_op == FORGET:
            transactions.append(begun)
            begun = []

    def structures(records):
        changes = [(one, one.undo_op if one.changes(undo=True) else one.redo_op) for one in records
                   if one.changes() or one.changes(undo=True)]
        return {Target(log.volume, log.volume.image, one, op, one.lcns).place // PAGE for one, op in changes}

    # A checkpoint in or between them would have to know of them.
    pairs = [(first, second) for first, second in zip(transactions, transactions[1:])
             if None not in first + second and log.offset(first[-1].lsn) % PAGE + HEADER < PAGE
             and any(one.changes(undo=True) for one in first)
             and any(one.changes(undo=True) for one in second) and not structures(first) & structures(second)]
    for first, second in pairs[:: max(1, -(-len(pairs) // limit))] if limit else ():
        before = [one for one in log.checkpoints() if one.lsn < first[0].lsn]
        if not before:
            continue
        image = log.volume.image.branch()
        for record in first:
            log.edit(image, record, 0x24, "I", 0x40)
        log.edit(image, first[-1], HEADER, "I", 0)
        log.edit(image, first[-1], 0x10, "Q", first[-1].previous)
        other = Log(Volume(image))
        for case, *made in make_cases(other, 0, [(before[-1].lsn, second[-2].lsn)], False):
            case.more = "-open"
            yield other, (case, *made)
