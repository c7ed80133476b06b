// SPDX-License-Identifier: GPL-2.0-or-later
//! Numbers of real journals, counted by an independent parser.

use super::*;
use crate::volume::ntfs::logfile::operation as op;

#[test]
fn where_dirty_volumes_have_what() {
    // Log size, bits of the offset, which restart page is newer, the other one's LSNs, the page with the end.
    for (name, usable, bits, newer, other, end_page) in [
        (A, 0x20_0000, 19, PAGE_LEN, (0x28_91CB, 0x28_9124), 0x4_9000),
        (B, 0x4C_4000, 20, 0, (0x40_5A91, 0x40_58F8), 0x2_D000),
    ] {
        let Some((log, geometry)) = real(name) else {
            return;
        };
        let cluster = if name == A { 1024 } else { 4096 };
        assert_eq!(
            (geometry.cluster_size, geometry.record_size),
            (cluster, 1024)
        );
        let parse = |at| {
            let page = RestartPage::parse(&super::super::page(&log, at).unwrap()).unwrap();
            page.restart(log.len()).unwrap()
        };
        let (new, old) = (parse(newer), parse(PAGE_LEN - newer));
        assert_eq!(restart_of(&log), new, "{name}");
        assert_eq!((new.usable, new.offset_bits), (usable, bits), "{name}");
        assert_eq!((old.current_lsn, old.oldest_lsn), other, "{name}");
        assert_eq!(new.page(new.current_lsn), end_page, "{name}");
        // In place, that page is of an older session or of none.
        let in_place = pages::intact(&log, end_page).unwrap();
        assert!(
            in_place.is_none_or(|(header, _)| header.last_end_lsn < new.oldest_lsn),
            "{name}"
        );
    }
}

/// How often a session has each pair of operations; an undo of None is any.
type Counts<'a> = &'a [(u16, Option<u16>, usize)];

#[test]
fn whole_sessions() {
    let a: Counts<'_> = &[
        (op::FORGET, Some(1), 101),
        (0x07, None, 61),
        (0x13, None, 10),
        (0x14, None, 37),
        (0x0B, None, 11),
        (0x08, Some(0x08), 12),
        (0x08, Some(0), 3),
        (0x0C, None, 2),
        (0x0D, None, 0),
        (0x0E, None, 13),
        (0x0F, None, 3),
        (0x05, None, 8),
        (0x06, None, 3),
        (0x02, None, 5),
        (0x03, None, 1),
        (op::SET_BITS, None, 6),
        (op::CLEAR_BITS, None, 1),
        (0x09, None, 0),
        (0x25, None, 0),
        (0x21, None, 0),
        (op::OPEN_ATTRIBUTE, None, 10),
        (op::OPEN_ATTRIBUTE_TABLE, None, 45),
        (op::ATTRIBUTE_NAMES, None, 45),
        (op::DIRTY_PAGE_TABLE, None, 24),
        (op::TRANSACTION_TABLE, None, 0),
        (0, Some(0), 13),
        (0, Some(3), 5),
    ];
    let b: Counts<'_> = &[
        (op::FORGET, Some(1), 48),
        (0x07, None, 33),
        (0x13, None, 11),
        (0x14, None, 10),
        (0x0B, None, 54),
        (0x08, Some(0x08), 4),
        (0x08, Some(0), 24),
        (0x0C, None, 4),
        (0x0D, None, 1),
        (0x0E, None, 2),
        (0x0F, None, 0),
        (0x05, None, 4),
        (0x06, None, 3),
        (0x02, None, 2),
        (0x03, None, 0),
        (op::SET_BITS, None, 3),
        (op::CLEAR_BITS, None, 0),
        (0x09, None, 1),
        (0x25, None, 1),
        (0x21, None, 6),
        (op::OPEN_ATTRIBUTE, None, 11),
        (op::OPEN_ATTRIBUTE_TABLE, None, 6),
        (op::ATTRIBUTE_NAMES, None, 6),
        (op::DIRTY_PAGE_TABLE, None, 4),
        (op::TRANSACTION_TABLE, None, 0),
        (0, Some(0), 7),
        (0, Some(3), 2),
    ];
    for (name, first, records, checkpoints, across, counts) in
        [(A, 0x28_4408, 465, 46, 31, a), (B, 0x40_4408, 254, 7, 7, b)]
    {
        let Some((log, _)) = real(name) else { return };
        let (_, operations) = session(&log, first);
        assert_eq!(operations.len(), records, "{name}");
        let found = operations.iter().filter(|codes| codes.is_none()).count();
        assert_eq!(found, checkpoints, "{name}");
        let counted: usize = counts.iter().map(|count| count.2).sum();
        assert_eq!(
            counted,
            records - checkpoints,
            "{name}: every record is counted"
        );
        for (redo, undo, expected) in counts {
            let found = operations
                .iter()
                .flatten()
                .filter(|codes| codes.0 == *redo && undo.is_none_or(|undo| undo == codes.1));
            assert_eq!(found.count(), *expected, "{name}: {redo:#x} {undo:x?}");
        }
        // Records that go on in the following page.
        let restart = restart_of(&log);
        let chain = Chain::build(&log, &restart, first).unwrap();
        let mut found = 0;
        walk(&chain, first, |record| {
            let start = restart.offset(record.lsn);
            let end = start + 0x30 + record.data.len() as u64;
            found += usize::from((end - 1) & !0xFFF != start & !0xFFF);
            Ok(())
        })
        .unwrap();
        assert_eq!(found, across, "{name}");
    }
}

