// SPDX-License-Identifier: GPL-2.0-or-later
//! What is wrong with each fixture, what a diagnosis must say of it, and how it is cured.
//!
//! Findings are written as in a list, in the report's order: `!` is broken, `?` a risk; notices are left out.

use super::{Change, Change::*, Cure::*, Row, changed, row};

const DEMO: &str = "!firewall.port-closed !services.rdp-disabled !nla.invalid !tls.disabled";
/// What a repair leaves of that, because the port may have been moved on purpose; and what opens it.
const CLOSED: &str = "!firewall.port-closed";
const OPEN: &str = "firewall-rule";

/// One for every folder that `scripts/make-fixtures` knows.
pub(crate) const FOLDERS: &[Row] = &[
    row("folder/healthy", "", Nothing),
    row("folder/demo", DEMO, Named(CLOSED, "firewall-rule")),
    row("folder/two-sets", DEMO, Named(CLOSED, "rdp-port=3389")),
    row(
        "folder/firewall-closed-in-last-network",
        "?firewall.profile-in-force",
        Named("?firewall.profile-in-force", "network-profile=private"),
    ),
    row("folder/firewall-opened-by-policy", "", Nothing),
    row(
        "folder/firewall-everything-wrong",
        "!firewall.rule-off !firewall.block-rule !firewall.no-exceptions !firewall.own-rules-dropped",
        Named(
            "!firewall.block-rule !firewall.no-exceptions !firewall.own-rules-dropped",
            "firewall-rule",
        ),
    ),
    row("folder/ipsec-rules-dropped", "", Nothing),
    row("folder/rdp-denied-but-policy-allows", "", Nothing),
    row(
        "folder/everything-wrong",
        "!edition.home !services.dhcp-account !firewall.rule-off !rdp-enable.off !services.rdp-disabled !services.account !nla.invalid !tls.disabled !logon.userinit ?logon.boot-execute ?logon.setup-execute ?network-dhcp.static-in-cloud ?logon.profile-temporary",
        NamedLeaves(
            "!edition.home ?logon.boot-execute ?logon.setup-execute ?network-dhcp.static-in-cloud ?logon.profile-temporary",
            "logon network-dhcp",
            "!edition.home",
        ),
    ),
    row(
        "folder/applocker-blocks",
        "?policy-block.programs",
        Named("?policy-block.programs", "policy-block"),
    ),
    row(
        "folder/boot-execute-missing",
        "?logon.boot-execute ?logon.setup-execute",
        Named("?logon.boot-execute ?logon.setup-execute", "logon"),
    ),
    row(
        "folder/certificate-pinned",
        "!rdp-certificate.pin-dangling",
        Named("!rdp-certificate.pin-dangling", "rdp-certificate=unpin"),
    ),
    row("folder/cipher-policy-empty", "!cipher-policy.empty", Plain),
    row("folder/crash-dump-off", "", Nothing),
    row("folder/csrss-lost", "!logon.csrss", Told),
    row(
        "folder/dhcp-static-azure",
        "?network-dhcp.static-in-cloud",
        Named("?network-dhcp.static-in-cloud", "network-dhcp"),
    ),
    row(
        "folder/encryption-level-out-of-range",
        "!rdp-listener.invalid",
        Plain,
    ),
    row("folder/fips-on", "", Nothing),
    row("folder/firewall-block-rule", "!firewall.block-rule", Plain),
    row("folder/firewall-block-some", "", Nothing),
    row(
        "folder/firewall-blocks-all",
        "!firewall.no-exceptions",
        Plain,
    ),
    row("folder/firewall-lets-all-in", "", Nothing),
    row("folder/firewall-loopback-text", "", Nothing),
    row(
        "folder/firewall-loopback-type",
        "!firewall-service.loopback-type",
        Plain,
    ),
    row("folder/firewall-malformed", "?firewall.unclear", Told),
    row(
        "folder/firewall-managed-block",
        "!firewall.block-rule",
        Named("!firewall.block-rule", "firewall-rule"),
    ),
    row("folder/firewall-off", "", Nothing),
    row(
        "folder/firewall-own-rules-dropped",
        "!firewall.own-rules-dropped",
        Named("!firewall.own-rules-dropped", "firewall-rule"),
    ),
    row(
        "folder/firewall-policy-blocks",
        "!firewall.block-rule !firewall.no-exceptions",
        Named(
            "!firewall.block-rule !firewall.no-exceptions",
            "firewall-rule",
        ),
    ),
    row("folder/firewall-policy-opens", "", Nothing),
    row("folder/firewall-rule-domain-only", "", Nothing),
    row("folder/firewall-rule-inactive", "!firewall.rule-off", Plain),
    row("folder/firewall-rule-lost", "!firewall.rule-missing", Plain),
    row("folder/firewall-rule-one-profile", "", Nothing),
    row("folder/home-edition", "!edition.home", Told),
    row("folder/ipsec-demanded", "!ipsec.blocks", Plain),
    row("folder/ipsec-demanded-by-policy", "!ipsec.blocks", Plain),
    row("folder/ipsec-own-rules-dropped", "", Nothing),
    row("folder/ipsec-scoped", "?ipsec.unclear", Told),
    row("folder/last-known-good-002", "", Nothing),
    row("folder/listener-missing", "!rdp-listener.missing", Told),
    row(
        "folder/listener-off",
        "!rdp-listener.invalid ?rdp-listener.adapter",
        Named("?rdp-listener.adapter", "rdp-listener"),
    ),
    row("folder/netvsc-driver", "?network-adapter.driver", Told),
    row("folder/network-notices", "", Nothing),
    row(
        "folder/network-provider-orphan",
        "!network-provider.orphan",
        Plain,
    ),
    row("folder/network-public", "", Nothing),
    row("folder/nla-off", "", Nothing),
    row("folder/nla-out-of-range", "!nla.invalid", Plain),
    row(
        "folder/policies-of-wrong-type",
        "?rdp-enable.unclear ?cipher-policy.unclear ?logon.unclear ?policy-block.unclear ?network-proxy.unclear",
        Told,
    ),
    row("folder/port-malformed", "?rdp-port.unclear", Told),
    row("folder/port-zero", "!rdp-port.invalid", Plain),
    row(
        "folder/profile-temporary",
        "?logon.profile-temporary",
        Named("?logon.profile-temporary", "logon"),
    ),
    row(
        "folder/profile-twin",
        "?logon.profile-twin",
        Named("?logon.profile-twin", "logon"),
    ),
    row("folder/rdp-allowed-by-policy", "", Nothing),
    row("folder/rdp-denied", "!rdp-enable.off", Plain),
    row("folder/rdp-denied-by-policy", "!rdp-enable.policy", Plain),
    row("folder/rdp-denied-value-missing", "!rdp-enable.off", Plain),
    row("folder/rdp-drained", "!rdp-enable.off", Plain),
    row(
        "folder/rdp-port-3390",
        "!firewall.port-closed",
        Named("!firewall.port-closed", "firewall-rule"),
    ),
    row("folder/rpc-host-differs", "!rpc-host.different", Plain),
    row(
        "folder/security-layer-out-of-range",
        "!rdp-listener.invalid",
        Plain,
    ),
    row("folder/select-dangling", "!hive.no-control-set", Refused(2)),
    row("folder/select-missing", "!hive.no-control-set", Refused(2)),
    row(
        "folder/service-accounts",
        "!services.dhcp-account !services.account",
        Plain,
    ),
    row("folder/services-disabled", "!services.rdp-disabled", Plain),
    row("folder/setup-mode-missing", "!logon.setup-mode", Plain),
    row("folder/setup-mode-running", "?logon.setup-command", Told),
    row("folder/shell-missing", "!logon.shell", Plain),
    row(
        "folder/software-restriction",
        "?policy-block.programs",
        Named("?policy-block.programs", "policy-block"),
    ),
    row(
        "folder/stations-disabled",
        "?rdp-enable.stations-disabled",
        Told,
    ),
    row(
        "folder/terminal-server-missing",
        "!rdp-enable.key-missing !rdp-listener.missing",
        Told,
    ),
    row(
        "folder/termservice-disabled",
        "!services.rdp-disabled",
        Plain,
    ),
    row("folder/termservice-missing", "!services.missing", Told),
    row("folder/tls12-off", "!tls.disabled", Plain),
    row("folder/update-level", "?updates.known-fault", Told),
    row("folder/update-package", "?updates.known-fault", Told),
    row("folder/userinit-missing", "!logon.userinit", Plain),
    row(
        "folder/values-of-wrong-type",
        "!logon.csrss-unclear ?network-dhcp.unclear ?rdp-enable.unclear ?rdp-listener.unclear ?services.unclear ?nla.unclear ?tls.unclear ?rdp-certificate.unclear ?authentication.unclear ?rpc-host.unclear ?logon.unclear ?network-dns.unclear ?network-provider.unclear ?network-mtu.unclear ?rdp-sessions.unclear ?temp-folder.unclear",
        Told,
    ),
    row("folder/winlogon-missing", "!logon.winlogon-missing", Told),
];

