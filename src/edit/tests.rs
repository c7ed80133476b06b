// SPDX-License-Identifier: GPL-2.0-or-later
//! Edits as data.

use super::*;
use crate::bcd::{ElementType, ObjectType};

#[test]
fn paths_split_into_hive_and_key() {
    assert_eq!(
        HiveName::split(r"hklm\system\Select"),
        Some((HiveName::System, "Select".to_owned()))
    );
    assert_eq!(
        HiveName::split(r"HKEY_LOCAL_MACHINE\SOFTWARE\"),
        Some((HiveName::Software, String::new()))
    );
    assert_eq!(
        HiveName::split(r"HKU\.Default\Control Panel"),
        Some((HiveName::Default, "Control Panel".to_owned()))
    );
    assert_eq!(HiveName::split(r"HKCU\Software"), None);
    assert_eq!(HiveName::split("HKLM"), None);
    assert_eq!(HiveName::split(r"HKLM\SYSTEMS\Select"), None);
}

#[test]
fn edits_survive_json() {
    let edit = Edit::dword(HiveName::System, "Select", "Current", 0x0102_0304);
    let json = serde_json::to_string(&edit).unwrap();
    assert!(json.contains("\"04030201\""), "{json}");
    assert_eq!(serde_json::from_str::<Edit>(&json).unwrap(), edit);
    let edit = Edit::SetKeySecurity {
        hive: HiveName::Software,
        key: r"Microsoft\A".to_owned(),
        descriptor: HexBytes(vec![1, 0xab]),
    };
    let json = serde_json::to_string(&edit).unwrap();
    assert!(json.contains("\"set-key-security\""), "{json}");
    assert_eq!(serde_json::from_str::<Edit>(&json).unwrap(), edit);
    assert_eq!(edit.location(), r"HKEY_LOCAL_MACHINE\SOFTWARE\Microsoft\A");
    let edit = Edit::set_security([
        ("a/b/c".to_owned(), vec![1]),
        ("a/b".to_owned(), vec![2]),
        ("a/bc".to_owned(), vec![1]),
    ]);
    let edit = edit.unwrap();
    let json = serde_json::to_string(&edit).unwrap();
    assert_eq!(serde_json::from_str::<Edit>(&json).unwrap(), edit);
    assert_eq!(edit.location(), r"\a (3 files and folders)");
    for change in [
        BootChange::SetElement {
            object_type: ObjectType::BOOT_MANAGER,
            element: ElementType(0x1600_0020),
            kind: 3,
            data: HexBytes(vec![1]),
        },
        BootChange::DeleteElement {
            object_type: ObjectType::LOADER,
            element: ElementType(0x2500_0080),
        },
        BootChange::CreateObject {
            object_type: ObjectType::INHERITED,
        },
        BootChange::DeleteObject,
    ] {
        let edit = Edit::Boot(BootEdit {
            store: StorePlace {
                partition: Some(1),
                path: "EFI/Microsoft/Boot/BCD".to_owned(),
            },
            object: crate::bcd::format::BOOTMGR,
            change,
        });
        let json = serde_json::to_string(&edit).unwrap();
        assert_eq!(serde_json::from_str::<Edit>(&json).unwrap(), edit, "{json}");
        let place = r"\EFI\Microsoft\Boot\BCD on partition 1: {bootmgr}";
        assert!(edit.location().starts_with(place), "{}", edit.location());
    }
    assert_eq!(hex_digits("abc"), None);
    assert_eq!(hex_digits("zz"), None);
}
