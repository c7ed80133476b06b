// SPDX-License-Identifier: GPL-2.0-or-later
//! Permissions on NTFS mounted by ntfs-3g: read, set, undone, cut off and forged, and judged by other programs.

#![allow(missing_docs)]
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing
)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
#![cfg(target_os = "linux")]

mod mounted_support;
mod support;

use std::fs;
use std::io::Read as _;
use std::os::unix::fs::{MetadataExt as _, symlink};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use coldfix::commit::{Outcome, Status};
use coldfix::device::{ChangeSet, HostOperation};
use coldfix::error::Kind;
use coldfix::security::sddl;
use coldfix::volume::mounted::MountedFolder;
use coldfix::volume::{EntryKind, Volume as _};
use mounted_support::{
    Mount, alone, assert_refused, check_security, commit_all, dissect_security, finish, forge,
    getfattr, interrupt, journal_dir, mount, ntfs_image, setfattr, try_commit, try_recover,
    try_undo, undo_one,
};

const KEYS: &str = "ProgramData/Microsoft/Crypto/RSA/MachineKeys";
const KEY: &str = "ProgramData/Microsoft/Crypto/RSA/MachineKeys/f686aace6942fb7f7ceb231212eef4a4";

/// Typical ones: with and without SACL, a label, inherited and protected entries, null and empty lists.
const DESCRIPTORS: [&str; 9] = [
    "O:SYG:SYD:PAI(A;;0x12019f;;;WD)(A;;FA;;;BA)",
    "O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FR;;;BA)",
    "O:BAG:SYD:AI(A;OICIID;FA;;;SY)(A;OICIID;FA;;;BA)(A;OICIID;0x1200a9;;;BU)",
    "O:SYG:SYD:PAI(A;;0x12019f;;;WD)(A;;FA;;;BA)S:AI(AU;OICISAFA;FA;;;WD)",
    "O:SYG:SYD:(A;;FA;;;SY)S:(ML;;NW;;;HI)",
    "O:S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464G:SYD:P(A;;FA;;;SY)",
    "O:SYG:SYD:NO_ACCESS_CONTROL",
    "O:SYG:SYD:",
    "O:SYG:SY",
];

fn bytes(text: &str) -> Vec<u8> {
    sddl::parse(text, None).unwrap().to_bytes().unwrap()
}

/// A file, a folder, a link and a file with two names.
fn make(root: &Path) {
    fs::create_dir_all(root.join(KEYS)).unwrap();
    fs::write(root.join(KEY), b"key").unwrap();
    fs::write(root.join(KEYS).join("other"), b"other").unwrap();
    symlink("other", root.join(KEYS).join("link")).unwrap();
    fs::hard_link(root.join(KEYS).join("other"), root.join("second name")).unwrap();
}

/// An NTFS image with the folder of [`make`], and where to mount it. None, and counted, without the tools.
fn ntfs(place: &Path) -> Option<(PathBuf, PathBuf)> {
    for tool in ["getfattr", "setfattr", "ntfssecaudit", "ntfsresize"] {
        if !support::require(tool) {
            return None;
        }
    }
    if !support::require_python("dissect.ntfs") {
        return None;
    }
    let image = ntfs_image(place)?;
    let at = place.join("mnt");
    let mounted = mount(&image, &at)?;
    make(&at);
    drop(mounted);
    Some((image, at))
}

fn open(root: &Path) -> MountedFolder {
    MountedFolder::open(root).unwrap()
}

fn one(volume: &MountedFolder, path: &str) -> Vec<u8> {
    volume.security(&[path]).unwrap()[0].to_vec()
}

