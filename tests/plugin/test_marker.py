"""What each field of the marker takes; anything else is bad usage, and nothing is touched."""

import json
from pathlib import Path

import pytest

pytest_plugins = ["pytester"]

DRILL = """
import datetime
import pathlib

@pytest.mark.drill({marker})
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""

TEXTS = ("tier", "source", "proves")
WRONG = {
    **{f"{field}={value}": (field, value) for field in TEXTS for value in ("5", "b'x'", "['x']", "object()", "True")},
    **{
        f"{field}={value}": (field, value)
        for field in ("rto", "rpo", "mtd")
        for value in ("['5m']", "b'5m'", "object()", "{}")
    },
    **{f"runbook={value}": ("runbook", value) for value in ("5", "b'x'", "['x']", "object()", "True")},
    **{f"controls={value}": ("controls", value) for value in ("'CP-9'", "5", "[5]", "[None]", "{'a': 1}")},
    **{f"needs={value}": ("needs", value) for value in ("5", "[5]", "{'a': 1}", "[['x']]")},
    **{f"images={value}": ("images", value) for value in ("5", "[5]", "{'a': 1}", "pathlib.Path('x.tar')", "{'a'}")},
    **{f"own_cluster={value}": ("own_cluster", value) for value in ("1", "'yes'", "[]", "object()")},
    **{f"control_planes={value}": ("control_planes", value) for value in ("0", "-1", "'3'", "3.0", "True", "10")},
    **{f"workers={value}": ("workers", value) for value in ("-1", "'3'", "3.0", "True", "51", "[1]")},
    **{f"slow={value}": ("slow", value) for value in ("7", "['7m']", "object()")},
    "a surrogate": ("tier", "'caf\\udce9'"),
    "a surrogate in a list": ("controls", "['caf\\udce9']"),
}  # fmt: skip


@pytest.mark.parametrize(("field", "value"), WRONG.values(), ids=WRONG)
def test_a_wrong_type_is_bad_usage(session_of, field, value):
    session = session_of(DRILL.format(marker=f"{field}={value}"))
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: test_scenarios.py::test_outage: marker drill, field {field}: invalid value" in session.output
    assert ": expected " in session.output
    assert "INTERNALERROR" not in session.output
    assert "Traceback" not in session.output
    assert not session.evidence.exists()


ACCEPTED = {
    "runbook=pathlib.Path('docs/plug-in.md')": ("runbook", "docs/plug-in.md"),
    "runbook=pathlib.PurePosixPath('docs/plug-in.md')": ("runbook", "docs/plug-in.md"),
    "controls=('NIST CP-9', 'NIST CP-10')": ("controls", ["NIST CP-9", "NIST CP-10"]),
    "controls={'NIST CP-9'}": ("controls", ["NIST CP-9"]),
    "rto=datetime.timedelta(minutes=5)": ("objective.rto_s", 300),
    "rto=300": ("objective.rto_s", 300),
    "rto='5m', tier=None": ("tier", ""),
    "rto='5m', slow=False": ("verdict", "MET"),
}


@pytest.mark.parametrize(("marker", "field", "value"), [(one, *found) for one, found in ACCEPTED.items()], ids=ACCEPTED)
def test_what_says_the_same_is_accepted(session_of, marker, field, value):
    session = session_of(DRILL.format(marker=marker if "rto" in marker else f"rto='30s', {marker}"))
    assert session.code == 0
    found = session.records["outage"]
    for name in field.split("."):
        found = found[name]
    assert found == value


def test_a_slow_drill_may_say_so_without_a_time(session_of):
    session = session_of(DRILL.format(marker="rto='30s', slow=True"), "-rs")
    assert session.counts == {"skipped": 1}
    assert "hold it with --drill-all" in session.output


FROM_ELSEWHERE = {
    "a parameter": (
        "@pytest.mark.parametrize('place', [pytest.param('a', marks=pytest.mark.drill(rto='30s')), "
        "pytest.param('b', marks=pytest.mark.drill(rto='40s'))])\n"
        + DRILL.replace("@pytest.mark.drill({marker})\n", "").replace("drill, service", "drill, service, place").strip()
        .replace("import datetime\nimport pathlib\n\n", ""),
        "",
    ),
    "a hook of the conftest": (
        DRILL.replace("@pytest.mark.drill({marker})", "@pytest.mark.parametrize('place', ['a', 'b'])").replace(
            "drill, service", "drill, service, place"
        ),
        "\ndef pytest_collection_modifyitems(items):\n    for item in items:\n"
        "        item.add_marker(pytest.mark.drill(rto='30s'))\n",
    ),
}  # fmt: skip
SOON = "\nfrom drills import repeats\n\nrepeats.LONGEST_PHASE_S = 0.1\n"


@pytest.mark.parametrize(("tests", "more"), FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
def test_a_marker_from_elsewhere_is_repeated_too(session_of, tests, more):
    session = session_of(tests, "--drill-repeat", "3", more=SOON + more)
    assert session.code == 0
    assert session.verdicts == {f"outage_{place}.repeat_{n}": "MET" for place in "ab" for n in (1, 2, 3)}
    distribution = session.records["outage_a.repeat_1"]["distribution"]
    assert (distribution["held"], distribution["of"]) == (3, 3)


@pytest.mark.parametrize(("tests", "more"), FROM_ELSEWHERE.values(), ids=FROM_ELSEWHERE)
def test_a_marker_from_elsewhere_has_twins_too(session_of, tests, more):
    session = session_of(
        tests, "--drill-twins", "--drill-damage-within=200ms", "--drill-recovered-within=1s", more=SOON + more
    )
    assert {name.partition(".")[2] for name in session.verdicts} == {"", "without_fault", "without_procedure"}
    assert len(session.verdicts) == 6


def test_the_evidence_of_an_accepted_path_is_plain_json(session_of):
    session = session_of(DRILL.format(marker="rto='30s', runbook=pathlib.Path('docs') / 'plug-in.md'"))
    record = json.loads((session.run / "outage" / "record.json").read_text())
    assert record["runbook"] == Path("docs/plug-in.md").as_posix()
