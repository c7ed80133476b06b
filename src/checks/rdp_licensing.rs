// SPDX-License-Identifier: GPL-2.0-or-later
//! The grace period of the Remote Desktop Session Host role.
//!
//! The role runs for 120 days without a licence server and then refuses sessions, other than those of
//! administrators who ask for one (`mstsc /admin`). What the value holds is sealed; that it is there says that the
//! period has begun, and its key's time when.

use crate::edit::HiveName;
use crate::windows::{ControlSet, Reading, from_filetime, value};

use super::{Check, Facts, Finding, Gathered, Problem, Run, Severity, Stage};

const GRACE: &str = r"Control\Terminal Server\RCM\GracePeriod";
const SEALED: &str = "L$RTMTIMEBOMB_";
const SERVERS: &str = r"Services\TermService\Parameters\LicenseServers";
const SERVERS_NAME: &str = "SpecifiedLicenseServers";
const POLICY_NAME: &str = "LicenseServers";

/// The grace period.
const DAYS: i64 = 120;

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-specific-rdp-errors",
];

const OVER: Problem = Problem {
    id: "rdp-licensing.grace-period",
    title: "The grace period of the Session Host role seems to be over",
    severity: Severity::Risk,
    stage: Stage::Session,
    trigger: "A value L$RTMTIMEBOMB_... is in RCM\\GracePeriod, the key was last written more than 120 days ago, and no licence server is named in TermService or policy.",
    cause: "Without a licence server the role then refuses sessions. Connect with `mstsc /admin`, and name a licence server or remove the role. coldfix does not reset the period: that would go round the licence.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "rdp-licensing",
    title: "The Session Host role is licensed, or in its grace period, or not installed",
    looks_at: "Terminal Server\\RCM\\GracePeriod and when it was written, SpecifiedLicenseServers of TermService, and the policy LicenseServers.",
    healthy: "No such value; or a licence server; or a key written in the last 120 days.",
    problems: &[&OVER],
    source: SOURCE,
    run: Run::System(run),
};

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let mut over = Gathered::new(&OVER, SOURCE);
    for set in facts.sets() {
        let key = set.path(GRACE);
        let values = facts.registry().values(HiveName::System, &key);
        let Some((name, _, _)) = values.iter().find(|(name, _, _)| {
            let head = name.get(..SEALED.len());
            head.is_some_and(|head| head.eq_ignore_ascii_case(SEALED))
        }) else {
            continue;
        };
        let Some(days) = age(facts, &key) else {
            continue;
        };
        if days <= DAYS || has_server(facts, set) {
            continue;
        }
        over.add(
            set.is_active(),
            format!(r"{}\{name}", HiveName::System.full_path(&key)),
            format!("in a key last written {days} days ago; no licence server is named"),
            "no value, a licence server, or at most 120 days",
            [],
        );
    }
    over.into_finding().into_iter().collect()
}

/// How many days ago a key of SYSTEM was written.
fn age(facts: &Facts<'_>, key: &str) -> Option<i64> {
    const SECONDS_A_DAY: i64 = 86_400;
    let written = facts.registry().last_written(HiveName::System, key)?;
    let written = from_filetime(written)?.as_second();
    let passed = facts.now.as_second().checked_sub(written)?;
    passed.checked_div(SECONDS_A_DAY)
}

/// Whether a licence server is named anywhere. What cannot be read counts as one: nothing is concluded from it.
fn has_server(facts: &Facts<'_>, set: &ControlSet) -> bool {
    let named = |hive, key: &str, name: &str| match facts.registry().raw(hive, key, name) {
        Reading::Found((kind, data)) => match kind {
            value::SZ | value::EXPAND_SZ => {
                value::text(&data).is_none_or(|text| !text.trim().is_empty())
            }
            value::MULTI_SZ => value::multi_text(&data).is_none_or(|parts| !parts.is_empty()),
            _ => true,
        },
        Reading::NoValue | Reading::NoKey => false,
        Reading::Malformed(_) | Reading::Unreadable(_) => true,
    };
    named(HiveName::System, &set.path(SERVERS), SERVERS_NAME)
        || named(
            HiveName::Software,
            crate::windows::rdp_settings::POLICY,
            POLICY_NAME,
        )
}
