// SPDX-License-Identifier: GPL-2.0-or-later
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_lossless,
    clippy::manual_is_multiple_of
)]

use std::sync::Arc;

use proptest::prelude::*;

use super::*;
use crate::device::fault::{FaultDevice, Torn};
use crate::device::memory::MemoryDevice;

fn base(len: usize, sector_size: u32) -> Arc<MemoryDevice> {
    let bytes = (0..len).map(|index| (index / 7 % 251) as u8).collect();
    Arc::new(MemoryDevice::new(bytes).with_sector_size(sector_size))
}

fn contents(device: &dyn Device) -> Vec<u8> {
    let mut all = vec![0; device.len() as usize];
    device.read_at(0, &mut all).unwrap();
    all
}

#[test]
fn writes_show_through_and_never_reach_the_base() {
    let base = base(8192, 512);
    let before = base.contents();
    let overlay = Overlay::new(base.clone());
    assert!(overlay.is_unchanged());
    overlay
        .write_at(1000, b"across two sectors, it is long")
        .unwrap();
    overlay.flush().unwrap();
    let mut expected = before.clone();
    expected[1000..1030].copy_from_slice(b"across two sectors, it is long");
    assert_eq!(contents(&overlay), expected);
    assert_eq!(base.contents(), before);
    let changes = overlay.changes().unwrap();
    assert_eq!(changes.len(), 1);
    assert_eq!(changes[0].offset, 512);
    assert_eq!(changes[0].before, before[512..1536]);
    assert_eq!(changes[0].after, expected[512..1536]);
}

#[test]
fn neighbours_merge_and_distant_sectors_do_not() {
    let overlay = Overlay::new(base(8192, 512));
    for sector in [5_u64, 1, 4, 9, 3] {
        overlay.write_at(sector * 512 + 7, &[0xee]).unwrap();
    }
    let shape: Vec<_> = overlay
        .changes()
        .unwrap()
        .iter()
        .map(|change| (change.offset / 512, change.after.len() / 512))
        .collect();
    assert_eq!(shape, [(1, 1), (3, 3), (9, 1)]);
}

#[test]
fn writing_back_what_was_there_is_no_change() {
    let base = base(4096, 512);
    let before = base.contents();
    let overlay = Overlay::new(base);
    overlay.write_at(100, &before[100..900]).unwrap();
    assert!(overlay.is_unchanged());
    overlay.write_at(0, &[0xff; 2048]).unwrap();
    assert!(!overlay.is_unchanged());
    overlay.write_at(0, &before[..2048]).unwrap();
    assert!(overlay.is_unchanged());
    assert!(overlay.changes().unwrap().is_empty());
}

#[test]
fn sectors_are_4096_bytes_on_a_4kn_disk_and_short_at_an_odd_end() {
    let overlay = Overlay::new(base(3 * 4096, 4096));
    overlay.write_at(5000, &[0xff]).unwrap();
    let changes = overlay.changes().unwrap();
    assert_eq!((changes[0].offset, changes[0].after.len()), (4096, 4096));

    let overlay = Overlay::new(base(1000, 512));
    overlay.write_at(999, &[0xff]).unwrap();
    overlay.write_at(999, &[0xff, 1]).unwrap_err();
    let changes = overlay.changes().unwrap();
    assert_eq!((changes[0].offset, changes[0].after.len()), (512, 488));
}

#[test]
fn a_base_that_fails_leaves_the_overlay_as_it_was() {
    let base = Arc::new(FaultDevice::new(vec![0; 4096], 512));
    let overlay = Overlay::new(base.clone());
    overlay.write_at(0, &[1; 10]).unwrap();
    base.stop_after(0, Torn::Nothing);
    base.flush().unwrap_err();
    overlay.write_at(500, &[2; 100]).unwrap_err();
    overlay.changes().unwrap_err();
    assert_eq!(overlay.read().sectors.len(), 1);
    assert_eq!(
        &overlay.read().sectors[&0][..12],
        [1, 1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0]
    );
}

