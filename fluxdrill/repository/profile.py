"""How fast time runs: rewrite the intervals and timeouts of the served copy, and nothing else in it.

Only the bytes of the named scalars change, or one line is inserted; comments, order and quoting stay. Facts: a
kustomize-controller 1.9 retries flatly at `retryInterval` (default: `interval`), and its health check never waits less
than 30 s; helm-controller's `timeout` is 5 min by default, and helm-controller 1.6 looks at what it waits for every 5 s.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from enum import StrEnum

import yaml

from fluxdrill.model.refs import group_of
from fluxdrill.repository.charts import templates
from fluxdrill.repository.served import DEADLINE, Served, commit_files, files, tip


class Profile(StrEnum):
    """The pace of a run; see the table `RULES` for what `fast` means."""

    AS_WRITTEN = "as-written"
    FAST = "fast"


class Why(StrEnum):
    """Why a document, or a field of one, was left alone."""

    TEMPLATE = "a template of a Helm chart"
    INVALID = "does not parse as YAML"
    NOT_TEXT = "is not UTF-8"
    SHARED = "is written with an anchor, an alias or a tag"
    NOT_SCALAR = "is not a scalar on one line"


@dataclass(frozen=True, slots=True)
class Rule:
    """One field that a profile sets: `beside` is the sibling it is inserted after where it is absent."""

    group: str
    kinds: frozenset[str]
    path: tuple[str, ...]
    value: str
    beside: str = ""


SOURCE, KUSTOMIZE, HELM = (f"{name}.toolkit.fluxcd.io" for name in ("source", "kustomize", "helm"))
SOURCES = frozenset({"GitRepository", "OCIRepository", "HelmChart", "Bucket"})
INDEXES = frozenset({"HelmRepository"})  # a homelab has many, and each look downloads a whole index
RELEASE_TIMEOUT = "12s"  # two looks after the first: below 5 s no release with a Deployment could become Ready
HELM_ACTIONS = ("install", "upgrade", "test", "rollback", "uninstall")

RULES: Mapping[Profile, tuple[Rule, ...]] = {
    Profile.AS_WRITTEN: (),
    Profile.FAST: (
        Rule(SOURCE, SOURCES, ("spec", "interval"), "2s"),
        Rule(SOURCE, INDEXES, ("spec", "interval"), "10s"),
        Rule(KUSTOMIZE, frozenset({"Kustomization"}), ("spec", "retryInterval"), "2s", "interval"),
        Rule(KUSTOMIZE, frozenset({"Kustomization"}), ("spec", "timeout"), "30s", "interval"),
        Rule(HELM, frozenset({"HelmRelease"}), ("spec", "timeout"), RELEASE_TIMEOUT, "interval"),
        *(
            Rule(HELM, frozenset({"HelmRelease"}), ("spec", action, "timeout"), RELEASE_TIMEOUT)
            for action in HELM_ACTIONS
        ),
        *(
            Rule(HELM, frozenset({"HelmRelease"}), ("spec", action, "strategy", "retryInterval"), "2s")
            for action in HELM_ACTIONS[:2]
        ),
    ),
}


@dataclass(frozen=True, slots=True)
class FieldChange:
    """One field that was set: `before` is None where the line was inserted."""

    object: str
    field: str
    before: str | None
    after: str


@dataclass(frozen=True, slots=True)
class LeftAlone:
    """One document or field that was not rewritten: `where` is a line of the text, or a field of an object."""

    where: str
    why: Why


@dataclass(frozen=True, slots=True)
class Rewritten:
    """A text after a profile was applied."""

    text: str
    changes: tuple[FieldChange, ...] = ()
    left_alone: tuple[LeftAlone, ...] = ()


@dataclass(frozen=True, slots=True)
class ProfileReport:
    """What a profile changed in the served copy: per file; `commit` is the tip that is served now."""

    profile: Profile
    commit: str
    changes: Mapping[str, tuple[FieldChange, ...]]
    left_alone: Mapping[str, tuple[LeftAlone, ...]]

    @property
    def fields_changed(self) -> int:
        """How many fields were set in all files."""
        return sum(len(changes) for changes in self.changes.values())


@dataclass(frozen=True, slots=True)
class _Edit:
    start: int
    end: int
    text: str


def apply_profile(served: Served, profile: Profile, *, deadline: float = DEADLINE) -> ProfileReport:
    """Commit what `profile` changes on top of the served branch; the user's own repository never sees it.

    Without changes there is no commit. Raises what `commit_files` raises.
    """
    if profile is Profile.AS_WRITTEN:
        return ProfileReport(profile, tip(served, deadline=deadline), {}, {})
    tree = files(served, deadline=deadline)
    of_charts = templates(tree)
    manifests = {path: content for path, content in tree.items() if path.endswith((".yaml", ".yml"))}
    results = {
        path: Rewritten("", left_alone=(LeftAlone("file", Why.TEMPLATE),))
        if path in of_charts
        else _rewrite_file(content, profile)
        for path, content in manifests.items()
    }
    changed = {path: result.text for path, result in results.items() if result.changes}
    if changed:
        commit_files(served, changed, f"Profile {profile}", deadline=deadline)
    return ProfileReport(
        profile,
        tip(served, deadline=deadline),
        {path: results[path].changes for path in changed},
        {path: result.left_alone for path, result in results.items() if result.left_alone},
    )


def rewrite(text: str, profile: Profile) -> Rewritten:
    """Return `text` with the fields of `profile` set in each of its YAML documents."""
    edits: list[_Edit] = []
    changes: list[FieldChange] = []
    left_alone: list[LeftAlone] = []
    for start, document in _documents(text):
        try:
            root = yaml.compose(document, Loader=yaml.SafeLoader)
        except yaml.YAMLError:
            why = Why.TEMPLATE if "{{" in document else Why.INVALID
            left_alone.append(LeftAlone(f"line {text.count(chr(10), 0, start) + 1}", why))
            continue
        for thing in _objects(root):
            for rule in _rules(thing, profile):
                done = _set(document, thing, rule)
                if isinstance(done, LeftAlone):
                    left_alone.append(done)
                elif done is not None:
                    changes.append(done[0])
                    edits.append(_Edit(done[1].start + start, done[1].end + start, done[1].text))
    return Rewritten(_edited(text, edits), tuple(changes), tuple(left_alone))


def _rewrite_file(content: bytes, profile: Profile) -> Rewritten:
    try:
        return rewrite(content.decode(), profile)
    except UnicodeDecodeError:
        return Rewritten("", left_alone=(LeftAlone("file", Why.NOT_TEXT),))


def _documents(text: str) -> Iterator[tuple[int, str]]:
    """Yield offset and text of each document; `---` in the first column is always a marker in YAML."""
    marks = [match.start() for match in re.finditer(r"^---(?=\s|$)", text, re.MULTILINE)]
    starts = [0, *(mark for mark in marks if mark > 0)]
    yield from ((start, text[start:end]) for start, end in zip(starts, [*starts[1:], len(text)], strict=True))


def _objects(node: yaml.Node | None) -> Iterator[yaml.MappingNode]:
    """Yield the object a document holds, and those of a `List`."""
    if not isinstance(node, yaml.MappingNode):
        return
    yield node
    items = _child(node, "items")
    if isinstance(items, yaml.SequenceNode):
        for item in items.value:
            yield from _objects(item)


def _rules(thing: yaml.MappingNode, profile: Profile) -> Iterator[Rule]:
    group, kind = group_of(_scalar(thing, "apiVersion")), _scalar(thing, "kind")
    return (rule for rule in RULES[profile] if rule.group == group and kind in rule.kinds)


def _set(document: str, thing: yaml.MappingNode, rule: Rule) -> tuple[FieldChange, _Edit] | LeftAlone | None:
    """Return the change that makes `thing` obey `rule`, None where there is nothing to change."""
    parent = _descend(thing, rule.path[:-1])
    if parent is None:
        return None
    key, name = rule.path[-1], _name(thing)
    found = _pair(parent, key)
    target = found or _pair(parent, rule.beside)
    if target is None:
        return None
    value = _writable(document, *target)
    field = ".".join(rule.path)
    if isinstance(value, Why):
        return LeftAlone(f"{name} {field}", value)
    if not found:
        return FieldChange(name, field, None, rule.value), _insertion(document, parent, target, rule)
    if value.value == rule.value:
        return None
    quote = 1 if value.style in {"'", '"'} else 0
    edit = _Edit(value.start_mark.index + quote, value.end_mark.index - quote, rule.value)
    return FieldChange(name, field, str(value.value), rule.value), edit


def _writable(document: str, key: yaml.Node, value: yaml.Node) -> yaml.ScalarNode | Why:
    """Return `value` as a scalar that can be rewritten in place, or why it cannot."""
    start = value.start_mark.index
    if start < key.end_mark.index or document[start : start + 1] in {"&", "!", "*"}:
        return Why.SHARED
    if not isinstance(value, yaml.ScalarNode) or value.start_mark.line != value.end_mark.line or not value.value:
        return Why.NOT_SCALAR
    return value


def _insertion(document: str, parent: yaml.MappingNode, sibling: tuple[yaml.Node, yaml.Node], rule: Rule) -> _Edit:
    """Return the edit that writes the field of `rule` after `sibling`, in the style of the mapping."""
    field = f"{rule.path[-1]}: {rule.value}"
    if parent.flow_style:
        at = sibling[1].end_mark.index
        return _Edit(at, at, f", {field}")
    end = re.compile(r"\r?$", re.MULTILINE).search(document, sibling[1].end_mark.index)
    at = end.start() if end else len(document)
    line_end = "\r\n" if end and end[0] else "\n"
    return _Edit(at, at, f"{line_end}{' ' * sibling[0].start_mark.column}{field}")


def _edited(text: str, edits: list[_Edit]) -> str:
    """Apply edits that do not overlap; insertions at one place keep their order, and a shared node is edited once."""
    parts, at = [], 0
    for edit in sorted(dict.fromkeys(edits), key=lambda edit: edit.start):
        parts += [text[at : edit.start], edit.text]
        at = edit.end
    return "".join([*parts, text[at:]])


def _pair(node: yaml.MappingNode, key: str) -> tuple[yaml.Node, yaml.Node] | None:
    return next(((name, value) for name, value in node.value if key and name.value == key), None)


def _child(node: yaml.MappingNode, key: str) -> yaml.Node | None:
    found = _pair(node, key)
    return found[1] if found else None


def _descend(node: yaml.MappingNode, path: tuple[str, ...]) -> yaml.MappingNode | None:
    below: yaml.Node | None = node
    for key in path:
        below = _child(below, key) if isinstance(below, yaml.MappingNode) else None
    return below if isinstance(below, yaml.MappingNode) else None


def _scalar(node: yaml.MappingNode | None, key: str) -> str:
    found = _child(node, key) if node else None
    return str(found.value) if isinstance(found, yaml.ScalarNode) else ""


def _name(thing: yaml.MappingNode) -> str:
    """Return Kind/namespace/name as written."""
    meta = _descend(thing, ("metadata",))
    parts = (_scalar(thing, "kind"), _scalar(meta, "namespace"), _scalar(meta, "name"))
    return "/".join(part for part in parts if part)
