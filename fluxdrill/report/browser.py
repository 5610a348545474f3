"""A headless chromium that opens a report's page, over its DevTools protocol: for measuring, screenshots and tests."""

from __future__ import annotations

import base64
import json
import shutil
import subprocess
import tempfile
import threading
import time
from collections import deque
from pathlib import Path
from types import TracebackType
from typing import Any, Self

from websocket import WebSocket, WebSocketTimeoutException, create_connection

from fluxdrill.errors import HarnessError
from fluxdrill.process import end_group

PROGRAMS = ("chromium", "chromium-browser", "google-chrome")
QUIET = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--no-proxy-server",
)  # fmt: skip
DEADLINE = 30.0
"""Seconds for the start and for each answer."""
_LISTENING = "DevTools listening on "
_SHOWN = "document.documentElement.dataset.ready === 'true'"


def find() -> str | None:
    """Return the path of a chromium; None where there is none."""
    return next((path for name in PROGRAMS if (path := shutil.which(name))), None)


class Browser:
    """A chromium with one tab, from `with` to its end; raises HarnessError where there is none or it does not answer.

    `errors` are what the console said and the exceptions of the page, `requests` every address that was asked for.
    """

    def __init__(self, program: str | None = None) -> None:
        self._program = program or find()
        self.errors: list[str] = []
        self.requests: list[str] = []
        self._number = 0
        self._session = ""

    def __enter__(self) -> Self:
        if self._program is None:
            raise HarnessError("There is no chromium.", hint="Install it, for example Debian's package chromium.")
        self._profile = tempfile.TemporaryDirectory(prefix="fluxdrill-browser-", ignore_cleanup_errors=True)
        argv = [self._program, *QUIET, f"--user-data-dir={self._profile.name}", "--remote-debugging-port=0"]
        self._process = subprocess.Popen(
            [*argv, "about:blank"], stderr=subprocess.PIPE, text=True, start_new_session=True
        )
        try:
            self._connect()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._socket.close()
        self._end()

    def show(self, *, width: int, height: int, dark: bool = False) -> None:
        """Give the page a size in CSS pixels and a colour scheme; below 640 pixels it is a phone's."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 640}
        self._call("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self._call("Emulation.setEmulatedMedia", features=[scheme])

    def open(self, page: Path, *, complete: bool = True) -> None:
        """Open a page from disk; return once it says that it is complete, or (without `complete`) once it is loaded."""
        self._call("Page.navigate", url=page.resolve().as_uri())
        end = time.monotonic() + DEADLINE
        loaded = f"location.href === {json.dumps(page.resolve().as_uri())} && document.readyState === 'complete'"
        while not self.evaluate(f"{loaded} && {_SHOWN}" if complete else loaded):
            if time.monotonic() > end:
                raise HarnessError(f"The page {page} was not complete after {DEADLINE:g} s: {self.errors[-3:]}")
            self.evaluate("new Promise((done) => requestAnimationFrame(done))")

    def evaluate(self, expression: str) -> Any:
        """Return the value of a JavaScript expression in the page, a promise's once it is kept. Raises HarnessError."""
        found = self._call("Runtime.evaluate", expression=expression, awaitPromise=True, returnByValue=True)
        if "exceptionDetails" in found:
            raise HarnessError(f"The page cannot evaluate {expression[:80]!r}: {found['exceptionDetails']}")
        return found["result"].get("value")

    def screenshot(self, path: Path) -> None:
        """Write what is visible without scrolling as PNG."""
        path.write_bytes(base64.b64decode(self._call("Page.captureScreenshot", format="png")["data"]))

    def _connect(self) -> None:
        address = self._address()
        self._socket: WebSocket = create_connection(
            address, timeout=DEADLINE, suppress_origin=True, http_no_proxy=["*"]
        )
        target = self._call("Target.getTargets")["targetInfos"]
        page = next(one["targetId"] for one in target if one["type"] == "page")
        self._session = self._call("Target.attachToTarget", targetId=page, flatten=True)["sessionId"]
        for domain in ("Page", "Runtime", "Log", "Network"):
            self._call(f"{domain}.enable")

    def _address(self) -> str:
        """Return where it listens, once it says so; what it says later is read and dropped."""
        said: deque[str] = deque(maxlen=5)
        listening = threading.Event()

        def read() -> None:
            for line in self._process.stderr or ():
                if not listening.is_set():
                    said.append(line.strip())
                if line.startswith(_LISTENING):
                    listening.set()

        self._reader = threading.Thread(target=read, name="browser", daemon=True)
        self._reader.start()
        if not listening.wait(DEADLINE):
            raise HarnessError(f"{self._program} does not listen: {' / '.join(said) or 'it said nothing'}.")
        return said[-1].removeprefix(_LISTENING)

    def _call(self, method: str, **parameters: Any) -> dict[str, Any]:
        self._number += 1
        message: dict[str, Any] = {"id": self._number, "method": method, "params": parameters}
        if self._session:
            message["sessionId"] = self._session
        self._socket.send(json.dumps(message))
        while True:
            try:
                answer = json.loads(self._socket.recv())
            except WebSocketTimeoutException as error:
                raise HarnessError(f"The browser did not answer {method} in {DEADLINE:g} s.") from error
            if answer.get("id") == self._number:
                if "error" in answer:
                    raise HarnessError(f"The browser refused {method}: {answer['error'].get('message')}")
                return dict(answer["result"])
            self._note(answer.get("method", ""), answer.get("params", {}))

    def _note(self, event: str, told: dict[str, Any]) -> None:
        match event:
            case "Network.requestWillBeSent":
                self.requests.append(told["request"]["url"])
            case "Log.entryAdded":
                self.errors.append(str(told["entry"]["text"]))
            case "Runtime.exceptionThrown" | "Runtime.consoleAPICalled":
                self.errors.append(json.dumps(told)[:2000])

    def _end(self) -> None:
        """Kill the whole group: a browser is many processes. Its pipe ends once the last of them is gone."""
        end_group(self._process.pid)
        self._process.wait(DEADLINE)
        self._reader.join(DEADLINE)
        if self._process.stderr is not None:
            self._process.stderr.close()
        self._profile.cleanup()
