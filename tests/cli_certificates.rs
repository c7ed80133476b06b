// SPDX-License-Identifier: GPL-2.0-or-later
//! Remote Desktop's certificate and its store, damaged in every way we know, as a user repairs it; judged by hivex,
//! python-registry, reglookup and ntfs-3g.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::Output;

use support::ends;
use support::foreign::{self, Reader};

const STORE: &str = r"Microsoft\SystemCertificates\Remote Desktop";
const LISTENER: &str = r"ControlSet001\Control\Terminal Server\WinStations\RDP-Tcp";
/// 2024-10-01: every certificate of the fixtures that is meant to have expired has.
const NOW: &str = "1727740800";

struct Bench {
    folder: tempfile::TempDir,
    disk: PathBuf,
}

impl Bench {
    fn new(name: &str) -> Option<Bench> {
        for tool in ["ntfscat", "reglookup"] {
            if !support::require(tool) {
                return None;
            }
        }
        if !Reader::Hivex.available() || !Reader::PythonRegistry.available() {
            return None;
        }
        let folder = support::temporary();
        let disk = support::fixture(&format!("certificate-{name}.raw"), folder.path())?;
        Some(Bench { folder, disk })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        support::coldfix(self.folder.path())
            .env("SOURCE_DATE_EPOCH", NOW)
            .args(arguments[0].split(' '))
            .arg(&self.disk)
            .args(&arguments[1..])
            .output()
            .expect("run coldfix")
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], code: i32) -> String {
        ends(&self.run(arguments), code)
    }

    /// What a diagnosis finds of certificates: id and severity.
    fn findings(&self) -> BTreeMap<String, String> {
        let output = self.run(&["diagnose", "--format", "json"]);
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).expect("JSON");
        let text = |value: &serde_json::Value| value.as_str().unwrap().to_owned();
        report["findings"]
            .as_array()
            .unwrap()
            .iter()
            .map(|finding| (text(&finding["id"]), text(&finding["severity"])))
            .filter(|(id, _)| !id.starts_with("volume"))
            .collect()
    }

    /// A hive as ntfs-3g reads it from the disk.
    fn hive(&self, name: &str) -> PathBuf {
        let target = self.folder.path().join(name);
        let output = support::run(
            support::program("ntfscat")
                .arg(&self.disk)
                .arg(format!("Windows/System32/config/{name}")),
        );
        std::fs::write(&target, output.stdout).unwrap();
        target
    }

    /// The thumbprints in the store, two readers agreeing.
    fn certificates(&self) -> Vec<String> {
        let hive = self.hive("SOFTWARE");
        let [first, second] = [Reader::Hivex, Reader::PythonRegistry].map(|reader| {
            let key = format!(r"{STORE}\Certificates");
            let dump = foreign::dump_key(reader, &hive, &key);
            let names = dump.into_keys().filter_map(|path| {
                let name = path.strip_prefix(&format!("{key}\\"))?;
                Some(name.to_owned())
            });
            names.collect::<Vec<_>>()
        });
        assert_eq!(first, second);
        first
    }

    /// The DACL of every key of the store, by reglookup.
    fn permissions(&self) -> BTreeMap<String, String> {
        permissions(&self.hive("SOFTWARE"), STORE)
    }
}

/// Owner, group and DACL of a key and of all below it, as reglookup prints them.
fn permissions(hive: &Path, key: &str) -> BTreeMap<String, String> {
    let path = format!("/{}", key.replace('\\', "/"));
    let output = support::run(
        support::program("reglookup")
            .args(["-s", "-t", "KEY", "-p", &path])
            .arg(hive),
    );
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let lines = text.lines().skip(1).map(|line| {
        let fields: Vec<&str> = line.split(',').collect();
        assert_eq!(fields.len(), 9, "{line}");
        let what = [fields[4], fields[5], fields[6], fields[7]].join(",");
        (fields[0].to_owned(), what)
    });
    let found: BTreeMap<String, String> = lines.collect();
    assert!(!found.is_empty(), "reglookup finds nothing below {path}");
    found
}

