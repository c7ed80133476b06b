// SPDX-License-Identifier: GPL-2.0-or-later
//! Names, spellings, identifiers, inheritance and hostile bytes. Real stores: `tests/bcd_real.rs`.
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use std::collections::HashSet;

use proptest::prelude::*;
use uuid::{Uuid, uuid};

use super::change::{create_object, delete_element, delete_object, same, set_element};
use super::elements::{NAMED, Spelling, by_name, by_number, shown_name};
use super::format::{
    BOOTMGR, EMS_SETTINGS, GLOBAL_SETTINGS, WELL_KNOWN, element, parse_guid, well_known,
};
use super::text::{Selection, View};
use super::{Device, ElementType, ObjectType, PartitionId, Store, Value};
use crate::error::{Kind, Result};
use crate::hive::Hive;

const LOADER: Uuid = uuid!("733b62e5-f608-11eb-825c-c112f60133ab");
const OTHER: Uuid = uuid!("733b62e6-f608-11eb-825c-c112f60133ab");

/// A store with a boot manager, two loaders and the settings that they inherit.
fn store() -> Hive {
    let mut hive = Hive::create(3, "NewStoreRoot", 1).unwrap();
    hive.create_key("Description", 1).unwrap();
    hive.create_key("Objects", 1).unwrap();
    let name: Vec<u8> = "BCD00000000\0"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    hive.set_value("Description", "KeyName", 1, &name, 1)
        .unwrap();
    let settings = well_known_id("bootloadersettings");
    for (id, kind) in [
        (BOOTMGR, ObjectType::BOOT_MANAGER),
        (LOADER, ObjectType::LOADER),
        (OTHER, ObjectType::LOADER),
        (EMS_SETTINGS, ObjectType::INHERITED),
        (GLOBAL_SETTINGS, ObjectType::INHERITED),
        (settings, ObjectType::LOADER_SETTINGS),
    ] {
        assert!(create_object(&mut hive, id, kind, 2).unwrap());
        assert!(!create_object(&mut hive, id, kind, 2).unwrap());
    }
    set(&mut hive, BOOTMGR, element::DEFAULT, Value::Object(LOADER));
    let menu = Value::ObjectList(vec![OTHER, LOADER]);
    set(&mut hive, BOOTMGR, element::DISPLAY_ORDER, menu);
    for (id, parent) in [
        (BOOTMGR, GLOBAL_SETTINGS),
        (LOADER, settings),
        (settings, GLOBAL_SETTINGS),
        (GLOBAL_SETTINGS, EMS_SETTINGS),
        // A ring, which inheritance must leave.
        (EMS_SETTINGS, settings),
    ] {
        set(
            &mut hive,
            id,
            element::INHERIT,
            Value::ObjectList(vec![parent]),
        );
    }
    hive
}

fn well_known_id(name: &str) -> Uuid {
    let mut found = WELL_KNOWN.iter();
    found.find(|known| known.name == name).unwrap().id
}

fn set(hive: &mut Hive, object: Uuid, element: ElementType, value: Value) {
    let (kind, data) = value.encode().unwrap();
    set_element(hive, object, element, kind, &data, 3).unwrap();
}

fn parse(kind: ObjectType, name: &str, value: &str) -> Result<Value> {
    let element = by_name(kind, name).unwrap();
    let words: Vec<String> = value.split(' ').map(str::to_owned).collect();
    let store = Store::read(&store()).unwrap();
    Value::parse(kind, element, &words, &|text| store.resolve(text))
}

