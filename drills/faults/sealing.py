"""Faults of what seals Secrets."""

from __future__ import annotations

from drills.errors import UsageError
from drills.faults.namespace import NamespaceDeleted, namespace_deleted
from drills.kube import Kube
from drills.waiting import wait_until

KEYS = "sealedsecrets.bitnami.com/sealed-secrets-key"
GONE_WITHIN_S = 90.0


class SealingLost(NamespaceDeleted):
    """The namespace of the Sealed Secrets controller is deleted, and the keys that it unseals with are in it.

    What was unsealed before stays for the time being. The injection waits until the namespace is gone: a controller
    that is still there makes a Secret that is lost in the same disaster anew, and nothing has happened.
    """

    name = "sealing controller and its keys lost"
    keys: tuple[str, ...] = ()

    def inject(self) -> None:
        """Delete the namespace, and wait until it is gone.

        Raises:
            FaultHadNoEffect: it was gone or replaced already.
            WaitTimeout: it did not go in time.

        """
        super().inject()
        wait_until(super().proof, what=f"{self.target} is gone", within_s=GONE_WITHIN_S)

    def proof(self) -> list[str]:
        """Tell what is gone, the keys by their names."""
        facts = super().proof()
        return [*facts, f"the sealing keys were in it: {', '.join(self.keys)}"] if facts else []


def sealing_lost(kube: Kube, namespace: str) -> SealingLost:
    """Make the fault that deletes the Sealed Secrets controller with its keys.

    Args:
        kube: the cluster.
        namespace: the controller's, in which it keeps its keys.

    Raises:
        UsageError: there is no such namespace, or no key in it.
        KubeError: the API server did not say.

    """
    keys = tuple(sorted(one["metadata"]["name"] for one in kube.list("Secret", namespace, labels=f"{KEYS}=active")))
    if not keys:
        raise UsageError(f"sealing_lost {namespace!r}: found no active key, accepted: a controller's own namespace")
    fault = SealingLost(kube, namespace, namespace_deleted(kube, namespace).before)
    fault.keys = keys
    return fault
