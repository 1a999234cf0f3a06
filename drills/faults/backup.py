"""What stands for a fault where a backup is validated and nothing is broken."""

from __future__ import annotations

from collections.abc import Callable

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import RIDDEN_OUT, Kube


class CopyRestored(Fault):
    """No fault: a backup is restored beside its original, into a namespace made for it and removed afterwards.

    The proof is what a restore leaves in that namespace: objects that carry the restore's name.
    """

    name = "none: a backup is validated"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, kube: Kube, namespace: str, remove: Callable[[str], None]) -> None:
        """Aim at a namespace that is not there yet.

        Args:
            kube: the cluster.
            namespace: the copy's.
            remove: removes a namespace.

        """
        self.target = f"namespace/{namespace}"
        self._kube = kube
        self._namespace = namespace
        self._remove = remove

    def inject(self) -> None:
        """Do nothing."""

    def proof(self) -> list[str]:
        """Tell which restores made how many objects there."""
        counted: dict[str, int] = {}
        try:
            for kind in ("Pod", "Service", "PersistentVolumeClaim", "Secret", "ConfigMap"):
                for one in self._kube.list(kind, self._namespace):
                    restore = (one["metadata"].get("labels") or {}).get("velero.io/restore-name")
                    if restore:
                        counted[restore] = counted.get(restore, 0) + 1
        except RIDDEN_OUT:
            return []
        return [
            f"namespace {self._namespace} holds {count} objects of restore {name}" for name, count in counted.items()
        ]

    def heal(self) -> None:
        """Remove the copy."""
        if self._kube.get("Namespace", self._namespace) is not None:
            self._remove(self._namespace)


def copy_restored(kube: Kube, namespace: str, remove: Callable[[str], None]) -> CopyRestored:
    """Make what stands for the fault in a validation.

    Raises:
        UsageError: there is such a namespace: a restore into it would be a mixture.
        KubeError: the API server did not say.

    """
    if kube.get("Namespace", namespace) is not None:
        raise UsageError(f"copy_restored {namespace!r}: found a namespace, accepted: a name that is free")
    return CopyRestored(kube, namespace, remove)
