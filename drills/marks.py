"""The marks of a history: its events by kind, and the instants by which everything else in it is measured."""

from __future__ import annotations

import functools
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Concatenate, ParamSpec, TypeAlias, TypeVar

from drills.history import Event, History

P = ParamSpec("P")
T = TypeVar("T")


class Indexed:
    """A history as it is now, its events by kind, and what was measured of it already: measures ask each other a lot.

    Args:
        history: what is looked at; what is recorded in it afterwards is not seen.

    """

    def __init__(self, history: History | Sequence[Event]) -> None:
        self.events: list[Event] = history.events() if isinstance(history, History) else list(history)
        self.measured: dict[tuple[object, ...], Any] = {}
        self._kinds: dict[str, list[Event]] = {}
        self._ledgers: dict[tuple[str, str], list[Event]] = {}
        for event in self.events:
            self._kinds.setdefault(event.kind, []).append(event)

    def of(self, kind: str, ledger: str | None) -> list[Event]:
        """Give the events of one kind, of one ledger if it is given."""
        found = self._kinds.get(kind, [])
        if ledger is None:
            return found
        key = (kind, ledger)
        if key not in self._ledgers:
            self._ledgers[key] = [event for event in found if event.fields.get("ledger") == ledger]
        return self._ledgers[key]


Source: TypeAlias = History | Sequence[Event] | Indexed
"""A history, the events of one, or one whose measures are remembered."""


def indexed(history: Source) -> Indexed:
    """Look at a history once for all measures; what is looked at already stays as it is."""
    return history if isinstance(history, Indexed) else Indexed(history)


def remembered(measure: Callable[Concatenate[Source, P], T]) -> Callable[Concatenate[Source, P], T]:
    """Make a measure that computes once what it is asked of one `Indexed` history, and always of any other.

    What it returns is handed out again: nobody may change it.
    """

    @functools.wraps(measure)
    def asked(history: Source, /, *args: P.args, **kwargs: P.kwargs) -> T:
        if not isinstance(history, Indexed):
            return measure(history, *args, **kwargs)
        key = (measure.__qualname__, measure.__module__, args, tuple(sorted(kwargs.items())))
        if key not in history.measured:
            history.measured[key] = measure(history, *args, **kwargs)
        found: T = history.measured[key]
        return found

    return asked


def events_of(history: Source, kind: str, ledger: str | None = None) -> list[Event]:
    """Give the events of one kind, in the order they were recorded; of one ledger if it is given."""
    if isinstance(history, Indexed):
        return history.of(kind, ledger)
    if isinstance(history, History):
        found: Iterable[Event] = history.events(kind)
    else:
        found = (event for event in history if event.kind == kind)
    return [event for event in found if ledger is None or event.fields.get("ledger") == ledger]


def all_events(history: Source) -> list[Event]:
    """Give all events in the order they were recorded."""
    return indexed(history).events


def us(seconds: float) -> float:
    """Round to the microsecond, as the history is: no digits that were never measured."""
    return round(seconds, 6)


def issued_at(history: Source) -> float | None:
    """When the fault was issued; None when none was."""
    return next((e.t for e in events_of(history, "fault") if e.fields.get("state") == "issued"), None)


def kind(history: Source) -> str:
    """What was held: a "disaster", or a "validation" of a backup, in which nothing is broken.

    In a validation the clock runs from its start instead of the fault's instant, to the data of the copy verified.
    """
    held = {
        e.fields.get("purpose", "disaster") for e in events_of(history, "fault") if e.fields.get("state") == "issued"
    }
    return "validation" if "validation" in held else "disaster"


def proof(history: Source) -> list[str]:
    """Give the damage as it was observed, one fact a string; facts without a word are none."""
    return [
        str(fact)
        for event in events_of(history, "fault")
        if event.fields.get("state") == "proved"
        for fact in event.fields.get("proof", [])
        if str(fact).strip()
    ]


def is_damage_proven(history: Source) -> bool:
    """Whether damage was observed (in a validation: a copy), so that there was something to recover from."""
    if kind(history) != "validation" and phase_at(history, "damaged") is None:
        return False
    return bool(proof(history))


def phase_at(history: Source, name: str) -> float | None:
    """When a phase began first; None when it never did."""
    return next((e.t for e in events_of(history, "phase") if e.fields.get("name") == name), None)


def measured_until(history: Source) -> float | None:
    """When measuring the recovery ended: at `stable`, else at the first failure; None if neither was reached.

    What comes later is the harness cleaning up after its own fault, and counts for nothing.
    """
    stable = phase_at(history, "stable")
    return stable if stable is not None else next((event.t for event in events_of(history, "failed")), None)


def probe_names(history: Source, role: str | None = None) -> list[str]:
    """Name the probes that sampled, those of one role if it is given."""
    return [
        e.fields["probe"] for e in events_of(history, "probe") if role is None or e.fields.get("role", "user") == role
    ]


def declared(history: Source, probe: str) -> dict[str, Any]:
    """Give what a probe said of itself when sampling began; nothing if it did not."""
    return next((e.fields for e in events_of(history, "probe") if e.fields["probe"] == probe), {})


def may_be_missed_s(interval_s: float, timeout_s: float) -> float:
    """How long sampling may take no reading, in seconds: more, and an outage as long as a time-out could hide in it."""
    return 3 * interval_s + timeout_s


def ledger_names(history: Source) -> list[str]:
    """Name the ledgers that something was written to."""
    return list(dict.fromkeys(e.fields["ledger"] for e in events_of(history, "write")))


def read_back(history: Source, ledger: str) -> Event | None:
    """Give the last time that a ledger was read back while recovery was measured; None if it never was."""
    stable = phase_at(history, "stable")
    found = [e for e in events_of(history, "read_back", ledger) if stable is None or e.t <= stable]
    return found[-1] if found else None


def asked_at(reading: Event) -> float:
    """When the reading back of a ledger began, in seconds since the origin."""
    return float(reading.fields.get("asked", reading.t))
