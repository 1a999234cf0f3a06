"""Keeping backups coming, and old ones going: docs/runbooks/backup-schedule.md."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Protocol

from drills.clock import stamp
from drills.drill import Drill
from drills.errors import BadReading, ProcedureFailed
from drills.kube import Kube, KubeError, deployment_available
from drills.probes import Probe, callable_probe
from drills.procedures.velero import NAMESPACE, Backup, Velero
from drills.waiting import wait_until

FIRST_WITHIN_S = 200.0
"""Velero looks once a minute whether a schedule is due."""

BACK_WITHIN_S = 120.0
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
        self._cron, self._ttl = "", ""
        self._allowed_s = 0.0
        self._begun = ""
        self.are_fresh: Probe = callable_probe(
            "the newest backup is fresh", self._is_fresh, role="user", interval_s=0.5, timeout_s=4.0
        )

    def open(
        self, namespace: str, cron: str, allowed_s: float, ttl: str = "720h", *, first_at_once: bool = False
    ) -> str:
        """Schedule a namespace's backups, wait for the first one, and return the schedule's name.

        Args:
            namespace: what to back up.
            cron: when, as in "0 2 * * *".
            allowed_s: how old the newest backup may be, in seconds.
            ttl: how long Velero keeps them.
            first_at_once: make the first one out of turn, where the schedule's own would be hours away.

        Raises:
            WaitTimeout: there was none in time.
            EnvironmentFailed: the first one did not complete.
        """
        self._namespace, self._allowed_s, self._cron, self._ttl = namespace, allowed_s, cron, ttl
        self._schedule = self._velero.schedule(namespace, cron, ttl)
        if first_at_once:
            self._velero.backup(namespace, schedule=self._schedule)
            return self._schedule
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
            ProcedureFailed: Velero refused, or the backup did not complete.
        """
        with self._drill.step(
            "look at schedules and storage locations", "velero schedule get; velero backup-location get"
        ):
            schedule = self._kube.get("velero.io/v1/Schedule", self._schedule, NAMESPACE)
            locations = self._kube.list("velero.io/v1/BackupStorageLocation", NAMESPACE)
        if self._drill.leaves_out("procedure"):
            return
        if schedule is None:
            command = f"velero schedule create {self._schedule} --schedule '{self._cron}' --ttl {self._ttl} ..."
            with self._drill.step("make the schedule again", command):
                self._velero.schedule(self._namespace, self._cron, self._ttl)
        elif schedule["spec"].get("paused"):
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
        self.back_up()

    def back_up(self) -> None:
        """Make a backup at once, and do not wait for the schedule's next turn.

        Raises:
            ProcedureFailed: it did not complete.
            WaitTimeout: Velero had to be restarted, and was not back in time.
        """
        if self._drill.leaves_out("procedure"):
            return
        self._velero.move_queue()
        with self._drill.step("make a backup at once", f"velero backup create --from-schedule {self._schedule} --wait"):
            self._velero.backup(self._namespace, schedule=self._schedule, fails_as=ProcedureFailed)

    def begin(self) -> str:
        """Begin a backup from the schedule, and return its name when it is under way.

        Raises:
            EnvironmentFailed: Velero refused.
            WaitTimeout: it did not begin.
        """
        self._begun = self._velero.begin_backup(self._namespace, self._schedule)
        return self._begun

    def see_it_fail(self) -> None:
        """Wait until Velero is there and has given up the backup that was begun; if it claims success, a check fails.

        Raises:
            WaitTimeout: Velero did not come back, or did not give it up.
        """
        with self._drill.step("see how the last backup ended", "velero backup get", by="kubernetes"):
            self._kube.wait_for(
                "Deployment", "velero", NAMESPACE, condition=deployment_available,
                what="the Velero server is there", within_s=self._drill.at_most(BACK_WITHIN_S),
            )  # fmt: skip
            phase = self._velero.end("backup", self._begun, self._drill.at_most(GONE_WITHIN_S))
        self._drill.check("the backup that was cut short does not claim success", phase != "Completed", "Failed", phase)

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


