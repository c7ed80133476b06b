// SPDX-License-Identifier: GPL-2.0-or-later
//! What the journal of real Windows volumes allows and forbids, what is done to it, and what ntfs-3g's tools and
//! sleuthkit say of the result.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::fs::{self, File, OpenOptions};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldfix::device::Change;
use coldfix::device::overlay::Overlay;
use coldfix::error::{Error, Kind};
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{JournalState, JournalVerdict, TransactionState, Volume};
use ntfs_support::*;

const LIMIT: u64 = 64 << 20;
const PAGE: usize = 0x1000;
const TRACKING: &str = "System Volume Information/tracking.log";
/// Planted: the volume `A` is formatted as compressed, and has no plain file of its own.
const SMALL: &str = "plain.txt";

/// A real volume that Windows did not let go of. Its journal lies in one piece.
struct Real {
    name: &'static str,
    cluster: u64,
    /// First cluster of $LogFile.
    journal: u64,
    /// First record of the journal's session.
    session: u64,
    end: u64,
}

const A: Real = Real {
    name: "w10-1kcluster-log2-dirty.raw.xz",
    cluster: 1024,
    journal: 1362,
    session: 0x28_4408,
    end: 0x28_92AF,
};
const B: Real = Real {
    name: "w10-cloud-reparse-log2-dirty.raw.xz",
    cluster: 4096,
    journal: 84616,
    session: 0x40_4408,
    end: 0x40_5B7F,
};

/// A copy of a volume, to be changed at will.
struct Copy {
    folder: tempfile::TempDir,
    real: &'static Real,
}

/// An open volume over a copy.
struct Opened {
    overlay: Arc<Overlay>,
    volume: NtfsVolume,
}

impl Copy {
    /// None, and counted, without the data or the programs. `A` has the file `plain.txt`.
    fn of(real: &'static Real) -> Option<Copy> {
        match real.name == A.name {
            true => planted(&[(SMALL, b"twelve bytes".to_vec())]),
            false => Copy::as_it_is(real),
        }
    }

    fn as_it_is(real: &'static Real) -> Option<Copy> {
        let tools = [
            "ntfsrecover",
            "ifind",
            "istat",
            "ntfs-3g.probe",
            "ntfssecaudit",
            "ntfsresize",
            "ntfsfix",
            "ntfsinfo",
            "ntfscat",
            "fls",
            "icat",
        ];
        if !require(&tools) {
            return None;
        }
        let folder = tempfile::tempdir_in(scratch()).unwrap();
        let source = image(real.name)?;
        let copy = Copy { folder, real };
        support::copy(&source, &copy.path());
        // One image lacks the sector behind the volume, which ntfsfix wants: the copy of the boot sector.
        let file = copy.file();
        let mut boot = [0; 512];
        file.read_exact_at(&mut boot, 0).unwrap();
        let sectors = u64::from_le_bytes(boot[0x28..0x30].try_into().unwrap());
        file.write_all_at(&boot, sectors * 512).unwrap();
        assert_eq!(copy.page(0)[..4], *b"RSTR");
        Some(copy)
    }

    fn path(&self) -> PathBuf {
        self.folder.path().join("volume")
    }

    fn text(&self) -> String {
        self.path().to_str().unwrap().to_owned()
    }

    fn file(&self) -> File {
        let mut options = OpenOptions::new();
        options.read(true).write(true).open(self.path()).unwrap()
    }

    /// As it was left: what waits in the journal is not carried out.
    fn open(&self) -> Opened {
        self.open_with(false)
    }

    fn open_with(&self, replay: bool) -> Opened {
        let overlay = Arc::new(Overlay::new(FileDevice::open(&self.path())));
        let volume = NtfsVolume::open_with(overlay.clone(), replay).unwrap();
        Opened { overlay, volume }
    }

    /// Writes what the overlay has.
    fn commit(&self, opened: &Opened) {
        let file = self.file();
        for change in opened.changes() {
            file.write_all_at(&change.after, change.offset).unwrap();
        }
    }

    /// Where a page of the journal is on the volume.
    fn journal(&self, at: usize) -> u64 {
        self.real.journal * self.real.cluster + at as u64
    }

    /// A page of the journal as it is.
    fn page(&self, at: usize) -> Vec<u8> {
        let mut page = vec![0; PAGE];
        self.file()
            .read_exact_at(&mut page, self.journal(at))
            .unwrap();
        page
    }

    /// Changes a page of the journal under good protection.
    fn edit(&self, at: usize, change: impl FnOnce(&mut [u8])) {
        let mut page = self.page(at);
        let array = usize::from(page[4]);
        for sector in 0..8 {
            let saved = array + 2 + 2 * sector;
            page.copy_within(saved..saved + 2, sector * 512 + 510);
        }
        change(&mut page);
        for sector in 0..8 {
            let tail = sector * 512 + 510;
            page.copy_within(tail..tail + 2, array + 2 + 2 * sector);
            page.copy_within(array..array + 2, tail);
        }
        self.file().write_all_at(&page, self.journal(at)).unwrap();
    }

