"""Validating a backup without a disaster: docs/runbooks/backup-validation.md."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from drills.drill import Drill
from drills.errors import BadReading, ProcedureFailed
from drills.faults.backup import CopyRestored, copy_restored
from drills.kube import WORKLOADS, Kube, Manifest
from drills.probes import Probe
from drills.procedures.jobs import CronJobs
from drills.procedures.velero import NAMESPACE, Backup, Velero
from drills.redaction import kept_end
from drills.waiting import wait_until

KINDS = (
    "ConfigMap",
    "Secret",
    "ServiceAccount",
    "PersistentVolumeClaim",
    "Service",
    "Deployment",
    "StatefulSet",
    "DaemonSet",
    "Job",
    "CronJob",
    "PodDisruptionBudget",
)
"""What people make. What controllers make of it (pods, ReplicaSets, endpoints) follows from it."""

READY_WITHIN_S = 180.0
ANSWERS_WITHIN_S = 60.0
JOB = "backup-validation"
JOB_WITHIN_S = 900.0
CLEANED_UP_WITHIN_S = 180.0
_SERVICES_OWN = ("clusterIP", "clusterIPs", "healthCheckNodePort", "internalTrafficPolicy")


@dataclass(frozen=True)
class Difference:
    """How a copy differs from its original, as kind/name.

    Attributes:
        compared: how many objects the original has.
        missing: not in the copy.
        changed: in both, and not the same.
        extra: only in the copy.
    """

    compared: int
    missing: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        said = ", ".join(
            f"{len(names)} {word}" + (f" ({', '.join(names)})" if names else "")
            for word, names in (("missing", self.missing), ("changed", self.changed), ("extra", self.extra))
        )
        return f"{self.compared} objects: {said}"

    def __bool__(self) -> bool:
        return bool(self.missing or self.changed or self.extra)


def fingerprint(found: Manifest) -> str:
    """Digest what people have set of an object, without what servers and restores write into it."""
    metadata = found["metadata"]
    labels = {key: value for key, value in (metadata.get("labels") or {}).items() if not key.startswith("velero.io/")}
    kept = {
        key: value for key, value in found.items() if key not in ("apiVersion", "kind", "metadata", "status", "spec")
    }
    spec = dict(found.get("spec") or {})
    if found.get("kind") == "Service":
        spec = {key: value for key, value in spec.items() if key not in _SERVICES_OWN}
        spec["ports"] = [
            {key: value for key, value in port.items() if key != "nodePort"} for port in spec.get("ports", [])
        ]
    if found.get("kind") == "PersistentVolumeClaim":
        spec.pop("volumeName", None)
    text = json.dumps([labels, kept, spec], sort_keys=True)
    return hashlib.sha256(text.encode()).hexdigest()


def difference(original: Mapping[str, str], copy: Mapping[str, str]) -> Difference:
    """Compare two sets of fingerprints by name."""
    return Difference(
        compared=len(original),
        missing=sorted(original.keys() - copy.keys()),
        changed=sorted(name for name in original.keys() & copy.keys() if original[name] != copy[name]),
        extra=sorted(copy.keys() - original.keys()),
    )


class Validation:
    """One backup's validation: a copy beside the original, compared with it."""

    def __init__(self, drill: Drill, kube: Kube, velero: Velero, namespace: str, remove: Callable[[str], None]) -> None:
        """Say what is validated.

        Args:
            drill: the drill.
            kube: the cluster.
            velero: restores.
            namespace: the original's.
            remove: removes a namespace.
        """
        self._drill = drill
        self._kube = kube
        self._velero = velero
        self._namespace = namespace
        self._remove = remove
        self.scratch = f"{namespace}-copy"

    def copy(self) -> CopyRestored:
        """Give what stands for the fault: none."""
        return copy_restored(self._kube, self.scratch, self._remove)

    def restore(self, backup: Backup, node_ports: Mapping[str, int]) -> None:
        """Restore a backup into the scratch namespace and wait for the copied workload.

        Velero keeps a node port that someone asked for, and a second Service cannot have it. So the copies get others,
        which no user knows.

        Args:
            backup: what to restore.
            node_ports: of the copied Services, by their names.

        Raises:
            ProcedureFailed: Velero failed, or said something else than Completed.
            WaitTimeout: the volumes' data or the pods were not there in time.
        """
        if self._drill.leaves_out("fault"):  # there is no fault; what a validation stands on is the restore
            return
        rules = f"{self.scratch}-node-ports"
        with self._drill.step(
            "give the copies other node ports",
            f"kubectl -n {NAMESPACE} create configmap {rules} --from-file rules.yaml",
        ):
            self._kube.apply(_other_node_ports(rules, node_ports), NAMESPACE)
        self._velero.restore_as(backup, self.scratch, rules)
        self._kube.delete("ConfigMap", rules, NAMESPACE)
        with self._drill.step(
            "wait for the copied workload",
            f"kubectl -n {self.scratch} rollout status deployment,statefulset,daemonset",
            by="kubernetes",
        ):
            for kind, ready in WORKLOADS.items():
                self._kube.wait_for_all(
                    kind,
                    self.scratch,
                    condition=ready,
                    what=f"the copy's {kind}s are ready",
                    within_s=self._drill.at_most(READY_WITHIN_S),
                    at_least=len(self._kube.list(kind, self._namespace)),
                )

    def answers(self, probe: Probe) -> None:
        """Check that the copy answers, and keep the outcome.

        Raises:
            WaitTimeout: it did not.
        """
        if self._drill.leaves_out("fault"):
            return
        with self._drill.step(f"ask the copy: {probe.name}"):
            wait_until(
                lambda: _ask(probe),
                what=f"the copy answers: {probe.name}",
                within_s=self._drill.at_most(ANSWERS_WITHIN_S),
                retry_on=(BadReading, OSError, TimeoutError),
            )
        self._drill.check(f"the copy answers: {probe.name}", True, "a good answer", "a good answer")

    def compare(self) -> Difference:
        """Compare counts and contents of all objects with the original's; a difference is a failed check."""
        return _compare(self._drill, self._kube, self._namespace, self.scratch)


