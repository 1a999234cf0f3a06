import json
import re
import shutil
from datetime import UTC, date, datetime, timedelta
from types import SimpleNamespace

import pytest
import typer
from drills.reports.commands import register
from drills.reports.coverage import State, coverage, known_failures, moment_of, plan_of, render_coverage
from drills.reports.frame import read_evidence
from drills.reports.writing import write_run_coverage
from typer.testing import CliRunner

from drills import faults
from drills import plan as plans
from drills.record import write_atomically

from .samples import COMPLETE, Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT, fault="namespace deleted")
MISSED = Story(**SHORT, name="etcd_quorum_loss", fault="etcd wiped", rto_s=2.0, controls=("NIST CP-10", "ACME 7"))
LATER = datetime(2026, 12, 1, 9, 33, 6, tzinfo=UTC)
PLAN = """\
schema: pytest-drills/plan/v1
version: "3"
objectives:
  tier: {high: {rto: 1h, rpo: 1h}}
drills:
  namespace_deletion: {objective: tier/high, frequency: 5 days}
  region_loss: {objective: tier/high}
gaps:
  - {what: node stopped, why: nodes are cattle, until: 2026-11-30}
  - {what: pod killed, why: "Kubernetes itself is trusted here", until: 2027-06-30}
"""

app = typer.Typer()
register(app)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    evidence = tmp_path_factory.mktemp("evidence")
    write_run(evidence, MET, MISSED)
    return evidence


@pytest.fixture
def evidence(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "evidence", symlinks=True)


def covered(evidence, plan=None, as_of=LATER):
    return coverage(read_evidence(evidence), evidence, as_of, plan and plans.parse(plan))


def cells(found):
    return {cell.failure: cell for cell in found.cells}


def test_a_cell_says_who_proved_what_and_how_long_ago(evidence):
    cell = cells(covered(evidence))["namespace deleted"]
    assert (cell.state, cell.days, cell.lasts_days) == (State.PROVEN, 10, 92)
    assert cell.procedure == "none named"
    assert cell.data == ("acknowledged writes",)
    assert cell.controls == ("NIST-800-53r5:CP-4", "SOC2:A1.3")
    assert cell.environments == ("kind",)


def test_a_miss_is_no_proof_and_stands_first(evidence):
    found = covered(evidence)
    assert cells(found)["etcd wiped"].state is State.MISSED
    assert found.verdict == "MISSED"
    assert found.sentence.startswith("latest runs that missed an objective: etcd_quorum_loss.")
    first = re.search(r"<h1>(.*?)</h1>", render_coverage(found), re.DOTALL)
    assert "Missed:" in first[1]


def test_a_miss_outranks_an_older_proof_and_a_newer_proof_the_miss(evidence):
    write_run(evidence, Story(**SHORT, fault="namespace deleted", rto_s=2.0, began=MET.began + timedelta(days=1)))
    assert cells(covered(evidence))["namespace deleted"].state is State.MISSED
    write_run(evidence, Story(**SHORT, fault="namespace deleted", began=MET.began + timedelta(days=2)))
    assert cells(covered(evidence))["namespace deleted"].state is State.PROVEN
    assert cells(covered(evidence))["namespace deleted"].days == 8


def test_a_proof_grows_stale_after_the_plans_interval(evidence):
    assert cells(covered(evidence, PLAN))["namespace deleted"].state is State.STALE
    assert cells(covered(evidence, PLAN, MET.began + timedelta(days=5)))["namespace deleted"].state is State.PROVEN
    assert cells(covered(evidence, as_of=MET.began + timedelta(days=93)))["namespace deleted"].state is State.STALE


def test_sabotaged_and_inconclusive_runs_prove_nothing(tmp_path):
    write_run(
        tmp_path,
        Story(**SHORT, fault="pod killed", sabotage=("procedure",)),
        Story(**SHORT, name="no_effect", fault="node stopped", proved=False),
    )
    found = covered(tmp_path)
    assert list(cells(found)) == ["node stopped"]
    assert cells(found)["node stopped"].state is State.NEVER


def test_gaps_are_declared_or_found(evidence):
    found = covered(evidence, PLAN)
    assert [(gap.what, gap.until, gap.overdue) for gap in found.declared] == [
        ("node stopped", date(2026, 11, 30), True),
        ("pod killed", date(2027, 6, 30), False),
    ]
    names = {gap.what: gap.why for gap in found.found}
    assert names["region_loss"] == "in the plan, and never run"
    assert names["etcd wiped"] == "drills caused it, and none has met its objectives yet"
    assert "node drained" not in names, "which of the harness's faults matter is for the team to say"
    assert "node drained" in found.unrehearsed
    assert {"node stopped", "pod killed", "namespace deleted"}.isdisjoint(names)


def in_a_node(name="worker"):
    return SimpleNamespace(name=name, exec=lambda argv, timeout_s: "")


