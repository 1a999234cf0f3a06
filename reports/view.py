"""A record as the reports read it: named, typed, and calm about what an older or a cut-off record does not have.

The schema (`drills/schemas/record-v1.json`) says what a record must hold; a report must show what there is. A figure
that is absent stays `None` and is printed as absent. Only what makes a record useless to every report is refused: it
is no JSON object, it has another schema, or its verdict is none of the known ones.
"""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from pathlib import Path
from typing import Any

from drills import parsing
from drills.record import SCHEMA
from drills.texts import bounded, whole
from drills.verdicts import Verdict

from .words import clean, line, seconds

_LONGEST = 4000  # characters of one text in a report: a stack trace; record.json has all of it
_LONGEST_PROBLEM = 400
_MOST = 500
"""Entries of one list in a report: checks, steps, facts. Of more, a line says how many are in record.json alone."""
_LARGEST = 1e9  # seconds, 31 years; also of counts: what is more was never measured
_FIRST_YEAR, _LAST_YEAR = 1970, 2200


class RecordError(ValueError):
    """A record that no report can use; the message names field, found and accepted."""


@dataclass(frozen=True)
class Step:
    """One step of the procedure; seconds since the fault was issued."""

    name: str
    command: str
    by: str
    started_s: float | None
    ended_s: float | None
    state: str

    @property
    def took_s(self) -> float | None:
        """How long it took; none for a step that never ended."""
        return None if self.started_s is None or self.ended_s is None else self.ended_s - self.started_s


@dataclass(frozen=True)
class Phase:
    """The beginning of a phase; seconds since the fault was issued, negative before it."""

    name: str
    t_s: float
    utc: str


@dataclass(frozen=True)
class Bar:
    """One bar of the waterfall; seconds since the fault was issued."""

    name: str
    start_s: float
    end_s: float
    kind: str
    by: str


@dataclass(frozen=True)
class Check:
    """One recovery check and what it found."""

    name: str
    ok: bool
    expected: str
    got: str


