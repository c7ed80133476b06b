// SPDX-License-Identifier: GPL-2.0-or-later
//! What can be wrong with what starts Windows, in words.

use super::super::{Problem, Severity, Stage};

pub(super) const NO_STORE: Problem = Problem {
    id: "boot.no-store",
    title: "The disk has no boot configuration",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "No volume that can be read holds \\EFI\\Microsoft\\Boot\\BCD or \\Boot\\BCD, and the partition table is known.",
    cause: "Neither \\EFI\\Microsoft\\Boot\\BCD nor \\Boot\\BCD is on any volume that can be read. Unless another disk starts this Windows, the firmware finds nothing to start. A store is made anew with bcdboot on a Windows machine.",
    fixes: &[],
};

pub(super) const UNREADABLE: Problem = Problem {
    id: "boot.unreadable",
    title: "A boot configuration store cannot be read",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "A store is there and cannot be read as a registry hive with boot objects.",
    cause: "The boot manager stops (0xc0000098, 0xc000000f) where it needs this store. It is made anew with bcdboot on a Windows machine.",
    fixes: &[],
};

pub(super) const NOT_STARTED: Problem = Problem {
    id: "boot.not-started",
    title: "No boot configuration starts this Windows",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "Of the stores that can be read none has a loader whose device, osdevice and systemroot are this partition and folder.",
    cause: "The entries name another partition, another folder, or a disk that this is not any more: Windows stops with 0xc000000e or 0xc000000f, or another Windows starts. coldfix does not write devices; mend it with bcdboot, or bcdedit /set device and osdevice, on a Windows machine that has the disk attached.",
    fixes: &[],
};

pub(super) const SEVERAL_STORES: Problem = Problem {
    id: "boot.several-stores",
    title: "Several boot configuration stores start this Windows",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "More than one store that the firmware may read has such a loader.",
    cause: "Which of them counts depends on the firmware, BIOS or UEFI. Name one with --bcd PARTITION:PATH to change it.",
    fixes: &[],
};

pub(super) const IN_SAFE_MODE: Problem = Problem {
    id: "boot.safe-mode",
    title: "Windows is set to start in safe mode",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The entry that starts this Windows has safeboot.",
    cause: "Remote Desktop does not start in safe mode, neither minimal nor with network.",
    fixes: &["safe-mode=off"],
};

pub(super) const IMC: Problem = Problem {
    id: "boot.imc",
    title: "The entry loads a hive that stops Windows",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The entry has imcdevice or imchivename.",
    cause: "imcdevice and imchivename belong to a state of Windows that is set up with an image; left behind, Windows stops with 0x67.",
    fixes: &["boot-imc"],
};

pub(super) const DEBUG: Problem = Problem {
    id: "boot.debug",
    title: "Kernel debugging is switched on",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "The entry has debug set.",
    cause: "Windows talks to a debugger over the port of {dbgsettings}. A serial port that is debugged is not there for the serial console.",
    fixes: &[],
};

pub(super) const SEQUENCE: Problem = Problem {
    id: "boot.sequence",
    title: "A one-time boot sequence is waiting",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "{bootmgr} has bootsequence.",
    cause: "The boot manager starts it once instead of its default entry.",
    fixes: &[],
};

pub(super) const NOT_DEFAULT: Problem = Problem {
    id: "boot.not-default",
    title: "Another entry than this Windows starts by default",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "The default of {bootmgr} is another entry.",
    cause: "Somebody has to choose this Windows in the boot menu.",
    fixes: &[],
};

pub(super) const MANAGER_DEVICE: Problem = Problem {
    id: "boot.manager-device",
    title: "The boot manager's own device is not on this disk",
    severity: Severity::Risk,
    stage: Stage::Start,
    trigger: "The device of {bootmgr} names a partition that this disk does not have.",
    cause: "Its device names a partition that this disk does not have, as after the disk was copied to another one or its signature changed. A BIOS boot manager then stops with 0xc000000e. Mend it with bcdboot, or bcdedit /set {bootmgr} device, on a Windows machine that has the disk attached.",
    fixes: &[],
};

pub(super) const LOADER_PATH: Problem = Problem {
    id: "boot.loader-path",
    title: "The entry's path is not that of a loader for this firmware",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The path of the entry is empty, or does not end as the firmware of the store needs: .efi or .exe.",
    cause: "UEFI starts winload.efi, a BIOS winload.exe. Set the path with `coldfix bcd set`.",
    fixes: &[],
};

pub(super) const LOADER_MISSING: Problem = Problem {
    id: "boot.loader-missing",
    title: "The loader that the entry names is not there",
    severity: Severity::Broken,
    stage: Stage::Start,
    trigger: "The file that the path names is not on the volume.",
    cause: "The boot manager stops with 0xc000000f or 0xc0000225. Copy the file from Windows\\System32\\Boot or from an installation of the same build.",
    fixes: &[],
};
