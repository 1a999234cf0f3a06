"""The operator's own failover of PostgreSQL from a lost primary to its replica: docs/runbooks/database-failover.md."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed
from drills.kube import Kube, Manifest, deployment_available
from drills.procedures.postgres import CLUSTER, healthy
from drills.waiting import wait_until

NAMESPACE = "cnpg-system"
OPERATOR = "cnpg-controller-manager"
TABLE = "drills_replica"
"""The nftables table (family inet) that keeps a replica from its primary; nothing else is in it."""

PROMOTED_WITHIN_S = 120.0
REJOINED_WITHIN_S = 180.0
_NODE_TIMEOUT_S = 30.0


class Node(Protocol):
    """A node in which the harness can run commands."""

    def exec(self, argv: list[str], timeout_s: float) -> str:
        """Run a command as root in the node, return its standard output, raise if it fails."""
        ...


class Replicas:
    """A primary and its replica under CloudNativePG; the operator is the procedure, nobody does anything but look."""

    def __init__(
        self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path, namespace: str, node: Callable[[str], Node]
    ) -> None:
        """Say where they are.

        Args:
            drill: the drill.
            kube: the cluster.
            kubectl: the program.
            kubeconfig: for it.
            namespace: theirs.
            node: gives the node of a name.
        """
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]
        self._namespace = namespace
        self._node = node
        self._cut: list[str] = []
        self._stopped = False
        self.primary = "shop-1"

    def fall_behind(self, seconds: float) -> None:
        """Cut the link from the primary to its replica, and wait until the replica is so many seconds behind.

        Keep it below 5 s: then either side gives the connection up, as CloudNativePG sets PostgreSQL up.

        Raises:
            WaitTimeout: the replica did not fall behind.
        """
        if self._drill.leaves_out("procedure"):  # now, for after the fault the operator might be quicker
            self._scale_operator(0)
            self._stopped = True
        pods = {pod["metadata"]["name"]: pod for pod in self._pods()}
        primary = pods.pop(self.primary)
        for replica in pods.values():
            where = replica["spec"]["nodeName"]
            both = f"{{ {primary['status']['podIP']}, {replica['status']['podIP']} }}"
            rules = (
                f"table inet {TABLE} {{ chain passing {{ type filter hook forward priority -400; "
                f"ip saddr {both} ip daddr {both} drop; }}\n}}"
            )
            self._cut.append(where)
            self._node(where).exec(["nft", rules], timeout_s=_NODE_TIMEOUT_S)
        heard = "SELECT coalesce(min(extract(epoch FROM now() - reply_time)), 0) FROM pg_stat_replication"
        wait_until(
            lambda: float(self._sql(self.primary, heard, preparing=True)) >= seconds,
            what=f"the replica is {seconds:g} s behind", within_s=seconds + 10, every_s=0.1,
        )  # fmt: skip

    def fail_over(self) -> None:
        """Wait until the operator has promoted the replica.

        Raises:
            WaitTimeout: it did not.
        """
        lost = self.primary
        with self._drill.step(
            "the operator promotes the replica",
            f"kubectl -n {self._namespace} get cluster shop --watch",
            by="kubernetes",
        ):
            found = self._kube.wait_for(
                CLUSTER, "shop", self._namespace, condition=lambda one: _primary(one) not in ("", lost),
                what=f"another primary than {lost}", within_s=self._drill.at_most(PROMOTED_WITHIN_S),
            )  # fmt: skip
        self.primary = _primary(found)

    def rejoin(self) -> None:
        """Wait until the old primary follows the new one; redundancy is back then.

        Raises:
            WaitTimeout: it did not.
        """
        streaming = "SELECT count(*) FROM pg_stat_replication WHERE state = 'streaming'"
        with self._drill.step(
            "the old primary follows the new one",
            f"kubectl -n {self._namespace} get cluster shop --watch",
            by="kubernetes",
        ):
            self._kube.wait_for(
                CLUSTER, "shop", self._namespace, condition=healthy, what="all instances are ready",
                within_s=self._drill.at_most(REJOINED_WITHIN_S),
            )  # fmt: skip
            wait_until(
                lambda: self._sql(self.primary, streaming) == "1", what="the old primary streams from the new one",
                within_s=self._drill.at_most(REJOINED_WITHIN_S), every_s=0.5,
            )  # fmt: skip
        self._drill.reconstituted()

    def heal(self) -> None:
        """Connect replica and primary again, and have the operator run, whatever the drill did. Idempotent."""
        script = f"if nft list table inet {TABLE} >/dev/null 2>&1; then nft delete table inet {TABLE}; fi"
        while self._cut:
            self._node(self._cut.pop()).exec(["sh", "-c", script], timeout_s=_NODE_TIMEOUT_S)
        if self._stopped:
            self._scale_operator(1)
            self._kube.wait_for(
                "Deployment", OPERATOR, NAMESPACE, condition=deployment_available, what="the operator is back",
                within_s=PROMOTED_WITHIN_S,
            )  # fmt: skip
            self._stopped = False

    def _pods(self) -> list[Manifest]:
        return self._kube.list("Pod", self._namespace, labels="cnpg.io/cluster=shop,cnpg.io/podRole=instance")

    def _scale_operator(self, replicas: int) -> None:
        self._kube.patch("Deployment", OPERATOR, {"spec": {"replicas": replicas}}, NAMESPACE)
        if not replicas:
            wait_until(
                lambda: not self._kube.list("Pod", NAMESPACE), what="the operator is stopped", within_s=60, every_s=0.5
            )

    def _sql(self, pod: str, statement: str, *, preparing: bool = False) -> str:
        return self._drill.commands.run(
            [
                *self._kubectl, "exec", pod, "--namespace", self._namespace, "--container=postgres", "--",
                "psql", "-XAtc", statement,
            ],
            timeout_s=30, fails_as=EnvironmentFailed if preparing else ProcedureFailed,
        ).stdout.strip()  # fmt: skip


def _primary(cluster: Manifest | None) -> str:
    return str(((cluster or {}).get("status") or {}).get("currentPrimary") or "")
