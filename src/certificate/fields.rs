// SPDX-License-Identifier: GPL-2.0-or-later
//! The fields of an X.509 certificate that are asked for, out of the DER around them.
//!
//! ```text
//! Certificate     SEQUENCE { TBSCertificate, algorithm, BIT STRING signature }
//! TBSCertificate  SEQUENCE { [0] version, INTEGER serial, algorithm, Name issuer, SEQUENCE { time, time },
//!                            Name subject, SEQUENCE { algorithm, BIT STRING key },
//!                            [1] and [2] unique ids, [3] { SEQUENCE OF Extension } }
//! algorithm       SEQUENCE { OBJECT IDENTIFIER, parameters, if any }
//! Name            SEQUENCE OF SET OF SEQUENCE { OBJECT IDENTIFIER, any string }
//! Extension       SEQUENCE { OBJECT IDENTIFIER, BOOLEAN critical, if true, OCTET STRING value }
//! ```
//!
//! The crate `der` reads each element. The rules of RFC 5280 for serial numbers, dates and versions, which old
//! certificates break, are not asked for. RFC 5280 4.1 and appendix A.

use der::asn1::{AnyRef, BitStringRef, GeneralizedTime, ObjectIdentifier, OctetStringRef, UtcTime};
use der::{DateTime, Decode, Error, Reader, Result, SliceReader, Tag, Tagged};

const EXTENDED_KEY_USAGE: ObjectIdentifier = ObjectIdentifier::new_unwrap("2.5.29.37");

/// What is in a certificate, as it is encoded.
pub(super) struct Fields<'a> {
    pub(super) serial: &'a [u8],
    pub(super) issuer: Name<'a>,
    pub(super) not_before: DateTime,
    pub(super) not_after: DateTime,
    pub(super) subject: Name<'a>,
    pub(super) key_algorithm: ObjectIdentifier,
    pub(super) key_parameters: Option<AnyRef<'a>>,
    /// `None` when it is no whole number of bytes.
    pub(super) key: Option<&'a [u8]>,
    /// The extended key usages; `None` without that extension.
    pub(super) usages: Option<Vec<ObjectIdentifier>>,
}

/// The parts of a name: those of each set stand for one level.
pub(super) type Name<'a> = Vec<Vec<(ObjectIdentifier, AnyRef<'a>)>>;

impl<'a> Fields<'a> {
    pub(super) fn read(der: &'a [u8]) -> Result<Fields<'a>> {
        let mut file = SliceReader::new(der)?;
        let mut certificate = sequence(&mut file)?;
        file.finish()?;
        let mut fields = sequence(&mut certificate)?;
        algorithm(&mut certificate)?;
        BitStringRef::decode(&mut certificate)?;
        certificate.finish()?;

        if place(Tag::peek(&fields)?) == Some(0) {
            AnyRef::decode(&mut fields)?;
        }
        let serial = tagged(&mut fields, Tag::Integer)?.value();
        algorithm(&mut fields)?;
        let issuer = name(&mut fields)?;
        let mut validity = sequence(&mut fields)?;
        let not_before = time(&mut validity)?;
        let not_after = time(&mut validity)?;
        validity.finish()?;
        let subject = name(&mut fields)?;
        let mut public_key = sequence(&mut fields)?;
        let (key_algorithm, key_parameters) = algorithm(&mut public_key)?;
        let key = BitStringRef::decode(&mut public_key)?.as_bytes();
        public_key.finish()?;

        let mut usages = None;
        while !fields.is_finished() {
            let field = AnyRef::decode(&mut fields)?;
            match place(field.tag()) {
                Some(1 | 2) => {}
                Some(3) => usages = extended_key_usage(field)?,
                _ => return Err(unexpected(field.tag())),
            }
        }
        Ok(Fields {
            serial,
            issuer,
            not_before,
            not_after,
            subject,
            key_algorithm,
            key_parameters,
            key,
            usages,
        })
    }
}

/// The number of a field that is told by its number.
fn place(tag: Tag) -> Option<u32> {
    match tag {
        Tag::ContextSpecific { number, .. } => Some(number.value()),
        _ => None,
    }
}

fn unexpected(tag: Tag) -> Error {
    tag.unexpected_error(None).into()
}

fn tagged<'a>(reader: &mut SliceReader<'a>, tag: Tag) -> Result<AnyRef<'a>> {
    let value = AnyRef::decode(reader)?;
    value.tag().assert_eq(tag)?;
    Ok(value)
}

fn sequence<'a>(reader: &mut SliceReader<'a>) -> Result<SliceReader<'a>> {
    SliceReader::new(tagged(reader, Tag::Sequence)?.value())
}

fn algorithm<'a>(reader: &mut SliceReader<'a>) -> Result<(ObjectIdentifier, Option<AnyRef<'a>>)> {
    let mut algorithm = sequence(reader)?;
    let number = ObjectIdentifier::decode(&mut algorithm)?;
    let parameters = match algorithm.is_finished() {
        true => None,
        false => Some(AnyRef::decode(&mut algorithm)?),
    };
    algorithm.finish()?;
    Ok((number, parameters))
}

fn time(reader: &mut SliceReader<'_>) -> Result<DateTime> {
    let value = AnyRef::decode(reader)?;
    match value.tag() {
        Tag::UtcTime => Ok(value.decode_as::<UtcTime>()?.to_date_time()),
        Tag::GeneralizedTime => Ok(value.decode_as::<GeneralizedTime>()?.to_date_time()),
        other => Err(unexpected(other)),
    }
}

fn name<'a>(reader: &mut SliceReader<'a>) -> Result<Name<'a>> {
    let mut levels = sequence(reader)?;
    let mut name = Vec::new();
    while !levels.is_finished() {
        let mut parts = SliceReader::new(tagged(&mut levels, Tag::Set)?.value())?;
        let mut level = Vec::new();
        while !parts.is_finished() {
            let mut part = sequence(&mut parts)?;
            level.push((
                ObjectIdentifier::decode(&mut part)?,
                AnyRef::decode(&mut part)?,
            ));
            part.finish()?;
        }
        name.push(level);
    }
    Ok(name)
}

/// What the extensions say a certificate is for. Twice is an error: two answers are none.
fn extended_key_usage(field: AnyRef<'_>) -> Result<Option<Vec<ObjectIdentifier>>> {
    let mut field = SliceReader::new(field.value())?;
    let mut extensions = sequence(&mut field)?;
    field.finish()?;
    let mut found = None;
    while !extensions.is_finished() {
        let mut extension = sequence(&mut extensions)?;
        let number = ObjectIdentifier::decode(&mut extension)?;
        if Tag::peek(&extension)? == Tag::Boolean {
            bool::decode(&mut extension)?;
        }
        let value = <&OctetStringRef>::decode(&mut extension)?.as_bytes();
        extension.finish()?;
        if number != EXTENDED_KEY_USAGE {
            continue;
        }
        let mut value = SliceReader::new(value)?;
        let mut listed = sequence(&mut value)?;
        value.finish()?;
        let mut usages = Vec::new();
        while !listed.is_finished() {
            usages.push(ObjectIdentifier::decode(&mut listed)?);
        }
        if found.replace(usages).is_some() {
            return Err(Tag::Sequence.value_error().into());
        }
    }
    Ok(found)
}
