"""The auditor's page of a framework: its controls, which drills support each, and the fields that show it.

The newest run of each drill counts. Every figure stands with its field's path and the digest of the record that it was
read from, so that it can be found and checked; records are read from their files and not from the index.
"""

import hashlib
import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from drills.record import write_atomically
from drills.verdicts import Verdict, worst

from .controls import Control, Finding, Framework, Held, Support, findings, look_at, unknown_controls
from .coverage import page_environment
from .frame import Evidence, newest_of_each
from .palette import VERDICT_ROLE, VERDICT_SIGN, VERDICT_WORD
from .view import Problem
from .words import clean, shortened

_ROLE = {
    Support.SUPPORTS: "good",
    Support.PARTLY: "inconclusive",
    Support.MISSED: "bad",
    Support.PROVED_NOTHING: "environment",
}
_TOLD = 160  # characters of a field's value; the record has all of it


@dataclass(frozen=True)
class Programme:
    """The newest run of each drill, read from its files.

    Attributes:
        held: the drills.
        problems: the records that cannot be read.

    """

    held: tuple[Held, ...]
    problems: tuple[Problem, ...]

    @property
    def verdict(self) -> Verdict:
        """On all of them together; a record that cannot be read proves nothing."""
        return worst([held.view.verdict for held in self.held] + [Verdict.INCONCLUSIVE] * len(self.problems))

    @property
    def missed(self) -> list[str]:
        """The drills that missed an objective when last held."""
        return [held.view.drill for held in self.held if held.view.verdict is Verdict.MISSED]


def programme_of(evidence: Evidence) -> Programme:
    """Read the newest run of each drill; sabotaged ones say nothing about recovery and are left out."""
    looked = [look_at(Path(path)) for path in newest_of_each(evidence.honest())["path"]]
    return Programme(
        tuple(each for each in looked if isinstance(each, Held)),
        (*evidence.problems, *(each for each in looked if isinstance(each, Problem))),
    )


def summary(framework: Framework, programme: Programme) -> list[tuple[Control, list[Finding]]]:
    """Give each control of a framework with what the drills do for it."""
    return [(control, findings(control, programme.held)) for control in framework.controls]


def write_auditor(framework: Framework, programme: Programme, as_of: datetime, path: Path) -> Path:
    """Write a framework's page, one file that fetches nothing."""
    write_atomically(path, render_auditor(framework, programme, as_of))
    return path


def render_auditor(framework: Framework, programme: Programme, as_of: datetime) -> str:
    """Render a framework's page as HTML text."""
    rows = summary(framework, programme)
    supported = sum(any(each.support is Support.SUPPORTS for each in found) for _, found in rows)
    sentence = (
        f"drills support {supported} of {len(rows)} {'control' if len(rows) == 1 else 'controls'} of {framework.name} "
        "with every field that this asks for."
    )
    if programme.missed:
        sentence = f"latest runs that missed an objective: {', '.join(programme.missed)}. Otherwise {sentence}"
    return page_environment().get_template("auditor.html.j2").render(
        framework=framework,
        rows=rows,
        sentence=clean(sentence),
        as_of=as_of,
        programme=programme,
        kinds=sorted({held.view.text("environment", "kind") or "unknown" for held in programme.held}),
        unknown=[text for text in unknown_controls(programme.held) if _of(framework, text)],
        role=_ROLE,
        verdict_role=VERDICT_ROLE[programme.verdict],
        verdict_sign=VERDICT_SIGN[programme.verdict],
        verdict_word=VERDICT_WORD[programme.verdict],
        word=VERDICT_WORD,
        shown=shown,
        digest=_digest,
    )  # fmt: skip


def shown(control: Control, held: Held) -> list[tuple[str, list[tuple[str, str]]]]:
    """Give what a drill shows for a control: for each proof its words and its fields with their values."""
    return [
        (proof.shows, [(path, _told(held.value(path))) for path in proof.fields if path not in held.gives(proof)])
        for proof in control.needs
    ]


def _told(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3f}".rstrip("0").rstrip(".")
    if isinstance(value, Mapping):
        value = "; ".join(f"{key}: {_told(inner)}" for key, inner in value.items())
    elif isinstance(value, Sequence) and not isinstance(value, str):
        value = _listed(value)
    return shortened(clean("not asked: nothing was found wanting" if value is None else value), _TOLD)


def _listed(values: Sequence[Any]) -> str:
    if not values:
        return "none"
    if all(isinstance(each, Mapping) and "name" in each for each in values):
        return f"{len(values)}: " + "; ".join(
            f"{each['name']} ({each['role']})" if each.get("role") else str(each["name"]) for each in values
        )
    return "; ".join(json.dumps(asdict(each)) if is_dataclass(each) and not isinstance(each, type) else str(each)
                     for each in values)  # fmt: skip


def _of(framework: Framework, text: str) -> bool:
    names: Iterable[str] = (framework.id, *framework.aliases)
    return any(text.upper().startswith(name.upper()) for name in names)


def _digest(held: Held) -> str:
    return hashlib.sha256(held.view.place.read_bytes()).hexdigest() if held.view.place else ""
