// SPDX-License-Identifier: GPL-2.0-or-later
//! `bcdedit`'s names of elements and of the values that have one, both ways.
//!
//! A name belongs to a kind of object: 26000005 is one thing in a boot manager and another in a resume object.
//! Elements of class 1 mean the same everywhere. What has no name is shown and taken as `custom:16000069`.
//!
//! Source: Microsoft, "BCDEdit /set"; Geoff Chappell, "BCD Elements".

use super::format::{ElementType, ObjectType};

/// In which objects a name means this element.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scope {
    /// In all of them.
    Any,
    /// Boot managers, Windows' and the firmware's.
    BootManager,
    /// Windows boot loaders and the settings that they inherit.
    Loader,
    /// Resume objects and the settings that they inherit.
    Resume,
    /// Options of a device.
    DeviceOptions,
}

impl Scope {
    fn holds(self, kind: ObjectType) -> bool {
        match self {
            Scope::Any => true,
            Scope::BootManager => matches!(
                kind,
                ObjectType::BOOT_MANAGER | ObjectType::FIRMWARE_BOOT_MANAGER
            ),
            Scope::Loader => matches!(kind, ObjectType::LOADER | ObjectType::LOADER_SETTINGS),
            Scope::Resume => matches!(kind, ObjectType::RESUME | ObjectType::RESUME_SETTINGS),
            Scope::DeviceOptions => kind == ObjectType::DEVICE_OPTIONS,
        }
    }
}

/// How the numbers of an element are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Spelling {
    /// In decimal.
    Decimal,
    /// With `0x`.
    Hexadecimal,
    /// As one of these words, from 0 on.
    Words(&'static [&'static str]),
}

/// An element that has a name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Named {
    /// `bcdedit`'s name.
    pub name: &'static str,
    /// The number.
    pub element: ElementType,
    /// Where the name means this element.
    pub scope: Scope,
    /// How a number is written.
    pub spelling: Spelling,
}

const fn named(name: &'static str, element: u32, scope: Scope) -> Named {
    spelt(name, element, scope, Spelling::Decimal)
}

const fn words(
    name: &'static str,
    element: u32,
    scope: Scope,
    words: &'static [&'static str],
) -> Named {
    spelt(name, element, scope, Spelling::Words(words))
}

const fn hex(name: &'static str, element: u32, scope: Scope) -> Named {
    spelt(name, element, scope, Spelling::Hexadecimal)
}

const fn spelt(name: &'static str, element: u32, scope: Scope, spelling: Spelling) -> Named {
    Named {
        name,
        element: ElementType(element),
        scope,
        spelling,
    }
}

const MESSAGES: &[&str] = &[
    "Default",
    "Resume",
    "HyperV",
    "Recovery",
    "StartupRepair",
    "SystemImageRecovery",
    "CommandPrompt",
    "SystemRestore",
    "PushButtonReset",
];
const MENU_POLICY: &[&str] = &["Legacy", "Standard"];
const BOOT_UX: &[&str] = &["Disabled", "Basic", "Standard"];
const OFF_AUTO: &[&str] = &["Off", "Auto"];
const FORCE_DISABLE: &[&str] = &["Default", "ForceDisable"];

use Scope::{Any, BootManager, DeviceOptions, Loader, Resume};

