"""Where objects of a kind are found, and what an object is here: plain JSON."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, TypeAlias
from urllib.parse import quote

from drills.errors import UsageError

Manifest: TypeAlias = dict[str, Any]
"""A Kubernetes object as JSON."""

Manifests: TypeAlias = list[Manifest]
"""Several of them. (In `Kube`, which has a method `list`, the name of the built-in type is taken.)"""

Query: TypeAlias = dict[str, str | int | None]

Condition: TypeAlias = Callable[[Manifest | None], bool]
"""Asked of an object, or of None where there is no such object (any more)."""

_KINDS = {
    # group/version: namespaced kinds | cluster-wide kinds
    "v1": "Pod Service ConfigMap Secret PersistentVolumeClaim ServiceAccount Event | Namespace Node PersistentVolume",
    "apps/v1": "Deployment StatefulSet DaemonSet ReplicaSet ControllerRevision |",
    "batch/v1": "Job CronJob |",
    "policy/v1": "PodDisruptionBudget |",
    "storage.k8s.io/v1": "| StorageClass VolumeAttachment CSIDriver",
    "apiextensions.k8s.io/v1": "| CustomResourceDefinition",
    "rbac.authorization.k8s.io/v1": "Role RoleBinding | ClusterRole ClusterRoleBinding",
    "coordination.k8s.io/v1": "Lease |",
    "discovery.k8s.io/v1": "EndpointSlice |",
    "networking.k8s.io/v1": "NetworkPolicy Ingress | IngressClass",
    "scheduling.k8s.io/v1": "| PriorityClass",
    "apiregistration.k8s.io/v1": "| APIService",
    "admissionregistration.k8s.io/v1": "| MutatingWebhookConfiguration ValidatingWebhookConfiguration",
}


@dataclass(frozen=True)
class Resource:
    """Where objects of one kind are found."""

    group_version: str
    kind: str
    plural: str
    namespaced: bool

    def path(self, namespace: str | None, name: str = "", subresource: str = "") -> str:
        """Return the path of the collection, of one object in it, or of a subresource of that.

        Raises:
            UsageError: the object lives in a namespace, and none is given.

        """
        parts = [root(self.group_version)]
        if self.namespaced and namespace:
            parts += ["namespaces", quote(namespace, safe="")]
        elif self.namespaced and name:
            raise UsageError(f"{self.kind} {name!r}: namespace is missing; objects of this kind live in one")
        parts.append(self.plural)
        parts += [quote(part, safe=":") for part in (name, subresource) if part]
        return "/".join(parts)


def root(group_version: str) -> str:
    """Return the path under which the kinds of a group and version are served."""
    return f"/apis/{group_version}" if "/" in group_version else f"/api/{group_version}"


def _built_in() -> dict[str, Resource]:
    known = {}
    for group_version, kinds in _KINDS.items():
        namespaced = kinds.partition("|")[0].split()
        for kind in kinds.replace("|", " ").split():
            lower = kind.lower()
            ending = {"s": "es", "y": "ies"}.get(lower[-1], "s")
            plural = (lower[:-1] if lower.endswith("y") else lower) + ending
            resource = Resource(group_version, kind, plural, namespaced=kind in namespaced)
            known[kind] = known[f"{group_version}/{kind}"] = resource
    return known


BUILT_IN = _built_in()


def namespace_of(manifest: Manifest, default: str | None) -> str | None:
    """Return the namespace that an object names, else the default."""
    return (manifest.get("metadata") or {}).get("namespace") or default
