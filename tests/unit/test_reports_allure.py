"""What Allure is told of earlier runs, of the ways in which drills fail, and of who ran them."""

import json
import re
import shutil
from dataclasses import replace
from datetime import timedelta

import pytest
from drills.reports.allure import render_categories, render_environment, write_allure
from drills.reports.allure_history import CATEGORIES, RUNS, category, executor
from drills.reports.results import results_of
from drills.reports.view import View

from .samples import Story, record_of, tell, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT)
OTHER = Story(**SHORT, name="pod_killed", scenario="scenarios/test_pod.py")


def results(folder):
    found = [json.loads(path.read_text()) for path in folder.glob("*-result.json")]
    return {(result["fullName"].split("#")[-1], result["name"]): result for result in found}


def read(folder, name):
    return json.loads((folder / name).read_text(encoding="utf-8"))


@pytest.fixture(scope="module")
def nights(tmp_path_factory):
    """Four nights: met, missed, sabotaged, met; the last with a further drill. Newest last."""
    evidence = tmp_path_factory.mktemp("evidence")
    runs = []
    for night, stories in enumerate(
        ([MET], [replace(MET, rto_s=2.0)], [replace(MET, rto_s=2.0, sabotage=("procedure",))], [MET, OTHER])
    ):
        runs.append(write_run(evidence, *(replace(each, began=each.began + timedelta(days=night)) for each in stories)))
    return runs


def test_earlier_runs_are_the_history_the_newest_first(nights):
    folder = write_allure(nights[-1])
    trend = read(folder, "history/history-trend.json")
    assert [point["buildOrder"] for point in trend] == [2, 1]
    assert [point["data"]["failed"] for point in trend] == [1, 0]
    assert [point["data"]["passed"] for point in trend] == [0, 1]
    assert trend[0]["reportName"].startswith("MISSED: ")
    assert [point["data"] for point in read(folder, "history/categories-trend.json")] == [
        {"Missed: recovery took longer than the RTO": 1},
        {},
    ]
    for name in ("duration", "retry"):
        assert [point["buildOrder"] for point in read(folder, f"history/{name}-trend.json")] == [2, 1]


def test_a_drill_keeps_its_history_id_over_runs(nights):
    first, last = (write_allure(run) for run in (nights[0], nights[-1]))
    (before,) = results(first).values()
    now = results(last)[MET.name, MET.title]
    assert now["historyId"] == before["historyId"]
    assert now["uuid"] != before["uuid"]
    history = read(last, "history/history.json")
    assert list(history) == [now["historyId"]], "the new drill has none, and the sabotaged one is no history of it"
    assert [item["status"] for item in history[now["historyId"]]["items"]] == ["failed", "passed"]
    assert history[now["historyId"]]["statistic"]["total"] == 2
    assert history[now["historyId"]]["items"][0]["statusDetails"].startswith("MISSED: ")


def test_the_first_run_has_no_history(nights):
    assert not (write_allure(nights[0]) / "history").exists()


def test_a_run_does_not_know_later_ones(nights):
    trend = read(write_allure(nights[1]), "history/history-trend.json")
    assert [point["buildOrder"] for point in trend] == [1]
    assert read(nights[1] / "allure-results", "executor.json")["buildOrder"] == 2


def test_a_copy_of_a_run_finds_the_earlier_ones(nights, tmp_path):
    copy = shutil.copytree(nights[1], tmp_path / nights[1].name)
    folder = write_allure(copy, nights[0].parent)
    assert [point["buildOrder"] for point in read(folder, "history/history-trend.json")] == [1]


def test_the_history_is_bounded(tmp_path):
    story = replace(MET, steps=(), steady_s=2.0)
    run = write_run(tmp_path, story)
    for number in range(RUNS + 5):
        earlier = tmp_path / f"20260101T0000{number:02}Z-0000"
        (earlier / MET.name).mkdir(parents=True)
        for name in ("run.json", f"{MET.name}/record.json"):
            (earlier / name).write_bytes((run / name).read_bytes())
    folder = write_allure(run)
    trend = read(folder, "history/history-trend.json")
    assert [point["buildOrder"] for point in trend] == list(range(RUNS + 5, 5, -1))
    (history,) = read(folder, "history/history.json").values()
    assert len(history["items"]) == RUNS


