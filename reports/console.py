"""What the sub-commands share: their arguments, how a run is found, tables, and how bad input is refused."""

from pathlib import Path
from typing import Annotated, NoReturn

import typer

from drills import checkpoint
from drills.errors import UsageError
from drills.screen import grid, print_table, say, say_json, say_lines

__all__ = [
    "EVIDENCE_DIR", "EvidenceOption", "RunArgument", "accepted_runs", "find_run", "grid", "print_table", "refuse",
    "say", "say_json", "writable",
]  # fmt: skip

EVIDENCE_DIR = Path("evidence")

RunArgument = Annotated[
    str,
    typer.Argument(
        metavar="[RUN_DIR|latest]", help="A run's directory, its name in the evidence directory, or latest."
    ),
]
EvidenceOption = Annotated[
    Path | None,
    typer.Option("--evidence-dir", help="Where the runs' evidence is. [default: ./evidence, or where RUN_DIR lies]"),
]


def find_run(run: str, evidence_dir: Path | None) -> tuple[Path, Path]:
    """Find a run by path, by name or as `latest`; returns its directory and the evidence directory it is compared with.

    Raises UsageError when there is none.
    """
    evidence = evidence_dir or EVIDENCE_DIR
    in_evidence, as_path = evidence / run, Path(run)
    chosen = in_evidence if in_evidence.is_dir() else as_path
    if not chosen.is_dir():
        raise UsageError(
            f"run: found {run!r}, which is neither a directory nor a run in {evidence}; "
            f"accepted: {accepted_runs(evidence)}"
        )
    resolved = chosen.resolve()  # `latest` is a link, and reports name the run itself
    if not any((resolved / name).exists() for name in ("run.json", "report.html")) and not list(
        resolved.glob("*/record.json")
    ):
        raise UsageError(
            f"run: found {chosen}, which holds neither run.json nor a record; accepted: {accepted_runs(evidence)}"
        )
    return resolved, evidence_dir or resolved.parent


def accepted_runs(evidence: Path) -> str:
    """Say which runs would have been accepted, the newest named."""
    names = (
        sorted({entry.name for entry in evidence.glob("*/") if not entry.is_symlink()} - {checkpoint.DIRECTORY})[::-1]
        if evidence.is_dir()
        else []
    )
    newest = f", such as {', '.join(names[:3])}" if names else ""
    return f"a run's directory, latest, or a run's name{newest}"


def refuse(error: UsageError) -> NoReturn:
    """Name what is wrong with the input, and exit 2."""
    say_lines(f"error: {error}", err=True)
    raise typer.Exit(2) from error


def writable(target: Path) -> Path:
    """Give a file's place back if its directory is there; raises UsageError otherwise."""
    if not target.resolve().parent.is_dir():
        raise UsageError(f"--out: found {target}, whose directory is absent; accepted: a file in one that exists")
    if target.is_dir():
        raise UsageError(f"--out: invalid value {target}: expected a file, not a directory")
    return target
