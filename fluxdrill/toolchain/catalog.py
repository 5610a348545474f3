"""What the toolchain is made of: every binary and file set, its wrapper module and how its version is told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

from fluxdrill.errors import UsageError
from fluxdrill.toolchain.gomod import GoModule, read_module

KUBERNETES = "kubernetes/v1.36"
FLUX_CONTROLLERS = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
)


@dataclass(frozen=True, slots=True)
class Binary:
    """One program: built from `package` of the wrapper module in `family`.

    `version_argv` prints its version (empty: it cannot, Go's build information is read instead).
    """

    name: str
    family: str
    package: str
    version_argv: tuple[str, ...] = ()

    @property
    def module(self) -> GoModule:
        """The wrapper module that pins it."""
        return family_module(self.family)

    @property
    def version(self) -> str:
        """The pinned version, with its leading v."""
        return self.module.pin(self.package)[1]

    @property
    def ldflags(self) -> str:
        """Linker flags: no symbol tables, and the version where the program reads it from the linker."""
        return " ".join(["-s", "-w", *_stamps(self)])


@dataclass(frozen=True, slots=True)
class Assets:
    """Files of a pinned module that a lab applies as they are: CRDs, RBAC, stages."""

    name: str
    family: str
    module: str
    patterns: tuple[str, ...] = field(default=())

    @property
    def version(self) -> str:
        """The pinned version of the module the files come from."""
        return family_module(self.family).requires[self.module]


def _kubernetes(name: str) -> Binary:
    return Binary(name, KUBERNETES, f"k8s.io/kubernetes/cmd/{name}", ("--version",))


BINARIES: tuple[Binary, ...] = (
    Binary("etcd", "etcd", "go.etcd.io/etcd/server/v3", ("--version",)),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    Binary("kwok", "kwok", "sigs.k8s.io/kwok/cmd/kwok", ("--version",)),
    *(Binary(name, f"flux/{name}", f"github.com/fluxcd/{name}") for name in FLUX_CONTROLLERS),
    Binary("toxiproxy-server", "toxiproxy", "github.com/Shopify/toxiproxy/v2/cmd/server", ("-version",)),
    Binary("kustomize", "kustomize", "sigs.k8s.io/kustomize/kustomize/v5"),
)

ASSETS: tuple[Assets, ...] = (
    *(
        Assets(f"{name}-crds", f"flux/{name}", f"github.com/fluxcd/{name}", ("config/crd/bases/*.yaml",))
        for name in FLUX_CONTROLLERS
    ),
    Assets("flux-rbac", "flux/distribution", "github.com/fluxcd/flux2/v2", ("manifests/rbac/*.yaml",)),
    Assets("kwok-stages", "kwok", "sigs.k8s.io/kwok", ("kustomize/stage/**/*.yaml",)),
)


def binary(name: str) -> Binary:
    """Return the binary called `name`; raises UsageError for a name that is not pinned."""
    for candidate in BINARIES:
        if candidate.name == name:
            return candidate
    known = ", ".join(one.name for one in BINARIES)
    raise UsageError(f"There is no pinned binary called {name!r}.", hint=f"Known: {known}.")


def assets(name: str) -> Assets:
    """Return the file set called `name`; raises UsageError for a name that is not pinned."""
    for candidate in ASSETS:
        if candidate.name == name:
            return candidate
    raise UsageError(f"There is no pinned file set called {name!r}.", hint="See `fluxdrill toolchain list`.")


def modules_root() -> Path:
    """Return the folder of wrapper modules: in a checkout `toolchain/`, in an installed package its copy."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_toolchain"
    return installed if installed.is_dir() else package.parent / "toolchain"


@cache
def family_module(family: str) -> GoModule:
    """Read (once) the wrapper module of `family`, a path below `modules_root()`."""
    return read_module(modules_root() / family)


def _stamps(binary: Binary) -> list[str]:
    version = binary.version
    if binary.family.startswith("kubernetes/"):
        return _kubernetes_stamps(version)
    if binary.name == "kwok":
        return [f"-X sigs.k8s.io/kwok/pkg/consts.Version={version}"]
    if binary.name == "toxiproxy-server":
        return [f"-X github.com/Shopify/toxiproxy/v2.Version={version.removeprefix('v')}"]
    return []


def _kubernetes_stamps(version: str) -> list[str]:
    match = re.fullmatch(r"v(\d+)\.(\d+)\..*", version)
    if match is None:
        raise UsageError(f"{version!r} is not a Kubernetes version.", hint="Write it like v1.36.3.")
    values = {
        "gitVersion": version,
        "gitMajor": match[1],
        "gitMinor": match[2],
        "gitTreeState": "clean",
        "buildDate": "1970-01-01T00:00:00Z",
    }
    packages = ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    return [f"-X {package}.{key}={value}" for package in packages for key, value in values.items()]
