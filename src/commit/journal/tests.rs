// SPDX-License-Identifier: GPL-2.0-or-later

use std::fmt::Write as _;

use super::*;
use crate::commit::{TargetIdentity, TargetKind};
use std::sync::Arc;

use crate::device::{FileCopy, HostOperation};
use crate::error::Kind;

fn header() -> OperationHeader {
    OperationHeader {
        id: "20260131T101500.000000Z-0123abcd".into(),
        started: "2026-01-31T10:15:00Z".into(),
        tool_version: "0.1.0".into(),
        command: "coldfix repair /disks/ä.raw".into(),
        target: TargetIdentity {
            path: "/disks/ä.raw".into(),
            container: "raw".into(),
            len: 4096,
            len_after: None,
            disk_id: Some("01234567-89ab-cdef-0123-456789abcdef".into()),
            kind: TargetKind::Image,
        },
        edits: vec![serde_json::json!({"kind": "registry", "before": null, "after": 1})],
        undoes: None,
        new_disk: false,
    }
}

fn changes() -> ChangeSet {
    let change = |offset, before: &[u8], after: &[u8]| Change {
        offset,
        before: before.to_vec(),
        after: after.to_vec(),
    };
    ChangeSet::from(vec![
        Patch {
            file: "/disks/ä.raw".into(),
            before_len: 4096,
            after_len: 4096,
            changes: vec![change(0, b"old", b"new"), change(4095, b"o", b"n")],
        },
        Patch {
            file: "SYSTEM".into(),
            before_len: 2,
            after_len: 10,
            changes: vec![change(1, b"x\0\0", b"yz\0")],
        },
        Patch {
            file: "only longer".into(),
            before_len: 0,
            after_len: 512,
            changes: vec![],
        },
    ])
}

/// The same, and what a host does: two files with one descriptor, and two names.
fn with_operations() -> ChangeSet {
    let security = |file: &str, before: &[u8], after: &[u8]| HostOperation::SetSecurity {
        file: file.into(),
        before: before.into(),
        after: after.into(),
    };
    let rename = |file: &str, name: &str| HostOperation::Rename {
        file: file.into(),
        name: name.into(),
    };
    ChangeSet {
        operations: vec![
            security("/m/a", b"old", b"new one"),
            security("/m/ä", b"old", b"new one"),
            security("/m/b", b"new one", b"old"),
            rename("/m/ä", "Überholt"),
            rename("/m", "n"),
        ],
        ..changes()
    }
}

/// The same again, with files that are made and removed.
fn with_files() -> ChangeSet {
    let whole = |content: &[u8], descriptor: Option<&[u8]>, mode| {
        Arc::new(FileCopy {
            content: content.to_vec(),
            descriptor: descriptor.map(Into::into),
            mode,
        })
    };
    let mut set = with_operations();
    set.operations.truncate(3);
    set.operations.extend([
        HostOperation::Make {
            file: "/m/new ä".into(),
            copy: whole(b"content", Some(b"old"), 0o640),
        },
        HostOperation::Remove {
            file: "/m/gone".into(),
            copy: whole(b"", None, 0),
        },
    ]);
    set
}

fn journal_with_files() -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&header(), &with_files(), &mut bytes).unwrap();
    bytes
}

fn journal() -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&header(), &changes(), &mut bytes).unwrap();
    bytes
}

fn journal_with_operations() -> Vec<u8> {
    let mut bytes = Vec::new();
    write(&header(), &with_operations(), &mut bytes).unwrap();
    bytes
}

fn read_bytes(mut bytes: &[u8]) -> Result<(Head, ChangeSet)> {
    let length = as_u64(bytes.len());
    read("test", &mut bytes, length)
}

fn with_crc(mut bytes: Vec<u8>) -> Vec<u8> {
    bytes.extend_from_slice(&crc32fast::hash(&bytes).to_le_bytes());
    bytes
}

