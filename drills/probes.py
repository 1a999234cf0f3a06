"""Probes ask what the users ask, at a fixed rate, from before the fault to after the end.

A reading is an answer of the application, not an open socket: Docker's port proxy accepts connections for a dead
backend. A reading enters through the entry that answered last and fails over to the others, as a load balancer
would: a published port belongs to one node, and a dead node must not look like a dead service.

Why `slow_after_s`: an outage that ends just before a request's time-out would pass as one slow good answer. With it an
outage is bounded to two intervals plus twice `slow_after_s`, which is the time-out by default, also where the target
freezes and answers everything late. See docs/measuring.md.
"""

from __future__ import annotations

import asyncio
import bisect
import contextlib
import inspect
import math
import os
import threading
from collections.abc import Awaitable, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import partial
from typing import Any, Literal, NamedTuple, TypeAlias

import psycopg

from drills import foreign, precedence, web
from drills.clock import Clock
from drills.errors import BadReading, MeasuringBroke, UsageError, WaitTimeout
from drills.history import History
from drills.quiet import keep_quiet
from drills.recovery import Reading
from drills.redaction import kept

keep_quiet()  # a reading that is given up is nothing to warn of

_BEAT_S = 0.01
_STOP_GRACE_S = 15.0  # psycopg waits up to 10 s for a server that hangs when a query is cancelled


class Entry(NamedTuple):
    """One way into the service: a node's published port."""

    host: str
    port: int

    def __str__(self) -> str:
        return f"{self.host}:{self.port}"


Ways: TypeAlias = Sequence[tuple[str, int]] | Callable[[], Sequence[tuple[str, int]]]
"""The ways into a service: fixed, or looked up anew for every reading, as users do who go by a name."""

Ask: TypeAlias = Callable[[Entry, float], Awaitable[None]]
"""Ask through one entry within so many seconds; raises BadReading or OSError for anything but a good answer."""


@dataclass(frozen=True)
class Probe:
    """One question that is asked again and again.

    Attributes:
        name: what a good answer means, such as "shop takes orders".
        entries: the ways in, one a node; a probe that needs none has one entry that its `ask` ignores. A callable is
            asked before every reading, must answer at once, and raises OSError when it does not know.
        ask: raises BadReading(why) for a bad answer; an exception of a client's own is one, too. Those that Python
            itself raises for wrong code (KeyError, TypeError ...) are a defect of the probe, and end the drill.
        interval_s: one reading is started every so many seconds.
        timeout_s: a reading is abandoned after that.
        slow_after_s: an answer later than that is a bad reading; half the time-out by default.
        failover_after_s: the other entries are asked too when the first has not answered by then.
        role: "user" for the users' own path, by which the drill is judged; "extra" for what is only shown.

    """

    name: str
    entries: Ways
    ask: Ask
    interval_s: float = 0.05
    timeout_s: float = 1.0
    slow_after_s: float = 0.0
    failover_after_s: float = 0.15
    role: Literal["user", "extra"] = "user"

    def __post_init__(self) -> None:
        if not callable(self.entries):
            object.__setattr__(self, "entries", tuple(Entry(*entry) for entry in self.entries))
        if not self.entries:
            raise UsageError(f"probe {self.name!r}, entries: found none, accepted: at least one (host, port)")
        object.__setattr__(self, "slow_after_s", self.slow_after_s or self.timeout_s / 2)
        if not 0 < self.slow_after_s <= self.timeout_s or self.interval_s <= 0:
            raise UsageError(
                f"probe {self.name!r}: found interval_s={self.interval_s}, timeout_s={self.timeout_s}, "
                f"slow_after_s={self.slow_after_s}, accepted: all more than 0, slow_after_s at most timeout_s"
            )

    def ways(self) -> tuple[Entry, ...]:
        """Return the ways in as they are now; raises OSError when they cannot be looked up."""
        return tuple(Entry(*entry) for entry in (self.entries() if callable(self.entries) else self.entries))


def http_probe(
    name: str,
    entries: Ways,
    path: str = "/",
    expect: str = "",
    host: str | None = None,
    headers: Mapping[str, str] | None = None,
    **settings: Any,  # noqa: ANN401 - the fields of Probe, checked there
) -> Probe:
    """Make a probe that wants `200` and `expect` in the body; a new connection for each reading, as a new user has."""
    told = {**({"Host": host} if host else {}), **(headers or {})}
    return Probe(name, entries, partial(_ask_http, path, expect, told), **settings)


