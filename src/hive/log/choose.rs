// SPDX-License-Identifier: GPL-2.0-or-later
//! Which logs apply to a dirty hive, and in which order.
//!
//! New format, base block sound: logs whose number is below the hive's secondary sequence number are
//! stale. The earliest of the others comes first; the next one follows only if it begins with the number
//! after the last entry applied. That is what Windows does with .LOG1 and .LOG2. For a .LOG beside them,
//! the rule Windows follows depends on how it would load the hive, which the files do not say: they must
//! form one chain, or nothing is applied.
//!
//! New format, base block damaged: the log with the latest entries gives the base block. Windows applies
//! that log alone; an earlier log that leads up to it without a gap is applied before it here, which can
//! only bring back older states of pages that the later entries do not touch and the primary may not have
//! received. Where the primary has received them, the result is the same.
//!
//! Old format: the log that bears the hive's own time of writing; failing that, the latest one that is
//! newer than the hive, as Windows 8 does. A log whose hive bins would not hold together is passed over.
//!
//! Source: msuhanov/regf, "Multiple transaction log files". Numbers are compared as they wrap.

use super::new_format::{Chain, Entry};
use super::old_format::DirtySectors;
use super::replay::{Plan, Run, Step, bin_header, first_bin_fault};
use super::{Page, is_before};
use crate::bytes::{array, u64_le};
use crate::hive::base_block::{BASE_BLOCK_SIZE, BaseBlock};

/// A log whose base block is sound.
#[derive(Debug)]
pub(super) struct Log<'a> {
    pub(super) name: &'a str,
    pub(super) bytes: &'a [u8],
    pub(super) base: BaseBlock,
    pub(super) body: Body<'a>,
}

/// What follows the base block of a log.
#[derive(Debug)]
pub(super) enum Body<'a> {
    New(Chain<'a>),
    Old(DirtySectors<'a>),
}

/// The hive as it is on disk.
#[derive(Clone, Copy, Debug)]
pub(super) struct Primary<'a> {
    pub(super) image: &'a [u8],
    /// The base block, when its checksum is right.
    pub(super) base: Option<&'a BaseBlock>,
}

/// A new-format log with what it needs for ordering.
#[derive(Clone, Copy)]
struct Link<'l> {
    log: &'l Log<'l>,
    entries: &'l [Entry<'l>],
}

impl Link<'_> {
    fn first_sequence(&self) -> u32 {
        self.log.base.primary_sequence
    }

    fn last_sequence(&self) -> Option<u32> {
        self.entries.last().map(|entry| entry.sequence)
    }

    /// True for .LOG1 and .LOG2, which Windows uses as a pair; a .LOG is used alone.
    fn is_one_of_a_pair(&self) -> bool {
        let name = self.log.name.to_ascii_lowercase();
        name.ends_with(".log1") || name.ends_with(".log2")
    }
}

/// What to apply to `primary`; `None`, with the reasons in `notes`, when no log can be trusted with it.
pub(super) fn choose<'l>(
    primary: Primary<'_>,
    logs: &'l [Log<'l>],
    notes: &mut Vec<String>,
) -> Option<Plan<'l>> {
    let plan = match new_format_plan(primary.base, logs, notes) {
        Ok(Some(plan)) => Some(plan),
        Ok(None) => old_format_plan(primary, logs, notes),
        Err(why) => {
            notes.push(why);
            None
        }
    }?;
    match plan.check(primary.image.len()) {
        Ok(()) => Some(plan),
        Err(why) => {
            notes.push(format!("no log was applied: {why}"));
            None
        }
    }
}

