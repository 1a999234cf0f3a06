"""The pytest side of the reports: written when the session ends, and closed with a table.

fixtures/ and reports/ do not know each other. What they share is one attribute of pytest's config, which the
fixtures' plugin sets: `config.drills_run`, with `.dir` (the run's directory), `.evidence_dir`, and `.redacted` (the
files that a secret was taken out of when the run ended). Without it this plugin does nothing, and loads nothing: pandas
and matplotlib cost every pytest start a second, so the hooks import them. Under pytest-xdist only the controller
writes, after all workers are done, from the records on disk.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

import pytest
from _pytest.terminal import TerminalReporter

from drills.texts import line

if TYPE_CHECKING:
    from .results import Results


class RunAtHand(Protocol):
    """What the fixtures' plugin leaves at `config.drills_run`, as far as it is used here."""

    dir: Path
    evidence_dir: Path
    redacted: Sequence[str]


_FAILURES = pytest.StashKey[list[str]]()
_RESULTS: "pytest.StashKey[Results]" = pytest.StashKey()
_SEALED = pytest.StashKey[list[str]]()
_CHECKPOINT = pytest.StashKey[Path]()


def run_at_hand(config: pytest.Config) -> RunAtHand | None:
    """Give the session's run when it is this process that reports it and a drill was begun."""
    run = _begun(config)
    return run if run is not None and any(run.dir.glob("*/history.jsonl")) else None


def _begun(config: pytest.Config) -> RunAtHand | None:
    """Give the session's run when it is this process that ends it, also if no drill was held in it."""
    run: RunAtHand | None = None if hasattr(config, "workerinput") else getattr(config, "drills_run", None)
    return run


@pytest.hookimpl(trylast=True)
def pytest_sessionfinish(session: pytest.Session) -> None:
    """Write the reports once everything else, the last record included, is on disk; then seal the run."""
    run = _begun(session.config)
    if run is None:
        return
    try:
        if run_at_hand(session.config) is not None:
            _write_reports(session.config, run)
    finally:
        _seal(session, run)


def _write_reports(config: pytest.Config, run: RunAtHand) -> None:
    from .writing import ReportsFailed, write_reports

    try:
        write_reports(run.dir, run.evidence_dir)
    except ReportsFailed as failed:
        # Told in the summary, in red: raising here would bury the verdicts under an internal error of pytest.
        config.stash[_FAILURES] = [
            f"{'; '.join(getattr(failure, '__notes__', []))}: {type(failure).__name__}: {failure}"
            for failure in failed.exceptions
        ]
    _tell_the_ci(config, run)


def _seal(session: pytest.Session, run: RunAtHand) -> None:
    """Seal the run. Where that fails, no exit code says that all is well; one that says worse stays."""
    from drills.errors import DrillError
    from drills.seal import Options, seal

    config = session.config
    given = (config.getoption(name, None) for name in ("drill_keys", "drill_tsa", "drill_evidence_bucket"))
    told = config.stash[_SEALED] = []
    try:
        sealed = seal(run.dir, run.evidence_dir, Options.parse(*given), run.redacted)
    except (DrillError, OSError) as failure:
        told.append(f"SEAL FAILED {failure}")
    else:
        told += [f"SEALED, BUT {trouble}" for trouble in sealed.troubles]
        told += [f"REDACTED a secret was taken out of {name}" for name in sealed.redacted]
        if sealed.checkpoint is not None:
            config.stash[_CHECKPOINT] = sealed.checkpoint
    if any(line.startswith("SEAL") for line in told) and session.exitstatus == 0:
        session.exitstatus = 3


def _tell_the_ci(config: pytest.Config, run: RunAtHand) -> None:
    """Put the summary on the CI job's own page; a page that cannot be written to is told like any other report."""
    from .results import read_results
    from .summary import publish_summary

    config.stash[_RESULTS] = read_results(run.dir, run.evidence_dir)
    try:
        publish_summary(config.stash[_RESULTS])
    except OSError as failure:
        told = f"while writing the job's summary: {type(failure).__name__}: {failure}"
        config.stash[_FAILURES] = [*config.stash.get(_FAILURES, []), told]


def pytest_terminal_summary(terminalreporter: TerminalReporter, config: pytest.Config) -> None:
    """Close with the table of what was achieved, and say loudly what could not be written or sealed."""
    run = run_at_hand(config)
    if run is not None:
        _tell_results(terminalreporter, config, run)
    for told in config.stash.get(_SEALED, []):
        terminalreporter.write_line(line(told), red=True, bold=True)
    if _CHECKPOINT in config.stash:
        terminalreporter.write_line(f"sealed; keep a copy somewhere else: {config.stash[_CHECKPOINT]}")


def _tell_results(terminalreporter: TerminalReporter, config: pytest.Config, run: RunAtHand) -> None:
    from .annotations import annotations
    from .results import read_results
    from .terminal import closing_table

    results = config.stash.get(_RESULTS, None) or read_results(run.dir)
    terminal = terminalreporter.hasmarkup
    width = terminalreporter._tw.fullwidth if terminal else None
    terminalreporter.section("disaster recovery drills")
    terminalreporter.write(closing_table(run.dir, results, terminal=terminal, width=width))
    for failure in config.stash.get(_FAILURES, []):
        terminalreporter.write_line(line(f"REPORT FAILED {failure}"), red=True, bold=True)
    for each in annotations(results, config.rootpath):
        terminalreporter.write_line(each)  # without colours: the runner looks for `::` where a line begins
