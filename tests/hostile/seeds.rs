// SPDX-License-Identifier: GPL-2.0-or-later
//! What the fuzz targets start from: small sound inputs of every format, out of the fixtures, the builders of the
//! tests and, where it is there, the data that real Windows made. `scripts/fuzz` asks for them.
//!
//! ```text
//! COLDFIX_FUZZ_SEEDS/corpus/TARGET/...    inputs, in the form that the target takes (fuzz/src)
//! COLDFIX_FUZZ_SEEDS/disks/...            what `ntfs_volume`, `fat` and `disk` do damage to
//! ```

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::io::Write as _;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldfix::bcd::format::{ObjectType, parse_guid};
use coldfix::commit::{OperationHeader, TargetIdentity, TargetKind, journal};
use coldfix::device::{Change, ChangeSet, HostOperation, Patch};
use coldfix::hive::{Hive, Key};
use coldfix::security::{saved, sddl};

use super::build::{self, Step, Vhdx, entry, log_entry};
use super::damage::Random;
use super::event_log::{self, NewEvent};
use super::hive_log;
use super::structures::{self, Kind, unseal};
use super::{ntfs_support, support};

/// No seed is longer: a fuzzer gets nowhere with more.
const LONGEST: usize = 128 << 10;

/// The seeds of each target, by name.
struct Seeds {
    folder: PathBuf,
    counts: BTreeMap<&'static str, usize>,
}

impl Seeds {
    fn add(&mut self, target: &'static str, seed: &[u8]) {
        assert!(seed.len() <= LONGEST, "{target}: {} bytes", seed.len());
        let count = self.counts.entry(target).or_default();
        *count += 1;
        let folder = self.folder.join("corpus").join(target);
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(format!("seed-{count:03}")), seed).unwrap();
    }
}

#[test]
#[ignore = "writes the seeds of scripts/fuzz"]
fn write() {
    let folder = std::env::var_os("COLDFIX_FUZZ_SEEDS").expect("COLDFIX_FUZZ_SEEDS names a folder");
    let mut seeds = Seeds {
        folder: folder.into(),
        counts: BTreeMap::new(),
    };
    hives(&mut seeds);
    containers(&mut seeds);
    disks(&mut seeds);
    values(&mut seeds);
    texts(&mut seeds);
    operations(&mut seeds);
    // Some formats have seeds of real Windows alone; without those the fuzzer begins with nothing there.
    let complete = support::data_folder().exists();
    let targets = fs::read_dir(support::root().join("fuzz/targets")).unwrap();
    for target in targets {
        let path = target.unwrap().path();
        let name = path.file_stem().unwrap().to_str().unwrap().to_owned();
        let seeded = seeds.counts.contains_key(name.as_str());
        assert!(seeded || !complete, "no seed for {name}");
        fs::create_dir_all(seeds.folder.join("corpus").join(name)).unwrap();
    }
    println!("{:?}", seeds.counts);
}

/// A small hive with every kind of record.
fn small_hive(minor: u32) -> Hive {
    let mut hive = Hive::create(minor, "ROOT", 1).unwrap();
    hive.create_key("tree\\one\\two", 2).unwrap();
    for key in 0..12 {
        hive.create_key(&format!("many\\key{key}"), 2).unwrap();
    }
    let descriptor = sddl::parse("O:BAG:SYD:PAI(A;CI;KA;;;BA)(A;CI;KR;;;BU)", None).unwrap();
    hive.set_security("tree\\one", &descriptor.to_bytes().unwrap(), 2)
        .unwrap();
    for (name, len) in [("", 4), ("cell", 40), ("empty", 0), ("Я", 3)] {
        hive.set_value("tree", name, 3, &vec![7; len], 2).unwrap();
    }
    hive
}