/// One for every disk.
pub(crate) const DISKS: &[Row] = &[
    row("bare-healthy.raw", "", Nothing),
    row(
        "bare-logon.raw",
        "!logon.userinit !network-provider.orphan ?logon.boot-execute ?logon.setup-execute ?network-dhcp.static-in-cloud ?policy-block.programs ?logon.profile-twin",
        Named(
            "?logon.boot-execute ?logon.setup-execute ?network-dhcp.static-in-cloud ?policy-block.programs ?logon.profile-twin",
            "logon network-dhcp policy-block",
        ),
    ),
    row("bare-broken.raw", DEMO, Named(CLOSED, OPEN)),
    row("gpt-healthy.raw", "", Nothing),
    row("gpt-broken.raw", DEMO, Named(CLOSED, OPEN)),
    row("gpt-two-sets.raw", DEMO, Named(CLOSED, OPEN)),
    row("gpt-two-windows.raw", "", NotRead(3)),
    row("gpt-bad-primary.raw", DEMO, Named(CLOSED, OPEN)),
    row("gpt-4096.raw", DEMO, Named(CLOSED, OPEN)),
    row("mbr-broken.raw", DEMO, Named(CLOSED, OPEN)),
    row("mbr-logical.raw", DEMO, Named(CLOSED, OPEN)),
    row("vhd-broken.vhd", DEMO, Named(CLOSED, OPEN)),
    row("vhd-dynamic.vhd", DEMO, Named(CLOSED, OPEN)),
    row("vhdx-dynamic.vhdx", DEMO, Named(CLOSED, OPEN)),
    row("certificate-healthy.raw", "", Nothing),
    row(
        "certificate-expired.raw",
        "?rdp-certificate.expired",
        Named("?rdp-certificate.expired", "rdp-certificate"),
    ),
    row("certificate-expired-since.raw", "", Nothing),
    row(
        "certificate-orphaned.raw",
        "!rdp-certificate.orphaned",
        Plain,
    ),
    row(
        "certificate-clone.raw",
        "?rdp-certificate.key-of-clone",
        Named("?rdp-certificate.key-of-clone", "rdp-certificate=renew"),
    ),
    row("certificate-cng.raw", "", Nothing),
    row("certificate-foreign.raw", "", Nothing),
    row("certificate-pinned.raw", "", Nothing),
    row(
        "certificate-pinned-keyless.raw",
        "!rdp-certificate.pin-dangling",
        Named("!rdp-certificate.pin-dangling", "rdp-certificate=unpin"),
    ),
    row(
        "certificate-pin-expired.raw",
        "?rdp-certificate.pin-expired",
        Named("?rdp-certificate.pin-expired", "rdp-certificate=unpin"),
    ),
    row(
        "certificate-pinned-own.raw",
        "?rdp-certificate.pin-expired",
        NamedTwice(
            "?rdp-certificate.pin-expired",
            "rdp-certificate=unpin",
            "?rdp-certificate.expired",
            "rdp-certificate",
        ),
    ),
    row(
        "certificate-damaged.raw",
        "?rdp-certificate.unreadable",
        Told,
    ),
    row(
        "certificate-denied.raw",
        "?rdp-certificate.store-denied",
        Named("?rdp-certificate.store-denied", "rdp-certificate"),
    ),
    row(
        "certificate-denied-empty.raw",
        "!rdp-certificate.store-denied",
        Plain,
    ),
    row(
        "certificate-denied-above.raw",
        "?rdp-certificate.store-denied-above",
        Told,
    ),
    row("keys-healthy.raw", "", Nothing),
    row(
        "keys-service-missing.raw",
        "!machine-keys.key-unreadable",
        Plain,
    ),
    row("keys-denied.raw", "!machine-keys.key-unreadable", Plain),
    row(
        "keys-inherited-denies.raw",
        "!machine-keys.key-unreadable",
        Plain,
    ),
    row(
        "keys-owner-unknown.raw",
        "!machine-keys.key-unreadable",
        Plain,
    ),
    row("keys-empty-dacl.raw", "!machine-keys.key-unreadable", Plain),
    row("keys-folder-hardened.raw", "", Nothing),
    row("keys-clone.raw", "", Nothing),
];

