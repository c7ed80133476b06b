// SPDX-License-Identifier: GPL-2.0-or-later
//! Reads and writes security descriptors on every real NTFS image and on made ones; foreign readers judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Device, SharedDevice};
use coldfix::security::Descriptor;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{EntryKind, Volume};
use ntfs_support::*;

/// The real images, where their volume begins in sectors, and whether Windows left them clean.
const SAMPLES: [(&str, u64, bool); 12] = [
    ("linux-mkntfs-dfvfs.raw.xz", 0, true),
    ("linux-mkntfs-testfs1.raw.xz", 0, true),
    ("linux-ntfs3-attrlist.raw.xz", 0, true),
    ("w-10m-many-files.raw.xz", 0, true),
    ("w-2kcluster-index.raw.xz", 128, true),
    ("w-vss-512cluster.raw.xz", 0, true),
    ("w10-20h1-64g-vss.tgz", 2048, true),
    ("w10-lastaccess.raw.xz", 128, true),
    ("w10-ptrn.raw.xz", 128, true),
    ("w10-2mcluster.raw.xz", 128, true),
    ("w10-1kcluster-log2-dirty.raw.xz", 0, false),
    ("w10-cloud-reparse-log2-dirty.raw.xz", 0, false),
];

/// The volume of an image on its own, with the copy of the boot sector behind it, for programs that know no
/// offset; must not be changed.
fn bare(name: &str, sector: u64) -> Option<PathBuf> {
    let disk = image(name)?;
    let device = FileDevice::open(&disk);
    let mut sectors = [0; 8];
    device.read_at(sector * 512 + 0x28, &mut sectors).unwrap();
    let len = (u64::from_le_bytes(sectors) + 1) * 512;
    if len == device.len() {
        return Some(disk);
    }
    let bare = disk.with_extension("volume");
    if !bare.exists() {
        let own = tempfile::NamedTempFile::new_in(scratch()).unwrap();
        let arguments = [
            format!("if={}", disk.display()),
            format!("of={}", own.path().display()),
            "bs=64k".into(),
            format!("skip={}", sector * 512),
            format!("count={len}"),
            "iflag=skip_bytes,count_bytes".into(),
            "conv=sparse".into(),
        ];
        run("dd", &arguments.each_ref().map(String::as_str));
        own.persist(&bare).unwrap();
    }
    Some(bare)
}

/// Prints the descriptor of each path on standard input in hexadecimal digits: what dissect's index $SII says,
/// or the file's own attribute. Each id is also looked up with dissect's own parser.
const DISSECT: &str = r#"
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
        print(number, stored(number))
    elif record.attributes.get(0x50):
        print(0, record.attributes[0x50].open().read().hex())
    else:
        print(0, "-")
"#;

/// What dissect reads of these paths: security id and descriptor. An empty one where there is none.
fn dissect(image: &Path, paths: &[&str]) -> Vec<(u32, Vec<u8>)> {
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
    let found: Vec<(u32, Vec<u8>)> = text
        .lines()
        .map(|line| {
            let (id, digits) = line.split_once(' ').unwrap();
            (id.parse().unwrap(), unhex(digits.trim_start_matches('-')))
        })
        .collect();
    assert_eq!(found.len(), paths.len());
    found
}

fn unhex(digits: &str) -> Vec<u8> {
    (0..digits.len() / 2)
        .map(|at| u8::from_str_radix(&digits[2 * at..2 * at + 2], 16).unwrap())
        .collect()
}

