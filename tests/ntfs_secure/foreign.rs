// SPDX-License-Identifier: GPL-2.0-or-later
//! What foreign readers say of security descriptors.

use std::collections::BTreeMap;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;

use coldfix::security::Descriptor;

use crate::ntfs_support::run;
use crate::support;

/// Prints the descriptor of each path on standard input in hexadecimal digits: what dissect's index $SII says,
/// or the file's own attribute. Each id is also looked up with dissect's own parser.
pub const DISSECT: &str = r#"
import struct, sys
from dissect.ntfs import NTFS
fs = NTFS(open(sys.argv[1], "rb"))
known = {}
def stored(number):
    if number not in known:
        data = bytes(fs.secure.sii.search(number).data)
        offset, length = struct.unpack_from("<QI", data, 8)
        fs.secure.sds.seek(offset)
        entry = fs.secure.sds.read(length)
        fs.secure.sds.seek(offset + 0x40000)
        assert entry == fs.secure.sds.read(length), "the copies of %#x differ" % number
        assert entry[:20] == data[:20], "index and stream differ on %#x" % number
        fs.secure.lookup(number)
        known[number] = entry[20:].hex()
    return known[number]
for line in sys.stdin.buffer.read().decode().split("\0"):
    if not line:
        continue
    record = fs.mft.get(line[1:] if line[1:] else 5)
    number = record.attributes[0x10][0].security_id
    if number:
        descriptor = stored(number)
    elif record.attributes.get(0x50):
        descriptor = record.attributes[0x50].open().read().hex()
    else:
        descriptor = "-"
    print(record.segment, number, descriptor)
"#;

/// What dissect reads of these paths: security id and descriptor. An empty one where there is none.
pub fn dissect(image: &Path, paths: &[&str]) -> Vec<(u32, Vec<u8>)> {
    let found = dissect_records(image, paths);
    found
        .into_iter()
        .map(|(_, id, bytes)| (id, bytes))
        .collect()
}

/// The same, with the record of each file before it.
pub fn dissect_records(image: &Path, paths: &[&str]) -> Vec<(u64, u32, Vec<u8>)> {
    let python = support::foreign::python("dissect.ntfs");
    let mut child = support::program(python.to_str().unwrap())
        .args(["-c", DISSECT, image.to_str().unwrap()])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    let list: String = paths.iter().map(|path| format!("/{path}\0")).collect();
    let writer = std::thread::spawn(move || input.write_all(list.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success());
    let text = String::from_utf8(output.stdout).unwrap();
    let found: Vec<(u64, u32, Vec<u8>)> = text
        .lines()
        .map(|line| {
            let [record, id, digits] = line.split(' ').collect::<Vec<_>>()[..] else {
                panic!("{line}");
            };
            let descriptor = unhex(digits.trim_start_matches('-'));
            (record.parse().unwrap(), id.parse().unwrap(), descriptor)
        })
        .collect();
    assert_eq!(found.len(), paths.len());
    found
}

/// Where in $SDS these ids are, and the descriptors there: with dissect's search in $SII.
pub fn entries(image: &Path, ids: &[u32]) -> Vec<(u64, Vec<u8>)> {
    const SCRIPT: &str = r#"
import struct, sys
from dissect.ntfs import NTFS
fs = NTFS(open(sys.argv[1], "rb"))
for number in map(int, sys.argv[2].split(",")):
    offset, length = struct.unpack_from("<QI", bytes(fs.secure.sii.search(number).data), 8)
    fs.secure.sds.seek(offset)
    entry = fs.secure.sds.read(length)
    assert struct.unpack_from("<I", entry, 4)[0] == number
    fs.secure.lookup(number)
    print(offset, entry[20:].hex())
"#;
    let python = support::foreign::python("dissect.ntfs");
    let ids: Vec<String> = ids.iter().map(u32::to_string).collect();
    let arguments = ["-c", SCRIPT, image.to_str().unwrap(), &ids.join(",")];
    let out = run(python.to_str().unwrap(), &arguments);
    let text = String::from_utf8(out).unwrap();
    text.lines()
        .map(|line| {
            let (offset, digits) = line.split_once(' ').unwrap();
            (offset.parse().unwrap(), unhex(digits))
        })
        .collect()
}

pub fn unhex(digits: &str) -> Vec<u8> {
    let pair = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).unwrap(), 16).unwrap();
    digits.as_bytes().chunks(2).map(pair).collect()
}

/// What ntfs-3g says of these paths below a mount, in their order; `None` where it says nothing.
pub fn getfattr(mount: &Path, paths: &[&str]) -> Vec<Option<Vec<u8>>> {
    let mut found = BTreeMap::new();
    for paths in paths.chunks(500) {
        let output = support::program("getfattr")
            .args([
                "-h",
                "--absolute-names",
                "-e",
                "hex",
                "-n",
                "system.ntfs_acl",
            ])
            .args(paths.iter().map(|path| mount.join(path)))
            .output()
            .unwrap();
        let text = String::from_utf8(output.stdout).unwrap();
        let mut file = String::new();
        for line in text.lines() {
            if let Some(name) = line.strip_prefix("# file: ") {
                file = unescape(name);
            } else if let Some(value) = line.strip_prefix("system.ntfs_acl=0x") {
                found.insert(PathBuf::from(&file), unhex(value));
            }
        }
    }
    let path = |path: &&str| found.get(&mount.join(path)).cloned();
    paths.iter().map(path).collect()
}

/// The octal escapes of getfattr.
pub fn unescape(name: &str) -> String {
    let mut bytes = Vec::new();
    let mut rest = name.as_bytes();
    while let Some((first, after)) = rest.split_first() {
        if *first == b'\\' && after.len() >= 3 {
            let digits = std::str::from_utf8(&after[..3]).unwrap();
            bytes.push(u8::from_str_radix(digits, 8).unwrap());
            rest = &after[3..];
        } else {
            bytes.push(*first);
            rest = after;
        }
    }
    String::from_utf8(bytes).unwrap()
}

/// The same permissions, in whatever order the parts lie.
pub fn mean_the_same(one: &[u8], other: &[u8]) -> bool {
    one == other || Descriptor::parse(one).unwrap() == Descriptor::parse(other).unwrap()
}

/// The security id of a record and the owner that goes with it, as sleuthkit reads them.
pub fn istat(image: &Path, record: u64) -> (u32, String) {
    let out = run("istat", &[image.to_str().unwrap(), &record.to_string()]);
    let text = String::from_utf8_lossy(&out);
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("Security ID: "));
    let (id, owner) = line.unwrap().split_once("  (").unwrap();
    (id.parse().unwrap(), owner.trim_end_matches(')').to_owned())
}

/// ntfssecaudit looks at $SDS, both copies, at $SII and $SDH, and at what all files say. Returns what it says.
pub fn audit(image: &str) -> String {
    crate::support::foreign::ntfssecaudit(Path::new(image))
}

/// The highest security id that the volume has given.
pub fn stored(image: &Path) -> u32 {
    let text = audit(image.to_str().unwrap());
    let last = text
        .lines()
        .filter_map(|line| line.strip_prefix("Valid entry for key 0x"))
        .map(|key| u32::from_str_radix(key, 16).unwrap());
    last.max().unwrap()
}
