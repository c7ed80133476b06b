// SPDX-License-Identifier: GPL-2.0-or-later
//! A logical change to the registry, to files or to the boot configuration of an installation, as data.
//!
//! Checks propose edits, `.reg` files are read into edits, plans list them and journals keep them. Nothing
//! here does anything: [`crate::plan`] alone applies them.

mod boot;
mod content;

use std::collections::HashMap;

pub use boot::{BootChange, BootEdit, StorePlace};
pub use content::sha256;
use serde::{Deserialize, Serialize};

/// A hive file of a Windows installation, named after its file in `System32\config`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum HiveName {
    /// `HKLM\SYSTEM`
    System,
    /// `HKLM\SOFTWARE`
    Software,
    /// `HKLM\SAM`
    Sam,
    /// `HKLM\SECURITY`
    Security,
    /// `HKU\.DEFAULT`
    Default,
}

impl HiveName {
    /// All hives, SYSTEM first because everything hangs on it.
    pub const ALL: [HiveName; 5] = [
        HiveName::System,
        HiveName::Software,
        HiveName::Sam,
        HiveName::Security,
        HiveName::Default,
    ];

    /// The file's name in `System32\config`.
    pub fn file_name(self) -> &'static str {
        match self {
            HiveName::System => "SYSTEM",
            HiveName::Software => "SOFTWARE",
            HiveName::Sam => "SAM",
            HiveName::Security => "SECURITY",
            HiveName::Default => "DEFAULT",
        }
    }

    /// Where Windows mounts the hive, in the long spelling that reg.exe prints.
    pub fn mount_point(self) -> &'static str {
        match self {
            HiveName::System => r"HKEY_LOCAL_MACHINE\SYSTEM",
            HiveName::Software => r"HKEY_LOCAL_MACHINE\SOFTWARE",
            HiveName::Sam => r"HKEY_LOCAL_MACHINE\SAM",
            HiveName::Security => r"HKEY_LOCAL_MACHINE\SECURITY",
            HiveName::Default => r"HKEY_USERS\.DEFAULT",
        }
    }

    /// `mount point\key`, or the mount point alone for the root.
    pub fn full_path(self, key: &str) -> String {
        if key.is_empty() {
            self.mount_point().to_owned()
        } else {
            format!(r"{}\{key}", self.mount_point())
        }
    }

    /// Splits a full registry path, root in its short or long spelling and any case, into hive and key.
    /// `None` when it lies in none of the hives. A trailing backslash is dropped.
    pub fn split(path: &str) -> Option<(HiveName, String)> {
        let path = path.trim_end_matches('\\');
        let (root, rest) = path.split_once('\\')?;
        let (name, key) = rest.split_once('\\').unwrap_or((rest, ""));
        let wanted = |text: &str| root.eq_ignore_ascii_case(text);
        let hives: &[HiveName] = if wanted("HKLM") || wanted("HKEY_LOCAL_MACHINE") {
            &[
                HiveName::System,
                HiveName::Software,
                HiveName::Sam,
                HiveName::Security,
            ]
        } else if wanted("HKU") || wanted("HKEY_USERS") {
            &[HiveName::Default]
        } else {
            return None;
        };
        let hive = hives.iter().copied().find(|hive| {
            let mounted = hive.mount_point();
            mounted
                .rsplit('\\')
                .next()
                .is_some_and(|last| last.eq_ignore_ascii_case(name))
        })?;
        Some((hive, key.to_owned()))
    }
}

/// Bytes that are written as hexadecimal digits in JSON.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HexBytes(pub Vec<u8>);

impl Serialize for HexBytes {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use std::fmt::Write;
        let mut text = String::new();
        for byte in &self.0 {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        serializer.serialize_str(&text)
    }
}

impl<'de> Deserialize<'de> for HexBytes {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        let text = String::deserialize(deserializer)?;
        hex_digits(&text)
            .map(HexBytes)
            .ok_or_else(|| serde::de::Error::custom("expected an even run of hexadecimal digits"))
    }
}

/// The bytes that an even run of hexadecimal digits stands for.
pub fn hex_digits(text: &str) -> Option<Vec<u8>> {
    let digits: Vec<u8> = text
        .chars()
        .map(|digit| {
            digit
                .to_digit(16)
                .and_then(|value| u8::try_from(value).ok())
        })
        .collect::<Option<_>>()?;
    let (pairs, rest) = digits.as_chunks::<2>();
    if !rest.is_empty() {
        return None;
    }
    Some(pairs.iter().map(|[high, low]| (high << 4) | low).collect())
}

