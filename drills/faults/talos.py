"""Faults of etcd on machines that run Talos."""

from __future__ import annotations

from collections.abc import Sequence

from drills.errors import EnvironmentFailed, ProcedureFailed, UsageError
from drills.faults.member import MembersFault
from drills.kube import Kube
from drills.talosctl import DATA, WAITING, WIPE, Talosctl, TalosNode


class EtcdMembersWiped(MembersFault):
    """Control planes that run Talos lose their disks at once, and boot again with their configuration alone.

    Everything on Talos' partition EPHEMERAL is gone: etcd's data, images, and whatever pods kept on those machines.
    An etcd without data waits; it founds no cluster of its own.
    """

    name = "etcd members wiped"

    def __init__(self, talosctl: Talosctl, nodes: Sequence[TalosNode], kube: Kube, members: int) -> None:
        """Aim at the etcd of these machines.

        Args:
            talosctl: reaches them.
            nodes: the control planes that lose their disks.
            kube: the cluster.
            members: how many members etcd has in all.

        """
        super().__init__([node.name for node in nodes], kube, members)
        self._talosctl = talosctl
        self._nodes = nodes

    def inject(self) -> None:
        """Have the machines wipe the partition and boot again; nothing is waited for.

        Raises:
            EnvironmentFailed: one of them refused.

        """
        self._talosctl.run(self._nodes, *WIPE, "--wait=false", fails_as=EnvironmentFailed)

    def proof(self) -> list[str]:
        """Tell, once it is so on every machine, that its etcd has no data; and without a quorum, no API."""
        try:
            for node in self._nodes:
                if self._talosctl.etcd(node).state != WAITING or self._talosctl.has_data(node):
                    return []
        except ProcedureFailed:  # a machine that boots does not answer, which proves nothing about its data
            return []
        return self._proved([f"{node.name}: etcd is {WAITING}, and {DATA} holds no member" for node in self._nodes])

    def heal(self) -> None:
        """Nothing can be put back: what was wiped is gone. Where the procedure failed, its runbook is the way back."""


def etcd_members_wiped(talosctl: Talosctl, nodes: Sequence[TalosNode], kube: Kube, members: int) -> EtcdMembersWiped:
    """Make the fault that takes the disks of these control planes.

    Args:
        talosctl: reaches them.
        nodes: the machines that lose them.
        kube: the cluster.
        members: how many members etcd has in all.

    Raises:
        UsageError: no machine is named, or etcd does not run on one of them.
        ProcedureFailed: a machine does not answer.

    """
    if not nodes:
        raise UsageError("etcd_members_wiped: found no machine, accepted: one control plane or more")
    for node in nodes:
        state = talosctl.etcd(node).state
        if state != "Running":
            raise UsageError(f"etcd_members_wiped on {node.name}: found etcd {state}, accepted: Running")
    return EtcdMembersWiped(talosctl, nodes, kube, members)
