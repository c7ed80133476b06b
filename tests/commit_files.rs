// SPDX-License-Identifier: GPL-2.0-or-later
//! Commit, undo and recovery on real files and folders of this host, and every refusal.

#![allow(missing_docs)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]
#![allow(clippy::cast_possible_truncation, clippy::unwrap_used, clippy::panic)]
#![cfg(unix)]

use std::fs::{self, File};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard, RwLockWriteGuard};

use coldfix::commit::{
    DeviceTarget, FolderTarget, JournalDir, LockedDir, OperationHeader, Outcome, Stage, Status,
    Target, TargetFile, TargetIdentity, TargetKind, commit, recover, undo,
};
use coldfix::device::{Change, ChangeSet, Device, Patch};
use coldfix::error::{Error, Kind, Result};
use sha2::{Digest, Sha256};

/// A plain image file.
#[derive(Debug)]
struct Image(File);

impl Device for Image {
    fn len(&self) -> u64 {
        self.0.metadata().unwrap().len()
    }
    fn sector_size(&self) -> u32 {
        512
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        let read = self.0.read_exact_at(buffer, offset);
        read.map_err(Error::io("reading"))
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        let written = self.0.write_all_at(data, offset);
        written.map_err(Error::io("writing"))
    }
    fn flush(&self) -> Result<()> {
        self.0.sync_data().map_err(Error::io("flushing"))
    }
}

fn image_target(path: &Path) -> DeviceTarget {
    let file = File::options().read(true).write(true).open(path).unwrap();
    DeviceTarget::new(Arc::new(Image(file)), path)
}

fn set(patches: &[Patch]) -> ChangeSet {
    ChangeSet::from(patches.to_vec())
}

/// A folder with an image of 64 KiB and a journal folder beside it.
struct Bench {
    folder: tempfile::TempDir,
    _turn: Turn,
}

/// A child process holds its parent's file locks from fork to exec. So tests that start one run alone.
static TURNS: RwLock<()> = RwLock::new(());

enum Turn {
    Together {
        _guard: RwLockReadGuard<'static, ()>,
    },
    Alone {
        _guard: RwLockWriteGuard<'static, ()>,
    },
}

impl Bench {
    fn new() -> Self {
        let guard = TURNS.read().unwrap_or_else(PoisonError::into_inner);
        Bench::with(Turn::Together { _guard: guard })
    }

    fn alone() -> Self {
        let guard = TURNS.write().unwrap_or_else(PoisonError::into_inner);
        Bench::with(Turn::Alone { _guard: guard })
    }

    fn with(turn: Turn) -> Self {
        let bench = Bench {
            folder: tempfile::tempdir().unwrap(),
            _turn: turn,
        };
        let content: Vec<u8> = (0..65_536_u32).map(|index| (index % 251) as u8).collect();
        fs::write(bench.image(), content).unwrap();
        bench
    }

    fn image(&self) -> PathBuf {
        self.folder.path().join("disk.raw")
    }

    fn journals(&self) -> PathBuf {
        self.folder.path().join("deep/journals")
    }

    fn dir(&self) -> JournalDir {
        JournalDir::open(self.journals())
    }

    fn locked(&self) -> LockedDir {
        self.dir().lock().unwrap()
    }

    fn identity(&self) -> TargetIdentity {
        TargetIdentity {
            path: self.image().to_str().unwrap().into(),
            container: "raw".into(),
            len: 65_536,
            len_after: None,
            disk_id: Some("disk one".into()),
            kind: TargetKind::Image,
        }
    }

    fn header(&self, dir: &JournalDir) -> OperationHeader {
        let now = "2026-01-31T10:15:00Z".parse().unwrap();
        OperationHeader {
            id: dir.new_id(now, 0x0123_abcd).unwrap(),
            started: "2026-01-31T10:15:00Z".into(),
            tool_version: "0.1.0".into(),
            command: "coldfix repair disk.raw".into(),
            target: self.identity(),
            edits: vec![],
            undoes: None,
            new_disk: false,
        }
    }

    /// A patch of the image as it is now.
    fn patch(&self, changes: &[(u64, &[u8])]) -> Vec<Patch> {
        let content = fs::read(self.image()).unwrap();
        let change = |(offset, after): &(u64, &[u8])| Change {
            offset: *offset,
            before: content[*offset as usize..][..after.len()].to_vec(),
            after: after.to_vec(),
        };
        vec![Patch {
            file: self.image(),
            before_len: 65_536,
            after_len: 65_536,
            changes: changes.iter().map(change).collect(),
        }]
    }

