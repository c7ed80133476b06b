// SPDX-License-Identifier: GPL-2.0-or-later
//! Security descriptors, as bytes and as text.

use coldfix::security::change::{Grant, grant, inherit_again, remove_denies, reset, set_owner};
use coldfix::security::descriptor::Descriptor;
use coldfix::security::names::Names;
use coldfix::security::sid::Sid;
use coldfix::security::{display, saved, sddl};

fn domain() -> Sid {
    Sid::new(5, &[21, 1, 2, 3]).expect("a SID")
}

/// What is written reads the same, and in text says the same.
fn round_trip(descriptor: &Descriptor) {
    let Ok(bytes) = descriptor.to_bytes() else {
        return;
    };
    let again = Descriptor::parse(&bytes).expect("a written descriptor reads");
    assert!(
        again.says_the_same(descriptor),
        "{descriptor:?} became {again:?}"
    );
    assert_eq!(
        again.to_bytes().ok().as_ref(),
        Some(&bytes),
        "written twice, not the same"
    );
    let domain = domain();
    for domain in [None, Some(&domain)] {
        if let Ok(text) = sddl::format(descriptor, domain) {
            let read =
                sddl::parse(&text, domain).unwrap_or_else(|error| panic!("{text:?}: {error}"));
            assert_eq!(
                sddl::format(&read, domain).ok().as_ref(),
                Some(&text),
                "{descriptor:?}"
            );
        }
    }
}

/// A descriptor as bytes, shown, changed and written.
pub fn descriptor(input: &[u8]) {
    let Ok(descriptor) = Descriptor::parse(input) else {
        return;
    };
    round_trip(&descriptor);
    let names = Names::new();
    let _ = display::lines("object", &descriptor, &names);
    let administrators = Sid::new(5, &[32, 544]).expect("a SID");
    round_trip(&set_owner(&descriptor, &administrators));
    round_trip(&remove_denies(&descriptor, &administrators, true));
    round_trip(&reset(&descriptor, &descriptor, true));
    let _ = inherit_again(&descriptor, &descriptor, false);
    for text in ["Administrators:(OI)(CI)F", "*S-1-1-0:(RX)"] {
        if let Ok(wanted) = Grant::parse(text, &names)
            && let Ok(granted) = grant(&descriptor, &wanted, true)
        {
            round_trip(&granted);
        }
    }
}

/// A descriptor as text.
pub fn sddl(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let domain = domain();
    for domain in [None, Some(&domain)] {
        if let Ok(descriptor) = sddl::parse(text, domain) {
            round_trip(&descriptor);
        }
    }
    let _ = Grant::parse(text, &Names::new());
}

/// A file of `icacls /save`.
pub fn saved_acl(input: &[u8]) {
    let Ok(found) = saved::parse(input) else {
        return;
    };
    let mut lines = Vec::new();
    for saved in &found {
        let restored = saved::restore(&Descriptor::default(), saved);
        round_trip(&restored);
        let Ok(text) = saved::dacl_text(&restored) else {
            return;
        };
        lines.push((saved.name.clone(), text));
    }
    let bytes = saved::write(
        lines
            .iter()
            .map(|(name, text)| (name.as_str(), text.as_str())),
    );
    let again = saved::parse(&bytes).expect("a written file reads");
    assert_eq!(again.len(), found.len());
    for (one, other) in again.iter().zip(&found) {
        assert_eq!(one.name, other.name);
    }
}