/// What ntfs-3g says of these paths below a mount, in their order; `None` where it says nothing.
fn getfattr(mount: &Path, paths: &[&str]) -> Vec<Option<Vec<u8>>> {
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
fn unescape(name: &str) -> String {
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
fn mean_the_same(one: &[u8], other: &[u8]) -> bool {
    one == other || Descriptor::parse(one).unwrap() == Descriptor::parse(other).unwrap()
}

/// Compares our reading of every file of a volume with dissect's and ntfs-3g's. Returns what was read.
fn compare(name: &str, volume: &NtfsVolume, image: &Path, mount: bool) -> Vec<(String, Arc<[u8]>)> {
    let tree = volume.tree("").unwrap();
    let all: Vec<&str> = tree.iter().map(|entry| entry.path.as_str()).collect();
    let theirs = dissect(image, &all);
    // Without a descriptor: refused by name, so they are left out of what is asked for at once.
    let with: Vec<(&str, &[u8])> = all
        .iter()
        .zip(&theirs)
        .filter(|(_, (_, descriptor))| !descriptor.is_empty())
        .map(|(path, (_, descriptor))| (*path, descriptor.as_slice()))
        .collect();
    for (path, (_, descriptor)) in all.iter().zip(&theirs) {
        if descriptor.is_empty() {
            let error = volume.security(&[path]).unwrap_err();
            assert!(error.to_string().contains("neither"), "{path}: {error}");
        }
    }
    let paths: Vec<&str> = with.iter().map(|(path, _)| *path).collect();
    let ours = volume.security(&paths).unwrap();
    assert_eq!(ours.len(), paths.len());
    for ((path, theirs), ours) in with.iter().zip(&ours) {
        assert!(
            *theirs == &ours[..],
            "{name}: {path}: {theirs:02x?} {ours:02x?}"
        );
        let alone = volume.security(&[path]).unwrap();
        assert_eq!(&alone[0], ours, "{name}: {path} alone");
    }
    let (mut seen, mut reordered) = (0, 0);
    if mount {
        let mount = Mount::read_only(image);
        for ((path, found), ours) in paths.iter().zip(getfattr(mount.path(), &paths)).zip(&ours) {
            // ntfs-3g does not show the file system's own files by name.
            let Some(found) = found else {
                assert!(path.starts_with('$'), "{name}: {path}");
                continue;
            };
            assert!(mean_the_same(&found, ours), "{name}: {path}");
            seen += 1;
            reordered += usize::from(found != ours[..]);
        }
    }
    let different: BTreeSet<&Arc<[u8]>> = ours.iter().collect();
    eprintln!(
        "{name}: {} files, {} without a descriptor, {} different descriptors; dissect agrees on {}, ntfs-3g on {seen} \
         ({reordered} in another order)",
        all.len(),
        all.len() - with.len(),
        different.len(),
        ours.len(),
    );
    assert!(volume.notes().is_empty(), "{:?}", volume.notes());
    paths
        .iter()
        .map(|path| (*path).to_owned())
        .zip(ours)
        .collect()
}

#[test]
fn every_descriptor_of_every_real_volume_reads_as_foreign_readers_read_it() {
    if python().is_none() || !require(&["ntfs-3g", "getfattr", "xz"]) {
        return;
    }
    for (name, sector, clean) in SAMPLES {
        let Some(image) = bare(name, sector) else {
            return;
        };
        let volume = NtfsVolume::open(FileDevice::open(&image)).unwrap();
        compare(name, &volume, &image, clean);
    }
}

/// How many files the timing has in one folder.
const MANY: usize = 100_000;

/// An image with very many files in the folder `keys`, as Windows names them there.
fn many() -> Option<PathBuf> {
    if !require(&["mkntfs", "ntfs-3g", "fuser"]) {
        return None;
    }
    let target = scratch().join("many-files.raw");
    if !target.exists() {
        let own = tempfile::tempdir_in(scratch()).unwrap();
        let part = own.path().join("image");
        fs::File::create(&part).unwrap().set_len(400 << 20).unwrap();
        let path = part.to_str().unwrap();
        run(
            "mkntfs",
            &[
                "-q", "-Q", "-F", "-p", "2048", "-H", "255", "-S", "63", path,
            ],
        );
        let mount = Mount::with(&part, "big_writes");
        let folder = mount.path().join("ProgramData/keys");
        fs::create_dir_all(&folder).unwrap();
        for number in 0..MANY {
            let name = sha256(&number.to_le_bytes());
            let name = format!("{}_8b1e9d2c-6d1f-4b3e-9a77-2f6c5a1d0e4b", &name[..32]);
            fs::write(folder.join(name), number.to_le_bytes()).unwrap();
        }
        drop(mount);
        fs::rename(part, &target).unwrap();
    }
    Some(target)
}

/// Run with `cargo test --release --test ntfs_secure -- --ignored --nocapture`.
#[test]
#[ignore = "measures; makes a volume with 100,000 files"]
fn how_long_a_hundred_thousand_files_take() {
    let Some(image) = many() else {
        return;
    };
    let image = fs::read(image).unwrap();
    let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(image))));
    let volume = NtfsVolume::open(overlay.clone()).unwrap();
    let time = |what: &str, work: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        work();
        eprintln!("{what}: {:.0} ms", start.elapsed().as_secs_f64() * 1000.0);
    };
    let mut tree = Vec::new();
    time("listing the tree", &mut || {
        tree = volume.tree("programdata/KEYS").unwrap()
    });
    assert_eq!(tree.len(), MANY + 1);
    let paths: Vec<&str> = tree.iter().map(|entry| entry.path.as_str()).collect();
    let mut before = Vec::new();
    time("reading all", &mut || {
        before = volume.security(&paths).unwrap()
    });
    let root = volume.security(&["$Bitmap", "$Secure"]).unwrap();
    for (what, descriptor) in [
        ("instead of their own", &root[0]),
        ("other ids", &root[1]),
        ("the same again", &root[1]),
    ] {
        time(what, &mut || {
            volume
                .set_security(descriptor, &paths, 0x1DA_0000_0000_0000)
                .unwrap()
        });
        let now = volume.security(&paths).unwrap();
        assert!(now.iter().all(|now| now == descriptor));
        time("second reader", &mut || {
            let agrees = volume.second_reader_agrees_on_security(&paths, descriptor);
            assert_eq!(agrees, Some(true));
        });
    }
    eprintln!("{} changes", overlay.changes().unwrap().len());
}
