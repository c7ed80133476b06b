// SPDX-License-Identifier: GPL-2.0-or-later
//! The private key of Remote Desktop's certificate, and the folder that holds it.
//!
//! ```text
//! ProgramData\Microsoft\Crypto\RSA\MachineKeys          Everyone may make files, Administrators may do all
//!   f686aace6942fb7f7ceb231212eef4a4_<MachineGuid>      NETWORK SERVICE (TermService) must read it
//! ```
//! Only "NETWORK SERVICE cannot read the key" prevents Remote Desktop. A hardened folder alone does not, and a missing
//! folder or key is made anew when the services start. Certificates are another check's.

use crate::certificate::container::{self, REMOTE_DESKTOP_STEM};
use crate::edit::{Edit, windows_path};
use crate::error::{Error, Result};
use crate::permissions::TreeChange;
use crate::security::ace::Effect;
use crate::security::change::{self, Grant};
use crate::security::rights::{self, FULL, READ};
use crate::security::{AclField, Descriptor, Sid, sddl};
use crate::windows::key_files::USUAL_PLACE;

use super::{
    Check, Evidence, EvidenceKind, Facts, Finding, Fix, Problem, Proposal, Run, Severity, Stage,
    unknown_value,
};

const SOURCE: &[&str] = &[
    "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    "Azure/repair-script-library win-fix-rdp-certificate",
    "Microsoft KB 278381",
];

/// What Everyone needs in the folder: read, and make files and folders.
const USE_FOLDER: u32 = 0x0012_019f;
/// The folder's descriptor, the same on every build that was measured (9600 to 26100).
const FOLDER_SDDL: &str = "O:SYG:SYD:PAI(A;;0x12019f;;;WD)(A;;FA;;;BA)";
/// The key's, up to Windows Server 2016.
const KEY_SDDL: &str = "O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FR;;;NS)(A;;FR;;;BA)";
/// The first build (Windows Server 2019) whose keys the service SessionEnv may change, and administrators not.
const SESSION_ENV_BUILD: u32 = 17763;
/// The last build whose keys were seen with the older entries.
const OLDER_BUILD: u32 = 14393;

const KEY_UNREADABLE: Problem = Problem {
    id: "machine-keys.key-unreadable",
    title: "Remote Desktop cannot read its private key",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "The key file of this machine does not let NETWORK SERVICE read: the union of what allow entries grant, without what any deny entry takes, lacks 0x120089.",
    cause: "TermService runs as NETWORK SERVICE. Without the private key of its certificate every TLS connection fails, which clients report as an internal error.",
    fixes: &[FIX.name],
};

const FOLDER_HARDENED: Problem = Problem {
    id: "machine-keys.folder-hardened",
    title: "The MachineKeys folder is closed to Everyone",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "Everyone does not get 0x12019f on the folder, and the key can be read.",
    cause: "Remote Desktop works with that, but the next key that is made here (a certificate lasts six months) may come out unreadable.",
    fixes: &[FIX.name],
};

const CLONE: Problem = Problem {
    id: "machine-keys.clone",
    title: "A key of Remote Desktop belongs to another machine's GUID",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "A key file of the container TSSecKeySet1 carries another GUID than MachineGuid.",
    cause: "The disk was cloned, or its MachineGuid changed, after the key was made. Windows does not find such a key and makes a new one; the old file is left over.",
    fixes: &[],
};

const UNJUDGED: Problem = Problem {
    id: "machine-keys.unjudged",
    title: "The permissions of the MachineKeys folder cannot be judged",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "The file system does not show permissions, or they cannot be read.",
    cause: "What Remote Desktop may read there is not known.",
    fixes: &[],
};

pub(super) const CHECK: Check = Check {
    id: "machine-keys",
    title: "Remote Desktop can read its private key",
    looks_at: "The key file f686aace6942fb7f7ceb231212eef4a4_<MachineGuid> in MachineKeys, and the folder: owner and permissions.",
    healthy: "NETWORK SERVICE, the account of TermService, may read the key. A missing folder or key is healthy: Windows makes them.",
    problems: &[&KEY_UNREADABLE, &FOLDER_HARDENED, &CLONE, &UNJUDGED],
    source: SOURCE,
    run: Run::System(run),
};

