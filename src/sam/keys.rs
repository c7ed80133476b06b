// SPDX-License-Identifier: GPL-2.0-or-later
//! From the boot key to a password hash and back.
//!
//! ```text
//! SYSTEM  Control\Lsa\{JD,Skew1,GBG,Data}: class names -> boot key, 16 bytes
//! SAM     Domains\Account\F at 0x68  -> (boot key)     -> hash key, 16 bytes
//! SAM     Users\<RID>\V, NT hash     -> (hash key)     -> (DES by RID) -> NT hash = MD4(password)
//!
//! F at 0x68, revision 1: u32 1, u32 0x38, salt 16, key 16, checksum 16: RC4 under MD5 of salt and boot key
//!            revision 2: u32 2, u32 length, u32 length of checksum, u32 length of data, salt 16, data:
//!                        AES-128-CBC under the boot key, padded
//! ```
//! The hash key itself is checked: revision 1 by its checksum, revision 2 by its padding; so is a hash of the AES
//! generation. A key that fails is an error, never a wrong hash.
//!
//! Keys and hashes are wiped from memory when they are dropped. MD4, MD5, RC4 and DES are what the format demands.

use aes::Aes128;
use aes::cipher::{
    Array, BlockCipherDecrypt, BlockCipherEncrypt, BlockModeDecrypt, BlockModeEncrypt,
};
use aes::cipher::{KeyInit, KeyIvInit};
use des::Des;
use md4::Md4;
use md5::{Digest as _, Md5};
use rc4::{Rc4, StreamCipher};
use zeroize::Zeroizing;

use crate::bytes::{array, slice, u32_le};
use crate::error::{Error, Result};

use super::hash::HashBlob;

const QWERTY: &[u8] = b"!@#$%^&*()qwertyUIOPAzxcvbnmQQQQQQQQQQQQ)(*@&%\0";
const DIGITS: &[u8] = b"0123456789012345678901234567890123456789\0";
const NT_PASSWORD: &[u8] = b"NTPASSWORD\0";
/// Which byte of the class names becomes which of the boot key.
const ORDER: [usize; 16] = [8, 5, 4, 2, 11, 9, 13, 3, 0, 6, 1, 12, 14, 10, 15, 7];
/// Where the hash key is in the value F.
const KEY: usize = 0x68;
const WHAT: &str = "hash key in value F of the domain Account";

/// The boot key ("syskey").
pub struct BootKey(Zeroizing<[u8; 16]>);

impl BootKey {
    /// The boot key that the class names of JD, Skew1, GBG and Data hold, in this order.
    ///
    /// # Errors
    /// `Damaged` when one is not eight hexadecimal digits.
    pub fn from_class_names(names: [&[u16]; 4]) -> Result<BootKey> {
        let mut scrambled = Zeroizing::new([0_u8; 16]);
        let digits = names.iter().flat_map(|name| name.iter());
        let wrong = || {
            Error::damaged(
                "class names of the boot key",
                0,
                "eight hexadecimal digits each",
                "something else",
            )
        };
        if names.iter().any(|name| name.len() != 8) {
            return Err(wrong());
        }
        for (position, unit) in digits.enumerate() {
            let digit = char::from_u32(u32::from(*unit))
                .and_then(|letter| letter.to_digit(16))
                .and_then(|digit| u8::try_from(digit).ok())
                .ok_or_else(wrong)?;
            if let Some(byte) = scrambled.get_mut(position >> 1) {
                *byte = (*byte << 4) | digit;
            }
        }
        let byte = |at: &usize| scrambled.get(*at).copied().unwrap_or_default();
        Ok(BootKey(Zeroizing::new(ORDER.each_ref().map(byte))))
    }
}

/// The key that hashes are encrypted with ("hashed boot key").
pub struct HashKey {
    key: Zeroizing<[u8; 16]>,
    is_aes: bool,
}