#[test]
fn descriptors_are_set_read_back_by_others_and_undone() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let paths = ["", "ProgramData", KEYS, KEY, &format!("{KEYS}/link")];
    for text in DESCRIPTORS {
        let descriptor = bytes(text);
        let journals = support::temporary();
        let mounted = mount(&image, &at).unwrap();
        let old: Vec<Vec<u8>> = paths.iter().map(|path| getfattr(&at.join(path))).collect();
        let volume = open(&at);
        let read = volume.security(&paths).unwrap();
        assert!(read.iter().map(|read| &read[..]).eq(&old), "{text}");

        // Seen at once, and under any spelling; the host keeps the old one.
        volume.set_security(&descriptor, &paths, 0).unwrap();
        let read = volume.security(&paths).unwrap();
        assert!(read.iter().all(|read| read[..] == descriptor), "{text}");
        let shout = KEY.to_uppercase().replace('/', r"\");
        assert_eq!(one(&volume, &shout), descriptor);
        assert_eq!(getfattr(&at.join(KEY)), old[3]);

        let id = commit_all(&volume, &at, journals.path());
        for path in paths {
            assert_eq!(getfattr(&at.join(path)), descriptor, "{text}: {path}");
        }
        assert_eq!(fs::read(at.join(KEY)).unwrap(), b"key");
        drop(mounted);
        check_security(&image);
        support::run(
            support::program("ntfsresize")
                .args(["-i", "-f"])
                .arg(&image),
        );
        let found = dissect_security(&image, &paths);
        assert!(found.iter().all(|found| *found == descriptor), "{text}");

        let mounted = mount(&image, &at).unwrap();
        undo_one(&at, journals.path(), &id);
        for (path, old) in paths.iter().zip(&old) {
            assert_eq!(getfattr(&at.join(path)), *old, "{text}: {path}");
        }
        drop(mounted);
        check_security(&image);
        assert_eq!(dissect_security(&image, &paths[1..]), old[1..]);
    }
}

/// The driver holds nothing back for the unmounting: the image is copied while it still runs.
#[test]
fn what_is_committed_is_in_the_image_before_it_is_unmounted() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let descriptor = bytes("O:SYG:SYD:PAI(A;;0x1f01ff;;;S-1-5-21-1-2-3-4)");
    let journals = support::temporary();
    let mounted = mount(&image, &at).unwrap();
    let volume = open(&at);
    volume.set_security(&descriptor, &[KEYS, KEY], 0).unwrap();
    volume.rename("ProgramData", "ProgramData.old", 0).unwrap();
    commit_all(&volume, &at, journals.path());
    let copy = place.path().join("copy.ntfs");
    support::copy(&image, &copy);
    drop(mounted);
    check_security(&copy);
    let moved = |path: &str| path.replace("ProgramData", "ProgramData.old");
    let found = dissect_security(&copy, &[&moved(KEYS), &moved(KEY)]);
    assert!(found.iter().all(|found| *found == descriptor));
}

#[test]
fn permissions_names_and_content_in_one_operation() {
    let _turn = alone();
    for driver in ["ntfs-3g", "lowntfs-3g"] {
        in_one_operation(driver);
    }
}

