"""The index: what reports need of every record, kept beside the log so that 100,000 records load in seconds.

It is a copy and never the source of truth. Every reading looks at every record.json's place, size, times and inode, and
reads again whatever differs; a file that is absent, broken or from other code is built anew from the records. Texts are
kept once, for most of them stand in thousands of records. Delete the file whenever you like.

The log is compared with the records as well: a record that the log names and that is gone, or is not the one that was
logged, is a contradiction, and is named. (That is no proof against tampering: `drills verify` is.)
"""

import hashlib
import json
import marshal
import math
import os
import sqlite3
import struct
import subprocess
import sys
from array import array
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from drills import parsing, runs

from .view import Problem, View
from .words import clean, line

FILE = ".index.sqlite"
VERSION = 3  # to be raised whenever FACTS changes, so that what older code wrote is built anew
_BATCH = 5000  # records kept at a time: what was read is not lost when a long building is cut short

FACTS: Mapping[str, Callable[[View], object]] = {
    "utc_us": lambda view: None if view.started is None else round(view.started.timestamp() * 1e6),
    "scenario": lambda view: view.scenario,
    "drill": lambda view: view.text("drill"),
    "title": lambda view: view.title if view.text("title") else "",
    "repeat": lambda view: view.repeat[0] if view.repeat else 0,
    "tier": lambda view: view.text("tier"),
    "verdict": lambda view: str(view.verdict),
    "rta_s": lambda view: view.rta_s,
    "low_s": lambda view: view.rta_low_s,
    "high_s": lambda view: view.rta_high_s,
    "rto_s": lambda view: view.rto_s,
    "rpa_s": lambda view: view.rpa_s,
    "rpo_s": lambda view: view.rpo_s,
    "downtime_s": lambda view: view.figure("achieved", "downtime_s"),
    "acknowledged": lambda view: view.writes("acknowledged"),
    "lost": lambda view: view.writes("lost"),
    "corrupted": lambda view: view.writes("corrupted"),
    "duplicated": lambda view: view.writes("duplicated"),
    "resurrected": lambda view: view.writes("resurrected"),
    "duration_s": lambda view: view.duration_s,
    "sabotage": lambda view: ", ".join(view.sabotage),
    "environment": lambda view: view.text("environment", "kind"),
    "fault": lambda view: view.text("fault", "name"),
    "blast_radius": lambda view: view.text("fault", "blast_radius"),
    "proofs": lambda view: view.count("fault", "proof") or 0,
    "procedure": lambda view: view.text("procedure", "name"),
    "runbook": lambda view: view.text("runbook"),
    "backup": lambda view: view.text("backup", "kind"),
    "data": lambda view: "\n".join(data_classes(view)),
    "controls": lambda view: "\n".join(view.texts("controls")),
}
"""What is kept of a record, by name; texts are empty and figures NULL where the record has none."""

_COUNTED = {"utc_us", "acknowledged", "lost", "corrupted", "duplicated", "resurrected", "proofs", "repeat"}
_MEASURED = {name for name in FACTS if name.endswith("_s")}
_TEXTS = [name for name in FACTS if name not in _COUNTED | _MEASURED]
_ABSENT = "9e999"  # SQLite's infinity, which no record has: so that a column without gaps is read at once
_STATE = struct.Struct("=qqqq")
_LARGEST = 2**62


def data_classes(view: View) -> list[str]:
    """Name the classes of data that a drill put at stake: those of its scope, or what the ledger alone shows."""
    named = view.texts("meta", "scope", "data")
    if named:
        return named
    return ["acknowledged writes"] if view.writes("acknowledged") else ["none"]


@dataclass(frozen=True)
class Reading:
    """What the index holds of an evidence directory.

    Attributes:
        texts: every text, by its number.
        columns: run, folder and the facts asked for of each readable record: of texts the numbers, of figures the
            figures, infinite where there is none.
        digests: the SHA-256 of each record, if it was asked for.
        problems: the records that cannot be read.
        contradictions: where log and records do not agree.

    """

    texts: list[str]
    columns: Mapping[str, "array[int] | array[float]"]
    digests: list[str]
    problems: list[Problem]
    contradictions: list[Problem]


def is_text(name: str) -> bool:
    """Whether a column of a reading holds the numbers of texts."""
    return name in ("run", "folder", *_TEXTS)


