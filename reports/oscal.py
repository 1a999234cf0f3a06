"""A run as OSCAL assessment results, for tools that read NIST's format. Needs the extra `oscal`.

What OSCAL cannot say is said in remarks: its findings are satisfied or not, so a control that evidence supports only in
part is not satisfied here, with the missing fields named. `satisfied` means that a drill supports the control with
every field that `controls.yaml` asks for; it is no statement of compliance.

The same evidence gives the same document, down to its UUIDs (version 5) and its date, which is that of the evidence.
"""

import hashlib
import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, UUID, uuid5

from drills.errors import UsageError
from drills.record import write_atomically
from drills.verdicts import worst

from .controls import Control, Finding, Held, Support, findings, framework, look_at
from .view import Problem, instant, records_of

NAMESPACE = "https://pytest-drills.dev/ns/oscal"
"""Names the properties of ours; an identifier, no address."""

_PROPERTIES = {
    "verdict": "verdict", "rta-s": "achieved.rta_s", "rta-low-s": "achieved.rta_low_s",
    "rta-high-s": "achieved.rta_high_s", "rto-s": "objective.rto_s", "rpa-s": "achieved.rpa_s",
    "rpo-s": "objective.rpo_s", "writes-lost": "achieved.writes.lost", "environment": "environment.kind",
    "fault": "fault.name", "blast-radius": "fault.blast_radius",
}  # fmt: skip


def write_oscal(run_dir: Path, path: Path) -> Path:
    """Write a run's drills as OSCAL assessment results, as JSON that compliance-trestle has validated.

    Raises:
        UsageError: the extra is not installed, or the run holds no record that can be read, or one that cannot.

    """
    document = assessment_results(run_dir)
    text = json.dumps({"assessment-results": document}, indent=2, ensure_ascii=False) + "\n"
    _trestle().AssessmentResults.model_validate(document)
    write_atomically(path, text)
    return path


def assessment_results(run_dir: Path) -> dict[str, Any]:
    """Lay out a run as the object `assessment-results` of OSCAL. Sabotaged drills prove nothing and are left out.

    Raises:
        UsageError: as `write_oscal`.

    """
    held = _held(run_dir)
    seed = uuid5(NAMESPACE_URL, NAMESPACE)
    seed = uuid5(seed, run_dir.name + "".join(_sha256(path) for path in _files(run_dir, held)))
    rows = [(control, findings(control, held)) for control in framework("nist-800-53").controls if control.oscal]
    judged = [(control, found) for control, found in rows if any(_said(each) for each in found)]
    about = held[0].evidence["run"]
    plan = uuid5(seed, "plan")
    verdict = worst(each.view.verdict for each in held)
    result: dict[str, Any] = {
        "uuid": str(uuid5(seed, "result")),
        "title": f"Disaster recovery drills, run {run_dir.name}: {verdict}",
        "description": "Real failures, real recovery, and what was achieved against what was promised.",
        "start": _stamp(about.get("started_utc"), held, "started_utc"),
        "end": _stamp(about.get("ended_utc"), held, "ended_utc"),
        "reviewed-controls": {"control-selections": [_selection(control for control, _ in judged)]},
        "observations": [_observation(seed, each) for each in held],
    }
    if judged:
        result["findings"] = [_finding(seed, control, found) for control, found in judged]
    changed = [str(one.utc) for each in held for one in each.signed]
    return {
        "uuid": str(seed),
        "metadata": {
            "title": f"{verdict}: disaster recovery drills, run {run_dir.name}",
            "last-modified": max([result["end"], *changed]),
            "version": _line(held[0].value("harness.version") or "unknown"),
            "oscal-version": _trestle_version(),
            "remarks": "A drill supports a control; this document states no compliance.",
        },
        "import-ap": {"href": f"#{plan}"},
        "results": [result],
        "back-matter": {"resources": [_plan(plan, held[0])]},
    }


def _held(run_dir: Path) -> list[Held]:
    looked = [look_at(path) for path in records_of(run_dir)]
    for each in looked:
        if isinstance(each, Problem):
            raise UsageError(f"{each.path}: found {each.found}; accepted: a record.json")
    held = [each for each in looked if isinstance(each, Held) and not each.view.sabotage]
    if not held:
        raise UsageError(f"{run_dir}: found no record of a drill held in earnest; accepted: a run that left one")
    return held