fn in_one_operation(driver: &str) {
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let mount = |image: &Path, at: &Path| Mount::ntfs(driver, "rw", image, at);
    if !support::require(driver) {
        return;
    }
    let (first, second) = (bytes(DESCRIPTORS[0]), bytes(DESCRIPTORS[3]));
    let journals = support::temporary();
    let mounted = mount(&image, &at).unwrap();
    let old = getfattr(&at.join(KEY));
    let volume = open(&at);
    volume.replace(KEY, b"another key").unwrap();
    volume.set_security(&first, &[KEYS], 0).unwrap();
    volume.rename(KEYS, "Keys", 0).unwrap();
    let key = KEY.replace("MachineKeys", "Keys");
    let keys = KEYS.replace("MachineKeys", "Keys");
    assert_eq!(one(&volume, &keys), first);
    assert!(volume.security(&[KEY]).is_err());
    volume.set_security(&second, &[&key], 0).unwrap();
    volume.rename(&key, "the key", 0).unwrap();
    let key = format!("{keys}/the key");
    assert_eq!(one(&volume, &key), second);
    let kinds = volume.tree(&keys).unwrap();
    assert!(
        kinds
            .iter()
            .any(|entry| entry.path == key && entry.kind == EntryKind::File)
    );

    let id = commit_all(&volume, &at, journals.path());
    drop(mounted);
    check_security(&image);
    assert_eq!(
        dissect_security(&image, &[&keys, &key]),
        [first.clone(), second]
    );
    assert_eq!(support::foreign::ntfscat(&image, &key), b"another key");

    let mounted = mount(&image, &at).unwrap();
    undo_one(&at, journals.path(), &id);
    assert_eq!(getfattr(&at.join(KEY)), old);
    assert_eq!(fs::read(at.join(KEY)).unwrap(), b"key");
    assert!(!at.join(&keys).exists());
    drop(mounted);
    check_security(&image);

    // And once more from the other end: the undo is undone.
    let mounted = mount(&image, &at).unwrap();
    let listing = journal_dir(journals.path()).list().unwrap();
    let undo = listing.operations.last().unwrap();
    assert_eq!((undo.operations, undo.status.clone()), (4, Status::Done));
    undo_one(&at, journals.path(), &undo.header.id.clone());
    assert_eq!(getfattr(&at.join(&keys)), first);
    drop(mounted);
    assert_eq!(support::foreign::ntfscat(&image, &key), b"another key");
}

#[test]
fn the_same_descriptor_is_no_change_and_a_file_with_two_names_is_one() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let mounted = mount(&image, &at).unwrap();
    let other = format!("{KEYS}/other");
    // What the driver does, which this test stands on.
    assert_eq!(fs::metadata(at.join(&other)).unwrap().nlink(), 2);
    let volume = open(&at);
    let old = one(&volume, KEY);
    volume.set_security(&old, &[KEY, KEYS], 0).unwrap();
    assert!(volume.changes().unwrap().is_empty());
    let (first, second) = (bytes(DESCRIPTORS[0]), bytes(DESCRIPTORS[1]));
    volume.set_security(&first, &[KEY, KEY], 0).unwrap();
    assert_eq!(volume.changes().unwrap().operations.len(), 1);
    volume.set_security(&old, &[KEY], 0).unwrap();
    assert!(volume.changes().unwrap().is_empty());

    volume.set_security(&first, &[&other], 0).unwrap();
    assert_eq!(one(&volume, "second name"), first);
    volume.set_security(&second, &["second name"], 0).unwrap();
    assert_eq!(one(&volume, &other), second);
    assert_eq!(volume.changes().unwrap().operations.len(), 1);
    let journals = support::temporary();
    let id = commit_all(&volume, &at, journals.path());
    assert_eq!(getfattr(&at.join(&other)), second);
    assert_eq!(getfattr(&at.join("second name")), second);
    undo_one(&at, journals.path(), &id);
    assert_eq!(getfattr(&at.join("second name")), old);
    drop(mounted);
}

