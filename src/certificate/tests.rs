// SPDX-License-Identifier: GPL-2.0-or-later
//! Blobs, key providers and container names; `tests/certificates.rs` holds the certificates against OpenSSL.

use proptest::prelude::*;

use super::element::{Thumbprint, id};
use super::*;

fn property(id: u32, data: &[u8]) -> Property {
    Property {
        id,
        encoding: 1,
        data: data.to_vec(),
    }
}

/// A key provider's bytes, its names one after the other.
fn provider(container: &str, provider: &str, kind: u32) -> Vec<u8> {
    let text = |text: &str| -> Vec<u8> {
        let units = text.encode_utf16().chain([0]);
        units.flat_map(u16::to_le_bytes).collect()
    };
    let names = [text(container), text(provider)];
    let second = u32::try_from(names[0].len())
        .unwrap()
        .checked_add(28)
        .unwrap();
    let words = [28, second, kind, 0x20, 0, 0, 1];
    let mut data: Vec<u8> = words
        .iter()
        .flat_map(|word: &u32| word.to_le_bytes())
        .collect();
    data.extend(names.concat());
    data
}

#[test]
fn file_names_of_cng_keys() {
    // As Windows 11 has named the files of these keys.
    for (key, stem) in [
        ("Google Chromekey1", "7096db7aeb75c0d3497ecd56d355a695"),
        (
            "Microsoft Connected Devices Platform device certificate",
            "de7cf8a7901d2ad13e5c67c29e5d1662",
        ),
    ] {
        assert_eq!(container::cng_file_stem(key).as_deref(), Some(stem));
    }
    assert_eq!(container::cng_file_stem("Schlüssel"), None);
}

#[test]
fn file_names_of_containers() {
    // The known names of Windows' own key files.
    for (container, stem) in [
        (container::REMOTE_DESKTOP, container::REMOTE_DESKTOP_STEM),
        ("tsSECkeySET1", "f686aace6942fb7f7ceb231212eef4a4"),
        ("iisConfigurationKey", "6de9cb26d2b98c01ec4e9e8b34824aa2"),
        (
            "NetFrameworkConfigurationKey",
            "d6d986f09a1ee04e24c949879fdb506c",
        ),
        ("iisWasKey", "76944fb33636aeddb9590521c2e8815a"),
        (
            "Microsoft Internet Information Server",
            "c2319c42033a5ca7f44e731bfd3fa2b5",
        ),
    ] {
        assert_eq!(
            container::file_stem(container).as_deref(),
            Some(stem),
            "{container}"
        );
    }
    assert_eq!(container::file_stem("Schlüssel"), None);
    assert_eq!(
        container::file_name("TSSecKeySet1", "0-1").as_deref(),
        Some("f686aace6942fb7f7ceb231212eef4a4_0-1")
    );
}

#[test]
fn thumbprints() {
    let text = "00112233445566778899AABBCCDDEEFF00112233";
    let read = Thumbprint::parse(&text.to_lowercase()).unwrap();
    assert_eq!(read.to_string(), text);
    for wrong in [
        "",
        "0",
        text.strip_prefix("0").unwrap(),
        text.strip_prefix("00").unwrap(),
        &format!("{text}00"),
        &text.replace('A', "G"),
        &text.replace("AA", "Ä"),
    ] {
        assert_eq!(Thumbprint::parse(wrong), None, "{wrong}");
    }
    // FIPS 180: the SHA-1 of "abc".
    assert_eq!(
        Thumbprint::of(b"abc").to_string(),
        "A9993E364706816ABA3E25717850C26C9CD0D89D"
    );
}

