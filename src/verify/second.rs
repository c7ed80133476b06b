// SPDX-License-Identifier: GPL-2.0-or-later
//! One rule for what the second reader of a hive, nt-hive, says of an edit.
//!
//! Whether a key or value is there, it always says, and then it has to say the same as we do. What is in a value it
//! cannot always read: then the edit is not confirmed by it, which is reported and no failure.

use crate::hive::second_opinion::SecondOpinion;

/// What an edit has made.
#[derive(Clone, Copy, Debug)]
pub(super) enum Wanted<'a> {
    /// No such key or value.
    Nothing,
    /// The key.
    Key,
    /// The value, with this type and data.
    Value(u32, &'a [u8]),
}

/// Whether the second reader finds it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Second {
    /// It finds the same.
    Confirms,
    /// It finds something else.
    Denies,
    /// It cannot read what is there, for this reason.
    CannotSay(String),
}

pub(super) fn second(opinion: SecondOpinion, wanted: Wanted<'_>) -> Second {
    let is_same = match (opinion, wanted) {
        (SecondOpinion::CannotSay(why), Wanted::Value(..)) => return Second::CannotSay(why),
        (SecondOpinion::Value { kind, data }, Wanted::Value(wanted, bytes)) => {
            kind.is_none_or(|kind| kind == wanted) && data == bytes
        }
        (SecondOpinion::Absent, Wanted::Nothing) | (SecondOpinion::Key, Wanted::Key) => true,
        _ => false,
    };
    match is_same {
        true => Second::Confirms,
        false => Second::Denies,
    }
}

/// What is reported of an edit that the second reader cannot confirm.
pub(super) fn unconfirmed(place: &str, why: &str) -> String {
    format!("{place} was read back by one reader only: {why}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_cannot_be_read_confirms_nothing() {
        let opinions = [
            SecondOpinion::Absent,
            SecondOpinion::Key,
            SecondOpinion::Value {
                kind: Some(3),
                data: vec![1],
            },
            SecondOpinion::CannotSay("long".to_owned()),
        ];
        let says = |wanted: Wanted<'_>| opinions.clone().map(|opinion| second(opinion, wanted));
        let (yes, no) = (Second::Confirms, Second::Denies);
        let unread = Second::CannotSay("long".to_owned());
        let cases = [
            (Wanted::Nothing, [&yes, &no, &no, &no]),
            (Wanted::Key, [&no, &yes, &no, &no]),
            (Wanted::Value(3, &[1]), [&no, &no, &yes, &unread]),
            (Wanted::Value(3, &[2]), [&no, &no, &no, &unread]),
            (Wanted::Value(4, &[1]), [&no, &no, &no, &unread]),
        ];
        for (wanted, expected) in cases {
            assert_eq!(says(wanted), expected.map(Clone::clone), "{wanted:?}");
        }
    }
}
