// SPDX-License-Identifier: GPL-2.0-or-later
//! Stops the commit and the undo of changes to dynamic containers, whose files grow, after every single step, in every
//! way that a power cut can go: after recovery the file is old or new, never a third.

#![allow(missing_docs, dead_code, unreachable_pub)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used, clippy::panic)]

#[path = "containers/build.rs"]
mod build;
mod commit_simulation;
mod support;

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use coldfix::commit::JournalDir;
use coldfix::container::child::{Fresh, create_child};
use coldfix::container::{self, open_file};
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{self, Access, Device as _};
use coldfix::error::Result;
use commit_simulation::explore::*;
use commit_simulation::{Loss, Machine, noise};

type Action<'a> = &'a dyn Fn(&Machine) -> Result<()>;

/// What writing to the disk in a container does to its file, as the overlay has it.
fn container(name: &str, content: Vec<u8>, writes: &[(u64, Vec<u8>)]) -> Scenario {
    let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(content.clone()))));
    let container = container::open(overlay.clone()).unwrap();
    for (offset, data) in writes {
        container.disk.write_at(*offset, data).unwrap();
    }
    container.seal(&overlay.changes().unwrap()).unwrap();
    let changes = overlay
        .changes()
        .unwrap()
        .into_iter()
        .map(|change| (change.offset as usize, change.after))
        .collect();
    assert!(overlay.len() > content.len() as u64, "{name} grows");
    Scenario::new(vec![(name, content, overlay.len() as usize, changes)])
}

/// A dynamic VHD of which one block is in the file: written in place, and by two blocks more.
fn dynamic_vhd() -> Scenario {
    let block = 512 << 10;
    let image = build::vhd(4 * block, block as u32, [1; 16], None);
    let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(image.bytes()))));
    let disk = container::open(overlay.clone()).unwrap().disk;
    disk.write_at(100, &noise(2000, 20)).unwrap();
    let mut content = vec![0; overlay.len() as usize];
    overlay.read_at(0, &mut content).unwrap();
    container(
        "disk.vhd",
        content,
        &[
            (1000, noise(600, 21)),
            (2 * block + 5, noise(700, 22)),
            (block - 3, noise(6, 23)),
        ],
    )
}

/// A dynamic VHDX, likewise; with a log to replay.
fn dynamic_vhdx() -> Scenario {
    let mut vhdx = build::Vhdx::new(4 << 20, 1 << 20);
    vhdx.log_guid = uuid::Uuid::from_u128(77);
    let place = (build::BAT + vhdx.bat_len()) >> 20;
    let mut image = vhdx.build();
    image.put(place << 20, noise(4096, 24));
    image.len = (place + 1) << 20;
    let mut sector = vec![0; 4096];
    sector[..8].copy_from_slice(&build::entry(6, place).to_le_bytes());
    let steps = [build::Step::Data(build::BAT, sector)];
    let entry = build::log_entry(vhdx.log_guid, 8, 0, image.len, &steps);
    image.put(build::LOG, entry);
    container(
        "disk.vhdx",
        image.bytes(),
        &[(3000, noise(2000, 25)), ((2 << 20) - 3, noise(700, 26))],
    )
}

