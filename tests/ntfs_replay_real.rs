// SPDX-License-Identifier: GPL-2.0-or-later
//! The journal of real volumes, cut where the power could have failed, and what a replay has to come to by an
//! implementation of its own (`scripts/ntfs_log.py`), structure by structure.
//!
//! A crash is a pair of a checkpoint and a cut. Of all pairs a fair sample is taken: every so many-th of each volume,
//! cuts inside of transactions included, in the versions that the journal can have had, and with pages that were
//! written early or late. Some journals are changed so that two transactions are not over. Besides, the whole session is
//! replayed again from every checkpoint on the volume as it is.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::collections::BTreeMap;
use std::fs::{self, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Arc;

use coldfix::device::Device;
use coldfix::device::overlay::Overlay;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{JournalVerdict, Replay, Volume};
use ntfs_support::*;
use serde::Deserialize;
use support::foreign;

/// A real volume whose journal holds a session.
struct Real {
    name: &'static str,
    /// Where it begins.
    sector: u64,
    image: PathBuf,
    /// The volume on its own, with the copy of the boot sector behind it.
    alone: PathBuf,
}

/// What the generator says of a case.
#[derive(Debug, Deserialize)]
struct Case {
    name: String,
    /// The journal is whole, and so is the volume: nothing may change.
    again: bool,
    /// All structures of the volume are of one time.
    fits: bool,
    /// Why the roll-back cannot make it.
    impossible: Option<String>,
    /// Structures that differ from what is expected, before the replay.
    #[serde(default)]
    stale: usize,
    /// What its own replay counted.
    counts: Option<Counts>,
    /// What its own replay got wrong.
    #[serde(default)]
    differences: Vec<String>,
}

#[derive(Debug, Deserialize)]
struct Counts {
    records: u64,
    dirty: usize,
    redo_lsn: u64,
    candidates: u64,
    redone: u64,
    on_disk: u64,
    undone: u64,
}

/// What the generator says of a result.
#[derive(Debug, Deserialize)]
struct Judged {
    name: String,
    differences: Vec<String>,
    unlogged: usize,
    next_id: usize,
}

impl Real {
    fn new(name: &'static str, sector: u64) -> Option<Real> {
        if !support::require("python3") {
            return None;
        }
        let (image, alone) = (image(name)?, bare(name, sector)?);
        Some(Real {
            name,
            sector,
            image,
            alone,
        })
    }

    /// The volume at sector 128 of a virtual disk, in a folder.
    fn of_virtual_disk(name: &'static str, format: &str, folder: &Path) -> Option<Real> {
        if !require(&["python3", "qemu-img", "xz"]) {
            return None;
        }
        let disk = folder.join("disk");
        support::unxz_to(&support::data(&format!("vhd/{name}"))?, &disk);
        let [image, alone] = ["image", "alone"].map(|name| folder.join(name));
        foreign::qemu_raw(format, &disk, &image);
        let mut sectors = [0; 8];
        FileDevice::open(&image)
            .read_at(128 * 512 + 0x28, &mut sectors)
            .unwrap();
        let len = (u64::from_le_bytes(sectors) + 1) * 512;
        foreign::cut_volume(&image, 128 * 512, len, &alone);
        Some(Real {
            name,
            sector: 128,
            image,
            alone,
        })
    }

    /// Runs a command of the generator on the image; what it prints.
    fn generator(&self, arguments: &[&str]) -> String {
        let script = support::root().join("scripts/ntfs_log.py");
        let offset = (self.sector * 512).to_string();
        let mut command: Command = support::program("python3");
        command.arg("-B").arg(script).args(["--offset", &offset]);
        command
            .arg(arguments[0])
            .arg(&self.image)
            .args(&arguments[1..]);
        String::from_utf8(support::run(&mut command).stdout).unwrap()
    }
}

/// Ranges to be written, as the generator keeps them.
fn read_patch(path: &Path) -> Vec<(u64, Vec<u8>)> {
    let bytes = fs::read(path).unwrap();
    let (mut at, mut all) = (0, Vec::new());
    while at < bytes.len() {
        let place = u64::from_le_bytes(bytes[at..at + 8].try_into().unwrap());
        let len = u32::from_le_bytes(bytes[at + 8..at + 12].try_into().unwrap()) as usize;
        all.push((place, bytes[at + 12..at + 12 + len].to_vec()));
        at += 12 + len;
    }
    all
}

/// A volume as a crash left it, replayed by us and settled.
struct Replayed {
    verdict: JournalVerdict,
    how: String,
    replay: Option<Replay>,
    /// What differs from the image then.
    changes: Vec<(u64, Vec<u8>)>,
    /// Why nothing could be written.
    refused: Option<String>,
}

fn replayed(image: &Path, sector: u64, crash: &[(u64, Vec<u8>)]) -> Replayed {
    let overlay = Arc::new(Overlay::new(partition(FileDevice::open(image), sector)));
    for (at, bytes) in crash {
        overlay.write_at(*at, bytes).unwrap();
    }
    let before = overlay.changes().unwrap();
    let volume = NtfsVolume::open(overlay.clone()).unwrap();
    assert_eq!(overlay.changes().unwrap(), before, "opening wrote");
    let state = volume.state().journal.clone().unwrap();
    let how = volume.state().unclean_journal.clone().unwrap_or_default();
    // A change that comes to nothing behind the gate, where the journal is carried out and closed.
    let error = volume.remove("no such file", 0).unwrap_err().to_string();
    let changes = overlay.changes().unwrap();
    Replayed {
        verdict: state.verdict,
        how,
        replay: state.replay,
        refused: (!error.contains("no such file")).then_some(error),
        changes: changes
            .into_iter()
            .map(|one| (one.offset, one.after))
            .collect(),
    }
}

fn write_patch(path: &Path, changes: &[(u64, Vec<u8>)]) {
    let mut bytes = Vec::new();
    for (at, change) in changes {
        bytes.extend(at.to_le_bytes());
        bytes.extend(u32::try_from(change.len()).unwrap().to_le_bytes());
        bytes.extend(change);
    }
    fs::write(path, bytes).unwrap();
}

/// Every case of a volume: replayed, counted, compared. Returns the cases by name, those that could be made.
///
/// `pairs` of a checkpoint and a cut, evenly chosen, and the `golden` ones.
fn check(real: &Real, pairs: usize, golden: &[&str]) -> BTreeMap<String, Case> {
    let folder = support::temporary();
    let limit = pairs.to_string();
    let cases_folder = folder.path().to_str().unwrap();
    let mut arguments = vec![
        "cases",
        cases_folder,
        "--limit",
        &limit,
        "--again",
        "--open",
        "20",
    ];
    arguments.extend(golden.iter().flat_map(|pair| ["--pair", pair]));
    real.generator(&arguments);
    let cases: Vec<Case> =
        serde_json::from_slice(&fs::read(folder.path().join("cases.json")).unwrap()).unwrap();
    let (mut made, mut wrong, mut impossible) = (BTreeMap::new(), Vec::new(), 0);
    let mut finished = [0_usize; 3];
    for case in cases {
        if case.impossible.is_some() {
            impossible += 1;
            continue;
        }
        assert!(
            case.differences.is_empty(),
            "the generator itself: {case:?}"
        );
        let path = |kind: &str| folder.path().join(format!("{}.{kind}", case.name));
        let result = replayed(&real.image, real.sector, &read_patch(&path("crash")));
        let counts = case.counts.as_ref().unwrap();
        let wanted = (counts.redone, counts.on_disk, counts.undone);
        let found = result.replay.clone().unwrap_or_default();
        let counted = (found.redone, found.on_disk, found.undone);
        if let Some(reason) = &result.refused {
            wrong.push(format!("{}: refused: {reason}", case.name));
        } else if counted != wanted {
            wrong.push(format!(
                "{}: {wanted:?} expected, {counted:?}: {}",
                case.name, result.how
            ));
        }
        assert_ne!(result.verdict, JournalVerdict::Clean, "{case:?}");
        finished[0] += usize::from(result.verdict == JournalVerdict::Idle);
        finished[1] += usize::from(counted.2 > 0);
        finished[2] += usize::from(case.stale > 0);
        write_patch(&path("result"), &result.changes);
        made.insert(case.name.clone(), case);
    }
    let (mut unlogged, mut next_id) = (0, 0);
    for line in real.generator(&["compare", cases_folder]).lines() {
        let judged: Judged = serde_json::from_str(line).unwrap();
        unlogged += judged.unlogged;
        next_id += judged.next_id;
        if !judged.differences.is_empty() {
            wrong.push(format!("{}: {:?}", judged.name, judged.differences));
        }
    }
    eprintln!(
        "{}: {} replays, {} of what was stale, {} with transactions taken back, {} idle; not to be made: {impossible}; \
         bytes that were never logged: {unlogged}, numbers of next attributes: {next_id}",
        real.name,
        made.len(),
        finished[2],
        finished[1],
        finished[0]
    );
    assert!(
        wrong.is_empty(),
        "{} of {}: {wrong:#?}",
        wrong.len(),
        made.len()
    );
    // The sample was worth something.
    assert!(
        finished[1] > 0 && finished[2] >= 10.min(pairs),
        "{finished:?}"
    );
    accepted_by_others(real, &made, folder.path());
    made
}

/// How many volumes after a replay other programs look at, of each real one.
const LOOKED_AT: usize = 6;

/// What other programs find wrong with some of the results is no more than what they find with the volume as it is.
fn accepted_by_others(real: &Real, made: &BTreeMap<String, Case>, folder: &Path) {
    let tools = [
        "ntfs-3g.probe",
        "ntfsresize",
        "ntfssecaudit",
        "ntfsfix",
        "fls",
    ];
    if !require(&tools) {
        return;
    }
    let copy = tempfile::tempdir_in(scratch()).unwrap();
    let path = copy.path().join("volume");
    support::copy(&real.alone, &path);
    let open = |path: &Path| {
        OpenOptions::new()
            .read(true)
            .write(true)
            .open(path)
            .unwrap()
    };
    let (file, source) = (open(&path), open(&real.alone));
    // One image lacks the sector behind the volume, which ntfsfix wants: the copy of the boot sector.
    let mut boot = [0; 512];
    file.read_exact_at(&mut boot, 0).unwrap();
    let sectors = u64::from_le_bytes(boot[0x28..0x30].try_into().unwrap());
    file.write_all_at(&boot, sectors * 512).unwrap();
    let look = |case: &Case| {
        let changes = read_patch(&folder.join(format!("{}.result", case.name)));
        for (at, bytes) in &changes {
            file.write_all_at(bytes, *at).unwrap();
        }
        let found = faults(&path);
        for (at, bytes) in &changes {
            let mut old = vec![0; bytes.len()];
            source.read_exact_at(&mut old, *at).unwrap();
            file.write_all_at(&old, *at).unwrap();
        }
        found
    };
    // The last checkpoint, replayed again: the volume as Windows left it.
    let as_it_is = made.values().rfind(|case| case.again).unwrap();
    let usual = look(as_it_is);
    assert_eq!(usual["ntfs-3g.probe"].0, Some(0), "{usual:?}");
    let whole: Vec<&Case> = made
        .values()
        .filter(|case| case.fits && !case.again && case.stale > 0)
        .collect();
    let mut unable = 0;
    for case in whole.iter().step_by(whole.len().div_ceil(LOOKED_AT)) {
        for (tool, (count, text)) in look(case) {
            unable += usize::from(count.is_none());
            assert!(count <= usual[tool].0, "{}: {tool}: {text}", case.name);
        }
    }
    let blind = |(tool, (count, _)): &(&str, (Option<usize>, String))| {
        (*count != Some(0)).then(|| format!("{tool}: {count:?}"))
    };
    eprintln!(
        "{}: looked at by other programs, of which ntfssecaudit could not judge {unable}; what they find with the volume as it is: {:?}",
        real.name,
        usual
            .into_iter()
            .filter_map(|one| blind(&one))
            .collect::<Vec<_>>()
    );
}

/// From the exit code, and from what a program says, how many faults it finds.
type Count<'a> = &'a dyn Fn(Option<i32>, &str) -> Option<usize>;

/// How many faults each program finds, and what it says. None where it cannot judge: before Windows has made $Secure, at the
/// first use of a volume, and where a signal ended ntfssecaudit, which takes what is behind the last entry of $SDS for one
/// more and, where the slack is full, goes by that length.
fn faults(volume: &Path) -> BTreeMap<&'static str, (Option<usize>, String)> {
    let mut all = BTreeMap::new();
    let mut ask = |tool: &'static str, arguments: &[&str], count: Count| {
        let mut command = support::program(tool);
        let output = command.args(arguments).arg(volume).output().unwrap();
        let said = [output.stdout, output.stderr].concat();
        let text = String::from_utf8_lossy(&said).into_owned();
        all.insert(tool, (count(output.status.code(), &text), text));
    };
    let by_code: Count = &|code, _| Some(usize::try_from(code.unwrap()).unwrap());
    ask("ntfs-3g.probe", &["--readwrite"], by_code);
    ask("ntfsfix", &["-n"], by_code);
    ask("ntfsresize", &["--info", "--force"], &|code, text| {
        let good = !text.contains("ERROR") && text.contains("You might resize at");
        Some(usize::from(code != Some(0) || !good))
    });
    ask("ntfssecaudit", &["-a"], &|code, text| {
        if code.is_none() || text.contains("There is no $SDS-1 in this volume") {
            return None;
        }
        // The same false alarm, where it only stops there: once in each half.
        let behind = text.matches("** Security attribute is too long").count();
        let lines = text.lines().filter(|line| line.contains(" errors in $"));
        let counts = lines.map(|line| line.split(' ').next().unwrap().parse::<usize>());
        let counts: Vec<usize> = counts.map(|count| count.unwrap()).collect();
        assert!(counts.len() == 4 && behind <= 2, "{text}");
        Some(counts.iter().sum::<usize>() - behind)
    });
    ask("fls", &["-r", "-p"], &|code, text| {
        Some(usize::from(code != Some(0) || !text.contains("$MFT")))
    });
    all
}

