"""What the entries of the log may say: attacks by somebody who chains what he adds as it must be chained."""

import errno
import hashlib
import json
import os
import subprocess
import sys
from datetime import timedelta

import pytest

from drills import chain, runs
from drills.clock import FakeClock, stamp
from drills.errors import EnvironmentFailed
from drills.runs import Run


def chained(*entries):
    """Lines of a log whose chain is whole, whatever they say."""
    lines = []
    for number, entry in enumerate(entries):
        prev = hashlib.sha256(lines[-1]).hexdigest() if lines else chain.GENESIS
        lines.append(json.dumps({"seq": number, "prev": prev, **entry}).encode())
    return lines


def at(second, event, run="a", **more):
    return {"utc": f"2026-11-21T09:33:{second:02}.000Z", "event": event, "run": run, **more}


WHOLE = (at(1, "start"), at(2, "end"), at(3, "seal"), at(4, "sign-off", sha256="1"), at(4, "start", "b"))


@pytest.mark.parametrize(
    ("added", "said"),
    [
        (at(9, "start"), "run a started a second time"),
        (at(9, "end"), "run a ended a second time"),
        (at(9, "seal"), "run a was sealed a second time"),
        (at(9, "sign-off", sha256="1"), "run a: one sign-off is entered a second time"),
        (at(9, "end", "c"), "run c ended without having started"),
        (at(9, "seal", "b"), "run b was sealed without having ended"),
        (at(3, "end", "b"), "is dated 2026-11-21T09:33:03.000Z, before the entry above it"),
        ({"event": "end", "run": "b"}, "invalid value None: expected utc"),
        ({"event": "end", "run": "b", "utc": "today"}, "invalid value 'today': expected utc"),
        ({"event": "end", "run": "b", "utc": "2026-11-21T09:33:09"}, "expected utc"),
    ],
)
def test_what_an_insider_adds_shows_though_it_is_chained(added, said):
    assert chain.problems(chained(*WHOLE)) == []
    (problem,) = chain.problems(chained(*WHOLE, added))
    assert problem.startswith("line 6: ")
    assert said in problem


def test_the_first_entry_counts():
    entries = [json.loads(line) for line in chained(*WHOLE, at(9, "end", verdicts={"x": "MET"}))]
    assert "verdicts" not in chain.first(entries, "end")["a"]
    assert sorted(chain.first(entries, "start")) == ["a", "b"]


def test_a_field_said_twice_shows():
    lines = chained(at(1, "start"), at(2, "end", verdicts={"late": "MISSED"}))
    lines[1] = lines[1].replace(b'{"late": "MISSED"}', b'{"late": "MISSED", "late": "MET"}')
    assert chain.problems(lines) == ["line 2: says 'late' twice"]


@pytest.mark.parametrize("seq", [True, 1.0, "1", None])
def test_a_number_is_a_number(seq):
    lines = chained(at(1, "start"), at(2, "end"))
    lines[1] = lines[1].replace(b'"seq": 1', b'"seq": ' + json.dumps(seq).encode())
    assert len(chain.problems(lines)) == (0 if seq == 1.0 and seq is not True else 1)


# --- the clock ---


def test_a_clock_that_was_stepped_back_is_said_and_breaks_nothing(tmp_path):
    clock = FakeClock()
    run = Run.start(tmp_path, clock=clock)
    clock.step_wall(-3600.0)
    run.end()
    _, end = runs.entries(run.log)
    assert end["clock_behind_s"] == 3600.0
    assert runs.verify(run.log) == []
    assert chain.remarks(runs.lines(run.log)) == [
        "line 2: the clock was 3600.0 s behind the entry before, as this one says"
    ]


def test_who_dates_an_entry_himself_admits_nothing_and_is_found(tmp_path):
    clock = FakeClock()
    run = Run.start(tmp_path, clock=clock)
    runs.append(run.log, {"utc": stamp(clock.now().utc - timedelta(days=1)), "event": "end", "run": run.id}, clock)
    assert "before the entry above it" in runs.verify(run.log)[0]
    assert chain.remarks(runs.lines(run.log)) == []


def test_who_waited_for_another_writer_dates_its_entry_after_the_others(tmp_path):
    """Two runs at once: what one began to say before the other had written is dated when it is written."""
    clock = FakeClock()
    one, other = (Run.start(tmp_path, clock=clock) for _ in range(2))
    for run in (other, one):
        clock.advance(1.0)
        run.end()
    assert runs.verify(one.log) == []
    assert chain.remarks(runs.lines(one.log)) == []


# --- no room ---


def limited(tmp_path, room, entry):
    """Append in a process that may not write a file longer than the log is now and `room` bytes: as a full disk."""
    log = tmp_path / runs.LOG
    program = (
        "import json, resource, signal, sys; from pathlib import Path; from drills import runs; "
        "from drills.errors import EnvironmentFailed; "
        "signal.signal(signal.SIGXFSZ, signal.SIG_IGN); log = Path(sys.argv[1]); "
        "resource.setrlimit(resource.RLIMIT_FSIZE, (log.stat().st_size + int(sys.argv[2]),) * 2)\n"
        "try: runs.append(log, json.loads(sys.argv[3]))\n"
        "except EnvironmentFailed as error: sys.exit(str(error))"
    )
    argv = [sys.executable, "-c", program, str(log), str(room), json.dumps(entry)]
    return subprocess.run(argv, capture_output=True, text=True, check=False)


@pytest.mark.parametrize("half", [b"", b'{"seq": 4, "pr'], ids=["whole", "half a line before"])
@pytest.mark.parametrize("room", [0, 1, 60])
def test_where_there_is_no_room_nothing_of_the_entry_is_left(tmp_path, room, half):
    Run.start(tmp_path).end()
    log = tmp_path / runs.LOG
    with log.open("ab") as file:
        file.write(half)
    before = log.read_bytes()
    entry = {"event": "start", "run": "next", "note": "x" * 200}
    done = limited(tmp_path, room, entry)
    assert (done.returncode, done.stderr) == (1, f"{log}: cannot be written: {os.strerror(errno.EFBIG)}\n")
    assert log.read_bytes() == before
    assert limited(tmp_path, 4096, entry).returncode == 0
    assert runs.verify(log) == []


def test_a_run_that_cannot_be_entered_leaves_no_directory(tmp_path):
    (tmp_path / runs.LOG).mkdir()
    with pytest.raises(EnvironmentFailed, match="cannot be written: Is a directory"):
        Run.start(tmp_path)
    assert [path.name for path in tmp_path.iterdir() if path.name != runs.LOG and not path.name.startswith(".")] == []
    (tmp_path / "file").write_text("")
    with pytest.raises(EnvironmentFailed, match="file/evidence: cannot be written: Not a directory"):
        Run.start(tmp_path / "file/evidence")
