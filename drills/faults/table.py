"""Faults of a database's content, made by someone who may."""

from __future__ import annotations

from typing import Any, Protocol

from drills.errors import UsageError, WriteRefused
from drills.faults import BlastRadius, Fault
from drills.waiting import in_a_line


class Database(Protocol):
    """A database that can be asked as the application asks it."""

    @property
    def namespace(self) -> str:
        """Where it is."""
        ...

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run a statement and return its rows; raises WriteRefused without an acknowledgement."""
        ...


class TableDropped(Fault):
    """Someone drops a table by mistake, as the application's own user.

    The database is as healthy as before; nothing but the application misses anything. The proof is asked by the users'
    way: the table of that object id is in the catalogue no more.
    """

    name = "table dropped"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, database: Database, table: str) -> None:
        """Aim at a table as it is now.

        Args:
            database: holds it.
            table: its name.

        Raises:
            UsageError: there is no such table.
            WriteRefused: the database did not say.
        """
        self.target = f"table/{database.namespace}/{table}"
        self._database = database
        self._table = table
        self._oid = self._find()
        if self._oid is None:
            raise UsageError(f"table_dropped {table!r}: found no such table, accepted: one that is there")

    def inject(self) -> None:
        """Drop the table."""
        self._database.ask(f"DROP TABLE {self._table}")

    def proof(self) -> list[str]:
        """Tell that the table is gone; a database that does not answer proves nothing."""
        try:
            now = self._find()
        except WriteRefused as trouble:
            self.unproven = in_a_line(trouble)
            return []
        self.unproven = f"the catalogue still has table {self._table} with object id {self._oid}"
        return (
            [] if now == self._oid else [f"table {self._table} with object id {self._oid} is gone from the catalogue"]
        )

    def heal(self) -> None:
        """Do nothing: bringing the table back is the procedure's."""

    def _find(self) -> object:
        ((oid,),) = self._database.ask(f"SELECT to_regclass('{self._table}')::oid")
        return oid


def table_dropped(database: Database, table: str) -> TableDropped:
    """Make the fault that drops a table.

    Raises:
        UsageError: there is no such table.
        WriteRefused: the database did not say.
    """
    return TableDropped(database, table)