/// One logical change.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "action", rename_all = "kebab-case")]
pub enum Edit {
    /// Create a key, and the keys above it that are missing.
    CreateKey {
        /// In which hive.
        hive: HiveName,
        /// Path below the hive's root.
        key: String,
    },
    /// Delete a key with everything below it.
    DeleteKey {
        /// In which hive.
        hive: HiveName,
        /// Path below the hive's root.
        key: String,
    },
    /// Set a value of an existing key.
    SetValue {
        /// In which hive.
        hive: HiveName,
        /// Path of the key below the hive's root.
        key: String,
        /// The value's name; empty for the default value.
        name: String,
        /// The registry type number, such as 4 for REG_DWORD.
        #[serde(rename = "type")]
        kind: u32,
        /// The value's bytes.
        data: HexBytes,
    },
    /// Delete a value of a key.
    DeleteValue {
        /// In which hive.
        hive: HiveName,
        /// Path of the key below the hive's root.
        key: String,
        /// The value's name; empty for the default value.
        name: String,
    },
    /// Give an existing key another security descriptor.
    SetKeySecurity {
        /// In which hive.
        hive: HiveName,
        /// Path of the key below the hive's root.
        key: String,
        /// The self-relative descriptor.
        descriptor: HexBytes,
    },
    /// Give existing files and folders other security descriptors.
    SetSecurity {
        /// Who gets which; no path stands in two groups.
        groups: Vec<SecurityGroup>,
    },
    /// Give a file or folder another name in its folder.
    Rename {
        /// Path from the volume's root, parts separated by `/`.
        path: String,
        /// The new name.
        name: String,
    },
    /// Give a file the content of another file of the same volume, or make it. What is copied is told by its length
    /// and hash: content is never part of an edit.
    CopyFile {
        /// The file that is read. Path from the volume's root, parts separated by `/`.
        from: String,
        /// The file that gets its content; made, with the permissions of `from`, where there is none.
        to: String,
        /// The length of what is copied, in bytes.
        length: u64,
        /// The SHA-256 of what is copied, in hexadecimal digits.
        sha256: String,
        /// The new name, in the same folder, under which what `to` held is kept. Without one it is in the journal
        /// only.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        keep: Option<String>,
        /// Endings of files beside `to`, such as `.LOG1`, that belong to what it held: they get the name of `keep` with
        /// that ending.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        along: Vec<String>,
    },
    /// Delete a file.
    DeleteFile {
        /// Path from the volume's root, parts separated by `/`.
        path: String,
    },
    /// Change a boot configuration (BCD) store.
    Boot(BootEdit),
}

/// Files and folders that get the same security descriptor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SecurityGroup {
    /// The self-relative descriptor.
    pub descriptor: HexBytes,
    /// Paths from the volume's root, parts separated by `/`.
    pub paths: Vec<String>,
}

impl Edit {
    /// Sets a REG_DWORD.
    pub fn dword(
        hive: HiveName,
        key: impl Into<String>,
        name: impl Into<String>,
        value: u32,
    ) -> Edit {
        Edit::SetValue {
            hive,
            key: key.into(),
            name: name.into(),
            kind: 4,
            data: HexBytes(value.to_le_bytes().to_vec()),
        }
    }

    /// Sets a string value: `kind` 1 (REG_SZ) or 2 (REG_EXPAND_SZ); the terminator is added.
    pub fn text(
        hive: HiveName,
        key: impl Into<String>,
        name: impl Into<String>,
        kind: u32,
        text: &str,
    ) -> Edit {
        Edit::SetValue {
            hive,
            key: key.into(),
            name: name.into(),
            kind,
            data: HexBytes(utf16_with_terminator(text)),
        }
    }

    /// Sets a REG_MULTI_SZ.
    pub fn multi_text(
        hive: HiveName,
        key: impl Into<String>,
        name: impl Into<String>,
        parts: &[String],
    ) -> Edit {
        let mut data: Vec<u8> = parts
            .iter()
            .flat_map(|part| utf16_with_terminator(part))
            .collect();
        data.extend([0, 0]);
        Edit::SetValue {
            hive,
            key: key.into(),
            name: name.into(),
            kind: 7,
            data: HexBytes(data),
        }
    }

