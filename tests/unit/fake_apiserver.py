"""A small, real HTTP server that speaks enough of the Kubernetes API to be waited for, and misbehaves as told.

It serves any kind under /api and /apis: get, list (with metadata.name and label selectors, paged), watch, create,
apply, merge patch, delete and evict. Every change takes the next resourceVersion, and a watch starts after the version
it names, as on the real thing. The misbehaviour is that of API servers in trouble: see `FakeApiServer`'s attributes.
"""

from __future__ import annotations

import contextlib
import json
import socket
import threading
import time
from collections import deque
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

Manifest = dict[str, Any]

CUSTOM = {
    "velero.io/v1": [
        {"name": "backups", "kind": "Backup", "namespaced": True},
        {"name": "backups/status", "kind": "Backup", "namespaced": True},
    ]
}


@dataclass
class Answer:
    """A scripted answer, given instead of the right one."""

    status: int
    headers: dict[str, str] = field(default_factory=dict)
    body: Manifest | str = field(default_factory=dict)


class FakeApiServer:
    """The server and its contents.

    close_watches_after_s: every watch ends cleanly after so long, the case in which kr8s 0.20.15 returns early.
    deaf_watches: watches say nothing at all and stay open.
    gone_watches: so many next watches begin with a 410 ERROR event.
    lying_watches: a watch reports this object first, whatever is true.
    hang_s: every request is left without answer for so long.
    script: the next answers, whatever is asked; `always` is one that is never used up.
    """

    def __init__(self) -> None:
        self.objects: dict[tuple[str, str], Manifest] = {}  # (collection path, name) -> object
        self.log: list[tuple[str, str]] = []
        self.bodies: list[Manifest] = []
        self.headers: list[dict[str, str]] = []
        self.close_watches_after_s: float | None = None
        self.deaf_watches = False
        self.gone_watches = 0
        self.lying_watches: Manifest | None = None
        self.hang_s = 0.0
        self.script: deque[Answer] = deque()
        self.always: Answer | None = None
        self.budget_refuses = False
        self._version = 100
        self._changes: list[tuple[int, str, str, Manifest]] = []  # version, collection path, type, object
        self._changed = threading.Condition()
        self._stopping = threading.Event()
        self._open: set[socket.socket] = set()
        self._timers: list[threading.Timer] = []
        self._listen(0)

    # Contents

    def put(self, collection: str, manifest: Manifest) -> Manifest:
        """Make or replace an object; `collection` is its path, like /api/v1/namespaces/shop/pods."""
        with self._changed:
            name = manifest["metadata"]["name"]
            former = self.objects.get((collection, name))
            self._version += 1
            metadata = {"uid": f"uid-{self._version}", **(former["metadata"] if former else {}), **manifest["metadata"]}
            stored = {**manifest, "metadata": {**metadata, "resourceVersion": str(self._version)}}
            self.objects[collection, name] = stored
            self._changes.append((self._version, collection, "MODIFIED" if former else "ADDED", stored))
            self._changed.notify_all()
            return stored

    def remove(self, collection: str, name: str) -> Manifest | None:
        with self._changed:
            former = self.objects.pop((collection, name), None)
            if former is not None:
                self._version += 1
                self._changes.append((self._version, collection, "DELETED", former))
                self._changed.notify_all()
            return former

    def later(self, after_s: float, action: Any, *args: Any) -> None:
        """Do something to the server after so many seconds."""
        timer = threading.Timer(after_s, action, args)
        timer.daemon = True
        timer.start()
        self._timers.append(timer)

    # Life

    def refuse(self) -> None:
        """Close the port and cut every connection."""
        self._server.shutdown()
        self._server.server_close()
        for one in list(self._open):
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)

    def refuse_for(self, seconds: float) -> None:
        """Refuse connections from now on, and come back after so long."""
        self.refuse()
        self.later(seconds, self._listen, self.port)

    def stop(self) -> None:
        self._stopping.set()
        with self._changed:
            self._changed.notify_all()
        for timer in self._timers:
            timer.cancel()
        self.refuse()

    def kubeconfig(self, folder: Path, host: str = "127.0.0.1") -> Path:
        path = folder / "kubeconfig"
        config = {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": "fake",
            "contexts": [{"name": "fake", "context": {"cluster": "fake", "user": "fake"}}],
            "clusters": [{"name": "fake", "cluster": {"server": f"http://{host}:{self.port}"}}],
            "users": [{"name": "fake", "user": {"token": "letmein"}}],
        }
        path.write_text(json.dumps(config))
        return path

    def _listen(self, port: int) -> None:
        fake = self

        class Handler(_Handler):
            server_fake = fake

        self._server = _Server(("127.0.0.1", port), Handler)
        self.port = self._server.server_address[1]
        threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.02}, daemon=True).start()

    # Answers (called by the handlers)

    def listing(self, collection: str, query: dict[str, str]) -> Manifest:
        with self._changed:
            found = [
                one for (place, _), one in self.objects.items() if _within(place, collection) and _selected(one, query)
            ]
            start = int(query.get("continue", "0"))
            limit = int(query.get("limit", "0")) or len(found) or 1
            more = str(start + limit) if start + limit < len(found) else ""
            # As on the real thing, items do not say of what kind they are.
            items = [{k: v for k, v in one.items() if k not in ("kind", "apiVersion")} for one in found]
            return {
                "kind": "List",
                "metadata": {"resourceVersion": str(self._version), "continue": more},
                "items": items[start : start + limit],
            }

    def next_change(
        self, collection: str, query: dict[str, str], after: int, until: float
    ) -> tuple[int, Manifest] | None:
        with self._changed:
            while not self._stopping.is_set():
                for version, place, what, manifest in self._changes:
                    if version > after and _within(place, collection) and _selected(manifest, query):
                        return version, {"type": what, "object": manifest}
                left = until - time.monotonic()
                if left <= 0:
                    return None
                self._changed.wait(left)
        return None


