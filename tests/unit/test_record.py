import json
import os
from copy import deepcopy
from pathlib import Path

import pytest

from drills import record
from drills.errors import FaultHadNoEffect, NotRecovered, UsageError
from drills.history import History
from drills.objectives import Objective

from .scripted import Script, told

ROOT = Path(__file__).parents[2]
OBJECTIVE = Objective("5s", "2s", source="BIA 2026")


def made(script=None, **settings):
    return record.build((script or told(lost=3)).history, OBJECTIVE, drill="outage", **settings)


def test_every_field_of_a_record_is_described_by_the_schema():
    described = json.loads(record.SCHEMA_FILE.read_text())["properties"]
    of_its_run = {"id", "sequence", "attempt", "repeat", "distribution", "fixtures_replaced"}
    assert set(made()) == set(described) - of_its_run


def test_a_record_of_a_whole_drill():
    one = made(title="t", scenario="s", runbook="r", facts={"tier": "high", "controls": ["CP-4"]})
    assert record.validate(one) == []
    assert one["schema"] == "pytest-drills/record/v1"
    assert one["objective"] == {"rto_s": 5.0, "rpo_s": 2.0, "mtd_s": None, "source": "BIA 2026"}
    assert one["fault"] == {
        "name": "unplugged",
        "target": "pod/shop",
        "blast_radius": "pod",
        "issued_utc": "2026-01-01T00:00:10.000Z",
        "proof": ["it is gone"],
        "healed": False,
        "claims": [],
        "disposable": [],
    }
    assert one["procedure"]["name"] == "restore"
    assert one["procedure"]["steps"][0] | {"detail": ""} == {
        "name": "restore",
        "command": "restore it",
        "by": "harness",
        "started_s": 1.0,
        "ended_s": 3.0,
        "state": "ended",
        "detail": "",
    }
    achieved = one["achieved"]
    assert (achieved["rta_s"], achieved["rta_low_s"], achieved["rta_high_s"]) == (4.002, 3.95, 4.002)
    assert (achieved["rpa_s"], achieved["rpa_at_least"], achieved["writes_stopped_s"]) == (0.299, False, 0.0)
    assert (achieved["downtime_s"], achieved["answers_back_s"], achieved["writes_back_s"]) == (3.902, 4.002, 4.0015)
    assert achieved["writes"] == {
        "acknowledged": 105,
        "lost": 3,
        "corrupted": 0,
        "duplicated": 0,
        "resurrected": 0,
        "unknown": 1,
    }
    assert one["losses"]["lost"] == [[97, 99]]
    assert one["verdict"] == "MET"
    assert (one["tier"], one["controls"]) == ("high", ["CP-4"])
    assert (one["started_utc"], one["ended_utc"]) == ("2026-01-01T00:00:00.000Z", "2026-01-01T00:00:20.000Z")
    assert one["history"]["events"] == len(told(lost=3).history.events())


def test_a_record_of_a_drill_that_never_got_anywhere_is_valid_too():
    one = made(Script(), failure=NotRecovered("not back", "refused"), sabotage=["procedure"])
    assert record.validate(one) == []
    assert (one["fault"], one["backup"], one["probe"]) == (None, None, None)
    assert one["failure"]["kinds"][:2] == ["NotRecovered", "DrillError"]
    assert (one["sabotage"], one["evidence_only"]) == (["procedure"], True)


def test_what_is_not_known_of_data_that_was_never_read_back_is_null():
    events = [event for event in told(lost=3).history.events() if event.kind != "read_back"]
    script = Script()
    for event in events[1:]:
        script.event(event.kind, event.t, **event.fields)
    one = made(script)
    assert record.validate(one) == []
    assert one["losses"]["read"] is False
    assert [one["losses"][key] for key in one["losses"] if key != "read"] == [None] * 7
    writes = one["achieved"]["writes"]
    assert [writes[key] for key in ("lost", "corrupted", "duplicated", "resurrected")] == [None] * 4
    assert (writes["acknowledged"], writes["unknown"], one["achieved"]["rpa_s"]) == (105, 1, None)