fn map(pairs: &[(&str, &str)]) -> BTreeMap<String, String> {
    let pairs = pairs.iter();
    pairs
        .map(|(one, two)| ((*one).to_owned(), (*two).to_owned()))
        .collect()
}

/// What each machine shows, and what a repair without names leaves of it.
#[test]
fn each_state_is_found_and_only_what_is_certain_is_cured() {
    type Found<'a> = &'a [(&'a str, &'a str)];
    let cases: [(&str, Found<'_>, Found<'_>); 15] = [
        ("healthy", &[], &[]),
        (
            "cng",
            &[("rdp-certificate.key-not-judged", "notice")],
            &[("rdp-certificate.key-not-judged", "notice")],
        ),
        (
            "expired",
            &[("rdp-certificate.expired", "risk")],
            &[("rdp-certificate.expired", "risk")],
        ),
        ("orphaned", &[("rdp-certificate.orphaned", "broken")], &[]),
        (
            "denied",
            &[("rdp-certificate.store-denied", "risk")],
            &[("rdp-certificate.store-denied", "risk")],
        ),
        (
            "denied-empty",
            &[("rdp-certificate.store-denied", "broken")],
            &[],
        ),
        (
            "expired-since",
            &[("rdp-certificate.expired-since", "notice")],
            &[("rdp-certificate.expired-since", "notice")],
        ),
        (
            "clone",
            &[
                ("machine-keys.clone", "notice"),
                ("rdp-certificate.key-of-clone", "risk"),
            ],
            &[
                ("machine-keys.clone", "notice"),
                ("rdp-certificate.key-of-clone", "risk"),
            ],
        ),
        (
            "foreign",
            &[("rdp-certificate.other", "notice")],
            &[("rdp-certificate.other", "notice")],
        ),
        (
            "pinned",
            &[("rdp-certificate.pinned", "notice")],
            &[("rdp-certificate.pinned", "notice")],
        ),
        (
            "pinned-keyless",
            &[("rdp-certificate.pin-dangling", "broken")],
            &[("rdp-certificate.pin-dangling", "broken")],
        ),
        (
            "pin-expired",
            &[("rdp-certificate.pin-expired", "risk")],
            &[("rdp-certificate.pin-expired", "risk")],
        ),
        (
            "pinned-own",
            &[
                ("rdp-certificate.other", "notice"),
                ("rdp-certificate.pin-expired", "risk"),
            ],
            &[
                ("rdp-certificate.other", "notice"),
                ("rdp-certificate.pin-expired", "risk"),
            ],
        ),
        (
            "damaged",
            &[("rdp-certificate.unreadable", "risk")],
            &[("rdp-certificate.unreadable", "risk")],
        ),
        (
            "denied-above",
            &[("rdp-certificate.store-denied-above", "risk")],
            &[("rdp-certificate.store-denied-above", "risk")],
        ),
    ];
    for (name, found, left) in cases {
        let Some(bench) = Bench::new(name) else {
            return;
        };
        assert_eq!(bench.findings(), map(found), "{name}");
        let before = support::sha256(&bench.disk);
        let healthy = left.iter().all(|(_, severity)| *severity == "notice");
        bench.ends(&["repair", "--yes"], if healthy { 0 } else { 1 });
        assert_eq!(bench.findings(), map(left), "{name}");
        let cured = found != left;
        assert_eq!(support::sha256(&bench.disk) != before, cured, "{name}");
        if cured {
            bench.ends(&["undo", "--yes"], 0);
            assert_eq!(support::sha256(&bench.disk), before, "{name}");
            assert_eq!(bench.findings(), map(found), "{name}");
        }
    }
}

