// SPDX-License-Identifier: GPL-2.0-or-later
//! Certificates of real machines and new ones of OpenSSL, read by us and by OpenSSL; blobs by us and by foreign readers
//! of hives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeMap;
use std::path::Path;

use coldfix::certificate::element::{Thumbprint, id};
use coldfix::certificate::x509::PublicKey;
use coldfix::certificate::{Certificate, StoreElement};
use coldfix::hive::{Hive, Key};
use proptest::prelude::*;
use support::foreign::{self, Reader};

/// Hives of real machines, and how many certificates their stores hold.
const HIVES: [(&str, usize); 2] = [("software-w7x86", 52), ("software-w81-dirty-nolog", 36)];

/// What `openssl x509` prints of a certificate.
struct Seen(BTreeMap<String, String>, String);

impl Seen {
    fn new(der: &[u8]) -> Seen {
        let folder = support::temporary();
        let file = folder.path().join("certificate");
        std::fs::write(&file, der).unwrap();
        let output = support::run(
            support::program("openssl")
                .args(["x509", "-inform", "der", "-noout"])
                .args([
                    "-subject",
                    "-issuer",
                    "-serial",
                    "-startdate",
                    "-enddate",
                    "-fingerprint",
                    "-sha1",
                    "-dateopt",
                    "iso_8601",
                    "-nameopt",
                    "esc_2253,esc_ctrl,utf8,sname,sep_comma_plus_space",
                    "-text",
                    "-in",
                ])
                .arg(&file),
        );
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let fields = text.lines().filter_map(|line| {
            line.split_once('=')
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
        });
        // What -text prints is indented, and comes first.
        Seen(
            fields.filter(|(name, _)| !name.starts_with(' ')).collect(),
            text,
        )
    }

    fn field(&self, name: &str) -> &str {
        &self.0[name]
    }

    /// The usages by their numbers.
    fn usages(&self) -> Option<Vec<String>> {
        let mut lines = self
            .1
            .lines()
            .skip_while(|line| !line.contains("X509v3 Extended Key Usage"));
        lines.next()?;
        let names = lines.next().unwrap().trim().split(", ").map(|name| {
            match name {
                "TLS Web Server Authentication" => "1.3.6.1.5.5.7.3.1",
                "TLS Web Client Authentication" => "1.3.6.1.5.5.7.3.2",
                "Code Signing" => "1.3.6.1.5.5.7.3.3",
                "E-mail Protection" => "1.3.6.1.5.5.7.3.4",
                "Time Stamping" => "1.3.6.1.5.5.7.3.8",
                "Any Extended Key Usage" => "2.5.29.37.0",
                "Microsoft Individual Code Signing" => "1.3.6.1.4.1.311.2.1.21",
                "Microsoft Commercial Code Signing" => "1.3.6.1.4.1.311.2.1.22",
                "Microsoft Server Gated Crypto" => "1.3.6.1.4.1.311.10.3.3",
                "Netscape Server Gated Crypto" => "2.16.840.1.113730.4.1",
                "Microsoft Encrypted File System" => "1.3.6.1.4.1.311.10.3.4",
                number => number,
            }
            .to_owned()
        });
        Some(names.collect())
    }

    fn bits(&self) -> Option<u32> {
        let line = self.1.lines().find(|line| line.contains("Public-Key: ("))?;
        let digits = line
            .chars()
            .filter(char::is_ascii_digit)
            .collect::<String>();
        Some(digits.parse().unwrap())
    }
}

/// Both read the same out of a certificate.
#[track_caller]
fn both_agree(der: &[u8]) -> Certificate {
    let ours = Certificate::parse(der).unwrap();
    let seen = Seen::new(der);
    assert_eq!(ours.subject, seen.field("subject"));
    assert_eq!(ours.issuer, seen.field("issuer"));
    let date = |date: jiff::civil::DateTime| date.strftime("%Y-%m-%d %H:%M:%SZ").to_string();
    assert_eq!(
        date(ours.not_before),
        seen.field("notBefore"),
        "{}",
        ours.subject
    );
    assert_eq!(
        date(ours.not_after),
        seen.field("notAfter"),
        "{}",
        ours.subject
    );
    let hex = |bytes: &[u8]| {
        bytes
            .iter()
            .map(|byte| format!("{byte:02X}"))
            .collect::<String>()
    };
    let zeros = |text: &str| text.trim_start_matches('0').to_owned();
    assert_eq!(
        zeros(&hex(&ours.serial)),
        zeros(seen.field("serial")),
        "{}",
        ours.subject
    );
    let fingerprint = seen
        .0
        .iter()
        .find(|(name, _)| name.to_lowercase().starts_with("sha1"));
    assert_eq!(
        ours.thumbprint.to_string(),
        fingerprint.unwrap().1.replace(':', "")
    );
    assert_eq!(ours.usages, seen.usages(), "{}", ours.subject);
    let bits = match ours.key.as_ref().expect("a key") {
        PublicKey::Rsa(bits) => Some(*bits),
        PublicKey::EllipticCurve(bits) => *bits,
        // DSA and others: what their sizes mean is not asked.
        PublicKey::Other(_) => seen.bits(),
    };
    assert_eq!(bits, seen.bits(), "{}", ours.subject);
    ours
}

