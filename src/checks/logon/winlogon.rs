// SPDX-License-Identifier: GPL-2.0-or-later
//! Winlogon: the program that prepares a session (Userinit), and the one it ends in (Shell).

use crate::edit::{Edit, HiveName};
use crate::windows::{Presence, Reading, value};

use super::super::{Facts, Gathered, Problem, Severity, Stage, unjudged};
use super::{FIX, Found, SOURCE, UNCLEAR, bounded, search_path};

const KEY: &str = r"Microsoft\Windows NT\CurrentVersion\Winlogon";

pub(super) const MISSING_KEY: Problem = Problem {
    id: "logon.winlogon-missing",
    title: "Winlogon has no settings",
    severity: Severity::Broken,
    stage: Stage::Logon,
    trigger: "SOFTWARE is there and has no key Microsoft\\Windows NT\\CurrentVersion\\Winlogon.",
    cause: "The installation is damaged. coldfix does not invent the key; import it from a machine of the same build.",
    fixes: &[],
};

pub(super) const USERINIT: Problem = Problem {
    id: "logon.userinit",
    title: "The program that prepares a session is not started",
    severity: Severity::Broken,
    stage: Stage::Logon,
    trigger: "Userinit is absent or empty, lacks userinit.exe, or names a program that is certainly not on the volume.",
    cause: "Users are logged off as soon as they are logged on.",
    fixes: &[FIX.name],
};

pub(super) const SHELL: Problem = Problem {
    id: "logon.shell",
    title: "The desktop is not started",
    severity: Severity::Broken,
    stage: Stage::Session,
    trigger: "Shell is absent or empty, or names a program that is certainly not on the volume. Not judged on Server Core and Nano Server.",
    cause: "A session shows an empty screen, or ends.",
    fixes: &[FIX.name],
};

pub(super) const OTHER_SHELL: Problem = Problem {
    id: "logon.shell-other",
    title: "Another program takes the place of the desktop",
    severity: Severity::Notice,
    stage: Stage::Session,
    trigger: "Shell names programs that are there, or cannot be looked up, and explorer.exe is not among them. Not judged on Server Core and Nano Server.",
    cause: "Kiosks and terminals are set up like this. Anybody else finds a session without a desktop.",
    fixes: &[],
};

pub(super) const EXTRA: Problem = Problem {
    id: "logon.extra-command",
    title: "Another program is started with every session",
    severity: Severity::Notice,
    stage: Stage::Session,
    trigger: "Userinit or Shell names a program besides userinit.exe or explorer.exe that is there, or that cannot be looked up.",
    cause: "Programs for management add themselves here, and so does malware. It is left alone.",
    fixes: &[],
};

/// One of the two values.
struct Wanted {
    value: &'static str,
    program: &'static str,
    /// What is added where the program lacks.
    entry: Option<String>,
    /// Windows ends the list with a comma.
    ends_with_comma: bool,
}

pub(super) fn judge(facts: &Facts<'_>) -> Found {
    let mut found = Found::default();
    // Without SOFTWARE nothing can be said, and another check says so.
    if !matches!(facts.registry().hive(HiveName::Software), Ok(Some(_))) {
        return found;
    }
    if facts.registry().has_key(HiveName::Software, KEY) == Ok(false) {
        let mut missing = Gathered::new(&MISSING_KEY, SOURCE);
        let place = HiveName::Software.full_path(KEY);
        missing.add(true, place, "no key".to_owned(), "the key", []);
        found.gathered.push(missing);
        return found;
    }
    let root = facts.installation.system_root();
    let userinit = Wanted {
        value: "Userinit",
        program: "userinit.exe",
        entry: root.map(|root| format!(r"{root}\system32\userinit.exe")),
        ends_with_comma: true,
    };
    judge_list(facts, &userinit, &USERINIT, &USERINIT, &mut found);
    let kind = facts.installation.release().installation_type;
    let has_desktop = !kind.is_some_and(|kind| kind.contains("Core") || kind.contains("Nano"));
    if has_desktop {
        let shell = Wanted {
            value: "Shell",
            program: "explorer.exe",
            entry: Some("explorer.exe".to_owned()),
            ends_with_comma: false,
        };
        judge_list(facts, &shell, &SHELL, &OTHER_SHELL, &mut found);
    }
    found
}

