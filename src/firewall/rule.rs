// SPDX-License-Identifier: GPL-2.0-or-later
//! One firewall rule: [MS-GPFAS] 2.2.2.19, a whole object with the fields that matter typed.
//!
//! An absent field has its documented meaning: no `Active` is FALSE, no `Profile` is every profile, no `Protocol`
//! is every protocol, no `LPort` every port. What a rule says of a connection to Remote Desktop has three answers,
//! because some conditions cannot be judged on a machine that is switched off: [`Match`].

use super::Profile;
use super::effective::Listener;
use super::fields::{Fields, Malformed, Ports, ports};

/// A firewall rule.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    fields: Fields,
}

/// What a rule does with a connection that it applies to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Lets it in.
    Allow,
    /// Drops it.
    Block,
    /// Lets it in over any block, when it is authenticated by IPsec.
    Bypass,
}

/// Whether a rule applies to a connection from somebody to Remote Desktop's listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Match {
    /// It does not.
    No,
    /// It does.
    Yes,
    /// It does for some of them, or on some machines; the fields that decide it.
    Partly(Vec<String>),
}

/// Fields that narrow a rule to something that Remote Desktop and whoever connects to it are not: an app package,
/// the owner of a process, the port of the other side, an authenticated peer.
const NARROWING: [&str; 12] = [
    "AppPkgId",
    "LUOwn",
    "LUAuth",
    "LUAuth2_24",
    "RPort",
    "RPort2_10",
    "Security",
    "Security2",
    "Security2_9",
    "RMauth",
    "RUAuth",
    "AuthByPassOut",
];

/// Fields that say nothing of which connections are meant.
const TELLING: [&str; 16] = [
    "Action",
    "Active",
    "Dir",
    "Protocol",
    "Profile",
    "App",
    "Svc",
    "Name",
    "Desc",
    "EmbedCtxt",
    "Edge",
    "Defer",
    "LSM",
    "SkipVer",
    "ICMP4",
    "ICMP6",
];

impl Rule {
    /// Splits a rule.
    ///
    /// # Errors
    /// What does not follow the grammar.
    pub fn parse(text: &str) -> Result<Rule, Malformed> {
        Ok(Rule {
            fields: Fields::parse(text)?,
        })
    }

    /// A new rule with the given version token (`v2.30`) and fields.
    pub fn new(version: &str, fields: &[(&str, &str)]) -> Rule {
        Rule {
            fields: Fields::new(version, fields),
        }
    }

    /// The rule as the registry stores it.
    pub fn to_text(&self) -> String {
        self.fields.to_text()
    }

    /// The version token.
    pub fn version(&self) -> &str {
        self.fields.version()
    }

    /// Every field.
    pub fn fields(&self) -> &Fields {
        &self.fields
    }

    /// What it does; `None` for what is not known.
    pub fn action(&self) -> Option<Action> {
        match self.fields.only("Action")? {
            word if word.eq_ignore_ascii_case("Allow") => Some(Action::Allow),
            word if word.eq_ignore_ascii_case("Block") => Some(Action::Block),
            word if word.eq_ignore_ascii_case("ByPass") => Some(Action::Bypass),
            _ => None,
        }
    }

    /// True when it is in force: exactly one `Active`, and it says TRUE.
    pub fn is_active(&self) -> bool {
        self.fields
            .only("Active")
            .is_some_and(|word| word.eq_ignore_ascii_case("TRUE"))
    }

    /// True for connections that come in.
    pub fn is_inbound(&self) -> bool {
        self.fields
            .only("Dir")
            .is_some_and(|word| word.eq_ignore_ascii_case("In"))
    }

    /// The profiles it applies to.
    pub fn profiles(&self) -> Vec<Profile> {
        let named: Vec<&str> = self.fields.all("Profile").collect();
        Profile::ALL
            .into_iter()
            .filter(|profile| {
                named.is_empty()
                    || named
                        .iter()
                        .any(|word| Profile::from_word(word) == Some(*profile))
            })
            .collect()
    }

