"""Where ledgers are kept: a table in PostgreSQL, ConfigMaps in the API server (etcd's own data), a service over HTTP.

All keep what they are given and nothing cleverer: a store that refused a second row of the same number would hide that
a restore brought it twice.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import os
import socket
import threading
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict
from typing import Any, TypeVar

import psycopg
from psycopg import sql

from drills import web
from drills.errors import BadReading, UsageError, WriteRefused
from drills.kube import Kube, KubeError, Manifest
from drills.ledger import Row
from drills.redaction import kept
from drills.waiting import in_a_line

T = TypeVar("T")
Entry = tuple[str, int]
Ways = Sequence[Entry] | Callable[[], Sequence[Entry]]
Connection = psycopg.AsyncConnection[tuple[Any, ...]]

_LARGEST_LEDGER = 1 << 26
_GETS_AT_ONCE = 8

GRACE_S = 0.2
"""Seconds that an abandoned statement is given to end by itself, once its socket is shut."""


class MissingData(WriteRefused):
    """The service answers, and what holds the ledger (database, table, namespace) is not there."""


class PostgresLedger:
    """A ledger in a PostgreSQL table, reached through one entry per node.

    One connection is kept. Whenever it fails, the next append connects anew, beginning with the entry after the one
    that failed, as a client behind a load balancer would find itself on another node.

    The table has no unique key on purpose: duplicated rows must be able to exist, so that they can be counted. A key
    would turn a restore that runs twice into an error on the restore's side, or, under ON CONFLICT DO NOTHING, into
    silence. The time at which the server took each row (`landed`) is for whoever looks into a loss by hand.

    Every statement runs under a deadline of its own on the client's side, because a server whose packets are dropped
    never answers and never refuses. psycopg cannot be left to keep it: a cancelled statement asks the server to cancel
    and waits 5 s for its answer. So a late statement has its socket shut under it, which ends it here at once, and the
    server gives up on its side by `statement_timeout`.
    """

    def __init__(
        self,
        entries: Ways,
        dbname: str,
        user: str,
        password: str,
        table: str = "ledger",
        connect_timeout_s: float = 1.0,
        read_timeout_s: float = 30.0,
    ) -> None:
        """Say where the ledger is; nothing is sent yet.

        Args:
            entries: (host, port) of every way in, usually one per node; a callable is asked before every connection,
                must answer at once, and raises OSError when it does not know.
            dbname: the database.
            user: the user.
            password: that user's; kept out of errors and repr.
            table: the table, in the user's search path.
            connect_timeout_s: longest wait for one entry, in seconds.
            read_timeout_s: deadline of `read`, `create_schema` and `delete`, in seconds.

        Raises:
            UsageError: there is no entry.

        """
        self._ways = entries
        self.entries = self._look_up()
        if not self.entries:
            raise UsageError("PostgresLedger entries: found none, accepted: one (host, port) or more")
        self.table = table
        self._dbname = dbname
        self._user = user
        self._password = password
        self._connect_timeout_s = connect_timeout_s
        self._read_timeout_s = read_timeout_s
        self._turn = 0  # the entry to begin with
        self._kept: Connection | None = None
        self._limit_ms = 0  # the kept connection's statement_timeout; 0 before it is set
        self._lock = threading.Lock()  # one statement at a time: the writer's thread appends, the drill's own reads
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name=f"ledger-{table}", daemon=True)
        self._thread.start()

    def __repr__(self) -> str:
        ways = ", ".join(f"{host}:{port}" for host, port in self.entries)
        return f"PostgresLedger({self._dbname}.{self.table} at {ways})"

    def append(self, row: Row, timeout_s: float) -> None:
        """Insert one row; return only when the server acknowledged its COMMIT.

        Returns or raises within `timeout_s` (and `GRACE_S`). It is tried once: after a COMMIT without an answer the
        row may be there or not, and a second try would make it two.

        Raises:
            WriteRefused: no acknowledgement came; the outcome is unknown.

        """

        async def insert(connection: Connection) -> None:
            await self._enter(connection, row)
            await commit(connection)

        self._once(insert, timeout_s)

    async def _enter(self, connection: Connection, row: Row) -> None:
        """Write one row within the transaction; what belongs to it in other tables is written here, too."""
        statement = sql.SQL("INSERT INTO {} (seq, prev, payload, stamp, digest) VALUES (%s, %s, %s, %s, %s)")
        values = (row.seq, row.prev, row.payload, row.stamp, row.digest)
        await connection.execute(statement.format(sql.Identifier(self.table)), values)

    def read(self) -> list[Row]:
        """Return every row in the table, in the order of their numbers, duplicates and strangers included.

        Tries every entry, again and again, to its deadline: asked right after a recovery, one of them may be late.

        Raises:
            MissingData: the server answers, and there is no such database or table.
            WriteRefused: nobody answered by the deadline.

        """
        statement = sql.SQL("SELECT seq, prev, payload, stamp, digest FROM {} ORDER BY seq, landed")

        async def select(connection: Connection) -> list[Row]:
            found = await connection.execute(statement.format(sql.Identifier(self.table)))
            rows = [Row(*values) for values in await found.fetchall()]
            await commit(connection)  # an open transaction would hold back what a backup or a failover waits for
            return rows

        return self._persistently(select)

    def create_schema(self) -> None:
        """Create the table if it is not there.

        Raises:
            MissingData: there is no such database.
            WriteRefused: the server did not acknowledge it by the deadline.

        """
        table = sql.SQL(
            "CREATE TABLE IF NOT EXISTS {} (seq bigint NOT NULL, prev text NOT NULL, payload text NOT NULL,"
            " stamp text NOT NULL, digest text NOT NULL, landed timestamptz NOT NULL DEFAULT clock_timestamp())"
        )
        index = sql.SQL("CREATE INDEX IF NOT EXISTS {} ON {} (seq)")
        # Without a key, logical replication can tell rows apart only by all of their columns.
        identity = sql.SQL("ALTER TABLE {} REPLICA IDENTITY FULL")

        async def create(connection: Connection) -> None:
            name = sql.Identifier(self.table)
            await connection.execute(table.format(name))
            await connection.execute(index.format(sql.Identifier(f"{self.table}_seq"), name))
            await connection.execute(identity.format(name))
            await commit(connection)

        self._persistently(create)

    def delete(self, seq: int) -> int:
        """Delete the rows of a number; return how many there were, once the COMMIT is acknowledged.

        Repeating it does no harm, so it is tried to the deadline; after a try whose outcome is unknown, the count is
        that of the last one.

        Raises:
            MissingData: there is no such database or table.
            WriteRefused: the server did not acknowledge it by the deadline.

        """
        statement = sql.SQL("DELETE FROM {} WHERE seq = %s")

        async def remove(connection: Connection) -> int:
            removed = await connection.execute(statement.format(sql.Identifier(self.table)), (seq,))
            await commit(connection)
            return removed.rowcount

        return self._persistently(remove)

    def ask(self, statement: str) -> list[tuple[Any, ...]]:
        """Run any statement once, in a transaction of its own, and return its rows: what people do to a database.

        Raises:
            MissingData: the server answers, and there is no such database or table.
            WriteRefused: no acknowledgement came by the deadline of `read`; the outcome is unknown.

        """

        async def work(connection: Connection) -> list[tuple[Any, ...]]:
            answer = await connection.execute(statement.encode())
            rows = await answer.fetchall() if answer.description else []
            await commit(connection)
            return rows

        return self._once(work, self._read_timeout_s)

    def close(self) -> None:
        """Close the connection and end the store's thread. Idempotent."""
        if not self._thread.is_alive():
            return
        with self._lock:
            self._wait_for(self._drop(), GRACE_S)
            self._loop.call_soon_threadsafe(self._loop.stop)
            self._thread.join(timeout=5)
        if not self._loop.is_running():
            self._loop.close()

    # Deadlines. The loop lives in its own thread, so that a caller waits as long as it wants and no longer, and may be
    # a thread that has a loop of its own.

    def _once(self, work: Callable[[Connection], Awaitable[T]], timeout_s: float) -> T:
        with self._lock:
            # The grace is the loop's to use; past it something blocks the loop itself, which must not block the caller.
            return self._wait_for(self._bounded(work, timeout_s), timeout_s + 2 * GRACE_S)

    def _persistently(self, work: Callable[[Connection], Awaitable[T]]) -> T:
        deadline = time.monotonic() + self._read_timeout_s
        while True:
            # A third at most for one try, so that a server that hangs leaves time to ask another.
            left_s = min(deadline - time.monotonic(), max(self._read_timeout_s / 3, 1.0))
            try:
                return self._once(work, max(left_s, GRACE_S))
            except MissingData:
                raise
            except WriteRefused as refusal:
                if time.monotonic() + GRACE_S >= deadline:
                    raise WriteRefused(f"{self!r}: no answer within {self._read_timeout_s:g} s: {refusal}") from refusal
            threading.Event().wait(GRACE_S)  # a server that refuses at once must not be asked in a tight loop

    def _wait_for(self, coroutine: Coroutine[Any, Any, T], timeout_s: float) -> T:
        future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result(timeout_s)
        except TimeoutError as error:
            future.cancel()
            raise WriteRefused(f"{self!r}: no answer within {timeout_s:g} s") from error

    async def _bounded(self, work: Callable[[Connection], Awaitable[T]], timeout_s: float) -> T:
        deadline = time.monotonic() + timeout_s
        connection = await self._connected(deadline, timeout_s)
        name = self._name()
        task = asyncio.ensure_future(self._prepared(connection, work, timeout_s))
        await asyncio.wait({task}, timeout=max(0.0, deadline - time.monotonic()))
        if not task.done():
            task.add_done_callback(_hear_out)
            _shut(connection)
            await asyncio.wait({task}, timeout=GRACE_S)
            await self._give_up_on_kept(close=task.done())
            raise WriteRefused(f"{name}: no answer within {timeout_s:g} s")
        good = False
        try:
            answer = task.result()
            good = True
        except (psycopg.Error, OSError) as error:
            raise _refusal(name, error, self._dbname) from error
        finally:
            if not good:
                await self._give_up_on_kept(close=True)
        return answer

    async def _prepared(
        self, connection: Connection, work: Callable[[Connection], Awaitable[T]], timeout_s: float
    ) -> T:
        limit_ms = math.ceil(timeout_s * 1000)
        if limit_ms != self._limit_ms:
            # SET, not the `options` of the start-up packet: poolers refuse those.
            await connection.execute("SET synchronous_commit = on")
            await connection.execute(sql.SQL("SET statement_timeout = {}").format(sql.Literal(limit_ms)))
            await commit(connection)
            self._limit_ms = limit_ms
        return await work(connection)

    async def _connected(self, deadline: float, timeout_s: float) -> Connection:
        """Return the kept connection, or a new one to the first entry that lets one in."""
        if self._kept is not None and not self._kept.closed:
            return self._kept
        try:
            self.entries = self._look_up() or self.entries
        except OSError as error:
            raise WriteRefused(f"{self!r}: {in_a_line(error)}") from error
        failures: list[WriteRefused] = []
        for left in range(len(self.entries), 0, -1):
            # Entries left to try share what is left of the time: one that swallows packets must not use it up.
            share_s = min(self._connect_timeout_s, max(0.0, deadline - time.monotonic()) / left)
            try:
                async with asyncio.timeout(share_s):  # only connecting may be cancelled, see the class
                    self._kept = await self._connect(timeout_s)
            except TimeoutError:
                failures.append(WriteRefused(f"{self._name()}: no connection within {share_s:.2g} s"))
            except (psycopg.Error, OSError) as error:
                failures.append(_refusal(self._name(), error, self._dbname))
            else:
                self._limit_ms = 0
                return self._kept
            self._turn += 1
        missing = [failure for failure in failures if isinstance(failure, MissingData)]
        if len(missing) == len(failures):
            raise missing[0]
        raise WriteRefused("; ".join(str(failure) for failure in failures))

    async def _connect(self, timeout_s: float) -> Connection:
        host, port = self.entries[self._turn % len(self.entries)]
        return await psycopg.AsyncConnection.connect(
            host=host,
            port=port,
            dbname=self._dbname,
            user=self._user,
            password=self._password,
            application_name="pytest-drills",
            # Below the deadlines above, for what they do not see: a kept connection whose other side is gone.
            tcp_user_timeout=math.ceil(timeout_s * 1000),
            keepalives_idle=1,
            keepalives_interval=1,
            keepalives_count=2,
        )

    async def _give_up_on_kept(self, *, close: bool) -> None:
        """Begin with the next entry next time; a connection still in use is left to its statement."""
        self._turn += 1
        if close:
            await self._drop()
        self._kept = None

    async def _drop(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            _shut(kept)
            with contextlib.suppress(psycopg.Error, OSError):
                await kept.close()

    def _look_up(self) -> tuple[Entry, ...]:
        return tuple(self._ways() if callable(self._ways) else self._ways)

    def _name(self) -> str:
        host, port = self.entries[self._turn % len(self.entries)]
        return f"{host}:{port}"


class ConfigMapLedger:
    """A ledger in the API server itself: one ConfigMap a row, so that the rows are etcd's own data.

    For drills that lose etcd. ConfigMaps are named after the row's number, so the API server keeps them unique; a copy
    that a restore brings in under another name carries the same label and is read as what it is, a duplicate.
    """

    LABEL = "drills.dev/ledger"

    def __init__(self, kube: Kube, namespace: str, prefix: str = "ledger") -> None:
        """Say where the ledger is; nothing is sent yet.

        Args:
            kube: the cluster.
            namespace: an existing namespace.
            prefix: the start of the ConfigMaps' names, and the value of their label.

        """
        self.namespace = namespace
        self.prefix = prefix
        self._kube = kube
        self._acknowledged: set[int] = set()

    def append(self, row: Row, timeout_s: float) -> None:
        """Create one row's ConfigMap; return only when the API server acknowledged it, which it does once etcd has.

        Raises:
            WriteRefused: no acknowledgement came within `timeout_s`; the outcome is unknown.

        """
        manifest: Manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self._name(row.seq), "labels": {self.LABEL: self.prefix}},
            "data": {field: str(value) for field, value in asdict(row).items()},
        }
        try:
            self._kube.create(manifest, self.namespace, timeout_s=timeout_s)
        except KubeError as error:
            raise WriteRefused(in_a_line(error)) from error
        self._acknowledged.add(row.seq)

    def read(self) -> list[Row]:
        """Return every row found, in the order of their numbers.

        Every object is asked for by its name as well: an API server that ran on while etcd was restored under it lists
        objects that are gone and hides new ones, with `/readyz` at 200, until it is restarted (seen with Kubernetes
        1.37: GET goes to etcd, LIST to a cache). Data that reads differently twice is not back.

        Raises:
            MissingData: the namespace is not there.
            WriteRefused: the API server did not list them, or its list contradicts what it answers for single ones.

        """
        try:
            if self._kube.get("Namespace", self.namespace) is None:
                raise MissingData(f"namespace {self.namespace} is not there")
            before = {self._name(seq) for seq in tuple(self._acknowledged)}
            found = self._kube.list("ConfigMap", self.namespace, labels=f"{self.LABEL}={self.prefix}")
            self._refuse_contradiction({one["metadata"]["name"] for one in found}, before)
        except KubeError as error:
            raise WriteRefused(in_a_line(error)) from error
        return sorted((_row(one) for one in found), key=lambda row: row.seq)

    def _refuse_contradiction(self, listed: set[str], acknowledged: set[str]) -> None:
        names = sorted(listed | acknowledged)
        with ThreadPoolExecutor(_GETS_AT_ONCE) as pool:
            there = dict(zip(names, pool.map(self._exists, names), strict=True))
        ghosts = [name for name in names if name in listed and not there[name]]
        hidden = [name for name in names if name not in listed and there[name]]
        if ghosts or hidden:
            raise WriteRefused(
                f"the API server contradicts itself: it lists {len(ghosts)} objects that are not there "
                f"({', '.join(ghosts[:3]) or 'none'}) and hides {len(hidden)} that are "
                f"({', '.join(hidden[:3]) or 'none'}); restart it"
            )

    def _exists(self, name: str) -> bool:
        return self._kube.get("ConfigMap", name, self.namespace) is not None

    def delete(self, seq: int) -> int:
        """Delete the row of a number; return how many there were (0 or 1), once the API server acknowledged it.

        Raises:
            WriteRefused: it did not.

        """
        self._acknowledged.discard(seq)
        try:
            return int(self._kube.delete("ConfigMap", self._name(seq), self.namespace))
        except KubeError as error:
            raise WriteRefused(in_a_line(error)) from error

    def close(self) -> None:
        """Do nothing: the cluster's connections are not the store's."""

    def _name(self, seq: int) -> str:
        return f"{self.prefix}-{seq:08d}"