/// A journal put together by hand from sections, each with its right length and CRC.
fn assemble(sections: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    assemble_version(1, sections)
}

fn assemble_version(version: u32, sections: &[(&[u8; 4], Vec<u8>)]) -> Vec<u8> {
    let mut rest = Vec::new();
    for (tag, payload) in sections {
        let mut section = tag.to_vec();
        section.extend_from_slice(&as_u64(payload.len()).to_le_bytes());
        section.extend_from_slice(payload);
        rest.extend_from_slice(&with_crc(section));
    }
    let mut prefix = MAGIC.to_vec();
    prefix.extend_from_slice(&version.to_le_bytes());
    prefix.extend_from_slice(&as_u64(rest.len()).wrapping_add(24 + 48).to_le_bytes());
    let mut bytes = with_crc(prefix);
    bytes.extend_from_slice(&rest);
    let digest = Sha256::digest(&bytes);
    let mut tail = TAIL.to_vec();
    tail.extend_from_slice(&DIGEST.to_le_bytes());
    tail.extend_from_slice(&digest);
    bytes.extend_from_slice(&with_crc(tail));
    bytes
}

fn head_json(files: u64, ranges: u64, bytes: u64) -> Vec<u8> {
    serde_json::to_vec(&Head {
        header: header(),
        files,
        ranges,
        bytes,
        descriptors: 0,
        operations: 0,
    })
    .unwrap()
}

fn operations_head(descriptors: u64, operations: u64) -> Vec<u8> {
    serde_json::to_vec(&Head {
        header: header(),
        files: 0,
        ranges: 0,
        bytes: 0,
        descriptors,
        operations,
    })
    .unwrap()
}

fn security_section(before: u32, after: u32, path: &str) -> Vec<u8> {
    let mut payload = before.to_le_bytes().to_vec();
    payload.extend_from_slice(&after.to_le_bytes());
    payload.extend_from_slice(path.as_bytes());
    payload
}

fn name_section(length: u32, name: &[u8], path: &str) -> Vec<u8> {
    let mut payload = length.to_le_bytes().to_vec();
    payload.extend_from_slice(name);
    payload.extend_from_slice(path.as_bytes());
    payload
}

fn whole_file_section(descriptor: u32, length: u32, path: &str, content: &[u8]) -> Vec<u8> {
    let mut payload = descriptor.to_le_bytes().to_vec();
    payload.extend_from_slice(&0o644_u32.to_le_bytes());
    payload.extend_from_slice(&length.to_le_bytes());
    payload.extend_from_slice(path.as_bytes());
    payload.extend_from_slice(content);
    payload
}

fn file_section(before_len: u64, after_len: u64, count: u64) -> Vec<u8> {
    let mut payload = Vec::new();
    for number in [before_len, after_len, count] {
        payload.extend_from_slice(&number.to_le_bytes());
    }
    payload.extend_from_slice(b"f");
    payload
}

fn change_section(offset: u64, data: &[u8]) -> Vec<u8> {
    let mut payload = offset.to_le_bytes().to_vec();
    payload.extend_from_slice(data);
    payload
}

#[test]
fn what_is_written_is_read() {
    let (head, read) = read_bytes(&journal()).unwrap();
    assert_eq!(read, changes());
    assert_eq!(head.header, header());
    assert_eq!((head.files, head.ranges, head.bytes), (3, 3, 7));
    let bytes = journal();
    let only_head = read_head("test", &mut bytes.as_slice(), as_u64(bytes.len())).unwrap();
    assert_eq!(only_head, head);
    assert_eq!(u32_le(&bytes, 8), Some(1));

    let bytes = journal_with_operations();
    assert_eq!(u32_le(&bytes, 8), Some(2));
    let (head, read) = read_bytes(&bytes).unwrap();
    assert_eq!(read, with_operations());
    assert_eq!((head.files, head.ranges, head.bytes), (3, 3, 7));
    assert_eq!((head.descriptors, head.operations), (2, 5));

    let bytes = journal_with_files();
    assert_eq!(u32_le(&bytes, 8), Some(3));
    let (head, read) = read_bytes(&bytes).unwrap();
    assert_eq!(read, with_files());
    assert_eq!((head.descriptors, head.operations), (2, 5));
}

