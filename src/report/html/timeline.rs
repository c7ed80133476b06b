// SPDX-License-Identifier: GPL-2.0-or-later
//! The events of a report on a line of time, one lane a log, and as a table.

use jiff::Timestamp;
use maud::{Markup, html};

use super::super::language::Language;
use super::super::words;
use super::disk;
use crate::checks::TimelineEvent;
use crate::windows::value::printable;

/// Sizes of the picture, in its own units.
const WIDTH: i64 = 1000;
const LEFT: i64 = 190;
const RIGHT: i64 = 30;
const LANE: i64 = 34;
const AXIS: i64 = 30;
/// The most lanes: more logs than we read do not come.
const MOST_LANES: usize = 12;
/// Marks on the axis.
const TICKS: i64 = 4;

/// An event that has a place on the line.
struct Placed<'a> {
    event: &'a TimelineEvent,
    x: i64,
    lane: i64,
}

/// The first and the last moment that are drawn.
struct Span {
    first: i64,
    last: i64,
}

impl Span {
    fn of(times: &[i64]) -> Option<Span> {
        Some(Span {
            first: *times.iter().min()?,
            last: *times.iter().max()?,
        })
    }

    /// Where a moment is drawn; alone, in the middle.
    fn x(&self, time: i64) -> i64 {
        let room = i128::from(WIDTH - LEFT - RIGHT);
        let len = i128::from(self.last) - i128::from(self.first);
        let at = match len {
            0 => room / 2,
            _ => (i128::from(time) - i128::from(self.first)) * room / len,
        };
        LEFT + i64::try_from(at).unwrap_or(0)
    }

    /// The moments on the axis, with their names: days, or minutes where the whole is short.
    fn ticks(&self) -> Vec<(i64, String)> {
        let len = self.last.saturating_sub(self.first);
        let steps = if len == 0 { 0 } else { TICKS };
        let format = if len < 3 * 86_400 {
            "%m-%d %H:%M"
        } else {
            "%Y-%m-%d"
        };
        (0..=steps)
            .filter_map(|step| {
                let part = i128::from(len) * i128::from(step) / i128::from(steps.max(1));
                let time = self.first.saturating_add(i64::try_from(part).ok()?);
                let name = Timestamp::from_second(time).ok()?.strftime(format);
                Some((self.x(time), name.to_string()))
            })
            .collect()
    }
}

fn seconds(event: &TimelineEvent) -> Option<i64> {
    let time: Timestamp = event.time.parse().ok()?;
    Some(time.as_second())
}

fn level(event: &TimelineEvent) -> (&'static str, &'static str) {
    match event.level {
        1 => ("level-error", words::CRITICAL),
        2 => ("level-error", words::ERROR),
        3 => ("level-warning", words::WARNING),
        _ => ("level-information", words::INFORMATION),
    }
}

/// Who logged it, where the name of the log does not tell.
fn provider(event: &TimelineEvent) -> &str {
    let provider = &*event.provider;
    if provider.ends_with(event.log) {
        return "";
    }
    provider
        .strip_prefix("Microsoft-Windows-")
        .unwrap_or(provider)
}

/// The picture and the table; nothing where there are no events.
pub(super) fn section(events: &[TimelineEvent], language: Language) -> Markup {
    let say = |text| language.say(text);
    html! {
        @if !events.is_empty() {
            h3 { (say(words::EVENTS)) }
            (picture(events, language))
            p class="quiet" { (say(words::EVENTS_LEGEND)) }
            table {
                thead { tr {
                    th scope="col" { (say(words::TIME)) }
                    th scope="col" { (say(words::LEVEL)) }
                    th scope="col" { (say(words::EVENT)) }
                    th scope="col" { (say(words::SAYS)) }
                    th scope="col" { (say(words::PROVES)) }
                } }
                tbody { @for event in events { tr {
                    td class="word" { (disk(event.time.replace('T', " ").trim_end_matches('Z'))) }
                    td class="word" { (say(level(event).1)) }
                    td {
                        (event.log) " " (event.id)
                        @if !provider(event).is_empty() { br; span class="quiet" { (disk(provider(event))) } }
                    }
                    td { (disk(&event.text)) }
                    td { @if let Some(finding) = event.finding { code { (finding) } } }
                } } }
            }
        }
    }
}

