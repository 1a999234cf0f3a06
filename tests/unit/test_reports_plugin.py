import matplotlib as mpl
import pytest

from .samples import Story, write_run

pytest_plugins = ["pytester"]

STORY = Story(steady_s=4.0, bad_until_s=3.0, after_s=4.0, backup_before_s=1.0, rto_s=2.0)

CONFTEST = """
import sys
from pathlib import Path
from types import SimpleNamespace

import pytest

@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    run = Path({run!r})
    if {set_run}:
        session.config.drills_run = SimpleNamespace(dir=run, evidence_dir=run.parent, records=[], redacted=[])
    {more}
"""


@pytest.fixture(autouse=True)
def _fonts_are_found_once(monkeypatch):
    # pytester gives every session a home of its own, in which matplotlib would search all fonts again.
    monkeypatch.setenv("MPLCONFIGDIR", mpl.get_cachedir())


@pytest.fixture(autouse=True)
def _no_ci(monkeypatch):
    # In a CI job these sessions would write to the page of that job.
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):
        monkeypatch.delenv(name, raising=False)


def session(pytester, run, *arguments, set_run=True, more="pass"):
    pytester.makeconftest(CONFTEST.format(run=str(run), set_run=set_run, more=more))
    pytester.makepyfile("def test_nothing(): pass")
    return pytester.runpytest_subprocess("-p", "no:cacheprovider", "-p", "no:drills", *arguments)


@pytest.mark.parametrize("arguments", [(), ("-n", "2")], ids=["plain", "xdist"])
def test_a_session_ends_with_its_reports_and_the_table(pytester, tmp_path, arguments):
    run = write_run(tmp_path, STORY)
    result = session(pytester, run, *arguments)
    result.stdout.fnmatch_lines(
        [
            "*disaster recovery drills*",
            "Missed: the drill missed its objectives.*",
            "scenario * verdict * RTA / RTO * RPA / RPO * writes lost",
            "namespace_deletion * Missed * / 2 s *",
            f"evidence: {run}",
            f"report:   {run}/report.html",
        ]
    )
    assert result.stdout.str().count("Missed: the drill missed") == 1
    assert (run / "junit.xml").is_file()


def test_a_session_in_github_actions_annotates_and_fills_the_jobs_page(pytester, tmp_path, monkeypatch):
    run, page = write_run(tmp_path, STORY), tmp_path / "page.md"
    monkeypatch.setenv("GITHUB_ACTIONS", "true")
    monkeypatch.setenv("GITHUB_WORKSPACE", str(pytester.path))
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(page))
    result = session(pytester, run, "--color=yes")
    lines = [line for line in result.stdout.lines if line.startswith("::")]
    assert [line.partition("::MISSED")[0] for line in lines[:1]] == ["::error title=MISSED"]
    assert lines[1].startswith("::error file=scenarios/test_namespace_deletion.py,title=MISSED%3A namespace_deletion::")
    assert page.read_text(encoding="utf-8") == (run / "summary.md").read_text(encoding="utf-8")
    assert page.read_text(encoding="utf-8").startswith("# ✗ MISSED: the drill missed its objectives.")


def test_a_page_that_cannot_be_written_is_told(pytester, tmp_path, monkeypatch):
    run = write_run(tmp_path, STORY)
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path))
    session(pytester, run).stdout.fnmatch_lines(["REPORT FAILED while writing the job's summary: IsADirectoryError*"])


def test_a_session_without_a_run_says_and_loads_nothing(pytester, tmp_path):
    run = write_run(tmp_path, STORY)
    loaded = "print('LOADED', [name for name in ('pandas', 'matplotlib') if name in sys.modules])"
    result = session(pytester, run, "-s", set_run=False, more=loaded)
    result.stdout.no_fnmatch_line("*disaster recovery drills*")
    result.stdout.fnmatch_lines(["*LOADED []*"])
    assert not (run / "junit.xml").exists()


def test_a_report_that_fails_is_told_and_the_verdict_stays(pytester, tmp_path):
    run = write_run(tmp_path, STORY)
    (run / "report.html").mkdir()
    result = session(pytester, run)
    result.stdout.fnmatch_lines(["Missed: the drill missed*", "REPORT FAILED while writing report.html*"])
    assert result.ret == 0
    assert (run / "junit.xml").is_file()
