"""Drills that were repeated in one run: what all repeats show together, in words."""

from collections.abc import Sequence
from dataclasses import dataclass

from drills.repeats import Distribution, Quantiles, distribution

from .view import View
from .words import NEVER, objective, seconds

FEW = 20
"""Below so many repeats the 95th percentile is the worst of them."""


@dataclass(frozen=True)
class Series:
    """The repeats of one drill in one run, in their order, and what they show together."""

    views: list[View]
    found: Distribution

    @property
    def drill(self) -> str:
        """The drill's name."""
        return self.views[0].drill

    @property
    def rto_s(self) -> float | None:
        """What was promised."""
        return self.views[0].rto_s

    @property
    def rpo_s(self) -> float | None:
        """What was promised."""
        return self.views[0].rpo_s

    @property
    def counted(self) -> str:
        """How many repeats the figures are of: `4 of 5 repeats, seed 7; 1 proved nothing`."""
        found = self.found
        parts = [f"{found.rta_s.measured} of {found.of} repeats, seed {self.views[0].count('repeat', 'seed')}"]
        parts += [f"{found.proved_nothing} proved nothing"] if found.proved_nothing else []
        parts += [f"{found.of - found.held} left no record"] if found.held < found.of else []
        return "; ".join(parts)

    @property
    def rta(self) -> str:
        """The recovery time over all repeats, in words."""
        return told(self.found.rta_s, NEVER)

    @property
    def rpa(self) -> str:
        """The recovery point over all repeats, in words."""
        return told(self.found.rpa_s, "never read back")

    @property
    def words(self) -> str:
        """All of it on one line."""
        return (
            f"{self.drill}: {self.counted}; RTA {self.rta} / {objective(self.rto_s)}; "
            f"RPA {self.rpa} / {objective(self.rpo_s)}"
        )

    @property
    def caution(self) -> str:
        """What must be known of so few repeats; empty for enough."""
        return f"Below {FEW} repeats the 95th percentile is the worst one." if self.found.rta_s.measured < FEW else ""


def series_of(views: Sequence[View]) -> list[Series]:
    """Find the drills of a run that were repeated, in order of their beginning."""
    found: dict[tuple[str, str], list[View]] = {}
    for view in views:
        if view.repeat is not None:
            found.setdefault((view.scenario, view.drill), []).append(view)
    return [
        Series(sorted(each, key=lambda view: view.repeat or (0, 0)), distribution([view.record for view in each]))
        for each in found.values()
    ]


def told(figure: Quantiles, never: str) -> str:
    """Say the quantiles of a figure; `never` is what a repeat did that has none."""
    if not figure.measured:
        return "not measured"
    text = ", ".join(f"{name} {seconds(getattr(figure, name), 'never')}" for name in ("p50", "p95", "worst"))
    return f"{text} ({figure.never} {never})" if figure.never else text