pub(super) const FIX: Fix = Fix {
    name: "machine-keys",
    values: "surgical (the default), documented or rename",
    title: "Give the MachineKeys folder and Remote Desktop's key their permissions back",
    explanation: "surgical: the folder and the one key file of Remote Desktop get the owner and permissions that Windows gives them on this build; nothing else is touched. documented: what takeown /a /r and icacls /t /grant of Microsoft's article do: Administrators own the folder and every file in it, and SYSTEM (F), NETWORK SERVICE (R) and Administrators (F) are granted in addition to what is there; deny entries stay. That lets NETWORK SERVICE read every private key of the machine. rename: MachineKeys becomes MachineKeys_old, and Windows makes a new folder at its next start; other keys in it (IIS, SQL Server) are lost to their services until they are copied back.",
    source: SOURCE,
    edits,
};

/// What is on the disk.
#[derive(Debug)]
pub(super) struct Keys {
    /// The folder's path, and what it has.
    folder: (String, Secured),
    /// The key file of this machine.
    key: Option<(String, Secured)>,
    /// Names of keys of the same container that carry other GUIDs.
    others: Vec<String>,
}

/// A descriptor, or why it cannot be read.
type Secured = Result<Descriptor, String>;

/// The folder, looked at once; `None` when there is none. An error is asked for again, because it is given away.
fn keys<'f>(facts: &'f Facts<'_>) -> Result<Option<&'f Keys>> {
    match facts.machine_keys.get_or_init(|| look(facts)) {
        Ok(keys) => Ok(keys.as_ref()),
        Err(_) => match look(facts) {
            Err(error) => Err(error),
            Ok(_) => Err(Error::refused(
                "the MachineKeys folder changed while it was being read",
                "make sure that nothing else writes to the target, then try again",
            )),
        },
    }
}

fn look(facts: &Facts<'_>) -> Result<Option<Keys>> {
    let Some(files) = facts.key_files()? else {
        return Ok(None);
    };
    let folder = files.folder.clone();
    let mut names: Vec<String> = files
        .of_stem(REMOTE_DESKTOP_STEM)
        .map(str::to_owned)
        .collect();
    let own = match facts.installation.machine_guid() {
        Some(guid) => {
            let own = container::file_name(container::REMOTE_DESKTOP, &guid);
            names.iter().position(|name| {
                own.as_ref()
                    .is_some_and(|own| name.eq_ignore_ascii_case(own))
            })
        }
        // Without the GUID a single key can only be this machine's.
        None => (names.len() == 1).then_some(0),
    };
    let key = own.map(|own| format!("{folder}/{}", names.remove(own)));
    let paths: Vec<&str> = std::iter::once(&folder)
        .chain(&key)
        .map(String::as_str)
        .collect();
    let volume = facts.installation.volume.as_ref();
    let mut found = volume
        .security(&paths)?
        .into_iter()
        .map(|bytes| Descriptor::parse(&bytes).map_err(|error| error.to_string()));
    let missing = || Err("it was not read".to_owned());
    Ok(Some(Keys {
        folder: (folder, found.next().unwrap_or_else(missing)),
        key: key.map(|key| (key, found.next().unwrap_or_else(missing))),
        others: names,
    }))
}

/// Whether NETWORK SERVICE may read a file with this descriptor.
fn service_reads(key: &Secured) -> bool {
    let service = Sid::new(5, &[20]);
    key.as_ref()
        .ok()
        .zip(service)
        .is_some_and(|(key, service)| {
            rights::effective(&key.dacl, &rights::token(&service)) & READ == READ
        })
}

