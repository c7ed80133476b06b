// SPDX-License-Identifier: GPL-2.0-or-later
//! Stops a commit, an undo and a recovery after every single step, in every way that a power cut can
//! go: after recovery the target is old or new, never a third.

#![allow(missing_docs, dead_code, unreachable_pub)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used)]

mod commit_simulation;
mod support;

use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldfix::commit::{DeviceTarget, Outcome, commit, recover};
use coldfix::device::fault::{FaultDevice, Torn, Unflushed};
use coldfix::error::Kind;
use commit_simulation::explore::*;
use commit_simulation::{Lies, Loss, Machine, SECURITY, header, identity, noise};
use proptest::prelude::*;

/// A raw image: changes inside a sector, over several, two in one sector, the first and the last byte.
fn raw_image() -> Scenario {
    let content = noise(16 * 512, 1);
    Scenario::new(vec![(
        "disk.raw",
        content,
        16 * 512,
        vec![
            (0, vec![0xaa]),
            (100, noise(40, 2)),
            (200, noise(8, 3)),
            (700, noise(1700, 4)),
            (5 * 512, noise(512, 5)),
            (6 * 512 + 10, vec![1, 2, 3, 4]),
            (16 * 512 - 1, vec![0x55]),
        ],
    )])
}

/// A fixed VHD: a payload and its footer of 512 bytes, which a repair does not touch.
fn fixed_vhd() -> Scenario {
    let mut content = noise(8 * 512, 6);
    content.extend_from_slice(b"conectix");
    content.resize(9 * 512, 0);
    Scenario::new(vec![(
        "disk.vhd",
        content,
        9 * 512,
        vec![(1024, noise(1024, 7)), (8 * 512 - 20, noise(20, 8))],
    )])
}

/// A mounted folder: a hive that grows, with a part of the growth left zero, a log that does not, and a
/// file that grows from nothing.
fn folder() -> Scenario {
    Scenario::new(vec![
        (
            "config/SYSTEM",
            noise(4096, 9),
            4 * 4096,
            vec![
                (4, vec![7, 0, 0, 0, 7, 0, 0, 0]),
                (0x1fc, noise(4, 10)),
                (4000, noise(1000, 11)),
                (3 * 4096 + 100, noise(50, 12)),
            ],
        ),
        (
            "config/SYSTEM.LOG1",
            noise(1024, 13),
            1024,
            vec![(0, vec![0; 512])],
        ),
        ("config/SYSTEM.LOG2", vec![], 600, vec![(0, noise(600, 14))]),
    ])
}

/// A mounted folder whose host also changes descriptors and names: of folders, of a file that is patched, of a
/// folder in a folder that is itself renamed.
fn operations() -> Scenario {
    Scenario::new(vec![
        (
            "config/SYSTEM",
            noise(900, 15),
            1500,
            vec![(100, noise(4, 16)), (890, noise(300, 17))],
        ),
        ("Store/Download/x", noise(600, 18), 600, vec![(0, vec![1])]),
    ])
    .secured("config", b"everyone", b"nobody")
    .secured("config/SYSTEM", b"everyone", b"system")
    .secured("Store/Download", b"store", b"download")
    .secured("Store/Download/x", b"store", b"x")
    .renamed("Store/Download", "Download.old")
    .renamed("Store", "Store.old")
    .renamed("config", "config2")
}

/// Names and descriptors only, as most repairs of permissions are.
fn descriptors_only() -> Scenario {
    Scenario::new(vec![])
        .secured("MachineKeys", b"before", b"after")
        .secured("MachineKeys/a", b"before", b"after")
        .secured("MachineKeys/b", b"other", b"after")
        .renamed("MachineKeys/b", "c")
}

