"""Backup and restore with Velero: docs/runbooks/namespace-restore.md.

Velero says Completed for a backup that skipped a volume, and for a restore whose volume data is still in flight; so its
phases are waited for and never believed: whether the data is back is asked of the workload.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed
from drills.kube import Kube, statefulset_ready

NAMESPACE = "velero"
BACKUP_TIMEOUT_S = 300.0
RESTORE_TIMEOUT_S = 600.0


@dataclass(frozen=True)
class Backup:
    """A completed backup.

    Attributes:
        name: its name in Velero.
        namespace: what it holds.
        started: when Velero began it: writes acknowledged later need not be in it.
    """

    name: str
    namespace: str
    started: datetime


class Velero:
    """Velero in one cluster, told what to do by its own command line, as the runbook says."""

    def __init__(self, drill: Drill, kube: Kube, program: Path, kubeconfig: Path) -> None:
        self._drill = drill
        self._kube = kube
        self._program = program
        self._kubeconfig = kubeconfig

    def backup(self, namespace: str) -> Backup:
        """Back a namespace up, its volumes' files included, and note the recovery point that it offers.

        Raises:
            EnvironmentFailed: the backup did not complete; without one there is nothing to rehearse.
        """
        name = f"{namespace}-{self._drill.history.clock.now().utc:%H%M%S}"
        volumes = not self._drill.leaves_out("procedure")
        self._run(
            "backup", "create", name, "--include-namespaces", namespace,
            f"--default-volumes-to-fs-backup={str(volumes).lower()}", "--snapshot-volumes=false", "--wait",
            timeout_s=BACKUP_TIMEOUT_S, fails_as=EnvironmentFailed,
        )  # fmt: skip
        found = self._kube.get("velero.io/v1/Backup", name, NAMESPACE)
        status = (found or {}).get("status") or {}
        if status.get("phase") != "Completed":
            raise EnvironmentFailed(
                f"backup {name} ended as {status.get('phase') or 'nothing'}: {status.get('failureReason', '')}"
            )
        backup = Backup(name, namespace, _moment(status["startTimestamp"]))
        files = self._kube.list("velero.io/v1/PodVolumeBackup", NAMESPACE, labels=f"velero.io/backup-name={name}")
        self._drill.backup(
            "velero", name, backup.started,
            phase=status["phase"],
            expires=status.get("expiration", ""),
            items=(status.get("progress") or {}).get("itemsBackedUp", 0),
            volumes=len(files),
            volume_bytes=sum(int((one["status"].get("progress") or {}).get("bytesDone", 0)) for one in files),
            volume_snapshots=",".join(sorted(one["status"].get("snapshotID", "") for one in files)),
        )  # fmt: skip
        return backup

    def newest(self, namespace: str) -> Backup:
        """Find the newest completed backup that holds a namespace, as the runbook's first step does.

        Raises:
            ProcedureFailed: there is none.
        """
        with self._drill.step("find the newest completed backup", "velero backup get"):
            self._run("backup", "get", timeout_s=30)
            found = [
                Backup(one["metadata"]["name"], namespace, _moment(one["status"]["startTimestamp"]))
                for one in self._kube.list("velero.io/v1/Backup", NAMESPACE)
                if (one.get("status") or {}).get("phase") == "Completed"
                and namespace in one["spec"].get("includedNamespaces", [])
            ]
            if not found:
                raise ProcedureFailed(f"no completed backup holds namespace {namespace}")
            return max(found, key=lambda backup: backup.started)

    def restore(self, backup: Backup) -> None:
        """Restore a backup into its namespace and wait until volumes and pods are there again.

        Raises:
            ProcedureFailed: Velero failed, or said something else than Completed.
            WaitTimeout: the volumes' data or the pods were not there in time.
        """
        name = f"{backup.name}-restore"
        command = ["restore", "create", name, "--from-backup", backup.name, "--preserve-nodeports", "--wait"]
        with self._drill.step("restore the backup", f"velero {' '.join(command)}"):
            self._run(*command, timeout_s=RESTORE_TIMEOUT_S)
        phase = (((self._kube.get("velero.io/v1/Restore", name, NAMESPACE) or {}).get("status")) or {}).get("phase")
        if phase != "Completed":
            self._run("restore", "logs", name, timeout_s=60, check=False)
            raise ProcedureFailed(f"restore {name} ended as {phase}")
        if self._kube.list("velero.io/v1/PodVolumeRestore", NAMESPACE, labels=f"velero.io/restore-name={name}"):
            with self._drill.step(
                "wait for the volumes' data",
                f"kubectl -n velero get podvolumerestores -l velero.io/restore-name={name}",
            ):
                self._kube.wait_for_all(
                    "velero.io/v1/PodVolumeRestore", NAMESPACE, labels=f"velero.io/restore-name={name}",
                    condition=_phase_is("Completed"),
                    what="the volumes' data is restored",
                    within_s=self._drill.at_most(RESTORE_TIMEOUT_S),
                )  # fmt: skip
        with self._drill.step(
            "wait for the workload", f"kubectl -n {backup.namespace} rollout status statefulset", by="kubernetes"
        ):
            self._kube.wait_for_all(
                "StatefulSet",
                backup.namespace,
                condition=statefulset_ready,
                what="the restored workload is ready",
                within_s=self._drill.at_most(300),
            )

    def _run(self, *arguments: str, **options: Any) -> None:  # noqa: ANN401 - the options of Commands.run
        self._drill.commands.run(
            [self._program, "--kubeconfig", str(self._kubeconfig), "--namespace", NAMESPACE, *arguments], **options
        )


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)


def _phase_is(phase: str) -> Callable[[dict[str, Any] | None], bool]:
    return lambda found: ((found or {}).get("status") or {}).get("phase") == phase
