"""Drills on several workers are one run: begun, ended and reported by the controller."""

import signal

import matplotlib as mpl
import pytest
from drills.fixtures.owner import process_identity

from drills.history import History

pytest.importorskip("xdist")

pytest_plugins = ["pytester"]

# Each goes on only when the other was begun, so both workers hold one.
TWO = """
import time
from pathlib import Path

@pytest.mark.parametrize("place", ["here", "there"])
@pytest.mark.drill(rto={rto!r})
def test_outage(drill, service, platform, place):
    drill.describe(worker=os.environ["PYTEST_XDIST_WORKER"], platform=platform.name)
    while len(list(drill.directory.parent.glob("*/history.jsonl"))) < 2:
        time.sleep(0.01)
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""


def test_two_workers_make_one_run_with_one_report(session_of, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", mpl.get_cachedir())  # in a new home matplotlib would search all fonts again
    session = session_of(TWO.format(rto="30s"), "-n", "2", reports=True)
    assert session.code == 0
    assert session.counts["passed"] == 2
    assert session.verdicts == {"outage_here": "MET", "outage_there": "MET"}  # one START, one END, both records
    records = session.records.values()
    assert {record["worker"] for record in records} == {"gw0", "gw1"}
    assert len({record["platform"] for record in records}) == 2  # or their clusters would clash
    assert all(record["platform"].startswith(session.run.name[-4:]) for record in records)
    assert sorted(session.about["drills"]) == [
        "test_scenarios.py::test_outage[here]",
        "test_scenarios.py::test_outage[there]",
    ]
    assert "-n" in session.about["command"]
    assert session.output.count("disaster recovery drills") == 1
    assert (session.run / "report.html").is_file()


def test_the_records_make_the_exit_code(session_of):
    session = session_of(TWO.format(rto="1ms"), "-n", "2")
    assert session.code == 1
    assert session.verdicts == {"outage_here": "MISSED", "outage_there": "MISSED"}


def test_bad_usage_is_told_once_and_touches_nothing(session_of):
    session = session_of(TWO.format(rto="soon"), "-n", "2", own_process=True)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert session.output.count("rto: found 'soon'") == 1
    assert not session.evidence.exists()


def test_without_drills_there_is_no_run(session_of):
    session = session_of("def test_sums():\n    assert 1 + 1 == 2\n", "-n", "1")
    assert session.code == 0
    assert not session.evidence.exists()


def test_slow_drills_wait_for_drill_all(session_of):
    session = session_of(TWO.format(rto="30s").replace("rto=", "slow='an hour', rto="), "-n", "1")
    assert session.code == 0
    assert session.counts == {"skipped": 2}
    assert not session.evidence.exists()


def test_a_worker_that_dies_takes_its_drill_along_and_no_pass(session_of):
    dies = "@pytest.mark.drill(rto='30s')\ndef test_outage(drill):\n    os._exit(0)\n"
    session = session_of(dies, "-n", "1", "--max-worker-restart", "0")
    assert session.code == 3
    assert session.records == {}
    start, end = session.log
    assert (start["event"], end["event"]) == ("start", "end")
    assert end["verdicts"] == {"outage": "INCONCLUSIVE"}


def test_what_a_worker_that_dies_leaves_is_removed(session_of, tmp_path):
    dies = f"""
import subprocess
from pathlib import Path

from drills.fixtures.engine import PROCESS_VARIABLE
from drills.fixtures.owner import process_identity

@pytest.mark.drill(rto='30s')
def test_outage(drill):
    left = subprocess.Popen(["sleep", "600"], env={{**os.environ, PROCESS_VARIABLE: process_identity()}})
    Path({str(tmp_path / "left")!r}).write_text(str(left.pid))
    os._exit(0)
"""
    session = session_of(dies, "-n", "1", "--max-worker-restart", "0")
    assert session.code == 3
    pid = int((tmp_path / "left").read_text())
    assert f"drills: removed after a worker that was killed: process {pid}: sleep 600" in session.output
    assert not process_identity(pid)


def test_a_worker_that_takes_over_joins_the_same_run(session_of):
    dies_once = """
@pytest.mark.drill(rto="30s")
def test_dies(drill):
    os._exit(0)

