// SPDX-License-Identifier: GPL-2.0-or-later
//! The calls of Windows that the standard library does not have, each behind a safe function. Beside `device/mmap.rs`
//! the only file with `unsafe` in it; the argument stands above each call.
//!
//! What they share: handles come from an open `File`, which is borrowed for the whole call; every buffer is passed
//! with its own length, which the system does not exceed; no call keeps a pointer after it has returned, because no
//! handle is opened for overlapped I/O; and names end with a zero that [`wide`] adds.
#![allow(unsafe_code)]

use std::fs::File;
use std::io;
use std::os::windows::io::{AsRawHandle, FromRawHandle, OwnedHandle};

use windows_sys::Wdk::Storage::FileSystem::{
    FileProcessIdsUsingFileInformation, NtQueryInformationFile,
};
use windows_sys::Win32::Foundation::{INVALID_HANDLE_VALUE, RtlNtStatusToDosError};
use windows_sys::Win32::Storage::FileSystem::{
    FindFirstVolumeW, FindNextVolumeW, FindVolumeClose, GetVolumeNameForVolumeMountPointW,
};
use windows_sys::Win32::System::IO::{DeviceIoControl, IO_STATUS_BLOCK};
use windows_sys::Win32::System::SystemInformation::GetSystemWindowsDirectoryW;
use windows_sys::Win32::System::Threading::{
    OpenProcess, PROCESS_NAME_WIN32, PROCESS_QUERY_LIMITED_INFORMATION, QueryFullProcessImageNameW,
};

/// Longer than any volume's name (`\\?\Volume{GUID}\` has 49 characters) and the system's folder (MAX_PATH).
const NAME: usize = 320;

/// Sends a request to a volume or disk; how many bytes of `answer` are filled.
pub(super) fn control(
    file: &File,
    request: u32,
    input: &[u8],
    answer: &mut [u8],
) -> io::Result<usize> {
    let mut filled = 0_u32;
    let input_pointer = match input {
        [] => std::ptr::null(),
        _ => input.as_ptr().cast(),
    };
    let answer_pointer = match answer {
        [] => std::ptr::null_mut(),
        _ => answer.as_mut_ptr().cast(),
    };
    // SAFETY: the handle is open as long as `file` is borrowed. Input and answer are given with their lengths (or
    // as null with 0); the answer is exclusively ours, and bytes have no invalid values. `filled` outlives the
    // call, which ends before it returns: the handle is synchronous and no OVERLAPPED is given. The requests used
    // here carry no pointers in their input.
    let done = unsafe {
        DeviceIoControl(
            file.as_raw_handle(),
            request,
            input_pointer,
            length(input.len())?,
            answer_pointer,
            length(answer.len())?,
            &mut filled,
            std::ptr::null_mut(),
        )
    };
    if done == 0 {
        return Err(io::Error::last_os_error());
    }
    // Whatever the system says: no more than was there.
    Ok(usize::try_from(filled)
        .unwrap_or(usize::MAX)
        .min(answer.len()))
}

/// Asks which processes use an open file or volume (FILE_PROCESS_IDS_USING_FILE_INFORMATION); how many words of
/// `answer` are filled. The standard library's call for information about a handle does not take this question.
pub(super) fn users(file: &File, answer: &mut [usize]) -> io::Result<usize> {
    let mut outcome = IO_STATUS_BLOCK::default();
    // SAFETY: the handle is open as long as `file` is borrowed. The answer is exclusively ours, aligned as the
    // structure wants it, given with its length in bytes, and its words have no invalid values. `outcome` outlives
    // the call, which ends before it returns: the handle is synchronous.
    let status = unsafe {
        NtQueryInformationFile(
            file.as_raw_handle(),
            &mut outcome,
            answer.as_mut_ptr().cast(),
            length(size_of_val(answer))?,
            FileProcessIdsUsingFileInformation,
        )
    };
    if status != 0 {
        // SAFETY: it takes a number and gives a number.
        let code = unsafe { RtlNtStatusToDosError(status) };
        return Err(io::Error::from_raw_os_error(code.cast_signed()));
    }
    let filled = outcome.Information.checked_div(size_of::<usize>());
    Ok(filled.unwrap_or(0).min(answer.len()))
}

