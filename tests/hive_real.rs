// SPDX-License-Identifier: GPL-2.0-or-later
//! Hives that Windows and others made: read, checked, edited, and read back by programs that are not ours.
//!
//! Every hive without a fatal fault gets the same four edits: a new key of three levels, a changed DWORD, a
//! value of 20 KiB, a deleted tree. Four readers dump it before and after, with every key's time and every
//! value's data; the second dump must be the first one with exactly these edits.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};

use coldfix::hive::{Fault, Hive, Key, SecondOpinion, second_opinion};
use sha2::{Digest, Sha256};
use support::foreign::as_libregf;
use support::skip;

/// The number that a DWORD of our own gets.
const OURS: u32 = 0x0403_0201;
/// The time of every edit.
const NOW: u64 = 0x01dc_0000_1234_5678;
/// Hives up to this size are read by all readers, larger ones by those in C.
const SMALL: usize = 3 << 20;
/// The larger hives that are edited too.
const LARGE: [&str; 2] = ["hives/system-w10-clean", "hives/system-xp"];

fn data_folder() -> Option<PathBuf> {
    let folder = match std::env::var_os("COLDFIX_TEST_DATA") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("../shared/data"),
    };
    if !folder.is_dir() {
        skip("the test data (COLDFIX_TEST_DATA)");
        return None;
    }
    Some(folder)
}

fn files_below(folder: &Path, found: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        match path.is_dir() {
            true => files_below(&path, found),
            false => found.push(path),
        }
    }
}

/// All files below hives, hives-edge and bcd: name without `.xz`, content.
fn hives() -> impl Iterator<Item = (String, Vec<u8>)> {
    let mut found = Vec::new();
    let folder = data_folder();
    for room in ["hives", "hives-edge", "bcd"] {
        if let Some(folder) = &folder {
            files_below(&folder.join(room), &mut found);
        }
    }
    found.sort();
    found.into_iter().map(move |path| {
        let name = path.strip_prefix(folder.as_ref().unwrap()).unwrap();
        let name = name.with_extension("");
        let packed = path.extension().is_some_and(|extension| extension == "xz");
        match packed {
            true => (name.to_str().unwrap().to_owned(), unxz(&path)),
            false => {
                let name = path.strip_prefix(folder.as_ref().unwrap()).unwrap();
                (
                    name.to_str().unwrap().to_owned(),
                    std::fs::read(&path).unwrap(),
                )
            }
        }
    })
}

fn unxz(path: &Path) -> Vec<u8> {
    run(Command::new("xz").arg("-dc").arg(path)).stdout
}

fn run(command: &mut Command) -> Output {
    let output = command
        .output()
        .unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(
        output.status.success(),
        "{command:?} ended with {}\n{}",
        output.status,
        String::from_utf8_lossy(&output.stderr)
    );
    output
}

/// Made by Windows and neither damaged nor half-written.
fn is_healthy(name: &str) -> bool {
    let made_by_windows = name.starts_with("hives/") || name.starts_with("bcd/");
    made_by_windows && name != "hives/system-xp-corrupt" && !is_log(name)
}

fn is_log(name: &str) -> bool {
    name.contains(".LOG") || name.ends_with("OldLogWithRemnantData")
}

fn fatal(faults: &[Fault]) -> Vec<String> {
    let fatal = faults.iter().filter(|fault| fault.fatal);
    fatal.map(ToString::to_string).collect()
}

/// Walks everything that can be reached, as a reader would that overlooks what it cannot read.
fn walk<'a>(key: &Key<'a>, depth: usize, visit: &mut dyn FnMut(&Key<'a>)) {
    visit(key);
    for value in key.values().unwrap_or_default() {
        let _data = value.data();
    }
    let _class = key.class();
    let _security = key.security();
    // A damaged hive may have a key below itself.
    if depth < 20 {
        for subkey in key.subkeys().unwrap_or_default() {
            walk(&subkey, depth + 1, visit);
        }
    }
}

