// SPDX-License-Identifier: GPL-2.0-or-later
//! The grammar that both kinds of rule share.
//!
//! ```text
//!   v2.30|Action=Allow|Active=TRUE|Profile=Domain|Profile=Private|...|
//!   ^version  ^fields, each closed by a bar; a key may repeat
//! ```
//!
//! Every field is kept, known or not, in its place and in its letters: writing gives back what was read.

/// A rule, split into its fields. [`Fields::to_text`] gives back exactly what was parsed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fields {
    version: String,
    fields: Vec<(String, String)>,
    /// Whether the last field is closed by a bar. Windows always does; readers of it do not ask.
    closed: bool,
}

/// What does not follow the grammar.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Malformed {
    /// It does not begin with `v`, a number, a point and a number.
    Version,
    /// A part has no `=`, such as one of the two halves of a name with a bar in it.
    Part(String),
}

impl std::fmt::Display for Malformed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Malformed::Version => f.write_str("it does not begin with a version such as v2.31"),
            Malformed::Part(part) => {
                let shown: String = part.chars().take(40).collect();
                write!(f, "the part {shown:?} has no =")
            }
        }
    }
}

impl Fields {
    /// Splits a rule.
    ///
    /// # Errors
    /// What does not follow the grammar.
    pub fn parse(text: &str) -> Result<Fields, Malformed> {
        let (body, closed) = match text.strip_suffix('|') {
            Some(body) => (body, true),
            None => (text, false),
        };
        let mut parts = body.split('|');
        let version = parts.next().filter(|version| is_version(version));
        let version = version.ok_or(Malformed::Version)?.to_owned();
        let fields = parts
            .map(|part| match part.split_once('=') {
                Some((key, value)) if !key.is_empty() => Ok((key.to_owned(), value.to_owned())),
                _ => Err(Malformed::Part(part.to_owned())),
            })
            .collect::<Result<_, _>>()?;
        Ok(Fields {
            version,
            fields,
            closed,
        })
    }

    /// New fields under a version token (`v2.30`).
    pub fn new(version: &str, fields: &[(&str, &str)]) -> Fields {
        Fields {
            version: version.to_owned(),
            fields: fields
                .iter()
                .map(|(key, value)| ((*key).to_owned(), (*value).to_owned()))
                .collect(),
            closed: true,
        }
    }

    /// The rule as the registry stores it.
    pub fn to_text(&self) -> String {
        let mut text = self.version.clone();
        for (key, value) in &self.fields {
            text.push('|');
            text.push_str(key);
            text.push('=');
            text.push_str(value);
        }
        if self.closed {
            text.push('|');
        }
        text
    }

    /// The version token.
    pub fn version(&self) -> &str {
        &self.version
    }

    /// All fields, in their order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.fields
            .iter()
            .map(|(key, value)| (key.as_str(), value.as_str()))
    }

    /// The values of a key, in their order.
    pub fn all<'a>(&'a self, key: &'a str) -> impl Iterator<Item = &'a str> {
        self.iter()
            .filter(move |(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value)
    }

    /// The value of a key that is there exactly once.
    pub fn only(&self, key: &str) -> Option<&str> {
        let mut values = self
            .iter()
            .filter(|(name, _)| name.eq_ignore_ascii_case(key))
            .map(|(_, value)| value);
        let first = values.next();
        values.next().is_none().then_some(first).flatten()
    }

    /// True when the key is there.
    pub fn has(&self, key: &str) -> bool {
        self.iter().any(|(name, _)| name.eq_ignore_ascii_case(key))
    }

    /// The same with another value in the only field of a key; `None` when it is not there exactly once.
    #[must_use]
    pub fn with(&self, key: &str, value: &str) -> Option<Fields> {
        self.only(key)?;
        let mut changed = self.clone();
        for (name, old) in &mut changed.fields {
            if name.eq_ignore_ascii_case(key) {
                value.clone_into(old);
            }
        }
        Some(changed)
    }

    /// The same without any field of a key.
    #[must_use]
    pub fn without(&self, key: &str) -> Fields {
        let mut changed = self.clone();
        changed
            .fields
            .retain(|(name, _)| !name.eq_ignore_ascii_case(key));
        changed
    }
}

/// `v2.31`: a major and a minor number.
fn is_version(text: &str) -> bool {
    let number = |text: &str| !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit());
    text.strip_prefix('v')
        .and_then(|rest| rest.split_once('.'))
        .is_some_and(|(major, minor)| number(major) && number(minor))
}

/// What a list of ports says of one of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ports {
    /// It names no port: all are meant.
    All,
    /// The port is among them.
    Has,
    /// It is not.
    HasNot,
    /// It is not, and a word such as `RPC` is among them, whose ports are not known.
    Unknown,
}

/// What the values of port fields, such as `3389`, `3000-4000` and `RPC`, say of a port.
pub(super) fn ports<'a>(values: impl Iterator<Item = &'a str>, port: u16) -> Ports {
    let (mut any, mut words) = (false, false);
    for value in values.map(str::trim).filter(|value| !value.is_empty()) {
        any = true;
        let (low, high) = value.split_once('-').unwrap_or((value, value));
        match (low.trim().parse::<u16>(), high.trim().parse::<u16>()) {
            (Ok(low), Ok(high)) if (low..=high).contains(&port) => return Ports::Has,
            (Ok(_), Ok(_)) => {}
            _ => words = true,
        }
    }
    match (any, words) {
        (false, _) => Ports::All,
        (true, true) => Ports::Unknown,
        (true, false) => Ports::HasNot,
    }
}
