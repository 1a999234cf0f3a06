"""Four ways to have a second site ready, and to go there: docs/runbooks/site-failover.md.

They differ in what stands by before anything happens, and so in what is left to do: nothing stands by (backup and
restore); a cluster with Velero, and no workload (pilot light); a smaller copy of everything, its data kept up to date
behind the primary (warm standby); a copy of full size that has every acknowledged write (hot standby).
"""

from __future__ import annotations

import base64
from collections.abc import Mapping
from enum import StrEnum
from pathlib import Path
from typing import Generic, Protocol

from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, UsageError
from drills.kube import deployment_available
from drills.procedures.rebuild import C, Rebuild, Site
from drills.procedures.velero import Velero
from drills.waiting import wait_until

PROGRAMS = "/usr/lib/postgresql/15/bin"
DATA = "/var/lib/postgresql/data/pgdata"
STREAMING_WITHIN_S = 90.0


class Strategy(StrEnum):
    """What stands by, from nothing to everything."""

    BACKUP_AND_RESTORE = "backup and restore"
    PILOT_LIGHT = "pilot light"
    WARM_STANDBY = "warm standby"
    HOT_STANDBY = "hot standby"


class StandbySite(Site[C], Protocol[C]):
    """A site that can also hold a standby."""

    def open_standby(self, cluster: C, namespace: str, *, primary: str, password: str, pages: int) -> None:
        """Open a streaming copy of the shop's database and so many replicas of the pages, and wait until all is ready.

        Args:
            cluster: where.
            namespace: made there if need be.
            primary: the address of a node of the primary cluster, through which its database is reached.
            password: the database's.
            pages: replicas of the pages.
        """
        ...

    def usage(self, cluster: C) -> Mapping[str, float]:
        """Measure what a cluster's machines use now: `cpu_cores` and `memory_bytes`, and for how long: `seconds`."""
        ...