#[test]
fn every_hive_is_read_and_checked() {
    let mut sound = 0;
    for (name, image) in hives() {
        let hive = match Hive::parse(image) {
            Ok(hive) => hive,
            Err(error) => {
                let none = name.ends_with("SYSTEM.DAT") || name.ends_with("BadBaseBlockHive");
                assert!(is_log(&name) || none, "{name}: {error}");
                continue;
            }
        };
        let faults = hive.check();
        if is_healthy(&name) {
            assert!(faults.is_empty(), "{name}: {faults:#?}");
            sound += 1;
        }
        let mut keys = 0_usize;
        if let Ok(root) = hive.root() {
            walk(&root, 0, &mut |_| keys += 1);
        }
        assert!(keys > 0 || !fatal(&faults).is_empty(), "{name}");
    }
    if data_folder().is_some() {
        assert_eq!(sound, 26);
    }
}

#[test]
fn faults_of_the_damaged_hives_are_named() {
    let Some(folder) = data_folder() else { return };
    for (name, structure, found) in [
        (
            "hives-edge/yarp/BadListHive",
            "subkey list",
            "something else uses too",
        ),
        (
            "hives-edge/yarp/BadSubkeyHive",
            "key node (nk)",
            "something else uses too",
        ),
        (
            "hives-edge/yarp/DeletedDataHiveTruncated",
            "value list",
            "0x100290",
        ),
        (
            "hives-edge/yarp/DuplicateSubkeysHive",
            "subkey list",
            "\"4500\" after",
        ),
        (
            "hives-edge/yarp/EffectiveSizeHive",
            "hive base block",
            "0x4c564e49",
        ),
        (
            "hives-edge/yarp/GarbageHive",
            "hive base block",
            "0x4c564e49",
        ),
        ("hives-edge/yarp/InvalidParentHive", "key node (nk)", "0x20"),
        (
            "hives-edge/yarp/TruncatedDirtyHive",
            "hive bins data",
            "8192 bytes",
        ),
        (
            "hives-edge/yarp/TruncatedHive",
            "hive bins data",
            "8192 bytes",
        ),
        (
            "hives-edge/yarp/TruncatedNameHive",
            "key node (nk)",
            "name length 22",
        ),
        (
            "hives-edge/yarp/WrongOrderHive",
            "subkey list",
            "\"1\" after",
        ),
        (
            "hives-edge/misc/plaso-corrupt_sub_key_list.hiv",
            "key node (nk)",
            "0x4480",
        ),
        (
            "hives/system-xp-corrupt",
            "hive bin",
            "\\x00\\x00\\x00\\x00",
        ),
    ] {
        let image = unxz(&folder.join(format!("{name}.xz")));
        let mut hive = Hive::parse(image.clone()).unwrap();
        let faults = hive.check();
        assert!(
            faults.iter().any(|fault| fault.fatal
                && fault.structure.starts_with(structure)
                && fault.found.contains(found)),
            "{name}: {faults:#?}"
        );
        if name.contains("Truncated") && structure == "hive bins data" || name.contains("corrupt") {
            // Whatever the editors answer, they answer it whole or not at all.
            let answer = hive.create_key("coldfix", NOW);
            assert!(answer.is_ok() || hive.bytes() == image, "{name}");
        }
    }
}

/// What is done to a hive.
struct Edits {
    /// A DWORD that was there: path, name, new number.
    dword: Option<(String, String, u32)>,
    /// A key that was there, with at least one subkey.
    tree: Option<String>,
}

/// The blob of 20 KiB.
fn blob() -> Vec<u8> {
    (0..20_480_u32).map(|place| (place % 251) as u8).collect()
}

fn is_plain(name: &str) -> bool {
    name.chars()
        .all(|c| c.is_ascii_graphic() && c != '\\' || c == ' ')
}

