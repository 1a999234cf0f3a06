"""Failover strategies side by side: what each achieved in one run, and what its standby used while nothing happened.

    python -m drills.reports.strategies docs/scenarios.md evidence/latest

rewrites what stands between the two markers. Exit codes: 0 done, 2 bad input.
"""

import sys
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.errors import UsageError
from drills.record import write_atomically

from .cells import point_beside_objective, time_beside_objective
from .palette import VERDICT_WORD
from .scenario_table import exit_code, named, parts
from .view import View, read_run
from .words import NOT_MEASURED

BEGIN, END = "<!-- strategies -->", "<!-- /strategies -->"
_COLUMNS = ("Strategy", "Verdict", "RTA / RTO", "RPA / RPO", "Writes lost", "Standby's CPU", "Standby's memory")


@dataclass(frozen=True)
class Compared:
    """One strategy's row, in words.

    Attributes:
        view: the drill's record.
        strategy: its name.
        rta: achieved, with its bounds, against promised.
        rpa: achieved against promised.
        lost: acknowledged writes that were lost, of how many.
        cpu: what the standby's machines used while nothing happened.
        memory: likewise.

    """

    view: View
    strategy: str
    rta: str
    rpa: str
    lost: str
    cpu: str
    memory: str


def compared(views: Iterable[View]) -> list[Compared]:
    """Compare the drills of a run that held a standby, in the order given; sabotaged ones say nothing about any."""
    return [_compared(view) for view in views if view.text("standby", "strategy") and not view.sabotage]


def table(run: Path) -> str:
    """Lay out a run's strategies as a Markdown table.

    Raises:
        UsageError: the run has fewer than two, which is no comparison, or a record that cannot be read.

    """
    views, problems = read_run(run)
    if problems:
        raise UsageError(f"{problems[0].path}: found {problems[0].found}; accepted: a record.json")
    rows = compared(views)
    if len(rows) < 2:
        raise UsageError(f"{run}: found {len(rows)} failover strategies in its records; accepted: two or more")
    cells = [(row.strategy, VERDICT_WORD[row.view.verdict], row.rta, row.rpa, row.lost, row.cpu, row.memory)
             for row in rows]  # fmt: skip
    return "\n".join(f"| {' | '.join(line)} |" for line in (_COLUMNS, tuple("---" for _ in _COLUMNS), *cells))


def rewrite(document: Path, run: Path) -> None:
    """Put the table of a run between the markers of a document; the document changes as a whole or not at all.

    Raises:
        UsageError: as `table`, or the document has not each marker once, in their order.

    """
    head, _, foot = parts(document, BEGIN, END)
    write_atomically(document, f"{head}{BEGIN}\n{table(run)}\n{END}{foot}")


def main(arguments: Sequence[str] | None = None) -> int:
    """Rewrite the table of the document named first from the run named second; returns the exit code."""
    return exit_code(lambda: rewrite(*named(sys.argv[1:] if arguments is None else arguments)))


def _compared(view: View) -> Compared:
    cores, memory = view.figure("standby", "cpu_cores"), view.figure("standby", "memory_bytes")
    lost, acknowledged = view.writes("lost"), view.writes("acknowledged")
    return Compared(
        view,
        view.text("standby", "strategy"),
        rta=time_beside_objective(view),
        rpa=point_beside_objective(view),
        lost=NOT_MEASURED if lost is None or acknowledged is None else f"{lost} of {acknowledged}",
        cpu=_used(cores, f"{cores or 0:.2f} cores"),
        memory=_used(memory, f"{(memory or 0) / 2**20:.0f} MiB"),
    )


def _used(figure: float | None, said: str) -> str:
    if figure is None:
        return NOT_MEASURED
    return said if figure else "none"


if __name__ == "__main__":
    raise SystemExit(main())
