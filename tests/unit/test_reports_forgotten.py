"""Drills that were set aside: left out and named, never hidden, and the log stays whole."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import typer
from drills.reports.commands import register
from drills.reports.coverage import coverage, render_coverage
from drills.reports.frame import latest_line, read_evidence
from typer.testing import CliRunner

from drills import runs

from .samples import Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT)
TRIED = Story(**SHORT, name="tried_once", proved=False)
MISSED = Story(**SHORT, name="too_slow", rto_s=1.0)


def drills(*words):
    app = typer.Typer()
    register(app)
    return CliRunner().invoke(app, list(map(str, words)))


@pytest.fixture
def evidence(tmp_path):
    write_run(tmp_path, TRIED, MISSED)
    write_run(tmp_path, MET)
    return tmp_path


def test_a_drill_that_was_set_aside_heads_no_trend_and_is_named_with_its_last_verdict(evidence):
    assert latest_line(read_evidence(evidence).honest()).startswith("Missed: ")
    before = (evidence / runs.LOG).read_bytes()
    for name, why in (("tried_once", "an experiment"), ("too_slow", "replaced by namespace_deletion")):
        done = drills("forget", name, "--why", why, "--evidence-dir", evidence)
        assert done.exit_code == 0, done.output
    found = read_evidence(evidence)
    assert latest_line(found.honest()) == "Met: the newest runs of 1 drill"
    assert [told.partition(",")[0] for told in found.set_aside] == [
        "too_slow (MISSED in its latest run)",
        "tried_once (INCONCLUSIVE in its latest run)",
    ]
    shown = drills("trend", "--evidence-dir", evidence).output
    assert "set aside: too_slow (MISSED in its latest run)" in shown
    assert "replaced by namespace_deletion" in " ".join(shown.split())
    page = render_coverage(coverage(found, evidence, datetime.now(UTC) + timedelta(days=1)))
    assert "MISSED in its latest run" in page.replace("<wbr>", "")
    after = (evidence / runs.LOG).read_bytes()
    assert after.startswith(before)
    assert len(after.splitlines()) == len(before.splitlines()) + 2
    assert runs.verify(evidence / runs.LOG) == []


def test_a_later_run_counts_again(evidence):
    assert drills("forget", "too_slow", "--why", "given up", "--evidence-dir", evidence).exit_code == 0
    write_run(evidence, replace(MISSED, began=datetime.now(UTC) + timedelta(hours=1)))
    honest = read_evidence(evidence).honest()
    assert list(honest["drill"]).count("too_slow") == 1
    assert latest_line(honest).startswith("Missed: ")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("forget", "no_such", "--why", "x"), "invalid value 'no_such': expected a drill of"),
        (("forget", "tried_once", "--why", "  "), "expected a reason"),
    ],
)
def test_a_slip_is_refused_and_nothing_is_logged(evidence, words, said):
    before = (evidence / runs.LOG).read_bytes()
    done = drills(*words, "--evidence-dir", evidence)
    assert done.exit_code == 2
    assert said in " ".join(done.output.split())
    assert (evidence / runs.LOG).read_bytes() == before


def test_a_team_that_drills_one_failure_has_no_gap_for_each_fault_of_the_harness(tmp_path):
    write_run(tmp_path, replace(MET, fault="namespace deleted"))
    found = coverage(read_evidence(tmp_path), tmp_path, datetime(2026, 12, 1, tzinfo=UTC))
    assert found.found == ()
    assert "gap" not in found.sentence
    assert len(found.unrehearsed) > 10
    assert "Not rehearsed here" in render_coverage(found)


def test_a_page_without_gaps_claims_nothing_that_its_table_denies(tmp_path):
    """Two drills cause one failure: one met its objectives, the other one missed them."""
    write_run(tmp_path, replace(MET, fault="namespace deleted"), replace(MISSED, fault="namespace deleted"))
    found = coverage(read_evidence(tmp_path), tmp_path, datetime(2026, 12, 1, tzinfo=UTC))
    assert found.found == ()
    page = render_coverage(found)
    assert "in time" not in page
    assert "None beyond what the first table marks as missed, stale or never proven." in page
    assert "Without a plan, drills that ought to run are not known." in page