/// The first DWORD and the first small tree below the first level whose paths are plain ASCII.
fn choose(hive: &Hive) -> Edits {
    let mut edits = Edits {
        dword: None,
        tree: None,
    };
    let mut pending = vec![hive.root().unwrap()];
    while let Some(key) = pending.pop() {
        let path = key.path().unwrap();
        let subkeys = key.subkeys().unwrap();
        if !is_plain(&path.replace('\\', "")) || path.contains("\\u{") || key.is_symlink() {
            continue;
        }
        let size: usize = subkeys
            .iter()
            .map(|key| 1 + key.subkey_count() as usize)
            .sum();
        if edits.tree.is_none() && path.contains('\\') && (1..50).contains(&size) {
            edits.tree = Some(path);
            continue;
        }
        for value in key.values().unwrap() {
            let name = value.name().to_string();
            let data = value.data().unwrap();
            if edits.dword.is_none()
                && value.kind() == 4
                && data.len() == 4
                && is_plain(&name)
                && !name.is_empty()
            {
                let old = u32::from_le_bytes((*data).try_into().unwrap());
                edits.dword = Some((path.clone(), name, old ^ 0x0101));
            }
        }
        if edits.tree.is_some() && edits.dword.is_some() {
            break;
        }
        pending.extend(subkeys.into_iter().rev());
    }
    edits
}

fn apply(hive: &mut Hive, edits: &Edits) {
    assert!(hive.create_key("Coldfix\\Test\\Deep", NOW).unwrap());
    hive.set_value("Coldfix\\Test\\Deep", "Blob", 3, &blob(), NOW)
        .unwrap();
    // Where the hive has no DWORD or no tree of its own, one that we made first.
    let (path, name, number) = match &edits.dword {
        Some((path, name, number)) => (path.as_str(), name.as_str(), *number),
        None => {
            hive.set_value("Coldfix\\Test", "Number", 4, &[9; 4], NOW)
                .unwrap();
            ("Coldfix\\Test", "Number", OURS)
        }
    };
    hive.set_value(path, name, 4, &number.to_le_bytes(), NOW)
        .unwrap();
    let tree = edits.tree.as_deref().unwrap_or("Coldfix\\Doomed");
    if edits.tree.is_none() {
        assert!(hive.create_key("Coldfix\\Doomed\\a\\b", NOW).unwrap());
        hive.set_value("Coldfix\\Doomed\\a", "", 1, &blob(), NOW)
            .unwrap();
    }
    assert!(hive.delete_key(tree, NOW).unwrap(), "{tree}");
}

/// What a foreign reader must see after the edits, from what it saw before.
fn expected(before: &BTreeSet<String>, edits: &Edits) -> BTreeSet<String> {
    let literal = |path: &str| path.replace('\\', "\\\\").replace('\'', "\\'");
    let tree = edits.tree.as_deref().map(literal);
    let parent = edits
        .tree
        .as_deref()
        .and_then(|tree| tree.rsplit_once('\\'));
    let parent = parent.map(|(parent, _)| literal(parent));
    let dword = edits.dword.as_ref().map(|(path, name, number)| {
        let number: String = number
            .to_le_bytes()
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        (literal(path), literal(name), number)
    });
    let mut after = BTreeSet::new();
    for line in before {
        let mut fields: Vec<&str> = line.split('\t').collect();
        let path = fields[1];
        if let Some(tree) = &tree
            && (path == tree || path.starts_with(&format!("{tree}\\\\")))
        {
            continue;
        }
        let now = NOW.to_string();
        let changed_dword = dword.as_ref().filter(|(dword, ..)| dword == path);
        if fields[0] == "K" {
            let touched = path.is_empty() || parent.as_deref() == Some(path);
            if touched || changed_dword.is_some() {
                fields[2] = &now;
            }
        } else if let Some((_, name, number)) = changed_dword
            && fields[2] == name
            && fields[3] == "4"
        {
            fields[5] = number;
        }
        after.insert(fields.join("\t"));
    }
    for path in ["Coldfix", "Coldfix\\Test", "Coldfix\\Test\\Deep"] {
        after.insert(format!("K\t{}\t{NOW}", literal(path)));
    }
    let hash: String = Sha256::digest(blob())
        .iter()
        .map(|b| format!("{b:02x}"))
        .collect();
    let path = literal("Coldfix\\Test\\Deep");
    after.insert(format!("V\t{path}\tBlob\t3\t20480\t{hash}"));
    if edits.dword.is_none() {
        let path = literal("Coldfix\\Test");
        after.insert(format!("V\t{path}\tNumber\t4\t4\t01020304"));
    }
    after
}

