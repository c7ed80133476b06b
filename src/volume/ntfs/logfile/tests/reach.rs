// SPDX-License-Identifier: GPL-2.0-or-later
//! Which clusters and MFT records pending records concern.

#![allow(clippy::arithmetic_side_effects)]

use std::collections::BTreeSet;

use proptest::prelude::*;

use super::damage::edit;
use super::*;
use crate::volume::ntfs::logfile::pending::Reach;

/// Runs the analysis of a session from an earlier checkpoint on.
fn pending(log: &Bytes, geometry: Geometry, session: u64, checkpoint: u64) -> Result<Pending> {
    let mut restart = restart_of(log);
    restart.oldest_lsn = session;
    let chain = Chain::build(log, &restart, session)?;
    Analysis::run(&chain, checkpoint, geometry)?.pending()
}

#[test]
fn whatever_a_record_names_is_in_reach() {
    for (name, session, checkpoint, records, ranges) in [
        (A, 0x28_4408, 0x28_47AF, &[0, 4, 5, 6, 9, 26][..], 1),
        (A, 0x28_4408, 0x28_728E, &[0, 5, 9, 37, 47], 0),
        (A, 0x28_4408, 0x28_91CB, &[5], 0),
        (B, 0x40_4408, 0x40_46FA, &[0, 3, 5, 6, 9, 25], 1),
        (B, 0x40_4408, 0x40_5A91, &[36, 37, 39, 48], 0),
    ] {
        let Some((log, geometry)) = real(name) else {
            return;
        };
        let pending = pending(&log, geometry, session, checkpoint).unwrap();
        assert_eq!(pending.reach.everything, None);
        let first: Vec<u64> = pending.files.iter().copied().take(records.len()).collect();
        assert_eq!(first, records, "{name} {checkpoint:x}");
        let mut restart = restart_of(&log);
        restart.oldest_lsn = session;
        let chain = Chain::build(&log, &restart, session).unwrap();
        let analysis = Analysis::run(&chain, checkpoint, geometry).unwrap();
        let has = |cluster: u64| pending.reach.find(cluster, cluster + 1) == Some(cluster);
        let mut found = 0;
        analysis
            .redo(|record, action| {
                let named = action.lcns.iter().filter(|lcn| **lcn != 0);
                assert!(named.into_iter().all(|lcn| has(*lcn)), "{record:x?}");
                let of = analysis.attribute_of(record.lsn, action)?.file.record;
                if action.redo != operation::SET_BITS || of != record_number::BITMAP {
                    return Ok(());
                }
                let data = action.redo_data.unwrap();
                let field = |at| u64::from(crate::bytes::u32_le(data, at).unwrap());
                let byte = action.vcn * u64::from(geometry.cluster_size) + action.cluster_offset;
                let first = byte * 8 + field(0);
                assert!((first..first + field(4)).all(has), "{record:x?}");
                assert!(!has(first - 1) || !has(first + field(4)), "{record:x?}");
                found += 1;
                Ok(())
            })
            .unwrap();
        assert_eq!(found, ranges, "{name} {checkpoint:x}: bits of $Bitmap");
    }
}

/// Changes what the client wrote in a record that lies in one page.
fn patch(log: &mut Bytes, session: u64, lsn: u64, change: impl FnOnce(&mut [u8])) {
    let (page, at, len) = {
        let restart = restart_of(log);
        let chain = Chain::build(log, &restart, session).unwrap();
        let page = chain
            .page(restart.page(lsn), restart.sequence(lsn))
            .unwrap();
        let record = record::LogRecord::read(&chain, lsn).unwrap();
        let at = usize::try_from(restart.offset(lsn) & 0xFFF).unwrap() + 0x30;
        (page.source, at, record.data.len())
    };
    assert!(at + len <= PAGE);
    let page = usize::try_from(page).unwrap();
    edit(log, page, |page| change(&mut page[at..at + len]));
}