def postgres_probe(
    name: str,
    entries: Ways,
    dbname: str,
    user: str,
    password: str,
    query: str = "SELECT 1",
    **settings: Any,  # noqa: ANN401 - the fields of Probe, checked there
) -> Probe:
    """Make a probe that wants at least one row for `query`; a new connection for each reading, as a new user has."""
    login: dict[str, Any] = {"dbname": dbname, "user": user, "password": password}
    return Probe(name, entries, partial(_ask_postgres, login, query), **settings)


def callable_probe(
    name: str,
    fn: Callable[[float], Awaitable[None] | None],
    **settings: Any,  # noqa: ANN401 - the fields of Probe, checked there
) -> Probe:
    """Make a probe of anything else, by default in the role "extra".

    `fn` is given the time-out in seconds and raises BadReading, or what its client raises, for a bad answer. A plain
    function runs in a thread, which nobody can interrupt, and must keep to the time-out by itself.
    """
    settings.setdefault("role", "extra")
    return Probe(name, [Entry("", 0)], partial(_ask_callable, fn), **settings)


async def _ask_http(path: str, expect: str, headers: Mapping[str, str], entry: Entry, timeout_s: float) -> None:
    status, body = await web.ask(entry, path, headers=headers)
    if status != 200:
        raise BadReading(f"answered {status}")
    if expect not in body:
        raise BadReading(f"answered 200 without {expect!r}: {kept(body, 80)!r}")


async def _ask_postgres(login: dict[str, Any], query: str, entry: Entry, timeout_s: float) -> None:
    try:
        connection = await psycopg.AsyncConnection.connect(
            "", host=entry.host, port=entry.port, connect_timeout=max(2, math.ceil(timeout_s)), autocommit=True, **login
        )
    except psycopg.Error as error:
        raise BadReading(_in_a_line(error)) from error
    try:
        answer = await connection.execute(query.encode())
        if await answer.fetchone() is None:
            raise BadReading("answered no row")
    except psycopg.Error as error:
        raise BadReading(_in_a_line(error)) from error
    finally:
        # Without this a cancelled reading would leave its connection to the garbage collector.
        with contextlib.suppress(psycopg.Error, OSError):
            await connection.close()


async def _ask_callable(fn: Callable[[float], Awaitable[None] | None], entry: Entry, timeout_s: float) -> None:
    if inspect.iscoroutinefunction(fn):
        await fn(timeout_s)
        return
    waiting = await asyncio.to_thread(fn, timeout_s)
    if waiting is not None:
        await waiting


def _first(failure: BaseException) -> str:
    """Say what killed the sampler: the probe's defect, out of the group that asyncio makes of it."""
    while isinstance(failure, BaseExceptionGroup):
        failure = failure.exceptions[0]
    return str(failure) if isinstance(failure, MeasuringBroke) else repr(failure)


def _in_a_line(error: BaseException) -> str:
    if isinstance(error, OSError) and (error.errno or 0) > 0:
        return os.strerror(error.errno or 0)  # asyncio's own text for a refused connection does not say that it was
    return " ".join(str(error).split()) or type(error).__name__


_NOWHERE = Entry("", 0)


@dataclass
class _State:
    """What the sampler knows of one probe."""

    probe: Probe
    entry: Entry = _NOWHERE  # the one that answered last
    planned: int = 0
    taken: int = 0
    late_max_s: float = 0.0
    next_place: int = 0
    done: dict[int, Reading] = field(default_factory=dict)
    run: list[Reading] = field(default_factory=list)
    last: Reading | None = None


