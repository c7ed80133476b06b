// SPDX-License-Identifier: GPL-2.0-or-later
//! Questions to programs that are not ours: what a hive holds, what a file on an NTFS volume holds.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use super::{program, root, run};

/// A value as a foreign reader sees it.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Value {
    /// The value's name; empty for the unnamed one.
    pub name: String,
    /// The registry type, any 32-bit number.
    pub kind: u32,
    /// The data, as stored.
    pub data: Vec<u8>,
}

impl Value {
    /// The data as a little-endian number, for a DWORD.
    pub fn dword(&self) -> u32 {
        u32::from_le_bytes(
            self.data
                .as_slice()
                .try_into()
                .expect("four bytes of a DWORD"),
        )
    }

    /// The data as text, without the terminator.
    pub fn text(&self) -> String {
        let units: Vec<u16> = self
            .data
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        String::from_utf16(&units)
            .expect("UTF-16")
            .trim_end_matches('\0')
            .to_owned()
    }
}

/// A key as a foreign reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    /// Its class name; always None from readers that do not tell it (hivex).
    pub class: Option<String>,
    /// Its values, sorted.
    pub values: Vec<Value>,
}

/// A whole hive, by key path. The root's path is empty, parts are joined by `\`.
pub type Dump = BTreeMap<String, Key>;

/// Foreign readers that give a value's type and raw data.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reader {
    /// libguestfs's library. Quick: 0.8 s for an 11 MiB hive.
    Hivex,
    /// Willi Ballenthin's reader. 4 s for an 11 MiB hive.
    PythonRegistry,
    /// Fox-IT's reader. 10 s for an 11 MiB hive.
    Dissect,
    /// Joachim Metz's library. Quick.
    Libregf,
}

impl Reader {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self::Hivex,
        Self::PythonRegistry,
        Self::Dissect,
        Self::Libregf,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Hivex => "hivex",
            Self::PythonRegistry => "python-registry",
            Self::Dissect => "dissect",
            Self::Libregf => "libregf",
        }
    }

    fn module(self) -> &'static str {
        match self {
            Self::Hivex => "hivex",
            Self::PythonRegistry => "Registry",
            Self::Dissect => "dissect.regf",
            Self::Libregf => "pyregf",
        }
    }

    /// True when it is there; counted as skipped otherwise.
    pub fn available(self) -> bool {
        super::require_python(self.module())
    }
}

/// What libregf tells of a value's data: of a text, nothing behind the first terminator.
pub fn as_libregf(kind: u32, data: &[u8]) -> &[u8] {
    let mut pairs = data.chunks_exact(2);
    match (kind, pairs.position(|pair| pair == [0, 0])) {
        (1 | 2, Some(end)) => &data[..end * 2 + 2],
        _ => data,
    }
}

/// The Python that has `module`: Debian's for `hivex` and `samba`, the one of `scripts/install-oracles` for all else.
pub fn python(module: &str) -> PathBuf {
    if ["hivex", "samba"].contains(&module) {
        return PathBuf::from("/usr/bin/python3");
    }
    match std::env::var_os("COLDFIX_ORACLES") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => root().join("target/oracles"),
    }
    .join("bin/python")
}

fn read_hive(reader: Reader, hive: &Path, key: Option<&str>) -> Dump {
    let mut command = Command::new(python(reader.module()));
    command
        .arg(root().join("tests/support/read_hive.py"))
        .arg(reader.name())
        .arg(hive)
        .args(key);
    let output = run(&mut command);
    let mut dump = Dump::new();
    for line in String::from_utf8(output.stdout).expect("JSON").lines() {
        let entry: serde_json::Value = serde_json::from_str(line).expect("a line of JSON");
        let mut values: Vec<Value> = entry["values"]
            .as_array()
            .expect("values")
            .iter()
            .map(|value| Value {
                name: value[0].as_str().expect("name").to_owned(),
                kind: u32::try_from(value[1].as_u64().expect("type")).expect("32 bits"),
                data: from_hex(value[2].as_str().expect("data")),
            })
            .collect();
        values.sort();
        let class = entry["class"].as_str().map(str::to_owned);
        let path = entry["key"].as_str().expect("key").to_owned();
        let before = dump.insert(path.clone(), Key { class, values });
        assert!(before.is_none(), "{reader:?} lists the key {path} twice");
    }
    dump
}