#[test]
fn what_the_host_would_not_take_or_has_changed_is_refused() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let mounted = mount(&image, &at).unwrap();
    let volume = open(&at);
    let good = bytes(DESCRIPTORS[0]);
    let mut absolute = good.clone();
    absolute[3] &= 0x7f;
    for bad in [
        bytes("D:PAI(A;;FA;;;BA)"),
        bytes("O:SYD:PAI(A;;FA;;;BA)"),
        absolute,
        good[..10].to_vec(),
        Vec::new(),
        [&good[..], &vec![0; 65_536]].concat(),
    ] {
        let error = volume.set_security(&bad, &[KEY], 0).unwrap_err();
        assert_refused(
            &error,
            Kind::Refused,
            "does not take this security descriptor",
        );
    }
    // It looks like one, and ntfs-3g does not take it: found out by the commit, which takes everything back.
    let mut slack = good.clone();
    slack.extend([0; 4]);
    volume.set_security(&good, &[KEYS], 0).unwrap();
    volume.set_security(&slack, &[KEY], 0).unwrap();
    let old = (getfattr(&at.join(KEYS)), getfattr(&at.join(KEY)));
    let journals = support::temporary();
    let error = try_commit(&volume.changes().unwrap(), &at, journals.path()).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(error.to_string().contains("was taken back"), "{error}");
    assert!(error.to_string().contains(KEY), "{error}");
    assert_eq!((getfattr(&at.join(KEYS)), getfattr(&at.join(KEY))), old);
    let listing = journal_dir(journals.path()).list().unwrap();
    assert_eq!(listing.operations[0].status, Status::TakenBack);

    // One of several paths does not exist: nothing of it is kept.
    let volume = open(&at);
    let error = volume.set_security(&good, &[KEYS, "none"], 0).unwrap_err();
    assert_eq!(error.kind(), Kind::Io);
    assert!(volume.changes().unwrap().is_empty());
    assert!(volume.security(&["../mnt"]).is_err());

    // Changed since it was read: before it is set, and before it is committed.
    one(&volume, KEY);
    setfattr(&at.join(KEY), "system.ntfs_acl", &bytes(DESCRIPTORS[1]));
    let error = volume.set_security(&good, &[KEY], 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "have changed since they were read");
    let volume = open(&at);
    volume.set_security(&good, &[KEY], 0).unwrap();
    setfattr(&at.join(KEY), "system.ntfs_acl", &bytes(DESCRIPTORS[2]));
    let journals = support::temporary();
    let error = try_commit(&volume.changes().unwrap(), &at, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "changed since it was read");
    assert_eq!(getfattr(&at.join(KEY)), bytes(DESCRIPTORS[2]));
    drop(mounted);

    // Hibernated, and mounted read-only.
    let mounted = mount(&image, &at).unwrap();
    fs::write(
        at.join("hiberfil.sys"),
        [b"hibr".to_vec(), vec![0; 8192]].concat(),
    )
    .unwrap();
    let error = open(&at).set_security(&good, &[KEY], 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "hibernated");
    fs::remove_file(at.join("hiberfil.sys")).unwrap();
    drop(mounted);
    let mounted = Mount::ntfs("ntfs-3g", "ro", &image, &at).unwrap();
    let error = open(&at).set_security(&good, &[KEY], 0).unwrap_err();
    assert_refused(&error, Kind::Refused, "mounted read-only");
    assert_eq!(one(&open(&at), KEY), bytes(DESCRIPTORS[2]));
    drop(mounted);
}

#[test]
fn what_was_cut_off_is_taken_back_or_refused() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let good = bytes(DESCRIPTORS[4]);
    let mounted = mount(&image, &at).unwrap();
    let old = [KEYS, KEY].map(|path| getfattr(&at.join(path)));
    let run = || {
        let journals = support::temporary();
        let volume = open(&at);
        volume.set_security(&good, &[KEYS, KEY], 0).unwrap();
        let id = commit_all(&volume, &at, journals.path());
        interrupt(journals.path(), &id);
        (journals, id)
    };
    for path in [KEYS, KEY] {
        let (journals, _) = run();
        let before = &old[usize::from(path == KEY)];
        setfattr(&at.join(path), "system.ntfs_acl", before);
        let outcomes = try_recover(&at, journals.path()).unwrap();
        assert_eq!(outcomes, [Outcome::TakenBack], "{path}");
        assert_eq!([KEYS, KEY].map(|path| getfattr(&at.join(path))), old);
    }
    let (journals, id) = run();
    assert_eq!(
        try_recover(&at, journals.path()).unwrap(),
        [Outcome::Completed]
    );
    assert_eq!(getfattr(&at.join(KEY)), good);

    // Another one than the old and the new: neither recovery nor undo touches it.
    let foreign = bytes(DESCRIPTORS[5]);
    setfattr(&at.join(KEY), "system.ntfs_acl", &foreign);
    let error = try_undo(&at, journals.path(), &id).unwrap_err();
    assert_refused(&error, Kind::Refused, KEY);
    interrupt(journals.path(), &id);
    let error = try_recover(&at, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "the permissions of");
    assert_eq!(getfattr(&at.join(KEYS)), good);
    assert_eq!(getfattr(&at.join(KEY)), foreign);
    // Gone.
    fs::remove_file(at.join(KEY)).unwrap();
    let error = try_recover(&at, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "is not there");
    drop(mounted);
    check_security(&image);
}

