// SPDX-License-Identifier: GPL-2.0-or-later
//! Stores that Windows and its tools made: listed and edited, and read back by programs that are not ours.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice
)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use coldfix::bcd::change::{
    create_object, delete_element, delete_object, element_key, object_key, set_element,
};
use coldfix::bcd::format::{BOOTMGR, EMS_SETTINGS, WELL_KNOWN, braced, element, parse_guid};
use coldfix::bcd::text::{Selection, View};
use coldfix::bcd::{Device, ElementType, ObjectType, PartitionId, Store, Value};
use coldfix::hive::{Hive, SecondOpinion, second_opinion};
use support::boot_store;
use support::foreign::{self, Dump, Reader};

const NOW: u64 = 0x01dc_0000_1234_5678;

/// Every file of the folder but the logs, each of which belongs to a store.
fn stores() -> Vec<PathBuf> {
    let (logs, stores): (Vec<PathBuf>, Vec<PathBuf>) = support::data_files("bcd")
        .into_iter()
        .partition(|path| path.extension().is_some_and(|ending| ending == "LOG"));
    assert!(
        logs.iter()
            .all(|log| stores.contains(&log.with_extension("")))
    );
    assert!(stores.is_empty() || stores.len() >= 11, "{stores:?}");
    stores
}

fn readers() -> Vec<Reader> {
    let readers = [Reader::Hivex, Reader::PythonRegistry];
    readers
        .into_iter()
        .filter(|reader| reader.available())
        .collect()
}

fn read_store(path: &Path) -> (Hive, Store) {
    let hive = Hive::parse(std::fs::read(path).unwrap()).unwrap();
    let store = Store::read(&hive).unwrap();
    (hive, store)
}

/// Registry type and data of each value, by name.
type Elements = BTreeMap<String, (u32, Vec<u8>)>;

/// Type and elements by object, from a foreign reader's dump.
fn objects(dump: &Dump) -> BTreeMap<String, (u32, Elements)> {
    let mut found = BTreeMap::new();
    for (path, key) in dump {
        let parts: Vec<&str> = path.split('\\').collect();
        match parts.as_slice() {
            ["Objects", id, "Description"] => {
                let kind = key.values.iter().find(|value| value.name == "Type");
                let entry: &mut (u32, BTreeMap<_, _>) = found.entry(id.to_lowercase()).or_default();
                entry.0 = kind.unwrap().dword();
            }
            ["Objects", id, "Elements", number] => {
                let value = key.values.iter().find(|value| value.name == "Element");
                let value = value.unwrap();
                let entry: &mut (u32, BTreeMap<_, _>) = found.entry(id.to_lowercase()).or_default();
                let stored = (value.kind, value.data.clone());
                entry.1.insert(number.to_lowercase(), stored);
            }
            _ => {}
        }
    }
    found
}

#[test]
fn foreign_readers_find_the_same_objects_and_elements() {
    let readers = readers();
    let mut elements = 0;
    for path in stores() {
        let (_, store) = read_store(&path);
        assert!(store.notes.is_empty(), "{path:?}: {:?}", store.notes);
        let ours: BTreeMap<_, _> = store
            .objects
            .iter()
            .map(|object| {
                let elements = object.elements.iter().map(|(number, element)| {
                    (number.to_string(), (element.kind, element.data.clone()))
                });
                (braced(object.id), (object.kind.0, elements.collect()))
            })
            .collect();
        elements += store
            .objects
            .iter()
            .map(|object| object.elements.len())
            .sum::<usize>();
        for reader in &readers {
            assert_eq!(objects(&foreign::dump(*reader, &path)), ours, "{path:?}");
        }
    }
    assert!(stores().is_empty() || elements > 500, "{elements}");
}

/// Every element of every real store is understood, and but for devices is written again as it was.
#[test]
fn every_element_is_understood_and_written_as_it_was() {
    for path in stores() {
        let (_, store) = read_store(&path);
        for object in &store.objects {
            for (number, stored) in &object.elements {
                let place = format!("{path:?} {} {number}", braced(object.id));
                let value = Value::decode(*number, stored.kind, &stored.data);
                match &value {
                    Value::Malformed { .. } => panic!("{place}: {value:?}"),
                    Value::Device(Device::Unknown { .. }) => panic!("{place}: {value:?}"),
                    Value::Device(_) => continue,
                    _ => {}
                }
                let (kind, data) = value.encode().unwrap();
                assert_eq!(kind, stored.kind, "{place}");
                // Some writers end texts with two zeros, or store short numbers.
                let (short, long) = match data.len() <= stored.data.len() {
                    true => (&data, &stored.data),
                    false => (&stored.data, &data),
                };
                assert_eq!(short[..], long[..short.len()], "{place}");
                assert!(long[short.len()..].iter().all(|byte| *byte == 0), "{place}");
                if !path.to_string_lossy().contains("winpe") && (number.0 >> 24) & 0xf != 2 {
                    assert_eq!(data, stored.data, "{place}");
                }
            }
        }
    }
}

