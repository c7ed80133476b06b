// SPDX-License-Identifier: GPL-2.0-or-later
//! Parents of differencing disks: found, not found, wrong; and children that keep a disk from being written.

use std::fs;

use coldfix::container;
use coldfix::device::{self, Access};
use coldfix::error::Kind;
use uuid::Uuid;

use super::build::{self, MIB, Vhdx};
use super::disks::{
    ID, KIB, PARENT, contents, guids, in_memory, open, real, write_image, write_sparse,
};
use super::support;

#[test]
fn a_parent_is_found_by_what_it_is_called_and_judged_by_what_it_is() {
    let folder = support::temporary();
    let place = |name: &str| folder.path().join(name);
    let size = 1024 * KIB;
    let fixed = |id: [u8; 16], fill: u8| {
        let mut image = build::Image::default();
        image.put(0, vec![fill; size as usize]);
        image.put(size, build::vhd_footer(size, 2, id));
        image
    };
    let write =
        |name: &str, image: &build::Image| write_sparse(&place(name), image.len, &image.parts);
    let child = build::vhd(size, 512 * KIB as u32, ID, Some((PARENT, "Base.VHD")));
    write("child.vhd", &child);

    let error = open(&place("child.vhd")).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let text = error.to_string();
    assert!(
        text.contains("22222222-2222-2222-2222-222222222222"),
        "{text}"
    );
    assert!(
        text.contains("Base.VHD") && text.contains("missing"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("same folder"));

    // Another disk has its name.
    write("base.vhd", &fixed([0x33; 16], 1));
    let error = open(&place("child.vhd")).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    assert!(error.to_string().contains("33333333-3333"), "{error}");
    fs::write(place("base.vhd"), vec![0; 4096]).unwrap();
    let error = open(&place("child.vhd")).unwrap_err();
    assert!(error.to_string().contains("no VHD"), "{error}");

    // The right one, in other letters.
    write("base.vhd", &fixed(PARENT, 0x5a));
    let opened = open(&place("child.vhd")).unwrap();
    assert!(contents(opened.disk()) == vec![0x5a; size as usize]);
    let notes = opened.container.notes.join("\n");
    assert!(notes.contains("base.vhd"), "{notes}");
    assert!(!notes.contains("time of change"), "{notes}");
    drop(opened);

    // A chain of three, whose newest keeps a time stamp that the file does not have.
    let mut top = build::vhd(size, 512 * KIB as u32, [0x44; 16], Some((ID, "child.vhd")));
    let header = &mut top.parts[2].1;
    header[56..60].copy_from_slice(&1_u32.to_be_bytes());
    build::seal_vhd(header, 36);
    write("top.vhd", &top);
    let opened = open(&place("top.vhd")).unwrap();
    let notes = opened.container.notes.join("\n");
    assert!(notes.contains("time of change"), "{notes}");
    opened.disk().write_at(5, &[1, 2, 3]).unwrap();
    let mut found = [0; 5];
    opened.disk().read_at(4, &mut found).unwrap();
    assert_eq!(found, [0x5a, 1, 2, 3, 0x5a]);
    drop(opened);
    // The middle one is in use as a parent: it and the base are not to be written, the newest is.
    for (name, free) in [("base.vhd", false), ("child.vhd", false), ("top.vhd", true)] {
        let device = device::open(&place(name), Access::Read).unwrap();
        let result = container::check_no_children(&place(name), &device);
        assert_eq!(result.is_ok(), free, "{name}");
    }

    // The chain breaks below.
    fs::remove_file(place("base.vhd")).unwrap();
    let error = open(&place("top.vhd")).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("Base.VHD"), "{error}");

    // A circle, of one and of two.
    write(
        "Base.VHD",
        &build::vhd(size, 512 * KIB as u32, PARENT, Some((ID, "child.vhd"))),
    );
    for name in ["child.vhd", "Base.VHD", "top.vhd"] {
        let error = open(&place(name)).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{name}: {error}");
        assert!(error.to_string().contains("again"), "{name}: {error}");
    }
    // Without a place, a child cannot be opened.
    let error = container::open(in_memory(&child)).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
}

