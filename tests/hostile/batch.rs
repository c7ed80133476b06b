// SPDX-License-Identifier: GPL-2.0-or-later
//! A batch of mutations of one disk in a process of its own: damaged in place, looked at by what the program's `main`
//! calls, put back. The process has a limit of address space from the one that started it, and a watchdog.

use std::ffi::OsString;
use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant, SystemTime};

use serde::{Deserialize, Serialize};

use super::damage::{Random, Subject};
use super::structures::{self, Bytes};

/// The most processor time that one command may take on a damaged fixture; a sound one takes a fraction of a second. Other
/// work on the machine does not count.
pub const PATIENCE: Duration = Duration::from_secs(20);
/// The longest that it may take by the clock: it waits for nothing, so it then waits for ever.
const STANDSTILL: Duration = Duration::from_secs(600);
/// Where the process finds its order.
pub const ORDER: &str = "COLDFIX_MUTATION_ORDER";

/// What is to be done.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Order {
    /// The name of the disk.
    pub name: String,
    /// The disk as it was made; read only.
    pub pristine: PathBuf,
    /// A copy that is damaged.
    pub disk: PathBuf,
    pub seed: u64,
    pub first: u64,
    pub count: u64,
    /// Where the answer goes.
    pub answer: PathBuf,
}

/// What came of it. Written anew before each mutation, so that it is there when the process is not any more.
#[derive(Clone, Debug, Default, Serialize, Deserialize)]
pub struct Answer {
    /// The mutation that is being looked at; the one behind the last when all are done.
    pub next: u64,
    /// How many commands ended with 0 to 4.
    pub codes: [u64; 5],
    /// Processor time.
    pub slowest_ms: u64,
    /// Of the process, in bytes.
    pub peak: u64,
    pub failures: Vec<String>,
}

/// A file as a disk.
pub struct DiskFile(File, u64);

impl DiskFile {
    /// A file that is only looked at.
    pub fn open(path: &Path) -> DiskFile {
        let file = File::open(path).unwrap();
        let len = file.metadata().unwrap().len();
        DiskFile(file, len)
    }
}

impl Bytes for DiskFile {
    fn len(&self) -> u64 {
        self.1
    }

    fn read(&self, offset: u64, buffer: &mut [u8]) {
        self.0.read_exact_at(buffer, offset).unwrap();
    }

    fn write(&mut self, offset: u64, data: &[u8]) {
        self.0.write_all_at(data, offset).unwrap();
    }
}

/// The structures of a disk.
pub fn subject(disk: &Path) -> Subject {
    Subject::new(structures::find(&DiskFile::open(disk)))
}

/// The commands that a mutation is shown to: always diagnosis and repair, and in turn another one.
pub fn commands(disk: &Path, number: u64) -> Vec<Vec<OsString>> {
    let with = |before: &[&str], after: &[&str]| {
        let mut words: Vec<OsString> = vec!["coldfix".into()];
        words.extend(before.iter().map(OsString::from));
        words.push(disk.into());
        words.extend(after.iter().map(OsString::from));
        words
    };
    let third = match number % 4 {
        0 => with(&["inspect"], &[]),
        1 => with(&["ls"], &["Windows/System32/config"]),
        2 => with(&["bcd"], &["/enum", "all"]),
        _ => with(&["repair"], &["--fix", "machine-keys", "--dry-run"]),
    };
    vec![
        with(&["diagnose", "--format", "json"], &[]),
        with(&["repair", "--dry-run"], &[]),
        third,
    ]
}

/// Damages `disk` as mutation `number` says; the ranges that have to be put back, or the length that was cut to.
pub fn mutate(order: &Order, subject: &Subject, number: u64) -> (Vec<(u64, usize)>, Option<u64>) {
    let mut random = Random::new(order.seed, &order.name, number);
    let file = OpenOptions::new()
        .read(true)
        .write(true)
        .open(&order.disk)
        .unwrap();
    let len = file.metadata().unwrap().len();
    // One in thirty-two is cut off instead, mostly in its last part.
    if number % 32 == 31 {
        let shift = random.next() % 16;
        let cut = len - (random.next() % (len >> shift).max(1));
        file.set_len(cut).unwrap();
        return (Vec::new(), Some(cut));
    }
    let touched = subject.damage(&mut DiskFile(file, len), &random.recipe());
    (touched, None)
}

