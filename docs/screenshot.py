"""Take the screenshots of the docs from real runs: `python docs/screenshot.py [NAME...]`, from the repository's root.

Each image is the report of a run that is made here, in headless chromium. The runs of broken examples must fail: a
picture of a failure that was none is not written.
"""

from __future__ import annotations

import os
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.process import run
from fluxdrill.report.browser import Browser

IMAGES = Path("docs/images")
BROKEN = "docs/examples/broken-chain"
ENTRY = "clusters/lab"
DEADLINE = 600.0
_TO_TIMELINE = "document.getElementById('timeline').scrollIntoView()"


@dataclass(frozen=True, slots=True)
class Image:
    """A picture: the command whose report it shows, the exit code that it must end with, and how it is looked at."""

    argv: tuple[str, ...]
    exit_code: int
    width: int = 1280
    height: int = 860
    dark: bool = False
    before: str = ""
    """JavaScript that is run before the picture is taken."""


_FAILED = ("pytest", "suites/ordering/test_repository.py", "--lab-repo", BROKEN, "--lab-path", ENTRY)
_NARROW = ("fluxdrill", "scenario", "run", "docs/examples/scenarios/too-narrow.yaml")
_DOWN = ("fluxdrill", "scenario", "run", "scenarios/git/down.yaml")
_TO_SCENARIO = "document.querySelector('#s0 button').click()"
ALL = {
    "rehearsal": Image(("fluxdrill", "rehearse", BROKEN, "--path", ENTRY), 1),
    "failed-run": Image(_FAILED, 1),
    "failed-run-phone": Image(_FAILED, 1, width=390, height=844, dark=True),
    "disturbed": Image(("pytest", "suites/ordering/test_disturbed.py"), 0, before=_TO_TIMELINE),
    "scenario-deviated": Image(_NARROW, 1, height=560),
    "scenario-timeline": Image(_DOWN, 0, height=460, before=_TO_SCENARIO),
}


def main(names: list[str]) -> int:
    """Take the named pictures (default: all); return an exit code."""
    unknown = set(names) - set(ALL)
    if unknown:
        sys.stderr.write(f"There is no picture {min(unknown)}. Known: {', '.join(ALL)}.\n")
        return 4
    runs: dict[tuple[str, ...], Path] = {}
    with tempfile.TemporaryDirectory(prefix="fluxdrill-screenshots-") as scratch, Browser() as browser:
        for name in names or ALL:
            image = ALL[name]
            if image.argv not in runs:
                runs[image.argv] = report_of(image, Path(scratch) / name)
            browser.show(width=image.width, height=image.height, dark=image.dark)
            browser.open(runs[image.argv])
            browser.evaluate(image.before or "true")
            browser.screenshot(IMAGES / f"{name}.png")
            sys.stderr.write(f"{IMAGES / name}.png\n")
    return 0


def report_of(image: Image, reports: Path) -> Path:
    """Run the image's command and return its report's page; raises SystemExit where it ended otherwise than it must."""
    folder = ("--reports", str(reports)) if image.argv[0] == "fluxdrill" else ()
    # by its environment, so that the title of the page is what a reader would type
    environment = {**os.environ, "FLUXDRILL_LAB_REPORTS": str(reports)}
    program = Path(sys.executable).with_name(image.argv[0])
    done = run([program, *image.argv[1:], *folder], deadline=DEADLINE, env=environment)
    page = reports / "latest" / "index.html"
    if done.returncode != image.exit_code or not page.exists():
        sys.stderr.write(f"{done.text[-3000:]}\n{done.stderr[-2000:]}\n")
        raise SystemExit(f"{' '.join(image.argv)} ended with {done.returncode} instead of {image.exit_code}.")
    return page


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
