// SPDX-License-Identifier: GPL-2.0-or-later
//! What the stores come to: whether a connection to Remote Desktop's listener gets through, and why (not).
//!
//! ```text
//!   firewall off in this profile (policy's word, else the own one)         -> open
//!   DoNotAllowExceptions on in either store                                -> dropped, rules do not count
//!   a block rule of policy, or an own one where policy lets them count     -> dropped: a block beats an allow
//!   an allow rule, likewise; an exception of XP's kind in policy           -> open
//!   DefaultInboundAction 0 (policy's word, else the own one)               -> open
//!   nothing                                                                -> dropped
//! ```
//!
//! The order of the merge is [MS-FASP] 2.2.38: for EnableFirewall and DefaultInboundAction the policy's value wins
//! where there is one, for DoNotAllowExceptions the value "on" wins, and AllowLocalPolicyMerge is policy's alone.

use super::rule::Match;
use super::store::{LegacyException, Named, Origin, Setting, Store};
use super::{Profile, Rule};

/// Who listens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Listener {
    /// The TCP port.
    pub port: u16,
    /// Whether a driver listens, as before Windows 8, and not the service in its process.
    pub in_kernel: bool,
}

impl Listener {
    /// Whether rules for this program reach the listener: surely, on another generation of Windows, or never.
    pub(super) fn is_served_by(self, app: &str) -> Option<bool> {
        let app = app.to_ascii_lowercase();
        if app == "system" {
            return Some(self.in_kernel);
        }
        app.ends_with(r"\svchost.exe").then_some(!self.in_kernel)
    }
}

/// The stores of one control set.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effective {
    /// The machine's own store.
    pub local: Store,
    /// The store of Group Policy.
    pub policy: Store,
    /// The rules of device management; its settings are not known here.
    pub management: Store,
}

/// A rule with the store it stands in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Placed<'a> {
    /// The store.
    pub origin: Origin,
    /// The rule.
    pub named: &'a Named<Rule>,
}

