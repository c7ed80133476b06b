// SPDX-License-Identifier: GPL-2.0-or-later
//! The certificates of the machine, and which of them Remote Desktop uses.
//!
//! ```text
//! SOFTWARE\Microsoft\SystemCertificates\<store>\Certificates\<SHA-1>\Blob     also below SOFTWARE\Policies
//! SYSTEM\<set>\Control\Terminal Server\WinStations          SelfSignedCertificate: the one that Windows made
//!                                      WinStations\RDP-Tcp  SSLCertificateSHA1Hash: one that somebody chose (a pin)
//! SOFTWARE\Policies\...\Terminal Services                   CertTemplateName: to be enrolled by this template
//! ```
//! Windows' own certificate is in the store `Remote Desktop`, a chosen one in `MY` as a rule.

use crate::certificate::element::Thumbprint;
use crate::certificate::{Certificate, KeyProvider, StoreElement};
use crate::edit::HiveName;
use crate::error::{Error, Result};
use crate::hive::Key;

use super::{ControlSet, Reading, Registry, value};

/// Where stores are kept, below the root of SOFTWARE: the machine's own and those of policy.
const BASES: [&str; 2] = [
    r"Microsoft\SystemCertificates",
    r"Policies\Microsoft\SystemCertificates",
];
/// The store of Remote Desktop's own certificates, below the root of SOFTWARE.
pub const REMOTE_DESKTOP: &str = r"Microsoft\SystemCertificates\Remote Desktop";
const WIN_STATIONS: &str = r"Control\Terminal Server\WinStations";
const LISTENER: &str = r"Control\Terminal Server\WinStations\RDP-Tcp";
/// The value of a listener that pins a certificate.
pub const PIN: &str = "SSLCertificateSHA1Hash";
const SELF_SIGNED: &str = "SelfSignedCertificate";
const POLICY: &str = r"Policies\Microsoft\Windows NT\Terminal Services";
/// Ours: no store comes near it.
const MOST_CERTIFICATES: usize = 20_000;

/// A certificate of a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Stored {
    /// Its key, below the root of SOFTWARE.
    pub key: String,
    /// The thumbprint after which the key is called; `None` when the name is none.
    pub thumbprint: Option<Thumbprint>,
    /// What is in it. `NoValue`: the key has no blob.
    pub content: Reading<Content>,
}

/// What is in a blob that is sound.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Content {
    /// The certificate.
    pub certificate: Certificate,
    /// Where its private key lies; `None` when the blob does not say.
    pub provider: Option<KeyProvider>,
}

/// A thumbprint of SYSTEM or of policy, and where it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Named {
    /// The key, below the hive's root.
    pub key: String,
    /// The value's name.
    pub value: &'static str,
    /// The thumbprint.
    pub thumbprint: Reading<Thumbprint>,
}

/// The stores that exist, as keys below the root of SOFTWARE.
///
/// # Errors
/// Why they cannot be read, in plain words.
pub fn stores(registry: &Registry) -> Result<Vec<String>, String> {
    let mut stores = Vec::new();
    for base in BASES {
        for (key, _) in subkeys(registry, base)? {
            stores.push(key);
        }
    }
    Ok(stores)
}

/// The certificates of a store, given as a key below the root of SOFTWARE; none when it does not exist.
///
/// # Errors
/// Why they cannot be read, in plain words.
pub fn certificates(registry: &Registry, store: &str) -> Result<Vec<Stored>, String> {
    let keys = subkeys(registry, &format!(r"{store}\Certificates"))?;
    Ok(keys
        .into_iter()
        .map(|(key, name)| stored(registry, key, &name))
        .collect())
}

/// The stores in which a listener looks for its certificate, by name.
const OF_LISTENERS: [&str; 2] = ["MY", "Remote Desktop"];

/// Every certificate of this thumbprint where a listener looks for it: in the stores `MY` and `Remote Desktop`, the
/// machine's own and those of policy. In other stores there are certificates without keys.
///
/// # Errors
/// Why a store cannot be read, in plain words.
pub fn find(registry: &Registry, thumbprint: Thumbprint) -> Result<Vec<Stored>, String> {
    let mut found = Vec::new();
    for store in stores(registry)? {
        let name = store.rsplit('\\').next().unwrap_or_default();
        if !OF_LISTENERS
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known))
        {
            continue;
        }
        let key = format!(r"{store}\Certificates\{thumbprint}");
        if registry.has_key(HiveName::Software, &key)? {
            found.push(stored(registry, key, &thumbprint.to_string()));
        }
    }
    Ok(found)
}

