"""How `drills trend` and `drills coverage` compare with an older commit: on the same records, in one run, as ratios.

    python bench/beside.py COMMIT [EVIDENCE] [--runs 5000] [--drills 20] [--rounds 3]

Makes the records as bench/many_records.py does, below EVIDENCE (a temporary directory by default; one that is there is
taken as it is, without its index). Then runs both commits, by turns, so that what else the machine does hits both:

- cold: no index, every record read; warm: the index is there and nothing changed;
- seconds, CPU seconds (of all its processes), and the most memory that one process held, in MiB.

Prints a JSON object with the least of the rounds, and the ratio of this tree to the commit: 0.5 is half.
"""

import argparse
import json
import os
import random
import resource
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

HERE = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(HERE))

PACKAGES = ("fixtures", "reports", "scenarios")


def tree(commit: str, into: Path) -> Path:
    """Lay out a commit's packages as they are once installed; the working tree where no commit is given."""
    source = HERE
    if commit:
        source = into / "source"
        source.mkdir(parents=True)
        archive = subprocess.run(["git", "-C", str(HERE), "archive", commit], capture_output=True, check=True).stdout
        subprocess.run(["tar", "-x", "-C", str(source)], input=archive, check=True)
    place = into / "packages"
    shutil.copytree(source / "drills", place / "drills")
    for name in PACKAGES:
        (place / "drills" / name).symlink_to(source / name)
    return place


def measured(place: Path, evidence: Path, command: str) -> dict[str, float]:
    """Run one command of one tree."""
    surroundings = {name: value for name, value in os.environ.items() if name != "PYTHONDONTWRITEBYTECODE"}
    surroundings |= {"PYTHONPATH": str(place), "PYTHONPYCACHEPREFIX": str(place.with_name("bytecode"))}
    program = [sys.executable, "-m", "drills.command", command, "--evidence-dir", str(evidence)]
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    child = subprocess.Popen(program, env=surroundings, stdout=subprocess.DEVNULL, cwd=place)
    _, status, usage = os.wait4(child.pid, 0)
    seconds = time.monotonic() - began
    if os.waitstatus_to_exitcode(status):
        raise SystemExit(f"drills {command} of {place}: exit {os.waitstatus_to_exitcode(status)}")
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    return {"seconds": seconds, "CPU seconds": cpu, "MiB": usage.ru_maxrss / 1024}


def main() -> None:
    """Make the records, run both trees by turns, print the ratios."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("commit")
    parser.add_argument("evidence", type=Path, nargs="?")
    parser.add_argument("--runs", type=int, default=5000)
    parser.add_argument("--drills", type=int, default=20)
    parser.add_argument("--rounds", type=int, default=3)
    wanted = parser.parse_args()
    with tempfile.TemporaryDirectory() as temporary:
        evidence = wanted.evidence or Path(temporary, "evidence")
        if not evidence.is_dir():
            make(evidence, wanted.runs, wanted.drills)
        trees = {"before": tree(wanted.commit, Path(temporary, "before")), "now": tree("", Path(temporary, "now"))}
        best: dict[str, dict[str, dict[str, float]]] = {}
        for _ in range(wanted.rounds):
            for command in ("trend", "coverage"):
                for name, place in trees.items():
                    (evidence / ".index.sqlite").unlink(missing_ok=True)
                    for state in ("cold", "warm"):
                        found = measured(place, evidence, command)
                        kept = best.setdefault(f"{command}, {state}", {}).setdefault(name, found)
                        best[f"{command}, {state}"][name] = {key: min(kept[key], found[key]) for key in found}
    for both in best.values():
        both["ratio"] = {key: round(both["now"][key] / both["before"][key], 2) for key in both["now"]}
        for name in ("before", "now"):
            both[name] = {key: round(value, 1) for key, value in both[name].items()}
    records = sum(1 for _ in evidence.glob("*/*/record.json")) if evidence.is_dir() else wanted.runs * wanted.drills
    result = {
        "commit": wanted.commit,
        "records": records,
        "processors": os.cpu_count(),
        "load": os.getloadavg()[0],
        **best,
    }
    sys.stdout.write(json.dumps(result, indent=2) + "\n")


def make(evidence: Path, runs: int, drills: int) -> None:
    """Make the records; what a power cut would take along matters to nobody here."""
    from bench import many_records

    os.fsync = lambda fd: None
    rng = random.Random(7)  # noqa: S311 - figures that wander, no secret
    models = [many_records.model(number) for number in range(drills)]
    evidence.mkdir(parents=True)
    for number in range(runs):
        many_records.hold(evidence, models, number, runs, rng)


if __name__ == "__main__":
    main()
