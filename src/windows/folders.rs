// SPDX-License-Identifier: GPL-2.0-or-later
//! Folders whose place an installation can choose.

use crate::edit::HiveName;

use super::{Installation, Reading};

impl Installation {
    /// The folder for the data of all users, as a path from the volume's root, parts separated by `/`: what
    /// `ProfileList` says, else `ProgramData`.
    ///
    /// # Errors
    /// Why it is not known, in plain words: it was moved to another drive, or its value cannot be read.
    pub fn program_data(&self) -> Result<String, String> {
        const LIST: &str = r"Microsoft\Windows NT\CurrentVersion\ProfileList";
        const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
        let text = |key: &str, name: &str| self.registry.text(HiveName::Software, key, name);
        let place = match text(LIST, "ProgramData") {
            Reading::Found(place) => place,
            Reading::NoValue | Reading::NoKey => return Ok("ProgramData".to_owned()),
            Reading::Malformed(found) | Reading::Unreadable(found) => {
                return Err(format!(
                    r"{}\ProgramData cannot be read: {found}",
                    HiveName::Software.full_path(LIST)
                ));
            }
        };
        let drive = text(VERSION, "SystemRoot").found();
        let drive = drive.as_deref().and_then(|root| root.get(..2));
        below_system_drive(&place, drive)
            .ok_or_else(|| format!("ProgramData was moved to {place}, which is not on this volume"))
    }
}

/// `place` as a path from the root of the system drive (`drive`, such as `C:`), where it lies there.
fn below_system_drive(place: &str, drive: Option<&str>) -> Option<String> {
    const VARIABLE: &str = "%SystemDrive%";
    let same = |head: &str, wanted: &str| head.eq_ignore_ascii_case(wanted);
    let rest = match place.split_at_checked(VARIABLE.len()) {
        Some((head, rest)) if same(head, VARIABLE) => rest,
        _ => {
            let (head, rest) = place.split_at_checked(2)?;
            drive.filter(|drive| same(head, drive))?;
            rest
        }
    };
    let rest = rest.strip_prefix('\\')?.trim_end_matches('\\');
    (!rest.is_empty() && !rest.contains('%')).then(|| rest.replace('\\', "/"))
}

#[cfg(test)]
mod tests {
    use super::below_system_drive;

    #[test]
    fn only_the_system_drive_is_this_volume() {
        let place = |text, drive| below_system_drive(text, drive);
        assert_eq!(
            place(r"%SystemDrive%\ProgramData", None).unwrap(),
            "ProgramData"
        );
        assert_eq!(place(r"c:\Data\All\", Some("C:")).unwrap(), "Data/All");
        assert_eq!(place(r"D:\ProgramData", Some("C:")), None);
        assert_eq!(place(r"C:\ProgramData", None), None);
        assert_eq!(place(r"%SystemDrive%\", None), None);
        assert_eq!(place(r"C:\%x%", Some("C:")), None);
        assert_eq!(place("", Some("C:")), None);
    }
}
