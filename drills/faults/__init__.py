"""Faults: what breaks the system, how that is seen from outside, and how the harness cleans up after itself."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from enum import StrEnum
from typing import ClassVar


class BlastRadius(StrEnum):
    """How far a fault reaches, in rising order: `BlastRadius.POD < BlastRadius.CLUSTER`."""

    POD = "pod"
    NAMESPACE = "namespace"
    NODE = "node"
    CONTROL_PLANE = "control-plane"
    CLUSTER = "cluster"

    @property
    def rank(self) -> int:
        """Its place in the order, 0 the smallest."""
        return list(BlastRadius).index(self)

    # A StrEnum would compare by the alphabet, by which "cluster" is the smallest.
    def __lt__(self, other: str) -> bool:
        return self.rank < BlastRadius(other).rank

    def __le__(self, other: str) -> bool:
        return self.rank <= BlastRadius(other).rank

    def __gt__(self, other: str) -> bool:
        return self.rank > BlastRadius(other).rank

    def __ge__(self, other: str) -> bool:
        return self.rank >= BlastRadius(other).rank


class Fault(ABC):
    """One way to break something.

    Attributes:
        name: what happens, such as "namespace deleted".
        names: every name that it can have, where that is decided when it is made.
        target: what it happens to, such as "namespace/shop".
        blast_radius: how far it reaches; what exceeds a namespace needs a named opt-in on a cluster of the team's own.
        claims: the volume claims, as namespace/name, whose data goes with what it breaks. A drill in which no ledger
            watches that data is INCONCLUSIVE, unless the plan calls the volume disposable.
        unproven: why the last `proof` was empty, in a few words: what is still there, and what holds it. A fault that
            keeps it up to date is told apart from one that does nothing.
        within_s: how long the damage may take to show, in seconds, for an `inject` that waits for it; set by the drill.

    """

    name: str
    names: ClassVar[tuple[str, ...]] = ()
    target: str
    blast_radius: BlastRadius
    claims: Sequence[str] = ()
    unproven: str = ""
    within_s: float | None = None

    @abstractmethod
    def inject(self) -> None:
        """Break it. Called once; what it raises ends the drill, after `heal`."""

    @abstractmethod
    def proof(self) -> list[str]:
        """Observe the damage from outside, one fact a string; empty while none is seen.

        Also called before `inject`, when it must be empty: damage that is there already proves nothing. Bounded in
        time, for it is polled.
        """

    @abstractmethod
    def heal(self) -> None:
        """Undo what the fault left behind and the procedure did not. Idempotent; safe where `inject` never ran."""


# The faults themselves, for `faults.namespace_deleted(...)` in scenarios; below Fault, which they derive from.
from drills.faults.alerting import AlertmanagerScaledAway, alertmanager_scaled_away  # noqa: E402
from drills.faults.backup import (  # noqa: E402
    BackupCutShort,
    BackupsStopped,
    CopyRestored,
    ScheduleDeleted,
    backup_cut_short,
    copy_restored,
    location_read_only,
    schedule_deleted,
    schedule_paused,
)
from drills.faults.cluster import ClusterDeleted, HostLost, cluster_deleted, host_lost  # noqa: E402
from drills.faults.controlplane import ControlPlaneLost, control_plane_lost  # noqa: E402
from drills.faults.divergence import (  # noqa: E402
    EtcdRestoredFromMixedSnapshots,
    etcd_restored_from_mixed_snapshots,
)
from drills.faults.drain import NodeDrained, node_drained  # noqa: E402
from drills.faults.etcd import EtcdWiped, etcd_wiped  # noqa: E402
from drills.faults.gitops import (  # noqa: E402
    DefinitionsDeleted,
    ServiceCutOff,
    definitions_deleted,
    service_cut_off,
)
from drills.faults.member import EtcdMembersLost, etcd_members_lost  # noqa: E402
from drills.faults.namespace import NamespaceDeleted, namespace_deleted  # noqa: E402
from drills.faults.network import (  # noqa: E402
    DnsDown,
    NodeCutOff,
    ServicesLeadNowhere,
    dns_down,
    node_cut_off,
    services_lead_nowhere,
)
from drills.faults.node import NodeStopped, node_stopped  # noqa: E402
from drills.faults.objectstore import (  # noqa: E402
    ObjectStoreDestroyed,
    ObjectStoreUnreachable,
    object_store_destroyed,
    object_store_unreachable,
)
from drills.faults.pod import PodKilled, pod_killed  # noqa: E402
from drills.faults.replica import ReplicasLost, replicas_lost  # noqa: E402
from drills.faults.sealing import SealingLost, sealing_lost  # noqa: E402
from drills.faults.secret import SecretsDeleted, secrets_deleted  # noqa: E402
from drills.faults.service import ServiceDown, service_down  # noqa: E402
from drills.faults.table import TableDropped, table_dropped  # noqa: E402
from drills.faults.talos import EtcdMembersWiped, etcd_members_wiped  # noqa: E402
from drills.faults.together import Together, together  # noqa: E402
from drills.faults.volume import VolumeRuined, volume_emptied, volume_overwritten  # noqa: E402

__all__ = [
    "AlertmanagerScaledAway",
    "BackupCutShort",
    "BackupsStopped",
    "BlastRadius",
    "ClusterDeleted",
    "ControlPlaneLost",
    "CopyRestored",
    "DefinitionsDeleted",
    "DnsDown",
    "EtcdMembersLost",
    "EtcdMembersWiped",
    "EtcdRestoredFromMixedSnapshots",
    "EtcdWiped",
    "Fault",
    "HostLost",
    "NamespaceDeleted",
    "NodeCutOff",
    "NodeDrained",
    "NodeStopped",
    "ObjectStoreDestroyed",
    "ObjectStoreUnreachable",
    "PodKilled",
    "ReplicasLost",
    "ScheduleDeleted",
    "SealingLost",
    "SecretsDeleted",
    "ServiceCutOff",
    "ServiceDown",
    "ServicesLeadNowhere",
    "TableDropped",
    "Together",
    "VolumeRuined",
    "alertmanager_scaled_away",
    "backup_cut_short",
    "cluster_deleted",
    "control_plane_lost",
    "copy_restored",
    "definitions_deleted",
    "dns_down",
    "etcd_members_lost",
    "etcd_members_wiped",
    "etcd_restored_from_mixed_snapshots",
    "etcd_wiped",
    "host_lost",
    "location_read_only",
    "namespace_deleted",
    "node_cut_off",
    "node_drained",
    "node_stopped",
    "object_store_destroyed",
    "object_store_unreachable",
    "pod_killed",
    "replicas_lost",
    "schedule_deleted",
    "schedule_paused",
    "sealing_lost",
    "secrets_deleted",
    "service_cut_off",
    "service_down",
    "services_lead_nowhere",
    "table_dropped",
    "together",
    "volume_emptied",
    "volume_overwritten",
]
