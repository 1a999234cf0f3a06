"""The Kubernetes API as the harness needs it: plain JSON in, plain JSON out, and waits that cannot lie.

This is the only module that imports `kubernetes`. It takes from that package what is hard (kubeconfig files, TLS,
tokens and credential plugins) and sends its own requests over the package's connection pool. The generated methods and
models are left alone: they differ between the majors 36 and 37, and the models of 37 refuse answers that an API server
in trouble does give, which is just when a drill has to read them.

    KubeError            the API server answered, and not with what was asked for
     +- NotFound         404
     +- Conflict         409: it is there already, or is another one by now
     +- Denied           401, 403: what an API server with an emptied etcd answers to everything
     +- Busy             429, 5xx: not now
     +- Unreachable      no answer: refused, reset, cut short or too late
"""

# ruff: noqa: N818  the names say what the API server answered; "BusyError" would say that the harness is at fault

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import AbstractContextManager, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeAlias
from urllib.parse import quote, urlencode, urlsplit

import urllib3
from kubernetes.client import ApiClient, Configuration
from kubernetes.config import ConfigException, load_kube_config

from drills.errors import DrillError, UsageError
from drills.waiting import wait_until

Manifest: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""

Manifests: TypeAlias = list[Manifest]
"""Several of them. (In `Kube`, which has a method `list`, the name of the built-in type is taken.)"""

Query: TypeAlias = dict[str, str | int | None]

Condition: TypeAlias = Callable[[Manifest | None], bool]
"""Asked of an object, or of None where there is no such object (any more)."""

FIELD_MANAGER = "pytest-drills"
CONNECT_TIMEOUT_S = 5.0
READ_TIMEOUT_S = 10.0

LOOK_EVERY_S = 0.2
"""Pause between two rounds of a wait; it bounds what is asked per second of an API server that closes every watch."""

QUIET_S = 1.0
"""Silence after which a watch is dropped and the object listed again: a watch whose server died without a word, or that
misses events, costs no more than this. It is also the last stretch of a wait, which is spent on looks alone: a watch
may block for as long as its read time-out, and one opened any later could block past the deadline."""

PAGE = 500
"""Objects asked for at once when listing."""

_KINDS = {
    # group/version: namespaced kinds | cluster-wide kinds
    "v1": "Pod Service ConfigMap Secret PersistentVolumeClaim ServiceAccount Event | Namespace Node PersistentVolume",
    "apps/v1": "Deployment StatefulSet DaemonSet ReplicaSet ControllerRevision |",
    "batch/v1": "Job CronJob |",
    "policy/v1": "PodDisruptionBudget |",
    "storage.k8s.io/v1": "| StorageClass VolumeAttachment CSIDriver",
    "apiextensions.k8s.io/v1": "| CustomResourceDefinition",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding | ClusterRole ClusterRoleBinding",
    "coordination.k8s.io/v1": "Lease |",
    "discovery.k8s.io/v1": "EndpointSlice |",
    "networking.k8s.io/v1": "NetworkPolicy Ingress | IngressClass",
    "scheduling.k8s.io/v1": "| PriorityClass",
    "apiregistration.k8s.io/v1": "| APIService",
    "admissionregistration.k8s.io/v1": "| MutatingWebhookConfiguration ValidatingWebhookConfiguration",
}


class KubeError(DrillError):
    """The API server answered, and not with what was asked for."""

    def __init__(
        self,
        status: int,
        reason: str,
        message: str,
        *,
        retry_after_s: float | None = None,
        causes: tuple[str, ...] = (),
    ) -> None:
        """Keep the answer's facts.

        Args:
            status: HTTP status; 0 where there was no answer.
            reason: Kubernetes' word for it ("NotFound"), or HTTP's.
            message: the server's sentence.
            retry_after_s: the pause that the server asks for, in seconds.
            causes: reasons in the answer's details ("DisruptionBudget").

        """
        super().__init__(f"{status} {reason}: {message}" if status else f"{reason}: {message}")
        self.status = status
        self.reason = reason
        self.message = message
        self.retry_after_s = retry_after_s
        self.causes = causes


