// SPDX-License-Identifier: GPL-2.0-or-later
//! Paths as the registry writes them, resolved against the volume that the installation lies on.
//!
//! ```text
//!   \SystemRoot\x   %SystemRoot%\x   %windir%\x   C:\Windows\x   \??\C:\Windows\x   -> Windows/x
//!   %SystemDrive%\x   C:\x                                                         -> x
//!   x                          -> Windows/System32/x, then Windows/x, then the folders of Path
//! ```
//!
//! The drive letter is that of the `SystemRoot` in SOFTWARE. Everything else (other letters, network paths, other
//! variables, relative paths) is not resolved: what cannot be looked up is [`Presence::Unknown`], never missing. The
//! same goes for a file that cannot be read, for what lies behind a link, and for a volume on which Windows' own
//! folder was not copied along with its hives.

use crate::edit::HiveName;
use crate::volume::EntryKind;

use super::Installation;

/// A file that every Windows has: without it the folder holds no programs that could be missing.
const IN_EVERY_WINDOWS: &str = "ntdll.dll";

/// How many ways of splitting an unquoted command into program and arguments are tried: ours, far above what
/// any stock command needs.
const MOST_SPLITS: usize = 8;

/// How many folders of `Path` are searched: ours. Where there are more, nothing is said to be missing.
const MOST_FOLDERS: usize = 64;

/// Whether a program is there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Presence {
    /// A file of this length.
    Present(u64),
    /// There certainly is no such file.
    Missing,
    /// It cannot be told; the text says why.
    Unknown(String),
}

impl Presence {
    /// There is no file, or one without content.
    pub fn is_missing_or_empty(&self) -> bool {
        matches!(self, Presence::Missing | Presence::Present(0))
    }

    /// A word for evidence.
    pub fn describe(&self) -> String {
        match self {
            Presence::Present(0) => "an empty file".to_owned(),
            Presence::Present(_) => "a file".to_owned(),
            Presence::Missing => "no such file".to_owned(),
            Presence::Unknown(why) => why.clone(),
        }
    }
}

impl Installation {
    /// Where this Windows believes to lie, such as `C:\Windows`; `None` when SOFTWARE does not tell.
    pub fn system_root(&self) -> Option<String> {
        const VERSION: &str = r"Microsoft\Windows NT\CurrentVersion";
        let text = self
            .registry
            .text(HiveName::Software, VERSION, "SystemRoot")
            .found()?;
        let (drive, folder) = text.split_once('\\')?;
        let plain = is_drive(drive) && !folder.is_empty() && !folder.contains(['%', '"']);
        plain.then(|| text.trim_end_matches('\\').to_owned())
    }

