"""What becomes of a drill: its verdict, its record, pytest's outcome and the exit code."""

import hashlib
import json

import pytest

from drills import runs
from drills.history import History

pytest_plugins = ["pytester"]

DRILL = """
@pytest.mark.drill(rto={rto!r})
def test_{name}(drill, service):
    drill.holds(service.probe(), within=10)
    with drill.disruption(Unplugged(service), damage_within=10), drill.recovery("plug it in"):
        service.up = True
"""
MET = DRILL.format(name="met", rto="30s")
# No assertion of its own: what pytest alone would call a pass.
MISSED = DRILL.format(name="missed", rto="1ms")
NOT_USED = """
@pytest.mark.drill(rto="30s")
def test_not_used(drill):
    pass
"""


def test_a_drill_that_met_its_objective_passes_and_leaves_its_evidence(session_of):
    session = session_of(
        """
@pytest.mark.drill(tier="high", rto="30s", rpo="30s", runbook="docs/plug-in.md", controls=["NIST CP-9"])
def test_outage(drill, service):
    '''The shop is unplugged'''
    drill.watch(Writer(service, drill.history, "orders", rate_hz=100.0))
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
""",
        "--drill-why",
        "the quarter's rehearsal",
    )
    assert session.code == 0
    assert session.counts == {"passed": 1}
    assert session.verdicts == {"outage": "MET"}
    record = session.records["outage"]
    assert (record["title"], record["tier"], record["runbook"]) == ("The shop is unplugged", "high", "docs/plug-in.md")
    assert (record["scenario"], record["controls"]) == ("test_scenarios.py", ["NIST CP-9"])
    assert session.about["why"] == "the quarter's rehearsal"
    assert session.about["drills"] == ["test_scenarios.py::test_outage"]
    assert session.about["ended_utc"]
    assert session.about["engine"]["kind"] == "none"
    assert History.load(session.run / "outage" / "history.jsonl").events("phase")[-1].fields["name"] == "ended"
    on_disk = hashlib.sha256((session.run / "outage" / "record.json").read_bytes()).hexdigest()
    assert session.log[1]["records"] == {"outage/record.json": on_disk}
    assert (session.evidence / "latest").resolve() == session.run


def test_a_missed_drill_fails_even_where_its_own_assertions_hold(session_of):
    session = session_of(MISSED)
    assert session.code == 1
    assert session.counts == {"failed": 1}
    assert session.verdicts == {"missed": "MISSED"}
    assert "MISSED: recovered in" in session.output


INCONCLUSIVE = {
    "a fault without effect": (
        """
class Harmless(Unplugged):
    def inject(self):
        pass

@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Harmless(service), damage_within=0.2), drill.recovery("plug it in"):
        service.up = True
""",
        "no damage was observed",
    ),
    "a service that was not steady": (
        """
@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    service.up = False
    drill.holds(service.probe(), within=0.2)
""",
        "not steady before the fault",
    ),
    "a defect in the scenario": (
        """
@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)):
        service.no_such_thing()
""",
        "AttributeError",
    ),
    "a scenario that does nothing": (NOT_USED.replace("not_used", "outage"), "the steady state was never shown"),
    "a scenario that skips itself": (
        """
@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    pytest.skip("no power plug here")
""",
        "skipped: no power plug here",
    ),
}


@pytest.mark.parametrize(("tests", "why"), INCONCLUSIVE.values(), ids=INCONCLUSIVE)
def test_a_drill_that_proved_nothing_is_inconclusive(session_of, tests, why):
    session = session_of(tests)
    assert session.code == 3
    assert session.counts == {"failed": 1}
    assert session.verdicts == {"outage": "INCONCLUSIVE"}
    assert why in session.records["outage"]["why"]


