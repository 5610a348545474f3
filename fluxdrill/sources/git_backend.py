"""`git http-backend` as a CGI program: one request in, one answer out, ended as a group at its deadline."""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import threading
from contextlib import contextmanager
from http.client import HTTPException, parse_headers
from pathlib import Path
from typing import IO, TYPE_CHECKING

from fluxdrill.errors import HarnessError, UsageError
from fluxdrill.process import end_group
from fluxdrill.sources.exchange import Answer, Request, plain_answer
from fluxdrill.sources.git_command import Git, git_environment, git_program

if TYPE_CHECKING:
    from collections.abc import Iterator


class GitBackend:
    """Runs `git http-backend` for the repositories below `root`; `deadline` is in seconds per request."""

    def __init__(self, root: Path, *, deadline: float) -> None:
        self._root = root
        self._deadline = deadline
        self._lock = threading.Lock()
        self._running: set[subprocess.Popen[bytes]] = set()
        self._closed = False

    def open(self) -> None:
        """Raise UsageError where this machine's git has no HTTP backend or the root is no folder."""
        if not self._root.is_dir():
            raise UsageError(f"There is no folder {self._root} to serve.", hint="Create it before the server starts.")
        libexec = Git.within(self._root, 10).text("--exec-path")
        if shutil.which("git-http-backend", path=libexec) is None:
            raise UsageError(
                "This git has no http-backend.",
                hint="Install the package that has it (git-daemon on Alpine and Fedora).",
            )

    def answer(self, request: Request) -> Answer:
        """Return what the backend answers: 504 past the deadline, 502 when it gave no answer, 503 when closed."""
        out = tempfile.TemporaryFile()  # noqa: SIM115 - the sender closes it
        try:
            self._run(request, out)
        except TimeoutError:
            out.close()
            return plain_answer(504, f"git http-backend did not answer within {self._deadline:g} s.")
        except HarnessError as error:
            out.close()
            return plain_answer(503, error.problem)
        return _read_answer(out)

    def close(self) -> None:
        """Kill every running backend with all it started; later requests are answered with 503."""
        with self._lock:
            self._closed = True
            running = tuple(self._running)
        for process in running:
            end_group(process.pid)

    def _run(self, request: Request, out: IO[bytes]) -> None:
        with self._process(request, out) as process:
            try:
                process.wait(self._deadline)
            except subprocess.TimeoutExpired:
                raise TimeoutError from None
            finally:
                if process.returncode is None:
                    end_group(process.pid)
                    process.wait()

    @contextmanager
    def _process(self, request: Request, out: IO[bytes]) -> Iterator[subprocess.Popen[bytes]]:
        with self._lock:  # so that `close` sees every process, or no process starts after it
            if self._closed:
                raise HarnessError("The Git server is stopping.")
            process = subprocess.Popen(
                [git_program(), "http-backend"],
                cwd=self._root,
                env=git_environment(_variables(request, self._root)),
                stdin=request.body,
                stdout=out,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
            self._running.add(process)
        try:
            yield process
        finally:
            with self._lock:
                self._running.discard(process)


def _read_answer(out: IO[bytes]) -> Answer:
    size = out.seek(0, 2)
    out.seek(0)
    try:
        headers = parse_headers(out)
        status = int(headers.get("Status", "200 OK").split()[0])
    except (HTTPException, ValueError, IndexError):
        headers, status = None, 0
    if not headers or not status:
        out.close()
        return plain_answer(502, "git http-backend gave no answer.")
    kept = tuple((name, value) for name, value in headers.items() if name.lower() not in {"status", "content-length"})
    return Answer(status, kept, out, size - out.tell())


def _variables(request: Request, root: Path) -> dict[str, str]:
    """Return the CGI variables of a request (RFC 3875, and those git documents for http-backend)."""
    variables = {
        "GIT_PROJECT_ROOT": str(root),
        "GIT_HTTP_EXPORT_ALL": "1",
        "GATEWAY_INTERFACE": "CGI/1.1",
        "REQUEST_METHOD": request.method,
        "PATH_INFO": request.path,
        "QUERY_STRING": request.query,
        "CONTENT_TYPE": request.headers.get("Content-Type", ""),
        "CONTENT_LENGTH": str(request.length),
        "HTTP_CONTENT_ENCODING": request.headers.get("Content-Encoding", ""),
        "GIT_PROTOCOL": request.headers.get("Git-Protocol", ""),
        "REMOTE_USER": request.user,
        "REMOTE_ADDR": "127.0.0.1",
    }
    return {name: value for name, value in variables.items() if value}
