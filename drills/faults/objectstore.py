"""Faults of the object store that backups are kept in."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Protocol

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.healing import each
from drills.nodes import Node

STORE_TABLE = "drills_store_cut"
"""The nftables table (family inet) that keeps a node's pods from an object store; nothing else is in it."""

_EXEC_TIMEOUT_S = 30.0


class ObjectStore(Protocol):
    """An object store that the harness can destroy: a container of its own, or whatever a team plugs in."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    def answers(self) -> bool:
        """Tell whether it answers requests."""
        ...

    def parts(self) -> list[str]:
        """Name what it consists of now, server and disk, asked of what runs them."""
        ...

    def left_of(self, parts: Sequence[str]) -> list[str]:
        """Name which of these parts are still there, asked of what runs them."""
        ...

    def destroy(self) -> None:
        """Take it away with its disk. Idempotent."""
        ...


class DistantStore(Protocol):
    """An object store that is reached by an address."""

    @property
    def name(self) -> str:
        """Its name."""
        ...

    @property
    def address(self) -> str:
        """Its address in the node network, host:port."""
        ...

    def answers(self) -> bool:
        """Tell whether it answers the harness, which is outside the cluster."""
        ...


class ObjectStoreUnreachable(Fault):
    """A cluster reaches its object store no more: somebody's rule on the nodes refuses the connections.

    Refused and not dropped: whoever waits for an answer that never comes may be served after the repair, as if nothing
    had been. The proof is the nodes' own: none of them can connect, while the store answers others as before.
    """

    name = "object store unreachable"
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, nodes: Sequence[Node], store: DistantStore) -> None:
        """Aim at a store as the nodes see it.

        Args:
            nodes: all nodes of the cluster.
            store: the store, which goes on running.
        """
        self.target = f"object store/{store.name}"
        self._nodes = nodes
        self._store = store

    def inject(self) -> None:
        """Refuse what the nodes and their pods send to the store, also on connections that stand."""
        host, _, port = self._store.address.rpartition(":")
        refuse = f"ip daddr {host} tcp dport {port} reject with tcp reset;"
        rules = "\n".join(
            [
                f"table inet {STORE_TABLE} {{",
                # Before the rules that keep the cluster closed, which let everything to the store pass.
                f"  chain leaving {{ type filter hook output priority 10; {refuse} }}",
                f"  chain passing {{ type filter hook forward priority 10; {refuse} }}",
                "}",
            ]
        )
        for node in self._nodes:
            node.exec(["sh", "-c", f"nft -f - <<'RULES'\n{rules}\nRULES"], timeout_s=_EXEC_TIMEOUT_S)

    def proof(self) -> list[str]:
        """Tell which nodes reach it no more; nothing as long as one of them does, or where the store itself is gone."""
        host, _, port = self._store.address.rpartition(":")
        ask = f"timeout 2 bash -c '</dev/tcp/{host}/{port}' 2>/dev/null && echo yes; true"
        reached = [n.name for n in self._nodes if n.exec(["bash", "-c", ask], timeout_s=_EXEC_TIMEOUT_S).strip()]
        if reached:
            self.unproven = f"{', '.join(reached)} still connects to {self._store.address}"
            return []
        if not self._store.answers():
            self.unproven = f"{self.target} answers nobody at all"
            return []
        facts = [f"{node.name} cannot connect to the object store at {self._store.address}" for node in self._nodes]
        return [*facts, "the object store answers others"]

    def heal(self) -> None:
        """Let the nodes reach the store again; a node that fails keeps none of the others from it.

        Raises:
            EnvironmentFailed: some nodes could not be; says which, and why.

        """
        each(
            (node.name, partial(node.exec, ["sh", "-c", TAKE_AWAY], timeout_s=_EXEC_TIMEOUT_S)) for node in self._nodes
        )


TAKE_AWAY = f"if nft list table inet {STORE_TABLE} >/dev/null 2>&1; then nft delete table inet {STORE_TABLE}; fi"
"""Takes the rule away on one node, where it is there."""


def object_store_unreachable(nodes: Sequence[Node], store: DistantStore) -> ObjectStoreUnreachable:
    """Make the fault that keeps a cluster's nodes from an object store.

    Raises:
        UsageError: there are no nodes.

    """
    if not nodes:
        raise UsageError("object_store_unreachable: found no nodes, accepted: all nodes of the cluster")
    return ObjectStoreUnreachable(nodes, store)


class ObjectStoreDestroyed(Fault):
    """An object store is gone, with everything that is kept in it.

    Nobody notices: users go on, and backups fail in the background. It is a disaster together with another one.
    """

    name = "object store destroyed"
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, store: ObjectStore) -> None:
        """Aim at a store as it is now.

        Raises:
            UsageError: it does not run.

        """
        self.target = f"object store/{store.name}"
        self._store = store
        self._parts = store.parts()
        if not self._parts or not store.answers():
            raise UsageError(f"object_store_destroyed {store.name!r}: found none that answers, accepted: one that runs")

    def inject(self) -> None:
        """Destroy the store and its disk."""
        self._store.destroy()

    def proof(self) -> list[str]:
        """Tell that server and disk are gone; nothing as long as one of them is there or the server answers."""
        left = self._store.left_of(self._parts)
        if left or self._store.answers():
            self.unproven = f"there is still {', '.join(left)}" if left else f"{self.target} still answers"
            return []
        return [f"{part} is gone" for part in self._parts]

    def heal(self) -> None:
        """Do nothing: a store that was destroyed has nothing to give back."""


def object_store_destroyed(store: ObjectStore) -> ObjectStoreDestroyed:
    """Make the fault that destroys an object store with all that is in it.

    Raises:
        UsageError: the store does not run.

    """
    return ObjectStoreDestroyed(store)
