// SPDX-License-Identifier: GPL-2.0-or-later
//! What the integration tests share: where the data is, which foreign programs are there, how to ask them.
//!
//! A test that lacks something says so with [`skip`] and returns: the line goes to standard error and into the
//! file that `COLDFIX_SKIPPED` names, where `scripts/test` counts it. With `CI` set it panics instead.
//!
//! ```ignore
//! mod support;
//! let Some(packed) = support::data("hives/system-w10-clean.xz") else { return };
//! if !support::require("hivexget") { return }
//! ```
#![allow(
    dead_code,
    unreachable_pub,
    clippy::string_slice,
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

pub mod bench;
pub mod boot_store;
pub mod foreign;
pub mod help;
pub mod keys;
pub mod machine;

use std::ffi::OsStr;
use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::OnceLock;

use sha2::{Digest as _, Sha256};

/// The root of this crate.
pub fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// Says that a test cannot run for want of `what`. Panics where nothing may be skipped.
pub fn skip(what: &str) {
    assert!(
        std::env::var_os("CI").is_none_or(|value| value.is_empty()),
        "SKIPPED: {what}, which is a failure here"
    );
    eprintln!("SKIPPED: {what}");
    if let Some(list) = std::env::var_os("COLDFIX_SKIPPED") {
        let mut list = File::options()
            .append(true)
            .create(true)
            .open(list)
            .expect("open the list of skipped tests");
        // One write per line: several test processes append to the same file.
        list.write_all(format!("{what}\n").as_bytes())
            .expect("add to the list of skipped tests");
    }
}

/// Says how many faults, crashes, mutations or steps a test has gone through: one line on standard output, and in the file
/// that `COLDFIX_PROOFS` names. `name` is one word and tells the line from every other of its kind.
pub fn proof(kind: &str, name: &str, count: u64) {
    assert!(count > 0, "{kind} {name}: nothing was tried");
    assert!(
        ["faults", "crashes", "mutations", "steps"].contains(&kind),
        "{kind}"
    );
    assert!(!name.contains(char::is_whitespace), "{name}");
    let line = format!("proof: {kind} {name} {count}\n");
    print!("{line}");
    if let Some(list) = std::env::var_os("COLDFIX_PROOFS").filter(|list| !list.is_empty()) {
        let mut list = File::options()
            .append(true)
            .create(true)
            .open(list)
            .expect("open the list of proofs");
        // One write per line: several test processes append to the same file.
        list.write_all(line.as_bytes())
            .expect("add to the list of proofs");
    }
}

/// The folder of files that real Windows made: `COLDFIX_TEST_DATA`, else `../shared/data` beside this tree.
pub fn data_folder() -> PathBuf {
    match std::env::var_os("COLDFIX_TEST_DATA") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => root().join("../shared/data"),
    }
}

/// A file or folder of the real data, such as `hives/system-w10-clean.xz`. None, and counted, when it is not there.
pub fn data(name: &str) -> Option<PathBuf> {
    let folder = data_folder();
    let path = folder.join(name);
    if path.exists() {
        return Some(path);
    }
    // A name that the folder does not have is a mistake in the test, not a machine without the data.
    assert!(!folder.is_dir(), "{} is not there", path.display());
    skip("the test data (COLDFIX_TEST_DATA)");
    None
}

/// All files of a folder of the real data, sorted. Empty, and counted, when it is not there.
pub fn data_files(name: &str) -> Vec<PathBuf> {
    let Some(folder) = data(name) else {
        return Vec::new();
    };
    let mut found: Vec<PathBuf> = fs::read_dir(&folder)
        .expect("list the test data")
        .map(|entry| entry.expect("list the test data").path())
        .filter(|path| path.is_file())
        .collect();
    found.sort();
    found
}

/// The content of a file, unpacked with `xz` when its name ends in `.xz`.
pub fn unxz(path: &Path) -> Vec<u8> {
    if path.extension() != Some(OsStr::new("xz")) {
        return fs::read(path).expect("read the test data");
    }
    run(Command::new("xz").arg("-dc").arg(path)).stdout
}

