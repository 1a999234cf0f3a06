import json
import time

import pytest
from drills.reports.frame import COLUMNS, TREND, read_evidence
from drills.reports.view import View, read_run
from pandas.testing import assert_frame_equal

from drills.errors import UsageError
from drills.record import write_atomically

from .samples import Story, record_of, tell, write_many, write_run

SHORT = Story(steady_s=4.0, bad_until_s=3.0, after_s=4.0, steps=(), backup_before_s=1.0)


def test_a_row_says_what_the_record_says(tmp_path):
    run = write_run(tmp_path, SHORT)
    evidence = read_evidence(tmp_path)
    assert evidence.problems == []
    assert tuple(evidence.table.columns) == COLUMNS
    row = evidence.table.iloc[0]
    record = json.loads((run / SHORT.name / "record.json").read_text())
    assert row["run"] == run.name
    assert row["drill"] == SHORT.name
    assert row["verdict"] == record["verdict"] == "MET"
    assert row["rta_s"] == record["achieved"]["rta_s"]
    assert (row["low_s"], row["high_s"]) == (record["achieved"]["rta_low_s"], record["achieved"]["rta_high_s"])
    assert (row["rto_s"], row["rpo_s"], row["rpa_s"]) == (60.0, 30.0, 0.0)
    assert row["lost"] == 0
    assert row["utc"].isoformat() == "2026-11-21T09:33:06+00:00"


def test_the_link_latest_counts_no_run_twice(tmp_path):
    write_run(tmp_path, SHORT)
    assert (tmp_path / "latest").is_symlink()
    assert len(read_evidence(tmp_path).table) == 1


def test_sabotaged_runs_are_kept_and_left_out_of_trends(tmp_path):
    write_run(tmp_path, SHORT, Story(name="sabotaged", sabotage=("procedure",), steady_s=4.0, bad_until_s=3.0))
    evidence = read_evidence(tmp_path)
    assert len(evidence.table) == 2
    assert evidence.honest()["drill"].tolist() == [SHORT.name]


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("{", "Expecting property name"),
        ("[]", "a list found; accepted: a JSON object"),
        ('{"verdict": "FINE"}', "verdict: 'FINE' found; accepted: 'MET'"),
        ('{"schema": "other/v9", "verdict": "MET"}', "schema: 'other/v9' found"),
        ("\udcff", "codec can't decode"),
    ],
)
def test_a_record_that_cannot_be_read_is_named(tmp_path, text, named):
    path = tmp_path / "20260101T000000Z-0001" / "broken" / "record.json"
    path.parent.mkdir(parents=True)
    path.write_bytes(text.encode(errors="surrogateescape"))
    evidence = read_evidence(tmp_path)
    assert evidence.table.empty
    assert [problem.path for problem in evidence.problems] == [path]
    assert named in evidence.problems[0].found


def test_only_the_columns_that_are_asked_for_are_read_and_they_are_the_same(tmp_path):
    write_run(tmp_path, SHORT)
    write_run(tmp_path, SHORT, Story(name="sabotaged", sabotage=("procedure",), steady_s=4.0, bad_until_s=3.0))
    whole = read_evidence(tmp_path).table
    for columns in (TREND, COLUMNS[::-1], ("drill", "utc", "path")):
        assert_frame_equal(read_evidence(tmp_path, columns).table, whole[list(columns)])


def test_figures_that_are_absent_or_no_numbers_are_gaps():
    view = View.of({"verdict": "MISSED", "achieved": {"rta_s": "soon", "rpa_s": True, "downtime_s": float("nan")}})
    assert (view.rta_s, view.rpa_s, view.figure("achieved", "downtime_s")) == (None, None, None)
    assert view.drill == "unnamed drill"
    assert view.steps == view.phases == view.bars == view.checks == []


def test_losses_nobody_read_are_unknown_and_not_zero():
    record = record_of(SHORT, tell(Story(steady_s=4.0, bad_until_s=None)))
    assert record["losses"]["read"] is False
    assert View.of(record).writes("lost") is None
    assert View.of(record).writes("acknowledged") > 0


def test_a_drill_that_was_cut_off_is_a_problem_of_its_run(tmp_path):
    run = write_run(tmp_path, SHORT)
    tell(SHORT, run / "killed" / "history.jsonl")
    views, problems = read_run(run)
    assert [view.drill for view in views] == [SHORT.name]
    assert "cut off" in problems[0].found


def test_no_directory_is_refused_with_its_name(tmp_path):
    with pytest.raises(UsageError, match="nowhere, which is no directory; accepted"):
        read_evidence(tmp_path / "nowhere")


def test_an_empty_directory_gives_an_empty_table(tmp_path):
    assert read_evidence(tmp_path).honest().empty


def test_thousands_of_records_take_seconds(tmp_path):
    write_many(tmp_path, 1, SHORT)
    record = next(tmp_path.glob("*/*/record.json")).read_text()
    for number in range(3000):
        path = tmp_path / f"20260101T000000Z-{number:04x}" / "drill" / "record.json"
        path.parent.mkdir(parents=True)
        path.write_text(record)
    began = time.monotonic()
    assert len(read_evidence(tmp_path).table) == 3001
    assert time.monotonic() - began < 15


def test_records_of_any_age_are_read(tmp_path):
    write_atomically(tmp_path / "run" / "old" / "record.json", {"verdict": "MET"})
    row = read_evidence(tmp_path).table.iloc[0]
    assert row["drill"] == "old"
    assert row.isna()["rta_s"]
