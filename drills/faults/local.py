"""Pods whose data lies on one node: they can run nowhere else."""

from __future__ import annotations

from collections.abc import Iterable

from drills.kube import Kube, Manifest

_BY_NAME = ("kubernetes.io/hostname", "metadata.name")


def local_to(kube: Kube, node: str, pods: Iterable[Manifest]) -> dict[str, str]:
    """Say which of these pods have a volume that only one node can mount, "namespace/name" to the volume in words.

    Args:
        kube: the cluster.
        node: where they run.
        pods: the pods.

    Raises:
        KubeError: the API server did not say.

    """
    found: dict[str, str] = {}
    volumes: dict[str, Manifest] | None = None
    for pod in pods:
        namespace, name = pod["metadata"]["namespace"], pod["metadata"]["name"]
        for one in (pod.get("spec") or {}).get("volumes") or []:
            claim = (one.get("persistentVolumeClaim") or {}).get("claimName", "")
            if "ephemeral" in one:
                claim = f"{name}-{one['name']}"  # as Kubernetes names it
            if not claim:
                continue
            if volumes is None:
                volumes = {each["metadata"]["name"]: each for each in kube.list("PersistentVolume")}
            bound = (kube.get("PersistentVolumeClaim", claim, namespace) or {}).get("spec") or {}
            volume = (volumes.get(bound.get("volumeName", "")) or {}).get("spec") or {}
            if _hosts(volume) == {node}:
                found[f"{namespace}/{name}"] = f"the volume of claim {claim} is a disk or directory of {node}"
    return found


def _hosts(volume: Manifest) -> set[str]:
    """Name the nodes that may mount a volume, where it says so by their names."""
    terms = ((volume.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    return {
        str(value)
        for term in terms
        for one in (*(term.get("matchExpressions") or []), *(term.get("matchFields") or []))
        if one.get("key") in _BY_NAME and one.get("operator", "In") == "In"
        for value in one.get("values") or []
    }
