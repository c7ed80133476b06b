// SPDX-License-Identifier: GPL-2.0-or-later
use std::path::Path;
use std::process::Command;
use std::sync::Arc;

use super::record::Kind;
use super::restart::Restart;
use super::*;
use crate::device::host;
use crate::error::Error;
use crate::volume::ntfs::format::{BOOT_SECTOR_LEN, BootSector, attribute_type, record_number};
use crate::volume::ntfs::mft::Mft;
use crate::volume::ntfs::parts::part;
use crate::volume::ntfs::stream::Stream;

mod bench;
#[path = "../../../../tests/ntfs_log/checkpoint.rs"]
mod checkpoint;
mod close;
mod damage;
mod dirty_pages;
mod golden;
mod hostile;
mod in_blocks;
mod in_records;
mod layout;
#[path = "../../../../tests/ntfs_log/mutate.rs"]
mod mutate;
mod on_bytes;
mod protocol;
mod reach;
mod replay;
mod structures;
#[path = "../../../../tests/ntfs_log/writer.rs"]
mod writer;

/// A journal in memory.
#[derive(Clone)]
struct Bytes(Vec<u8>);

impl Source for Bytes {
    fn len(&self) -> u64 {
        self.0.len() as u64
    }

    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let place = crate::bytes::slice(&self.0, usize::try_from(offset).unwrap(), buffer.len());
        buffer.copy_from_slice(
            place.ok_or_else(|| Error::damaged("$LogFile", offset, "bytes", "its end"))?,
        );
        Ok(())
    }
}

const GEOMETRY: Geometry = Geometry {
    cluster_size: 4096,
    record_size: 1024,
    clusters: 1 << 24,
};

fn judged(bytes: Vec<u8>) -> Journal {
    judge(&Bytes(bytes), GEOMETRY)
}

/// A restart page of version 1.1 with these fields.
fn page(lsn: u64, in_use: u16, flags: u16) -> [u8; PAGE] {
    let mut page = [0; PAGE];
    page[..8].copy_from_slice(b"RSTR\x1E\0\x09\0");
    page[0x10..0x18].copy_from_slice(&[0, 0x10, 0, 0, 0, 0x10, 0, 0]);
    page[0x18..0x1E].copy_from_slice(&[0x30, 0, 1, 0, 1, 0]);
    page[0x30..0x38].copy_from_slice(&lsn.to_le_bytes());
    page[0x38] = 1;
    page[0x3C..0x3E].copy_from_slice(&in_use.to_le_bytes());
    page[0x3E..0x40].copy_from_slice(&flags.to_le_bytes());
    page[0x44] = 0xE0;
    assert!(crate::volume::ntfs::multi_sector::protect(&mut page));
    page
}

fn verdict(first: [u8; PAGE], second: [u8; PAGE]) -> Option<String> {
    judged([first, second].concat()).uncleanness()
}

#[test]
fn the_newer_page_decides() {
    let (clean, used) = (page(10, 0, 2), page(20, 0, 0));
    assert_eq!(verdict(clean, clean), None);
    assert_eq!(verdict(page(10, 0xFFFF, 0), page(10, 0xFFFF, 0)), None);
    assert!(verdict(clean, used).unwrap().contains("in use"));
    assert!(verdict(used, clean).unwrap().contains("in use"));
    assert_eq!(verdict(page(30, 0, 2), used), None);
    assert_eq!(verdict(used, page(30, 0, 2)), None);
}

#[test]
fn an_erased_journal_is_clean_when_all_of_it_is() {
    let empty = [0xFF; PAGE];
    assert_eq!(verdict(empty, empty), None);
    let used = [[empty; 4].concat(), vec![0; PAGE]].concat();
    let found = judged(used).uncleanness().unwrap();
    assert!(found.contains("erased"), "{found}");
    assert!(verdict(empty, page(1, 0, 2)).is_some());
}

#[test]
fn what_is_bad_or_unknown_is_not_clean() {
    let clean = page(10, 0, 2);
    let change = |offset: usize, bytes: &[u8]| {
        let mut page = clean;
        crate::volume::ntfs::multi_sector::restore(&mut page, b"RSTR", "", 0).unwrap();
        page[offset..offset + bytes.len()].copy_from_slice(bytes);
        assert!(crate::volume::ntfs::multi_sector::protect(&mut page));
        page
    };
    let mut torn = clean;
    torn[1022] ^= 1;
    for (name, bad) in [
        (
            "version 2.0 though flagged clean",
            change(0x1A, &[0, 0, 2, 0]),
        ),
        ("version 1.0", change(0x1A, &[0, 0, 1, 0])),
        ("version 3.0", change(0x1A, &[0, 0, 3, 0])),
        ("pages of 8 KiB", change(0x10, &[0, 0x20])),
        ("log pages of 8 KiB", change(0x14, &[0, 0x20])),
        ("two clients", change(0x38, &[2])),
        ("area past the page", change(0x44, &[0, 0x10])),
        ("area over the header", change(0x18, &[0x10])),
        ("zeros", [0; PAGE]),
        ("torn", torn),
    ] {
        assert!(verdict(bad, bad).is_some(), "{name}");
        // Nor can the other page vouch for it, unless it is known to be the newer one.
        if !name.starts_with("version") {
            assert!(verdict(bad, clean).unwrap().contains("first"), "{name}");
            assert!(verdict(clean, bad).unwrap().contains("second"), "{name}");
        }
    }
    for len in [0, 1, PAGE, 2 * PAGE - 1] {
        assert!(judged([clean, clean].concat()[..len].to_vec()).verdict != Verdict::Clean);
    }
}

