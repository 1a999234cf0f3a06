"""Recovering PostgreSQL from base backups and archived WAL: docs/runbooks/database-restore.md and its neighbours.

CloudNativePG never recovers a cluster in place: a new one is made from the archive of the old one, under another name,
since no two of them may write to one archive. The application keeps its Service, which is led to the new cluster.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

from drills.drill import Drill
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed, WaitTimeout
from drills.kube import RIDDEN_OUT, Kube, Manifest, present
from drills.kube.conditions import condition_of
from drills.kube.describe import quoted
from drills.procedures import amcheck
from drills.procedures.archive import Archive
from drills.waiting import wait_until

CLUSTER = "postgresql.cnpg.io/v1/Cluster"
BACKUP = "postgresql.cnpg.io/v1/Backup"
BACKUP_WITHIN_S = 180.0
ARCHIVED_WITHIN_S = 60.0
RECOVERED_WITHIN_S = 600.0
REMOVED_WITHIN_S = 120.0
LOGGED_WITHIN_S = 30.0
ATTEMPTS = 2
"""Failed attempts after which a recovery is given up: the operator goes on trying by itself, at growing intervals, and
what is wrong with an archive is the same the second time."""

_TOLD = 5
_ORIGIN = "origin"
_STARTING_UP = "57P03"
"""What PostgreSQL answers to whoever asks too early."""


class Database(Protocol):
    """A database as it is declared where everything that is deployed is kept."""

    @property
    def namespace(self) -> str:
        """Where it is."""
        ...

    @property
    def declared(self) -> Sequence[Manifest]:
        """Its Secrets, the application's Service, and its Cluster, in that order."""
        ...


@dataclass(frozen=True)
class BaseBackup:
    """A completed base backup.

    Attributes:
        id: its name in the archive.
        begin_wal: the first WAL segment that a recovery from it needs.
        end_wal: the last one without which it is no consistent database.
        begin_lsn: where in the WAL it begins.
        started: when it was begun.
    """

    id: str
    begin_wal: str
    end_wal: str
    begin_lsn: str
    started: datetime


@dataclass(frozen=True)
class Drop:
    """When a table was dropped, by the server's clock, before its COMMIT."""

    table: str
    at: datetime


