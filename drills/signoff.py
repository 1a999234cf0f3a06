"""What people add after a run: review, decision, issues and corrective actions, in sign-offs.jsonl.

A line is only ever added, and its SHA-256 goes to the log of all runs. Records and run.json are never changed by it.
"""

from __future__ import annotations

import errno
import fcntl
import getpass
import hashlib
import json
import os
import subprocess
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import date
from io import FileIO
from pathlib import Path
from typing import Any

from drills import meta, parsing, runs, texts
from drills.clock import Clock, SystemClock, parse_stamp, stamp
from drills.errors import EnvironmentFailed, UsageError
from drills.record import load
from drills.standing import OWN_SIGN_OFF, SIGN_OFFS, Action, SignOff, operators, read, sign_offs
from drills.validation import load_run
from drills.verdicts import Verdict

SCHEMA = "pytest-drills/sign-off/v1"
DECISIONS = ("accepted", "rejected", "noted")
NAMESPACE = "drill-sign-off"
_ACTION_FIELDS = ("id", "owner", "due", "state", "retest")
_ACTION_FORM = '"what is to be done; owner=NAME; due=2026-12-31"'


@dataclass(frozen=True)
class Tracked:
    """A corrective action as it stands: as the last sign-off that names its id says.

    Attributes:
        action: what was said last.
        run: the run after which it was raised.
        drill: the drill that it was raised for; None for the whole run.
        raised_utc: when it was first named.

    """

    action: Action
    run: str
    drill: str | None
    raised_utc: str

    def overdue(self, today: date) -> bool:
        """Whether it is still open after the day it was due."""
        return self.action.state == "open" and date.fromisoformat(self.action.due) < today


def sign_off(
    run_dir: Path,
    *,
    by: str,
    role: str,
    decision: str = "accepted",
    drill: str | None = None,
    supplied: Sequence[str] = (),
    issues: Sequence[str] = (),
    actions: Sequence[str] = (),
    comment: str = "",
    same_person: bool = False,
    key: Path | None = None,
    clock: Clock | None = None,
) -> SignOff:
    """Add a sign-off to a run, and its digest to the log.

    Args:
        run_dir: the run.
        by: the person's name.
        role: in what capacity.
        decision: accepted, rejected or noted.
        drill: the drill's directory; None for the whole run.
        supplied: KEY=VALUE pairs, see `drills.meta.KEYS`.
        issues: what was found wanting.
        actions: what is done about it, each as `text; owner=..; due=..; state=..; retest=..; id=..`.
        comment: anything else.
        same_person: the operator who ran it may sign it off; noted as a deviation.
        key: sign the line with this SSH key, by `ssh-keygen`.
        clock: for tests.

    Raises:
        UsageError: for a decision, drill, value or action that is refused, with the reason. Nothing is written then.
        EnvironmentFailed: if `ssh-keygen` cannot sign.

    """
    now = stamp((clock or SystemClock()).now().utc)
    if decision not in DECISIONS:
        raise UsageError(f"--decision: found {decision!r}, accepted: {', '.join(DECISIONS)}")
    for option, given in (("--by", [by]), ("--role", [role]), ("--issue", issues)):
        if not all(text.strip() for text in given):
            raise UsageError(f"{option}: found nothing, accepted: some text")
    _refuse_no_text({"--by": [by], "--role": [role], "--issue": issues, "--action": actions, "--comment": [comment],
                     "--meta": supplied})  # fmt: skip
    records = _records(run_dir, drill)
    said = meta.parse(supplied, "--meta")
    _refuse_contradiction(said, records)
    _refuse_unsettled(run_dir, records, decision)
    one = SignOff(
        utc=now,
        run=run_dir.name,
        drill=drill,
        by=by.strip(),
        role=role.strip(),
        decision=decision,
        meta=said,
        issues=tuple(issues),
        actions=_actions(actions, run_dir.parent, run_dir.name, now),
        comment=comment,
        account=_account(),
        records={path: _sha256((run_dir / path).read_bytes()) for path in records},
    )
    if decision != "noted" and _ran_it(run_dir, one, records.values()):
        if not same_person:
            raise UsageError(
                f"--by: found {by!r}, who ran it, accepted: somebody else, "
                "or --same-person, which is noted as a deviation"
            )
        noted = "; ".join(filter(None, [said.get("deviations"), OWN_SIGN_OFF]))
        one = replace(one, meta={**said, "deviations": noted})
    if key is not None:
        one = replace(one, signature=_sign(one, key))
    _append(run_dir, one)
    return one


