"""The loss of the only control-plane node, with all that its disk knew of the cluster."""

from __future__ import annotations

from typing import Protocol

from drills.errors import EnvironmentFailed, UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import Kube
from drills.nodes import Machine, Node

LOST = (
    "/etc/kubernetes",
    "/var/lib/etcd",
    "/var/lib/etcd-snapshots",
    "/var/lib/etcd-restored",
    "/var/lib/kubelet/config.yaml",
    "/var/lib/kubelet/kubeadm-flags.env",
    "/var/lib/kubelet/pki",
    "/kind/kubeadm.conf",
)
"""What makes a machine the control plane of this cluster: keys, certificates, configuration, etcd, local snapshots.

Its operating system, programs and images stay: a new machine is set up with those, and has nothing of these.
"""

_EXEC_TIMEOUT_S = 60.0


class ControlPlaneMachine(Node, Machine, Protocol):
    """A node that can be wiped and switched off."""


class ControlPlaneLost(Fault):
    """The only control-plane node is gone, and its disk with it. The workers and their pods go on.

    The proof: what ran the node says that it is off, and the API server answers nobody. That the disk was empty when
    the power went is seen on the node itself, in its last moment.
    """

    name = "control plane lost"
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, node: ControlPlaneMachine, kube: Kube) -> None:
        """Aim at the control-plane node."""
        self.target = f"node/{node.name}"
        self._node = node
        self._kube = kube
        self._wiped = False

    def inject(self) -> None:
        """Wipe the node's disk of the cluster, and cut its power.

        Raises:
            EnvironmentFailed: something was left on the disk.
        """
        lost = " ".join(LOST)
        # etcd's directory is mounted nowhere, but kubelet would write its files again: it goes first.
        left = self._node.exec(
            ["sh", "-c", f"systemctl kill --signal=KILL kubelet; systemctl stop kubelet; rm -rf {lost}; "
             f"for path in {lost}; do if [ -e $path ]; then echo $path; fi; done"],
            timeout_s=_EXEC_TIMEOUT_S,
        ).split()  # fmt: skip
        self._node.stop()
        if left:
            raise EnvironmentFailed(f"{self.target} could not be wiped of {', '.join(left)}")
        self._wiped = True

    def proof(self) -> list[str]:
        """Tell that the node is off, that nobody answers in its place, and what was gone from its disk."""
        if self._node.running() or self._kube.ready():
            off = not self._node.running()
            self.unproven = "an API server still answers" if off else f"node {self._node.name} is running"
            return []
        facts = [f"node {self._node.name} is not running", f"no API server answers at {self._kube.server}"]
        return facts + ([f"its disk was wiped of {', '.join(LOST)}"] if self._wiped else [])

    def heal(self) -> None:
        """Switch the machine on, if the procedure did not; what it knew of the cluster is the procedure's to bring."""
        if not self._node.running():
            self._node.start()


def control_plane_lost(node: ControlPlaneMachine, kube: Kube) -> ControlPlaneLost:
    """Make the fault that destroys the only control-plane node.

    Raises:
        UsageError: it is none, or not the only one, which is another disaster.
        KubeError: the API server did not say.
    """
    planes = [one["metadata"]["name"] for one in kube.list("Node", labels="node-role.kubernetes.io/control-plane=")]
    if planes != [node.name]:
        raise UsageError(
            f"control_plane_lost {node.name!r}: found control planes {', '.join(planes) or 'none'}, "
            "accepted: the only control plane of its cluster"
        )
    return ControlPlaneLost(node, kube)