/// Whether Everyone may make keys in a folder with this descriptor.
fn everyone_uses(folder: &Secured) -> bool {
    let everyone = Sid::new(1, &[0]);
    folder
        .as_ref()
        .ok()
        .zip(everyone)
        .is_some_and(|(folder, everyone)| {
            rights::effective(&folder.dacl, &[everyone]) & USE_FOLDER == USE_FOLDER
        })
}

fn run(facts: &Facts<'_>) -> Vec<Finding> {
    let keys = match keys(facts) {
        Ok(None) => return Vec::new(),
        Ok(Some(keys)) => keys,
        Err(error) => return vec![unjudged(&error)],
    };
    let mut findings = Vec::new();
    let (folder, folder_has) = &keys.folder;
    let hardened = !everyone_uses(folder_has);
    let hardened_evidence = evidence(folder, folder_has, "Everyone may use it (0x12019f)");
    let broken = keys.key.as_ref().filter(|(_, key)| !service_reads(key));
    if let Some((path, key)) = broken {
        let mut finding = KEY_UNREADABLE.found(SOURCE, Vec::new());
        finding
            .evidence
            .push(evidence(path, key, "NETWORK SERVICE may read it (R)"));
        if hardened {
            finding.evidence.push(hardened_evidence);
        }
        // Where the build is not known only the named fix, which says why, is proposed.
        if let Ok(Proposal { edits, .. }) = surgical(facts, keys) {
            finding.cure = edits;
        }
        findings.push(finding);
    } else if hardened {
        let mut finding = FOLDER_HARDENED.found(SOURCE, Vec::new());
        finding.evidence.push(hardened_evidence);
        findings.push(finding);
    }
    if !keys.others.is_empty() {
        let mut finding = CLONE.found(SOURCE, Vec::new());
        let expected = match facts.installation.machine_guid() {
            Some(guid) => format!("{REMOTE_DESKTOP_STEM}_{guid}"),
            None => "one key, or a readable MachineGuid".to_owned(),
        };
        finding
            .evidence
            .extend(keys.others.iter().map(|name| Evidence {
                kind: EvidenceKind::File,
                location: windows_path(&format!("{folder}/{name}")),
                found: name.clone(),
                expected: expected.clone(),
            }));
        findings.push(finding);
    }
    findings
}

fn evidence(path: &str, has: &Secured, expected: &str) -> Evidence {
    let text = |has: &Descriptor| sddl::format(has, None).map_err(|error| error.to_string());
    Evidence {
        kind: EvidenceKind::Security,
        location: windows_path(path),
        found: match has.as_ref().map_err(String::clone).and_then(text) {
            Ok(text) => text,
            Err(why) => format!("permissions that cannot be read: {why}"),
        },
        expected: expected.to_owned(),
    }
}

/// The folder lets NETWORK SERVICE in, as the procedure of Microsoft's article leaves it: the evidence, and the edits
/// that give the folder and Remote Desktop's key their own permissions again.
pub(super) fn over_broad(facts: &Facts<'_>) -> Option<(Evidence, Vec<Edit>)> {
    let keys = keys(facts).ok()??;
    let (folder, has) = &keys.folder;
    let service = Sid::new(5, &[20])?;
    let dacl = has.as_ref().ok()?.dacl.acl()?;
    dacl.aces.iter().find(|ace| {
        ace.effect() == Effect::Allow && ace.content().is_some_and(|ace| ace.sid == service)
    })?;
    let edits = surgical(facts, keys).ok()?.edits;
    let expected = format!("{FOLDER_SDDL}, without NETWORK SERVICE");
    Some((evidence(folder, has, &expected), edits))
}

/// The permissions cannot be looked at: said, and nothing concluded.
fn unjudged(error: &Error) -> Finding {
    let evidence = Evidence {
        kind: EvidenceKind::Security,
        location: USUAL_PLACE.to_owned(),
        found: error.to_string(),
        expected: error
            .hint()
            .unwrap_or("permissions that can be read")
            .to_owned(),
    };
    UNJUDGED.found(SOURCE, vec![evidence])
}