    fn commit(&self, changes: &[(u64, &[u8])]) -> Result<String> {
        let dir = self.locked();
        let patches = self.patch(changes);
        let target = &mut image_target(&self.image());
        commit(&dir, self.header(&dir), &set(&patches), target, &mut |_| {}).map(|done| done.id)
    }

    fn undo(&self, id: &str) -> Result<String> {
        let dir = self.locked();
        let target = &mut image_target(&self.image());
        undo(&dir, id, self.header(&dir), target, &mut |_| {}).map(|done| done.id)
    }

    fn statuses(&self) -> Vec<Status> {
        let listing = self.dir().list().unwrap();
        assert!(listing.damaged.is_empty(), "{:?}", listing.damaged);
        let operations = listing.operations.into_iter();
        operations.map(|entry| entry.status).collect()
    }

    fn digest(&self) -> Vec<u8> {
        Sha256::digest(fs::read(self.image()).unwrap()).to_vec()
    }

    fn journal(&self, id: &str) -> PathBuf {
        self.journals().join(format!("{id}.journal"))
    }

    /// Fails with `kind`, and neither the image nor the journal folder changes.
    fn refuses(&self, kind: Kind, action: impl FnOnce() -> Result<()>) -> Error {
        let names = || {
            let mut names: Vec<_> = fs::read_dir(self.journals())
                .map(|folder| folder.map(|entry| entry.unwrap().file_name()).collect())
                .unwrap_or_default();
            names.retain(|name| name != "lock");
            names.sort();
            names
        };
        let found = (self.digest(), names());
        let error = action().unwrap_err();
        assert_eq!(error.kind(), kind, "{error}");
        assert_eq!((self.digest(), names()), found, "{error}");
        error
    }
}

#[test]
fn undo_gives_the_same_sha256() {
    let bench = Bench::new();
    let original = bench.digest();
    let first = bench.commit(&[(0, b"first"), (5000, &[9; 3000])]).unwrap();
    let after_first = bench.digest();
    let second = bench.commit(&[(40_000, b"second")]).unwrap();
    assert_eq!(bench.statuses(), [Status::Done, Status::Done]);

    // They do not touch each other, so their order is free.
    let undo_first = bench.undo(&first).unwrap();
    bench.undo(&second).unwrap();
    assert_eq!(bench.digest(), original);

    // An undo is an operation: undone, it does the first one again.
    bench.undo(&undo_first).unwrap();
    assert_eq!(bench.digest(), after_first);
    let statuses = bench.statuses();
    assert_eq!(statuses[0], Status::Done);
    assert!(matches!(&statuses[1], Status::Undone { .. }));
    bench.undo(&first).unwrap();
    assert_eq!(bench.digest(), original);
}

#[test]
fn ids_sort_by_age_even_when_the_clock_does_not() {
    let bench = Bench::new();
    // The test's clock stands still, so only the folder can tell the ids apart.
    for round in 1..4_u8 {
        bench.commit(&[(0, &[round; 1])]).unwrap();
    }
    let listing = bench.dir().list().unwrap();
    let ids: Vec<&str> = listing
        .operations
        .iter()
        .map(|entry| entry.header.id.as_str())
        .collect();
    assert_eq!(
        ids,
        [
            "20260131T101500.000000Z-0123abcd",
            "20260131T101500.000001Z-0123abcd",
            "20260131T101500.000002Z-0123abcd"
        ]
    );
    assert_eq!(
        (listing.operations[0].ranges, listing.operations[0].bytes),
        (1, 1)
    );
    // And an id that is not later is refused.
    let dir = bench.locked();
    let mut header = bench.header(&dir);
    header.id = ids[1].into();
    let patches = bench.patch(&[(0, b"x")]);
    let error = bench.refuses(Kind::Refused, || {
        let target = &mut image_target(&bench.image());
        commit(&dir, header, &set(&patches), target, &mut |_| {}).map(drop)
    });
    assert!(error.to_string().contains("not later"), "{error}");
}

#[test]
fn journals_are_for_their_owner_only() {
    let bench = Bench::new();
    let id = bench.commit(&[(0, b"secret")]).unwrap();
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&bench.journals()), 0o700);
    assert_eq!(mode(bench.journals().parent().unwrap()), 0o700);
    for entry in fs::read_dir(bench.journals()).unwrap() {
        assert_eq!(mode(&entry.unwrap().path()), 0o600);
    }
    assert!(bench.journal(&id).exists());
}

#[test]
fn looking_creates_nothing() {
    let bench = Bench::new();
    assert!(!bench.dir().has_operations().unwrap());
    assert!(bench.dir().list().unwrap().operations.is_empty());
    assert_eq!(bench.dir().load("x").unwrap_err().kind(), Kind::Refused);
    assert!(!bench.journals().exists());
}