class Failover(Generic[C]):
    """A second site, and the way there."""

    def __init__(self, drill: Drill, lost: C, site: StandbySite[C], kubectl: Path) -> None:
        self._drill = drill
        self._lost = lost
        self._site = site
        self._kubectl = kubectl
        self._rebuild = Rebuild(drill, lost, site)
        self._strategy: Strategy | None = None
        self._second: C | None = None
        self._velero: Velero | None = None
        self._pages = 0

    def stand_by(self, strategy: str, namespace: str) -> None:
        """Make ready what stands by, and measure for the record what it uses while it is idle.

        Args:
            strategy: one of Strategy.
            namespace: the workload's, in both clusters.

        Raises:
            UsageError: no such strategy.
            EnvironmentFailed: it could not be made.
            WaitTimeout: it was not ready in time.
        """
        try:
            self._strategy = Strategy(strategy)
        except ValueError as error:
            raise UsageError(f"strategy: found {strategy!r}, accepted: {', '.join(Strategy)}") from error
        pages = (self._lost.kube.get("Deployment", "web", namespace) or {}).get("spec", {}).get("replicas", 0)
        self._pages = pages
        if self._strategy is not Strategy.BACKUP_AND_RESTORE:
            self._second = self._site.new_cluster()
        if self._second is not None and self._strategy is Strategy.PILOT_LIGHT:
            program = self._site.install_velero(self._second, backups_of=self._lost.name)
            self._rebuild.allow_writes(self._second, "ReadOnly")
            self._velero = Velero(self._drill, self._second.kube, program, self._second.kubeconfig_path)
        elif self._second is not None:
            self._replicate(self._second, namespace, pages if self._strategy is Strategy.HOT_STANDBY else 1)
        idle = {"cpu_cores": 0.0, "memory_bytes": 0.0, "seconds": 0.0}
        if self._second is not None:
            idle.update(self._site.usage(self._second))
        self._drill.describe(standby={"strategy": str(self._strategy), **idle})

    def take_over(self, namespace: str) -> C:
        """Go to the second site as far as the strategy left it to be done, users last; returns the cluster there.

        Raises:
            ProcedureFailed: a command failed.
            WaitTimeout: something was not ready in time.
        """
        if self._strategy in (Strategy.WARM_STANDBY, Strategy.HOT_STANDBY):
            second = self._promoted(namespace)
        else:
            second = self._restored(namespace)
        self._rebuild.move_users(second)
        return second

    def _restored(self, namespace: str) -> C:
        second = self._second or self._rebuild.provision()
        velero = self._velero or self._rebuild.velero(second)
        backup = self._rebuild.find_backup(second, velero, namespace)
        self._rebuild.restore(velero, backup, "shop", "web")
        return second

    def _promoted(self, namespace: str) -> C:
        if self._second is None:
            raise ProcedureFailed("no second site stands by")
        if not self._drill.leaves_out("procedure"):
            with self._drill.step(
                "promote the standby database", f"kubectl -n {namespace} exec shop-0 -- pg_ctl promote"
            ):
                self._in_database(self._second, namespace, f"{PROGRAMS}/pg_ctl", "promote", "--wait", "-D", DATA)
        if self._strategy is Strategy.WARM_STANDBY:
            command = f"kubectl -n {namespace} scale deployment/web --replicas={self._pages}"
            with self._drill.step("bring the pages to full size", command):
                self._kube_run(
                    self._second, "-n", namespace, "scale", "deployment/web", f"--replicas={self._pages}"
                )  # fmt: skip
                self._second.kube.wait_for(
                    "Deployment", "web", namespace, condition=deployment_available,
                    what="the pages are at full size", within_s=self._drill.at_most(120),
                )  # fmt: skip
        return self._second

    def _replicate(self, second: C, namespace: str, pages: int) -> None:
        """Open the standby as a streaming copy of the primary; a hot one is waited for by every COMMIT."""
        secret = self._lost.kube.get("Secret", "shop", namespace) or {}
        node = self._lost.kube.list("Node")[0]
        address = next(one["address"] for one in node["status"]["addresses"] if one["type"] == "InternalIP")
        allowed = "host replication all all scram-sha-256"
        self._in_database(self._lost, namespace, "sh", "-c", f"echo '{allowed}' >> {DATA}/pg_hba.conf", preparing=True)
        self._sql(namespace, "SELECT pg_reload_conf()")
        self._site.open_standby(
            second, namespace, primary=address,
            password=base64.b64decode(secret["data"]["password"]).decode(), pages=pages,
        )  # fmt: skip
        wanted = "streaming async"
        if self._strategy is Strategy.HOT_STANDBY:
            # After the copy was made, or the copy would wait for a standby of its own once it is promoted.
            self._sql(namespace, "ALTER SYSTEM SET synchronous_standby_names = '*'")
            self._sql(namespace, "SELECT pg_reload_conf()")
            wanted = "streaming sync"
        wait_until(
            lambda: self._sql(namespace, "SELECT state || ' ' || sync_state FROM pg_stat_replication") == wanted,
            what=f"the standby database follows ({wanted})", within_s=STREAMING_WITHIN_S, every_s=1.0,
        )  # fmt: skip

    def _sql(self, namespace: str, statement: str) -> str:
        return self._in_database(
            self._lost, namespace, f"{PROGRAMS}/psql", "-h", "/tmp", "-U", "shop", "-d", "postgres", "-Atc", statement,  # noqa: S108 - its socket
            preparing=True,
        ).strip()  # fmt: skip

    def _in_database(self, cluster: C, namespace: str, *command: str, preparing: bool = False) -> str:
        return self._kube_run(
            cluster, "-n", namespace, "exec", "shop-0", "-c", "postgres", "--", *command, preparing=preparing
        )

    def _kube_run(self, cluster: C, *arguments: str, preparing: bool = False) -> str:
        return self._drill.commands.run(
            [self._kubectl, "--kubeconfig", cluster.kubeconfig_path, *arguments], timeout_s=60,
            fails_as=EnvironmentFailed if preparing else ProcedureFailed,
        ).stdout  # fmt: skip
