"""What was promised: RTO, RPO and MTD. An objective is set, never measured; what was achieved is RTA and RPA."""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import timedelta

from drills.errors import UsageError
from drills.texts import bounded

_WORDS = {
    "millisecond": 0.001,
    "sec": 1.0, "second": 1.0,
    "min": 60.0, "minute": 60.0,
    "hr": 3600.0, "hour": 3600.0,
    "day": 86400.0,
}  # fmt: skip
_UNITS = {
    "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0,
    **_WORDS, **{f"{word}s": seconds for word, seconds in _WORDS.items()},
}  # fmt: skip
_PART = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,12})?)\s*([a-z]+)", re.IGNORECASE)
_ACCEPTED = "accepted: 90s, 5m, 1h30m, '15 minutes', a timedelta or a number of seconds, none of them negative"


def parse_duration(value: str | float | timedelta, field: str = "duration") -> timedelta:
    """Read a duration as people write it.

    >>> parse_duration("1h30m")
    datetime.timedelta(seconds=5400)

    Raises:
        UsageError: for anything else; `field` is named in the message.

    """
    if isinstance(value, timedelta):
        length = value
    elif isinstance(value, bool):  # YAML reads `yes` as true, and a bool would pass as the number 1
        raise UsageError(f"{field}: found {value!r}, {_ACCEPTED}")
    elif isinstance(value, int | float):
        length = _from_seconds(value, field)
    else:
        length = _from_text(value, field)
    if length < timedelta(0):
        raise UsageError(f"{field}: found {value!r}, {_ACCEPTED}")
    return length


def _from_seconds(value: float, field: str) -> timedelta:
    try:
        return timedelta(seconds=value)
    except (ValueError, OverflowError) as error:  # not a number, infinite, or beyond what timedelta holds
        raise UsageError(f"{field}: found {value!r}, {_ACCEPTED}") from error


def _from_text(value: str, field: str) -> timedelta:
    text = str(value).strip()
    shown = bounded(text, 80)
    parts = list(_PART.finditer(text))
    if not parts or _PART.sub("", text).replace(" ", ""):
        raise UsageError(f"{field}: found {shown!r}, {_ACCEPTED}")
    seconds = 0.0
    for part in parts:
        number, unit = part.groups()
        if unit == "M":
            raise UsageError(
                f"{field}: invalid value {shown!r}: M is minutes to one reader and months to another; "
                f"expected {number} min or {number} months"
            )
        factor = _UNITS.get(unit.lower())
        if factor is None:
            raise UsageError(f"{field}: found {shown!r} with the unit {unit!r}, {_ACCEPTED}")
        seconds += float(number) * factor
    length = _from_seconds(seconds, field)
    if seconds > 0 and not length:
        raise UsageError(f"{field}: invalid value {shown!r}: expected 0, or a microsecond at least")
    return length


@dataclass(frozen=True)
class Objective:
    """What the business was promised for one disaster.

    Attributes:
        rto: recovery time objective: the longest the service may be away; None when none was set.
        rpo: recovery point objective: how far back acknowledged writes may be lost; None when no data is at stake.
        mtd: maximum tolerable downtime (NIST SP 800-34): RTO plus the time to work normally again.
        source: where the promise stands, such as the business impact analysis; for the auditor.

    """

    rto: timedelta | None = None
    rpo: timedelta | None = None
    mtd: timedelta | None = None
    source: str = ""

    def __post_init__(self) -> None:
        for name in ("rto", "rpo", "mtd"):
            value = getattr(self, name)
            if value is not None:
                object.__setattr__(self, name, parse_duration(value, name))
        if self.rto is not None and self.mtd is not None and self.rto > self.mtd:
            raise UsageError(f"mtd: found {self.mtd}, accepted: at least the rto, {self.rto}")
