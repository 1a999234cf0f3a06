import json
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree as ET

import pytest
from drills.reports import writing
from drills.reports.allure import write_allure
from drills.reports.junit import render_junit, write_junit
from drills.reports.results import results_of
from drills.reports.terminal import closing_table
from drills.reports.view import Problem, View
from drills.reports.writing import ReportsFailed, write_reports

from .samples import Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
STEPS = (
    ("choose the backup", "velero backup get", 0.4, "harness"),
    ("restore it", "velero restore create", 1.2, "human"),
)
MET = Story(**SHORT, steps=STEPS)
MISSED = Story(
    **SHORT, name="etcd_quorum_loss", title="二台の etcd を失う。", rto_s=2.0, scenario="scenarios/test_etcd.py"
)
OPEN = Story(**SHORT, name="pod_killed", proved=False, tier="low")


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    evidence = tmp_path_factory.mktemp("evidence")
    run = write_run(evidence, MET, MISSED, OPEN)
    write_reports(run, evidence)
    return run


def test_all_reports_are_left(run):
    ours = ("junit.xml", "summary.md", "metrics.prom", "allure-results")
    for name in (*ours, "report.html", "trend.png", f"{MET.name}/timeline.png"):
        assert (run / name).exists(), name
    assert not [path for path in run.rglob(".*") if path.is_file()], "no half-written file stays"
    assert (run / "report.html").stat().st_mode & 0o777 == 0o644


def test_writing_again_replaces(run):
    before = sorted(path.name.split("-")[-1] for path in (run / "allure-results").iterdir())
    files = {path for path in run.rglob("*") if path.is_file() and "allure-results" not in path.parts}
    written = write_reports(run, run.parent)
    assert len(written) == len(set(written))
    assert {path for path in run.rglob("*") if path.is_file() and "allure-results" not in path.parts} == files
    assert sorted(path.name.split("-")[-1] for path in (run / "allure-results").iterdir()) == before


def test_junit_has_one_testcase_a_drill(run):
    root = ET.parse(run / "junit.xml").getroot()  # noqa: S314 - written by us a moment ago
    cases = {case.get("name"): case for case in root.iter("testcase")}
    assert list(cases) == [MISSED.name, MET.name, OPEN.name]
    assert root.attrib["tests"] == "3"
    assert root.attrib["failures"] == "1"
    assert root.attrib["errors"] == "1"
    assert [child.tag for child in cases[MET.name]] == ["system-out"], "junit-10 takes nothing else in a test case"
    suites = {suite.get("name"): suite for suite in root.iter("testsuite")}
    assert list(suites) == list(cases), "no name of the run: GitLab compares a case by its suite's name with other runs"
    assert suites[MET.name].get("file") == MET.scenario
    assert set(cases[MET.name].attrib) == {"classname", "name", "time"}
    assert cases[MISSED.name].find("failure").get("type") == "MISSED"
    assert "over the RTO of 2 s" in cases[MISSED.name].find("failure").get("message")
    assert cases[OPEN.name].find("error").get("type") == "INCONCLUSIVE"
    properties = {each.get("name"): each.get("value") for each in suites[MISSED.name].iter("property")}
    assert properties["verdict"] == "MISSED"
    assert properties["rto_s"] == "2"
    assert 3.0 <= float(properties["rta_s"]) < 3.1
    assert properties["writes_lost"] == "0"
    assert properties["title"] == "二台の etcd を失う。"
    assert 6 < float(cases[MET.name].get("time")) < 12
    assert cases[MISSED.name].get("classname") == "scenarios.test_etcd"


def test_junit_links_attachments_from_the_project(run, monkeypatch):
    monkeypatch.setenv("CI_PROJECT_DIR", str(run.parent))
    root = ET.fromstring(write_junit(run).read_bytes())  # noqa: S314 - written by us a moment ago
    out = root.find(f".//testcase[@name='{MET.name}']/system-out").text
    assert out.splitlines()[0] == f"[[ATTACHMENT|{run.name}/{MET.name}/timeline.png]]"


def test_junit_is_well_formed_with_any_text(tmp_path):
    text = "]]> --- <&\"' \x00\x1b[31m\x08\ufffe\ud800 壊れた"
    view = View.of(
        {"verdict": "MISSED", "drill": text, "title": text, "why": text, "scenario": text, "controls": [text]}
    )
    found = [Problem(tmp_path / "x" / "record.json", "bro\x0bken")]
    root = ET.fromstring(render_junit(results_of([view], found, text)))  # noqa: S314 - written by us a moment ago
    assert root.find(".//testcase").get("name") == "]]> --- <&\"' \\ud800 壊れた"


