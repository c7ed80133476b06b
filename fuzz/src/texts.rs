// SPDX-License-Identifier: GPL-2.0-or-later
//! Texts and lists that people and programs write: `.reg`, `Registry.pol`, firewall rules, plans.

use coldfix::firewall::Profile;
use coldfix::firewall::consec::{ConnectionSecurityRule, Surroundings};
use coldfix::firewall::effective::Listener;
use coldfix::firewall::rule::Rule;
use coldfix::hive::Hive;
use coldfix::plan::Plan;
use coldfix::registry_policy::{Effect, PolicyFile};
use coldfix::windows::{RegAction, RegFile, export};

/// A `.reg` file, carried out on an empty hive, exported, and read again.
pub fn reg_file(input: &[u8]) {
    let Ok(file) = RegFile::parse(input) else {
        return;
    };
    let mut hive = Hive::create(5, "ROOT", 1).expect("a hive");
    for action in &file.actions {
        let _ = match action {
            RegAction::CreateKey { path } => hive.create_key(path, 2).map(drop),
            RegAction::DeleteKey { path } => hive.delete_key(path, 2).map(drop),
            RegAction::SetValue {
                path,
                name,
                kind,
                data,
            } => hive.set_value(path, name, *kind, data, 2),
            RegAction::DeleteValue { path, name } => hive.delete_value(path, name, 2).map(drop),
        };
    }
    let faults = hive.check();
    assert!(faults.is_empty(), "{faults:?}");
    let root = hive.root().expect("a root");
    let exported = export(&root, "ROOT").expect("a sound hive is exported");
    let again = RegFile::parse(exported.text.as_bytes()).expect("an exported file reads");
    assert!(
        again.skipped.is_empty(),
        "{:?} in {:?}",
        again.skipped,
        exported.text
    );
    for action in &again.actions {
        let path = |path: &str| {
            path.strip_prefix("ROOT")
                .unwrap_or(path)
                .trim_start_matches('\\')
                .to_owned()
        };
        match action {
            RegAction::CreateKey { path: whole } => {
                let found = hive.key(&path(whole)).expect("a way");
                assert!(found.is_some(), "{whole:?} is not there");
            }
            RegAction::SetValue {
                path: whole,
                name,
                kind,
                data,
            } => {
                let key = hive.key(&path(whole)).expect("a way").expect("the key");
                let value = key.value(name).expect("values").expect("the value");
                assert_eq!(
                    (value.kind(), &*value.data().expect("data")),
                    (*kind, &data[..]),
                    "{whole}: {name}"
                );
            }
            other => panic!("exported: {other:?}"),
        }
    }
}

/// A policy file; what it does to each value that it names is told.
pub fn registry_policy(input: &[u8]) {
    let Ok(file) = PolicyFile::parse(input) else {
        return;
    };
    for instruction in file.instructions.iter().take(200) {
        let effect = file.effect(&instruction.key, &instruction.value);
        if let Some(Effect::Set { data, .. }) = effect {
            assert!(file.instructions.iter().any(|known| known.data == data));
        }
        let _ = effect.and_then(Effect::dword);
    }
}

/// A firewall rule and a connection security rule.
pub fn firewall_rule(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    if let Ok(rule) = Rule::parse(&text) {
        assert_eq!(rule.to_text(), text, "a rule is not kept as it is");
        for listener in [
            Listener {
                port: 3389,
                in_kernel: false,
            },
            Listener {
                port: 0,
                in_kernel: true,
            },
        ] {
            let _ = (
                rule.concerns(listener),
                rule.can_allow(listener),
                rule.can_block(listener),
            );
        }
        let _ = (
            rule.profiles(),
            rule.group(),
            rule.remote_addresses(),
            rule.version(),
        );
        let all = Some(rule.for_every_profile());
        for changed in [rule.activated(), rule.deactivated(), all]
            .into_iter()
            .flatten()
        {
            let again = Rule::parse(&changed.to_text());
            assert_eq!(again.as_ref().ok(), Some(&changed), "{again:?}");
        }
        if let Some(active) = rule.activated() {
            assert!(active.is_active());
        }
    }
    if let Ok(rule) = ConnectionSecurityRule::parse(&text) {
        assert_eq!(rule.to_text(), text);
        let around = Surroundings {
            port: Some(3389),
            dropped: vec![Profile::ALL[0]],
            unknown: Vec::new(),
        };
        let _ = (rule.judge(&around), rule.judge(&Surroundings::default()));
        if let Some(changed) = rule.deactivated() {
            let again = ConnectionSecurityRule::parse(&changed.to_text());
            assert_eq!(again.as_ref().ok(), Some(&changed));
            assert!(!ConnectionSecurityRule::looks_active(&changed.to_text()));
        }
    }
}

/// A plan that somebody may have changed.
pub fn plan(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let Ok(plan) = Plan::parse(text) else {
        return;
    };
    let written = serde_json::to_string(&plan).expect("a plan is written");
    assert_eq!(Plan::parse(&written).ok(), Some(plan.clone()));
    let _ = plan.check_disk(Some("disk"));
    for step in &plan.steps {
        let _ = (
            step.edit.location(),
            step.edit.hive(),
            step.edit.registry_key(),
        );
    }
}
