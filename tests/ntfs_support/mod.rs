// SPDX-License-Identifier: GPL-2.0-or-later
//! What the NTFS tests share: images, foreign tools, and a device on a file.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::missing_docs_in_private_items, unreachable_pub)]

pub mod judge;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldfix::device::slice::Slice;
use coldfix::device::{Device, SharedDevice};
use coldfix::error::{Error, Result};
use coldfix::volume::{Entry, EntryKind, Volume};

use crate::support;

/// All of these programs are there.
pub fn require(tools: &[&str]) -> bool {
    tools.iter().all(|tool| support::require(tool))
}

/// Python with dissect.
pub fn python() -> Option<PathBuf> {
    support::require_python("dissect.ntfs").then(|| support::foreign::python("dissect.ntfs"))
}

/// Runs a program that has to succeed; its standard output.
pub fn run(tool: &str, arguments: &[&str]) -> Vec<u8> {
    let (ok, out, err) = attempt(tool, arguments);
    assert!(
        ok,
        "{tool} {arguments:?}: {err}{}",
        String::from_utf8_lossy(&out)
    );
    out
}

/// Runs a program: whether it succeeded, its standard output and its standard error.
pub fn attempt(tool: &str, arguments: &[&str]) -> (bool, Vec<u8>, String) {
    let output = support::program(tool).args(arguments).output().unwrap();
    let err = String::from_utf8_lossy(&output.stderr).into_owned();
    (output.status.success(), output.stdout, err)
}

/// A folder of the test run for images that can be made again.
pub fn scratch() -> PathBuf {
    let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("ntfs");
    fs::create_dir_all(&folder).unwrap();
    folder
}

/// The real image with this name, expanded as a sparse file that must not be changed.
pub fn image(name: &str) -> Option<PathBuf> {
    let packed = support::data(&format!("ntfs/{name}"))?;
    let target = scratch().join(name.trim_end_matches(".xz"));
    if target.exists() {
        return Some(target);
    }
    // Another test may be doing the same: each makes its own and the last one stays.
    let own = tempfile::tempdir_in(scratch()).unwrap();
    let part = own.path().join("image");
    let script = if name.ends_with(".tgz") {
        r#"tar -xSzf "$1" -C "$(dirname "$2")" && mv "$(dirname "$2")"/*.raw "$2""#
    } else {
        r#"xz -dc "$1" | dd of="$2" bs=64k conv=sparse status=none"#
    };
    let arguments = [
        "-c",
        script,
        "sh",
        packed.to_str().unwrap(),
        part.to_str().unwrap(),
    ];
    run("sh", &arguments);
    fs::rename(part, &target).unwrap();
    Some(target)
}

/// The volume that begins with this sector of a real image, and the copy of the boot sector behind it, for programs
/// that know no offset; it must not be changed.
pub fn bare(name: &str, sector: u64) -> Option<PathBuf> {
    let disk = image(name)?;
    let mut sectors = [0; 8];
    let device = FileDevice::open(&disk);
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

/// A device on a file, for tests.
#[derive(Debug)]
pub struct FileDevice(File, u64);

impl FileDevice {
    /// Opens the file; for writing too when it can be.
    pub fn open(path: &Path) -> SharedDevice {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap();
        let len = file.metadata().unwrap().len();
        Arc::new(FileDevice(file, len))
    }
}

impl Device for FileDevice {
    fn len(&self) -> u64 {
        self.1
    }

    fn sector_size(&self) -> u32 {
        512
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.0
            .read_exact_at(buffer, offset)
            .map_err(Error::io("reading"))
    }

    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        assert!(offset + data.len() as u64 <= self.1);
        self.0
            .write_all_at(data, offset)
            .map_err(Error::io("writing"))
    }

    fn flush(&self) -> Result<()> {
        self.0.sync_all().map_err(Error::io("flushing"))
    }
}

