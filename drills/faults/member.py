"""Faults of an etcd of several members: disks lost on one machine, or on all of them."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.etcd import MEMBER, RUNNING
from drills.faults.healing import each
from drills.kube import Kube
from drills.nodes import Node
from drills.waiting import wait_until

MANIFEST = "/etc/kubernetes/manifests/etcd.yaml"
ASIDE = "/etc/kubernetes/etcd.yaml.drills-aside"

STOPPED_WITHIN_S = 90.0
"""How long kubelet may take to let go of etcd without its manifest: up to 20 s to see it, then what it was doing."""

_EXEC_TIMEOUT_S = 30.0
POD = "crictl pods --quiet --state ready --name '^etcd-'"


class MembersFault(Fault):
    """Some of etcd's members are lost at once; with most of them goes the quorum, and the API with it."""

    def __init__(self, names: Sequence[str], kube: Kube, members: int) -> None:
        """Aim at members; the arguments are the names of their nodes, the cluster, and how many members there are."""
        self.target = "etcd/" + ",".join(names)
        self.blast_radius = BlastRadius.CLUSTER if len(names) > (members - 1) // 2 else BlastRadius.CONTROL_PLANE
        self._kube = kube

    @property
    def quorum_lost(self) -> bool:
        """Whether too few members are left to agree on anything."""
        return self.blast_radius is BlastRadius.CLUSTER

    def _proved(self, facts: list[str]) -> list[str]:
        """Return what is known of the members, once it is so of the API too: without a quorum it is not ready."""
        if not self.quorum_lost:
            return facts
        return [] if self._kube.ready() else [*facts, "no API server is ready: etcd has no quorum"]


class EtcdMembersLost(MembersFault):
    """Members of etcd lose their disks at once: the process is gone without grace, and what it had stored with it.

    The manifest is put aside, so that etcd stays away until somebody brings the member back: started again on an empty
    disk, kubeadm's first member would found a cluster of its own beside the one that it belonged to.
    """

    name = "etcd members lost"

    def __init__(self, nodes: Sequence[Node], kube: Kube, members: int) -> None:
        """Aim at the etcd of these nodes.

        Args:
            nodes: the control-plane nodes that lose their disks.
            kube: the cluster.
            members: how many members etcd has in all.

        """
        super().__init__([node.name for node in nodes], kube, members)
        self._nodes = nodes

    def inject(self) -> None:
        """Kill etcd on every one of the nodes, and take its data away once kubelet has let go of it.

        Raises:
            WaitTimeout: kubelet did not let go of it in time; the data is untouched then.

        """
        stop = f'mv {MANIFEST} {ASIDE}; running=$({RUNNING}); [ -z "$running" ] || crictl stop --timeout=0 $running'
        for node in self._nodes:
            node.exec(["sh", "-c", stop], timeout_s=_EXEC_TIMEOUT_S)
        for node in self._nodes:
            # Until it has seen that the manifest is gone, kubelet starts etcd again as often as it dies.
            wait_until(
                lambda node=node: not node.exec(["sh", "-c", POD], timeout_s=_EXEC_TIMEOUT_S).strip(),  # type: ignore[misc]
                what=f"kubelet on {node.name} lets go of etcd",
                within_s=STOPPED_WITHIN_S,
                every_s=0.5,
            )
            node.exec(["rm", "-rf", MEMBER], timeout_s=_EXEC_TIMEOUT_S)

    def proof(self) -> list[str]:
        """Tell, once it is so on every node, that member and process are gone; and without a quorum, the API too."""
        facts = []
        for node in self._nodes:
            script = f'[ ! -e {MEMBER} ] && [ -z "$({POD})" ] && echo gone || true'
            if node.exec(["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S).strip() != "gone":
                return []
            facts.append(f"{node.name}: no etcd runs, and {MEMBER} is gone")
        return self._proved(facts)

    def heal(self) -> None:
        """Put the manifests back that are still aside; a node that fails keeps none of the others from it.

        Raises:
            EnvironmentFailed: some nodes failed; says which, and why.

        """
        # Never over one that is there: the procedure may have written it.
        script = f"if [ -e {ASIDE} ] && [ ! -e {MANIFEST} ]; then mv {ASIDE} {MANIFEST}; else rm -f {ASIDE}; fi"
        each((node.name, partial(node.exec, ["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S)) for node in self._nodes)


def etcd_members_lost(nodes: Sequence[Node], kube: Kube, members: int) -> EtcdMembersLost:
    """Make the fault that takes the disks of these members.

    Args:
        nodes: the nodes that lose them.
        kube: the cluster.
        members: how many members etcd has in all.

    Raises:
        UsageError: no node is named, or one has no etcd that kubeadm set up.

    """
    if not nodes:
        raise UsageError("etcd_members_lost: found no node, accepted: one control-plane node or more")
    for node in nodes:
        there = node.exec(["sh", "-c", f"[ -e {MANIFEST} ] && [ -e {MEMBER} ] && echo yes || true"], _EXEC_TIMEOUT_S)
        if there.strip() != "yes":
            raise UsageError(
                f"etcd_members_lost on {node.name}: found no {MANIFEST} with {MEMBER}, accepted: nodes made by kubeadm"
            )
    return EtcdMembersLost(nodes, kube, members)
