// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix acl` as a user of icacls uses it; what it writes is read by dissect and Samba.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::path::{Path, PathBuf};
use std::process::Command;

use support::foreign;
use support::keys::samba;

const KEYS: &str = r"C:\ProgramData\Microsoft\Crypto\RSA\MachineKeys";
const RDP_KEY: &str = "f686aace6942fb7f7ceb231212eef4a4_7f0c0e52-3c5d-4b8e-9f6a-52a1c7e0d3b4";

struct Disk {
    folder: tempfile::TempDir,
    state: tempfile::TempDir,
    path: PathBuf,
    original: String,
}

impl Disk {
    /// None, and counted, without the programs that make and judge it.
    fn new() -> Option<Disk> {
        let (folder, state) = (support::temporary(), support::temporary());
        let path = support::fixture("keys-healthy.raw", folder.path())?;
        let judges = support::require("ntfssecaudit")
            && support::require("ntfsresize")
            && support::require_python("dissect.ntfs");
        let original = support::sha256(&path);
        judges.then_some(Disk {
            folder,
            state,
            path,
            original,
        })
    }

    /// `coldfix acl COMMAND disk ARGUMENTS`: the exit code and what is printed.
    fn acl(&self, command: &str, arguments: &[&str]) -> (i32, String) {
        let output = support::coldfix(self.state.path())
            .args(["acl", command])
            .arg(&self.path)
            .args(arguments)
            .output()
            .unwrap();
        let text = [output.stdout, output.stderr].concat();
        let text = String::from_utf8(text).unwrap();
        (output.status.code().unwrap(), text)
    }

    #[track_caller]
    fn done(&self, command: &str, arguments: &[&str]) -> String {
        let (code, text) = self.acl(command, arguments);
        assert_eq!(code, 0, "{text}");
        text
    }

    #[track_caller]
    fn fails(&self, command: &str, arguments: &[&str], code: i32) -> String {
        let before = support::sha256(&self.path);
        let (found, text) = self.acl(command, arguments);
        assert_eq!(found, code, "{text}");
        assert!(text.contains("next:") || code == 2, "{text}");
        assert_eq!(support::sha256(&self.path), before, "nothing is written");
        text
    }

    fn undo(&self) {
        let output = support::coldfix(self.state.path())
            .arg("undo")
            .arg(&self.path)
            .arg("--yes")
            .output()
            .unwrap();
        assert!(output.status.success());
    }

    /// Foreign programs find the volume sound.
    fn audit(&self) {
        foreign::ntfssecaudit(&self.path);
        support::run(
            support::program("ntfsresize")
                .args(["-i", "-f"])
                .arg(&self.path),
        );
    }

    /// The descriptor of a file as dissect finds it, in hexadecimal.
    fn hex(&self, path: &str) -> String {
        let script = support::root().join("tests/oracles/descriptors.py");
        let output = support::run(
            Command::new(foreign::python("dissect.ntfs"))
                .arg(script)
                .arg(&self.path)
                .args(["0", path]),
        );
        let text = String::from_utf8(output.stdout).unwrap();
        text.trim_end().split_once('\t').unwrap().1.to_owned()
    }
}

fn below(name: &str) -> String {
    format!(r"{KEYS}\{name}")
}

