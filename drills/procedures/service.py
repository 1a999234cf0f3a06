"""Restarting a node's services: docs/runbooks/node-services.md."""

from __future__ import annotations

from functools import partial

from drills.drill import Drill
from drills.errors import BadReading, ProcedureFailed
from drills.faults.service import HEALTH_CHECKS
from drills.kube import Kube, KubeError, node_ready
from drills.nodes import OpenNode
from drills.probes import Probe, callable_probe

RESTARTED_WITHIN_S = 120.0
READY_WITHIN_S = 300.0
SERVICES = ("containerd", "kubelet")
"""In this order: kubelet asks containerd."""


class NodeServices:
    """kubelet and containerd of a node, told by systemd."""

    def __init__(self, drill: Drill, kube: Kube) -> None:
        self._drill = drill
        self._kube = kube

    def know_their_pods(self, node: str) -> Probe:
        """Make the probe that asks a node which pods run there: its kubelet is asked, and that asks containerd.

        This is the path of who works with the cluster. The pods' own users need neither.
        """
        return callable_probe(
            "the node knows its pods", partial(self._ask, node), role="user", interval_s=0.2, timeout_s=2.0
        )

    def found_out(self, node: OpenNode) -> None:
        """Ask the node's services themselves: a wedged containerd goes unnoticed by Kubernetes for minutes.

        Raises:
            ProcedureFailed: both are well, so that restarting them would help nobody.
        """
        with self._drill.step("ask the services on the node", "; ".join(HEALTH_CHECKS.values())):
            failing = [service for service in SERVICES if not self._is_well(node, service)]
        if not failing:
            raise ProcedureFailed(f"{' and '.join(SERVICES)} on {node.name} answer: it is something else")
        self._drill.detected(by="harness")

    def restart(self, node: OpenNode) -> None:
        """Restart both services, whichever it was that failed, and wait until the node is ready.

        Raises:
            ProcedureFailed: a service did not start.
            WaitTimeout: the node was not ready in time.
        """
        if not self._drill.leaves_out("procedure"):
            for service in SERVICES:
                with self._drill.step(f"restart {service}", f"systemctl restart {service}"):
                    self._run(node, "systemctl", "restart", service)
        with self._drill.step("the node is ready", f"kubectl get node {node.name} --watch", by="kubernetes"):
            self._kube.wait_for(
                "Node", node.name, condition=node_ready(True), what=f"node {node.name} is ready",
                within_s=self._drill.at_most(READY_WITHIN_S),
            )  # fmt: skip

    def _ask(self, node: str, timeout_s: float) -> None:
        try:
            pods = self._kube.running_pods(node, timeout_s=timeout_s)
        except KubeError as error:
            raise BadReading(str(error)) from error
        if not pods:
            raise BadReading(f"{node} says that no pod runs there")

    def _is_well(self, node: OpenNode, service: str) -> bool:
        check = ["sh", "-c", HEALTH_CHECKS[service]]
        return not self._drill.commands.run(
            [*node.enter, *check], env=node.environment, timeout_s=30, check=False
        ).returncode

    def _run(self, node: OpenNode, *argv: str) -> None:
        self._drill.commands.run([*node.enter, *argv], env=node.environment, timeout_s=RESTARTED_WITHIN_S)