@dataclass(frozen=True)
class View:
    """One record with the run it belongs to and the place it was read from."""

    record: Mapping[str, Any]
    verdict: Verdict
    run: str
    place: Path | None = None

    @classmethod
    def of(cls, record: object, run: str = "", place: Path | None = None) -> "View":
        """Look at a record.

        Raises `RecordError` when it is no object, of another schema, or has no known verdict.
        """
        if not isinstance(record, Mapping):
            raise RecordError(f"a {type(record).__name__} found; accepted: a JSON object")
        schema = record.get("schema", SCHEMA)
        if schema != SCHEMA:
            raise RecordError(f"schema: {bounded(repr(schema), 80)} found; accepted: {SCHEMA!r}")
        try:
            verdict = Verdict(str(record.get("verdict")))
        except ValueError:
            accepted = ", ".join(repr(str(known)) for known in Verdict)
            found = bounded(repr(record.get("verdict")), 80)
            raise RecordError(f"verdict: {found} found; accepted: {accepted}") from None
        for part in ("achieved", "objective"):
            _check_range(part, record.get(part))
        return cls(record, verdict, run, place)

    def text(self, *keys: str) -> str:
        """Give a text by its path of keys, cleaned of control characters; empty when absent."""
        value = _dig(self.record, keys)
        return "" if value is None else _said(value)

    def figure(self, *keys: str) -> float | None:
        """Give a finite number by its path of keys; none when absent or no number."""
        return _number(_dig(self.record, keys))

    def count(self, *keys: str) -> int | None:
        """Give a count by its path of keys; a list counts its members; none when absent."""
        value = _dig(self.record, keys)
        if isinstance(value, list):
            return len(value)
        number = _number(value)
        return None if number is None else int(number)

    def writes(self, name: str) -> int | None:
        """Count writes that were `acknowledged`, `lost`, `corrupted`, `duplicated`, `resurrected`; none when unknown.

        What became of them is unknown when the data was never read back, whatever number the record holds then.
        """
        if name != "acknowledged" and self.unread:
            return None
        return self.count("achieved", "writes", name)

    @property
    def noticed(self) -> str:
        """Say what noticed the disaster, how long that took, and who was told; empty if the record does not tell."""
        took = self.figure("detection", "t_s")
        if took is None:
            return ""
        receiver, over = self.text("detection", "alert", "receiver"), self.figure("detection", "over_s")
        told = f"Detected after {seconds(took)} by {self.text('detection', 'by') or 'somebody'}"
        return told + (f", sent to {receiver}" if receiver else "") + (f"; over after {seconds(over)}" if over else "")

    def texts(self, *keys: str) -> list[str]:
        """Give a list of texts by its path of keys; a single text is a list of one; empty when absent."""
        value = _dig(self.record, keys)
        if isinstance(value, str):
            return [_said(value)] if value else []
        if not isinstance(value, list):
            return []
        more = [f"… and {len(value) - _MOST:,} more, in record.json"] if len(value) > _MOST else []
        return [_said(item) for item in value[:_MOST]] + more

    def rows(self, *keys: str) -> list[range]:
        """Give runs of row numbers, kept as `[first, last]`, by their path of keys; empty when absent."""
        value = _dig(self.record, keys)
        if not isinstance(value, list):
            return []
        pairs = [pair for pair in value if isinstance(pair, list) and len(pair) == 2]
        return [range(a, b + 1) for a, b in pairs if isinstance(a, int) and isinstance(b, int)]

    @property
    def drill(self) -> str:
        """The drill's name; of a record without one, the name of its folder."""
        return self.text("drill") or (self.place.parent.name if self.place else "") or "unnamed drill"

    @property
    def repeat(self) -> tuple[int, int] | None:
        """Which repeat of the drill in its run it is, of how many; none for a drill that was not repeated."""
        number, of = self.count("repeat", "number"), self.count("repeat", "of")
        return None if number is None or of is None else (number, of)

    @property
    def label(self) -> str:
        """The drill's name and, where it was repeated, which repeat this is."""
        return f"{self.drill} ({self.repeat[0]} of {self.repeat[1]})" if self.repeat else self.drill

    @property
    def scenario(self) -> str:
        """The file that describes the drill."""
        return self.text("scenario")

    @property
    def title(self) -> str:
        """The disaster in one sentence; of a record without one, the drill's name."""
        return self.text("title") or self.drill

    @property
    def why(self) -> str:
        """The verdict's reason, one sentence with figures."""
        return self.text("why")

    @property
    def rta_s(self) -> float | None:
        """Recovery time achieved; none when the service did not come back or nothing was measured."""
        return self.figure("achieved", "rta_s")

    @property
    def rta_low_s(self) -> float | None:
        """The least the recovery can have taken: up to the last bad reading."""
        return self.figure("achieved", "rta_low_s")

    @property
    def rta_high_s(self) -> float | None:
        """The most the recovery can have taken, up to the first good answer: what is held against the objective."""
        return self.figure("achieved", "rta_high_s")

    @property
    def rpa_s(self) -> float | None:
        """Recovery point achieved: age of the oldest lost acknowledged write when the fault was issued."""
        return self.figure("achieved", "rpa_s")

    @property
    def unread(self) -> bool:
        """Whether the data was never read back, so that what became of it is not known."""
        return _dig(self.record, ("losses", "read")) is False

    @property
    def rpa_at_least(self) -> bool:
        """Whether the recovery point achieved is a lower bound: what is missing may reach further back."""
        return self.rpa_s is not None and _dig(self.record, ("achieved", "rpa_at_least")) is True

    @property
    def rto_s(self) -> float | None:
        """Recovery time objective."""
        return self.figure("objective", "rto_s")

    @property
    def rpo_s(self) -> float | None:
        """Recovery point objective."""
        return self.figure("objective", "rpo_s")

    @property
    def sabotage(self) -> list[str]:
        """What was left out on purpose, to prove that the drill can fail; empty for an honest run."""
        return self.texts("sabotage")

    @property
    def steps(self) -> list[Step]:
        """The procedure's steps in order."""
        return [
            Step(
                _said(raw.get("name") or "unnamed step"),
                _said(raw.get("command") or ""),
                _said(raw.get("by") or "harness"),
                _number(raw.get("started_s")),
                _number(raw.get("ended_s")),
                _said(raw.get("state") or ""),
            )
            for raw in _objects(_dig(self.record, ("procedure", "steps")))
        ]

    @property
    def expected_steps(self) -> list[Step]:
        """The plan's steps with the duration expected of each, counted from its own beginning."""
        return [
            Step(
                _said(raw.get("name") or "unnamed step"),
                _said(raw.get("command") or ""),
                "",
                0.0,
                _number(raw.get("expected_s")),
                "expected",
            )
            for raw in _objects(self.record.get("expected_steps"))
        ]

    @property
    def phases(self) -> list[Phase]:
        """The phases in order of time."""
        found = [
            Phase(_said(raw.get("name") or "unnamed phase"), t_s, _said(raw.get("utc") or ""))
            for raw in _objects(self.record.get("phases"))
            if (t_s := _number(raw.get("t_s"))) is not None
        ]
        return sorted(found, key=lambda phase: phase.t_s)

    def phase(self, name: str) -> Phase | None:
        """Give a phase by its name; none when the drill never reached it."""
        return next((phase for phase in self.phases if phase.name == name), None)

    @property
    def bars(self) -> list[Bar]:
        """The waterfall's bars in order."""
        found = []
        for raw in _objects(self.record.get("waterfall")):
            start_s, end_s = _number(raw.get("start_s")), _number(raw.get("end_s"))
            if start_s is not None and end_s is not None:
                name, kind, by = raw.get("name") or "unnamed", raw.get("kind") or "phase", raw.get("by") or ""
                found.append(Bar(_said(name), start_s, end_s, _said(kind), _said(by)))
        return found

    @property
    def environment(self) -> dict[str, Any]:
        """What the drill was held on, without the images of the team's own."""
        raw = self.record.get("environment")
        shown = {key: value for key, value in raw.items() if key != "images"} if isinstance(raw, Mapping) else {}
        return {_said(key): _shown(value) for key, value in list(shown.items())[:_MOST]}

    @property
    def own_images(self) -> dict[str, str]:
        """The images of the team's own workloads: the digest of each name."""
        raw = self.record.get("environment")
        images = raw.get("images") if isinstance(raw, Mapping) else None
        return _mapping_of_texts(images)

    @property
    def backup(self) -> dict[str, Any]:
        """The recovery point offered, what a reader asks first standing first; empty when there was none."""
        raw = self.record.get("backup")
        if not isinstance(raw, Mapping):
            return {}
        known = {"kind", "name", "taken_utc", "age_at_fault_s", "offered"}
        return {
            "kind": _shown(raw.get("kind")),
            "name": _shown(raw.get("name")),
            "taken (UTC)": _shown(raw.get("taken_utc")),
            "age at the fault": seconds(_number(raw.get("age_at_fault_s")), absent=""),
            "backups offered": _shown(raw.get("offered")),
            **{_said(key): _shown(value) for key, value in list(raw.items())[:_MOST] if key not in known},
        }

    @property
    def checks(self) -> list[Check]:
        """The recovery checks; of very many the failed ones first, and a last one that counts what is left out."""
        found = [
            Check(
                _said(raw.get("name") or "unnamed check"),
                raw.get("ok") is True,
                _said("" if raw.get("expected") is None else raw["expected"]),
                _said("" if raw.get("got") is None else raw["got"]),
            )
            for raw in _objects(self.record.get("checks"), None)
        ]
        if len(found) <= _MOST:
            return found
        found.sort(key=lambda check: check.ok)
        rest = found[_MOST:]
        bad = sum(not check.ok for check in rest)
        told = f"{bad:,} of them failed" if bad else "all of them passed"
        return [*found[:_MOST], Check(f"… and {len(rest):,} more checks, in record.json", not bad, "", told)]

    @cached_property
    def started(self) -> datetime | None:
        """When the drill began; none when the record does not say."""
        return instant(self.record.get("started_utc"))

    @cached_property
    def held_s(self) -> float | None:
        """How long holding the drill took in seconds, its set-up included; none when the record does not say."""
        ended = instant(self.record.get("ended_utc"))
        return (ended - self.started).total_seconds() if ended and self.started else None

    @property
    def duration_s(self) -> float:
        """How long the drill took in seconds, from its first phase on.

        From its phases, which the monotonic clock timed; the UTC stamps are the fallback, for they move with the wall
        clock.
        """
        begun = [t_s for raw in _objects(self.record.get("phases")) if (t_s := _number(raw.get("t_s"))) is not None]
        if len(begun) > 1:
            return max(begun) - min(begun)
        return max(0.0, self.held_s or 0.0)


