import json
from copy import deepcopy

import pytest
from jsonschema import Draft202012Validator

from drills import schema, standing
from drills.clock import FakeClock
from drills.errors import UsageError
from drills.signoff import sign_off
from drills.standing import OWN_SIGN_OFF, Action, SignOff, Standing, missing, sign_offs, supplied
from drills.standing import standing as standing_of

from .samples import COMPLETE, Story, write_run

ROOT_SCHEMAS = standing.Path(__file__).parents[2] / "docs" / "schemas"
STORY = Story(steady_s=4.0, bad_until_s=3.0, after_s=4.0, backup_before_s=1.0, lost=1, extra=COMPLETE)
SIGNED = SignOff("2026-11-22T08:00:00.000Z", "r", None, "Ana Ito", "reviewer", "accepted", {})


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    run_dir = write_run(tmp_path_factory.mktemp("evidence"), STORY)
    (path,) = run_dir.glob("*/record.json")
    return json.loads(path.read_text()), json.loads((run_dir / "run.json").read_text())


@pytest.fixture
def record(told):
    return deepcopy(told[0])


@pytest.fixture
def run(told):
    return deepcopy(told[1])


def without(data, path):
    *outer, last = path.split(".")
    for key in outer:
        data = data[key]
    del data[last]


def changed(signed, **fields):
    return standing.SignOff(**{**vars(signed), **fields})


@pytest.mark.parametrize("name", ["record-v1", "run-v1", "sign-off-v1"])
def test_the_published_schemas_are_the_ones_that_are_used(name):
    assert (ROOT_SCHEMAS / f"{name}.json").read_bytes() == (schema.DIRECTORY / f"{name}.json").read_bytes()
    Draft202012Validator.check_schema(json.loads((ROOT_SCHEMAS / f"{name}.json").read_text()))


def test_a_complete_record_passes(record, run):
    assert missing(record, run, [SIGNED]) == []
    assert standing_of(record, run, [SIGNED]) is Standing.PASSED


EVERY_FIELD = [
    *standing._RECORD,
    *standing._EMPTY_IS_AN_ANSWER,
    *(f"meta.{path}" for path in standing._PEOPLE),
    *(f"run.{path}" for path in {**standing._RUN, **standing._RUN_ON_KIND}),
    "objective.rpo_s",
]


@pytest.mark.parametrize("path", EVERY_FIELD)
def test_each_field_that_is_left_out_is_named_and_keeps_it_from_passing(record, run, path):
    place, _, inner = path.partition(".")
    if place == "run" and inner:
        without(run, inner)
    else:
        without(record, path)
    if path == "meta.why":
        run["why"] = ""  # what the run says does for its drills
    (gap,) = missing(record, run, [SIGNED])
    assert gap.startswith(f"{path}: ")
    assert standing_of(record, run, [SIGNED]) is Standing.INCOMPLETE


def test_an_empty_value_is_none(record, run):
    record["meta"]["approver"] = ""
    record["controls"] = []
    record["environment"]["kind"] = "unknown"
    gaps = [gap.partition(":")[0] for gap in missing(record, run, [SIGNED])]
    assert gaps == ["environment.kind", "controls", "meta.approver"]


def test_a_drill_without_data_promises_no_recovery_point(record, run):
    record["objective"]["rpo_s"] = None
    record["achieved"]["writes"]["acknowledged"] = 0
    assert missing(record, run, [SIGNED]) == []


@pytest.mark.parametrize(
    ("verdict", "expected"), [("MISSED", "FAILED"), ("INCONCLUSIVE", "INCONCLUSIVE"), ("ENVIRONMENT", "ENVIRONMENT")]
)
def test_whatever_else_is_there_only_what_was_met_can_pass(record, run, verdict, expected):
    assert standing_of({**record, "verdict": verdict}, run, [SIGNED]) == expected


def test_a_sabotaged_record_never_passes(record, run):
    assert standing_of({**record, "sabotage": ["procedure"]}, run, [SIGNED]) is Standing.INCOMPLETE


