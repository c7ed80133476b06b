// SPDX-License-Identifier: GPL-2.0-or-later
//! What raw volumes and disks need of Windows, as two small traits, so that tests on every host can stand in for it.

use std::fmt::Debug;
use std::io;

use crate::device::Access;
use crate::error::Error;

/// An open volume or disk.
pub(super) trait Handle: Debug + Send + Sync {
    /// Sends a request; how many bytes of `answer` are filled.
    fn control(&self, request: u32, input: &[u8], answer: &mut [u8]) -> io::Result<usize>;
    /// Fills `buffer` from `offset`. Both are whole sectors, and the buffer's address is aligned.
    fn read_sectors(&self, offset: u64, buffer: &mut [u8]) -> io::Result<()>;
    /// Writes `data` at `offset`; likewise.
    fn write_sectors(&self, offset: u64, data: &[u8]) -> io::Result<()>;
    /// Makes what was written durable, through the disk's own cache.
    fn flush(&self) -> io::Result<()>;
    /// Asks which processes use it; how many words of `answer` are filled. `holders` reads them.
    fn users(&self, answer: &mut [usize]) -> io::Result<usize>;
    /// Where the device ends, by going there.
    fn end(&self) -> io::Result<u64>;
}

/// The host itself.
pub(super) trait System: Debug + Send + Sync {
    /// What it opens.
    type Handle: Handle;
    /// Opens a volume or disk, past the host's cache.
    fn open(&self, device: &str, access: Access) -> io::Result<Self::Handle>;
    /// The names of all volumes, as `\\?\Volume{...}`.
    fn volumes(&self) -> io::Result<Vec<String>>;
    /// The folder of the running Windows, such as `C:\Windows`.
    fn windows_folder(&self) -> io::Result<String>;
    /// The `\\?\Volume{...}` of a letter.
    fn volume_of(&self, letter: char) -> io::Result<String>;
    /// True when there is a page file at the root of a letter's volume.
    fn has_page_file(&self, letter: char) -> bool;
    /// The path of the program that a process runs.
    fn program(&self, process: u32) -> io::Result<String>;
    /// Waits half a second.
    fn wait(&self);
}

/// ERROR_INVALID_FUNCTION, _NOT_SUPPORTED, _INVALID_PARAMETER: a driver that lacks the request.
pub(super) fn is_not_offered(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(1 | 50 | 87))
}

/// An error of the host with the next step, where Windows' number for it tells one.
pub(super) fn explain(device: &str, doing: &str, error: io::Error) -> Error {
    let hint = match error.raw_os_error() {
        Some(2 | 3) => {
            "there is no such drive or disk: `Get-Volume` and `Get-Disk` list what there is"
        }
        Some(5) if doing.starts_with("writing") => {
            "Windows has mounted a volume there meanwhile: take the disk offline (`Set-Disk -Number N -IsOffline $true`) \
             and name it as \\\\.\\PhysicalDriveN"
        }
        Some(5) => {
            "run coldfix as administrator (a prompt opened with \"Run as administrator\"); if it runs so, another \
             program has locked the volume (`chkdsk`, a format, another coldfix): let it end"
        }
        Some(19) => {
            "the disk or volume is write-protected: `attributes disk clear readonly` in diskpart, or the switch on its case"
        }
        Some(21) => "there is no medium in the drive, or its volume was taken away meanwhile",
        Some(32) => {
            "another program has it open: detach the image or end that program; of an attached image give the \
             drive letter or \\\\.\\PhysicalDriveN"
        }
        Some(87) => {
            "this is a fault in coldfix or in the disk's driver: please report it with this message"
        }
        Some(1167) => {
            "the disk was disconnected: connect it again; the next `coldfix undo` or `coldfix repair` settles what was begun"
        }
        // FACILITY_FVE: BitLocker.
        Some(code) if code.cast_unsigned() >> 16 == 0x8031 => {
            "the volume is locked by BitLocker: `manage-bde -unlock F: -RecoveryPassword ...`, then name the drive letter"
        }
        _ => {
            return Error::io(doing.to_owned())(error).context(device);
        }
    };
    Error::io(doing.to_owned())(error).with_hint(device, hint)
}
