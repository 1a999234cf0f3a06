"""The record of one drill: record.json, schema `pytest-drills/record/v1`.

Everything measured in it is computed from the history, so `rejudge` can compute it again with later code.
"""

from __future__ import annotations

import hashlib
import json
import os
import tempfile
import time
from collections.abc import Iterable, Mapping
from dataclasses import asdict
from importlib import metadata
from pathlib import Path
from typing import Any

from drills import measures, parsing, schema, texts
from drills.clock import Clock, SystemClock, stamp
from drills.errors import UsageError
from drills.history import History
from drills.marks import indexed
from drills.measures import Losses
from drills.objectives import Objective, parse_duration
from drills.redaction import SECRETS
from drills.verdicts import Achieved, Failure, failure_in, judge

SCHEMA = "pytest-drills/record/v1"
SCHEMA_FILE = schema.DIRECTORY / "record-v1.json"
_FACTS: Mapping[str, Any] = {
    "environment": {"kind": "unknown"},
    "tier": "",
    "controls": [],
    "harness": {},
    "plan": None,
    "runbook_sha256": None,
    "expected_steps": [],
    "meta": {},
    "planned_point": None,
}


def build(
    history: History,
    objective: Objective,
    *,
    drill: str,
    title: str = "",
    scenario: str = "",
    runbook: str = "",
    sabotage: Iterable[str] = (),
    failure: BaseException | Failure | None = None,
    facts: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """Compute the record of a drill.

    Args:
        history: what happened; live or stored.
        objective: what was promised.
        drill: the drill's name.
        title: what happens, in words.
        scenario: the file that describes it.
        runbook: the procedure under test.
        sabotage: what was left out on purpose.
        failure: the first exception that disturbed the drill; by default the one that the history has.
        facts: what no event holds: environment, tier, controls, harness, plan, meta, and anything else worth keeping.

    """
    failure = Failure.of(failure) if isinstance(failure, BaseException) else failure or failure_in(history)
    left_out = sorted(sabotage)
    static = {
        **_FACTS,
        **(facts or {}),
        "schema": SCHEMA,
        "drill": drill,
        "scenario": scenario,
        "title": title,
        "runbook": runbook,
        "objective": _objective(objective),
        "sabotage": left_out,
        # A sabotaged drill shows that the harness can fail; it says nothing about recovery and belongs in no trend.
        "evidence_only": bool(left_out),
        "failure": failure.as_record() if failure else None,
    }
    static["harness"] = {"name": "pytest-drills", "version": _version(), **static["harness"]}
    static.setdefault("clock_source", _clock_source(history.clock))
    return dict(texts.fit(static | _measured(history, objective, failure, static), SECRETS.clean))


def rejudge(record: Mapping[str, Any], history: History) -> dict[str, Any]:
    """Compute the record as today's code would write it, from its plain facts and the stored history."""
    promised = record["objective"]
    rto, rpo, mtd = (
        None if promised[key] is None else parse_duration(promised[key], key) for key in ("rto_s", "rpo_s", "mtd_s")
    )
    objective = Objective(rto, rpo, mtd, promised["source"])
    # The history first, which nobody changes; only what came when it was closed is in the record alone.
    failure = failure_in(history) or Failure.from_record(record.get("failure"))
    measured = _measured(history, objective, failure, record)
    again = {**record, "failure": failure.as_record() if failure else None} | measured
    return dict(texts.fit(again, SECRETS.clean))


def write_atomically(path: Path, data: Mapping[str, Any] | str | bytes) -> None:
    """Write a file so that readers, and a power cut, see the old one or the new one and never half of it.

    JSON is made fit first (`texts.fit`); in a text, half of a character becomes the code that it is written by.

    Raises:
        OSError: it cannot be written, as on a full disk; the error names the file.

    """
    try:
        _write_atomically(path, data)
    except OSError as error:  # a full disk names no file, and a temporary name says nothing
        raise OSError(error.errno, error.strerror or str(error), str(path)) from error


def _write_atomically(path: Path, data: Mapping[str, Any] | str | bytes) -> None:
    if isinstance(data, Mapping):
        fit = texts.fit(dict(data), SECRETS.clean)
        data = SECRETS.clean(json.dumps(fit, indent=2, ensure_ascii=False, allow_nan=False)) + "\n"
    content = data.encode("utf-8", "backslashreplace") if isinstance(data, str) else data
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        Path(name).chmod(0o644)
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise
    directory = os.open(path.parent, os.O_RDONLY)
    try:
        os.fsync(directory)
    finally:
        os.close(directory)


def load(path: Path) -> dict[str, Any]:
    """Read a record; raises UsageError if it is not one of this schema."""
    data = parsing.read_object(path, "a record.json")
    problems = validate(data)
    if problems:
        raise UsageError(f"{path}: " + "; ".join(problems))
    return data


def validate(record: object) -> list[str]:
    """Say what is wrong with a record, one `field: found, accepted` a string; empty if nothing is."""
    return schema.problems("record-v1", record)


def _version() -> str:
    try:
        return metadata.version("pytest-drills")
    except metadata.PackageNotFoundError:
        return "unknown"


def _seconds(value: Any) -> float | None:  # noqa: ANN401 - a timedelta or None
    return None if value is None else value.total_seconds()


def _objective(objective: Objective) -> dict[str, Any]:
    return {
        "rto_s": _seconds(objective.rto),
        "rpo_s": _seconds(objective.rpo),
        "mtd_s": _seconds(objective.mtd),
        "source": objective.source,
    }


def _measured(
    history: History, objective: Objective, failure: Failure | None, known: Mapping[str, Any]
) -> dict[str, Any]:
    seen = indexed(history)
    judgement = judge(seen, objective, failure)
    events = history.events()
    step = measures.wall_step(seen)
    return {
        "kind": measures.kind(seen),
        "fault": _fault(history),
        "procedure": _procedure(history),
        "backup": _backup(history),
        "achieved": _achieved(judgement.achieved),
        "detection": asdict(found) if (found := measures.detection(seen)) else None,
        "losses": _losses(judgement.achieved.losses),
        "phases": [asdict(phase) for phase in measures.phases(seen)],
        "waterfall": [asdict(bar) for bar in measures.waterfall(seen)],
        "outages": {
            name: [asdict(outage) for outage in measures.outages(seen, name, measures.issued_at(seen))]
            for name in measures.probe_names(seen)
        },
        "checks": [dict(event.fields) for event in history.events("check")],
        "probe": asdict(quality) if (quality := measures.probe_quality(seen)) else None,
        "probes": [asdict(quality) for quality in measures.probe_qualities(seen)],
        "clock": {"stepped": step > 0, "wall_step_s": step},
        "notes": _told(history, "note", known.get("notes")),
        "caveats": _told(history, "caveat", known.get("caveats")),
        "deviations": _told(history, "deviation", known.get("deviations")),
        "relaxed_controls": _told(history, "relaxed_control", known.get("relaxed_controls")),
        "verdict": str(judgement.verdict),
        "why": judgement.why,
        "started_utc": stamp(history.origin.utc),
        "ended_utc": events[-1].utc if events else stamp(history.origin.utc),
        "history": _digest(events),
    }


def _told(history: History, kind: str, besides: Iterable[str] | None) -> list[str]:
    """Give the texts of the history's events, and those that were known before it or came when it was closed."""
    told = [event.fields["text"] for event in history.events(kind)]
    return told + [text for text in besides or () if text not in told]


def _clock_source(clock: Clock) -> dict[str, str]:
    if isinstance(clock, SystemClock):
        return {
            "durations": time.get_clock_info("monotonic").implementation,
            "stamps": time.get_clock_info("time").implementation,
        }
    return dict.fromkeys(("durations", "stamps"), type(clock).__name__)


def _digest(events: list[Any]) -> dict[str, Any]:
    lines = "".join(event.line() + "\n" for event in events)
    return {"events": len(events), "sha256": hashlib.sha256(lines.encode()).hexdigest()}


def _fault(history: History) -> dict[str, Any] | None:
    events = [event for event in history.events("fault") if event.fields["state"] == "issued"]
    if not events:
        return None
    issued = events[0]
    proof = [
        fact for event in history.events("fault") if event.fields["state"] == "proved" for fact in event.fields["proof"]
    ]
    return {
        "name": issued.fields["name"],
        "target": issued.fields["target"],
        "blast_radius": issued.fields["blast_radius"],
        "issued_utc": issued.utc,
        "proof": proof,
        "healed": any(event.fields["state"] == "healed" for event in history.events("fault")),
        "claims": list(issued.fields.get("claims", [])),
        "disposable": list(issued.fields.get("disposable", [])),
    }


def _procedure(history: History) -> dict[str, Any]:
    started = next((event for event in history.events("phase") if event.fields["name"] == "recovering"), None)
    return {
        "name": "" if started is None else started.fields.get("title", ""),
        "by": "" if started is None else started.fields.get("by", ""),
        "steps": measures.steps(history),
    }


def _backup(history: History) -> dict[str, Any] | None:
    """Give the last recovery point noted; its age at the fault is what the backup offered, which is no RPO."""
    events = history.events("backup")
    if not events:
        return None
    fields = events[-1].fields
    issued = measures.issued_at(history)
    age = None if issued is None else round(issued - fields["taken_t"], 6)
    return {
        **fields["identity"],
        "kind": fields["backup_kind"],
        "name": fields["name"],
        "taken_utc": fields["taken_utc"],
        "age_at_fault_s": age,
        "offered": len(events),
    }


def _achieved(achieved: Achieved) -> dict[str, Any]:
    lost, point = achieved.losses, achieved.point
    recovery, answers, writes_back = achieved.recovery, achieved.answers, achieved.writes_back
    return {
        "rta_s": recovery.rta_s if recovery else None,
        "rta_low_s": recovery.low_s if recovery else None,
        "rta_high_s": recovery.high_s if recovery else None,
        "rpa_s": point.rpa_s if point else None,
        "rpa_at_least": point.at_least if point else None,
        "writes_stopped_s": point.stopped_s if point else None,
        "downtime_s": achieved.downtime.value,
        "downtime_low_s": achieved.downtime.low,
        "downtime_high_s": achieved.downtime.high,
        "answers_back_s": answers.rta_s if answers else None,
        "writes_back_s": writes_back.rta_s if writes_back else None,
        "writes": {
            "acknowledged": lost.acknowledged,
            **{
                name: len(getattr(lost, name)) if _is_known(lost) else None
                for name in ("lost", "corrupted", "duplicated", "resurrected")
            },
            "unknown": lost.unknown,
        },
    }


def _losses(losses: Losses) -> dict[str, Any]:
    return {
        "read": losses.read,
        **{
            name: _ranges(getattr(losses, name)) if _is_known(losses) else None
            for name in (
                "lost",
                "corrupted",
                "duplicated",
                "resurrected",
                "lost_after_restore",
                "undone_after_restore",
                "lost_before_backup",
            )
        },
    }


def _is_known(losses: Losses) -> bool:
    """Whether anything is known of what was lost: the data was read back, or none was acknowledged that could be."""
    return losses.read or not losses.acknowledged


def _ranges(numbers: list[int]) -> list[list[int]]:
    """Write runs of numbers as [first, last]: 12,000 lost rows are one line of evidence, not 12,000."""
    runs: list[list[int]] = []
    for number in sorted(numbers):
        if runs and number <= runs[-1][1] + 1:
            runs[-1][1] = max(runs[-1][1], number)
        else:
            runs.append([number, number])
    return runs
