"""A client of the OCI distribution API, as far as charts need it: push one, move or delete its tag.

Facts: the OCI distribution specification 1.1, and the media types that Helm gives a chart.
"""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass

import urllib3

from fluxdrill.errors import HarnessError

MANIFEST = "application/vnd.oci.image.manifest.v1+json"
CONFIG = "application/vnd.cncf.helm.config.v1+json"
CHART = "application/vnd.cncf.helm.chart.content.v1.tar+gzip"
_TIMEOUT = urllib3.Timeout(connect=5, read=30)


def digest_of(content: bytes) -> str:
    """Return the digest by which a registry knows `content`."""
    return f"sha256:{hashlib.sha256(content).hexdigest()}"


def tag_of(version: str) -> str:
    """Return the tag of a chart's version: a tag has no plus sign, and Helm writes an underscore for it."""
    return version.replace("+", "_")


@dataclass(frozen=True, slots=True)
class Distribution:
    """A registry at `url`, without credentials; every method raises HarnessError where it refuses."""

    url: str
    pool: urllib3.PoolManager

    def push_chart(self, repository: str, version: str, archive: bytes) -> str:
        """Push `archive` as `version`, whatever it holds, and return the digest of its manifest."""
        about = json.dumps({"apiVersion": "v2", "name": repository.rpartition("/")[2], "version": version}).encode()
        manifest = json.dumps(
            {
                "schemaVersion": 2,
                "mediaType": MANIFEST,
                "config": self._push_blob(repository, CONFIG, about),
                "layers": [self._push_blob(repository, CHART, archive)],
            }
        ).encode()
        path = f"{repository}/manifests/{tag_of(version)}"
        self._ask("PUT", path, 201, body=manifest, headers={"Content-Type": MANIFEST})
        return digest_of(manifest)

    def resolve(self, repository: str, version: str) -> str:
        """Return the digest that the tag of `version` points to."""
        answer = self._ask("HEAD", f"{repository}/manifests/{tag_of(version)}", 200, headers={"Accept": MANIFEST})
        return str(answer.headers["Docker-Content-Digest"])

    def delete(self, repository: str, reference: str) -> None:
        """Delete a tag, or a manifest by its digest with every tag that points to it."""
        self._ask("DELETE", f"{repository}/manifests/{tag_of(reference)}", 202)

    def _push_blob(self, repository: str, media_type: str, content: bytes) -> dict[str, object]:
        begun = self._ask("POST", f"{repository}/blobs/uploads/", 202)
        place = str(begun.headers["Location"]).removeprefix(self.url).removeprefix("/v2/")
        mark = "&" if "?" in place else "?"
        sent = {"Content-Type": "application/octet-stream"}
        self._ask("PUT", f"{place}{mark}digest={digest_of(content)}", 201, body=content, headers=sent)
        return {"mediaType": media_type, "digest": digest_of(content), "size": len(content)}

    def _ask(
        self, method: str, path: str, wanted: int, *, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> urllib3.BaseHTTPResponse:
        url = f"{self.url}/v2/{path}"
        try:
            answer = self.pool.request(method, url, body=body, headers=headers, timeout=_TIMEOUT, retries=False)
        except urllib3.exceptions.HTTPError as error:
            raise HarnessError(f"The registry does not answer {method} /v2/{path}: {error}.") from error
        if answer.status != wanted:
            told = answer.data.decode("utf-8", "replace").strip()[:400]
            raise HarnessError(f"The registry answers {method} /v2/{path} with {answer.status}: {told or 'nothing'}.")
        return answer
