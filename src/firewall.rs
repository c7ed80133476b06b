// SPDX-License-Identifier: GPL-2.0-or-later
//! Windows firewall rules as the registry stores them: [MS-GPFAS] 2.2.6.
//!
//! ```text
//!   v2.30|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|App=...|Svc=termservice|Name=...|
//!   ^version  ^fields, each closed by a bar; a key may repeat (Profile, LPort, RA4)
//! ```
//!
//! Pure text in, text out. Unknown fields and their order are kept. Not judged: authentication (`Security`),
//! user and package conditions, platform conditions.

/// A rule, split into its fields. [`Rule::to_text`] gives back exactly what was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    version: String,
    fields: Vec<(String, String)>,
}

/// A network profile that rules and settings are kept for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Profile {
    /// The machine sees its domain.
    Domain,
    /// A network marked private.
    Private,
    /// Any other network.
    Public,
}

impl Profile {
    /// All of them.
    pub const ALL: [Profile; 3] = [Profile::Domain, Profile::Private, Profile::Public];

    /// The word in a rule's `Profile=` field.
    pub fn word(self) -> &'static str {
        match self {
            Profile::Domain => "Domain",
            Profile::Private => "Private",
            Profile::Public => "Public",
        }
    }
}

impl Rule {
    /// Splits a rule; `None` when it does not follow the grammar.
    pub fn parse(text: &str) -> Option<Rule> {
        let mut tokens = text.strip_suffix('|')?.split('|');
        let version = tokens.next()?;
        if !version.starts_with('v') {
            return None;
        }
        let fields = tokens
            .map(|token| {
                let (key, value) = token.split_once('=')?;
                Some((key.to_owned(), value.to_owned()))
            })
            .collect::<Option<_>>()?;
        Some(Rule {
            version: version.to_owned(),
            fields,
        })
    }

    /// A new rule with the given version token (`v2.30`) and fields.
    pub fn new(version: &str, fields: &[(&str, &str)]) -> Rule {
        Rule {
            version: version.to_owned(),
            fields: fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
        }
    }

    /// The rule as the registry stores it.
    pub fn to_text(&self) -> String {
        let mut text = self.version.clone();
        text.push('|');
        for (key, value) in &self.fields {
            text.push_str(key);
            text.push('=');
            text.push_str(value);
            text.push('|');
        }
        text
    }

    /// The version token.
    pub fn version(&self) -> &str {
        &self.version
    }

    fn all(&self, key: &'static str) -> impl Iterator<Item = &str> {
        self.fields
            .iter()
            .filter(move |(name, _)| name == key)
            .map(|(_, value)| value.as_str())
    }

    fn only(&self, key: &'static str) -> Option<&str> {
        let mut values = self.all(key);
        let first = values.next();
        values.next().is_none().then_some(first).flatten()
    }

    /// True when it is in force: exactly one `Active`, and it says TRUE.
    pub fn is_active(&self) -> bool {
        self.only("Active") == Some("TRUE")
    }

    /// The same rule, in force.
    pub fn activated(&self) -> Rule {
        let mut rule = self.clone();
        for (key, value) in &mut rule.fields {
            if key == "Active" {
                *value = "TRUE".to_owned();
            }
        }
        rule
    }

    /// The profiles it applies to; a rule without `Profile` fields applies to all.
    pub fn profiles(&self) -> Vec<Profile> {
        let named: Vec<&str> = self.all("Profile").collect();
        Profile::ALL
            .into_iter()
            .filter(|profile| named.is_empty() || named.contains(&profile.word()))
            .collect()
    }

    /// Conditions that narrow a rule to something else than the Remote Desktop service and anybody who
    /// connects to it: an app package, an owner, an authenticated peer, a remote port.
    const NARROWING: [&'static str; 8] = [
        "AppPkgId", "LUOwn", "LUAuth", "RPort", "Security", "RMauth", "RUAuth", "TTK",
    ];

    /// True when, once active, it lets Remote Desktop's listener receive TCP connections on `port`.
    pub fn allows_remote_desktop(&self, port: u16) -> bool {
        self.only("Action") == Some("Allow")
            && self.only("Dir") == Some("In")
            && self.all("Protocol").all(|protocol| protocol == "6")
            && self.covers(port)
            && !self
                .fields
                .iter()
                .any(|(key, _)| Rule::NARROWING.contains(&key.as_str()) || key.starts_with("TTK2"))
            && self.all("App").all(|app| {
                let app = app.to_ascii_lowercase();
                app == "system" || app.ends_with(r"\svchost.exe")
            })
            && self
                .all("Svc")
                .all(|service| service == "*" || service.eq_ignore_ascii_case("termservice"))
    }

    /// True when one of its local ports is `port`, or it names none.
    fn covers(&self, port: u16) -> bool {
        let mut named = false;
        for (key, value) in &self.fields {
            if key != "LPort" && !key.starts_with("LPort2_") {
                continue;
            }
            named = true;
            let (low, high) = value.split_once('-').unwrap_or((value, value));
            if let (Ok(low), Ok(high)) = (low.parse::<u16>(), high.parse::<u16>())
                && (low..=high).contains(&port)
            {
                return true;
            }
        }
        !named
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STOCK: &str = r"v2.30|Action=Allow|Active=FALSE|Dir=In|Protocol=6|LPort=3389|App=%SystemRoot%\system32\svchost.exe|Svc=termservice|Name=@FirewallAPI.dll,-28775|Desc=@FirewallAPI.dll,-28756|EmbedCtxt=@FirewallAPI.dll,-28752|";

    #[test]
    fn a_rule_keeps_every_byte() {
        let rule = Rule::parse(STOCK).unwrap();
        assert_eq!(rule.to_text(), STOCK);
        assert_eq!(
            rule.activated().to_text(),
            STOCK.replace("Active=FALSE", "Active=TRUE")
        );
    }

    #[test]
    fn the_stock_rule_carries_its_port_only() {
        let rule = Rule::parse(STOCK).unwrap();
        assert!(!rule.is_active() && rule.activated().is_active());
        assert!(rule.allows_remote_desktop(3389));
        assert!(!rule.allows_remote_desktop(3390));
        assert_eq!(rule.profiles(), Profile::ALL);
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
        ] {
            assert!(
                !Rule::parse(&other).unwrap().allows_remote_desktop(3389),
                "{other}"
            );
        }
        let store_app =
            "v2.30|Action=Allow|Active=TRUE|Dir=In|Name=x|LUOwn=S-1-5-21-1|AppPkgId=S-1-15-2-1|";
        assert!(!Rule::parse(store_app).unwrap().allows_remote_desktop(3389));
        let range = STOCK.replace("LPort=3389", "LPort2_10=3000-4000");
        assert!(Rule::parse(&range).unwrap().allows_remote_desktop(3389));
        let any = STOCK.replace("LPort=3389|", "");
        assert!(Rule::parse(&any).unwrap().allows_remote_desktop(3389));
    }

    #[test]
    fn what_does_not_follow_the_grammar_is_no_rule() {
        for bad in [
            "",
            "v2.30",
            "2.30|Action=Allow|",
            "v2.30|Action|",
            "v2.30|Action=Allow",
        ] {
            assert_eq!(Rule::parse(bad), None, "{bad}");
        }
    }
}
