"""The verdict on one drill: met, missed, or nothing proven, in that order of difficulty to reach.

MET needs everything to be proven: the steady state before, the damage, the service back, its data read back, the
figures within the objective. Whatever is not proven is never a pass.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from drills import measures, order, stakes
from drills.failures import Failure
from drills.marks import events_of, indexed, may_be_missed_s
from drills.measures import Bounds, Losses, RecoveryPoint, RecoveryTime, Source
from drills.objectives import Objective
from drills.redaction import kept

__all__ = [
    "Achieved",
    "Failure",
    "Judgement",
    "Verdict",
    "exit_code",
    "failure_in",
    "in_a_line",
    "judge",
    "measure",
    "worst",
]

_LONGEST_WHY = 1000  # characters; a reason stands in a table


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
class Achieved:
    """What was achieved, in seconds; None for what was not reached or not measured.

    Attributes:
        recovery: the time until the service was back: answers and, where writes are watched, these.
        answers: the time until users got answers for good.
        writes_back: the time until writes were acknowledged for good.
        point: how far back acknowledged writes are gone.
        losses: which ones.
        downtime: how long the service was away in all, up to the end of measuring.

    """

    recovery: RecoveryTime | None
    answers: RecoveryTime | None
    writes_back: RecoveryTime | None
    point: RecoveryPoint | None
    losses: Losses
    downtime: Bounds

    @property
    def rpa_s(self) -> float | None:
        """Recovery point achieved, in seconds; None if it was not measured."""
        return None if self.point is None else self.point.rpa_s


@dataclass(frozen=True)
class Judgement:
    """A verdict, the one sentence that gives its reason with figures, and what was achieved."""

    verdict: Verdict
    why: str
    achieved: Achieved


def measure(history: Source) -> Achieved:
    """All that is measured for a verdict; no time from a fault to anything where the damage was never proven."""
    history = indexed(history)
    proven = measures.is_damage_proven(history)
    return Achieved(
        recovery=measures.recovery_time(history) if proven else None,
        answers=measures.answers_back(history) if proven and measures.kind(history) == "disaster" else None,
        writes_back=measures.writes_back(history) if proven else None,
        point=measures.point(history) if proven else None,
        losses=measures.losses(history),
        downtime=measures.downtime(history),
    )


def judge(
    history: Source, objective: Objective, failure: BaseException | Failure | None = None, *, running: bool = False
) -> Judgement:
    """Judge one drill by its history, its objective and the first failure that disturbed it.

    A failure that came after the service was measured (phase `stable`) cannot turn a miss into something milder, and
    never leaves a pass. A miss that was measured is a fact, whatever else the history lacks.

    Args:
        history: what happened.
        objective: what was promised.
        failure: the first failure that disturbed the drill; by default the one that the history has.
        running: whether the drill goes on: a history that is being written has no end yet.

    """
    if isinstance(failure, BaseException):
        failure = Failure.of(failure)
    history = indexed(history)
    failure = failure or failure_in(history)
    achieved = measure(history)
    early = failure if failure and measures.phase_at(history, "stable") is None else None
    for verdict, why in (
        (Verdict.ENVIRONMENT, _environment(early)),
        (Verdict.INCONCLUSIVE, _unproven(history, objective, early, achieved)),
        (Verdict.MISSED, _missed(history, objective, failure, achieved)),
        (Verdict.ENVIRONMENT, _environment(failure)),
        (Verdict.INCONCLUSIVE, _disturbed(failure)),
        (Verdict.INCONCLUSIVE, _open(history, objective, achieved, running=running)),
    ):
        if why:
            return Judgement(verdict, in_a_line(why), achieved)
    word = "backup verified" if measures.kind(history) == "validation" else "recovered"
    caveats = [event.fields["text"] for event in events_of(history, "caveat")]
    return Judgement(Verdict.MET, in_a_line("; ".join([_met(objective, achieved, word), *caveats])), achieved)


def failure_in(history: Source) -> Failure | None:
    """Give the first failure that a history has; None if it has none."""
    return next((Failure.from_record(event.fields) for event in events_of(history, "failed")), None)


def in_a_line(text: str) -> str:
    """Put a reason into one line that fits a table; what is cut off is said, and no secret is cut in two."""
    return kept(" ".join(text.split()), _LONGEST_WHY)


def _environment(failure: Failure | None) -> str:
    return f"the environment failed: {failure.message}" if failure and failure.is_a("EnvironmentFailed") else ""


def _disturbed(failure: Failure | None) -> str:
    if failure is None:
        return ""
    return failure.message if failure.cut_off else str(failure)


def _unproven(history: Source, objective: Objective, early: Failure | None, achieved: Achieved) -> str:
    """Say why the drill proved nothing; empty if it proved something. `early` came before the service was measured."""
    damaged = measures.is_damage_proven(history)
    if measures.kind(history) == "validation" and early is not None:
        # A backup that cannot be restored leaves no copy, and is what a validation looks for.
        damaged = damaged or early.says_it_failed(damaged=True)
    if early and early.is_a("Inconclusive"):
        return early.message
    if early and early.cut_off:
        return f"the drill was cut off: {early.message}"
    if early and early.defect and damaged:
        return f"the harness failed in its own code ({early.defect}): {early}"
    if early and not early.says_it_failed(damaged=damaged):
        return f"{_when(history)}the harness failed: {early}"
    if measures.phase_at(history, "steady") is None:
        return _instead(early, "before the steady state was shown", "the steady state was never shown before a fault")
    if measures.issued_at(history) is None:
        return _instead(early, "before a fault was issued", "no fault was issued")
    if not damaged:
        if measures.kind(history) == "validation":
            return "no copy was restored, so there was nothing to validate"
        nothing = "no damage was observed, so there was nothing to recover from"
        return _instead(early, "before any damage was observed", nothing)
    if early is None and measures.phase_at(history, "stable") is None:
        return "the drill was cut off before the service was back or given up"
    if objective.rto is None and objective.rpo is None:
        return "no objective was set to judge by"
    return (
        _gap(history)
        or order.need_unknown(history)
        or order.disorder(history)
        or order.unsteady(history)
        or _no_data_at_stake(history, objective, achieved)
    )


def _when(history: Source) -> str:
    """Say how far a drill had come that ended before its fault had bitten."""
    if measures.phase_at(history, "steady") is None:
        return "before the steady state was shown, "
    return "before a fault was issued, " if measures.issued_at(history) is None else ""


def _instead(early: Failure | None, when: str, nothing: str) -> str:
    """Name what ended the drill early, which says more than what it therefore lacks."""
    return nothing if early is None else f"the drill ended {when}: {early}"


def _gap(history: Source) -> str:
    quality = measures.probe_quality(history)
    if quality is None or not quality.readings:
        return "no probe of the user's path took a reading"
    allowed = may_be_missed_s(quality.interval_s, quality.timeout_s)  # a shorter gap only widens the bounds
    if quality.largest_gap_s > allowed:
        gap = f"no reading was taken for {quality.largest_gap_s:.2f} s"
        return f"{gap}, more than the {allowed:.2f} s that sampling may miss"
    return ""


def _no_data_at_stake(history: Source, objective: Objective, achieved: Achieved) -> str:
    if objective.rpo is None:
        return ""
    issued = measures.issued_at(history) or 0.0
    before = any(event.fields["acknowledged"] <= issued for event in events_of(history, "receipt"))
    if not achieved.losses.acknowledged or not before:
        return "an RPO was promised and no write was acknowledged before the fault, so no data was at stake"
    return ""


def _missed(history: Source, objective: Objective, failure: Failure | None, achieved: Achieved) -> str:
    """Say what recovery failed at; empty if it failed at nothing."""
    told = _told(failure) if failure and failure.says_it_failed(damaged=True) else ""
    if told and measures.phase_at(history, "stable") is None:
        return told
    failed = [event.fields for event in events_of(history, "check") if event.fields["ok"] is not True]
    if failed:
        return f"check failed: {failed[0]['name']} (expected {failed[0]['expected']}, got {failed[0]['got']})" + (
            f" and {len(failed) - 1} more" if len(failed) > 1 else ""
        )
    # The figures first: a scenario's `assert drill.rta <= drill.objective.rto` says less than they do.
    return _data_missed(objective, achieved) or _time_missed(history, objective, achieved) or told


def _told(failure: Failure) -> str:
    """Say what a failed recovery said of itself; by its class too, where that is not one of the harness's own."""
    named = failure.is_a("DrillError", "AssertionError", "Failed")
    return failure.message if named else f"the procedure failed: {failure}"