impl HashKey {
    /// Decrypts the hash key in the value F of `SAM\Domains\Account`.
    ///
    /// # Errors
    /// `Damaged` when it is cut off, or does not decrypt: F and the boot key are not of the same machine, or one is
    /// damaged. `Unsupported` for an unknown revision.
    pub fn unlock(f: &[u8], boot: &BootKey) -> Result<HashKey> {
        let cut = || Error::damaged(WHAT, 0x68, "a whole key structure", "a shorter value");
        let wrong = |found: &str| {
            let expected = "a key that the boot key in SYSTEM opens";
            Error::damaged(WHAT, 0x68, expected, found).with_hint(
                "SAM and SYSTEM do not belong together, or one is damaged",
                "restore both from the same backup; passwords cannot be set offline before that",
            )
        };
        let part = f.get(KEY..).ok_or_else(cut)?;
        let field = |at| u32_le(part, at).ok_or_else(cut);
        match field(0)? {
            1 => {
                let [salt, key, sum] = [8, 24, 40].map(|at| array::<16>(part, at));
                let (Some(salt), Some(key), Some(sum)) = (salt, key, sum) else {
                    return Err(cut());
                };
                let mut plain = Zeroizing::new([0_u8; 32]);
                for (to, from) in plain.iter_mut().zip(key.iter().chain(&sum)) {
                    *to = *from;
                }
                rc4(&[&salt, QWERTY, &*boot.0, DIGITS], &mut *plain);
                let (key, sum) = plain.split_at(16);
                let expected = Md5::new()
                    .chain_update(key)
                    .chain_update(DIGITS)
                    .chain_update(key)
                    .chain_update(QWERTY)
                    .finalize();
                if expected.as_slice() != sum {
                    return Err(wrong("one whose checksum differs"));
                }
                Ok(HashKey {
                    key: Zeroizing::new(array(key, 0).ok_or_else(cut)?),
                    is_aes: false,
                })
            }
            2 => {
                if field(12)? != 32 {
                    return Err(wrong("a key of another length"));
                }
                let salt = array::<16>(part, 16).ok_or_else(cut)?;
                let data = array::<32>(part, 32).ok_or_else(cut)?;
                let key = aes_decrypt(&boot.0, &salt, &data)
                    .ok_or_else(|| wrong("one whose padding differs"))?;
                Ok(HashKey { key, is_aes: true })
            }
            revision => Err(Error::unsupported(
                format!("{WHAT}: revision {revision} is not known"),
                "set the password with Windows' own means; coldfix knows revisions 1 and 2",
            )),
        }
    }

    /// Decrypts a stored hash; None when the password is blank.
    ///
    /// # Errors
    /// `Damaged` when a hash of the AES generation does not decrypt.
    pub fn decrypt(&self, blob: &HashBlob, rid: u32) -> Result<Option<NtHash>> {
        let mut hash = match blob {
            HashBlob::Rc4 {
                data: Some(data), ..
            } => {
                let mut plain = Zeroizing::new(*data);
                rc4(&[&*self.key, &rid.to_le_bytes(), NT_PASSWORD], &mut *plain);
                plain
            }
            HashBlob::Aes {
                salt,
                data: Some(data),
                ..
            } => aes_decrypt(&self.key, salt, data).ok_or_else(|| {
                let expected = "one that the hash key opens";
                Error::damaged("stored hash", 24, expected, "one whose padding differs")
            })?,
            _ => return Ok(None),
        };
        for (cipher, half) in des_by_rid(rid).iter().zip(hash.as_chunks_mut::<8>().0) {
            let mut block = Array::from(*half);
            cipher.decrypt_block(&mut block);
            *half = block.into();
        }
        Ok(Some(NtHash(hash)))
    }

    /// Encrypts a hash in the form of the one that it replaces, with a new salt where the form has one.
    pub fn encrypt(&self, hash: &NtHash, rid: u32, old: &HashBlob, salt: [u8; 16]) -> HashBlob {
        let mut inner = Zeroizing::new(*hash.0);
        for (cipher, half) in des_by_rid(rid).iter().zip(inner.as_chunks_mut::<8>().0) {
            let mut block = Array::from(*half);
            cipher.encrypt_block(&mut block);
            *half = block.into();
        }
        // Seen on Windows: 3 with RC4, 2 with AES.
        let (aes, key_id) = match old {
            HashBlob::Nothing if self.is_aes => (true, 2),
            HashBlob::Nothing => (false, 3),
            HashBlob::Rc4 { key_id, .. } => (false, *key_id),
            HashBlob::Aes { key_id, .. } => (true, *key_id),
        };
        if aes {
            let data = Some(aes_encrypt(&self.key, &salt, &inner));
            return HashBlob::Aes { key_id, salt, data };
        }
        rc4(&[&*self.key, &rid.to_le_bytes(), NT_PASSWORD], &mut *inner);
        HashBlob::Rc4 {
            key_id,
            data: Some(*inner),
        }
    }
}

