"""A real image registry on loopback (CNCF distribution, from its Go module), and what tests put into it."""

from __future__ import annotations

import gzip
import hashlib
import http.client
import http.server
import io
import json
import subprocess
import tarfile
import threading
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import IO

from drills.fixtures.images.definition import Component, GoBuild
from drills.fixtures.toolchain import make_binaries

from drills.waiting import wait_until

MODULE = Path(__file__).parents[1] / "registry"
USER, PASSWORD = "drills", "harmless"
HTPASSWD = f"{USER}:$2b$05$5QT/VmGlQoAHdHljVRc/H.rNyCj6NohKABY6oyvJJA.CKuMX3mK2e\n"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"
INDEX = "application/vnd.oci.image.index.v1+json"
AMD64 = {"os": "linux", "architecture": "amd64"}
ARM64 = {"os": "linux", "architecture": "arm64"}


def program() -> Path:
    """The registry, built once into the cache; go.sum pins what it is built from."""
    component = Component("registry", "v3.1.2", MODULE, builds=(GoBuild((".",)),))
    return make_binaries(component) / "registry"


@dataclass(frozen=True)
class Pushed:
    """A manifest in a registry."""

    digest: str
    size: int
    platform: Mapping[str, str]


@dataclass(frozen=True)
class Registry:
    """A registry that runs.

    Attributes:
        host: 127.0.0.1:PORT; engines speak plain HTTP to it.
        storage: where it keeps what it has.
    """

    host: str
    storage: Path

    def blob(self, digest: str) -> Path:
        """The file that holds a blob."""
        kind, _, value = digest.partition(":")
        return self.storage / "docker/registry/v2/blobs" / kind / value[:2] / value / "data"

    def push_archive(self, archive: Path, repository: str, tag: str) -> Pushed:
        """Put the first image of a `docker save` archive into the registry, its layers as they are."""
        with tarfile.open(archive) as tar:
            (about, *_) = json.load(_member(tar, "manifest.json"))
            config = _member(tar, about["Config"]).read()
            layers = []
            for name in about["Layers"]:
                digest = "sha256:" + hashlib.file_digest(_member(tar, name), "sha256").hexdigest()
                size = tar.getmember(name).size
                self._upload(repository, digest, _member(tar, name), size)
                layers.append(_descriptor("application/vnd.oci.image.layer.v1.tar", digest, size))
        return self._push(repository, tag, config, layers)

    def push(self, repository: str, tag: str, content: str = "", platform: Mapping[str, str] = AMD64) -> Pushed:
        """Put a small image into the registry: one file that holds the content."""
        layer = _layer(content or repository)
        packed = gzip.compress(layer, mtime=0)
        digest = _digest(packed)
        self._upload(repository, digest, io.BytesIO(packed), len(packed))
        config = {
            **platform,
            "config": {"Entrypoint": ["/nothing"]},
            "rootfs": {"type": "layers", "diff_ids": [_digest(layer)]},
        }
        descriptor = _descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest, len(packed))
        return replace(self._push(repository, tag, json.dumps(config).encode(), [descriptor]), platform=platform)

    def push_index(self, repository: str, tag: str, images: Sequence[Pushed]) -> Pushed:
        """Put an index of images into the registry, which are there already."""
        listed = [{**_descriptor(MANIFEST, one.digest, one.size), "platform": dict(one.platform)} for one in images]
        return self._put(repository, tag, INDEX, {"schemaVersion": 2, "mediaType": INDEX, "manifests": listed})

    def _push(self, repository: str, tag: str, config: bytes, layers: list[dict[str, object]]) -> Pushed:
        self._upload(repository, _digest(config), io.BytesIO(config), len(config))
        about = _descriptor("application/vnd.oci.image.config.v1+json", _digest(config), len(config))
        content = {"schemaVersion": 2, "mediaType": MANIFEST, "config": about, "layers": layers}
        return self._put(repository, tag, MANIFEST, content)

    def _put(self, repository: str, tag: str, kind: str, content: Mapping[str, object]) -> Pushed:
        raw = json.dumps(content).encode()
        self._ask("PUT", f"/v2/{repository}/manifests/{tag}", raw, {"Content-Type": kind})
        return Pushed(_digest(raw), len(raw), AMD64)

    def _upload(self, repository: str, digest: str, content: IO[bytes], size: int) -> None:
        where = self._ask("POST", f"/v2/{repository}/blobs/uploads/")
        headers = {"Content-Length": str(size), "Content-Type": "application/octet-stream"}
        self._ask("PUT", f"{where}{'&' if '?' in where else '?'}digest={digest}", content, headers)

    def _ask(self, method: str, path: str, body: object = None, headers: Mapping[str, str] | None = None) -> str:
        connection = http.client.HTTPConnection(self.host, timeout=120)
        connection.request(method, path.removeprefix(f"http://{self.host}"), body, headers or {})  # type: ignore[arg-type] # bytes, or a file
        answer = connection.getresponse()
        said = answer.read()
        connection.close()
        assert answer.status < 300, (method, path, answer.status, said)
        return answer.headers.get("Location", "")


