// SPDX-License-Identifier: GPL-2.0-or-later
use proptest::prelude::*;
use uuid::Uuid;

use super::ace::{flag, kind};
use super::*;

const FOLDER: &str = "O:SYG:SYD:PAI(A;;0x12019f;;;WD)(A;;FA;;;BA)";
const SESSION_ENV: &str = "S-1-5-80-4022436659-1090538466-1613889075-870485073-3428993833";

fn sid(text: &str) -> Sid {
    text.parse().unwrap()
}

fn descriptor(text: &str) -> Descriptor {
    sddl::parse(text, None).unwrap()
}

fn dacl(text: &str) -> Acl {
    descriptor(text).dacl.acl().unwrap().clone()
}

#[test]
fn service_sids_are_those_of_windows() {
    assert_eq!(Sid::service("SessionEnv").to_string(), SESSION_ENV);
    assert_eq!(Sid::service("sessionENV").to_string(), SESSION_ENV);
    // The SID that owns the files of every Windows.
    let installer = "S-1-5-80-956008885-3418522649-1831038044-1853292631-2271478464";
    assert_eq!(Sid::service("TrustedInstaller").to_string(), installer);
}

#[test]
fn sid_text() {
    for text in [
        "S-1-5-18",
        "S-1-5",
        "S-1-0x0123456789ab-7",
        "S-1-4294967295-0",
        "S-1-0x000100000000",
    ] {
        assert_eq!(sid(text).to_string(), text);
    }
    assert_eq!(sid("s-1-0x5-0x12"), sid("S-1-5-18"));
    for text in [
        "",
        "S",
        "S-1",
        "S-2-5",
        "S-1-",
        "S-1-+5",
        "S-1-5-",
        "S-1-5-4294967296",
        "S-1-0x1000000000000",
        "S-1-5-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1-1",
        "S-1-5 ",
        "S-1-0x",
        "S-1-0x+5",
    ] {
        assert!(text.parse::<Sid>().is_err(), "{text}");
    }
}

#[test]
fn names_both_ways() {
    let mut names = Names::new();
    names.add(sid("S-1-5-21-1-2-3-1001"), "PC\\Users");
    for (text, expected) in [
        ("*S-1-5-32-544", "S-1-5-32-544"),
        ("nt authority\\system", "S-1-5-18"),
        ("SYSTEM", "S-1-5-18"),
        ("Everyone", "S-1-1-0"),
        ("network service", "S-1-5-20"),
        ("NT SERVICE\\sessionenv", SESSION_ENV),
        ("pc\\users", "S-1-5-21-1-2-3-1001"),
    ] {
        assert_eq!(names.find(text).unwrap().to_string(), expected, "{text}");
    }
    for text in ["Users", "nobody", "*BA", "NT SERVICE\\", ""] {
        assert!(names.find(text).is_err(), "{text}");
    }
    assert_eq!(names.display(&sid(SESSION_ENV)), "NT SERVICE\\SessionEnv");
    assert_eq!(names.display(&sid("S-1-5-21-9")), "S-1-5-21-9");
}

#[test]
fn the_bytes_of_the_key_folder() {
    let bytes = descriptor(FOLDER).to_bytes().unwrap();
    // By hand: header, DACL at 0x14 of 0x34 bytes, owner at 0x48, group at 0x54.
    let expected = "0100049448000000540000000000000014000000\
        0200340002000000\
        000014009f011200010100000000000100000000\
        00001800ff011f0001020000000000052000000020020000\
        010100000000000512000000010100000000000512000000";
    let hex: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    assert_eq!(hex, expected);
    assert_eq!(
        sddl::format(&Descriptor::parse(&bytes).unwrap(), None).unwrap(),
        FOLDER
    );
}