    /// Lets both restart pages name an earlier checkpoint: what came after it is pending then.
    fn go_back_to(&self, checkpoint: u64) {
        self.set_restart(self.real.end, checkpoint);
    }

    fn set_restart(&self, current: u64, checkpoint: u64) {
        for at in [0, PAGE] {
            self.edit(at, |page| {
                page[0x30..0x38].copy_from_slice(&current.to_le_bytes());
                page[0x70..0x78].copy_from_slice(&self.real.session.to_le_bytes());
                page[0x78..0x80].copy_from_slice(&checkpoint.to_le_bytes());
            });
        }
    }

    /// Lets ntfs-3g change the volume, and gives it back the journal it had, which knows nothing of that.
    fn plant(&self, change: impl FnOnce(&Path)) {
        let len = 0x20_0000;
        let mut journal = vec![0; len];
        let file = self.file();
        file.read_exact_at(&mut journal, self.journal(0)).unwrap();
        file.write_all_at(&vec![0xFF; len], self.journal(0))
            .unwrap();
        change(Mount::with(&self.path(), "nocompression").path());
        file.write_all_at(&journal, self.journal(0)).unwrap();
    }

    /// What ntfs-3g thinks of mounting it for writing; 14 is a journal that was left open.
    fn probe(&self) -> Option<i32> {
        let mut command = support::program("ntfs-3g.probe");
        let output = command.arg("--readwrite").arg(self.path()).output();
        output.unwrap().status.code()
    }

    /// What the programs say that look at the whole volume, and must say the same afterwards.
    fn audit(&self) -> Vec<String> {
        let path = self.text();
        run("ntfsfix", &["-n", &path]);
        let resize = run("ntfsresize", &["--info", "--force", &path]);
        let resize = String::from_utf8_lossy(&resize).into_owned();
        assert!(
            !resize.contains("ERROR") && resize.contains("You might resize at"),
            "{resize}"
        );
        // It finds a fault in one of the volumes as Windows left it.
        let (_, audit, _) = attempt("ntfssecaudit", &["-a", &path]);
        let names = run("fls", &["-r", "-p", &path]);
        let lines = |bytes: &[u8]| -> Vec<String> {
            let text = String::from_utf8_lossy(bytes).into_owned();
            text.lines().map(str::to_owned).collect()
        };
        let mut all: Vec<String> = lines(&audit);
        assert!(all.iter().any(|line| line.contains("errors in $SDH")));
        if self.real.name == A.name {
            let bad = |line: &&String| line.contains(" errors in ") && !line.starts_with("0 ");
            assert_eq!(all.iter().find(bad), None);
        }
        all.extend(lines(&names));
        all.extend(
            resize
                .lines()
                .filter(|line| line.starts_with("Space in use"))
                .map(str::to_owned),
        );
        all
    }

    /// The flags of $Volume as ntfsinfo reads them.
    fn is_marked_dirty(&self) -> bool {
        let out = run("ntfsinfo", &["-m", "-f", &self.text()]);
        let out = String::from_utf8_lossy(&out).into_owned();
        let mut lines = out.lines();
        let flags = lines.find(|line| line.contains("Volume Flags")).unwrap();
        flags.contains("DIRTY")
    }
}

impl Opened {
    fn state(&self) -> &JournalState {
        self.volume.state().journal.as_ref().unwrap()
    }

    fn changes(&self) -> Vec<Change> {
        self.overlay.changes().unwrap()
    }

    fn read(&self, path: &str) -> Vec<u8> {
        self.volume.read(path, LIMIT).unwrap()
    }

    /// The content of a file with each byte changed; the length stays.
    fn other(&self, path: &str) -> Vec<u8> {
        let content = self.read(path);
        assert!(!content.is_empty());
        content.iter().map(|byte| byte ^ 0x5A).collect()
    }

    /// An attempt that is refused with a next step, and changes nothing.
    fn refused(&self, path: &str, content: &[u8]) -> Error {
        let before = (self.changes(), self.volume.notes());
        let error = self.volume.replace(path, content).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{error}");
        assert!(error.to_string().contains("$LogFile"), "{error}");
        let hint = error.hint().unwrap();
        assert!(hint.contains("--discard-journal") && hint.contains("Windows"));
        assert_eq!((self.changes(), self.volume.notes()), before, "{path}");
        error
    }
}

/// A range of bytes on the volume.
type Range = (u64, u64);

/// Every changed sector lies in one of the ranges, and each range has one.
fn assert_only(changes: &[Change], ranges: &[Range]) {
    let mut hit = vec![false; ranges.len()];
    for change in changes {
        for sector in (change.offset..change.offset + change.after.len() as u64).step_by(512) {
            let range = ranges
                .iter()
                .position(|range| (range.0..range.1).contains(&sector));
            hit[range.unwrap_or_else(|| panic!("sector {sector:#x} was changed: {ranges:x?}"))] =
                true;
        }
    }
    assert!(hit.iter().all(|hit| *hit), "{ranges:x?} {hit:?}");
}

