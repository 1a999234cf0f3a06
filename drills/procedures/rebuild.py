"""A whole cluster built anew from what survives outside it: docs/runbooks/cluster-rebuild.md.

The order matters: a cluster, Velero looking at the lost cluster's backups, the backups known to it, the data, what uses
the data, and only then the users.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Generic, Protocol, TypeVar

from drills.drill import Drill
from drills.kube import Kube, node_ready, pod_ready
from drills.procedures.holdings import synced_since
from drills.procedures.velero import NAMESPACE, Backup, Velero

SYNCED_WITHIN_S = 180.0
"""Velero looks once a minute; its first look finds nothing, because the storage location is not validated yet."""

LOCATION, DEFAULT = "velero.io/v1/BackupStorageLocation", "default"

KINDS = (
    "ConfigMap", "Secret", "Service", "PersistentVolumeClaim", "StatefulSet", "Deployment", "PodDisruptionBudget",
)  # fmt: skip
_MADE_BY_KUBERNETES = ("kube-root-ca.crt",)


class Cluster(Protocol):
    """A cluster, new or lost."""

    name: str

    @property
    def kube(self) -> Kube:
        """Its API."""
        ...

    @property
    def kubeconfig_path(self) -> Path:
        """The administrator's access to it."""
        ...


C = TypeVar("C", bound=Cluster)


class Site(Protocol[C]):
    """Where clusters are made: the harness's kind clusters, or a team's own provisioning."""

    def new_cluster(self) -> C:
        """Make a cluster of the lost one's shape, ready and with its storage class, and see that it goes afterwards."""
        ...

    def install_velero(self, cluster: C, *, backups_of: str) -> Path:
        """Install Velero against the object store, at the place where the named cluster kept its backups.

        Returns:
            Velero's command-line program.
        """
        ...

    def move_users(self, cluster: C) -> Sequence[str]:
        """Let the users' names lead to a cluster; returns what each stands for now, one a line."""
        ...


class HostSite(Site[C], Protocol[C]):
    """A site that is one machine, which may have to be prepared first."""

    def prepare_host(self) -> Sequence[str]:
        """Make what clusters stand on: network, directories, the way to the backups; says what was made."""
        ...


