"""Whether a run's files are what their schemas say, and whether its evidence is complete."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills import parsing, schema, standing, texts
from drills.errors import UsageError
from drills.standing import SIGN_OFFS, Standing
from drills.verdicts import Verdict, worst


@dataclass
class Validation:
    """What validating one run found.

    Attributes:
        run: its directory's name.
        invalid: `file: field: found, accepted`, one problem a string.
        missing: by drill, what nobody supplied, as `field: in words`.
        verdicts: by drill, of the records that could be read.
        standings: by drill, of the records that could be read.

    """

    run: str
    invalid: list[str] = field(default_factory=list)
    missing: dict[str, list[str]] = field(default_factory=dict)
    verdicts: dict[str, Verdict] = field(default_factory=dict)
    standings: dict[str, Standing] = field(default_factory=dict)

    @property
    def complete(self) -> bool:
        """Whether nothing is invalid, nothing is missing, and there is a record at all."""
        return not self.invalid and bool(self.verdicts) and not any(self.missing.values())

    @property
    def verdict(self) -> Verdict:
        """The worst verdict; INCONCLUSIVE where there is no record."""
        return worst(self.verdicts.values())


def validate_run(run_dir: Path) -> Validation:
    """Validate run.json, every record and the sign-offs of one run."""
    found = Validation(run_dir.name)
    about = _checked(run_dir, "run.json", "run-v1", found)
    signed, problems = standing.read(run_dir)
    found.invalid += [problem.removeprefix(f"{run_dir}/") for problem in problems]
    found.invalid += [
        f"{SIGN_OFFS}: run: found {said.run!r}, accepted: {run_dir.name!r}"
        for said in signed
        if said.run != run_dir.name
    ]
    for folder in sorted(path for path in run_dir.iterdir() if path.is_dir()):
        name = folder.name
        if not any((folder / file).exists() for file in ("record.json", "history.jsonl")):
            continue  # reports, logs of clusters
        one = _checked(run_dir, f"{name}/record.json", "record-v1", found)
        if one is None:
            continue
        if "id" in one and one["id"] != f"{run_dir.name}/{name}":
            found.invalid.append(f"{name}/record.json: id: found {one['id']!r}, accepted: '{run_dir.name}/{name}'")
        found.verdicts[name] = Verdict(one["verdict"])
        found.missing[name] = standing.missing(one, about or {}, signed)
        found.standings[name] = standing.standing(one, about or {}, signed)
    if not found.verdicts and not found.invalid:
        found.invalid.append("found no record of a drill, accepted: at least one")
    return found


def load_run(run_dir: Path) -> dict[str, Any]:
    """Read a run's run.json; raises UsageError where there is none or it is invalid."""
    found = Validation(run_dir.name)
    about = _checked(run_dir, "run.json", "run-v1", found)
    if about is None:
        raise UsageError(f"{run_dir}: {'; '.join(found.invalid)}")
    return about


def _checked(run_dir: Path, name: str, schema_name: str, found: Validation) -> dict[str, Any] | None:
    """Read one file; notes what is wrong with it, and returns None then."""
    try:
        data = parsing.loads(parsing.read_bytes(run_dir / name))
    except (OSError, ValueError) as error:
        found.invalid.append(f"{name}: found unreadable ({texts.line(error, 400)}), accepted: a {schema_name}")
        return None
    problems = schema.problems(schema_name, data)
    found.invalid += [f"{name}: {problem}" for problem in problems]
    return dict(data) if not problems and isinstance(data, Mapping) else None
