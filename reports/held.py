"""How far each drill has been proven: the table of docs/scenarios.md and the committed sample, written from evidence.

    python -m drills.reports.held docs/scenarios.md docs/sample EVIDENCE...

looks through all runs of the evidence directories. For every drill of the table it notes the newest run in which it was
met in earnest, and the newest of either sabotaged twin that ended as it must; what it finds nothing newer for stays as
it is. The record of a drill that was met goes into the sample.

A twin that gave up sooner than the drill in earnest was done shows nothing: with so little time, that one would have
failed, too. Such a twin is not noted, and is told of. Exit codes: 0 done, 2 bad input.
"""

import re
import shutil
import sys
from collections.abc import Iterable, Sequence
from pathlib import Path

from drills import twins
from drills.errors import UsageError
from drills.record import write_atomically
from drills.verdicts import Verdict

from .scenario_table import exit_code
from .view import View, read_run
from .words import seconds

NOT_HELD = "-"
COLUMNS = ("met", "fault", "procedure")
"""What a run can show of a drill: that it is met, and that it is not where this part was left out."""

_GAVE_UP = {"WaitTimeout", "NotRecovered"}
"""The failures of a drill that ended for want of patience: with a step of its procedure, and with its users."""

_RUN = re.compile(r"\d{8}T\d{6}Z-[0-9a-f]{4}")
_ROW = re.compile(
    r"^\| (?P<drill>\w+_\w+) \| (?P<told>.+?) \| (?P<state>[^|]+?) \| (?P<runs>[^|]+ \| [^|]+ \| [^|]+?) \|$"
)


def shown(view: View) -> str:
    """Tell which of the columns a record belongs in; empty if in none of them."""
    sabotage, verdict = tuple(view.sabotage), view.verdict
    if (sabotage, verdict) == ((), Verdict.MET):
        return "met"
    ended = len(sabotage) == 1 and twins.as_it_must(sabotage, verdict, view.why)
    return sabotage[0] if ended else ""


def hasty(twin: View, met: View) -> str:
    """Tell how a twin gave up on what the drill in earnest took longer for; empty if it did not.

    Without the fault, damage is waited for; without the procedure's decisive part, users or one of its steps. A twin
    that ended for another reason did not give up: its procedure failed, or users came back to less than they had.

    Args:
        twin: a sabotaged drill that ended as it must.
        met: the same drill, met in earnest.

    """
    if twin.sabotage == ["fault"]:
        waited, took, what = _since(twin, "disrupted", "ended"), _since(met, "disrupted", "damaged"), "damage"
    else:
        gave_up = _GAVE_UP.intersection(twin.texts("failure", "kinds"))
        if not gave_up and (twin.text("failure") or twin.rta_s is not None):
            return ""
        begun = met.phase("recovering")
        done = max([met.rta_high_s or 0.0, *(step.ended_s or 0.0 for step in met.steps)])
        waited, took, what = _since(twin, "recovering", "ended"), done - (begun.t_s if begun else 0.0), "recovery"
    if waited >= took:
        return ""
    return f"run {twin.run} waited {seconds(waited)} for its {what}, which took {seconds(took)} in earnest"


def _since(view: View, begin: str, end: str) -> float:
    """Return how long it was from the beginning of one phase to that of another, in seconds; 0 if one is missing."""
    begun, ended = view.phase(begin), view.phase(end)
    return ended.t_s - begun.t_s if begun and ended else 0.0


def newest(evidence: Iterable[Path], sample: Path) -> tuple[dict[tuple[str, str], View], list[str]]:
    """Return the newest record for each drill and column that there is one for, and what is said of hasty twins.

    Args:
        evidence: the evidence directories to look through.
        sample: where the record of each drill is that was met before.

    Raises:
        UsageError: one of the paths is no directory, or holds no run.

    """
    views: list[View] = []
    for directory in evidence:
        runs = [run for run in directory.glob("*") if _RUN.fullmatch(run.name)] if directory.is_dir() else []
        if not runs:
            raise UsageError(f"{directory}: found no run; accepted: an evidence directory")
        for run in runs:
            views += read_run(run)[0]  # a record that cannot be read proves nothing
    views.sort(key=lambda view: view.run)
    found = {(view.drill, "met"): view for view in views if shown(view) == "met"}
    before = {view.drill: view for view in (read_run(sample)[0] if sample.is_dir() else [])}
    passed_over = []
    for view in views:
        met = found.get((view.drill, "met"), before.get(view.drill))
        if (column := shown(view)) not in ("", "met"):
            if met and (why := hasty(view, met)):
                passed_over.append(f"{view.drill}, {column} left out: {why}; not noted")
            else:
                found[view.drill, column] = view
    return found, passed_over


def rewrite(document: Path, sample: Path, evidence: Sequence[Path]) -> list[str]:
    """Bring the document's table and the sample's records up to what the evidence shows; return what was passed over.

    Raises:
        UsageError: as `newest`, or the document cannot be read or has no row of a drill.

    """
    found, passed_over = newest(evidence, sample)
    try:
        lines = document.read_text(encoding="utf-8").split("\n")
    except (OSError, ValueError) as error:
        raise UsageError(f"{document}: found it unreadable ({error}); accepted: a text with a row a drill") from error
    rows = {number: row for number, line in enumerate(lines) if (row := _ROW.match(line))}
    if not rows:
        raise UsageError(
            f"{document}: found no row of a drill; accepted: | drill | … | state | met | fault | procedure |"
        )
    for number, row in rows.items():
        drill = row["drill"]
        runs = dict(zip(COLUMNS, row["runs"].split(" | "), strict=True))
        for column in COLUMNS:
            view = found.get((drill, column))
            if not view or (_RUN.fullmatch(runs[column]) and view.run <= runs[column]):
                continue
            runs[column] = view.run
            if column == "met" and view.place:
                (sample / drill).mkdir(parents=True, exist_ok=True)
                shutil.copyfile(view.place, sample / drill / "record.json")
        lines[number] = f"| {drill} | {row['told']} | {_state(runs, row['state'])} | {' | '.join(runs.values())} |"
    write_atomically(document, "\n".join(lines))
    return passed_over


def _state(runs: dict[str, str], before: str) -> str:
    if runs["met"] == NOT_HELD:
        return before
    return "met" if NOT_HELD in runs.values() else "met, twins held"


def named(arguments: Sequence[str]) -> tuple[Path, Path, list[Path]]:
    """Return the document, the sample and the evidence directories that a command line names.

    Raises:
        UsageError: it names fewer.

    """
    given = [Path(argument) for argument in arguments]
    if len(given) < 3:
        raise UsageError(f"arguments: found {len(given)}; accepted: a document, the sample, evidence directories")
    return given[0], given[1], given[2:]


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the document named first and the sample named second from the evidence; returns the exit code."""

    def work() -> None:
        for line in rewrite(*named(sys.argv[1:] if arguments is None else arguments)):
            sys.stdout.write(f"{line}\n")

    return exit_code(work)


if __name__ == "__main__":
    raise SystemExit(main())
