// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(clippy::cast_possible_truncation)] // lengths of what the tests make

use proptest::prelude::*;

use super::alias::REMOTE_DESKTOP_USERS;
use super::attributes::{Attributes, Layout};
use super::*;
use crate::security::Sid;

static THREE: Layout = Layout {
    what: "a test",
    fixed: 4,
    count: 3,
};

/// A value as Windows lays it down: an independent statement of the layout.
fn value(fixed: &[u8], parts: &[(Vec<u8>, u32)]) -> Vec<u8> {
    let mut table = fixed.to_vec();
    let mut data = Vec::new();
    for (part, qualifier) in parts {
        for number in [data.len() as u32, part.len() as u32, *qualifier] {
            table.extend(number.to_le_bytes());
        }
        data.extend(part);
        while data.len() % 4 != 0 {
            data.push(0);
        }
    }
    table.extend(data);
    table
}

fn machine() -> Sid {
    "S-1-5-21-1-2000000000-4294967295".parse().unwrap()
}

fn alias(members: &[Sid]) -> Vec<u8> {
    let name: Vec<u8> = "Remotedesktopbenutzer"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    let bytes: Vec<u8> = members.iter().flat_map(Sid::to_bytes).collect();
    let parts = [
        (vec![1; 176], 0x1_0002),
        (name, 0),
        (vec![65, 0, 66], 0),
        (bytes, members.len() as u32),
    ];
    value(&REMOTE_DESKTOP_USERS.to_le_bytes(), &parts)
}

fn user(hash: &HashBlob) -> Vec<u8> {
    let mut parts = vec![(Vec::new(), 0); 17];
    parts[0] = (vec![7; 188], 0x1_0002);
    parts[1] = (vec![b'a', 0, b'n', 0, b'n', 0], 0);
    parts[11] = (vec![0xff; 21], 168);
    parts[14] = (hash.to_bytes(), 0);
    parts[15] = (vec![3, 0, 1, 0], 0);
    value(&[], &parts)
}

const BOOT: [&str; 4] = ["59f0c1a2", "7d1b0c4e", "0b93a5d7", "c42f8e61"];

fn boot_key(names: [&str; 4]) -> crate::error::Result<BootKey> {
    let units = names.map(|name| name.encode_utf16().collect::<Vec<u16>>());
    BootKey::from_class_names(units.each_ref().map(Vec::as_slice))
}

