import json
import re
import shutil
import sys
from datetime import UTC, datetime

import pytest
import typer
from drills.reports.auditor import programme_of, render_auditor
from drills.reports.commands import register
from drills.reports.controls import Held, Support, catalogue, finding, findings, framework, look_at, named
from drills.reports.frame import read_evidence
from drills.reports.oscal import assessment_results, write_oscal
from typer.testing import CliRunner

from drills import runs, schema, standing
from drills.errors import UsageError
from drills.record import write_atomically

from .samples import COMPLETE, Story, write_run
from .test_reports_coverage import sign

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0, "fault": "namespace deleted"}
FULL = Story(**SHORT, extra=COMPLETE, controls=("NIST CP-9", "SOC2 A1.3"))
MISSED = Story(**SHORT, name="etcd_quorum_loss", rto_s=2.0, extra=COMPLETE, controls=("NIST CP-10",))
NOW = datetime(2026, 12, 1, tzinfo=UTC)

app = typer.Typer()
register(app)


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    run = write_run(tmp_path_factory.mktemp("evidence"), FULL)
    sign(run, issues=["backup took long"], actions=[action()])
    (run / "manifest.json").write_text("{}")
    return run.parent


@pytest.fixture
def evidence(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "evidence", symlinks=True)


def action():
    return {"id": "A1", "text": "retry", "owner": "Bo", "due": "2026-12-31", "state": "open", "retest": ""}


def run_of(evidence):
    return next(path for path in evidence.iterdir() if path.is_dir() and not path.is_symlink())


def held_in(evidence, name=FULL.name):
    held = look_at(run_of(evidence) / name / "record.json")
    assert isinstance(held, Held)
    return held


def control(framework_id, control_id):
    return next(one for one in framework(framework_id).controls if one.id == control_id)


EVERY = [(each.id, one.id) for each in catalogue() for one in each.controls]


# --- the catalogue ---


def test_the_catalogue_has_what_auditors_ask_for():
    ids = {f"{name}:{one}" for name, one in EVERY}
    assert ids >= {
        "soc2:A1.2", "soc2:A1.3", "iso27001:A.5.29", "iso27001:A.5.30", "iso27001:A.8.13", "iso27001:A.8.14",
        "iso22301:8.5", "nist-800-53:CP-4(a)", "nist-800-53:CP-4(b)", "nist-800-53:CP-4(c)", "nist-800-53:CP-9",
        "nist-800-53:CP-9(1)", "nist-800-53:CP-9(2)", "nist-800-53:CP-10", "hipaa:164.308(a)(7)(ii)(D)", "dora:11(6)",
        "dora:12(2)", "dora:24", "gdpr:32(1)(c)", "gdpr:32(1)(d)", "sox:ITGC-backup", "fisc:P106",
    }  # fmt: skip


@pytest.mark.parametrize(("framework_id", "control_id"), EVERY)
def test_every_control_says_what_it_asks_what_is_not_shown_and_where_that_was_read(framework_id, control_id):
    one = control(framework_id, control_id)
    assert one.title
    assert one.asks.endswith(".")
    assert one.not_shown
    assert one.counts in ("met", "held", "any")
    assert one.needs
    assert one.source["at"]
    assert one.source["read"] in ("text", "secondary")
    assert set(one.concerns) <= {"backup", "blast_radius", "data"}


def test_every_field_that_the_catalogue_asks_for_exists():
    """A misspelt path would make each drill miss a field that no record can have."""
    known = json.loads((schema.DIRECTORY / "record-v1.json").read_text())
    people = {"participants", "approver", "approved_on", "planned_on", "independence", "type", "why"}
    people |= {"deviations", "relaxed_controls", "scope.systems", "scope.data", "scope.third_parties"}
    for path in {path for each in catalogue() for one in each.controls for proof in one.needs for path in proof.fields}:
        first, _, rest = path.partition(".")
        if first == "people":
            assert rest in people, path
        elif first == "sign_off":
            assert rest in standing.SignOff.__dataclass_fields__, path
        elif first == "run":
            assert rest in runs.provenance(), path
        elif first != "file":
            assert defined(known, path.split(".")), path