/// An NT hash in clear: as good as the password itself for logging on over the network.
#[derive(PartialEq, Eq)]
pub struct NtHash(Zeroizing<[u8; 16]>);

impl NtHash {
    /// The hash of a password.
    pub fn of(password: &str) -> NtHash {
        let mut md4 = Md4::new();
        for unit in password.encode_utf16() {
            md4.update(unit.to_le_bytes());
        }
        NtHash(Zeroizing::new(md4.finalize().into()))
    }

    /// The hash in hexadecimal digits, as other programs print it. Nothing in coldfix shows it to anybody.
    pub fn to_hex(&self) -> Zeroizing<String> {
        use std::fmt::Write;
        let mut text = Zeroizing::new(String::with_capacity(32));
        for byte in self.0.iter() {
            // Writing to a String cannot fail.
            let _ = write!(text, "{byte:02x}");
        }
        text
    }
}

macro_rules! secret {
    ($($name:ident)*) => {$(
        /// Nothing of it is shown.
        impl std::fmt::Debug for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(concat!(stringify!($name), "(secret)"))
            }
        }
    )*};
}
secret! { BootKey HashKey NtHash }

/// RC4 under the MD5 of `parts`; the same both ways.
fn rc4(parts: &[&[u8]], data: &mut [u8]) {
    let mut md5 = Md5::new();
    for part in parts {
        md5.update(part);
    }
    let key: Zeroizing<[u8; 16]> = Zeroizing::new(md5.finalize().into());
    // The cipher takes keys of 1 to 256 bytes.
    if let Ok(mut cipher) = Rc4::new_from_slice(&*key) {
        cipher.apply_keystream(data);
    }
}

/// The 16 bytes in two blocks whose second is padding; None when it is not.
fn aes_decrypt(key: &[u8; 16], salt: &[u8; 16], data: &[u8; 32]) -> Option<Zeroizing<[u8; 16]>> {
    let mut cipher = cbc::Decryptor::<Aes128>::new(&(*key).into(), &(*salt).into());
    let mut plain = Zeroizing::new(*data);
    for half in plain.as_chunks_mut::<16>().0 {
        let mut block = Array::from(*half);
        cipher.decrypt_block(&mut block);
        *half = block.into();
    }
    let padding = slice(&*plain, 16, 16)?;
    if padding.iter().any(|byte| *byte != 16) {
        return None;
    }
    Some(Zeroizing::new(array(&*plain, 0)?))
}

fn aes_encrypt(key: &[u8; 16], salt: &[u8; 16], plain: &[u8; 16]) -> [u8; 32] {
    let mut cipher = cbc::Encryptor::<Aes128>::new(&(*key).into(), &(*salt).into());
    let mut data = [16_u8; 32];
    for (to, from) in data.iter_mut().zip(plain) {
        *to = *from;
    }
    for half in data.as_chunks_mut::<16>().0 {
        let mut block = Array::from(*half);
        cipher.encrypt_block(&mut block);
        *half = block.into();
    }
    data
}

/// The two DES ciphers of a RID.
fn des_by_rid(rid: u32) -> [Des; 2] {
    let [a, b, c, d] = rid.to_le_bytes();
    [[a, b, c, d, a, b, c], [d, a, b, c, d, a, b]].map(|seven| Des::new(&spread(seven).into()))
}

/// 56 bits as the upper seven of each of eight bytes; DES ignores the lowest, the parity.
fn spread(seven: [u8; 7]) -> [u8; 8] {
    let bits = seven
        .iter()
        .fold(0_u64, |bits, byte| (bits << 8) | u64::from(*byte));
    let mut eight = [0_u8; 8];
    for (place, byte) in eight.iter_mut().rev().enumerate() {
        let shift = u32::try_from(place).unwrap_or_default().saturating_mul(7);
        let part = (bits >> shift) & 0x7f;
        *byte = u8::try_from(part << 1).unwrap_or_default();
    }
    eight
}
