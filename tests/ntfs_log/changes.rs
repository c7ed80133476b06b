// SPDX-License-Identifier: GPL-2.0-or-later
//! What of a volume changed, as the actions that Windows would log: attributes and entries that come and go, values, sizes, mapping
//! pairs, bits, bytes. Each with the structure as it is afterwards, worked out here and compared with the real one.

use super::editor::{Draft, Editor, created, whole_block};
use super::image::{Parts, Target, u16_at};
use super::writer::Payload;

/// What an action does to its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Effect {
    Nothing,
    /// The structure in memory is this.
    Structure(Vec<u8>),
    Bytes(Vec<u8>),
    /// Bits from `at` on.
    Bits {
        first: u32,
        count: u32,
        set: bool,
    },
}

/// One action.
#[derive(Clone, Debug)]
pub struct Step {
    pub target: Target,
    /// Where the structure is in its target, or the bytes; a multiple of 512.
    pub at: usize,
    /// How many bytes of the target it spans.
    pub len: usize,
    pub redo: (u16, Payload),
    pub undo: (u16, Payload),
    pub record_offset: usize,
    pub attribute_offset: usize,
    pub effect: Effect,
    /// What taking it back does, after everything behind it was taken back.
    pub back: Effect,
}

/// All actions that make `new` of `old`, one list for each structure. Says why where they
/// change what is not spoken of here.
pub fn between(old: &[u8], new: &[u8]) -> Result<Vec<Vec<Step>>, String> {
    let (before, after) = (Parts::of(old), Parts::of(new));
    for target in [
        Target::Mft,
        Target::Clusters,
        Target::Records,
        Target::Descriptors,
    ] {
        // They may have grown.
        let clusters = |parts: &Parts| -> Vec<u64> {
            let runs = parts.runs[&target].iter();
            runs.flat_map(|(lcn, count)| *lcn..lcn + count).collect()
        };
        if !clusters(&after).starts_with(&clusters(&before)) {
            return Err(format!("{target:?} is elsewhere"));
        }
    }
    let mut all = Vec::new();
    for number in 0..after.records() {
        let at = number * after.record;
        let raw = |image| after.read(image, &Target::Mft, at, after.record);
        if raw(old) == raw(new) {
            continue;
        }
        let (old, new) = (
            before.record(old, number),
            after
                .record(new, number)
                .ok_or(format!("no record {number}"))?,
        );
        let drafts = match old.filter(|old| u16_at(old, 0x16) & 1 != 0) {
            None => created(&new).ok_or(format!("record {number} stays free"))?,
            Some(old) => Editor::new(old)
                .become_record(&new)
                .ok_or(format!("record {number}"))?,
        };
        all.push(placed(drafts, &Target::Mft, at, after.record));
    }
    for (target, len) in &after.blocks {
        for (slot, used) in after.used[target]
            .iter()
            .enumerate()
            .filter(|(_, used)| **used)
        {
            assert!(used);
            let at = slot * len;
            let new_block = after.structure(new, target, at).ok_or("no block")?;
            let was_used = before
                .used
                .get(target)
                .is_some_and(|used| used.get(slot) == Some(&true));
            let old_block = match was_used {
                true => before.structure(old, target, at),
                false => None,
            };
            if old_block.as_ref() == Some(&new_block) {
                continue;
            }
            let drafts = match old_block {
                None => vec![whole_block(None, &new_block)],
                Some(old) => Editor::new(old).become_block(&new_block).ok_or("a block")?,
            };
            all.push(placed(drafts, target, at, *len));
        }
    }
    // Clusters of index blocks that are given back would need more than is spoken of here.
    for (target, runs) in before
        .runs
        .iter()
        .filter(|(target, _)| matches!(target, Target::Index(..)))
    {
        if after
            .runs
            .get(target)
            .is_none_or(|after| !after.starts_with(runs) && after != runs)
        {
            let kept = after
                .runs
                .get(target)
                .map_or(0, |runs| runs.iter().map(|run| run.1).sum());
            if kept < runs.iter().map(|run| run.1).sum() {
                return Err(format!("{target:?} is given back"));
            }
        }
    }
    for target in [Target::Clusters, Target::Records] {
        let len = after.len(&target);
        let steps = bits(
            &target,
            &after.read(old, &target, 0, len),
            &after.read(new, &target, 0, len),
        );
        all.extend(steps.into_iter().map(|step| vec![step]));
    }
    let target = Target::Descriptors;
    let len = after.len(&target);
    let steps = bytes(
        &after.read(old, &target, 0, len),
        &after.read(new, &target, 0, len),
    );
    all.extend(steps.into_iter().map(|step| vec![step]));
    Ok(all)
}

