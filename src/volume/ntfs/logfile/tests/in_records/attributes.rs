// SPDX-License-Identifier: GPL-2.0-or-later
//! Operations on attributes.

use super::*;

#[test]
fn create_attribute() {
    let before = record(LEN, HEAD, &parts());
    // At the end mark; its number was given already.
    let mut more = parts();
    more.push(bitmap(4));
    let case = Case::new(5, (at(LEN, &parts(), 4), 0), &bitmap(4));
    becomes_in(&case, &before, &record(LEN, HEAD, &more));
    // Between others: one more name, a number that was not given yet, and bytes behind it that do not count.
    let mut more = parts();
    more.insert(1, name(9));
    let after = record(
        LEN,
        Head {
            links: 2,
            next: 10,
            ..HEAD
        },
        &more,
    );
    let payload = [&name(9)[..], &[0xEE; 8]].concat();
    becomes_in(
        &Case::new(5, (at(LEN, &parts(), 1), 0), &payload),
        &before,
        &after,
    );
    // One in clusters, and at the very beginning.
    let list = outside(0x20, 5, (0, 0), [0x1000, 0x20, 0x20], &PAIRS);
    let mut more = parts();
    more.insert(1, list.clone());
    becomes_in(
        &Case::new(5, (at(LEN, &parts(), 1), 0), &list),
        &before,
        &record(LEN, HEAD, &more),
    );
    let empty = record(LEN, HEAD, &[]);
    let case = Case::new(5, (first_attribute(LEN), 0), &times());
    becomes_in(&case, &empty, &record(LEN, HEAD, &[times()]));
    // What fits to the last byte, and 8 bytes more.
    let rest = LEN - at(LEN, &parts(), 4) - 8;
    for (len, fits) in [(rest, true), (rest + 8, false)] {
        let big = resident(0xB0, "", 4, false, &vec![0x44; len - 0x18]);
        let case = Case::new(5, (at(LEN, &parts(), 4), 0), &big);
        let mut more = parts();
        more.push(big);
        match fits {
            true => becomes_in(&case, &before, &record(LEN, HEAD, &more)),
            false => refused_in(&case, &before, "room for the attribute"),
        }
    }

    let refuse = |place: usize, payload: &[u8], why: &str| {
        refused_in(&Case::new(5, (place, 0), payload), &before, why);
    };
    let begin = "a place where an attribute begins";
    refuse(at(LEN, &parts(), 1) + 8, &bitmap(4), begin);
    refuse(at(LEN, &parts(), 4) + 8, &bitmap(4), begin);
    refuse(0, &bitmap(4), begin);
    refuse(
        at(LEN, &parts(), 2),
        &bitmap(4),
        "in the order of their types",
    );
    let changed = |at: usize, byte: u8| {
        let mut raw = bitmap(4);
        raw[at] = byte;
        raw
    };
    let end = at(LEN, &parts(), 4);
    refuse(end, &changed(4, 0x2A), "an attribute");
    refuse(end, &changed(4, 0x10), "an attribute");
    refuse(end, &changed(4, 0x80), "an attribute");
    refuse(end, &changed(5, 0x80), "an attribute");
    // The value is past its end.
    refuse(end, &changed(0x10, 0x80), "room for the attribute");
    refuse(end, &[0; 4], "an attribute");
    // Numbers below the next one are all there are.
    let all = record(LEN, Head { next: 3, ..HEAD }, &parts());
    refused_in(
        &Case::new(5, (end, 0), &bitmap(1)),
        &all,
        "below that of the next",
    );
}

#[test]
fn delete_attribute() {
    let before = record(LEN, HEAD, &parts());
    for slot in 0..4 {
        let mut fewer = parts();
        let gone = fewer.remove(slot);
        let after = record(
            LEN,
            Head {
                links: u16::from(slot != 1),
                ..HEAD
            },
            &fewer,
        );
        becomes_in(
            &Case::new(6, (at(LEN, &parts(), slot), 0), &[]).other(gone.len()),
            &before,
            &after,
        );
    }
    let begin = "a place where an attribute begins";
    for place in [at(LEN, &parts(), 4), at(LEN, &parts(), 1) + 8, 0, LEN] {
        refused_in(&Case::new(6, (place, 0), &[]), &before, begin);
    }
    // A name more than the record counts.
    let none = record(LEN, Head { links: 0, ..HEAD }, &parts());
    refused_in(
        &Case::new(6, (at(LEN, &parts(), 1), 0), &[]),
        &none,
        "an attribute that can go",
    );
}

