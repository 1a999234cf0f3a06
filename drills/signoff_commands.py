"""The sub-commands `drills sign-off`, `drills validate` and `drills actions`.

Exit codes: 0 done or complete, 1 invalid, incomplete or (actions) something overdue, 2 bad input.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated

import typer
from rich.table import Table

from drills import meta, signoff
from drills.errors import UsageError
from drills.runs import LOG
from drills.screen import grid, print_table, say, say_json
from drills.validation import Validation, validate_run
from drills.verdicts import Verdict

EVIDENCE_DIR = Path("evidence")

EvidenceOption = Annotated[
    Path | None,
    typer.Option("--evidence-dir", help="Where the runs' evidence is. [default: ./evidence, or where RUN lies]"),
]


def register(app: typer.Typer) -> None:
    """Add these sub-commands to `drills`."""
    app.command("sign-off")(sign_off)
    app.command()(validate)
    app.command()(actions)


def sign_off(
    run: Annotated[str, typer.Argument(metavar="RUN_DIR|latest", help="A run's directory, its name, or latest.")],
    by: Annotated[str, typer.Option("--by", metavar="NAME", help="Who signs off.")],
    role: Annotated[str, typer.Option("--role", help="In what capacity.")],
    decision: Annotated[str, typer.Option("--decision", help="accepted, rejected, or noted.")] = "accepted",
    drill: Annotated[str | None, typer.Option("--drill", metavar="NAME", help="One drill. [default: the run]")] = None,
    supplied: Annotated[
        list[str] | None,
        typer.Option("--meta", metavar="KEY=VALUE", help=f"Supply what is missing; keys: {', '.join(meta.KEYS)}."),
    ] = None,
    issue: Annotated[list[str] | None, typer.Option("--issue", metavar="TEXT", help="What was found wanting.")] = None,
    action: Annotated[
        list[str] | None,
        typer.Option(
            "--action",
            metavar="TEXT",
            help='What is done about it: "text; owner=NAME; due=2026-12-31". '
            'To end one: "id=7f3a-1; state=done; retest=RUN/DRILL".',
        ),
    ] = None,
    comment: Annotated[str, typer.Option("--comment", help="Anything else.")] = "",
    same_person: Annotated[
        bool, typer.Option("--same-person", help="Let the operator sign off; noted as a deviation.")
    ] = False,
    key: Annotated[Path | None, typer.Option("--key", help="Sign with this SSH key of yours, by ssh-keygen.")] = None,
    evidence_dir: EvidenceOption = None,
) -> None:
    """Review a run: accept or reject its results, note issues, raise and end corrective actions.

    A line is added to sign-offs.jsonl and its digest to the log; nothing that was there is changed.
    """
    run_dir = _find(run, evidence_dir)
    one = signoff.sign_off(
        run_dir, by=by, role=role, decision=decision, drill=drill, supplied=supplied or (), issues=issue or (),
        actions=action or (), comment=comment, same_person=same_person, key=key,
    )  # fmt: skip
    found = _validated(run_dir)
    verdict = found.verdicts.get(one.drill or "", found.verdict)
    what = f"{one.run}/{one.drill}" if one.drill else one.run
    say(f"{verdict}, {one.decision}: {what} by {one.by} ({one.role})")
    for each in one.actions:
        say(f"action {each.id}, {each.state}: {each.text} ({each.owner}, due {each.due})")
    _tell(found)


def validate(
    which: Annotated[
        str, typer.Argument(metavar="[RUN_DIR|latest|all]", help="A run's directory, its name, latest, or all.")
    ] = "latest",
    evidence_dir: EvidenceOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object a run.")] = False,
) -> None:
    """Check that a run's files are what their schemas say, and name what is missing of a complete record.

    Exit 0 when all is there, whatever the verdict; 1 when something is invalid or missing.
    """
    found = [_validated(run_dir) for run_dir in _runs(which, evidence_dir)]
    if as_json:
        say_json([_as_json(each) for each in found])
    else:
        for each in found:
            _tell(each)
    if not all(each.complete for each in found):
        raise typer.Exit(1)


def actions(
    evidence_dir: Annotated[Path, typer.Option("--evidence-dir", help="Where the runs' evidence is.")] = EVIDENCE_DIR,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are not done.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="As JSON, one object an action.")] = False,
) -> None:
    """List the corrective actions of all runs: owner, due date, state. Exit 1 when one is overdue."""
    if not evidence_dir.is_dir():
        raise UsageError(f"--evidence-dir: found {evidence_dir}, which is no directory; accepted: one that a run wrote")
    today = datetime.now(UTC).date()
    found = [each for each in signoff.actions(evidence_dir) if not open_only or each.action.state == "open"]
    overdue = [each.overdue(today) for each in found]
    if as_json:
        rows = [
            {
                **asdict(each.action),
                "run": each.run,
                "drill": each.drill,
                "raised_utc": each.raised_utc,
                "overdue": late,
            }
            for each, late in zip(found, overdue, strict=True)
        ]
        say_json(rows)
    elif found:
        print_table(_table(found, overdue))
    if not as_json:
        counted = "1 action" if len(found) == 1 else f"{len(found)} actions"
        say(f"{counted}, {sum(overdue)} overdue" if found else "no actions")
    if any(overdue):
        raise typer.Exit(1)


def _validated(run_dir: Path) -> Validation:
    found = validate_run(run_dir)
    found.invalid += [problem.removeprefix(f"{run_dir}/") for problem in signoff.problems(run_dir)]
    return found


def _tell(found: Validation) -> None:
    """Print what was found, the verdict first."""
    missed = sum(verdict is Verdict.MISSED for verdict in found.verdicts.values())
    headline = f"MISSED, {missed} of {len(found.verdicts)} drills" if missed else str(found.verdict)
    say(f"{headline}: {found.run}, evidence {_amount(found)}")
    for problem in found.invalid:
        say(f"  invalid: {problem}")
    for text, drills in _grouped(found).items():
        whose = "" if len(drills) == len(found.missing) else f"{', '.join(drills)}: "
        say(f"  missing: {whose}{text}")
    for drill, standing in found.standings.items():
        verdict = found.verdicts[drill]
        say(f"  {verdict}{f', {standing}' if str(standing) != str(verdict) else ''}: {drill}")


def _amount(found: Validation) -> str:
    if found.invalid:
        return "invalid"
    return "complete" if found.complete else "incomplete"


def _grouped(found: Validation) -> dict[str, list[str]]:
    """Name each gap once, with the drills that have it."""
    grouped: dict[str, list[str]] = {}
    for drill, gaps in found.missing.items():
        for gap in gaps:
            grouped.setdefault(gap, []).append(drill)
    return grouped


def _as_json(found: Validation) -> dict[str, object]:
    return {**asdict(found), "verdict": found.verdict, "complete": found.complete}


def _table(found: Iterable[signoff.Tracked], overdue: Iterable[bool]) -> Table:
    table = grid("action", "state", "due", "owner", "what", "raised after", "retest")
    for each, late in zip(found, overdue, strict=True):
        one = each.action
        raised = f"{each.run}/{each.drill}" if each.drill else each.run
        table.add_row(one.id, "OVERDUE" if late else one.state, one.due, one.owner, one.text, raised, one.retest)
    return table


def _runs(which: str, evidence_dir: Path | None) -> list[Path]:
    if which != "all":
        return [_find(which, evidence_dir)]
    evidence = evidence_dir or EVIDENCE_DIR
    found = sorted(path.parent for path in evidence.glob("*/run.json") if not path.parent.is_symlink())
    if not found:
        raise UsageError(f"--evidence-dir: found no run in {evidence}, accepted: a directory that runs wrote to")
    return found


def _find(run: str, evidence_dir: Path | None) -> Path:
    """Find a run by name in the evidence directory, or by path; `latest` is followed to the run itself."""
    evidence = evidence_dir or EVIDENCE_DIR
    for chosen in (evidence / run, Path(run)):
        if (chosen / "run.json").is_file() or list(chosen.glob("*/record.json")):
            if (chosen / LOG).is_file():
                raise UsageError(f"run: found {chosen}, an evidence directory; accepted: a run in it, such as latest")
            return chosen.resolve()
    raise UsageError(
        f"run: found {run!r}, which is no run in {evidence} and no run's directory; accepted: {_names(evidence)}"
    )


def _names(evidence: Path) -> str:
    names = sorted((path.parent.name for path in evidence.glob("*/run.json")), reverse=True)[:3]
    return "a run's directory, latest, or a run's name" + (f", such as {', '.join(names)}" if names else "")
