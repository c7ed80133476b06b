// SPDX-License-Identifier: GPL-2.0-or-later
//! Hives and logs that Windows wrote, and yarp's damaged variants of them.

use super::support::{foreign, read};
use super::writer::{assert_noted, recovered, sequences};
use coldfix::hive::log::{LogFile, Recovered, State, neutralised, recover};
use sha2::{Digest, Sha256};

/// Recovers a hive of the test data with the logs that lie beside it.
fn recover_data(hive: &str, logs: &[&str]) -> Option<(Vec<u8>, Recovered)> {
    let primary = read(&format!("{hive}.xz"))?;
    let mut files = Vec::new();
    for log in logs {
        files.push((*log, read(&format!("{hive}{log}.xz"))?));
    }
    let files: Vec<(&str, &[u8])> = files.iter().map(|(n, b)| (*n, b.as_slice())).collect();
    let outcome = recovered(&primary, &files);
    Some((primary, outcome))
}

fn applied(outcome: &Recovered) -> Vec<(&str, u32, u32, usize)> {
    let logs = outcome.applied.iter();
    logs.map(|a| (a.log.as_str(), a.first_sequence, a.last_sequence, a.entries))
        .collect()
}

fn assert_unchanged(primary: &[u8], outcome: &Recovered, state: State) {
    assert_eq!(outcome.state, state, "{:#?}", outcome.notes);
    assert!(outcome.image == primary, "the image changed");
    assert!(outcome.applied.is_empty());
}

/// The whole file is byte for byte what yarp saves; hivexml counts what yarp counts.
fn assert_large_hive(hive: &str, sha256: &str, keys: usize, values: usize) -> Option<Recovered> {
    let (_, outcome) = recover_data(hive, &[".LOG1", ".LOG2"])?;
    assert_eq!(outcome.state, State::Replayed);
    let digest = Sha256::digest(&outcome.image);
    let digest: String = digest.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(digest, sha256);
    if let Some(xml) = foreign("hivexml", &outcome.image) {
        assert_eq!(xml.matches("<node ").count(), keys);
        assert_eq!(xml.matches("<value ").count(), values);
    }
    Some(outcome)
}

#[test]
fn system_of_windows_10() {
    let sha256 = "734095bf043ea72300feb8bc380a585d8a9c925cdd5ffc190ca5ff6bc5a7c231";
    let Some(outcome) = assert_large_hive("hives/system-w10-dirty", sha256, 35595, 78901) else {
        return;
    };
    assert_eq!(
        applied(&outcome),
        [(".LOG1", 2107, 2110, 4), (".LOG2", 2111, 2130, 20)]
    );
    assert_eq!(outcome.next_sequence, 2132);
    assert_eq!(sequences(&outcome.image), (2130, 2130));
    assert_noted(&outcome, &[".LOG1", "30 entries of other runs", "0xe000"]);
    assert_noted(&outcome, &["transaction manager"]);
}

#[test]
fn user_classes_of_windows_10() {
    let sha256 = "0c52ea278e8c524fd13c146b060f7801af7791a1cad5b04ae9e6e06617de0e3e";
    let Some(outcome) = assert_large_hive("hives/usrclass-w10-dirty", sha256, 6238, 12531) else {
        return;
    };
    assert_eq!(
        applied(&outcome),
        [(".LOG1", 287, 290, 4), (".LOG2", 291, 300, 10)]
    );
    assert_eq!(outcome.next_sequence, 302);
}

#[test]
fn new_format_as_windows_10_recovers_it() {
    let folder = "hives-edge/yarp/NewDirtyHive1";
    let hive = format!("{folder}/NewDirtyHive");
    let Some((_, outcome)) = recover_data(&hive, &[".LOG1", ".LOG2"]) else {
        return;
    };
    let Some(windows) = read(&format!("{folder}/RecoveredHive_Windows10.xz")) else {
        return;
    };
    assert_eq!(applied(&outcome), [(".LOG1", 2, 2, 1), (".LOG2", 3, 5, 3)]);
    // Windows went on to number 6; nothing else differs in the whole file.
    assert_eq!(sequences(&outcome.image), (5, 5));
    let mut image = outcome.image;
    coldfix::hive::base_block::set_sequences(&mut image, 6, 6).unwrap();
    assert!(image == windows, "the images differ");
}

