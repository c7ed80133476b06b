// SPDX-License-Identifier: GPL-2.0-or-later
//! The clusters of a file must be its own before anything is written to them.
//!
//! ```text
//! mapped twice by the file itself        -> damaged
//! $Boot, $MFT, $MFTMirr, $LogFile, $Bitmap, $UpCase have them  -> damaged
//! free in $Bitmap                        -> damaged (new ones: must be free)
//! ```
//!
//! Source: the Linux-NTFS documentation and ntfs-3g's layout.h. That two files of users share no cluster is the volume
//! checker's business; what is checked here is what would break the volume for all of them.

use std::sync::Arc;

use crate::error::{Error, Result};

use super::bitmap::Bitmap;
use super::format::{BootSector, Lcn, attribute_type, record_number};
use super::mft::Mft;
use super::runs::{Run, RunList};
use super::stream::{Content, Stream};

/// Checks the clusters that the file with this base record has.
pub(super) fn check(mft: &Mft, map: &RunList, file: u64) -> Result<()> {
    let own = check_apart(mft, map.runs(), Some(file))?;
    let bitmap = Bitmap::clusters(mft)?;
    for (first, end) in own {
        let count = end.saturating_sub(first);
        if let Some(cluster) = bitmap.find_other(first, count, true)? {
            return Err(Error::damaged(
                "$Bitmap",
                cluster / 8,
                format!("cluster {cluster} marked as used, for the file to be written has it"),
                "it is marked as free",
            ));
        }
    }
    Ok(())
}

/// Checks clusters that $Bitmap says are free, before a file gets them.
pub(super) fn check_new(mft: &Mft, runs: &[Run]) -> Result<()> {
    check_apart(mft, runs, None).map(|_| ())
}

/// The clusters must be apart from each other and from the file system's, but for those of `file`, whose they
/// are. Returns them in order: first and the one after the last.
pub(super) fn check_apart(mft: &Mft, runs: &[Run], file: Option<u64>) -> Result<Vec<(u64, u64)>> {
    let mut own: Vec<(u64, u64)> = ranges(runs).collect();
    own.sort_unstable();
    let twice = own
        .iter()
        .zip(own.iter().skip(1))
        .find(|(one, next)| one.1 > next.0);
    if let Some((_, next)) = twice {
        return Err(crossed(&mft.boot, next.0, "the same file, a second time"));
    }
    if let Some(first) = own.first().filter(|first| first.0 == 0) {
        return Err(crossed(&mft.boot, first.0, "$Boot"));
    }
    const SYSTEM: [(u64, &str); 5] = [
        (record_number::MFT, "$MFT"),
        (record_number::MFT_MIRROR, "$MFTMirr"),
        (record_number::LOG_FILE, "$LogFile"),
        (record_number::BITMAP, "$Bitmap"),
        (record_number::UPCASE, "$UpCase"),
    ];
    for (number, name) in SYSTEM {
        if file == Some(number) {
            continue;
        }
        let record = Arc::new(mft.system(number, name)?);
        let stream = Stream::find(mft, &record, attribute_type::DATA, "")?;
        let Some(Content::NonResident { map, .. }) = stream.map(|stream| stream.content) else {
            continue;
        };
        for theirs in ranges(map.runs()) {
            let shared = own.iter().find(|own| own.0 < theirs.1 && theirs.0 < own.1);
            if let Some(shared) = shared {
                return Err(crossed(&mft.boot, shared.0.max(theirs.0), name));
            }
        }
    }
    Ok(own)
}

/// First cluster and the one after the last, for each run that is stored.
pub(super) fn ranges(runs: &[Run]) -> impl Iterator<Item = (u64, u64)> + '_ {
    let stored = |run: &Run| {
        run.lcn
            .map(|Lcn(first)| (first, first.saturating_add(run.clusters)))
    };
    runs.iter().filter_map(stored)
}

fn crossed(boot: &BootSector, cluster: u64, with: &str) -> Error {
    Error::damaged(
        "the clusters of the file to be written",
        cluster.saturating_mul(u64::from(boot.cluster_size)),
        "clusters of its own",
        format!("cluster {cluster}, which belongs to {with}"),
    )
    .with_hint(
        "checking the file before writing",
        "let Windows repair the volume: attach the disk to a Windows computer and run `chkdsk X: /f`",
    )
}