#[test]
fn after_chkdsk_the_journal_is_void() {
    let mut checked = page(10, 0, 0);
    checked[..4].copy_from_slice(b"CHKD");
    assert_eq!(verdict(checked, checked), None);
}

/// A fragment of a journal, filled up with FF to the usable size.
fn fragment(name: &str) -> Option<Bytes> {
    let mut bytes = part(name)?;
    let usable = crate::bytes::u64_le(&bytes, 0x48).unwrap();
    if usable != u64::MAX {
        bytes.resize(usize::try_from(usable).unwrap(), 0xFF);
    }
    Some(Bytes(bytes))
}

/// A real volume, unpacked.
fn unpacked(name: &str) -> Option<tempfile::NamedTempFile> {
    // Says so where there is no data.
    part("4k.boot")?;
    let folder = std::env::var_os("COLDFIX_TEST_DATA").map_or_else(
        || Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
        Into::into,
    );
    let image = tempfile::NamedTempFile::new().unwrap();
    let unpack = Command::new("sh")
        .arg("-c")
        .arg("xz -dc \"$0\" | cp --sparse=always /dev/stdin \"$1\"")
        .arg(folder.join("ntfs").join(name))
        .arg(image.path())
        .status();
    assert!(unpack.unwrap().success());
    Some(image)
}

/// The journal of a real volume and its geometry.
fn real(name: &str) -> Option<(Bytes, Geometry)> {
    let image = unpacked(name)?;
    let device = host::open(image.path(), host::Access::Read).unwrap();
    let mut sector = [0; BOOT_SECTOR_LEN];
    device.read_at(0, &mut sector).unwrap();
    let boot = BootSector::parse(&sector, device.len()).unwrap();
    let mft = Mft::open(device, boot).unwrap();
    let record = Arc::new(mft.system(record_number::LOG_FILE, "$LogFile").unwrap());
    let stream = Stream::find(&mft, &record, attribute_type::DATA, "");
    let bytes = stream.unwrap().unwrap().read(&mft).unwrap();
    let geometry = Geometry {
        cluster_size: mft.boot.cluster_size,
        record_size: mft.boot.record_size,
        clusters: mft.boot.clusters,
    };
    Some((Bytes(bytes), geometry))
}

const A: &str = "w10-1kcluster-log2-dirty.raw.xz";
const B: &str = "w10-cloud-reparse-log2-dirty.raw.xz";

/// The restart page that counts.
fn restart_of(log: &Bytes) -> Restart {
    let parse = |at: u64| RestartPage::parse(&super::page(log, at).unwrap()).unwrap();
    let (first, second) = (parse(0), parse(PAGE_LEN));
    let newer = match second.current_lsn > first.current_lsn {
        true => second,
        false => first,
    };
    newer.restart(log.len()).unwrap()
}

/// Redo and undo operation of every record from `first` on; a checkpoint has none.
fn session(log: &Bytes, first: u64) -> (u64, Vec<Option<(u16, u16)>>) {
    let chain = Chain::build(log, &restart_of(log), first).unwrap();
    let mut found = Vec::new();
    walk(&chain, first, |record| {
        found.push(match record.kind {
            Kind::Checkpoint => None,
            Kind::Action => {
                let action = record.action()?;
                Some((action.redo, action.undo))
            }
        });
        Ok(())
    })
    .unwrap();
    (chain.end, found)
}

#[test]
fn dirty_volumes_are_idle() {
    for (name, oldest, end, attributes) in
        [(A, 0x28_9208, 0x28_92AF, 10), (B, 0x40_5AD5, 0x40_5B7F, 11)]
    {
        let Some((log, geometry)) = real(name) else {
            return;
        };
        let journal = judge(&log, geometry);
        assert_eq!(journal.verdict, Verdict::Idle, "{name}");
        assert_eq!(journal.records, 3, "{name}");
        assert_eq!(journal.version(), Some((2, 0)));
        assert_eq!(journal.end.unwrap().lsn, end);
        let text = journal.uncleanness().unwrap();
        assert!(text.starts_with("idle: nothing is pending"), "{text}");
        assert!(text.contains("version 2.0"), "{text}");
        let restart = restart_of(&log);
        assert_eq!(restart.oldest_lsn, oldest);
        assert_eq!(restart.restart_lsn, end);
        assert_eq!(restart.current_lsn, end);
        let chain = Chain::build(&log, &restart, oldest).unwrap();
        assert_eq!(chain.end, end);
        // The newest page is only in the third page of the file's fast pages, or its second bank.
        let last = chain
            .page(restart.page(end), restart.sequence(end))
            .unwrap();
        assert_eq!(last.source, 0x2000, "{name}");
        let analysis = Analysis::run(&chain, end, geometry).unwrap();
        assert_eq!(analysis.tables.attributes.len(), attributes);
        assert!(analysis.tables.pages.is_empty());
    }
}
