"""A file repository that has lost a pack: docs/runbooks/bad-backup.md.

kopia, which Velero embeds, keeps the content of files in packs, and never stores what it knows to be stored. So a pack
that the store has lost is missing from the old backups and from every new one: those complete, store next to nothing,
and are as lost as the old ones. Only a restore shows it. What helps is a copy of the store that keeps what was deleted:
packs have names that nobody uses twice, so one that is missing is put back as it was, and all backups are whole again.
"""

from __future__ import annotations

import hashlib

from drills.bucket import ListedBucket
from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, WaitTimeout
from drills.kube import Kube, gone
from drills.procedures.velero import Backup, Velero

_GONE_WITHIN_S = 120.0
_PACKS = ("p", "q")
"""How the names of packs begin: of data, and of metadata."""


class Packs:
    """The packs of a namespace's file repository, in the store and in its copy."""

    def __init__(
        self, drill: Drill, kube: Kube, velero: Velero, store: ListedBucket, copy: ListedBucket, prefix: str
    ) -> None:
        """Say where they are.

        Args:
            drill: the drill.
            kube: the cluster.
            velero: makes and restores the backups.
            store: keeps the packs.
            copy: has all of them, from before.
            prefix: of this cluster's objects in both.
        """
        velero.whole = True  # putting packs back is what a sabotaged drill leaves out, not the volumes
        self._drill = drill
        self._kube = kube
        self._velero = velero
        self._store = store
        self._copy = copy
        self._prefix = prefix

    def lose_one(self, namespace: str) -> str:
        """Delete the largest pack of a namespace's files from the store, as a store that loses an object; its key.

        Raises:
            EnvironmentFailed: there is none.
        """
        sizes = {
            key: len(self._read(self._store, key))
            for key in self._of(self._store, namespace)
            if key.rpartition("/")[2].startswith("p")
        }
        if not sizes:
            raise EnvironmentFailed(f"the store has no pack of {namespace}'s files")
        lost = max(sizes, key=lambda key: (sizes[key], key))
        self._store.client().delete_object(Bucket=self._store.bucket, Key=lost)
        return lost

    def newest_is_as_lost(self, namespace: str) -> Backup:
        """Restore the newest backup, which completed after the loss, and check that it cannot be; returns it.

        What the failed restore left behind is removed.

        Raises:
            ProcedureFailed: there is no completed backup.
            WaitTimeout: what was left would not go.
        """
        newest = self._velero.newest(namespace)
        try:
            self._velero.restore(newest)
        except (ProcedureFailed, WaitTimeout) as failure:
            said = str(failure).splitlines()[0]
            self._drill.check("the newest backup, green as it is, cannot be restored", True, "a failed restore", said)
        else:
            self._drill.check(
                "the newest backup, green as it is, cannot be restored", False, "a failed restore", "it was restored"
            )
        with self._drill.step("remove what the failed restore left", f"kubectl delete namespace {namespace}"):
            self._kube.delete("Namespace", namespace)
            self._kube.wait_for(
                "Namespace", namespace, condition=gone, what=f"namespace {namespace} is gone", within_s=_GONE_WITHIN_S
            )
        return newest

    def put_back(self, namespace: str, lost: str) -> None:
        """Compare the store with its copy, by digests of the content, and put back what is missing.

        Args:
            namespace: whose files.
            lost: what must be found to be missing.

        Raises:
            ProcedureFailed: something is there and has another content than in the copy: nobody can say which is right.
        """
        where = f"{self._prefix}/kopia/{namespace}/"
        between = f"copy:{self._copy.bucket}/{where} store:{self._store.bucket}/{where}"
        command = f"rclone copy --immutable --include '[pq]*' {between}"
        with self._drill.step("compare the store with its copy, and put back what is missing", command):
            there, kept = (self._digests(one, namespace) for one in (self._store, self._copy))
            missing = sorted(kept.keys() - there.keys())
            other = sorted(key for key in kept.keys() & there.keys() if kept[key] != there[key])
            self._drill.check("the pack that was lost is named", missing == [lost], lost, ", ".join(missing) or "none")
            if other:
                raise ProcedureFailed(f"the content of {', '.join(other)} is another one than in the copy")
            if not self._drill.leaves_out("procedure"):
                for key in missing:
                    content = self._read(self._copy, key)
                    self._store.client().put_object(Bucket=self._store.bucket, Key=key, Body=content)

    def _digests(self, store: ListedBucket, namespace: str) -> dict[str, str]:
        return {
            key: hashlib.sha256(self._read(store, key)).hexdigest()
            for key in self._of(store, namespace)
            # Marks of sessions (s) and indexes (x) are deleted in due course, and are no loss.
            if key.rpartition("/")[2].startswith(_PACKS)
        }

    def _of(self, store: ListedBucket, namespace: str) -> list[str]:
        return store.keys(f"{self._prefix}/kopia/{namespace}/")

    @staticmethod
    def _read(store: ListedBucket, key: str) -> bytes:
        return bytes(store.client().get_object(Bucket=store.bucket, Key=key)["Body"].read())