@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
    session = session_of(dies_once, "-n", "1")
    assert session.code == 3
    assert session.log[-1]["verdicts"] == {"dies": "INCONCLUSIVE", "outage": "MET"}
    assert len(session.log) == 2
    assert session.run.is_dir()


@pytest.mark.parametrize("whom", ["os.getppid()", "os.getpid()"], ids=["the controller", "the worker"])
def test_sigterm_ends_the_run_in_order(session_of, whom):
    stopped = f"""
@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)):
        os.kill({whom}, signal.SIGTERM)
        while True:
            signal.pause()
"""
    session = session_of(stopped, "-n", "1", "--max-worker-restart", "0", own_process=True)
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}
    assert "KeyboardInterrupt" in session.records["outage"]["why"]


def test_a_run_in_the_background_is_ended_in_order_too(session_of, monkeypatch):
    stopped = """
@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)):
        os.kill(os.getppid(), signal.SIGTERM)
        while True:
            signal.pause()
"""
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)  # as a shell does for what it starts with &
    try:
        session = session_of(stopped, "-n", "1", "--max-worker-restart", "0", own_process=True)
    finally:
        signal.signal(signal.SIGINT, heard)
    assert session.code == 3
    assert session.verdicts == {"outage": "INCONCLUSIVE"}


# --- what the workers must agree on, and what they must not share ---

MANY = """
@pytest.mark.parametrize("place", ["a", "b", "c"])
@pytest.mark.drill(rto="30s", rpo="30s", slow="40s")
def test_shared(drill, service, platform, place):
    drill.describe(worker=os.environ["PYTEST_XDIST_WORKER"], platform=platform.name)
    drill.watch(Writer(service, drill.history, "orders", rate_hz=50.0))
    drill.holds(service.probe(timeout_s=5.0))
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True

@pytest.mark.parametrize("place", ["a", "b"])
@pytest.mark.drill(rto="30s", slow="40s", own_cluster=True)
def test_own(drill, service, platform, place):
    drill.describe(worker=os.environ["PYTEST_XDIST_WORKER"], platform=platform.name)
    drill.holds(service.probe(timeout_s=5.0))
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
SOON = "\nfrom drills import repeats\n\nrepeats.LONGEST_PHASE_S = 0.3\n"


def test_ten_repeats_on_two_workers_clash_nowhere(session_of):
    session = session_of(
        MANY, "-n", "2", "--drill-all", "--drill-repeat", "2", "--drill-budget", "1h", own_process=True, more=SOON
    )
    drills = {f"shared_{place}" for place in "abc"} | {f"own_{place}" for place in "ab"}
    folders = {f"{drill}.repeat_{number}" for drill in drills for number in (1, 2)}
    assert session.code == 0
    assert session.verdicts == dict.fromkeys(folders, "MET")  # one START, one END, all records, a chain that is whole
    assert {path.parent.name for path in session.run.glob("*/history.jsonl")} == folders  # none begun twice
    records = session.records
    assert {record["worker"] for record in records.values()} == {"gw0", "gw1"}
    seed = session.about["repeat"]["seed"]
    assert {record["repeat"]["seed"] for record in records.values()} == {seed}
    for folder, record in records.items():
        events = History.load(session.run / folder / "history.jsonl").events()
        opened = [event.fields["drill"] for event in events if event.kind == "opened"]
        assert (opened, record["history"]["events"]) == ([record["drill"]], len(events))
        assert (record["distribution"]["held"], record["distribution"]["of"]) == (2, 2)
    assert (session.about["budget"]["workers"], len(session.about["budget"]["held"])) == (2, 5)
    assert len(session.about["drills"]) == 10
    assert f"--drill-seed {seed}" in session.output


def test_the_controller_tells_what_its_workers_left_out(session_of):
    session = session_of(MANY, "-n", "2", "--drill-all", "--drill-budget", "90s", own_process=True)
    assert session.code == 0
    assert set(session.verdicts) == {"own_a", "own_b", "shared_a", "shared_b"}
    assert [each["drill"] for each in session.about["budget"]["left_out"]] == ["shared_c"]
    assert session.output.count("left out: shared_c: never proven, takes 40 s by its marker") == 1


def test_a_bad_budget_is_told_once(session_of):
    session = session_of(MANY, "-n", "2", "--drill-all", "--drill-budget", "soon", own_process=True)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert session.output.count("--drill-budget: found 'soon'") == 1
    assert not session.evidence.exists()
