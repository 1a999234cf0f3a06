"""What users do with an identity server, at whichever of its replicas answers: log in, and change something."""

from __future__ import annotations

import asyncio
import contextlib
import json
from collections.abc import Callable, Coroutine, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from typing import Any, Protocol, TypeAlias, TypeVar

from drills.errors import BadReading, DrillError, UsageError, WriteRefused
from drills.ledger import Row
from drills.probes import Entry, Probe
from drills.waiting import in_a_line

T = TypeVar("T")

READ_TIMEOUT_S = 20.0


class Refused(DrillError):  # noqa: N818 - the server's answer, not an error of the harness
    """The identity server answered, and not with success."""


class Session(Protocol):
    """What a user can do who is logged in; each raises Refused, or OSError where the connection does not last."""

    async def put(self, name: str, content: str) -> None:
        """Make a change of this name; without an answer it may be there or not."""
        ...

    async def changes(self) -> dict[str, str]:
        """Return all changes that this replica has, content by name."""
        ...


Login: TypeAlias = Callable[[str, int], AbstractAsyncContextManager[Session]]
"""Log a user in by (host, port) on a connection of its own; raises Refused or OSError. The caller bounds the time."""


def login_probe(
    name: str,
    entries: Sequence[tuple[str, int]],
    login: Login,
    **settings: Any,  # noqa: ANN401 - the fields of Probe, checked there
) -> Probe:
    """Make a probe that wants a user to be let in; a new connection for each reading, as a new user has."""

    async def ask(entry: Entry, _: float) -> None:
        try:
            async with login(entry.host, entry.port):
                pass
        except Refused as refusal:
            raise BadReading(str(refusal)) from refusal

    return Probe(name, entries, ask, **settings)


class ReplicatedLedger:
    """A ledger of changes in a replicated identity server: for each row a user logs in anywhere, and changes something.

    A row counts as there only where every replica has it: reading is refused as long as the replicas differ. So one
    that never catches up is found out, whatever it says of itself.
    """

    def __init__(
        self,
        entries: Sequence[tuple[str, int]],
        replicas: Mapping[str, Sequence[tuple[str, int]]],
        login: Login,
    ) -> None:
        """Say where it is; nothing is sent yet.

        Args:
            entries: (host, port) of every way in for users, one a node.
            replicas: the same for each replica alone, by its name.
            login: logs the user in.

        Raises:
            UsageError: there is no entry, or no replica.

        """
        if not entries or not replicas:
            raise UsageError(f"ReplicatedLedger: found entries={entries!r}, replicas={replicas!r}, accepted: some")
        self._entries = list(entries)
        self._replicas = dict(replicas)
        self._login = login
        self._turn = 0  # the entry to begin with

    def append(self, row: Row, timeout_s: float) -> None:
        """Add one row; return only when the replica that was asked acknowledged it. It is tried once.

        Raises:
            WriteRefused: no acknowledgement came within `timeout_s`; the outcome is unknown.

        """
        content = json.dumps([row.prev, row.payload, row.stamp, row.digest])

        async def change() -> None:
            async with contextlib.AsyncExitStack() as stack:
                session = await self._admitted(stack, "the row", self._entries, timeout_s)
                try:
                    await session.put(f"{row.seq:08d}", content)
                except BaseException:
                    self._turn += 1  # next time by another entry
                    raise

        _within(timeout_s, change(), "the row")

    def read(self) -> list[Row]:
        """Return every row, which every replica has, in the order of their numbers.

        Raises:
            WriteRefused: a replica does not answer, or they differ.

        """
        found = {name: self._changes_at(name, entries) for name, entries in self._replicas.items()}
        (first, rows), *others = found.items()
        for other, theirs in others:
            if theirs != rows:
                alone = [len(one.items() - two.items()) for one, two in ((rows, theirs), (theirs, rows))]
                raise WriteRefused(f"replicas differ: {first} has {alone[0]} rows alone, {other} has {alone[1]}")
        return sorted((_row(name, content) for name, content in rows.items()), key=lambda row: row.seq)

    def _changes_at(self, replica: str, entries: Sequence[tuple[str, int]]) -> dict[str, str]:
        async def ask() -> dict[str, str]:
            async with contextlib.AsyncExitStack() as stack:
                session = await self._admitted(stack, replica, entries, READ_TIMEOUT_S)
                return await session.changes()

        return _within(READ_TIMEOUT_S, ask(), replica)

    async def _admitted(
        self, stack: contextlib.AsyncExitStack, what: str, entries: Sequence[tuple[str, int]], timeout_s: float
    ) -> Session:
        """Log in by the first entry that lets this user in; nothing is changed yet, so each of them may be tried."""
        whys = []
        for place in range(len(entries)):
            host, port = entries[(self._turn + place) % len(entries)]
            try:
                async with asyncio.timeout(timeout_s / (len(entries) + 1)):
                    return await stack.enter_async_context(self._login(host, port))
            except (Refused, OSError) as error:
                whys.append(f"{host}:{port}: {in_a_line(error)}")
        raise WriteRefused(f"{what}: {'; '.join(whys)}")


def _within(timeout_s: float, work: Coroutine[Any, Any, T], what: str) -> T:
    """Run a coroutine to its end or its deadline, in a loop of its own: the caller's thread has none."""
    try:
        return asyncio.run(asyncio.wait_for(work, timeout_s))
    except TimeoutError as error:
        raise WriteRefused(f"{what}: no answer within {timeout_s:g} s") from error
    except (Refused, OSError) as error:
        raise WriteRefused(f"{what}: {in_a_line(error)}") from error


def _row(name: str, content: str) -> Row:
    """Read a row back as it stands; one that was edited beyond recognition keeps its place and no more."""
    number = int(name) if name.isdigit() else -1
    try:
        prev, payload, stamp, digest = map(str, json.loads(content))
    except (ValueError, TypeError):
        prev = payload = stamp = digest = ""
    return Row(number, prev, payload, stamp, digest)
