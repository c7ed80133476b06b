// SPDX-License-Identifier: GPL-2.0-or-later
//! The boot configuration as a user changes it: on ESPs (FAT) and on System Reserved volumes (NTFS), by `bcd` and by
//! fixes; judged by hivex, python-registry, fsck.fat, mtools and sleuthkit; and undone bit for bit.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice
)]

mod bcd_support;
mod support;

use std::path::{Path, PathBuf};
use std::process::Output;

use bcd_support::{SECOND, coldfix, json};
use support::boot_store::{
    EMS, ESP_STORE, LOADER, MANAGER, START, assert_five, changed, delete, dump, esp, extract, five,
    get, put, tools,
};
use support::ends;
use support::foreign::Dump;

/// A copy of a fixture, to be changed at will.
struct Bench {
    folder: tempfile::TempDir,
    state: tempfile::TempDir,
    disk: PathBuf,
}

impl Bench {
    fn new(fixture: &str) -> Option<Bench> {
        if !tools() {
            return None;
        }
        let (folder, state) = (support::temporary(), support::temporary());
        let disk = support::fixture(fixture, folder.path())?;
        Some(Bench {
            folder,
            state,
            disk,
        })
    }

    fn run(&self, arguments: &[&str]) -> Output {
        coldfix(self.state.path(), arguments, &self.disk)
    }

    #[track_caller]
    fn ends(&self, arguments: &[&str], code: i32) -> String {
        ends(&self.run(arguments), code)
    }

    /// What foreign readers find in the store on the ESP.
    fn store(&self) -> Dump {
        dump(&extract(&self.disk, self.folder.path(), true))
    }

    fn sha256(&self) -> String {
        support::sha256(&self.disk)
    }
}

#[test]
fn the_serial_console_is_set_up_on_every_kind_of_disk_and_undone() {
    for (name, uefi) in [
        ("gpt-broken.raw", true),
        ("gpt-4096.raw", true),
        ("mbr-broken.raw", false),
        ("mbr-logical.raw", false),
        ("vhd-broken.vhd", true),
    ] {
        let Some(bench) = Bench::new(name) else {
            return;
        };
        let original = bench.sha256();
        let before = dump(&extract(&bench.disk, bench.folder.path(), uefi));
        let listed = bench.ends(&["bcd", "enum"], 0);
        assert!(
            listed.contains("identifier              {default}"),
            "{listed}"
        );
        assert!(listed.contains("starts Windows on partition"), "{listed}");
        assert!(
            listed.contains("device                  partition=1"),
            "{listed}"
        );

        let fix = ["repair", "--fix", "serial-console", "--yes"];
        let text = bench.ends(&fix, 0);
        assert!(text.contains("{bootmgr} displaybootmenu"), "{name}: {text}");
        let after = dump(&extract(&bench.disk, bench.folder.path(), uefi));
        assert_eq!(changed(&before, &after), five(LOADER), "{name}");

        assert_five(&extract(&bench.disk, bench.folder.path(), uefi), LOADER);

        let text = bench.ends(&fix, 0);
        assert!(text.contains("nothing to change"), "{text}");
        let text = bench.ends(&["bcd", "enum", "{emssettings}"], 0);
        assert!(text.contains("emsbaudrate             115200"), "{text}");
        bench.ends(&["undo", "--yes"], 0);
        assert_eq!(bench.sha256(), original, "{name}");
    }
}