@contextmanager
def serve(
    directory: Path, port: int, *, login: bool = False, mirrors: str = "", storage: Path | None = None
) -> Iterator[Registry]:
    """Run a registry.

    Args:
        directory: for its settings, its log and, unless `storage` is given, what it keeps.
        port: on loopback.
        login: whether it asks for USER and PASSWORD.
        mirrors: the host of the registry that it is a mirror of, which asks for these.
        storage: where another registry keeps what it has: the same is served.
    """
    directory.mkdir(parents=True)
    (directory / "htpasswd").write_text(HTPASSWD)
    settings: dict[str, object] = {
        "version": "0.1",
        "log": {"level": "warn"},
        "storage": {
            "filesystem": {"rootdirectory": str(storage or directory / "storage")},
            "delete": {"enabled": True},
        },
        "http": {"addr": f"127.0.0.1:{port}"},
    }
    if login:
        settings["auth"] = {"htpasswd": {"realm": "drills", "path": str(directory / "htpasswd")}}
    if mirrors:
        settings["proxy"] = {"remoteurl": f"http://{mirrors}", "username": USER, "password": PASSWORD}
    (directory / "config.json").write_text(json.dumps(settings))  # which YAML is a superset of
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([program(), "serve", directory / "config.json"], stdout=log, stderr=log)
    try:
        host = f"127.0.0.1:{port}"

        def answers() -> bool:
            assert process.poll() is None, (directory / "log").read_text()
            connection = http.client.HTTPConnection(host, timeout=2)
            connection.request("GET", "/v2/")
            return connection.getresponse().status in {200, 401}

        wait_until(answers, what="the registry answers", within_s=30, retry_on=(OSError,))
        yield Registry(host, storage or directory / "storage")
    finally:
        process.terminate()
        process.wait(30)


REFUSALS = {
    429: {"code": "TOOMANYREQUESTS", "message": "You have reached your pull rate limit."},
    503: {"code": "UNAVAILABLE", "message": "service unavailable"},
    401: {"code": "UNAUTHORIZED", "message": "authentication required"},
}


@contextmanager
def refusing(port: int, code: int) -> Iterator[str]:
    """Serve what says that it is a registry, and then refuses everything with one status."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            status, body = (
                (200, b"{}") if self.path == "/v2/" else (code, json.dumps({"errors": [REFUSALS[code]]}).encode())
            )
            self.send_response(status)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        do_HEAD = do_GET  # noqa: N815 - as http.server asks for it

        def log_message(self, *_: object) -> None:
            pass

    server = http.server.ThreadingHTTPServer(("127.0.0.1", port), Handler)
    threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()
    try:
        yield f"127.0.0.1:{port}"
    finally:
        server.shutdown()
        server.server_close()


def _member(tar: tarfile.TarFile, name: str) -> IO[bytes]:
    stream = tar.extractfile(name)
    assert stream is not None, name
    return stream


def _digest(content: bytes) -> str:
    return "sha256:" + hashlib.sha256(content).hexdigest()


def _descriptor(kind: str, digest: str, size: int) -> dict[str, object]:
    return {"mediaType": kind, "digest": digest, "size": size}


def _layer(content: str) -> bytes:
    raw = io.BytesIO()
    with tarfile.open(fileobj=raw, mode="w") as tar:
        member = tarfile.TarInfo("content")
        member.size = len(content.encode())
        tar.addfile(member, io.BytesIO(content.encode()))
    return raw.getvalue()
