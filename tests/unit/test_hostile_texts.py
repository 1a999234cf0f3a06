"""Texts in evidence that a terminal or a CI system would obey, and links that lead out of a run: what comes of them."""

import json
import os
import re

import pytest
from drills.reports import commands, terminal
from drills.reports.junit import write_junit
from drills.reports.results import read_results
from drills.reports.summary import render_summary
from drills.reports.writing import write_reports
from typer.testing import CliRunner

from drills.clock import FakeClock
from drills.command import app
from drills.record import load
from drills.runs import Run

from .samples import Story, record_of, tell

commands.register(app)
MISSED = Story(steady_s=4.0, bad_until_s=3.0, after_s=4.0, backup_before_s=1.0, rto_s=2.0)
HOSTILE = "a\n::error::x\r##[error]y\x1b]0;z\x07\x1b[31m\x9b31m\u202e\u2066\x00##vso[task.complete]"
FORBIDDEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]|##(?:\\[|vso\\[)")


def hostile(value, but=()):
    """Put it behind every text of a record that may be any text."""
    if isinstance(value, dict):
        return {key: each if key in but else hostile(each, but) for key, each in value.items()}
    if isinstance(value, list):
        return [hostile(each, but) for each in value]
    return value + HOSTILE if isinstance(value, str) else value


KEPT = (
    "schema", "verdict", "started_utc", "ended_utc", "sha256", "utc", "by", "state", "kind", "drill", "role",
    "taken_utc", "issued_utc", "blast_radius",
)  # fmt: skip
"""Fields that the schema binds to a form."""


@pytest.fixture
def evidence(tmp_path):
    """A run with a record that is hostile wherever the schema allows it."""
    run = Run.start(tmp_path / "evidence", {"why": HOSTILE}, FakeClock())
    history = tell(MISSED)
    record = record_of(MISSED, history)
    record = hostile(record, KEPT)
    record["fault"]["name"] = "\n::error::" + HOSTILE
    record["procedure"]["name"] = "::error::" + HOSTILE
    record["controls"] = ["::warning::" + HOSTILE]
    folder = run.drill_directory("drill")
    (folder / "record.json").write_text(json.dumps(record))
    (folder / "history.jsonl").write_text("".join(event.line() + "\n" for event in history.events()))
    load(folder / "record.json")
    run.end()
    return tmp_path / "evidence"


def assert_harmless(text):
    for line in re.split("[\n\r\x0b\x0c\x1c-\x1e\x85\u2028\u2029]", text):
        assert not line.lstrip().startswith("::"), line
        assert not FORBIDDEN.search(line), ascii(line)


@pytest.mark.parametrize("command", ["trend", "coverage", "maturity", "controls", "recheck", "report"])
def test_no_command_prints_what_a_terminal_or_a_ci_system_obeys(evidence, command):
    arguments = ["latest"] if command == "report" else []
    result = CliRunner().invoke(app, [command, *arguments, "--evidence-dir", str(evidence)])
    assert result.exception is None or isinstance(result.exception, SystemExit), result.exception
    assert "drill" in result.output.lower()
    assert_harmless(result.output)


@pytest.mark.parametrize("command", ["coverage", "maturity"])
def test_json_is_as_harmless_and_still_says_the_same(evidence, command):
    result = CliRunner().invoke(app, [command, "--json", "--evidence-dir", str(evidence)])
    assert_harmless(result.output)
    assert json.loads(result.output)


def test_the_closing_table_and_the_summary_are_harmless(evidence):
    run = evidence / "latest"
    assert_harmless(terminal.closing_table(run.resolve()))
    assert_harmless(render_summary(read_results(run.resolve(), evidence)))
    text = write_junit(run.resolve()).read_text()
    assert not FORBIDDEN.search(text.replace("##", "")), "XML has no line that a CI system reads"


def test_a_plan_cannot_speak_to_the_terminal(evidence, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(
        'schema: pytest-drills/plan/v1\nversion: "1"\nobjectives: {g: {c: {rto: 1h}}}\n'
        'drills: {d: {objective: g/c, frequency: daily, tier: "\\n::error::x\\u009b\\u202e"}}\n'
        'gaps: [{what: "\\n::error::x", why: "##[error]y", until: 2020-01-01}]\n'
    )
    for command in ("check", "due", "show"):
        arguments = [] if command == "check" else ["--evidence-dir", str(evidence)]
        result = CliRunner().invoke(app, ["plan", command, str(plan), *arguments])
        assert_harmless(result.output)


def test_reports_follow_no_link_and_write_through_none(evidence, tmp_path):
    run = (evidence / "latest").resolve()
    outside = tmp_path / "outside"
    outside.mkdir()
    (outside / "secret.txt").write_text("of somebody else")
    (outside / "record.json").write_text((run / "drill" / "record.json").read_text())
    (outside / "history.jsonl").write_text("{}\n")
    (run / "drill" / "commands.log").symlink_to(outside / "secret.txt")
    (run / "allure-results").symlink_to(outside)
    (run / "other").symlink_to(outside)
    (run / "third").mkdir()
    (run / "third" / "record.json").symlink_to(outside / "record.json")
    (run / "report.html").symlink_to(outside / "secret.txt")
    os.mkfifo(run / "drill" / "pipe.log")
    before = {path.name: path.read_text() for path in outside.iterdir()}
    write_reports(run, evidence)
    assert {path.name: path.read_text() for path in outside.iterdir()} == before
    assert not (run / "report.html").is_symlink()
    for path in run.rglob("*"):
        if path.is_file() and not path.is_symlink():
            assert b"of somebody else" not in path.read_bytes(), path
    assert [problem.path.parent.name for problem in read_results(run).problems] == ["third"]
    assert "a symbolic link" in read_results(run).problems[0].found