/// Every element with a name.
pub const NAMED: &[Named] = &[
    named("device", 0x1100_0001, Any),
    named("path", 0x1200_0002, Any),
    named("description", 0x1200_0004, Any),
    named("locale", 0x1200_0005, Any),
    named("inherit", 0x1400_0006, Any),
    hex("truncatememory", 0x1500_0007, Any),
    named("recoverysequence", 0x1400_0008, Any),
    named("recoveryenabled", 0x1600_0009, Any),
    hex("badmemorylist", 0x1700_000a, Any),
    named("badmemoryaccess", 0x1600_000b, Any),
    named("bootdebug", 0x1600_0010, Any),
    words(
        "debugtype",
        0x1500_0011,
        Any,
        &["Serial", "1394", "USB", "NET", "Local"],
    ),
    hex("debugaddress", 0x1500_0012, Any),
    named("debugport", 0x1500_0013, Any),
    named("baudrate", 0x1500_0014, Any),
    named("channel", 0x1500_0015, Any),
    named("targetname", 0x1200_0016, Any),
    words(
        "debugstart",
        0x1500_0018,
        Any,
        &["Active", "AutoEnable", "Disable"],
    ),
    named("busparams", 0x1200_0019, Any),
    named("hostip", 0x1500_001a, Any),
    named("port", 0x1500_001b, Any),
    named("dhcp", 0x1600_001c, Any),
    named("key", 0x1200_001d, Any),
    named("bootems", 0x1600_0020, Any),
    named("emsport", 0x1500_0022, Any),
    named("emsbaudrate", 0x1500_0023, Any),
    named("loadoptions", 0x1200_0030, Any),
    named("advancedoptions", 0x1600_0040, Any),
    named("optionsedit", 0x1600_0041, Any),
    named("graphicsmodedisabled", 0x1600_0046, Any),
    named("nointegritychecks", 0x1600_0048, Any),
    named("testsigning", 0x1600_0049, Any),
    words(
        "integrityservices",
        0x1500_004b,
        Any,
        &["Default", "Enable", "Disable"],
    ),
    named("isolatedcontext", 0x1600_0060, Any),
    words("displaymessage", 0x1500_0065, Any, MESSAGES),
    words("displaymessageoverride", 0x1500_0066, Any, MESSAGES),
    named("bootshutdowndisabled", 0x1600_0074, Any),
    hex("allowedinmemorysettings", 0x1700_0077, Any),
    words(
        "booterrorux",
        0x1500_007d,
        Any,
        &["Legacy", "Standard", "Simple"],
    ),
    named("flightsigning", 0x1600_007e, Any),
    // The boot manager.
    named("displayorder", 0x2400_0001, BootManager),
    named("bootsequence", 0x2400_0002, BootManager),
    named("default", 0x2300_0003, BootManager),
    named("timeout", 0x2500_0004, BootManager),
    named("resume", 0x2600_0005, BootManager),
    named("resumeobject", 0x2300_0006, BootManager),
    named("toolsdisplayorder", 0x2400_0010, BootManager),
    named("displaybootmenu", 0x2600_0020, BootManager),
    named("noerrordisplay", 0x2600_0021, BootManager),
    named("bcddevice", 0x2100_0022, BootManager),
    named("bcdfilepath", 0x2200_0023, BootManager),
    // The type library calls it HiberRoot. In a loader the number means "lastknowngood".
    named("hiberboot", 0x2600_0025, BootManager),
    named("persistbootsequence", 0x2600_0031, BootManager),
    // Loaders.
    named("osdevice", 0x2100_0001, Loader),
    named("systemroot", 0x2200_0002, Loader),
    named("resumeobject", 0x2300_0003, Loader),
    named("detecthal", 0x2600_0010, Loader),
    named("kernel", 0x2200_0011, Loader),
    named("hal", 0x2200_0012, Loader),
    words(
        "nx",
        0x2500_0020,
        Loader,
        &["OptIn", "OptOut", "AlwaysOff", "AlwaysOn"],
    ),
    words(
        "pae",
        0x2500_0021,
        Loader,
        &["Default", "ForceEnable", "ForceDisable"],
    ),
    named("winpe", 0x2600_0022, Loader),
    named("nocrashautoreboot", 0x2600_0024, Loader),
    named("lastknowngood", 0x2600_0025, Loader),
    named("removememory", 0x2500_0031, Loader),
    named("increaseuserva", 0x2500_0032, Loader),
    named("vga", 0x2600_0040, Loader),
    named("quietboot", 0x2600_0041, Loader),
    named("novga", 0x2600_0043, Loader),
    named("onecpu", 0x2600_0060, Loader),
    words(
        "x2apicpolicy",
        0x2500_0055,
        Loader,
        &["Default", "Disable", "Enable"],
    ),
    named("numproc", 0x2500_0061, Loader),
    named("usefirmwarepcisettings", 0x2600_0070, Loader),
    words("msi", 0x2500_0071, Loader, FORCE_DISABLE),
    words("pciexpress", 0x2500_0072, Loader, FORCE_DISABLE),
    words(
        "safeboot",
        0x2500_0080,
        Loader,
        &["Minimal", "Network", "DsRepair"],
    ),
    named("safebootalternateshell", 0x2600_0081, Loader),
    named("bootlog", 0x2600_0090, Loader),
    named("sos", 0x2600_0091, Loader),
    named("debug", 0x2600_00a0, Loader),
    named("halbreakpoint", 0x2600_00a1, Loader),
    named("useplatformclock", 0x2600_00a2, Loader),
    named("disabledynamictick", 0x2600_00a5, Loader),
    words(
        "tscsyncpolicy",
        0x2500_00a6,
        Loader,
        &["Default", "Legacy", "Enhanced"],
    ),
    named("ems", 0x2600_00b0, Loader),
    words(
        "driverloadfailurepolicy",
        0x2500_00c1,
        Loader,
        &["Fatal", "UseErrorControl"],
    ),
    words("bootmenupolicy", 0x2500_00c2, Loader, MENU_POLICY),
    named("onetimeadvancedoptions", 0x2600_00c3, Loader),
    words(
        "bootstatuspolicy",
        0x2500_00e0,
        Loader,
        &[
            "DisplayAllFailures",
            "IgnoreAllFailures",
            "IgnoreShutdownFailures",
            "IgnoreBootFailures",
            "IgnoreCheckpointFailures",
            "DisplayShutdownFailures",
            "DisplayBootFailures",
            "DisplayCheckpointFailures",
            "AlwaysDisplayStartupFailures",
        ],
    ),
    named("disableelamdrivers", 0x2600_00e1, Loader),
    words("hypervisorlaunchtype", 0x2500_00f0, Loader, OFF_AUTO),
    named("hypervisordebug", 0x2600_00f2, Loader),
    words(
        "hypervisordebugtype",
        0x2500_00f3,
        Loader,
        &["Serial", "1394", "None", "Net"],
    ),
    named("hypervisordebugport", 0x2500_00f4, Loader),
    named("hypervisorbaudrate", 0x2500_00f5, Loader),
    words("bootux", 0x2500_00f7, Loader, BOOT_UX),
    words("vsmlaunchtype", 0x2500_0142, Loader, OFF_AUTO),
    // Resume from hibernation.
    named("filedevice", 0x2100_0001, Resume),
    named("filepath", 0x2200_0002, Resume),
    named("debugoptionenabled", 0x2600_0006, Resume),
    words("bootux", 0x2500_0007, Resume, BOOT_UX),
    words("bootmenupolicy", 0x2500_0008, Resume, MENU_POLICY),
    // Options of a device.
    named("ramdisksdidevice", 0x3100_0003, DeviceOptions),
    named("ramdisksdipath", 0x3200_0004, DeviceOptions),
];

/// What is known of an element in an object of type `kind`; `None` for one without a name.
pub fn by_number(kind: ObjectType, element: ElementType) -> Option<&'static Named> {
    let mut found = NAMED.iter().filter(|named| named.element == element);
    found.find(|named| named.scope.holds(kind))
}

/// The element called `name` in an object of type `kind`: a name in any case, or `custom:` and the number.
pub fn by_name(kind: ObjectType, name: &str) -> Option<ElementType> {
    if let Some((prefix, number)) = name.split_once(':') {
        let number = number
            .strip_prefix("0x")
            .or_else(|| number.strip_prefix("0X"))
            .unwrap_or(number);
        let custom = prefix.eq_ignore_ascii_case("custom") && number.len() == 8;
        return custom.then(|| ElementType::parse(number)).flatten();
    }
    let mut found = NAMED
        .iter()
        .filter(|named| named.name.eq_ignore_ascii_case(name));
    found
        .find(|named| named.scope.holds(kind))
        .map(|named| named.element)
}

/// The name that is shown for an element: its own, or `custom:16000069`.
pub fn shown_name(kind: ObjectType, element: ElementType) -> String {
    by_number(kind, element).map_or_else(
        || format!("custom:{element}"),
        |named| named.name.to_owned(),
    )
}
