// SPDX-License-Identifier: GPL-2.0-or-later
//! Binary XML, walked token by token; the document is never built.
//!
//! ```text
//! record     0F 01 01 00  template instance  00
//! instance   0C, u8, u32 id, u32 place of the template, [the template, where it is used first], u32 count,
//!            count x (u16 size, u8 type, u8), the values
//! template   u32 next, GUID, u32 size, then a fragment with holes: 0D/0E, u16 number, u8 type
//! element    01 (41 with attributes), u16, u32 size, name, [u32 size, (06 name, content)...], 02 content 04 or 03
//! name       u32 place, [where the place is right here: u32 next, u16 hash, u16 length, UTF-16, u16 0]
//! ```
//! Only elements of a template have the u16. A value of type 21 holds a fragment itself, and so does now and then a
//! record: theirs have none.

use std::collections::HashMap;
use std::rc::Rc;

use crate::bytes;

use super::Event;
use super::value::{self, Value};

/// How many tokens a record may have. Ours: those of real logs have a few hundred.
const MOST_STEPS: u32 = 20_000;
/// How many tokens all records of a chunk may have. Ours: a chunk of real events has about 40,000.
const MOST_STEPS_OF_CHUNK: u32 = 400_000;
/// How deep fragments and elements may nest. Ours: real ones reach 6.
const DEEPEST: usize = 24;
/// How many bytes of text an event may keep, names included. Ours.
const MOST_TEXT: usize = 32 << 10;

/// What came of a record.
pub(super) enum Outcome {
    Event(Event),
    Unwanted,
    Damaged,
}

/// One chunk, with the names that were met in it.
pub(super) struct Walk<'c> {
    chunk: &'c [u8],
    names: HashMap<usize, Rc<str>>,
    steps_left: u32,
}

impl<'c> Walk<'c> {
    pub(super) fn new(chunk: &'c [u8]) -> Walk<'c> {
        Walk {
            chunk,
            names: HashMap::new(),
            steps_left: MOST_STEPS_OF_CHUNK,
        }
    }

    /// Reads the record whose binary XML lies from `start` to `end` into `event`.
    pub(super) fn record(
        &mut self,
        event: Event,
        start: usize,
        end: usize,
        wanted: &dyn Fn(&str, u32) -> bool,
    ) -> Outcome {
        let allowed = self.steps_left.min(MOST_STEPS);
        let mut pass = Pass {
            walk: self,
            event,
            wanted,
            path: Vec::new(),
            judged: None,
            steps: allowed,
            text_left: MOST_TEXT,
            nesting: 0,
        };
        let read = pass.fragment(start, end, &[], false);
        let Pass {
            event,
            judged,
            steps,
            ..
        } = pass;
        let used = allowed.saturating_sub(steps);
        self.steps_left = self.steps_left.saturating_sub(used);
        match (judged, read) {
            // Nothing behind the head of an unwanted event was looked at.
            (Some(false), _) => Outcome::Unwanted,
            (Some(true), Some(())) => Outcome::Event(event),
            _ => Outcome::Damaged,
        }
    }

    /// The name that a field at `at` tells, and where the field ends.
    fn name(&mut self, at: usize) -> Option<(Rc<str>, usize)> {
        let place = usize::try_from(bytes::u32_le(self.chunk, at)?).ok()?;
        let behind = at.checked_add(4)?;
        let units = usize::from(bytes::u16_le(self.chunk, place.checked_add(6)?)?);
        let text = place.checked_add(8)?;
        let len = units.checked_mul(2)?;
        let end = match place == behind {
            true => text.checked_add(len)?.checked_add(2)?,
            false => behind,
        };
        if let Some(known) = self.names.get(&place) {
            return Some((Rc::clone(known), end));
        }
        /// Ours; XML names of events have a few dozen characters.
        const LONGEST: usize = 512;
        let raw = bytes::slice(self.chunk, text, len).filter(|raw| raw.len() <= LONGEST)?;
        let name: Rc<str> = value::utf16(raw).into();
        self.names.insert(place, Rc::clone(&name));
        Some((name, end))
    }
}

/// An element that is open.
struct Element {
    name: Rc<str>,
    /// Its attribute `Name`.
    label: Option<String>,
    text: String,
    /// Texts of a list that stands for several elements of this name.
    list: Vec<String>,
    has_children: bool,
}

/// One record on its way.
struct Pass<'w, 'c> {
    walk: &'w mut Walk<'c>,
    event: Event,
    wanted: &'w dyn Fn(&str, u32) -> bool,
    path: Vec<Element>,
    /// Whether the event is wanted, once its head was read.
    judged: Option<bool>,
    steps: u32,
    text_left: usize,
    nesting: usize,
}

impl<'c> Pass<'_, 'c> {
    fn u8(&self, at: usize) -> Option<u8> {
        self.walk.chunk.get(at).copied()
    }

