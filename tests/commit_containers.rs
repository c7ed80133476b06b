// SPDX-License-Identifier: GPL-2.0-or-later
//! Stops the commit and the undo of changes to dynamic containers, whose files grow, after every single step, in every
//! way that a power cut can go: after recovery the file is old or new, never a third.

#![allow(missing_docs, dead_code, unreachable_pub)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used, clippy::panic)]

#[path = "containers/build.rs"]
mod build;
mod commit_simulation;

use std::sync::Arc;

use coldfix::container;
use coldfix::device::Device as _;
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
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

/// Files of containers that grow, of some MiB each: one crash, wherever and however, in both directions.
#[test]
fn after_a_crash_a_container_that_grew_is_old_or_new() {
    for (name, scenario) in [("dynamic VHD", dynamic_vhd()), ("VHDX", dynamic_vhdx())] {
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
        for (start, action, old, new, id) in directions {
            let whole = start.fork();
            whole.crash(Loss::Nothing);
            action(&whole).unwrap();
            let steps = whole.steps();
            settled(&whole, old, new, id).unwrap();
            assert!(whole.files() == *new, "{name}");
            let mut lengths = std::collections::BTreeSet::new();
            for stop in 0..steps {
                for loss in LOSSES {
                    let cut = start.fork();
                    cut.crash(Loss::Nothing);
                    cut.stop_after(stop);
                    assert!(action(&cut).is_err(), "step {stop} was not cut off");
                    cut.crash(loss);
                    lengths.extend(cut.files().values().map(Vec::len));
                    let place = format!("{name}, stopped at {stop} of {steps}, {loss:?}");
                    recover_all(&cut).unwrap_or_else(|error| panic!("{place}: {error}"));
                    if let Err(fault) = settled(&cut, old, new, id) {
                        panic!("{place}: {fault}");
                    }
                }
            }
            eprintln!("{name}: {} crashes, lengths {lengths:?}", steps * 8);
            assert!(steps > 8 && lengths.len() > 1);
        }
    }
}