/// The counts of the cases whose numbers are known from elsewhere: records, dirty pages, redo LSN, candidates, done
/// again, found on the disk, taken back.
fn assert_golden(made: &BTreeMap<String, Case>, rows: &[(&str, [u64; 7])]) {
    for (name, row) in rows {
        let counts = made[*name].counts.as_ref().unwrap();
        let found = [
            counts.records,
            counts.dirty as u64,
            counts.redo_lsn,
            counts.candidates,
            counts.redone,
            counts.on_disk,
            counts.undone,
        ];
        assert_eq!(found, *row, "{name}");
    }
}

#[test]
fn small_clusters() {
    let Some(real) = Real::new("w10-1kcluster-log2-dirty.raw.xz", 0) else {
        return;
    };
    let made = check(&real, 110, &["287EA8:289208", "287EA8:2891DF"]);
    assert_golden(
        &made,
        &[
            ("2847af-again", [432, 19, 0x28443D, 176, 31, 145, 0]),
            ("28728e-again", [160, 11, 0x2870DC, 47, 14, 33, 0]),
            ("2891cb-again", [8, 1, 0x28912F, 1, 1, 0, 0]),
            ("287ea8-289208-0-v2", [104, 11, 0x287E0C, 36, 36, 0, 0]),
            ("287ea8-2891df-0-v2", [103, 11, 0x287E0C, 36, 36, 0, 1]),
        ],
    );
}

