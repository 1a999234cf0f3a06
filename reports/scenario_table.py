"""The README's table of scenarios: what the drills of one committed run achieved, so that no figure is typed by hand.

    python -m drills.reports.scenario_table README.md docs/sample
    python -m drills.reports.scenario_table docs/drill-all.md evidence/RUN

rewrites what stands between the two markers. A document is named from the repository's root, like the files that the
table links to. Exit codes: 0 done, 2 bad input.
"""

import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from drills.errors import UsageError
from drills.record import write_atomically

from .cells import point_beside_objective, time_beside_objective
from .palette import VERDICT_WORD
from .view import View, read_run
from .words import NOT_MEASURED, seconds

BEGIN, END = "<!-- scenarios -->", "<!-- /scenarios -->"
_COLUMNS = ("Disaster", "Runbook", "Verdict", "RTA / RTO", "RPA / RPO", "Acknowledged writes lost", "Held in")


def table(evidence_run: Path, root: str = "") -> str:
    """Lay out the records of a run, or of the sample, as a Markdown table: a row a drill, scenario by scenario.

    A drill is held from its set-up on; the first that needs a cluster waits for it, and those after it do not.

    Args:
        evidence_run: the run's directory, or the sample's.
        root: what leads from the document to the repository's root, from which records name scenario and runbook.

    Raises:
        UsageError: the directory holds no record, one that cannot be read, or one of a sabotaged drill, which says
            nothing about recovery.

    """
    if not evidence_run.is_dir():
        raise UsageError(f"{evidence_run}: found no directory; accepted: a run's directory")
    views, problems = read_run(evidence_run)
    views.sort(key=lambda view: view.scenario)  # the sample is of many runs; drills of one scenario stay together
    if problems:
        raise UsageError(f"{problems[0].path}: found {problems[0].found}; accepted: a record.json")
    for view in views:
        if view.sabotage:
            raise UsageError(
                f"{view.place}, field sabotage: found {', '.join(view.sabotage)}; accepted: drills held in earnest"
            )
    if not views:
        raise UsageError(f"{evidence_run}: found no record.json below it; accepted: a run that left one")
    rows = [_COLUMNS, tuple("---" for _ in _COLUMNS), *(_row(view, root) for view in views)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def rewrite(document: Path, evidence_run: Path) -> None:
    """Put the table of a run between the markers of a document; the document changes as a whole or not at all.

    Raises:
        UsageError: as `table`, or the document has not each marker once, in their order.

    """
    head, _, foot = parts(document)
    root = "" if document.is_absolute() else "../" * len(document.parent.parts)
    write_atomically(document, f"{head}{BEGIN}\n{table(evidence_run, root)}\n{END}{foot}")


def parts(document: Path, begin: str = BEGIN, end: str = END) -> tuple[str, str, str]:
    """Split a document into what stands before, between and after the markers, the markers themselves left out.

    Raises:
        UsageError: it cannot be read, or has not each marker once, in their order.

    """
    try:
        text = document.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        raise UsageError(
            f"{document}: found it unreadable ({error}); accepted: a text with {begin} and {end}"
        ) from error
    if (text.count(begin), text.count(end)) != (1, 1) or text.index(begin) > text.index(end):
        raise UsageError(
            f"{document}: found {text.count(begin)} {begin} and {text.count(end)} {end}; accepted: one pair"
        )
    head, _, rest = text.partition(begin)
    between, _, foot = rest.partition(end)
    return head, between.strip(), foot


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the table of the document named first from the run named second; returns the exit code."""
    return exit_code(lambda: rewrite(*named(sys.argv[1:] if arguments is None else arguments)))


def exit_code(work: Callable[[], None]) -> int:
    """Do what a command line asks for; return 0, or say what is wrong with it and return 2."""
    try:
        work()
    except UsageError as error:
        sys.stderr.write(f"error: {error}\n")
        return 2
    return 0


def named(arguments: Sequence[str]) -> tuple[Path, Path]:
    """Return the document and the run's directory that a command line names.

    Raises:
        UsageError: it names more or fewer.

    """
    if len(arguments) != 2:
        raise UsageError(f"arguments: found {len(arguments)}; accepted: a document and a run's directory")
    return Path(arguments[0]), Path(arguments[1])


def _row(view: View, root: str) -> tuple[str, ...]:
    runbook = view.text("runbook")
    acknowledged, lost = view.writes("acknowledged"), view.writes("lost")
    no_data = view.rpo_s is None and not acknowledged
    return (
        _link(view.title, root, view.scenario),
        _link(Path(runbook).stem, root, runbook) if runbook else "none named",
        VERDICT_WORD[view.verdict],
        time_beside_objective(view),
        "no data at stake" if no_data else point_beside_objective(view),
        "no data at stake" if no_data else f"{_count(lost)} of {_count(acknowledged)}",
        NOT_MEASURED if view.held_s is None else seconds(round(view.held_s)),
    )


def _link(text: str, root: str, target: str) -> str:
    words = _cell(text).replace("[", "(").replace("]", ")")  # a parametrized drill's title ends in "[its parameters]"
    return f"[{words}]({root}{target})" if target else words


def _cell(text: str) -> str:
    """Keep a text within its cell."""
    return " ".join(text.split()).replace("|", "\\|")


def _count(number: int | None) -> str:
    return "unknown" if number is None else str(number)


if __name__ == "__main__":
    raise SystemExit(main())
