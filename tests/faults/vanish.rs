// SPDX-License-Identifier: GPL-2.0-or-later
//! A disk behind a cable: a server (qemu's) exports an image as a file through FUSE. It is killed while a run stands still
//! at one call or another, and comes back later; or it lives, and some sectors, or flushes, fail.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::Duration;

use super::bench::{Bench, Met, Random, State, all, said, state};
use super::calls::REPAIR;
use super::strace;
use super::support;

/// The server, and the file that it shows.
struct Server {
    process: Child,
    shown: PathBuf,
}

impl Server {
    /// Shows `image` at `shown`, which is a file. `options` is the chain of nodes over that of the image, `node`.
    fn start(image: &Path, shown: &Path, options: &[String], node: &str) -> Server {
        let file = format!(
            "driver=file,node-name=file,filename={},locking=off",
            image.display()
        );
        let export = format!(
            "type=fuse,id=export,node-name={node},mountpoint={},writable=on,growable=off",
            shown.display()
        );
        let mut command = support::program("qemu-storage-daemon");
        command.args(["--blockdev", &file]);
        for option in options {
            command.args(["--blockdev", option]);
        }
        let process = command
            .args(["--export", &export])
            .stdout(Stdio::null())
            .stderr(Stdio::inherit())
            .spawn()
            .expect("qemu-storage-daemon");
        let server = Server {
            process,
            shown: shown.to_owned(),
        };
        let len = std::fs::metadata(image).unwrap().len();
        for _ in 0..2000 {
            if std::fs::metadata(shown).is_ok_and(|shown| shown.len() == len) {
                return server;
            }
            std::thread::sleep(Duration::from_millis(5));
        }
        panic!("qemu-storage-daemon shows nothing");
    }

    /// The cable is pulled.
    fn kill(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }

    /// Shut down in an orderly way: everything that it has is in the image.
    fn stop(&mut self) {
        let id = rustix::process::Pid::from_raw(self.process.id().try_into().unwrap()).unwrap();
        let _ = rustix::process::kill_process(id, rustix::process::Signal::TERM);
        let _ = self.process.wait();
        self.unmount();
    }

    fn unmount(&self) {
        let _ = support::program("fusermount3")
            .arg("-uqz")
            .arg(&self.shown)
            .output();
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.kill();
        self.unmount();
    }
}

fn can() -> bool {
    support::require("strace")
        && support::require("qemu-storage-daemon")
        && support::require("fusermount3")
}

/// A bench whose disk is behind a server, and is worked on where that shows it.
struct Exported {
    bench: Bench,
    shown: PathBuf,
    journals: PathBuf,
    _place: tempfile::TempDir,
}

impl Exported {
    fn new(fixture: &str) -> Option<Exported> {
        let bench = Bench::new(fixture, &REPAIR)?;
        let place = support::temporary();
        let shown = place.path().join("shown");
        std::fs::write(&shown, "").unwrap();
        Some(Exported {
            journals: bench.folder.path().join("state"),
            bench,
            shown,
            _place: place,
        })
    }

    /// The server, with no fault of its own.
    fn serve(&self) -> Server {
        Server::start(&self.bench.target, &self.shown, &[], "file")
    }

    fn ours(&self, words: &[&str]) -> Command {
        let there = ["--journal-dir", self.journals.to_str().unwrap()];
        self.bench.ours_on(&self.shown, &[words, &there].concat())
    }

    fn repair(&self) -> Command {
        self.ours(&REPAIR)
    }

    fn undo(&self) -> Command {
        self.ours(&["undo", "--yes"])
    }

    /// A run has met a fault, and the disk is whole again: the next run settles it.
    fn settle(&self, new: &State, output: Output, step: usize, what: &str) {
        let met = Met {
            output,
            signal: None,
            must_succeed: false,
            leaves_files: false,
        };
        let mut server = self.serve();
        let (repair, undo) = (|| self.repair(), || self.undo());
        self.bench
            .judge_by(new, &met, step, &repair, &undo)
            .unwrap_or_else(|wrong| panic!("{what}\n{wrong}"));
        server.stop();
        assert!(self.bench.state() == self.bench.old, "{what}");
    }
}

