// SPDX-License-Identifier: GPL-2.0-or-later
//! The gate that every change of the volume goes through, and what it does to the journal.
//!
//! ```text
//! journal    begin_content                      begin_metadata                    check_writable
//! clean      go                                 go                                go
//! idle       close it, go                       close it, go                      go
//! replayed   write what waited, close it, go; both gates alike                    go
//! pending    go where it concerns nothing that  refuse                            go, but where it concerns all
//!            is written; it stays as it is
//! refused    refuse                             refuse                            refuse
//! discarded  close it, mark the volume dirty, go; both gates alike                go
//! ```
//!
//! Content is overwriting bytes in the clusters that a file has, its length unchanged; users' data are not in
//! the journal, so a later replay by Windows leaves them alone. Everything else is metadata: a replay
//! could write over it, or free clusters that were just taken.
//!
//! A closed journal says that all is on disk. That is true of an idle one, and of one that was replayed (`replay`), whose
//! changes reach the disk with the first write. A pending one that was not is closed only when its changes are given up by name ([`crate::volume::Volume::discard_journal`]).
//!
//! Before it come the gates of `state`: hibernation refuses always; then, behind the journal, the others.

use std::sync::{Mutex, MutexGuard, PoisonError};

use crate::error::{Error, Result};
use crate::volume::{JournalState, JournalVerdict};

use super::NtfsVolume;
use super::clusters;
use super::journal;
use super::logfile::{Pending, Verdict};
use super::replay::Outcome;
use super::stream::{Content, Stream};
use super::walk::Node;

/// How to go on where a journal is in the way.
const NEXT: &str = "let Windows finish its work: start it once and shut it down fully, or attach the disk to a Windows \
                    computer, where mounting it once (or `chkdsk X: /f`) replays the journal, and detach it cleanly. \
                    If that is impossible, `--discard-journal` throws the unfinished work away and lets Windows \
                    check the volume at its next start";

/// How many files a note names.
const NAMED: usize = 12;

/// What the gate has done so far.
#[derive(Debug, Default)]
pub(super) struct Gate(Mutex<Progress>);

#[derive(Debug, Default)]
struct Progress {
    /// What waits in the journal may be thrown away.
    discard: bool,
    /// The journal was closed here.
    closed: bool,
    /// It was said that the journal stays as it is.
    left: bool,
    notes: Vec<String>,
}

impl Gate {
    fn progress(&self) -> MutexGuard<'_, Progress> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// See [`crate::volume::Volume::notes`].
    pub(super) fn notes(&self) -> Vec<String> {
        self.progress().notes.clone()
    }
}

impl NtfsVolume {
    /// To be called before anything but content is changed; closes the journal where it has to be.
    ///
    /// `Refused` with the next step where the volume's state forbids it.
    pub(super) fn begin_metadata(&self) -> Result<()> {
        self.condition.check_awake()?;
        let mut progress = self.gate.progress();
        if !progress.closed && !progress.discard {
            match &self.condition.journal.verdict {
                Verdict::Pending(_) if self.condition.replay.is_done() => {}
                Verdict::Pending(pending) => return Err(self.waits(pending)),
                Verdict::Refused(_) => return Err(self.unknown()),
                Verdict::Clean | Verdict::Idle => {}
            }
        }
        self.condition.check_sound(&self.tree.mft)?;
        self.close_journal(&mut progress)
    }