/// Journals of this version must stay readable, so the bytes themselves are pinned.
#[test]
fn the_format_does_not_drift() {
    let sections = [
        (HEAD, head_json(1, 1, 2)),
        (FILE, file_section(8, 8, 1)),
        (CHANGE, change_section(6, b"abcd")),
    ];
    let patch = Patch {
        file: "f".into(),
        before_len: 8,
        after_len: 8,
        changes: vec![Change {
            offset: 6,
            before: b"ab".to_vec(),
            after: b"cd".to_vec(),
        }],
    };
    let mut bytes = Vec::new();
    let set = ChangeSet::from(vec![patch]);
    write(&header(), &set, &mut bytes).unwrap();
    assert_eq!(bytes, assemble(&sections));
    assert_eq!(read_bytes(&bytes).unwrap().1, set);
    assert_eq!(sha256(&bytes), GOLDEN);

    // The second version: the same, and then the operations.
    let sections = [
        (HEAD, operations_head(2, 3)),
        (b"DESC", b"one".to_vec()),
        (b"DESC", b"two".to_vec()),
        (b"SECD", security_section(0, 1, "a")),
        (b"SECD", security_section(1, 0, "b")),
        (b"NAME", name_section(3, b"new", "old")),
    ];
    let security = |file: &str, before: &[u8], after: &[u8]| HostOperation::SetSecurity {
        file: file.into(),
        before: before.into(),
        after: after.into(),
    };
    let set = ChangeSet {
        patches: Vec::new(),
        operations: vec![
            security("a", b"one", b"two"),
            security("b", b"two", b"one"),
            HostOperation::Rename {
                file: "old".into(),
                name: "new".into(),
            },
        ],
    };
    let mut bytes = Vec::new();
    write(&header(), &set, &mut bytes).unwrap();
    assert_eq!(bytes, assemble_version(2, &sections));
    assert_eq!(read_bytes(&bytes).unwrap().1, set);
    assert_eq!(sha256(&bytes), GOLDEN_TWO);

    // The third: files that are made and removed.
    let sections = [
        (HEAD, operations_head(1, 2)),
        (b"DESC", b"one".to_vec()),
        (b"MAKE", whole_file_section(0, 1, "a", b"what it holds")),
        (b"GONE", whole_file_section(u32::MAX, 3, "b/c", b"")),
    ];
    let whole = |content: &[u8], descriptor: Option<&[u8]>| {
        Arc::new(FileCopy {
            content: content.to_vec(),
            descriptor: descriptor.map(Into::into),
            mode: 0o644,
        })
    };
    let set = ChangeSet {
        patches: Vec::new(),
        operations: vec![
            HostOperation::Make {
                file: "a".into(),
                copy: whole(b"what it holds", Some(b"one")),
            },
            HostOperation::Remove {
                file: "b/c".into(),
                copy: whole(b"", None),
            },
        ],
    };
    let mut bytes = Vec::new();
    write(&header(), &set, &mut bytes).unwrap();
    assert_eq!(bytes, assemble_version(3, &sections));
    assert_eq!(read_bytes(&bytes).unwrap().1, set);
    assert_eq!(sha256(&bytes), GOLDEN_THREE);
}

fn sha256(bytes: &[u8]) -> String {
    let mut digest = String::new();
    for byte in Sha256::digest(bytes) {
        write!(digest, "{byte:02x}").unwrap();
    }
    digest
}