def _within(place: str, collection: str) -> bool:
    if place == collection:
        return True
    head, _, plural = collection.rpartition("/")  # all namespaces: the namespaced collections of that plural
    return "/namespaces/" not in collection and place.startswith(f"{head}/namespaces/") and place.endswith(f"/{plural}")


def _selected(manifest: Manifest, query: dict[str, str]) -> bool:
    labels = dict(pair.split("=") for pair in query.get("labelSelector", "").split(",") if pair)
    return labels.items() <= manifest["metadata"].get("labels", {}).items() and all(
        str(_field(manifest, path.split("."))) == value
        for path, _, value in (pair.partition("=") for pair in query.get("fieldSelector", "").split(",") if pair)
    )


def _field(manifest: Any, path: list[str]) -> Any:
    for part in path:
        manifest = manifest.get(part, "") if isinstance(manifest, dict) else ""
    return manifest


def _merged(target: Manifest, patch: Manifest) -> Manifest:
    """Merge as RFC 7396 has it: mappings all the way down, and null takes away."""
    result = dict(target)
    for key, value in patch.items():
        if isinstance(value, dict):
            former = result.get(key)
            result[key] = _merged(former if isinstance(former, dict) else {}, value)
        elif value is None:
            result.pop(key, None)
        else:
            result[key] = value
    return result


