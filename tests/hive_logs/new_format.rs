// SPDX-License-Identifier: GPL-2.0-or-later
//! Logs of the new format, made for the cases that decide which entries apply.

use super::writer::{
    PAGE, assert_noted, base, bin, entry, entry_of, hash, hive, markers, new_log, put32, recovered,
    sequences,
};
use coldfix::hive::base_block::{BaseBlock, set_flags, set_sequences};
use coldfix::hive::log::{Recovered, State, neutralised};

fn assert_nothing_applied(primary: &[u8], outcome: &Recovered, state: State) {
    assert_eq!(outcome.state, state, "{:#?}", outcome.notes);
    assert!(outcome.image == primary && outcome.applied.is_empty());
}

fn names(outcome: &Recovered) -> Vec<&str> {
    outcome.applied.iter().map(|a| a.log.as_str()).collect()
}

#[test]
fn two_logs_are_one_chain_whichever_is_earlier() {
    let primary = hive((6, 5), b"aaaa");
    let early = new_log(
        5,
        &[
            entry(5, 4, &[(0, b'b'), (2, b'b')]),
            entry(6, 4, &[(2, b'c')]),
        ],
    );
    let late = new_log(7, &[entry(7, 4, &[(3, b'd'), (0, b'd')])]);
    for (first, second) in [("H.LOG1", "H.LOG2"), ("H.LOG2", "H.LOG1")] {
        let outcome = recovered(&primary, &[(first, &early), (second, &late)]);
        assert_eq!(outcome.state, State::Replayed);
        assert_eq!(markers(&outcome.image), b"dacd");
        assert_eq!(names(&outcome), [first, second]);
        let run = &outcome.applied[0];
        assert_eq!(
            (run.first_sequence, run.last_sequence, run.entries),
            (5, 6, 2)
        );
        assert_eq!((run.pages, run.bytes), (3, 3 * PAGE as u64));
        assert_eq!(sequences(&outcome.image), (7, 7));
        assert_eq!(outcome.next_sequence, 9);
        assert_eq!(outcome.notes, Vec::<String>::new());
    }
}

/// The hive's own numbers stay behind while it is dirty: real disks show 1621 beside entries from 2107 on.
#[test]
fn a_log_that_begins_later_than_the_hive_applies() {
    let primary = hive((1622, 1621), b"aa");
    let log = new_log(2107, &[entry(2107, 2, &[(1, b'b')])]);
    let outcome = recovered(&primary, &[("LOG1", &log)]);
    assert_eq!(markers(&outcome.image), b"ab");
    assert_eq!(outcome.next_sequence, 2109);
}

#[test]
fn a_gap_inside_a_log_ends_it() {
    let primary = hive((5, 4), b"aa");
    let log = new_log(4, &[entry(4, 2, &[(0, b'b')]), entry(6, 2, &[(1, b'c')])]);
    let outcome = recovered(&primary, &[("LOG1", &log)]);
    assert_eq!(markers(&outcome.image), b"ba");
    assert_eq!(sequences(&outcome.image), (4, 4));
    assert_noted(
        &outcome,
        &["LOG1: entry 5 is missing", "entry 6 stands there"],
    );
    // Above the entry that was not applied, too.
    assert_eq!(outcome.next_sequence, 8);
}

#[test]
fn a_gap_between_the_logs_ends_with_the_first() {
    let primary = hive((5, 4), b"aa");
    let first = new_log(4, &[entry(4, 2, &[(0, b'b')])]);
    let second = new_log(6, &[entry(6, 2, &[(1, b'c')])]);
    let outcome = recovered(&primary, &[("X.LOG1", &first), ("X.LOG2", &second)]);
    assert_eq!(markers(&outcome.image), b"ba");
    assert_eq!(names(&outcome), ["X.LOG1"]);
    assert_noted(
        &outcome,
        &["X.LOG2", "entry 6, which does not follow entry 4"],
    );
    assert_eq!(outcome.next_sequence, 8);
}

