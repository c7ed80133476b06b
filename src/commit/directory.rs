// SPDX-License-Identifier: GPL-2.0-or-later
//! The journal folder: one file for each operation, and empty files that say what became of it.
//!
//! ```text
//! DIR/lock                 held by the run that may write
//! DIR/ID.journal.tmp       a journal that is being written; removed at the next start
//! DIR/ID.journal           the operation may have begun: durable before the first byte in place
//! DIR/ID.done              the target is new and durable
//! DIR/ID.taken-back        the target is old again, and durable
//! ```
//!
//! History only grows: undo adds an operation, and that an operation is undone follows from the later
//! one. One folder may serve many targets.

use std::any::Any;
use std::collections::{BTreeMap, BTreeSet};
use std::io;
use std::ops::Deref;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use jiff::Timestamp;
use jiff::civil::DateTime;
use jiff::tz::TimeZone;

use super::journal::{self, Head};
use super::store::{HostFolder, Store};
use super::{OperationHeader, Progress, Stage, TargetIdentity};
use crate::device::ChangeSet;
use crate::error::{Error, Result};

const JOURNAL: &str = ".journal";
const TEMPORARY: &str = ".journal.tmp";

/// The files that end an operation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Marker {
    Done,
    TakenBack,
}

impl Marker {
    fn suffix(self) -> &'static str {
        match self {
            Marker::Done => ".done",
            Marker::TakenBack => ".taken-back",
        }
    }
}

/// What became of an operation.
#[derive(Clone, Debug, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Status {
    /// It began and did not end: the target is old, new or between until [`super::recover`] has run.
    Interrupted,
    /// The target is new.
    Done,
    /// It was cut off and the target brought back: as if it had never been.
    TakenBack,
    /// It was done, and a later operation took it back.
    Undone {
        /// That operation's id.
        by: String,
    },
}

/// One operation in the folder.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// What it is.
    pub header: OperationHeader,
    /// What became of it.
    pub status: Status,
    /// How many ranges it changes.
    pub ranges: u64,
    /// How many bytes they hold.
    pub bytes: u64,
    /// How many names and security descriptors it has the host change.
    pub operations: u64,
    /// Its journal file.
    pub journal: PathBuf,
}

/// A journal file that cannot be read.
#[derive(Debug)]
pub struct DamagedJournal {
    /// The operation's id, by the file's name.
    pub id: String,
    /// The file.
    pub journal: PathBuf,
    /// A marker says that the operation ended, so that only its undo is lost.
    pub ended: bool,
    /// What is wrong with it.
    pub error: Error,
}

/// What is in the folder.
#[derive(Debug, Default)]
pub struct Listing {
    /// The operations, oldest first.
    pub operations: Vec<Entry>,
    /// The files that should be operations, but cannot be read.
    pub damaged: Vec<DamagedJournal>,
}

impl Listing {
    /// The lengths that the target `identity` has and, by these operations, had: the file of a dynamic disk
    /// grows by one operation, so that an earlier one was on a shorter file.
    pub(super) fn lengths(&self, identity: &TargetIdentity) -> BTreeSet<u64> {
        let mut lengths = BTreeSet::from([identity.len]);
        for target in self
            .operations
            .iter()
            .rev()
            .map(|entry| &entry.header.target)
        {
            if target.is_like(identity, &lengths) {
                lengths.extend([target.len, target.len_after.unwrap_or(target.len)]);
            }
        }
        lengths
    }

    /// The operations on the target that is `identity`, oldest first: of its kind and length, and under
    /// its path or with its disk id.
    pub fn on<'a>(&'a self, identity: &'a TargetIdentity) -> impl Iterator<Item = &'a Entry> {
        let lengths = self.lengths(identity);
        self.operations
            .iter()
            .filter(move |entry| entry.header.target.is_like(identity, &lengths))
    }

    /// What `undo` without an id takes back: the newest operation on this target that is done, and is
    /// not itself an undo.
    pub fn newest_to_undo(&self, identity: &TargetIdentity) -> Option<&Entry> {
        let lengths = self.lengths(identity);
        let done = |entry: &&Entry| entry.status == Status::Done && entry.header.undoes.is_none();
        let like = |entry: &&Entry| entry.header.target.is_like(identity, &lengths);
        self.operations.iter().rev().filter(like).find(done)
    }
}

/// A folder of journals. Nothing is created before [`JournalDir::lock`].
#[derive(Clone, Debug)]
pub struct JournalDir {
    store: Arc<dyn Store>,
}

/// The folder, held by this run alone. Needed for everything that writes to a target.
#[derive(Debug)]
pub struct LockedDir {
    dir: JournalDir,
    _lock: Box<dyn Any + Send + Sync>,
}

impl Deref for LockedDir {
    type Target = JournalDir;

    fn deref(&self) -> &JournalDir {
        &self.dir
    }
}

impl JournalDir {
    /// The folder at `path`, which need not exist.
    pub fn open(path: impl Into<PathBuf>) -> Self {
        JournalDir::over(Arc::new(HostFolder::new(path)))
    }

