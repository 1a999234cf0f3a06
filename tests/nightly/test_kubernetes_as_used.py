"""Kubernetes and Velero as people use them, on real clusters: `make nightly`. It takes about a quarter of an hour."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ..e2e.conftest import Held, hold


@pytest.fixture(scope="module")
def held(tmp_path_factory: pytest.TempPathFactory) -> Held:
    scenarios = [str(Path(__file__).with_name("as_used.py"))]
    return hold(evidence=tmp_path_factory.mktemp("evidence"), timeout_s=3600, scenarios=scenarios)


def record(held: Held, drill: str) -> dict[str, Any]:
    return held.records[drill]


def steps(held: Held, drill: str) -> dict[str, str]:
    return {one["name"]: one.get("state", "ended") for one in record(held, drill)["procedure"]["steps"]}


@pytest.mark.parametrize(
    "drill",
    [
        "deployment_with_a_claim_is_restored",
        "backup_is_found_by_what_it_holds_all",
        "backup_is_found_by_what_it_holds_label",
    ],
)
def test_a_deployment_with_a_claim_comes_back(held: Held, drill: str) -> None:
    found = record(held, drill)
    assert found["verdict"] in ("MET", "INCONCLUSIVE"), found[
        "why"
    ]  # no ledger watches the claim, which the verdict says
    assert {"restore the backup", "wait for the volumes' data", "wait for the workload"} <= steps(held, drill).keys()
    assert all(check["ok"] for check in found["checks"])
    assert found["phases"][-1]["name"] == "ended"
    assert any(phase["name"] == "stable" for phase in found["phases"])


def test_a_volume_that_was_skipped_is_a_miss(held: Held) -> None:
    found = record(held, "volume_that_velero_skips_is_missed")
    assert found["verdict"] == "MISSED"
    assert "data: a hostPath volume, which Velero skips" in found["why"]
    assert found["backup"]["claims_missing"] == "data"


@pytest.mark.parametrize(
    ("drill", "verdict", "why"),
    [
        ("node_port_that_is_taken_is_named", "MISSED", "30003: provided port is already allocated"),
        ("namespace_that_is_held_names_what_holds_it", "INCONCLUSIVE", "example.org/hold"),
        ("budget_that_forbids_a_drain_is_named", "INCONCLUSIVE", "/never allows no disruption: 1 healthy, 1 wanted"),
        ("image_that_nobody_has_is_named", "INCONCLUSIVE", 'ErrImagePull: failed to pull and unpack image "registry.e'),
    ],
)
def test_the_cause_is_named_on_one_line(held: Held, drill: str, verdict: str, why: str) -> None:
    found = record(held, drill)
    assert (found["verdict"], why in found["why"]) == (verdict, True), found["why"]
    assert len(found["why"]) < 1500
    if verdict == "INCONCLUSIVE":
        assert found["achieved"]["rta_s"] is None


@pytest.mark.parametrize("strategy", ["ondelete", "partition"])
def test_older_replicas_are_no_miss(held: Held, strategy: str) -> None:
    found = record(held, f"older_replicas_are_ready_{strategy}")
    assert found["verdict"] == "MET", found["why"]


def test_what_was_left_spoils_nothing_and_is_named(held: Held) -> None:
    leaver = record(held, "one_leaves_a_webhook_a_namespace_and_a_node_port")
    (note,) = [one for one in leaver["notes"] if "did not leave the shared cluster as it was" in one]
    for left in ("Namespace fixed", "Service fixed/web (node port 30001)", "ValidatingWebhookConfiguration gate"):
        assert left in note
    after = record(held, "the_next_one_is_not_spoilt")
    assert after["verdict"] == "MET", after["why"]
    assert any("drill one_leaves_a_webhook" in one for one in after["notes"])


def test_no_other_drill_left_anything(held: Held) -> None:
    leavers = [
        name
        for name, found in held.records.items()
        if any("did not leave the shared cluster as it was" in note for note in found.get("notes") or [])
    ]
    assert leavers == ["one_leaves_a_webhook_a_namespace_and_a_node_port"]
