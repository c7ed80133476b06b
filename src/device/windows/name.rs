// SPDX-License-Identifier: GPL-2.0-or-later
//! What Windows calls its volumes and disks, told from the text alone.
//!
//! ```text
//! F:   f:\   F:/   \\.\F:   \\?\F:   //./F:       the volume of a drive letter, raw
//! \\?\Volume{GUID}   \\?\Volume{GUID}\            a volume, with or without a letter
//! \\.\PhysicalDrive2   //./physicaldrive2         a whole disk
//! everything else                                 a file or folder
//! ```
//!
//! Nothing is asked of the host: looking for a device as if it were a file fails or answers nonsense. With a
//! backslash at its end a volume's name means the root folder of the file system on it, so that is taken off.
//! Source: Microsoft's page on CreateFileW, "Physical Disks and Volumes".

use std::path::Path;

/// A volume or disk of a Windows host.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Named {
    /// A volume: `\\.\F:` or `\\?\Volume{...}`, and its letter where it is named by one.
    Volume {
        /// As the host opens it.
        device: String,
        /// `F`
        letter: Option<char>,
    },
    /// A whole disk: `\\.\PhysicalDrive2`.
    Disk {
        /// As the host opens it.
        device: String,
        /// 2
        number: u32,
    },
}

impl Named {
    /// As the host opens it, without a backslash at the end.
    pub(crate) fn device(&self) -> &str {
        match self {
            Named::Volume { device, .. } | Named::Disk { device, .. } => device,
        }
    }
}

/// The volume or disk that `path` means; `None` when it means a file or folder.
pub(crate) fn parse(path: &Path) -> Option<Named> {
    let text = path.to_str()?.replace('/', "\\");
    let rest = text
        .strip_prefix(r"\\.\")
        .or_else(|| text.strip_prefix(r"\\?\"))
        .unwrap_or(&text);
    let prefixed = rest.len() < text.len();
    let rest = rest.strip_suffix('\\').unwrap_or(rest);
    if let Some(letter) = drive_letter(rest) {
        return Some(Named::Volume {
            device: format!(r"\\.\{letter}:"),
            letter: Some(letter),
        });
    }
    if !prefixed {
        return None;
    }
    if let Some(number) = after(rest, "PhysicalDrive")
        && !number.is_empty()
        && number.bytes().all(|byte| byte.is_ascii_digit())
    {
        let number = number.parse().ok()?;
        return Some(Named::Disk {
            device: format!(r"\\.\PhysicalDrive{number}"),
            number,
        });
    }
    let guid = after(rest, "Volume{")?.strip_suffix('}')?;
    let guid = uuid::Uuid::try_parse(guid).ok()?;
    Some(Named::Volume {
        device: format!(r"\\?\Volume{{{guid}}}"),
        letter: None,
    })
}

/// True when the absolute path of a file or folder leads to the volume with this letter.
pub(crate) fn lies_on(path: &Path, letter: char) -> bool {
    let text = path.to_string_lossy().replace('/', "\\");
    let text = text.strip_prefix(r"\\?\").unwrap_or(&text);
    let drive = text.split('\\').next().unwrap_or_default();
    drive_letter(drive) == Some(letter)
}

/// `F` for `F:` and `f:`.
fn drive_letter(text: &str) -> Option<char> {
    let letter = text.strip_suffix(':')?;
    let mut letters = letter.chars();
    let first = letters.next().filter(char::is_ascii_alphabetic)?;
    letters
        .next()
        .is_none()
        .then_some(first.to_ascii_uppercase())
}

/// What follows `prefix`, whatever the case of its letters.
fn after<'a>(text: &'a str, prefix: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(prefix.len())?;
    start.eq_ignore_ascii_case(prefix).then_some(rest)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn volume(text: &str) -> Option<(String, Option<char>)> {
        match parse(Path::new(text)) {
            Some(Named::Volume { device, letter }) => Some((device, letter)),
            _ => None,
        }
    }

    fn disk(text: &str) -> Option<(String, u32)> {
        match parse(Path::new(text)) {
            Some(Named::Disk { device, number }) => Some((device, number)),
            _ => None,
        }
    }

    #[test]
    fn a_drive_letter_is_the_volume_behind_it() {
        for text in [
            "F:", "f:", r"F:\", "F:/", r"\\.\F:", r"\\.\f:\", r"\\?\F:", "//./F:", "//?/f:/",
        ] {
            assert_eq!(
                volume(text),
                Some((r"\\.\F:".to_owned(), Some('F'))),
                "{text}"
            );
        }
    }

    #[test]
    fn a_volume_may_have_no_letter() {
        let name = r"\\?\Volume{6f1b2b1c-0000-0000-0000-100000000000}";
        assert_eq!(volume(name), Some((name.to_owned(), None)));
        assert_eq!(volume(&format!(r"{name}\")), Some((name.to_owned(), None)));
        let loud = name.to_uppercase();
        assert_eq!(volume(&loud), Some((name.to_owned(), None)));
        for text in [
            r"\\?\Volume{}",
            r"\\?\Volume{6f1b2b1c}",
            r"Volume{6f1b2b1c-0000-0000-0000-100000000000}",
        ] {
            assert_eq!(parse(Path::new(text)), None, "{text}");
        }
    }

    #[test]
    fn a_physical_drive_is_a_disk() {
        for text in [
            r"\\.\PhysicalDrive2",
            r"\\.\PHYSICALDRIVE2",
            "//./physicaldrive2",
            r"\\?\PhysicalDrive2\",
        ] {
            assert_eq!(
                disk(text),
                Some((r"\\.\PhysicalDrive2".to_owned(), 2)),
                "{text}"
            );
        }
        for text in [
            "PhysicalDrive2",
            r"\\.\PhysicalDrive",
            r"\\.\PhysicalDrive+1",
            r"\\.\PhysicalDrive2x",
            r"\\.\PhysicalDrive99999999999",
        ] {
            assert_eq!(parse(Path::new(text)), None, "{text}");
        }
    }

    #[test]
    fn a_path_lies_on_its_letters_volume() {
        for (path, letter, expected) in [
            (r"F:\journals", 'F', true),
            ("f:/journals", 'F', true),
            (r"\\?\F:\journals", 'F', true),
            (r"C:\F:", 'F', false),
            (r"\\server\F\x", 'F', false),
            ("/mnt", 'F', false),
        ] {
            assert_eq!(lies_on(Path::new(path), letter), expected, "{path}");
        }
    }

    #[test]
    fn files_and_folders_are_neither() {
        for text in [
            "",
            ":",
            "FF:",
            "é:",
            "1:",
            r"F:\Windows",
            "F:disk.vhd",
            r"\\?\F:\disk.vhdx",
            r"\\server\share\d.vhdx",
            r"\\.\",
            r"\\.\pipe\name",
            "disk.vhd",
            "/dev/sdc",
            r"F:\\",
        ] {
            assert_eq!(parse(Path::new(text)), None, "{text}");
        }
    }
}