#[test]
fn freed_and_replaced_clusters_and_mft_itself() {
    let Some((log, geometry)) = real(A) else {
        return;
    };
    let (session, checkpoint) = (0x28_4408, 0x28_728E);
    // A record behind the checkpoint that changes a record of $MFT, in one page and with 16 bytes or more to do again.
    let mut restart = restart_of(&log);
    restart.oldest_lsn = session;
    let chain = Chain::build(&log, &restart, session).unwrap();
    let analysis = Analysis::run(&chain, checkpoint, geometry).unwrap();
    let mut suitable = None;
    analysis
        .redo(|record, action| {
            let start = restart.offset(record.lsn) & 0xFFF;
            let fits = start + 0x30 + record.data.len() as u64 <= 0x1000;
            let of = analysis.attribute_of(record.lsn, action)?;
            let mft = of.file.record == 0 && of.kind == attribute_type::DATA;
            let data = action.redo_data.map_or(0, <[u8]>::len);
            if fits && mft && data >= 16 && record.lsn > checkpoint {
                suitable.get_or_insert((record.lsn, action.lcns.clone()));
            }
            Ok(())
        })
        .unwrap();
    let (lsn, lcns) = suitable.unwrap();
    let before = pending(&log, geometry, session, checkpoint).unwrap();
    let far = 0x1_0000;
    assert_eq!(before.reach.find(far, far + 0x100), None);

    // Clusters are freed: they are in reach, and what was dirty in them needs nothing any more.
    let mut freed = log.clone();
    patch(&mut freed, session, lsn, |data| {
        data[0] = operation::DELETE_DIRTY_CLUSTERS.to_le_bytes()[0];
        data[6..8].copy_from_slice(&16_u16.to_le_bytes());
        let at = usize::from(data[4]);
        data[at..at + 8].copy_from_slice(&u64::to_le_bytes(far));
        data[at + 8..at + 16].copy_from_slice(&u64::to_le_bytes(0x10));
    });
    let found = pending(&freed, geometry, session, checkpoint).unwrap();
    assert_eq!(found.reach.find(0, far + 0x100).map(|_| ()), Some(()));
    assert_eq!(found.reach.find(far + 5, far + 0x100), Some(far + 5));
    assert_eq!(found.reach.find(far + 0x10, far + 0x100), None);
    assert_eq!(found.redo, before.redo - 1);

    let mut fixed = log.clone();
    patch(&mut fixed, session, lsn, |data| {
        data[0] = operation::HOT_FIX.to_le_bytes()[0];
        data[0x20..0x28].copy_from_slice(&u64::to_le_bytes(far));
    });
    let found = pending(&fixed, geometry, session, checkpoint).unwrap();
    assert_eq!(found.reach.find(far - 1, far + 9), Some(far));

    // Where $MFT lies may change with its own record, and a raw overwrite can hit any record.
    for (operation, own) in [
        (None, true),
        (Some(operation::UPDATE_NONRESIDENT_VALUE), false),
    ] {
        let mut changed = log.clone();
        patch(&mut changed, session, lsn, |data| {
            if let Some(operation) = operation {
                data[0] = operation.to_le_bytes()[0];
            }
            if own {
                data[0x14] = 0;
                data[0x18..0x20].fill(0);
            }
        });
        // Its page is the first of $MFT then, which no dirty page was before.
        let found = pending(&changed, geometry, session, checkpoint).unwrap();
        let everything = found.reach.everything.unwrap();
        assert!(everything.contains(&format!("{lsn:#x}")), "{everything}");
        assert!(found.files.contains(&0));
    }

    // A range of bits that is cut off, of $Bitmap or not, and clusters outside the volume.
    let mut outside = log.clone();
    patch(&mut outside, session, lsn, |data| {
        data[0x20..0x28].copy_from_slice(&u64::to_le_bytes(geometry.clusters));
    });
    assert!(!lcns.is_empty());
    let error = pending(&outside, geometry, session, checkpoint).unwrap_err();
    assert!(error.to_string().contains("behind $Boot"), "{error}");
}

proptest! {
    #[test]
    fn ranges_are_what_was_added(
        ranges in prop::collection::vec((0_u64..200, 0_u64..12), 0..40),
        asked in prop::collection::vec((0_u64..220, 1_u64..20), 1..40),
    ) {
        let mut reach = Reach::default();
        let mut model = BTreeSet::new();
        for (first, len) in &ranges {
            reach.add(*first, first + len);
            model.extend(*first..first + len);
        }
        reach.sort();
        for (first, len) in asked {
            let expected = model.range(first..first + len).next().copied();
            prop_assert_eq!(reach.find(first, first + len), expected);
        }
    }
}

/// What does not fit counts as everything, and takes no memory.
#[test]
fn too_many_ranges_are_everything() {
    let mut reach = Reach::default();
    for at in 0..(1 << 20) - 1 {
        reach.add(at * 2, at * 2 + 1);
    }
    reach.add(2, 5);
    reach.sort();
    assert_eq!((&reach.everything, reach.find(7, 8)), (&None, None));
    for at in 0..1 << 21 {
        reach.add(at * 2, at * 2 + 1);
    }
    assert!(reach.everything.is_some());
    assert_eq!(reach.find(0, u64::MAX), None);
}
