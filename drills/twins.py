"""Twins: a drill without its fault, or without its procedure, which must fail. One that is met is worse than a miss.

A drill that is MET although a part of it was left out cannot tell a recovery that works from one that does not, so
nothing it ever said counts. The rules are here because the exit code and every report go by them.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from typing import Protocol

from drills.verdicts import Verdict, exit_code

NO_EFFECT = ("no damage was observed", "nothing was restored to")
"""What is said of a disaster that did not happen, and of a copy to validate that was not made."""


class Ended(Protocol):
    """A drill that ended, as its record says."""

    @property
    def verdict(self) -> Verdict:
        """Its verdict."""

    @property
    def why(self) -> str:
        """The reason of the verdict."""

    @property
    def sabotage(self) -> Sequence[str]:
        """What was left out on purpose: "fault", "procedure"; empty for a drill in earnest."""


def as_it_must(sabotage: Collection[str], verdict: Verdict, why: str) -> bool:
    """Whether a sabotaged drill ended as it must: INCONCLUSIVE for want of damage, or MISSED without the procedure.

    A drill may be inconclusive for many reasons; that of a fault which was left out is that it had no effect.
    """
    if "fault" in sabotage:
        return verdict is Verdict.INCONCLUSIVE and why.startswith(NO_EFFECT)
    return verdict is Verdict.MISSED


def passed(drills: Sequence[Ended]) -> list[Ended]:
    """Return the sabotaged drills that were met."""
    return [each for each in drills if each.sabotage and each.verdict is Verdict.MET]


def code(drills: Sequence[Ended], *, with_twins: bool = False) -> int:
    """Return a run's exit code: 1 where a sabotaged drill was met, 3 where a twin showed nothing, else the drills'.

    Args:
        drills: all of the run.
        with_twins: whether it was held with --drill-twins. The drills in earnest are then what it is judged by, and a
            twin counts only where it did not end as it must.

    >>> code([])
    3

    """
    if passed(drills):
        return exit_code([Verdict.MISSED])
    beside = [each for each in drills if each.sabotage and with_twins]
    found = exit_code(each.verdict for each in drills if each not in beside)
    if found == 0 and not all(as_it_must(each.sabotage, each.verdict, each.why) for each in beside):
        return exit_code([Verdict.INCONCLUSIVE])
    return found


def told(sabotage: Collection[str]) -> str:
    """Say what was left out: "its fault", "its procedure"."""
    return " and ".join(f"its {part}" for part in sorted(sabotage))
