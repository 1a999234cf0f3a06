"""Restoring from the off-site copy when the primary object store is lost too: docs/runbooks/object-store-loss.md."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Any, Protocol

from drills.drill import Drill
from drills.errors import EnvironmentFailed
from drills.kube import Kube, velero_phase
from drills.procedures.holdings import SYNC_TAKES, synced_since
from drills.procedures.velero import NAMESPACE

LOCATION_KIND = "velero.io/v1/BackupStorageLocation"
PRIMARY, COPY = "default", "off-site"

USABLE_WITHIN_S = 90.0
SYNCED_WITHIN_S = 180.0


class Store(Protocol):
    """An object store as Velero is to use it."""

    @property
    def bucket(self) -> str:
        """The bucket."""
        ...

    @property
    def location(self) -> str:
        """How to reach it, as Velero's `--config` takes it: key=value, separated by commas."""
        ...

    @property
    def credentials(self) -> str:
        """The access key in the format of ~/.aws/credentials."""
        ...


class OffSite:
    """The copy of the backups, known to Velero as a second storage location that it only reads."""

    def __init__(self, drill: Drill, kube: Kube, program: Path, kubeconfig: Path) -> None:
        self._drill = drill
        self._kube = kube
        self._words: list[str | Path] = [program, "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE]

    def make_known(self, copy: Store, prefix: str) -> None:
        """Tell Velero of the copy, before anything has happened: read-only, with credentials of its own.

        Args:
            copy: the second store.
            prefix: where in it the backups are; that of the primary store.

        Raises:
            EnvironmentFailed: Velero refused.
            WaitTimeout: Velero cannot use it.
        """
        self._kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": COPY},
                "data": {"cloud": base64.b64encode(copy.credentials.encode()).decode()},
            },
            NAMESPACE,
        )
        self._run(
            "backup-location", "create", COPY, "--provider=aws", f"--bucket={copy.bucket}", f"--prefix={prefix}",
            f"--config={copy.location}", f"--credential={COPY}=cloud", "--access-mode=ReadOnly",
            fails_as=EnvironmentFailed,
        )  # fmt: skip
        self._kube.wait_for(
            LOCATION_KIND, COPY, NAMESPACE, condition=velero_phase("Available"),
            what="Velero can use the off-site copy", within_s=USABLE_WITHIN_S,
        )  # fmt: skip

    def take_over(self) -> None:
        """Let Velero forget the lost store and go by the copy, and wait until it has found the backups there.

        Raises:
            ProcedureFailed: Velero refused.
            WaitTimeout: it has not gone through the copy in time.
        """
        if not self._drill.leaves_out("procedure"):
            # While the lost location is known, its backups are, and Velero takes none of the same name from the copy.
            with self._drill.step(
                "let Velero forget the lost store", f"velero backup-location delete {PRIMARY} --confirm"
            ):
                self._run("backup-location", "delete", PRIMARY, "--confirm")
            with self._drill.step("make the copy the default location", f"velero backup-location set {COPY} --default"):
                self._run("backup-location", "set", COPY, "--default")
        # A round through the copy that is under way may have passed over what the lost location still held.
        forgotten = self._drill.clock.now().utc + SYNC_TAKES
        with self._drill.step("wait until Velero has found the backups in the copy", "velero backup get", "kubernetes"):
            self._kube.wait_for(
                LOCATION_KIND, COPY, NAMESPACE, condition=synced_since(forgotten),
                what="Velero knows all backups in the off-site copy", within_s=self._drill.at_most(SYNCED_WITHIN_S),
            )  # fmt: skip

    def _run(self, *arguments: str, **options: Any) -> None:  # noqa: ANN401 - the options of Commands.run
        self._drill.commands.run([*self._words, *arguments], timeout_s=60, **options)
