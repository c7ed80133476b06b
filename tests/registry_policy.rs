// SPDX-License-Identifier: GPL-2.0-or-later
//! Registry policy files that Samba wrote, sound and damaged, read by both.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod support;

use coldfix::registry_policy::PolicyFile;
use serde_json::{Value, json};
use support::machine::{Instruction, samba_policy, write_policy};

const BINARY: u32 = 3;
const DWORD: u32 = 4;

/// The same numbers on every run.
struct Numbers(u64);

impl Numbers {
    fn below(&mut self, limit: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 % limit as u64) as usize
    }

    fn instruction(&mut self) -> Instruction {
        let keys = [
            r"Software\Policies\Microsoft\Windows NT\Terminal Services",
            "Software\\\u{e9}t\u{e9}",
            "S",
        ];
        let values = ["fDenyTSConnections", "**del.x", "**delvals.", "a;b]", ""];
        let key = keys[self.below(keys.len())].to_owned();
        let value = values[self.below(values.len())].to_owned();
        match self.below(2) {
            0 => {
                let number = self.below(1 << 33) as u32;
                (key, value, DWORD, number.to_le_bytes().to_vec())
            }
            _ => {
                let data = (0..self.below(40)).map(|_| self.below(256) as u8).collect();
                (key, value, BINARY, data)
            }
        }
    }
}

fn ours(bytes: &[u8]) -> Option<Vec<Instruction>> {
    let file = PolicyFile::parse(bytes).ok()?;
    let instructions = file.instructions.into_iter();
    Some(
        instructions
            .map(|one| (one.key, one.value, one.kind, one.data))
            .collect(),
    )
}

fn as_json(instructions: &[Instruction]) -> Value {
    write_policy(std::path::Path::new("x"), instructions)["entries"].clone()
}

#[test]
fn what_samba_writes_is_read_and_what_both_read_is_the_same() {
    if !support::require_python("samba") {
        return;
    }
    let folder = support::temporary();
    let mut numbers = Numbers(0x1234_5678_9abc_def1);
    let mut questions = Vec::new();
    let mut files = Vec::new();
    for number in 0..120 {
        let path = folder.path().join(format!("{number}.pol"));
        let count = numbers.below(9);
        let made: Vec<Instruction> = (0..count).map(|_| numbers.instruction()).collect();
        questions.push(write_policy(&path, &made));
        files.push((path, made));
    }
    samba_policy(&questions);

    let mut damaged = Vec::new();
    for (number, (path, made)) in files.iter().enumerate() {
        let bytes = std::fs::read(path).unwrap();
        assert_eq!(ours(&bytes).as_ref(), Some(made), "{}", path.display());
        for time in 0..8 {
            let mut bad = bytes.clone();
            let place = numbers.below(bad.len());
            match time {
                0 => bad.truncate(place),
                _ => bad[place] ^= 1 << numbers.below(8),
            }
            let path = folder.path().join(format!("{number}-{time}.pol"));
            std::fs::write(&path, &bad).unwrap();
            damaged.push((path, bad));
        }
    }
    let questions: Vec<Value> = damaged
        .iter()
        .map(|(path, _)| json!({"read": path.to_str().unwrap()}))
        .collect();
    let (mut both, mut refused) = (0, 0);
    for ((path, bytes), theirs) in damaged.iter().zip(samba_policy(&questions)) {
        let Some(found) = ours(bytes) else {
            refused += 1;
            continue;
        };
        // Samba shows text without its terminator and knows no other length of a number.
        let plain = |(_, _, kind, data): &Instruction| {
            *kind == BINARY || (*kind == DWORD && data.len() == 4)
        };
        if theirs.is_null() || !found.iter().all(plain) {
            continue;
        }
        assert_eq!(as_json(&found), theirs, "{}", path.display());
        both += 1;
    }
    assert!(
        both > 100 && refused > 300,
        "{both} read by both, {refused} refused"
    );
}