#[test]
fn an_expired_certificate_goes_and_the_new_one_stays() {
    let Some(bench) = Bench::new("expired") else {
        return;
    };
    let before = bench.hive("SOFTWARE");
    let old = foreign::dump(Reader::Hivex, &before);
    let certificates = bench.certificates();
    assert_eq!(certificates.len(), 2);
    let text = bench.ends(&["diagnose"], 1);
    for part in [
        "CN=c01dserver, RSA 2048, from 2023-10-01T12:00:00Z to 2024-04-01T12:00:00Z",
        "2024-10-01T00:00:00Z",
        "2024-05-14T11:26:53Z",
        "TSSecKeySet1",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    bench.ends(&["repair", "--fix", "rdp-certificate", "--yes"], 0);
    let left = bench.certificates();
    assert_eq!(left.len(), 1);
    let gone = certificates
        .iter()
        .find(|name| !left.contains(name))
        .unwrap();
    assert!(text.contains(gone.as_str()), "{text}");
    let new = foreign::dump(Reader::Hivex, &bench.hive("SOFTWARE"));
    assert_eq!(
        foreign::differences(&old, &new),
        [format!(r"- {STORE}\Certificates\{gone}")]
    );
}

/// Named modes do what they say, and no more.
#[test]
fn named_modes() {
    let Some(bench) = Bench::new("expired-since") else {
        return;
    };
    bench.ends(&["repair", "--fix", "rdp-certificate", "--yes"], 0);
    assert_eq!(bench.certificates(), [""; 0]);
    assert_eq!(bench.findings(), map(&[]));

    let bench = Bench::new("clone").unwrap();
    bench.ends(&["repair", "--fix", "rdp-certificate", "--yes"], 0);
    assert_eq!(bench.certificates().len(), 1);
    bench.ends(&["repair", "--fix", "rdp-certificate=renew", "--yes"], 0);
    assert_eq!(bench.findings(), map(&[("machine-keys.clone", "notice")]));

    let bench = Bench::new("pinned-own").unwrap();
    for fix in ["rdp-certificate", "rdp-certificate=renew"] {
        let text = bench.ends(&["repair", "--fix", fix, "--yes"], 0);
        assert!(text.contains("is left alone"), "{text}");
        assert_eq!(bench.certificates().len(), 1);
    }
    bench.ends(&["repair", "--fix", "rdp-certificate=unpin", "--yes"], 0);
    assert_eq!(
        bench.findings(),
        map(&[("rdp-certificate.expired", "risk")])
    );
    bench.ends(&["repair", "--fix", "rdp-certificate", "--yes"], 0);
    assert_eq!(bench.findings(), map(&[]));

    let bench = Bench::new("pinned").unwrap();
    let pin = |bench: &Bench| {
        foreign::hivex_value(&bench.hive("SYSTEM"), LISTENER, "SSLCertificateSHA1Hash")
    };
    assert_eq!(pin(&bench).unwrap().data.len(), 20);
    let text = bench.ends(&["diagnose"], 0);
    assert!(text.contains("CN=rdp.contoso.example"), "{text}");
    bench.ends(&["repair", "--fix", "rdp-certificate=unpin", "--yes"], 0);
    assert_eq!(pin(&bench), None);
    assert_eq!(bench.findings(), map(&[]));
    bench.ends(&["repair", "--fix", "rdp-certificate=replace", "--yes"], 2);
    // The pinned certificate itself is still there.
    let key = r"Microsoft\SystemCertificates\MY\Certificates";
    assert_eq!(
        foreign::dump_key(Reader::Hivex, &bench.hive("SOFTWARE"), key).len(),
        2
    );
}

/// A pin on nothing, in a folder without any certificate.
#[test]
fn a_pin_on_nothing_stops_the_listener() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(windows) = support::fixture("folder/certificate-pinned", folder.path()) else {
        return;
    };
    let run = |command: &str, arguments: &[&str]| {
        support::coldfix(state.path())
            .arg(command)
            .arg(&windows)
            .args(arguments)
            .output()
            .unwrap()
    };
    let text = ends(&run("diagnose", &[]), 1);
    assert!(text.contains("rdp-certificate.pin-dangling"), "{text}");
    // It is somebody's decision: not without its name.
    let before = support::sha256_tree(&windows);
    ends(&run("repair", &["--yes"]), 1);
    assert_eq!(support::sha256_tree(&windows), before);
    ends(
        &run("repair", &["--fix", "rdp-certificate=unpin", "--yes"]),
        0,
    );
    ends(&run("diagnose", &[]), 0);
    ends(&run("undo", &["--yes"]), 0);
    assert_eq!(support::sha256_tree(&windows), before);
}

