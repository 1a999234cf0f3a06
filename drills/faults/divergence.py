"""Members of one etcd that hold different data, and answer as if nothing were wrong."""

from __future__ import annotations

import json
import shlex
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

from drills.errors import EnvironmentFailed, UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.etcd import MEMBER, REVISIONS_RAISED_BY, etcdctl
from drills.faults.member import MANIFEST
from drills.nodes import Node
from drills.redaction import kept

RESTORED = "/var/lib/etcd-mixed"

_EXEC_TIMEOUT_S = 60.0
_RESTORE_TIMEOUT_S = 300.0


@dataclass(frozen=True)
class MemberState:
    """What one member says of itself: its revision, and up to which entry it has applied the common log."""

    name: str
    revision: int
    applied: int


class EtcdRestoredFromMixedSnapshots(Fault):
    """Somebody restores every member of etcd from the snapshot that its own node happens to have.

    The members elect a leader, are healthy, apply the same log, and differ for ever in what was there before it: which
    objects there are depends on the API server that is asked. Neither health checks nor etcd's check of its data at the
    start say anything (etcd 3.6 and 3.7).

    The proof: two members differ in their revision by more than in the entries that they have applied, although an
    entry raises it by one at most.
    """

    name = "etcd restored from mixed snapshots"
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, nodes: Sequence[Node], snapshots: Sequence[str], peers: Sequence[str]) -> None:
        """Aim at all members; see `etcd_restored_from_mixed_snapshots`.

        Args:
            nodes: the control planes.
            snapshots: the snapshot's file on each of them.
            peers: the peer URL of each of them.

        """
        self.target = "etcd/" + ",".join(node.name for node in nodes)
        self._nodes = nodes
        self._snapshots = snapshots
        self._peers = peers

    def inject(self) -> None:
        """Stop every control plane, restore each member from its own node's snapshot, and start them.

        Raises:
            EnvironmentFailed: a command failed.

        """
        stop = "systemctl stop kubelet && crictl stop --timeout=5 $(crictl ps --quiet)"
        for node in self._nodes:
            node.exec(["sh", "-c", stop], timeout_s=_EXEC_TIMEOUT_S)
        cluster = ",".join(f"{node.name}={peer}" for node, peer in zip(self._nodes, self._peers, strict=True))
        for node, peer, snapshot in zip(self._nodes, self._peers, self._snapshots, strict=True):
            restore = (
                f"rm -rf {RESTORED} && etcdutl snapshot restore {snapshot} --data-dir {RESTORED} --name {node.name} "
                f"--initial-cluster {cluster} --initial-advertise-peer-urls {peer} "
                f"--bump-revision {REVISIONS_RAISED_BY} --mark-compacted "
                f"&& rm -rf {MEMBER} && mv {RESTORED}/member {MEMBER} && rm -rf {RESTORED}"
            )
            node.exec(["sh", "-c", restore], timeout_s=_RESTORE_TIMEOUT_S)
        self._start()

    def proof(self) -> list[str]:
        """Say by how much two members differ, once all of them are healthy."""
        states = [self._state(node) for node in self._nodes]
        known = [state for state in states if state is not None]
        if len(known) < len(states):
            return []
        return [
            f"{one.name} is at revision {one.revision} after entry {one.applied} of the log, "
            f"{other.name} at {other.revision} after {other.applied}; both are healthy"
            for one, other in combinations(known, 2)
            if differ(one, other)
        ]

    def heal(self) -> None:
        """Start what a failed injection stopped; what the members hold is for the procedure."""
        self._start()

    def _start(self) -> None:
        for node in self._nodes:
            node.exec(["sh", "-c", f"rm -rf {RESTORED}; systemctl start kubelet"], timeout_s=_EXEC_TIMEOUT_S)

    def _state(self, node: Node) -> MemberState | None:
        ask = shlex.join(etcdctl("--command-timeout=3s"))
        script = f"{ask} endpoint health >/dev/null 2>&1 && {ask} endpoint status --write-out=json || true"
        said = node.exec(["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S).strip()
        if not said:
            return None
        return read_state(node.name, said)


def read_state(name: str, answer: str) -> MemberState:
    """Read what `etcdctl endpoint status --write-out=json` says of the one member that it was asked of.

    Args:
        name: the member's.
        answer: what it wrote.

    Raises:
        EnvironmentFailed: it is something else.

    """
    try:
        (found,) = json.loads(answer)
        status = found["Status"]
        return MemberState(name, int(status["header"]["revision"]), int(status["raftAppliedIndex"]))
    except (ValueError, KeyError, TypeError) as error:
        raise EnvironmentFailed(f"etcdctl endpoint status on {name} cannot be read: {kept(answer, 200)}") from error


def differ(one: MemberState, other: MemberState) -> bool:
    """Whether two members cannot hold the same data: an entry of their log raises the revision by one at most."""
    return abs(one.revision - other.revision) > abs(one.applied - other.applied)


def etcd_restored_from_mixed_snapshots(
    nodes: Sequence[Node], snapshots: Sequence[str]
) -> EtcdRestoredFromMixedSnapshots:
    """Make the fault that restores each member of etcd from another snapshot.

    Args:
        nodes: all control planes.
        snapshots: the file on each of them, in the same order.

    Raises:
        UsageError: there are fewer than two members, not a snapshot for each, or a node lacks its file or etcd.

    """
    if len(nodes) < 2 or len(nodes) != len(snapshots):
        raise UsageError(
            f"etcd_restored_from_mixed_snapshots: invalid nodes and snapshots, {len(nodes)} and {len(snapshots)}: "
            "expected two control planes or more, and a snapshot for each"
        )
    peers = []
    for node, snapshot in zip(nodes, snapshots, strict=True):
        script = f"[ -s {snapshot} ] && sed -n 's/.*--initial-advertise-peer-urls=//p' {MANIFEST} || true"
        peer = node.exec(["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S).strip()
        if not peer:
            raise UsageError(
                f"etcd_restored_from_mixed_snapshots: invalid node {node.name}: "
                f"expected {snapshot} and {MANIFEST} on it"
            )
        peers.append(peer)
    return EtcdRestoredFromMixedSnapshots(nodes, snapshots, peers)
