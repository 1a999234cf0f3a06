"""The table of failover strategies: only what the records of one run say."""

import json

import pytest
from drills.reports.account import read_account
from drills.reports.page import render_page
from drills.reports.strategies import BEGIN, END, compared, main, table
from drills.reports.view import View, read_run

from drills.errors import UsageError

from .samples import Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
STANDBY = {
    "backup and restore": {"cpu_cores": 0.0, "memory_bytes": 0, "seconds": 0.0},
    "warm standby": {"cpu_cores": 0.314, "memory_bytes": 700 * 2**20, "seconds": 7.5},
}


@pytest.fixture
def run(tmp_path):
    """A run of two strategies, and of a drill that has no standby."""
    stories = [Story(**SHORT, name=f"site_{place}", title=name) for place, name in enumerate(STANDBY)]
    made = write_run(tmp_path, *stories, Story(**SHORT, name="pod_kill"))
    for path in made.glob("*/record.json"):
        record = json.loads(path.read_text())
        used = STANDBY.get(record["title"])
        if used:
            path.write_text(json.dumps({**record, "standby": {"strategy": record["title"], **used}}))
    return made


def rewritten(run, name, **facts):
    (path,) = (path for path in run.glob("*/record.json") if name in path.parent.name)
    path.write_text(json.dumps({**json.loads(path.read_text()), **facts}))


def rows(run):
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in table(run).splitlines()]


def test_a_row_a_strategy_with_what_its_record_says(run):
    _, rule, first, second = rows(run)
    assert set(rule) == {"---"}
    assert [row[0] for row in (first, second)] == list(STANDBY)
    assert (first[5:], second[5:]) == (["none", "none"], ["0.31 cores", "700 MiB"])
    views = {view.text("standby", "strategy"): view for view in read_run(run)[0]}
    assert second[2].startswith(f"{round(views['warm standby'].rta_s, 2):g} s [")
    assert second[3].startswith(f"{round(views['warm standby'].rpa_s, 2):g} s /")


def test_what_was_not_measured_is_not_called_nothing(run):
    rewritten(run, "site_1", standby={"strategy": "warm standby"})
    assert rows(run)[3][5:] == ["not measured", "not measured"]


def test_a_sabotaged_strategy_is_not_compared(run):
    rewritten(run, "site_1", sabotage=["procedure"])
    with pytest.raises(UsageError, match=r"found 1 failover strategies .*; accepted: two or more"):
        table(run)


def test_the_page_compares_two_strategies_and_not_one(run):
    text = render_page(read_account(run))
    assert "Failover strategies side by side" in text
    assert "0.31 cores" in text
    rewritten(run, "site_0", standby=None)
    assert "side by side" not in render_page(read_account(run))


def test_a_document_is_rewritten_between_its_markers(run, tmp_path, capsys):
    document = tmp_path / "scenarios.md"
    document.write_text(f"before\n{BEGIN}\nold\n{END}\nafter\n")
    assert main([str(document), str(run)]) == 0
    assert document.read_text() == f"before\n{BEGIN}\n{table(run)}\n{END}\nafter\n"
    document.write_text("no markers")
    assert main([str(document), str(run)]) == 2
    assert "found 0 <!-- strategies -->" in capsys.readouterr().err


def test_a_record_of_another_kind_of_standby_is_left_out():
    assert compared([View.of({"verdict": "MET", "standby": "yes"}), View.of({"verdict": "MET"})]) == []