#[test]
fn an_idle_journal_is_closed_by_the_first_change() {
    for (real, path) in [(&A, SMALL), (&B, TRACKING)] {
        let Some(copy) = Copy::of(real) else { return };
        let number = record(&copy, path);
        // The file's own sectors: one is in its MFT record, the other in clusters.
        let own = match real.name == A.name {
            true => {
                let place = 3413 * 1024 + number.parse::<u64>().unwrap() * 1024;
                (place, place + 1024)
            }
            false => (1487 * 4096, 1492 * 4096),
        };
        let before = copy.audit();
        assert_eq!(copy.probe(), Some(14));
        let hash = support::sha256(&copy.path());
        let opened = copy.open();
        let state = opened.state();
        assert_eq!(state.verdict, JournalVerdict::Idle);
        assert_eq!(state.version.as_deref(), Some("2.0"));
        assert_eq!(state.end_lsn, Some(format!("{:#x}", real.end)));
        let numbers = [state.transactions, state.pages, state.redo, state.undo];
        assert_eq!((state.records, numbers), (3, [0; 4]));
        assert!(state.files.is_empty() && state.concerned == 0 && state.reason.is_none());
        let text = opened.volume.state().unclean_journal.as_deref();
        assert!(text.unwrap().starts_with("idle"), "{text:?}");

        // Asking changes nothing, nor does writing what is there.
        opened.volume.check_writable().unwrap();
        opened.volume.replace(path, &opened.read(path)).unwrap();
        assert!(opened.overlay.is_unchanged() && opened.volume.notes().is_empty());

        let content = opened.other(path);
        opened.volume.replace(path, &content).unwrap();
        let restart = (copy.journal(0), copy.journal(2 * PAGE));
        assert_only(&opened.changes(), &[restart, own]);
        let notes = opened.volume.notes();
        assert_eq!(notes.len(), 2, "{notes:?}");
        assert!(notes[0].starts_with("closed the journal"), "{notes:?}");
        assert!(notes[1].contains("no Windows of its own"), "{notes:?}");
        // Once.
        let closed = opened.changes();
        opened.volume.replace(path, &content).unwrap();
        assert_eq!((opened.changes(), opened.volume.notes()), (closed, notes));
        drop(opened);
        assert_eq!(support::sha256(&copy.path()), hash);

        let opened = copy.open();
        opened.volume.replace(path, &content).unwrap();
        copy.commit(&opened);
        assert_eq!(copy.probe(), Some(0), "{}", real.name);
        let after = copy.audit();
        eprintln!(
            "{}: {} lines, the same before and after",
            real.name,
            after.len()
        );
        let unclean = |lines: Vec<String>| -> Vec<String> {
            let said = |line: &String| !line.contains("unclean") && !line.contains("Metadata kept");
            lines.into_iter().filter(said).collect()
        };
        assert_eq!(unclean(after), unclean(before));
        assert!(!copy.is_marked_dirty());
        assert!(run("ntfscat", &[&copy.text(), path]) == content);
        assert!(run("icat", &[&copy.text(), &number]) == content);
        // What ntfs-3g's own reader of journals makes of both pages.
        let out = run("ntfsrecover", &["-n", "-v", &copy.text()]);
        let out = String::from_utf8_lossy(&out).into_owned();
        for line in [
            format!("current_lsn            {:016x}", real.end),
            format!("oldest_lsn             {:016x}", real.end),
            "client_restart_lsn     0000000000000000".into(),
            "client_in_use_list     ffff".into(),
            "flags                  0002".into(),
            "last_lsn_data_len      00000070".into(),
        ] {
            assert_eq!(out.matches(&line).count(), 2, "{line}\n{out}");
        }
        assert!(out.contains("Volume is clean, nothing to do"), "{out}");
        assert!(copy.page(0) == copy.page(PAGE));
        let reopened = copy.open();
        assert_eq!(reopened.state().verdict, JournalVerdict::Clean);
        assert_eq!(reopened.state().version.as_deref(), Some("1.1"));
        reopened.volume.replace(path, &[7; 12]).unwrap();
        assert_eq!(reopened.volume.notes(), [""; 0]);
        // And ntfs-3g does more than say that it would write.
        if Path::new("/dev/fuse").exists() && require(&["ntfs-3g", "fuser"]) {
            let mount = Mount::with(&copy.path(), "big_writes");
            fs::write(mount.path().join("new"), [1; 100_000]).unwrap();
            assert_eq!(fs::read(mount.path().join(path)).unwrap(), content);
        }
    }
}

