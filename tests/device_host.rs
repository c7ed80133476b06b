// SPDX-License-Identifier: GPL-2.0-or-later
//! Image files and block devices, and who else may have them: checked with flock, qemu, ntfs-3g and the kernel's
//! loop devices.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::fs::{self, File};
use std::io::{Read, Write};
use std::os::unix::fs::{FileExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::{Duration, Instant};

use coldfix::device::{Access, SharedDevice, open};
use coldfix::error::{Error, Kind};

fn image(folder: &Path, name: &str, len: u64) -> PathBuf {
    let path = folder.join(name);
    File::create(&path).unwrap().set_len(len).unwrap();
    path
}

/// The refusal, which must have a next step.
fn refused(result: coldfix::error::Result<SharedDevice>) -> (String, String) {
    let error = result.expect_err("refused");
    assert_eq!(error.kind(), Kind::Refused, "{error}");
    (
        error.to_string(),
        error.hint().expect("a next step").to_owned(),
    )
}

fn read(device: &SharedDevice, offset: u64, len: usize) -> Result<Vec<u8>, Error> {
    let mut buffer = vec![0; len];
    device.read_at(offset, &mut buffer).map(|()| buffer)
}

#[test]
fn reads_and_writes_in_place_and_never_past_the_end() {
    let folder = support::temporary();
    let path = image(folder.path(), "disk", 1_000_001);
    let device = open(&path, Access::Write).unwrap();
    assert_eq!((device.len(), device.sector_size()), (1_000_001, 512));
    device.write_at(999_999, b"!!").unwrap();
    device.write_at(999_999, b"!!!").unwrap_err();
    device.write_at(u64::MAX, b"!").unwrap_err();
    device.flush().unwrap();
    assert_eq!(read(&device, 999_998, 3).unwrap(), b"\0!!");
    assert_eq!(read(&device, 999_999, 3).unwrap_err().kind(), Kind::Damaged);
    drop(device);
    assert_eq!(fs::metadata(&path).unwrap().len(), 1_000_001);

    let device = open(&path, Access::Read).unwrap();
    assert_eq!(read(&device, 999_998, 3).unwrap(), b"\0!!");
    assert_eq!(device.write_at(0, b"!").unwrap_err().kind(), Kind::Refused);
    device.flush().unwrap();
}

#[test]
fn a_file_without_a_byte_can_be_opened() {
    let folder = support::temporary();
    let path = image(folder.path(), "empty", 0);
    for access in [Access::Read, Access::Write] {
        let device = open(&path, access).unwrap();
        assert!(device.is_empty());
        read(&device, 0, 0).unwrap();
        read(&device, 0, 1).unwrap_err();
    }
}

#[test]
fn places_past_4_gib_are_the_right_ones() {
    let folder = support::temporary();
    let path = image(folder.path(), "large", 5 << 40);
    let places = [
        (1_u64 << 32) - 3,
        (1 << 32) + 5,
        (1 << 41) - 2,
        (5 << 40) - 6,
    ];
    let device = open(&path, Access::Write).unwrap();
    for (place, mark) in places.iter().zip(b'a'..) {
        device.write_at(*place, &[mark; 6]).unwrap();
    }
    device.flush().unwrap();
    drop(device);
    let plain = File::open(&path).unwrap();
    let device = open(&path, Access::Read).unwrap();
    for (place, mark) in places.iter().zip(b'a'..) {
        let mut found = [0; 6];
        plain.read_exact_at(&mut found, *place).unwrap();
        assert_eq!(found, [mark; 6]);
        assert_eq!(read(&device, *place, 6).unwrap(), [mark; 6]);
    }
    assert_eq!(read(&device, 0, 4096).unwrap(), [0; 4096]);
}

#[test]
fn a_file_that_is_cut_while_open_is_an_error_and_no_signal() {
    let folder = support::temporary();
    for access in [Access::Read, Access::Write] {
        let path = image(folder.path(), "cut", 1 << 20);
        let device = open(&path, access).unwrap();
        read(&device, 0, 1 << 20).unwrap();
        File::options()
            .write(true)
            .open(&path)
            .unwrap()
            .set_len(1 << 18)
            .unwrap();
        let error = read(&device, 1 << 19, 16).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.to_string().contains("shorter"), "{error}");
        read(&device, 0, 1 << 18).unwrap();
        if access == Access::Write {
            device.write_at(1 << 19, b"x").unwrap_err();
            assert_eq!(fs::metadata(&path).unwrap().len(), 1 << 18);
        }
    }
}