/// One for every disk that is refused, or none.
pub(crate) const BAD: &[Row] = &[
    row("bad/text.txt", "", NotRead(2)),
    row("bad/empty.raw", "", NotRead(2)),
    row("bad/fat.raw", "", NotRead(2)),
    row("bad/bitlocker.raw", "", NotRead(3)),
    row("bad/bitlocker-disk.raw", "", NotRead(3)),
    row(
        "bad/hibernated.raw",
        "!firewall.port-closed !services.rdp-disabled !nla.invalid !tls.disabled ?volume.hibernated",
        Refused(3),
    ),
    row("bad/unclean-log.raw", DEMO, Refused(3)),
    row("bad/dirty-flag.raw", DEMO, Named(CLOSED, OPEN)),
    row("bad/compressed-hive.raw", DEMO, Refused(2)),
    row("bad/no-windows.raw", "", NotRead(2)),
    row("bad/no-system-hive.raw", "!hive.missing", Refused(2)),
    row("bad/damaged-system-hive.raw", "!hive.damaged", Refused(2)),
    row("bad/truncated.vhd", "", NotRead(2)),
    row("bad/short.vhd", "", NotRead(2)),
    row("bad/child-alone.vhd", "", NotRead(3)),
];

/// Faults that one more change to a fixture makes.
pub(crate) const CHANGED: &[Row] = &[
    // Policy against the machine's own setting, both ways.
    changed(
        "folder/rdp-denied",
        &[Reg(&[POLICY, "\"fDenyTSConnections\"=dword:0"])],
        "",
        Nothing,
    ),
    changed(
        "folder/rdp-denied-by-policy",
        &[Reg(&[SERVER, "\"fDenyTSConnections\"=dword:1"])],
        "!rdp-enable.policy !rdp-enable.off",
        Plain,
    ),
    changed(
        "folder/healthy",
        &[Reg(&[POLICY, "\"SecurityLayer\"=dword:5"])],
        "!rdp-listener.policy",
        Plain,
    ),
    changed(
        "folder/healthy",
        &[Reg(&[POLICY, "\"UserAuthentication\"=dword:7"])],
        "!nla.policy",
        Plain,
    ),
    changed(
        "folder/healthy",
        &[
            Reg(&[LISTENER, "\"UserAuthentication\"=dword:7"]),
            Reg(&[POLICY, "\"UserAuthentication\"=dword:1"]),
        ],
        "",
        Nothing,
    ),
    // Control sets: 1 and 2 are alike, and Select names them.
    changed(
        "folder/last-known-good-002",
        &[Reg(&[SERVER_2, "\"fDenyTSConnections\"=dword:1"])],
        "?rdp-enable.off",
        Named("?rdp-enable.off", "rdp-enable"),
    ),
    changed(
        "folder/last-known-good-002",
        &[Reg(&[SERVER_3, "\"fDenyTSConnections\"=dword:1"])],
        "",
        Nothing,
    ),
    changed(
        "folder/last-known-good-002",
        &[
            SECOND_STARTS,
            Reg(&[SERVER_2, "\"fDenyTSConnections\"=dword:1"]),
        ],
        "!rdp-enable.off",
        Plain,
    ),
    changed(
        "folder/last-known-good-002",
        &[
            SECOND_STARTS,
            Reg(&[SERVER, "\"fDenyTSConnections\"=dword:1"]),
        ],
        "",
        Nothing,
    ),
    // What the other set has is taken from it.
    changed(
        "folder/last-known-good-002",
        &[Reg(&[SUBSYSTEMS, "\"Windows\"=-"])],
        "!logon.csrss",
        Plain,
    ),
    // Hives.
    changed(
        "folder/healthy",
        &[Without(SOFTWARE_FILE)],
        "!hive.missing",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Bytes(SOFTWARE_FILE, |hive| hive.fill(0x5a))],
        "!hive.unreadable ?firewall.unclear ?rdp-certificate.store-unreadable",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Bytes(SOFTWARE_FILE, |hive| hive[0x2000..0x2004].fill(0))],
        "!hive.damaged ?firewall.unclear ?rdp-certificate.store-unreadable",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Bytes(SOFTWARE_FILE, leave_dirty)],
        "?hive.log-lost",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Without(SYSTEM_FILE)],
        "!hive.missing",
        Refused(2),
    ),
    changed(
        "folder/healthy",
        &[Cut(SYSTEM_FILE, 0)],
        "!hive.unreadable",
        Refused(2),
    ),
    changed(
        "folder/healthy",
        &[Cut(SYSTEM_FILE, 0x1800)],
        "!hive.unreadable",
        Refused(2),
    ),
    changed(
        "folder/healthy",
        &[Bytes(SYSTEM_FILE, |hive| hive[..0x200].fill(0))],
        "!hive.unreadable",
        Refused(2),
    ),
    changed(
        "folder/healthy",
        &[Without(SAM_FILE)],
        "!hive.logon-lost",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Cut(SECURITY_FILE, 0)],
        "!hive.logon-lost",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Bytes(SAM_FILE, |hive| hive[0x1000..0x1004].fill(0))],
        "!hive.logon-lost ?accounts.unclear",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Bytes(SAM_FILE, |hive| hive[0x2000..0x2004].fill(0))],
        "?hive.logon-damaged ?accounts.unclear",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Without(DEFAULT_FILE)],
        "?hive.default",
        Told,
    ),
    // Hives that were copied, without the rest of Windows: what was not copied is no fault.
    changed(
        "folder/healthy",
        &[
            Without("Windows/System32/ntdll.dll"),
            Without(SAM_FILE),
            Without(SECURITY_FILE),
            Without(DEFAULT_FILE),
        ],
        "",
        Nothing,
    ),
    changed(
        "folder/healthy",
        &[
            Without("Windows/System32/ntdll.dll"),
            Without(SOFTWARE_FILE),
        ],
        "?hive.not-copied",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Without("Windows/System32/ntdll.dll"), Without(SYSTEM_FILE)],
        "?hive.not-copied",
        Refused(2),
    ),
    // The listener and what it asks for.
    changed(
        "folder/healthy",
        &[Reg(&[LISTENER, "\"fAllowSecProtocolNegotiation\"=dword:0"])],
        "?rdp-listener.negotiation",
        Named("?rdp-listener.negotiation", "rdp-listener"),
    ),
    changed(
        "folder/healthy",
        &[Reg(&[LISTENER, "\"MinEncryptionLevel\"=dword:1"])],
        "?rdp-listener.encryption",
        Named("?rdp-listener.encryption", "rdp-listener"),
    ),
    changed(
        "folder/healthy",
        &[Reg(&[LISTENER, "\"WdName\"=\"Other Driver 1\""])],
        "?rdp-listener.third-party",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Reg(&[LISTENER, "\"MaxInstanceCount\"=dword:0"])],
        "?rdp-sessions.none",
        Named("?rdp-sessions.none", "rdp-sessions"),
    ),
    changed(
        "folder/healthy",
        &[Reg(&[CIPHERS, "\"EccCurves\"=hex(7):00,00"])],
        "?cipher-policy.curves",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Reg(&[LSA, "\"ForceGuest\"=dword:1"])],
        "?authentication.guest",
        Named("?authentication.guest", "guest-logons"),
    ),
    changed(
        "folder/healthy",
        &[Reg(&[LSA, "\"CrashOnAuditFail\"=dword:2"])],
        "?authentication.audit-full",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Reg(&[NTLM, "\"RestrictReceivingNTLMTraffic\"=dword:2"])],
        "?authentication.ntlm",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Reg(&[DHCP, "\"Start\"=dword:4"])],
        "!services.network-disabled",
        Plain,
    ),
    changed(
        "folder/healthy",
        &[Without("Windows/System32/ntlanman.dll")],
        "?network-provider.damaged",
        Told,
    ),
    changed(
        "folder/profile-twin",
        &[Reg(&[PROFILE_OLD])],
        "?logon.profile-twin-left",
        Told,
    ),
    changed(
        "folder/profile-temporary",
        &[Without("Users")],
        "?logon.profile-temporary-left",
        Told,
    ),
    // A port that a repair puts right is the one that rules are judged by.
    changed(
        "folder/ipsec-demanded",
        &[Reg(&[LISTENER, "\"PortNumber\"=dword:0"])],
        "!ipsec.blocks !rdp-port.invalid",
        Plain,
    ),
    // An update to be installed does not keep the rest from being cured.
    changed(
        "folder/update-level",
        &[
            Reg(&[DHCP, "\"Start\"=dword:4"]),
            Reg(&[SERVER, "\"fDenyTSConnections\"=dword:1"]),
            Reg(&[TLS, "\"Enabled\"=dword:0"]),
        ],
        "!services.network-disabled !rdp-enable.off !tls.disabled ?updates.known-fault",
        Left("?updates.known-fault"),
    ),
    // Several at once, where keys and certificates are: the earliest leads.
    changed(
        "keys-denied.raw",
        &[
            Reg(&[SERVER, "\"fDenyTSConnections\"=dword:1"]),
            Reg(&[LISTENER, "\"UserAuthentication\"=dword:7"]),
            Reg(&[TLS, "\"Enabled\"=dword:0"]),
        ],
        "!rdp-enable.off !nla.invalid !tls.disabled !machine-keys.key-unreadable",
        Plain,
    ),
    changed(
        "certificate-expired.raw",
        &[Reg(&[
            r"SYSTEM\ControlSet001\Services\CryptSvc",
            "\"Start\"=dword:4",
        ])],
        "!services.rdp-disabled ?rdp-certificate.expired",
        Named("?rdp-certificate.expired", "rdp-certificate"),
    ),
    // Accounts and rights.
    changed(
        "folder/healthy",
        &[Accounts(
            "SAM",
            &["--control", "500=0x211", "--control", "1000=0x211"],
        )],
        "!accounts.nobody",
        Named("!accounts.nobody", "account=ann:enable"),
    ),
    changed(
        "folder/healthy",
        &[Reg(&[LSA, "\"LimitBlankPasswordUse\"=\"0\""])],
        "?accounts.unclear",
        Told,
    ),
    changed(
        "folder/healthy",
        &[Accounts("SECURITY", &["--mask", "S-1-1-0=0x802"])],
        "!user-rights.denied",
        Plain,
    ),
    changed(
        "folder/healthy",
        &[Accounts("SECURITY", &["--mask", "S-1-5-32-545=0x43"])],
        "?user-rights.console-denied",
        Named("?user-rights.console-denied", "user-rights"),
    ),
    changed(
        "folder/healthy",
        &[Accounts(
            "SECURITY",
            &[
                "--mask",
                "S-1-5-32-544=none",
                "--mask",
                "S-1-5-32-555=none",
                "--mask",
                "S-1-5-32-545=0x2",
            ],
        )],
        "!user-rights.nobody ?user-rights.nobody-locally",
        Plain,
    ),
    changed(
        "folder/healthy",
        &[Accounts("SECURITY", &["--mask", "S-1-5-80-0=none"])],
        "?user-rights.services",
        Named("?user-rights.services", "user-rights"),
    ),
    changed(
        "folder/healthy",
        &[Reg(&[
            r"SECURITY\Policy\Accounts\S-1-5-32-545\ActSysAc",
            "@=hex(0):07,00",
        ])],
        "?user-rights.unclear",
        Told,
    ),
    // The boot configuration.
    changed(
        "gpt-healthy.raw",
        &[Bcd(&["{default}", "safeboot", "minimal"])],
        "!boot.safe-mode",
        Plain,
    ),
    changed(
        "gpt-healthy.raw",
        &[Bcd(&["{default}", "systemroot", r"\Other"])],
        "!boot.not-started",
        Told,
    ),
    changed(
        "gpt-healthy.raw",
        &[Bcd(&["{default}", "custom:22000137", "x"])],
        "!boot.imc",
        Plain,
    ),
    changed(
        "gpt-healthy.raw",
        &[Bcd(&[
            "{default}",
            "path",
            r"\Windows\system32\winload.exe",
        ])],
        "!boot.loader-path",
        Told,
    ),
    changed(
        "gpt-healthy.raw",
        &[Bcd(&["{default}", "path", r"\Windows\system32\absent.efi"])],
        "!boot.loader-missing",
        Told,
    ),
    changed(
        "gpt-healthy.raw",
        &[Store(Some(name_another_esp))],
        "?boot.manager-device",
        Told,
    ),
    changed(
        "gpt-healthy.raw",
        &[Store(Some(|store| store.fill(0x5a)))],
        "?boot.unreadable",
        Told,
    ),
    changed("gpt-healthy.raw", &[Store(None)], "?boot.no-store", Told),
];

