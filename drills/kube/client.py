"""One cluster's API, as the harness uses it."""

from __future__ import annotations

from dataclasses import dataclass

from drills.errors import UsageError
from drills.kube.errors import Busy, KubeError, NotFound
from drills.kube.manifests import Document, Source, checked, read
from drills.kube.resources import Manifest, Manifests, Query, Resource, namespace_of
from drills.kube.transport import CONNECT_TIMEOUT_S, FIELD_MANAGER
from drills.kube.waits import Waits, moment_of
from drills.waiting import wait_until

SERVED_WITHIN_S = 60.0
"""How long an API server may take to serve a kind whose definition was applied just now."""


@dataclass(frozen=True)
class Eviction:
    """The answer to an eviction: truthy when it was accepted, else with the reason."""

    accepted: bool
    why: str = ""

    def __bool__(self) -> bool:
        return self.accepted


class Kube(Waits):
    """One cluster's API. Safe to use from several threads.

    Kinds are named as in manifests: "Pod", "Deployment"; a kind that Kubernetes does not bring along needs its group
    and version too: "velero.io/v1/Backup". Such kinds are looked up on the server once, when they are first used.

    Every request has time-outs (`CONNECT_TIMEOUT_S`, `READ_TIMEOUT_S`) and is sent exactly once: a hidden retry would
    repeat a write whose outcome is unknown, and hide an outage that the drill is there to measure.
    """

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
        return sorted(self.list("Event", namespace), key=moment_of)

    # Writing

    def create(self, manifest: Manifest, namespace: str | None = None, *, timeout_s: float | None = None) -> Manifest:
        """Create an object and return it as the server acknowledged it.

        Raises:
            UsageError: it is no object of Kubernetes.
            Conflict: there is one of that name.
            KubeError: any other refusal; Unreachable if no answer came, and then the outcome is unknown.

        """
        body = checked(manifest, named=False)
        path = self._place(Document(body, "manifest"), namespace).path(namespace_of(body, namespace))
        return self._json("POST", path, body=body, query={"fieldManager": FIELD_MANAGER}, timeout_s=timeout_s)

    def apply(self, manifests: Source, namespace: str | None = None) -> Manifests:
        """Make objects be as given (server-side apply, winning every conflict), and return them in the order given.

        They are applied in that order, too, but for namespaces and definitions of kinds, which go first; an object of a
        kind that is defined here waits until the API server serves that kind.

        Args:
            manifests: one object or several, as objects, as text in YAML or JSON, as files or directories (Path);
                lists are taken apart, and documents without an object are passed over.
            namespace: for those that name none.

        Raises:
            UsageError: one of them is no object, or there is none; nothing was sent then.
            NotFound: the API server knows no such kind; nothing was applied then.
            KubeError: the first refusal; objects before it are applied.
            WaitTimeout: a kind that is defined here was not served in time.

        """
        documents = read(manifests)
        defined = {kind for one in documents for kind in one.defines}
        for one in documents:
            if one.kind not in defined:
                self._place(one, namespace)
        applied: dict[int, Manifest] = {}
        for at in sorted(range(len(documents)), key=lambda at: not documents[at].goes_first):
            one = documents[at]
            applied[at] = (
                self._apply_when_served(one, namespace) if one.kind in defined else self._apply(one, namespace)
            )
        return [applied[at] for at in range(len(documents))]

    def _apply(self, one: Document, namespace: str | None) -> Manifest:
        resource = self._place(one, namespace)
        path = resource.path(namespace_of(one.manifest, namespace), one.manifest["metadata"]["name"])
        query: Query = {"fieldManager": FIELD_MANAGER, "force": "true"}
        return self._json("PATCH", path, body=one.manifest, query=query, content_type="application/apply-patch+yaml")

    def _apply_when_served(self, one: Document, namespace: str | None) -> Manifest:
        missing_namespace: list[NotFound] = []

        def tried() -> Manifests:
            try:
                return [self._apply(one, namespace)]
            except NotFound as missing:
                if 'namespaces "' not in missing.message:
                    raise
                missing_namespace.append(missing)  # the kind is served, and waiting would not make a namespace
                return [one.manifest]

        (applied,) = wait_until(
            tried, what=f"{one.where}: the API server serves {one.kind}", within_s=SERVED_WITHIN_S, retry_on=(NotFound,)
        )
        if missing_namespace:
            raise missing_namespace[0]
        return applied

    def _place(self, one: Document, namespace: str | None) -> Resource:
        """Find where an object goes, before it is sent."""
        try:
            resource = self._find(one.kind)
        except NotFound as missing:
            kind = f"{one.manifest['kind']} of {one.manifest['apiVersion']}"
            raise NotFound(
                404, missing.reason, f"{one.where}: kind {kind} is not known to the API server: {missing.message}"
            ) from missing
        if resource.namespaced and not namespace_of(one.manifest, namespace):
            raise UsageError(
                f"{one.where}: metadata.namespace: missing: expected one for {resource.kind} "
                f"{one.manifest['metadata'].get('name', '')!r}, there or in the call"
            )
        return resource

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