def _observation(seed: UUID, held: Held) -> dict[str, Any]:
    properties = [("record", held.view.place.parent.name if held.view.place else held.view.drill)]
    properties += [(name, held.value(path)) for name, path in _PROPERTIES.items()]
    return {
        "uuid": _observed(seed, held),
        "title": _line(held.view.title),
        "description": _line(held.view.why or held.view.verdict),
        "props": [
            {"name": name, "ns": NAMESPACE, "value": _line(value)}
            for name, value in properties
            if value not in (None, "")
        ],
        "methods": ["TEST"],
        "types": ["control-objective"],
        "collected": _stamp(held.view.record.get("ended_utc"), [held], "ended_utc"),
        "relevant-evidence": [
            {
                "href": f"{path.parent.name}/{path.name}",
                "description": "The drill's record." if path.name == "record.json" else "All that happened.",
                "props": [{"name": "sha256", "ns": NAMESPACE, "value": _sha256(path)}],
            }
            for path in _of_drill(held)
        ],
    }


def _finding(seed: UUID, control: Control, found: Sequence[Finding]) -> dict[str, Any]:
    told = [each for each in found if _said(each)]
    missed = [each for each in told if each.support is Support.MISSED]
    satisfied = not missed and any(each.support is Support.SUPPORTS for each in told)
    remarks = "; ".join(
        f"{each.held.view.drill} {each.support}" + (f" (missing: {', '.join(each.missing)})" if each.missing else "")
        for each in told
    )
    return {
        "uuid": str(uuid5(seed, f"finding {control.id}")),
        "title": _line(f"{control.id} {control.title}"),
        "description": _line(f"{control.asks} Not shown by drills: {control.not_shown}."),
        "target": {
            "type": control.oscal["type"],
            "target-id": control.oscal["target"],
            "status": {
                "state": "satisfied" if satisfied else "not-satisfied",
                "reason": "pass" if satisfied else "fail" if missed else "other",
                "remarks": _line(f"{remarks}. Support, not compliance."),
            },
        },
        "related-observations": [{"observation-uuid": _observed(seed, each.held)} for each in told],
    }


def _said(found: Finding) -> bool:
    """Whether a drill says anything about a control; one that proved nothing does not, for or against."""
    return found.support is not Support.PROVED_NOTHING


def _selection(controls: Iterable[Control]) -> dict[str, Any]:
    ids = dict.fromkeys(control.oscal["control"] for control in controls)
    return {"include-controls": [{"control-id": each} for each in ids]} if ids else {
        "description": "No drill of this run says anything about a control.",
        "include-controls": [{"control-id": "cp-4"}],
    }  # fmt: skip


def _plan(uuid: UUID, held: Held) -> dict[str, Any]:
    path, digest = held.value("plan.path"), held.value("plan.sha256")
    if not path:
        return {
            "uuid": str(uuid),
            "title": "No plan",
            "description": "The run names no assessment plan; OSCAL asks for a reference to one.",
        }
    link: dict[str, Any] = {"href": _line(path)}
    if digest:
        link["hashes"] = [{"algorithm": "SHA-256", "value": digest}]
    return {"uuid": str(uuid), "title": "The team's recovery plan", "rlinks": [link]}


def _observed(seed: UUID, held: Held) -> str:
    return str(uuid5(seed, f"observation {held.view.place.parent.name if held.view.place else held.view.drill}"))


def _of_drill(held: Held) -> list[Path]:
    if held.view.place is None:
        return []
    return [path for path in (held.view.place, held.view.place.with_name("history.jsonl")) if path.is_file()]


def _files(run_dir: Path, held: Iterable[Held]) -> list[Path]:
    signed = run_dir / "sign-offs.jsonl"
    files = [path for each in held for path in _of_drill(each)]
    return [*files, signed] if signed.is_file() else files


def _stamp(text: object, held: Sequence[Held], name: str) -> str:
    """Give a stamp with its zone; for one that is absent what the records say."""
    for each in (text, *(one.view.record.get(name) for one in reversed(held))):
        if (moment := instant(each)) is not None:
            return moment.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    raise UsageError(f"{name}: found none in run.json or a record; accepted: an ISO 8601 stamp with its zone")


def _line(value: object) -> str:
    """Write a value as OSCAL's texts want it: one line, not empty, no blank at either end."""
    return " ".join(str(value).split()) or "none"


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _trestle() -> Any:  # noqa: ANN401 - a module of an optional package
    try:
        from trestle.oscal import assessment_results as model  # here: it is an extra, and slow to load
    except ImportError as error:
        raise UsageError(
            "oscal: found compliance-trestle not installed; accepted: pip install 'pytest-drills[oscal]'"
        ) from error
    return model


def _trestle_version() -> str:
    _trestle()
    from trestle.oscal import OSCAL_VERSION

    return str(OSCAL_VERSION)