#[test]
fn names_are_unique_where_they_hold() {
    for kind in [
        ObjectType::BOOT_MANAGER,
        ObjectType::LOADER,
        ObjectType::RESUME,
        ObjectType::DEVICE_OPTIONS,
        ObjectType::INHERITED,
    ] {
        let (mut names, mut numbers) = (HashSet::new(), HashSet::new());
        for named in NAMED {
            if by_number(kind, named.element) != Some(named) {
                continue;
            }
            assert!(names.insert(named.name), "{} twice", named.name);
            assert!(numbers.insert(named.element), "{} twice", named.element);
            assert_eq!(by_name(kind, named.name), Some(named.element));
            let upper = named.name.to_uppercase();
            assert_eq!(by_name(kind, &upper), Some(named.element));
            if let Spelling::Words(_) = named.spelling {
                assert_eq!(named.element.format(), super::Format::Integer);
            }
        }
    }
    let number = ElementType(0x2600_0025);
    assert_eq!(shown_name(ObjectType::BOOT_MANAGER, number), "hiberboot");
    assert_eq!(shown_name(ObjectType::LOADER, number), "lastknowngood");
    assert_eq!(by_name(ObjectType::LOADER, "hiberboot"), None);
    assert_eq!(by_name(ObjectType::BOOT_MANAGER, "lastknowngood"), None);
    // The same number, another name; and a name that does not apply.
    let number = ElementType(0x2300_0003);
    assert_eq!(shown_name(ObjectType::BOOT_MANAGER, number), "default");
    assert_eq!(shown_name(ObjectType::LOADER, number), "resumeobject");
    assert_eq!(shown_name(ObjectType::INHERITED, number), "custom:23000003");
    assert_eq!(by_name(ObjectType::LOADER, "timeout"), None);
    assert_eq!(by_name(ObjectType::BOOT_MANAGER, "safeboot"), None);
    let custom = by_name(ObjectType::INHERITED, "CUSTOM:260000B0");
    assert_eq!(custom, Some(element::EMS));
    assert_eq!(by_name(ObjectType::LOADER, "custom:b0"), None);
    assert_eq!(by_name(ObjectType::LOADER, "custom:zzzzzzzz"), None);
}

#[test]
fn values_are_taken_as_bcdedit_takes_them() {
    let loader = ObjectType::LOADER;
    for (yes, word) in [(true, "YES"), (true, "on"), (true, "True"), (true, "1")] {
        assert_eq!(parse(loader, "ems", word).unwrap(), Value::Boolean(yes));
    }
    for word in ["no", "OFF", "false", "0"] {
        assert_eq!(parse(loader, "ems", word).unwrap(), Value::Boolean(false));
    }
    assert_eq!(
        parse(loader, "bootstatuspolicy", "ignoreallfailures").unwrap(),
        Value::Integer(1)
    );
    assert_eq!(parse(loader, "nx", "3").unwrap(), Value::Integer(3));
    assert_eq!(
        parse(loader, "emsbaudrate", "0x1C200").unwrap(),
        Value::Integer(115_200)
    );
    assert_eq!(
        parse(loader, "allowedinmemorysettings", "0x15000075 7").unwrap(),
        Value::IntegerList(vec![0x1500_0075, 7])
    );
    assert_eq!(
        parse(loader, "description", "Windows Server 2022").unwrap(),
        Value::Text("Windows Server 2022".to_owned())
    );
    let manager = ObjectType::BOOT_MANAGER;
    assert_eq!(
        parse(
            manager,
            "displayorder",
            "{default} {733B62E6-f608-11eb-825c-c112f60133ab}"
        )
        .unwrap(),
        Value::ObjectList(vec![LOADER, OTHER])
    );
    assert_eq!(
        parse(manager, "default", "{memdiag}").unwrap(),
        Value::Object(well_known_id("memdiag"))
    );
    for (kind, name, value) in [
        (loader, "ems", "maybe"),
        (loader, "ems", "2"),
        (loader, "nx", "Sometimes"),
        (loader, "emsport", "-1"),
        (loader, "emsport", "+1"),
        (loader, "emsport", "0x"),
        (loader, "emsport", "0x+1"),
        (loader, "emsport", "18446744073709551616"),
        (manager, "default", "{default} {bootmgr}"),
        (manager, "default", "nonsense"),
    ] {
        let error = parse(kind, name, value).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported, "{name} {value}");
        assert!(error.hint().is_some(), "{name} {value}");
    }
    let device = parse(loader, "osdevice", "partition=C:").unwrap_err();
    assert_eq!(device.kind(), Kind::Refused);
}

#[test]
fn values_are_written_as_bcdedit_writes_them() {
    let bytes = |value: Value| value.encode().unwrap();
    assert_eq!(bytes(Value::Boolean(true)), (3, vec![1]));
    assert_eq!(
        bytes(Value::Integer(115_200)),
        (3, vec![0, 0xc2, 1, 0, 0, 0, 0, 0])
    );
    assert_eq!(bytes(Value::Text("A".into())), (1, vec![0x41, 0, 0, 0]));
    let (kind, data) = bytes(Value::ObjectList(vec![LOADER, OTHER]));
    // 38 characters and a terminator each, then one that ends the list.
    assert_eq!((kind, data.len()), (7, 2 * 39 * 2 + 2));
    for value in [
        Value::ObjectList(vec![LOADER, OTHER]),
        Value::ObjectList(Vec::new()),
    ] {
        let (kind, data) = bytes(value.clone());
        assert_eq!(Value::decode(element::INHERIT, kind, &data), value);
    }
    assert_eq!(Value::Device(Device::Boot).encode(), None);
}

