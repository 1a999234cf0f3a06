import dataclasses
import json
from datetime import UTC, datetime, timedelta

import pytest
from drills.reports.held import NOT_HELD, main, rewrite

from drills.errors import UsageError

from .samples import Story, write_run

FIRST = datetime(2026, 11, 21, 9, 0, tzinfo=UTC)
MET = Story(name="volume_lost", began=FIRST, steady_s=6.0, bad_until_s=3.0, after_s=4.0)
MISSED = dataclasses.replace(MET, bad_until_s=None)
WITHOUT_FAULT = dataclasses.replace(MET, issued=False, proved=False, sabotage=("fault",))
WITHOUT_PROCEDURE = dataclasses.replace(MISSED, sabotage=("procedure",))

HEAD = (
    "# Scenarios\n\n| a | b |\n\n| Drill | Runbook | RTO / RPO | State | Met | Fault left out | Procedure left out |\n"
)


def document(tmp_path, state="draft", met=NOT_HELD):
    path = tmp_path / "scenarios.md"
    path.write_text(
        f"{HEAD}| volume_lost | [volume](volume.md) | 1h / 24h | {state} | {met} | {NOT_HELD} | {NOT_HELD} |\n\nafter\n"
    )
    return path


def row(path):
    text = path.read_text()
    assert text.startswith(HEAD)
    assert text.endswith("|\n\nafter\n")
    return text.splitlines()[-3].strip("| ").split(" | ")[1:]


def change(run, **fields):
    (path,) = run.glob("*/record.json")
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


def until(t_s, *before):
    return [{"name": name, "t_s": begun_s} for name, begun_s in [*before, ("ended", t_s)]]


def without_fault(evidence, minutes, why="no damage was observed: not within 5 s", waited_s=5.0):
    """A drill whose fault was announced and never issued, as the harness tells of it."""
    run = write_run(evidence, later(WITHOUT_FAULT, minutes))
    change(run, why=why, phases=until(waited_s, ("disrupted", 0.0)))
    return run.name


def without_procedure(evidence, minutes, waited_s, failure=None):
    """A drill whose procedure lacked its decisive part, given up after some time, or ended by a failure."""
    run = write_run(evidence, later(WITHOUT_PROCEDURE, minutes))
    change(run, phases=until(waited_s + 1.1, ("disrupted", 0.0), ("recovering", 1.1)), failure=failure)
    return run.name


def later(story, minutes):
    return dataclasses.replace(story, began=FIRST + timedelta(minutes=minutes))


def test_a_drill_that_was_met_gets_its_run_and_its_record(tmp_path):
    evidence = tmp_path / "evidence"
    run = write_run(evidence, MET)
    path = document(tmp_path)
    rewrite(path, tmp_path / "sample", [evidence])
    assert row(path) == ["[volume](volume.md)", "1h / 24h", "met", run.name, NOT_HELD, NOT_HELD]
    kept = json.loads((tmp_path / "sample/volume_lost/record.json").read_text())
    assert (kept["verdict"], kept["drill"]) == ("MET", "volume_lost")


@pytest.mark.parametrize(
    "why",
    ["no damage was observed: not within 5 s", "nothing was restored to namespace/copy, so nothing was validated"],
)
def test_twins_that_ended_as_they_must_are_noted_beside_it(tmp_path, why):
    evidence = tmp_path / "evidence"
    runs = [write_run(evidence, later(MET, 0)).name, without_fault(evidence, 5, why)]
    without_fault(evidence, 6, "the drill was cut off before its scenario was over")
    path = document(tmp_path)
    rewrite(path, tmp_path / "sample", [evidence])
    assert row(path)[2:] == ["met", *runs, NOT_HELD]
    runs.append(write_run(tmp_path / "more", later(WITHOUT_PROCEDURE, 9)).name)
    rewrite(path, tmp_path / "sample", [evidence, tmp_path / "more"])
    assert row(path)[2:] == ["met, twins held", *runs]


@pytest.mark.parametrize(
    "story",
    [
        MISSED,
        dataclasses.replace(MET, sabotage=("fault",)),
        dataclasses.replace(MET, sabotage=("procedure",)),
        dataclasses.replace(MISSED, sabotage=("fault", "procedure")),
        dataclasses.replace(MET, name="another_drill"),
    ],
    ids=["missed", "met without fault", "met without procedure", "both left out", "of another drill"],
)
def test_what_proves_nothing_is_not_noted(tmp_path, story):
    write_run(tmp_path / "evidence", story)
    path = document(tmp_path)
    rewrite(path, tmp_path / "sample", [tmp_path / "evidence"])
    assert row(path)[2:] == ["draft", NOT_HELD, NOT_HELD, NOT_HELD]
    assert not (tmp_path / "sample").exists()