class NotFound(KubeError):
    """There is no such object, or no such kind of object."""


class Conflict(KubeError):
    """The object is there already, or is not the one that the request was meant for."""


class Denied(KubeError):
    """The API server does not know this user, or grants it nothing."""


class Busy(KubeError):
    """The API server answers, but will not serve now."""


class Unreachable(KubeError):
    """The API server gave no answer, or none that was whole and in time."""

    def __init__(self, reason: str, message: str) -> None:
        """Keep what the connection said.

        Args:
            reason: the kind of failure, as urllib3 names it.
            message: its text.

        """
        super().__init__(0, reason, message)


RIDDEN_OUT: tuple[type[Exception], ...] = (Unreachable, Busy, Denied)
"""What a wait takes for a control plane in trouble. Denied is among them because an API server answers 403 to everyone
between the loss of etcd's data and the return of its roles, and drills cause just that."""


@dataclass(frozen=True)
class Eviction:
    """The answer to an eviction: truthy when it was accepted, else with the reason."""

    accepted: bool
    why: str = ""

    def __bool__(self) -> bool:
        return self.accepted


@dataclass(frozen=True)
class _Resource:
    """Where objects of one kind are found."""

    group_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        parts = [_root(self.group_version)]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        elif self.namespaced and name:
            raise UsageError(f"{self.kind} {name!r}: namespace is missing; objects of this kind live in one")
        parts.append(self.plural)
        parts += [quote(part, safe=":") for part in (name, subresource) if part]
        return "/".join(parts)