#[test]
fn past_the_end_of_its_base_it_holds_zeros_until_they_are_written() {
    let base = base(1000, 512);
    let before = base.contents();
    let overlay = Overlay::new(base.clone());
    // The last sector, short, is changed before and after the overlay grows.
    overlay.write_at(990, &[0xff; 10]).unwrap();
    overlay.set_length(3000).unwrap();
    assert_eq!(overlay.len(), 3000);
    overlay.write_at(1000, &[0xee; 24]).unwrap();
    overlay.write_at(2995, &[0xdd; 5]).unwrap();
    overlay.write_at(2995, &[0xdd; 6]).unwrap_err();
    overlay.write_at(1600, &[0; 900]).unwrap();
    let mut expected = before.clone();
    expected.resize(3000, 0);
    expected[990..1000].fill(0xff);
    expected[1000..1024].fill(0xee);
    expected[2995..].fill(0xdd);
    assert_eq!(contents(&overlay), expected);
    let changes = overlay.changes().unwrap();
    let shape: Vec<_> = changes.iter().map(|c| (c.offset, c.after.len())).collect();
    assert_eq!(shape, [(512, 512), (2560, 440)]);
    assert_eq!(changes[0].before[..488], before[512..]);
    assert_eq!(changes[0].before[488..], [0; 24]);
    assert_eq!(changes[1].before, vec![0; 440]);
    overlay.set_length(2999).unwrap_err();
    assert_eq!(base.contents(), before);
}

#[test]
fn growing_alone_is_a_change_and_needs_a_base_that_can_follow() {
    let overlay = Overlay::new(base(1024, 512));
    overlay.set_length(1024).unwrap();
    assert!(overlay.is_unchanged());
    overlay.set_length(1025).unwrap();
    assert!(!overlay.is_unchanged() && overlay.changes().unwrap().is_empty());

    let disk: Arc<dyn Device> = Arc::new(FaultDevice::new(vec![0; 4096], 512));
    let overlay = Overlay::new(disk);
    assert!(!overlay.is_resizable());
    let error = overlay.set_length(8192).unwrap_err();
    assert_eq!(error.kind(), crate::error::Kind::Refused);
    assert_eq!(overlay.len(), 4096);
}

proptest! {
    /// Against a plain copy of the bytes: reads agree, and the changes turn the base into the copy and
    /// back.
    #[test]
    fn agrees_with_a_plain_copy(
        len in 1_usize..6000,
        sector_size in prop_oneof![Just(512_u32), Just(4096)],
        writes in prop::collection::vec((0_usize..6000, 0_usize..2000, any::<u8>()), 0..12),
        reads in prop::collection::vec((0_usize..6000, 0_usize..3000), 0..6),
    ) {
        let base = base(len, sector_size);
        let before = base.contents();
        let overlay = Overlay::new(base.clone());
        let mut model = before.clone();
        for (offset, size, value) in writes {
            let fits = offset + size <= len;
            let data: Vec<u8> = (0..size).map(|i| if i % 3 == 0 { value } else { 0 }).collect();
            prop_assert_eq!(overlay.write_at(offset as u64, &data).is_ok(), fits);
            if fits {
                model[offset..offset + size].copy_from_slice(&data);
            }
        }
        prop_assert_eq!(&contents(&overlay), &model);
        for (offset, size) in reads {
            let mut buffer = vec![0; size];
            let fits = offset + size <= len;
            prop_assert_eq!(overlay.read_at(offset as u64, &mut buffer).is_ok(), fits);
            if fits {
                prop_assert_eq!(&buffer[..], &model[offset..offset + size]);
            }
        }
        let changes = overlay.changes().unwrap();
        prop_assert_eq!(overlay.is_unchanged(), changes.is_empty());
        prop_assert_eq!(overlay.is_unchanged(), model == before);
        let (mut forward, mut back) = (before.clone(), model.clone());
        let mut previous_end = None;
        for change in &changes {
            let start = change.offset as usize;
            let end = start + change.after.len();
            prop_assert_eq!(start % sector_size as usize, 0);
            prop_assert!(end == len || end % sector_size as usize == 0);
            prop_assert!(previous_end.is_none_or(|previous| previous < start));
            for (a, b) in change.before.chunks(sector_size as usize).zip(change.after.chunks(sector_size as usize)) {
                prop_assert_ne!(a, b);
            }
            prop_assert_eq!(&forward[start..end], &change.before[..]);
            forward[start..end].copy_from_slice(&change.after);
            back[start..end].copy_from_slice(&change.before);
            previous_end = Some(end);
        }
        prop_assert_eq!(forward, model);
        prop_assert_eq!(back, before.clone());
        prop_assert_eq!(base.contents(), before);
    }
}
