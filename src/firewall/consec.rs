// SPDX-License-Identifier: GPL-2.0-or-later
//! Connection security rules (IPsec): [MS-GPFAS] 2.2.6.2, and whether one drops connections that are not secured.
//!
//! ```text
//!   v2.31|Action=SecureServer|Active=TRUE|Profile=Domain|Protocol=6|EP1Port2_10=3389-3389|Name=...|
//!         endpoint 1 is this machine, endpoint 2 the other side
//! ```
//!
//! `Secure` and `SecureServer` demand IPsec of what comes in; a client that does not speak it is dropped without a
//! word. The questions are asked in a fixed order, and what a machine that is switched off cannot answer (addresses,
//! interfaces, tunnels, fields that are not known) is never taken for a block: [`Judgement::Unclear`].

use super::Profile;
use super::fields::{Fields, Malformed, Ports, ports};

/// A connection security rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConnectionSecurityRule {
    fields: Fields,
}

/// What a rule does to a connection to Remote Desktop that is not secured.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Judgement {
    /// Nothing: it is not in force.
    Inert,
    /// Nothing: it does not demand security, or not of this connection.
    NotBlocking,
    /// Nothing: policy drops the machine's own rules in every profile of it.
    Suppressed,
    /// It drops it.
    Blocking,
    /// It may; why that is not known, one reason each.
    Unclear(Vec<String>),
}

/// What is known of the machine around a rule.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Surroundings {
    /// The listener's port; `None` when it cannot be read.
    pub port: Option<u16>,
    /// Profiles in which policy drops rules of the store that this one stands in.
    pub dropped: Vec<Profile>,
    /// Profiles in which it is not known whether it does.
    pub unknown: Vec<Profile>,
}

/// Fields that say nothing of which connections are meant, or that are asked for one by one.
const JUDGED: [&str; 24] = [
    "Action",
    "Active",
    "Profile",
    "Protocol",
    "EP1Port",
    "EP1Port2_10",
    "Name",
    "Desc",
    "EmbedCtxt",
    "Auth1Set",
    "Auth2Set",
    "Crypto2Set",
    "Platform",
    "Platform2",
    "SecureInClearOut",
    "ByPassTunnel",
    "Authz",
    "KeyMod",
    "KeyManagerDictate",
    "KeyManagerNotify",
    "FwdLifetime",
    "TransportMachineAuthzSDDL",
    "TransportUserAuthzSDDL",
    "SecurityRealmEnabled",
];

impl ConnectionSecurityRule {
    /// Splits a rule.
    ///
    /// # Errors
    /// What does not follow the grammar.
    pub fn parse(text: &str) -> Result<ConnectionSecurityRule, Malformed> {
        Ok(ConnectionSecurityRule {
            fields: Fields::parse(text)?,
        })
    }

    /// True when a text that does not follow the grammar has a part `Active=TRUE`.
    pub fn looks_active(text: &str) -> bool {
        text.split('|')
            .any(|part| part.eq_ignore_ascii_case("Active=TRUE"))
    }

    /// The rule as the registry stores it.
    pub fn to_text(&self) -> String {
        self.fields.to_text()
    }

    /// Every field.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// The same rule, out of force: its single `Active=TRUE` replaced, every other byte kept.
    #[must_use]
    pub fn deactivated(&self) -> Option<ConnectionSecurityRule> {
        let fields = self.fields.with("Active", "FALSE")?;
        Some(ConnectionSecurityRule { fields })
    }

    /// What it does to a connection to Remote Desktop that is not secured.
    pub fn judge(&self, around: &Surroundings) -> Judgement {
        let active: Vec<&str> = self.fields.all("Active").collect();
        let says = |word: &str| active.iter().any(|value| value.eq_ignore_ascii_case(word));
        if !says("TRUE")
            && active
                .iter()
                .all(|value| value.eq_ignore_ascii_case("FALSE"))
        {
            return Judgement::Inert;
        }
        if active.len() != 1 || !says("TRUE") {
            return unclear(format!("Active={}", active.join(", Active=")));
        }
        let Some(action) = self.fields.only("Action") else {
            return unclear("Action is not there exactly once".to_owned());
        };
        let is = |word: &str| action.eq_ignore_ascii_case(word);
        if is("Boundary") || is("DoNotSecure") {
            return Judgement::NotBlocking;
        }
        if !is("Secure") && !is("SecureServer") {
            return unclear(format!("Action={action}"));
        }
        let mut reasons = Vec::new();
        if let Some(judgement) = self.judge_profiles(around, &mut reasons) {
            return judgement;
        }
        let protocols: Vec<Option<u8>> = self
            .fields
            .all("Protocol")
            .map(|text| text.parse().ok())
            .collect();
        if protocols.iter().any(Option::is_none) {
            return unclear("Protocol is not a number".to_owned());
        }
        if !protocols.is_empty() && !protocols.contains(&Some(6)) {
            return Judgement::NotBlocking;
        }
        if self.judge_ports(around, &mut reasons) == Some(false) {
            return Judgement::NotBlocking;
        }
        self.judge_rest(&mut reasons);
        match reasons.is_empty() {
            true => Judgement::Blocking,
            false => Judgement::Unclear(reasons),
        }
    }

