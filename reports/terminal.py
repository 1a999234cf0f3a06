"""The table a run closes with: on a terminal with colours and lines, anywhere else plain, one row a line, never cut."""

import io
from collections.abc import Sequence
from pathlib import Path

from rich import box
from rich.console import Console
from rich.text import Text

from drills import twins
from drills.screen import Grid
from drills.verdicts import Verdict

from .cells import point_beside_objective, time_beside_objective
from .headline import counted
from .palette import VERDICT_SIGN, VERDICT_WORD
from .results import Results, read_results
from .view import View
from .words import NOT_MEASURED, line

_STYLE = {
    Verdict.MET: "bold blue",
    Verdict.MISSED: "bold red",
    Verdict.INCONCLUSIVE: "bold yellow",
    Verdict.ENVIRONMENT: "bold magenta",
}


def closing_table(
    run_dir: Path, results: Results | None = None, *, terminal: bool = False, width: int | None = None
) -> str:
    """Give the closing table of a run as text, from the records on disk; one that cannot be read is named below it.

    Args:
        run_dir: the run's directory; the text says where it is.
        results: what was read of it already.
        terminal: whether colours and lines are wanted; without, the text is plain and as wide as it needs.
        width: columns of the terminal; measured when absent.
    """
    results = results or read_results(run_dir)
    views, problems = results.views, results.problems
    out = io.StringIO()
    console = Console(
        file=out,
        force_terminal=terminal,
        no_color=not terminal,
        width=width if terminal else 400,
        highlight=False,
        markup=False,
        emoji=False,
        legacy_windows=False,
    )
    summary = results.headline
    console.print(Text(line(summary.line), style=_STYLE[summary.verdict]))
    if summary.remark:
        console.print(line(summary.remark))
    if views:
        console.print(_table(views, terminal=terminal, with_twins=results.with_twins))
    for series in results.repeated:
        console.print(line(f"repeats: {series.words}"), soft_wrap=True)
    if any(series.caution for series in results.repeated):
        console.print(results.repeated[0].caution)
    counted = ", ".join(f"{number} {standing}" for standing, number in results.standings().items())
    if counted:
        console.print(line(f"standing: {counted}{_gaps(results)}"))
    for worse in results.worse:
        console.print(line(f"worse than usual: {worse}"), soft_wrap=True)
    for problem in problems:
        console.print(line(f"unreadable: {problem.path}: {problem.found}"))
    console.print(line(f"evidence: {run_dir}"), soft_wrap=True)
    report = run_dir / "report.html"
    if report.is_file():
        console.print(line(f"report:   {report}"), soft_wrap=True)
    return "\n".join(each.rstrip() for each in out.getvalue().splitlines()) + "\n"


def _gaps(results: Results) -> str:
    gaps = len({gap for result in results.drills for gap in result.missing})
    return f" ({gaps} fields that nobody supplied; `drills validate` names them)" if gaps else ""


def _table(views: Sequence[View], *, terminal: bool, with_twins: bool) -> Grid:
    table = Grid(box=box.SIMPLE_HEAD if terminal else None, pad_edge=False, show_edge=False, header_style="bold")
    table.add_column("scenario", overflow="fold")
    table.add_column("verdict", no_wrap=True)
    table.add_column("RTA / RTO")
    table.add_column("RPA / RPO")
    table.add_column("writes lost", justify="right")
    for view in views:
        counts = counted(view, with_twins=with_twins)
        lost, acknowledged = view.writes("lost"), view.writes("acknowledged")
        table.add_row(
            view.label + _sabotaged(view, with_twins=with_twins),
            Text(f"{VERDICT_SIGN[counts]} {VERDICT_WORD[view.verdict]}", style=_STYLE[counts]),
            time_beside_objective(view),
            point_beside_objective(view),
            NOT_MEASURED if lost is None or acknowledged is None else f"{lost} of {acknowledged}",
        )
    return table


def _sabotaged(view: View, *, with_twins: bool) -> str:
    if not view.sabotage:
        return ""
    return f" (without {twins.told(view.sabotage)})" if with_twins else " (sabotaged)"
