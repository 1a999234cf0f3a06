"""What helps against a broken network, and what heals by itself: docs/runbooks/network-failure.md."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from drills.drill import Drill
from drills.errors import ProcedureFailed, WaitTimeout
from drills.faults.network import CHAINS, TABLE, TIMER
from drills.kube import Kube, KubeError, daemonset_ready, deployment_available, node_ready
from drills.nodes import OpenNode
from drills.shell import command_line
from drills.waiting import wait_until

SYSTEM = "kube-system"
NOBODY = {"drills.dev/nowhere": "yes"}
"""A node selector that no node meets."""

BACK_WITHIN_S = 120.0
DOUBLES_WITHIN_S = 90.0
"""kubelet hears that they are deleted, and gives them their 30 s of grace."""
FOUND_WITHIN_S = 30.0
"""kube-proxy follows within seconds; getent gives up after ten."""
PROXIES_WITHIN_S = 300.0
"""One node after the other, and a wedged kube-proxy takes its 30 s of grace on each."""


class Network:
    """The cluster's network: its nodes' links, its names and its Services."""

    def __init__(self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path) -> None:
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig)]

    # What heals by itself

    def link_comes_back(self, node: OpenNode, within_s: float) -> None:
        """Wait until a node that was cut off for a while is reached again; nobody does anything.

        Raises:
            WaitTimeout: it was not in time.
        """
        if self._drill.leaves_out("procedure"):  # a link that does not come back
            self._on(node, "systemctl", "stop", f"{TIMER}.timer")
        with self._drill.step("the link comes back by itself", "nft list tables", by="kubernetes"):
            wait_until(
                lambda: not self._is_cut(node), what=f"{node.name} is connected again",
                within_s=self._drill.at_most(within_s), every_s=1.0,
            )  # fmt: skip
        with self._drill.step(
            "the node is ready", f"kubectl wait --for=condition=Ready node/{node.name}", by="kubernetes"
        ):
            self._wait_for_node(node)

    def names_come_back(self) -> None:
        """Wait until CoreDNS' controller has replaced its pods; nobody does anything.

        Raises:
            WaitTimeout: it had not in time.
        """
        if self._drill.leaves_out("procedure"):  # no controller that would act: it is told to want no pods
            self._kube.patch("Deployment", "coredns", {"spec": {"replicas": 0}}, SYSTEM)
            self._wait_until_none("k8s-app=kube-dns")
        with self._drill.step(
            "the controller replaces CoreDNS' pods", f"kubectl -n {SYSTEM} rollout status deployment/coredns",
            by="kubernetes",
        ):  # fmt: skip
            self._wait_for_dns()

    def services_come_back(self, nodes: Sequence[OpenNode]) -> None:
        """Wait until kubelet has restarted kube-proxy on every node; nobody does anything.

        The nodes are asked first: for a second the API goes on calling a dead kube-proxy ready.

        Raises:
            ProcedureFailed: a node did not say what its rules are.
            WaitTimeout: it had not in time.
        """
        if self._drill.leaves_out("procedure"):  # no kube-proxy wanted anywhere; what the new ones wrote goes too
            self._kube.patch(
                "DaemonSet", "kube-proxy", {"spec": {"template": {"spec": {"nodeSelector": NOBODY}}}}, SYSTEM
            )
            self._wait_until_none("k8s-app=kube-proxy")
            for node in nodes:
                for chain in CHAINS:
                    self._on(node, "iptables", "-w", "-t", "nat", "-F", chain)
        within_s = self._drill.at_most(BACK_WITHIN_S)
        command = f"iptables -t nat -S {CHAINS[0]}"
        with self._drill.step("kubelet restarts kube-proxy, which writes its rules anew", command, by="kubernetes"):
            wait_until(
                lambda: all(self._leads_to_services(node) for node in nodes),
                what="every node has rules for Services again", within_s=within_s, every_s=0.2,
            )  # fmt: skip
        with self._drill.step(
            "every kube-proxy is ready", f"kubectl -n {SYSTEM} rollout status daemonset/kube-proxy", by="kubernetes"
        ):
            self._kube.wait_for(
                "DaemonSet", "kube-proxy", SYSTEM,
                condition=daemonset_ready, what="kube-proxy runs on every node", within_s=within_s,
            )  # fmt: skip

    # What the runbook does

    def reconnect(self, node: OpenNode) -> None:
        """Take away what drops a node's packets, and wait until the node is ready.

        Raises:
            ProcedureFailed: the rules could not be taken away.
            WaitTimeout: the node was not ready in time.
        """
        with self._drill.step("find what drops the node's packets", "nft list ruleset"):
            self._on(node, "nft", "list", "ruleset")
        with self._drill.step("take it away", f"nft delete table inet {TABLE}"):
            self._on(node, "nft", "delete", "table", "inet", TABLE)
        with self._drill.step(
            "the node is ready", f"kubectl wait --for=condition=Ready node/{node.name}", by="kubernetes"
        ):
            self._wait_for_node(node)

    def doubles_end(self, node: OpenNode, namespace: str, labels: str) -> None:
        """Wait until a node that is back has ended the pods whose place others took while it was cut off.

        The node itself is asked: the API may have forgotten pods that run on.

        Args:
            node: the node that was cut off.
            namespace: the pods'.
            labels: which ones, as key=value.

        Raises:
            ProcedureFailed: the node did not say what it runs.
            WaitTimeout: one of them still ran at the end.
        """
        query = ["crictl", "pods", "--namespace", namespace, "--label", labels, "--state", "ready"]
        with self._drill.step("the pods' doubles end", command_line(query), by="kubernetes"):
            wait_until(
                lambda: not self._on(node, *query, "--quiet").strip(),
                what=f"no pod {labels} is left on {node.name}",
                within_s=self._drill.at_most(DOUBLES_WITHIN_S),
            )

    def restart_dns(self, replicas: int = 2) -> None:
        """Give CoreDNS its replicas, restart it, and wait until it is available.

        A restart alone does nothing for a Deployment that was scaled away.

        Raises:
            ProcedureFailed: kubectl failed.
            WaitTimeout: it was not available in time.
        """
        if not self._drill.leaves_out("procedure"):
            with self._drill.step(
                "give CoreDNS its replicas", f"kubectl -n {SYSTEM} scale deployment/coredns --replicas={replicas}"
            ):
                self._run("-n", SYSTEM, "scale", "deployment/coredns", f"--replicas={replicas}")
            with self._drill.step("restart CoreDNS", f"kubectl -n {SYSTEM} rollout restart deployment/coredns"):
                self._run("-n", SYSTEM, "rollout", "restart", "deployment/coredns")
        with self._drill.step(
            "wait for CoreDNS", f"kubectl -n {SYSTEM} rollout status deployment/coredns", by="kubernetes"
        ):
            self._wait_for_dns()

    def restart_proxies(self) -> None:
        """Restart kube-proxy on every node, and wait until the new ones run.

        Raises:
            ProcedureFailed: kubectl failed, or not every node had a new kube-proxy in time.
        """
        within_s = self._drill.at_most(PROXIES_WITHIN_S)
        if not self._drill.leaves_out("procedure"):
            with self._drill.step("restart kube-proxy", f"kubectl -n {SYSTEM} rollout restart daemonset/kube-proxy"):
                self._run("-n", SYSTEM, "rollout", "restart", "daemonset/kube-proxy")
        with self._drill.step(
            "wait for kube-proxy", f"kubectl -n {SYSTEM} rollout status daemonset/kube-proxy", by="kubernetes"
        ):
            self._run(
                "-n", SYSTEM, "rollout", "status", "daemonset/kube-proxy", f"--timeout={within_s:g}s",
                timeout_s=within_s + 10,
            )  # fmt: skip

    def names_resolve(self, namespace: str, workload: str) -> None:
        """Check that a pod resolves the API server's name, as every pod's resolver does.

        A DNS server is ready before every node's kube-proxy leads to it, so the name is looked up until it is found.

        Args:
            namespace: the pod's.
            workload: what to enter, such as "deployment/web".
        """
        name = "kubernetes.default.svc.cluster.local"
        command = ["-n", namespace, "exec", workload, "--", "getent", "hosts", name]
        answers: list[str] = []

        def found() -> bool:
            done = self._drill.commands.run([*self._kubectl, *command], timeout_s=30, check=False)
            answers.append(done.stdout.strip() or done.stderr.strip())
            return done.returncode == 0

        resolved = True
        with self._drill.step("look a name up from a pod", f"kubectl {command_line(command)}"):
            try:
                wait_until(found, what=f"{name} is found", within_s=self._drill.at_most(FOUND_WITHIN_S), every_s=1.0)
            except WaitTimeout:  # the check below says so, with the last answer
                resolved = False
        self._drill.check(f"a pod resolves {name}", resolved, "an address", answers[-1])

    def _is_cut(self, node: OpenNode) -> bool:
        listed = self._drill.commands.run(
            [*node.enter, "nft", "list", "tables"], env=node.environment, timeout_s=30
        ).stdout
        return f"table inet {TABLE}" in listed.splitlines()

    def _leads_to_services(self, node: OpenNode) -> bool:
        return "\n-A" in self._on(node, "iptables", "-w", "-t", "nat", "-S", CHAINS[0])

    def _wait_for_node(self, node: OpenNode) -> None:
        self._kube.wait_for(
            "Node", node.name, condition=node_ready(True), what=f"node {node.name} is ready",
            within_s=self._drill.at_most(BACK_WITHIN_S),
        )  # fmt: skip

    def _wait_for_dns(self) -> None:
        self._kube.wait_for(
            "Deployment", "coredns", SYSTEM,
            condition=lambda found: deployment_available(found) and bool((found or {})["spec"].get("replicas")),
            what="CoreDNS has its replicas available", within_s=self._drill.at_most(BACK_WITHIN_S),
        )  # fmt: skip

    def _wait_until_none(self, labels: str) -> None:
        wait_until(
            lambda: not self._kube.list("Pod", SYSTEM, labels=labels), what=f"no pod {labels} is left",
            within_s=60, retry_on=(KubeError,),
        )  # fmt: skip

    def _on(self, node: OpenNode, *argv: str) -> str:
        return self._drill.commands.run(
            [*node.enter, *argv], env=node.environment, timeout_s=30, fails_as=ProcedureFailed
        ).stdout

    def _run(self, *arguments: str, timeout_s: float = 60) -> None:
        self._drill.commands.run([*self._kubectl, *arguments], timeout_s=timeout_s)
