"""--drill-repeat and --drill-budget, as their users meet them."""

import json

import matplotlib as mpl
import pytest
from drills.reports.recheck import Recheck, recheck_run

from drills import genuine, repeats, runs
from drills.record import validate
from drills.repeats import drawn

pytest_plugins = ["pytester"]

OUTAGE = """
@pytest.mark.parametrize("place", ["here", "over there"])
@pytest.mark.drill(rto="30s", rpo="30s")
def test_outage(drill, service, place):
    '''The shop is unplugged.'''
    drill.watch(Writer(service, drill.history, "orders", rate_hz=50.0))
    drill.holds(service.probe(timeout_s=5.0))
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
EMPTY = """
@pytest.mark.drill(rto="30s"{more})
def test_{name}(drill, service):
    drill.holds(service.probe(timeout_s=5.0))
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""


@pytest.fixture(autouse=True)
def soon(monkeypatch):
    monkeypatch.setattr(repeats, "LONGEST_PHASE_S", 0.3)


def phase(record, name):
    return next(each["t_s"] for each in record["phases"] if each["name"] == name)


# --- repeats ---


def test_each_drill_is_repeated_with_a_random_wait_before_its_fault(session_of):
    session = session_of(OUTAGE, "--drill-repeat", "3", "--drill-seed", "7")
    assert session.code == 0
    assert session.counts == {"passed": 6}
    assert "drills: each 3 times, --drill-seed 7" in session.output
    folders = {f"outage_{place}.repeat_{number}" for place in ("here", "over_there") for number in (1, 2, 3)}
    assert session.verdicts == dict.fromkeys(folders, "MET")
    assert session.about["repeat"] == {"times": 3, "seed": 7, "longest_phase_s": 0.3}
    waited = set()
    for folder, record in session.records.items():
        drill, _, number = folder.partition(".repeat_")
        phase_s = record["repeat"]["phase_s"]
        assert record["repeat"] == {"number": int(number), "of": 3, "phase_s": phase_s, "seed": 7}
        assert (record["drill"], record["attempt"]) == (drill, 1)
        assert record["title"] == f"The shop is unplugged [{'here' if drill[7:] == 'here' else 'over there'}]"
        assert record["id"] == f"{session.run.name}/{folder}"
        assert phase(record, "steady") <= phase(record, "waiting") <= -phase_s
        assert validate(record) == []
        waited.add(phase_s)
    assert len(waited) == 6
    here = [session.records[f"outage_here.repeat_{number}"] for number in (1, 2, 3)]
    spread = here[0]["distribution"]
    assert (spread["of"], spread["held"], spread["rta_s"]["measured"], spread["rpa_s"]["measured"]) == (3, 3, 3, 3)
    assert spread["rta_s"]["worst"] == max(record["achieved"]["rta_s"] for record in here)
    assert all(record["distribution"] == spread for record in here)


def test_the_seed_is_told_and_brings_the_same_phases_again(session_of):
    session = session_of(EMPTY.format(name="outage", more=""), "--drill-repeat", "1")
    seed = session.about["repeat"]["seed"]
    assert f"--drill-seed {seed}" in session.output
    (record,) = session.records.values()
    assert record["repeat"]["seed"] == seed
    assert record["repeat"]["phase_s"] == drawn("outage", 1, 1, seed).phase_s