fn dissect_path(path: &str) -> String {
    path.trim_start_matches(r"C:\").replace('\\', "/")
}

#[test]
fn show_prints_what_icacls_prints() {
    let Some(disk) = Disk::new() else { return };
    let shown = KEYS.trim_start_matches("C:");
    let indent = " ".repeat(shown.len());
    assert_eq!(
        disk.done("show", &[KEYS]),
        format!(
            "{shown} Everyone:(R,W)\n{indent} BUILTIN\\Administrators:(F)\n\n\
             Successfully processed 1 files; Failed processing 0 files\n"
        )
    );
    // However the path is spelt, and with icacls' switch.
    let all = disk.done(
        "show",
        &["programdata/microsoft/crypto/rsa/machinekeys", "/t"],
    );
    assert_eq!(all, disk.done("show", &[KEYS, "-r"]));
    assert!(
        all.contains(&format!("{shown}\\{RDP_KEY} NT AUTHORITY\\SYSTEM:(F)\n")),
        "{all}"
    );
    assert!(all.contains("NT SERVICE\\SessionEnv:(F)\n"), "{all}");
    assert!(all.ends_with("Successfully processed 3 files; Failed processing 0 files\n"));
    assert_eq!(
        disk.done("show", &[KEYS, "--sddl"]),
        format!("{shown} O:SYG:SYD:PAI(A;;0x12019f;;;WD)(A;;FA;;;BA)\n")
    );
    let json = disk.done("show", &[KEYS, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_str(&json).unwrap();
    assert_eq!(json["objects"][0]["owner"], "S-1-5-18");
    assert_eq!(json["objects"][0]["owner_name"], r"NT AUTHORITY\SYSTEM");
    assert_eq!(json["objects"][0]["entries"][0], "Everyone:(R,W)");
    // The volume's own files are nobody's business.
    let root = disk.done("show", &["\\", "-r"]);
    assert!(
        !root.contains("$MFT") && root.contains(r"\Windows\System32\config"),
        "{root}"
    );
    disk.fails("show", &[r"ProgramData\nothing"], 2);
    assert_eq!(support::sha256(&disk.path), disk.original);
}

#[test]
fn what_is_saved_can_be_restored() {
    let Some(disk) = Disk::new() else { return };
    let file = disk.folder.path().join("saved.txt");
    let file = file.to_str().unwrap();
    let key = dissect_path(&below(RDP_KEY));
    let folder = dissect_path(KEYS);
    let before = (disk.hex(&folder), disk.hex(&key));
    disk.done("save", &[KEYS, file, "-r"]);
    let bytes = std::fs::read(file).unwrap();
    assert!(bytes.starts_with(b"\xff\xfeM\0a\0c\0h\0"));
    disk.fails("save", &[KEYS, file], 3);
    disk.done("grant", &[KEYS, "Everyone:F", "-r", "--replace", "--yes"]);
    assert_ne!(disk.hex(&key), before.1);
    disk.audit();
    let text = disk.done(
        "restore",
        &[r"C:\ProgramData\Microsoft\Crypto\RSA", file, "--yes"],
    );
    assert!(text.contains("1 change written and verified"), "{text}");
    // The same entries; our layout of them differs from the one that was there.
    if support::require_python("samba") {
        assert_eq!(
            samba(&[&disk.hex(&folder), &disk.hex(&key)]),
            samba(&[&before.0, &before.1])
        );
    }
    disk.audit();
    let text = disk.done(
        "restore",
        &[r"C:\ProgramData\Microsoft\Crypto\RSA", file, "--yes"],
    );
    assert!(text.contains("nothing to change"), "{text}");
    // Names that are not there are said, and the rest is done.
    let (code, text) = disk.acl("restore", &["Windows", file, "--yes"]);
    assert_eq!(code, 1, "{text}");
    assert!(text.contains(r"\Windows\MachineKeys: not there"), "{text}");
    disk.undo();
    disk.undo();
    assert_eq!(support::sha256(&disk.path), disk.original);
}

#[test]
fn grants_reach_what_inherits_and_reset_takes_them_back() {
    let Some(disk) = Disk::new() else { return };
    let rsa = r"ProgramData\Microsoft\Crypto\RSA";
    let text = disk.done("grant", &[rsa, r"BUILTIN\Users:(OI)(CI)RX", "--yes"]);
    assert!(text.contains("undo: coldfix undo"), "{text}");
    // MachineKeys is protected: nothing reaches it, and what is in it stays.
    assert_eq!(
        disk.done("show", &[KEYS, "--sddl"]).trim_end(),
        r"\ProgramData\Microsoft\Crypto\RSA\MachineKeys O:SYG:SYD:PAI(A;;0x12019f;;;WD)(A;;FA;;;BA)"
    );
    // Without protection it comes from the folder above, for files and folders alike.
    disk.done("reset", &[KEYS, "-r", "--yes"]);
    let all = disk.done("show", &[KEYS, "-r", "--sddl"]);
    let lines: Vec<&str> = all.lines().collect();
    assert!(lines[0].contains("(A;OICIID;0x1200a9;;;BU)"), "{all}");
    assert!(
        lines[1..]
            .iter()
            .all(|line| line.contains("(A;ID;0x1200a9;;;BU)")),
        "{all}"
    );
    assert!(lines.iter().all(|line| line.contains("D:AI(")), "{all}");
    disk.audit();
    // Now they inherit: another grant above reaches all of them.
    disk.done("grant", &[rsa, r"*S-1-5-20:(OI)(CI)R", "--yes"]);
    let all = disk.done("show", &[KEYS, "-r"]);
    assert_eq!(
        all.matches(r"NT AUTHORITY\NETWORK SERVICE:(I)").count(),
        3,
        "{all}"
    );
    disk.audit();
    for _ in 0..3 {
        disk.undo();
    }
    assert_eq!(support::sha256(&disk.path), disk.original);
}

#[test]
fn owners_and_dry_runs() {
    let Some(disk) = Disk::new() else { return };
    let key = below(RDP_KEY);
    let text = disk.done("grant", &[&key, "--owner", "--dry-run"]);
    assert!(text.contains("O:BAG:SY"), "{text}");
    assert_eq!(support::sha256(&disk.path), disk.original);
    disk.done(
        "grant",
        &[
            &key,
            r"NT SERVICE\TermService:R",
            "--owner=*S-1-5-21-1-2-3-500",
            "--yes",
        ],
    );
    let shown = disk.done("show", &[&key, "--sddl"]);
    assert!(shown.contains("O:S-1-5-21-1-2-3-500G:SY"), "{shown}");
    assert!(
        disk.done("show", &[&key])
            .contains(r"NT SERVICE\TermService:(R)")
    );
    disk.audit();
    disk.undo();
    assert_eq!(support::sha256(&disk.path), disk.original);
}

#[test]
fn what_cannot_be_done_is_refused() {
    let Some(disk) = Disk::new() else { return };
    disk.fails("grant", &[KEYS, "nobody here:R", "--yes"], 3);
    disk.fails("grant", &[KEYS, "Everyone:Q", "--yes"], 3);
    disk.fails("grant", &[KEYS, "Everyone:(I)R", "--yes"], 3);
    disk.fails("grant", &[KEYS, "Everyone:F"], 3); // no terminal to ask on
    disk.fails("grant", &[KEYS], 2);
    disk.fails("reset", &["\\", "--yes"], 3);
    disk.fails("grant", &["$MFT", "Everyone:F", "--yes"], 2);
    disk.fails("save", &["\\", "/nowhere/x"], 3);
    disk.fails("grant", &[KEYS, "Everyone:F", "--read-only", "--yes"], 3);
    assert_eq!(support::sha256(&disk.path), disk.original);
    assert!(!Path::new(&format!("{}.coldfix", disk.path.display())).exists());
}