proptest! {
    #[test]
    fn parts_are_what_was_set(
        parts in prop::collection::vec((prop::collection::vec(any::<u8>(), 0..40), any::<u32>()), 3..=3),
        at in 0_usize..3,
        new in prop::collection::vec(any::<u8>(), 0..60),
        qualifier: u32,
    ) {
        let bytes = value(b"RID!", &parts);
        let mut found = Attributes::parse(&THREE, &bytes).unwrap();
        prop_assert_eq!(found.bytes(), &bytes[..]);
        found.set(at, &new, qualifier).unwrap();
        let mut parts = parts;
        parts[at] = (new, qualifier);
        for (index, (part, qualifier)) in parts.iter().enumerate() {
            prop_assert_eq!(found.get(index), &part[..]);
            prop_assert_eq!(found.qualifier(index), *qualifier);
        }
        prop_assert_eq!(found.bytes(), &value(b"RID!", &parts)[..]);
    }

    #[test]
    fn nothing_panics(
        mut bytes in prop::collection::vec(any::<u8>(), 0..700),
        small in prop::collection::vec((any::<prop::sample::Index>(), 0_u8..4), 0..200),
        sids in prop::collection::vec(any::<u32>(), 0..4),
    ) {
        // Small numbers make tables whose parts lie inside.
        for (at, byte) in &small {
            if bytes.is_empty() {
                break;
            }
            let at = at.index(bytes.len());
            bytes[at] = *byte;
        }
        let _ = User::parse(&bytes, 500);
        let _ = DomainPolicy::parse(&bytes);
        let _ = machine_sid(&bytes);
        let _ = HashBlob::parse(&bytes);
        let _ = HashKey::unlock(&bytes, &boot_key(BOOT).unwrap());
        if let Ok(mut values) = UserValues::parse(&bytes) {
            let _ = (values.name(), values.full_name(), values.nt_hash());
            values.set_nt_hash(&HashBlob::Rc4 { key_id: 3, data: Some([1; 16]) }).unwrap();
            prop_assert!(UserValues::parse(&values.to_bytes()).is_ok());
        }
        if let Ok(mut alias) = Alias::parse(&bytes) {
            for rid in sids {
                alias.add(&machine().with_rid(rid).unwrap()).unwrap();
            }
            prop_assert_eq!(&Alias::parse(&alias.to_bytes()).unwrap(), &alias);
        }
    }

    #[test]
    fn members_are_added_at_the_end(rids in prop::collection::vec(1000_u32..1010, 0..12)) {
        let mut found = Alias::parse(&alias(&[])).unwrap();
        let mut model: Vec<Sid> = Vec::new();
        for rid in rids {
            let sid = machine().with_rid(rid).unwrap();
            prop_assert_eq!(found.add(&sid).unwrap(), !model.contains(&sid));
            if !model.contains(&sid) {
                model.push(sid);
            }
            prop_assert_eq!(found.members(), &model[..]);
            prop_assert_eq!(found.to_bytes(), alias(&model));
            prop_assert_eq!(&Alias::parse(&found.to_bytes()).unwrap(), &found);
        }
    }

    #[test]
    fn a_stored_hash_goes_round(key_id: u16, salt: [u8; 16], rc4: Option<[u8; 16]>, aes: Option<([u8; 16], [u8; 16])>) {
        let aes = aes.map(|halves| {
            let mut data = [0; 32];
            data[..16].copy_from_slice(&halves.0);
            data[16..].copy_from_slice(&halves.1);
            data
        });
        for blob in [HashBlob::Nothing, HashBlob::Rc4 { key_id, data: rc4 }, HashBlob::Aes { key_id, salt, data: aes }] {
            let bytes = blob.to_bytes();
            prop_assert!([0, 4, 20, 24, 56].contains(&bytes.len()));
            prop_assert_eq!(&HashBlob::parse(&bytes).unwrap(), &blob);
            let mut values = UserValues::parse(&user(&HashBlob::Nothing)).unwrap();
            values.set_nt_hash(&blob).unwrap();
            prop_assert_eq!(values.to_bytes(), user(&blob));
            prop_assert_eq!(values.name(), "ann");
        }
    }
}

#[test]
fn members_that_are_not_what_the_table_says_are_damage() {
    let two = [
        machine().with_rid(1000).unwrap(),
        "S-1-5-4".parse().unwrap(),
    ];
    let good = alias(&two);
    assert_eq!(Alias::parse(&good).unwrap().members(), two);
    let count = 0x30;
    // The number, the length and the offset of the members; the first SID's revision and count.
    let first = good.len() - 28 - 12;
    for at in [count, count - 4, count - 8, first, first + 1] {
        let mut bad = good.clone();
        bad[at] ^= 1;
        assert!(Alias::parse(&bad).is_err(), "{at:#x}");
    }
    for length in 0..good.len() {
        assert!(Alias::parse(&good[..length]).is_err(), "{length}");
    }
    let mut longer = good;
    longer.extend([0; 4]);
    assert!(Alias::parse(&longer).is_err());
}

#[test]
fn the_machine_sid_is_entry_one() {
    let parts = [
        (vec![1; 200], 0),
        (machine().to_bytes(), 0),
        (vec![], 0),
        (vec![9; 8], 0),
    ];
    assert_eq!(machine_sid(&value(&[], &parts)).unwrap(), machine());
    for wrong in [
        "S-1-5-32",
        "S-1-5-21-1-2",
        "S-1-5-21-1-2-3-4",
        "S-1-5-22-1-2-3",
    ] {
        let mut parts = parts.clone();
        parts[1].0 = wrong.parse::<Sid>().unwrap().to_bytes();
        assert!(machine_sid(&value(&[], &parts)).is_err(), "{wrong}");
    }
}

