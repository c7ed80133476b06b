// SPDX-License-Identifier: GPL-2.0-or-later
//! The descriptors of one file or of a hundred thousand.
//!
//! ```text
//! paths -> file references (folder by folder) -> records in the order of $MFT -> ids -> descriptors, each once
//! ```

use std::collections::HashSet;
use std::sync::Arc;

use crate::error::{Error, Result, ResultExt};

use super::super::walk::Tree;
use super::Secure;
use super::file::{self, Own};

/// The descriptors of the files at `paths`, in their order, and what the person should know of reading them.
pub(in super::super) fn read(tree: &Tree, paths: &[&str]) -> Result<(Vec<Arc<[u8]>>, Vec<String>)> {
    let files = tree.find_files(paths)?;
    let secure = Secure::open(&tree.mft)?;
    let mut shared = Shared::default();
    let mut found: Vec<Arc<[u8]>> = vec![Arc::default(); files.len()];
    tree.mft.for_each(&files, |index, record| {
        let read = || {
            let record = Arc::new(record?);
            match file::own(&tree.mft, &record)? {
                Own::Id(id) => secure.descriptor(id),
                Own::Private(descriptor) => Ok(descriptor.into()),
                Own::Nothing => Err(file::nothing(&record)),
            }
        };
        let descriptor = read().context(|| path(paths, index))?;
        if let Some(place) = found.get_mut(index) {
            *place = shared.one(descriptor);
        }
        Ok::<_, Error>(())
    })?;
    Ok((found, secure.into_notes()))
}

/// What a path is called in errors.
fn path<'p>(paths: &[&'p str], index: usize) -> &'p str {
    match paths.get(index) {
        None | Some(&"") => "the root folder",
        Some(path) => path,
    }
}

/// Equal descriptors, kept once.
#[derive(Default)]
struct Shared(HashSet<Arc<[u8]>>);

impl Shared {
    fn one(&mut self, descriptor: Arc<[u8]>) -> Arc<[u8]> {
        match self.0.get(&descriptor) {
            Some(known) => Arc::clone(known),
            None => {
                self.0.insert(Arc::clone(&descriptor));
                descriptor
            }
        }
    }
}
