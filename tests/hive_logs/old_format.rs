// SPDX-License-Identifier: GPL-2.0-or-later
//! Logs of the old format, matched by time.

use super::writer::{
    PAGE, assert_noted, bin, entry, hive, markers, new_log, old_log, put32, recovered, sequences,
};
use coldfix::hive::base_block::{self, BaseBlock, FileType, set_last_written, set_sequences};
use coldfix::hive::log::{Recovered, State, neutralised};

const TIME: u64 = 0x01d2_9627_f1c8_a860;

/// A dirty hive written at `TIME`; its first bin still bears the time of the write before.
fn dirty(sequences: (u32, u32), markers: &[u8]) -> Vec<u8> {
    let mut hive = hive(sequences, markers);
    set_last_written(&mut hive, TIME).unwrap();
    hive[PAGE + 20..PAGE + 28].copy_from_slice(&(TIME - 1000).to_le_bytes());
    hive
}

fn assert_nothing_applied(primary: &[u8], outcome: &Recovered) {
    assert_eq!(
        outcome.state,
        State::DirtyWithoutUsableLog,
        "{:#?}",
        outcome.notes
    );
    assert!(outcome.image == primary && outcome.applied.is_empty());
}

#[test]
fn the_log_of_the_same_time_applies() {
    let primary = dirty((5, 4), b"aaaa");
    // Vista and later write the new number into the log, earlier systems still have the old one there.
    for (number, file_type) in [(5, 1), (4, 1), (4, 2)] {
        let mut log = old_log(number, TIME, 4, &[(1, b'b'), (3, b'c')]);
        base_block::set_file_type(&mut log, FileType::from(file_type)).unwrap();
        log.extend([0xee; 1000]);
        let outcome = recovered(&primary, &[("LOG1", &log)]);
        assert_eq!(outcome.state, State::Replayed);
        assert_eq!(markers(&outcome.image), b"abac");
        assert_eq!(sequences(&outcome.image), (5, 5));
        assert_eq!(outcome.next_sequence, 7);
        assert_eq!(outcome.applied[0].bytes, 2 * PAGE as u64);
    }
}

#[test]
fn single_sectors_apply() {
    let primary = dirty((5, 4), b"aa");
    let mut log = old_log(5, TIME, 2, &[]);
    log[516 + 1] = 0b0000_1001;
    log.extend(&bin(1, b'b')[..512]);
    log.extend([b'c'; 512]);
    let outcome = recovered(&primary, &[("LOG1", &log)]);
    let second = &outcome.image[2 * PAGE..];
    for (range, marker) in [
        (32..512, b'b'),
        (512..1536, b'a'),
        (1536..2048, b'c'),
        (2048..4096, b'a'),
    ] {
        assert!(
            second[range.clone()].iter().all(|&byte| byte == marker),
            "{range:?}"
        );
    }
}

#[test]
fn a_log_of_another_time_does_not_apply() {
    let primary = dirty((5, 4), b"aa");
    let older = old_log(5, TIME - 1, 2, &[(0, b'b')]);
    let outcome = recovered(&primary, &[("LOG1", &older)]);
    assert_nothing_applied(&primary, &outcome);
    assert_noted(
        &outcome,
        &["LOG1: not applied", "before the hive was last written"],
    );
    // Newer by its clock, but an older number: a clock that was set back.
    let odd = old_log(3, TIME + 1, 2, &[(0, b'b')]);
    assert_nothing_applied(&primary, &recovered(&primary, &[("LOG1", &odd)]));
}

#[test]
fn the_second_log_is_used_when_it_is_newer_and_the_first_does_not_fit() {
    let primary = dirty((5, 4), b"aa");
    let fitting = old_log(5, TIME, 2, &[(0, b'b')]);
    let stale = old_log(5, TIME - 1, 2, &[(0, b'x')]);
    let newer = old_log(6, TIME + 1, 2, &[(0, b'c'), (1, b'c')]);
    let newest = old_log(7, TIME + 2, 2, &[(0, b'd'), (1, b'd')]);
    let outcome = recovered(&primary, &[("LOG1", &fitting), ("LOG2", &newer)]);
    assert_eq!(markers(&outcome.image), b"ba");
    assert_eq!(outcome.next_sequence, 8);
    let outcome = recovered(&primary, &[("LOG1", &stale), ("LOG2", &newer)]);
    assert_eq!(markers(&outcome.image), b"cc");
    assert_eq!(sequences(&outcome.image), (6, 6));
    // The log's base block was made after the hive's.
    let base = BaseBlock::parse(&outcome.image).unwrap();
    assert_eq!(base.last_written, TIME + 1);
    let outcome = recovered(&primary, &[("LOG1", &newer), ("LOG2", &newest)]);
    assert_eq!(markers(&outcome.image), b"dd");
}

#[test]
fn the_first_bin_dates_a_hive_whose_base_block_is_damaged() {
    let mut primary = dirty((5, 4), b"aa");
    primary[24] = 1;
    let log = old_log(5, TIME, 2, &[(0, b'b')]);
    let outcome = recovered(&primary, &[("LOG1", &log)]);
    assert_eq!(markers(&outcome.image), b"ba");
    assert_eq!(sequences(&outcome.image), (5, 5));
    assert_eq!(outcome.image[24], 5);
    let equal = old_log(5, TIME - 1000, 2, &[(0, b'b')]);
    assert_eq!(
        recovered(&primary, &[("LOG1", &equal)]).state,
        State::Replayed
    );
    let older = old_log(5, TIME - 1001, 2, &[(0, b'b')]);
    assert_nothing_applied(&primary, &recovered(&primary, &[("LOG1", &older)]));
    // Nothing to date it by.
    primary[PAGE] = b'x';
    assert_nothing_applied(&primary, &recovered(&primary, &[("LOG1", &log)]));
}