/// Clusters are taken on a volume whose journal was idle.
#[test]
fn files_grow_once_an_idle_journal_is_closed() {
    for (real, path) in [(&A, SMALL), (&B, TRACKING)] {
        let Some(copy) = Copy::of(real) else { return };
        let opened = copy.open();
        let content: Vec<u8> = (0..300_000_u32)
            .map(|at| (at % 253).to_le_bytes()[0])
            .collect();
        opened.volume.replace(path, &content).unwrap();
        let notes = opened.volume.notes();
        assert!(notes[0].starts_with("closed the journal"), "{notes:?}");
        copy.commit(&opened);
        assert_eq!(copy.probe(), Some(0));
        copy.audit();
        assert!(run("icat", &[&copy.text(), &record(&copy, path)]) == content);
        assert!(run("ntfscat", &[&copy.text(), path]) == content);
    }
}

#[test]
fn a_pending_journal_lets_only_foreign_content_through() {
    let Some(copy) = Copy::of(&B) else { return };
    copy.go_back_to(0x40_5A91);
    let before = copy.audit();
    let opened = copy.open();
    let state = opened.state();
    assert_eq!(state.verdict, JournalVerdict::Pending);
    let numbers = [state.transactions, state.pages, state.redo, state.undo];
    assert_eq!((state.records, numbers), (10, [0, 2, 4, 0]));
    assert_eq!(state.end_lsn.as_deref(), Some("0x405b7f"));
    let files: Vec<(u64, Option<&str>)> = state
        .files
        .iter()
        .map(|file| (file.record, file.path.as_deref()))
        .collect();
    assert_eq!(
        files,
        [
            (36, Some("System Volume Information")),
            (37, Some("System Volume Information/WPSettings.dat")),
            (39, Some("OneDrive/desktop.ini")),
            (48, Some("System Volume Information/IndexerVolumeGuid")),
        ]
    );
    opened.volume.check_writable().unwrap();

    // Metadata of whatever file: a length, a value in an MFT record.
    let content = opened.other(TRACKING);
    for (path, content) in [
        (TRACKING, &content[1..]),
        (TRACKING, &[7; 50_000]),
        ("OneDrive/desktop.ini", &[1; 95]),
        ("OneDrive/Documents/desktop.ini", &[1; 418]),
    ] {
        let error = opened.refused(path, content).to_string();
        assert!(error.contains("4 to redo"), "{error}");
        assert!(error.contains("its length unchanged"), "{error}");
    }
    // Content that nothing concerns.
    opened.volume.replace(TRACKING, &content).unwrap();
    assert_only(&opened.changes(), &[(1487 * 4096, 1492 * 4096)]);
    let notes = opened.volume.notes();
    assert!(notes[0].contains("left as it is"), "{notes:?}");
    assert!(
        notes[0].contains("0 transactions, 2 pages; 4 records to do again"),
        "{notes:?}"
    );
    copy.commit(&opened);
    assert_eq!(copy.probe(), Some(14));
    assert_eq!(copy.audit(), before);
    assert!(run("icat", &[&copy.text(), "43"]) == content);
    assert_eq!(copy.open().state(), opened.state());

    // Further back the file itself is concerned: nothing of it can be overwritten.
    copy.go_back_to(0x40_56C8);
    let opened = copy.open();
    let state = opened.state();
    assert_eq!([state.pages, state.redo, state.undo], [20, 157, 0]);
    let names: Vec<&str> = state
        .files
        .iter()
        .filter_map(|file| file.path.as_deref())
        .collect();
    for name in ["$MFT", "the root folder", "$Bitmap", TRACKING, "OneDrive"] {
        assert!(names.contains(&name), "{name}: {names:?}");
    }
    let error = opened.refused(TRACKING, &opened.other(TRACKING));
    assert!(error.to_string().contains("MFT record 43"), "{error}");
    // A file of the same folder that is not.
    let path = "OneDrive/Personal Vault.lnk";
    let content = opened.other(path);
    opened.volume.replace(path, &content).unwrap();
    assert_only(&opened.changes(), &[(1484 * 4096, 1485 * 4096)]);
}

/// Throws away what waits, checks what is said of it, and lets the foreign programs judge. `files` are names or
/// numbers that the note has to have.
fn discard(copy: &Copy, path: &str, files: &[&str]) {
    let opened = copy.open();
    let content = &opened.other(path)[1..];
    opened.refused(path, content);
    opened.volume.discard_journal().unwrap();
    assert!(opened.overlay.is_unchanged() && opened.volume.notes().is_empty());
    opened.volume.check_writable().unwrap();
    opened.volume.replace(path, content).unwrap();
    let notes = opened.volume.notes();
    let note = &notes[0];
    assert!(note.starts_with("threw away"), "{note}");
    assert!(note.contains("marked dirty"), "{note}");
    for file in files {
        assert!(note.contains(file), "{file}: {note}");
    }
    assert!(!copy.is_marked_dirty());
    copy.commit(&opened);
    assert_eq!(copy.probe(), Some(0));
    assert!(copy.is_marked_dirty());
    copy.audit();
    assert!(run("icat", &[&copy.text(), &record(copy, path)]) == content);
    let reopened = copy.open();
    assert_eq!(reopened.state().verdict, JournalVerdict::Clean);
    assert!(reopened.volume.state().dirty);
    // The mirror has the flag too, or this would be refused.
    reopened.volume.check_writable().unwrap();
}

