// SPDX-License-Identifier: GPL-2.0-or-later
//! The target, opened from the bottom: host file, container, partitions, volumes, installations.
//!
//! ```text
//!   image or block device -> [Overlay] -> container -> partitions -> NTFS and FAT volumes
//!   folder                -> mounted folder, which collects its own changes
//! ```
//!
//! Whatever is edited goes to the overlay or to the folder's changes; [`Target::changes`] is the whole
//! change, and nothing reaches the host from here. [`Target::reopen`] opens the stack anew through the same
//! overlay, which is how a change is verified before it is committed.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use crate::commit::{self, DeviceTarget, FolderTarget, TargetIdentity, TargetKind};
use crate::container::{self, Container, ContainerKind};
use crate::device::overlay::Overlay;
use crate::device::windows::name;
use crate::device::{self, Access, ChangeSet, Device as _, Patch, SharedDevice};
use crate::error::{Error, Result, ResultExt};
use crate::partition::{self, Content, Partition, Scheme, Table};
use crate::volume::Volume;
use crate::volume::fat::FatVolume;
use crate::volume::mounted::MountedFolder;
use crate::volume::ntfs::NtfsVolume;
use crate::windows::{self, Installation};

use host_path::{absolute, missing};

mod boot;
mod host_path;
mod output;

/// A disk: everything below the volumes, and what is on its partitions.
#[derive(Debug)]
pub struct Disk {
    /// The host's device, without the overlay: where a commit writes.
    pub host: SharedDevice,
    overlay: Arc<Overlay>,
    /// Which container format holds the disk.
    pub container: ContainerKind,
    opened: Container,
    /// Length of the virtual disk in bytes.
    pub size: u64,
    /// Its partitions.
    pub table: Table,
}

/// A partition and what came of opening its file system.
#[derive(Debug)]
pub struct Opened {
    /// The partition; `None` for a mounted folder.
    pub partition: Option<Partition>,
    /// The volume, or why it cannot be opened. `None` for partitions with neither NTFS nor FAT.
    pub volume: Option<Result<Arc<dyn Volume>>>,
}

impl Opened {
    /// Windows does not run from FAT, and FAT has no permissions: such a volume is asked for its boot store only.
    fn is_fat(&self) -> bool {
        let partition = self.partition.as_ref();
        partition.is_some_and(|partition| partition.content == Content::Fat)
    }
}

/// A target, opened.
#[derive(Debug)]
pub struct Target {
    /// As the user named it.
    pub path: PathBuf,
    /// What kind of place it is.
    pub kind: TargetKind,
    /// The disk; `None` for a mounted folder.
    pub disk: Option<Disk>,
    folder: Option<Arc<MountedFolder>>,
    /// The volumes found.
    pub volumes: Vec<Opened>,
    /// What was noticed on the way, in plain words.
    pub notes: Vec<String>,
    /// The boot configuration store that the user named.
    store: Option<String>,
    /// What waits in the journals of volumes is carried out in memory.
    replay: bool,
}

impl Target {
    /// Opens a target. With [`Access::Write`] the host file is locked for the whole run; nothing is
    /// written either way.
    ///
    /// On a Windows host a drive letter (`F:`) is the volume behind it and `\\\\.\\PhysicalDrive2` a whole disk; what
    /// lies at a longer path is a file or folder.
    pub fn open(path: &Path, access: Access) -> Result<Target> {
        Target::open_with(path, access, true)
    }

    /// The same; with `replay` false its volumes are read as they were left, whatever waits in their journals.
    pub fn open_with(path: &Path, access: Access, replay: bool) -> Result<Target> {
        if cfg!(windows) && name::parse(path).is_some() {
            return Target::open_windows_device(path, access, replay);
        }
        let metadata = std::fs::metadata(path).map_err(|error| missing(path, error))?;
        if metadata.is_dir() {
            let folder = MountedFolder::open(path)?;
            return Ok(Target::over_folder(path, Arc::new(folder)));
        }
        let host = device::open(path, access)?;
        let kind = if metadata.is_file() {
            TargetKind::Image
        } else {
            TargetKind::Device
        };
        let overlay = Arc::new(Overlay::new(Arc::clone(&host)));
        Target::open_disk(path, kind, host, overlay, replay)
    }

