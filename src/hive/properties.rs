// SPDX-License-Identifier: GPL-2.0-or-later
//! Random edits against a model in memory.
//!
//! After every edit: the check finds nothing, the hive holds what the model holds, every key that the edit
//! did not concern has its records where they were and byte for byte as they were, the list of free cells
//! is what a fresh walk finds, and the file has grown only when its bins did.
#![allow(
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation,
    reason = "numbers that the tests made themselves"
)]

use std::collections::BTreeMap;

use proptest::prelude::*;

use super::*;

#[derive(Clone, Debug)]
enum Edit {
    CreateKey(String),
    DeleteKey(String),
    SetValue(String, String, u32, Vec<u8>),
    DeleteValue(String, String),
    SetSecurity(String, u8),
}

type Values = BTreeMap<String, (u32, Vec<u8>)>;
/// Upper-cased path to values by upper-cased name.
type Model = BTreeMap<String, Values>;

fn path() -> impl Strategy<Value = String> {
    let name = prop::sample::select(vec!["a", "A", "b", "cc", "Dd", "e e", "ä", "Я"]);
    prop::collection::vec(name, 0..4).prop_map(|names| names.join("\\"))
}

fn edit() -> impl Strategy<Value = Edit> {
    let value =
        || prop::sample::select(vec!["", "v", "V", "w", "C:\\x", "long long long name", "я"]);
    let lens = vec![
        0, 1, 3, 4, 5, 8, 12, 13, 60, 400, 4055, 4060, 4061, 8188, 16343, 16344, 16345, 16346,
        32688, 32689, 50_000,
    ];
    let data = (prop::sample::select(lens), any::<u8>())
        .prop_map(|(len, seed)| (0..len).map(|at: usize| (at / 7) as u8 ^ seed).collect());
    prop_oneof![
        3 => path().prop_map(Edit::CreateKey),
        1 => path().prop_map(Edit::DeleteKey),
        6 => (path(), value(), 0..13_u32, data)
            .prop_map(|(path, name, kind, data): (_, _, _, Vec<u8>)| {
                Edit::SetValue(path, name.to_owned(), kind, data)
            }),
        2 => (path(), value()).prop_map(|(path, name)| Edit::DeleteValue(path, name.to_owned())),
        1 => (path(), 0..4_u8).prop_map(|(path, mask)| Edit::SetSecurity(path, mask)),
    ]
}

fn upper(text: &str) -> String {
    text.to_uppercase()
}

fn is_below(path: &str, above: &str) -> bool {
    path.strip_prefix(above)
        .is_some_and(|rest| rest.starts_with('\\'))
}

/// Applies an edit to both, and compares what they answer. Returns the upper-cased paths of the keys whose
/// records the edit may change, beside those that come and go.
fn apply(hive: &mut Hive, model: &mut Model, edit: &Edit, now: u64) -> Vec<String> {
    match edit {
        Edit::CreateKey(path) => {
            let mut changed = Vec::new();
            let mut missing = upper(path);
            while !model.contains_key(&missing) {
                changed.push(missing.clone());
                missing = missing
                    .rsplit_once('\\')
                    .map_or(String::new(), |(parent, _)| parent.into());
            }
            assert_eq!(hive.create_key(path, now).unwrap(), !changed.is_empty());
            for key in &changed {
                model.insert(key.clone(), Values::new());
            }
            changed.push(missing);
            changed
        }
        Edit::DeleteKey(path) if path.is_empty() => {
            assert!(hive.delete_key(path, now).is_err());
            Vec::new()
        }
        Edit::DeleteKey(path) => {
            let key = upper(path);
            let found = hive.delete_key(path, now).unwrap();
            assert_eq!(found, model.contains_key(&key));
            model.retain(|other, _| *other != key && !is_below(other, &key));
            let parent = key
                .rsplit_once('\\')
                .map_or(String::new(), |(parent, _)| parent.into());
            if found { vec![parent] } else { Vec::new() }
        }
        Edit::SetValue(path, name, kind, data) => {
            let answer = hive.set_value(path, name, *kind, data, now);
            let Some(values) = model.get_mut(&upper(path)) else {
                assert!(answer.is_err());
                return Vec::new();
            };
            answer.unwrap();
            let before = values.insert(upper(name), (*kind, data.clone()));
            let same = before.is_some_and(|before| before == (*kind, data.clone()));
            if same { Vec::new() } else { vec![upper(path)] }
        }
        Edit::DeleteValue(path, name) => {
            let found = hive.delete_value(path, name, now).unwrap();
            let removed = model
                .get_mut(&upper(path))
                .and_then(|key| key.remove(&upper(name)));
            assert_eq!(found, removed.is_some());
            if found { vec![upper(path)] } else { Vec::new() }
        }
        Edit::SetSecurity(path, mask) => {
            let mut descriptor = security::default_descriptor();
            descriptor[32] = *mask;
            let there = model.contains_key(&upper(path));
            assert_eq!(hive.set_security(path, &descriptor, now).is_ok(), there);
            if there { vec![upper(path)] } else { Vec::new() }
        }
    }
}

