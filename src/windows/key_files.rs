// SPDX-License-Identifier: GPL-2.0-or-later
//! The folders of the machine's private keys: of the older interface (CAPI) and of the newer one (CNG).

use crate::edit::HiveName;
use crate::error::{Error, Result};
use crate::volume::EntryKind;

use super::Installation;

/// The folder of CAPI, below ProgramData.
const FOLDER: &str = "Microsoft/Crypto/RSA/MachineKeys";
/// The folders of CNG, below ProgramData: the machine's keys, then those of SYSTEM.
const CNG_FOLDERS: [&str; 2] = ["Microsoft/Crypto/Keys", "Microsoft/Crypto/SystemKeys"];

/// Where the folder is unless it was moved, for messages.
pub const USUAL_PLACE: &str = r"\ProgramData\Microsoft\Crypto\RSA\MachineKeys";

/// The files in a folder of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KeyFiles {
    /// The folder's path from the volume's root, parts separated by `/`.
    pub folder: String,
    /// The names of the files in it, as they are spelt.
    pub names: Vec<String>,
}

/// What there is of a key's file.
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
    /// The files of a key, by the first part of their names, whatever machine's they are.
    pub fn of_stem(&self, stem: &str) -> impl Iterator<Item = &str> {
        self.names.iter().map(String::as_str).filter(move |name| {
            name.split_at_checked(stem.len())
                .is_some_and(|(head, _)| head.eq_ignore_ascii_case(stem))
        })
    }

    /// What there is of a key's file, by the first part of its name, on the machine with this `MachineGuid`. `None` when
    /// it cannot be told: there is one, and the GUID is not known.
    pub fn look_for(&self, stem: &str, machine_guid: Option<&str>) -> Option<KeyFile> {
        let found: Vec<String> = self.of_stem(stem).map(str::to_owned).collect();
        if found.is_empty() {
            return Some(KeyFile::Absent);
        }
        let own = format!("{stem}_{}", machine_guid?);
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
        self.files_of_keys(FOLDER)
    }

    /// The machine's keys of CNG, and those of SYSTEM where there are any; `None` when the first have no folder.
    ///
    /// # Errors
    /// When a folder is on another drive, or cannot be listed.
    pub fn cng_key_files(&self) -> Result<Option<Vec<KeyFiles>>> {
        let [machine, system] = CNG_FOLDERS.map(|folder| self.files_of_keys(folder));
        let (machine, system) = (machine?, system?);
        Ok(machine.map(|machine| [machine].into_iter().chain(system).collect()))
    }

    fn files_of_keys(&self, folder: &str) -> Result<Option<KeyFiles>> {
        let data = self.program_data().map_err(|why| {
            Error::unsupported(
                why,
                "look after its folders of keys with `coldfix acl` on the volume that holds it",
            )
        })?;
        let folder = format!("{data}/{folder}");
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
    use crate::certificate::container;

    #[test]
    fn a_file_is_of_this_machine_or_of_another() {
        let stem = container::REMOTE_DESKTOP_STEM;
        let upper = format!("{}_AB", stem.to_uppercase());
        let look = |names: &[&str], guid| {
            let files = KeyFiles {
                folder: "keys".to_owned(),
                names: names.iter().map(|name| (*name).to_owned()).collect(),
            };
            files.look_for(stem, guid)
        };
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
    }
}