/// A store of a live Windows 10 on the disk that it names: its GUIDs, its ESP, its Windows partition.
#[test]
fn a_real_store_on_its_own_disk() {
    let Some(real) = support::data("bcd/esp-w10-regipy") else {
        return;
    };
    let Some(bench) = Bench::new("gpt-broken.raw") else {
        return;
    };
    put(&bench.disk, START, &real, "BCD");

    // Not its disk yet: told, with the reason, and not guessed.
    let text = bench.ends(&["diagnose"], 1);
    assert!(text.contains("boot.not-started"), "{text}");
    assert!(text.contains("which is not on this disk"), "{text}");
    let fix = ["repair", "--fix", "serial-console", "--yes"];
    let text = bench.ends(&fix, 3);
    assert!(
        text.contains("8e0f2c38-e4ea-47ba-b7fc-9d8c74dccf0b"),
        "{text}"
    );
    assert!(text.contains("bcdboot"), "{text}");

    support::run(support::program("sgdisk").args([
        "-U",
        "0b2394a9-095e-487d-8d48-719ecd4d78ca",
        "-u",
        "1:36be3955-63bf-4068-a6ab-00195cca3a22",
        "-u",
        "3:8e0f2c38-e4ea-47ba-b7fc-9d8c74dccf0b",
        bench.disk.to_str().unwrap(),
    ]));
    let loader = "{733b62e5-f608-11eb-825c-c112f60133ab}";
    let listing = json(&bench.run(&["bcd", "enum", "all", "--format", "json"]));
    let store = &listing["stores"][0];
    assert_eq!(store["loader"], loader, "{store}");
    assert_eq!(store["objects"].as_array().unwrap().len(), 17);
    let original = bench.sha256();
    let before = bench.store();
    bench.ends(&fix, 0);
    let after = bench.store();
    assert_eq!(changed(&before, &after), five(loader));
    let text = bench.ends(&["diagnose"], 1);
    assert!(!text.contains("[boot."), "{text}");
    bench.ends(&["undo", "--yes"], 0);
    assert_eq!(bench.sha256(), original);
}

/// A live store has no slack: a long text makes its file grow on the ESP. Its log of an earlier time must not come back
/// over the edit.
#[test]
fn a_real_store_grows_and_its_old_log_is_emptied() {
    let (Some(real), Some(log)) = (
        support::data("bcd/esp-w10-multiboot"),
        support::data("bcd/esp-w10-multiboot.LOG"),
    ) else {
        return;
    };
    let Some(bench) = Bench::new("gpt-broken.raw") else {
        return;
    };
    put(&bench.disk, START, &real, "BCD");
    put(&bench.disk, START, &log, "BCD.LOG");
    support::run(support::program("sgdisk").args([
        "-U",
        "5541e87d-91a5-4f2b-ad43-a0345c199e9b",
        "-u",
        "1:1c6ab89c-bcbf-4abe-8593-618e4d2f5811",
        "-u",
        "3:9d4a7cb0-ab9d-4d71-961f-50f1d9c9252f",
        bench.disk.to_str().unwrap(),
    ]));
    let text = bench.ends(&["inspect"], 0);
    let line = r"Boot     \EFI\Microsoft\Boot\BCD on partition 1: starts Windows on partition 3";
    assert!(text.contains(line), "{text}");
    let original = bench.sha256();
    let before = bench.store();
    let long = "x".repeat(6000);
    let set = ["bcd", "set", "{default}", "description", &long, "--yes"];
    let text = bench.ends(&set, 0);
    assert!(text.contains("BCD grows past its clusters"), "{text}");
    let file = extract(&bench.disk, bench.folder.path(), true);
    assert!(std::fs::metadata(&file).unwrap().len() > 45_056);
    let found = changed(&before, &dump(&file));
    assert_eq!(found.len(), 1, "{found:?}");
    assert!(
        found[0].starts_with("{e018a2d0-b134-11ea-95b2-81f0ac71b75b} 12000004: 78007800"),
        "{found:?}"
    );
    let emptied = bench.folder.path().join("log");
    get(&bench.disk, START, "BCD.LOG", &emptied);
    let emptied = std::fs::read(emptied).unwrap();
    assert_eq!(emptied.len(), 65_536);
    assert!(emptied[..1024].iter().all(|byte| *byte == 0));
    bench.ends(&["undo", "--yes"], 0);
    assert_eq!(bench.sha256(), original);
}

/// The volume alone, and a disk whose Windows cannot be opened: the store is enough.
#[test]
fn a_store_without_a_windows_is_changed_too() {
    let Some(bench) = Bench::new("gpt-broken.raw") else {
        return;
    };
    let esp = esp(&bench.disk, bench.folder.path());
    let original = support::sha256(&esp);
    let set = ["bcd", "set", "{bootmgr}", "timeout", "5", "--yes"];
    ends(&coldfix(bench.state.path(), &set, &esp), 0);
    let text = ends(
        &coldfix(bench.state.path(), &["bcd", "enum", "{bootmgr}"], &esp),
        0,
    );
    assert!(text.contains("timeout                 5"), "{text}");
    ends(&coldfix(bench.state.path(), &["undo", "--yes"], &esp), 0);
    assert_eq!(support::sha256(&esp), original);
    ends(&coldfix(bench.state.path(), &["diagnose"], &esp), 2);

    // BitLocker on the Windows partition: warned of, and not in the way.
    let mut bytes = std::fs::read(&bench.disk).unwrap();
    let windows = 36 << 20;
    bytes[windows + 3..windows + 11].copy_from_slice(b"-FVE-FS-");
    std::fs::write(&bench.disk, bytes).unwrap();
    let before = bench.store();
    let text = bench.ends(&set, 0);
    assert!(text.contains("encrypted with BitLocker"), "{text}");
    let after = bench.store();
    assert_eq!(
        changed(&before, &after),
        [format!("{MANAGER} 25000004: 0500000000000000")]
    );
    let revert = ["undo", "--revert", "--yes"];
    bench.ends(&revert, 0);
    let reverted = bench.store();
    assert_eq!(changed(&before, &reverted), [""; 0]);
}

