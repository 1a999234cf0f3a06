"""Where drills get their objectives from: the plan in the root directory, --drill-plan, or the marker."""

import ast
import re
import shutil
from pathlib import Path

import pytest
from drills.fixtures import plugin

from drills import Objective, plan

from ..plugin.conftest import project, session_of  # noqa: F401 - fixtures

pytest_plugins = ["pytester"]

ROOT = Path(__file__).parents[2]

DRILL = """
@pytest.mark.drill(rto="2h", rpo="1h", source="the marker", tier="low", controls=["X-1"], runbook="old.md")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
PLAN = """\
schema: pytest-drills/plan/v1
version: "7"
objectives: {scenario: {outage: {rto: 30s, mtd: 1h, source: BIA}}}
procedures: {plug: {runbook: plug.md}}
drills:
  outage: {objective: scenario/outage, tier: high, controls: [CP-10], procedure: plug}
"""
FACTS = ("objective", "tier", "controls", "runbook")
BY_PLAN = (
    {"rto_s": 30.0, "rpo_s": None, "mtd_s": 3600.0, "source": "dr-plan.yaml 7, scenario/outage: BIA"},
    "high", ["CP-10"], "plug.md",
)  # fmt: skip
BY_MARKER = (
    {"rto_s": 7200.0, "rpo_s": 3600.0, "mtd_s": None, "source": "the marker"},
    "low", ["X-1"], "old.md",
)  # fmt: skip


def facts(session):
    (record,) = session.records.values()
    return tuple(record[fact] for fact in FACTS)


@pytest.fixture
def planned(project):  # noqa: F811
    (project.path / "dr-plan.yaml").write_text(PLAN)
    return project.path


def test_the_plans_word_wins_over_the_markers(session_of, planned):  # noqa: F811
    session = session_of(DRILL)
    assert facts(session) == BY_PLAN
    assert session.code == 0, "judged by the plan's objective: none for data, of which there is none"
    assert session.verdicts == {"outage": "MET"}


@pytest.mark.parametrize(
    ("old", "new"),
    [("  outage: {obj", "  other: {obj"), ("procedure: plug}", "procedure: plug, scenario: test_other.py}")],
    ids=["another drill", "another file"],
)
def test_a_drill_that_the_plan_does_not_name_keeps_its_markers(session_of, planned, old, new):  # noqa: F811
    (planned / "dr-plan.yaml").write_text(PLAN.replace(old, new))
    assert facts(session_of(DRILL)) == BY_MARKER


def test_without_a_plan_the_marker_holds(session_of):  # noqa: F811
    assert facts(session_of(DRILL)) == BY_MARKER


def test_what_the_plan_leaves_open_is_the_markers_but_never_a_figure(session_of, planned):  # noqa: F811
    (planned / "dr-plan.yaml").write_text(
        PLAN.replace(", tier: high, controls: [CP-10], procedure: plug", ", frequency: daily")
    )
    assert facts(session_of(DRILL)) == (BY_PLAN[0], *BY_MARKER[1:])


def test_another_plan_may_be_given(session_of, planned):  # noqa: F811
    shutil.move(planned / "dr-plan.yaml", planned / "other.yaml")
    objective = facts(session_of(DRILL, "--drill-plan", "other.yaml"))[0]
    assert objective == BY_PLAN[0] | {"source": "other.yaml 7, scenario/outage: BIA"}


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        ((), "dr-plan.yaml:6:12: drills.outage.objektive: not known"),
        (("--drill-plan", "none.yaml"), "none.yaml: found it unreadable"),
    ],
)
def test_a_bad_plan_is_refused_before_anything_is_touched(session_of, planned, arguments, why):  # noqa: F811
    (planned / "dr-plan.yaml").write_text(PLAN.replace("objective: sc", "objektive: sc"))
    session = session_of(DRILL, *arguments)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert why in session.output
    assert not session.evidence.exists()


def test_a_bad_plan_is_no_matter_where_there_are_no_drills(session_of, planned):  # noqa: F811
    (planned / "dr-plan.yaml").write_text("nonsense")
    assert session_of("def test_other():\n    pass\n").counts == {"passed": 1}


# --- this repository's plan and its scenarios ---


@pytest.fixture(scope="module")
def own():
    return plan.load(ROOT / "dr-plan.yaml")


def test_the_plan_says_what_the_scenarios_markers_say(pytester, own, monkeypatch):
    monkeypatch.chdir(ROOT)
    items, _ = pytester.inline_genitems(f"--rootdir={ROOT}", "-p", "no:cacheprovider", str(ROOT / "scenarios"))
    assert {plugin.drill_name(item) for item in items} == set(own.drills)
    for item in items:
        marker, entry = plugin.marker_of(item), own.entry_for(plugin.drill_name(item), f"scenarios/{item.path.name}")
        by_marker = plugin.objective_of(marker, None)
        assert Objective(entry.objective.rto, entry.objective.rpo, entry.objective.mtd, by_marker.source) == by_marker
        assert entry.objective.source.endswith(f": {by_marker.source}")
        assert (entry.tier, entry.runbook) == (marker["tier"], marker["runbook"])
        assert list(entry.controls) == marker["controls"]


def test_the_plans_steps_are_named_as_the_procedures_name_them(own):
    """Or no duration would be compared."""
    names = []
    for path in [ROOT / "drills/drill.py", *(ROOT / "drills/procedures").glob("*.py")]:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "step":
                parts = node.args[0].values if isinstance(node.args[0], ast.JoinedStr) else [node.args[0]]
                names.append(
                    "".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in parts)
                )
    steps = {step.step for procedure in own.procedures.values() for step in procedure.steps}
    assert {step for step in steps if not any(re.fullmatch(name, step) for name in names)} == set()
    assert len(names) > 10
