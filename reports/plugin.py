"""The pytest side of the reports: written when the session ends, and closed with a table.

fixtures/ and reports/ do not know each other. What they share is one attribute of pytest's config, which the
fixtures' plugin sets: `config.drills_run`, with `.dir` (the run's directory) and `.evidence_dir`. Without it this
plugin does nothing, and loads nothing: pandas and matplotlib cost every pytest start a second, so the hooks import
them. Under pytest-xdist only the controller writes, after all workers are done, from the records on disk.
"""

from pathlib import Path
from typing import Protocol

import pytest
from _pytest.terminal import TerminalReporter


class RunAtHand(Protocol):
    """What the fixtures' plugin leaves at `config.drills_run`, as far as it is used here."""

    dir: Path
    evidence_dir: Path


_FAILURES = pytest.StashKey[list[str]]()


def run_at_hand(config: pytest.Config) -> RunAtHand | None:
    """Give the session's run when it is this process that reports it and a drill was begun."""
    if hasattr(config, "workerinput"):
        return None
    run: RunAtHand | None = getattr(config, "drills_run", None)
    return run if run is not None and any(run.dir.glob("*/history.jsonl")) else None


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports once everything else, the last record included, is on disk."""
    run = run_at_hand(session.config)
    if run is None:
        return
    from .writing import ReportsFailed, write_reports

    try:
        write_reports(run.dir, run.evidence_dir)
    except ReportsFailed as failed:
        # Told in the summary, in red: raising here would bury the verdicts under an internal error of pytest.
        session.config.stash[_FAILURES] = [
            f"{'; '.join(getattr(failure, '__notes__', []))}: {type(failure).__name__}: {failure}"
            for failure in failed.exceptions
        ]


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Close with the table of what was achieved, and say loudly which report could not be written."""
    run = run_at_hand(config)
    if run is None:
        return
    from .terminal import closing_table

    terminal = terminalreporter.hasmarkup
    width = terminalreporter._tw.fullwidth if terminal else None
    terminalreporter.section("disaster recovery drills")
    terminalreporter.write(closing_table(run.dir, terminal=terminal, width=width))
    for failure in config.stash.get(_FAILURES, []):
        terminalreporter.write_line(f"REPORT FAILED {failure}", red=True, bold=True)
