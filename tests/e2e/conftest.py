"""Real drills, held as a user holds them: pytest in a process of its own, on real clusters."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import IO, Any

import pytest
from drills.fixtures import engine as engines
from drills.fixtures.engine import Engine
from drills.fixtures.images.store import prepare

from drills.waiting import wait_until

from .changed import chosen
from .footprint import footprint

ROOT = Path(__file__).parents[2]
FOUNDING = [f"scenarios/test_{name}.py" for name in ("etcd_wipe", "namespace_deletion", "node_drain", "pod_kill")]
CHOSEN = chosen(ROOT, FOUNDING)
AT_ONCE = 2
"""So many runs at a time: three clusters want more inotify instances than many kernels allow a user, 128."""


@dataclass(frozen=True)
class Held:
    """A run that is over."""

    code: int
    output: str
    evidence: Path

    @property
    def directory(self) -> Path:
        return (self.evidence / "latest").resolve()

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return {path.parent.name: json.loads(path.read_text()) for path in sorted(self.directory.glob("*/record.json"))}

    @property
    def verdicts(self) -> dict[str, str]:
        return {name: record["verdict"] for name, record in self.records.items()}


def pytest_configure() -> None:
    """Let SIGTERM end these tests in order, and the runs that they hold."""
    signal.signal(signal.SIGTERM, _terminated)


def pytest_report_header() -> list[str]:
    """Say which drills will be held, and why."""
    return CHOSEN.lines()


def _terminated(number: int, _: object) -> None:
    raise KeyboardInterrupt(f"signal {number}")


def command(*arguments: str, evidence: Path, scenarios: Sequence[str] = FOUNDING) -> list[str]:
    return [sys.executable, "-m", "pytest", *scenarios, "--evidence-dir", str(evidence), *arguments]


def hold(*arguments: str, evidence: Path, timeout_s: float = 1500, scenarios: Sequence[str] = FOUNDING) -> Held:
    return hold_beside_each_other({evidence: arguments}, timeout_s=timeout_s, scenarios=scenarios)[0]


def hold_beside_each_other(
    runs: Mapping[Path, Sequence[str]], *, timeout_s: float = 1500, scenarios: Sequence[str] = FOUNDING
) -> list[Held]:
    """Hold a run for each evidence directory, with the arguments that it is given; no more than AT_ONCE at a time."""
    deadline = time.monotonic() + timeout_s
    with ExitStack() as started:
        outputs: dict[Path, IO[str]] = {}
        processes: dict[Path, subprocess.Popen[bytes]] = {}
        for evidence, arguments in runs.items():
            wait_until(
                lambda: sum(process.poll() is None for process in processes.values()) < AT_ONCE,
                what="a run is over, so that the next may begin",
                within_s=max(0.1, deadline - time.monotonic()),
            )
            outputs[evidence] = started.enter_context(tempfile.TemporaryFile("w+"))
            processes[evidence] = subprocess.Popen(
                command(*arguments, evidence=evidence, scenarios=scenarios),
                cwd=ROOT, env=environment(), stdout=outputs[evidence], stderr=subprocess.STDOUT,
            )  # fmt: skip
            started.callback(_end, processes[evidence])
        held = []
        for evidence, process in processes.items():
            process.wait(max(0.0, deadline - time.monotonic()))
            outputs[evidence].seek(0)
            held.append(Held(process.returncode, outputs[evidence].read(), evidence))
            sys.stdout.write(held[-1].output)  # pytest shows it where a test fails
        return held


def _end(process: subprocess.Popen[bytes]) -> None:
    if process.poll() is None:
        process.terminate()  # and not kill: it has clusters to delete
        process.wait(240)


def environment() -> dict[str, str]:
    """What a user's shell would give: nothing of the pytest that runs these tests."""
    return {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "DRILLS_", "COV_"))}


def drills(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "drills.command", *arguments],
        cwd=ROOT, env=environment(), capture_output=True, text=True, timeout=300, check=False,
    )  # fmt: skip


@pytest.fixture(scope="session")
def engine() -> Iterator[Engine]:
    with engines.engine() as found:
        prepare(found)
        yield found


@pytest.fixture(scope="session", autouse=True)
def nothing_is_left(engine: Engine) -> Iterator[None]:
    before = footprint(engine)
    yield
    assert footprint(engine).beyond(before) == {}


@pytest.fixture(scope="session")
def held(tmp_path_factory: pytest.TempPathFactory, engine: Engine) -> Held:
    """The founding drills, held once; several modules look into what they left."""
    return hold("--durations=0", evidence=tmp_path_factory.mktemp("founding"))
