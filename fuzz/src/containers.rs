// SPDX-License-Identifier: GPL-2.0-or-later
//! VHD and VHDX, and partition tables.

use std::sync::Arc;

use coldfix::container;
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Device, SharedDevice};
use coldfix::partition;

use crate::structures::{Bytes, Kind, Place, find, seal};

/// A VHD: as long as the input.
pub fn vhd(input: &[u8]) {
    open(resealed(input.to_vec()));
}

/// A VHDX. Its structures lie a MiB apart, so an input is pieces: place in units of 4 KiB `u16`, length in units of 64
/// bytes `u8`, and the bytes.
pub fn vhdx(input: &[u8]) {
    let mut file = vec![0; 8 << 20];
    let mut rest = input;
    while let Some((head, more)) = rest.split_at_checked(3) {
        let at = (usize::from(u16::from_le_bytes([head[0], head[1]])) % 2048) << 12;
        let len = (usize::from(head[2]) * 64).min(more.len());
        let (piece, more) = more.split_at(len);
        let len = len.min(file.len() - at);
        file[at..at + len].copy_from_slice(&piece[..len]);
        rest = more;
    }
    if let Some(signature) = file.get_mut(..8) {
        signature.copy_from_slice(b"vhdxfile");
    }
    open(resealed(file));
}

/// The same file with the checksums that it should have.
fn resealed(mut bytes: Vec<u8>) -> Vec<u8> {
    let places = find(&Image(&mut bytes));
    for Place { kind, offset, len } in places {
        let checked = matches!(
            kind,
            Kind::VhdFooter | Kind::VhdHeader | Kind::VhdxChecked | Kind::Gpt { .. }
        );
        if let (true, Some(place)) = (
            checked,
            bytes.get_mut(offset as usize..offset as usize + len),
        ) {
            seal(kind, place);
        }
    }
    bytes
}

struct Image<'b>(&'b mut Vec<u8>);

impl Bytes for Image<'_> {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) {
        let at = offset as usize;
        buffer.copy_from_slice(&self.0[at..at + buffer.len()]);
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        let at = offset as usize;
        self.0[at..at + data.len()].copy_from_slice(data);
    }
}

/// Opens a container, writes to its disk, and takes it back.
fn open(file: Vec<u8>) {
    let base: SharedDevice = Arc::new(MemoryDevice::new(file));
    let overlay = Arc::new(Overlay::new(Arc::clone(&base)));
    let container = match container::open(overlay.clone()) {
        Ok(container) => container,
        Err(error) => {
            assert!(error.hint().is_some(), "no next step: {error}");
            return;
        }
    };
    let disk = &container.disk;
    let size = disk.len();
    let places = [
        0,
        (size / 3) & !511,
        (size / 2) & !511,
        size.saturating_sub(512) & !511,
    ];
    for offset in places {
        let mut sector = [0; 512];
        if offset + 512 <= size && disk.read_at(offset, &mut sector).is_ok() {
            sector[7] ^= 0x5A;
            if disk.write_at(offset, &sector).is_ok() {
                let mut again = [0; 512];
                disk.read_at(offset, &mut again)
                    .expect("what was written is read");
                assert!(again == sector, "{offset:#x} reads as something else");
            }
        }
    }
    if let Ok(changes) = overlay.changes()
        && container.seal(&changes).is_ok()
    {
        let sealed = overlay.changes().expect("changes");
        assert_eq!(container.seal(&sealed).ok(), Some(()));
        let written: SharedDevice = overlay.clone();
        container::open(Arc::new(Overlay::new(written))).expect("what was written opens");
    }
    let _ = partition::scan(disk);
    undo(&overlay);
}

/// Taking the changes back leaves what was there.
pub(crate) fn undo(overlay: &Overlay) {
    let changes = overlay.changes().expect("changes");
    for change in &changes {
        overlay
            .write_at(change.offset, &change.before)
            .expect("a write to memory");
    }
    if overlay.len() == overlay.base().len() {
        assert!(overlay.is_unchanged(), "something is left after undo");
    }
}

/// A disk with a partition table: its first 34 sectors and its last ones, with as much between as the first byte says.
pub fn partitions(input: &[u8]) {
    let (choice, table) = crate::split(input);
    let (head, tail) = table.split_at(table.len().min(34 * 512));
    let mib = usize::from(choice.first().copied().unwrap_or(1) % 4);
    let mut disk = head.to_vec();
    disk.resize(head.len().next_multiple_of(512) + (mib << 20), 0);
    disk.extend(tail);
    let sector_size = if choice.get(1).is_some_and(|byte| byte % 2 == 1) {
        4096
    } else {
        512
    };
    disk.resize(disk.len().next_multiple_of(sector_size), 0);
    let device: SharedDevice =
        Arc::new(MemoryDevice::new(resealed(disk)).with_sector_size(sector_size as u32));
    let Ok(table) = partition::scan(&device) else {
        return;
    };
    for partition in &table.partitions {
        if let Ok(volume) = partition.open(&device) {
            assert!(
                partition.offset + volume.len() <= device.len(),
                "{partition:?} ends outside"
            );
            let mut sector = [0; 512];
            let _ = volume.read_at(0, &mut sector);
        }
    }
}
