"""What etcd's own tools say on one control-plane node, and what they do not say and has to be checked beside them.

Seen with etcd 3.6.16 and 3.7: `snapshot status` does not look at the checksum that `snapshot save` appends to the
file, `hashkv` of a file writes into it, alarms are part of a snapshot, and members that were restored from different
snapshots form a healthy cluster.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from drills.commands import Commands, Completed
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed
from drills.faults.divergence import MemberState, read_state
from drills.faults.etcd import PKI, etcdctl
from drills.nodes import OpenNode

_ALARMS = {1: "NOSPACE", 2: "CORRUPT"}
_ANSWERS_WITHIN_S = 15.0


@dataclass(frozen=True)
class Alarm:
    """An alarm of etcd: NOSPACE or CORRUPT, and its member's identity in hexadecimal; that member may be gone.

    While one is active every write is refused, although reads are answered and `/readyz` of the API server is 200.
    """

    kind: str
    member: str

    def __str__(self) -> str:
        return f"{self.kind} of member {self.member}"


@dataclass(frozen=True)
class KeyspaceHash:
    """The hash of all keys up to a revision; two are comparable only if both revisions are equal.

    Attributes:
        revision: up to which keys were hashed.
        compacted: the revision below which the member has forgotten what was overwritten.
        hash: over both.
    """

    revision: int
    compacted: int
    hash: int


def checksum_script(path: str) -> str:
    """Return a shell script that compares a snapshot with the sha256 that `etcdctl snapshot save` appended to it.

    It only reads, and needs nothing but coreutils. It prints the digest, and fails with one line that gives both. A
    file that was copied from a data directory has no such checksum and fails, too: nothing says whether it is whole.
    The rule is etcd's own: 32 bytes after the last page of 512 (`etcdutl/snapshot`).
    """
    return (
        f"size=$(stat -c %s {path}) && "
        f'if [ "$((size % 512))" != 32 ]; then echo "{path}: no checksum at its end ($size bytes)" >&2; exit 1; fi; '
        f"noted=$(tail -c 32 {path} | od -An -v -tx1 | tr -d ' \\n'); "
        f"found=$(head -c -32 {path} | sha256sum | cut -c -64); "
        f'if [ "$noted" != "$found" ]; then echo "{path}: damaged: its content has sha256 $found, '
        f'and its end says $noted" >&2; exit 1; fi; echo "$found"'
    )


class Etcdctl:
    """etcdctl on one control plane, as root, asking the node's own member with kubeadm's certificates."""

    def __init__(self, commands: Commands, node: OpenNode) -> None:
        self._commands = commands
        self._node = node

    def run(self, *arguments: str, timeout_s: float = 60.0, fails_as: type[DrillError] = ProcedureFailed) -> str:
        """Run etcdctl and return what it writes to standard output; raises `fails_as` if it fails."""
        return self._run(arguments, timeout_s, fails_as=fails_as).stdout

    def attempt(self, *arguments: str, timeout_s: float = _ANSWERS_WITHIN_S) -> Completed:
        """Run etcdctl where its failure is an answer, too."""
        return self._run(arguments, timeout_s, check=False)

    def healthy(self) -> bool:
        """Ask the member itself: its answer is a read that a quorum has agreed on."""
        return self.attempt("endpoint", "health").returncode == 0

    def members(self) -> list[dict[str, Any]]:
        """Return the members as etcd lists them: ID (a number), name, peerURLs; one that never started has no name."""
        found: list[dict[str, Any]] = json.loads(self.run("member", "list", "--write-out=json"))["members"]
        return found

    def alarms(self, fails_as: type[DrillError] = ProcedureFailed) -> list[Alarm]:
        """Return the active alarms; raises `fails_as` if etcd does not answer."""
        return read_alarms(json.loads(self.run("alarm", "list", "--write-out=json", fails_as=fails_as)).get("alarms"))

    def arm(self, kind: str) -> None:
        """Raise an alarm of the node's member by etcd's own API, over HTTP: etcdctl can only disarm.

        Args:
            kind: NOSPACE or CORRUPT.

        Raises:
            EnvironmentFailed: etcd refused, or curl is missing.
        """
        (answer,) = json.loads(self.run("endpoint", "status", "--write-out=json", fails_as=EnvironmentFailed))
        member = str(answer["Status"]["header"]["member_id"])
        body = json.dumps({"action": "ACTIVATE", "memberID": member, "alarm": kind})
        argv = [
            *self._node.enter, "curl", "--silent", "--show-error", "--fail", "--max-time", "10",
            "--cacert", f"{PKI}/ca.crt", "--cert", f"{PKI}/healthcheck-client.crt",
            "--key", f"{PKI}/healthcheck-client.key", "--data", body, "https://127.0.0.1:2379/v3/maintenance/alarm",
        ]  # fmt: skip
        self._commands.run(argv, env=self._node.environment, timeout_s=20, fails_as=EnvironmentFailed)

    def state(self) -> MemberState:
        """Return the member's revision, and up to which entry it has applied the common log."""
        return read_state(self._node.name, self.run("endpoint", "status", "--write-out=json"))

    def hash_at(self, revision: int) -> KeyspaceHash | None:
        """Return the member's hash of all keys at a revision; None where it is not there yet or has compacted it."""
        done = self.attempt("endpoint", "hashkv", f"--rev={revision}", "--write-out=json")
        if done.returncode:
            return None
        (answer,) = json.loads(done.stdout)
        found = answer["HashKV"]
        return KeyspaceHash(
            int(found.get("hash_revision", revision)), int(found["compact_revision"]), int(found["hash"])
        )

    def _run(
        self, arguments: Sequence[str], timeout_s: float, *, check: bool = True,
        fails_as: type[DrillError] = ProcedureFailed,
    ) -> Completed:  # fmt: skip
        argv = [*self._node.enter, *etcdctl(*arguments)]
        return self._commands.run(argv, env=self._node.environment, timeout_s=timeout_s, check=check, fails_as=fails_as)


def read_alarms(found: Sequence[Mapping[str, Any]] | None) -> list[Alarm]:
    """Read the field `alarms` of what `etcdctl alarm list --write-out=json` says; it is null where there is none."""
    return [
        Alarm(_ALARMS.get(one.get("alarm", 0), str(one.get("alarm"))), f"{int(one.get('memberID', 0)):x}")
        for one in found or []
    ]
