"""The project that a session is of, where pytest takes an option's value for a path to tests."""

import json
import re
from pathlib import Path

import pytest
from drills.fixtures.plugin.arguments import VALUED, joined
from drills.fixtures.plugin.root import relative

pytest_plugins = ["pytester"]

DRILL = """
@pytest.mark.drill(rto="30s", runbook="runbook.md")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
PLAN = """\
schema: pytest-drills/plan/v1
version: "7"
objectives: {scenario: {outage: {rto: 17s}}}
procedures: {}
drills:
  outage: {objective: scenario/outage, scenario: test_scenarios.py}
"""


@pytest.fixture
def elsewhere(tmp_path_factory):
    """A directory that exists, outside of the project."""
    return str(tmp_path_factory.mktemp("elsewhere"))


def record_in(evidence):
    (found,) = {path.resolve() for path in evidence.glob("*/outage/record.json")}
    return json.loads(found.read_text())


@pytest.mark.parametrize(
    ("option", "workers"), [("--drill-why", ()), ("PYTEST_ADDOPTS", ()), ("--evidence-dir", ("-n", "1"))]
)
def test_a_value_that_is_a_directory_moves_no_scenario(session_of, project, elsewhere, monkeypatch, option, workers):
    project.path.joinpath("dr-plan.yaml").write_text(PLAN)
    project.path.joinpath("runbook.md").write_text("Plug it in.\n")
    words = (option, elsewhere)
    if option == "PYTEST_ADDOPTS":
        monkeypatch.setenv(option, f"--evidence-dir {elsewhere}")
        words = ()
    session = session_of(DRILL, *words, *workers, own_process=True)
    assert session.code == 0, session.output
    assert f"rootdir: {project.path}\n" not in session.output, "or pytest does not take it for a path any more"
    record = record_in(session.evidence if option == "--drill-why" else Path(elsewhere))
    assert record["scenario"] == "test_scenarios.py"
    assert record["objective"]["rto_s"] == 17, "the plan of the project is found"
    assert record["runbook_sha256"] is not None


def test_a_value_that_shares_no_directory_moves_none_either(session_of):
    session = session_of(DRILL, "--drill-why", "/usr", own_process=True)
    assert "rootdir: /usr\n" in session.output
    assert session.records["outage"]["scenario"] == "test_scenarios.py"


def test_a_root_directory_that_is_asked_for_is_kept(session_of, project, elsewhere):
    session = session_of(DRILL, "--evidence-dir", elsewhere, f"--rootdir={project.path.parent}", own_process=True)
    assert session.code == 0, session.output
    assert record_in(Path(elsewhere))["scenario"] == f"{project.path.name}/test_scenarios.py"


def test_a_file_outside_is_named_as_one_of_its_package_or_repository_or_by_its_name(pytestconfig, tmp_path):
    for directory in ("package/scenarios", "repository/.git", "repository/scenarios", "neither/scenarios"):
        tmp_path.joinpath(directory).mkdir(parents=True)
    for package in ("package", "package/scenarios"):
        tmp_path.joinpath(package, "__init__.py").touch()
    named = {name: relative(tmp_path / name / "scenarios/test_x.py", pytestconfig) for name in ("package", "neither")}
    assert named == {"package": "package/scenarios/test_x.py", "neither": "test_x.py"}
    assert relative(tmp_path / "repository/scenarios/test_x.py", pytestconfig) == "scenarios/test_x.py"


@pytest.mark.parametrize(
    ("words", "given"),
    [
        *(([option, "old", "-k", "x"], [f"{option}=old", "-k", "x"]) for option in sorted(VALUED)),
        (["--drill-all", "old"], ["--drill-all", "old"]),
        (["--drill-why", "a = b"], ["--drill-why=a = b"]),
        (["--evidence-dir=old", "old"], ["--evidence-dir=old", "old"]),
        (["--evidence-dir", "--drill-all"], ["--evidence-dir", "--drill-all"]),
        (["--evidence-dir"], ["--evidence-dir"]),
        (["--", "--evidence-dir", "old"], ["--", "--evidence-dir", "old"]),
    ],
)
def test_what_takes_a_value_is_written_with_it(words, given):
    assert joined(words) == given


def test_every_option_that_takes_a_value_is_known(session_of):
    said = session_of("", "--help").output
    assert set(re.findall(r"^ +(--(?:drill-|evidence-)[a-z-]+)[= ][A-Z{]", said, re.M)) == {
        option for option in VALUED if option.startswith(("--drill-", "--evidence-"))
    }


def test_tests_elsewhere_that_were_named_keep_their_own_directory(project, elsewhere, pytester):
    """Their archives and plan lie beside them, wherever pytest was started."""
    other = Path(elsewhere)
    (other / "test_it.py").write_text(
        "from drills.fixtures.plugin.root import root_of\n\n"
        "def test_it(pytestconfig, tmp_path_factory):\n    print('root is', root_of(pytestconfig))\n"
    )
    (other / "evidence").mkdir()
    arguments = (str(other / "test_it.py"), "--evidence-dir", str(other / "evidence"), "-s", "-p", "no:cacheprovider")
    said = pytester.runpytest_subprocess(*arguments).stdout.str()
    assert f"root is {other}\n" in said
