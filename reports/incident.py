"""The draft of an incident report for a drill that missed an objective: incident.md in the drill's folder.

What the history knows is filled in: times, impact, where the time went. What only people know is left open and says
so: causes, what is to be done, what was learned. The disaster itself was caused on purpose; the incident is that
recovery did not keep what was promised.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

from drills.errors import UsageError
from drills.history import Event, History
from drills.measures import issued_at
from drills.record import write_atomically
from drills.standing import sign_offs
from drills.verdicts import Verdict

from .cells import achieved_point, came_back_last, planned_point
from .executed import Executed, executed
from .view import View
from .words import NEVER, bounds, clean, objective, seconds

FILL_IN = "to be filled in"
"""What stands where only people know the answer."""

QUESTIONS = (
    (
        "Causes",
        (
            ("Direct cause", "What made this recovery miss its objective?"),
            ("Root cause", "Why could that happen, and why was it not known before?"),
            ("Contributing factors", "Staffing, tools, documents, load, capacity: what made it worse?"),
        ),
    ),
    (
        "Response",
        (
            ("Immediate", "What was done on the day?"),
            ("Permanent", "What is changed so that it does not happen again: system, runbook, plan, objective?"),
        ),
    ),
    ("Improvements", (("Proposals", "In order of priority; each becomes an action above with owner and date."),)),
    ("Lessons", (("Learned", "What would you tell the next team that runs this drill?"),)),
)
"""What people have to answer: headings, and under each what is asked."""

_LONGEST = 3  # that many stretches of the waterfall are named


@dataclass(frozen=True)
class Moment:
    """One line of the timeline; `since_s` counts from the fault, negative before it, none when none was issued."""

    utc: str
    since_s: float | None
    what: str


@dataclass(frozen=True)
class Incident:
    """The draft: the facts of its overview, its timeline, and what the measurements say about causes."""

    drill: str
    why: str
    overview: list[tuple[str, str]]
    timeline: list[Moment]
    known: list[str]


def calls_for_one(view: View) -> bool:
    """Whether a drill calls for an incident report: it missed, and was not sabotaged on purpose."""
    return view.verdict is Verdict.MISSED and not view.sabotage


def draft(view: View, events: Sequence[Event], steps: Sequence[Executed] = ()) -> Incident | None:
    """Draft the report of a drill that calls for one; none for any other."""
    if not calls_for_one(view):
        return None
    restored, stable = view.phase("restored"), view.phase("stable")
    lost = view.writes("lost")
    overview = [
        ("Began (UTC)", view.text("fault", "issued_utc") or "no fault was issued"),
        ("Detected (UTC)", detected.utc if (detected := view.phase("detected")) else "no detection was recorded"),
        ("Service back (UTC)", restored.utc if restored else _back_without_end(view)),
        ("Recovery complete (UTC)", stable.utc if stable else "not reached"),
        (
            "Recovery time",
            f"{bounds(view.rta_s, view.rta_low_s, view.rta_high_s)}, objective {objective(view.rto_s)}"
            + _besides(came_back_last(view)),
        ),
        ("Recovery point", f"{achieved_point(view)}, objective {objective(view.rpo_s)}{_besides(planned_point(view))}"),
        ("Users without service", seconds(view.figure("achieved", "downtime_s"))),
        ("Acknowledged writes lost", "unknown: the data was not read back" if lost is None else str(lost)),
        ("Level", ", ".join(filter(None, (_tier(view), _reach(view)))) or FILL_IN),
        ("Affected system", view.text("fault", "target") or "nothing"),
        ("Who was affected", f"{FILL_IN} (in this drill: {view.text('probe', 'probe') or 'no user was simulated'})"),
    ]
    return Incident(view.drill, view.why, overview, _timeline(events), _known(view, steps))


def write_incident(view: View) -> Path:
    """Write incident.md beside a record of a missed objective.

    Raises UsageError when the record has no place, its history or its run's sign-offs cannot be read, or when it calls
    for none.
    """
    if view.place is None:
        raise UsageError("incident: found a record without a place; accepted: one read from a run's directory")
    events = History.load(view.place.with_name("history.jsonl")).events()
    steps, _ = executed(view, events, [], None)
    incident = draft(view, events, steps)
    if incident is None:
        found = f"{view.verdict}{' of a sabotaged drill' if view.sabotage else ''}"
        raise UsageError(f"incident: found the verdict {found}; accepted: {Verdict.MISSED} in earnest")
    path = view.place.with_name("incident.md")
    latest = {
        action.id: (action.id, action.text, action.owner, action.due, action.state)
        for one in sign_offs(view.place.parent.parent)
        if one.covers(view.place.parent.name)
        for action in one.actions
    }
    write_atomically(path, as_markdown(incident, latest.values()))
    return path


def as_markdown(incident: Incident, actions: Iterable[Sequence[str]] = ()) -> str:
    """Lay the draft out as Markdown; its first line says that an objective was missed."""
    lines = [
        f"# Missed: incident report on {_plain(incident.drill)} (draft)",
        "",
        f"{_plain(incident.why[:1].upper() + incident.why[1:])}.",
        "",
        f"Facts come from the drill's history; *{FILL_IN}* marks what people must add. "
        "Work on a copy: this file belongs to the run's sealed evidence.",
        "",
        "## Overview",
        "",
        *_table(("", ""), incident.overview),
        "",
        "## Timeline",
        "",
        *_table(
            ("UTC", "since the fault", "what happened"),
            [(moment.utc[11:23], since(moment), moment.what) for moment in incident.timeline],
        ),
        "",
        "## What the measurements say",
        "",
        *(f"- {_plain(fact)}" for fact in incident.known or ["Nothing beyond the figures above."]),
        "",
        "## Actions",
        "",
        *_table(("id", "what", "owner", "due", "state"), list(actions) or [("1", FILL_IN, FILL_IN, FILL_IN, "open")]),
    ]
    for heading, asked in QUESTIONS:
        lines += ["", f"## {heading}"]
        for name, question in asked:
            lines += ["", f"### {name}", "", question, "", f"*{FILL_IN}*"]
    return "\n".join(lines) + "\n"


def since(moment: Moment) -> str:
    """Say when a moment was, counted from the fault: `+12.3 s`, `-4 s`; empty when no fault was issued."""
    if moment.since_s is None:
        return ""
    return f"{'+' if moment.since_s > 0 else ''}{seconds(moment.since_s)}"


def _besides(text: str) -> str:
    return f"; {text}" if text else ""


def _back_without_end(view: View) -> str:
    """Tell of a service that answers again, in a drill that nobody could call recovered."""
    if view.rta_s is None:
        return NEVER
    return (
        f"it answered again {seconds(view.rta_s)} after the fault, and the drill failed before that was proven to last"
    )


def _tier(view: View) -> str:
    return f"tier {view.text('tier')}" if view.text("tier") else ""


def _reach(view: View) -> str:
    return f"blast radius: {view.text('fault', 'blast_radius')}" if view.text("fault", "blast_radius") else ""


def _timeline(events: Sequence[Event]) -> list[Moment]:
    issued = issued_at(events)
    users = {
        event.fields.get("probe") for event in events if event.kind == "probe" and event.fields.get("role") == "user"
    }
    moments: list[tuple[float, Moment]] = []
    users_failed = False
    for event in sorted(events, key=lambda event: event.t):
        what = _told(event, events)
        if event.kind == "reading" and event.fields.get("ok") is False and event.fields.get("probe") in users:
            after = issued is not None and float(event.fields.get("sent", event.t)) >= issued
            what = "" if users_failed or not after else f"Users see the first failure: {event.fields.get('why', '')}"
            users_failed = users_failed or after
        if what:
            since_s = None if issued is None else event.t - issued
            moments.append((event.t, Moment(event.utc, since_s, clean(what))))
    return [moment for _, moment in sorted(moments, key=lambda pair: pair[0])]


_PHASES = {
    "steady": "Service steady, measuring goes on",
    "detected": "Disaster detected",
    "restored": "Service back for good",
    "verified": "Data read back and verified",
    "stable": "Service stable, recovery complete",
    "ended": "Drill ended",
}


def _told(event: Event, events: Sequence[Event]) -> str:
    """Say one event in words; empty for one that is no news by itself."""
    fields = event.fields
    match event.kind, fields.get("state"):
        case "fault", "issued":
            return f"Disaster: {fields.get('name', '')} on {fields.get('target', '')}"
        case "fault", "proved":
            return f"Damage seen: {'; '.join(str(fact) for fact in fields.get('proof', []))}"
        case "fault", "healed":
            return "The harness has cleaned up after the fault"
        case "step", "started":
            return f"Step begun by {fields.get('by', 'harness')}: {fields.get('name', '')}"
        case "step", "failed":
            return f"Step failed: {fields.get('name', '')} {fields.get('detail', '')}".rstrip()
        case "phase", _:
            if fields.get("name") == "recovering":
                return f"Recovery begun: {fields.get('title', '')}".removesuffix(": ")
            told_better = fields.get("name") == "detected" and any(other.kind == "detected" for other in events)
            return "" if told_better else _PHASES.get(str(fields.get("name")), "")
        case "backup", _:
            taken = fields.get("taken_utc", "")
            return f"Recovery point: {fields.get('backup_kind', '')} {fields.get('name', '')}, taken {taken}"
        case "detected", _:
            return f"Detected by {fields.get('by', '')}"
        case "check", _ if fields.get("ok") is not True:
            found = f"{fields.get('got', '')}, expected {fields.get('expected', '')}"
            return f"Check failed: {fields.get('name', '')}: {found}"
        case "failed", _:
            return f"Failed: {fields.get('message', '')}"
        case "note", _:
            return f"Note: {fields.get('text', '')}"
    return ""


def _known(view: View, steps: Sequence[Executed]) -> list[str]:
    longest = sorted(view.bars, key=lambda bar: bar.start_s - bar.end_s)[:_LONGEST]
    stretches = [f"{bar.name}, {seconds(bar.end_s - bar.start_s)}" for bar in longest if bar.end_s > bar.start_s]
    told = [f"Where most of the time went: {'; '.join(stretches)}"] if stretches else []
    for step in steps:
        took = step.step.took_s if step.step else None
        if took is not None and step.expected_s is not None and took > step.expected_s:
            told.append(f"Slower than planned: {step.name}, {seconds(took)}, expected {seconds(step.expected_s)}")
        if step.step is None:
            told.append(f"Planned and not run: {step.name}")
        elif step.step.state == "failed":
            told.append(f"Failed: {step.name}")
    told += [f"Check failed: {check.name} (found {check.got})" for check in view.checks if not check.ok]
    for name in ("lost", "corrupted", "duplicated", "resurrected"):
        if number := view.writes(name):
            told.append(f"Acknowledged writes {name}: {number}")
    return told


def _table(heads: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    def line(cells: Sequence[str]) -> str:
        return f"| {' | '.join(_plain(cell) for cell in cells)} |"

    return [line(heads), f"|{' --- |' * len(heads)}", *(line(row) for row in rows)]


def _plain(text: str) -> str:
    """One line on which Markdown and HTML find nothing to interpret."""
    return re.sub(r"([\\`*_\[\]<>|#~])", r"\\\1", " ".join(clean(text).split()))