/// regipy knows the format too: its list of boot entries.
#[test]
fn regipy_finds_the_same_boot_entries() {
    const SCRIPT: &str = "
import json, logging, sys
logging.disable(logging.CRITICAL)
from regipy.registry import RegistryHive
from regipy.plugins.bcd.boot_entry_list import BootEntryListPlugin
plugin = BootEntryListPlugin(RegistryHive(sys.argv[1]), as_json=True)
plugin.run()
json.dump(plugin.entries, sys.stdout, default=str)
";
    if !support::require_python("regipy") {
        return;
    }
    let (mut compared, mut devices) = (0, 0);
    for path in stores() {
        let mut command = std::process::Command::new(foreign::python("regipy"));
        let output = command.args(["-c", SCRIPT]).arg(&path).output().unwrap();
        if !output.status.success() {
            // It expects GPT forms of every device.
            let text = String::from_utf8_lossy(&output.stderr);
            eprintln!(
                "regipy gives up on {path:?}: {}",
                text.lines().last().unwrap_or("")
            );
            continue;
        }
        let entries: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let (_, store) = read_store(&path);
        for entry in entries.as_array().unwrap() {
            let id = parse_guid(entry["guid"].as_str().unwrap()).unwrap();
            let object = store.object(id).unwrap();
            let text = |name: &str| entry[name].as_str().map(str::to_owned);
            assert_eq!(object.text(element::DESCRIPTION), text("name"));
            assert_eq!(object.text(element::PATH), text("image_path"));
            let gpt = |name: &str| parse_guid(entry[name].as_str().unwrap_or_default());
            let device = object.value(element::DEVICE);
            if let (
                Some(Value::Device(Device::Partition(PartitionId::Gpt { partition, disk }))),
                Some(wanted),
            ) = (device, gpt("gpt_partition"))
            {
                assert_eq!(
                    (Some(partition), Some(disk)),
                    (Some(wanted), gpt("gpt_disk"))
                );
                devices += 1;
            }
            compared += 1;
        }
    }
    let enough = compared > 10 && devices > 10;
    assert!(
        stores().is_empty() || enough,
        "only {compared} entries, {devices} devices"
    );
}

#[test]
fn a_live_store_is_listed_as_bcdedit_lists_it() {
    let Some(path) = support::data("bcd/esp-w10-regipy") else {
        return;
    };
    let (_, store) = read_store(&path);
    // Partition 3 of its disk, as if the disk were there.
    let windows = parse_guid("{8e0f2c38-e4ea-47ba-b7fc-9d8c74dccf0b}").unwrap();
    let number = |id: PartitionId| match id {
        PartitionId::Gpt { partition, .. } if partition == windows => Some(3),
        _ => None,
    };
    let view = View {
        store: &store,
        verbose: false,
        number: &number,
    };
    let text: String = store
        .select(&Selection::Active)
        .iter()
        .map(|object| view.paragraph(object))
        .collect();
    assert_eq!(
        text,
        r"
Windows Boot Manager
--------------------
identifier              {bootmgr}
device                  partition={36be3955-63bf-4068-a6ab-00195cca3a22} of disk {0b2394a9-095e-487d-8d48-719ecd4d78ca}
path                    \EFI\Microsoft\Boot\bootmgfw.efi
description             Windows Boot Manager
locale                  en-US
inherit                 {globalsettings}
default                 {default}
resumeobject            {733b62e4-f608-11eb-825c-c112f60133ab}
displayorder            {default}
toolsdisplayorder       {memdiag}
timeout                 30

Windows Boot Loader
-------------------
identifier              {default}
device                  partition=3
path                    \Windows\system32\winload.efi
description             Windows 10
locale                  en-US
inherit                 {bootloadersettings}
recoverysequence        {733b62e6-f608-11eb-825c-c112f60133ab}
displaymessageoverride  Recovery
recoveryenabled         Yes
isolatedcontext         Yes
allowedinmemorysettings 0x15000075
osdevice                partition=3
systemroot              \Windows
resumeobject            {733b62e4-f608-11eb-825c-c112f60133ab}
nx                      OptIn
bootmenupolicy          Standard
"
    );
    let headings: Vec<String> = store
        .select(&Selection::All)
        .iter()
        .map(|object| coldfix::bcd::text::heading(object))
        .collect();
    assert_eq!(
        headings,
        [
            "Firmware Boot Manager",
            "Windows Boot Manager",
            "Firmware Application (101fffff)",
            "Firmware Application (101fffff)",
            "Firmware Application (101fffff)",
            "Windows Boot Loader",
            "Windows Boot Loader",
            "Resume from Hibernate",
            "Windows Memory Tester",
            "EMS Settings",
            "Debugger Settings",
            "RAM Defects",
            "Global Settings",
            "Boot Loader Settings",
            "Hypervisor Settings",
            "Resume Loader Settings",
            "Device options",
        ]
    );
    let recovery = parse_guid("{733b62e6-f608-11eb-825c-c112f60133ab}").unwrap();
    let text = view.paragraph(store.object(recovery).unwrap());
    assert!(
        text.contains(
            r"ramdisk=[{6cdfcd69-de75-4490-8f99-5a84bf264917} of disk {0b2394a9-095e-487d-8d48-719ecd4d78ca}]\Recovery\WindowsRE\Winre.wim,{733b62e7-f608-11eb-825c-c112f60133ab}"
        ),
        "{text}"
    );
    assert!(!text.contains("custom:46000010"), "{text}");
}