    /// The group that its management tools file it under: `@FirewallAPI.dll,-28752` is Remote Desktop.
    pub fn group(&self) -> Option<&str> {
        self.fields.only("EmbedCtxt")
    }

    /// The addresses that the other side must have; empty for anybody.
    pub fn remote_addresses(&self) -> Vec<&str> {
        ["RA4", "RA6", "RA42", "RA62"]
            .into_iter()
            .flat_map(|key| self.fields.all(key))
            .collect()
    }

    /// The same rule, in force; `None` when it has not exactly one `Active` field.
    #[must_use]
    pub fn activated(&self) -> Option<Rule> {
        self.fields
            .with("Active", "TRUE")
            .map(|fields| Rule { fields })
    }

    /// The same rule, out of force; `None` when it has not exactly one `Active` field.
    #[must_use]
    pub fn deactivated(&self) -> Option<Rule> {
        self.fields
            .with("Active", "FALSE")
            .map(|fields| Rule { fields })
    }

    /// The same rule for every profile.
    #[must_use]
    pub fn for_every_profile(&self) -> Rule {
        Rule {
            fields: self.fields.without("Profile"),
        }
    }

    /// Whether it is about inbound TCP connections to the listener, without asking whether it is in force.
    pub fn concerns(&self, listener: Listener) -> Match {
        if !self.is_inbound() || !self.fields.all("Protocol").all(is_tcp) {
            return Match::No;
        }
        let local = self
            .fields
            .iter()
            .filter_map(|(key, value)| is_local_port(key).then_some(value));
        match ports(local, listener.port) {
            Ports::All | Ports::Has => {}
            // The words name other services' ports: RPC, Teredo, IPHTTPS, mDNS ...
            Ports::HasNot | Ports::Unknown => return Match::No,
        }
        if !self
            .fields
            .all("Svc")
            .all(|service| service == "*" || service.eq_ignore_ascii_case("termservice"))
        {
            return Match::No;
        }
        let mut partly = Vec::new();
        for app in self.fields.all("App") {
            match listener.is_served_by(app) {
                Some(true) => {}
                Some(false) => partly.push(format!("App={app}")),
                None => return Match::No,
            }
        }
        for (key, value) in self.fields.iter() {
            let told = TELLING.iter().any(|known| key.eq_ignore_ascii_case(known));
            if !told && !is_local_port(key) {
                let shown: String = value.chars().take(40).collect();
                partly.push(format!("{key}={shown}"));
            }
        }
        match partly.is_empty() {
            true => Match::Yes,
            false => Match::Partly(partly),
        }
    }

    /// True when, once active, it lets somebody connect to the listener.
    pub fn can_allow(&self, listener: Listener) -> bool {
        self.action() == Some(Action::Allow)
            && !self.fields.iter().any(|(key, _)| {
                NARROWING
                    .iter()
                    .any(|known| key.eq_ignore_ascii_case(known))
                    || key.to_ascii_uppercase().starts_with("TTK")
            })
            && self.concerns(listener) != Match::No
    }

    /// Whether, once active, it drops connections to the listener: all, some or none.
    pub fn can_block(&self, listener: Listener) -> Match {
        match self.action() {
            Some(Action::Block) => self.concerns(listener),
            _ => Match::No,
        }
    }
}

/// `LPort`, and its later forms such as `LPort2_10` for ranges.
fn is_local_port(key: &str) -> bool {
    let key = key.to_ascii_lowercase();
    key == "lport" || key.starts_with("lport2_")
}