/// Makes the disk what it was before [`mutate`].
pub fn restore(order: &Order, damage: &(Vec<(u64, usize)>, Option<u64>)) {
    let pristine = File::open(&order.pristine).unwrap();
    let disk = OpenOptions::new().write(true).open(&order.disk).unwrap();
    let len = pristine.metadata().unwrap().len();
    let back = |offset: u64, len: usize| {
        let mut bytes = vec![0; len];
        pristine.read_exact_at(&mut bytes, offset).unwrap();
        if bytes.iter().any(|byte| *byte != 0) || damage.1.is_none() {
            disk.write_all_at(&bytes, offset).unwrap();
        }
    };
    for (offset, len) in &damage.0 {
        back(*offset, *len);
    }
    if let Some(cut) = damage.1 {
        disk.set_len(len).unwrap();
        let mut at = cut;
        while at < len {
            let piece = (len - at).min(1 << 20);
            back(at, piece as usize);
            at += piece;
        }
    }
}

/// When the command began: by the clock, and the processor time until then.
static STARTED: Mutex<Option<(Instant, Duration)>> = Mutex::new(None);
static NUMBER: AtomicU64 = AtomicU64::new(0);

/// The most memory that this process ever had, in bytes. Pages of the mapped image count.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap();
    let line = status
        .lines()
        .find(|line| line.starts_with("VmHWM:"))
        .unwrap();
    line.split_whitespace()
        .nth(1)
        .unwrap()
        .parse::<u64>()
        .unwrap()
        << 10
}

/// The processor time of all threads of this process, as far as it has been added up: to a hundredth of a second.
fn processor_time() -> Duration {
    let stat = fs::read_to_string("/proc/self/stat").unwrap();
    // The name before it may hold anything; the state is the third field, user and system time the 14th and 15th.
    let fields = stat.rsplit_once(") ").unwrap().1.split(' ').skip(11);
    let ticks: u64 = fields
        .take(2)
        .map(|ticks| ticks.parse::<u64>().unwrap())
        .sum();
    Duration::from_millis(ticks * 10)
}

/// Carries out the order in the environment.
#[test]
#[ignore = "one batch of mutations::fixtures_damaged_at_random, which starts it"]
fn carry_out() {
    let order = std::env::var(ORDER).expect("an order");
    let order: Order = serde_json::from_str(&order).unwrap();
    let subject = subject(&order.disk);
    std::thread::spawn(|| {
        loop {
            std::thread::sleep(Duration::from_millis(200));
            let Some((start, before)) = *STARTED.lock().unwrap() else {
                continue;
            };
            if processor_time() - before > PATIENCE || start.elapsed() > STANDSTILL {
                eprintln!("mutation {} takes too long", NUMBER.load(Ordering::Relaxed));
                std::process::abort();
            }
        }
    });
    let said: &'static Mutex<String> = Box::leak(Box::default());
    std::panic::set_hook(Box::new(move |panic| {
        *said.lock().unwrap() = panic.to_string().replace('\n', " ");
    }));
    // A write would change it: the clock is decades further.
    let long_ago = SystemTime::UNIX_EPOCH + Duration::from_secs(1);
    let folder = order.disk.parent().unwrap();
    let neighbours = fs::read_dir(folder).unwrap().count();
    let mut answer = Answer::default();
    for number in order.first..order.first + order.count {
        answer.next = number;
        answer.peak = peak();
        fs::write(&order.answer, serde_json::to_vec(&answer).unwrap()).unwrap();
        NUMBER.store(number, Ordering::Relaxed);
        let damage = mutate(&order, &subject, number);
        let disk = OpenOptions::new().write(true).open(&order.disk).unwrap();
        let len = disk.metadata().unwrap().len();
        disk.set_modified(long_ago).unwrap();
        for command in commands(&order.disk, number) {
            let words: Vec<_> = command[1..]
                .iter()
                .map(|word| word.to_string_lossy())
                .collect();
            let mut failed = |what: String| {
                answer
                    .failures
                    .push(format!("mutation {number}: {}: {what}", words.join(" ")));
            };
            let before = processor_time();
            *STARTED.lock().unwrap() = Some((Instant::now(), before));
            let code = catch_unwind(AssertUnwindSafe(|| coldfix::cli::main(command.clone())));
            *STARTED.lock().unwrap() = None;
            let took = (processor_time() - before).as_millis() as u64;
            match code.map(|code| (0..5).find(|known| code == ExitCode::from(*known))) {
                Ok(Some(code)) => answer.codes[usize::from(code)] += 1,
                Ok(None) => failed("an exit code that is not documented".into()),
                Err(_) => failed(said.lock().unwrap().clone()),
            }
            let now = disk.metadata().unwrap();
            if now.len() != len || now.modified().unwrap() != long_ago {
                failed("the disk was written".into());
            }
            answer.slowest_ms = answer.slowest_ms.max(took);
        }
        if fs::read_dir(folder).unwrap().count() != neighbours {
            answer.failures.push(format!(
                "mutation {number}: a file was made beside the disk"
            ));
        }
        restore(&order, &damage);
    }
    answer.next = order.first + order.count;
    answer.peak = peak();
    fs::write(&order.answer, serde_json::to_vec(&answer).unwrap()).unwrap();
}
