"""inotify and FUSE: each line by given facts, and that what processes use is counted."""

from __future__ import annotations

import pytest

from fluxdrill.doctor import kernel
from fluxdrill.doctor.finding import Level
from fluxdrill.doctor.kernel import Inotify
from tests.processes import line, python, running

HOLD = """
import ctypes, os
libc = ctypes.CDLL(None)
made = [libc.inotify_init() for _ in range(5)]
print(sum(libc.inotify_add_watch(one, folder, 2) > 0 for one in made for folder in (b"/", b"/tmp")))
input()
"""


@pytest.mark.parametrize(
    ("found", "level", "bars", "said"),
    [
        (Inotify(96, 128, 500, 8192), Level.OK, False, "96 of 128 inotify instances are in use, and 500 of 8192 watches"),
        (Inotify(97, 128, 500, 8192), Level.WARN, True, "97 of 128 inotify instances are in use, and a node needs 32. Raise fs.inotify.max_user_instances"),
        (Inotify(112, 128, 500, 8192), Level.WARN, True, "a node needs 32."),
        (Inotify(113, 128, 500, 8192), Level.FAIL, False, "a lab needs 16. Raise fs.inotify.max_user_instances with sysctl"),
        (Inotify(0, 128, 7168, 8192), Level.OK, False, "7168 of 8192 watches"),
        (Inotify(0, 128, 7169, 8192), Level.WARN, True, "nodes need 1024. Raise fs.inotify.max_user_watches with sysctl."),
        (Inotify(0, 128, 0, 8192, whole=False), Level.OK, False, "(without what root uses, which only root sees)"),
    ],
)  # fmt: skip
def test_inotify_by_what_is_used(found: Inotify, level: Level, bars: bool, said: str) -> None:
    finding = kernel.judge_inotify(found)
    assert (finding.level, finding.bars_nodes) == (level, bars)
    assert said in finding.line


@pytest.mark.parametrize(
    ("device", "usable", "program", "level", "said"),
    [
        (True, True, "/usr/bin/fusermount3", Level.OK, "/dev/fuse, and /usr/bin/fusermount3"),
        (True, True, None, Level.WARN, "fusermount3 is not, so this machine itself cannot. Install fuse3."),
        (True, False, "/usr/bin/fusermount3", Level.WARN, "/dev/fuse cannot be opened. Run as root"),
        (False, False, "/usr/bin/fusermount3", Level.WARN, "There is no /dev/fuse; the tests of rclone mounts need it."),
    ],
)  # fmt: skip
def test_fuse_by_what_is_there(device: bool, usable: bool, program: str | None, level: Level, said: str) -> None:
    finding = kernel.judge_fuse(device=device, usable=usable, program=program)
    assert (finding.level, finding.bars_nodes) == (level, False)
    assert said in finding.line


def test_instances_and_watches_of_a_process_are_counted() -> None:
    with running(python(HOLD)) as holder:
        assert line(holder.stdout) == "10"
        assert kernel.used(str(holder.pid)) == (5, 10)
        instances, watches = kernel.used()
        assert instances >= 5
        assert watches >= 10
