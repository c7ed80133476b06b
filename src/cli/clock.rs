// SPDX-License-Identifier: GPL-2.0-or-later
//! The clock, and the shapes in which time is written down.

use jiff::Timestamp;

/// One moment, for everything a run writes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Now(Timestamp);

impl Now {
    /// The present moment. `SOURCE_DATE_EPOCH` (seconds since 1970) replaces it, so that a run can be
    /// repeated bit for bit.
    pub(super) fn read() -> Now {
        let fixed = std::env::var("SOURCE_DATE_EPOCH")
            .ok()
            .and_then(|text| text.parse().ok())
            .and_then(|seconds| Timestamp::from_second(seconds).ok());
        Now(fixed.unwrap_or_else(Timestamp::now))
    }

    /// As a Windows FILETIME.
    pub(super) fn filetime(self) -> u64 {
        crate::windows::filetime(self.0)
    }

    /// As RFC 3339, to the second.
    pub(super) fn rfc3339(self) -> String {
        self.0.strftime("%Y-%m-%dT%H:%M:%SZ").to_string()
    }

    /// The day, as `2026-02-28`.
    pub(super) fn date(self) -> String {
        self.0.strftime("%Y-%m-%d").to_string()
    }

    /// As the journal's clock wants it.
    pub(super) fn timestamp(self) -> Timestamp {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filetime_counts_from_1601() {
        let now = Now(Timestamp::from_second(0).unwrap());
        assert_eq!(now.filetime(), 116_444_736_000_000_000);
        assert_eq!(now.rfc3339(), "1970-01-01T00:00:00Z");
    }
}
