// SPDX-License-Identifier: GPL-2.0-or-later
//! What is asked of an X.509 certificate: whose it is, until when it is valid, how large its key is, what it is for.
//!
//! [`super::fields`] takes them out of the DER. Names are written in the order of the certificate, escaped as in RFC 4514,
//! so that nothing in them can look like another part. Not handled: signatures, chains, and most extensions.

use der::asn1::{AnyRef, ObjectIdentifier};
use der::{Decode, SliceReader, Tag, Tagged};
use jiff::civil::DateTime;

use crate::error::{Error, Result};

use super::element::Thumbprint;
use super::fields::{Fields, Name};

/// Extended key usage: TLS servers.
pub const SERVER_AUTHENTICATION: &str = "1.3.6.1.5.5.7.3.1";
/// Extended key usage: Remote Desktop.
pub const REMOTE_DESKTOP_AUTHENTICATION: &str = "1.3.6.1.4.1.311.54.1.2";
/// Extended key usage: any.
pub const ANY_USAGE: &str = "2.5.29.37.0";

/// Ours: certificates have some thousand bytes.
const LARGEST: usize = 1 << 20;

const RSA: &str = "1.2.840.113549.1.1.1";
const ELLIPTIC_CURVE: &str = "1.2.840.10045.2.1";
/// Named curves and the bits of their fields.
const CURVES: [(&str, u32); 5] = [
    ("1.2.840.10045.3.1.1", 192),
    ("1.3.132.0.33", 224),
    ("1.2.840.10045.3.1.7", 256),
    ("1.3.132.0.34", 384),
    ("1.3.132.0.35", 521),
];

/// Short names of the parts of a name, X.520 and others.
const ATTRIBUTES: [(&str, &str); 17] = [
    ("2.5.4.3", "CN"),
    ("2.5.4.4", "SN"),
    ("2.5.4.5", "serialNumber"),
    ("2.5.4.6", "C"),
    ("2.5.4.7", "L"),
    ("2.5.4.8", "ST"),
    ("2.5.4.9", "street"),
    ("2.5.4.10", "O"),
    ("2.5.4.11", "OU"),
    ("2.5.4.12", "title"),
    ("2.5.4.13", "description"),
    ("2.5.4.17", "postalCode"),
    ("2.5.4.42", "GN"),
    ("2.5.4.97", "organizationIdentifier"),
    ("0.9.2342.19200300.100.1.1", "UID"),
    ("0.9.2342.19200300.100.1.25", "DC"),
    ("1.2.840.113549.1.9.1", "emailAddress"),
];

/// A public key, as far as it is judged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PublicKey {
    /// RSA, with the bits of its modulus.
    Rsa(u32),
    /// On an elliptic curve, with the bits of its field where the curve is a known one.
    EllipticCurve(Option<u32>),
    /// Another algorithm, by its object identifier.
    Other(String),
}

/// `RSA 2048`, `EC 256`.
impl std::fmt::Display for PublicKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            PublicKey::Rsa(bits) => write!(f, "RSA {bits}"),
            PublicKey::EllipticCurve(Some(bits)) => write!(f, "EC {bits}"),
            PublicKey::EllipticCurve(None) => f.write_str("EC"),
            PublicKey::Other(algorithm) => f.write_str(algorithm),
        }
    }
}

/// A certificate. Dates are UTC.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Certificate {
    /// Whom it names: `C=US, O=Contoso, CN=host`.
    pub subject: String,
    /// Who issued it.
    pub issuer: String,
    /// The serial number's bytes, the highest first, as they are encoded.
    pub serial: Vec<u8>,
    /// The first moment at which it is valid.
    pub not_before: DateTime,
    /// The last one.
    pub not_after: DateTime,
    /// The public key; `None` when it cannot be read.
    pub key: Option<PublicKey>,
    /// What it is for, as object identifiers; `None` when it does not say, which means anything.
    pub usages: Option<Vec<String>>,
    /// By what stores name it.
    pub thumbprint: Thumbprint,
}

impl Certificate {
    /// Reads a certificate.
    ///
    /// # Errors
    /// `Damaged` when the bytes are no X.509 certificate, or it is followed by something.
    pub fn parse(der: &[u8]) -> Result<Certificate> {
        if der.len() > LARGEST {
            return Err(wrong(&format!("{} bytes", der.len())));
        }
        let fields = Fields::read(der).map_err(|error| wrong(&error))?;
        let usages = fields.usages.as_ref();
        Ok(Certificate {
            subject: name(&fields.subject),
            issuer: name(&fields.issuer),
            serial: fields.serial.to_vec(),
            not_before: date(fields.not_before)?,
            not_after: date(fields.not_after)?,
            key: public_key(&fields),
            usages: usages.map(|usages| usages.iter().map(ObjectIdentifier::to_string).collect()),
            thumbprint: Thumbprint::of(der),
        })
    }

