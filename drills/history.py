"""The history of one drill: append-only events, one JSON object a line.

Everything that is said about a drill is computed from its history, so that stored drills can be judged again later.
Every event goes to the file as it happens: a killed harness loses nothing that it had written.

Times are seconds since the history's origin on the monotonic clock (`t`); `utc` is what the wall clock said then.
The kinds of events and their fields are listed in docs/history.md.
"""

from __future__ import annotations

import json
import threading
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, Self, TextIO

from drills import events as event_kinds
from drills import parsing, texts
from drills.clock import Clock, Instant, SystemClock, parse_stamp, stamp
from drills.errors import UsageError
from drills.redaction import SECRETS

SCHEMA = "pytest-drills/history/v1"
_RESERVED = frozenset({"t", "utc", "kind"})
_LONGEST_S = 1e9  # 31 years: what is more is no drill, and beyond what dates can be moved by


@dataclass(frozen=True)
class Event:
    """One thing that happened: `t` in seconds since the origin, `utc` as ISO 8601, and the fields of its kind."""

    t: float
    utc: str
    kind: str
    fields: dict[str, Any] = field(default_factory=dict)

    def line(self) -> str:
        """Write the event as one line of JSON; raises UsageError for what JSON cannot hold, NaN included."""
        try:
            return json.dumps({"t": self.t, "utc": self.utc, "kind": self.kind, **self.fields}, allow_nan=False)
        except (TypeError, ValueError, RecursionError) as error:
            raise UsageError(f"event {self.kind!r}: found a field that is not strict JSON ({error})") from error

    @classmethod
    def from_line(cls, line: str) -> Self:
        """Read the event that `line()` wrote; raises ValueError for any other text."""
        data = parsing.loads(line)
        if not isinstance(data, dict) or not data.keys() >= _RESERVED:
            raise ValueError("not an object with t, utc and kind")
        t, utc, kind = data.pop("t"), data.pop("utc"), data.pop("kind")
        if isinstance(t, bool) or not isinstance(t, int | float):
            raise ValueError(f"t is no number: {t!r}")  # noqa: TRY004 - bad input, whatever its type; callers catch ValueError
        if abs(t) > _LONGEST_S:
            raise ValueError(f"t is out of range: {t!r}, expected at most {_LONGEST_S:g} seconds")
        return cls(float(t), str(utc), str(kind), data)


def _fit(event: Event) -> tuple[str, Event]:
    """Write an event without secrets, half characters and endless texts; in this order, for a cut hides a secret."""
    line = SECRETS.clean(event.line())
    if len(line) <= texts.LONGEST and "\\ud" not in line:
        # Nothing in it can be too long, and JSON in ASCII has half characters as \ud800 only.
        try:
            return line, Event.from_line(line)
        except ValueError:  # a number beyond 64 bits, or nested too deep
            pass
    data = json.loads(line)
    for name in _RESERVED:
        data.pop(name)
    line = Event(event.t, event.utc, event.kind, texts.fit(data, SECRETS.clean)).line()
    return line, Event.from_line(line)


