// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use super::super::control::*;
use super::super::name::parse;
use super::*;
use crate::error::Kind;

/// A machine as a test describes it, and everything that was asked of it.
#[derive(Debug, Default)]
struct Machine {
    disks: BTreeMap<&'static str, Spec>,
    page_files: Vec<char>,
    /// By their ids; `Err` for what opening one answers.
    programs: BTreeMap<u32, Result<&'static str, i32>>,
    log: Mutex<Vec<String>>,
    content: Mutex<Vec<u8>>,
}

/// A volume or disk: how it answers.
#[derive(Clone, Debug)]
struct Spec {
    on: Vec<u32>,
    sector: u32,
    /// By request: the error it fails with, and for how many times.
    fails: BTreeMap<u32, (i32, u32)>,
    open: Option<i32>,
    /// The processes that use it, where Windows tells.
    users: Option<Vec<u32>>,
}

impl Default for Spec {
    fn default() -> Spec {
        Spec {
            on: vec![1],
            sector: 512,
            fails: BTreeMap::new(),
            open: None,
            users: None,
        }
    }
}

impl Spec {
    fn failing(mut self, request: u32, code: i32) -> Spec {
        self.fails.insert(request, (code, u32::MAX));
        self
    }
}

#[derive(Debug, Clone)]
struct Fake(Arc<Machine>);

#[derive(Debug)]
struct FakeHandle {
    machine: Arc<Machine>,
    name: &'static str,
    spec: Mutex<Spec>,
}

impl FakeHandle {
    fn log(&self, what: &str) {
        let line = format!("{} {what}", self.name);
        self.machine.log.lock().unwrap().push(line);
    }

    fn check(&self, offset: u64, buffer: &[u8]) -> io::Result<std::ops::Range<usize>> {
        let sector = u64::from(self.spec.lock().unwrap().sector);
        let len = buffer.len() as u64;
        if !offset.is_multiple_of(sector)
            || !len.is_multiple_of(sector)
            || buffer.as_ptr().align_offset(4096) != 0
        {
            return Err(io::Error::from_raw_os_error(87));
        }
        Ok(offset as usize..(offset + len) as usize)
    }
}

impl Drop for FakeHandle {
    fn drop(&mut self) {
        self.log("close");
    }
}

impl Handle for FakeHandle {
    fn control(&self, request: u32, input: &[u8], answer: &mut [u8]) -> io::Result<usize> {
        let name = match request {
            FSCTL_LOCK_VOLUME => "lock",
            FSCTL_UNLOCK_VOLUME => "unlock",
            FSCTL_DISMOUNT_VOLUME => "dismount",
            FSCTL_ALLOW_EXTENDED_DASD_IO => "extended",
            _ => "",
        };
        if !name.is_empty() {
            self.log(name);
        }
        let mut spec = self.spec.lock().unwrap();
        if let Some((code, times)) = spec.fails.get_mut(&request)
            && *times > 0
        {
            *times -= 1;
            return Err(io::Error::from_raw_os_error(*code));
        }
        let mut put = |at: usize, bytes: &[u8]| {
            answer[at..at + bytes.len()].copy_from_slice(bytes);
            at + bytes.len()
        };
        let length = self.machine.content.lock().unwrap().len() as u64;
        Ok(match request {
            IOCTL_DISK_GET_LENGTH_INFO => put(0, &length.to_le_bytes()),
            IOCTL_DISK_GET_DRIVE_GEOMETRY_EX => put(24, &length.to_le_bytes()),
            IOCTL_DISK_GET_DRIVE_GEOMETRY => put(20, &spec.sector.to_le_bytes()),
            IOCTL_STORAGE_QUERY_PROPERTY => {
                assert_eq!(input, QUERY_ALIGNMENT);
                put(16, &spec.sector.to_le_bytes());
                put(20, &4096_u32.to_le_bytes()) + 4
            }
            IOCTL_VOLUME_GET_VOLUME_DISK_EXTENTS => {
                put(0, &(spec.on.len() as u32).to_le_bytes());
                let mut end = 8;
                for (index, disk) in spec.on.iter().enumerate() {
                    put(8 + index * 24, &disk.to_le_bytes());
                    end = 8 + index * 24 + 24;
                }
                end
            }
            _ => 0,
        })
    }

