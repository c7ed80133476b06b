// SPDX-License-Identifier: GPL-2.0-or-later
//! Replays on real volumes that have everything on the disk already: nothing may change but LSNs.

#![allow(clippy::arithmetic_side_effects)]

use super::*;
use crate::device::Device;
use crate::device::SharedDevice;
use crate::device::overlay::Overlay;
use crate::volume::ntfs::multi_sector;

/// A real volume with the session of its journal.
struct Volume {
    device: SharedDevice,
    boot: BootSector,
    log: Bytes,
    geometry: Geometry,
}

fn volume(name: &str) -> Option<Volume> {
    let image = unpacked(name)?;
    let device = host::open(image.path(), host::Access::Read).unwrap();
    let mut sector = [0; BOOT_SECTOR_LEN];
    device.read_at(0, &mut sector).unwrap();
    let boot = BootSector::parse(&sector, device.len()).unwrap();
    let (log, geometry) = real(name)?;
    Some(Volume {
        device,
        boot,
        log,
        geometry,
    })
}

/// A structure without what a replay may change: its LSN and update sequence.
fn plain(mut structure: Vec<u8>, magic: &[u8; 4]) -> Vec<u8> {
    multi_sector::restore(&mut structure, magic, "structure", 0).unwrap();
    structure[8..16].fill(0);
    let at = usize::from(crate::bytes::u16_le(&structure, 4).unwrap());
    structure[at..at + 2].fill(0);
    structure
}

/// Everything that differs is a record or a block, and says the same.
fn assert_unchanged(volume: &Volume, overlay: &Overlay) {
    for change in overlay.changes().unwrap() {
        let mut at = change.offset;
        let end = change.offset.saturating_add(change.after.len() as u64);
        while at < end {
            // The structure begins in one of the sectors before.
            let mut before = (0..8_u64).map(|back| at.saturating_sub(back.saturating_mul(512)));
            let start = before.find(|start| {
                let mut magic = [0; 4];
                overlay.read_at(*start, &mut magic).unwrap();
                [*b"FILE", *b"INDX"].contains(&magic)
            });
            let start = start.unwrap_or_else(|| panic!("no structure at {at:#x}"));
            let mut magic = [0; 4];
            overlay.read_at(start, &mut magic).unwrap();
            let len = if &magic == b"FILE" { 1024 } else { 4096 };
            let read = |device: &dyn Device| {
                let mut bytes = vec![0; len];
                device.read_at(start, &mut bytes).unwrap();
                plain(bytes, &magic)
            };
            assert_eq!(read(volume.device.as_ref()), read(overlay), "{start:#x}");
            at = start.saturating_add(len as u64);
        }
    }
}

#[test]
fn what_is_on_the_disk_already_stays_as_it_is() {
    for (name, session, rows) in [
        (
            A,
            0x28_4408,
            [(0x28_47AF, 31, 145), (0x28_728E, 14, 33), (0x28_91CB, 1, 0)],
        ),
        (
            B,
            0x40_4408,
            [
                (0x40_46FA, 46, 117),
                (0x40_56C8, 40, 117),
                (0x40_5A91, 1, 3),
            ],
        ),
    ] {
        let Some(volume) = volume(name) else { return };
        let mut restart = restart_of(&volume.log);
        restart.oldest_lsn = session;
        let chain = Chain::build(&volume.log, &restart, session).unwrap();
        let mut checkpoints = Vec::new();
        walk(&chain, session, |record| {
            if record.kind == Kind::Checkpoint
                && !record.data[8..0x40].iter().all(|byte| *byte == 0)
            {
                checkpoints.push(record.lsn);
            }
            Ok(())
        })
        .unwrap();
        for checkpoint in checkpoints {
            let analysis = Analysis::run(&chain, checkpoint, volume.geometry).unwrap();
            let overlay = Arc::new(Overlay::new(Arc::clone(&volume.device)));
            let shared = Arc::clone(&overlay) as SharedDevice;
            let mft = Mft::open(shared, volume.boot.clone()).unwrap();
            let mapping = |file, kind, name: &str, vcn| {
                crate::volume::ntfs::replay::mapped(&mft, file, kind, name, vcn)
            };
            let disk = Disk {
                device: overlay.as_ref(),
                log: &[],
                mapping: &mapping,
            };
            let done = super::super::replay::replay(&analysis, &disk).unwrap();
            let row = rows.iter().find(|row| row.0 == checkpoint);
            if let Some((_, applied, on_disk)) = row {
                assert_eq!(
                    (done.redone, done.on_disk),
                    (*applied, *on_disk),
                    "{checkpoint:x}"
                );
            }
            eprintln!("{name} {checkpoint:x}: {done:x?}");
            assert_unchanged(&volume, &overlay);
        }
    }
}