/// What the firewall does with connections to the listener in one profile.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict<'a> {
    /// The firewall is off.
    Off(Origin),
    /// A rule lets them in.
    Allowed(Placed<'a>),
    /// An exception of XP's kind lets them in.
    Exception(&'a LegacyException),
    /// No rule does, but what no rule is about is let in.
    OpenByDefault(Origin),
    /// They are dropped, for each of these reasons.
    Dropped(Vec<Obstacle<'a>>),
    /// A setting that decides cannot be judged.
    Unclear,
}

/// Why connections are dropped. With every obstacle out of the way they get through.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Obstacle<'a> {
    /// All exceptions are switched off: in which store, and in which key of it.
    NoExceptions(Origin, &'a str),
    /// A rule drops them.
    Blocked(Placed<'a>),
    /// Policy drops the machine's own rules, and has none that lets them in; the key of that setting.
    OwnRulesDropped(&'a str),
    /// No rule lets them in that counts, or would if policy let it.
    NoRule,
}

impl Verdict<'_> {
    /// True when connections get through; `None` when it is not known.
    pub fn is_open(&self) -> Option<bool> {
        match self {
            Verdict::Dropped(_) => Some(false),
            Verdict::Unclear => None,
            _ => Some(true),
        }
    }
}

impl Effective {
    /// The store of an origin.
    pub fn store(&self, origin: Origin) -> &Store {
        match origin {
            Origin::Local => &self.local,
            Origin::Policy => &self.policy,
            Origin::Management => &self.management,
        }
    }

    /// The setting that counts where the policy's word wins: the first of both that is not absent.
    fn winner(
        &self,
        profile: Profile,
        choose: impl Fn(&super::Settings) -> &Setting,
    ) -> (Origin, &Setting) {
        let policy = choose(self.policy.settings(profile));
        match policy {
            Setting::Absent => (Origin::Local, choose(self.local.settings(profile))),
            set => (Origin::Policy, set),
        }
    }

    /// False when policy drops the machine's own rules in a profile.
    fn own_rules_count(&self, profile: Profile) -> bool {
        self.policy.settings(profile).local_rules.value() != Some(0)
    }

    /// The active rules of a store that hold in a profile.
    fn active(&self, origin: Origin, profile: Profile) -> impl Iterator<Item = Placed<'_>> {
        self.store(origin)
            .rules
            .iter()
            .filter(move |named| named.rule.is_active() && named.rule.profiles().contains(&profile))
            .map(move |named| Placed { origin, named })
    }

    /// The active rules of all stores that count in a profile.
    fn counting(&self, profile: Profile) -> impl Iterator<Item = Placed<'_>> {
        let own = self.own_rules_count(profile);
        let own = own.then(|| self.active(Origin::Local, profile));
        self.active(Origin::Policy, profile)
            .chain(self.active(Origin::Management, profile))
            .chain(own.into_iter().flatten())
    }

    /// The rules that let connections to the listener in, in a profile, where none blocks them.
    pub fn allowing(&self, profile: Profile, listener: Listener) -> Vec<Placed<'_>> {
        self.counting(profile)
            .filter(|placed| placed.named.rule.can_allow(listener))
            .collect()
    }

    /// The rules that drop connections to the listener in a profile, with whether they drop all of them.
    pub fn blocking(&self, profile: Profile, listener: Listener) -> Vec<(Placed<'_>, Match)> {
        self.counting(profile)
            .map(|placed| (placed, placed.named.rule.can_block(listener)))
            .filter(|(_, blocks)| *blocks != Match::No)
            .collect()
    }

    /// What happens to a connection to the listener in a profile.
    pub fn verdict(&self, profile: Profile, listener: Listener) -> Verdict<'_> {
        let (origin, enable) = self.winner(profile, |settings| &settings.enable);
        match enable {
            Setting::Set { value: 0, .. } => return Verdict::Off(origin),
            Setting::Unclear { .. } => return Verdict::Unclear,
            _ => {}
        }
        let mut obstacles = Vec::new();
        for origin in [Origin::Policy, Origin::Local] {
            match &self.store(origin).settings(profile).no_exceptions {
                Setting::Absent | Setting::Set { value: 0, .. } => {}
                Setting::Set { key, .. } => obstacles.push(Obstacle::NoExceptions(origin, key)),
                Setting::Unclear { .. } => return Verdict::Unclear,
            }
        }
        let blocking = self.blocking(profile, listener).into_iter();
        let surely = blocking.filter(|(_, blocks)| *blocks == Match::Yes);
        obstacles.extend(surely.map(|(placed, _)| Obstacle::Blocked(placed)));

        let way_in = self.way_in(profile, listener);
        if matches!(way_in, Verdict::Unclear) {
            return way_in;
        }
        if let Verdict::Dropped(more) = way_in {
            obstacles.extend(more);
            return Verdict::Dropped(obstacles);
        }
        match obstacles.is_empty() {
            true => way_in,
            false => Verdict::Dropped(obstacles),
        }
    }

    /// What lets a connection in that nothing blocks.
    fn way_in(&self, profile: Profile, listener: Listener) -> Verdict<'_> {
        if let Some(rule) = self.allowing(profile, listener).into_iter().next() {
            return Verdict::Allowed(rule);
        }
        let mut exceptions = self.policy.settings(profile).legacy.iter();
        if let Some(exception) = exceptions.find(|exception| exception.port == listener.port) {
            return Verdict::Exception(exception);
        }
        let (origin, inbound) = self.winner(profile, |settings| &settings.default_inbound);
        match inbound {
            Setting::Set { value: 0, .. } => return Verdict::OpenByDefault(origin),
            Setting::Unclear { .. } => return Verdict::Unclear,
            _ => {}
        }
        match &self.policy.settings(profile).local_rules {
            Setting::Unclear { .. } => Verdict::Unclear,
            Setting::Set { value: 0, key } => {
                // Once they count again, so do the ones that block, and one that allows may be missing.
                let own = || self.active(Origin::Local, profile);
                let mut obstacles = vec![Obstacle::OwnRulesDropped(key)];
                obstacles.extend(
                    own()
                        .filter(|placed| placed.named.rule.can_block(listener) == Match::Yes)
                        .map(Obstacle::Blocked),
                );
                if !own().any(|placed| placed.named.rule.can_allow(listener)) {
                    obstacles.push(Obstacle::NoRule);
                }
                Verdict::Dropped(obstacles)
            }
            _ => Verdict::Dropped(vec![Obstacle::NoRule]),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::firewall::Settings;

    const HERE: Listener = Listener {
        port: 3389,
        in_kernel: false,
    };
    const ALLOW: &str = "v2.31|Action=Allow|Active=TRUE|Dir=In|Protocol=6|LPort=3389|Name=a|";
    const BLOCK: &str = "v2.31|Action=Block|Active=TRUE|Dir=In|Protocol=6|LPort=3389|Name=b|";

    fn store(rules: &[&str]) -> Store {
        let rules = rules.iter().map(|text| Named {
            name: "rule".to_owned(),
            rule: Rule::parse(text).unwrap(),
        });
        Store {
            rules: rules.collect(),
            ..Store::default()
        }
    }

    fn set(value: u32) -> Setting {
        Setting::Set {
            value,
            key: "key".to_owned(),
        }
    }

    fn everywhere(store: Store, settings: &Settings) -> Store {
        Store {
            profiles: [(); 3].map(|()| settings.clone()),
            ..store
        }
    }

    fn open(local: Store, policy: Store) -> Vec<Option<bool>> {
        let effective = Effective {
            local,
            policy,
            management: Store::default(),
        };
        let verdicts = Profile::ALL.map(|profile| effective.verdict(profile, HERE).is_open());
        verdicts.to_vec()
    }

    #[test]
    fn a_block_beats_an_allow_wherever_they_stand() {
        let (yes, no) = ([Some(true); 3], [Some(false); 3]);
        assert_eq!(open(store(&[ALLOW]), store(&[])), yes);
        assert_eq!(open(store(&[]), store(&[ALLOW])), yes);
        assert_eq!(open(store(&[ALLOW, BLOCK]), store(&[])), no);
        assert_eq!(open(store(&[BLOCK]), store(&[ALLOW])), no);
        assert_eq!(open(store(&[ALLOW]), store(&[BLOCK])), no);
        let public = BLOCK.replace("Protocol", "Profile=Public|Protocol");
        assert_eq!(
            open(store(&[ALLOW, &public]), store(&[])),
            [Some(true), Some(true), Some(false)]
        );
        assert_eq!(open(store(&[]), store(&[])), no);
    }

    #[test]
    fn policy_can_drop_the_machines_own_rules() {
        let drops = Settings {
            local_rules: set(0),
            ..Settings::default()
        };
        let effective = Effective {
            local: store(&[ALLOW]),
            policy: everywhere(store(&[]), &drops),
            management: Store::default(),
        };
        let dropped = Verdict::Dropped(vec![Obstacle::OwnRulesDropped("key")]);
        assert_eq!(effective.verdict(Profile::Public, HERE), dropped);
        // The rules of device management are not the machine's own.
        let managed = Effective {
            management: store(&[ALLOW]),
            ..effective
        };
        let verdict = managed.verdict(Profile::Public, HERE);
        assert_eq!(verdict.is_open(), Some(true));
        // Own block rules are dropped likewise.
        assert_eq!(
            open(store(&[BLOCK]), everywhere(store(&[ALLOW]), &drops)),
            [Some(true); 3]
        );
    }

    #[test]
    fn settings_merge_as_documented() {
        let settings = |enable, no_exceptions, default_inbound| Settings {
            enable,
            no_exceptions,
            default_inbound,
            ..Settings::default()
        };
        let none = || Setting::Absent;
        let open_with = |local: Settings, policy: Settings| {
            let both = open(
                everywhere(store(&[]), &local),
                everywhere(store(&[]), &policy),
            );
            both.first().copied().flatten()
        };
        let quiet = || settings(none(), none(), none());
        // The policy's word on the firewall wins, whichever it is.
        let off = || settings(set(0), none(), none());
        let on = || settings(set(1), none(), none());
        assert_eq!(open_with(off(), quiet()), Some(true));
        assert_eq!(open_with(on(), off()), Some(true));
        assert_eq!(open_with(off(), on()), Some(false));
        // So it does on what no rule is about.
        let allow = || settings(none(), none(), set(0));
        let block = || settings(none(), none(), set(1));
        assert_eq!(open_with(allow(), quiet()), Some(true));
        assert_eq!(open_with(allow(), block()), Some(false));
        assert_eq!(open_with(block(), allow()), Some(true));
        // Of the exceptions' switch "on" wins, and a firewall that is off has none.
        let shut = || settings(none(), set(1), set(0));
        let not_shut = || settings(none(), set(0), set(0));
        assert_eq!(open_with(shut(), not_shut()), Some(false));
        assert_eq!(open_with(not_shut(), shut()), Some(false));
        assert_eq!(open_with(shut(), off()), Some(true));
        // What cannot be judged is neither.
        let unclear = || Setting::Unclear {
            key: "key".to_owned(),
            found: "REG_SZ".to_owned(),
        };
        assert_eq!(
            open_with(settings(unclear(), none(), none()), quiet()),
            None
        );
        assert_eq!(
            open_with(settings(unclear(), none(), none()), off()),
            Some(true)
        );
    }

    #[test]
    fn every_obstacle_is_named() {
        let shut = Settings {
            local_rules: set(0),
            no_exceptions: set(1),
            ..Settings::default()
        };
        let effective = Effective {
            local: store(&[BLOCK]),
            policy: everywhere(store(&[BLOCK]), &shut),
            management: Store::default(),
        };
        let Verdict::Dropped(obstacles) = effective.verdict(Profile::Domain, HERE) else {
            panic!("open");
        };
        let kinds: Vec<&str> = obstacles
            .iter()
            .map(|obstacle| match obstacle {
                Obstacle::NoExceptions(Origin::Policy, _) => "shut by policy",
                Obstacle::NoExceptions(Origin::Local, _) => "shut",
                Obstacle::Blocked(placed) if placed.origin == Origin::Policy => "policy's block",
                Obstacle::NoExceptions(Origin::Management, _) => "shut by management",
                Obstacle::Blocked(_) => "own block",
                Obstacle::OwnRulesDropped(_) => "own rules dropped",
                Obstacle::NoRule => "no rule",
            })
            .collect();
        assert_eq!(
            kinds,
            [
                "shut by policy",
                "policy's block",
                "own rules dropped",
                "own block",
                "no rule"
            ]
        );
    }

    #[test]
    fn an_exception_of_the_old_kind_counts() {
        let exception = Settings {
            legacy: vec![LegacyException {
                key: "key".to_owned(),
                addresses: "*".to_owned(),
                port: 3389,
            }],
            ..Settings::default()
        };
        let policy = everywhere(store(&[]), &exception);
        assert_eq!(open(store(&[]), policy), [Some(true); 3]);
    }
}
