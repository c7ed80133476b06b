#!/usr/bin/env python3
# SPDX-License-Identifier: GPL-2.0-or-later
"""An independent reader and replayer of NTFS journals, for tests: it makes images of crashes that could have been.

A real volume whose journal still holds a session of Windows is taken back in time: what the journal says was done after
a checkpoint C is undone page by page, as if those pages had never been written, and the journal is cut after a record
E. A replay has to find the state that the volume had at E, without the transactions that were not over.

    list IMAGE                          the records and checkpoints of the session
    cases IMAGE FOLDER                  many pairs of C and E: for each a patch that makes the crash, and one for what
                                        a replay has to come to (patch: {u64 offset, u32 length, bytes} repeated)
    compare IMAGE FOLDER                FOLDER/NAME.result, patches of what a replay came to, against the expectation
    crash IMAGE CRASH EXPECTED          one crash as whole images
    unknown-operation IMAGE             gives a record of the journal, in place, another operation

IMAGE is the image of a volume, or of a disk with --offset.
"""

import argparse
import bisect
import json
import pathlib
import random
import struct
import subprocess
import sys
from dataclasses import dataclass

from ntfs_session import (COMPENSATION, DEALLOCATE, FIRST_DATA, FORGET, HEADER, INITIALIZE, NOOP, Log, Record, Target,
                          carry_out, follow_transaction, read_checkpoint, replay, undo_transaction)
