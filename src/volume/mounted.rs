// SPDX-License-Identifier: GPL-2.0-or-later
//! Placeholder: mounted.rs and tests/mounted.rs are being written by another worker on branch `mounted`
//! (see /work/wt-mounted). Do not write them here; go on with tests/ntfs_*.rs.
