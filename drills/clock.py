"""Time: durations from the monotonic clock, UTC stamps for the record.

A wall clock may be stepped by NTP in the middle of a drill; the monotonic one may not. No figure of a drill is
the difference of two UTC stamps.
"""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Protocol


@dataclass(frozen=True)
class Instant:
    """One moment on both clocks: `monotonic` in seconds from an arbitrary zero, `utc` aware."""

    monotonic: float
    utc: datetime


class Clock(Protocol):
    """What everything that measures asks for the time."""

    def now(self) -> Instant:
        """Both clocks, read together."""
        ...

    def monotonic(self) -> float:
        """Seconds from an arbitrary zero; never goes backwards."""
        ...

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        ...


class SystemClock:
    """The machine's own clocks."""

    def now(self) -> Instant:
        """Both clocks, read together."""
        return Instant(time.monotonic(), datetime.now(UTC))

    def monotonic(self) -> float:
        """Seconds from an arbitrary zero; never goes backwards."""
        return time.monotonic()

    def sleep(self, seconds: float) -> None:
        """Let that many seconds pass."""
        time.sleep(max(0.0, seconds))


class FakeClock:
    """A clock that a test moves by hand; `sleep` advances it at once.

    >>> clock = FakeClock()
    >>> before = clock.now()
    >>> clock.step_wall(3600.0)
    >>> clock.advance(2.5)
    >>> clock.now().monotonic - before.monotonic
    2.5
    """

    def __init__(self, start: float = 0.0, utc: datetime = datetime(2026, 1, 1, tzinfo=UTC)) -> None:
        self._monotonic = start
        self._utc = utc.astimezone(UTC)
        self._lock = threading.Lock()

    def now(self) -> Instant:
        """Both clocks, read together."""
        with self._lock:
            return Instant(self._monotonic, self._utc)

    def monotonic(self) -> float:
        """Seconds since `start` was set, as moved by hand."""
        with self._lock:
            return self._monotonic

    def sleep(self, seconds: float) -> None:
        """Advance by that many seconds without waiting."""
        self.advance(max(0.0, seconds))

    def advance(self, seconds: float) -> None:
        """Move both clocks forward.

        Raises:
            ValueError: for a negative number, because the monotonic clock never goes backwards.

        """
        if seconds < 0:
            raise ValueError(
                f"seconds: found {seconds}, accepted: 0 or more (use step_wall to move the wall clock back)"
            )
        with self._lock:
            self._monotonic += seconds
            self._utc += timedelta(seconds=seconds)

    def step_wall(self, seconds: float) -> None:
        """Step the wall clock alone, in either direction, as NTP or an operator does."""
        with self._lock:
            self._utc += timedelta(seconds=seconds)


def stamp(moment: datetime) -> str:
    """ISO 8601 in UTC with milliseconds and a Z, the one format of every file of the harness.

    >>> stamp(datetime(2026, 11, 21, 9, 33, 6, 123456, tzinfo=UTC))
    '2026-11-21T09:33:06.123Z'
    """
    return moment.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def parse_stamp(text: str) -> datetime:
    """Read the moment that `stamp` wrote; raises ValueError for anything without a zone."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(
            f"time stamp: found {text!r}, accepted: ISO 8601 with a zone, such as 2026-11-21T09:33:06.123Z"
        )
    try:
        return moment.astimezone(UTC)
    except OverflowError as error:
        raise ValueError(f"time stamp: invalid value {text!r}: expected one within the calendar in UTC") from error