#[test]
fn two_runs_at_once_are_refused() {
    let bench = Bench::new();
    let held = bench.locked();
    let error = bench.refuses(Kind::Refused, || bench.dir().lock().map(drop));
    assert!(error.to_string().contains("another run"), "{error}");
    drop(held);
    bench.locked();
}

#[test]
fn a_target_that_changed_since_it_was_read_is_refused_with_the_ranges() {
    let bench = Bench::new();
    let dir = bench.locked();
    let patches = bench.patch(&[(100, &[1; 10]), (2000, &[2; 2000])]);
    let image = File::options().write(true).open(bench.image()).unwrap();
    image.write_all_at(b"!", 105).unwrap();
    image.write_all_at(b"!", 2600).unwrap();
    let error = bench.refuses(Kind::Refused, || {
        let target = &mut image_target(&bench.image());
        commit(
            &dir,
            bench.header(&dir),
            &set(&patches),
            target,
            &mut |_| {},
        )
        .map(drop)
    });
    let message = error.to_string();
    assert!(message.contains("changed since it was read"), "{message}");
    assert!(message.contains("0x64..0x6e, 0xa00..0xc00"), "{message}");
}

#[test]
fn unsound_patches_are_refused() {
    let bench = Bench::new();
    let dir = bench.locked();
    let sound = bench.patch(&[(100, &[1; 10]), (110, &[2; 10])]);
    let spoil = |spoil: &dyn Fn(&mut Vec<Patch>)| {
        let mut patches = sound.clone();
        spoil(&mut patches);
        bench.refuses(Kind::Refused, || {
            let target = &mut image_target(&bench.image());
            commit(
                &dir,
                bench.header(&dir),
                &set(&patches),
                target,
                &mut |_| {},
            )
            .map(drop)
        });
    };
    spoil(&|patches| patches.clear());
    spoil(&|patches| patches[0].changes.clear());
    spoil(&|patches| patches[0].changes.reverse());
    spoil(&|patches| patches[0].changes[0].after = vec![0; 11]);
    spoil(&|patches| patches[0].changes[1].offset = 109);
    spoil(&|patches| patches[0].changes[1].offset = u64::MAX);
    spoil(&|patches| patches[0].before_len = 65_535);
    spoil(&|patches| patches.push(patches[0].clone()));
    spoil(&|patches| {
        for change in &mut patches[0].changes {
            change.after = change.before.clone();
        }
    });
    // A disk does not grow.
    let error = {
        let mut patches = sound.clone();
        patches[0].after_len = 70_000;
        let target = &mut image_target(&bench.image());
        commit(
            &dir,
            bench.header(&dir),
            &set(&patches),
            target,
            &mut |_| {},
        )
        .unwrap_err()
    };
    assert_eq!(error.kind(), Kind::Refused);
    assert_eq!(bench.statuses(), [Status::TakenBack]);
}

#[test]
fn undo_is_exact_or_refused() {
    let bench = Bench::new();
    let id = bench
        .commit(&[(100, b"written"), (9000, &[7; 600])])
        .unwrap();
    let image = File::options().write(true).open(bench.image()).unwrap();
    image.write_all_at(b"Windows", 9010).unwrap();
    let error = bench.refuses(Kind::Refused, || bench.undo(&id).map(drop));
    assert!(error.to_string().contains("0x2328..0x2400"), "{error}");
    assert!(error.hint().unwrap().contains("--revert"), "{error}");

    image.write_all_at(&[7; 7], 9010).unwrap();
    let undo_id = bench.undo(&id).unwrap();
    let error = bench.refuses(Kind::Refused, || bench.undo(&id).map(drop));
    assert!(error.to_string().contains("already undone"), "{error}");
    assert!(error.hint().unwrap().contains(&undo_id), "{error}");

    for wrong in [
        "20200101T000000.000000Z-00000000",
        "",
        "../../etc/passwd",
        ".",
    ] {
        let error = bench.refuses(Kind::Refused, || bench.undo(wrong).map(drop));
        assert!(error.to_string().contains("no operation"), "{error}");
    }
}

