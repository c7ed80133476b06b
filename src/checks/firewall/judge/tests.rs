// SPDX-License-Identifier: GPL-2.0-or-later
use super::*;
use crate::firewall::{Named, Rule, Store};

/// A block list of thousands of rules is one obstacle for each, with its profiles, and is not shown whole.
#[test]
fn long_lists_are_gathered_and_cut() {
    const COUNT: usize = 20_000;
    let block = "v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|Name=b|";
    let rules = (0..COUNT).map(|number| Named {
        name: format!("{{{number}}}"),
        rule: Rule::parse(block).unwrap(),
    });
    let local = Store {
        rules: rules.collect(),
        ..Store::default()
    };
    let effective = Effective {
        local,
        policy: Store::default(),
        management: Store::default(),
    };
    let listener = Listener {
        port: 3389,
        in_kernel: false,
    };
    let verdicts = Profile::ALL.map(|profile| (profile, effective.verdict(profile, listener)));
    let obstacles = obstacles(&verdicts);
    assert_eq!(obstacles.len(), COUNT + 1, "and that no rule allows");
    assert!(
        obstacles
            .iter()
            .all(|(_, profiles)| profiles == &Profile::ALL)
    );

    let mut found = Found::default();
    for number in 0..COUNT {
        let place = (format!("place {number}"), "what is there".to_owned());
        let cure = [Edit::dword(HiveName::System, "key", "name", 0)];
        found.add(&BLOCK_RULE, true, place, "nothing", cure);
    }
    let findings = found.into_findings();
    let [finding] = findings.as_slice() else {
        panic!("{} findings", findings.len());
    };
    assert_eq!(finding.evidence.len(), MOST_SHOWN);
    assert_eq!(finding.cure.len(), COUNT);
    let last = &finding.evidence[MOST_SHOWN - 1].found;
    assert!(last.ends_with("and 19984 more like these"), "{last}");
}