NOWHERE = SimpleNamespace(get=lambda *where: None)


@pytest.mark.parametrize(
    "fault",
    [
        *(faults.DnsDown(NOWHERE, how, 2, {}) for how in ("killed", "scaled away")),
        *(faults.ServicesLeadNowhere((), how) for how in ("killed", "wedged")),
        *(
            faults.ServiceDown(in_a_node(), service, how, 1)
            for service in ("kubelet", "containerd")
            for how in ("killed", "wedged")
        ),
        *(faults.VolumeRuined(in_a_node(), "shop/data", "/data", overwrite=over) for over in (True, False)),
        faults.schedule_paused(NOWHERE, "hourly", lambda: (0.0, 0.0)),
        faults.location_read_only(NOWHERE, "hourly", lambda: (0.0, 0.0)),
    ],
    ids=lambda fault: fault.name,
)
def test_a_failure_named_by_how_it_is_done_is_missed_where_no_drill_caused_it(tmp_path, fault):
    assert fault.name in fault.names
    write_run(tmp_path, Story(**SHORT, fault="pod killed"))
    assert fault.name in covered(tmp_path).unrehearsed


def test_every_fault_has_a_name_to_be_missed_by():
    kinds = {kind for name in faults.__all__ if isinstance(kind := getattr(faults, name), type)}
    nameless = {
        kind.__name__ for kind in kinds if issubclass(kind, faults.Fault) and not (kind.names or hasattr(kind, "name"))
    }
    assert nameless == {"Fault", "Together"}  # the latter is made of others, and named by them


def test_failures_at_once_are_each_caused(tmp_path):
    assert {"etcd wiped", "node stopped", "pod killed"} <= known_failures()
    assert not any(name.startswith("none") for name in known_failures())
    write_run(tmp_path, Story(**SHORT, fault="etcd wiped and node stopped"))
    assert {"etcd wiped", "node stopped"}.isdisjoint(covered(tmp_path).unrehearsed)


def test_the_matrix_has_the_controls_that_drills_name(evidence):
    found = covered(evidence)
    assert found.controls == ["ACME 7", "NIST CP-10", "NIST-800-53r5:CP-4", "SOC2:A1.3"]
    assert found.newest("etcd wiped", "NIST CP-10").state is State.MISSED
    assert found.newest("etcd wiped", "SOC2:A1.3") is None
    assert "(not in the catalogue)" in render_coverage(found)


def test_data_classes_come_from_the_scope(tmp_path):
    write_run(tmp_path, Story(**SHORT, fault="namespace deleted", extra=COMPLETE))
    assert cells(covered(tmp_path))["namespace deleted"].data == ("orders",)


def test_a_runs_page_says_what_was_known_at_its_end_by_its_own_plan(evidence, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "dr-plan.yaml").write_text(PLAN)
    digest = plans.load(tmp_path / "dr-plan.yaml").sha256
    run = next(path for path in evidence.iterdir() if path.is_dir() and not path.is_symlink())
    write_run(evidence, Story(**SHORT, fault="pod killed", name="later", began=MET.began + timedelta(days=30)))
    record = run / MET.name / "record.json"
    named = {"path": "dr-plan.yaml", "sha256": digest, "version": "3", "entry": MET.name}
    write_atomically(record, json.loads(record.read_text()) | {"plan": named})
    assert plan_of(run).version == "3"
    page = write_run_coverage(read_evidence(evidence), run, evidence)
    text = page.read_text()
    assert page == run / "coverage.html"
    assert "plan 3 (dr-plan.yaml)" in text
    assert "as of 2026-11-21" in text
    assert ">later<" not in text
    assert write_run_coverage(read_evidence(evidence), run, evidence).read_text() == text, (
        "written again, it is the same"
    )
    (tmp_path / "dr-plan.yaml").write_text(PLAN.replace("5 days", "6 days"))
    assert plan_of(run) is None
    (tmp_path / "dr-plan.yaml").write_text("nonsense")
    assert plan_of(run) is None


def test_the_moment_is_the_runs_last_stamp(evidence):
    run = next(path for path in evidence.iterdir() if path.is_dir() and not path.is_symlink())
    stamps = [json.loads(path.read_text())["ended_utc"] for path in [run / "run.json", *run.glob("*/record.json")]]
    assert moment_of(run).isoformat(timespec="milliseconds") == max(stamps).replace("Z", "+00:00")


def test_the_page_fetches_nothing_and_escapes(tmp_path):
    write_run(tmp_path, Story(**SHORT, fault="<script>alert(1)</script>", name="x"))
    text = render_coverage(covered(tmp_path))
    assert "<script" not in text
    assert not re.search(r"(?:src|href)\s*=|url\(|@import", text)