    /// The same before bytes in the clusters of `stream` are overwritten, and nothing else.
    pub(super) fn begin_content(&self, path: &str, node: &Node, stream: &Stream) -> Result<()> {
        let pending = match &self.condition.journal.verdict {
            Verdict::Pending(pending) if !self.condition.replay.is_done() => pending,
            _ => return self.begin_metadata(),
        };
        let mut progress = self.gate.progress();
        if progress.closed || progress.discard {
            drop(progress);
            return self.begin_metadata();
        }
        self.condition.check_awake()?;
        self.check_content_possible(pending)?;
        self.condition.check_sound(&self.tree.mft)?;
        if let Some(what) = self.concerned(pending, node, stream)? {
            return Err(Error::refused(
                format!(
                    "{path} cannot be overwritten: changes that wait in the journal of the volume ($LogFile) concern \
                     its {what}"
                ),
                NEXT,
            ));
        }
        // What tells of a hibernation must be what Windows will find.
        if let Some(node) = self.tree.resolve("hiberfil.sys")?
            && let Some(stream) = self.tree.data(&node.record)?
            && let Some(what) = self.concerned(pending, &node, &stream)?
        {
            return Err(Error::refused(
                format!(
                    "it cannot be told whether Windows is hibernated: changes that wait in the journal of the volume \
                     ($LogFile) concern hiberfil.sys, its {what}"
                ),
                NEXT,
            ));
        }
        if !std::mem::replace(&mut progress.left, true) {
            let notes = self.journal_state().map(leaving_notes);
            progress.notes.extend(notes.into_iter().flatten());
        }
        Ok(())
    }

    /// See [`crate::volume::Volume::check_writable`].
    pub(super) fn check_gates(&self) -> Result<()> {
        self.condition.check_awake()?;
        let progress = self.gate.progress();
        if !progress.closed && !progress.discard {
            match &self.condition.journal.verdict {
                Verdict::Pending(_) if self.condition.replay.is_done() => {}
                Verdict::Pending(pending) => self.check_content_possible(pending)?,
                Verdict::Refused(_) => return Err(self.unknown()),
                Verdict::Clean | Verdict::Idle => {}
            }
        }
        self.condition.check_sound(&self.tree.mft)
    }

    /// See [`crate::volume::Volume::discard_journal`].
    pub(super) fn agree_to_discard(&self) -> Result<()> {
        self.condition.check_awake()?;
        if self.condition.replay.is_done() {
            let note = "nothing had to be thrown away of the journal of the volume ($LogFile): what waited in it was carried \
                        out. To throw it away all the same, add --replay-journal=off";
            self.note(vec![note.into()]);
            return Ok(());
        }
        if let Verdict::Pending(_) | Verdict::Refused(_) = self.condition.journal.verdict {
            // Whether it can be closed is told now, not in the middle of a repair.
            journal::check_closable(&self.tree, &self.condition.journal)?;
            self.gate.progress().discard = true;
        }
        Ok(())
    }

    /// Closes the journal, once, if it is open.
    fn close_journal(&self, progress: &mut Progress) -> Result<()> {
        let found = &self.condition.journal;
        if progress.closed || found.verdict == Verdict::Clean {
            return Ok(());
        }
        journal::close(&self.tree, found)?;
        if found.verdict != Verdict::Idle && !self.condition.replay.is_done() {
            journal::mark_dirty(&self.tree)?;
        }
        progress.closed = true;
        let notes = self.journal_state().map(closing_notes);
        progress.notes.extend(notes.into_iter().flatten());
        Ok(())
    }

    fn journal_state(&self) -> Option<&JournalState> {
        self.condition.state.journal.as_ref()
    }

    /// The refusal of metadata changes while others wait.
    fn waits(&self, pending: &Pending) -> Error {
        let how = self.condition.state.unclean_journal.as_deref();
        let what = match &pending.reach.everything {
            None => {
                "until Windows has carried them out, only the content of files that they do not concern can be \
                     overwritten, its length unchanged"
            }
            Some(_) => "until Windows has carried them out, nothing can be changed",
        };
        Error::refused(
            format!(
                "changes wait in the journal of the volume ($LogFile); {what}: {}",
                how.unwrap_or_default()
            ),
            match self.condition.replay {
                Outcome::Off => format!(
                    "leave out --replay-journal=off: then they are carried out first. Or {NEXT}"
                ),
                _ => NEXT.to_owned(),
            },
        )
    }