/// The plan from logs of the new format; `None` when there is none that could apply.
fn new_format_plan<'l>(
    primary: Option<&BaseBlock>,
    logs: &'l [Log<'l>],
    notes: &mut Vec<String>,
) -> Result<Option<Plan<'l>>, String> {
    let mut links: Vec<Link<'l>> = logs
        .iter()
        .filter_map(|log| match &log.body {
            Body::New(chain) => Some(Link {
                log,
                entries: &chain.entries,
            }),
            Body::Old(_) => None,
        })
        .collect();
    match primary {
        Some(base) => links.retain(|link| {
            let stale = is_before(link.first_sequence(), base.secondary_sequence);
            if stale {
                notes.push(format!(
                    "{}: not applied: it begins with number {}, before the hive's {}",
                    link.log.name,
                    link.first_sequence(),
                    base.secondary_sequence
                ));
            }
            !stale
        }),
        // Only a log that holds something can vouch for a base block.
        None => links.retain(|link| !link.entries.is_empty()),
    }
    let Some(first) = links.first() else {
        return Ok(None);
    };
    let reference = primary.map_or(first.first_sequence(), |base| base.secondary_sequence);
    links.sort_by_key(|link| link.first_sequence().wrapping_sub(reference).cast_signed());
    let links = without_copies(links, notes)?;
    let chain = match primary {
        Some(_) => chain_from_first(&links, notes)?,
        None => chain_to_last(&links, notes),
    };
    let Some((latest, sequence)) = chain.last().and_then(|l| Some((l, l.last_sequence()?))) else {
        return Ok(None);
    };
    Ok(Some(Plan {
        base_from: primary.is_none().then_some(latest.log.bytes),
        sequence,
        runs: chain.iter().filter_map(run).collect(),
    }))
}

fn run<'l>(link: &Link<'l>) -> Option<Run<'l>> {
    Some(Run {
        name: link.log.name,
        first_sequence: link.entries.first()?.sequence,
        last_sequence: link.last_sequence()?,
        steps: link.entries.iter().copied().map(Step::Entry).collect(),
    })
}

/// Of logs that begin with the same number, one may be a copy or an earlier state of another; anything
/// else means two histories, and nothing says which is the hive's.
fn without_copies<'l>(
    sorted: Vec<Link<'l>>,
    notes: &mut Vec<String>,
) -> Result<Vec<Link<'l>>, String> {
    let mut kept: Vec<Link<'l>> = Vec::new();
    for link in sorted {
        let Some(other) = kept.last_mut() else {
            kept.push(link);
            continue;
        };
        if other.first_sequence() != link.first_sequence() {
            kept.push(link);
            continue;
        }
        let pairs = other.entries.iter().zip(link.entries);
        if pairs.into_iter().any(|(a, b)| a.bytes != b.bytes) {
            return Err(format!(
                "no log was applied: {} and {} both begin with entry {}, with different content",
                other.log.name,
                link.log.name,
                link.first_sequence()
            ));
        }
        let spare = if link.entries.len() > other.entries.len() {
            std::mem::replace(other, link).log.name
        } else {
            link.log.name
        };
        notes.push(format!(
            "{spare}: not needed: {} holds the same entries",
            other.log.name
        ));
    }
    Ok(kept)
}

/// The chain that begins with the earliest log.
fn chain_from_first<'l>(
    sorted: &[Link<'l>],
    notes: &mut Vec<String>,
) -> Result<Vec<Link<'l>>, String> {
    let mut rest = sorted.iter();
    let mut chain: Vec<Link<'l>> = rest.next().copied().into_iter().collect();
    let mut last = match chain.first().map(|link| (link, link.last_sequence())) {
        Some((_, Some(last))) => last,
        Some((link, None)) => {
            return Err(format!(
                "no log was applied: {} should begin with entry {}, but that entry is not there or not whole",
                link.log.name,
                link.first_sequence()
            ));
        }
        None => return Ok(chain),
    };
    for link in rest {
        if link.first_sequence() == last.wrapping_add(1) {
            // Windows had just turned to this log; its first entry may not have become whole.
            if let Some(number) = link.last_sequence() {
                last = number;
                chain.push(*link);
            }
            continue;
        }
        let pairs = chain.iter().chain([link]).map(Link::is_one_of_a_pair);
        let (in_pair, alone): (Vec<bool>, Vec<bool>) = pairs.partition(|&pair| pair);
        if !in_pair.is_empty() && !alone.is_empty() && !link.entries.is_empty() {
            return Err(format!(
                "no log was applied: {} begins with entry {}, which does not follow entry {last} of the other logs, and nothing says which of them Windows was using",
                link.log.name,
                link.first_sequence()
            ));
        }
        notes.push(format!(
            "{}: not applied: it begins with entry {}, which does not follow entry {last}, the last one applied",
            link.log.name,
            link.first_sequence()
        ));
    }
    Ok(chain)
}

