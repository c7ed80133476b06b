// SPDX-License-Identifier: GPL-2.0-or-later
//! A memory map of an image file that is opened for reading. One of the files with `unsafe` in them.
//!
//! Why this is sound. A map's bytes can change at any moment, because another process may write the file;
//! so no reference to them is ever made. The one unsafe operation copies raw bytes out, into a buffer that
//! the caller owns and that cannot overlap the map (nothing hands out the map's memory). Any value of a byte
//! is a valid `u8`, the range is checked against the map's length, and the map lives as long as `self`. This
//! process never writes the file through memory.
//!
//! What remains is not memory safety but SIGBUS: touching a page that the file no longer has (it was cut), or
//! that the disk cannot deliver (a bad sector), ends the process. Against both:
//! - only files on file systems that are mounted read-only are mapped, which nobody on this host can cut: a seized disk, a
//!   snapshot, a folder of evidence. All others are read by calls;
//! - before a window of 64 KiB is touched for the first time the kernel is asked to make it present
//!   (MADV_POPULATE_READ, Linux 5.14), which turns the signal into an error code. On any error the caller reads
//!   with `pread`, which says exactly what is wrong; so does a kernel that does not know the request.
//!
//! A sector that goes bad after it was evicted from memory still ends the process. Nothing is lost by that: it was only reading.
#![allow(unsafe_code)]

use std::fs::File;
use std::sync::atomic::{AtomicU64, Ordering};

use memmap2::{Advice, MmapOptions, MmapRaw};

/// Bytes made present at a time: ours, half of the kernel's usual read-ahead.
const WINDOW: usize = 64 << 10;

/// A whole file, mapped for reading.
#[derive(Debug)]
pub(super) struct Map {
    map: MmapRaw,
    /// One bit for each window: it was made present once.
    present: Box<[AtomicU64]>,
}

impl Map {
    /// Maps the first `len` bytes of `file`; `None` where the host does not, or the file is empty.
    pub(super) fn new(file: &File, len: u64) -> Option<Map> {
        let len = usize::try_from(len).ok().filter(|&len| len > 0)?;
        let map = MmapOptions::new().len(len).map_raw_read_only(file).ok()?;
        let words = len.div_ceil(WINDOW).div_ceil(64);
        let present = (0..words).map(|_| AtomicU64::new(0)).collect();
        Some(Map { map, present })
    }

    /// Fills `buffer` from `offset`; false, and `buffer` untouched, when it has to be read another way.
    pub(super) fn read(&self, offset: u64, buffer: &mut [u8]) -> bool {
        let Ok(start) = usize::try_from(offset) else {
            return false;
        };
        let Some(end) = start.checked_add(buffer.len()) else {
            return false;
        };
        if end > self.map.len() || !self.make_present(start, end) {
            return false;
        }
        // SAFETY: `start..start + buffer.len()` lies inside the map (checked above), which is alive; `buffer`
        // is exclusively ours and no part of the map; bytes have no invalid values. No reference to the
        // mapped bytes exists. See the module's head for pages that are not there.
        unsafe {
            std::ptr::copy_nonoverlapping(
                self.map.as_ptr().add(start),
                buffer.as_mut_ptr(),
                buffer.len(),
            );
        }
        true
    }

    /// Makes the windows that `start..end` touches present; false when that fails.
    fn make_present(&self, start: usize, end: usize) -> bool {
        if start == end {
            return true;
        }
        let windows = start / WINDOW..=end.saturating_sub(1) / WINDOW;
        windows.into_iter().all(|window| {
            let Some(word) = self.present.get(window / 64) else {
                return false;
            };
            let bit = 1_u64 << (window % 64);
            if word.load(Ordering::Relaxed) & bit != 0 {
                return true;
            }
            let from = window.saturating_mul(WINDOW);
            let len = WINDOW.min(self.map.len().saturating_sub(from));
            let done = populate(&self.map, from, len);
            if done {
                word.fetch_or(bit, Ordering::Relaxed);
            }
            done
        })
    }
}

#[cfg(target_os = "linux")]
fn populate(map: &MmapRaw, from: usize, len: usize) -> bool {
    map.advise_range(Advice::PopulateRead, from, len).is_ok()
}

#[cfg(not(target_os = "linux"))]
fn populate(_: &MmapRaw, _: usize, _: usize) -> bool {
    false
}

#[cfg(test)]
mod tests {
    use std::io::Write;
    use std::os::unix::fs::FileExt;

    use super::*;

    fn file(content: &[u8]) -> File {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(content).unwrap();
        file
    }

    #[test]
    fn reads_what_the_file_holds_also_after_it_was_written() {
        let content: Vec<u8> = (0..300_000_u32).map(|i| i.to_le_bytes()[1]).collect();
        let file = file(&content);
        let map = Map::new(&file, 300_000).unwrap();
        let mut buffer = vec![0; 200_000];
        assert!(map.read(65_530, &mut buffer));
        assert_eq!(buffer, content[65_530..265_530]);
        file.write_all_at(b"changed", 70_000).unwrap();
        assert!(map.read(70_000, &mut buffer[..7]));
        assert_eq!(&buffer[..7], b"changed");
        assert!(map.read(300_000, &mut []));
        assert!(!map.read(299_999, &mut [0; 2]));
        assert!(!map.read(u64::MAX, &mut [0; 2]));
    }

    #[test]
    fn a_page_that_is_gone_is_an_answer_and_no_signal() {
        let file = file(&[1; 300_000]);
        let map = Map::new(&file, 300_000).unwrap();
        assert!(map.read(0, &mut [0; 16]));
        file.set_len(100_000).unwrap();
        assert!(!map.read(200_000, &mut [0; 16]));
    }

    #[test]
    fn an_empty_file_is_not_mapped() {
        assert!(Map::new(&file(&[]), 0).is_none());
    }
}