class Sampler:
    """Takes the readings of several probes, from a thread with an event loop of its own.

    One reading of each probe is started every interval, on an absolute schedule and whatever the pending ones do: a
    target that hangs makes bad readings, never a gap. Needs a clock that moves by itself.

    When the harness itself stands still (a starved machine), that time is not held against the target: it is measured,
    kept with the reading (`stalled_s`) and only widens the bounds.

    Args:
        probes: names must differ.
        history: receives probe, reading and probe_ended events.
        clock: the history's clock by default.
        need: how many good readings in a row make a lasting run, kept in the history for those who measure.

    """

    def __init__(
        self, probes: Sequence[Probe], history: History, clock: Clock | None = None, *, need: int = 60
    ) -> None:
        names = [probe.name for probe in probes]
        if not probes or len(set(names)) < len(names):
            raise UsageError(f"probes: found {names}, accepted: at least one, each with a name of its own")
        self.need = need
        self._history = history
        self._clock = clock or history.clock
        self._states = {probe.name: _State(probe) for probe in probes}
        self._changed = threading.Condition()
        self._failure: BaseException | None = None
        self._ended = False
        self._thread: threading.Thread | None = None
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._ready = threading.Event()
        self._stalled_s = 0.0
        self._beat_due = math.inf

    @property
    def probes(self) -> list[Probe]:
        """The probes that are sampled."""
        return [state.probe for state in self._states.values()]

    @property
    def running(self) -> bool:
        """Whether readings are being taken."""
        return self._thread is not None and self._thread.is_alive() and self._failure is None

    def start(self) -> None:
        """Begin to sample; raises UsageError if it was started before."""
        if self._thread is not None:
            raise UsageError("sampler: found it started twice, accepted: once")
        for state in self._states.values():
            probe = state.probe
            self._history.record(
                "probe",
                probe=probe.name,
                interval_s=probe.interval_s,
                timeout_s=probe.timeout_s,
                slow_after_s=probe.slow_after_s,
                need=self.need,
                entries=[str(entry) for entry in probe.ways()],
                role=probe.role,
            )
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()
        self._ready.wait()

    def stop(self) -> None:
        """Take no further reading, let the pending ones end, and join the thread. Idempotent.

        Raises:
            MeasuringBroke: if sampling died before.

        """
        if self._thread is None:
            return
        if self._loop is not None and self._stopping is not None:
            with contextlib.suppress(RuntimeError):  # the loop is closed already: the thread has ended
                self._loop.call_soon_threadsafe(self._stopping.set)
        longest = max(state.probe.timeout_s for state in self._states.values())
        self._thread.join(longest + _STOP_GRACE_S)
        if self._thread.is_alive():
            raise MeasuringBroke(
                f"sampling did not stop within {longest + _STOP_GRACE_S:g} s: a probe ignores its time-out"
            )
        self._raise_failure()

    def consecutive_good(self, name: str, since: float | None = None) -> int:
        """How many good readings of a probe there are in a row up to now, those sent at or after `since`.

        Readings count in the order they were sent; one that is still pending holds back those after it.
        """
        with self._changed:
            return len(self._good_since(name, since))

    def last(self, name: str) -> str:
        """Put the last reading of a probe into words."""
        with self._changed:
            reading = self._states[name].last
        if reading is None:
            return "no reading yet"
        return f"good answer via {reading.via}" if reading.ok else f"{reading.why} at {reading.sent:.2f} s"

    def wait_for_good(self, name: str, n: int, within_s: float, since: float | None = None) -> Reading:
        """Wait for a run of `n` good readings of a probe, sent at or after `since`, that is still unbroken.

        Returns:
            The first reading of that run at or after `since`.

        Raises:
            WaitTimeout: if there is no such run by then; says what the last reading was.
            MeasuringBroke: if sampling has died.

        """
        with self._changed:
            done = self._changed.wait_for(
                lambda: len(self._good_since(name, since)) >= n or self._failure is not None or self._ended, within_s
            )
            run = self._good_since(name, since)
        self._raise_failure()
        if len(run) >= n:
            return run[0]
        if done:
            raise MeasuringBroke(f"probe {name!r}: sampling ended while {n} good readings were waited for")
        raise WaitTimeout(
            f"probe {name!r}: {n} good readings in a row", f"{self.last(name)}, {len(run)} good in a row", within_s
        )

    def _good_since(self, name: str, since: float | None) -> list[Reading]:
        run = self._states[name].run
        return run if since is None else run[bisect.bisect_left(run, since, key=lambda reading: reading.sent) :]

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise MeasuringBroke(f"sampling died: {_first(self._failure)}") from self._failure

    def _run(self) -> None:
        precedence.take()
        try:
            asyncio.run(self._sample())
        except BaseException as error:  # noqa: BLE001 - kept for stop() and the waits, which raise it: a thread has no caller
            self._failure = error
        finally:
            with self._changed:
                self._ended = True
                self._changed.notify_all()
            self._ready.set()

    async def _sample(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._stopping = asyncio.Event()
        self._ready.set()
        most = max(math.ceil(state.probe.timeout_s / state.probe.interval_s) for state in self._states.values()) + 2
        self._loop.set_default_executor(
            ThreadPoolExecutor(min(most, 64), thread_name_prefix="probe", initializer=precedence.take)
        )
        beat = asyncio.create_task(self._beat())
        try:
            async with asyncio.TaskGroup() as group:
                for state in self._states.values():
                    group.create_task(self._schedule(state, group, self._stopping))
        finally:
            beat.cancel()
        for state in self._states.values():
            self._history.record(
                "probe_ended",
                probe=state.probe.name,
                planned=state.planned,
                taken=state.taken,
                late_max_s=round(state.late_max_s, 6),
                stalled_s=round(self._stalled_s, 6),
            )

    async def _beat(self) -> None:
        """Notice when the loop stands still."""
        while True:
            self._beat_due = self._clock.monotonic() + _BEAT_S
            await asyncio.sleep(_BEAT_S)
            self._stalled_s = self._stalled()

    def _stalled(self) -> float:
        """Seconds that the loop has stood still so far, the time since a beat that is overdue included."""
        return self._stalled_s + max(0.0, self._clock.monotonic() - self._beat_due - _BEAT_S)

    async def _schedule(self, state: _State, group: asyncio.TaskGroup, stopping: asyncio.Event) -> None:
        start = self._clock.monotonic()
        interval = state.probe.interval_s
        while not stopping.is_set():
            due = start + state.planned * interval
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stopping.wait(), max(0.0, due - self._clock.monotonic()))
            if stopping.is_set():
                break
            now = self._clock.monotonic()
            state.late_max_s = max(state.late_max_s, now - due)
            group.create_task(self._take(state, state.taken, now, self._stalled()))
            state.taken += 1
            # Places that were missed are left out, not made up for: readings in a burst would say nothing new.
            state.planned = max(state.planned + 1, math.ceil((now - start) / interval))

    async def _take(self, state: _State, place: int, sent: float, stalled_before: float) -> None:
        via, why = await self._ask(state, sent)
        answered = self._clock.monotonic()
        stalled = self._stalled() - stalled_before
        if not why and answered - sent - stalled > state.probe.slow_after_s:
            why = f"answered only after {answered - sent:.2f} s"
        reading = Reading(
            self._history.seconds(sent), self._history.seconds(answered), not why, why, str(via), round(stalled, 6)
        )
        extra: dict[str, Any] = {"stalled_s": reading.stalled_s} if reading.stalled_s else {}
        self._history.record(
            "reading",
            at=self._history.instant(reading.answered),
            probe=state.probe.name,
            sent=reading.sent,
            answered=reading.answered,
            ok=reading.ok,
            why=reading.why,
            via=reading.via,
            **extra,
        )
        with self._changed:
            state.done[place] = reading
            while (settled := state.done.pop(state.next_place, None)) is not None:
                state.next_place += 1
                state.last = settled
                if settled.ok:
                    state.run.append(settled)
                else:
                    state.run = []
            self._changed.notify_all()

    async def _ask(self, state: _State, sent: float) -> tuple[Entry, str]:
        """Ask one entry, then the others; returns the entry that answered and why the answer was bad ("" if good)."""
        probe = state.probe
        deadline = sent + probe.timeout_s
        try:
            ways = probe.ways()
        except OSError as error:
            return state.entry, _in_a_line(error)
        if not ways:
            return state.entry, "there is no way in"
        first = state.entry if state.entry in ways else ways[0]
        asked = {self._attempt(probe, first): first}
        others = [entry for entry in ways if entry != first]
        whys: dict[Entry, str] = {}
        pending = set(asked)
        try:
            while pending:
                now = self._clock.monotonic()
                until = min(deadline, sent + probe.failover_after_s) if others else deadline
                done, pending = await asyncio.wait(
                    pending, timeout=max(0.0, until - now), return_when=asyncio.FIRST_COMPLETED
                )
                for task in done:
                    why = task.result()
                    if not why:
                        state.entry = asked[task]
                        return asked[task], ""
                    whys[asked[task]] = why
                if others and (not pending or self._clock.monotonic() >= until):
                    late = {self._attempt(probe, entry): entry for entry in others}
                    asked |= late
                    pending |= set(late)
                    others = []
                elif not done and self._clock.monotonic() >= deadline:
                    break
        finally:
            for task in pending:
                task.cancel()
        whys |= {asked[task]: f"no answer within {probe.timeout_s:g} s" for task in pending}
        if len(ways) == 1:
            return first, whys[first]
        return first, "; ".join(f"{entry}: {why}" for entry, why in whys.items())

    def _attempt(self, probe: Probe, entry: Entry) -> asyncio.Task[str]:
        return asyncio.create_task(self._why_bad(probe, entry))

    async def _why_bad(self, probe: Probe, entry: Entry) -> str:
        try:
            await probe.ask(entry, probe.timeout_s)
        except BadReading as bad:
            return str(bad) or "bad answer"
        except OSError as error:
            return _in_a_line(error)
        except asyncio.CancelledError:
            task = asyncio.current_task()
            if task is None or task.cancelling():
                raise
            return "cancelled by the client itself"  # let through, it would pass for a reading that nobody took
        except BaseException as error:
            if foreign.is_about_the_target(error):
                return foreign.in_words(error)
            raise MeasuringBroke(f"probe {probe.name!r} is defective: {foreign.in_words(error)}") from error
        return ""