/// The partition of a disk that begins at this sector and reaches to the end.
pub fn partition(disk: SharedDevice, sector: u64) -> SharedDevice {
    let len = disk.len() - sector * 512;
    Arc::new(Slice::new(disk, sector * 512, len).unwrap())
}

/// All paths of a volume with their entries, folders before what is in them.
pub fn walk(volume: &dyn Volume) -> Vec<(String, Entry)> {
    let mut all = Vec::new();
    let mut folders = vec![String::new()];
    while let Some(folder) = folders.pop() {
        for entry in volume.list(&folder).unwrap() {
            let path = match folder.as_str() {
                "" => entry.name.clone(),
                folder => format!("{folder}/{}", entry.name),
            };
            if entry.kind == EntryKind::Directory {
                folders.push(path.clone());
            }
            all.push((path, entry));
        }
    }
    all
}

/// SHA-256 in hexadecimal digits.
pub fn sha256(bytes: &[u8]) -> String {
    use sha2::Digest;
    let hash = sha2::Sha256::digest(bytes);
    hash.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// Sizes of an image to be made: MiB, bytes per cluster, bytes per sector.
pub type Geometry = (u32, u32, u32);

/// Geometries that between them have every way in which clusters, records and index blocks relate.
pub const GEOMETRIES: [Geometry; 6] = [
    (16, 512, 512),
    (16, 1024, 512),
    (16, 2048, 512),
    (16, 4096, 512),
    (24, 65536, 512),
    (16, 4096, 4096),
];

/// An image that mkntfs and ntfs-3g made, with one file of each kind; it must not be changed.
pub fn made(geometry: Geometry) -> Option<PathBuf> {
    made_with(geometry, 400)
}

/// The same with so many names in the folder `many`.
pub fn made_with((mib, cluster, sector): Geometry, names: u32) -> Option<PathBuf> {
    let arguments = [mib, cluster, sector, names].map(|number| number.to_string());
    scripted("make.sh", &arguments.each_ref().map(String::as_str))
}

/// An image whose $MFT has an attribute list. In the folder `names`, file `n7` holds `content 7`.
pub fn fragmented_mft() -> Option<PathBuf> {
    scripted("make_fragmented_mft.sh", &[])
}

/// A small image whose free space is in very many pieces, with the files `resident` and `clusters`.
pub fn scattered((cluster, sector): (u32, u32)) -> Option<PathBuf> {
    // Some hundred pieces, in as little time as that takes.
    let kib = if cluster > 4096 { 64 << 10 } else { 18 << 10 };
    let arguments = [kib, cluster, sector].map(|number| number.to_string());
    scripted(
        "make_scattered.sh",
        &arguments.each_ref().map(String::as_str),
    )
}

/// The image that one of our scripts makes.
fn scripted(script: &str, arguments: &[&str]) -> Option<PathBuf> {
    if !require(&["mkntfs", "ntfs-3g", "openssl", "setfattr", "fuser"]) {
        return None;
    }
    if !Path::new("/dev/fuse").exists() {
        support::skip("/dev/fuse, to make NTFS images");
        return None;
    }
    let path = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/ntfs_support")
        .join(script);
    let version: String = sha256(&fs::read(&path).unwrap()).chars().take(8).collect();
    let target = scratch().join(format!("{script}-{}-{version}.raw", arguments.join("-")));
    if !target.exists() {
        let own = tempfile::tempdir_in(scratch()).unwrap();
        let part = own.path().join("image");
        let mut all = vec![path.to_str().unwrap(), part.to_str().unwrap()];
        all.extend(arguments);
        run("sh", &all);
        fs::rename(part, &target).unwrap();
    }
    Some(target)
}

/// A mount that ends with the value.
pub struct Mount(tempfile::TempDir);

impl Mount {
    /// Lets ntfs-3g mount the image for reading.
    pub fn read_only(image: &Path) -> Mount {
        Mount::with(image, "ro")
    }

    /// Lets ntfs-3g mount the image.
    pub fn with(image: &Path, options: &str) -> Mount {
        let folder = tempfile::tempdir().unwrap();
        let arguments = [
            "-o",
            options,
            image.to_str().unwrap(),
            folder.path().to_str().unwrap(),
        ];
        run("ntfs-3g", &arguments);
        Mount(folder)
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        self.0.path()
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let path = self.0.path().to_str().unwrap().to_owned();
        for _ in 0..100 {
            if attempt("umount", &[&path]).0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(50));
        }
        // ntfs-3g may still be writing after umount has come back.
        for _ in 0..200 {
            let users = attempt("fuser", &[&path]);
            if !users.0 {
                break;
            }
            std::thread::sleep(std::time::Duration::from_millis(10));
        }
    }
}