/// A hive that is replaced by a copy of another: what it held is kept in a file of its own, its log gets another name, and
/// two files go. With descriptors, and without as in a plain folder.
fn whole_files() -> Scenario {
    Scenario::new(vec![(
        "config/SYSTEM",
        noise(700, 20),
        1300,
        vec![(0, noise(1300, 21))],
    )])
    .secured("config/SYSTEM.LOG1", b"system", b"other")
    .made(
        "config/SYSTEM.coldfix-old",
        &noise(700, 20),
        Some(b"system"),
    )
    .made("config/plain", b"", None)
    .removed("config/TxR/a.blf", &noise(600, 22), Some(b"system"))
    .removed("config/TxR/b.blf", b"x", None)
    .renamed("config/SYSTEM.LOG1", "SYSTEM.coldfix-old.LOG1")
}

#[test]
fn after_a_crash_at_any_step_the_target_is_old_or_new() {
    for (name, scenario) in [
        ("raw", raw_image()),
        ("fixed VHD", fixed_vhd()),
        ("folder", folder()),
        ("operations", operations()),
        ("descriptors only", descriptors_only()),
        ("whole files", whole_files()),
    ] {
        let (runs, faults) = explore_commit(&scenario, Lies::default());
        assert!(faults.is_empty(), "{name}: {faults:#?}");
        assert!(runs > 500, "{name}: only {runs}");
        support::proof(
            "crashes",
            &format!("commit-{}", name.replace(' ', "-")),
            runs,
        );
    }
}

/// A host such as ntfs-3g, whose rename can leave both names.
#[test]
fn after_a_crash_between_two_names_the_target_is_old_or_new() {
    let scenario = whole_files();
    let start = Machine::new(&scenario.old);
    start.rename_in_two();
    let action = |machine: &Machine| scenario.commit(machine);
    let (made, faults) = explore(&start, &action, (&scenario.old, &scenario.new), FIRST);
    assert!(faults.is_empty(), "{faults:#?}");
    scenario.commit(&start).unwrap();
    let (unmade, faults) = explore(&start, &undo_first, (&scenario.new, &scenario.old), SECOND);
    assert!(faults.is_empty(), "{faults:#?}");

    let scenario = operations();
    let start = Machine::new(&scenario.old);
    start.rename_in_two();
    let both = std::cell::Cell::new(0);
    let action = |machine: &Machine| scenario.commit(machine);
    let (runs, faults) = explore(&start, &action, (&scenario.old, &scenario.new), FIRST);
    assert!(faults.is_empty(), "{faults:#?}");
    scenario.commit(&start).unwrap();
    let (more, faults) = explore(&start, &undo_first, (&scenario.new, &scenario.old), SECOND);
    assert!(faults.is_empty(), "{faults:#?}");
    support::proof("crashes", "between-two-names", made + unmade + runs + more);

    // That there were such states is not taken for granted.
    for stop in 0.. {
        let machine = Machine::new(&scenario.old);
        machine.rename_in_two();
        machine.stop_after(stop);
        if scenario.commit(&machine).is_ok() {
            break;
        }
        machine.crash(Loss::Nothing);
        let names = |a: &str, b: &str| {
            let files = machine.files();
            files.contains_key(Path::new(a)) && files.contains_key(Path::new(b))
        };
        if names("config/SYSTEM", "config2/SYSTEM")
            || names("Store/Download/x", "Store.old/Download.old/x")
        {
            both.set(both.get() + 1);
        }
    }
    assert!(both.get() > 0);
}

#[test]
fn after_a_crash_at_any_step_of_an_undo_the_target_is_old_or_new() {
    for (name, scenario) in [
        ("raw", raw_image()),
        ("fixed VHD", fixed_vhd()),
        ("folder", folder()),
        ("operations", operations()),
        ("descriptors only", descriptors_only()),
        ("whole files", whole_files()),
    ] {
        let (runs, faults) = explore_undo(&scenario);
        assert!(faults.is_empty(), "{name}: {faults:#?}");
        assert!(runs > 500, "{name}: only {runs}");
        support::proof("crashes", &format!("undo-{}", name.replace(' ', "-")), runs);
    }
}

