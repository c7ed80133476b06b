// SPDX-License-Identifier: GPL-2.0-or-later
//! The private keys of certificates: whether their files are there.
//!
//! A key of the older interface (CAPI) lies in MachineKeys, one of the newer (CNG) in Crypto\Keys, each in a file that is
//! called after it. A key that some other provider keeps, on a chip or a card, is not judged, and that is said.

use crate::certificate::KeyProvider;
use crate::certificate::container::{cng_file_stem, file_stem};
use crate::windows::certificates::Content;
use crate::windows::{KeyFile, value};

use super::super::Facts;

const CNG_FOLDER: &str = r"\ProgramData\Microsoft\Crypto\Keys";

/// What is known of a certificate's key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Key {
    /// What there is of its file, and where it was looked for.
    File(KeyFile, &'static str),
    /// It is none that lies in a file which is known; the text says why, and where it lies.
    NotJudged(String),
    /// Nothing: the certificate names none, or the folder of CAPI is not there or cannot be listed.
    Unknown,
}

impl Key {
    pub(super) fn of(facts: &Facts<'_>, content: &Content) -> Key {
        match &content.provider {
            None => Key::Unknown,
            Some(provider) if provider.is_capi() => Key::of_capi(facts, provider),
            Some(provider) => Key::of_cng(facts, provider),
        }
    }

    fn of_capi(facts: &Facts<'_>, provider: &KeyProvider) -> Key {
        let look = || {
            let files = facts.key_files().ok().flatten()?;
            let guid = facts.installation.machine_guid();
            files.look_for(&file_stem(&provider.container)?, guid.as_deref())
        };
        look().map_or(Key::Unknown, |file| Key::File(file, "MachineKeys"))
    }

    fn of_cng(facts: &Facts<'_>, provider: &KeyProvider) -> Key {
        if !provider.is_cng_file() {
            return Key::NotJudged(format!(
                "not of the machine, or not in a file: {} keeps it",
                value::printable(&provider.provider)
            ));
        }
        let Some(stem) = cng_file_stem(&provider.container) else {
            return Key::NotJudged(format!(
                "in {CNG_FOLDER}, in a file whose name is not known"
            ));
        };
        let not_judged = |why: &str| {
            Key::NotJudged(format!(
                "in the file {stem}_<MachineGuid> of {CNG_FOLDER}: {why}"
            ))
        };
        let folders = match facts.cng_keys() {
            Ok(folders) => folders,
            Err(why) => return not_judged(why),
        };
        let guid = facts.installation.machine_guid();
        let mut others = Vec::new();
        for folder in folders {
            match folder.look_for(&stem, guid.as_deref()) {
                Some(file @ KeyFile::Present(_)) => return Key::File(file, r"Crypto\Keys"),
                Some(KeyFile::OfOtherMachines(names)) => others.extend(names),
                Some(KeyFile::Absent) => {}
                None => return not_judged("this machine's GUID is not known"),
            }
        }
        let file = match others.is_empty() {
            true => KeyFile::Absent,
            false => KeyFile::OfOtherMachines(others),
        };
        Key::File(file, r"Crypto\Keys")
    }
}
