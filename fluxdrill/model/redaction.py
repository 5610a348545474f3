"""Keep secrets out of texts: whatever is known to be secret is masked, and so is what looks like one."""

from __future__ import annotations

import re
from collections.abc import Iterable

MASK = "[redacted]"
_SHORTEST = 4
"""Shorter values are no secrets but words: masking them would make a text unreadable."""

_PATTERNS = (
    re.compile(r"eyJ[\w-]{8,}\.[\w-]{8,}\.[\w-]{8,}"),  # a JSON web token
    re.compile(r"-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)", re.DOTALL),
    re.compile(r"(?<=://)[^/\s:@]+:[^/\s@]+(?=@)"),  # user:password in a URL
    re.compile(r"(?i)(?<=authorization: )\S+ \S+"),
    re.compile(r"AGE-SECRET-KEY-1[A-Z0-9]+"),
)


class Redactor:
    """Masks known secrets and what looks like one; the values themselves are never shown, not even by `repr`."""

    __slots__ = ("_known",)

    def __init__(self, known: Iterable[str] = ()) -> None:
        # longest first: a secret may contain another one
        self._known = sorted({value for value in known if len(value) >= _SHORTEST}, key=len, reverse=True)

    def __repr__(self) -> str:
        return f"Redactor({len(self._known)} known)"

    def __call__(self, text: str) -> str:
        """Return `text` with every secret replaced by a mask."""
        for value in self._known:
            text = text.replace(value, MASK)
        for pattern in _PATTERNS:
            text = pattern.sub(MASK, text)
        return text