fn from_hex(text: &str) -> Vec<u8> {
    (0..text.len())
        .step_by(2)
        .map(|at| u8::from_str_radix(&text[at..at + 2], 16).expect("hexadecimal"))
        .collect()
}

/// Everything a reader finds in a hive.
pub fn dump(reader: Reader, hive: &Path) -> Dump {
    read_hive(reader, hive, None)
}

/// Everything a reader finds in one key and below it, with full paths. Empty when the key is not there.
pub fn dump_key(reader: Reader, hive: &Path, key: &str) -> Dump {
    read_hive(reader, hive, Some(key))
}

/// One value, read by one reader. Names are matched without case.
pub fn value(reader: Reader, hive: &Path, key: &str, name: &str) -> Option<Value> {
    dump_key(reader, hive, key)
        .into_iter()
        .find(|(path, _)| path.eq_ignore_ascii_case(key))?
        .1
        .values
        .into_iter()
        .find(|value| value.name.eq_ignore_ascii_case(name))
}

/// One value as hivex reads it.
pub fn hivex_value(hive: &Path, key: &str, name: &str) -> Option<Value> {
    value(Reader::Hivex, hive, key, name)
}

/// One value as `hivexget` prints it.
pub fn hivexget(hive: &Path, key: &str, name: &str) -> String {
    let output = run(program("hivexget")
        .arg(hive)
        .arg(format!("\\{key}"))
        .arg(name));
    String::from_utf8(output.stdout)
        .expect("text")
        .trim_end()
        .to_owned()
}

/// A key and what is below it as chntpw's `reged` exports it: .reg text, values in its own order.
pub fn reged_export(hive: &Path, key: &str) -> String {
    let folder = super::temporary();
    let target = folder.path().join("export.reg");
    // reged ends with 0 or 2 ("dirty, nothing saved") on success: judge by the file.
    program("reged")
        .args(["-x"])
        .arg(hive)
        .args(["HIVE", &format!("\\{key}")])
        .arg(&target)
        .output()
        .expect("run reged");
    String::from_utf8_lossy(&std::fs::read(&target).expect("the export of reged")).into_owned()
}

/// What regipy prints of a key and what is below it: values as it decodes them.
pub fn regipy_dump(hive: &Path, key: &str) -> String {
    let mut command = Command::new(python("regipy"));
    command
        .arg(root().join("tests/support/read_hive.py"))
        .arg("regipy")
        .arg(hive)
        .arg(key);
    String::from_utf8(run(&mut command).stdout).expect("JSON")
}

/// The values of a key, as `hivexsh` lists them. Every key starts from the root.
pub fn hivexsh(hive: &Path, key: &str) -> String {
    let folder = super::temporary();
    let script = folder.path().join("script");
    std::fs::write(&script, format!("cd \\{key}\nlsval\n")).expect("write the script");
    let output = run(program("hivexsh").arg("-f").arg(&script).arg(hive));
    String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned()
}

/// A binary value as regipy reads it. None where there is no such key or value.
pub fn regipy_bytes(hive: &Path, key: &str, name: &str) -> Option<Vec<u8>> {
    const SCRIPT: &str = "
import logging, sys
logging.disable(logging.CRITICAL)
from regipy.exceptions import RegistryKeyNotFoundException
from regipy.registry import RegistryHive
hive, key, name = sys.argv[1:]
try:
    found = RegistryHive(hive).get_key('\\\\' + key)
except RegistryKeyNotFoundException:
    sys.exit()
for value in found.iter_values(trim_values=False):
    if value.name == name:
        data = value.value
        print(data if isinstance(data, str) else data.hex())
";
    let mut command = Command::new(python("regipy"));
    command.args(["-c", SCRIPT]).arg(hive).args([key, name]);
    let output = run(&mut command).stdout;
    let text = String::from_utf8(output).expect("hexadecimal");
    Some(from_hex(text.strip_suffix('\n')?))
}