#[test]
fn fragments_of_windows_journals() {
    for (name, first, end, records, checkpoints, newer) in [
        ("LogFile_10.bin.xz", 0x80_4408, 0x80_6158, 243, 11, 0),
        (
            "LogFile_10_downgraded.bin.xz",
            0x80_4408,
            0x80_64AF,
            268,
            14,
            0,
        ),
        (
            "LogFile_10_large.bin.xz",
            0x40_4408,
            0x40_6E75,
            405,
            6,
            PAGE_LEN,
        ),
        ("LogFile_7.bin.xz", 0x80_0808, 0x80_541D, 779, 15, 0),
    ] {
        let Some(log) = fragment(name) else { return };
        let (found, operations) = session(&log, first);
        assert_eq!(found, end, "{name}");
        assert_eq!(operations.len(), records, "{name}");
        let found = operations.iter().filter(|codes| codes.is_none()).count();
        assert_eq!(found, checkpoints, "{name}");
        let restart = restart_of(&log);
        let page = RestartPage::parse(&super::super::page(&log, newer).unwrap()).unwrap();
        assert_eq!(page.restart(log.len()).unwrap(), restart, "{name}");
        let journal = judge(&log, GEOMETRY);
        eprintln!("{name}: {:?}", journal.uncleanness());
        let chain = Chain::build(&log, &restart, first).unwrap();
        let place = |lsn| {
            let page = restart.page(lsn);
            (
                page,
                chain.page(page, restart.sequence(lsn)).unwrap().source,
            )
        };
        match name {
            "LogFile_10_downgraded.bin.xz" => {
                assert_eq!(journal.verdict, Verdict::Clean, "{name}");
            }
            "LogFile_7.bin.xz" => {
                assert_eq!(journal.verdict, Verdict::Clean, "{name}");
                // Its tables have the older shape.
                let start = tables::Checkpoint::read(&chain, restart.restart_lsn, 4096).unwrap();
                assert_eq!(start.major, 0);
            }
            "LogFile_10.bin.xz" => {
                assert_ne!(journal.verdict, Verdict::Clean, "{name}");
                // The end of the log is in the second bank of fast pages only.
                assert_eq!(place(end).1, 0x1_2000);
            }
            _ => {
                assert_ne!(journal.verdict, Verdict::Clean, "{name}");
                // This record begins in a page in place and ends in a fast page.
                assert_eq!(place(0x40_6DCB), (0x3_6000, 0x3_6000));
                let next = chain.page(0x3_7000, restart.sequence(0x40_6DCB)).unwrap();
                assert_eq!(next.source, 0x2000);
                let record = record::LogRecord::read(&chain, 0x40_6DCB).unwrap();
                assert_eq!(restart.page(record.next), 0x3_7000);
            }
        }
    }
    let Some(log) = fragment("LogFile_empty.bin.xz") else {
        return;
    };
    assert_eq!(judge(&log, GEOMETRY).verdict, Verdict::Clean);
}

