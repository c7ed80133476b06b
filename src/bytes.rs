// SPDX-License-Identifier: GPL-2.0-or-later
//! Checked access to fixed-width fields in byte slices.
//!
//! `None` or `false` means that the field does not lie wholly inside the slice. Offsets are bytes from
//! the slice's start. Format layers turn `None` into an error that says which structure was cut off.

/// The `N` bytes at `offset`.
pub fn array<const N: usize>(bytes: &[u8], offset: usize) -> Option<[u8; N]> {
    let end = offset.checked_add(N)?;
    bytes.get(offset..end)?.try_into().ok()
}

/// The `len` bytes at `offset`.
pub fn slice(bytes: &[u8], offset: usize, len: usize) -> Option<&[u8]> {
    bytes.get(offset..offset.checked_add(len)?)
}

/// Writes `data` at `offset`; false, and nothing written, when it does not fit.
#[must_use]
pub fn put(bytes: &mut [u8], offset: usize, data: &[u8]) -> bool {
    let Some(end) = offset.checked_add(data.len()) else {
        return false;
    };
    match bytes.get_mut(offset..end) {
        Some(place) => {
            place.copy_from_slice(data);
            true
        }
        None => false,
    }
}

macro_rules! field {
    ($($name:ident, $type:ty, $from:ident, $order:literal;)*) => {$(
        #[doc = concat!("The ", $order, "-endian `", stringify!($type), "` at `offset`.")]
        pub fn $name(bytes: &[u8], offset: usize) -> Option<$type> {
            array(bytes, offset).map(<$type>::$from)
        }
    )*};
}

field! {
    u16_le, u16, from_le_bytes, "little";
    u32_le, u32, from_le_bytes, "little";
    u64_le, u64, from_le_bytes, "little";
    i32_le, i32, from_le_bytes, "little";
    u16_be, u16, from_be_bytes, "big";
    u32_be, u32, from_be_bytes, "big";
    u64_be, u64, from_be_bytes, "big";
}
