// SPDX-License-Identifier: GPL-2.0-or-later
//! Commands that are shown, as the user can type them.

use std::path::Path;

use super::Common;
use crate::checks::{Finding, Severity};
use crate::edit::windows_path;
use crate::report::CureCommand;

/// The commands for findings: one that cures what is certain, one that cures what is suspected, and those that copy
/// out what a cure by hand needs.
pub(super) fn cures(path: &Path, common: &Common, findings: &[Finding]) -> Vec<CureCommand> {
    let mut commands = Vec::new();
    for severity in [Severity::Broken, Severity::Risk] {
        let mut fixes: Vec<&str> = Vec::new();
        let mut ids = Vec::new();
        for finding in findings
            .iter()
            .filter(|finding| finding.severity == severity)
        {
            if let Some(fix) = finding.fixes.first() {
                ids.push(finding.id);
                if !fixes.contains(&fix.as_str()) {
                    fixes.push(fix);
                }
            }
        }
        if fixes.is_empty() {
            continue;
        }
        let mut command = format!("coldfix repair {}{}", quoted(path), partition(common));
        if let Some(store) = &common.bcd {
            command.push_str(&format!(" --bcd {}", quoted(Path::new(store))));
        }
        for fix in fixes {
            command.push_str(&format!(" --fix {fix}"));
        }
        commands.push(CureCommand {
            severity,
            findings: ids,
            command,
        });
    }
    for finding in findings {
        commands.extend(finding.files.iter().map(|file| {
            let name = file.rsplit('/').next().unwrap_or(file);
            let file = quoted(Path::new(&windows_path(file)));
            let place = format!("{} {file}{}", quoted(path), partition(common));
            CureCommand {
                severity: Severity::Notice,
                findings: vec![finding.id],
                command: format!("coldfix get {place} -o {}", quoted(Path::new(name))),
            }
        }));
    }
    commands
}

/// The option that chooses the partition, where one was chosen.
fn partition(common: &Common) -> String {
    let number = common.partition;
    number.map_or_else(String::new, |number| format!(" --partition {number}"))
}

/// A path as a shell takes it: in quotes where it holds more than letters, figures and a few signs.
pub(super) fn quoted(path: &Path) -> String {
    let text = path.display().to_string();
    let plain =
        |c: char| c.is_alphanumeric() || "/:._-+,=@".contains(c) || (cfg!(windows) && c == '\\');
    if !text.is_empty() && text.chars().all(plain) {
        text
    } else if cfg!(windows) {
        format!("\"{text}\"")
    } else {
        format!("'{}'", text.replace('\'', r"'\''"))
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn paths_can_be_pasted_into_a_shell() {
        assert_eq!(quoted(Path::new("/mnt/win")), "/mnt/win");
        assert_eq!(quoted(Path::new("my disk.vhd")), "'my disk.vhd'");
        assert_eq!(quoted(Path::new("it's")), r"'it'\''s'");
        assert_eq!(quoted(Path::new("$(rm)")), "'$(rm)'");
        assert_eq!(quoted(Path::new(r"a\b")), r"'a\b'");
    }
}