def test_nothing_held_is_said(tmp_path):
    found = covered(tmp_path)
    assert "nothing is covered" in found.sentence
    assert found.verdict == "INCONCLUSIVE"
    assert [area.level for area in found.maturity] == [0] * 5
    assert "No drill has caused a failure yet" in render_coverage(found)


# --- maturity ---


def levels(found):
    return {area.name: area.level for area in found.maturity}


def complete(name, night, **changes):
    extra = COMPLETE | {"runbook_sha256": "b2" * 32}
    return Story(
        **(SHORT | {"name": name, "fault": "namespace deleted", "extra": extra, "rto_s": 600.0} | changes),
        began=MET.began + timedelta(days=night),
    )


def test_maturity_rises_with_evidence_and_falls_with_a_miss(tmp_path):
    write_run(tmp_path, complete("a", 0))
    once = levels(covered(tmp_path))
    assert once == {
        "Backups that restore": 4, "Runbooks": 5, "Noticing a disaster": 4, "Drills held": 3, "Objectives kept": 3,
    }  # fmt: skip
    for night in (1, 2, 3):
        write_run(tmp_path, complete("a", night))
    often = levels(covered(tmp_path))
    assert often == {
        "Backups that restore": 5, "Runbooks": 5, "Noticing a disaster": 5, "Drills held": 4, "Objectives kept": 5,
    }  # fmt: skip
    write_run(tmp_path, complete("a", 4, rto_s=2.0))
    missed = levels(covered(tmp_path))
    assert missed["Objectives kept"] == 2
    assert missed["Backups that restore"] == 3


def test_four_runs_of_one_afternoon_are_no_habit(tmp_path):
    for number in range(4):
        write_run(tmp_path, complete("a", number / 100))
    assert levels(covered(tmp_path))["Drills held"] == 3


def test_what_the_plan_has_and_nobody_held_counts(tmp_path):
    write_run(tmp_path, Story(**SHORT, fault="namespace deleted"))
    area = next(area for area in covered(tmp_path, PLAN).maturity if area.name == "Drills held")
    assert (area.level, area.next.found) == (1, "1 of 2")


def test_a_run_that_never_ended_keeps_the_last_step_away(tmp_path):
    for night in range(4):
        run = write_run(tmp_path, complete("a", night))
    sign(run)
    assert levels(covered(tmp_path))["Drills held"] == 5
    log = tmp_path / "log.jsonl"
    log.write_text("\n".join(log.read_text().splitlines()[:-1]) + "\n")
    assert levels(covered(tmp_path))["Drills held"] == 4


def test_old_evidence_is_no_recent_evidence(tmp_path):
    write_run(tmp_path, complete("a", 0))
    found = covered(tmp_path, as_of=MET.began + timedelta(days=400))
    assert levels(found)["Drills held"] == 0
    assert levels(found)["Backups that restore"] == 3


def sign(run, **changes):
    line = {
        "schema": "pytest-drills/sign-off/v1", "utc": "2026-11-22T09:00:00.000Z", "run": run.name, "drill": None,
        "by": "Ana Ito", "role": "reviewer", "decision": "accepted", "meta": {}, "issues": [], "actions": [],
        "comment": "", "account": "ana", "records": {}, "signature": "",
    }  # fmt: skip
    with (run / "sign-offs.jsonl").open("a") as file:
        file.write(json.dumps(line | changes) + "\n")


# --- commands ---


def drills(*arguments):
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


def test_the_commands_say_the_verdict_first(evidence):
    for command in ("coverage", "maturity", "controls"):
        result = drills(command, "--evidence-dir", evidence)
        assert result.exit_code == 0, result.output
        assert result.output.startswith("Missed: "), command
    assert (evidence / "coverage.html").is_file()


def test_coverage_as_json(evidence, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text(PLAN)
    result = drills("coverage", "--evidence-dir", evidence, "--plan", plan, "--json", "--out", tmp_path / "page.html")
    data = json.loads(result.output)
    assert data["verdict"] == "MISSED"
    assert {row["failure"]: row["state"] for row in data["matrix"]}["etcd wiped"] == "missed"
    assert [gap["what"] for gap in data["gaps"] if gap["declared"]] == ["node stopped", "pod killed"]
    assert [area["of"] for area in data["maturity"]] == [5] * 5
    assert (tmp_path / "page.html").is_file()


@pytest.mark.parametrize("command", ["coverage", "maturity", "controls"])
def test_no_evidence_is_refused(command):
    result = drills(command, "--evidence-dir", "nowhere")
    assert result.exit_code == 2
    assert "found nowhere, which is no directory; accepted" in result.output


def test_a_broken_plan_is_refused(evidence, tmp_path):
    plan = tmp_path / "plan.yaml"
    plan.write_text("schema: other")
    result = drills("coverage", "--evidence-dir", evidence, "--plan", plan)
    assert result.exit_code == 2
    assert f"{plan}:1:" in result.output
