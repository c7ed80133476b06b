// SPDX-License-Identifier: GPL-2.0-or-later
//! Partition tables as sfdisk, sgdisk and Windows make them, compared with what sfdisk and sleuthkit's mmls see.
#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    clippy::indexing_slicing,
    clippy::arithmetic_side_effects
)]

mod support;

use std::fs::{self, File};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use coldfix::container;
use coldfix::device::{self, Access, SharedDevice};
use coldfix::error::Kind;
use coldfix::partition::{self, Content, Scheme, Table};

fn disk(path: &Path) -> SharedDevice {
    container::open(device::open(path, Access::Read).unwrap())
        .unwrap()
        .disk
}

fn scan(path: &Path) -> Table {
    partition::scan(&disk(path)).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

fn image(folder: &Path, name: &str, len: u64) -> PathBuf {
    let path = folder.join(name);
    File::create(&path).unwrap().set_len(len).unwrap();
    path
}

/// Makes the table that the script describes.
fn sfdisk(path: &Path, script: &str) {
    let file = path.with_extension("script");
    fs::write(&file, script).unwrap();
    let mut sfdisk = support::program("sfdisk");
    sfdisk.arg("-q").arg(path).stdin(File::open(&file).unwrap());
    support::run(&mut sfdisk);
}

fn sgdisk(path: &Path, arguments: &[&str]) {
    support::run(support::program("sgdisk").args(arguments).arg(path));
}

/// Puts a fresh NTFS volume with these sectors into the image.
fn put_ntfs(path: &Path, offset: u64, len: u64, sector: u32) {
    let volume = image(path.parent().unwrap(), "volume", len);
    let mut mkntfs = support::program("mkntfs");
    mkntfs.args(["-qF", "-s", &sector.to_string(), "-c", "4096"]);
    support::run(mkntfs.arg(&volume));
    // The whole of a small volume; the holes are in the target already.
    let bytes = fs::read(&volume).unwrap();
    let target = File::options().write(true).open(path).unwrap();
    for (index, chunk) in bytes.chunks(1 << 16).enumerate() {
        if chunk.iter().any(|byte| *byte != 0) {
            let place = offset + (u64::try_from(index).unwrap() << 16);
            target.write_all_at(chunk, place).unwrap();
        }
    }
}

/// What sfdisk sees: number, offset, length, type, name, id, active. Extended partitions left out.
type Seen = (u32, u64, u64, String, Option<String>, Option<String>, bool);

fn by_sfdisk(path: &Path) -> Vec<Seen> {
    let output = support::run(support::program("sfdisk").arg("--json").arg(path));
    let json: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    let table = &json["partitiontable"];
    let sector = table["sectorsize"].as_u64().unwrap_or(512);
    let device = path.to_str().unwrap();
    let rows = table["partitions"].as_array().cloned().unwrap_or_default();
    rows.iter()
        .filter(|row| !matches!(row["type"].as_str(), Some("5" | "f" | "85")))
        .map(|row| {
            let number = row["node"].as_str().unwrap().strip_prefix(device).unwrap();
            let text = |field: &str| row[field].as_str().map(str::to_owned);
            let attributes = row["attrs"].as_str().unwrap_or_default();
            (
                number.trim_start_matches('p').parse().unwrap(),
                row["start"].as_u64().unwrap() * sector,
                row["size"].as_u64().unwrap() * sector,
                row["type"].as_str().unwrap().to_lowercase(),
                text("name"),
                text("uuid").map(|id| id.to_lowercase()),
                row["bootable"].as_bool().unwrap_or(false)
                    || attributes.contains("LegacyBIOSBootable"),
            )
        })
        .collect()
}

fn by_us(table: &Table) -> Vec<Seen> {
    let one = |one: &partition::Partition| {
        let kind = one
            .type_name
            .rsplit('(')
            .next()
            .unwrap()
            .trim_end_matches(')');
        let kind = kind.strip_prefix("0x").map_or(kind.to_owned(), |number| {
            number.trim_start_matches('0').to_owned()
        });
        (
            one.number,
            one.offset,
            one.len,
            kind,
            one.name.clone(),
            one.id.clone(),
            one.active,
        )
    };
    table.partitions.iter().map(one).collect()
}

/// Offset and length of every partition that mmls sees; none for a disk without a table.
fn by_mmls(path: &Path, sector: u64) -> Vec<(u64, u64)> {
    let mut mmls = support::program("mmls");
    let output = mmls
        .args(["-b", &sector.to_string()])
        .arg(path)
        .output()
        .unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let mut rows: Vec<(u64, u64)> = text
        .lines()
        .filter_map(|line| {
            let fields: Vec<&str> = line.split_whitespace().collect();
            // 002:  000:000   0000000128   0000057471   0000057344   NTFS / exFAT (0x07)
            let slot = *fields.get(1)?;
            let is_row = fields[0].ends_with(':') && slot.starts_with(|c: char| c.is_ascii_digit());
            let number = |index: usize| fields.get(index)?.parse::<u64>().ok();
            is_row.then_some((number(2)? * sector, number(4)? * sector))
        })
        .collect();
    rows.sort_unstable();
    rows
}

fn places(table: &Table) -> Vec<(u64, u64)> {
    let mut places: Vec<_> = table
        .partitions
        .iter()
        .map(|one| (one.offset, one.len))
        .collect();
    places.sort_unstable();
    places
}

fn have(tools: &[&str]) -> bool {
    tools.iter().all(|tool| support::require(tool))
}

#[test]
fn mbr_tables_of_sfdisk() {
    if !have(&["sfdisk", "mmls"]) {
        return;
    }
    let folder = support::temporary();
    let scripts = [
        "label: dos\nlabel-id: 0x0a1b2c3d\nstart=2048, size=4096, type=7, bootable\nstart=8192, size=1000, type=c\n",
        // Place 2 left free; places not in the disk's order.
        "label: dos\nlabel-id: 0xffffffff\n1: start=40000, size=100, type=83\n3: start=2048, size=64, type=27\n\
         4: start=63, size=63, type=6\n",
        // Logical partitions, in an extended one at the end and in one between.
        "label: dos\nlabel-id: 0x1\n1: start=2048, size=2048, type=7\n2: start=4096, size=90000, type=f\n\
         5: start=6144, size=2048, type=7\n6: start=10240, size=2048, type=83\n7: start=14336, size=70000, type=7\n\
         3: start=100000, size=2048, type=7, bootable\n",
        "label: dos\n4: start=2048, size=100000, type=5\n5: start=4096, size=1, type=7\n",
    ];
    for (index, script) in scripts.iter().enumerate() {
        let path = image(folder.path(), &format!("mbr{index}."), 64 << 20);
        sfdisk(&path, script);
        let table = scan(&path);
        assert_eq!(table.scheme, Scheme::Mbr);
        assert!(table.notes.is_empty(), "{:?}", table.notes);
        assert_eq!(by_us(&table), by_sfdisk(&path), "{script}");
        assert_eq!(places(&table), by_mmls(&path, 512), "{script}");
        if let Some(id) = script.split("label-id: 0x").nth(1) {
            let id = u32::from_str_radix(id.lines().next().unwrap(), 16).unwrap();
            assert_eq!(table.disk_id, Some(format!("{id:08x}")));
        }
    }
    // A deleted logical partition: the ones behind it move up, as Linux and sfdisk count.
    let path = folder.path().join("mbr2.");
    support::run(
        support::program("sfdisk")
            .args(["-q", "--delete"])
            .arg(&path)
            .arg("6"),
    );
    let table = scan(&path);
    assert_eq!(
        table
            .partitions
            .iter()
            .map(|one| one.number)
            .collect::<Vec<_>>(),
        [1, 3, 5, 6]
    );
    assert_eq!(by_us(&table), by_sfdisk(&path));
}

#[test]
fn gpt_tables_of_sgdisk() {
    if !have(&["sgdisk", "sfdisk", "mmls"]) {
        return;
    }
    let folder = support::temporary();
    let path = image(folder.path(), "gpt", 200 << 20);
    sgdisk(
        &path,
        &[
            "-n1:2048:+50M",
            "-t1:ef00",
            "-c1:EFI system partition",
            "-n2:0:+16M",
            "-t2:0c01",
            "-n5:0:+60M",
            "-t5:0700",
            "-c5:Basic data ÄÖ \u{1f980}",
            "-A5:set:2",
            "-n128:0:0",
            "-t128:2700",
        ],
    );
    let table = scan(&path);
    assert_eq!((table.scheme, table.sector_size), (Scheme::Gpt, 512));
    assert!(table.notes.is_empty(), "{:?}", table.notes);
    assert_eq!(by_us(&table), by_sfdisk(&path));
    assert_eq!(places(&table), by_mmls(&path, 512));
    let print = support::run(support::program("sgdisk").arg("-p").arg(&path));
    let print = String::from_utf8_lossy(&print.stdout).to_lowercase();
    assert!(print.contains(table.disk_id.as_deref().unwrap()), "{print}");
    let known = [
        "EFI system",
        "Microsoft reserved",
        "Microsoft basic data",
        "Windows recovery",
    ];
    for (one, name) in table.partitions.iter().zip(known) {
        assert!(one.type_name.starts_with(name), "{}", one.type_name);
    }

    // More and larger entries than usual.
    let many = image(folder.path(), "many", 64 << 20);
    sgdisk(&many, &["-S", "512", "-n300:2048:+1M", "-n512:0:+1M"]);
    let table = scan(&many);
    assert_eq!(by_us(&table), by_sfdisk(&many));
    assert_eq!(table.partitions[1].number, 512);
}

#[test]
fn a_gpt_with_one_bad_copy_is_the_one_that_sfdisk_reads() {
    if !have(&["sgdisk", "sfdisk"]) {
        return;
    }
    let folder = support::temporary();
    let len = 64 << 20;
    let good = image(folder.path(), "good", len);
    sgdisk(&good, &["-n1:2048:+20M", "-t1:0700", "-n2:0:0", "-t2:0700"]);
    let whole = scan(&good);
    let last = len - 512;
    // What is spoilt, and what is said.
    for (offset, size, primary) in [
        (512, 512, true),
        (512 + 56, 1, true),
        (1024, 16384, true),
        (1024 + 200, 1, true),
        (last, 512, false),
        (last + 20, 1, false),
        (last - 16384, 1, false),
    ] {
        let path = folder.path().join("bad");
        fs::copy(&good, &path).unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&vec![0xa5; size], offset).unwrap();
        drop(file);
        let table = scan(&path);
        assert_eq!(table.partitions, whole.partitions);
        assert_eq!(by_us(&table), by_sfdisk(&path), "{offset:#x}");
        let says = if primary {
            "primary GPT is damaged"
        } else {
            "backup GPT is damaged"
        };
        assert!(table.notes[0].contains(says), "{:?}", table.notes);
        // The rest too, and nothing is left.
        let file = File::options().write(true).open(&path).unwrap();
        file.write_all_at(&[0x5a; 92], 512).unwrap();
        file.write_all_at(&[0x5a; 92], last).unwrap();
        drop(file);
        let error = partition::scan(&disk(&path)).unwrap_err();
        assert_eq!(error.kind(), Kind::Damaged);
        assert!(error.hint().is_some());
    }
}

