"""Faults of one node."""

from __future__ import annotations

import socket

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import Kube
from drills.nodes import Machine

KUBELET_PORT = 10250
_KNOCK_TIMEOUT_S = 1.0


class NodeStopped(Fault):
    """A node loses its power.

    Kubernetes notices after 50 s (node-monitor-grace-period); waiting for its Ready condition would count that as the
    disaster's own time, though the service is down from the first moment. So the proof comes from outside the cluster:
    what runs the node says that it is off, and its kubelet, where it answered before, answers no more.
    """

    name = "node stopped"

    def __init__(self, node: Machine, *, address: str = "", control_plane: bool = False) -> None:
        """Aim at one node.

        Args:
            node: the machine.
            address: its address in the node network, to knock at; none is knocked at if empty.
            control_plane: whether it runs a part of the control plane, which makes the blast radius wider.

        """
        self.target = f"node/{node.name}"
        self.blast_radius = BlastRadius.CONTROL_PLANE if control_plane else BlastRadius.NODE
        self._node = node
        # Where the node network cannot be reached from here, silence would prove nothing.
        self._address = address if address and _answers(address) else ""

    def inject(self) -> None:
        """Stop the node."""
        self._node.stop()

    def proof(self) -> list[str]:
        """Tell whether the node is off; nothing as long as either witness says otherwise."""
        if self._node.running():
            self.unproven = f"node {self._node.name} is running"
            return []
        facts = [f"node {self._node.name} is not running"]
        if self._address:
            if _answers(self._address):
                self.unproven = f"its kubelet at {self._address}:{KUBELET_PORT} still answers"
                return []
            facts.append(f"its kubelet at {self._address}:{KUBELET_PORT} answers no more")
        return facts

    def heal(self) -> None:
        """Start the node if it does not run."""
        if not self._node.running():
            self._node.start()


def node_stopped(node: Machine, kube: Kube) -> NodeStopped:
    """Make the fault that stops a node.

    Raises:
        UsageError: the cluster has no node of that name.
        KubeError: the API server did not say.

    """
    found = kube.get("Node", node.name)
    if found is None:
        there = ", ".join(sorted(one["metadata"]["name"] for one in kube.list("Node"))) or "none"
        raise UsageError(f"node_stopped: found no node {node.name!r} in the cluster, accepted: one of {there}")
    addresses = (found.get("status") or {}).get("addresses") or []
    internal = next((str(one["address"]) for one in addresses if one["type"] == "InternalIP"), "")
    control_plane = "node-role.kubernetes.io/control-plane" in (found["metadata"].get("labels") or {})
    return NodeStopped(node, address=internal, control_plane=control_plane)


def _answers(address: str) -> bool:
    try:
        socket.create_connection((address, KUBELET_PORT), timeout=_KNOCK_TIMEOUT_S).close()
    except OSError:
        return False
    return True
