import pytest
from drills.reports import cells
from drills.reports.view import View

from .samples import Story, record_of, tell


def view(achieved=None, **fields):
    record = record_of(Story(), tell(Story())) | fields
    record["achieved"] |= achieved or {}
    return View.of(record)


@pytest.mark.parametrize(
    ("answers", "writes", "said"),
    [
        (0.0, 29.6, "writes last, answers after 0 s"),
        (12.5, 4.0, "answers last, writes after 4 s"),
        (29.58, 29.6, ""),  # closer than the recovery time is certain
        (None, 29.6, ""),
        (0.0, None, ""),
    ],
)
def test_what_came_back_last_is_said_where_it_can_be_told(answers, writes, said):
    figures = {"rta_s": 29.6, "rta_low_s": 29.5, "rta_high_s": 29.6, "answers_back_s": answers, "writes_back_s": writes}
    shown = view(figures)
    assert cells.came_back_last(shown) == said
    assert cells.time_beside_objective(shown) == "29.6 s [29.5 to 29.6 s] / 60 s" + (f" ({said})" if said else "")


def test_a_recovery_point_that_is_a_lower_bound_is_said_to_be_one():
    assert cells.achieved_point(view({"rpa_s": 2.85, "rpa_at_least": True})) == "at least 2.85 s"
    assert cells.achieved_point(view({"rpa_s": 2.85, "rpa_at_least": False})) == "2.85 s"
    assert cells.achieved_point(view({"rpa_s": None, "rpa_at_least": None})) == "not measured"


def test_the_planned_point_stands_beside_the_achieved_one():
    shown = view({"rpa_s": 2.38}, planned_point={"worst_s": 3600.0, "backups": ["orders"]})
    assert cells.point_beside_objective(shown) == "2.38 s / 30 s (by plan up to 1 h)"
    assert cells.point_beside_objective(view({"rpa_s": 2.38})) == "2.38 s / 30 s"
