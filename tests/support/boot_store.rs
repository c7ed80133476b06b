// SPDX-License-Identifier: GPL-2.0-or-later
//! The boot configuration of a disk of `scripts/make-fixtures`, as programs that are not ours read it.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::Command;

use super::foreign::{self, Dump, Reader};
use super::{program, run};

const MIB: u64 = 1 << 20;
/// Where the ESP or the System Reserved volume begins: the first partition.
pub const START: u64 = MIB;
const ESP_LEN: u64 = 34 * MIB;
/// The store on an ESP.
pub const ESP_STORE: &str = "EFI/Microsoft/Boot/BCD";
/// The boot manager.
pub const MANAGER: &str = "{9dea862c-5cdd-4e70-acc1-f32b344d4795}";
/// The EMS settings.
pub const EMS: &str = "{0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9}";
/// The loader that starts the first Windows.
pub const LOADER: &str = "{c01df1c5-b007-11ee-8000-000000000001}";

/// What reading a store needs.
pub fn tools() -> bool {
    let programs = ["fsck.fat", "mcopy", "icat", "ifind", "sgdisk", "hivexsh"];
    programs.into_iter().all(super::require)
        && [Reader::Hivex, Reader::PythonRegistry]
            .into_iter()
            .all(Reader::available)
        && super::require_python("regipy")
}

/// The ESP of a raw disk on its own, which fsck.fat finds sound.
pub fn esp(disk: &Path, folder: &Path) -> PathBuf {
    let cut = folder.join("esp");
    foreign::cut_volume(disk, START, ESP_LEN, &cut);
    run(program("fsck.fat").args(["-n", "-v"]).arg(&cut));
    cut
}

fn mcopy() -> Command {
    let mut command = program("mcopy");
    command.env("MTOOLS_SKIP_CHECK", "1").arg("-o");
    command
}

/// Puts a file beside the store, or in its place, on the ESP that begins at `start` of an image.
pub fn put(image: &Path, start: u64, file: &Path, name: &str) {
    let folder = ESP_STORE.trim_end_matches("BCD");
    run(mcopy()
        .arg("-i")
        .arg(format!("{}@@{start}", image.display()))
        .arg(file)
        .arg(format!("::/{folder}{name}")));
}

/// Deletes the store of the ESP that begins at `start` of an image.
pub fn delete(image: &Path, start: u64) {
    run(program("mdel")
        .env("MTOOLS_SKIP_CHECK", "1")
        .arg("-i")
        .arg(format!("{}@@{start}", image.display()))
        .arg(format!("::/{ESP_STORE}")));
}

/// Takes the store, or a file beside it, out of the ESP that begins at `start` of an image.
pub fn get(image: &Path, start: u64, name: &str, target: &Path) {
    let folder = ESP_STORE.trim_end_matches("BCD");
    run(mcopy()
        .arg("-i")
        .arg(format!("{}@@{start}", image.display()))
        .arg(format!("::/{folder}{name}"))
        .arg(target));
}

/// The store of an ESP on its own, in a file.
pub fn on_esp(esp: &Path, folder: &Path) -> PathBuf {
    let file = folder.join("extracted-BCD");
    get(esp, 0, "BCD", &file);
    file
}

/// The store of a raw disk, in a file: from an ESP by mtools, from NTFS by sleuthkit.
pub fn extract(disk: &Path, folder: &Path, uefi: bool) -> PathBuf {
    if uefi {
        return on_esp(&esp(disk, folder), folder);
    }
    let file = folder.join("extracted-BCD");
    std::fs::write(&file, foreign::icat(disk, START, "Boot/BCD")).expect("write the store");
    file
}

/// What hivex and python-registry find; they agree.
pub fn dump(file: &Path) -> Dump {
    let hivex = foreign::dump(Reader::Hivex, file);
    let other = foreign::dump(Reader::PythonRegistry, file);
    assert_eq!(foreign::differences(&hivex, &other), [""; 0]);
    hivex
}

/// The elements that two dumps differ in: `object element: bytes`, or `object element: none`.
pub fn changed(before: &Dump, after: &Dump) -> Vec<String> {
    let mut found = Vec::new();
    let element = |dump: &Dump, path: &str| {
        let key = dump.get(path)?;
        let value = key.values.iter().find(|value| value.name == "Element")?;
        Some(value.data.clone())
    };
    let paths: BTreeSet<&String> = before.keys().chain(after.keys()).collect();
    for path in paths {
        if element(before, path) != element(after, path) {
            let short = path.replace("Objects\\", "").replace("\\Elements\\", " ");
            let value = element(after, path).map_or("none".to_owned(), |data| foreign::hex(&data));
            found.push(format!("{short}: {value}"));
        } else if before.contains_key(path) != after.contains_key(path) {
            found.push(format!("{path} made or gone"));
        }
    }
    found
}

/// The five settings of Microsoft's procedure, as the store keeps them.
pub fn five(loader: &str) -> Vec<String> {
    let mut lines = vec![
        format!("{EMS} 15000022: 0100000000000000"),
        format!("{EMS} 15000023: 00c2010000000000"),
        format!("{MANAGER} 16000020: 01"),
        format!("{MANAGER} 25000004: 0500000000000000"),
        format!("{MANAGER} 26000020: 01"),
        format!("{loader} 260000b0: 01"),
    ];
    lines.sort();
    lines
}

/// The same settings one by one, in the words of hivexsh and regipy.
pub fn assert_five(file: &Path, loader: &str) {
    for (object, element, data) in [
        (MANAGER, "26000020", &[1][..]),
        (MANAGER, "25000004", &[5, 0, 0, 0, 0, 0, 0, 0]),
        (MANAGER, "16000020", &[1]),
        (loader, "260000b0", &[1]),
        (EMS, "15000022", &[1, 0, 0, 0, 0, 0, 0, 0]),
        (EMS, "15000023", &[0, 0xc2, 1, 0, 0, 0, 0, 0]),
    ] {
        assert_element(file, object, element, data);
    }
}

/// hivexsh and regipy find a binary element with these bytes.
#[track_caller]
pub fn assert_element(file: &Path, object: &str, element: &str, data: &[u8]) {
    let key = format!(r"Objects\{object}\Elements\{element}");
    let list: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let expected = format!("\"Element\"=hex(3):{}", list.join(","));
    assert_eq!(foreign::hivexsh(file, &key), expected, "hivexsh: {key}");
    assert_eq!(
        foreign::regipy_bytes(file, &key, "Element").as_deref(),
        Some(data),
        "regipy: {key}"
    );
}
