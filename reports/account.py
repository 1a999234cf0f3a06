"""What a report tells of one run, gathered once, for the page and for the PDF: the two must never differ in a fact."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills import standing as standings
from drills.errors import UsageError
from drills.history import Event, History
from drills.shell import command_line
from drills.standing import Action, SignOff, Standing
from drills.verdicts import Verdict

from . import cells, words
from .changes import Before, find_before, left_out_of, read_about, what_changed
from .executed import Command, Executed, executed, read_commands
from .headline import RANK, Headline, headline
from .incident import Incident, draft
from .series import Series, series_of
from .view import Problem, View, read_run

STANDING_WORD: Mapping[Standing, str] = {
    Standing.PASSED: "Passed",
    Standing.FAILED: "Failed",
    Standing.INCOMPLETE: "Incomplete",
    Standing.INCONCLUSIVE: "Inconclusive",
    Standing.ENVIRONMENT: "Environment failed",
}
"""How complete the evidence of a drill is, as a reader says it."""

STANDING_MEANS: Mapping[Standing, str] = {
    Standing.PASSED: "met its objectives, and everything that a record must show is there",
    Standing.FAILED: "missed an objective",
    Standing.INCOMPLETE: "met its objectives, but fields that a record must show are missing",
    Standing.INCONCLUSIVE: "proved nothing about recovery",
    Standing.ENVIRONMENT: "could not be run",
}
"""What each standing means, with a drill as the subject."""

STANDING_ROLE: Mapping[Standing, str] = {
    Standing.PASSED: "good",
    Standing.FAILED: "bad",
    Standing.INCOMPLETE: "inconclusive",
    Standing.INCONCLUSIVE: "inconclusive",
    Standing.ENVIRONMENT: "environment",
}
"""Which colour of a `Palette` stands for which standing."""

_REASON_COLUMNS = 400


@dataclass(frozen=True)
class DrillAccount:
    """All that is told of one drill. `trouble` says why there is no history, `unjudged` why there is no standing."""

    anchor: str
    view: View
    events: list[Event] | None
    trouble: str
    standing: Standing | None
    unjudged: str
    missing: list[tuple[str, str]]
    supplied: Mapping[str, object]
    sign_offs: list[SignOff]
    steps: list[Executed]
    loose: list[Command]
    before: Before
    changes: list[str]
    incident: Incident | None

    @property
    def participants(self) -> list[tuple[str, str]]:
        """Who took part, (name, role)."""
        return people(self.supplied)

    @property
    def remarks(self) -> list[tuple[str, str]]:
        """What must be known before the figures are read: (what stands out, the rest)."""
        found = []
        if self.view.sabotage:
            found.append(
                (
                    "Sabotaged on purpose",
                    f"({', '.join(self.view.sabotage)} left out), to prove that this drill can fail. "
                    "It says nothing about recovery and stands in no trend.",
                )
            )
        clock = self.view.record.get("clock")
        if isinstance(clock, Mapping) and clock.get("stepped"):
            found.append(
                (
                    f"The wall clock was stepped by {words.seconds(self.view.figure('clock', 'wall_step_s'))} "
                    "during this drill.",
                    "Durations come from the monotonic clock and are not touched; UTC stamps are.",
                )
            )
        return [*found, ("No timeline:", self.trouble)] if self.trouble else found

    @property
    def said(self) -> list[tuple[str, str]]:
        """What else people said of the drill, as (name, text): approver, scope, independence, deviations."""
        others = {key: value for key, value in self.supplied.items() if key != "participants"}
        return [pair for key, value in others.items() for pair in flat(_joined(value), key.replace("_", " "))]

    @property
    def actions(self) -> list[Action]:
        """Corrective actions, each as it was stated last."""
        return list({action.id: action for one in self.sign_offs for action in one.actions}.values())

    @property
    def issues(self) -> list[str]:
        """What people found wanting."""
        return [issue for one in self.sign_offs for issue in one.issues]


@dataclass(frozen=True)
class RunAccount:
    """All that is told of one run."""

    run: str
    about: Mapping[str, object]
    headline: Headline
    drills: list[DrillAccount]
    problems: list[Problem]
    sign_offs: list[SignOff]
    trouble: str

    @property
    def reason(self) -> str:
        """The headline's reason, cut where it holds a whole stack trace; the drill's own section has all of it."""
        return words.shortened(" ".join(words.clean(self.headline.reason).split()), _REASON_COLUMNS)

    @property
    def glance(self) -> list[tuple[str, str]]:
        """The run at a glance, beneath the headline: (name, text)."""
        facts = [
            ("Date and place", self._held()),
            ("Data", self._data()),
            ("Not run: time budget spent", "; ".join(left_out_of(self.about))),
            ("Evidence", self._standing()),
            ("Participants", self._participants()),
            ("Sign-offs", self._signed()),
            ("Corrective actions", self._actions()),
            ("Integrity", "run sh verify.sh in this run's directory; VERIFY.md explains what it checks"),
        ]
        return [(name, words.clean(text)) for name, text in facts if text]

    @property
    def repeated(self) -> list[Series]:
        """The drills that were repeated, with what their repeats show together."""
        return series_of([drill.view for drill in self.drills])

    @property
    def incidents(self) -> list[DrillAccount]:
        """The drills for which an incident report is drafted."""
        return [drill for drill in self.drills if drill.incident]

    def _held(self) -> str:
        began, ended = (str(self.about.get(key) or "") for key in ("started_utc", "ended_utc"))
        when = " to ".join(_minute(stamp) for stamp in (began, ended) if stamp)
        kinds = sorted({drill.view.text("environment", "kind") for drill in self.drills} - {""})
        place = {
            "kind": "on kind clusters created for the run, not in production",
            "external": "on a cluster of the team's own",
        }
        return "; ".join(filter(None, (when and f"{when} UTC", *(place.get(kind, f"on {kind}") for kind in kinds))))

    def _data(self) -> str:
        told = []
        for name in ("acknowledged", "lost", "corrupted", "duplicated", "resurrected"):
            known = [number for drill in self.drills if (number := drill.view.writes(name)) is not None]
            if known:
                told.append(f"{sum(known)} {'writes ' if name == 'acknowledged' else ''}{name}")
        unread = sum(bool(drill.view.writes("acknowledged")) and drill.view.unread for drill in self.drills)
        if unread:
            told.append(f"not known for {unread} {'drill' if unread == 1 else 'drills'}, whose data was not read back")
        return ", ".join(told)

    def _standing(self) -> str:
        told = []
        for standing in Standing:
            number = sum(drill.standing is standing for drill in self.drills)
            if number:
                told.append(f"{number} {STANDING_WORD[standing].lower()}")
        gaps = sum(len(drill.missing) for drill in self.drills)
        return ", ".join(told) + (f"; fields missing: {gaps}, named with each drill" if gaps else "")

    def _participants(self) -> str:
        named = dict.fromkeys(person for drill in self.drills for person in drill.participants)
        return "; ".join(f"{name} ({role})" if role else name for name, role in named) or "none recorded"

    def _signed(self) -> str:
        told = [
            f"{one.decision} by {one.by} ({one.role}), {one.utc[:10]}" + (f", of {one.drill}" if one.drill else "")
            for one in self.sign_offs
        ]
        return "; ".join(told) or "none recorded when this report was written"

    def _actions(self) -> str:
        latest = {action.id: action for one in self.sign_offs for action in one.actions}.values()
        waiting = [action for action in latest if action.state != "done"]
        due = sorted(action.due for action in waiting)
        if not latest:
            return "none recorded when this report was written" if self.headline.verdict is Verdict.MISSED else ""
        return f"{len(waiting)} open{f', the first due {due[0]}' if due else ''}; {len(latest) - len(waiting)} done"


def read_account(run_dir: Path, evidence_dir: Path | None = None) -> RunAccount:
    """Gather what is told of a run.

    Args:
        run_dir: the run's directory.
        evidence_dir: where earlier runs are looked for; by default where the run lies.

    """
    views, problems = read_run(run_dir)
    about = read_about(run_dir)
    try:
        signed, trouble = standings.sign_offs(run_dir), ""
    except UsageError as problem:
        signed, trouble = [], words.clean(problem)
    place = evidence_dir or run_dir.parent
    worst_first = sorted(views, key=lambda view: RANK[view.verdict])
    drills = [_drill(f"drill-{number}", view, about, signed, place) for number, view in enumerate(worst_first, 1)]
    return RunAccount(
        run_dir.name,
        about,
        headline(views, problems, with_twins=about.get("twins") is True),
        drills,
        problems,
        signed,
        trouble,
    )


def people(supplied: Mapping[str, object]) -> list[tuple[str, str]]:
    """Name the participants that a record's meta holds, (name, role)."""
    found = supplied.get("participants")
    return [
        (words.clean(one.get("name") or ""), words.clean(one.get("role") or ""))
        for one in (found if isinstance(found, list) else [])
        if isinstance(one, Mapping)
    ]


