"""With `-n`, who runs what: modules that share a lab or a repository stay together, all other tests go one by one.

The engine's own tests stay together, too: they change what belongs to a whole process (PATH, threads), which is no place for
a lab that others share.
"""

from __future__ import annotations

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from xdist.remote import Producer  # type: ignore[import-untyped]
    from xdist.scheduler import LoadScopeScheduling  # type: ignore[import-untyped]

SHARED = 'scope="module"'


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_make_scheduler(config: pytest.Config, log: Producer) -> LoadScopeScheduling:
    """Return a scheduler that does not tear apart what a fixture of a module holds together.

    `--dist=loadgroup` would do, but the groups of xdist 3.8 are lost with pytest 9.2.
    """
    from xdist.scheduler import LoadScopeScheduling  # noqa: PLC0415 - an optional companion

    @cache
    def is_shared(module: str) -> bool:
        return SHARED in Path(config.rootpath, module).read_text(encoding="utf-8")

    class ByModule(LoadScopeScheduling):  # type: ignore[misc]
        def _split_scope(self, nodeid: str) -> str:
            module = nodeid.partition("::")[0]
            for together in ("tests/", "suites/nodes/"):  # the latter share a cluster of two nodes
                if module.startswith(together):
                    return together
            return module if is_shared(module) else nodeid

    return ByModule(config, log)