#[test]
fn a_later_operation_on_the_same_bytes_is_undone_first() {
    let bench = Bench::new();
    let original = bench.digest();
    let first = bench.commit(&[(100, b"aaaa"), (800, b"aaaa")]).unwrap();
    let second = bench.commit(&[(50, b"b"), (803, b"bb")]).unwrap();
    let error = bench.refuses(Kind::Refused, || bench.undo(&first).map(drop));
    assert!(error.to_string().contains(&second), "{error}");
    assert_eq!(error.hint().unwrap(), format!("undo {second} first"));
    bench.undo(&second).unwrap();
    // The second and its undo cancel; neither stands in the way now.
    bench.undo(&first).unwrap();
    assert_eq!(bench.digest(), original);

    // Neighbours are not the same bytes.
    let first = bench.commit(&[(100, b"aaaa")]).unwrap();
    bench.commit(&[(104, b"b")]).unwrap();
    bench.undo(&first).unwrap();
}

#[test]
fn a_listing_knows_what_is_on_a_target_and_what_undo_takes_back() {
    let bench = Bench::new();
    let newest = |identity: &TargetIdentity| {
        let listing = bench.dir().list().unwrap();
        let id = listing.newest_to_undo(identity);
        (
            listing.on(identity).count(),
            id.map(|entry| entry.header.id.clone()),
        )
    };
    assert_eq!(newest(&bench.identity()), (0, None));
    let first = bench.commit(&[(100, b"aaaa")]).unwrap();
    let second = bench.commit(&[(200, b"bbbb")]).unwrap();
    assert_eq!(newest(&bench.identity()), (2, Some(second.clone())));
    bench.undo(&second).unwrap();
    assert_eq!(newest(&bench.identity()), (3, Some(first.clone())));
    bench.undo(&first).unwrap();
    assert_eq!(newest(&bench.identity()), (4, None));

    let mut other = bench.identity();
    other.path = "/copy.raw".into();
    assert_eq!(newest(&other).0, 4, "the same disk id");
    other.disk_id = None;
    assert_eq!(newest(&other).0, 0, "neither path nor id");
    other = bench.identity();
    other.disk_id = Some("disk two".into());
    assert_eq!(newest(&other).0, 0, "another disk at the same path");
}

#[test]
fn undo_on_another_disk_is_refused() {
    let bench = Bench::new();
    let id = bench.commit(&[(100, b"aaaa")]).unwrap();
    let dir = bench.locked();
    let attempt = |change: &dyn Fn(&mut TargetIdentity)| {
        let mut header = bench.header(&dir);
        change(&mut header.target);
        let target = &mut image_target(&bench.image());
        undo(&dir, &id, header, target, &mut |_| {}).map(drop)
    };
    bench.refuses(Kind::Refused, || attempt(&|target| target.len = 1));
    bench.refuses(Kind::Refused, || {
        attempt(&|target| target.disk_id = Some("disk two".into()))
    });
    bench.refuses(Kind::Refused, || {
        attempt(&|target| target.kind = TargetKind::Device)
    });
    // Moved or renamed, it is the same disk.
    attempt(&|target| target.path = "/elsewhere".into()).unwrap();
}

#[test]
fn damaged_journals_are_listed_and_the_rest_still_works() {
    let bench = Bench::new();
    let first = bench.commit(&[(100, b"aaaa")]).unwrap();
    let second = bench.commit(&[(200, b"bbbb")]).unwrap();
    let whole = fs::read(bench.journal(&first)).unwrap();

    // A byte of the content: listed (only its head is read), but not undone.
    let mut content = whole.clone();
    let place = whole.len() - 60;
    content[place] ^= 1;
    fs::write(bench.journal(&first), &content).unwrap();
    let error = bench.refuses(Kind::Damaged, || bench.undo(&first).map(drop));
    assert!(error.hint().unwrap().contains("--revert"), "{error}");

    // Cut off or empty: listed as damaged.
    for spoiled in [&whole[..whole.len() - 1], &whole[..10], b""] {
        fs::write(bench.journal(&first), spoiled).unwrap();
        let listing = bench.dir().list().unwrap();
        assert_eq!(listing.operations.len(), 1);
        assert_eq!(listing.damaged[0].id, first);
        assert!(listing.damaged[0].ended);
        bench.refuses(Kind::Damaged, || bench.undo(&first).map(drop));
    }
    // Under another operation's name: not believed.
    fs::copy(bench.journal(&second), bench.journal(&first)).unwrap();
    assert_eq!(bench.dir().list().unwrap().damaged.len(), 1);
    // Both markers at once: not believed either.
    fs::write(bench.journal(&first), &whole).unwrap();
    let marker = bench.journals().join(format!("{first}.taken-back"));
    fs::write(&marker, b"").unwrap();
    assert_eq!(bench.dir().list().unwrap().damaged.len(), 1);
    fs::remove_file(&marker).unwrap();
    assert_eq!(bench.statuses(), [Status::Done, Status::Done]);
    bench.undo(&second).unwrap();

    // Damaged and not ended: it could be this target that is half-written.
    fs::write(bench.journal(&first), b"cfJOURNL").unwrap();
    fs::remove_file(bench.journals().join(format!("{first}.done"))).unwrap();
    let error = bench.refuses(Kind::Damaged, || bench.commit(&[(300, b"c")]).map(drop));
    assert!(error.hint().unwrap().contains("move it out"), "{error}");
    let dir = bench.locked();
    bench.refuses(Kind::Damaged, || {
        let target = &mut image_target(&bench.image());
        recover(&dir, &bench.identity(), target, &mut |_| {}).map(drop)
    });
}

