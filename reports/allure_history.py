"""What Allure knows of earlier runs and of who ran this one: `history/` and executor.json.

Allure takes a report's history from the report before it, which somebody has to carry over. Here it is made from the
evidence instead, so that a report of any run shows the runs before it, and none that is not in the evidence. The files
are those that Allure 2 reads; Allure 3 keeps a history of its own (`historyPath` in its configuration).
"""

import json
import os
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from allure_commons.model2 import Status

from drills.record import write_atomically
from drills.verdicts import Verdict

from .allure_clock import window
from .results import Results, read_results
from .view import View

RUNS = 20
"""So many earlier runs Allure shows."""

STATUS = {
    Verdict.MET: Status.PASSED,
    Verdict.MISSED: Status.FAILED,
    Verdict.INCONCLUSIVE: Status.BROKEN,
    Verdict.ENVIRONMENT: Status.BROKEN,
}
_STATUSES = (Status.FAILED, Status.BROKEN, Status.SKIPPED, Status.PASSED, "unknown")


@dataclass(frozen=True)
class Category:
    """One way in which a drill does not meet its objectives."""

    key: str
    name: str
    status: str

    @property
    def pattern(self) -> str:
        """What the message of such a drill looks like, for Java's and for JavaScript's regular expressions."""
        return rf"^{self.key}: [\s\S]*$"


CATEGORIES = (
    Category("MISSED, not recovered", "Missed: the service or its data did not come back", Status.FAILED),
    Category("MISSED, data", "Missed: data came back corrupted or doubled", Status.FAILED),
    Category("MISSED, check", "Missed: a check of the recovered service failed", Status.FAILED),
    Category("MISSED, RPO", "Missed: more was lost than the RPO allows", Status.FAILED),
    Category("MISSED, RTO", "Missed: recovery took longer than the RTO", Status.FAILED),
    Category("MISSED", "Missed for another reason", Status.FAILED),
    Category("INCONCLUSIVE", "Inconclusive: the drill proved nothing", Status.BROKEN),
    Category("ENVIRONMENT", "Environment failed: the drill could not be held", Status.BROKEN),
)


def category(view: View) -> Category | None:
    """Say in which way a drill did not meet its objectives; None for one that met them."""
    if view.verdict is Verdict.MET:
        return None
    key = str(view.verdict)
    if view.verdict is Verdict.MISSED:
        key += f", {way}" if (way := _way(view)) else ""
    return next(each for each in CATEGORIES if each.key == key)


def _way(view: View) -> str:
    """Say in which way a drill missed; empty for another one. In the order in which a verdict is reached."""
    recovered_s = view.rta_s if view.rta_high_s is None else view.rta_high_s
    if recovered_s is None or not view.phase("stable"):
        return "not recovered"
    if any(not check.ok for check in view.checks):
        return "check"
    if view.writes("corrupted") or view.writes("duplicated"):
        return "data"
    if view.rpo_s is not None and view.rpa_s is not None:
        lost = (view.writes("lost") or 0) + (view.writes("resurrected") or 0)
        if view.rpa_s > view.rpo_s or (view.rpo_s == 0 and lost):
            return "RPO"
    return "RTO" if view.rto_s is not None and recovered_s > view.rto_s else ""


def write_history(folder: Path, run_dir: Path, evidence_dir: Path, identity: Mapping[tuple[str, str], str]) -> None:
    """Write `history/` and executor.json.

    Args:
        folder: the directory of allure-results.
        run_dir: the run that they are of.
        evidence_dir: where earlier runs are.
        identity: the history id of each drill of this run, by (scenario, drill).

    """
    names = sorted(_runs(evidence_dir) | {run_dir.name})
    position = names.index(run_dir.name)
    earlier = [
        (number, read_results(evidence_dir / names[number - 1]))
        for number in range(position, max(position - RUNS, 0), -1)  # the newest first, as Allure wants it
    ]
    _write(folder / "executor.json", executor(read_results(run_dir), position + 1))
    if not earlier:
        return
    history: dict[str, dict[str, Any]] = {}
    trends: dict[str, list[dict[str, Any]]] = {name: [] for name in ("history", "duration", "retry", "categories")}
    for number, results in earlier:
        honest = [result for result in results.drills if not result.view.sabotage]  # the others tell nothing
        if not honest:
            continue
        for result in honest:
            key = identity.get((result.view.scenario, result.view.drill))
            if key:
                entry = history.setdefault(key, {"statistic": {}, "items": []})
                entry["items"].append(_item(result.view, results.run))
        about = {"buildOrder": number, "reportName": results.first_line}
        statuses = Counter(STATUS[result.view.verdict] for result in honest)
        found = Counter(each.name for result in honest if (each := category(result.view)))
        trends["history"].append({**about, "data": _statistic(statuses)})
        duration_ms = max(round(result.view.duration_s * 1000) for result in honest)
        trends["duration"].append({**about, "data": {"duration": duration_ms}})
        trends["retry"].append({**about, "data": {"run": len(honest), "retry": 0}})
        trends["categories"].append({**about, "data": dict(found)})
    for entry in history.values():
        entry["statistic"] = _statistic(Counter(item["status"] for item in entry["items"]))
    _write(folder / "history/history.json", history)
    for name, points in trends.items():
        _write(folder / f"history/{name}-trend.json", points)


def executor(results: Results, order: int) -> dict[str, Any]:
    """Say who ran a run, for executor.json: the CI system as run.json names it, else the machine.

    Args:
        results: the run.
        order: its number among the runs of the evidence.

    """
    ci = results.about.get("ci")
    facts: Mapping[str, Any] = ci if isinstance(ci, Mapping) else {}
    told: dict[str, Any] = {"name": f"drills on {results.about.get('host') or 'an unknown host'}", "type": "drills"}
    if facts.get("GITHUB_RUN_ID"):
        server, repository = facts.get("GITHUB_SERVER_URL", "https://github.com"), facts.get("GITHUB_REPOSITORY", "")
        told = {"name": "GitHub Actions", "type": "github"}
        told["buildUrl"] = f"{server}/{repository}/actions/runs/{facts['GITHUB_RUN_ID']}"
    elif facts.get("CI_JOB_URL"):
        told = {"name": "GitLab CI", "type": "gitlab", "buildUrl": facts["CI_JOB_URL"]}
    elif facts.get("JENKINS_URL"):
        told = {"name": "Jenkins", "type": "jenkins", "buildUrl": facts.get("BUILD_URL", "")}
    return {**told, "buildOrder": order, "buildName": results.run, "reportName": results.first_line}


def _runs(evidence_dir: Path) -> set[str]:
    if not evidence_dir.is_dir():
        return set()
    with os.scandir(evidence_dir) as entries:
        folders = [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    return {name for name in folders if (evidence_dir / name / "run.json").is_file()}


def _item(view: View, run: str) -> dict[str, Any]:
    start, stop = window(view)
    time = {} if start is None or stop is None else {"start": start, "stop": stop, "duration": stop - start}
    told = f"{view.verdict}: {view.why}"
    return {"uid": f"{run}/{view.drill}", "status": STATUS[view.verdict], "statusDetails": told, "time": time}


def _statistic(statuses: Mapping[str, int]) -> dict[str, int]:
    return {status: statuses.get(status, 0) for status in _STATUSES} | {"total": sum(statuses.values())}


def _write(path: Path, data: object) -> None:
    write_atomically(path, json.dumps(data, indent=2, ensure_ascii=False) + "\n")
