"""Making room for a volume's data from the backup: docs/runbooks/volume-restore.md."""

from __future__ import annotations

from datetime import datetime
from pathlib import Path

from drills.drill import Drill
from drills.errors import ProcedureFailed
from drills.kube import WORKLOADS, Kube, Manifest
from drills.probes import Probe
from drills.shell import command_line
from drills.waiting import wait_until

NOTICED_WITHIN_S = 60.0
SNAPSHOT = "snapshot.storage.k8s.io/v1/VolumeSnapshot"
SNAPSHOT_WITHIN_S = 300.0
READY_WITHIN_S = 300.0
_KINDS = {"statefulset": "StatefulSet", "deployment": "Deployment"}


class Volumes:
    """What the runbook does with a ruined volume before the backup can be restored into its place."""

    def __init__(self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path) -> None:
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]

    def noticed(self, probe: Probe) -> None:
        """Wait until users have noticed: the first bad reading since the damage.

        Raises:
            WaitTimeout: nobody noticed.
        """
        since = self._drill.history.elapsed()

        def bad() -> bool:
            return any(
                event.fields["probe"] == probe.name and not event.fields["ok"] and event.fields["answered"] >= since
                for event in reversed(self._drill.history.events("reading"))
            )

        with self._drill.step("a user notices", by="human"):
            wait_until(bad, what=f"{probe.name} fails", within_s=NOTICED_WITHIN_S)
        self._drill.detected(by=probe.name)

    def remove(self, workload: str, namespace: str, claim: str) -> None:
        """Remove the workload and its ruined volume, since Velero fills volumes only of pods that it makes itself.

        Args:
            workload: the StatefulSet or Deployment, whose pods carry the label app of the same name.
            namespace: theirs.
            claim: the volume's claim.

        Raises:
            ProcedureFailed: kubectl failed, or was refused.
        """
        kind = _kind_of(self._kube, workload, namespace)
        # A Deployment's ReplicaSet must go with it: orphaned, it would make the pods again.
        delete = ["delete", kind, workload, *(["--cascade=orphan"] if kind == "statefulset" else [])]
        with self._drill.step("stop the workload", f"kubectl -n {namespace} {' '.join(delete)}"):
            self._run("--namespace", namespace, *delete)
            # Nothing that it still writes is worth a grace period.
            self._run("--namespace", namespace, "delete", "pod", "--selector", f"app={workload}", "--grace-period=1")
        with self._drill.step("remove the ruined volume", f"kubectl -n {namespace} delete pvc {claim}"):
            self._run("--namespace", namespace, "delete", "pvc", claim)

    def _run(self, *arguments: str) -> None:
        self._drill.commands.run([*self._kubectl, *arguments], timeout_s=self._drill.at_most(120))


