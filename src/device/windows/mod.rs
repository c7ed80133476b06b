// SPDX-License-Identifier: GPL-2.0-or-later
//! Windows as the host: raw volumes, whole disks and image files.
//!
//! ```text
//! name        what was typed: F:  \\.\PhysicalDrive2  or a file           every host
//! raw         a volume or disk as a device: lock, dismount, bounds        every host, for tests
//!  sectors    whole sectors around any range                              every host, for tests
//!  control    requests and the layout of their answers                    every host, for tests
//!  holders    who uses a volume that cannot be locked                     every host, for tests
//!  system     what of Windows the above need, as traits                   every host, for tests
//! native      the traits over the standard library and `api`; files       Windows
//!  api        the calls that the standard library lacks; `unsafe`         Windows
//!  positioned reads and writes at a place                                 Windows
//! ```

#[cfg(windows)]
mod api;
#[cfg(any(windows, test))]
mod control;
#[cfg(any(windows, test))]
mod holders;
pub(crate) mod name;
#[cfg(windows)]
mod native;
#[cfg(windows)]
pub(crate) mod positioned;
#[cfg(any(windows, test))]
mod raw;
#[cfg(any(windows, test))]
mod sectors;
#[cfg(any(windows, test))]
mod system;

/// Opens a volume, a disk or an image file. Writes nothing.
#[cfg(windows)]
pub(super) fn open(
    path: &std::path::Path,
    access: super::Access,
) -> crate::error::Result<super::SharedDevice> {
    use std::sync::Arc;

    Ok(match name::parse(path) {
        Some(named) => Arc::new(raw::open(&native::Native, &named, access)?),
        None => Arc::new(native::open_image(path, access)?),
    })
}
