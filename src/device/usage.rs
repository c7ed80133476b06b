// SPDX-License-Identifier: GPL-2.0-or-later
//! Who uses a disk: mounts, swap, mapped devices (LVM, RAID, encryption) and loop devices.
//!
//! ```text
//! /proc/self/mountinfo        36 35 98:0 /root /mount/point rw,noatime shared:1 - ext4 /dev/sda1 rw
//!                             id parent  where in it        options  tags..   - type source   options
//! /proc/swaps                 /dev/sda2  partition  8388604  0  -2         (a heading first)
//! /sys/dev/block/8:0/         sda1/ (with `partition` and `dev`), holders/, partition (for a partition)
//! /sys/block/loop0/loop/backing_file
//! ```
//!
//! A whole disk is in use when one of its partitions is; a partition, when the whole disk is. A mount is
//! found by its device number, and, for FUSE (ntfs-3g) and btrfs, which show another number, by its source.
//! Mounts in other mount namespaces are not seen; for block devices the kernel still refuses `O_EXCL` then.

use std::fs::Metadata;
use std::os::unix::ffi::OsStringExt;
use std::os::unix::fs::{FileTypeExt, MetadataExt};
use std::path::{Path, PathBuf};

use crate::error::{Error, Result};

/// What is asked about, by number instead of by name: names have aliases.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Target {
    /// An image file.
    File { device: u64, inode: u64 },
    /// A block device.
    Block { device: u64 },
}

impl Target {
    pub(super) fn of(metadata: &Metadata) -> Target {
        if metadata.file_type().is_block_device() {
            Target::Block {
                device: metadata.rdev(),
            }
        } else {
            Target::File {
                device: metadata.dev(),
                inode: metadata.ino(),
            }
        }
    }

    /// True when the host's `path` is this very thing.
    fn is_at(self, path: &Path) -> bool {
        path.is_absolute() && std::fs::metadata(path).is_ok_and(|other| Target::of(&other) == self)
    }
}

/// One use of a disk.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Use {
    /// As it continues the sentence "it is ...".
    what: String,
    /// The command that ends it.
    end: String,
}

/// `Refused`, naming every use, when `target` (opened as `path`) is in use.
pub(super) fn check_unused(path: &Path, target: Target) -> Result<()> {
    let uses = find_uses(target)?;
    if uses.is_empty() {
        return Ok(());
    }
    let join = |part: fn(&Use) -> &str, between: &str| {
        uses.iter().map(part).collect::<Vec<_>>().join(between)
    };
    Err(Error::refused(
        format!(
            "{} is in use: {}",
            path.display(),
            join(|one| &one.what, "; ")
        ),
        format!("end that first: {}", join(|one| &one.end, "; ")),
    ))
}

/// The image file that a loop device, or a partition on one, stands on, by the name that it was attached under.
pub(super) fn backing_file(device: u64) -> Option<PathBuf> {
    let folder = std::fs::canonicalize(sys_folder(device)).ok()?;
    let disk = match folder.join("partition").exists() {
        true => folder.parent()?,
        false => &folder,
    };
    read_backing(disk)
}

/// The same, from the kernel's folder of the whole disk.
fn read_backing(folder: &Path) -> Option<PathBuf> {
    let mut backing = std::fs::read(folder.join("loop/backing_file")).ok()?;
    if backing.last() == Some(&b'\n') {
        backing.pop();
    }
    Some(PathBuf::from(std::ffi::OsString::from_vec(backing)))
}

fn find_uses(target: Target) -> Result<Vec<Use>> {
    let mounts = std::fs::read("/proc/self/mountinfo").map_err(|error| {
        Error::refused(
            format!("whether the target is in use cannot be seen: /proc/self/mountinfo: {error}"),
            "mount /proc (`mount -t proc proc /proc`), as in a rescue system that has only been unpacked",
        )
    })?;
    let mounts = parse_mounts(&mounts);
    // A kernel without swap has no such file.
    let swaps = parse_swaps(&std::fs::read("/proc/swaps").unwrap_or_default());
    let mut uses = Vec::new();
    collect(target, "", &mounts, &swaps, &mut uses, true);
    Ok(uses)
}

