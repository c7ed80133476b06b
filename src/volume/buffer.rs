// SPDX-License-Identifier: GPL-2.0-or-later
//! Memory for whole files: asked for in a way that may fail, and on large pages where the host has them.
//!
//! A hive of 100 MiB lies on 25,600 pages of 4 KiB, and each is a fault when it is touched first: docs/benchmarks.md
//! tells what that cost. One of the files with `unsafe` in them.
//!
//! Why this is sound. MADV_HUGEPAGE tells Linux how to back pages and never changes what they hold, so it may be said of any
//! memory that is ours; this is the room of a `Vec` that the caller borrows exclusively, cut to whole pages.
#![allow(unsafe_code)]

use std::collections::TryReserveError;

/// An empty buffer with room for `len` bytes, or an error where memory does not suffice.
pub(super) fn with_room(len: usize) -> Result<Vec<u8>, TryReserveError> {
    let mut buffer = Vec::new();
    buffer.try_reserve_exact(len)?;
    prefer_large_pages(&mut buffer);
    Ok(buffer)
}

/// `len` zero bytes, or an error where memory does not suffice.
pub(super) fn zeroed(len: usize) -> Result<Vec<u8>, TryReserveError> {
    // Asked first, in a way that may fail; then zeros that the host has at hand, instead of writing them.
    Vec::<u8>::new().try_reserve_exact(len)?;
    let mut buffer = vec![0; len];
    prefer_large_pages(&mut buffer);
    Ok(buffer)
}

/// Asks for large pages below `buffer`, of which nothing was touched yet. Where it is refused, nothing is lost but time.
#[cfg(target_os = "linux")]
fn prefer_large_pages(buffer: &mut Vec<u8>) {
    /// Ours: two large pages of the common architectures; smaller buffers come out of recycled memory.
    const LEAST: usize = 4 << 20;
    let page = rustix::param::page_size();
    let memory = buffer.as_mut_ptr();
    let skip = memory.align_offset(page);
    let Some(room) = buffer.capacity().checked_sub(skip) else {
        return;
    };
    let len = room.saturating_sub(room.checked_rem(page).unwrap_or(room));
    if len < LEAST {
        return;
    }
    // SAFETY: `skip + len` is at most the capacity, so all of it lies in the one allocation that `buffer` owns and lends us
    // exclusively; it begins and ends at a page's limits; the advice changes neither content nor addresses.
    let _ = unsafe {
        let pages = memory.add(skip).cast();
        rustix::mm::madvise(pages, len, rustix::mm::Advice::LinuxHugepage)
    };
}

#[cfg(not(target_os = "linux"))]
fn prefer_large_pages(_: &mut Vec<u8>) {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_and_small_buffers_are_empty_or_zero() {
        for len in [0, 1, 4096, (4 << 20) - 1, (4 << 20) + 4097, 9 << 20] {
            let buffer = zeroed(len).unwrap();
            assert_eq!(buffer.len(), len);
            assert!(buffer.iter().all(|byte| *byte == 0));
            let buffer = with_room(len).unwrap();
            assert!(buffer.is_empty() && buffer.capacity() >= len);
        }
    }

    #[test]
    fn too_much_is_an_error() {
        assert!(zeroed(usize::MAX).is_err());
        assert!(with_room(usize::MAX).is_err());
    }
}