def test_of_two_attempts_the_worse_one_counts():
    attempts = [View.of({"verdict": verdict, "drill": "a"}) for verdict in ("MET", "MISSED", "MET")]
    root = ET.fromstring(render_junit(results_of(attempts, [], "run")))  # noqa: S314 - written by us a moment ago
    assert len(list(root.iter("testcase"))) == 1
    assert root.find(".//testsuite//property[@name='attempts']").get("value") == "3"
    assert root.attrib["failures"] == "1"


def results(run):
    found = [json.loads(path.read_text()) for path in (run / "allure-results").glob("*-result.json")]
    return {result["fullName"].split("#")[-1]: result for result in found}


def test_allure_shows_phases_and_steps_at_their_true_times(run):
    result = results(run)[MET.name]
    record = json.loads((run / MET.name / "record.json").read_text())
    assert result["status"] == "passed"
    assert result["name"] == MET.title
    steps = {step["name"]: step for step in result["steps"]}
    assert list(steps)[:4] == ["steady", "fault issued", "damage seen", "detected"]
    assert list(steps)[5] == "procedure", "the procedure stands behind the phase in which it began"
    procedure = steps[list(steps)[5]]["steps"]
    assert [step["name"] for step in procedure] == ["choose the backup", "restore it"]
    assert procedure[0]["stop"] - procedure[0]["start"] == 400
    fault, back = steps["fault issued"]["start"], steps["service back"]["start"]
    assert abs((back - fault) / 1000 - record["achieved"]["rta_s"]) < 0.002
    phases = [step for step in result["steps"] if not step.get("steps")]
    for before, after in pairwise(phases):
        assert before["stop"] == after["start"]
    assert (result["start"], result["stop"]) == (phases[0]["start"], phases[-1]["stop"])


def within(parent, steps):
    """Name what does not lie within its parent, or ends before it begins."""
    for step in steps:
        if not parent["start"] <= step["start"] <= step["stop"] <= parent["stop"]:
            yield f"{parent['name']}: {step['name']}"
        yield from within(step, step.get("steps", []))


ODD = {
    "overlapping and beyond the end": {
        "phases": [
            {"name": "steady", "t_s": -5.0, "utc": "2026-11-21T10:00:00.000Z"},
            {"name": "recovering", "t_s": 1.0, "utc": "2026-11-21T10:00:06.000Z"},
            {"name": "restored", "t_s": 2.0, "utc": "2026-11-21T10:00:07.000Z"},
            {"name": "ended", "t_s": 9.0, "utc": "2026-11-21T10:00:14.000Z"},
        ],
        # The set-up took half an hour, and the wall clock was stepped meanwhile.
        "started_utc": "2026-11-21T09:30:00.000Z",
        "ended_utc": "2026-11-21T09:00:00.000Z",
        "procedure": {
            "name": "restore",
            "steps": [
                {"name": "before", "started_s": -60, "ended_s": -50, "state": "ended"},
                {"name": "over the edge", "started_s": 1.5, "ended_s": 60, "state": "ended"},
                {"name": "never ended", "started_s": 3.0, "ended_s": None, "state": "started"},
                {"name": "never began", "started_s": None, "ended_s": None, "state": ""},
                {"name": "backwards", "started_s": 5.0, "ended_s": 4.0, "state": "ended"},
            ],
        },
    },
    "no phase": {"started_utc": "2026-11-21T09:30:00.000Z", "ended_utc": "2026-11-21T09:30:09.000Z"},
    "no stamp": {"phases": [{"name": "steady", "t_s": -5.0}, {"name": "ended", "t_s": 1.0}]},
}


@pytest.mark.parametrize("odd", ODD.values(), ids=ODD)
def test_in_allure_every_step_lies_within_its_parent(odd, tmp_path):
    (tmp_path / "odd").mkdir()
    (tmp_path / "odd" / "record.json").write_text(json.dumps({"verdict": "MISSED", "drill": "odd", **odd}))
    write_allure(tmp_path)
    result = results(tmp_path)["odd"]
    assert list(within(result, result.get("steps", []))) == []
    if odd is ODD["no stamp"]:
        assert "start" not in result, "no time is better than one of 1970"
    elif odd is ODD["no phase"]:
        assert result["stop"] - result["start"] == 9000
    else:
        assert result["stop"] - result["start"] == 14000, "the phases' monotonic time, whatever the wall clock did"
        assert [step["name"] for step in result["steps"]] == [
            "steady", "procedure started", "procedure: restore", "service back"
        ]  # fmt: skip


def test_in_allure_every_step_of_the_sample_lies_within_its_test(tmp_path):
    sample = Path(__file__).parents[2] / "docs/sample"
    for place in sample.glob("*/record.json"):
        (tmp_path / place.parent.name).mkdir()
        (tmp_path / place.parent.name / "record.json").write_bytes(place.read_bytes())
    write_allure(tmp_path)
    found = results(tmp_path)
    assert len(found) >= 70
    assert sum(len(result["steps"]) for result in found.values()) > 300
    assert [name for result in found.values() for name in within(result, result["steps"])] == []


