"""The sub-commands `drills verify`, `drills keys` and `drills checkpoint`."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drills import runs
from drills.errors import NotGenuine, UsageError
from drills.line import one_line
from drills.verdicts import worst

# What signs and verifies is imported where it is used: it would slow every other command down.
if TYPE_CHECKING:
    from drills.genuine import Findings
    from drills.keys import PublicKeys

EVIDENCE_DIR = Path("evidence")
KeysOption = Annotated[
    Path | None,
    typer.Option(
        "--keys",
        help="The directory of the keys. By default DRILL_KEY_DIR, or pytest-drills/keys in your configuration.",
    ),
]
key_commands = typer.Typer(help="The keys that runs are sealed with.", no_args_is_help=True)


def register(app: typer.Typer) -> None:
    """Add these commands to `drills`."""
    app.command()(verify)
    app.command("checkpoint")(make_checkpoint)
    app.add_typer(key_commands, name="keys")


def verify(
    evidence: Annotated[
        Path, typer.Argument(metavar="[EVIDENCE|RUN_DIR]", help="The evidence directory, or one sealed run.")
    ] = EVIDENCE_DIR,
    older: Annotated[
        list[Path] | None,
        typer.Option("--checkpoint", help="A checkpoint that was kept somewhere else. May be repeated."),
    ] = None,
    trusted: Annotated[
        list[Path] | None,
        typer.Option(
            "--keys",
            help="Public keys to trust: a directory with run.pub.pem and checkpoint.pub. May be repeated. "
            "By default your own keys, if there are.",
        ),
    ] = None,
    authority: Annotated[
        Path | None, typer.Option("--tsa-ca", help="Certificates (PEM) of the time-stamping authority.")
    ] = None,
) -> None:
    """Check that nobody has touched the evidence: the log, its checkpoints, every sealed run, what was signed off.

    The last line is VERIFIED, or FAILED: and why; exit code 1. Only with an older checkpoint does it show that the
    newest runs were cut off, or that whoever has the keys wrote the log anew.
    """
    from drills import genuine, seal
    from drills.keys import PublicKeys

    known = [PublicKeys.load(path) for path in trusted or []] or _own()
    if seal.is_sealed(evidence):
        if older:
            raise UsageError(f"--checkpoint: found for the single run {evidence}, accepted: for an evidence directory")
        found = genuine.check_run(evidence, known, authority)
    else:
        found = genuine.check_evidence(evidence, known, older or [], authority)
    alone = seal.is_sealed(evidence)
    _tell(found, bool(known), bool(older) or alone, alone)


def _own() -> list[PublicKeys]:
    from drills import keys
    from drills.keys import PublicKeys

    place = keys.directory()
    return [PublicKeys.load(place)] if (place / keys.CHECKPOINT_PUBLIC).exists() else []


def _tell(found: Findings, known: bool, anchored: bool, alone: bool) -> None:
    counts = Counter(found.verdicts.values())
    said = ", ".join(f"{counts[verdict]} {verdict}" for verdict in type(worst([])) if counts[verdict])
    ended = "1 run" if len(found.verdicts) == 1 else f"{len(found.verdicts)} runs"
    _say(f"{worst(found.verdicts.values())}: {ended} ended: {said or 'none'}")
    if alone:
        _say(f"run: {', '.join(found.verdicts)}")
    for remark in found.remarks:
        _say(f"  {remark}")
    for problem in found.problems:
        _say(f"  {problem}")
    for signer in found.signers:
        typer.echo(f"key of runs: {signer.run_id}\nkey of checkpoints: {signer.checkpoint_id}")
    if not known:
        typer.echo("whose keys these are was not checked: compare them with what the team published, or name --keys")
    if not anchored:
        typer.echo("no checkpoint from somewhere else was given: newest runs that were cut off would not show")
    if not found.problems:
        typer.echo("VERIFIED")
        return
    more = f" (and {len(found.problems) - 1} more)" if len(found.problems) > 1 else ""
    _say(f"FAILED: {found.problems[0]}{more}")
    raise typer.Exit(1)


def _say(text: str) -> None:
    """Print one line: no name of a file can end it, or do to a terminal what only a program should."""
    typer.echo(one_line(text))


def make_checkpoint(
    evidence_dir: Annotated[Path, typer.Option("--evidence-dir", help="Where the runs' evidence is.")] = EVIDENCE_DIR,
    place: KeysOption = None,
    tsa: Annotated[str | None, typer.Option("--tsa", help="Have it time-stamped by this authority (RFC 3161).")] = None,
) -> None:
    """Sign what the log is now, and print the signed note: keep it somewhere else.

    Sealing a run makes one too; this one has also what came later, such as sign-offs.
    """
    from drills import checkpoint, keys, seal, timestamps

    url = None if tsa is None else timestamps.url_of(tsa)
    log = evidence_dir / runs.LOG
    problems = runs.verify(log)
    if problems:
        raise UsageError(f"{log}: {problems[0]}; accepted: a log that is whole")
    signing = keys.obtain(place)
    try:
        note, _ = checkpoint.make(evidence_dir, signing)
        written = [note, *([] if url is None else [seal.time_stamp(note, url, signing)])]
    except NotGenuine as error:
        typer.echo(f"FAILED: {error}", err=True)
        raise typer.Exit(1) from error
    typer.echo(note.read_text(encoding="utf-8"))
    for path in written:
        typer.echo(f"written: {path}")


@key_commands.command("make")
def make_keys(place: KeysOption = None) -> None:
    """Make the keys that are not there yet, for this user alone to read, and show the public ones."""
    from drills import keys

    _show(keys.make(keys.directory(place)))


@key_commands.command("show")
def show_keys(place: KeysOption = None) -> None:
    """Show the public keys, to be published where those who check can find them."""
    from drills import keys

    _show(keys.directory(place))


def _show(place: Path) -> None:
    from drills import keys
    from drills.keys import PublicKeys

    public = PublicKeys.load(place) if (place / keys.RUN_PUBLIC).exists() else keys.load(place).public
    typer.echo(f"{place}\n\nkey of runs: {public.run_id}\n{public.run_pem.decode()}")
    typer.echo(f"key of checkpoints: {public.checkpoint_id}\n{public.checkpoint_ssh}")
