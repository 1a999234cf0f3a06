"""Files that others wrote: strict JSON, bounded, and nothing that is waited for."""

import json
import os

import pytest

from drills import parsing, record
from drills.clock import FakeClock
from drills.errors import UsageError
from drills.events import check
from drills.history import History


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("1e400", "the number 1e400 is out of range"),
        (f"[1{'0' * 400}]", "the number 100000000000... (401 characters) is out of range"),
        ("9223372036854775808", "out of range"),
        (f"[{'9' * 5000}]", "out of range"),
        ("[" * 3000 + "]" * 3000, "more than 64 levels of nesting"),
        ("[" * 66 + "]" * 66, "more than 64 levels of nesting"),
        ('{"a":' * 70 + "1" + "}" * 70, "more than 64 levels of nesting"),
        ("[" * 200_000, "more than 64 levels of nesting"),
        ("NaN", "NaN is not JSON"),
        ("[-Infinity]", "-Infinity is not JSON"),
        ("{} {}", "Extra data"),
        ("", "Expecting value"),
        (b"\xff", "can't decode byte 0xff"),
        ("[" + "0," * parsing.MOST_VALUES + "0]", "more than 4,000,000 values"),
    ],
)
def test_what_later_code_cannot_hold_is_a_value_error(text, said):
    with pytest.raises(ValueError) as caught:
        parsing.loads(text)
    assert said in str(caught.value)
    assert len(str(caught.value)) < 200


def test_what_it_can_hold_is_read_as_python_reads_it():
    for text in ("[" * 64 + "]" * 64, "[[1, 2.5e300, -9223372036854775807, true, null]" + ", [0]" * 200 + "]"):
        assert parsing.loads(text) == json.loads(text)


def test_a_pipe_a_directory_and_a_large_file_are_refused_at_once(tmp_path):
    os.mkfifo(tmp_path / "pipe")
    (tmp_path / "large").write_bytes(b"x" * 101)
    for name, said in (("pipe", "a named pipe"), (".", "a directory"), ("large", "101 bytes")):
        with pytest.raises(OSError) as caught:
            parsing.read_bytes(tmp_path / name, 100)
        assert said in str(caught.value)
    assert parsing.read_bytes(tmp_path / "large", 101) == b"x" * 101


def test_an_error_names_file_line_and_column(tmp_path):
    (tmp_path / "record.json").write_text('{\n  "a": nul\n}')
    with pytest.raises(UsageError, match=r"record\.json:2:8: unreadable JSON \(Expecting value\): expected a re"):
        record.load(tmp_path / "record.json")
    with pytest.raises(UsageError, match=r"absent\.json: unreadable \(No such file or directory\): expected"):
        record.load(tmp_path / "absent.json")


BAD_EVENTS = [
    ('"kind": "read_back", "ledger": "l", "rows": [[1]]', "read_back, rows: invalid value: expected rows as"),
    ('"kind": "read_back", "ledger": "l", "rows": 7', "read_back, rows"),
    ('"kind": "reading", "probe": "p", "sent": 1, "answered": 2, "ok": "false"', "expected true or false"),
    ('"kind": "reading", "probe": "p", "sent": 1e300, "answered": 2, "ok": true', "reading, sent"),
    ('"kind": "probe", "probe": "p", "interval_s": 1, "timeout_s": 1, "slow_after_s": 1, "need": 1e400', "1e400"),
    ('"kind": "step", "id": {}, "name": "n", "state": "started"', "step, id"),
    ('"kind": "fault", "name": "n", "target": "t", "blast_radius": "b", "state": "proved", "proof": 5', "fault, proof"),
    ('"kind": "note", "text": ["a"]', "note, text: invalid value: expected a text"),
    ('"kind": "backup", "name": "n", "backup_kind": "k", "taken_utc": "u", "taken_t": 1, "identity": 5', "identity"),
    ('"kind": "note", "text": ' + "[" * 3000 + "]" * 3000, "levels of nesting"),
]


@pytest.mark.parametrize(("fields", "said"), BAD_EVENTS)
def test_a_bad_event_is_an_error_with_its_line(tmp_path, fields, said):
    path = tmp_path / "history.jsonl"
    good = '{"t": 0.0, "utc": "2026-01-01T00:00:00.000Z", "kind": "later", "rows": [[1]]}\n'
    path.write_text(good + f'{{"t": 1.0, "utc": "2026-01-01T00:00:01.000Z", {fields}}}\n')
    with pytest.raises(UsageError) as caught:
        History.load(path)
    assert f"{path}, line 2: found" in str(caught.value)
    assert said in str(caught.value)
    path.write_text(good)
    assert len(History.load(path).events()) == 1, "kinds of later versions pass"


@pytest.mark.parametrize("t", ["1e300", "true", '"1"', "null", "2e9"])
def test_a_time_that_no_calendar_holds_is_an_error(tmp_path, t):
    path = tmp_path / "history.jsonl"
    path.write_text(f'{{"t": {t}, "utc": "2026-01-01T00:00:00.000Z", "kind": "note", "text": ""}}\n')
    with pytest.raises(UsageError, match=r"line 1: found .*t is"):
        History.load(path)


def test_what_the_harness_writes_passes(tmp_path):
    history = History(FakeClock(), tmp_path / "history.jsonl")
    history.record("check", name="n" * 20_000, ok=True, expected=10**30, got="caf\udce9")
    history.record("note", text=[[["deep"]]] and "x", more=[[1, 2], {"a": None}])
    history.close()
    loaded = History.load(tmp_path / "history.jsonl")
    assert [each.line() for each in loaded.events()] == [each.line() for each in history.events()]
    fields = loaded.events("check")[0].fields
    assert fields["got"] == "caf\\xe9"
    assert fields["expected"] == str(10**30)
    assert fields["name"].endswith("… [3,664 characters left out]")
    assert len(fields["name"]) <= 16_384


def test_an_event_is_checked_by_its_kind_only_for_what_is_known():
    check("a kind of later versions", {"anything": 1})
    check("note", {"text": "x", "another": object()})
    check("note", {})
    with pytest.raises(ValueError, match="note, text: invalid value: expected a text"):
        check("note", {"text": None})