#[test]
fn old_and_short_forms_are_read_and_mean_the_same() {
    let decode = |element, data: &[u8]| Value::decode(element, 3, data);
    for data in [&[1_u8][..], &[1, 0], &[0, 1], &[1, 0, 0, 0, 0, 0, 0, 0]] {
        assert_eq!(decode(element::EMS, data), Value::Boolean(true));
    }
    assert_eq!(decode(element::EMS, &[0, 0]), Value::Boolean(false));
    // As the WinPE store of another tool has it.
    assert_eq!(
        decode(element::EMS_BAUD_RATE, &[0, 0xc2, 1]),
        Value::Integer(115_200)
    );
    assert!(same(element::EMS, (3, &[1, 0]), (3, &[1])));
    assert!(!same(element::EMS, (3, &[1, 0]), (3, &[0])));
    // Opaque bytes are the same only byte for byte.
    assert!(!same(element::OS_DEVICE, (3, &[0; 20]), (3, &[0; 21])));
    for (element, kind, data) in [
        (element::EMS, 3, &[][..]),
        (element::EMS, 4, &[1, 0, 0, 0]),
        (element::TIMEOUT, 3, &[0; 9]),
        (element::TIMEOUT, 3, &[]),
        (element::PATH, 1, &[0x41]),
        (element::PATH, 1, &[0, 0xd8]),
        (element::DEFAULT, 1, &[0x41, 0]),
        (element::INHERIT, 1, &[0, 0]),
        (ElementType(0x1700_0077), 3, &[0; 12]),
        (ElementType(0x1900_0077), 3, &[0; 8]),
    ] {
        let value = Value::decode(element, kind, data);
        assert!(matches!(value, Value::Malformed { .. }), "{element}");
        assert_eq!(value.encode(), None);
    }
}

#[test]
fn identifiers_stand_for_objects() {
    let hive = store();
    let store = Store::read(&hive).unwrap();
    assert!(store.notes.is_empty(), "{:?}", store.notes);
    for name in ["{bootmgr}", "BOOTMGR", "{BootMgr}"] {
        assert_eq!(store.resolve(name).unwrap(), BOOTMGR);
    }
    assert_eq!(store.resolve("{default}").unwrap(), LOADER);
    assert_eq!(store.resolve("default").unwrap(), LOADER);
    assert_eq!(store.resolve(&LOADER.to_string()).unwrap(), LOADER);
    assert_eq!(
        store.resolve("{legacy}").unwrap(),
        store.resolve("{ntldr}").unwrap()
    );
    assert_eq!(
        store.resolve("{eventsettings}").unwrap(),
        store.resolve("{dbgsettings}").unwrap()
    );
    for name in ["{current}", "{fa926493-6f1c-4193-a414-58f0b2456d1e}"] {
        let error = store.resolve(name).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("does not run"), "{error}");
    }
    for name in ["", "{}", "{bootmgr", "{733b62e5f60811eb825cc112f60133ab}"] {
        assert!(store.resolve(name).is_err(), "{name:?}");
    }
    assert!(store.find("{memdiag}").is_err());
    assert_eq!(store.identifier(LOADER, false), "{default}");
    assert_eq!(
        store.identifier(LOADER, true),
        "{733b62e5-f608-11eb-825c-c112f60133ab}"
    );
    assert_eq!(store.identifier(EMS_SETTINGS, false), "{emssettings}");
    assert_eq!(parse_guid("{733b62e5-f608-11eb-825c-c112f60133ab"), None);
    for known in &WELL_KNOWN[..WELL_KNOWN.len() - 1] {
        assert_eq!(well_known(known.id), Some(known));
    }
}

