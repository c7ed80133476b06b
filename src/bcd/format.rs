// SPDX-License-Identifier: GPL-2.0-or-later
//! The numbers of the format: element types, object types, and the GUIDs that have a name.
//!
//! ```text
//! element   class 31-28 | format 27-24 | which 23-0
//!           1 library     1 device   REG_BINARY              5 integer  REG_BINARY, 8 bytes
//!           2 application 2 string   REG_SZ                  6 boolean  REG_BINARY, 1 byte
//!           3 device      3 object   REG_SZ "{guid}"         7 integers REG_BINARY, 8 bytes each
//!           4 hidden      4 objects  REG_MULTI_SZ
//!           5 OEM
//! object    1 application 31-28 | image 23-20 (1 firmware, 2 Windows boot, 3 legacy, 4 real mode) | which 19-0
//!           2 inherit     31-28 | 1 by any, 2 by applications ... 23-20                           | which 19-0
//!           3 device      31-28
//! ```
//!
//! The same element number means another thing in another type of object, so that names are looked up by both
//! (see `elements`).

use std::fmt;

use uuid::{Uuid, uuid};

/// The number of an element.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ElementType(pub u32);

/// In which form an element's bytes are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// A device: opaque here, see `device`.
    Device,
    /// Text.
    Text,
    /// Another object.
    Object,
    /// Other objects, in their order.
    ObjectList,
    /// A number of 64 bits.
    Integer,
    /// Yes or no.
    Boolean,
    /// Numbers of 64 bits.
    IntegerList,
    /// One that Windows does not use.
    Other,
}

impl ElementType {
    /// The format, by bits 24 to 27.
    pub fn format(self) -> Format {
        match (self.0 >> 24) & 0xf {
            1 => Format::Device,
            2 => Format::Text,
            3 => Format::Object,
            4 => Format::ObjectList,
            5 => Format::Integer,
            6 => Format::Boolean,
            7 => Format::IntegerList,
            _ => Format::Other,
        }
    }

    /// The class, bits 28 to 31.
    pub fn class(self) -> u32 {
        self.0 >> 28
    }

    /// True for class 4, which `bcdedit` shows only with `/v`.
    pub fn is_hidden(self) -> bool {
        self.class() == 4
    }

    /// The number that the key `name` stands for: up to eight hexadecimal digits.
    pub fn parse(name: &str) -> Option<ElementType> {
        let digits = !name.is_empty() && name.chars().all(|c| c.is_ascii_hexdigit());
        (digits && name.len() <= 8)
            .then(|| u32::from_str_radix(name, 16).ok())
            .flatten()
            .map(ElementType)
    }
}

/// As the element's key is called: eight lower-case hexadecimal digits.
impl fmt::Display for ElementType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// The elements that coldfix itself looks at.
pub mod element {
    use super::ElementType;

    /// The device that holds the application.
    pub const DEVICE: ElementType = ElementType(0x1100_0001);
    /// The application's path on it.
    pub const PATH: ElementType = ElementType(0x1200_0002);
    /// Its name for a person.
    pub const DESCRIPTION: ElementType = ElementType(0x1200_0004);
    /// Objects whose elements count here too.
    pub const INHERIT: ElementType = ElementType(0x1400_0006);
    /// Start the recovery environment after a failure.
    pub const RECOVERY_ENABLED: ElementType = ElementType(0x1600_0009);
    /// The boot manager speaks over the serial port.
    pub const BOOT_EMS: ElementType = ElementType(0x1600_0020);
    /// Which serial port, 1 for COM1.
    pub const EMS_PORT: ElementType = ElementType(0x1500_0022);
    /// Its speed.
    pub const EMS_BAUD_RATE: ElementType = ElementType(0x1500_0023);
    /// A loader's volume of Windows.
    pub const OS_DEVICE: ElementType = ElementType(0x2100_0001);
    /// A loader's Windows folder.
    pub const SYSTEM_ROOT: ElementType = ElementType(0x2200_0002);
    /// The boot manager's default entry. (Of a loader: its resume object.)
    pub const DEFAULT: ElementType = ElementType(0x2300_0003);
    /// The boot menu.
    pub const DISPLAY_ORDER: ElementType = ElementType(0x2400_0001);
    /// What is started instead, once.
    pub const BOOT_SEQUENCE: ElementType = ElementType(0x2400_0002);
    /// How long the menu waits, in seconds.
    pub const TIMEOUT: ElementType = ElementType(0x2500_0004);
    /// Show the menu also for a single entry.
    pub const DISPLAY_BOOT_MENU: ElementType = ElementType(0x2600_0020);
    /// The loader starts Windows PE.
    pub const WIN_PE: ElementType = ElementType(0x2600_0022);
    /// Safe mode: 0 minimal, 1 with network, 2 directory services.
    pub const SAFE_BOOT: ElementType = ElementType(0x2500_0080);
    /// Safe mode with a command prompt.
    pub const SAFE_BOOT_SHELL: ElementType = ElementType(0x2600_0081);
    /// Windows serves the serial console.
    pub const EMS: ElementType = ElementType(0x2600_00b0);
    /// Wait for a kernel debugger.
    pub const DEBUG: ElementType = ElementType(0x2600_00a0);
    /// What a failed start leads to.
    pub const BOOT_STATUS_POLICY: ElementType = ElementType(0x2500_00e0);
    /// Hyper-V containers' image device; with the next one a stop 0x67 where it is wrong.
    pub const IMC_DEVICE: ElementType = ElementType(0x2100_0138);
    /// Its hive.
    pub const IMC_HIVE_NAME: ElementType = ElementType(0x2200_0137);
}