    /// A folder on another store. For tests.
    pub fn over(store: Arc<dyn Store>) -> Self {
        JournalDir { store }
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        self.store.place()
    }

    /// True when there is any operation here, sound or damaged; false when there is no folder.
    pub fn has_operations(&self) -> Result<bool> {
        let names = self.names()?;
        Ok(names.iter().any(|name| name.ends_with(JOURNAL)))
    }

    /// Creates the folder if need be, keeps other runs out, and removes what a cut-off run left over.
    ///
    /// # Errors
    /// Refused when another run holds it, or it is somebody else's; Io when it cannot be created or written.
    pub fn lock(self) -> Result<LockedDir> {
        self.check_owner()?;
        let lock = self.store.lock().map_err(|error| match error.kind() {
            io::ErrorKind::WouldBlock => Error::refused(
                format!(
                    "another run holds the journal folder {}",
                    self.path().display()
                ),
                "wait until it has ended, then run again",
            ),
            _ => self.failed("preparing")(error),
        })?;
        for name in self.names()? {
            if name.ends_with(TEMPORARY) {
                // Without its final name it never was a journal, so nothing was written in place.
                self.store.remove(&name).map_err(self.failed("tidying"))?;
            }
        }
        Ok(LockedDir {
            dir: self,
            _lock: lock,
        })
    }

    /// A new operation's id: its time in UTC and `random`, as in `20260131T101500.000000Z-0123abcd`.
    /// Where the clock stands before the newest operation here, the id is made the next one after it.
    pub fn new_id(&self, now: Timestamp, random: u32) -> Result<String> {
        let newest = self.ids()?.into_keys().rev().find_map(|id| id_time(&id));
        let time = match newest
            .and_then(|newest| newest.checked_add(jiff::Span::new().microseconds(1)).ok())
        {
            Some(next) => now.max(next),
            None => now,
        };
        Ok(format!("{}-{random:08x}", time.strftime(ID_TIME)))
    }

    /// The operations, oldest first, and the files that cannot be read. Reads each journal's header
    /// only; [`JournalDir::load`] checks all of it.
    pub fn list(&self) -> Result<Listing> {
        let mut listing = Listing::default();
        for (id, markers) in self.ids()? {
            let journal = self.journal_path(&id);
            let head = self.head(&id);
            let status = match markers {
                // A new disk that never got its name is as if it had never been.
                Markers {
                    done: false,
                    taken_back: false,
                } if head.as_ref().is_ok_and(|head| head.header.new_disk) => Ok(Status::TakenBack),
                Markers {
                    done: false,
                    taken_back: false,
                } => Ok(Status::Interrupted),
                Markers {
                    done: true,
                    taken_back: false,
                } => Ok(Status::Done),
                Markers {
                    done: false,
                    taken_back: true,
                } => Ok(Status::TakenBack),
                Markers {
                    done: true,
                    taken_back: true,
                } => Err(Error::damaged(
                    format!("the markers of operation {id}"),
                    0,
                    "done or taken-back",
                    "both",
                )),
            };
            match head.and_then(|head| Ok((head, status?))) {
                Ok((head, status)) => listing.operations.push(Entry {
                    header: head.header,
                    status,
                    ranges: head.ranges,
                    bytes: head.bytes,
                    operations: head.operations,
                    journal,
                }),
                Err(error) => listing.damaged.push(DamagedJournal {
                    id,
                    journal,
                    ended: markers.done || markers.taken_back,
                    error,
                }),
            }
        }
        mark_undone(&mut listing.operations);
        Ok(listing)
    }

    /// One operation, whole and checked.
    ///
    /// # Errors
    /// Refused when there is none of this id; Damaged when its journal is not what was written.
    pub fn load(&self, id: &str) -> Result<(OperationHeader, ChangeSet)> {
        let name = format!("{id}{JOURNAL}");
        let (mut input, length) = self.open_journal(id)?;
        let (head, changes) = journal::read(&name, input.as_mut(), length)?;
        Ok((own(id, head)?.header, changes))
    }

    fn head(&self, id: &str) -> Result<Head> {
        let name = format!("{id}{JOURNAL}");
        let (mut input, length) = self.open_journal(id)?;
        own(id, journal::read_head(&name, input.as_mut(), length)?)
    }

    fn open_journal(&self, id: &str) -> Result<(Box<dyn io::Read>, u64)> {
        if !is_id(id) {
            return Err(self.no_operation(id));
        }
        self.check_owner()?;
        self.store
            .open(&format!("{id}{JOURNAL}"))
            .map_err(|error| match error.kind() {
                io::ErrorKind::NotFound => self.no_operation(id),
                _ => self.failed("reading a journal of")(error),
            })
    }

    pub(super) fn no_operation(&self, id: &str) -> Error {
        Error::refused(
            format!("there is no operation {id:?} in {}", self.path().display()),
            "`coldfix log TARGET` lists the operations; name the folder with --journal-dir",
        )
    }

