// SPDX-License-Identifier: GPL-2.0-or-later
//! Sign-ins that failed: whose, why, from where, and whether somebody guesses passwords.

use std::collections::BTreeMap;

use jiff::Timestamp;

use crate::evtx::Event;
use crate::windows::LoggedEvent;

use super::signs::{self, Sign, Why};

/// The codes of Status and SubStatus that tell why.
const REASONS: [(u32, &str); 24] = [
    (0xc000_0064, "there is no such account"),
    (0xc000_006a, "wrong password"),
    (0xc000_006d, "wrong user name or password"),
    (
        0xc000_006e,
        "the account is restricted (a blank password, hours, or machines)",
    ),
    (0xc000_006f, "outside the hours the account may sign in"),
    (0xc000_0070, "not from this machine"),
    (0xc000_0071, "the password has expired"),
    (0xc000_0072, "the account is disabled"),
    (
        0xc000_0133,
        "the clocks of the two machines differ too much",
    ),
    (0xc000_015b, "the account has no right to sign in this way"),
    (0xc000_018c, "the domains do not trust each other"),
    (0xc000_018d, "the machine's trust in its domain is broken"),
    (0xc000_0192, "the Netlogon service does not run"),
    (0xc000_0193, "the account has expired"),
    (0xc000_0224, "the password must be changed first"),
    (
        0xc000_0225,
        "not found: a fault in Windows, not of the account",
    ),
    (0xc000_0234, "the account is locked"),
    (0xc000_02ee, "the sign-in ended with an error"),
    (0xc000_0388, "an attempt to downgrade the protocol"),
    (
        0xc000_0413,
        "the account may not sign in to this machine (authentication firewall)",
    ),
    (0xc000_005e, "no domain controller answered"),
    (0xc000_00dc, "the domain controller is in the wrong state"),
    (0x8009_0302, "NTLM is not allowed"),
    (0x8009_030e, "no credentials that can be used"),
];

/// How many names are counted one by one; ours. What comes after them is counted together.
const MOST_NAMES: usize = 4096;

/// The code that says most.
fn code(event: &Event) -> Option<u32> {
    let number = |name| {
        let text = event.field(name).trim();
        let digits = text
            .strip_prefix("0x")
            .or_else(|| text.strip_prefix("0X"))?;
        u32::from_str_radix(digits, 16)
            .ok()
            .filter(|code| *code != 0)
    };
    number("SubStatus").or_else(|| number("Status"))
}

/// Why, in words.
pub(super) fn reason(event: &Event) -> String {
    let Some(code) = code(event) else {
        return "no reason is told".to_owned();
    };
    match REASONS.iter().find(|(known, _)| *known == code) {
        Some((_, words)) => format!("{words} ({code:#x})"),
        None => format!("{code:#x}"),
    }
}

/// Why, as far as another finding may explain it.
pub(super) fn why(event: &Event) -> Why {
    match code(event) {
        Some(0xc000_0072) => Why::Disabled,
        Some(0xc000_0234) => Why::Locked,
        Some(0xc000_0193) => Why::Expired,
        Some(0xc000_0071 | 0xc000_0224) => Why::PasswordExpired,
        Some(0xc000_006e) => Why::Restricted,
        Some(0xc000_015b) => Why::Right,
        _ => Why::Other,
    }
}

/// Who.
pub(super) fn account(event: &Event) -> String {
    match event.field("TargetUserName") {
        "" | "-" => "an account that is not told".to_owned(),
        name => signs::qualified(event.field("TargetDomainName"), name),
    }
}

/// From where; `None` where that is not told.
pub(super) fn source(event: &Event) -> Option<&str> {
    let told = |text: &&str| !matches!(*text, "" | "-");
    Some(event.field("IpAddress"))
        .filter(told)
        .or_else(|| Some(event.field("WorkstationName")).filter(told))
}

/// How often each of some names came.
#[derive(Debug, Default)]
pub(super) struct Counts {
    by_name: BTreeMap<String, u64>,
    others: u64,
}

impl Counts {
    fn count(&mut self, name: String) {
        if self.by_name.len() >= MOST_NAMES && !self.by_name.contains_key(&name) {
            self.others = self.others.saturating_add(1);
            return;
        }
        let count = self.by_name.entry(name).or_default();
        *count = count.saturating_add(1);
    }

    /// How many names.
    pub(super) fn names(&self) -> usize {
        self.by_name.len()
    }

    /// The most frequent, as `name (12), name (3) and 7 more`.
    pub(super) fn shown(&self) -> String {
        const MOST: usize = 5;
        let mut names: Vec<(&String, u64)> = self
            .by_name
            .iter()
            .map(|(name, count)| (name, *count))
            .collect();
        names.sort_by_key(|(_, count)| std::cmp::Reverse(*count));
        let mut text: Vec<String> = names
            .iter()
            .take(MOST)
            .map(|(name, count)| format!("{name} ({count})"))
            .collect();
        let more = names.len().saturating_sub(MOST);
        if more > 0 || self.others > 0 {
            let at_least = if self.others > 0 { "at least " } else { "" };
            text.push(format!("{at_least}{more} more"));
        }
        text.join(", ")
    }

    fn highest(&self) -> u64 {
        self.by_name.values().copied().max().unwrap_or(0)
    }
}

/// The failures of a log.
#[derive(Debug, Default)]
pub(super) struct Failures {
    pub(super) count: u64,
    pub(super) first: Option<Timestamp>,
    pub(super) last: Option<Timestamp>,
    pub(super) reasons: Counts,
    pub(super) accounts: Counts,
    pub(super) sources: Counts,
}

impl Failures {
    /// Counts the events of one sign, newest first.
    pub(super) fn gather<'e>(events: impl Iterator<Item = &'e LoggedEvent>) -> Failures {
        let mut found = Failures::default();
        for logged in events {
            let event = &logged.event;
            found.count = found.count.saturating_add(1);
            found.last = found.last.or(Some(logged.time));
            found.first = Some(logged.time);
            if signs::sign(logged) == Some(Sign::ConnectionRefused) {
                found.sources.count(event.field("IPString").to_owned());
                continue;
            }
            found.reasons.count(reason(event));
            found.accounts.count(account(event));
            if let Some(source) = source(event) {
                found.sources.count(source.to_owned());
            }
        }
        found
    }

    /// Whether that many look like guesses: not one user who mistypes, but many attempts from one address, or from
    /// many, or for many accounts.
    pub(super) fn are_guesses(&self) -> bool {
        const MANY_ATTEMPTS: u64 = 50;
        const MANY_NAMES: usize = 10;
        self.count >= MANY_ATTEMPTS
            && (self.sources.highest() >= MANY_ATTEMPTS
                || self.sources.names() >= MANY_NAMES
                || self.accounts.names() >= MANY_NAMES)
    }
}
