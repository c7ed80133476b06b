// SPDX-License-Identifier: GPL-2.0-or-later
//! When Windows is known to have run last.
//!
//! Windows writes `ShutdownTime` when it shuts down in order, and the keys below each time it starts. coldfix writes
//! none of them, so their times stay Windows' own after a repair, other than the time in a hive's base block.

use jiff::Timestamp;

use crate::bytes;
use crate::edit::HiveName;

use super::time::from_filetime;
use super::{ControlSet, Installation, value};

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