/// Only the denies of SYSTEM go, from the key and from what inherited them; foreign programs find the hive sound.
#[test]
fn denies_are_lifted_exactly() {
    let Some(bench) = Bench::new("denied") else {
        return;
    };
    let before = bench.permissions();
    let hive_before = bench.folder.path().join("before");
    std::fs::copy(bench.hive("SOFTWARE"), &hive_before).unwrap();
    let dump = foreign::dump(Reader::Hivex, &hive_before);
    bench.ends(&["repair", "--fix", "rdp-certificate", "--yes"], 0);
    let after = bench.permissions();
    let top = format!("/{}", STORE.replace('\\', "/"));
    let mut expected = before.clone();
    for (key, gone) in [
        (
            top.clone(),
            "S-1-5-18:DENY:SET_VAL CREATE_KEY:CI|S-1-5-18:DENY:DELETE:|",
        ),
        (
            format!("{top}/Certificates"),
            "S-1-5-18:DENY:SET_VAL CREATE_KEY:CI IA|",
        ),
        (
            format!("{top}/CRLs"),
            "S-1-5-18:DENY:SET_VAL CREATE_KEY:CI IA|",
        ),
    ] {
        let has = expected.get_mut(&key).unwrap();
        assert!(has.contains(gone), "{key}: {has}");
        *has = has.replace(gone, "");
    }
    assert_eq!(after, expected);
    let hive = bench.hive("SOFTWARE");
    assert_eq!(
        foreign::differences(&dump, &foreign::dump(Reader::Hivex, &hive)),
        Vec::<String>::new()
    );
    // Every other key of the hive has what it had.
    let everything = permissions(&hive, "");
    assert!(everything.len() > 30);
    for (key, has) in permissions(&hive_before, "") {
        let wanted = expected.get(&key).unwrap_or(&has);
        assert_eq!(everything.get(&key), Some(wanted), "{key}");
    }
    assert!(foreign::regipy_dump(&hive, STORE).contains("Certificates"));
    assert!(foreign::reged_export(&hive, STORE).contains("Certificates"));
}

/// Reviewed first, then applied; taken back edit by edit after somebody else has written to the hive.
#[test]
fn a_plan_of_permissions_and_its_revert() {
    let Some(bench) = Bench::new("denied") else {
        return;
    };
    let before = bench.permissions();
    let plan = bench.folder.path().join("plan.json");
    let plan = plan.to_str().unwrap();
    let fix = "rdp-certificate";
    let text = bench.ends(
        &["repair", "--fix", fix, "--dry-run", "--plan-out", plan],
        0,
    );
    for part in [
        "(D;CI;DCLC;;;SY)",
        r"SystemCertificates\Remote Desktop\CRLs",
    ] {
        assert!(text.contains(part), "{part}: {text}");
    }
    let saved = std::fs::read_to_string(plan).unwrap();
    assert!(saved.contains("set-key-security"), "{saved}");
    let json = bench.run(&["repair", "--plan", plan, "--yes", "--format", "json"]);
    assert_eq!(json.status.code(), Some(0));
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let edits = json["operation"]["edits"].as_array().unwrap();
    assert_eq!(edits.len(), 3, "{json}");
    assert_eq!(edits[0]["kind"], "set-key-security");
    assert!(edits[0]["before"].as_str().unwrap().contains("(D;"));
    assert!(!edits[0]["after"].as_str().unwrap().contains(";SY)(D"));
    let after = bench.permissions();
    assert_ne!(before, after);

    // Windows has run meanwhile: another value in the same hive.
    bench.ends(
        &[
            "reg add",
            r"HKLM\SOFTWARE\Microsoft\Later",
            "/v",
            "x",
            "/d",
            "y",
            "/f",
        ],
        0,
    );
    let log = bench.run(&["log", "--format", "json"]);
    let log: serde_json::Value = serde_json::from_slice(&log.stdout).unwrap();
    let id = log["operations"][0]["id"].as_str().unwrap().to_owned();
    bench.ends(&["undo", &id, "--yes"], 3);
    bench.ends(&["undo", &id, "--revert", "--yes"], 0);
    assert_eq!(bench.permissions(), before);
    let later = foreign::hivex_value(&bench.hive("SOFTWARE"), r"Microsoft\Later", "x");
    assert_eq!(later.unwrap().text(), "y");
}

