"""etcd's snapshots as a CronJob makes them and an object store keeps them: docs/runbooks/etcd-quorum.md."""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Iterable
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Protocol

from drills.bucket import ListedBucket
from drills.clock import Instant
from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed
from drills.kube import Kube, Manifest
from drills.nodes import OpenNode
from drills.procedures.etcd import SNAPSHOTS, Snapshot
from drills.procedures.jobs import CronJobs
from drills.redaction import kept_end

NAME, NAMESPACE = "etcd-snapshot", "kube-system"
RUN_WITHIN_S = 180.0
_STAMP = "%Y%m%dT%H%M%SZ"


class Machine(OpenNode, Protocol):
    """A control-plane node with a way for files in."""

    def copy_in(self, source: Path, path: str) -> None:
        """Copy a file to the node."""
        ...


class SnapshotJob:
    """The CronJob that saves etcd's snapshots, and what it has saved."""

    def __init__(
        self, drill: Drill, kube: Kube, jobs: CronJobs, store: ListedBucket, manifests: Iterable[Manifest], *,
        prefix: str, keep_days: int,
    ) -> None:  # fmt: skip
        """Install the CronJob.

        Args:
            drill: the drill.
            kube: the cluster.
            jobs: its CronJobs.
            store: keeps the snapshots.
            manifests: the CronJob, and what it needs.
            prefix: of its keys in the store, without a slash at the end.
            keep_days: how long it keeps them, as the manifests say.

        Raises:
            KubeError: the API server refused.
        """
        self._drill = drill
        self._jobs = jobs
        self._store = store
        self._prefix = prefix
        self._keep = timedelta(days=keep_days)
        kube.apply(manifests)

    def run(self) -> None:
        """Have the CronJob take a snapshot now; note the recovery point, and check that it keeps to its retention.

        Two more snapshots are put into the store before, one just within the retention and one just past it.

        Raises:
            EnvironmentFailed: the job failed.
            ProcedureFailed: it left nothing in the store.
            WaitTimeout: it did not end in time.
        """
        taken = self._drill.clock.now()
        young, old = (self._left_over(taken.utc - self._keep + timedelta(days=days)) for days in (1, -1))
        done = self._jobs.run(NAME, NAMESPACE, RUN_WITHIN_S)
        if not done.succeeded:
            raise EnvironmentFailed(f"job {done.job} took no snapshot: {kept_end(done.log.strip(), 2000)}")
        name, facts = self._newest()
        self._drill.backup(
            "etcd-snapshot", name, taken, sha256=facts["sha256"], revision=facts["revision"], keys=facts["totalKey"],
            bytes=facts["totalSize"], job=done.job, alarms=", ".join(facts.get("alarms") or []) or "none",
        )  # fmt: skip
        left = set(self._store.keys(f"{self._prefix}/"))
        self._drill.check(
            f"the CronJob keeps snapshots for {self._keep.days} days and no longer",
            young in left and old not in left,
            "the younger one is kept, the older one is gone",
            f"kept: {young in left}, gone: {old not in left}",
        )
        self._store.client().delete_object(Bucket=self._store.bucket, Key=young)

    def fetch(self, node: Machine) -> Snapshot:
        """Fetch the newest snapshot from the store to a control plane, as the runbook does with no API to ask.

        Raises:
            ProcedureFailed: there is none, or it is not the one that was taken.
        """
        with (
            self._drill.step("fetch the newest snapshot", f"aws s3 cp s3://{self._store.bucket}/{self._prefix}/NEWEST"),
            tempfile.TemporaryDirectory() as scratch,
        ):
            name, facts = self._newest()
            file = Path(scratch) / name
            self._store.client().download_file(self._store.bucket, f"{self._prefix}/{name}", str(file))
            found = hashlib.sha256(file.read_bytes()).hexdigest()
            if found != facts["sha256"]:
                raise ProcedureFailed(f"{name} has sha256 {found}, but was taken with {facts['sha256']}")
            path = f"{SNAPSHOTS}/{name}"
            self._drill.commands.run([*node.enter, "mkdir", "-p", SNAPSHOTS], env=node.environment, timeout_s=30)
            node.copy_in(file, path)
        return Snapshot(path, self._instant(name), facts["revision"], facts["totalKey"], facts["sha256"])

    def _newest(self) -> tuple[str, dict[str, Any]]:
        """Return the newest whole snapshot's name, and what its job noted of it."""
        notes = sorted(key for key in self._store.keys(f"{self._prefix}/") if key.endswith(".json"))
        if not notes:
            raise ProcedureFailed(f"{self._store.bucket}/{self._prefix} holds no snapshot")
        answer = self._store.client().get_object(Bucket=self._store.bucket, Key=notes[-1])
        return Path(notes[-1]).with_suffix(".db").name, json.loads(answer["Body"].read())

    def _left_over(self, taken: datetime) -> str:
        """Put what an earlier run of the CronJob would have left into the store; return its key."""
        key = f"{self._prefix}/{taken:{_STAMP}}.db"
        self._store.client().put_object(Bucket=self._store.bucket, Key=key, Body=b"a snapshot of that day")
        return key

    def _instant(self, name: str) -> Instant:
        taken = datetime.strptime(f"{Path(name).stem}+0000", f"{_STAMP}%z")
        now = self._drill.clock.now()
        return Instant(now.monotonic + (taken - now.utc).total_seconds(), taken)
