"""Recovering although the backup, its key, or Velero itself fails: docs/runbooks/bad-backup.md."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from functools import partial

from drills.bucket import ListedBucket
from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, WaitTimeout
from drills.faults import Fault
from drills.faults.healing import each
from drills.kube import Kube, deployment_available, gone
from drills.nodes import Node
from drills.procedures import copies
from drills.procedures.holdings import SYNC_TAKES, synced_since
from drills.procedures.velero import NAMESPACE, Backup, Velero
from drills.waiting import wait_until

KEY = "velero-repo-credentials"
"""The Secret with the password of Velero's file repositories."""

_WRONG = "d3Jvbmc="
_GONE_WITHIN_S = 120.0
_ENDED_WITHIN_S = 600.0
_SYNCED_WITHIN_S = 180.0
_EXPIRED_WITHIN_S = 420.0
_BITES_WITHIN_S = 30.0
_EXEC_TIMEOUT_S = 30.0

# The pod has its volume for as long as it runs; who looks for it on the node finds nothing.
_LOSE_MOUNT = 'for seen in /var/lib/kubelet/pods/{uid}/volumes/*/{volume}; do umount "$seen" && rmdir "$seen"; done'

_HELD_BACK = ("velero.io/gc-failure", "BSLReadOnly")
"""The label by which Velero says that it wanted to remove an expired backup and might not."""