fn edits(facts: &Facts<'_>, value: Option<&str>) -> Result<Proposal> {
    let mode = match value {
        None | Some("surgical") => surgical,
        Some("documented") => documented,
        Some("rename") => rename,
        Some(other) => return Err(unknown_value(&FIX, other)),
    };
    match keys(facts)? {
        Some(keys) => mode(facts, keys),
        None => Ok(Proposal {
            notes: vec![
                "there is no MachineKeys folder, so there is nothing to do: Windows makes it when it starts"
                    .to_owned(),
            ],
            ..Proposal::default()
        }),
    }
}

/// Owner, group and DACL of the text; a SACL stays what it was.
fn target(text: &str, now: &Secured) -> Result<Vec<u8>> {
    let mut wanted = sddl::parse(text, None)?;
    if let Ok(now) = now
        && now.sacl != AclField::Absent
    {
        use crate::security::descriptor::control::{
            SACL_AUTO_INHERIT_REQ, SACL_AUTO_INHERITED, SACL_DEFAULTED, SACL_PROTECTED,
        };
        let bits = SACL_AUTO_INHERIT_REQ | SACL_AUTO_INHERITED | SACL_DEFAULTED | SACL_PROTECTED;
        wanted.sacl = now.sacl.clone();
        wanted.control |= now.control & bits;
    }
    wanted.to_bytes()
}

/// The folder and this machine's key, as Windows makes them.
fn surgical(facts: &Facts<'_>, keys: &Keys) -> Result<Proposal> {
    let mut proposal = Proposal::default();
    let (folder, has) = &keys.folder;
    let mut wanted = vec![(folder.clone(), target(FOLDER_SDDL, has)?)];
    match &keys.key {
        None => proposal.notes.push(
            "the folder holds no key of Remote Desktop for this machine; Windows makes one when its services start"
                .to_owned(),
        ),
        Some((key, has)) => {
            let build = facts.build.ok_or_else(|| {
                Error::refused(
                    "SOFTWARE does not tell the build of this Windows, and the permissions of the key depend on it",
                    "use --fix machine-keys=documented, or set them with `coldfix acl grant`",
                )
            })?;
            let text = if build < SESSION_ENV_BUILD {
                KEY_SDDL.to_owned()
            } else {
                let service = Sid::service("SessionEnv");
                format!("O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FR;;;NS)(A;;FA;;;{service})")
            };
            if (OLDER_BUILD + 1..SESSION_ENV_BUILD).contains(&build) {
                proposal.notes.push(format!(
                    "the key's permissions were measured on builds up to {OLDER_BUILD} and from {SESSION_ENV_BUILD} on; this is {build}, which gets the older ones (NETWORK SERVICE may read in both)"
                ));
            }
            wanted.push((key.clone(), target(&text, has)?));
        }
    }
    for other in &keys.others {
        proposal.notes.push(format!(
            "{other} belongs to another machine's GUID and is left alone"
        ));
    }
    // One edit for each, so that each shows what it was and what it becomes.
    let one = |wanted| Edit::set_security([wanted]);
    proposal.edits.extend(wanted.into_iter().filter_map(one));
    Ok(proposal)
}

/// What takeown and icacls of the article do to the folder and everything in it.
fn documented(facts: &Facts<'_>, keys: &Keys) -> Result<Proposal> {
    let known = |authority, rids: &[u32]| {
        Sid::new(authority, rids)
            .ok_or_else(|| Error::refused("a well-known SID cannot be made", "report this"))
    };
    let administrators = known(5, &[32, 544])?;
    let grants = [
        (known(5, &[18])?, FULL),
        (known(5, &[20])?, READ),
        (administrators.clone(), FULL),
    ]
    .map(|(sid, mask)| Grant {
        sid,
        mask,
        flags: 0,
        replace: false,
    });
    let change = |descriptor: &Descriptor, _: Option<&Descriptor>, is_folder: bool| {
        let mut changed = change::set_owner(descriptor, &administrators);
        for wanted in &grants {
            changed = change::grant(&changed, wanted, is_folder)?;
        }
        Ok(changed)
    };
    let (folder, _) = &keys.folder;
    let volume = facts.installation.volume.as_ref();
    let change = TreeChange::new(volume, folder, true, &change)?;
    Ok(Proposal {
        edits: change.edit.into_iter().collect(),
        lowers_security: vec![
            "NETWORK SERVICE may then read every private key in the folder, and Administrators own them, as in Microsoft's article; --fix machine-keys alone touches nothing but the folder and Remote Desktop's own key"
                .to_owned(),
        ],
        listing: Some(folder.clone()),
        notes: change.left_alone,
    })
}

