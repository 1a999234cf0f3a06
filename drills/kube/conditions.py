"""Conditions: what the words mean.

Each wants the controller to have seen the object's newest version, since right after a change the status still tells of
the state before it.
"""

from __future__ import annotations

from drills.kube.resources import Condition, Manifest


def gone(found: Manifest | None) -> bool:
    """Hold when there is no such object."""
    return found is None


def present(found: Manifest | None) -> bool:
    """Hold when there is such an object and it is not being deleted."""
    return found is not None and "deletionTimestamp" not in found["metadata"]


def pod_ready(found: Manifest | None) -> bool:
    """Hold when the pod is ready and not on its way out."""
    return present(found) and status_of(found, "Ready") == "True"


def deployment_available(found: Manifest | None) -> bool:
    """Hold when every replica is of the newest version and available, and no older one is left.

    Of a Deployment whose rollout is paused, when enough replicas are available, of whatever version.
    """
    if found is None or not present(found) or not seen_by_controller(found):
        return False
    wanted, status = replicas_of(found), found["status"]
    if (found.get("spec") or {}).get("paused"):  # its newest version is not rolled out until someone resumes it
        return bool(status.get("availableReplicas", 0) >= wanted)
    counted = {status.get(key, 0) for key in ("replicas", "updatedReplicas", "availableReplicas")}
    return counted == {wanted}


def statefulset_ready(found: Manifest | None) -> bool:
    """Hold when every replica is ready, and of the newest version where the controller is to see to that.

    With the update strategy OnDelete, or with a partition, older replicas are meant to stay, and Kubernetes never sets
    `currentRevision` to `updateRevision` (kubernetes/kubernetes#73492): ready is what counts there.
    """
    if found is None or not present(found) or not seen_by_controller(found):
        return False
    wanted, status = replicas_of(found), found["status"]
    rolled_out = bool(status.get("currentRevision") == status.get("updateRevision")) or not rolls_by_itself(found)
    return rolled_out and {status.get(key, 0) for key in ("replicas", "readyReplicas")} == {wanted}


def daemonset_ready(found: Manifest | None) -> bool:
    """Hold when the newest version is ready on every node it is meant for, and it is meant for at least one.

    With the update strategy OnDelete older pods are meant to stay: ready is what counts there.
    """
    return daemonset_settled(found) and bool((found or {})["status"].get("desiredNumberScheduled"))


def daemonset_settled(found: Manifest | None) -> bool:
    """Hold when a DaemonSet is ready on every node it is meant for, be that none."""
    if found is None or not present(found) or not seen_by_controller(found):
        return False
    status = found["status"]
    keys = ("updatedNumberScheduled", "numberReady") if rolls_by_itself(found) else ("numberReady",)
    return {status.get(key, 0) for key in keys} == {status.get("desiredNumberScheduled", 0)}


def node_ready(ready: bool) -> Condition:
    """Make a condition that holds when the node's Ready condition is True (`ready`), or is False or Unknown (not)."""

    def holds(found: Manifest | None) -> bool:
        status = status_of(found, "Ready")
        return status == "True" if ready else status in ("False", "Unknown")

    return holds


VELERO_ENDED = ("Completed", "PartiallyFailed", "Failed", "FailedValidation", "Deleting")
"""Phases that a Velero backup or restore does not leave for a better one (API of 1.18: BackupPhase, RestorePhase)."""


def velero_phase(*phases: str) -> Condition:
    """Make a condition that holds when a Velero object is in one of these phases.

    Wait for `velero_phase(*VELERO_ENDED)` and look at the phase then; waiting for "Completed" alone sits through a
    failure to the deadline.
    """

    def holds(found: Manifest | None) -> bool:
        return found is not None and (found.get("status") or {}).get("phase") in phases

    return holds


def condition_of(found: Manifest | None, wanted: str) -> Manifest:
    """Return an object's condition of a type; an empty one if it has none."""
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return next((one for one in conditions if one.get("type") == wanted), {})


def status_of(found: Manifest | None, wanted: str) -> str:
    """Return the status of an object's condition: "True", "False", "Unknown", or nothing."""
    return str(condition_of(found, wanted).get("status", ""))


def seen_by_controller(found: Manifest) -> bool:
    """Tell whether an object's status is about its newest version."""
    return bool((found.get("status") or {}).get("observedGeneration", 0) >= found["metadata"].get("generation", 1))


def replicas_of(workload: Manifest) -> int:
    """Return how many replicas a workload wants; 1 where it does not say (Kubernetes' default)."""
    return int((workload.get("spec") or {}).get("replicas", 1))


def rolls_by_itself(workload: Manifest) -> bool:
    """Tell whether the controller of a StatefulSet or DaemonSet replaces every pod of an older version."""
    strategy = (workload.get("spec") or {}).get("updateStrategy") or {}
    if strategy.get("type", "RollingUpdate") != "RollingUpdate":
        return False
    return workload.get("kind") == "DaemonSet" or not (strategy.get("rollingUpdate") or {}).get("partition")
