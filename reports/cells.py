"""What was achieved beside what was promised, as it stands in every table: one wording for all of them."""

from drills.verdicts import Verdict

from .view import View
from .words import NEVER, NOT_MEASURED, bounds, objective, seconds


def time_beside_objective(view: View) -> str:
    """Say the recovery time achieved beside the one that was promised, and whether answers or writes came back last."""
    gone = view.verdict is Verdict.MISSED and not view.phase("restored")
    achieved = bounds(view.rta_s, view.rta_low_s, view.rta_high_s, NEVER if gone else NOT_MEASURED)
    return f"{achieved} / {objective(view.rto_s)}{_in_brackets(came_back_last(view))}"


def point_beside_objective(view: View) -> str:
    """Say the recovery point achieved beside the one that was promised, and the one that the plan allows at worst."""
    return f"{achieved_point(view)} / {objective(view.rpo_s)}{_in_brackets(planned_point(view))}"


def came_back_last(view: View) -> str:
    """Say which of answers and writes came back last, and when the other one did.

    Empty where they are not further apart than the recovery time is uncertain, and for records from before both
    counted, which have the time of the answers as their recovery time.
    """
    answers, writes = view.figure("achieved", "answers_back_s"), view.figure("achieved", "writes_back_s")
    if answers is None or writes is None or view.rta_s is None:
        return ""
    if abs(answers - writes) <= max(0.0, (view.rta_high_s or 0.0) - (view.rta_low_s or 0.0)):
        return ""
    if writes > answers:
        return f"writes last, answers after {seconds(answers)}"
    return f"answers last, writes after {seconds(writes)}"


def achieved_point(view: View) -> str:
    """Say the recovery point achieved; `at least` where nothing shows how much more is gone."""
    return f"at least {seconds(view.rpa_s)}" if view.rpa_at_least else seconds(view.rpa_s)


def since(view: View) -> str:
    """Say from when on the recovery point is counted back: the fault, or when the service stopped taking writes."""
    return "it took no more writes" if view.figure("achieved", "writes_stopped_s") else "the fault"


def planned_point(view: View) -> str:
    """Say how old the newest backup may be by the plan; a drill takes one of its own, and achieves better."""
    worst = view.figure("planned_point", "worst_s")
    return "" if worst is None else f"by plan up to {seconds(worst)}"


def _in_brackets(text: str) -> str:
    return f" ({text})" if text else ""
