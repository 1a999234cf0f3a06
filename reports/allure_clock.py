"""A drill's times as Allure wants them: milliseconds since 1970, all of them of one clock."""

from dataclasses import dataclass
from datetime import datetime

from .view import View, instant


@dataclass(frozen=True)
class DrillClock:
    """A drill's own time, in milliseconds since 1970: the fault's instant, and what the drill reaches from and to."""

    zero: int
    start: int
    stop: int

    @classmethod
    def of(cls, view: View) -> "DrillClock | None":
        """Set the record's distances on the stamp of its first phase; None where it has no phase or no stamp."""
        phases = view.phases
        if not phases:
            return None
        stamp = instant(phases[0].utc) or view.started
        if stamp is None:
            return None
        zero = round(_ms(stamp) - phases[0].t_s * 1000)
        return cls(zero, zero + round(phases[0].t_s * 1000), zero + round(phases[-1].t_s * 1000))

    def window(self, start_s: float, end_s: float) -> tuple[int, int]:
        """Give begin and end of a stretch, within the drill's: what a record holds beyond it is cut."""
        start = min(max(self.zero + round(start_s * 1000), self.start), self.stop)
        return start, min(max(self.zero + round(end_s * 1000), start), self.stop)


def window(view: View) -> tuple[int | None, int | None]:
    """Give begin and end of a drill in milliseconds since 1970, as its test has them; none where no stamp says."""
    clock = DrillClock.of(view)
    return (clock.start, clock.stop) if clock else _stamps(view)


def _stamps(view: View) -> tuple[int | None, int | None]:
    """Give begin and end of a drill that reached no phase, in milliseconds since 1970; none where it has no stamp."""
    start = _ms(view.started) if view.started else None
    return start, None if start is None else start + round(view.duration_s * 1000)


def _ms(stamp: datetime) -> int:
    return round(stamp.timestamp() * 1000)
