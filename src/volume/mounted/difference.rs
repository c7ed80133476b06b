// SPDX-License-Identifier: GPL-2.0-or-later
//! From two contents of a file to the patch between them.
//!
//! ```text
//! before   |aaaa|bbbb|cccc|dd              past its end a content counts as zeros
//! after    |aaaa|bXbb|cccc|ddee|ff
//! changes       [1   ]    [2      ]        whole sectors of 512 bytes, cut at the longer end
//! ```

use std::path::Path;

use crate::device::{Change, Patch};

/// What is compared and written as one: the smallest unit that drives write whole.
const SECTOR: usize = 512;

/// The patch that makes `after` of `before` in `file`; `None` when they are the same.
pub(super) fn patch(file: &Path, before: &[u8], after: &[u8]) -> Option<Patch> {
    if before == after {
        return None;
    }
    let longest = before.len().max(after.len());
    let mut changes: Vec<Change> = Vec::new();
    // Where the last change ends, so that neighbours become one.
    let mut end = None;
    for start in (0..longest).step_by(SECTOR) {
        let len = SECTOR.min(longest.saturating_sub(start));
        let old = sector(before, start, len);
        let new = sector(after, start, len);
        if old == new {
            continue;
        }
        match changes.last_mut() {
            Some(last) if end == Some(start) => {
                last.before.extend_from_slice(&old);
                last.after.extend_from_slice(&new);
            }
            _ => changes.push(Change {
                offset: length(start),
                before: old,
                after: new,
            }),
        }
        end = start.checked_add(len);
    }
    Some(Patch {
        file: file.to_owned(),
        before_len: length(before.len()),
        after_len: length(after.len()),
        changes,
    })
}

/// `len` bytes of `content` from `start`, with zeros for what lies past its end.
fn sector(content: &[u8], start: usize, len: usize) -> Vec<u8> {
    let end = start.saturating_add(len).min(content.len());
    let mut sector = content.get(start..end).unwrap_or_default().to_vec();
    sector.resize(len, 0);
    sector
}

fn length(len: usize) -> u64 {
    u64::try_from(len).unwrap_or(u64::MAX)
}

#[cfg(test)]
#[allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]
mod tests {
    use super::*;

    /// The ranges of the patch, after checking that it leads from one content to the other and back.
    fn ranges(before: &[u8], after: &[u8]) -> Vec<(u64, usize)> {
        let patch = patch(Path::new("/f"), before, after).unwrap();
        assert_eq!(patch.before_len, before.len() as u64);
        assert_eq!(patch.after_len, after.len() as u64);
        let mut forward = before.to_vec();
        let mut back = after.to_vec();
        let longest = before.len().max(after.len());
        forward.resize(longest, 0);
        back.resize(longest, 0);
        for change in &patch.changes {
            let range = change.offset as usize..change.offset as usize + change.after.len();
            assert_eq!(forward[range.clone()], change.before);
            assert_eq!(back[range.clone()], change.after);
            forward[range.clone()].copy_from_slice(&change.after);
            back[range].copy_from_slice(&change.before);
        }
        forward.truncate(after.len());
        back.truncate(before.len());
        assert_eq!(forward, after);
        assert_eq!(back, before);
        let range = |change: &Change| (change.offset, change.after.len());
        patch.changes.iter().map(range).collect()
    }

    #[test]
    fn only_differing_sectors_and_neighbours_as_one() {
        let before = vec![1; 4096];
        let mut after = before.clone();
        after[511] = 2;
        after[512] = 2;
        after[4095] = 2;
        assert_eq!(ranges(&before, &after), [(0, 1024), (3584, 512)]);
        assert_eq!(patch(Path::new("/f"), &before, &before), None);
    }

    #[test]
    fn growing_and_shrinking_at_and_around_a_sector() {
        let long = vec![7; 1025];
        for len in [0, 1, 511, 512, 513, 1023, 1024] {
            let short = &long[..len];
            let start = len / 512 * 512;
            let expected = [(start as u64, long.len() - start)];
            assert_eq!(ranges(short, &long), expected);
            assert_eq!(ranges(&long, short), expected);
        }
    }

    #[test]
    fn zeros_at_the_end_need_no_change_but_a_length() {
        let before = vec![7; 512];
        let mut after = before.clone();
        after.resize(2000, 0);
        assert_eq!(ranges(&before, &after), []);
        assert_eq!(ranges(&after, &before), []);
    }
}