def test_there_is_no_recovery_time_for_a_fault_that_was_never_proven():
    script = Script()
    script.probe()
    script.readings(20.0, ((10.1, 14.0),))
    script.phase("steady", 5.0)
    script.write(1, 6.0)
    script.fault(proved=None)
    script.write(2, 15.0)
    script.read_back(19.0, [])
    one = made(script, failure=FaultHadNoEffect("the drain did not end"))
    achieved = one["achieved"]
    names = ("rta_s", "rta_low_s", "rta_high_s", "rpa_s", "answers_back_s", "writes_back_s")
    assert [achieved[name] for name in names] == [None] * 6
    assert (one["verdict"], one["why"]) == ("INCONCLUSIVE", "the drain did not end")


def test_the_last_backup_is_the_recovery_point_on_offer_and_its_age_no_rpo():
    script = told()
    for name, t in (("first", 2.0), ("second", 4.0)):
        fields = {"backup_kind": "velero", "taken_utc": "2026-01-01T00:00:04.000Z", "identity": {"sha256": "ab"}}
        script.event("backup", t, name=name, taken_t=t, **fields)
    one = made(script)
    assert record.validate(one) == []
    assert one["backup"] == {
        "kind": "velero",
        "name": "second",
        "taken_utc": "2026-01-01T00:00:04.000Z",
        "age_at_fault_s": 6.0,
        "offered": 2,
        "sha256": "ab",
    }
    assert one["achieved"]["rpa_s"] == 0.0


@pytest.mark.parametrize(
    ("path", "value", "said"),
    [
        (("verdict",), "PASSED", 'verdict: found "PASSED", accepted: enum'),
        (("objective", "rto_s"), "5m", 'objective.rto_s: found "5m", accepted: type'),
        (("achieved", "rta_s"), -1, "achieved.rta_s: found -1, accepted: minimum 0"),
        (("fault", "blast_radius"), "galaxy", 'fault.blast_radius: found "galaxy", accepted: enum ["pod", '),
        (("fault",), 7, "fault: found 7, accepted: anyOf"),
        (("meta",), {"owner": "me"}, 'meta: found {"owner": "me"}, accepted: only the fields participants, approver'),
        (("meta",), {"participants": [{"name": "Bo"}]}, "meta.participants.0.role: found nothing, accepted: a value"),
        (("plan",), {"path": "p", "sha256": "0", "version": None, "entry": ""}, 'plan.sha256: found "0", accepted: '),
        (("plan",), {"path": "dr-plan.yaml"}, "plan.entry: found nothing"),
        (("phases", 0, "utc"), "noon", 'phases.0.utc: found "noon"'),
        (("schema",), "v0", 'schema: found "v0", accepted: const'),
        (("why",), "", 'why: found ""'),
    ],
)
def test_what_is_wrong_is_named_by_field_found_and_accepted(path, value, said):
    one = deepcopy(made())
    place = one
    for key in path[:-1]:
        place = place[key]
    place[path[-1]] = value
    assert any(problem.startswith(said) for problem in record.validate(one)), record.validate(one)


def test_a_missing_field_and_a_wrong_type_are_named():
    one = made()
    del one["verdict"]
    assert record.validate(one) == ["verdict: found nothing, accepted: a value"]
    assert record.validate([]) == ['the whole: found [], accepted: type "object"']


def test_loading_refuses_what_is_no_record(tmp_path):
    path = tmp_path / "record.json"
    record.write_atomically(path, made())
    assert record.load(path) == made()
    path.write_text("{")
    with pytest.raises(UsageError, match="unreadable"):
        record.load(path)
    path.write_text('{"schema": "x"}')
    with pytest.raises(UsageError, match=r"record\.json: .*verdict: found nothing"):
        record.load(path)
    with pytest.raises(UsageError, match="unreadable"):
        record.load(tmp_path / "none.json")