/// The type of an object: its key `Description`, value `Type`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectType(pub u32);

impl ObjectType {
    /// The firmware's boot manager.
    pub const FIRMWARE_BOOT_MANAGER: ObjectType = ObjectType(0x1010_0001);
    /// An entry of the firmware.
    pub const FIRMWARE_APPLICATION: ObjectType = ObjectType(0x101f_ffff);
    /// The Windows boot manager.
    pub const BOOT_MANAGER: ObjectType = ObjectType(0x1010_0002);
    /// A Windows boot loader.
    pub const LOADER: ObjectType = ObjectType(0x1020_0003);
    /// Resume from hibernation.
    pub const RESUME: ObjectType = ObjectType(0x1020_0004);
    /// The memory tester.
    pub const MEMORY_TESTER: ObjectType = ObjectType(0x1020_0005);
    /// The loader of Windows before Vista.
    pub const LEGACY_LOADER: ObjectType = ObjectType(0x1030_0006);
    /// A real-mode boot sector.
    pub const BOOT_SECTOR: ObjectType = ObjectType(0x1040_0008);
    /// Settings that any object may inherit.
    pub const INHERITED: ObjectType = ObjectType(0x2010_0000);
    /// Settings that loaders inherit.
    pub const LOADER_SETTINGS: ObjectType = ObjectType(0x2020_0003);
    /// Settings that resume objects inherit.
    pub const RESUME_SETTINGS: ObjectType = ObjectType(0x2020_0004);
    /// Options of a device.
    pub const DEVICE_OPTIONS: ObjectType = ObjectType(0x3000_0000);
}

/// As `bcdedit` shows it in `Firmware Application (101fffff)`.
impl fmt::Display for ObjectType {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:08x}", self.0)
    }
}

/// An object that has a name of its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct WellKnown {
    /// Without braces.
    pub name: &'static str,
    /// Its GUID.
    pub id: Uuid,
    /// The type that it has where it is.
    pub kind: ObjectType,
    /// The heading that `bcdedit` prints above it, where its type alone does not say.
    pub heading: Option<&'static str>,
}

/// {bootmgr}
pub const BOOTMGR: Uuid = uuid!("9dea862c-5cdd-4e70-acc1-f32b344d4795");
/// {emssettings}
pub const EMS_SETTINGS: Uuid = uuid!("0ce4991b-e6b3-4b16-b23c-5e0d9250e5d9");
/// {globalsettings}
pub const GLOBAL_SETTINGS: Uuid = uuid!("7ea2e1ac-2e61-4728-aaa3-896d9d0a9f0e");

const fn known(
    name: &'static str,
    id: Uuid,
    kind: ObjectType,
    heading: Option<&'static str>,
) -> WellKnown {
    WellKnown {
        name,
        id,
        kind,
        heading,
    }
}

