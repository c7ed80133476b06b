// SPDX-License-Identifier: GPL-2.0-or-later
//! Two runs at once: one stands still in the middle, another comes by the same name or another. One of them wins, the
//! other is refused, and says why.

use std::path::{Path, PathBuf};

use super::bench::{Bench, State, said};
use super::calls::{REPAIR, growing};
use super::strace::{self, Call};
use super::support;

/// A call of another program that is taken back.
struct Undone(Vec<String>);

impl Undone {
    /// Runs `program`; what takes it back is `undo`. `None`, and counted, where it is not allowed.
    fn new(what: &[&str], undo: &[&str]) -> Option<Undone> {
        let output = support::program(what[0]).args(&what[1..]).output().unwrap();
        if !output.status.success() {
            support::skip(&format!("{what:?}: {}", said(&output)));
            return None;
        }
        Some(Undone(undo.iter().map(|&word| word.to_owned()).collect()))
    }
}

impl Drop for Undone {
    fn drop(&mut self) {
        let _ = support::program(&self.0[0]).args(&self.0[1..]).output();
    }
}

/// The first write in place: the journal is durable, nothing of the target has changed.
fn first_in_place(calls: &[Call]) -> usize {
    calls
        .iter()
        .position(|call| call.name == "pwrite64")
        .unwrap()
}

/// What the bench's command makes of the target, and the calls by which it does; `None` where they cannot be listed.
fn rehearsed(bench: &Bench) -> Option<(State, Vec<Call>)> {
    if !support::require("strace") {
        return None;
    }
    let new = bench.new_state();
    let calls = strace::calls(&bench.command(), &bench.target, 0);
    bench.take_back();
    Some((new, calls))
}

#[test]
fn a_disk_under_all_its_names() {
    let Some(bench) = Bench::new("gpt-broken.raw", &REPAIR) else {
        return;
    };
    let Some((new, calls)) = rehearsed(&bench) else {
        return;
    };
    let others = support::temporary();
    let place = |name: &str| others.path().join(name);
    std::os::unix::fs::symlink(&bench.target, place("link")).unwrap();
    // In the same file system.
    let hard = bench.folder.path().join("other");
    std::fs::hard_link(&bench.target, &hard).unwrap();
    std::fs::write(place("bound"), "").unwrap();
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let bound = text(&place("bound"));
    let target = text(&bench.target);
    let Some(_bound) = Undone::new(&["mount", "--bind", &target, &bound], &["umount", &bound])
    else {
        return;
    };
    let names = [bench.target.clone(), place("link"), hard, place("bound")];
    let journal = text(&place("journals"));
    let mut tried = 0;
    // Before the journal is begun, in the middle of the writes, and before the journal is closed.
    let first = first_in_place(&calls);
    let last = calls
        .iter()
        .rposition(|call| call.name.ends_with("sync"))
        .unwrap();
    for at in [strace::first_write(&calls), first, (first + last) / 2, last] {
        let run = strace::pause(&bench.command(), &calls[at]).expect("it stops");
        let between = bench.state();
        for name in &names {
            for command in [
                &["repair", "--fix", "tls", "--yes"][..],
                &["repair", "--fix", "tls", "--yes", "--journal-dir", &journal],
                &["undo", "--yes"],
                &["reg add", r"HKLM\SYSTEM\New", "-f"],
                &["diagnose"],
            ] {
                let what = format!("{command:?} on {} at {:?}", name.display(), calls[at]);
                let output = bench.ours_on(name, command).output().unwrap();
                let text = support::ends(&output, 3);
                assert!(text.contains("is locked"), "{what}: {text}");
                assert!(
                    text.contains("next:") || command == ["diagnose"],
                    "{what}: {text}"
                );
                assert!(bench.state() == between, "{what}");
                tried += 1;
            }
        }
        support::ends(&run.go_on(), 0);
        assert!(bench.state() == new, "the first wins");
        bench.take_back();
    }
    support::proof("faults", "two-runs-on-a-disk", tried);
}