#[test]
fn a_vhdx_chain_holds_while_the_linkage_does() {
    let folder = support::temporary();
    let place = |name: &str| folder.path().join(name);
    fs::create_dir(place("deep")).unwrap();
    let base = Vhdx::new(4 * MIB, MIB as u32);
    write_image(&place("base.vhdx"), &base.build());
    let mut middle = base.clone();
    middle.data_write_guid = Uuid::from_u128(2);
    middle.parent = Some((base.data_write_guid, r"..\base.vhdx".into()));
    write_image(&place("deep/middle.avhdx"), &middle.build());
    let mut top = base.clone();
    top.data_write_guid = Uuid::from_u128(3);
    top.parent = Some((middle.data_write_guid, r".\deep\middle.avhdx".into()));
    write_image(&place("top.avhdx"), &top.build());

    let opened = open(&place("top.avhdx")).unwrap();
    opened.disk().write_at(MIB + 5, b"top").unwrap();
    let notes = opened.container.notes.join("\n");
    assert!(
        notes.contains("middle.avhdx") && notes.contains("base.vhdx"),
        "{notes}"
    );
    let written = place("written.avhdx");
    opened.commit_to(&written);
    drop(opened);
    // Its own children, had it any, would now be lost; those below it are as they were.
    assert_ne!(guids(&written).1, guids(&place("top.avhdx")).1);
    let again = open(&written).unwrap();
    let mut found = [1; 5];
    again.disk().read_at(MIB + 4, &mut found).unwrap();
    assert_eq!(&found, b"\0top\0");
    drop(again);

    // Beside it are top and its copy: the middle, were it here, could not be written. The base has no child here.
    let refused = |name: &str| {
        let device = device::open(&place(name), Access::Read).unwrap();
        container::check_no_children(&place(name), &device).err()
    };
    assert!(refused("base.vhdx").is_none());
    fs::copy(place("deep/middle.avhdx"), place("middle.avhdx")).unwrap();
    let error = refused("base.vhdx").unwrap();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("middle.avhdx"), "{error}");
    let error = refused("middle.avhdx").unwrap();
    assert!(error.to_string().contains("written.avhdx"), "{error}");
    fs::remove_file(place("middle.avhdx")).unwrap();

    // The base is changed: its new data write GUID is not the one that the middle knows.
    let opened = open(&place("base.vhdx")).unwrap();
    opened.disk().write_at(0, b"changed").unwrap();
    opened.commit_to(&place("changed.vhdx"));
    drop(opened);
    fs::rename(place("changed.vhdx"), place("base.vhdx")).unwrap();
    let error = open(&place("top.avhdx")).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    let text = error.to_string();
    assert!(text.contains(&base.data_write_guid.to_string()), "{text}");
    assert!(text.contains("middle.avhdx"), "{text}");
    assert!(error.hint().unwrap().contains("restore the parent"));
    fs::remove_file(place("deep/middle.avhdx")).unwrap();
    let error = open(&place("top.avhdx")).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("deep/middle.avhdx"), "{error}");
}

#[test]
fn a_parent_that_was_not_closed_is_replayed_in_memory_and_left_alone() {
    let folder = support::temporary();
    let Some(base) = real("w10-dirty-log.vhdx", folder.path()) else {
        return;
    };
    let before = support::sha256(&base);
    let parent = open(&base).unwrap();
    let mut child = Vhdx::new(parent.disk().len(), 2 << 20);
    child.parent = Some((guids(&base).1, r".\w10-dirty-log.vhdx".into()));
    let path = folder.path().join("child.vhdx");
    write_image(&path, &child.build());
    let opened = open(&path).unwrap();
    assert!(opened.container.notes.join(" ").contains("In the parent"));
    assert!(opened.overlay.is_unchanged());
    let (mut ours, mut theirs) = (vec![0; 1 << 20], vec![0; 1 << 20]);
    for offset in [0, 1 << 20, 3 << 20] {
        opened.disk().read_at(offset, &mut ours).unwrap();
        parent.disk().read_at(offset, &mut theirs).unwrap();
        assert!(ours == theirs);
    }
    opened.disk().write_at(7, b"child").unwrap();
    assert_eq!(support::sha256(&base), before);
}

/// A real checkpoint whose parent nobody has.
pub const ORPHAN: &str = "w2019-orphan-diff.avhdx";

#[test]
fn a_checkpoint_of_hyper_v_without_its_parent_is_refused_by_name() {
    let folder = support::temporary();
    let Some(image) = real(ORPHAN, folder.path()) else {
        return;
    };
    let error = open(&image).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let text = error.to_string();
    assert!(
        text.contains("ff34003b-11ed-4cf8-a166-b2be05e20b80"),
        "{text}"
    );
    assert!(
        text.contains("Generation 1_49C4BAF3-4B25-4406-8C4B-D39E65C32385.avhdx"),
        "{text}"
    );
    assert!(error.hint().unwrap().contains("Merge-VHD"));
}
