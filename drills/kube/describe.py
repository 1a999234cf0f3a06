"""An object's state in one line, for time-outs and verdicts."""

from __future__ import annotations

from collections.abc import Callable

from drills.kube.conditions import condition_of, replicas_of, seen_by_controller, status_of
from drills.kube.resources import Manifest

MESSAGE = 240
"""Characters of one message of Kubernetes that are quoted: enough for an image's name and what the registry said."""

_IN_THE_WAY = ("NamespaceContentRemaining", "NamespaceFinalizersRemaining", "NamespaceDeletionDiscoveryFailure",
               "NamespaceDeletionGroupVersionParsingFailure", "NamespaceDeletionContentFailure")  # fmt: skip
"""Conditions by which a namespace says what keeps it (kubernetes, pkg/controller/namespace/deletion)."""


def describe(found: Manifest | None) -> str:
    """Say an object's state in one line."""
    if found is None:
        return "absent"
    teller = _TELLERS.get(found.get("kind", ""), _tell_any)
    told = teller(found)
    if "deletionTimestamp" in found["metadata"]:
        held = found["metadata"].get("finalizers") or (found.get("spec") or {}).get("finalizers") or []
        told.append("being deleted" + (f", held by {', '.join(held)}" if held else ""))
    return ", ".join(told) or "present, without status"


def quoted(message: object) -> str:
    """Put a message of Kubernetes on one line, cut where it is long."""
    text = " ".join(str(message or "").split())
    return text if len(text) <= MESSAGE else text[: MESSAGE - 1] + "…"


def _tell_pod(pod: Manifest) -> list[str]:
    status = pod.get("status") or {}
    told = [status.get("phase") or "no phase", f"Ready={_with_reason(pod, 'Ready')}"]
    if status_of(pod, "PodScheduled") == "False":
        scheduled = condition_of(pod, "PodScheduled")
        said = _joined(str(scheduled.get("reason") or "?"), scheduled.get("message"))
        told.append(f"PodScheduled=False ({said})")
    if status.get("reason"):  # of the pod itself: Evicted, NodeLost, UnexpectedAdmissionError
        told.append(_joined(str(status["reason"]), status.get("message")))
    for container in [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]:
        told += _tell_container(container)
    node = (pod.get("spec") or {}).get("nodeName")
    return [*told, f"on {node}"] if node else told


def _tell_container(container: Manifest) -> list[str]:
    name, told = container["name"], []
    for state, facts in (container.get("state") or {}).items():
        if state == "waiting":
            told.append(f"{name} waiting ({_why_waiting(facts or {}, container)})")
        elif state == "terminated" and facts.get("exitCode"):
            told.append(f"{name} terminated ({_how_ended(facts)})")
    if container.get("restartCount"):
        told.append(f"{name} restarted {container['restartCount']}x")
    return told


def _why_waiting(facts: Manifest, container: Manifest) -> str:
    reason = str(facts.get("reason") or "?")
    if reason != "CrashLoopBackOff":
        return _joined(reason, facts.get("message"))
    # Its message says how long the pause is. Why it crashed is what the last attempt left.
    ended = (container.get("lastState") or {}).get("terminated")
    return f"{reason}, last {_how_ended(ended)}" if ended else reason


def _how_ended(facts: Manifest) -> str:
    reason = str(facts.get("reason") or "?")
    return _joined(f"{reason}, exit code {facts.get('exitCode', '?')}", facts.get("message"))


def _joined(reason: str, message: object) -> str:
    return f"{reason}: {quoted(message)}" if message else reason


def _tell_replicas(workload: Manifest) -> list[str]:
    status = workload.get("status") or {}
    told = [f"{status.get('readyReplicas', 0)} of {replicas_of(workload)} ready"]
    if not seen_by_controller(workload):
        told.append("its controller has not seen the newest version")
    elif status.get("updatedReplicas", 0) != replicas_of(workload):
        told.append(f"{status.get('updatedReplicas', 0)} updated")
    if status_of(workload, "ReplicaFailure") == "True":  # a quota, or a webhook that refuses its pods
        told.append(quoted(condition_of(workload, "ReplicaFailure").get("message")))
    return told


def _tell_daemonset(workload: Manifest) -> list[str]:
    status = workload.get("status") or {}
    return [f"{status.get('numberReady', 0)} of {status.get('desiredNumberScheduled', 0)} ready"]


def _tell_node(node: Manifest) -> list[str]:
    cordoned = ["cordoned"] if (node.get("spec") or {}).get("unschedulable") else []
    return [f"Ready={_with_reason(node, 'Ready')}", *cordoned]


def _tell_namespace(namespace: Manifest) -> list[str]:
    status = namespace.get("status") or {}
    told = [f"phase={status['phase']}"] if status.get("phase") else []
    return told + [
        quoted(condition_of(namespace, one).get("message") or one)
        for one in _IN_THE_WAY
        if status_of(namespace, one) == "True"
    ]


def _tell_any(found: Manifest) -> list[str]:
    status = found.get("status") or {}
    told = [f"phase={status['phase']}"] if status.get("phase") else []
    told += [
        f"{one['type']}={one['status']}" + (f" ({_joined(str(one.get('reason') or ''), one.get('message'))})"
                                            if one["status"] != "True" and one.get("message") else "")
        for one in status.get("conditions") or []
    ]  # fmt: skip
    told += [f"{key}={status[key]}" for key in ("errors", "warnings", "failureReason", "message") if status.get(key)]
    return told + [str(problem) for problem in (status.get("validationErrors") or [])[:2]]


_TELLERS: dict[str, Callable[[Manifest], list[str]]] = {
    "Pod": _tell_pod,
    "Deployment": _tell_replicas,
    "StatefulSet": _tell_replicas,
    "ReplicaSet": _tell_replicas,
    "DaemonSet": _tell_daemonset,
    "Node": _tell_node,
    "Namespace": _tell_namespace,
}


def _with_reason(found: Manifest, wanted: str) -> str:
    condition = condition_of(found, wanted)
    reason = f" ({condition['reason']})" if condition.get("reason") and condition.get("status") != "True" else ""
    return f"{condition.get('status', 'unknown')}{reason}"
