// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "a test that overflows fails"
)]

use std::io::Write;

use super::*;
use crate::device::memory::MemoryDevice;
use crate::device::overlay::Overlay;
use crate::device::{Device, SharedDevice};
use crate::error::Kind;
use crate::volume::ntfs::BOOT_SECTOR_LEN;
use crate::volume::ntfs::bitmap::Bitmap;
use crate::volume::ntfs::format::{BootSector, record_number};
use crate::volume::ntfs::grow::grow_stream;
use crate::volume::ntfs::parts::{foreign, fresh, part};

const DATA: u32 = attribute_type::DATA;
const ROOT: u64 = record_number::ROOT;

/// Clusters and sectors of the volumes.
pub(in super::super) const GEOMETRIES: [(u32, u32); 5] = [
    (512, 512),
    (1024, 512),
    (4096, 512),
    (65536, 512),
    (4096, 4096),
];

pub(in super::super) struct Subject {
    pub(in super::super) overlay: Arc<Overlay>,
    pub(in super::super) mft: Mft,
}

impl Subject {
    pub(in super::super) fn of(image: Vec<u8>) -> Subject {
        let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(image))));
        let device: SharedDevice = overlay.clone();
        let mut sector = [0; BOOT_SECTOR_LEN];
        device.read_at(0, &mut sector).unwrap();
        let boot = BootSector::parse(&sector, device.len()).unwrap();
        let mft = Mft::open(device, boot).unwrap();
        Subject { overlay, mft }
    }

    fn content(&self, base: u64, kind: u32, name: &str) -> Vec<u8> {
        let stream = expect(&self.mft, base, kind, name).unwrap();
        stream.read(&self.mft).unwrap()
    }

    fn free(&self) -> u64 {
        Bitmap::clusters(&self.mft).unwrap().count_free().unwrap()
    }

    /// The image in a file, after ntfsresize and ntfsfix have consented.
    pub(in super::super) fn judged(&self) -> tempfile::NamedTempFile {
        let mut image = vec![0; self.overlay.len().try_into().unwrap()];
        self.overlay.read_at(0, &mut image).unwrap();
        let mut file = tempfile::NamedTempFile::new().unwrap();
        file.write_all(&image).unwrap();
        for (tool, arguments) in [
            ("ntfsresize", ["--info", "--force"].as_slice()),
            ("ntfsfix", ["-n"].as_slice()),
        ] {
            if let Some(output) = foreign(tool, arguments, file.path()) {
                let text = String::from_utf8_lossy(&output.stdout).into_owned();
                let error = String::from_utf8_lossy(&output.stderr).into_owned();
                // ntfsresize has counted every cluster when it says so.
                if !text.contains("ERROR: Volume is full") {
                    assert!(output.status.success(), "{tool}: {text}{error}");
                    assert!(!text.contains("ERROR"), "{tool}: {text}");
                }
            }
        }
        file
    }

    /// What ntfscat reads of a stream.
    fn ntfscat(&self, base: u64, name: &str) -> Option<Vec<u8>> {
        let file = self.judged();
        let base = base.to_string();
        let output = foreign("ntfscat", &["-f", "-i", &base, "-n", name], file.path())?;
        assert!(output.status.success(), "{output:?}");
        Some(output.stdout)
    }

    /// An edit that must be refused and change nothing.
    fn refused(&self, edit: impl FnOnce(&Mft) -> Result<()>) -> Error {
        let before = self.overlay.changes().unwrap();
        let error = edit(&self.mft).unwrap_err();
        assert_eq!(self.overlay.changes().unwrap(), before, "{error}");
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.hint().is_some());
        error
    }
}

fn pattern(len: usize) -> Vec<u8> {
    (0..len).map(|i| (i % 241 + 1) as u8).collect()
}

#[test]
fn streams_come_grow_are_written_and_go() {
    for (cluster, sector) in GEOMETRIES {
        let Some(image) = fresh(cluster, sector) else {
            return;
        };
        let subject = Subject::of(image);
        let mft = &subject.mft;
        let free = subject.free();
        create_attribute(mft, ROOT, DATA, "m", b"resident", false).unwrap();
        create_stream(mft, ROOT, DATA, "Z", 100_000).unwrap();
        create_stream(mft, ROOT, DATA, "a", 0).unwrap();
        let names: Vec<String> = mft
            .read(ROOT)
            .unwrap()
            .attributes()
            .iter()
            .filter(|found| found.kind == DATA)
            .map(|found| String::from_utf16_lossy(&found.name))
            .collect();
        assert_eq!(names, ["a", "m", "Z"]);
        assert_eq!(subject.content(ROOT, DATA, "Z"), vec![0; 100_000]);

        // Through all sizes around the end of the record and of clusters.
        let mut expected = b"resident".to_vec();
        let big = cluster as usize;
        for len in [
            9,
            100,
            300,
            700,
            5000,
            big * 2 - 1,
            big * 2,
            big * 2 + 1,
            200_000,
        ] {
            if len <= expected.len() {
                continue;
            }
            let old = expected.len();
            grow_stream(mft, ROOT, DATA, "m", len as u64).unwrap();
            expected.resize(len, 0);
            assert!(subject.content(ROOT, DATA, "m") == expected, "{len}");
            let new = pattern(len - old);
            write_stream(mft, ROOT, DATA, "m", old as u64, &new).unwrap();
            expected[old..].copy_from_slice(&new);
            assert!(subject.content(ROOT, DATA, "m") == expected, "{len}");
        }
        if let Some(read) = subject.ntfscat(ROOT, "m") {
            assert!(read == expected);
        }
        grow_stream(mft, ROOT, DATA, "a", 70_000).unwrap();
        write_stream(mft, ROOT, DATA, "a", 69_999, b"x").unwrap();
        let mut a = vec![0; 70_000];
        a[69_999] = b'x';
        if let Some(read) = subject.ntfscat(ROOT, "a") {
            assert!(read == a);
        }
        // What lies past the end, and what is not there.
        assert!(write_stream(mft, ROOT, DATA, "a", 70_000, b"x").is_err());
        assert!(write_stream(mft, ROOT, DATA, "a", u64::MAX, b"x").is_err());
        assert!(grow_stream(mft, ROOT, DATA, "a", 69_999).is_err());
        assert!(grow_stream(mft, ROOT, DATA, "b", 1).is_err());
        assert!(set_value(mft, ROOT, DATA, "a", b"").is_err());
        subject.refused(|mft| create_attribute(mft, ROOT, DATA, "a", b"", false));

        for name in ["m", "a", "Z"] {
            remove_attribute(mft, ROOT, DATA, name).unwrap();
        }
        assert_eq!(subject.free(), free);
        subject.judged();
    }
}