/// Every blob below a key, by its path.
fn blobs(key: &Key<'_>, path: &str, found: &mut BTreeMap<String, Vec<u8>>) {
    if let Some(blob) = key.value("Blob").unwrap() {
        found.insert(path.to_owned(), blob.data().unwrap().into_owned());
    }
    for below in key.subkeys().unwrap() {
        let path = format!("{path}\\{}", below.name());
        blobs(&below, &path, found);
    }
}

/// The blobs of a real hive, by the path of their keys; the hive is unpacked in `folder`.
fn real_blobs(hive: &str, folder: &Path) -> Option<BTreeMap<String, Vec<u8>>> {
    let packed = support::data(&format!("hives/{hive}.xz"))?;
    let image = support::unxz(&packed);
    std::fs::write(folder.join("hive"), &image).unwrap();
    let hive = Hive::parse(image).unwrap();
    let mut found = BTreeMap::new();
    for base in [
        r"Microsoft\SystemCertificates",
        r"Policies\Microsoft\SystemCertificates",
    ] {
        if let Some(key) = hive.key(base).unwrap() {
            blobs(&key, base, &mut found);
        }
    }
    Some(found)
}

#[test]
fn every_real_certificate_reads_as_openssl_reads_it() {
    if !support::require("openssl") {
        return;
    }
    for (hive, count) in HIVES {
        let folder = support::temporary();
        let Some(found) = real_blobs(hive, folder.path()) else {
            return;
        };
        let mut certificates = 0;
        for (path, blob) in &found {
            let element = StoreElement::parse(blob).unwrap();
            assert_eq!(element.to_bytes().unwrap(), *blob, "{path}");
            // Lists of what is revoked and of trust are kept the same way.
            if !path.contains(r"\Certificates\") {
                element.der().unwrap_err();
                continue;
            }
            let read = both_agree(element.der().unwrap());
            let named = Thumbprint::parse(path.rsplit('\\').next().unwrap()).unwrap();
            element.check_thumbprint(named).unwrap();
            assert_eq!(read.thumbprint, named);
            certificates += 1;
        }
        assert_eq!(certificates, count, "{hive}");
    }
}

#[test]
fn blobs_are_the_same_to_foreign_readers() {
    for (hive, count) in HIVES {
        let folder = support::temporary();
        let Some(found) = real_blobs(hive, folder.path()) else {
            return;
        };
        for reader in [Reader::Hivex, Reader::PythonRegistry] {
            if !reader.available() {
                return;
            }
            let bases = [
                r"Microsoft\SystemCertificates",
                r"Policies\Microsoft\SystemCertificates",
            ];
            let file = folder.path().join("hive");
            let theirs: BTreeMap<String, Vec<u8>> = bases
                .iter()
                .flat_map(|base| foreign::dump_key(reader, &file, base))
                .filter_map(|(path, key)| {
                    let blob = key.values.into_iter().find(|value| value.name == "Blob")?;
                    assert_eq!(blob.kind, 3);
                    Some((path, blob.data))
                })
                .collect();
            assert!(theirs.len() > count, "{hive}");
            assert!(theirs == found, "{hive} {reader:?}");
        }
    }
}

#[test]
fn the_certificate_of_a_real_listener() {
    let Some(file) = support::data("certs/w7x86-remotedesktop-3349efe1.blob") else {
        return;
    };
    let element = StoreElement::parse(&std::fs::read(file).unwrap()).unwrap();
    let ids: Vec<u32> = element
        .properties
        .iter()
        .map(|property| property.id)
        .collect();
    assert_eq!(
        ids,
        [89, 0x8000, id::KEY_PROVIDER, id::SHA1, id::CERTIFICATE]
    );
    let key = element.key_provider().unwrap().unwrap();
    assert_eq!(key.container, "TSSecKeySet1");
    assert_eq!(key.provider, "Microsoft Strong Cryptographic Provider");
    assert_eq!((key.kind, key.flags, key.key_spec), (1, 0x20, 1));
    assert!(key.is_capi());
    let read = element.certificate().unwrap();
    assert_eq!(read.subject, "CN=WKS-WIN732BITA.shieldbase.local");
    assert_eq!(read.not_after.to_string(), "2012-06-02T20:06:00");
    assert!(read.is_for_remote_desktop());
    for file in support::data_files("certs") {
        let element = StoreElement::parse(&std::fs::read(&file).unwrap()).unwrap();
        let name = file.file_stem().unwrap().to_str().unwrap().to_uppercase();
        let thumbprint = element.certificate().unwrap().thumbprint.to_string();
        assert!(
            thumbprint.starts_with(name.rsplit('-').next().unwrap()),
            "{name}"
        );
    }
}

