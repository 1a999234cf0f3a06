"""How long recovery took, from the answers that users got and from the writes that were acknowledged.

A reading is a fact about an interval, not about an instant. A good one says that the service was up at some moment
between `sent` and `answered`; a bad one that it was down at some moment between `sent` and the earlier of `answered`
and `sent + slow_after_s`. Every figure here carries the bounds that follow from that and from nothing else.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from itertools import pairwise

from drills import marks
from drills.marks import Source, events_of, remembered, us

LASTING_RECEIPTS = 5
"""How many writes in a row, acknowledged and none refused between them, show that writes are taken."""


@dataclass(frozen=True)
class Reading:
    """One reading of a probe: when it was sent and answered, and whether the answer was good and in time."""

    sent: float
    answered: float
    ok: bool
    why: str
    via: str
    stalled_s: float = 0.0


@dataclass(frozen=True)
class Bounds:
    """A duration in seconds with the bounds between which the truth lies."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Outage:
    """One unbroken stretch of bad readings; an outage that sampling never saw the end of has no end."""

    start_low: float
    start_high: float
    end_low: float
    end_high: float | None
    readings_bad: int
    first_bad_sent: float
    why: str


@dataclass(frozen=True)
class RecoveryTime:
    """A time from the fault until something was back for good, with its bounds, in seconds."""

    rta_s: float
    low_s: float
    high_s: float

    def later(self, other: RecoveryTime) -> RecoveryTime:
        """Give the time until both are back; each bound is the later one of the two."""
        return RecoveryTime(max(self.rta_s, other.rta_s), max(self.low_s, other.low_s), max(self.high_s, other.high_s))


@remembered
def readings(history: Source, probe: str) -> list[Reading]:
    """Give the readings of one probe in the order they were sent; an `ok` that is not true is a bad reading."""
    found = [
        Reading(f["sent"], f["answered"], f["ok"] is True, f.get("why", ""), f.get("via", ""), f.get("stalled_s", 0.0))
        for f in (e.fields for e in events_of(history, "reading"))
        if f["probe"] == probe
    ]
    return sorted(found, key=lambda reading: reading.sent)


def outages(history: Source, probe: str, since: float | None = None, until: float | None = None) -> list[Outage]:
    """Find the outages that one probe saw, those with an answer at or after `since` and sent by `until`."""
    slow_after_s = marks.declared(history, probe).get("slow_after_s", float("inf"))
    taken = [reading for reading in readings(history, probe) if until is None or reading.sent <= until]
    return list(_outages(taken, slow_after_s, since))


def downtime(history: Source, since: float | None = None) -> Bounds:
    """How long the service was away in all, by the user's probe that saw most of it; `since` the fault by default.

    The value runs from the first bad reading's start to the first good answer after it. It counts up to the end of
    measuring (`marks.measured_until`): after that the harness heals its own fault. An outage still open then counts up
    to its last bad reading.
    """
    start = marks.issued_at(history) if since is None else since
    end = marks.measured_until(history)
    worst = Bounds(0.0, 0.0, 0.0)
    for probe in marks.probe_names(history, "user"):
        value = low = high = 0.0
        for outage in outages(history, probe, start, end):
            until = outage.end_low if outage.end_high is None else outage.end_high
            value += until - outage.first_bad_sent
            low += max(0.0, outage.end_low - outage.start_high)
            high += until - outage.start_low
        worst = max(worst, Bounds(value, low, high), key=lambda bounds: bounds.value)
    return Bounds(us(worst.value), us(worst.low), us(worst.high))


