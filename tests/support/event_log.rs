// SPDX-License-Identifier: GPL-2.0-or-later
//! Event logs made for tests: events that no real log at hand has. Their binary XML has no templates; another reader
//! reads them (`tests/event_logs/made.rs`).
#![allow(
    dead_code,
    unreachable_pub,
    clippy::unwrap_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    clippy::cast_possible_wrap
)]

/// An event to be written.
#[derive(Clone)]
pub struct NewEvent {
    pub time: &'static str,
    pub provider: &'static str,
    pub id: u32,
    pub level: u32,
    /// `EventData` with named data, or `UserData` where the first name begins with `/`.
    pub data: Vec<(&'static str, String)>,
}

impl NewEvent {
    pub fn new(
        time: &'static str,
        provider: &'static str,
        id: u32,
        data: &[(&'static str, &str)],
    ) -> NewEvent {
        NewEvent {
            time,
            provider,
            id,
            level: 2,
            data: data
                .iter()
                .map(|(name, text)| (*name, (*text).to_owned()))
                .collect(),
        }
    }
}

/// The FILETIME of an instant.
pub fn filetime(time: &str) -> u64 {
    let time: jiff::Timestamp = time.parse().unwrap();
    u64::try_from(time.as_nanosecond() / 100 + 116_444_736_000_000_000).unwrap()
}

/// A log with these events, in their order.
pub fn log(events: &[NewEvent]) -> Vec<u8> {
    let mut chunks = Vec::new();
    let mut chunk = Chunk::new(1);
    for (number, event) in (1_u64..).zip(events) {
        if !chunk.add(number, event) {
            chunks.push(std::mem::replace(&mut chunk, Chunk::new(number)).finish());
            assert!(chunk.add(number, event), "an event longer than a chunk");
        }
    }
    chunks.push(chunk.finish());
    file(&chunks)
}

/// A log of these chunks.
pub fn file(chunks: &[Vec<u8>]) -> Vec<u8> {
    let mut head = vec![0; 4096];
    head[..8].copy_from_slice(b"ElfFile\0");
    head[16..24].copy_from_slice(&(chunks.len() as u64 - 1).to_le_bytes());
    head[24..32].copy_from_slice(&1_u64.to_le_bytes());
    head[32..36].copy_from_slice(&128_u32.to_le_bytes());
    head[36..38].copy_from_slice(&1_u16.to_le_bytes());
    head[38..40].copy_from_slice(&3_u16.to_le_bytes());
    head[40..42].copy_from_slice(&4096_u16.to_le_bytes());
    head[42..44].copy_from_slice(&(chunks.len() as u16).to_le_bytes());
    let sum = crc32fast::hash(&head[..120]);
    head[124..128].copy_from_slice(&sum.to_le_bytes());
    head.extend(chunks.concat());
    head
}

/// A chunk that is being written.
pub struct Chunk {
    bytes: Vec<u8>,
    first: u64,
    last: u64,
    last_at: usize,
}

impl Chunk {
    pub const LEN: usize = 64 << 10;

    pub fn new(first: u64) -> Chunk {
        Chunk {
            bytes: vec![0; 512],
            first,
            last: first,
            last_at: 512,
        }
    }

    /// Adds a record; false, and nothing added, where it does not fit.
    pub fn add(&mut self, number: u64, event: &NewEvent) -> bool {
        let before = self.bytes.len();
        self.begin(number, filetime(event.time));
        self.bytes.extend([0x0f, 1, 1, 0]);
        self.element("Event", &[], |chunk| {
            chunk.element("System", &[], |chunk| {
                chunk.element("Provider", &[("Name", event.provider)], |_| {});
                chunk.element("EventID", &[], |chunk| chunk.text(&event.id.to_string()));
                chunk.element("Level", &[], |chunk| chunk.text(&event.level.to_string()));
                chunk.element("Computer", &[], |chunk| chunk.text("TEST"));
            });
            let in_user_data = event
                .data
                .first()
                .is_some_and(|(name, _)| name.starts_with('/'));
            if in_user_data {
                chunk.element("UserData", &[], |chunk| {
                    chunk.element("EventXML", &[], |chunk| {
                        for (name, text) in &event.data {
                            chunk.element(name.trim_start_matches('/'), &[], |chunk| {
                                chunk.text(text)
                            });
                        }
                    });
                });
            } else {
                chunk.element("EventData", &[], |chunk| {
                    for (name, text) in &event.data {
                        match *name {
                            "" => chunk.element("Data", &[], |chunk| chunk.text(text)),
                            name => {
                                chunk.element("Data", &[("Name", name)], |chunk| chunk.text(text))
                            }
                        }
                    }
                });
            }
        });
        self.bytes.push(0);
        self.end(before, number)
    }

    /// Adds a record with this binary XML.
    pub fn add_raw(&mut self, number: u64, time: u64, content: &[u8]) -> bool {
        let before = self.bytes.len();
        self.begin(number, time);
        self.bytes.extend(content);
        self.end(before, number)
    }

    /// Where in the chunk the next record's binary XML will lie.
    pub fn content_at(&self) -> usize {
        self.bytes.len() + 24
    }

    fn begin(&mut self, number: u64, time: u64) {
        self.bytes.extend([0x2a, 0x2a, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend(number.to_le_bytes());
        self.bytes.extend(time.to_le_bytes());
    }

    fn end(&mut self, before: usize, number: u64) -> bool {
        let size = (self.bytes.len() + 4 - before).next_multiple_of(8);
        self.bytes.resize(before + size - 4, 0);
        self.bytes.extend((size as u32).to_le_bytes());
        self.bytes[before + 4..before + 8].copy_from_slice(&(size as u32).to_le_bytes());
        if self.bytes.len() > Chunk::LEN {
            self.bytes.truncate(before);
            return false;
        }
        (self.last, self.last_at) = (number, before);
        true
    }

    fn name(&mut self, name: &str) {
        let place = self.bytes.len() as u32 + 4;
        self.bytes.extend(place.to_le_bytes());
        self.bytes.extend([0; 6]);
        self.bytes.extend((name.len() as u16).to_le_bytes());
        self.bytes.extend(utf16(name));
        self.bytes.extend([0, 0]);
    }

    fn text(&mut self, text: &str) {
        self.bytes.extend([0x05, 0x01]);
        let text = utf16(text);
        self.bytes.extend((text.len() as u16 / 2).to_le_bytes());
        self.bytes.extend(text);
    }

    fn element(
        &mut self,
        name: &str,
        attributes: &[(&str, &str)],
        content: impl FnOnce(&mut Chunk),
    ) {
        self.bytes
            .push(if attributes.is_empty() { 0x01 } else { 0x41 });
        let size_at = self.bytes.len();
        self.bytes.extend([0; 4]);
        self.name(name);
        if !attributes.is_empty() {
            let list_at = self.bytes.len();
            self.bytes.extend([0; 4]);
            for (name, text) in attributes {
                self.bytes.push(0x06);
                self.name(name);
                self.text(text);
            }
            self.set_len(list_at);
        }
        self.bytes.push(0x02);
        content(self);
        self.bytes.push(0x04);
        self.set_len(size_at);
    }

    /// Writes what follows a length into it.
    fn set_len(&mut self, at: usize) {
        let len = (self.bytes.len() - at - 4) as u32;
        self.bytes[at..at + 4].copy_from_slice(&len.to_le_bytes());
    }

    pub fn finish(mut self) -> Vec<u8> {
        let free = self.bytes.len();
        self.bytes.resize(Chunk::LEN, 0);
        let mut put =
            |at: usize, bytes: &[u8]| self.bytes[at..at + bytes.len()].copy_from_slice(bytes);
        put(0, b"ElfChnk\0");
        for at in [8, 24] {
            put(at, &self.first.to_le_bytes());
        }
        for at in [16, 32] {
            put(at, &self.last.to_le_bytes());
        }
        put(40, &128_u32.to_le_bytes());
        put(44, &(self.last_at as u32).to_le_bytes());
        put(48, &(free as u32).to_le_bytes());
        let records = crc32fast::hash(&self.bytes[512..free]);
        self.bytes[52..56].copy_from_slice(&records.to_le_bytes());
        let head = [&self.bytes[..120], &self.bytes[128..512]].concat();
        let sum = crc32fast::hash(&head);
        self.bytes[124..128].copy_from_slice(&sum.to_le_bytes());
        self.bytes
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}