from ntfs_structures import (ALLOCATION, DATA, PAGE, UPDATE_NONRESIDENT, Image, Impossible, Volume, attributes, entries,
                             mapping, need, on_block, protect, put, u16, u32, u64, unprotect)


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
        """The record of its transaction that a compensation took back: the next one to take back is the same for both."""
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
    withheld: str = None  # a name of the root folder that was logged as the last thing, and not written

    @property
    def name(self):
        how = "again" if self.turned_back else f"{self.end.lsn:x}-{self.flushed}-v{self.version[0]}"
        return f"{self.checkpoint.lsn:x}-{how}"


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
    struct.pack_into("<12H", client, 0, redo, undo, start, len(data), start + len(padded), len(undo_data), slot, len(lcns),
                     0, offset, cluster_offset, 8 if lcns else 0)
    struct.pack_into(f"<Q{len(lcns)}Q", client, 0x18, vcn, *lcns)
    position = u16(page, 0x18)
    need(position + HEADER + len(client) <= PAGE, "the last page of the journal has no room")
    lsn = at + position >> 3 | log.sequence(log.current) << log.shift
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
    """A fair sample of all pairs of a checkpoint and a cut: every so many-th, the cuts inside of transactions included."""
    cuts = [record for record in log.records if record.kind == 1 and (record.redo_op == FORGET or record.changes())]
    pairs = []
    for checkpoint in log.checkpoints():
        pairs += [(checkpoint, end) for end in [*cuts, log.records[-1]] if end.lsn > checkpoint.lsn]
    return pairs[:: max(1, -(-len(pairs) // limit))] if limit else []


def make_cases(log, limit, wanted, again, withheld=None):
    """(case, crash, expectation) of a sample of pairs, and (case, None, why) of those that the roll-back cannot make."""
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


class Comparison:
    """Two states of a volume, structure by structure. Of the journal, of LSNs and update sequences nothing is asked."""

    def __init__(self, log):
        self.log, self.volume = log, log.volume
        self.unlogged = set()
        for record in log.records:
            if record.changes() and record.redo_op == 0x07 and record.flags & 6:
                image = log.volume.image
                self.unlogged.add(Target(log.volume, image, record, record.redo_op, record.lcns).place)

    def map(self, images):
        """What the sectors of structures belong to: {sector: (kind, place of each piece)}."""
        volume, found = self.volume, {}

        def note(kind, pieces):
            for place, length in pieces:
                for sector in range(place, place + length, 512):
                    found[sector] = kind, tuple(pieces)

        for _, place, length in volume.spans(self.log.runs):
            found.update((sector, ("journal", ())) for sector in range(place, place + length, 512))
        places = list(volume.record_places())
        for place in places:
            note("record", [(place, volume.record_size)])
        note("mirror", [(volume.mirror, volume.mirrored * volume.record_size)])
        for image in images:
            for place in places:
                record = unprotect(image.read(place, volume.record_size), b"FILE")
                try:
                    kinds = [at for at in attributes(record) if u32(record, at) == ALLOCATION] if record else []
                    runs = [mapping(record, at) for at in kinds]
                except Impossible:
                    continue
                for run in runs:
                    for pieces in self.blocks(run):
                        note("block", pieces)
        return found

    def blocks(self, runs):
        """The pieces of each index block of an attribute."""
        size, pieces, filled = self.volume.index_size, [], 0
        for _, place, length in self.volume.spans(runs):
            while length:
                step = min(length, size - filled)
                pieces.append((place, step))
                place, length, filled = place + step, length - step, (filled + step) % size
                if not filled:
                    yield pieces
                    pieces = []

    def differences(self, expected, found):
        """What differs, in words, and how often a difference is one that no replay can avoid."""
        sectors = {place for image in (expected, found) for place, _ in image.patch()}
        owners, words, excused = self.map([self.volume.image, expected]), [], {"unlogged": 0, "next_id": 0}
        structures = set()
        first, length = next(self.volume.spans(self.volume.mft))[1], self.volume.mirrored * self.volume.record_size
        if found.read(first, length) != found.read(self.volume.mirror, length):
            words.append("$MFTMirr is not what $MFT begins with")
        for sector in sorted(sectors):
            kind, pieces = owners.get(sector, ("bytes", ()))
            if kind == "bytes" and expected.read(sector, 512) != found.read(sector, 512):
                words.append(f"bytes at {sector:#x}")
            elif kind in ("record", "block"):
                structures.add((kind, pieces))
        for kind, pieces in sorted(structures):
            old, new = (b"".join(image.read(*piece) for piece in pieces) for image in (expected, found))
            if old == new:
                continue
            magic = b"FILE" if kind == "record" else b"INDX"
            old, new = unprotect(old, magic), unprotect(new, magic)
            what = f"{kind} at {pieces[0][0]:#x}"
            if old is None or new is None:
                words.append(f"{what}: torn or empty in {'both' if old is new else 'what is expected' if old is None else 'what was found'}")
            elif kind == "block":
                used = 0x18 + u32(old, 0x1C)
                if self.differ(old, new, used):
                    words.append(f"{what}: {self.differ(old, new, used)}")
            else:
                words += self.records(what, pieces[0][0], old, new, excused)
        return words, excused

    @staticmethod
    def differ(old, new, used):
        """The first difference in what is used, but for the LSN and the update sequence."""
        for buffer in (old, new):
            array = u16(buffer, 4)
            buffer[8:16] = bytes(8)
            buffer[array : array + 2] = bytes(2)
            for sector in range(1, u16(buffer, 6)):
                buffer[array + 2 * sector : array + 2 * sector + 2] = bytes(2)
        if old[:used] == new[:used]:
            return ""
        at = next(at for at in range(used) if old[at] != new[at])
        return f"{old[at]:02x} expected at {at:#x}, {new[at]:02x} found"

    def records(self, what, place, old, new, excused):
        used = u32(old, 0x18)
        if not self.differ(old, new, used):
            return []
        if u16(old, 0x28) > u16(new, 0x28):
            # Undo does not take the number for the next attribute back.
            excused["next_id"] += 1
            put(new, 0x28, "H", u16(old, 0x28))
        if not self.differ(old, new, used):
            return []
        try:
            for buffer in (old, new):
                for at in attributes(buffer):
                    if u32(buffer, at) == DATA and not buffer[at + 8] and place in self.unlogged:
                        start = at + u16(buffer, at + 0x14)
                        buffer[start : at + u32(buffer, at + 4)] = bytes(at + u32(buffer, at + 4) - start)
        except Impossible as why:
            return [f"{what}: {why}"]
        difference = self.differ(old, new, used)
        excused["unlogged"] += not difference
        return [f"{what}: {difference}"] if difference else []


# Patches and commands.


def write_patch(path, image):
    with open(path, "wb") as file:
        for at, data in image.patch():
            file.write(struct.pack("<QI", at, len(data)) + data)


def read_patch(path, image):
    found, data, at = image.branch(), path.read_bytes(), 0
    while at < len(data):
        place, length = struct.unpack_from("<QI", data, at)
        found.write(place, data[at + 12 : at + 12 + length])
        at += 12 + length
    return found


def command_list(log, options):
    print(f"version {log.version[0]}.{log.version[1]}, current LSN {log.current:#x}, end {log.end:#x}, "
          f"{len(log.records)} records from {log.lsns[0]:#x}, {len(log.checkpoints())} checkpoints")
    for record in log.records:
        if record.kind == 2:
            found = read_checkpoint(log, record)
            print(f"{record.lsn:#x} checkpoint from {found.start:#x}, {len(found.dirty)} dirty pages")
        elif not options.checkpoints:
            print(f"{record.lsn:#x} {record.transaction:#x} {record.redo_op:#04x}/{record.undo_op:#04x} "
                  f"{record.opened} vcn {record.vcn:#x} at {record.at:#x} {record.offset:#x} flags {record.flags}")


def command_cases(log, options):
    options.folder.mkdir(parents=True, exist_ok=True)
    comparison, lines = Comparison(log), []
    pairs = [tuple(int(lsn, 16) for lsn in pair.split(":")) for pair in options.pair]
    for case, broken, expected in make_cases(log, options.limit, pairs, options.again):
        line = {"name": case.name, "checkpoint": case.checkpoint.lsn, "end": case.end.lsn, "again": case.turned_back,
                "fits": case.fits}
        if broken is None:
            lines.append(line | {"impossible": expected})
            continue
        write_patch(options.folder / f"{case.name}.crash", broken)
        write_patch(options.folder / f"{case.name}.expected", expected)
        stale = len(comparison.differences(expected, broken)[0])
        try:
            counts = replay(log, broken, case.checkpoint, case.end.lsn)
            differences = comparison.differences(expected, broken)[0]
        except Impossible as why:
            counts, differences = {}, [str(why)]
        lines.append(line | {"stale": stale, "counts": counts, "differences": differences})
    (options.folder / "cases.json").write_text(json.dumps(lines, indent=1))


def command_compare(log, options):
    comparison = Comparison(log)
    for path in sorted(options.folder.glob("*.result")):
        images = [read_patch(path.with_suffix(suffix), log.volume.image) for suffix in (".expected", ".result")]
        words, excused = comparison.differences(*images)
        print(json.dumps({"name": path.stem, "differences": words} | excused))


def command_crash(log, options):
    pair = options.checkpoint, options.cut
    for case, broken, expected in make_cases(log, 0, [pair], False, options.withhold):
        if (case.checkpoint.lsn, case.end.lsn) == pair:
            need(broken, f"the roll-back is impossible: {expected}")
            for image, target in ((broken, options.crash), (expected, options.expected)):
                subprocess.run(["cp", "--sparse=always", options.image, target], check=True)
                write_changes(image, options.offset, target)


def command_unknown_operation(log, options):
    record = log.by_lsn.get(options.record)
    need(record and record.kind == 1, f"no record {options.record:#x}")
    at = log.offset(record.lsn) + HEADER
    at += FIRST_DATA if at % PAGE == 0 else 0
    image, changed = log.volume.image, 0
    for place in [at // PAGE * PAGE, *log.copies]:
        page = unprotect(log.read(place, PAGE), b"RCRD")
        header = (at - HEADER) % PAGE
        if page and u64(page, header) == record.lsn and page[at % PAGE : at % PAGE + 4] == record.data[:4]:
            put(page, at % PAGE, "H", options.operation)
            log.write(image, place, protect(page))
            changed += 1
    need(changed, "no page holds the record")
    write_changes(image, options.offset, options.image)


def write_changes(image, offset, target):
    """Writes what changed in the volume to a file in which it is."""
    with open(target, "r+b") as file:
        for place, data in image.patch():
            file.seek(offset + place)
            file.write(data)


def number(text):
    return int(text, 0)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--offset", type=number, default=0, help="where the volume begins in the image, in bytes")
    commands = parser.add_subparsers(required=True)

    def command(name, run, *names):
        one = commands.add_parser(name)
        for argument in ("image", *names):
            one.add_argument(argument, type=pathlib.Path)
        one.set_defaults(run=run)
        return one

    command("list", command_list).add_argument("--checkpoints", action="store_true")
    one = command("cases", command_cases, "folder")
    one.add_argument("--limit", type=int, default=100, help="how many pairs")
    one.add_argument("--pair", action="append", default=[], metavar="CHECKPOINT:CUT", help="one pair more, in hexadecimal")
    one.add_argument("--again", action="store_true", help="the whole volume too, replayed again from every checkpoint")
    command("compare", command_compare, "folder")
    one = command("crash", command_crash, "crash", "expected")
    one.add_argument("--checkpoint", type=number, required=True)
    one.add_argument("--cut", type=number, required=True)
    one.add_argument("--withhold", metavar="NAME", help="a name of the root folder that was logged last, and not written")
    one = command("unknown-operation", command_unknown_operation)
    one.add_argument("--record", type=number, required=True, help="its LSN")
    one.add_argument("--operation", type=number, default=0x26)
    options = parser.parse_args()
    with open(options.image, "rb") as file:
        try:
            options.run(Log(Volume(Image(file, options.offset))), options)
        except Impossible as why:
            sys.exit(f"{options.image}: {why}")


if __name__ == "__main__":
    main()
