"""The places that backups are kept in, and what is done when one cannot be used.

Runbooks: docs/runbooks/backup-schedule.md, docs/runbooks/bad-backup.md.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from drills.drill import Drill
from drills.errors import EnvironmentFailed
from drills.faults.healing import each
from drills.faults.objectstore import STORE_TABLE, TAKE_AWAY
from drills.kube import Kube, velero_phase
from drills.nodes import Node
from drills.procedures.velero import NAMESPACE, Velero

KIND = "velero.io/v1/BackupStorageLocation"
FIRST, SECOND = "default", "second"

USABLE_WITHIN_S = 120.0
"""Velero looks once a minute whether a location can be used."""

_EXEC_TIMEOUT_S = 30.0


class Shelf(Protocol):
    """A bucket as Velero is to use it."""

    @property
    def bucket(self) -> str:
        """Its name."""
        ...

    @property
    def location(self) -> str:
        """How to reach it, as Velero's `--config` takes it: key=value, separated by commas."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects under a prefix."""
        ...

    def another(self, bucket: str) -> Shelf:
        """Return another bucket beside it, made if need be, that the same credentials open."""
        ...


class Locations:
    """The storage locations that one cluster's Velero knows."""

    def __init__(
        self, drill: Drill, kube: Kube, velero: Velero, nodes: Sequence[Node], shelf: Shelf, prefix: str
    ) -> None:
        """Say whose they are.

        Args:
            drill: the drill.
            kube: the cluster.
            velero: uses them.
            nodes: the cluster's nodes.
            shelf: the bucket of the first location.
            prefix: of this cluster's objects in every bucket.
        """
        self._drill = drill
        self._kube = kube
        self._velero = velero
        self._nodes = nodes
        self._shelf = shelf
        self._prefix = prefix
        self._second: Shelf | None = None
        self._held = False

    # A second one

    def make_second_known(self) -> None:
        """Tell Velero of a second location, a bucket beside the first one's, before anything has happened.

        Raises:
            EnvironmentFailed: Velero refused.
            WaitTimeout: Velero cannot use it.
        """
        self._second = shelf = self._shelf.another(f"{self._shelf.bucket}-{SECOND}")
        self._velero.run(
            "backup-location", "create", SECOND, "--provider=aws", f"--bucket={shelf.bucket}",
            f"--prefix={self._prefix}", f"--config={shelf.location}", timeout_s=30, fails_as=EnvironmentFailed,
        )  # fmt: skip
        self._wait_until_usable(SECOND, USABLE_WITHIN_S)

    def switch(self) -> None:
        """Make the second location the default: what names none is kept there from now on.

        Raises:
            ProcedureFailed: Velero refused.
        """
        with self._drill.step(
            "look at schedules and storage locations", "velero schedule get; velero backup-location get"
        ):
            self._velero.run("schedule", "get", timeout_s=30)
            self._velero.run("backup-location", "get", timeout_s=30)
        if self._drill.leaves_out("procedure"):
            return
        # Velero takes no second default beside the first, and unsets none by itself.
        with self._drill.step("unset the default location", f"velero backup-location set {FIRST} --default=false"):
            self._velero.run("backup-location", "set", FIRST, "--default=false", timeout_s=30)
        with self._drill.step("make the second location the default", f"velero backup-location set {SECOND} --default"):
            self._velero.run("backup-location", "set", SECOND, "--default", timeout_s=30)

    def holds_newest(self, namespace: str) -> None:
        """Check that a namespace's newest backup is in the second location, with its archive and its volumes' files."""
        newest = self._velero.completed(namespace)[:1]
        archive = [f"{self._prefix}/backups/{one.name}/{one.name}.tar.gz" for one in newest]
        keys = set(self._second.keys(f"{self._prefix}/")) if self._second else set()
        volumes = [key for key in keys if key.startswith(f"{self._prefix}/kopia/{namespace}/")]
        self._drill.check(
            "the newest backup is in the second location",
            bool(archive) and keys.issuperset(archive) and bool(volumes),
            "its archive and its volumes' files",
            f"{len(keys.intersection(archive))} archive, {len(volumes)} of its volumes' files",
        )

    # One that cannot be reached

    def reach_again(self) -> None:
        """Find what keeps the nodes from the object store, take it away, and wait until Velero can use it.

        Raises:
            EnvironmentFailed: a node could not be looked at.
            WaitTimeout: Velero still cannot use the location.
        """
        with self._drill.step("find what keeps the nodes from the object store", "nft list ruleset"):
            found = [node for node in self._nodes if f"table inet {STORE_TABLE}" in _rules(node)]
        if self._drill.leaves_out("procedure"):
            return
        with self._drill.step("take it away", f"nft delete table inet {STORE_TABLE}"):
            for node in found:
                node.exec(["sh", "-c", TAKE_AWAY], timeout_s=_EXEC_TIMEOUT_S)
        with self._drill.step(
            "wait until Velero can use the storage location", "velero backup-location get", by="kubernetes"
        ):
            self._wait_until_usable(FIRST, self._drill.at_most(USABLE_WITHIN_S))

    # One where nothing may go

    def hold_back(self) -> None:
        """Make the first location read-only: while it is, no backup expires, and none is deleted by mistake.

        Raises:
            KubeError: the cluster refused.
        """
        if self._drill.leaves_out("procedure"):
            return
        self._held = True
        with self._drill.step("make the storage location read-only", _patched("ReadOnly")):
            self._set("ReadOnly")

    def let_go(self) -> None:
        """Let backups be written and expire again.

        Raises:
            KubeError: the cluster refused.
        """
        if not self._held:
            return
        with self._drill.step("make the storage location writable", _patched("ReadWrite")):
            self._set("ReadWrite")
        self._held = False

    def heal(self) -> None:
        """Leave the locations as they were, whatever the procedure did. Idempotent.

        Raises:
            EnvironmentFailed: something could not be undone; says what, and why. The rest is undone all the same.
        """
        take_away = ["sh", "-c", TAKE_AWAY]
        each(
            [
                *((node.name, partial(node.exec, take_away, timeout_s=_EXEC_TIMEOUT_S)) for node in self._nodes),
                ("the storage locations", self._heal_locations),
            ]
        )

    def _heal_locations(self) -> None:
        if self._held:
            self._set("ReadWrite")
            self._held = False
        if self._second is not None:
            for name, default in ((SECOND, "--default=false"), (FIRST, "--default")):
                self._velero.run("backup-location", "set", name, default, timeout_s=30, fails_as=EnvironmentFailed)
            self._velero.run("backup-location", "delete", SECOND, "--confirm", timeout_s=60, fails_as=EnvironmentFailed)
            self._second = None
        self._wait_until_usable(FIRST, USABLE_WITHIN_S)

    def _set(self, mode: str) -> None:
        self._kube.patch(KIND, FIRST, {"spec": {"accessMode": mode}}, NAMESPACE)

    def _wait_until_usable(self, location: str, within_s: float) -> None:
        self._kube.wait_for(
            KIND, location, NAMESPACE, condition=velero_phase("Available"),
            what=f"Velero can use the storage location {location}", within_s=within_s,
        )  # fmt: skip


def _rules(node: Node) -> str:
    return node.exec(["nft", "list", "ruleset"], timeout_s=_EXEC_TIMEOUT_S)


def _patched(mode: str) -> str:
    patch = f'{{"spec":{{"accessMode":"{mode}"}}}}'
    return f"kubectl -n {NAMESPACE} patch backupstoragelocation {FIRST} --type merge --patch '{patch}'"
