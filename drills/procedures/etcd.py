"""Snapshot and restore of etcd with its own tools: docs/runbooks/etcd-restore.md.

The restore follows etcd's and Kubernetes' advice: no API server may run meanwhile, the revision is raised and what was
before is marked compacted, so that nobody goes on with a watch or a cache from a future that is no more
(https://etcd.io/docs/latest/op-guide/recovery/, etcd#16028, kubernetes#118501).
"""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import Any

from drills.clock import Instant
from drills.drill import Drill
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed, UsageError
from drills.faults.etcd import REVISIONS_RAISED_BY
from drills.kube import Kube, KubeError, Manifest, deployment_available, node_ready
from drills.nodes import OpenNode
from drills.procedures.etcdctl import Alarm, Etcdctl, checksum_script, read_alarms
from drills.waiting import wait_until

DATA = "/var/lib/etcd"
SNAPSHOTS = "/var/lib/etcd-snapshots"
MANIFESTS = "/etc/kubernetes/manifests"
KINE = ("/var/lib/rancher/k3s/server/db/state.db", "/var/lib/rancher/k3s/server")
"""Where k3s keeps its data; without an embedded etcd it is an SQL database behind kine, which only looks like etcd."""

NAMES = "^(kube-apiserver|etcd|kube-controller-manager|kube-scheduler)$"
"""The containers of the control plane, for crictl."""

STOP_GRACE_S = 5
STOPPED_WITHIN_S = 60.0
BACK_WITHIN_S = 180.0


@dataclass(frozen=True)
class Snapshot:
    """A verified snapshot file outside etcd's own directory: on the node, or (Talos) where talosctl runs.

    Attributes:
        path: the file.
        taken: when taking it began.
        revision: of etcd, in it.
        keys: how many it holds.
        sha256: of the whole file.
        alarms: that were active then, and are part of it.
    """

    path: str
    taken: Instant
    revision: int
    keys: int
    sha256: str
    alarms: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Answered:
    """What a wait returns: etcd answered, if only that it has no alarm."""

    alarms: list[Alarm]


def restore_command(snapshot: str, directory: str, name: str, address: str) -> str:
    """Return the command that makes a snapshot the data of the first and only member of a new etcd.

    Args:
        snapshot: the snapshot's file.
        directory: etcd's data directory, which must not be there yet.
        name: the member's name.
        address: of the member's node.
    """
    peer = f"https://{address}:2380"
    return (
        f"etcdutl snapshot restore {snapshot} --data-dir {directory} --name {name} "
        f"--initial-cluster {name}={peer} --initial-advertise-peer-urls {peer} "
        f"--bump-revision {REVISIONS_RAISED_BY} --mark-compacted"
    )


