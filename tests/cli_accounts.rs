// SPDX-License-Identifier: GPL-2.0-or-later
//! Accounts, groups and passwords through the binary: what it says of them, and what it makes of them in the eyes of
//! impacket, chntpw's tools and hivex.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeMap;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

use support::ends;
use support::foreign::{self, Reader};
use tempfile::TempDir;

const MACHINE: &str = "S-1-5-21-2571216883-1664221321-2985017447";
const FOREIGN: &str = "S-1-5-21-1-2-3";
const MEMBERS: &str = r"SAM\Domains\Builtin\Aliases\Members";
const RDP_USERS: &str = r"SAM\Domains\Builtin\Aliases\0000022B";
const PASSWORD: &str = "Kölner Dom, 157 m";

/// A healthy installation in a folder, whose SAM and SECURITY can be made anew.
struct Bench {
    folder: TempDir,
    state: TempDir,
}

impl Bench {
    /// With the SAM that these arguments of `fixtures/accounts.py` describe. None without fixtures.
    fn new(sam: &[&str]) -> Option<Bench> {
        let folder = support::temporary();
        support::fixture("folder/healthy", folder.path())?;
        let bench = Bench {
            folder,
            state: support::temporary(),
        };
        bench.make("SAM", sam);
        Some(bench)
    }

    fn target(&self) -> PathBuf {
        self.folder.path().join("healthy")
    }

    fn hive(&self, name: &str) -> PathBuf {
        self.target().join("Windows/System32/config").join(name)
    }

    fn make(&self, hive: &str, arguments: &[&str]) {
        support::make_accounts(hive, arguments, &self.hive(hive));
    }

    fn command(&self, arguments: &[&str]) -> Command {
        let mut command = support::coldfix(self.state.path());
        command
            .arg(arguments[0])
            .arg(self.target())
            .args(&arguments[1..])
            .env_remove("COLDFIX_PASSWORD");
        command
    }

    fn run(&self, arguments: &[&str]) -> Output {
        self.command(arguments).output().expect("run coldfix")
    }

    fn repair(&self, fixes: &[&str]) -> Output {
        let mut arguments = vec!["repair", "--yes"];
        for fix in fixes {
            arguments.extend(["--fix", fix]);
        }
        self.run(&arguments)
    }

    /// The findings of a diagnosis: id and severity.
    fn findings(&self) -> BTreeMap<String, String> {
        self.report()["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| {
                let text = |name: &str| finding[name].as_str().unwrap().to_owned();
                (text("id"), text("severity"))
            })
            .collect()
    }

    fn report(&self) -> serde_json::Value {
        let output = self.run(&["diagnose", "--format", "json"]);
        serde_json::from_slice(&output.stdout)
            .unwrap_or_else(|error| panic!("{error}: {}", String::from_utf8_lossy(&output.stderr)))
    }

    /// The NT hashes by RID, as impacket decrypts them.
    fn hashes(&self) -> BTreeMap<u32, String> {
        let output = support::run(
            Command::new(foreign::python("impacket"))
                .arg(support::root().join("tests/oracles/sam_dump.py"))
                .arg(self.hive("SAM"))
                .arg(self.hive("SYSTEM")),
        );
        let text = String::from_utf8(output.stdout).unwrap();
        let hashes: BTreeMap<u32, String> = text
            .lines()
            .map(|line| {
                let parts: Vec<&str> = line.split('\t').collect();
                (parts[0].parse().unwrap(), parts[2].to_owned())
            })
            .collect();
        assert!(hashes.len() > 2, "{text}");
        hashes
    }

    /// The account control bits by RID, as chntpw's tools print them (without the upper half).
    fn control(&self) -> BTreeMap<u32, u32> {
        let text = chntpw("sampasswd", &["-l"], &self.hive("SAM"));
        text.lines()
            .filter_map(|line| {
                let parts: Vec<&str> = line.split(':').collect();
                let number = |at: usize| u32::from_str_radix(parts.get(at)?, 16).ok();
                // 8000 is its own word for: disabled.
                Some((number(0)?, number(3)? & 0x7fff))
            })
            .collect()
    }

    /// The members of a group, as chntpw's tools list them.
    fn members(&self, group: &str) -> Vec<String> {
        group_members(&self.hive("SAM"), group)
    }

    /// A default value of SAM: its type and data, as hivex reads them.
    fn default(&self, key: &str) -> Option<(u32, Vec<u8>)> {
        foreign::value(Reader::Hivex, &self.hive("SAM"), key, "")
            .map(|value| (value.kind, value.data))
    }
}

