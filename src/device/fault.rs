// SPDX-License-Identifier: GPL-2.0-or-later
//! A disk that stops: for tests of what a crash leaves behind. Never part of a real run.
//!
//! ```text
//! write_at ----> volatile half (what reads see; the host's and the disk's caches)
//!                   |  flush
//!                   v
//!                durable half  ----> crash(Unflushed) gives an image as the next start would find it
//! ```
//!
//! Writes and flushes count as one operation each; after [`FaultDevice::stop_after`] `n` of them the
//! next one fails, and from then on everything fails, reads included, as for a process that is gone. The
//! write that hits the limit may still leave a part of itself ([`Torn`]). A real disk may make unflushed
//! writes durable in any order or not at all; [`Unflushed`] picks which.
//!
//! The usual test: run once without a limit, take [`FaultDevice::operations`], then for each `n` below
//! that, each `Torn` and each `Unflushed`, run again and recover from [`FaultDevice::crash`].

use std::io;
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::{Device, bounds};
use crate::error::{Error, Result};

/// A disk is torn at multiples of this many bytes, whatever its sector size: 512-byte sectors are what
/// the oldest disk guarantees, and a 4096-byte one may emulate them.
const SECTOR: usize = 512;

/// What the write that hits the limit leaves. A flush that hits it always leaves nothing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Torn {
    /// Nothing.
    Nothing,
    /// Its first so many 512-byte sectors (of the disk's own grid: a write that starts inside a sector
    /// ends its first piece at that sector's end). With `u64::MAX`, all of it.
    Sectors(u64),
    /// Its first so many bytes: torn inside a sector.
    Bytes(u64),
    /// Its first so many 512-byte sectors, and then a sector that is neither old nor new.
    Garbled(u64),
}

/// Which writes since the last flush survive the crash.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unflushed {
    /// None.
    Lost,
    /// All, in order.
    Kept,
    /// Only the last one (or what [`Torn`] left of it), as when the disk reorders.
    LastOnly,
    /// All but the last one.
    AllButLast,
    /// Every 512-byte sector of every one by a coin thrown with this seed.
    Scattered(u64),
}

#[derive(Clone, Debug)]
struct Write {
    offset: u64,
    data: Vec<u8>,
}

#[derive(Debug)]
struct State {
    durable: Vec<u8>,
    volatile: Vec<u8>,
    unflushed: Vec<Write>,
    operations: u64,
    limit: Option<(u64, Torn)>,
    stopped: bool,
}

/// A disk in memory that stops when told to. See the module.
#[derive(Debug)]
pub struct FaultDevice {
    state: Mutex<State>,
    sector_size: u32,
}

impl FaultDevice {
    /// A disk that holds `initial`, durably, and never stops until [`FaultDevice::stop_after`].
    pub fn new(initial: Vec<u8>, sector_size: u32) -> Self {
        FaultDevice {
            state: Mutex::new(State {
                volatile: initial.clone(),
                durable: initial,
                unflushed: Vec::new(),
                operations: 0,
                limit: None,
                stopped: false,
            }),
            sector_size,
        }
    }

    /// Stops after `operations` more writes and flushes: those succeed, the next one fails.
    pub fn stop_after(&self, operations: u64, torn: Torn) {
        let mut state = self.lock();
        let limit = state.operations.saturating_add(operations);
        state.limit = Some((limit, torn));
    }

    /// Writes and flushes that succeeded so far.
    pub fn operations(&self) -> u64 {
        self.lock().operations
    }

    /// True once the limit was hit.
    pub fn is_stopped(&self) -> bool {
        self.lock().stopped
    }

    /// What the running program would read now: everything written, flushed or not.
    pub fn contents(&self) -> Vec<u8> {
        self.lock().volatile.clone()
    }

    /// The image that the next start finds if the machine stops now. Changes nothing.
    pub fn crash(&self, unflushed: Unflushed) -> Vec<u8> {
        let state = self.lock();
        let mut image = state.durable.clone();
        let last = state.unflushed.len().saturating_sub(1);
        let mut coin = match unflushed {
            Unflushed::Scattered(seed) => Coin(seed),
            _ => Coin(0),
        };
        for (index, write) in state.unflushed.iter().enumerate() {
            match unflushed {
                Unflushed::Lost => {}
                Unflushed::Kept => apply(&mut image, write.offset, &write.data),
                Unflushed::LastOnly if index == last => {
                    apply(&mut image, write.offset, &write.data);
                }
                Unflushed::AllButLast if index != last => {
                    apply(&mut image, write.offset, &write.data);
                }
                Unflushed::LastOnly | Unflushed::AllButLast => {}
                Unflushed::Scattered(_) => {
                    let mut rest = write.data.as_slice();
                    let mut offset = write.offset;
                    while !rest.is_empty() {
                        let (piece, tail) = rest.split_at(to_sector_end(offset).min(rest.len()));
                        if coin.throw() {
                            apply(&mut image, offset, piece);
                        }
                        offset = advance(offset, piece.len());
                        rest = tail;
                    }
                }
            }
        }
        image
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    /// Counts one operation; the error is the stop.
    fn count(&mut self) -> std::result::Result<(), Option<Torn>> {
        if self.stopped {
            return Err(None);
        }
        match self.limit {
            Some((limit, torn)) if self.operations >= limit => {
                self.stopped = true;
                Err(Some(torn))
            }
            _ => {
                self.operations = self.operations.saturating_add(1);
                Ok(())
            }
        }
    }

    fn put(&mut self, offset: u64, data: Vec<u8>) {
        apply(&mut self.volatile, offset, &data);
        self.unflushed.push(Write { offset, data });
    }
}

impl Device for FaultDevice {
    fn len(&self) -> u64 {
        u64::try_from(self.lock().volatile.len()).unwrap_or(u64::MAX)
    }

