"""Requests to an API server: each has time-outs, and is sent exactly once.

This is the only module that imports `kubernetes`. It takes from that package what is hard (kubeconfig files, TLS,
tokens and credential plugins) and sends its own requests over the package's connection pool. The generated methods and
models are left alone: they differ between the majors 36 and 37, and the models of 37 refuse answers that an API server
in trouble does give, which is just when a drill has to read them.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, closing
from pathlib import Path
from urllib.parse import urlencode, urlsplit

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_kube_config

from drills.errors import UsageError
from drills.kube.errors import KubeError, NotFound, Unreachable, refusal
from drills.kube.resources import BUILT_IN, Manifest, Manifests, Query, Resource, root
from drills.redaction import kept

FIELD_MANAGER = "pytest-drills"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0

QUIET_S = 1.0
"""Silence after which a watch is dropped and the object listed again: a watch whose server died without a word, or that
misses events, costs no more than this. It is also the last stretch of a wait, which is spent on looks alone: a watch
may block for as long as its read time-out, and one opened any later could block past the deadline."""

PAGE = 500
"""Objects asked for at once when listing."""


class Requests:
    """One cluster's API, request by request."""

    def __init__(self, kubeconfig: Path, context: str | None = None, *, scratch: Path | None = None) -> None:
        """Read the kubeconfig; nothing is sent yet.

        Args:
            kubeconfig: path of the file.
            context: a context in it; the file's current one if None.
            scratch: the directory for the certificates and the key, which TLS takes from files only. They go when the
                process ends; where it is killed they stay. The system's temporary directory if None.

        Raises:
            UsageError: the file is missing or broken, or has no such context.

        """
        self.kubeconfig = kubeconfig
        self.context = context
        self._client = _client(kubeconfig, context, scratch)
        self._config = self._client.configuration
        self._pool: urllib3.PoolManager = self._client.rest_client.pool_manager
        self._known = dict(BUILT_IN)

    @property
    def server(self) -> str:
        """The API server's address, as in the kubeconfig."""
        return str(self._config.host)

    def close(self) -> None:
        """Close the pooled connections."""
        self._pool.clear()

    def get(
        self, kind: str, name: str, namespace: str | None = None, *, timeout_s: float | None = None
    ) -> Manifest | None:
        """Return one object, or None if there is no such object (or no such kind).

        `timeout_s` shortens the usual time-outs, here and in the other methods.

        Raises:
            KubeError: any answer but the object and 404; Unreachable if none came.

        """
        try:
            return self._json("GET", self._find(kind).path(namespace, name), timeout_s=timeout_s)
        except NotFound:
            return None

    # Requests

    def _find(self, kind: str, *, timeout_s: float | None = None) -> Resource:
        """Look a kind up, on the server if it is not one of Kubernetes' own."""
        if kind in self._known:
            return self._known[kind]
        group_version, _, bare = kind.rpartition("/")
        if not group_version:
            own = ", ".join(sorted(known for known in BUILT_IN if "/" not in known))
            raise UsageError(f"kind: found {kind!r}; accepted: group/version/Kind (velero.io/v1/Backup) or {own}")
        served = self._json("GET", root(group_version), timeout_s=timeout_s)
        for one in served["resources"]:
            if one["kind"] == bare and "/" not in one["name"]:
                self._known[kind] = Resource(group_version, bare, one["name"], one["namespaced"])
                return self._known[kind]
        raise NotFound(404, "NotFound", f"{group_version} has no kind {bare}")

    def _list(
        self,
        kind: str,
        namespace: str | None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        timeout_s: float | None = None,
    ) -> tuple[Manifests, str]:
        """Return the objects and the version of the collection, to watch from."""
        resource = self._find(kind, timeout_s=timeout_s)
        query: Query = {"labelSelector": labels, "fieldSelector": fields, "limit": PAGE}
        found: Manifests = []
        while True:
            page = self._json("GET", resource.path(namespace), query=query, timeout_s=timeout_s)
            for item in page.get("items") or []:
                # A list names kind and version once, at its head; told apart from their list, items need them.
                found.append({"apiVersion": resource.group_version, "kind": resource.kind, **item})
            query["continue"] = page["metadata"].get("continue")
            if not query["continue"]:
                return found, str(page["metadata"].get("resourceVersion", ""))

    def _watch(
        self,
        kind: str,
        namespace: str | None,
        *,
        labels: str | None = None,
        fields: str | None = None,
        version: str,
        until: float,
    ) -> Iterator[Manifest | None]:
        """Yield each changed object (None: deleted) until `until` (monotonic), silence, or any end of the watch."""
        left_s = until - time.monotonic()
        if left_s <= 0:
            return
        query: Query = {
            "watch": "true",
            "labelSelector": labels,
            "fieldSelector": fields,
            "resourceVersion": version,
            "timeoutSeconds": math.ceil(left_s),
        }
        path = self._find(kind).path(namespace)
        with self._open("GET", path, query=query, timeout_s=QUIET_S) as response:
            for line in _lines(response):
                event = json.loads(line)
                if event["type"] == "ERROR":  # mostly 410, the version is too old by now; listing anew cures it
                    return
                yield None if event["type"] == "DELETED" else event["object"]
                if time.monotonic() >= until:
                    return

    def _json(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> Manifest:
        data = self._send(method, path, query=query, body=body, content_type=content_type, timeout_s=timeout_s)
        try:
            answer = json.loads(data)
        except ValueError as error:
            raise KubeError(200, "NotJSON", f"{method} {path}: {kept(data.decode(errors='replace'), 80)!r}") from error
        if not isinstance(answer, dict):
            raise KubeError(200, "NotAnObject", f"{method} {path}: {kept(data.decode(errors='replace'), 80)!r}")
        return answer

    def _send(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        timeout_s: float | None = None,
    ) -> bytes:
        """Send one request and return the body of its good answer."""
        timeout_s = timeout_s if timeout_s is not None else READ_TIMEOUT_S
        with self._open(
            method, path, query=query, body=body, content_type=content_type, timeout_s=timeout_s
        ) as response:
            try:
                return bytes(response.read())
            except urllib3.exceptions.HTTPError as error:
                raise Unreachable(type(error).__name__, f"{method} {path}: {error}") from error

    def _open(
        self,
        method: str,
        path: str,
        *,
        query: Query | None = None,
        body: Manifest | None = None,
        content_type: str = "application/json",
        timeout_s: float,
    ) -> AbstractContextManager[urllib3.BaseHTTPResponse]:
        """Send one request and return its good answer unread; leaving the context closes what was not read."""
        url = self.server.rstrip("/") + path
        asked = {key: value for key, value in (query or {}).items() if value is not None}
        if asked:
            url += "?" + urlencode(asked)
        headers = {"Accept": "application/json", "User-Agent": FIELD_MANAGER}
        for setting in self._config.auth_settings().values():  # asked each time: tokens expire, and this renews them
            headers[setting["key"]] = setting["value"]
        if body is not None:
            headers["Content-Type"] = content_type
        try:
            response = self._pool.request(
                method,
                url,
                body=json.dumps(body) if body is not None else None,
                headers=headers,
                timeout=urllib3.Timeout(
                    connect=min(CONNECT_TIMEOUT_S, timeout_s), read=min(READ_TIMEOUT_S, timeout_s), total=timeout_s
                ),
                retries=False,
                preload_content=False,
            )
            if not 200 <= response.status <= 299:
                with closing(response):
                    raise refusal(response.status, response.reason or "", response.headers, response.read())
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(type(error).__name__, f"{method} {path}: {error}") from error
        return closing(response)


def _client(kubeconfig: Path, context: str | None, scratch: Path | None) -> ApiClient:
    # Built without a proxy first: a proxy set in the environment is meant for the world outside, and a kind cluster's
    # API server is on loopback. A proxy named in the kubeconfig itself is kept; there it is meant.
    config = Configuration()
    config.proxy = None
    try:
        # The package is published without types.
        load_kube_config(  # type: ignore[no-untyped-call]
            config_file=str(kubeconfig),
            context=context,
            persist_config=False,
            client_configuration=config,
            temp_file_path=scratch and str(scratch),
        )
        if config.proxy is None and not _on_loopback(config.host):
            from_environment = Configuration()
            from_environment.host = config.host
            config.proxy = from_environment.proxy
    except ConfigException as error:
        named = f"context {context!r}" if context else "current context"
        raise UsageError(f"kubeconfig {kubeconfig}, {named}: {error}") from error
    return ApiClient(configuration=config)


def _on_loopback(url: str) -> bool:
    host = urlsplit(url).hostname or ""
    return host in ("localhost", "::1") or host.startswith("127.")


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield whole lines of a stream; its end, silence and any breakage are all just the end."""
    pending = b""
    try:
        for chunk in response.stream(65536):
            *whole, pending = (pending + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
    except urllib3.exceptions.HTTPError:
        return  # what was cut off is learned by listing anew
