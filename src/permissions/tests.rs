// SPDX-License-Identifier: GPL-2.0-or-later
//! Changes of whole trees, on a volume that is a list in memory.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::*;
use crate::security::change::{Grant, grant, reset};
use crate::volume::{Entry, State};

/// Paths with their SDDL; a path that ends in `/` is a folder, one that ends in `>` a link.
#[derive(Debug)]
struct InMemory(BTreeMap<String, (EntryKind, Arc<[u8]>)>, State);

fn volume(entries: &[(&str, &str)]) -> InMemory {
    let entries = entries.iter().map(|(path, text)| {
        let kind = match path.chars().last() {
            Some('/') => EntryKind::Directory,
            Some('>') => EntryKind::Other,
            None => EntryKind::Directory,
            Some(_) => EntryKind::File,
        };
        let bytes = sddl::parse(text, None).unwrap().to_bytes().unwrap();
        let path = path.trim_end_matches(['/', '>']).to_owned();
        (path, (kind, bytes.into()))
    });
    InMemory(entries.collect(), State::default())
}

impl Volume for InMemory {
    fn state(&self) -> &State {
        &self.1
    }

    fn check_writable(&self) -> Result<()> {
        Ok(())
    }

    fn entry(&self, path: &str) -> Result<Option<Entry>> {
        Ok(self.0.get(path).map(|(kind, _)| Entry {
            name: path.rsplit('/').next().unwrap_or_default().to_owned(),
            kind: *kind,
            len: 0,
        }))
    }

    fn list(&self, _path: &str) -> Result<Vec<Entry>> {
        Ok(Vec::new())
    }

    fn read(&self, path: &str, _limit: u64) -> Result<Vec<u8>> {
        Err(not_there(path))
    }

    fn capacity(&self, path: &str) -> Result<u64> {
        Err(not_there(path))
    }

    fn replace(&self, path: &str, _content: &[u8]) -> Result<()> {
        Err(not_there(path))
    }

    fn tree(&self, path: &str) -> Result<Vec<TreeEntry>> {
        let below = format!("{path}/");
        let mut found: Vec<&String> = self
            .0
            .keys()
            .filter(|key| path.is_empty() || *key == path || key.starts_with(&below))
            .collect();
        // Depth first: the separator comes before every other character.
        found.sort_by_key(|path| path.replace('/', "\0"));
        Ok(found
            .into_iter()
            .map(|path| TreeEntry {
                path: path.clone(),
                kind: self.0[path].0,
            })
            .collect())
    }

    fn security(&self, paths: &[&str]) -> Result<Vec<Arc<[u8]>>> {
        let one = |path: &&str| self.0.get(*path).map(|(_, bytes)| Arc::clone(bytes));
        paths
            .iter()
            .map(|path| one(path).ok_or_else(|| not_there(path)))
            .collect()
    }
}

/// What the change gives each path that it touches, as SDDL.
fn given(change: &TreeChange) -> Vec<(String, String)> {
    let Some(Edit::SetSecurity { groups }) = &change.edit else {
        return Vec::new();
    };
    let mut given: Vec<(String, String)> = groups
        .iter()
        .flat_map(|group| {
            let text = sddl(&group.descriptor.0).unwrap();
            group
                .paths
                .iter()
                .map(move |path| (path.clone(), text.clone()))
        })
        .collect();
    given.sort();
    given
}

fn granting(text: &str) -> Box<Change<'static>> {
    let wanted = Grant::parse(text, &Names::new()).unwrap();
    Box::new(move |own, _, is_folder| grant(own, &wanted, is_folder))
}

fn pairs(expected: &[(&str, &str)]) -> Vec<(String, String)> {
    let pair = |(path, text): &(&str, &str)| ((*path).to_owned(), (*text).to_owned());
    expected.iter().map(pair).collect()
}

#[test]
fn a_grant_for_the_folder_alone_touches_nothing_else() {
    let volume = volume(&[
        ("", "O:SYG:SYD:P(A;OICI;FA;;;BA)"),
        ("a/", "O:SYG:SYD:AI(A;OICIID;FA;;;BA)"),
        ("a/b", "O:SYG:SYD:AI(A;ID;FA;;;BA)"),
    ]);
    let change = TreeChange::new(&volume, "a", false, &*granting("NETWORK SERVICE:R")).unwrap();
    let wanted = [("a", "O:SYG:SYD:AI(A;;FR;;;NS)(A;OICIID;FA;;;BA)")];
    assert_eq!(given(&change), pairs(&wanted));
}