#[test]
fn numbers_wrap() {
    let primary = hive((u32::MAX, u32::MAX - 1), b"aaa");
    let first = new_log(
        u32::MAX - 1,
        &[
            entry(u32::MAX - 1, 3, &[(0, b'b')]),
            entry(u32::MAX, 3, &[(1, b'b')]),
        ],
    );
    let second = new_log(0, &[entry(0, 3, &[(1, b'c')]), entry(1, 3, &[(2, b'c')])]);
    let outcome = recovered(&primary, &[("LOG1", &second), ("LOG2", &first)]);
    assert_eq!(markers(&outcome.image), b"bcc");
    assert_eq!(sequences(&outcome.image), (1, 1));
    assert_eq!(outcome.next_sequence, 3);
    // A number just below zero is before one just above it, not far ahead.
    let primary = hive((2, 1), b"aaa");
    let outcome = recovered(&primary, &[("LOG1", &second), ("LOG2", &first)]);
    assert_nothing_applied(&primary, &outcome, State::DirtyWithoutUsableLog);
    assert_eq!(outcome.next_sequence, 4);
    // The very last number of all.
    let primary = hive((u32::MAX, u32::MAX), b"a");
    assert_eq!(recovered(&primary, &[]).next_sequence, 1);
}

#[test]
fn entries_grow_the_hive() {
    let primary = hive((3, 2), b"aa");
    let entries = [
        entry(2, 4, &[(3, b'b'), (2, b'b')]),
        entry(3, 5, &[(4, b'c'), (0, b'c')]),
    ];
    let outcome = recovered(&primary, &[("LOG1", &new_log(2, &entries))]);
    assert_eq!(markers(&outcome.image), b"cabbc");
    assert_eq!(outcome.image.len(), 6 * PAGE);
    // Into slack behind the bins: the file keeps its length.
    let mut slack = primary.clone();
    slack.resize(64 * PAGE, 0);
    let outcome = recovered(&slack, &[("LOG1", &new_log(2, &entries))]);
    assert_eq!(markers(&outcome.image), b"cabbc");
    assert_eq!(outcome.image.len(), 64 * PAGE);
}

#[test]
fn growth_that_the_log_does_not_hold_is_refused_as_a_whole() {
    let primary = hive((3, 2), b"aa");
    for bins in [4, 0x8_0000] {
        let entries = [entry(2, 2, &[(0, b'b')]), entry(3, bins, &[(3, b'c')])];
        let outcome = recovered(&primary, &[("LOG1", &new_log(2, &entries))]);
        assert_nothing_applied(&primary, &outcome, State::DirtyWithoutUsableLog);
        assert_noted(&outcome, &["no log was applied: LOG1", "only to 0x3000"]);
    }
    // One page more than the format allows: not an entry at all.
    let entries = [entry(2, 2, &[(0, b'b')]), entry(3, 0x8_0001, &[(0, b'c')])];
    let outcome = recovered(&primary, &[("LOG1", &new_log(2, &entries))]);
    assert_eq!(markers(&outcome.image), b"ba");
}

#[test]
fn a_torn_last_entry_is_left_out() {
    let primary = hive((3, 2), b"aa");
    let whole = new_log(2, &[entry(2, 2, &[(0, b'b')]), entry(3, 2, &[(1, b'c')])]);
    let last = whole.len() - entry(3, 2, &[(1, b'c')]).len();
    let mut torn = whole.clone();
    torn[last + 3000..].fill(0);
    let mut header = whole.clone();
    header[last + 12] ^= 1;
    for (log, words) in [
        (&torn[..], "the hash of its pages is wrong"),
        (&whole[..whole.len() - 1], "reach past the end of the log"),
        (&header, "the hash of its header is wrong"),
    ] {
        let outcome = recovered(&primary, &[("LOG1", log)]);
        assert_eq!(markers(&outcome.image), b"ba");
        assert_eq!(sequences(&outcome.image), (2, 2));
        assert_noted(&outcome, &["LOG1", "entry 3 could stand", words]);
    }
    // Cut inside the entry's header: nothing to see, nothing to say.
    let outcome = recovered(&primary, &[("LOG1", &whole[..last + 39])]);
    assert_eq!(markers(&outcome.image), b"ba");
    assert_eq!(outcome.notes, Vec::<String>::new());
}

