"""Faults of one namespace."""

from __future__ import annotations

from dataclasses import dataclass

from drills.clock import SystemClock
from drills.errors import FaultHadNoEffect, UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import RIDDEN_OUT, Conflict, Kube, describe
from drills.waiting import in_a_line

_MAY_BE_HELD = ("Pod", "PersistentVolumeClaim", "ConfigMap", "Secret", "Service")
_LOOK_INTO_EVERY_S = 2.0
_TOLD = 3


@dataclass(frozen=True)
class Contents:
    """What a namespace held, by UID, before it was deleted."""

    uid: str
    claims: dict[str, str]
    volumes: dict[str, str]
    pods: dict[str, str]
    bound: tuple[str, ...] = ()

    def lost(self, namespace: str) -> list[str]:
        """Name the claims that have a volume, and so data to lose, as namespace/name."""
        return [f"{namespace}/{claim}" for claim in sorted(self.bound)]


class NamespaceDeleted(Fault):
    """Someone deletes a namespace, its volumes included.

    Deleting is accepted at once and done when the last finalizer is: the proof is complete only when this very
    namespace and every volume bound in it are gone. A volume that its class retains stays by design; it counts once it
    is released, since no claim leads to its data any more.
    """

    name = "namespace deleted"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, kube: Kube, namespace: str, before: Contents) -> None:
        """Aim at a namespace as it is now.

        Args:
            kube: the cluster.
            namespace: its name.
            before: what it holds.

        """
        self.target = f"namespace/{namespace}"
        self.before = before
        self.claims = before.lost(namespace)
        self._kube = kube
        self._namespace = namespace
        self._clock = SystemClock()
        self._looked = float("-inf")
        self._seen_left = ""

    def inject(self) -> None:
        """Ask for the deletion and wait for nothing.

        Raises:
            FaultHadNoEffect: it was gone or replaced already.

        """
        try:
            there = self._kube.delete("Namespace", self._namespace, uid=self.before.uid)
        except Conflict as conflict:
            raise FaultHadNoEffect(f"{self.target} was replaced before it could be deleted: {conflict}") from conflict
        if not there:
            raise FaultHadNoEffect(f"{self.target} was gone before it could be deleted")

    def proof(self) -> list[str]:
        """Tell what is gone, once all is; an API server that does not answer proves nothing."""
        try:
            namespace = self._kube.get("Namespace", self._namespace)
            if namespace is not None and namespace["metadata"]["uid"] == self.before.uid:
                self.unproven = f"{self.target}: {describe(namespace)}" + (
                    self._left() if "deletionTimestamp" in namespace["metadata"] else ""
                )
                return []
            volumes = {one["metadata"]["uid"]: one for one in self._kube.list("PersistentVolume")}
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        facts = [f"namespace {self._namespace} with uid {self.before.uid} is gone"]
        for name, uid in sorted(self.before.volumes.items()):
            volume = volumes.get(uid)
            if volume is None:
                facts.append(f"volume {name} with uid {uid} is gone")
            elif retained(volume):
                facts.append(f"volume {name} with uid {uid} is released, and retained by its class")
            else:
                self.unproven = f"volume {name}: {describe(volume)}"
                return []
        counted = f"{len(self.before.pods)} pods and {len(self.before.claims)} volume claims"
        return [*facts, f"{counted} went with it"]

    def _left(self) -> str:
        """Say what is left in the namespace: its own conditions are silent until its last pod is gone."""
        now = self._clock.monotonic()
        if now - self._looked >= _LOOK_INTO_EVERY_S:
            self._looked = now
            found = [
                f"{kind} {one['metadata']['name']} ({describe(one)})"
                for kind in _MAY_BE_HELD
                for one in self._kube.list(kind, self._namespace)
                if one["metadata"].get("finalizers") or (kind == "Pod" and "deletionTimestamp" in one["metadata"])
            ]
            more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
            self._seen_left = f"; left in it: {', '.join(found[:_TOLD])}{more}" if found else ""
        return self._seen_left

    def heal(self) -> None:
        """Do nothing: bringing the namespace back is the procedure's, not the harness's."""


def namespace_deleted(kube: Kube, namespace: str) -> NamespaceDeleted:
    """Make the fault that deletes a namespace, and note what it holds now.

    Raises:
        UsageError: there is no such namespace, or it is being deleted already.
        KubeError: the API server did not say.

    """
    found = kube.get("Namespace", namespace)
    if found is None or "deletionTimestamp" in found["metadata"]:
        state = "none of that name" if found is None else "one that is being deleted already"
        raise UsageError(f"namespace_deleted {namespace!r}: found {state}, accepted: an existing namespace")
    claims = kube.list("PersistentVolumeClaim", namespace)
    bound = {claim["metadata"]["uid"] for claim in claims}
    volumes = [
        volume
        for volume in kube.list("PersistentVolume")
        if ((volume.get("spec") or {}).get("claimRef") or {}).get("uid") in bound
    ]
    pods = kube.list("Pod", namespace)
    with_volume = {((volume.get("spec") or {}).get("claimRef") or {}).get("uid") for volume in volumes}
    before = Contents(
        uid=found["metadata"]["uid"],
        bound=tuple(claim["metadata"]["name"] for claim in claims if claim["metadata"]["uid"] in with_volume),
        **{
            kind: {one["metadata"]["name"]: one["metadata"]["uid"] for one in objects}
            for kind, objects in (("claims", claims), ("volumes", volumes), ("pods", pods))
        },
    )
    return NamespaceDeleted(kube, namespace, before)


def retained(volume: dict[str, object]) -> bool:
    """Tell whether a volume is released and its class keeps it: no claim leads to its data any more."""
    spec, status = volume.get("spec"), volume.get("status")
    if not isinstance(spec, dict) or not isinstance(status, dict):
        return False
    return spec.get("persistentVolumeReclaimPolicy") == "Retain" and status.get("phase") == "Released"
