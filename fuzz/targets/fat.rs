// SPDX-License-Identifier: GPL-2.0-or-later
#![no_main]

libfuzzer_sys::fuzz_target!(init: coldfix_fuzz::panics_may_be_caught(), |input: &[u8]| coldfix_fuzz::volumes::fat(input));