@dataclass(frozen=True)
class Problem:
    """A record that cannot be shown, and why: it is named in every report instead of being dropped."""

    path: Path
    found: str


def read_record(path: Path, run: str) -> View | Problem:
    """Read one record.json; a file that is absent, broken or of another schema comes back as a named problem."""
    try:
        return View.of(parsing.loads(parsing.read_bytes(path)), run, path)
    except (OSError, ValueError) as problem:  # of JSON, of its text's encoding, and RecordError
        return Problem(path, line(problem, _LONGEST_PROBLEM))


def read_run(run_dir: Path) -> tuple[list[View], list[Problem]]:
    """Read every record of one run, in order of their beginning, and name those that cannot be read.

    A drill's folder with a history and no record is a problem too: the drill was cut off before it was judged.
    """
    views: list[View] = []
    problems: list[Problem] = []
    for folder in sorted(entry for entry in run_dir.iterdir() if entry.is_dir() and not entry.is_symlink()):
        path = folder / "record.json"
        if path.is_file() or path.is_symlink():
            seen = read_record(path, run_dir.name)
            if isinstance(seen, View):
                views.append(seen)
            else:
                problems.append(seen)
        elif (folder / "history.jsonl").is_file():
            problems.append(Problem(path, "no record beside the history: the drill was cut off before it was judged"))
    views.sort(key=lambda view: (view.text("started_utc"), view.drill))
    return views, problems