#[test]
fn what_waits_is_thrown_away_by_name_only() {
    let Some(copy) = Copy::of(&B) else { return };
    copy.go_back_to(0x40_56C8);
    discard(
        &copy,
        TRACKING,
        &["0 transactions, 20 pages; 157 records", "$Volume", "more"],
    );
    let Some(copy) = Copy::of(&A) else { return };
    copy.go_back_to(0x28_91CB);
    discard(
        &copy,
        SMALL,
        &[
            "0 transactions, 1 page; 1 record to do again",
            "the root folder",
        ],
    );
    // Nothing is to be thrown away where nothing waits: the journal is closed, and that is all.
    let Some(copy) = Copy::of(&A) else { return };
    let opened = copy.open();
    opened.volume.discard_journal().unwrap();
    opened.volume.replace(SMALL, &[1; 12]).unwrap();
    let notes = opened.volume.notes();
    assert!(notes[0].starts_with("closed the journal"), "{notes:?}");
    copy.commit(&opened);
    assert!(!copy.is_marked_dirty());
    let opened = copy.open();
    opened.volume.discard_journal().unwrap();
    opened.volume.replace(SMALL, &[2; 12]).unwrap();
    assert_eq!(opened.volume.notes(), [""; 0]);
}

/// The log ends inside a transaction: its last page is cut behind one of its records.
#[test]
fn an_open_transaction_is_named() {
    let Some(copy) = Copy::of(&A) else { return };
    let (checkpoint, end) = (0x28_7EA8, 0x28_91DF_u64);
    let place = usize::try_from((end & 0x7_FFFF) * 8).unwrap();
    copy.edit(place & !0xFFF, |page| {
        let record = place & 0xFFF;
        assert_eq!(page[record..record + 8], end.to_le_bytes());
        let len = u16::from_le_bytes([page[record + 0x18], page[record + 0x19]]);
        let next = u16::try_from(record).unwrap() + 0x30 + len;
        assert!(usize::from(next) < PAGE);
        page[8..16].copy_from_slice(&end.to_le_bytes());
        page[0x18..0x1A].copy_from_slice(&next.to_le_bytes());
        page[0x20..0x28].copy_from_slice(&end.to_le_bytes());
    });
    // Newer copies of pages.
    for fast in 2..0x22 {
        let page = vec![0xFF; PAGE];
        let at = copy.journal(fast * PAGE);
        copy.file().write_all_at(&page, at).unwrap();
    }
    copy.set_restart(checkpoint, checkpoint);
    let opened = copy.open();
    let state = opened.state();
    assert_eq!(state.verdict, JournalVerdict::Pending, "{state:?}");
    let numbers = [state.transactions, state.pages, state.redo, state.undo];
    assert_eq!((state.records, numbers), (103, [1, 11, 36, 1]));
    assert_eq!(state.end_lsn.as_deref(), Some("0x2891df"));
    let open = &state.open_transactions[0];
    assert_eq!(open.state, TransactionState::Active);
    assert_eq!(open.undo_next_lsn, "0x2891df");
    assert_eq!((open.id - 0x18) % 0x28, 0);

    // What the program says of it.
    let folder = support::temporary();
    let output = support::run(
        support::coldfix(folder.path())
            .args(["inspect", "--replay-journal=off"])
            .arg(copy.path()),
    );
    let text = String::from_utf8(output.stdout).unwrap();
    for line in [
        "  journal ($LogFile): pending, version 2.0, its end at LSN 0x2891df, 1 transaction, 11 pages; 36 records to \
         do again, 1 to take back\n",
        "    waiting: UpdateFileNameAllocation, 8 to do again, 1 to take back\n",
        &format!(
            "    open transaction {:#x}: to be taken back, from LSN 0x2891df\n",
            open.id
        ),
        "    concerned: MFT record 5, the root folder\n",
        "    only contents that it does not concern can be overwritten, unless it is discarded\n",
        "    the journal has version 2.0 and this volume has no Windows of its own",
    ] {
        assert!(text.contains(line), "{line}\n{text}");
    }
    discard(
        &copy,
        SMALL,
        &["1 transaction, 11 pages; 36 records to do again, 1 to take back"],
    );
}

