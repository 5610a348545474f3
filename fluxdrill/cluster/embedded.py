"""The embedded provider: etcd, kube-apiserver, kube-controller-manager, kube-scheduler and kwok as plain processes.

Flags and their reasons are measured for Kubernetes 1.36.3 and etcd 3.6.14. Pods are simulated by kwok.
"""

from __future__ import annotations

import http.client
import ssl
import urllib.request
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path

from fluxdrill.cluster import audit
from fluxdrill.cluster.certificates import Authority, KeyPair
from fluxdrill.cluster.kubeconfig import write_kubeconfig
from fluxdrill.cluster.ports import HOST, PortBlock
from fluxdrill.cluster.simulated import write_stages
from fluxdrill.cluster.supervised import Supervised
from fluxdrill.toolchain.build import Tools

START_DEADLINE = 90.0
SERVICE_RANGE = "10.96.0.0/16"
BINARIES = ("etcd", "kube-apiserver", "kube-controller-manager", "kube-scheduler", "kwok")


@dataclass(frozen=True, slots=True)
class ClusterOptions:
    """How a lab's cluster is made.

    `audit` has the API server write an audit log. `safe_etcd` makes etcd write through to the disk, for crash tests of
    etcd: an embedded one does not otherwise, that of real nodes always does. Real nodes only: `workers` beside the
    control plane's node, which then takes no pods but its own; `disk` MiB for what the kubelets of workers hold
    (0: what this machine has), of which they keep a fifth free by evicting pods.
    """

    audit: bool = False
    safe_etcd: bool = False
    workers: int = 0
    disk: int = 0


