// SPDX-License-Identifier: GPL-2.0-or-later
//! What the check of the certificate can find.

use super::super::{Problem, Severity, Stage};

/// The named fix, and its modes.
pub(super) const FIX: &str = "rdp-certificate";
pub(super) const RENEW: &str = "rdp-certificate=renew";
pub(super) const UNPIN: &str = "rdp-certificate=unpin";

pub(super) const EXPIRED: Problem = Problem {
    id: "rdp-certificate.expired",
    title: "Windows kept a certificate of Remote Desktop that had expired",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "A certificate in the store Remote Desktop, with its key in the container TSSecKeySet1, is past its last day, and Windows is known to have run after that day.",
    cause: "Windows makes itself a new certificate when the old one expires. That it did not is mostly because it could not: look at the permissions of MachineKeys and at the services CryptSvc and KeyIso too. The expired one is deleted, and Windows makes a new one at its next start.",
    fixes: &[FIX],
};

pub(super) const EXPIRED_SINCE: Problem = Problem {
    id: "rdp-certificate.expired-since",
    title: "The certificate of Remote Desktop has expired since Windows last ran",
    severity: Severity::Notice,
    stage: Stage::Upkeep,
    trigger: "A certificate in the store Remote Desktop, with its key in the container TSSecKeySet1, is past its last day, and Windows is not known to have run after that day.",
    cause: "Windows makes itself a new certificate at its next start. Its clock decides, which can differ from that of this machine.",
    fixes: &[FIX],
};

pub(super) const ORPHANED: Problem = Problem {
    id: "rdp-certificate.orphaned",
    title: "The certificate of Remote Desktop has no private key",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "A certificate in the store Remote Desktop names the key container TSSecKeySet1, and MachineKeys, which could be listed, holds no file of this container.",
    cause: "Without its private key every TLS connection fails. The certificate is deleted, and Windows makes a new one, with a key, at its next start.",
    fixes: &[FIX],
};

pub(super) const KEY_OF_ANOTHER: Problem = Problem {
    id: "rdp-certificate.key-of-clone",
    title: "The key of Remote Desktop's certificate belongs to another machine's GUID",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "A certificate in the store Remote Desktop names the key container TSSecKeySet1, and the files of this container in MachineKeys all carry other GUIDs than MachineGuid.",
    cause: "The disk was cloned, or its MachineGuid changed, after the certificate was made. Windows does not find the key under that name. With =renew the certificate is deleted, and Windows makes a new one with a key of its own.",
    fixes: &[RENEW],
};

pub(super) const LEFT_ALONE: Problem = Problem {
    id: "rdp-certificate.other",
    title: "A certificate in the store of Remote Desktop is not usable, and not Windows' own",
    severity: Severity::Notice,
    stage: Stage::Handshake,
    trigger: "A certificate in the store Remote Desktop is past its last day or without a key file, and its key is in another container than TSSecKeySet1, or a pin names it.",
    cause: "It may be an administrator's, so it is not deleted. If it is the one that Remote Desktop uses, clients are warned or cannot connect.",
    fixes: &[],
};

pub(super) const KEY_NOT_JUDGED: Problem = Problem {
    id: "rdp-certificate.key-not-judged",
    title: "The private key of a certificate in the store of Remote Desktop was not judged",
    severity: Severity::Notice,
    stage: Stage::Handshake,
    trigger: "The key of a certificate in the store Remote Desktop is one of CNG (provider type 0), and it is not the machine's, its provider keeps none in files, its name is beyond ASCII, or its folder cannot be listed.",
    cause: "Whether it is there cannot be told from this disk, or was not. Without its key a certificate is of no use: if Remote Desktop uses this one, look after the key where it lies.",
    fixes: &[],
};

pub(super) const UNREADABLE: Problem = Problem {
    id: "rdp-certificate.unreadable",
    title: "A certificate in the store of Remote Desktop cannot be read",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "A key below Remote Desktop\\Certificates has no blob, or one that is damaged, is no X.509 certificate or has another SHA-1 than the key's name says.",
    cause: "What Windows makes of it is not known. It is never deleted because it cannot be read; if it has to go, delete its key with `coldfix reg delete`.",
    fixes: &[],
};

pub(super) const STORE_DENIED: Problem = Problem {
    id: "rdp-certificate.store-denied",
    title: "Windows may not put a certificate into the store of Remote Desktop",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "The key SystemCertificates\\Remote Desktop, or Certificates below it, has an entry of its own that denies SYSTEM to set values or to create subkeys.",
    cause: "While SYSTEM is denied this, Windows cannot make itself a certificate, and without one there is no TLS. The denies of SYSTEM on these keys are removed, with what is inherited from them; everything else of their permissions stays.",
    fixes: &[FIX],
};

pub(super) const STORE_DENIED_ABOVE: Problem = Problem {
    id: "rdp-certificate.store-denied-above",
    title: "A key above the store of Remote Desktop denies Windows to change it",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "The key SystemCertificates\\Remote Desktop, or Certificates below it, inherits from further up an entry that denies SYSTEM to set values or to create subkeys.",
    cause: "The entry belongs to a key above, which all certificate stores share. Somebody has to decide there; it is reported only.",
    fixes: &[],
};

pub(super) const STORE_UNREADABLE: Problem = Problem {
    id: "rdp-certificate.store-unreadable",
    title: "The store of Remote Desktop's certificates cannot be judged",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "The keys of the store or their permissions are damaged.",
    cause: "Nothing is concluded from what cannot be read, and nothing of it is changed.",
    fixes: &[],
};

pub(super) const PINNED: Problem = Problem {
    id: "rdp-certificate.pinned",
    title: "The listener uses a pinned certificate",
    severity: Severity::Notice,
    stage: Stage::Handshake,
    trigger: "SSLCertificateSHA1Hash names a certificate that is in the store MY or Remote Desktop, or it cannot be told whether it is.",
    cause: "Somebody chose a certificate for Remote Desktop; Windows itself never writes this value. If its key cannot be read, connections fail.",
    fixes: &[UNPIN],
};

pub(super) const PIN_EXPIRED: Problem = Problem {
    id: "rdp-certificate.pin-expired",
    title: "The certificate that the listener is pinned to has expired",
    severity: Severity::Risk,
    stage: Stage::Handshake,
    trigger: "SSLCertificateSHA1Hash names a certificate that is past its last day.",
    cause: "Clients are warned, or refuse to connect. Windows does not renew it: install a new one and pin that, or remove the pin with =unpin, and Windows uses one of its own making.",
    fixes: &[UNPIN],
};

pub(super) const PIN_DANGLING: Problem = Problem {
    id: "rdp-certificate.pin-dangling",
    title: "The listener is pinned to a certificate that is not there, or has no key",
    severity: Severity::Broken,
    stage: Stage::Handshake,
    trigger: "SSLCertificateSHA1Hash names a certificate that is in neither of the stores MY and Remote Desktop, or whose key file is missing from MachineKeys (of CNG: from Crypto\\Keys), which could be listed.",
    cause: "The listener has nothing to make TLS with. Bring the certificate back with its key, or remove the pin with =unpin, and Windows uses one of its own making. A pin is somebody's decision, so it is removed only when that is named.",
    fixes: &[UNPIN],
};

pub(super) const UNCLEAR: Problem = Problem::unclear("rdp-certificate.unclear", Stage::Handshake);
