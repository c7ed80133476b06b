// SPDX-License-Identifier: GPL-2.0-or-later
//! What the container tests share: real images, disks opened over an overlay, and readers that are not ours.
use std::fs::File;
use std::os::unix::fs::FileExt as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use coldfix::container::{self, Container, ContainerKind};
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::device::{self, Access, Device, SharedDevice};

use proptest::prelude::*;
use rustix::fs::SeekFrom;
use uuid::Uuid;

pub use super::support::foreign::{dissect_raw, libvhdi_at, libvhdi_raw, qemu_check, qemu_raw};
use super::{build, support};

/// An image opened for reading, with an overlay that takes what is written.
#[derive(Debug)]
pub struct Opened {
    pub path: PathBuf,
    pub overlay: Arc<Overlay>,
    pub container: Container,
}

impl Opened {
    pub fn disk(&self) -> &SharedDevice {
        &self.container.disk
    }

    /// Seals the container, and puts all that was written into `target`, a copy of the image.
    pub fn commit_to(&self, target: &Path) {
        support::copy(&self.path, target);
        let file = File::options().write(true).open(target).unwrap();
        self.container
            .seal(&self.overlay.changes().unwrap())
            .unwrap();
        file.set_len(self.overlay.len()).unwrap();
        for change in self.overlay.changes().unwrap() {
            file.write_all_at(&change.after, change.offset).unwrap();
        }
    }
}

pub fn open(path: &Path) -> coldfix::error::Result<Opened> {
    let host = device::open(path, Access::Read)?;
    let overlay = Arc::new(Overlay::new(host));
    let container = container::open_file(overlay.clone(), path)?;
    Ok(Opened {
        path: path.to_owned(),
        overlay,
        container,
    })
}

/// Unpacks a real image into `folder`, under the name that its children know it by.
pub fn real(name: &str, folder: &Path) -> Option<PathBuf> {
    let packed = support::data(&format!("vhd/{name}.xz"))?;
    let known = match name.strip_prefix("w10-") {
        Some(rest) if rest.contains("-parent.") => rest,
        _ => name,
    };
    let target = folder.join(known);
    support::unxz_to(&packed, &target);
    Some(target)
}

/// A real image, opened, with its parent where it is a child, in a folder of its own.
#[derive(Debug)]
pub struct Real {
    pub folder: tempfile::TempDir,
    pub opened: Opened,
    pub parent: Option<PathBuf>,
}

impl Real {
    /// None, and counted, without the data.
    pub fn open(name: &str) -> Option<Real> {
        let folder = support::temporary();
        let image = real(name, folder.path())?;
        let parent = real_parent(name).map(|parent| real(&parent, folder.path()).unwrap());
        let opened = open(&image).unwrap();
        Some(Real {
            folder,
            opened,
            parent,
        })
    }

    pub fn image(&self) -> &Path {
        &self.opened.path
    }

    pub fn disk(&self) -> &SharedDevice {
        self.opened.disk()
    }

    /// The chain behind the image, as libvhdi wants it.
    pub fn parents(&self) -> Vec<&Path> {
        self.parent.iter().map(PathBuf::as_path).collect()
    }

