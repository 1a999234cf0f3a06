"""Judge stored histories again with today's code, and say where the stored records differ.

A record that differs was either judged by other code or changed after it was written; both must be seen. What later
code records in addition is no difference.
"""

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path

from drills.errors import UsageError
from drills.history import History
from drills.record import load, rejudge

from .series import series_of
from .view import read_run
from .words import clean, line, shortened

_EQUAL_S = 1e-6  # histories keep microseconds


@dataclass(frozen=True)
class Difference:
    """One field in which a stored record and its history do not agree; `run` and `drill` are folders."""

    run: str
    drill: str
    field: str
    recorded: str
    today: str


@dataclass(frozen=True)
class Changed:
    """A verdict that today's code does not give any more, and why; `run` and `drill` are folders."""

    run: str
    drill: str
    recorded: str
    today: str
    why: str

    def __str__(self) -> str:
        return f"{self.run}/{self.drill}: {self.recorded} is {self.today} today: {self.why}"


@dataclass
class Recheck:
    """What judging again found: records judged, verdicts that changed, differences, unreadable runs."""

    judged: int = 0
    changed: list[Changed] = field(default_factory=list)
    differences: list[Difference] = field(default_factory=list)
    cut_off: list[Path] = field(default_factory=list)
    unreadable: list[str] = field(default_factory=list)


def recheck_run(run_dir: Path, into: Recheck) -> None:
    """Judge every record of one run again; one that cannot be judged is a difference, as it proves nothing."""
    for folder in sorted(entry for entry in run_dir.iterdir() if entry.is_dir() and not entry.is_symlink()):
        path, history = folder / "record.json", folder / "history.jsonl"
        if path.is_file():
            into.judged += 1
            for name, recorded, today, why in _recheck(path, history):
                into.differences.append(Difference(run_dir.name, folder.name, name, recorded, today))
                if name == "verdict":
                    into.changed.append(Changed(run_dir.name, folder.name, _bare(recorded), _bare(today), why))
        elif history.is_file():
            into.cut_off.append(folder)
    into.differences += _of_repeats(run_dir)


def _of_repeats(run_dir: Path) -> Iterator[Difference]:
    """Hold what each record says of all repeats against what these say, each of which was judged by itself."""
    for series in series_of(read_run(run_dir)[0]):
        for view in series.views:
            if view.place is not None and "distribution" in view.record:
                for found in differences(view.record["distribution"], asdict(series.found), "distribution"):
                    yield Difference(run_dir.name, view.place.parent.name, *found)


def _bare(value: str) -> str:
    return value.strip('"')


def _recheck(path: Path, history: Path) -> Iterator[tuple[str, str, str, str]]:
    """Give each field that differs, as (field, recorded, today, today's reason for its verdict)."""
    try:
        record = load(path)
    except UsageError as problem:
        yield "record", clean(problem), "cannot be judged", ""
        return
    try:
        again = rejudge(record, History.load(history))
    except UsageError as problem:
        yield "history", str(record["verdict"]), clean(problem), ""
        return
    except (LookupError, TypeError, ValueError, ArithmeticError, AttributeError) as problem:
        # Events that today's code cannot read although each by itself is well formed.
        said = f"an event lacks {problem}" if isinstance(problem, KeyError) else f"{type(problem).__name__} {problem}"
        yield "history", str(record["verdict"]), f"cannot be judged: {line(said, 200)}", ""
        return
    for found in differences(record, again):
        yield *found, clean(again["why"])


def differences(recorded: object, today: object, name: str = "") -> Iterator[tuple[str, str, str]]:
    """Compare two records field by field, times to a microsecond. Yields (field, recorded, today)."""
    if isinstance(recorded, Mapping) and isinstance(today, Mapping):
        for key, value in recorded.items():
            inner = f"{name}.{key}" if name else str(key)
            if key in today:
                yield from differences(value, today[key], inner)
            else:
                yield inner, _short(value), "absent"
    elif not _equal(recorded, today):
        yield name, _short(recorded), _short(today)


def _equal(one: object, two: object) -> bool:
    if isinstance(one, bool) or isinstance(two, bool):
        return one is two
    if isinstance(one, int | float) and isinstance(two, int | float):
        return math.isclose(one, two, rel_tol=0.0, abs_tol=_EQUAL_S)
    if isinstance(one, list) and isinstance(two, list):
        return len(one) == len(two) and all(_equal(a, b) for a, b in zip(one, two, strict=True))
    if isinstance(one, Mapping) and isinstance(two, Mapping):
        return all(key in two and _equal(value, two[key]) for key, value in one.items())
    return one == two


def _short(value: object) -> str:
    return shortened(clean(json.dumps(value, ensure_ascii=False, default=str)), 100)