#[test]
fn a_disk_that_vanishes_and_comes_back() {
    if !can() {
        return;
    }
    let mut tried = 0;
    for fixture in ["gpt-broken.raw", "vhdx-dynamic.vhdx"] {
        let Some(exported) = Exported::new(fixture) else {
            return;
        };
        let bench = &exported.bench;
        let new = bench.new_state();
        let mut server = exported.serve();
        let calls = strace::calls(&exported.repair(), &exported.shown, 0);
        support::ends(&exported.undo().output().unwrap(), 0);
        server.stop();
        assert!(bench.state() == bench.old);
        let (reading, writing) = calls.split_at(strace::first_write(&calls));
        let mut random = Random::new(fixture);
        let count = if all() { calls.len() } else { 8 };
        let mut chosen = random.some(reading.iter().collect(), count / 4);
        let disk = ["pwrite64", "fsync", "pread64", "fadvise64"];
        let mut late: Vec<_> = writing.iter().collect();
        if !all() {
            late.retain(|call| disk.contains(&call.name.as_str()));
        }
        chosen.extend(random.some(late, count));
        for (step, call) in chosen.into_iter().enumerate() {
            bench.forget();
            let mut server = exported.serve();
            let Some(run) = strace::pause(&exported.repair(), call) else {
                support::ends(&exported.undo().output().unwrap(), 0);
                server.stop();
                assert!(bench.state() == bench.old);
                continue;
            };
            server.kill();
            let output = run.go_on();
            server.unmount();
            let what = format!("{fixture}, gone at {}: {}", call.line, said(&output));
            // It comes back.
            exported.settle(&new, output, step, &what);
            tried += 1;
        }
    }
    assert!(tried >= 10, "{tried}");
    support::proof("faults", "vanishing-disk", tried);
}

/// Sectors that cannot be written, one at a time, and flushes that fail; once, and for good.
#[test]
fn a_disk_that_fails_here_and_there() {
    if !can() {
        return;
    }
    let Some(exported) = Exported::new("gpt-broken.raw") else {
        return;
    };
    let bench = &exported.bench;
    let new = bench.new_state();
    // Where the repair writes.
    let mut server = exported.serve();
    support::ends(&exported.repair().output().unwrap(), 0);
    let dir = coldfix::commit::JournalDir::open(&exported.journals);
    let id = dir.list().unwrap().operations[0].header.id.clone();
    let (_, changes) = dir.load(&id).unwrap();
    let changes = changes.patches.into_iter().flat_map(|patch| patch.changes);
    let mut sectors: Vec<u64> = changes.map(|change| change.offset / 512).collect();
    sectors.dedup();
    support::ends(&exported.undo().output().unwrap(), 0);
    server.stop();
    if !all() {
        sectors = Random::new("sectors").some(sectors, 4);
    }
    let mut rules = Vec::new();
    for once in ["on", "off"] {
        for sector in &sectors {
            for kind in ["write", "read"] {
                rules.push(format!("iotype={kind} sector={sector} once={once}"));
            }
        }
        rules.push(format!("iotype=flush once={once}"));
    }
    let (mut tried, mut failed) = (0, 0);
    for (step, rule) in rules.iter().enumerate() {
        bench.forget();
        let mut debug = "driver=blkdebug,node-name=debug,image=file,inject-error.0.event=none,inject-error.0.errno=5".to_owned();
        for part in rule.split(' ') {
            debug.push_str(&format!(",inject-error.0.{part}"));
        }
        let mut server = Server::start(&bench.target, &exported.shown, &[debug], "debug");
        let output = exported.repair().output().unwrap();
        server.stop();
        let text = said(&output);
        failed += u64::from(output.status.code() == Some(2));
        // What the program said is compared with the image itself.
        let found = state(&bench.target);
        match output.status.code() {
            Some(0) => assert!(found == new, "{rule}: {text}"),
            Some(2) if text.contains("was interrupted") => {}
            Some(2) => assert!(found == bench.old, "{rule}: {text}"),
            _ => panic!("{rule}: {text}"),
        }
        exported.settle(&new, output, step, &format!("{rule}: {text}"));
        tried += 1;
    }
    assert!(failed > tried / 2, "{failed} of {tried} failed");
    support::proof("faults", "failing-disk", tried);
}
