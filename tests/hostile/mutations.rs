// SPDX-License-Identifier: GPL-2.0-or-later
//! Every fixture disk, damaged many times over, through the program's own way: no panic, no hang, bounded memory, and
//! never a write to the disk.
//!
//! ```text
//! COLDFIX_MUTATIONS   how many of each disk (default 25)
//! COLDFIX_SEED        which (default 1)
//! COLDFIX_SAMPLE      how many of each disk also go through the program itself (default 2)
//! COLDFIX_DISKS       only disks whose names hold this
//! COLDFIX_JOBS        how many processes at a time (default: as many as processors)
//! COLDFIX_MUTATED     a file for the figures, as JSON
//! ```
//!
//! `scripts/mutate` asks for many. Structures are damaged where they are, and mostly made whole again: see `damage`.

use std::collections::VecDeque;
use std::fs::{self, File};
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Mutex;
use std::time::SystemTime;

use super::batch::{self, Answer, ORDER, Order, commands, mutate, restore};
use super::support;

/// The disks: containers and partition tables of every kind, sound and broken systems, and what must be refused.
const DISKS: [&str; 17] = [
    "bare-logon.raw",
    "certificate-damaged.raw",
    "gpt-4096.raw",
    "gpt-bad-primary.raw",
    "gpt-broken.raw",
    "gpt-two-sets.raw",
    "keys-clone.raw",
    "keys-inherited-denies.raw",
    "mbr-broken.raw",
    "mbr-logical.raw",
    "vhd-broken.vhd",
    "vhd-dynamic.vhd",
    "vhdx-dynamic.vhdx",
    "bad/compressed-hive.raw",
    "bad/hibernated.raw",
    "bad/no-system-hive.raw",
    "bad/unclean-log.raw",
];
/// The broken server that ships with the repository.
const SHIPPED: &str = "broken-server.vhdx";
/// How many mutations one process looks at: so many that finding the structures of the disk costs nothing beside them.
const BATCH: u64 = 500;
/// What a run may use beside the largest hive.
const MEMORY: u64 = 256 << 20;
/// The address space of a process, in KiB: the mapped image, stacks and arenas come to the memory.
const ADDRESS_SPACE: u64 = (2 << 30) >> 10;

fn number(name: &str, default: u64) -> u64 {
    match std::env::var(name) {
        Ok(text) if !text.is_empty() => text.parse().unwrap_or_else(|_| panic!("{name}={text}")),
        _ => default,
    }
}

/// What came of one disk.
#[derive(Default)]
struct Total {
    mutations: u64,
    answer: Answer,
}

impl Total {
    fn add(&mut self, count: u64, answer: Answer) {
        self.mutations += count;
        for (sum, more) in self.answer.codes.iter_mut().zip(answer.codes) {
            *sum += more;
        }
        self.answer.slowest_ms = self.answer.slowest_ms.max(answer.slowest_ms);
        self.answer.peak = self.answer.peak.max(answer.peak);
        self.answer.failures.extend(answer.failures);
    }
}

/// Runs a batch; starts another process behind a mutation that ended one.
fn run(order: &Order) -> Answer {
    let mut sum = Total::default();
    let mut order = order.clone();
    let end = order.first + order.count;
    while order.first < end {
        let output = Command::new("sh")
            .args([
                "-c",
                &format!("ulimit -v {ADDRESS_SPACE}; exec \"$@\""),
                "sh",
            ])
            .arg(std::env::current_exe().unwrap())
            .args(["--ignored", "--exact", "batch::carry_out", "--nocapture"])
            .env(ORDER, serde_json::to_string(&order).unwrap())
            .env("NO_COLOR", "1")
            .env("COLDFIX_LANG", "en")
            .env("XDG_STATE_HOME", order.answer.parent().unwrap())
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .output()
            .unwrap();
        let answer = fs::read(&order.answer).unwrap_or_default();
        let mut answer: Answer = serde_json::from_slice(&answer).unwrap_or(Answer {
            next: order.first,
            ..Answer::default()
        });
        let next = answer.next;
        if next < end {
            let said = String::from_utf8_lossy(&output.stderr);
            let last = said.lines().last().unwrap_or_default().to_owned();
            answer
                .failures
                .push(format!("mutation {next}: {}: {last}", output.status));
            // It was not put back.
            support::copy(&order.pristine, &order.disk);
        }
        sum.add(0, answer);
        order.count = end.saturating_sub(next + 1);
        order.first = next + 1;
    }
    sum.answer
}

