"""Faults of one pod."""

from __future__ import annotations

from drills.errors import FaultHadNoEffect, UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import RIDDEN_OUT, Conflict, Kube, describe
from drills.waiting import in_a_line


class PodKilled(Fault):
    """A pod is deleted without grace, as when its node's kernel kills it.

    The API server forgets a pod deleted so at once, before its processes are dead. The proof is therefore that this
    very pod is gone; whether anyone noticed is for the probes to say.
    """

    name = "pod killed"
    blast_radius = BlastRadius.POD

    def __init__(self, kube: Kube, namespace: str, pod: str, *, uid: str, node: str) -> None:
        """Aim at one pod.

        Args:
            kube: the cluster.
            namespace: the pod's namespace.
            pod: its name.
            uid: its UID: a successor of the same name, as a StatefulSet makes, is another pod.
            node: the node it runs on, for the record.

        """
        self.target = f"pod/{namespace}/{pod} (uid {uid}, on {node or 'no node'})"
        self._kube = kube
        self._namespace = namespace
        self._pod = pod
        self._uid = uid

    def inject(self) -> None:
        """Delete the pod of that UID.

        Raises:
            FaultHadNoEffect: it was gone or replaced already.

        """
        try:
            there = self._kube.delete("Pod", self._pod, self._namespace, grace_s=0, uid=self._uid)
        except Conflict as conflict:
            raise FaultHadNoEffect(f"{self.target} was replaced before it could be killed: {conflict}") from conflict
        if not there:
            raise FaultHadNoEffect(f"{self.target} was gone before it could be killed")

    def proof(self) -> list[str]:
        """Tell whether this very pod is gone; an API server that does not answer proves nothing."""
        try:
            now = self._kube.get("Pod", self._pod, self._namespace)
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        self.unproven = f"pod {self._pod}: {describe(now)}"
        if now is None:
            return [f"pod {self._pod} with uid {self._uid} is gone"]
        successor = now["metadata"]["uid"]
        return [f"pod {self._pod} has uid {successor}, not {self._uid}"] if successor != self._uid else []

    def heal(self) -> None:
        """Do nothing: whoever owns the pod makes another."""


def pod_killed(kube: Kube, namespace: str, pod: str) -> PodKilled:
    """Make the fault that kills a pod which is there now.

    Raises:
        UsageError: there is no such pod.
        KubeError: the API server did not say.

    """
    found = kube.get("Pod", pod, namespace)
    if found is None:
        there = ", ".join(sorted(one["metadata"]["name"] for one in kube.list("Pod", namespace))) or "none"
        raise UsageError(f"pod_killed: found no pod {pod!r} in namespace {namespace}, accepted: one of {there}")
    node = str(found["spec"].get("nodeName", ""))
    return PodKilled(kube, namespace, pod, uid=found["metadata"]["uid"], node=node)