#[test]
fn places_past_2_tib_and_4_gib_are_those_of_sgdisk() {
    if !have(&["sgdisk", "sfdisk", "mkntfs", "mmls"]) {
        return;
    }
    let folder = support::temporary();
    let path = image(folder.path(), "large", 3 << 40);
    let start = (5_u64 << 30) / 512;
    let far = (2_u64 << 40) / 512 + 2048;
    sgdisk(
        &path,
        &[
            &format!("-n1:{start}:+32M"),
            "-t1:0700",
            &format!("-n2:{far}:+32M"),
            "-t2:0700",
        ],
    );
    for sector in [start, far] {
        put_ntfs(&path, sector * 512, 32 << 20, 512);
    }
    let table = scan(&path);
    assert_eq!(by_us(&table), by_sfdisk(&path));
    assert_eq!(places(&table), by_mmls(&path, 512));
    let shared = device::open(&path, Access::Write).unwrap();
    for (one, sector) in table.partitions.iter().zip([start, far]) {
        assert_eq!((one.offset, one.content), (sector * 512, Content::Ntfs));
        let volume = one.open(&shared).unwrap();
        volume.write_at((32 << 20) - 520, b"here").unwrap();
        let mut found = [0; 4];
        let plain = File::open(&path).unwrap();
        plain
            .read_exact_at(&mut found, sector * 512 + (32 << 20) - 520)
            .unwrap();
        assert_eq!(&found, b"here");
    }
}

