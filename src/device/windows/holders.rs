// SPDX-License-Identifier: GPL-2.0-or-later
//! Who keeps a volume from being locked, as far as Windows tells, and what a person can do about it.
//!
//! ```text
//! FILE_PROCESS_IDS_USING_FILE_INFORMATION, in words as long as a pointer
//!   0  how many follow, in the lower 32 bits    1...  process ids
//! ```
//!
//! Asked of a volume's handle, Windows names the processes that use the volume, the asker among them; Explorer asks
//! the same when a drive is to be ejected. What the kernel has open stands under process 4. A file system or filter
//! may not know the question, and then nobody is named.
//! Source: Microsoft's page on FILE_INFORMATION_CLASS (wdm.h), and System Informer's ntioapi.h.

use std::io;

use super::system::{Handle, System};
use crate::error::Error;

/// The kernel, whose program has no name.
const KERNEL: u32 = 4;

/// How many are named; more would hide the next step. Ours.
const NAMED: usize = 8;

/// What frees a volume from whoever holds it.
const OFFLINE: &str = "or take the whole disk offline (`Set-Disk -Number N -IsOffline $true`) and name it as \
                       \\\\.\\PhysicalDriveN";

/// A process that uses a volume.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Holder {
    process: u32,
    /// `explorer.exe`; `None` where Windows keeps it to itself.
    program: Option<String>,
}

impl Holder {
    fn describe(&self) -> String {
        match &self.program {
            _ if self.process == KERNEL => format!("Windows itself (process {KERNEL})"),
            Some(program) => format!("{program} (process {})", self.process),
            None => format!("process {}", self.process),
        }
    }
}

/// The refusal of a volume that Windows does not lock because it is in use.
pub(super) fn refusal<S: System>(system: &S, name: &str, volume: &S::Handle) -> Error {
    let Some(processes) = processes(|answer| volume.users(answer)) else {
        return Error::refused(
            format!("{name} cannot be locked: a program has files open on it"),
            format!(
                "close Explorer windows, prompts and programs that use it, and wait for virus scanners and backups \
                 (Resource Monitor lists open files, `chkdsk` must not be running); {OFFLINE}"
            ),
        );
    };
    let holders: Vec<Holder> = processes
        .into_iter()
        .filter(|&process| process != std::process::id())
        .filter_map(|process| holder(process, || system.program(process)))
        .collect();
    if holders.is_empty() {
        return Error::refused(
            format!(
                "{name} cannot be locked: something has files open on it, but Windows names no program"
            ),
            format!(
                "whoever it was may have ended: run again; if it stays, wait for virus scanners, backups and shadow \
                 copies (`vssadmin list shadows`); {OFFLINE}"
            ),
        );
    }
    let kernel = match holders.iter().any(|holder| holder.process == KERNEL) {
        true => {
            "; what Windows itself holds can be a loaded hive (`reg unload`), an attached image that lies there \
             (`Dismount-DiskImage`), a page file or a shadow copy"
        }
        false => "",
    };
    Error::refused(
        format!(
            "{name} cannot be locked: it is in use by {}",
            list(&holders)
        ),
        format!(
            "close what they have open there or end them (Task Manager, Details), then run again{kernel}; {OFFLINE}"
        ),
    )
}

/// The ids of the processes, each once; `None` when Windows does not tell.
fn processes(mut ask: impl FnMut(&mut [usize]) -> io::Result<usize>) -> Option<Vec<u32>> {
    /// For the first question, and for the last: more than there are processes on any machine. Ours.
    const WORDS: usize = 512;
    const MOST: usize = 1 << 17;
    let mut answer = vec![0; WORDS];
    let filled = loop {
        match ask(&mut answer) {
            Ok(filled) => break filled,
            // ERROR_BAD_LENGTH, _INSUFFICIENT_BUFFER, _MORE_DATA: the list does not fit.
            Err(error)
                if matches!(error.raw_os_error(), Some(24 | 122 | 234)) && answer.len() < MOST =>
            {
                answer.resize(answer.len().saturating_mul(4), 0);
            }
            Err(_) => return None,
        }
    };
    let (count, listed) = answer.get(..filled)?.split_first()?;
    let mut found: Vec<u32> = listed
        .iter()
        .take(count & 0xffff_ffff)
        .filter_map(|&process| u32::try_from(process).ok())
        .collect();
    found.sort_unstable();
    found.dedup();
    Some(found)
}

