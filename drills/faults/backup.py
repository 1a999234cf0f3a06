"""Faults of backups themselves, and what stands for a fault where one is validated and nothing is broken."""

from __future__ import annotations

from collections.abc import Callable

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import RIDDEN_OUT, Kube, Manifest
from drills.waiting import in_a_line

VELERO = "velero"
_SCHEDULE = "velero.io/v1/Schedule"

Limit = Callable[[], tuple[float, float]]
"""Says how old the newest completed backup is, and how old it may be, in seconds."""


class CopyRestored(Fault):
    """No fault: a backup is restored beside its original, into a namespace made for it and removed afterwards.

    The proof is what a restore leaves in that namespace: objects that carry the restore's name.
    """

    name = "none: a backup is validated"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, kube: Kube, namespace: str, remove: Callable[[str], None]) -> None:
        """Aim at a namespace that is not there yet.

        Args:
            kube: the cluster.
            namespace: the copy's.
            remove: removes a namespace.

        """
        self.target = f"namespace/{namespace}"
        self._kube = kube
        self._namespace = namespace
        self._remove = remove

    def inject(self) -> None:
        """Do nothing."""

    def proof(self) -> list[str]:
        """Tell which restores made how many objects there."""
        counted: dict[str, int] = {}
        try:
            for kind in ("Pod", "Service", "PersistentVolumeClaim", "Secret", "ConfigMap"):
                for one in self._kube.list(kind, self._namespace):
                    restore = (one["metadata"].get("labels") or {}).get("velero.io/restore-name")
                    if restore:
                        counted[restore] = counted.get(restore, 0) + 1
        except RIDDEN_OUT:
            return []
        return [
            f"namespace {self._namespace} holds {count} objects of restore {name}" for name, count in counted.items()
        ]

    def heal(self) -> None:
        """Remove the copy."""
        if self._kube.get("Namespace", self._namespace) is not None:
            self._remove(self._namespace)


def copy_restored(kube: Kube, namespace: str, remove: Callable[[str], None]) -> CopyRestored:
    """Make what stands for the fault in a validation.

    Raises:
        UsageError: there is such a namespace: a restore into it would be a mixture.
        KubeError: the API server did not say.

    """
    if kube.get("Namespace", namespace) is not None:
        raise UsageError(f"copy_restored {namespace!r}: found a namespace, accepted: a name that is free")
    return CopyRestored(kube, namespace, remove)


class BackupsStopped(Fault):
    """Backups are no longer made, and nothing else changes: the loss shows on the day of the next disaster.

    The proof comes from what is in the store by then: the newest completed backup is older than it may be.
    """

    names = ("schedule paused", "storage location read-only")
    blast_radius = BlastRadius.NAMESPACE

    def __init__(
        self, kube: Kube, name: str, kind: str, target: str, stop: Manifest, go: Manifest, limit: Limit
    ) -> None:
        """Aim at one object of Velero.

        Args:
            kube: the cluster.
            name: the fault's name.
            kind: the object's kind.
            target: the object's name.
            stop: the patch that stops backups.
            go: the patch that undoes it.
            limit: says how old the newest backup is, and how old it may be.

        """
        self.name = name
        self.target = f"{kind.rpartition('/')[2].lower()}/{target}"
        self._kube = kube
        self._kind = kind
        self._object = target
        self._stop = stop
        self._go = go
        self._limit = limit

    def inject(self) -> None:
        """Stop backups."""
        self._kube.patch(self._kind, self._object, {"spec": self._stop}, VELERO)

    def proof(self) -> list[str]:
        """Tell how old the newest backup is, once it is too old."""
        try:
            found = self._kube.get(self._kind, self._object, VELERO) or {}
            age_s, allowed_s = self._limit()
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        self.unproven = _young(age_s, allowed_s)
        spec = found.get("spec") or {}
        if age_s <= allowed_s or any(spec.get(key) != value for key, value in self._stop.items()):
            return []
        said = ", ".join(f"{key}={value}" for key, value in self._stop.items())
        return [f"the newest backup is {age_s:.0f} s old, over {allowed_s:.0f} s", f"{self.target} has {said}"]

    def heal(self) -> None:
        """Let backups be made again."""
        if self._kube.get(self._kind, self._object, VELERO) is not None:
            self._kube.patch(self._kind, self._object, {"spec": self._go}, VELERO)