/// Bytes in lower-case hexadecimal.
pub fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// What differs between two dumps: paths of keys and values, each with both sides.
pub fn differences(before: &Dump, after: &Dump) -> Vec<String> {
    let mut found = Vec::new();
    for path in before
        .keys()
        .chain(after.keys().filter(|path| !before.contains_key(*path)))
    {
        match (before.get(path), after.get(path)) {
            (Some(_), None) => found.push(format!("- {path}")),
            (None, Some(key)) => found.push(format!("+ {path} {:?}", key.values)),
            (Some(old), Some(new)) => {
                if old.class != new.class {
                    found.push(format!("{path}: class {:?} -> {:?}", old.class, new.class));
                }
                for value in old
                    .values
                    .iter()
                    .filter(|value| !new.values.contains(value))
                {
                    found.push(format!("- {path}: {value:?}"));
                }
                for value in new
                    .values
                    .iter()
                    .filter(|value| !old.values.contains(value))
                {
                    found.push(format!("+ {path}: {value:?}"));
                }
            }
            (None, None) => {}
        }
    }
    found
}

/// Copies `length` bytes from `offset` of a disk into a new file with holes: a volume on its own, for ntfs-3g's tools.
pub fn cut_volume(disk: &Path, offset: u64, length: u64, target: &Path) {
    let mut source = File::open(disk).expect("open the disk");
    source.seek(SeekFrom::Start(offset)).expect("seek");
    let mut file = File::create(target).expect("create the volume");
    let mut chunk = vec![0_u8; 64 * 1024];
    let mut at = 0_u64;
    while at < length {
        let want = usize::try_from(length - at)
            .unwrap_or(usize::MAX)
            .min(chunk.len());
        source
            .read_exact(&mut chunk[..want])
            .expect("read the disk");
        if chunk[..want].iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(at)).expect("seek");
            file.write_all(&chunk[..want]).expect("write the volume");
        }
        at += want as u64;
    }
    file.set_len(length).expect("set the length");
}

/// Offset and length in bytes of a GPT or MBR disk's partitions, as `sfdisk` reads the table.
/// (For images of 512-byte sectors; sfdisk takes every file for one.)
pub fn partitions(disk: &Path) -> Vec<(u64, u64)> {
    let output = run(program("sfdisk").arg("--json").arg(disk));
    let table: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON of sfdisk");
    table["partitiontable"]["partitions"]
        .as_array()
        .expect("partitions")
        .iter()
        .map(|part| {
            (
                part["start"].as_u64().expect("start") * 512,
                part["size"].as_u64().expect("size") * 512,
            )
        })
        .collect()
}

/// The disk in an image of a `format` that qemu-img knows, as a raw file with holes.
pub fn qemu_raw(format: &str, image: &Path, target: &Path) {
    let mut convert = program("qemu-img");
    convert.args(["convert", "-O", "raw"]);
    if format == "vpc" {
        // By the footer's size; without this qemu goes by the geometry of some creators.
        let options = format!(
            "driver=vpc,force_size_calc=current_size,file.driver=file,file.filename={}",
            image.display()
        );
        convert.args(["--image-opts", &options]);
    } else {
        convert.args(["-f", format]).arg(image);
    }
    run(convert.arg(target));
}

/// Fails unless qemu-img finds the VHDX sound.
pub fn qemu_check(image: &Path) {
    let mut check = program("qemu-img");
    run(check.args(["check", "-q", "-f", "vhdx"]).arg(image));
}

fn read_vhd() -> Command {
    let mut command = Command::new(python("pyvhdi"));
    command.arg(root().join("tests/support/read_vhd.py"));
    command
}

/// The disk as libvhdi reads it, as a raw file with holes; the parents in the order of the chain.
pub fn libvhdi_raw(image: &Path, parents: &[&Path], target: &Path) {
    run(read_vhd().arg(target).arg(image).args(parents));
}

/// 4096 bytes at each of the offsets, as libvhdi reads them.
pub fn libvhdi_at(image: &Path, parents: &[&Path], offsets: &[u64]) -> Vec<Vec<u8>> {
    let list: Vec<String> = offsets.iter().map(u64::to_string).collect();
    let mut command = read_vhd();
    command.arg("--at").arg(list.join(","));
    let output = run(command.arg(image).args(parents)).stdout;
    assert_eq!(output.len(), offsets.len() * 4096);
    output.chunks(4096).map(<[u8]>::to_vec).collect()
}