    /// Gives each path its descriptor; `None` when there is no path. Equal descriptors become one group, in the
    /// order in which they first come.
    pub fn set_security(wanted: impl IntoIterator<Item = (String, Vec<u8>)>) -> Option<Edit> {
        let mut groups: Vec<SecurityGroup> = Vec::new();
        let mut known: HashMap<Vec<u8>, usize> = HashMap::new();
        for (path, descriptor) in wanted {
            let next = groups.len();
            let place = *known.entry(descriptor).or_insert_with_key(|descriptor| {
                groups.push(SecurityGroup {
                    descriptor: HexBytes(descriptor.clone()),
                    paths: Vec::new(),
                });
                next
            });
            if let Some(group) = groups.get_mut(place) {
                group.paths.push(path);
            }
        }
        (!groups.is_empty()).then_some(Edit::SetSecurity { groups })
    }

    /// Which key of which hive it changes, below the hive's root; `None` when it changes files.
    pub fn registry_key(&self) -> Option<(HiveName, &str)> {
        match self {
            Edit::CreateKey { hive, key }
            | Edit::DeleteKey { hive, key }
            | Edit::SetValue { hive, key, .. }
            | Edit::DeleteValue { hive, key, .. }
            | Edit::SetKeySecurity { hive, key, .. } => Some((*hive, key)),
            Edit::SetSecurity { .. }
            | Edit::Rename { .. }
            | Edit::CopyFile { .. }
            | Edit::DeleteFile { .. }
            | Edit::Boot(_) => None,
        }
    }

    /// The file on the volume of Windows that it changes as a whole: content, name, or that it is there.
    pub fn file(&self) -> Option<&str> {
        match self {
            Edit::Rename { path, .. } | Edit::DeleteFile { path } => Some(path),
            Edit::CopyFile { to, .. } => Some(to),
            Edit::CreateKey { .. }
            | Edit::DeleteKey { .. }
            | Edit::SetValue { .. }
            | Edit::DeleteValue { .. }
            | Edit::SetKeySecurity { .. }
            | Edit::SetSecurity { .. }
            | Edit::Boot(_) => None,
        }
    }

    /// Which hive it changes; `None` when it changes files.
    pub fn hive(&self) -> Option<HiveName> {
        self.registry_key().map(|(hive, _)| hive)
    }

    /// Which boot configuration store it changes; `None` when it changes something else.
    pub fn store(&self) -> Option<&StorePlace> {
        match self {
            Edit::Boot(edit) => Some(&edit.store),
            _ => None,
        }
    }

    /// The place it changes, as a person reads it: `HKEY_LOCAL_MACHINE\SYSTEM\...\Enabled`,
    /// `\ProgramData\...\MachineKeys`.
    pub fn location(&self) -> String {
        match self {
            Edit::CreateKey { hive, key }
            | Edit::DeleteKey { hive, key }
            | Edit::SetKeySecurity { hive, key, .. } => hive.full_path(key),
            Edit::SetValue {
                hive, key, name, ..
            }
            | Edit::DeleteValue { hive, key, name } => {
                let name = if name.is_empty() { "(Default)" } else { name };
                format!(r"{}\{name}", hive.full_path(key))
            }
            Edit::Rename { path, .. } | Edit::DeleteFile { path } => windows_path(path),
            Edit::CopyFile { to, .. } => windows_path(to),
            Edit::Boot(edit) => format!("{}: {}", edit.store, edit.what()),
            Edit::SetSecurity { groups } => {
                let mut paths = groups.iter().flat_map(|group| &group.paths);
                let first = paths.next().map_or("", String::as_str);
                match paths.clone().count() {
                    0 => windows_path(first),
                    more => {
                        let common = paths.fold(first, |common, path| common_folder(common, path));
                        let count = more.saturating_add(1);
                        format!("{} ({count} files and folders)", windows_path(common))
                    }
                }
            }
        }
    }
}

/// A path from a volume's root as Windows writes it: `\ProgramData\Microsoft`.
pub fn windows_path(path: &str) -> String {
    format!("\\{}", path.replace('/', "\\"))
}

/// The folder that holds both, or the one that holds the other.
fn common_folder<'a>(one: &'a str, other: &str) -> &'a str {
    let mut common = one;
    loop {
        let below = other.strip_prefix(common);
        if common.is_empty() || below.is_some_and(|rest| rest.is_empty() || rest.starts_with('/')) {
            return common;
        }
        common = common.rsplit_once('/').map_or("", |(parent, _)| parent);
    }
}

/// `text` as UTF-16LE with its terminating zero, as REG_SZ stores it.
pub fn utf16_with_terminator(text: &str) -> Vec<u8> {
    text.encode_utf16()
        .chain(std::iter::once(0))
        .flat_map(u16::to_le_bytes)
        .collect()
}

#[cfg(test)]
mod tests;
