"""Annotations for GitHub Actions: lines that its runner shows on the run's page and at the scenario's file.

Printed under `GITHUB_ACTIONS=true` only, and at most ten: of each kind GitHub keeps ten a step (actions/toolkit #734)
and drops the rest without a word, so the last line says here how many there would have been.
"""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from drills.verdicts import Verdict

from .results import Result, Results
from .words import clean, shortened

LIMIT = 10
"""The most annotations that a run prints."""

_LEVEL = {
    Verdict.MET: "notice",
    Verdict.MISSED: "error",
    Verdict.INCONCLUSIVE: "warning",
    Verdict.ENVIRONMENT: "warning",
}
_TEXT = 1000  # columns: the runner cuts longer ones


def annotations(results: Results, root: Path | None = None, environment: Mapping[str, str] = os.environ) -> list[str]:
    """Give a run's annotations: first the run's own, then a drill each, the worst first; none outside GitHub Actions.

    Args:
        results: the run.
        root: the directory from which scenarios are named; by default the current one.
        environment: variables, `GITHUB_ACTIONS` and `GITHUB_WORKSPACE` of them.

    """
    if environment.get("GITHUB_ACTIONS") != "true":
        return []
    workspace = Path(environment.get("GITHUB_WORKSPACE") or Path.cwd()).resolve()
    lines = [_command(_LEVEL[results.verdict], results.first_line, title=str(results.verdict))]
    lines += _of_drills(results, (root or Path.cwd()).resolve(), workspace)
    if len(lines) > LIMIT:
        left_out = len(lines) - (LIMIT - 1)
        lines[LIMIT - 1 :] = [_command("notice", f"{left_out} more are not annotated; the job's summary has them all.")]
    return lines


def _of_drills(results: Results, root: Path, workspace: Path) -> Iterator[str]:
    """Annotate the drills that did not meet their objectives, unreadable records, and what was worse than usual."""
    for result in results.worst_first:
        view = result.view
        if result.verdict is not Verdict.MET:
            sabotaged = " (sabotaged on purpose)" if view.sabotage else ""
            told = f"{view.title}{sabotaged}: {result.why}"
            title = f"{result.verdict}: {result.name}"
            yield _command(_LEVEL[result.verdict], told, file=_file(result, root, workspace), title=title)
    for problem in results.problems:
        told = f"{problem.path.parent.name}: {problem.found}"
        yield _command(_LEVEL[Verdict.INCONCLUSIVE], told, title=str(Verdict.INCONCLUSIVE))
    for worse in results.worse:
        yield _command("warning", worse, title="worse than usual")


def _file(result: Result, root: Path, workspace: Path) -> str:
    """Name the scenario as GitHub does, from the repository's top; empty where it lies elsewhere or is unknown."""
    scenario = result.view.scenario
    full = (root / scenario).resolve()
    return full.relative_to(workspace).as_posix() if scenario and full.is_relative_to(workspace) else ""


def _command(level: str, told: str, **properties: str) -> str:
    given = ",".join(f"{name}={_property(value)}" for name, value in properties.items() if value)
    return f"::{level}{' ' if given else ''}{given}::{_data(' '.join(told.split()))}"


def _data(text: str) -> str:
    """Escape what would end the line: its text could otherwise hold a command of its own."""
    return shortened(clean(text), _TEXT).replace("%", "%25").replace("\r", "%0D").replace("\n", "%0A")


def _property(text: str) -> str:
    return _data(text).replace(":", "%3A").replace(",", "%2C")
