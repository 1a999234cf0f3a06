"""How long 100,000 records take to load and to chart, and how much memory.

    python bench/many_records.py DIRECTORY [--runs 5000] [--drills 20] [--keep]

Makes the records below DIRECTORY, which must not exist, with the harness's own writers: runs by `drills.runs.Run` (so
with a real log), one model record a drill by `drills.record.build` from a told history, and each night's record by
`drills.record.write_atomically` with figures that wander. Then measures, each in a process of its own:

- cold: no index, every record read; warm: the index is there and nothing changed; grown: one more run was held;
- each time the whole of `drills trend`: imports, loading, drawing, writing trend.png; and of `drills coverage`.

Prints a JSON object. The records are removed at the end.
"""

import argparse
import copy
import json
import os
import random
import shutil
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

sys.path.insert(0, str(Path(__file__).parents[1]))

from drills.clock import FakeClock
from drills.record import validate, write_atomically
from drills.runs import Run
from tests.unit.samples import Story, record_of, tell

FIRST = datetime(2021, 1, 1, 2, tzinfo=UTC)
FAULTS = ("pod killed", "namespace deleted", "node stopped", "node drained", "etcd wiped")


def model(number: int) -> dict[str, Any]:
    """Build one drill's record with the harness's own code."""
    story = Story(
        name=f"drill_{number:02d}_of_the_programme", fault=FAULTS[number % len(FAULTS)], steady_s=4.0,
        bad_until_s=2.0 + number % 7, after_s=4.0, backup_before_s=1.0, rto_s=60.0 if number % 3 else 12.0,
    )  # fmt: skip
    record = record_of(story, tell(story))
    problems = validate(record)
    if problems:
        raise SystemExit("; ".join(problems))
    return record


def night(record: dict[str, Any], began: datetime, share: float, rng: random.Random) -> dict[str, Any]:
    """Give the record that a drill leaves on one night; the objective is tightened at 60 % of all runs."""
    record = copy.copy(record)
    record["achieved"] = achieved = dict(record["achieved"])
    record["objective"] = objective = dict(record["objective"])
    record["started_utc"] = f"{began:%Y-%m-%dT%H:%M:%S}.000Z"
    if share > 0.6:
        objective["rto_s"] *= 0.75
    rta = achieved["rta_s"] * rng.lognormvariate(0, 0.25)
    achieved |= {"rta_s": rta, "rta_low_s": rta - 0.05, "rta_high_s": rta + 0.01}
    luck = rng.random()
    if luck < 0.02:
        record["verdict"], record["why"] = "INCONCLUSIVE", "no damage was observed"
    elif luck < 0.03:
        record["verdict"] = "MISSED"
        achieved |= {"rta_s": None, "rta_low_s": None, "rta_high_s": None, "rpa_s": None}
    else:
        record["verdict"] = "MISSED" if achieved["rta_high_s"] > objective["rto_s"] else "MET"
    return record


def hold(evidence: Path, models: list[dict[str, Any]], number: int, count: int, rng: random.Random) -> None:
    """Leave one run with a record a drill."""
    began = FIRST + timedelta(days=number * 1826 / count)
    run = Run.start(evidence, {"why": "nightly"}, FakeClock(utc=began))
    for each in models:
        path = run.drill_directory(each["drill"]) / "record.json"
        write_atomically(path, night(each, began, number / count, rng))
    run.end()


def measured(evidence: Path, command: str) -> dict[str, float]:
    """Run one command of `drills` and measure it whole: seconds, and the most memory it ever held."""
    # Compiled once, as pip leaves what it installs; where Python may write no bytecode, each start compiles all anew.
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    surroundings["PYTHONPYCACHEPREFIX"] = str(evidence.with_name(f"{evidence.name}-bytecode"))
    program = [sys.executable, "-m", "drills.command", command, "--evidence-dir", str(evidence)]
    began = time.monotonic()
    child = subprocess.Popen(program, env=surroundings, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(child.pid, 0)
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"drills {command}: exit {os.waitstatus_to_exitcode(status)}")
    seconds = round(time.monotonic() - began, 1)
    return {
        "seconds": seconds,
        "CPU seconds": round(usage.ru_utime + usage.ru_stime, 1),
        "MiB": round(usage.ru_maxrss / 1024),
    }


def main() -> None:
    """Make the records, measure, remove them."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("directory", type=Path)
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--drills", type=int, default=20)
    parser.add_argument("--keep", action="store_true")
    wanted = parser.parse_args()
    wanted.directory.mkdir(parents=True)
    try:
        rng = random.Random(7)  # noqa: S311 - figures that wander, no secret
        models = [model(number) for number in range(wanted.drills)]
        began = time.monotonic()
        for number in range(wanted.runs):
            hold(wanted.directory, models, number, wanted.runs, rng)
        result: dict[str, object] = {
            "records": wanted.runs * wanted.drills,
            "made in seconds": round(time.monotonic() - began),
            "trend, cold": measured(wanted.directory, "trend"),
            "trend, warm": measured(wanted.directory, "trend"),
            "coverage, warm": measured(wanted.directory, "coverage"),
        }
        hold(wanted.directory, models, wanted.runs, wanted.runs, rng)
        result["trend, grown"] = measured(wanted.directory, "trend")
        sys.stdout.write(json.dumps(result, indent=2) + "\n")
    finally:
        if not wanted.keep:
            shutil.rmtree(wanted.directory)
        shutil.rmtree(wanted.directory.with_name(f"{wanted.directory.name}-bytecode"), ignore_errors=True)


if __name__ == "__main__":
    main()
