"""A drill that cannot fail proves nothing: without its fault it is INCONCLUSIVE, with a broken procedure MISSED."""

from __future__ import annotations

import pytest

from .conftest import Held, hold
from .test_founding_drills import ALL, ETCD, NAMESPACE, NODE

# Twins say nothing of times, so they may share the machine, and drills that do must not come in each other's way.
TWO_AT_A_TIME = ("-n", "2", "--dist", "loadfile")


@pytest.fixture(scope="module")
def without_fault(tmp_path_factory: pytest.TempPathFactory) -> Held:
    return hold(
        "--drill-sabotage", "fault", "--drill-damage-within", "5s", *TWO_AT_A_TIME,
        evidence=tmp_path_factory.mktemp("without-fault"),
    )  # fmt: skip


@pytest.fixture(scope="module")
def without_procedure(tmp_path_factory: pytest.TempPathFactory) -> Held:
    return hold(
        "--drill-sabotage", "procedure", "--drill-recovered-within", "30s", *TWO_AT_A_TIME,
        evidence=tmp_path_factory.mktemp("without-procedure"),
    )  # fmt: skip


def test_fault_that_does_nothing_proves_nothing(without_fault: Held) -> None:
    assert without_fault.verdicts == dict.fromkeys(ALL, "INCONCLUSIVE")
    assert without_fault.code == 3


@pytest.mark.parametrize("drill", sorted(ALL))
def test_record_says_that_no_damage_was_seen(without_fault: Held, drill: str) -> None:
    record = without_fault.records[drill]
    assert record["fault"]["proof"] == []
    assert record["sabotage"] == ["fault"]
    assert "no damage" in record["why"].lower() or "no effect" in record["why"].lower(), record["why"]


def test_broken_procedure_misses_the_objective(without_procedure: Held) -> None:
    assert without_procedure.verdicts == dict.fromkeys(ALL, "MISSED")
    assert without_procedure.code == 1


@pytest.mark.parametrize("drill", sorted(ALL))
def test_fault_of_a_missed_drill_was_real(without_procedure: Held, drill: str) -> None:
    assert without_procedure.records[drill]["fault"]["proof"]
    assert without_procedure.records[drill]["sabotage"] == ["procedure"]


def test_velero_says_completed_and_the_data_is_gone(without_procedure: Held) -> None:
    record = without_procedure.records[NAMESPACE]
    identity = record["backup"].get("identity", record["backup"])
    assert (identity["phase"], identity["volumes"]) == ("Completed", 0)
    said = (without_procedure.directory / NAMESPACE / "commands.log").read_text()
    assert "Restore completed with status: Completed" in said


def test_dead_node_did_come_back(without_procedure: Held) -> None:
    """The drill cleans up after itself also when it misses: else the next drill of the shared cluster would suffer."""
    events = (without_procedure.directory / NODE / "history.jsonl").read_text()
    assert '"state": "healed"' in events
    assert ETCD in without_procedure.records
