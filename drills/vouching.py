"""Which runs somebody vouches for: sealed by an entry of the log that a signed checkpoint beside it covers.

Whoever can write to the evidence directory can add a run, its start and its end, without any key. What proves that a
drill was run (trends, coverage, due dates) looks here first. That is no proof against tampering: `drills verify` is.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from drills import chain, parsing, runs
from drills.errors import DrillError


def unvouched(evidence: Path) -> dict[str, str]:
    """Name the runs that nobody vouches for, each with why; none where nothing was ever sealed.

    Args:
        evidence: the directory of all runs.

    Raises:
        UsageError: the log cannot be read.

    """
    log = evidence / runs.LOG
    if not log.is_file():
        return {}
    lines = runs.lines(log)
    entries = [chain.entry_of(line) or {} for line in lines]
    if not any(entry.get("event") == "seal" for entry in entries):
        return {}
    covered = entries[: _covered(evidence, lines)]
    sealed, known = chain.first(entries, "seal"), chain.first(covered, "seal")
    found = {}
    for run in chain.first(entries, "start"):
        if run not in sealed:
            found[run] = "was never sealed"
        elif run not in known:
            found[run] = "no checkpoint covers its seal"
        elif not _is_as_sealed(evidence / run, known[run]):
            found[run] = "its manifest.json is not the one in the log"
    for path in evidence.iterdir():
        if path.is_dir() and not path.is_symlink() and path.name not in known and any(path.glob("*/record.json")):
            found.setdefault(path.name, "is not in the log")
    return found


def _is_as_sealed(run_dir: Path, seal: Mapping[str, Any]) -> bool:
    try:
        manifest = parsing.read_bytes(run_dir / "manifest.json")
    except OSError:
        return False
    return hashlib.sha256(manifest).hexdigest() == seal.get("manifest_sha256")


def _covered(evidence: Path, lines: list[bytes]) -> int:
    """Count the entries that the newest checkpoint covers which is signed and of this log."""
    from drills import checkpoint, keys  # here: cryptography takes its time to load

    place = keys.directory()
    own = place if (place / keys.CHECKPOINT_PUBLIC).exists() else evidence / checkpoint.DIRECTORY
    for note in reversed(checkpoint.notes(evidence)):
        for trusted in (own, evidence / checkpoint.DIRECTORY):  # evidence that came from others has their keys
            try:
                made, _ = checkpoint.verify(parsing.read_bytes(note), [keys.PublicKeys.load(trusted)], note.name)
            except (DrillError, OSError):
                continue
            if not checkpoint.differences(lines, [(note.name, made)]):
                return made.size
    return 0