/// The length of the largest hive on the disk.
fn largest_hive(disk: &Path) -> u64 {
    let bytes = fs::read(disk).unwrap();
    let sectors = bytes
        .chunks_exact(512)
        .filter(|sector| sector.starts_with(b"regf"));
    let lengths = sectors.map(|base| u32::from_le_bytes(base[40..44].try_into().unwrap()));
    u64::from(lengths.max().unwrap_or(0)) + 4096
}

/// The program itself on a few mutations. What it does not write stays as it was: the damage is compared each time, and
/// the whole disk when all of it is taken back.
fn sample(order: &Order, count: u64) -> Vec<String> {
    let subject = batch::subject(&order.pristine);
    let state = support::temporary();
    let mut failures = Vec::new();
    for number in (0..).step_by(7).take(count as usize) {
        let damage = mutate(order, &subject, number);
        let before = look(&order.disk, &damage.0);
        for command in commands(&order.disk, number) {
            let output = support::coldfix(state.path())
                .args(&command[1..])
                .output()
                .unwrap();
            let said = String::from_utf8_lossy(&output.stderr);
            if !output
                .status
                .code()
                .is_some_and(|code| (0..5).contains(&code))
            {
                failures.push(format!(
                    "mutation {number}: {command:?}: {}\n{said}",
                    output.status
                ));
            }
        }
        if look(&order.disk, &damage.0) != before {
            failures.push(format!("mutation {number}: the program wrote the disk"));
        }
        restore(order, &damage);
    }
    if support::sha256(&order.disk) != support::sha256(&order.pristine) {
        failures.push("the disk is not what it was".into());
    }
    failures
}

/// What a look at the disk shows without reading all of it: its length, when it was written, what these ranges hold.
fn look(disk: &Path, ranges: &[(u64, usize)]) -> (u64, SystemTime, Vec<Vec<u8>>) {
    let file = File::open(disk).unwrap();
    let about = file.metadata().unwrap();
    let read = |(offset, len): &(u64, usize)| {
        let mut bytes = vec![0; *len];
        file.read_exact_at(&mut bytes, *offset).unwrap();
        bytes
    };
    let held = ranges.iter().map(read).collect();
    (about.len(), about.modified().unwrap(), held)
}

fn disks(folder: &Path) -> Option<Vec<(String, PathBuf)>> {
    let wanted = std::env::var("COLDFIX_DISKS").unwrap_or_default();
    let names: Vec<&str> = DISKS
        .into_iter()
        .filter(|name| name.contains(&wanted))
        .collect();
    let mut disks = Vec::new();
    if !names.is_empty() {
        let made = support::fixtures(&names)?;
        disks.extend(
            names
                .iter()
                .map(|name| (String::from(*name), made.join(name))),
        );
    }
    if SHIPPED.contains(&wanted) {
        disks.push((SHIPPED.to_owned(), support::shipped_disk(folder)));
    }
    Some(disks)
}