def defined(node, keys):
    if not keys:
        return True
    options = [node, *node.get("anyOf", [])]
    inner = [option["properties"][keys[0]] for option in options if keys[0] in option.get("properties", {})]
    return any(defined(each, keys[1:]) for each in inner)


@pytest.mark.parametrize(
    ("text", "ids"),
    [
        ("NIST CP-9", ["CP-9"]),
        ("NIST CP-9(1)", ["CP-9(1)"]),
        ("NIST-800-53r5:CP-4", ["CP-4(a)", "CP-4(b)", "CP-4(c)"]),
        ("SOC2 A1.3", ["A1.3"]),
        ("iso 27001 a.8.13", ["A.8.13"]),
        ("HIPAA 164.308(a)(7)(ii)(D)", ["164.308(a)(7)(ii)(D)"]),
        ("DORA 24", ["24"]),
        ("NIST CP-99", []),
        ("ACME 7", []),
    ],
)
def test_controls_are_found_as_teams_write_them(text, ids):
    assert [one.id for one in named(text)] == ids


def test_an_unknown_framework_is_refused():
    assert framework("ISO 27001").id == "iso27001"
    with pytest.raises(UsageError, match=r"framework: found 'cobit'; accepted: soc2, .*fisc"):
        framework("cobit")


# --- what supports what ---


def test_complete_evidence_supports_what_it_concerns(evidence):
    held = held_in(evidence)
    judged = {key: finding(control(*key), held) for key in EVERY}
    supported = {key for key, found in judged.items() if found and found.support is Support.SUPPORTS}
    assert {
        ("soc2", "A1.3"),
        ("nist-800-53", "CP-9(1)"),
        ("hipaa", "164.308(a)(7)(ii)(D)"),
        ("dora", "12(2)"),
    } <= supported
    others = {key: found for key, found in judged.items() if key not in supported}
    assert others == {
        ("iso27001", "A.8.14"): None,  # it restores a backup, so it shows no redundancy
        ("nist-800-53", "CP-4(4)"): None,  # a namespace is not the whole system
        ("fisc", "P104"): None,
    }


@pytest.mark.parametrize(
    ("path", "key"),
    [
        ("runbook_sha256", ("iso27001", "A.8.13")),
        ("fault.proof", ("nist-800-53", "CP-10")),
        ("losses.read", ("nist-800-53", "CP-9")),
        ("plan.sha256", ("nist-800-53", "CP-4(a)")),
        ("meta.independence", ("dora", "24")),
        ("meta.participants", ("hipaa", "164.308(a)(7)(ii)(D)")),
        ("achieved.rta_s", ("soc2", "A1.2")),
    ],
)
def test_a_field_that_is_missing_is_named(evidence, path, key):
    place = run_of(evidence) / FULL.name / "record.json"
    record = json.loads(place.read_text())
    assert finding(control(*key), held_in(evidence)).support is Support.SUPPORTS
    *outer, last = path.split(".")
    node = record
    for step in outer:
        node = node[step]
    node[last] = {"losses.read": False}.get(path)
    write_atomically(place, record)
    found = finding(control(*key), held_in(evidence))
    assert found.support is Support.PARTLY
    assert path.replace("meta.", "people.") in found.missing


def test_a_figure_of_zero_is_a_figure_and_an_empty_list_of_relaxed_controls_an_answer(evidence):
    held = held_in(evidence)
    assert held.value("achieved.rpa_s") == 0.0
    assert held.value("people.relaxed_controls") == []
    assert finding(control("iso27001", "A.5.29"), held).support is Support.SUPPORTS


