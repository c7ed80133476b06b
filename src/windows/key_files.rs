// SPDX-License-Identifier: GPL-2.0-or-later
//! The folder of the machine's private keys of the older interface (CAPI).

use crate::certificate::container;
use crate::edit::HiveName;
use crate::error::{Error, Result};
use crate::volume::EntryKind;

use super::Installation;

/// The folder, below ProgramData.
const FOLDER: &str = "Microsoft/Crypto/RSA/MachineKeys";

/// Where the folder is unless it was moved, for messages.
pub const USUAL_PLACE: &str = r"\ProgramData\Microsoft\Crypto\RSA\MachineKeys";

/// The files in MachineKeys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles {
    /// The folder's path from the volume's root, parts separated by `/`.
    pub folder: String,
    /// The names of the files in it, as they are spelt.
    pub names: Vec<String>,
}

/// What there is of a container's file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyFile {
    /// That of this machine.
    Present(String),
    /// None of this machine, but some that carry other GUIDs.
    OfOtherMachines(Vec<String>),
    /// None.
    Absent,
}

impl KeyFiles {
    /// The files of a container, by the first part of their names, whatever machine's they are.
    pub fn of_stem(&self, stem: &str) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(move |name| {
            name.split_at_checked(stem.len())
                .is_some_and(|(head, _)| head.eq_ignore_ascii_case(stem))
        })
    }

    /// What there is of a container's file on the machine with this `MachineGuid`. `None` when it cannot be told: the
    /// file's name is not known, or there is one and the GUID is not known.
    pub fn look_for(&self, container: &str, machine_guid: Option<&str>) -> Option<KeyFile> {
        let stem = container::file_stem(container)?;
        let found: Vec<String> = self.of_stem(&stem).map(str::to_owned).collect();
        if found.is_empty() {
            return Some(KeyFile::Absent);
        }
        let own = container::file_name(container, machine_guid?)?;
        Some(
            match found.iter().find(|name| name.eq_ignore_ascii_case(&own)) {
                Some(own) => KeyFile::Present(own.clone()),
                None => KeyFile::OfOtherMachines(found),
            },
        )
    }
}

impl Installation {
    /// What is in MachineKeys; `None` when there is no such folder.
    ///
    /// # Errors
    /// When the folder is on another drive, or cannot be listed.
    pub fn key_files(&self) -> Result<Option<KeyFiles>> {
        let data = self.program_data().map_err(|why| {
            Error::unsupported(
                why,
                "look after its MachineKeys folder with `coldfix acl` on the volume that holds it",
            )
        })?;
        let folder = format!("{data}/{FOLDER}");
        match self.volume.entry(&folder)? {
            Some(entry) if entry.kind == EntryKind::Directory => {}
            _ => return Ok(None),
        }
        let below = format!("{folder}/");
        let names = self
            .volume
            .tree(&folder)?
            .into_iter()
            .filter(|entry| entry.kind == EntryKind::File)
            .filter_map(|entry| entry.path.strip_prefix(&below).map(str::to_owned))
            .collect();
        Ok(Some(KeyFiles { folder, names }))
    }

    /// The machine's GUID, which the names of its key files carry.
    pub fn machine_guid(&self) -> Option<String> {
        let guid = self
            .registry
            .text(HiveName::Software, r"Microsoft\Cryptography", "MachineGuid");
        guid.found().filter(|guid| !guid.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_of_this_machine_or_of_another() {
        let stem = container::REMOTE_DESKTOP_STEM;
        let upper = format!("{}_AB", stem.to_uppercase());
        let files = |names: &[&str]| KeyFiles {
            folder: "keys".to_owned(),
            names: names.iter().map(|name| (*name).to_owned()).collect(),
        };
        let container = container::REMOTE_DESKTOP;
        let look = |names: &[&str], guid| files(names).look_for(container, guid);
        let other = format!("{stem}_cd");
        assert_eq!(look(&["6de9_ab"], None), Some(KeyFile::Absent));
        assert_eq!(look(&["f686aac"], Some("ab")), Some(KeyFile::Absent));
        assert_eq!(look(&[&other], None), None);
        assert_eq!(
            look(&[&other, &upper], Some("ab")),
            Some(KeyFile::Present(upper.clone()))
        );
        assert_eq!(
            look(&[&other], Some("ab")),
            Some(KeyFile::OfOtherMachines(vec![other.clone()]))
        );
        assert_eq!(files(&[]).look_for("Schlüssel", None), None);
    }
}
