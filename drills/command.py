"""The program `drills`. Each package adds its commands, found by entry point, so that this one imports none of them.

Exit codes: 0 met or done, 1 missed (or a difference found), 2 bad input, 3 inconclusive or the environment failed.
"""

from __future__ import annotations

import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import typer

from drills import chain, plan_commands, runs, seal_commands, signoff_commands
from drills.errors import EnvironmentFailed, UsageError, WaitTimeout

app = typer.Typer(
    name="drills",
    help="Disaster-recovery drills for Kubernetes: real damage, real recovery, honest RTO and RPO.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)
log = typer.Typer(help="The hash-chained log of all runs.", no_args_is_help=True)
app.add_typer(log, name="log")
plan_commands.register(app)
signoff_commands.register(app)
seal_commands.register(app)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"pytest-drills {version('pytest-drills')}")
        raise typer.Exit


@app.callback()
def _drills(
    _: Annotated[
        bool, typer.Option("--version", callback=_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None: ...


@log.command("verify")
def verify_log(
    evidence_dir: Annotated[Path, typer.Option("--evidence-dir", help="Where the runs' evidence is.")] = Path(
        "evidence"
    ),
) -> None:
    """Check that no entry was edited, removed, put in or backdated, that no run has a second end; name unended runs.

    Exit 1 when something is wrong. Its head is printed: kept somewhere else, it also shows a log that was cut off or
    written anew as a whole.
    """
    path = evidence_dir / runs.LOG
    problems = runs.verify(path)
    for run in runs.unfinished(path):
        typer.echo(f"never ended: {run}")
    for remark in chain.remarks(runs.lines(path)):
        typer.echo(f"{path}: {remark}")
    for problem in problems:
        typer.echo(f"{path}: {problem}", err=True)
    typer.echo(
        f"{path}: {len(runs.entries(path))} entries, {'BROKEN' if problems else 'whole'}, head {runs.head(path)}"
    )
    if problems:
        raise typer.Exit(1)


def main() -> None:
    """Run the program."""
    for entry in sorted(entry_points(group="drills.commands"), key=lambda entry: entry.name):
        entry.load()(app)
    try:
        app()
    except UsageError as error:
        sys.exit(_refused(error, 2))
    except (EnvironmentFailed, WaitTimeout) as error:
        sys.exit(_refused(error, 3))


def _refused(error: Exception, code: int) -> int:
    typer.echo(f"error: {error}", err=True)
    for note in getattr(error, "__notes__", []):
        typer.echo(f"  {note}", err=True)
    return code


if __name__ == "__main__":
    main()
