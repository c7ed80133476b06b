// SPDX-License-Identifier: GPL-2.0-or-later
//! The map of a disk: its partitions as a picture, to scale but for the small ones, which would not be seen, and as a
//! table.

use maud::{Markup, html};

use super::super::language::Language;
use super::super::{PartitionReport, Report, text, words};
use super::disk;
use crate::partition::Content;

/// Width of the picture, in its own units.
const WIDTH: u64 = 1000;
const HEIGHT: u64 = 66;
/// The narrowest that a part is drawn.
const NARROWEST: u64 = 26;
/// A part this wide has room for its content and size.
const WIDE: u64 = 110;
/// The most parts that are drawn; a partition table can list more.
const MOST_PARTS: usize = 32;

/// A partition or a gap.
struct Part<'a> {
    len: u64,
    partition: Option<&'a PartitionReport>,
}

/// The partitions and the gaps between them, in the order of the disk. Partitions that overlap are drawn one after the
/// other.
fn parts(size: u64, partitions: &[PartitionReport]) -> Vec<Part<'_>> {
    let mut sorted: Vec<&PartitionReport> = partitions.iter().collect();
    sorted.sort_by_key(|partition| partition.offset);
    let mut parts = Vec::new();
    let mut position = 0_u64;
    // Less is what partition tables and alignment take.
    let smallest_gap = (size / 200).max(2 << 20);
    let gap = |from: u64, to: u64| {
        let len = to.saturating_sub(from);
        (len >= smallest_gap).then_some(Part {
            len,
            partition: None,
        })
    };
    for partition in sorted {
        parts.extend(gap(position, partition.offset));
        parts.push(Part {
            len: partition.len,
            partition: Some(partition),
        });
        position = position.max(partition.offset.saturating_add(partition.len));
    }
    parts.extend(gap(position, size));
    parts
}

/// The widths of parts of these lengths, which add up to about `WIDTH`: to scale, but none below `NARROWEST`.
fn widths(lens: &[u64]) -> Vec<u64> {
    let narrowest = NARROWEST.min(WIDTH / (lens.len() as u64).max(1));
    let mut narrow = vec![false; lens.len()];
    // Each round widens at least one part, or is the last.
    loop {
        let room = WIDTH
            .saturating_sub(narrowest * narrow.iter().filter(|narrow| **narrow).count() as u64);
        let total: u128 = lens
            .iter()
            .zip(&narrow)
            .filter(|(_, narrow)| !**narrow)
            .map(|(len, _)| u128::from(*len))
            .sum();
        let scaled = |len: u64| {
            let width = u128::from(len) * u128::from(room) / total.max(1);
            u64::try_from(width).unwrap_or(room)
        };
        let before = narrow.clone();
        for (len, narrow) in lens.iter().zip(&mut narrow) {
            *narrow |= scaled(*len) < narrowest;
        }
        if narrow == before {
            return lens
                .iter()
                .zip(&narrow)
                .map(|(len, narrow)| if *narrow { narrowest } else { scaled(*len) })
                .collect();
        }
    }
}

fn class(part: &Part<'_>, windows: bool) -> String {
    let fill = match part.partition.map(|partition| partition.content) {
        None => "free",
        Some(Content::Ntfs) => "ntfs",
        Some(Content::Fat | Content::ExFat) => "fat",
        Some(Content::BitLocker) => "locked",
        Some(Content::Refs | Content::Empty | Content::Other) => "other",
    };
    format!("{fill}{}", if windows { " windows" } else { "" })
}

/// The map and the table; nothing for a folder.
pub(super) fn section(report: &Report, language: Language) -> Markup {
    let say = |text| language.say(text);
    let target = &report.target;
    let Some(size) = target.size.filter(|_| !target.partitions.is_empty()) else {
        return html! {};
    };
    html! {
        h3 { (say(words::DISK_MAP)) }
        (picture(report, size, language))
        p class="quiet" { (say(words::NOT_TO_SCALE)) }
        table {
            thead { tr {
                th scope="col" { (say(words::NUMBER)) }
                th scope="col" { (say(words::CONTENT)) }
                th scope="col" { (say(words::NAME)) }
                th scope="col" { (say(words::BEGINS_AT)) }
                th scope="col" { (say(words::SIZE)) }
                th scope="col" { (say(words::STATE)) }
            } }
            tbody { @for partition in &target.partitions { tr {
                td class="number" { (partition.number) }
                td class="word" { (partition.content.name()) }
                td {
                    (disk(&partition.type_name))
                    @if let Some(name) = &partition.name { ", " (disk(name)) }
                    @if let Some(label) = label(partition) { ", " (disk(label)) }
                }
                td class="number" { (text::size(partition.offset)) }
                td class="number" { (text::size(partition.len)) }
                td { (state(partition, is_windows(report, partition), language)) }
            } } }
        }
    }
}

