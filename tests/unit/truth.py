"""A service whose truth is known, because it is made here: what it answers, what it acknowledges, what it keeps.

The world comes first and knows what happened. What a drill would have written down of it is made from it, and what is
true of it is said from it alone: nothing here uses the harness's measures. All times are in seconds; the fault is
issued at `FAULT`.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import Any

from drills.clock import FakeClock
from drills.history import SCHEMA, History
from drills.ledger import GENESIS

FAULT = 3.0
READ_EVERY, TIMEOUT, SLOW_AFTER = 0.25, 0.5, 0.25
WRITE_EVERY = 0.3
REACHES, ANSWERS = 0.004, 0.008  # after it was sent, a request reaches the service and its answer is back
NEED, RECEIPTS = 4, 5

Span = tuple[float, float]
State = dict[int, list[str]]


@dataclass(frozen=True)
class World:
    """What really happened.

    Attributes:
        dark: when the service gave no answers.
        shut: when it took no writes.
        acts: what was done to its data, as (when, what, argument); see `Service.act`.
        lies_from: from when on it acknowledges writes and does not keep them; never by default.
        deletes: when rows were deleted, by the number of the row.
        backup: when the recovery point on offer was taken; None for none noted.
        point: the instant whose state was restored, where a state was; None where data was lost in another way.
        procedure_ends: when the procedure was through.
        patience_s: how long after the fault the harness waits for a recovery.
        has_ledger: whether anybody wrote and keeps receipts.
        claims: the volume claims that the disaster takes.
        data_gone: whether data that no ledger watches is gone.
        check_ok: what a check of the scenario says; None for no check.
        heals_at_end: whether the harness disturbs the service after measuring, healing its own fault.
        blind: when the harness itself stood still and took no reading.
        phase_r, phase_w: where in their intervals readings and writes begin.

    """

    dark: tuple[Span, ...] = ()
    shut: tuple[Span, ...] = ()
    acts: tuple[tuple[float, str, Any], ...] = ()
    lies_from: float = math.inf
    deletes: tuple[tuple[float, int], ...] = ()
    backup: float | None = None
    point: float | None = None
    procedure_ends: float = FAULT + 1.0
    patience_s: float = 12.0
    has_ledger: bool = True
    claims: tuple[str, ...] = ()
    data_gone: bool = False
    check_ok: bool | None = None
    heals_at_end: bool = False
    blind: Span | None = None
    phase_r: float = 0.0
    phase_w: float = 0.0


@dataclass
class Truth:
    """What is true of a world, up to the instant at which its data was read.

    Attributes:
        back: whether the service was back for good when the harness looked last.
        recovered_s: from the fault until answers and writes were back for good; 0 if they never went away.
        down_s: how long there were no answers in all, up to the end of measuring.
        acknowledged: when each write was acknowledged.
        lost: what was acknowledged and is gone, by the time of its acknowledgement: writes, and deletions undone.
        broken: whether rows came back that nobody wrote so, or more than once.
        lost_afterwards: whether the recovered service lost what it had acknowledged itself.
        lost_of_backup: whether something is gone that was acknowledged before the recovery point on offer.
        rpa_s: how far back acknowledged writes are gone; infinite where nothing bounds it.
        stopped: when the service stopped acknowledging.

    """

    back: bool = False
    recovered_s: float = 0.0
    down_s: float = 0.0
    acknowledged: dict[int, float] = field(default_factory=dict)
    lost: list[float] = field(default_factory=list)
    broken: bool = False
    lost_afterwards: bool = False
    lost_of_backup: bool = False
    rpa_s: float = 0.0
    stopped: float = FAULT


class Service:
    """The data of the service, through all that happens to it."""

    def __init__(self) -> None:
        self.rows: State = {}
        self.past: list[tuple[float, State]] = [(-math.inf, {})]

    def keep(self, t: float) -> None:
        self.past.append((t, {seq: list(seals) for seq, seals in self.rows.items()}))

    def as_at(self, t: float) -> State:
        found = next(state for when, state in reversed(self.past) if when <= t)
        return {seq: list(seals) for seq, seals in found.items()}

    def act(self, what: str, argument: Any) -> None:
        """Do to the data what a recovery, or a mishap in it, does."""
        if what == "restore":
            self.rows = self.as_at(argument)
        elif what == "empty":
            self.rows = {}
        elif what == "lose":  # every so-many-th row is missing: a hole
            self.rows = {seq: seals for seq, seals in self.rows.items() if seq % argument}
        elif what == "mix":  # a state of earlier, and rows of the later one among it
            self.rows = self.as_at(argument) | {seq: seals for seq, seals in self.rows.items() if seq % 3 == 0}
        elif what == "double":
            self.rows = {seq: seals * (2 if seq == argument else 1) for seq, seals in self.rows.items()}
        elif what == "forge":
            self.rows = {seq: ["f" * 16] if seq == argument else seals for seq, seals in self.rows.items()}
        elif what == "stranger":
            self.rows[9000 + argument] = ["a" * 16]
        else:
            raise ValueError(what)


def _in(spans: tuple[Span, ...], t: float) -> bool:
    return any(start <= t < end for start, end in spans)


def seal_of(seq: int) -> str:
    return f"{seq:016x}"


@dataclass
class Told:
    """What a drill wrote down of a world, its failure if it had one, and the truth of it."""

    history: History
    truth: Truth
    failure: dict[str, Any] | None
    stable: float | None


class Drilled:
    """Plays a world and writes down what a drill would have seen of it."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.events: list[tuple[float, str, dict[str, Any]]] = []
        self.horizon = FAULT + world.patience_s + 2.0
        self.readings = self._readings()
        self.service = Service()
        self.writes: list[tuple[int, float, bool]] = []  # number, sent, acknowledged
        self.deleted: dict[int, float] = {}
        self._play()

    def tell(self) -> Told:
        world = self.world
        stable, asked, failed_at = self._drill()
        end = self._end(stable, asked, failed_at)
        self._tell_of_the_fault()
        self._tell_of_the_users(end, stable)
        self._tell_of_the_data(asked, failed_at)
        failure = None
        if failed_at is not None:
            failure = {"kinds": ["NotRecovered", "DrillError", "Exception"], "message": "not recovered in time"}
            self._add(failed_at, "failed", **failure)
        if stable is not None:
            if asked is not None and world.has_ledger:
                self._add(asked + 0.02, "phase", name="verified")
            self._add(stable, "phase", name="stable")
        if world.check_ok is not None:
            self._add(end - 0.01, "check", name="c", ok=world.check_ok, expected="1", got="0")
        self._add(end, "phase", name="ended")
        read = asked if asked is not None else (failed_at or end)
        truth = self._truth(read, stable if stable is not None else (failed_at or end))
        return Told(self._recorded(), truth, failure, stable)

    # What is seen

    def _add(self, t: float, kind: str, **fields: Any) -> None:
        self.events.append((round(t, 6), kind, fields))

    def _readings(self) -> list[tuple[float, bool]]:
        made, blind = [], self.world.blind
        sent = self.world.phase_r
        while sent < self.horizon:
            if blind is None or not blind[0] <= sent < blind[1]:
                made.append((sent, not _in(self.world.dark, sent + REACHES)))
            sent += READ_EVERY
        return made

    def _play(self) -> None:
        """Do all that is done to the data, in the order of its times."""
        todo: list[tuple[float, int, str, Any]] = []
        sent, seq = self.world.phase_w + 0.1, 0
        while sent < self.horizon and self.world.has_ledger:
            seq += 1
            todo.append((sent + REACHES, 1, "write", (seq, sent)))
            sent += WRITE_EVERY
        todo += [(t, 2, "delete", row) for t, row in self.world.deletes]
        todo += [(t, 0, what, argument) for t, what, argument in self.world.acts]
        for t, _, what, argument in sorted(todo, key=lambda one: one[:2]):
            lies = t >= self.world.lies_from
            takes = not _in(self.world.shut, t)
            if what == "write":
                number, at = argument
                if takes and not lies:
                    self.service.rows[number] = [seal_of(number)]
                self.writes.append((number, at, takes))
            elif what == "delete":
                if takes and argument in self.service.rows:
                    if not lies:
                        del self.service.rows[argument]
                    self.deleted[argument] = t
            else:
                self.service.act(what, argument)
            self.service.keep(t)

    # What the harness does

    def _drill(self) -> tuple[float | None, float | None, float | None]:
        """Wait as a drill does; gives when it was stable, when it read the data, and when it gave up."""
        deadline = FAULT + self.world.patience_s
        since = self.world.procedure_ends
        while True:
            run = self._run_at(since)
            if run is None or run > deadline:
                return None, None, deadline
            taken = self._receipts_at(run) if self.world.has_ledger else run
            if taken is None or taken > deadline:
                return None, None, deadline
            asked = taken + 0.01
            while _in(self.world.dark, asked):
                asked += 0.2
            if asked > deadline:
                return None, None, deadline
            good = next((sent for sent, ok in self.readings if sent >= asked + 0.02), None)
            between = [ok for sent, ok in self.readings if since <= sent <= (good or deadline)]
            run_from = max((n for n, ok in enumerate(between) if not ok), default=-1) + 1
            if good is not None and between[run_from:] and len(between) - run_from > NEED:
                return (good, asked, None) if good <= deadline else (None, None, deadline)
            since = asked + 0.02

    def _run_at(self, since: float) -> float | None:
        row = 0
        for sent, ok in self.readings:
            row = row + 1 if ok and sent >= since else 0
            if row >= NEED:
                return sent + ANSWERS
        return None

    def _receipts_at(self, since: float) -> float | None:
        row = 0
        for _, sent, acknowledged in self.writes:
            if sent + ANSWERS >= since:
                row = row + 1 if acknowledged else 0
                if row >= RECEIPTS:
                    return sent + ANSWERS
        return None

    def _end(self, stable: float | None, asked: float | None, failed_at: float | None) -> float:
        latest = max(t for t in (stable, asked, failed_at) if t is not None)
        return latest + 1.0

    # What is written down

    def _tell_of_the_fault(self) -> None:
        about = {"name": "broken", "target": "it", "blast_radius": "namespace"}
        self._add(0.0, "opened", drill="model", schema=SCHEMA, origin_utc="2026-01-01T00:00:00.000Z")
        self._add(2.0, "phase", name="steady", need=NEED)
        self._add(FAULT, "fault", state="issued", proof=[], claims=list(self.world.claims), disposable=[], **about)
        self._add(FAULT, "phase", name="disrupted")
        self._add(FAULT + 0.1, "fault", state="proved", proof=["it is broken"], **about)
        self._add(FAULT + 0.1, "phase", name="damaged")
        self._add(FAULT + 0.2, "phase", name="recovering", title="t", by="harness")
        if self.world.backup is not None:
            self._add(
                self.world.backup, "backup", name="b", backup_kind="dump", identity={},
                taken_utc="2026-01-01T00:00:01.000Z", taken_t=self.world.backup,
            )  # fmt: skip

    def _tell_of_the_users(self, end: float, stable: float | None) -> None:
        self._add(
            0.0, "probe", probe="p", role="user", need=NEED, entries=[], interval_s=READ_EVERY, timeout_s=TIMEOUT,
            slow_after_s=SLOW_AFTER,
        )  # fmt: skip
        for sent, ok in self.readings:
            if sent >= end - 0.02:
                break
            good = ok and not (self.world.heals_at_end and stable is not None and sent > stable + 0.1)
            answered = round(sent + ANSWERS, 6)
            self._add(
                answered, "reading", probe="p", sent=round(sent, 6), answered=answered, ok=good,
                why="" if good else "no", via="h:1",
            )  # fmt: skip

    def _tell_of_the_data(self, asked: float | None, failed_at: float | None) -> None:
        if not self.world.has_ledger:
            return
        until = asked if asked is not None else failed_at or self.horizon
        self._add(0.0, "ledger", ledger="l", claims=[])
        for seq, sent, acknowledged in self.writes:
            if sent + ANSWERS > until:
                break
            self._add(sent, "write", ledger="l", seq=seq, digest=seal_of(seq))
            at = round(sent + ANSWERS, 6)
            if acknowledged:
                self._add(at, "receipt", ledger="l", seq=seq, sent=round(sent, 6), acknowledged=at)
            else:
                self._add(at, "refused", ledger="l", seq=seq, why="no")
        for seq, t in self.deleted.items():
            if t <= until:
                self._add(t, "deleted", ledger="l", seq=seq)
        looked = asked if asked is not None else None if failed_at is None else failed_at + 0.05
        if looked is not None and not _in(self.world.dark, looked):
            rows = [
                [seq, seal, seal_of(seq - 1) if seq > 1 else GENESIS]
                for seq, seals in sorted(self.service.as_at(looked).items())
                for seal in seals
            ]
            self._add(looked + 0.01, "read_back", ledger="l", asked=round(looked, 6), rows=rows)

    def _recorded(self) -> History:
        history = History(FakeClock(start=0.0))
        for t, kind, fields in sorted(self.events, key=lambda event: event[0]):
            history.record(kind, at=history.instant(t), **fields)
        history.close()
        return history

    # What is true

    def _truth(self, read: float, measured_until: float) -> Truth:
        world, truth = self.world, Truth()
        dark = [(max(start, FAULT), end) for start, end in world.dark if end > FAULT and start < measured_until]
        shut = [(max(start, FAULT), end) for start, end in world.shut if end > FAULT and start < read]
        if not world.has_ledger:
            shut = []
        last = max([FAULT, *(end for _, end in dark + shut)])
        truth.back = last < read
        truth.recovered_s = last - FAULT
        truth.down_s = sum(min(end, measured_until) - start for start, end in dark)
        if not world.has_ledger:
            return truth
        state = self.service.as_at(read)
        truth.acknowledged = {
            seq: round(sent + ANSWERS, 6) for seq, sent, ok in self.writes if ok and sent + ANSWERS <= read
        }
        undone = [t for seq, t in self.deleted.items() if t <= read and seq in state]
        missing = [
            t for seq, t in truth.acknowledged.items() if seq not in state and self.deleted.get(seq, math.inf) > read
        ]
        truth.lost = sorted(missing + undone)
        truth.broken = any(
            len(seals) > 1 or seals != [seal_of(seq)] or seq > len(self.writes) for seq, seals in state.items()
        )
        truth.lost_afterwards = any(t > last + max(READ_EVERY, WRITE_EVERY) for t in truth.lost)
        truth.lost_of_backup = world.backup is not None and any(t <= world.backup for t in truth.lost)
        first_shut = min((start for start, _ in shut), default=None)
        acks = list(truth.acknowledged.values())
        before_outage = [t for t in acks if first_shut is not None and t <= first_shut + ANSWERS]
        truth.stopped = max([FAULT, *before_outage, *(t for t in truth.lost if t <= last)])
        if truth.lost:
            # Where a state was restored that is older than all that was ever acknowledged, that is how far back it is.
            truth.rpa_s = max(0.0, truth.stopped - truth.lost[0])
            older = world.point is not None and world.point < min(acks) and truth.lost[0] == min(acks)
            truth.rpa_s = truth.stopped - world.point if older and world.point is not None else truth.rpa_s
        return truth