#[test]
fn cloud_files() {
    let Some(real) = Real::new("w10-cloud-reparse-log2-dirty.raw.xz", 0) else {
        return;
    };
    let made = check(&real, 100, &["4056C8:405AD5", "4056C8:405ABC"]);
    assert_golden(
        &made,
        &[
            ("4046fa-again", [224, 20, 0x40443D, 163, 46, 117, 0]),
            ("4056c8-again", [25, 20, 0x404456, 157, 40, 117, 0]),
            ("405a91-again", [10, 2, 0x4058F8, 4, 1, 3, 0]),
            ("4056c8-405ad5-0-v2", [22, 20, 0x404456, 157, 157, 0, 0]),
            ("4056c8-405abc-0-v2", [21, 20, 0x404456, 157, 157, 0, 2]),
        ],
    );
}

#[test]
fn volumes_that_were_closed() {
    for (name, pairs) in [
        ("w10-lastaccess.raw.xz", 60),
        ("w10-2mcluster.raw.xz", 50),
        ("w-2kcluster-index.raw.xz", 80),
    ] {
        let Some(real) = Real::new(name, 128) else {
            return;
        };
        check(&real, pairs, &[]);
    }
}

#[test]
fn slack_that_is_full() {
    if let Some(real) = Real::new("w10-ptrn.raw.xz", 128) {
        check(&real, 50, &[]);
    }
}

#[test]
fn a_journal_of_64_mib() {
    if let Some(real) = Real::new("w10-20h1-64g-vss.tgz", 2048) {
        check(&real, 40, &[]);
    }
}

/// Volumes that were used for a moment: their whole session, from its first record, and a transaction that Windows itself
/// took back.
#[test]
fn virtual_disks() {
    for (name, format) in [
        ("w10-18363-dynamic.vhd.xz", "vpc"),
        ("w10-ntfs-dynamic.vhdx.xz", "vhdx"),
        ("w10-ntfs-fixed.vhdx.xz", "vhdx"),
    ] {
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let real = Real::of_virtual_disk(name, format, folder.path());
        let Some(real) = real else { return };
        check(&real, 70, &[]);
    }
}