const GOLDEN_THREE: &str = "36c3b2d09bd17c9a8f685b0ce7a3a9b22e4845e7028bf3237065773d12155562";
const GOLDEN_TWO: &str = "7a6bb30e14f60fc14faefb93c4bfd67848316d4fcfd1e2ea26420c62c5cf758e";
const GOLDEN: &str = "1abe62feb474ec55c5f5b8b2d2d68a94dca829cb46a386c0c6db65170b5a3585";

#[test]
fn every_flipped_bit_is_found() {
    for whole in [journal(), journal_with_operations(), journal_with_files()] {
        for place in 0..whole.len() {
            for bit in 0..8 {
                let mut bytes = whole.clone();
                bytes[place] ^= 1 << bit;
                let error = read_bytes(&bytes).unwrap_err();
                // A flipped bit in the version may make it a later one.
                let expected = if (8..12).contains(&place) && error.kind() == Kind::Unsupported {
                    Kind::Unsupported
                } else {
                    Kind::Damaged
                };
                assert_eq!(error.kind(), expected, "byte {place} bit {bit}: {error}");
            }
        }
    }
}

#[test]
fn every_length_but_the_right_one_is_found() {
    let whole = journal_with_operations();
    for length in 0..whole.len() {
        assert_eq!(
            read_bytes(&whole[..length]).unwrap_err().kind(),
            Kind::Damaged
        );
    }
    let mut longer = whole;
    longer.push(0);
    assert_eq!(read_bytes(&longer).unwrap_err().kind(), Kind::Damaged);
}

#[test]
fn a_later_version_is_unsupported() {
    let mut bytes = journal();
    bytes[8] = 4;
    let error = read_bytes(&bytes).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.hint().unwrap().contains("later"));
}

