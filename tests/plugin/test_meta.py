"""What people say of a drill on the command line reaches its record, or is refused before anything is touched."""

import hashlib

import pytest

from drills import record

pytest_plugins = ["pytester"]

DRILL = """
@pytest.mark.drill(rto="30s", runbook="runbook.md")
def test_outage(drill, service):
    drill.deviates("held on a laptop")
    drill.relaxes("pager muted")
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""


@pytest.mark.parametrize(
    ("pair", "why"),
    [
        ("owner=me", "--drill-meta: found the key 'owner', accepted: participants, approver, approved_on"),
        ("type=partial", "--drill-meta, type: found 'partial', accepted: component, functional, full"),
        ("approver", "--drill-meta: found 'approver', accepted: KEY=VALUE"),
    ],
)
def test_bad_meta_is_refused_before_anything_is_touched(session_of, pair, why):
    session = session_of(DRILL, "--drill-meta", pair)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert why in session.output
    assert not session.evidence.exists()


def test_a_record_says_which_it_is_and_what_people_said(session_of, project):
    runbook = project.path / "runbook.md"
    runbook.write_text("1. Plug it in.\n")
    said = ("approver=Cy Ode", "participants=Bo Lind (operator)", "scope.data=orders; bills", "deviations=a day late")
    session = session_of(DRILL, *(word for pair in said for word in ("--drill-meta", pair)))
    assert session.verdicts == {"outage": "MET"}
    (one,) = session.records.values()
    assert record.validate(one) == []
    assert (one["id"], one["sequence"], one["attempt"]) == (f"{session.run.name}/outage", 0, 1)
    assert one["runbook_sha256"] == hashlib.sha256(runbook.read_bytes()).hexdigest()
    assert one["meta"] == {
        "approver": "Cy Ode",
        "participants": [{"name": "Bo Lind", "role": "operator"}],
        "scope": {"data": ["orders", "bills"]},
    }
    assert one["deviations"] == ["held on a laptop", "a day late"]
    assert one["relaxed_controls"] == ["pager muted"]


PLAN = """
schema: pytest-drills/plan/v1
version: "3"
objectives:
  tier:
    gold: {rto: 20s, source: BIA}
procedures:
  plug it in:
    runbook: book.md
    steps:
      - {step: find the plug, command: ls plugs, expected: 5s}
      - step: plug it in
drills:
  outage:
    objective: tier/gold
    procedure: plug it in
    approver: Di Lu
    approved_on: 2026-11-14
    next: 2026-11-21
    type: component
    participants: [{name: Di Lu, role: approver}]
    scope: {data: [orders]}
"""


def test_the_plan_says_the_rest_and_the_command_line_wins(session_of, project):
    plan = project.path / "team" / "plan.yaml"
    plan.parent.mkdir()
    plan.write_text(PLAN)
    (plan.parent / "book.md").write_text("1. Find the plug.\n")
    said = ("type=full", "participants=Bo Lind (operator)", "scope.data=bills")
    options = [word for pair in said for word in ("--drill-meta", pair)]
    (one,) = session_of(DRILL, "--drill-plan", str(plan), *options).records.values()
    assert record.validate(one) == []
    sha256 = hashlib.sha256(plan.read_bytes()).hexdigest()
    assert one["plan"] == {"path": "team/plan.yaml", "sha256": sha256, "version": "3", "entry": "outage"}
    assert one["runbook_sha256"] == hashlib.sha256((plan.parent / "book.md").read_bytes()).hexdigest()
    assert one["expected_steps"] == [
        {"name": "find the plug", "command": "ls plugs", "expected_s": 5.0},
        {"name": "plug it in", "command": "", "expected_s": None},
    ]
    assert one["meta"] == {
        "participants": [{"name": "Bo Lind", "role": "operator"}, {"name": "Di Lu", "role": "approver"}],
        "approver": "Di Lu",
        "approved_on": "2026-11-14",
        "planned_on": "2026-11-21",
        "scope": {"data": ["bills", "orders"]},
        "type": "full",
    }


def test_what_nobody_said_is_left_open(session_of):
    (one,) = session_of(DRILL).records.values()
    assert (one["plan"], one["runbook_sha256"], one["meta"], one["expected_steps"]) == (None, None, {}, [])
