"""`drills plan check|due|show`, on evidence that the harness's own writers made."""

import json
import shutil
from datetime import UTC, date, datetime
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from drills import plan, runs
from drills.errors import UsageError
from drills.plan_commands import held_drills, programme, register

from .samples import Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT, began=datetime(2026, 9, 1, 9, tzinfo=UTC))
MISSED = Story(**SHORT, began=datetime(2026, 11, 1, 9, tzinfo=UTC), rto_s=2.0)
SABOTAGED = Story(**SHORT, began=datetime(2026, 11, 10, 9, tzinfo=UTC), sabotage=("procedure",))
INCONCLUSIVE = Story(**SHORT, began=datetime(2026, 11, 12, 9, tzinfo=UTC), proved=False)
OTHER = Story(**SHORT, began=datetime(2026, 11, 2, 9, tzinfo=UTC), name="pod_killed", scenario="scenarios/test_pod.py")

PLAN = """\
schema: pytest-drills/plan/v1
version: "3"
objectives:
  scenario:
    namespace deleted: {rto: 1 hour, rpo: 24 hours}
procedures:
  restore:
    steps:
      - {step: choose the newest completed backup, command: velero backup get, expected: 1s}
      - {step: restore it, expected: 5s}
      - {step: pray}
drills:
  namespace_deletion:
    {objective: scenario/namespace deleted, tier: high, procedure: restore, frequency: monthly, controls: [CP-9]}
  etcd_quorum_loss: {objective: scenario/namespace deleted, frequency: quarterly, last: 2026-01-31}
  never_asked: {objective: scenario/namespace deleted}
"""

app = typer.Typer()
register(app)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    evidence = tmp_path_factory.mktemp("evidence")
    for story in (MET, MISSED, SABOTAGED, INCONCLUSIVE, OTHER):
        write_run(evidence, story)
    return evidence


@pytest.fixture
def evidence(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "evidence", symlinks=True)