class _Server(ThreadingHTTPServer):
    daemon_threads = True
    allow_reuse_address = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: clients that go away are what this server is for."""


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    server_fake: FakeApiServer

    def setup(self) -> None:
        super().setup()
        self.server_fake._open.add(self.request)

    def finish(self) -> None:
        self.server_fake._open.discard(self.request)
        super().finish()

    def log_message(self, format: str, *args: Any) -> None:
        """Keep pytest's output clean."""

    def do_GET(self) -> None:
        self._handle()

    do_POST = do_PATCH = do_DELETE = do_PUT = do_GET  # noqa: N815

    def _handle(self) -> None:
        fake = self.server_fake
        url = urlsplit(self.path)
        query = {key: values[0] for key, values in parse_qs(url.query).items()}
        fake.log.append((self.command, self.path))
        fake.headers.append(dict(self.headers.items()))
        length = int(self.headers.get("Content-Length") or 0)
        body = json.loads(self.rfile.read(length)) if length else {}
        if self.command != "GET":
            fake.bodies.append(body)
        if fake.hang_s:
            fake._stopping.wait(fake.hang_s)
            self.close_connection = True
            return
        scripted = fake.script.popleft() if fake.script else fake.always
        if scripted is not None:
            self._answer(scripted.status, scripted.body, scripted.headers)
        elif url.path == "/readyz":
            self._answer(200, "ok")
        elif url.path == "/version":
            self._answer(200, {"gitVersion": "v1.37.0"})
        elif url.path.removeprefix("/apis/") in CUSTOM:
            self._answer(200, {"kind": "APIResourceList", "resources": CUSTOM[url.path.removeprefix("/apis/")]})
        else:
            self._object(url.path, query, body)

    def _object(self, path: str, query: dict[str, str], body: Manifest) -> None:
        fake = self.server_fake
        parts = path.strip("/").split("/")
        rest = parts[2:] if parts[0] == "api" else parts[3:]
        head = len(parts) - len(rest)
        deep = len(rest) > 2 and rest[0] == "namespaces" and rest[2] not in ("status", "finalize")
        plural_at = head + (2 if deep else 0)
        collection = "/" + "/".join(parts[: plural_at + 1])
        name = parts[plural_at + 1] if len(parts) > plural_at + 1 else ""
        sub = parts[plural_at + 2] if len(parts) > plural_at + 2 else ""
        found = fake.objects.get((collection, name))

        if not rest:
            self._refuse(404, "NotFound", "the server could not find the requested resource")
        elif self.command == "POST" and not name:
            generated = body["metadata"].get("generateName", "") + str(fake._version)
            name = body["metadata"].setdefault("name", generated)
            if (collection, name) in fake.objects:
                self._refuse(409, "AlreadyExists", f'"{name}" already exists')
            else:
                self._answer(201, fake.put(collection, body))
        elif self.command == "GET" and not name and query.get("watch"):
            self._watch(collection, query)
        elif self.command == "GET" and not name:
            self._answer(200, fake.listing(collection, query))
        elif self.command == "PATCH" and "apply-patch" in self.headers["Content-Type"]:
            self._answer(200, fake.put(collection, body))
        elif found is None:
            self._refuse(404, "NotFound", f'"{name}" not found')
        elif self.command == "GET" and sub == "log":
            self._answer(200, f"log of {name} {query}")
        elif self.command == "GET":
            self._answer(200, found)
        elif self.command == "PATCH":
            self._answer(200, fake.put(collection, _merged(found, body)))
        elif self.command == "POST" and sub == "eviction" and fake.budget_refuses:
            self._refuse(
                429,
                "TooManyRequests",
                "Cannot evict pod as it would violate the pod's disruption budget.",
                "DisruptionBudget",
            )
        elif (
            self.command == "DELETE"
            and body.get("preconditions", {}).get("uid", found["metadata"]["uid"]) != (found["metadata"]["uid"])
        ):
            self._refuse(409, "Conflict", "Precondition failed: UID in precondition")
        else:
            fake.remove(collection, name)
            self._answer(200, {"kind": "Status", "status": "Success"})

    def _watch(self, collection: str, query: dict[str, str]) -> None:
        fake = self.server_fake
        opened = time.monotonic()
        until = opened + float(query.get("timeoutSeconds", "60"))
        if fake.close_watches_after_s is not None:
            until = min(until, opened + fake.close_watches_after_s)
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Transfer-Encoding", "chunked")
        self.end_headers()
        if fake.gone_watches:
            fake.gone_watches -= 1
            self._event({"type": "ERROR", "object": {"kind": "Status", "code": 410, "reason": "Expired"}})
        elif fake.lying_watches is not None:
            self._event({"type": "MODIFIED", "object": fake.lying_watches})
            fake._stopping.wait(0.05)
        elif fake.deaf_watches:
            fake._stopping.wait(until - opened)
        else:
            after = int(query.get("resourceVersion") or 0)
            while (change := fake.next_change(collection, query, after, until)) is not None:
                after, event = change
                self._event(event)
        self._chunk(b"")

    def _event(self, event: Manifest) -> None:
        line = json.dumps(event).encode() + b"\n"
        half = len(line) // 2  # cut in two: events do not come in whole chunks
        self._chunk(line[:half])
        self._chunk(line[half:])

    def _chunk(self, data: bytes) -> None:
        self.wfile.write(b"%x\r\n%s\r\n" % (len(data), data))
        self.wfile.flush()

    def _refuse(self, status: int, reason: str, message: str, cause: str = "") -> None:
        details = {"causes": [{"reason": cause}]} if cause else {}
        self._answer(
            status, {"kind": "Status", "reason": reason, "message": message, "details": details, "code": status}
        )

    def _answer(self, status: int, body: Manifest | str, headers: dict[str, str] | None = None) -> None:
        data = (body if isinstance(body, str) else json.dumps(body)).encode()
        self.send_response(status)
        for key, value in (headers or {}).items():
            self.send_header(key, value)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)