    fn read_sectors(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        let range = self.check(offset, buffer)?;
        buffer.copy_from_slice(&self.machine.content.lock().unwrap()[range]);
        Ok(())
    }

    fn write_sectors(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        let range = self.check(offset, data)?;
        self.log("write");
        self.machine.content.lock().unwrap()[range].copy_from_slice(data);
        Ok(())
    }

    fn flush(&self) -> io::Result<()> {
        self.log("flush");
        let spec = self.spec.lock().unwrap();
        match spec.fails.get(&0) {
            Some((code, _)) => Err(io::Error::from_raw_os_error(*code)),
            None => Ok(()),
        }
    }

    fn users(&self, answer: &mut [usize]) -> io::Result<usize> {
        self.log("users");
        let spec = self.spec.lock().unwrap();
        let Some(users) = &spec.users else {
            return Err(io::Error::from_raw_os_error(1));
        };
        answer[0] = users.len();
        for (word, &user) in answer[1..].iter_mut().zip(users) {
            *word = user as usize;
        }
        Ok(users.len() + 1)
    }

    fn end(&self) -> io::Result<u64> {
        Ok(self.machine.content.lock().unwrap().len() as u64)
    }
}

impl System for Fake {
    type Handle = FakeHandle;

    fn open(&self, device: &str, access: Access) -> io::Result<FakeHandle> {
        let found = self.0.disks.get_key_value(device);
        let (name, spec) = found.ok_or_else(|| io::Error::from_raw_os_error(2))?;
        if let Some(code) = spec.open {
            return Err(io::Error::from_raw_os_error(code));
        }
        let handle = FakeHandle {
            machine: Arc::clone(&self.0),
            name,
            spec: Mutex::new(spec.clone()),
        };
        handle.log(match access {
            Access::Read => "open",
            Access::Write => "open for writing",
        });
        Ok(handle)
    }