    /// A disk in memory as an image file, for the targets in `fuzz/`.
    #[cfg(feature = "fuzzing")]
    #[doc(hidden)]
    pub fn in_memory(host: SharedDevice) -> Result<Target> {
        let overlay = Arc::new(Overlay::new(Arc::clone(&host)));
        Target::open_disk(Path::new("memory"), TargetKind::Image, host, overlay, true)
    }

    /// The image file at `path` without a look at its content: enough to settle an interrupted operation on it,
    /// which may have left a container that cannot be opened. `None` for everything but image files.
    pub fn unread(
        path: &Path,
        access: Access,
    ) -> Result<Option<(TargetIdentity, Box<dyn commit::Target>)>> {
        if !path.is_file() {
            return Ok(None);
        }
        let host = device::open(path, access)?;
        let identity = TargetIdentity {
            path: absolute(path),
            container: "unknown".to_owned(),
            len: host.len(),
            len_after: None,
            disk_id: None,
            kind: TargetKind::Image,
        };
        Ok(Some((identity, Box::new(DeviceTarget::new(host, path)))))
    }

    fn open_windows_device(path: &Path, access: Access, replay: bool) -> Result<Target> {
        let host = device::open(path, access)?;
        let overlay = Arc::new(Overlay::new(Arc::clone(&host)));
        let mut target = Target::open_disk(path, TargetKind::Device, host, overlay, replay)?;
        if access == Access::Read {
            target.notes.push(
                "read without a lock: where Windows has the volume mounted, what it has not written yet is not seen"
                    .to_owned(),
            );
        }
        Ok(target)
    }

    fn over_folder(path: &Path, folder: Arc<MountedFolder>) -> Target {
        Target {
            path: path.to_owned(),
            kind: TargetKind::Folder,
            disk: None,
            volumes: vec![Opened {
                partition: None,
                volume: Some(Ok(Arc::clone(&folder) as Arc<dyn Volume>)),
            }],
            folder: Some(folder),
            notes: Vec::new(),
            store: None,
            replay: true,
        }
    }

    fn open_disk(
        path: &Path,
        kind: TargetKind,
        host: SharedDevice,
        overlay: Arc<Overlay>,
        replay: bool,
    ) -> Result<Target> {
        let container = container::open_file(Arc::clone(&overlay) as SharedDevice, path)
            .context(|| path.display().to_string())?;
        let mut notes = container.notes.clone();
        let disk = Arc::clone(&container.disk);
        let table = partition::scan(&disk).context(|| path.display().to_string())?;
        notes.extend(table.notes.iter().cloned());
        let volumes = table
            .partitions
            .iter()
            .map(|partition| Opened {
                partition: Some(partition.clone()),
                volume: open_volume(partition, &disk, replay),
            })
            .collect();
        Ok(Target {
            path: path.to_owned(),
            kind,
            disk: Some(Disk {
                host,
                overlay,
                container: container.kind,
                opened: container,
                size: disk.len(),
                table,
            }),
            folder: None,
            volumes,
            notes,
            store: None,
            replay,
        })
    }

    /// The same target under the name that it is to have.
    pub fn known_as(mut self, path: &Path) -> Target {
        path.clone_into(&mut self.path);
        self
    }

    /// The same target opened anew from the bottom, through the changes made so far.
    pub fn reopen(&self) -> Result<Target> {
        let again = match (&self.disk, &self.folder) {
            (Some(disk), _) => Target::open_disk(
                &self.path,
                self.kind,
                Arc::clone(&disk.host),
                Arc::clone(&disk.overlay),
                self.replay,
            ),
            (None, Some(folder)) => Ok(Target::over_folder(&self.path, Arc::clone(folder))),
            (None, None) => Target::open(&self.path, Access::Read),
        };
        Ok(Target {
            store: self.store.clone(),
            ..again?
        })
    }

    /// The partitions that are encrypted with BitLocker.
    pub fn encrypted(&self) -> Vec<u32> {
        let partitions = self.volumes.iter().filter_map(|opened| {
            let partition = opened.partition.as_ref()?;
            (partition.content == Content::BitLocker).then_some(partition.number)
        });
        partitions.collect()
    }

    /// Everything changed so far: bytes per host file, and on a mounted folder what its host is to do.
    pub fn changes(&self) -> Result<ChangeSet> {
        if let Some(disk) = &self.disk {
            if disk.overlay.is_unchanged() {
                return Ok(ChangeSet::default());
            }
            disk.opened.seal(&disk.overlay.changes()?)?;
            return Ok(ChangeSet::from(vec![Patch {
                file: self.path.clone(),
                before_len: disk.host.len(),
                after_len: disk.overlay.len(),
                changes: disk.overlay.changes()?,
            }]));
        }
        match &self.folder {
            Some(folder) => folder.changes(),
            None => Ok(ChangeSet::default()),
        }
    }