class Kube:
    """One cluster's API. Safe to use from several threads.

    Kinds are named as in manifests: "Pod", "Deployment"; a kind that Kubernetes does not bring along needs its group
    and version too: "velero.io/v1/Backup". Such kinds are looked up on the server once, when they are first used.

    Every request has time-outs (`CONNECT_TIMEOUT_S`, `READ_TIMEOUT_S`) and is sent exactly once: a hidden retry would
    repeat a write whose outcome is unknown, and hide an outage that the drill is there to measure.
    """

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
        self._known = dict(_BUILT_IN)

    @property
    def server(self) -> str:
        """The API server's address, as in the kubeconfig."""
        return str(self._config.host)

    def close(self) -> None:
        """Close the pooled connections."""
        self._pool.clear()

    # Reading

    def ready(self) -> bool:
        """Tell whether the API server says of itself, on /readyz, that it is ready."""
        try:
            self._send("GET", "/readyz", timeout_s=CONNECT_TIMEOUT_S)
        except KubeError:
            return False
        return True

    def version(self) -> str:
        """Return the API server's version, like "v1.37.0"."""
        return str(self._json("GET", "/version")["gitVersion"])

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

    def list(
        self,
        kind: str,
        namespace: str | None = None,
        labels: str | None = None,
        fields: str | None = None,
        *,
        timeout_s: float | None = None,
    ) -> Manifests:
        """Return the objects of a kind, of one namespace or (None) of all.

        Args:
            kind: the kind.
            namespace: the namespace; None lists all.
            labels: a label selector, like "app=shop".
            fields: a field selector, like "spec.nodeName=worker".
            timeout_s: time-out of one page.

        Raises:
            KubeError: any answer but the list; Unreachable if none came.

        """
        return self._list(kind, namespace, labels=labels, fields=fields, timeout_s=timeout_s)[0]

    def logs(
        self,
        pod: str,
        namespace: str,
        *,
        container: str | None = None,
        previous: bool = False,
        tail: int | None = None,
    ) -> str:
        """Return a container's log.

        Args:
            pod: the pod.
            namespace: its namespace.
            container: the container; needed where the pod has several.
            previous: the log of the instance before the last restart.
            tail: only so many last lines.

        Raises:
            KubeError: no such pod, or a container that has not started yet.

        """
        query: Query = {
            "container": container,
            "previous": "true" if previous else None,
            "tailLines": tail,
        }
        return self._send("GET", self._find("Pod").path(namespace, pod, "log"), query=query).decode(errors="replace")

    def running_pods(self, node: str, *, timeout_s: float | None = None) -> Manifests:
        """Return the pods that a node's container runtime runs now: its kubelet is asked, and that asks the runtime.

        Raises:
            KubeError: one of the two did not answer.

        """
        path = self._find("Node").path(None, node, "proxy") + "/runningpods/"
        found: Manifests = self._json("GET", path, timeout_s=timeout_s).get("items") or []
        return found

    def events(self, namespace: str | None = None) -> Manifests:
        """Return the events of a namespace (or of all), the oldest first."""

        def moment(event: Manifest) -> str:
            series = event.get("series") or {}
            return str(
                series.get("lastObservedTime")
                or event.get("lastTimestamp")
                or event.get("eventTime")
                or event["metadata"].get("creationTimestamp", "")
            )

        return sorted(self.list("Event", namespace), key=moment)

    # Writing

    def create(self, manifest: Manifest, namespace: str | None = None, *, timeout_s: float | None = None) -> Manifest:
        """Create an object and return it as the server acknowledged it.

        Raises:
            Conflict: there is one of that name.
            KubeError: any other refusal; Unreachable if no answer came, and then the outcome is unknown.

        """
        resource = self._of(manifest)
        path = resource.path(_namespace_of(manifest, namespace))
        return self._json("POST", path, body=manifest, query={"fieldManager": FIELD_MANAGER}, timeout_s=timeout_s)

    def apply(self, manifests: Manifest | Iterable[Manifest], namespace: str | None = None) -> Manifests:
        """Make objects be as given (server-side apply, winning every conflict), in the order given.

        Args:
            manifests: one object, several, or a List.
            namespace: for those that name none.

        Raises:
            KubeError: the first refusal; objects before it are applied.

        """
        applied = []
        for manifest in _flatten(manifests):
            path = self._of(manifest).path(_namespace_of(manifest, namespace), manifest["metadata"]["name"])
            query: Query = {"fieldManager": FIELD_MANAGER, "force": "true"}
            applied.append(
                self._json("PATCH", path, body=manifest, query=query, content_type="application/apply-patch+yaml")
            )
        return applied

    def patch(
        self,
        kind: str,
        name: str,
        patch: Manifest,
        namespace: str | None = None,
        *,
        subresource: str = "",
    ) -> Manifest:
        """Change parts of an object by a JSON merge patch (a list is replaced whole) and return the outcome.

        Raises:
            NotFound: there is no such object.
            KubeError: any other refusal.

        """
        path = self._find(kind).path(namespace, name, subresource)
        return self._json(
            "PATCH",
            path,
            body=patch,
            query={"fieldManager": FIELD_MANAGER},
            content_type="application/merge-patch+json",
        )

    def delete(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        grace_s: int | None = None,
        uid: str | None = None,
        wait: bool = False,
        within_s: float = 60.0,
        timeout_s: float | None = None,
    ) -> bool:
        """Ask for an object's deletion; what it owns goes after it, in the background.

        Args:
            kind: the kind.
            name: the name.
            namespace: the namespace, where the kind lives in one.
            grace_s: seconds given to a pod's processes; 0 forces. None leaves it to the object.
            uid: delete only the object of this UID.
            wait: return only when that object is gone (or another one has its name).
            within_s: deadline of that wait in seconds.
            timeout_s: time-out of the request.

        Returns:
            False if there was no such object.

        Raises:
            Conflict: the object has another UID.
            WaitTimeout: it is still there at the deadline.
            KubeError: any other refusal.

        """
        options: Manifest = {"apiVersion": "v1", "kind": "DeleteOptions", "propagationPolicy": "Background"}
        if grace_s is not None:
            options["gracePeriodSeconds"] = grace_s
        if uid is not None:
            options["preconditions"] = {"uid": uid}
        before = self.get(kind, name, namespace, timeout_s=timeout_s) if wait else None
        try:
            self._json("DELETE", self._find(kind).path(namespace, name), body=options, timeout_s=timeout_s)
        except NotFound:
            return False
        if before is not None:
            former = before["metadata"]["uid"]
            self.wait_for(
                kind,
                name,
                namespace,
                condition=lambda now: now is None or now["metadata"]["uid"] != former,
                what=f"{kind} {name} to be gone",
                within_s=within_s,
            )
        return True

    def evict(self, pod: str, namespace: str) -> Eviction:
        """Ask politely for a pod's removal, as a node drain does.

        A pod that is gone already counts as evicted. A refusal by a PodDisruptionBudget is an answer, not an error; a
        429 without that cause (the API server is overloaded) is an error, since it says nothing about the budget.

        Raises:
            Busy: the API server is overloaded, or several budgets cover the pod.
            KubeError: any other refusal.

        """
        body = {"apiVersion": "policy/v1", "kind": "Eviction", "metadata": {"name": pod, "namespace": namespace}}
        try:
            self._json("POST", self._find("Pod").path(namespace, pod, "eviction"), body=body)
        except NotFound:
            return Eviction(accepted=True, why="already gone")
        except Busy as refusal:
            if "DisruptionBudget" in refusal.causes:
                return Eviction(accepted=False, why=refusal.message)
            raise
        return Eviction(accepted=True)

    def cordon(self, node: str) -> None:
        """Keep new pods off a node."""
        self.patch("Node", node, {"spec": {"unschedulable": True}})

    def uncordon(self, node: str) -> None:
        """Let new pods onto a node again."""
        self.patch("Node", node, {"spec": {"unschedulable": None}})

    # Waiting

    def wait_for(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        condition: Condition,
        what: str,
        within_s: float,
    ) -> Manifest | None:
        """Wait until an object meets a condition, and return the object that did (None where absence was waited for).

        The object is listed, watched for a while, and listed again. A watch only says when to look: what it reports is
        believed after a GET has confirmed it. So neither a watch that ends early nor one that lies ends the wait. An
        API server that refuses, is overloaded or broken, or knows nobody is ridden out to the deadline.

        Raises:
            WaitTimeout: not met by the deadline; carries the last state or error seen in one line.
            KubeError: the request makes no sense to the API server (4xx).

        """
        deadline = time.monotonic() + within_s
        last: Manifest | None = None

        def left_s() -> float:
            return max(deadline - time.monotonic(), 0.05)

        def meets(found: Manifest | None) -> bool:
            nonlocal last
            last = found
            return condition(found)

        # Answers are wrapped, since None is what a wait for absence wants: an empty tuple says "not yet".
        def confirmed() -> tuple[Manifest | None, ...]:
            found = self.get(kind, name, namespace, timeout_s=left_s())
            return (found,) if meets(found) else ()

        def look() -> tuple[Manifest | None, ...]:
            fields = f"metadata.name={name}"
            try:
                found, version = self._list(kind, namespace, fields=fields, timeout_s=left_s())
            except NotFound:  # no such kind: a definition that is not there (yet)
                return (None,) if meets(None) else ()
            if meets(found[0] if found else None):
                return confirmed()
            for changed in self._watch(kind, namespace, fields=fields, version=version, until=deadline - QUIET_S):
                if meets(changed):
                    return confirmed()
            return ()

        return wait_until(
            look,
            what=what,
            within_s=within_s,
            every_s=LOOK_EVERY_S,
            retry_on=RIDDEN_OUT,
            describe=lambda _: describe(last),
        )[0]

    def wait_for_all(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        condition: Condition,
        what: str,
        within_s: float,
        at_least: int = 1,
    ) -> Manifests:
        """Wait until all objects of a selection meet a condition at once, and return them.

        Args:
            kind: the kind.
            namespace: the namespace; None for all.
            labels: a label selector; None for all.
            condition: asked of every object.
            what: what is waited for, in words.
            within_s: deadline in seconds.
            at_least: fewer objects than this are not yet "all": nothing is not all.

        Raises:
            WaitTimeout: not met by the deadline; says how many are, and the state of the first few that are not.
            KubeError: the request makes no sense to the API server (4xx).

        """
        deadline = time.monotonic() + within_s
        seen: Manifests = []

        def look() -> tuple[Manifests, ...]:
            nonlocal seen
            left_s = max(deadline - time.monotonic(), 0.05)
            seen, version = self._list(kind, namespace, labels=labels, timeout_s=left_s)
            if len(seen) >= at_least and all(condition(one) for one in seen):
                return (seen,)
            for _ in self._watch(kind, namespace, labels=labels, version=version, until=deadline - QUIET_S):
                break  # something moved: the whole is listed anew
            return ()

        def state(_: object) -> str:
            lacking = [one for one in seen if not condition(one)]
            told = "; ".join(f"{one['metadata']['name']}: {describe(one)}" for one in lacking[:3])
            return f"{len(seen) - len(lacking)} of {max(len(seen), at_least)}" + (f"; {told}" if told else "")

        return wait_until(
            look, what=what, within_s=within_s, every_s=LOOK_EVERY_S, retry_on=(*RIDDEN_OUT, NotFound), describe=state
        )[0]

    # Requests

    def _find(self, kind: str, *, timeout_s: float | None = None) -> _Resource:
        """Look a kind up, on the server if it is not one of Kubernetes' own."""
        if kind in self._known:
            return self._known[kind]
        group_version, _, bare = kind.rpartition("/")
        if not group_version:
            own = ", ".join(sorted(known for known in _BUILT_IN if "/" not in known))
            raise UsageError(f"kind: found {kind!r}; accepted: group/version/Kind (velero.io/v1/Backup) or {own}")
        served = self._json("GET", _root(group_version), timeout_s=timeout_s)
        for one in served["resources"]:
            if one["kind"] == bare and "/" not in one["name"]:
                self._known[kind] = _Resource(group_version, bare, one["name"], one["namespaced"])
                return self._known[kind]
        raise NotFound(404, "NotFound", f"{group_version} has no kind {bare}")

    def _of(self, manifest: Manifest) -> _Resource:
        try:
            return self._find(f"{manifest['apiVersion']}/{manifest['kind']}")
        except KeyError as missing:
            raise UsageError(f"manifest: {missing.args[0]} is missing; found only {sorted(manifest)}") from missing

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
            raise KubeError(200, "NotJSON", f"{method} {path}: {data[:80]!r}") from error
        if not isinstance(answer, dict):
            raise KubeError(200, "NotAnObject", f"{method} {path}: {data[:80]!r}")
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
                    raise _refusal(response.status, response.reason or "", response.headers, response.read())
        except urllib3.exceptions.HTTPError as error:
            raise Unreachable(type(error).__name__, f"{method} {path}: {error}") from error
        return closing(response)


