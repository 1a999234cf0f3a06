"""The first line of every report: met or missed, in words, with the worst gap between promise and achievement."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from drills import twins
from drills.verdicts import Verdict, worst

from .cells import achieved_point, came_back_last, since
from .palette import VERDICT_WORD
from .view import Problem, View
from .words import seconds

RANK = {verdict: sum(worst((verdict, other)) is not verdict for other in Verdict) for verdict in Verdict}
"""How many verdicts are worse than each."""


@dataclass(frozen=True)
class Headline:
    """A run's verdict: the sentence that counts it, the one that explains it, and what must be known beside it."""

    verdict: Verdict
    count: str
    reason: str = ""
    remark: str = ""

    @property
    def sentence(self) -> str:
        """Count and reason."""
        return f"{self.count} {self.reason}".rstrip()

    @property
    def line(self) -> str:
        """The whole line, verdict first."""
        return f"{VERDICT_WORD[self.verdict]}: {self.sentence}"


@dataclass(frozen=True)
class Gap:
    """How far a drill was from its objective: achieved by promised (above 1 is missed), and that in words."""

    ratio: float
    words: str


def headline(views: Sequence[View], problems: Sequence[Problem] = (), *, with_twins: bool = False) -> Headline:
    """Say what a run proved. A record that cannot be read proves nothing, and counts as inconclusive.

    Args:
        views: its drills.
        problems: its records that cannot be read.
        with_twins: whether it was held with --drill-twins: its drills in earnest are what it is judged by then.

    """
    if passed := [view for view in views if view in twins.passed([view])]:
        more = f" So {'does' if len(passed) == 2 else 'do'} {len(passed) - 1} more." if len(passed) > 1 else ""
        return Headline(Verdict.MISSED, f"{cannot_fail(passed[0])}.{more}", "", _sabotage(views, len(views)))
    all_of_them = views
    twin_views = [view for view in views if view.sabotage and with_twins]
    views = [view for view in views if view not in twin_views]
    shows_nothing = [view for view in twin_views if counted(view, with_twins=True) is not Verdict.MET]
    verdicts = [view.verdict for view in views] + [Verdict.INCONCLUSIVE] * len(problems)
    verdict = worst(verdicts)
    if verdict is Verdict.MET and shows_nothing:
        view = shows_nothing[0]
        return Headline(
            Verdict.INCONCLUSIVE,
            f"{len(shows_nothing)} of {len(twin_views)} twins showed nothing.",
            f"{view.drill} without {twins.told(view.sabotage)}: {view.why.rstrip('.')}.",
            _sabotage(all_of_them, len(all_of_them)),
        )
    total = len(verdicts)
    if not total:
        return Headline(verdict, "no drill left a record, so nothing was proven.")
    about = sum(each is verdict for each in verdicts)
    # What was sabotaged says nothing about recovery, so it is named only where there is nothing else to name.
    of_verdict = [view for view in views if view.verdict is verdict]
    chosen = [view for view in of_verdict if not view.sabotage] or of_verdict
    reason = ""
    if verdict is Verdict.INCONCLUSIVE and not chosen:
        reason = f"{problems[0].path.parent.name}: {problems[0].found}."
    elif verdict in (Verdict.MET, Verdict.MISSED):
        measured = [(view, gap) for view in chosen if (gap := worst_gap(view)) is not None]
        if measured:
            view, gap = max(measured, key=lambda pair: pair[1].ratio)
            which = "Closest" if verdict is Verdict.MET else "Worst"
            reason = f"{which}: {_name(view)}, {gap.words}." if total > 1 else f"{_capital(gap.words)}."
        elif verdict is Verdict.MISSED:
            reason = _reason(chosen[0])
    else:
        reason = _reason(chosen[0])
    return Headline(verdict, _count(verdict, about, total), reason, _sabotage(all_of_them, len(all_of_them)))