class ValidationJob:
    """The same validation as the cluster makes it by itself: a CronJob that restores and compares, one that cleans up.

    What the job says is not believed: the harness compares once more, and reads the copy's data itself.
    """

    def __init__(
        self,
        drill: Drill,
        kube: Kube,
        jobs: CronJobs,
        namespace: str,
        remove: Callable[[str], None],
        manifests: Iterable[Manifest],
    ) -> None:
        """Say what is validated.

        Args:
            drill: the drill.
            kube: the cluster.
            jobs: its CronJobs.
            namespace: the original's.
            remove: removes a namespace, where the cluster's own job did not.
            manifests: the CronJobs, and what they need.
        """
        self._drill = drill
        self._kube = kube
        self._jobs = jobs
        self._namespace = namespace
        self._remove = remove
        self._manifests = list(manifests)
        self.scratch = f"{namespace}-copy"

    def open(self, node_ports: Mapping[str, int]) -> None:
        """Install the CronJobs; before the backup, which is to hold what they may do in the namespace.

        Args:
            node_ports: of the copied Services, by their names.

        Raises:
            KubeError: the API server refused.
        """
        self._kube.apply([*self._manifests, _other_node_ports(f"{self.scratch}-node-ports", node_ports)], NAMESPACE)

    def close(self) -> None:
        """Remove the CronJobs."""
        for one in reversed(self._manifests):
            self._kube.delete(one["kind"], one["metadata"]["name"], one["metadata"].get("namespace"))
        self._kube.delete("ConfigMap", f"{self.scratch}-node-ports", NAMESPACE)

    def copy(self) -> CopyRestored:
        """Give what stands for the fault: none. The clean-up is the cluster's."""
        return copy_restored(self._kube, self.scratch, self._clean_up)

    def run(self) -> None:
        """Let the cluster validate the newest completed backup now.

        Raises:
            ProcedureFailed: the job says that it is not valid, with what it said.
            WaitTimeout: it did not end in time.
        """
        if self._drill.leaves_out("fault"):  # there is no fault; what a validation stands on is the restore
            return
        command = f"kubectl -n {NAMESPACE} create job --from=cronjob/{JOB} NAME"
        with self._drill.step("let the CronJob validate the newest backup", command, by="kubernetes"):
            done = self._jobs.run(JOB, NAMESPACE, self._drill.at_most(JOB_WITHIN_S))
            if not done.succeeded:
                raise ProcedureFailed(f"job {done.job} failed: {kept_end(done.log.strip(), 2000)}")
        said = done.log.strip().splitlines()[-1]
        self._drill.check("the CronJob finds the backup valid", said.startswith("VALID: "), "VALID", said)

    def compare(self) -> Difference:
        """Compare counts and contents of all objects with the original's; see Validation.compare."""
        return _compare(self._drill, self._kube, self._namespace, self.scratch)

    def _clean_up(self, namespace: str) -> None:
        done = self._jobs.run(f"{JOB}-clean-up", NAMESPACE, CLEANED_UP_WITHIN_S)
        left = self._kube.get("Namespace", namespace) is not None
        got = "there" if left else "gone"
        self._drill.check("the CronJob has removed the copy", done.succeeded and not left, "gone", got)
        if left:
            self._remove(namespace)


def _compare(drill: Drill, kube: Kube, original: str, copy: str) -> Difference:
    with drill.step("compare every object", f"kubectl get -n {original} and -n {copy}, by kind and name"):
        found = difference(_fingerprints(kube, original), _fingerprints(kube, copy))
    drill.check("the copy's objects are the original's", not found, "nothing missing, changed or extra", found)
    return found


def _fingerprints(kube: Kube, namespace: str) -> dict[str, str]:
    found: dict[str, str] = {}
    for kind in KINDS:
        for one in kube.list(kind, namespace):
            item: dict[str, Any] = {**one, "kind": kind}
            found[f"{kind}/{one['metadata']['name']}"] = fingerprint(item)
    return found


def _ask(probe: Probe) -> bool:
    """Ask a probe once, by its first way in."""
    asyncio.run(asyncio.wait_for(probe.ask(probe.ways()[0], probe.timeout_s), probe.timeout_s))
    return True


def _other_node_ports(name: str, node_ports: Mapping[str, int]) -> Manifest:
    """Make Velero's resource modifier rules that give restored Services these node ports."""
    rules = [
        {
            "conditions": {"groupResource": "services", "resourceNameRegex": f"^{service}$"},
            "patches": [{"operation": "replace", "path": "/spec/ports/0/nodePort", "value": str(port)}],
        }
        for service, port in node_ports.items()
    ]
    text = yaml.safe_dump({"version": "v1", "resourceModifierRules": rules})
    return {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": name}, "data": {"rules.yaml": text}}