def test_repeats_are_reported_sealed_and_judged_again(session_of, monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", mpl.get_cachedir())  # in a new home matplotlib would search all fonts again
    soon = "\nfrom drills import repeats\n\nrepeats.LONGEST_PHASE_S = 0.3\n"
    session = session_of(OUTAGE, "--drill-repeat", "2", reports=True, more=soon)
    assert session.code == 0, session.output
    assert set(session.verdicts.values()) == {"MET"}
    assert session.output.count("repeats: outage_here: 2 of 2 repeats, seed ") == 1
    assert genuine.check_evidence(session.evidence).problems == []
    listed = {each["path"] for each in json.loads((session.run / "manifest.json").read_text())["files"]}
    assert {"repeats.png", "outage_here.repeat_2/record.json", "outage_here.repeat_2/timeline.png"} <= listed
    assert "Over all repeats of this run" in (session.run / "report.html").read_text()
    recheck_run(session.run, again := Recheck())
    assert (again.judged, again.differences, again.cut_off) == (4, [], [])


def test_without_the_option_nothing_is_repeated_and_nothing_waited_for(session_of):
    (record,) = session_of(EMPTY.format(name="outage", more="")).records.values()
    assert not {"repeat", "distribution"} & record.keys()
    assert "waiting" not in [each["name"] for each in record["phases"]]


def test_a_repeat_that_missed_makes_the_run_miss_and_stands_in_the_distribution(session_of):
    stays_away = EMPTY.format(name="outage", more="").replace(
        "service.up = True", "service.up = drill.facts['repeat']['number'] != 2"
    ).replace("Unplugged(service)", "Unplugged(service), recovered_within='8s'")  # fmt: skip
    session = session_of(stays_away, "--drill-repeat", "2")
    assert session.code == 1
    assert session.verdicts == {"outage.repeat_1": "MET", "outage.repeat_2": "MISSED"}
    spread = session.records["outage.repeat_1"]["distribution"]["rta_s"]
    assert (spread["measured"], spread["never"], spread["worst"]) == (2, 1, None)


def test_other_tests_are_not_repeated(session_of):
    session = session_of("def test_sums():\n    assert 1 + 1 == 2\n", "--drill-repeat", "3")
    assert session.counts == {"passed": 1}


@pytest.mark.parametrize(
    ("arguments", "found"),
    [
        (("--drill-repeat", "often"), "--drill-repeat: found 'often', accepted: a whole number from 1"),
        (("--drill-repeat", "0"), "--drill-repeat: found '0', accepted: a whole number from 1"),
        (("--drill-repeat", "2", "--drill-seed", "-1"), "--drill-seed: found '-1', accepted: a whole number from 0"),
        (("--drill-seed", "1"), "--drill-seed: found without --drill-repeat"),
        (("--drill-budget", "soon"), "--drill-budget: found 'soon'"),
    ],
)
def test_bad_options_are_refused_before_anything_is_touched(session_of, arguments, found):
    session = session_of(EMPTY.format(name="outage", more=""), *arguments, own_process=True)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert found in session.output
    assert not session.evidence.exists()


# --- budget ---

THREE = "".join(EMPTY.format(name=name, more=", slow='40s'") for name in ("first", "second", "third"))


@pytest.fixture
def earlier(project):
    """Leaves the log of runs in which these drills were proven, the first one the longest ago."""

    def leave(session, *folders):
        evidence = project.path / "evidence"
        (source,) = [path.parent for path in evidence.glob("*/*/record.json")][:1]
        record = json.loads((source / "record.json").read_text())
        for day, name in enumerate(folders, start=1):
            run = evidence / f"2026010{day}T000000Z-0000"
            (run / name).mkdir(parents=True)
            times = {"started_utc": f"2026-01-0{day}T00:00:00.000Z", "ended_utc": f"2026-01-0{day}T00:00:40.000Z"}
            (run / name / "record.json").write_text(json.dumps(record | times | {"drill": name}))
            entry = {"utc": times["ended_utc"], "event": "end", "run": run.name, "verdicts": {name: "MET"}}
            runs.append(session.evidence / runs.LOG, entry)

    return leave


def newest(session):
    # Not by their names: two that began in the same second are told apart by chance there.
    runs = [path for path in session.evidence.glob("*/run.json") if not path.parent.is_symlink()]
    return max(runs, key=lambda path: path.stat().st_mtime_ns).parent


def test_the_least_recently_proven_are_held_first_and_the_rest_is_told(session_of, earlier):
    earlier(session_of(EMPTY.format(name="first", more="")), "third", "second")
    session = session_of(
        THREE + EMPTY.format(name="fourth", more=", slow='40s'"), "--drill-all", "--drill-budget", "119s", "-v"
    )
    assert session.code == 0
    about = json.loads((newest(session) / "run.json").read_text())
    told = about["budget"]
    assert [each["drill"] for each in told["held"]] == ["fourth", "third", "first"]
    assert [each["by"] for each in told["held"]] == ["its marker", "its last run", "its last run"]
    (left_out,) = told["left_out"]
    assert (left_out["drill"], left_out["last_proven_utc"]) == ("second", "2026-01-02T00:00:40.000Z")
    assert "left out: second: last proven 2026-01-02 00:00 UTC, takes 40 s by its last run" in session.output
    assert session.counts == {"passed": 3, "deselected": 1}
    assert [name.partition("::test_")[2] for name in about["drills"]] == ["fourth", "third", "first"]
    order = [session.output.index(f"::test_{name} ") for name in ("fourth", "third", "first")]
    assert order == sorted(order)


def test_what_does_not_fit_at_all_leaves_no_run_and_no_pass(session_of):
    session = session_of(THREE, "--drill-all", "--drill-budget", "30s")
    assert session.code == pytest.ExitCode.NO_TESTS_COLLECTED
    assert session.output.count("left out: ") == 3
    assert "never proven, takes 40 s by its marker" in session.output
    assert not session.evidence.exists()


def test_slow_drills_that_are_not_held_take_nothing_of_the_budget(session_of):
    session = session_of(THREE + EMPTY.format(name="quick", more=""), "--drill-budget", "5m")
    assert session.verdicts == {"quick": "MET"}
    assert session.counts == {"passed": 1, "skipped": 3}
    assert session.about["budget"]["left_out"] == []


def test_other_tests_are_no_matter_of_the_budget(session_of):
    session = session_of(THREE + "\ndef test_sums():\n    assert 1 + 1 == 2\n", "--drill-all", "--drill-budget", "1s")
    assert session.counts == {"passed": 1, "deselected": 3}


def test_all_repeats_of_a_drill_are_held_or_none(session_of):
    session = session_of(THREE, "--drill-all", "--drill-budget", "90s", "--drill-repeat", "2")
    assert set(session.records) == {"first.repeat_1", "first.repeat_2"}
    (held,) = session.about["budget"]["held"]
    phases = sum(record["repeat"]["phase_s"] for record in session.records.values())
    assert held["expected_s"] == pytest.approx(80 + phases)