const SERVER: &str = r"SYSTEM\ControlSet001\Control\Terminal Server";
const SERVER_2: &str = r"SYSTEM\ControlSet002\Control\Terminal Server";
const SERVER_3: &str = r"SYSTEM\ControlSet003\Control\Terminal Server";
const LISTENER: &str = r"SYSTEM\ControlSet001\Control\Terminal Server\WinStations\RDP-Tcp";
const TLS: &str =
    r"SYSTEM\ControlSet001\Control\SecurityProviders\SCHANNEL\Protocols\TLS 1.2\Server";
const SUBSYSTEMS: &str = r"SYSTEM\ControlSet001\Control\Session Manager\SubSystems";
const LSA: &str = r"SYSTEM\ControlSet001\Control\Lsa";
const NTLM: &str = r"SYSTEM\ControlSet001\Control\Lsa\MSV1_0";
const DHCP: &str = r"SYSTEM\ControlSet001\Services\Dhcp";
const POLICY: &str = r"SOFTWARE\Policies\Microsoft\Windows NT\Terminal Services";
const CIPHERS: &str = r"SOFTWARE\Policies\Microsoft\Cryptography\Configuration\SSL\00010002";
const PROFILE_OLD: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion\ProfileList\S-1-5-21-1111111111-2222222222-3333333333-1001.old";
const SYSTEM_FILE: &str = "Windows/System32/config/SYSTEM";
const SOFTWARE_FILE: &str = "Windows/System32/config/SOFTWARE";
const SAM_FILE: &str = "Windows/System32/config/SAM";
const SECURITY_FILE: &str = "Windows/System32/config/SECURITY";
const DEFAULT_FILE: &str = "Windows/System32/config/DEFAULT";
const SECOND_STARTS: Change = Reg(&[r"SYSTEM\Select", "\"Current\"=dword:2\n\"Default\"=dword:2"]);

