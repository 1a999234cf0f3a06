"""The index: what reports need of every record, kept beside the log so that 100,000 records load in seconds.

It is a copy and never the source of truth. Every reading looks at every record.json's place, size, times and inode, and
reads again whatever differs; a file that is absent, broken or from other code is built anew from the records. Facts are
kept by the digest of the record they were read from. Delete the file whenever you like.

The log is compared with the records as well: a record that the log names and that is gone, or is not the one that was
logged, is a contradiction, and is named. (That is no proof against tampering: `drills verify` is.)
"""

import hashlib
import json
import math
import os
import sqlite3
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path

from drills import runs

from .view import Problem, View
from .words import clean

FILE = ".index.sqlite"
VERSION = 2  # to be raised whenever FACTS changes, so that what older code wrote is built anew
_BATCH = 2000  # records kept at a time: what was read is not lost when a long building is cut short

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
        rows: run, folder, digest and then the facts asked for of each readable record, in order of run, time and drill.
        problems: the records that cannot be read.
        contradictions: where log and records do not agree.

    """

    rows: list[tuple[object, ...]]
    problems: list[Problem]
    contradictions: list[Problem]


def read(evidence_dir: Path, facts: Sequence[str] = tuple(FACTS)) -> Reading:
    """Bring the index of an evidence directory up to date and read it; of FACTS only those that are asked for.

    The index is kept only where there is a log, which marks an evidence directory, and where it can be written;
    anywhere else it lives in memory for this one reading.
    """
    path = evidence_dir / FILE
    if (evidence_dir / runs.LOG).is_file():
        for _ in range(2):
            try:
                return _read(path, evidence_dir, facts)
            except sqlite3.OperationalError:  # a directory that cannot be written, or another process at it for long
                break
            except sqlite3.DatabaseError:  # no database, or a broken one: nothing is lost with it
                path.unlink(missing_ok=True)
    return _read(":memory:", evidence_dir, facts)


def _read(database: Path | str, evidence_dir: Path, facts: Sequence[str]) -> Reading:
    with closing(sqlite3.connect(database, timeout=60)) as connection:
        _prepare(connection)
        _follow_records(connection, evidence_dir)
        _follow_log(connection, evidence_dir / runs.LOG)
        return Reading(
            _rows(connection, facts), _problems(connection, evidence_dir), _contradictions(connection, evidence_dir)
        )


def _prepare(connection: sqlite3.Connection) -> None:
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == VERSION:
        return
    columns = ", ".join(
        f"{name} {'INTEGER' if name in _COUNTED else 'REAL' if name in _MEASURED else 'TEXT'}" for name in FACTS
    )
    with connection:
        connection.execute("BEGIN IMMEDIATE")
        for table in ("fact", "place", "logged", "log"):
            connection.execute(f"DROP TABLE IF EXISTS {table}")
        connection.execute(f"CREATE TABLE fact (digest TEXT PRIMARY KEY, problem TEXT, {columns})")
        connection.execute("CREATE INDEX flawed ON fact (digest) WHERE problem != ''")
        connection.execute(
            "CREATE TABLE place (run TEXT, folder TEXT, digest TEXT, stat TEXT, PRIMARY KEY (run, folder))"
        )
        connection.execute("CREATE TABLE logged (run TEXT, folder TEXT, sha256 TEXT, PRIMARY KEY (run, folder))")
        connection.execute("CREATE TABLE log (stat TEXT)")
        connection.execute(f"PRAGMA user_version = {VERSION}")


# --- records ---


def _follow_records(connection: sqlite3.Connection, evidence_dir: Path) -> None:
    known = {(run, folder): stat for run, folder, stat in connection.execute("SELECT run, folder, stat FROM place")}
    differs = [found for found in _on_disk(evidence_dir) if known.pop(found[:2], None) != found[2]]
    if differs:
        digests = {digest for (digest,) in connection.execute("SELECT digest FROM fact")}
        for start in range(0, len(differs), _BATCH):
            _take_in(connection, evidence_dir, differs[start : start + _BATCH], digests)
    if known:
        with connection:
            connection.executemany("DELETE FROM place WHERE run = ? AND folder = ?", list(known))
            connection.execute("DELETE FROM fact WHERE digest NOT IN (SELECT digest FROM place)")


def _take_in(
    connection: sqlite3.Connection, evidence_dir: Path, found: list[tuple[str, str, str]], digests: set[str]
) -> None:
    places, facts = [], []
    for run, folder, stat in found:
        try:
            content = (evidence_dir / run / folder / "record.json").read_bytes()
        except OSError as problem:
            content, unread = b"", clean(problem)
        else:
            unread = ""
        digest = hashlib.sha256(content + unread.encode()).hexdigest()
        places.append((run, folder, digest, stat))
        if digest not in digests:
            digests.add(digest)
            facts.append((digest, *_facts(content, unread)))
    with connection:
        connection.executemany(f"INSERT OR REPLACE INTO fact VALUES ({_marks(len(FACTS) + 2)})", facts)  # noqa: S608 - our own words
        connection.executemany("INSERT OR REPLACE INTO place VALUES (?, ?, ?, ?)", places)


def _facts(content: bytes, unread: str) -> tuple[object, ...]:
    """Give a record's problem, or an empty one and its FACTS."""
    nothing = (None,) * len(FACTS)
    if unread:
        return (unread, *nothing)
    try:
        view = View.of(json.loads(content))
    except (ValueError, RecursionError) as problem:  # of JSON, of its text's encoding, and RecordError
        return (clean(problem) or type(problem).__name__, *nothing)
    return ("", *(_storable(fact(view)) for fact in FACTS.values()))