#[test]
fn settings_are_inherited_also_through_a_ring() {
    let mut hive = store();
    set(
        &mut hive,
        EMS_SETTINGS,
        element::EMS_PORT,
        Value::Integer(2),
    );
    let read = Store::read(&hive).unwrap();
    let loader = read.object(LOADER).unwrap();
    assert_eq!(
        read.effective(loader, element::EMS_PORT),
        Some((EMS_SETTINGS, Value::Integer(2)))
    );
    assert_eq!(read.effective(loader, element::TIMEOUT), None);
    assert!(read.inherits(loader, EMS_SETTINGS));
    assert!(!read.inherits(read.object(OTHER).unwrap(), EMS_SETTINGS));
    set(&mut hive, LOADER, element::EMS_PORT, Value::Integer(1));
    let read = Store::read(&hive).unwrap();
    let loader = read.object(LOADER).unwrap();
    assert_eq!(
        read.effective(loader, element::EMS_PORT),
        Some((LOADER, Value::Integer(1)))
    );
}

#[test]
fn changes_make_and_delete_whole_keys() {
    let mut hive = store();
    let before = hive.bytes().to_vec();
    assert!(!delete_element(&mut hive, LOADER, element::EMS, 4).unwrap());
    assert!(!delete_object(&mut hive, well_known_id("memdiag"), 4).unwrap());
    let error = create_object(&mut hive, LOADER, ObjectType::RESUME, 4).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let absent = set_element(&mut hive, Uuid::nil(), element::EMS, 3, &[1], 4).unwrap_err();
    assert_eq!(absent.kind(), Kind::Refused);
    assert_eq!(hive.bytes(), before, "nothing changed");

    set(&mut hive, LOADER, element::EMS, Value::Boolean(true));
    let key = "Objects\\{733b62e5-f608-11eb-825c-c112f60133ab}\\Elements\\260000b0";
    assert!(hive.key(key).unwrap().is_some());
    assert!(delete_element(&mut hive, LOADER, element::EMS, 4).unwrap());
    assert!(hive.key(key).unwrap().is_none());
    assert!(delete_object(&mut hive, LOADER, 4).unwrap());
    assert!(Store::read(&hive).unwrap().object(LOADER).is_none());
    assert!(Store::read(&hive).unwrap().default_entry().is_none());
    assert!(Store::read(&hive).unwrap().resolve("{default}").is_err());
    assert!(hive.check().iter().all(|fault| !fault.fatal));
}

#[test]
fn what_is_no_store_is_told() {
    let mut hive = Hive::create(3, "ROOT", 1).unwrap();
    assert_eq!(Store::read(&hive).unwrap_err().kind(), Kind::Unsupported);
    hive.create_key("Description", 1).unwrap();
    assert_eq!(Store::read(&hive).unwrap_err().kind(), Kind::Unsupported);
    hive.set_value("Description", "KeyName", 1, b"S\0\0\0", 1)
        .unwrap();
    assert_eq!(Store::read(&hive).unwrap_err().kind(), Kind::Unsupported);

    let mut hive = store();
    hive.create_key("Objects\\nonsense", 2).unwrap();
    hive.create_key("Objects\\{00000000-0000-0000-0000-00000000000a}", 2)
        .unwrap();
    hive.create_key(
        "Objects\\{733b62e5-f608-11eb-825c-c112f60133ab}\\Elements\\xyz",
        2,
    )
    .unwrap();
    let read = Store::read(&hive).unwrap();
    assert_eq!((read.objects.len(), read.notes.len()), (6, 3));
    assert!(read.object(LOADER).unwrap().has_more);
    assert!(!read.object(BOOTMGR).unwrap().has_more);
}

#[test]
fn a_listing_looks_like_bcdedits() {
    let mut hive = store();
    set(&mut hive, BOOTMGR, element::TIMEOUT, Value::Integer(30));
    set(
        &mut hive,
        BOOTMGR,
        ElementType(0x4600_0010),
        Value::Boolean(true),
    );
    let device = gpt_device();
    set_element(&mut hive, BOOTMGR, element::DEVICE, 3, &device, 3).unwrap();
    let read = Store::read(&hive).unwrap();
    let id = Device::parse(&device).partition().unwrap();
    let number = move |asked: PartitionId| (asked == id).then_some(1);
    let view = |verbose| View {
        store: &read,
        verbose,
        number: &number,
    };
    let manager = read.object(BOOTMGR).unwrap();
    assert_eq!(
        view(false).paragraph(manager),
        "
Windows Boot Manager
--------------------
identifier              {bootmgr}
device                  partition=1
inherit                 {globalsettings}
default                 {default}
displayorder            {733b62e6-f608-11eb-825c-c112f60133ab}
                        {default}
timeout                 30
"
    );
    let text = view(true).paragraph(manager);
    assert!(text.contains("custom:46000010         Yes\n"), "{text}");
    assert!(
        text.contains("default                 {733b62e5-f608-11eb-825c-c112f60133ab}\n"),
        "{text}"
    );
    let ids = |selection: &str| -> Vec<Uuid> {
        let selection = Selection::by_name(selection).unwrap();
        let found = read.select(&selection);
        found.iter().map(|object| object.id).collect()
    };
    assert_eq!(ids("active"), [BOOTMGR, OTHER, LOADER]);
    assert_eq!(
        ids("ALL"),
        [
            BOOTMGR,
            LOADER,
            OTHER,
            EMS_SETTINGS,
            GLOBAL_SETTINGS,
            well_known_id("bootloadersettings")
        ]
    );
    assert_eq!(ids("osloader"), [LOADER, OTHER]);
    assert_eq!(Selection::by_name("nonsense"), None);
}

