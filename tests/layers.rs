// SPDX-License-Identifier: GPL-2.0-or-later
//! The order of the modules in `src/lib.rs`, enforced: a module uses only those above it in that list, one module
//! writes to the host, and only the command line prints, reads the environment and asks the clock.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::string_slice
)]

use std::fs;
use std::path::{Path, PathBuf};

/// A source file: its path below `src`, its module, and its lines with their numbers, without tests and comments.
struct Source {
    path: String,
    module: String,
    lines: Vec<(usize, String)>,
}

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// The public modules of `src/lib.rs`, in its order.
fn order() -> Vec<String> {
    let text = fs::read_to_string(root().join("src/lib.rs")).unwrap();
    text.lines()
        .filter_map(|line| line.strip_prefix("pub mod ")?.strip_suffix(';'))
        .map(str::to_owned)
        .collect()
}

fn sources() -> Vec<Source> {
    let mut paths = Vec::new();
    let mut open = vec![root().join("src")];
    while let Some(folder) = open.pop() {
        for entry in fs::read_dir(folder).unwrap() {
            let path = entry.unwrap().path();
            match path.is_dir() {
                true => open.push(path),
                false => paths.push(path),
            }
        }
    }
    paths.sort();
    let tests = test_files(&paths);
    let sources: Vec<Source> = paths
        .into_iter()
        .filter(|path| {
            !tests
                .iter()
                .any(|test| path.starts_with(test) || path == &test.with_extension("rs"))
        })
        .map(|path| {
            let text = fs::read_to_string(&path).unwrap();
            let path = path
                .strip_prefix(root().join("src"))
                .unwrap()
                .to_str()
                .unwrap()
                .replace('\\', "/");
            let module = path
                .split('/')
                .next()
                .unwrap()
                .trim_end_matches(".rs")
                .to_owned();
            Source {
                lines: code(&text),
                path,
                module,
            }
        })
        .collect();
    assert!(sources.len() > 60, "only {} files", sources.len());
    sources
}

/// Modules that are compiled for tests only: `#[cfg(test)]` before `mod name;`, as paths without `.rs`.
fn test_files(paths: &[PathBuf]) -> Vec<PathBuf> {
    let mut found = Vec::new();
    for path in paths {
        let text = fs::read_to_string(path).unwrap();
        let lines: Vec<&str> = text.lines().map(str::trim).collect();
        for pair in lines.windows(2) {
            let module = pair[1].trim_start_matches("pub ").strip_prefix("mod ");
            if let ("#[cfg(test)]", Some(name)) =
                (pair[0], module.and_then(|name| name.strip_suffix(';')))
            {
                let folder = match path.file_name().unwrap().to_str().unwrap() {
                    "mod.rs" | "lib.rs" => path.parent().unwrap().to_owned(),
                    _ => path.with_extension(""),
                };
                found.push(folder.join(name));
            }
        }
    }
    found
}

/// The lines that are compiled into the program: what follows the tests, and comments, are left out.
fn code(text: &str) -> Vec<(usize, String)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (number, line) in lines.iter().enumerate() {
        // Tests stand at the end of their file; a declaration of a test module is one line more.
        let next = lines.get(number + 1).map_or("", |next| next.trim());
        if line.trim() == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{') {
            break;
        }
        let code = line.split("//").next().unwrap_or_default();
        found.push((number + 1, code.to_owned()));
    }
    found
}

/// The modules that a line names as `crate::NAME`, also in `crate::{a, b::c}`.
fn used(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, prefix) in line.match_indices("crate::") {
        let rest = &line[at + prefix.len()..];
        let name = |text: &str| -> String {
            text.trim()
                .chars()
                .take_while(|c| c.is_alphanumeric() || *c == '_')
                .collect()
        };
        match rest.strip_prefix('{') {
            Some(list) => found.extend(list.split(',').map(name)),
            None => found.push(name(rest)),
        }
    }
    found
}

