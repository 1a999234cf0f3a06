"""Allure 2 and Allure 3 make their reports of allure-results: names, categories and times as the records have them."""

import json
import os

import pytest

from .conftest import MET, MISSED, OPEN, SABOTAGED, STORIES, call

LATE = "Missed: recovery took longer than the RTO"
CHECK = "Missed: a check of the recovered service failed"
NOTHING = "Inconclusive: the drill proved nothing"
DAY_MS = 24 * 3600 * 1000


@pytest.fixture(scope="module")
def two(reader, run, tmp_path_factory):
    allure = reader("allure 2", "allure-2/node_modules/.bin/allure", "--version")
    report = tmp_path_factory.mktemp("allure") / "report"
    quiet = {**os.environ, "ALLURE_NO_ANALYTICS": "true"}
    done = call(*allure, "generate", "--output", report, run / "allure-results", env=quiet)
    assert done.returncode == 0, done.stdout + done.stderr
    return report


@pytest.fixture(scope="module")
def three(reader, run, tmp_path_factory):
    allure = reader("allure 3", "allure-3/node_modules/.bin/allure", "--version")
    report = tmp_path_factory.mktemp("allure") / "report"
    place = tmp_path_factory.mktemp("elsewhere")
    done = call(
        *allure, "generate", "--config", run / "allurerc.json", "--output", report, run / "allure-results", cwd=place
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return report


def cases(folder):
    return {case["fullName"].split("#")[-1]: case for case in map(load, folder.glob("*.json")) if "fullName" in case}


def load(path):
    return json.loads(path.read_text(encoding="utf-8"))


def times(item):
    """Begin, end and duration of a test or step, in either version's words."""
    time = item.get("time", item)
    return time["start"], time["stop"], time["duration"]


def steps(item):
    found = (item.get("testStage") or item).get("steps", [])
    return [step for step in found if step.get("type") != "attachment"]


def misplaced(parent):
    """Name each step that is not within its parent, or whose duration is not the time from its begin to its end."""
    for step in steps(parent):
        (first, last, _), (start, stop, took) = times(parent), times(step)
        if not (first <= start <= stop <= last and took == stop - start < DAY_MS):
            yield step["name"], times(step), times(parent)
        yield from misplaced(step)


def count(item):
    return sum(1 + count(step) for step in steps(item))


def test_allure_2_shows_every_drill_and_each_step_within_its_test(two):
    found = cases(two / "data/test-cases")
    assert sorted(found) == sorted(story.name for story in STORIES)
    assert {name: case["status"] for name, case in found.items()} == {
        MET.name: "passed", MISSED.name: "failed", OPEN.name: "broken", SABOTAGED.name: "failed"
    }  # fmt: skip
    assert count(found[MET.name]) > len(MET.steps) + 6
    assert [each for case in found.values() for each in misplaced(case)] == []
    assert load(two / "widgets/summary.json")["time"]["duration"] < 3600 * 1000


def test_allure_2_knows_name_categories_and_environment(two):
    assert load(two / "widgets/summary.json")["reportName"].startswith("MISSED: 2 of 4 drills missed an objective.")
    groups = {group["name"]: group for group in load(two / "data/categories.json")["children"]}
    assert set(groups) == {LATE, CHECK, NOTHING}
    environment = {each["name"]: each["values"] for each in load(two / "widgets/environment.json")}
    assert environment["result"][0].startswith("MISSED: 2 of 4 drills")


def test_allure_2_reads_the_description_as_it_was_meant(two):
    html = cases(two / "data/test-cases")[MET.name]["descriptionHtml"]
    assert "<li>namespace &lt;b&gt;gone&lt;/b&gt;</li>" in html.replace("\n", "")
    assert "*no*" in html
    assert html.count("<ul>") == 1
    after = html.partition("</ul>")[2]
    assert "<li>" not in after


def test_allure_3_shows_every_drill_and_each_step_within_its_test(three):
    found = cases(three / "data/test-results")
    assert sorted(found) == sorted(story.name for story in STORIES)
    assert count(found[MET.name]) > len(MET.steps) + 6
    assert [each for case in found.values() for each in misplaced(case)] == []
    assert all(0 < times(case)[2] < 3600 * 1000 for case in found.values()), "neither nothing nor a day"


def test_allure_3_takes_name_and_categories_from_its_configuration(three):
    assert load(three / "summary.json")["name"].startswith("MISSED: 2 of 4 drills missed an objective.")
    named = {
        node["name"] for node in load(three / "widgets/categories.json")["nodes"].values() if node["type"] == "category"
    }
    assert named == {LATE, CHECK, NOTHING}


def test_allure_3_without_the_configuration_knows_neither(reader, run, tmp_path):
    """Why docs/ci.md tells to name it: should this fail, Allure reads the results' own, and that can go."""
    allure = reader("allure 3", "allure-3/node_modules/.bin/allure", "--version")
    done = call(*allure, "generate", "--output", tmp_path / "report", run / "allure-results", cwd=tmp_path)
    assert done.returncode == 0, done.stdout + done.stderr
    nodes = load(tmp_path / "report/widgets/categories.json")["nodes"].values()
    assert {node["name"] for node in nodes if node["type"] == "category"} == {"Product errors", "Test errors"}
    assert not load(tmp_path / "report/summary.json")["name"].startswith("MISSED")
