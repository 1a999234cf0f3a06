"""Recovering although the backup, its key, or Velero itself fails: docs/runbooks/bad-backup.md."""

from __future__ import annotations

from typing import Any, Protocol

from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, WaitTimeout
from drills.kube import VELERO_ENDED, Kube, deployment_available, gone, velero_phase
from drills.procedures.velero import NAMESPACE, Backup, Velero

KEY = "velero-repo-credentials"
"""The Secret with the password of Velero's file repositories."""

_WRONG = "d3Jvbmc="
_GONE_WITHIN_S = 120.0
_STARTED_WITHIN_S = 60.0


class Bucket(Protocol):
    """A bucket of an object store, outside the cluster."""

    @property
    def bucket(self) -> str:
        """Its name."""
        ...

    def keys(self, prefix: str) -> list[str]:
        """Return the keys of all objects under a prefix."""
        ...

    def client(self) -> Any:  # noqa: ANN401 - boto3 makes its client classes at run time
        """Return a boto3 S3 client."""
        ...


class Backups:
    """What can be wrong with a namespace's backups, and what the runbook does about it."""

    def __init__(self, drill: Drill, kube: Kube, velero: Velero, store: Bucket, prefix: str) -> None:
        """Say where they are.

        Args:
            drill: the drill.
            kube: the cluster.
            velero: makes and restores them.
            store: keeps them.
            prefix: of this cluster's objects in the store.
        """
        self._drill = drill
        self._kube = kube
        self._velero = velero
        self._store = store
        self._prefix = prefix
        self._key: dict[str, str] = {}

    # What goes wrong

    def truncate(self, backup: Backup) -> None:
        """Cut off the second half of a backup's archive of objects, as an upload that broke leaves it.

        Raises:
            EnvironmentFailed: there is no such archive.
        """
        key = f"{self._prefix}/backups/{backup.name}/{backup.name}.tar.gz"
        client, bucket = self._store.client(), self._store.bucket
        if key not in self._store.keys(key):
            raise EnvironmentFailed(f"the store has no {key}")
        whole = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        client.put_object(Bucket=bucket, Key=key, Body=whole[: len(whole) // 2])

    def volume_files(self, namespace: str) -> set[str]:
        """Return the keys of what is stored of a namespace's volumes now."""
        return set(self._store.keys(f"{self._prefix}/kopia/{namespace}/"))

    def lose_volume_files(self, namespace: str, besides: set[str]) -> None:
        """Delete what is stored of a namespace's volumes, besides the keys that are given.

        Raises:
            EnvironmentFailed: there is nothing to delete.
        """
        lost = sorted(self.volume_files(namespace) - besides)
        if not lost:
            raise EnvironmentFailed(f"the store has no newer files of {namespace}'s volumes")
        for key in lost:
            self._store.client().delete_object(Bucket=self._store.bucket, Key=key)

    def change_key(self) -> None:
        """Put a wrong password where Velero keeps that of its file repositories; the right one stays in custody."""
        found = self._kube.get("Secret", KEY, NAMESPACE)
        if found is None:
            raise EnvironmentFailed(f"there is no Secret {KEY}")
        self._key = dict(found["data"])
        self._kube.patch("Secret", KEY, {"data": dict.fromkeys(self._key, _WRONG)}, NAMESPACE)

    # What the runbook does

    def restore_newest_good(self, namespace: str) -> Backup:
        """Restore the newest backup; where that fails, remove what it left behind and restore the one before it.

        Raises:
            ProcedureFailed: no backup could be restored.
        """
        failures = []
        self._velero.newest(namespace)
        for backup in self._velero.completed(namespace):
            try:
                self._velero.restore(backup)
            except (ProcedureFailed, WaitTimeout) as failure:
                failures.append(f"{backup.name}: {str(failure).splitlines()[0]}")
                if self._drill.leaves_out("procedure"):
                    raise
                self.remove_leftovers(namespace)
            else:
                return backup
        raise ProcedureFailed(f"no backup of {namespace} could be restored: {'; '.join(failures)}")

    def remove_leftovers(self, namespace: str) -> None:
        """Remove what a failed restore left behind: Velero would leave it as it is.

        Raises:
            WaitTimeout: it would not go.
        """
        with self._drill.step("remove what the failed restore left", f"kubectl delete namespace {namespace}"):
            self._kube.delete("Namespace", namespace)
            self._kube.wait_for(
                "Namespace", namespace, condition=gone, what=f"namespace {namespace} is gone", within_s=_GONE_WITHIN_S
            )

    def fails_to_restore(self, backup: Backup) -> None:
        """Try to restore a backup that cannot be, and check that Velero says so."""
        try:
            self._velero.restore(backup)
        except (ProcedureFailed, WaitTimeout) as failure:
            self._drill.check("the restore fails loudly", True, "not Completed", str(failure).splitlines()[0])
        else:
            self._drill.check("the restore fails loudly", False, "not Completed", "Completed")

    def put_key_back(self) -> None:
        """Put the right password back, from where it is kept outside the cluster; nothing if it was not changed."""
        if self._key and not self._drill.leaves_out("procedure"):
            with self._drill.step(
                "put the repository's key back", f"kubectl -n {NAMESPACE} apply --filename {KEY}.yaml"
            ):
                self.heal()

    def restore_while_velero_dies(self, backup: Backup) -> None:
        """Begin a restore and kill Velero's server in the middle of it; return when Velero is back.

        A restore that claims success all the same, perhaps because it was quicker, is a failed check.

        Raises:
            WaitTimeout: the restore did not begin, or Velero did not come back and give it up.
        """
        name = f"{backup.name}-cut-short"
        with self._drill.step("restore the backup", f"velero restore create {name} --from-backup {backup.name}"):
            self._velero.run("restore", "create", name, "--from-backup", backup.name, timeout_s=30)
            self._kube.wait_for(
                "velero.io/v1/Restore", name, NAMESPACE, condition=velero_phase("InProgress", *VELERO_ENDED),
                what=f"restore {name} is under way", within_s=_STARTED_WITHIN_S,
            )  # fmt: skip
            for pod in self._kube.list("Pod", NAMESPACE, labels="deploy=velero"):
                self._kube.delete("Pod", pod["metadata"]["name"], NAMESPACE, grace_s=0)
        with self._drill.step(
            "Velero comes back and gives the restore up", f"velero restore get {name}", by="kubernetes"
        ):
            self._kube.wait_for(
                "Deployment", "velero", NAMESPACE, condition=deployment_available,
                what="the Velero server is back", within_s=self._drill.at_most(120),
            )  # fmt: skip
            ended = self._kube.wait_for(
                "velero.io/v1/Restore", name, NAMESPACE, condition=velero_phase(*VELERO_ENDED),
                what=f"restore {name} is given up", within_s=self._drill.at_most(120),
            )  # fmt: skip
        phase = ((ended or {}).get("status") or {}).get("phase")
        self._drill.check(
            "the restore that was cut short does not claim success", phase != "Completed", "Failed", phase
        )

    def heal(self) -> None:
        """Put the right key back, whatever the procedure did. Idempotent."""
        if self._key:
            self._kube.patch("Secret", KEY, {"data": self._key}, NAMESPACE)