/// One crash after every step, in each way of `losses`, of the commit and of its undo. Returns the lengths that the
/// files were found with.
fn crash(name: &str, scenario: &Scenario, losses: &[Loss]) -> BTreeSet<usize> {
    let done = Machine::new(&scenario.old);
    scenario.commit(&done).unwrap();
    let commit = |machine: &Machine| scenario.commit(machine);
    let directions: [(&Machine, Action<'_>, _, _, _); 2] = [
        (
            &Machine::new(&scenario.old),
            &commit,
            &scenario.old,
            &scenario.new,
            FIRST,
        ),
        (&done, &undo_first, &scenario.new, &scenario.old, SECOND),
    ];
    let mut lengths = BTreeSet::new();
    let mut crashes = 0;
    for (start, action, old, new, id) in directions {
        let whole = start.fork();
        whole.crash(Loss::Nothing);
        action(&whole).unwrap();
        let steps = whole.steps();
        settled(&whole, old, new, id).unwrap();
        assert!(whole.files() == *new, "{name}");
        for stop in 0..steps {
            for loss in losses {
                let cut = start.fork();
                cut.crash(Loss::Nothing);
                cut.stop_after(stop);
                assert!(action(&cut).is_err(), "step {stop} was not cut off");
                cut.crash(*loss);
                lengths.extend(cut.files().values().map(Vec::len));
                let place = format!("{name}, stopped at {stop} of {steps}, {loss:?}");
                recover_all(&cut).unwrap_or_else(|error| panic!("{place}: {error}"));
                if let Err(fault) = settled(&cut, old, new, id) {
                    panic!("{place}: {fault}");
                }
            }
        }
        crashes += steps * losses.len() as u64;
        assert!(steps > 8);
    }
    support::proof(
        "crashes",
        &format!("container-{}", name.replace(' ', "-")),
        crashes,
    );
    lengths
}

/// Files of containers that grow, of some MiB each: one crash, wherever and however, in both directions.
#[test]
fn after_a_crash_a_container_that_grew_is_old_or_new() {
    for (name, scenario) in [("dynamic VHD", dynamic_vhd()), ("VHDX", dynamic_vhdx())] {
        assert!(crash(name, &scenario, &LOSSES).len() > 1, "{name} grows");
    }
}

/// What the binary wrote to an image when it did the whole preset: on the ESP's FAT and on NTFS, in one operation.
fn preset(image: &Path, state: &Path) -> Scenario {
    let old = fs::read(image).unwrap();
    let output = support::coldfix(state)
        .arg("repair")
        .arg(image)
        .args(["--preset", "azure-internal-error", "--yes"])
        .output()
        .unwrap();
    support::ends(&output, 0);
    let new = fs::read(image).unwrap();
    let dir = JournalDir::open(format!("{}.coldfix", image.display()));
    let id = dir.list().unwrap().operations[0].header.id.clone();
    let (_, changes) = dir.load(&id).unwrap();
    let changes = changes.patches[0].changes.iter();
    let changes: Vec<_> = changes
        .map(|change| (change.offset as usize, change.after.clone()))
        .collect();
    let scenario = Scenario::new(vec![("disk.vhdx", old, new.len(), changes)]);
    let (_, after) = scenario.new.iter().next().unwrap();
    assert!(*after == new, "the journal holds the whole change");
    scenario
}

/// How many sectors of the ESP and of the Windows volume a scenario changes.
fn changed_sectors(scenario: &Scenario) -> [usize; 2] {
    let content = |files: &Files| {
        let (_, bytes) = files.iter().next().unwrap();
        let disk = container::open(Arc::new(MemoryDevice::new(bytes.clone())));
        let disk = disk.unwrap().disk;
        let mut content = vec![0; disk.len() as usize];
        disk.read_at(0, &mut content).unwrap();
        content
    };
    let (old, new) = (content(&scenario.old), content(&scenario.new));
    [1_usize..35, 36..100].map(|mib| {
        let range = mib.start << 20..mib.end << 20;
        let pairs = old[range.clone()].chunks(512).zip(new[range].chunks(512));
        pairs.filter(|(old, new)| old != new).count()
    })
}

/// The boot configuration on the ESP, the registry and the permissions on NTFS: all of it or nothing, when the disk is
/// a dynamic VHDX that is written in place, and when it is a child that gets every block anew.
#[test]
fn after_a_crash_a_preset_over_two_volumes_is_done_or_not() {
    if !support::require("gzip") {
        return;
    }
    let losses = [
        Loss::Nothing,
        Loss::Everything,
        Loss::Some(1),
        Loss::Some(2),
    ];
    let (folder, state) = (support::temporary(), support::temporary());
    let disk = support::shipped_disk(folder.path());
    let child = folder.path().join("child.vhdx");
    let parent = open_file(device::open(&disk, Access::Read).unwrap(), &disk).unwrap();
    let fresh = Fresh {
        ids: [1, 2, 3].map(uuid::Uuid::from_u128),
        now: 1_800_000_000,
    };
    let made = create_child(&disk, &parent, &child, &fresh).unwrap();
    drop(parent);
    let image = build::Image {
        len: made.len,
        parts: made.parts,
    };
    fs::write(&child, image.bytes()).unwrap();
    let lengths = crash("child", &preset(&child, state.path()), &losses);
    assert!(lengths.len() > 1, "it grows");
    fs::remove_file(&child).unwrap();
    let scenario = preset(&disk, state.path());
    let [esp, windows] = changed_sectors(&scenario);
    assert!(
        esp > 1 && windows > 10,
        "{esp} on the ESP, {windows} on NTFS"
    );
    crash("in place", &scenario, &losses);
}