def test_a_missed_drill_needs_an_action_to_be_complete(record, run):
    record["verdict"] = "MISSED"
    (gap,) = missing(record, run, [SIGNED])
    assert gap.startswith("sign-off.actions: ")
    action = Action("1", "train it", "Bo", "2026-12-31")
    assert missing(record, run, [changed(SIGNED, actions=(action,))]) == []
    assert missing({**record, "verdict": "MET"}, run, [changed(SIGNED, issues=("slow",))]) == [gap]


@pytest.mark.parametrize(
    ("signed", "said"),
    [
        ([], ["sign-off.by", "sign-off.decision"]),
        ([changed(SIGNED, decision="noted")], ["sign-off.decision"]),
        ([SIGNED, changed(SIGNED, decision="rejected")], ["sign-off.decision"]),
        ([changed(SIGNED, decision="rejected"), SIGNED, changed(SIGNED, decision="noted")], []),
        ([changed(SIGNED, drill="another")], ["sign-off.by", "sign-off.decision"]),
        ([changed(SIGNED, drill="namespace_deletion")], []),
        ([changed(SIGNED, by="bo lind")], ["sign-off.by"]),
        ([changed(SIGNED, by="Bo Lind", meta={"deviations": OWN_SIGN_OFF})], []),
        ([changed(SIGNED, meta={"participants": "Ana Ito (operator)"})], ["sign-off.by"]),
    ],
)
def test_who_must_have_signed_what(record, run, signed, said):
    assert [gap.partition(":")[0] for gap in missing(record, run, signed)] == said


def test_sign_offs_supply_what_the_record_lacks_and_change_nothing_that_it_has(record, run):
    del record["meta"]["scope"]["data"], record["meta"]["type"]
    first = changed(
        SIGNED, meta={"approver": "Eve", "type": "full", "participants": "Di (auditor); Bo Lind (operator)"}
    )
    then = changed(SIGNED, meta={"type": "component", "scope.data": "orders; bills", "relaxed_controls": "pager muted"})
    known = supplied(record, run, [first, then, changed(SIGNED, drill="another", meta={"why": "no"})])
    assert (known["approver"], known["type"], known["why"]) == ("Cy Ode", "component", "quarterly rehearsal")
    assert known["scope"] == {"systems": ["shop"], "data": ["orders", "bills"], "third_parties": ["none"]}
    assert [person["name"] for person in known["participants"]] == ["Bo Lind", "Ana Ito", "Di"]
    assert (known["deviations"], known["relaxed_controls"]) == ([], ["pager muted"])
    assert "type" not in record["meta"]


def test_lines_that_are_no_sign_offs_are_named(tmp_path):
    run_dir = write_run(tmp_path, STORY)
    assert sign_offs(run_dir) == []
    one = sign_off(run_dir, by="Ana Ito", role="reviewer", clock=FakeClock())
    assert sign_offs(run_dir) == [one]
    good = json.loads((run_dir / standing.SIGN_OFFS).read_text())
    bad = [
        "no json",
        json.dumps({**good, "decision": "maybe"}),
        json.dumps({key: value for key, value in good.items() if key != "role"}),
        json.dumps({**good, "meta": {"colour": "red"}}),
        json.dumps({**good, "extra": 1}),
    ]
    with (run_dir / standing.SIGN_OFFS).open("a") as file:
        file.writelines(line + "\n" for line in bad)
    with pytest.raises(UsageError) as refused:
        sign_offs(run_dir)
    found, problems = standing.read(run_dir)
    assert found == [one]
    assert "; ".join(problems) == str(refused.value)
    for number, (problem, said) in enumerate(
        zip(
            problems,
            (
                "found no JSON",
                'decision: found "maybe", accepted: enum',
                "role: found nothing",
                "found the key 'colour', accepted: participants",
                "accepted: only the fields schema, utc",
            ),
            strict=True,
        ),
        2,
    ):
        assert f"sign-offs.jsonl:{number}: " in problem
        assert said in problem
