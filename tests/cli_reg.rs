// SPDX-License-Identifier: GPL-2.0-or-later
//! `coldfix reg`, held against the layout of reg.exe and against foreign readers and writers of hives.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice,
    clippy::cast_possible_truncation
)]

mod support;

use std::fs;
use std::path::PathBuf;
use std::process::Output;

use support::ends;
use support::foreign::{self, Dump, Reader, Value};

const CONFIG: &str = "Windows/System32/config";
const TERM: &str = r"HKLM\SYSTEM\CurrentControlSet\Services\TermService";

/// A folder with a healthy Windows, to be changed at will.
struct Bench {
    folder: tempfile::TempDir,
    target: PathBuf,
}

impl Bench {
    fn new() -> Option<Bench> {
        let folder = support::temporary();
        let made = support::fixtures(&["folder/healthy"])?.join("folder/healthy");
        let target = folder.path().join("disk");
        support::copy(&made, &target);
        Some(Bench { folder, target })
    }

    /// With another SOFTWARE hive, of the real data.
    fn with_software(name: &str) -> Option<Bench> {
        let packed = support::data(name)?;
        let bench = Bench::new()?;
        fs::write(bench.hive("SOFTWARE"), support::unxz(&packed)).unwrap();
        Some(bench)
    }

    fn hive(&self, name: &str) -> PathBuf {
        self.target.join(CONFIG).join(name)
    }

    fn file(&self, name: &str, content: impl AsRef<[u8]>) -> PathBuf {
        let path = self.folder.path().join(name);
        fs::write(&path, content).unwrap();
        path
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// `coldfix reg COMMAND TARGET ARGUMENTS`
    fn reg(&self, command: &str, arguments: &[&str]) -> Output {
        support::coldfix(self.folder.path())
            .args(["reg", command])
            .arg(&self.target)
            .args(arguments)
            .output()
            .expect("run coldfix")
    }

    #[track_caller]
    fn query(&self, arguments: &[&str]) -> String {
        let output = self.reg("query", arguments);
        ends(&output, 0);
        String::from_utf8(output.stdout).unwrap()
    }

    #[track_caller]
    fn add(&self, arguments: &[&str]) {
        ends(&self.reg("add", &[arguments, &["-f"]].concat()), 0);
    }

    #[track_caller]
    fn import(&self, content: impl AsRef<[u8]>, more: &[&str], code: i32) -> String {
        let file = self.file("import.reg", content);
        let arguments = [&[file.to_str().unwrap(), "--yes"], more].concat();
        ends(&self.reg("import", &arguments), code)
    }

    /// The exported text, and the bytes of the file.
    #[track_caller]
    fn export(&self, key: &str, code: i32) -> (String, Vec<u8>) {
        let file = self.path("export.reg");
        let arguments = [key, file.to_str().unwrap(), "-y"];
        ends(&self.reg("export", &arguments), code);
        let bytes = fs::read(&file).unwrap();
        let units: Vec<u16> = bytes
            .chunks_exact(2)
            .map(|pair| u16::from_le_bytes([pair[0], pair[1]]))
            .collect();
        assert_eq!(units[0], 0xfeff, "begins with a byte order mark");
        (String::from_utf16(&units[1..]).unwrap(), bytes)
    }

    fn value(&self, hive: &str, key: &str, name: &str) -> Option<Value> {
        foreign::hivex_value(&self.hive(hive), key, name)
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

#[test]
fn a_query_is_laid_out_as_reg_exe_does() {
    let Some(bench) = Bench::new() else { return };
    let key = r"HKLM\SOFTWARE\Layout";
    let shown = bench.import(
        concat!(
            "Windows Registry Editor Version 5.00\n",
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Layout]\n",
            "\"z first\"=dword:00000D3D\n",
            "@=\"default text\"\n",
            "\"bin\"=hex:00,ab,Cd\n",
            "\"none\"=hex(0):ff\n",
            "\"quad\"=hex(b):10,00,00,00,01,00,00,00\n",
            "\"multi\"=hex(7):61,00,00,00,62,00,63,00,00,00,00,00\n",
            "\"expand\"=hex(2):25,00,41,00,25,00,00,00\n",
            "\"short dword\"=hex(4):01,02\n",
            "\"odd\"=hex(12):01\n",
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Layout\\B]\n",
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\Layout\\a]\n",
            "\"z first\"=\"x\"\n",
        ),
        &[],
        0,
    );
    assert!(shown.contains("written and verified"), "{shown}");
    let values = concat!(
        "    z first    REG_DWORD    0xd3d\n",
        "    (Default)    REG_SZ    default text\n",
        "    bin    REG_BINARY    00ABCD\n",
        "    none    REG_NONE    FF\n",
        "    quad    REG_QWORD    0x100000010\n",
        "    multi    REG_MULTI_SZ    a\\0bc\n",
        "    expand    REG_EXPAND_SZ    %A%\n",
        "    short dword    REG_DWORD    0102\n",
        "    odd    REG_TYPE_0x12    01\n",
    );
    let long = r"HKEY_LOCAL_MACHINE\SOFTWARE\Layout";
    let whole = format!("\n{long}\n{values}\n{long}\\a\n{long}\\B\n");
    assert_eq!(bench.query(&[key]), whole);
    assert_eq!(
        bench.query(&["hklm\\software\\layout\\"]),
        whole.replace(
            r"HKEY_LOCAL_MACHINE\SOFTWARE\Layout",
            r"HKEY_LOCAL_MACHINE\SOFTWARE\layout"
        ),
        "any case, and a backslash at the end"
    );
    let tree =
        format!("\n{long}\n{values}\n{long}\\a\n    z first    REG_SZ    x\n\n{long}\\B\n\n");
    for spelling in ["-s", "/s", "/S"] {
        assert_eq!(bench.query(&[key, spelling]), tree, "{spelling}");
    }
    let one = format!("\n{long}\n    z first    REG_DWORD    0xd3d\n\n");
    for spelling in ["-v", "/v", "/V"] {
        assert_eq!(bench.query(&[key, spelling, "Z FIRST"]), one, "{spelling}");
    }
    let default = format!("\n{long}\n    (Default)    REG_SZ    default text\n\n");
    for spelling in ["--ve", "-ve", "/ve", "/VE"] {
        assert_eq!(bench.query(&[key, spelling]), default, "{spelling}");
    }
    assert_eq!(
        bench.query(&[r"HKLM\SOFTWARE\Layout\B", "/ve"]),
        format!("\n{long}\\B\n    (Default)    REG_SZ    (value not set)\n\n")
    );
    assert_eq!(
        bench.query(&[key, "/v", "z first", "/s"]),
        format!(
            "\n{long}\n    z first    REG_DWORD    0xd3d\n\n{long}\\a\n    z first    REG_SZ    x\n\nEnd of search: 2 match(es) found.\n"
        )
    );
    // A key that holds only subkeys has no line of its own.
    bench.add(&[r"HKLM\SOFTWARE\Above\Below"]);
    assert_eq!(
        bench.query(&[r"HKLM\SOFTWARE\Above"]),
        "\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Above\\Below\n"
    );

