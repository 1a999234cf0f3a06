"""How much the same drills differ from run to run: verdicts, and the spread of RTA and RPA over all runs.

    python -m drills.reports.spread EVIDENCE

prints a Markdown table, a row a drill. Sabotaged drills are left out. Exit codes: 0 every run of a drill ended with the
same verdict, 1 one did not, 2 bad input.
"""

import statistics
import sys
from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path

from drills.parsing import read_object

from .view import View, instant, read_run


def rows(views: Sequence[View]) -> list[tuple[str, ...]]:
    """Lay out a row a drill: its runs, its verdicts, and smallest, median and largest RTA and RPA in seconds."""
    drills: defaultdict[str, list[View]] = defaultdict(list)
    for view in views:
        if not view.sabotage:
            drills[view.drill].append(view)
    return [
        (
            name,
            str(len(held)),
            " and ".join(sorted({str(view.verdict) for view in held})),
            _spread([view.rta_s for view in held]),
            _spread([view.rpa_s for view in held]),
        )
        for name, held in drills.items()
    ]


def took_s(run: Path) -> float | None:
    """Return how long a run took, in seconds, clusters and all; none for one that has not ended."""
    about = read_object(run / "run.json", "a run.json")
    began, ended = instant(about.get("started_utc")), instant(about.get("ended_utc"))
    return (ended - began).total_seconds() if began and ended else None


def _spread(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "none"
    return f"{min(known):.1f} – {statistics.median(known):.1f} – {max(known):.1f}"  # noqa: RUF001 - for readers


def main(arguments: Sequence[str]) -> int:
    """Print the table of one evidence directory; returns the exit code."""
    runs = sorted(Path(arguments[0]).glob("*/run.json")) if len(arguments) == 1 else []
    directories = [path.parent for path in runs if not path.parent.is_symlink()]
    if not directories:
        sys.stderr.write("error: arguments: found no run; accepted: one evidence directory\n")
        return 2
    table = rows([view for run in directories for view in read_run(run)[0]])
    head = ("Drill", "Runs", "Verdict", "RTA in s", "RPA in s")
    sys.stdout.writelines(f"| {' | '.join(cells)} |\n" for cells in (head, ("---",) * len(head), *table))
    sys.stdout.write(f"\nA run took {_spread([took_s(run) for run in directories])} s.\n")
    return 1 if any(" and " in verdicts for _, _, verdicts, _, _ in table) else 0


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
