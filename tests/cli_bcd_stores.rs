// SPDX-License-Identifier: GPL-2.0-or-later
//! Which store is meant where there are several, what a volume beside it may be like, and stores with a log to apply.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice
)]

mod bcd_support;
mod support;
#[path = "hive_logs/writer.rs"]
#[allow(dead_code, clippy::cast_possible_truncation)]
mod writer;

use std::io::{Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};

use bcd_support::{coldfix, json, mcopy};
use coldfix::bcd::change::set_element;
use coldfix::bcd::format::{BOOTMGR, element};
use coldfix::bcd::{Store, Value};
use coldfix::hive::Hive;
use support::boot_store::{ESP_STORE, LOADER, MANAGER, START, changed, dump, extract, five, tools};
use support::ends;

const MIB: u64 = 1 << 20;

fn write_at(disk: &Path, offset: u64, bytes: &[u8]) {
    let mut file = std::fs::OpenOptions::new().write(true).open(disk).unwrap();
    file.seek(SeekFrom::Start(offset)).unwrap();
    file.write_all(bytes).unwrap();
}

/// Without the line breaks of a report's notes.
fn flat(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

fn mmd(image: &Path, folders: &[&str]) {
    support::run(
        support::program("mmd")
            .env("MTOOLS_SKIP_CHECK", "1")
            .arg("-i")
            .arg(format!("{}@@{START}", image.display()))
            .args(folders),
    );
}

/// An MBR disk whose active partition is FAT and has both stores, as `bcdboot /f ALL` makes it. Both name its Windows.
fn with_both_stores(folder: &Path) -> Option<PathBuf> {
    let disk = support::fixture("mbr-broken.raw", folder)?;
    let store = extract(&disk, folder, false);
    let fat = folder.join("fat");
    let file = std::fs::File::create(&fat).unwrap();
    file.set_len(8 * MIB).unwrap();
    support::run(
        support::program("mkfs.fat")
            .args(["-F", "12", "-n", "SYSTEM"])
            .arg(&fat),
    );
    write_at(&disk, START, &std::fs::read(&fat).unwrap());
    // The partition's type: FAT32 with LBA.
    write_at(&disk, 446 + 4, &[0x0c]);
    mmd(
        &disk,
        &[
            "::/Boot",
            "::/EFI",
            "::/EFI/Microsoft",
            "::/EFI/Microsoft/Boot",
        ],
    );
    for path in ["::/Boot/BCD", "::/EFI/Microsoft/Boot/BCD"] {
        mcopy(&[store.to_str().unwrap(), path], &disk);
    }
    Some(disk)
}

fn stored(disk: &Path, path: &str, folder: &Path) -> PathBuf {
    let file = folder.join(path.replace('/', "-"));
    mcopy(&[&format!("::/{path}"), file.to_str().unwrap()], disk);
    file
}

#[test]
fn of_two_stores_on_an_active_fat_volume_none_is_guessed() {
    if !tools() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = with_both_stores(folder.path()) else {
        return;
    };
    let original = support::sha256(&disk);
    let run = |arguments: &[&str], code: i32| ends(&coldfix(state.path(), arguments, &disk), code);
    let text = run(&["bcd", "enum"], 0);
    assert_eq!(
        text.matches("Windows Boot Manager\n---").count(),
        2,
        "{text}"
    );
    assert!(text.contains("none of them is taken"), "{text}");
    for arguments in [
        &["bcd", "set", "{bootmgr}", "timeout", "5", "--yes"][..],
        &["bcd", "delete", "{memdiag}", "-f", "--yes"],
        &["repair", "--fix", "serial-console", "--yes"],
    ] {
        let text = run(arguments, 3);
        assert!(text.contains("choose one with --bcd"), "{text}");
    }
    let text = run(&["diagnose"], 1);
    assert!(text.contains("[boot.several-stores]"), "{text}");
    assert_eq!(support::sha256(&disk), original);

    // Named, each of them is changed alone.
    for (named, path, other) in [
        (r"1:\Boot\BCD", "Boot/BCD", ESP_STORE),
        (r"1:\EFI\Microsoft\Boot\BCD", ESP_STORE, "Boot/BCD"),
    ] {
        let before = [path, other].map(|path| dump(&stored(&disk, path, folder.path())));
        let fix = ["repair", "--fix", "serial-console", "--bcd", named, "--yes"];
        run(&fix, 0);
        let after = [path, other].map(|path| dump(&stored(&disk, path, folder.path())));
        assert_eq!(changed(&before[0], &after[0]), five(LOADER), "{named}");
        assert_eq!(changed(&before[1], &after[1]), [""; 0], "{named}");
        run(&["undo", "--yes"], 0);
        assert_eq!(support::sha256(&disk), original);
    }

    // Only one of them names a loader for this Windows: that one, and said why.
    let away = [
        "bcd",
        "set",
        "{default}",
        "systemroot",
        r"\Other",
        "--bcd",
        r"1:\Boot\BCD",
        "--yes",
    ];
    run(&away, 0);
    let text = run(&["bcd", "enum"], 0);
    assert!(
        text.contains(r"\EFI\Microsoft\Boot\BCD on partition 1 is taken"),
        "{text}"
    );
    assert!(text.contains(r"its systemroot is \Other"), "{text}");
    let listing = json(&coldfix(
        state.path(),
        &["bcd", "enum", "--format", "json"],
        &disk,
    ));
    let stores = listing["stores"].as_array().unwrap();
    let chosen: Vec<bool> = stores.iter().map(|store| store["chosen"] == true).collect();
    assert_eq!(chosen, [true, false], "{listing}");
    let text = run(&["bcd", "set", "{bootmgr}", "timeout", "5", "--yes"], 0);
    assert!(text.contains("is taken"), "{text}");
    let text = run(&["repair", "--fix", "serial-console", "--yes"], 0);
    assert!(flat(&text).contains("partition 1 is taken"), "{text}");
    let after = dump(&stored(&disk, ESP_STORE, folder.path()));
    let timeout = format!("Objects\\{MANAGER}\\Elements\\25000004");
    assert_eq!(after[&timeout].values[0].data[0], 5);
}

/// GPT's attribute for other systems' loaders does not bring a BIOS to Windows.
#[test]
fn on_gpt_a_left_over_bios_store_is_reached_by_nobody() {
    if !tools() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture("gpt-broken.raw", folder.path()) else {
        return;
    };
    let store = extract(&disk, folder.path(), true);
    mmd(&disk, &["::/Boot"]);
    mcopy(&[store.to_str().unwrap(), "::/Boot/BCD"], &disk);
    support::run(support::program("sgdisk").args(["-A", "1:set:2", disk.to_str().unwrap()]));
    let old = dump(&stored(&disk, "Boot/BCD", folder.path()));
    let fix = ["repair", "--fix", "serial-console", "--yes"];
    let text = ends(&coldfix(state.path(), &fix, &disk), 0);
    assert!(
        flat(&text).contains("from which no BIOS starts Windows"),
        "{text}"
    );
    let text = ends(&coldfix(state.path(), &["diagnose"], &disk), 1);
    assert!(!text.contains("[boot."), "{text}");
    assert_eq!(
        changed(&old, &dump(&stored(&disk, ESP_STORE, folder.path()))),
        five(LOADER)
    );
    let left = dump(&stored(&disk, "Boot/BCD", folder.path()));
    assert_eq!(changed(&old, &left), [""; 0]);
}

/// The volume of Windows is not written: what its journal is like does not matter.
#[test]
fn an_unclean_windows_volume_does_not_block_its_boot_configuration() {
    if !tools() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let (Some(disk), Some(unclean)) = (
        support::fixture("gpt-broken.raw", folder.path()),
        support::fixture("bad/unclean-log.raw", folder.path()),
    ) else {
        return;
    };
    write_at(&disk, 36 * MIB, &std::fs::read(unclean).unwrap());
    let original = support::sha256(&disk);
    let before = dump(&extract(&disk, folder.path(), true));
    let run = |arguments: &[&str], code: i32| ends(&coldfix(state.path(), arguments, &disk), code);
    for arguments in [
        &["repair", "--fix", "serial-console", "--yes"][..],
        &[
            "repair",
            "--fix",
            "recovery-loop",
            "--discard-journal",
            "--yes",
        ],
        &["bcd", "set", "{bootmgr}", "timeout", "5", "--yes"],
    ] {
        run(arguments, 0);
        assert_ne!(
            changed(&before, &dump(&extract(&disk, folder.path(), true))),
            [""; 0]
        );
        run(&["undo", "--yes"], 0);
        assert_eq!(support::sha256(&disk), original);
    }
    run(&["bcd", "set", "{bootmgr}", "timeout", "5", "--yes"], 0);
    run(&["undo", "--revert", "--yes"], 0);
    // With an edit of the registry beside it, or that alone, Windows' volume is asked.
    for arguments in [
        &["repair", "--fix", "serial-console", "--fix", "tls", "--yes"][..],
        &["repair", "--fix", "tls", "--yes"],
    ] {
        let text = run(arguments, 3);
        assert!(text.contains("$LogFile"), "{text}");
    }
}

/// A value that nt-hive cannot read in a hive of this version: said, and not counted as confirmed.
#[test]
fn what_one_reader_alone_has_confirmed_is_told() {
    if !tools() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture("gpt-broken.raw", folder.path()) else {
        return;
    };
    let original = support::sha256(&disk);
    let long = "x".repeat(9000);
    let set = ["bcd", "set", "{default}", "description", &long, "--yes"];
    let text = ends(&coldfix(state.path(), &set, &disk), 0);
    assert!(
        flat(&text).contains("read back by one reader only"),
        "{text}"
    );
    let delete = ["bcd", "delete", "{default}", "description", "--yes"];
    let text = ends(&coldfix(state.path(), &delete, &disk), 0);
    assert!(!text.contains("one reader only"), "{text}");
    for _ in 0..2 {
        ends(&coldfix(state.path(), &["undo", "--yes"], &disk), 0);
    }
    assert_eq!(support::sha256(&disk), original);
}

/// A live store that was not closed: its newest settings are in the log alone, as after a power cut.
#[test]
fn a_real_store_with_a_log_to_apply_is_shown_and_changed_as_of_the_log() {
    let Some(real) = support::data("bcd/esp-w10-multiboot") else {
        return;
    };
    if !tools() {
        return;
    }
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(disk) = support::fixture("gpt-broken.raw", folder.path()) else {
        return;
    };
    let old = std::fs::read(real).unwrap();
    let mut hive = Hive::parse(old.clone()).unwrap();
    let loader = Store::read(&hive).unwrap().default_entry().unwrap().id;
    for (object, element, value) in [
        (BOOTMGR, element::TIMEOUT, Value::Integer(77)),
        (
            loader,
            element::DESCRIPTION,
            Value::Text("From the log".into()),
        ),
    ] {
        let (kind, data) = value.encode().unwrap();
        set_element(&mut hive, object, element, kind, &data, 1).unwrap();
    }
    let new = hive.bytes();
    let page = writer::PAGE;
    let size = new.len() - page;
    let pages: Vec<(u32, Vec<u8>)> = (0..size / page)
        .map(|index| (index * page, &new[page + index * page..][..page]))
        .filter(|(offset, bytes)| old.get(page + offset..page + offset + page) != Some(*bytes))
        .map(|(offset, bytes)| (u32::try_from(offset).unwrap(), bytes.to_vec()))
        .collect();
    assert!(!pages.is_empty());
    let sequence = hive.base_block().secondary_sequence + 1;
    let entry = writer::entry_of(sequence, u32::try_from(size).unwrap(), 0, &pages);
    let log = writer::new_log(sequence, &[entry]);
    let mut dirty = old.clone();
    coldfix::hive::base_block::set_sequences(&mut dirty, sequence, sequence - 1).unwrap();
    for (name, bytes) in [
        ("BCD", &dirty),
        ("BCD.LOG1", &log),
        ("BCD.LOG2", &Vec::new()),
    ] {
        let file = folder.path().join(name);
        std::fs::write(&file, bytes).unwrap();
        let path = format!("::/EFI/Microsoft/Boot/{name}");
        mcopy(&[file.to_str().unwrap(), &path], &disk);
    }
    support::run(support::program("sgdisk").args([
        "-U",
        "5541e87d-91a5-4f2b-ad43-a0345c199e9b",
        "-u",
        "1:1c6ab89c-bcbf-4abe-8593-618e4d2f5811",
        "-u",
        "3:9d4a7cb0-ab9d-4d71-961f-50f1d9c9252f",
        disk.to_str().unwrap(),
    ]));
    let original = support::sha256(&disk);
    let run = |arguments: &[&str], code: i32| ends(&coldfix(state.path(), arguments, &disk), code);
    let text = run(&["bcd", "enum"], 0);
    assert!(text.contains("timeout                 77"), "{text}");
    assert!(
        text.contains("description             From the log"),
        "{text}"
    );
    assert_eq!(support::sha256(&disk), original);

    let text = run(&["repair", "--fix", "serial-console", "--yes"], 0);
    assert!(text.contains("BCD was not closed cleanly"), "{text}");
    let loader = format!("{{{loader}}}");
    let after = dump(&extract(&disk, folder.path(), true));
    let before = {
        let file = folder.path().join("closed");
        hive.seal(sequence + 2, 1).unwrap();
        std::fs::write(&file, hive.bytes()).unwrap();
        dump(&file)
    };
    assert_eq!(changed(&before, &after), five(&loader));
    let emptied =
        std::fs::read(stored(&disk, "EFI/Microsoft/Boot/BCD.LOG1", folder.path())).unwrap();
    assert_eq!(emptied.len(), log.len());
    assert!(emptied[..512].iter().all(|byte| *byte == 0));
    let text = run(&["bcd", "enum"], 0);
    assert!(
        text.contains("description             From the log"),
        "{text}"
    );
    assert!(text.contains("timeout                 5"), "{text}");
    run(&["undo", "--yes"], 0);
    assert_eq!(support::sha256(&disk), original);
}