#[test]
fn a_later_change_of_the_same_permissions_is_undone_first() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let mounted = mount(&image, &at).unwrap();
    let journals = support::temporary();
    let old = getfattr(&at.join(KEYS));
    let set = |descriptor: &[u8], paths: &[&str]| {
        let volume = open(&at);
        volume.set_security(descriptor, paths, 0).unwrap();
        commit_all(&volume, &at, journals.path())
    };
    let first = set(&bytes(DESCRIPTORS[0]), &[KEYS]);
    let beside = set(&bytes(DESCRIPTORS[0]), &[KEY]);
    let second = set(&bytes(DESCRIPTORS[1]), &[KEYS]);
    let error = try_undo(&at, journals.path(), &first).unwrap_err();
    assert_refused(&error, Kind::Refused, "changed the same permissions");
    assert_eq!(error.hint().unwrap(), format!("undo {second} first"));
    undo_one(&at, journals.path(), &beside);
    undo_one(&at, journals.path(), &second);
    undo_one(&at, journals.path(), &first);
    assert_eq!(getfattr(&at.join(KEYS)), old);
    drop(mounted);
}

/// A journal may come from somebody else, and so may what lies in the folder.
#[test]
fn nothing_outside_the_folder_gets_permissions() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let mounted = mount(&image, &at).unwrap();
    // Only part of the volume is the target.
    let root = at.join("ProgramData");
    fs::create_dir(at.join("outside")).unwrap();
    fs::write(at.join("outside/file"), b"outside").unwrap();
    symlink(at.join("outside"), root.join("out")).unwrap();
    symlink("Microsoft/Crypto", root.join("in")).unwrap();
    let (old, new) = (getfattr(&at.join("outside/file")), bytes(DESCRIPTORS[0]));
    let absolute = at.join("outside/file");
    for path in [
        "../outside/file",
        "Microsoft/../../outside/file",
        "out/file",
        "in/RSA",
        absolute.to_str().unwrap(),
        "..",
        "../..",
    ] {
        let journals = support::temporary();
        let changes = ChangeSet {
            patches: Vec::new(),
            operations: vec![HostOperation::SetSecurity {
                file: path.into(),
                before: old.as_slice().into(),
                after: new.as_slice().into(),
            }],
        };
        let error = try_commit(&changes, &root, journals.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        let id = forge(&root, journals.path(), &changes);
        let error = try_recover(&root, journals.path()).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        finish(journals.path(), &id);
        // An undo would give it the old one.
        setfattr(&at.join("outside/file"), "system.ntfs_acl", &new);
        let error = try_undo(&root, journals.path(), &id).unwrap_err();
        assert_eq!(error.kind(), Kind::Refused, "{path}: {error}");
        assert_eq!(getfattr(&at.join("outside/file")), new, "{path}");
        setfattr(&at.join("outside/file"), "system.ntfs_acl", &old);
    }
    drop(mounted);
}