#[test]
fn sddl_is_written_as_windows_does() {
    for text in [
        FOLDER,
        "O:SYG:SYD:PAI(A;;FA;;;SY)(A;;FR;;;NS)(A;;FR;;;BA)",
        "D:NO_ACCESS_CONTROL",
        "D:PAINO_ACCESS_CONTROL",
        "D:",
        "",
        "D:PARAI",
        "D:AI(A;OICIIO;SDGXGWGR;;;AU)(A;ID;0x1200a9;;;AU)",
        "D:(A;;CCLCSWRPWPDTLOCRRC;;;SY)(A;;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;BA)S:(AU;FA;CCDCLCSWRPWPDTLOCRSDRCWDWO;;;WD)",
        "O:BAG:S-1-5-21-1-2-3-513S:P(ML;OICI;NWNR;;;HI)",
        "D:(OA;CI;RP;4c164200-20c0-11d0-a768-00aa006e0529;;WD)(OD;;0x0;;4c164200-20c0-11d0-a768-00aa006e0529;BA)",
        "S:ARAI(AU;SAFA;KA;;;S-1-0x123456789abc-1)(OU;CR;FX;;;BA)",
    ] {
        let read = descriptor(text);
        assert_eq!(sddl::format(&read, None).unwrap(), text);
        let bytes = read.to_bytes().unwrap();
        assert_eq!(Descriptor::parse(&bytes).unwrap(), read, "{text}");
    }
    let domain = sid("S-1-5-21-1-2-3");
    let read = sddl::parse("O:LAG:DUD:(A;;KX;;;DA)", Some(&domain)).unwrap();
    assert_eq!(
        sddl::format(&read, Some(&domain)).unwrap(),
        "O:LAG:DUD:(A;;KR;;;DA)"
    );
    assert_eq!(
        sddl::format(&read, None).unwrap(),
        "O:S-1-5-21-1-2-3-500G:S-1-5-21-1-2-3-513D:(A;;KR;;;S-1-5-21-1-2-3-512)"
    );
    // Looser input: blanks, case, other orders.
    let loose = descriptor(" d: AIP ( a ; ; fa ; ; ; ba ) O:s-1-5-18 G:sy ");
    assert_eq!(
        sddl::format(&loose, None).unwrap(),
        "O:SYG:SYD:PAI(A;;FA;;;BA)"
    );
}

#[test]
fn sddl_refuses() {
    for text in [
        "O:",
        "O:XX",
        "O:LA",
        "X:",
        "garbage",
        "O:SYO:SY",
        "D:(A;;FA;;;BA",
        "D:(A;;FA;;;)",
        "D:(A;;FA;;BA)",
        "D:(Q;;FA;;;BA)",
        "D:(A;X;FA;;;BA)",
        "D:(A;;F;;;BA)",
        "D:(A;;0x100000000;;;BA)",
        "D:PX",
        "D:(A;;FA;4c164200-20c0-11d0-a768-00aa006e0529;;BA)",
        "D:(OA;;FA;4c1642;;BA)",
        "D:(XA;;FA;;;BA;(x))",
        "D:NO_ACCESS_CONTROL(A;;FA;;;BA)",
        "O:é:",
        "D:(A;é;FA;;;BA)",
        "D:(A;;é;;;BA)",
        "D:é",
    ] {
        assert!(sddl::parse(text, None).is_err(), "{text}");
    }
    let long = format!("D:{}", "(A;;FA;;;BA)".repeat(2731));
    assert!(sddl::parse(&long, None).is_err(), "more than 65,535 bytes");
    let longest = long.replacen("(A;;FA;;;BA)", "", 1);
    assert!(sddl::parse(&longest, None).is_ok());
}

#[test]
fn letters_of_icacls() {
    for (mask, deny, text) in [
        (0x1f01ff, false, "F"),
        (0x1301bf, false, "M"),
        (0x1301ff, false, "M,DC"),
        (0x1200a9, false, "RX"),
        (0x1201bf, false, "RX,W"),
        (0x120089, false, "R"),
        (0x12019f, false, "R,W"),
        (0x1f019f, false, "R,W,D,WDAC,WO"),
        (0x4013_0156, true, "W,D,Rc,GW,DC"),
        (0x120080, false, "Rc,S,RA"),
        (0x1200a5, false, "Rc,S,RD,AD,X,RA"),
        (0x1200a0, false, "Rc,S,X,RA"),
        (0x100001, true, "S,RD"),
        (0x020089, true, "R"),
        (0x40, true, "DC"),
        (0x1f01ff, true, "N"),
        (0x0f01ff, true, "N"),
        (0x0f01ff, false, "D,Rc,WDAC,WO,RD,WD,AD,REA,WEA,X,DC,RA,WA"),
        (0x200, false, "0x200"),
        (0, false, ""),
    ] {
        assert_eq!(rights::letters(mask, deny), text, "{mask:#x}");
        if !["N", "", "R", "W,D,Rc,GW,DC"].contains(&text) {
            assert_eq!(
                rights::parse_letters(&format!("({text})"), deny).unwrap(),
                mask,
                "{text}"
            );
        }
    }
    assert_eq!(rights::parse_letters("de", false).unwrap(), 0x10000);
    assert_eq!(rights::parse_letters("r", true).unwrap(), 0x20089);
    assert!(rights::parse_letters("", false).is_err());
    assert!(rights::parse_letters("Q", false).is_err());
}