    /// Policy may drop it in some of its profiles, or in all of them.
    fn judge_profiles(
        &self,
        around: &Surroundings,
        reasons: &mut Vec<String>,
    ) -> Option<Judgement> {
        let mut profiles = Vec::new();
        for word in self.fields.all("Profile") {
            match Profile::from_word(word) {
                Some(profile) => profiles.push(profile),
                None => reasons.push(format!("Profile={}", shortened(word))),
            }
        }
        if profiles.is_empty() && reasons.is_empty() {
            profiles = Profile::ALL.to_vec();
        }
        let dropped = |profile: &&Profile| around.dropped.contains(profile);
        if reasons.is_empty() && profiles.iter().all(|profile| dropped(&profile)) {
            return Some(Judgement::Suppressed);
        }
        for profile in profiles.iter().filter(dropped) {
            reasons.push(format!("dropped by policy in profile {}", profile.word()));
        }
        for profile in profiles
            .iter()
            .filter(|profile| around.unknown.contains(profile))
        {
            reasons.push(format!(
                "not known whether policy drops it in profile {}",
                profile.word()
            ));
        }
        None
    }

    /// Whether the listener's port is in its scope; `None` when it is not known.
    fn judge_ports(&self, around: &Surroundings, reasons: &mut Vec<String>) -> Option<bool> {
        let local = || {
            self.fields
                .all("EP1Port")
                .chain(self.fields.all("EP1Port2_10"))
        };
        let Some(port) = around.port else {
            if ports(local(), 0) == Ports::All {
                return Some(true);
            }
            reasons.push("the listener's port is not known".to_owned());
            return None;
        };
        match ports(local(), port) {
            Ports::All | Ports::Has => Some(true),
            Ports::HasNot => Some(false),
            Ports::Unknown => {
                let shown: Vec<&str> = local().take(8).collect();
                reasons.push(format!("EP1Port={}", shortened(&shown.join(","))));
                None
            }
        }
    }

    /// What cannot be answered on a machine that is switched off.
    fn judge_rest(&self, reasons: &mut Vec<String>) {
        // Scopes, which mean everything when they are empty.
        const SCOPES: [&str; 8] = [
            "EP1_4",
            "EP1_6",
            "EP2_4",
            "EP2_6",
            "EP2Port",
            "EP2Port2_10",
            "IF",
            "IFType",
        ];
        for (key, value) in self.fields.iter() {
            let among = |list: &[&str]| list.iter().any(|known| key.eq_ignore_ascii_case(known));
            let empty = among(&SCOPES) && value.trim().is_empty();
            if !empty && !among(&JUDGED) {
                reasons.push(format!("{}={}", shortened(key), shortened(value)));
            }
        }
    }
}

fn unclear(reason: String) -> Judgement {
    Judgement::Unclear(vec![shortened(&reason)])
}

