// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads and writes at a place in a file, whole or not at all, as unix hosts have them in the standard library.

use std::fs::File;
use std::io::{self, ErrorKind};

/// Positioned reads and writes. They move the file's own position, which nothing here uses.
pub(crate) trait FileExt {
    /// Fills `buffer` from `offset`; an early end is an error.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> io::Result<()>;
    /// Writes all of `data` at `offset`.
    fn write_all_at(&self, data: &[u8], offset: u64) -> io::Result<()>;
}

impl FileExt for File {
    fn read_exact_at(&self, mut buffer: &mut [u8], mut offset: u64) -> io::Result<()> {
        while !buffer.is_empty() {
            match std::os::windows::fs::FileExt::seek_read(self, buffer, offset) {
                Ok(0) => return Err(ErrorKind::UnexpectedEof.into()),
                Ok(done) => {
                    buffer = buffer.get_mut(done..).unwrap_or_default();
                    offset = further(offset, done)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }

    fn write_all_at(&self, mut data: &[u8], mut offset: u64) -> io::Result<()> {
        while !data.is_empty() {
            match std::os::windows::fs::FileExt::seek_write(self, data, offset) {
                Ok(0) => return Err(ErrorKind::WriteZero.into()),
                Ok(done) => {
                    data = data.get(done..).unwrap_or_default();
                    offset = further(offset, done)?;
                }
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(())
    }
}

fn further(offset: u64, done: usize) -> io::Result<u64> {
    u64::try_from(done)
        .ok()
        .and_then(|done| offset.checked_add(done))
        .ok_or_else(|| ErrorKind::InvalidInput.into())
}