/// A file as a foreign reader sees it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Seen {
    /// Its MFT record.
    pub record: u64,
    /// Its content; `None` for folders and links.
    pub content: Option<Vec<u8>>,
}

/// All that is below a folder of the host, by path.
pub fn seen(root: &Path) -> std::collections::BTreeMap<String, Seen> {
    use std::os::unix::fs::MetadataExt;
    let mut all = std::collections::BTreeMap::new();
    let mut folders = vec![root.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            let metadata = fs::symlink_metadata(&path).unwrap();
            let content = metadata.is_file().then(|| fs::read(&path).unwrap());
            if metadata.is_dir() {
                folders.push(path.clone());
            }
            let name = path
                .strip_prefix(root)
                .unwrap()
                .to_str()
                .unwrap()
                .to_owned();
            let record = metadata.ino();
            all.insert(name, Seen { record, content });
        }
    }
    all
}

/// Where the FILE record of the file with this name begins in an image.
pub fn find_record(image: &[u8], name: &str) -> usize {
    let name: Vec<u8> = name.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let found: Vec<usize> = (0..image.len() / 1024)
        .map(|index| index * 1024)
        .filter(|at| &image[*at..at + 4] == b"FILE" && image[at + 0x16] & 1 == 1)
        .filter(|at| {
            let record = record(image, *at);
            attributes(&record).any(|(kind, place)| {
                let value = place + usize::from(record[place + 0x14]);
                kind == 0x30
                    && usize::from(record[value + 0x40]) * 2 == name.len()
                    && record[value + 0x42..].starts_with(&name)
            })
        })
        .collect();
    // $MFTMirr comes after $MFT on the images that are made.
    let expected = if image[found[0] + 0x2C] < 4 { 2 } else { 1 };
    assert_eq!(found.len(), expected, "{found:x?}");
    found[0]
}

/// The record at `at`, with the update sequence undone.
fn record(image: &[u8], at: usize) -> Vec<u8> {
    let len = usize::from(u16::from_le_bytes([image[at + 0x1C], image[at + 0x1D]]));
    let mut record = image[at..at + len].to_vec();
    let array = usize::from(record[4]);
    for sector in 0..len / 512 {
        let from = array + 2 + 2 * sector;
        record.copy_within(from..from + 2, sector * 512 + 510);
    }
    record
}

/// Type and place of the attributes of a record.
fn attributes(record: &[u8]) -> impl Iterator<Item = (u32, usize)> + '_ {
    let word = |place: usize| u32::from_le_bytes(record[place..place + 4].try_into().unwrap());
    let mut place = usize::from(record[0x14]);
    std::iter::from_fn(move || {
        let found = (word(place), place);
        place += word(place + 4) as usize;
        (found.0 != u32::MAX).then_some(found)
    })
}