#[test]
fn a_torn_first_entry_stops_everything_behind_it() {
    let primary = hive((3, 2), b"aa");
    let mut first = new_log(2, &[entry(2, 2, &[(0, b'b')])]);
    first[2000] ^= 1;
    let second = new_log(3, &[entry(3, 2, &[(1, b'c')])]);
    let outcome = recovered(&primary, &[("LOG1", &first), ("LOG2", &second)]);
    assert_nothing_applied(&primary, &outcome, State::DirtyWithoutUsableLog);
    assert_noted(&outcome, &["LOG1 should begin with entry 2"]);
    assert_eq!(outcome.next_sequence, 5);
}

#[test]
fn a_torn_first_entry_of_the_second_log_leaves_the_first() {
    let primary = hive((3, 2), b"aa");
    let first = new_log(2, &[entry(2, 2, &[(0, b'b')])]);
    let mut second = new_log(3, &[entry(3, 2, &[(1, b'c')])]);
    second[2000] ^= 1;
    let outcome = recovered(&primary, &[("LOG1", &first), ("LOG2", &second)]);
    assert_eq!(markers(&outcome.image), b"ba");
    assert_eq!(names(&outcome), ["LOG1"]);
    assert_noted(
        &outcome,
        &["LOG2", "entry 3 could stand", "the hash of its pages"],
    );
    assert_eq!(outcome.next_sequence, 5);
}

#[test]
fn entries_of_older_runs_behind_the_chain_stay_out() {
    let primary = hive((21, 20), b"aaa");
    let entries = [
        entry(20, 3, &[(0, b'b')]),
        entry(9, 3, &[(1, b'x')]),
        entry(10, 3, &[(1, b'x')]),
        entry(21, 3, &[(2, b'x')]),
    ];
    let outcome = recovered(&primary, &[("LOG1", &new_log(20, &entries))]);
    assert_eq!(markers(&outcome.image), b"baa");
    assert_noted(&outcome, &["3 entries of other runs"]);
    // The next number is above the stray 21, although nothing leads there.
    assert_eq!(outcome.next_sequence, 23);
}

#[test]
fn the_flag_of_pending_transactions_follows_the_entries() {
    let page = || vec![(0, bin(0, b'b'))];
    for (stored, entries, expected) in [
        (2, [1, 1], 3),
        (3, [1, 0], 2),
        (3, [0, 0xfe], 2),
        (2, [0, 0xff], 3),
    ] {
        let mut primary = hive((3, 2), b"a");
        set_flags(&mut primary, stored).unwrap();
        let size = PAGE as u32;
        let log = new_log(
            2,
            &[
                entry_of(2, size, entries[0], &page()),
                entry_of(3, size, entries[1], &page()),
            ],
        );
        let outcome = recovered(&primary, &[("LOG", &log)]);
        assert_eq!(BaseBlock::parse(&outcome.image).unwrap().flags, expected);
        let noted = outcome
            .notes
            .iter()
            .any(|note| note.contains("transaction manager"));
        assert_eq!(noted, expected & 1 == 1);
    }
}

#[test]
fn a_clean_hive_ignores_its_logs_but_counts_them() {
    let primary = hive((5, 5), b"aa");
    let log = new_log(6, &[entry(6, 2, &[(0, b'b')]), entry(7, 2, &[(0, b'c')])]);
    let outcome = recovered(&primary, &[("LOG1", &log), ("LOG2", b"rubbish")]);
    assert_nothing_applied(&primary, &outcome, State::Clean);
    assert_eq!(outcome.next_sequence, 9);
    assert_eq!(
        outcome.notes,
        ["LOG1: its entries were ignored: the hive is clean"]
    );
}

