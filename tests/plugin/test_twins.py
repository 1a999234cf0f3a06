"""Drills without their fault or their procedure: they must fail, and one that is met is said first."""

import json
import re
from xml.etree import ElementTree as ET

import matplotlib as mpl
import pytest

from drills.record import load

pytest_plugins = ["pytester"]

QUICK = ("--drill-damage-within=300ms", "--drill-recovered-within=1s")
HONEST = """
@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        if not drill.leaves_out("procedure"):
            service.up = True
"""
NEVER_ASKS = HONEST.replace(
    '        if not drill.leaves_out("procedure"):\n            service.up', "        service.up"
)
BREAKS_ANYWAY = (
    """
class Unplugged(Unplugged):
    def proof(self):
        self.service.up = False
        return super().proof() if self.looked else self.look()

    looked = False

    def look(self):
        self.looked = True
        return []
"""
    + HONEST
)  # its proof breaks the service, so that it is damaged without its fault


def test_twins_that_fail_as_they_must_make_a_run_that_passes(session_of, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", mpl.get_cachedir())
    session = session_of(HONEST, "--drill-twins", *QUICK, reports=True)
    assert session.code == 0
    assert session.counts == {"passed": 1, "xfailed": 2}
    assert session.verdicts == {
        "outage": "MET", "outage.without_fault": "INCONCLUSIVE", "outage.without_procedure": "MISSED",
    }  # fmt: skip
    records = session.records
    assert [records[name]["sabotage"] for name in sorted(records)] == [[], ["fault"], ["procedure"]]
    assert {record["drill"] for record in records.values()} == {"outage"}
    assert session.about["twins"] is True
    assert "Met: the drill met its objectives." in session.output
    assert (session.run / "summary.md").read_text().startswith("# ✓ MET: the drill met its objectives.")
    suite = ET.parse(session.run / "junit.xml").getroot()  # noqa: S314 - our own
    assert (suite.get("tests"), suite.get("failures"), suite.get("errors")) == ("3", "0", "0")
    assert {case.get("name") for case in suite.iter("testcase")} == {
        "outage", "outage (without its fault)", "outage (without its procedure)",
    }  # fmt: skip


def first_lines(session):
    run = session.run
    page = (run / "report.html").read_text()
    allure = [json.loads(path.read_text()) for path in (run / "allure-results").glob("*-result.json")]
    return {
        "terminal": re.search(r"disaster recovery drills =+\n(.*)", session.output)[1],
        "summary.md": (run / "summary.md").read_text().partition("\n")[0],
        "page": " ".join(re.sub("<[^>]*>", " ", page[page.index("<body") :]).split())[:600],
        "junit": (run / "junit.xml").read_text().partition("\n")[0],
        "allure": " ".join(result["status"] for result in allure),
    }


@pytest.mark.parametrize("how", [("--drill-sabotage", "procedure"), ("--drill-twins",)], ids=["sabotage", "twins"])
def test_a_sabotaged_drill_that_is_met_is_the_first_line_of_everything(session_of, monkeypatch, how):
    monkeypatch.setenv("MPLCONFIGDIR", mpl.get_cachedir())
    session = session_of(NEVER_ASKS, *how, *QUICK, reports=True)
    assert session.code == 1
    lines = first_lines(session)
    assert "failed" in lines.pop("allure")
    for where, line in lines.items():
        assert "outage was met without its procedure: this drill cannot fail, so it proves nothing" in line, where
        assert "all" not in line.split(), where
    suite = ET.parse(session.run / "junit.xml").getroot()  # noqa: S314 - our own
    (failed,) = [case for case in suite.iter("testcase") if case.find("failure") is not None]
    assert "cannot fail" in failed.find("failure").get("message")
    assert "MET without its procedure: this drill cannot fail" in session.output


def test_a_drill_that_is_damaged_without_its_fault_is_found_out(session_of):
    session = session_of(BREAKS_ANYWAY, "--drill-sabotage", "fault", *QUICK)
    assert session.code == 1
    assert session.counts == {"failed": 1}
    assert session.verdicts == {"outage": "MET"}


def test_a_twin_that_shows_nothing_is_no_pass(session_of):
    broken = HONEST.replace("    drill.holds", "    assert not drill.sabotage, 'no luck'\n    drill.holds")
    session = session_of(broken, "--drill-twins", *QUICK)
    assert session.code == 3
    assert session.counts == {"passed": 1, "failed": 2}
    assert session.verdicts["outage"] == "MET"


def test_a_drill_that_misses_in_earnest_misses_with_its_twins(session_of):
    session = session_of(HONEST.replace("30s", "1ms"), "--drill-twins", *QUICK)
    assert session.code == 1
    assert session.counts == {"failed": 1, "xfailed": 2}


def test_twins_wait_longer_than_the_drill_in_earnest_took(session_of):
    session = session_of(HONEST, "--drill-twins", "--drill-damage-within=300ms", more=(
        "\nfrom drills.fixtures.plugin import facts\n\nfacts.LEAST_PATIENCE_S = 1.0\n"))  # fmt: skip
    assert session.code == 0
    waited = phases(session.run / "outage.without_procedure")
    took = phases(session.run / "outage")
    assert took["ended"] < waited["ended"] < 30  # 60 s, twice the RTO, is what it would wait for of its own


def phases(directory):
    return {phase["name"]: phase["t_s"] for phase in load(directory / "record.json")["phases"]}


@pytest.mark.parametrize("more", [("--drill-sabotage", "fault"), ("--drill-repeat", "2")])
def test_twins_are_held_in_a_run_of_their_own(session_of, more):
    session = session_of(HONEST, "--drill-twins", *more)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert f"--drill-twins: invalid with {more[0]}: expected one of them" in session.output
    assert not session.evidence.exists()


def test_twins_on_two_workers_are_one_run(session_of):
    pytest.importorskip("xdist")
    session = session_of(HONEST, "--drill-twins", *QUICK, "-n", "2")
    assert session.code == 0
    assert len(session.verdicts) == 3
