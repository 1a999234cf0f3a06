"""Machines that run Talos, as their operator reaches them: by talosctl, without a shell and without a cluster.

Command lines and answers are those of Talos 1.12 (https://docs.siderolabs.com/talos/v1.12/reference/cli).
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from drills.commands import Commands
from drills.errors import DrillError, ProcedureFailed

ANSWER_WITHIN_S = 30.0
WIPE = ("reset", "--graceful=false", "--reboot", "--system-labels-to-wipe=EPHEMERAL")
"""Empties the partition that etcd's data is on. The machine's configuration is on another one, and stays."""

DATA = "/var/lib/etcd"
WAITING = "Preparing"
"""The state of an etcd that has no data: it waits for a cluster to join, or for its bootstrap."""

_NOBODY = "0000000000000000"


@dataclass(frozen=True)
class TalosNode:
    """A machine that runs Talos: its name in the cluster, and the address at which talosctl reaches it."""

    name: str
    address: str


@dataclass(frozen=True)
class Service:
    """What a machine says of one of its services.

    Attributes:
        state: "Running", "Preparing", "Waiting" ...
        healthy: whether its last health check was good. etcd's asks for its quorum, every 20 s: it may be as old.
    """

    state: str
    healthy: bool


@dataclass(frozen=True)
class Member:
    """A member of etcd, as one of them knows it; a learner has no vote yet."""

    hostname: str
    learner: bool


class Talosctl:
    """Runs talosctl, with the configuration and the endpoints that its user has."""

    def __init__(self, commands: Commands) -> None:
        self._commands = commands

    def run(
        self,
        nodes: Sequence[TalosNode],
        *arguments: str,
        timeout_s: float = ANSWER_WITHIN_S,
        fails_as: type[DrillError] = ProcedureFailed,
    ) -> str:
        """Run a command for these machines and return what it printed.

        Raises:
            EnvironmentFailed: there is no talosctl.
            ProcedureFailed: (or `fails_as`) it failed for one of them, or ran out of time.
        """
        argv = ["talosctl", "-n", ",".join(node.address for node in nodes), *arguments]
        return self._commands.run(argv, timeout_s=timeout_s, fails_as=fails_as).stdout

    def etcd(self, node: TalosNode) -> Service:
        """Return how a machine's etcd is, whether it has data or not.

        Raises:
            ProcedureFailed: the machine does not answer.
        """
        told = dict(
            pair for line in self.run([node], "service", "etcd").splitlines() if len(pair := _cells(line, 1)) == 2
        )
        if "STATE" not in told:
            raise ProcedureFailed(f"talosctl service etcd names no state for {node.name}")
        return Service(told["STATE"], told.get("HEALTH") == "OK")

    def leader(self, node: TalosNode) -> str:
        """Return the leader that a machine's member knows, empty if none. Who has one has a quorum.

        Raises:
            ProcedureFailed: the member does not answer.
        """
        leaders = [row["LEADER"] for row in _table(self.run([node], "etcd", "status"))]
        if len(leaders) != 1:
            raise ProcedureFailed(f"talosctl etcd status tells of {len(leaders)} members for {node.name}")
        return leaders[0].replace(_NOBODY, "")

    def members(self, node: TalosNode) -> list[Member]:
        """Return the members that a machine's own member knows; with a quorum or without.

        Raises:
            ProcedureFailed: the member does not answer.
        """
        return [
            Member(row["HOSTNAME"], row["LEARNER"] != "false") for row in _table(self.run([node], "etcd", "members"))
        ]

    def has_data(self, node: TalosNode) -> bool:
        """Whether a machine has a member's data.

        Raises:
            ProcedureFailed: the machine does not answer.
        """
        return "member" in self.run([node], "list", DATA).split()


def _cells(line: str, most: int = 0) -> list[str]:
    """Split a line where talosctl puts three spaces or more; a single one may be in a cell."""
    return re.split(r" {3,}", line.strip(), maxsplit=most)


def _table(text: str) -> list[dict[str, str]]:
    """Read a table by the columns of its heading, for cells may be empty."""
    lines = text.splitlines()
    if not lines:
        return []
    columns = [(found.start(), found[0]) for found in re.finditer(r"\S+(?: \S+)*", lines[0])]
    ends = [start for start, _ in columns[1:]] + [None]
    return [
        {name: line[start:end].strip() for (start, name), end in zip(columns, ends, strict=True)}
        for line in lines[1:]
        if line.strip()
    ]