#[test]
fn a_host_without_windows_permissions_names_the_way_out() {
    let _turn = alone();
    let place = support::temporary();
    let root = place.path();
    let mounted = Mount::with(&["-t", "tmpfs", "tmpfs"], root);
    fs::create_dir_all(root.join(KEYS)).unwrap();
    fs::write(root.join(KEY), b"key").unwrap();
    let volume = open(root);
    for error in [
        volume.security(&[KEY]).unwrap_err(),
        volume
            .set_security(&bytes(DESCRIPTORS[0]), &[KEYS], 0)
            .unwrap_err(),
    ] {
        assert_refused(&error, Kind::Refused, "offers no Windows permissions");
        let hint = error.hint().unwrap();
        assert!(
            hint.contains("disk itself") && hint.contains("ntfs-3g"),
            "{hint}"
        );
    }
    assert!(volume.changes().unwrap().is_empty());

    // Nor does an undo of what was done while ntfs-3g had mounted it.
    let journals = support::temporary();
    let changes = ChangeSet {
        patches: Vec::new(),
        operations: vec![HostOperation::SetSecurity {
            file: root.join(KEY),
            before: bytes(DESCRIPTORS[1]).into(),
            after: bytes(DESCRIPTORS[0]).into(),
        }],
    };
    let id = forge(root, journals.path(), &changes);
    let error = try_recover(root, journals.path()).unwrap_err();
    assert_refused(&error, Kind::Refused, "offers no Windows permissions");
    finish(journals.path(), &id);
    let error = try_undo(root, journals.path(), &id).unwrap_err();
    assert_refused(&error, Kind::Refused, "offers no Windows permissions");
    assert!(error.hint().unwrap().contains("ntfs-3g"), "{error}");
    drop(mounted);
}

/// Every kind of descriptor that Windows itself has put on its volumes can be read, set and set back.
#[test]
fn descriptors_that_windows_made() {
    let _turn = alone();
    let place = support::temporary();
    let Some((_, at)) = ntfs(place.path()) else {
        return;
    };
    let mut seen = std::collections::BTreeSet::new();
    for name in ["w-10m-many-files", "w-vss-512cluster", "w10-lastaccess"] {
        let Some(packed) = support::data(&format!("ntfs/{name}.raw.xz")) else {
            return;
        };
        let mut image = place.path().join(name);
        support::unxz_to(&packed, &image);
        let mut start = [0; 8];
        fs::File::open(&image)
            .unwrap()
            .read_exact(&mut start)
            .unwrap();
        if start[3..7] != *b"NTFS" {
            let (offset, length) = support::foreign::partitions(&image)[0];
            let volume = place.path().join("volume");
            support::foreign::cut_volume(&image, offset, length, &volume);
            image = volume;
        }
        let mounted = mount(&image, &at).unwrap();
        let volume = open(&at);
        volume.check_writable().unwrap();
        let tree = volume.tree("").unwrap();
        let paths: Vec<&str> = tree.iter().map(|entry| entry.path.as_str()).collect();
        let old = volume.security(&paths).unwrap();
        for (path, old) in paths.iter().zip(&old) {
            if seen.insert(old.clone()) {
                assert_eq!(getfattr(&at.join(path)), old[..], "{name}: {path}");
            }
        }
        let journals = support::temporary();
        volume
            .set_security(&bytes(DESCRIPTORS[0]), &paths, 0)
            .unwrap();
        let id = commit_all(&volume, &at, journals.path());
        assert_eq!(getfattr(&at.join(paths[1])), bytes(DESCRIPTORS[0]));
        undo_one(&at, journals.path(), &id);
        let again = open(&at).security(&paths).unwrap();
        assert!(again == old, "{name}");
        drop(mounted);
        check_security(&image);
    }
    eprintln!("{} descriptors of Windows", seen.len());
    assert!(seen.len() > 5, "{}", seen.len());
}

