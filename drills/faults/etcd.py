"""Faults of etcd, the cluster's own memory."""

from __future__ import annotations

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import RIDDEN_OUT, Denied, Kube
from drills.nodes import Node

MEMBER = "/var/lib/etcd/member"
LOST = "/var/lib/etcd/member.drills-lost"
RUNNING = "crictl ps --quiet --name '^etcd$'"
"""Prints the id of the node's etcd."""

PKI = "/etc/kubernetes/pki/etcd"
"""Where kubeadm keeps etcd's certificates."""

REVISIONS_RAISED_BY = 1_000_000_000
"""More than a cluster writes between a snapshot and its loss: at 1000 writes a second, eleven days."""

_EXEC_TIMEOUT_S = 30.0
_SENTINEL = "kube-system"


class EtcdWiped(Fault):
    """etcd loses its data, on a control plane of one node (kubeadm's layout: a static pod, data in /var/lib/etcd).

    Removing the files alone is no disaster: the running process has them open and keeps serving. So they are taken
    from under it, and it is killed without grace. kubelet starts it again where it was, and it comes back healthy and
    empty, and the API server with it: alive, and without a memory of users, roles or workloads.

    Its manifest stays: where kubelet sees a manifest go, it deletes the mirror pod before it does anything else, and an
    API server without etcd keeps it waiting for a minute and more.

    The proof wants both ends: the member directory is another one with another log, and the API server has lost its
    memory (it refuses everyone, or its first namespace is gone or new). Either alone may deceive: an API server that
    has only just started refuses everyone too, until it has read the roles.
    """

    name = "etcd wiped"
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, node: Node, kube: Kube, *, sentinel_uid: str, member: str) -> None:
        """Aim at one node's etcd.

        Args:
            node: the control-plane node.
            kube: the cluster.
            sentinel_uid: UID of the namespace kube-system, which an emptied cluster makes anew.
            member: identity of the member directory, see `member_identity`.

        """
        self.target = f"etcd/{node.name}"
        self._node = node
        self._kube = kube
        self._sentinel_uid = sentinel_uid
        self._member = member

    def inject(self) -> None:
        """Take etcd's data from under it and kill it.

        Raises:
            EnvironmentFailed: no etcd runs there, or it could not be killed; `heal` puts its data back.

        """
        kill = f'running=$({RUNNING}); [ -n "$running" ] && crictl stop --timeout=0 $running'
        self._node.exec(["sh", "-c", f"mv {MEMBER} {LOST} && {kill} && rm -rf {LOST}"], timeout_s=_EXEC_TIMEOUT_S)

    def proof(self) -> list[str]:
        """Tell what etcd and the API server have lost, once both have."""
        member = member_identity(self._node)
        if member in ("", self._member):  # unchanged, or not started again yet
            return []
        lost = self._lost()
        return [f"{MEMBER} is {member}, not {self._member}", lost] if lost else []

    def heal(self) -> None:
        """Put the data back if etcd could not be killed."""
        script = f"if [ -e {LOST} ] && [ ! -e {MEMBER} ]; then mv {LOST} {MEMBER}; fi"
        self._node.exec(["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S)

    def _lost(self) -> str:
        try:
            now = self._kube.get("Namespace", _SENTINEL)
        except Denied as denied:
            return f"the API server refuses its administrator: {denied}"
        except RIDDEN_OUT:
            return ""
        if now is None:
            return f"namespace {_SENTINEL} is gone"
        uid = now["metadata"]["uid"]
        return f"namespace {_SENTINEL} has uid {uid}, not {self._sentinel_uid}" if uid != self._sentinel_uid else ""


def etcd_wiped(node: Node, kube: Kube) -> EtcdWiped:
    """Make the fault that empties a node's etcd, and note what it holds now.

    Raises:
        UsageError: the node has no etcd that kubeadm set up.
        KubeError: the API server did not say.

    """
    member = member_identity(node)
    sentinel = kube.get("Namespace", _SENTINEL)
    if not member or sentinel is None:
        found = f"no {MEMBER}" if not member else f"no namespace {_SENTINEL}"
        raise UsageError(f"etcd_wiped on {node.name}: found {found}, accepted: a control-plane node made by kubeadm")
    return EtcdWiped(node, kube, sentinel_uid=sentinel["metadata"]["uid"], member=member)


def etcdctl(*arguments: str) -> list[str]:
    """Return the words that ask the member of the node on which they run, with kubeadm's certificates."""
    return [
        "etcdctl", "--endpoints=https://127.0.0.1:2379", f"--cacert={PKI}/ca.crt",
        f"--cert={PKI}/healthcheck-client.crt", f"--key={PKI}/healthcheck-client.key", *arguments,
    ]  # fmt: skip


def member_identity(node: Node) -> str:
    """Return what tells one member directory from the next; empty if there is none, or no log in it yet.

    The log is never rewritten, and no two begin alike: its first entries carry identifiers and times of their own.
    The directory's own times say less: etcd touches it whenever it starts, and not every file system knows its birth.
    """
    script = (
        f'log=$(ls {MEMBER}/wal/*.wal 2>/dev/null | head -n 1); [ -n "$log" ] || exit 0; '
        f'echo "inode $(stat --format=%i {MEMBER}), log $(head -c 4096 "$log" | sha256sum | cut -c -16)"'
    )
    return node.exec(["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S).strip()