class Backups:
    """What can be wrong with a namespace's backups, and what the runbook does about it."""

    def __init__(
        self, drill: Drill, kube: Kube, velero: Velero, store: ListedBucket, prefix: str, nodes: Sequence[Node] = ()
    ) -> None:
        """Say where they are.

        Args:
            drill: the drill.
            kube: the cluster.
            velero: makes and restores them.
            store: keeps them.
            prefix: of this cluster's objects in the store.
            nodes: the cluster's nodes.
        """
        velero.whole = True  # the way out is what a sabotaged drill leaves out, not the backup
        self._drill = drill
        self._kube = kube
        self._velero = velero
        self._store = store
        self._prefix = prefix
        self._nodes = nodes
        self._key: dict[str, str] = {}
        self._rewritten: dict[str, bytes] = {}
        self._under_way = ""

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

    def make_partial(self, namespace: str, pod: str, claim: str) -> str:
        """Back up while the node cannot see a pod's volume, and check that Velero says so; return the backup's name.

        The pod goes on: it has the volume. Velero looks for it on the node, where the mount was lost.

        Args:
            namespace: what to back up.
            pod: a pod of it.
            claim: the claim of the volume that cannot be read.

        Raises:
            EnvironmentFailed: there is no such volume, or Velero refused.
            WaitTimeout: the backup did not end.
        """
        running = self._kube.get("Pod", pod, namespace) or {}
        bound = self._kube.get("PersistentVolumeClaim", claim, namespace) or {}
        node = next((one for one in self._nodes if one.name == (running.get("spec") or {}).get("nodeName")), None)
        volume = (bound.get("spec") or {}).get("volumeName")
        if node is None or not volume:
            raise EnvironmentFailed(f"no volume of claim {claim} and pod {pod} on any node: there is nothing to lose")
        script = _LOSE_MOUNT.format(uid=running["metadata"]["uid"], volume=volume)
        node.exec(["sh", "-ec", script], timeout_s=_EXEC_TIMEOUT_S)
        backup = self._velero.begin_backup(namespace)
        phase = self._velero.end("backup", backup, _ENDED_WITHIN_S)
        self._drill.check("the partial backup is told apart", phase == "PartiallyFailed", "PartiallyFailed", phase)
        return backup

    def make_newer(self, backup: Backup) -> None:
        """Make a backup one of a newer Velero, in a cluster that knows it from the store alone, as a new one does.

        Its metadata in the store get a version that this Velero has not learned; the cluster forgets it, and Velero
        looks into the store again.

        Raises:
            EnvironmentFailed: there are no such metadata.
            WaitTimeout: Velero did not look.
        """
        key = f"{self._prefix}/backups/{backup.name}/velero-backup.json"
        client, bucket = self._store.client(), self._store.bucket
        if key not in self._store.keys(key):
            raise EnvironmentFailed(f"the store has no {key}")
        self._rewritten[key] = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        metadata = json.loads(self._rewritten[key])
        metadata["apiVersion"] = "velero.io/v9"
        metadata["status"] |= {"version": 9, "formatVersion": "9.0.0"}
        client.put_object(Bucket=bucket, Key=key, Body=json.dumps(metadata).encode())
        self._kube.delete("velero.io/v1/Backup", backup.name, NAMESPACE)
        forgotten = self._drill.clock.now().utc + SYNC_TAKES  # a look that is under way may have begun before
        self._kube.wait_for(
            "velero.io/v1/BackupStorageLocation", "default", NAMESPACE, condition=synced_since(forgotten),
            what="Velero looks into the store again", within_s=_SYNCED_WITHIN_S,
        )  # fmt: skip

    # What the runbook does

    def restore_newest_complete(self, namespace: str, partial: str) -> None:
        """Restore the newest backup that is whole, whatever is newer: a partial one completes its restore, too.

        Raises:
            ProcedureFailed: there is none, or it could not be restored.
            WaitTimeout: the workload was not back in time.
        """
        newest = self._velero.newest(namespace)
        if self._drill.leaves_out("procedure"):
            newest = Backup(partial, namespace, newest.started)
        self._drill.check("the partial backup is not chosen", newest.name != partial, f"not {partial}", newest.name)
        self._velero.restore(newest)

    def restore_newest_undisturbed(self, namespace: str) -> None:
        """Restore the newest backup in whose live copy no checkpoint ended, or that a hook made whole.

        Whether one ended is said by the database's log, which must be kept where the namespace's loss does not reach.

        Raises:
            ProcedureFailed: there is none, or it could not be restored.
            WaitTimeout: the workload was not back in time.
        """
        command = "grep 'checkpoint complete' postgresql.log; kubectl -n velero get podvolumebackups -o wide"
        with self._drill.step("look for checkpoints that ended while the files were copied", command):
            disturbed = copies.disturbed(self._drill)
            found = self._velero.completed(namespace)
        told = [one.name for one in found if one.name in disturbed]
        self._drill.check("a copy in which a checkpoint ended is told apart", bool(told), "one or more", told or "none")
        if not self._drill.leaves_out("procedure"):
            found = [one for one in found if one.name not in disturbed]
        if not found:
            raise ProcedureFailed(f"no backup of {namespace} was copied without a checkpoint that ended meanwhile")
        self._velero.restore(found[0])

    def restore_newest_known(self, namespace: str) -> None:
        """Compare the store with what Velero knows, and restore the newest backup that it does.

        Raises:
            ProcedureFailed: it knows none, or that could not be restored.
            WaitTimeout: the workload was not back in time.
        """
        with self._drill.step(
            "compare the store with what Velero knows", f"aws s3 ls s3://{self._store.bucket}/{self._prefix}/backups/"
        ):
            known = {one["metadata"]["name"] for one in self._kube.list("velero.io/v1/Backup", NAMESPACE)}
            unknown = {name: said for name, said in self._stored(namespace).items() if name not in known}
        self._drill.check(
            "a backup that Velero does not know is told apart", bool(unknown), "its name and version",
            ", ".join(f"{name}: {version}" for name, version in unknown.items()) or "none",
        )  # fmt: skip
        newest = self._velero.newest(namespace)
        if unknown and self._drill.leaves_out("procedure"):
            newest = Backup(max(unknown), namespace, newest.started)
        self._velero.restore(newest)

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
            self._velero.begin_restore(backup, name)
            self._kube.delete("Pod", self._velero.server(), NAMESPACE, grace_s=0)
        with self._drill.step(
            "Velero comes back and gives the restore up", f"velero restore get {name}", by="kubernetes"
        ):
            self._wait_for_velero()
            self._check_failed(self._velero.end("restore", name, self._drill.at_most(120)))

    def restore_while(self, cut: Fault, backup: Backup) -> None:
        """Begin a restore and let something strike in the middle of it; return when that is seen to bite.

        Args:
            cut: what strikes; whoever heals it is the procedure.
            backup: what is restored.

        Raises:
            WaitTimeout: the restore did not begin, or what struck did not bite.
        """
        self._under_way = f"{backup.name}-cut-off"
        create = f"velero restore create {self._under_way} --from-backup {backup.name}"
        with self._drill.step("restore the backup", create):
            self._velero.begin_restore(backup, self._under_way)
            cut.inject()
        with self._drill.step("the restore does not end", f"velero restore get {self._under_way}", by="kubernetes"):
            wait_until(cut.proof, what=f"{cut.name} bites", within_s=_BITES_WITHIN_S)
            found = self._kube.get("velero.io/v1/Restore", self._under_way, NAMESPACE) or {}
        self._check_failed((found.get("status") or {}).get("phase", ""))

    def give_up(self) -> None:
        """Have Velero give up the restore that is under way: its server does so with whatever it finds when it starts.

        By default Velero waits for a restore's volumes for up to four hours, and begins no other one meanwhile.

        Raises:
            EnvironmentFailed: Velero's server has no pod.
            WaitTimeout: Velero did not come back, or did not give it up.
        """
        with self._drill.step("have Velero give the restore up", f"kubectl -n {NAMESPACE} delete pod -l deploy=velero"):
            self._kube.delete("Pod", self._velero.server(), NAMESPACE, grace_s=0)
            self._wait_for_velero()
            self._velero.end("restore", self._under_way, self._drill.at_most(120))

    def restore_again(self, namespace: str) -> None:
        """Remove what a failed restore left behind, and restore the newest backup once more.

        Raises:
            ProcedureFailed: it could not be restored.
            WaitTimeout: what was left would not go, or the workload was not back in time.
        """
        if self._drill.leaves_out("procedure"):
            return
        self.remove_leftovers(namespace)
        self._velero.restore(self._velero.newest(namespace))

    def outlast_expiry(self, backup: Backup) -> None:
        """Wait, as people do who have to decide, until a backup's time is over and Velero has wanted to remove it.

        Raises:
            WaitTimeout: its time was not over by then.
        """
        with self._drill.step("meanwhile the backup's time is over", "velero backup get", by="human"):
            wait_until(
                lambda: self._fate(backup), what=f"expiry of {backup.name}", within_s=_EXPIRED_WITHIN_S, every_s=1
            )
        fate = self._fate(backup)
        self._drill.check("the expired backup is held back", fate == "held back", "held back", fate)

    def heal(self) -> None:
        """Put the right key and the stored metadata back, whatever the procedure did. Idempotent.

        Raises:
            EnvironmentFailed: something could not be put back; says what, and why. The rest is all the same.
        """
        undo: list[tuple[str, Callable[[], object]]] = []
        if self._key:
            data = {"data": self._key}
            undo.append(("the repository's key", partial(self._kube.patch, "Secret", KEY, data, NAMESPACE)))
        for key, content in self._rewritten.items():
            put = self._store.client().put_object
            undo.append((key, partial(put, Bucket=self._store.bucket, Key=key, Body=content)))
        each(undo)

    def _wait_for_velero(self) -> None:
        self._kube.wait_for(
            "Deployment", "velero", NAMESPACE, condition=deployment_available,
            what="the Velero server is back", within_s=self._drill.at_most(120),
        )  # fmt: skip

    def _check_failed(self, phase: str) -> None:
        self._drill.check(
            "the restore that was cut short does not claim success", phase != "Completed", "Failed", phase
        )

    def _fate(self, backup: Backup) -> str:
        found = self._kube.get("velero.io/v1/Backup", backup.name, NAMESPACE)
        if found is None:
            return "gone"
        label, value = _HELD_BACK
        return "held back" if (found["metadata"].get("labels") or {}).get(label) == value else ""

    def _stored(self, namespace: str) -> dict[str, str]:
        """Return the name and version of each backup of a namespace that the store holds, known to Velero or not."""
        found = {}
        for key in self._store.keys(f"{self._prefix}/backups/{namespace}-"):
            if key.endswith("/velero-backup.json"):
                body = self._store.client().get_object(Bucket=self._store.bucket, Key=key)["Body"].read()
                metadata = json.loads(body)
                version = metadata.get("status", {}).get("formatVersion", "no version")
                found[metadata["metadata"]["name"]] = f"{metadata['apiVersion']}, format {version}"
        return found