/// The chain that ends with the latest log.
fn chain_to_last<'l>(sorted: &[Link<'l>], notes: &mut Vec<String>) -> Vec<Link<'l>> {
    let mut chain: Vec<Link<'l>> = Vec::new();
    let mut next = None;
    for link in sorted.iter().rev() {
        let ends_at = link.last_sequence().map(|last| last.wrapping_add(1));
        if next.is_none() || next == ends_at {
            next = Some(link.first_sequence());
            chain.push(*link);
        } else {
            notes.push(format!(
                "{}: not applied: its entries do not lead up to those of the later log",
                link.log.name
            ));
        }
    }
    chain.reverse();
    chain
}

/// The plan from logs of the old format.
fn old_format_plan<'l>(
    primary: Primary<'_>,
    logs: &'l [Log<'l>],
    notes: &mut Vec<String>,
) -> Option<Plan<'l>> {
    // The first hive bin keeps a copy of the time of writing, at offset 20 of its header.
    let first_bin: Option<[u8; 32]> = array(primary.image, BASE_BLOCK_SIZE);
    let first_bin_time = first_bin
        .filter(|bin| bin.starts_with(b"hbin"))
        .and_then(|bin| u64_le(&bin, 20));
    let written = match primary.base {
        Some(base) => Some(base.last_written),
        None => first_bin_time,
    };
    let mut candidates = Vec::new();
    for log in logs {
        let Body::Old(sectors) = &log.body else {
            continue;
        };
        let stale_number = primary
            .base
            .is_some_and(|base| is_before(log.base.primary_sequence, base.secondary_sequence));
        if stale_number || written.is_none_or(|written| log.base.last_written < written) {
            notes.push(format!(
                "{}: not applied: it was written before the hive was last written",
                log.name
            ));
        } else {
            candidates.push((log, *sectors));
        }
    }
    // Equal times first, then the latest; the sort keeps .LOG1 before .LOG2 before .LOG among equals.
    candidates.sort_by_key(|(log, _)| {
        let same = written == Some(log.base.last_written);
        (!same, std::cmp::Reverse(log.base.last_written))
    });
    let fits = |(log, sectors): &(&Log<'_>, DirtySectors<'_>)| {
        let fault = old_format_fault(primary, &log.base, sectors);
        notes.extend(
            fault
                .iter()
                .map(|why| format!("{}: not applied: {why}", log.name)),
        );
        fault.is_none()
    };
    let (log, sectors) = candidates.into_iter().find(fits)?;
    let newer = written != Some(log.base.last_written);
    let number = log.base.primary_sequence;
    let sequence = match primary.base {
        Some(base) if is_before(number, base.primary_sequence) => base.primary_sequence,
        _ => number,
    };
    Some(Plan {
        base_from: (newer || primary.base.is_none()).then_some(log.bytes),
        sequence,
        runs: vec![Run {
            name: log.name,
            first_sequence: number,
            last_sequence: number,
            steps: vec![Step::Sectors(sectors, log.base.bins_size)],
        }],
    })
}

/// Why the hive bins would not hold together with these sectors in place, where the hive's own are not to
/// blame.
fn old_format_fault(
    primary: Primary<'_>,
    log: &BaseBlock,
    sectors: &DirtySectors<'_>,
) -> Option<String> {
    // Bins begin at multiples of 4096, so only those sectors matter; they come in ascending order.
    let heads: Vec<Page<'_>> = sectors
        .pages()
        .filter(|page| page.offset.checked_rem(4096) == Some(0))
        .collect();
    let logged = |offset: u32| {
        let found = heads.binary_search_by_key(&offset, |page| page.offset);
        found.ok().and_then(|index| heads.get(index))
    };
    let fault = first_bin_fault(log.bins_size, |offset| match logged(offset) {
        Some(page) => array(page.bytes, 0),
        None => bin_header(primary.image, offset),
    })?;
    let without = first_bin_fault(log.bins_size, |offset| bin_header(primary.image, offset));
    if logged(fault.offset).is_none() && without.as_ref() == Some(&fault) {
        return None;
    }
    Some(format!(
        "with it, the hive bin at offset {:#x} would be damaged: {}",
        fault.offset, fault.what
    ))
}