    /// Whether it may be used for Remote Desktop: it says nothing of its use, or server authentication, or Remote
    /// Desktop, or anything.
    pub fn is_for_remote_desktop(&self) -> bool {
        let serves = |usage: &String| {
            [
                SERVER_AUTHENTICATION,
                REMOTE_DESKTOP_AUTHENTICATION,
                ANY_USAGE,
            ]
            .contains(&usage.as_str())
        };
        self.usages
            .as_ref()
            .is_none_or(|usages| usages.iter().any(serves))
    }
}

fn wrong(found: &impl std::fmt::Display) -> Error {
    Error::damaged(
        "certificate",
        0,
        "an X.509 certificate",
        format!("something else ({found})"),
    )
}

fn date(read: der::DateTime) -> Result<DateTime> {
    let part = |number: u8| i8::try_from(number).unwrap_or(i8::MAX);
    DateTime::new(
        i16::try_from(read.year()).unwrap_or(i16::MAX),
        part(read.month()),
        part(read.day()),
        part(read.hour()),
        part(read.minutes()),
        part(read.seconds()),
        0,
    )
    .map_err(|error| wrong(&error))
}

fn public_key(fields: &Fields<'_>) -> Option<PublicKey> {
    let algorithm = fields.key_algorithm.to_string();
    match algorithm.as_str() {
        RSA => {
            // RSAPublicKey: a sequence of modulus and exponent. Old ones are not always encoded as DER asks.
            let sequence = AnyRef::from_der(fields.key?).ok()?;
            let mut fields = SliceReader::new(sequence.value()).ok()?;
            let modulus = AnyRef::decode(&mut fields).ok()?;
            if sequence.tag() != Tag::Sequence || modulus.tag() != Tag::Integer {
                return None;
            }
            let mut digits = modulus.value();
            while let [0, rest @ ..] = digits {
                digits = rest;
            }
            let bits = u32::try_from(digits.len()).ok()?.checked_mul(8)?;
            let unused = digits.first().map_or(0, |first| first.leading_zeros());
            Some(PublicKey::Rsa(bits.checked_sub(unused)?))
        }
        ELLIPTIC_CURVE => {
            let curve = fields
                .key_parameters
                .and_then(|any| any.decode_as::<ObjectIdentifier>().ok())
                .map(|curve| curve.to_string());
            let known = CURVES
                .iter()
                .find(|(known, _)| curve.as_deref() == Some(known));
            Some(PublicKey::EllipticCurve(known.map(|(_, bits)| *bits)))
        }
        _ => Some(PublicKey::Other(algorithm)),
    }
}

fn name(name: &Name<'_>) -> String {
    let mut text = String::new();
    for parts in name {
        let mut between = ", ";
        for (kind, value) in parts {
            if !text.is_empty() {
                text.push_str(between);
            }
            between = " + ";
            let kind = kind.to_string();
            let short = ATTRIBUTES.iter().find(|(number, _)| *number == kind);
            text.push_str(short.map_or(&kind, |(_, short)| short));
            text.push('=');
            escape(&mut text, *value);
        }
    }
    text
}

/// The text of a name's part; one that is no text as `#` and its bytes in hexadecimal digits.
fn escape(out: &mut String, value: AnyRef<'_>) {
    use std::fmt::Write as _;
    let Some(text) = decode(value) else {
        out.push('#');
        for byte in value.value() {
            // Writing to a String cannot fail.
            let _ = write!(out, "{byte:02X}");
        }
        return;
    };
    let last = text.chars().count().saturating_sub(1);
    for (place, character) in text.chars().enumerate() {
        match character {
            ',' | '+' | '"' | '\\' | '<' | '>' | ';' => {
                let _ = write!(out, "\\{character}");
            }
            '#' if place == 0 => out.push_str("\\#"),
            ' ' if place == 0 || place == last => out.push_str("\\ "),
            control if control.is_control() => {
                let mut bytes = [0; 4];
                for byte in control.encode_utf8(&mut bytes).bytes() {
                    let _ = write!(out, "\\{byte:02X}");
                }
            }
            other => out.push(other),
        }
    }
}

/// The text of a string of ASN.1, where it is one.
fn decode(value: AnyRef<'_>) -> Option<String> {
    let bytes = value.value();
    match value.tag() {
        Tag::Utf8String
        | Tag::PrintableString
        | Tag::Ia5String
        | Tag::NumericString
        | Tag::VisibleString => String::from_utf8(bytes.to_vec()).ok(),
        // Declared as T.61, written as Latin-1 by everybody.
        Tag::TeletexString => Some(bytes.iter().copied().map(char::from).collect()),
        Tag::BmpString => {
            let (pairs, rest) = bytes.as_chunks::<2>();
            let units: Vec<u16> = pairs.iter().map(|pair| u16::from_be_bytes(*pair)).collect();
            rest.is_empty()
                .then(|| String::from_utf16(&units).ok())
                .flatten()
        }
        _ => None,
    }
}
