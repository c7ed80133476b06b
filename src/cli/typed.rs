// SPDX-License-Identifier: GPL-2.0-or-later
//! Commands that are shown, as the user can type them.

use std::path::Path;

use super::Common;
use crate::checks::{Finding, Severity};
use crate::report::CureCommand;

/// The commands that cure findings: one for what is certain, one for what is suspected.
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
        let mut command = format!("coldfix repair {}", quoted(path));
        if let Some(number) = common.partition {
            command.push_str(&format!(" --partition {number}"));
        }
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
    commands
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
