"""One address of the API server per client: toxiproxy between each controller and the API server.

The place where a network fault between one controller and the API server is made.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path

from fluxdrill.cluster.embedded import http_ready
from fluxdrill.cluster.ports import HOST, PortBlock
from fluxdrill.cluster.supervised import Supervised
from fluxdrill.toolchain.build import Tools


class ApiProxy:
    """A toxiproxy process with one TCP proxy per client; `server(client)` is the URL for its kubeconfig.

    `host` is the address of this machine where clients find it; it is told what to do on loopback only.
    """

    def __init__(
        self,
        clients: Iterable[str],
        *,
        upstream: str,
        folder: Path,
        lab_id: str,
        tools: Tools,
        ports: PortBlock,
        host: str = HOST,
    ) -> None:
        self._listen = {client: f"{host}:{ports.take()}" for client in clients}
        control = ports.take()
        config = folder / "toxiproxy.json"
        proxies = [
            {"name": client, "listen": address, "upstream": upstream, "enabled": True}
            for client, address in self._listen.items()
        ]
        config.write_text(json.dumps(proxies), encoding="utf-8")
        self.control = f"http://{HOST}:{control}"
        self.process = Supervised(
            "toxiproxy",
            [str(tools["toxiproxy-server"]), "-host", HOST, "-port", str(control), "-config", str(config)],
            lab_id=lab_id,
            log=folder / "logs" / "toxiproxy.log",
            ready=http_ready(f"{self.control}/version"),
        )

    def server(self, client: str) -> str:
        """Return the API server's URL as `client` sees it."""
        return f"https://{self._listen[client]}"