fn domain(threshold: u16, duration: i64) -> DomainPolicy {
    let mut f = vec![0; 0x68];
    f[0x30..0x38].copy_from_slice(&duration.to_le_bytes());
    f[0x54..0x56].copy_from_slice(&threshold.to_le_bytes());
    DomainPolicy::parse(&f).unwrap()
}

fn record(control: u32, bad: u16, last_bad: u64) -> User {
    let mut f = vec![0; 80];
    f[0x28..0x30].copy_from_slice(&last_bad.to_le_bytes());
    f[0x30..0x34].copy_from_slice(&1000_u32.to_le_bytes());
    f[0x38..0x3c].copy_from_slice(&control.to_le_bytes());
    f[0x40..0x42].copy_from_slice(&bad.to_le_bytes());
    User::parse(&f, 1000).unwrap()
}

#[test]
fn a_lockout_is_a_matter_of_count_and_time() {
    let half_hour = 30 * 60 * 10_000_000_u64;
    let policy = domain(5, -half_hour.cast_signed());
    let last = 133_000_000_000_000_000;
    assert_eq!(policy.locked_until(&record(0x10, 4, last), last), None);
    let locked = record(0x10, 5, last);
    assert_eq!(policy.locked_until(&locked, last), Some(last + half_hour));
    assert_eq!(
        policy.locked_until(&locked, last + half_hour - 1),
        Some(last + half_hour)
    );
    assert_eq!(policy.locked_until(&locked, last + half_hour), None);
    assert_eq!(domain(0, -1).locked_until(&locked, last), None);
    for for_ever in [0, i64::MIN] {
        let found = domain(5, for_ever).locked_until(&locked, u64::MAX);
        assert_eq!(found, Some(u64::MAX));
    }
    let mut unlocked = locked;
    unlocked.unlock();
    assert_eq!(policy.locked_until(&unlocked, last), None);
}

#[test]
fn what_is_changed_in_f_is_what_was_asked() {
    let mut user = record(0x2_0615, 7, 99);
    let before = user.to_bytes();
    user.enable();
    user.unlock();
    user.password_was_set(0x1122_3344_5566_7788);
    assert_eq!(
        user.control_text(),
        "0x214 (password not required, normal account, password never expires)"
    );
    assert_eq!(user.password_last_set(), 0x1122_3344_5566_7788);
    assert_eq!(user.bad_password_count(), 0);
    let changed: Vec<usize> = (0..80)
        .filter(|at| before[*at] != user.to_bytes()[*at])
        .collect();
    assert!(
        changed
            .iter()
            .all(|at| (0x18..0x20).contains(at) || (0x38..0x3c).contains(at) || *at == 0x40),
        "{changed:x?}"
    );
    assert_eq!(User::parse(&user.to_bytes(), 1000).unwrap(), user);
    assert!(User::parse(&user.to_bytes(), 1001).is_err());
    assert!(User::parse(&user.to_bytes()[1..], 1000).is_err());
    assert_eq!(user.expires(), None);
    let mut expiring = user.to_bytes();
    expiring[0x20] = 1;
    let mut expiring = User::parse(&expiring, 1000).unwrap();
    assert_eq!(expiring.expires(), Some(1));
    expiring.never_expires();
    assert_eq!(expiring.expires(), None);
}

fn hex(text: &str) -> Vec<u8> {
    crate::edit::hex_digits(text).unwrap()
}

#[test]
fn nt_hashes_are_those_of_windows() {
    let known = [
        ("", "31d6cfe0d16ae931b73c59d7e0c089c0"),
        ("password", "8846f7eaee8fb117ad06bdd830b7586c"),
    ];
    for (password, hash) in known {
        assert_eq!(NtHash::of(password).to_hex().as_str(), hash);
    }
}