@dataclass(frozen=True)
class Kept:
    """A class of backups.

    Attributes:
        name: what it is called.
        cron: when one is made.
        days: how long it is kept.
    """

    name: str
    cron: str
    days: int


MATRIX = (
    Kept("daily", "0 2 * * *", 30),
    Kept("weekly", "0 2 * * 0", 90),
    Kept("monthly", "0 2 1 * *", 365),
    Kept("yearly", "0 2 1 1 *", 7 * 365),
)
"""The retention of HKS' recovery plan."""


@dataclass(frozen=True)
class _Aged:
    name: str
    kind: str
    age_days: int
    stays: bool


class Retention:
    """Backups of every class, some of them past their time, and what must be left of them in the store."""

    def __init__(self, drill: Drill, kube: Kube, velero: Velero, store: Store, prefix: str) -> None:
        """Say where they are; the arguments are those of `Schedules`."""
        velero.whole = True  # what a sabotaged drill gets wrong is how long a class is kept
        self._drill = drill
        self._kube = kube
        self._velero = velero
        self._store = store
        self._prefix = prefix
        self._schedules: list[str] = []
        self._backups: list[_Aged] = []

    def fill(self, namespace: str) -> None:
        """Make two backups of each class: one a day before its time is over, and one a day after.

        Nobody can wait for years. The backups are real, and so is the expiry that Velero gives each by its schedule;
        then all its stamps are set back by its age.

        Raises:
            EnvironmentFailed: a backup did not complete.
        """
        for kept in MATRIX:
            days = kept.days
            if kept.name == "monthly" and self._drill.leaves_out("procedure"):
                days = MATRIX[0].days  # the mistake that the matrix is there to find
            schedule = self._velero.schedule(namespace, kept.cron, ttl=f"{24 * days}h", kind=kept.name, paused=True)
            self._schedules.append(schedule)
            for age_days in (kept.days + 1, kept.days - 1):
                name = f"{schedule}-{age_days}"
                self._velero.backup(namespace, schedule=schedule, name=name)
                self._set_back(name, age_days)
                self._backups.append(_Aged(name, kept.name, age_days, stays=age_days < kept.days))

    def expire(self) -> None:
        """Let expiry have its turn, and check for each backup that its objects are in the store, or gone from it.

        Raises:
            WaitTimeout: a backup whose time is over is still there.
        """
        over = [one.name for one in self._backups if not one.stays]
        wait_until(
            lambda: not self._known() & set(over),
            what="the backups whose time is over are gone",
            within_s=GONE_WITHIN_S,
            every_s=1,
        )
        for one in self._backups:
            objects = len(self._store.keys(f"{self._prefix}/backups/{one.name}/"))
            left_days = self._left_days(one.name)
            self._drill.check(
                f"a {one.kind} backup, {one.age_days} days old, is {'kept' if one.stays else 'deleted'}",
                objects > 0 and left_days > 0 if one.stays else objects == 0 and left_days <= 0,
                "its objects in the store, time left" if one.stays else "none in the store",
                f"{objects} objects in the store, {left_days:.1f} days left",
            )

    def close(self) -> None:
        """Delete the schedules; what is left of the backups stays."""
        for schedule in self._schedules:
            self._velero.unschedule(schedule)

    def _known(self) -> set[str]:
        return {one["metadata"]["name"] for one in self._kube.list("velero.io/v1/Backup", NAMESPACE)}

    def _left_days(self, name: str) -> float:
        found = self._kube.get("velero.io/v1/Backup", name, NAMESPACE)
        if found is None:
            return 0.0
        left = datetime.fromisoformat(found["status"]["expiration"]) - self._drill.clock.now().utc
        return left / timedelta(days=1)

    def _set_back(self, name: str, age_days: int) -> None:
        found = self._kube.get("velero.io/v1/Backup", name, NAMESPACE) or {}
        stamps = {
            key: stamp(datetime.fromisoformat(found["status"][key]) - timedelta(days=age_days))
            for key in ("startTimestamp", "completionTimestamp", "expiration")
        }
        self._kube.patch("velero.io/v1/Backup", name, {"status": stamps}, NAMESPACE)
