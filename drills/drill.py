"""One drill, as a scenario sees it: hold the steady state, cause the disaster, recover, read off what was achieved."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime, timedelta
from itertools import zip_longest
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol, TypeVar, runtime_checkable

from drills import measures, record
from drills.alerts import Alarm, Notice, firing
from drills.clock import Clock, Instant, stamp
from drills.commands import Commands
from drills.errors import (
    BadReading,
    DrillError,
    EnvironmentFailed,
    FaultHadNoEffect,
    Inconclusive,
    MeasuringBroke,
    NotDetected,
    NotRecovered,
    NotSteady,
    UsageError,
    WaitTimeout,
    WriteRefused,
)
from drills.failures import RECOVERY
from drills.history import SCHEMA, History
from drills.ledger import Row, Writer
from drills.measures import LASTING_RECEIPTS, Losses
from drills.objectives import Objective, parse_duration
from drills.probes import Probe, Sampler
from drills.redaction import kept
from drills.verdicts import Failure, Judgement, judge, measure
from drills.waiting import wait_until

if TYPE_CHECKING:
    from drills.books import Finding
    from drills.faults import Fault  # for its type only: the faults bring the Kubernetes client with them

T = TypeVar("T")

FOREVER = timedelta.max
"""The RTA of a service that never came back, and the RPA of data that was never read: over every objective."""

_LONGEST_WAIT_S = 1800.0
_SHORTEST_WAIT_S = 60.0
_WALL_STEP_S = 0.5
_LAST_LOOK_S = 2.0
_LISTEN_EVERY_S = 0.25
_STALL_S = 60.0  # how much longer than its phase a wait may take on a machine that stood still


class Reader(Protocol):
    """Where a ledger is read back from, after recovery; see `drills.ledger.LedgerStore.read`."""

    def read(self) -> list[Row]:
        """Everything found in the ledger; raises WriteRefused if it cannot be read now."""
        ...


@runtime_checkable
class Auditor(Protocol):
    """A reader that can tell whether restored data is sound, which its rows alone do not say."""

    def audit(self) -> Sequence[Finding]:
        """Return what each check found; bounded in time, raises WriteRefused if nobody answers."""
        ...


class Drill:
    """One rehearsal of one disaster.

    Args:
        name: the drill's own name, also that of its evidence directory.
        objective: what was promised.
        history: where everything that happens is kept; closed with the drill.
        commands: runs programs for the procedure and the faults.
        clock: the history's clock by default.
        title: what happens, in words.
        scenario: the file that describes it.
        runbook: the procedure under test.
        sabotage: parts that are left out on purpose to see that the drill then fails: "fault", "procedure".
        directory: where `close` leaves record.json; None for nowhere.
        need_steady: good readings in a row of each user's probe that show the steady state (2 s at 20 Hz).
        need_stable: good readings in a row that show a lasting recovery (3 s at 20 Hz).
        patience: how long after the fault a recovery is waited for where `disruption` does not say; see there.
        damage_patience: how long after the injection damage is waited for, whatever `disruption` says.
        phase_s: seconds of the steady state that are let pass before the fault, see `drills.repeats`; None for none.
        disposable: volume claims, by name or as namespace/name, whose data may go: the plan says so.

    """

    def __init__(
        self,
        name: str,
        objective: Objective,
        history: History,
        commands: Commands,
        clock: Clock | None = None,
        *,
        title: str = "",
        scenario: str = "",
        runbook: str = "",
        sabotage: Iterable[str] = (),
        directory: Path | None = None,
        need_steady: int = 40,
        need_stable: int = 60,
        patience: float | str | timedelta | None = None,
        damage_patience: float | str | timedelta | None = None,
        phase_s: float | None = None,
        disposable: Iterable[str] = (),
    ) -> None:
        self.name = name
        self.objective = objective
        self.history = history
        self.commands = commands
        self.clock: Clock = clock or history.clock
        self.title = title
        self.scenario = scenario
        self.runbook = runbook
        self.sabotage = frozenset(sabotage)
        self.directory = directory
        self.facts: dict[str, Any] = {}
        self.failure: Failure | None = None
        self._need_steady = need_steady
        self._need_stable = need_stable
        self._patience = patience
        self._damage_patience = damage_patience
        self._phase_s = phase_s
        self._steady_within_s = 0.0
        self._sampler: Sampler | None = None
        self._disposable = sorted(disposable)
        self._ledgers: list[tuple[Writer, Reader]] = []
        self._claims: dict[str, list[str]] = {}
        self._issued_t: float | None = None
        self._damaged = False
        self._steps = 0
        self._closed = False
        self._wall_offset_s = 0.0
        history.record(
            "opened", at=history.origin, origin_utc=stamp(history.origin.utc), drill=name, schema=SCHEMA, title=title
        )

    # What a scenario does

    def watch(self, writer: Writer, reader: Reader | None = None, *, claims: Iterable[str] = ()) -> None:
        """Keep a ledger during the drill: written from `holds` on, read back and audited after recovery.

        Args:
            writer: writes the ledger and keeps the receipts.
            reader: where it is read back, if that is not the writer's own store.
            claims: the volume claims that it lives on, by name or as namespace/name. A disaster that takes others is
                INCONCLUSIVE about their data. None named: it counts for all of them.

        Raises:
            UsageError: after `holds`.

        """
        if self._sampler is not None:
            raise UsageError(
                "watch: found after holds(), accepted: before it, so that the writes run from the steady state on"
            )
        self._ledgers.append((writer, reader or writer.store))
        self._claims[writer.name] = sorted(claims)

    def holds(self, *probes: Probe, within: float | str | timedelta = 60.0) -> None:
        """Show the steady state, and sample it from now to the end of the drill.

        Every probe of the user's path must give `need_steady` good readings in a row, and every watched ledger must
        take writes.

        Args:
            probes: what must hold; at least one in the role "user".
            within: how long that may take.

        Raises:
            NotSteady: if it does not hold by then.

        """
        if self._sampler is not None:
            raise UsageError("holds: found called twice, accepted: once, with all probes")
        if not any(probe.role == "user" for probe in probes):
            raise UsageError(
                f"holds: found no probe of the user's path among {[probe.name for probe in probes]}, "
                "accepted: at least one with role='user'"
            )
        self._steady_within_s = parse_duration(within, "within").total_seconds()
        with self._noting_failure():
            self._sampler = Sampler(probes, self.history, self.clock, need=self._need_stable)
            self._sampler.start()
            for writer, _ in self._ledgers:
                self.history.record("ledger", ledger=writer.name, claims=self._claims[writer.name])
                writer.start()
            self._wait_until_steady()
            self.phase("steady", need=self._need_steady)

    @contextmanager
    def disruption(
        self,
        fault: Fault,
        *,
        recovered_within: float | str | timedelta | None = None,
        damage_within: float | str | timedelta = 30.0,
    ) -> Iterator[Drill]:
        """Cause a disaster, see that it bites, run the body, and wait for the service to be back for good.

        Args:
            fault: what breaks.
            recovered_within: how long after the fault the service is waited for; by default twice the RTO, at least
                60 s and at most 30 min. Not an objective: a service that comes back late is measured, and missed.
            damage_within: how long after the injection the damage may take to show.

        Raises:
            NotSteady: if the steady state no longer holds.
            FaultHadNoEffect: if no damage was observed, or it was there before.
            NotRecovered: if the service was not back, taking writes and with readable data, by the deadline.
            MeasuringBroke: if a probe or a writer died.

        """
        if self._issued_t is not None:
            raise UsageError("disruption: found a second one, accepted: one a drill")
        patience_s = self._patience_s(recovered_within)
        damage_s = parse_duration(self._damage_patience or damage_within, "damage_within").total_seconds()
        fault.within_s = damage_s
        with self._noting_failure():
            self._wait_until_steady()
            self._let_phase_pass()
            self._refuse_old_damage(fault)
            self._wait_until_steady()  # looking for old damage took its time, and the service may have gone away in it
        try:
            self._issue(fault)
            self._wait_for_damage(fault, damage_s)
            yield self
            self._wait_for_recovery(patience_s)
        except BaseException as cause:
            self.failed(cause)
            self._heal(fault, cause)
            raise
        else:
            self._heal(fault, None)

    @contextmanager
    def validation(
        self, copy: Fault, readers: Sequence[Reader], *, within: float | str | timedelta | None = None
    ) -> Iterator[Drill]:
        """Validate a backup without a disaster: run the body, which restores a copy, and audit the copy's data.

        Nothing is broken. The record's kind is "validation", and the RTA of it is the time from here to the copy's
        data verified; the RPA is what a disaster at this instant would cost. The original goes on meanwhile.

        Args:
            copy: stands where a fault would: `inject` does nothing, `proof` tells of the copy, `heal` removes it.
            readers: read the copy's ledgers, in the order in which the originals are watched.
            within: how long the data may take to be readable once the body is through; by default as for
                `disruption`.

        Raises:
            NotSteady: if the steady state of the original does not hold.
            FaultHadNoEffect: if there was a copy before, or the body made none.
            NotRecovered: if the copy's data could not be read.

        """
        if self._issued_t is not None:
            raise UsageError("validation: found after another disruption, accepted: one a drill")
        if len(readers) != len(self._ledgers):
            raise UsageError(
                f"validation: found {len(readers)} readers, accepted: one for each of {len(self._ledgers)}"
            )
        patience_s = self._patience_s(within)
        with self._noting_failure():
            self._wait_until_steady()
            self._let_phase_pass()
            self._refuse_old_damage(copy)
            self._wait_until_steady()
        at = self.history.clock.now()
        self._issued_t = self.history.seconds(at.monotonic)
        self._record_fault(copy, "issued", at=at, purpose="validation", left_out=self.leaves_out("fault"))
        self._damaged = True  # there is none; the procedure may begin
        try:
            yield self
            self._audit(copy, readers, patience_s)
        except BaseException as cause:
            self.failed(cause)
            self._heal(copy, cause)
            raise
        else:
            self._heal(copy, None)

    @contextmanager
    def recovery(self, title: str, by: str = "harness") -> Iterator[None]:
        """Run the procedure under test; the damage must have been seen.

        Whatever is raised inside it is a recovery that failed, and the drill MISSED: a client's exception as much as a
        ProcedureFailed. Excepted are EnvironmentFailed, Inconclusive, what only ends the test (a time limit, Ctrl-C),
        and a bug that the traceback shows to lie in the harness's own code.

        Args:
            title: the procedure, in words.
            by: who acts: harness, human or kubernetes.

        """
        if not self._damaged:
            raise UsageError("recovery: found before any damage was observed, accepted: inside disruption()")
        self.phase("recovering", title=title, by=by)
        with self._noting_failure(RECOVERY):
            yield

    @contextmanager
    def step(self, name: str, command: str = "", by: str = "harness") -> Iterator[None]:
        """Time one step of the procedure.

        Args:
            name: what it does.
            command: as it stands in the runbook.
            by: who acts: harness, human or kubernetes.

        """
        self._steps += 1
        fields: dict[str, Any] = {"name": name, "command": command, "by": by, "id": self._steps}
        self.history.record("step", state="started", detail="", **fields)
        try:
            yield
        except BaseException as error:
            self.history.record("step", state="failed", detail=kept(error, 2000) or type(error).__name__, **fields)
            raise
        self.history.record("step", state="ended", detail="", **fields)

    def detected(self, by: str = "harness") -> None:
        """Note that the disaster was noticed, and by whom: an alert, a human, the harness."""
        self.history.record("detected", by=by)
        self.phase("detected", by=by)

    def detects(self, alarm: Alarm, *, within: float | str | timedelta) -> None:
        """Wait until the disaster is noticed by what is there to notice it; how long that took is measured.

        Args:
            alarm: what should notice it, such as `alerts.fires("VeleroBackupFailed")`.
            within: how long after the fault that may take; longer is a miss.

        Raises:
            Inconclusive: it spoke up before the fault already, so that it shows nothing.
            NotDetected: it said nothing in time.

        """
        if self._issued_t is None:
            raise UsageError("detects: found no fault that was issued, accepted: inside disruption()")
        issued = self._issued_t
        within_s = parse_duration(within, "within").total_seconds()

        def first() -> tuple[float, Notice] | None:
            heard = [(self._when(notice.at), notice) for notice in alarm.heard()]
            if before := firing(notice for t, notice in heard if t < issued):
                raise Inconclusive(f"{alarm.name} was there before the fault was issued: {'; '.join(before)}")
            return next(((t, notice) for t, notice in heard if t >= issued and notice.firing), None)

        with self._noting_failure():
            left_s = max(1.0, issued + within_s - self.history.elapsed())
            expected = f"within {within_s:g} s of the fault"
            try:
                t, notice = wait_until(
                    first, what=alarm.name, within_s=left_s, every_s=_LISTEN_EVERY_S, clock=self.clock,
                    retry_on=(BadReading, OSError),
                )  # fmt: skip
            except WaitTimeout as silence:
                self.check(f"{alarm.name} is heard", False, expected, silence.last or "nothing")
                raise NotDetected(f"{alarm.name} was not heard {expected}: {silence.last or 'nothing'}") from silence
            at = self.history.instant(t)
            self.history.record("detected", at=at, by=alarm.name, alert=dict(notice.facts))
            self.phase("detected", at=at, by=alarm.name)
            self.check(f"{alarm.name} is heard", t - issued <= within_s, expected, f"after {t - issued:.1f} s")

    def resolves(self, alarm: Alarm, *, within: float | str | timedelta = 300.0) -> None:
        """Wait until what noticed the disaster says that it is over, as a step of the procedure.

        Args:
            alarm: as given to `detects`.
            within: how long that may take from now.

        Raises:
            NotRecovered: it does not say so in time: something is still wrong, or it cannot tell.

        """
        within_s = self.at_most(parse_duration(within, "within").total_seconds())
        still: list[str] = []

        def over() -> Notice | None:
            heard = alarm.heard()
            still[:] = firing(heard)
            return None if still or not heard else heard[-1]

        with self._noting_failure(), self.step(f"{alarm.name} resolves"):
            try:
                last = wait_until(
                    over, what=f"{alarm.name} resolves", within_s=within_s, every_s=_LISTEN_EVERY_S, clock=self.clock,
                    retry_on=(BadReading, OSError),
                )  # fmt: skip
            except WaitTimeout as error:
                raise NotRecovered(f"{alarm.name} was not over within {within_s:g} s", "; ".join(still)) from error
        self.history.record("resolved", at=self.history.instant(self._when(last.at)), by=alarm.name)

    def reconstituted(self) -> None:
        """Note that everything works as before the disaster, redundancy included (NIST SP 800-34: reconstitution)."""
        self.phase("reconstituted")

    def check(self, name: str, ok: bool, expected: object = "", got: object = "") -> None:
        """Keep the outcome of one recovery check; a failed one makes the verdict MISSED."""
        self.history.record("check", name=name, ok=bool(ok), expected=str(expected), got=str(got))

    def deviates(self, how: str) -> None:
        """Note how the drill is held otherwise than planned; works at any time before its end."""
        self.history.record("deviation", text=_told("deviates", how))

    def relaxes(self, control: str) -> None:
        """Note a security control that is relaxed for the drill: a firewall opened, an alert muted."""
        self.history.record("relaxed_control", text=_told("relaxes", control))

    def caveat(self, text: str) -> None:
        """Note what a pass does not prove; where the drill is MET, its reason says it, too."""
        text = _told("caveat", text)
        if text not in [event.fields["text"] for event in self.history.events("caveat")]:
            self.history.record("caveat", text=text)

    def always_held(self, probe: Probe) -> None:
        """Check that a probe had not one bad reading from the steady state on.

        Readings from before it tell of the start, not of the disaster; those after `stable` of the harness, which heals
        its own fault.
        """
        steady = measures.phase_at(self.history, "steady")
        end = measures.measured_until(self.history)
        readings = [
            event.fields
            for event in self.history.events("reading")
            if event.fields["probe"] == probe.name and steady is not None and event.fields["sent"] >= steady
            if end is None or event.fields["sent"] <= end
        ]
        bad = [fields for fields in readings if not fields["ok"]]
        got = f"{len(bad)} bad of {len(readings)}" + (f", first: {bad[0]['why']}" if bad else "")
        self.check(f"{probe.name}, all the time", bool(readings) and not bad, "no bad reading", got)

    def backup(self, kind: str, name: str, taken: Instant | datetime | None = None, **identity: object) -> None:
        """Note a recovery point on offer: what was acknowledged before it must be back, whatever the RPO.

        Of several that were noted before the fault the oldest is held to that, because a newer one may be spoilt.

        Args:
            kind: velero, etcd-snapshot, pg_basebackup ...
            name: its name where it is kept.
            taken: the instant whose state it holds: when its taking began, never when it ended; now by default.
            identity: what makes it this one and no other: sha256, revision, size.

        """
        now = self.history.clock.now()
        if taken is None:
            taken = now
        elif isinstance(taken, datetime):
            taken = Instant(self.history.origin.monotonic + self._when(taken), taken)
        self.history.record(
            "backup",
            name=name,
            backup_kind=kind,
            taken_utc=stamp(taken.utc),
            taken_t=self.history.seconds(taken.monotonic),
            identity={
                key: value if isinstance(value, int | float | str | bool | None) else str(value)
                for key, value in identity.items()
            },
        )

    def at_most(self, within_s: float) -> float:
        """Shorten the wait of a procedure's step, in seconds, to the drill's patience."""
        return (
            within_s
            if self._patience is None
            else min(within_s, parse_duration(self._patience, "patience").total_seconds())
        )

    def leaves_out(self, part: str) -> bool:
        """Whether a part is to be left out on purpose, so that the drill must fail."""
        return part in self.sabotage

    # What was achieved

    @property
    def rta(self) -> timedelta:
        """Recovery time achieved: until answers, and writes where a ledger is watched, were back.

        FOREVER if the service never came back for good, or the damage was never proven.
        """
        achieved = measure(self.history).recovery
        return FOREVER if achieved is None else timedelta(seconds=achieved.rta_s)

    @property
    def rpa(self) -> timedelta:
        """Recovery point achieved; FOREVER if no ledger was read back, or the damage was never proven.

        A lower bound where the oldest write that is missing is its ledger's first one; such a drill is never MET.
        """
        achieved = measure(self.history).rpa_s
        return FOREVER if achieved is None else timedelta(seconds=achieved)

    @property
    def losses(self) -> Losses:
        """What became of the acknowledged writes."""
        return measures.losses(self.history)

    @property
    def judgement(self) -> Judgement:
        """The verdict so far, with its reason; final once the drill is closed."""
        return judge(self.history, self.objective, self.failure, running=not self._closed)

    # What the harness does

    def describe(self, **facts: object) -> None:
        """Add facts to the record that no event holds: environment, tier, controls, harness, plan."""
        self.facts.update(facts)

    def phase(self, name: str, at: Instant | None = None, **fields: object) -> None:
        """Note the beginning of a phase, and whether the wall clock was stepped meanwhile."""
        self._notice_wall_step()
        self.history.record("phase", at=at, name=name, **fields)

    def failed(self, error: BaseException, during: str = "") -> None:
        """Keep the first failure, which is the one that is judged; later ones are noted. Works after `close` too.

        Args:
            error: what was raised.
            during: `failures.RECOVERY` if the procedure under test raised it.

        """
        failure = Failure.of(error, during)
        if self.failure == failure:
            return  # the same one, on its way out through several contexts
        if self.failure is None:
            self.failure = failure
            if not self._closed:
                self.history.record("failed", **failure.as_record())
        elif not self._closed:
            self.history.record("note", text=f"a later failure: {failure}")

    def close(self) -> None:
        """Stop all measuring, end the history and leave record.json. Idempotent; never hides what went before."""
        if self._closed:
            return
        stops: list[Callable[[], None]] = [writer.stop for writer, _ in self._ledgers]
        if self._sampler is not None:
            stops.append(self._sampler.stop)
        for stop in stops:
            try:
                stop()
            except MeasuringBroke as error:
                self.failed(error)
        self.phase("ended")
        self._closed = True
        self.history.close()
        self.write()

    def recorded(self) -> dict[str, Any]:
        """Compute the record of this drill as it stands, `pytest-drills/record/v1`."""
        return record.build(
            self.history,
            self.objective,
            drill=self.name,
            title=self.title,
            scenario=self.scenario,
            runbook=self.runbook,
            sabotage=sorted(self.sabotage),
            failure=self.failure,
            facts=self.facts,
        )

    def write(self) -> Path | None:
        """Write record.json again, with what came after `close` (a failed teardown); None without a directory."""
        if self.directory is None:
            return None
        path = self.directory / "record.json"
        record.write_atomically(path, self.recorded())
        return path

    @contextmanager
    def _noting_failure(self, during: str = "") -> Iterator[None]:
        try:
            yield
        except BaseException as error:
            self.failed(error, during)
            raise

    def _notice_wall_step(self) -> None:
        now, origin = self.history.clock.now(), self.history.origin
        offset = (now.utc - origin.utc).total_seconds() - (now.monotonic - origin.monotonic)
        step = offset - self._wall_offset_s
        if abs(step) > _WALL_STEP_S:
            self._wall_offset_s = offset
            self.history.record("clock", wall_step_s=round(step, 3))

    @property
    def _sampling(self) -> Sampler:
        if self._sampler is None:
            raise UsageError("found no steady state, accepted: drill.holds(...) first, to have something to lose")
        return self._sampler

    def _when(self, utc: datetime) -> float:
        """Place a foreign stamp, which has only the wall clock, by its distance from now; seconds since the origin."""
        now = self.history.clock.now()
        return self.history.seconds(now.monotonic + (utc - now.utc).total_seconds())

    def _users(self) -> list[str]:
        return [probe.name for probe in self._sampling.probes if probe.role == "user"]

    def _patience_s(self, recovered_within: float | str | timedelta | None) -> float:
        recovered_within = recovered_within if recovered_within is not None else self._patience
        if recovered_within is not None:
            return parse_duration(recovered_within, "recovered_within").total_seconds()
        if self.objective.rto is None:
            return _LONGEST_WAIT_S
        return min(_LONGEST_WAIT_S, max(_SHORTEST_WAIT_S, 2 * self.objective.rto.total_seconds()))

    def _wait_until_steady(self) -> None:
        deadline = self.clock.monotonic() + self._steady_within_s
        for name in self._users():
            try:
                self._sampling.wait_for_good(name, self._need_steady, self._left(deadline))
            except WaitTimeout as error:
                raise NotSteady(f"not steady before the fault: {error}") from error
        for writer, _ in self._ledgers:
            try:
                writer.wait_until_taking(LASTING_RECEIPTS, self._left(deadline))
            except WaitTimeout as error:
                raise NotSteady(f"not steady before the fault: {error}") from error

    def _let_phase_pass(self) -> None:
        if self._phase_s is None:
            return
        due = self.clock.monotonic() + self._phase_s
        self.phase("waiting", for_s=self._phase_s)
        wait_until(
            lambda: self.clock.monotonic() >= due,
            what="the random time before the fault to pass",
            within_s=self._phase_s + _STALL_S,
            clock=self.clock,
        )
        self._wait_until_steady()  # it may have ended meanwhile

    def _refuse_old_damage(self, fault: Fault) -> None:
        # Also a test of the proof itself: one that is always there would let a fault without effect pass.
        before = fault.proof()
        if before:
            raise FaultHadNoEffect(f"the damage was there before the fault was issued: {'; '.join(before)}")

    def _issue(self, fault: Fault) -> None:
        skipped = self.leaves_out("fault")
        claims = sorted(fault.claims)  # which may have to be asked for, and that is no part of the recovery
        # Before the injection, not after it: the RTA may be over-stated by what injecting takes, never under-stated.
        at = self.history.clock.now()
        self._issued_t = self.history.seconds(at.monotonic)
        self._record_fault(fault, "issued", at=at, left_out=skipped, claims=claims, disposable=self._disposable)
        self.phase("disrupted", at=at)
        if not skipped:
            fault.inject()

    def _record_fault(self, fault: Fault, state: str, *, at: Instant | None = None, **fields: object) -> None:
        self.history.record(
            "fault",
            at=at,
            name=fault.name,
            target=fault.target,
            blast_radius=str(fault.blast_radius),
            state=state,
            **{"proof": [], **fields},
        )

    def _wait_for_damage(self, fault: Fault, within_s: float) -> None:
        what = f"damage by {fault.name} to {fault.target}"
        try:
            proof = wait_until(
                fault.proof, what=what, within_s=within_s, every_s=0.1, clock=self.clock,
                describe=lambda _: fault.unproven or "nothing yet",
            )  # fmt: skip
        except WaitTimeout as error:
            raise FaultHadNoEffect(f"no damage was observed: {error}") from error
        seen = self.history.clock.now()
        self._record_fault(fault, "proved", at=seen, proof=list(proof))
        self.phase("damaged", at=seen)
        self._damaged = True

    def _heal(self, fault: Fault, cause: BaseException | None) -> None:
        try:
            fault.heal()
        except Exception as trouble:
            self.history.record("note", text=f"the fault could not be healed: {trouble!r}")
            if cause is not None:
                cause.add_note(f"besides, {fault.name} could not be healed: {trouble!r}")
                return
            failure = EnvironmentFailed(f"{fault.name} could not be healed: {trouble}")
            self.failed(failure)
            raise failure from trouble
        self._record_fault(fault, "healed")

    def _wait_for_recovery(self, patience_s: float) -> None:
        """Wait for a lasting run of good readings and fresh receipts, read the data, see that the run still lasts."""
        issued = self._issued_t or 0.0
        since = self.history.elapsed()
        # A procedure that took longer than the patience has missed anyway; how late it was is still worth knowing.
        grace = 0.25 * patience_s
        deadline = self.history.origin.monotonic + max(issued + patience_s, since + grace)
        try:
            while True:
                for name in self._users():
                    self._sampling.wait_for_good(name, self._need_stable, self._left(deadline), since=since)
                self._stop_writers(deadline)
                self._read_back(deadline)
                self._audit_data()
                verified = self.history.clock.now()
                # The run must reach beyond the reading of the data, as far as no reading is pending any more.
                since = self.history.seconds(verified.monotonic)
                settled = [
                    self._sampling.wait_for_good(name, 1, self._left(deadline), since=since) for name in self._users()
                ]
                stable = min(reading.sent for reading in settled)
                recovery = measures.recovery_time(self.history, until=stable)
                if recovery is not None:
                    break
                self._write_again(deadline)
        except WaitTimeout as error:
            self._look_once_more()
            raise NotRecovered(
                f"not recovered within {patience_s:g} s of the fault: {error.what}", error.last
            ) from error
        self.phase("restored", at=self.history.instant(issued + recovery.rta_s))
        if self._ledgers:
            self.phase("verified", at=verified)
        self.phase("stable", at=self.history.instant(stable))

    def _audit(self, copy: Fault, readers: Sequence[Reader], patience_s: float) -> None:
        """See that there is a copy, read its data, and that the original is as steady as before."""
        proof = copy.proof()
        if not proof:
            raise FaultHadNoEffect(f"nothing was restored to {copy.target}, so nothing was validated")
        self._record_fault(copy, "proved", proof=proof)
        try:
            deadline = self.clock.monotonic() + patience_s
            self._read_back(deadline, readers)
            self._audit_data(readers)
            verified = self.history.clock.now()
            self._stop_writers(deadline)
            for name in self._users():
                self._sampling.wait_for_good(
                    name, 1, self._left(deadline), since=self.history.seconds(verified.monotonic)
                )
        except WaitTimeout as error:
            raise NotRecovered(
                f"the copy was not verified within {patience_s:g} s: {error.what}", error.last
            ) from error
        self.phase("verified", at=verified)
        self.phase("stable")

    def _left(self, deadline: float) -> float:
        return max(0.0, deadline - self.clock.monotonic())

    def _stop_writers(self, deadline: float) -> None:
        for writer, _ in self._ledgers:
            if writer.running:
                writer.wait_for_receipts(LASTING_RECEIPTS, self._left(deadline))
        for writer, _ in self._ledgers:
            writer.stop()

    def _write_again(self, deadline: float) -> None:
        """See once more whether writes are taken, where the last one before the writer stopped was refused."""
        for writer, _ in self._ledgers:
            if not writer.is_taking(1):
                writer.append_once(LASTING_RECEIPTS, self._left(deadline))

    def _read_back(self, deadline: float, readers: Sequence[Reader] = ()) -> None:
        for (writer, own), other in zip_longest(self._ledgers, readers):
            reader = other or own
            asked = self.history.elapsed()
            rows = _patiently(reader.read, f"ledger {writer.name!r} to be read back", self._left(deadline), self.clock)
            self.history.record(
                "read_back", ledger=writer.name, asked=asked, rows=[[row.seq, row.seal, row.prev] for row in rows]
            )

    def _audit_data(self, readers: Sequence[Reader] = ()) -> None:
        """Check restored data beyond its rows, where its reader can; an audit that cannot be made is a failed check."""
        for (writer, own), other in zip_longest(self._ledgers, readers):
            reader = other or own
            if not isinstance(reader, Auditor):
                continue
            try:
                found = reader.audit()
            except (WriteRefused, OSError) as error:
                self.check(f"{writer.name}: the data can be audited", False, "an answer", error)
                continue
            for one in found:
                self.check(f"{writer.name}: {one.name}", one.ok, one.expected, one.got)

    def _look_once_more(self) -> None:
        """Say what became of the data even though the service did not come back."""
        if not self._ledgers or {event.fields["ledger"] for event in self.history.events("read_back")}:
            return
        try:
            for writer, _ in self._ledgers:
                writer.stop()
            self._read_back(self.clock.monotonic() + _LAST_LOOK_S)
        except DrillError as error:
            self.history.record("note", text=f"the data could not be read back either: {error}")


def _told(method: str, text: str) -> str:
    if not text.strip():
        raise UsageError(f"{method}: found no text, accepted: what an auditor should know")
    return text


def _patiently(read: Callable[[], T], what: str, within_s: float, clock: Clock) -> T:
    """Call `read` until it is not refused, each call bounded by what is left of the time.

    Raises:
        WaitTimeout: if it was refused or hung until the deadline.

    """
    deadline = clock.monotonic() + within_s

    def once() -> tuple[T]:  # in a tuple, because an empty ledger is an answer too
        return (_bounded(read, max(0.01, deadline - clock.monotonic()), what),)

    return wait_until(
        once, what=what, within_s=max(within_s, 0.01), every_s=0.2, clock=clock, retry_on=(WriteRefused, OSError)
    )[0]


def _bounded(call: Callable[[], T], within_s: float, what: str) -> T:
    """Give a call of foreign code a deadline it does not have; one that hangs is left behind in its (daemon) thread."""
    answers: queue.SimpleQueue[T] = queue.SimpleQueue()
    errors: list[BaseException] = []
    ended = threading.Event()

    def run() -> None:
        try:
            answers.put(call())
        except BaseException as error:  # noqa: BLE001 - carried over to the caller's thread and raised there
            errors.append(error)
        finally:
            ended.set()

    threading.Thread(target=run, name=f"bounded {what}", daemon=True).start()
    if not ended.wait(within_s):
        raise WaitTimeout(what, "no answer", within_s)
    if errors:
        raise errors[0]
    return answers.get()