/// Unpacks an image into a new file with holes where it has zeros.
pub fn unxz_to(path: &Path, target: &Path) {
    let mut unpack = Command::new("xz")
        .arg("-dc")
        .arg(path)
        .stdout(Stdio::piped())
        .spawn()
        .expect("run xz");
    let mut output = unpack.stdout.take().expect("the output of xz");
    let mut file = File::create(target).expect("create the image");
    let mut chunk = vec![0_u8; 64 * 1024];
    let mut length = 0_u64;
    loop {
        let mut filled = 0;
        while filled < chunk.len() {
            match output.read(&mut chunk[filled..]).expect("read from xz") {
                0 => break,
                count => filled += count,
            }
        }
        if filled == 0 {
            break;
        }
        if chunk[..filled].iter().any(|byte| *byte != 0) {
            file.seek(SeekFrom::Start(length)).expect("seek");
            file.write_all(&chunk[..filled]).expect("write the image");
        }
        length += filled as u64;
    }
    file.set_len(length).expect("set the length of the image");
    assert!(unpack.wait().expect("wait for xz").success(), "xz failed");
}

/// True when the program is there, looked up as root's shell would.
pub fn require(tool: &str) -> bool {
    if find_program(tool).is_some() {
        return true;
    }
    skip(&format!("the program {tool} (scripts/install-oracles)"));
    false
}

/// True when a Python of the right kind can import `module`: `hivex` from Debian, the others from the environment.
pub fn require_python(module: &str) -> bool {
    let found = Command::new(foreign::python(module))
        .args(["-c", &format!("import {module}")])
        .output()
        .is_ok_and(|output| output.status.success());
    if !found {
        skip(&format!(
            "the Python module {module} (scripts/install-oracles)"
        ));
    }
    found
}

fn find_program(tool: &str) -> Option<PathBuf> {
    std::env::split_paths(&search_path())
        .map(|folder| folder.join(tool))
        .find(|path| path.is_file())
}

/// `PATH` with the folders that Debian keeps for root: `reged`, `mkntfs` and `sgdisk` live there.
fn search_path() -> String {
    format!(
        "{}:/usr/local/sbin:/usr/sbin:/sbin",
        std::env::var("PATH").unwrap_or_default()
    )
}

/// A foreign program, with nothing on standard input.
pub fn program(tool: &str) -> Command {
    let mut command = Command::new(find_program(tool).unwrap_or_else(|| PathBuf::from(tool)));
    command.env("PATH", search_path()).stdin(Stdio::null());
    command
}

/// Our own binary, with nothing on standard input and its state below `state` instead of the user's folders.
pub fn coldfix(state: &Path) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_coldfix"));
    command
        .stdin(Stdio::null())
        .env("HOME", state)
        .env("XDG_STATE_HOME", state)
        .env("XDG_DATA_HOME", state)
        .env("NO_COLOR", "1")
        .env("COLDFIX_LANG", "en");
    command
}

/// Runs a command as a report shows it, in a shell that finds our binary, and in this folder. It must succeed.
pub fn typed(command: &str, state: &Path, folder: &Path) -> Output {
    let ours = Path::new(env!("CARGO_BIN_EXE_coldfix"));
    let ours = ours.parent().expect("a folder").display();
    run(Command::new("sh")
        .args(["-c", command])
        .current_dir(folder)
        .stdin(Stdio::null())
        .env("PATH", format!("{ours}:{}", search_path()))
        .env("HOME", state)
        .env("XDG_STATE_HOME", state)
        .env("XDG_DATA_HOME", state)
        .env("NO_COLOR", "1")
        .env("COLDFIX_LANG", "en"))
}

