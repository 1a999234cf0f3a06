"""Letting base backups and WAL expire, and no more than that: docs/runbooks/database-retention.md."""

from __future__ import annotations

from drills.drill import Drill
from drills.errors import EnvironmentFailed
from drills.kube import Kube, Manifest
from drills.procedures.archive import Archive
from drills.procedures.postgres import BaseBackup, Database

EXPIRED_WITHIN_S = 120.0


class WalRetention:
    """What is kept of a database's archive. CloudNativePG counts in days; a drill counts in base backups."""

    def __init__(self, drill: Drill, kube: Kube, database: Database, archive: Archive) -> None:
        """Say where it is.

        Args:
            drill: the drill.
            kube: the cluster.
            database: what is declared; its image has Barman's tools.
            archive: its base backups and WAL.
        """
        self._drill = drill
        self._kube = kube
        self._database = database
        self._archive = archive

    def keep(self, newest: int) -> None:
        """Delete all base backups but the newest ones, and the WAL that only the deleted ones need.

        Raises:
            EnvironmentFailed: Barman failed; carries what it said.
            WaitTimeout: it did not end in time.
        """
        namespace = self._database.namespace
        self._kube.apply(self._job(newest), namespace)
        ended = self._kube.wait_for(
            "Job", "retention", namespace, condition=_ended, what="Barman has deleted what expired",
            within_s=EXPIRED_WITHIN_S,
        )  # fmt: skip
        if not ((ended or {}).get("status") or {}).get("succeeded"):
            pods = self._kube.list("Pod", namespace, labels="job-name=retention")
            said = [self._kube.logs(pod["metadata"]["name"], namespace, tail=5) for pod in pods]
            raise EnvironmentFailed(f"barman-cloud-backup-delete failed: {' '.join(said)}")

    def holds(self, kept: list[BaseBackup]) -> None:
        """Check that just these base backups are in the archive, and the WAL from the oldest of them on, no older."""
        names = [backup.id for backup in kept]
        found = self._archive.base_backups("shop")
        self._drill.check("the base backups that are promised are kept, and no others", found == names, names, found)
        wal, gaps = self._archive.wal("shop"), self._archive.gaps("shop")
        oldest = wal[0] if wal else "none"
        self._drill.check(
            "all WAL from the oldest base backup on is kept, and no older",
            oldest == kept[0].begin_wal and not gaps, f"from {kept[0].begin_wal}, no gap",
            f"from {oldest}, {len(gaps)} gaps",
        )  # fmt: skip

    def _job(self, newest: int) -> Manifest:
        spec = self._database.declared[-1]["spec"]
        store = spec["backup"]["barmanObjectStore"]
        keys = store["s3Credentials"]
        environment = [
            {"name": name, "valueFrom": {"secretKeyRef": keys[key]}}
            for name, key in (("AWS_ACCESS_KEY_ID", "accessKeyId"), ("AWS_SECRET_ACCESS_KEY", "secretAccessKey"))
        ]
        container = {
            "name": "barman", "image": spec["imageName"], "imagePullPolicy": "IfNotPresent", "env": environment,
            "command": ["barman-cloud-backup-delete", "--endpoint-url", store["endpointURL"]],
            "args": ["--retention-policy", f"REDUNDANCY {newest}", store["destinationPath"], "shop"],
        }  # fmt: skip
        return {
            "apiVersion": "batch/v1", "kind": "Job", "metadata": {"name": "retention"},
            "spec": {"backoffLimit": 0, "template": {"spec": {
                "restartPolicy": "Never", "securityContext": {"runAsUser": 26, "runAsGroup": 26},
                "containers": [container],
            }}},
        }  # fmt: skip


def _ended(job: Manifest | None) -> bool:
    status = (job or {}).get("status") or {}
    return bool(status.get("succeeded") or status.get("failed"))