/// A loop device with 4096-byte sectors; detached when dropped.
struct Loop(PathBuf);

impl Loop {
    fn attach(image: &Path) -> Option<Loop> {
        let mut losetup = support::program("losetup");
        let output = losetup
            .args(["--show", "-b", "4096", "-f"])
            .arg(image)
            .output()
            .unwrap();
        if !output.status.success() {
            support::skip("loop devices with 4096-byte sectors (root)");
            return None;
        }
        Some(Loop(
            String::from_utf8(output.stdout).unwrap().trim().into(),
        ))
    }
}

impl Drop for Loop {
    fn drop(&mut self) {
        let _ = support::program("losetup").arg("-d").arg(&self.0).status();
    }
}

#[test]
fn tables_of_4096_byte_disks_are_read_from_the_device_and_from_its_image() {
    if !have(&["sgdisk", "sfdisk", "mkntfs", "mmls"]) {
        return;
    }
    let folder = support::temporary();
    for scheme in [Scheme::Gpt, Scheme::Mbr] {
        let path = image(folder.path(), &format!("{scheme:?}."), 200 << 20);
        let Some(device) = Loop::attach(&path) else {
            return;
        };
        if scheme == Scheme::Gpt {
            sgdisk(
                &device.0,
                &[
                    "-n1:256:+50M",
                    "-t1:ef00",
                    "-n2:0:+64M",
                    "-t2:0700",
                    "-c2:Windows",
                ],
            );
        } else {
            let script = folder.path().join("script");
            fs::write(
                &script,
                "label: dos\nstart=256, size=12800, type=c\nstart=13056, size=16384, type=7\n",
            )
            .unwrap();
            let mut sfdisk = support::program("sfdisk");
            sfdisk
                .arg("-q")
                .arg(&device.0)
                .stdin(File::open(&script).unwrap());
            support::run(&mut sfdisk);
        }
        let seen = by_sfdisk(&device.0);
        let offset = seen[1].1;
        // Through the loop device: the image below keeps nothing of its own in memory then.
        put_ntfs(&path, offset, 64 << 20, 4096);
        support::run(
            support::program("blockdev")
                .arg("--flushbufs")
                .arg(&device.0),
        );

        let table = scan(&device.0);
        assert_eq!((table.scheme, table.sector_size), (scheme, 4096));
        assert!(table.notes.is_empty(), "{:?}", table.notes);
        assert_eq!(by_us(&table), seen);
        drop(device);

        let as_file = scan(&path);
        assert_eq!(as_file.partitions, table.partitions);
        assert_eq!(as_file.sector_size, 4096);
        assert!(as_file.notes[0].contains("4096"), "{:?}", as_file.notes);
        assert_eq!(places(&as_file), by_mmls(&path, 4096));
        let two = &as_file.partitions[1];
        assert_eq!((two.number, two.content), (2, Content::Ntfs));
        assert_eq!(two.open(&disk(&path)).unwrap().sector_size(), 4096);
    }
}