#[test]
fn lines_of_icacls() {
    let text = "D:PAI(A;;0x12019f;;;WD)(D;OICIIO;0x40130156;;;SY)(D;;FA;;;AN)(A;ID;FA;;;S-1-5-21-7)S:(ML;;NW;;;HI)";
    assert_eq!(
        display::lines("C:\\k", &descriptor(text), &Names::new()),
        [
            "C:\\k Everyone:(R,W)",
            "     NT AUTHORITY\\SYSTEM:(OI)(CI)(IO)(DENY)(W,D,Rc,GW,DC)",
            "     NT AUTHORITY\\ANONYMOUS LOGON:(N)",
            "     S-1-5-21-7:(I)(F)",
            "     Mandatory Label\\High Mandatory Level:(NW)",
        ]
    );
    assert_eq!(display::lines("k", &descriptor("D:"), &Names::new()), ["k"]);
    assert_eq!(
        display::lines("k", &descriptor(""), &Names::new()),
        ["k Everyone:(F)"]
    );
}

#[test]
fn effective_rights() {
    let service = sid("S-1-5-20");
    for (text, expected) in [
        ("D:", 0),
        ("", 0x1f01ff),
        ("D:NO_ACCESS_CONTROL", 0x1f01ff),
        ("D:(A;;FR;;;NS)", 0x120089),
        ("D:(A;;GR;;;NS)(A;;FX;;;BU)", 0x1200a9),
        ("D:(A;OICIIO;FA;;;NS)", 0),
        // A deny takes wherever it stands, and through any group.
        ("D:(A;;FA;;;NS)(D;;FR;;;WD)", 0x0d0176),
        ("D:(D;OICIIO;FA;;;WD)(A;;FR;;;NS)", 0x120089),
        (
            "D:(OD;;FA;4c164200-20c0-11d0-a768-00aa006e0529;;NS)(A;;FR;;;NS)",
            0,
        ),
        ("D:(OA;;FR;4c164200-20c0-11d0-a768-00aa006e0529;;NS)", 0),
        ("D:(OA;;FR;;;NS)", 0x120089),
        ("D:(A;;FA;;;BA)(A;;FA;;;SY)", 0),
    ] {
        let rights = rights::effective(&descriptor(text).dacl, &rights::token(&service));
        assert_eq!(rights, expected, "{text}: {rights:#x}");
    }
    let conditional = |kind| Ace::new(kind, 0, 0x120089, &service).unwrap();
    let plain = conditional(kind::ALLOWED);
    let field = |aces| AclField::Present(Acl::new(aces));
    let token = rights::token(&service);
    assert_eq!(
        rights::effective(&field(vec![conditional(kind::ALLOWED_CALLBACK)]), &token),
        0
    );
    let denied = field(vec![plain, conditional(kind::DENIED_CALLBACK)]);
    assert_eq!(rights::effective(&denied, &token), 0);
}

#[test]
fn canonical_order() {
    let mut acl = dacl("D:(A;ID;FA;;;BA)(A;;FA;;;BA)(D;ID;FA;;;WD)(D;;FA;;;AN)(A;;FR;;;SY)");
    assert!(!rights::is_canonical(&acl));
    rights::make_canonical(&mut acl);
    assert!(rights::is_canonical(&acl));
    let expected = "D:(D;;FA;;;AN)(A;;FA;;;BA)(A;;FR;;;SY)(A;ID;FA;;;BA)(D;ID;FA;;;WD)";
    assert_eq!(acl, dacl(expected));
    for text in ["D:", "D:(D;;FA;;;AN)(A;;FA;;;BA)(D;ID;FA;;;WD)"] {
        assert!(rights::is_canonical(&dacl(text)), "{text}");
    }
    assert!(!rights::is_canonical(&dacl("D:(A;;FA;;;BA)(D;;FA;;;AN)")));
    assert!(!rights::is_canonical(&dacl("D:(A;ID;FA;;;BA)(A;;FA;;;AN)")));
}

