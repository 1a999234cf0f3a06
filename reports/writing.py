"""All reports of a run, each for itself: a report that fails takes neither the verdict nor another report with it."""

from collections.abc import Callable, Sequence
from pathlib import Path

import pandas as pd

from drills.errors import UsageError

from .allure import write_allure
from .coverage import coverage, moment_of, plan_of, write_coverage
from .frame import COLUMNS, Evidence, read_evidence
from .incident import calls_for_one, write_incident
from .junit import write_junit
from .metrics import write_metrics
from .page import load_events, write_page
from .pdf import write_pdf
from .picture import save_png
from .repeats import write_repeats
from .series import series_of
from .summary import write_summary
from .timeline import draw_timeline
from .trend import write_trend
from .view import View, read_run


class ReportsFailed(ExceptionGroup[Exception]):
    """Some reports of a run could not be written; `written` are those that were."""

    written: Sequence[Path] = ()


def write_reports(run_dir: Path, evidence_dir: Path) -> list[Path]:
    """Write every report of a run and return their places.

    A timeline.png beside each record, and an incident.md beside each that missed; in the run's directory repeats.png
    (where drills were repeated), trend.png and coverage.html (over all runs of the evidence directory), report.html,
    report.pdf, junit.xml, summary.md, metrics.prom and allure-results. Each is written whole or not at all; writing
    them again replaces them.

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
    evidence = Evidence(pd.DataFrame(columns=list(COLUMNS)), [])
    try:
        evidence = _evidence(evidence_dir, run_dir)
    except Exception as failure:  # noqa: BLE001 - as above
        failure.add_note(f"while reading {evidence_dir} for the trend")
        failures.append(failure)
    honest = evidence.honest()
    attempt("trend.png", lambda: write_trend(honest, run_dir / "trend.png"))
    if repeated := series_of(views):
        attempt("repeats.png", lambda: write_repeats(repeated, run_dir / "repeats.png"))
    attempt("coverage.html", lambda: write_run_coverage(evidence, run_dir, evidence_dir))
    attempt("report.html", lambda: write_page(run_dir, honest, evidence_dir))
    attempt("report.pdf", lambda: write_pdf(run_dir, evidence_dir))
    for view in filter(calls_for_one, views):
        attempt(f"{view.drill}/incident.md", lambda view=view: write_incident(view))  # type: ignore[misc]
    attempt("junit.xml", lambda: write_junit(run_dir))
    attempt("summary.md", lambda: write_summary(run_dir, evidence_dir))
    attempt("metrics.prom", lambda: write_metrics(run_dir))
    attempt("allure-results", lambda: write_allure(run_dir, evidence_dir))
    if failures:
        group = ReportsFailed(f"{len(failures)} of the reports of {run_dir} could not be written", failures)
        group.written = written
        raise group
    return written


def write_run_coverage(evidence: Evidence, run_dir: Path, evidence_dir: Path) -> Path:
    """Write coverage.html: what all drills up to this run prove, by the plan that it was held by."""
    found = coverage(evidence, evidence_dir, moment_of(run_dir), plan_of(run_dir))
    return write_coverage(found, run_dir / "coverage.html")


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
