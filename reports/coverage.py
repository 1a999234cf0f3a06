"""What has been proven, how long ago, and what has not: failures by procedures by classes of data by controls.

A failure counts as proven by the newest drill that caused it and met its objectives. A proof grows stale: after the
interval that the plan sets for its drill, or after a quarter where no plan says. What no drill proves is a gap:
declared in the plan with its reason and its end, or found here.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from pathlib import Path
from typing import Any

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from drills import faults, parsing, runs
from drills.errors import UsageError
from drills.plan import Plan
from drills.plan import load as load_plan
from drills.record import write_atomically
from drills.verdicts import Verdict, worst

from .controls import named
from .frame import Evidence, newest_of_each
from .maturity import Area, Programme, maturity
from .palette import DARK, LIGHT, VERDICT_ROLE, VERDICT_SIGN, VERDICT_WORD, roles
from .view import instant, records_of
from .words import clean

TEMPLATES = Path(__file__).parent / "templates"
QUARTER = timedelta(days=92)
"""How long a proof lasts where no plan says."""


class State(StrEnum):
    """What is known of a failure."""

    PROVEN = "proven"
    STALE = "stale"
    MISSED = "missed"
    NEVER = "never proven"


@dataclass(frozen=True)
class Cell:
    """One failure, recovered by one procedure, with one set of data classes at stake.

    Attributes:
        failure: what was broken.
        procedure: what recovered it.
        data: the classes of data at stake.
        drills: the drills that cause it.
        controls: the controls that those drills name.
        verdict: of its newest run; the worst of several.
        proven: when a drill of it last met its objectives; None for never.
        days: days since; None for never.
        lasts_days: how long a proof of it lasts.
        environments: what the proofs were held on.

    """

    failure: str
    procedure: str
    data: tuple[str, ...]
    drills: tuple[str, ...]
    controls: tuple[str, ...]
    verdict: Verdict
    proven: datetime | None
    days: int | None
    lasts_days: int
    environments: tuple[str, ...]

    @property
    def state(self) -> State:
        """What is known of it; a miss outranks an older proof."""
        if self.verdict is Verdict.MISSED:
            return State.MISSED
        if self.days is None:
            return State.NEVER
        return State.PROVEN if self.days <= self.lasts_days else State.STALE


@dataclass(frozen=True)
class Gap:
    """What no drill proves.

    Attributes:
        what: in words.
        why: why it is so.
        until: the day until which it is accepted; None for a gap that nobody declared.
        overdue: whether that day is over.

    """

    what: str
    why: str
    until: date | None = None
    overdue: bool = False


@dataclass(frozen=True)
class Coverage:
    """What an evidence directory proves at one moment.

    Attributes:
        cells: failure by procedure by data.
        declared: the gaps that the plan declares.
        found: the gaps that nobody declared.
        maturity: the table of how far the programme has come.
        verdict: on the newest run of every drill together.
        as_of: the moment.
        plan: what is known of the plan, in words.
        unrehearsed: the failures that this harness can cause and no drill did: a catalogue to choose from, and no gaps.
        set_aside: the drills whose runs are left out, each with its last verdict and the reason.
        has_plan: whether there was a plan to hold the drills against.

    """

    cells: tuple[Cell, ...]
    declared: tuple[Gap, ...]
    found: tuple[Gap, ...]
    maturity: tuple[Area, ...]
    verdict: Verdict
    as_of: datetime
    plan: str
    unrehearsed: tuple[str, ...] = ()
    set_aside: tuple[str, ...] = ()
    has_plan: bool = False

    @property
    def sentence(self) -> str:
        """The page's first line, without the verdict's word."""
        if not self.cells:
            return "no drill has caused a failure yet, so nothing is covered."
        missed = [cell for cell in self.cells if cell.state is State.MISSED]
        proven = sum(cell.state is State.PROVEN for cell in self.cells)
        total = len(self.cells)
        told = f"{proven} of {total} rehearsed {'failure is' if total == 1 else 'failures are'} proven and fresh."
        if missed:
            names = ", ".join(dict.fromkeys(drill for cell in missed for drill in cell.drills))
            told = f"latest runs that missed an objective: {names}. {told[0].upper()}{told[1:]}"
        gaps = len(self.found)
        return f"{told} {gaps} undeclared {'gap' if gaps == 1 else 'gaps'}." if gaps else told

    @property
    def controls(self) -> list[str]:
        """Every control that a drill names, in order."""
        return sorted({control for cell in self.cells for control in cell.controls})

    @property
    def failures(self) -> list[str]:
        """Every failure that a drill caused, in order."""
        return list(dict.fromkeys(cell.failure for cell in self.cells))

    def newest(self, failure: str, control: str) -> Cell | None:
        """Find the freshest proof that a failure gives to a control; a cell without one if there is no other."""
        cells = [cell for cell in self.cells if cell.failure == failure and control in cell.controls]
        order = {State.MISSED: 0, State.PROVEN: 1, State.STALE: 2, State.NEVER: 3}
        return min(cells, key=lambda cell: (order[cell.state], cell.days or 0), default=None)

    def as_json(self) -> dict[str, Any]:
        """Give all of it as JSON."""
        return {
            "as_of": self.as_of.isoformat(timespec="seconds"),
            "verdict": str(self.verdict),
            "plan": self.plan,
            "matrix": [
                {
                    "failure": cell.failure,
                    "procedure": cell.procedure,
                    "data": list(cell.data),
                    "controls": list(cell.controls),
                    "drills": list(cell.drills),
                    "state": str(cell.state),
                    "verdict": str(cell.verdict),
                    "proven_utc": cell.proven.isoformat(timespec="seconds") if cell.proven else None,
                    "days_since_proof": cell.days,
                    "proof_lasts_days": cell.lasts_days,
                    "environments": list(cell.environments),
                }
                for cell in self.cells
            ],
            "gaps": [
                {"what": gap.what, "why": gap.why, "until": gap.until.isoformat() if gap.until else None,
                 "declared": gap.until is not None, "overdue": gap.overdue}
                for gap in (*self.declared, *self.found)
            ],
            "unrehearsed_failures": list(self.unrehearsed),
            "set_aside": list(self.set_aside),
            "maturity": [area.as_json() for area in self.maturity],
        }  # fmt: skip


def coverage(evidence: Evidence, evidence_dir: Path, as_of: datetime, plan: Plan | None = None) -> Coverage:
    """Say what an evidence directory proves at a moment; later runs are not looked at.

    Args:
        evidence: as `read_evidence` gives it.
        evidence_dir: where it lies, for the log.
        as_of: the moment, aware.
        plan: the team's plan, for intervals, drills that were never held, and declared gaps.

    """
    honest = evidence.honest()
    # A record without a stamp counts: nothing that was recorded is left out because of what it lacks.
    rows = honest[~(honest["utc"] > pd.Timestamp(as_of))].reset_index(drop=True)
    newest = newest_of_each(rows)
    cells = _cells(rows, newest, as_of, plan)
    declared = tuple(Gap(gap.what, gap.why, gap.until, gap.until < as_of.date()) for gap in (plan.gaps if plan else ()))
    log = evidence_dir / runs.LOG
    programme = Programme(
        rows,
        newest,
        as_of,
        {name: _lasts(name, plan) for name in newest["drill"]},
        tuple(_never_held(newest, plan)),
        tuple(runs.unfinished(log)) if log.is_file() else (),
    )
    return Coverage(
        cells,
        declared,
        tuple(_found(cells, newest, plan, declared)),
        maturity(programme),
        worst(Verdict(verdict) for verdict in newest["verdict"]),
        as_of,
        f"plan {plan.version} ({plan.path.name})" if plan else "no plan: a proof is taken to last a quarter",
        tuple(_unrehearsed(cells, declared)),
        tuple(evidence.set_aside),
        plan is not None,
    )


def moment_of(run_dir: Path) -> datetime:
    """Give the moment that a run's coverage stands for: the last stamp that the run left.

    Reports that are written again later say the same.
    """
    stamps = []
    for path in (run_dir / "run.json", *records_of(run_dir)):
        try:
            data = parsing.loads(parsing.read_bytes(path))
        except (OSError, ValueError):  # named in every report of the run; here the other stamps do
            continue
        if isinstance(data, dict):
            stamps += [instant(data.get(name)) for name in ("ended_utc", "started_utc")]
    return max((stamp for stamp in stamps if stamp), default=datetime.now(UTC))


def plan_of(run_dir: Path) -> Plan | None:
    """Load the plan that a run was held by; None where it named none, or where that file is another one today."""
    for path in records_of(run_dir):
        try:
            named_plan = parsing.loads(parsing.read_bytes(path)).get("plan")
        except (OSError, ValueError, AttributeError):
            continue
        if isinstance(named_plan, dict) and Path(str(named_plan.get("path"))).is_file():
            try:
                plan = load_plan(Path(str(named_plan["path"])))
            except UsageError:  # edited into something else since, so it is not the one that the run names
                return None
            return plan if plan.sha256 == named_plan.get("sha256") else None
    return None


def write_coverage(found: Coverage, path: Path) -> Path:
    """Write coverage.html, one file that fetches nothing."""
    write_atomically(path, render_coverage(found))
    return path


def render_coverage(found: Coverage) -> str:
    """Render the page as HTML text."""
    return page_environment().get_template("coverage.html.j2").render(
        coverage=found,
        role={State.PROVEN: "good", State.STALE: "inconclusive", State.MISSED: "bad", State.NEVER: "environment"},
        verdict_role=VERDICT_ROLE[found.verdict],
        verdict_sign=VERDICT_SIGN[found.verdict],
        verdict_word=VERDICT_WORD[found.verdict],
        known=lambda text: bool(named(text)),
    )  # fmt: skip


def page_environment() -> Environment:
    """Prepare the templates that share one look."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.globals |= {"light": roles(LIGHT), "dark": roles(DARK), "clean": clean}
    environment.filters["breakable"] = _breakable
    return environment