class HttpLedger:
    """A ledger behind an application that users reach over HTTP: POST takes a row, GET gives all of them, as JSON.

    What the application needs for that, logins and databases, it needs for each row, so that a receipt says that all
    of it works. A row is sent once, by one way in; after a refusal the next one is sent by the next way.
    """

    def __init__(
        self, entries: Ways, path: str, headers: Mapping[str, str] | None = None, read_timeout_s: float = 30.0
    ) -> None:
        """Say where it is; nothing is sent yet.

        Args:
            entries: (host, port) of every way in; a callable is asked before every request, must answer at once, and
                raises OSError when it does not know.
            path: where rows are posted, and got.
            headers: sent along, such as those of `drills.web.basic`.
            read_timeout_s: deadline of `read`, in seconds.

        """
        self._ways = entries
        self._path = path
        self._headers = dict(headers or {})
        self._read_timeout_s = read_timeout_s
        self._turn = 0

    def append(self, row: Row, timeout_s: float) -> None:
        """Post one row; return only when the application acknowledged it with 200.

        Raises:
            WriteRefused: no acknowledgement came within `timeout_s`; the outcome is unknown.

        """
        self._ask(timeout_s, method="POST", body=json.dumps(asdict(row)))

    def read(self) -> list[Row]:
        """Return every row that the application gives, in the order of their numbers.

        Raises:
            WriteRefused: it gave none in time, or something else than rows.

        """
        text = self._ask(self._read_timeout_s, largest=_LARGEST_LEDGER)
        try:
            return sorted((_row({"data": one}) for one in json.loads(text)), key=lambda row: row.seq)
        except (ValueError, TypeError, AttributeError) as error:
            raise WriteRefused(f"{self._path}: found no rows: {in_a_line(error)}") from error

    def close(self) -> None:
        """Do nothing: no connection is kept."""

    def _ask(self, timeout_s: float, **request: Any) -> str:  # noqa: ANN401 - as web.ask takes it
        async def answer() -> tuple[int, str]:
            ways = self._ways() if callable(self._ways) else self._ways
            way = ways[self._turn % len(ways)]
            return await web.ask(way, self._path, headers=self._headers, **request)

        try:
            status, text = asyncio.run(asyncio.wait_for(answer(), timeout_s))
        except TimeoutError as error:
            self._turn += 1
            raise WriteRefused(f"{self._path}: no answer within {timeout_s:g} s") from error
        except (BadReading, OSError) as error:
            self._turn += 1
            raise WriteRefused(f"{self._path}: {in_a_line(error)}") from error
        if status != 200:
            self._turn += 1
            raise WriteRefused(f"{self._path}: answered {status}: {kept(text, 200)}")
        return text


