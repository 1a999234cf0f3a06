"""Rebuilding the only control plane from its saved PKI and an etcd snapshot: docs/runbooks/control-plane-rebuild.md."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Protocol

from drills.drill import Drill
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed
from drills.kube import Kube, KubeError, node_ready
from drills.nodes import OpenNode
from drills.procedures import pki
from drills.procedures.etcd import EtcdSnapshots
from drills.waiting import wait_until

CONFIGURATION = "/kind/kubeadm.conf"
"""What kubeadm set the node up with; kind keeps it here."""

BOOTED_WITHIN_S = 60.0
INIT_TIMEOUT_S = 300.0
BACK_WITHIN_S = 300.0

_ARCHIVE = "/var/lib/control-plane.tgz"
_SNAPSHOT = "/var/lib/etcd-snapshot.db"


class Machine(OpenNode, Protocol):
    """A control-plane node that can be switched on, with a way for files in and out."""

    def start(self) -> None:
        """Switch it on."""
        ...

    def copy_out(self, path: str, target: Path) -> None:
        """Copy a file from the node."""
        ...

    def copy_in(self, source: Path, path: str) -> None:
        """Copy a file to the node."""
        ...


@dataclass(frozen=True)
class SavedControlPlane:
    """What is kept of a control plane outside its cluster.

    Attributes:
        archive: /etc/kubernetes/pki and kubeadm's configuration.
        snapshot: a verified etcd snapshot.
        sha256: the snapshot's checksum, from when it was taken.
    """

    archive: Path
    snapshot: Path
    sha256: str


class ControlPlane:
    """The only control plane of a cluster that kubeadm set up."""

    def __init__(self, drill: Drill, kube: Kube, node: Machine, etcd: EtcdSnapshots, outside: Path) -> None:
        self._drill = drill
        self._kube = kube
        self._node = node
        self._etcd = etcd
        self._outside = outside

    def save(self) -> SavedControlPlane:
        """Save PKI, kubeadm's configuration and an etcd snapshot outside the cluster.

        Raises:
            EnvironmentFailed: they could not be saved; without them there is nothing to rehearse.
        """
        snapshot = self._etcd.take()
        self._run(
            "tar", "-C", "/", "-czf", _ARCHIVE, "etc/kubernetes/pki", CONFIGURATION.lstrip("/"),
            fails_as=EnvironmentFailed,
        )  # fmt: skip
        saved = SavedControlPlane(self._outside / "control-plane.tgz", self._outside / "etcd.db", snapshot.sha256)
        self._node.copy_out(_ARCHIVE, saved.archive)
        self._node.copy_out(snapshot.path, saved.snapshot)
        self._run("rm", _ARCHIVE, fails_as=EnvironmentFailed)
        if wrong := pki.problems(pki.read_archive(saved.archive), at=self._now(), address=self._address()):
            raise EnvironmentFailed(f"{saved.archive.name} cannot rebuild a control plane: {'; '.join(wrong)}")
        return saved

    def rebuild(self, saved: SavedControlPlane) -> None:
        """Set up a machine as the control plane that was lost, and wait until it and its workers are back.

        Raises:
            ProcedureFailed: the snapshot is not the one that was taken, or a command failed.
            WaitTimeout: machine, API server or nodes were not there in time.
        """
        with self._drill.step("switch the new machine on", f"power on {self._node.name}"):
            self._node.start()
            wait_until(
                lambda: self._works("crictl", "version"), what=f"{self._node.name} runs containers",
                within_s=BOOTED_WITHIN_S, every_s=0.5,
            )  # fmt: skip
        with self._drill.step("put PKI and kubeadm's configuration in place", "tar -C / -xzf control-plane.tgz"):
            kept = pki.read_archive(saved.archive)
            if wrong := pki.problems(kept, at=self._now(), address=self._address()):
                raise ProcedureFailed(f"{saved.archive.name} cannot rebuild this control plane: {'; '.join(wrong)}")
            self._node.copy_in(saved.archive, _ARCHIVE)
            self._run("tar", "-C", "/", "-xzf", _ARCHIVE)
            self._run("rm", _ARCHIVE)
        if not self._drill.leaves_out("procedure"):
            self._restore(saved)
        command = f"kubeadm init --config {CONFIGURATION} --skip-token-print"
        with self._drill.step("set the control plane up", command):
            self._run(*command.split(), timeout_s=INIT_TIMEOUT_S)
        self._check_keys(kept)
        with self._drill.step("wait for the API server", "kubectl get --raw /readyz", by="kubernetes"):
            wait_until(
                self._knows_us, what="the API server knows its administrator again",
                within_s=self._drill.at_most(BACK_WITHIN_S), every_s=0.2, retry_on=(KubeError,),
            )  # fmt: skip
        with self._drill.step(
            "wait until every kubelet has reported again", "kubectl wait --for=condition=Ready node --all",
            by="kubernetes",
        ):  # fmt: skip
            self._kube.wait_for_all(
                "Node", condition=node_ready(True), what="all nodes are ready",
                within_s=self._drill.at_most(BACK_WITHIN_S),
            )  # fmt: skip

    def _restore(self, saved: SavedControlPlane) -> None:
        found = hashlib.sha256(saved.snapshot.read_bytes()).hexdigest()
        if found != saved.sha256:
            raise ProcedureFailed(f"{saved.snapshot.name} has sha256 {found}, but was taken with {saved.sha256}")
        self._node.copy_in(saved.snapshot, _SNAPSHOT)
        self._etcd.put_in_place(_SNAPSHOT, self._address())
        self._run("rm", _SNAPSHOT)

    def _check_keys(self, kept: Mapping[str, bytes]) -> None:
        """Check what kubeadm made of the keys: it replaces missing ones and keeps unfit ones, and exits 0."""
        with self._drill.step("look at the keys and certificates", f"tar -C / -czf {_ARCHIVE} {pki.ROOT}"):
            self._run("tar", "-C", "/", "-czf", _ARCHIVE, pki.ROOT)
            after = self._outside / "control-plane-after.tgz"
            self._node.copy_out(_ARCHIVE, after)
            self._run("rm", _ARCHIVE)
        found = pki.read_archive(after)
        after.unlink()  # it holds every key of the cluster
        wrong = pki.problems(found, at=self._now(), address=self._address())
        self._drill.check("the control plane's certificates are valid", not wrong, "valid", "; ".join(wrong) or "valid")
        another = pki.changed_accounts_key(kept, found)
        self._drill.check(
            "service accounts' tokens are still worth something", not another, "sa.pub as it was saved",
            "another sa.pub" if another else "sa.pub as it was saved",
        )  # fmt: skip

    def _now(self) -> datetime:
        return self._drill.clock.now().utc

    def _address(self) -> str:
        return self._run("hostname", "-i").split()[0]

    def _knows_us(self) -> bool:
        return self._kube.ready() and self._kube.get("Namespace", "kube-system") is not None

    def _works(self, *argv: str) -> bool:
        return not self._drill.commands.run(
            [*self._node.enter, *argv], env=self._node.environment, timeout_s=30, check=False
        ).returncode

    def _run(self, *argv: str, timeout_s: float = 60.0, fails_as: type[DrillError] = ProcedureFailed) -> str:
        return self._drill.commands.run(
            [*self._node.enter, *argv], env=self._node.environment, timeout_s=timeout_s, fails_as=fails_as
        ).stdout