def read_events(view: View) -> list[Event]:
    """Read the history beside a record.

    Raises UsageError when there is none or it cannot be read.
    """
    if view.place is None:
        raise UsageError("history: found a record without a place; accepted: one read from a run's directory")
    return History.load(view.place.with_name("history.jsonl")).events()


def flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Lay nested facts out as (name, text) pairs, `packages: pytest`; a list of plain values stands on one line."""
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in flat(inner, _named(name, str(key)))]
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        return [pair for number, inner in enumerate(value, 1) for pair in flat(inner, _named(name, str(number)))]
    if isinstance(value, list):
        # An argument vector, such as run.json's: what a reader copies must be what was run.
        is_command = name.rpartition(": ")[2] in ("command", "argv")
        value = command_line(value) if is_command else ", ".join(str(item) for item in value)
    if value is None or value == "":
        return []
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return [(words.clean(name), words.clean(text))]


def measured(view: View) -> list[tuple[str, str]]:
    """Say how a drill was measured, as (name, text) pairs."""
    rate = view.figure("probe", "rate_hz")
    return flat(
        {
            "objective source": view.text("objective", "source"),
            "total downtime": words.seconds(view.figure("achieved", "downtime_s")),
            "began (UTC)": view.text("started_utc"),
            "ended (UTC)": view.text("ended_utc"),
            "clocks": view.record.get("clock_source") or "durations: monotonic; stamps: wall clock, UTC",
            "controls": ", ".join(view.texts("controls")),
            "probe": view.text("probe", "probe"),
            "readings": view.count("probe", "readings"),
            "readings per second": "" if rate is None else round(rate, 1),
            "largest gap between readings": words.seconds(view.figure("probe", "largest_gap_s")),
            "environment": view.environment,
            "images of the team's own": ", ".join(f"{name} {digest}" for name, digest in view.own_images.items()),
            "harness": view.record.get("harness"),
            "evidence": f"{view.place.parent.name}/record.json, history.jsonl, commands.log" if view.place else "",
        }
    )


def recovery(view: View) -> str:
    """Say the recovery time achieved with its bounds; without one, whether it was missed or never measured."""
    absent = words.NEVER if view.verdict is Verdict.MISSED else words.NOT_MEASURED
    last = cells.came_back_last(view)
    return words.bounds(view.rta_s, view.rta_low_s, view.rta_high_s, absent) + (f" ({last})" if last else "")


def verified(view: View) -> list[tuple[str, str]]:
    """Say what became of the data, as (name, text) pairs; empty when the drill had no ledger to verify."""
    acknowledged, unknown = view.writes("acknowledged"), view.count("achieved", "writes", "unknown")
    read = view.record.get("losses", {}).get("read") if isinstance(view.record.get("losses"), Mapping) else None
    if not acknowledged and not read:
        return []
    pairs = [
        ("writes acknowledged", str(acknowledged)),
        ("read back afterwards", "yes, every row" if read else "no: what was lost is not known"),
    ]
    for name in ("lost", "corrupted", "duplicated", "resurrected"):
        number = view.writes(name)
        rows = ", ".join(f"{run[0]} to {run[-1]}" if len(run) > 1 else str(run[0]) for run in view.rows("losses", name))
        text = "unknown" if number is None else f"{number} (rows {words.shortened(rows, 120)})" if rows else str(number)
        pairs.append((name, text))
    if unknown:
        pairs.append(("never acknowledged", f"{unknown}; counted neither as kept nor as lost"))
    stopped = view.figure("achieved", "writes_stopped_s")
    if stopped:
        pairs.append(("writes were acknowledged until", f"{words.seconds(stopped)} after the fault"))
    pairs.append(
        ("recovery point achieved (RPA)", f"{cells.achieved_point(view)} (objective: {words.objective(view.rpo_s)})")
    )
    if cells.planned_point(view):
        pairs.append(("recovery point by the plan", cells.planned_point(view).removeprefix("by plan ")))
    if view.figure("backup", "age_at_fault_s") is not None:
        age = words.seconds(view.figure("backup", "age_at_fault_s"))
        pairs.append(("age of the backup at the fault", age))
    return pairs


def _joined(value: object) -> object:
    """Join lists by semicolons, as people write them, since what they say has spaces."""
    if isinstance(value, Mapping):
        return {key: _joined(inner) for key, inner in value.items()}
    return "; ".join(str(item) for item in value) if isinstance(value, list) else value


def _named(outer: str, inner: str) -> str:
    readable = inner.replace("_", " ")
    return f"{outer}: {readable}" if outer else readable


def _minute(stamp: str) -> str:
    return stamp[:16].replace("T", " ")


def _drill(
    anchor: str, view: View, about: Mapping[str, object], signed: Sequence[SignOff], evidence_dir: Path
) -> DrillAccount:
    events: list[Event] | None = None
    trouble = unjudged = ""
    try:
        events = read_events(view)
    except UsageError as problem:
        trouble = words.clean(problem)
    before = find_before(view, evidence_dir)
    commands = read_commands(view.place.with_name("commands.log")) if view.place else []
    steps, loose = executed(view, events or [], commands, before.view)
    record = {**view.record, "drill": view.drill}
    own: list[SignOff] = []
    found: Standing | None = None
    gaps: list[str] = []
    supplied: Mapping[str, object] = {}
    try:
        own = [one for one in signed if one.covers(standings.directory_of(record))]
        found, gaps = standings.standing(record, about, own), standings.missing(record, about, own)
        supplied = standings.supplied(record, about, own)
    except (UsageError, AttributeError, KeyError, TypeError, ValueError) as problem:
        # A record that is not of the schema; it is shown all the same, and how complete it is is left open.
        unjudged = f"its record is not of the schema, `drills validate` says where ({words.clean(problem)})"
    earlier = read_about(before.view.place.parent.parent) if before.view and before.view.place else {}
    return DrillAccount(
        anchor=anchor,
        view=view,
        events=events,
        trouble=trouble,
        standing=found,
        unjudged=unjudged,
        missing=[_gap(gap) for gap in gaps],
        supplied=supplied,
        sign_offs=own,
        steps=steps,
        loose=loose,
        before=before,
        changes=[words.clean(change) for change in what_changed(view, before, about, earlier)],
        incident=draft(view, events or [], steps),
    )


def _gap(text: str) -> tuple[str, str]:
    field, _, meaning = text.partition(": ")
    return words.clean(field), words.clean(meaning)