def actions(evidence: Path) -> list[Tracked]:
    """Give all corrective actions of all runs as they stand, in the order in which they were raised.

    Raises:
        UsageError: for a line that is no sign-off.

    """
    said = sorted((one for path in evidence.glob(f"*/{SIGN_OFFS}") if not path.parent.is_symlink()
                   for one in sign_offs(path.parent)), key=lambda one: one.utc)  # fmt: skip
    tracked: dict[str, Tracked] = {}
    for one in said:
        for action in one.actions:
            known = tracked.get(action.id)
            tracked[action.id] = (
                replace(known, action=action) if known else Tracked(action, one.run, one.drill, one.utc)
            )
    return list(tracked.values())


def retest_problem(evidence: Path, retest: str, raised_utc: str) -> str:
    """Say why a drill does not show that an action helped; "" if it does.

    Args:
        evidence: the directory of all runs.
        retest: RUN/DRILL.
        raised_utc: when the action was raised: what was held before it shows nothing.

    """
    run, slash, drill = retest.partition("/")
    path = evidence / run / drill / "record.json"
    if not (run and slash and drill) or {run, drill} & {".", ".."} or "/" in drill or not path.is_file():
        return f"there is no record of a drill {retest!r} in {evidence}; accepted: RUN/DRILL"
    record = load(path)
    if record["verdict"] != Verdict.MET:
        return f"{retest} was {record['verdict']}: {record['why']}"
    if record["sabotage"]:
        return f"{retest} was sabotaged on purpose and says nothing about recovery"
    if parse_stamp(record["started_utc"]) < parse_stamp(raised_utc):
        return f"{retest} began at {record['started_utc']}, before the action was raised at {raised_utc}"
    return ""


def problems(run_dir: Path) -> list[str]:
    """Say what is wrong with a run's sign-offs beyond their form: with the log, a signature, an ended action."""
    signed, _ = read(run_dir)
    raised = {action.id: one.utc for one in reversed(signed) for action in one.actions}
    found = _log_problems(run_dir)
    for one in signed:
        if one.run != run_dir.name:
            found.append(f"{SIGN_OFFS}: run: invalid value {one.run!r}: expected {run_dir.name!r}")
        found += [f"{SIGN_OFFS}: {one.by}: {problem}" for problem in _signature_problems(one)]
        for action in one.actions:
            problem = action.state == "done" and retest_problem(run_dir.parent, action.retest, raised[action.id])
            found += [f"{SIGN_OFFS}: actions: {action.id} is no longer done: {problem}"] if problem else []
    return found


def _log_problems(run_dir: Path) -> list[str]:
    """Compare a run's sign-offs, line by line, with what the log of all runs says of them."""
    path = run_dir / SIGN_OFFS
    content = path.read_bytes() if path.is_file() else b""
    # Not splitlines: it takes a carriage return for the end of a line too, so that one put in would not show.
    lines = content.removesuffix(b"\n").split(b"\n") if content else []
    log = run_dir.parent / runs.LOG
    if not log.is_file():
        return [f"{log}: found nothing, accepted: the log that vouches for {SIGN_OFFS}"] if lines else []
    logged = [
        str(entry.get("sha256"))
        for entry in runs.entries(log)
        if entry.get("event") == "sign-off" and entry.get("run") == run_dir.name
    ]
    found = [_sha256(line) for line in lines]
    unknown = [number for number, digest in enumerate(found, 1) if digest not in logged]
    gone = [digest for digest in logged if digest not in found]
    problems = [
        f"{SIGN_OFFS}:{number}: found a line that the log does not know, accepted: as signed" for number in unknown
    ] + [f"{SIGN_OFFS}: found no line with the digest {digest}, which the log has" for digest in gone]
    # Of several decisions the last one counts, so that a line may neither move nor stand there twice.
    if not problems and found != logged:
        problems.append(f"{SIGN_OFFS}: invalid order: expected each line once, in the order of the log")
    return problems