#[test]
fn modules_use_only_those_above_them() {
    let order = order();
    assert!(
        order.len() > 12 && order.last().unwrap() == "cli",
        "{order:?}"
    );
    let place = |name: &str| order.iter().position(|module| module == name);
    let mut wrong = Vec::new();
    let mut seen = 0;
    for source in sources() {
        let Some(here) = place(&source.module) else {
            assert!(
                ["lib", "main"].contains(&source.module.as_str()),
                "{} is not in src/lib.rs",
                source.path
            );
            continue;
        };
        for (number, line) in &source.lines {
            for name in used(line) {
                let Some(there) = place(&name) else { continue };
                seen += 1;
                if there > here {
                    wrong.push(format!(
                        "src/{}:{number}: {} uses {name}",
                        source.path, source.module
                    ));
                }
            }
        }
    }
    assert!(seen > 150, "only {seen} uses found");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

/// Lines that hold one of `words`, in files for which `allowed` is false.
fn hold(words: &[&str], allowed: &dyn Fn(&str) -> bool) -> Vec<String> {
    let mut found = Vec::new();
    for source in sources() {
        if allowed(&source.path) {
            continue;
        }
        for (number, line) in &source.lines {
            if words.iter().any(|word| line.contains(word)) {
                found.push(format!("src/{}:{number}: {}", source.path, line.trim()));
            }
        }
    }
    found
}

#[test]
fn only_the_command_line_prints_and_asks_environment_and_clock() {
    let words = [
        "println!",
        "print!",
        "dbg!",
        "io::stdout",
        "io::stderr",
        "io::stdin",
        "anstream",
        "std::env",
        "env::var",
        "env::args",
        "SystemTime",
        "Timestamp::now",
        "Zoned::now",
        "Instant::now",
        "new_v4",
    ];
    let cli = |path: &str| path.starts_with("cli/") || path == "main.rs";
    assert_eq!(hold(&words, &cli), [""; 0]);
    // The words are those that are used where they may be.
    let inside = hold(&words, &|path| !cli(path));
    for word in ["anstream", "std::env", "Timestamp::now", "new_v4"] {
        assert!(inside.iter().any(|line| line.contains(word)), "{word}");
    }
}

/// Host files are opened for writing, written, cut and removed in these files and nowhere else.
#[test]
fn only_commit_writes_to_the_host() {
    let words = [
        "write_all_at(",
        "seek_write(",
        "pwrite",
        "set_len(",
        "fs::write",
        "fs::remove",
        "fs::rename",
        "fs::copy",
        "File::create",
        "create_new(",
        ".write(true)",
        "fs::create_dir",
        "hard_link",
        "set_permissions",
        "setxattr(",
        "renameat",
        "linkat(",
    ];
    let allowed = |path: &str| {
        path.starts_with("commit/")
            // The device that commit writes through, and how it is opened.
            || path == "device/host.rs"
            || path == "device/file.rs"
            || path == "device/block.rs"
            || path.starts_with("device/windows/")
            // A file of reports of an earlier run, which is gone on with; anything else is refused.
            || path == "cli/resume.rs"
    };
    assert_eq!(hold(&words, &allowed), [""; 0]);
    assert!(hold(&words, &|path| !allowed(path)).len() > 4);

    // Writing through the Device trait: layers hand it down to the overlay; on the host's device only commit calls it.
    let callers = hold(&[".write_at("], &|path| {
        path.starts_with("commit/")
            || path.starts_with("container/")
            || [
                "device/slice.rs",
                // What a replay changed goes from its own overlay to the disk's.
                "device/deferred.rs",
                "device/overlay.rs",
                "volume/ntfs/logfile/replay/places.rs",
                "volume/fat/replace.rs",
                "volume/fat/table.rs",
                "volume/ntfs/mft/store.rs",
            ]
            .contains(&path)
    });
    assert_eq!(callers, [""; 0]);
    // A container's file grows with its blocks; nothing else does.
    let callers = hold(&[".set_length("], &|path| {
        path.starts_with("commit/") || path.starts_with("container/")
    });
    assert_eq!(callers, [""; 0]);
    // And what the volume writes to is the overlay, whatever was opened: the one place where the two meet.
    let target = fs::read_to_string(root().join("src/target.rs")).unwrap();
    assert!(
        target.contains("Overlay::new"),
        "src/target.rs puts an overlay over the disk"
    );
}

/// The only files with `unsafe` in them, each with its argument.
const UNSAFE: [&str; 3] = [
    "device/mmap.rs",
    "device/windows/api.rs",
    "volume/buffer.rs",
];

#[test]
fn the_library_does_not_use_what_is_for_the_command_line() {
    let cli = |path: &str| path.starts_with("cli/") || path == "main.rs";
    assert_eq!(hold(&["anyhow", "clap::", "anstream"], &cli), [""; 0]);
    assert_eq!(hold(&["unsafe "], &|path| UNSAFE.contains(&path)), [""; 0]);
}

#[test]
fn the_scan_finds_what_it_looks_for() {
    assert_eq!(used("use crate::{edit, hive::Key};"), ["edit", "hive"]);
    assert_eq!(
        used("    let x = crate::edit::A(crate::plan::B);"),
        ["edit", "plan"]
    );
    let text = "use a; // crate::cli\n#[cfg(test)]\nmod tests;\nlet b;\n#[cfg(test)]\nmod tests {\n    println!();\n}\n";
    let lines: Vec<String> = code(text)
        .into_iter()
        .map(|(_, line)| line.trim().to_owned())
        .collect();
    assert_eq!(lines, ["use a;", "#[cfg(test)]", "mod tests;", "let b;"]);
}
