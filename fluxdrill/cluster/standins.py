"""Pods that behave as their annotations say, on real nodes: what kwok does for simulated pods, done by a real container.

Nothing can be pulled in a lab, so the API server gives every container that would need a foreign image the stand-in's as
its pod is made: templates, and what Flux compares, stay as they are. The annotations are those of
`fluxdrill.cluster.simulated`. A container that brings its own command for the image `simulated` keeps it. What asks for
an image that cannot be pulled gets one, and a claim that is to stay pending a storage class that nobody provisions.
Init containers end at once. Needs MutatingAdmissionPolicy (Kubernetes 1.36 and newer).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from fluxdrill.cluster.simulated import AFTER, BEHAVIOUR, CLAIM, Behaviour

SCRIPTED = "simulated"
"""The image of a container that brings a script of its own for real pods."""
ABSENT = "127.0.0.1:1/absent:0"
"""An image that cannot be pulled: refused at once, where a name that nobody knows would take twenty seconds each time."""
NO_CLASS = "pending.fluxdrill.dev"
READY_FILE = "/dev/shm/ready"  # noqa: S108 - in the container
MOST = 12
"""Containers of a pod that are looked at: CEL has no loop over numbers."""

Document = dict[str, Any]

PORT = 8099
"""Where the first container of a pod listens once it is ready; the others have the ports behind it.

A port is what is probed: a command in each pod every second would cost more than all the rest of a lab.
"""
SCRIPT = f"""\
trap 'kill $! 2> /dev/null; exit 0' TERM
sleep "$1" & wait $!
case $0 in
  {Behaviour.READY}) touch {READY_FILE} ;;
  {Behaviour.COMPLETE}) exit 0 ;;
  {Behaviour.CRASH_LOOP} | {Behaviour.FAIL}) exit 1 ;;
  {Behaviour.OOM_KILL}) exec tail /dev/zero ;;
esac
until [ -e {READY_FILE} ]; do sleep 1 & wait $!; done
httpd -f -p "$2" -h /dev/shm & wait $!
"""
"""What a container runs: its behaviour is $0, the seconds until it shows $1, its port $2. Its file heals it by hand."""

_NOTES = "(has(object.metadata.annotations) ? object.metadata.annotations : {})"
_JOB = "has(object.metadata.ownerReferences) && object.metadata.ownerReferences.exists(one, one.kind == 'Job')"
_DURATION = "^([0-9.]+(ms|s|m|h))+$"
_VARIABLES = {
    "notes": _NOTES,
    "timed": f"'{AFTER}' in variables.notes ? variables.notes['{AFTER}'].matches('{_DURATION}') : true",
    # whole seconds, never earlier than told; what is no duration never shows
    "seconds": f"variables.timed && '{AFTER}' in variables.notes "
    f"? string((duration(variables.notes['{AFTER}']).getMilliseconds() + 999) / 1000) : '0'",
    "behaviour": f"string(!variables.timed ? '{Behaviour.NEVER_READY}' "
    f": '{BEHAVIOUR}' in variables.notes ? variables.notes['{BEHAVIOUR}'] "
    f": ({_JOB}) ? '{Behaviour.COMPLETE}' : '{Behaviour.READY}')",
}


def policies(image: str, known: Sequence[str]) -> list[Document]:
    """Return the admission policies with their bindings: `image` is the stand-in's, `known` are images that nodes have."""
    listed = "[" + ", ".join(f"'{one}'" for one in known) + "]"
    lacking = f"exists(one, !(one.image in {listed}))"
    foreign = (
        f"object.spec.containers.{lacking} || (has(object.spec.initContainers) && object.spec.initContainers.{lacking})"
    )
    pods = {"apiGroups": [""], "apiVersions": ["v1"], "operations": ["CREATE"], "resources": ["pods"]}
    claims = pods | {"resources": ["persistentvolumeclaims"]}
    pending = f"{_NOTES}.exists(key, key == '{CLAIM}') && {_NOTES}['{CLAIM}'] != 'bound'"
    return [
        *_policy("fluxdrill-stand-ins", pods, foreign, [_containers(image, listed), _init_containers(image, listed)]),
        *_policy("fluxdrill-pending-claims", claims, pending, [_patched("'/spec/storageClassName'", f"'{NO_CLASS}'")]),
    ]


