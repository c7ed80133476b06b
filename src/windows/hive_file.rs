// SPDX-License-Identifier: GPL-2.0-or-later
//! A hive on a volume: the primary file with its transaction logs, read into memory, recovered, checked;
//! and the way back.
//!
//! ```text
//!   SYSTEM + .LOG + .LOG1 + .LOG2 -> recover (replay into memory) -> Hive -> check
//!   Hive (edited) -> seal (sequence above everything in the logs) -> SYSTEM
//!                    the first bytes of each log zeroed            -> .LOG .LOG1 .LOG2
//! ```
//!
//! Storing goes through [`Volume::replace`], so only bytes that differ are touched.

use std::borrow::Cow;
use std::sync::OnceLock;

use crate::edit::HiveName;
use crate::error::{Error, Result, ResultExt};
use crate::hive::log::{LogFile, Recovered, State, neutralised, recover};
use crate::hive::{Fault, Hive};
use crate::volume::Volume;

/// Windows loads hives up to 2 GiB minus the base block; ours is lower, to bound memory: the largest
/// SOFTWARE hives seen are around 200 MiB.
const LARGEST_HIVE: u64 = 1 << 30;
/// A log is at most about as large as its hive.
const LARGEST_LOG: u64 = 1 << 28;

/// The endings of the logs that Windows keeps beside a hive.
const LOG_SUFFIXES: [&str; 3] = [".LOG", ".LOG1", ".LOG2"];

/// One hive of an installation, in memory.
#[derive(Debug)]
pub struct HiveFile {
    /// The primary file's path on its volume.
    pub path: String,
    /// The content after recovery.
    pub hive: Hive,
    /// Whether the logs had to be replayed.
    pub state: State,
    /// What recovery did and left alone, in plain words.
    pub notes: Vec<String>,
    faults: OnceLock<Vec<Fault>>,
    next_sequence: u32,
    /// The logs that exist, with their content.
    logs: Vec<(String, Vec<u8>)>,
    is_stored: bool,
}

impl HiveFile {
    /// Reads the hive `name` from the folder `config`; `None` when there is no such file.
    pub fn load(volume: &dyn Volume, config: &str, name: HiveName) -> Result<Option<HiveFile>> {
        HiveFile::open(volume, &format!("{config}/{}", name.file_name()))
    }

    /// Reads the hive at `path`; `None` when there is no such file.
    pub fn open(volume: &dyn Volume, path: &str) -> Result<Option<HiveFile>> {
        let path = path.to_owned();
        if volume.entry(&path)?.is_none() {
            return Ok(None);
        }
        let in_file = || format!("hive {}", path.replace('/', "\\"));
        let primary = volume.read(&path, LARGEST_HIVE).context(in_file)?;
        if primary.is_empty() {
            return Err(Error::damaged(
                in_file(),
                0,
                "a registry hive (\"regf\")",
                "an empty file",
            ));
        }
        let mut logs = Vec::new();
        for suffix in LOG_SUFFIXES {
            let log = format!("{path}{suffix}");
            if volume.entry(&log)?.is_some() {
                let bytes = volume
                    .read(&log, LARGEST_LOG)
                    .context(|| format!("log {log}"))?;
                logs.push((log, bytes));
            }
        }
        let views: Vec<LogFile<'_>> = logs
            .iter()
            .map(|(path, bytes)| LogFile {
                name: path.rsplit('/').next().unwrap_or(path),
                bytes,
            })
            .collect();
        let Recovered {
            image,
            state,
            applied,
            notes: left_alone,
            next_sequence,
        } = recover(primary, &views).context(in_file)?;
        let mut notes: Vec<String> = applied
            .iter()
            .map(|log| {
                format!(
                    "replayed {}: {} entries, {} to {}, {} pages",
                    log.log, log.entries, log.first_sequence, log.last_sequence, log.pages
                )
            })
            .collect();
        notes.extend(left_alone);
        let hive = Hive::parse(image).context(in_file)?;
        Ok(Some(HiveFile {
            path,
            hive,
            state,
            notes,
            faults: OnceLock::new(),
            next_sequence,
            logs,
            is_stored: false,
        }))
    }

    /// The primary file's own name, such as SYSTEM or BCD.
    pub fn file_name(&self) -> &str {
        self.path.rsplit('/').next().unwrap_or(&self.path)
    }

    /// The primary file and the logs that exist.
    pub fn all_paths(&self) -> Vec<String> {
        let logs = self.logs.iter().map(|(path, _)| path.clone());
        std::iter::once(self.path.clone()).chain(logs).collect()
    }

    /// What [`HiveFile::store`] has made the content of the file and of its logs: path and bytes.
    pub fn stored(&self) -> impl Iterator<Item = (&str, Cow<'_, [u8]>)> {
        let logs = self
            .logs
            .iter()
            .map(|(path, bytes)| (path.as_str(), Cow::Owned(neutralised(bytes))));
        std::iter::once((self.path.as_str(), Cow::Borrowed(self.hive.bytes()))).chain(logs)
    }

    /// Structural faults of the recovered content. The first call walks the whole hive.
    pub fn faults(&self) -> &[Fault] {
        self.faults.get_or_init(|| self.hive.check())
    }

    /// `Err(Refused)` when the hive must not be edited because it is dirty with its logs lost. Damage is found
    /// by [`HiveFile::store`]: the editors are safe on damaged hives, and one walk of the hive is enough.
    pub fn check_editable(&self) -> Result<()> {
        let file = self.path.replace('/', "\\");
        if self.state == State::DirtyWithoutUsableLog {
            return Err(Error::refused(
                format!(
                    "hive {file} was not closed cleanly and the logs that complete it are missing or unusable"
                ),
                format!(
                    "put {0}.LOG1 and {0}.LOG2 back beside the hive (from the original disk, not from a copy made without them), or restore the hive from a backup",
                    self.file_name()
                ),
            ));
        }
        Ok(())
    }

    /// Writes the edited hive and neutralises its logs. `now` is a FILETIME.
    ///
    /// Everything is refused before the first byte goes to the volume: a damaged hive (whether it came so or
    /// an edit made it so), or one that no longer fits its file.
    pub fn store(&mut self, volume: &dyn Volume, now: u64) -> Result<()> {
        self.hive.seal(self.next_sequence, now)?;
        self.faults = OnceLock::new();
        if let Some(fault) = self.faults().iter().find(|fault| fault.fatal) {
            return Err(Error::refused(
                format!(
                    "hive {} is damaged and is not edited: {fault}",
                    self.path.replace('/', "\\")
                ),
                "restore the hive from a backup (RegBack, a snapshot), then try again; `coldfix inspect` lists every fault",
            ));
        }
        volume.replace(&self.path, self.hive.bytes())?;
        for (path, bytes) in &self.logs {
            volume.replace(path, &neutralised(bytes))?;
        }
        self.is_stored = true;
        Ok(())
    }

    /// After [`HiveFile::store`]: what a reader who loads the stored file finds, a clean hive.
    pub(super) fn settle(&mut self) {
        if std::mem::take(&mut self.is_stored) {
            self.state = State::Clean;
            self.notes.clear();
            for (_, log) in &mut self.logs {
                *log = neutralised(log);
            }
        }
    }
}