class ScheduleDeleted(Fault):
    """A schedule is deleted, and its backups stay: nothing fails, for nothing is tried any more.

    The proof is that it is gone, and that the newest completed backup is older than it may be.
    """

    name = "schedule deleted"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, kube: Kube, schedule: str, limit: Limit) -> None:
        """Aim at a schedule.

        Raises:
            UsageError: there is none of this name.

        """
        found = kube.get(_SCHEDULE, schedule, VELERO)
        if found is None:
            raise UsageError(f"schedule_deleted {schedule!r}: found no such schedule, accepted: one that is there")
        self.target = f"schedule/{schedule}"
        self._kube = kube
        self._schedule = schedule
        self._spec = found["spec"]
        self._limit = limit

    def inject(self) -> None:
        """Delete the schedule."""
        self._kube.delete(_SCHEDULE, self._schedule, VELERO)

    def proof(self) -> list[str]:
        """Tell that it is gone and how old the newest backup is, once that is too old."""
        try:
            if self._kube.get(_SCHEDULE, self._schedule, VELERO) is not None:
                self.unproven = f"{self.target} is there"
                return []
            age_s, allowed_s = self._limit()
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        self.unproven = _young(age_s, allowed_s)
        if age_s <= allowed_s:
            return []
        return [f"{self.target} is gone", f"the newest backup is {age_s:.0f} s old, over {allowed_s:.0f} s"]

    def heal(self) -> None:
        """Make it again as it was, if the procedure did not."""
        if self._kube.get(_SCHEDULE, self._schedule, VELERO) is None:
            kept = {"apiVersion": "velero.io/v1", "kind": "Schedule", "metadata": {"name": self._schedule}}
            self._kube.apply({**kept, "spec": self._spec}, VELERO)


def schedule_deleted(kube: Kube, schedule: str, limit: Limit) -> ScheduleDeleted:
    """Make the fault that deletes a schedule; `limit` gives the newest backup's age and what it may be, in seconds.

    Raises:
        UsageError: there is none of this name.

    """
    return ScheduleDeleted(kube, schedule, limit)


def schedule_paused(kube: Kube, schedule: str, limit: Limit) -> BackupsStopped:
    """Make the fault that pauses a schedule; `limit` gives the newest backup's age and what it may be, in seconds."""
    return BackupsStopped(
        kube, "schedule paused", "velero.io/v1/Schedule", schedule, {"paused": True}, {"paused": False}, limit
    )


def location_read_only(kube: Kube, schedule: str, limit: Limit) -> BackupsStopped:
    """Make the fault that sets the storage location of a schedule's backups read-only; see `schedule_paused`."""
    found = kube.get("velero.io/v1/Schedule", schedule, VELERO)
    location = (((found or {}).get("spec") or {}).get("template") or {}).get("storageLocation") or "default"
    return BackupsStopped(
        kube, "storage location read-only", "velero.io/v1/BackupStorageLocation", location,
        {"accessMode": "ReadOnly"}, {"accessMode": "ReadWrite"}, limit,
    )  # fmt: skip


class BackupCutShort(Fault):
    """Something fails in the middle of a backup: a backup is begun, and the other fault strikes while it is under way.

    The proof is the other fault's, and the backup's: it has ended without being one, or has not ended, and the newest
    completed backup is older than it may be.
    """

    names = ("object store unreachable in a backup", "pod killed in a backup")

    def __init__(self, kube: Kube, cut: Fault, begin: Callable[[], str], limit: Limit) -> None:
        """Aim at the next backup.

        Args:
            kube: the cluster.
            cut: what strikes.
            begin: begins a backup, and returns its name when it is under way.
            limit: says how old the newest completed backup is, and how old it may be.

        """
        self.name = f"{cut.name} in a backup"
        self.target = cut.target
        self.blast_radius = cut.blast_radius
        self.claims = cut.claims
        self._kube = kube
        self._cut = cut
        self._begin = begin
        self._limit = limit
        self._backup = ""

    def inject(self) -> None:
        """Begin a backup, and strike."""
        self._backup = self._begin()
        self._cut.within_s = self.within_s
        self._cut.inject()

    def proof(self) -> list[str]:
        """Tell what struck, and what became of the backup; without one, what strikes is damage all the same."""
        facts = self._cut.proof()
        self.unproven = self._cut.unproven
        if not self._backup or not facts:
            return facts
        try:
            found = self._kube.get("velero.io/v1/Backup", self._backup, VELERO) or {}
            age_s, allowed_s = self._limit()
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        status = found.get("status") or {}
        phase = status.get("phase") or "nowhere to be found"
        if phase == "Completed" or age_s <= allowed_s:
            self.unproven = f"backup {self._backup} is {phase}; {_young(age_s, allowed_s)}"
            return []
        why = f": {status['failureReason']}" if status.get("failureReason") else ""
        return [
            *facts,
            f"backup {self._backup} is {phase}{why}",
            f"the newest completed backup is {age_s:.0f} s old, over {allowed_s:.0f} s",
        ]

    def heal(self) -> None:
        """Heal what struck."""
        self._cut.heal()


def _young(age_s: float, allowed_s: float) -> str:
    return f"the newest completed backup is {age_s:.0f} s old, and may be {allowed_s:.0f} s"


def backup_cut_short(kube: Kube, cut: Fault, begin: Callable[[], str], limit: Limit) -> BackupCutShort:
    """Make the fault that strikes in the middle of a backup; see `BackupCutShort`."""
    return BackupCutShort(kube, cut, begin, limit)