#[test]
fn tables_laid_over_a_bare_volume_win_and_what_leads_nowhere_is_refused() {
    if !have(&["sgdisk", "sfdisk", "mkntfs"]) {
        return;
    }
    let folder = support::temporary();
    let len = 64 << 20;
    let path = image(folder.path(), "disk", len);
    let fresh = || {
        File::create(&path).unwrap().set_len(len).unwrap();
        put_ntfs(&path, 0, len, 512);
    };
    fresh();
    let bare = scan(&path);
    assert_eq!(
        (bare.scheme, bare.partitions[0].content),
        (Scheme::Bare, Content::Ntfs)
    );
    assert!(bare.notes.is_empty());

    // sfdisk and sgdisk leave the first 440 bytes of sector 0, the volume's name and numbers among them.
    let kept = || {
        let mut first = [0; 512];
        File::open(&path)
            .unwrap()
            .read_exact_at(&mut first, 0)
            .unwrap();
        &first[3..7] == b"NTFS"
    };
    let script = "label: dos\nstart=2048, size=40960, type=7\n";
    let over = || {
        let file = folder.path().join("script");
        fs::write(&file, script).unwrap();
        let mut sfdisk = support::program("sfdisk");
        sfdisk.args(["-q", "--wipe", "never"]).arg(&path);
        support::run(sfdisk.stdin(File::open(&file).unwrap()));
    };
    over();
    assert!(kept());
    assert_eq!(
        partition::scan(&disk(&path)).unwrap_err().kind(),
        Kind::Refused
    );
    put_ntfs(&path, 2048 * 512, 40960 * 512, 512);
    let table = scan(&path);
    assert_eq!(
        (table.scheme, table.partitions[0].content),
        (Scheme::Mbr, Content::Ntfs)
    );
    assert_eq!(by_us(&table), by_sfdisk(&path));

    fresh();
    sgdisk(&path, &["-g", "-n1:2048:+20M"]);
    assert!(kept());
    assert_eq!(scan(&path).scheme, Scheme::Gpt);
}

