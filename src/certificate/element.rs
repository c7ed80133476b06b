// SPDX-License-Identifier: GPL-2.0-or-later
//! The value `Blob` of a certificate's key: a serialized store element, which is a list of properties.
//!
//! ```text
//! 0  u32 property id              8  u32 length of the data
//! 4  u32 encoding, mostly 1       12 the data; the next property follows without padding
//! ```
//! Specification: [MS-GPEF] 2.2.1.1.1.1. Properties that are not understood, repeated ones and their order are kept.
//! A certificate revocation list (id 33) or a trust list (id 34) in place of the certificate is not handled.

use sha1::{Digest as _, Sha1};

use crate::bytes::{slice, u32_le};
use crate::error::{Error, Result};

use super::key_provider::KeyProvider;
use super::x509::Certificate;

/// Numbers of properties, `CERT_..._PROP_ID` in wincrypt.h.
pub mod id {
    /// Where the private key lies.
    pub const KEY_PROVIDER: u32 = 2;
    /// The SHA-1 of the certificate.
    pub const SHA1: u32 = 3;
    /// A name for people, UTF-16.
    pub const FRIENDLY_NAME: u32 = 11;
    /// The certificate, DER.
    pub const CERTIFICATE: u32 = 32;
}

const HEADER: usize = 12;

/// One property.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Property {
    /// What it is, see [`id`].
    pub id: u32,
    /// How it is encoded; 1 on everything but trust lists.
    pub encoding: u32,
    /// The bytes.
    pub data: Vec<u8>,
}

/// A certificate with its properties.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreElement {
    /// The properties in their order.
    pub properties: Vec<Property>,
}

/// The SHA-1 of a certificate, by which stores and the listener name it.
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Thumbprint(pub [u8; 20]);

impl Thumbprint {
    /// That of a certificate.
    pub fn of(der: &[u8]) -> Thumbprint {
        Thumbprint(Sha1::digest(der).into())
    }

    /// The thumbprint that a store's key is named after: 40 hexadecimal digits.
    pub fn parse(name: &str) -> Option<Thumbprint> {
        let (pairs, rest) = name.as_bytes().as_chunks::<2>();
        let digit = |byte: u8| char::from(byte).to_digit(16);
        let byte = |[high, low]: &[u8; 2]| u8::try_from((digit(*high)? << 4) | digit(*low)?).ok();
        let bytes: Vec<u8> = pairs.iter().map(byte).collect::<Option<_>>()?;
        match rest {
            [] => Some(Thumbprint(bytes.try_into().ok()?)),
            _ => None,
        }
    }
}

/// 40 upper-case hexadecimal digits, as stores name their keys.
impl std::fmt::Display for Thumbprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.0.iter().try_for_each(|byte| write!(f, "{byte:02X}"))
    }
}

impl std::fmt::Debug for Thumbprint {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        std::fmt::Display::fmt(self, f)
    }
}

impl StoreElement {
    /// Splits a blob into its properties.
    ///
    /// # Errors
    /// `Damaged` when a property does not lie wholly inside.
    pub fn parse(blob: &[u8]) -> Result<StoreElement> {
        let mut properties = Vec::new();
        let mut rest = blob;
        while !rest.is_empty() {
            let property = split(rest);
            let Some((property, after)) = property else {
                let place = blob.len().saturating_sub(rest.len());
                return Err(Error::damaged(
                    "certificate blob",
                    u64::try_from(place).unwrap_or(u64::MAX),
                    "a property inside the blob",
                    format!("{} bytes left", rest.len()),
                ));
            };
            properties.push(property);
            rest = after;
        }
        Ok(StoreElement { properties })
    }

    /// The blob.
    ///
    /// # Errors
    /// `Refused` when a property is longer than its length field can say.
    pub fn to_bytes(&self) -> Result<Vec<u8>> {
        let mut blob = Vec::new();
        for property in &self.properties {
            let len = u32::try_from(property.data.len()).map_err(|_| {
                Error::refused(
                    format!("property {} of a certificate is too long", property.id),
                    "a property holds less than 4 GiB",
                )
            })?;
            for word in [property.id, property.encoding, len] {
                blob.extend(word.to_le_bytes());
            }
            blob.extend_from_slice(&property.data);
        }
        Ok(blob)
    }

    /// The data of the first property of this number.
    pub fn property(&self, id: u32) -> Option<&[u8]> {
        let found = self.properties.iter().find(|property| property.id == id)?;
        Some(&found.data)
    }

    /// The certificate's DER.
    ///
    /// # Errors
    /// `Damaged` when there is none.
    pub fn der(&self) -> Result<&[u8]> {
        self.property(id::CERTIFICATE).ok_or_else(|| {
            let ids: Vec<String> = self
                .properties
                .iter()
                .take(20)
                .map(|property| property.id.to_string())
                .collect();
            Error::damaged(
                "certificate blob",
                0,
                "a certificate (property 32)",
                format!("properties {}", ids.join(", ")),
            )
        })
    }

    /// The certificate.
    ///
    /// # Errors
    /// `Damaged` when there is none or it is no X.509 certificate.
    pub fn certificate(&self) -> Result<Certificate> {
        Certificate::parse(self.der()?)
    }

    /// Where the private key lies; `None` when the element does not say.
    ///
    /// # Errors
    /// `Damaged` when the property is.
    pub fn key_provider(&self) -> Result<Option<KeyProvider>> {
        self.property(id::KEY_PROVIDER)
            .map(KeyProvider::parse)
            .transpose()
    }

    /// Checks that the element is that of `named`, after which its key is called: the SHA-1 of the certificate
    /// and the property that repeats it have to say so.
    ///
    /// # Errors
    /// `Damaged` when they do not, or there is no certificate.
    pub fn check_thumbprint(&self, named: Thumbprint) -> Result<()> {
        let found = Thumbprint::of(self.der()?);
        let wrong = |found: String| {
            Err(Error::damaged(
                "certificate blob",
                0,
                format!("a certificate with the SHA-1 {named}"),
                found,
            ))
        };
        if found != named {
            return wrong(found.to_string());
        }
        match self.property(id::SHA1) {
            Some(said) if *said != named.0 => wrong(format!(
                "property 3 with {} bytes that say otherwise",
                said.len()
            )),
            _ => Ok(()),
        }
    }
}

/// The property at the start of `bytes`, and what follows it.
fn split(bytes: &[u8]) -> Option<(Property, &[u8])> {
    let len = usize::try_from(u32_le(bytes, 8)?).ok()?;
    let data = slice(bytes, HEADER, len)?;
    let property = Property {
        id: u32_le(bytes, 0)?,
        encoding: u32_le(bytes, 4)?,
        data: data.to_vec(),
    };
    Some((property, bytes.get(HEADER.checked_add(len)?..)?))
}
