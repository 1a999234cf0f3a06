"""Bringing members of etcd back: docs/runbooks/etcd-member.md and docs/runbooks/etcd-quorum.md.

A member that lost its disk is never started again as it was: it is removed, and a new one of the same name is added,
which copies its data from the others (https://etcd.io/docs/latest/op-guide/runtime-configuration/).
"""

from __future__ import annotations

import json
import re
from collections.abc import Sequence

from drills.drill import Drill
from drills.errors import ProcedureFailed
from drills.faults.etcd import MEMBER
from drills.faults.member import ASIDE, MANIFEST
from drills.kube import Kube, node_ready
from drills.nodes import OpenNode
from drills.procedures.etcd import PKI, EtcdSnapshots, Snapshot
from drills.waiting import wait_until

JOINING = "/etc/kubernetes/etcd.yaml.joining"
CAUGHT_UP_WITHIN_S = 240.0
ADDED_WITHIN_S = 60.0
STOP_API = """{ api=$(crictl ps --quiet --name '^kube-apiserver$'); [ -z "$api" ] || crictl stop --timeout=5 $api; }"""


class EtcdMembers:
    """The members of a stacked etcd on several control planes, as kubeadm sets it up."""

    def __init__(self, drill: Drill, kube: Kube, nodes: Sequence[OpenNode]) -> None:
        self._drill = drill
        self._kube = kube
        self._nodes = nodes

    def take(self) -> Snapshot:
        """Take a snapshot on the first control plane; see EtcdSnapshots.take."""
        return self._first().take()

    def replace(self, lost: OpenNode) -> None:
        """Replace the one member that was lost, while the others go on.

        Raises:
            ProcedureFailed: a command failed, or the others do not know the lost member.
            WaitTimeout: the new member did not catch up in time.
        """
        via = next(node for node in self._nodes if node.name != lost.name)
        with self._drill.step("find the lost member", "etcdctl member list"):
            answer = json.loads(self._etcdctl(via, "member", "list", "--write-out=json"))
            found = [f"{one['ID']:x}" for one in answer["members"] if one.get("name") == lost.name]
            if not found:
                raise ProcedureFailed(f"etcd on {via.name} knows no member {lost.name}")
        with self._drill.step("remove the lost member", f"etcdctl member remove {found[0]}"):
            self._etcdctl(via, "member", "remove", found[0])
        if self._drill.leaves_out("procedure"):
            with self._drill.step("wait for the new member", "etcdctl endpoint health", by="kubernetes"):
                self._caught_up(lost)
        self._join(lost, via)

    def recover(self, snapshot: Snapshot) -> None:
        """Bring etcd back from a snapshot after its quorum was lost: the first member restored, the others join it.

        Raises:
            ProcedureFailed: a command failed.
            WaitTimeout: a control plane did not come back in time.
        """
        first, *others = self._nodes
        with self._drill.step("stop the other control planes", "systemctl stop kubelet; crictl stop"):
            for node in others:  # no API server may run on what is about to be replaced
                self._run(node, "sh", "-c", "systemctl stop kubelet && crictl stop --timeout=5 $(crictl ps --quiet)")
        with self._drill.step("put the first member's manifest back", f"mv {ASIDE} {MANIFEST}"):
            self._run(first, "mv", ASIDE, MANIFEST)
        self._first().restore(snapshot, wait_for_nodes=False)
        for node in others:
            self._join(node, first)
        with self._drill.step("wait for the nodes", "kubectl wait --for=condition=Ready node --all", by="kubernetes"):
            self._kube.wait_for_all(
                "Node", condition=node_ready(True), what="all nodes are ready", within_s=self._drill.at_most(180)
            )

    def whole(self) -> None:
        """Check that every control plane's member is there and healthy: redundancy is back, not only service."""
        answer = json.loads(self._etcdctl(self._nodes[0], "member", "list", "--write-out=json"))
        started = sorted(one.get("name", "") for one in answer["members"])
        wanted = sorted(node.name for node in self._nodes)
        healthy = all(self._healthy(node) for node in self._nodes)
        got = f"{', '.join(started)}; {'all' if healthy else 'not all'} healthy"
        self._drill.check("etcd has all its members again", started == wanted and healthy, ", ".join(wanted), got)
        self._drill.reconstituted()

    def _join(self, node: OpenNode, via: OpenNode) -> None:
        peer = self._peer(node)
        with self._drill.step(f"add {node.name} as a new member", f"etcdctl member add {node.name} --peer-urls={peer}"):
            said = wait_until(
                lambda: self._add(node.name, peer, via),
                what=f"etcd takes {node.name} as a new member: all that it has connected for 5 s",
                within_s=self._drill.at_most(ADDED_WITHIN_S),
                every_s=1.0,
            )
            cluster = re.search(r'ETCD_INITIAL_CLUSTER="([^"]+)"', said)
            if cluster is None:
                raise ProcedureFailed(f"etcdctl member add named no initial cluster:\n{said}")
        edit = (
            "sed -e '/--initial-cluster-state=/d' -e 's|^\\( *- \\)--initial-cluster=.*"
            f"|\\1--initial-cluster={cluster[1]}\\n\\1--initial-cluster-state=existing|'"
        )
        source = f"$(ls {ASIDE} {MANIFEST} 2>/dev/null | head -n 1)"
        # kubelet asks the API server of its own node, and that one hangs without its etcd: as long as it is there,
        # kubelet takes minutes to start anything. Without it kubelet is refused at once, and goes on.
        script = (
            f"systemctl stop kubelet && {STOP_API} && rm -rf {MEMBER} && {edit} {source} >{JOINING}"
            f" && rm -f {ASIDE} && mv {JOINING} {MANIFEST} && systemctl start kubelet"
        )
        with self._drill.step(f"start {node.name}'s member: it joins what is there", script):
            self._run(node, "sh", "-c", script)
        with self._drill.step(f"wait until {node.name} has caught up", "etcdctl endpoint health", by="kubernetes"):
            self._caught_up(node)

    def _add(self, name: str, peer: str, via: OpenNode) -> str | None:
        """Add a member and return what etcdctl says; none while etcd refuses, as it does for 5 s after another joined.

        The rule is etcd's own: --strict-reconfig-check, on by default.
        """
        argv = [*via.enter, *_etcdctl("member", "add", name, f"--peer-urls={peer}")]
        done = self._drill.commands.run(argv, env=via.environment, timeout_s=60.0, check=False)
        if done.returncode == 0:
            return done.stdout
        if "unhealthy cluster" in done.stderr:
            return None
        raise ProcedureFailed(f"etcdctl member add {name}: rc={done.returncode}\n{done.stderr.strip()[-1000:]}")

    def _caught_up(self, node: OpenNode) -> None:
        wait_until(
            lambda: self._healthy(node),
            what=f"etcd on {node.name} is healthy",
            within_s=self._drill.at_most(CAUGHT_UP_WITHIN_S),
            every_s=1.0,
        )

    def _healthy(self, node: OpenNode) -> bool:
        """Ask a member itself: its answer is a read that a quorum has agreed on."""
        argv = [*node.enter, *_etcdctl("endpoint", "health")]
        return self._drill.commands.run(argv, env=node.environment, timeout_s=15, check=False).returncode == 0

    def _peer(self, node: OpenNode) -> str:
        text = self._run(node, "sh", "-c", f"cat {ASIDE} {MANIFEST} 2>/dev/null || true")
        found = re.search(r"--initial-advertise-peer-urls=(\S+)", text)
        if found is None:
            raise ProcedureFailed(f"{node.name} has no manifest of etcd that names --initial-advertise-peer-urls")
        return found[1]

    def _first(self) -> EtcdSnapshots:
        return EtcdSnapshots(self._drill, self._kube, self._nodes[0])

    def _etcdctl(self, node: OpenNode, *arguments: str) -> str:
        return self._run(node, *_etcdctl(*arguments))

    def _run(self, node: OpenNode, *argv: str, timeout_s: float = 60.0) -> str:
        return self._drill.commands.run([*node.enter, *argv], env=node.environment, timeout_s=timeout_s).stdout


def _etcdctl(*arguments: str) -> list[str]:
    return [
        "etcdctl", "--endpoints=https://127.0.0.1:2379", f"--cacert={PKI}/ca.crt",
        f"--cert={PKI}/healthcheck-client.crt", f"--key={PKI}/healthcheck-client.key", *arguments,
    ]  # fmt: skip