    for missing in [
        &[r"HKLM\SOFTWARE\Layout\None"][..],
        &[key, "/v", "none such"],
        &[key, "/v", "none such", "/s"],
        &[r"HKCR\Layout"],
        &[r"HKLM\NOHIVE\Layout"],
        &[key, "/ve", "/v", "a"],
        &[key, "/s", "/s"],
    ] {
        let output = bench.reg("query", missing);
        ends(&output, 2);
        assert!(output.stdout.is_empty(), "{missing:?}");
        assert!(!output.stderr.is_empty(), "{missing:?}");
    }
}

#[test]
fn current_control_set_is_the_one_that_select_names() {
    let folder = support::temporary();
    let Some(made) = support::fixtures(&["folder/two-sets"]) else {
        return;
    };
    let target = folder.path().join("disk");
    support::copy(&made.join("folder/two-sets"), &target);
    let bench = Bench { folder, target };
    let select = |name: &str| bench.value("SYSTEM", "Select", name).unwrap().dword();
    // Offline nothing is running: the set that Windows starts next is meant.
    let next = format!("ControlSet{:03}", select("Default"));
    let text = bench.query(&[TERM, "-v", "Start"]);
    assert!(
        text.contains(&format!(
            r"HKEY_LOCAL_MACHINE\SYSTEM\{next}\Services\TermService"
        )),
        "{text}"
    );
    bench.add(&[TERM, "-v", "Mark", "-t", "REG_DWORD", "-d", "7"]);
    for set in ["ControlSet001", "ControlSet002"] {
        let mark = bench.value("SYSTEM", &format!(r"{set}\Services\TermService"), "Mark");
        assert_eq!(
            mark.map(|mark| mark.dword()),
            (set == next).then_some(7),
            "{set}"
        );
    }
}