#[test]
fn growth_is_taken_from_the_log() {
    let primary = dirty((5, 4), b"aa");
    let log = old_log(5, TIME, 4, &[(0, b'b'), (2, b'b'), (3, b'b')]);
    let outcome = recovered(&primary, &[("LOG1", &log)]);
    assert_eq!(markers(&outcome.image), b"babb");
    let lacking = old_log(5, TIME, 4, &[(0, b'b'), (2, b'b')]);
    let outcome = recovered(&primary, &[("LOG1", &lacking)]);
    assert_nothing_applied(&primary, &outcome);
}

#[test]
fn incomplete_logs_do_not_apply() {
    let primary = dirty((5, 4), b"aa");
    let whole = old_log(5, TIME, 2, &[(0, b'b'), (1, b'b')]);
    let mut vector = whole.clone();
    vector[512] = b'd';
    let mut bins_size = whole.clone();
    base_block::set_bins_size(&mut bins_size, 0x2200).unwrap();
    let mut huge = whole.clone();
    base_block::set_bins_size(&mut huge, 0x8000_0000).unwrap();
    let mut being_written = whole.clone();
    set_sequences(&mut being_written, 6, 5).unwrap();
    let none = old_log(5, TIME, 2, &[]);
    for (log, words) in [
        (
            &whole[..whole.len() - 1],
            "cut off before the last of its 16 dirty sectors",
        ),
        (&whole[..516], "its bitmap is cut off"),
        (&whole[..512], "does not begin with \"DIRT\""),
        (&vector, "does not begin with \"DIRT\""),
        (&bins_size, "0x2200"),
        (&huge, "its bitmap is cut off"),
        (&being_written, "being written"),
        (&none, "names no dirty sector"),
    ] {
        let outcome = recovered(&primary, &[("LOG1", log)]);
        assert_nothing_applied(&primary, &outcome);
        assert_noted(&outcome, &["LOG1: not usable", words]);
    }
}

#[test]
fn a_log_whose_bins_do_not_hold_together_is_passed_over() {
    let primary = dirty((5, 4), b"aa");
    let sector = 1024;
    let good = old_log(5, TIME, 2, &[(0, b'b')]);
    for (offset, value, words) in [
        (0, 0x1234, "its signature is not \"hbin\""),
        (4, 0x1000, "its offset field names another place"),
        (8, 0x1001, "its size is not a multiple of 4096"),
        (8, 0x3000, "it reaches past the hive bins"),
    ] {
        let mut bad = good.clone();
        put32(&mut bad, sector + offset, value);
        let outcome = recovered(&primary, &[("LOG1", &bad)]);
        assert_nothing_applied(&primary, &outcome);
        assert_noted(
            &outcome,
            &["LOG1: not applied", "hive bin at offset 0x0", words],
        );
        let outcome = recovered(&primary, &[("LOG1", &bad), ("LOG2", &good)]);
        assert_eq!(markers(&outcome.image), b"ba");
        assert_eq!(outcome.applied[0].log, "LOG2");
    }
}

#[test]
fn damage_that_the_log_did_not_cause_is_reported_and_kept() {
    let mut primary = dirty((5, 4), b"aa");
    primary[2 * PAGE] = b'x';
    let log = old_log(5, TIME, 2, &[(0, b'b')]);
    let outcome = recovered(&primary, &[("LOG1", &log)]);
    assert_eq!(outcome.state, State::Replayed);
    assert_noted(
        &outcome,
        &["hive bin at offset 0x2000 is damaged", "signature"],
    );
    assert_eq!(outcome.image[2 * PAGE], b'x');
    // A log that holds the same damage has no part in a sound hive.
    let mut log = old_log(5, TIME, 2, &[(1, b'b')]);
    log[1024] = b'x';
    assert_nothing_applied(&primary, &recovered(&primary, &[("LOG1", &log)]));
}

#[test]
fn the_new_format_goes_before_the_old() {
    let primary = dirty((5, 4), b"aa");
    let old = old_log(5, TIME, 2, &[(0, b'x')]);
    let new = new_log(4, &[entry(4, 2, &[(1, b'b')])]);
    let outcome = recovered(&primary, &[("H.LOG", &old), ("H.LOG1", &new)]);
    assert_eq!(markers(&outcome.image), b"ab");
    // Where the new one is stale, the old one decides.
    let stale = new_log(2, &[entry(2, 2, &[(1, b'x')])]);
    let outcome = recovered(&primary, &[("H.LOG", &old), ("H.LOG1", &stale)]);
    assert_eq!(markers(&outcome.image), b"xa");
}

/// The old format goes by time alone: the edit needs a new time, or the logs must be cleared.
#[test]
fn an_edited_hive_does_not_take_the_old_log_again() {
    let primary = dirty((5, 4), b"aa");
    let log = old_log(5, TIME, 2, &[(0, b'b')]);
    let outcome = recovered(&primary, &[("LOG1", &log)]);
    let next = outcome.next_sequence;
    let mut edited = outcome.image;
    set_sequences(&mut edited, next + 1, next).unwrap();
    assert_nothing_applied(
        &edited,
        &recovered(&edited, &[("LOG1", &neutralised(&log))]),
    );
    // Our own reader also minds the number, Windows may not.
    assert_nothing_applied(&edited, &recovered(&edited, &[("LOG1", &log)]));
    set_last_written(&mut edited, TIME + 1).unwrap();
    assert_nothing_applied(&edited, &recovered(&edited, &[("LOG1", &log)]));
}
