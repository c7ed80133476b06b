// SPDX-License-Identifier: GPL-2.0-or-later
//! Security descriptors, held against Samba: the ones for the machine keys, all of some real hives, and
//! random ones. Samba reads our bytes and tells every field, and its SDDL of them is read back by us; it
//! also reads our SDDL, and we read its bytes.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::string_slice,
    clippy::arithmetic_side_effects,
    clippy::cast_possible_truncation
)]

mod support;

use std::collections::BTreeSet;
use std::io::Write as _;
use std::process::{Command, Stdio};

use coldfix::hive::{Hive, Key};
use coldfix::security::descriptor::control;
use coldfix::security::{Ace, Acl, AclField, Descriptor, Sid, sddl};
use uuid::Uuid;

/// Per line of input, hex bytes and SDDL, one line: fields of the bytes, its SDDL of them, its bytes of our
/// SDDL, separated by tabs.
///
/// Samba 4.17 takes FA and the like for rights of a directory service (FA is 0x1ff there) and does not
/// know the K ones nor AC, so they are given to it in figures; it has no text for null lists, types from 9 on and flag
/// 0x20 (`-` then).
const SAMBA: &str = r#"
import re, sys
from samba.dcerpc import security
from samba.ndr import ndr_pack, ndr_unpack
nowhere = security.dom_sid("S-1-5-21-0-0-1")
whole = dict(FA=0x1f01ff, FR=0x120089, FW=0x120116, FX=0x1200a0, KA=0xf003f, KR=0x20019, KW=0x20006)
number = lambda m: m[1] + hex(whole[m[2]]) + ";"
def acl(a):
    if a is None: return "none"
    out = []
    for e in a.aces:
        one = "%x,%x,%x" % (e.type, e.flags, e.access_mask)
        if 5 <= e.type <= 8:
            o = e.object
            one += ",%s,%s" % (o.type if o.flags & 1 else "", o.inherited_type if o.flags & 2 else "")
        out.append(one + "," + str(e.trustee))
    return "%d[%s]" % (a.revision, " ".join(out))
for line in sys.stdin:
    data, text = line.rstrip("\n").split("\t")
    sd = ndr_unpack(security.descriptor, bytes.fromhex(data))
    fields = "%x %s %s %s %s" % (sd.type, sd.owner_sid, sd.group_sid, acl(sd.sacl), acl(sd.dacl))
    every = [e for a in (sd.sacl, sd.dacl) if a for e in a.aces]
    if "NO_ACCESS" in text or re.search("D:[A-Z]+S:", text) or any(e.type > 8 or e.flags & 0x20 for e in every):
        print(fields, "-", "-", sep="\t"); continue
    text = re.sub(r"(\(\w+;\w*;)(%s);" % "|".join(whole), number, text)
    text = text.replace(";AC)", ";S-1-15-2-1)")
    try: back = security.descriptor.from_sddl(text, nowhere)
    except TypeError: sys.exit("Samba does not read " + text)
    print(fields, sd.as_sddl(nowhere), ndr_pack(back).hex(), sep="\t")
"#;

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

fn unhex(text: &str) -> Vec<u8> {
    let byte = |at| u8::from_str_radix(&text[at..at + 2], 16).unwrap();
    (0..text.len()).step_by(2).map(byte).collect()
}

/// Our fields in the form of the script.
fn fields(descriptor: &Descriptor) -> String {
    let sid = |sid: &Option<Sid>| sid.as_ref().map_or("None".into(), Sid::to_string);
    let guid = |guid: Option<Uuid>| guid.map_or(String::new(), |guid| guid.to_string());
    let acl = |field: &AclField| {
        let Some(acl) = field.acl() else {
            return "none".into();
        };
        let entry = |ace: &Ace| {
            let content = ace.content().expect("a known type");
            let mut text = format!("{:x},{:x},{:x}", ace.kind(), ace.flags, content.mask);
            if ace.is_object() {
                let inherited = guid(content.inherited_object_type);
                text += &format!(",{},{inherited}", guid(content.object_type));
            }
            format!("{text},{}", content.sid)
        };
        let entries: Vec<String> = acl.aces.iter().map(entry).collect();
        format!("{}[{}]", acl.revision, entries.join(" "))
    };
    format!(
        "{:x} {} {} {} {}",
        descriptor.effective_control(),
        sid(&descriptor.owner),
        sid(&descriptor.group),
        acl(&descriptor.sacl),
        acl(&descriptor.dacl)
    )
}