#[test]
fn pages_need_not_be_aligned() {
    let primary = hive((3, 2), b"aa");
    let pages = [(0x1020, vec![b'b'; 0x7e0]), (0x1800, vec![b'b'; 0x800])];
    let log = new_log(2, &[entry_of(2, 0x2000, 0, &pages)]);
    let outcome = recovered(&primary, &[("LOG1", &log)]);
    assert_eq!(markers(&outcome.image), b"ab");
}

#[test]
fn entries_that_contradict_themselves_spoil_the_log() {
    let primary = hive((3, 2), b"aa");
    let good = entry(2, 2, &[(0, b'b')]);
    let past_the_bins = entry(3, 2, &[(2, b'c')]);
    let wrapping = entry_of(3, 0x2000, 0, &[(u32::MAX, vec![1; 16])]);
    let mut many = entry(3, 2, &[(1, b'c')]);
    put32(&mut many, 20, u32::MAX);
    hash(&mut many);
    let mut large = entry(3, 2, &[(1, b'c')]);
    put32(&mut large, 44, u32::MAX);
    hash(&mut large);
    for (bad, words) in [
        (past_the_bins, "reaches past the 0x2000 bytes of hive bins"),
        (wrapping, "reaches past the 0x2000 bytes of hive bins"),
        (many, "page 0 of entry 3 does not lie inside the entry"),
        (large, "page 0 of entry 3 does not lie inside the entry"),
    ] {
        let log = new_log(2, &[good.clone(), bad]);
        let outcome = recovered(&primary, &[("LOG1", &log)]);
        assert_nothing_applied(&primary, &outcome, State::DirtyWithoutUsableLog);
        assert_noted(&outcome, &["no log was applied: LOG1", words]);
    }
    // What Windows stops at is no contradiction: the entries before it stand.
    let mut no_page = entry(3, 2, &[(1, b'c')]);
    put32(&mut no_page, 20, 0);
    hash(&mut no_page);
    let odd_bins = entry_of(3, 0x2001, 0, &[(0, bin(0, b'c'))]);
    for (bad, words) in [
        (no_page, "it has no page"),
        (odd_bins, "hive bins data size, 0x2001"),
    ] {
        let outcome = recovered(&primary, &[("LOG1", &new_log(2, &[good.clone(), bad]))]);
        assert_eq!(markers(&outcome.image), b"ba");
        assert_noted(&outcome, &[words]);
    }
}

#[test]
fn three_logs_must_form_one_chain() {
    let primary = hive((3, 2), b"aaa");
    let first = new_log(2, &[entry(2, 3, &[(0, b'b')])]);
    let second = new_log(3, &[entry(3, 3, &[(1, b'c')])]);
    let third = new_log(4, &[entry(4, 3, &[(2, b'd')])]);
    let outcome = recovered(
        &primary,
        &[("H.LOG", &first), ("H.LOG1", &second), ("H.LOG2", &third)],
    );
    assert_eq!(markers(&outcome.image), b"bcd");
    // A stale .LOG, as disks that once ran with one log have.
    let stale = new_log(1, &[entry(1, 3, &[(0, b'x')])]);
    let outcome = recovered(
        &primary,
        &[("H.LOG", &stale), ("H.LOG1", &first), ("H.LOG2", &second)],
    );
    assert_eq!(markers(&outcome.image), b"bca");
    assert_noted(
        &outcome,
        &["H.LOG: not applied", "number 1, before the hive's 2"],
    );
    // A .LOG with another history: nothing says which one Windows was using.
    let other = new_log(8, &[entry(8, 3, &[(2, b'x')])]);
    let outcome = recovered(
        &primary,
        &[("h.log", &other), ("h.log1", &first), ("h.log2", &second)],
    );
    assert_nothing_applied(&primary, &outcome, State::DirtyWithoutUsableLog);
    assert_noted(
        &outcome,
        &[
            "h.log begins with entry 8",
            "which of them Windows was using",
        ],
    );
    assert_eq!(outcome.next_sequence, 10);
}

