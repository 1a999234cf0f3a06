"""Drills beyond the founding ones, held because a change concerns them; see changed.py."""

from __future__ import annotations

import pytest

from .conftest import CHOSEN, hold


@pytest.mark.skipif(not CHOSEN.scenarios, reason=CHOSEN.why)
def test_every_drill_that_the_change_concerns_meets_its_objectives(tmp_path_factory: pytest.TempPathFactory) -> None:
    held = hold(
        "--drill-all", "--drill-budget", CHOSEN.budget, "--durations=0",
        evidence=tmp_path_factory.mktemp("changed"), scenarios=list(CHOSEN.scenarios),
    )  # fmt: skip
    if held.code == pytest.ExitCode.NO_TESTS_COLLECTED:
        pytest.skip(f"none fits into {CHOSEN.budget}: see the output for how long each takes")
    assert held.verdicts == dict.fromkeys(held.records, "MET")
    assert held.code == 0
