// SPDX-License-Identifier: GPL-2.0-or-later
//! Copy on write: what is written stays in memory, sector by sector, and the device below is only read.
//!
//! ```text
//! base     | 0 | 1 | 2 | 3 | 4 | 5 | 6 |      never written
//! sectors      | 1'|       | 4'| 5'|          only sectors that really differ
//! changes      [1]         [4    5]           ordered, neighbours merged, before and after
//! grown    | 0 | 1 | 2 | 3 | 4 | 5 | 6 | 0  0  0 |   past the base's end there are zeros until written
//! ```
//!
//! The overlay is where every edit goes, so its changes are the whole plan: a dry run drops them, a commit
//! journals them and writes them, an undo writes the "before" half. A sector is the larger of 512 bytes
//! and the base's logical sector, because that is what a disk writes as one; the last one is short where
//! the base, or the grown overlay, ends inside it.
//!
//! Containers that allocate blocks lengthen their file: [`Overlay::set_length`] does it in memory, and only
//! upwards, when the base is a file that can follow. Past the base's end `before` is zeros.
//!
//! Memory: the changed sectors, and as much again (before and after) in what [`Overlay::changes`]
//! returns. The base must not change underneath; whoever commits checks "before" against it again.

use std::collections::BTreeMap;
use std::sync::{PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use super::{Change, Device, SharedDevice, bounds, fixed_length};
use crate::error::{Error, Result};

/// A device whose writes stay in memory. See the module.
#[derive(Debug)]
pub struct Overlay {
    base: SharedDevice,
    granule: u64,
    state: RwLock<State>,
}

#[derive(Debug)]
struct State {
    /// At least the base's.
    len: u64,
    /// Sector number to its content; never a sector equal to the base's.
    sectors: BTreeMap<u64, Box<[u8]>>,
}

impl Overlay {
    /// An overlay over `base` with nothing changed.
    pub fn new(base: SharedDevice) -> Overlay {
        Overlay {
            granule: u64::from(base.sector_size().max(512)),
            state: RwLock::new(State {
                len: base.len(),
                sectors: BTreeMap::new(),
            }),
            base,
        }
    }

    /// The device below.
    pub fn base(&self) -> &SharedDevice {
        &self.base
    }

    /// True when reads give what the base gives, everywhere: also when something was written and then
    /// written back.
    pub fn is_unchanged(&self) -> bool {
        let state = self.read();
        state.sectors.is_empty() && state.len == self.base.len()
    }

    /// What differs from the base: whole sectors (only the last one may be short), sorted by offset,
    /// neighbours merged, `before` read from the base now. The new length is [`Device::len`].
    pub fn changes(&self) -> Result<Vec<Change>> {
        let state = self.read();
        let mut changes: Vec<Change> = Vec::new();
        for (&number, after) in &state.sectors {
            let offset = self.sector_offset(number)?;
            let mut before = vec![0; after.len()];
            self.read_base(offset, &mut before)?;
            if before[..] == after[..] {
                continue;
            }
            match changes.last_mut() {
                Some(last) if end(last) == Some(offset) => {
                    last.before.extend_from_slice(&before);
                    last.after.extend_from_slice(after);
                }
                _ => changes.push(Change {
                    offset,
                    before,
                    after: after.to_vec(),
                }),
            }
        }
        Ok(changes)
    }

    /// Writes what differs to the base, and keeps nothing any more. Only for overlays of the base's length.
    pub(crate) fn write_through(&self) -> Result<()> {
        let mut state = self.write();
        for (&number, sector) in &state.sectors {
            self.base.write_at(self.sector_offset(number)?, sector)?;
        }
        state.sectors.clear();
        Ok(())
    }

    fn read(&self) -> RwLockReadGuard<'_, State> {
        self.state.read().unwrap_or_else(PoisonError::into_inner)
    }

    fn write(&self) -> RwLockWriteGuard<'_, State> {
        self.state.write().unwrap_or_else(PoisonError::into_inner)
    }

    /// Fills `buffer` from the base; with zeros what lies past its end.
    fn read_base(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let inside = self.base.len().saturating_sub(offset);
        let inside = usize::try_from(inside).map_or(buffer.len(), |len| len.min(buffer.len()));
        let (there, past) = buffer
            .split_at_mut_checked(inside)
            .ok_or_else(|| broken_piece(offset))?;
        past.fill(0);
        if there.is_empty() {
            return Ok(());
        }
        self.base.read_at(offset, there)
    }

    fn sector_offset(&self, number: u64) -> Result<u64> {
        number
            .checked_mul(self.granule)
            .ok_or_else(|| Error::damaged("overlay", number, "a sector below 2^64 bytes", "more"))
    }

    /// What the base holds in all sectors that `len` bytes from `offset` touch, of an overlay of `device_len`
    /// bytes, against which `len` must have been checked.
    fn base_sectors(&self, device_len: u64, offset: u64, len: usize) -> Result<Vec<u8>> {
        let whole = || {
            let end = offset.checked_add(u64::try_from(len).ok()?)?;
            let start = offset.checked_sub(offset.checked_rem(self.granule)?)?;
            let end = end.checked_next_multiple_of(self.granule)?.min(device_len);
            Some((start, usize::try_from(end.checked_sub(start)?).ok()?))
        };
        let (start, len) = whole().ok_or_else(|| broken_piece(offset))?;
        let mut base = vec![0; len];
        self.read_base(start, &mut base)?;
        Ok(base)
    }

    /// For each sector that `len` bytes from `offset` touch, in order: its number, the part of the
    /// sector, and the part of the buffer. `len` must have been checked against the device.
    fn pieces(&self, offset: u64, len: usize) -> impl Iterator<Item = Piece> + use<> {
        let granule = self.granule;
        let mut done = 0_usize;
        std::iter::from_fn(move || {
            let left = len.checked_sub(done).filter(|&left| left > 0)?;
            let place = offset.checked_add(u64::try_from(done).ok()?)?;
            let number = place.checked_div(granule)?;
            let inside = usize::try_from(place.checked_rem(granule)?).ok()?;
            let room = usize::try_from(granule).ok()?.checked_sub(inside)?;
            let piece = Piece {
                number,
                inside,
                done,
                len: room.min(left),
            };
            done = done.checked_add(piece.len)?;
            Some(piece)
        })
    }
}