    /// `text` with `%SystemRoot%` and `%windir%` replaced, in any case, by what this Windows understands by
    /// them; `None` when SOFTWARE does not tell.
    pub fn expand_system_root(&self, text: &str) -> Option<String> {
        let root = self.system_root();
        let mut out = String::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('%') {
            out.push_str(before);
            match after.split_once('%') {
                Some((name, behind)) if is_system_root(name) => {
                    out.push_str(root.as_deref()?);
                    rest = behind;
                }
                _ => {
                    out.push('%');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        Some(out)
    }

    /// A full path of the registry as a path on this volume, parts separated by `/`; `None` for a bare name and
    /// for what is not on this volume, or not certainly.
    pub fn on_volume(&self, text: &str) -> Option<String> {
        let root = self.system_root();
        full_path(text, &self.directory, root.as_deref())
    }

    /// Whether the file at `text`, a full path or a bare name, is there. Bare names are those of System32.
    pub fn file_presence(&self, text: &str) -> Presence {
        let text = text.trim();
        let path = match is_bare(text) {
            true => Some(format!("{}/System32/{text}", self.directory)),
            false => self.on_volume(text),
        };
        match path {
            Some(path) => self.look(&path),
            None => Presence::Unknown(format!("{text} is not a path on this volume")),
        }
    }

    /// Whether the program that a command line starts is there. `path` is the search path for bare names,
    /// behind System32 and Windows.
    ///
    /// A command without quotes is read as Windows reads it: it may be split at any space, and `.exe` is
    /// added to a name without an ending. It is missing only when it is missing in every reading.
    pub fn program_presence(&self, command: &str, path: &str) -> Presence {
        let command = command.trim();
        let mut best = Presence::Missing;
        for program in readings(command) {
            for candidate in with_ending(program) {
                match self.find_program(&candidate, path) {
                    Presence::Missing => {}
                    found @ Presence::Present(length) if length > 0 => return found,
                    other => best = other,
                }
            }
        }
        best
    }

    fn find_program(&self, program: &str, path: &str) -> Presence {
        if !is_bare(program) {
            return match self.on_volume(program) {
                Some(path) => self.look(&path),
                None => Presence::Unknown(format!("{program} is not a path on this volume")),
            };
        }
        let mut unknown = None;
        if path.split(';').nth(MOST_FOLDERS).is_some() {
            unknown = Some(Presence::Unknown(
                "Path has more folders than are searched".to_owned(),
            ));
        }
        let own = [
            Some(format!("{}/System32", self.directory)),
            Some(self.directory.clone()),
        ];
        let searched = path
            .split(';')
            .map(|folder| folder.trim().trim_matches('"'))
            .filter(|folder| !folder.is_empty())
            .take(MOST_FOLDERS)
            .map(|folder| self.on_volume(folder));
        for folder in own.into_iter().chain(searched) {
            let found = match folder {
                Some(folder) => self.look(&format!("{folder}/{program}")),
                None => Presence::Unknown(format!(
                    "{program} may lie in a folder of Path that is not on this volume"
                )),
            };
            match found {
                Presence::Present(_) => return found,
                Presence::Missing => {}
                Presence::Unknown(_) => unknown = Some(found),
            }
        }
        unknown.unwrap_or(Presence::Missing)
    }

    /// Whether the rest of Windows is here: false where only hives were copied, and where it cannot be told.
    pub fn has_programs(&self) -> bool {
        let known = format!("{}/System32/{IN_EVERY_WINDOWS}", self.directory);
        matches!(self.volume.entry(&known), Ok(Some(entry)) if entry.kind == EntryKind::File)
    }

    /// Whether there is a file at `path`, on this volume.
    fn look(&self, path: &str) -> Presence {
        if !self.has_programs() {
            return Presence::Unknown("Windows' programs are not on this volume".to_owned());
        }
        // What is behind a link is elsewhere.
        for (at, _) in path.match_indices('/') {
            let Some(folder) = path.get(..at) else {
                continue;
            };
            match self.volume.entry(folder) {
                Ok(Some(entry)) if entry.kind == EntryKind::Other => {
                    return Presence::Unknown(format!("{folder} is a link"));
                }
                Ok(Some(_)) => {}
                Ok(None) => return Presence::Missing,
                Err(error) => return Presence::Unknown(error.to_string()),
            }
        }
        match self.volume.entry(path) {
            Ok(Some(entry)) => match entry.kind {
                EntryKind::File => Presence::Present(entry.len),
                EntryKind::Directory => Presence::Missing,
                EntryKind::Other => Presence::Unknown(format!("{path} is a link")),
            },
            Ok(None) => Presence::Missing,
            Err(error) => Presence::Unknown(error.to_string()),
        }
    }
}

fn is_drive(text: &str) -> bool {
    let mut letters = text.chars();
    letters
        .next()
        .is_some_and(|letter| letter.is_ascii_alphabetic())
        && letters.as_str() == ":"
}

fn is_system_root(variable: &str) -> bool {
    variable.eq_ignore_ascii_case("SystemRoot") || variable.eq_ignore_ascii_case("windir")
}

fn is_bare(text: &str) -> bool {
    !text.is_empty() && !text.contains(['\\', '/', ':', '%'])
}

/// `text` behind `head`, compared without case.
fn behind<'a>(text: &'a str, head: &str) -> Option<&'a str> {
    let (start, rest) = text.split_at_checked(head.len())?;
    start.eq_ignore_ascii_case(head).then_some(rest)
}

/// A full path as a path from the root of the volume whose Windows folder is `directory`. `root` is what
/// Windows calls that folder, where it is known.
fn full_path(text: &str, directory: &str, root: Option<&str>) -> Option<String> {
    let text = text.trim().replace('/', "\\");
    let text = behind(&text, r"\??\")
        .or_else(|| behind(&text, r"\\?\"))
        .unwrap_or(&text);
    let inside = [r"\SystemRoot", "%SystemRoot%", "%windir%"]
        .iter()
        .find_map(|head| behind(text, head))
        .filter(|rest| rest.is_empty() || rest.starts_with('\\'));
    let path = match inside {
        Some(rest) => format!("{directory}{rest}"),
        None => match (behind(text, r"%SystemDrive%\"), root) {
            (Some(rest), Some(root)) => below_drive(rest, directory, root),
            (Some(_), None) => return None,
            (None, root) => {
                let (drive, rest) = text.split_once('\\').filter(|(drive, _)| is_drive(drive))?;
                match root {
                    Some(root) => {
                        behind(root, drive)?;
                        below_drive(rest, directory, root)
                    }
                    // Which letter this volume has is not known, but which folder is Windows.
                    None => format!(
                        r"{directory}\{}",
                        behind(rest, directory)?.strip_prefix('\\')?
                    ),
                }
            }
        },
    };
    let parts: Vec<&str> = path.split('\\').filter(|part| !part.is_empty()).collect();
    let plain = |part: &&str| *part != "." && *part != ".." && !part.contains(['%', ':', '"']);
    parts.iter().all(plain).then(|| parts.join("/"))
}

/// A path below the system drive. The folder may have another name on the disk than Windows gives it, when the
/// disk was renamed offline; what lies in it is looked up where it is.
fn below_drive(rest: &str, directory: &str, root: &str) -> String {
    let named = root.split_once('\\').map_or("", |(_, folder)| folder);
    match behind(rest, named) {
        Some(below) if !named.is_empty() && (below.is_empty() || below.starts_with('\\')) => {
            format!("{directory}{below}")
        }
        _ => rest.to_owned(),
    }
}

/// The programs that a command line may mean: what is in quotes, or what stands before any of its spaces.
fn readings(command: &str) -> Vec<&str> {
    if let Some(quoted) = command.strip_prefix('"') {
        let program = quoted
            .split_once('"')
            .map_or(quoted, |(program, _)| program);
        return vec![program.trim()];
    }
    let mut readings = Vec::new();
    let mut end = 0_usize;
    for word in command.split([' ', '\t']).take(MOST_SPLITS) {
        // A name holds none of these, and the name of a folder does not end in a space: here arguments begin.
        let is_argument =
            word.starts_with(['\\', '/']) || word.contains(['"', '<', '>', '|', '*', '?', ':']);
        if !readings.is_empty() && is_argument {
            break;
        }
        end = end.saturating_add(word.len());
        let reading = command.get(..end).unwrap_or(command);
        if !word.is_empty() {
            readings.push(reading);
        }
        end = end.saturating_add(1);
    }
    readings
}

/// The name, and with `.exe` when it has no ending.
fn with_ending(program: &str) -> Vec<String> {
    let name = program.rsplit(['\\', '/']).next().unwrap_or(program);
    let mut candidates = vec![program.to_owned()];
    if !name.contains('.') {
        candidates.push(format!("{program}.exe"));
    }
    candidates
}

#[cfg(test)]
mod tests {
    use super::{full_path, readings, with_ending};

    #[test]
    fn every_form_leads_to_the_same_file() {
        let known = |text| full_path(text, "Windows", Some(r"C:\WINDOWS"));
        for text in [
            r"\SystemRoot\System32\a.exe",
            r"%SystemRoot%\System32\a.exe",
            r"%systemroot%\System32\a.exe",
            r"%windir%\System32\a.exe",
            r"C:\Windows\System32\a.exe",
            r"c:\windows\System32\a.exe",
            r"\??\C:\Windows\System32\a.exe",
            r"\??\%SystemRoot%\System32\a.exe",
            r"%SystemDrive%\Windows\System32\a.exe",
            r" C:/Windows//System32/a.exe ",
        ] {
            assert_eq!(
                known(text).as_deref(),
                Some("Windows/System32/a.exe"),
                "{text}"
            );
        }
        assert_eq!(
            known(r"C:\Program Files\a b.exe").unwrap(),
            "Program Files/a b.exe"
        );
        assert_eq!(known(r"C:\Windows2\a").unwrap(), "Windows2/a");
        assert_eq!(known("%SystemRoot%").unwrap(), "Windows");
        assert_eq!(known(r"C:\Windows\").unwrap(), "Windows");
    }

    #[test]
    fn what_is_elsewhere_is_not_resolved() {
        let known = |text| full_path(text, "Windows", Some(r"C:\Windows"));
        for text in [
            r"D:\Windows\System32\a.exe",
            r"\\server\share\a.exe",
            r"%ProgramFiles%\a.exe",
            r"%SystemRoot%\..\a.exe",
            r"%SystemRoot%2\a.exe",
            r"%SystemRoot%\%x%\a.exe",
            r"system32\drivers\a.sys",
            r"\Device\HarddiskVolume1\a.exe",
            r"C:a.exe",
            "",
            "%",
            "\u{130}:\\Windows\\a",
        ] {
            assert_eq!(known(text), None, "{text}");
        }
    }

    #[test]
    fn without_a_drive_letter_the_folder_tells() {
        let unknown = |text| full_path(text, "Windows", None);
        assert_eq!(unknown(r"E:\windows\a.exe").unwrap(), "Windows/a.exe");
        assert_eq!(unknown(r"E:\other\a.exe"), None);
        assert_eq!(unknown(r"%SystemDrive%\Windows\a.exe"), None);
    }

    #[test]
    fn a_windows_folder_under_another_name_is_found() {
        let moved = |text| full_path(text, "Windows.000", Some(r"C:\Windows"));
        assert_eq!(moved(r"C:\Windows\a.exe").unwrap(), "Windows.000/a.exe");
        assert_eq!(moved(r"%windir%\a.exe").unwrap(), "Windows.000/a.exe");
    }

    #[test]
    fn commands_are_read_as_windows_reads_them() {
        assert_eq!(readings(r#""C:\a b\c.exe" -x"#), [r"C:\a b\c.exe"]);
        assert_eq!(readings("a.exe -k b"), ["a.exe", "a.exe -k", "a.exe -k b"]);
        assert_eq!(readings("a  b"), ["a", "a  b"]);
        assert_eq!(readings("a.exe b /c d"), ["a.exe", "a.exe b"]);
        assert_eq!(readings(r"a.exe C:\b"), ["a.exe"]);
        assert_eq!(readings("autochk *"), ["autochk"]);
        assert_eq!(readings(r"C:\a b\c.exe"), [r"C:\a", r"C:\a b\c.exe"]);
        assert_eq!(readings(""), Vec::<&str>::new());
        assert_eq!(with_ending("autochk"), ["autochk", "autochk.exe"]);
        assert_eq!(
            with_ending(r"C:\x.y\autochk"),
            [r"C:\x.y\autochk", r"C:\x.y\autochk.exe"]
        );
        assert_eq!(with_ending("a.exe"), ["a.exe"]);
    }
}