    /// The Windows installations, and the volumes' errors that may hide one.
    pub fn installations(&self) -> Result<Vec<Installation>> {
        let mut found = Vec::new();
        for opened in self.volumes.iter().filter(|opened| !opened.is_fat()) {
            if let Some(Ok(volume)) = &opened.volume {
                let number = opened.partition.as_ref().map(|partition| partition.number);
                found.extend(windows::find(volume, number)?);
            }
        }
        Ok(found)
    }

    /// The volume on this partition; with `None` the one volume of a folder or of a disk without partitions.
    pub fn volume(&self, partition: Option<u32>) -> Option<&Arc<dyn Volume>> {
        let opened = self.volumes.iter().find(|opened| {
            opened.partition.as_ref().map(|partition| partition.number) == partition
        });
        opened?.volume.as_ref()?.as_ref().ok()
    }

    /// The one installation to work on: the only one, or the one on partition `wanted`.
    pub fn installation(&self, wanted: Option<u32>) -> Result<Installation> {
        let mut found = self.installations()?;
        if let Some(number) = wanted {
            if self.kind == TargetKind::Folder {
                return Err(Error::unsupported(
                    "--partition does not apply to a mounted folder",
                    "leave --partition out, or name the disk instead of the folder",
                ));
            }
            found.retain(|installation| installation.partition == Some(number));
        }
        match found.len() {
            1 => {}
            0 => return Err(self.no_installation(wanted)),
            _ => {
                let list: Vec<String> = found.iter().map(Installation::describe).collect();
                return Err(Error::refused(
                    format!("several Windows installations: {}", list.join(", ")),
                    "choose one with --partition N (for several folders on one volume, mount the disk with one of them only)",
                ));
            }
        }
        let mut found = found.pop().ok_or_else(|| self.no_installation(wanted))?;
        found.boot = self.boot()?;
        Ok(found)
    }

    /// The volume whose files are meant: that of the installation that [`Target::installation`] gives; where there is no
    /// installation, the one volume that can be opened, or the one on partition `wanted`.
    pub fn files(&self, wanted: Option<u32>) -> Result<Installation> {
        let mut found = self.installations()?;
        found.retain(|installation| wanted.is_none() || installation.partition == wanted);
        if !found.is_empty() {
            return self.installation(wanted);
        }
        let volumes = self.volumes.iter().filter(|opened| !opened.is_fat());
        let mut volumes = volumes.filter_map(|opened| {
            let number = opened.partition.as_ref().map(|partition| partition.number);
            let volume = opened.volume.as_ref()?.as_ref().ok()?;
            (wanted.is_none() || number == wanted).then_some((number, volume))
        });
        match (volumes.next(), volumes.next()) {
            (Some((number, volume)), None) => {
                Ok(Installation::without_windows(Arc::clone(volume), number))
            }
            (Some(_), Some(_)) => Err(Error::refused(
                "several volumes, and none with a Windows installation",
                "choose one with --partition N; `coldfix inspect` lists them",
            )),
            (None, _) => Err(self.no_installation(wanted)),
        }
    }

    /// Why there is no installation: a volume that could not be opened explains it best.
    fn no_installation(&self, wanted: Option<u32>) -> Error {
        for opened in self.volumes.iter().filter(|opened| !opened.is_fat()) {
            let number = opened.partition.as_ref().map(|partition| partition.number);
            if wanted.is_some() && number != wanted {
                continue;
            }
            if let Some(Err(_)) = &opened.volume {
                let reason = match (&self.disk, &opened.partition) {
                    // Opened a second time, because the stored error is not ours to give away.
                    (Some(disk), Some(partition)) => {
                        open_volume(partition, &disk.opened.disk, self.replay)
                    }
                    _ => None,
                };
                if let (Some(Err(error)), Some(number)) = (reason, number) {
                    return error.context(format!("partition {number}"));
                }
            }
        }
        let place = match wanted {
            Some(number) => format!("partition {number}"),
            None => self.path.display().to_string(),
        };
        let seen: Vec<String> = self
            .volumes
            .iter()
            .filter_map(|opened| opened.partition.as_ref())
            .map(|partition| format!("{} ({:?})", partition.number, partition.content))
            .collect();
        let seen = if seen.is_empty() {
            String::new()
        } else {
            format!("; partitions: {}", seen.join(", "))
        };
        Error::unsupported(
            format!(
                "no Windows installation in {place}: no NTFS volume holds a folder with System32\\config{seen}"
            ),
            "check that this is the system disk; `coldfix inspect` lists what is on it",
        )
    }

