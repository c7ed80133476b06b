// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::arithmetic_side_effects,
    reason = "a test that overflows fails"
)]

use super::*;
use crate::error::Kind;
use crate::volume::ntfs::parts::part;

/// A boot sector as mkntfs makes it: 4 KiB clusters, 100000 sectors.
fn sample() -> [u8; 512] {
    let mut sector = [0; 512];
    sector[..11].copy_from_slice(b"\xEB\x52\x90NTFS    ");
    sector[0x0B..0x0E].copy_from_slice(&[0, 2, 8]);
    sector[0x28..0x30].copy_from_slice(&100_000_u64.to_le_bytes());
    sector[0x30] = 4;
    sector[0x38] = 0x80;
    sector[0x40] = 0xF6;
    sector[0x44] = 1;
    sector[0x48] = 0xAA;
    sector[0x1FE..].copy_from_slice(&[0x55, 0xAA]);
    sector
}

fn with(offset: usize, bytes: &[u8]) -> Result<BootSector> {
    let mut sector = sample();
    sector[offset..offset + bytes.len()].copy_from_slice(bytes);
    BootSector::parse(&sector, 100_001 * 512)
}

#[test]
fn fields() {
    let boot = BootSector::parse(&sample(), 100_000 * 512).unwrap();
    let expected = BootSector {
        bytes_per_sector: 512,
        cluster_size: 4096,
        clusters: 12_500,
        mft: Lcn(4),
        mft_mirror: Lcn(0x80),
        record_size: 1024,
        serial: 0xAA,
        signed: true,
    };
    assert_eq!(boot, expected);
}

#[test]
fn every_cluster_size_that_windows_makes() {
    for shift in 0..=7_u32 {
        let boot = with(0x0D, &[1 << shift]).unwrap();
        assert_eq!(boot.cluster_size, 512 << shift);
    }
    for shift in 8..=12_u8 {
        let boot = with(0x0D, &[shift.wrapping_neg()]);
        let (found, size) = (boot.map(|boot| boot.cluster_size), 512 << shift);
        // Nothing but the size of the volume is in the way of the largest.
        match size {
            ..=0x4_0000 => assert_eq!(found.unwrap(), size),
            _ => assert_eq!(found.unwrap_err().kind(), Kind::Damaged),
        }
    }
}

#[test]
fn faults() {
    let faults: [(&str, usize, &[u8]); 15] = [
        ("256 bytes per sector", 0x0B, &[0, 1]),
        ("8192 bytes per sector", 0x0B, &[0, 0x20]),
        ("513 bytes per sector", 0x0B, &[1, 2]),
        ("no sectors per cluster", 0x0D, &[0]),
        ("3 sectors per cluster", 0x0D, &[3]),
        ("4 MiB clusters", 0x0D, &[0xF3]),
        ("2^127 sectors per cluster", 0x0D, &[0x81]),
        ("no sectors", 0x28, &[0; 8]),
        ("sectors past the device", 0x28, &100_002_u64.to_le_bytes()),
        ("sectors past all numbers", 0x28, &[0xFF; 8]),
        ("$MFT in the boot sector", 0x30, &[0; 8]),
        ("$MFT past the end", 0x30, &12_500_u64.to_le_bytes()),
        ("$MFTMirr past the end", 0x38, &[0xFF; 8]),
        ("records of 512 bytes", 0x40, &[0xF7]),
        ("records of two clusters", 0x40, &[2]),
    ];
    for (name, offset, bytes) in faults {
        assert_eq!(
            with(offset, bytes).unwrap_err().kind(),
            Kind::Damaged,
            "{name}"
        );
    }
    assert!(with(0x28, &100_001_u64.to_le_bytes()).is_ok());
    assert!(with(0x30, &12_499_u64.to_le_bytes()).is_ok());
    assert!(!with(0x1FE, &[0, 0]).unwrap().signed);
}

#[test]
fn other_file_systems_are_named() {
    for (offset, bytes, name) in [
        (3, &b"ReFS\0\0\0\0"[..], "ReFS"),
        (3, b"EXFAT   ", "exFAT"),
        (0x52, b"FAT32   ", "FAT32"),
        (0x36, b"FAT16   ", "FAT16"),
        (0x36, b"FAT12   ", "FAT12"),
    ] {
        let mut sector = sample();
        sector[3..11].copy_from_slice(b"MSDOS5.0");
        sector[offset..offset + bytes.len()].copy_from_slice(bytes);
        let error = BootSector::parse(&sector, 1 << 40).unwrap_err();
        assert_eq!(error.kind(), Kind::Unsupported);
        assert!(error.to_string().contains(name), "{error}");
    }
    let error = BootSector::parse(&[0; 512], 1 << 40).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
}

#[test]
fn bitlocker_is_refused() {
    let mut vista = sample();
    vista[..11].copy_from_slice(b"\xEB\x52\x90-FVE-FS-");
    let mut to_go = sample();
    to_go[3..11].copy_from_slice(b"MSWIN4.1");
    to_go[0x1A8..0x1B8].copy_from_slice(&BITLOCKER_TO_GO);
    for sector in [vista, to_go] {
        let error = BootSector::parse(&sector, 1 << 40).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains("BitLocker"), "{error}");
        assert!(error.hint().is_some());
    }
    // The name alone is that of an old FAT.
    to_go[0x1A8] = 0;
    assert_eq!(
        BootSector::parse(&to_go, 1 << 40).unwrap_err().kind(),
        Kind::Damaged
    );
}

#[test]
fn boot_sectors_of_windows() {
    for (name, sector, cluster, record) in [
        ("512.boot", 512, 512, 1024),
        ("4k.boot", 512, 4096, 1024),
        ("64k.boot", 512, 65_536, 1024),
        ("128k.boot", 512, 131_072, 1024),
        ("boot_2m.bin.xz", 512, 2 << 20, 1024),
        ("4kn.boot", 4096, 4096, 4096),
        ("nobootcode.boot", 512, 4096, 1024),
    ] {
        let Some(bytes) = part(name) else {
            return;
        };
        let boot = BootSector::parse(bytes.first_chunk().unwrap(), u64::MAX).unwrap();
        assert_eq!(
            (boot.bytes_per_sector, boot.cluster_size, boot.record_size),
            (sector, cluster, record),
            "{name}"
        );
    }
}
