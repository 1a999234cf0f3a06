"""Bringing members of etcd back: docs/runbooks/etcd-member.md and docs/runbooks/etcd-quorum.md.

A member that lost its disk is never started again as it was: it is removed, and a new one of the same name is added,
which copies its data from the others (https://etcd.io/docs/latest/op-guide/runtime-configuration/).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from itertools import combinations

from drills.drill import Drill
from drills.errors import ProcedureFailed
from drills.faults.divergence import differ
from drills.faults.etcd import MEMBER
from drills.faults.member import ASIDE, MANIFEST
from drills.kube import Kube, node_ready
from drills.nodes import OpenNode
from drills.procedures.etcd import EtcdSnapshots, Snapshot
from drills.procedures.etcdctl import Etcdctl
from drills.redaction import kept_end
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
        self._said = ""

    def take(self) -> Snapshot:
        """Take a snapshot on the first control plane; see EtcdSnapshots.take."""
        return self._first().take()

    def take_on(self, node: OpenNode) -> Snapshot:
        """Take a snapshot on one of the control planes; see EtcdSnapshots.take."""
        return EtcdSnapshots(self._drill, self._kube, node).take()

    def replace(self, lost: OpenNode) -> None:
        """Replace the one member that was lost, while the others go on.

        Raises:
            ProcedureFailed: a command failed, or the others do not know the lost member.
            WaitTimeout: the new member did not catch up in time.
        """
        via = next(node for node in self._nodes if node.name != lost.name)
        with self._drill.step("find the lost member", "etcdctl member list"):
            members = self._etcdctl(via).members()
            found = [f"{one['ID']:x}" for one in members if one.get("name") == lost.name]
            if not found:
                raise ProcedureFailed(f"etcd on {via.name} knows no member {lost.name}")
        with self._drill.step("remove the lost member", f"etcdctl member remove {found[0]}"):
            self._etcdctl(via).run("member", "remove", found[0])
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
        put_back = f"if [ -e {ASIDE} ]; then mv {ASIDE} {MANIFEST}; fi"
        with self._drill.step("put the first member's manifest back, if it is away", put_back):
            self._run(first, "sh", "-c", put_back)
        self._first().restore(snapshot, wait_for_nodes=False)
        for node in others:
            self._join(node, first)
        with self._drill.step("wait for the nodes", "kubectl wait --for=condition=Ready node --all", by="kubernetes"):
            self._kube.wait_for_all(
                "Node", condition=node_ready(True), what="all nodes are ready", within_s=self._drill.at_most(180)
            )

    def whole(self) -> None:
        """Check that every control plane's member is there and healthy: redundancy is back, not only service."""
        started = sorted(one.get("name", "") for one in self._etcdctl(self._nodes[0]).members())
        wanted = sorted(node.name for node in self._nodes)
        healthy = all(self._etcdctl(node).healthy() for node in self._nodes)
        got = f"{', '.join(started)}; {'all' if healthy else 'not all'} healthy"
        self._drill.check("etcd has all its members again", started == wanted and healthy, ", ".join(wanted), got)
        self.agree()
        self._drill.reconstituted()

    def agree(self) -> None:
        """Check that all members hold the same data: restored from different snapshots they are healthy all the same.

        Neither health checks nor etcd's own check at its start notice that (etcd 3.6 and 3.7). Two things do. Members
        that have applied the same entries are at the same revision; and the hash of all keys up to one revision is the
        same. Either alone may deceive: a member with an older state has the hash that the others had at its revision.
        Hashes from before and after a restore that raised the revision say nothing of each other.

        Raises:
            WaitTimeout: a member did not reach the revision in time.
        """
        with self._drill.step("compare the members' data", "etcdctl endpoint hashkv --rev=REVISION"):
            same, got = wait_until(
                self._comparison, what="all members give comparable hashes at one revision",
                within_s=self._drill.at_most(CAUGHT_UP_WITHIN_S), every_s=1.0, describe=lambda _: self._said,
            )  # fmt: skip
        self._drill.check("all members of etcd hold the same data", same, "one revision and one hash", got)

    def _comparison(self) -> tuple[bool, str] | None:
        """Say whether all members hold the same data, and what shows it; None where that cannot be told yet."""
        states = [self._etcdctl(node).state() for node in self._nodes]
        if apart := [pair for pair in combinations(states, 2) if differ(*pair)]:
            one, other = apart[0]
            return False, (
                f"{one.name} is at revision {one.revision} after entry {one.applied}, "
                f"{other.name} at {other.revision} after {other.applied}"
            )
        revision = min(state.revision for state in states)
        found = {node.name: self._etcdctl(node).hash_at(revision) for node in self._nodes}
        known = {name: one for name, one in found.items() if one is not None}
        self._said = f"at revision {revision}: " + ", ".join(
            f"{name} compacted up to {one.compacted}" if one else f"{name} has none" for name, one in found.items()
        )
        if len(known) < len(found) or len({one.compacted for one in known.values()}) > 1:
            return None
        got = ", ".join(f"{name}: {one.hash} at revision {one.revision}" for name, one in known.items())
        return len({one.hash for one in known.values()}) == 1, got

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
        done = self._etcdctl(via).attempt("member", "add", name, f"--peer-urls={peer}", timeout_s=60.0)
        if done.returncode == 0:
            return done.stdout
        if "unhealthy cluster" in done.stderr:
            return None
        raise ProcedureFailed(f"etcdctl member add {name}: rc={done.returncode}\n{kept_end(done.stderr.strip(), 1000)}")

    def _caught_up(self, node: OpenNode) -> None:
        wait_until(
            self._etcdctl(node).healthy,
            what=f"etcd on {node.name} is healthy",
            within_s=self._drill.at_most(CAUGHT_UP_WITHIN_S),
            every_s=1.0,
        )

    def _peer(self, node: OpenNode) -> str:
        text = self._run(node, "sh", "-c", f"cat {ASIDE} {MANIFEST} 2>/dev/null || true")
        found = re.search(r"--initial-advertise-peer-urls=(\S+)", text)
        if found is None:
            raise ProcedureFailed(f"{node.name} has no manifest of etcd that names --initial-advertise-peer-urls")
        return found[1]

    def _first(self) -> EtcdSnapshots:
        return EtcdSnapshots(self._drill, self._kube, self._nodes[0])

    def _etcdctl(self, node: OpenNode) -> Etcdctl:
        return Etcdctl(self._drill.commands, node)

    def _run(self, node: OpenNode, *argv: str, timeout_s: float = 60.0) -> str:
        return self._drill.commands.run([*node.enter, *argv], env=node.environment, timeout_s=timeout_s).stdout