/// Sequence numbers that differ, and the checksum of the base block that goes with them.
fn leave_dirty(hive: &mut [u8]) {
    hive[4] = hive[4].wrapping_add(1);
    let words = hive[..508]
        .chunks_exact(4)
        .map(|word| u32::from_le_bytes(word.try_into().unwrap()));
    let sum = words.fold(0, |sum, word| sum ^ word);
    hive[508..512].copy_from_slice(&sum.to_le_bytes());
}

/// In the place of the ESP's GUID another.
fn name_another_esp(store: &mut [u8]) {
    let guid = [
        0x10, 0x5c, 0x3b, 0x7a, 0x0f, 0x0c, 0x11, 0x4d, 0x9e, 0x55, 0xc0, 0x1d, 0xf1, 0xc5, 0x00,
        0x01,
    ];
    let places: Vec<usize> = (0..store.len() - guid.len())
        .filter(|at| store[*at..].starts_with(&guid))
        .collect();
    assert!(!places.is_empty(), "the store names the ESP");
    for at in places {
        store[at] ^= 0xff;
    }
}

/// Problems that no row above has: the file whose tests have them, and why they are there.
pub(crate) const ELSEWHERE: &[[&str; 3]] = &[
    [
        "firewall-service.loopback-text",
        "cli_events.rs",
        "needs an event log",
    ],
    [
        "rdp-licensing.grace-period",
        "cli_rdp.rs",
        "needs a key of the right age",
    ],
];