#[test]
fn damaged_descriptors() {
    let good = descriptor("O:SYG:BAD:(A;;FA;;;BA)S:(AU;SA;FA;;;WD)")
        .to_bytes()
        .unwrap();
    for length in 0..good.len() {
        assert!(Descriptor::parse(&good[..length]).is_err(), "{length}");
    }
    // Offset, byte, part of the message.
    for (offset, byte, message) in [
        (0, 2, "revision 1"),
        (3, 0, "self-relative"),
        (4, 0x13, "offset of the owner"),
        (4, 0x10, "offset of the owner"),
        (9, 0x7f, "offset of the group"),
        (20, 1, "revision 2 to 4"),
        (20, 5, "revision 2 to 4"),
        (22, 7, "size of 8 or more"),
        (23, 0xff, "size of at most"),
        (24, 2, "entry 1 of 2"),
        (25, 0xff, "entry 1 of 65281"),
        (30, 3, "multiple of 4"),
        (30, 0, "multiple of 4"),
        (30, 0x18, "size of at most"),
        (30, 0x10, "SID"),
        (30, 0x04, "fields of type"),
        (36, 0, "revision 1"),
        (37, 16, "15 sub-authorities"),
    ] {
        let mut bad = good.clone();
        bad[offset] = byte;
        let error = Descriptor::parse(&bad).unwrap_err();
        let mut text = error.to_string();
        if let crate::error::Error::Context { context, .. } = &error {
            text.push_str(context);
        }
        assert!(text.contains(message), "{offset}: {text}");
    }
    assert!(Descriptor::parse(&vec![0; 1 << 20]).is_err());
}

#[test]
fn what_is_not_understood_is_kept() {
    // An entry of an unknown type, a compound entry, slack after the entries, reserved fields.
    let acl = [
        &[3, 9, 0x28, 0, 2, 0, 7, 0][..],
        &[0x77, 1, 8, 0, 1, 2, 3, 4],
        &[0x04, 0xff, 4, 0],
        &[0xaa; 20],
    ]
    .concat();
    let read = Acl::parse(&acl, 0).unwrap();
    assert_eq!(read.to_bytes().unwrap(), acl);
    assert!(read.aces.iter().all(|ace| ace.content().is_none()));
    let mut whole = descriptor("D:");
    whole.dacl = AclField::Present(read);
    assert!(sddl::format(&whole, None).is_err());
    assert_eq!(
        display::lines("k", &whole, &Names::new())[0],
        "k (type 0x77, 8 bytes)"
    );
}

fn any_sid() -> impl Strategy<Value = Sid> {
    let authority = prop_oneof![0..20_u64, 0..1_u64 << 48];
    (authority, prop::collection::vec(any::<u32>(), 0..=15))
        .prop_map(|(authority, subs)| Sid::new(authority, &subs).unwrap())
}

fn any_ace() -> impl Strategy<Value = Ace> {
    let guid = || prop::option::of(any::<u128>().prop_map(Uuid::from_u128));
    let kinds = prop::sample::select(vec![0_u8, 1, 2, 5, 6, 7, 0x11, 0x13]);
    (kinds, any::<u8>(), any::<u32>(), guid(), guid(), any_sid()).prop_map(
        |(kind, flags, mask, object, inherited, sid)| match kind {
            5..=7 => Ace::new_object(kind, flags, mask, object, inherited, &sid).unwrap(),
            _ => Ace::new(kind, flags, mask, &sid).unwrap(),
        },
    )
}

fn any_field() -> impl Strategy<Value = AclField> {
    prop_oneof![
        Just(AclField::Absent),
        Just(AclField::Null),
        prop::collection::vec(any_ace(), 0..6).prop_map(|aces| AclField::Present(Acl::new(aces))),
    ]
}

