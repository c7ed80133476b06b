// SPDX-License-Identifier: GPL-2.0-or-later
//! The documents say what is true: links lead somewhere, the page of commands has the options of the program, every limit
//! is pinned by a test that exists, and what is named as a fix, preset or check is one.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects
)]

mod support;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use support::help;
use support::root;

/// Every document, without what is built: its path below the root, and its text.
fn documents() -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    for folder in [root().to_owned(), root().join("docs")] {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            if path.extension().is_some_and(|extension| extension == "md") {
                let text = fs::read_to_string(&path).unwrap();
                found.push((path.strip_prefix(root()).unwrap().to_owned(), text));
            }
        }
    }
    found.sort();
    found
}

fn document(name: &str) -> String {
    fs::read_to_string(root().join(name)).unwrap()
}

/// A text without its blocks of code: those between fences, and indented ones behind an empty line.
fn prose(text: &str) -> String {
    let (mut fenced, mut before_is_empty, mut block) = (false, true, false);
    let mut kept = String::new();
    for line in text.lines() {
        if line.starts_with("```") {
            fenced = !fenced;
            continue;
        }
        block = line.starts_with("    ") && (block || before_is_empty);
        before_is_empty = line.is_empty();
        if !fenced && !block {
            kept.push_str(line);
            kept.push('\n');
        }
    }
    kept
}

/// The spans of code in a text.
fn code(text: &str) -> Vec<String> {
    let parts: Vec<&str> = text.split('`').collect();
    assert!(parts.len() % 2 == 1, "a span of code does not end");
    let inner = parts.into_iter().skip(1).step_by(2);
    inner.map(str::to_owned).collect()
}

/// The name under which a heading can be linked to.
fn anchor(heading: &str) -> String {
    let kept = |c: &char| c.is_alphanumeric() || matches!(c, ' ' | '-' | '_');
    let plain: String = heading.trim().to_lowercase().chars().filter(kept).collect();
    plain.replace(' ', "-")
}

fn anchors(text: &str) -> BTreeSet<String> {
    let headings = |line: &str| {
        line.starts_with('#')
            .then(|| anchor(line.trim_start_matches('#')))
    };
    prose(text).lines().filter_map(headings).collect()
}

/// Where the links of a text lead: `](TARGET)`.
fn links(text: &str) -> Vec<String> {
    let prose = prose(text);
    let ends = prose.match_indices("](").map(|(at, open)| at + open.len());
    ends.map(|start| {
        let end = prose[start..].find(')').expect("a link ends");
        prose[start..start + end].to_owned()
    })
    .collect()
}