/// Key structures for the boot key of `BOOT`, made with other programs (Cryptodome): hash key 00 01 .. 0f.
const F_RC4: &str = include_str!("tests/key_rc4.hex");
const F_AES: &str = include_str!("tests/key_aes.hex");

fn domain_f(key: &str) -> Vec<u8> {
    let mut f = vec![0; 0x68];
    f.extend(hex(key.trim()));
    f
}

#[test]
fn the_hash_key_opens_with_its_boot_key_alone() {
    for key in [F_RC4, F_AES] {
        let f = domain_f(key);
        assert!(HashKey::unlock(&f, &boot_key(BOOT).unwrap()).is_ok());
        for place in 0..4 {
            let mut other = BOOT;
            other[place] = "00000000";
            assert!(HashKey::unlock(&f, &boot_key(other).unwrap()).is_err());
        }
        for length in 0..f.len() {
            // Revision 2 is followed by a checksum that is not read.
            let end = if key == F_AES { 0x68 + 64 } else { 0x68 + 56 };
            let opened = HashKey::unlock(&f[..length], &boot_key(BOOT).unwrap());
            assert_eq!(opened.is_ok(), length >= end, "{length}");
        }
    }
}

#[test]
fn a_flipped_bit_is_an_error_never_another_key() {
    let hash = NtHash::of("correct horse");
    for (key, read) in [(F_RC4, 8..56), (F_AES, 16..64)] {
        let f = domain_f(key);
        let good = HashKey::unlock(&f, &boot_key(BOOT).unwrap()).unwrap();
        let stored = good.encrypt(&hash, 1000, &HashBlob::Nothing, [5; 16]);
        assert_eq!(good.decrypt(&stored, 1000).unwrap().unwrap(), hash);
        for bit in read.start * 8..read.end * 8 {
            let mut bad = f.clone();
            bad[0x68 + bit / 8] ^= 1 << (bit % 8);
            let opened = HashKey::unlock(&bad, &boot_key(BOOT).unwrap());
            // A bit of revision 2's salt gives another key, which then opens no hash.
            let refused = opened.and_then(|key| key.decrypt(&stored, 1000)).is_err();
            assert!(refused, "bit {bit}");
        }
    }
}

#[test]
fn both_generations_go_round_for_every_rid() {
    for key in [F_RC4, F_AES] {
        let key = HashKey::unlock(&domain_f(key), &boot_key(BOOT).unwrap()).unwrap();
        for rid in [500, 501, 1000, 0xffff_fffe, 0x0102_0304] {
            for old in [
                HashBlob::Nothing,
                HashBlob::Rc4 {
                    key_id: 3,
                    data: None,
                },
                HashBlob::Aes {
                    key_id: 2,
                    salt: [1; 16],
                    data: None,
                },
            ] {
                let hash = NtHash::of("Pässwörd");
                let stored = key.encrypt(&hash, rid, &old, [0xa5; 16]);
                assert!(!stored.is_blank());
                let is_aes = matches!(stored, HashBlob::Aes { .. });
                match old {
                    HashBlob::Nothing => {}
                    HashBlob::Rc4 { .. } => assert!(!is_aes),
                    HashBlob::Aes { .. } => assert!(is_aes),
                }
                assert_eq!(key.decrypt(&stored, rid).unwrap().unwrap(), hash);
                assert_eq!(key.decrypt(&old, rid).unwrap(), None);
                // Nothing of it in clear.
                let clear = hex(&hash.to_hex());
                assert!(!stored.to_bytes().windows(8).any(|part| part == &clear[..8]));
            }
        }
    }
}

#[test]
fn class_names_are_eight_digits() {
    assert!(boot_key(["5", "7d1b0c4e", "0b93a5d7", "c42f8e61"]).is_err());
    assert!(boot_key(["59f0c1ag", "7d1b0c4e", "0b93a5d7", "c42f8e61"]).is_err());
    assert!(boot_key(["59f0c1a20", "d1b0c4e", "0b93a5d7", "c42f8e61"]).is_err());
    assert_eq!(format!("{:?}", boot_key(BOOT).unwrap()), "BootKey(secret)");
}