fn hives(seeds: &mut Seeds) {
    for (number, minor) in [3, 4, 5, 6].into_iter().enumerate() {
        let mut hive = small_hive(minor);
        if minor == 5 {
            hive.set_value("tree", "big", 3, &vec![1; 16345], 2)
                .unwrap();
        }
        let mut random = Random::new(3, "script", number as u64);
        let script: Vec<u8> = (0..3).flat_map(|_| random.next().to_le_bytes()).collect();
        seeds.add("hive", &[&[24], &script[..], hive.bytes()].concat());
    }
    let page = |bytes: &[u8]| (bytes.len().div_ceil(512) as u16).to_le_bytes();
    let dirty = hive_log::hive((8, 7), &[1, 2, 3]);
    let first = hive_log::new_log(
        8,
        &[
            hive_log::entry(8, 3, &[(0, 9)]),
            hive_log::entry(9, 3, &[(1, 8), (2, 7)]),
        ],
    );
    let second = hive_log::new_log(10, &[hive_log::entry(10, 4, &[(3, 6)])]);
    let old = hive_log::old_log(8, 0, 3, &[(1, 5)]);
    for (one, other) in [(&first, &second), (&second, &first), (&old, &Vec::new())] {
        seeds.add(
            "hive_log",
            &[&page(&dirty), &page(one), &dirty[..], one, other].concat(),
        );
    }
    let mut store = Hive::create(3, "NewStoreRoot", 1).unwrap();
    let id = parse_guid("{9dea862c-5cdd-4e70-acc1-f32b344d4795}").unwrap();
    store.create_key("Description", 1).unwrap();
    store.create_key("Objects", 1).unwrap();
    store
        .set_value("Description", "KeyName", 1, &utf16("BCD00000000\0"), 1)
        .unwrap();
    coldfix::bcd::change::create_object(&mut store, id, ObjectType::BOOT_MANAGER, 1).unwrap();
    for (element, kind, data) in [
        (0x1200_0004, 1, utf16("Windows Boot Manager\0")),
        (
            0x2300_0003,
            1,
            utf16("{466f5a88-0af2-4f76-9038-095b170dc21c}\0"),
        ),
        (
            0x2400_0001,
            7,
            utf16("{466f5a88-0af2-4f76-9038-095b170dc21c}\0\0"),
        ),
        (0x2500_0004, 3, vec![30, 0, 0, 0, 0, 0, 0, 0]),
        (0x1600_0020, 3, vec![1]),
        (0x1100_0001, 3, vec![0; 88]),
    ] {
        let number = coldfix::bcd::format::ElementType(element);
        coldfix::bcd::change::set_element(&mut store, id, number, kind, &data, 1).unwrap();
    }
    seeds.add("bcd", &[&[1, 1], store.bytes()].concat());
    for path in support::data_files("bcd")
        .iter()
        .filter(|path| path.extension().is_none())
    {
        seeds.add("bcd", &[&[1, 0], &fs::read(path).unwrap()[..]].concat());
    }
}

fn utf16(text: &str) -> Vec<u8> {
    text.encode_utf16().flat_map(u16::to_le_bytes).collect()
}

fn containers(seeds: &mut Seeds) {
    const KIB: u64 = 1 << 10;
    let id = *b"0123456789abcdef";
    for parent in [None, Some((id, "none.vhd"))] {
        seeds.add(
            "vhd",
            &build::vhd(1536 * KIB, 512 << 10, id, parent).bytes(),
        );
    }
    let mut fixed = vec![7; 8192];
    fixed.extend(build::vhd_footer(8192, 2, id));
    build::seal_vhd(&mut fixed[8192..], 64);
    seeds.add("vhd", &fixed);

    let mut vhdx = Vhdx::new(3 * build::MIB + 512, build::MIB as u32);
    let place = (build::BAT + vhdx.bat_len()) >> 20;
    vhdx.bat = vec![(0, entry(6, place)), (2, entry(3, 77))];
    for dirty in [false, true] {
        let guid = uuid::Uuid::from_u128(if dirty { 5 } else { 0 });
        vhdx.log_guid = guid;
        let mut image = vhdx.build();
        image.put(place << 20, vec![0xaa; 4096]);
        if dirty {
            let steps = [
                Step::Data(place << 20, vec![3; 4096]),
                Step::Zero(build::BAT + 4096, 8192),
            ];
            image.put(build::LOG, log_entry(guid, 9, 0, image.len, &steps));
        }
        let mut seed = Vec::new();
        for (offset, part) in &image.parts {
            let used = part
                .iter()
                .rposition(|byte| *byte != 0)
                .map_or(0, |last| last + 1);
            for (number, piece) in part[..used].chunks(4096).enumerate() {
                let mut piece = piece.to_vec();
                piece.resize(piece.len().next_multiple_of(64), 0);
                let at = (offset >> 12) as u16 + number as u16;
                seed.extend(at.to_le_bytes());
                seed.push((piece.len() / 64) as u8);
                seed.extend(piece);
            }
        }
        seeds.add("vhdx", &seed);
    }

    let folder = support::temporary();
    let disk = folder.path().join("disk.raw");
    File::create(&disk)
        .unwrap()
        .set_len((34 + 2048 + 33) * 512)
        .unwrap();
    assert!(support::require("sgdisk"));
    support::run(
        support::program("sgdisk")
            .args(["-o", "-a", "1", "-n", "1:40:1000", "-n", "2:1001:2000"])
            .arg(&disk),
    );
    let bytes = fs::read(&disk).unwrap();
    let (head, rest) = bytes.split_at(34 * 512);
    seeds.add(
        "partitions",
        &[&[2, 1, 0], head, &rest[2048 * 512..]].concat(),
    );
    let made = support::fixtures(&["mbr-logical.raw", "gpt-4096.raw"]).expect("fixtures");
    for (name, sector) in [("mbr-logical.raw", 0), ("gpt-4096.raw", 1)] {
        let mut head = vec![0; 34 * 512];
        File::open(made.join(name))
            .unwrap()
            .read_exact_at(&mut head, 0)
            .unwrap();
        seeds.add("partitions", &[&[2, 3, sector], &head[..]].concat());
    }
}

