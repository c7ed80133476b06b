// SPDX-License-Identifier: GPL-2.0-or-later
//! A volume in memory under an overlay, and the foreign programs that judge what becomes of it.

use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{Change, Device, SharedDevice};
use coldfix::error::Error;
use coldfix::volume::Volume;
use coldfix::volume::ntfs::NtfsVolume;

use super::{Mount, Seen, attempt, bare, run, scratch, seen, sha256, temporary};

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
        Subject::on(Arc::new(MemoryDevice::new(image)))
    }

    /// A volume on a device, which is only read.
    pub fn on(device: SharedDevice) -> Subject {
        let overlay = Arc::new(Overlay::new(device));
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
    let (ok, out, error) = attempt("ntfsresize", &["--info", "--force", path]);
    let out = String::from_utf8_lossy(&out);
    // It has counted every cluster before it says that there is nothing to gain.
    let full = out.contains("ERROR: Volume is full");
    assert!(
        full || (ok && !out.contains("ERROR") && out.contains("Collecting resizing constraints")),
        "{out}{error}"
    );
}

/// The volumes of Windows, and of Linux' ntfs3, that may be written, as files that must not be changed.
pub fn clean_volumes() -> Vec<PathBuf> {
    let all = [
        ("linux-mkntfs-dfvfs.raw.xz", 0),
        ("linux-mkntfs-testfs1.raw.xz", 0),
        ("linux-ntfs3-attrlist.raw.xz", 0),
        ("w-10m-many-files.raw.xz", 0),
        ("w-2kcluster-index.raw.xz", 128),
        ("w-vss-512cluster.raw.xz", 0),
        ("w10-lastaccess.raw.xz", 128),
        ("w10-ptrn.raw.xz", 128),
        ("w10-2mcluster.raw.xz", 128),
    ];
    let found = all.map(|(name, sector)| bare(name, sector));
    found.into_iter().flatten().collect()
}

/// A copy of an image that keeps its holes, with changes made in it.
pub fn changed_copy(image: &Path, changes: &[Change]) -> tempfile::NamedTempFile {
    let copy = tempfile::NamedTempFile::new_in(scratch()).unwrap();
    let target = copy.path().to_str().unwrap();
    run("cp", &["--sparse=always", image.to_str().unwrap(), target]);
    let file = OpenOptions::new().write(true).open(copy.path()).unwrap();
    for change in changes {
        file.write_all_at(&change.after, change.offset).unwrap();
    }
    copy
}

/// Whether ntfsresize and ntfsfix find the volume in order.
pub fn verdicts(image: &Path) -> (bool, bool) {
    let path = image.to_str().unwrap();
    let (ok, out, _) = attempt("ntfsresize", &["--info", "--force", path]);
    // It says so after it has counted every cluster.
    let full = String::from_utf8_lossy(&out).contains("ERROR: Volume is full");
    (ok || full, attempt("ntfsfix", &["-n", path]).0)
}

/// Prints path, record, length and SHA-256 of files.
const DISSECT_FILES: &str = r#"
import sys, hashlib
from dissect.ntfs import NTFS
fs = NTFS(open(sys.argv[1], "rb"))
for path in sys.argv[2:]:
    record = fs.mft.get(path)
    stream, digest, length = record.open(), hashlib.sha256(), 0
    while piece := stream.read(1 << 20):
        digest.update(piece)
        length += len(piece)
    print(path, record.segment, length, digest.hexdigest(), sep="|")
"#;

/// What dissect says of files: path, record, length, SHA-256.
fn dissected(python: &Path, image: &Path, paths: &[&str]) -> Vec<[String; 4]> {
    let mut arguments = vec!["-c", DISSECT_FILES, image.to_str().unwrap()];
    arguments.extend(paths);
    let out = String::from_utf8(run(python.to_str().unwrap(), &arguments)).unwrap();
    let all: Vec<[String; 4]> = out
        .lines()
        .map(|line| {
            let mut fields = line.rsplitn(4, '|').map(str::to_owned);
            let mut next = || fields.next().unwrap();
            let (hash, len, record, path) = (next(), next(), next(), next());
            [path, record, len, hash]
        })
        .collect();
    assert_eq!(all.len(), paths.len());
    all
}

/// The record numbers of files, as dissect finds them.
pub fn records(python: &Path, image: &Path, paths: &[&str]) -> Vec<String> {
    let all = dissected(python, image, paths).into_iter();
    all.map(|[_, record, _, _]| record).collect()
}

/// dissect, ntfscat and icat must read these contents under these paths.
pub fn read_by_three(python: &Path, image: &Path, expected: &[(&str, &[u8])]) {
    let path = image.to_str().unwrap();
    let paths: Vec<&str> = expected.iter().map(|(path, _)| *path).collect();
    let found = dissected(python, image, &paths);
    for ([_, record, len, found], (name, content)) in found.iter().zip(expected) {
        let hash = sha256(content);
        assert_eq!(
            *found,
            hash,
            "dissect: {name}, {len} bytes, not {}",
            content.len()
        );
        let cat = run("ntfscat", &["-f", "-i", record, path]);
        assert_eq!(sha256(&cat), hash, "ntfscat: {name}");
        // Sleuthkit 4.11 does not read clusters of 2 MiB.
        let (ok, cat, error) = attempt("icat", &[path, record]);
        if ok || !error.contains("Cannot determine file system type") {
            assert_eq!(sha256(&cat), hash, "icat: {name} {error}");
        }
    }
}
