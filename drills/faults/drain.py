"""A node is taken out of service in an orderly way: planned maintenance, which users must not notice."""

from __future__ import annotations

from drills.commands import Commands
from drills.errors import EnvironmentFailed, UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import RIDDEN_OUT, Kube

DRAIN_TIMEOUT_S = 180


class NodeDrained(Fault):
    """A node is cordoned and its pods are evicted, one disruption budget after the other.

    The proof is asked of the API: the node takes no pods, and those that ran there are gone.
    """

    name = "node drained"
    blast_radius = BlastRadius.NODE

    def __init__(self, kube: Kube, node: str, commands: Commands, kubectl: list[str], pods: dict[str, str]) -> None:
        """Aim at one node.

        Args:
            kube: the cluster.
            node: its name.
            commands: runs kubectl.
            kubectl: kubectl with the words that lead it to the cluster.
            pods: the pods that must leave, "namespace/name" to UID.
        """
        self.target = f"node/{node}"
        self._kube = kube
        self._node = node
        self._commands = commands
        self._kubectl = kubectl
        self._pods = pods

    def inject(self) -> None:
        """Drain the node as an administrator does; evictions that a budget refuses are asked for again by kubectl.

        Raises:
            EnvironmentFailed: the drain did not end in time.
        """
        self._commands.run(
            [
                *self._kubectl, "drain", self._node, "--ignore-daemonsets", "--delete-emptydir-data",
                f"--timeout={DRAIN_TIMEOUT_S}s",
            ],
            timeout_s=DRAIN_TIMEOUT_S + 10, fails_as=EnvironmentFailed,
        )  # fmt: skip

    def proof(self) -> list[str]:
        """Tell that the node is closed and empty; nothing before both are so."""
        try:
            node = self._kube.get("Node", self._node)
            here = {pod["metadata"]["uid"] for pod in self._kube.list("Pod", fields=f"spec.nodeName={self._node}")}
        except RIDDEN_OUT:
            return []
        if not node or not (node.get("spec") or {}).get("unschedulable") or here & set(self._pods.values()):
            return []
        return [
            f"node {self._node} is unschedulable",
            *(f"pod {pod} with uid {uid} left it" for pod, uid in sorted(self._pods.items())),
        ]

    def heal(self) -> None:
        """Let the node take pods again, if the procedure did not."""
        self._kube.uncordon(self._node)


def node_drained(kube: Kube, node: str, commands: Commands, kubectl: list[str]) -> NodeDrained:
    """Make the fault that drains a node, and note which pods must leave it.

    Raises:
        UsageError: nothing but daemons runs there, so that draining it would prove nothing.
        KubeError: the API server did not say.
    """
    pods = {
        f"{pod['metadata']['namespace']}/{pod['metadata']['name']}": pod["metadata"]["uid"]
        for pod in kube.list("Pod", fields=f"spec.nodeName={node}")
        if all(
            owner["kind"] not in ("DaemonSet", "Node")
            for owner in pod["metadata"].get("ownerReferences") or [{"kind": ""}]
        )
    }
    if not pods:
        raise UsageError(
            f"node_drained {node!r}: found no pod on it that a drain would move, accepted: a node with at least one"
        )
    return NodeDrained(kube, node, commands, kubectl, pods)