/// What SDDL can say of a descriptor.
fn said(descriptor: &Descriptor) -> String {
    let mut said = descriptor.clone();
    said.control &= 0x3f00;
    // Flags of a list that is not there have no text.
    if said.sacl == AclField::Absent {
        said.control &= !0x2a00;
    }
    if said.dacl == AclField::Absent {
        said.control &= !0x1500;
    }
    for field in [&mut said.sacl, &mut said.dacl] {
        if let AclField::Present(acl) = field {
            *acl = Acl::new(acl.aces.clone());
        }
    }
    fields(&said)
}

/// Holds each against Samba, returns how many had a text there; None without Samba.
fn agree(descriptors: &[(Vec<u8>, Descriptor)]) -> Option<usize> {
    let python = || Command::new("/usr/bin/python3");
    let found = python()
        .args(["-c", "import samba.dcerpc.security"])
        .output();
    if !found.is_ok_and(|output| output.status.success()) {
        support::skip("the Python module samba (scripts/install-oracles)");
        return None;
    }
    let mut child = python()
        .args(["-c", SAMBA])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = String::new();
    for (bytes, descriptor) in descriptors {
        let text = sddl::format(descriptor, None).unwrap();
        input += &format!("{}\t{text}\n", hex(bytes));
    }
    let mut stdin = child.stdin.take().unwrap();
    let writer = std::thread::spawn(move || stdin.write_all(input.as_bytes()).unwrap());
    let output = child.wait_with_output().unwrap();
    writer.join().unwrap();
    assert!(output.status.success(), "Samba failed");
    let output = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.lines().count(), descriptors.len());
    let mut with_text = 0;
    for (line, (_, ours)) in output.lines().zip(descriptors) {
        let parts: Vec<&str> = line.split('\t').collect();
        assert_eq!(parts[0], fields(ours), "fields");
        if parts[1] == "-" {
            continue;
        }
        with_text += 1;
        let theirs = sddl::parse(parts[1], None).unwrap();
        assert_eq!(said(&theirs), said(ours), "its SDDL {}", parts[1]);
        let theirs = Descriptor::parse(&unhex(parts[2])).unwrap();
        assert_eq!(said(&theirs), said(ours), "its bytes of our SDDL");
    }
    Some(with_text)
}

fn built(descriptor: Descriptor) -> (Vec<u8>, Descriptor) {
    (descriptor.to_bytes().unwrap(), descriptor)
}

#[test]
fn samba_agrees_on_the_machine_keys() {
    let session_env = Sid::service("SessionEnv");
    let texts = [
        "O:SYG:SYD:PAI(A;;0x12019f;;;WD)(A;;FA;;;BA)".to_owned(),
        "O:BAG:BAD:PAI(A;;0x12019f;;;WD)(A;;FA;;;BA)".to_owned(),
        "O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FR;;;NS)(A;;FR;;;BA)".to_owned(),
        format!("O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FR;;;NS)(A;;FA;;;{session_env})"),
    ];
    let all: Vec<_> = texts
        .iter()
        .map(|text| built(sddl::parse(text, None).unwrap()))
        .collect();
    if let Some(with_text) = agree(&all) {
        assert_eq!(with_text, 4);
    }
}

fn collect(key: &Key<'_>, found: &mut BTreeSet<Vec<u8>>) {
    if let Ok(bytes) = key.security() {
        found.insert(bytes.to_vec());
    }
    for subkey in key.subkeys().unwrap_or_default() {
        collect(&subkey, found);
    }
}