fn placed(drafts: Vec<Draft>, target: &Target, at: usize, len: usize) -> Vec<Step> {
    let place = |draft: Draft| Step {
        target: target.clone(),
        at,
        len,
        redo: draft.redo,
        undo: draft.undo,
        record_offset: draft.record_offset,
        attribute_offset: draft.attribute_offset,
        effect: draft.effect,
        back: draft.back,
    };
    drafts.into_iter().map(place).collect()
}

/// Runs of bits that were set or cleared, none over more than 512 bytes.
fn bits(target: &Target, old: &[u8], new: &[u8]) -> Vec<Step> {
    let mut steps: Vec<Step> = Vec::new();
    for (byte, (was, is)) in old
        .iter()
        .zip(new)
        .enumerate()
        .filter(|(_, (was, is))| was != is)
    {
        for bit in (0..8).filter(|bit| (was ^ is) >> bit & 1 != 0) {
            let is_set = is >> bit & 1 != 0;
            let at = byte & !0x1FF;
            let place = ((byte - at) * 8 + bit) as u32;
            if let Some(last) = steps.last_mut()
                && last.at == at
                && let Effect::Bits { first, count, set } = &mut last.effect
                && *set == is_set
                && *first + *count == place
            {
                *count += 1;
                continue;
            }
            let effect = |set| Effect::Bits {
                first: place,
                count: 1,
                set,
            };
            steps.push(Step {
                target: target.clone(),
                at,
                len: 0,
                redo: (if is_set { 0x15 } else { 0x16 }, Payload::None),
                undo: (if is_set { 0x16 } else { 0x15 }, Payload::None),
                record_offset: 0,
                attribute_offset: 0,
                effect: effect(is_set),
                back: effect(!is_set),
            });
        }
    }
    for step in &mut steps {
        let Effect::Bits { first, count, set } = step.effect else {
            continue;
        };
        let payload = [first.to_le_bytes(), count.to_le_bytes()].concat();
        step.redo.1 = Payload::Bytes(payload);
        step.undo.1 = Payload::Shared;
        step.len = (first + count).div_ceil(8) as usize;
        step.back = Effect::Bits {
            first,
            count,
            set: !set,
        };
    }
    steps
}

/// Bytes of $SDS that differ, none over more than 512.
fn bytes(old: &[u8], new: &[u8]) -> Vec<Step> {
    let mut steps = Vec::new();
    for (slot, (was, is)) in old.chunks(512).zip(new.chunks(512)).enumerate() {
        let differs = |at: &usize| was[*at] != is[*at];
        let Some(first) = (0..was.len()).find(differs) else {
            continue;
        };
        let last = (0..was.len()).rev().find(differs).unwrap_or(first);
        let (was, is) = (&was[first..=last], &is[first..=last]);
        let bare = |payload: &[u8]| (8, Payload::of(payload));
        let effect = |payload: &[u8]| Effect::Bytes(payload.to_vec());
        steps.push(Step {
            target: Target::Descriptors,
            at: slot * 512,
            len: last + 1,
            redo: bare(is),
            undo: bare(was),
            record_offset: first,
            attribute_offset: 0,
            effect: effect(is),
            back: effect(was),
        });
    }
    steps
}
