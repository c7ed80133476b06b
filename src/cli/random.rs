// SPDX-License-Identifier: GPL-2.0-or-later
//! Random numbers: for the names of operations, the identities of new disks, and salts.

use uuid::Uuid;

use crate::error::Result;

/// A random identity.
///
/// # Errors
/// `Io` when the system has none to give.
pub(super) fn uuid() -> Result<Uuid> {
    Ok(uuid::Builder::from_random_bytes(bytes()?).into_uuid())
}

/// From the kernel itself: a static program finds no other function for it than reading /dev/urandom, and a rescue
/// system that has only been unpacked has no /dev.
#[cfg(target_os = "linux")]
fn bytes() -> Result<[u8; 16]> {
    use crate::error::Error;
    use rustix::rand::{GetRandomFlags, getrandom};

    let mut bytes = [0; 16];
    // So few bytes come at once and whole, or not at all: getrandom(2).
    match getrandom(&mut bytes, GetRandomFlags::empty()) {
        Ok(16) => Ok(bytes),
        Ok(_) => Err(Error::io("asking for random bytes")(
            std::io::ErrorKind::UnexpectedEof.into(),
        )),
        Err(error) => Err(Error::io("asking for random bytes")(error.into())),
    }
}

#[cfg(not(target_os = "linux"))]
fn bytes() -> Result<[u8; 16]> {
    Ok(Uuid::new_v4().into_bytes())
}
