// SPDX-License-Identifier: GPL-2.0-or-later
//! Damaged, hostile and pending journals.

use proptest::prelude::*;

use super::*;
use crate::volume::ntfs::multi_sector;

/// Changes the record page or restart page at `at`, keeping its protection good.
pub(super) fn edit(log: &mut Bytes, at: usize, change: impl FnOnce(&mut [u8])) {
    let page = &mut log.0[at..at.wrapping_add(PAGE)];
    let magic = *page.first_chunk::<4>().unwrap();
    multi_sector::restore(page, &magic, "", 0).unwrap();
    change(page);
    assert!(multi_sector::protect(page));
}

/// Both restart pages name the same LSNs.
pub(super) fn set_restart(log: &mut Bytes, current: u64, checkpoint: u64, oldest: u64) {
    for at in [0, PAGE] {
        edit(log, at, |page| {
            page[0x30..0x38].copy_from_slice(&current.to_le_bytes());
            page[0x70..0x78].copy_from_slice(&oldest.to_le_bytes());
            page[0x78..0x80].copy_from_slice(&checkpoint.to_le_bytes());
        });
    }
}

#[test]
fn a_lost_newest_page_is_refused() {
    let Some((log, geometry)) = real(A) else {
        return;
    };
    let mut torn = log.clone();
    torn.0[0x2000 + 1022] ^= 1;
    let journal = judge(&torn, geometry);
    assert!(
        matches!(journal.verdict, Verdict::Refused(_)),
        "{journal:?}"
    );
    assert_eq!(journal.end, None);
    let text = journal.uncleanness().unwrap();
    assert!(text.starts_with("cannot be analysed"), "{text}");
    assert!(text.contains("lost or torn"), "{text}");
    // The geometry of another volume, and a log shorter than it says.
    let other = Geometry {
        cluster_size: 4096,
        ..geometry
    };
    let refused =
        |log: &Bytes, geometry| matches!(judge(log, geometry).verdict, Verdict::Refused(_));
    assert!(refused(&log, other));
    let cut = Bytes(log.0[..log.0.len() - PAGE].to_vec());
    assert!(refused(&cut, geometry));
}

/// Stopping at an older checkpoint with dirty pages makes a log that waits for a replay.
#[test]
fn pending_logs_are_counted() {
    let Some((mut log, geometry)) = real(A) else {
        return;
    };
    set_restart(&mut log, 0x28_92AF, 0x28_728E, 0x28_4408);
    let journal = judge(&log, geometry);
    let Verdict::Pending(pending) = &journal.verdict else {
        panic!("{journal:?}");
    };
    assert_eq!((pending.pages, pending.redo), (11, 47));
    assert_eq!((pending.open.len(), pending.undo), (0, 0));
    let text = journal.uncleanness().unwrap();
    assert!(
        text.starts_with("pending: 0 transactions, 11 pages"),
        "{text}"
    );
    assert!(text.contains("concerned"), "{text}");
    // What the log no longer holds cannot be replayed.
    set_restart(&mut log, 0x28_92AF, 0x28_728E, 0x28_728E);
    let journal = judge(&log, geometry);
    assert!(
        matches!(journal.verdict, Verdict::Refused(_)),
        "{journal:?}"
    );
    // The records could be read all the same.
    assert_eq!(journal.end.unwrap().lsn, 0x28_92AF);
}

/// Without its end, a transaction must be taken back.
#[test]
fn an_open_transaction_is_pending() {
    let Some((log, geometry)) = real(A) else {
        return;
    };
    let mut restart = restart_of(&log);
    restart.oldest_lsn = 0x28_4408;
    let mut chain = Chain::build(&log, &restart, 0x28_4408).unwrap();
    // The log ended inside a transaction: one record (operation 14) waits to be undone.
    chain.end = 0x28_91DF;
    let analysis = Analysis::run(&chain, 0x28_7EA8, geometry);
    let found = analysis.unwrap().pending().unwrap();
    assert_eq!((found.open.len(), found.undo), (1, 1), "{found:?}");
    let open = found.open[0];
    assert!(!open.prepared && open.undo_next == 0x28_91DF, "{open:?}");
    assert_eq!((found.pages, found.redo), (11, 36));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(48))]

    /// Whatever the bytes, there is a verdict; and a record page that is changed under good protection never
    /// makes a clean journal of one that is not.
    #[test]
    fn hostile_journals_get_a_verdict(
        changes in prop::collection::vec((0_usize..0x34, 0x30_usize..PAGE, any::<u8>()), 1..12),
        cut in any::<prop::sample::Index>(),
        truncate in any::<bool>(),
    ) {
        let Some(mut log) = fragment("LogFile_10.bin.xz") else { return Ok(()) };
        for (page, at, value) in changes {
            let page = page.wrapping_mul(PAGE);
            if log.0[page..].starts_with(b"RCRD") {
                edit(&mut log, page, |page| page[at] = value);
            } else {
                log.0[page.wrapping_add(at)] = value;
            }
        }
        if truncate {
            let len = cut.index(log.0.len());
            log.0.truncate(len);
        }
        prop_assert_ne!(judge(&log, GEOMETRY).verdict, Verdict::Clean);
    }
}
