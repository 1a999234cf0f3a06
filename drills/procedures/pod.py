"""What Kubernetes' own controllers do when pods die: docs/runbooks/pod-replacement.md."""

from __future__ import annotations

from drills.drill import Drill
from drills.errors import UsageError
from drills.kube import WORKLOADS, Kube
from drills.waiting import wait_until

REPLACED_WITHIN_S = 120.0


class Controllers:
    """The controllers are the procedure: nobody does anything but look."""

    def __init__(self, drill: Drill, kube: Kube) -> None:
        self._drill = drill
        self._kube = kube

    def replace(self, kind: str, name: str, namespace: str) -> None:
        """Wait until the controller of a StatefulSet, Deployment or DaemonSet has all its pods ready again.

        Raises:
            UsageError: it is of another kind.
            WaitTimeout: they were not in time; carries how far it got.
        """
        if kind not in WORKLOADS:
            raise UsageError(f"replace: invalid value {kind!r}: expected one of {', '.join(WORKLOADS)}")
        if self._drill.leaves_out("procedure"):  # no controller that would act: it is told to want no pods
            nowhere = {"template": {"spec": {"nodeSelector": {"drills.dev/nowhere": "yes"}}}}
            spec = nowhere if kind == "DaemonSet" else {"replicas": 0}
            self._kube.patch(kind, name, {"spec": spec}, namespace)
            wait_until(
                lambda: not self._kube.list("Pod", namespace, labels=f"app={name}"),
                what=f"{kind} {name} has no pods",
                within_s=60,
            )
            return
        with self._drill.step(
            f"the controller replaces the pod of {name}",
            f"kubectl -n {namespace} rollout status {kind.lower()}/{name}",
            by="kubernetes",
        ):
            self._kube.wait_for(
                kind,
                name,
                namespace,
                condition=WORKLOADS[kind],
                what=f"{kind} {name} has all its pods ready",
                within_s=self._drill.at_most(REPLACED_WITHIN_S),
            )
