from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.errors import UsageError
from drills.objectives import Objective, parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("5m", 300),
        ("90s", 90),
        ("1h30m", 5400),
        ("15 minutes", 900),
        ("1 hour 5 mins", 3900),
        ("250ms", 0.25),
        ("1.5h", 5400),
        ("2D", 172800),
        (42, 42),
        (0.5, 0.5),
        ("0s", 0),
        (timedelta(minutes=3), 180),
    ],
)
def test_durations_as_people_write_them(text, seconds):
    assert parse_duration(text) == timedelta(seconds=seconds)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "5",
        "5 parsecs",
        "m5",
        "5m!",
        "five minutes",
        -1,
        timedelta(seconds=-1),
        float("nan"),
        float("inf"),
        True,
        None,
        "-5m",
    ],
)
def test_anything_else_names_field_found_and_accepted(text):
    with pytest.raises(UsageError, match=r"rto: found .*accepted: 90s, 5m"):
        parse_duration(text, "rto")


@given(st.integers(0, 99), st.integers(0, 59), st.integers(0, 59))
def test_what_is_written_is_read(hours, minutes, seconds):
    assert parse_duration(f"{hours}h {minutes}m{seconds}s") == timedelta(hours=hours, minutes=minutes, seconds=seconds)


def test_an_objective_reads_durations_and_refuses_nonsense():
    objective = Objective("5m", 60, "1h", source="BIA 2026")
    assert objective == Objective(timedelta(minutes=5), timedelta(minutes=1), timedelta(hours=1), "BIA 2026")
    assert Objective() == Objective(None, None, None, "")
    with pytest.raises(UsageError, match="mtd: found"):
        Objective(rto="1h", mtd="5m")
    with pytest.raises(UsageError, match="rpo: found"):
        Objective(rpo="soon")