/// The kernel's loop device over an image: neither may be written while the other is.
#[test]
fn a_loop_device_and_its_image() {
    let Some(bench) = Bench::new("gpt-broken.raw", &REPAIR) else {
        return;
    };
    if !support::require("losetup") {
        return;
    }
    let Some((new, calls)) = rehearsed(&bench) else {
        return;
    };
    let target = bench.target.to_str().unwrap();
    let attach = || {
        let output = support::program("losetup")
            .args(["-f", "--show", target])
            .output()
            .unwrap();
        let device = String::from_utf8(output.stdout).unwrap().trim().to_owned();
        match output.status.success() {
            true => Some((
                PathBuf::from(&device),
                Undone(vec!["losetup".into(), "-d".into(), device]),
            )),
            false => {
                support::skip("a loop device (needs root)");
                None
            }
        }
    };
    let mut tried = 0;
    // The image is being written; somebody attaches it, and repairs the device.
    for at in [strace::first_write(&calls), first_in_place(&calls)] {
        let run = strace::pause(&bench.command(), &calls[at]).expect("it stops");
        let between = bench.state();
        let Some((device, _attached)) = attach() else {
            return;
        };
        let output = bench.ours_on(&device, &REPAIR).output().unwrap();
        let text = support::ends(&output, 3);
        assert!(text.contains(target), "names the image: {text}");
        assert!(bench.state() == between);
        tried += 1;
        support::ends(&run.go_on(), 0);
        assert!(bench.state() == new, "the first wins");
        drop(_attached);
        bench.take_back();
    }
    // And the other way round.
    let Some((device, attached)) = attach() else {
        return;
    };
    let calls = strace::calls(&bench.ours_on(&device, &REPAIR), &device, 0);
    support::ends(
        &bench.ours_on(&device, &["undo", "--yes"]).output().unwrap(),
        0,
    );
    assert!(bench.state() == bench.old);
    bench.forget();
    for at in [strace::first_write(&calls), first_in_place(&calls)] {
        let run = strace::pause(&bench.ours_on(&device, &REPAIR), &calls[at]).expect("it stops");
        let between = bench.state();
        for command in [&REPAIR[..], &["undo", "--yes"]] {
            let text = support::ends(&bench.run(command), 3);
            assert!(
                text.contains("is locked") || text.contains(device.to_str().unwrap()),
                "{text}"
            );
            assert!(bench.state() == between);
            tried += 1;
        }
        support::ends(&run.go_on(), 0);
        support::ends(
            &bench.ours_on(&device, &["undo", "--yes"]).output().unwrap(),
            0,
        );
        assert!(bench.state() == bench.old);
        bench.forget();
    }
    drop(attached);
    support::proof("faults", "two-runs-on-a-loop-device", tried);
}

/// A checkpoint and the disk that it was made of.
#[test]
fn a_child_and_its_parent() {
    let Some(bench) = growing("vhdx-dynamic.vhdx") else {
        return;
    };
    let Some((new, calls)) = rehearsed(&bench) else {
        return;
    };
    let parent = bench.folder.path().join("parent.vhdx");
    let old = super::bench::state(&parent);
    let mut tried = 0;
    for at in [strace::first_write(&calls), first_in_place(&calls)] {
        let run = strace::pause(&bench.command(), &calls[at]).expect("it stops");
        for command in [&REPAIR[..], &["reg add", r"HKLM\SYSTEM\New", "-f"]] {
            let output = bench.ours_on(&parent, command).output().unwrap();
            let text = support::ends(&output, 3);
            assert!(
                text.contains("child.vhdx") || text.contains("locked"),
                "{text}"
            );
            assert!(super::bench::state(&parent) == old);
            tried += 1;
        }
        // Reading the parent harms nobody.
        let output = bench.ours_on(&parent, &["diagnose"]).output().unwrap();
        support::ends(&output, 1);
        support::ends(&run.go_on(), 0);
        assert!(bench.state() == new, "the first wins");
        bench.take_back();
    }
    support::proof("faults", "two-runs-on-a-checkpoint", tried);
}

/// A folder, also by another way: each name has journals of its own, so the files themselves are what is locked.
#[test]
fn a_folder_under_two_names() {
    let Some(bench) = Bench::new("folder/demo", &REPAIR) else {
        return;
    };
    let Some((new, calls)) = rehearsed(&bench) else {
        return;
    };
    let others = support::temporary();
    let link = others.path().join("link");
    std::os::unix::fs::symlink(&bench.target, &link).unwrap();
    let mut tried = 0;
    let first = first_in_place(&calls);
    let last = calls
        .iter()
        .rposition(|call| call.name.ends_with("sync"))
        .unwrap();
    for at in [first, (first + last) / 2] {
        let run = strace::pause(&bench.command(), &calls[at]).expect("it stops");
        let between = bench.state();
        for name in [&bench.target, &link] {
            let output = bench
                .ours_on(name, &["repair", "--fix", "tls", "--yes"])
                .output()
                .unwrap();
            let text = support::ends(&output, 3);
            assert!(text.contains("another"), "{text}");
            assert!(bench.state() == between);
            tried += 1;
        }
        support::ends(&run.go_on(), 0);
        assert!(bench.state() == new, "the first wins");
        bench.take_back();
    }
    // Before the first has anything open, the second wins, and the first sees that.
    let run =
        strace::pause(&bench.command(), &calls[strace::first_write(&calls)]).expect("it stops");
    support::ends(&bench.ours_on(&link, &REPAIR).output().unwrap(), 0);
    assert!(bench.state() == new);
    let text = support::ends(&run.go_on(), 3);
    assert!(text.contains("has changed since it was read"), "{text}");
    assert!(bench.state() == new);
    support::ends(
        &bench.ours_on(&link, &["undo", "--yes"]).output().unwrap(),
        0,
    );
    assert!(bench.state() == bench.old);
    support::proof("faults", "two-runs-on-a-folder", tried + 1);
}