/// True for TCP by its number, and for "any" (256).
fn is_tcp(protocol: &str) -> bool {
    matches!(protocol.parse::<u16>(), Ok(6 | 256))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: &str = r"v2.30|Action=Allow|Active=FALSE|Dir=In|Protocol=6|LPort=3389|App=%SystemRoot%\system32\svchost.exe|Svc=termservice|Name=@FirewallAPI.dll,-28775|Desc=@FirewallAPI.dll,-28756|EmbedCtxt=@FirewallAPI.dll,-28752|";
    const HERE: Listener = Listener {
        port: 3389,
        in_kernel: false,
    };

    fn rule(text: &str) -> Rule {
        Rule::parse(text).unwrap()
    }

    #[test]
    fn a_rule_keeps_every_byte() {
        let stock = rule(STOCK);
        assert_eq!(stock.to_text(), STOCK);
        let active = stock.activated().unwrap();
        assert_eq!(
            active.to_text(),
            STOCK.replace("Active=FALSE", "Active=TRUE")
        );
        assert_eq!(active.deactivated().unwrap().to_text(), STOCK);
        let open_end = STOCK.trim_end_matches('|');
        assert_eq!(rule(open_end).to_text(), open_end);
    }

    #[test]
    fn the_stock_rule_carries_its_port_only() {
        let stock = rule(STOCK);
        assert!(!stock.is_active() && stock.activated().unwrap().is_active());
        assert_eq!(stock.concerns(HERE), Match::Yes);
        let moved = Listener { port: 3390, ..HERE };
        assert_eq!(stock.concerns(moved), Match::No);
        assert_eq!(stock.profiles(), Profile::ALL);
        assert_eq!(stock.group(), Some("@FirewallAPI.dll,-28752"));
    }

    #[test]
    fn rules_for_something_else_do_not_count() {
        for other in [
            STOCK.replace("Protocol=6", "Protocol=17"),
            STOCK.replace("Dir=In", "Dir=Out"),
            STOCK.replace("Action=Allow", "Action=Block"),
            STOCK.replace("Svc=termservice", "Svc=spooler"),
            STOCK.replace(r"%SystemRoot%\system32\svchost.exe", r"C:\tool.exe"),
            STOCK.replace("LPort=3389", "LPort=RPC"),
            STOCK.replace("LPort=3389", "LPort=3389|RPort=4000"),
            STOCK.replace("LPort=3389", "LPort=3389|TTK2_27=WFDPrint"),
        ] {
            assert!(!rule(&other).can_allow(HERE), "{other}");
        }
        let store_app =
            "v2.30|Action=Allow|Active=TRUE|Dir=In|Name=x|LUOwn=S-1-5-21-1|AppPkgId=S-1-15-2-1|";
        assert!(!rule(store_app).can_allow(HERE));
        for same in [
            STOCK.replace("LPort=3389", "LPort2_10=3000-4000"),
            STOCK.replace("LPort=3389", "LPort=80|LPort=3389"),
            STOCK.replace("LPort=3389|", ""),
            STOCK.replace("LPort=3389", "LPort=3389|RA4=LocalSubnet"),
        ] {
            assert!(rule(&same).can_allow(HERE), "{same}");
        }
    }

    #[test]
    fn a_block_of_some_sources_is_not_a_block() {
        let block = "v2.30|Action=Block|Active=TRUE|Dir=In|Protocol=6|LPort=3389|Name=b|";
        assert_eq!(rule(block).can_block(HERE), Match::Yes);
        let some = block.replace("Name=b", "RA4=192.0.2.7|Name=b");
        assert_eq!(
            rule(&some).can_block(HERE),
            Match::Partly(vec!["RA4=192.0.2.7".to_owned()])
        );
        let program = block.replace("LPort=3389", r"App=C:\games\game.exe");
        assert_eq!(rule(&program).can_block(HERE), Match::No);
        let everything = "v2.30|Action=Block|Active=TRUE|Dir=In|Name=b|";
        assert_eq!(rule(everything).can_block(HERE), Match::Yes);
        let kernel = block.replace("LPort=3389", "LPort=3389|App=System");
        assert!(matches!(rule(&kernel).can_block(HERE), Match::Partly(_)));
    }

    #[test]
    fn what_does_not_follow_the_grammar_is_no_rule() {
        for bad in [
            "",
            "2.30|Action=Allow|",
            "v|Action=Allow|",
            "v2|Action=Allow|",
            "v2.30|Action|",
            "v2.30|=Allow|",
            "v2.30||Action=Allow|",
            "v2.30|Name=a|b|",
        ] {
            assert!(Rule::parse(bad).is_err(), "{bad}");
        }
        let shown = Malformed::Part("x".repeat(5000)).to_string();
        assert!(shown.len() < 100);
    }
}