def records_of(run_dir: Path) -> list[Path]:
    """Find the records of one run, in the order of their folders; links are not followed."""
    found = sorted(run_dir.glob("*/record.json"))
    return [path for path in found if not path.parent.is_symlink() and not path.is_symlink()]


def instant(text: object) -> datetime | None:
    """Read an ISO 8601 stamp with its zone; none for anything else."""
    if not isinstance(text, str):
        return None
    try:
        stamp = datetime.fromisoformat(text)
    except ValueError:
        return None
    # Other years are no drill's, and beyond what tables of the reports hold.
    return stamp if stamp.tzinfo and _FIRST_YEAR <= stamp.year <= _LAST_YEAR else None


def _dig(value: object, keys: Iterable[str]) -> Any:  # noqa: ANN401 - JSON holds anything; the callers above narrow it
    for key in keys:
        if type(value) is not dict and not isinstance(value, Mapping):  # the first is quick, and nearly always so
            return None
        value = value.get(key)
    return value


def _number(value: object) -> float | None:
    if type(value) is not float and type(value) is not int:  # a bool is no number
        return None
    return float(value) if math.isfinite(value) else None


def _objects(value: object, most: int | None = _MOST) -> list[Mapping[str, Any]]:
    if not isinstance(value, list):
        return []
    return [item for item in value[:most] if type(item) is dict or isinstance(item, Mapping)]


def _said(value: object) -> str:
    """Give a text of a record as reports may hold it: no control characters, and not endless."""
    if isinstance(value, str) and value.isprintable() and len(value) <= _LONGEST:
        return value  # as nearly all are: nothing in it has to be cleaned
    text = value if isinstance(value, str) else str(value)
    return clean(bounded(whole(text), _LONGEST))


def _shown(value: object) -> Any:  # noqa: ANN401 - JSON
    """Give a value of any kind, bounded where it is a text or would be written as one."""
    return value if isinstance(value, bool | int | float | None) else _said(value)


def _mapping_of_texts(value: object) -> dict[str, str]:
    pairs = list(value.items())[:_MOST] if isinstance(value, Mapping) else []
    return {_said(key): _said(each) for key, each in pairs}


def _check_range(part: str, figures: object) -> None:
    """Refuse a record whose figures no calendar holds: what is computed from them would fail far from here."""
    for name, value in figures.items() if isinstance(figures, Mapping) else ():
        if type(value) is float or type(value) is int:
            if abs(value) > _LARGEST:  # which NaN, that is no figure, is not
                shown = bounded(repr(value), 40)
                raise RecordError(f"{part}.{name}: invalid value {shown}: expected at most {_LARGEST:g}")
        elif type(value) is dict:
            _check_range(f"{part}.{name}", value)