#[test]
fn new_certificates_of_every_kind() {
    if !support::require("openssl") {
        return;
    }
    let folder = support::temporary();
    let place = |name: &str| folder.path().join(name);
    std::fs::write(
        place("settings"),
        "[req]\ndistinguished_name=none\nstring_mask=pkix\n[none]\n[bmp]\n[server]\nextendedKeyUsage=serverAuth\n\
         [desktop]\nextendedKeyUsage=1.3.6.1.4.1.311.54.1.2\n[client]\nextendedKeyUsage=critical,clientAuth,codeSigning\n\
         [any]\nextendedKeyUsage=anyExtendedKeyUsage\n[nothing]\nsubjectKeyIdentifier=hash\n",
    )
    .unwrap();
    let keys: [&[&str]; 7] = [
        &["rsa:1024"],
        &["rsa:2048"],
        &["rsa:3072"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-256"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:P-521"],
        &["ec", "-pkeyopt", "ec_paramgen_curve:secp384r1"],
        &["ed25519"],
    ];
    let subjects = [
        "/CN=host",
        "/C=DE/O=Rand, \"GmbH\" & Co+OU=<a;b>/CN= #x ",
        "/CN=Größe",
        "/CN=Привет/DC=example/UID=7/serialNumber=12",
        "/CN=#first",
        "/",
        "/postalCode=1/1.2.3.4=odd/emailAddress=a@b.example",
    ];
    let extensions = [
        ("server", true),
        ("desktop", true),
        ("client", false),
        ("any", true),
        ("nothing", true),
    ];
    // Past 2049 dates are written in another way.
    let days = ["1", "180", "20000", "2900000"];
    for round in 0..14 {
        let (extension, serves) = extensions[round % extensions.len()];
        support::run(
            support::program("openssl")
                .args([
                    "req",
                    "-x509",
                    "-nodes",
                    "-utf8",
                    "-multivalue-rdn",
                    "-newkey",
                ])
                .args(keys[round % keys.len()])
                .args(["-outform", "der", "-keyout", "/dev/null", "-config"])
                .arg(place("settings"))
                .args([
                    "-subj",
                    subjects[(round + round / 7) % subjects.len()],
                    "-extensions",
                    extension,
                ])
                .args([
                    "-set_serial",
                    ["0", "127", "128", "0x2b648b655543ffb2402ee17b9e277dbd"][round % 4],
                ])
                .args(["-days", days[round % days.len()], "-out"])
                .arg(place("der")),
        );
        let read = both_agree(&std::fs::read(place("der")).unwrap());
        assert_eq!(read.is_for_remote_desktop(), serves, "{read:?}");
    }
}

proptest! {
    /// Damaged certificates are judged, whatever the damage, and a thumbprint never lies.
    #[test]
    fn damaged_certificates_end_in_an_error_or_a_certificate(
        changes in prop::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..6),
        cut in any::<prop::sample::Index>(),
        cuts in any::<bool>(),
    ) {
        let Some(file) = support::data("certs/w7x86-remotedesktop-3349efe1.blob") else {
            return Ok(());
        };
        let mut blob = std::fs::read(file).unwrap();
        for (place, byte) in &changes {
            let place = place.index(blob.len());
            blob[place] = *byte;
        }
        if cuts {
            blob.truncate(cut.index(blob.len()));
        }
        if let Ok(element) = StoreElement::parse(&blob) {
            prop_assert_eq!(element.to_bytes().unwrap(), blob);
            let _ = element.key_provider();
            if let (Ok(der), Ok(read)) = (element.der(), element.certificate()) {
                prop_assert_eq!(read.thumbprint, Thumbprint::of(der));
            }
        }
    }
}

/// A length that claims the whole address space, nesting without end, a name of a million parts.
#[test]
fn hostile_certificates_cost_little() {
    let start = std::time::Instant::now();
    let nested: Vec<u8> = [0x30, 0x80].into_iter().cycle().take(1 << 20).collect();
    let long = [
        0x30, 0x88, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 1, 2,
    ];
    let sequences: Vec<u8> = [0x30, 0x84, 0x7f, 0xff, 0xff, 0xff]
        .into_iter()
        .cycle()
        .take(600_000)
        .collect();
    for der in [
        &nested[..],
        &long,
        &sequences,
        &vec![0x30; 2 << 20],
        &[],
        &[0x30],
        &[0x30, 0],
    ] {
        Certificate::parse(der).unwrap_err();
    }
    assert!(start.elapsed().as_secs() < 20);
}