/// The newest page is lost: what waits cannot be told, and an older state of the log must not stand in for it.
#[test]
fn a_journal_that_cannot_be_analysed_refuses_everything() {
    for (real, path) in [(&A, SMALL), (&B, TRACKING)] {
        let Some(copy) = Copy::of(real) else { return };
        let mut page = copy.page(2 * PAGE);
        page[1022] ^= 1;
        let at = copy.journal(2 * PAGE);
        copy.file().write_all_at(&page, at).unwrap();
        let opened = copy.open();
        let state = opened.state();
        assert_eq!(state.verdict, JournalVerdict::Refused);
        let reason = state.reason.as_deref().unwrap();
        assert!(reason.contains("lost or torn"), "{reason}");
        assert_eq!(state.end_lsn, None);
        let error = opened.volume.check_writable().unwrap_err();
        assert!(error.to_string().contains("cannot be analysed"), "{error}");
        // Content, and anything else.
        opened.refused(path, &opened.other(path));
        discard(&copy, path, &["without knowing", "lost or torn"]);
        // LSNs go on in a sequence of their own.
        let bits = if real.name == A.name { 19 } else { 20 };
        let page = copy.page(0);
        let current = u64::from_le_bytes(page[0x30..0x38].try_into().unwrap());
        assert_eq!(current, ((real.end >> bits) + 1) << bits);
    }
    // Without a restart page there is nothing to close it with.
    let Some(copy) = Copy::of(&A) else { return };
    for page in [0, PAGE] {
        let at = copy.journal(page + 510);
        copy.file().write_all_at(&[0xAA, 0x55], at).unwrap();
    }
    let opened = copy.open();
    opened.refused(SMALL, &[1; 12]);
    let error = opened.volume.discard_journal().unwrap_err();
    assert_eq!(error.kind(), Kind::Refused);
    assert!(error.to_string().contains("restart page"), "{error}");
    assert!(error.hint().unwrap().contains("chkdsk"));
    opened.refused(SMALL, &[1; 12]);
}

/// What a Windows volume has, made by ntfs-3g on a real one, with a journal of Windows.
fn planted(files: &[(&str, Vec<u8>)]) -> Option<Copy> {
    if !Path::new("/dev/fuse").exists() {
        support::skip("/dev/fuse, to add files to NTFS images");
        return None;
    }
    if !require(&["ntfs-3g", "fuser"]) {
        return None;
    }
    let copy = Copy::as_it_is(&A)?;
    copy.plant(|root| {
        for (path, content) in files {
            let path = root.join(path);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            let _ = fs::remove_file(&path);
            fs::write(path, content).unwrap();
        }
    });
    Some(copy)
}

/// The MFT record of a file, as sleuthkit tells.
fn record(copy: &Copy, path: &str) -> String {
    let inode = run("ifind", &["-n", &format!("/{path}"), &copy.text()]);
    String::from_utf8(inode).unwrap().trim().to_owned()
}

/// Where the clusters of a file are, as sleuthkit tells.
fn clusters(copy: &Copy, path: &str) -> Vec<u64> {
    let out = run("istat", &[&copy.text(), &record(copy, path)]);
    let out = String::from_utf8_lossy(&out).into_owned();
    let (_, data) = out.split_once("Type: $DATA").unwrap();
    data.lines()
        .skip(1)
        .flat_map(str::split_whitespace)
        .map(|number| number.parse().unwrap())
        .collect()
}

