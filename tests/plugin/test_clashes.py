"""Fixtures of a team's own that have the names of ours, and options of other plugins that drills would ignore."""

import pytest

pytest_plugins = ["pytester"]

MET = """
@pytest.mark.drill(rto="30s")
def test_outage({arguments}):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""

CLASHES = {
    "a session fixture that ours ask for by name": (
        '@pytest.fixture(scope="session")\ndef platform():\n    return "linux"\n',
        "drill, service",
        "platform",
    ),
    "a drill that is not ours": ("@pytest.fixture\ndef drill():\n    return 1\n", "drill, service", "drill"),
    "one of ours asks for it": (
        "@pytest.fixture\ndef database():\n    return 1\n", "drill, service, postgres", "database"
    ),
    "one of ours asks for it if it is there": (
        "@pytest.fixture\ndef names():\n    return 1\n", "drill, service, web, names", "names"
    ),
    "one of ours asks for it that another one of ours asks for": (
        "@pytest.fixture\ndef velero():\n    return 1\n", "drill, service, schedules", "velero",
    ),
}  # fmt: skip


@pytest.mark.parametrize("where", ["the conftest", "the file"])
@pytest.mark.parametrize(("fixture", "arguments", "name"), CLASHES.values(), ids=CLASHES)
def test_a_fixture_that_ours_would_be_given_is_refused(session_of, fixture, arguments, name, where):
    tests = MET.format(arguments=arguments)
    session = session_of(
        tests if where == "the conftest" else fixture + tests, more=fixture if where == "the conftest" else ""
    )
    assert session.code == pytest.ExitCode.USAGE_ERROR
    file = "conftest.py" if where == "the conftest" else "test_scenarios.py"
    assert f"invalid value '{name}' for a fixture's name: expected" in session.output
    assert f"{file}:" in session.output
    assert not session.evidence.exists()


def test_a_parameter_that_ours_would_be_given_is_refused(session_of):
    tests = '@pytest.mark.parametrize("database", ["a"])' + MET.format(arguments="drill, service, database, postgres")
    session = session_of(tests)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert "test_outage[a], a parameter: invalid value 'database' for a fixture's name" in session.output


HARMLESS = {
    "nobody of ours asks for it": ('@pytest.fixture\ndef database():\n    return "dsn"\n', "drill, service, database"),
    "it asks for ours": (
        "@pytest.fixture\ndef drill(drill):\n    drill.describe(worn='yes')\n    return drill\n",
        "drill, service",
    ),
}


@pytest.mark.parametrize(("fixture", "arguments"), HARMLESS.values(), ids=HARMLESS)
def test_a_fixture_that_harms_nothing_is_left_alone(session_of, fixture, arguments):
    session = session_of(fixture + MET.format(arguments=arguments))
    assert session.code == 0
    assert session.verdicts == {"outage": "MET"}


@pytest.mark.parametrize(
    "arguments",
    [
        ("--kubeconfig", "/etc/staging.yaml"),
        ("--kubeconfig=/etc/staging.yaml",),
        ("--cluster-name", "staging"),
        ("--cluster-name=pytest-kind",),
        ("--kind-image", "kindest/node:v1.30.0"),
        ("--kind-bin", "/usr/bin/kind"),
        ("--kind-kubectl-bin=/usr/bin/kubectl",),
    ],
)
@pytest.mark.parametrize("by", ["the command line", "the environment", "the configuration"])
def test_an_option_of_pytest_kind_is_never_ignored(session_of, project, monkeypatch, arguments, by):
    if by == "the environment":
        monkeypatch.setenv("PYTEST_ADDOPTS", " ".join(arguments))
    elif by == "the configuration":
        project.makeini(f"[pytest]\naddopts = {' '.join(arguments)}\n")
    session = session_of(MET.format(arguments="drill, service"), *(arguments if by == "the command line" else ()))
    assert session.code == pytest.ExitCode.USAGE_ERROR
    option = arguments[0].partition("=")[0]
    assert f"ERROR: {option}: invalid value " in session.output
    assert "expected no such option where drills are held: " in session.output
    assert not session.evidence.exists()


def test_an_option_of_pytest_kind_is_its_own_where_no_drill_is_held(session_of):
    session = session_of("def test_sums():\n    assert 1 + 1 == 2\n", "--kubeconfig", "/etc/staging.yaml")
    assert session.code == 0


def test_clusters_are_kept_where_that_is_asked_for(session_of):
    tests = MET.format(arguments="drill, service, platform").replace(
        "    drill.holds", "    assert platform.keep is True\n    drill.holds"
    )
    assert session_of(tests, "--keep-cluster").code == 0