/// The drawings in `journal.rs` and `journal/operations.rs`, read by a program that shares no code with them.
#[test]
fn the_journal_of_a_folder_is_as_it_is_documented() {
    const SCRIPT: &str = r#"
import sys, struct, zlib, hashlib, json
data = open(sys.argv[1], "rb").read()
magic, version, length, crc = struct.unpack_from("<8sIQI", data)
assert (magic, version, length) == (b"cfJOURNL", 2, len(data)), (magic, version, length)
assert crc == zlib.crc32(data[:20])
at, sections = 24, []
while at < len(data):
    tag, size = struct.unpack_from("<4sQ", data, at)
    payload = data[at + 12:at + 12 + size]
    assert struct.unpack_from("<I", data, at + 12 + size)[0] == zlib.crc32(data[at:at + 12 + size])
    sections.append((tag, payload, at))
    at += 16 + size
assert sections[-1][0] == b"TAIL"
assert sections[-1][1] == hashlib.sha256(data[:sections[-1][2]]).digest()
head = json.loads(sections[0][1])
of = lambda wanted: [payload for tag, payload, _ in sections if tag == wanted]
descriptors = of(b"DESC")
assert (head["descriptors"], head["operations"]) == (len(descriptors), len(of(b"SECD") + of(b"NAME")))
for payload in of(b"SECD"):
    before, after = struct.unpack_from("<II", payload)
    print(payload[8:].decode(), descriptors[before].hex(), descriptors[after].hex())
for payload in of(b"NAME"):
    size = struct.unpack_from("<I", payload)[0]
    print(payload[4 + size:].decode(), payload[4:4 + size].decode())
"#;
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let mounted = mount(&image, &at).unwrap();
    let old = getfattr(&at.join(KEY));
    let new = bytes(DESCRIPTORS[0]);
    let volume = open(&at);
    volume.set_security(&new, &[KEY], 0).unwrap();
    volume.rename(KEYS, "Schlüssel", 0).unwrap();
    let journals = support::temporary();
    let id = commit_all(&volume, &at, journals.path());
    let journal = journal_dir(journals.path())
        .path()
        .join(format!("{id}.journal"));
    let output = support::run(
        support::program("python3")
            .args(["-c", SCRIPT])
            .arg(journal),
    );
    let hex = |bytes: &[u8]| -> String { bytes.iter().map(|byte| format!("{byte:02x}")).collect() };
    let expected = format!(
        "{} {} {}\n{} Schlüssel\n",
        at.join(KEY).display(),
        hex(&old),
        hex(&new),
        at.join(KEYS).display()
    );
    assert_eq!(String::from_utf8(output.stdout).unwrap(), expected);
    drop(mounted);
}

/// Thousands in one operation; time and memory grow with their number and no faster.
#[test]
fn thousands_of_files_in_one_operation() {
    let _turn = alone();
    let place = support::temporary();
    let Some((image, at)) = ntfs(place.path()) else {
        return;
    };
    let mounted = mount(&image, &at).unwrap();
    for folder in 0..40 {
        let folder = at.join(format!("many/{folder}"));
        fs::create_dir_all(&folder).unwrap();
        for file in 0..100 {
            fs::write(folder.join(format!("file {file}")), b"").unwrap();
        }
    }
    let began = Instant::now();
    let journals = support::temporary();
    let volume = open(&at);
    let tree = volume.tree("many").unwrap();
    assert_eq!(tree.len(), 4041);
    let paths: Vec<&str> = tree.iter().map(|entry| entry.path.as_str()).collect();
    let old = volume.security(&paths).unwrap();
    volume
        .set_security(&bytes(DESCRIPTORS[0]), &paths, 0)
        .unwrap();
    let id = commit_all(&volume, &at, journals.path());
    let listing = journal_dir(journals.path()).list().unwrap();
    assert_eq!(listing.operations[0].operations, 4041);
    // Two descriptors and no more than a path and a frame for each file.
    let journal = fs::metadata(&listing.operations[0].journal).unwrap().len();
    assert!(journal < 4041 * 120, "{journal}");
    // Equal ones are shared.
    let different: std::collections::BTreeSet<*const u8> =
        old.iter().map(|old| old.as_ptr()).collect();
    assert!(different.len() < 3, "{}", different.len());
    undo_one(&at, journals.path(), &id);
    assert!(
        began.elapsed() < Duration::from_secs(120),
        "{:?}",
        began.elapsed()
    );
    let again = open(&at).security(&paths).unwrap();
    assert!(again == old);
    drop(mounted);
    check_security(&image);
}