#[test]
fn volumes_are_told_apart_as_their_makers_wrote_them() {
    let folder = support::temporary();
    let makers: [(&str, &[&str], Content); 6] = [
        ("mkfs.fat", &["-F", "12"], Content::Fat),
        ("mkfs.fat", &["-F", "16"], Content::Fat),
        ("mkfs.fat", &["-F", "32"], Content::Fat),
        ("mkfs.fat", &["-S", "4096"], Content::Fat),
        ("mkntfs", &["-qF"], Content::Ntfs),
        (
            "mkntfs",
            &["-qF", "-s", "4096", "-c", "65536"],
            Content::Ntfs,
        ),
    ];
    for (tool, options, content) in makers {
        if !support::require(tool) {
            continue;
        }
        let len = if options.contains(&"12") {
            4 << 20
        } else {
            64 << 20
        };
        let path = image(folder.path(), "volume", len);
        support::run(support::program(tool).args(options).arg(&path));
        let table = scan(&path);
        assert_eq!(table.scheme, Scheme::Bare, "{tool} {options:?}");
        assert_eq!(table.partitions[0].content, content, "{tool} {options:?}");
        assert_eq!(table.partitions[0].len, len);
    }
    // Boot sectors of real volumes, each as the first sector of a disk.
    for boot in support::data_files("ntfs/parts") {
        if boot
            .extension()
            .is_some_and(|extension| extension == "boot")
        {
            let path = image(folder.path(), "boot", 0);
            fs::copy(&boot, &path).unwrap();
            let table = scan(&path);
            assert_eq!(table.scheme, Scheme::Bare, "{}", boot.display());
            assert_eq!(table.partitions[0].content, Content::Ntfs);
            let sector = if boot.ends_with("4kn.boot") {
                4096
            } else {
                512
            };
            assert_eq!(table.sector_size, sector, "{}", boot.display());
            assert!(table.notes[0].contains("cut short"));
        }
    }
    // A text file.
    let path = folder.path().join("text");
    fs::write(&path, include_str!("partition_tables.rs")).unwrap();
    let error = partition::scan(&disk(&path)).unwrap_err();
    assert_eq!(error.kind(), Kind::Unsupported);
    assert!(error.to_string().contains("text") && error.hint().unwrap().contains("right file"));
}

