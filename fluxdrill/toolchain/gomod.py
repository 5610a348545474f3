"""Read the pins from the toolchain's go.mod files, without needing Go."""

from __future__ import annotations

import re
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.errors import HarnessError

_DIRECTIVE = re.compile(r"^(?P<word>require|tool|go|replace)\s+(?P<rest>\S.*)$")

KUBERNETES_STAGING = (  # noqa: SIM905 - 33 lines of a list would read worse
    "api apiextensions-apiserver apimachinery apiserver cli-runtime client-go cloud-provider cluster-bootstrap "
    "code-generator component-base component-helpers controller-manager cri-api cri-client cri-streaming "
    "csi-translation-lib dynamic-resource-allocation endpointslice externaljwt kms kube-aggregator "
    "kube-controller-manager kube-proxy kube-scheduler kubectl kubelet metrics mount-utils pod-security-admission "
    "sample-apiserver sample-cli-plugin sample-controller streaming"
).split()
"""The staging modules of k8s.io/kubernetes (1.36 and 1.37): its go.mod replaces them by folders, ours by versions."""


@dataclass(frozen=True, slots=True)
class GoModule:
    """One wrapper module: the packages it builds and the module versions it pins."""

    folder: Path
    go: str
    tools: tuple[str, ...]
    requires: Mapping[str, str]

    def pin(self, package: str) -> tuple[str, str]:
        """Return (module path, version) of the module that holds `package`; raises HarnessError if none does."""
        holders = [path for path in self.requires if package == path or package.startswith(f"{path}/")]
        if not holders:
            raise HarnessError(
                f"{self.folder.name}/go.mod pins no module for {package}.", hint="Run `go get -tool` there."
            )
        path = max(holders, key=len)
        return path, self.requires[path]


def read_module(folder: Path) -> GoModule:
    """Read `folder`/go.mod; raises HarnessError where it cannot be read."""
    try:
        text = (folder / "go.mod").read_text(encoding="utf-8")
    except OSError as error:
        raise HarnessError(
            f"{folder}/go.mod cannot be read: {error.strerror}.", hint="Check out the tree again."
        ) from error
    entries = list(_entries(text))
    return GoModule(
        folder=folder,
        go=next((rest for word, rest in entries if word == "go"), ""),
        tools=tuple(rest for word, rest in entries if word == "tool"),
        requires=dict(_pair(rest) for word, rest in entries if word == "require"),
    )


def kubernetes_replaces(version: str) -> str:
    """Return the replace block for k8s.io/kubernetes at `version` ("1.36.3"): staging module 0.x.y for every 1.x.y."""
    staging = re.sub(r"^v?1\.", "v0.", version)
    lines = "".join(f"\tk8s.io/{name} => k8s.io/{name} {staging}\n" for name in KUBERNETES_STAGING)
    return f"replace (\n{lines})\n"


def _entries(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    block = ""
    for raw in text.splitlines():
        line = raw.partition("//")[0].strip()
        if block and line != ")":
            found.extend([(block, line)] if line else [])
        elif line == ")":
            block = ""
        elif match := _DIRECTIVE.match(line):
            if match["rest"] == "(":
                block = match["word"]
            else:
                found.append((match["word"], match["rest"]))
    return found


def _pair(rest: str) -> tuple[str, str]:
    path, _, version = rest.partition(" ")
    return path, version.strip()


if __name__ == "__main__":
    sys.stdout.write(kubernetes_replaces(sys.argv[1]))
