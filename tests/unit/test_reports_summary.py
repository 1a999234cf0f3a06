import re

import pytest
from drills.reports.annotations import annotations
from drills.reports.results import read_results, results_of
from drills.reports.summary import LIMIT, escaped, publish_summary, render_summary
from drills.reports.terminal import closing_table
from drills.reports.view import Problem, View

from drills.record import write_atomically

from .samples import Story, record_of, tell, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
GITHUB = {"GITHUB_ACTIONS": "true", "GITHUB_WORKSPACE": "/checkout"}


@pytest.fixture(scope="module")
def model():
    story = Story(**SHORT, lost=3)
    return record_of(story, tell(story))


def many(model, count, verdict=lambda number: "MET", **more):
    views = [
        View.of({**model, "drill": f"drill_{number:05}", "verdict": verdict(number), **more}, "run")
        for number in range(count)
    ]
    return results_of(views, [], "20261121T093306Z-7f3a")


def rows(text):
    return re.findall(r"^\| . (\w+) \| `(\w+)`", text, flags=re.MULTILINE)


def size(text):
    return len(text.encode())


# --- summary.md ---


def test_a_summary_of_5000_scenarios_fits_and_says_that_it_was_cut(model):
    results = many(model, 5000, lambda number: "MISSED" if number == 4711 else "MET")
    text = render_summary(results)
    assert 0.9 * LIMIT < size(text) <= LIMIT
    first, _, third = text.splitlines()[:3]
    assert first.startswith("# ✗ MISSED: 1 of 5000 drills missed an objective.")
    assert third.startswith("**Cut to fit: 5,000 of 5,000 drills are in the table, ")
    assert third.endswith("report.html and junit.xml of the run have all of them.**")
    assert len(rows(text)) == 5000
    assert rows(text)[0] == ("MISSED", "drill_04711")
    assert text.count("## ✗ MISSED") == 1
    told = int(re.search(r"([\d,]+) of 5,000 are told", third)[1].replace(",", ""))
    assert text.count("<details>") == text.count("</details>") == told - 1


def test_a_summary_that_has_room_is_whole(model):
    text = render_summary(many(model, 20))
    assert "Cut to fit" not in text
    assert text.count("<details>") == 20


@pytest.mark.parametrize("limit", [1500, 3000, 8000, 20_000, 60_000])
def test_it_fits_any_limit_and_the_worst_come_first(model, limit):
    verdicts = ["MET", "ENVIRONMENT", "MISSED", "INCONCLUSIVE"]
    text = render_summary(many(model, 60, lambda number: verdicts[number % 4]), limit)
    assert size(text) <= limit
    assert text.startswith("# ✗ MISSED: 15 of 60 drills")
    assert "Cut to fit" in text
    shown = [verdict for verdict, _ in rows(text)]
    order = ["MISSED", "INCONCLUSIVE", "ENVIRONMENT", "MET"]
    assert shown == sorted(shown, key=order.index)
    assert re.search(r"Cut to fit: (\d+) of 60", text)[1] == str(len(shown))


def test_nothing_is_cut_within_a_row_or_a_section(model):
    whole = render_summary(many(model, 60))
    cut = render_summary(many(model, 60), 30_000)
    assert {line for line in cut.splitlines() if "Cut to fit" not in line} <= set(whole.splitlines())
    assert cut.endswith(("</details>\n", "|\n"))


def test_a_reason_that_is_a_whole_log_stays_short(model):
    text = render_summary(many(model, 3, lambda _: "ENVIRONMENT", why="kind failed\n" * 100_000))
    assert size(text) < 40_000
    assert len(text.splitlines()[0]) < 1000


def test_records_that_cannot_be_read_stand_behind_those_that_missed(model, tmp_path):
    views = [View.of({**model, "drill": name, "verdict": name}, "run") for name in ("MET", "MISSED")]
    found = Problem(tmp_path / "broken" / "record.json", "not | JSON")
    text = render_summary(results_of(views, [found], "run"))
    assert rows(text) == [("MISSED", "MISSED"), ("INCONCLUSIVE", "broken"), ("MET", "MET")]
    assert r"not \| JSON" in text


def test_no_text_of_a_record_becomes_markup(model):
    text = "<img src=x> | [a](b) **c** `d` _e_ a_b\n# f\n<script>"
    summary = render_summary(many(model, 2, drill=text, title=text, why=text, scenario=text, controls=[text]))
    assert "<script>" not in re.sub(r"\\<|`[^`]*`", "", summary)
    assert not re.search(r"^# f", summary, flags=re.MULTILINE)
    for line in summary.splitlines():
        if line.startswith("| ✓"):
            assert len(re.findall(r"(?<!\\)\|", line)) == 7, line
    assert escaped("a_b _c_") == r"a_b \_c\_"


def test_of_two_attempts_the_worse_one_is_told(model):
    views = [View.of({**model, "verdict": verdict}, "run") for verdict in ("MET", "MISSED", "MET")]
    text = render_summary(results_of(views, [], "run"))
    assert rows(text) == [("MISSED", model["drill"])]
    assert "(the worst of 3 attempts)" in text


