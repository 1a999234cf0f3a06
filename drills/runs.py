"""One invocation of the harness: its evidence directory, and its two entries in the log of all runs.

The log is a hash chain and gets an entry when a run starts, before anything is injected, and one when it ends. A run
that was cut short, or whose result somebody would rather not show, leaves a start without an end.

A chain does not notice that its newest entries were cut off, nor that it was written anew as a whole; for that a
checkpoint of it (drills/checkpoint.py) must be kept somewhere else. What its entries may say is in drills/chain.py.
"""

from __future__ import annotations

import fcntl
import getpass
import hashlib
import json
import os
import platform
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime
from importlib import metadata
from io import FileIO
from pathlib import Path
from typing import Any, Self

from drills import chain, parsing, texts
from drills.chain import GENESIS
from drills.clock import Clock, SystemClock, parse_stamp, stamp
from drills.errors import EnvironmentFailed, UsageError
from drills.line import one_line
from drills.record import write_atomically
from drills.redaction import SECRETS

SCHEMA = "pytest-drills/run/v1"
LOG = "log.jsonl"
LATEST = "latest"
_BLOCK = 1 << 16
_PACKAGES = ("pytest-drills", "pytest", "pytest-kind", "kubernetes", "tenacity", "psycopg", "pydantic", "pytest-xdist")
_CI = ("CI", "GITHUB_SERVER_URL", "GITHUB_REPOSITORY", "GITHUB_RUN_ID", "CI_JOB_URL", "JENKINS_URL", "BUILD_URL")
_STAMPED_S = 0.001  # stamps have milliseconds
_SHOWN = 300  # characters of half a line that the next entry keeps
_SECRET_WORDS = ("password", "passwd", "token", "secret", "credential", "api-key", "apikey")


class Run:
    """One run, with the directory that its evidence goes to.

    Begin one with `Run.start`; a worker process of the same run joins with `Run.join`.
    """

    def __init__(self, evidence: Path, run_id: str, clock: Clock | None = None) -> None:
        self.evidence = evidence
        self.id = run_id
        self.directory = evidence / run_id
        self.log = evidence / LOG
        self._clock: Clock = clock or SystemClock()
        self._ended = False

    @classmethod
    def start(cls, evidence: Path, facts: Mapping[str, Any] | None = None, clock: Clock | None = None) -> Self:
        """Begin a run: directory, run.json, the log's start entry and the link `latest`.

        Args:
            evidence: the evidence directory, created if need be.
            facts: what run.json says beside `provenance()`: why, image digests, plan digest, cluster shape.
            clock: for tests.

        Raises:
            EnvironmentFailed: the evidence directory cannot be written to. No directory of the run is left then.

        """
        clock = clock or SystemClock()
        now = clock.now().utc
        try:
            run = cls._with_directory(evidence, now, clock)
        except OSError as error:
            raise _unwritable(evidence, error) from error
        about = {
            "schema": SCHEMA,
            "run": run.id,
            "started_utc": stamp(now),
            "ended_utc": None,
            **provenance(),
            **(facts or {}),
        }
        try:
            write_atomically(run.directory / "run.json", about)
            digest = _sha256(run.directory / "run.json")
            append(run.log, {"event": "start", "run": run.id, "run_json_sha256": digest}, clock)
        except BaseException as error:
            # A directory that no log knows would look like a run that somebody put there.
            shutil.rmtree(run.directory, ignore_errors=True)
            if isinstance(error, OSError):
                raise _unwritable(run.directory, error) from error
            raise
        run._point_latest()
        return run

    @classmethod
    def _with_directory(cls, evidence: Path, now: datetime, clock: Clock) -> Self:
        evidence.mkdir(parents=True, exist_ok=True)
        while True:
            run = cls(evidence, f"{now:%Y%m%dT%H%M%SZ}-{secrets.token_hex(2)}", clock)
            try:
                run.directory.mkdir()
            except FileExistsError:  # two runs that began in one second drew one suffix
                continue
            return run

    @classmethod
    def join(cls, directory: Path, clock: Clock | None = None) -> Self:
        """Take part in a run that another process began; raises UsageError where there is none."""
        if not (directory / "run.json").is_file():
            raise UsageError(
                f"run: found no run.json in {directory}, accepted: the directory of a run that was started"
            )
        return cls(directory.parent, directory.name, clock)

    @property
    def sequence(self) -> int | None:
        """The number of its START entry in the log; None if there is none."""
        starts = (entry for entry in entries(self.log) if entry.get("event") == "start")
        return next((entry["seq"] for entry in starts if entry.get("run") == self.id), None)

    def drill_directory(self, name: str) -> Path:
        """Make a new directory for one drill's evidence; a drill that runs twice gets two, and neither is hidden."""
        clean = SECRETS.clean(name)
        safe = "".join(c if c.isalnum() or c in "-_." else "_" for c in clean).strip(".") or "drill"
        number = 1
        while True:
            path = self.directory / (safe if number == 1 else f"{safe}-{number}")
            try:
                path.mkdir(parents=True)
            except FileExistsError:
                number += 1
            else:
                return path

    def describe(self, **facts: object) -> None:
        """Add facts to run.json that were not known at the start."""
        path = self.directory / "run.json"
        with _locked(self.log):  # several workers may add theirs
            write_atomically(path, {**parsing.read_object(path, "the run.json of this run"), **facts})

    def records(self) -> list[Path]:
        """Find the record.json of every drill of this run so far."""
        return sorted(self.directory.glob("*/record.json"))

    def end(self, verdicts: Mapping[str, str] | None = None, **facts: object) -> None:
        """End the run in run.json and in the log, with the digest of every record. Idempotent.

        Args:
            verdicts: the verdict of each drill; read from the records by default.
            facts: what else the log's entry should say, such as the exit code or a digest of the manifest.

        """
        if self._ended:
            return
        self._ended = True
        now = stamp(self._clock.now().utc)
        found = {path.parent.name: _verdict(path) for path in self.records()} if verdicts is None else dict(verdicts)
        self.describe(ended_utc=now, verdicts=found)
        manifest = {str(path.relative_to(self.directory)): _sha256(path) for path in self.records()}
        append(
            self.log,
            {
                "event": "end",
                "run": self.id,
                "verdicts": found,
                "records": manifest,
                "run_json_sha256": _sha256(self.directory / "run.json"),
                **facts,
            },
            self._clock,
        )

    def _point_latest(self) -> None:
        link = self.evidence / f".latest-{self.id}"
        link.symlink_to(self.id)
        link.replace(self.evidence / LATEST)  # renamed over: `latest` never points nowhere in between