/// Adds the uses of `target`. `prefix` says what it is to the one asked about. Loop devices on top of it are
/// followed `deeper` once; more levels do not matter, the first is already a reason.
fn collect(
    target: Target,
    prefix: &str,
    mounts: &[Mount],
    swaps: &[PathBuf],
    uses: &mut Vec<Use>,
    deeper: bool,
) {
    for (member, name) in family(target) {
        let prefix = match name {
            Some(name) => format!("{prefix}{name} is "),
            None => prefix.to_owned(),
        };
        for mount in mounts {
            if mount.is_of(member) {
                let point = mount.point.display();
                uses.push(Use {
                    what: format!("{prefix}mounted at {point}"),
                    end: format!("umount {point}"),
                });
            }
        }
        for swap in swaps {
            if member.is_at(swap) {
                uses.push(Use {
                    what: format!("{prefix}used as swap space"),
                    end: format!("swapoff {}", swap.display()),
                });
            }
        }
        for holder in holders(member) {
            uses.push(Use {
                what: format!("{prefix}part of {holder}"),
                end: format!("close {holder} (LVM, RAID or encryption)"),
            });
        }
        for (path, device) in loops_on(member) {
            uses.push(Use {
                what: format!("{prefix}attached as {path}"),
                end: format!("losetup -d {path}"),
            });
            if deeper {
                let before = uses.len();
                let prefix = format!("{path} is ");
                collect(device, &prefix, mounts, swaps, uses, false);
                // What stands on the loop device has to end before it can be detached.
                if let Some(tail) = uses.get_mut(before.saturating_sub(1)..) {
                    tail.rotate_left(1);
                }
            }
        }
    }
}

/// `target` and, for a block device, the partitions on it and the disk it is a partition of, with a name
/// for each but the first.
fn family(target: Target) -> Vec<(Target, Option<String>)> {
    let mut members = vec![(target, None)];
    let Target::Block { device } = target else {
        return members;
    };
    let Ok(folder) = std::fs::canonicalize(sys_folder(device)) else {
        return members;
    };
    for entry in std::fs::read_dir(&folder).into_iter().flatten().flatten() {
        if entry.path().join("partition").exists() {
            members.extend(named_block_device(&entry.path(), "its partition"));
        }
    }
    if folder.join("partition").exists()
        && let Some(parent) = folder.parent()
    {
        members.extend(named_block_device(parent, "its whole disk"));
    }
    members
}

fn named_block_device(folder: &Path, role: &str) -> Option<(Target, Option<String>)> {
    let name = folder.file_name()?.to_string_lossy();
    let device = parse_device(std::fs::read_to_string(folder.join("dev")).ok()?.trim())?;
    Some((Target::Block { device }, Some(format!("{role} {name}"))))
}

/// Where the kernel describes the block device.
pub(super) fn sys_folder(device: u64) -> PathBuf {
    let (major, minor) = (rustix::fs::major(device), rustix::fs::minor(device));
    PathBuf::from(format!("/sys/dev/block/{major}:{minor}"))
}

/// The mapped devices that stand on a block device, by the name people know them by.
fn holders(target: Target) -> Vec<String> {
    let Target::Block { device } = target else {
        return Vec::new();
    };
    let folder = sys_folder(device).join("holders");
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut names: Vec<String> = entries
        .map(|entry| {
            let mapped = std::fs::read_to_string(entry.path().join("dm/name"));
            match mapped {
                Ok(name) => format!("/dev/mapper/{}", name.trim()),
                Err(_) => format!("/dev/{}", entry.file_name().to_string_lossy()),
            }
        })
        .collect();
    names.sort();
    names
}

/// The loop devices that stand on `target`.
fn loops_on(target: Target) -> Vec<(String, Target)> {
    let entries = std::fs::read_dir("/sys/block")
        .into_iter()
        .flatten()
        .flatten();
    let mut loops: Vec<(String, Target)> = entries
        .filter_map(|entry| {
            let folder = entry.path();
            if !target.is_at(&read_backing(&folder)?) {
                return None;
            }
            let device = parse_device(std::fs::read_to_string(folder.join("dev")).ok()?.trim())?;
            let name = entry.file_name().to_string_lossy().into_owned();
            Some((format!("/dev/{name}"), Target::Block { device }))
        })
        .collect();
    loops.sort_by(|a, b| a.0.cmp(&b.0));
    loops
}

/// One line of `mountinfo`.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Mount {
    device: u64,
    point: PathBuf,
    source: PathBuf,
}

