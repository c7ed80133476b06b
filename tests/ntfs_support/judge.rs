// SPDX-License-Identifier: GPL-2.0-or-later
//! A volume in memory under an overlay, and the foreign programs that judge what becomes of it.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Change, Device};
use coldfix::error::Error;
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use super::{Mount, Seen, run, seen, temporary};

/// A made image under an overlay.
pub struct Subject {
    /// What is changed.
    pub overlay: Arc<Overlay>,
    /// The volume on it.
    pub volume: NtfsVolume,
}

impl Subject {
    /// A volume from the bytes of an image.
    pub fn of(image: Vec<u8>) -> Subject {
        let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(image))));
        let volume = NtfsVolume::open(overlay.clone()).unwrap();
        Subject { overlay, volume }
    }

    /// What has changed so far.
    pub fn changes(&self) -> Vec<Change> {
        self.overlay.changes().unwrap()
    }

    /// The bytes as they are now.
    pub fn image(&self) -> Vec<u8> {
        let mut image = vec![0; self.overlay.len().try_into().unwrap()];
        self.overlay.read_at(0, &mut image).unwrap();
        image
    }

    /// An attempt that must fail and change nothing.
    pub fn refused(&self, path: &str, content: &[u8]) -> Error {
        let before = self.changes();
        let error = self.volume.replace(path, content).unwrap_err();
        assert_eq!(self.changes(), before, "{path}");
        error
    }
}

/// What ntfs-3g, icat and ntfscat read, after making sure that they agree; and the checkers' consent.
pub fn judge(image: &[u8]) -> BTreeMap<String, Seen> {
    let file = temporary(image);
    let all = {
        let mount = Mount::read_only(file.path());
        seen(mount.path())
    };
    let path = file.path().to_str().unwrap();
    for (name, file) in &all {
        let Some(content) = &file.content else {
            continue;
        };
        // ntfs-3g 2022.10.3 shows links in its own way; each name of `many` is like the others.
        if name.starts_with("many/") && !name.ends_with("99") {
            continue;
        }
        let record = file.record.to_string();
        let icat = run("icat", &[path, &record]);
        assert!(
            icat == *content,
            "icat: {name}, {} bytes, not {}",
            icat.len(),
            content.len()
        );
        assert!(
            run("ntfscat", &["-i", &record, path]) == *content,
            "ntfscat: {name}"
        );
    }
    check(file.path());
    all
}

/// The programs that look at the whole volume.
pub fn check(image: &Path) {
    let path = image.to_str().unwrap();
    run("ntfsfix", &["-n", path]);
    let out = run("ntfsresize", &["--info", "--force", path]);
    let out = String::from_utf8_lossy(&out);
    assert!(
        !out.contains("ERROR") && out.contains("Collecting resizing constraints"),
        "{out}"
    );
}