#[test]
fn update_resident_value() {
    let before = record(LEN, HEAD, &parts());
    let begin = at(LEN, &parts(), 0);
    let value = |value: &[u8]| with(LEN, 0, resident(0x10, "", 0, false, value));
    // As many bytes as before: anywhere in the attribute.
    let mut changed = [0x11; 0x30];
    changed[0x28..].fill(0x99);
    becomes_in(
        &Case::new(7, (begin, 0x40), &[0x99; 8]),
        &before,
        &value(&changed),
    );
    // Longer, shorter, from the middle, to the very beginning, and beyond the value into its padding.
    for (offset, len, other) in [
        (0x18, 0x48, 0x30),
        (0x18, 5, 0x30),
        (0x30, 0x23, 0x18),
        (0x48, 3, 0),
        (0x18, 0, 0x30),
    ] {
        let mut new = vec![0x11; offset - 0x18];
        new.extend(vec![0x99; len]);
        let case = Case::new(7, (begin, offset), &vec![0x99; len]).other(other);
        becomes_in(&case, &before, &value(&new));
    }
    // Bytes that the log does not have are zeros, in both ways of saying so.
    let mut zeroed = [0x11; 0x30];
    zeroed[8..16].fill(0);
    for payload in [Payload::Absent(8), Payload::Beyond(8)] {
        let case = Case::new(7, (begin, 0x20), &[0; 8]).payload(payload);
        becomes_in(&case, &before, &value(&zeroed));
    }

    let refuse = |at: (usize, usize), len: usize, other: usize, why: &str| {
        refused_in(
            &Case::new(7, at, &vec![0x99; len]).other(other),
            &before,
            why,
        );
    };
    refuse((begin, 0x48), 8, 8, "bytes of the attribute");
    refuse((begin, 0x41), 8, 8, "bytes of the attribute");
    refuse((begin, 0xFFF8), 8, 8, "bytes of the attribute");
    refuse((begin + 8, 0x18), 8, 8, "a place where an attribute begins");
    refuse(
        (at(LEN, &parts(), 4), 0),
        8,
        8,
        "a place where an attribute begins",
    );
    refuse((begin, 0x10), 8, 4, "a place in the value");
    refuse((begin, 0x50), 8, 4, "room for the value");
    refuse((begin, 0x18), 700, 4, "room for the value");
    refuse((at(LEN, &parts(), 2), 0x40), 8, 4, "a resident attribute");
    // An attribute that afterwards is none.
    refuse((begin, 4), 4, 4, "bytes of the attribute");
}

/// Only what a file contains is named: that a user's bytes were never logged.
#[test]
fn unlogged_content_is_told() {
    for (kind, told) in [(0x80, true), (0xB0, false)] {
        let mut bench = bench();
        let own = resident(kind, "", 2, false, &[0x44; 24]);
        bench.lay(
            Target::Mft,
            3 * LEN,
            &record(LEN, HEAD, &[times(), own.clone()]),
        );
        bench.begin(Vec::new(), Vec::new());
        let mut action = bench.action(Target::Mft, 3 * LEN, LEN);
        action.redo = (7, Payload::Absent(24));
        action.undo = (7, Payload::Absent(24));
        action.record_offset = at(LEN, &parts(), 1) as u16;
        action.attribute_offset = 0x18;
        bench.add(&action, ID, 0);
        bench.forget(ID);
        let (_, done) = bench.replay().unwrap();
        assert_eq!(done.unlogged.contains(&3), told);
    }
}

