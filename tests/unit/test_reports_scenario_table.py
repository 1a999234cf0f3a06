import json
from pathlib import Path

import pytest
from drills.reports.scenario_table import BEGIN, END, main, parts, rewrite, table

from drills.errors import UsageError

from .samples import Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT, title="A | B [with 10 s]")
MISSED = Story(**SHORT, name="etcd_wipe", runbook="docs/runbooks/etcd-restore.md", rto_s=2.0, lost=3)
DOCUMENT = f"# Title\n\nbefore\n\n{BEGIN}\nold\n{END}\n\nafter\n"


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return write_run(tmp_path_factory.mktemp("evidence"), MET, MISSED)


def records(run):
    return [json.loads(path.read_text()) for path in sorted(run.glob("*/record.json"))]


def cells(line):
    return [cell.strip() for cell in line.strip("|").replace("\\|", "¦").split("|")]


def test_a_row_a_drill_with_the_records_figures(run):
    head, rule, *rows = [cells(line) for line in table(run).splitlines()]
    assert head[2:] == ["Verdict", "RTA / RTO", "RPA / RPO", "Acknowledged writes lost", "Held in"]
    assert set(rule) == {"---"}
    by_runbook = {row[1]: row for row in rows}
    assert sorted(by_runbook) == [
        "[etcd-restore](docs/runbooks/etcd-restore.md)",
        "[namespace-restore](docs/runbooks/namespace-restore.md)",
    ]
    for record in records(run):
        row = next(row for link, row in by_runbook.items() if record["runbook"] in link)
        achieved = record["achieved"]
        assert row[2] == {"MET": "Met", "MISSED": "Missed"}[record["verdict"]]
        assert row[3].startswith(f"{round(achieved['rta_s'], 2):g} s ["), row
        assert row[3].endswith(f"/ {record['objective']['rto_s']:g} s")
        assert row[5] == f"{achieved['writes']['lost']} of {achieved['writes']['acknowledged']}"
    assert {row[2] for row in rows} == {"Met", "Missed"}


def test_what_a_title_holds_breaks_neither_the_table_nor_the_link(run):
    (line,) = [line for line in table(run).splitlines() if "namespace-restore" in line]
    assert line.startswith(r"| [A \| B (with 10 s)](scenarios/test_namespace_deletion.py) |")
    assert len(cells(line)) == 7


def changed(tmp_path, change):
    run = write_run(tmp_path, MET)
    (path,) = run.glob("*/record.json")
    record = json.loads(path.read_text())
    change(record)
    path.write_text(json.dumps(record))
    return [cells(line) for line in table(run).splitlines()][2]


def test_without_data_at_stake_nothing_is_said_of_writes(tmp_path):
    def no_data(record):
        record["objective"]["rpo_s"] = record["achieved"]["rpa_s"] = None
        record["achieved"]["writes"]["acknowledged"] = 0

    assert changed(tmp_path, no_data)[4:6] == ["no data at stake", "no data at stake"]


def test_how_long_a_drill_was_held_is_from_its_set_up_to_its_end(tmp_path):
    def known(record):
        record["started_utc"], record["ended_utc"] = "2026-11-22T00:00:00.000Z", "2026-11-22T00:03:20.400Z"

    assert changed(tmp_path / "known", known)[6] == "3 min 20 s"
    assert changed(tmp_path / "unknown", lambda record: record.pop("ended_utc"))[6] == "not measured"


def test_data_that_was_never_read_back_is_not_shown_as_kept(tmp_path):
    def unread(record):
        record["losses"]["read"] = False
        record["achieved"]["rpa_s"] = None

    row = changed(tmp_path, unread)
    assert row[4] == "not measured / 30 s"
    assert row[5].startswith("unknown of ")


@pytest.mark.parametrize(("verdict", "words"), [("MISSED", "not recovered"), ("INCONCLUSIVE", "not measured")])
def test_a_service_that_was_never_back_has_no_figure(tmp_path, verdict, words):
    def never_back(record):
        record["verdict"] = verdict
        record["achieved"] |= {"rta_s": None, "rta_low_s": None, "rta_high_s": None}
        record["phases"] = [phase for phase in record["phases"] if phase["name"] != "restored"]

    assert changed(tmp_path, never_back)[3] == f"{words} / 60 s"


def test_sabotaged_drills_are_refused(tmp_path):
    run = write_run(tmp_path, Story(**SHORT, sabotage=("procedure",)))
    with pytest.raises(UsageError, match="field sabotage: found procedure"):
        table(run)


def test_runs_that_cannot_be_shown_whole_are_refused(tmp_path):
    with pytest.raises(UsageError, match="found no directory"):
        table(tmp_path / "none")
    with pytest.raises(UsageError, match=r"found no record\.json"):
        table(tmp_path)
    run = write_run(tmp_path, MET)
    (path,) = run.glob("*/record.json")
    path.unlink()
    with pytest.raises(UsageError, match="no record beside the history"):
        table(run)


def test_rewriting_changes_what_stands_between_the_markers_and_nothing_else(tmp_path, run):
    document = tmp_path / "README.md"
    document.write_text(DOCUMENT)
    assert main([str(document), str(run)]) == 0
    assert document.read_text() == DOCUMENT.replace("old", table(run))
    assert parts(document)[1] == table(run)
    rewrite(document, run)
    assert document.read_text() == DOCUMENT.replace("old", table(run)), "a second time changes nothing"


def test_a_document_in_a_folder_links_to_what_lies_outside_it(tmp_path, run, monkeypatch):
    monkeypatch.chdir(tmp_path)
    document = Path("docs", "all.md")
    document.parent.mkdir()
    document.write_text(DOCUMENT)
    rewrite(document, run)
    rows = document.read_text().split(BEGIN)[1].split(END)[0]
    assert "](../scenarios/test_namespace_deletion.py)" in rows
    assert "](../docs/runbooks/etcd-restore.md)" in rows
    assert rows.strip() == table(run, "../")


@pytest.mark.parametrize(
    "text", [BEGIN, END, f"{END}{BEGIN}", f"{BEGIN}{END}{BEGIN}{END}"], ids=["no end", "no begin", "turned", "twice"]
)
def test_a_document_without_one_pair_of_markers_is_left_alone(tmp_path, run, text, capsys):
    document = tmp_path / "README.md"
    document.write_text(text)
    assert main([str(document), str(run)]) == 2
    assert str(document) in capsys.readouterr().err
    assert document.read_text() == text


def test_wrong_arguments_are_refused(capsys, tmp_path):
    assert main(["README.md"]) == 2
    assert "found 1; accepted: a document and a run's directory" in capsys.readouterr().err
    assert main([str(tmp_path / "absent.md"), str(tmp_path)]) == 2
    assert "absent.md" in capsys.readouterr().err