/// The pins of a control set's listener.
pub fn pin(registry: &Registry, set: &ControlSet) -> Named {
    named(registry, HiveName::System, set.path(LISTENER), PIN)
}

/// The certificate of Windows' own making that a control set names, in both places in which it may stand.
pub fn self_signed(registry: &Registry, set: &ControlSet) -> [Named; 2] {
    [WIN_STATIONS, LISTENER]
        .map(|key| named(registry, HiveName::System, set.path(key), SELF_SIGNED))
}

/// The pin of policy, which would win over the listener's.
pub fn policy_pin(registry: &Registry) -> Named {
    named(registry, HiveName::Software, POLICY.to_owned(), PIN)
}

/// The template by which policy has a certificate enrolled: where it stands, and its name.
pub fn policy_template(registry: &Registry) -> (String, Reading<String>) {
    const NAME: &str = "CertTemplateName";
    let place = format!(r"{}\{NAME}", HiveName::Software.full_path(POLICY));
    (place, registry.text(HiveName::Software, POLICY, NAME))
}

fn named(registry: &Registry, hive: HiveName, key: String, value: &'static str) -> Named {
    let thumbprint = match registry.raw(hive, &key, value) {
        Reading::Found((kind, data)) => match <[u8; 20]>::try_from(data.as_slice()) {
            Ok(bytes) if kind == value::BINARY => Reading::Found(Thumbprint(bytes)),
            _ => Reading::Malformed(value::describe(kind, &data)),
        },
        Reading::NoValue => Reading::NoValue,
        Reading::NoKey => Reading::NoKey,
        Reading::Malformed(why) => Reading::Malformed(why),
        Reading::Unreadable(why) => Reading::Unreadable(why),
    };
    Named {
        key,
        value,
        thumbprint,
    }
}

fn stored(registry: &Registry, key: String, name: &str) -> Stored {
    let thumbprint = Thumbprint::parse(name);
    let content = match registry.raw(HiveName::Software, &key, "Blob") {
        Reading::Found((value::BINARY, blob)) => match read(&blob, thumbprint) {
            Ok(content) => Reading::Found(content),
            Err(error) => Reading::Malformed(error.to_string()),
        },
        Reading::Found((kind, data)) => Reading::Malformed(value::describe(kind, &data)),
        Reading::NoValue => Reading::NoValue,
        Reading::NoKey => Reading::NoKey,
        Reading::Malformed(why) => Reading::Malformed(why),
        Reading::Unreadable(why) => Reading::Unreadable(why),
    };
    Stored {
        key,
        thumbprint,
        content,
    }
}

fn read(blob: &[u8], named: Option<Thumbprint>) -> Result<Content> {
    let element = StoreElement::parse(blob)?;
    match named {
        Some(named) => element.check_thumbprint(named)?,
        None => {
            let expected = "a key called after the SHA-1 of its certificate";
            return Err(Error::damaged(
                "certificate store",
                0,
                expected,
                "another name",
            ));
        }
    }
    Ok(Content {
        certificate: element.certificate()?,
        provider: element.key_provider()?,
    })
}

/// The keys below a key of SOFTWARE, with their names; none when it does not exist.
fn subkeys(registry: &Registry, key: &str) -> Result<Vec<(String, String)>, String> {
    let Some(file) = registry
        .hive(HiveName::Software)
        .map_err(Error::to_string)?
    else {
        return Ok(Vec::new());
    };
    let read = || -> Result<Vec<(String, String)>> {
        let found = file.hive.key(key)?;
        let below = found.as_ref().map_or(Ok(Vec::new()), Key::subkeys)?;
        let names = below.iter().take(MOST_CERTIFICATES).map(|below| {
            let name = value::name_text(below.name());
            (format!(r"{key}\{name}"), name)
        });
        Ok(names.collect())
    };
    read().map_err(|error| error.to_string())
}
