// SPDX-License-Identifier: GPL-2.0-or-later
use proptest::prelude::*;

use super::*;

fn wide(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

/// The bytes of a file, as the specification draws them.
fn written(instructions: &[Instruction]) -> Vec<u8> {
    let mut bytes = b"PReg\x01\0\0\0".to_vec();
    for instruction in instructions {
        let size = u32::try_from(instruction.data.len()).unwrap();
        bytes.extend(wide(&format!(
            "[{}\0;{}\0;",
            instruction.key, instruction.value
        )));
        bytes.extend(instruction.kind.to_le_bytes());
        bytes.extend(wide(";"));
        bytes.extend(size.to_le_bytes());
        bytes.extend(wide(";"));
        bytes.extend(&instruction.data);
        bytes.extend(wide("]"));
    }
    bytes
}

const KEY: &str = r"Software\Policies\Microsoft\Windows NT\Terminal Services";

fn one(key: &str, value: &str, kind: u32, data: &[u8]) -> Instruction {
    Instruction {
        key: key.to_owned(),
        value: value.to_owned(),
        kind,
        data: data.to_vec(),
    }
}

fn number(value: &str, number: u32) -> Instruction {
    one(KEY, value, 4, &number.to_le_bytes())
}

fn file(instructions: &[Instruction]) -> PolicyFile {
    PolicyFile::parse(&written(instructions)).unwrap()
}

#[test]
fn the_last_instruction_decides() {
    let found = file(&[number("fDeny", 1), number("FDENY", 0)]);
    let effect = found.effect(&KEY.to_uppercase(), "fDeny").unwrap();
    assert_eq!(effect.dword(), Some(0));
    assert_eq!(found.effect(KEY, "other"), None);
    assert_eq!(found.effect("Software", "fDeny"), None);
    // Brackets and semicolons in data are data.
    let odd = file(&[one(KEY, "x", 1, &wide("];[")), number("fDeny", 7)]);
    assert_eq!(odd.effect(KEY, "fDeny").unwrap().dword(), Some(7));
}

#[test]
fn commands_delete_and_set_softly() {
    let deletes = |command: &str, key: &str, data: &str| {
        let deleted = file(&[number("fDeny", 1), one(key, command, 1, &wide(data))]);
        deleted.effect(KEY, "fDeny") == Some(Effect::Delete)
    };
    assert!(deletes("**del.fDeny", KEY, " "));
    assert!(deletes("**Del.FDENY", KEY, " "));
    assert!(!deletes("**del.other", KEY, " "));
    assert!(deletes("**delvals.", KEY, " "));
    assert!(!deletes("**delvals.", "Software", " "));
    assert!(deletes("**DeleteValues", KEY, "a; fdeny;b\0"));
    assert!(!deletes("**DeleteValues", KEY, "a;b\0"));
    assert!(deletes(
        "**DeleteKeys",
        r"Software\Policies\Microsoft\Windows NT",
        "Terminal Services\0"
    ));
    assert!(deletes("**DeleteKeys", r"Software", "x;Policies\0"));
    assert!(!deletes("**DeleteKeys", r"Software", "Pol\0"));
    assert!(!deletes("**SecureKey", KEY, "\u{1}"));

    let soft = |before: &[Instruction]| {
        let mut all = before.to_vec();
        all.push(number("**soft.fDeny", 1));
        file(&all).effect(KEY, "fDeny").unwrap().dword()
    };
    assert_eq!(soft(&[]), Some(1));
    assert_eq!(soft(&[number("fDeny", 0)]), Some(0));
    let text = file(&[one(KEY, "fDeny", 1, &wide("1\0"))]);
    assert_eq!(text.effect(KEY, "fDeny").unwrap().dword(), None);
}

#[test]
fn what_is_not_such_a_file_is_refused() {
    for bytes in [
        &b""[..],
        b"PReg",
        b"PReg\x02\0\0\0",
        b"Preg\x01\0\0\0",
        b"PReg\x01\0\0\0x",
        b"PReg\x01\0\0\0[\0",
    ] {
        assert!(PolicyFile::parse(bytes).is_err(), "{bytes:?}");
    }
    assert_eq!(file(&[]), PolicyFile::default());
    // A size beyond the file, as large as it can be.
    let mut huge = b"PReg\x01\0\0\0".to_vec();
    huge.extend(wide("[a\0;b\0;"));
    huge.extend([4, 0, 0, 0, 0x3b, 0, 0xff, 0xff, 0xff, 0xff, 0x3b, 0]);
    assert!(PolicyFile::parse(&huge).is_err());
}

fn instruction() -> impl Strategy<Value = Instruction> {
    let text = "[a-zA-Z*. ;\\[\\]\\\\\u{e9}\u{1f600}]{0,12}";
    (
        text,
        text,
        any::<u32>(),
        prop::collection::vec(any::<u8>(), 0..20),
    )
        .prop_map(|(key, value, kind, data)| Instruction {
            key,
            value,
            kind,
            data,
        })
}

proptest! {
    #[test]
    fn what_is_written_is_read(instructions in prop::collection::vec(instruction(), 0..6)) {
        let bytes = written(&instructions);
        prop_assert_eq!(PolicyFile::parse(&bytes).unwrap().instructions, instructions);
    }

    /// Every truncation but those between instructions is refused, and nothing panics.
    #[test]
    fn damage_is_refused_or_read(
        instructions in prop::collection::vec(instruction(), 1..4),
        cut in any::<prop::sample::Index>(),
        flip in any::<(prop::sample::Index, u8)>(),
    ) {
        let bytes = written(&instructions);
        let shorter = &bytes[..cut.index(bytes.len())];
        if let Ok(file) = PolicyFile::parse(shorter) {
            prop_assert_eq!(&file.instructions, &instructions[..file.instructions.len()]);
        }
        let mut flipped = bytes.clone();
        let place = flip.0.index(flipped.len());
        flipped[place] ^= flip.1;
        if let Ok(file) = PolicyFile::parse(&flipped) {
            let _ = file.effect("a", "b");
        }
    }
}