# Conditions: what the words mean. Each wants the controller to have seen the object's newest version, since right after
# a change the status still tells of the state before it.


def gone(found: Manifest | None) -> bool:
    """Hold when there is no such object."""
    return found is None


def present(found: Manifest | None) -> bool:
    """Hold when there is such an object and it is not being deleted."""
    return found is not None and "deletionTimestamp" not in found["metadata"]


def pod_ready(found: Manifest | None) -> bool:
    """Hold when the pod is ready and not on its way out."""
    return present(found) and _status_of(found, "Ready") == "True"


def deployment_available(found: Manifest | None) -> bool:
    """Hold when every replica is of the newest version and available, and no older one is left."""
    if found is None or not present(found) or not _seen_by_controller(found):
        return False
    wanted, status = _replicas(found), found["status"]
    counted = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    return counted == {wanted}


def statefulset_ready(found: Manifest | None) -> bool:
    """Hold when every replica is of the newest version and ready."""
    if found is None or not present(found) or not _seen_by_controller(found):
        return False
    wanted, status = _replicas(found), found["status"]
    rolled_out = bool(status.get("currentRevision") == status.get("updateRevision"))
    return rolled_out and {status.get(key, 0) for key in ("replicas", "readyReplicas")} == {wanted}


def daemonset_ready(found: Manifest | None) -> bool:
    """Hold when the newest version is ready on every node it is meant for, and it is meant for at least one."""
    if found is None or not present(found) or not _seen_by_controller(found):
        return False
    status = found["status"]
    wanted = status.get("desiredNumberScheduled", 0)
    return wanted > 0 and {status.get(key, 0) for key in ("updatedNumberScheduled", "numberReady")} == {wanted}


