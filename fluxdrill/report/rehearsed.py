"""Put a rehearsal's result into a journal, so that the page shows it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fluxdrill.report.journal import Journal

_VERDICTS = {"converged": "pass", "blocked": "blocked", "unknown": "unknown"}


def tell(journal: Journal, data: Mapping[str, Any], text: str) -> str:
    """Append headline, graph and text of a rehearsal (its `--json` data); return the page's verdict."""
    lab = str(data["lab"])
    journal.tell("lab", lab=lab, seconds=data["lab_seconds"])
    if blocker := data["first_blocker"]:
        journal.tell("headline", **_headline(blocker))
    names = [one["object"] for one in data["kustomizations"]]
    states = {one["object"]: one["state"] for one in data["kustomizations"]}
    journal.tell(
        "graph", lab=lab, title="Kustomizations: what waits for what", nodes=names, edges=data["edges"], states=states
    )
    journal.tell("text", title="In words", text=text)
    facts = {
        "source": f"{data['source']} ({data['revision']}), path {data['path']}",
        "profile": f"{data['profile']}, {data['profile_fields_changed']} fields of the served copy changed",
        "simulated": data["simulated"],
        "seeds": data["seeds"] or "none",
        "outside hosts refused": data["outside"]["refused"] or "none",
        "versions": data["versions"],
    }
    journal.tell("run", facts=facts)
    return _VERDICTS[str(data["verdict"])]


def _headline(blocker: Mapping[str, Any]) -> dict[str, Any]:
    since = f", {blocker['since']:.1f} s after the bootstrap" if blocker["since"] is not None else ""
    behind = ", ".join(one.rpartition("/")[2] for one in blocker["behind"]) or "nothing"
    lines = [
        f"why:    {blocker['object']} says {blocker['reason']}:",
        *(f"        {line}" for line in str(blocker["message"]).splitlines()),
        f"since:  {since.removeprefix(', ') or 'unknown'}",
        f"behind: {behind}",
    ]
    if blocker["bring"]:
        lines.append(f"bring:  {blocker['bring']}")
    if blocker["outside"]:
        lines.append(f"note:   it needs the outside host {blocker['outside']}, which a lab refuses")
    return {"title": f"First blocker: {blocker['subject']}", "lines": lines}