fn picture(events: &[TimelineEvent], language: Language) -> Markup {
    let mut lanes: Vec<&str> = Vec::new();
    for event in events {
        if !lanes.contains(&event.log) && lanes.len() < MOST_LANES {
            lanes.push(event.log);
        }
    }
    let times: Vec<i64> = events.iter().filter_map(seconds).collect();
    let Some(span) = Span::of(&times) else {
        return html! {};
    };
    let placed: Vec<Placed<'_>> = events
        .iter()
        .filter_map(|event| {
            let lane = lanes.iter().position(|lane| *lane == event.log)?;
            Some(Placed {
                event,
                x: span.x(seconds(event)?),
                lane: i64::try_from(lane).ok()?,
            })
        })
        .collect();
    let bottom = LANE * i64::try_from(lanes.len()).unwrap_or(0);
    let names = (0..).map(|lane| lane * LANE + LANE / 2).zip(&lanes);
    let ticks = span.ticks();
    let last_tick = ticks.len().saturating_sub(1);
    html! {
        svg viewBox={ "0 0 " (WIDTH) " " (bottom + AXIS) } role="img" aria-label=(language.say(words::EVENTS)) {
            @for (y, name) in names {
                line class="lane" x1=(LEFT - 10) x2=(WIDTH) y1=(y) y2=(y) {}
                text x="0" y=(y + 5) { (name) }
            }
            @for (number, (x, name)) in ticks.iter().enumerate() {
                line class="lane" x1=(x) x2=(x) y1="0" y2=(bottom + 4) {}
                text class="small" x=(x) y=(bottom + 20) text-anchor=(anchor(number, last_tick)) { (name) }
            }
            @for placed in &placed { (mark(placed, language)) }
        }
    }
}

/// The first and the last name must not leave the picture.
fn anchor(number: usize, last: usize) -> &'static str {
    match number {
        _ if last == 0 => "middle",
        0 => "start",
        _ if number == last => "end",
        _ => "middle",
    }
}

/// A mark: its shape tells the level as its colour does.
fn mark(placed: &Placed<'_>, language: Language) -> Markup {
    let (class, name) = level(placed.event);
    let (x, y) = (placed.x, placed.lane * LANE + LANE / 2);
    let tip = format!(
        "{} {} {}: {}",
        placed.event.time,
        language.say(name),
        placed.event.id,
        placed.event.text
    );
    html! {
        g {
            title { (printable(&tip)) }
            @if placed.event.finding.is_some() { circle class="proof" cx=(x) cy=(y) r="11" {} }
            @match class {
                "level-error" => {
                    rect class={ "mark " (class) } x=(x - 6) y=(y - 6) width="12" height="12" transform={ "rotate(45 " (x) " " (y) ")" } {}
                }
                "level-warning" => {
                    path class={ "mark " (class) } d={ "M" (x) " " (y - 8) "l8 14h-16z" } {}
                }
                _ => { circle class={ "mark " (class) } cx=(x) cy=(y) r="6" {} }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_and_the_last_event_stand_at_the_ends() {
        let span = Span::of(&[100, 0, 50]).expect("events");
        assert_eq!((span.x(0), span.x(50), span.x(100)), (LEFT, 580, 970));
        assert_eq!(span.ticks().len(), 5);
    }

    #[test]
    fn one_moment_stands_in_the_middle_and_no_time_is_too_far() {
        let span = Span::of(&[7]).expect("an event");
        assert_eq!(span.x(7), 580);
        assert_eq!(span.ticks().len(), 1);
        let span = Span::of(&[i64::MIN, i64::MAX]).expect("events");
        assert_eq!((span.x(i64::MIN), span.x(i64::MAX)), (LEFT, 970));
        let _ = span.ticks();
    }
}
