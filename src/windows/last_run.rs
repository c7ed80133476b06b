// SPDX-License-Identifier: GPL-2.0-or-later
//! When Windows is known to have run last.
//!
//! Windows writes `ShutdownTime` when it shuts down in order, and the keys below each time it starts. coldfix writes
//! none of them, so their times stay Windows' own after a repair, other than the time in a hive's base block.

use jiff::Timestamp;

use crate::bytes;
use crate::edit::HiveName;

use super::{ControlSet, Installation, value};

/// 100-nanosecond steps between 1601, where FILETIME begins, and 1970.
const FILETIME_OF_UNIX_EPOCH: i128 = 116_444_736_000_000_000;

/// The moment of a FILETIME; `None` for 0, which stands for no time, and beyond what can be counted.
pub fn from_filetime(time: u64) -> Option<Timestamp> {
    let steps = i128::from(time).checked_sub(FILETIME_OF_UNIX_EPOCH)?;
    let moment = Timestamp::from_nanosecond(steps.checked_mul(100)?).ok()?;
    (time != 0).then_some(moment)
}

impl Installation {
    /// The last moment at which Windows certainly ran, by its own clock; it may have run longer.
    pub fn last_run(&self, set: &ControlSet) -> Option<Timestamp> {
        let control = set.path(r"Control\Windows");
        let shutdown = self
            .registry
            .raw(HiveName::System, &control, "ShutdownTime")
            .found()
            .filter(|(kind, data)| *kind == value::BINARY && data.len() == 8)
            .and_then(|(_, data)| bytes::u64_le(&data, 0));
        let written = [
            "RNG".to_owned(),
            set.path(r"Control\Session Manager\Memory Management\PrefetchParameters"),
        ]
        .map(|key| self.registry.last_written(HiveName::System, &key));
        written
            .into_iter()
            .chain([shutdown])
            .flatten()
            .filter_map(from_filetime)
            .max()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn filetimes() {
        let read = |time| from_filetime(time).map(|read| read.to_string());
        assert_eq!(
            read(133_601_596_135_897_932).as_deref(),
            Some("2024-05-14T11:26:53.5897932Z")
        );
        assert_eq!(read(1).as_deref(), Some("1601-01-01T00:00:00.0000001Z"));
        assert_eq!(read(0), None);
        assert_eq!(read(u64::MAX), None);
    }
}