def test_allures_description_has_an_empty_line_behind_a_list_and_no_markup_of_the_record(tmp_path):
    (tmp_path / "told").mkdir()
    record = {
        "verdict": "MISSED", "drill": "told", "why": "<b>late</b> by *much*", "runbook": "a_b.md",
        "fault": {"proof": ["first\n# second", "third"]}, "deviations": ["a", "b"],
    }  # fmt: skip
    (tmp_path / "told" / "record.json").write_text(json.dumps(record))
    write_allure(tmp_path)
    told = results(tmp_path)["told"]["description"]
    paragraphs = told.split("\n\n")
    assert paragraphs[:5] == [
        r"MISSED: \<b\>late\</b\> by \*much\*", "Runbook: a_b.md", "- first # second\n- third",
        "Deviation: a", "Deviation: b",
    ]  # fmt: skip


def test_allure_3_finds_name_and_categories_in_its_configuration(run):
    told = json.loads((run / "allurerc.json").read_text())
    assert told["name"].startswith("MISSED: 1 of 3 drills")
    assert told["categories"] == json.loads((run / "allure-results" / "categories.json").read_text())


def test_allure_carries_verdict_severity_controls_and_files(run):
    found = results(run)
    assert {name: result["status"] for name, result in found.items()} == {
        MET.name: "passed",
        MISSED.name: "failed",
        OPEN.name: "broken",
    }
    labels = [(label["name"], label["value"]) for label in found[MET.name]["labels"]]
    assert ("severity", "critical") in labels
    assert ("tag", "SOC2:A1.3") in labels
    assert ("severity", "minor") in [(each["name"], each["value"]) for each in found[OPEN.name]["labels"]]
    assert "over the RTO" in found[MISSED.name]["statusDetails"]["message"]
    attached = {each["name"]: each["source"] for each in found[MET.name]["attachments"]}
    assert {"record.json", "history.jsonl", "timeline.png"} <= set(attached)
    for source in attached.values():
        assert (run / "allure-results" / source).stat().st_size > 0
    assert found[MET.name]["historyId"] != found[MISSED.name]["historyId"]
    assert f"run={run.name}" in (run / "allure-results" / "environment.properties").read_text()


def test_allure_names_a_record_it_cannot_show(tmp_path):
    (tmp_path / "broken").mkdir()
    (tmp_path / "broken" / "record.json").write_text("{")
    write_allure(tmp_path)
    assert results(tmp_path)["broken"]["status"] == "broken"


def test_the_closing_table_is_plain_without_a_terminal(run):
    text = closing_table(run)
    assert text.isprintable() or "\x1b" not in text
    lines = text.splitlines()
    assert lines[0].startswith("Missed: 1 of 3 drills missed an objective.")
    row = next(line for line in lines if line.startswith(MISSED.name))
    assert "✗ Missed" in row
    assert "/ 2 s" in row
    assert "0 of" in row
    assert f"evidence: {run}" in lines
    assert f"report:   {run / 'report.html'}" in lines


def test_the_closing_table_says_what_the_evidence_amounts_to(run):
    told = next(line for line in closing_table(run).splitlines() if line.startswith("standing: "))
    assert told.startswith("standing: 1 FAILED, 1 INCOMPLETE, 1 INCONCLUSIVE (")
    assert "`drills validate` names them" in told


def test_the_closing_table_fits_a_terminal(run):
    text = closing_table(run, terminal=True, width=80)
    assert "\x1b[" in text
    assert "Inconclusive" in text


def test_one_broken_report_hides_no_other(tmp_path, monkeypatch):
    run = write_run(tmp_path, MET)

    def burst(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(writing, "write_trend", burst)
    with pytest.raises(ReportsFailed, match="1 of the reports") as caught:
        write_reports(run, tmp_path)
    assert (run / "report.html").is_file()
    assert (run / "junit.xml").is_file()
    assert run / "trend.png" not in caught.value.written
    assert run / "summary.md" in caught.value.written
    assert caught.value.exceptions[0].__notes__ == [f"while writing trend.png of {run}"]


def test_a_history_that_cannot_be_read_costs_its_own_picture_only(tmp_path):
    run = write_run(tmp_path, MET)
    (run / MET.name / "history.jsonl").write_text("nonsense\nmore\n")
    with pytest.raises(ReportsFailed) as caught:
        write_reports(run, tmp_path)
    assert len(caught.value.exceptions) == 1
    assert "nonsense" in (run / "report.html").read_text()
