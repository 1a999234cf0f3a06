"""What a history says: pure functions of its events, so that any stored drill can be measured again.

How long recovery took is in `drills.recovery`, what became of the data in `drills.losses`, the instants that both go by
in `drills.marks`; all of it is handed out here. This file has the rest of the record.

All times are in seconds since the history's origin, on the monotonic clock; a stepped wall clock changes none of them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

from drills.history import Event
from drills.losses import Losses, RecoveryPoint, losses, point, recovery_point
from drills.marks import (
    Source,
    events_of,
    is_damage_proven,
    issued_at,
    kind,
    ledger_names,
    measured_until,
    phase_at,
    probe_names,
    remembered,
    us,
)
from drills.recovery import (
    LASTING_RECEIPTS,
    Bounds,
    Outage,
    Reading,
    RecoveryTime,
    answers_back,
    downtime,
    outages,
    readings,
    recovery_time,
    writes_back,
    writes_in_a_row,
)

__all__ = [
    "LASTING_RECEIPTS",
    "Bar",
    "Bounds",
    "Detection",
    "Losses",
    "Outage",
    "Phase",
    "ProbeQuality",
    "Reading",
    "RecoveryPoint",
    "RecoveryTime",
    "Source",
    "answers_back",
    "detection",
    "downtime",
    "is_damage_proven",
    "issued_at",
    "kind",
    "ledger_names",
    "losses",
    "measured_until",
    "outages",
    "phase_at",
    "phases",
    "point",
    "probe_names",
    "probe_qualities",
    "probe_quality",
    "readings",
    "recovery_point",
    "recovery_time",
    "steps",
    "wall_step",
    "waterfall",
    "writes_back",
    "writes_in_a_row",
]


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


def phases(history: Source) -> list[Phase]:
    """Give the phases in order of time, each once, relative to the fault (to the origin where none was issued)."""
    zero = issued_at(history) or 0.0
    first: dict[str, Event] = {}
    for event in events_of(history, "phase"):
        first.setdefault(str(event.fields["name"]), event)
    ordered = sorted(first.values(), key=lambda event: event.t)
    return [Phase(str(event.fields["name"]), us(event.t - zero), event.utc) for event in ordered]


def detection(history: Source) -> Detection | None:
    """Tell when the disaster was noticed first, and by what; None when nothing was noticed, or no fault was issued."""
    issued = issued_at(history)
    first = min(events_of(history, "detected"), key=lambda event: event.t, default=None)
    if issued is None or first is None:
        return None
    by = str(first.fields.get("by", ""))
    over = [event.t for event in events_of(history, "resolved") if event.fields.get("by") == by]
    return Detection(
        by, us(first.t - issued), first.utc, first.fields.get("alert"), us(over[0] - issued) if over else None
    )


def steps(history: Source) -> list[dict[str, Any]]:
    """Give the procedure's steps as they ran: name, command, by, started_s, ended_s (or None), state, detail."""
    zero = issued_at(history) or 0.0
    found: dict[object, dict[str, Any]] = {}
    for event in events_of(history, "step"):
        fields = event.fields
        if fields["state"] == "started":
            found[fields["id"]] = {
                "name": fields["name"],
                "command": fields.get("command", ""),
                "by": fields.get("by", "harness"),
                "started_s": us(event.t - zero),
                "ended_s": None,
                "state": "started",
                "detail": fields.get("detail", ""),
            }
        elif fields["id"] in found:
            found[fields["id"]] |= {
                "ended_s": us(event.t - zero),
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
            bars.append(Bar(name, max((mark for mark in marks if mark <= end), default=0.0), us(end), kind))
            marks.append(us(end))

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


@remembered
def probe_qualities(history: Source) -> list[ProbeQuality]:
    """How well each probe sampled."""
    return [_quality(history, event) for event in events_of(history, "probe")]


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
    return max((abs(e.fields["wall_step_s"]) for e in events_of(history, "clock")), default=0.0)


def _quality(history: Source, declared: Event) -> ProbeQuality:
    fields = declared.fields
    taken = readings(history, fields["probe"])
    ended: dict[str, Any] = next(
        (e.fields for e in events_of(history, "probe_ended") if e.fields["probe"] == fields["probe"]), {}
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
        return us(max((b - a for a, b in pairwise(sent)), default=0.0))
    inside = [t for t in sent if t >= start and (end is None or t <= end)]
    before = max((t for t in sent if t < start), default=start)
    after = [] if end is None else [min((t for t in sent if t > end), default=end)]
    return us(max((b - a for a, b in pairwise([before, *inside, *after])), default=0.0))
