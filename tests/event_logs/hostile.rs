// SPDX-License-Identifier: GPL-2.0-or-later
//! Logs that are damaged, and logs made to cost memory or time.

use std::fs::{self, File};
use std::io::{Seek as _, SeekFrom, Write as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use coldfix::evtx::{self, CHUNK_LEN, HEADER_LEN, chunk};
use coldfix::volume::Volume;
use coldfix::volume::mounted::MountedFolder;
use coldfix::windows::{self, EventLogs, LogExtent, LogState};
use proptest::prelude::*;

use super::event_log::{self, Chunk, NewEvent};
use super::{read, support};

/// Far above what any of this takes on a busy machine, and far below what unbounded work would.
const PATIENCE: Duration = Duration::from_secs(60);

fn event(text: &str) -> NewEvent {
    NewEvent::new(
        "2026-01-02T03:04:05Z",
        "Service Control Manager",
        7023,
        &[("param1", text)],
    )
}

/// Reads the logs of a folder that holds a Windows with this System log.
fn read_installation(log: impl FnOnce(&mut File)) -> EventLogs {
    let folder = tempfile::tempdir().unwrap();
    fs::create_dir_all(folder.path().join("Windows/System32/config")).unwrap();
    let logs = folder.path().join("Windows/System32/winevt/Logs");
    fs::create_dir_all(&logs).unwrap();
    log(&mut File::create(logs.join("System.evtx")).unwrap());
    let volume: Arc<dyn Volume> = Arc::new(MountedFolder::open(folder.path()).unwrap());
    let installation = windows::find(&volume, None).unwrap().remove(0);
    EventLogs::read(&installation, &|_, _| true)
}

fn extent(logs: &EventLogs) -> &LogExtent {
    match &logs.logs[0] {
        ("System", _, LogState::Read(extent)) => extent,
        other => panic!("{other:?}"),
    }
}

#[test]
fn every_truncation_of_a_log_is_read_as_far_as_it_goes() {
    let events: Vec<NewEvent> = (0..40)
        .map(|number| event(&format!("service {number}")))
        .collect();
    let whole = event_log::log(&events);
    let end = 4096 + 512 + 40 * 600;
    for len in (4096..end).step_by(97) {
        let mut cut = whole[..len].to_vec();
        let found = read(&cut).events;
        assert!(
            found
                .iter()
                .zip(&events)
                .all(|(found, meant)| found.data[0].1 == meant.data[0].1)
        );
        // What is cut off with zeros behind it, as on a disk.
        cut.resize(whole.len(), 0);
        let padded = read(&cut);
        // Where only zeros were cut off, the record is whole again.
        assert!(padded.events.starts_with(&found) && padded.events.len() <= found.len() + 1);
    }
    assert_eq!(read(&whole).events.len(), 40);
}

#[test]
fn a_damaged_record_costs_only_itself() {
    let events: Vec<NewEvent> = (0..40)
        .map(|number| event(&format!("service {number}")))
        .collect();
    let whole = event_log::log(&events);
    let second = whole
        .windows(4)
        .enumerate()
        .filter(|(_, bytes)| *bytes == [0x2a, 0x2a, 0, 0])
        .nth(1)
        .unwrap()
        .0;
    // Its signature, its length, its first element.
    for at in [second, second + 4, second + 28] {
        let mut damaged = whole.clone();
        damaged[at] ^= 0xff;
        let found = read(&damaged);
        assert_eq!(
            (found.events.len(), found.damaged_records),
            (39, 1),
            "byte {at}"
        );
    }
}

#[test]
fn damaged_chunks_are_counted_and_the_others_read() {
    let chunk = |first: u64| {
        let mut chunk = Chunk::new(first);
        for number in first..first + 10 {
            assert!(chunk.add(number, &event("TermService")));
        }
        chunk.finish()
    };
    let mut chunks = vec![chunk(11), chunk(21), vec![0; CHUNK_LEN], chunk(1)];
    chunks[1][0] = b'e';
    let logs = read_installation(|file| file.write_all(&event_log::file(&chunks)).unwrap());
    let extent = extent(&logs);
    assert_eq!(
        (
            extent.records,
            extent.damaged_chunks,
            extent.damaged_records
        ),
        (20, 1, 0)
    );
    let records: Vec<u64> = logs.events.iter().map(|event| event.event.record).collect();
    assert_eq!(records, (1..=20).rev().collect::<Vec<u64>>());
}

#[test]
fn what_is_no_log_is_told() {
    let logs = read_installation(|file| file.write_all(&[0; 70_000]).unwrap());
    assert_eq!(
        logs.logs[0].2,
        LogState::Unreadable("it is no event log".to_owned())
    );
    assert_eq!(logs.logs[1].2, LogState::Absent);
    let logs = read_installation(|_| {});
    assert_eq!(
        logs.logs[0].2,
        LogState::Unreadable("it is no event log".to_owned())
    );
}

#[test]
fn a_log_of_300_mib_that_repeats_itself_is_read_once_and_in_part() {
    const CHUNKS: usize = 4800;
    let chunk = |last: u64| {
        let mut chunk = Chunk::new(1);
        for number in 1.. {
            if !chunk.add(number, &event("TermService")) {
                break;
            }
        }
        let mut bytes = chunk.finish();
        bytes[32..40].copy_from_slice(&last.to_le_bytes());
        bytes
    };
    let bytes = chunk(100);
    let started = Instant::now();
    let logs = read_installation(|file| {
        file.write_all(&event_log::file(std::slice::from_ref(&bytes)))
            .unwrap();
        for _ in 1..CHUNKS {
            file.write_all(&bytes).unwrap();
        }
    });
    assert!(started.elapsed() < PATIENCE, "{:?}", started.elapsed());
    let extent = extent(&logs);
    let once = read(&event_log::file(&[bytes])).events.len();
    assert!(!extent.complete);
    assert_eq!(logs.events.len(), once, "each record counts once");
    // 64 MiB of it were looked at.
    assert_eq!(extent.records, once as u64 * 1024);
}

#[test]
fn a_log_that_claims_to_be_endless_is_not_read_to_its_end() {
    let logs = read_installation(|file| {
        file.write_all(&event_log::log(&[event("TermService")]))
            .unwrap();
        // A hole: it costs the host nothing.
        file.set_len(1 << 40).unwrap();
    });
    assert_eq!(logs.events.len(), 1);
    assert!(!extent(&logs).complete);
}

#[test]
fn old_events_are_left_and_a_clock_that_was_wrong_once_does_not_make_them_old() {
    let mut file = Vec::new();
    for (first, time) in [
        (1, "2024-01-01T00:00:00Z"),
        (2, "2099-01-01T00:00:00Z"),
        (3, "2026-01-01T00:00:00Z"),
        (4, "2026-02-01T00:00:00Z"),
    ] {
        let mut chunk = Chunk::new(first);
        let mut event = event("TermService");
        event.time = time;
        assert!(chunk.add(first, &event));
        file.push(chunk.finish());
    }
    let logs = read_installation(|log| log.write_all(&event_log::file(&file)).unwrap());
    let records: Vec<u64> = logs.events.iter().map(|event| event.event.record).collect();
    assert_eq!(records, [2, 4, 3]);
    assert_eq!(logs.newest().unwrap().to_string(), "2026-02-01T00:00:00Z");
    assert!(!extent(&logs).complete);
}

/// A record whose template has 8000 holes for one value of 20,000 characters: 320 MB of text.
fn unfolding() -> (Vec<u8>, u64) {
    let mut made = Chunk::new(1);
    let at = made.content_at();
    let mut content = vec![0x0f, 1, 1, 0, 0x0c, 1, 0, 0, 0, 0];
    let template = at + content.len() + 4;
    content.extend((template as u32).to_le_bytes());
    let mut body = vec![0x0f, 1, 1, 0];
    let name = |body: &mut Vec<u8>, text: &str| {
        let place = template + 24 + body.len() + 4;
        body.extend((place as u32).to_le_bytes());
        body.extend([0; 6]);
        body.extend((text.len() as u16).to_le_bytes());
        body.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
        body.extend([0, 0]);
    };
    let open = |body: &mut Vec<u8>, text: &str| {
        body.extend([0x01, 0, 0, 0, 0, 0, 0]);
        name(body, text);
        body.push(0x02);
    };
    open(&mut body, "Event");
    open(&mut body, "System");
    open(&mut body, "EventID");
    body.extend([0x05, 0x01, 1, 0, b'7', 0, 0x04]);
    body.push(0x04);
    open(&mut body, "EventData");
    open(&mut body, "Data");
    for _ in 0..2000 {
        body.extend([0x0d, 0, 0, 0x01]);
    }
    body.extend([0x04, 0x04, 0x04, 0x00]);
    content.extend([0; 20]);
    content.extend((body.len() as u32).to_le_bytes());
    content.extend(&body);
    let value: Vec<u8> = "x"
        .repeat(10_000)
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    content.extend(1_u32.to_le_bytes());
    content.extend((value.len() as u16).to_le_bytes());
    content.extend([0x01, 0]);
    content.extend(&value);
    content.push(0);
    assert!(made.add_raw(1, event_log::filetime("2026-01-01T00:00:00Z"), &content));
    // The others use the same template.
    let mut number = 1;
    loop {
        number += 1;
        let mut again = vec![0x0f, 1, 1, 0, 0x0c, 1, 0, 0, 0, 0];
        again.extend((template as u32).to_le_bytes());
        again.extend(1_u32.to_le_bytes());
        again.extend([0, 0, 0x01, 0, 0]);
        if !made.add_raw(number, event_log::filetime("2026-01-01T00:00:00Z"), &again) {
            break;
        }
    }
    (made.finish(), number)
}

#[test]
fn a_record_that_unfolds_is_cut_short() {
    let started = Instant::now();
    let (chunk, number) = unfolding();
    let found = chunk::events(&chunk, &|_, _| true);
    assert_eq!(found.events[0].id, 7);
    let text = &found.events[0].data[0].1;
    assert!(
        (30_000..33_000).contains(&text.len()),
        "{} bytes",
        text.len()
    );
    // Their tokens are bounded for the chunk: 200 records of 2000 tokens, the rest counts as damaged.
    assert_eq!(found.records, number - 1);
    assert!(
        found.damaged > 100,
        "{} of {}",
        found.damaged,
        found.records
    );
    assert!(started.elapsed() < PATIENCE);
}

/// A record in which values of binary XML lie in each other: the template of each has so many holes for the one below.
fn nested(holes: usize, depth: usize) -> Vec<u8> {
    let mut made = Chunk::new(1);
    let at = made.content_at();
    // Both templates come first, in a record of their own: one for an event, one for what fills its holes.
    let mut content = vec![0x0f, 1, 1, 0];
    let mut templates = Vec::new();
    for names in [&["Event", "EventData", "Data"][..], &["x"]] {
        content.extend([0x0c, 1, 0, 0, 0, 0]);
        let template = at + content.len() + 4;
        templates.push(template as u32);
        content.extend((template as u32).to_le_bytes());
        let mut body = vec![0x0f, 1, 1, 0];
        let open = |body: &mut Vec<u8>, text: &str| {
            body.extend([0x01, 0, 0, 0, 0, 0, 0]);
            let place = template + 24 + body.len() + 4;
            body.extend((place as u32).to_le_bytes());
            body.extend([0; 6]);
            body.extend((text.len() as u16).to_le_bytes());
            body.extend(text.encode_utf16().flat_map(u16::to_le_bytes));
            body.extend([0, 0]);
            body.push(0x02);
        };
        for name in names {
            open(&mut body, name);
            if *name == "Event" {
                open(&mut body, "System");
                open(&mut body, "EventID");
                body.extend([0x05, 0x01, 1, 0, b'7', 0, 0x04, 0x04]);
            }
        }
        for _ in 0..holes {
            body.extend([0x0d, 0, 0, 0x21]);
        }
        body.extend(names.iter().map(|_| 0x04));
        body.push(0);
        content.extend([0; 20]);
        content.extend((body.len() as u32).to_le_bytes());
        content.extend(&body);
        content.extend([1, 0, 0, 0, 2, 0, 0x01, 0, b'y', 0]);
    }
    content.push(0);
    assert!(made.add_raw(1, event_log::filetime("2026-01-01T00:00:00Z"), &content));
    let mut value = vec![b'y', 0];
    let mut kind = 0x01;
    for level in 0..depth {
        let template = templates[usize::from(level + 1 < depth)];
        let mut outer = vec![0x0f, 1, 1, 0, 0x0c, 1, 0, 0, 0, 0];
        outer.extend(template.to_le_bytes());
        outer.extend(1_u32.to_le_bytes());
        outer.extend((value.len() as u16).to_le_bytes());
        outer.extend([kind, 0]);
        outer.extend(&value);
        outer.push(0);
        (value, kind) = (outer, 0x21);
    }
    assert!(made.add_raw(2, event_log::filetime("2026-01-01T00:00:00Z"), &value));
    made.finish()
}

/// 16 holes, eight deep: one letter would become four thousand millions. One hole each, and deep enough to overflow a stack.
#[test]
fn values_that_lie_in_each_other_are_bounded() {
    let started = Instant::now();
    let few = chunk::events(&nested(16, 3), &|_, _| true);
    let text = few.events[1].data.iter().map(|(_, text)| text.len());
    assert_eq!((text.sum::<usize>(), few.damaged), (4096, 0));
    for (holes, depth) in [(16, 8), (16, 20), (1, 2000)] {
        let found = chunk::events(&nested(holes, depth), &|_, _| true);
        // The first record makes the templates known.
        assert_eq!(
            (found.events.len(), found.damaged),
            (1, 1),
            "{holes} {depth}"
        );
    }
    assert!(started.elapsed() < PATIENCE);
}

/// A value of binary XML that instantiates the template it fills.
fn in_itself() -> Vec<u8> {
    let mut made = Chunk::new(1);
    let at = made.content_at();
    let mut content = vec![0x0f, 1, 1, 0, 0x0c, 1, 0, 0, 0, 0];
    let template = at + content.len() + 4;
    content.extend((template as u32).to_le_bytes());
    content.extend([0; 20]);
    // The template's body is an instance of the template, and so on.
    let mut body = vec![0x0c, 1, 0, 0, 0, 0];
    body.extend((template as u32).to_le_bytes());
    body.extend(0_u32.to_le_bytes());
    content.extend((body.len() as u32).to_le_bytes());
    content.extend(&body);
    content.extend(0_u32.to_le_bytes());
    assert!(made.add_raw(1, 0, &content));
    made.finish()
}

#[test]
fn a_template_in_itself_ends() {
    let found = chunk::events(&in_itself(), &|_, _| true);
    assert_eq!((found.events.len(), found.damaged), (0, 1));
}

/// The chunks of a real log, to be damaged.
fn real_chunks() -> &'static [Vec<u8>] {
    static CHUNKS: std::sync::OnceLock<Vec<Vec<u8>>> = std::sync::OnceLock::new();
    CHUNKS.get_or_init(|| {
        let Some(packed) = support::data("evtx/w10-system-termservice1056.evtx.xz") else {
            return Vec::new();
        };
        let content = support::unxz(&packed);
        assert!(evtx::is_log(&content));
        content[HEADER_LEN..]
            .chunks(CHUNK_LEN)
            .take(3)
            .map(<[u8]>::to_vec)
            .collect()
    })
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    /// Whatever is damaged, nothing panics and no time is lost; overflow is checked in tests.
    #[test]
    fn any_damage_is_borne(which in 0_usize..3, damage in prop::collection::vec((0_usize..CHUNK_LEN, any::<u8>()), 1..60)) {
        let Some(chunk) = real_chunks().get(which) else { return Ok(()) };
        let mut chunk = chunk.clone();
        for (at, byte) in damage {
            chunk[at] = byte;
        }
        let started = Instant::now();
        let found = chunk::events(&chunk, &|_, _| true);
        prop_assert!(found.events.len() as u64 <= found.records);
        prop_assert!(started.elapsed() < PATIENCE);
    }

    /// Damage where it hurts: in the lengths, places and tokens of the first records.
    #[test]
    fn damage_of_structures_is_borne(which in 0_usize..3, damage in prop::collection::vec((512_usize..3000, any::<u8>()), 1..20)) {
        let Some(chunk) = real_chunks().get(which) else { return Ok(()) };
        let mut chunk = chunk.clone();
        for (at, byte) in damage {
            chunk[at] = byte;
        }
        let found = chunk::events(&chunk, &|_, _| true);
        prop_assert!(found.events.len() as u64 <= found.records);
    }
}

#[test]
fn writing_past_a_hole_reads_as_one_log() {
    // Chunks far apart in a sparse file: the empty ones between them cost a look at their heads.
    let mut second = Chunk::new(2);
    assert!(second.add(2, &event("MpsSvc")));
    let second = second.finish();
    let logs = read_installation(|file| {
        file.write_all(&event_log::log(&[event("TermService")]))
            .unwrap();
        file.seek(SeekFrom::Start(4096 + 1000 * CHUNK_LEN as u64))
            .unwrap();
        file.write_all(&second).unwrap();
    });
    let names: Vec<&str> = logs
        .events
        .iter()
        .map(|event| event.event.field("param1"))
        .collect();
    assert_eq!(names, ["MpsSvc", "TermService"]);
    assert!(extent(&logs).complete);
}