@pytest.fixture
def drills(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dr-plan.yaml").write_text(PLAN)

    def run(*arguments):
        return CliRunner().invoke(app, ["plan", *map(str, arguments)], catch_exceptions=True)

    return run


def replan(old, new):
    path = Path("dr-plan.yaml")
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


def rows(output):
    """A table's rows, by their first cell."""
    return {line.split("  ")[0].strip(): " ".join(line.split()) for line in output.splitlines()}


def record_of(evidence, story):
    (path,) = evidence.glob(f"{story.began:%Y%m%dT%H%M%SZ}-*/{story.name}/record.json")
    return path


# --- check ---


def test_check_says_what_a_sound_plan_holds(drills):
    result = drills("check")
    assert result.exit_code == 0
    assert result.output == "dr-plan.yaml: version 3, 3 drills, 1 class of objectives, 1 procedure, 0 backups: sound\n"


def test_check_names_promises_that_cannot_be_kept(drills):
    replan("expected: 5s", "expected: 2h")
    result = drills("check", "dr-plan.yaml")
    assert result.exit_code == 1
    assert "dr-plan.yaml:14:68: drills.namespace_deletion.procedure: its steps are expected to take" in result.output
    assert "1 thing to mend" in result.output


@pytest.mark.parametrize("command", ["check", "due", "show"])
def test_no_plan_is_bad_input(drills, command):
    replan("objectives:", "objektives:")
    refused = drills(command).exception
    assert isinstance(refused, UsageError)
    assert "dr-plan.yaml:3:1: objektives: not known" in str(refused)
    assert isinstance(drills(command, "none.yaml").exception, UsageError)


def test_the_program_turns_bad_input_into_exit_code_2(drills, monkeypatch, capsys):
    from drills import command

    replan("objectives:", "objektives:")
    monkeypatch.setattr("sys.argv", ["drills", "plan", "check"])
    with pytest.raises(SystemExit) as left:
        command.main()
    assert left.value.code == 2
    assert "dr-plan.yaml:3:1: objektives: not known" in capsys.readouterr().err


# --- due ---


def test_due_lists_what_is_overdue_never_held_and_due_next(drills, evidence):
    result = drills("due", "--evidence-dir", evidence, "--on", "2026-12-12")
    assert result.exit_code == 1
    found = rows(result.output)
    assert list(found)[:4] == ["drill", "namespace_deletion", "etcd_quorum_loss", "never_asked"]
    assert found["namespace_deletion"].endswith("overdue by 10 days 2026-12-02 31 days 2026-11-01 MISSED 2026-09-01"), (
        "counted from the newest drill that was held, met or missed, and not from the sabotaged or inconclusive ones"
    )
    assert found["etcd_quorum_loss"].endswith(
        "never held - 92 days never; the plan says 2026-01-31, without a record never"
    )
    assert found["never_asked"].endswith("never held - - never never")
    assert "held, and not in the plan: pod_killed" in result.output


@pytest.mark.parametrize(
    ("on", "state", "days"),
    [("2026-11-20", "next due", 0), ("2026-12-02", "next due", 0), ("2026-12-03", "overdue", 1)],
)
def test_a_drill_is_overdue_from_the_day_after_it_was_due(evidence, on, state, days):
    status = programme(plan.parse(PLAN), held_drills(evidence), date.fromisoformat(on))[0]
    assert (status.due, status.state, status.overdue_days, status.is_late) == (
        date(2026, 12, 2), state, days, days > 0,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("planned", "due", "late"),
    [
        ("2026-11-25", "2026-11-25", True),  # earlier than the frequency
        ("2027-03-01", "2026-12-02", False),  # later: the frequency was promised
        ("2026-10-30", "2026-12-02", False),  # held since
    ],
)
def test_a_planned_date_counts_until_the_drill_was_held(drills, evidence, planned, due, late):
    replan("frequency: monthly,", f"frequency: monthly, next: {planned},")
    result = drills("due", "--json", "--evidence-dir", evidence, "--on", "2026-11-30")
    found = next(drill for drill in json.loads(result.output)["drills"] if drill["drill"] == "namespace_deletion")
    assert (found["due"], found["late"]) == (due, late)


@pytest.mark.parametrize(
    ("said", "state", "code"),
    [
        ("frequency: quarterly, next: 2026-12-24", "never held 2026-12-24 92 days", 0),
        ("frequency: quarterly, next: 2026-11-24", "never held, overdue by 7 days 2026-11-24 92 days", 1),
        ("next: 2026-11-24", "never held, overdue by 7 days 2026-11-24 -", 1),
        ("frequency: quarterly", "never held - 92 days", 1),
    ],
)
def test_a_drill_that_was_never_held_is_late_unless_its_date_is_to_come(drills, evidence, said, state, code):
    replan("frequency: quarterly, last: 2026-01-31", said)
    result = drills("due", "--evidence-dir", evidence, "--on", "2026-12-01")
    assert rows(result.output)["etcd_quorum_loss"] == f"etcd_quorum_loss {state} never never"
    assert result.exit_code == code


def only_what_was_held():
    replan("  etcd_quorum_loss: {objective: scenario/namespace deleted, frequency: quarterly, last: 2026-01-31}\n", "")


def test_nothing_is_overdue_where_all_was_held_in_time(drills, evidence):
    only_what_was_held()
    result = drills("due", "--evidence-dir", evidence, "--on", "2026-11-30")
    assert result.exit_code == 0
    assert rows(result.output)["namespace_deletion"].startswith("namespace_deletion next due 2026-12-02")


def test_a_gap_that_has_run_out_is_overdue(drills, evidence):
    only_what_was_held()
    with Path("dr-plan.yaml").open("a") as file:
        file.write("gaps: [{what: the archive, why: it costs, until: 2026-11-30}]\n")
    assert drills("due", "--evidence-dir", evidence, "--on", "2026-11-30").exit_code == 0
    result = drills("due", "--evidence-dir", evidence, "--on", "2026-12-01")
    assert result.exit_code == 1
    assert "gap run out 1 day ago: the archive (it costs)" in result.output


def test_a_record_that_is_not_what_the_run_wrote_does_not_count(drills, evidence):
    edited, gone = record_of(evidence, MISSED), record_of(evidence, OTHER)
    edited.write_text(edited.read_text().replace('"MISSED"', '"MET"'))
    gone.unlink()
    result = drills("due", "--evidence-dir", evidence, "--on", "2026-11-05")
    assert rows(result.output)["namespace_deletion"].endswith("2026-09-01 MET 2026-09-01")
    assert f"{edited}: is not what the run wrote, not counted" in result.output
    assert f"{gone}: is gone, not counted" in result.output


def test_a_broken_log_is_pointed_out(drills, evidence):
    log = evidence / runs.LOG
    log.write_text("".join(log.read_text().splitlines(keepends=True)[1:]))
    assert f"{log}: line 1: " in drills("due", "--evidence-dir", evidence).output


def test_without_evidence_nothing_was_held(drills, tmp_path):
    assert rows(drills("due").output)["namespace_deletion"].endswith("never never")
    refused = drills("due", "--evidence-dir", tmp_path / "none").exception
    assert "accepted: one that a run wrote" in str(refused)


def test_a_day_that_is_none_is_refused(drills):
    assert "--on: found 'soon'; accepted: a date" in str(drills("due", "--on", "soon").exception)


def test_a_pattern_is_held_when_one_of_its_drills_was(drills, evidence):
    replan("  namespace_deletion:", "  namespace_*:")
    found = rows(drills("due", "--evidence-dir", evidence, "--on", "2026-11-05").output)
    assert found["namespace_*"].endswith("2026-11-01 MISSED 2026-09-01")


# --- show ---


def test_show_prints_the_programme_with_its_newest_results(drills, evidence):
    with Path("dr-plan.yaml").open("a") as file:
        file.write("gaps: [{what: the archive, why: it costs, until: 2027-11-30}]\n")
    result = drills("show", "--evidence-dir", evidence, "--on", "2026-12-12")
    assert result.exit_code == 0
    found = rows(result.output)
    assert found["namespace_deletion"] == (
        "namespace_deletion high 1 h 1 d restore 31 days 2026-11-01 MISSED 3.0 s 0.0 s overdue by 10 days"
    )
    assert found["never_asked"] == "never_asked - 1 h 1 d - - never - - -"
    assert "not proven by any drill until 2027-11-30: the archive (it costs)" in result.output


def test_show_compares_the_steps(drills, evidence):
    found = drills("show", "--steps", "--evidence-dir", evidence).output
    lines = [" ".join(line.split()) for line in found.splitlines()]
    assert "namespace_deletion choose the newest completed backup 1.0 s 0.4 s 0.40 within" in lines
    assert "namespace_deletion restore it 5.0 s 11.2 s 2.24 over" in lines
    assert "namespace_deletion wait until the shop's database takes connections - 3.1 s - not planned" in lines
    assert "namespace_deletion pray - - - not run" in lines


def test_show_prints_json(drills, evidence):
    found = json.loads(drills("show", "--json", "--evidence-dir", evidence, "--on", "2026-12-12").output)
    assert found["plan"]["path"] == "dr-plan.yaml"
    assert (found["plan"]["version"], found["on"], found["not_in_plan"]) == ("3", "2026-12-12", ["pod_killed"])
    one = found["drills"][0]
    assert one["source"] == "dr-plan.yaml 3, scenario/namespace deleted"
    assert one | {
        "drill": "namespace_deletion", "rto_s": 3600.0, "rpo_s": 86400.0, "verdict": "MISSED",
        "last_met": "2026-09-01", "overdue_days": 10, "controls": ["CP-9"],
    } == one  # fmt: skip
