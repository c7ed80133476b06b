// SPDX-License-Identifier: GPL-2.0-or-later
//! A Windows installation on a volume: where it is, its hives, its control sets, its build, what starts it.

pub mod accounts;
pub mod boot;
mod boot_key;
pub mod certificates;
mod control_set;
mod events;
pub mod firewall;
mod folders;
pub mod group_policy;
mod hive_file;
mod installation;
pub mod key_files;
mod last_run;
pub mod membership;
mod names;
mod paths;
pub mod rdp_settings;
mod reg_export;
mod reg_file;
mod registry;
mod time;
pub mod user_rights;
pub mod value;
mod view;

pub use accounts::{Account, Accounts};
pub use boot::{Boot, BootStore};
pub use control_set::{ControlSet, Select};
pub use events::{EventLogs, LogExtent, LogState, LoggedEvent};
pub use group_policy::GroupPolicy;
pub use hive_file::HiveFile;
pub use installation::{Installation, Release, find};
pub use key_files::{KeyFile, KeyFiles};
pub use paths::Presence;
pub use reg_export::{Export, export};
pub use reg_file::{RegAction, RegFile, SkippedLine};
pub use registry::{Reading, Registry};
pub use time::{filetime, filetime_text, from_filetime};
pub use user_rights::UserRights;
pub use view::View;