    /// The disk's identity: GPT disk GUID, MBR signature, or for a bare volume its serial number.
    pub fn disk_id(&self) -> Option<String> {
        let disk = self.disk.as_ref()?;
        if disk.table.scheme != Scheme::Bare {
            return disk.table.disk_id.clone();
        }
        self.volumes.iter().find_map(|opened| match &opened.volume {
            Some(Ok(volume)) => volume.state().serial.clone(),
            _ => None,
        })
    }

    /// What the journal knows the target by.
    pub fn identity(&self) -> TargetIdentity {
        TargetIdentity {
            path: absolute(&self.path),
            container: self.container_name().to_owned(),
            len: self.disk.as_ref().map_or(0, |disk| disk.host.len()),
            len_after: None,
            disk_id: self.disk_id(),
            kind: self.kind,
        }
    }

    /// Refuses a folder for journals on the drive that is to be written: it is locked, and what is undone there
    /// must not lie there. Other hosts see no such thing: a disk that is mounted is refused before.
    pub fn check_journal_folder(&self, folder: &Path) -> Result<()> {
        let Some(name::Named::Volume {
            letter: Some(letter),
            ..
        }) = name::parse(&self.path).filter(|_| cfg!(windows))
        else {
            return Ok(());
        };
        let absolute = std::path::absolute(folder).unwrap_or_else(|_| folder.to_owned());
        if !name::lies_on(&absolute, letter) {
            return Ok(());
        }
        Err(Error::refused(
            format!(
                "the journals would lie in {} on the drive that is repaired",
                folder.display()
            ),
            "nothing was written; name a folder on another drive with --journal-dir",
        ))
    }

    /// Where a commit writes.
    pub fn sink(&self) -> Box<dyn commit::Target> {
        match &self.disk {
            Some(disk) => Box::new(DeviceTarget::new(Arc::clone(&disk.host), &self.path)),
            None => Box::new(FolderTarget::new(&self.path)),
        }
    }

    /// `raw`, `vhd-fixed` and so on, or `folder`.
    pub fn container_name(&self) -> &'static str {
        self.disk
            .as_ref()
            .map_or("folder", |disk| disk.container.name())
    }
}

fn open_volume(
    partition: &Partition,
    disk: &SharedDevice,
    replay: bool,
) -> Option<Result<Arc<dyn Volume>>> {
    match partition.content {
        Content::Ntfs => Some(
            partition
                .open(disk)
                .and_then(|device| NtfsVolume::open_with(device, replay))
                .map(|volume| Arc::new(volume) as Arc<dyn Volume>),
        ),
        Content::Fat => Some(
            partition
                .open(disk)
                .and_then(FatVolume::open)
                .map(|volume| Arc::new(volume) as Arc<dyn Volume>),
        ),
        Content::BitLocker => Some(Err(Error::refused(
            "the volume is encrypted with BitLocker",
            "unlock it first: on a Windows rescue machine `manage-bde -unlock X: -RecoveryPassword ...` then `manage-bde -off X:`, or on Linux with dislocker, and give coldfix the decrypted volume",
        ))),
        Content::Refs => Some(Err(Error::unsupported(
            "the volume is ReFS, which coldfix does not read",
            "mount it on a Windows rescue machine",
        ))),
        _ => None,
    }
}

#[cfg(all(test, unix))]
mod tests {
    use super::*;

    #[test]
    fn a_windows_name_on_another_host_is_explained() {
        for name in ["F:", r"\\.\PhysicalDrive2", r"\\.\F:"] {
            let error = Target::open(Path::new(name), Access::Read).unwrap_err();
            let hint = error.hint().unwrap();
            assert!(hint.contains("/dev/sdX"), "{name}: {hint}");
        }
        let error = Target::open(Path::new("/no/such/disk"), Access::Read).unwrap_err();
        assert!(error.hint().unwrap().contains("check the path"));
    }
}
