"""What a history says: pure functions of its events, so that any stored drill can be measured again.

A reading is a fact about an interval, not about an instant. A good one says that the service was up at some moment
between `sent` and `answered`; a bad one that it was down at some moment between `sent` and the earlier of `answered`
and `sent + slow_after_s`. Every figure here carries the bounds that follow from that and from nothing else.

All times are in seconds since the history's origin, on the monotonic clock; a stepped wall clock changes none of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any

from drills.history import Event, History
from drills.ledger import GENESIS

Source = History | Sequence[Event]


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
    """The time from the fault to the first reading of the lasting good run, with its bounds, in seconds."""

    rta_s: float
    low_s: float
    high_s: float


@dataclass(frozen=True)
class Losses:
    """What became of the acknowledged writes.

    Attributes:
        acknowledged: rows whose write was acknowledged before the ledger was read back.
        lost: acknowledged, never deleted, and missing.
        corrupted: present, and not as written: edited, chained to another row, or never sent at all.
        duplicated: present more than once.
        resurrected: deleted with an acknowledgement, and present.
        unknown: writes whose acknowledgement never came; they count neither way.
        oldest_lost_t: when the oldest write (or deletion) that did not last was acknowledged, seconds since the origin.
        lost_after_restore: those of `lost` that the recovered service itself had acknowledged; no RPO covers them.
        read: whether every ledger was read back; without that nothing above is known.

    """

    acknowledged: int = 0
    lost: list[int] = field(default_factory=list)
    corrupted: list[int] = field(default_factory=list)
    duplicated: list[int] = field(default_factory=list)
    resurrected: list[int] = field(default_factory=list)
    unknown: int = 0
    oldest_lost_t: float | None = None
    lost_after_restore: list[int] = field(default_factory=list)
    read: bool = False


@dataclass(frozen=True)
class Bar:
    """One bar of the waterfall, in seconds since the fault was issued; `kind` is wait, step or phase."""

    name: str
    start_s: float
    end_s: float
    kind: str
    by: str = ""


@dataclass(frozen=True)
class Phase:
    """The beginning of a phase, in seconds since the fault was issued (negative before it)."""

    name: str
    t_s: float
    utc: str


@dataclass(frozen=True)
class Detection:
    """How the disaster was noticed.

    Attributes:
        by: who or what noticed it.
        t_s: the time to detect: when that was, in seconds since the fault was issued.
        utc: when that was, by the wall clock.
        alert: what the alert said, where it was one.
        over_s: when it said that all is well again, in seconds since the fault; None if nobody waited for that.

    """

    by: str
    t_s: float
    utc: str
    alert: dict[str, Any] | None
    over_s: float | None


@dataclass(frozen=True)
class ProbeQuality:
    """How well a probe sampled: the figures by which the other figures are to be believed.

    Attributes:
        planned: readings the schedule asked for; `readings` of them were taken.
        rate_hz: readings a second, as taken.
        late_max_s: the latest start of a reading against its schedule.
        largest_gap_s: the longest time between two readings' starts from the fault to the end of measuring.
        stalled_s: the longest time that the harness itself stood still during one reading.

    """

    probe: str
    role: str
    interval_s: float
    timeout_s: float
    slow_after_s: float
    planned: int
    readings: int
    bad: int
    rate_hz: float
    late_max_s: float
    largest_gap_s: float
    stalled_s: float


def issued_at(history: Source) -> float | None:
    """When the fault was issued; None when none was."""
    return next((e.t for e in _of(history, "fault") if e.fields.get("state") == "issued"), None)


def kind(history: Source) -> str:
    """What was held: a "disaster", or a "validation" of a backup, in which nothing is broken.

    In a validation the clock runs from its start instead of the fault's instant, to the data of the copy verified.
    """
    held = {e.fields.get("purpose", "disaster") for e in _of(history, "fault") if e.fields.get("state") == "issued"}
    return "validation" if "validation" in held else "disaster"


def phase_at(history: Source, name: str) -> float | None:
    """When a phase began first; None when it never did."""
    return next((e.t for e in _of(history, "phase") if e.fields.get("name") == name), None)


def measured_until(history: Source) -> float | None:
    """When measuring the recovery ended: at `stable`, else at the first failure; None if neither was reached."""
    stable = phase_at(history, "stable")
    return stable if stable is not None else next((event.t for event in _of(history, "failed")), None)


def probe_names(history: Source, role: str | None = None) -> list[str]:
    """Name the probes that sampled, those of one role if it is given."""
    return [e.fields["probe"] for e in _of(history, "probe") if role is None or e.fields.get("role", "user") == role]


def ledger_names(history: Source) -> list[str]:
    """Name the ledgers that something was written to."""
    return list(dict.fromkeys(e.fields["ledger"] for e in _of(history, "write")))


def readings(history: Source, probe: str) -> list[Reading]:
    """Give the readings of one probe in the order they were sent."""
    found = [
        Reading(f["sent"], f["answered"], bool(f["ok"]), f.get("why", ""), f.get("via", ""), f.get("stalled_s", 0.0))
        for f in (e.fields for e in _of(history, "reading"))
        if f["probe"] == probe
    ]
    return sorted(found, key=lambda reading: reading.sent)


def outages(history: Source, probe: str, since: float | None = None) -> list[Outage]:
    """Find the outages that one probe saw, those with an answer at or after `since`."""
    declared = _declared(history, probe)
    return list(_outages(readings(history, probe), declared.get("slow_after_s", float("inf")), since))


def downtime(history: Source, since: float | None = None) -> Bounds:
    """How long the service was away in all, by the user's probe that saw most of it; `since` the fault by default.

    The value runs from the first bad reading's start to the first good answer after it. An outage still open at the
    end of sampling counts up to its last bad reading.
    """
    start = issued_at(history) if since is None else since
    worst = Bounds(0.0, 0.0, 0.0)
    for probe in probe_names(history, "user"):
        value = low = high = 0.0
        for outage in outages(history, probe, start):
            end = outage.end_low if outage.end_high is None else outage.end_high
            value += end - outage.first_bad_sent
            low += max(0.0, outage.end_low - outage.start_high)
            high += end - outage.start_low
        worst = max(worst, Bounds(value, low, high), key=lambda bounds: bounds.value)
    return Bounds(_us(worst.value), _us(worst.low), _us(worst.high))


def recovery_time(history: Source, until: float | None = None) -> RecoveryTime | None:
    """How long recovery took, from the instant before the fault was issued to the first answer of the lasting good run.

    Every probe of the user's path must be back; the last one counts. The run lasted if it has the readings that the
    drill asked for (`need`) and reaches `until`: by default the phase `stable`; where that was not reached the first
    failure, because after it the harness heals its own fault, which is no recovery; and else the end of sampling.

    Without any bad reading the value is 0, and `high_s` the longest time in which an outage could have hidden
    between two good readings.

    In a validation (see `kind`) it is the time from its start to the copy's data verified.

    Returns:
        None when no fault was issued, the service never came back for good, or a ledger was written and not read back.

    """
    issued = issued_at(history)
    probes = probe_names(history, "user")
    if issued is None or not probes or not _all_read_back(history):
        return None
    if kind(history) == "validation":
        verified = phase_at(history, "verified")
        took = None if verified is None else _us(verified - issued)
        return None if took is None else RecoveryTime(took, took, took)
    end = measured_until(history) if until is None else until
    found = [_probe_recovery(history, probe, issued, end) for probe in probes]
    times = [time for time in found if time is not None]
    if len(times) < len(found):
        return None
    return RecoveryTime(
        max(time.rta_s for time in times), max(time.low_s for time in times), max(time.high_s for time in times)
    )


def writes_back(history: Source) -> RecoveryTime | None:
    """How long it took until writes were acknowledged for good again, by the ledger that took longest.

    From the writer's own receipts and refusals, so no finer than the time-out of an append. 0 when no write was
    refused after the fault.

    Returns:
        None when no fault was issued, nothing was being written, or the last write before measuring ended was refused.

    """
    issued = issued_at(history)
    ledgers = ledger_names(history)
    if issued is None or not ledgers:
        return None
    worst = RecoveryTime(0.0, 0.0, 0.0)
    for ledger in ledgers:
        refused = [e.fields["seq"] for e in _of(history, "refused", ledger) if e.t >= issued]
        if not refused:
            continue
        last = max(refused)
        back = [e.fields["acknowledged"] for e in _of(history, "receipt", ledger) if e.fields["seq"] > last]
        if not back:
            return None
        sent = next(e.t for e in _of(history, "write", ledger) if e.fields["seq"] == last)
        value = min(back) - issued
        worst = max(
            worst, RecoveryTime(_us(value), _us(max(0.0, sent - issued)), _us(value)), key=lambda time: time.rta_s
        )
    return worst


def losses(history: Source, ledger: str | None = None) -> Losses:
    """Tell what became of the acknowledged writes of one ledger, or of all of them together.

    The last time that a ledger was read back counts; writes acknowledged after that reading began do not.
    """
    names = ledger_names(history) if ledger is None else [ledger]
    parts = [_ledger_losses(history, name) for name in names]
    oldest = [part.oldest_lost_t for part in parts if part.oldest_lost_t is not None]
    return Losses(
        acknowledged=sum(part.acknowledged for part in parts),
        lost=[seq for part in parts for seq in part.lost],
        corrupted=[seq for part in parts for seq in part.corrupted],
        duplicated=[seq for part in parts for seq in part.duplicated],
        resurrected=[seq for part in parts for seq in part.resurrected],
        unknown=sum(part.unknown for part in parts),
        oldest_lost_t=min(oldest, default=None),
        lost_after_restore=[seq for part in parts for seq in part.lost_after_restore],
        read=bool(parts) and all(part.read for part in parts),
    )


def recovery_point(history: Source) -> float | None:
    """RPA in seconds: the fault's instant minus the acknowledgement of the OLDEST write that is missing; 0 if none is.

    A deletion is a write too: one that was acknowledged and is undone counts like a lost row.

    Returns:
        None when no fault was issued, or any ledger was not read back.

    """
    issued = issued_at(history)
    found = losses(history)
    if issued is None or not found.read:
        return None
    return 0.0 if found.oldest_lost_t is None else _us(max(0.0, issued - found.oldest_lost_t))


def phases(history: Source) -> list[Phase]:
    """Give the phases in order of time, each once, relative to the fault (to the origin where none was issued)."""
    zero = issued_at(history) or 0.0
    first: dict[str, Event] = {}
    for event in _of(history, "phase"):
        first.setdefault(str(event.fields["name"]), event)
    ordered = sorted(first.values(), key=lambda event: event.t)
    return [Phase(str(event.fields["name"]), _us(event.t - zero), event.utc) for event in ordered]


def detection(history: Source) -> Detection | None:
    """Tell when the disaster was noticed first, and by what; None when nothing was noticed, or no fault was issued."""
    issued = issued_at(history)
    first = min(_of(history, "detected"), key=lambda event: event.t, default=None)
    if issued is None or first is None:
        return None
    by = str(first.fields.get("by", ""))
    over = [event.t for event in _of(history, "resolved") if event.fields.get("by") == by]
    return Detection(
        by, _us(first.t - issued), first.utc, first.fields.get("alert"), _us(over[0] - issued) if over else None
    )


def steps(history: Source) -> list[dict[str, Any]]:
    """Give the procedure's steps as they ran: name, command, by, started_s, ended_s (or None), state, detail."""
    zero = issued_at(history) or 0.0
    found: dict[object, dict[str, Any]] = {}
    for event in _of(history, "step"):
        fields = event.fields
        if fields["state"] == "started":
            found[fields["id"]] = {
                "name": fields["name"],
                "command": fields.get("command", ""),
                "by": fields.get("by", "harness"),
                "started_s": _us(event.t - zero),
                "ended_s": None,
                "state": "started",
                "detail": fields.get("detail", ""),
            }
        elif fields["id"] in found:
            found[fields["id"]] |= {
                "ended_s": _us(event.t - zero),
                "state": fields["state"],
                "detail": fields.get("detail", ""),
            }
    return list(found.values())


