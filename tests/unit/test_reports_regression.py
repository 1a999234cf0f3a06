from datetime import timedelta

import pandas as pd
import pytest
from drills.reports.frame import COLUMNS
from drills.reports.regression import newest_regressions, regressions
from drills.reports.results import read_results
from drills.reports.terminal import closing_table

from .samples import Story, write_run

USUAL = (10.0, 10.2, 9.9, 10.1, 10.0, 9.8, 10.1, 10.0, 10.2, 9.9)


def table(rtas, *, rpas=None, verdict="MET", environment="kind", bound=0.05, drill="d"):
    rows = []
    for number, rta in enumerate(rtas):
        rows.append(
            dict.fromkeys(COLUMNS)
            | {
                "run": f"run-{number:03d}", "drill": drill, "environment": environment, "sabotage": "",
                "verdict": verdict if number == len(rtas) - 1 else "MET", "acknowledged": 100,
                "rta_s": rta, "low_s": rta and rta - bound, "high_s": rta and rta + bound,
                "rpa_s": 0.0 if rpas is None else rpas[number],
            }
        )  # fmt: skip
    frame = pd.DataFrame(rows)
    return frame.astype(dict.fromkeys(("rta_s", "low_s", "high_s", "rpa_s"), "float64"))


def found(frame):
    return [(each.figure, each.value_s) for each in regressions(frame, frame["run"].iloc[-1])]


@pytest.mark.parametrize(
    ("last", "expected"), [(10.1, []), (10.3, []), (11.5, [("RTA", 11.5)]), (9.0, []), (None, [("RTA", None)])]
)
def test_a_figure_beyond_the_usual_is_found(last, expected):
    assert found(table([*USUAL, last], verdict="MISSED" if last is None else "MET")) == expected


def test_what_the_bounds_explain_is_no_regression():
    assert found(table([*USUAL, 11.5], bound=0.9)) == []


def test_equal_figures_have_no_scatter_and_the_bounds_still_count():
    assert found(table([10.0] * 10 + [10.08])) == []
    assert found(table([10.0] * 10 + [10.2])) == [("RTA", 10.2)]


def test_any_loss_stands_out_where_none_ever_was():
    assert found(table([*USUAL, 10.0], rpas=[0.0] * 10 + [0.2])) == [("RPA", 0.2)]
    assert found(table([*USUAL, 10.0], rpas=[float(n) for n in range(11)])) == []
    assert found(table([*USUAL, 10.0], rpas=[0.0] * 10 + [None], verdict="MISSED")) == [("RPA", None)]


def test_under_five_runs_there_is_no_usual():
    assert found(table([10.0, 10.0, 10.1, 9.9, 99.0])) == []
    assert found(table([10.0, 10.0, 10.1, 9.9, 10.0, 99.0])) == [("RTA", 99.0)]


def test_only_the_last_ten_count():
    assert found(table([99.0] * 30 + [*USUAL] + [50.0])) == [("RTA", 50.0)]


def test_runs_on_another_environment_are_no_measure():
    frame = table([*USUAL, 99.0])
    frame.loc[frame.index[-1], "environment"] = "external"
    assert found(frame) == []


def test_what_proved_nothing_is_no_measure_and_has_none():
    frame = table([*USUAL, 99.0], verdict="INCONCLUSIVE")
    assert found(frame) == []


def test_later_runs_do_not_count_and_an_old_run_can_be_asked():
    frame = table([*USUAL, 99.0, 10.0, 10.0])
    assert [each.value_s for each in regressions(frame, "run-010")] == [99.0]
    assert newest_regressions(frame) == {"d": []}


def test_a_rerun_hides_nothing():
    frame = table([*USUAL, 99.0])
    again = frame.iloc[[-1]].assign(rta_s=10.0, low_s=9.95, high_s=10.05)
    assert found(pd.concat([frame, again], ignore_index=True)) == [("RTA", 99.0)]


def test_the_words_name_all_figures():
    (one,) = regressions(table([*USUAL, 11.5]), "run-010")
    assert one.words == "d: RTA 11.5 s; the median of the last 10 runs is 10 s, and up to 10.44 s is usual"


def test_the_closing_table_says_it(tmp_path):
    story = Story(steady_s=4.0, bad_until_s=3.0, after_s=4.0, steps=(), backup_before_s=None)
    for night in range(6):
        slow = {"bad_until_s": 9.0} if night == 5 else {}
        run = write_run(tmp_path, Story(**(vars(story) | slow | {"began": story.began + timedelta(days=night)})))
    told = closing_table(run, read_results(run, tmp_path))
    assert f"worse than usual: {story.name}: RTA 9" in told
    assert "the median of the last 5 runs is 3" in told
    first = min(tmp_path.glob("2*"))
    assert "worse than usual" not in closing_table(first, read_results(first, tmp_path))