class EtcdSnapshots:
    """Snapshots of a stacked etcd, as kubeadm sets it up, on a cluster of one control plane."""

    def __init__(self, drill: Drill, kube: Kube, node: OpenNode) -> None:
        self._drill = drill
        self._kube = kube
        self._node = node
        self._etcdctl = Etcdctl(drill.commands, node)

    def take(self) -> Snapshot:
        """Take a snapshot, verify it, and note the recovery point that it offers and the alarms that are part of it.

        Raises:
            UsageError: the node has no etcd that kubeadm set up.
            EnvironmentFailed: the snapshot could not be taken, or does not verify.
        """
        self._refuse_kine()
        taken = self._drill.history.clock.now()
        path = f"{SNAPSHOTS}/{taken.utc:%Y%m%dT%H%M%SZ}.db"
        self._run("mkdir", "-p", SNAPSHOTS)
        self._etcdctl.run("snapshot", "save", path, fails_as=EnvironmentFailed)
        self._run("sh", "-c", checksum_script(path), fails_as=EnvironmentFailed)
        status = self._status(path)
        if not status["totalKey"]:
            raise EnvironmentFailed(f"the snapshot {path} holds no key")
        alarms = [str(alarm) for alarm in self._etcdctl.alarms(fails_as=EnvironmentFailed)]
        snapshot = Snapshot(
            path, taken, status["revision"], status["totalKey"], self._run("sha256sum", path).split()[0], tuple(alarms)
        )
        self._drill.backup(
            "etcd-snapshot",
            path,
            taken,
            sha256=snapshot.sha256,
            revision=snapshot.revision,
            keys=snapshot.keys,
            bytes=status["totalSize"],
            alarms=", ".join(alarms) or "none",
        )
        return snapshot

    def take_with_alarm(self, kind: str = "NOSPACE") -> Snapshot:
        """Take a snapshot while an alarm is active, as a nightly job does, and disarm it: etcd goes on without it.

        Raises:
            EnvironmentFailed: the alarm could not be raised or disarmed, or the snapshot could not be taken.
        """
        self._etcdctl.arm(kind)
        try:
            return self.take()
        finally:
            self._etcdctl.run("alarm", "disarm", fails_as=EnvironmentFailed)

    def restore(self, snapshot: Snapshot, *, wait_for_nodes: bool = True) -> None:
        """Put a snapshot in the place of etcd's data and bring the control plane back on it.

        Args:
            snapshot: what is restored.
            wait_for_nodes: whether to wait until every node is ready; not where other control planes still join.

        Raises:
            ProcedureFailed: the snapshot is damaged, of a newer etcd or another one, or a command failed.
            WaitTimeout: the control plane did not stop, or did not come back, in time.
        """
        checksum = checksum_script(snapshot.path)
        # Before any tool opens the file: `etcdutl hashkv` writes into it, and `snapshot status` does not look.
        with self._drill.step("compare the snapshot with the checksum at its end", checksum):
            self._run("sh", "-c", checksum)
        with self._drill.step("verify the snapshot", f"etcdutl snapshot status {snapshot.path}"):
            self._refuse_newer(self._status(snapshot.path).get("version", ""))
            found = self._run("sha256sum", snapshot.path).split()[0]
            if found != snapshot.sha256:
                raise ProcedureFailed(f"{snapshot.path} has sha256 {found}, but was taken with {snapshot.sha256}")
        with self._drill.step("stop kubelet, so that nothing restarts", "systemctl stop kubelet"):
            self._run("systemctl", "stop", "kubelet")
        with self._drill.step(
            "stop the control plane", f"crictl stop --timeout={STOP_GRACE_S} $(crictl ps --quiet --name '{NAMES}')"
        ):
            running = self._running()
            if running:
                self._run("crictl", "stop", f"--timeout={STOP_GRACE_S}", *running, timeout_s=STOPPED_WITHIN_S)
            left = self._running()
            if left:
                raise ProcedureFailed(f"containers of the control plane still run: {', '.join(left)}")
        if not self._drill.leaves_out("procedure") or snapshot.alarms:  # there, disarming is what decides
            self.put_in_place(snapshot.path, self._address())
        with self._drill.step("start kubelet, and with it the control plane", "systemctl start kubelet"):
            self._run("systemctl", "start", "kubelet")
        self._end_alarms()
        with self._drill.step("wait for the API server", "kubectl get --raw /readyz", by="kubernetes"):
            wait_until(
                self._knows_us, what="the API server knows its administrator again",
                within_s=self._drill.at_most(BACK_WITHIN_S), every_s=0.2,
                retry_on=(KubeError,),
            )  # fmt: skip
        if not wait_for_nodes:
            return
        with self._drill.step("wait for the nodes", "kubectl wait --for=condition=Ready node --all", by="kubernetes"):
            self._kube.wait_for_all(
                "Node",
                condition=node_ready(True),
                what="all nodes are ready",
                within_s=self._drill.at_most(BACK_WITHIN_S),
            )

    def controllers_work(self, namespace: str, image: str, within_s: float = 60.0) -> None:
        """Check that controllers, scheduler and kubelets follow the restored state: a new Deployment must get its pods.

        A watch that survived from before the restore would show here as a Deployment that nobody sees.

        Raises:
            ProcedureFailed: the cluster refused it.
            WaitTimeout: nobody saw it.
        """
        with self._drill.step(
            "see a new Deployment get its pods", "kubectl create deployment after-restore", by="harness"
        ):
            try:
                self._kube.apply(_after_restore(image), namespace)
            except KubeError as refusal:  # its namespace may not have come back
                raise ProcedureFailed(f"a Deployment cannot be made after the restore: {refusal}") from refusal
            self._kube.wait_for(
                "Deployment", "after-restore", namespace, condition=deployment_available,
                what="a Deployment made after the restore gets its pod", within_s=self._drill.at_most(within_s),
            )  # fmt: skip
            made = self._kube.get("Deployment", "after-restore", namespace)
        available = int(((made or {}).get("status") or {}).get("availableReplicas") or 0)
        self._drill.check(
            "a Deployment made after the restore gets its pods", available == 1, "1 available", f"{available} available"
        )

    def _end_alarms(self) -> None:
        """Disarm what the snapshot brought back: the API server calls itself ready, and every write is refused."""
        with self._drill.step("list etcd's alarms", "etcdctl alarm list", by="kubernetes"):
            found = wait_until(
                self._alarms_if_it_answers, what="etcd lists its alarms",
                within_s=self._drill.at_most(BACK_WITHIN_S), every_s=0.5,
            ).alarms  # fmt: skip
        if found and not self._drill.leaves_out("procedure"):
            with self._drill.step("give etcd its space back", "etcdctl defrag"):
                self._etcdctl.run("defrag")
            with self._drill.step("disarm etcd's alarms", "etcdctl alarm disarm"):
                self._etcdctl.run("alarm", "disarm")
            found = self._etcdctl.alarms()
        self._drill.check(
            "etcd has no alarm after the restore", not found, "none", ", ".join(map(str, found)) or "none"
        )

    def _alarms_if_it_answers(self) -> _Answered | None:
        done = self._etcdctl.attempt("alarm", "list", "--write-out=json")
        return _Answered(read_alarms(json.loads(done.stdout).get("alarms"))) if done.returncode == 0 else None

    def _refuse_kine(self) -> None:
        there = self._run("sh", "-c", f"ls -d {MANIFESTS}/etcd.yaml {' '.join(KINE)} 2>/dev/null || true").split()
        if f"{MANIFESTS}/etcd.yaml" in there:
            return
        raise UsageError(
            f"etcd on {self._node.name}: invalid node: expected a control plane with {MANIFESTS}/etcd.yaml, "
            + (
                f"found k3s ({there[0]}): with an SQL database behind kine there is no etcd to save"
                if there
                else "found none"
            )
        )

    def _refuse_newer(self, version: str) -> None:
        """Refuse a snapshot of a newer etcd, which an older one may start on and not understand; "" is 3.5 or older."""
        ours = re.search(r"version:\s*(\d+)\.(\d+)", self._run("etcdutl", "version"))
        theirs = re.match(r"(\d+)\.(\d+)", version)
        if ours and theirs and tuple(map(int, theirs.groups())) > tuple(map(int, ours.groups())):
            raise ProcedureFailed(
                f"the snapshot is of etcd {version}, and this is {ours[1]}.{ours[2]}: an older etcd does not run on it"
            )

    def put_in_place(self, snapshot: str, address: str) -> None:
        """Make a snapshot's file the data of the only member; nothing of the control plane may run.

        It is restored beside the data first: a refused restore leaves a file behind that makes the next one into the
        same directory fail, too, and so does what a mount point holds.

        Args:
            snapshot: its file on the node.
            address: the member's, as its certificates and its manifest have it.

        Raises:
            ProcedureFailed: a command failed.
        """
        restored = f"{DATA}-restored"
        command = restore_command(snapshot, restored, self._node.name, address)
        with self._drill.step("restore the snapshot", command):
            self._run("rm", "-rf", restored)
            self._run(*command.split(), timeout_s=300)
        move = f"mkdir -p {DATA} && rm -rf {DATA}/member && mv {restored}/member {DATA}/member && rmdir {restored}"
        with self._drill.step("put the restored data in place", move):
            self._run("sh", "-c", move)

    def _address(self) -> str:
        """Return the peer address that the old member had, as its manifest says; a restored one must keep it."""
        text = self._run("sh", "-c", f"cat {MANIFESTS}/etcd.yaml")
        for line in text.splitlines():
            _, found, address = line.partition("--initial-advertise-peer-urls=https://")
            if found:
                return address.rpartition(":")[0]
        raise ProcedureFailed(f"{MANIFESTS}/etcd.yaml on {self._node.name} names no --initial-advertise-peer-urls")

    def _status(self, path: str) -> dict[str, Any]:
        answer: dict[str, Any] = json.loads(self._run("etcdutl", "snapshot", "status", path, "--write-out=json"))
        return answer

    def _running(self) -> list[str]:
        return self._run("crictl", "ps", "--quiet", "--name", NAMES).split()

    def _knows_us(self) -> bool:
        return self._kube.ready() and self._kube.get("Namespace", "kube-system") is not None

    def _run(self, *argv: str, timeout_s: float = 60.0, fails_as: type[DrillError] = ProcedureFailed) -> str:
        return self._drill.commands.run(
            [*self._node.enter, *argv], env=self._node.environment, timeout_s=timeout_s, fails_as=fails_as
        ).stdout


def _after_restore(image: str) -> Manifest:
    labels = {"app": "after-restore"}
    idle = {"name": "idle", "image": image, "imagePullPolicy": "IfNotPresent", "command": ["sleep", "600"]}
    return {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "after-restore"},
        "spec": {
            "replicas": 1, "selector": {"matchLabels": labels},
            "template": {
                "metadata": {"labels": labels}, "spec": {"containers": [idle], "terminationGracePeriodSeconds": 0}
            },
        },
    }  # fmt: skip