/// Overwrites bytes at `offset` of the first attribute of this type of the file with this name.
pub fn patch_attribute(image: &mut [u8], name: &str, kind: u32, offset: usize, bytes: &[u8]) {
    let at = find_record(image, name);
    let mut record = record(image, at);
    let place = attributes(&record).find(|found| found.0 == kind).unwrap().1 + offset;
    record[place..place + bytes.len()].copy_from_slice(bytes);
    // The same update sequence number again.
    let array = usize::from(record[4]);
    for sector in 0..record.len() / 512 {
        let tail = sector * 512 + 510;
        record.copy_within(tail..tail + 2, array + 2 + 2 * sector);
        record.copy_within(array..array + 2, tail);
    }
    image[at..at + record.len()].copy_from_slice(&record);
}

/// Where the mapping pairs begin in the first attribute of this type of the file with this name.
pub fn mapping_pairs(image: &[u8], name: &str, kind: u32) -> usize {
    let record = record(image, find_record(image, name));
    let place = attributes(&record).find(|found| found.0 == kind).unwrap().1;
    usize::from(record[place + 0x20])
}

/// Bytes in a temporary file, for programs that want one.
pub fn temporary(bytes: &[u8]) -> tempfile::NamedTempFile {
    use std::io::Write;
    let mut file = tempfile::NamedTempFile::new_in(scratch()).unwrap();
    file.write_all(bytes).unwrap();
    file.flush().unwrap();
    file
}

/// A device as the `ntfs` crate wants it. After `left` reads it fails: the crate has no bounds of its own.
pub struct Stream {
    /// What is read.
    pub device: SharedDevice,
    /// Where the next read begins.
    pub at: u64,
    /// How many more reads there are.
    pub left: u64,
}

impl Stream {
    /// From the beginning, with many reads.
    pub fn new(device: SharedDevice) -> Stream {
        Stream {
            device,
            at: 0,
            left: 2_000_000,
        }
    }
}

impl std::io::Read for Stream {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        if self.left == 0 {
            return Err(std::io::Error::other("too many reads"));
        }
        self.left -= 1;
        let rest = self.device.len().saturating_sub(self.at);
        let len = usize::try_from(rest).unwrap().min(buffer.len());
        let part = &mut buffer[..len];
        self.device
            .read_at(self.at, part)
            .map_err(std::io::Error::other)?;
        self.at += len as u64;
        Ok(len)
    }
}

impl std::io::Seek for Stream {
    fn seek(&mut self, to: std::io::SeekFrom) -> std::io::Result<u64> {
        let at = match to {
            std::io::SeekFrom::Start(at) => Some(at),
            std::io::SeekFrom::Current(by) => self.at.checked_add_signed(by),
            std::io::SeekFrom::End(by) => self.device.len().checked_add_signed(by),
        };
        self.at = at.ok_or(std::io::ErrorKind::InvalidInput)?;
        Ok(self.at)
    }
}

/// All paths of a volume with their records, as the `ntfs` crate walks it. `.` is left out.
pub fn walk_with_crate(
    stream: &mut Stream,
) -> std::result::Result<Vec<(String, u64)>, ntfs::NtfsError> {
    let mut volume = ntfs::Ntfs::new(stream)?;
    volume.read_upcase_table(stream)?;
    let mut all = Vec::new();
    let mut folders = vec![(String::new(), volume.root_directory(stream)?)];
    while let Some((path, folder)) = folders.pop() {
        let index = folder.directory_index(stream)?;
        let mut entries = index.entries();
        while let Some(entry) = entries.next(stream) {
            let entry = entry?;
            let Some(name) = entry.key().transpose()? else {
                continue;
            };
            let record = entry.file_reference().file_record_number();
            if name.namespace() == ntfs::structured_values::NtfsFileNamespace::Dos || record == 5 {
                continue;
            }
            let path = match path.as_str() {
                "" => name.name().to_string_lossy(),
                folder => format!("{folder}/{}", name.name().to_string_lossy()),
            };
            if name.is_directory() {
                folders.push((path.clone(), entry.to_file(&volume, stream)?));
            }
            all.push((path, record));
        }
    }
    Ok(all)
}
