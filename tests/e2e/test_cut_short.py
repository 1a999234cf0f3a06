"""Runs that are cut short: by SIGTERM nothing is left; by SIGKILL only what `drills gc` then removes."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from drills.fixtures.engine import Engine

from drills import runs
from drills.waiting import wait_until

from .conftest import ROOT, command, drills, environment
from .footprint import footprint

WEB = "one_of_several_web_pods_is_replaced"


@contextmanager
def under_way(evidence: Path, reached: Callable[[], bool], what: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process of its own that has got so far."""
    with (evidence / "output.log").open("wb") as output:
        process = subprocess.Popen(
            command("-k", WEB, evidence=evidence), cwd=ROOT, env=environment(), stdout=output, stderr=output
        )
    try:

        def got_there() -> bool:
            assert process.poll() is None, (evidence / "output.log").read_text()
            return reached()

        wait_until(got_there, what=what, within_s=240)
        yield process
    finally:
        process.kill()
        process.wait(60)


def fault_issued(evidence: Path) -> Callable[[], bool]:
    def issued() -> bool:
        return any('"kind": "fault"' in path.read_text() for path in evidence.glob(f"*/{WEB}/history.jsonl"))

    return issued


def nodes_exist(engine: Engine) -> Callable[[], bool]:
    """kind has begun to make the cluster and is far from done."""
    return lambda: bool(engine.run("ps", "--quiet", "--filter=label=io.x-k8s.kind.cluster").stdout.split())


@pytest.mark.parametrize("moment", ["in the middle of the drill", "while the cluster is being made"])
def test_killed_run_is_collected(engine: Engine, tmp_path: Path, moment: str) -> None:
    before = footprint(engine)
    reached = fault_issued(tmp_path) if "drill" in moment else nodes_exist(engine)
    with under_way(tmp_path, reached, f"a run {moment}") as process:
        process.send_signal(signal.SIGKILL)
        process.wait(60)
        assert footprint(engine).beyond(before), "nothing was left, so that there is nothing to collect"

        collected = drills("gc")
    assert collected.returncode == 0, collected.stderr
    assert "removed: run" in collected.stdout
    assert footprint(engine).beyond(before) == {}
    again = drills("gc").stdout
    assert "removed: " not in again
    assert "nothing" in again

    (begun,) = [entry["run"] for entry in runs.entries(tmp_path / runs.LOG)]
    assert runs.unfinished(tmp_path / runs.LOG) == [begun]
    said = drills("log", "verify", "--evidence-dir", str(tmp_path))
    assert f"never ended: {begun}" in said.stdout
    assert said.returncode == 0, "a chain that was cut short by a crash is still whole"


def test_run_in_progress_is_not_collected(engine: Engine, tmp_path: Path) -> None:
    before = footprint(engine)
    with under_way(tmp_path, nodes_exist(engine), "a cluster is being made") as process:
        collected = drills("gc")
        assert "removed" not in collected.stdout
        assert process.wait(400) == 0, (tmp_path / "output.log").read_text()
    assert footprint(engine).beyond(before) == {}


@pytest.mark.parametrize("moment", ["in the middle of the drill", "while the cluster is being made"])
def test_terminated_run_leaves_nothing(engine: Engine, tmp_path: Path, moment: str) -> None:
    before = footprint(engine)
    reached = fault_issued(tmp_path) if "drill" in moment else nodes_exist(engine)
    with under_way(tmp_path, reached, f"a run {moment}") as process:
        process.send_signal(signal.SIGTERM)
        code = process.wait(180)
    assert code not in (0, -signal.SIGTERM), (tmp_path / "output.log").read_text()
    assert footprint(engine).beyond(before) == {}
    entries = runs.entries(tmp_path / runs.LOG)
    assert [entry["event"] for entry in entries][:2] == ["start", "end"]
    verdicts = [json.loads(path.read_text())["verdict"] for path in tmp_path.glob("*/*/record.json")]
    assert "MET" not in verdicts