ENVIRONMENT = {
    "the drill's own fixture": (
        """
@pytest.fixture
def shop(drill):
    raise EnvironmentFailed("no image")

@pytest.mark.drill(rto="30s")
def test_outage(drill, shop):
    pass
""",
        "",
        "no image",
    ),
    "a fixture before the drill": (
        """
@pytest.fixture
def shop():
    raise OSError("no disk")

@pytest.mark.drill(rto="30s")
def test_outage(shop, drill):
    pass
""",
        "",
        "no disk",
    ),
    "preparing the platform": (
        MET.replace("test_met", "test_outage"),
        """
def nothing_to_pull():
    raise EnvironmentFailed("no registry")

@pytest.fixture(scope="session")
def platform(platform):
    platform.prepare = nothing_to_pull
    return platform
""",
        "no registry",
    ),
    "making the platform": (
        MET.replace("test_met", "test_outage"),
        """
@pytest.fixture(scope="session")
def platform(platform):
    raise EnvironmentFailed("no engine")
""",
        "no engine",
    ),
    "tearing down after a recovery in time": (
        """
@pytest.fixture
def shop(drill):
    yield
    raise OSError("the namespace does not go")

"""
        + MET.replace("test_met", "test_outage").replace("drill, service", "drill, service, shop"),
        "",
        "the namespace does not go",
    ),
}


@pytest.mark.parametrize(("tests", "more", "why"), ENVIRONMENT.values(), ids=ENVIRONMENT)
def test_what_fails_around_the_scenario_is_the_environments(session_of, tests, more, why):
    session = session_of(tests, more="from drills import EnvironmentFailed\n" + more)
    assert session.code == 3
    assert session.verdicts == {"outage": "ENVIRONMENT"}
    assert why in session.records["outage"]["why"]


@pytest.mark.parametrize(
    ("tests", "code"),
    [(MET + MISSED + NOT_USED, 1), (MET + NOT_USED, 3), (MET + MET.replace("test_met", "test_met_too"), 0)],
    ids=["missed", "inconclusive", "met"],
)
def test_the_worst_verdict_makes_the_exit_code(session_of, tests, code):
    session = session_of(tests)
    assert session.code == code
    assert len(session.verdicts) == tests.count("@pytest.mark.drill")


def test_an_ordinary_test_that_fails_beside_a_met_drill_counts(session_of):
    session = session_of(MET + "def test_sums():\n    assert 1 + 1 == 3\n")
    assert session.code == 1
    assert session.counts == {"passed": 1, "failed": 1}
    assert session.verdicts == {"met": "MET"}


def test_sabotage_is_carried_out_and_recorded(session_of):
    session = session_of(MET, "--drill-sabotage", "fault")
    assert session.code == 3
    assert session.verdicts == {"met": "INCONCLUSIVE"}
    assert session.records["met"]["sabotage"] == ["fault"]
    assert session.records["met"]["evidence_only"] is True
    assert session.about["sabotage"] == ["fault"]


TRICKS = {
    "xfail": ("@pytest.mark.xfail\n" + MISSED, ""),
    "xfail, run by hand": (MISSED + "    pytest.xfail('known')\n", ""),
    "skipped at the end": (MISSED + "    pytest.skip('never mind')\n", ""),
    "rewritten by a plugin": (
        MISSED,
        """
@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_makereport():
    report = yield
    report.outcome = "passed"
    return report
""",
    ),
}


@pytest.mark.parametrize(("tests", "more"), TRICKS.values(), ids=TRICKS)
def test_a_miss_cannot_be_talked_away(session_of, tests, more):
    session = session_of(tests, more=more)
    assert session.code == 1
    assert session.verdicts == {"missed": "MISSED"}
    if not more:
        assert session.counts == {"failed": 1}


# As plugins that rerun failed tests do it.
RERUN = """
from _pytest.runner import runtestprotocol

def pytest_runtest_protocol(item, nextitem):
    runtestprotocol(item, nextitem=nextitem, log=False)
    runtestprotocol(item, nextitem=nextitem, log=True)
    return True
"""


def test_a_second_try_is_a_second_drill_and_hides_nothing(session_of):
    first_time_only = MISSED.replace("def test_missed(drill, service):", "def test_missed(drill, service):\n{body}")
    body = "    if drill.directory.name != 'missed':\n        drill.objective = type(drill.objective)('30s')"
    session = session_of(first_time_only.format(body=body), more=RERUN)
    assert session.counts == {"passed": 1}
    assert session.verdicts == {"missed": "MISSED", "missed-2": "MET"}
    assert session.code == 1


def test_a_second_try_that_fails_early_leaves_the_first_record_alone(session_of):
    once = """
TRIES = []

@pytest.fixture
def once():
    TRIES.append(1)
    if len(TRIES) == 2:
        raise OSError("no disk")

"""
    session = session_of(once + MET.replace("drill, service", "once, drill, service"), more=RERUN)
    assert session.verdicts == {"met": "MET", "met-2": "ENVIRONMENT"}
    assert session.code == 3


