"""A run as Markdown, in parts short enough for what reads it: pure rules from the page's data."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

LIMIT = 50_000
"""Characters of one part at the most."""
_TEXT = 600
Data = Mapping[str, Any]


def parts(data: Data, *, limit: int = LIMIT) -> list[str]:
    """Return the report in parts of at most `limit` characters, cut between lines; each says which part it is."""
    room = limit - 100  # for the line that says which part it is
    lines = [piece for line in _lines(data) for piece in _pieces(line, room)]
    bodies = [""]
    for line in lines:
        if len(bodies[-1]) + len(line) + 1 > room:
            bodies.append("")
        bodies[-1] += f"{line}\n"
    return [f"<!-- part {number} of {len(bodies)} -->\n{body}" for number, body in enumerate(bodies, 1)]


def _pieces(line: str, room: int) -> Iterator[str]:
    yield from (line[start : start + room - 1] for start in range(0, max(len(line), 1), room - 1))


def _lines(data: Data) -> Iterator[str]:
    yield f"# {data['verdict']}: {data['title']}"
    yield ""
    yield f"{data['began'][:19].replace('T', ' ')} UTC, {data['seconds']:.1f} s."
    if not data["complete"]:
        yield "The run did not end in order: this is what was recorded until then."
    for one in data["campaign"]:
        yield f"Campaign of seed {one['seed']}: {one['objective']}: {one['verdict']}, {one['why']}."
    for one in data["headlines"]:
        yield from ["", f"**{_flat(one['title'])}** {_code(one['where'])}".rstrip(), *map(_quoted, one["lines"])]
    if data["scenarios"]:
        yield from _table(("verdict", "scenario", "why"), (_summary(one) for one in data["scenarios"]))
    for one in data["scenarios"]:
        yield from _scenario(one)
    if data["tests"]:
        cases = ((t["outcome"], _code(t["id"]), f"{t['seconds']:.1f} s") for t in data["tests"])
        yield from ["", "## Tests", *_table(("outcome", "test", "time"), cases)]
    for one in data["texts"]:
        yield from ["", f"## {one['title']}", "", *map(_quoted, str(one["text"]).splitlines())]
    yield from ["", "## How it was done", *_table(("fact", "value"), ((k, _flat(v)) for k, v in data["facts"].items()))]


def _summary(one: Data) -> tuple[str, str, str]:
    return one["verdict"], one["id"], one["why"]


def _scenario(one: Data) -> Iterator[str]:
    yield from ["", f"## {one['id']}: {one['verdict']}", "", _flat(one["title"]), ""]
    if one["verdict"] == "not run":
        yield one["why"]
        return
    yield f"Expected: {one['outcome'] or 'unknown'}, seed {one['seed']}, faults: {', '.join(map(_code, one['faults'])) or 'none'}."
    yield from _table(("verdict", "objective", "why"), ((o["verdict"], o["name"], o["why"]) for o in one["objectives"]))
    yield from _table(("object", "expected", "observed"), map(_blast, one["blast"]))
    yield from _table(("seconds", "of", "n", "min", "p50", "p95", "max", "budget"), map(_number, one["numbers"]))
    for path in one["paths"]:
        links = " -> ".join(f"{link['name']} {link['own']:.1f} s" for link in path["links"])
        yield from ["", f"Critical path of the recovery, cycle {path['cycle']}: {links}."]
    yield from ["", "Not certified:", "", *(f"- {text}" for text in one["uncertain"])]
    yield from _table(("no.", "step", "what", "result", "why"), map(_step, one["steps"]))
    for found in one["evidence"]:
        yield from ["", f"### Evidence at {found['t']:.1f} s, when it began to fail", "", _flat(found["why"])]
        for title, text in found["sections"]:
            yield from ["", f"{title}:", "", *map(_quoted, str(text).splitlines())]


def _blast(row: Data) -> tuple[str, str, str]:
    seen = ", ".join(f"{t:.1f} s to {'the end' if end is None else f'{end:.1f} s'}" for t, end in row["falls"])
    expected = "may leave Ready" if row["declared"] else "must stay Ready"
    return row["object"], expected, f"not Ready: {seen}" if seen else "stayed Ready"


def _number(one: Data) -> tuple[str, ...]:
    p95 = "-" if one["p95"] is None else f"{one['p95']:.2f}"
    shown = (f"{one['low']:.2f}", f"{one['p50']:.2f}", p95, f"{one['high']:.2f}")
    return one["what"], one["object"] or "the whole", str(one["n"]), *shown, f"{one['budget']:g}"


def _step(one: Data) -> tuple[str, ...]:
    return str(one["number"]), one["verb"], one["text"], one["result"], one["why"]


def _table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> Iterator[str]:
    made = [[_flat(cell)[:_TEXT].replace("|", "\\|") for cell in row] for row in rows]
    if made:
        yield from ["", *(f"| {' | '.join(row)} |" for row in (head, ["---"] * len(head), *made))]


def _flat(text: object) -> str:
    return " ".join(str(text).split())


def _code(text: str) -> str:
    return f"`{text}`" if text else ""


def _quoted(line: object) -> str:
    return f"    {line}"