#[test]
fn what_a_killed_run_left_is_tidied_and_recovered() {
    let bench = Bench::new();
    let original = bench.digest();
    let id = bench.commit(&[(100, b"aaaa"), (5000, &[3; 1500])]).unwrap();
    let written = bench.digest();
    let done = bench.journals().join(format!("{id}.done"));
    let leftover = bench
        .journals()
        .join("20260131T101500.000009Z-00000000.journal.tmp");
    let again = |expected: Outcome| {
        fs::write(&leftover, b"half a journal").unwrap();
        let dir = bench.locked();
        let target = &mut image_target(&bench.image());
        let recoveries = recover(&dir, &bench.identity(), target, &mut |_| {}).unwrap();
        assert_eq!(recoveries.len(), 1);
        assert_eq!(recoveries[0].outcome, expected);
        assert!(!leftover.exists());
        let target = &mut image_target(&bench.image());
        let recoveries = recover(&dir, &bench.identity(), target, &mut |_| {}).unwrap();
        assert!(recoveries.is_empty());
    };
    // Killed between the last write and the marker.
    fs::remove_file(&done).unwrap();
    again(Outcome::Completed);
    assert_eq!(bench.digest(), written);
    // Killed with the last byte missing.
    fs::remove_file(&done).unwrap();
    let image = File::options().write(true).open(bench.image()).unwrap();
    image.write_all_at(&[(6499 % 251) as u8], 6499).unwrap();
    again(Outcome::TakenBack);
    assert_eq!(bench.digest(), original);
    let error = bench.refuses(Kind::Refused, || bench.undo(&id).map(drop));
    assert!(error.to_string().contains("taken back"), "{error}");
}

#[test]
fn recovery_is_for_the_target_that_was_interrupted() {
    let bench = Bench::new();
    let original = bench.digest();
    let id = bench.commit(&[(100, b"aaaa")]).unwrap();
    fs::remove_file(bench.journals().join(format!("{id}.done"))).unwrap();
    let image = File::options().write(true).open(bench.image()).unwrap();
    image.write_all_at(&[100], 100).unwrap(); // one byte old again
    let attempt = |change: &dyn Fn(&mut TargetIdentity)| {
        let mut identity = bench.identity();
        change(&mut identity);
        let dir = bench.locked();
        let target = &mut image_target(&bench.image());
        recover(&dir, &identity, target, &mut |_| {}).map(|recoveries| recoveries.len())
    };
    // Others: another disk at the same path, a copy of this disk beside it, another kind.
    for other in [
        (&|target: &mut TargetIdentity| target.disk_id = Some("two".into()))
            as &dyn Fn(&mut TargetIdentity),
        &|target| target.path = "/copy.raw".into(),
        &|target| target.kind = TargetKind::Folder,
    ] {
        assert_eq!(attempt(other).unwrap(), 0);
    }
    // Doubtful: the same path and disk with another length.
    let error = bench.refuses(Kind::Refused, || {
        attempt(&|target| target.len += 512).map(drop)
    });
    assert!(error.to_string().contains("bytes long then"), "{error}");
    // The same disk, moved away from its old path.
    fs::rename(bench.image(), bench.folder.path().join("moved.raw")).unwrap();
    let mut identity = bench.identity();
    identity.path = bench
        .folder
        .path()
        .join("moved.raw")
        .to_str()
        .unwrap()
        .into();
    let dir = bench.locked();
    let target = &mut image_target(Path::new(&identity.path));
    let recoveries = recover(&dir, &identity, target, &mut |_| {}).unwrap();
    assert_eq!(recoveries[0].outcome, Outcome::TakenBack);
    fs::rename(identity.path, bench.image()).unwrap();
    assert_eq!(bench.digest(), original);
}

