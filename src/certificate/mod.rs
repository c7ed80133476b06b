// SPDX-License-Identifier: GPL-2.0-or-later
//! Certificates as the registry stores them: pure bytes in, bytes out; no I/O, no path, no clock.
//!
//! ```text
//! SystemCertificates\<store>\Certificates\<SHA-1 of the certificate>   value Blob
//!   element        {id, encoding, length, bytes} back to back        what wincrypt.h calls properties
//!     2            key_provider: in which container the private key lies, and which provider keeps it
//!     3            SHA-1 of the certificate: has to be the key's name
//!     32           fields, x509: the certificate itself, DER
//!   container      the name of a container -> the name of its key file
//! ```
//!
//! Signatures and chains are not verified: what is asked is which certificate there is, until when it is valid
//! and where its key lies.

pub mod container;
pub mod element;
mod fields;
pub mod key_provider;
pub mod x509;

#[cfg(test)]
mod tests;

pub use element::{Property, StoreElement};
pub use key_provider::KeyProvider;
pub use x509::Certificate;