def _breakable(name: str) -> Markup:
    """Let a long name break behind its underscores instead of within a word."""
    return Markup(re.sub(r"([_./])", r"\1<wbr>", str(escape(clean(name)))))  # noqa: S704 - escaped just now


# --- how it is found ---


def known_failures() -> set[str]:
    """Name the failures that this harness can cause, as records do; several at once are made of these."""
    kinds = [kind for name in faults.__all__ if isinstance(kind := getattr(faults, name), type)]
    found = [kind for kind in kinds if issubclass(kind, faults.Fault)]
    names = {name for kind in found for name in kind.names or (getattr(kind, "name", ""),) if name}
    return {name for name in names if not name.startswith("none:")}  # a validated backup breaks nothing


def _cells(rows: pd.DataFrame, newest: pd.DataFrame, as_of: datetime, plan: Plan | None) -> tuple[Cell, ...]:
    # What a drill breaks and mends is read off its newest run that got so far; others have no failure to name.
    told = rows[rows["fault"] != ""].groupby("drill").tail(1).copy()
    if told.empty:
        return ()
    met = rows[rows["verdict"] == str(Verdict.MET)]
    proofs = met.groupby("drill").tail(1).set_index("drill")
    verdicts = dict(zip(newest["drill"], map(Verdict, newest["verdict"]), strict=True))
    cells = []
    for (failure, procedure, data), group in told.groupby(["fault", "procedure", "data"], sort=True):
        drills = tuple(sorted(map(str, group["drill"])))
        found = proofs[proofs.index.isin(drills)]
        proven = found["utc"].max() if not found.empty else pd.NaT
        lasts = min(_lasts(drill, plan) for drill in drills)
        cells.append(
            Cell(
                str(failure),
                str(procedure) or "none named",
                tuple(str(data).split("\n")),
                drills,
                tuple(sorted({control for text in group["controls"] for control in text.split("\n") if control})),
                worst(verdicts[drill] for drill in drills),
                None if pd.isna(proven) else proven.to_pydatetime(),
                None if pd.isna(proven) else max(0, (as_of - proven.to_pydatetime()).days),
                lasts.days,
                tuple(sorted(set(map(str, found["environment"])) - {""})),
            )
        )
    return tuple(cells)