#[test]
fn bcd_set_and_delete_do_what_bcdedit_does() {
    let Some(bench) = Bench::new("gpt-broken.raw") else {
        return;
    };
    let original = bench.sha256();
    let before = bench.store();
    let run = |arguments: &[&str], code: i32| -> String {
        let mut whole = vec!["bcd"];
        whole.extend(arguments);
        if code == 0 && arguments[0] != "enum" {
            whole.push("--yes");
        }
        bench.ends(&whole, code)
    };
    run(&["set", "{bootmgr}", "bootems", "YES"], 0);
    run(&["set", "bootmgr", "timeout", "0x7"], 0);
    run(
        &["set", "{default}", "bootstatuspolicy", "ignoreallfailures"],
        0,
    );
    run(
        &["set", "{default}", "description", "Server", "of", "ours"],
        0,
    );
    run(&["set", "{emssettings}", "emsport", "2"], 0);
    run(&["set", LOADER, "custom:16000049", "on"], 0);
    let text = run(&["set", "recoveryenabled", "no"], 0);
    assert!(text.contains("{default} is meant"), "{text}");
    let text = run(&["delete", "{default}", "bootmenupolicy"], 0);
    assert!(text.contains("- Standard"), "{text}");
    // What is so already, or is not there, is no change and no error.
    for same in [
        &["set", "{bootmgr}", "bootems", "on"][..],
        &["delete", "{default}", "safeboot"],
    ] {
        let text = run(same, 0);
        assert!(text.contains("nothing to change"), "{text}");
    }
    let text = run(&["delete", "{memdiag}", "-f"], 0);
    assert!(text.contains("toolsdisplayorder"), "{text}");
    let after = bench.store();
    let mut expected = vec![
        format!("{EMS} 15000022: 0200000000000000"),
        format!("{MANAGER} 16000020: 01"),
        format!("{MANAGER} 24000010: none"),
        format!("{MANAGER} 25000004: 0700000000000000"),
        format!("{LOADER} 16000009: 00"),
        format!("{LOADER} 16000049: 01"),
        format!("{LOADER} 250000c2: none"),
        format!("{LOADER} 250000e0: 0100000000000000"),
    ];
    let description: String = "Server of ours\0"
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .map(|byte| format!("{byte:02x}"))
        .collect();
    expected.push(format!("{LOADER} 12000004: {description}"));
    expected.sort();
    let found = changed(&before, &after);
    let (memdiag, found): (Vec<_>, Vec<_>) = found
        .into_iter()
        .partition(|line| line.contains("b2721d73-1db4-4c62-bf78-c548a880142d"));
    assert_eq!(found, expected);
    // Its four elements, and its own three keys.
    assert_eq!(memdiag.len(), 4 + 3, "{memdiag:?}");

    // Refused or wrong: nothing is written.
    let now = bench.sha256();
    for (arguments, code, about) in [
        (&["set", "{current}", "ems", "on"][..], 3, "does not run"),
        (
            &["set", "{bootmgr}", "safeboot", "minimal"],
            2,
            "not recognized",
        ),
        (&["set", "{default}", "nonsense", "1"], 2, "not recognized"),
        (&["set", "{default}", "nx", "Sometimes"], 2, "OptIn, OptOut"),
        (
            &["set", "{default}", "osdevice", "partition=C:"],
            3,
            "devices are not written",
        ),
        (&["set", "{nobody}", "ems", "on"], 2, "no identifier"),
        (
            &["set", "{00000000-0000-0000-0000-000000000001}", "ems", "on"],
            2,
            "no object",
        ),
        (&["delete", "{bootmgr}"], 3, "name of its own"),
        (&["delete", "{memdiag}"], 2, "no object"),
        (&["enum", "{memdiag}"], 2, "no object"),
    ] {
        let text = run(arguments, code);
        assert!(text.contains(about), "{arguments:?}: {text}");
    }
    let read_only = [
        "bcd",
        "set",
        "{bootmgr}",
        "timeout",
        "9",
        "--yes",
        "--read-only",
    ];
    bench.ends(&read_only, 3);
    let dry = ["bcd", "set", "{bootmgr}", "timeout", "9", "--dry-run"];
    bench.ends(&dry, 0);
    assert_eq!(bench.sha256(), now);
    // All of it taken back, the newest first.
    for _ in 0..9 {
        bench.ends(&["undo", "--yes"], 0);
    }
    assert_eq!(bench.sha256(), original);
}