/// A process with the name of its program; `None` when it has ended meanwhile.
fn holder(process: u32, path: impl FnOnce() -> io::Result<String>) -> Option<Holder> {
    let program = match process {
        KERNEL => None,
        _ => match path() {
            Ok(path) => path.rsplit('\\').next().map(str::to_owned),
            // ERROR_INVALID_PARAMETER: there is no such process any more.
            Err(error) if error.raw_os_error() == Some(87) => return None,
            // Protected processes do not say more than their number.
            Err(_) => None,
        },
    };
    Some(Holder { process, program })
}

/// `a.exe (process 1), b.exe (process 2) and 3 more`
fn list(holders: &[Holder]) -> String {
    let more = holders.len().saturating_sub(NAMED);
    let mut named: Vec<String> = holders.iter().take(NAMED).map(Holder::describe).collect();
    let last = match more {
        0 => named.pop(),
        more => Some(format!("{more} more")),
    };
    let last = last.unwrap_or_default();
    match named.is_empty() {
        true => last,
        false => format!("{} and {last}", named.join(", ")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answered(words: &[usize]) -> Option<Vec<u32>> {
        processes(|answer| {
            answer[..words.len()].copy_from_slice(words);
            Ok(words.len())
        })
    }

    #[test]
    fn the_list_is_read_within_what_is_filled() {
        assert_eq!(answered(&[2, 880, 4712]), Some(vec![880, 4712]));
        assert_eq!(answered(&[3, 9, 4, 9]), Some(vec![4, 9]));
        assert_eq!(answered(&[1, 880, 4712]), Some(vec![880]));
        assert_eq!(answered(&[4_000_000_000, 880]), Some(vec![880]));
        assert_eq!(answered(&[0]), Some(vec![]));
        assert_eq!(answered(&[]), None);
        // More filled than there was room for: a fault of the driver, not of ours.
        assert_eq!(processes(|_| Ok(1_000_000)), None);
    }

    #[cfg(target_pointer_width = "64")]
    #[test]
    fn the_count_is_half_a_word() {
        assert_eq!(answered(&[0x5555_0000_0001, 7, 8]), Some(vec![7]));
        assert_eq!(answered(&[2, 0x1_0000_0007, 8]), Some(vec![8]));
    }

    #[test]
    fn a_long_list_is_asked_for_again_and_an_endless_one_is_not() {
        let mut sizes = Vec::new();
        let many = processes(|answer| {
            sizes.push(answer.len());
            if answer.len() < 5000 {
                return Err(io::Error::from_raw_os_error(24));
            }
            answer[0] = 4999;
            for (index, word) in answer.iter_mut().enumerate().skip(1) {
                *word = index;
            }
            Ok(5000)
        });
        assert_eq!(many.unwrap().len(), 4999);
        assert_eq!(sizes, [512, 2048, 8192]);

        let mut asked = 0;
        let none = processes(|_| {
            asked += 1;
            Err(io::Error::from_raw_os_error(24))
        });
        assert_eq!((none, asked), (None, 5));
        assert_eq!(processes(|_| Err(io::Error::from_raw_os_error(50))), None);
    }

    #[test]
    fn programs_are_named_where_windows_tells() {
        let error = |code| move || Err(io::Error::from_raw_os_error(code));
        let named = |found: Option<Holder>| found.map(|holder| holder.describe());
        let path = || Ok(r"C:\Windows\explorer.exe".to_owned());
        assert_eq!(
            named(holder(880, path)).as_deref(),
            Some("explorer.exe (process 880)")
        );
        assert_eq!(named(holder(880, error(5))).as_deref(), Some("process 880"));
        assert_eq!(named(holder(880, error(87))), None);
        assert_eq!(
            named(holder(4, error(5))).as_deref(),
            Some("Windows itself (process 4)")
        );
    }

    #[test]
    fn the_list_of_names_is_bounded() {
        let of = |count: u32| {
            let holders = (1..=count).map(|number| Holder {
                process: number * 1000,
                program: Some(format!("p{number}.exe")),
            });
            list(&holders.collect::<Vec<_>>())
        };
        assert_eq!(of(1), "p1.exe (process 1000)");
        assert_eq!(of(2), "p1.exe (process 1000) and p2.exe (process 2000)");
        assert_eq!(
            of(3),
            "p1.exe (process 1000), p2.exe (process 2000) and p3.exe (process 3000)"
        );
        assert!(of(8).ends_with("p7.exe (process 7000) and p8.exe (process 8000)"));
        assert!(of(9).ends_with("p8.exe (process 8000) and 1 more"));
        assert!(of(5000).ends_with("p8.exe (process 8000) and 4992 more"));
    }
}