/// A VHDX as dissect reads it, as a raw file with holes; it finds parents itself.
pub fn dissect_raw(image: &Path, target: &Path) {
    run(read_vhd().arg("--dissect").arg(target).arg(image));
}

/// A file of an NTFS volume (no partition table), as ntfs-3g's `ntfscat` reads it.
pub fn ntfscat(volume: &Path, path: &str) -> Vec<u8> {
    run(program("ntfscat").arg(volume).arg(path)).stdout
}

/// A file of the NTFS volume that begins at `offset` bytes of an image, as sleuthkit reads it.
pub fn icat(image: &Path, offset: u64, path: &str) -> Vec<u8> {
    assert_eq!(offset % 512, 0, "sleuthkit counts in sectors");
    let sectors = (offset / 512).to_string();
    let output = run(program("ifind")
        .args(["-f", "ntfs", "-o", &sectors, "-n", &format!("/{path}")])
        .arg(image));
    let inode = String::from_utf8(output.stdout)
        .expect("text")
        .trim()
        .to_owned();
    assert!(
        inode.starts_with(|letter: char| letter.is_ascii_digit()),
        "ifind on {path}: {inode}"
    );
    run(program("icat")
        .args(["-f", "ntfs", "-o", &sectors])
        .arg(image)
        .arg(inode))
    .stdout
}

/// A file of the NTFS volume that begins at `offset` bytes of an image, as dissect reads it.
pub fn dissect_ntfs(image: &Path, offset: u64, path: &str) -> Vec<u8> {
    const SCRIPT: &str = "
import sys
from dissect.ntfs import NTFS
from dissect.util.stream import RangeStream
image, offset, path = sys.argv[1], int(sys.argv[2]), sys.argv[3]
file = open(image, 'rb')
length = file.seek(0, 2) - offset
file.seek(0)
sys.stdout.buffer.write(NTFS(RangeStream(file, offset, length)).mft.get(path).open().read())
";
    let mut command = Command::new(python("dissect.ntfs"));
    command
        .args(["-c", SCRIPT])
        .arg(image)
        .args([&offset.to_string(), path]);
    run(&mut command).stdout
}

/// Fails unless ntfssecaudit finds no fault in `$SDS` (both halves), `$SII`, `$SDH` and what the files say. Returns what
/// it says.
///
/// Behind the last entry of `$SDS`, where its own buffer still has a longer entry, the program takes what it finds for
/// one more and complains of its length; on untouched volumes of Windows too. That alone is let pass, once in each half,
/// and only when both halves and both indexes have the same entries.
pub fn ntfssecaudit(image: &Path) -> String {
    let output = super::program("ntfssecaudit")
        .arg("-ar")
        .arg(image)
        .output();
    let output = output.expect("run ntfssecaudit");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let behind = |line: &&str| line.starts_with("** Security attribute is too long");
    let mut entries = Vec::new();
    for part in ["$SDS-1", "$SDS-2", "$SII", "$SDH"] {
        let section = text
            .split_once(&format!("Auditing {part}\n"))
            .and_then(|(_, rest)| rest.split_once(&format!(" errors in {part}\n")));
        let (section, _) = section.unwrap_or_else(|| panic!("no {part}: {text}"));
        let lines: Vec<&str> = section.lines().collect();
        let passed = lines.iter().filter(|line| behind(line)).count();
        assert!(passed <= 1, "{text}");
        assert_eq!(lines[lines.len() - 1], passed.to_string(), "{text}");
        let count = lines[lines.len() - 2].split(' ').next();
        entries.push(count.unwrap_or_default().to_owned());
    }
    assert!(entries.iter().all(|count| *count == entries[0]), "{text}");
    // Of descriptors that tests make longer than they need to be.
    let longer = |line: &str| line.contains("Extra data appended") || line.ends_with("signalled");
    let faults = text.lines().filter(|line| line.starts_with("**"));
    let faults: Vec<&str> = faults
        .filter(|line| !behind(line) && !longer(line))
        .collect();
    assert!(faults.is_empty(), "{text}");
    assert!(text.contains("All keys are present in all lists"), "{text}");
    text
}