    fn volumes(&self) -> io::Result<Vec<String>> {
        let volumes = self.0.disks.keys().filter(|name| name.contains('{'));
        Ok(volumes.map(|name| format!(r"{name}\")).collect())
    }

    fn windows_folder(&self) -> io::Result<String> {
        Ok(r"C:\WINDOWS".to_owned())
    }

    fn volume_of(&self, letter: char) -> io::Result<String> {
        Ok(format!(r"{}\", volume(letter)))
    }

    fn has_page_file(&self, letter: char) -> bool {
        self.0.page_files.contains(&letter)
    }

    fn program(&self, process: u32) -> io::Result<String> {
        match self.0.programs.get(&process) {
            Some(Ok(path)) => Ok((*path).to_owned()),
            Some(Err(code)) => Err(io::Error::from_raw_os_error(*code)),
            None => Err(io::Error::from_raw_os_error(87)),
        }
    }

    fn wait(&self) {
        self.0.log.lock().unwrap().push("wait".to_owned());
    }
}

/// The name of a letter's volume: C is the running Windows'.
fn volume(letter: char) -> &'static str {
    match letter {
        'C' => r"\\?\Volume{00000000-0000-0000-0000-00000000000c}",
        'F' => r"\\?\Volume{00000000-0000-0000-0000-00000000000f}",
        _ => r"\\?\Volume{00000000-0000-0000-0000-0000000000aa}",
    }
}

fn machine(disks: &[(&'static str, Spec)]) -> Fake {
    let content = (0..3 << 20).map(|i: u32| (i / 512) as u8).collect();
    Fake(Arc::new(Machine {
        disks: disks.iter().cloned().collect(),
        page_files: vec!['P'],
        programs: BTreeMap::from([
            (880, Ok(r"C:\Windows\System32\cmd.exe")),
            (2044, Err(5)),
            (4712, Ok(r"C:\Windows\explorer.exe")),
        ]),
        content: Mutex::new(content),
        ..Machine::default()
    }))
}

fn opened(fake: &Fake, name: &str, access: Access) -> Result<RawDevice<FakeHandle>> {
    open(fake, &parse(Path::new(name)).unwrap(), access)
}

fn log(fake: &Fake) -> Vec<String> {
    std::mem::take(&mut fake.0.log.lock().unwrap())
}

/// The error's text with its hint.
fn told(result: Result<RawDevice<FakeHandle>>) -> (Kind, String) {
    let error = result.unwrap_err();
    (
        error.kind(),
        format!("{error} | {}", error.hint().unwrap_or("")),
    )
}

#[test]
fn a_volume_is_locked_before_it_is_written_and_dismounted_before_it_is_let_go() {
    let fake = machine(&[(r"\\.\F:", Spec::default())]);
    let device = opened(&fake, "F:", Access::Write).unwrap();
    assert_eq!((device.len(), device.sector_size()), (3 << 20, 512));
    device.write_at(512, &[7; 512]).unwrap();
    device.flush().unwrap();
    drop(device);
    let f = |what: &str| format!(r"\\.\F: {what}");
    let expected = [
        "open for writing",
        "lock",
        "extended",
        "write",
        "flush",
        "dismount",
        "unlock",
        "close",
    ];
    assert_eq!(log(&fake), expected.map(f));
}

#[test]
fn reading_locks_nothing_and_refuses_to_write() {
    let fake = machine(&[(r"\\.\F:", Spec::default())]);
    let device = opened(&fake, r"F:\", Access::Read).unwrap();
    let mut buffer = [0; 3];
    device.read_at(1023, &mut buffer).unwrap();
    assert_eq!(buffer, [1, 2, 2]);
    assert_eq!(device.write_at(0, &[1]).unwrap_err().kind(), Kind::Refused);
    device.flush().unwrap();
    drop(device);
    assert_eq!(log(&fake), [r"\\.\F: open", r"\\.\F: close"]);
}

#[test]
fn a_busy_volume_is_tried_for_five_seconds() {
    let mut spec = Spec::default();
    spec.fails.insert(FSCTL_LOCK_VOLUME, (5, 3));
    let fake = machine(&[(r"\\.\F:", spec)]);
    drop(opened(&fake, "F:", Access::Write).unwrap());
    assert_eq!(log(&fake).iter().filter(|line| *line == "wait").count(), 3);

    let busy = Spec::default().failing(FSCTL_LOCK_VOLUME, 5);
    let fake = machine(&[(r"\\.\F:", busy.clone()), (r"\\.\P:", busy)]);
    let (kind, text) = told(opened(&fake, "F:", Access::Write));
    assert_eq!(kind, Kind::Refused);
    assert!(
        text.contains("files open on it") && text.contains("Explorer"),
        "{text}"
    );
    let asked = log(&fake);
    assert_eq!(asked.iter().filter(|line| *line == "wait").count(), 9);
    // Never taken away from others without the lock.
    assert!(
        !asked.iter().any(|line| line.contains("dismount")),
        "{asked:?}"
    );
    let (kind, text) = told(opened(&fake, "P:", Access::Write));
    assert_eq!(kind, Kind::Refused);
    assert!(text.contains("page file"), "{text}");
}

#[test]
fn who_holds_a_busy_volume_is_named() {
    let busy = |users: &[u32]| Spec {
        users: Some(users.to_vec()),
        ..Spec::default().failing(FSCTL_LOCK_VOLUME, 5)
    };
    let own = std::process::id();
    let fake = machine(&[
        (r"\\.\F:", busy(&[own, 4712, 2044, 880, 31_337])),
        (r"\\.\G:", busy(&[4, own])),
        (r"\\.\H:", busy(&[own, 31_337])),
        (r"\\.\PhysicalDrive1", Spec::default()),
        (volume('F'), busy(&[880])),
    ]);
    let (kind, text) = told(opened(&fake, "F:", Access::Write));
    assert_eq!(kind, Kind::Refused);
    let users = "F: cannot be locked: it is in use by cmd.exe (process 880), process 2044 and explorer.exe (process 4712) | \
                 close what they have open";
    assert!(text.contains(users), "{text}");
    assert!(text.contains("Set-Disk") && !text.contains("Windows itself"));
    // Asked once, when nothing else is left.
    let asked = log(&fake);
    let at: Vec<usize> = (0..asked.len())
        .filter(|&at| asked[at].ends_with("users"))
        .collect();
    assert_eq!(at, [asked.len() - 2], "{asked:?}");

    let (_, text) = told(opened(&fake, "G:", Access::Write));
    assert!(
        text.contains("in use by Windows itself (process 4) |") && text.contains("reg unload"),
        "{text}"
    );
    let (kind, text) = told(opened(&fake, "H:", Access::Write));
    assert_eq!(kind, Kind::Refused);
    assert!(text.contains("Windows names no program"), "{text}");
    let (_, text) = told(opened(&fake, r"\\.\PhysicalDrive1", Access::Write));
    assert!(
        text.contains("PhysicalDrive1, a volume on it") && text.contains("cmd.exe (process 880)"),
        "{text}"
    );
}

#[test]
fn the_running_windows_is_refused_under_every_name() {
    let fake = machine(&[
        (r"\\.\C:", Spec::default()),
        (
            volume('C'),
            Spec {
                on: vec![0],
                ..Spec::default()
            },
        ),
        (r"\\.\PhysicalDrive0", Spec::default()),
    ]);
    for name in ["c:", r"\\.\C:", volume('C'), r"\\.\PhysicalDrive0"] {
        let (kind, text) = told(opened(&fake, name, Access::Write));
        assert_eq!(kind, Kind::Refused, "{name}");
        assert!(text.contains("Windows that is running"), "{text}");
        assert!(!log(&fake).iter().any(|line| line.ends_with("lock")));
        opened(&fake, name, Access::Read).unwrap();
        log(&fake);
    }
}

#[test]
fn every_volume_of_a_disk_is_locked_and_no_other() {
    let fake = machine(&[
        (r"\\.\PhysicalDrive1", Spec::default()),
        (
            volume('C'),
            Spec {
                on: vec![0],
                ..Spec::default()
            },
        ),
        (volume('F'), Spec::default()),
        (
            volume('X'),
            Spec {
                open: Some(21),
                ..Spec::default()
            },
        ),
    ]);
    drop(opened(&fake, r"\\.\PhysicalDrive1", Access::Write).unwrap());
    let f = volume('F');
    let expected = [
        r"\\.\PhysicalDrive1 open for writing".to_owned(),
        format!("{} open", volume('C')),
        format!("{} close", volume('C')),
        format!("{f} open"),
        format!("{f} close"),
        format!("{f} open for writing"),
        format!("{f} lock"),
        r"\\.\PhysicalDrive1 close".to_owned(),
        format!("{f} dismount"),
        format!("{f} unlock"),
        format!("{f} close"),
    ];
    assert_eq!(log(&fake), expected);
}

#[test]
fn a_disk_with_a_volume_in_use_is_let_go_whole() {
    let fake = machine(&[
        (r"\\.\PhysicalDrive1", Spec::default()),
        (volume('F'), Spec::default()),
        (volume('X'), Spec::default().failing(FSCTL_LOCK_VOLUME, 5)),
    ]);
    let (kind, text) = told(opened(&fake, r"\\.\PhysicalDrive1", Access::Write));
    assert_eq!(kind, Kind::Refused);
    assert!(
        text.contains("PhysicalDrive1") && text.contains("cannot be locked"),
        "{text}"
    );
    let asked = log(&fake);
    assert!(
        asked.contains(&format!("{} unlock", volume('F'))),
        "{asked:?}"
    );
    assert_eq!(
        asked.iter().filter(|line| line.contains(" open")).count(),
        asked.iter().filter(|line| line.ends_with(" close")).count()
    );
}

#[test]
fn what_spans_disks_or_is_write_protected_is_refused() {
    let striped = Spec {
        on: vec![1, 2],
        ..Spec::default()
    };
    let fake = machine(&[
        (r"\\.\F:", striped.clone()),
        (volume('F'), striped),
        (r"\\.\PhysicalDrive2", Spec::default()),
        (
            r"\\.\G:",
            Spec::default().failing(IOCTL_DISK_IS_WRITABLE, 19),
        ),
        (
            r"\\.\H:",
            Spec::default().failing(IOCTL_DISK_IS_WRITABLE, 1),
        ),
    ]);
    for (name, word) in [
        ("F:", "spans"),
        (r"\\.\PhysicalDrive2", "spans"),
        ("G:", "write-protected"),
    ] {
        let (kind, text) = told(opened(&fake, name, Access::Write));
        assert_eq!(kind, Kind::Refused, "{text}");
        assert!(text.contains(word), "{text}");
    }
    opened(&fake, "H:", Access::Write).unwrap();
}

#[test]
fn errors_of_the_host_name_the_next_step() {
    let fake = machine(&[
        (
            r"\\.\F:",
            Spec {
                open: Some(5),
                ..Spec::default()
            },
        ),
        (
            r"\\.\G:",
            Spec {
                open: Some(0x8031_0000_u32.cast_signed()),
                ..Spec::default()
            },
        ),
        (r"\\.\H:", Spec::default().failing(FSCTL_LOCK_VOLUME, 21)),
    ]);
    for (name, word) in [
        ("F:", "administrator"),
        ("G:", "manage-bde"),
        ("H:", "medium"),
        ("I:", "Get-Volume"),
    ] {
        let (kind, text) = told(opened(&fake, name, Access::Write));
        assert_eq!(kind, Kind::Io, "{text}");
        assert!(text.contains(word), "{text}");
    }
}

#[test]
fn partial_sectors_keep_their_neighbours() {
    for sector in [512, 4096] {
        let fake = machine(&[(
            r"\\.\F:",
            Spec {
                sector,
                ..Spec::default()
            },
        )]);
        let device = opened(&fake, "F:", Access::Write).unwrap();
        assert_eq!(device.sector_size(), sector);
        let mut model = fake.0.content.lock().unwrap().clone();
        for (offset, len) in [
            (1, 1),
            (511, 2),
            (4095, 4098),
            ((1 << 20) - 3, 7),
            (100, 2 << 20),
            ((3 << 20) - 1, 1),
        ] {
            let data: Vec<u8> = (0..len).map(|i| (i % 251) as u8 ^ 0xa5).collect();
            device.write_at(offset as u64, &data).unwrap();
            model[offset..offset + len].copy_from_slice(&data);
            let mut back = vec![0; len];
            device.read_at(offset as u64, &mut back).unwrap();
            assert_eq!(back, data);
        }
        assert_eq!(*fake.0.content.lock().unwrap(), model);
        device.write_at((3 << 20) - 1, &[1, 2]).unwrap_err();
        device.read_at(3 << 20, &mut [0]).unwrap_err();
    }
}

#[test]
fn length_and_sector_are_asked_in_turn() {
    let ask = |spec: Spec| {
        let fake = machine(&[(r"\\.\F:", spec)]);
        opened(&fake, "F:", Access::Read).map(|device| (device.len(), device.sector_size()))
    };
    let four = Spec {
        sector: 4096,
        ..Spec::default()
    };
    let old = four.clone().failing(IOCTL_STORAGE_QUERY_PROPERTY, 50);
    assert_eq!(ask(old.clone()).unwrap(), (3 << 20, 4096));
    // Only by trying: 512 bytes cannot be read there.
    let mute = old
        .failing(IOCTL_DISK_GET_DRIVE_GEOMETRY, 50)
        .failing(IOCTL_DISK_GET_LENGTH_INFO, 50);
    assert_eq!(ask(mute.clone()).unwrap(), (3 << 20, 4096));
    let mute = Spec {
        sector: 512,
        ..mute.failing(IOCTL_DISK_GET_DRIVE_GEOMETRY_EX, 50)
    };
    assert_eq!(ask(mute).unwrap(), (3 << 20, 512));
}

#[test]
fn a_device_without_bytes_is_none() {
    let fake = machine(&[(r"\\.\F:", Spec::default())]);
    fake.0.content.lock().unwrap().clear();
    let (kind, text) = told(opened(&fake, "F:", Access::Read));
    assert_eq!(kind, Kind::Unsupported);
    assert!(text.contains("0 bytes"), "{text}");
}

#[test]
fn after_a_failed_flush_none_succeeds() {
    let fake = machine(&[(r"\\.\F:", Spec::default().failing(0, 1167))]);
    let device = opened(&fake, "F:", Access::Write).unwrap();
    device.write_at(0, &[1]).unwrap();
    let error = device.flush().unwrap_err();
    assert!(error.hint().unwrap().contains("disconnected"), "{error}");
    device.flush().unwrap_err();
    assert_eq!(
        log(&fake)
            .iter()
            .filter(|line| line.ends_with("flush"))
            .count(),
        1
    );
}
