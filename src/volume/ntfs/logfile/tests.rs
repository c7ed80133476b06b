// SPDX-License-Identifier: GPL-2.0-or-later
use super::*;
use crate::volume::ntfs::parts::part;

/// A restart page of version 1.1 with these fields.
fn page(lsn: u64, in_use: u16, flags: u16) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    page[..8].copy_from_slice(b"RSTR\x1E\0\x09\0");
    page[0x10..0x18].copy_from_slice(&[0, 0x10, 0, 0, 0, 0x10, 0, 0]);
    page[0x18..0x1E].copy_from_slice(&[0x30, 0, 1, 0, 1, 0]);
    page[0x30..0x38].copy_from_slice(&lsn.to_le_bytes());
    page[0x38] = 1;
    page[0x3C..0x3E].copy_from_slice(&in_use.to_le_bytes());
    page[0x3E..0x40].copy_from_slice(&flags.to_le_bytes());
    page[0x44] = 0xE0;
    assert!(multi_sector::protect(&mut page));
    page
}

fn verdict(first: [u8; PAGE], second: [u8; PAGE]) -> Option<String> {
    uncleanness(&[first, second].concat(), || true)
}

#[test]
fn the_newer_page_decides() {
    let (clean, used) = (page(10, 0, 2), page(20, 0, 0));
    assert_eq!(verdict(clean, clean), None);
    assert_eq!(verdict(page(10, 0xFFFF, 0), page(10, 0xFFFF, 0)), None);
    assert!(verdict(clean, used).unwrap().contains("in use"));
    assert!(verdict(used, clean).unwrap().contains("in use"));
    assert_eq!(verdict(page(30, 0, 2), used), None);
    assert_eq!(verdict(used, page(30, 0, 2)), None);
}

#[test]
fn an_erased_journal_is_clean_when_all_of_it_is() {
    let empty = [0xFF; PAGE];
    assert_eq!(verdict(empty, empty), None);
    let start = [empty, empty].concat();
    assert!(uncleanness(&start, || false).unwrap().contains("erased"));
    assert!(verdict(empty, page(1, 0, 2)).is_some());
}

#[test]
fn what_is_bad_or_unknown_is_not_clean() {
    let clean = page(10, 0, 2);
    let change = |offset: usize, bytes: &[u8]| {
        let mut page = clean;
        multi_sector::restore(&mut page, b"RSTR", "", 0).unwrap();
        page[offset..offset + bytes.len()].copy_from_slice(bytes);
        assert!(multi_sector::protect(&mut page));
        page
    };
    let mut torn = clean;
    torn[1022] ^= 1;
    for (name, bad) in [
        (
            "version 2.0 though flagged clean",
            change(0x1A, &[0, 0, 2, 0]),
        ),
        ("version 1.0", change(0x1A, &[0, 0, 1, 0])),
        ("version 3.0", change(0x1A, &[0, 0, 3, 0])),
        ("pages of 8 KiB", change(0x10, &[0, 0x20])),
        ("log pages of 8 KiB", change(0x14, &[0, 0x20])),
        ("two clients", change(0x38, &[2])),
        ("area past the page", change(0x44, &[0, 0x10])),
        ("area over the header", change(0x18, &[0x10])),
        ("zeros", [0; PAGE]),
        ("torn", torn),
    ] {
        assert!(verdict(bad, bad).is_some(), "{name}");
        // Nor can the other page vouch for it, unless it is known to be the newer one.
        if !name.starts_with("version") {
            assert!(verdict(bad, clean).unwrap().contains("first"), "{name}");
            assert!(verdict(clean, bad).unwrap().contains("second"), "{name}");
        }
    }
    for len in [0, 1, PAGE, 2 * PAGE - 1] {
        assert!(uncleanness(&[clean, clean].concat()[..len], || true).is_some());
    }
}

#[test]
fn after_chkdsk_the_journal_is_void() {
    let mut checked = page(10, 0, 0);
    checked[..4].copy_from_slice(b"CHKD");
    assert_eq!(verdict(checked, checked), None);
}

#[test]
fn journals_of_windows() {
    for (name, clean) in [
        ("LogFile_7.bin.xz", true),
        ("LogFile_10.bin.xz", false),
        ("LogFile_10_large.bin.xz", false),
        ("LogFile_10_downgraded.bin.xz", true),
        ("LogFile_empty.bin.xz", true),
    ] {
        let Some(journal) = part(name) else {
            return;
        };
        let found = uncleanness(&journal[..2 * PAGE], || {
            journal[2 * PAGE..].iter().all(|byte| *byte == 0xFF)
        });
        assert_eq!(found.is_none(), clean, "{name}: {found:?}");
    }
}
