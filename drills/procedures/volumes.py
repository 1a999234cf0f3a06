"""Making room for a volume's data from the backup: docs/runbooks/volume-restore.md."""

from __future__ import annotations

from pathlib import Path

from drills.drill import Drill
from drills.kube import Kube
from drills.probes import Probe
from drills.waiting import wait_until

NOTICED_WITHIN_S = 60.0


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
            workload: the StatefulSet, whose pods carry the label app of the same name.
            namespace: theirs.
            claim: the volume's claim.

        Raises:
            ProcedureFailed: kubectl failed, or was refused.
        """
        with self._drill.step(
            "stop the workload", f"kubectl -n {namespace} delete statefulset {workload} --cascade=orphan"
        ):
            self._run("--namespace", namespace, "delete", "statefulset", workload, "--cascade=orphan")
            # Nothing that it still writes is worth a grace period.
            self._run("--namespace", namespace, "delete", "pod", "--selector", f"app={workload}", "--grace-period=1")
        with self._drill.step("remove the ruined volume", f"kubectl -n {namespace} delete pvc {claim}"):
            self._run("--namespace", namespace, "delete", "pvc", claim)

    def _run(self, *arguments: str) -> None:
        self._drill.commands.run([*self._kubectl, *arguments], timeout_s=self._drill.at_most(120))