/// Type and value of the element that two foreign readers find; they agree.
fn foreign_element(file: &Path, key: &str) -> Option<(u32, Vec<u8>)> {
    let found: Vec<_> = readers()
        .into_iter()
        .map(|reader| {
            let value = foreign::value(reader, file, key, "Element");
            value.map(|value| (value.kind, value.data))
        })
        .collect();
    assert!(found.windows(2).all(|pair| pair[0] == pair[1]), "{key}");
    found.into_iter().next().flatten()
}

/// The serial console set up, safe mode left, an object made and one deleted, in every real store; then the
/// differences that foreign readers find are these and no others.
#[test]
fn edits_of_every_store_read_back_elsewhere() {
    if readers().len() < 2 {
        return;
    }
    let folder = support::temporary();
    for path in stores() {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let (mut hive, store) = read_store(&path);
        let loader = store
            .default_entry()
            .unwrap_or_else(|| panic!("{name}: no default entry"))
            .id;
        if store.object(EMS_SETTINGS).is_none() {
            create_object(&mut hive, EMS_SETTINGS, ObjectType::INHERITED, NOW).unwrap();
        }
        let wanted = [
            (BOOTMGR, element::DISPLAY_BOOT_MENU, Value::Boolean(true)),
            (BOOTMGR, element::TIMEOUT, Value::Integer(5)),
            (BOOTMGR, element::BOOT_EMS, Value::Boolean(true)),
            (loader, element::EMS, Value::Boolean(true)),
            (EMS_SETTINGS, element::EMS_PORT, Value::Integer(1)),
            (
                EMS_SETTINGS,
                element::EMS_BAUD_RATE,
                Value::Integer(115_200),
            ),
            (loader, element::DESCRIPTION, Value::Text("Größe 10".into())),
        ];
        for (object, element, value) in &wanted {
            let (kind, data) = value.encode().unwrap();
            set_element(&mut hive, *object, *element, kind, &data, NOW).unwrap();
        }
        let had_locale = delete_element(&mut hive, loader, ElementType(0x1200_0005), NOW).unwrap();
        let new = parse_guid("{c01df1c5-0000-4000-8000-00000000c01d}").unwrap();
        create_object(&mut hive, new, ObjectType::DEVICE_OPTIONS, NOW).unwrap();
        let memdiag = WELL_KNOWN.iter().find(|known| known.name == "memdiag");
        let memdiag = memdiag.unwrap().id;
        let had_memdiag = delete_object(&mut hive, memdiag, NOW).unwrap();
        assert_eq!(had_memdiag, store.object(memdiag).is_some());
        hive.seal(hive.base_block().primary_sequence + 2, NOW)
            .unwrap();
        assert!(hive.check().iter().all(|fault| !fault.fatal), "{name}");

        let file = folder.path().join(&name);
        std::fs::write(&file, hive.bytes()).unwrap();
        for (object, element, value) in &wanted {
            let key = element_key(*object, *element);
            let expected = value.encode();
            assert_eq!(foreign_element(&file, &key), expected, "{name} {key}");
            let (kind, data) = expected.unwrap();
            let opinion = second_opinion(hive.bytes(), &key, Some("Element")).unwrap();
            assert_eq!(
                opinion,
                SecondOpinion::Value {
                    kind: Some(kind),
                    data
                },
                "{name} {key}"
            );
        }
        for reader in readers() {
            let before = objects(&foreign::dump(reader, &path));
            let mut after = objects(&foreign::dump(reader, &file));
            assert_eq!(
                after.remove(&braced(new)),
                Some((0x3000_0000, BTreeMap::new()))
            );
            assert!(!after.contains_key(&braced(memdiag)), "{name}");
            for (id, (kind, elements)) in &before {
                if *id == braced(memdiag) {
                    continue;
                }
                let (new_kind, new_elements) = after.get(id).unwrap();
                assert_eq!(kind, new_kind);
                let touched = |number: &str| {
                    let own = wanted.iter();
                    own.clone().any(|(object, element, _)| {
                        braced(*object) == *id && element.to_string() == number
                    }) || (had_locale && *id == braced(loader) && number == "12000005")
                };
                for number in elements.keys().chain(new_elements.keys()) {
                    if !touched(number) {
                        assert_eq!(
                            elements.get(number),
                            new_elements.get(number),
                            "{name} {id}"
                        );
                    }
                }
            }
            let gone = element_key(loader, ElementType(0x1200_0005));
            assert!(foreign::dump_key(reader, &file, &gone).is_empty());
            assert!(foreign::dump_key(reader, &file, &object_key(memdiag)).is_empty());
        }
    }
}