fn chntpw(tool: &str, arguments: &[&str], sam: &Path) -> String {
    let output = support::program(tool)
        .args(arguments)
        .arg(sam)
        .output()
        .unwrap();
    String::from_utf8_lossy(&output.stdout).into_owned()
}

fn group_members(sam: &Path, group: &str) -> Vec<String> {
    chntpw("samusrgrp", &["-L"], sam)
        .lines()
        .filter(|line| line.starts_with(&format!("{group}:")))
        .filter_map(|line| line.rsplit(':').next().map(str::to_owned))
        .collect()
}

fn judges() -> bool {
    ["samusrgrp", "sampasswd"]
        .iter()
        .all(|tool| support::require(tool))
        && support::require_python("impacket")
        && Reader::Hivex.available()
}

fn user(rid: u32) -> String {
    format!("{MACHINE}-{rid}")
}

fn hash_of(password: &str) -> String {
    let output = support::run(
        Command::new(foreign::python("impacket"))
            .arg(support::root().join("tests/oracles/sam_blobs.py"))
            .args(["hash", password]),
    );
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

/// What the fixture keeps encrypted is what Cryptodome makes, not what coldfix makes.
#[test]
fn the_fixture_is_made_by_another_program() {
    if !judges() {
        return;
    }
    for generation in ["rc4", "aes"] {
        let Some(bench) = Bench::new(&["--generation", generation]) else {
            return;
        };
        let fixture = fs::read_to_string(support::root().join("fixtures/accounts.py")).unwrap();
        let accounts = [
            (500, "Winter-2024!"),
            (1000, "Autumn-Leaf-7"),
            (1001, "Spring.Rain.3"),
            (1002, "Summer_Sun_9"),
        ];
        for (rid, password) in accounts {
            let made = support::run(
                Command::new(foreign::python("impacket"))
                    .arg(support::root().join("tests/oracles/sam_blobs.py"))
                    .args(["nt", generation, &rid.to_string(), password]),
            );
            let made = String::from_utf8(made.stdout).unwrap();
            assert!(fixture.contains(made.trim()), "{generation} {rid}");
            assert_eq!(bench.hashes()[&rid], hash_of(password));
        }
        assert!(bench.findings().is_empty(), "{:?}", bench.findings());
        assert_eq!(bench.members("22b"), [user(1000)]);
    }
}

#[test]
fn a_new_password_is_what_impacket_finds() {
    if !judges() {
        return;
    }
    let expected = hash_of(PASSWORD);
    for generation in ["rc4", "aes"] {
        // An account with a password, one without, and one that is locked and has to change it.
        let Some(bench) = Bench::new(&[
            "--generation",
            generation,
            "--blank",
            "1002",
            "--control",
            "1001=0x20214",
            "--bad",
            "1001=9,133700000000000000",
            "--last-set",
            "1001=0",
        ]) else {
            return;
        };
        for (rid, name) in [(1000, "ann"), (1001, "BOB"), (1002, "1002"), (500, "0x1f4")] {
            let before = fs::read(bench.hive("SAM")).unwrap();
            let mut hashes = bench.hashes();
            let fix = format!("password={name}");
            let plan = bench.state.path().join("plan.json");
            let _ = fs::remove_file(&plan);
            let output = bench
                .command(&["repair", "--yes", "--fix", &fix])
                .args(["--plan-out", plan.to_str().unwrap()])
                .env("COLDFIX_PASSWORD", PASSWORD)
                .output()
                .unwrap();
            let shown = ends(&output, 0);
            hashes.insert(rid, expected.clone());
            assert_eq!(bench.hashes(), hashes, "{generation} {rid}");
            assert!(shown.contains("(secret)"), "{shown}");
            assert!(shown.contains("DPAPI"), "{shown}");
            // Set now, not expired, not locked.
            let key = format!(r"SAM\Domains\Account\Users\{rid:08X}");
            let f = foreign::value(Reader::Hivex, &bench.hive("SAM"), &key, "F").unwrap();
            let number = |at: usize, len: usize| {
                let mut bytes = [0; 8];
                bytes[..len].copy_from_slice(&f.data[at..at + len]);
                u64::from_le_bytes(bytes)
            };
            assert!(number(0x18, 8) > 134_000_000_000_000_000, "set now");
            assert_eq!(number(0x38, 4) & 0x2_0400, 0, "control");
            assert_eq!(number(0x40, 2), 0, "bad passwords");

            // Neither the password nor its hash anywhere, in any form, but encrypted in the hive.
            let mut written = vec![shown.into_bytes(), fs::read(&plan).unwrap()];
            for (path, _) in support::sha256_tree(bench.state.path()) {
                written.push(fs::read(path).unwrap());
            }
            written.push(fs::read(bench.hive("SAM")).unwrap());
            assert!(written.len() > 4);
            let raw: Vec<u8> = (0..16)
                .map(|at| u8::from_str_radix(&expected[2 * at..2 * at + 2], 16).unwrap())
                .collect();
            let secrets = [
                PASSWORD.as_bytes().to_vec(),
                PASSWORD.encode_utf16().flat_map(u16::to_le_bytes).collect(),
                expected.clone().into_bytes(),
                expected.to_uppercase().into_bytes(),
                raw,
            ];
            for bytes in &written {
                for secret in &secrets {
                    assert!(!bytes.windows(secret.len()).any(|part| part == secret));
                }
            }
            ends(&bench.run(&["undo", "--yes"]), 0);
            assert!(fs::read(bench.hive("SAM")).unwrap() == before);
            ends(
                &bench.run(&["repair", "--yes", "--plan", plan.to_str().unwrap()]),
                0,
            );
            assert_eq!(bench.hashes(), hashes, "by its plan");
        }
    }
}

/// Several fixes of one account in one run write the same values, and each keeps what the others did.
#[test]
fn fixes_of_one_account_add_up() {
    if !judges() {
        return;
    }
    let Some(bench) = Bench::new(&[
        "--control",
        "1002=0x211",
        "--blank",
        "1002",
        "--expires",
        "1002=9",
    ]) else {
        return;
    };
    let mut child = bench
        .command(&["repair", "--yes", "--password-fd", "0"])
        .args(["--fix", "account=carl:enable", "--fix", "password=carl"])
        .args([
            "--fix",
            "rdp-users=carl",
            "--fix",
            "account=carl:never-expires",
        ])
        .args(["--fix", &format!("rdp-users={}", user(1001))])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input
        .write_all(format!("{PASSWORD}\r\nnot this").as_bytes())
        .unwrap();
    drop(input);
    let shown = ends(&child.wait_with_output().unwrap(), 0);
    assert!(!shown.contains("not this"), "{shown}");
    assert_eq!(bench.hashes()[&1002], hash_of(PASSWORD));
    assert_eq!(bench.control()[&1002], 0x210);
    assert_eq!(bench.members("22b"), [user(1000), user(1002), user(1001)]);
    let key = r"SAM\Domains\Account\Users\000003EA";
    let f = foreign::value(Reader::Hivex, &bench.hive("SAM"), key, "F").unwrap();
    assert_eq!(f.data[0x20..0x28], 0x7fff_ffff_ffff_ffff_u64.to_le_bytes());
    assert!(bench.findings().is_empty(), "{:?}", bench.findings());
}

#[test]
fn members_are_added_to_both_records() {
    if !judges() {
        return;
    }
    let Some(bench) = Bench::new(&[]) else { return };
    let machine = format!(r"{MEMBERS}\{MACHINE}");
    assert_eq!(bench.default(&machine).unwrap(), (5, vec![]));

    // In no group yet: a new key, and one account more in the domain.
    ends(&bench.repair(&["rdp-users=carl"]), 0);
    assert_eq!(bench.members("22b"), [user(1000), user(1002)]);
    let entry = (1, vec![0x2b, 2, 0, 0]);
    assert_eq!(
        bench.default(&format!(r"{machine}\000003EA")).unwrap(),
        entry
    );
    assert_eq!(bench.default(&machine).unwrap(), (6, vec![]));

    // Edit by edit back, as after Windows has run, and once more.
    ends(&bench.run(&["undo", "--revert", "--yes"]), 0);
    assert_eq!(bench.members("22b"), [user(1000)]);
    assert_eq!(bench.default(&format!(r"{machine}\000003EA")), None);
    assert_eq!(bench.default(&machine).unwrap(), (5, vec![]));
    ends(&bench.repair(&["rdp-users=carl"]), 0);

    // In another group: its entry grows.
    ends(&bench.repair(&["rdp-users=bob"]), 0);
    assert_eq!(bench.members("22b"), [user(1000), user(1002), user(1001)]);
    let entry = (2, vec![0x21, 2, 0, 0, 0x2b, 2, 0, 0]);
    assert_eq!(
        bench.default(&format!(r"{machine}\000003E9")).unwrap(),
        entry
    );
    assert_eq!(bench.default(&machine).unwrap(), (6, vec![]));

    // Of a domain that the disk does not know: a new domain.
    let shown = ends(&bench.repair(&[&format!("rdp-users={FOREIGN}-1105")]), 0);
    assert!(!shown.contains("lowers security"), "{shown}");
    let expected = [
        user(1000),
        user(1002),
        user(1001),
        format!("{FOREIGN}-1105"),
    ];
    assert_eq!(bench.members("22b"), expected);
    let domain = format!(r"{MEMBERS}\{FOREIGN}");
    assert_eq!(bench.default(&domain).unwrap(), (1, vec![]));
    let entry = (1, vec![0x2b, 2, 0, 0]);
    assert_eq!(
        bench.default(&format!(r"{domain}\00000451")).unwrap(),
        entry
    );
    // The root's number is no count.
    assert_eq!(bench.default(MEMBERS).unwrap(), (1, vec![]));

    // A second one of that domain.
    ends(&bench.repair(&[&format!("rdp-users=*{FOREIGN}-1106")]), 0);
    assert_eq!(bench.default(&domain).unwrap(), (2, vec![]));

    // Members already.
    let before = fs::read(bench.hive("SAM")).unwrap();
    let shown = ends(
        &bench.repair(&["rdp-users=ann", "rdp-users=BOB", "rdp-users=1002"]),
        0,
    );
    assert!(shown.contains("nothing to change"), "{shown}");
    assert!(fs::read(bench.hive("SAM")).unwrap() == before);

    // Back, one by one.
    for count in [4, 3, 2, 1] {
        assert_eq!(bench.members("22b").len(), count + 1);
        ends(&bench.run(&["undo", "--yes"]), 0);
    }
    assert_eq!(bench.members("22b"), [user(1000)]);
    assert!(bench.findings().is_empty());
}

/// The tree says one thing, the group another: what is missing is added, in the other record nothing changes.
#[test]
fn a_membership_recorded_once_is_made_whole() {
    if !judges() {
        return;
    }
    let Some(bench) = Bench::new(&[]) else { return };
    let value = |name: &str| foreign::value(Reader::Hivex, &bench.hive("SAM"), RDP_USERS, name);
    let key = format!(r"HKLM\SAM\{MEMBERS}\{MACHINE}\000003E8");
    let whole = value("C").unwrap();
    let delete = |arguments: &[&str]| {
        let mut command = support::coldfix(bench.state.path());
        command.args(["reg", arguments[0]]).arg(bench.target());
        ends(&command.args(&arguments[1..]).output().unwrap(), 0)
    };
    delete(&["delete", &key, "--yes"]);
    // A hand that deleted the key did not keep the count.
    ends(&bench.repair(&["rdp-users=ann"]), 0);
    let entry = bench
        .default(&format!(r"{MEMBERS}\{MACHINE}\000003E8"))
        .unwrap();
    assert_eq!(entry, (1, vec![0x2b, 2, 0, 0]));
    assert_eq!(value("C").unwrap(), whole);

    // In the tree alone.
    bench.make("SAM", &["--group", "0x22b="]);
    assert_eq!(bench.members("22b"), [""; 0]);
    ends(&bench.repair(&["rdp-users=ann"]), 0);
    assert_eq!(bench.members("22b"), [user(1000)]);
    let tree = bench
        .default(&format!(r"{MEMBERS}\{MACHINE}\000003E8"))
        .unwrap();
    assert_eq!(tree, (2, vec![0x21, 2, 0, 0, 0x2b, 2, 0, 0]));
}

#[test]
fn accounts_are_enabled_and_unlocked() {
    if !judges() {
        return;
    }
    let now = 134_100_000_000_000_000_u64; // 2025-12
    let bad = format!("1000=5,{now}");
    let Some(bench) = Bench::new(&[
        "--control",
        "1001=0x211",
        "--bad",
        &bad,
        "--threshold",
        "5",
        "--name",
        "1001=Bärbel Schmidt",
        "--group",
        "0x220=500,1001",
    ]) else {
        return;
    };
    let found = || {
        let output = bench
            .command(&["diagnose", "--format", "json"])
            // Ten minutes after the last bad password.
            .env("SOURCE_DATE_EPOCH", "1765527000")
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().clone();
        findings
            .iter()
            .map(|finding| format!("{} {}", finding["id"], finding["fixes"]))
            .collect::<Vec<_>>()
    };
    assert_eq!(
        found(),
        [
            r#""accounts.disabled" ["account=1001:enable"]"#,
            r#""accounts.locked" ["account=ann:unlock"]"#
        ]
    );
    // Now the lockout is over.
    assert_eq!(bench.findings().len(), 1);
    assert_eq!(bench.control()[&1001], 0x211);
    ends(&bench.repair(&["account=1001:enable"]), 0);
    assert_eq!(bench.control()[&1001], 0x210);
    let shown = ends(&bench.repair(&["account=ANN:unlock"]), 0);
    assert!(shown.contains("0 bad passwords"), "{shown}");
    assert_eq!(found(), [""; 0]);
    assert_eq!(bench.control()[&1000], 0x210);
    for wrong in [
        "account=ann",
        "account=ann:",
        "account=:enable",
        "account=ann:sing",
    ] {
        let shown = ends(&bench.repair(&[wrong]), 2);
        assert!(shown.contains("enable, unlock"), "{shown}");
    }
    let shown = ends(&bench.repair(&["account=nobody:enable"]), 3);
    assert!(
        shown.contains("bob") || shown.contains("ann (RID 1000)"),
        "{shown}"
    );
}

#[test]
fn what_cannot_be_done_is_refused_and_nothing_is_written() {
    if !judges() {
        return;
    }
    let refused = |bench: &Bench, fix: &str, password: Option<&str>, says: &str| {
        let before = support::sha256_tree(bench.folder.path());
        let mut command = bench.command(&["repair", "--yes", "--fix", fix]);
        if let Some(password) = password {
            command.env("COLDFIX_PASSWORD", password);
        }
        let output = command.output().unwrap();
        let shown = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        assert!([2, 3].contains(&output.status.code().unwrap()), "{shown}");
        assert!(shown.contains(says), "{says:?} is not in {shown}");
        assert!(password.is_none_or(|password| password.is_empty() || !shown.contains(password)));
        assert_eq!(support::sha256_tree(bench.folder.path()), before);
    };
    let Some(bench) = Bench::new(&["--online", "1001=bob@example.com"]) else {
        return;
    };
    let some = Some("Some-Secret-1");
    refused(
        &bench,
        "password=bob",
        some,
        "Microsoft account bob@example.com",
    );
    refused(&bench, "password=ann", None, "no terminal");
    refused(&bench, "password=ann", Some(""), "no terminal");
    refused(&bench, "password=dora", some, "ann (RID 1000)");
    refused(&bench, "password", some, "takes the name");
    refused(
        &bench,
        "password=ann",
        Some(&"x".repeat(128)),
        "128 characters",
    );
    refused(&bench, "password=ann", Some("tab\there"), "cannot be typed");
    refused(&bench, "rdp-users=dora", None, "ann (RID 1000)");
    refused(&bench, "rdp-users=Users", None, "local group");
    refused(
        &bench,
        &format!("rdp-users={MACHINE}-4711"),
        None,
        "no account",
    );
    refused(&bench, "rdp-users", None, "takes the name");
    let reg = |arguments: &[&str]| {
        let mut command = support::coldfix(bench.state.path());
        command.args(["reg", "add"]).arg(bench.target());
        ends(&command.args(arguments).arg("--yes").output().unwrap(), 0);
    };
    // A group that cannot be read is not written.
    let group = format!(r"HKLM\SAM\{RDP_USERS}");
    let c = foreign::value(Reader::Hivex, &bench.hive("SAM"), RDP_USERS, "C").unwrap();
    reg(&[
        &group,
        "-v",
        "C",
        "-t",
        "REG_BINARY",
        "-d",
        "2B02000000000000",
    ]);
    refused(&bench, "rdp-users=bob", None, "cannot be read");
    assert_eq!(bench.findings()["accounts.unclear"], "risk");
    let hex: String = c.data.iter().map(|byte| format!("{byte:02X}")).collect();
    reg(&[&group, "-v", "C", "-t", "REG_BINARY", "-d", &hex]);
    assert!(bench.findings().is_empty());
    // An account's list that cannot be read is not written, nor is the group then.
    let list = format!(r"HKLM\SAM\{MEMBERS}\{MACHINE}\000003E9");
    reg(&[&list, "--ve", "-t", "REG_BINARY", "-d", "21020000"]);
    refused(&bench, "rdp-users=bob", None, "not as Windows keeps it");

    let lsa = r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa";
    for (mode, says) in [("2", "typed at start"), ("3", "floppy")] {
        reg(&[lsa, "-v", "SecureBoot", "-t", "REG_DWORD", "-d", mode]);
        refused(&bench, "password=ann", some, says);
    }
    reg(&[lsa, "-v", "SecureBoot", "-t", "REG_DWORD", "-d", "1"]);
    let product = r"HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions";
    reg(&[
        product,
        "-v",
        "ProductType",
        "-t",
        "REG_SZ",
        "-d",
        "LanmanNT",
    ]);
    for fix in ["password=ann", "rdp-users=bob", "account=ann:enable"] {
        refused(&bench, fix, some, "domain controller");
    }
    assert!(bench.findings().is_empty(), "{:?}", bench.findings());
    reg(&[
        product,
        "-v",
        "ProductType",
        "-t",
        "REG_SZ",
        "-d",
        "ServerNT",
    ]);
    fs::create_dir_all(bench.target().join("Windows/NTDS")).unwrap();
    fs::write(bench.target().join("Windows/NTDS/ntds.dit"), b"x").unwrap();
    refused(&bench, "rdp-users=bob", None, "ntds.dit is there");
}

/// A SAM of another machine: its key does not open, of either generation.
#[test]
fn hives_of_two_machines_are_not_mixed() {
    for generation in ["rc4", "aes"] {
        let Some(bench) = Bench::new(&["--generation", generation]) else {
            return;
        };
        let system = bench.hive("SYSTEM");
        let mut bytes = fs::read(&system).unwrap();
        // The class name of JD, in UTF-16.
        let class: Vec<u8> = "59f0c1a2"
            .encode_utf16()
            .flat_map(u16::to_le_bytes)
            .collect();
        let at = bytes
            .windows(class.len())
            .position(|part| part == class)
            .unwrap();
        bytes[at] = b'6';
        fs::write(&system, bytes).unwrap();
        let before = support::sha256_tree(bench.folder.path());
        let output = bench
            .command(&["repair", "--yes", "--fix", "password=ann"])
            .env("COLDFIX_PASSWORD", PASSWORD)
            .output()
            .unwrap();
        let shown = ends(&output, 2);
        assert!(shown.contains("do not belong together"), "{shown}");
        assert_eq!(support::sha256_tree(bench.folder.path()), before);
    }
}

#[test]
fn nobody_left_is_found_only_when_it_is_certain() {
    let Some(bench) = Bench::new(&[]) else { return };
    let nobody = |sam: &[&str]| {
        bench.make("SAM", sam);
        let report = bench.report();
        let findings = report["findings"].as_array().unwrap().clone();
        let found = findings
            .iter()
            .find(|finding| finding["id"] == "accounts.nobody")
            .map(|finding| {
                assert_eq!(finding["severity"], "broken");
                assert_eq!(report["verdict"], "broken");
                finding["fixes"].to_string()
            });
        if found.is_none() {
            assert_eq!(report["verdict"], "healthy", "{report}");
        }
        found
    };
    let off = ["--control", "500=0x211", "--control", "1000=0x211"];
    let found = nobody(&off);
    assert_eq!(
        found.as_deref(),
        Some(r#"["account=Administrator:enable","account=ann:enable"]"#)
    );
    // Blank, expired, and locked without end; one of them usable is enough.
    let blank = ["--control", "500=0x211", "--blank", "1000"];
    assert_eq!(
        nobody(&blank).as_deref(),
        Some(r#"["account=Administrator:enable","password=ann"]"#)
    );
    let expired = [
        "--control",
        "500=0x211",
        "--expires",
        "1000=133700000000000000",
    ];
    assert_eq!(
        nobody(&expired).as_deref(),
        Some(r#"["account=Administrator:enable","account=ann:never-expires"]"#)
    );
    assert_eq!(
        nobody(&[
            "--control",
            "500=0x211",
            "--expires",
            "1000=199700000000000000"
        ]),
        None
    );
    // No members at all.
    let none = ["--group", "0x220=", "--group", "0x22b="];
    assert_eq!(
        nobody(&none).as_deref(),
        Some(r#"["rdp-users=Administrator","rdp-users=ann","rdp-users=bob","rdp-users=carl"]"#)
    );

    // Somebody else may: a domain's group, everybody.
    let domain = format!("0x220=500,{FOREIGN}-512");
    assert_eq!(
        nobody(&[
            "--group",
            &domain,
            "--control",
            "500=0x211",
            "--control",
            "1000=0x211"
        ]),
        None
    );
    let everybody = ["--group", "0x22b=S-1-5-11", "--control", "500=0x211"];
    assert_eq!(nobody(&everybody), None);
    // A member that was deleted is nobody.
    let deleted = ["--no-user", "1000", "--control", "500=0x211"];
    assert!(nobody(&deleted).is_some());

    // Setup makes accounts when it goes on.
    bench.make("SAM", &off);
    let mut command = support::coldfix(bench.state.path());
    command.args(["reg", "add"]).arg(bench.target());
    let setup = [
        r"HKLM\SYSTEM\Setup",
        "-v",
        "OOBEInProgress",
        "-t",
        "REG_DWORD",
        "-d",
        "1",
        "--yes",
    ];
    ends(&command.args(setup).output().unwrap(), 0);
    assert!(!bench.findings().contains_key("accounts.nobody"));
}

#[test]
fn notices_name_who_and_what_helps() {
    let Some(bench) = Bench::new(&[]) else { return };
    let found = |sam: &[&str]| {
        bench.make("SAM", sam);
        bench.findings()
    };
    // Those that may not use Remote Desktop do not matter, nor does the built-in Guest.
    assert!(found(&["--control", "1001=0x211", "--blank", "1002"]).is_empty());
    let notice = |id: &str| BTreeMap::from([(id.to_owned(), "notice".to_owned())]);
    assert_eq!(
        found(&["--blank", "1000"]),
        notice("accounts.blank-password")
    );
    assert_eq!(
        found(&["--control", "1000=0x10"]),
        notice("accounts.password-expired")
    );
    assert_eq!(
        found(&["--control", "1000=0x20210"]),
        notice("accounts.password-expired")
    );
    assert_eq!(
        found(&["--expires", "1000=133700000000000000"]),
        notice("accounts.expired")
    );
    // A disabled built-in Administrator is normal on clients.
    assert_eq!(
        found(&["--control", "500=0x211"]),
        notice("accounts.disabled")
    );
    let reg = |arguments: &[&str]| {
        let mut command = support::coldfix(bench.state.path());
        command.args(["reg", "add"]).arg(bench.target());
        ends(&command.args(arguments).arg("--yes").output().unwrap(), 0);
    };
    let product = r"HKLM\SYSTEM\CurrentControlSet\Control\ProductOptions";
    reg(&[product, "-v", "ProductType", "-t", "REG_SZ", "-d", "WinNT"]);
    assert!(bench.findings().is_empty());
    // Blank passwords let in: that is not healthy, but nothing stops the logon.
    let lsa = r"HKLM\SYSTEM\CurrentControlSet\Control\Lsa";
    reg(&[
        lsa,
        "-v",
        "LimitBlankPasswordUse",
        "-t",
        "REG_DWORD",
        "-d",
        "0",
    ]);
    assert_eq!(
        found(&["--blank", "1000"]),
        notice("harden.blank-passwords")
    );
    reg(&[
        lsa,
        "-v",
        "LimitBlankPasswordUse",
        "-t",
        "REG_SZ",
        "-d",
        "0",
    ]);
    assert_eq!(bench.findings()["accounts.unclear"], "risk");
}

/// Numbers in the place of types go through every command unharmed.
#[test]
fn type_numbers_survive_export_and_import() {
    if !judges() {
        return;
    }
    let Some(bench) = Bench::new(&[]) else { return };
    let reg = |arguments: &[&str]| {
        let mut command = support::coldfix(bench.state.path());
        command.args(["reg", arguments[0]]).arg(bench.target());
        ends(&command.args(&arguments[1..]).output().unwrap(), 0)
    };
    let names = r"HKLM\SAM\SAM\Domains\Account\Users\Names\ann";
    let shown = reg(&["query", names]);
    assert!(shown.contains("REG_TYPE_0x3e8"), "{shown}");
    let file = bench.state.path().join("tree.reg");
    let tree = format!(r"HKLM\SAM\{MEMBERS}");
    let users = r"HKLM\SAM\SAM\Domains\Account\Users\Names";
    let dumps = |key: &str| foreign::dump_key(Reader::Hivex, &bench.hive("SAM"), key);
    for (key, below) in [
        (tree.as_str(), MEMBERS),
        (users, r"SAM\Domains\Account\Users\Names"),
    ] {
        let before = dumps(below);
        assert!(before.len() > 5);
        reg(&["export", key, file.to_str().unwrap(), "-y"]);
        reg(&["delete", key, "--yes"]);
        reg(&["import", file.to_str().unwrap(), "--yes"]);
        assert_eq!(dumps(below), before);
    }
}

/// A Windows 8.1 machine's own hives: the hash of its administrator, replaced in its own RC4 form.
#[test]
fn a_real_machine_gets_a_new_password() {
    if !judges() {
        return;
    }
    let Some(bench) = Bench::new(&[]) else { return };
    for (name, file) in [("SAM", "sam-w81"), ("SYSTEM", "system-w81-dirty-nolog")] {
        let Some(packed) = support::data(&format!("hives/{file}.xz")) else {
            return;
        };
        fs::write(bench.hive(name), support::unxz(&packed)).unwrap();
    }
    let mut hashes = bench.hashes();
    let output = bench
        .command(&["repair", "--yes", "--fix", "password=gold_administrator"])
        .args(["--fix", "rdp-users=gold_administrator"])
        .env("COLDFIX_PASSWORD", PASSWORD)
        .output()
        .unwrap();
    ends(&output, 0);
    hashes.insert(1001, hash_of(PASSWORD));
    assert_eq!(bench.hashes(), hashes);
    let machine = "S-1-5-21-4070822719-3404542230-2541167049";
    assert_eq!(bench.members("22b"), [format!("{machine}-1001")]);
}

/// Runs coldfix under a terminal, types two lines when asked, and prints what the terminal showed.
const TERMINAL: &str = r#"
import os, pty, sys, termios, time
answers = [sys.argv[1], sys.argv[2]]
child, terminal = pty.fork()
if child == 0:
    os.execv(sys.argv[3], sys.argv[3:])
shown = b""
while True:
    try:
        part = os.read(terminal, 4096)
    except OSError:
        break
    if not part:
        break
    shown += part
    if answers and shown.endswith(b": "):
        shown += b"\n"
        while termios.tcgetattr(terminal)[3] & termios.ECHO:
            time.sleep(0.01)
        os.write(terminal, answers.pop(0).encode() + b"\n")
sys.stdout.buffer.write(shown)
sys.exit(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
"#;

#[test]
fn a_terminal_is_asked_twice_and_shows_nothing() {
    if !judges() {
        return;
    }
    let Some(bench) = Bench::new(&[]) else { return };
    let run = |first: &str, second: &str| {
        let command = bench.command(&["repair", "--yes", "--fix", "password=ann"]);
        support::program("/usr/bin/python3")
            .args(["-c", TERMINAL, first, second])
            .arg(command.get_program())
            .args(command.get_args())
            .env("XDG_STATE_HOME", bench.state.path())
            .env_remove("COLDFIX_PASSWORD")
            .output()
            .unwrap()
    };
    let before = bench.hashes();
    let shown = ends(&run(PASSWORD, "another"), 3);
    assert!(shown.contains("New password for ann: "), "{shown}");
    assert!(shown.contains("The same again: "), "{shown}");
    assert!(shown.contains("differ"), "{shown}");
    assert!(
        !shown.contains("Kölner") && !shown.contains("another"),
        "{shown}"
    );
    assert_eq!(bench.hashes(), before);
    let shown = ends(&run(PASSWORD, PASSWORD), 0);
    assert!(!shown.contains("Kölner"), "{shown}");
    assert_eq!(bench.hashes()[&1000], hash_of(PASSWORD));
}
