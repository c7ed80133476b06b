// SPDX-License-Identifier: GPL-2.0-or-later
//! A new disk made of the target, which then holds the change in its place.

use std::path::Path;

use crate::commit::{NewFile, TargetKind};
use crate::container::ContainerKind;
use crate::container::child::{Fresh, create_child};
use crate::container::copy::{CopyFormat, copy_whole};
use crate::error::{Error, Result};

use super::Target;

impl Target {
    /// Makes a new disk of this one at `file`, and says what it is. A differencing child, through which this disk is seen
    /// unchanged; with `full_copy`, or where this disk is raw, a copy of all of it, of the kind that the file's
    /// extension says. This disk is only read.
    ///
    /// # Errors
    /// `Refused` when there is something at `file`; `Unsupported` for a folder, and where the kinds do not go together.
    pub fn make_output(
        &self,
        file: &Path,
        full_copy: bool,
        fresh: &Fresh,
    ) -> Result<(NewFile, String)> {
        let Some(disk) = &self.disk else {
            return Err(Error::unsupported(
                "a mounted folder has no image that a new one could be made of",
                "name the disk or its image instead of the folder",
            ));
        };
        let source = &disk.opened;
        let name = self.path.display();
        if !full_copy && disk.container != ContainerKind::Raw {
            let child = create_child(&self.path, source, file, fresh)?;
            let made = NewFile::make(file, |sink| {
                for (offset, bytes) in &child.parts {
                    sink(*offset, bytes)?;
                }
                Ok(child.len)
            })?;
            let what = format!(
                "{} is a differencing child of {name}: it holds what changes, and needs {name} as it is now",
                file.display()
            );
            return Ok((made, what));
        }
        let format = CopyFormat::of(file, source)?;
        if format == CopyFormat::Raw
            && disk.container == ContainerKind::Raw
            && self.kind == TargetKind::Image
            && let Some(made) = NewFile::reflink(file, &self.path)?
        {
            let what = format!(
                "{} is a full copy of {name} that shares its clusters (reflink)",
                file.display()
            );
            return Ok((made, what));
        }
        let made = NewFile::make(file, |sink| {
            let mut copy = copy_whole(source, format, fresh)?;
            for part in copy.by_ref() {
                let (offset, bytes) = part?;
                sink(offset, &bytes)?;
            }
            Ok(copy.len())
        })?;
        let what = format!("{} is a full copy of {name}", file.display());
        Ok((made, what))
    }
}