/// The disks that are damaged, recipes for it, and the structures of one volume as they are in memory.
fn disks(seeds: &mut Seeds) {
    let folder = seeds.folder.join("disks");
    let _ = fs::remove_dir_all(&folder);
    fs::create_dir_all(folder.join("disk")).unwrap();
    let ntfs = ntfs_support::made_with((8, 1024, 512), 60).expect("tools for NTFS images");
    support::copy(&ntfs, &folder.join("ntfs.raw"));
    fat(&folder.join("fat.raw"));
    let names = [
        "bare-logon.raw",
        "keys-clone.raw",
        "vhd-dynamic.vhd",
        "vhdx-dynamic.vhdx",
        "bad/unclean-log.raw",
    ];
    let made = support::fixtures(&names).expect("fixtures");
    for name in names {
        let name = made.join(name);
        support::copy(&name, &folder.join("disk").join(name.file_name().unwrap()));
    }
    for target in ["ntfs_volume", "fat", "disk"] {
        for number in 0..40 {
            let recipe = Random::new(1, target, number).recipe();
            let choice: &[u8] = if target == "disk" {
                &[number as u8]
            } else {
                &[]
            };
            seeds.add(target, &[choice, &recipe].concat());
        }
    }

    let bytes = fs::read(&ntfs).unwrap();
    let mut counts = BTreeMap::new();
    for place in structures::find(&super::batch::DiskFile::open(&ntfs)) {
        let target = match place.kind {
            Kind::MftRecord => "ntfs_record",
            Kind::IndexBlock => "ntfs_index",
            _ => continue,
        };
        let count: &mut usize = counts.entry(target).or_default();
        *count += 1;
        let mut structure = bytes[place.offset as usize..][..place.len].to_vec();
        unseal(place.kind, &mut structure);
        if *count <= 40 {
            seeds.add(target, &structure);
        }
        // The value of an index root has no block around it.
        if target == "ntfs_record" && *count <= 8 {
            seeds.add("ntfs_index", &structure[0x38..]);
        }
    }
    let pairs: [(u64, u64, &[u8]); 3] = [
        (0, 7, &[0x11, 8, 0x20, 0]),
        (
            16,
            0x9F,
            &[0x21, 0x10, 0, 1, 0x01, 0x10, 0x11, 0x60, 0xF0, 0],
        ),
        (0, u64::MAX, &[0]),
    ];
    for (lowest, highest, pairs) in pairs {
        seeds.add(
            "ntfs_runs",
            &[&lowest.to_le_bytes(), &highest.to_le_bytes(), pairs].concat(),
        );
    }
    // [MS-XCA] gives this chunk: a literal text and three ways back into it.
    let packed = b"\x38\xb0\x88F# \0 G A\0 B D D E \0F E\0";
    seeds.add("ntfs_compressed", packed);
    seeds.add("ntfs_compressed", &[&[0xFF, 0x3F][..], &[9; 4096]].concat());

    let journal = fs::read(made.join("bad/unclean-log.raw")).unwrap();
    let at = journal
        .chunks(4096)
        .position(|page| page.starts_with(b"RSTR"))
        .expect("a journal");
    let mut pages = journal[at * 4096..][..16 * 4096].to_vec();
    for page in pages.chunks_mut(4096) {
        if page.starts_with(b"RSTR") || page.starts_with(b"RCRD") {
            unseal(Kind::JournalPage, page);
        }
    }
    seeds.add("ntfs_logfile", &pages);
    if let Some(path) = support::data("ntfs/parts/LogFile_7.bin.xz") {
        // As many pages as a fuzzer can work on: the two restart pages, and the log from its start.
        let mut pages = support::unxz(&path);
        pages.truncate(LONGEST);
        for page in pages.chunks_exact_mut(4096) {
            if page.starts_with(b"RSTR") || page.starts_with(b"RCRD") {
                unseal(Kind::JournalPage, page);
            }
        }
        seeds.add("ntfs_logfile", &pages);
    }
}