def node_ready(ready: bool) -> Condition:
    """Make a condition that holds when the node's Ready condition is True (`ready`), or is False or Unknown (not)."""

    def holds(found: Manifest | None) -> bool:
        status = _status_of(found, "Ready")
        return status == "True" if ready else status in ("False", "Unknown")

    return holds


VELERO_ENDED = ("Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting")
"""Phases that a Velero backup or restore does not leave for a better one (API of 1.18: BackupPhase, RestorePhase)."""


def velero_phase(*phases: str) -> Condition:
    """Make a condition that holds when a Velero object is in one of these phases.

    Wait for `velero_phase(*VELERO_ENDED)` and look at the phase then; waiting for "Completed" alone sits through a
    failure to the deadline.
    """

    def holds(found: Manifest | None) -> bool:
        return found is not None and (found.get("status") or {}).get("phase") in phases

    return holds


def describe(found: Manifest | None) -> str:
    """Say an object's state in one line."""
    if found is None:
        return "absent"
    teller = _TELLERS.get(found.get("kind", ""), _tell_any)
    told = teller(found)
    if "deletionTimestamp" in found["metadata"]:
        held = found["metadata"].get("finalizers") or (found.get("spec") or {}).get("finalizers") or []
        told.append("being deleted" + (f", held by {', '.join(held)}" if held else ""))
    return ", ".join(told) or "present, without status"


