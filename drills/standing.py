"""What the evidence of a drill amounts to: its verdict, and whether everything is there that a record must show.

The verdict says what was measured. A drill that met its objective, but whose plan, approver, scope or review nobody can
name, is evidence of less: its standing is INCOMPLETE, never PASSED. The fields asked for are the union of what audit
frameworks ask of a recovery test (docs/evidence.md, "Complete").
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from pathlib import Path
from typing import Any, Self

from drills import meta, parsing, schema
from drills.errors import UsageError
from drills.verdicts import Verdict

SIGN_OFFS = "sign-offs.jsonl"
OWN_SIGN_OFF = "signed off by the operator who ran the drill"
"""The deviation that is noted when nobody independent signed off."""

Record = Mapping[str, Any]


class Standing(StrEnum):
    """What the evidence of a drill, or of a run, amounts to."""

    PASSED = "PASSED"
    FAILED = "FAILED"
    INCOMPLETE = "INCOMPLETE"
    INCONCLUSIVE = "INCONCLUSIVE"
    ENVIRONMENT = "ENVIRONMENT"


@dataclass(frozen=True)
class Action:
    """One corrective action, as one sign-off states it.

    Attributes:
        id: names it over all runs; a later sign-off with the same id states it anew.
        text: what is to be done.
        owner: who does it.
        due: until when, as 2026-12-31.
        state: open or done.
        retest: RUN/DRILL that shows that it helped; "" while it is open.

    """

    id: str
    text: str
    owner: str
    due: str
    state: str = "open"
    retest: str = ""


@dataclass(frozen=True)
class SignOff:
    """One line of sign-offs.jsonl: what a person said of a run, or of one drill of it, afterwards.

    Attributes:
        utc: when, by the wall clock.
        run: the run's id.
        drill: the drill's directory, or None for the whole run.
        by: the person's name.
        role: in what capacity.
        decision: accepted, rejected or noted.
        meta: what the person supplied, by key as in `drills.meta.KEYS`.
        issues: what was found wanting.
        actions: what is done about it.
        comment: anything else.
        account: the account that it was entered from.
        records: what was signed off: the SHA-256 of each record, by its path within the run.
        signature: an SSH signature of the line by the person's own key; "" if there is none.

    """

    utc: str
    run: str
    drill: str | None
    by: str
    role: str
    decision: str
    meta: Mapping[str, str]
    issues: tuple[str, ...] = ()
    actions: tuple[Action, ...] = ()
    comment: str = ""
    account: str = ""
    records: Mapping[str, str] = field(default_factory=dict)
    signature: str = ""

    @classmethod
    def of(cls, data: Mapping[str, Any]) -> Self:
        """Make it from the object that a line holds, which must be valid by the schema sign-off-v1."""
        fields = {key: value for key, value in data.items() if key != "schema"}
        lists = {"issues": tuple(data["issues"]), "actions": tuple(Action(**action) for action in data["actions"])}
        return cls(**{**fields, **lists})

    def covers(self, drill: str) -> bool:
        """Whether it speaks of this drill: by name, or of the whole run."""
        return self.drill is None or self.drill == drill


def sign_offs(run_dir: Path) -> list[SignOff]:
    """Read what people signed off, in order; none if nobody did.

    Raises:
        UsageError: for lines that are no sign-offs; `read` says which.

    """
    found, problems = read(run_dir)
    if problems:
        raise UsageError("; ".join(problems))
    return found


def read(run_dir: Path) -> tuple[list[SignOff], list[str]]:
    """Read a run's sign-offs, and say what is wrong with the lines that are none, one `file:line: problem` a string."""
    path = run_dir / SIGN_OFFS
    try:
        content = parsing.read_bytes(path)
    except FileNotFoundError:
        return [], []
    except OSError as error:
        return [], [f"{path}: found unreadable ({error}), accepted: one sign-off a line"]
    found: list[SignOff] = []
    problems: list[str] = []
    for number, line in enumerate(content.splitlines(), 1):
        where = f"{path}:{number}"
        try:
            found.append(SignOff.of(_valid(line, where)))
        except UsageError as problem:
            problems.append(str(problem))
    return found, problems


def _valid(line: bytes, where: str) -> dict[str, Any]:
    try:
        data = parsing.loads(line)
    except ValueError as error:
        raise UsageError(f"{where}: found no JSON ({error}), accepted: one sign-off a line") from error
    problems = schema.problems("sign-off-v1", data)
    if problems:
        raise UsageError(f"{where}: {'; '.join(problems)}")
    meta.expand(data["meta"], where)  # its values must be readable too
    return dict(data)


def directory_of(record: Record) -> str:
    """Name the directory of a record's drill within its run; records of before `id` have only their drill's name."""
    return str(record.get("id") or record["drill"]).rpartition("/")[2]


def supplied(record: Record, run: Mapping[str, Any], signed: Iterable[SignOff]) -> dict[str, Any]:
    """Give all that people said of a drill, in the form of `record["meta"]`, deviations and relaxed controls included.

    What the record says stays. Sign-offs supply what is not there, a later one in place of an earlier, and they add to
    lists.
    """
    known: dict[str, Any] = {
        **(record.get("meta") or {}),
        # An empty list says that there were none; a record without one says nothing.
        **{name: list(record[name]) for name in _EMPTY_IS_AN_ANSWER if record.get(name) is not None},
    }
    later: dict[str, Any] = {}
    for one in signed:
        if one.covers(directory_of(record)):
            later = meta.merge(meta.expand(one.meta, SIGN_OFFS), later)
    known = meta.merge(known, later)
    return {**known, "why": known.get("why") or run.get("why") or ""}


