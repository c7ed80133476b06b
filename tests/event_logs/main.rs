// SPDX-License-Identifier: GPL-2.0-or-later
//! Event logs, read by us and by the `evtx` package: the same records with the same fields. And those made to do harm.
#![allow(
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap
)]

#[path = "../support/event_log.rs"]
mod event_log;
mod hostile;
mod made;
mod real;
#[path = "../support/mod.rs"]
mod support;

use std::path::Path;

use coldfix::evtx::{self, CHUNK_HEADER_LEN, CHUNK_LEN, ChunkHeader, Event, HEADER_LEN, chunk};
use serde_json::Value;

/// Everything in a log: its events, and how many records, chunks could not be read.
#[derive(Debug, Default)]
struct Log {
    events: Vec<Event>,
    damaged_records: u64,
    damaged_chunks: u64,
}

fn read(content: &[u8]) -> Log {
    assert!(evtx::is_log(content));
    let mut log = Log::default();
    for bytes in content[HEADER_LEN..].chunks(CHUNK_LEN) {
        match ChunkHeader::parse(bytes.get(..CHUNK_HEADER_LEN).unwrap_or(bytes)) {
            ChunkHeader::Empty => {}
            ChunkHeader::Damaged => log.damaged_chunks += 1,
            ChunkHeader::Records { .. } => {
                let found = chunk::events(bytes, &|_, _| true);
                log.damaged_records += found.damaged;
                log.events.extend(found.events);
            }
        }
    }
    log
}

/// An event as both readers are asked for it. Blanks around texts are not compared, the package adds some; nor are
/// characters that XML cannot hold.
fn plain(event: &Event) -> String {
    let clean = |text: &str| -> String {
        let is_xml = |c: &char| {
            matches!(c, '\t' | '\n' | '\r') || *c >= ' ' && !matches!(c, '\u{fffe}' | '\u{ffff}')
        };
        let text: String = text
            .chars()
            .map(|c| if is_xml(&c) { c } else { '?' })
            .collect();
        // What every reader of XML does with ends of lines.
        let text = times_in_microseconds(&text);
        text.replace("\r\n", "\n")
            .replace('\r', "\n")
            .trim()
            .to_owned()
    };
    let data: Vec<[String; 2]> = event
        .data
        .iter()
        .map(|(name, text)| [name.clone(), clean(text)])
        .collect();
    let time = evtx::timestamp(event.time).unwrap();
    serde_json::json!({
        "record": event.record,
        "time": time.to_string(),
        "provider": event.provider,
        "id": event.id.to_string(),
        "level": event.level.to_string(),
        "computer": event.computer,
        "data": data,
    })
    .to_string()
}

/// Times in data are compared to the microsecond: the package shows no more, and every digit of that.
fn times_in_microseconds(text: &str) -> String {
    match text.parse::<jiff::Timestamp>() {
        Ok(time) => {
            let rest = time.subsec_nanosecond() % 1000;
            let time = time - jiff::SignedDuration::from_nanos(rest.into());
            format!("{time:.6}")
        }
        Err(_) => text.to_owned(),
    }
}

/// What the package says, in the same form; records that it cannot read are left out.
fn oracle(log: &Path) -> Vec<String> {
    let mut python = std::process::Command::new(support::foreign::python("evtx"));
    let script = support::root().join("tests/event_logs/read_events.py");
    let output = support::run(python.arg(script).arg(log));
    let mut events = Vec::new();
    for line in String::from_utf8(output.stdout).unwrap().lines() {
        let found: Value = serde_json::from_str(line).unwrap();
        let time = found["time"].as_str().unwrap().replace(" UTC", "");
        let time: jiff::Timestamp = time.replacen(' ', "T", 1).parse().unwrap();
        let data: Vec<[String; 2]> = serde_json::from_value(found["data"].clone()).unwrap();
        let data: Vec<[String; 2]> = data
            .into_iter()
            .map(|[name, text]| [name, times_in_microseconds(&text)])
            .collect();
        let text = |name: &str| match &found[name] {
            Value::String(text) => text.clone(),
            _ => "0".to_owned(),
        };
        events.push(
            serde_json::json!({
                "record": found["record"],
                "time": time.to_string(),
                "provider": text("provider"),
                "id": text("EventID"),
                "level": text("Level"),
                "computer": text("Computer"),
                "data": data,
            })
            .to_string(),
        );
    }
    events
}