/// The second test hive of yarp: the same, but the first log is already in the hive.
#[test]
fn new_format_with_the_first_log_already_written() {
    let folder = "hives-edge/yarp/NewDirtyHive1/NewDirtyHive";
    let names = [".xz", ".LOG1.xz", ".LOG2.xz"].map(|name| read(&format!("{folder}{name}")));
    let [Some(mut primary), Some(log1), Some(log2)] = names else {
        return;
    };
    coldfix::hive::base_block::set_sequences(&mut primary, 4, 3).unwrap();
    let outcome = recovered(&primary, &[(".LOG1", &log1), (".LOG2", &log2)]);
    assert_eq!(applied(&outcome), [(".LOG2", 3, 5, 3)]);
    assert_noted(
        &outcome,
        &[".LOG1", "begins with number 2, before the hive's 3"],
    );
}

#[test]
fn old_format_as_windows_7_recovers_it() {
    let folder = "hives-edge/yarp/OldDirtyHive";
    let Some((primary, outcome)) = recover_data(&format!("{folder}/OldDirtyHive"), &[".LOG1"])
    else {
        return;
    };
    let Some(windows) = read(&format!("{folder}/RecoveredHive_Windows7.xz")) else {
        return;
    };
    assert_eq!(applied(&outcome), [(".LOG1", 5, 5, 1)]);
    assert_eq!(
        (outcome.applied[0].pages, outcome.applied[0].bytes),
        (64, 32768)
    );
    assert_eq!(sequences(&outcome.image), (5, 5));
    assert!(outcome.image[4096..] != primary[4096..]);
    let ours = foreign("reglookup", &outcome.image);
    assert_eq!(ours, foreign("reglookup", &windows));
    if let Some(dump) = ours {
        assert_eq!(dump.matches(",KEY,").count(), 5003);
        assert!(dump.contains("/key_with_many_subkeys/5000/find_me_in_log,KEY,"));
    }
}

#[test]
fn a_damaged_base_block_is_restored_from_the_log() {
    let folder = "hives-edge/yarp/BadBaseBlockHive/BadBaseBlockHive";
    let sound = "hives-edge/yarp/OldDirtyHive/OldDirtyHive";
    let Some((_, outcome)) = recover_data(folder, &[".LOG1"]) else {
        return;
    };
    let Some((_, expected)) = recover_data(sound, &[".LOG1"]) else {
        return;
    };
    assert_eq!(outcome.state, State::Replayed);
    assert_noted(&outcome, &["base block was restored from a log"]);
    // The damage was made in a copy of the other hive.
    assert!(outcome.image == expected.image);
}

#[test]
fn damaged_logs_are_not_applied() {
    for (folder, logs, words) in [
        (
            "BadLogHive1",
            &[".LOG1"][..],
            "checksum of its base block is 0x4c564e49",
        ),
        ("BadLogHive2", &[".LOG1"], "does not begin with \"DIRT\""),
        (
            "BadLogHive3",
            &[".LOG1", ".LOG2"],
            "checksum of its base block is 0x4c564e49",
        ),
    ] {
        let hive = format!("hives-edge/yarp/{folder}/BadLogHive");
        let Some((primary, outcome)) = recover_data(&hive, logs) else {
            return;
        };
        assert_unchanged(&primary, &outcome, State::DirtyWithoutUsableLog);
        for log in logs {
            assert_noted(&outcome, &[log, "not usable", words]);
        }
        assert_eq!(outcome.next_sequence, 7, "{folder}");
    }
}

#[test]
fn a_truncated_hive_is_not_completed_by_a_log_that_lacks_the_rest() {
    let names = ["TruncatedDirtyHive.xz", "OldDirtyHive/OldDirtyHive.LOG1.xz"];
    let [Some(primary), Some(log)] = names.map(|name| read(&format!("hives-edge/yarp/{name}")))
    else {
        return;
    };
    let outcome = recovered(&primary, &[(".LOG1", &log)]);
    assert_unchanged(&primary, &outcome, State::DirtyWithoutUsableLog);
    let alone = recovered(&primary, &[]);
    assert_unchanged(&primary, &alone, State::DirtyWithoutUsableLog);
}