impl Mount {
    fn is_of(&self, target: Target) -> bool {
        matches!(target, Target::Block { device } if device == self.device)
            || target.is_at(&self.source)
    }
}

fn parse_mounts(text: &[u8]) -> Vec<Mount> {
    let parse = |line: &[u8]| {
        let mut fields = line.split(|&byte| byte == b' ');
        let device = parse_device(std::str::from_utf8(fields.nth(2)?).ok()?)?;
        let point = unescape(fields.nth(1)?);
        // After the options come tags, as many as there are, and a lone dash.
        fields.find(|field| *field == b"-")?;
        let source = unescape(fields.nth(1)?);
        Some(Mount {
            device,
            point,
            source,
        })
    };
    text.split(|&byte| byte == b'\n')
        .filter_map(parse)
        .collect()
}

fn parse_swaps(text: &[u8]) -> Vec<PathBuf> {
    text.split(|&byte| byte == b'\n')
        .skip(1)
        .filter_map(|line| {
            let name = line.split(|&byte| byte == b' ' || byte == b'\t').next()?;
            (!name.is_empty()).then(|| unescape(name))
        })
        .collect()
}

/// `8:1` as a device number.
fn parse_device(text: &str) -> Option<u64> {
    let (major, minor) = text.split_once(':')?;
    Some(rustix::fs::makedev(
        major.parse().ok()?,
        minor.parse().ok()?,
    ))
}

/// Undoes the kernel's `\040` for bytes that would break the line.
fn unescape(field: &[u8]) -> PathBuf {
    let mut bytes = Vec::with_capacity(field.len());
    let mut rest = field;
    while let Some((&first, tail)) = rest.split_first() {
        let octal = match rest {
            [b'\\', a @ b'0'..=b'3', b @ b'0'..=b'7', c @ b'0'..=b'7', ..] => {
                let digits = [a, b, c].map(|digit| u32::from(digit & 7));
                let [a, b, c] = digits;
                u8::try_from((a << 6) | (b << 3) | c).ok()
            }
            _ => None,
        };
        match octal {
            Some(byte) => {
                bytes.push(byte);
                rest = rest.get(4..).unwrap_or_default();
            }
            None => {
                bytes.push(first);
                rest = tail;
            }
        }
    }
    PathBuf::from(std::ffi::OsString::from_vec(bytes))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mounts_are_read_with_tags_and_escapes() {
        let text =
            b"36 35 98:0 / /mnt/a\\040b\\134c rw,noatime shared:1 master:2 - ext4 /dev/sda1 rw\n\
                     37 35 0:41 / /mnt/win rw - fuseblk /dev/loop0 rw\n\
                     nonsense\n\n40 1 8:x / / rw - ext4 a b\n\
                     41 1 259:1048575 /sub / rw - btrfs /dev/nvme0n1p2 rw";
        let mounts = parse_mounts(text);
        assert_eq!(mounts.len(), 3);
        assert_eq!(
            mounts[0],
            Mount {
                device: rustix::fs::makedev(98, 0),
                point: "/mnt/a b\\c".into(),
                source: "/dev/sda1".into(),
            }
        );
        assert_eq!(mounts[1].source, Path::new("/dev/loop0"));
        assert_eq!(mounts[2].device, rustix::fs::makedev(259, 1_048_575));
    }

    #[test]
    fn swaps_are_read_after_the_heading() {
        let text = b"Filename\tType\tSize\tUsed\tPriority\n/dev/sda2  partition 1 0 -2\n/swap\\040file file 1 0 -3\n";
        assert_eq!(
            parse_swaps(text),
            [PathBuf::from("/dev/sda2"), PathBuf::from("/swap file")]
        );
        assert!(parse_swaps(b"").is_empty());
    }

    #[test]
    fn a_lone_backslash_stays() {
        assert_eq!(unescape(b"a\\"), Path::new("a\\"));
        assert_eq!(unescape(b"\\04"), Path::new("\\04"));
        assert_eq!(unescape(b"\\778"), Path::new("\\778"));
    }

    #[test]
    fn a_fresh_file_is_unused() {
        let file = tempfile::NamedTempFile::new().unwrap();
        let target = Target::of(&file.as_file().metadata().unwrap());
        check_unused(file.path(), target).unwrap();
    }
}
