"""Backup work that the cluster does by itself, as CronJobs: run now, as whoever keeps them does to try them out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from drills.drill import Drill
from drills.kube import Kube, KubeError, Manifest


@dataclass(frozen=True)
class Outcome:
    """How a job ended.

    Attributes:
        job: its name.
        succeeded: whether all its containers did.
        log: what they said, or why that is not known.
    """

    job: str
    succeeded: bool
    log: str


class CronJobs:
    """The CronJobs of one cluster."""

    def __init__(self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path) -> None:
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]

    def run(self, name: str, namespace: str, within_s: float) -> Outcome:
        """Make a job of a CronJob now, and wait until it has ended, one way or the other.

        Args:
            name: the CronJob.
            namespace: its namespace.
            within_s: how long the job may take, in seconds.

        Raises:
            ProcedureFailed: kubectl was refused.
            WaitTimeout: the job has not ended in time.
        """
        job = f"{name}-{self._drill.clock.now().utc:%H%M%S}"
        self._drill.commands.run(
            [*self._kubectl, "--namespace", namespace, "create", "job", job, f"--from=cronjob/{name}"], timeout_s=30
        )
        self._kube.wait_for(
            "Job", job, namespace, condition=lambda found: _ended(found) is not None,
            what=f"job {job} has ended", within_s=within_s,
        )  # fmt: skip
        succeeded = _ended(self._kube.get("Job", job, namespace)) == "Complete"
        return Outcome(job, succeeded, self._log(job, namespace))

    def _log(self, job: str, namespace: str) -> str:
        said = []
        for pod in self._kube.list("Pod", namespace, labels=f"job-name={job}"):
            containers = [*(pod["spec"].get("initContainers") or []), *pod["spec"]["containers"]]
            for container in containers:
                try:
                    said.append(self._kube.logs(pod["metadata"]["name"], namespace, container=container["name"]))
                except KubeError as unknown:  # one that never started has none
                    said.append(f"{container['name']}: {unknown}\n")
        return "".join(said)


def _ended(found: Manifest | None) -> str | None:
    """Name the condition that says that a job is over: "Complete" or "Failed"."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return next(
        (one["type"] for one in conditions if one["type"] in ("Complete", "Failed") and one["status"] == "True"), None
    )
