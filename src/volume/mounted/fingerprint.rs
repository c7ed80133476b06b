// SPDX-License-Identifier: GPL-2.0-or-later
//! Tells whether a file still holds what it held, without keeping that.

/// A content's length in bytes and two checksums. Tells of changes by accident, not by an attacker: who can write to the
/// folder needs no trick.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Fingerprint {
    len: u64,
    crc32: u32,
    crc32c: u32,
}

impl Fingerprint {
    pub(super) fn of(content: &[u8]) -> Fingerprint {
        let mut fingerprint = Fingerprint::default();
        fingerprint.add(content);
        fingerprint
    }

    /// Adds the next piece of the content.
    pub(super) fn add(&mut self, piece: &[u8]) {
        let mut hasher = crc32fast::Hasher::new_with_initial(self.crc32);
        hasher.update(piece);
        self.crc32 = hasher.finalize();
        self.crc32c = crc32c::crc32c_append(self.crc32c, piece);
        self.len = self
            .len
            .saturating_add(u64::try_from(piece.len()).unwrap_or(u64::MAX));
    }
}
