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
import json
import pathlib
import struct
import subprocess
import sys

from ntfs_crash import make_cases, side_by_side
from ntfs_session import HEADER, Log, Target, read_checkpoint, replay
from ntfs_structures import (ALLOCATION, DATA, Image, Impossible, PAGE, Volume, attributes, mapping, need, protect, put,
                             u16, u32, u64, unprotect)


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
                words.append(f"{what}: torn or empty, expected {old is not None}, found {new is not None}")
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
    pairs = [tuple(int(lsn, 16) for lsn in pair.split(":")) for pair in options.pair]
    lines = [write_case(log, options.folder, *made) for made in make_cases(log, options.limit, pairs, options.again)]
    for other, made in side_by_side(log, options.open):
        lines.append(write_case(other, options.folder, *made))
    (options.folder / "cases.json").write_text(json.dumps(lines, indent=1))


def write_case(log, folder, case, broken, expected):
    """The patches of a case; what there is to say of it."""
    line = {"name": case.name, "again": case.turned_back, "fits": case.fits}
    if broken is None:
        return line | {"impossible": expected}
    comparison = Comparison(log)
    write_patch(folder / f"{case.name}.crash", broken)
    write_patch(folder / f"{case.name}.expected", expected)
    stale = len(comparison.differences(expected, broken)[0])
    try:
        counts = replay(log, broken, case.checkpoint, case.end.lsn)
        differences = comparison.differences(expected, broken)[0]
    except Impossible as why:
        counts, differences = {}, [str(why)]
    return line | {"stale": stale, "counts": counts, "differences": differences}


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
    log.edit(log.volume.image, record, HEADER, "H", options.operation)
    write_changes(log.volume.image, options.offset, options.image)


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
    one.add_argument("--pair", action="append", default=[], metavar="CHECKPOINT:CUT", help="one pair more")
    one.add_argument("--again", action="store_true", help="the whole volume too, replayed again from every checkpoint")
    one.add_argument("--open", type=int, default=0, help="how many in which two transactions are not over")
    command("compare", command_compare, "folder")
    one = command("crash", command_crash, "crash", "expected")
    one.add_argument("--checkpoint", type=number, required=True)
    one.add_argument("--cut", type=number, required=True)
    one.add_argument("--withhold", metavar="NAME", help="a name of the root folder, logged last and not written")
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