fn any_descriptor() -> impl Strategy<Value = Descriptor> {
    let sid = || prop::option::of(any_sid());
    (
        any::<u16>(),
        any::<u8>(),
        sid(),
        sid(),
        any_field(),
        any_field(),
    )
        .prop_map(
            |(control, resource_manager, owner, group, sacl, dacl)| Descriptor {
                control,
                resource_manager,
                owner,
                group,
                sacl,
                dacl,
            },
        )
}

proptest! {
    #[test]
    fn sids_round_trip(sid in any_sid()) {
        prop_assert_eq!(&Sid::parse(&sid.to_bytes(), 0).unwrap(), &sid);
        prop_assert_eq!(sid.to_string().parse::<Sid>().unwrap(), sid);
    }

    #[test]
    fn descriptors_round_trip(mut descriptor in any_descriptor()) {
        let bytes = descriptor.to_bytes().unwrap();
        let read = Descriptor::parse(&bytes).unwrap();
        descriptor.control = descriptor.effective_control();
        prop_assert_eq!(&read, &descriptor);
        prop_assert_eq!(read.to_bytes().unwrap(), bytes);
    }

    #[test]
    fn sddl_round_trips(descriptor in any_descriptor()) {
        let text = sddl::format(&descriptor, None).unwrap();
        let read = sddl::parse(&text, None).unwrap();
        prop_assert_eq!(&read.owner, &descriptor.owner);
        prop_assert_eq!(&read.group, &descriptor.group);
        prop_assert_eq!(&read.dacl, &descriptor.dacl);
        prop_assert_eq!(&read.sacl, &descriptor.sacl);
        prop_assert_eq!(sddl::format(&read, None).unwrap(), text);
    }

    #[test]
    fn letters_round_trip(mask: u32, deny: bool) {
        let text = rights::letters(mask, deny);
        if text != "N" && !text.is_empty() {
            let read = rights::parse_letters(&text, deny).unwrap();
            // Simple rights of deny entries hide S.
            let hidden = if deny { rights::SYNCHRONIZE } else { 0 };
            prop_assert_eq!(read | hidden, mask | hidden, "{}", text);
        }
    }

    #[test]
    fn any_bytes_are_read_or_refused(
        mut bytes in prop::collection::vec(any::<u8>(), 0..200),
        offsets in prop::array::uniform4(0_u8..60),
    ) {
        // Most of the time a plausible header, so that the parts are reached.
        if let Some(header) = bytes.first_chunk_mut::<20>() {
            header[0] = 1;
            header[3] |= 0x80;
            for (field, offset) in header[4..].chunks_mut(4).zip(offsets) {
                field.copy_from_slice(&u32::from(offset & !3).to_le_bytes());
            }
        }
        if let Ok(descriptor) = Descriptor::parse(&bytes) {
            let again = Descriptor::parse(&descriptor.to_bytes().unwrap()).unwrap();
            prop_assert_eq!(again.dacl, descriptor.dacl);
        }
    }

    #[test]
    fn any_text_is_read_or_refused(text in "[OGDS:();PAIFXSY0-9 -é]{0,60}") {
        let _ = sddl::parse(&text, None).map(|descriptor| sddl::format(&descriptor, None));
        let _ = text.parse::<Sid>();
        let _ = rights::parse_letters(&text, false);
        let _ = Names::new().find(&text);
    }

    #[test]
    fn a_broken_byte_never_panics(at: prop::sample::Index, value: u8) {
        let mut bytes = descriptor("O:SYG:BAD:(A;;FA;;;BA)(OA;;FA;4c164200-20c0-11d0-a768-00aa006e0529;;BU)S:(ML;;NW;;;HI)")
            .to_bytes()
            .unwrap();
        let at = at.index(bytes.len());
        bytes[at] = value;
        if let Ok(descriptor) = Descriptor::parse(&bytes) {
            let _ = sddl::format(&descriptor, None);
            display::lines("k", &descriptor, &Names::new());
            rights::effective(&descriptor.dacl, &rights::token(&sid("S-1-5-18")));
            prop_assert!(descriptor.to_bytes().is_ok());
        }
    }
}

#[test]
fn flags_have_the_specification_numbers() {
    let ace = &dacl("D:(A;OICINPIOID;FA;;;BA)").aces[0];
    assert_eq!(ace.flags, 0x1f);
    assert_eq!(flag::INHERIT_ONLY, 8);
}
