// SPDX-License-Identifier: GPL-2.0-or-later
//! How long a folder of very many files takes.

use std::fs;
use std::path::PathBuf;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use crate::ntfs_support::*;
use crate::subject::{NOW, descriptor};

/// How many files the timing has in one folder.
const MANY: usize = 100_000;

/// An image with very many files in the folder `keys`, as Windows names them there.
fn many() -> Option<PathBuf> {
    if !require(&["mkntfs", "ntfs-3g", "fuser"]) {
        return None;
    }
    let target = scratch().join("many-files.raw");
    if !target.exists() {
        let own = tempfile::tempdir_in(scratch()).unwrap();
        let part = own.path().join("image");
        fs::File::create(&part).unwrap().set_len(400 << 20).unwrap();
        let path = part.to_str().unwrap();
        run(
            "mkntfs",
            &[
                "-q", "-Q", "-F", "-p", "2048", "-H", "255", "-S", "63", path,
            ],
        );
        let mount = Mount::with(&part, "big_writes");
        let folder = mount.path().join("ProgramData/keys");
        fs::create_dir_all(&folder).unwrap();
        for number in 0..MANY {
            let name = sha256(&number.to_le_bytes());
            let name: String = name.chars().take(32).collect();
            let name = format!("{name}_8b1e9d2c-6d1f-4b3e-9a77-2f6c5a1d0e4b");
            fs::write(folder.join(name), number.to_le_bytes()).unwrap();
        }
        drop(mount);
        fs::rename(part, &target).unwrap();
    }
    Some(target)
}

/// Run with `cargo test --release --test ntfs_secure -- --ignored --nocapture`.
#[test]
#[ignore = "measures; makes a volume with 100,000 files"]
fn how_long_a_hundred_thousand_files_take() {
    let Some(image) = many() else {
        return;
    };
    let image = fs::read(image).unwrap();
    let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(image))));
    let volume = NtfsVolume::open(overlay.clone()).unwrap();
    let time = |what: &str, work: &mut dyn FnMut()| {
        let start = std::time::Instant::now();
        work();
        eprintln!("{what}: {:.0} ms", start.elapsed().as_secs_f64() * 1000.0);
    };
    let mut tree = Vec::new();
    time("listing the tree", &mut || {
        tree = volume.tree("programdata/KEYS").unwrap()
    });
    assert_eq!(tree.len(), MANY + 1);
    let paths: Vec<&str> = tree.iter().map(|entry| entry.path.as_str()).collect();
    let mut before = Vec::new();
    time("reading all", &mut || {
        before = volume.security(&paths).unwrap()
    });
    let root = volume.security(&["$Bitmap", "$Secure"]).unwrap();
    for (what, wanted) in [
        ("instead of their own", &root[0]),
        ("other ids", &root[1]),
        ("the same again", &root[1]),
    ] {
        time(what, &mut || {
            volume.set_security(wanted, &paths, NOW).unwrap()
        });
        let now = volume.security(&paths).unwrap();
        assert!(now.iter().all(|now| now == wanted));
        time("second reader", &mut || {
            let agrees = volume.second_reader_agrees_on_security(&paths, wanted);
            assert_eq!(agrees, Some(true));
        });
    }
    eprintln!("{} changes", overlay.changes().unwrap().len());
    time("a thousand new descriptors", &mut || {
        for number in 0..1000 {
            let new = descriptor(number, 3);
            volume.set_security(&new, &paths[..1], NOW).unwrap();
        }
    });
    time("looking at $Secure", &mut || {
        assert_eq!(volume.check_security().unwrap(), [""; 0]);
    });
}