def cannot_fail(view: View) -> str:
    """Say of a sabotaged drill that was met what that means, with what was left out."""
    return f"{view.drill} was met without {twins.told(view.sabotage)}: this drill cannot fail, so it proves nothing"


def counted(view: View, *, with_twins: bool) -> Verdict:
    """Return the verdict that counts.

    Args:
        view: a drill.
        with_twins: whether its run was held with --drill-twins. A twin that ended as it must is no miss then.

    """
    if not view.sabotage:
        return view.verdict
    if view.verdict is Verdict.MET:
        return Verdict.MISSED
    as_it_must = with_twins and twins.as_it_must(view.sabotage, view.verdict, view.why)
    return Verdict.MET if as_it_must else view.verdict


def _sabotage(views: Sequence[View], total: int) -> str:
    names = [view.drill for view in views if view.sabotage]
    if not names:
        return ""
    which = (
        "This run was"
        if len(names) == total
        else f"Of these drills, {', '.join(names)} {'was' if len(names) == 1 else 'were'}"
    )
    return f"{which} sabotaged on purpose, to prove that a drill can fail: that says nothing about recovery."


def worst_gap(view: View) -> Gap | None:
    """Find a drill's worst gap.

    None when nothing was promised or measured, or when the drill missed for another reason than a figure.
    """
    gaps = []
    if view.rto_s is not None:
        if view.rta_s is None and view.verdict is Verdict.MISSED and not view.phase("restored"):
            gaps.append(Gap(math.inf, f"the service did not come back (RTO {seconds(view.rto_s)})"))
        elif view.rta_s is not None:
            at_most = view.rta_s if view.rta_high_s is None else view.rta_high_s
            gaps.append(
                _gap(
                    f"service back after {seconds(at_most)} at most{_besides(came_back_last(view))}",
                    at_most,
                    view.rto_s,
                    "RTO",
                )
            )
    if view.rpo_s is not None and view.rpa_s is not None:
        lost = view.writes("lost")
        what = (
            "no acknowledged write lost"
            if lost == 0
            else f"writes lost, back to {achieved_point(view)} before {since(view)}"
            if lost is None
            else f"{lost} acknowledged writes lost, back to {achieved_point(view)} before {since(view)}"
        )
        gaps.append(_gap(what, view.rpa_s, view.rpo_s, "RPO"))
    if not gaps:
        return None
    chosen = max(gaps, key=lambda gap: gap.ratio)
    if view.verdict is Verdict.MISSED and chosen.ratio <= 1:
        return None  # both figures hold: it missed by a failed check or by broken rows, which `why` says
    return chosen


def _besides(text: str) -> str:
    return f" ({text})" if text else ""


def _gap(what: str, achieved: float, promised: float, name: str) -> Gap:
    ratio = achieved / promised if promised > 0 else (math.inf if achieved > 0 else 0.0)
    distance = achieved - promised
    if distance > 0:
        return Gap(ratio, f"{what}, {seconds(distance)} over the {name} of {seconds(promised)}")
    return Gap(ratio, f"{what}, {seconds(-distance)} inside the {name} of {seconds(promised)}")


def _count(verdict: Verdict, about: int, total: int) -> str:
    match verdict:
        case Verdict.MET:
            return "the drill met its objectives." if total == 1 else f"all {total} drills met their objectives."
        case Verdict.MISSED:
            return (
                "the drill missed its objectives." if total == 1 else f"{about} of {total} drills missed an objective."
            )
        case Verdict.INCONCLUSIVE:
            return "the drill proved nothing." if total == 1 else f"{about} of {total} drills proved nothing."
        case Verdict.ENVIRONMENT:
            return "the drill could not be run." if total == 1 else f"{about} of {total} drills could not be run."


def _reason(view: View) -> str:
    return f"{_name(view)}: {view.why.rstrip('.')}." if view.why else f"{_name(view)}."


def _name(view: View) -> str:
    return f"{view.drill} (sabotaged on purpose)" if view.sabotage else view.drill


def _capital(words: str) -> str:
    return words[:1].upper() + words[1:]
