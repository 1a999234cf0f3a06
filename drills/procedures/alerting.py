"""Making alerts arrive again: docs/runbooks/alerting.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from drills.alerts import Alarm
from drills.drill import Drill
from drills.errors import BadReading, WaitTimeout
from drills.kube import Kube, deployment_available
from drills.shell import command_line
from drills.waiting import wait_until

TEST = "AlertingTest"
"""The alert that no rule has: it is sent by hand, to see that one arrives."""

BACK_WITHIN_S = 120.0
ARRIVES_WITHIN_S = 60.0
_AMTOOL = ["/bin/amtool", "--alertmanager.url=http://127.0.0.1:9093"]


class Alerting:
    """Prometheus, Alertmanager and the receiver."""

    def __init__(
        self, drill: Drill, kube: Kube, namespace: str, kubectl: Path, kubeconfig: Path, alert: Callable[[str], Alarm]
    ) -> None:
        """Say where they are.

        Args:
            drill: the drill.
            kube: the cluster.
            namespace: where they run, each as a Deployment.
            kubectl: the program.
            kubeconfig: its access to the cluster.
            alert: what was heard of an alert, by its name.
        """
        self._drill = drill
        self._kube = kube
        self._namespace = namespace
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig), "-n", namespace]
        self._alert = alert

    def restore(self) -> None:
        """Find out which part is not there, and give it its replicas again.

        Raises:
            ProcedureFailed: kubectl failed.
            WaitTimeout: a part was not available in time.
        """
        with self._drill.step(
            "look at Prometheus, Alertmanager and the receiver", f"kubectl -n {self._namespace} get deployments"
        ):
            self._run("get", "deployments")
            parts = self._kube.list("Deployment", self._namespace)
        if self._drill.leaves_out("procedure"):
            return
        for name in [part["metadata"]["name"] for part in parts if not part["spec"].get("replicas")]:
            command = ["scale", f"deployment/{name}", "--replicas=1"]
            with self._drill.step(f"give {name} its replicas", f"kubectl -n {self._namespace} {command_line(command)}"):
                self._run(*command)
        with self._drill.step(
            "wait for all of them", f"kubectl -n {self._namespace} rollout status deployment", by="kubernetes"
        ):
            self._kube.wait_for_all(
                "Deployment", self._namespace, condition=deployment_available, at_least=3,
                what="Prometheus, Alertmanager and the receiver are available",
                within_s=self._drill.at_most(BACK_WITHIN_S),
            )  # fmt: skip

    def test(self) -> None:
        """Send an alert by hand, and check that whoever is told of critical ones is told of this one.

        Raises:
            ProcedureFailed: amtool failed.
        """
        if self._drill.leaves_out("procedure"):
            return
        alert = self._alert(TEST)
        command = ["exec", "deployment/alertmanager", "--", *_AMTOOL, "alert", "add", TEST, "severity=critical"]
        with self._drill.step("send a test alert", f"kubectl -n {self._namespace} {command_line(command)}"):
            self._run(*command)
            try:
                heard = wait_until(
                    alert.heard, what="the test alert arrives", within_s=self._drill.at_most(ARRIVES_WITHIN_S),
                    every_s=0.5, retry_on=(BadReading, OSError),
                )  # fmt: skip
            except WaitTimeout as silence:
                self._drill.check("a critical alert arrives", False, "at receiver critical", str(silence))
            else:
                receivers = sorted({str(notice.facts["receiver"]) for notice in heard})
                self._drill.check(
                    "a critical alert arrives", receivers == ["critical"], "at receiver critical", ", ".join(receivers)
                )

    def _run(self, *arguments: str) -> None:
        self._drill.commands.run([*self._kubectl, *arguments], timeout_s=60)
