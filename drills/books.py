"""A ledger with books: every sale also moves goods, in a table that is larger than what the server keeps in memory.

A table that only grows says little about a copy of a live database: rows that are there are there. Here each sale
updates goods all over a table and its indexes in the same transaction, so that whatever a copy mixes of two moments
shows: sums that must agree do not, or an index and its table contradict each other. The server's own start, `SELECT`,
`pg_dump` and `pg_checksums` notice neither.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg import sql

from drills.ledger import Row
from drills.stores import Connection, PostgresLedger, Ways, commit
from drills.waiting import in_a_line

STOCK = "stock"
IN_STOCK = 1_000_000
"""Of each item, when the books are opened."""

_FILLER = 600
_STEP = 7919
"""A prime, so that one sale after the other touches pages far apart."""

_DAMAGE = ("XX", "58", "22", "42704", "42P01")
"""SQLSTATEs (classes, or whole) of what a damaged database answers: corruption, input and output errors, values that
cannot be decoded, objects that the catalogue names and that are not there."""

_INDEXES = """
SELECT i.indexrelid::regclass::text, i.indexrelid::bigint FROM pg_index i
  JOIN pg_class c ON c.oid = i.indexrelid JOIN pg_am a ON a.oid = c.relam
 WHERE a.amname = 'btree' AND c.relkind = 'i' AND c.relpersistence = 'p' AND i.indisvalid AND i.indisready ORDER BY 1
"""
_TABLES = """
SELECT c.oid::regclass::text, c.oid::bigint FROM pg_class c JOIN pg_am a ON a.oid = c.relam
 WHERE a.amname = 'heap' AND c.relkind IN ('r', 'm', 't') AND c.relpersistence = 'p' ORDER BY 1
