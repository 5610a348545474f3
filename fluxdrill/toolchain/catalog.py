"""What the toolchain is made of: every binary and file set, its wrapper module and how its version is told."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.errors import UsageError
from fluxdrill.toolchain.gomod import GoModule, read_module

FLUX_CONTROLLERS = (
    "source-controller",
    "kustomize-controller",
    "helm-controller",
    "notification-controller",
    "image-reflector-controller",
    "image-automation-controller",
)

NEXT = "@v1.37"
"""What follows a program's name where it is that of the Kubernetes a cluster is upgraded to."""

_KUBERNETES_STAMPS = tuple(
    f"{package}.{value}"
    for package in ("k8s.io/component-base/version", "k8s.io/client-go/pkg/version")
    for value in (
        "gitVersion={version}",
        "gitMajor={major}",
        "gitMinor={minor}",
        "gitTreeState=clean",
        "buildDate=1970-01-01T00:00:00Z",
    )
)


@dataclass(frozen=True, slots=True)
class Binary:
    """One program: built from `package` with the wrapper module in `folder`, which pins its version.

    `version_argv` prints the version (empty: nothing does, Go's build information is read instead). `stamps` are the
    variables that the linker sets, for programs that know their version from there only; {version}, {bare} (without
    the v), {major} and {minor} are filled in. A program of our own has its source in `folder` and says its version.
    """

    name: str
    folder: Path
    package: str
    version_argv: tuple[str, ...] = ()
    stamps: tuple[str, ...] = ()
    own_version: str = ""

    @property
    def module(self) -> GoModule:
        """The wrapper module that pins it."""
        return read_module(self.folder)

    @property
    def version(self) -> str:
        """The pinned version, with its leading v."""
        return self.own_version or self.module.pin(self.package)[1]

    @property
    def ldflags(self) -> str:
        """Linker flags: no symbol tables, and the stamps."""
        version = self.version
        major, minor = (*re.findall(r"\d+", version), "", "")[:2]
        values = {"version": version, "bare": version.removeprefix("v"), "major": major, "minor": minor}
        return " ".join(["-s", "-w", *(f"-X {stamp.format(**values)}" for stamp in self.stamps)])


@dataclass(frozen=True, slots=True)
class FileSet:
    """Files of a pinned module that a lab applies as they are: CRDs, RBAC, stages."""

    name: str
    folder: Path
    module: str
    patterns: tuple[str, ...]

    @property
    def version(self) -> str:
        """The pinned version of the module the files come from."""
        return read_module(self.folder).pin(self.module)[1]


@dataclass(frozen=True, slots=True)
class Catalog:
    """A set of binaries and file sets; names are unique over all. `on_demand` is built only where it is named."""

    binaries: tuple[Binary, ...]
    files: tuple[FileSet, ...] = ()
    on_demand: tuple[Binary, ...] = ()

    def __iter__(self) -> Iterator[Binary | FileSet]:
        """Yield the binaries, then the file sets, without those on demand."""
        yield from self.binaries
        yield from self.files

    def every(self) -> Iterator[Binary | FileSet]:
        """Yield all, also those on demand."""
        yield from self
        yield from self.on_demand

    def find(self, name: str) -> Binary | FileSet:
        """Return what is called `name`, also on demand; raises UsageError for a name that is not pinned."""
        for candidate in self.every():
            if candidate.name == name:
                return candidate
        known = ", ".join(one.name for one in self.every())
        raise UsageError(f"There is no pinned program or file set called {name!r}.", hint=f"Known: {known}.")