#[test]
fn safe_mode_and_the_recovery_loop_are_left_by_name_and_reverted_later() {
    let Some(bench) = Bench::new("mbr-broken.raw") else {
        return;
    };
    let run = |arguments: &[&str], code: i32| bench.ends(arguments, code);
    run(
        &["bcd", "set", "{default}", "safeboot", "minimal", "--yes"],
        0,
    );
    run(
        &[
            "bcd",
            "set",
            "{default}",
            "safebootalternateshell",
            "1",
            "--yes",
        ],
        0,
    );
    let text = run(&["diagnose"], 1);
    assert!(text.contains("[boot.safe-mode]"), "{text}");
    let before = dump(&extract(&bench.disk, bench.folder.path(), false));
    let fix = [
        "repair",
        "--fix",
        "safe-mode=off",
        "--fix",
        "recovery-loop",
        "--yes",
    ];
    run(&fix, 0);
    let after = dump(&extract(&bench.disk, bench.folder.path(), false));
    let mut expected = vec![
        format!("{LOADER} 1500004b: 0100000000000000"),
        format!("{LOADER} 16000009: 00"),
        format!("{LOADER} 25000080: none"),
        format!("{LOADER} 250000e0: 0100000000000000"),
        format!("{LOADER} 26000081: none"),
    ];
    expected.sort();
    assert_eq!(changed(&before, &after), expected);
    let text = run(&["diagnose"], 1);
    assert!(!text.contains("[boot."), "{text}");
    let id = {
        let log = json(&bench.run(&["log", "--format", "json"]));
        let text = log.to_string();
        let operations = log["operations"].as_array().cloned();
        let last = operations.and_then(|all| all.last().cloned()).expect(&text);
        last["id"].as_str().expect(&text).to_owned()
    };
    // Somebody changes one of them again: that one is left alone.
    run(
        &["bcd", "set", "{default}", "recoveryenabled", "yes", "--yes"],
        0,
    );
    run(
        &["bcd", "set", "{default}", "bootstatuspolicy", "3", "--yes"],
        0,
    );
    let text = run(&["undo", &id, "--revert", "--yes"], 1);
    assert!(
        text.contains("bootstatuspolicy: its value has been changed since"),
        "{text}"
    );
    let reverted = dump(&extract(&bench.disk, bench.folder.path(), false));
    assert_eq!(
        changed(&before, &reverted),
        [format!("{LOADER} 250000e0: 0300000000000000")]
    );
    for (value, code) in [
        ("safe-mode", 2),
        ("safe-mode=on", 2),
        ("recovery-loop=maybe", 2),
    ] {
        run(&["repair", "--fix", value, "--dry-run"], code);
    }
    for value in ["port:9", "baud:1", "1", "port:1;baud:115200", "port:one"] {
        let fix = format!("serial-console={value}");
        let text = run(&["repair", "--fix", &fix, "--dry-run"], 2);
        assert!(text.contains("port:1 and baud:115200"), "{text}");
    }
    let text = run(
        &[
            "repair",
            "--fix",
            "serial-console=port:2,baud:9600",
            "--dry-run",
        ],
        0,
    );
    assert!(text.contains("+ 9600") && text.contains("+ 2"), "{text}");
}

