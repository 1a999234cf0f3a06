import json
import os
import re
import signal
import subprocess
import sys
import threading
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.clock import FakeClock
from drills.errors import UsageError
from drills.history import Event, History

json_values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(2**63) + 1, 2**63 - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=5,
)


def test_events_are_written_as_they_happen_one_line_each(tmp_path):
    clock = FakeClock()
    history = History(clock, tmp_path / "drill" / "history.jsonl")
    history.record("opened", drill="x")
    clock.advance(12.3456789)
    history.record("note", text="one\ntwo")
    lines = (tmp_path / "drill" / "history.jsonl").read_text().splitlines()
    assert json.loads(lines[1]) == {
        "t": 12.345679,
        "utc": "2026-01-01T00:00:12.345Z",
        "kind": "note",
        "text": "one\ntwo",
    }
    assert [event.kind for event in history.events()] == ["opened", "note"]
    assert history.events("note")[0].fields == {"text": "one\ntwo"}
    history.close()


def test_an_event_may_be_placed_at_an_earlier_instant():
    clock = FakeClock()
    history = History(clock)
    clock.advance(10)
    event = history.record("phase", at=history.instant(4.5), name="restored")
    assert (event.t, event.utc) == (4.5, "2026-01-01T00:00:04.500Z")


def test_a_stepped_wall_clock_moves_stamps_and_no_times():
    clock = FakeClock()
    history = History(clock)
    clock.step_wall(3600)
    clock.advance(1)
    event = history.record("note", text="")
    assert (event.t, event.utc) == (1.0, "2026-01-01T01:00:01.000Z")


@given(
    st.dictionaries(st.text(min_size=1).filter(lambda name: name not in {"t", "utc", "kind"}), json_values, max_size=4)
)
def test_every_event_reads_back_as_it_was(fields):
    event = Event(1.5, "2026-01-01T00:00:00.000Z", "note", fields)
    line = event.line()
    assert "\n" not in line
    assert Event.from_line(line) == event


def test_live_and_loaded_histories_are_the_same(tmp_path):
    path = tmp_path / "history.jsonl"
    live = History(FakeClock(), path)
    live.record("opened", origin_utc="2026-01-01T00:00:00.000Z", rows=((1, "a"), (2, "b")))
    live.record("note", text="größer ⚓")
    live.close()
    stored = History.load(path)
    assert stored.events() == live.events()
    assert stored.origin.utc == live.origin.utc
    assert not stored.torn
    with pytest.raises(UsageError, match="closed"):
        stored.record("note", text="later")
    with pytest.raises(UsageError, match="stored history"):
        stored.clock.sleep(1)


def test_a_history_without_its_first_line_still_finds_its_origin(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text(Event(2.0, "2026-01-01T00:00:02.000Z", "note").line() + "\n")
    assert History.load(path).origin.utc.isoformat() == "2026-01-01T00:00:00+00:00"
    path.write_text("")
    assert History.load(path).events() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [("x", float("nan")), ("x", float("inf")), ("x", object()), ("t", 1), ("utc", ""), ("at_", {1, 2})],
)
def test_what_is_not_strict_json_is_refused(field, value):
    with pytest.raises(UsageError, match="found"):
        History(FakeClock()).record("note", **{field: value})


def test_kind_cannot_be_overwritten():
    with pytest.raises(TypeError):
        History(FakeClock()).record("note", kind="other")


def test_evidence_is_never_overwritten(tmp_path):
    (tmp_path / "history.jsonl").write_text("precious\n")
    with pytest.raises(UsageError, match="in place already"):
        History(FakeClock(), tmp_path / "history.jsonl")
    assert (tmp_path / "history.jsonl").read_text() == "precious\n"


@pytest.mark.parametrize(
    "line",
    [
        "nonsense",
        "[]",
        '{"t": 1}',
        '{"t": "1", "utc": "", "kind": "x"}',
        '{"t": true, "utc": "", "kind": "x"}',
        '{"t": NaN}',
    ],
)
def test_a_bad_line_is_named(tmp_path, line):
    path = tmp_path / "history.jsonl"
    path.write_text(Event(0.0, "2026-01-01T00:00:00.000Z", "opened").line() + f"\n{line}\n")
    with pytest.raises(UsageError, match="line 2: found"):
        History.load(path)


def test_a_bad_origin_and_a_missing_file_are_usage_errors(tmp_path):
    with pytest.raises(UsageError, match="unreadable"):
        History.load(tmp_path / "none.jsonl")
    path = tmp_path / "history.jsonl"
    path.write_text(Event(0.0, "noon", "opened").line() + "\n")
    with pytest.raises(UsageError, match="line 1"):
        History.load(path)


def test_a_killed_harness_loses_nothing_it_had_written(tmp_path):
    path = tmp_path / "history.jsonl"
    program = (
        "import sys; from pathlib import Path; from drills.history import History\n"
        "history = History(path=Path(sys.argv[1]))\n"
        "for n in range(10**9):\n"
        "    history.record('note', n=n)\n"
        "    if n == 200: print('go', flush=True)\n"
    )
    with subprocess.Popen([sys.executable, "-c", program, str(path)], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        os.kill(process.pid, signal.SIGKILL)
    history = History.load(path)
    assert [event.fields["n"] for event in history.events()] == list(range(len(history.events())))
    assert len(history.events()) > 200


def test_a_half_written_last_line_is_dropped_and_said(tmp_path):
    path = tmp_path / "history.jsonl"
    path.write_text(Event(0.0, "2026-01-01T00:00:00.000Z", "opened").line() + '\n{"t": 1.0, "ut')
    history = History.load(path)
    assert history.torn
    assert len(history.events()) == 1


def test_threads_record_whole_lines(tmp_path: Path):
    history = History(path=tmp_path / "history.jsonl")

    def work(name: int) -> None:
        for n in range(200):
            history.record("note", thread=name, n=n)

    threads = [threading.Thread(target=work, args=(n,)) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    history.close()
    history.close()
    events = History.load(tmp_path / "history.jsonl").events()
    assert len(events) == 800
    assert [event.t for event in events] == sorted(event.t for event in events)
    for name in range(4):
        assert [event.fields["n"] for event in events if event.fields["thread"] == name] == list(range(200))


def test_every_kind_of_event_is_documented():
    root = Path(__file__).parents[2]
    documented = set(re.findall(r"^\| `(\w+)`", (root / "docs" / "history.md").read_text(), re.MULTILINE))
    recorded = {
        kind
        for source in (root / "drills").rglob("*.py")
        for kind in re.findall(r"\.record\(\s*\"(\w+)\"", source.read_text())
    }
    assert recorded == documented
