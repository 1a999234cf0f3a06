"""A node is taken out of service in an orderly way: planned maintenance, which users must not notice."""

from __future__ import annotations

from drills.commands import Commands
from drills.errors import DrillError, FaultHadNoEffect, UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.budget import blocking
from drills.faults.local import local_to
from drills.kube import RIDDEN_OUT, Kube, KubeError, Manifest, describe
from drills.waiting import in_a_line

DRAIN_TIMEOUT_S = 180.0
_ENDS_WITHIN_S = 10.0  # more than kubectl's own time-out
_FINISHED = ("Succeeded", "Failed")
_QUOTED = 300


class NodeDrained(Fault):
    """A node is cordoned and its pods are evicted, one disruption budget after the other.

    The proof is asked of the API: the node takes no pods, and those that ran there are gone.
    """

    name = "node drained"
    blast_radius = BlastRadius.NODE

    def __init__(
        self,
        kube: Kube,
        node: str,
        commands: Commands,
        kubectl: list[str],
        pods: dict[str, str],
        bound: dict[str, str] | None = None,
    ) -> None:
        """Aim at one node.

        Args:
            kube: the cluster.
            node: its name.
            commands: runs kubectl.
            kubectl: kubectl with the words that lead it to the cluster.
            pods: the pods that must leave, "namespace/name" to UID.
            bound: those of them that can run nowhere else, and the volume that holds them here.
        """
        self.target = f"node/{node}"
        self.bound = bound or {}
        self._kube = kube
        self._node = node
        self._commands = commands
        self._kubectl = kubectl
        self._pods = pods
        self._cordoned = False

    def inject(self) -> None:
        """Drain the node as an administrator does; evictions that a budget refuses are asked for again by kubectl.

        It is given as long as the damage may take to show, and no more than `DRAIN_TIMEOUT_S`.

        Raises:
            FaultHadNoEffect: the drain did not end in time, or was refused; names the budget that forbids it.
        """
        within_s = min(DRAIN_TIMEOUT_S, self.within_s or DRAIN_TIMEOUT_S)
        # What somebody else has cordoned stays so afterwards.
        self._cordoned = not _unschedulable(self._kube.get("Node", self._node))
        try:
            self._commands.run(
                [
                    *self._kubectl, "drain", self._node, "--ignore-daemonsets", "--delete-emptydir-data",
                    f"--timeout={within_s:g}s",
                ],
                timeout_s=within_s + _ENDS_WITHIN_S, fails_as=_Refused,
            )  # fmt: skip
        except _Refused as refusal:
            why = self._blocked() or _last_error(str(refusal))
            raise FaultHadNoEffect(f"{self.target} was not drained within {within_s:g} s: {why}") from refusal

    def proof(self) -> list[str]:
        """Tell that the node is closed and empty; nothing before both are so."""
        try:
            node = self._kube.get("Node", self._node)
            there = self._kube.list("Pod", fields=f"spec.nodeName={self._node}")
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        here = [pod for pod in there if pod["metadata"]["uid"] in self._pods.values()]
        if not _unschedulable(node) or here:
            left = "; ".join(f"pod {_named(pod)}: {describe(pod)}" for pod in here[:3])
            self.unproven = left or f"node {self._node} takes pods: {describe(node)}"
            return []
        return [
            f"node {self._node} is unschedulable",
            *(f"pod {pod} with uid {uid} left it" for pod, uid in sorted(self._pods.items())),
            *(f"pod {pod} can run on no other node: {why}" for pod, why in sorted(self.bound.items())),
        ]

    def heal(self) -> None:
        """Let the node take pods again if this fault has cordoned it, and the procedure did not."""
        if self._cordoned:
            self._kube.uncordon(self._node)

    def _blocked(self) -> str:
        """Name the budgets that forbid to evict the pods which are left, as they stand now; empty if none does."""
        try:
            there = self._kube.list("Pod", fields=f"spec.nodeName={self._node}")
            left = [pod for pod in there if pod["metadata"]["uid"] in self._pods.values()]
            return blocking(self._kube, left)
        except KubeError as trouble:
            return f"which budget forbids it is not known: {in_a_line(trouble)}"


class _Refused(DrillError):  # noqa: N818 - what happened, as in drills.errors
    """The drain failed; carries all that kubectl said, a line for every attempt to evict."""


def node_drained(kube: Kube, node: str, commands: Commands, kubectl: list[str]) -> NodeDrained:
    """Make the fault that drains a node, and note which pods must leave it.

    Raises:
        UsageError: there is no such node, nothing but daemons runs there, so that draining it would prove nothing, or
            a pod there has no controller, so that kubectl refuses.
        KubeError: the API server did not say.
    """
    if kube.get("Node", node) is None:
        there = ", ".join(sorted(one["metadata"]["name"] for one in kube.list("Node"))) or "none"
        raise UsageError(f"node_drained: invalid value {node!r}: expected one of {there}")
    # What is being deleted leaves by itself: the namespace of the drill before, in a cluster that drills share.
    going = {one["metadata"]["name"] for one in kube.list("Namespace") if "deletionTimestamp" in one["metadata"]}
    found = [
        pod
        for pod in kube.list("Pod", fields=f"spec.nodeName={node}")
        if (pod.get("status") or {}).get("phase") not in _FINISHED
        and "deletionTimestamp" not in pod["metadata"]
        and pod["metadata"]["namespace"] not in going
        and all(owner["kind"] not in ("DaemonSet", "Node") for owner in pod["metadata"].get("ownerReferences") or [])
    ]
    if not found:
        raise UsageError(
            f"node_drained {node!r}: found no pod on it that a drain would move, accepted: a node with at least one"
        )
    bare = sorted(_named(pod) for pod in found if not pod["metadata"].get("ownerReferences"))
    if bare:
        raise UsageError(
            f"node_drained {node!r}: found pods that no controller owns: {', '.join(bare)}; accepted: a node without "
            "them, because kubectl drain refuses them, and nobody would make them again"
        )
    pods = {_named(pod): pod["metadata"]["uid"] for pod in found}
    return NodeDrained(kube, node, commands, kubectl, pods, local_to(kube, node, found))


def _unschedulable(node: Manifest | None) -> bool:
    return bool(((node or {}).get("spec") or {}).get("unschedulable"))


def _named(pod: Manifest) -> str:
    return f"{pod['metadata']['namespace']}/{pod['metadata']['name']}"


def _last_error(said: str) -> str:
    """Return kubectl's last word on one line: before it stands one line for every attempt."""
    errors = [line for line in said.splitlines() if line.startswith("error")]
    text = " ".join((errors or said.splitlines() or ["kubectl did not say why"])[-1].split())
    return text if len(text) <= _QUOTED else f"{text[:_QUOTED]}…"
