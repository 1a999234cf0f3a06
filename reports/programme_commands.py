"""The sub-commands `drills coverage`, `drills maturity`, `drills controls` and `drills oscal`: all drills together.

Exit codes: 0 done, 2 bad input. What past drills achieved does not change them; it stands in the first line printed.
"""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from drills.errors import UsageError

from .console import (
    EVIDENCE_DIR,
    EvidenceOption,
    RunArgument,
    find_run,
    grid,
    print_table,
    refuse,
    say,
    say_json,
    writable,
)
from .palette import VERDICT_WORD
from .results import read_results
from .words import shortened

if TYPE_CHECKING:
    from .coverage import Coverage
    from .frame import Evidence

PlanOption = Annotated[
    Path | None, typer.Option("--plan", help="The team's plan. [default: ./dr-plan.yaml where there is one]")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON instead of a table.")]
_NAMES, _FIELDS = 60, 120  # columns of drills and of missing fields; the page has all


def register(app: typer.Typer) -> None:
    """Add the sub-commands to `drills`."""
    app.command()(coverage)
    app.command()(maturity)
    app.command()(controls)
    app.command()(oscal)


def coverage(
    evidence_dir: EvidenceOption = None,
    plan: PlanOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The page. [default: coverage.html in the evidence directory]")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Say which failures are proven, how long ago, for which data and controls, and what is not; write the page."""
    from .coverage import write_coverage  # here: pandas would slow every other command down

    target = out or (evidence_dir or EVIDENCE_DIR) / "coverage.html"
    try:
        found = _covered(evidence_dir, plan)
        write_coverage(found, writable(target))
    except UsageError as error:
        refuse(error)
    if as_json:
        say_json(found.as_json())
        return
    say(f"{VERDICT_WORD[found.verdict]}: {found.sentence}")
    table = grid("failure", "recovered by", "data", "last proof", "state", "controls")
    for cell in found.cells:
        table.add_row(
            cell.failure,
            cell.procedure,
            ", ".join(cell.data),
            "none" if cell.days is None else f"{cell.days} days ago",
            cell.state,
            ", ".join(cell.controls),
        )
    if found.cells:
        print_table(table)
    for gap in found.declared:
        say(f"gap, declared until {gap.until}{' (over)' if gap.overdue else ''}: {gap.what}: {gap.why}")
    for gap in found.found:
        say(f"gap, undeclared: {gap.what}: {gap.why}")
    if found.unrehearsed:
        say(f"not rehearsed here: {len(found.unrehearsed)} further failures that this harness can cause")
    for told in found.set_aside:
        say(f"set aside: {told}")
    say(f"written: {target}")


def maturity(evidence_dir: EvidenceOption = None, plan: PlanOption = None, as_json: JsonOption = False) -> None:
    """Say how far the recovery programme has come, computed from the records, and what to do next."""
    try:
        found = _covered(evidence_dir, plan)
    except UsageError as error:
        refuse(error)
    if as_json:
        say_json([area.as_json() for area in found.maturity])
        return
    say(f"{VERDICT_WORD[found.verdict]}: {found.sentence}")
    table = grid("area", "level", "next", "found")
    for area in found.maturity:
        step = area.next
        table.add_row(
            area.name, f"{area.level} of {len(area.steps)}", step.asks if step else "-", step.found if step else ""
        )
    print_table(table)


def controls(
    framework: Annotated[
        str, typer.Argument(metavar="[FRAMEWORK]", help="soc2, iso27001, iso22301, nist-800-53 ...; all by default.")
    ] = "",
    evidence_dir: EvidenceOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="A directory that an auditor's page a framework is written to.")
    ] = None,
) -> None:
    """Say which drills support which controls of which framework, and which fields are missing for it."""
    from .auditor import programme_of, summary, write_auditor
    from .controls import Support, catalogue, unknown_controls
    from .controls import framework as find

    try:
        chosen = [find(framework)] if framework else list(catalogue())
        programme = programme_of(_vouched(evidence_dir or EVIDENCE_DIR))
    except UsageError as error:
        refuse(error)
    missed = f"; missed an objective: {', '.join(programme.missed)}" if programme.missed else ""
    say(f"{VERDICT_WORD[programme.verdict]}: the newest runs of {len(programme.held)} drills{missed}")
    table = grid("framework", "control", "supported by", "in part by", "missing for the best of them")
    for each in chosen:
        for control, found in summary(each, programme):
            best = found[0] if found and found[0].support is Support.PARTLY else None
            table.add_row(
                each.id,
                control.id,
                shortened(", ".join(one.held.view.drill for one in found if one.support is Support.SUPPORTS), _NAMES)
                or "-",
                str(sum(one.support is Support.PARTLY for one in found)),
                shortened(", ".join(best.missing), _FIELDS) if best else "",
            )
    print_table(table)
    for text in unknown_controls(programme.held):
        say(f"named by a drill, not in the catalogue: {text}")
    say("Support is not compliance: whether a control is satisfied is for an auditor to say.")
    if out is not None:
        out.mkdir(parents=True, exist_ok=True)
        for each in chosen:
            say(f"written: {write_auditor(each, programme, datetime.now(UTC), out / f'{each.id}.html')}")


def oscal(
    run: RunArgument = "latest",
    evidence_dir: EvidenceOption = None,
    out: Annotated[
        Path | None, typer.Option("--out", help="The file. [default: oscal-RUN.json in the evidence directory]")
    ] = None,
) -> None:
    """Write a run as OSCAL assessment results, validated by compliance-trestle (extra: oscal)."""
    from .oscal import write_oscal

    try:
        run_dir, evidence = find_run(run, evidence_dir)
        target = write_oscal(run_dir, writable(out or evidence / f"oscal-{run_dir.name}.json"))
    except UsageError as error:
        refuse(error)
    say(read_results(run_dir, evidence).first_line)
    say(f"written: {target}")


def _vouched(directory: Path) -> "Evidence":
    """Read the evidence without what was met in runs that nobody vouches for, and say so on standard error."""
    from .frame import read_evidence

    found = read_evidence(directory)
    counted = found.vouched(directory)
    for problem in counted.contradictions[len(found.contradictions) :]:
        say((f"not counted: {problem.path.name}: {problem.found}"), err=True)
    return counted


def _covered(evidence_dir: Path | None, plan: Path | None) -> "Coverage":
    from drills import plan as plans

    from .coverage import coverage as cover

    directory = evidence_dir or EVIDENCE_DIR
    default = Path(plans.FILE)
    path = plan or (default if default.is_file() else None)
    return cover(_vouched(directory), directory, datetime.now(UTC), plans.load(path) if path else None)