class History:
    """An append-only list of events, safe to use from several threads.

    Args:
        clock: where the times come from; the origin is read from it now.
        path: the file that receives each event as it happens; None keeps the history in memory only.

    Raises:
        UsageError: if the file exists already: evidence is never overwritten.

    """

    def __init__(self, clock: Clock | None = None, path: Path | None = None) -> None:
        self.clock: Clock = clock or SystemClock()
        self.origin: Instant = self.clock.now()
        self.path = path
        self.torn = False
        self._events: list[Event] = []
        self._kinds: dict[str, list[Event]] = {}  # an hour's drill has 300,000 events, and measures ask by kind
        self._lock = threading.Lock()
        self._file: TextIO | None = None
        self._writable = True
        if path is not None:
            path.parent.mkdir(parents=True, exist_ok=True)
            try:
                # Line buffered: each event is with the kernel before record() returns.
                self._file = path.open("x", encoding="utf-8", buffering=1)
            except FileExistsError as error:
                raise UsageError(
                    f"history: found {path} in place already, accepted: a path of its own for each drill"
                ) from error

    def record(self, kind: str, *, at: Instant | None = None, **fields: Any) -> Event:  # noqa: ANN401 - JSON values
        """Append one event, now or at an instant known only afterwards.

        Raises:
            UsageError: for a field that is not strict JSON or is called t, utc or kind, and once the history is closed.

        """
        if clash := _RESERVED & fields.keys():
            raise UsageError(f"event {kind!r}: found the field {min(clash)!r}, accepted: any name but t, utc and kind")
        with self._lock:
            if not self._writable:
                raise UsageError(f"event {kind!r}: found a history that is closed, accepted: one that is being written")
            moment = at or self.clock.now()
            # Kept as it reads back (tuples as lists), so that live and stored histories measure the same.
            line, event = _fit(Event(self.seconds(moment.monotonic), stamp(moment.utc), kind, fields))
            if self._file is not None:
                self._file.write(line + "\n")
            self._keep(event)
        return event

    def _keep(self, event: Event) -> None:
        self._events.append(event)
        self._kinds.setdefault(event.kind, []).append(event)

    def seconds(self, monotonic: float) -> float:
        """Turn a monotonic reading into seconds since the origin, to the microsecond."""
        return round(monotonic - self.origin.monotonic, 6)

    def elapsed(self) -> float:
        """Seconds since the origin."""
        return self.seconds(self.clock.monotonic())

    def instant(self, t: float) -> Instant:
        """Give the instant `t` seconds after the origin, for `record(at=...)`."""
        return Instant(self.origin.monotonic + t, self.origin.utc + timedelta(seconds=t))

    def events(self, kind: str | None = None) -> list[Event]:
        """Give the events so far, in the order they were recorded; of one kind if `kind` is given."""
        with self._lock:
            return list(self._events if kind is None else self._kinds.get(kind, []))

    def close(self) -> None:
        """End the history; recording afterwards is refused. Idempotent."""
        with self._lock:
            self._writable = False
            if self._file is not None:
                self._file.close()
                self._file = None

    @classmethod
    def load(cls, path: Path) -> Self:
        """Read a stored history; nothing can be recorded in it.

        A last line without an end is what a killed harness leaves: it is dropped and `torn` is set.

        Raises:
            UsageError: if the file cannot be read or is larger than 512 MiB, any other line is not an event, or a
                field of an event of a known kind has another type.

        """
        try:
            text = parsing.read_bytes(path, parsing.LONGEST_HISTORY).decode("utf-8", "replace")
        except OSError as error:
            raise UsageError(f"history: {parsing.unreadable(path, error, 'a history.jsonl')}") from error
        whole, _, rest = text.rpartition("\n")
        events: list[Event] = []
        for number, line in enumerate(whole.split("\n") if whole else [], start=1):
            try:
                event = Event.from_line(line)
                event_kinds.check(event.kind, event.fields)
            except ValueError as error:
                raise UsageError(
                    f"{path}, line {number}: found {line[:80]!r} ({error}), accepted: one event a line"
                ) from error
            events.append(event)
        history = cls(_Stored(_origin_utc(events, path)))
        history.path = path
        history.torn = bool(rest)
        for event in events:
            history._keep(event)
        history._writable = False
        return history


class _Stored:
    """The clock of a stored history: stopped at its origin."""

    def __init__(self, utc: datetime) -> None:
        self._now = Instant(0.0, utc)

    def now(self) -> Instant:
        return self._now

    def monotonic(self) -> float:
        return self._now.monotonic

    def sleep(self, seconds: float) -> None:
        raise UsageError(f"sleep: found a stored history asked to wait {seconds} s, accepted: a live one")


def _origin_utc(events: list[Event], path: Path) -> datetime:
    if not events:
        return datetime.fromtimestamp(0, tz=SystemClock().now().utc.tzinfo)
    first = events[0]
    try:
        if first.kind == "opened":
            return parse_stamp(str(first.fields.get("origin_utc", first.utc)))
        return parse_stamp(first.utc) - timedelta(seconds=first.t)
    except (ValueError, OverflowError) as error:
        raise UsageError(f"{path}, line 1: found {first.utc!r} ({error}), accepted: a UTC stamp") from error
