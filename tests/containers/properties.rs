// SPDX-License-Identifier: GPL-2.0-or-later
//! Random reads and writes on every kind of disk that allocates blocks, against plain bytes.

use coldfix::container;
use proptest::prelude::*;

use super::build::{self, BAT, MIB, Vhdx, entry};
use super::disks::{
    ID, KIB, Noise, PARENT, compare_with_model, in_memory, steps, with_block, write_image,
    write_sparse,
};
use super::support;

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dynamic_vhd_is_as_good_as_plain_bytes(
        // One and a half blocks, and a bit: the last block is cut by the disk's end.
        size in prop_oneof![Just(1536 * KIB), Just(1024 * KIB + 512), Just(512 * KIB)],
        bits in prop::collection::vec(any::<u8>(), 128),
        steps in steps(1536 * KIB),
    ) {
        let image = with_block(build::vhd(size, 512 * KIB as u32, ID, None), &bits);
        let mut model = vec![0; size as usize];
        for sector in 0..1024 {
            if bits[sector / 8] & (0x80 >> (sector % 8)) != 0 {
                model[sector * 512..][..512].fill(0xaa);
            }
        }
        let device = in_memory(&image);
        let open = || container::open(device.clone()).unwrap();
        compare_with_model(&open, model, steps)?;
        let file = device.contents();
        prop_assert!(file[..512] == file[file.len() - 512..]);
    }
}

#[test]
fn a_child_is_as_good_as_plain_bytes_too() {
    let folder = support::temporary();
    let size = 1536 * KIB;
    let mut noise = Noise::new(3);
    let base: Vec<u8> = noise.bytes(size as usize);
    let mut parent = build::Image::default();
    parent.put(0, base.clone());
    parent.put(size, build::vhd_footer(size, 2, PARENT));
    write_sparse(&folder.path().join("base.vhd"), parent.len, &parent.parts);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 32,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let strategy = (prop::collection::vec(any::<u8>(), 128), steps(size));
    runner
        .run(&strategy, |(bits, steps)| {
            let child = build::vhd(size, 512 * KIB as u32, ID, Some((PARENT, "base.vhd")));
            let child = with_block(child, &bits);
            let mut model = base.clone();
            for sector in 0..1024 {
                if bits[sector / 8] & (0x80 >> (sector % 8)) != 0 {
                    model[sector * 512..][..512].fill(0xaa);
                }
            }
            let device = in_memory(&child);
            let place = folder.path().join("child.vhd");
            let open = || container::open_file(device.clone(), &place).unwrap();
            compare_with_model(&open, model, steps)
        })
        .unwrap();
}

/// A disk of three and a half blocks of 1 MiB: not present, present, zero, and cut by the disk's end.
fn vhdx(sector_size: u32, parent: Option<(uuid::Uuid, String)>) -> (build::Image, u64, Vhdx) {
    let mut vhdx = Vhdx::new(3 * MIB + 512 * KIB, MIB as u32);
    vhdx.sector_size = sector_size;
    vhdx.parent = parent;
    let place = (BAT + vhdx.bat_len()) >> 20;
    vhdx.bat = vec![(1, entry(6, place)), (2, entry(2, 0))];
    let mut image = vhdx.build();
    image.put(place << 20, vec![0xaa; MIB as usize]);
    (image, place, vhdx)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn a_dynamic_vhdx_is_as_good_as_plain_bytes(
        sector_size in prop_oneof![Just(512_u32), Just(4096)],
        steps in steps(3 * MIB + 512 * KIB),
    ) {
        let (image, _, vhdx) = vhdx(sector_size, None);
        let mut model = vec![0; vhdx.size as usize];
        model[MIB as usize..2 * MIB as usize].fill(0xaa);
        let device = in_memory(&image);
        let open = || container::open(device.clone()).unwrap();
        compare_with_model(&open, model, steps)?;
    }
}

#[test]
fn a_vhdx_child_is_as_good_as_plain_bytes_too() {
    let folder = support::temporary();
    let size = 3 * MIB + 512 * KIB;
    let mut base = Vhdx::new(size, MIB as u32);
    let place = (BAT + base.bat_len()) >> 20;
    base.bat = (0..4)
        .map(|block| (block, entry(6, place + block)))
        .collect();
    let mut image = base.build();
    let content = Noise::new(5).bytes(size as usize);
    image.put(place << 20, content.clone());
    image.len = (place + 4) << 20;
    write_image(&folder.path().join("base.vhdx"), &image);
    let mut runner = proptest::test_runner::TestRunner::new(ProptestConfig {
        cases: 24,
        failure_persistence: None,
        ..ProptestConfig::default()
    });
    let sectors = prop_oneof![Just(512_u32), Just(4096)];
    runner
        .run(
            &(sectors, any::<u64>(), steps(size)),
            |(sector_size, seed, steps)| {
                let parent = (base.data_write_guid, r".\base.vhdx".to_owned());
                let (mut image, place, mut vhdx) = vhdx(sector_size, Some(parent));
                // Block 3 is partially present, with random bits.
                let ratio = vhdx.chunk_ratio();
                vhdx.bat = vec![(3, entry(7, place + 1)), (ratio, entry(6, place + 2))];
                let bits = Noise::new(seed).bytes((MIB / u64::from(sector_size) / 8) as usize);
                for (index, value) in &vhdx.bat {
                    image.put(BAT + index * 8, value.to_le_bytes());
                }
                image.put((place + 1) << 20, vec![0xbb; MIB as usize]);
                image.put(((place + 2) << 20) + 3 * bits.len() as u64, bits.clone());
                image.len = (place + 3) << 20;
                let mut model = content.clone();
                model[MIB as usize..2 * MIB as usize].fill(0xaa);
                model[2 * MIB as usize..3 * MIB as usize].fill(0);
                for at in (3 * MIB as usize..size as usize).step_by(sector_size as usize) {
                    let sector = (at - 3 * MIB as usize) / sector_size as usize;
                    if bits[sector / 8] & (1 << (sector % 8)) != 0 {
                        model[at..at + sector_size as usize].fill(0xbb);
                    }
                }
                let device = in_memory(&image);
                let place = folder.path().join("child.vhdx");
                let open = || container::open_file(device.clone(), &place).unwrap();
                compare_with_model(&open, model, steps)
            },
        )
        .unwrap();
}