/// What a key's records and data are, and where.
type Records = BTreeMap<String, Vec<(u64, Vec<u8>)>>;

fn cell(hive: &Hive, offset: CellOffset) -> (u64, Vec<u8>) {
    (
        offset.in_file(),
        hive.bins.cell("cell", offset).unwrap().to_vec(),
    )
}

fn collect(hive: &Hive, key: &Key<'_>, path: &str, records: &mut Records, model: &mut Model) {
    let mut cells = vec![cell(hive, key.cell_offset())];
    let mut values = Values::new();
    for value in key.values().unwrap() {
        cells.push(cell(hive, value.cell_offset()));
        let data = value.data().unwrap().into_owned();
        cells.push((0, data.clone()));
        values.insert(upper(&value.name().to_string()), (value.kind(), data));
    }
    records.insert(path.to_owned(), cells);
    model.insert(path.to_owned(), values);
    for subkey in key.subkeys().unwrap() {
        let name = upper(&subkey.name().to_string());
        let below = if path.is_empty() {
            name
        } else {
            format!("{path}\\{name}")
        };
        assert_eq!(upper(&subkey.path().unwrap()), below);
        collect(hive, &subkey, &below, records, model);
    }
}

/// A free cell with another one behind it, which no edit may leave.
fn unmerged(hive: &Hive) -> Option<CellOffset> {
    for bin in hive.bins.bins() {
        let mut offset = CellOffset(bin.start + BIN_HEADER);
        let mut before = true;
        while offset.0 < bin.end {
            let (size, used) = hive.bins.cell_size("cell", offset).unwrap();
            if !before && !used {
                return Some(offset);
            }
            before = used;
            offset.0 += size;
        }
    }
    None
}

fn run(minor: u32, slack: usize, edits: &[Edit]) {
    let mut image = Hive::create(minor, "ROOT", 1).unwrap().into_bytes();
    image.resize(image.len() + slack, 0xa5);
    let mut hive = Hive::parse(image).unwrap();
    let mut model = Model::from([(String::new(), Values::new())]);
    let mut before = Records::new();
    collect(
        &hive,
        &hive.root().unwrap(),
        "",
        &mut before,
        &mut Model::new(),
    );
    for (step, edit) in edits.iter().enumerate() {
        let len = hive.bytes().len();
        let bytes = hive.bytes().to_vec();
        let changed = apply(&mut hive, &mut model, edit, step as u64 + 10);
        if changed.is_empty() {
            assert!(bytes == hive.bytes(), "{edit:?} changed nothing but bytes");
        }
        let faults = hive.check();
        assert!(faults.is_empty(), "{edit:?}: {faults:#?}");
        let (mut after, mut found) = (Records::new(), Model::new());
        collect(&hive, &hive.root().unwrap(), "", &mut after, &mut found);
        assert!(
            found == model,
            "{edit:?}: the hive does not hold what it should"
        );
        for (path, records) in &before {
            let gone = !model.contains_key(path);
            if !gone && !changed.contains(path) {
                assert!(after.get(path) == Some(records), "{edit:?} changed {path}");
            }
        }
        assert_eq!(unmerged(&hive), None, "{edit:?}");
        if let Some(free) = &hive.free {
            assert_eq!(free, &FreeCells::scan(&hive.bins).unwrap());
        }
        let end = BASE_BLOCK_SIZE + hive.bins.size() as usize;
        assert_eq!(hive.bytes().len(), len.max(end));
        before = after;
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]

    #[test]
    fn the_hive_holds_what_the_model_holds(
        minor in 3..=6_u32,
        slack in prop::sample::select(vec![0, 100, 65536]),
        edits in prop::collection::vec(edit(), 1..40),
    ) {
        run(minor, slack, &edits);
    }
}
