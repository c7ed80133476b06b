// SPDX-License-Identifier: GPL-2.0-or-later
//! Random and hostile texts: what is read is written back, and no text is too strange to be judged.

use proptest::prelude::*;

use super::consec::Surroundings;
use super::*;

const LISTENER: Listener = Listener {
    port: 3389,
    in_kernel: false,
};

/// A field as it may stand in a rule, known or not, with values that hold other `=` signs and any letters.
fn field() -> impl Strategy<Value = (String, String)> {
    let key = prop_oneof![
        prop::sample::select(vec![
            "Action",
            "Active",
            "Dir",
            "Protocol",
            "Profile",
            "LPort",
            "LPort2_10",
            "RA4",
            "App",
            "Svc",
            "EP1Port",
            "EP2_4",
            "Name",
            "active",
        ])
        .prop_map(str::to_owned),
        "[A-Za-z][A-Za-z0-9_]{0,12}",
    ];
    let value = prop_oneof![
        prop::sample::select(vec![
            "Allow",
            "Block",
            "Secure",
            "TRUE",
            "FALSE",
            "In",
            "6",
            "3389",
            "3000-4000",
            "RPC",
            "Domain",
            "Public",
            "",
        ])
        .prop_map(str::to_owned),
        "[^|\0]{0,24}",
    ];
    (key, value)
}

fn text(version: (u8, u8), fields: &[(String, String)], closed: bool) -> String {
    let mut text = format!("v{}.{}", version.0, version.1);
    for (key, value) in fields {
        text.push_str(&format!("|{key}={value}"));
    }
    if closed {
        text.push('|');
    }
    text
}

proptest! {
    /// Any fields in any order come back byte for byte, and so does every change but its own word.
    #[test]
    fn what_is_read_is_written_back(
        version in any::<(u8, u8)>(),
        fields in prop::collection::vec(field(), 1..12),
        closed in any::<bool>(),
    ) {
        let text = text(version, &fields, closed);
        // A last value that ends in nothing would be eaten by the closing bar.
        prop_assume!(closed || !text.ends_with('|'));
        let rule = Rule::parse(&text).unwrap();
        prop_assert_eq!(rule.to_text(), text.clone());
        let read: Vec<(String, String)> = rule
            .fields()
            .iter()
            .map(|(key, value)| (key.to_owned(), value.to_owned()))
            .collect();
        prop_assert_eq!(&read, &fields);
        if let Some(active) = rule.activated() {
            prop_assert!(active.is_active());
            prop_assert_eq!(active.concerns(LISTENER), rule.concerns(LISTENER));
            prop_assert_eq!(Rule::parse(&active.to_text()), Ok(active));
        }
        let consec = ConnectionSecurityRule::parse(&text).unwrap();
        prop_assert_eq!(consec.to_text(), text);
        if let Some(cured) = consec.deactivated() {
            prop_assert_eq!(cured.judge(&Surroundings::default()), consec::Judgement::Inert);
        }
    }

    /// The order of the fields does not matter to what a rule does.
    #[test]
    fn order_means_nothing(
        fields in prop::collection::vec(field(), 1..10).prop_shuffle(),
        turn in any::<prop::sample::Index>(),
    ) {
        let mut other = fields.clone();
        other.rotate_left(turn.index(fields.len()));
        let one = Rule::parse(&text((2, 31), &fields, true)).unwrap();
        let two = Rule::parse(&text((2, 31), &other, true)).unwrap();
        prop_assert_eq!(one.can_allow(LISTENER), two.can_allow(LISTENER));
        prop_assert_eq!(one.is_active(), two.is_active());
        prop_assert_eq!(one.profiles(), two.profiles());
        let kind = |found: &Match| std::mem::discriminant(found);
        prop_assert_eq!(kind(&one.can_block(LISTENER)), kind(&two.can_block(LISTENER)));
    }

    /// Any text at all is either a rule that comes back as it was, or named as malformed.
    #[test]
    fn any_text_is_taken(text in "\\PC{0,200}|(v2.3)?[v0-9.|=A-Za-z-]{0,80}") {
        match Rule::parse(&text) {
            Ok(rule) => {
                prop_assert_eq!(rule.to_text(), text.clone());
                let _ = rule.can_block(LISTENER);
                let _ = ConnectionSecurityRule::parse(&text).unwrap().judge(&Surroundings::default());
            }
            Err(fault) => prop_assert!(fault.to_string().len() < 400),
        }
    }
}