#[test]
fn analysis_from_earlier_checkpoints() {
    for (name, session, rows) in [
        (
            A,
            0x28_4408,
            [
                (0x28_47AF, 432, 19, 0x28_443D, 176),
                (0x28_728E, 160, 11, 0x28_70DC, 47),
                (0x28_91CB, 8, 1, 0x28_912F, 1),
            ],
        ),
        (
            B,
            0x40_4408,
            [
                (0x40_46FA, 224, 20, 0x40_443D, 163),
                (0x40_56C8, 25, 20, 0x40_4456, 157),
                (0x40_5A91, 10, 2, 0x40_58F8, 4),
            ],
        ),
    ] {
        let Some((log, geometry)) = real(name) else {
            return;
        };
        let mut restart = restart_of(&log);
        restart.oldest_lsn = session;
        let chain = Chain::build(&log, &restart, session).unwrap();
        for (checkpoint, records, pages, redo_lsn, redo) in rows {
            let analysis = Analysis::run(&chain, checkpoint, geometry).unwrap();
            let pending = analysis.pending().unwrap();
            eprintln!("{name} {checkpoint:x}: {pending:x?}");
            assert_eq!(analysis.records, records, "{checkpoint:x}");
            assert_eq!(pending.pages, pages, "{checkpoint:x}");
            assert_eq!(analysis.redo_lsn, redo_lsn, "{checkpoint:x}");
            assert_eq!(pending.redo, redo, "{checkpoint:x}");
            assert_eq!((pending.open.len(), pending.undo), (0, 0), "{checkpoint:x}");
            assert!(!pending.files.is_empty());
        }
    }
}

/// Logs that end earlier, some of them inside a transaction.
#[test]
fn analysis_to_earlier_ends() {
    for (name, session, checkpoint, end, records, pages, redo, undo) in [
        (A, 0x28_4408, 0x28_7EA8, 0x28_9208, 104, 11, 36, &[][..]),
        (A, 0x28_4408, 0x28_7EA8, 0x28_91DF, 103, 11, 36, &[0x14]),
        (B, 0x40_4408, 0x40_56C8, 0x40_5AD5, 22, 20, 157, &[]),
        (
            B,
            0x40_4408,
            0x40_56C8,
            0x40_5ABC,
            21,
            20,
            157,
            &[0x13, 0x07],
        ),
    ] {
        let Some((log, geometry)) = real(name) else {
            return;
        };
        let mut restart = restart_of(&log);
        restart.oldest_lsn = session;
        let mut chain = Chain::build(&log, &restart, session).unwrap();
        chain.end = end;
        let analysis = Analysis::run(&chain, checkpoint, geometry).unwrap();
        let pending = analysis.pending().unwrap();
        assert_eq!(analysis.records, records, "{end:x}");
        assert_eq!((pending.pages, pending.redo), (pages, redo), "{end:x}");
        let mut codes = Vec::new();
        analysis
            .undo(|_, _, action| {
                codes.push(action.undo);
                Ok(())
            })
            .unwrap();
        assert_eq!(codes, undo, "{end:x}");
        assert_eq!(pending.undo, undo.len(), "{end:x}");
        assert_eq!(pending.open.len(), usize::from(!undo.is_empty()), "{end:x}");
    }
}