#[test]
fn every_type_is_added_as_reg_exe_adds_it() {
    if !Reader::Hivex.available() || !Reader::Dissect.available() {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    let key = r"HKLM\SYSTEM\CurrentControlSet\Services\coldfix-one\Deep\Deeper";
    let cases: &[(&str, &str, &str, u32, Vec<u8>)] = &[
        ("sz", "REG_SZ", "a b", 1, utf16("a b\0")),
        ("expand", "REG_EXPAND_SZ", "%x%", 2, utf16("%x%\0")),
        ("binary", "reg_binary", "00fFaB", 3, vec![0, 0xff, 0xab]),
        ("dword", "REG_DWORD", "3390", 4, vec![0x3e, 0x0d, 0, 0]),
        (
            "hex dword",
            "REG_DWORD_LITTLE_ENDIAN",
            "0xFFFFFFFF",
            4,
            vec![0xff; 4],
        ),
        ("big", "REG_DWORD_BIG_ENDIAN", "1", 5, vec![0, 0, 0, 1]),
        ("multi", "REG_MULTI_SZ", r"a\0b c", 7, utf16("a\0b c\0\0")),
        (
            "quad",
            "REG_QWORD",
            "0x100000000",
            11,
            vec![0, 0, 0, 0, 1, 0, 0, 0],
        ),
        ("none", "REG_NONE", "01", 0, vec![1]),
        ("link", "REG_LINK", r"\Registry", 6, utf16(r"\Registry")),
        (
            "resources",
            "REG_FULL_RESOURCE_DESCRIPTOR",
            "aa",
            9,
            vec![0xaa],
        ),
        ("-dash", "REG_SZ", "-1", 1, utf16("-1\0")),
        ("/v", "REG_SZ", "/s", 1, utf16("/s\0")),
        (
            "quote\"back\\slash;#\u{e9}\u{20ac}\u{1f600}",
            "REG_SZ",
            "\u{1f600}",
            1,
            utf16("\u{1f600}\0"),
        ),
    ];
    for (name, kind, data, ..) in cases {
        bench.add(&[key, "/v", name, "/t", kind, "/d", data]);
    }
    bench.add(&[key, "/ve", "/d", "the default"]);
    bench.add(&[key, "/v", "empty"]);
    bench.add(&[key, "/v", "zero", "/t", "REG_DWORD"]);
    bench.add(&[
        key,
        "/v",
        "comma",
        "/t",
        "REG_MULTI_SZ",
        "/s",
        ",",
        "/d",
        "a,b,",
    ]);

    let hive = bench.hive("SYSTEM");
    let place = r"ControlSet001\Services\coldfix-one\Deep\Deeper";
    for reader in [Reader::Hivex, Reader::Dissect] {
        let dump = foreign::dump_key(reader, &hive, place);
        let mut expected: Vec<Value> = cases
            .iter()
            .map(|(name, _, _, kind, data)| ((*name).to_owned(), *kind, data.clone()))
            .chain([
                (String::new(), 1, utf16("the default\0")),
                ("empty".to_owned(), 1, utf16("\0")),
                ("zero".to_owned(), 4, vec![0; 4]),
                ("comma".to_owned(), 7, utf16("a\0b\0\0")),
            ])
            .map(|(name, kind, data)| Value { name, kind, data })
            .collect();
        expected.sort();
        assert_eq!(dump[place].values, expected, "{reader:?}");
    }

    let before = support::sha256_tree(&bench.target);
    for wrong in [
        &["-t", "REG_DWORD", "-d", "4294967296"][..],
        &["-t", "REG_DWORD", "-d", "-1"],
        &["-t", "REG_DWORD", "-d", "+1"],
        &["-t", "REG_DWORD", "-d", "0x"],
        &["-t", "REG_DWORD", "-d", "ten"],
        &["-t", "REG_QWORD", "-d", "0x10000000000000000"],
        &["-t", "REG_BINARY", "-d", "abc"],
        &["-t", "REG_BINARY", "-d", "0xab"],
        &["-t", "REG_MULTI_SZ", "-d", r"a\0\0b"],
        &["-t", "REG_FUNNY", "-d", "1"],
    ] {
        let arguments = [&[key, "-v", "sz", "-f"], wrong].concat();
        ends(&bench.reg("add", &arguments), 2);
    }
    assert!(support::sha256_tree(&bench.target) == before);
}

#[test]
fn keys_and_values_are_deleted_and_nothing_else() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    let root = r"HKLM\SOFTWARE\coldfix";
    for key in ["A", r"A\B", "C"] {
        let key = format!(r"{root}\{key}");
        bench.add(&[&key, "-v", "one", "-d", "1"]);
        bench.add(&[&key, "-v", "two", "-d", "2"]);
        bench.add(&[&key, "-ve", "-d", "0"]);
    }
    let dump = || foreign::dump(Reader::Hivex, &bench.hive("SOFTWARE"));
    let mut expected = dump();
    let delete = |arguments: &[&str]| {
        ends(&bench.reg("delete", &[arguments, &["/f"]].concat()), 0);
    };
    let a = format!(r"{root}\A");
    delete(&[&a, "/v", "ONE"]);
    expected
        .get_mut(r"coldfix\A")
        .unwrap()
        .values
        .retain(|value| value.name != "one");
    assert_eq!(foreign::differences(&expected, &dump()), [""; 0]);
    delete(&[&a, "/ve"]);
    expected
        .get_mut(r"coldfix\A")
        .unwrap()
        .values
        .retain(|value| !value.name.is_empty());
    assert_eq!(foreign::differences(&expected, &dump()), [""; 0]);
    delete(&[&format!(r"{root}\A\B"), "-va"]);
    expected.get_mut(r"coldfix\A\B").unwrap().values.clear();
    assert_eq!(foreign::differences(&expected, &dump()), [""; 0]);
    delete(&[&a]);
    expected.retain(|key, _| !key.starts_with(r"coldfix\A"));
    assert_eq!(foreign::differences(&expected, &dump()), [""; 0]);

    let before = support::sha256_tree(&bench.target);
    for (arguments, code) in [
        (&[a.as_str()][..], 2),
        (&[root, "/v", "none such"], 2),
        (&[root, "/ve"], 2),
        (&[r"HKLM\SOFTWARE"], 3),
        (&[root, "/ve", "/va"], 2),
    ] {
        ends(&bench.reg("delete", &[arguments, &["/f"]].concat()), code);
    }
    assert!(support::sha256_tree(&bench.target) == before);
}