class VolumeSnapshots:
    """Snapshots of volumes by the cluster's CSI driver, and new volumes made of them.

    A snapshot is what a power cut would have left: no file is closed for it, and PostgreSQL replays its log on it.
    """

    def __init__(self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path) -> None:
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]

    def take(self, namespace: str, claim: str) -> str:
        """Take a snapshot of a claim's volume, by the class that is the default for its driver; return its name.

        Args:
            namespace: the claim's namespace.
            claim: the claim.

        Raises:
            KubeError: the API server refused; without the snapshot controller it knows no such kind.
            WaitTimeout: it was not ready to use in time.
        """
        name = f"{claim}-{self._drill.clock.now().utc:%H%M%S}"
        self._kube.apply(
            {
                "apiVersion": "snapshot.storage.k8s.io/v1",
                "kind": "VolumeSnapshot",
                "metadata": {"name": name},
                "spec": {"source": {"persistentVolumeClaimName": claim}},
            },
            namespace,
        )
        self._kube.wait_for(
            SNAPSHOT, name, namespace, condition=_usable,
            what=f"snapshot {name} is ready to use", within_s=SNAPSHOT_WITHIN_S,
        )  # fmt: skip
        found = self._kube.get(SNAPSHOT, name, namespace) or {}
        status = found["status"]
        self._drill.backup(
            "volume-snapshot", name, datetime.fromisoformat(status["creationTime"]),
            content=status.get("boundVolumeSnapshotContentName", ""), size=str(status.get("restoreSize", "")),
        )  # fmt: skip
        return name

    def newest(self, namespace: str, claim: str) -> str:
        """Find the newest snapshot of a claim that is ready to use, as the runbook's first step does.

        Raises:
            ProcedureFailed: there is none.
        """
        with self._drill.step("find the newest snapshot", f"kubectl -n {namespace} get volumesnapshot"):
            usable = [
                one
                for one in self._kube.list(SNAPSHOT, namespace)
                if _usable(one) and one["spec"]["source"].get("persistentVolumeClaimName") == claim
            ]
            if not usable:
                raise ProcedureFailed(f"no snapshot of {namespace}/{claim} is ready to use")
            return str(max(usable, key=lambda one: one["status"]["creationTime"])["metadata"]["name"])

    def restore(self, snapshot: str, workload: str, namespace: str, claim: str) -> None:
        """Put a volume made from a snapshot in the place of the ruined one, under the same claim's name.

        Args:
            snapshot: its name.
            workload: the StatefulSet or Deployment that uses the claim.
            namespace: theirs.
            claim: the claim.

        Raises:
            ProcedureFailed: a command failed, or there is no such claim.
            WaitTimeout: the workload was not ready in time.
        """
        ruined = self._kube.get("PersistentVolumeClaim", claim, namespace)
        if ruined is None:
            raise ProcedureFailed(f"there is no claim {namespace}/{claim}")
        kind = _kind_of(self._kube, workload, namespace)
        wanted = self._kube.get(_KINDS[kind], workload, namespace) or {}
        replicas = (wanted.get("spec") or {}).get("replicas", 1)
        scale = ["-n", namespace, "scale", f"{kind}/{workload}"]
        with self._drill.step("stop the workload", f"kubectl {command_line(scale)} --replicas=0"):
            self._run(*scale, "--replicas=0")
            # Nothing that it still writes is worth a grace period.
            self._run("-n", namespace, "delete", "pod", "--selector", f"app={workload}", "--grace-period=1")
        with self._drill.step("remove the ruined volume", f"kubectl -n {namespace} delete pvc {claim}"):
            self._run("-n", namespace, "delete", "pvc", claim)
        with self._drill.step("make the volume from the snapshot", "kubectl apply --filename pvc-from-snapshot.yaml"):
            self._kube.apply(_claim_from(ruined, None if self._drill.leaves_out("procedure") else snapshot), namespace)
        with self._drill.step("start the workload", f"kubectl {command_line(scale)} --replicas={replicas}"):
            self._run(*scale, f"--replicas={replicas}")
            self._kube.wait_for(
                _KINDS[kind], workload, namespace, condition=WORKLOADS[_KINDS[kind]],
                what="the workload is ready", within_s=self._drill.at_most(READY_WITHIN_S),
            )  # fmt: skip

    def _run(self, *arguments: str) -> None:
        self._drill.commands.run([*self._kubectl, *arguments], timeout_s=self._drill.at_most(120))


def _kind_of(kube: Kube, workload: str, namespace: str) -> str:
    """Tell of which kind a workload is, as kubectl calls it; a StatefulSet if there is none of that name any more."""
    return next((word for word, kind in _KINDS.items() if kube.get(kind, workload, namespace)), "statefulset")


def _usable(found: Manifest | None) -> bool:
    return bool(((found or {}).get("status") or {}).get("readyToUse"))


def _claim_from(ruined: Manifest, snapshot: str | None) -> Manifest:
    """Make a claim like the ruined one, filled from a snapshot; None for an empty one."""
    kept = ("accessModes", "resources", "storageClassName", "volumeMode")
    spec = {key: ruined["spec"][key] for key in kept if key in ruined["spec"]}
    if snapshot:
        spec["dataSource"] = {"apiGroup": "snapshot.storage.k8s.io", "kind": "VolumeSnapshot", "name": snapshot}
    metadata = {"name": ruined["metadata"]["name"], "labels": ruined["metadata"].get("labels") or {}}
    return {"apiVersion": "v1", "kind": "PersistentVolumeClaim", "metadata": metadata, "spec": spec}