def _containers(image: str, listed: str) -> str:
    """Return what is done to each container, as CEL that gives a list of JSON patches."""
    parts = [
        _patched(_at("image"), f"variables.behaviour == '{Behaviour.IMAGE_PULL_ERROR}' ? '{ABSENT}' : '{image}'"),
        _patched(_at("imagePullPolicy"), "'IfNotPresent'"),
    ]
    own = [
        _patched(
            _at("command"),
            f"['sh', '-c', {_quoted(SCRIPT)}, variables.behaviour, variables.seconds, string({PORT} + i)]",
        ),
        _patched(_at("args"), "[]"),
        _patched(
            _at("readinessProbe"),
            f"{{'tcpSocket': dyn({{'port': {PORT} + i}}), 'periodSeconds': dyn(1)}}",
        ),
        *(
            f"(has({_one('containers')}.{probe}) ? [JSONPatch{{op: 'remove', path: {_at(probe)}}}] : [])"
            for probe in ("livenessProbe", "startupProbe")
        ),
    ]
    keeps = f"{_one('containers')}.image == '{SCRIPTED}' && has({_one('containers')}.command)"
    return _each("containers", listed, f"{' + '.join(parts)} + (({keeps}) ? [] : {' + '.join(own)})")


def _init_containers(image: str, listed: str) -> str:
    path = _at("image", "initContainers")
    parts = [
        _patched(path, f"'{image}'"),
        _patched(_at("imagePullPolicy", "initContainers"), "'IfNotPresent'"),
        _patched(
            _at("command", "initContainers"), f"['sh', '-c', {_quoted(SCRIPT)}, '{Behaviour.COMPLETE}', '0', '0']"
        ),
        _patched(_at("args", "initContainers"), "[]"),
    ]
    looped = _each("initContainers", listed, " + ".join(parts))
    return f"has(object.spec.initContainers) ? ({looped}) : []"


def _each(field: str, listed: str, parts: str) -> str:
    """Return CEL that joins `parts` over every container whose image nobody has; `i` is its number."""
    numbers = "[" + ", ".join(map(str, range(MOST))) + "]"
    chosen = f"{numbers}.filter(i, i < size(object.spec.{field}) && !({_one(field)}.image in {listed}))"
    return f"{chosen}.map(i, {parts}).flatten()"


def _one(field: str) -> str:
    return f"object.spec.{field}[i]"


def _at(name: str, field: str = "containers") -> str:
    return f"'/spec/{field}/' + string(i) + '/{name}'"


def _patched(path: str, value: str) -> str:
    return f"[JSONPatch{{op: 'add', path: {path}, value: {value}}}]"


def _quoted(text: str) -> str:
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'").replace("\n", "\\n") + "'"


def _policy(name: str, rule: Document, when: str, patches: Sequence[str]) -> list[Document]:
    head = {"apiVersion": "admissionregistration.k8s.io/v1", "metadata": {"name": name}}
    spec = {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {"resourceRules": [rule]},
        "matchConditions": [{"name": "foreign", "expression": when}],
        "variables": [{"name": key, "expression": value} for key, value in _VARIABLES.items()],
        "mutations": [{"patchType": "JSONPatch", "jsonPatch": {"expression": one}} for one in patches],
    }
    return [
        {**head, "kind": "MutatingAdmissionPolicy", "spec": spec},
        {**head, "kind": "MutatingAdmissionPolicyBinding", "spec": {"policyName": name}},
    ]