/// A small FAT volume with files.
fn fat(target: &Path) {
    File::create(target).unwrap().set_len(4 << 20).unwrap();
    support::run(
        support::program("mkfs.fat")
            .args(["-F", "16", "-s", "1"])
            .arg(target),
    );
    let folder = support::temporary();
    for folder in ["::EFI", "::EFI/Microsoft"] {
        support::run(support::program("mmd").arg("-i").arg(target).arg(folder));
    }
    for (name, len) in [("BCD", 20_000), ("a long name.txt", 700), ("EMPTY", 0)] {
        let file = folder.path().join(name);
        fs::write(&file, vec![7; len]).unwrap();
        let place = format!("::EFI/Microsoft/{name}");
        support::run(
            support::program("mcopy")
                .arg("-i")
                .arg(target)
                .arg(file)
                .arg(place),
        );
    }
}

const SDDL: [&str; 8] = [
    "O:BAG:SYD:PAI(A;OICI;FA;;;BA)",
    "O:S-1-5-21-1-2-3-1001G:DUD:AI(D;;FX;;;WD)(A;OICIIOID;GA;;;CO)(A;;0x1200a9;;;BU)",
    "D:NO_ACCESS_CONTROL",
    "O:SYG:SYD:S:ARAI(AU;OICISAFA;SD;;;WD)(ML;;NWNR;;;HI)",
    "D:(OA;;CCDC;bf967a86-0de6-11d0-a285-00aa003049e2;4828cc14-1437-45bc-9b07-ad6f015e5f28;AO)",
    "D:(XA;;FX;;;WD;(@User.Project Any_of 1))(A;;FA;;;S-1-15-2-1)",
    "S:(RA;;;;;WD;(\"Secrecy\",TU,0,3))(TL;;0x1;;;S-1-19-512-4096)",
    "D:P",
];

fn values(seeds: &mut Seeds) {
    for text in SDDL {
        seeds.add("sddl", text.as_bytes());
        if let Ok(descriptor) = sddl::parse(text, None) {
            let bytes = descriptor.to_bytes().unwrap();
            seeds.add("descriptor", &bytes);
            let place = [[7, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0], [0; 16]].concat();
            seeds.add(
                "ntfs_secure",
                &[
                    &place[..16],
                    &(bytes.len() as u32 + 20).to_le_bytes(),
                    &bytes,
                ]
                .concat(),
            );
        }
    }
    let lines = [("keys", SDDL[0]), (r"keys\a.bin", "D:AI(A;ID;FA;;;BA)")];
    seeds.add("saved_acl", &saved::write(lines));
    seeds.add(
        "saved_acl",
        b"keys\r\nD:PAI(A;OICI;FA;;;BA)(A;OICI;FA;;;SY)\r\n",
    );

    let made = support::fixtures(&["folder/everything-wrong"]).expect("fixtures");
    let config = made.join("folder/everything-wrong/Windows/System32/config");
    for hive in ["SYSTEM", "SOFTWARE", "SAM"] {
        let hive = Hive::parse(fs::read(config.join(hive)).unwrap()).unwrap();
        collect(&hive.root().unwrap(), seeds);
    }
    for path in support::data_files("certs") {
        seeds.add("certificate", &fs::read(path).unwrap());
    }

    let events = [
        NewEvent::new(
            "2025-01-01T00:00:00Z",
            "TermService",
            1057,
            &[("param1", "a text"), ("", "another")],
        ),
        NewEvent::new(
            "2025-01-01T00:00:01Z",
            "User32",
            1074,
            &[("/Reason", "0x500ff")],
        ),
    ];
    let log = event_log::log(&events);
    let used = log.iter().rposition(|byte| *byte != 0).unwrap() + 1;
    seeds.add("event_log", &log[4096..used]);
    for name in [
        "evtx/w10-4624-4625-type2.evtx.xz",
        "evtx/dc-2021-rcm.evtx.xz",
    ] {
        if let Some(path) = support::data(name) {
            let log = support::unxz(&path);
            seeds.add("event_log", &log[4096..][..64 << 10]);
        }
    }
}