def _tell_pod(pod: Manifest) -> list[str]:
    status = pod.get("status") or {}
    told = [status.get("phase") or "no phase", f"Ready={_with_reason(pod, 'Ready')}"]
    if _status_of(pod, "PodScheduled") == "False":
        told.append(f"PodScheduled={_with_reason(pod, 'PodScheduled')}")
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        for state, facts in (container.get("state") or {}).items():
            if state == "waiting" or (state == "terminated" and facts.get("exitCode")):
                told.append(f"{container['name']} {state} ({facts.get('reason', '?')})")
        if container.get("restartCount"):
            told.append(f"{container['name']} restarted {container['restartCount']}x")
    node = (pod.get("spec") or {}).get("nodeName")
    return [*told, f"on {node}"] if node else told


def _tell_replicas(workload: Manifest) -> list[str]:
    status = workload.get("status") or {}
    told = [f"{status.get('readyReplicas', 0)} of {_replicas(workload)} ready"]
    if not _seen_by_controller(workload):
        told.append("its controller has not seen the newest version")
    elif status.get("updatedReplicas", 0) != _replicas(workload):
        told.append(f"{status.get('updatedReplicas', 0)} updated")
    return told


def _tell_daemonset(workload: Manifest) -> list[str]:
    status = workload.get("status") or {}
    return [f"{status.get('numberReady', 0)} of {status.get('desiredNumberScheduled', 0)} ready"]


def _tell_node(node: Manifest) -> list[str]:
    cordoned = ["cordoned"] if (node.get("spec") or {}).get("unschedulable") else []
    return [f"Ready={_with_reason(node, 'Ready')}", *cordoned]


def _tell_any(found: Manifest) -> list[str]:
    status = found.get("status") or {}
    told = [f"phase={status['phase']}"] if status.get("phase") else []
    told += [f"{one['type']}={one['status']}" for one in status.get("conditions") or []]
    told += [f"{key}={status[key]}" for key in ("errors", "warnings", "failureReason") if status.get(key)]
    return told + [str(problem) for problem in (status.get("validationErrors") or [])[:2]]