#[test]
fn full_records_and_full_volumes_are_refused() {
    for (cluster, sector) in GEOMETRIES {
        let Some(image) = fresh(cluster, sector) else {
            return;
        };
        let subject = Subject::of(image);
        let mft = &subject.mft;
        let free = subject.free() * u64::from(cluster);
        let error = subject.refused(|mft| create_stream(mft, ROOT, DATA, "x", free + 1));
        assert!(error.to_string().contains("full"), "{error}");
        create_stream(mft, ROOT, DATA, "x", free).unwrap();
        assert_eq!(subject.free(), 0);
        let error = subject.refused(|mft| grow_stream(mft, ROOT, DATA, "x", free + 1));
        assert!(error.to_string().contains("0 are free"), "{error}");
        subject.judged();
        remove_attribute(mft, ROOT, DATA, "x").unwrap();

        // Small attributes until the record is full.
        let mut count = 0;
        let error = loop {
            let name = format!("s{count}");
            let before = subject.overlay.changes().unwrap();
            match create_attribute(mft, ROOT, DATA, &name, &[7; 40], false) {
                Ok(()) => count += 1,
                Err(error) => {
                    assert_eq!(subject.overlay.changes().unwrap(), before);
                    break error;
                }
            }
        };
        assert!(
            count > 3 && error.to_string().contains("MFT record 5 is full"),
            "{error}"
        );
        subject.refused(|mft| set_value(mft, ROOT, DATA, "s0", &[1; 4096]));
        set_value(mft, ROOT, DATA, "s0", b"").unwrap();
        set_value(mft, ROOT, DATA, "s1", &[9; 48]).unwrap();
        assert_eq!(subject.content(ROOT, DATA, "s1"), [9; 48]);
        subject.judged();
        for index in (0..count).rev() {
            remove_attribute(mft, ROOT, DATA, &format!("s{index}")).unwrap();
        }
        subject.judged();
    }
}

#[test]
fn a_change_in_one_sector_leaves_the_others_as_they_are() {
    let Some(image) = fresh(4096, 512) else {
        return;
    };
    let subject = Subject::of(image);
    let mft = &subject.mft;
    // $Volume: its record is repeated in $MFTMirr.
    let kind = attribute_type::STANDARD_INFORMATION;
    let mut value = subject.content(record_number::VOLUME, kind, "");
    value[8] ^= 1;
    set_value(mft, record_number::VOLUME, kind, "", &value).unwrap();
    let changes = subject.overlay.changes().unwrap();
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|change| change.before.len() == 512));
    assert_eq!(changes[0].after, changes[1].after);
    // In both sectors: under the next number, so that a torn write shows.
    let number = |change: &[u8]| u16::from_le_bytes([change[510], change[511]]);
    let old = number(&changes[0].before);
    assert_eq!(number(&changes[0].after), old);
    create_attribute(mft, record_number::VOLUME, DATA, "x", &[1; 300], false).unwrap();
    let changes = subject.overlay.changes().unwrap();
    assert_eq!(changes.len(), 2);
    assert!(changes.iter().all(|change| change.before.len() == 1024));
    assert_eq!(number(&changes[0].after), old + 1);
    subject.judged();
    // And back: what is left is the number.
    remove_attribute(mft, record_number::VOLUME, DATA, "x").unwrap();
    subject.judged();
}

/// A volume with files whose attributes are spread over several records, made by Linux' ntfs3.
#[test]
fn attribute_lists_take_and_lose_entries() {
    let Some(image) = part("../linux-ntfs3-attrlist.raw.xz") else {
        return;
    };
    let subject = Subject::of(image);
    let mft = &subject.mft;
    let files: Vec<u64> = (24..mft.records())
        .filter(|number| {
            mft.read(*number).is_ok_and(|record| {
                record.is_in_use()
                    && record.base().is_none()
                    && record.first(attribute_type::ATTRIBUTE_LIST).is_some()
            })
        })
        .collect();
    assert!(!files.is_empty());
    let mut extended = 0;
    for base in files {
        let free = subject.free();
        let before = subject.overlay.changes().unwrap();
        if let Err(error) = create_attribute(mft, base, DATA, "new", b"value", false) {
            assert_eq!(error.kind(), Kind::Refused, "{error}");
            assert_eq!(subject.overlay.changes().unwrap(), before);
            continue;
        }
        assert_eq!(subject.content(base, DATA, "new"), b"value");
        if let Some(read) = subject.ntfscat(base, "new") {
            assert_eq!(read, b"value");
        }
        remove_attribute(mft, base, DATA, "new").unwrap();
        assert_eq!(subject.free(), free);
        extended += 1;
    }
    assert!(extended > 0);
    subject.judged();
}
