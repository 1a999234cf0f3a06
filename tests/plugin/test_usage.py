"""What the plugin asks of a repository, refuses, and leaves alone."""

import pytest
from drills.fixtures.plugin import selection

pytest_plugins = ["pytester"]

DRILL = """
@pytest.mark.drill({marker})
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""

REFUSED = {
    "an unknown field": (DRILL.format(marker="rtoo='5m'"), "marker drill, field rtoo: not known"),
    "a field without a name": (DRILL.format(marker="'5m'"), "marker drill: found ('5m',)"),
    "a duration that is none": (DRILL.format(marker="rto='soon'"), "rto: found 'soon'"),
    "an MTD below the RTO": (DRILL.format(marker="rto='5m', mtd='1m'"), "mtd: found 0:01:00"),
    "an extra component that there is not": (DRILL.format(marker="images=['mars']"), "images: found 'mars', accepted"),
    "an archive that is not there": (DRILL.format(marker="images=['build/a.tar']"), "images: found "),
    "an image without a tag": (
        DRILL.format(marker="images=['shop/Orders:']"),
        "images: found 'shop/Orders:', accepted",
    ),
    "images that are no list": (
        DRILL.format(marker="images='monitoring'"),
        "marker drill, field images: invalid value 'monitoring': expected a list",
    ),
    "a test without the fixture": (
        "@pytest.mark.drill(rto='5m')\ndef test_outage():\n    pass\n",
        "found marked drill, accepted: a test that also names the fixture drill",
    ),
}


@pytest.mark.parametrize("more", [(), ("--collect-only",)], ids=["held", "collected"])
@pytest.mark.parametrize(("tests", "why"), REFUSED.values(), ids=REFUSED)
def test_bad_markers_are_refused_before_anything_is_touched(session_of, tests, why, more):
    session = session_of(tests + "def test_other():\n    pass\n", *more)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert f"ERROR: test_scenarios.py::test_outage: {why}" in session.output
    assert "passed" not in session.counts
    assert not session.evidence.exists()


@pytest.mark.parametrize(
    ("arguments", "why"),
    [
        (("--drill-damage-within", "soon"), "--drill-damage-within: found 'soon'"),
        (("--drill-recovered-within=-5m",), "--drill-recovered-within: found '-5m'"),
        (("--drill-sabotage", "luck"), "invalid choice: 'luck'"),
        (("--evidence-dir", "scripted.py"), "--evidence-dir: found"),
    ],
)
def test_bad_options_are_refused_before_anything_is_touched(session_of, arguments, why):
    session = session_of(DRILL.format(marker="rto='30s'"), *arguments)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert why in session.output
    assert not session.evidence.exists()


def test_a_bad_environment_variable_is_refused_too(session_of, monkeypatch):
    monkeypatch.setenv("DRILLS_IMAGES", "steal")
    session = session_of(DRILL.format(marker="rto='30s'"))
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert "DRILLS_IMAGES: found 'steal', accepted: auto, pull, build" in session.output
    assert not session.evidence.exists()


def test_markers_of_tests_that_are_not_selected_do_not_matter(session_of):
    session = session_of(DRILL.format(marker="rto='soon'") + "def test_other():\n    pass\n", "-m", "not drill")
    assert session.code == 0
    assert session.counts == {"passed": 1, "deselected": 1}


def test_the_fixture_without_the_marker_is_refused(session_of):
    session = session_of("def test_outage(drill):\n    pass\n")
    assert session.code == pytest.ExitCode.TESTS_FAILED
    assert session.counts == {"errors": 1}
    assert "accepted: in a test that is marked drill" in session.output
    assert not session.evidence.exists()


def test_the_closest_marker_wins_field_by_field(session_of):
    session = session_of(
        "pytestmark = pytest.mark.drill(tier='high', rto='1ms', source='the plan')\n" + DRILL.format(marker="rto='30s'")
    )
    assert session.verdicts == {"outage": "MET"}
    record = session.records["outage"]
    assert (record["tier"], record["objective"]["rto_s"], record["objective"]["source"]) == ("high", 30, "the plan")


def test_slow_drills_wait_for_drill_all(session_of):
    slow = DRILL.format(marker="rto='30s', slow='7 minutes'")
    left_out = session_of(slow, "-rs")
    assert left_out.code == 0
    assert left_out.counts == {"skipped": 1}
    assert "takes long (7 minutes): hold it with --drill-all" in left_out.output
    assert not left_out.evidence.exists()

    held = session_of(slow, "--drill-all")
    assert held.code == 0
    assert held.verdicts == {"outage": "MET"}


@pytest.mark.parametrize(
    ("needs", "why"),
    [
        ("'no-such-program'", "needs what is not installed here: no-such-program"),
        ("['sh', 'VolumeSnapshotClass']", "needs what the cluster lacks: VolumeSnapshotClass: a CSI driver that takes"),
        ("['Talos', 'no-such-program']", "needs what the cluster lacks: Talos: machines that run Talos, and kind's"),
    ],
)
def test_a_drill_that_lacks_what_it_needs_is_skipped_with_the_reason(session_of, needs, why):
    session = session_of(DRILL.format(marker=f"rto='30s', needs={needs}"), "-rs")
    assert session.counts == {"skipped": 1}
    assert why in session.output
    assert not session.evidence.exists()


@pytest.mark.parametrize("answers", [False, True])
def test_a_drill_whose_image_only_a_registry_has_is_skipped_where_none_answers(session_of, monkeypatch, answers):
    monkeypatch.setattr(selection, "_registry_answers", lambda: answers)
    session = session_of(DRILL.format(marker="rto='30s', needs=['image registry']"), "-rs")
    assert session.counts == ({"passed": 1} if answers else {"skipped": 1})
    assert ("needs an image registry, and none answers" in session.output) is not answers


@pytest.mark.parametrize("look", ["--collect-only", "--setup-plan"])
def test_looking_begins_no_run(session_of, look):
    session = session_of(DRILL.format(marker="rto='30s'"), look)
    assert session.code == 0
    assert "test_outage" in session.output
    assert not session.evidence.exists()


def test_a_broken_collection_begins_no_run(session_of, project):
    project.makepyfile(test_broken="import no_such_module")
    session = session_of(DRILL.format(marker="rto='30s'"))
    assert session.code == pytest.ExitCode.INTERRUPTED
    assert not session.evidence.exists()


def test_setting_up_only_is_no_rehearsal(session_of):
    session = session_of(DRILL.format(marker="rto='30s'"), "--setup-only")
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}
    assert "cut off before its scenario was over" in session.records["outage"]["why"]


def test_help_shows_the_options_and_the_markers(session_of):
    session = session_of("", "--help")
    for option in ("--evidence-dir", "--drill-all", "--drill-why", "--drill-images", "--drill-sabotage"):
        assert option in session.output
    session = session_of("", "--markers")
    assert "@pytest.mark.drill(tier, rto, rpo," in session.output


@pytest.mark.parametrize(
    ("tests", "code"),
    [("def test_sums():\n    assert 1 + 1 == 2\n", 0), ("def test_sums():\n    assert 1 + 1 == 3\n", 1), ("", 5)],
    ids=["passed", "failed", "none"],
)
def test_a_repository_without_drills_notices_nothing(session_of, tests, code):
    session = session_of(tests)
    assert session.code == code
    assert "drill" not in session.output.partition("collected")[2]
    assert not session.evidence.exists()


def test_a_repository_may_have_a_drill_of_its_own_and_keeps_sigterm(session_of):
    session = session_of("""
@pytest.fixture
def drill():
    return "a power tool"

def test_tool(drill):
    assert drill == "a power tool"
    assert signal.getsignal(signal.SIGTERM) is signal.SIG_DFL
""")
    assert session.code == 0
    assert session.counts == {"passed": 1}
    assert not session.evidence.exists()


def test_pytest_xdist_is_not_needed(session_of):
    session = session_of(DRILL.format(marker="rto='30s'"), "-p", "no:xdist")
    assert session.code == 0
    assert session.verdicts == {"outage": "MET"}


def test_the_evidence_goes_where_it_is_told_to(session_of, monkeypatch, tmp_path):
    monkeypatch.setenv("DRILLS_EVIDENCE_DIR", str(tmp_path / "from environment"))
    assert session_of(DRILL.format(marker="rto='30s'")).code == 0
    assert (tmp_path / "from environment" / "latest" / "outage" / "record.json").is_file()

    asked = session_of(DRILL.format(marker="rto='30s'"), "--evidence-dir", str(tmp_path / "asked for"))
    assert (tmp_path / "asked for" / "latest" / "outage" / "record.json").is_file()
    assert not asked.evidence.exists()
