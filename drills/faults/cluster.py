"""Faults of a whole cluster."""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Protocol

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import Kube


class Cluster(Protocol):
    """A cluster, or the machine under it, that the harness can take away: kind's, or whatever a team plugs in."""

    name: str

    @property
    def kube(self) -> Kube:
        """Its API."""
        ...

    def delete(self) -> None:
        """Take all of it away, its disks included. Idempotent."""
        ...

    def parts(self) -> list[str]:
        """Name what it consists of now, machines and disks, asked of what runs them."""
        ...

    def left_of(self, parts: Sequence[str]) -> list[str]:
        """Name which of these parts are still there, asked of what runs them."""
        ...


class ClusterDeleted(Fault):
    """A whole cluster is gone: its nodes, their disks, its API.

    The proof comes from two sides: what ran the cluster has none of its machines and disks any more, and its API
    server, which answered before, does not answer.
    """

    name = "cluster deleted"
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, cluster: Cluster) -> None:
        """Aim at a cluster as it is now.

        Raises:
            UsageError: there is nothing of it, or its API does not answer: it is gone already.

        """
        self.target = f"cluster/{cluster.name}"
        self._cluster = cluster
        self._parts = cluster.parts()
        if not self._parts or not cluster.kube.ready():
            raise UsageError(f"{self.name}, {cluster.name!r}: found none that runs, accepted: a running cluster")

    @cached_property
    def claims(self) -> Sequence[str]:  # type: ignore[override] # can be written like the attribute; asked late
        """Every claim of the cluster that has a volume, asked of its API while it answers; raises KubeError."""
        return sorted(
            f"{claim['metadata']['namespace']}/{claim['metadata']['name']}"
            for claim in self._cluster.kube.list("PersistentVolumeClaim")
            if (claim.get("status") or {}).get("phase") == "Bound"
        )

    def inject(self) -> None:
        """Delete the cluster without grace."""
        self._cluster.delete()

    def proof(self) -> list[str]:
        """Tell that all of it is gone; nothing as long as a part of it is there or its API answers."""
        left = self._cluster.left_of(self._parts)
        if left or self._cluster.kube.ready():
            self.unproven = f"there is still {', '.join(left)}" if left else "its API server still answers"
            return []
        return [
            f"{len(self._parts)} parts are gone: {', '.join(sorted(self._parts))}",
            f"the API server at {self._cluster.kube.server} answers no more",
        ]

    def heal(self) -> None:
        """Do nothing: building another cluster is the procedure's, not the harness's."""


class HostLost(ClusterDeleted):
    """A machine is lost with everything of the cluster on it: nodes and their disks, network, configuration, access.

    What is elsewhere survives: the object store, the users' names. So do container images, where the new machine has
    them already.
    """

    name = "host lost"

    def __init__(self, host: Cluster) -> None:
        """Aim at a machine as it is now; it is asked what a cluster is asked.

        Raises:
            UsageError: there is nothing on it, or its cluster's API does not answer.

        """
        super().__init__(host)
        self.target = f"host/{host.name}"


def host_lost(host: Cluster) -> HostLost:
    """Make the fault that loses a machine with the cluster on it.

    Raises:
        UsageError: no cluster runs on it.

    """
    return HostLost(host)


def cluster_deleted(cluster: Cluster) -> ClusterDeleted:
    """Make the fault that deletes a whole cluster.

    Raises:
        UsageError: the cluster does not run.

    """
    return ClusterDeleted(cluster)