#[test]
fn samba_agrees_on_real_hives() {
    let mut found = BTreeSet::new();
    for name in [
        "system-w10-clean",
        "security-w81",
        "sam-w7",
        "ntuser-w7",
        "system-xp",
        "software-w81-dirty-nolog",
    ] {
        let Some(packed) = support::data(&format!("hives/{name}.xz")) else {
            return;
        };
        let hive = Hive::parse(support::unxz(&packed)).unwrap();
        collect(&hive.root().unwrap(), &mut found);
    }
    let mut same = 0;
    let mut all = Vec::new();
    for bytes in &found {
        let descriptor = Descriptor::parse(bytes).unwrap();
        let again = descriptor.to_bytes().unwrap();
        assert_eq!(Descriptor::parse(&again).unwrap(), descriptor);
        same += usize::from(again == *bytes);
        all.push((bytes.clone(), descriptor));
    }
    assert_eq!(same, all.len(), "built in the order that Windows writes");
    let with_text = agree(&all);
    eprintln!(
        "{} descriptors, {same} built with the same bytes, {with_text:?} with a text in Samba",
        all.len()
    );
    assert!(all.len() > 100, "too few descriptors: {}", all.len());
}

/// Numbers that are the same at every run (xorshift).
struct Numbers(u64);

impl Numbers {
    fn next(&mut self) -> u32 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 16) as u32
    }

    fn below(&mut self, limit: u32) -> u32 {
        self.next() % limit
    }

    fn sid(&mut self) -> Sid {
        if self.below(2) == 0 {
            let known = [
                "WD", "SY", "BA", "BU", "AU", "NS", "LS", "CO", "CG", "IU", "SU", "RC", "AN", "RD",
                "PU",
            ];
            let letters = known[self.below(15) as usize];
            return coldfix::security::names::from_letters(letters, None).unwrap();
        }
        // Samba's text of an authority above 32 bits has another form.
        let subs: Vec<u32> = (0..=self.below(15)).map(|_| self.next()).collect();
        Sid::new(u64::from(self.below(30)), &subs).unwrap()
    }

    fn guid(&mut self) -> Option<Uuid> {
        let high = u64::from(self.next()) << 32 | u64::from(self.next());
        (self.below(3) > 0).then(|| Uuid::from_u64_pair(high, !high))
    }

    fn ace(&mut self, kinds: [u8; 2]) -> Ace {
        let kind = kinds[self.below(2) as usize] + 5 * u8::from(self.below(4) == 0);
        let flags = self.next() as u8 & 0xdf;
        let mask = match self.below(4) {
            0 => self.next(),
            1 => 1 << self.below(32),
            2 => [0x1f01ff, 0x120089, 0xf003f, 0x20019][self.below(4) as usize],
            _ => self.next() & 0xf00f_01ff,
        };
        let sid = self.sid();
        if kind < 5 {
            Ace::new(kind, flags, mask, &sid).unwrap()
        } else {
            Ace::new_object(kind, flags, mask, self.guid(), self.guid(), &sid).unwrap()
        }
    }

    /// Not empty: Samba reads the S of a following `S:` as a flag of an empty list.
    fn acl(&mut self, kinds: [u8; 2]) -> AclField {
        let aces = (0..=self.below(6)).map(|_| self.ace(kinds)).collect();
        AclField::Present(Acl::new(aces))
    }
}

#[test]
fn samba_agrees_on_random_descriptors() {
    let mut numbers = Numbers(0x5eed_0123_4567_89ab);
    let all: Vec<_> = (0..1000)
        .map(|_| {
            let flags = numbers.next() as u16 & 0x3f00 | control::SELF_RELATIVE;
            let sacl = numbers.below(2) == 0;
            let mut descriptor = Descriptor {
                owner: Some(numbers.sid()),
                group: Some(numbers.sid()),
                dacl: numbers.acl([0, 1]),
                control: flags,
                ..Descriptor::default()
            };
            if sacl {
                descriptor.sacl = numbers.acl([2, 2]);
            } else {
                // Flags of a SACL that is not there have no text.
                descriptor.control &= !0x2a00;
            }
            built(descriptor)
        })
        .collect();
    if let Some(with_text) = agree(&all) {
        assert_eq!(with_text, 1000);
    }
}