def append(log: Path, entry: Mapping[str, Any], clock: Clock | None = None) -> dict[str, Any]:
    """Add one entry to a log, chained to the one before it; returns it as written. Safe against other processes.

    It is dated by the clock, unless it says its `utc` itself: whoever waits for another writer must not date an entry
    before that writer's. Where the clock is behind the entry before, the entry says by how much. Half a line that a
    killed writer left is set aside: the entry keeps its beginning and its digest.

    Args:
        log: the file, made if need be.
        entry: event, run and what else there is to say.
        clock: for tests.

    Raises:
        EnvironmentFailed: it cannot be written, as on a full disk. Then nothing of it is in the log.

    """
    try:
        with _locked(log), log.open("a+b", buffering=0) as file:
            before = file.seek(0, os.SEEK_END)
            tail = _last_line(file)
            half = b"" if tail.endswith(b"\n") or _entry(tail) is not None else tail
            if half:
                file.truncate(before - len(half))
                tail = _last_line(file)
            last = tail.removesuffix(b"\n")
            begun: dict[str, Any] = {"seq": _number(last, file) + 1, "prev": hashlib.sha256(last).hexdigest()}
            utc, behind = (entry["utc"], {}) if "utc" in entry else _dated(last, clock or SystemClock())
            begun = begun if tail else {"seq": 0, "prev": GENESIS}
            whole = {**begun, "utc": utc, **entry, **behind, **_set_aside(half)}
            fit = texts.fit(whole, SECRETS.clean)
            line = json.dumps(fit, ensure_ascii=False, allow_nan=False).encode() + b"\n"
            # The end of the last line may be all that its writer did not write.
            _write(file, line if tail.endswith(b"\n") or not tail else b"\n" + line, half)
    except OSError as error:
        raise _unwritable(log, error) from error
    return whole


def verify(log: Path) -> list[str]:
    """Say what is wrong with a log, one problem a string; empty if it is whole. See `drills.chain`."""
    content = _read(log)
    return chain.problems(_split(content), torn=bool(content) and not content.endswith(b"\n"))


def unfinished(log: Path) -> list[str]:
    """Name the runs that started and never ended, in order."""
    open_runs: dict[str, None] = {}
    for line in lines(log):
        entry = _entry(line) or {}
        if entry.get("event") == "start":
            open_runs[str(entry.get("run"))] = None
        elif entry.get("event") == "end":
            open_runs.pop(str(entry.get("run")), None)
    return list(open_runs)


def entries(log: Path) -> list[dict[str, Any]]:
    """Give the entries of a log in order, without the lines that are none."""
    return [entry for entry in (_entry(line) for line in lines(log)) if entry is not None]


def head(log: Path) -> str:
    """Digest the last line: what must be kept elsewhere to notice a log that was cut off or written anew."""
    found = lines(log)
    return hashlib.sha256(found[-1]).hexdigest() if found else GENESIS


def lines(log: Path) -> list[bytes]:
    """Read the lines of a log, as they are and without their ends.

    Raises:
        UsageError: it cannot be read.

    """
    return _split(_read(log))


def provenance(argv: Sequence[str] | None = None) -> dict[str, Any]:
    """Who runs this, where and with what: user, host, versions, commit, command line (its secrets masked)."""
    return {
        "user": _user(),
        "host": socket.gethostname(),
        "platform": platform.platform(),
        "python": platform.python_version(),
        "command": mask_arguments(sys.argv if argv is None else argv),
        "directory": str(Path.cwd()),
        **_checkout(),
        "packages": {name: version for name in _PACKAGES if (version := _version(name))},
        "ci": {name: os.environ[name] for name in _CI if name in os.environ},
    }