#[test]
fn a_plan_with_boot_configuration_is_applied_exactly_or_refused() {
    let Some(bench) = Bench::new("gpt-broken.raw") else {
        return;
    };
    let plan = bench.folder.path().join("plan.json");
    let plan = plan.to_str().unwrap();
    let make = [
        "repair",
        "--preset",
        "diagnostics",
        "--dry-run",
        "--plan-out",
        plan,
    ];
    bench.ends(&make, 0);
    let text = std::fs::read_to_string(plan).unwrap();
    assert!(text.contains("\"element\": \"260000b0\""), "{text}");
    assert!(text.contains(ESP_STORE), "{text}");
    let changed_store = ["bcd", "set", "{bootmgr}", "timeout", "9", "--yes"];
    bench.ends(&changed_store, 0);
    let apply = ["repair", "--plan", plan, "--yes"];
    let text = bench.ends(&apply, 3);
    assert!(
        text.contains("has changed since the plan was made"),
        "{text}"
    );
    bench.ends(&["undo", "--yes"], 0);
    let before = bench.store();
    bench.ends(&apply, 0);
    let after = bench.store();
    assert_eq!(changed(&before, &after), five(LOADER));
}

#[test]
fn of_two_installations_the_chosen_one_is_changed() {
    let Some(bench) = Bench::new("gpt-two-windows.raw") else {
        return;
    };
    let before = bench.store();
    let fix = [
        "repair",
        "--partition",
        "4",
        "--fix",
        "serial-console",
        "--yes",
    ];
    let text = bench.ends(&fix, 0);
    let flat = text.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(flat.contains("not the boot manager's default"), "{text}");
    assert!(
        flat.contains("{default}, Windows Server, partition=3 is left as it is"),
        "{text}"
    );
    let after = bench.store();
    assert_eq!(changed(&before, &after), five(SECOND));
    let text = bench.ends(&["diagnose", "--partition", "4"], 0);
    assert!(text.contains("[boot.not-default]"), "{text}");
    // Without a choice, the one store is enough to be looked at.
    let text = bench.ends(&["bcd", "enum", "osloader"], 0);
    assert!(text.contains(SECOND), "{text}");
}

#[test]
fn faults_of_the_boot_configuration_are_found() {
    for (arguments, finding, code) in [
        (
            &["{default}", "systemroot", r"\Other"][..],
            "boot.not-started",
            1,
        ),
        (
            &["{default}", "path", r"\Windows\system32\winload.exe"],
            "boot.loader-path",
            1,
        ),
        (
            &["{default}", "path", r"\Windows\system32\absent.efi"],
            "boot.loader-missing",
            1,
        ),
        (
            &["{bootmgr}", "bootsequence", "{memdiag}"],
            "boot.sequence",
            1,
        ),
        (&["{default}", "debug", "on"], "boot.debug", 1),
        (&["{default}", "custom:22000137", "x"], "boot.imc", 1),
    ] {
        let Some(bench) = Bench::new("gpt-broken.raw") else {
            return;
        };
        let mut set = vec!["bcd", "set"];
        set.extend(arguments);
        set.push("--yes");
        bench.ends(&set, 0);
        let text = bench.ends(&["diagnose"], code);
        assert!(text.contains(&format!("[{finding}]")), "{finding}: {text}");
        let cured = bench.run(&["repair", "--yes"]);
        let text = String::from_utf8_lossy(&cured.stdout).into_owned();
        let again = bench.ends(&["diagnose"], code);
        let is_cured = finding == "boot.imc";
        assert_eq!(
            again.contains(&format!("[{finding}]")),
            !is_cured,
            "{text}\n{again}"
        );
    }
    // No store at all, and one that is no hive.
    for (content, finding) in [
        (None, "boot.no-store"),
        (Some("nonsense"), "boot.unreadable"),
    ] {
        let Some(bench) = Bench::new("gpt-broken.raw") else {
            return;
        };
        delete(&bench.disk, START);
        if let Some(content) = content {
            let file = bench.folder.path().join("bad");
            std::fs::write(&file, content.repeat(2000)).unwrap();
            put(&bench.disk, START, &file, "BCD");
        }
        let text = bench.ends(&["diagnose"], 1);
        assert!(text.contains(&format!("[{finding}]")), "{text}");
        let output = bench.run(&["bcd", "enum"]);
        assert_eq!(output.status.code(), Some(2));
        // A preset does the rest and says what it left out.
        let preset = ["repair", "--preset", "diagnostics", "--yes"];
        let text = bench.ends(&preset, 0);
        assert!(text.contains("serial-console is left out"), "{text}");
        let named = ["repair", "--fix", "serial-console", "--yes"];
        assert_ne!(bench.run(&named).status.code(), Some(0));
    }
}

