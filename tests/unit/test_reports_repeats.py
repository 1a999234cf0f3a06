"""Repeats in the reports: every one in its place, and what all show together where a reader looks first."""

import io
import json
import re
from xml.etree import ElementTree as ET

import pandas as pd
import pytest
from drills.reports.account import read_account
from drills.reports.changes import find_before, left_out_of
from drills.reports.frame import read_evidence
from drills.reports.junit import render_junit
from drills.reports.page import render_page
from drills.reports.pdf import render_pdf
from drills.reports.recheck import Recheck, recheck_run
from drills.reports.regression import regressions
from drills.reports.repeats import draw_repeats
from drills.reports.results import read_results
from drills.reports.series import series_of
from drills.reports.summary import render_summary
from drills.reports.terminal import closing_table
from drills.reports.view import read_run
from drills.reports.writing import write_reports
from PIL import Image
from pypdf import PdfReader

from drills.budget import Candidate
from drills.errors import NotRecovered
from drills.record import write_atomically
from drills.repeats import conclude
from drills.runs import Run

from .samples import Story, record_of, tell, write_run

SHORT = {"steady_s": 4.0, "after_s": 4.0, "steps": (), "backup_before_s": None}


def leave(evidence, *figures, of=None, **told):
    """A run with a repeat for each figure: back after so many seconds."""
    run = Run.start(evidence, {"why": "repeats"})
    for number, back in enumerate(figures, start=1):
        story = Story(**SHORT, bad_until_s=back, **told)
        folder = run.drill_directory(f"{story.name}.repeat_{number}")
        extra = {
            "id": f"{run.id}/{folder.name}", "sequence": run.sequence, "attempt": 1,
            "repeat": {"number": number, "of": of or len(figures), "phase_s": 2.5 * number, "seed": 7},
        }  # fmt: skip
        gave_up = NotRecovered("not back") if back is None else None
        record = record_of(story, tell(story, folder / "history.jsonl"), gave_up)
        write_atomically(folder / "record.json", record | extra)
    conclude(run.records())
    run.end()
    return run.directory


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Three of four repeats left a record, one of them missed; and a drill that was held once."""
    evidence = tmp_path_factory.mktemp("evidence")
    run = leave(evidence, 3.0, 1.5, 2.0, of=4, rto_s=2.5)
    story = Story(**SHORT, bad_until_s=1.0, name="pod_killed")
    write_atomically(run / "pod_killed" / "record.json", record_of(story, tell(story)))
    return run


def test_the_series_is_in_order_and_says_what_it_is_of(run):
    (series,) = series_of(read_run(run)[0])
    assert [view.repeat for view in series.views] == [(1, 4), (2, 4), (3, 4)]
    assert series.counted == "3 of 4 repeats, seed 7; 1 left no record"
    p50, worst = (series.views[place].rta_s for place in (2, 0))
    assert (series.found.rta_s.p50, series.found.rta_s.p95, series.found.rta_s.worst) == (p50, worst, worst)
    assert series.caution == "Below 20 repeats the 95th percentile is the worst one."
    assert json.loads((run / "namespace_deletion.repeat_1/record.json").read_text())["distribution"]["of"] == 4


def test_the_closing_table_names_each_repeat_and_then_all(run):
    table = closing_table(run)
    for number in (1, 2, 3):
        assert re.search(rf"^namespace_deletion \({number} of 4\) ", table, re.MULTILINE)
    assert re.search(r"^pod_killed  ", table, re.MULTILINE)
    assert re.search(
        r"^repeats: namespace_deletion: 3 of 4 repeats, seed 7; .*RTA p50 2\.\d+ s, p95 3\.\d+ s", table, re.MULTILINE
    )
    assert table.count("Below 20 repeats") == 1


def test_junit_has_one_case_for_all_repeats_and_the_worst_stands(run):
    root = ET.fromstring(render_junit(read_results(run)))  # noqa: S314 - ours
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert sorted(cases) == ["namespace_deletion", "pod_killed"]
    case = cases["namespace_deletion"]
    assert case.find("failure") is not None
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    told = {each.get("name"): each.get("value") for each in suites["namespace_deletion"].iter("property")}
    assert told["repeats"] == "3 of 4 repeats, seed 7; 1 left no record"
    assert float(told["rta_p50_s"]) < float(told["rta_p95_s"]) == float(told["rta_worst_s"]) == float(told["rta_s"])
    assert "attempts" not in told
    assert "repeats" not in {each.get("name") for each in suites["pod_killed"].iter("property")}


def test_the_summary_tells_of_repeats_and_of_what_was_left_out(run):
    results = read_results(run)
    left = [Candidate("etcd_wiped", (420.0,), "its marker").as_record(), {"drill": "half a word"}]
    results.about["budget"] = {"left_out": left}
    text = render_summary(results)
    assert "(the worst of 3 repeats)" in text
    assert "**Repeats:** namespace_deletion: 3 of 4 repeats, seed 7" in text
    assert "**Not run, time budget spent:** etcd_wiped: never proven, takes 7 min by its marker" in text
    assert text.count("Not run, time budget spent") == 1
    assert left_out_of({"budget": "none"}) == left_out_of({}) == []


def test_page_and_paper_hold_the_distribution_and_its_picture(run):
    account = read_account(run)
    account.about["budget"] = {"left_out": [Candidate("etcd_wiped", (420.0,), "its marker").as_record()]}
    page = render_page(account)
    assert "Over all repeats of this run" in page
    assert 'aria-label="Repeats: namespace_deletion: 3 of 4' in page
    assert len(re.findall(r"namespace_<wbr>deletion \(2 of 4\)", page)) >= 3
    paper = "".join(page.extract_text() for page in PdfReader(io.BytesIO(render_pdf(account))).pages)
    paper = re.sub(r"[\s\u200b\u00a0]+", " ", paper).replace("_ ", "_")
    for text in (paper, page.replace("<wbr>", "")):
        assert "3 of 4 repeats, seed 7; 1 left no record" in text
        assert "Below 20 repeats the 95th percentile is the worst one." in text
        assert "etcd_wiped: never proven" in text


def test_a_run_without_repeats_says_nothing_of_them(tmp_path):
    run = write_run(tmp_path, Story(**SHORT, bad_until_s=1.0))
    assert "epeats:" not in closing_table(run) + render_summary(read_results(run))
    assert "all repeats" not in render_page(read_account(run))


def test_the_picture_is_written_where_there_are_repeats(run):
    written = {path.name for path in write_reports(run, run.parent)}
    assert "repeats.png" in written
    with Image.open(run / "repeats.png") as image:
        assert image.width >= 1000


CASES = {
    "never back": ((2.0, None), {}),
    "no objective": ((2.0, 1.0), {"rto_s": None, "rpo_s": None}),
    "far objective": ((2.0, 1.0), {"rto_s": 14400.0}),
    "lost writes": ((2.0, 1.0), {"lost": 20}),
    "nothing proven": ((2.0, 1.0), {"proved": False}),
    "never away": ((0.5, 0.5), {"bad_from_s": None}),
}


@pytest.mark.parametrize("narrow", [False, True], ids=["wide", "narrow"])
@pytest.mark.parametrize("name", CASES)
def test_whatever_repeats_achieved_can_be_drawn(tmp_path, name, narrow):
    figures, told = CASES[name]
    series = series_of(read_run(leave(tmp_path, *figures, **told))[0])
    figure = draw_repeats(series, narrow=narrow)
    figure.savefig(tmp_path / "picture.png")
    with Image.open(tmp_path / "picture.png") as image:
        assert len(set(image.convert("L").resize((60, 60)).tobytes())) > 2


def test_recheck_computes_the_distribution_again(tmp_path):
    run = leave(tmp_path, 2.0, 1.0)
    recheck_run(run, found := Recheck())
    assert (found.judged, found.differences) == (2, [])
    path = run / "namespace_deletion.repeat_2" / "record.json"
    record = json.loads(path.read_text())
    record["distribution"]["rta_s"]["worst"] = 1.5
    write_atomically(path, record)
    recheck_run(run, found := Recheck())
    assert [(one.drill, one.field, one.recorded) for one in found.differences] == [
        ("namespace_deletion.repeat_2", "distribution.rta_s.worst", "1.5")
    ]


# --- over several runs ---


def test_a_repeat_is_compared_with_the_drill_as_it_was_held_before(tmp_path):
    once = write_run(tmp_path, Story(**SHORT, bad_until_s=1.0))
    views = read_run(leave(tmp_path, 2.0, 3.0))[0]
    assert [find_before(view, tmp_path).view.run for view in views] == [once.name, once.name]


def table_of(usual, newest):
    """Rows of eight earlier runs of one drill, and those of the newest run's repeats."""
    rows = [{"run": f"r{night}", "rta_s": usual + night * 0.01, "repeat": 0} for night in range(8)]
    rows += [{"run": "r9", "rta_s": figure, "repeat": number} for number, figure in enumerate(newest, start=1)]
    same = {"drill": "a", "environment": "kind", "verdict": "MET", "acknowledged": 0}
    table = pd.DataFrame([same | row for row in rows])
    return table.assign(low_s=table["rta_s"], high_s=table["rta_s"], rpa_s=float("nan"))


def test_the_median_of_repeats_is_held_against_what_is_usual():
    assert regressions(table_of(2.0, [2.0, 2.0, 2.01, 2.02, 50.0]), "r9") == []
    (found,) = regressions(table_of(2.0, [2.0, 2.0, 50.0, 51.0, 52.0]), "r9")
    assert found.value_s == 50.0
    alone = table_of(2.0, [2.0, 50.0]).assign(repeat=0)
    assert regressions(alone, "r9")[0].value_s == 50.0, "of attempts the worst"


def test_the_table_of_all_records_knows_repeats(run):
    table = read_evidence(run.parent).table
    assert sorted(table["repeat"].tolist()) == [0, 1, 2, 3]
    assert set(table["drill"]) == {"namespace_deletion", "pod_killed"}