#[test]
fn a_folder_that_cannot_hold_the_journal_is_named_with_the_way_out() {
    let bench = Bench::new();
    fs::write(bench.folder.path().join("deep"), b"a file is in the way").unwrap();
    let error = bench.refuses(Kind::Io, || bench.dir().lock().map(drop));
    assert!(error.to_string().contains("deep/journals"), "{error}");
    assert!(error.hint().unwrap().contains("--journal-dir"), "{error}");
}

/// A full disk, made with a file system of 64 KiB in memory.
#[test]
fn a_full_disk_for_the_journal_changes_nothing() {
    let bench = Bench::alone();
    fs::create_dir_all(bench.journals()).unwrap();
    let mounted = Command::new("mount")
        .args(["-t", "tmpfs", "-o", "size=64k", "tmpfs"])
        .arg(bench.journals())
        .status();
    if !mounted.is_ok_and(|status| status.success()) {
        // The same claim is tested without a mount in commit_crash.rs.
        eprintln!("SKIPPED: mounting a small tmpfs (needs root)");
        return;
    }
    let outcome = std::panic::catch_unwind(std::panic::AssertUnwindSafe(|| {
        let error = bench.refuses(Kind::Io, || bench.commit(&[(100, &[1; 60_000])]).map(drop));
        assert!(error.to_string().contains("deep/journals"), "{error}");
        assert!(error.hint().unwrap().contains("--journal-dir"), "{error}");
        bench.commit(&[(100, &[1; 100])]).unwrap();
    }));
    let unmounted = Command::new("umount").arg(bench.journals()).status();
    assert!(unmounted.unwrap().success());
    outcome.unwrap();
}

#[test]
fn progress_runs_through_the_stages_in_order() {
    let bench = Bench::new();
    let dir = bench.locked();
    let patches = bench.patch(&[(0, &[1; 3000]), (9000, &[2; 10])]);
    let mut stages = Vec::new();
    let target = &mut image_target(&bench.image());
    commit(
        &dir,
        bench.header(&dir),
        &set(&patches),
        target,
        &mut |progress| {
            assert!(progress.done <= progress.total);
            if stages.last() != Some(&progress.stage) {
                stages.push(progress.stage);
            }
        },
    )
    .unwrap();
    assert_eq!(
        stages,
        [
            Stage::Checking,
            Stage::Journal,
            Stage::Writing,
            Stage::Flushing,
            Stage::ReadingBack
        ]
    );
}

/// An image that counts what is asked of it, and cannot read one byte.
#[derive(Debug)]
struct Watched {
    image: Image,
    reads: AtomicU64,
    forgotten: AtomicU64,
    bad: Option<u64>,
}

impl Device for Watched {
    fn len(&self) -> u64 {
        self.image.len()
    }
    fn sector_size(&self) -> u32 {
        512
    }
    fn read_at(&self, offset: u64, buffer: &mut [u8]) -> Result<()> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let range = offset..offset + buffer.len() as u64;
        if self.bad.is_some_and(|bad| range.contains(&bad)) {
            return Err(Error::io("reading")(std::io::Error::other("bad sector")));
        }
        self.image.read_at(offset, buffer)
    }
    fn write_at(&self, offset: u64, data: &[u8]) -> Result<()> {
        self.image.write_at(offset, data)
    }
    fn flush(&self) -> Result<()> {
        self.image.flush()
    }
    fn forget_cached(&self, _offset: u64, _len: u64) {
        self.forgotten.fetch_add(1, Ordering::Relaxed);
    }
}

/// Ten thousand sectors, each with a gap of 1.5 KiB behind it.
fn scattered(bench: &Bench) -> Vec<Patch> {
    let len = 10_000 * 2048;
    fs::write(bench.image(), vec![0; len as usize]).unwrap();
    let zeros = vec![0; 512];
    vec![Patch {
        file: bench.image(),
        before_len: len,
        after_len: len,
        changes: (0..10_000)
            .map(|index| Change {
                offset: index * 2048,
                before: zeros.clone(),
                after: vec![index as u8 | 1; 512],
            })
            .collect(),
    }]
}

fn watched(bench: &Bench, bad: Option<u64>) -> Arc<Watched> {
    let file = File::options()
        .read(true)
        .write(true)
        .open(bench.image())
        .unwrap();
    Arc::new(Watched {
        image: Image(file),
        reads: AtomicU64::new(0),
        forgotten: AtomicU64::new(0),
        bad,
    })
}