/// Runs a command that must succeed; shows what it printed when it does not.
pub fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}{}",
        output.status,
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// The SHA-256 of a file, in lower-case hexadecimal.
pub fn sha256(path: &Path) -> String {
    let mut file = File::open(path).expect("open the file to hash");
    let mut hash = Sha256::new();
    let mut chunk = vec![0_u8; 1 << 20];
    loop {
        match file.read(&mut chunk).expect("read the file to hash") {
            0 => break,
            count => hash.update(&chunk[..count]),
        }
    }
    hash.finalize()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// The SHA-256 of every file below a folder, by its path.
pub fn sha256_tree(folder: &Path) -> std::collections::BTreeMap<PathBuf, String> {
    let mut sums = std::collections::BTreeMap::new();
    let mut open = vec![folder.to_owned()];
    while let Some(next) = open.pop() {
        for entry in fs::read_dir(&next).expect("list the folder") {
            let path = entry.expect("list the folder").path();
            if path.is_dir() {
                open.push(path);
            } else {
                sums.insert(path.clone(), sha256(&path));
            }
        }
    }
    sums
}

/// A folder that goes away with the value.
pub fn temporary() -> tempfile::TempDir {
    tempfile::tempdir().expect("make a temporary folder")
}

/// Copies a file and leaves its holes holes, or copies a folder.
pub fn copy(source: &Path, target: &Path) {
    run(program("cp")
        .args(["-r", "--sparse=always"])
        .arg(source)
        .arg(target));
}

/// The folder in which `scripts/make-fixtures` has built `names`. None, and counted, without its tools or FUSE.
///
/// Shared by all tests: copy what you change.
pub fn fixtures(names: &[&str]) -> Option<PathBuf> {
    static FUSE: OnceLock<bool> = OnceLock::new();
    let disks = names.iter().any(|name| !name.starts_with("folder/"));
    if disks {
        for tool in [
            "mkntfs", "openssl", "ntfs-3g", "sgdisk", "fdisk", "mkfs.fat", "mmd", "mcopy",
            "qemu-img",
        ] {
            if !require(tool) {
                return None;
            }
        }
        if !FUSE.get_or_init(|| {
            File::options()
                .read(true)
                .write(true)
                .open("/dev/fuse")
                .is_ok()
        }) {
            skip("/dev/fuse, to make NTFS fixtures");
            return None;
        }
    }
    let folder = match std::env::var_os("COLDFIX_FIXTURES") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => root().join("target/fixtures"),
    };
    // The script builds only what is missing or out of date, and holds a lock while it does.
    run(program("/usr/bin/python3")
        .arg(root().join("scripts/make-fixtures"))
        .arg(&folder)
        .args(names));
    Some(folder)
}

/// A copy of one fixture in `folder`, to be changed at will.
pub fn fixture(name: &str, folder: &Path) -> Option<PathBuf> {
    let made = fixtures(&[name])?.join(name);
    let target = folder.join(made.file_name().expect("a fixture has a name"));
    copy(&made, &target);
    Some(target)
}

/// Makes SAM or SECURITY with these arguments of `fixtures/accounts.py`.
pub fn make_accounts(hive: &str, arguments: &[&str], target: &Path) {
    let folder = temporary();
    let text = folder.path().join(format!("{hive}.reg"));
    run(program("/usr/bin/python3")
        .arg(root().join("fixtures/accounts.py"))
        .arg(hive.to_lowercase())
        .arg("-o")
        .arg(&text)
        .args(arguments));
    run(program("/usr/bin/python3")
        .arg(root().join("fixtures/make_hive.py"))
        .args(["--prefix", &format!("HKEY_LOCAL_MACHINE\\{hive}")])
        .args(["--minor", "3", "--pad", "262144", "-o"])
        .arg(target)
        .arg(&text));
}

/// The broken server that ships with the repository, unpacked into `folder`, to be changed at will.
pub fn shipped_disk(folder: &Path) -> PathBuf {
    let packed = root().join("fixtures/broken-server.vhdx.gz");
    let target = folder.join("broken-server.vhdx");
    let unpacked = run(program("gzip").arg("-dc").arg(packed)).stdout;
    fs::write(&target, unpacked).expect("write the disk");
    target
}

/// What a run printed, both streams; fails unless it ended with `code`.
#[track_caller]
pub fn ends(output: &Output, code: i32) -> String {
    let shown = format!(
        "{}{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    );
    assert_eq!(output.status.code(), Some(code), "{shown}");
    shown
}