/// The tests above could not fail if the simulation kept what nobody flushed.
#[test]
fn the_simulation_notices_each_sync_that_is_left_out() {
    for lies in [
        Lies {
            target_flush: true,
            ..Lies::default()
        },
        Lies {
            journal_content_sync: true,
            ..Lies::default()
        },
        Lies {
            journal_folder_sync: true,
            ..Lies::default()
        },
    ] {
        for scenario in [raw_image(), descriptors_only(), whole_files()] {
            let (_, faults) = explore_commit(&scenario, lies);
            assert!(!faults.is_empty(), "{lies:?} went unnoticed");
        }
    }
}

#[test]
fn no_byte_goes_in_place_before_the_journal_is_durable() {
    for scenario in [raw_image(), fixed_vhd(), folder(), operations()] {
        let machine = Machine::new(&scenario.old);
        scenario.commit(&machine).unwrap();
        undo_first(&machine).unwrap();
        assert!(!machine.wrote_without_journal());
    }
}

#[test]
fn both_directions_of_recovery_are_reached() {
    let scenario = raw_image();
    let mut outcomes = Vec::new();
    for stop in 0.. {
        let machine = Machine::new(&scenario.old);
        machine.stop_after(stop);
        if scenario.commit(&machine).is_ok() {
            break;
        }
        machine.crash(Loss::Nothing);
        let recoveries = recover(
            &machine.dir().unwrap(),
            &identity(),
            &mut machine.target(),
            &mut |_| {},
        )
        .unwrap();
        outcomes.extend(recoveries.into_iter().map(|recovery| recovery.outcome));
    }
    assert!(outcomes.contains(&Outcome::TakenBack) && outcomes.contains(&Outcome::Completed));
}

/// Cut off in the middle of the writes, with everything so far on the disk.
fn half_written(scenario: &Scenario) -> Machine {
    let machine = Machine::new(&scenario.old);
    machine.stop_after(9);
    scenario.commit(&machine).unwrap_err();
    machine.crash(Loss::Nothing);
    assert!(machine.files() != scenario.old && machine.files() != scenario.new);
    machine
}

#[test]
fn what_no_crash_explains_is_refused_and_left_alone() {
    let scenario = raw_image();
    let machine = half_written(&scenario);
    let path = Path::new("disk.raw");
    // Neither the old byte nor the new one, in a sector that had been written.
    let foreign = scenario.old[path][0] ^ scenario.new[path][0] ^ 0xff;
    let foreign = [foreign, foreign ^ 1, foreign ^ 2]
        .into_iter()
        .find(|byte| *byte != scenario.old[path][0] && *byte != scenario.new[path][0])
        .unwrap();
    machine.overwrite(path, 0, &[foreign]);
    let found = machine.files();
    let names = machine.journal_names();
    let error = recover_all(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error.to_string().contains("interrupted operation"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains(".journal"));
    assert_eq!(machine.files(), found);
    assert_eq!(machine.journal_names(), names);

    // A change outside the operation's ranges is none of its business.
    let machine = half_written(&scenario);
    machine.overwrite(path, 4 * 512 + 400, &[1, 2, 3]);
    recover_all(&machine).unwrap();
    assert_eq!(machine.files()[path][4 * 512 + 400..][..3], [1, 2, 3]);
}

#[test]
fn nothing_is_begun_while_an_operation_is_interrupted() {
    let scenario = raw_image();
    let machine = half_written(&scenario);
    let found = machine.files();
    let error = commit(
        &machine.dir().unwrap(),
        header(SECOND),
        &scenario.changes,
        &mut machine.target(),
        &mut |_| {},
    )
    .unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(undo_first(&machine).unwrap_err().kind(), Kind::Refused);
    assert_eq!(machine.files(), found);
}

#[test]
fn a_failed_write_is_taken_back_at_once() {
    let scenario = raw_image();
    let machine = Machine::new(&scenario.old);
    machine.bad_from(Some(4 * 512));
    let error = scenario.commit(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("was taken back"), "{error}");
    settled(&machine, &scenario.old, &scenario.new, FIRST).unwrap();
    assert_eq!(machine.files(), scenario.old);
}

/// After a failed fsync the cache shows new bytes that the disk never got; recovery must not trust it.
#[test]
fn after_a_failed_flush_recovery_judges_the_disk() {
    for scenario in [raw_image(), folder()] {
        let machine = Machine::new(&scenario.old);
        machine.fail_next_flush();
        let error = scenario.commit(&machine).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.hint().unwrap().contains("run coldfix again"));
        recover_all(&machine).unwrap();
        settled(&machine, &scenario.old, &scenario.new, FIRST).unwrap();
    }
}