class Postgres:
    """One database under CloudNativePG: its base backups, its archived WAL, and new clusters made from them."""

    def __init__(
        self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path, database: Database, archive: Archive
    ) -> None:
        """Say where it is.

        Args:
            drill: the drill.
            kube: the cluster.
            kubectl: the program.
            kubeconfig: for it.
            database: what is declared.
            archive: its base backups and WAL.
        """
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]
        self._database = database
        self._archive = archive
        self._backups = 0
        self._recoveries = 0
        self._attempted = self._last = ""
        self.name = "shop"

    @property
    def namespace(self) -> str:
        """Where the database is."""
        return self._database.namespace

    # While all is well

    def backup(self) -> BaseBackup:
        """Take a base backup of the current cluster, and note the recovery point that it offers.

        Raises:
            EnvironmentFailed: it did not complete; without one there is nothing to rehearse.
            WaitTimeout: nor did it fail.
        """
        made = self._base_backup(EnvironmentFailed)
        self._drill.backup(
            "barman base backup", made.id, made.started,
            cluster=self.name, begin_wal=made.begin_wal, end_wal=made.end_wal,
        )  # fmt: skip
        return made

    def mark(self, name: str) -> None:
        """Give this instant a name in the WAL, as before a risky change."""
        self._sql(f"SELECT pg_create_restore_point('{name}')", fails_as=EnvironmentFailed)

    def close_segment(self) -> str:
        """Close the WAL segment that is being written, and return its name once the archive has it.

        Raises:
            EnvironmentFailed: the database did not.
            WaitTimeout: the archive did not get it in time.
        """
        return self._switch_wal(EnvironmentFailed)

    def lose_wal(self, segment: str) -> None:
        """Delete an archived WAL segment, as a store that loses an object; nobody notices."""
        self._archive.lose(self.name, segment)

    def tail_grows(self, age_s: float) -> None:
        """Wait until the newest archived WAL is so many seconds old: what a disaster now costs.

        Raises:
            WaitTimeout: WAL is archived more often than that.
        """

        def old_s() -> float:
            return (self._drill.history.clock.now().utc - self._archive.newest(self.name)).total_seconds()

        wait_until(
            lambda: old_s() >= age_s, what=f"the newest archived WAL is {age_s:g} s old",
            within_s=5 * age_s + 30, every_s=0.5,
        )  # fmt: skip

    # Finding the target

    def find_drop(self, table: str) -> Drop:
        """Find in the database's log when a table was dropped.

        Raises:
            WaitTimeout: the log has no such statement.
        """
        pod = self.primary()
        statement = re.compile(rf"DROP TABLE .*\b{re.escape(table)}\b", re.IGNORECASE)

        def logged() -> list[str]:
            lines = self._kube.logs(pod, self.namespace, container="postgres").splitlines()
            records = [one.get("record") or {} for one in map(_parsed, lines)]
            return [str(one["log_time"]) for one in records if statement.search(str(one.get("message", "")))]

        with self._drill.step(
            "find the drop in the database's log", f"kubectl -n {self.namespace} logs {pod} | grep 'DROP TABLE'"
        ):
            times = wait_until(
                logged, what=f"the log of {pod} tells of a DROP TABLE {table}",
                within_s=self._drill.at_most(LOGGED_WITHIN_S), every_s=1.0,
            )  # fmt: skip
        return Drop(table, datetime.fromisoformat(times[-1].replace(" UTC", "+00:00")))

    def transaction_of(self, drop: Drop, since: BaseBackup) -> str:
        """Find in the WAL the id of the transaction that dropped a table.

        Args:
            drop: when that was.
            since: a base backup from before.

        Raises:
            ProcedureFailed: the WAL has no such transaction.
        """
        script = f"pg_waldump --rmgr=Transaction --path=$PGDATA/pg_wal --start={since.begin_lsn} 2>/dev/null || true"
        with self._drill.step(
            "find the transaction in the WAL", f"pg_waldump --rmgr=Transaction --start={since.begin_lsn}"
        ):
            said = self._exec("sh", "-c", script)  # it ends with an error where the WAL ends
            for line in said.splitlines():
                found = re.search(r"tx:\s*(\d+),.*COMMIT (\S+ \S+) UTC;.*\brels:", line)
                if found and datetime.fromisoformat(found[2]).replace(tzinfo=UTC) >= drop.at:
                    return found[1]
            raise ProcedureFailed(f"the WAL since {since.begin_lsn} has no transaction that dropped a table")

    # Recovering

    def archive_the_rest(self) -> None:
        """Close the WAL segment that is being written, and wait until the archive has it.

        Raises:
            ProcedureFailed: the database did not.
            WaitTimeout: the archive did not get it in time.
        """
        with self._drill.step(
            "archive the WAL up to now",
            f"kubectl -n {self.namespace} exec {self.primary()} -- psql -c 'SELECT pg_switch_wal()'",
        ):
            self._switch_wal(ProcedureFailed)

    def make_room(self) -> None:
        """Make namespace, Secrets and Service anew from where they are declared."""
        with self._drill.step(
            "make namespace, Secrets and Service anew",
            "kubectl apply -f namespace.yaml -f secrets.yaml -f service.yaml",
        ):
            labels = {"drills.dev/target": "yes"}
            self._kube.apply(
                {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": self.namespace, "labels": labels}}
            )
            self._kube.apply(self._database.declared[:-1], self.namespace)

    def recover(self, target: Manifest | None = None, backup: BaseBackup | None = None) -> None:
        """Make a new cluster from the archive of the current one, which it takes the place of here.

        Args:
            target: where to stop, as CloudNativePG's recoveryTarget; None for the end of the archive.
            backup: the base backup to begin with; where the target is no time, CloudNativePG must be told.

        Raises:
            ProcedureFailed: the recovery failed; says what PostgreSQL or Barman said.
            WaitTimeout: it neither failed nor ended in time.
        """
        if target is None and (problems := self._look_into_archive()):
            # A recovery to the end of the archive ends without a word where the archive does.
            self._drill.caveat(f"the archive of {self.name} is not whole: {'; '.join(problems[:_TOLD])}")
        self.name = self._recover(target, backup, empty=self._drill.leaves_out("procedure"))

    def fails_to_recover(self, because: str, target: Manifest | None = None, backup: BaseBackup | None = None) -> None:
        """Try a recovery that cannot succeed, check that it fails and says why, and remove what it left behind.

        Args:
            because: part of what PostgreSQL or Barman must say.
            target: as for `recover`.
            backup: as for `recover`.

        Raises:
            ProcedureFailed: it failed, and what is done about that is left out of this drill on purpose.
            WaitTimeout: it neither failed nor ended in time.
        """
        try:
            made = self._recover(target, backup)
        except ProcedureFailed as failure:
            self._drill.check("the recovery fails and says why", because in str(failure), because, failure)
            if self._drill.leaves_out("procedure"):
                raise
            made = self._attempted
        else:
            self._drill.check("the recovery fails and says why", False, because, "it succeeded")
        with self._drill.step(
            "remove what the failed recovery left", f"kubectl -n {self.namespace} delete cluster {made}"
        ):
            self._kube.delete(CLUSTER, made, self.namespace, wait=True, within_s=self._drill.at_most(REMOVED_WITHIN_S))

    def reach_archive_again(self, repair: Callable[[], None]) -> None:
        """Have someone repair the way to the object store."""
        command = "nft delete table inet drills_store_cut"
        with self._drill.step("repair the way to the object store", command, by="human"):
            repair()

    def look_for_gaps(self) -> list[str]:
        """Look through the archive for WAL segments that are missing; return the first one of each gap."""
        with self._drill.step(
            "look for gaps in the archive", f"aws s3 ls --recursive s3://BUCKET/PREFIX/{self.name}/wals/"
        ):
            return self._archive.gaps(self.name)

    def move_users(self) -> None:
        """Lead the application's Service to the new cluster."""
        selector = {"cnpg.io/cluster": self.name}
        patch = json.dumps({"spec": {"selector": selector}})
        with self._drill.step(
            "lead the Service to the new cluster", f"kubectl -n {self.namespace} patch service shop --patch '{patch}'"
        ):
            self._kube.patch("Service", "shop", {"spec": {"selector": selector}}, self.namespace)

    def protect_again(self) -> None:
        """Look for damage, see that the new cluster archives its WAL, and take a base backup: else it is not protected.

        A cluster that writes to an archive which is not empty, as under the old one's server name, is healthy and
        archives nothing (barman-cloud-check-wal-archive refuses it): that is a failed check, and no reconstitution.
        Damage, of which a base backup is worth as little, and an archive that lists what it does not hold are failed
        checks, too.

        Raises:
            ProcedureFailed: the database did not close its WAL segment, or the base backup did not complete.
            WaitTimeout: nor did it fail.
        """
        amcheck.check(self._drill, self._kubectl, self.namespace, self.primary())
        with self._drill.step(
            "see that the new cluster archives its WAL",
            f"kubectl -n {self.namespace} get cluster {self.name} -o jsonpath='{{.status.conditions}}'",
        ):
            archives = self._is_archiving()
        if not archives:
            return
        with self._drill.step(
            "take a base backup of the new cluster", f"kubectl -n {self.namespace} apply -f backup.yaml"
        ):
            self._base_backup(ProcedureFailed)
        problems = self._look_into_archive()
        self._drill.check(
            "the new cluster's archive holds what it lists", not problems, "no problem", "; ".join(problems) or "none"
        )
        self._drill.reconstituted()

    def _is_archiving(self) -> bool:
        """Check that a WAL segment which is closed now arrives in the new cluster's own archive."""
        try:
            got = f"{self._switch_wal(ProcedureFailed)} is there"
            archives = True
        except WaitTimeout as late:
            cluster = self._kube.get(CLUSTER, self.name, self.namespace)
            said = condition_of(cluster, "ContinuousArchiving")
            why = quoted(said.get("message")) or "its cluster does not say why"
            archives, got = False, f"{late.what}: not within {late.deadline_s:g} s; ContinuousArchiving: {why}"
        self._drill.check("the recovered database archives its WAL", archives, f"WAL of {self.name}", got)
        return archives

    # Looking

    def primary(self) -> str:
        """Return the pod of the current cluster's primary."""
        found = self._kube.get(CLUSTER, self.name, self.namespace) or {}
        return str((found.get("status") or {}).get("currentPrimary") or f"{self.name}-1")

    # Parts

    def _look_into_archive(self) -> list[str]:
        with self._drill.step("look into the archive", f"aws s3 ls --recursive s3://BUCKET/PREFIX/{self.name}/"):
            return self._archive.problems(self.name)

    def _base_backup(self, fails_as: type[DrillError]) -> BaseBackup:
        self._backups += 1
        name = f"{self.name}-{self._backups}"
        self._kube.apply(
            {
                "apiVersion": "postgresql.cnpg.io/v1", "kind": "Backup", "metadata": {"name": name},
                "spec": {"method": "barmanObjectStore", "cluster": {"name": self.name}},
            },
            self.namespace,
        )  # fmt: skip
        ended = self._kube.wait_for(
            BACKUP, name, self.namespace, condition=_backup_ended, what=f"base backup {name} has ended",
            within_s=BACKUP_WITHIN_S,
        )  # fmt: skip
        status = (ended or {})["status"]
        if status["phase"] != "completed":
            raise fails_as(f"base backup {name} ended as {status['phase']}: {status.get('error', '')}")
        return BaseBackup(
            status["backupId"], status["beginWal"], status["endWal"], status["beginLSN"], _moment(status["startedAt"])
        )

    def _recover(self, target: Manifest | None, backup: BaseBackup | None, *, empty: bool = False) -> str:
        """Make a new cluster from the archive (or, sabotaged, an empty one), and return its name once it is healthy."""
        self._recoveries += 1
        new = self._attempted = f"shop-recovered-{self._recoveries}"
        told = {**(target or {}), **({"backupID": backup.id} if backup else {})}
        made = deepcopy(self._database.declared[-1])
        made["metadata"]["name"] = new
        if not empty:
            bootstrap_from_archive(made["spec"], told, serverName=self.name)
        where = json.dumps(told) if told else "the end of the archive"
        with self._drill.step(
            "make a new cluster from the archive", f"kubectl -n {self.namespace} apply -f {new}.yaml # {where}"
        ):
            self._kube.apply(made, self.namespace)
        with self._drill.step(
            "wait for the new cluster", f"kubectl -n {self.namespace} get cluster {new}", by="kubernetes"
        ):
            wait_until(
                lambda: self._recovered(new), what=f"cluster {new} is recovered and healthy",
                within_s=self._drill.at_most(RECOVERED_WITHIN_S), every_s=0.5, describe=lambda _: self._last,
                retry_on=RIDDEN_OUT,
            )  # fmt: skip
        return new

    def _recovered(self, name: str) -> bool:
        cluster = self._kube.get(CLUSTER, name, self.namespace) or {}
        if healthy(cluster):
            return True
        attempts = self._kube.list(
            "Pod", self.namespace, labels=f"cnpg.io/cluster={name},cnpg.io/jobRole=full-recovery"
        )
        failed = [pod for pod in attempts if (pod.get("status") or {}).get("phase") == "Failed"]
        self._last = str((cluster.get("status") or {}).get("phase") or "no phase yet")
        if failed:
            why = reason(self._kube.logs(failed[-1]["metadata"]["name"], self.namespace).splitlines())
            self._last += f", {len(failed)} failed attempts: {why}"
            if len(failed) >= ATTEMPTS:
                raise ProcedureFailed(f"cluster {name} cannot be recovered: {why}")
        return False

    def _switch_wal(self, fails_as: type[DrillError]) -> str:
        segment = self._sql("SELECT pg_walfile_name(pg_switch_wal())", fails_as)
        wait_until(
            lambda: segment in self._archive.wal(self.name), what=f"the archive has {segment}",
            within_s=self._drill.at_most(ARCHIVED_WITHIN_S), every_s=0.5,
        )  # fmt: skip
        return segment

    def _sql(self, statement: str, fails_as: type[DrillError] = ProcedureFailed) -> str:
        return self._exec("psql", "-XAtc", statement, fails_as=fails_as).strip()

    def _exec(self, *command: str, fails_as: type[DrillError] = ProcedureFailed) -> str:
        pod = [self.primary(), "--namespace", self.namespace, "--container=postgres"]
        return self._drill.commands.run(
            [*self._kubectl, "exec", *pod, "--", *command], timeout_s=60, fails_as=fails_as
        ).stdout


def bootstrap_from_archive(spec: Manifest, target: Manifest | None = None, **where: str) -> None:
    """Change what a database's Cluster is to be: one that is recovered from the archive, no longer an empty one.

    Args:
        spec: as it is declared.
        target: how far and from which base backup; to the end of the archive if not given.
        where: what differs of the archive from the one that the new cluster writes.
    """
    application = spec["bootstrap"]["initdb"]
    spec["bootstrap"] = {
        "recovery": {"source": _ORIGIN, **application, **({"recoveryTarget": target} if target else {})}
    }
    origin = {key: value for key, value in deepcopy(spec["backup"]["barmanObjectStore"]).items() if key != "data"}
    spec["externalClusters"] = [{"name": _ORIGIN, "barmanObjectStore": {**origin, **where}}]


def healthy(cluster: Manifest | None) -> bool:
    """Hold when a Cluster has as many ready instances as it wants, and its operator finds nothing to do."""
    if cluster is None or not present(cluster):
        return False
    status = cluster.get("status") or {}
    wanted = cluster["spec"].get("instances", 1)
    return status.get("phase") == "Cluster in healthy state" and status.get("readyInstances") == wanted


def reason(lines: Sequence[str]) -> str:
    """Say why a recovery failed, from the log of its pod: PostgreSQL's last word, else the last error and Barman's."""
    fatal, error, barman = "", "", ""
    for one in map(_parsed, lines):
        record = one.get("record") or {}
        if record.get("error_severity") in ("FATAL", "PANIC") and record.get("sql_state_code") != _STARTING_UP:
            fatal = str(record["message"])
        elif one.get("level") == "error":
            error = str(one.get("error") or one.get("msg"))
            barman = _last_line(one.get("stderr")) or barman
        elif str(one.get("logger")).startswith("barman-cloud") and "ERROR" in str(one.get("msg")):
            barman = _last_line(one["msg"])
    return fatal or "; ".join(filter(None, (error, barman))) or "its log does not say"


def _last_line(text: object) -> str:
    return next(reversed(str(text or "").strip().splitlines()), "")


def _parsed(line: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


def _backup_ended(backup: Manifest | None) -> bool:
    return ((backup or {}).get("status") or {}).get("phase") in ("completed", "failed")


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))
