"""Faults of replicas that each have their own data: pods of a StatefulSet, lost with their volumes."""

from __future__ import annotations

from dataclasses import dataclass

from drills.errors import FaultHadNoEffect, UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.namespace import retained
from drills.kube import RIDDEN_OUT, Conflict, Kube, describe
from drills.waiting import in_a_line


@dataclass(frozen=True)
class Replica:
    """A pod, its claims and their volumes, as UIDs by name."""

    pod: str
    uid: str
    claims: dict[str, str]
    volumes: dict[str, str]


class ReplicasLost(Fault):
    """Pods are deleted without grace, together with their volumes: their machines' disks are gone.

    The StatefulSet's controller makes pods and claims of the same names at once, with empty volumes. The proof is
    that these very pods are gone, and these very volumes.
    """

    name = "replicas lost with their volumes"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, kube: Kube, namespace: str, replicas: list[Replica]) -> None:
        """Aim at replicas as they are now; see `replicas_lost`."""
        self.target = ", ".join(f"pod/{namespace}/{one.pod} with {', '.join(one.volumes)}" for one in replicas)
        self.claims = sorted(f"{namespace}/{claim}" for one in replicas for claim in one.claims)
        self._kube = kube
        self._namespace = namespace
        self._replicas = replicas

    def inject(self) -> None:
        """Delete the claims, which go when nothing uses them, and then the pods.

        Raises:
            FaultHadNoEffect: one of them was gone or replaced already.

        """
        for replica in self._replicas:
            for claim, uid in replica.claims.items():
                self._delete("PersistentVolumeClaim", claim, uid)
        for replica in self._replicas:
            self._delete("Pod", replica.pod, replica.uid)

    def proof(self) -> list[str]:
        """Tell what is gone, once all is; an API server that does not answer proves nothing."""
        try:
            pods = {one["metadata"]["uid"]: one for one in self._kube.list("Pod", self._namespace)}
            volumes = {one["metadata"]["uid"]: one for one in self._kube.list("PersistentVolume")}
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        facts = []
        for replica in self._replicas:
            left = [volumes[uid] for uid in replica.volumes.values() if uid in volumes]
            held = [one for one in left if not retained(one)]
            if replica.uid in pods or held:
                there = [f"pod {replica.pod}: {describe(pods[replica.uid])}"] if replica.uid in pods else []
                there += [f"volume {one['metadata']['name']}: {describe(one)}" for one in held]
                self.unproven = "; ".join(there)
                return []
            facts.append(f"pod {replica.pod} with uid {replica.uid} is gone")
            facts += [f"volume {name} with uid {uid} is gone or released" for name, uid in replica.volumes.items()]
        return facts

    def heal(self) -> None:
        """Do nothing: the controller makes the pods, and bringing the data back is the procedure's."""

    def _delete(self, kind: str, name: str, uid: str) -> None:
        try:
            there = self._kube.delete(kind, name, self._namespace, uid=uid, grace_s=0 if kind == "Pod" else None)
        except Conflict as conflict:
            raise FaultHadNoEffect(f"{kind} {name} was replaced before it could be lost: {conflict}") from conflict
        if not there:
            raise FaultHadNoEffect(f"{kind} {name} was gone before it could be lost")


def replicas_lost(kube: Kube, namespace: str, *pods: str) -> ReplicasLost:
    """Make the fault that takes pods and their volumes away, and note what they have now.

    Args:
        kube: the cluster.
        namespace: the pods' namespace.
        pods: their names.

    Raises:
        UsageError: no pod is named, there is no such pod, or it has no volume of its own that is bound.
        KubeError: the API server did not say.

    """
    there = {one["metadata"]["name"]: one for one in kube.list("Pod", namespace)}
    claims = {one["metadata"]["name"]: one for one in kube.list("PersistentVolumeClaim", namespace)}
    volumes = {one["metadata"]["name"]: one["metadata"]["uid"] for one in kube.list("PersistentVolume")}
    found = []
    for name in pods:
        if name not in there:
            raise UsageError(
                f"replicas_lost: found no pod {name!r} in namespace {namespace}, accepted: some of "
                f"{', '.join(sorted(there)) or 'none'}"
            )
        used = [
            one["persistentVolumeClaim"]["claimName"]
            for one in there[name]["spec"].get("volumes") or []
            if "persistentVolumeClaim" in one
        ]
        own = {claim: claims[claim] for claim in used if claim in claims}
        bound = {one["spec"].get("volumeName", ""): one for one in own.values()}
        if not used or set(used) != set(own) or not bound.keys() <= volumes.keys():
            raise UsageError(f"replicas_lost: found pod {name!r} with claims {used}, accepted: one with bound volumes")
        found.append(
            Replica(
                name,
                there[name]["metadata"]["uid"],
                {claim: one["metadata"]["uid"] for claim, one in own.items()},
                {volume: volumes[volume] for volume in bound},
            )
        )
    if not found:
        raise UsageError("replicas_lost: found no pod named, accepted: one or more")
    return ReplicasLost(kube, namespace, found)
