"""Tiny wrapper modules that the real Go builds in a second, without a network."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from fluxdrill.progress import Silent
from fluxdrill.toolchain.catalog import Binary

PACKAGE = "example.invalid/hello"
PRINT_VERSION = """package main

import "fmt"

var Version = "none"

func main() { fmt.Println("hello version", Version) }
"""


def go_mod(version: str = "v1.2.3", *, go: str = "1.21") -> str:
    """Return a wrapper's go.mod: the program is a required module, in a folder beside it."""
    return (
        f"module example.invalid/wrapper\n\ngo {go}\n\ntool {PACKAGE}\n\n"
        f"require {PACKAGE} {version}\n\nreplace {PACKAGE} => ./hello\n"
    )


def wrapper(folder: Path, version: str = "v1.2.3", *, source: str = PRINT_VERSION) -> Binary:
    """Write a wrapper module into `folder` and return its program, which prints its pinned version."""
    hello = folder / "hello"
    hello.mkdir(parents=True)
    (folder / "go.mod").write_text(go_mod(version))
    (hello / "go.mod").write_text(f"module {PACKAGE}\n\ngo 1.21\n")
    (hello / "main.go").write_text(source)
    return Binary("hello", folder, PACKAGE, ("--version",), ("main.Version={version}",))


def silent_about_version(binary: Binary) -> Binary:
    """Return the program as one whose version is only in Go's build information."""
    return dataclasses.replace(binary, version_argv=())


def script(path: Path, *lines: str) -> Path:
    """Write an executable shell script."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(["#!/bin/sh", *lines, ""]))
    path.chmod(0o755)
    return path


class Recorded(Silent):
    """Progress that remembers what it was told."""

    def __init__(self) -> None:
        self.updates: list[str] = []
        self.notes: list[str] = []

    def update(self, text: str) -> None:
        self.updates.append(text)

    def note(self, text: str) -> None:
        self.notes.append(text)
