"""Comparing what a controller said at two attempts."""

from __future__ import annotations

import re

_POD_ALPHABET = "bcdfghjklmnpqrstvwxz2456789"  # what Kubernetes draws generated names from
_UNIT = r"(?:ns|us|µs|μs|ms|[hms])"  # Go writes the micro sign, others the Greek letter
_HOST = r"(?:\d{1,3}(?:\.\d{1,3}){3}|\[[0-9a-fA-F:.%]+\]|localhost|(?<=//)[\w.-]+|[\w.-]+\.svc(?:\.[\w.-]+)?)"

# The order matters: a timestamp holds digits and colons that later patterns would take apart.
_VARYING: tuple[tuple[re.Pattern[str], str], ...] = (
    (
        re.compile(
            r"\b\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z| ?[+-]\d\d:?\d\d)?"
            r"(?: [A-Z]{3,4})?(?: m=[+-]\d+\.\d+)?"
        ),
        "<time>",
    ),
    (re.compile(r"\b[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}\b"), "<uid>"),
    # a temporary folder with everything above it: Go's os.MkdirTemp, which kustomize-controller builds in
    (re.compile(r"(?<![\w.])(?:/[\w.-]+)*/[\w.]+-\d{6,}(?=/)"), "<temp>"),
    (re.compile(rf"(?<![\w.])(?:\d+(?:\.\d+)?{_UNIT})+(?![\w])"), "<duration>"),
    (re.compile(rf"(?P<keep>{_HOST}):\d{{1,5}}\b"), r"\g<keep>:<port>"),
    (re.compile(rf"(?<=-)[{_POD_ALPHABET}]{{8,10}}-[{_POD_ALPHABET}]{{5}}\b"), "<pod>"),
    (re.compile(r"\brun-(?=[a-z]*\d)[0-9a-z]+\b"), "run-<id>"),
    (re.compile(r"\b0x[0-9a-fA-F]+\b"), "<address>"),
    (re.compile(r"\b(?=[a-f]*\d)(?=\d*[a-f])[0-9a-f]{6,64}\b"), "<hex>"),
    (re.compile(r"(?<=\w\.v)\d+\b"), "<revision>"),
)


_TEMPORARY = re.compile(r"(?<![\w.])(?:/[\w.-]+)*/[\w.]+-\d{6,}/")


def shown_message(message: str) -> str:
    """Return `message` for a reader: paths in a controller's temporary build folder begin at the repository's root."""
    return _TEMPORARY.sub("", message.strip())


def normalise_message(message: str) -> str:
    """Return `message` without what varies between two attempts that fail for the same cause.

    Durations, timestamps, UIDs, temporary folders, ports, hexadecimal ids and digests, generated pod names, run ids and
    Helm release revisions become placeholders. Idempotent. The order of a Go map is not mended: two
    messages that list the same objects in another order stay different.
    """
    message = message.strip()
    while (once := _replace(message)) != message:
        message = once
    return message


def _replace(message: str) -> str:
    """Replace once; a placeholder can lay bare what stood right behind it, so that once is not always enough."""
    for pattern, placeholder in _VARYING:
        message = pattern.sub(placeholder, message)
    return message
