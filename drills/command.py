"""The program `drills`. Each package adds its commands, found by entry point, so that this one imports none of them.

Exit codes: 0 met or done, 1 missed (or a difference found), 2 bad input, 3 inconclusive or the environment failed.
"""

from __future__ import annotations

import os
import sys
from importlib.metadata import entry_points, version
from pathlib import Path
from typing import Annotated

import typer

from drills import chain, plan_commands, runs, seal_commands, signoff_commands
from drills.errors import EnvironmentFailed, UsageError, WaitTimeout
from drills.line import one_line
from drills.screen import say, say_lines

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
        say(f"pytest-drills {version('pytest-drills')}")
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
        say(f"never ended: {run}")
    for remark in chain.remarks(runs.lines(path)):
        say(f"{path}: {remark}")
    for problem in problems:
        say(f"{path}: {problem}", err=True)
    say(f"{path}: {len(runs.entries(path))} entries, {'BROKEN' if problems else 'whole'}, head {runs.head(path)}")
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
    except OSError as error:  # a disk that is full, a directory that is read-only, a file where one should be
        sys.exit(_refused(_in_words(error), 3))


def _in_words(error: OSError) -> Exception:
    """Say on one line which file it was, where the system says so."""
    where = "" if error.filename is None else f"{os.fsdecode(error.filename)}: "
    return EnvironmentFailed(f"{where}{error.strerror or error}")


def _refused(error: Exception, code: int) -> int:
    # What a program said may have lines; none of them may look like one of ours, or of a CI's commands.
    say_lines("\n  ".join(map(one_line, f"error: {error}".split("\n"))), err=True)
    for note in getattr(error, "__notes__", []):
        say_lines(f"  {note}", err=True)
    return code


if __name__ == "__main__":
    main()