#[test]
fn every_link_leads_to_a_file_and_a_heading() {
    let documents = documents();
    assert!(documents.len() > 12, "{}", documents.len());
    let (mut wrong, mut seen) = (Vec::new(), 0);
    for (path, text) in &documents {
        for link in links(text) {
            if link.starts_with("https://") {
                continue;
            }
            seen += 1;
            let (file, heading) = link.split_once('#').unwrap_or((&link, ""));
            let target = match file {
                "" => root().join(path),
                file => root().join(path).parent().unwrap().join(file),
            };
            let there = target.exists()
                && (heading.is_empty()
                    || anchors(&fs::read_to_string(&target).unwrap()).contains(heading));
            if !there {
                wrong.push(format!("{}: {link}", path.display()));
            }
        }
    }
    assert!(seen > 40, "only {seen} links found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn the_table_of_contents_has_every_page() {
    let listed = links(&document("docs/README.md"));
    for entry in fs::read_dir(root().join("docs")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        if name != "README.md" {
            assert!(
                listed.contains(&name),
                "docs/README.md does not list {name}"
            );
        }
    }
    for outside in ["../README.md", "../SECURITY.md", "../CHANGELOG.md"] {
        assert!(listed.contains(&outside.to_owned()), "{outside}");
    }
}

/// The parts of a page by their headings of the second degree.
fn sections(text: &str) -> BTreeMap<String, String> {
    let parts = text.split("\n## ").skip(1);
    parts
        .map(|part| {
            let (heading, body) = part.split_once('\n').unwrap_or((part, ""));
            (heading.to_owned(), body.to_owned())
        })
        .collect()
}

/// The options that the first column of a table names.
fn options(section: &str) -> BTreeSet<String> {
    let rows = section.lines().filter_map(|line| line.strip_prefix("| `-"));
    rows.flat_map(|row| code(&format!("`-{}", row.split(" | ").next().unwrap())))
        .map(|option| {
            let end = option.find(['[', ' ', '=']).unwrap_or(option.len());
            option[..end].to_owned()
        })
        .collect()
}

#[test]
fn the_page_of_commands_has_the_options_of_the_program() {
    const WRITES: &str =
        "Takes the [options of commands that write](#options-of-commands-that-write).";
    let folder = support::temporary();
    let help = help::all(folder.path());
    let page = document("docs/commands.md");
    let sections = sections(&page);
    let common = options(&sections["Options of every command"]);
    let writing = options(&sections["Options of commands that write"]);
    assert!(common.len() > 4 && writing.len() > 4);

    let mut left: BTreeSet<&String> = sections
        .keys()
        .filter(|name| name.starts_with('`'))
        .collect();
    for (command, help) in &help {
        let of_all: BTreeSet<String> = help.common.iter().cloned().collect();
        assert_eq!(of_all, common, "{command}");
        if !help.commands.is_empty() {
            continue;
        }
        let heading = left
            .iter()
            .find(|name| {
                let words = name.trim_matches('`').strip_prefix(command.as_str());
                words.is_some_and(|rest| rest.is_empty() || rest.starts_with(' '))
            })
            .copied()
            .unwrap_or_else(|| panic!("docs/commands.md does not have {command}"));
        left.remove(heading);
        let section = &sections[heading];
        let mut named = options(section);
        if section.contains(WRITES) {
            named.extend(writing.iter().cloned());
        }
        let own: BTreeSet<String> = help
            .options
            .iter()
            .filter(|option| !common.contains(*option))
            .filter(|option| !["-h", "--help", "-V", "--version"].contains(&option.as_str()))
            .cloned()
            .collect();
        assert_eq!(named, own, "{command}");
    }
    assert!(left.is_empty(), "no such command: {left:?}");
}

/// The functions of a file that are tests.
fn tests(path: &Path) -> BTreeSet<String> {
    let text =
        fs::read_to_string(path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
    let mut found = BTreeSet::new();
    let mut is_test = false;
    for line in text.lines().map(str::trim) {
        is_test |= line == "#[test]";
        if let Some(rest) = line.strip_prefix("fn ")
            && std::mem::take(&mut is_test)
        {
            found.insert(rest.split('(').next().unwrap().to_owned());
        }
    }
    found
}

#[test]
fn every_limit_is_pinned_by_a_test_that_exists() {
    let page = document("docs/limits.md");
    let (mut rows, mut pinned) = (0, false);
    for line in page.lines().filter(|line| line.starts_with("| ")) {
        let columns: Vec<&str> = line.trim_matches('|').split(" | ").collect();
        // The first line of a table says whether its rows are limits, or repairs that are left out.
        if ["limit", "what"].contains(&columns[0].trim()) {
            pinned = columns[0].trim() == "limit";
            continue;
        }
        if !pinned {
            continue;
        }
        assert_eq!(columns.len(), 2, "{line}");
        let pins = code(columns[1]);
        assert!(!pins.is_empty(), "{line}");
        for pin in pins {
            let (file, name) = pin.split_once("::").unwrap_or_else(|| panic!("{pin}"));
            assert!(file.starts_with("tests/"), "{pin}");
            assert!(tests(&root().join(file)).contains(name), "{pin}");
        }
        rows += 1;
    }
    assert!(rows > 30, "only {rows} limits found");
}

#[test]
fn every_fix_preset_and_check_that_is_named_exists() {
    let fixes: BTreeSet<&str> = coldfix::checks::FIXES.iter().map(|fix| fix.name).collect();
    let presets: BTreeSet<&str> = coldfix::checks::PRESETS
        .iter()
        .map(|preset| preset.name)
        .collect();
    let mut seen = 0;
    for (path, text) in documents() {
        for (option, known) in [("--fix ", &fixes), ("--preset ", &presets)] {
            for (at, _) in text.match_indices(option) {
                let rest = &text[at + option.len()..];
                let is_name = |c: char| c.is_ascii_lowercase() || c == '-';
                let name = rest.split(|c| !is_name(c)).next().unwrap();
                // `--fix NAME`, and prose about the option.
                if name.is_empty() || !text[..at].ends_with(['`', ' ']) || name.starts_with('-') {
                    continue;
                }
                seen += 1;
                assert!(known.contains(name), "{}: {option}{name}", path.display());
            }
        }
    }
    assert!(seen > 30, "only {seen} names found");
}

#[test]
fn the_scan_finds_what_it_looks_for() {
    assert_eq!(anchor(" `coldfix log TARGET`"), "coldfix-log-target");
    assert_eq!(links("see [a](b.md#c)\n\n    [no](x)\n"), ["b.md#c"]);
    let row = "| `-r`, `--recursive` | below |\n| `--owner[=WHO]` | `--not` |\n";
    assert_eq!(
        Vec::from_iter(options(row)),
        ["--owner", "--recursive", "-r"]
    );
}