type Sections = Vec<(&'static [u8; 4], Vec<u8>)>;

/// Checksums are no defence against somebody who can compute them.
#[test]
fn contradictions_under_right_checksums_are_found() {
    let cases: Vec<(&str, Sections)> = vec![
        ("no sections", vec![]),
        ("header is no JSON", vec![(HEAD, b"{".to_vec())]),
        ("deep JSON", vec![(HEAD, vec![b'['; 100_000])]),
        (
            "more files than sections",
            vec![(HEAD, head_json(u64::MAX, 0, 0))],
        ),
        (
            "more changes than sections",
            vec![
                (HEAD, head_json(1, 1, 1)),
                (FILE, file_section(8, 8, u64::MAX)),
                (CHANGE, change_section(0, b"ab")),
            ],
        ),
        (
            "a short FILE",
            vec![(HEAD, head_json(1, 0, 0)), (FILE, vec![0; 23])],
        ),
        (
            "halves of unequal length",
            vec![
                (HEAD, head_json(1, 1, 1)),
                (FILE, file_section(8, 8, 1)),
                (CHANGE, change_section(0, b"abc")),
            ],
        ),
        (
            "an empty change",
            vec![
                (HEAD, head_json(1, 1, 0)),
                (FILE, file_section(8, 8, 1)),
                (CHANGE, change_section(0, b"")),
            ],
        ),
        (
            "past the end",
            vec![
                (HEAD, head_json(1, 1, 1)),
                (FILE, file_section(8, 8, 1)),
                (CHANGE, change_section(8, b"ab")),
            ],
        ),
        (
            "an offset that wraps",
            vec![
                (HEAD, head_json(1, 1, 2)),
                (FILE, file_section(8, u64::MAX, 1)),
                (CHANGE, change_section(u64::MAX, b"abcd")),
            ],
        ),
        (
            "overlap",
            vec![
                (HEAD, head_json(1, 2, 4)),
                (FILE, file_section(8, 8, 2)),
                (CHANGE, change_section(0, b"abcd")),
                (CHANGE, change_section(1, b"abcd")),
            ],
        ),
        (
            "content before a file that was not that long",
            vec![
                (HEAD, head_json(1, 1, 1)),
                (FILE, file_section(4, 8, 1)),
                (CHANGE, change_section(4, b"ab")),
            ],
        ),
        (
            "the same file twice",
            vec![
                (HEAD, head_json(2, 0, 0)),
                (FILE, file_section(8, 9, 0)),
                (FILE, file_section(8, 9, 0)),
            ],
        ),
        (
            "other totals",
            vec![
                (HEAD, head_json(1, 2, 1)),
                (FILE, file_section(8, 8, 1)),
                (CHANGE, change_section(0, b"ab")),
            ],
        ),
        (
            "a section too many",
            vec![
                (HEAD, head_json(1, 0, 0)),
                (FILE, file_section(8, 9, 0)),
                (FILE, file_section(8, 9, 0)),
            ],
        ),
    ];
    for (name, sections) in cases {
        let error = read_bytes(&assemble(&sections)).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{name}: {error}");
        assert!(
            error.to_string().contains("journal test"),
            "{name}: {error}"
        );
    }
    // The same by hand without a fault is read.
    let sections = vec![(HEAD, head_json(1, 0, 0)), (FILE, file_section(8, 9, 0))];
    read_bytes(&assemble(&sections)).unwrap();
}

#[test]
fn contradictory_operations_under_right_checksums_are_found() {
    let two = || vec![(b"DESC", b"one".to_vec()), (b"DESC", b"two".to_vec())];
    let one_name = |length, name: &[u8], path: &str| {
        (
            operations_head(0, 1),
            vec![(NAME, name_section(length, name, path))],
        )
    };
    let with = |count, sections: Vec<(&'static [u8; 4], Vec<u8>)>| {
        (operations_head(2, count), [two(), sections].concat())
    };
    const SECURITY: &[u8; 4] = b"SECD";
    const NAME: &[u8; 4] = b"NAME";
    let cases = vec![
        ("more than sections", (operations_head(0, u64::MAX), vec![])),
        (
            "more descriptors than sections",
            (operations_head(u64::MAX, 0), two()),
        ),
        (
            "no such descriptor",
            with(1, vec![(SECURITY, security_section(0, 2, "a"))]),
        ),
        (
            "the same descriptor",
            with(1, vec![(SECURITY, security_section(1, 1, "a"))]),
        ),
        ("a short one", with(1, vec![(SECURITY, vec![0; 7])])),
        (
            "another section",
            with(1, vec![(b"WHAT", security_section(0, 1, "a"))]),
        ),
        (
            "an empty descriptor",
            (
                operations_head(2, 1),
                vec![
                    (b"DESC", vec![]),
                    (b"DESC", b"two".to_vec()),
                    (SECURITY, security_section(0, 1, "a")),
                ],
            ),
        ),
        (
            "a descriptor that no attribute can hold",
            (
                operations_head(2, 1),
                vec![
                    (b"DESC", b"one".to_vec()),
                    (b"DESC", vec![1; 65_537]),
                    (SECURITY, security_section(0, 1, "a")),
                ],
            ),
        ),
        (
            "two descriptors for one file",
            with(
                2,
                vec![
                    (SECURITY, security_section(0, 1, "a")),
                    (SECURITY, security_section(1, 0, "a")),
                ],
            ),
        ),
        ("a name with a path", one_name(4, b"../x", "a")),
        ("a name with a backslash", one_name(3, b"x\\y", "a")),
        ("the name of the folder above", one_name(2, b"..", "a")),
        ("no name", one_name(0, b"", "a")),
        ("a zero in a name", one_name(2, b"x\0", "a")),
        ("the same name", one_name(1, b"a", "x/a")),
        ("a name that is not UTF-8", one_name(1, b"\xff", "a")),
        ("a name longer than its section", one_name(9, b"x", "a")),
        ("a length that wraps", one_name(u32::MAX, b"x", "a")),
        ("nothing to rename", one_name(1, b"x", "..")),
        (
            "two renames of one file",
            (
                operations_head(0, 2),
                vec![
                    (NAME, name_section(1, b"x", "a")),
                    (NAME, name_section(1, b"y", "a")),
                ],
            ),
        ),
        (
            "two renames to one name",
            (
                operations_head(0, 2),
                vec![
                    (NAME, name_section(1, b"x", "a")),
                    (NAME, name_section(1, b"x", "b")),
                ],
            ),
        ),
        (
            "a rename to what is renamed away",
            (
                operations_head(0, 2),
                vec![
                    (NAME, name_section(1, b"b", "a")),
                    (NAME, name_section(1, b"c", "b")),
                ],
            ),
        ),
        (
            "a rename to what gets a descriptor",
            with(
                2,
                vec![
                    (SECURITY, security_section(0, 1, "a")),
                    (NAME, name_section(1, b"a", "b")),
                ],
            ),
        ),
    ];
    for (name, (head, sections)) in cases {
        let sections = [vec![(HEAD, head)], sections].concat();
        let error = read_bytes(&assemble_version(2, &sections)).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{name}: {error}");
        assert!(
            error.to_string().contains("journal test"),
            "{name}: {error}"
        );
    }
    // The first version has no operations.
    let head = [
        (HEAD, operations_head(0, 1)),
        (NAME, name_section(1, b"x", "a")),
    ];
    assert_eq!(
        read_bytes(&assemble(&head)).unwrap_err().kind(),
        Kind::Damaged
    );
    // The same by hand without a fault is read.
    read_bytes(&assemble_version(2, &head)).unwrap();
}

#[test]
fn contradictory_files_under_right_checksums_are_found() {
    const MAKE: &[u8; 4] = b"MAKE";
    const GONE: &[u8; 4] = b"GONE";
    let none = u32::MAX;
    let whole =
        |path: &str| whole_file_section(none, u32::try_from(path.len()).unwrap(), path, b"x");
    let cases: Vec<(&str, Sections)> = vec![
        (
            "no such descriptor",
            vec![(MAKE, whole_file_section(0, 1, "a", b""))],
        ),
        (
            "a path longer than its section",
            vec![(MAKE, whole_file_section(none, 9, "a", b""))],
        ),
        (
            "a length that wraps",
            vec![(GONE, whole_file_section(none, u32::MAX, "a", b""))],
        ),
        ("a short one", vec![(MAKE, vec![0; 11])]),
        ("no path", vec![(MAKE, whole(""))]),
        ("the folder above", vec![(MAKE, whole("a/.."))]),
        ("the name of a part", vec![(MAKE, whole("a.coldfix-part"))]),
        (
            "made and removed",
            vec![(MAKE, whole("a")), (GONE, whole("a"))],
        ),
        (
            "made and renamed",
            vec![(MAKE, whole("a")), (b"NAME", name_section(1, b"b", "a"))],
        ),
        (
            "made where a rename leads",
            vec![(MAKE, whole("b")), (b"NAME", name_section(1, b"b", "a"))],
        ),
        (
            "removed below a rename",
            vec![(GONE, whole("a/x")), (b"NAME", name_section(1, b"b", "a"))],
        ),
        (
            "made below a new name",
            vec![(MAKE, whole("b/x")), (b"NAME", name_section(1, b"b", "a"))],
        ),
    ];
    for (name, sections) in cases {
        let head = operations_head(0, as_u64(sections.len()));
        let sections = [vec![(HEAD, head)], sections].concat();
        let error = read_bytes(&assemble_version(3, &sections)).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged, "{name}: {error}");
    }
    // The second version has no such files.
    let sections = [(HEAD, operations_head(0, 1)), (MAKE, whole("a"))];
    let error = read_bytes(&assemble_version(2, &sections)).unwrap_err();
    assert_eq!(error.kind(), Kind::Damaged);
    read_bytes(&assemble_version(3, &sections)).unwrap();
}