#[test]
fn disks_of_windows_are_divided_as_mmls_says() {
    if !have(&["mmls", "tar"]) {
        return;
    }
    let folder = support::temporary();
    let path = folder.path().join("disk");
    let (mut tables, mut bare) = (0, 0);
    for packed in support::data_files("ntfs")
        .into_iter()
        .chain(support::data_files("vhd"))
    {
        let name = packed.file_name().unwrap().to_str().unwrap().to_owned();
        if name.ends_with(".tgz") {
            let inside = folder.path().join("inside");
            fs::create_dir(&inside).unwrap();
            support::run(
                support::program("tar")
                    .arg("-xSzf")
                    .arg(&packed)
                    .arg("-C")
                    .arg(&inside),
            );
            let only = fs::read_dir(&inside).unwrap().next().unwrap().unwrap();
            fs::rename(only.path(), &path).unwrap();
        } else if name.ends_with(".raw.xz")
            || name.contains("parent.vhd.")
            || name.contains("fixed.vhd.")
        {
            support::unxz_to(&packed, &path);
        } else {
            continue;
        }
        if name == "w-10m-many-files.raw.xz" {
            // A volume taken out of a VHD together with the VHD's footer, which speaks of a larger disk.
            let error = container::open(device::open(&path, Access::Read).unwrap()).unwrap_err();
            assert_eq!(error.kind(), Kind::Damaged);
            // The way out that the error names.
            let hint = error.hint().unwrap();
            let len = hint
                .split("truncate -s ")
                .nth(1)
                .unwrap()
                .split(' ')
                .next()
                .unwrap();
            File::options()
                .write(true)
                .open(&path)
                .unwrap()
                .set_len(len.parse().unwrap())
                .unwrap();
        }
        let table = scan(&path);
        let seen = by_mmls(&path, 512);
        if table.scheme == Scheme::Bare {
            assert_eq!(seen, [], "{name}");
            assert_eq!(table.partitions[0].content, Content::Ntfs, "{name}");
            bare += 1;
        } else {
            assert_eq!(places(&table), seen, "{name}");
            tables += 1;
        }
        for one in &table.partitions {
            let expected = if name.contains("fat") {
                Content::Fat
            } else {
                Content::Ntfs
            };
            assert_eq!(one.content, expected, "{name}");
            assert_eq!(one.fault, None, "{name}");
        }
        assert!(table.notes.is_empty(), "{name}: {:?}", table.notes);
    }
    eprintln!("{tables} disks with a table, {bare} bare volumes");
    assert!(tables + bare == 0 || tables + bare >= 14, "{tables} {bare}");
}

#[test]
fn a_gpt_of_windows_server_2022() {
    if !have(&["qemu-img", "sfdisk", "mmls"]) {
        return;
    }
    let Some(packed) = support::data("vhd/ws2022-gpt-ntfs.vhdx.xz") else {
        return;
    };
    let folder = support::temporary();
    let (packed_disk, path) = (folder.path().join("vhdx"), folder.path().join("disk"));
    support::unxz_to(&packed, &packed_disk);
    let mut convert = support::program("qemu-img");
    convert.args(["convert", "-f", "vhdx", "-O", "raw"]);
    support::run(convert.arg(&packed_disk).arg(&path));
    let table = scan(&path);
    assert_eq!(table.scheme, Scheme::Gpt);
    assert!(table.notes.is_empty(), "{:?}", table.notes);
    assert_eq!(by_us(&table), by_sfdisk(&path));
    assert_eq!(places(&table), by_mmls(&path, 512));
    assert_eq!(table.partitions.last().unwrap().content, Content::Ntfs);
}
