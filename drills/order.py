"""Whether a history proves what a verdict needs: everything there, in its order, and steady before the fault.

A live drill cannot go wrong in most of these ways. A stored history can: it may have been cut, edited, or written by
other code, and whoever judges it again must not pass it with less proof than the live drill had to give.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from itertools import pairwise

from drills import marks, recovery
from drills.history import Event
from drills.marks import Source, events_of

_OLD_NEED = 1  # histories before this rule do not say how many readings showed the steady state


def disorder(history: Source) -> str:
    """Say what stands where it cannot have happened; empty if nothing does."""
    events = marks.all_events(history)
    if not events or events[0].kind != "opened":
        return "the history does not begin with its event `opened`: its beginning is missing"
    issued = [event for event in events_of(history, "fault") if event.fields.get("state") == "issued"]
    if len(issued) > 1:
        return f"the history has {len(issued)} faults that were issued, and a drill has one"
    found: list[tuple[str, int, float]] = []
    for name, is_it in _VALIDATION if marks.kind(history) == "validation" else _DISASTER:
        place = next((number for number, event in enumerate(events) if is_it(event)), None)
        if place is not None:
            found.append((name, place, events[place].t))
    for (name, place, t), (later, later_place, later_t) in pairwise(found):
        if later_place < place or later_t < t:
            return f"the history is out of order: {later} ({later_t:g} s) comes before {name} ({t:g} s)"
    return _read_too_early(history)


def unsteady(history: Source) -> str:
    """Say why the service was not steady at the instant of the fault; empty if it was.

    Every probe of the user's path has given good readings in a row up to the fault, as many as showed the steady state,
    and the last write of every ledger before the fault was acknowledged.
    """
    issued = marks.issued_at(history)
    if issued is None:
        return ""
    need = _steady_need(history)
    for probe in marks.probe_names(history, "user"):
        before = [reading for reading in recovery.readings(history, probe) if reading.answered <= issued]
        last_bad = next((place for place in range(len(before) - 1, -1, -1) if not before[place].ok), -1)
        run = len({reading.sent for reading in before[last_bad + 1 :]})
        if run < need:
            why = f": {before[last_bad].why}" if last_bad >= 0 else ""
            return (
                f"the steady state did not hold up to the fault: the last {run} readings of {probe!r} before it were "
                f"good, and {need} in a row show it{why}"
            )
    for ledger in marks.ledger_names(history):
        outcomes = [e for kind in ("receipt", "refused") for e in events_of(history, kind, ledger) if e.t <= issued]
        last = max(outcomes, key=lambda event: int(event.fields["seq"]), default=None)
        if last is not None and last.kind == "refused":
            return (
                f"the steady state did not hold up to the fault: ledger {ledger!r} refused its last write before it: "
                f"{last.fields.get('why', '')}"
            )
    return ""


def unfinished(history: Source) -> str:
    """Say where a history was cut off; empty if it ends with the phase `ended`."""
    events = marks.all_events(history)
    if events and events[-1].kind == "phase" and events[-1].fields.get("name") == "ended":
        return ""
    last = events[-1] if events else None
    at = "" if last is None else f"; its last event is {last.fields.get('name', last.kind)!r} at {last.t:g} s"
    return f"the history does not end with `ended`, so it was cut off, and what is missing may be what failed{at}"


def holes(history: Source) -> str:
    """Say what shows that events are missing, or cannot be true; empty if nothing does.

    A disk that lost a block, or whoever copied a part, leaves whole lines: what they told of is missed by what others
    say of it.
    """
    if len(events_of(history, "opened")) > 1:
        return "the history has a second event `opened`: it holds events of another one"
    taken = Counter(str(event.fields["probe"]) for event in events_of(history, "reading"))
    for probe in taken.keys() - set(marks.probe_names(history)):
        return f"the history has readings of {probe!r} and not its event `probe`: what it said of itself is missing"
    for event in events_of(history, "probe_ended"):
        ended, said = str(event.fields["probe"]), event.fields.get("taken")
        if said is not None and said != taken[ended]:
            return f"the history has {taken[ended]} readings of {ended!r}, which took {said}: some are missing"
    for event in events_of(history, "reading"):
        if event.fields["answered"] < event.fields["sent"]:
            return f"a reading of {event.fields['probe']!r} was answered before it was sent, at {event.t:g} s"
    return _unwritten(history)


def _unwritten(history: Source) -> str:
    """Say which write has an outcome and no event of its own."""
    written = {(e.fields["ledger"], e.fields["seq"]) for e in events_of(history, "write")}
    for kind in ("receipt", "refused", "deleted"):
        for event in events_of(history, kind):
            if (event.fields["ledger"], event.fields["seq"]) not in written:
                return f"the history has a {kind} of row {event.fields['seq']} and not its event `write`: it is missing"
    names = {name for name, _ in written}
    for event in events_of(history, "read_back"):
        if event.fields["ledger"] not in names and event.fields["rows"]:
            return f"ledger {event.fields['ledger']!r} was read back with rows, and the writes of it are missing"
    return ""


def writes_unproven(history: Source) -> str:
    """Say which ledger was not shown to take writes after the fault; empty if all of them were."""
    for ledger in marks.ledger_names(history):
        seen = recovery.writes_in_a_row(history, ledger)
        if seen < recovery.LASTING_RECEIPTS:
            return (
                f"after the fault ledger {ledger!r} acknowledged {seen} writes in a row, and "
                f"{recovery.LASTING_RECEIPTS} show that it takes writes again"
            )
    return ""


def need_unknown(history: Source) -> str:
    """Say which probe of the user's path does not say how many good readings make a lasting run; empty if all do."""
    for probe in marks.probe_names(history, "user"):
        if recovery.needed(history, probe) is None:
            return f"probe {probe!r} does not say how many good readings in a row show that the service is back"
    return ""


def _steady_need(history: Source) -> int:
    steady = next((e.fields for e in events_of(history, "phase") if e.fields.get("name") == "steady"), {})
    need = steady.get("need", _OLD_NEED)
    return need if isinstance(need, int) and not isinstance(need, bool) and need >= 1 else _OLD_NEED


def _read_too_early(history: Source) -> str:
    """Data that was read before the service was back says nothing of what came back."""
    issued = marks.issued_at(history)
    answers = recovery.answers_back(history)
    if issued is None or answers is None or marks.phase_at(history, "stable") is None:
        return ""
    for ledger in marks.ledger_names(history):
        read = marks.read_back(history, ledger)
        if read is not None and marks.asked_at(read) < issued + answers.rta_s:
            return f"ledger {ledger!r} was read back before the service was back, so what came back is not known"
    return ""


def _phase(name: str) -> tuple[str, Callable[[Event], bool]]:
    return name, lambda event: event.kind == "phase" and event.fields.get("name") == name


def _fault(state: str) -> tuple[str, Callable[[Event], bool]]:
    return f"fault {state}", lambda event: event.kind == "fault" and event.fields.get("state") == state


# `restored` is not among them: it is written when it is known to have lasted, with the instant at which it happened.
_DISASTER = (
    _phase("steady"),
    _fault("issued"),
    _fault("proved"),
    _phase("damaged"),
    _phase("recovering"),
    _phase("verified"),
    _phase("stable"),
    _phase("ended"),
)
# Nothing is broken: what is proved is the copy, which the procedure makes.
_VALIDATION = (
    _phase("steady"),
    _fault("issued"),
    _phase("recovering"),
    _fault("proved"),
    _phase("verified"),
    _phase("stable"),
    _phase("ended"),
)
