import json
import shutil

import pytest
import typer
from drills.reports.commands import register
from drills.reports.recheck import differences
from typer.testing import CliRunner

from drills.record import write_atomically

from .samples import Story, write_many, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT)
MISSED = Story(**SHORT, name="etcd_quorum_loss", rto_s=2.0)

app = typer.Typer()
register(app)


def drills(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    evidence = tmp_path_factory.mktemp("evidence")
    write_run(evidence, MET, MISSED)
    return evidence


@pytest.fixture
def evidence(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "evidence", symlinks=True)


def only_run(evidence):
    return next(path for path in evidence.iterdir() if path.is_dir() and not path.is_symlink())


def edit(path, **changes):
    record = json.loads(path.read_text())
    write_atomically(path, record | changes)


@pytest.mark.parametrize("how", ["latest", "name", "path"])
def test_report_finds_the_run(evidence, how):
    run = only_run(evidence)
    which = {"latest": "latest", "name": run.name, "path": run}[how]
    result = drills("report", which, *(() if how == "path" else ("--evidence-dir", evidence)))
    assert result.exit_code == 0, result.output
    assert "Missed: 1 of 2 drills missed an objective." in result.output
    assert f"written: {run / 'report.html'}" in result.output
    assert (run / "trend.png").is_file()


def test_report_of_no_run_is_refused(evidence):
    result = drills("report", "20990101T000000Z-ffff", "--evidence-dir", evidence)
    assert result.exit_code == 2
    assert "run: found '20990101T000000Z-ffff'" in result.output
    assert only_run(evidence).name in result.output


def test_report_of_a_directory_that_is_no_run_is_refused(tmp_path):
    result = drills("report", tmp_path)
    assert result.exit_code == 2
    assert "neither run.json nor a record" in result.output


def test_a_report_that_fails_is_told_and_exits_3(evidence):
    run = only_run(evidence)
    (run / "report.html").mkdir()
    result = drills("report", run)
    assert result.exit_code == 3
    assert "REPORT FAILED while writing report.html" in result.output
    assert (run / "junit.xml").is_file()


def test_a_sealed_runs_reports_go_into_a_copy(evidence, tmp_path):
    run = only_run(evidence)
    (run / "manifest.json").write_text("{}")
    before = {path: path.read_bytes() for path in run.rglob("*") if path.is_file()}
    result = drills("report", run)
    assert result.exit_code == 2
    assert "which is sealed" in result.output
    assert "--out DIR" in result.output
    result = drills("report", run, "--out", tmp_path / "again")
    assert result.exit_code == 0, result.output
    copy = tmp_path / "again" / run.name
    assert (copy / "report.html").is_file()
    assert (copy / "coverage.html").is_file()
    assert not (copy / "manifest.json").exists()
    assert {path: path.read_bytes() for path in run.rglob("*") if path.is_file()} == before
    result = drills("report", run, "--out", tmp_path / "again")
    assert result.exit_code == 2
    assert "there already" in result.output


def test_trend_prints_the_newest_and_names_what_it_cannot_read(tmp_path):
    write_many(tmp_path, 4, MET)
    write_atomically(tmp_path / "20990101T000000Z-0000" / "bad" / "record.json", "{")
    result = drills("trend", "--evidence-dir", tmp_path)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "trend.png").is_file()
    assert f"{MET.name}  4 " in result.output
    assert "unreadable:" in result.output


@pytest.mark.parametrize(
    "arguments", [("trend", "--evidence-dir", "nowhere"), ("recheck", "--evidence-dir", "nowhere")]
)
def test_no_evidence_is_refused(arguments):
    result = drills(*arguments)
    assert result.exit_code == 2
    assert "found nowhere, which is no directory; accepted" in result.output


def test_trend_refuses_a_place_that_is_none(evidence):
    result = drills("trend", "--evidence-dir", evidence, "--out", evidence / "no" / "where.png")
    assert result.exit_code == 2
    assert "--out: found" in result.output


def test_recheck_of_honest_records_finds_nothing(evidence):
    result = drills("recheck", "--evidence-dir", evidence)
    assert result.exit_code == 0, result.output
    assert "2 records judged again, no difference" in result.output


def test_recheck_finds_a_flattered_verdict(evidence):
    edit(only_run(evidence) / MISSED.name / "record.json", verdict="MET", why="all well")
    result = drills("recheck", "latest", "--evidence-dir", evidence)
    assert result.exit_code == 1
    row = next(line for line in result.output.splitlines() if "verdict" in line)
    assert '"MET"' in row
    assert '"MISSED"' in row
    assert "1 differs" in result.output
    changed = f"{only_run(evidence).name}/{MISSED.name}: MET is MISSED today: "
    told = next(line for line in result.output.splitlines() if line.startswith(changed))
    assert "over the RTO of" in told


def test_recheck_finds_an_edited_history(evidence):
    path = only_run(evidence) / MET.name / "history.jsonl"
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(line for line in lines if '"ok": false' not in line))
    result = drills("recheck", "--evidence-dir", evidence)
    assert result.exit_code == 1
    assert "history.sha256" in result.output
    assert "achieved.rta_s" in result.output


@pytest.mark.parametrize("broken", ["record", "history", "no history"])
def test_recheck_fails_on_what_it_cannot_judge(evidence, broken):
    folder = only_run(evidence) / MET.name
    if broken == "no history":
        (folder / "history.jsonl").unlink()
    else:
        (folder / {"record": "record.json", "history": "history.jsonl"}[broken]).write_text("{\n")
    result = drills("recheck", "--evidence-dir", evidence)
    assert result.exit_code == 1
    assert (
        "cannot be judged" in result.output or "unreadable" in result.output or "accepted: one event" in result.output
    )


def test_recheck_names_a_drill_that_was_cut_off(evidence):
    (only_run(evidence) / MET.name / "record.json").unlink()
    result = drills("recheck", "--evidence-dir", evidence)
    assert result.exit_code == 0
    assert "never judged:" in result.output
    assert "1 record judged again" in result.output


def test_what_later_code_adds_is_no_difference():
    assert list(differences({"a": {"b": 1.0}}, {"a": {"b": 1.0000001, "new": 2}})) == []
    assert list(differences({"a": {"b": 1.0, "gone": None}}, {"a": {"b": 1.1}})) == [
        ("a.b", "1.0", "1.1"),
        ("a.gone", "null", "absent"),
    ]
    assert list(differences({"ok": True}, {"ok": 1})) == [("ok", "true", "1")]