/// Values of a registry that are formats of their own.
fn collect(key: &Key<'_>, seeds: &mut Seeds) {
    let path = key.path().unwrap();
    for value in key.values().unwrap() {
        let data = value.data().unwrap();
        let name = value.name().to_string();
        let target = match name.as_str() {
            "Blob" => "certificate",
            "F" | "V" | "C" => "sam",
            _ if path.ends_with("FirewallRules") || path.ends_with("ConSecRules") => {
                "firewall_rule"
            }
            _ => continue,
        };
        let units = data
            .as_chunks::<2>()
            .0
            .iter()
            .map(|unit| u16::from_le_bytes(*unit));
        match target {
            "firewall_rule" => {
                let text: Vec<u16> = units.take_while(|unit| *unit != 0).collect();
                seeds.add(target, String::from_utf16_lossy(&text).as_bytes());
            }
            _ => seeds.add(target, &data),
        }
    }
    for subkey in key.subkeys().unwrap() {
        collect(&subkey, seeds);
    }
}

fn texts(seeds: &mut Seeds) {
    for entry in fs::read_dir(support::root().join("fixtures/broken")).unwrap() {
        let text = fs::read(entry.unwrap().path()).unwrap();
        seeds.add("reg_file", &text);
    }
    let wide = [&[0xFF, 0xFE][..], &utf16("Windows Registry Editor Version 5.00\r\n\r\n[K]\r\n@=\"x\"\r\n\"n\"=hex(7):61,00,\\\r\n  00,00\r\n")].concat();
    seeds.add("reg_file", &wide);
    seeds.add(
        "reg_file",
        b"REGEDIT4\n[-K]\n[L\\M]\n\"a\"=dword:1\n\"b\"=-\n",
    );

    let mut policy = b"PReg\x01\0\0\0".to_vec();
    for (value, data) in [
        ("fDenyTSConnections", 1_u32),
        ("**del.MinEncryptionLevel", 0),
    ] {
        policy.extend(utf16(&format!("[Software\\Policies\\X\0;{value}\0;")));
        for number in [4_u32, 4] {
            policy.extend(number.to_le_bytes());
            policy.extend(utf16(";"));
        }
        policy.extend(data.to_le_bytes());
        policy.extend(utf16("]"));
    }
    seeds.add("registry_policy", &policy);
}

/// A plan of the program, and journals.
fn operations(seeds: &mut Seeds) {
    let folder = support::temporary();
    for name in ["everything-wrong", "tls12-off"] {
        let target = support::fixture(&format!("folder/{name}"), folder.path()).expect("fixtures");
        let plan = folder.path().join(format!("{name}.json"));
        let mut command = support::coldfix(folder.path());
        command
            .arg("repair")
            .arg(target)
            .args(["--dry-run", "--plan-out"])
            .arg(&plan);
        let code = command.output().unwrap().status.code();
        assert!(matches!(code, Some(0 | 1)), "{code:?}");
        seeds.add("plan", &fs::read(plan).unwrap());
    }
    let header = |kind| OperationHeader {
        id: "20250101-000000-00000001".into(),
        started: "2025-01-01T00:00:00Z".into(),
        tool_version: "0.1.0".into(),
        command: "repair".into(),
        target: TargetIdentity {
            path: "/disk.raw".into(),
            container: "raw".into(),
            len: 8192,
            len_after: None,
            disk_id: None,
            kind,
        },
        edits: Vec::new(),
        undoes: None,
        new_disk: false,
    };
    let change = |offset: u64| Change {
        offset,
        before: vec![1; 64],
        after: vec![2; 64],
    };
    let image = ChangeSet {
        patches: vec![Patch {
            file: "/disk.raw".into(),
            before_len: 8192,
            after_len: 8192,
            changes: vec![change(0), change(4096)],
        }],
        operations: Vec::new(),
    };
    let descriptor =
        |text| -> Arc<[u8]> { sddl::parse(text, None).unwrap().to_bytes().unwrap().into() };
    let mounted = ChangeSet {
        patches: Vec::new(),
        operations: vec![
            HostOperation::SetSecurity {
                file: "ProgramData/keys".into(),
                before: descriptor(SDDL[0]),
                after: descriptor("O:SYG:SYD:PAI(A;;FA;;;SY)"),
            },
            HostOperation::Rename {
                file: "ProgramData/old".into(),
                name: "new".into(),
            },
        ],
    };
    for (kind, changes) in [(TargetKind::Image, image), (TargetKind::Folder, mounted)] {
        let mut bytes = Vec::new();
        journal::write(&header(kind), &changes, &mut bytes).unwrap();
        bytes.flush().unwrap();
        seeds.add("journal", &bytes);
    }
}
