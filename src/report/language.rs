// SPDX-License-Identifier: GPL-2.0-or-later
//! The languages of text and HTML reports. English stands in the code and is the key of every translation, one
//! data file a language. JSON is always English, and so is what varies from disk to disk: evidence, notes, errors.

use std::collections::BTreeMap;
use std::sync::OnceLock;

use super::words;
use crate::checks::CHECKS;

/// A language of reports.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Language {
    /// English.
    #[default]
    English,
    /// Japanese.
    Japanese,
}

type Messages = BTreeMap<String, String>;

static JAPANESE: OnceLock<Messages> = OnceLock::new();

impl Language {
    /// The language of a locale such as `ja_JP.UTF-8` or a code such as `ja`; English for all that are not known.
    pub fn of_locale(locale: &str) -> Language {
        let code = locale.split(['_', '-', '.', '@']).next();
        match code {
            Some(code) if code.eq_ignore_ascii_case("ja") => Language::Japanese,
            _ => Language::English,
        }
    }

    /// The code for `lang` in HTML.
    pub fn code(self) -> &'static str {
        match self {
            Language::English => "en",
            Language::Japanese => "ja",
        }
    }

    fn messages(self) -> Option<&'static Messages> {
        match self {
            Language::English => None,
            // That the file is sound is tested.
            Language::Japanese => Some(JAPANESE.get_or_init(|| {
                serde_json::from_str(include_str!("messages/ja.json")).unwrap_or_default()
            })),
        }
    }

    /// The text in this language; as it is, where nobody has translated it.
    pub fn say(self, english: &'static str) -> &'static str {
        self.messages()
            .and_then(|messages| messages.get(english))
            .map_or(english, String::as_str)
    }

    /// The text with its `{names}` filled in. What is filled in is not looked into again.
    pub(crate) fn fill(self, english: &'static str, values: &[(&str, &str)]) -> String {
        let mut out = String::new();
        let mut rest = self.say(english);
        while let Some((before, after)) = rest.split_once('{') {
            out.push_str(before);
            let known = after.split_once('}').and_then(|(name, behind)| {
                let value = values.iter().find(|(known, _)| *known == name)?;
                Some((value.1, behind))
            });
            match known {
                Some((value, behind)) => {
                    out.push_str(value);
                    rest = behind;
                }
                None => {
                    out.push('{');
                    rest = after;
                }
            }
        }
        out.push_str(rest);
        out
    }

    /// `{n}` filled in, in the singular or the plural.
    pub(crate) fn count(self, number: u64, one: &'static str, many: &'static str) -> String {
        let text = if number == 1 { one } else { many };
        self.fill(text, &[("n", &number.to_string())])
    }
}

/// Everything that is known before a disk is looked at and that reports print: what a translation must have.
/// Sentences that a check adds to a cause in some cases are not among them.
pub fn texts() -> Vec<&'static str> {
    let mut texts = words::ALL.to_vec();
    for check in CHECKS {
        texts.push(check.title);
        for problem in check.problems {
            texts.extend([problem.title, problem.cause]);
        }
    }
    texts.sort_unstable();
    texts.dedup();
    texts
}

#[cfg(test)]
#[path = "language_tests.rs"]
mod tests;