    fn sector_size(&self) -> u32 {
        self.sector_size
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let state = self.lock();
        if state.stopped {
            return Err(stopped("reading"));
        }
        let len = state.volatile.len();
        let range = bounds::check_in_memory("read of the test disk", len, offset, buffer.len())?;
        if let Some(source) = state.volatile.get(range) {
            buffer.copy_from_slice(source);
        }
        Ok(())
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let mut state = self.lock();
        let len = state.volatile.len();
        bounds::check_in_memory("write to the test disk", len, offset, data.len())?;
        match state.count() {
            Ok(()) => {
                state.put(offset, data.to_vec());
                Ok(())
            }
            Err(torn) => {
                if let Some(left) = torn.and_then(|torn| torn_piece(offset, data, torn)) {
                    state.put(offset, left);
                }
                Err(stopped("writing"))
            }
        }
    }

    fn flush(&self) -> Result<()> {
        let mut state = self.lock();
        if state.count().is_err() {
            return Err(stopped("flushing"));
        }
        let state = &mut *state;
        state.durable.clone_from(&state.volatile);
        state.unflushed.clear();
        Ok(())
    }
}

fn stopped(what: &str) -> Error {
    Error::io(format!("{what} the test disk"))(io::Error::other("stopped on purpose"))
}

/// What a torn write of `data` at `offset` leaves, from its start; `None` when that is nothing.
fn torn_piece(offset: u64, data: &[u8], torn: Torn) -> Option<Vec<u8>> {
    let sectors_end = |sectors: u64| {
        let first = u64::try_from(to_sector_end(offset)).ok()?;
        let more = sectors.checked_sub(1)?.checked_mul(512)?;
        usize::try_from(first.checked_add(more)?).ok()
    };
    let piece = match torn {
        Torn::Nothing => Vec::new(),
        Torn::Sectors(0) => Vec::new(),
        Torn::Sectors(sectors) => {
            let end = sectors_end(sectors).unwrap_or(usize::MAX).min(data.len());
            data.get(..end)?.to_vec()
        }
        Torn::Bytes(bytes) => {
            let end = usize::try_from(bytes).unwrap_or(usize::MAX).min(data.len());
            data.get(..end)?.to_vec()
        }
        Torn::Garbled(sectors) => {
            let whole = match sectors {
                0 => 0,
                _ => sectors_end(sectors).unwrap_or(usize::MAX).min(data.len()),
            };
            let end = sectors_end(sectors.saturating_add(1))
                .unwrap_or(usize::MAX)
                .min(data.len());
            let mut piece = data.get(..end)?.to_vec();
            // Neither the old bytes nor the new ones, whatever the old ones were: alternately the new
            // byte's complement and a counter. A sector of either would have to match both.
            for (index, byte) in piece.iter_mut().enumerate().skip(whole) {
                *byte = if index % 2 == 0 {
                    !*byte
                } else {
                    index.to_le_bytes().first().copied().unwrap_or(0) ^ 0x5a
                };
            }
            piece
        }
    };
    (!piece.is_empty()).then_some(piece)
}

/// Bytes from `offset` to the end of its 512-byte sector: 1 to 512.
fn to_sector_end(offset: u64) -> usize {
    let inside = usize::try_from(offset % 512).unwrap_or(0);
    SECTOR.saturating_sub(inside)
}

fn advance(offset: u64, by: usize) -> u64 {
    offset.saturating_add(u64::try_from(by).unwrap_or(u64::MAX))
}

fn apply(image: &mut [u8], offset: u64, data: &[u8]) {
    let range = bounds::check_in_memory("test disk", image.len(), offset, data.len());
    if let Some(place) = range.ok().and_then(|range| image.get_mut(range)) {
        place.copy_from_slice(data);
    }
}

/// SplitMix64: small, and the same on every machine.
struct Coin(u64);

impl Coin {
    fn throw(&mut self) -> bool {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (mixed ^ (mixed >> 31)) & 1 == 1
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::error::Kind;

    fn disk() -> FaultDevice {
        FaultDevice::new(vec![0; 4096], 512)
    }

    #[test]
    fn a_flush_makes_writes_durable_and_nothing_else_does() {
        let disk = disk();
        disk.write_at(0, &[1; 512]).unwrap();
        assert_eq!(disk.crash(Unflushed::Lost), vec![0; 4096]);
        disk.flush().unwrap();
        disk.write_at(512, &[2; 512]).unwrap();
        let durable = disk.crash(Unflushed::Lost);
        assert_eq!(
            (&durable[..512], &durable[512..1024]),
            (&[1; 512][..], &[0; 512][..])
        );
        assert_eq!(disk.crash(Unflushed::Kept), disk.contents());
        assert_eq!(disk.operations(), 3);
    }

    #[test]
    fn stops_at_the_count_and_stays_stopped() {
        let disk = disk();
        disk.write_at(0, &[9; 8]).unwrap();
        disk.stop_after(2, Torn::Nothing);
        disk.write_at(0, &[1; 8]).unwrap();
        disk.flush().unwrap();
        let error = disk.write_at(8, &[1; 8]).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(disk.is_stopped());
        disk.flush().unwrap_err();
        disk.write_at(8, &[1; 8]).unwrap_err();
        disk.read_at(0, &mut [0; 1]).unwrap_err();
        assert_eq!(disk.operations(), 3);
        assert_eq!(
            &disk.crash(Unflushed::Kept)[..9],
            &[1, 1, 1, 1, 1, 1, 1, 1, 0]
        );
    }

    #[test]
    fn a_flush_that_hits_the_limit_leaves_its_writes_unflushed() {
        let disk = disk();
        disk.write_at(0, &[1; 8]).unwrap();
        disk.stop_after(0, Torn::Sectors(1));
        disk.flush().unwrap_err();
        assert_eq!(disk.crash(Unflushed::Lost), vec![0; 4096]);
        assert_eq!(disk.crash(Unflushed::Kept)[0], 1);
    }

    #[test]
    fn torn_writes_end_where_they_were_told() {
        // (what is torn, first byte that is still old) for 1200 bytes from 100.
        for (torn, end) in [
            (Torn::Nothing, 100),
            (Torn::Sectors(0), 100),
            (Torn::Sectors(1), 512),
            (Torn::Sectors(2), 1024),
            (Torn::Sectors(3), 1300),
            (Torn::Sectors(u64::MAX), 1300),
            (Torn::Bytes(0), 100),
            (Torn::Bytes(700), 800),
            (Torn::Bytes(u64::MAX), 1300),
        ] {
            let disk = disk();
            disk.stop_after(0, torn);
            disk.write_at(100, &[5; 1200]).unwrap_err();
            let mut expected = vec![0; 4096];
            expected[100..end].fill(5);
            assert_eq!(disk.crash(Unflushed::Kept), expected, "{torn:?}");
            assert_eq!(disk.crash(Unflushed::LastOnly), expected, "{torn:?}");
            assert_eq!(disk.crash(Unflushed::Lost), vec![0; 4096], "{torn:?}");
        }
    }

    #[test]
    fn a_garbled_sector_is_neither_old_nor_new() {
        for (old, new) in [(0x00, 0xff), (0xff, 0x00), (0x5a, 0xa5), (3, 3)] {
            let disk = FaultDevice::new(vec![old; 4096], 512);
            disk.stop_after(0, Torn::Garbled(1));
            disk.write_at(512, &[new; 2048]).unwrap_err();
            let image = disk.crash(Unflushed::Kept);
            assert_eq!(image[512..1024], [new; 512]);
            assert_ne!(image[1024..1536], [new; 512]);
            assert_ne!(image[1024..1536], [old; 512]);
            assert_eq!(image[1536..], [old; 2560]);
        }
    }

    #[test]
    fn unflushed_writes_survive_in_the_chosen_way() {
        let disk = disk();
        for (offset, value) in [(0, 1), (512, 2), (1024, 3)] {
            disk.write_at(offset, &[value; 512]).unwrap();
        }
        let firsts = |unflushed| {
            let image = disk.crash(unflushed);
            [image[0], image[512], image[1024]]
        };
        assert_eq!(firsts(Unflushed::Lost), [0, 0, 0]);
        assert_eq!(firsts(Unflushed::Kept), [1, 2, 3]);
        assert_eq!(firsts(Unflushed::LastOnly), [0, 0, 3]);
        assert_eq!(firsts(Unflushed::AllButLast), [1, 2, 0]);
        let seen: std::collections::BTreeSet<_> = (0..200)
            .map(|seed| firsts(Unflushed::Scattered(seed)))
            .collect();
        assert_eq!(seen.len(), 8, "every combination turns up");
    }
}
