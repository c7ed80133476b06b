// SPDX-License-Identifier: GPL-2.0-or-later
//! What the tests of mounted folders share: mounts that go away, NTFS images, commit and undo.
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

use std::fs::{self, File};
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Child;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use coldfix::commit::{
    FolderTarget, JournalDir, LockedDir, OperationHeader, Outcome, TargetIdentity, TargetKind,
    commit, journal, recover, undo,
};
use coldfix::device::ChangeSet;
use coldfix::error::{Error, Kind, Result};
use coldfix::volume::mounted::MountedFolder;

use crate::support;

pub fn assert_refused(error: &Error, kind: Kind, says: &str) {
    assert_eq!(error.kind(), kind, "{error}");
    assert!(error.to_string().contains(says), "{error}");
    assert!(error.hint().is_some_and(|hint| !hint.is_empty()), "{error}");
}

/// A child process holds its parent's file locks from fork to exec. So tests that start one, and tests that
/// lock a journal folder, run one after the other.
pub fn alone() -> MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(PoisonError::into_inner)
}

pub fn header(root: &Path, dir: &LockedDir) -> OperationHeader {
    OperationHeader {
        id: dir
            .new_id("2026-01-31T10:15:00Z".parse().unwrap(), 0x0123_abcd)
            .unwrap(),
        started: "2026-01-31T10:15:00Z".into(),
        tool_version: "0.1.0".into(),
        command: "coldfix repair folder".into(),
        target: TargetIdentity {
            path: root.to_str().unwrap().into(),
            container: "folder".into(),
            len: 0,
            len_after: None,
            disk_id: None,
            kind: TargetKind::Folder,
        },
        edits: vec![],
        undoes: None,
        new_disk: false,
    }
}

/// The journal folder below `journals`.
pub fn journal_dir(journals: &Path) -> JournalDir {
    JournalDir::open(journals.join("journal"))
}

pub fn try_commit(changes: &ChangeSet, root: &Path, journals: &Path) -> Result<String> {
    let dir = journal_dir(journals).lock()?;
    let target = &mut FolderTarget::new(root);
    commit(&dir, header(root, &dir), changes, target, &mut |_| {}).map(|done| done.id)
}

/// Writes what the volume has to write below `root`; the operation's id.
pub fn commit_all(volume: &MountedFolder, root: &Path, journals: &Path) -> String {
    try_commit(&volume.changes().unwrap(), root, journals).unwrap()
}

pub fn try_undo(root: &Path, journals: &Path, id: &str) -> Result<()> {
    let dir = journal_dir(journals).lock()?;
    let target = &mut FolderTarget::new(root);
    undo(&dir, id, header(root, &dir), target, &mut |_| {}).map(drop)
}

pub fn undo_one(root: &Path, journals: &Path, id: &str) {
    try_undo(root, journals, id).unwrap();
}

/// Makes an operation look as if it had been cut off before its marker.
pub fn interrupt(journals: &Path, id: &str) {
    fs::remove_file(journals.join("journal").join(format!("{id}.done"))).unwrap();
}

/// Puts a journal of `changes` into the folder that no run has written; its operation looks interrupted.
pub fn forge(root: &Path, journals: &Path, changes: &ChangeSet) -> String {
    let dir = journal_dir(journals).lock().unwrap();
    let header = header(root, &dir);
    let path = dir.path().join(format!("{}.journal", header.id));
    journal::write(&header, changes, &mut File::create(path).unwrap()).unwrap();
    header.id
}

/// Makes an operation look done.
pub fn finish(journals: &Path, id: &str) {
    File::create(journals.join("journal").join(format!("{id}.done"))).unwrap();
}

pub fn try_recover(root: &Path, journals: &Path) -> Result<Vec<Outcome>> {
    let dir = journal_dir(journals).lock()?;
    let target = &mut FolderTarget::new(root);
    let identity = header(root, &dir).target;
    let recoveries = recover(&dir, &identity, target, &mut |_| {})?;
    Ok(recoveries
        .into_iter()
        .map(|recovery| recovery.outcome)
        .collect())
}

/// A mount that goes away with the value.
pub struct Mount {
    at: PathBuf,
    /// A FUSE driver, which writes on until it ends.
    driver: Option<Child>,
}

impl Mount {
    /// None, and counted, where mounting is not allowed.
    pub fn with(options: &[&str], at: &Path) -> Option<Mount> {
        let output = support::program("mount")
            .args(options)
            .arg(at)
            .output()
            .unwrap();
        if !output.status.success() {
            support::skip("the right to mount");
            return None;
        }
        Some(Mount {
            at: at.to_owned(),
            driver: None,
        })
    }