def _storable(value: object) -> object:
    """Keep what SQLite would refuse or change out of it: lone surrogates, and numbers beyond 64 bits."""
    if isinstance(value, str):
        return value.encode("utf-8", "replace").decode()
    if isinstance(value, int) and abs(value) > 2**62:
        return None
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _on_disk(evidence_dir: Path) -> Iterator[tuple[str, str, str]]:
    """Name every `<run>/<folder>/record.json` and its state. Links are not followed: `latest` would count twice."""
    for run in _folders(evidence_dir):
        for folder in _folders(run.path):
            try:
                found = os.stat(f"{folder.path}/record.json")  # noqa: PTH116 - 100,000 times: a Path costs more than the call
            except OSError:
                continue
            yield run.name, folder.name, _state(found)


def _folders(parent: Path | str) -> list[os.DirEntry[str]]:
    with os.scandir(parent) as entries:
        return [entry for entry in entries if not entry.name.startswith(".") and entry.is_dir(follow_symlinks=False)]


def _state(found: os.stat_result) -> str:
    # ctime as well: unlike mtime nobody sets it at will, so an edit that puts the old mtime back is seen.
    return f"{found.st_size}-{found.st_mtime_ns}-{found.st_ctime_ns}-{found.st_ino}"


# --- the log ---


def _follow_log(connection: sqlite3.Connection, log: Path) -> None:
    try:
        state = _state(log.stat())
    except OSError:
        state = ""
    if connection.execute("SELECT stat FROM log").fetchone() == (state,):
        return
    logged = [
        (str(entry.get("run")), path.removesuffix("/record.json"), str(sha256))
        for entry in (runs.entries(log) if state else [])
        if entry.get("event") == "end" and isinstance(entry.get("records"), dict)
        for path, sha256 in entry["records"].items()
        if path.endswith("/record.json")
    ]
    with connection:
        connection.execute("DELETE FROM logged")
        connection.executemany("INSERT OR REPLACE INTO logged VALUES (?, ?, ?)", logged)
        connection.execute("DELETE FROM log")
        connection.execute("INSERT INTO log VALUES (?)", (state,))


# --- what it holds ---


def _rows(connection: sqlite3.Connection, facts: Sequence[str]) -> list[tuple[object, ...]]:
    return connection.execute(
        f"SELECT {', '.join(('run', 'folder', 'place.digest', *facts))} FROM place JOIN fact USING (digest) "  # noqa: S608 - as above
        "WHERE problem = '' ORDER BY run, utc_us, coalesce(nullif(drill, ''), folder)"
    ).fetchall()


def _problems(connection: sqlite3.Connection, evidence_dir: Path) -> list[Problem]:
    return [
        Problem(evidence_dir / run / folder / "record.json", found)
        for run, folder, found in connection.execute(
            "SELECT run, folder, problem FROM place JOIN fact USING (digest) "
            "WHERE digest IN (SELECT digest FROM fact WHERE problem != '') ORDER BY run, folder"
        )
    ]


def _contradictions(connection: sqlite3.Connection, evidence_dir: Path) -> list[Problem]:
    return [
        Problem(
            evidence_dir / run / folder / "record.json",
            "the log names this record, and it is gone" if digest is None else "not the record that the log names",
        )
        for run, folder, digest in connection.execute(
            "SELECT logged.run, logged.folder, digest FROM logged LEFT JOIN place USING (run, folder) "
            "WHERE digest IS NULL OR digest != sha256 ORDER BY logged.run, logged.folder"
        )
    ]


def _marks(count: int) -> str:
    return ", ".join("?" * count)
