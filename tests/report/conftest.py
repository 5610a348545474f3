"""One browser for all tests of the page."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from fluxdrill.report.browser import Browser, find


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    """Hand out a running chromium; without one skip, or fail where the run asks for it."""
    if find() is None and os.environ.get("FLUXDRILL_REQUIRE_BROWSER"):
        pytest.fail("there is no chromium, and FLUXDRILL_REQUIRE_BROWSER asks for it")
    if find() is None:
        pytest.skip("there is no chromium: install Debian's package chromium to run the page in a browser")
    with Browser() as running:
        yield running