def _data_missed(objective: Objective, achieved: Achieved) -> str:
    lost = achieved.losses
    if lost.acknowledged and not lost.read:
        return "the ledger was never read back, so its data counts as gone" if objective.rpo is not None else ""
    if lost.corrupted:
        return f"{len(lost.corrupted)} rows came back corrupted (first: row {lost.corrupted[0]})"
    if lost.duplicated:
        return f"{len(lost.duplicated)} rows came back more than once (first: row {lost.duplicated[0]})"
    if lost.lost_before_backup:
        early = len(lost.lost_before_backup)
        return f"{early} writes acknowledged before the recovery point on offer are missing, which no RPO covers"
    if lost.lost_after_restore:
        late = len(lost.lost_after_restore)
        return f"{late} writes acknowledged by the recovered service are missing, which no RPO covers"
    if lost.undone_after_restore:
        late = len(lost.undone_after_restore)
        return f"{late} deletions acknowledged by the recovered service are undone, which no RPO covers"
    if objective.rpo is None or achieved.point is None:
        return ""
    rpo = objective.rpo.total_seconds()
    if achieved.point.rpa_s > rpo or (rpo == 0 and (lost.lost or lost.resurrected)):
        return (
            f"{_count(len(lost.lost), 'acknowledged write')} lost and {len(lost.resurrected)} deletions undone, "
            f"the oldest {_age(achieved.point)}, against an RPO of {rpo:g} s"
        )
    return ""


