// SPDX-License-Identifier: GPL-2.0-or-later
//! Files grow on volumes of every geometry; foreign readers judge.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]
#![allow(clippy::indexing_slicing, clippy::arithmetic_side_effects)]

mod ntfs_support;
mod support;

use std::fs;

use coldfix::volume::Volume;
use ntfs_support::judge::*;
use ntfs_support::*;

const LIMIT: u64 = 64 << 20;
const SMALL: &str = "Windows/System32/config/small";
const SYSTEM: &str = "Windows/System32/config/SYSTEM";

fn pattern(len: u64) -> Vec<u8> {
    (0..len)
        .map(|i| u8::try_from(i % 241 + 1).unwrap())
        .collect()
}

#[test]
fn files_grow_from_their_records_into_clusters() {
    for geometry in GEOMETRIES {
        let Some(image) = made(geometry) else {
            return;
        };
        let image = fs::read(image).unwrap();
        let mut expected = judge(&image);
        let subject = Subject::of(image.clone());
        for len in [600, 650, 700, 750, 800, 850, 900, 1000, 4000, 4096, 70_000] {
            let content = pattern(len);
            subject.volume.replace(SMALL, &content).unwrap();
            assert!(subject.volume.read(SMALL, LIMIT).unwrap() == content);
            expected.get_mut(SMALL).unwrap().content = Some(content);
            assert!(judge(&subject.image()) == expected, "{geometry:?}, {len}");
        }
        for more in [1, 70_000, 1_000_000] {
            for path in [SYSTEM, "fragmented"] {
                let mut content = expected[path].content.clone().unwrap();
                content.resize(subject.volume.capacity(path).unwrap() as usize, 7);
                content.extend(pattern(more));
                subject.volume.replace(path, &content).unwrap();
                expected.get_mut(path).unwrap().content = Some(content);
            }
            assert!(judge(&subject.image()) == expected, "{geometry:?}, {more}");
        }
    }
}