def read(evidence_dir: Path, facts: Sequence[str] = tuple(FACTS), *, digests: bool = True) -> Reading:
    """Bring the index of an evidence directory up to date and read it; of FACTS only those that are asked for.

    The index is kept only where there is a log, which marks an evidence directory, and where it can be written;
    anywhere else it lives in memory for this one reading.
    """
    path = evidence_dir / FILE
    if (evidence_dir / runs.LOG).is_file() and not path.is_symlink():
        for _ in range(2):
            try:
                return _read(path, evidence_dir, facts, digests)
            except sqlite3.OperationalError:  # a directory that cannot be written, or another process at it for long
                break
            except sqlite3.DatabaseError:  # no database, or a broken one: nothing is lost with it
                path.unlink(missing_ok=True)
    return _read(":memory:", evidence_dir, facts, digests)


def _read(database: Path | str, evidence_dir: Path, facts: Sequence[str], digests: bool) -> Reading:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        _prepare(connection)
        texts = _Texts(connection)
        with Helpers() as helpers:
            _follow_records(connection, evidence_dir, texts, helpers)
        _follow_log(connection, evidence_dir / runs.LOG, texts)
        texts.refresh()
        return Reading(
            texts.all,
            _columns(connection, facts),
            _digests(connection) if digests else [],
            _problems(connection, evidence_dir, texts),
            _contradictions(connection, evidence_dir, texts),
        )


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    columns = ", ".join(f"{name} {'REAL' if name in _MEASURED else 'INTEGER'}" for name in FACTS)
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for table in ("fact", "place", "logged", "log", "text"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute("CREATE TABLE text (number INTEGER PRIMARY KEY, text TEXT NOT NULL)")
        connection.execute(
            "CREATE TABLE fact (run INTEGER, folder INTEGER, state BLOB, digest BLOB, problem INTEGER, "
            f"{columns}, PRIMARY KEY (run, folder)) WITHOUT ROWID"
        )
        connection.execute(
            "CREATE TABLE logged (run INTEGER, folder INTEGER, sha256 BLOB, PRIMARY KEY (run, folder)) WITHOUT ROWID"
        )
        connection.execute("CREATE TABLE log (stat TEXT)")
        connection.execute(f"PRAGMA user_version = {VERSION}")


class _Texts:
    """The texts of the index: each has a number, in the order in which they came, from 0, which is the empty one."""

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        self.all: list[str] = []
        self._numbers: dict[str, int] = {}
        self.refresh()

    def refresh(self) -> None:
        """Take over what another process has added meanwhile."""
        found = self._connection.execute(
            "SELECT number, text FROM text WHERE number >= ? ORDER BY number", (len(self.all),)
        )
        for number, text in found:
            if number != len(self.all):
                raise sqlite3.DatabaseError("a text of the index is gone")
            self._numbers.setdefault(text, number)
            self.all.append(text)

    def known(self, text: str) -> int | None:
        """Give the number of a text that is kept already."""
        return self._numbers.get(text)

    def number(self, text: str) -> int:
        """Give the number of a text, which is kept from now on."""
        number = self._numbers.get(text)
        if number is None:
            number = self._numbers[text] = len(self.all)
            self.all.append(text)
            self._connection.execute("INSERT INTO text VALUES (?, ?)", (number, text))
        return number


class Helpers:
    """Processes beside this one that read records, as many as there are processors: Python reads in one at a time.

    They are begun when there is enough for them to do, and end with the block.
    """

    def __init__(self) -> None:
        self._running: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> "Helpers":
        return self

    def __exit__(self, *_: object) -> None:
        for helper in self._running:
            helper.communicate()

    def share(self, paths: list[str]) -> Iterator[tuple[object, ...]]:
        """Read these records, in their order."""
        if len(paths) < _BATCH:
            return map(read_facts, paths)
        if not self._running:
            self._running = [_helper() for _ in range(min(len(os.sched_getaffinity(0)), _MOST_HELPERS) - 1)]
        part = -(-len(paths) // (len(self._running) + 1))
        for number, helper in enumerate(self._running, 1):
            marshal.dump(paths[number * part : (number + 1) * part], _pipe(helper.stdin))
            _pipe(helper.stdin).flush()
        return self._collected([read_facts(path) for path in paths[:part]])

    def _collected(self, own: list[tuple[object, ...]]) -> Iterator[tuple[object, ...]]:
        yield from own
        for helper in self._running:
            try:
                yield from marshal.load(_pipe(helper.stdout))  # noqa: S302 - of a program of ours
            except (EOFError, ValueError) as error:
                raise OSError(f"a process that read records ended with {helper.poll()}") from error


_MOST_HELPERS = 4


def _helper() -> "subprocess.Popen[bytes]":
    program = f"import {__name__} as index; index.help_reading()"
    paths = os.pathsep.join(path for path in sys.path if path)
    surroundings = {**os.environ, "PYTHONPATH": paths}
    return subprocess.Popen(
        [sys.executable, "-c", program], stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=surroundings
    )


def help_reading() -> None:
    """Read the records that another process names, until it names no more."""
    while True:
        try:
            paths = marshal.load(sys.stdin.buffer)  # noqa: S302 - of the program that began this one
        except EOFError:
            return
        marshal.dump([read_facts(path) for path in paths], sys.stdout.buffer)
        sys.stdout.buffer.flush()


def _pipe(found: "IO[bytes] | None") -> "IO[bytes]":
    if found is None:
        raise OSError("a process without a pipe")
    return found


# --- records ---


def _follow_records(connection: sqlite3.Connection, evidence_dir: Path, texts: _Texts, helpers: Helpers) -> None:
    gone = {run for (run,) in connection.execute("SELECT DISTINCT run FROM fact")}
    differs: list[tuple[str, str, bytes]] = []
    for run, states in _on_disk(evidence_dir):
        number = texts.known(_storable_text(run))
        known: dict[str, bytes] = {}
        if number in gone:
            gone.discard(number)
            rows = connection.execute("SELECT folder, state FROM fact WHERE run = ?", (number,))
            known = {texts.all[folder]: state for folder, state in rows}
        differs += [(run, folder, state) for folder, state in states if known.pop(folder, None) != state]
        if known:
            with connection:
                lost = [(number, texts.known(folder)) for folder in known]
                connection.executemany("DELETE FROM fact WHERE run = ? AND folder = ?", lost)
        if len(differs) >= _BATCH:
            _take_in(connection, evidence_dir, differs, texts, helpers)
            differs = []
    if differs:
        _take_in(connection, evidence_dir, differs, texts, helpers)
    if gone:
        with connection:
            connection.executemany("DELETE FROM fact WHERE run = ?", [(run,) for run in gone])


def _take_in(
    connection: sqlite3.Connection,
    evidence_dir: Path,
    found: list[tuple[str, str, bytes]],
    texts: _Texts,
    helpers: Helpers,
) -> None:
    read = helpers.share([f"{evidence_dir}/{run}/{folder}/record.json" for run, folder, _ in found])
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        texts.refresh()
        texts.number("")
        rows = (_row(place, facts, texts) for place, facts in zip(found, read, strict=True))
        connection.executemany(f"INSERT OR REPLACE INTO fact VALUES ({_marks(len(FACTS) + 5)})", rows)  # noqa: S608 - our own words


def _row(place: tuple[str, str, bytes], read: tuple[object, ...], texts: _Texts) -> tuple[object, ...]:
    run, folder, state = place
    digest, problem, *facts = read
    numbered = [texts.number(fact) if type(fact) is str else fact for fact in facts]
    where = (texts.number(_storable_text(run)), texts.number(_storable_text(folder)))
    return (*where, state, digest, texts.number(str(problem)) or None, *numbered)


def read_facts(path: str) -> tuple[object, ...]:
    """Read one record: its digest, what is wrong with it or an empty text, and its FACTS."""
    try:
        content = _content(path)
    except OSError as error:
        content, unread = b"", clean(error)
    else:
        unread = ""
    digest = hashlib.sha256(content + unread.encode("utf-8", "replace")).digest()
    return (digest, *_facts(content, unread))


def _content(path: str) -> bytes:
    """Read a record, 100,000 times: as `parsing.read_bytes` does, for less."""
    descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        content = os.read(descriptor, _AT_ONCE)
        whole = len(content) < _AT_ONCE
    finally:
        os.close(descriptor)
    return content if whole else parsing.read_bytes(Path(path))


_AT_ONCE = 1 << 18


def _facts(content: bytes, unread: str) -> tuple[object, ...]:
    """Give a record's problem, or an empty one and its FACTS."""
    nothing = (None,) * len(FACTS)
    if unread:
        return (unread, *nothing)
    try:
        view = View.of(json.loads(content))
        return ("", *(_storable(fact(view)) for fact in FACTS.values()))
    except (ValueError, ArithmeticError, RecursionError):
        return (_flaw(content), *nothing)


def _flaw(content: bytes) -> str:
    """Say what is wrong with a record, as every other reader of it does."""
    try:
        View.of(parsing.loads(content))
    except ValueError as problem:  # of JSON, of its text's encoding, and RecordError
        return line(problem, 400) or type(problem).__name__
    return "cannot be read"


def _storable(value: object) -> object:
    """Keep what SQLite would refuse or change out of it: lone surrogates, and numbers beyond 64 bits."""
    kind = type(value)
    if kind is str:
        return value if value.isascii() else _storable_text(value)  # type: ignore[attr-defined, arg-type]
    if kind is int:
        return value if -_LARGEST < value < _LARGEST else None  # type: ignore[operator]
    return value if kind is not float or math.isfinite(value) else None  # type: ignore[arg-type]


def _storable_text(text: str) -> str:
    return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()


def _on_disk(evidence_dir: Path) -> Iterator[tuple[str, list[tuple[str, bytes]]]]:
    """Name every `<run>/<folder>/record.json` and its state, by run. `latest`, a link, is not followed."""
    for run in sorted(_folders(evidence_dir)):
        try:
            place = os.open(f"{evidence_dir}/{run}", os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
        except OSError:  # removed meanwhile
            continue
        try:
            yield run, list(_states(place))
        finally:
            os.close(place)


def _states(run: int) -> Iterator[tuple[str, bytes]]:
    for folder in sorted(_folders(run)):
        try:
            found = os.stat(f"{folder}/record.json", dir_fd=run, follow_symlinks=False)
        except OSError:
            continue
        # ctime as well: unlike mtime nobody sets it at will, so an edit that puts the old mtime back is seen.
        yield folder, _STATE.pack(found.st_size, found.st_mtime_ns, found.st_ctime_ns, found.st_ino)


def _folders(parent: Path | int) -> list[str]:
    with os.scandir(parent) as entries:
        return [
            entry.name for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)
        ]


# --- the log ---


def _follow_log(connection: sqlite3.Connection, log: Path, texts: _Texts) -> None:
    try:
        found = log.stat()
        state = f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"
    except OSError:
        state = ""
    if connection.execute("SELECT stat FROM log").fetchone() == (state,):
        return
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        texts.refresh()
        texts.number("")
        connection.execute("DELETE FROM logged")
        logged = _logged(runs.entries(log) if state else [], texts)
        connection.executemany("INSERT OR REPLACE INTO logged VALUES (?, ?, ?)", logged)
        connection.execute("DELETE FROM log")
        connection.execute("INSERT INTO log VALUES (?)", (state,))


def _logged(entries: Iterable[Mapping[str, object]], texts: _Texts) -> Iterator[tuple[int, int, bytes]]:
    for entry in entries:
        records = entry.get("records")
        if entry.get("event") != "end" or not isinstance(records, dict):
            continue
        run = texts.number(_storable_text(str(entry.get("run"))))
        for path, sha256 in records.items():
            if path.endswith("/record.json"):
                folder = texts.number(_storable_text(path.removesuffix("/record.json")))
                yield run, folder, _bytes(str(sha256))


def _bytes(digest: str) -> bytes:
    try:
        return bytes.fromhex(digest)
    except ValueError:  # no digest at all, which no record has
        return digest.encode("utf-8", "replace")


# --- what it holds ---


def _columns(connection: sqlite3.Connection, facts: Sequence[str]) -> dict[str, "array[int] | array[float]"]:
    names = ("run", "folder", *facts)
    made: list[array[int] | array[float]] = [array("q" if is_text(name) else "d") for name in names]
    asked = ", ".join(name if is_text(name) else f"ifnull({name}, {_ABSENT})" for name in names)
    rows = connection.execute(f"SELECT {asked} FROM fact WHERE problem IS NULL")  # noqa: S608 - as above
    while chunk := rows.fetchmany(_BATCH):
        for column, values in zip(made, zip(*chunk, strict=True), strict=True):
            column.extend(values)
    return dict(zip(names, made, strict=True))


def _digests(connection: sqlite3.Connection) -> list[str]:
    return [digest.hex() for (digest,) in connection.execute("SELECT digest FROM fact WHERE problem IS NULL")]


def _problems(connection: sqlite3.Connection, evidence_dir: Path, texts: _Texts) -> list[Problem]:
    found = connection.execute("SELECT run, folder, problem FROM fact WHERE problem IS NOT NULL")
    told = sorted(tuple(texts.all[number] for number in row) for row in found)
    return [Problem(evidence_dir / run / folder / "record.json", problem) for run, folder, problem in told]


def _contradictions(connection: sqlite3.Connection, evidence_dir: Path, texts: _Texts) -> list[Problem]:
    found = connection.execute(
        "SELECT logged.run, logged.folder, digest IS NULL FROM logged LEFT JOIN fact USING (run, folder) "
        "WHERE digest IS NULL OR digest != sha256"
    )
    told = sorted((texts.all[run], texts.all[folder], gone) for run, folder, gone in found)
    return [
        Problem(
            evidence_dir / run / folder / "record.json",
            "the log names this record, and it is gone" if gone else "not the record that the log names",
        )
        for run, folder, gone in told
    ]


def _marks(count: int) -> str:
    return ", ".join("?" * count)
