"""JUnit of scenarios: what could not be judged is an error and never skipped; only what could not run is."""

from __future__ import annotations

import re
import xml.etree.ElementTree as ET
from collections.abc import Mapping, Sequence
from typing import Any

_TAGS = {"deviated": "failure", "unknown": "error", "invalid": "error", "harness-error": "error", "not run": "skipped"}
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 cannot hold."""


def junit(found: Sequence[Mapping[str, Any]], *, began: str) -> str:
    """Return one test case per scenario, as CI systems read them; `began` is the run's ISO time."""
    tags = [_TAGS.get(one["verdict"], "") for one in found]
    counts = {"failures": tags.count("failure"), "errors": tags.count("error"), "skipped": tags.count("skipped")}
    suite = ET.Element("testsuite", name="scenarios", tests=str(len(found)), timestamp=began)
    suite.attrib |= {name: str(count) for name, count in counts.items()}
    for one, tag in zip(found, tags, strict=True):
        took = f"{one['end'] - one['t']:.3f}"
        case = ET.SubElement(suite, "testcase", classname="scenarios", name=one["id"], time=took)
        if tag:
            head = _clean(f"{one['verdict']}: {one['why']}")
            ET.SubElement(case, tag, message=head[:500]).text = _clean(_objectives(one)) or head
    root = ET.Element("testsuites")
    root.append(suite)
    ET.indent(root)
    return ET.tostring(root, encoding="unicode", xml_declaration=True) + "\n"


def _objectives(one: Mapping[str, Any]) -> str:
    return "\n".join(f"{o['verdict']:<13} {o['name']}: {o['why']}" for o in one["objectives"])


def _clean(text: str) -> str:
    return _FORBIDDEN.sub("\ufffd", text)
