"""A drill that is cut off proves nothing, and leaves nothing behind: time limits, interrupts, stopped sessions."""

import pytest

pytest_plugins = ["pytester"]

pytest.importorskip("pytest_timeout")

MET = """
@pytest.mark.drill(rto="30s")
def test_{name}(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
OUTAGE = """
import time

{marks}
@pytest.mark.drill(rto="1h")
def test_outage({arguments}):
    {before}
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        {within}
        service.up = True
    {after}
"""
PLAIN = {"marks": "", "arguments": "drill, service", "before": "", "within": "", "after": ""}
PLACES = {
    "before the fault": {"before": "time.sleep(60)"},
    "in the recovery": {"within": "time.sleep(60)"},
    "waiting for the service": {"within": "time.sleep(0); service.takes = False; return_never(service)"},
    "after the recovery": {"after": "time.sleep(60)"},
}
NEVER = "\ndef return_never(service):\n    type(service).up = property(lambda s: False, lambda s, v: None)\n"


@pytest.mark.parametrize("place", PLACES)
def test_a_time_limit_by_signal_cuts_a_drill_off(session_of, place):
    session = session_of(
        NEVER + OUTAGE.format(**{**PLAIN, **PLACES[place]}) + MET.format(name="next"),
        # Long enough on a crowded machine too, for the next drill to end and this one to come to where it stops.
        *("--timeout=6", "--timeout-method=signal", "--drill-recovered-within=30s"),
        own_process=True,
    )
    assert session.code == 3
    assert session.verdicts["outage"] == "INCONCLUSIVE"
    assert "Timeout" in session.records["outage"]["why"]
    if place != "waiting for the service":  # which breaks the class for the next one
        assert session.verdicts["next"] == "MET"


@pytest.mark.parametrize("where", ["setup", "teardown"])
def test_a_time_limit_around_the_scenario_cuts_it_off(session_of, where):
    sleeps = {"setup": "time.sleep(60)\n    yield", "teardown": "yield\n    time.sleep(60)"}[where]
    fixture = f"import time\n\n@pytest.fixture\ndef slow(drill):\n    {sleeps}\n"
    session = session_of(
        fixture + OUTAGE.format(**{**PLAIN, "arguments": "drill, service, slow"}),
        *("--timeout=2", "--timeout-method=signal"),
        own_process=True,
    )
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}
    assert "cut off by a time limit" in session.records["outage"]["why"]


@pytest.mark.parametrize("more", [(), ("-n", "1", "--max-worker-restart=0")], ids=["alone", "with xdist"])
@pytest.mark.parametrize("place", ["before the fault", "in the recovery"])
def test_a_time_limit_by_thread_ends_the_session_in_order(session_of, place, more):
    if more:
        pytest.importorskip("xdist")
    session = session_of(
        OUTAGE.format(**{**PLAIN, **PLACES[place]}) + MET.format(name="next"),
        *("--timeout=2", "--timeout-method=thread", *more),
        own_process=True,
    )
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}
    assert "cut off by a time limit of the test: 2 s (pytest-timeout)" in session.records["outage"]["why"]
    assert [entry["event"] for entry in session.log] == ["start", "end"]
    assert session.about["not_begun"] == ["test_scenarios.py::test_next"]


def test_a_time_limit_by_thread_that_nothing_heeds_ends_the_process(session_of):
    stubborn = """
        while True:
            try:
                time.sleep(60)
            except KeyboardInterrupt:
                pass
"""
    session = session_of(
        OUTAGE.format(**{**PLAIN, "within": stubborn.strip()}),
        *("--timeout=2", "--timeout-method=thread"),
        own_process=True,
        more="\nfrom drills.fixtures.plugin import timeout\n\ntimeout.GRACE_S = 1.0\n",
    )
    assert session.code == 1  # pytest-timeout's own; there is no record of a drill that would say MISSED
    assert [entry["event"] for entry in session.log] == ["start"]
    assert session.records == {}


def test_a_drill_within_its_time_limit_is_met(session_of):
    for method in ("signal", "thread"):
        session = session_of(
            MET.format(name="met"), "--timeout=60", f"--timeout-method={method}", "--evidence-dir", method
        )
        assert session.code == 0
        assert session.counts == {"passed": 1}


STOPS = {
    "pytest.exit": "pytest.exit('enough', returncode=0)",
    "pytest.exit with a code": "pytest.exit('enough', returncode=7)",
    "an interrupt": "raise KeyboardInterrupt",
}


@pytest.mark.parametrize("where", ["before", "within", "after"])
@pytest.mark.parametrize("stop", STOPS.values(), ids=STOPS)
def test_a_session_that_is_stopped_in_a_drill_is_no_pass(session_of, stop, where):
    session = session_of(OUTAGE.format(**{**PLAIN, where: stop}) + MET.format(name="next"), own_process=True)
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}
    assert session.about["not_begun"] == ["test_scenarios.py::test_next"]
    assert "stopped before 1 of them: test_scenarios.py::test_next" in session.output


FAILS = "def test_sums():\n    assert 1 + 1 == 3\n"


@pytest.mark.parametrize("option", ["-x", "--maxfail=1"])
def test_a_session_that_stops_at_a_failure_names_what_it_did_not_begin(session_of, option):
    session = session_of(MET.format(name="met") + FAILS + MET.format(name="next"), option)
    assert session.code == 1
    assert session.verdicts == {"met": "MET"}
    assert session.about["not_begun"] == ["test_scenarios.py::test_next"]


def test_a_session_that_stops_for_no_failure_is_no_miss_and_no_pass(session_of):
    more = """
SESSION = []

def pytest_sessionstart(session):
    SESSION.append(session)

def pytest_runtest_logfinish(nodeid):
    if "met" in nodeid:
        SESSION[0].shouldstop = "enough"
"""
    session = session_of(MET.format(name="met") + MET.format(name="next"), more=more)
    assert session.code == 3
    assert session.verdicts == {"met": "MET"}
    assert session.about["not_begun"] == ["test_scenarios.py::test_next"]


def test_a_time_limit_of_the_session_is_no_miss(session_of):
    session = session_of(MET.format(name="met") + MET.format(name="next"), "--session-timeout=0.01")
    assert session.code == 3
    assert session.verdicts == {"met": "MET"}
