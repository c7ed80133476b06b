// SPDX-License-Identifier: GPL-2.0-or-later
//! Hives of real machines, diagnosed whole. What MANIFEST.md of the test data says of each is why a finding is true.

use super::support::bench::Bench;
use super::{Change, change, listed, support};

/// Programs that the lists of network providers name; that the folder has no Windows is no fault of the hives.
const PROGRAMS: [&str; 3] = ["davclnt.dll", "vboxmrxnp.dll", "vmhgfs.dll"];

struct Machine {
    /// SYSTEM, SOFTWARE, SAM and SECURITY.
    hives: [Option<&'static str>; 4],
    /// Of a machine whose SOFTWARE nobody has: the build that stands in a healthy one in its place.
    build: Option<&'static str>,
    found: &'static str,
}

const VERSION: &str = r"SOFTWARE\Microsoft\Windows NT\CurrentVersion";

const MACHINES: &[Machine] = &[
    // Remote Desktop is on (fDenyTSConnections 0), the rules of the firewall with it; the member of a domain.
    Machine {
        hives: [Some("system-w7x86"), Some("software-w7x86"), None, None],
        build: None,
        found: "",
    },
    Machine {
        hives: [
            Some("system-w7x86"),
            Some("software-w7x86"),
            Some("sam-w7"),
            Some("security-w81"),
        ],
        build: None,
        found: "",
    },
    // Remote Desktop was never on, and a policy opens the firewall; both hives are dirty and have no logs.
    Machine {
        hives: [
            Some("system-w81-dirty-nolog"),
            Some("software-w81-dirty-nolog"),
            Some("sam-w81"),
            Some("security-w81"),
        ],
        build: None,
        found: "!rdp-enable.off ?hive.log-lost",
    },
    // Never on, as Windows 10 is installed: the setting and its rule are off. There is no SOFTWARE.
    Machine {
        hives: [Some("system-w10-dirty"), None, None, None],
        build: None,
        found: "!firewall.rule-off !rdp-enable.off ?hive.not-copied",
    },
    Machine {
        hives: [
            Some("system-w10-dirty"),
            None,
            Some("sam-velo"),
            Some("security-w10-dirty-nolog"),
        ],
        build: Some("16299"),
        found: "!firewall.rule-off !rdp-enable.off",
    },
    Machine {
        hives: [Some("system-w10-clean"), None, None, None],
        build: None,
        found: "!firewall.rule-off !rdp-enable.off ?hive.not-copied",
    },
    Machine {
        hives: [
            Some("system-w10-clean"),
            None,
            Some("sam-velo"),
            Some("security-w10-dirty-nolog"),
        ],
        build: Some("19041"),
        found: "!firewall.rule-off !rdp-enable.off",
    },
    // Never on; the firewall of XP has no rules of the kind that is judged, and its services are others.
    Machine {
        hives: [Some("system-xp"), None, None, None],
        build: None,
        found: "!rdp-enable.off ?hive.not-copied",
    },
    Machine {
        hives: [Some("system-xp"), None, None, None],
        build: Some("2600"),
        found: "!rdp-enable.off",
    },
    // The chain of its bins is broken: what is in them is not judged.
    Machine {
        hives: [Some("system-xp-corrupt"), None, None, None],
        build: Some("2600"),
        found: "!hive.damaged ?firewall.unclear",
    },
];

/// A folder with these hives and no others; where one is not at hand, without the rest of Windows, as it was copied.
fn bench(machine: &Machine) -> Option<Bench> {
    let made = support::fixtures(&["folder/healthy"])?;
    let bench = Bench::copy_of(&made.join("folder/healthy"));
    for program in PROGRAMS {
        bench.put(&format!("Windows/System32/{program}"), b"MZ");
    }
    if machine.hives.iter().skip(2).any(Option::is_none) {
        std::fs::remove_file(bench.target.join("Windows/System32/ntdll.dll")).unwrap();
    }
    if let Some(build) = machine.build {
        let number = format!("\"CurrentBuild\"=\"{build}\"\n\"CurrentBuildNumber\"=\"{build}\"");
        let lines: &'static str = Box::leak(number.into_boxed_str());
        let edition = "\"EditionID\"=-\n\"UBR\"=-";
        let text: &'static [&'static str] = Box::leak(Box::new([VERSION, lines, edition]));
        change(&bench, &Change::Reg(text));
    }
    let names = ["SYSTEM", "SOFTWARE", "SAM", "SECURITY"];
    for (name, source) in names.into_iter().zip(machine.hives) {
        let path = format!("Windows/System32/config/{name}");
        let put = |source: &str, path: &str| {
            let packed = support::data(&format!("hives/{source}.xz"))?;
            bench.put(path, &support::unxz(&packed));
            Some(())
        };
        match source {
            Some(source) => {
                put(source, &path)?;
                if source == "system-w10-dirty" {
                    put(&format!("{source}.LOG1"), &format!("{path}.LOG1"))?;
                    put(&format!("{source}.LOG2"), &format!("{path}.LOG2"))?;
                }
            }
            None if name == "SOFTWARE" && machine.build.is_some() => {}
            None => std::fs::remove_file(bench.target.join(path)).unwrap(),
        }
    }
    Some(bench)
}

#[test]
fn real_machines_have_what_is_true_of_them() {
    for machine in MACHINES {
        let Some(bench) = bench(machine) else {
            return;
        };
        let before = bench.sum();
        let (found, _) = listed(&bench.findings().1);
        assert_eq!(found, machine.found, "{:?}", machine.hives);
        assert!(bench.sum() == before, "{:?}", machine.hives);
    }
}
