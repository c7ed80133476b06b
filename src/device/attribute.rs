// SPDX-License-Identifier: GPL-2.0-or-later
//! The extended attribute in which a host gives the security descriptors of a mounted NTFS volume.
//!
//! ```text
//! system.ntfs_acl        ntfs-3g                      both: the self-relative descriptor, byte for byte
//! system.ntfs_security   the Linux kernel's ntfs3     as it stands in $Secure
//! ```
//!
//! Which of the two a file has is found out by asking it. Never by trying to write: ntfs3 would take the
//! other one's name for that of a new extended attribute. Sources: ntfs-3g's xattrs.c, Linux' fs/ntfs3/xattr.c.

use std::io;
use std::path::Path;

/// The longest extended attribute that Linux has (XATTR_SIZE_MAX), in bytes.
pub const LONGEST: usize = 65_536;

/// What a host says when asked for a file's security descriptor.
#[derive(Debug)]
pub enum Security {
    /// The descriptor, and the attribute it was in.
    Found {
        /// The attribute's name.
        attribute: &'static str,
        /// Self-relative bytes, not looked at.
        descriptor: Vec<u8>,
    },
    /// The file system has no such attribute, or none for this file.
    NotOffered,
    /// There is no file of this name.
    Missing,
}

/// Asks for the descriptor of what lies at `path`, itself and not what it points to.
#[cfg(target_os = "linux")]
pub fn read(path: &Path) -> io::Result<Security> {
    use rustix::io::Errno;

    for attribute in ["system.ntfs_acl", "system.ntfs_security"] {
        // Whole at once: ntfs-3g answers a shorter buffer with an error of the disk.
        let mut descriptor = Vec::with_capacity(LONGEST);
        let room = rustix::buffer::spare_capacity(&mut descriptor);
        match rustix::fs::lgetxattr(path, attribute, room) {
            Ok(_) => {
                descriptor.shrink_to_fit();
                return Ok(Security::Found {
                    attribute,
                    descriptor,
                });
            }
            Err(Errno::NODATA | Errno::OPNOTSUPP) => {}
            Err(Errno::NOENT) => return Ok(Security::Missing),
            Err(error) => return Err(error.into()),
        }
    }
    Ok(Security::NotOffered)
}

/// Other hosts offer none.
#[cfg(not(target_os = "linux"))]
pub fn read(path: &Path) -> io::Result<Security> {
    match std::fs::symlink_metadata(path) {
        Ok(_) => Ok(Security::NotOffered),
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Security::Missing),
        Err(error) => Err(error),
    }
}
