"""Which drill supports which control of which audit framework, by the fields of its evidence (controls.yaml).

Support is not compliance. What a drill shows is that something was tested, and what came of it; whether that satisfies
a control is the auditor's to say.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from pathlib import Path
from typing import Any

import yaml

from drills import parsing
from drills import standing as standings
from drills.errors import UsageError
from drills.standing import SignOff
from drills.verdicts import Verdict

from .view import Problem, View, read_record
from .words import clean

FILE = Path(__file__).parent / "controls.yaml"

_COUNTS = {
    "met": (Verdict.MET,),
    "held": (Verdict.MET, Verdict.MISSED),
    "any": tuple(Verdict),
}


@dataclass(frozen=True)
class Proof:
    """A group of fields that show one thing together.

    Attributes:
        name: as controls name it.
        fields: their paths.
        shows: what they show, in words.
        empty_is_an_answer: whether an empty list counts as given.
        only_if: "found_wanting" where it is asked only of a drill that missed or had issues raised.

    """

    name: str
    fields: tuple[str, ...]
    shows: str
    empty_is_an_answer: bool = False
    only_if: str = ""


@dataclass(frozen=True)
class Control:
    """One control, and what of a drill's evidence supports it.

    Attributes:
        framework: its framework's id.
        id: as the framework writes it.
        title: what it is about.
        asks: what it asks, in our words.
        counts: which verdicts count: met, held (met or missed) or any.
        concerns: which drills it is about at all; empty for all.
        needs: what a drill must show.
        not_shown: what no drill can show of it.
        source: where its text, or what is said of it, was read, and which of the two.
        oscal: its ids in NIST's OSCAL catalogue; empty where there is none.
        part_of: the control that it is a part of, where teams name that one.

    """

    framework: str
    id: str
    title: str
    asks: str
    counts: str
    concerns: Mapping[str, Any]
    needs: tuple[Proof, ...]
    not_shown: str
    source: Mapping[str, str]
    oscal: Mapping[str, str]
    part_of: str = ""


@dataclass(frozen=True)
class Framework:
    """An audit framework with the controls that drills can support."""

    id: str
    name: str
    aliases: tuple[str, ...]
    controls: tuple[Control, ...]


@cache
def catalogue() -> tuple[Framework, ...]:
    """Read controls.yaml."""
    data = yaml.safe_load(FILE.read_text(encoding="utf-8"))
    proofs = {
        name: Proof(
            name, tuple(raw["fields"]), raw["shows"], raw.get("empty_is_an_answer", False), raw.get("only_if", "")
        )
        for name, raw in data["evidence"].items()
    }
    return tuple(
        Framework(
            raw["id"],
            raw["name"],
            tuple(raw["aliases"]),
            tuple(_control(raw["id"], control, proofs) for control in raw["controls"]),
        )
        for raw in data["frameworks"]
    )


def _control(framework: str, raw: Mapping[str, Any], proofs: Mapping[str, Proof]) -> Control:
    return Control(
        framework,
        raw["id"],
        raw["title"],
        raw["asks"],
        raw["counts"],
        raw.get("concerns", {}),
        tuple(proofs[name] for name in raw["needs"]),
        raw["not_shown"],
        raw["source"],
        raw.get("oscal", {}),
        raw.get("part_of", ""),
    )


def framework(name: str) -> Framework:
    """Find a framework by its id or one of its other names.

    Raises UsageError, which lists those there are.
    """
    wanted = _plain(name)
    for each in catalogue():
        if wanted in {_plain(other) for other in (each.id, *each.aliases)}:
            return each
    raise UsageError(f"framework: found {name!r}; accepted: {', '.join(each.id for each in catalogue())}")


def named(text: str) -> list[Control]:
    """Find the controls that a record means by a text such as `NIST CP-9`, `SOC2 A1.3` or `ISO27001:A.8.13`.

    More than one where a control is catalogued by its parts; none where the catalogue does not know it.
    """
    plain = _plain(text)
    for each in catalogue():
        for alias in (each.id, *each.aliases):
            rest = plain.removeprefix(_plain(alias)) if plain.startswith(_plain(alias)) else ""
            found = [one for one in each.controls if rest and rest in (_plain(one.id), _plain(one.part_of))]
            if found:
                return found
    return []


# --- one drill ---


@dataclass(frozen=True)
class Held:
    """One drill as it was held, with all that can be asked of it.

    Attributes:
        view: its record.
        evidence: record, run, people, sign_off and file, to be asked by a field's path.
        signed: the sign-offs that cover it.
        problem: why its sign-offs could not be read; empty otherwise.

    """

    view: View
    evidence: Mapping[str, Any]
    signed: Sequence[SignOff] = ()
    problem: str = ""

    @property
    def found_wanting(self) -> bool:
        """Whether it missed, or somebody raised an issue."""
        return self.view.verdict is Verdict.MISSED or any(one.issues for one in self.signed)

    def value(self, path: str) -> Any:  # noqa: ANN401 - whatever the evidence holds there
        """Give what stands at a field's path; None for nothing."""
        if path.startswith("file."):
            name = path.removeprefix("file.")
            return name if name in self.evidence["file"] else None
        keys = path.split(".")
        value: Any = self.evidence if keys[0] in ("run", "people", "sign_off") else self.evidence["record"]
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return value

    def gives(self, proof: Proof) -> list[str]:
        """Name the fields of a proof that nobody supplied; empty if all are there, or are not asked of this drill."""
        if proof.only_if == "found_wanting" and not self.found_wanting:
            return []
        return [path for path in proof.fields if not _given(self.value(path), empty=proof.empty_is_an_answer)]