#[test]
fn nothing_is_written_unasked() {
    let Some(bench) = Bench::new() else { return };
    let before = support::sha256_tree(&bench.folder.path().join("disk"));
    let file = bench.file("a.reg", "REGEDIT4\n[HKEY_LOCAL_MACHINE\\SYSTEM\\New]\n");
    let file = file.to_str().unwrap();
    for (command, arguments) in [
        (
            "add",
            &[TERM, "-v", "Start", "-t", "REG_DWORD", "-d", "4"][..],
        ),
        ("delete", &[TERM, "-v", "Start"]),
        ("import", &[file]),
    ] {
        let output = bench.reg(command, arguments);
        assert!(ends(&output, 3).contains("--yes"), "{command}");
        let output = bench.reg(command, &[arguments, &["--dry-run"]].concat());
        assert!(ends(&output, 0).contains("nothing written"), "{command}");
        let output = bench.reg(command, &[arguments, &["--yes", "--read-only"]].concat());
        ends(&output, 3);
    }
    assert!(support::sha256_tree(&bench.target) == before);
    assert!(
        !bench.path("coldfix").exists(),
        "no journal for what was not written"
    );
}

#[test]
fn json_holds_nothing_but_json() {
    let Some(bench) = Bench::new() else { return };
    let file = bench.file(
        "a.reg",
        "REGEDIT4\nnonsense\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\J]\n\"a\"=\"x\"\n[HKEY_CURRENT_USER\\J]\n",
    );
    let out = bench.path("out.reg");
    let json = |command: &str, arguments: &[&str]| -> serde_json::Value {
        let output = bench.reg(command, &[arguments, &["--format", "json"]].concat());
        let shown = ends(&output, 0);
        serde_json::from_slice(&output.stdout).unwrap_or_else(|error| panic!("{error}: {shown}"))
    };
    let imported = json("import", &[file.to_str().unwrap(), "--lenient", "--yes"]);
    assert_eq!(imported["operation"]["edits"][1]["kind"], "set-value");
    assert_eq!(imported["operation"]["verified"], true);
    let query = json("query", &[r"HKLM\SOFTWARE\J"]);
    assert_eq!(query["schema"], "coldfix.registry/1");
    assert_eq!(
        query["keys"][0]["values"][0],
        serde_json::json!({"name": "a", "type": "REG_SZ", "text": "x", "data": "78000000"})
    );
    let exported = json("export", &[r"HKLM\SOFTWARE\J", out.to_str().unwrap()]);
    assert_eq!(exported["left_out"], serde_json::json!([]));
    let key = r"HKLM\SOFTWARE\J";
    assert_eq!(
        json("add", &[key, "-v", "a", "-d", "x", "--yes"])["operation"],
        serde_json::Value::Null,
        "so it is already"
    );
    let dry = json("delete", &[key, "--dry-run"]);
    assert_eq!(dry["operation"]["edits"][0]["kind"], "delete-key");
    assert_eq!(dry["operation"]["id"], serde_json::Value::Null);
}

/// The rules of the format, on a key that holds every case of them.
#[test]
fn an_export_is_written_as_regedit_writes_it() {
    let Some(bench) = Bench::new() else { return };
    let wide = "ab,".repeat(60);
    bench.import(
        format!(
            concat!(
                "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\E]\r\n",
                "\"z\"=dword:000000ff\r\n@=\"d\"\r\n\"q\\\"\\\\;#/\"=\"C:\\\\a \\\"b\\\"\"\r\n\"wide\"=hex:{}\r\n",
                "\"sz nul\"=hex(1):61,00,00,00,62,00,00,00\r\n\"sz empty\"=hex(1):\r\n\"sz line\"=hex(1):61,00,0a,00,00,00\r\n",
                "\"dword 2\"=hex(4):01,02\r\n\"big\"=hex(5):00,00,00,01\r\n\"strange\"=hex(abcd):01\r\n\"none\"=hex(0):\r\n",
                "\"e\"=hex(2):25,00,00,00\r\n\"\u{e9}\u{20ac}\u{1f600}\"=\"\u{1f600}\"\r\n",
                "[HKEY_LOCAL_MACHINE\\SOFTWARE\\E\\b\\c]\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\E\\A]\r\n"
            ),
            wide.trim_end_matches(',')
        ),
        &[],
        0,
    );
    // "wide"=hex: has 11 columns, so 22 bytes come to 77; further lines hold 25.
    let bytes = |count: usize| "ab,".repeat(count);
    let expected = format!(
        concat!(
            "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\E]\r\n",
            "\"z\"=dword:000000ff\r\n@=\"d\"\r\n\"q\\\"\\\\;#/\"=\"C:\\\\a \\\"b\\\"\"\r\n\"wide\"=hex:{}\\\r\n  {}\\\r\n  {}\r\n",
            "\"sz nul\"=hex(1):61,00,00,00,62,00,00,00\r\n\"sz empty\"=hex(1):\r\n\"sz line\"=hex(1):61,00,0a,00,00,00\r\n",
            "\"dword 2\"=hex(4):01,02\r\n\"big\"=hex(5):00,00,00,01\r\n\"strange\"=hex(abcd):01\r\n\"none\"=hex(0):\r\n",
            "\"e\"=hex(2):25,00,00,00\r\n\"\u{e9}\u{20ac}\u{1f600}\"=\"\u{1f600}\"\r\n\r\n",
            "[HKEY_LOCAL_MACHINE\\SOFTWARE\\E\\A]\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\E\\b]\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\E\\b\\c]\r\n\r\n"
        ),
        bytes(22),
        bytes(25),
        bytes(13).trim_end_matches(',')
    );
    let (text, _) = bench.export(r"HKLM\SOFTWARE\E", 0);
    assert_eq!(text, expected);
    // A file that is there stays, unless -y says otherwise.
    let file = bench.path("export.reg");
    let arguments = [r"HKLM\SOFTWARE\E\A", file.to_str().unwrap()];
    ends(&bench.reg("export", &arguments), 3);
    assert_eq!(fs::read(&file).unwrap()[2..], utf16(&expected));
}

