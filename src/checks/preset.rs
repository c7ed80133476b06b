// SPDX-License-Identifier: GPL-2.0-or-later
//! Named bundles of fixes.

/// A bundle of fixes under one name.
#[derive(Debug)]
pub struct Preset {
    /// The name for `--preset`.
    pub name: &'static str,
    /// One line.
    pub title: &'static str,
    /// The fixes, as `--fix` takes them, in order.
    pub fixes: &'static [&'static str],
    /// Those of the fixes that are left out, and told, where they cannot be done: the target holds no boot
    /// configuration, or none that starts this Windows.
    pub where_possible: &'static [&'static str],
    /// Parts of the procedure that this version of coldfix does not do, each with the way to do it now.
    pub left_out: &'static [&'static str],
    /// Where the procedure comes from.
    pub source: &'static str,
}

/// Every preset.
pub const PRESETS: &[Preset] = &[
    Preset {
        name: "azure-internal-error",
        title: "The offline procedure of Microsoft's article on the RDP internal error",
        fixes: &[
            "serial-console",
            "crash-dump=full",
            "machine-keys=documented",
            "tls=1.0,1.1,1.2",
            "nla=on",
        ],
        where_possible: &["serial-console"],
        left_out: &[],
        source: "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    },
    Preset {
        name: "reset-rdp",
        title: "Remote Desktop as the portal of Azure resets it: on, port 3389, services and firewall rule",
        fixes: &["rdp-enable", "rdp-listener", "rdp-port=3389", "services"],
        where_possible: &[],
        left_out: &[],
        source: "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/reset-rdp",
    },
    Preset {
        name: "diagnostics",
        title: "What makes the next failure easier to explain: the serial console and dumps of crashes",
        fixes: &["serial-console", "crash-dump=full", "process-dumps"],
        where_possible: &["serial-console"],
        left_out: &[],
        source: "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/troubleshoot-rdp-internal-error",
    },
    Preset {
        name: "reset-network",
        title: "What a machine needs to be found on a network that gives it its address",
        fixes: &[
            "services",
            "network-dhcp",
            "network-dns",
            "network-provider",
        ],
        where_possible: &[],
        left_out: &[
            "the removal of network adapters that are gone; remove them in Device Manager (show hidden devices)",
        ],
        source: "https://learn.microsoft.com/troubleshoot/azure/virtual-machines/windows/reset-network-interface",
    },
];