def test_a_stored_drill_is_judged_again_from_record_and_history_alone(tmp_path):
    script = told(lost=3)
    path = tmp_path / "history.jsonl"
    path.write_text("".join(event.line() + "\n" for event in script.history.events()))
    stored = made(script, title="kept", facts={"environment": {"kind": "kind"}, "plan": "sha256:1"})
    assert record.rejudge(stored, History.load(path)) == stored

    spoiled = deepcopy(stored) | {"verdict": "MISSED", "why": "a bug of last year"}
    spoiled["achieved"]["rta_s"] = 400.0
    assert record.rejudge(spoiled, History.load(path)) == stored
    stricter = deepcopy(stored)
    stricter["objective"]["rto_s"] = 3.0
    assert record.rejudge(stricter, History.load(path))["verdict"] == "MISSED"


def test_notes_from_after_the_history_are_kept():
    script = told()
    script.event("note", 19.9, text="during")
    stored = made(script, facts={"notes": ["after"]})
    assert stored["notes"] == ["during", "after"]
    assert record.rejudge(stored, script.history) == stored


def test_deviations_are_those_of_the_history_and_those_known_before_it():
    script = told()
    script.event("deviation", 5.0, text="held on one node")
    script.event("relaxed_control", 6.0, text="pager muted")
    stored = made(script, facts={"deviations": ["held a day late"], "relaxed_controls": []})
    assert record.validate(stored) == []
    assert stored["deviations"] == ["held on one node", "held a day late"]
    assert stored["relaxed_controls"] == ["pager muted"]
    assert record.rejudge(stored, script.history) == stored


def test_the_clocks_that_were_read_are_named():
    assert made()["clock_source"] == {"durations": "FakeClock", "stamps": "FakeClock"}
    real = record.build(History(), OBJECTIVE, drill="outage")["clock_source"]
    assert all("clock" in source for source in real.values())


def test_a_record_of_before_these_fields_is_still_valid():
    old = made()
    for field in ("plan", "runbook_sha256", "expected_steps", "meta", "deviations", "relaxed_controls", "clock_source"):
        del old[field]
    assert record.validate(old) == []


def test_judging_again_knows_the_failure_from_the_record_or_from_the_history():
    script = told()
    script.event("failed", 19.99, kinds=["EnvironmentFailed", "DrillError"], message="no disk")
    stored = made(script, failure=None)
    assert record.rejudge(stored, script.history)["verdict"] == "ENVIRONMENT"
    stored = made(told(), failure=NotRecovered("not back"))
    assert record.rejudge(stored, told().history)["verdict"] == "MISSED"


def test_writing_is_atomic_and_leaves_nothing_behind(tmp_path, monkeypatch):
    path = tmp_path / "deep" / "record.json"
    record.write_atomically(path, {"a": "ü"})
    assert path.read_text() == '{\n  "a": "ü"\n}\n'
    record.write_atomically(path, "text")
    record.write_atomically(path, b"bytes")
    assert path.read_bytes() == b"bytes"
    assert path.stat().st_mode & 0o777 == 0o644

    with pytest.raises(ValueError, match="not JSON compliant"):
        record.write_atomically(path, {"a": float("nan")})
    monkeypatch.setattr(os, "fsync", lambda _: (_ for _ in ()).throw(OSError("disk full")))
    with pytest.raises(OSError, match="disk full"):
        record.write_atomically(path, "half")
    assert path.read_bytes() == b"bytes"
    assert [entry.name for entry in path.parent.iterdir()] == ["record.json"]


def test_row_numbers_are_kept_as_runs():
    assert record._ranges([]) == []
    assert record._ranges([5, 1, 2, 3, 9, 3]) == [[1, 3], [5, 5], [9, 9]]
