"""Every output for CI systems, as a whole, of a run that missed and of one that met; see goldens.py."""

import json

import pytest
from drills.reports.allure import write_allure
from drills.reports.annotations import annotations
from drills.reports.junit import write_junit
from drills.reports.metrics import write_metrics
from drills.reports.results import read_results
from drills.reports.summary import write_summary
from drills.reports.terminal import closing_table

from . import goldens
from .samples import Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
STEPS = (
    ("choose the backup", "velero backup get", 0.4, "harness"),
    ("restore it | all", "velero restore create", 1.2, "human"),
)
MET = Story(**SHORT, steps=STEPS)
MISSED = Story(
    **SHORT,
    name="etcd_quorum_loss",
    title="二台の *etcd* を失う。",
    rto_s=2.0,
    scenario="scenarios/test_etcd.py",
    steps=STEPS,
    lost=3,
    tier="critical",
    extra={"deviations": ["restored to a smaller node"], "relaxed_controls": ["network policy lifted"]},
)
OPEN = Story(**SHORT, name="pod_killed", title="A pod is killed", proved=False, tier="low")
SABOTAGED = Story(**SHORT, name="node_lost", title="A node dies", rto_s=1.0, sabotage=("procedure",))

FIXED = {
    "user": "somebody",
    "host": "drills-1",
    "platform": "Linux",
    "python": "3.11.7",
    "commit": "c0ffee1c0ffee1c0ffee1c0ffee1c0ffee1c0ffe",
    "uncommitted_changes": False,
    "packages": {"pytest-drills": "0.1.0"},
    "command": ["drills", "run"],
    "engine": {"kind": "docker", "version": "28.0"},
    "ci": {"GITHUB_RUN_ID": "42", "GITHUB_REPOSITORY": "team/shop", "GITHUB_SERVER_URL": "https://github.example"},
}


@pytest.fixture(scope="module", params=["missed", "met"])
def case(request, tmp_path_factory):
    """A run's directory, made the same on every machine, and which of the two it is."""
    evidence = tmp_path_factory.mktemp("evidence")
    run = write_run(evidence, *([MET, MISSED, OPEN, SABOTAGED] if request.param == "missed" else [MET]))
    about = run / "run.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), **FIXED}))
    if request.param == "missed":
        (run / "cut_off").mkdir()
        (run / "cut_off" / "history.jsonl").touch()
    for folder in run.glob("*/record.json"):
        folder.with_name("timeline.png").touch()
    return run, request.param


def rendered(name, run, monkeypatch):
    monkeypatch.setenv("CI_PROJECT_DIR", str(run.parent))
    github = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": str(run.parent)}
    match name:
        case "junit.xml":
            return write_junit(run).read_text(encoding="utf-8")
        case "summary.md":
            return write_summary(run).read_text(encoding="utf-8")
        case "metrics.prom":
            return write_metrics(run).read_text(encoding="utf-8")
        case "annotations.txt":
            return "\n".join(annotations(read_results(run), run.parent, github)) + "\n"
        case "closing.txt":
            return closing_table(run).replace(str(run.parent), "EVIDENCE")
        case "allurerc.json":
            return write_allure(run).with_name(name).read_text(encoding="utf-8")
        case _:
            return (write_allure(run) / name).read_text(encoding="utf-8")


NAMES = (
    "junit.xml",
    "summary.md",
    "metrics.prom",
    "annotations.txt",
    "closing.txt",
    "environment.properties",
    "executor.json",
    "categories.json",
    "allurerc.json",
)


@pytest.mark.parametrize("name", NAMES)
def test_each_output_is_as_it_was_approved(case, name, monkeypatch):
    run, which = case
    goldens.check(f"{which}/{name}", rendered(name, run, monkeypatch), run.name)


def test_the_allure_results_are_as_they_were_approved(case):
    run, which = case
    found = [json.loads(path.read_text()) for path in write_allure(run).glob("*-result.json")]
    found.sort(key=lambda result: (result["fullName"], result.get("historyId", "")))
    goldens.check(f"{which}/results.json", json.dumps(found, indent=1, ensure_ascii=False) + "\n", run.name)


@pytest.mark.parametrize("name", [name for name in NAMES if name not in ("categories.json", "executor.json")])
def test_the_first_line_says_missed_when_one_drill_missed(case, name, monkeypatch):
    run, which = case
    first = rendered(name, run, monkeypatch).splitlines()[0]
    word = "MISSED: 2 of 5 drills" if which == "missed" else "MET: the drill met its objectives."
    assert word.lower() in first.lower()
    assert ("missed" in first.lower()) == (which == "missed")


def test_allures_title_says_it_too(case):
    run, which = case
    title = json.loads((write_allure(run) / "executor.json").read_text())["reportName"]
    assert title.startswith("MISSED: " if which == "missed" else "MET: ")
