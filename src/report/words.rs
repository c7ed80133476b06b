// SPDX-License-Identifier: GPL-2.0-or-later
//! The fixed words of reports, in English. [`super::Language`] says them in others.
//!
//! `{name}` is filled in; a translation has the same names.

macro_rules! words {
    ($($name:ident = $text:literal;)*) => {
        $(pub(crate) const $name: &str = $text;)*
        /// All of them.
        pub(super) const ALL: &[&str] = &[$($name),*];
    };
}

words! {
    // The verdict.
    HEALTHY = "healthy";
    AT_RISK = "at risk";
    BROKEN = "broken";
    ERROR = "error";
    NOTHING_FOUND = "nothing found";
    FAULT = "{n} fault";
    FAULTS = "{n} faults";
    RISK = "{n} risk";
    RISKS = "{n} risks";
    NOTICE = "{n} notice";
    NOTICES = "{n} notices";
    MORE_FAULT = "{n} more fault";
    MORE_FAULTS = "{n} more faults";
    MORE_RISK = "{n} more risk";
    MORE_RISKS = "{n} more risks";
    ALL_HEALTHY = "Nothing on this disk prevents Remote Desktop; look outside it next";
    SUSPECTED = "Nothing prevents Remote Desktop for certain; suspected: {lead}";
    ALSO = "{lead}; also: {others}";
    NO_FIX = "{lead}; coldfix has no fix for it";
    NOT_JUDGED = "It could not be judged: {message}";
    LAST_LINE = "{path}: {verdict} ({counts}): {sentence}";
    MANY = "{n} targets: {healthy} healthy, {found} with findings, {failed} not judged";
    SAME_SID = "{n} targets carry the machine SID {sid}";
    AND_MORE = "and {n} more";
    CLONES = "They are copies of one disk that sysprep has not prepared, or disks of one machine. On a network Windows can take them for one another.";
    CLONES_REFUSED = "They are copies of one disk that sysprep has not prepared, or disks of one machine. Since the updates of September 2025 Windows 11 24H2 and Windows Server 2025 refuse sign-ins between machines with the same SID, Remote Desktop included. Make all but one of them anew with sysprep.";

    // What was looked at.
    TARGET = "Target";
    WINDOWS = "Windows";
    NOTE = "Note";
    CAUTION = "Caution";
    VERDICT = "Verdict";
    NOT_OPENED = "not opened";
    PARTITION = "{n} partition";
    PARTITIONS = "{n} partitions";
    ON_PARTITION = "{folder} on partition {n}";
    BUILD = "build {build}";
    COMPUTER = "computer {name}";
    LOWERS_SECURITY = "this lowers security: {sentence}";
    NEXT = "next: {hint}";

    // Findings.
    CERTAIN = "Certain: this prevents Remote Desktop";
    RISKY = "Suspected: this may prevent it";
    WORTH_KNOWING = "Worth knowing: this prevents nothing";
    LABEL_BROKEN = "BROKEN";
    LABEL_RISK = "RISK";
    LABEL_NOTICE = "NOTICE";
    FOUND = "found";
    EXPECTED = "expected";
    CURE = "cure";
    SOURCE = "source";
    OR = "or";
    LOOKED_AT = "Looked at and healthy";
    NOT_LOOKED_AT = "Not looked at, because {hive} is missing or cannot be used";
    COMMANDS = "Commands";
    CURE_CERTAIN = "cures what is certain:";
    CURE_SUSPECTED = "cures what is suspected:";
    COPY_OUT = "copies out what Windows kept of its registry:";
    DRY_RUN = "Add --dry-run to try a cure in memory first; nothing is written then.";
    OUTSIDE = "Where to look outside this disk";
    OUTSIDE_NETWORK = "The network security group and every firewall in front of the machine let the port of Remote Desktop in (3389 unless it was moved).";
    OUTSIDE_AGENT = "The VM agent and its extensions report no error, and the boot diagnostics of the host show the sign-in screen.";
    OUTSIDE_CLIENT = "The client that connects: its updates, its saved password, and another client from another network.";
    OUTSIDE_ADDRESS = "The DNS name and the public IP address still lead to this machine.";
    OUTSIDE_ROUTE = "Route tables, VPN and network appliances send the traffic to this machine and the answers back.";

    // The page.
    PAGE_TITLE = "coldfix: why Remote Desktop does not answer";
    MADE_BY = "Made by coldfix {version}. Nothing in this page is loaded from a network.";
    OVERVIEW = "Overview";
    SUMMARY = "Summary";
    CLONES_HEADING = "Targets with the same machine SID";
    CONTAINER = "Container";
    SIZE = "Size";
    DISK_ID = "Disk id";
    MACHINE_SID = "Machine SID";
    TAKE_BACK = "This takes the changes back:";
    NOTHING_WRITTEN = "Dry run: nothing was written.";
    READ_BACK = "Written and read back.";
    FOUND_BEFORE = "What was found before the repair";
    SEVERITY = "Severity";
    FINDING = "Finding";
    AFTERWARDS = "After the repair";
    STILL_THERE = "still there";
    GONE = "gone";
    DISK_MAP = "Map of the disk";
    NOT_TO_SCALE = "To scale, except that small partitions are drawn wide enough to be seen. The partition with the thick border holds the Windows that was judged.";
    NUMBER = "Number";
    CONTENT = "Content";
    NAME = "Type and name";
    BEGINS_AT = "Begins at";
    STATE = "State";
    WINDOWS_TO_REPAIR = "holds the Windows that was judged";
    DIRTY = "marked dirty";
    HIBERNATED = "hibernated";
    FREE = "free";
    EVENTS = "What the event logs tell";
    EVENTS_LEGEND = "Squares on their corner are errors, triangles warnings, circles information. A ring marks an event that proves a finding. Times are UTC.";
    TIME = "Time";
    LEVEL = "Level";
    EVENT = "Event";
    SAYS = "What it says";
    PROVES = "Proves";
    CRITICAL = "critical";
    WARNING = "warning";
    INFORMATION = "information";

    // What is changed.
    CHANGES = "Changes";
    PLACE = "Place";
    BEFORE = "Before";
    AFTER = "After";
    ON_TARGET = "{extent} on the target";
    RANGE = "{bytes} in {n} range";
    RANGES = "{bytes} in {n} ranges";
    HOST_SET = "{n} permission, name or file set by the mounted file system";
    HOST_SETS = "{n} permissions, names or files set by the mounted file system";
    REMAINS = "remains: {title} [{id}], {cure}";
    NOT_CURABLE = "no fix of coldfix cures it";
    CURED_BY = "cured by {fixes}";
    NOTHING_LEFT = "nothing found any more";
    LEFT_ONE = "{n} finding left";
    LEFT = "{n} findings left";
    CHANGE_ONE = "{n} change";
    CHANGE_MANY = "{n} changes";
    NOTHING_TO_CHANGE = "{path}: nothing to change; {left}";
    DRY_RUN_DONE = "{path}: dry run, {changes} verified in memory, nothing written; {left}";
    REPAIRED = "{path}: repaired and verified, {changes}; {left}; operation {id}";
    AND_NEXT = "{line}; next: {command}";
    UNDO = "undo: {command}";
}