/// A partition of a GPT disk, as a live store has it.
fn gpt_device() -> Vec<u8> {
    let mut data = vec![0; 88];
    data[16] = 6;
    data[24] = 0x48;
    data[32..48].copy_from_slice(&LOADER.to_bytes_le());
    data[56..72].copy_from_slice(&OTHER.to_bytes_le());
    data
}

proptest! {
    #[test]
    fn any_bytes_are_read_without_a_panic(element: u32, kind in 0_u32..12, data: Vec<u8>) {
        let element = ElementType(element);
        let value = Value::decode(element, kind, &data);
        let shown = value.display(
            ObjectType::LOADER,
            element,
            &|id| id.to_string(),
            &|device| device.display(&|_| None, &|_| None),
        );
        prop_assert!(shown.iter().all(|line| line.len() < 4 * data.len() + 200));
        if let Some((kind, data)) = value.encode() {
            prop_assert_eq!(Value::decode(element, kind, &data), value);
        }
    }

    #[test]
    fn a_store_with_flipped_bytes_is_read_or_refused(places: Vec<(u16, u8)>) {
        let mut image = store().into_bytes();
        let len = image.len();
        for (place, byte) in places {
            image[usize::from(place) % len] = byte;
        }
        if let Ok(hive) = Hive::parse(image)
            && let Ok(store) = Store::read(&hive)
        {
            let view = View { store: &store, verbose: true, number: &|_| None };
            for object in store.select(&Selection::All) {
                let _ = view.paragraph(object);
                let _ = store.effective(object, element::EMS_PORT);
            }
        }
    }
}

#[test]
fn a_small_hive_is_no_large_store() {
    let mut hive = store();
    set_element(
        &mut hive,
        LOADER,
        ElementType(0x1700_0077),
        3,
        &[7; 3000],
        3,
    )
    .unwrap();
    for number in 0..200 {
        let element = ElementType(0x2500_1000 + number);
        set_element(&mut hive, LOADER, element, 3, &[9; 8], 3).unwrap();
    }
    let mut bytes = hive.bytes().to_vec();
    // Every value of 8 bytes is given the cell of the long one.
    let values: Vec<usize> = (0..bytes.len() - 32)
        .filter(|at| {
            bytes[*at..].starts_with(b"vk\x07\0") && bytes[at + 20..].starts_with(b"Element")
        })
        .collect();
    let long = values
        .iter()
        .find(|at| bytes[*at + 4..].starts_with(&3000_u32.to_le_bytes()))
        .unwrap();
    let reference: [u8; 8] = bytes[long + 4..long + 12].try_into().unwrap();
    let mut shared = 0;
    for at in &values {
        if bytes[at + 4..].starts_with(&8_u32.to_le_bytes()) {
            bytes[at + 4..at + 12].copy_from_slice(&reference);
            shared += 1;
        }
    }
    assert_eq!(shared, 200);
    let read = Store::read(&Hive::parse(bytes).unwrap()).unwrap();
    assert!(read.object(LOADER).is_none());
    assert!(
        read.notes.iter().any(|note| note.contains("share cells")),
        "{:?}",
        read.notes
    );
    assert!(Store::read(&hive).unwrap().object(LOADER).is_some());
}

#[test]
fn a_store_of_thousands_of_objects_is_refused() {
    let mut hive = store();
    for number in 0..4096 {
        let key = format!(r"Objects\{{{}}}", Uuid::from_u128(number));
        hive.create_key(&key, 2).unwrap();
    }
    let error = Store::read(&hive).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported, "{error}");
}