    /// Mounts an image with `driver` of ntfs-3g. None, and counted, without the driver or FUSE.
    pub fn ntfs(driver: &str, options: &str, image: &Path, at: &Path) -> Option<Mount> {
        if !support::require(driver) {
            return None;
        }
        let fuse = File::options().read(true).write(true).open("/dev/fuse");
        if fuse.is_err() {
            support::skip("/dev/fuse, to mount NTFS");
            return None;
        }
        fs::create_dir_all(at).unwrap();
        let device = fs::metadata(at).unwrap().dev();
        let mut child = support::program(driver)
            .args(["-o", &format!("no_detach,{options}")])
            .args([image, at])
            .spawn()
            .unwrap();
        for _ in 0..200 {
            if fs::metadata(at).is_ok_and(|now| now.dev() != device) {
                return Some(Mount {
                    at: at.to_owned(),
                    driver: Some(child),
                });
            }
            assert!(child.try_wait().unwrap().is_none(), "{driver} ended");
            std::thread::sleep(Duration::from_millis(50));
        }
        let _ = child.kill();
        panic!("{driver} does not mount");
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let unmounted = support::program("umount").arg(&self.at).status();
        assert!(unmounted.unwrap().success() || std::thread::panicking());
        if let Some(driver) = &mut self.driver {
            driver.wait().unwrap();
        }
    }
}

/// An NTFS image of 16 MiB. None, and counted, without mkntfs.
pub fn ntfs_image(place: &Path) -> Option<PathBuf> {
    if !support::require("mkntfs") || !support::require("ntfscat") {
        return None;
    }
    let image = place.join("volume.ntfs");
    File::create(&image).unwrap().set_len(16 << 20).unwrap();
    support::run(
        support::program("mkntfs")
            .args(["-q", "-Q", "-F", "-L", "Windows", "-p", "0"])
            .args(["-H", "255", "-S", "63"])
            .arg(&image),
    );
    Some(image)
}

/// Mounts the image with ntfs-3g for writing, as [`Mount::ntfs`].
pub fn mount(image: &Path, at: &Path) -> Option<Mount> {
    Mount::ntfs("ntfs-3g", "rw", image, at)
}

/// What getfattr finds in `system.ntfs_acl` of the file itself.
pub fn getfattr(path: &Path) -> Vec<u8> {
    let output = support::run(
        support::program("getfattr")
            .args([
                "-h",
                "--only-values",
                "--absolute-names",
                "-n",
                "system.ntfs_acl",
            ])
            .arg(path),
    );
    output.stdout
}

/// Sets `system.ntfs_acl` by setfattr, as another program would.
pub fn setfattr(path: &Path, attribute: &str, value: &[u8]) {
    let hex: String = value.iter().map(|byte| format!("{byte:02x}")).collect();
    support::run(
        support::program("setfattr")
            .args(["-h", "-n", attribute, "-v", &format!("0x{hex}")])
            .arg(path),
    );
}

/// Fails unless ntfs-3g's own check of `$Secure` finds no fault in the volume.
pub fn check_security(image: &Path) {
    support::foreign::ntfssecaudit(image);
}

/// The descriptors that dissect finds for these files, through $MFT, $SII and $SDS.
pub fn dissect_security(image: &Path, paths: &[&str]) -> Vec<Vec<u8>> {
    const SCRIPT: &str = "
import sys
from dissect.ntfs import NTFS
from dissect.ntfs.c_ntfs import c_ntfs
ntfs = NTFS(open(sys.argv[1], 'rb'))
for path in sys.argv[2:]:
    record = ntfs.mft.get(path) if path else ntfs.mft.get(5)
    number = record.attributes.STANDARD_INFORMATION[0].attribute.security_id
    entry = c_ntfs._SECURITY_DESCRIPTOR_HEADER(ntfs.secure.sii.search(number).data)
    ntfs.secure.sds.seek(entry.Offset)
    assert bytes(ntfs.secure.sds.read(20)) == entry.dumps()
    print(ntfs.secure.sds.read(entry.Length - 20).hex())
";
    let mut command = std::process::Command::new(support::foreign::python("dissect.ntfs"));
    let output = support::run(command.args(["-c", SCRIPT]).arg(image).args(paths));
    let text = String::from_utf8(output.stdout).unwrap();
    text.lines()
        .map(|line| {
            let digit = |at: usize| u8::from_str_radix(&line[at..at + 2], 16).unwrap();
            (0..line.len()).step_by(2).map(digit).collect()
        })
        .collect()
}