def mask_arguments(argv: Sequence[str]) -> list[str]:
    """Make a command line fit for evidence: what follows a word like `password` or `token` is starred."""
    masked: list[str] = []
    hide_next = False
    for word in argv:
        name, equals, _ = word.partition("=")
        secret = any(part in name.lower() for part in _SECRET_WORDS)
        if hide_next and not word.startswith("-"):
            masked.append("***")
            hide_next = False
        elif secret and equals:
            masked.append(f"{name}=***")
            hide_next = False
        else:
            masked.append(word)
            hide_next = secret and word.startswith("-")
    return masked


@contextmanager
def _locked(log: Path) -> Iterator[None]:
    """Hold the log's lock, a file beside it: the log itself must stay readable and copyable while it is held."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with (log.parent / f".{log.name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _read(log: Path) -> bytes:
    try:
        return parsing.read_bytes(log, parsing.LONGEST_HISTORY, follow=True)
    except OSError as error:
        raise UsageError(f"log: {parsing.unreadable(log, error, f'the {LOG} of an evidence directory')}") from error


def _dated(last: bytes, clock: Clock) -> tuple[str, dict[str, float]]:
    """Date an entry, and say by how much the clock is behind the entry before, if it is."""
    now = clock.now().utc
    try:
        behind = (parse_stamp(str((_entry(last) or {}).get("utc"))) - now).total_seconds()
    except ValueError:
        behind = 0.0
    return stamp(now), {chain.BEHIND: round(behind, 3)} if behind >= _STAMPED_S else {}


def _set_aside(half: bytes) -> dict[str, Any]:
    if not half:
        return {}
    shown = half.decode(errors="replace")[:_SHOWN]
    return {chain.HALF: {"bytes": len(half), "sha256": hashlib.sha256(half).hexdigest(), "text": shown}}


def _write(file: FileIO, line: bytes, half: bytes) -> None:
    """Write one line wholly or not at all; what it was to take the place of is put back then."""
    start = file.seek(0, os.SEEK_END)
    try:
        rest = memoryview(line)
        while rest:
            rest = rest[file.write(rest) or 0 :]
        os.fsync(file.fileno())
    except OSError:
        file.truncate(start)
        if half:
            file.write(half)
        raise


def _unwritable(path: Path, error: OSError) -> EnvironmentFailed:
    return EnvironmentFailed(f"{path}: cannot be written: {error.strerror or error}")


def _last_line(file: FileIO) -> bytes:
    """Read a log's last line with its end, from the file's end backwards: nights of drills for years make it long."""
    place = file.seek(0, os.SEEK_END)
    tail = b""
    while place and b"\n" not in tail[:-1]:
        step = min(_BLOCK, place)
        place = file.seek(place - step)
        tail = file.read(step) + tail
    return tail[tail[:-1].rfind(b"\n") + 1 :]


def _number(last: bytes, file: FileIO) -> int:
    """Give the number of the last line: what it says of itself, or counted where it says none, as a half line."""
    said = (_entry(last) or {}).get("seq")
    if isinstance(said, int):
        return said
    file.seek(0)
    return len(_split(file.read())) - 1


def _split(content: bytes) -> list[bytes]:
    # Not splitlines: it takes a carriage return for the end of a line too, so that one put in would not show.
    return content.removesuffix(b"\n").split(b"\n") if content else []


def _entry(line: bytes) -> dict[str, Any] | None:
    return chain.entry_of(line)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _verdict(path: Path) -> str:
    try:
        return str(parsing.json_object(parsing.read_bytes(path))["verdict"])
    except (OSError, ValueError, KeyError):
        return "INCONCLUSIVE"  # a record that cannot be read proves nothing


def _user() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):  # a container's user without a name
        return str(os.getuid())


def _checkout() -> dict[str, Any]:
    """Say which commit this is run from, and whether anything was changed since; None is what git does not say.

    A checkout of another owner, an unborn branch, no repository or no git: nothing of it is clean.
    """
    commit, why = _git("rev-parse", "--verify", "HEAD")
    changes, also = (None, why) if commit is None else _git("status", "--porcelain")
    known = {"commit": commit, "uncommitted_changes": None if changes is None else bool(changes)}
    return known | ({"commit_unknown": why or also} if why or also else {})


def _git(*arguments: str) -> tuple[str | None, str]:
    """Ask git; returns its answer, or None and why there is none."""
    try:
        answer = subprocess.run(
            ["git", *arguments], capture_output=True, text=True, errors="replace", timeout=10, check=False
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return None, f"git {arguments[0]}: {error}"
    if answer.returncode != 0:
        lines = answer.stderr.strip().splitlines() or [f"exit code {answer.returncode}"]
        return None, f"git {arguments[0]}: {one_line(lines[0])}"
    return answer.stdout.strip(), ""


def _version(package: str) -> str:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return ""
