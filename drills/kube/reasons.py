"""Why a workload is not ready, in the words of its pods: a workload's own status counts them, and says no more."""

from __future__ import annotations

from collections.abc import Iterable

from drills.kube.conditions import pod_ready
from drills.kube.describe import describe, quoted
from drills.kube.resources import Manifest, Manifests

TOLD = 3
"""Pods that are told of; the others mostly have the same trouble."""

_SILENT = ("ContainerCreating", "PodInitializing")
"""Reasons by which kubelet does not say what a container waits for; an event does (a volume, a Secret, a sandbox)."""


def reasons(workloads: Iterable[Manifest], pods: Manifests, between: Manifests, warnings: Manifests) -> str:
    """Say why workloads have fewer ready pods than they want; empty where nothing tells.

    Args:
        workloads: the objects that were waited for.
        pods: the pods of their namespaces.
        between: what may stand between a workload and its pods: ReplicaSets and Jobs.
        warnings: the namespaces' events of type Warning, the oldest first.

    """
    own = {one["metadata"].get("uid", "") for one in workloads} - {""}
    own |= {one["metadata"].get("uid", "") for one in between if _owned(one, own)}
    said = {one["involvedObject"].get("uid"): one for one in warnings}  # the newest of each object
    waiting = [
        pod
        for pod in pods
        if _owned(pod, own) and not pod_ready(pod) and (pod.get("status") or {}).get("phase") != "Succeeded"
    ]
    told = [_told(pod, said.get(pod["metadata"].get("uid"))) for pod in waiting[:TOLD]]
    if len(waiting) > TOLD:
        told.append(f"{len(waiting) - TOLD} more pods")
    # Who refuses pods before there are any (a webhook, a quota) is named by their controller alone.
    refused = [said[uid] for uid in sorted(own) if uid in said and said[uid].get("reason") == "FailedCreate"]
    return "; ".join([*told, *(_event(one) for one in refused[:TOLD])])


def silences(pods: Manifests, warnings: Manifests) -> str:
    """Say what pods wait for whose own status does not say so; empty where all of them do, or no event tells.

    Args:
        pods: those that were waited for.
        warnings: their namespace's events of type Warning, the oldest first.

    """
    said = {one["involvedObject"].get("uid"): one for one in warnings}
    found = [said[uid] for pod in pods if _silent(pod) and (uid := pod["metadata"].get("uid")) in said]
    return "; ".join(_event(one) for one in found[:TOLD])


def _told(pod: Manifest, warning: Manifest | None) -> str:
    state = f"pod {pod['metadata']['name']}: {describe(pod)}"
    return f"{state}; {_event(warning)}" if warning and _silent(pod) else state


def _silent(pod: Manifest) -> bool:
    status = pod.get("status") or {}
    states = [*(status.get("initContainerStatuses") or []), *(status.get("containerStatuses") or [])]
    waiting = [((one.get("state") or {}).get("waiting") or {}).get("reason") for one in states]
    return not states or any(one in _SILENT for one in waiting)


def _event(event: Manifest) -> str:
    what = event["involvedObject"]
    kind = str(what.get("kind", "")).lower()
    return f"{event.get('reason')} of {kind} {what.get('name')}: {quoted(event.get('message'))}"


def _owned(found: Manifest, by: set[str]) -> bool:
    return any(owner.get("uid") in by for owner in found["metadata"].get("ownerReferences") or [])