/// In the order in which `bcdedit /enum all` comes to them where their type is the same.
pub const WELL_KNOWN: [WellKnown; 14] = [
    known(
        "fwbootmgr",
        uuid!("a5a30fa2-3d06-4e9f-b5f4-a01df9d1fcba"),
        ObjectType::FIRMWARE_BOOT_MANAGER,
        None,
    ),
    known("bootmgr", BOOTMGR, ObjectType::BOOT_MANAGER, None),
    known(
        "memdiag",
        uuid!("b2721d73-1db4-4c62-bf78-c548a880142d"),
        ObjectType::MEMORY_TESTER,
        None,
    ),
    known(
        "ntldr",
        uuid!("466f5a88-0af2-4f76-9038-095b170dc21c"),
        ObjectType::LEGACY_LOADER,
        None,
    ),
    known(
        "emssettings",
        EMS_SETTINGS,
        ObjectType::INHERITED,
        Some("EMS Settings"),
    ),
    known(
        "dbgsettings",
        uuid!("4636856e-540f-4170-a130-a84776f4c654"),
        ObjectType::INHERITED,
        Some("Debugger Settings"),
    ),
    known(
        "badmemory",
        uuid!("5189b25c-5558-4bf2-bca4-289b11bd29e2"),
        ObjectType::INHERITED,
        Some("RAM Defects"),
    ),
    known(
        "globalsettings",
        GLOBAL_SETTINGS,
        ObjectType::INHERITED,
        Some("Global Settings"),
    ),
    known(
        "bootloadersettings",
        uuid!("6efb52bf-1766-41db-a6b3-0ee5eff72bd7"),
        ObjectType::LOADER_SETTINGS,
        Some("Boot Loader Settings"),
    ),
    known(
        "hypervisorsettings",
        uuid!("7ff607e0-4395-11db-b0de-0800200c9a66"),
        ObjectType::LOADER_SETTINGS,
        Some("Hypervisor Settings"),
    ),
    known(
        "kerneldbgsettings",
        uuid!("313e8eed-7098-4586-a9bf-309c61f8d449"),
        ObjectType::LOADER_SETTINGS,
        None,
    ),
    known(
        "resumeloadersettings",
        uuid!("1afa9c49-16ab-4a5c-901b-212802da9460"),
        ObjectType::RESUME_SETTINGS,
        Some("Resume Loader Settings"),
    ),
    known(
        "ramdiskoptions",
        uuid!("ae5534e0-a924-466c-b836-758539a3ee3a"),
        ObjectType::DEVICE_OPTIONS,
        None,
    ),
    // Another name for {dbgsettings}: only read, so it stands behind it.
    known(
        "eventsettings",
        uuid!("4636856e-540f-4170-a130-a84776f4c654"),
        ObjectType::INHERITED,
        Some("Debugger Settings"),
    ),
];

/// {current} as a GUID; never stored as an object.
pub const CURRENT: Uuid = uuid!("fa926493-6f1c-4193-a414-58f0b2456d1e");
/// {default} as a GUID; never stored as an object.
pub const DEFAULT: Uuid = uuid!("1cae1eb7-a0df-4d4d-9851-4860e34ef535");

/// The object that has this GUID, if it has a name.
pub fn well_known(id: Uuid) -> Option<&'static WellKnown> {
    WELL_KNOWN.iter().find(|known| known.id == id)
}

/// `{guid}` in lower case, as stored and shown.
pub fn braced(id: Uuid) -> String {
    format!("{{{}}}", id.as_hyphenated())
}

/// The GUID in `{guid}` or `guid`, any case.
pub fn parse_guid(text: &str) -> Option<Uuid> {
    let inner = match text.strip_prefix('{') {
        Some(rest) => rest.strip_suffix('}')?,
        None => text,
    };
    // The crate takes other forms too, which Windows does not.
    (inner.len() == 36)
        .then(|| Uuid::try_parse(inner).ok())
        .flatten()
}

/// Both numbers are eight hexadecimal digits in JSON too.
macro_rules! as_text {
    ($type:ident) => {
        impl serde::Serialize for $type {
            fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
                serializer.collect_str(self)
            }
        }

        impl<'de> serde::Deserialize<'de> for $type {
            fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
                let text = String::deserialize(deserializer)?;
                let number = ElementType::parse(&text);
                let number = number.map(|number| $type(number.0));
                number.ok_or_else(|| serde::de::Error::custom("expected hexadecimal digits"))
            }
        }
    };
}

as_text!(ElementType);
as_text!(ObjectType);
