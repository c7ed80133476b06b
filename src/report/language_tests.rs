// SPDX-License-Identifier: GPL-2.0-or-later
//! The translations are complete and current.

use std::collections::BTreeSet;
use std::path::Path;

use super::*;

/// The texts of all checks' sources, by walking their folder.
fn sources() -> String {
    let mut open = vec![Path::new(env!("CARGO_MANIFEST_DIR")).join("src/checks")];
    let mut all = String::new();
    while let Some(folder) = open.pop() {
        for entry in std::fs::read_dir(folder).expect("the folder of checks") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                open.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                all.push_str(&std::fs::read_to_string(&path).expect("a source"));
            }
        }
    }
    all
}

/// The string literal that a text begins with.
fn literal(code: &str) -> Option<String> {
    let mut out = String::new();
    let mut characters = code.trim_start().strip_prefix('"')?.chars();
    loop {
        match characters.next()? {
            '"' => return Some(out),
            '\\' => out.push(characters.next()?),
            c => out.push(c),
        }
    }
}

/// The sentences that checks add to a cause, or put in the place of a title, when the evidence asks for it: literals
/// where they are added, and constants that are sentences.
fn sentences() -> BTreeSet<String> {
    let code = sources();
    let mut found = BTreeSet::new();
    for part in code.split(".add(").skip(1) {
        found.extend(literal(part).filter(|text| is_sentence(text)));
    }
    for part in code.split("const ").skip(1) {
        let Some((name, value)) = part.split_once(": &str =") else {
            continue;
        };
        let stands_for_title = code.contains(&format!("sentence = Some({name})"));
        found.extend(literal(value).filter(|text| stands_for_title || is_sentence(text)));
    }
    found
}

fn is_sentence(text: &str) -> bool {
    text.ends_with('.') && text.split(' ').count() > 3
}

fn japanese() -> &'static Messages {
    Language::Japanese.messages().expect("Japanese")
}

#[test]
fn the_sentences_in_the_code_are_found() {
    let found = sentences();
    assert!(found.len() >= 3, "{found:?}");
    assert!(
        found
            .contains("Remote Desktop is switched off by Group Policy; the local setting is right")
    );
}

#[test]
fn every_text_has_its_japanese() {
    let text = include_str!("messages/ja.json");
    let file: Messages = serde_json::from_str(text).expect("messages/ja.json is JSON");
    assert_eq!(
        file.len(),
        text.matches("\": \"").count(),
        "a text is there twice"
    );
    let mut wanted: BTreeSet<String> = texts().iter().map(|text| (*text).to_owned()).collect();
    wanted.extend(sentences());
    let line = |text: &String| format!("  {}: \"\",", serde_json::to_string(text).expect("text"));
    let missing: Vec<String> = wanted
        .iter()
        .filter(|text| {
            file.get(*text)
                .is_none_or(|japanese| japanese.trim().is_empty())
        })
        .map(line)
        .collect();
    let left_over: Vec<String> = file
        .keys()
        .filter(|text| !wanted.contains(*text))
        .map(line)
        .collect();
    assert!(
        missing.is_empty() && left_over.is_empty(),
        "src/report/messages/ja.json\nlacks the Japanese of {}:\n{}\nand has {} that the code does not have:\n{}",
        missing.len(),
        missing.join("\n"),
        left_over.len(),
        left_over.join("\n"),
    );
}

#[test]
fn translations_have_the_names_of_their_originals() {
    let names = |text: &str| {
        let mut names: Vec<String> = text
            .split('{')
            .skip(1)
            .filter_map(|part| Some(part.split_once('}')?.0.to_owned()))
            .collect();
        names.sort();
        names
    };
    for (english, japanese) in japanese() {
        assert_eq!(names(english), names(japanese), "{english}");
        // What a person would have to type stays as it is.
        for command in english.split('`').skip(1).step_by(2) {
            assert!(japanese.contains(command), "{command} in {japanese}");
        }
    }
}

#[test]
fn japanese_is_japanese() {
    for (english, japanese) in japanese() {
        let kana = |c: char| ('\u{3040}'..='\u{30ff}').contains(&c);
        let kanji = |c: char| ('\u{4e00}'..='\u{9fff}').contains(&c);
        // Names such as Windows and lists of what is filled in have no Japanese of their own.
        let own: String = english
            .split('{')
            .filter_map(|part| {
                part.split_once('}')
                    .map_or(Some(part), |(_, rest)| Some(rest))
            })
            .collect();
        let long = own.matches(char::is_alphabetic).count() > 12;
        assert!(
            !long || japanese.contains(kana) || japanese.contains(kanji),
            "{english}"
        );
        // A sentence ends as its original does.
        assert_eq!(
            english.ends_with('.'),
            japanese.ends_with('。'),
            "{english}\n{japanese}"
        );
    }
}

#[test]
fn locales_choose_the_language() {
    for locale in ["ja", "ja_JP", "ja_JP.UTF-8", "ja-JP", "JA", "ja.eucJP"] {
        assert_eq!(Language::of_locale(locale), Language::Japanese, "{locale}");
    }
    for locale in ["", "C", "C.UTF-8", "POSIX", "en_US.UTF-8", "de", "jam"] {
        assert_eq!(Language::of_locale(locale), Language::English, "{locale}");
    }
}

#[test]
fn what_is_filled_in_is_not_looked_into() {
    let values = [("path", "{id}"), ("left", "{path}"), ("id", "no")];
    let english = Language::English;
    assert_eq!(
        english.fill(words::NOTHING_TO_CHANGE, &values),
        "{id}: nothing to change; {path}"
    );
    assert_eq!(english.fill("{a {path} }{", &values), "{a {id} }{");
}