def waterfall(history: Source) -> list[Bar]:
    """Say where the time went, from the fault to the lasting recovery.

    The bars: damage seen, detected, procedure started, each step, service back, data verified, stable. Each wait
    runs from the latest mark before it. Steps overlap the waits where the service was back before they ended.
    """
    issued = issued_at(history)
    if issued is None:
        return []
    bars: list[Bar] = []
    marks = [0.0]

    def reach(name: str, end: float | None, kind: str) -> None:
        if end is not None and end >= 0:
            bars.append(Bar(name, max((mark for mark in marks if mark <= end), default=0.0), _us(end), kind))
            marks.append(_us(end))

    def since_fault(name: str) -> float | None:
        t = phase_at(history, name)
        return None if t is None else t - issued

    reach("damage seen", since_fault("damaged"), "wait")
    reach("detected", since_fault("detected"), "wait")
    reach("procedure started", since_fault("recovering"), "wait")
    for step in steps(history):
        if step["started_s"] >= 0 and step["ended_s"] is not None:
            bars.append(Bar(step["name"], step["started_s"], step["ended_s"], "step", step["by"]))
            marks.append(step["ended_s"])
    reach("service back", since_fault("restored"), "wait")
    reach("data verified", since_fault("verified"), "phase")
    reach("stable", since_fault("stable"), "phase")
    return bars


