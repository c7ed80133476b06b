// SPDX-License-Identifier: GPL-2.0-or-later
//! Edits of files: security descriptors and names, applied through the volume.
//!
//! A descriptor counts as changed when it says something else, not when only its layout differs: equal ones
//! are left alone, so that a healthy disk gets no write.

use std::collections::HashMap;
use std::sync::Arc;

use crate::edit::{Edit, HexBytes, SecurityGroup};
use crate::error::{Error, Result};
use crate::security::{Descriptor, sddl};
use crate::volume::Volume;

use super::Step;

/// How many descriptors a step names before it only counts them.
const NAMED: usize = 3;

/// Gives each path its descriptor where it says something else now.
pub(super) fn set_security(
    volume: &dyn Volume,
    groups: &[SecurityGroup],
    reason: &str,
    now: u64,
) -> Result<Option<Step>> {
    let mut changed = Vec::new();
    let mut before = Vec::new();
    let paths: Vec<&str> = groups
        .iter()
        .flat_map(|group| group.paths.iter().map(String::as_str))
        .collect();
    let all = volume.security(&paths)?;
    let mut current = all.iter();
    for group in groups {
        let wanted = Descriptor::parse(&group.descriptor.0)?;
        // By address: equal descriptors are shared, and stay while `all` does.
        let mut judged: HashMap<usize, bool> = HashMap::new();
        let mut different = Vec::new();
        for (path, current) in group.paths.iter().zip(current.by_ref()) {
            // A descriptor that cannot be read says something else, whatever it says.
            let same = *judged
                .entry(current.as_ptr().addr())
                .or_insert_with(|| same(current, &wanted));
            if !same {
                different.push(path.as_str());
                before.push((path.clone(), Arc::clone(current)));
            }
        }
        if different.is_empty() {
            continue;
        }
        volume.set_security(&group.descriptor.0, &different, now)?;
        changed.push(SecurityGroup {
            descriptor: group.descriptor.clone(),
            paths: different.into_iter().map(str::to_owned).collect(),
        });
    }
    if changed.is_empty() {
        return Ok(None);
    }
    let inverse = grouped(&before);
    Ok(Some(Step {
        reason: reason.to_owned(),
        before: describe(&inverse),
        after: describe(&changed),
        inverse: vec![Edit::SetSecurity { groups: inverse }],
        edit: Edit::SetSecurity { groups: changed },
    }))
}

/// Whether these bytes are a descriptor that says the same as `wanted`.
pub(super) fn same(bytes: &[u8], wanted: &Descriptor) -> bool {
    Descriptor::parse(bytes).is_ok_and(|read| read.says_the_same(wanted))
}

/// The paths by their descriptor, in the order in which these first come.
fn grouped(paths: &[(String, Arc<[u8]>)]) -> Vec<SecurityGroup> {
    let mut groups: Vec<SecurityGroup> = Vec::new();
    let mut known: HashMap<&[u8], usize> = HashMap::new();
    // Equal descriptors are mostly shared: the address is asked first.
    let mut places: HashMap<usize, usize> = HashMap::new();
    for (path, descriptor) in paths {
        let place = places.entry(descriptor.as_ptr().addr()).or_insert_with(|| {
            *known.entry(descriptor).or_insert_with(|| {
                groups.push(SecurityGroup {
                    descriptor: HexBytes(descriptor.to_vec()),
                    paths: Vec::new(),
                });
                groups.len().saturating_sub(1)
            })
        });
        if let Some(group) = groups.get_mut(*place) {
            group.paths.push(path.clone());
        }
    }
    groups
}

/// The descriptors for a person: each as SDDL, with how many paths have it when there are several.
fn describe(groups: &[SecurityGroup]) -> String {
    let total: usize = groups.iter().map(|group| group.paths.len()).sum();
    let mut parts: Vec<String> = groups
        .iter()
        .take(NAMED)
        .map(|group| match total {
            1 => shown(&group.descriptor.0),
            _ => format!("{} with {}", group.paths.len(), shown(&group.descriptor.0)),
        })
        .collect();
    match groups.len().saturating_sub(NAMED) {
        0 => {}
        more => parts.push(format!("and {more} other descriptors")),
    }
    parts.join("; ")
}

/// A descriptor as SDDL; what SDDL cannot say is counted only.
pub(crate) fn shown(descriptor: &[u8]) -> String {
    let text = Descriptor::parse(descriptor).and_then(|read| sddl::format(&read, None));
    text.unwrap_or_else(|_| {
        format!(
            "a descriptor of {} bytes that has no text form",
            descriptor.len()
        )
    })
}

/// Gives a file or folder another name.
pub(super) fn rename(
    volume: &dyn Volume,
    path: &str,
    name: &str,
    reason: &str,
    now: u64,
) -> Result<Option<Step>> {
    let Some(entry) = volume.entry(path)? else {
        return Err(Error::refused(
            format!(
                "{} is not there, so it cannot be renamed",
                crate::edit::windows_path(path)
            ),
            "check the path; `coldfix acl show TARGET FOLDER -r` lists what is in a folder",
        ));
    };
    if entry.name == name {
        return Ok(None);
    }
    volume.rename(path, name, now)?;
    Ok(Some(Step {
        edit: Edit::Rename {
            path: path.to_owned(),
            name: name.to_owned(),
        },
        reason: reason.to_owned(),
        before: entry.name.clone(),
        after: name.to_owned(),
        inverse: vec![Edit::Rename {
            path: renamed(path, name),
            name: entry.name,
        }],
    }))
}

/// The path after its last part has become `name`.
pub(crate) fn renamed(path: &str, name: &str) -> String {
    match path.rsplit_once(['/', '\\']) {
        Some((folder, _)) => format!("{folder}/{name}"),
        None => name.to_owned(),
    }
}