/// An export read by hivexregedit, and by ourselves, makes the same keys and values again.
#[test]
fn an_export_of_a_real_hive_makes_the_same_hive_again() {
    if !Reader::Hivex.available()
        || !support::require("hivexregedit")
        || !Reader::PythonRegistry.available()
    {
        return;
    }
    let Some(bench) = Bench::with_software("hives/sam-w81.xz") else {
        return;
    };
    let Some(system) = support::data("hives/system-w7x86.xz") else {
        return;
    };
    for (hive, key, source) in [
        ("SOFTWARE", "SAM", None),
        ("SYSTEM", r"ControlSet001\Control\Lsa", Some(&system)),
        (
            "SYSTEM",
            r"ControlSet001\Control\ProductOptions",
            Some(&system),
        ),
    ] {
        if let Some(source) = source {
            fs::write(bench.hive(hive), support::unxz(source)).unwrap();
        }
        let original = foreign::dump_key(Reader::Hivex, &bench.hive(hive), key);
        assert!(!original.is_empty(), "{key} holds something");
        let full = format!(r"HKEY_LOCAL_MACHINE\{hive}\{key}");
        let (text, bytes) = bench.export(&full, 0);

        let twin = bench.path("twin");
        // An empty hive.
        fs::copy(bench.hive("DEFAULT"), &twin).unwrap();
        // hivexregedit makes no parents.
        let base = format!(r"HKEY_LOCAL_MACHINE\{hive}");
        let parents: String = full
            .match_indices('\\')
            .map(|(end, _)| &full[..end])
            .filter(|parent| parent.len() > base.len())
            .map(|parent| format!("[{parent}]\r\n\r\n"))
            .collect();
        let plain = text.replacen("\r\n\r\n", &format!("\r\n\r\n{parents}"), 1);
        let plain = bench.file("plain.reg", plain);
        support::run(
            support::program("hivexregedit")
                .args(["--merge", "--encoding", "UTF-16LE", "--prefix"])
                .arg(format!(r"HKEY_LOCAL_MACHINE\{hive}"))
                .arg(&twin)
                .arg(&plain)
                // Or it takes UTF-8 for Latin-1.
                .env("PERL_UNICODE", "SD"),
        );
        check_same(&original, &foreign::dump_key(Reader::Hivex, &twin, key));

        let other = Bench::new().unwrap();
        fs::write(other.hive(hive), fs::read(other.hive("SYSTEM")).unwrap()).unwrap();
        let key_there = format!("Twin{key}");
        let moved = text.replace(
            &format!("[{full}"),
            &format!(r"[HKEY_LOCAL_MACHINE\{hive}\{key_there}"),
        );
        assert_ne!(moved, text);
        other.import([vec![0xff, 0xfe], utf16(&moved)].concat(), &[], 0);
        for reader in [Reader::Hivex, Reader::PythonRegistry] {
            let original = foreign::dump_key(reader, &bench.hive(hive), key);
            let made = foreign::dump_key(reader, &other.hive(hive), &key_there);
            let made: Dump = made
                .into_iter()
                .map(|(path, key)| (path["Twin".len()..].to_owned(), key))
                .collect();
            check_same(&original, &made);
        }
        // And exported again from there: the same text but for the name.
        let (again, _) = other.export(&format!(r"HKLM\{hive}\{key_there}"), 0);
        assert!(again == moved && !bytes.is_empty());
    }
}

/// Same keys and values; classes are not part of a .reg file.
#[track_caller]
fn check_same(original: &Dump, made: &Dump) {
    let without_class = |dump: &Dump| -> Dump {
        let mut dump = dump.clone();
        dump.values_mut().for_each(|key| key.class = None);
        dump
    };
    let differences = foreign::differences(&without_class(original), &without_class(made));
    assert!(
        differences.is_empty(),
        "{} differ: {:.2000}",
        differences.len(),
        differences.join("\n")
    );
}

