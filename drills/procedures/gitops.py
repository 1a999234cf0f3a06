"""Bringing a GitOps controller back: docs/runbooks/gitops-restore.md. Here it is Argo CD."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from drills.drill import Drill
from drills.errors import WaitTimeout
from drills.faults.gitops import endpoints
from drills.kube import RIDDEN_OUT, Condition, Kube, Manifest, NotFound, deployment_available, statefulset_ready
from drills.redaction import kept
from drills.repository import APPLICATION, Repository
from drills.shell import command_line
from drills.waiting import wait_until

NAMESPACE = "argocd"
APPLICATIONS = "applications"
"""The repository's directory of Applications and the project that they belong to."""

PODS_WITHIN_S = 180.0
SYNCED_WITHIN_S = 180.0
NOTICED_WITHIN_S = 60.0
WORKLOADS: Mapping[str, Condition] = {"Deployment": deployment_available, "StatefulSet": statefulset_ready}
"""The kinds that Argo CD's pods belong to, and when one of them is ready."""


@dataclass(frozen=True)
class Bundle:
    """What is installed from, kept outside the cluster.

    Attributes:
        manifests: the file of each namespace's Services and pods, by namespace.
        repository: the source of truth.
        url: the repository as the runbook names it.
        applications: the names of the Applications in it.
    """

    manifests: Mapping[str, Path]
    repository: Repository
    url: str
    applications: Sequence[str]


@dataclass(frozen=True)
class Drift:
    """A change by hand that is not in the repository."""

    deployment: str
    namespace: str
    before: int
    after: int