def _signature_problems(one: SignOff) -> list[str]:
    if not one.signature:
        return []
    with tempfile.TemporaryDirectory(prefix="drills-sign-off-") as directory:
        signature = Path(directory) / "signature"
        signature.write_text(one.signature, encoding="utf-8")
        done = _ssh_keygen(
            ["-Y", "check-novalidate", "-n", NAMESPACE, "-s", str(signature)], replace(one, signature="")
        )
    return [] if done.returncode == 0 else [f"the signature does not fit: {(done.stderr or done.stdout).strip()}"]


def line_of(one: SignOff) -> str:
    """Write a sign-off as its line of sign-offs.jsonl; without `signature` it is what is signed."""
    data = {"schema": SCHEMA, **asdict(one)}
    if not one.signature:
        del data["signature"]
    return json.dumps(data, ensure_ascii=False, allow_nan=False)


def _records(run_dir: Path, drill: str | None) -> dict[str, dict[str, Any]]:
    paths = sorted(path.relative_to(run_dir) for path in run_dir.glob("*/record.json"))
    names = [path.parent.name for path in paths]
    if drill is not None and drill not in names:
        raise UsageError(f"--drill: found {drill!r}, accepted: {', '.join(names) or 'none, there is no record'}")
    if not names:
        raise UsageError(f"run: found no record in {run_dir}, accepted: a run that held a drill")
    return {path.as_posix(): load(run_dir / path) for path in paths if drill in (None, path.parent.name)}


def _refuse_no_text(given: Mapping[str, Sequence[str]]) -> None:
    """Refuse bytes that are no text, before anything is written: a line is only ever added."""
    for option, said in given.items():
        for text in said:
            if texts.whole(text) != text:
                raise UsageError(f"{option}: invalid value {texts.whole(text)!r}: expected text in UTF-8")


def _refuse_contradiction(said: Mapping[str, str], records: Mapping[str, Mapping[str, Any]]) -> None:
    """What was recorded when the drill was held stays; only lists are added to."""
    for name, record in records.items():
        known = record.get("meta") or {}
        for key, value in meta.expand(said, "--meta").items():
            there = known.get(key)
            if isinstance(there, str) and there and there != value:
                raise UsageError(f"--meta, {key}: found {value!r}, accepted: as {name} has it since the run, {there!r}")


def _refuse_unsettled(run_dir: Path, records: Iterable[str], decision: str) -> None:
    """Accept nothing that was never finished, and nothing that was changed since."""
    log = run_dir.parent / runs.LOG
    logged = [entry for entry in runs.entries(log) if entry.get("run") == run_dir.name]
    ends = [entry for entry in logged if entry.get("event") == "end"]
    if not ends:
        if decision == "accepted":
            raise UsageError(
                f"--decision: found accepted for a run that never ended by {log}, accepted: rejected, noted"
            )
        return
    vouched = {*ends[0].get("records", {}).items(), *_sealed(run_dir, logged)}
    for path in records:
        if (path, _sha256((run_dir / path).read_bytes())) not in vouched:
            raise UsageError(f"{run_dir / path}: found changed since its run ended, accepted: as {log} has its digest")


def _sealed(run_dir: Path, logged: Iterable[Mapping[str, Any]]) -> list[tuple[str, str]]:
    """Give the digests in a manifest that the log knows: sealing may still take a secret out of a record."""
    manifest = run_dir / "manifest.json"
    content = manifest.read_bytes() if manifest.is_file() else b""
    known = [entry.get("manifest_sha256") for entry in logged if entry.get("event") == "seal"]
    if _sha256(content) not in known:
        return []
    return [(file["path"], file["sha256"]) for file in parsing.loads(content)["files"]]


def _ran_it(run_dir: Path, one: SignOff, records: Iterable[Mapping[str, Any]]) -> bool:
    about, signed = load_run(run_dir), [*sign_offs(run_dir), one]  # who ran it may be told by sign-offs only
    return any(one.by.lower() in operators(record, about, signed) for record in records)


def _actions(texts: Sequence[str], evidence: Path, run: str, now: str) -> tuple[Action, ...]:
    known = {tracked.action.id: tracked for tracked in actions(evidence)} if texts else {}
    made: list[Action] = []
    for text in texts:
        given = _fields(text)
        if "id" in given and given["id"] not in known:
            raise UsageError(
                f"--action, id: found {given['id']!r}, accepted: none for a new action, "
                f"or one that was raised: {', '.join(known) or 'there is none'}"
            )
        before = known.get(given.get("id", ""))
        taken = {*known, *(action.id for action in made)}
        start = asdict(before.action) if before else {"id": _new_id(run, taken), "state": "open", "retest": ""}
        action = _action({**start, **given}, text)
        _refuse_early_end(action, before, evidence, now)
        made.append(action)
    return tuple(made)


