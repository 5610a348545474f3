"""Take the screenshots of the docs: `python docs/screenshot.py PAGE.html OUT.png` opens a report in headless chromium."""

from __future__ import annotations

import shutil
import sys
import tempfile
from pathlib import Path

from fluxdrill.process import run

SIZE = "1280,860"


def main(page: Path, out: Path) -> int:
    """Render `page` to `out`; return an exit code."""
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None:
        sys.stderr.write("There is no chromium. Install it, for example Debian's package chromium.\n")
        return 4
    quiet = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    with tempfile.TemporaryDirectory() as profile:
        shot = [f"--user-data-dir={profile}", f"--window-size={SIZE}", "--hide-scrollbars", f"--screenshot={out}"]
        done = run([browser, *quiet, *shot, "--virtual-time-budget=3000", page.resolve().as_uri()], deadline=60)
    sys.stderr.write(done.stderr if done.returncode else "")
    return done.returncode


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1]), Path(sys.argv[2])))
