// SPDX-License-Identifier: GPL-2.0-or-later
//! Journals with bytes that nobody wrote, under protection that is good again. Shared by the unit tests and those of whole volumes.

#![allow(missing_docs, dead_code, unreachable_pub, clippy::indexing_slicing)]
#![allow(clippy::arithmetic_side_effects, clippy::cast_possible_truncation)]

use super::writer::{protect, restore};

/// A journal with a few of its bytes changed, all of its pages under good protection.
pub fn mutated(file: &[u8], random: &mut u64) -> Vec<u8> {
    let mut next = |end: usize| {
        *random ^= *random << 13;
        *random ^= *random >> 7;
        *random ^= *random << 17;
        (random.wrapping_mul(0x2545_F491_4F6C_DD1D) >> 20) as usize % end.max(1)
    };
    let mut file = file.to_vec();
    let pages: Vec<usize> = (0..file.len())
        .step_by(0x1000)
        .filter(|at| file[*at] != 0xFF)
        .collect();
    for _ in 0..=next(4) {
        // Seldom a restart page, of which little is left to read.
        let page = match next(8) {
            0 => pages[next(2)],
            _ => pages[next(pages.len())],
        };
        let content = &mut file[page..page + 0x1000];
        restore(content);
        let used = content
            .iter()
            .rposition(|byte| *byte != 0)
            .unwrap_or(0x40)
            .max(0x41);
        let at = match page {
            0 | 0x1000 => 0x30 + next(0xE0),
            _ => match next(16) {
                0 => 8 + next(0x38),
                _ => 0x40 + next(used - 0x40),
            },
        };
        let interesting = [
            0, 1, 2, 7, 8, 0x10, 0x18, 0x20, 0x28, 0x30, 0x40, 0x7F, 0x80, 0xFE, 0xFF,
        ];
        match next(6) {
            0 => content[at] = next(256) as u8,
            1 => content[at] ^= 1 << next(8),
            2 => content[at] = interesting[next(interesting.len())],
            3 => content[at] = content[at].wrapping_add([1, 8, 0xF8, 0xFF][next(4)]),
            4 => {
                let len = [2, 4, 8][next(3)].min(0x1000 - at);
                content[at..at + len].fill([0, 0xFF, 0x80][next(3)]);
            }
            _ => {
                // What is elsewhere on the page.
                let from = 0x40 + next(used - 0x40);
                let len = (1 + next(48)).min(0x1000 - from.max(at));
                content.copy_within(from..from + len, at);
            }
        }
        protect(content, 0x33);
    }
    file
}