/// A disk that seeks takes ten milliseconds for each read: ten thousand of them would be two minutes.
#[test]
fn scattered_changes_are_read_together() {
    let bench = Bench::new();
    let changes = set(&scattered(&bench));
    let dir = bench.locked();
    let device = watched(&bench, None);
    let target = &mut DeviceTarget::new(device.clone(), bench.image());
    let done = commit(&dir, bench.header(&dir), &changes, target, &mut |_| {}).unwrap();
    assert_eq!(done.ranges, 10_000);
    // Once before and once after, in pieces of at most 1 MiB of the 20 MiB.
    let reads = device.reads.load(Ordering::Relaxed);
    assert!((2..100).contains(&reads), "{reads}");
    let forgotten = device.forgotten.load(Ordering::Relaxed);
    assert!((1..100).contains(&forgotten), "{forgotten}");
    let content = fs::read(bench.image()).unwrap();
    for (index, block) in content.chunks(2048).enumerate() {
        assert_eq!(block[..512], [index as u8 | 1; 512]);
        assert_eq!(block[512..], [0; 1536]);
    }
}

/// The gaps are nobody's business.
#[test]
fn what_cannot_be_read_beside_the_changes_does_not_matter() {
    let bench = Bench::new();
    let changes = set(&scattered(&bench));
    let dir = bench.locked();
    let mut header = bench.header(&dir);
    header.target.len = 10_000 * 2048;
    for (bad, refused) in [(5000 * 2048 + 100, true), (5000 * 2048 + 600, false)] {
        let device = watched(&bench, Some(bad));
        let target = &mut DeviceTarget::new(device, bench.image());
        let outcome = commit(&dir, header.clone(), &changes, target, &mut |_| {});
        if refused {
            assert_eq!(outcome.unwrap_err().kind(), Kind::Io);
        } else {
            outcome.unwrap();
        }
    }
}

/// A mounted folder with a hive and its log.
fn folder_bench() -> (Bench, PathBuf, Vec<Patch>) {
    let bench = Bench::new();
    let root = bench.folder.path().join("mnt");
    let config = root.join("Windows/System32/config");
    fs::create_dir_all(&config).unwrap();
    fs::write(config.join("SYSTEM"), [1; 5000]).unwrap();
    fs::write(config.join("SYSTEM.LOG1"), [2; 700]).unwrap();
    let mut grown = vec![1; 4];
    grown.extend([0; 20]);
    let mut content = vec![9; 4];
    content.extend([8; 20]);
    let patches = vec![
        Patch {
            file: "Windows/System32/config/SYSTEM".into(),
            before_len: 5000,
            after_len: 9000,
            changes: vec![
                Change {
                    offset: 100,
                    before: vec![1; 4],
                    after: vec![5; 4],
                },
                Change {
                    offset: 4996,
                    before: grown,
                    after: content,
                },
                Change {
                    offset: 8990,
                    before: vec![0; 4],
                    after: vec![7; 4],
                },
            ],
        },
        Patch {
            file: config.join("SYSTEM.LOG1"),
            before_len: 700,
            after_len: 700,
            changes: vec![Change {
                offset: 0,
                before: vec![2; 512],
                after: vec![0; 512],
            }],
        },
    ];
    (bench, root, patches)
}

fn folder_header(bench: &Bench, dir: &JournalDir, root: &Path) -> OperationHeader {
    let mut header = bench.header(dir);
    header.target = TargetIdentity {
        path: root.to_str().unwrap().into(),
        container: "folder".into(),
        len: 0,
        len_after: None,
        disk_id: None,
        kind: TargetKind::Folder,
    };
    header
}

#[test]
fn files_of_a_folder_grow_and_shrink_back() {
    let (bench, root, patches) = folder_bench();
    let config = root.join("Windows/System32/config");
    let dir = bench.locked();
    let mut target = FolderTarget::new(&root);
    let header = folder_header(&bench, &dir, &root);
    let done = commit(&dir, header, &set(&patches), &mut target, &mut |_| {}).unwrap();
    assert_eq!((done.ranges, done.bytes), (4, 544));

    let mut expected = vec![1; 5000];
    expected[100..104].fill(5);
    expected[4996..].fill(9);
    expected.extend([8; 20]);
    expected.resize(9000, 0);
    expected[8990..8994].fill(7);
    assert_eq!(fs::read(config.join("SYSTEM")).unwrap(), expected);
    assert_eq!(
        fs::read(config.join("SYSTEM.LOG1")).unwrap()[..512],
        [0; 512]
    );

    // Somebody has put something where the file grew and nothing was written: undo would lose it.
    let hive = File::options()
        .write(true)
        .open(config.join("SYSTEM"))
        .unwrap();
    let undo_it = |target: &mut dyn Target| {
        let header = folder_header(&bench, &dir, &root);
        undo(&dir, &done.id, header, target, &mut |_| {})
    };
    for (place, named) in [(8000, "0x1e00..0x2000"), (8999, "0x2322..0x2328")] {
        hive.write_all_at(b"!", place).unwrap();
        let error = undo_it(&mut target).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused);
        assert!(error.to_string().contains(named), "{error}");
        hive.write_all_at(b"\0", place).unwrap();
    }
    // Longer than it was left: likewise.
    hive.set_len(9001).unwrap();
    let error = undo_it(&mut target).unwrap_err();
    assert!(
        error.to_string().contains("9001 bytes long, not 9000"),
        "{error}"
    );
    hive.set_len(9000).unwrap();

    undo_it(&mut target).unwrap();
    assert_eq!(fs::read(config.join("SYSTEM")).unwrap(), [1; 5000]);
    assert_eq!(fs::read(config.join("SYSTEM.LOG1")).unwrap(), [2; 700]);
}