/// Read back, not believed: on a host that only says that it cut the file.
#[test]
fn a_file_that_was_not_cut_does_not_count_as_taken_back() {
    let scenario = folder();
    let machine = Machine::new(&scenario.old);
    machine.stop_after(5); // four for the journal, and the first file is longer
    scenario.commit(&machine).unwrap_err();
    machine.crash(Loss::Nothing);
    machine.lie(Lies {
        target_length: true,
        ..Lies::default()
    });
    assert_eq!(recover_all(&machine).unwrap_err().kind(), Kind::Damaged);
    machine.lie(Lies::default());
    recover_all(&machine).unwrap();
    settled(&machine, &scenario.old, &scenario.new, FIRST).unwrap();
}

#[test]
fn a_full_journal_folder_leaves_nothing_behind() {
    let scenario = raw_image();
    let machine = Machine::new(&scenario.old);
    machine.journal_space(Some(1000));
    let error = scenario.commit(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.hint().unwrap().contains("--journal-dir"));
    assert_eq!(machine.files(), scenario.old);
    assert!(machine.journal_names().is_empty());
}

/// What the host has been made to do so far is taken back too, and no later start is needed.
#[test]
fn a_descriptor_that_the_host_does_not_keep_is_taken_back_at_once() {
    let scenario = operations();
    let machine = Machine::new(&scenario.old);
    machine.alter_descriptor(b"download");
    let error = scenario.commit(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    let message = error.to_string();
    assert!(message.contains("was taken back"), "{message}");
    assert!(
        message.contains("Store/Download") && message.contains("9 bytes instead of 8"),
        "{message}"
    );
    assert!(
        message.contains("from byte 8 on: 00 instead of nothing more"),
        "{message}"
    );
    assert!(error.hint().unwrap().contains("disk itself"), "{error}");
    settled(&machine, &scenario.old, &scenario.new, FIRST).unwrap();
    assert_eq!(machine.files(), scenario.old);

    // The last operation of all fails.
    let machine = Machine::new(&scenario.old);
    machine.refuse_descriptor(b"x");
    let error = scenario.commit(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    settled(&machine, &scenario.old, &scenario.new, FIRST).unwrap();
}

/// It could not be taken back later: that must come out before the first one is replaced.
#[test]
fn a_descriptor_that_the_host_would_not_take_back_is_not_replaced() {
    let scenario = descriptors_only();
    for alter in [false, true] {
        let machine = Machine::new(&scenario.old);
        match alter {
            true => machine.alter_descriptor(b"other"),
            false => machine.refuse_descriptor(b"other"),
        }
        let before = machine.steps();
        let error = scenario.commit(&machine).unwrap_err();
        assert!(
            error.to_string().contains("could not be restored later"),
            "{error}"
        );
        assert!(machine.steps() - before < 12, "{}", machine.steps());
        if !alter {
            settled(&machine, &scenario.old, &scenario.new, FIRST).unwrap();
        }
    }
}

#[test]
fn names_and_descriptors_that_no_crash_explains_are_refused_and_left_alone() {
    let scenario = operations();
    // Cut off after the second descriptor.
    let cut = |steps| {
        let machine = Machine::new(&scenario.old);
        machine.stop_after(steps);
        scenario.commit(&machine).unwrap_err();
        machine.crash(Loss::Nothing);
        machine
    };
    let machine = cut(13);
    assert!(machine.files() != scenario.old);
    machine.overwrite_descriptor(Path::new("config/SYSTEM"), b"foreign");
    let found = machine.files();
    let error = recover_all(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error
            .to_string()
            .contains("the permissions of config/SYSTEM"),
        "{error}"
    );
    assert_eq!(machine.files(), found);

    // Before anything is written: changed since it was read.
    let machine = Machine::new(&scenario.old);
    machine.overwrite_descriptor(Path::new("Store/Download/x"), b"foreign");
    let found = machine.files();
    let error = scenario.commit(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error.to_string().contains("changed since it was read"),
        "{error}"
    );
    assert_eq!(machine.files(), found);
    assert!(machine.journal_names().is_empty());

    // Undo: the old name is taken, the new one is gone, the descriptor is another.
    let done = || {
        let machine = Machine::new(&scenario.old);
        scenario.commit(&machine).unwrap();
        machine
    };
    let machine = done();
    machine.overwrite_descriptor(Path::new("config2"), b"foreign");
    let error = undo_first(&machine).unwrap_err();
    assert!(
        error.to_string().contains("the permissions of config2"),
        "{error}"
    );
    assert!(error.hint().unwrap().contains("--revert"), "{error}");
    let machine = done();
    machine.make(Path::new("Store"));
    let found = machine.files();
    let error = undo_first(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(
        error.to_string().contains("Store.old and Store both exist"),
        "{error}"
    );
    assert_eq!(machine.files(), found);
}

/// The same over the device layer's own test disk, through the target that images and block devices use.
/// A sector that the disk garbled, neither old nor new, is refused and left as it is.
/// Neither what somebody has put where a file is to be made, nor what became of one that is to go, is touched.
#[test]
fn whole_files_that_no_crash_explains_are_refused_and_left_alone() {
    let scenario = whole_files();
    let refused = |machine: &Machine, says: &str| {
        let found = machine.files();
        let error = recover_all(machine).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(machine.files(), found);
    };
    let mut seen = (false, false);
    for stop in 0.. {
        let machine = Machine::new(&scenario.old);
        machine.stop_after(stop);
        if scenario.commit(&machine).is_ok() {
            break;
        }
        machine.crash(Loss::Nothing);
        let names = machine.journal_names();
        let is_there = |ending| names.iter().any(|name| name.ends_with(ending));
        if !is_there(".journal") || is_there(".done") {
            continue;
        }
        // Content that differs, of the same length.
        if machine.files().contains_key(Path::new("config/TxR/a.blf")) {
            let machine = machine.fork();
            machine.overwrite(Path::new("config/TxR/a.blf"), 5, b"foreign");
            refused(&machine, "config/TxR/a.blf holds something else");
            seen.0 = true;
        }
        if machine.files().contains_key(Path::new("config/plain")) {
            let machine = machine.fork();
            machine.overwrite_descriptor(Path::new("config/SYSTEM.coldfix-old"), b"foreign");
            refused(&machine, "config/SYSTEM.coldfix-old holds something else");
            seen.1 = true;
        }
    }
    assert_eq!(seen, (true, true));

    // Before anything is begun.
    for (file, says) in [
        ("config/plain", "config/plain holds something else"),
        ("config/plain.coldfix-part", "has been made in part"),
    ] {
        let mut old = scenario.old.clone();
        old.insert(file.into(), b"somebody's".to_vec());
        let machine = Machine::new(&old);
        let error = scenario.commit(&machine).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains(says), "{error}");
        assert_eq!(machine.files(), old);
        assert!(machine.journal_names().is_empty());
    }

    // Undone, the made file must be what was made.
    let machine = Machine::new(&scenario.old);
    scenario.commit(&machine).unwrap();
    machine.overwrite_descriptor(Path::new("config/SYSTEM.coldfix-old"), b"foreign");
    let error = undo_first(&machine).unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("has changed since"), "{error}");
}

#[test]
fn the_test_disk_of_the_device_layer_is_recovered_too() {
    let scenario = raw_image();
    let path = Path::new("disk.raw");
    let (old, new) = (&scenario.old[path], &scenario.new[path]);
    let run = |machine: &Machine, disk: &Arc<FaultDevice>| {
        let target = &mut DeviceTarget::new(disk.clone(), "/nonexistent/disk.raw");
        let dir = machine.dir().unwrap();
        commit(&dir, header(FIRST), &scenario.changes, target, &mut |_| {}).map(drop)
    };
    let whole = Arc::new(FaultDevice::new(old.clone(), 512));
    run(&Machine::new(&Files::new()), &whole).unwrap();
    assert_eq!(whole.crash(Unflushed::Lost), *new);

    let (mut recovered, mut refused) = (0, 0);
    for stop in 0..whole.operations() {
        for torn in [
            Torn::Nothing,
            Torn::Sectors(1),
            Torn::Sectors(2),
            Torn::Bytes(3),
            Torn::Bytes(700),
            Torn::Garbled(0),
            Torn::Garbled(1),
        ] {
            let machine = Machine::new(&Files::new());
            let disk = Arc::new(FaultDevice::new(old.clone(), 512));
            disk.stop_after(stop, torn);
            run(&machine, &disk).unwrap_err();
            machine.crash(Loss::Nothing);
            for unflushed in [
                Unflushed::Lost,
                Unflushed::Kept,
                Unflushed::LastOnly,
                Unflushed::AllButLast,
                Unflushed::Scattered(stop),
                Unflushed::Scattered(stop + 1000),
            ] {
                let image = disk.crash(unflushed);
                // A byte that is neither, on the disk: then, and only then, recovery must refuse.
                let foreign = (0..old.len()).any(|at| image[at] != old[at] && image[at] != new[at]);
                let machine = machine.fork();
                let next = Arc::new(FaultDevice::new(image.clone(), 512));
                let target = &mut DeviceTarget::new(next.clone(), "/nonexistent/disk.raw");
                let dir = machine.dir().unwrap();
                let outcome = recover(&dir, &identity(), target, &mut |_| {});
                let found = next.crash(Unflushed::Lost);
                let place = format!("{stop}, {torn:?}, {unflushed:?}");
                match outcome {
                    Ok(_) => {
                        assert!(!foreign && (found == *old || found == *new), "{place}");
                        recovered += 1;
                    }
                    Err(error) => {
                        assert!(foreign, "{place}: {error}");
                        assert_eq!(error.kind(), Kind::Refused);
                        assert_eq!((found, next.operations()), (image, 1), "{place}"); // one flush
                        refused += 1;
                    }
                }
            }
        }
    }
    eprintln!("device layer's disk: {recovered} recovered, {refused} refused");
    assert!(recovered > 200 && refused > 20);
    support::proof("crashes", "device-layer", recovered + refused);
}

fn any_patches() -> impl Strategy<Value = Scenario> {
    let file = (0_usize..3000, 0_usize..3000, any::<bool>(), any::<u64>());
    let spans = prop::collection::vec((0_usize..900, 1_usize..1200), 0..5);
    prop::collection::vec((file, spans), 1..4).prop_filter_map("changes something", |files| {
        let mut parts = Vec::new();
        for (index, ((length, other, grows, seed), spans)) in files.into_iter().enumerate() {
            // A file may grow; a caller never shrinks one but through undo.
            let after = if grows { length.max(other) } else { length };
            let mut changes = Vec::new();
            let mut offset = 0;
            for (gap, size) in spans {
                let start = offset + gap;
                let size = size.min(after.saturating_sub(start));
                if size == 0 {
                    break;
                }
                // Few different bytes, so that old and new often agree in a byte.
                let data = noise(size, seed ^ start as u64)
                    .iter()
                    .map(|byte| byte & 3)
                    .collect();
                changes.push((start, data));
                offset = start + size;
            }
            let content = noise(length, seed).iter().map(|byte| byte & 3).collect();
            parts.push((["a", "b", "c"][index], content, after, changes));
        }
        Some(Scenario::new(parts))
    })
}

/// Patches as above, in folders, with descriptors and renames on top.
fn any_scenario() -> impl Strategy<Value = (Scenario, bool)> {
    let operations = prop::collection::vec((any::<bool>(), any::<bool>()), 7);
    (any_patches(), operations, any::<bool>()).prop_filter_map(
        "changes something",
        |(mut scenario, operations, in_two)| {
            const PLACES: [&str; 7] = ["d/e/a", "d/e/b", "d/e/c", "d/e", "d/f", "d", "g"];
            let inner = |files: Files| -> Files {
                let place = |path: PathBuf| Path::new("d/e").join(path);
                files
                    .into_iter()
                    .map(|(path, bytes)| (place(path), bytes))
                    .collect()
            };
            scenario.old = inner(scenario.old);
            scenario.new = inner(scenario.new);
            for patch in &mut scenario.changes.patches {
                patch.file = Path::new("d/e").join(&patch.file);
            }
            let there: Vec<&str> = PLACES
                .into_iter()
                .filter(|place| {
                    !place.starts_with("d/e/") || scenario.old.contains_key(Path::new(place))
                })
                .collect();
            for (place, (secured, _)) in there.iter().zip(&operations) {
                if *secured {
                    scenario = scenario.secured(place, b"old", place.as_bytes());
                } else {
                    // Present on both sides, so that there is something to rename.
                    let path = PathBuf::from(format!("{place}{SECURITY}"));
                    scenario.old.insert(path.clone(), b"kept".to_vec());
                    scenario.new.insert(path, b"kept".to_vec());
                }
            }
            for (place, (_, renamed)) in there.iter().zip(&operations) {
                if *renamed {
                    let name = Path::new(place).file_name().unwrap().to_str().unwrap();
                    scenario = scenario.renamed(place, &format!("{name}.new"));
                }
            }
            (scenario.old != scenario.new).then_some((scenario, in_two))
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn any_patches_cut_off_anywhere_leave_old_or_new(
        (scenario, in_two) in any_scenario(),
        stops in prop::collection::vec((any::<u64>(), any::<u64>()), 8),
    ) {
        let start = || {
            let machine = Machine::new(&scenario.old);
            if in_two {
                machine.rename_in_two();
            }
            machine
        };
        let machine = start();
        scenario.commit(&machine).unwrap();
        prop_assert_eq!(machine.files(), scenario.new.clone());
        let steps = machine.steps();
        machine.crash(Loss::Everything);
        let undone = machine.fork();
        undo_first(&undone).unwrap();
        prop_assert_eq!(undone.files(), scenario.old.clone());
        let undo_steps = undone.steps();

        for (stop, seed) in stops {
            let cut = start();
            cut.stop_after(stop % steps);
            prop_assert!(scenario.commit(&cut).is_err());
            cut.crash(Loss::Some(seed));
            recover_all(&cut).unwrap();
            prop_assert_eq!(settled(&cut, &scenario.old, &scenario.new, FIRST), Ok(()));

            let cut = machine.fork();
            cut.stop_after(stop % undo_steps);
            prop_assert!(undo_first(&cut).is_err());
            cut.crash(Loss::Some(seed));
            // A recovery cut off, with torn sectors over torn sectors, and then a whole one.
            cut.stop_after(seed % 7);
            let _ = recover_all(&cut);
            cut.crash(Loss::Some(seed.rotate_left(17)));
            recover_all(&cut).unwrap();
            prop_assert_eq!(settled(&cut, &scenario.new, &scenario.old, SECOND), Ok(()));
        }
    }
}
