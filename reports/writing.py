"""All reports of a run, each for itself: a report that fails takes neither the verdict nor another report with it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from drills.errors import UsageError

from .allure import write_allure
from .frame import COLUMNS, Evidence, read_evidence
from .junit import write_junit
from .page import load_events, write_page
from .picture import save_png
from .timeline import draw_timeline
from .trend import write_trend
from .view import View, read_run


class ReportsFailed(ExceptionGroup[Exception]):
    """Some reports of a run could not be written; `written` are those that were."""

    written: Sequence[Path] = ()


def write_reports(run_dir: Path, evidence_dir: Path) -> list[Path]:
    """Write every report of a run and return their places.

    A timeline.png beside each record, and in the run's directory trend.png (over all runs of the evidence directory),
    report.html, junit.xml and allure-results. Each is written whole or not at all; writing them again replaces them.

    Raises:
        UsageError: `run_dir` is no directory of a run. ReportsFailed: one or more reports failed, after all others
        were written; each exception says in a note which it was.

    """
    if not run_dir.is_dir():
        raise UsageError(
            f"run: found {run_dir}, which is no directory; accepted: a run's directory, its name, or latest"
        )
    written: list[Path] = []
    failures: list[Exception] = []

    def attempt(name: str, write: Callable[[], Path]) -> None:
        try:
            written.append(write())
        except Exception as failure:  # noqa: BLE001 - kept and raised together below, so that one bug costs one report
            failure.add_note(f"while writing {name} of {run_dir}")
            failures.append(failure)

    views, _ = read_run(run_dir)
    for view in views:
        if view.place is not None and view.place.with_name("history.jsonl").is_file():
            attempt(f"{view.drill}/timeline.png", lambda view=view: write_timeline(view))  # type: ignore[misc]
    honest = pd.DataFrame(columns=list(COLUMNS))
    try:
        honest = _evidence(evidence_dir, run_dir).honest()
    except Exception as failure:  # noqa: BLE001 - as above
        failure.add_note(f"while reading {evidence_dir} for the trend")
        failures.append(failure)
    attempt("trend.png", lambda: write_trend(honest, run_dir / "trend.png"))
    attempt("report.html", lambda: write_page(run_dir, honest))
    attempt("junit.xml", lambda: write_junit(run_dir))
    attempt("allure-results", lambda: write_allure(run_dir))
    if failures:
        group = ReportsFailed(f"{len(failures)} of the reports of {run_dir} could not be written", failures)
        group.written = written
        raise group
    return written


def write_timeline(view: View) -> Path:
    """Write timeline.png beside a record from its history.

    Raises UsageError when the record has no place or its history cannot be read.
    """
    events = load_events(view)
    if view.place is None:
        raise UsageError("timeline: found a record without a place; accepted: one read from a run's directory")
    return save_png(draw_timeline(view, events), view.place.with_name("timeline.png"))


def _evidence(evidence_dir: Path, run_dir: Path) -> Evidence:
    """Read the evidence directory; a run that was copied out of one is a history of its own."""
    if run_dir.resolve().parent == evidence_dir.resolve():
        return read_evidence(evidence_dir)
    return read_evidence(evidence_dir if evidence_dir.is_dir() else run_dir.parent)
