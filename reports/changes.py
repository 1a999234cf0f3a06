"""What changed since the last run of a drill: what it achieved, what was promised, and what it ran on."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills import budget, parsing
from drills.verdicts import Verdict

from .cells import achieved_point, since
from .palette import VERDICT_WORD
from .view import View, read_record
from .words import bounds, clean, objective, seconds

_TOLD = 6  # that many changed versions are named; a new laptop changes all of them


@dataclass(frozen=True)
class Before:
    """The last run of a drill that measured something, and how many runs between it and this one did not."""

    view: View | None
    proved_nothing: int


def find_before(view: View, evidence_dir: Path) -> Before:
    """Find the last earlier run of a drill; sabotaged runs are none, as they say nothing about recovery.

    Runs are named by the time they began, so the order of names is the order of time.
    """
    if view.place is None or not evidence_dir.is_dir():
        return Before(None, 0)
    with os.scandir(evidence_dir) as entries:
        names = sorted(
            (entry.name for entry in entries if entry.name < view.run and not entry.is_symlink()), reverse=True
        )
    proved_nothing = 0
    folders = dict.fromkeys((view.place.parent.name, view.drill))  # a repeat's, or the drill's own if it was held once
    for name in names:
        paths = (evidence_dir / name / folder / "record.json" for folder in folders)
        path = next(filter(Path.is_file, paths), None)
        seen = read_record(path, name) if path else None
        if not isinstance(seen, View) or seen.sabotage or seen.drill != view.drill:
            continue
        if seen.verdict in (Verdict.MET, Verdict.MISSED):
            return Before(seen, proved_nothing)
        proved_nothing += 1
    return Before(None, proved_nothing)


def what_changed(
    view: View, before: Before, about: Mapping[str, object], about_before: Mapping[str, object]
) -> list[str]:
    """Say in short sentences what is other than in the last run; the verdict always, the rest where it differs."""
    between = (
        f"{before.proved_nothing} {'run' if before.proved_nothing == 1 else 'runs'} proved nothing"
        if before.proved_nothing
        else ""
    )
    if view.sabotage:
        return ["Not compared: this run was sabotaged on purpose."]
    last = before.view
    if last is None:
        first = "No earlier run of this drill measured anything in this evidence directory"
        return [f"{first}; {between}." if between else f"{first}."]
    same = view.verdict is last.verdict
    now, was = VERDICT_WORD[view.verdict].lower(), VERDICT_WORD[last.verdict].lower()
    when = last.text("started_utc")[:16].replace("T", " ") or last.run
    since = f", since then {between}" if between else ""
    told = [f"Still {now} (last: {when}{since})." if same else f"Now {now}, was {was} (last: {when}{since})."]
    if view.verdict in (Verdict.MET, Verdict.MISSED):
        told += [*_recovery(view, last), *_loss(view, last)]
    for name, promised, before_s in (("RTO", view.rto_s, last.rto_s), ("RPO", view.rpo_s, last.rpo_s)):
        if promised != before_s:
            told.append(f"{name} is {objective(promised)}, was {objective(before_s)}.")
    return [*told, *_procedure(view, last), *_ground(view, last, about, about_before)]


def read_about(run_dir: Path) -> Mapping[str, object]:
    """Read run.json; what is absent or broken comes back as a note that says so."""
    try:
        about = parsing.loads(parsing.read_bytes(run_dir / "run.json"))
    except (OSError, ValueError) as problem:
        found = problem.strerror if isinstance(problem, OSError) else problem  # an OSError names this machine's folders
        return {"run.json": f"could not be read: {found}"}
    return about if isinstance(about, dict) else {"run.json": f"a {type(about).__name__} found; accepted: an object"}


def left_out_of(about: Mapping[str, object]) -> list[str]:
    """Name the drills that --drill-budget left out of a run, with when they were proven last, from its run.json."""
    found = _mapping(about.get("budget")).get("left_out")
    known = ("drill", "expected_s", "by", "last_proven_utc")
    return (
        [clean(budget.told(each)) for each in found if set(known) <= set(_mapping(each))]
        if isinstance(found, list)
        else []
    )


def _recovery(view: View, last: View) -> list[str]:
    now, was = view.rta_s, last.rta_s
    if now is None and was is None:
        return []
    if now is None or was is None:
        return [
            f"Service back: {bounds(now, view.rta_low_s, view.rta_high_s)}, "
            f"was {bounds(was, last.rta_low_s, last.rta_high_s)}."
        ]
    if _low(view) <= _high(last) and _low(last) <= _high(view):
        return [f"Service back as fast as before, within the bounds of measurement ({seconds(_high(view))} at most)."]
    which = "faster" if now < was else "slower"
    return [f"Service back after {seconds(now)}, was {seconds(was)} ({seconds(abs(now - was))} {which})."]


def _low(view: View) -> float:
    return view.rta_low_s if view.rta_low_s is not None else view.rta_s or 0.0


def _high(view: View) -> float:
    return view.rta_high_s if view.rta_high_s is not None else view.rta_s or 0.0


def _loss(view: View, last: View) -> list[str]:
    now, was = view.writes("lost"), last.writes("lost")
    if not now and not was and (now is None) is (was is None):
        return []
    return [
        f"Acknowledged writes lost: {_count(now)} (back to {achieved_point(view)} before {since(view)}), "
        f"was {_count(was)} ({seconds(last.rpa_s)})."
    ]


def _count(number: int | None) -> str:
    return "not read back" if number is None else str(number)


def _procedure(view: View, last: View) -> list[str]:
    now, was = [step.name for step in view.steps], [step.name for step in last.steps]
    told = []
    if added := [name for name in now if name not in was]:
        told.append(f"Steps taken now and not then: {', '.join(added)}.")
    if gone := [name for name in was if name not in now]:
        told.append(f"Steps taken then and not now: {', '.join(gone)}.")
    for key, what in (("runbook_sha256", "The runbook's text"), ("plan", "The plan")):
        pair = [_digest(each.record.get(key)) for each in (view, last)]
        if all(pair) and pair[0] != pair[1]:
            told.append(f"{what} changed.")
    return told


def _digest(value: object) -> str:
    value = value.get("sha256") if isinstance(value, Mapping) else value
    return value if isinstance(value, str) else ""


def _ground(view: View, last: View, about: Mapping[str, object], about_before: Mapping[str, object]) -> list[str]:
    """Say what it ran on that is other: the cluster's shape, images, versions, the harness's commit."""
    now, was = _facts(view, about), _facts(last, about_before)
    moved = [f"{name} {was[name]} → {now[name]}" for name in now if name in was and now[name] != was[name]]
    if not moved:
        return []
    more = f" and {len(moved) - _TOLD} more" if len(moved) > _TOLD else ""
    return [f"Ran on: {'; '.join(moved[:_TOLD])}{more}."]


def _facts(view: View, about: Mapping[str, object]) -> dict[str, str]:
    facts: dict[str, str] = {}
    for key, value in view.environment.items():
        facts[key.replace("_", " ")] = str(value)
    for name, image in (*_mapping(about.get("images")).items(), *view.own_images.items()):
        identity = str(image.get("id") or image.get("digest") or "") if isinstance(image, Mapping) else str(image)
        facts[name] = identity.rpartition("sha256:")[2][:8]
    for name, version in _mapping(about.get("packages")).items():
        facts[name] = str(version)
    for key in ("commit", "python", "platform"):
        if isinstance(about.get(key), str):
            facts[key] = str(about[key])[:8] if key == "commit" else str(about[key])
    return facts


def _mapping(value: object) -> Mapping[str, Any]:
    return value if isinstance(value, Mapping) else {}
