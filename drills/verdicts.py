"""The verdict on one drill: met, missed, or nothing proven, in that order of difficulty to reach.

MET needs everything to be proven: the steady state before, the damage, the service back, its data read back, the
figures within the objective. Whatever is not proven is never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Self

from drills import measures
from drills.history import History
from drills.measures import Bounds, Losses, RecoveryTime, Source
from drills.objectives import Objective
from drills.redaction import kept

_LONGEST = 8000  # characters of what a failure said: a stack trace and more


class Verdict(StrEnum):
    """What a drill proved about an objective."""

    MET = "MET"
    MISSED = "MISSED"
    INCONCLUSIVE = "INCONCLUSIVE"
    ENVIRONMENT = "ENVIRONMENT"


# A miss is a fact and outranks whatever else stayed open; then what proved nothing.
_WORST_FIRST = (Verdict.MISSED, Verdict.INCONCLUSIVE, Verdict.ENVIRONMENT, Verdict.MET)
_EXIT_CODES = {Verdict.MET: 0, Verdict.MISSED: 1, Verdict.INCONCLUSIVE: 3, Verdict.ENVIRONMENT: 3}


def worst(verdicts: Iterable[Verdict]) -> Verdict:
    """Give the verdict on several drills together; INCONCLUSIVE for none at all, since nothing was proven."""
    found = set(verdicts)
    return next((verdict for verdict in _WORST_FIRST if verdict in found), Verdict.INCONCLUSIVE)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """0 met, 1 missed, 3 inconclusive or environment (2 is a usage error, which has no verdict)."""
    return _EXIT_CODES[worst(verdicts)]


@dataclass(frozen=True)
class Failure:
    """An exception that ended or disturbed a drill, in a form that a record can keep.

    Attributes:
        kinds: the names of its class and of its bases, most special first.
        message: what it said.

    """

    kinds: tuple[str, ...]
    message: str

    @classmethod
    def of(cls, error: BaseException) -> Self:
        """Make the failure that an exception stands for."""
        kinds = tuple(kind.__name__ for kind in type(error).__mro__ if kind is not object)
        return cls(kinds, kept(" ".join(str(error).split()), _LONGEST) or kinds[0])

    @classmethod
    def from_record(cls, data: dict[str, Any] | None) -> Self | None:
        """Read the failure that `as_record` wrote; None for none."""
        return None if data is None else cls(tuple(data["kinds"]), data["message"])

    def as_record(self) -> dict[str, Any]:
        """Write the failure as JSON."""
        return {"kinds": list(self.kinds), "message": self.message}

    def is_a(self, *kinds: str) -> bool:
        """Whether its class or one of its bases has one of these names."""
        return not set(kinds).isdisjoint(self.kinds)

    def __str__(self) -> str:
        return f"{self.kinds[0]}: {self.message}"


@dataclass(frozen=True)
class Achieved:
    """What was achieved, in seconds; None for what was not reached or not measured."""

    recovery: RecoveryTime | None
    rpa_s: float | None
    losses: Losses
    downtime: Bounds
    writes_back: RecoveryTime | None


@dataclass(frozen=True)
class Judgement:
    """A verdict, the one sentence that gives its reason with figures, and what was achieved."""

    verdict: Verdict
    why: str
    achieved: Achieved


def measure(history: Source) -> Achieved:
    """All that is measured for a verdict."""
    return Achieved(
        recovery=measures.recovery_time(history),
        rpa_s=measures.recovery_point(history),
        losses=measures.losses(history),
        downtime=measures.downtime(history),
        writes_back=measures.writes_back(history),
    )


def judge(history: Source, objective: Objective, failure: BaseException | Failure | None = None) -> Judgement:
    """Judge one drill by its history, its objective and the first failure that disturbed it.

    A failure that came after the service was measured (phase `stable`) cannot turn a miss into something milder, and
    never leaves a pass.
    """
    if isinstance(failure, BaseException):
        failure = Failure.of(failure)
    achieved = measure(history)
    early = failure if failure and measures.phase_at(history, "stable") is None else None
    for verdict, why in (
        (Verdict.ENVIRONMENT, _environment(early)),
        (Verdict.INCONCLUSIVE, _unproven(history, objective, failure, achieved)),
        (Verdict.MISSED, _missed(history, objective, failure, achieved)),
        (Verdict.ENVIRONMENT, _environment(failure)),
        (Verdict.INCONCLUSIVE, str(failure) if failure else ""),
    ):
        if why:
            return Judgement(verdict, why, achieved)
    word = "backup verified" if measures.kind(history) == "validation" else "recovered"
    caveats = [event.fields["text"] for event in _events(history, "caveat")]
    return Judgement(Verdict.MET, "; ".join([_met(objective, achieved, word), *caveats]), achieved)


def _environment(failure: Failure | None) -> str:
    return f"the environment failed: {failure.message}" if failure and failure.is_a("EnvironmentFailed") else ""


def _unproven(history: Source, objective: Objective, failure: Failure | None, achieved: Achieved) -> str:
    """Say why the drill proved nothing; empty if it proved something."""
    early = failure if measures.phase_at(history, "stable") is None else None
    validation = measures.kind(history) == "validation"
    if validation:  # a backup that cannot be restored leaves no copy, and is what a validation looks for
        damaged = bool(_proof(history)) or (early is not None and _says_something_about_recovery(early, damaged=True))
    else:
        damaged = measures.phase_at(history, "damaged") is not None and bool(_proof(history))
    if early and early.is_a("Inconclusive"):
        return early.message
    if early and not _says_something_about_recovery(early, damaged=damaged):
        return f"the harness failed: {early}"
    if measures.phase_at(history, "steady") is None:
        return "the steady state was never shown before a fault"
    if measures.issued_at(history) is None:
        return "no fault was issued"
    if not damaged:
        if validation:
            return "no copy was restored, so there was nothing to validate"
        return "no damage was observed, so there was nothing to recover from"
    if failure is None and measures.phase_at(history, "stable") is None:
        return "the drill was cut off before the service was back or given up"
    if objective.rto is None and objective.rpo is None:
        return "no objective was set to judge by"
    return _gap(history) or _no_data_at_stake(history, objective, achieved)


def _says_something_about_recovery(failure: Failure, *, damaged: bool) -> bool:
    # Failed is what pytest.fail() raises; a scenario's own claim that does not hold is a failed check.
    return failure.is_a("NotRecovered", "NotDetected", "ProcedureFailed", "AssertionError", "Failed") or (
        damaged and failure.is_a("WaitTimeout")
    )


def _gap(history: Source) -> str:
    quality = measures.probe_quality(history)
    if quality is None or not quality.readings:
        return "no probe of the user's path took a reading"
    # A gap only widens the bounds, which are what is judged, unless an outage as long as a time-out could hide in it.
    allowed = 3 * quality.interval_s + quality.timeout_s
    if quality.largest_gap_s > allowed:
        gap = f"no reading was taken for {quality.largest_gap_s:.2f} s"
        return f"{gap}, more than the {allowed:.2f} s that sampling may miss"
    return ""


def _no_data_at_stake(history: Source, objective: Objective, achieved: Achieved) -> str:
    if objective.rpo is None:
        return ""
    issued = measures.issued_at(history) or 0.0
    before = any(event.fields["acknowledged"] <= issued for event in _events(history, "receipt"))
    if not achieved.losses.acknowledged or not before:
        return "an RPO was promised and no write was acknowledged before the fault, so no data was at stake"
    return ""


def _missed(history: Source, objective: Objective, failure: Failure | None, achieved: Achieved) -> str:
    """Say what recovery failed at; empty if it failed at nothing."""
    told = failure.message if failure and _says_something_about_recovery(failure, damaged=True) else ""
    if told and measures.phase_at(history, "stable") is None:
        return told
    failed = [event.fields for event in _events(history, "check") if not event.fields["ok"]]
    if failed:
        return f"check failed: {failed[0]['name']} (expected {failed[0]['expected']}, got {failed[0]['got']})" + (
            f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        )
    # The figures first: a scenario's `assert drill.rta <= drill.objective.rto` says less than they do.
    return _data_missed(objective, achieved) or _time_missed(objective, achieved) or told


def _data_missed(objective: Objective, achieved: Achieved) -> str:
    lost = achieved.losses
    if lost.acknowledged and not lost.read:
        return "the ledger was never read back, so its data counts as gone" if objective.rpo is not None else ""
    if lost.corrupted:
        return f"{len(lost.corrupted)} rows came back corrupted (first: row {lost.corrupted[0]})"
    if lost.duplicated:
        return f"{len(lost.duplicated)} rows came back more than once (first: row {lost.duplicated[0]})"
    if lost.lost_after_restore:
        late = len(lost.lost_after_restore)
        return f"{late} writes acknowledged by the recovered service are missing, which no RPO covers"
    if objective.rpo is None or achieved.rpa_s is None:
        return ""
    rpo = objective.rpo.total_seconds()
    if achieved.rpa_s > rpo or (rpo == 0 and (lost.lost or lost.resurrected)):
        return (
            f"{_count(len(lost.lost), 'acknowledged write')} lost and {len(lost.resurrected)} deletions undone, "
            f"the oldest {achieved.rpa_s:.2f} s before the fault, against an RPO of {rpo:g} s"
        )
    return ""


def _time_missed(objective: Objective, achieved: Achieved) -> str:
    if achieved.recovery is None:
        return "the service did not come back for good"
    if achieved.writes_back is None and achieved.losses.acknowledged:
        return (
            f"answers were back in {achieved.recovery.rta_s:.2f} s, but writes were never acknowledged for good again"
        )
    if objective.rto is not None:
        rto = objective.rto.total_seconds()
        took = f"{achieved.recovery.rta_s:.2f} s"
        if achieved.recovery.high_s > rto:
            return f"recovered in {took} (at most {achieved.recovery.high_s:.2f} s), over the RTO of {rto:g} s"
        if achieved.writes_back is not None and achieved.writes_back.high_s > rto:
            return (
                f"answers were back in {took}, but writes were acknowledged for good only after "
                f"{achieved.writes_back.high_s:.2f} s, over the RTO of {rto:g} s"
            )
    if objective.mtd is not None and achieved.downtime.high > objective.mtd.total_seconds():
        return f"down for {achieved.downtime.high:.2f} s in all, over the MTD of {objective.mtd.total_seconds():g} s"
    return ""


def _met(objective: Objective, achieved: Achieved, word: str) -> str:
    parts = []
    if achieved.recovery is not None:
        bound = f"{word} in {achieved.recovery.rta_s:.2f} s (at most {achieved.recovery.high_s:.2f} s"
        parts.append(f"{bound}, RTO {objective.rto.total_seconds():g} s)" if objective.rto is not None else f"{bound})")
    if achieved.rpa_s is not None:
        lost = f"{len(achieved.losses.lost)} of {achieved.losses.acknowledged} acknowledged writes lost"
        point = f"{achieved.rpa_s:.2f} s back"
        parts.append(
            f"{lost}, {point} (RPO {objective.rpo.total_seconds():g} s)" if objective.rpo is not None else lost
        )
    return "; ".join(parts)


def _proof(history: Source) -> list[str]:
    return [
        fact
        for e in _events(history, "fault")
        if e.fields.get("state") == "proved"
        for fact in e.fields.get("proof", [])
    ]


def _events(history: Source, kind: str) -> list[Any]:
    return history.events(kind) if isinstance(history, History) else [event for event in history if event.kind == kind]


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
