"""Bringing etcd back on control planes that run Talos: docs/runbooks/talos-etcd.md.

The same calls as EtcdMembers, for machines without a shell: every step is talosctl's. Never held on such a machine.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence
from pathlib import Path

from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, UsageError
from drills.faults.talos import EtcdMembersWiped, etcd_members_wiped
from drills.kube import Kube, KubeError
from drills.procedures.etcd import Snapshot
from drills.shell import command_line
from drills.talosctl import WAITING, WIPE, Talosctl, TalosNode
from drills.waiting import wait_until

CONTROL_PLANE = "node-role.kubernetes.io/control-plane"
HEALTH_OUTDATED_WITHIN_S = 60.0
"""Talos asks etcd for its health every 20 s, and gives it 15 s to answer."""

WIPED_WITHIN_S = 600.0
UP_WITHIN_S = 300.0
HEALTHY_WITHIN_S = 600.0
SNAPSHOT_WITHIN_S = 300.0
_LOOK_EVERY_S = 1.0
_TALOSCTL_ENDS_WITHIN_S = 30.0  # after the time that it was given for its own waiting
_INFO = re.compile(r"^snapshot info: .*\brevision (\d+), total keys (\d+), total size (\d+)", re.MULTILINE)


class TalosEtcdMembers:
    """The members of etcd on several control planes that run Talos."""

    def __init__(
        self, drill: Drill, kube: Kube, talosctl: Talosctl, nodes: Sequence[TalosNode], workers: Sequence[TalosNode],
        directory: Path,
    ) -> None:  # fmt: skip
        """Know the machines.

        Args:
            drill: the drill.
            kube: the cluster.
            talosctl: reaches the machines.
            nodes: the control planes; the first one is the one that is bootstrapped.
            workers: the other machines.
            directory: takes the snapshots. They hold the cluster's Secrets: away from the machines, and from evidence.
        """
        self._drill = drill
        self._kube = kube
        self._talosctl = talosctl
        self._nodes = nodes
        self._workers = workers
        self._directory = directory
        self._bootstrapped = ""

    def wiped(self, members: int) -> EtcdMembersWiped:
        """Make the fault that takes the disks of the last so many control planes; see etcd_members_wiped."""
        return etcd_members_wiped(self._talosctl, self._nodes[-members:], self._kube, len(self._nodes))

    def take(self) -> Snapshot:
        """Take a snapshot on the first control plane, and note the recovery point that it offers.

        Raises:
            EnvironmentFailed: the snapshot could not be taken, or holds nothing.
        """
        taken = self._drill.history.clock.now()
        path = self._directory / f"{taken.utc:%Y%m%dT%H%M%SZ}.db"
        said = self._talosctl.run(
            self._nodes[:1], "etcd", "snapshot", str(path), timeout_s=SNAPSHOT_WITHIN_S, fails_as=EnvironmentFailed
        )
        info = _INFO.search(said)
        if info is None or not path.exists():
            raise EnvironmentFailed(f"talosctl etcd snapshot left no snapshot that it could read:\n{said}")
        revision, keys, size = (int(number) for number in info.groups())
        if not keys:
            raise EnvironmentFailed(f"the snapshot {path.name} holds no key")
        snapshot = Snapshot(str(path), taken, revision, keys, _digest(path))
        self._drill.backup(
            "etcd-snapshot", path.name, taken, sha256=snapshot.sha256, revision=revision, keys=keys, bytes=size
        )
        return snapshot

    def recover(self, snapshot: Snapshot) -> None:
        """Bring etcd back from a snapshot after its quorum was lost: one member bootstrapped, the others join it.

        Raises:
            ProcedureFailed: etcd has a quorum, the snapshot is not the one that was taken, a bootstrap was sent before,
                a control plane does not answer, or a command failed. Nothing has been wiped in the first four cases.
            WaitTimeout: etcd stayed healthy without a leader, or a control plane did not come back in time.
        """
        first, *others = self._nodes
        with self._drill.step(
            "find out which members live", "talosctl -n NODE service etcd; talosctl -n NODE etcd status"
        ):
            self._refuse_with_a_quorum()
        with self._drill.step("verify the snapshot", f"sha256sum {snapshot.path}"):
            self._verify(snapshot)
        if not self._drill.leaves_out("procedure"):
            self._wipe()
            self._bootstrap(first, snapshot)
        with self._drill.step(
            "wait for the bootstrapped member", f"talosctl -n {first.address} service etcd", by="kubernetes"
        ):
            self._wait_until_up(first)
        with self._drill.step("wait for the API server", "kubectl get --raw /readyz", by="kubernetes"):
            wait_until(
                lambda: self._kube.ready() and self._kube.get("Namespace", "kube-system") is not None,
                what="the API server knows its administrator again",
                within_s=self._drill.at_most(UP_WITHIN_S), retry_on=(KubeError,),
            )  # fmt: skip
        for node in others:
            with self._drill.step(
                f"wait until {node.name} has joined", f"talosctl -n {node.address} service etcd", by="kubernetes"
            ):
                self._wait_until_up(node)
        self._wait_until_healthy(first)

    def whole(self) -> None:
        """Check that every control plane's member is there, votes, and is healthy: redundancy is back too."""
        members = self._talosctl.members(self._nodes[0])
        voting = sorted(member.hostname for member in members if not member.learner)
        wanted = sorted(node.name for node in self._nodes)
        healthy = all(self._up(node) for node in self._nodes)
        ok = voting == wanted and len(members) == len(wanted) and healthy
        got = f"{', '.join(voting)} of {len(members)} vote; {'all' if healthy else 'not all'} healthy"
        self._drill.check("etcd has all its members again", ok, ", ".join(wanted), got)
        self._drill.reconstituted()

    def _refuse_with_a_quorum(self) -> None:
        if self._bootstrapped:
            raise ProcedureFailed(
                f"{self._bootstrapped} was sent a bootstrap already: a second one makes a second cluster"
            )
        # A moment without a leader may be an election. The health check looks back further, and is as much older.
        wait_until(
            lambda: not any(self._had_a_quorum(node) for node in self._nodes), what="etcd is healthy nowhere",
            within_s=self._drill.at_most(HEALTH_OUTDATED_WITHIN_S), every_s=_LOOK_EVERY_S,
        )  # fmt: skip

    def _had_a_quorum(self, node: TalosNode) -> bool:
        """Ask a machine, which must answer: those that cannot be asked might be a quorum among themselves."""
        service = self._talosctl.etcd(node)
        if service.state != "Running":
            return False
        try:
            leader = self._talosctl.leader(node)
        except ProcedureFailed:  # its member hangs or dies
            leader = ""
        if leader:
            raise ProcedureFailed(
                f"etcd on {node.name} has a leader ({leader}), and so a quorum: "
                "it must not be wiped; replace the lost member instead"
            )
        return service.healthy

    def _verify(self, snapshot: Snapshot) -> None:
        path = Path(snapshot.path)
        if not path.is_file():
            raise ProcedureFailed(f"the snapshot {path} is not there")
        found = _digest(path)
        if found != snapshot.sha256:
            raise ProcedureFailed(f"{path} has sha256 {found}, but was taken with {snapshot.sha256}")

    def _wipe(self) -> None:
        within_s = self._drill.at_most(WIPED_WITHIN_S)
        addresses = _addresses(self._nodes)
        # All at once and waited for: a member that keeps its data goes on with the old cluster, and the etcd of one
        # that was empty before, and has yet to boot, says already that it waits.
        command = (*WIPE, f"--timeout={within_s:g}s")
        with self._drill.step("wipe etcd on every control plane", f"talosctl -n {addresses} {command_line(command)}"):
            self._talosctl.run(self._nodes, *command, timeout_s=within_s + _TALOSCTL_ENDS_WITHIN_S)
        with self._drill.step(
            "wait until every etcd waits for its bootstrap", f"talosctl -n {addresses} service etcd", by="kubernetes"
        ):
            wait_until(
                lambda: all(self._talosctl.etcd(node).state == WAITING for node in self._nodes),
                what=f"etcd on every control plane is {WAITING}",
                within_s=self._drill.at_most(UP_WITHIN_S), every_s=_LOOK_EVERY_S, retry_on=(ProcedureFailed,),
            )  # fmt: skip

    def _bootstrap(self, node: TalosNode, snapshot: Snapshot) -> None:
        command = ("bootstrap", f"--recover-from={snapshot.path}")
        with self._drill.step(
            "bootstrap one control plane from the snapshot", f"talosctl -n {node.address} {command_line(command)}"
        ):
            self._bootstrapped = node.name  # before, for one that failed may have begun
            self._talosctl.run([node], *command, timeout_s=SNAPSHOT_WITHIN_S)

    def _wait_until_healthy(self, via: TalosNode) -> None:
        within_s = self._drill.at_most(HEALTHY_WITHIN_S)
        command = ["health", "--control-plane-nodes", _addresses(self._nodes)]
        command += ["--worker-nodes", _addresses(self._workers)] if self._workers else []
        command += [f"--wait-timeout={within_s:g}s"]
        with self._drill.step(
            "wait for the cluster's health", f"talosctl -n {via.address} {command_line(command)}", by="kubernetes"
        ):
            self._talosctl.run([via], *command, timeout_s=within_s + _TALOSCTL_ENDS_WITHIN_S)

    def _wait_until_up(self, node: TalosNode) -> None:
        wait_until(
            lambda: self._up(node), what=f"etcd on {node.name} runs and is healthy",
            within_s=self._drill.at_most(UP_WITHIN_S), every_s=_LOOK_EVERY_S, retry_on=(ProcedureFailed,),
        )  # fmt: skip

    def _up(self, node: TalosNode) -> bool:
        service = self._talosctl.etcd(node)
        return service.state == "Running" and service.healthy


def talos_machines(kube: Kube) -> tuple[list[TalosNode], list[TalosNode]]:
    """Return a cluster's control planes and its other machines, in the order of their names.

    Raises:
        UsageError: one of them does not run Talos, or has no address.
        KubeError: the API server did not say.
    """
    found: tuple[list[TalosNode], list[TalosNode]] = ([], [])
    for node in sorted(kube.list("Node"), key=lambda node: str(node["metadata"]["name"])):
        name, status = node["metadata"]["name"], node["status"]
        system = status.get("nodeInfo", {}).get("osImage", "")
        if not system.startswith("Talos"):
            raise UsageError(f"node {name}: found osImage {system!r}, accepted: Talos")
        addresses = [one["address"] for one in status.get("addresses", []) if one["type"] == "InternalIP"]
        if not addresses:
            raise UsageError(f"node {name}: found no address of type InternalIP, accepted: one that talosctl reaches")
        found[CONTROL_PLANE not in node["metadata"].get("labels", {})].append(TalosNode(name, addresses[0]))
    return found


def _addresses(nodes: Sequence[TalosNode]) -> str:
    return ",".join(node.address for node in nodes)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