#[test]
fn copies_are_one_log_and_contradictions_are_none() {
    let primary = hive((3, 2), b"aa");
    let short = new_log(2, &[entry(2, 2, &[(0, b'b')])]);
    let long = new_log(2, &[entry(2, 2, &[(0, b'b')]), entry(3, 2, &[(1, b'c')])]);
    let outcome = recovered(&primary, &[("LOG1", &short), ("LOG2", &long)]);
    assert_eq!(markers(&outcome.image), b"bc");
    assert_eq!(names(&outcome), ["LOG2"]);
    let other = new_log(2, &[entry(2, 2, &[(0, b'x')])]);
    let outcome = recovered(&primary, &[("LOG1", &short), ("LOG2", &other)]);
    assert_nothing_applied(&primary, &outcome, State::DirtyWithoutUsableLog);
    assert_noted(
        &outcome,
        &["both begin with entry 2, with different content"],
    );
}

#[test]
fn a_damaged_base_block_comes_back_from_the_latest_log() {
    let sound = hive((3, 2), b"aaa");
    let first = new_log(7, &[entry(7, 3, &[(0, b'b')]), entry(8, 3, &[(1, b'b')])]);
    let leading_up = new_log(9, &[entry(9, 3, &[(1, b'c')])]);
    let apart = new_log(10, &[entry(10, 3, &[(1, b'c')])]);
    let empty = new_log(30, &[]);
    let mut checksum = sound.clone();
    checksum[508] ^= 1;
    let mut zeroed = sound.clone();
    zeroed[..512].fill(0);
    for primary in [checksum, zeroed] {
        let outcome = recovered(&primary, &[("LOG1", &first), ("LOG2", &leading_up)]);
        assert_eq!(outcome.state, State::Replayed);
        assert_eq!(markers(&outcome.image), b"bca");
        assert_eq!(sequences(&outcome.image), (9, 9));
        assert_noted(&outcome, &["base block was restored from a log"]);
        // Not without a gap: the latest alone.
        let outcome = recovered(&primary, &[("LOG1", &first), ("LOG2", &apart)]);
        assert_eq!(markers(&outcome.image), b"aca");
        assert_noted(&outcome, &["LOG1: not applied", "do not lead up"]);
        // A log without entries cannot vouch for anything, but its number counts.
        let outcome = recovered(&primary, &[("LOG1", &first), ("LOG2", &empty)]);
        assert_eq!(markers(&outcome.image), b"bba");
        assert_eq!(outcome.next_sequence, 32);
    }
}

#[test]
fn files_that_are_no_hive_are_errors() {
    let log = new_log(2, &[entry(2, 1, &[(0, b'b')])]);
    let files = [coldfix::hive::log::LogFile {
        name: "LOG1",
        bytes: &log,
    }];
    let recover = coldfix::hive::log::recover;
    for (primary, words) in [
        (vec![], "0 bytes"),
        (vec![0; 4095], "4095 bytes"),
        (
            log.clone().into_iter().chain(vec![0; 4096]).collect(),
            "type 6, a transaction log",
        ),
    ] {
        let error = recover(primary, &files).unwrap_err();
        assert!(error.to_string().contains(words), "{error}");
        assert_eq!(error.kind(), coldfix::error::Kind::Damaged);
    }
    let error = recover(vec![b'x'; 8192], &[]).unwrap_err().to_string();
    assert!(error.contains("expected \"regf\""), "{error}");
    // A log brings a base block, but this file has no hive bins and the log's page is not the first.
    let other = new_log(2, &[entry(2, 2, &[(1, b'b')])]);
    let files = [coldfix::hive::log::LogFile {
        name: "LOG1",
        bytes: &other,
    }];
    let error = recover(vec![b'x'; 12288], &files).unwrap_err().to_string();
    assert!(error.contains("first hive bin"), "{error}");
}

