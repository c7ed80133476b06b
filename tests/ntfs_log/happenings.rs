// SPDX-License-Identifier: GPL-2.0-or-later
//! Things that happen on a volume, done by the writers of the program and put into a journal here.

use std::sync::Arc;

use coldfix::device::Device;
use coldfix::device::memory::MemoryDevice;
use coldfix::device::overlay::Overlay;
use coldfix::error::Result;
use coldfix::security::sddl;
use coldfix::volume::ntfs::NtfsVolume;
use coldfix::volume::{EntryKind, Volume};

use super::Random;
use super::changes::Step;
use super::history::History;
use super::image::Target;
use super::writer::Version;

const NOW: u64 = 133_500_000_000_000_000;

/// The bytes of a volume.
pub fn contents(overlay: &Overlay) -> Vec<u8> {
    let mut image = vec![0; overlay.len().try_into().unwrap()];
    overlay.read_at(0, &mut image).unwrap();
    image
}

/// What coldfix makes of a volume when it does this to it; `None` where it refuses.
pub fn changed(image: &[u8], change: impl FnOnce(&dyn Volume) -> Result<()>) -> Option<Vec<u8>> {
    let overlay = Arc::new(Overlay::new(Arc::new(MemoryDevice::new(image.to_vec()))));
    let volume = NtfsVolume::open(overlay.clone()).unwrap();
    change(&volume).ok()?;
    Some(contents(&overlay))
}

/// Something that happens in a folder.
fn happening(image: &[u8], random: &mut Random, folder: &str, number: usize) -> Option<Vec<u8>> {
    let descriptor = |number: usize| {
        let text = format!("O:BAG:SYD:PAI(A;;FR;;;S-1-5-21-1-2-{number}-1001)");
        sddl::parse(&text, None).unwrap().to_bytes().unwrap()
    };
    let what = random.below(8);
    let (size, pick) = (random.below(300), random.below(100));
    changed(image, |volume| {
        let entries = volume.list(folder)?;
        let path = |name: &str| match folder {
            "" => name.to_owned(),
            folder => format!("{folder}/{name}"),
        };
        let files = entries
            .iter()
            .filter(|entry| entry.kind == EntryKind::File && !entry.name.starts_with('$'));
        let files: Vec<_> = files.collect();
        let file = files
            .get(pick % files.len().max(1))
            .map(|entry| (path(&entry.name), entry.len));
        match (what, file) {
            (0, _) => volume.create_directory(
                &path(&format!("folder {number}")),
                &descriptor(number % 3),
                NOW,
            ),
            (1, Some((file, _))) => volume.remove(&file, NOW),
            (2, Some((file, _))) => volume.rename(&file, &format!("{number} renamed"), NOW),
            (3, Some((file, _))) => volume.set_security(&descriptor(number), &[&file], NOW),
            (4, Some((file, len))) if len < 700 => volume.replace(&file, &vec![7; size]),
            (5, _) => volume.create_file(
                &path(&format!("clusters {number}")),
                &vec![9; 3000 + size],
                &descriptor(1),
                NOW,
            ),
            _ => volume.create_file(
                &path(&format!("file {number}")),
                &vec![8; size],
                &descriptor(2),
                NOW,
            ),
        }
    })
}

/// The structures that a list of actions touches.
fn touched(steps: &[Vec<Step>]) -> Vec<(&Target, usize)> {
    steps
        .iter()
        .flatten()
        .map(|step| (&step.target, step.at))
        .collect()
}

/// A volume on which some things happened, one after the other and two at a time.
pub fn history(
    image: &[u8],
    seed: u64,
    version: Version,
    happenings: usize,
    folders: &[&str],
) -> History {
    let mut random = Random(seed);
    let first = random.below(12) as u64;
    let mut history = History::new(image.to_vec(), version, 0x3_2000, first, (seed % 2) as u32);
    let mut now = image.to_vec();
    for number in 0..happenings {
        // One thing, and another that has nothing to do with it, in the same moment.
        let mut both = Vec::new();
        for _ in 0..=random.below(2) {
            let folder = folders[random.below(folders.len())];
            let Some(next) = happening(&now, &mut random, folder, number * 2 + both.len()) else {
                continue;
            };
            let Ok(mut steps) = History::changes(&now, &next) else {
                continue;
            };
            let order: Vec<usize> = steps.iter().map(|_| random.below(1000)).collect();
            let mut slots: Vec<usize> = (0..steps.len()).collect();
            slots.sort_by_key(|slot| order[*slot]);
            steps = slots
                .into_iter()
                .map(|slot| std::mem::take(&mut steps[slot]))
                .collect();
            history.learn(&now, &next);
            now = next;
            both.push(steps);
        }
        let apart = match &both[..] {
            [one, other] => {
                let one = touched(one);
                !touched(other).iter().any(|place| one.contains(place))
            }
            _ => false,
        };
        let mut running: Vec<(u32, Vec<Step>)> = Vec::new();
        for steps in both {
            if !apart {
                while let Some((id, steps)) = running.pop() {
                    run(&mut history, &mut random, vec![(id, steps)]);
                }
            }
            let taken = running.first().map(|found| found.0);
            let id = match taken {
                Some(0x18) => 0x40,
                _ => 0x18,
            };
            running.push((id, steps.into_iter().flatten().collect()));
        }
        run(&mut history, &mut random, running);
    }
    // One that fails half way, and is taken back as far as Windows came.
    if let Some(next) = happening(&now, &mut random, folders[0], 2 * happenings)
        && let Ok(steps) = History::changes(&now, &next)
    {
        history.learn(&now, &next);
        let steps = steps.concat();
        let count = steps.len();
        for step in steps {
            history.step(0x18, step);
        }
        history.roll_back(0x18, random.below(count));
        history.checkpoint(&mut random);
        history.roll_back(0x18, 1);
    }
    history
}

/// Logs transactions side by side, with checkpoints between.
fn run(history: &mut History, random: &mut Random, mut running: Vec<(u32, Vec<Step>)>) {
    running.iter_mut().for_each(|found| found.1.reverse());
    while !running.is_empty() {
        let slot = random.below(running.len());
        if random.below(25) == 0 {
            history.checkpoint(random);
        }
        match running[slot].1.pop() {
            Some(step) => history.step(running[slot].0, step),
            None => history.forget(running.remove(slot).0),
        }
    }
}