#[test]
fn files_are_imported_in_every_encoding() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    let text = |name: &str| {
        format!(
            "Windows Registry Editor Version 5.00\r\n\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\\u{e9}\u{20ac} {name}]\r\n\"\u{e9}\"=\"\u{1f600}\"\r\n"
        )
    };
    let marked = |mark: &[u8], body: Vec<u8>| [mark.to_vec(), body].concat();
    let files = [
        ("utf-16", marked(&[0xff, 0xfe], utf16(&text("utf-16")))),
        ("utf-8", text("utf-8").into_bytes()),
        (
            "utf-8 with a mark",
            marked(&[0xef, 0xbb, 0xbf], text("utf-8 with a mark").into_bytes()),
        ),
        (
            "lines",
            text("lines")
                .replace("\r\n", "\n")
                .trim_end()
                .as_bytes()
                .to_vec(),
        ),
    ];
    for (name, content) in files {
        bench.import(content, &[], 0);
        let key = format!("\u{e9}\u{20ac} {name}");
        let value = bench.value("SOFTWARE", &key, "\u{e9}");
        assert_eq!(
            value.map(|value| value.text()),
            Some("\u{1f600}".to_owned()),
            "{name}"
        );
    }
    // REGEDIT4: 8-bit text, also in hexadecimal.
    bench.import(
        b"REGEDIT4\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\four]\r\n\"\xe9\"=hex(2):25,41,25\r\n\"m\"=hex(7):61,00,62,00,00\r\n\"b\"=hex:01\r\n",
        &[],
        0,
    );
    let value = |name| bench.value("SOFTWARE", "four", name).unwrap();
    assert_eq!(value("\u{e9}").data, utf16("%A%\0"));
    assert_eq!(value("m").data, utf16("a\0b\0\0"));
    assert_eq!(value("b").data, [1]);

    let before = support::sha256_tree(&bench.target);
    for refused in [
        &b""[..],
        b"\r\nREGEDIT4\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\r\n",
        b"regedit4\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\r\n",
        b"REGEDIT4FOO\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\r\n",
        b"REGEDIT5\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\r\n",
        b"Windows Registry Editor Version 4.00\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\x]\r\n",
        b"Windows Registry Editor Version 5.00\r\n[HKEY_LOCAL_MACHINE\\SOFTWARE\\x\xff]\r\n",
        b"\xff\xfeW",
        b"MZ\x90\x00",
    ] {
        bench.import(refused, &["--lenient"], 2);
    }
    assert!(support::sha256_tree(&bench.target) == before);
}

#[test]
fn deletions_and_their_order_count() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    bench.import(
        concat!(
            "Windows Registry Editor Version 5.00\n",
            "[HKLM\\SOFTWARE\\D]\n\"stays\"=\"1\"\n\"goes\"=\"1\"\n@=\"goes\"\n",
            "[HKLM\\SOFTWARE\\D\\goes\\below]\n[HKLM\\SOFTWARE\\D\\again]\n\"old\"=dword:1\n",
        ),
        &[],
        0,
    );
    bench.import(
        concat!(
            "Windows Registry Editor Version 5.00\n",
            "[HKLM\\SOFTWARE\\D]\n\"goes\"=-\n@=- ; gone\n\"never was\"=-\n",
            "[-HKLM\\SOFTWARE\\D\\goes]\n[-HKLM\\SOFTWARE\\D\\never was]\n",
            "[-HKLM\\SOFTWARE\\D\\again]\n[HKLM\\SOFTWARE\\D\\again]\n\"new\"=dword:2\n",
        ),
        &[],
        0,
    );
    let dump = foreign::dump_key(Reader::Hivex, &bench.hive("SOFTWARE"), "D");
    let keys: Vec<&String> = dump.keys().collect();
    assert_eq!(keys, ["D", r"D\again"]);
    let names = |key: &str| -> Vec<&str> {
        dump[key]
            .values
            .iter()
            .map(|value| value.name.as_str())
            .collect()
    };
    assert_eq!(
        (names("D"), names(r"D\again")),
        (vec!["stays"], vec!["new"])
    );
}