@pytest.mark.parametrize(
    "marker",
    ["@pytest.mark.skip", "@pytest.mark.skipif(True, reason='not today')", "@pytest.mark.xfail(run=False)"],
)
def test_a_drill_that_is_not_held_proves_nothing(session_of, marker):
    alone = session_of(marker + MET)
    assert alone.code == 3
    assert alone.verdicts == {}
    assert "none was held, so nothing was proven" in alone.output


def test_a_skipped_drill_beside_one_that_is_met_does_no_harm(session_of):
    session = session_of("@pytest.mark.skip" + NOT_USED + MET)
    assert session.code == 0
    assert session.counts == {"passed": 1, "skipped": 1}
    assert session.verdicts == {"met": "MET"}
    assert "nothing was proven" not in session.output


INTERRUPTED = {
    "in the disruption": "    with drill.disruption(Unplugged(service)):\n        {stop}\n",
    "after the recovery": (
        "    with drill.disruption(Unplugged(service)), drill.recovery('plug it in'):\n"
        "        service.up = True\n"
        "    {stop}\n"
    ),
    "before the fault": "    {stop}\n",
}
CTRL_C = "os.kill(os.getpid(), signal.SIGINT)"
SIGTERM = "os.kill(os.getpid(), signal.SIGTERM)"


@pytest.mark.parametrize(
    ("place", "stop"),
    [
        ("before the fault", SIGTERM),
        ("in the disruption", CTRL_C),
        ("in the disruption", SIGTERM),
        ("after the recovery", CTRL_C),
    ],
)
def test_an_interrupted_drill_is_recorded_and_no_pass(session_of, place, stop):
    drill = "@pytest.mark.drill(rto='30s')\ndef test_outage(drill, service):\n    drill.holds(service.probe())\n"
    session = session_of(drill + INTERRUPTED[place].format(stop=stop) + MET, own_process=True)
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}  # and the next drill was never begun
    record = session.records["outage"]
    assert "KeyboardInterrupt" in record["why"] or "cut off before its scenario was over" in record["why"]
    assert record["ended_utc"]


def test_an_interrupted_setup_is_recorded_too(session_of):
    more = """
def interrupted():
    raise KeyboardInterrupt

@pytest.fixture(scope="session")
def platform(platform):
    platform.prepare = interrupted
    return platform
"""
    session = session_of(MET, more=more, own_process=True)
    assert session.code == 3
    assert session.verdicts == {"met": "INCONCLUSIVE"}


def test_a_teardown_that_fails_on_the_way_out_does_not_lose_the_end(session_of):
    stubborn = """
@pytest.fixture(scope="session")
def stubborn():
    yield
    raise OSError("does not go")

@pytest.mark.drill(rto="30s")
def test_outage(stubborn, drill, service):
    raise KeyboardInterrupt
"""
    session = session_of(stubborn, own_process=True)
    assert session.code != 0
    assert [entry["event"] for entry in session.log] == ["start", "end"]
    assert session.log[1]["verdicts"] == {"outage": "INCONCLUSIVE"}


def test_a_killed_run_leaves_a_start_without_an_end_and_its_history(session_of):
    session = session_of(NOT_USED.replace("pass", "os._exit(0)") + "import os\n", own_process=True)
    assert [entry["event"] for entry in session.log] == ["start"]
    assert runs.unfinished(session.evidence / runs.LOG) == [session.run.name]
    lines = (session.run / "not_used" / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[0])["kind"] == "opened"


@pytest.mark.parametrize("content", ["", '{"verdict": "MET"}'])
def test_a_record_that_cannot_be_read_proves_nothing(session_of, content):
    # Written over in between, by something that is no drill.
    more = f"""
@pytest.hookimpl(tryfirst=True)
def pytest_sessionfinish(session):
    for path in session.config.drills_run.dir.glob("*/record.json"):
        path.write_text({content!r})
"""
    session = session_of(MET, more=more)
    assert session.counts == {"passed": 1}
    assert session.log[1]["verdicts"] == {"met": "INCONCLUSIVE"}
    assert session.code == 3