/// What is not there any more is left alone, and said.
#[test]
fn a_revert_leaves_alone_what_has_changed_since() {
    let Some(bench) = Bench::new("denied") else {
        return;
    };
    let before = bench.permissions();
    bench.ends(&["repair", "--fix", "rdp-certificate", "--yes"], 0);
    let key = format!(r"HKLM\SOFTWARE\{STORE}\CRLs");
    bench.ends(&["reg delete", &key, "/f"], 0);
    let log = bench.run(&["log", "--format", "json"]);
    let log: serde_json::Value = serde_json::from_slice(&log.stdout).unwrap();
    let id = log["operations"][0]["id"].as_str().unwrap().to_owned();
    let text = bench.ends(&["undo", &id, "--revert", "--yes"], 1);
    assert!(text.contains("its key has been deleted since"), "{text}");
    let mut expected = before;
    expected.remove(&format!("/{}/CRLs", STORE.replace('\\', "/")));
    assert_eq!(bench.permissions(), expected);
}

/// A certificate taken back edit by edit has its blob and its own permissions again.
#[test]
fn a_deleted_certificate_comes_back_with_its_permissions() {
    let Some(bench) = Bench::new("orphaned") else {
        return;
    };
    let (before, dump) = (
        bench.permissions(),
        foreign::dump(Reader::Hivex, &bench.hive("SOFTWARE")),
    );
    bench.ends(&["repair", "--yes"], 0);
    bench.ends(
        &[
            "reg add",
            r"HKLM\SOFTWARE\Microsoft\Later",
            "/v",
            "x",
            "/d",
            "y",
            "/f",
        ],
        0,
    );
    let log = bench.run(&["log", "--format", "json"]);
    let log: serde_json::Value = serde_json::from_slice(&log.stdout).unwrap();
    let id = log["operations"][0]["id"].as_str().unwrap().to_owned();
    bench.ends(&["undo", &id, "--revert", "--yes"], 0);
    assert_eq!(bench.permissions(), before);
    let now = foreign::dump(Reader::Hivex, &bench.hive("SOFTWARE"));
    let differences = foreign::differences(&dump, &now);
    assert!(
        differences.iter().all(|line| line.contains("Later")),
        "{differences:?}"
    );
}

/// The hives of a healthy Windows 7, whose certificate has run out since: nothing to repair.
#[test]
fn a_real_machine_that_was_switched_off_is_healthy() {
    let Some(packed) = support::data("hives/software-w7x86.xz") else {
        return;
    };
    let system = support::data("hives/system-w7x86.xz").unwrap();
    let (folder, state) = (support::temporary(), support::temporary());
    let config = folder.path().join("Windows/System32/config");
    std::fs::create_dir_all(&config).unwrap();
    std::fs::write(config.join("SOFTWARE"), support::unxz(&packed)).unwrap();
    std::fs::write(config.join("SYSTEM"), support::unxz(&system)).unwrap();
    let find = |now: &str| -> Vec<String> {
        let output = support::coldfix(state.path())
            .env("SOURCE_DATE_EPOCH", now)
            .args(["diagnose", "--format", "json"])
            .arg(folder.path())
            .output()
            .unwrap();
        let report: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
        let findings = report["findings"].as_array().unwrap().iter();
        let ids = findings.map(|finding| finding["id"].as_str().unwrap().to_owned());
        ids.filter(|id| id.starts_with("rdp-certificate")).collect()
    };
    // 2012-05-01, and 2024-10-01; it was valid until 2012-06-02, and Windows ran last on 2012-04-07.
    assert_eq!(find("1335830400"), [""; 0]);
    assert_eq!(find(NOW), ["rdp-certificate.expired-since"]);
}
