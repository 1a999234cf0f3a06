"""Keeping backups coming, and old ones going: docs/runbooks/backup-schedule.md."""

from __future__ import annotations

from typing import Protocol

from drills.drill import Drill
from drills.errors import BadReading
from drills.kube import Kube, KubeError
from drills.probes import Probe, callable_probe
from drills.procedures.velero import NAMESPACE, Backup, Velero
from drills.waiting import wait_until

FIRST_WITHIN_S = 150.0
GONE_WITHIN_S = 300.0


class Store(Protocol):
    """The object store that backups are kept in."""

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects under a prefix."""
        ...


class Schedules:
    """The scheduled backups of one namespace."""

    def __init__(self, drill: Drill, kube: Kube, velero: Velero, store: Store, prefix: str) -> None:
        """Say where they are.

        Args:
            drill: the drill.
            kube: the cluster.
            velero: makes them.
            store: keeps them.
            prefix: of this cluster's objects in the store.
        """
        self._drill = drill
        self._kube = kube
        self._velero = velero
        self._store = store
        self._prefix = prefix
        self._namespace = ""
        self._schedule = ""
        self._allowed_s = 0.0
        self.are_fresh: Probe = callable_probe(
            "the newest backup is fresh", self._is_fresh, role="user", interval_s=0.5, timeout_s=4.0
        )

    def open(self, namespace: str, cron: str, allowed_s: float, ttl: str = "720h") -> str:
        """Schedule a namespace's backups, wait for the first one, and return the schedule's name.

        Args:
            namespace: what to back up.
            cron: when, as in "0 2 * * *".
            allowed_s: how old the newest backup may be, in seconds.
            ttl: how long Velero keeps them.

        Raises:
            WaitTimeout: there was none in time.
        """
        self._namespace, self._allowed_s = namespace, allowed_s
        self._schedule = self._velero.schedule(namespace, cron, ttl)
        wait_until(
            lambda: self._velero.completed(namespace),
            what="the first scheduled backup",
            within_s=FIRST_WITHIN_S,
            every_s=1,
        )
        return self._schedule

    def close(self) -> None:
        """Delete the schedule; its backups stay."""
        if self._schedule:
            self._velero.unschedule(self._schedule)

    def age(self, timeout_s: float | None = None) -> tuple[float, float]:
        """Return how old the newest completed backup is, and how old it may be, in seconds.

        Args:
            timeout_s: for the question to the cluster; the usual one by default.

        Raises:
            KubeError: the API server did not say.
        """
        found = self._velero.completed(self._namespace, timeout_s)
        now = self._drill.clock.now().utc
        return (now - found[0].started).total_seconds() if found else float("inf"), self._allowed_s

    def resume(self) -> None:
        """Find out why no backups are made, undo that, and make one at once.

        Raises:
            ProcedureFailed: Velero refused.
            EnvironmentFailed: the backup did not complete.
        """
        with self._drill.step(
            "look at schedules and storage locations", "velero schedule get; velero backup-location get"
        ):
            schedule = self._kube.get("velero.io/v1/Schedule", self._schedule, NAMESPACE) or {}
            locations = self._kube.list("velero.io/v1/BackupStorageLocation", NAMESPACE)
        if self._drill.leaves_out("procedure"):
            return
        if (schedule.get("spec") or {}).get("paused"):
            with self._drill.step("unpause the schedule", f"velero schedule unpause {self._schedule}"):
                self._velero.run("schedule", "unpause", self._schedule, timeout_s=30)
        for location in locations:
            if location["spec"].get("accessMode") == "ReadOnly":
                name = location["metadata"]["name"]
                patch = '{"spec":{"accessMode":"ReadWrite"}}'
                command = f"kubectl -n {NAMESPACE} patch backupstoragelocation {name} --type merge --patch '{patch}'"
                with self._drill.step("make the storage location writable", command):
                    self._kube.patch(
                        "velero.io/v1/BackupStorageLocation", name, {"spec": {"accessMode": "ReadWrite"}}, NAMESPACE
                    )
        with self._drill.step("make a backup at once", f"velero backup create --from-schedule {self._schedule} --wait"):
            self._velero.backup(self._namespace, schedule=self._schedule)

    def expires(self, backup: Backup) -> None:
        """Wait until a backup whose time is over is gone, and check that its objects are gone from the store too.

        Raises:
            WaitTimeout: it is still there.
        """
        prefix = f"{self._prefix}/backups/{backup.name}/"
        before = len(self._store.keys(prefix))
        wait_until(
            lambda: self._kube.get("velero.io/v1/Backup", backup.name, NAMESPACE) is None,
            what=f"backup {backup.name} expires",
            within_s=GONE_WITHIN_S,
            every_s=1,
        )
        after = len(self._store.keys(prefix))
        self._drill.check(
            "the expired backup's objects are gone from the store",
            before > 0 and after == 0,
            "some before, 0 after",
            f"{before} before, {after} after",
        )

    def _is_fresh(self, timeout_s: float) -> None:
        try:
            age_s, allowed_s = self.age(timeout_s)
        except KubeError as error:
            raise BadReading(str(error)) from error
        if age_s > allowed_s:
            raise BadReading(f"the newest backup is {age_s:.0f} s old, over {allowed_s:.0f} s")
