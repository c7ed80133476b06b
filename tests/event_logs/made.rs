// SPDX-License-Identifier: GPL-2.0-or-later
//! Logs that the tests make: another reader must see in them what was meant.

use super::event_log::{self, NewEvent};
use super::{oracle, plain, read, support};

#[test]
fn made_logs_read_as_they_were_meant() {
    if !support::require_python("evtx") {
        return;
    }
    let events: Vec<NewEvent> = (0..400)
        .map(|number| {
            let text = format!("{number} <&> \u{fc}");
            let names: &[(&'static str, &str)] = match number % 3 {
                0 => &[("param1", "TermService"), ("param2", "%%1058")],
                1 => &[("/Type", "server"), ("ErrorCode", "0x8009030d")],
                _ => &[("", "first"), ("", "second")],
            };
            let mut event =
                NewEvent::new("2026-01-02T03:04:05.6789012Z", "Schannel", number, names);
            event.data.push(("Last", text));
            event
        })
        .collect();
    let content = event_log::log(&events);
    assert!(content.len() > 4096 + 65536, "several chunks");
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log.evtx");
    std::fs::write(&path, &content).unwrap();
    let ours = read(&content);
    assert_eq!(ours.damaged_records, 0);
    let ours: Vec<String> = ours.events.iter().map(plain).collect();
    assert_eq!(ours, oracle(&path));
    assert_eq!(ours.len(), 400);
    assert!(ours[0].contains(r#"["Last","0 <&> ü"]"#), "{}", ours[0]);
}