def modules_root() -> Path:
    """Return the folder of wrapper modules: in a checkout `toolchain/`, in an installed package its copy."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_toolchain"
    return installed if installed.is_dir() else package.parent / "toolchain"


def images_root() -> Path:
    """Return the folder of what images are made from: in a checkout `images/`, in an installed package its copy."""
    package = Path(__file__).resolve().parent.parent
    installed = package / "_images"
    return installed if installed.is_dir() else package.parent / "images"


def _binary(family: str, name: str, package: str, *version_argv: str, stamps: tuple[str, ...] = ()) -> Binary:
    return Binary(name, modules_root() / family, package, version_argv, stamps)


def _kubernetes(name: str) -> Binary:
    return _binary("kubernetes/v1.36", name, f"k8s.io/kubernetes/cmd/{name}", "--version", stamps=_KUBERNETES_STAMPS)


def _node_part(name: str, *version_argv: str) -> Binary:
    package = f"k8s.io/kubernetes/cmd/{name}"
    return _binary("kubernetes/v1.36-node", name, package, *version_argv, stamps=_KUBERNETES_STAMPS)


def _next_kubernetes(name: str, *version_argv: str) -> Binary:
    package = f"k8s.io/kubernetes/cmd/{name}"
    return _binary("kubernetes/v1.37", name + NEXT, package, *version_argv, stamps=_KUBERNETES_STAMPS)


def _containerd(name: str) -> Binary:
    package = f"github.com/containerd/containerd/v2/cmd/{name}"
    stamps = ("github.com/containerd/containerd/v2/version.Version={bare}",)
    return _binary("containerd", name, package, "--version", stamps=stamps)


def _sealed_secrets(name: str, command: str) -> Binary:
    package = f"github.com/bitnami-labs/sealed-secrets/cmd/{command}"
    return _binary("sealed-secrets", name, package, "--version", stamps=("main.VERSION={bare}",))


BINARIES: tuple[Binary, ...] = (
    _binary("etcd", "etcd", "go.etcd.io/etcd/server/v3", "--version"),
    _kubernetes("kube-apiserver"),
    _kubernetes("kube-controller-manager"),
    _kubernetes("kube-scheduler"),
    _binary(
        "kwok",
        "kwok",
        "sigs.k8s.io/kwok/cmd/kwok",
        "--version",
        stamps=("sigs.k8s.io/kwok/pkg/consts.Version={version}",),
    ),
    *(_binary(f"flux/{name}", name, f"github.com/fluxcd/{name}") for name in FLUX_CONTROLLERS),
    _binary(
        "toxiproxy",
        "toxiproxy-server",
        "github.com/Shopify/toxiproxy/v2/cmd/server",
        "-version",
        stamps=("github.com/Shopify/toxiproxy/v2.Version={bare}",),
    ),
    _binary("kustomize", "kustomize", "sigs.k8s.io/kustomize/kustomize/v5"),
    _sealed_secrets("sealed-secrets-controller", "controller"),
    _sealed_secrets("kubeseal", "kubeseal"),
    _binary(
        "registry",
        "registry",
        "github.com/distribution/distribution/v3/cmd/registry",
        "--version",
        stamps=("github.com/distribution/distribution/v3/version.version={version}",),
    ),
    _binary(
        "helm",
        "helm",
        "helm.sh/helm/v4/cmd/helm",
        "version",
        stamps=("helm.sh/helm/v4/internal/version.version={version}",),
    ),
)

FILE_SETS: tuple[FileSet, ...] = (
    *(
        FileSet(
            f"{name}-crds", modules_root() / "flux" / name, f"github.com/fluxcd/{name}", ("config/crd/bases/*.yaml",)
        )
        for name in FLUX_CONTROLLERS
    ),
    *(
        FileSet(
            f"{name}-manager",
            modules_root() / "flux" / name,
            f"github.com/fluxcd/{name}",
            ("config/manager/deployment.yaml", "config/manager/service.yaml"),
        )
        for name in FLUX_CONTROLLERS
    ),
    FileSet(
        "flux-rbac", modules_root() / "flux/distribution", "github.com/fluxcd/flux2/v2", ("manifests/rbac/*.yaml",)
    ),
    FileSet(
        "flux-patches",
        modules_root() / "flux/distribution",
        "github.com/fluxcd/flux2/v2",
        ("manifests/bases/*/patch.yaml",),
    ),
    FileSet(
        "sealed-secrets-crds",
        modules_root() / "sealed-secrets",
        "github.com/bitnami-labs/sealed-secrets",
        ("helm/sealed-secrets/crds/*.yaml",),
    ),
)

CLUSTER_BINARIES: tuple[Binary, ...] = (
    _binary("kind", "kind", "sigs.k8s.io/kind", "--version"),
    _binary(
        "k3d",
        "k3d",
        "github.com/k3d-io/k3d/v5",
        "--version",
        stamps=("github.com/k3d-io/k3d/v5/version.Version={version}",),
    ),
    _node_part("kubelet", "--version"),
    _node_part("kubeadm", "version", "--output=short"),
    _node_part("kubectl", "version", "--client"),
    _node_part("kube-proxy", "--version"),
    *(_containerd(name) for name in ("containerd", "containerd-shim-runc-v2", "ctr")),
    _binary("coredns", "coredns", "github.com/coredns/coredns", "--version"),
    Binary("pause", images_root() / "pause", "fluxdrill.invalid/images/pause", own_version="v3.10.2"),
)
"""What clusters of containers are made of; an embedded lab needs none of it."""

NEXT_KUBERNETES: tuple[Binary, ...] = (
    _next_kubernetes("kube-apiserver", "--version"),
    _next_kubernetes("kube-controller-manager", "--version"),
    _next_kubernetes("kube-scheduler", "--version"),
    _next_kubernetes("kube-proxy", "--version"),
    _next_kubernetes("kubelet", "--version"),
    _next_kubernetes("kubeadm", "version", "--output=short"),
    _next_kubernetes("kubectl", "version", "--client"),
)
"""The next minor version, for upgrades of a cluster; nothing else needs it."""

PINNED = Catalog(BINARIES, FILE_SETS, (*CLUSTER_BINARIES, *NEXT_KUBERNETES))
"""What fluxdrill itself pins."""