#[test]
fn unusable_logs_are_explained() {
    let primary = hive((3, 2), b"a");
    let mut being_written = new_log(2, &[entry(2, 1, &[(0, b'b')])]);
    set_sequences(&mut being_written, 3, 2).unwrap();
    let a_hive = hive((2, 2), b"b");
    for (log, words) in [
        (&b""[..], "it is empty"),
        (&[0; 2048], "it is all zeros"),
        (b"regf", "4 bytes"),
        (&[0x55; 4096], "expected \"regf\""),
        (&being_written, "sequence numbers 3 and 2"),
        (&a_hive, "its file type is 0"),
        (&base(9, (2, 2), 1), "its file type is 9"),
    ] {
        let outcome = recovered(&primary, &[("LOG1", log)]);
        assert_nothing_applied(&primary, &outcome, State::DirtyWithoutUsableLog);
        assert_noted(&outcome, &["LOG1: not us", words]);
    }
}

/// What the head of the module argues: after an edit under `next_sequence`, no entry that existed before it
/// can come back, even if Windows crashes over it and the logs were never cleared.
#[test]
fn an_edited_hive_never_takes_an_old_entry() {
    let primary = hive((6, 5), b"aaaa");
    let log1 = new_log(5, &[entry(5, 4, &[(0, b'b')]), entry(6, 4, &[(1, b'b')])]);
    let log2 = new_log(
        7,
        &[
            entry(7, 4, &[(2, b'c')]),
            entry(3, 4, &[(3, b'x')]),
            entry(12, 4, &[(3, b'x')]),
        ],
    );
    let outcome = recovered(&primary, &[("LOG1", &log1), ("LOG2", &log2)]);
    assert_eq!(markers(&outcome.image), b"bbca");
    let next = outcome.next_sequence;
    assert_eq!(next, 14);
    // The edit, then a write that Windows began: numbers next + 1 and next.
    let mut edited = outcome.image;
    edited[2 * PAGE + 32..3 * PAGE].fill(b'E');
    set_sequences(&mut edited, next + 1, next).unwrap();
    let outcome = recovered(&edited, &[("LOG1", &log1), ("LOG2", &log2)]);
    assert_nothing_applied(&edited, &outcome, State::DirtyWithoutUsableLog);
    // Windows has begun a new run at the head of the first log; old entries follow it there.
    let mut reused = log1.clone();
    let run = new_log(next, &[entry(next, 4, &[(3, b'N')])]);
    reused[..run.len()].copy_from_slice(&run);
    for other in [log2.clone(), neutralised(&log2)] {
        let outcome = recovered(&edited, &[("LOG1", &reused), ("LOG2", &other)]);
        assert_eq!(outcome.state, State::Replayed);
        assert_eq!(names(&outcome), ["LOG1"]);
        assert_eq!(markers(&outcome.image), b"bEcN");
        assert_eq!(outcome.next_sequence, next + 3);
    }
}

/// Our own write, cut short: the hive says (next, next - 1), and the last run in the logs began with the
/// highest number there is.
#[test]
fn an_interrupted_edit_never_takes_an_old_entry() {
    let primary = hive((6, 5), b"aa");
    let log1 = new_log(5, &[entry(5, 2, &[(0, b'b')])]);
    let log2 = new_log(6, &[entry(6, 2, &[(1, b'b')])]);
    let files = [("LOG1", &log1[..]), ("LOG2", &log2)];
    let outcome = recovered(&primary, &files);
    let next = outcome.next_sequence;
    let mut half_written = outcome.image;
    set_sequences(&mut half_written, next, next - 1).unwrap();
    half_written[PAGE + 32..2 * PAGE].fill(b'E');
    let outcome = recovered(&half_written, &files);
    assert_nothing_applied(&half_written, &outcome, State::DirtyWithoutUsableLog);
    // One lower, and the second log would be replayed over the edit.
    set_sequences(&mut half_written, next - 1, next - 2).unwrap();
    assert_eq!(recovered(&half_written, &files).state, State::Replayed);
}

#[test]
fn short_logs_are_neutralised_whole() {
    assert_eq!(neutralised(b""), b"");
    assert_eq!(neutralised(&[7; 10]), [0; 10]);
    assert_eq!(neutralised(&[7; 1024]), [0; 1024]);
    let mut expected = vec![0; 1025];
    expected[1024] = 7;
    assert_eq!(neutralised(&[7; 1025]), expected);
}