#[test]
fn what_a_folder_hands_down_reaches_everything_unprotected() {
    let volume = volume(&[
        ("", "O:SYG:SYD:P"),
        ("a/", "O:SYG:SYD:P(A;OICI;FA;;;BA)"),
        ("a/b", "O:SYG:SYD:AI(A;;FR;;;WD)(A;ID;FA;;;BA)"),
        ("a/c/", "O:SYG:SYD:AI(A;OICIID;FA;;;BA)"),
        ("a/c/d", "O:SYG:SYD:AI(A;ID;FA;;;BA)"),
        ("a/link>", "O:SYG:SYD:AI(A;ID;FA;;;BA)"),
        ("a/shut/", "O:SYG:SYD:PAI(A;OICI;FA;;;SY)"),
        ("a/shut/e", "O:SYG:SYD:AI(A;ID;FA;;;SY)"),
        ("ab", "O:SYG:SYD:AI(A;ID;FA;;;BA)"),
    ]);
    let change = TreeChange::new(&volume, "a", false, &*granting("Users:(OI)(CI)RX")).unwrap();
    assert_eq!(
        given(&change),
        pairs(&[
            ("a", "O:SYG:SYD:P(A;OICI;0x1200a9;;;BU)(A;OICI;FA;;;BA)"),
            (
                "a/b",
                "O:SYG:SYD:AI(A;;FR;;;WD)(A;ID;0x1200a9;;;BU)(A;ID;FA;;;BA)"
            ),
            (
                "a/c",
                "O:SYG:SYD:AI(A;OICIID;0x1200a9;;;BU)(A;OICIID;FA;;;BA)"
            ),
            ("a/c/d", "O:SYG:SYD:AI(A;ID;0x1200a9;;;BU)(A;ID;FA;;;BA)"),
            ("a/shut", "O:SYG:SYD:PAI(A;OICI;FA;;;SY)"),
            ("a/shut/e", "O:SYG:SYD:AI(A;ID;FA;;;SY)"),
        ])
    );
    assert_eq!(change.left_alone, [r"left alone: \a\link: a link"]);
}

#[test]
fn recursion_changes_each_and_refusals_are_left_alone() {
    let volume = volume(&[
        ("", "O:SYG:SYD:P(A;OICI;FA;;;BA)"),
        ("a/", "O:SYG:SYD:PAI"),
        ("a/open", "O:SYG:SYD:NO_ACCESS_CONTROL"),
        ("a/x", "O:SYG:SYD:P(A;;FR;;;WD)"),
    ]);
    let change = TreeChange::new(&volume, "a", true, &*granting("SYSTEM:(OI)(CI)F")).unwrap();
    assert_eq!(
        given(&change),
        pairs(&[
            ("a", "O:SYG:SYD:PAI(A;OICI;FA;;;SY)"),
            ("a/x", "O:SYG:SYD:P(A;;FA;;;SY)(A;;FR;;;WD)"),
        ])
    );
    assert_eq!(change.left_alone.len(), 1);
    assert!(change.left_alone[0].contains(r"\a\open: it has no access control list"));

    let inherit: Box<Change<'_>> =
        Box::new(|own, above, is_folder| Ok(reset(own, above.expect("a folder above"), is_folder)));
    let change = TreeChange::new(&volume, "a", true, &*inherit).unwrap();
    assert_eq!(
        given(&change),
        pairs(&[
            ("a", "O:SYG:SYD:AI(A;OICIID;FA;;;BA)"),
            ("a/open", "O:SYG:SYD:AI(A;ID;FA;;;BA)"),
            ("a/x", "O:SYG:SYD:AI(A;ID;FA;;;BA)"),
        ])
    );
    assert!(TreeChange::new(&volume, "b", true, &*inherit).is_err());
}

#[test]
fn saved_and_restored() {
    let volume = volume(&[
        ("p/", "O:SYG:SYD:P(A;OICI;FA;;;BA)"),
        ("p/a/", "O:BAG:SYD:PAI(A;OICI;FA;;;SY)"),
        ("p/a/x", "O:BUG:SYD:AI(A;ID;FA;;;SY)"),
    ]);
    let listed = list(&volume, "p/a", true).unwrap();
    let (bytes, left_out) = save("p/a", &listed);
    assert!(left_out.is_empty());
    let lines = saved::parse(&bytes).unwrap();
    let names: Vec<&str> = lines.iter().map(|line| line.name.as_str()).collect();
    assert_eq!(names, ["a", r"a\x"]);
    let other = super::tests::volume(&[("p/", "O:SYG:SYD:P"), ("p/a/", "O:SYG:SYD:P")]);
    let change = restore(&other, "p", &lines).unwrap();
    assert_eq!(
        given(&change),
        pairs(&[("p/a", "O:SYG:SYD:PAI(A;OICI;FA;;;SY)")])
    );
    assert_eq!(change.left_alone, [r"left alone: \p\a\x: not there"]);
}

#[test]
fn a_listing_reads_like_that_of_icacls() {
    let volume = volume(&[
        ("p/", "O:SYG:SYD:PAI(A;OICI;FA;;;SY)(D;;FR;;;NS)"),
        ("p/a", "O:SYG:SYD:P"),
    ]);
    let listed = list(&volume, "p", true).unwrap();
    let mut out = Vec::new();
    let lines = listed.iter().map(super::Listed::line);
    let lines = lines.chain([("q", Ok(&b"no descriptor"[..]))]);
    assert_eq!(write_listing(lines, &Names::new(), &mut out).unwrap(), 1);
    let text = String::from_utf8(out).unwrap();
    let (head, tail) = text.split_once(r"\q: ").unwrap();
    assert_eq!(
        head,
        "\\p NT AUTHORITY\\SYSTEM:(OI)(CI)(F)\n   NT AUTHORITY\\NETWORK SERVICE:(DENY)(R)\n\n\\p\\a\n\n"
    );
    assert!(tail.ends_with("\n\nSuccessfully processed 2 files; Failed processing 1 files\n"));
}
