"""A scenario that reports parts of itself, or is no plain function: subtests, async tests, and failures around them."""

import pytest

pytest_plugins = ["pytester"]

PARTS = """
@pytest.mark.drill(rto="30s")
def test_outage(drill, service, subtests):
    with subtests.test("before"):
        {before}
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        with subtests.test("plug", number=1):
            service.up = True
        {within}
    for number in range(3):
        with subtests.test("afterwards", number=number):
            {after}
    assert drill.rta <= drill.objective.rto
"""
ALL_WELL = {"before": "pass", "within": "pass", "after": "assert service.up"}


@pytest.fixture
def subtests_there(pytestconfig):
    if not pytestconfig.pluginmanager.has_plugin("subtests"):
        pytest.skip("subtests came with pytest 9; pytest-subtests is not installed")


@pytest.mark.usefixtures("subtests_there")
@pytest.mark.parametrize("more", [(), ("-n", "1")], ids=["alone", "with xdist"])
def test_subtests_do_not_end_a_drill(session_of, more):
    if more:
        pytest.importorskip("xdist")
    session = session_of(PARTS.format(**ALL_WELL), *more)
    assert session.code == 0
    assert session.verdicts == {"outage": "MET"}


@pytest.mark.usefixtures("subtests_there")
@pytest.mark.parametrize(
    ("where", "verdict"),
    [("before", "MISSED"), ("within", "MISSED"), ("after", "MISSED")],
)
def test_a_subtest_that_fails_is_a_claim_that_does_not_hold(session_of, where, verdict):
    parts = {**ALL_WELL, where: "assert service.up is None, 'no orders'"}
    if where == "within":
        parts["within"] = "with subtests.test('orders'):\n            assert service.up is None, 'no orders'"
    session = session_of(PARTS.format(**parts))
    assert session.code == 1
    assert session.verdicts == {"outage": verdict}
    assert "no orders" in session.records["outage"]["why"]


@pytest.mark.usefixtures("subtests_there")
def test_a_subtest_that_breaks_leaves_no_pass(session_of):
    session = session_of(PARTS.format(**{**ALL_WELL, "after": "raise KeyError('orders')"}))
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}


EARLY = {
    "an assertion": ("    assert service.rows, 'no backup to restore'\n", "no backup to restore"),
    "pytest.fail": ("    pytest.fail('the shop has no rows')\n", "the shop has no rows"),
    "an exception": ("    raise KeyError('orders')\n", "KeyError: 'orders'"),
    "a skip": ("    pytest.skip('no power plug here')\n", "no power plug here"),
    "an import that fails": ("    pytest.importorskip('no_such_module')\n", "no_such_module"),
    "an exit of the program": ("    raise SystemExit(4)\n", "SystemExit"),
}


@pytest.mark.parametrize(("body", "why"), EARLY.values(), ids=EARLY)
def test_what_ended_a_scenario_before_its_steady_state_is_named(session_of, body, why):
    session = session_of(f"@pytest.mark.drill(rto='30s')\ndef test_outage(drill, service):\n{body}")
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}
    assert why in session.records["outage"]["why"]


def test_an_async_test_that_nobody_runs_is_named(session_of):
    session = session_of("@pytest.mark.drill(rto='30s')\nasync def test_outage(drill, service):\n    pass\n")
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}
    assert "async" in session.records["outage"]["why"]


def test_a_fixture_that_asserts_is_named(session_of):
    tests = """
@pytest.fixture
def backups_there(drill):
    assert [] == ["backup"], "no backup is there"

@pytest.mark.drill(rto="30s")
def test_outage(drill, service, backups_there):
    pass
"""
    session = session_of(tests)
    assert session.code == 3
    assert "no backup is there" in session.records["outage"]["why"]


BROKEN = {
    "a record that cannot be written": "drill.describe(worn=object())",
    "a record that is not to be written": "import shutil; shutil.rmtree(drill.directory)",
    "a text that is no text": r"drill.check('caf\udce9', True)",
    "a note that is no text": r"drill.describe(notes=['caf\udce9'])",
}


@pytest.mark.parametrize("body", BROKEN.values(), ids=BROKEN)
def test_an_outcome_that_cannot_be_kept_ends_no_session(session_of, body):
    tests = (
        f"@pytest.mark.drill(rto='30s')\ndef test_broken(drill, service):\n    {body}\n"
        + """
@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
    )
    session = session_of(tests)
    assert "INTERNALERROR" not in session.output
    assert session.log[-1]["verdicts"].get("broken", "INCONCLUSIVE") == "INCONCLUSIVE"
    assert session.log[-1]["verdicts"]["outage"] == "MET"
    assert session.counts == {"passed": 1, "failed": 1} or session.counts == {"passed": 1, "failed": 1, "errors": 1}
    assert session.code in (1, 3)