_TELLERS: dict[str, Callable[[Manifest], list[str]]] = {
    "Pod": _tell_pod,
    "Deployment": _tell_replicas,
    "StatefulSet": _tell_replicas,
    "ReplicaSet": _tell_replicas,
    "DaemonSet": _tell_daemonset,
    "Node": _tell_node,
}


def _condition_of(found: Manifest | None, wanted: str) -> Manifest:
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == wanted), {})


def _status_of(found: Manifest | None, wanted: str) -> str:
    return str(_condition_of(found, wanted).get("status", ""))


def _with_reason(found: Manifest, wanted: str) -> str:
    condition = _condition_of(found, wanted)
    reason = f" ({condition['reason']})" if condition.get("reason") and condition.get("status") != "True" else ""
    return f"{condition.get('status', 'unknown')}{reason}"


def _seen_by_controller(found: Manifest) -> bool:
    return bool((found.get("status") or {}).get("observedGeneration", 0) >= found["metadata"].get("generation", 1))


def _replicas(workload: Manifest) -> int:
    return int((workload.get("spec") or {}).get("replicas", 1))


# Parts


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


def _root(group_version: str) -> str:
    return f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"


def _built_in() -> dict[str, _Resource]:
    known = {}
    for group_version, kinds in _KINDS.items():
        namespaced = kinds.partition("|")[0].split()
        for kind in kinds.replace("|", " ").split():
            lower = kind.lower()
            ending = {"s": "es", "y": "ies"}.get(lower[-1], "s")
            plural = (lower[:-1] if lower.endswith("y") else lower) + ending
            resource = _Resource(group_version, kind, plural, namespaced=kind in namespaced)
            known[kind] = known[f"{group_version}/{kind}"] = resource
    return known


_BUILT_IN = _built_in()


def _flatten(manifests: Manifest | Iterable[Manifest]) -> Iterator[Manifest]:
    if isinstance(manifests, dict):
        if "items" in manifests and str(manifests.get("kind", "")).endswith("List"):
            yield from _flatten(manifests["items"])
        else:
            yield manifests
        return
    for one in manifests:
        yield from _flatten(one)


def _namespace_of(manifest: Manifest, default: str | None) -> str | None:
    return manifest.get("metadata", {}).get("namespace") or default


def _lines(response: urllib3.BaseHTTPResponse) -> Iterator[bytes]:
    """Yield whole lines of a stream; its end, silence and any breakage are all just the end."""
    pending = b""
    try:
        for chunk in response.stream(65536):
            *whole, pending = (pending + chunk).split(b"\n")
            yield from (line for line in whole if line.strip())
    except urllib3.exceptions.HTTPError:
        return  # what was cut off is learned by listing anew


_REFUSALS: dict[int, type[KubeError]] = {
    401: Denied,
    403: Denied,
    404: NotFound,
    408: Busy,
    409: Conflict,
    410: Busy,  # a page of a list whose version is compacted away meanwhile: listing anew cures it
    429: Busy,
}


def _refusal(status: int, http_reason: str, headers: Mapping[str, str], data: bytes) -> KubeError:
    """Make the error that an answer stands for."""
    try:
        answer = json.loads(data)
    except ValueError:
        answer = {}
    if not isinstance(answer, dict):
        answer = {}
    message = str(answer.get("message") or data[:200].decode(errors="replace").strip() or http_reason)
    causes = tuple(str(one.get("reason", "")) for one in (answer.get("details") or {}).get("causes") or [])
    asked = headers.get("Retry-After", "")
    kind = Busy if status >= 500 else _REFUSALS.get(status, KubeError)
    retry_after_s = float(asked) if asked.isdigit() else None
    return kind(status, str(answer.get("reason") or http_reason), message, retry_after_s=retry_after_s, causes=causes)
