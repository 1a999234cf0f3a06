"""The sub-commands `drills report`, `drills trend` and `drills recheck`.

Exit codes: 0 done (for recheck: nothing differs), 1 recheck found a difference, 2 bad input, 3 a report could not be
written or a run not be read. What a past run achieved does not change them: a missed run's report that could be written
was written.
"""

import shutil
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.table import Table

from drills.errors import UsageError

from . import programme_commands
from .console import EVIDENCE_DIR, EvidenceOption, RunArgument, find_run, grid, print_table, refuse, say, writable
from .recheck import Recheck, recheck_run
from .results import read_results
from .terminal import closing_table
from .view import Problem
from .words import bounds, objective, seconds

if TYPE_CHECKING:
    import pandas as pd

RunsArgument = Annotated[
    str,
    typer.Argument(
        metavar="[RUN_DIR|latest|all]", help="A run's directory, its name in the evidence directory, latest, or all."
    ),
]


def register(app: typer.Typer) -> None:
    """Add this package's sub-commands to `drills`; called through the entry-point group `drills.commands`."""
    app.command()(report)
    app.command()(trend)
    app.command()(forget)
    app.command()(recheck)
    programme_commands.register(app)


def report(
    run: RunArgument = "latest",
    evidence_dir: EvidenceOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="Write them into a copy of the run, made below this directory.")
    ] = None,
) -> None:
    """Write a run's reports again; those of a sealed run into a copy, as nothing in a sealed run may change."""
    from .writing import ReportsFailed, write_reports  # here: pandas and matplotlib would slow every other command down

    try:
        run_dir, evidence = find_run(run, evidence_dir)
        run_dir = _copy(run_dir, out) if out else _unsealed(run_dir)
        written = write_reports(run_dir, evidence)
    except UsageError as error:
        refuse(error)
    except ReportsFailed as failed:
        for failure in failed.exceptions:
            notes = "; ".join(getattr(failure, "__notes__", []))
            say(f"REPORT FAILED {notes}: {type(failure).__name__}: {failure}", err=True)
        say(f"{len(failed.written)} reports were written", err=True)
        raise typer.Exit(3) from failed
    typer.echo(closing_table(run_dir, read_results(run_dir, evidence), terminal=sys.stdout.isatty()), nl=False)
    for path in written:
        say(f"written: {path}")


def trend(
    evidence_dir: EvidenceOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The picture. [default: trend.png in the evidence directory]")
    ] = None,
) -> None:
    """Draw RTA and RPA against their objectives over all runs; print each drill's newest, and what got worse."""
    from .frame import TREND, latest_line, read_evidence
    from .regression import newest_regressions
    from .trend import write_trend

    try:
        directory = evidence_dir or EVIDENCE_DIR
        evidence = read_evidence(directory, TREND).vouched(directory)
        target = out or directory / "trend.png"
        honest = evidence.honest()
        worse = newest_regressions(honest)
        write_trend(honest, writable(target), worse)
    except UsageError as error:
        refuse(error)
    say(latest_line(honest))
    print_table(_newest(honest))
    for found in worse.values():
        for each in found:
            say(f"worse than usual: {each.words}")
    _name_problems(evidence.problems)
    for told in evidence.set_aside:
        say(f"set aside: {told}")
    for problem in evidence.contradictions:
        say(f"contradicts the log: {problem.path}: {problem.found}", err=True)
    say(f"written: {target}")


def forget(
    drill: Annotated[str, typer.Argument(metavar="DRILL", help="The drill's name, as `drills trend` prints it.")],
    why: Annotated[str, typer.Option("--why", help="The reason; it is kept in the log.")],
    evidence_dir: EvidenceOption = None,
) -> None:
    """Set a drill aside that is no longer run: trends and coverage leave its runs up to now out, and say so."""
    from . import forgotten  # here: pandas would slow every other command down
    from .frame import TREND, read_evidence

    evidence = evidence_dir or EVIDENCE_DIR
    try:
        found = forgotten.forget(evidence, drill, why, read_evidence(evidence, TREND).table)
    except UsageError as error:
        refuse(error)
    say(f"set aside: {found.drill}, by {found.by}: {found.why}; its runs and the log stay as they are")


def recheck(runs: RunsArgument = "all", evidence_dir: EvidenceOption = None) -> None:
    """Judge stored histories again with today's code.

    Exit code 1 when a verdict or a record differs, 3 when a run cannot be read.
    """
    found = Recheck()
    try:
        for run_dir in _runs(runs, evidence_dir):
            try:
                recheck_run(run_dir, found)
            except OSError as error:  # of one run, which says nothing of the others
                found.unreadable.append(f"{error.filename or run_dir}: {error.strerror or error}")
    except UsageError as error:
        refuse(error)
    for problem in found.unreadable:
        say(f"Error: {problem}: cannot be read, so it was not judged again", err=True)
    for folder in found.cut_off:
        say(f"never judged: {folder} has a history and no record, so its run was cut off")
    if not found.differences:
        say(f"{found.judged} {'record' if found.judged == 1 else 'records'} judged again, no difference")
        if found.unreadable:
            raise typer.Exit(3)
        return
    table = grid("run", "drill", "field", "recorded", "today")
    for each in sorted(found.differences, key=lambda each: (each.run, each.drill, each.field != "verdict")):
        table.add_row(each.run, each.drill, each.field, each.recorded, each.today)
    print_table(table)
    for verdict in found.changed:
        typer.echo(str(verdict))
    changed = len({(each.run, each.drill) for each in found.differences})
    say(f"{found.judged} records judged again, {changed} {'differs' if changed == 1 else 'differ'}")
    raise typer.Exit(1)


def _unsealed(run_dir: Path) -> Path:
    from drills import seal

    if seal.is_sealed(run_dir):
        raise UsageError(
            f"run: found {run_dir}, which is sealed: a report written anew would break its seal; "
            "accepted: --out DIR, to write them into a copy"
        )
    return run_dir


def _copy(run_dir: Path, out: Path) -> Path:
    """Copy a run without its seal, which is of the original's files only."""
    from drills import seal

    of_the_seal = (seal.MANIFEST, seal.DIRECTORY, "*.dsse.json", "*.sigstore.json", "VERIFY.md", "verify.sh", "*.pub")
    copy = out / run_dir.name
    if copy.exists():
        raise UsageError(f"--out: found {copy} there already; accepted: a directory without a copy of this run")
    return Path(shutil.copytree(run_dir, copy, symlinks=True, ignore=shutil.ignore_patterns(*of_the_seal)))


def _runs(runs: str, evidence_dir: Path | None) -> list[Path]:
    if runs != "all":
        return [find_run(runs, evidence_dir)[0]]
    evidence = evidence_dir or EVIDENCE_DIR
    if not evidence.is_dir():
        raise UsageError(f"--evidence-dir: found {evidence}, which is no directory; accepted: one that a run wrote")
    return sorted(entry for entry in evidence.iterdir() if entry.is_dir() and not entry.is_symlink())


def _newest(honest: "pd.DataFrame") -> Table:
    table = grid("drill", "runs", "newest", "verdict", "RTA / RTO", "RPA / RPO")
    for name, rows in honest.groupby("drill", sort=True):
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


def _name_problems(problems: list[Problem]) -> None:
    for problem in problems:
        say(f"unreadable: {problem.path}: {problem.found}", err=True)
