"""The runbook as it was executed: each step with the commands it ran, what they said, and what was expected of it.

commands.log knows when a command began, by the wall clock; the history knows when a step began and ended, by the same
clock. A command belongs to the step that was under way when it began, to the youngest where steps overlap.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from drills.history import Event
from drills.parsing import read_bytes

from .view import Step, View, instant
from .words import clean

_BEGIN = re.compile(r"^(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z) \$ (.*)$")
_END = re.compile(r"^-> (?:rc=(-?\d+) in ([\d.]+) s|.*)$")
_LONGEST_LOG = 64 * 1024 * 1024  # bytes of a commands.log
_TAIL_LINES = 6
_TAIL_COLUMNS = 240
_COMMAND_COLUMNS = 600


@dataclass(frozen=True)
class Command:
    """One entry of commands.log; `seconds` and `code` are none when it did not end by itself."""

    utc: str
    text: str
    output: str
    end: str
    code: int | None = None
    seconds: float | None = None

    @property
    def shown(self) -> str:
        """The command as a runbook would write it: program and kubeconfig by their names, their folders left out."""
        text = re.sub(r"^[^\s'\"$]*/(?=[^\s/])", "", self.text)
        text = re.sub(r"(?<=--kubeconfig[ =])[^\s'\"$]*/(?=[^\s/'\"])", "", text)
        return _cut(text, _COMMAND_COLUMNS)

    @property
    def tail(self) -> str:
        """The end of what it said; says how much is left out."""
        lines = [_cut(line, _TAIL_COLUMNS) for line in self.output.split("\n")]
        left_out = len(lines) - _TAIL_LINES
        if left_out <= 1:  # the remark would take the line's place
            return "\n".join(lines)
        return "\n".join([f"[{left_out} lines left out, see commands.log]", *lines[-_TAIL_LINES:]])


@dataclass(frozen=True)
class Executed:
    """A step beside what was expected of it; seconds, none where the plan or the previous run says nothing.

    `step` is none for a step that the plan has and nobody took.
    """

    name: str
    command: str
    step: Step | None
    expected_s: float | None
    previous_s: float | None
    commands: list[Command]


def read_commands(path: Path) -> list[Command]:
    """Read a commands.log; one that is absent holds no command.

    What a program printed may look like the log's own lines: the last line of an entry is its end, no other.
    """
    try:
        lines = clean(read_bytes(path, _LONGEST_LOG).decode(errors="replace")).split("\n")
    except OSError:  # absent, a link, or beyond what anybody reads
        return []
    entries: list[tuple[str, str, list[str]]] = []
    for line in lines:
        if begin := _BEGIN.match(line):
            entries.append((begin[1], begin[2], []))
        elif entries:
            entries[-1][2].append(line)
    return [_command(*entry) for entry in entries]


def _cut(text: str, columns: int) -> str:
    return text if len(text) <= columns else text[:columns] + " …"


def _command(utc: str, text: str, rest: list[str]) -> Command:
    while rest and not rest[-1].strip():
        rest.pop()
    end = _END.match(rest[-1]) if rest else None
    if end is None:
        return Command(utc, text, "\n".join(rest), "never ended")
    output = "\n".join(rest[:-1])
    if end[1] is None:
        return Command(utc, text, output, rest[-1].removeprefix("-> "))
    return Command(utc, text, output, f"rc {end[1]}", int(end[1]), float(end[2]))


def executed(
    view: View, events: Iterable[Event], commands: Sequence[Command], previous: View | None
) -> tuple[list[Executed], list[Command]]:
    """Lay out the procedure as executed, and the commands that belong to none of its steps (before, beside, after)."""
    held, loose = _by_step(events, commands, len(view.steps))
    expected = view.expected_steps
    before = list(previous.steps) if previous else []
    found = []
    for number, step in enumerate(view.steps):
        planned = _take(expected, step)
        was = _take(before, step)
        found.append(
            Executed(
                step.name,
                step.command,
                step,
                planned.took_s if planned else None,
                was.took_s if was else None,
                held[number],
            )
        )
    found += [Executed(step.name, step.command, None, step.took_s, None, []) for step in expected]
    return found, loose


def _take(steps: list[Step], wanted: Step) -> Step | None:
    """Take the step of the same name out of a list, or the one of the same command: runbooks get reworded."""
    named = [step for step in steps if step.name.casefold() == wanted.name.casefold()]
    found = named or [step for step in steps if step.command and step.command == wanted.command]
    if not found:
        return None
    steps.remove(found[0])
    return found[0]


def _by_step(
    events: Iterable[Event], commands: Sequence[Command], count: int
) -> tuple[list[list[Command]], list[Command]]:
    windows: dict[object, list[datetime | None]] = {}
    for event in events:
        if event.kind == "step":
            if event.fields.get("state") == "started":
                windows[event.fields.get("id")] = [instant(event.utc), None]
            elif event.fields.get("id") in windows:
                windows[event.fields.get("id")][1] = instant(event.utc)
    held: list[list[Command]] = [[] for _ in range(count)]
    loose: list[Command] = []
    for command in commands:
        at = instant(command.utc)
        under_way = [
            number
            for number, (begin, end) in enumerate(windows.values())
            if at and begin and begin <= at and (end is None or at < end or begin == end == at) and number < count
        ]
        (held[under_way[-1]] if under_way else loose).append(command)
    return held, loose