#[test]
fn a_thumbprint_has_to_be_right_in_both_places() {
    let named = Thumbprint::of(b"der");
    let element = |properties: &[Property]| StoreElement {
        properties: properties.to_vec(),
    };
    let der = property(id::CERTIFICATE, b"der");
    for good in [
        element(std::slice::from_ref(&der)),
        element(&[property(id::SHA1, &named.0), der.clone()]),
    ] {
        good.check_thumbprint(named).unwrap();
        good.check_thumbprint(Thumbprint([7; 20])).unwrap_err();
    }
    for bad in [
        element(&[]),
        element(&[property(id::SHA1, &named.0)]),
        element(&[property(id::SHA1, &[0; 20]), der.clone()]),
        element(&[property(id::SHA1, &named.0[..19]), der.clone()]),
        element(&[property(id::CERTIFICATE, b"another"), der]),
    ] {
        bad.check_thumbprint(named).unwrap_err();
    }
}

#[test]
fn key_providers() {
    let data = provider("TSSecKeySet1", "Microsoft Strong", 1);
    let read = KeyProvider::parse(&data).unwrap();
    assert_eq!(
        read,
        KeyProvider {
            container: "TSSecKeySet1".to_owned(),
            provider: "Microsoft Strong".to_owned(),
            kind: 1,
            flags: 0x20,
            key_spec: 1,
        }
    );
    assert!(read.is_capi());
    assert!(
        !KeyProvider::parse(&provider("x", "Microsoft Software Key Storage Provider", 0))
            .unwrap()
            .is_capi()
    );
    for len in 0..data.len() {
        KeyProvider::parse(&data[..len]).unwrap_err();
    }
    let mut surrogate = data.clone();
    surrogate[28..30].copy_from_slice(&0xd800_u16.to_le_bytes());
    KeyProvider::parse(&surrogate).unwrap_err();
    for outside in [0xffff_ffff_u32, 0xffff_fffe, 1 << 31] {
        let mut far = data.clone();
        far[..4].copy_from_slice(&outside.to_le_bytes());
        KeyProvider::parse(&far).unwrap_err();
    }
    let mut none = data.clone();
    none[..4].copy_from_slice(&[0; 4]);
    assert_eq!(KeyProvider::parse(&none).unwrap().container, "");
    KeyProvider::parse(&provider(&"x".repeat(5000), "y", 1)).unwrap_err();
}

#[test]
fn a_property_may_not_reach_beyond_the_blob() {
    let mut blob = StoreElement {
        properties: vec![property(id::CERTIFICATE, b"der"), property(99, b"")],
    }
    .to_bytes()
    .unwrap();
    assert_eq!(StoreElement::parse(&blob).unwrap().der().unwrap(), b"der");
    let whole = [0, 15, blob.len()];
    for len in 0..=blob.len() {
        assert_eq!(
            StoreElement::parse(&blob[..len]).is_ok(),
            whole.contains(&len),
            "{len}"
        );
    }
    StoreElement::parse(&[]).unwrap().der().unwrap_err();
    for length in [4_u32, 16, u32::MAX] {
        blob[8..12].copy_from_slice(&length.to_le_bytes());
        StoreElement::parse(&blob).unwrap_err();
    }
}

proptest! {
    #[test]
    fn properties_come_back_as_they_were(
        parts in prop::collection::vec((any::<u32>(), any::<u32>(), prop::collection::vec(any::<u8>(), 0..40)), 0..9)
    ) {
        let element = StoreElement {
            properties: parts.into_iter().map(|(id, encoding, data)| Property { id, encoding, data }).collect(),
        };
        let blob = element.to_bytes().unwrap();
        prop_assert_eq!(StoreElement::parse(&blob).unwrap(), element);
    }

    #[test]
    fn what_is_accepted_is_written_back_the_same(blob in prop::collection::vec(0..9_u8, 0..80)) {
        if let Ok(element) = StoreElement::parse(&blob) {
            prop_assert_eq!(element.to_bytes().unwrap(), blob);
        }
    }

    #[test]
    fn any_bytes_are_judged_without_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        let _ = KeyProvider::parse(&bytes);
        let _ = Certificate::parse(&bytes);
    }
}