"""
INDEXES_AGREE = "amcheck: every index agrees with its table (heapallindexed)"
TABLES_ARE_WHOLE = "amcheck: every table is whole (verify_heapam)"
BOOKS_BALANCE = "the books balance"


@dataclass(frozen=True)
class Finding:
    """What one check of restored data found.

    Attributes:
        name: the check, in words.
        ok: nothing is wrong.
        expected: what it looks for.
        got: what it found.
    """

    name: str
    ok: bool
    expected: str
    got: str


class Books(PostgresLedger):
    """A ledger in PostgreSQL whose every row has taken goods out of a stock, and whose data can be audited."""

    def __init__(
        self,
        entries: Ways,
        dbname: str,
        user: str,
        password: str,
        *,
        items: int = 16_000,
        per_sale: int = 8,
        amcheck: bool = True,
        **options: Any,  # noqa: ANN401 - those of PostgresLedger
    ) -> None:
        """Say where it is; nothing is sent yet.

        Args:
            entries: as for PostgresLedger.
            dbname: the database.
            user: the user.
            password: that user's.
            items: how many rows the stock has, of about 650 bytes each.
            per_sale: how many of them each sale updates, far apart.
            amcheck: audit with PostgreSQL's amcheck, which its user must be allowed to install (a superuser is).
            options: those of PostgresLedger.
        """
        super().__init__(entries, dbname, user, password, **options)
        self.items = items
        self.per_sale = per_sale
        self._amcheck = amcheck

    def create_schema(self) -> None:
        """Create the ledger and fill the stock, if they are not there.

        Raises:
            MissingData: there is no such database.
            WriteRefused: the server did not acknowledge it by the deadline.
        """
        super().create_schema()
        name = sql.Identifier(STOCK)
        table = sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (item int PRIMARY KEY, here bigint NOT NULL, sold bigint NOT NULL,"
            " note text NOT NULL)"
        )
        # On what every sale changes, so that no update leaves the indexes as they are.
        index = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (sold)")
        fill = sql.SQL("INSERT INTO {} SELECT n, %s, 0, repeat('x', %s) FROM generate_series(0, %s) n")
        empty = sql.SQL("SELECT NOT EXISTS (SELECT FROM {})")

        async def create(connection: Connection) -> None:
            await connection.execute(table.format(name))
            await connection.execute(index.format(sql.Identifier(f"{STOCK}_sold"), name))
            if (await (await connection.execute(empty.format(name))).fetchone() or [False])[0]:
                await connection.execute(fill.format(name), (IN_STOCK, _FILLER, self.items - 1))
            await commit(connection)

        self._persistently(create)

    async def _enter(self, connection: Connection, row: Row) -> None:
        """Take the row's goods out of the stock, in the same transaction."""
        await super()._enter(connection, row)
        await self._move(connection, row.seq, 1)

    def delete(self, seq: int) -> int:
        """Delete the rows of a number and put their goods back; see PostgresLedger.delete."""
        remove = sql.SQL("DELETE FROM {} WHERE seq = %s")

        async def refund(connection: Connection) -> int:
            removed = (await connection.execute(remove.format(sql.Identifier(self.table)), (seq,))).rowcount
            if removed:
                await self._move(connection, seq, -removed)
            await commit(connection)
            return removed

        return self._persistently(refund)

    def goods(self, seq: int) -> list[int]:
        """Return the items that the sale of a number takes one of each."""
        apart = self.items // self.per_sale
        return [(seq * _STEP + part * apart) % self.items for part in range(self.per_sale)]

    def audit(self) -> list[Finding]:
        """Check the data beyond its rows: tables and indexes with PostgreSQL's amcheck, and the sums of the books.

        The functions are those that `pg_amcheck --heapallindexed` calls. Neither half is enough: of 25 copies of live
        databases that had started and were corrupt amcheck found 13 and the sums others, both together all.

        Raises:
            WriteRefused: nobody answered by the deadline of `read`; nothing is known then.
        """
        found = []
        if self._amcheck:
            self._persistently(_install_amcheck)
            for name, relations, check in (
                (INDEXES_AGREE, _INDEXES, "SELECT bt_index_check(%s::bigint::oid::regclass, true)"),
                (TABLES_ARE_WHOLE, _TABLES, "SELECT blkno, msg FROM verify_heapam(%s::bigint::oid::regclass) LIMIT 1"),
            ):
                named = self._persistently(_listing(relations))
                # Each by itself: on a busy machine all of them together take longer than one statement may.
                wrong = [damage for one in named if (damage := self._persistently(_checking(check, *one)))]
                said = f"{len(named)} checked" + (f"; {len(wrong)} damaged: {'; '.join(wrong[:5])}" if wrong else "")
                found.append(Finding(name, bool(named) and not wrong, "nothing damaged", said))
        return [*found, self._persistently(self._balance)]

    async def _move(self, connection: Connection, seq: int, by: int) -> None:
        move = sql.SQL("UPDATE {} SET here = here - %s, sold = sold + %s WHERE item = ANY(%s)")
        await connection.execute(move.format(sql.Identifier(STOCK)), (by, by, self.goods(seq)))

    async def _balance(self, connection: Connection) -> Finding:
        """Compare, in one snapshot, what was sold by the ledger with what the stock says of it."""
        question = sql.SQL(
            "SELECT (SELECT count(*) FROM {ledger}), count(*), coalesce(sum(here), 0), coalesce(sum(sold), 0) FROM {}"
        ).format(sql.Identifier(STOCK), ledger=sql.Identifier(self.table))
        # Where all of it must be read from the table itself: an index that lacks a row must not hide it.
        await connection.execute("SET LOCAL enable_indexscan = off")
        await connection.execute("SET LOCAL enable_indexonlyscan = off")
        await connection.execute("SET LOCAL enable_bitmapscan = off")
        try:
            answer = await (await connection.execute(question)).fetchone()
        except psycopg.Error as error:
            if not _is_damage(error):
                raise
            await connection.rollback()
            return Finding(BOOKS_BALANCE, False, "sums that agree", in_a_line(error))
        await commit(connection)
        rows, items, here, sold = (int(one) for one in answer or (0, 0, 0, 0))
        wanted = (self.items, self.items * IN_STOCK, rows * self.per_sale)
        return Finding(
            BOOKS_BALANCE, (items, here + sold, sold) == wanted,
            f"{wanted[0]} items, {wanted[1]} goods, {wanted[2]} of them sold in {rows} orders",
            f"{items} items, {here + sold} goods, {sold} of them sold",
        )  # fmt: skip


async def _install_amcheck(connection: Connection) -> None:
    await connection.execute("CREATE EXTENSION IF NOT EXISTS amcheck")
    await commit(connection)


def _listing(relations: str) -> Callable[[Connection], Awaitable[list[tuple[str, int]]]]:
    """Make the question for some relations: name and object id of each."""

    async def names(connection: Connection) -> list[tuple[str, int]]:
        found = await (await connection.execute(relations.encode())).fetchall()
        await commit(connection)
        return [(str(name), int(oid)) for name, oid in found]

    return names


def _checking(check: str, name: str, oid: int) -> Callable[[Connection], Awaitable[str]]:
    """Make the check of one relation: what is wrong with it, or nothing."""

    async def one(connection: Connection) -> str:
        try:
            answers = await (await connection.execute(check.encode(), (oid,))).fetchall()
            await commit(connection)
        except psycopg.Error as error:
            if not _is_damage(error):
                raise
            await connection.rollback()
            return f"{name}: {in_a_line(error)}"
        return next((f"{name}, block {told[0]}: {told[1]}" for told in answers if len(told) > 1), "")

    return one


def _is_damage(error: psycopg.Error) -> bool:
    """Whether the server answered, and what it answered is that data is damaged."""
    return (error.sqlstate or "").startswith(_DAMAGE)
