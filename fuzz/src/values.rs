// SPDX-License-Identifier: GPL-2.0-or-later
//! Values of the registry and files that are read whole: certificates, event logs, accounts, journals.

use coldfix::certificate::element::{StoreElement, Thumbprint};
use coldfix::certificate::key_provider::KeyProvider;
use coldfix::certificate::x509::Certificate;
use coldfix::commit::journal;
use coldfix::evtx::{self, CHUNK_LEN, ChunkHeader, chunk};
use coldfix::sam::alias::Alias;
use coldfix::sam::domain::{DomainPolicy, machine_sid};
use coldfix::sam::hash::HashBlob;
use coldfix::sam::keys::{BootKey, HashKey, NtHash};
use coldfix::sam::user::User;
use coldfix::sam::user_values::UserValues;
use coldfix::security::sid::Sid;
use sha2::{Digest as _, Sha256};

/// A blob of a certificate store; the same bytes also as a certificate and as the place of a key.
pub fn certificate(input: &[u8]) {
    if let Ok(element) = StoreElement::parse(input) {
        assert_eq!(
            element.to_bytes().ok().as_deref(),
            Some(input),
            "a blob is not kept as it is"
        );
        let _ = element.key_provider();
        if let Ok(der) = element.der() {
            let _ = element.check_thumbprint(Thumbprint::of(der));
        }
        if let Ok(certificate) = element.certificate() {
            let _ = (
                certificate.is_for_remote_desktop(),
                format!("{certificate:?}"),
            );
        }
    }
    let _ = Certificate::parse(input);
    if let Ok(provider) = KeyProvider::parse(input) {
        let _ = provider.is_capi();
        let _ = coldfix::certificate::container::file_name(&provider.container, "guid");
    }
}

/// A chunk of an event log, or more than one.
pub fn event_log(input: &[u8]) {
    let _ = evtx::is_log(input);
    for bytes in input.chunks(CHUNK_LEN) {
        let _ = ChunkHeader::parse(bytes.get(..128).unwrap_or(bytes));
        let found = chunk::events(bytes, &|_, id| id % 3 != 1);
        let most = CHUNK_LEN as u64 / 24;
        assert!(found.records <= most && found.damaged <= most, "{found:?}");
        // What an event may keep is bounded, whatever its bytes say.
        for event in &found.events {
            let text: usize = event
                .data
                .iter()
                .map(|(name, text)| name.len() + text.len())
                .sum();
            // Three bytes of UTF-8 for two of UTF-16, and the event's own fields.
            assert!(text <= 3 * (32 << 10), "{text} bytes of text");
            let _ = (evtx::timestamp(event.time), event.field("param1"));
        }
    }
}

/// A value of SAM, as each of those that there are.
pub fn sam(input: &[u8]) {
    if let Ok(mut alias) = Alias::parse(input) {
        assert_eq!(alias.to_bytes(), input);
        let sid = Sid::new(5, &[21, 1, 2, 3, 1001]).expect("a SID");
        let known = alias.members().contains(&sid);
        if let Ok(added) = alias.add(&sid) {
            assert_eq!(added, !known);
            let again = Alias::parse(&alias.to_bytes()).expect("a longer group reads");
            assert_eq!(again.members(), alias.members());
            assert_eq!(again.name(), alias.name());
        }
    }
    let _ = machine_sid(input);
    let policy = DomainPolicy::parse(input);
    let rid = input.get(0x30..0x34).map_or(500, |rid| {
        u32::from_le_bytes([rid[0], rid[1], rid[2], rid[3]])
    });
    if let Ok(mut user) = User::parse(input, rid) {
        assert_eq!(user.to_bytes(), input);
        let _ = (user.control_text(), user.expires());
        if let Ok(policy) = &policy {
            let _ = (
                policy.locked_until(&user, u64::MAX),
                policy.password_expired_at(&user, 0),
            );
        }
        user.enable();
        user.unlock();
        user.never_expires();
        user.password_was_set(7);
        assert_eq!(User::parse(&user.to_bytes(), rid).ok(), Some(user));
    }
    if let Ok(mut values) = UserValues::parse(input) {
        assert_eq!(values.to_bytes(), input);
        let (name, full) = (values.name(), values.full_name());
        let hash = HashBlob::Rc4 {
            key_id: 2,
            data: Some([7; 16]),
        };
        if values.set_nt_hash(&hash).is_ok() {
            let again = UserValues::parse(&values.to_bytes()).expect("changed values read");
            assert_eq!((again.name(), again.full_name()), (name, full));
            assert_eq!(again.nt_hash().ok(), Some(hash));
        }
        let _ = values.clear_lm_hash();
    }
    if let Ok(blob) = HashBlob::parse(input) {
        // Windows ignores what follows the salt of a blank one.
        assert_eq!(HashBlob::parse(&blob.to_bytes()).ok(), Some(blob));
    }
    let digits: Vec<u16> = "0f1e2d3c".encode_utf16().collect();
    let boot = BootKey::from_class_names([&digits, &digits, &digits, &digits]).expect("a boot key");
    if let Ok(key) = HashKey::unlock(input, &boot) {
        let hash = NtHash::of("password");
        let old = HashBlob::Aes {
            key_id: 2,
            salt: [0; 16],
            data: None,
        };
        let stored = key.encrypt(&hash, rid, &old, [1; 16]);
        assert!(
            key.decrypt(&stored, rid)
                .is_ok_and(|found| found == Some(hash))
        );
    }
}

/// A journal with the checksums that it should have.
pub fn journal(input: &[u8]) {
    let bytes = resealed(input);
    let length = bytes.len() as u64;
    let _ = journal::read_head("input", &mut &bytes[..], length);
    let Ok((head, changes)) = journal::read("input", &mut &bytes[..], length) else {
        return;
    };
    let mut written = Vec::new();
    journal::write(&head.header, &changes, &mut written).expect("a journal is written");
    let again = journal::read("again", &mut &written[..], written.len() as u64);
    let again = again.expect("a written journal reads");
    assert!(
        again.0.header == head.header && again.1 == changes,
        "{head:?}"
    );
}

/// Puts the length and the sum of the beginning right, the sum of each section, and the digest of the last one.
fn resealed(input: &[u8]) -> Vec<u8> {
    let mut bytes = input.to_vec();
    if bytes.len() < 24 {
        return bytes;
    }
    let length = (bytes.len() as u64).to_le_bytes();
    bytes[12..20].copy_from_slice(&length);
    let sum = crc32fast::hash(&bytes[..20]);
    bytes[20..24].copy_from_slice(&sum.to_le_bytes());
    let mut at = 24;
    while let Some(head) = bytes.get(at..at + 12) {
        let length = u64::from_le_bytes(head[4..].try_into().expect("eight bytes"));
        let is_last = head.starts_with(b"TAIL");
        let end = usize::try_from(length)
            .ok()
            .and_then(|length| (at + 12).checked_add(length));
        let Some(end) = end.filter(|end| end.checked_add(4).is_some_and(|end| end <= bytes.len()))
        else {
            break;
        };
        if is_last && length == 32 {
            let digest = Sha256::digest(&bytes[..at]);
            bytes[at + 12..end].copy_from_slice(&digest);
        }
        let sum = crc32fast::hash(&bytes[at..end]);
        bytes[end..end + 4].copy_from_slice(&sum.to_le_bytes());
        at = end + 4;
    }
    bytes
}