#[test]
fn lines_that_windows_passes_over_stop_an_import() {
    if !Reader::Hivex.available() {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    let before = support::sha256_tree(&bench.target);
    let content = concat!(
        "Windows Registry Editor Version 5.00\n",
        "\"before\"=\"any key\"\n",
        "[HKEY_LOCAL_MACHINE\\SOFTWARE\\L]\n",
        "\"good\"=dword:1\n",
        "\"bad\"=dword:0x1\n",
        "\"half\"=hex:01,02\\\n  03\n",
        "# a comment\n",
        "[HKEY_CLASSES_ROOT\\L]\n",
        "\"elsewhere\"=\"x\"\n",
        "[HKEY_LOCAL_MACHINE\\SOFTWARE\\L\\End]\n",
    );
    let shown = bench.import(content, &[], 2);
    for line in ["line 2:", "line 5:", "line 6:"] {
        assert!(shown.contains(line), "{shown}");
    }
    assert!(
        !shown.contains("line 4:") && !shown.contains("line 8:"),
        "{shown}"
    );
    assert!(support::sha256_tree(&bench.target) == before);

    let shown = bench.import(content, &["--lenient"], 0);
    for part in ["line 2:", "line 5:", "line 6:", r"HKEY_CLASSES_ROOT\L"] {
        assert!(shown.contains(part), "{part}: {shown}");
    }
    let dump = foreign::dump_key(Reader::Hivex, &bench.hive("SOFTWARE"), "L");
    assert_eq!(dump.len(), 2, "{dump:?}");
    let names: Vec<&str> = dump["L"]
        .values
        .iter()
        .map(|value| value.name.as_str())
        .collect();
    assert_eq!(names, ["good"]);

    // What lies in no hive of the disk is an error of its own.
    let elsewhere = "REGEDIT4\n[HKEY_CURRENT_USER\\Software]\n";
    assert!(
        bench
            .import(elsewhere, &[], 2)
            .contains("HKEY_CURRENT_USER")
    );
}

#[test]
fn large_values_go_in_and_come_out() {
    if !Reader::ALL.into_iter().all(Reader::available) {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    // A segment of big data holds 16344 bytes.
    for size in [16_343_usize, 16_344, 16_345, 20_480, 40_000] {
        let data: Vec<u8> = (0..size).map(|at| (at % 251) as u8).collect();
        let digits: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
        let name = format!("size {size}");
        bench.import(
            format!(
                "Windows Registry Editor Version 5.00\n[HKLM\\SOFTWARE\\Large]\n\"{name}\"=hex:{}\n",
                digits.join(",\\\n  ")
            ),
            &[],
            0,
        );
        for reader in Reader::ALL {
            let found = foreign::value(reader, &bench.hive("SOFTWARE"), "Large", &name);
            assert!(
                found.is_some_and(|found| found.data == data),
                "{reader:?}: {size}"
            );
        }
        let (text, _) = bench.export(r"HKLM\SOFTWARE\Large", 0);
        let line = text.split(&format!("\"{name}\"=hex:")).nth(1).unwrap();
        let line = line.split("\r\n\"").next().unwrap().replace("\\\r\n  ", "");
        assert_eq!(line.trim_end(), digits.join(","));
        let query = bench.query(&[r"HKLM\SOFTWARE\Large", "-v", &name]);
        let upper: String = data.iter().map(|byte| format!("{byte:02X}")).collect();
        assert!(query.ends_with(&format!("REG_BINARY    {upper}\n\n")));
    }
}

/// A hive with names that no text form can hold: they are shown, and never lost in silence.
#[test]
fn names_that_text_cannot_hold_are_told() {
    let Some(bench) = Bench::with_software("hives-edge/misc/hivex-special.xz") else {
        return;
    };
    let output = bench.reg("query", &[r"HKLM\SOFTWARE", "/s"]);
    ends(&output, 0);
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(
        text.contains("SOFTWARE\\zero\\u{0}key\n    zero\\u{0}val    REG_DWORD    0x0\n"),
        "{text}"
    );
    assert!(
        !text.contains('\0')
            && text.contains("\u{20a7}")
            && text.contains("abcd_\u{e4}\u{f6}\u{fc}\u{df}")
    );
    assert!(String::from_utf8_lossy(&output.stderr).contains("zero\\u{0}val"));

    let json = bench.reg("query", &[r"HKLM\SOFTWARE", "/s", "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    let shown = json.to_string();
    assert!(shown.contains("zero\\u0000val"), "{shown}");

    let (text, _) = bench.export(r"HKLM\SOFTWARE", 1);
    assert!(text.contains("; left out"), "{text}");
    assert!(text.contains("SOFTWARE\\zero\\u{0}key\r\n"), "{text}");
    assert!(
        !text.contains("zero\\u{0}val") && !text.contains('\0'),
        "{text}"
    );
    // What the file does hold can be read back.
    bench.import([vec![0xff, 0xfe], utf16(&text)].concat(), &[], 0);
}

/// Values that would forge lines, clear a screen, or be taken for another name.
#[test]
fn hostile_names_and_data_stay_in_their_lines() {
    if !support::require_python("hivex") {
        return;
    }
    let Some(bench) = Bench::new() else { return };
    const SCRIPT: &str = r#"
import hivex, sys
hive = hivex.Hivex(sys.argv[1], write=True)
key = hive.node_add_child(hive.root(), "Hostile")
sz = lambda text: text.encode("utf-16-le") + b"\0\0"
hive.node_set_values(key, [
    {"key": "forged\n    Start", "t": 1, "value": sz("x")},
    {"key": "data", "t": 1, "value": sz("a\r\n    Start    REG_DWORD    0x4\x1b[2J\u009b2J")},
    {"key": "C:\\users\\u{0}", "t": 1, "value": sz("plain")},
])
below = hive.node_add_child(key, "line\nbreak")
hive.commit(None)
"#;
    support::run(
        support::program("/usr/bin/python3")
            .args(["-c", SCRIPT])
            .arg(bench.hive("SOFTWARE")),
    );
    let key = r"HKLM\SOFTWARE\Hostile";
    assert_eq!(
        bench.query(&[key]),
        concat!(
            "\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Hostile\n",
            "    forged\\u{a}    Start    REG_SZ    x\n",
            "    data    REG_SZ    a\\u{d}\\u{a}    Start    REG_DWORD    0x4\\u{1b}[2J\\u{9b}2J\n",
            "    C:\\users\\u{0}    REG_SZ    plain\n",
            "\nHKEY_LOCAL_MACHINE\\SOFTWARE\\Hostile\\line\\u{a}break\n",
        )
    );
    let (text, _) = bench.export(key, 1);
    let kept: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with(['"', '[']))
        .collect();
    assert_eq!(kept.len(), 3, "{text}");
    assert!(kept[2].starts_with("\"C:\\\\users\\\\u{0}\"="), "{text}");
    // The plan that a deletion shows holds no escape sequence either.
    let output = bench.reg("delete", &[key, "-v", "data", "--dry-run"]);
    let shown = ends(&output, 0);
    assert!(
        shown.contains("\\u{1b}") && !shown.contains('\u{1b}'),
        "{shown}"
    );
    ends(&bench.reg("delete", &[key, "-va", "-f"]), 0);
    assert_eq!(
        foreign::dump_key(Reader::Hivex, &bench.hive("SOFTWARE"), "Hostile")["Hostile"].values,
        []
    );
}

/// A name with half of a surrogate pair: no text is the same, so nothing may be done to another in its place.
#[test]
fn a_name_that_is_no_text_is_left_alone() {
    let Some(bench) = Bench::new() else { return };
    let key = r"HKLM\SOFTWARE\Lone";
    bench.add(&[key, "-v", "\u{20ac}xy", "-d", "a"]);
    bench.add(&[key, "-v", "other", "-d", "b"]);
    let path = bench.hive("SOFTWARE");
    let mut bytes = fs::read(&path).unwrap();
    let old = utf16("\u{20ac}xy");
    let at = bytes
        .windows(old.len())
        .position(|part| part == old)
        .unwrap();
    bytes[at..at + 2].copy_from_slice(&0xd800_u16.to_le_bytes());
    fs::write(&path, &bytes).unwrap();

    assert!(
        bench
            .query(&[key])
            .contains("    \\u{d800}xy    REG_SZ    a\n")
    );
    let json = bench.reg("query", &[key, "--format", "json"]);
    let json: serde_json::Value = serde_json::from_slice(&json.stdout).unwrap();
    assert_eq!(json["keys"][0]["values"][0]["name_utf16"], "00d878007900");
    assert_eq!(json["keys"][0]["values"][1].get("name_utf16"), None);
    let (text, _) = bench.export(key, 1);
    assert!(
        text.contains("\"other\"=") && !text.contains("xy\"="),
        "{text}"
    );

    let before = support::sha256_tree(&bench.target);
    let shown = ends(&bench.reg("delete", &[key, "-va", "-f"]), 2);
    assert!(shown.contains("\\u{d800}xy"), "{shown}");
    assert!(support::sha256_tree(&bench.target) == before);
    // The whole key goes, and the exact undo brings it back; edit by edit it cannot come back.
    let undo = |more: &[&str]| {
        support::coldfix(bench.folder.path())
            .arg("undo")
            .arg(&bench.target)
            .arg("--yes")
            .args(more)
            .output()
            .unwrap()
    };
    ends(&bench.reg("delete", &[key, "-f"]), 0);
    let shown = ends(&undo(&["--revert"]), 1);
    assert!(shown.contains("left alone"), "{shown}");
    ends(&undo(&[]), 0);
    assert!(support::sha256_tree(&bench.target) == before);
}

#[test]
fn a_target_that_is_none_is_an_error() {
    let (folder, file) = (support::temporary(), "no-such-disk");
    let output = support::coldfix(folder.path())
        .args(["reg", "query"])
        .arg(folder.path().join(file))
        .arg(TERM)
        .output()
        .unwrap();
    ends(&output, 2);
    assert!(String::from_utf8_lossy(&output.stderr).contains(file));
}

/// Deleting what Windows starts from is refused, whatever it is called.
#[test]
fn a_whole_control_set_is_not_deleted() {
    let (folder, state) = (support::temporary(), support::temporary());
    let Some(target) = support::fixture("folder/healthy", folder.path()) else {
        return;
    };
    let before = support::sha256_tree(&target);
    for key in [
        r"HKLM\SYSTEM\CurrentControlSet",
        r"HKLM\SYSTEM\controlset001\",
    ] {
        let output = support::coldfix(state.path())
            .args(["reg", "delete"])
            .arg(&target)
            .args([key, "-f"])
            .output()
            .unwrap();
        assert_eq!(output.status.code(), Some(3), "{key}");
    }
    assert_eq!(support::sha256_tree(&target), before);
}

/// On a disk, where the file of the hive has to grow past its clusters; undo takes that back too.
#[test]
fn a_hive_on_a_disk_grows_and_undo_is_exact() {
    if !Reader::ALL.into_iter().all(Reader::available)
        || !["ntfscat", "ntfsresize", "ntfsfix"]
            .into_iter()
            .all(support::require)
    {
        return;
    }
    let folder = support::temporary();
    let Some(target) = support::fixture("bare-broken.raw", folder.path()) else {
        return;
    };
    let before = support::sha256(&target);
    let bench = Bench { folder, target };
    let cat = || {
        let mut cat = support::program("ntfscat");
        // As the names are spelt on this disk.
        let path = "WINDOWS/system32/Config/SYSTEM";
        support::run(cat.arg("-f").arg(&bench.target).arg(path)).stdout
    };
    let old = cat().len();
    let data: Vec<u8> = (0..900_000_usize).map(|at| (at % 251) as u8).collect();
    let digits: Vec<String> = data.iter().map(|byte| format!("{byte:02x}")).collect();
    let text = format!(
        "Windows Registry Editor Version 5.00\n[HKLM\\SYSTEM\\Large]\n\"value\"=hex:{}\n",
        digits.join(",\\\n  ")
    );
    bench.import(text, &[], 0);
    let hive = bench.file("SYSTEM", cat());
    // Its clusters hold less than one more of 64 KiB.
    assert!(fs::metadata(&hive).unwrap().len() > old as u64 + 0x1_0000);
    for reader in Reader::ALL {
        let found = foreign::value(reader, &hive, "Large", "value");
        assert!(found.is_some_and(|found| found.data == data), "{reader:?}");
    }
    for (tool, arguments) in [
        ("ntfsresize", ["--info", "--force"].as_slice()),
        ("ntfsfix", &["-n"]),
    ] {
        support::run(support::program(tool).args(arguments).arg(&bench.target));
    }
    let undo = support::coldfix(bench.folder.path())
        .args(["undo", "--yes"])
        .arg(&bench.target)
        .output()
        .expect("run coldfix");
    ends(&undo, 0);
    assert_eq!(support::sha256(&bench.target), before);
}
