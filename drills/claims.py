"""What a seal says of a run, held against the run's own files and against the END entry that the log has of it.

Whoever holds the keys can sign any manifest and any statement about an honest run, with whole digests of files that say
something else. So a verdict, and each figure that is signed, must be the one that run.json and the records have.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from drills import parsing
from drills.verdicts import Verdict, worst

_FROM_RECORD = ("objective", "achieved", "controls", "sabotage")


def verdicts_of(run_dir: Path) -> dict[str, str]:
    """Read from run.json the verdict of each drill, by its directory; none where it cannot be read."""
    return {drill: str(verdict) for drill, verdict in _object(_about(run_dir), "verdicts").items()}


def pack_problems(run_dir: Path, manifest: Mapping[str, Any]) -> Iterator[str]:
    """Say where a manifest and the records contradict run.json.

    Args:
        run_dir: the run's directory.
        manifest: its manifest.json, read.

    """
    found = verdicts_of(run_dir)
    summed = summed_up(found)
    if manifest["verdict"] != summed:
        yield f"changed: manifest.json says {manifest['verdict']}, and the drills of run.json are {summed} together"
    for drill, verdict in found.items():
        record = _record(run_dir, drill)
        if record is not None and record.get("verdict") != verdict:
            yield f"changed: {drill}/record.json does not say {verdict}, as run.json does"


def statement_problems(run_dir: Path, name: str, manifest: Mapping[str, Any], predicate: object) -> Iterator[str]:
    """Say where a signed statement contradicts run.json and the records.

    Args:
        run_dir: the run's directory.
        name: `run` for the test result, `recovery` for what was promised and achieved.
        manifest: the run's manifest.json, read.
        predicate: the statement's predicate.

    """
    said = predicate if isinstance(predicate, dict) else {}
    problems = _of_recovery if name == "recovery" else _of_test_result
    for what in problems(run_dir, manifest, said):
        yield f"changed: {name}.dsse.json does not say of {what} what the run does"


def end_problems(run_dir: Path, ended: Mapping[str, Any]) -> Iterator[str]:
    """Say where a run has more, or says something else, than its END entry in the log.

    Args:
        run_dir: the run's directory.
        ended: the entry; one that is empty says nothing.

    """
    if not ended:
        return
    logged = {drill: str(verdict) for drill, verdict in _object(ended, "verdicts").items()}
    if (run_dir / "run.json").is_file() and verdicts_of(run_dir) != logged:
        yield "changed: run.json does not have the verdicts of the log's entry of its end"
    for path in sorted(run_dir.glob("*/record.json")):
        if (record := path.relative_to(run_dir).as_posix()) not in _object(ended, "records"):
            yield f"added: {record} is not in the log's entry of its end"


def summed_up(verdicts: Mapping[str, str]) -> str:
    """Give the verdict of several drills together; what is no verdict counts as INCONCLUSIVE."""
    known = {each.value: each for each in Verdict}
    return worst(known.get(verdict, Verdict.INCONCLUSIVE) for verdict in verdicts.values()).value


def _of_recovery(run_dir: Path, manifest: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    about, verdicts = _about(run_dir), verdicts_of(run_dir)
    known = {"run": manifest["run"], "verdict": manifest["verdict"]}
    known |= {key: about.get(key) for key in ("started_utc", "ended_utc")}
    yield from (key for key, value in known.items() if said.get(key) != value)
    drills = said.get("drills")
    each_said = [each for each in drills if isinstance(each, dict)] if isinstance(drills, list) else []
    if sorted(str(each.get("drill")) for each in each_said) != sorted(verdicts):
        yield "its drills"
        return
    for each in each_said:
        drill = each["drill"]
        record = _record(run_dir, drill) or {}
        if each.get("verdict") != verdicts[drill]:
            yield f"{drill}, verdict,"
        if each.get("standing") == "PASSED" and verdicts[drill] != Verdict.MET:
            yield f"{drill}, standing,"
        # None is what sealing says of a record that it could not read, and promises nothing.
        yield from (f"{drill}, {key}," for key in _FROM_RECORD if each.get(key) not in (None, record.get(key)))


def _of_test_result(run_dir: Path, _manifest: Mapping[str, Any], said: Mapping[str, Any]) -> Iterator[str]:
    verdicts = verdicts_of(run_dir)
    passed, warned, failed = (
        [str(each) for each in found] if isinstance(found := said.get(name), list) else []
        for name in ("passedTests", "warnedTests", "failedTests")
    )
    if sorted([*passed, *warned, *failed]) != sorted(verdicts):
        yield "its drills"
        return
    for drill in (*passed, *warned):
        record = _record(run_dir, drill) or {}
        if verdicts[drill] != Verdict.MET or record.get("sabotage"):
            yield drill
    if said.get("result") != ("FAILED" if failed or not verdicts else "WARNED" if warned else "PASSED"):
        yield "its result"


def _record(run_dir: Path, drill: str) -> dict[str, Any] | None:
    """Read a drill's record as sealing does: None where there is none, or none that can be read."""
    if "/" in drill or "\0" in drill or drill in ("", ".", ".."):
        return None
    return _read(run_dir / drill / "record.json")


def _about(run_dir: Path) -> dict[str, Any]:
    return _read(run_dir / "run.json") or {}


def _read(path: Path) -> dict[str, Any] | None:
    try:
        return parsing.json_object(parsing.read_bytes(path))
    except (OSError, ValueError):
        return None


def _object(about: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = about.get(field)
    return value if isinstance(value, dict) else {}