def _row(kept: Manifest) -> Row:
    """Read a row back as it stands; one that was edited beyond recognition keeps its place with what is left of it."""
    data = kept.get("data") or {}
    number = str(data.get("seq", ""))
    return Row(int(number) if number.isdigit() else -1, *(str(data.get(key, "")) for key in _TEXTS))


_TEXTS = ("prev", "payload", "stamp", "digest")


async def commit(connection: Connection) -> None:
    """Commit, and believe only the word COMMIT: a failed transaction answers COMMIT with ROLLBACK, and no error."""
    answer = await connection.execute("COMMIT")
    if answer.statusmessage != "COMMIT":
        raise psycopg.OperationalError(f"COMMIT was answered with {answer.statusmessage}")


def _shut(connection: Connection) -> None:
    """Shut a connection's socket down, which ends what waits for it; closing would free its number for the next one."""
    if connection.closed:
        return
    with contextlib.suppress(OSError), socket.socket(fileno=os.dup(connection.pgconn.socket)) as double:
        double.shutdown(socket.SHUT_RDWR)


def _hear_out(task: asyncio.Future[Any]) -> None:
    """Take note of how an abandoned statement ended; asyncio complains of failures that nobody asked about."""
    if not task.cancelled():
        task.exception()


def _refusal(name: str, error: psycopg.Error | OSError, dbname: str) -> WriteRefused:
    told = f"{name}: {in_a_line(error)}"
    # libpq passes on no SQLSTATE while it connects, only the server's words (English in every image we know).
    if isinstance(error, psycopg.errors.UndefinedTable) or f'database "{dbname}" does not exist' in str(error):
        return MissingData(told)
    return WriteRefused(told)