#[test]
fn in_folders_a_store_inside_is_changed_and_one_outside_is_read() {
    let Some(bench) = Bench::new("mbr-broken.raw") else {
        return;
    };
    let Some(windows) = support::fixture("folder/healthy", bench.folder.path()) else {
        return;
    };
    let store = extract(&bench.disk, bench.folder.path(), false);
    let beside = bench.folder.path().join("reserved");
    std::fs::create_dir_all(beside.join("Boot")).unwrap();
    std::fs::copy(&store, beside.join("Boot/BCD")).unwrap();
    let beside = beside.to_str().unwrap();

    // Without a store nothing is said of one.
    ends(&coldfix(bench.state.path(), &["diagnose"], &windows), 0);
    ends(&coldfix(bench.state.path(), &["bcd", "enum"], &windows), 2);
    // Outside: read, and exactly refused.
    for given in [beside.to_owned(), format!("{beside}/Boot/BCD")] {
        let text = ends(
            &coldfix(
                bench.state.path(),
                &["bcd", "enum", "--bcd", &given],
                &windows,
            ),
            0,
        );
        assert!(text.contains("at 0x900000 of disk c01df1c5"), "{text}");
        let set = [
            "bcd",
            "set",
            "{bootmgr}",
            "timeout",
            "5",
            "--bcd",
            &given,
            "--yes",
        ];
        let text = ends(&coldfix(bench.state.path(), &set, &windows), 3);
        assert!(text.contains("outside the target"), "{text}");
    }
    let absent = ["bcd", "enum", "--bcd", "/nonexistent"];
    ends(&coldfix(bench.state.path(), &absent, &windows), 2);
    // The folder that holds the store is a target of its own.
    let set = ["bcd", "set", "{bootmgr}", "timeout", "5", "--yes"];
    let before = dump(&store);
    ends(&coldfix(bench.state.path(), &set, Path::new(beside)), 0);
    let changed_store = Path::new(beside).join("Boot/BCD");
    assert_eq!(
        changed(&before, &dump(&changed_store)),
        [format!("{MANAGER} 25000004: 0500000000000000")]
    );
    ends(
        &coldfix(bench.state.path(), &["undo", "--yes"], Path::new(beside)),
        0,
    );
    assert_eq!(support::sha256(&changed_store), support::sha256(&store));
    // Inside the Windows folder it belongs to it.
    std::fs::create_dir_all(windows.join("Boot")).unwrap();
    std::fs::copy(&store, windows.join("Boot/BCD")).unwrap();
    std::fs::create_dir_all(windows.join("Windows/System32")).unwrap();
    let fix = ["repair", "--fix", "serial-console", "--yes"];
    ends(&coldfix(bench.state.path(), &fix, &windows), 0);
    let after = dump(&windows.join("Boot/BCD"));
    assert_eq!(changed(&before, &after), five(LOADER));
    ends(
        &coldfix(bench.state.path(), &["undo", "--yes"], &windows),
        0,
    );
    assert_eq!(
        support::sha256(&windows.join("Boot/BCD")),
        support::sha256(&store)
    );
}

#[test]
fn a_store_can_be_named() {
    let Some(bench) = Bench::new("gpt-broken.raw") else {
        return;
    };
    let named = r"1:\EFI\Microsoft\Boot\BCD";
    let text = bench.ends(&["bcd", "enum", "--bcd", named], 0);
    assert!(text.contains("on partition 1"), "{text}");
    for (given, about) in [
        (r"3:\Boot\BCD", "no boot configuration store"),
        ("9:/Boot/BCD", "no boot configuration store"),
        ("/Boot/BCD", "PARTITION:PATH"),
        (r"3:\Windows\System32\config\SYSTEM", "no BCD store"),
    ] {
        let text = bench.ends(&["bcd", "enum", "--bcd", given], 2);
        assert!(text.contains(about), "{given}: {text}");
    }
    // A Windows that sleeps has its store open.
    let Some(asleep) = support::fixture("bad/hibernated.raw", bench.folder.path()) else {
        return;
    };
    let set = ["bcd", "set", "{bootmgr}", "timeout", "5", "--yes"];
    assert_ne!(
        coldfix(bench.state.path(), &set, &asleep).status.code(),
        Some(0)
    );
}