def probe_qualities(history: Source) -> list[ProbeQuality]:
    """How well each probe sampled."""
    return [_quality(history, event) for event in _of(history, "probe")]


def probe_quality(history: Source) -> ProbeQuality | None:
    """Take the worst figures of the user's probes together; None when nothing sampled."""
    each = [quality for quality in probe_qualities(history) if quality.role == "user"]
    if not each:
        return None
    return ProbeQuality(
        probe=", ".join(quality.probe for quality in each),
        role="user",
        interval_s=max(quality.interval_s for quality in each),
        timeout_s=max(quality.timeout_s for quality in each),
        slow_after_s=max(quality.slow_after_s for quality in each),
        planned=sum(quality.planned for quality in each),
        readings=sum(quality.readings for quality in each),
        bad=sum(quality.bad for quality in each),
        rate_hz=min(quality.rate_hz for quality in each),
        late_max_s=max(quality.late_max_s for quality in each),
        largest_gap_s=max(quality.largest_gap_s for quality in each),
        stalled_s=max(quality.stalled_s for quality in each),
    )


def wall_step(history: Source) -> float:
    """Give the largest step of the wall clock that was noticed, in seconds, 0 if none was."""
    return max((abs(e.fields["wall_step_s"]) for e in _of(history, "clock")), default=0.0)