/// The binary lists every real store as hivexsh's library does and edits it, on an ESP and in a folder, with its old log
/// beside it; hivexsh and regipy read back what was set and find nothing else changed.
#[test]
fn every_store_is_listed_and_edited_by_the_binary() {
    if !boot_store::tools() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture("gpt-broken.raw", folder.path()) else {
        return;
    };
    let esp = boot_store::esp(&disk, folder.path());
    let run = |words: &[&str], target: &Path| {
        let mut coldfix = support::coldfix(state.path());
        let at = usize::from(words[0] == "bcd") + 1;
        let output = coldfix
            .args(&words[..at])
            .arg(target)
            .args(&words[at..])
            .output();
        let output = output.unwrap();
        support::ends(&output, 0);
        output.stdout
    };
    for store in stores() {
        let name = store.file_name().unwrap().to_string_lossy().into_owned();
        let log = store.with_extension("LOG");
        let log = log.exists().then_some(log);
        let before = boot_store::dump(&store);
        let on_esp = folder.path().join(format!("{name}.esp"));
        support::copy(&esp, &on_esp);
        let in_folder = folder.path().join(format!("{name}.folder"));
        std::fs::create_dir_all(in_folder.join("Boot")).unwrap();
        let copy = in_folder.join("Boot/BCD");
        std::fs::write(&copy, std::fs::read(&store).unwrap()).unwrap();
        boot_store::put(&on_esp, 0, &store, "BCD");
        if let Some(log) = &log {
            boot_store::put(&on_esp, 0, log, "BCD.LOG");
            let beside = in_folder.join("Boot/BCD.LOG");
            std::fs::write(beside, std::fs::read(log).unwrap()).unwrap();
        }
        for target in [&on_esp, &in_folder] {
            let read = || match *target == on_esp {
                true => boot_store::on_esp(target, folder.path()),
                false => copy.clone(),
            };
            let original = support::sha256(&read());
            let words = ["bcd", "enum", "all", "-v", "--format", "json"];
            let listed = run(&words, target);
            let listed: serde_json::Value = serde_json::from_slice(&listed).unwrap();
            let listed = listed["stores"][0]["objects"].as_array().unwrap().iter();
            let listed: BTreeMap<String, usize> = listed
                .map(|object| {
                    let elements = object["elements"].as_array().unwrap().len();
                    (object["guid"].as_str().unwrap().to_owned(), elements)
                })
                .collect();
            let theirs = objects(&before).into_iter();
            let theirs: BTreeMap<String, usize> = theirs
                .map(|(id, (_, elements))| (id, elements.len()))
                .collect();
            assert_eq!(listed, theirs, "{name}");

            let (_, ours) = read_store(&store);
            let loader = braced(ours.default_entry().unwrap().id);
            let set = |object: &str, element: &str, value: &str| {
                run(&["bcd", "set", object, element, value, "--yes"], target);
            };
            set("{bootmgr}", "displaybootmenu", "yes");
            set("{bootmgr}", "timeout", "7");
            set(&loader, "ems", "on");
            let edited = read();
            let timeout = [7, 0, 0, 0, 0, 0, 0, 0];
            boot_store::assert_element(&edited, boot_store::MANAGER, "26000020", &[1]);
            boot_store::assert_element(&edited, boot_store::MANAGER, "25000004", &timeout);
            boot_store::assert_element(&edited, &loader, "260000b0", &[1]);
            let changed = boot_store::changed(&before, &boot_store::dump(&edited));
            let expected = [
                format!("{} 25000004:", boot_store::MANAGER),
                format!("{} 26000020:", boot_store::MANAGER),
                format!("{loader} 260000b0:"),
            ];
            let others: Vec<_> = changed
                .iter()
                .filter(|line| {
                    let line = line.to_lowercase();
                    !expected.iter().any(|start| line.starts_with(start))
                })
                .collect();
            assert!(others.is_empty(), "{name}: {others:?}");
            for _ in 0..3 {
                run(&["undo", "--yes"], target);
            }
            assert_eq!(support::sha256(&read()), original, "{name}");
        }
    }
}
