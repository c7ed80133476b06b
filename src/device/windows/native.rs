// SPDX-License-Identifier: GPL-2.0-or-later
//! The running Windows behind the traits in `system`, and files as Windows opens them.

use std::fs::{File, OpenOptions};
use std::io::{self, Seek, SeekFrom};
use std::os::windows::fs::OpenOptionsExt;
use std::path::Path;
use std::time::Duration;

use super::api;
use super::positioned::FileExt;
use super::system::{Handle, System, explain};
use crate::device::host::{Access, HostDevice, not_a_disk};
use crate::error::{Error, Result};

// winnt.h and winbase.h.
const FILE_SHARE_READ: u32 = 1;
const FILE_SHARE_WRITE: u32 = 2;
const FILE_SHARE_DELETE: u32 = 4;
const FILE_FLAG_NO_BUFFERING: u32 = 0x2000_0000;
const FILE_FLAG_WRITE_THROUGH: u32 = 0x8000_0000;

impl Handle for File {
    fn control(&self, request: u32, input: &[u8], answer: &mut [u8]) -> io::Result<usize> {
        api::control(self, request, input, answer)
    }

    fn read_sectors(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()> {
        self.read_exact_at(buffer, offset)
    }

    fn write_sectors(&self, offset: u64, data: &[u8]) -> io::Result<()> {
        self.write_all_at(data, offset)
    }

    fn flush(&self) -> io::Result<()> {
        self.sync_data()
    }

    fn users(&self, answer: &mut [usize]) -> io::Result<usize> {
        api::users(self, answer)
    }

    fn end(&self) -> io::Result<u64> {
        let mut file = self;
        file.seek(SeekFrom::End(0))
    }
}

/// The running Windows.
#[derive(Debug)]
pub(super) struct Native;

impl System for Native {
    type Handle = File;

    fn open(&self, device: &str, access: Access) -> io::Result<File> {
        let mut options = OpenOptions::new();
        // A volume is opened by its file system before it is locked, so others cannot be kept out here.
        options
            .read(true)
            .share_mode(FILE_SHARE_READ | FILE_SHARE_WRITE);
        match access {
            Access::Read => options.custom_flags(FILE_FLAG_NO_BUFFERING),
            Access::Write => options
                .write(true)
                .custom_flags(FILE_FLAG_NO_BUFFERING | FILE_FLAG_WRITE_THROUGH),
        };
        options.open(device)
    }

    fn volumes(&self) -> io::Result<Vec<String>> {
        api::volumes()
    }

    fn windows_folder(&self) -> io::Result<String> {
        api::windows_folder()
    }

    fn volume_of(&self, letter: char) -> io::Result<String> {
        api::volume_of(&format!(r"{letter}:\"))
    }

    fn has_page_file(&self, letter: char) -> bool {
        // The volume is not locked yet, so its root can be looked at.
        Path::new(&format!(r"{letter}:\pagefile.sys")).exists()
    }

    fn program(&self, process: u32) -> io::Result<String> {
        api::program(process)
    }

    fn wait(&self) {
        std::thread::sleep(Duration::from_millis(500));
    }
}

/// Opens the image file at `path`. For reading others may read it too, for writing nobody else may read or write it:
/// Windows enforces both, and keeps us out while the image is attached or a virtual machine has it. Its name may change,
/// because a new disk gets its own while it is open.
pub(super) fn open_image(path: &Path, access: Access) -> Result<HostDevice> {
    let name = path.display().to_string();
    let doing = format!("opening it for {}", access.verb());
    let metadata =
        std::fs::metadata(path).map_err(|error| explain_file(&name, "looking for it", error))?;
    if !metadata.is_file() {
        return Err(not_a_disk(path, &metadata));
    }
    if access == Access::Write && metadata.permissions().readonly() {
        return Err(Error::refused(
            format!("{name} is marked read-only"),
            format!("if it may be changed, allow it (attrib -r \"{name}\"); or repair a copy"),
        ));
    }
    let mut options = OpenOptions::new();
    options.read(true).write(access == Access::Write);
    options.share_mode(match access {
        Access::Read => FILE_SHARE_READ,
        Access::Write => FILE_SHARE_DELETE,
    });
    let file = options
        .open(path)
        .map_err(|error| match error.raw_os_error() {
            Some(32) => Error::refused(
                format!("{name} is in use: another program has it open, or Windows has it attached"),
                "shut down the virtual machine, or detach the image (`Dismount-DiskImage`, Eject in Explorer); or give \
                 coldfix the attached disk as \\\\.\\PhysicalDriveN",
            ),
            _ => explain_file(&name, &doing, error),
        })?;
    let len = file
        .metadata()
        .map_err(|error| explain_file(&name, &doing, error))?
        .len();
    Ok(HostDevice::new(path, file, len, 512, access, true))
}

/// As [`explain`], where a file is meant.
fn explain_file(name: &str, doing: &str, error: io::Error) -> Error {
    let hint = match error.raw_os_error() {
        Some(2 | 3) => "check the path",
        Some(5) => "its owner has to allow it, or run coldfix as administrator",
        _ => return explain(name, doing, error),
    };
    Error::io(doing.to_owned())(error).with_hint(name, hint)
}