fn python(reader: &str) -> PathBuf {
    if reader == "hivex" {
        return "/usr/bin/python3".into();
    }
    let oracles = match std::env::var_os("COLDFIX_ORACLES") {
        Some(folder) if !folder.is_empty() => PathBuf::from(folder),
        _ => Path::new(env!("CARGO_MANIFEST_DIR")).join("target/oracles"),
    };
    oracles.join("bin/python")
}

/// Dumps `files` with a reader; false when the reader is not installed.
fn dump(reader: &str, files: &[PathBuf]) -> bool {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/oracles/dump_hive.py");
    let output = Command::new(python(reader))
        .arg(script)
        .arg(reader)
        .args(files)
        .output();
    let there = output.as_ref().is_ok_and(|output| output.status.success());
    if !there {
        skip(&format!("the hive reader {reader}: {output:?}"));
    }
    there
}

fn lines(file: &Path, reader: &str) -> BTreeSet<String> {
    let name = format!("{}.{reader}", file.to_str().unwrap());
    let text = std::fs::read_to_string(name).unwrap();
    text.lines().map(str::to_owned).collect()
}

/// The lines of `reglookup`, without the time of the keys. It percent-encodes what is not plain ASCII.
fn reglookup(file: &Path) -> Option<BTreeSet<String>> {
    let Ok(output) = Command::new("reglookup").arg(file).output() else {
        skip("the hive reader reglookup");
        return None;
    };
    let text = String::from_utf8_lossy(&output.stdout);
    let lines = text
        .lines()
        .map(|line| line.rsplit_once(',').unwrap().0.to_owned());
    Some(lines.collect())
}

#[test]
fn edited_hives_are_what_foreign_readers_expect() {
    let folder = tempfile::tempdir().unwrap();
    let mut jobs = Vec::new();
    for (name, image) in hives() {
        let Ok(mut hive) = Hive::parse(image.clone()) else {
            continue;
        };
        let large = image.len() > SMALL;
        let fatal = fatal(&hive.check());
        if !fatal.is_empty() {
            continue;
        }
        let file = folder.path().join(name.replace('/', "_"));
        let edits = choose(&hive);
        apply(&mut hive, &edits);
        // Dirty ones become clean by it: most readers refuse or replay otherwise.
        let sequence = hive.base_block().primary_sequence.wrapping_add(1);
        hive.seal(sequence, NOW).unwrap();
        let before_faults = Hive::parse(image.clone()).unwrap().check().len();
        let after_faults = hive.check();
        assert!(
            after_faults.len() <= before_faults,
            "{name}: {after_faults:#?}"
        );
        if large && !LARGE.contains(&name.as_str()) {
            continue;
        }
        let before = file.with_extension("before");
        let after = file.with_extension("after");
        let mut original = Hive::parse(image).unwrap();
        original.seal(sequence, NOW).unwrap();
        std::fs::write(&before, original.bytes()).unwrap();
        std::fs::write(&after, hive.bytes()).unwrap();
        jobs.push((name, edits, before, after, large));
    }

    let mut judged: Vec<usize> = vec![0; jobs.len()];
    let mut changes = 0;
    let mut readers = 0;
    for reader in ["hivex", "python-registry", "dissect", "libregf"] {
        // dissect takes ten seconds for 11 MiB.
        let wanted = |large: bool| !large || reader != "dissect";
        let files: Vec<PathBuf> = jobs
            .iter()
            .filter(|job| wanted(job.4))
            .flat_map(|job| [job.2.clone(), job.3.clone()])
            .collect();
        if files.is_empty() || !dump(reader, &files) {
            continue;
        }
        readers += 1;
        for (job, judged) in jobs.iter().zip(&mut judged) {
            let (name, edits, before, after, large) = job;
            if !wanted(*large) {
                continue;
            }
            let before = lines(before, reader);
            if let Some(error) = before.iter().find(|line| line.starts_with("E\t")) {
                // It could not read the hive that we were given either.
                assert!(!is_healthy(name), "{reader} {name}: {error}");
                continue;
            }
            let (seen, wanted) = (lines(after, reader), expected(&before, edits));
            let missing: Vec<_> = wanted.difference(&seen).take(5).collect();
            let extra: Vec<_> = seen.difference(&wanted).take(5).collect();
            assert!(
                missing.is_empty() && extra.is_empty(),
                "{reader} {name}: {missing:#?} {extra:#?}"
            );
            changes += seen.symmetric_difference(&before).count();
            *judged += 1;
        }
    }
    readers += usize::from(jobs.iter().any(|job| reglookup(&job.2).is_some()));
    for (job, judged) in jobs.iter().zip(&mut judged) {
        let (name, edits, before, after, _) = job;
        let Some((before, after)) = reglookup(before).zip(reglookup(after)) else {
            continue;
        };
        let allowed = |line: &&String| {
            let is = |path: &str, end: &str| {
                let path = path.replace('\\', "/");
                line.starts_with(&format!("/{path}{end}"))
            };
            let inside = |path: &str| is(path, "/") || is(path, ",");
            let tree = edits.tree.as_deref().is_some_and(inside);
            let dword = edits
                .dword
                .as_ref()
                .is_some_and(|(path, name, _)| match path.is_empty() {
                    true => is(&format!("\\{name}"), ","),
                    false => is(&format!("{path}\\{name}"), ","),
                });
            tree || dword || inside("Coldfix")
        };
        let difference: Vec<&String> = before.symmetric_difference(&after).collect();
        let extra: Vec<_> = difference
            .iter()
            .filter(|line| !allowed(line))
            .take(5)
            .collect();
        assert!(extra.is_empty(), "reglookup {name}: {extra:#?}");
        let made = after.contains("/Coldfix/Test/Deep,KEY,");
        assert!(made || !is_healthy(name), "reglookup {name}");
        *judged += usize::from(made);
    }
    for (job, judged) in jobs.iter().zip(&judged) {
        // Names that are no valid UTF-16, and version 1.6, are too much for some of the five.
        let enough = if is_healthy(&job.0) { 3 } else { 2 };
        assert!(*judged >= enough || readers < 4, "{}: {judged}", job.0);
    }
    println!("{} hives, {changes} changed lines", jobs.len());
}