#[test]
fn fixtures_damaged_at_random() {
    let (count, seed) = (number("COLDFIX_MUTATIONS", 25), number("COLDFIX_SEED", 1));
    let sampled = number("COLDFIX_SAMPLE", 2);
    let folder = support::temporary();
    let Some(disks) = disks(folder.path()) else {
        return;
    };
    let totals: Vec<Mutex<Total>> = disks.iter().map(|_| Mutex::default()).collect();
    let orders: VecDeque<(usize, u64)> = (0..disks.len())
        .flat_map(|disk| {
            (0..count)
                .step_by(BATCH as usize)
                .map(move |first| (disk, first))
        })
        .chain((0..disks.len()).map(|disk| (disk, u64::MAX)))
        .collect();
    let orders = Mutex::new(orders);
    let processors = std::thread::available_parallelism().map_or(1, usize::from);
    let workers = number("COLDFIX_JOBS", processors as u64);
    std::thread::scope(|scope| {
        for worker in 0..workers {
            let place = folder.path().join(format!("worker-{worker}"));
            let (orders, disks, totals) = (&orders, &disks, &totals);
            scope.spawn(move || {
                let mut copied = None;
                loop {
                    let Some((index, first)) = orders.lock().unwrap().pop_front() else {
                        break;
                    };
                    let (name, pristine) = &disks[index];
                    let disk = place
                        .join("disk")
                        .join(Path::new(name).file_name().unwrap());
                    if copied != Some(index) {
                        let _ = fs::remove_dir_all(&place);
                        fs::create_dir_all(disk.parent().unwrap()).unwrap();
                        support::copy(pristine, &disk);
                        copied = Some(index);
                    }
                    let order = Order {
                        name: name.clone(),
                        pristine: pristine.clone(),
                        disk,
                        seed,
                        first,
                        count: BATCH.min(count.saturating_sub(first)),
                        answer: place.join("answer.json"),
                    };
                    if first == u64::MAX {
                        let failures = sample(&order, sampled);
                        totals[index]
                            .lock()
                            .unwrap()
                            .answer
                            .failures
                            .extend(failures);
                    } else {
                        let answer = run(&order);
                        totals[index].lock().unwrap().add(order.count, answer);
                    }
                }
            });
        }
    });
    let (mut failures, mut rows, mut tried) = (Vec::new(), Vec::new(), 0_u64);
    println!(
        "disk                          structures  mutations  read  refused  slowest ms  peak MiB  failures"
    );
    for ((name, pristine), total) in disks.iter().zip(totals) {
        let Total { mutations, answer } = total.into_inner().unwrap();
        tried += mutations;
        let most = MEMORY + largest_hive(pristine);
        rows.push(serde_json::json!({
            "name": name, "mutations": mutations, "failures": answer.failures.len(),
            "slowest_ms": answer.slowest_ms, "peak": answer.peak, "most": most,
        }));
        let [healthy, findings, error, refused, interrupted] = answer.codes;
        println!(
            "{name:<30}{:>10}{mutations:>11}{:>6}{:>9}{:>12}{:>10}{:>10}",
            batch::subject(pristine).counts().0,
            healthy + findings,
            error + refused,
            answer.slowest_ms,
            answer.peak >> 20,
            answer.failures.len()
        );
        failures.extend(
            answer
                .failures
                .iter()
                .map(|failure| format!("{name}: {failure}")),
        );
        if answer.peak > most {
            failures.push(format!(
                "{name}: {} bytes of memory, {most} are the most",
                answer.peak
            ));
        }
        if interrupted > 0 {
            failures.push(format!(
                "{name}: {interrupted} runs say that they were interrupted"
            ));
        }
        // Else nothing but the door was tried.
        let is_readable = !name.starts_with("bad/");
        if count >= 25 && is_readable && healthy + findings < mutations / 2 {
            failures.push(format!(
                "{name}: only {} runs read the disk",
                healthy + findings
            ));
        }
    }
    if let Some(file) = std::env::var_os("COLDFIX_MUTATED").filter(|file| !file.is_empty()) {
        let figures = serde_json::json!({ "rows": rows, "failures": failures });
        fs::write(file, figures.to_string()).unwrap();
    }
    assert!(failures.is_empty(), "seed {seed}:\n{}", failures.join("\n"));
    support::proof("mutations", "disks", tried);
}