/// `broken` is for a list that leads nowhere, `replaced` for one that leads to other programs.
fn judge_list(
    facts: &Facts<'_>,
    wanted: &Wanted,
    broken: &'static Problem,
    replaced: &'static Problem,
    found: &mut Found,
) {
    let place = format!(r"{}\{}", HiveName::Software.full_path(KEY), wanted.value);
    let expected = wanted.entry.as_deref().unwrap_or(wanted.program);
    let list = facts.registry().text(HiveName::Software, KEY, wanted.value);
    let text = match bounded(list, |text| text.split(',').count()) {
        Reading::Found(text) => text,
        Reading::NoValue => String::new(),
        Reading::Malformed(text) => {
            let finding = unjudged(&UNCLEAR, place, text, expected, SOURCE);
            found.unclear.push(finding);
            return;
        }
        Reading::NoKey | Reading::Unreadable(_) => return,
    };
    let path = search_path(facts);
    let look = |entry: &str| facts.installation.program_presence(entry, &path);
    let entries = || {
        text.split(',')
            .map(str::trim)
            .filter(|entry| !entry.is_empty())
    };
    let (gone, mut kept): (Vec<&str>, Vec<&str>) =
        entries().partition(|entry| look(entry) == Presence::Missing);
    let has_own = kept.iter().any(|entry| starts(entry, wanted.program));
    let extra: Vec<&str> = kept
        .iter()
        .copied()
        .filter(|entry| !starts(entry, wanted.program))
        .collect();

    // Adding Windows' own program helps where it is there.
    let own = wanted.entry.as_deref().filter(|entry| {
        let own = look(entry);
        !own.is_missing_or_empty()
    });
    let can_cure = has_own || own.is_some();
    if !has_own && let Some(own) = own {
        kept.insert(0, own);
    }
    let mut list = kept.join(",");
    if wanted.ends_with_comma {
        list.push(',');
    }
    let cure =
        can_cure.then(|| Edit::text(HiveName::Software, KEY, wanted.value, value::SZ, &list));

    let says = match text.is_empty() {
        true => "no value, or an empty one".to_owned(),
        false => format!("\"{}\"", value::printable(&text)),
    };
    if !gone.is_empty() {
        let says = format!("{says}: {} is not there", gone.join(", "));
        let mut gathered = Gathered::new(broken, SOURCE);
        gathered.add(true, place, says, expected, cure);
        found.gathered.push(gathered);
    } else if !has_own && extra.is_empty() {
        let mut gathered = Gathered::new(broken, SOURCE);
        gathered.add(true, place, says, expected, cure);
        found.gathered.push(gathered);
    } else if !has_own {
        let mut gathered = Gathered::new(replaced, SOURCE);
        let cure = cure.filter(|_| replaced.severity > Severity::Notice);
        gathered.add(true, place, says, expected, cure);
        found.gathered.push(gathered);
    } else if !extra.is_empty() {
        let mut gathered = Gathered::new(&EXTRA, SOURCE);
        gathered.add(true, place, extra.join(", "), expected, []);
        found.gathered.push(gathered);
    }
}

/// Whether a command starts `program`, wherever that lies.
fn starts(command: &str, program: &str) -> bool {
    let command = match command.strip_prefix('"') {
        Some(quoted) => quoted.split('"').next().unwrap_or_default(),
        None => command,
    };
    let lower = command.to_ascii_lowercase();
    let stem = program.strip_suffix(".exe").unwrap_or(program);
    lower.split([' ', '\t']).any(|part| {
        let name = part.rsplit(['\\', '/']).next().unwrap_or(part);
        name == program || name == stem
    })
}

#[cfg(test)]
mod tests {
    use super::starts;

    #[test]
    fn programs_are_told_by_their_name() {
        assert!(starts(r"C:\Windows\system32\USERINIT.exe", "userinit.exe"));
        assert!(starts("explorer", "explorer.exe"));
        assert!(starts(r#""C:\Windows\explorer.exe" /x"#, "explorer.exe"));
        assert!(!starts(r"C:\x\notuserinit.exe", "userinit.exe"));
        assert!(!starts(r"C:\userinit.exe\a.exe", "userinit.exe"));
        assert!(!starts("", "userinit.exe"));
    }
}
