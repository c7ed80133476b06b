// SPDX-License-Identifier: GPL-2.0-or-later
//! Pages in the hands of hostile disks, and their colours.

use super::*;
use crate::checks::TimelineEvent;
use crate::error::Error;
use crate::partition::Content;
use crate::report::{InstallationReport, PartitionReport};
use crate::volume::State;
use crate::windows::Release;

const HOSTILE: &str = "</bdi></title></style><script>alert(1)</script><img src=x onerror=alert(2)>\"' onload='x\u{1b}[31m&amp;";

/// A report in which every text that a disk can choose is hostile.
fn hostile() -> Report {
    let mut report = Report::failed(HOSTILE, &Error::unsupported(HOSTILE, HOSTILE));
    report.error = None;
    report.verdict = Verdict::Broken;
    report.target.container = Some("raw".to_owned());
    report.target.size = Some(1 << 30);
    report.target.disk_id = Some(HOSTILE.to_owned());
    report.notes = vec![HOSTILE.to_owned()];
    report.lowers_security = vec![HOSTILE.to_owned()];
    report.target.partitions = vec![PartitionReport {
        number: 1,
        offset: u64::MAX,
        len: u64::MAX,
        content: Content::Other,
        type_name: HOSTILE.to_owned(),
        name: Some(HOSTILE.to_owned()),
        volume: Some(State {
            label: Some(HOSTILE.to_owned()),
            unclean_journal: Some(HOSTILE.to_owned()),
            ..State::default()
        }),
        error: Some(HOSTILE.to_owned()),
    }];
    report.installations = vec![InstallationReport {
        partition: Some(1),
        windows_directory: HOSTILE.to_owned(),
        release: Release {
            product_name: Some(HOSTILE.to_owned()),
            computer_name: Some(HOSTILE.to_owned()),
            build: Some(HOSTILE.to_owned()),
            ..Release::default()
        },
        control_set: Some(1),
        machine_sid: Some(HOSTILE.to_owned()),
        boot: None,
    }];
    report.events = ["2026-01-02T03:04:05Z", HOSTILE, "9999-12-31T23:59:59Z"]
        .iter()
        .map(|time| TimelineEvent {
            time: (*time).to_owned(),
            log: "System",
            provider: HOSTILE.to_owned(),
            id: 1,
            level: 2,
            text: HOSTILE.to_owned(),
            finding: None,
        })
        .collect();
    report.operation = Some(OperationReport {
        id: None,
        edits: vec![EditReport {
            kind: "set-value",
            location: HOSTILE.to_owned(),
            before: HOSTILE.to_owned(),
            after: HOSTILE.to_owned(),
            reason: HOSTILE.to_owned(),
        }],
        ranges: 1,
        bytes: 1,
        host_operations: 0,
        journal: None,
        verified: true,
    });
    report
}

#[test]
fn nothing_that_a_disk_says_becomes_an_element_or_an_attribute() {
    let repair = Repair {
        before: &[],
        undo: Some(HOSTILE),
    };
    let page = page(&hostile(), Some(&repair), Language::English);
    assert!(page.matches("&lt;script&gt;").count() > 15);
    for forbidden in [
        "<script",
        "<img",
        "\" onload",
        "' onload='x\"",
        "&amp;amp\"",
        "\u{1b}",
    ] {
        assert!(!page.contains(forbidden), "{forbidden:?}");
    }
    // Every quotation mark of an attribute is the template's own.
    assert_eq!(page.matches("<style>").count(), 1);
    assert_eq!(page.matches("</style>").count(), 1);
}

#[test]
fn the_policy_allows_the_pages_own_style_alone() {
    let page = page(&hostile(), None, Language::English);
    let (_, rest) = page.split_once("<style>").expect("a style");
    let (style, _) = rest.split_once("</style>").expect("its end");
    let hash = base64::engine::general_purpose::STANDARD.encode(Sha256::digest(style));
    assert!(page.contains(&format!("default-src 'none'; style-src 'sha256-{hash}'")));
    assert!(!page.contains("style=\""), "the policy forbids it");
    for load in ["@import", "url("] {
        assert!(!style.contains(load), "{load}");
    }
}

/// The relative luminance of `#rrggbb`.
fn luminance(colour: &str) -> f64 {
    let channel = |at: usize| {
        let hex = colour.get(at..at + 2).expect("six digits");
        let value = f64::from(u8::from_str_radix(hex, 16).expect("a digit")) / 255.0;
        if value <= 0.040_45 {
            value / 12.92
        } else {
            ((value + 0.055) / 1.055).powf(2.4)
        }
    };
    0.2126 * channel(1) + 0.7152 * channel(3) + 0.0722 * channel(5)
}

#[test]
fn every_colour_of_text_stands_out_from_what_is_behind_it() {
    let mut schemes = 0;
    for scheme in STYLE.split(":root {").skip(1) {
        schemes += 1;
        let (scheme, _) = scheme.split_once('}').expect("its end");
        let colour = |name: &str| {
            let (_, rest) = scheme.split_once(&format!("--{name}: ")).expect(name);
            luminance(rest.get(..7).expect(name))
        };
        let contrast = |one: &str, two: &str| {
            let (one, two) = (colour(one), colour(two));
            (one.max(two) + 0.05) / (one.min(two) + 0.05)
        };
        for text in ["text", "quiet", "broken", "risk", "notice", "healthy"] {
            for behind in ["paper", "panel"] {
                let found = contrast(text, behind);
                assert!(found >= 4.5, "{text} on {behind}: {found}");
            }
        }
        for behind in ["ntfs", "fat", "locked", "other", "free"] {
            for text in ["text", "quiet"] {
                let found = contrast(text, behind);
                assert!(found >= 4.5, "{text} on {behind}: {found}");
            }
        }
    }
    assert_eq!(schemes, 3, "light, dark, print");
}

#[test]
fn both_languages_say_so_to_readers_of_the_page() {
    for (language, code) in [(Language::English, "en"), (Language::Japanese, "ja")] {
        let page = page(&hostile(), None, language);
        assert!(page.starts_with(&format!("<!DOCTYPE html>\n<html lang=\"{code}\">")));
    }
}
