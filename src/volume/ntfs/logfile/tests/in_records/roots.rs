// SPDX-License-Identifier: GPL-2.0-or-later
//! Operations on the entries of a root.

use super::*;

/// Where entry `slot` of a root is, from the start of its attribute: behind its header, its name, and the root's.
fn entry_at(entries: &[Vec<u8>], slot: usize) -> usize {
    0x20 + 0x20 + entries[..slot].iter().map(Vec::len).sum::<usize>()
}

fn rooted(entries: &[Vec<u8>]) -> Vec<u8> {
    with(LEN, 3, folder(entries))
}

#[test]
fn add_and_delete_index_entry_root() {
    let begin = at(LEN, &parts(), 3);
    let new = entry(42, 'C', None);
    for slot in 0..3 {
        let mut more = three().to_vec();
        more.insert(slot, new.clone());
        let place = (begin, entry_at(&three(), slot));
        becomes_in(
            &Case::new(0x0C, place, &new),
            &rooted(&three()),
            &rooted(&more),
        );
        becomes_in(
            &Case::new(0x0D, place, &[]).other(new.len()),
            &rooted(&more),
            &rooted(&three()),
        );
    }
    // The payload can be longer than its entry.
    let longer = [&new[..], &[0xEE; 16]].concat();
    let mut more = three().to_vec();
    more.insert(1, new.clone());
    let case = Case::new(0x0C, (begin, entry_at(&three(), 1)), &longer);
    becomes_in(&case, &rooted(&three()), &rooted(&more));

    let before = rooted(&three());
    let refuse = |code: u16, at: (usize, usize), payload: &[u8], why: &str| {
        refused_in(&Case::new(code, at, payload), &before, why);
    };
    let boundary = "a place where an entry begins";
    let second = entry_at(&three(), 1);
    for code in [0x0C, 0x0D] {
        refuse(code, (begin, second + 8), &new, boundary);
        refuse(code, (begin, 0x38), &new, boundary);
        refuse(code, (begin, entry_at(&three(), 3)), &new, boundary);
        refuse(
            code,
            (begin + 8, second),
            &new,
            "a place where an attribute begins",
        );
        refuse(
            code,
            (at(LEN, &parts(), 0), 0x18),
            &new,
            "the root of an index",
        );
        refuse(
            code,
            (at(LEN, &parts(), 2), 0x40),
            &new,
            "the root of an index",
        );
    }
    refuse(0x0D, (begin, entry_at(&three(), 2)), &[], "an entry");
    refuse(0x0C, (begin, second), &end_entry(None), "an index entry");
    refuse(0x0C, (begin, second), &new[..0x50], "an index entry");
    let mut odd = new.clone();
    odd[8] = 0x5A;
    refuse(0x0C, (begin, second), &odd, "an index entry");
    let full: Vec<Vec<u8>> = (0..7)
        .map(|file| entry(file, 'E', None))
        .chain([end_entry(None)])
        .collect();
    let case = Case::new(0x0C, (begin, entry_at(&full, 7)), &new);
    refused_in(&case, &rooted(&full), "room for the entry");
}

#[test]
fn changes_of_root_entries() {
    let begin = at(LEN, &parts(), 3);
    // The child of an entry, and of the end.
    let inner = |first: u64, end: u64| [entry(40, 'B', Some(first)), end_entry(Some(end))];
    for (slot, after) in [(0, inner(9, 8)), (1, inner(7, 9))] {
        let case = Case::new(
            0x11,
            (begin, entry_at(&inner(7, 8), slot)),
            &9_u64.to_le_bytes(),
        );
        becomes_in(&case, &rooted(&inner(7, 8)), &rooted(&after));
    }
    let first = (begin, entry_at(&three(), 0));
    let end = (begin, entry_at(&three(), 2));
    let child = "8 bytes for an entry with a child";
    refused_in(&Case::new(0x11, first, &[0; 8]), &rooted(&three()), child);
    for len in [4, 16] {
        refused_in(
            &Case::new(0x11, first, &vec![0; len]),
            &rooted(&inner(7, 8)),
            child,
        );
    }
    // Times, sizes and flags.
    let mut entries = three();
    entries[1][0x18..0x50].fill(0x99);
    let second = (begin, entry_at(&three(), 1));
    becomes_in(
        &Case::new(0x13, second, &[0x99; 0x38]),
        &rooted(&three()),
        &rooted(&entries),
    );
    let names = "38 bytes for the entry of a name";
    refused_in(
        &Case::new(0x13, second, &[0x99; 0x40]),
        &rooted(&three()),
        names,
    );
    refused_in(
        &Case::new(0x13, end, &[0x99; 0x38]),
        &rooted(&three()),
        names,
    );
    // The data of a view.
    let view = |data: &[u8]| [view_entry(&[1, 2, 3, 4], data, None), end_entry(None)];
    let case = Case::new(0x21, (begin, entry_at(&view(&[5; 12]), 0)), &[6; 12]);
    becomes_in(&case, &rooted(&view(&[5; 12])), &rooted(&view(&[6; 12])));
    let inside = "data inside their entry";
    refused_in(
        &Case::new(0x21, first, &[6; 17]),
        &rooted(&view(&[5; 12])),
        inside,
    );
    refused_in(
        &Case::new(0x21, (begin, entry_at(&view(&[5; 12]), 1)), &[6; 0]),
        &rooted(&view(&[5; 12])),
        inside,
    );
    for code in [0x11, 0x13, 0x21] {
        let case = Case::new(code, (begin, first.1 + 8), &[0; 8]);
        refused_in(&case, &rooted(&three()), "a place where an entry begins");
        let case = Case::new(code, (at(LEN, &parts(), 0), 0x18), &[0; 8]);
        refused_in(&case, &rooted(&three()), "the root of an index");
    }
}