def _lasts(drill: str, plan: Plan | None) -> timedelta:
    entry = plan.entry_for(drill) if plan else None
    return entry.frequency if entry and entry.frequency else QUARTER


def _never_held(newest: pd.DataFrame, plan: Plan | None) -> Iterable[str]:
    held = list(newest["drill"])
    for entry in plan.entries if plan else ():
        if not any(entry.covers(str(drill)) for drill in held):
            yield entry.name


def _unrehearsed(cells: Sequence[Cell], declared: Sequence[Gap]) -> Iterable[str]:
    """Name the failures that the harness can cause and no drill did.

    Whether one of them matters depends on the team's system: without etcd of one's own, its loss is no gap.
    """
    said = _said(declared)
    # Several at once are named "x and y"; each of them was caused.
    caused = {part for cell in cells for part in (cell.failure, *cell.failure.split(" and "))}
    return (name for name in sorted(known_failures() - caused) if name.lower().replace("_", " ") not in said)


def _said(declared: Sequence[Gap]) -> str:
    return " ".join(f"{gap.what} {gap.why}".lower().replace("_", " ") for gap in declared)


def _found(cells: Sequence[Cell], newest: pd.DataFrame, plan: Plan | None, declared: Sequence[Gap]) -> Iterable[Gap]:
    said = _said(declared)

    def undeclared(name: str) -> bool:
        return name.lower().replace("_", " ") not in said

    for name in _never_held(newest, plan):
        if undeclared(name):
            yield Gap(name, "in the plan, and never run")
    proven = {cell.failure for cell in cells if cell.days is not None}
    for name in sorted({cell.failure for cell in cells} - proven):
        if undeclared(name):
            yield Gap(name, "drills caused it, and none has met its objectives yet")
    without = sorted(str(drill) for drill in newest["drill"] if not any(str(drill) in cell.drills for cell in cells))
    for name in without:
        if undeclared(name):
            yield Gap(name, "a drill that never got as far as its failure; `drills forget` sets an abandoned one aside")