def look_at(path: Path) -> Held | Problem:
    """Read a record with its run and sign-offs; one that cannot be read comes back as a named problem."""
    run_dir = path.parent.parent
    view = read_record(path, run_dir.name)
    if isinstance(view, Problem):
        return view
    try:
        about = parsing.loads(parsing.read_bytes(run_dir / "run.json"))
    except (OSError, ValueError):
        about = {}
    about = about if isinstance(about, dict) else {}
    problem = ""
    try:
        signed = [one for one in standings.sign_offs(run_dir) if one.covers(path.parent.name)]
        people = standings.supplied({"drill": view.drill, **view.record}, about, signed)
    except (UsageError, TypeError, AttributeError) as error:  # of sign-offs, or of a record that is not of its schema
        signed, people, problem = [], {}, clean(error)
    decided = [one for one in signed if one.decision != "noted"] or signed
    sign_off: dict[str, object] = {}
    if decided:
        sign_off = {"by": decided[-1].by, "role": decided[-1].role, "decision": decided[-1].decision}
        sign_off["actions"] = [action for one in signed for action in one.actions]
    files = {entry.name for entry in run_dir.iterdir()} if run_dir.is_dir() else set()
    evidence = {"record": view.record, "run": about, "people": people, "sign_off": sign_off, "file": files}
    return Held(view, evidence, signed, problem)


class Support(StrEnum):
    """What a drill does for a control."""

    SUPPORTS = "supports"
    PARTLY = "supports in part"
    MISSED = "missed its objective"
    PROVED_NOTHING = "proved nothing"


@dataclass(frozen=True)
class Finding:
    """What one drill does for one control.

    Attributes:
        control: the control.
        held: the drill.
        support: what it does for it.
        missing: the fields that nobody supplied.
        declared: whether the record itself names the control.

    """

    control: Control
    held: Held
    support: Support
    missing: tuple[str, ...]
    declared: bool


def finding(control: Control, held: Held) -> Finding | None:
    """Judge what a drill does for a control; None when it neither concerns nor names it.

    A sabotaged drill says nothing about recovery and supports nothing.
    """
    declared = any(control in named(text) for text in held.view.texts("controls"))
    if held.view.sabotage or not (declared or _concerns(control, held)):
        return None
    missing = tuple(path for proof in control.needs for path in held.gives(proof))
    if held.view.verdict in _COUNTS[control.counts]:
        apt = _concerns(control, held)
        support = Support.PARTLY if missing or not apt else Support.SUPPORTS
    else:
        support = Support.MISSED if held.view.verdict is Verdict.MISSED else Support.PROVED_NOTHING
    return Finding(control, held, support, missing, declared)


def findings(control: Control, drills: Iterable[Held]) -> list[Finding]:
    """Judge what each of some drills does for a control, those that support it first."""
    found = [each for held in drills if (each := finding(control, held)) is not None]
    order = list(Support)
    return sorted(found, key=lambda each: (order.index(each.support), len(each.missing), each.held.view.drill))


def unknown_controls(drills: Iterable[Held]) -> list[str]:
    """Name the controls that records declare and the catalogue does not know."""
    return sorted({text for held in drills for text in held.view.texts("controls") if not named(text)})


def _concerns(control: Control, held: Held) -> bool:
    concerns = control.concerns
    restored = bool(held.view.backup)
    if "backup" in concerns and restored is not (concerns["backup"] == "present"):
        return False
    if "blast_radius" in concerns and held.view.text("fault", "blast_radius") not in concerns["blast_radius"]:
        return False
    return not ("data" in concerns and not held.view.writes("acknowledged"))


def _given(value: object, *, empty: bool) -> bool:
    if empty and value == []:
        return True
    return value is not False and value not in (None, "", "unknown", [], {})  # a figure of 0 is one


def _plain(text: str) -> str:
    """Compare names without their spaces, dashes, colons and case; parentheses and dots tell controls apart."""
    return re.sub(r"[\s:_/-]+", "", text).upper()
