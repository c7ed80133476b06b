// SPDX-License-Identifier: GPL-2.0-or-later
//! A logical change to one registry, as data.
//!
//! Checks propose edits, `.reg` files are read into edits, plans list them and journals keep them. Nothing
//! here does anything: [`crate::plan`] alone applies them.

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

    /// Which hive it changes.
    pub fn hive(&self) -> HiveName {
        match self {
            Edit::CreateKey { hive, .. }
            | Edit::DeleteKey { hive, .. }
            | Edit::SetValue { hive, .. }
            | Edit::DeleteValue { hive, .. } => *hive,
        }
    }

    /// Which key it changes, below the hive's root.
    pub fn key(&self) -> &str {
        match self {
            Edit::CreateKey { key, .. }
            | Edit::DeleteKey { key, .. }
            | Edit::SetValue { key, .. }
            | Edit::DeleteValue { key, .. } => key,
        }
    }

    /// The place it changes, as a person reads it: `HKEY_LOCAL_MACHINE\SYSTEM\...\Enabled`.
    pub fn location(&self) -> String {
        let key = self.hive().full_path(self.key());
        match self {
            Edit::CreateKey { .. } | Edit::DeleteKey { .. } => key,
            Edit::SetValue { name, .. } | Edit::DeleteValue { name, .. } => {
                let name = if name.is_empty() { "(Default)" } else { name };
                format!(r"{key}\{name}")
            }
        }
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
mod tests {
    use super::*;

    #[test]
    fn paths_split_into_hive_and_key() {
        assert_eq!(
            HiveName::split(r"hklm\system\Select"),
            Some((HiveName::System, "Select".to_owned()))
        );
        assert_eq!(
            HiveName::split(r"HKEY_LOCAL_MACHINE\SOFTWARE\"),
            Some((HiveName::Software, String::new()))
        );
        assert_eq!(
            HiveName::split(r"HKU\.Default\Control Panel"),
            Some((HiveName::Default, "Control Panel".to_owned()))
        );
        assert_eq!(HiveName::split(r"HKCU\Software"), None);
        assert_eq!(HiveName::split("HKLM"), None);
        assert_eq!(HiveName::split(r"HKLM\SYSTEMS\Select"), None);
    }

    #[test]
    fn edits_survive_json() {
        let edit = Edit::dword(HiveName::System, "Select", "Current", 0x0102_0304);
        let json = serde_json::to_string(&edit).unwrap();
        assert!(json.contains("\"04030201\""), "{json}");
        assert_eq!(serde_json::from_str::<Edit>(&json).unwrap(), edit);
        assert_eq!(hex_digits("abc"), None);
        assert_eq!(hex_digits("zz"), None);
    }
}