def recovery_time(history: Source, until: float | None = None) -> RecoveryTime | None:
    """How long recovery took: the later of the answers' return and, where writes are watched, that of the writes.

    It runs from the instant before the fault was issued; see `answers_back` and `writes_back`. In a validation (see
    `marks.kind`) it is the time from its start to the copy's data verified.

    Args:
        history: what happened.
        until: when measuring ended, in seconds since the origin; `marks.measured_until` by default.

    Returns:
        None when no fault was issued, the service never came back for good, or a ledger was written and not read back.

    """
    issued = marks.issued_at(history)
    if issued is None or not marks.probe_names(history, "user") or not _all_read_back(history):
        return None
    if marks.kind(history) == "validation":
        verified = marks.phase_at(history, "verified")
        took = None if verified is None else us(verified - issued)
        return None if took is None else RecoveryTime(took, took, took)
    answers = answers_back(history, until)
    if answers is None or not marks.ledger_names(history):
        return answers
    writes = writes_back(history, until=until)
    return None if writes is None else answers.later(writes)


@remembered
def answers_back(history: Source, until: float | None = None) -> RecoveryTime | None:
    """How long it took until users got answers for good: the first answer of the run of good readings that lasted.

    Every probe of the user's path must be back; the last one counts. The run lasted if it has the readings that the
    drill asked for (`need`) and reaches `until`: by default the phase `stable`; where that was not reached the first
    failure, because after it the harness heals its own fault, which is no recovery; and else the end of sampling.

    Without any bad reading the value is 0, and `high_s` the longest time in which an outage could have hidden
    between two good readings.

    Returns:
        None when no fault was issued, or a probe was not back for good.

    """
    issued = marks.issued_at(history)
    probes = marks.probe_names(history, "user")
    if issued is None or not probes:
        return None
    end = marks.measured_until(history) if until is None else until
    found = [_probe_recovery(history, probe, issued, end) for probe in probes]
    times = [time for time in found if time is not None]
    if len(times) < len(found):
        return None
    return RecoveryTime(
        max(time.rta_s for time in times), max(time.low_s for time in times), max(time.high_s for time in times)
    )


@remembered
def writes_back(history: Source, ledger: str | None = None, until: float | None = None) -> RecoveryTime | None:
    """How long it took until writes were acknowledged for good again, by the ledger that took longest.

    From the writer's own receipts and refusals, so no finer than the time-out of an append. 0 when no write was
    refused after the fault; `high_s` is then the longest time in which a refusal could have hidden between two
    receipts.

    Args:
        history: what happened.
        ledger: the ledger that is asked of; all of them by default.
        until: when measuring ended, in seconds since the origin; `marks.measured_until` by default.

    Returns:
        None when no fault was issued, nothing was being written, no write was acknowledged after the fault, or the
        last write before measuring ended was refused.

    """
    issued = marks.issued_at(history)
    ledgers = marks.ledger_names(history) if ledger is None else [ledger]
    if issued is None or not ledgers:
        return None
    end = marks.measured_until(history) if until is None else until
    worst = RecoveryTime(0.0, 0.0, 0.0)
    for name in ledgers:
        time = _ledger_recovery(history, name, issued, end)
        if time is None:
            return None
        worst = worst.later(time)
    return worst


def writes_in_a_row(history: Source, ledger: str) -> int:
    """How many writes were acknowledged after the fault, while it was measured, with none refused after them."""
    issued, end = marks.issued_at(history), marks.measured_until(history)
    if issued is None:
        return 0
    refused = [e.t for e in events_of(history, "refused", ledger) if issued <= e.t and (end is None or e.t <= end)]
    since = max([issued, *refused])
    return sum(
        1
        for e in events_of(history, "receipt", ledger)
        if e.fields["acknowledged"] >= since and (end is None or e.fields["acknowledged"] <= end)
    )


def _all_read_back(history: Source) -> bool:
    return all(marks.read_back(history, name) is not None for name in marks.ledger_names(history))


def _outages(taken: Sequence[Reading], slow_after_s: float, since: float | None) -> Iterable[Outage]:
    good_before: Reading | None = None
    bad: list[Reading] = []
    for reading in taken:
        if reading.ok:
            if bad:
                yield _outage(good_before, bad, reading, slow_after_s)
                bad = []
            good_before = reading
        elif since is None or reading.answered >= since:
            bad.append(reading)
    if bad:
        yield _outage(good_before, bad, None, slow_after_s)