/// The path of the program that a process runs.
pub(super) fn program(process: u32) -> io::Result<String> {
    // SAFETY: it takes numbers only.
    let handle = unsafe { OpenProcess(PROCESS_QUERY_LIMITED_INFORMATION, 0, process) };
    if handle.is_null() {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the handle was opened above, and nobody else closes it.
    let handle = unsafe { OwnedHandle::from_raw_handle(handle) };
    // As long as a path can be.
    let mut name = vec![0_u16; 32_768];
    let mut units = length(name.len())?;
    // SAFETY: the handle is open until the end of this function. The buffer is ours and given with its length in
    // characters, which the system replaces by how many it wrote before the zero.
    let done = unsafe {
        QueryFullProcessImageNameW(
            handle.as_raw_handle(),
            PROCESS_NAME_WIN32,
            name.as_mut_ptr(),
            &mut units,
        )
    };
    match done {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(narrow(&name)),
    }
}

/// The names of all volumes, `\\?\Volume{GUID}\`.
pub(super) fn volumes() -> io::Result<Vec<String>> {
    /// More than there are letters and folders to mount volumes at; an end in case the list has none.
    const MOST: usize = 4096;
    let mut name = [0_u16; NAME];
    // SAFETY: the buffer is ours and given with its length in characters; the system ends the name with a zero.
    let search = unsafe { FindFirstVolumeW(name.as_mut_ptr(), length(name.len())?) };
    if search == INVALID_HANDLE_VALUE {
        return Err(io::Error::last_os_error());
    }
    let mut found = vec![narrow(&name)];
    while found.len() < MOST {
        // SAFETY: `search` is the open search from above; the buffer as there.
        let more = unsafe { FindNextVolumeW(search, name.as_mut_ptr(), length(NAME)?) };
        if more == 0 {
            break;
        }
        found.push(narrow(&name));
    }
    // SAFETY: `search` is open, closed here once, and not used afterwards.
    unsafe { FindVolumeClose(search) };
    Ok(found)
}

/// The `\\?\Volume{GUID}\` of what is mounted at `C:\`.
pub(super) fn volume_of(mount_point: &str) -> io::Result<String> {
    let mount_point = wide(mount_point);
    let mut name = [0_u16; NAME];
    // SAFETY: the first string ends with a zero and is only read; the buffer is ours and given with its length.
    let done = unsafe {
        GetVolumeNameForVolumeMountPointW(
            mount_point.as_ptr(),
            name.as_mut_ptr(),
            length(name.len())?,
        )
    };
    match done {
        0 => Err(io::Error::last_os_error()),
        _ => Ok(narrow(&name)),
    }
}

/// The folder of the running Windows.
pub(super) fn windows_folder() -> io::Result<String> {
    let mut name = [0_u16; NAME];
    // SAFETY: the buffer is ours and given with its length; a longer path is not written but its length returned.
    let done = unsafe { GetSystemWindowsDirectoryW(name.as_mut_ptr(), length(name.len())?) };
    match usize::try_from(done) {
        Ok(1..NAME) => Ok(narrow(&name)),
        Ok(0) => Err(io::Error::last_os_error()),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

/// A length as the calls take it.
fn length(len: usize) -> io::Result<u32> {
    u32::try_from(len).map_err(|_| io::ErrorKind::InvalidInput.into())
}

/// UTF-16 with a zero at the end.
fn wide(text: &str) -> Vec<u16> {
    text.encode_utf16().chain([0]).collect()
}

/// The text before the first zero.
fn narrow(name: &[u16]) -> String {
    let text = name.split(|&unit| unit == 0).next().unwrap_or_default();
    String::from_utf16_lossy(text)
}