/// A text as Python writes it in ASCII, without its quotes: single ones, unless that saves escaping one inside.
fn literal(name: &str) -> String {
    let in_single_quotes = !name.contains('\'') || name.contains('"');
    let mut out = String::new();
    for c in name.chars() {
        match (c, u32::from(c)) {
            ('\\', _) => out.push_str("\\\\"),
            ('\'', _) if in_single_quotes => out.push_str("\\'"),
            ('\t', _) => out.push_str("\\t"),
            ('\n', _) => out.push_str("\\n"),
            ('\r', _) => out.push_str("\\r"),
            (' '..='~', _) => out.push(c),
            (_, number @ ..=0xff) => out.push_str(&format!("\\x{number:02x}")),
            (_, number @ ..=0xffff) => out.push_str(&format!("\\u{number:04x}")),
            (_, number) => out.push_str(&format!("\\U{number:08x}")),
        }
    }
    out
}

/// A key and what is below it as `dump_hive.py` writes them; of a value the data that `seen` leaves of it.
fn own_lines(
    key: &Key<'_>,
    path: &str,
    seen: fn(u32, &[u8]) -> &[u8],
    found: &mut BTreeSet<String>,
) {
    let at = literal(path);
    found.insert(format!("K\t{at}\t{}", key.last_written()));
    for value in key.values().unwrap() {
        let name = literal(&value.name().to_string_lossy());
        let data = value.data().unwrap();
        let data = seen(value.kind(), &data);
        let hex = |bytes: &[u8]| -> String { bytes.iter().map(|b| format!("{b:02x}")).collect() };
        let shown = match data.len() {
            ..=64 => hex(data),
            _ => hex(&Sha256::digest(data)),
        };
        let (kind, len) = (value.kind(), data.len());
        found.insert(format!("V\t{at}\t{name}\t{kind}\t{len}\t{shown}"));
    }
    for subkey in key.subkeys().unwrap() {
        let name = subkey.name().to_string_lossy();
        let below = match path.is_empty() {
            true => name,
            false => format!("{path}\\{name}"),
        };
        own_lines(&subkey, &below, seen, found);
    }
}