def _fields(text: str) -> dict[str, str]:
    """Split `text; owner=..; due=..`: what stands before the first field is the text."""
    fields: dict[str, str] = {}
    for part in (part.strip() for part in text.split(";")):
        key, equals, value = (word.strip() for word in part.partition("="))
        if equals and key in _ACTION_FIELDS:
            if key in fields:
                raise UsageError(f"--action, {key}: found twice in {text!r}, accepted: once")
            fields[key] = value
        elif part and fields.keys() - {"text"}:
            raise UsageError(f"--action: found {part!r}, accepted: one of {', '.join(_ACTION_FIELDS)} with its value")
        elif part:
            fields["text"] = f"{fields['text']}; {part}" if "text" in fields else part
    return fields


def _action(fields: Mapping[str, str], text: str) -> Action:
    for field in ("text", "owner", "due"):
        if not fields.get(field):
            raise UsageError(f"--action, {field}: found nothing in {text!r}, accepted: {_ACTION_FORM}")
    try:
        date.fromisoformat(fields["due"])
    except ValueError as error:
        raise UsageError(f"--action, due: found {fields['due']!r}, accepted: a date as 2026-12-31") from error
    if fields["state"] not in ("open", "done"):
        raise UsageError(f"--action, state: found {fields['state']!r}, accepted: open, done")
    return Action(**fields)


def _refuse_early_end(action: Action, before: Tracked | None, evidence: Path, now: str) -> None:
    if action.state == "open":
        return
    if before is None:
        raise UsageError(
            "--action, state: found done for a new action, accepted: open; a later sign-off with its id ends it"
        )
    if not action.retest:
        raise UsageError(
            f"--action, retest: found nothing for {action.id}, accepted: RUN/DRILL that shows that it helped"
        )
    problem = retest_problem(evidence, action.retest, before.raised_utc)
    if problem:
        raise UsageError(f"--action, retest: {action.id} stays open: {problem}")


def _new_id(run: str, taken: Iterable[str]) -> str:
    number = 1
    while (name := f"{run[-4:]}-{number}") in taken:
        number += 1
    return name


def _append(run_dir: Path, one: SignOff) -> None:
    """Add the line and then its log entry; where either cannot be written, neither stays.

    A crash in between leaves a line that nobody vouches for, which may be taken out by hand.
    """
    path = run_dir / SIGN_OFFS
    line = line_of(one).encode()
    try:
        with path.open("a+b", buffering=0) as file:
            fcntl.flock(file, fcntl.LOCK_EX)
            file.seek(0)
            before = file.read()
            if not (before[-1:] or b"\n") == b"\n":
                raise UsageError(
                    f"{path}: found half a line at its end, from a writer that was killed; accepted: without it"
                )
            try:
                _write(file, line + b"\n")
                runs.append(
                    run_dir.parent / runs.LOG,
                    {"event": "sign-off", "run": one.run, "drill": one.drill, "sha256": _sha256(line)},
                )
            except BaseException:
                if before:
                    file.truncate(len(before))
                else:
                    path.unlink()
                raise
    except OSError as error:
        raise EnvironmentFailed(f"{path}: cannot be written: {error.strerror or error}") from error


def _write(file: FileIO, line: bytes) -> None:
    if file.write(line) != len(line):  # a disk takes what it has room for
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
    os.fsync(file.fileno())


def _sign(one: SignOff, key: Path) -> str:
    if not key.is_file():
        raise UsageError(f"--key: found no file {key}, accepted: an SSH key")
    done = _ssh_keygen(["-Y", "sign", "-f", str(key), "-n", NAMESPACE], one)
    if done.returncode != 0:
        raise EnvironmentFailed(f"ssh-keygen could not sign with {key}: {done.stderr.strip()}")
    return done.stdout


def _ssh_keygen(arguments: Sequence[str], one: SignOff) -> subprocess.CompletedProcess[str]:
    try:
        return subprocess.run(
            ["ssh-keygen", *arguments], input=line_of(one), capture_output=True, text=True, timeout=60, check=False
        )
    except FileNotFoundError as error:
        raise EnvironmentFailed("ssh-keygen is not installed; it makes and checks signatures of sign-offs") from error


def _account() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()