#[test]
fn update_mapping_pairs() {
    let before = record(LEN, HEAD, &parts());
    let begin = at(LEN, &parts(), 2);
    let sizes = [0x8000, 0x7F00, 0x7000];
    // A second run; one run of other length; from the middle on; a hole.
    for (offset, pairs, highest) in [
        (0x40, &[0x21, 8, 0x34, 0x12, 0x11, 4, 0x20, 0][..], 11),
        (0x44, &[0x11, 4, 0x20, 0], 11),
        (0x40, &[0x21, 3, 0x34, 0x12, 0], 2),
        (0x44, &[0x01, 0x10, 0], 0x17),
        (0x44, &[0x11, 1, 0x20, 0x11, 2, 0x30, 0x11, 3, 0x40, 0], 13),
    ] {
        let mut whole = PAIRS[..offset - 0x40].to_vec();
        whole.extend_from_slice(pairs);
        let new = outside(0x80, 2, (0, highest), sizes, &whole);
        let case = Case::new(9, (begin, offset), pairs).other(4);
        becomes_in(&case, &before, &with(LEN, 2, new));
    }
    // No clusters at all: the highest is one below the lowest.
    let mut none = outside(0x80, 2, (0, 0), sizes, &[0]);
    none[0x18..0x20].fill(0xFF);
    becomes_in(
        &Case::new(9, (begin, 0x40), &[0]),
        &before,
        &with(LEN, 2, none),
    );
    // A later extent counts from its lowest.
    let extent = outside(0x80, 2, (100, 107), [0; 3], &PAIRS);
    let new = outside(0x80, 2, (100, 101), [0; 3], &[0x21, 2, 0x34, 0x12, 0]);
    let case = Case::new(9, (begin, 0x40), &[0x21, 2, 0x34, 0x12, 0]);
    becomes_in(&case, &with(LEN, 2, extent), &with(LEN, 2, new));

    let refuse = |at: (usize, usize), pairs: &[u8], why: &str| {
        refused_in(&Case::new(9, at, pairs), &before, why);
    };
    refuse((begin, 0x3F), &[0], "a place in the mapping pairs");
    refuse((begin, 0x49), &[0], "a place in the mapping pairs");
    refuse((begin + 8, 0x40), &[0], "a place where an attribute begins");
    refuse(
        (at(LEN, &parts(), 0), 0x18),
        &[0],
        "a non-resident attribute",
    );
    // More bytes of a number than there are, and a run without length.
    refuse((begin, 0x40), &[0x99, 1, 2, 3], "room for mapping pairs");
    refuse((begin, 0x40), &[0x10, 1, 0], "room for mapping pairs");
    refuse((begin, 0x40), &[0x21; 600], "room for mapping pairs");
}

#[test]
fn set_new_attribute_sizes() {
    let before = record(LEN, HEAD, &parts());
    let begin = at(LEN, &parts(), 2);
    let payload = |sizes: &[u64]| {
        sizes
            .iter()
            .flat_map(|size| size.to_le_bytes())
            .collect::<Vec<u8>>()
    };
    // Allocated, initialised, data: a file that was made larger before it was written.
    for (allocated, initialised, size) in [
        (0x9000, 0, 0),
        (0x9000, 0, 0x9000),
        (0x9000, 0x1FC0, 0x9000),
        (0x9000, 0x9000, 0x9000),
    ] {
        let new = outside(0x80, 2, (0, 7), [allocated, size, initialised], &PAIRS);
        let case = Case::new(0x0B, (begin, 0), &payload(&[allocated, initialised, size]));
        becomes_in(&case, &before, &with(LEN, 2, new));
    }
    // A sparse one has a fourth: what is really allocated.
    let sparse = |sizes: [u64; 3], total: u64| {
        let mut raw = outside(0x80, 2, (0, 7), sizes, &[&[0; 8][..], &PAIRS].concat());
        raw[0x0D] = 0x80;
        raw[0x20] = 0x48;
        put(&mut raw, 0x40, &total.to_le_bytes());
        with(LEN, 2, raw)
    };
    let case = Case::new(0x0B, (begin, 0), &payload(&[0x9000, 0x10, 0x20, 0x1000]));
    becomes_in(
        &case,
        &sparse([0x8000; 3], 0x8000),
        &sparse([0x9000, 0x20, 0x10], 0x1000),
    );
    let case = Case::new(0x0B, (begin, 0), &payload(&[0x9000, 0x10, 0x20]));
    becomes_in(
        &case,
        &sparse([0x8000; 3], 0x8000),
        &sparse([0x9000, 0x20, 0x10], 0x8000),
    );

    let refuse = |place: usize, payload: &[u8], why: &str| {
        refused_in(&Case::new(0x0B, (place, 0), payload), &before, why);
    };
    let sound = payload(&[0x9000, 0x10, 0x20]);
    refuse(begin, &sound[..0x10], "three or four sizes");
    refuse(
        begin,
        &payload(&[0x9000, 0x10, 0x20, 0x1000]),
        "three or four sizes",
    );
    refuse(
        begin,
        &[&sound[..], &[0; 4]].concat(),
        "three or four sizes",
    );
    refuse(
        begin,
        &payload(&[0x9000, 0x30, 0x20]),
        "sizes that contain each other",
    );
    refuse(
        begin,
        &payload(&[0x9000, 0x10, 0x9001]),
        "sizes that contain each other",
    );
    refuse(
        at(LEN, &parts(), 0),
        &sound,
        "a non-resident attribute with sizes",
    );
    refuse(begin + 8, &sound, "a place where an attribute begins");
    let extent = with(LEN, 2, outside(0x80, 2, (100, 107), [0; 3], &PAIRS));
    refused_in(
        &Case::new(0x0B, (begin, 0), &sound),
        &extent,
        "a non-resident attribute with sizes",
    );
}