def test_a_missed_drill_supports_testing_and_not_recovery(tmp_path):
    run = write_run(tmp_path, MISSED)
    sign(run, actions=[action()])
    held = held_in(tmp_path, MISSED.name)
    assert held.view.verdict == "MISSED"
    assert finding(control("nist-800-53", "CP-4(a)"), held).support is Support.SUPPORTS
    assert finding(control("nist-800-53", "CP-10"), held).support is Support.MISSED


def test_corrective_actions_are_asked_only_where_something_was_wanting(tmp_path, evidence):
    asked = control("nist-800-53", "CP-4(c)")
    run = write_run(tmp_path / "missed", MISSED)
    sign(run)
    assert finding(asked, held_in(tmp_path / "missed", MISSED.name)).missing == ("sign_off.actions",)
    run = write_run(tmp_path / "met", FULL)
    sign(run)
    assert finding(asked, held_in(tmp_path / "met")).support is Support.SUPPORTS


def test_sabotaged_drills_and_those_that_proved_nothing_support_nothing(tmp_path):
    write_run(
        tmp_path,
        Story(**SHORT, name="sabotaged", sabotage=("procedure",)),
        Story(**SHORT, name="no_effect", proved=False, controls=("NIST CP-10",)),
    )
    one = control("nist-800-53", "CP-10")
    assert finding(one, held_in(tmp_path, "sabotaged")) is None
    assert finding(one, held_in(tmp_path, "no_effect")).support is Support.PROVED_NOTHING


def test_a_control_that_a_drill_names_without_concerning_it_is_not_supported(tmp_path):
    write_run(tmp_path, Story(**{**SHORT, "backup_before_s": None}, controls=("NIST CP-9",)))
    found = finding(control("nist-800-53", "CP-9"), held_in(tmp_path))
    assert (found.support, found.declared) == (Support.PARTLY, True)
    assert "backup.kind" in found.missing


def test_unreadable_sign_offs_sign_nothing(evidence):
    (run_of(evidence) / "sign-offs.jsonl").write_text("nonsense\n")
    held = held_in(evidence)
    assert "sign-offs.jsonl:1" in held.problem
    assert "sign_off.by" in finding(control("nist-800-53", "CP-4(b)"), held).missing


# --- the auditor's page ---


@pytest.mark.parametrize("framework_id", [each.id for each in catalogue()])
def test_a_page_says_what_it_is_not(evidence, framework_id):
    text = render_auditor(framework(framework_id), programme_of(read_evidence(evidence)), NOW)
    assert "Support, not compliance." in text
    assert not re.search(r"(?:src|href)\s*=|url\(|@import|<script", text)
    for one in framework(framework_id).controls:
        assert one.asks.replace("'", "&#39;") in text
    assert read_evidence(evidence).table["digest"].iloc[0] in text


def test_a_page_says_a_miss_first_and_names_what_it_does_not_know(evidence):
    write_run(evidence, MISSED, Story(**SHORT, name="other", controls=("ISO27001 A.9.99",)))
    text = render_auditor(framework("iso27001"), programme_of(read_evidence(evidence)), NOW)
    (first,) = re.findall(r"<h1>(.*?)</h1>", text, re.DOTALL)
    assert "Missed:" in first
    assert "etcd_quorum_loss" in first.replace("<wbr>", "")
    assert "ISO27001 A.9.99" in text


def test_values_are_read_from_the_record_and_not_from_the_index(evidence):
    programme = programme_of(read_evidence(evidence))
    (found,) = findings(control("soc2", "A1.2"), programme.held)
    assert found.held.value("achieved.rta_s") == json.loads(found.held.view.place.read_text())["achieved"]["rta_s"]


def test_the_command_writes_a_page_a_framework(evidence, tmp_path):
    result = CliRunner().invoke(app, ["controls", "--evidence-dir", str(evidence), "--out", str(tmp_path / "pages")])
    assert result.exit_code == 0, result.output
    assert {path.stem for path in (tmp_path / "pages").iterdir()} == {each.id for each in catalogue()}
    assert "Support is not compliance" in result.output