def test_the_newest_run_counts_and_what_is_noted_already_is_never_replaced_by_an_older_one(tmp_path):
    evidence = tmp_path / "evidence"
    write_run(evidence, later(MET, 0))
    newer = write_run(evidence, later(MET, 7))
    path = document(tmp_path)
    rewrite(path, tmp_path / "sample", [evidence])
    assert row(path)[3] == newer.name
    write_run(tmp_path / "old", dataclasses.replace(MET, began=FIRST - timedelta(days=1)))
    before = (tmp_path / "sample/volume_lost/record.json").read_bytes()
    rewrite(path, tmp_path / "sample", [tmp_path / "old"])
    assert row(path)[3] == newer.name
    assert (tmp_path / "sample/volume_lost/record.json").read_bytes() == before


def test_a_twin_that_gave_up_sooner_than_the_drill_in_earnest_was_done_is_not_noted(tmp_path, capsys):
    evidence, more = tmp_path / "evidence", tmp_path / "more"
    met = write_run(evidence, MET).name  # damage seen after 0.62 s; its steps end 14.7 s after the recovery began
    hasty = [without_procedure(evidence, 5, waited_s=14.0), without_fault(evidence, 6, waited_s=0.5)]
    path = document(tmp_path)
    assert main([str(path), str(tmp_path / "sample"), str(evidence)]) == 0
    assert row(path)[2:] == ["met", met, NOT_HELD, NOT_HELD]
    assert capsys.readouterr().out.splitlines() == [
        f"volume_lost, procedure left out: run {hasty[0]} waited 14 s for its recovery, which took 14.72 s in earnest;"
        " not noted",
        f"volume_lost, fault left out: run {hasty[1]} waited 0.5 s for its damage, which took 0.62 s in earnest;"
        " not noted",
    ]
    patient = [without_fault(more, 7, waited_s=0.7), without_procedure(more, 8, waited_s=14.8)]
    assert main([str(path), str(tmp_path / "sample"), str(more)]) == 0, "the drill in earnest is in the sample"
    assert row(path)[2:] == ["met, twins held", met, *patient]
    assert capsys.readouterr().out == ""


@pytest.mark.parametrize(
    ("kinds", "noted"),
    [
        (["ProcedureFailed", "DrillError"], True),
        (["WaitTimeout", "DrillError"], False),
        (["NotRecovered", "DrillError"], False),
    ],
)
def test_a_procedure_that_failed_did_not_give_up(tmp_path, kinds, noted):
    evidence = tmp_path / "evidence"
    met = write_run(evidence, MET).name
    run = without_procedure(evidence, 5, waited_s=3.0, failure={"kinds": kinds, "message": "the archive has a gap"})
    path = document(tmp_path)
    rewrite(path, tmp_path / "sample", [evidence])
    assert row(path)[2:] == ["met", met, NOT_HELD, run if noted else NOT_HELD]


def test_a_drill_that_is_skipped_here_stays_so_until_it_is_met(tmp_path):
    write_run(tmp_path / "evidence", WITHOUT_PROCEDURE)
    path = document(tmp_path, state="skipped: needs a driver")
    rewrite(path, tmp_path / "sample", [tmp_path / "evidence"])
    assert row(path)[2] == "skipped: needs a driver"


def test_bad_input_is_named(tmp_path, capsys):
    path = document(tmp_path)
    (tmp_path / "empty").mkdir()
    assert main([str(path)]) == 2
    assert "arguments: found 1" in capsys.readouterr().err
    for wrong in ("empty", "absent"):
        with pytest.raises(UsageError, match=f"{wrong}: found no run"):
            rewrite(path, tmp_path / "sample", [tmp_path / wrong])
    write_run(tmp_path / "evidence", MET)
    with pytest.raises(UsageError, match="unreadable"):
        rewrite(tmp_path / "no.md", tmp_path / "sample", [tmp_path / "evidence"])
    path.write_text("nothing here")
    with pytest.raises(UsageError, match="no row of a drill"):
        rewrite(path, tmp_path / "sample", [tmp_path / "evidence"])
    assert main([str(document(tmp_path)), str(tmp_path / "sample"), str(tmp_path / "evidence")]) == 0
