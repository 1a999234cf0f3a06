"""A repository with drills of its own, whose service is in memory: real pytest, real drills, no cluster."""

import json
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from drills import runs

SCRIPTED = Path(__file__).parent.parent / "unit" / "scripted.py"

CONFTEST = """
from pathlib import Path
from types import SimpleNamespace

import pytest

from scripted import Service


@pytest.fixture(scope="session")
def platform(platform):
    # The real one, as if engine, images and programs were there; nothing is started.
    vars(platform).update(engine=SimpleNamespace(kind="none", version="0", private=False), images=[], kind=Path("kind"))
    return platform


@pytest.fixture
def service():
    return Service()
"""

HEADER = """
import os
import signal

import pytest

from drills import EnvironmentFailed
from drills.ledger import Writer
from scripted import Unplugged

"""


@dataclass
class Session:
    """What one pytest session in that repository came to."""

    code: int
    output: str
    counts: dict[str, int]
    evidence: Path

    @property
    def log(self) -> list[dict[str, Any]]:
        return runs.entries(self.evidence / runs.LOG)

    @property
    def run(self) -> Path:
        """The directory of the run, of which there is one and no more."""
        (found,) = (path.parent for path in self.evidence.glob("*/run.json") if not path.parent.is_symlink())
        return found

    @property
    def about(self) -> dict[str, Any]:
        return json.loads((self.run / "run.json").read_text())

    @property
    def records(self) -> dict[str, dict[str, Any]]:
        return {path.parent.name: json.loads(path.read_text()) for path in self.run.glob("*/record.json")}

    @property
    def verdicts(self) -> dict[str, str]:
        """The verdicts of the records, which must be those of the log's END entry."""
        found = {name: record["verdict"] for name, record in self.records.items()}
        start, end, *sealed = self.log
        assert [entry["event"] for entry in sealed] in ([], ["seal"])  # sealed only where reports are written
        assert (start["event"], end["event"]) == ("start", "end")
        assert end["verdicts"] == found
        assert end["records"].keys() == {f"{name}/record.json" for name in found}
        assert end["exit_code"] == self.code
        assert runs.verify(self.evidence / runs.LOG) == []
        return found


@pytest.fixture
def project(pytester, monkeypatch):
    """The repository; `conftest` may be added to."""
    for name in ("GITHUB_ACTIONS", "GITHUB_STEP_SUMMARY"):  # the summary of the job that runs these tests is not ours
        monkeypatch.delenv(name, raising=False)
    shutil.copy(SCRIPTED, pytester.path / "scripted.py")
    pytester.makeconftest(CONFTEST)
    return pytester


@pytest.fixture
def session_of(project):
    """Runs pytest there, with a file of tests: in a process of its own, or in this one, which is faster."""

    def run(
        tests: str,
        *arguments: str,
        own_process: bool = False,
        reports: bool = False,
        shuffled: bool = False,
        more: str = "",
    ) -> Session:
        project.path.joinpath("conftest.py").write_text(CONFTEST + more)
        project.makepyfile(test_scenarios=HEADER + tests)
        start = project.runpytest_subprocess if own_process or reports else project.runpytest_inprocess
        left_out = ["cacheprovider", "hypothesispytest", *([] if reports else ["drills-reports"])]  # they take seconds
        left_out += [] if shuffled else ["randomly"]  # which many of these tests could not do with
        result = start(*(word for name in left_out for word in ("-p", f"no:{name}")), *arguments)
        output = result.stdout.str() + result.stderr.str()
        try:
            counts = result.parseoutcomes()
        except ValueError:  # a session that ran nothing says nothing
            counts = {}
        return Session(int(result.ret), output, counts, project.path / "evidence")

    return run
