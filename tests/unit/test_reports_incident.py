import re
from dataclasses import replace

import pytest
from drills.reports.account import read_account
from drills.reports.incident import FILL_IN, draft, write_incident
from drills.reports.view import View, read_run
from drills.reports.writing import write_reports

from drills.errors import UsageError
from drills.history import Event

from .samples import Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MISSED = Story(
    **SHORT,
    name="quorum_loss",
    rto_s=2.0,
    lost=40,
    checks=(("secret <shop>", False, "present", "absent | gone"),),
    extra={"expected_steps": [{"name": "restore it", "expected_s": 1}, {"name": "call the owner", "expected_s": 60}]},
)


def drafted(tmp_path, story=MISSED):
    run = write_run(tmp_path, story)
    return write_incident(read_run(run)[0][0]).read_text()


def test_the_first_line_says_missed(tmp_path):
    assert drafted(tmp_path).split("\n")[0] == "# Missed: incident report on quorum\\_loss (draft)"


def test_the_timeline_is_filled_from_the_history_in_order(tmp_path):
    rows = re.findall(r"^\| \d\d:\d\d:\d\d\.\d{3} \| (.*?) \| (.*) \|$", drafted(tmp_path), re.MULTILINE)
    told = [what for _, what in rows]
    wanted = [
        "Service steady", "Recovery point: velero", "Disaster: namespace", "Users see the first failure", "Damage seen",
        "Detected by probe", "Recovery begun", "Step begun by harness: choose", "Step begun by harness: restore it",
        "Service back for good", "Data read back", r"Check failed: secret \<shop\>: absent \| gone", "Service stable",
    ]  # fmt: skip
    places = [next(place for place, what in enumerate(told) if what.startswith(want)) for want in wanted]
    assert places == sorted(places)
    assert sum("first failure" in what for what in told) == 1
    since = [float(when.replace("+", "").removesuffix(" s")) for when, _ in rows]
    assert since == sorted(since)
    assert {what.split(":")[0]: when for when, what in rows}["Disaster"] == "0 s"


def test_what_is_measured_is_filled_in_and_what_is_not_is_left_open(tmp_path):
    text = drafted(tmp_path)
    assert re.search(r"\| Recovery time \| 3\.\d+ s .*, objective 2 s \|", text)
    assert "| Acknowledged writes lost | 40 |" in text
    assert "- Slower than planned: restore it, 11.2 s, expected 1 s" in text
    assert "- Planned and not run: call the owner" in text
    for heading in (
        "Direct cause",
        "Root cause",
        "Contributing factors",
        "Immediate",
        "Permanent",
        "Proposals",
        "Learned",
    ):
        after = text.split(f"### {heading}\n")[1].split("#")[0]
        assert after.endswith(f"*{FILL_IN}*\n") or after.strip().endswith(f"*{FILL_IN}*"), heading


def test_a_service_that_never_came_back(tmp_path):
    text = drafted(tmp_path, replace(MISSED, bad_until_s=None))
    assert "| Service back (UTC) | not recovered |" in text
    assert text.split("\n")[2] == "Not back within 30 s; last: connection refused."


def test_a_failure_of_the_recovery_is_told():
    view = View.of({"verdict": "MISSED", "drill": "d", "why": "a step failed"})
    failure = Event(3.0, "2026-11-21T10:00:03.000Z", "failed", {"message": "restore: rc=1"})
    told = draft(view, [failure]).timeline
    assert [(each.what, each.since_s) for each in told] == [("Failed: restore: rc=1", None)]


@pytest.mark.parametrize("story", [Story(**SHORT), replace(MISSED, sabotage=("procedure",))], ids=["met", "sabotaged"])
def test_only_an_earnest_miss_calls_for_a_report(tmp_path, story):
    run = write_run(tmp_path, story)
    with pytest.raises(UsageError, match="incident: found the verdict"):
        write_incident(read_run(run)[0][0])
    assert read_account(run).incidents == []
    write_reports(run, tmp_path)
    assert not list(run.rglob("incident.md"))


def test_reports_of_a_run_hold_a_draft_for_each_miss(tmp_path):
    run = write_run(tmp_path, Story(**SHORT), MISSED)
    write_reports(run, tmp_path)
    assert [path.parent.name for path in run.rglob("incident.md")] == ["quorum_loss"]