def _age(point: RecoveryPoint) -> str:
    """Say how old the oldest missing write was, and from when on that is counted."""
    least = "at least " if point.at_least else ""
    if point.stopped_s:
        return (
            f"{least}{point.rpa_s:.2f} s before the service stopped acknowledging writes, "
            f"{point.stopped_s:.2f} s after the fault"
        )
    return f"{least}{point.rpa_s:.2f} s before the fault"


def _time_missed(history: Source, objective: Objective, achieved: Achieved) -> str:
    answers, writes = achieved.answers, achieved.writes_back
    if achieved.recovery is None and (answers is None or achieved.losses.acknowledged == 0):
        return "the service did not come back for good"
    if writes is None and achieved.losses.acknowledged and _was_refused(history):
        took = "" if answers is None else f"answers were back in {answers.rta_s:.2f} s, but "
        return f"{took}writes were never acknowledged for good again"
    if achieved.recovery is None:
        return "" if achieved.losses.read else "the service did not come back for good"
    if objective.rto is not None and achieved.recovery.high_s > objective.rto.total_seconds():
        rto = objective.rto.total_seconds()
        if writes is not None and answers is not None and answers.high_s <= rto:
            return (
                f"answers were back in {answers.rta_s:.2f} s, but writes were acknowledged for good only after "
                f"{writes.high_s:.2f} s, over the RTO of {rto:g} s"
            )
        took = f"{achieved.recovery.rta_s:.2f} s"
        return f"recovered in {took} (at most {achieved.recovery.high_s:.2f} s), over the RTO of {rto:g} s"
    if objective.mtd is not None and achieved.downtime.high > objective.mtd.total_seconds():
        return f"down for {achieved.downtime.high:.2f} s in all, over the MTD of {objective.mtd.total_seconds():g} s"
    return ""


def _was_refused(history: Source) -> bool:
    issued = measures.issued_at(history)
    return issued is not None and any(event.t >= issued for event in events_of(history, "refused"))


def _open(history: Source, objective: Objective, achieved: Achieved, *, running: bool) -> str:
    """Say what was not proven of a drill that missed nothing; empty if everything was."""
    lost = achieved.losses
    if lost.none_survived:
        gone = f"not one of the writes acknowledged before the fault came back ({len(lost.lost)} are gone)"
        if objective.rpo is None:
            return f"{gone}, and no RPO says how much may be lost"
        return f"{gone}, so the recovery point is not known: {_at_least(achieved)}; begin the ledger earlier"
    if lost.is_oldest_unknown and objective.rpo is not None:
        return (
            "the oldest write that is missing is the first one of its ledger, so the recovery point is not known: "
            f"{_at_least(achieved)}; begin the ledger earlier"
        )
    return (
        order.holes(history)
        or stakes.unwatched(history)
        or order.writes_unproven(history)
        or ("" if running else order.unfinished(history))
    )


def _at_least(achieved: Achieved) -> str:
    return f"at least {achieved.rpa_s or 0.0:.2f} s back"


def _met(objective: Objective, achieved: Achieved, word: str) -> str:
    parts = []
    if achieved.recovery is not None:
        bound = f"{word} in {achieved.recovery.rta_s:.2f} s (at most {achieved.recovery.high_s:.2f} s"
        bound = f"{bound}, RTO {objective.rto.total_seconds():g} s)" if objective.rto is not None else f"{bound})"
        parts.append(bound + _which_was_later(achieved))
    if achieved.point is not None:
        lost = f"{len(achieved.losses.lost)} of {achieved.losses.acknowledged} acknowledged writes lost"
        back = f"{'at least ' if achieved.point.at_least else ''}{achieved.point.rpa_s:.2f} s back"
        parts.append(f"{lost}, {back} (RPO {objective.rpo.total_seconds():g} s)" if objective.rpo is not None else lost)
    return "; ".join(parts)


def _which_was_later(achieved: Achieved) -> str:
    """Say whether answers or writes came back later, where they are further apart than the recovery is uncertain."""
    answers, writes, both = achieved.answers, achieved.writes_back, achieved.recovery
    if (
        answers is None
        or writes is None
        or both is None
        or abs(answers.rta_s - writes.rta_s) <= both.high_s - both.low_s
    ):
        return ""
    if writes.rta_s > answers.rta_s:
        return f", writes last: answers were back in {answers.rta_s:.2f} s"
    return f", answers last: writes were back in {writes.rta_s:.2f} s"


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
