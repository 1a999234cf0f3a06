"""Nodes as faults and procedures see them: the harness's kind nodes, or whatever machines a team plugs in."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Node(Protocol):
    """A node in which the harness can run commands."""

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        ...

    def exec(self, argv: Sequence[str], timeout_s: float) -> str:
        """Run a command as root in the node, return its standard output, raise EnvironmentFailed if it fails."""
        ...


class Machine(Protocol):
    """A node that can be switched off and on."""

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        ...

    def stop(self) -> None:
        """Cut its power: no grace, no clean shutdown."""
        ...

    def start(self) -> None:
        """Switch it on again."""
        ...

    def running(self) -> bool:
        """Tell whether it runs, asked of what runs it and not of the cluster."""
        ...


class OpenNode(Protocol):
    """A node on which a procedure runs programs as root, as the reader of its runbook does."""

    @property
    def name(self) -> str:
        """Its name in the cluster."""
        ...

    @property
    def enter(self) -> Sequence[str]:
        """The words that, put before a command, run it on the node: `ssh NODE`, `docker exec NODE`."""
        ...

    @property
    def environment(self) -> Mapping[str, str]:
        """What those words need in their environment."""
        ...
