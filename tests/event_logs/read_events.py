# SPDX-License-Identifier: GPL-2.0-or-later
"""Lists the events of a log as the `evtx` package reads them: one JSON line each, with what coldfix uses of it."""

import json
import re
import sys
import xml.etree.ElementTree as ElementTree

from evtx import PyEvtxParser


# Windows logs what XML cannot hold.
NO_XML = re.compile("[^\\t\\n\\r\\x20-\\ud7ff\\ue000-\\ufffd\\U00010000-\\U0010ffff]")


def local(element):
    return element.tag.rsplit("}", 1)[-1]


def leaves(element):
    """Name and text of every element that holds no other."""
    children = list(element)
    if not children:
        name = element.get("Name", "" if local(element) == "Data" else local(element))
        return [[name, (element.text or "").strip()]]
    return [leaf for child in children for leaf in leaves(child)]


records = PyEvtxParser(sys.argv[1]).records()
while True:
    try:
        record = next(records)
    except StopIteration:
        break
    except Exception:
        continue
    event = {"record": record["event_record_id"], "time": record["timestamp"], "data": []}
    for section in ElementTree.fromstring(NO_XML.sub("?", record["data"])):
        if local(section) == "System":
            for field in section:
                if local(field) == "Provider":
                    event["provider"] = field.get("Name", "")
                elif local(field) in ("EventID", "Level", "Computer"):
                    event[local(field)] = field.text or ""
        elif local(section) in ("EventData", "UserData"):
            for child in section:
                event["data"].extend(leaves(child))
    print(json.dumps(event))