    pub fn place(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The disk in `written` is what the raw file holds; it is of the same kind, with nothing left to mend.
    pub fn assert_written(&self, written: &Path, model: &Path, what: &str) {
        let again = open(written).unwrap();
        assert!(again.overlay.is_unchanged());
        assert_eq!(again.container.kind, self.opened.container.kind);
        assert_same(again.disk(), model, &format!("{what}, reopened"));
    }
}

/// Asks `test` of each real image of a list, which has to be of the kind that the list says and to stay as it is.
/// Without the data, or the programs that judge, nothing is asked, and that is counted.
pub fn each_real(
    list: impl IntoIterator<Item = (&'static str, ContainerKind)>,
    test: impl Fn(&str, &Real),
) {
    if !support::require("qemu-img") || !require_libvhdi() || !require_dissect() {
        return;
    }
    for (name, kind) in list {
        let Some(real) = Real::open(name) else {
            return;
        };
        let before = support::sha256(real.image());
        assert_eq!(real.opened.container.kind, kind, "{name}");
        test(name, &real);
        assert_eq!(support::sha256(real.image()), before, "{name}");
    }
}

/// The parent of a real child.
pub fn real_parent(name: &str) -> Option<String> {
    name.contains("-differential.")
        .then(|| name.replace("differential", "parent"))
}

/// qemu-img finds no difference between two raw files.
pub fn assert_same_raw(one: &Path, other: &Path) {
    let mut compare = support::program("qemu-img");
    compare.args(["compare", "-f", "raw", "-F", "raw"]);
    support::run(compare.arg(one).arg(other));
}

/// A copy of a VHDX whose log qemu-img has replayed.
pub fn qemu_replayed(image: &Path, target: &Path) {
    support::copy(image, target);
    let mut check = support::program("qemu-img");
    check.args(["check", "-q", "-f", "vhdx", "-r", "all"]);
    support::run(check.arg(target));
}

pub fn require_libvhdi() -> bool {
    support::require_python("pyvhdi")
}

pub fn require_dissect() -> bool {
    support::require_python("dissect.hypervisor")
}

/// The disk is what the raw file holds: every byte where that has data; in its holes, where a disk is large, some
/// sectors of every MiB.
pub fn assert_same(disk: &SharedDevice, raw: &Path, what: &str) {
    const PIECE: u64 = 1 << 20;
    let file = File::open(raw).unwrap();
    let len = file.metadata().unwrap().len();
    assert_eq!(disk.len(), len, "{what}: size");
    let thorough = len <= 2 << 30;
    let (mut ours, mut theirs) = (vec![0; PIECE as usize], vec![0; PIECE as usize]);
    let mut offset = 0;
    let mut compared = 0_u64;
    while offset < len {
        let size = PIECE.min(len - offset) as usize;
        let has_data = rustix::fs::seek(&file, SeekFrom::Data(offset))
            .is_ok_and(|data| data < offset + size as u64);
        let parts = match has_data || thorough {
            true => vec![(0, size)],
            false => vec![(0, 512), (size / 2, 512), (size - 512, 512)],
        };
        for (at, part) in parts {
            let place = offset + at as u64;
            disk.read_at(place, &mut ours[..part]).unwrap();
            match has_data {
                true => file.read_exact_at(&mut theirs[..part], place).unwrap(),
                false => theirs[..part].fill(0), // a hole
            }
            if let Some(wrong) = (0..part).find(|byte| ours[*byte] != theirs[*byte]) {
                panic!("{what}: differs at {:#x}", place + wrong as u64);
            }
            compared += part as u64;
        }
        offset += size as u64;
    }
    eprintln!("{what}: {compared} bytes of {len} compared");
}

/// Bytes that look like nothing in particular.
pub struct Noise(u64);

impl Noise {
    pub fn new(seed: u64) -> Noise {
        Noise(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    pub fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        (self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 16) % limit
    }

    pub fn bytes(&mut self, len: usize) -> Vec<u8> {
        (0..len).map(|_| self.below(256) as u8).collect()
    }
}

/// Writes at `count` random places, small and large, over block borders too, to the disk and to the raw file.
pub fn write_both(disk: &SharedDevice, raw: &Path, count: u64, noise: &mut Noise) {
    let file = File::options().write(true).open(raw).unwrap();
    let len = disk.len();
    for number in 0..count {
        let size = match number % 4 {
            0 => 512,
            1 => 4096,
            2 => 1 + noise.below(20_000),
            _ => 1 + noise.below(300_000),
        }
        .min(len);
        let mut offset = noise.below(len - size + 1);
        if number % 3 == 0 {
            // Across a border of 1 MiB, where blocks meet.
            let border = (offset >> 20) << 20;
            offset = border.saturating_sub(size / 2).min(len - size);
        }
        let data = match number % 7 {
            6 => vec![0; size as usize],
            _ => noise.bytes(size as usize),
        };
        disk.write_at(offset, &data).unwrap();
        file.write_all_at(&data, offset).unwrap();
    }
}

pub fn contents(disk: &SharedDevice) -> Vec<u8> {
    let mut all = vec![0; usize::try_from(disk.len()).unwrap()];
    disk.read_at(0, &mut all).unwrap();
    all
}

/// A file with holes where `content` has zeros.
pub fn write_sparse(path: &Path, len: u64, parts: &[(u64, Vec<u8>)]) {
    let file = File::create(path).unwrap();
    file.set_len(len).unwrap();
    for (offset, data) in parts {
        file.write_all_at(data, *offset).unwrap();
    }
}

/// What a property test does to a disk.
#[derive(Clone, Debug)]
pub enum Step {
    Read(u64, usize),
    Write(u64, usize, u8),
    Reopen,
}

/// Steps on a disk of `size` bytes.
pub fn steps(size: u64) -> impl Strategy<Value = Vec<Step>> {
    let place = (0..size, 1_usize..200_000);
    prop::collection::vec(
        prop_oneof![
            3 => (place.clone(), any::<u8>()).prop_map(|((offset, len), fill)| Step::Write(offset, len, fill)),
            2 => place.prop_map(|(offset, len)| Step::Read(offset, len)),
            1 => Just(Step::Reopen),
        ],
        1..25,
    )
}

/// Runs the steps on a disk, and on a plain run of bytes. Offsets past the end are taken modulo the size.
pub fn compare_with_model(
    open: &dyn Fn() -> Container,
    mut model: Vec<u8>,
    steps: Vec<Step>,
) -> Result<(), TestCaseError> {
    let mut container = open();
    let size = model.len() as u64;
    for step in steps {
        match step {
            Step::Read(offset, len) => {
                let offset = offset % size;
                let len = len.min((size - offset) as usize);
                let mut found = vec![0; len];
                container.disk.read_at(offset, &mut found).unwrap();
                prop_assert!(found == model[offset as usize..][..len]);
            }
            Step::Write(offset, len, fill) => {
                let offset = offset % size;
                let len = len.min((size - offset) as usize);
                // A third zeros, so that some writes change nothing.
                let data: Vec<u8> = (0..len)
                    .map(|at| match fill % 3 {
                        0 => 0,
                        _ => fill.wrapping_add((at / 700) as u8),
                    })
                    .collect();
                container.disk.write_at(offset, &data).unwrap();
                model[offset as usize..][..len].copy_from_slice(&data);
            }
            Step::Reopen => container = open(),
        }
    }
    container = open();
    prop_assert!(contents(&container.disk) == model);
    Ok(())
}

pub const KIB: u64 = 1 << 10;
/// The unique ids of a VHD and its parent.
pub const ID: [u8; 16] = [0x11; 16];
pub const PARENT: [u8; 16] = [0x22; 16];

pub fn in_memory(image: &build::Image) -> Arc<MemoryDevice> {
    Arc::new(MemoryDevice::new(image.bytes()))
}

/// A dynamic VHD of 512 KiB blocks with one block, at the file offset 4096 - 512, full of 0xaa, and its bitmap.
pub fn with_block(image: build::Image, bitmap: &[u8]) -> build::Image {
    with_block_of(512 * KIB, image, bitmap)
}

/// The same with blocks of `block` bytes.
pub fn with_block_of(block: u64, mut image: build::Image, bitmap: &[u8]) -> build::Image {
    let footer = image.parts.pop().unwrap().1;
    image.put(1536, (4096_u32 / 512 - 1).to_be_bytes());
    let mut bits = vec![0; 512];
    bits[..bitmap.len()].copy_from_slice(bitmap);
    image.put(4096 - 512, bits);
    image.put(4096, vec![0xaa; block as usize]);
    image.put(4096 + block, footer);
    image
}

/// File and data write GUID of the header that counts.
pub fn guids(image: &Path) -> (Uuid, Uuid) {
    let file = File::open(image).unwrap();
    let header = |offset| {
        let mut header = vec![0; 4096];
        file.read_exact_at(&mut header, offset).unwrap();
        let sequence = u64::from_le_bytes(header[8..16].try_into().unwrap());
        let guid = |at: usize| Uuid::from_bytes_le(header[at..at + 16].try_into().unwrap());
        (sequence, guid(16), guid(32), guid(48))
    };
    let (_, file_guid, data_guid, _) = header(64 << 10).max(header(128 << 10));
    (file_guid, data_guid)
}

pub fn write_image(path: &Path, image: &build::Image) {
    write_sparse(path, image.len, &image.parts);
}

/// A small disk: 3 MiB and a bit in blocks of 1 MiB, the first block present and full of 0xaa.
pub fn small() -> (build::Vhdx, build::Image) {
    let mut vhdx = build::Vhdx::new(3 * build::MIB + 512, build::MIB as u32);
    let place = (build::BAT + vhdx.bat_len()) >> 20;
    vhdx.bat = vec![(0, build::entry(6, place)), (2, build::entry(3, 77))];
    let mut image = vhdx.build();
    image.put(place << 20, vec![0xaa; build::MIB as usize]);
    (vhdx, image)
}