    /// The refusal of every change while it is not known what waits.
    fn unknown(&self) -> Error {
        let how = self.condition.state.unclean_journal.as_deref();
        let how = how.unwrap_or_default();
        Error::refused(
            format!("the journal of the volume ($LogFile) is not clean: {how}"),
            NEXT,
        )
    }

    /// There may be files that what waits does not concern.
    fn check_content_possible(&self, pending: &Pending) -> Result<()> {
        match &pending.reach.everything {
            Some(_) => Err(self.waits(pending)),
            None => Ok(()),
        }
    }

    /// Which record or cluster of a file what waits concerns.
    fn concerned(&self, pending: &Pending, node: &Node, stream: &Stream) -> Result<Option<String>> {
        let holders = self.tree.mft.holders(&node.record)?;
        if let Some(record) = holders.intersection(&pending.files).next() {
            return Ok(Some(format!("MFT record {record}")));
        }
        let Content::NonResident { map, .. } = &stream.content else {
            return Ok(None);
        };
        let shared =
            clusters::ranges(map.runs()).find_map(|(first, end)| pending.reach.find(first, end));
        Ok(shared.map(|cluster| format!("cluster {cluster}")))
    }
}

/// What to say where the journal stays as it is.
fn leaving_notes(state: &JournalState) -> Vec<String> {
    let left = format!(
        "the journal of the volume ($LogFile) was left as it is, for Windows to carry out what waits in it ({}); \
         nothing of that concerns the files that were changed, of which only bytes in their own clusters were \
         overwritten",
        state.numbers()
    );
    [left].into_iter().chain(state.warning.clone()).collect()
}

/// What to say where what waited was carried out.
fn replayed_note(state: &JournalState) -> String {
    let replay = state.replay.clone().unwrap_or_default();
    let back = match replay.undone {
        0 => "nothing had to be taken back".to_owned(),
        undone => format!("{undone} of what was never finished taken back"),
    };
    let concerned = state.names(NAMED);
    let unlogged: Vec<&str> = replay
        .unlogged
        .iter()
        .filter_map(|file| file.path.as_deref())
        .collect();
    let unlogged = match unlogged.is_empty() {
        true => String::new(),
        false => format!(
            ". The last content of small files was never in the journal; zeros may be there now: {}",
            unlogged.join(", ")
        ),
    };
    format!(
        "carried out what waited in the journal of the volume ($LogFile), as Windows would at its next start, and closed it: {} \
         records done again, {} found on the disk already, {back}; concerned: {concerned}{unlogged}",
        replay.redone, replay.on_disk
    )
}

/// What to say where the journal was closed.
fn closing_notes(state: &JournalState) -> Vec<String> {
    const CHECKED: &str = "The volume is marked dirty: Windows checks it when it starts";
    let closed = match state.verdict {
        JournalVerdict::Clean => return Vec::new(),
        JournalVerdict::Idle => format!(
            "closed the journal of the volume ($LogFile), as Windows does when it shuts down: it was left open, but \
             nothing waited in it{}",
            match state.version.as_deref() {
                Some("2.0") => " (its version 2.0 became 1.1; Windows turns that back by itself)",
                _ => "",
            }
        ),
        JournalVerdict::Pending if state.is_replayed() => replayed_note(state),
        JournalVerdict::Pending => format!(
            "threw away what waited in the journal of the volume ($LogFile), as was asked for: {}. What Windows was \
             doing there may be lost or half done: {}. {CHECKED}",
            state.numbers(),
            state.names(NAMED)
        ),
        JournalVerdict::Refused => format!(
            "threw away the journal of the volume ($LogFile), as was asked for, without knowing what waited in it \
             ({}). What Windows was doing last may be lost or half done. {CHECKED}",
            state.reason.as_deref().unwrap_or_default()
        ),
    };
    [closed].into_iter().chain(state.warning.clone()).collect()
}