/// Part of a read or write that lies in one sector.
struct Piece {
    number: u64,
    /// Where it begins in the sector.
    inside: usize,
    /// Where it begins in the buffer.
    done: usize,
    len: usize,
}

fn end(change: &Change) -> Option<u64> {
    change
        .offset
        .checked_add(u64::try_from(change.after.len()).ok()?)
}

/// The pieces are cut so that this cannot happen; if it does, nothing must be written.
fn broken_piece(offset: u64) -> Error {
    Error::damaged("overlay", offset, "a piece inside its sector", "another")
}

impl Device for Overlay {
    fn len(&self) -> u64 {
        self.read().len
    }

    fn sector_size(&self) -> u32 {
        self.base.sector_size()
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let state = self.read();
        let range = bounds::check("read of the disk", state.len, offset, buffer.len())?;
        self.read_base(offset, buffer)?;
        if range.is_empty() {
            return Ok(());
        }
        let (Some(first), Some(last)) = (
            range.start.checked_div(self.granule),
            range.end.saturating_sub(1).checked_div(self.granule),
        ) else {
            return Ok(());
        };
        if state.sectors.range(first..=last).next().is_none() {
            return Ok(());
        }
        for piece in self.pieces(offset, buffer.len()) {
            if let Some(sector) = state.sectors.get(&piece.number) {
                let source = crate::bytes::slice(sector, piece.inside, piece.len)
                    .ok_or_else(|| broken_piece(offset))?;
                if !crate::bytes::put(buffer, piece.done, source) {
                    return Err(broken_piece(offset));
                }
            }
        }
        Ok(())
    }

    /// Keeps `data` in memory. Either all of it or, on an error of the base, none of it.
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut state = self.write();
        bounds::check("write to the disk", state.len, offset, data.len())?;
        // Everything that can fail comes first; `None` means "as the base has it".
        let mut prepared: Vec<(u64, Option<Box<[u8]>>)> = Vec::new();
        let base = self.base_sectors(state.len, offset, data.len())?;
        let granule = usize::try_from(self.granule).map_err(|_| broken_piece(offset))?;
        let pieces = self.pieces(offset, data.len());
        for (piece, base) in pieces.zip(base.chunks(granule)) {
            let mut sector: Box<[u8]> = match state.sectors.get(&piece.number) {
                Some(sector) => sector.clone(),
                None => base.into(),
            };
            let source = crate::bytes::slice(data, piece.done, piece.len)
                .ok_or_else(|| broken_piece(offset))?;
            if !crate::bytes::put(&mut sector, piece.inside, source) {
                return Err(broken_piece(offset));
            }
            let differs = sector[..] != base[..];
            prepared.push((piece.number, differs.then_some(sector)));
        }
        for (number, sector) in prepared {
            match sector {
                Some(sector) => state.sectors.insert(number, sector),
                None => state.sectors.remove(&number),
            };
        }
        Ok(())
    }

    /// Does nothing: what is in memory becomes durable by a commit, never by a flush.
    fn flush(&self) -> Result<()> {
        Ok(())
    }

    fn is_resizable(&self) -> bool {
        self.base.is_resizable()
    }

    /// Lengthens the overlay with zeros. `Refused` when the base could not follow, and for cutting it: a
    /// repair never makes a file shorter.
    fn set_length(&self, len: u64) -> Result<()> {
        let mut state = self.write();
        if len < state.len || !self.base.is_resizable() {
            return Err(fixed_length(state.len, len));
        }
        // A changed sector that was short because the end lay in it is so no longer.
        let last = state.len.checked_div(self.granule).unwrap_or(0);
        let room = self
            .sector_offset(last)
            .map(|start| len.saturating_sub(start).min(self.granule))?;
        if let Some(sector) = state.sectors.get_mut(&last) {
            let mut longer = sector.to_vec();
            longer.resize(usize::try_from(room).map_err(|_| broken_piece(len))?, 0);
            *sector = longer.into();
        }
        state.len = len;
        Ok(())
    }
}

#[cfg(test)]
mod tests;