# --- OSCAL ---


def test_trestle_loads_and_validates_it(evidence, tmp_path):
    trestle = pytest.importorskip("trestle.oscal.assessment_results", reason="the extra `oscal` is not installed")
    write_run(evidence, MISSED)
    for run in (path for path in evidence.iterdir() if path.is_dir() and not path.is_symlink()):
        path = write_oscal(run, tmp_path / f"{run.name}.json")
        model = trestle.AssessmentResults.oscal_read(path)
        assert model.results[0].title.endswith(("MET", "MISSED"))
        from trestle.core.validator_factory import validator_factory

        names = validator_factory.get_all()
        assert names
        assert all(validator.model_is_valid(model, True) for validator in names)


def test_the_same_evidence_gives_the_same_document(evidence, tmp_path):
    pytest.importorskip("trestle", reason="the extra `oscal` is not installed")
    run = run_of(evidence)
    first = write_oscal(run, tmp_path / "1.json").read_bytes()
    assert write_oscal(run, tmp_path / "2.json").read_bytes() == first
    uuids = re.findall(r'"uuid": "([^"]+)"', first.decode())
    assert len(set(uuids)) == len(uuids) > 5
    assert all(uuid[14] == "5" for uuid in uuids)
    sign(run, comment="again")
    assert write_oscal(run, tmp_path / "3.json").read_bytes() != first


def test_states_follow_the_support(evidence):
    pytest.importorskip("trestle", reason="the extra `oscal` is not installed")

    def states(run):
        (result,) = assessment_results(run)["results"]
        return {one["target"]["target-id"]: one["target"]["status"] for one in result["findings"]}

    complete = states(run_of(evidence))
    assert complete["cp-4_obj.a"]["state"] == "satisfied"
    assert complete["cp-10_smt"]["reason"] == "pass"
    assert "Support, not compliance." in complete["cp-10_smt"]["remarks"]
    missed = states(write_run(evidence, MISSED))
    assert (missed["cp-10_smt"]["state"], missed["cp-10_smt"]["reason"]) == ("not-satisfied", "fail")
    assert (missed["cp-4_obj.b"]["state"], missed["cp-4_obj.b"]["reason"]) == ("not-satisfied", "other")
    assert "sign_off.by" in missed["cp-4_obj.b"]["remarks"]


def test_a_run_that_proves_nothing_has_no_finding(tmp_path):
    trestle = pytest.importorskip("trestle.oscal.assessment_results", reason="the extra `oscal` is not installed")
    document = assessment_results(write_run(tmp_path, Story(**SHORT, proved=False)))
    (result,) = document["results"]
    assert "findings" not in result
    assert result["observations"][0]["props"][1]["value"] == "INCONCLUSIVE"
    trestle.AssessmentResults.model_validate(document)


def test_sabotaged_runs_are_refused(tmp_path):
    run = write_run(tmp_path, Story(**SHORT, sabotage=("procedure",)))
    with pytest.raises(UsageError, match="no record of a drill held in earnest"):
        assessment_results(run)


def test_without_the_extra_it_is_said(evidence, monkeypatch):
    monkeypatch.setitem(sys.modules, "trestle.oscal", None)
    with pytest.raises(UsageError, match=r"pytest-drills\[oscal\]"):
        assessment_results(run_of(evidence))


def test_the_oscal_command(evidence):
    pytest.importorskip("trestle", reason="the extra `oscal` is not installed")
    result = CliRunner().invoke(app, ["oscal", "latest", "--evidence-dir", str(evidence)])
    assert result.exit_code == 0, result.output
    (path,) = evidence.glob("oscal-*.json")
    assert json.loads(path.read_text())["assessment-results"]["results"]