#[test]
fn clusters_count_like_records() {
    let hive = "Windows/System32/config/SYSTEM";
    let content: Vec<u8> = (0..65_536_u32).map(|at| at.to_le_bytes()[0]).collect();
    // An awake Windows: the header is zeros.
    let files = [(hive, content.clone()), ("hiberfil.sys", vec![0; 8192])];
    let Some(copy) = planted(&files) else { return };
    copy.go_back_to(0x28_728E);
    let opened = copy.open();
    let state = opened.state();
    assert_eq!([state.pages, state.redo, state.undo], [11, 47, 0]);
    assert!(state.warning.is_none(), "it has a Windows of its own");
    let mut other = content.clone();
    other[40_000] ^= 1;
    opened.volume.replace(hive, &other).unwrap();
    assert_eq!(opened.changes().len(), 1);
    assert_eq!(opened.volume.notes().len(), 1);
    let own = clusters(&copy, hive);
    assert_eq!(own.len(), 64);
    // Byte 40000 is in the first half of the file's 40th cluster.
    let sector = own[39] * 1024;
    assert_only(&opened.changes(), &[(sector, sector + 512)]);
    copy.commit(&opened);
    assert!(run("ntfscat", &["-f", &copy.text(), hive]) == other);

    // The same records, but one of them changes the file's MFT record, or that of $MFT itself.
    let number: u64 = record(&copy, hive).parse().unwrap();
    let good = copy.page(0x4_0000);
    let lead_to = |number: u64| {
        copy.edit(0x4_0000, |page| {
            let record = 0x3D0;
            assert_eq!(page[record..record + 8], 0x28_807A_u64.to_le_bytes());
            // Clusters and MFT records are of a size.
            page[record + 0x44] = 0;
            page[record + 0x48..record + 0x50].copy_from_slice(&number.to_le_bytes());
        });
    };
    lead_to(number);
    let opened = copy.open();
    opened.volume.check_writable().unwrap();
    let error = opened.refused(hive, &content);
    let number = format!("MFT record {number}");
    assert!(error.to_string().contains(&number), "{error}");
    // Whether Windows sleeps must be certain too.
    lead_to(record(&copy, "hiberfil.sys").parse().unwrap());
    let error = copy.open().refused(hive, &content);
    assert!(error.to_string().contains("hibernated"), "{error}");
    lead_to(0);
    let opened = copy.open();
    let error = opened.volume.check_writable().unwrap_err().to_string();
    assert!(error.contains("nothing can be changed"), "{error}");
    assert!(error.contains("where $MFT itself lies"), "{error}");
    assert!(opened.state().reason.is_some());
    opened.refused(hive, &content);
    let at = copy.journal(0x4_0000);
    copy.file().write_all_at(&good, at).unwrap();

    // Or clusters of the file were freed on the way, or one of them.
    let free = |first: u64, count: u64| {
        copy.edit(0x4_0000, |page| {
            let record = 0x3D0;
            assert_eq!(page[record..record + 8], 0x28_807A_u64.to_le_bytes());
            let data = record + 0x30;
            page[data] = 0x0A;
            page[data + 6..data + 8].copy_from_slice(&16_u16.to_le_bytes());
            let at = data + usize::from(page[data + 4]);
            page[at..at + 8].copy_from_slice(&first.to_le_bytes());
            page[at + 8..at + 16].copy_from_slice(&count.to_le_bytes());
        });
    };
    for (first, count, cluster) in [
        (own[0], 64, own[0]),
        (own[63], 1, own[63]),
        (own[0] - 1, 2, own[0]),
    ] {
        free(first, count);
        let opened = copy.open();
        let error = opened.refused(hive, &content);
        let cluster = format!("cluster {cluster}");
        assert!(error.to_string().contains(&cluster), "{error}");
    }
    // Others do not matter.
    let hibernation = clusters(&copy, "hiberfil.sys");
    let behind = own.iter().chain(&hibernation).max().unwrap() + 1;
    free(behind, 5);
    copy.open().volume.replace(hive, &content).unwrap();

    // From further back, a record sets bits in $Bitmap: let them be those of the file.
    copy.go_back_to(0x28_47AF);
    copy.open().volume.replace(hive, &content).unwrap();
    copy.edit(0x3_5000, |page| {
        let record = 0x240;
        assert_eq!(page[record..record + 8], 0x28_6A48_u64.to_le_bytes());
        let data = record + 0x30;
        assert_eq!(page[data], 0x15);
        let at = data + usize::from(page[data + 4]);
        let first = u32::try_from(own[10]).unwrap();
        page[at..at + 4].copy_from_slice(&first.to_le_bytes());
        page[at + 4..at + 8].copy_from_slice(&1_u32.to_le_bytes());
    });
    let opened = copy.open();
    let error = opened.refused(hive, &content);
    let cluster = format!("cluster {}", own[10]);
    assert!(error.to_string().contains(&cluster), "{error}");
}

/// A sleeping Windows has its own view of the journal, however idle that looks, and discarding does not wake it.
#[test]
fn hibernation_refuses_whatever_the_journal_says() {
    let mut header = vec![0; 8192];
    header[..4].copy_from_slice(b"hibr");
    let Some(copy) = planted(&[("hiberfil.sys", header), (SMALL, vec![0; 12])]) else {
        return;
    };
    for pending in [false, true] {
        if pending {
            copy.go_back_to(0x28_91CB);
        }
        let opened = copy.open();
        let verdict = match pending {
            true => JournalVerdict::Pending,
            false => JournalVerdict::Idle,
        };
        assert_eq!(opened.state().verdict, verdict);
        for error in [
            opened.volume.check_writable().unwrap_err(),
            opened.volume.replace(SMALL, &[1; 12]).unwrap_err(),
            opened.volume.discard_journal().unwrap_err(),
            opened.volume.replace(SMALL, &[1; 12]).unwrap_err(),
        ] {
            assert_eq!(error.kind(), Kind::Refused);
            assert!(error.to_string().contains("hibernated"), "{error}");
        }
        assert!(opened.overlay.is_unchanged() && opened.volume.notes().is_empty());
    }
}

/// The file or folder whose permissions the command line changes, and the programs that look at it.
fn plain_path(real: &Real) -> &'static str {
    match real.name == A.name {
        true => SMALL,
        false => "OneDriveTemp",
    }
}

fn coldfix(state: &Path, arguments: &[&str]) -> (Option<i32>, String) {
    let output = support::coldfix(state).args(arguments).output().unwrap();
    let text = [output.stdout, output.stderr].concat();
    (
        output.status.code(),
        String::from_utf8_lossy(&text).into_owned(),
    )
}

