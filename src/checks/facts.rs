// SPDX-License-Identifier: GPL-2.0-or-later
//! What checks and fixes may look at: the installation, and what several of them ask for, read once.

use std::cell::{OnceCell, RefCell};

use jiff::Timestamp;

use crate::edit::{Edit, HiveName};
use crate::error::{Error, Result};
use crate::windows::{
    ControlSet, EventLogs, GroupPolicy, Installation, KeyFiles, Reading, Registry, Select,
};

use super::password::Secrets;
use super::{events, machine_keys};

/// What checks may look at.
#[derive(Debug)]
pub struct Facts<'a> {
    /// The installation.
    pub installation: &'a Installation,
    /// Its control sets.
    pub select: Select,
    /// The build number, such as 20348, where SOFTWARE tells it.
    pub build: Option<u32>,
    /// What time it is; certificates expire.
    pub now: Timestamp,
    /// The policy files and the domain, once asked for.
    pub(super) group_policy: OnceCell<GroupPolicy>,
    /// The files in the MachineKeys folder, once asked for; there can be many.
    pub(super) key_files: OnceCell<Result<Option<KeyFiles>>>,
    /// The files of the CNG keys of the machine, once asked for; why they are not known.
    cng_keys: OnceCell<Result<Vec<KeyFiles>, String>>,
    /// Remote Desktop's own key and its folder, once asked for.
    pub(super) machine_keys: OnceCell<Result<Option<machine_keys::Keys>>>,
    /// Where new passwords come from; only who asks for fixes gives one.
    pub(super) secrets: Option<&'a dyn Secrets>,
    /// The edits of the fixes that were proposed before in this run.
    pub(super) earlier: RefCell<Vec<Edit>>,
    /// The event logs, once asked for; they can be large.
    pub(super) events: OnceCell<EventLogs>,
}

impl<'a> Facts<'a> {
    /// Gathers what every check needs.
    pub fn gather(installation: &'a Installation, now: Timestamp) -> Result<Facts<'a>> {
        installation.check_usable()?;
        Ok(Facts {
            select: installation.select()?,
            build: installation.build_number(),
            ..Facts::of_files(installation, now)
        })
    }

    /// What is left where SYSTEM cannot be read: the files. For fixes that look at nothing else.
    pub fn of_files(installation: &'a Installation, now: Timestamp) -> Facts<'a> {
        Facts {
            installation,
            select: Select::default(),
            build: None,
            now,
            group_policy: OnceCell::new(),
            key_files: OnceCell::new(),
            cng_keys: OnceCell::new(),
            machine_keys: OnceCell::new(),
            secrets: None,
            earlier: RefCell::default(),
            events: OnceCell::new(),
        }
    }

    /// The events that tell of Remote Desktop.
    pub(super) fn events(&self) -> &EventLogs {
        self.events.get_or_init(|| events::read(self.installation))
    }

    pub(super) fn registry(&self) -> &Registry {
        &self.installation.registry
    }

    /// Where policies come from, looked at once.
    pub(super) fn group_policy(&self) -> &GroupPolicy {
        self.group_policy
            .get_or_init(|| self.installation.group_policy())
    }

    /// The files in MachineKeys, listed once; `None` when there is no such folder. An error is asked for again,
    /// because it is given away.
    pub(super) fn key_files(&self) -> Result<Option<&KeyFiles>> {
        let list = || self.installation.key_files();
        match self.key_files.get_or_init(list) {
            Ok(files) => Ok(files.as_ref()),
            Err(_) => match list() {
                Err(error) => Err(error),
                Ok(_) => Err(Error::refused(
                    "the MachineKeys folder changed while it was being read",
                    "make sure that nothing else writes to the target, then try again",
                )),
            },
        }
    }

    /// The files of the machine's CNG keys, listed once.
    ///
    /// # Errors
    /// Why they cannot be listed, in plain words.
    pub(super) fn cng_keys(&self) -> Result<&[KeyFiles], &str> {
        let list = || match self.installation.cng_key_files() {
            Ok(Some(files)) => Ok(files),
            Ok(None) => Err("there is no such folder".to_owned()),
            Err(error) => Err(error.to_string()),
        };
        let listed = self.cng_keys.get_or_init(list);
        listed.as_deref().map_err(String::as_str)
    }

    /// The control sets to judge and to repair.
    pub(super) fn sets(&self) -> &[ControlSet] {
        &self.select.sets
    }

    /// A DWORD of SYSTEM.
    pub(super) fn system_dword(&self, key: &str, name: &str) -> Reading<u32> {
        self.registry().dword(HiveName::System, key, name)
    }

    /// A DWORD of SOFTWARE.
    pub(super) fn software_dword(&self, key: &str, name: &str) -> Reading<u32> {
        self.registry().dword(HiveName::Software, key, name)
    }
}