#[test]
fn one_writer_or_many_readers() {
    let folder = support::temporary();
    let path = image(folder.path(), "disk", 4096);
    let readers = [
        open(&path, Access::Read).unwrap(),
        open(&path, Access::Read).unwrap(),
    ];
    refused(open(&path, Access::Write));
    drop(readers);
    let writer = open(&path, Access::Write).unwrap();
    let (what, _) = refused(open(&path, Access::Read));
    assert!(what.contains("writing"), "{what}");
    refused(open(&path, Access::Write));
    if support::require("flock") {
        let flock = |how: &str| {
            let mut flock = support::program("flock");
            flock.args(["-n", how]).arg(&path).arg("true");
            flock.status().unwrap().success()
        };
        assert!(!flock("-s"), "flock sees the writer");
        drop(writer);
        let reader = open(&path, Access::Read).unwrap();
        assert!(flock("-s") && !flock("-x"), "flock sees the reader");
        drop(reader);
        assert!(flock("-x"));
    }
}

#[test]
fn qemu_and_coldfix_keep_each_other_out() {
    if !support::require("qemu-io") {
        return;
    }
    let folder = support::temporary();
    let path = image(folder.path(), "disk.raw", 1 << 20);
    let qemu = |how: &[&str]| {
        let mut qemu = support::program("qemu-io");
        qemu.args(["-f", "raw"])
            .args(how)
            .args(["-c", "read 0 512"]);
        qemu.arg(&path).output().unwrap()
    };
    // While coldfix writes, qemu does not even read; while coldfix reads, it does.
    let writer = open(&path, Access::Write).unwrap();
    for how in [&[][..], &["-r"]] {
        let output = qemu(how);
        assert!(!output.status.success());
        assert!(String::from_utf8_lossy(&output.stderr).contains("lock"));
    }
    drop(writer);
    let reader = open(&path, Access::Read).unwrap();
    assert!(qemu(&["-r"]).status.success());
    drop(reader);

    // qemu has the disk of a "running machine" until its standard input ends.
    for (arguments, readable) in [(vec!["-f", "raw"], false), (vec!["-f", "raw", "-r"], true)] {
        let mut machine = support::program("qemu-io")
            .args(arguments)
            .arg(&path)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        // Its prompt comes when the disk is open.
        let mut prompt = [0; 1];
        machine
            .stdout
            .as_mut()
            .unwrap()
            .read_exact(&mut prompt)
            .unwrap();
        let (what, hint) = refused(open(&path, Access::Write));
        assert!(what.contains("another program") && hint.contains("virtual machine"));
        match open(&path, Access::Read) {
            Ok(_) => assert!(readable, "a disk that qemu writes"),
            Err(error) => {
                assert_eq!(error.kind(), Kind::Refused);
                assert!(!readable, "{error}");
            }
        }
        machine.stdin.take().unwrap().write_all(b"quit\n").unwrap();
        machine.wait().unwrap();
        open(&path, Access::Write).unwrap();
    }
}

#[test]
fn what_cannot_be_opened_says_why_and_what_next() {
    let folder = support::temporary();
    let read_only = image(folder.path(), "read-only", 512);
    fs::set_permissions(&read_only, fs::Permissions::from_mode(0o444)).unwrap();
    let (what, hint) = refused(open(&read_only, Access::Write));
    assert!(
        what.contains("read-only") && hint.contains("chmod"),
        "{what}"
    );
    open(&read_only, Access::Read).unwrap();

    for access in [Access::Read, Access::Write] {
        let error = open(&folder.path().join("absent"), access).unwrap_err();
        assert_eq!(error.kind(), Kind::Io);
        assert!(error.hint().is_some());
        for place in [folder.path(), Path::new("/dev/null")] {
            let error = open(place, access).unwrap_err();
            assert_eq!(error.kind(), Kind::Unsupported, "{error}");
            assert!(error.hint().is_some());
        }
        // A named pipe would wait for ever.
        let pipe = folder.path().join(format!("pipe-{access:?}"));
        support::run(support::program("mkfifo").arg(&pipe));
        let start = Instant::now();
        assert_eq!(open(&pipe, access).unwrap_err().kind(), Kind::Unsupported);
        assert!(start.elapsed() < Duration::from_secs(5));
    }
}

/// A loop device over an image; detached when dropped.
struct Loop(String);

impl Loop {
    /// `None`, and counted, where the kernel or the rights do not allow it.
    fn attach(image: &Path, options: &[&str]) -> Option<Loop> {
        let mut losetup = support::program("losetup");
        losetup.args(["--show", "-f"]).args(options).arg(image);
        let output = losetup.output().unwrap();
        if !output.status.success() {
            support::skip("loop devices (root)");
            return None;
        }
        Some(Loop(
            String::from_utf8(output.stdout).unwrap().trim().to_owned(),
        ))
    }

    fn path(&self) -> &Path {
        Path::new(&self.0)
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = support::program("losetup").args(["-d", &self.0]).status();
    }
}