class GitOps:
    """Argo CD, which deploys what is in a git repository."""

    def __init__(self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path, bundle: Bundle) -> None:
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]
        self._bundle = bundle
        self._drifts: list[Drift] = []

    # What happens meanwhile

    def someone_scales(self, deployment: str, namespace: str, replicas: int) -> None:
        """Scale a Deployment by hand, which nobody corrects as long as Argo CD is down; noted in the record.

        Raises:
            KubeError: the API server refused it.
        """
        before = self._replicas(deployment, namespace)
        self._kube.patch("Deployment", deployment, {"spec": {"replicas": replicas}}, namespace)
        self._drifts.append(Drift(deployment, namespace, before, replicas))
        self._drill.history.record(
            "note", text=f"drift: deployment/{deployment} is scaled by hand from {before} to {replicas} replicas"
        )

    # What the runbook does

    def pods_come_back(self) -> None:
        """Wait until the controllers have replaced Argo CD's pods; nobody does anything.

        Raises:
            WaitTimeout: they had not in time.
        """
        if self._drill.leaves_out("procedure"):  # no controller that would act: it is told to want no pods
            for kind in WORKLOADS:
                for one in self._kube.list(kind, NAMESPACE):
                    self._kube.patch(kind, one["metadata"]["name"], {"spec": {"replicas": 0}}, NAMESPACE)
            wait_until(
                lambda: not self._kube.list("Pod", NAMESPACE), what="Argo CD has no pods", within_s=90,
                retry_on=RIDDEN_OUT,
            )  # fmt: skip
            return
        with self._drill.step(
            "the controllers replace Argo CD's pods", f"kubectl -n {NAMESPACE} get pods --watch", by="kubernetes"
        ):
            self._wait_for_pods()

    def noticed(self) -> None:
        """Wait until an Application says that it cannot be compared with its source.

        Raises:
            WaitTimeout: none did in time.
        """
        # Without being asked it keeps an error to itself for three minutes.
        ask = f"-n {NAMESPACE} annotate applications --all argocd.argoproj.io/refresh=normal --overwrite"
        with self._drill.step("ask Argo CD to compare now", f"kubectl {ask}"):
            self._run(*ask.split())
        with self._drill.step("Argo CD says that it cannot", f"kubectl -n {NAMESPACE} get applications"):
            wait_until(
                lambda: [told for one in self._kube.list(APPLICATION, NAMESPACE) for told in _errors(one)],
                what="an Application says that it cannot be compared", within_s=self._drill.at_most(NOTICED_WITHIN_S),
                every_s=0.5, retry_on=RIDDEN_OUT,
            )  # fmt: skip
        self._drill.detected("Argo CD")

    def reinstall(self) -> None:
        """Install Argo CD from its bundle, definitions included, and wait until its pods are ready.

        Raises:
            ProcedureFailed: kubectl failed.
            WaitTimeout: the pods were not ready in time.
        """
        self._apply(NAMESPACE, "install Argo CD from its bundle")
        with self._drill.step("wait for Argo CD", f"kubectl -n {NAMESPACE} get pods --watch", by="kubernetes"):
            self._wait_for_pods()

    def restore_applications(self) -> None:
        """Fetch the repository, and restore project and Applications from it; Argo CD does the rest.

        Raises:
            ProcedureFailed: the repository could not be fetched, or kubectl failed.
        """
        with tempfile.TemporaryDirectory() as scratch:
            with self._drill.step("fetch the repository", f"git clone {self._bundle.url}"):
                self._drill.commands.run(
                    ["git", "clone", "--quiet", self._bundle.repository.urls()[0], scratch], timeout_s=60
                )
            if self._drill.leaves_out("procedure"):  # whoever does it forgets the Applications
                return
            with self._drill.step(
                "restore project and Applications", f"kubectl apply --server-side --filename {APPLICATIONS}"
            ):
                self._run("apply", "--server-side", "--filename", f"{scratch}/{APPLICATIONS}")

    def reconnect(self, namespace: str, service: str) -> None:
        """See that a Service leads nowhere, apply the manifests that it came from again, and see that it leads to pods.

        Raises:
            ProcedureFailed: kubectl failed.
            WaitTimeout: the Service led nowhere still.
        """
        look = f"kubectl -n {namespace} get endpointslices -l kubernetes.io/service-name={service}"
        with self._drill.step("look where the Service leads", look):
            self._run(*look.split()[1:])
        if not self._drill.leaves_out("procedure"):
            self._apply(namespace, "apply its manifests again")
        with self._drill.step("the Service leads to its pods", look, by="kubernetes"):
            wait_until(
                lambda: endpoints(self._kube, namespace, service), what=f"{service} leads to a pod",
                within_s=self._drill.at_most(60), retry_on=RIDDEN_OUT,
            )  # fmt: skip

    def applications_are_well(self) -> None:
        """Wait until every Application was compared anew, and found synced and healthy.

        What stands in an Application's status from before the disaster says nothing, however good it looks.

        Raises:
            WaitTimeout: one was not in time; says in what state they were.
        """
        missing = set(self._bundle.applications)
        seen: list[Manifest] = []

        def all_well() -> bool:
            seen[:] = self._kube.list(APPLICATION, NAMESPACE)
            # One after the other: with commits all the time, they are hardly ever all synced at the same instant.
            missing.difference_update(one["metadata"]["name"] for one in seen if is_well(one, since))
            return not missing

        with self._drill.step(
            "the Applications are synced and healthy", f"kubectl -n {NAMESPACE} get applications", by="kubernetes"
        ):
            since = self._drill.clock.now().utc
            wait_until(
                all_well, what="the Applications are synced and healthy",
                within_s=self._drill.at_most(SYNCED_WITHIN_S), every_s=0.5, retry_on=(*RIDDEN_OUT, NotFound),
                describe=lambda _: "; ".join(state_of(one) for one in seen) or "no Application",
            )  # fmt: skip

    def drift_is_corrected(self) -> None:
        """Check that what was changed by hand meanwhile is again as the repository says."""
        for drift in self._drifts:

            def corrected(drift: Drift = drift) -> bool:
                return self._replicas(drift.deployment, drift.namespace) == drift.before

            look = f"kubectl -n {drift.namespace} get deployment {drift.deployment}"
            with self._drill.step("the drift is corrected", look, by="kubernetes"), suppress(WaitTimeout):
                wait_until(
                    corrected, what="the drift is corrected", within_s=self._drill.at_most(SYNCED_WITHIN_S),
                    retry_on=RIDDEN_OUT,
                )  # fmt: skip
            now = self._replicas(drift.deployment, drift.namespace)
            self._drill.check(
                f"drift of deployment/{drift.deployment} is corrected",
                now == drift.before,
                f"{drift.before} replicas, after {drift.after} by hand",
                f"{now} replicas",
            )

    def _apply(self, namespace: str, title: str) -> None:
        file = self._bundle.manifests[namespace]
        # Server-side: the definitions are too large for the annotation that a client-side apply makes, and it would
        # leave in place what others have added to a selector.
        arguments = ("apply", "--server-side", "--force-conflicts", "--filename")
        with self._drill.step(title, f"kubectl {command_line(arguments)} {file.name}"):
            self._run(*arguments, str(file), timeout_s=120)

    def _wait_for_pods(self) -> None:
        deadline = self._drill.clock.monotonic() + self._drill.at_most(PODS_WITHIN_S)
        for kind, ready in WORKLOADS.items():
            self._kube.wait_for_all(
                kind, NAMESPACE, condition=ready, what=f"every {kind} of Argo CD is ready",
                within_s=max(0.1, deadline - self._drill.clock.monotonic()),
            )  # fmt: skip

    def _replicas(self, deployment: str, namespace: str) -> int:
        found = self._kube.get("Deployment", deployment, namespace)
        return int(found["spec"]["replicas"]) if found else 0

    def _run(self, *arguments: str, timeout_s: float = 60) -> None:
        self._drill.commands.run([*self._kubectl, *arguments], timeout_s=timeout_s)


def is_well(application: Manifest, since: datetime) -> bool:
    """Tell whether an Application was compared after an instant, and found synced and healthy."""
    status = application.get("status") or {}
    return (
        "reconciledAt" in status
        and datetime.fromisoformat(status["reconciledAt"]) > since
        and (status.get("sync") or {}).get("status") == "Synced"
        and (status.get("health") or {}).get("status") == "Healthy"
    )


def state_of(application: Manifest) -> str:
    """Put an Application's state into words."""
    status = application.get("status") or {}
    sync, health = ((status.get(part) or {}).get("status", "Unknown") for part in ("sync", "health"))
    told = "".join(f", {one}" for one in _errors(application))
    return f"{application['metadata']['name']} {sync} {health}, compared {status.get('reconciledAt', 'never')}{told}"


def _errors(application: Manifest) -> list[str]:
    conditions = (application.get("status") or {}).get("conditions") or []
    return [kept(one.get("message", ""), 200) for one in conditions if one.get("type") == "ComparisonError"]
