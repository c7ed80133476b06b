# SPDX-License-Identifier: GPL-2.0-or-later
"""Prints the firewall rules of SYSTEM and SOFTWARE hives as python-registry reads them and as the grammar splits them.

    firewall_rules.py HIVE...

One line of JSON for each value below a key FirewallRules or ConSecRules:

    {"hive", "key", "name", "text", "version", "fields": [[key, value], ...], "active", "inbound", "action", "profiles"}

Written from [MS-GPFAS] 2.2.2.19 alone: RULE = "v" VERSION "|" 1*FIELD, FIELD = TYPE "=" VALUE "|"; no Profile means
every profile, no Active means FALSE.
"""

import json
import re
import sys

from Registry import Registry

PROFILES = ["Domain", "Private", "Public"]


def split(text):
    version, *rest = text.split("|")
    if rest[-1:] != [""] or not re.fullmatch(r"v\d+\.\d+", version):
        raise ValueError(f"not a rule: {text!r}")
    return version, [re.fullmatch(r"([^=]+)=(.*)", part, re.DOTALL).groups() for part in rest[:-1]]


def rules(hive):
    def walk(key):
        if key.name() in ("FirewallRules", "ConSecRules"):
            for value in key.values():
                yield key.path(), value
        else:
            for child in key.subkeys():
                yield from walk(child)

    root = Registry.Registry(hive).root()
    for top in root.subkeys():
        if top.name().startswith("ControlSet"):
            yield from walk(root.find_key(top.name() + "\\Services\\SharedAccess"))
        elif top.name() == "Policies":
            try:
                yield from walk(root.find_key("Policies\\Microsoft\\WindowsFirewall"))
            except Registry.RegistryKeyNotFoundException:
                pass


for hive in sys.argv[1:]:
    for path, value in rules(hive):
        text = value.raw_data().decode("utf-16-le").split("\0")[0]
        version, fields = split(text)
        values = lambda name: [found for key, found in fields if key == name]
        named = values("Profile")
        print(json.dumps({
            "hive": hive, "key": path.split("\\", 1)[1], "name": value.name(), "text": text, "version": version,
            "fields": fields, "active": values("Active") == ["TRUE"], "inbound": values("Dir") == ["In"],
            "action": values("Action")[0],
            "profiles": [profile for profile in PROFILES if not named or profile in named]}))