/// Lines without the data of one to three bytes: where these lie in the record of the value, libregf shows zeros.
fn without_short_data(lines: BTreeSet<String>) -> BTreeSet<String> {
    let lines = lines.into_iter().map(|line| {
        let fields: Vec<&str> = line.split('\t').collect();
        match fields.as_slice() {
            [_, _, _, _, "1" | "2" | "3", data] => line.strip_suffix(data).unwrap().to_owned(),
            _ => line,
        }
    });
    lines.collect()
}

#[test]
fn foreign_readers_see_every_key_and_value_that_we_see() {
    let folder = tempfile::tempdir().unwrap();
    let mut jobs = Vec::new();
    for (name, image) in hives() {
        let large = image.len() > SMALL;
        if !is_healthy(&name) || large && !LARGE.contains(&name.as_str()) {
            continue;
        }
        let mut hive = Hive::parse(image).unwrap();
        let sequence = hive.base_block().primary_sequence.wrapping_add(1);
        hive.seal(sequence, NOW).unwrap();
        let file = folder.path().join(name.replace('/', "_"));
        std::fs::write(&file, hive.bytes()).unwrap();
        jobs.push((name, file, hive));
    }
    let mut compared = 0;
    let all: fn(u32, &[u8]) -> &[u8] = |_, data| data;
    for (reader, seen) in [("hivex", all), ("libregf", as_libregf)] {
        let files: Vec<PathBuf> = jobs.iter().map(|job| job.1.clone()).collect();
        if files.is_empty() || !dump(reader, &files) {
            continue;
        }
        for (name, file, hive) in &jobs {
            let mut theirs = lines(file, reader);
            let mut ours = BTreeSet::new();
            own_lines(&hive.root().unwrap(), "", seen, &mut ours);
            if reader == "libregf" {
                [theirs, ours] = [theirs, ours].map(without_short_data);
            }
            let missing: Vec<_> = theirs.difference(&ours).take(5).collect();
            let extra: Vec<_> = ours.difference(&theirs).take(5).collect();
            assert!(
                missing.is_empty() && extra.is_empty(),
                "{reader} {name}: {missing:#?} {extra:#?}"
            );
            compared += ours.len();
        }
    }
    println!("{compared} keys and values of {} hives", jobs.len());
}

/// Asks nt-hive about every key and value from `key` down; returns about how many.
fn compare(image: &[u8], key: &Key<'_>, path: &str) -> usize {
    let mut asked = 1;
    let found = second_opinion(image, path, None).unwrap();
    assert_eq!(found, SecondOpinion::Key, "{path}");
    for value in key.values().unwrap() {
        let name = value.name().to_string_lossy();
        let data = value.data().unwrap().into_owned();
        let kind = Some(value.kind()).filter(|&kind| kind < 12);
        match second_opinion(image, path, Some(&name)).unwrap() {
            SecondOpinion::CannotSay(_) => assert!(data.len() > 16344, "{path} {name}"),
            found => {
                let ours = SecondOpinion::Value { kind, data };
                assert_eq!(found, ours, "{path} {name}");
            }
        }
        asked += 1;
    }
    for subkey in key.subkeys().unwrap() {
        let name = subkey.name().to_string_lossy();
        let below = match path.is_empty() {
            true => name,
            false => format!("{path}\\{name}"),
        };
        asked += compare(image, &subkey, &below);
    }
    asked
}

#[test]
fn nt_hive_agrees_on_whole_edited_hives() {
    let mut asked = 0;
    for (name, image) in hives() {
        if !is_healthy(&name) || image.len() > SMALL && name != LARGE[0] {
            continue;
        }
        let mut hive = Hive::parse(image).unwrap();
        let edits = choose(&hive);
        apply(&mut hive, &edits);
        let sequence = hive.base_block().primary_sequence.wrapping_add(1);
        hive.seal(sequence, NOW).unwrap();
        asked += compare(hive.bytes(), &hive.root().unwrap(), "");
    }
    println!("nt-hive was asked about {asked} keys and values");
}
