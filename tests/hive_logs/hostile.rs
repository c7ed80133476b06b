// SPDX-License-Identifier: GPL-2.0-or-later
//! Damaged and made-up logs: the outcome is one of the states that the hive really had, or an answer that
//! nothing fits; never a panic, never an image larger than the files themselves.

use super::support::read;
use super::writer::{PAGE, bin, entry, entry_of, hive, markers, new_log, old_log, put32};
use coldfix::hive::log::{LogFile, State, recover};
use proptest::prelude::*;

fn files<'a>(logs: &'a [(&'a str, Vec<u8>)]) -> Vec<LogFile<'a>> {
    let logs = logs.iter();
    logs.map(|(name, bytes)| LogFile { name, bytes }).collect()
}

/// Every byte that matters of Windows' own logs, changed one at a time.
#[test]
fn a_changed_byte_never_makes_a_new_state() {
    let folder = "hives-edge/yarp/NewDirtyHive1/NewDirtyHive";
    let names = [".xz", ".LOG1.xz", ".LOG2.xz"].map(|end| read(&format!("{folder}{end}")));
    let [Some(primary), Some(log1), Some(log2)] = names else {
        return;
    };
    let run = |log1: &[u8], log2: &[u8]| {
        let logs = [("LOG1", log1.to_vec()), ("LOG2", log2.to_vec())];
        recover(primary.clone(), &files(&logs)).unwrap()
    };
    // The states with 0 to 4 entries applied, and the second log without the first: what Windows makes of
    // a first log whose base block is damaged.
    let mut states = vec![primary.clone()];
    for (end1, end2) in [
        (0x6000, 0),
        (0x6000, 0x2000),
        (0x6000, 0x8000),
        (0x6000, 0x10000),
        (0, 0x10000),
    ] {
        states.push(run(&log1[..end1], &log2[..end2]).image);
    }
    let known: std::collections::HashSet<Vec<u8>> = states.into_iter().collect();
    // The last entries write every page, so the last two are the same.
    assert_eq!(known.len(), 5);
    let places = |log: &[u8]| {
        let heads = [0x200, 0x2000, 0x8000]
            .into_iter()
            .flat_map(|at| at..at + 64);
        let spread = (0..log.len()).step_by(911);
        let places = (0..48)
            .chain(140..150)
            .chain(500..512)
            .chain(heads)
            .chain(spread);
        places.filter(|&at| at < log.len()).collect::<Vec<_>>()
    };
    for bit in [0x01, 0x80] {
        for at in places(&log1) {
            let mut log = log1.clone();
            log[at] ^= bit;
            assert!(known.contains(&run(&log, &log2).image), "LOG1 byte {at:#x}");
        }
        for at in places(&log2) {
            let mut log = log2.clone();
            log[at] ^= bit;
            assert!(known.contains(&run(&log1, &log).image), "LOG2 byte {at:#x}");
        }
    }
    for len in (0..log2.len()).step_by(509) {
        assert!(
            known.contains(&run(&log1, &log2[..len]).image),
            "length {len:#x}"
        );
    }
}

#[test]
fn claimed_sizes_cost_nothing() {
    let primary = hive((3, 2), b"aa");
    // Thousands of headers, each claiming the whole log: the hashes must not be computed for each.
    let mut log = new_log(2, &[]);
    let mut header = entry(7, 2, &[(0, b'x')]);
    header.truncate(512);
    put32(&mut header, 4, 8 << 20);
    let hash = coldfix::hive::marvin32::marvin32(&header[..32]);
    header[32..40].copy_from_slice(&hash.to_le_bytes());
    while log.len() < 8 << 20 {
        log.extend(&header);
    }
    let started = std::time::Instant::now();
    let outcome = recover(primary.clone(), &files(&[("LOG1", log)])).unwrap();
    assert_eq!(outcome.state, State::DirtyWithoutUsableLog);
    assert_eq!(outcome.next_sequence, 9);
    // Hashing 8 MiB for each of 16384 headers would take minutes.
    assert!(started.elapsed().as_secs() < 20);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Random bytes behind valid heads, random fields under valid hashes.
    #[test]
    fn rubbish_is_survived(
        mut primary in prop::collection::vec(any::<u8>(), 0..12_000),
        bodies in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..6_000), 3),
        heads in prop::collection::vec((0_u32..4, 0_u32..8, any::<bool>()), 3),
        fields in prop::collection::vec((any::<u32>(), any::<u32>(), 0_u32..6), 3),
        sound in any::<bool>(),
    ) {
        if sound {
            primary = hive((3, 2), b"aa");
        }
        let mut logs = Vec::new();
        for (index, body) in bodies.into_iter().enumerate() {
            let (kind, number, random) = heads[index];
            let (offset, size, count) = fields[index];
            let mut entry = entry_of(number, if random { size } else { 0x2000 }, offset, &[(offset % 0x3000, body.clone())]);
            put32(&mut entry, 20, count);
            super::writer::hash(&mut entry);
            let log = match kind {
                0 => body,
                1 => new_log(number, &[entry]),
                2 => [old_log(number, 0, 1 + number as usize, &[]), body].concat(),
                _ => [new_log(number, &[]), body].concat(),
            };
            logs.push((["LOG1", "LOG2", "LOG"][index], log));
        }
        let limit = primary.len() + logs.iter().map(|(_, log)| log.len()).sum::<usize>();
        if let Ok(outcome) = recover(primary.clone(), &files(&logs)) {
            prop_assert!(outcome.image.len() <= limit);
            prop_assert!(outcome.state == State::Replayed || outcome.image == primary);
            prop_assert_eq!(outcome.state == State::Replayed, !outcome.applied.is_empty());
        }
    }

    /// Windows at work: flushes of random pages go to the logs, which are swapped now and then; at any time
    /// pages of flushed states may have reached the hive. A crash may cut the log that is being written.
    #[test]
    fn any_history_is_recovered(
        start in prop_oneof![Just(1_u32), Just(u32::MAX - 2), any::<u32>()],
        ahead in 0_u32..600,
        flushes in prop::collection::vec(
            (prop::collection::btree_map(0_usize..8, 1_u8..200, 1..5), 0_usize..3), 1..10),
        swap_at in 0_usize..10,
        written in prop::collection::vec((0_usize..8, 0_usize..10), 0..8),
        cut in prop::option::of(1_usize..5_000),
        remnants in prop::collection::vec(1_u32..40, 0..4),
    ) {
        let mut model = vec![0_u8; 4];
        let mut states = vec![model.clone()];
        let mut logs: [Vec<Vec<u8>>; 2] = [Vec::new(), Vec::new()];
        let first = start.wrapping_add(ahead);
        for (index, (pages, growth)) in flushes.iter().enumerate() {
            let old = model.len();
            model.resize(old + growth, 250);
            let mut dirty = pages.clone();
            dirty.retain(|&page, _| page < old);
            dirty.extend((old..model.len()).map(|page| (page, 250)));
            if dirty.is_empty() {
                dirty.insert(0, 249);
            }
            for (&page, &marker) in &dirty {
                model[page] = marker;
            }
            let number = first.wrapping_add(index as u32);
            let pages: Vec<(usize, u8)> = dirty.into_iter().collect();
            logs[usize::from(index >= swap_at)].push(entry(number, model.len(), &pages));
            states.push(model.clone());
        }
        let entries = flushes.len();
        let mut first_log = new_log(first, &logs[0]);
        let mut second_log = new_log(first.wrapping_add(logs[0].len() as u32), &logs[1]);
        let active = if logs[1].is_empty() { &mut first_log } else { &mut second_log };
        let mut expected = entries;
        match cut {
            // A crash in the middle of the last write; nothing of it can be in the hive yet.
            Some(cut) => {
                let last = if logs[1].is_empty() { &logs[0] } else { &logs[1] };
                let size = last.last().unwrap().len();
                active.truncate(active.len() - cut.min(size));
                expected -= 1;
            }
            None => {
                for back in remnants {
                    active.extend(entry(first.wrapping_sub(back), 4, &[(0, 0xbb)]));
                }
            }
        }
        let mut primary = hive((start.wrapping_add(1), start), &states[0]);
        for (page, state) in written {
            let state = &states[state.min(expected)];
            if page < state.len() && (PAGE * (page + 1)) < primary.len() {
                primary[PAGE * (page + 1)..PAGE * (page + 2)].copy_from_slice(&bin(page, state[page]));
            }
        }
        let mut given = vec![("X.LOG1", first_log), ("X.LOG2", second_log)];
        if logs[0].is_empty() {
            given.swap_remove(0);
        } else if logs[1].is_empty() {
            given.pop();
        }
        let outcome = recover(primary.clone(), &files(&given)).unwrap();
        if expected == 0 {
            prop_assert_eq!(outcome.state, State::DirtyWithoutUsableLog);
            prop_assert!(outcome.image == primary);
        } else {
            prop_assert_eq!(outcome.state, State::Replayed, "{:?}", outcome.notes);
            prop_assert_eq!(markers(&outcome.image), states[expected].clone());
            let last = first.wrapping_add(expected as u32 - 1);
            prop_assert_eq!(super::writer::sequences(&outcome.image), (last, last));
        }
        let next = outcome.next_sequence;
        // Above the last entry, the torn one, and the hive's own numbers, but not far above.
        prop_assert!(next.wrapping_sub(first.wrapping_add(expected as u32 + 1)) < 3);
    }
}