/// A mount; taken away when dropped.
struct Mount(PathBuf);

impl Mount {
    fn new(program: &str, arguments: &[&str], source: &Path, point: &Path) -> Option<Mount> {
        fs::create_dir_all(point).unwrap();
        let mut mount = support::program(program);
        mount.args(arguments).arg(source).arg(point);
        if !mount.output().unwrap().status.success() {
            support::skip("the right to mount");
            return None;
        }
        Some(Mount(point.to_owned()))
    }
}

impl Drop for Mount {
    fn drop(&mut self) {
        let _ = support::program("umount").arg(&self.0).status();
    }
}

#[test]
fn a_loop_device_is_written_and_keeps_others_out() {
    let folder = support::temporary();
    let path = image(folder.path(), "disk", 64 << 20);
    let Some(disk) = Loop::attach(&path, &[]) else {
        return;
    };
    let device = open(disk.path(), Access::Write).unwrap();
    assert_eq!((device.len(), device.sector_size()), (64 << 20, 512));
    device.write_at(70_000, b"through the loop").unwrap();
    device.flush().unwrap();
    device.write_at((64 << 20) - 1, b"xx").unwrap_err();
    refused(open(disk.path(), Access::Write));
    refused(open(disk.path(), Access::Read));
    drop(device);
    let mut found = [0; 16];
    File::open(&path)
        .unwrap()
        .read_exact_at(&mut found, 70_000)
        .unwrap();
    assert_eq!(&found, b"through the loop");
    let reader = open(disk.path(), Access::Read).unwrap();
    assert_eq!(read(&reader, 70_000, 16).unwrap(), b"through the loop");
    drop(reader);

    // The image below it is in use, by name.
    let (what, hint) = refused(open(&path, Access::Write));
    assert!(what.contains(&format!("attached as {}", disk.0)), "{what}");
    assert!(hint.contains(&format!("losetup -d {}", disk.0)), "{hint}");

    // It is locked with its device, and another device over it with it.
    let Some(second) = Loop::attach(&path, &[]) else {
        return;
    };
    let device = open(disk.path(), Access::Write).unwrap();
    for access in [Access::Read, Access::Write] {
        let (what, _) = refused(open(second.path(), access));
        assert!(
            what.contains(path.to_str().unwrap()),
            "names the image: {what}"
        );
        refused(open(&path, access));
    }
    drop(device);
    drop(open(second.path(), Access::Write).unwrap());
    drop(second);
    drop(disk);
    let image = open(&path, Access::Write).unwrap();
    let Some(late) = Loop::attach(&path, &[]) else {
        return;
    };
    for access in [Access::Read, Access::Write] {
        refused(open(late.path(), access));
    }
    drop(image);
    open(late.path(), Access::Write).unwrap();
}

#[test]
fn a_block_device_tells_its_sector_size_and_its_write_protection() {
    let folder = support::temporary();
    let path = image(folder.path(), "disk", 64 << 20);
    let Some(disk) = Loop::attach(&path, &["-b", "4096"]) else {
        return;
    };
    assert_eq!(open(disk.path(), Access::Read).unwrap().sector_size(), 4096);
    drop(disk);
    let Some(disk) = Loop::attach(&path, &["-r"]) else {
        return;
    };
    let (what, _) = refused(open(disk.path(), Access::Write));
    assert!(what.contains("read-only"), "{what}");
    open(disk.path(), Access::Read).unwrap();
}

#[cfg(target_os = "linux")]
#[test]
fn an_image_is_mapped_only_where_nobody_can_cut_it() {
    let folder = support::temporary();
    let (there, point) = (folder.path().join("evidence"), folder.path().join("point"));
    std::fs::create_dir(&there).unwrap();
    let content: Vec<u8> = (0..1_u32 << 20).map(|at| at.to_le_bytes()[1]).collect();
    let path = there.join("disk.raw");
    std::fs::write(&path, &content).unwrap();
    let Some(_mount) = Mount::new("mount", &["-o", "bind,ro"], &there, &point) else {
        return;
    };
    let is_mapped = |path: &Path| {
        let maps = std::fs::read_to_string("/proc/self/maps").unwrap();
        maps.lines()
            .any(|line| line.ends_with(path.to_str().unwrap()))
    };
    for (path, mapped) in [(path, false), (point.join("disk.raw"), true)] {
        let device = open(&path, Access::Read).unwrap();
        for (offset, len) in [(0, 512), (65_530, 20), (4096, 600_000), ((1 << 20) - 7, 7)] {
            let mut buffer = vec![0; len];
            device.read_at(offset as u64, &mut buffer).unwrap();
            assert!(buffer == content[offset..offset + len], "{offset}");
        }
        assert_eq!(is_mapped(&path), mapped, "{}", path.display());
    }
}