fn shortened(text: &str) -> String {
    text.chars().take(60).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const RULE: &str = "v2.31|Action=SecureServer|Active=TRUE|Auth1Set={A}|Crypto2Set={B}|Name=IPsec|Desc=|EmbedCtxt=|";

    fn here() -> Surroundings {
        Surroundings {
            port: Some(3389),
            ..Surroundings::default()
        }
    }

    fn judged(text: &str) -> Judgement {
        ConnectionSecurityRule::parse(text).unwrap().judge(&here())
    }

    fn with(field: &str) -> String {
        RULE.replace("Auth1Set", &format!("{field}|Auth1Set"))
    }

    #[test]
    fn only_what_demands_security_of_the_listeners_port_blocks() {
        assert_eq!(judged(RULE), Judgement::Blocking);
        assert_eq!(
            judged(&RULE.replace("SecureServer", "Secure")),
            Judgement::Blocking
        );
        for (field, expected) in [
            ("Protocol=6", Judgement::Blocking),
            ("Protocol=17", Judgement::NotBlocking),
            ("EP1Port=3389", Judgement::Blocking),
            ("EP1Port=445", Judgement::NotBlocking),
            ("EP1Port2_10=3000-4000", Judgement::Blocking),
            ("EP1Port2_10=4000-5000", Judgement::NotBlocking),
            ("EP1Port=445|EP1Port=3389", Judgement::Blocking),
            ("EP1Port=|EP2_4=|IFType=", Judgement::Blocking),
        ] {
            assert_eq!(judged(&with(field)), expected, "{field}");
        }
        for other in ["Boundary", "DoNotSecure"] {
            let text = RULE.replace("SecureServer", other);
            assert_eq!(judged(&text), Judgement::NotBlocking, "{other}");
        }
        assert_eq!(judged(&RULE.replace("TRUE", "FALSE")), Judgement::Inert);
        assert_eq!(judged(&RULE.replace("Active=TRUE|", "")), Judgement::Inert);
    }

    #[test]
    fn what_cannot_be_answered_is_unclear() {
        for field in [
            "EP1_4=192.0.2.1",
            "EP2_4=LocalSubnet",
            "EP1_6=fe80::/10",
            "EP2_6=2001:db8::1",
            "EP2Port=4000",
            "EP2Port2_10=1-2",
            "EP1Port=RPC",
            "IF={5A8C5A8C-0000-0000-0000-000000000000}",
            "IFType=Lan",
            "RTunnel4=192.0.2.1",
            "LTunnel6_2=2001:db8::1",
            "RTunEndpts4=192.0.2.1-192.0.2.9",
            "SkipVer=2.20",
            "Novelty=1",
            "Profile=Guest",
            "Protocol=x",
            "Active=TRUE",
            "Active=MAYBE",
            "Action=Secure",
        ] {
            let judgement = judged(&with(field));
            assert!(
                matches!(judgement, Judgement::Unclear(_)),
                "{field}: {judgement:?}"
            );
        }
        let unknown = RULE.replace("SecureServer", "Encrypt");
        assert!(matches!(judged(&unknown), Judgement::Unclear(_)));
    }

    #[test]
    fn policy_may_drop_a_machines_own_rules() {
        let rule = ConnectionSecurityRule::parse(&with("Profile=Domain|Profile=Public")).unwrap();
        let mut around = here();
        around.dropped = vec![Profile::Domain];
        assert!(matches!(rule.judge(&around), Judgement::Unclear(_)));
        around.dropped.push(Profile::Public);
        assert_eq!(rule.judge(&around), Judgement::Suppressed);
        let everywhere = ConnectionSecurityRule::parse(RULE).unwrap();
        assert!(matches!(everywhere.judge(&around), Judgement::Unclear(_)));
        around.dropped.clear();
        around.unknown = vec![Profile::Public];
        assert!(matches!(rule.judge(&around), Judgement::Unclear(_)));
    }

    #[test]
    fn without_a_port_only_rules_for_every_port_are_judged() {
        let around = Surroundings::default();
        let judge = |text: &str| ConnectionSecurityRule::parse(text).unwrap().judge(&around);
        assert_eq!(judge(RULE), Judgement::Blocking);
        assert!(matches!(
            judge(&with("EP1Port=3389")),
            Judgement::Unclear(_)
        ));
    }

    #[test]
    fn the_cure_replaces_one_word() {
        let rule = ConnectionSecurityRule::parse(RULE).unwrap();
        let cured = rule.deactivated().unwrap();
        assert_eq!(cured.to_text(), RULE.replace("Active=TRUE", "Active=FALSE"));
        assert_eq!(cured.judge(&here()), Judgement::Inert);
        let twice = ConnectionSecurityRule::parse(&with("Active=TRUE")).unwrap();
        assert_eq!(twice.deactivated(), None);
        assert!(ConnectionSecurityRule::looks_active("x|active=true"));
        assert!(!ConnectionSecurityRule::looks_active("x|Active=TRUER|"));
    }
}