/// The folder under another name.
fn rename(facts: &Facts<'_>, keys: &Keys) -> Result<Proposal> {
    /// Ours: how many old folders are kept apart before somebody should look.
    const MOST: u32 = 100;
    let (folder, _) = &keys.folder;
    let (parent, name) = folder.rsplit_once('/').unwrap_or(("", folder));
    let volume = facts.installation.volume.as_ref();
    for number in 1..=MOST {
        let new = match number {
            1 => format!("{name}_old"),
            number => format!("{name}_old{number}"),
        };
        if volume.entry(&format!("{parent}/{new}"))?.is_none() {
            return Ok(Proposal {
                notes: vec![format!(
                    "Windows makes a new, empty MachineKeys folder at its next start; the keys of other services (IIS, SQL Server) are lost to them until their files are copied back from {new}"
                )],
                edits: vec![Edit::Rename {
                    path: folder.clone(),
                    name: new,
                }],
                ..Proposal::default()
            });
        }
    }
    Err(Error::refused(
        format!("there are {MOST} folders named {name}_old already"),
        "look at them and remove those that are not needed, in Windows",
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_prevents_reading() {
        let reads = |text: &str| service_reads(&Ok(sddl::parse(text, None).unwrap()));
        assert!(reads(KEY_SDDL));
        // Rights may add up, and come through a group that the service is always in.
        assert!(reads("D:(A;;0x20089;;;NS)(A;;0x100000;;;WD)"));
        assert!(reads("D:NO_ACCESS_CONTROL"));
        for text in [
            "D:P",
            "D:(A;;FA;;;SY)(A;;FR;;;BA)",
            "D:(A;;0x120088;;;NS)",
            "D:(A;IOOI;FR;;;NS)",
            "D:(D;;0x1;;;WD)(A;;FR;;;NS)",
            "D:(A;;FR;;;NS)(D;ID;0x80;;;NS)",
        ] {
            assert!(!reads(text), "{text}");
        }
        assert!(!service_reads(&Err("damaged".to_owned())));

        let uses = |text: &str| everyone_uses(&Ok(sddl::parse(text, None).unwrap()));
        assert!(uses(FOLDER_SDDL));
        assert!(uses("D:(A;;FA;;;WD)"));
        assert!(!uses("D:PAI(A;;FA;;;SY)(A;;FA;;;BA)"));
        assert!(!uses("D:(D;;0x2;;;WD)(A;;FA;;;WD)"));
    }

    #[test]
    fn the_target_keeps_the_sacl() {
        let now = sddl::parse("O:BAG:BAD:P(A;;FA;;;BA)S:PAI(AU;SA;FA;;;WD)", None).unwrap();
        let wanted = Descriptor::parse(&target(FOLDER_SDDL, &Ok(now)).unwrap()).unwrap();
        assert_eq!(
            sddl::format(&wanted, None).unwrap(),
            format!("{FOLDER_SDDL}S:PAI(AU;SA;FA;;;WD)")
        );
        let plain = Descriptor::parse(&target(FOLDER_SDDL, &Err(String::new())).unwrap());
        assert_eq!(sddl::format(&plain.unwrap(), None).unwrap(), FOLDER_SDDL);
    }
}