#[test]
fn a_mounted_disk_is_refused_by_the_name_of_its_mount() {
    if !support::require("mkfs.ext4") || !support::require("mkntfs") || !support::require("ntfs-3g")
    {
        return;
    }
    let folder = support::temporary();
    let point = folder.path().join("a mount point");

    // By the kernel, through a loop device: both the device and the image below it.
    let path = image(folder.path(), "ext4", 32 << 20);
    support::run(support::program("mkfs.ext4").arg("-q").arg(&path));
    let Some(disk) = Loop::attach(&path, &[]) else {
        return;
    };
    let Some(mount) = Mount::new("mount", &["-t", "ext4"], disk.path(), &point) else {
        return;
    };
    let (what, hint) = refused(open(disk.path(), Access::Write));
    assert!(
        what.contains(&format!("mounted at {}", point.display())),
        "{what}"
    );
    assert!(hint.contains("umount"), "{hint}");
    let (what, hint) = refused(open(&path, Access::Write));
    assert!(
        what.contains(&disk.0) && what.contains("a mount point"),
        "{what}"
    );
    // In the order in which they can be done.
    assert!(hint.find("umount") < hint.find("losetup"), "{hint}");
    drop(mount);
    open(disk.path(), Access::Write).unwrap();
    drop(disk);

    // By ntfs-3g, from a loop device and straight from the image.
    let path = image(folder.path(), "ntfs", 32 << 20);
    support::run(support::program("mkntfs").args(["-qF"]).arg(&path));
    let Some(disk) = Loop::attach(&path, &[]) else {
        return;
    };
    let Some(mount) = Mount::new("ntfs-3g", &[], disk.path(), &point) else {
        return;
    };
    let (what, _) = refused(open(disk.path(), Access::Write));
    assert!(what.contains("mounted at"), "{what}");
    drop(mount);
    drop(disk);
    let writer = open(&path, Access::Write).unwrap();
    let mut blocked = support::program("ntfs-3g");
    let output = blocked.arg(&path).arg(&point).output().unwrap();
    assert!(!output.status.success(), "ntfs-3g sees the writer");
    drop(writer);
    let Some(mount) = Mount::new("ntfs-3g", &[], &path, &point) else {
        return;
    };
    let (what, _) = refused(open(&path, Access::Write));
    assert!(what.contains("mounted at"), "{what}");
    drop(mount);
    // ntfs-3g goes a moment after its mount has.
    let deadline = Instant::now() + Duration::from_secs(10);
    while open(&path, Access::Write).is_err() {
        assert!(Instant::now() < deadline);
        std::thread::sleep(Duration::from_millis(50));
    }
}

#[test]
fn a_mounted_partition_keeps_the_whole_disk() {
    for tool in ["sfdisk", "mkfs.ext4"] {
        if !support::require(tool) {
            return;
        }
    }
    let folder = support::temporary();
    let path = image(folder.path(), "disk", 64 << 20);
    let mut sfdisk = support::program("sfdisk");
    let script = folder.path().join("script");
    fs::write(
        &script,
        "label: dos\nstart=2048, size=40960\nstart=43008, size=40960\n",
    )
    .unwrap();
    support::run(
        sfdisk
            .arg("-q")
            .arg(&path)
            .stdin(File::open(&script).unwrap()),
    );
    let Some(disk) = Loop::attach(&path, &["-P"]) else {
        return;
    };
    let one = PathBuf::from(format!("{}p1", disk.0));
    let two = PathBuf::from(format!("{}p2", disk.0));
    // The kernel passes the scan over while somebody else (udev) has the disk open for a moment.
    for _ in 0..100 {
        if one.exists() && two.exists() {
            break;
        }
        std::thread::sleep(Duration::from_millis(50));
        let _ = support::program("partx").args(["-u", &disk.0]).output();
    }
    if !one.exists() || !two.exists() {
        support::skip("partitions of loop devices");
        return;
    }
    support::run(support::program("mkfs.ext4").arg("-q").arg(&one));
    let point = folder.path().join("mnt");
    let Some(mount) = Mount::new("mount", &[], &one, &point) else {
        return;
    };
    let (what, _) = refused(open(disk.path(), Access::Write));
    let name = one.file_name().unwrap().to_str().unwrap();
    assert!(
        what.contains(&format!("its partition {name} is mounted at")),
        "{what}"
    );
    refused(open(&one, Access::Write));
    // The other partition is nobody's.
    let other = open(&two, Access::Write).unwrap();
    assert_eq!(other.len(), 40960 * 512);
    drop(mount);
    // Now the whole disk is busy only because of our own hold on a part of it.
    refused(open(disk.path(), Access::Write));
    drop(other);
    open(disk.path(), Access::Write).unwrap();
}
