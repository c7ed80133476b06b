// SPDX-License-Identifier: GPL-2.0-or-later
//! Hives: edited as they are, recovered from logs, read as boot configuration.

use coldfix::bcd::elements;
use coldfix::bcd::format::{Format, element};
use coldfix::bcd::store::Store;
use coldfix::bcd::text::{Selection, View, heading};
use coldfix::bcd::value::Value;
use coldfix::bcd::{change, format::ElementType};
use coldfix::hive::base_block::BaseBlock;
use coldfix::hive::log::{LogFile, State, recover};
use coldfix::hive::{Hive, Key, second_opinion};
use coldfix::windows::{RegFile, export};

use crate::structures::{Kind, seal};

/// More keys are not visited: a hive's records are bounded, the ways to them are not.
const VISITED: usize = 4000;

/// Edits told by bytes, and a hive.
pub fn hive(input: &[u8]) {
    let (script, image) = crate::split(input);
    let Ok(mut hive) = Hive::parse(sealed(image)) else {
        return;
    };
    let sound = hive.check().iter().all(|fault| !fault.fatal);
    let mut paths = Vec::new();
    if let Ok(root) = hive.root() {
        visit(&root, &mut paths);
    }
    for edit in script.chunks(4) {
        let [what, which, len, fill] = std::array::from_fn(|at| edit.get(at).copied().unwrap_or(0));
        let path = match paths.len() {
            0 => String::new(),
            count => paths[usize::from(which) % count].clone(),
        };
        let before = hive.bytes().to_vec();
        let name = ["", "cell", "Я", "a longer name"][usize::from(fill) % 4];
        // Inline, in a cell, in big data, and at their limits.
        let len =
            [0, 3, 4, 5, 40, 16343, 16344, 16345][usize::from(len) % 8] + usize::from(len >> 6);
        let done = match what % 6 {
            0 => hive.set_value(&path, name, 3, &vec![fill; len], 9).is_ok(),
            1 => hive.create_key(&format!("{path}\\{name}n"), 9).is_ok(),
            2 => hive.delete_key(&path, 9).is_ok(),
            3 => hive.delete_value(&path, name, 9).is_ok(),
            4 => hive.set_security(&path, &DESCRIPTOR, 9).is_ok(),
            _ => hive.seal(u32::from(fill) << 20, 9).is_ok(),
        };
        if !done {
            assert!(
                hive.bytes() == before,
                "an edit that failed left something behind"
            );
            continue;
        }
        if sound {
            let fatal: Vec<_> = hive
                .check()
                .into_iter()
                .filter(|fault| fault.fatal)
                .collect();
            assert!(fatal.is_empty(), "{edit:?} at {path:?}: {fatal:?}");
        }
        if what % 6 == 0 && sound {
            let again = Hive::parse(hive.bytes().to_vec()).expect("an edited hive opens");
            let key = again
                .key(&path)
                .expect("a way to the key")
                .expect("the key");
            let value = key
                .value(name)
                .expect("a list of values")
                .expect("the value");
            assert_eq!(value.kind(), 3);
            assert_eq!(*value.data().expect("data"), vec![fill; len]);
            let _ = second_opinion(hive.bytes(), &path, Some(name));
        }
    }
}

/// Everybody may read.
const DESCRIPTOR: [u8; 20] = [
    1, 0, 0, 0x80, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
];

/// The image with a checksum that holds.
fn sealed(image: &[u8]) -> Vec<u8> {
    let mut image = image.to_vec();
    if let Some(base) = image.get_mut(..512) {
        seal(Kind::HiveBase, base);
    }
    image
}

fn visit(key: &Key<'_>, paths: &mut Vec<String>) {
    if paths.len() >= VISITED {
        return;
    }
    paths.push(key.path().unwrap_or_default());
    let _ = (key.class(), key.security(), key.name().to_string());
    for value in key.values().unwrap_or_default() {
        let _ = (value.name().to_string(), value.data());
    }
    for subkey in key.subkeys().unwrap_or_default() {
        // A key that names its parent wrongly can lead back.
        if paths.len() < VISITED && key.path().is_ok_and(|path| path.matches('\\').count() < 40) {
            visit(&subkey, paths);
        }
    }
}