def _outage(before: Reading | None, bad: Sequence[Reading], after: Reading | None, slow_after_s: float) -> Outage:
    first, last = bad[0], bad[-1]
    return Outage(
        start_low=first.sent if before is None else before.sent,
        start_high=min(first.answered, first.sent + slow_after_s),
        end_low=last.sent,
        end_high=None if after is None else after.answered,
        readings_bad=len(bad),
        first_bad_sent=first.sent,
        why=first.why,
    )


def _probe_recovery(history: Source, probe: str, issued: float, end: float | None) -> RecoveryTime | None:
    all_taken = readings(history, probe)
    taken = [r for r in all_taken if r.answered >= issued and (end is None or r.sent <= end)]
    last_bad = next((index for index in range(len(taken) - 1, -1, -1) if not taken[index].ok), -1)
    run = taken[last_bad + 1 :]
    need = needed(history, probe)
    # As many instants, not as many lines: one reading told twice is one reading.
    if need is None or len({reading.sent for reading in run}) < need:
        return None
    if last_bad < 0:
        before = [r for r in all_taken if r.answered < issued][-1:]
        hidden = max((later.answered - earlier.sent for earlier, later in pairwise([*before, *run])), default=0.0)
        return RecoveryTime(0.0, 0.0, us(max(hidden, _last_unseen(history, probe, [*before, *run], issued))))
    value = us(run[0].answered - issued)
    high = us(max(value, _last_unseen(history, probe, run, issued)))
    return RecoveryTime(value, us(max(0.0, taken[last_bad].sent - issued)), high)


def _last_unseen(history: Source, probe: str, run: Sequence[Reading], issued: float) -> float:
    """When the last stretch ended of which sampling says nothing, in seconds after the fault; 0 if there was none.

    Of such a stretch nobody knows whether the service was away in it, so it may have been back only at its end. It is
    longer than what sampling may miss (`marks.may_be_missed_s`), and makes the drill INCONCLUSIVE.
    """
    says = marks.declared(history, probe)
    allowed = marks.may_be_missed_s(float(says.get("interval_s", 0.0)), float(says.get("timeout_s", 0.0)))
    unseen = [later.answered for earlier, later in pairwise(run) if later.sent - earlier.sent > allowed]
    return max((t - issued for t in unseen), default=0.0)


def needed(history: Source, probe: str) -> int | None:
    """How many good readings in a row show that a probe is back for good; None if its history does not say."""
    need = marks.declared(history, probe).get("need")
    return need if isinstance(need, int) and not isinstance(need, bool) and need >= 1 else None


def _ledger_recovery(history: Source, ledger: str, issued: float, end: float | None) -> RecoveryTime | None:
    """When one ledger took writes again; a refusal counts at the instant it came, a receipt at its acknowledgement."""
    refused = [
        e.fields["seq"] for e in events_of(history, "refused", ledger) if e.t >= issued and (end is None or e.t <= end)
    ]
    receipts = [
        e.fields for e in events_of(history, "receipt", ledger) if end is None or e.fields["acknowledged"] <= end
    ]
    if refused:
        last = max(refused)
        back = [fields["acknowledged"] for fields in receipts if fields["seq"] > last]
        if not back:
            return None
        sent = next((e.t for e in events_of(history, "write", ledger) if e.fields["seq"] == last), issued)
        value = us(min(back) - issued)
        return RecoveryTime(value, us(max(0.0, sent - issued)), value)
    after = [fields for fields in receipts if fields["acknowledged"] >= issued]
    if not after:
        return None
    before = [fields for fields in receipts if fields["acknowledged"] < issued][-1:]
    hidden = max(
        (later["acknowledged"] - earlier.get("sent", earlier["acknowledged"])
         for earlier, later in pairwise([*before, *after])),
        default=0.0,
    )  # fmt: skip
    return RecoveryTime(0.0, 0.0, us(max(0.0, hidden)))
