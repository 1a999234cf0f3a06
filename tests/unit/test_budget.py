"""A time budget: what earlier runs tell, how long a drill is expected to take, and what then fits."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills import budget
from drills.budget import Candidate, Past, choose, expected, look_back, told
from drills.clock import FakeClock
from drills.record import write_atomically
from drills.runs import Run

from .samples import Story, record_of, tell

BEGAN = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
LATER = BEGAN + timedelta(days=99)
SHORT = {"steady_s": 4.0, "bad_until_s": 2.0, "after_s": 4.0, "steps": (), "backup_before_s": None}


@pytest.fixture(scope="module")
def model():
    story = Story(**SHORT, name="a")
    return record_of(story, tell(story))


@pytest.fixture
def held(tmp_path, model):
    """Leaves a run that began so many hours later, with a record a folder: (verdict, seconds) and what else it says."""

    def run(hours, **drills):
        clock = FakeClock(utc=BEGAN + timedelta(hours=hours))
        made = Run.start(tmp_path, {}, clock)
        for folder, (verdict, took_s, *more) in drills.items():
            record = model | {"drill": folder.split(".")[0], "verdict": verdict, "started_utc": stamp(clock)}
            clock.advance(took_s)
            record |= {"ended_utc": stamp(clock)} | (more[0] if more else {})
            write_atomically(made.directory / folder / "record.json", record)
        made.end()
        return made

    return run


def stamp(clock):
    return budget.stamp(clock.now().utc)


def past(evidence, *drills, until=LATER):
    return look_back(evidence, drills, until)


# --- what earlier runs tell ---


def test_a_drill_is_proven_by_the_newest_run_that_met_its_objectives(tmp_path, held):
    held(0, a=("MET", 10.0))
    held(1, a=("MET", 20.0))
    held(2, a=("MISSED", 40.0))
    assert past(tmp_path, "a", "b") == {
        "a": Past(BEGAN + timedelta(hours=1, seconds=20), (40.0, 20.0, 10.0)),
        "b": Past(),
    }


def test_the_last_three_that_measured_something_tell_how_long_it_takes(tmp_path, held):
    for hours, took_s in enumerate([900.0, 30.0, 10.0, 20.0]):
        held(hours, a=("MET", took_s))
    held(5, a=("INCONCLUSIVE", 1.0))
    held(6, a=("ENVIRONMENT", 2.0))
    assert past(tmp_path, "a")["a"].took_s == (20.0, 10.0, 30.0)


def test_what_was_sabotaged_or_is_not_there_any_more_proves_nothing(tmp_path, held):
    held(0, a=("MET", 10.0))
    held(1, a=("MET", 11.0, {"evidence_only": True}))
    gone = held(2, a=("MET", 12.0))
    (gone.directory / "a" / "record.json").unlink()
    held(3, **{"a.repeat_1": ("MET", 13.0, {"drill": "other"})})
    assert past(tmp_path, "a")["a"] == Past(BEGAN + timedelta(seconds=10), (10.0,))


def test_a_repeat_counts_without_its_phase(tmp_path, held):
    repeat = {"repeat": {"number": 2, "of": 5, "phase_s": 12.5, "seed": 7}}
    held(0, **{"a.repeat_2": ("MET", 60.0, repeat)})
    assert past(tmp_path, "a")["a"].took_s == (47.5,)


def test_a_run_that_ended_later_or_never_tells_nothing(tmp_path, held):
    held(0, a=("MET", 10.0))
    held(1, a=("MET", 10.0))
    Run.start(tmp_path, {}, FakeClock(utc=BEGAN + timedelta(hours=2)))
    assert past(tmp_path, "a", until=BEGAN + timedelta(minutes=5))["a"] == Past(BEGAN + timedelta(seconds=10), (10.0,))


def test_without_evidence_nothing_was_proven(tmp_path):
    assert past(tmp_path / "none", "a") == {"a": Past()}
    (tmp_path / "log.jsonl").write_text('{"event": "end", "verdicts": {"a": "MET"}, "utc": "soon"}\nnot an entry\n')
    assert past(tmp_path, "a") == {"a": Past()}


# --- how long it will take ---


@pytest.mark.parametrize(
    ("given", "seconds", "by"),
    [
        ((Past(None, (20.0, 50.0, 30.0)), "7 minutes", timedelta(minutes=3)), 50.0, "its last 3 runs"),
        ((Past(None, (20.0,)), "", None), 20.0, "its last run"),
        ((Past(), "7 minutes", timedelta(minutes=3)), 420.0, "its marker"),
        ((Past(), "rather long", timedelta(minutes=3)), 300.0, "the plan's steps and 120 s to prepare"),
        ((Past(), "", timedelta(minutes=3)), 300.0, "the plan's steps and 120 s to prepare"),
        ((Past(), "", None), 300.0, "assumption, as nobody says"),
    ],
)
def test_who_says_how_long_a_drill_takes(given, seconds, by):
    assert expected(*given) == (seconds, by)


# --- what fits ---


def names(candidates):
    return [each.drill for each in candidates]


def test_never_proven_comes_first_then_the_longest_unproven():
    days = {"old": 30, "new": 1, "older": 60}
    known = [Candidate(name, (10.0,), "x", LATER - timedelta(days=days[name])) for name in days]
    choice = choose([*known, Candidate("never", (10.0,), "x")], 1000)
    assert names(choice.held) == ["never", "older", "old", "new"]
    assert (choice.left_out, choice.expected_s) == ([], 40.0)


def test_what_does_not_fit_is_left_out_and_what_comes_after_it_looked_at():
    choice = choose([Candidate("a", (60.0,), "x"), Candidate("b", (50.0,), "x"), Candidate("c", (40.0,), "x")], 100)
    assert (names(choice.held), names(choice.left_out)) == (["a", "c"], ["b"])


def test_two_workers_have_twice_the_time_but_no_drill_is_torn_apart():
    drills = [Candidate(name, (60.0,), "x") for name in "abc"]
    assert names(choose(drills, 100, workers=2).held) == ["a", "b"]
    repeated = Candidate("a", (60.0, 60.0), "x")
    assert names(choose([repeated], 100).left_out) == ["a"]
    assert names(choose([repeated], 100, workers=2).held) == ["a"]


CANDIDATES = st.lists(
    st.builds(
        Candidate,
        st.text("abcd", min_size=1, max_size=4),
        st.lists(st.floats(0, 500), min_size=1, max_size=4).map(tuple),
        st.just("x"),
        st.none() | st.datetimes(timezones=st.just(UTC)),
    ),
    max_size=12,
    unique_by=lambda each: each.drill,
)


@given(CANDIDATES, st.floats(0, 2000), st.integers(1, 4))
def test_a_choice_loses_no_drill_keeps_to_the_budget_and_its_order(candidates, budget_s, workers):
    choice = choose(candidates, budget_s, workers)
    assert sorted(names([*choice.held, *choice.left_out])) == sorted(names(candidates))
    assert choice.expected_s <= budget_s
    assert sum(sum(each.expected_s) for each in choice.held) <= budget_s * workers * (1 + 1e-9)
    for part in (choice.held, choice.left_out):
        proven = [each.proven or budget._NEVER for each in part]
        assert proven == sorted(proven)
    longest = max((sum(each.expected_s) for each in candidates), default=0)
    assert choice.left_out == [] or sum(map(sum, (each.expected_s for each in choice.held))) + longest > budget_s


def test_what_was_left_out_is_told_with_its_last_proof():
    proven = Candidate("etcd_wiped", (420.0,), "its marker", BEGAN).as_record()
    assert told(proven) == "etcd_wiped: last proven 2026-11-21 09:00 UTC, takes 7 min by its marker"
    assert told(Candidate("x", (1.0, 2.5), "y").as_record()) == "x: never proven, takes 4 s by y"
