"""The sub-commands `drills report`, `drills trend` and `drills recheck`.

Exit codes: 0 done (for recheck: nothing differs), 1 recheck found a difference, 2 bad input, 3 a report could not be
written. What a past run achieved does not change them: a missed run's report that could be written was written.
"""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn

import typer
from rich import box
from rich.console import Console
from rich.table import Table

from drills.errors import UsageError

from .recheck import Recheck, recheck_run
from .terminal import closing_table
from .view import Problem
from .words import bounds, objective, seconds

if TYPE_CHECKING:
    from .frame import Evidence

EVIDENCE_DIR = Path("evidence")

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="[RUN_DIR|latest]", help="A run's directory, its name in the evidence directory, or latest."
    ),
]
RunsArgument = Annotated[
    str,
    typer.Argument(
        metavar="[RUN_DIR|latest|all]", help="A run's directory, its name in the evidence directory, latest, or all."
    ),
]
EvidenceOption = Annotated[
    Path | None,
    typer.Option("--evidence-dir", help="Where the runs' evidence is. [default: ./evidence, or where RUN_DIR lies]"),
]


def register(app: typer.Typer) -> None:
    """Add this package's sub-commands to `drills`; called through the entry-point group `drills.commands`."""
    app.command()(report)
    app.command()(trend)
    app.command()(recheck)


def report(run: RunArgument = "latest", evidence_dir: EvidenceOption = None) -> None:
    """Write a run's reports again: report.html, pictures, junit.xml, allure-results."""
    from .writing import ReportsFailed, write_reports  # here: pandas and matplotlib would slow every other command down

    try:
        run_dir, evidence = find_run(run, evidence_dir)
        written = write_reports(run_dir, evidence)
    except UsageError as error:
        _refuse(error)
    except ReportsFailed as failed:
        for failure in failed.exceptions:
            notes = "; ".join(getattr(failure, "__notes__", []))
            typer.echo(f"REPORT FAILED {notes}: {type(failure).__name__}: {failure}", err=True)
        typer.echo(f"{len(failed.written)} reports were written", err=True)
        raise typer.Exit(3) from failed
    typer.echo(closing_table(run_dir, terminal=sys.stdout.isatty()), nl=False)
    for path in written:
        typer.echo(f"written: {path}")


def trend(
    evidence_dir: EvidenceOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The picture. [default: trend.png in the evidence directory]")
    ] = None,
) -> None:
    """Draw RTA and RPA against their objectives over all runs, and print the newest run of each drill."""
    from .frame import read_evidence
    from .trend import write_trend

    try:
        directory = evidence_dir or EVIDENCE_DIR
        evidence = read_evidence(directory)
        target = out or directory / "trend.png"
        write_trend(evidence.honest(), _writable(target))
    except UsageError as error:
        _refuse(error)
    _print(_newest(evidence))
    _name_problems(evidence.problems)
    typer.echo(f"written: {target}")


def recheck(runs: RunsArgument = "all", evidence_dir: EvidenceOption = None) -> None:
    """Judge stored histories again with today's code; exit 1 when a verdict or a record differs."""
    found = Recheck()
    try:
        for run_dir in _runs(runs, evidence_dir):
            recheck_run(run_dir, found)
    except UsageError as error:
        _refuse(error)
    for folder in found.cut_off:
        typer.echo(f"never judged: {folder} has a history and no record, so its run was cut off")
    if not found.differences:
        typer.echo(f"{found.judged} {'record' if found.judged == 1 else 'records'} judged again, no difference")
        return
    table = _grid("run", "drill", "field", "recorded", "today")
    for each in sorted(found.differences, key=lambda each: (each.run, each.drill, each.field != "verdict")):
        table.add_row(each.run, each.drill, each.field, each.recorded, each.today)
    _print(table)
    changed = len({(each.run, each.drill) for each in found.differences})
    typer.echo(f"{found.judged} records judged again, {changed} {'differs' if changed == 1 else 'differ'}")
    raise typer.Exit(1)


def find_run(run: str, evidence_dir: Path | None) -> tuple[Path, Path]:
    """Find a run by path, by name or as `latest`; returns its directory and the evidence directory it is compared with.

    Raises UsageError when there is none.
    """
    evidence = evidence_dir or EVIDENCE_DIR
    in_evidence, as_path = evidence / run, Path(run)
    chosen = in_evidence if in_evidence.is_dir() else as_path
    if not chosen.is_dir():
        raise UsageError(
            f"run: found {run!r}, which is neither a directory nor a run in {evidence}; accepted: {_accepted(evidence)}"
        )
    resolved = chosen.resolve()  # `latest` is a link, and reports name the run itself
    if not any((resolved / name).exists() for name in ("run.json", "report.html")) and not list(
        resolved.glob("*/record.json")
    ):
        raise UsageError(
            f"run: found {chosen}, which holds neither run.json nor a record; accepted: {_accepted(evidence)}"
        )
    return resolved, evidence_dir or resolved.parent


def _writable(target: Path) -> Path:
    if not target.resolve().parent.is_dir():
        raise UsageError(f"--out: found {target}, whose directory is absent; accepted: a file in one that exists")
    return target


def _runs(runs: str, evidence_dir: Path | None) -> list[Path]:
    if runs != "all":
        return [find_run(runs, evidence_dir)[0]]
    evidence = evidence_dir or EVIDENCE_DIR
    if not evidence.is_dir():
        raise UsageError(f"--evidence-dir: found {evidence}, which is no directory; accepted: one that a run wrote")
    return sorted(entry for entry in evidence.iterdir() if entry.is_dir() and not entry.is_symlink())


def _accepted(evidence: Path) -> str:
    names = (
        sorted((entry.name for entry in evidence.glob("*/") if not entry.is_symlink()), reverse=True)
        if evidence.is_dir()
        else []
    )
    newest = f", such as {', '.join(names[:3])}" if names else ""
    return f"a run's directory, latest, or a run's name{newest}"


def _newest(evidence: "Evidence") -> Table:
    table = _grid("drill", "runs", "newest", "verdict", "RTA / RTO", "RPA / RPO")
    for name, rows in evidence.honest().groupby("drill", sort=True):
        last = rows.iloc[-1]
        rta, low, high, rto, rpa, rpo = (
            None if last[key] != last[key] else float(last[key])  # NaN alone differs from itself
            for key in ("rta_s", "low_s", "high_s", "rto_s", "rpa_s", "rpo_s")
        )
        table.add_row(
            str(name),
            str(len(rows)),
            str(last["run"]),
            str(last["verdict"]),
            f"{bounds(rta, low, high, 'none')} / {objective(rto)}",
            f"{seconds(rpa, 'none')} / {objective(rpo)}",
        )
    return table


def _grid(*columns: str) -> Table:
    table = Table(
        box=box.SIMPLE_HEAD if sys.stdout.isatty() else None, pad_edge=False, show_edge=False, header_style="bold"
    )
    for column in columns:
        table.add_column(column, overflow="fold")
    return table


def _print(table: Table) -> None:
    terminal = sys.stdout.isatty()
    console = Console(width=None if terminal else 400, highlight=False, markup=False, no_color=not terminal)
    console.print(table)


def _name_problems(problems: list[Problem]) -> None:
    for problem in problems:
        typer.echo(f"unreadable: {problem.path}: {problem.found}", err=True)


def _refuse(error: UsageError) -> NoReturn:
    typer.echo(f"error: {error}", err=True)
    raise typer.Exit(2) from error