def test_an_empty_run_says_that_nothing_was_proven():
    text = render_summary(results_of([], [], "run"))
    assert text.splitlines()[0] == "# ? INCONCLUSIVE: no drill left a record, so nothing was proven."
    assert "|" not in text


# --- $GITHUB_STEP_SUMMARY ---


def test_the_summary_is_appended_to_the_jobs_page(tmp_path):
    run = write_run(tmp_path, Story(**SHORT, rto_s=2.0))
    page = tmp_path / "page.md"
    page.write_text("from another tool", encoding="utf-8")
    assert publish_summary(read_results(run), {"GITHUB_STEP_SUMMARY": str(page)}) == page
    before, head, *_ = page.read_text(encoding="utf-8").split("\n\n")
    assert before == "from another tool"
    assert head.startswith("# ✗ MISSED: ")


def test_what_is_on_the_page_already_counts(tmp_path):
    run = write_run(tmp_path, Story(**SHORT, rto_s=2.0))
    page = tmp_path / "page.md"
    page.write_text("x" * (LIMIT - 200), encoding="utf-8")
    publish_summary(read_results(run), {"GITHUB_STEP_SUMMARY": str(page)})
    assert page.stat().st_size < LIMIT + 2000
    added = page.read_text(encoding="utf-8")[LIMIT - 200 :].lstrip()
    assert added.startswith("# ✗ MISSED: ")
    assert "Cut to fit: 0 of 1 drills" in added


def test_outside_github_actions_there_is_no_page(model):
    assert publish_summary(many(model, 1), {}) is None


# --- worse than usual ---


def test_what_was_worse_than_usual_is_told_everywhere(model, tmp_path):
    record = {**model, "started_utc": "2026-01-01T00:00:00.000Z"}
    for day in range(1, 8):
        rta = 30.0 if day == 7 else 3.0 + day / 10
        achieved = {**model["achieved"], "rta_s": rta, "rta_low_s": rta, "rta_high_s": rta}
        run = tmp_path / f"2026010{day}T000000Z-0000"
        write_atomically(run / model["drill"] / "record.json", {**record, "achieved": achieved})
    results = read_results(run, tmp_path)
    assert results.verdict == "MET"
    (worse,) = results.worse
    assert worse.startswith(f"{model['drill']}: RTA 30 s; the median of the last 6 runs is 3.35 s, ")
    assert "**Worse than usual:** namespace_deletion: RTA 30 s" in render_summary(results)
    assert f"worse than usual: {worse}" in closing_table(run, results).splitlines()
    assert f"::warning title=worse than usual::{worse}" in annotations(results, None, GITHUB)
    assert read_results(run).worse == ()
    assert read_results(run, tmp_path / "absent").worse == ()


# --- annotations ---


def test_there_are_ten_annotations_at_most_the_worst_first(model):
    verdicts = ["MET", "INCONCLUSIVE", "MISSED", "ENVIRONMENT"]
    lines = annotations(many(model, 40, lambda number: verdicts[number % 4]), None, GITHUB)
    assert len(lines) == 10
    assert lines[0].startswith("::error title=MISSED::MISSED: 10 of 40 drills missed an objective.")
    assert all(line.startswith("::error") for line in lines[1:9])
    assert lines[9] == "::notice::22 more are not annotated; the job's summary has them all."


def test_a_run_that_met_its_objectives_is_one_notice(model):
    (line,) = annotations(many(model, 3), None, GITHUB)
    assert line.startswith("::notice title=MET::MET: all 3 drills met their objectives.")


def test_what_proved_nothing_is_a_warning(model):
    first, second = annotations(many(model, 1, lambda _: "ENVIRONMENT", why="kind failed"), None, GITHUB)
    assert first.startswith("::warning title=ENVIRONMENT::")
    assert second.endswith(": kind failed")


@pytest.mark.parametrize("environment", [{}, {"GITHUB_ACTIONS": "false"}, {"CI": "true", "GITLAB_CI": "true"}])
def test_there_are_none_elsewhere(model, environment):
    assert annotations(many(model, 1, lambda _: "MISSED"), None, environment) == []


def test_the_file_is_named_from_the_repositorys_top(model, tmp_path):
    results = many(model, 1, lambda _: "MISSED")
    here = {**GITHUB, "GITHUB_WORKSPACE": str(tmp_path)}
    assert (
        "::error file=team/scenarios/test_namespace_deletion.py,title="
        in annotations(results, tmp_path / "team", here)[1]
    )
    assert "file=" not in annotations(results, tmp_path.parent, here)[1]


def test_no_text_of_a_record_becomes_a_command(model):
    text = "x\n::error::fake, 100% a:b,c\r::stop-commands::y"
    lines = annotations(many(model, 1, lambda _: "MISSED", drill=text, title=text, why=text), None, GITHUB)
    assert all(re.fullmatch(r"::(error|notice)( \w+=[^:,]+(,\w+=[^:,]+)*)?::.*", line) for line in lines)
    assert "100%25" in lines[1]
    assert not any("\n" in line or "\r" in line for line in lines)