def operators(record: Record, run: Mapping[str, Any], signed: Iterable[SignOff] = ()) -> set[str]:
    """Name who ran a drill, in lower case: the run's account, and the participants whose role says operator."""
    people = supplied(record, run, signed).get("participants") or []
    named = {person["name"] for person in people if "operator" in person["role"].lower()}
    return {name.strip().lower() for name in {*named, str(run.get("user", ""))} if name.strip()}


# What is asked of every record: the field, and in words what it must say. An empty list is an answer in some.
_RECORD = {
    "id": "which record this is",
    "sequence": "its run's number in the log of all runs",
    "attempt": "which attempt this is, reruns included",
    "scenario": "the file that describes the drill",
    "title": "the disaster, in words",
    "environment.kind": "where it was held",
    "objective.rto_s": "the recovery time promised",
    "objective.source": "where the objective comes from, such as the impact analysis",
    "plan.path": "the plan that it belongs to",
    "plan.sha256": "the digest of the plan",
    "plan.entry": "its entry in the plan",
    "runbook": "the procedure under test",
    "runbook_sha256": "the digest of the procedure under test",
    "procedure.steps": "the steps as executed",
    "fault.proof": "the damage as observed",
    "controls": "the controls that it supports",
    "clock_source": "the clocks that were read",
    "harness.version": "the version of the harness",
}
_EMPTY_IS_AN_ANSWER = {
    "deviations": "deviations from the plan",
    "relaxed_controls": "controls that were relaxed meanwhile",
}
_PEOPLE = {
    "participants": "who took part, and in which role",
    "approver": "who approved it beforehand",
    "approved_on": "when it was approved",
    "planned_on": "the day it was planned for",
    "independence": "who is independent of whom",
    "scope.systems": "the systems covered",
    "scope.data": "the data sets covered",
    "scope.third_parties": 'the third parties involved ("none" is an answer)',
    "type": f"the type: {', '.join(meta.TYPES)}",
    "why": "why it was held",
}
_RUN = {
    "run": "the run's id",
    "started_utc": "when the run began",
    "ended_utc": "when the run ended",
    "user": "the account that ran it",
    "host": "the machine it ran on",
    "command": "the command line",
    "commit": "the commit it was run from",
    "uncommitted_changes": "whether anything was changed since that commit",
    "packages": "versions of the tools",
}
_RUN_ON_KIND = {"engine.version": "the container engine's version", "images": "the images' digests"}


def missing(record: Record, run: Mapping[str, Any], signed: Iterable[SignOff]) -> list[str]:
    """Name what nobody supplied, each as `field: in words`; empty if the record is complete.

    Args:
        record: a drill's record.json.
        run: its run.json.
        signed: the run's sign-offs.

    """
    signed = [one for one in signed if one.covers(directory_of(record))]
    people = supplied(record, run, signed)
    about_run = dict(_RUN)
    if _at(record, "environment.kind") == "kind":
        about_run |= _RUN_ON_KIND
    gaps = [f"{path}: {words}" for path, words in _RECORD.items() if not _given(_at(record, path))]
    if _at(record, "achieved.writes.acknowledged") and _at(record, "objective.rpo_s") is None:
        gaps.append("objective.rpo_s: the recovery point promised for its data")
    gaps += [f"{path}: {words}" for path, words in _EMPTY_IS_AN_ANSWER.items() if record.get(path) is None]
    gaps += [f"meta.{path}: {words}" for path, words in _PEOPLE.items() if not _given(_at(people, path))]
    gaps += [f"run.{path}: {words}" for path, words in about_run.items() if not _given(_at(run, path))]
    if record.get("sabotage"):
        gaps.append("sabotage: something was left out on purpose, so this says nothing about recovery")
    return gaps + _unsigned(record, run, signed, people)


def _unsigned(record: Record, run: Mapping[str, Any], signed: Sequence[SignOff], people: Record) -> list[str]:
    """Name what is missing of review, sign-off, issues and actions."""
    if not signed:
        return [
            "sign-off.by: who reviewed the results, with their role",
            "sign-off.decision: whether they are accepted",
        ]
    gaps = []
    decided = [one for one in signed if one.decision != "noted"]
    if not decided:
        gaps.append("sign-off.decision: whether the results are accepted")
    elif decided[-1].decision == "rejected":
        gaps.append(f"sign-off.decision: rejected by {decided[-1].by} at {decided[-1].utc}")
    elif _is_own(decided[-1], record, run, signed, people):
        gaps.append(f"sign-off.by: somebody other than {decided[-1].by}, who ran it")
    wanting = record["verdict"] == Verdict.MISSED or any(one.issues for one in signed)
    if wanting and not any(one.actions for one in signed):
        gaps.append("sign-off.actions: what is done about the issues, by whom and until when")
    return gaps


def _is_own(one: SignOff, record: Record, run: Mapping[str, Any], signed: Sequence[SignOff], people: Record) -> bool:
    """Whether an operator signed off, and nobody noted it as a deviation."""
    noted = OWN_SIGN_OFF in people.get("deviations", ())
    return not noted and one.by.strip().lower() in operators(record, run, signed)


def standing(record: Record, run: Mapping[str, Any], signed: Iterable[SignOff]) -> Standing:
    """Say what the evidence of one drill amounts to.

    Args:
        record: a drill's record.json.
        run: its run.json.
        signed: the run's sign-offs.

    """
    verdict = Verdict(record["verdict"])
    if verdict is Verdict.MISSED:
        return Standing.FAILED
    if verdict is not Verdict.MET:
        return Standing(verdict.value)
    return Standing.INCOMPLETE if missing(record, run, signed) else Standing.PASSED


def _at(data: Mapping[str, Any], path: str) -> Any:  # noqa: ANN401 - whatever is there
    value: Any = data
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value


def _given(value: object) -> bool:
    return value not in (None, "", "unknown", [], {})
