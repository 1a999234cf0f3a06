"""Taking a node out and bringing one back: docs/runbooks/node-drain.md and docs/runbooks/node-loss.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from drills.drill import Drill
from drills.faults.drain import NodeDrained, node_drained
from drills.kube import Kube, node_ready
from drills.nodes import Machine

NOTICED_WITHIN_S = 120.0
BACK_WITHIN_S = 120.0


class Nodes:
    """What a runbook does with nodes, told by kubectl."""

    def __init__(self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path) -> None:
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]

    def drained(self, node: str) -> NodeDrained:
        """Make the planned disruption: the node cordoned, its pods evicted.

        A pod whose volume is of this node alone starts again only when the node takes pods: the recovery time is then
        that of the uncordoning, and a caveat in the record says so.
        """
        drained = node_drained(self._kube, node, self._drill.commands, self._kubectl)
        if drained.bound:
            told = "; ".join(f"{pod}: {why}" for pod, why in sorted(drained.bound.items()))
            self._drill.caveat(
                f"the recovery time is that of uncordoning {node}, because pods can run nowhere else ({told})"
            )
        return drained

    def noticed(self, node: str) -> None:
        """Wait until Kubernetes has noticed that a node is dead: no heartbeat for its grace period, 50 s by default.

        Raises:
            WaitTimeout: it did not notice.
        """
        with self._drill.step(
            "Kubernetes notices: the heartbeat's grace period", f"kubectl get node {node} --watch", by="kubernetes"
        ):
            self._kube.wait_for(
                "Node", node, condition=node_ready(False), what=f"node {node} is not ready", within_s=NOTICED_WITHIN_S
            )
        self._drill.detected(by="kubernetes")

    def pods_move(self, namespace: str, labels: str, dead: str, within_s: float) -> None:
        """Wait until the pods have left a dead node: their toleration runs out, and others take their place.

        Args:
            namespace: theirs.
            labels: which ones.
            dead: the node they are bound to.
            within_s: the toleration and what starting them takes.

        Raises:
            WaitTimeout: they did not move.
        """
        if self._drill.leaves_out("procedure"):  # nobody takes the place: the pods are not wanted any more
            self._kube.patch("Deployment", labels.partition("=")[2], {"spec": {"replicas": 0}}, namespace)
            return
        command = f"kubectl -n {namespace} get pods -l {labels} -o wide --watch"
        with self._drill.step("the pods' toleration of the dead node runs out", command, by="kubernetes"):
            self._kube.wait_for_all(
                "Pod",
                namespace,
                labels=labels,
                condition=_leaving_or_elsewhere(dead),
                what=f"no pod holds on to {dead}",
                within_s=self._drill.at_most(within_s),
            )
        with self._drill.step("other pods take their place", command, by="kubernetes"):
            self._kube.wait_for_all(
                "Deployment",
                namespace,
                labels=labels,
                condition=_serves,
                what="the replacements are available",
                within_s=self._drill.at_most(60),
            )

    def cordon(self, node: str) -> None:
        """Keep new pods off a node, so that it comes back empty and is looked at before it works again."""
        with self._drill.step("cordon the dead node", f"kubectl cordon {node}"):
            self._run("cordon", node)

    def switch_on(self, machine: Machine) -> None:
        """Switch a node on again and wait until it is ready.

        Raises:
            WaitTimeout: it was not.
        """
        with self._drill.step("switch the node on again", f"power on {machine.name}"):
            machine.start()
        with self._drill.step(
            "the node is ready", f"kubectl wait --for=condition=Ready node/{machine.name}", by="kubernetes"
        ):
            self._kube.wait_for(
                "Node",
                machine.name,
                condition=node_ready(True),
                what=f"node {machine.name} is ready",
                within_s=self._drill.at_most(BACK_WITHIN_S),
            )

    def uncordon(self, node: str) -> None:
        """Let a node take pods again, and check that it does."""
        if not self._drill.leaves_out("procedure"):
            with self._drill.step("uncordon the node", f"kubectl uncordon {node}"):
                self._run("uncordon", node)
        found = self._kube.get("Node", node) or {}
        closed = bool((found.get("spec") or {}).get("unschedulable"))
        self._drill.check(
            f"node {node} takes pods again", not closed, "schedulable", "unschedulable" if closed else "schedulable"
        )

    def _run(self, *arguments: str) -> None:
        self._drill.commands.run([*self._kubectl, *arguments], timeout_s=60)


def _leaving_or_elsewhere(dead: str) -> Callable[[dict[str, Any] | None], bool]:
    return lambda pod: (
        bool(pod)
        and (
            "deletionTimestamp" in pod["metadata"] or (pod["spec"].get("nodeName") or "") not in ("", dead)  # type: ignore[index] # not None here
        )
    )


def _serves(deployment: dict[str, Any] | None) -> bool:
    status = (deployment or {}).get("status") or {}
    wanted = ((deployment or {}).get("spec") or {}).get("replicas", 0)
    return bool(wanted) and status.get("availableReplicas", 0) >= wanted