fn label(partition: &PartitionReport) -> Option<&str> {
    partition
        .volume
        .as_ref()?
        .label
        .as_deref()
        .filter(|label| !label.is_empty())
}

fn is_windows(report: &Report, partition: &PartitionReport) -> bool {
    report
        .installations
        .iter()
        .any(|installation| installation.partition == Some(partition.number))
}

fn state(partition: &PartitionReport, windows: bool, language: Language) -> Markup {
    let say = |text| language.say(text);
    let mut parts: Vec<String> = Vec::new();
    if windows {
        parts.push(say(words::WINDOWS_TO_REPAIR).to_owned());
    }
    if let Some(volume) = &partition.volume {
        if volume.dirty {
            parts.push(say(words::DIRTY).to_owned());
        }
        if volume.hibernated {
            parts.push(say(words::HIBERNATED).to_owned());
        }
        parts.extend(volume.unclean_journal.clone());
    }
    parts.extend(partition.error.clone());
    html! { (disk(&parts.join("; "))) }
}

fn picture(report: &Report, size: u64, language: Language) -> Markup {
    let say = |text| language.say(text);
    let mut parts = parts(size, &report.target.partitions);
    parts.truncate(MOST_PARTS);
    let lens: Vec<u64> = parts.iter().map(|part| part.len).collect();
    let widths = widths(&lens);
    let mut x = 0;
    let described: Vec<String> = parts.iter().map(|part| described(part, language)).collect();
    html! {
        svg viewBox={ "-2 -2 " (WIDTH + 4) " " (HEIGHT + 4) } role="img" aria-label={ (say(words::DISK_MAP)) ": " (described.join("; ")) } {
            @for ((part, width), description) in parts.iter().zip(widths).zip(&described) {
                @let windows = part.partition.is_some_and(|partition| is_windows(report, partition));
                g {
                    title { (description) }
                    rect x=(x) y="0" width=(width.saturating_sub(2).max(1)) height=(HEIGHT) rx="3" class=(class(part, windows)) {}
                    @let middle = x + width / 2;
                    @if let Some(partition) = part.partition {
                        text x=(middle) y=(if width >= WIDE { 24 } else { 38 }) text-anchor="middle" {
                            (partition.number)
                            @if width >= WIDE { ": " (partition.content.name()) }
                        }
                    }
                    @if width >= WIDE {
                        text class="small" x=(middle) y="46" text-anchor="middle" {
                            @if part.partition.is_none() { (say(words::FREE)) " " }
                            (text::size(part.len))
                        }
                    }
                }
                @let () = x += width;
            }
        }
    }
}

fn described(part: &Part<'_>, language: Language) -> String {
    let size = text::size(part.len);
    match part.partition {
        Some(partition) => format!("{}: {}, {size}", partition.number, partition.content.name()),
        None => format!("{}, {size}", language.say(words::FREE)),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn large_parts_are_to_scale_and_small_ones_are_seen() {
        assert_eq!(widths(&[1, 1]), [500, 500]);
        assert_eq!(widths(&[300, 700]), [300, 700]);
        let widths = widths(&[100 << 20, 16 << 20, 126 << 30, 500 << 20]);
        assert_eq!(widths, [26, 26, 922, 26]);
    }

    #[test]
    fn any_lengths_fit() {
        for lens in [
            vec![],
            vec![0],
            vec![0; 32],
            vec![u64::MAX; 32],
            (0..32).map(|shift| 1_u64 << shift).collect(),
            (0..32).map(|shift| u64::MAX >> shift).collect(),
        ] {
            let widths = widths(&lens);
            assert_eq!(widths.len(), lens.len());
            assert!(widths.iter().sum::<u64>() <= WIDTH, "{lens:?}");
            assert!(widths.iter().all(|width| *width >= NARROWEST), "{lens:?}");
        }
    }
}