class Rebuild(Generic[C]):
    """The lost cluster's replacement, stage by stage."""

    def __init__(self, drill: Drill, lost: C, site: Site[C]) -> None:
        self._drill = drill
        self._lost = lost
        self._site = site
        self._inventory: set[tuple[str, str]] = set()

    def note_inventory(self, namespace: str) -> None:
        """Note what a namespace holds, to be compared after the restore. Called before the disaster."""
        self._inventory = _inventory(self._lost.kube, namespace)

    def provision(self) -> C:
        """Make a new cluster.

        Raises:
            EnvironmentFailed: it could not be made.
        """
        with self._drill.step("build a new cluster", "kind create cluster --name NEW --config SHAPE"):
            return self._site.new_cluster()

    def velero(self, cluster: C) -> Velero:
        """Install Velero in the new cluster, looking at the lost cluster's backups, which nobody may change meanwhile.

        Raises:
            EnvironmentFailed: it could not be installed.
            WaitTimeout: it does not work, or cannot use the object store.
        """
        with self._drill.step(
            "install Velero against the surviving object store", f"velero install --prefix={self._lost.name} ..."
        ):
            program = self._site.install_velero(cluster, backups_of=self._lost.name)
        with self._drill.step(
            "make the storage location read-only",
            f"kubectl -n {NAMESPACE} patch backupstoragelocation default --type=merge "
            '-p \'{"spec":{"accessMode":"ReadOnly"}}\'',
        ):
            self.allow_writes(cluster, "ReadOnly")
        return Velero(self._drill, cluster.kube, program, cluster.kubeconfig_path)

    def find_backup(self, cluster: Cluster, velero: Velero, namespace: str) -> Backup:
        """Wait until Velero has found the lost cluster's backups in the store, and return the newest completed one.

        Velero takes them from the store one by one, in no order: the first that it knows may be the oldest. It writes
        down when it has gone through the whole store, and that is waited for.

        Raises:
            WaitTimeout: it has not gone through the store in time.
            ProcedureFailed: the store holds no completed backup of the namespace.
        """
        with self._drill.step("wait until Velero has found the backups", "velero backup get", by="kubernetes"):
            cluster.kube.wait_for(
                LOCATION, DEFAULT, NAMESPACE, condition=synced_since(None),
                what="Velero knows all of the lost cluster's backups", within_s=SYNCED_WITHIN_S,
            )  # fmt: skip
        return velero.newest(namespace)

    def restore(self, velero: Velero, backup: Backup, *order: str) -> None:
        """Restore a backup in parts, each ready before the next one begins.

        Args:
            velero: the new cluster's.
            backup: the backup.
            order: the parts, as values of the label `app`: data first, then what uses it.

        Raises:
            ProcedureFailed: Velero failed, or said something else than Completed.
            WaitTimeout: a part was not ready in time.
        """
        if self._drill.leaves_out("procedure"):
            return
        for part in order:
            velero.restore_part(backup, part)

    def move_users(self, cluster: C) -> None:
        """Let the users' names lead to the new cluster. They follow when their caches have forgotten the old answer."""
        with self._drill.step("let the users' names lead to the new cluster", "update the DNS records"):
            told = self._site.move_users(cluster)
        self._drill.history.record("note", text="; ".join(told))

    def reopen(self, cluster: Cluster) -> None:
        """Let the new cluster write backups where the lost one did."""
        with self._drill.step(
            "let the new cluster write backups",
            f"kubectl -n {NAMESPACE} patch backupstoragelocation default --type=merge "
            '-p \'{"spec":{"accessMode":"ReadWrite"}}\'',
        ):
            self.allow_writes(cluster, "ReadWrite")

    def check_inventory(self, cluster: Cluster, namespace: str) -> None:
        """Check that every object that the lost cluster held in a namespace is there again, by kind and name."""
        missing = sorted("/".join(one) for one in self._inventory - _inventory(cluster.kube, namespace))
        self._drill.check(
            f"every object of namespace {namespace} is there again",
            bool(self._inventory) and not missing,
            f"{len(self._inventory)} objects",
            f"missing: {', '.join(missing)}" if missing else f"{len(self._inventory)} objects",
        )

    def allow_writes(self, cluster: Cluster, mode: str) -> None:
        """Say whether a cluster's Velero may change the storage location: ReadWrite or ReadOnly."""
        cluster.kube.patch(LOCATION, DEFAULT, {"spec": {"accessMode": mode}}, NAMESPACE)


class HostRebuild(Rebuild[C]):
    """A lost machine's replacement, from its network up: docs/runbooks/host-rebuild.md."""

    def __init__(self, drill: Drill, lost: C, site: HostSite[C]) -> None:
        super().__init__(drill, lost, site)
        self._host = site

    def prepare_host(self) -> None:
        """Prepare the machine for clusters. Its images are there already, which the record says.

        Raises:
            EnvironmentFailed: it could not be prepared.
        """
        self._drill.deviates("the container images are on the new machine already: bringing them there takes no part")
        with self._drill.step("prepare the new machine", "docker network create NETWORK"):
            made = self._host.prepare_host()
        self._drill.history.record("note", text=f"the new machine has: {', '.join(made)}")

    def verify(self, cluster: C) -> None:
        """See that the platform itself is whole: every node ready, every system pod running.

        Raises:
            WaitTimeout: it was not in time; says what is lacking.
        """
        with self._drill.step("see that the platform is whole", "kubectl get nodes,pods --all-namespaces"):
            cluster.kube.wait_for_all(
                "Node", condition=node_ready(True), what="every node is ready", within_s=self._drill.at_most(120)
            )
            cluster.kube.wait_for_all(
                "Pod", "kube-system", condition=pod_ready, what="every system pod is ready",
                within_s=self._drill.at_most(120),
            )  # fmt: skip


def _inventory(kube: Kube, namespace: str) -> set[tuple[str, str]]:
    return {
        (kind, one["metadata"]["name"])
        for kind in KINDS
        for one in kube.list(kind, namespace)
        if one["metadata"]["name"] not in _MADE_BY_KUBERNETES
    }