#[test]
fn a_folder_target_stays_in_its_folder() {
    let (bench, root, _) = folder_bench();
    let config = root.join("Windows/System32/config");
    std::os::unix::fs::symlink(bench.image(), config.join("SOFTWARE")).unwrap();
    fs::create_dir(config.join("SAM")).unwrap();
    let mut target = FolderTarget::new(&root);
    let mut kind = |file: &Path| target.open(file).unwrap_err().kind();
    assert_eq!(kind(&bench.image()), Kind::Refused);
    assert_eq!(kind(Path::new("../disk.raw")), Kind::Refused);
    assert_eq!(
        kind(Path::new("Windows/System32/config/SOFTWARE")),
        Kind::Refused
    );
    std::os::unix::fs::symlink("config", root.join("Windows/System32/inside")).unwrap();
    for link in ["inside/SYSTEM", "config/SOFTWARE"] {
        let path = Path::new("Windows/System32").join(link);
        assert_eq!(kind(&path), Kind::Refused, "{link}");
    }
    assert_eq!(kind(Path::new("Windows/System32/config/none")), Kind::Io);
    assert_ne!(
        kind(Path::new("Windows/System32/config/SAM")),
        Kind::Damaged
    );

    // While one handle is open, another program's lock is respected, and ours keeps others out.
    let name = Path::new("Windows/System32/config/SYSTEM");
    let held: Box<dyn TargetFile> = target.open(name).unwrap();
    assert_eq!(target.open(name).unwrap_err().kind(), Kind::Refused);
    drop(held);
    target.open(name).unwrap();
}

/// The drawing in `journal.rs`, read by a program that shares no code with it.
#[test]
fn the_journal_is_as_it_is_documented() {
    let bench = Bench::alone();
    let id = bench.commit(&[(100, b"aaaa"), (5000, &[3; 1500])]).unwrap();
    let script = r#"
import sys, struct, zlib, hashlib, json
data = open(sys.argv[1], "rb").read()
magic, version, length, crc = struct.unpack_from("<8sIQI", data)
assert (magic, version, length) == (b"cfJOURNL", 1, len(data)), (magic, version, length)
assert crc == zlib.crc32(data[:20])
at, sections = 24, []
while at < len(data):
    tag, size = struct.unpack_from("<4sQ", data, at)
    payload = data[at + 12:at + 12 + size]
    assert struct.unpack_from("<I", data, at + 12 + size)[0] == zlib.crc32(data[at:at + 12 + size])
    sections.append((tag, payload, at))
    at += 16 + size
assert [tag for tag, _, _ in sections] == [b"HEAD", b"FILE", b"CHNG", b"CHNG", b"TAIL"]
assert sections[-1][1] == hashlib.sha256(data[:sections[-1][2]]).digest()
print(json.loads(sections[0][1])["header"]["id"])
before, after, count = struct.unpack_from("<QQQ", sections[1][1])
print(before, after, count, sections[1][1][24:].decode())
for _, payload, _ in sections[2:4]:
    offset, half = struct.unpack_from("<Q", payload)[0], (len(payload) - 8) // 2
    print(offset, payload[8:12].hex(), payload[8 + half:12 + half].hex(), half)
"#;
    let output = match Command::new("python3")
        .args(["-c", script])
        .arg(bench.journal(&id))
        .output()
    {
        Ok(output) => output,
        Err(_) if std::env::var_os("CI").is_none_or(|value| value.is_empty()) => {
            eprintln!("SKIPPED: python3");
            return;
        }
        Err(error) => panic!("python3: {error}"),
    };
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let expected = format!(
        "{id}\n65536 65536 2 {}\n100 64656667 61616161 4\n5000 e7e8e9ea 03030303 1500\n",
        bench.image().display()
    );
    assert_eq!(String::from_utf8_lossy(&output.stdout), expected);
}