def _of(history: Source, kind: str, ledger: str | None = None) -> list[Event]:
    if isinstance(history, History):
        found: Iterable[Event] = history.events(kind)
    else:
        found = (event for event in history if event.kind == kind)
    return [event for event in found if ledger is None or event.fields.get("ledger") == ledger]


def _us(seconds: float) -> float:
    """Round to the microsecond, as the history is: no digits that were never measured."""
    return round(seconds, 6)


def _declared(history: Source, probe: str) -> dict[str, Any]:
    return next((e.fields for e in _of(history, "probe") if e.fields["probe"] == probe), {})


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
    if len(run) < max(1, int(_declared(history, probe).get("need", 1))):
        return None
    if last_bad < 0:
        before = [r for r in all_taken if r.answered < issued][-1:]
        hidden = max((later.answered - earlier.sent for earlier, later in pairwise([*before, *run])), default=0.0)
        return RecoveryTime(0.0, 0.0, _us(hidden))
    value = _us(run[0].answered - issued)
    return RecoveryTime(value, _us(max(0.0, taken[last_bad].sent - issued)), value)


def _all_read_back(history: Source) -> bool:
    read = {event.fields["ledger"] for event in _of(history, "read_back")}
    return all(name in read for name in ledger_names(history))


def _ledger_losses(history: Source, ledger: str) -> Losses:
    written = {e.fields["seq"]: e.fields["digest"] for e in _of(history, "write", ledger)}
    read_back = next(iter(reversed(_of(history, "read_back", ledger))), None)
    asked = None if read_back is None else read_back.fields.get("asked", read_back.t)
    if asked is not None and kind(history) == "validation":
        asked = min(asked, issued_at(history) or asked)  # the original writes on; no copy can hold that
    receipts = {
        e.fields["seq"]: e.fields["acknowledged"]
        for e in _of(history, "receipt", ledger)
        if asked is None or e.fields["acknowledged"] <= asked
    }
    deletions = {e.fields["seq"]: e.t for e in _of(history, "deleted", ledger) if asked is None or e.t <= asked}
    unknown = sum(1 for e in _of(history, "refused", ledger) if e.fields["seq"] not in receipts)
    if read_back is None:
        return Losses(acknowledged=len(receipts), unknown=unknown)

    rows = [(row[0], row[1], row[2]) for row in read_back.fields["rows"]]
    present = Counter(seq for seq, _, _ in rows)
    chain = dict(zip(sorted(written), [GENESIS, *(written[seq] for seq in sorted(written))], strict=False))
    corrupted = sorted({seq for seq, mark, prev in rows if written.get(seq) != mark or chain.get(seq) != prev})
    lost = sorted(seq for seq in receipts if seq not in present and seq not in deletions)
    resurrected = sorted(seq for seq in deletions if seq in present)
    restored = phase_at(history, "restored")
    return Losses(
        acknowledged=len(receipts),
        lost=lost,
        corrupted=corrupted,
        duplicated=sorted(seq for seq, times in present.items() if times > 1),
        resurrected=resurrected,
        unknown=unknown,
        oldest_lost_t=min([receipts[seq] for seq in lost] + [deletions[seq] for seq in resurrected], default=None),
        lost_after_restore=[] if restored is None else [seq for seq in lost if receipts[seq] > restored],
        read=True,
    )