    /// Makes the journal durable: content, then name. Nothing is written in place before this returns.
    pub(super) fn write_journal(
        &self,
        header: &OperationHeader,
        changes: &ChangeSet,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<PathBuf> {
        let id = &header.id;
        let newest = self.ids()?.into_keys().next_back();
        if !is_id(id) || newest.is_some_and(|newest| newest >= *id) {
            return Err(Error::refused(
                format!("the operation id {id:?} is not later than those in the journal folder"),
                "nothing was changed; this is a fault in coldfix, please report it",
            ));
        }
        let total = changes.totals().1;
        let stage = Stage::Journal;
        progress(Progress {
            stage,
            done: 0,
            total,
        });
        let temporary = format!("{id}{TEMPORARY}");
        self.store
            .create(&temporary, &mut |output| {
                journal::write(header, changes, output)
            })
            .and_then(|()| self.store.rename(&temporary, &format!("{id}{JOURNAL}")))
            .and_then(|()| self.store.sync_folder())
            .map_err(|error| {
                // Nothing is in place yet. If even this fails, the next start finds a temporary file, or
                // a whole journal and an old target.
                let _ = self.store.remove(&temporary);
                let _ = self.store.remove(&format!("{id}{JOURNAL}"));
                self.failed("writing the journal to")(error)
            })?;
        progress(Progress {
            stage,
            done: total,
            total,
        });
        Ok(self.journal_path(id))
    }

    /// Says durably what became of an operation.
    pub(super) fn mark(&self, id: &str, marker: Marker) -> Result<()> {
        self.store
            .create_empty(&format!("{id}{}", marker.suffix()))
            .and_then(|()| self.store.sync_folder())
            .map_err(self.failed("writing a marker to"))
    }

    fn journal_path(&self, id: &str) -> PathBuf {
        self.path().join(format!("{id}{JOURNAL}"))
    }

    fn names(&self) -> Result<Vec<String>> {
        self.check_owner()?;
        self.store.names().map_err(self.failed("reading"))
    }

    /// Refuses a folder that somebody else has put there.
    fn check_owner(&self) -> Result<()> {
        match self.store.stranger().map_err(self.failed("reading"))? {
            None => Ok(()),
            Some(whose) => Err(Error::refused(
                format!("the journal folder {} {whose}", self.path().display()),
                "nothing in it was believed and nothing was written; name another folder with --journal-dir, or make \
                 this one yours with chown when you know what is in it",
            )),
        }
    }

    /// The ids that have a journal, in order, each with its markers.
    fn ids(&self) -> Result<BTreeMap<String, Markers>> {
        let names = self.names()?;
        let mut ids: BTreeMap<String, Markers> = names
            .iter()
            .filter_map(|name| name.strip_suffix(JOURNAL))
            .map(|id| (id.to_owned(), Markers::default()))
            .collect();
        for name in &names {
            let marked = |marker: Marker| name.strip_suffix(marker.suffix());
            if let Some(markers) = marked(Marker::Done).and_then(|id| ids.get_mut(id)) {
                markers.done = true;
            } else if let Some(markers) = marked(Marker::TakenBack).and_then(|id| ids.get_mut(id)) {
                markers.taken_back = true;
            }
        }
        Ok(ids)
    }

    fn failed(&self, doing: &str) -> impl Fn(io::Error) -> Error + use<> {
        let what = format!("{doing} the journal folder {}", self.path().display());
        move |error| {
            Error::io(what.as_str())(error).with_hint(
                "no journal, no change",
                "free space or rights there, or name another folder with --journal-dir",
            )
        }
    }
}

#[derive(Clone, Copy, Debug, Default)]
struct Markers {
    done: bool,
    taken_back: bool,
}

/// A journal must be the one that its name says.
fn own(id: &str, head: Head) -> Result<Head> {
    if head.header.id == id {
        return Ok(head);
    }
    Err(Error::damaged(
        format!("journal {id}{JOURNAL}, id"),
        0,
        id,
        head.header.id,
    ))
}

/// A later operation that is done, and not itself undone, undoes the one it names.
fn mark_undone(operations: &mut [Entry]) {
    let mut undone: BTreeMap<String, String> = BTreeMap::new();
    for entry in operations.iter_mut().rev() {
        if entry.status != Status::Done {
            continue;
        }
        if let Some(by) = undone.remove(&entry.header.id) {
            entry.status = Status::Undone { by };
        } else if let Some(earlier) = &entry.header.undoes {
            undone.insert(earlier.clone(), entry.header.id.clone());
        }
    }
}

const ID_TIME: &str = "%Y%m%dT%H%M%S%.6fZ";

/// True for what can be an id and a part of a file name on every host.
fn is_id(id: &str) -> bool {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    !id.is_empty() && id.len() <= 64 && !id.starts_with('.') && id.bytes().all(allowed)
}

fn id_time(id: &str) -> Option<Timestamp> {
    let (time, _) = id.split_once('-')?;
    let time = DateTime::strptime(ID_TIME, time).ok()?;
    time.to_zoned(TimeZone::UTC)
        .ok()
        .map(|zoned| zoned.timestamp())
}
