"""Repeats: phases that can be drawn again, and quantiles that hide neither the worst nor what never came back."""

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills import repeats
from drills.errors import NotRecovered
from drills.record import validate, write_atomically
from drills.repeats import Quantiles, conclude, distribution, drawn, nearest_rank, quantiles

from .samples import Story, record_of, tell

SHORT = {"steady_s": 4.0, "after_s": 4.0, "steps": (), "backup_before_s": None}
FIGURES = st.lists(st.floats(0, 1e6), min_size=1, max_size=60)


# --- phases ---


@given(st.integers(0, 2**32), st.integers(1, 500))
def test_a_phase_is_drawn_again_with_the_same_seed(seed, number):
    first = drawn("etcd_wiped", number, 500, seed)
    assert drawn("etcd_wiped", number, 500, seed) == first
    assert 0 <= first.phase_s <= repeats.LONGEST_PHASE_S


def test_phases_differ_by_drill_number_and_seed():
    cases = [("a", 1, 7), ("a", 2, 7), ("b", 1, 7), ("a", 1, 8)]
    assert len({drawn(drill, number, 9, seed).phase_s for drill, number, seed in cases}) == len(cases)


def test_phases_fill_the_whole_range():
    phases = [drawn("a", number, 200, 1).phase_s for number in range(1, 201)]
    assert min(phases) < 0.1 * repeats.LONGEST_PHASE_S
    assert max(phases) > 0.9 * repeats.LONGEST_PHASE_S


# --- quantiles ---


@given(FIGURES, st.integers(1, 100))
def test_the_nearest_rank_is_one_of_the_values_and_the_smallest_that_covers_its_share(values, percent):
    found = nearest_rank(values, percent)
    assert found in values
    assert sum(value <= found for value in values) * 100 >= percent * len(values)
    below = [value for value in values if value < found]
    assert len(below) * 100 < percent * len(values)


@given(FIGURES)
def test_quantiles_are_in_order_and_the_worst_is_the_largest(values):
    found = quantiles(values)
    assert found.p50 <= found.p95 <= found.worst == max(values)
    assert (found.measured, found.never) == (len(values), 0)


@pytest.mark.parametrize(("count", "rank"), [(1, 1), (3, 3), (19, 19), (20, 19), (21, 20), (40, 38), (100, 95)])
def test_the_95th_percentile_is_the_worst_below_20_repeats(count, rank):
    assert nearest_rank([float(number) for number in range(1, count + 1)], 95) == rank


@given(FIGURES, st.integers(1, 30))
def test_what_never_came_back_is_worse_than_any_figure(values, never):
    found = quantiles([*values, *[None] * never])
    assert (found.measured, found.never, found.worst) == (len(values) + never, never, None)
    assert (found.p50 is None) == (nearest_rank([*values, *[math.inf] * never], 50) == math.inf)


def test_of_nothing_there_are_no_quantiles():
    assert quantiles([]) == Quantiles(0, 0, None, None, None)
    for values, percent in (([], 50), ([1.0], 0), ([1.0], 101)):
        with pytest.raises(ValueError, match="nearest rank: found"):
            nearest_rank(values, percent)


# --- records ---


def record(number, of=3, verdict=None, **told):
    """A record of one repeat: back after `back` seconds, or never."""
    story = Story(**SHORT, **told)
    gave_up = NotRecovered("not back") if story.bad_until_s is None else None
    made = record_of(story, tell(story), gave_up) | {"repeat": {"number": number, "of": of, "phase_s": 1.5, "seed": 7}}
    return made | ({"verdict": verdict} if verdict else {})


def test_the_distribution_counts_a_repeat_that_never_came_back():
    records = [record(1, bad_until_s=2.0), record(2, bad_until_s=3.0), record(3, bad_until_s=None)]
    found = distribution(records)
    assert (found.of, found.held, found.proved_nothing) == (3, 3, 0)
    first, second = (each["achieved"]["rta_s"] for each in records[:2])
    assert first < second
    assert found.rta_s == Quantiles(3, 1, second, None, None)
    assert (found.rpa_s.measured, found.rpa_s.never) == (3, 1), "its data was never read back"


def test_a_repeat_that_proved_nothing_is_counted_and_in_no_figure():
    found = distribution([record(1, bad_until_s=2.0), record(2, bad_until_s=3.0, verdict="INCONCLUSIVE")])
    assert (found.of, found.held, found.proved_nothing) == (3, 2, 1)
    assert (found.rta_s.measured, found.rta_s.never) == (1, 0)


def test_without_writes_there_is_no_recovery_point():
    one = record(1, bad_until_s=2.0)
    one["achieved"]["writes"]["acknowledged"] = 0
    one["achieved"]["rpa_s"] = None
    assert distribution([one]).rpa_s == Quantiles(0, 0, None, None, None)


def test_the_run_writes_the_distribution_into_the_records_of_each_series(tmp_path):
    made = {
        "a.repeat_1": record(1, bad_until_s=2.0),
        "a.repeat_2": record(2, bad_until_s=3.0),
        "b.repeat_1": record(1, of=1, bad_until_s=1.0) | {"drill": "b"},
        "c": {key: value for key, value in record(1).items() if key != "repeat"},
    }
    paths = {name: tmp_path / name / "record.json" for name in (*made, "torn")}
    for name, one in made.items():
        write_atomically(paths[name], one)
    write_atomically(paths["torn"], "{")
    conclude(paths.values())
    after = {name: json.loads(paths[name].read_text()) for name in made}
    assert all(validate(one) == [] for one in after.values())
    assert after["a.repeat_1"]["distribution"] == after["a.repeat_2"]["distribution"]
    assert (after["a.repeat_1"]["distribution"]["of"], after["a.repeat_1"]["distribution"]["held"]) == (3, 2)
    assert after["b.repeat_1"]["distribution"]["held"] == 1
    assert after["c"] == made["c"]
    assert paths["torn"].read_text() == "{"
    conclude(paths.values())
    assert {name: json.loads(paths[name].read_text()) for name in made} == after, "again changes nothing"
