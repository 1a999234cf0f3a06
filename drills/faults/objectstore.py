"""Faults of the object store that backups are kept in."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault


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
        if self._store.left_of(self._parts) or self._store.answers():
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