class EmbeddedCluster:
    """A control plane on loopback with one simulated node; every part is a process of its own.

    `proxy` is the environment of a proxy that refuses the outside: the API server would dial Services (webhooks,
    aggregated APIs) and pods at addresses that nothing on this machine has, so it would dial into the network.
    `processes` maps the program's name to its process. Starting it does not wait for the controller-manager's first
    work: wait for what you need.
    """

    def __init__(
        self,
        folder: Path,
        *,
        lab_id: str,
        tools: Tools,
        ports: PortBlock,
        proxy: Mapping[str, str] | None = None,
        options: ClusterOptions | None = None,
    ) -> None:
        self.folder = folder
        self.lab_id = lab_id
        self._tools = tools
        self._ports = ports
        self._proxy = proxy or {}
        self._options = options or ClusterOptions()
        self._authority = Authority(folder / "pki")
        self._etcd_port, self._api_port = ports.take(), ports.take()
        self.server = f"https://{HOST}:{self._api_port}"
        self.admin_kubeconfig = self._identity("admin", "fluxdrill:admin", groups=("system:masters",))
        self.processes = {
            process.name: process
            for process in (
                self._etcd(),
                self._apiserver(),
                self._controller_manager(),
                self._scheduler(),
                self._kwok(),
            )
        }

    @property
    def authority(self) -> Path:
        """The CA certificate that clients of the API server trust."""
        return self._authority.files.certificate

    @property
    def audit_log(self) -> Path:
        """Where the API server writes its audit log, if it is asked to."""
        return self.folder / "logs" / audit.LOG

    @property
    def api_address(self) -> str:
        """host:port of the API server."""
        return f"{HOST}:{self._api_port}"

    def start_api(self) -> None:
        """Start etcd and the API server and wait until it serves; raises HarnessError with the last words of either."""
        for name in ("etcd", "kube-apiserver"):
            self.processes[name].start()
        for name in ("etcd", "kube-apiserver"):
            self.processes[name].wait_ready(START_DEADLINE)

    def start_controllers(self) -> None:
        """Start controller-manager, scheduler and the simulated node's kwok; they become ready on their own."""
        for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
            self.processes[name].start()

    def wait_controllers(self) -> None:
        """Wait until the processes of `start_controllers` answer as ready."""
        for name in ("kube-controller-manager", "kube-scheduler", "kwok"):
            self.processes[name].wait_ready(START_DEADLINE)

    def memory(self) -> dict[str, int]:
        """Return resident bytes per process."""
        return {name: process.memory() for name, process in self.processes.items()}

    def _identity(self, name: str, user: str, groups: tuple[str, ...] = ()) -> Path:
        pair = self._authority.client(name, common_name=user, groups=groups)
        return write_kubeconfig(
            self.folder / "kubeconfig" / name, server=self.server, authority=self.authority, identity=pair
        )

    def _process(self, name: str, argv: list[str], ready: Callable[[], bool]) -> Supervised:
        return Supervised(
            name,
            [str(self._tools[name]), *argv],
            lab_id=self.lab_id,
            log=self.folder / "logs" / f"{name}.log",
            env=self._proxy,
            ready=ready,
        )

    def _etcd(self) -> Supervised:
        pair = self._authority.server("etcd")
        client, metrics = f"https://{HOST}:{self._etcd_port}", f"http://{HOST}:{self._ports.take()}"
        peer = f"http://{HOST}:{self._ports.take()}"
        argv = [
            "--name=lab",
            f"--data-dir={self.folder / 'etcd'}",
            f"--listen-client-urls={client}",
            f"--advertise-client-urls={client}",
            f"--listen-peer-urls={peer}",
            f"--initial-advertise-peer-urls={peer}",
            f"--initial-cluster=lab={peer}",
            f"--listen-metrics-urls={metrics}",
            f"--cert-file={pair.certificate}",
            f"--key-file={pair.key}",
            f"--trusted-ca-file={self.authority}",
            "--client-cert-auth",
            "--log-level=warn",
        ]
        if not self._options.safe_etcd:
            argv.append("--unsafe-no-fsync")
        return self._process("etcd", argv, http_ready(f"{metrics}/readyz"))

    def _apiserver(self) -> Supervised:
        serving = self._authority.server("apiserver")
        etcd_client = self._authority.client("apiserver-etcd", common_name="kube-apiserver")
        self._token_key = self._authority.signing_key("service-account")
        argv = [
            f"--etcd-servers=https://{HOST}:{self._etcd_port}",
            f"--etcd-cafile={self.authority}",
            f"--etcd-certfile={etcd_client.certificate}",
            f"--etcd-keyfile={etcd_client.key}",
            f"--bind-address={HOST}",
            f"--advertise-address={HOST}",
            f"--secure-port={self._api_port}",
            f"--tls-cert-file={serving.certificate}",
            f"--tls-private-key-file={serving.key}",
            f"--client-ca-file={self.authority}",
            "--service-account-issuer=https://kubernetes.default.svc",
            f"--service-account-key-file={self._token_key.certificate}",
            f"--service-account-signing-key-file={self._token_key.key}",
            "--authorization-mode=RBAC",
            f"--service-cluster-ip-range={SERVICE_RANGE}",
            "--endpoint-reconciler-type=none",
            "--allow-privileged",
            "--profiling=false",
            *self._audit(),
        ]
        return self._process("kube-apiserver", argv, http_ready(f"{self.server}/readyz", authority=self.authority))

    def _audit(self) -> list[str]:
        if not self._options.audit:
            return []
        folder = self.audit_log.parent
        folder.mkdir(exist_ok=True)
        audit.write_policy(folder)
        return [f"--{flag}={value}" for flag, value in audit.arguments(folder).items()]

    def _controller_manager(self) -> Supervised:
        kubeconfig = self._identity("controller-manager", "system:kube-controller-manager", ("system:masters",))
        port = self._ports.take()
        ca: KeyPair = self._authority.files
        argv = [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={HOST}",
            f"--secure-port={port}",
            f"--root-ca-file={ca.certificate}",
            f"--service-account-private-key-file={self._token_key.key}",
            f"--cluster-signing-cert-file={ca.certificate}",
            f"--cluster-signing-key-file={ca.key}",
            "--leader-elect=false",
            # one identity and a high client limit: the default ServiceAccount is there 5 s sooner
            "--use-service-account-credentials=false",
            "--kube-api-qps=300",
            "--kube-api-burst=600",
            "--profiling=false",
        ]
        return self._process("kube-controller-manager", argv, http_ready(f"https://{HOST}:{port}/healthz"))

    def _scheduler(self) -> Supervised:
        kubeconfig = self._identity("scheduler", "system:kube-scheduler")
        port = self._ports.take()
        argv = [
            f"--kubeconfig={kubeconfig}",
            f"--authentication-kubeconfig={kubeconfig}",
            f"--authorization-kubeconfig={kubeconfig}",
            f"--bind-address={HOST}",
            f"--secure-port={port}",
            "--leader-elect=false",
            "--profiling=false",
        ]
        return self._process("kube-scheduler", argv, http_ready(f"https://{HOST}:{port}/healthz"))

    def _kwok(self) -> Supervised:
        kubeconfig = self._identity("kwok", "fluxdrill:kwok", ("system:masters",))
        port = self._ports.take()
        argv = [
            f"--kubeconfig={kubeconfig}",
            f"--server-address={HOST}:{port}",
            f"--config={write_stages(self.folder / 'kwok.yaml')}",
            "--manage-nodes-with-annotation-selector=kwok.x-k8s.io/node=fake",
            f"--node-ip={HOST}",
            # after a restart kwok waits for the end of its predecessor's lease before it does anything
            "--node-lease-duration-seconds=8",
        ]
        return self._process("kwok", argv, http_ready(f"http://{HOST}:{port}/readyz"))


def http_ready(url: str, *, authority: Path | None = None) -> Callable[[], bool]:
    """Return a probe: does `url` answer 200? For our own processes; without `authority` the certificate is not read."""
    opener: urllib.request.OpenerDirector | None = None

    def probe() -> bool:
        nonlocal opener
        if opener is None:
            opener = urllib.request.build_opener(
                urllib.request.ProxyHandler({}), urllib.request.HTTPSHandler(context=_context(authority))
            )
        try:
            with opener.open(url, timeout=2) as answer:
                return bool(answer.status == 200)
        except (http.client.HTTPException, OSError):
            return False

    return probe


def _context(authority: Path | None) -> ssl.SSLContext:
    if authority is not None:
        return ssl.create_default_context(cafile=str(authority))
    context = ssl.create_default_context()
    context.check_hostname = False  # a self-signed health endpoint of our own process on loopback
    context.verify_mode = ssl.CERT_NONE
    return context