    fn u32(&self, at: usize) -> Option<usize> {
        usize::try_from(bytes::u32_le(self.walk.chunk, at)?).ok()
    }

    /// Walks tokens from `at` to an end token, `end`, or the head of an unwanted event. `spaced`: elements carry
    /// their u16.
    fn fragment(
        &mut self,
        mut at: usize,
        end: usize,
        values: &[Value<'c>],
        spaced: bool,
    ) -> Option<()> {
        self.nesting = self.nesting.checked_add(1)?;
        let depth = self.path.len();
        if self.nesting > DEEPEST {
            return None;
        }
        while at < end && self.judged != Some(false) {
            self.steps = self.steps.checked_sub(1)?;
            let token = self.u8(at)?;
            let behind = at.checked_add(1)?;
            at = match token & 0x3f {
                0x00 => break,
                // Head of a fragment: version and flags.
                0x0f => at.checked_add(4)?,
                0x0c => self.instance(behind, end)?,
                0x01 => self.open(behind, token & 0x40 != 0, values, spaced)?,
                0x02 => behind,
                0x03 | 0x04 => {
                    self.close(depth)?;
                    behind
                }
                _ => self.content(at, end, values)?,
            };
            if at > end {
                return None;
            }
        }
        if self.judged != Some(false) && self.path.len() != depth {
            return None;
        }
        self.nesting = self.nesting.saturating_sub(1);
        Some(())
    }

    /// A template instance, from behind its token; tells where it ends.
    fn instance(&mut self, at: usize, end: usize) -> Option<usize> {
        let template = self.u32(at.checked_add(5)?)?;
        let behind = at.checked_add(9)?;
        let body = template.checked_add(24)?;
        let body_len = self.u32(template.checked_add(20)?)?;
        let body_end = body.checked_add(body_len)?;
        if body_end > self.walk.chunk.len() {
            return None;
        }
        let at = if template == behind { body_end } else { behind };
        let count = self.u32(at)?;
        let table = at.checked_add(4)?;
        let mut place = table.checked_add(count.checked_mul(4)?)?;
        // Bounds the list below: each value has an entry of four bytes in the table.
        if place > end {
            return None;
        }
        let chunk = self.walk.chunk;
        let mut values = Vec::with_capacity(count);
        for entry in (table..place).step_by(4) {
            let len = usize::from(bytes::u16_le(chunk, entry)?);
            let kind = self.u8(entry.checked_add(2)?)?;
            values.push(Value {
                kind,
                raw: bytes::slice(chunk, place, len)?,
                at: place,
            });
            place = place.checked_add(len)?;
        }
        if place > end {
            return None;
        }
        self.fragment(body, body_end, &values, true)?;
        Some(place)
    }

    /// The start of an element, from behind its token, with its attributes; tells where its content begins.
    fn open(
        &mut self,
        at: usize,
        has_attributes: bool,
        values: &[Value<'c>],
        spaced: bool,
    ) -> Option<usize> {
        if self.path.len() >= DEEPEST {
            return None;
        }
        let size = if spaced { at.checked_add(2)? } else { at };
        let (name, mut at) = self.walk.name(size.checked_add(4)?)?;
        if let Some(parent) = self.path.last_mut() {
            parent.has_children = true;
        }
        self.path.push(Element {
            name,
            label: None,
            text: String::new(),
            list: Vec::new(),
            has_children: false,
        });
        if !has_attributes {
            return Some(at);
        }
        let list = at.checked_add(4)?;
        let end = list.checked_add(self.u32(at)?)?;
        at = list;
        let mut attribute: Option<Rc<str>> = None;
        while at < end {
            self.steps = self.steps.checked_sub(1)?;
            match self.u8(at)? & 0x3f {
                0x06 => {
                    self.attribute(attribute.take());
                    let (name, behind) = self.walk.name(at.checked_add(1)?)?;
                    attribute = Some(name);
                    at = behind;
                }
                _ => at = self.content(at, end, values)?,
            }
        }
        self.attribute(attribute);
        (at == end).then_some(at)
    }

    /// Takes what was gathered as the text of this attribute.
    fn attribute(&mut self, name: Option<Rc<str>>) {
        let depth = self.path.len();
        let Some(element) = self.path.last_mut() else {
            return;
        };
        let text = std::mem::take(&mut element.text);
        element.list.clear();
        if name.is_none_or(|name| &*name != "Name") {
            return;
        }
        if depth == 3 && &*element.name == "Provider" {
            self.event.provider = text;
        } else {
            element.label = Some(text);
        }
    }

    /// A token that stands for text, or a hole; tells where it ends.
    fn content(&mut self, at: usize, end: usize, values: &[Value<'c>]) -> Option<usize> {
        let token = self.u8(at)?;
        let behind = at.checked_add(1)?;
        match token & 0x3f {
            // Text of one kind: the type of a string, its length, the string.
            0x05 | 0x07 | 0x0b => {
                let at = match token & 0x3f {
                    0x05 => {
                        let is_string = self.u8(behind)? == 1;
                        is_string.then_some(behind.checked_add(1)?)?
                    }
                    _ => behind,
                };
                let len = usize::from(bytes::u16_le(self.walk.chunk, at)?).checked_mul(2)?;
                let at = at.checked_add(2)?;
                let raw = bytes::slice(self.walk.chunk, at, len)?;
                if token & 0x3f != 0x0b {
                    self.text(&value::utf16(raw));
                }
                at.checked_add(len)
            }
            0x08 => {
                let unit = bytes::u16_le(self.walk.chunk, behind)?;
                let character = char::from_u32(unit.into()).unwrap_or(char::REPLACEMENT_CHARACTER);
                self.text(character.encode_utf8(&mut [0; 4]));
                behind.checked_add(2)
            }
            0x09 => {
                let (name, behind) = self.walk.name(behind)?;
                self.text(match &*name {
                    "lt" => "<",
                    "gt" => ">",
                    "amp" => "&",
                    "quot" => "\"",
                    "apos" => "'",
                    _ => "?",
                });
                Some(behind)
            }
            // The target of a processing instruction; its data follow.
            0x0a => Some(self.walk.name(behind)?.1),
            0x0d | 0x0e => {
                let number = usize::from(bytes::u16_le(self.walk.chunk, behind)?);
                // A hole without a value stays empty.
                if let Some(value) = values.get(number) {
                    self.fill(value)?;
                }
                behind.checked_add(3).filter(|behind| *behind <= end)
            }
            _ => None,
        }
    }

    /// Puts a value into a hole.
    fn fill(&mut self, value: &Value<'c>) -> Option<()> {
        if value.is_fragment() {
            let end = value.at.checked_add(value.raw.len())?;
            return self.fragment(value.at, end, &[], false);
        }
        let room = self.text_left;
        match value.list(room) {
            Some(texts) => {
                let used = texts.iter().map(String::len).fold(0, usize::saturating_add);
                self.text_left = self.text_left.saturating_sub(used);
                if let Some(element) = self.path.last_mut() {
                    element.list.extend(texts);
                }
            }
            None => self.text(&value.text(room)),
        }
        Some(())
    }

    /// Adds to the text of the element that is open, as far as the event may have text.
    fn text(&mut self, text: &str) {
        let mut len = self.text_left.min(text.len());
        while !text.is_char_boundary(len) {
            len = len.saturating_sub(1);
        }
        let text = text.get(..len).unwrap_or_default();
        if let Some(element) = self.path.last_mut() {
            element.text.push_str(text);
            self.text_left = self.text_left.saturating_sub(len);
        }
    }

    /// The end of an element, which must lie in the fragment that began at `depth`.
    fn close(&mut self, depth: usize) -> Option<()> {
        if self.path.len() <= depth {
            return None;
        }
        let element = self.path.pop()?;
        let level = self.path.len();
        let section = self.path.get(1).map(|section| Rc::clone(&section.name));
        match section.as_deref() {
            Some("System") if level == 2 => match &*element.name {
                "EventID" => self.event.id = element.text.trim().parse().ok()?,
                "Level" => self.event.level = element.text.trim().parse().unwrap_or(0),
                "Computer" => self.event.computer = element.text,
                _ => {}
            },
            None if level == 1 && &*element.name == "System" => {
                self.judged = Some((self.wanted)(&self.event.provider, self.event.id));
            }
            Some("EventData" | "UserData") if !element.has_children => self.keep(element),
            _ => {}
        }
        Some(())
    }

    /// Keeps the field that an element is.
    fn keep(&mut self, element: Element) {
        let name = match element.label {
            Some(label) => label,
            None if &*element.name == "Data" => String::new(),
            None => element.name.as_ref().to_owned(),
        };
        if element.list.is_empty() {
            self.event.data.push((name, element.text));
            return;
        }
        for text in element.list {
            /// Ours: what an entry takes besides its texts.
            const ENTRY: usize = 16;
            let Some(left) = self.text_left.checked_sub(name.len().saturating_add(ENTRY)) else {
                break;
            };
            self.text_left = left;
            self.event.data.push((name.clone(), text));
        }
    }
}
