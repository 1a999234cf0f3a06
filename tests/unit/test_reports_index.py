import json
import os
import shutil
import sqlite3

import pandas as pd
import pytest
from drills.reports import index
from drills.reports.frame import read_evidence

from drills.record import write_atomically

from .samples import Story, record_of, tell, write_run

MET = Story(steady_s=4.0, bad_until_s=3.0, after_s=4.0, steps=(), backup_before_s=1.0)
MISSED = Story(**{**vars(MET), "rto_s": 2.0, "name": "etcd_quorum_loss"})


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    evidence = tmp_path_factory.mktemp("evidence")
    write_run(evidence, MET, MISSED)
    return evidence


@pytest.fixture
def evidence(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "evidence", symlinks=True)


def record_path(evidence, name=MET.name):
    return next(evidence.glob(f"2*/{name}/record.json"))


def parses(monkeypatch):
    """Count the records that are parsed from now on."""
    counted = []
    whole = index._facts
    monkeypatch.setattr(index, "_facts", lambda content, unread: counted.append(content) or whole(content, unread))
    return counted


def test_the_warm_index_says_the_same_and_parses_nothing(evidence, monkeypatch):
    cold = read_evidence(evidence).table
    assert (evidence / index.FILE).is_file()
    parsed = parses(monkeypatch)
    pd.testing.assert_frame_equal(read_evidence(evidence).table, cold)
    assert parsed == []


def test_the_index_is_what_the_records_say_without_it(evidence):
    with_index = read_evidence(evidence).table
    (evidence / index.FILE).unlink()
    log = evidence / "log.jsonl"
    log.rename(evidence / "elsewhere")
    in_memory = read_evidence(evidence).table
    assert not (evidence / index.FILE).exists(), "kept only where there is a log"
    pd.testing.assert_frame_equal(in_memory, with_index)


def test_only_what_changed_is_read_again(evidence, monkeypatch):
    read_evidence(evidence)
    parsed = parses(monkeypatch)
    write_run(evidence, Story(**{**vars(MET), "name": "pod_kill"}))
    assert sorted(read_evidence(evidence).table["drill"]) == sorted([MET.name, MISSED.name, "pod_kill"])
    assert len(parsed) == 1


def test_an_edit_is_seen_though_size_and_time_stay(evidence):
    assert set(read_evidence(evidence).table["verdict"]) == {"MET", "MISSED"}
    path = record_path(evidence, MISSED.name)
    before = path.stat()
    text = path.read_text()
    with path.open("r+") as file:  # in place: the same inode
        file.write(text.replace('"verdict": "MISSED"', '"verdict": "MET"   '))
    os.utime(path, ns=(before.st_atime_ns, before.st_mtime_ns))
    assert path.stat().st_size == before.st_size
    again = read_evidence(evidence)
    assert set(again.table["verdict"]) == {"MET"}
    assert [problem.path for problem in again.contradictions] == [path]
    assert "not the record that the log names" in again.contradictions[0].found


def test_a_removed_record_goes_and_is_missed(evidence):
    read_evidence(evidence)
    path = record_path(evidence)
    path.unlink()
    again = read_evidence(evidence)
    assert again.table["drill"].tolist() == [MISSED.name]
    assert [(problem.path, problem.found) for problem in again.contradictions] == [
        (path, "the log names this record, and it is gone")
    ]


def test_honest_evidence_contradicts_nothing(evidence):
    assert read_evidence(evidence).contradictions == []


@pytest.mark.parametrize("damage", ["garbage", "cut", "older", "emptied"])
def test_a_broken_index_is_built_anew(evidence, damage):
    cold = read_evidence(evidence).table
    path = evidence / index.FILE
    if damage == "garbage":
        path.write_bytes(b"this is no database at all, though it is long enough to look like one" * 100)
    elif damage == "cut":
        path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    elif damage == "emptied":
        path.write_bytes(b"")
    else:
        with sqlite3.connect(path) as connection:
            connection.execute("UPDATE fact SET rta_s = 0")
            connection.execute(f"PRAGMA user_version = {index.VERSION - 1}")
        connection.close()
    pd.testing.assert_frame_equal(read_evidence(evidence).table, cold)


def test_a_problem_is_remembered_and_forgotten(evidence, monkeypatch):
    path = record_path(evidence)
    good = path.read_text()
    path.write_text("{")
    assert [problem.path for problem in read_evidence(evidence).problems] == [path]
    parsed = parses(monkeypatch)
    assert "Expecting property name" in read_evidence(evidence).problems[0].found
    assert parsed == []
    path.write_text(good)
    assert read_evidence(evidence).problems == []


def test_a_record_that_cannot_be_opened_is_a_problem(tmp_path):
    (tmp_path / "run" / "drill" / "record.json").mkdir(parents=True)
    found = read_evidence(tmp_path)
    assert found.table.empty
    assert "directory" in found.problems[0].found


def test_one_record_in_two_places_is_two_rows(tmp_path):
    record = record_of(MET, tell(MET))
    for run in ("a", "b"):
        write_atomically(tmp_path / run / "drill" / "record.json", record)
    table = read_evidence(tmp_path).table
    assert table["run"].tolist() == ["a", "b"]
    assert table["digest"].nunique() == 1


@pytest.mark.parametrize(
    "odd",
    [
        {"drill": "half a pair \ud800"},
        {"achieved": {"rta_s": 1e308, "writes": {"acknowledged": 10**30}}},
        {"fault": {"proof": [[]] * 3, "name": ["x"]}},
        {"started_utc": "9999-12-31T23:59:59Z"},
    ],
)
def test_odd_values_break_nothing(tmp_path, odd):
    path = tmp_path / "run" / "drill" / "record.json"
    path.parent.mkdir(parents=True)
    path.write_text(json.dumps({"verdict": "MET"} | odd))
    found = read_evidence(tmp_path)
    assert len(found.table) + len(found.problems) == 1


def test_a_directory_that_cannot_be_written_is_read_all_the_same(evidence, monkeypatch):
    def refuses(database, *arguments, **options):
        if database != ":memory:":
            raise sqlite3.OperationalError("attempt to write a readonly database")
        return connect(database, *arguments, **options)

    connect = sqlite3.connect
    monkeypatch.setattr(index.sqlite3, "connect", refuses)
    assert len(read_evidence(evidence).table) == 2
