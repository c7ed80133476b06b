// SPDX-License-Identifier: GPL-2.0-or-later
//! The restart page of a closed journal.

use super::damage::edit;
use super::*;
use crate::volume::ntfs::multi_sector;

/// The journal with this page in both places.
fn with_page(log: &Bytes, page: &[u8; PAGE]) -> Bytes {
    let mut log = log.clone();
    log.0[..PAGE].copy_from_slice(page);
    log.0[PAGE..PAGE + PAGE].copy_from_slice(page);
    log
}

/// The fields of a restart page, its sectors' ends put back.
fn restored(page: &[u8; PAGE]) -> Vec<u8> {
    let mut page = page.to_vec();
    multi_sector::restore(&mut page, b"RSTR", "", 0).unwrap();
    page
}

fn u64_at(page: &[u8], at: usize) -> u64 {
    crate::bytes::u64_le(page, at).unwrap()
}

#[test]
fn an_idle_journal_is_closed_at_its_end() {
    for (name, end) in [(A, 0x28_92AF), (B, 0x40_5B7F)] {
        let Some((log, geometry)) = real(name) else {
            return;
        };
        let journal = judge(&log, geometry);
        let closed = closed_page(&journal, &log).unwrap();
        let page = restored(&closed);
        let newest = journal.newest.as_ref().unwrap();
        let mut expected = newest.page.clone();
        // The update sequence number goes on by one.
        let number = u16::from_le_bytes([expected[0x1E], expected[0x1F]]) + 1;
        let put = |page: &mut Vec<u8>, at: usize, bytes: &[u8]| {
            page[at..at + bytes.len()].copy_from_slice(bytes);
        };
        put(&mut expected, 0x1E, &number.to_le_bytes());
        put(&mut expected, 0x1A, &[1, 0, 1, 0]);
        put(&mut expected, 0x30, &u64::to_le_bytes(end));
        put(&mut expected, 0x3A, &[0, 0, 0xFF, 0xFF, 2, 0]);
        // A checkpoint of Windows 10 has 70 bytes.
        put(&mut expected, 0x50, &[0x70, 0, 0, 0]);
        let count = newest.u32(0x28) + 1;
        put(&mut expected, 0x58, &count.to_le_bytes());
        put(&mut expected, 0x70, &u64::to_le_bytes(end));
        put(&mut expected, 0x78, &[0; 8]);
        put(&mut expected, 0x80, &[0xFF; 4]);
        // What was in the array of the update sequence before does not matter.
        put(&mut expected, 0x20, &page[0x20..0x30]);
        assert!(page == expected, "{name}");

        let after = judge(&with_page(&log, &closed), geometry);
        assert_eq!(after.verdict, Verdict::Clean, "{name}");
        assert_eq!(after.version(), Some((1, 1)));
    }
}

/// Where the end is not known, the next record shall come into the next sequence.
#[test]
fn a_journal_without_end_is_closed_in_the_next_sequence() {
    let Some((mut log, geometry)) = real(A) else {
        return;
    };
    log.0[0x2000 + 1022] ^= 1;
    let journal = judge(&log, geometry);
    assert!(matches!(journal.verdict, Verdict::Refused(_)) && journal.end.is_none());
    let closed = closed_page(&journal, &log).unwrap();
    let page = restored(&closed);
    // Sequence 5 with 19 bits of offset: all LSNs of this log begin with 28.
    assert_eq!(u64_at(&page, 0x30), 6 << 19);
    assert_eq!(u64_at(&page, 0x70), 6 << 19);
    assert_eq!(page[0x50..0x54], [0; 4]);
    let after = judge(&with_page(&log, &closed), geometry);
    assert_eq!(after.verdict, Verdict::Clean);

    // A page that is newer than all the rest counts.
    edit(&mut log, 0x5_0000, |page| {
        page[8..16].copy_from_slice(&u64::to_le_bytes(77 << 19 | 0xA008));
        page[0x20..0x28].copy_from_slice(&u64::to_le_bytes(77 << 19 | 0xA008));
    });
    let closed = closed_page(&judge(&log, geometry), &log).unwrap();
    assert_eq!(u64_at(&restored(&closed), 0x30), 78 << 19);
    // Not beyond what signed numbers hold.
    edit(&mut log, 0x5_0000, |page| page[0x20..0x28].fill(0xFF));
    let error = closed_page(&judge(&log, geometry), &log).unwrap_err();
    assert!(error.to_string().contains("sequences below"), "{error}");
}

#[test]
fn what_does_not_tell_its_layout_is_not_closed() {
    let Some((log, geometry)) = real(B) else {
        return;
    };
    let close = |log: &Bytes| closed_page(&judge(log, geometry), log).map(|page| restored(&page));
    let mut erased = log.clone();
    erased.0[..2 * PAGE].fill(0xFF);
    assert!(
        close(&erased)
            .unwrap_err()
            .to_string()
            .contains("no good restart page")
    );
    // One good page suffices.
    let mut torn = log.clone();
    torn.0[1022] ^= 1;
    let (one, both) = (close(&torn).unwrap(), close(&log).unwrap());
    assert!(judge(&torn, geometry).verdict != Verdict::Clean);
    assert_eq!(one.len(), both.len());
    torn.0[PAGE + 1022] ^= 1;
    assert!(close(&torn).is_err());
    for (at, bytes) in [
        (0x1C, &[3, 0][..]),
        (0x40, &[1]),
        (0x48, &[1]),
        (0x54, &[0x20]),
        (0x90, b"X"),
    ] {
        let mut strange = log.clone();
        for page in [0, PAGE] {
            edit(&mut strange, page, |page| {
                page[at..at + bytes.len()].copy_from_slice(bytes);
            });
        }
        assert!(close(&strange).is_err(), "{at:#x}");
    }
}