def test_a_further_attempt_and_a_sabotaged_drill_hide_nothing(tmp_path):
    run = write_run(tmp_path, replace(MET, rto_s=2.0), MET, replace(MET, sabotage=("procedure",)))
    found = results(write_allure(run))
    assert len({result["historyId"] for result in found.values()}) == 3
    plain = found[MET.name, MET.title]
    assert plain["status"] == "failed", "the miss is the drill's result, whatever came after it"
    assert sorted(name for _, name in found) == sorted(
        [
            MET.title,
            f"{MET.title} (attempt {MET.name}-2)",
            f"{MET.title} (attempt {MET.name}-3, sabotaged)",
        ]
    )


@pytest.mark.parametrize(
    ("change", "name"),
    [
        ({"rto_s": 2.0}, "Missed: recovery took longer than the RTO"),
        ({"lost": 9, "rpo_s": 0.1}, "Missed: more was lost than the RPO allows"),
        ({"checks": (("secret", False, "present", "absent"),)}, "Missed: a check of the recovered service failed"),
        ({"proved": False}, "Inconclusive: the drill proved nothing"),
    ],
)
def test_each_way_to_fail_is_a_category_of_its_own(change, name):
    story = replace(MET, **change)
    view = View.of(record_of(story, tell(story)))
    assert category(view).name == name
    (group,) = groups_of(f"{category(view).key}: {view.why}\nand more")
    assert group == name


@pytest.mark.parametrize(
    ("change", "key"),
    [
        ({"achieved": {"rta_s": None}}, "MISSED, not recovered"),
        ({"achieved": {"rta_s": 1, "writes": {"corrupted": 2}}}, "MISSED, data"),
        ({"achieved": {"rta_s": 1}, "objective": {"mtd_s": 1}}, "MISSED"),
        ({"verdict": "ENVIRONMENT"}, "ENVIRONMENT"),
    ],
)
def test_ways_that_no_sample_goes(change, key):
    view = View.of({"verdict": "MISSED", "phases": [{"name": "stable", "t_s": 1.0}], **change})
    assert category(view).key == key
    assert groups_of(f"{key}: why") == [category(view).name]


def test_what_met_its_objectives_is_in_no_category():
    assert category(View.of({"verdict": "MET"})) is None


def groups_of(message):
    """The categories that Allure would put a message into: its pattern must match the whole of it."""
    told = json.loads(render_categories())
    assert len(told) == len(CATEGORIES)
    return [each["name"] for each in told if re.fullmatch(each["messageRegex"], message)]


@pytest.mark.parametrize(
    ("ci", "type_", "url"),
    [
        (
            {"GITHUB_RUN_ID": "7", "GITHUB_REPOSITORY": "a/b", "GITHUB_SERVER_URL": "https://ghe.example"},
            "github",
            "https://ghe.example/a/b/actions/runs/7",
        ),
        ({"CI_JOB_URL": "https://gitlab.example/a/b/-/jobs/7"}, "gitlab", "https://gitlab.example/a/b/-/jobs/7"),
        (
            {"JENKINS_URL": "https://ci.example/", "BUILD_URL": "https://ci.example/7"},
            "jenkins",
            "https://ci.example/7",
        ),
        ({}, "drills", None),
    ],
)
def test_the_executor_is_the_one_that_ran_it_not_the_one_that_reports(ci, type_, url, monkeypatch):
    monkeypatch.setenv("CI_JOB_URL", "https://elsewhere.example")
    told = executor(results_of([], [], "run", {"ci": ci, "host": "here"}), 3)
    assert (told["type"], told.get("buildUrl"), told["buildOrder"]) == (type_, url, 3)
    assert told["reportName"].startswith("INCONCLUSIVE: ")


def test_the_environment_is_java_properties_in_ascii():
    text = render_environment(results_of([], [], "run", {"why": "復旧 \\ 試験\n#x", "host": "𝄞"}))
    assert text.isascii()
    lines = dict(line.split("=", 1) for line in text.splitlines())
    assert lines["reason"] == r"\u5fa9\u65e7 \\ \u8a66\u9a13 #x"
    assert lines["host"] == r"\ud834\udd1e"
    assert next(iter(lines)) == "result"
