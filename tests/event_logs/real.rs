// SPDX-License-Identifier: GPL-2.0-or-later
//! Logs that Windows wrote.

use super::{oracle, plain, read, support};

/// Of the logs that are damaged: how many events we read, how many records we could not read, and the records that the
/// other reader shows though they are cut off (it does not compare the two lengths of a record). In these logs parts of
/// several rounds of the ring lie side by side; behind a cut the other reader gives up the chunk, we do not.
const DAMAGED: [(&str, usize, u64, &[u64]); 3] = [
    ("bad-chunk-magic", 298, 3, &[46_741, 47_640, 45_933]),
    ("w10-rcm-1149", 1_795, 1, &[]),
    ("w10-rdpcorets-140", 1_951, 26, &[]),
];

#[test]
fn real_logs_read_as_another_reader_reads_them() {
    if !support::require_python("evtx") {
        return;
    }
    let folder = tempfile::tempdir().unwrap();
    let mut compared = 0;
    for packed in support::data_files("evtx") {
        let name = packed.file_name().unwrap().to_str().unwrap().to_owned();
        let content = support::unxz(&packed);
        let path = folder.path().join("log.evtx");
        std::fs::write(&path, &content).unwrap();
        let log = read(&content);
        let ours: Vec<String> = log.events.iter().map(plain).collect();
        let theirs = oracle(&path);
        compared += theirs.len();
        let damaged = DAMAGED.iter().find(|(known, ..)| name.starts_with(known));
        let Some((_, events, damaged_records, cut_off)) = damaged else {
            assert_eq!(log.damaged_records, 0, "{name}");
            for (ours, theirs) in ours.iter().zip(&theirs) {
                assert_eq!(ours, theirs, "{name}");
            }
            assert_eq!(ours.len(), theirs.len(), "{name}");
            continue;
        };
        assert_eq!(
            (ours.len(), log.damaged_records),
            (*events, *damaged_records),
            "{name}"
        );
        let ours: std::collections::HashSet<String> = ours.into_iter().collect();
        let lacking: Vec<u64> = theirs
            .iter()
            .filter(|event| !ours.contains(*event))
            .map(|event| {
                let event: serde_json::Value = serde_json::from_str(event).unwrap();
                event["record"].as_u64().unwrap()
            })
            .collect();
        assert_eq!(lacking, *cut_off, "{name}");
    }
    // Not one log fewer than there are.
    assert!(compared == 0 || compared > 14_000, "{compared} events");
}