def _quality(history: Source, declared: Event) -> ProbeQuality:
    fields = declared.fields
    taken = readings(history, fields["probe"])
    ended: dict[str, Any] = next(
        (e.fields for e in _of(history, "probe_ended") if e.fields["probe"] == fields["probe"]), {}
    )
    span = taken[-1].sent - taken[0].sent if len(taken) > 1 else 0.0
    return ProbeQuality(
        probe=fields["probe"],
        role=fields.get("role", "user"),
        interval_s=fields["interval_s"],
        timeout_s=fields["timeout_s"],
        slow_after_s=fields["slow_after_s"],
        planned=ended.get("planned", len(taken)),
        readings=len(taken),
        bad=sum(1 for reading in taken if not reading.ok),
        rate_hz=round((len(taken) - 1) / span, 2) if span else 0.0,
        late_max_s=ended.get("late_max_s", 0.0),
        largest_gap_s=_largest_gap(history, [reading.sent for reading in taken]),
        stalled_s=max((reading.stalled_s for reading in taken), default=0.0),
    )


def _largest_gap(history: Source, sent: Sequence[float]) -> float:
    """Between starts of readings, while recovery was measured; what was not sampled at either edge is a gap as well."""
    start, end = issued_at(history), measured_until(history)
    if start is None:
        return _us(max((b - a for a, b in pairwise(sent)), default=0.0))
    inside = [t for t in sent if t >= start and (end is None or t <= end)]
    before = max((t for t in sent if t < start), default=start)
    after = [] if end is None else [min((t for t in sent if t > end), default=end)]
    return _us(max((b - a for a, b in pairwise([before, *inside, *after])), default=0.0))
