"""Drills beside the plugins that many repositories have; tests/matrix.sh runs these with each of them, and with all."""

import pytest

pytest_plugins = ["pytester"]

BODY = """
    drill.holds(service.probe(timeout_s=5.0))
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
MET = "@pytest.mark.drill(rto='30s')\ndef test_{name}(drill, service):" + BODY
SOON = "\nfrom drills import repeats\n\nrepeats.LONGEST_PHASE_S = 0.1\n"
MISSES_ONCE = """
@pytest.mark.drill(rto="1ms")
{mark}
def test_unlucky(drill, service):
    if drill.directory.name != "unlucky":
        drill.objective = type(drill.objective)("30s")
""" + BODY.removeprefix("\n")  # fmt: skip
BREAKS_ONCE = """
TRIES = []

@pytest.fixture
def once(drill):
    TRIES.append(1)
    if len(TRIES) == 1:
        raise OSError("no disk")

@pytest.mark.drill(rto="30s")
def test_unlucky(drill, service, once):
""" + BODY.removeprefix("\n")  # fmt: skip


@pytest.mark.parametrize("more", [(), ("-n", "1")], ids=["alone", "with xdist"])
@pytest.mark.parametrize("how", ["option", "mark"])
def test_a_rerun_is_a_second_drill_and_hides_no_miss(session_of, how, more):
    pytest.importorskip("pytest_rerunfailures")
    if more:
        pytest.importorskip("xdist")
    tests = MISSES_ONCE.format(mark="@pytest.mark.flaky(reruns=2)" if how == "mark" else "")
    session = session_of(tests, *(("--reruns", "2") if how == "option" else ()), *more)
    assert session.verdicts == {"unlucky": "MISSED", "unlucky-2": "MET"}
    assert session.code == 1
    assert session.counts["rerun"] == 1
    assert [record["attempt"] for _, record in sorted(session.records.items())] == [1, 2]


def test_a_rerun_after_a_broken_setup_is_a_second_drill(session_of):
    pytest.importorskip("pytest_rerunfailures")
    session = session_of(BREAKS_ONCE, "--reruns", "1")
    assert session.verdicts == {"unlucky": "ENVIRONMENT", "unlucky-2": "MET"}
    assert session.code == 3


def test_twins_that_fail_as_they_must_are_not_run_again(session_of):
    pytest.importorskip("pytest_rerunfailures")
    tests = MET.format(name="met").replace("        service", "        service.up = not drill.sabotage  #")
    session = session_of(
        tests, "--drill-twins", "--reruns", "2", "--drill-damage-within=300ms", "--drill-recovered-within=1s"
    )
    assert session.code == 0
    assert "rerun" not in session.counts
    assert session.verdicts == {"met": "MET", "met.without_fault": "INCONCLUSIVE", "met.without_procedure": "MISSED"}


ASYNC = "{mark}\n@pytest.mark.drill(rto='30s')\nasync def test_met(drill, service):\n    await asyncio.sleep(0)" + BODY


@pytest.mark.parametrize("mode", ["strict", "auto"])
def test_an_async_test_that_pytest_asyncio_runs_is_a_drill(session_of, mode):
    pytest.importorskip("pytest_asyncio")
    tests = "import asyncio\n" + ASYNC.format(mark="@pytest.mark.asyncio" if mode == "strict" else "")
    session = session_of(tests, "-o", f"asyncio_mode={mode}")
    assert session.code == 0
    assert session.verdicts == {"met": "MET"}


def test_async_tests_have_repeats_and_twins(session_of):
    pytest.importorskip("pytest_asyncio")
    tests = "import asyncio\n" + ASYNC.format(mark="@pytest.mark.asyncio")
    session = session_of(tests, "--drill-repeat=2", more=SOON)
    assert session.code == 0
    assert session.verdicts == {"met.repeat_1": "MET", "met.repeat_2": "MET"}


def test_an_async_fixture_that_fails_is_the_environments(session_of):
    pytest.importorskip("pytest_asyncio")
    tests = """
import asyncio
import pytest_asyncio

@pytest_asyncio.fixture
async def shop(drill):
    await asyncio.sleep(0)
    raise OSError("no disk")

@pytest.mark.asyncio
@pytest.mark.drill(rto="30s")
async def test_met(drill, service, shop):
    pass
"""
    session = session_of(tests)
    assert session.verdicts == {"met": "ENVIRONMENT"}
    assert "no disk" in session.records["met"]["why"]


MANY = "".join(MET.format(name=name) for name in "abcd")


@pytest.mark.parametrize("more", [(), ("-n", "2")], ids=["alone", "with xdist"])
@pytest.mark.parametrize("how", [(), ("--drill-repeat", "2")], ids=["once", "repeated"])
def test_a_random_order_changes_nothing(session_of, how, more):
    pytest.importorskip("pytest_randomly")
    if more:
        pytest.importorskip("xdist")
    session = session_of(
        MANY, "-p", "randomly", "-p", "no:cacheprovider", "--randomly-seed=7", *how, *more, shuffled=True,
        own_process=bool(more), more=SOON,
    )  # fmt: skip
    names = {f"{name}.repeat_{number}" for name in "abcd" for number in (1, 2)} if how else set("abcd")
    assert session.code == 0
    assert session.verdicts == dict.fromkeys(names, "MET")
    assert "--randomly-seed=7" in session.output


@pytest.mark.parametrize("dist", ["load", "loadscope", "loadfile", "worksteal", "each"])
def test_every_way_to_hand_out_tests_makes_one_run(session_of, dist):
    pytest.importorskip("xdist")
    how = ("--dist", dist, "-n", "2") if dist != "each" else ("--dist", "each", "--tx", "popen")
    session = session_of(MANY, *how, own_process=True)
    assert session.code == 0
    assert session.verdicts == dict.fromkeys("abcd", "MET")