/// A hive and up to two logs: `u16` lengths in pages of 512 bytes before the first two, then all three.
pub fn hive_log(input: &[u8]) {
    let Some((lengths, rest)) = input.split_at_checked(4) else {
        return;
    };
    let length = |at: usize| usize::from(u16::from_le_bytes([lengths[at], lengths[at + 1]])) * 512;
    let (primary, rest) = rest.split_at(length(0).min(rest.len()));
    let (first, second) = rest.split_at(length(2).min(rest.len()));
    let (first, second) = (resealed_log(first), resealed_log(second));
    let logs = [("X.LOG1", &first), ("X.LOG2", &second)];
    let logs = logs.map(|(name, bytes)| LogFile { name, bytes });
    let Ok(recovered) = recover(primary.to_vec(), &logs) else {
        return;
    };
    let longest = primary.len() + first.len() + second.len() + 4096;
    assert!(
        recovered.image.len() <= longest,
        "grown by more than the logs hold"
    );
    match recovered.state {
        State::Replayed => {
            let base = BaseBlock::parse(&recovered.image).expect("a base block");
            assert!(base.checksum_valid());
            // Once is enough.
            let again = recover(recovered.image.clone(), &[]).expect("recovered");
            assert_eq!(again.state, State::Clean);
            assert!(again.image == recovered.image);
        }
        State::Clean | State::DirtyWithoutUsableLog => assert!(recovered.image == primary),
    }
}

/// A log with the checksums that it should have: of its base block and of its entries, where they lie whole.
fn resealed_log(log: &[u8]) -> Vec<u8> {
    let mut log = sealed(log);
    let mut at = 512;
    while let Some(entry) = log.get_mut(at..).filter(|entry| entry.starts_with(b"HvLE")) {
        let len = entry.get(4..8).map_or(0, |len| {
            u32::from_le_bytes([len[0], len[1], len[2], len[3]])
        });
        let Some(entry) = entry
            .get_mut(..len as usize)
            .filter(|entry| entry.len() >= 512)
        else {
            break;
        };
        let pages = coldfix::hive::marvin32::marvin32(&entry[40..]);
        entry[24..32].copy_from_slice(&pages.to_le_bytes());
        let head = coldfix::hive::marvin32::marvin32(&entry[..32]);
        entry[32..40].copy_from_slice(&head.to_le_bytes());
        at += len as usize;
    }
    log
}

/// A boot configuration store: a first byte that chooses an element, and a hive.
pub fn bcd(input: &[u8]) {
    let (script, image) = crate::split(input);
    let Ok(mut hive) = Hive::parse(sealed(image)) else {
        return;
    };
    let Ok(store) = Store::read(&hive) else {
        return;
    };
    let view = View {
        store: &store,
        verbose: script.first().is_some_and(|byte| byte % 2 == 1),
        number: &|_| Some(1),
    };
    for object in store.select(&Selection::All) {
        let _ = (
            heading(object),
            view.paragraph(object),
            store.identifier(object.id, false),
        );
        let _ = store.effective(object, element::DESCRIPTION);
        for (number, stored) in &object.elements {
            let value = Value::decode(*number, stored.kind, &stored.data);
            let _ = (
                elements::shown_name(object.kind, *number),
                view.values(object, *number),
            );
            if let Some((kind, data)) = value.encode() {
                assert_eq!(Value::decode(*number, kind, &data), value, "{number:?}");
            }
        }
    }
    let _ = (
        store.select(&Selection::Active),
        store.resolve("{default}"),
        store.default_entry(),
    );
    let sound = hive.check().iter().all(|fault| !fault.fatal);
    let Some(object) = store.objects.first().map(|object| object.id) else {
        return;
    };
    // A number, as EMS settings are.
    let number = ElementType(0x2500_0004);
    assert_eq!(number.format(), Format::Integer);
    let value = Value::Integer(u64::from(script.first().copied().unwrap_or(7)));
    let (kind, data) = value.encode().expect("a number is written");
    if change::set_element(&mut hive, object, number, kind, &data, 9).is_ok() && sound {
        let again = Store::read(&hive).expect("a changed store");
        let found = again.object(object).and_then(|object| object.value(number));
        assert_eq!(found, Some(value));
        let root = hive.root().expect("a root");
        if let Ok(text) = export(&root, "HKEY_LOCAL_MACHINE\\BCD00000000") {
            RegFile::parse(text.text.as_bytes()).expect("an exported store reads");
        }
    }
}