#[test]
fn permissions_change_on_a_volume_with_an_idle_journal_and_are_taken_back() {
    for real in [&A, &B] {
        let Some(copy) = Copy::of(real) else { return };
        let state = support::temporary();
        let (image, path) = (copy.text(), plain_path(real));
        let original = support::sha256(&copy.path());
        assert_eq!(copy.probe(), Some(14));
        let before = copy.audit();
        let grant = [
            "acl",
            "grant",
            &image,
            path,
            "*S-1-5-21-7-8-9-1001:R",
            "--yes",
        ];
        let (code, text) = coldfix(state.path(), &grant);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("closed the journal of the volume"), "{text}");
        assert_eq!(copy.probe(), Some(0));
        // The names are the same, and each list of descriptors has one more.
        let after = copy.audit();
        support::foreign::ntfssecaudit(&copy.path());
        let names = |lines: &[String]| -> Vec<String> {
            let lines = lines.iter().filter(|line| line.starts_with("r/r"));
            lines.cloned().collect()
        };
        assert_eq!(names(&after), names(&before));
        let keys = |lines: &[String]| {
            lines
                .iter()
                .filter(|line| line.starts_with("Valid entry for key"))
                .count()
        };
        assert_eq!(keys(&after), keys(&before) + 2);
        let (code, text) = coldfix(state.path(), &["acl", "show", &image, path]);
        assert_eq!(code, Some(0), "{text}");
        assert!(text.contains("S-1-5-21-7-8-9-1001:(R)"), "{text}");
        let mount = Mount::with(&copy.path(), "ro");
        let seen = support::program("getfattr")
            .args(["--absolute-names", "-e", "hex", "-n", "system.ntfs_acl"])
            .arg(mount.path().join(path))
            .output()
            .unwrap();
        // 8 + 28 bytes of entry: allow, R, the SID.
        let entry = "0000240089001200010500000000000515000000070000000800000009000000e9030000";
        assert!(String::from_utf8_lossy(&seen.stdout).contains(entry));
        drop(mount);
        let (code, text) = coldfix(state.path(), &["undo", &image, "--yes"]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(
            support::sha256(&copy.path()),
            original,
            "undone to the last bit"
        );
        assert_eq!(copy.probe(), Some(14));
    }
}

#[test]
fn permissions_are_refused_on_a_pending_journal_until_it_is_discarded_by_name() {
    let Some(copy) = Copy::of(&B) else { return };
    copy.go_back_to(0x40_56C8);
    let state = support::temporary();
    let (image, path) = (copy.text(), plain_path(&B));
    let original = support::sha256(&copy.path());
    let off = "--replay-journal=off";
    let (_, text) = coldfix(state.path(), &["inspect", &image, off]);
    assert!(text.contains("pending"), "{text}");
    let grant = [
        "acl",
        "grant",
        &image,
        path,
        "*S-1-5-21-7-8-9-1001:R",
        "--yes",
        off,
    ];
    let (code, text) = coldfix(state.path(), &grant);
    assert_eq!(code, Some(3), "{text}");
    assert!(text.contains("--discard-journal"), "{text}");
    assert!(text.contains("leave out --replay-journal=off"), "{text}");
    assert_eq!(support::sha256(&copy.path()), original);
    let discard = [&grant[..], &["--discard-journal"]].concat();
    let (code, text) = coldfix(state.path(), &discard);
    assert_eq!(code, Some(0), "{text}");
    assert!(
        text.contains("threw away what waited in the journal"),
        "{text}"
    );
    assert_eq!(copy.probe(), Some(0));
    assert!(copy.is_marked_dirty());
    let (code, text) = coldfix(state.path(), &["undo", &image, "--yes"]);
    assert_eq!(code, Some(0), "{text}");
    assert_eq!(support::sha256(&copy.path()), original);

    // It is carried out unless that is switched off; then nothing has to be thrown away.
    let (_, text) = coldfix(state.path(), &["inspect", &image]);
    assert!(text.contains("pending, carried out in memory"), "{text}");
    assert_eq!(support::sha256(&copy.path()), original);
    let grant: Vec<&str> = grant.into_iter().filter(|word| *word != off).collect();
    for more in [None, Some("--discard-journal")] {
        let grant: Vec<&str> = grant.iter().copied().chain(more).collect();
        let (code, text) = coldfix(state.path(), &grant);
        assert_eq!(code, Some(0), "{text}");
        assert!(
            text.contains("carried out what waited in the journal"),
            "{text}"
        );
        assert_eq!(
            text.contains("nothing had to be thrown away"),
            more.is_some()
        );
        assert_eq!(copy.probe(), Some(0));
        assert!(!copy.is_marked_dirty());
        copy.audit();
        let (code, text) = coldfix(state.path(), &["acl", "show", &image, path]);
        assert!(
            code == Some(0) && text.contains("S-1-5-21-7-8-9-1001:(R)"),
            "{text}"
        );
        let (code, text) = coldfix(state.path(), &["undo", &image, "--yes"]);
        assert_eq!(code, Some(0), "{text}");
        assert_eq!(support::sha256(&copy.path()), original);
    }
}