#[test]
fn remnants_behind_the_dirty_sectors_are_not_applied() {
    let folder = "hives-edge/yarp/OldDirtyHive/OldDirtyHive";
    let Some((primary, expected)) = recover_data(folder, &[".LOG1"]) else {
        return;
    };
    let Some(log) = read("hives-edge/yarp/OldLogWithRemnantData.xz") else {
        return;
    };
    let outcome = recovered(&primary, &[(".LOG", &log)]);
    assert_eq!(outcome.state, State::Replayed);
    assert!(outcome.image == expected.image);
}

#[test]
fn stale_logs_beside_clean_boot_stores_are_ignored() {
    for (hive, last) in [("bcd/esp-w10-multiboot", 415), ("bcd/esp-w10-recovery", 13)] {
        let [Some(primary), Some(log)] = ["", ".LOG"].map(|end| read(&format!("{hive}{end}")))
        else {
            return;
        };
        let outcome = recovered(&primary, &[("BCD.LOG", &log)]);
        assert_unchanged(&primary, &outcome, State::Clean);
        assert_noted(&outcome, &["BCD.LOG", "ignored", "clean"]);
        assert_eq!(outcome.next_sequence, last + 2);
        // Were the store dirty, the log would still be too old.
        let mut dirty = primary.clone();
        coldfix::hive::base_block::set_sequences(&mut dirty, last + 1, last).unwrap();
        let outcome = recovered(&dirty, &[("BCD.LOG", &log)]);
        assert_unchanged(&dirty, &outcome, State::DirtyWithoutUsableLog);
    }
}

#[test]
fn dirty_hives_without_logs_are_said_to_be_so() {
    for (hive, next) in [
        ("amcache-dirty-nolog", 43),
        ("security-w10-dirty-nolog", 109),
        ("system-w81-dirty-nolog", 3787),
        ("software-w81-dirty-nolog", 43471),
    ] {
        let Some(primary) = read(&format!("hives/{hive}.xz")) else {
            return;
        };
        let files = [("LOG1", &b""[..]), ("LOG2", &[0; 512])];
        let outcome = recovered(&primary, &files);
        assert_unchanged(&primary, &outcome, State::DirtyWithoutUsableLog);
        assert_eq!(outcome.next_sequence, next, "{hive}");
        assert_noted(&outcome, &["LOG1: not used: it is empty"]);
        assert_noted(&outcome, &["LOG2: not used: it is all zeros"]);
    }
}

/// The entries behind the cleared head are whole and hashed, but nothing leads to them any more.
#[test]
fn neutralised_logs_are_never_applied() {
    let name = "hives/usrclass-w10-dirty";
    let names = [".xz", ".LOG1.xz", ".LOG2.xz"].map(|end| read(&format!("{name}{end}")));
    let [Some(primary), Some(log1), Some(log2)] = names else {
        return;
    };
    let [zeroed1, zeroed2] = [&log1, &log2].map(|log| neutralised(log));
    assert_eq!((zeroed1.len(), zeroed2.len()), (log1.len(), log2.len()));
    assert!(zeroed1[..1024].iter().all(|&byte| byte == 0));
    assert!(zeroed1[1024..] == log1[1024..]);
    let files = [(".LOG1", zeroed1.as_slice()), (".LOG2", &zeroed2)];
    let outcome = recovered(&primary, &files);
    assert_unchanged(&primary, &outcome, State::DirtyWithoutUsableLog);
    // The entries that are still there count for the next number.
    assert_eq!(outcome.next_sequence, 302);
}

#[test]
fn a_log_is_not_taken_for_a_hive() {
    let Some(log) = read("hives/usrclass-w10-dirty.LOG1.xz") else {
        return;
    };
    let files = [LogFile {
        name: ".LOG1",
        bytes: &log,
    }];
    let error = recover(log.clone(), &files).unwrap_err().to_string();
    assert!(error.contains("type 6, a transaction log"), "{error}");
}
