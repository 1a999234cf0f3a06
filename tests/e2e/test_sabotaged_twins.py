"""A drill that cannot fail proves nothing: without its fault it is INCONCLUSIVE, with a broken procedure MISSED."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from drills.reports.held import hasty
from drills.reports.view import View

from .conftest import Held, hold_beside_each_other
from .test_founding_drills import ALL, ETCD, NAMESPACE, NODE


@pytest.fixture(scope="module")
def without_fault(tmp_path_factory: pytest.TempPathFactory) -> list[Held]:
    return without(
        "fault",
        "--drill-damage-within",
        {"10s": "etcd or dead or pod_kill", "40s": "drained or namespace"},
        tmp_path_factory,
    )


@pytest.fixture(scope="module")
def without_procedure(tmp_path_factory: pytest.TempPathFactory) -> list[Held]:
    return without(
        "procedure",
        "--drill-recovered-within",
        {"90s": "etcd", "75s": "dead or namespace", "30s": "drained or pod_kill"},
        tmp_path_factory,
    )


def without(part: str, bound: str, drills: dict[str, str], folders: pytest.TempPathFactory) -> list[Held]:
    """Hold the twins in several runs at once: they say nothing of times, so they may share the machine.

    Args:
        part: what is left out.
        bound: the option that bounds what is waited for.
        drills: which drills to hold with which bound; one is no shorter than what the drill in earnest takes.
        folders: where the evidence goes.

    """
    return hold_beside_each_other(
        {
            folders.mktemp(f"without-{part}"): ("--drill-sabotage", part, bound, within, "-k", which)
            for within, which in drills.items()
        }
    )


def record(runs: list[Held], drill: str) -> dict[str, Any]:
    (found,) = [one.records[drill] for one in runs if drill in one.records]
    return found


def directory(runs: list[Held], drill: str) -> Path:
    return next(run.directory / drill for run in runs if drill in run.records)


def verdicts(runs: list[Held]) -> list[tuple[str, str]]:
    return sorted(verdict for run in runs for verdict in run.verdicts.items())


def test_fault_that_does_nothing_proves_nothing(without_fault: list[Held]) -> None:
    assert verdicts(without_fault) == [(drill, "INCONCLUSIVE") for drill in sorted(ALL)]
    assert {run.code for run in without_fault} == {3}


@pytest.mark.parametrize("drill", sorted(ALL))
def test_record_says_that_no_damage_was_seen(without_fault: list[Held], drill: str) -> None:
    seen = record(without_fault, drill)
    assert seen["fault"]["proof"] == []
    assert seen["sabotage"] == ["fault"]
    assert "no damage" in seen["why"].lower() or "no effect" in seen["why"].lower(), seen["why"]


def test_broken_procedure_misses_the_objective(without_procedure: list[Held]) -> None:
    assert verdicts(without_procedure) == [(drill, "MISSED") for drill in sorted(ALL)]
    assert {run.code for run in without_procedure} == {1}


@pytest.mark.parametrize("drill", sorted(ALL))
def test_fault_of_a_missed_drill_was_real(without_procedure: list[Held], drill: str) -> None:
    missed = record(without_procedure, drill)
    assert missed["fault"]["proof"]
    assert missed["sabotage"] == ["procedure"]


@pytest.mark.parametrize("drill", sorted(ALL))
def test_no_twin_gave_up_sooner_than_the_drill_in_earnest_was_done(
    held: Held, without_fault: list[Held], without_procedure: list[Held], drill: str
) -> None:
    met = View.of(held.records[drill])
    assert hasty(View.of(record(without_fault, drill)), met) == ""
    assert hasty(View.of(record(without_procedure, drill)), met) == ""


def test_velero_says_completed_and_the_data_is_gone(without_procedure: list[Held]) -> None:
    missed = record(without_procedure, NAMESPACE)
    identity = missed["backup"].get("identity", missed["backup"])
    assert (identity["phase"], identity["volumes"]) == ("Completed", 0)
    said = (directory(without_procedure, NAMESPACE) / "commands.log").read_text()
    assert "Restore completed with status: Completed" in said


def test_dead_node_did_come_back(without_procedure: list[Held]) -> None:
    """The drill cleans up after itself also when it misses: else the next drill of the shared cluster would suffer."""
    events = (directory(without_procedure, NODE) / "history.jsonl").read_text()
    assert '"state": "healed"' in events
    assert record(without_procedure, ETCD)
