// SPDX-License-Identifier: GPL-2.0-or-later
//! Asking readers that are not ours, the crates `ntfs` and `fatfs`. They panic on some damaged volumes, also on ones
//! that our own readers walk: `ntfs` 0.4 adds to the sizes of an index block before it looks at them. A panic is no
//! answer, and not a word of it reaches the user.
//!
//! Where a program cannot unwind (Windows) a panic ends it all the same: before anything is committed.

// The initializer is const; where threads have no storage of their own Clippy sees what the macro makes of it.
#![allow(clippy::missing_const_for_thread_local)]

use std::cell::Cell;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};
use std::sync::Once;

thread_local! {
    /// This thread is in a reader that is not ours.
    static ASKED: Cell<bool> = const { Cell::new(false) };
}

/// What a reader answers; `None` when it panics. `read` begins with the device: nothing that it has changed is seen
/// afterwards.
pub(super) fn ask<T>(read: impl FnOnce() -> Option<T>) -> Option<T> {
    static QUIET: Once = Once::new();
    QUIET.call_once(|| {
        let usual = take_hook();
        set_hook(Box::new(move |panic| {
            if !ASKED.get() {
                usual(panic);
            }
        }));
    });
    let before = ASKED.replace(true);
    let answer = catch_unwind(AssertUnwindSafe(read));
    ASKED.set(before);
    answer.ok()?
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_is_no_answer() {
        assert_eq!(ask(|| Some(7)), Some(7));
        let none = [0_u8; 0];
        assert_eq!(ask(|| Some(none[none.len()])), None);
        assert_eq!(ask(|| ask::<u8>(|| panic!("inner")).or(Some(1))), Some(1));
        assert!(!ASKED.get());
    }
}
