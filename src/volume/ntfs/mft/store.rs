// SPDX-License-Identifier: GPL-2.0-or-later
//! Writing to the volume: the one door through which records, index blocks and clusters go to the device.
//!
//! ```text
//! record n -> $MFT           always
//!          -> $MFTMirr       n < 4, and the further ones that it keeps up to date
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. A record is never written but with its copy, so
//! nobody can forget $MFTMirr. The device is the overlay: if something fails in the middle, the caller drops the
//! overlay and nothing has happened; the order of writes does not matter.

use crate::error::{Error, Result};
use crate::volume::ntfs::record::Record;
use crate::volume::ntfs::runs::{Piece, RunList};
use crate::volume::ntfs::state;

use super::Mft;

/// How many bytes of zeros are written at a time. Ours: bounds memory.
const CHUNK: u64 = 256 << 10;

impl Mft {
    /// Writes a record and its copy in $MFTMirr. Only the sectors that differ, where that is one of them; see
    /// [`Record::to_disk`].
    pub(in super::super) fn store(&self, record: &Record) -> Result<()> {
        let number = record.number();
        let old = self.read_raw(number)?;
        let new = record.to_disk(&old)?;
        let mirror = self.mirrored(number, &old)?;
        self.write_pieces(&self.place(number)?, &new)?;
        match mirror {
            Some(pieces) => self.write_pieces(&pieces, &new),
            None => Ok(()),
        }
    }

    /// Where $MFTMirr repeats this record, which is `raw` on disk; `None` when it does not.
    fn mirrored(&self, number: u64, raw: &[u8]) -> Result<Option<Vec<Piece>>> {
        let (map, len) = self.mirror()?;
        let record_size = u64::from(self.boot.record_size);
        let offset = number.saturating_mul(record_size);
        if offset.saturating_add(record_size) > *len {
            return Ok(None);
        }
        let mut copy = vec![0; raw.len()];
        map.read_at(self.device.as_ref(), offset, &mut copy, "$MFTMirr")?;
        // With large clusters there is room for more records, which Windows no longer keeps up to date.
        if number >= state::MIRRORED && copy != raw {
            return Ok(None);
        }
        Ok(map.pieces(offset, record_size))
    }

    /// Records below this number may have a copy in $MFTMirr.
    pub(in super::super) fn mirrored_records(&self) -> Result<u64> {
        let (_, len) = self.mirror()?;
        Ok(len.div_ceil(u64::from(self.boot.record_size)))
    }

    fn mirror(&self) -> Result<&(RunList, u64)> {
        if let Some(mirror) = self.mirror.get() {
            return Ok(mirror);
        }
        let mirror = state::mirror(self)?;
        Ok(self.mirror.get_or_init(|| mirror))
    }

    /// Lays `data` over pieces of clusters, as long as they are together. An error where one is a hole.
    pub(in super::super) fn write_pieces(&self, pieces: &[Piece], data: &[u8]) -> Result<()> {
        let mut rest = data;
        for piece in pieces {
            let len = usize::try_from(piece.len).unwrap_or(usize::MAX);
            let Some(((part, after), place)) = rest.split_at_checked(len).zip(piece.place) else {
                return Err(not_there(piece));
            };
            self.write_bytes(place, part)?;
            rest = after;
        }
        Ok(())
    }

    /// Fills pieces of clusters with zeros.
    pub(in super::super) fn clear_pieces(&self, pieces: &[Piece]) -> Result<()> {
        let zeros = vec![0; usize::try_from(CHUNK).unwrap_or(0)];
        for piece in pieces {
            let mut place = piece.place.ok_or_else(|| not_there(piece))?;
            let mut left = piece.len;
            while left > 0 {
                let len = left.min(CHUNK);
                let part = usize::try_from(len).ok().and_then(|len| zeros.get(..len));
                self.write_bytes(place, part.unwrap_or_default())?;
                place = place.saturating_add(len);
                left = left.saturating_sub(len);
            }
        }
        Ok(())
    }

    /// Writes bytes of clusters; `place` counts from the start of the volume.
    pub(in super::super) fn write_bytes(&self, place: u64, data: &[u8]) -> Result<()> {
        self.device.write_at(place, data)
    }
}

/// The error for clusters that are to be written and are not stored.
fn not_there(piece: &Piece) -> Error {
    Error::damaged(
        "mapping pairs",
        piece.place.unwrap_or(0),
        format!("{} bytes in clusters of the file", piece.len),
        "a hole, or fewer bytes to write",
    )
}
