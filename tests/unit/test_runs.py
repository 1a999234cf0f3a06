import hashlib
import json
import multiprocessing
import os
import re
import subprocess
from datetime import UTC, datetime

import pytest

from drills import chain, runs, schema
from drills.clock import FakeClock
from drills.errors import UsageError
from drills.record import write_atomically
from drills.runs import Run


@pytest.fixture
def clock():
    return FakeClock(utc=datetime(2026, 11, 21, 9, 33, 6, tzinfo=UTC))


def two_runs(evidence, clock):
    for verdict in ("MET", "MISSED"):
        run = Run.start(evidence, clock=clock)
        write_atomically(run.drill_directory("outage") / "record.json", {"verdict": verdict})
        run.end()
        clock.advance(60)
    return evidence / "log.jsonl"


def test_a_run_is_in_the_log_before_anything_happens(tmp_path, clock):
    run = Run.start(tmp_path, {"why": "quarterly"}, clock)
    assert re.fullmatch(r"20261121T093306Z-[0-9a-f]{4}", run.id)
    (start,) = runs.entries(run.log)
    assert (start["seq"], start["prev"], start["event"], start["run"]) == (0, "0" * 64, "start", run.id)
    assert runs.unfinished(run.log) == [run.id]
    assert (tmp_path / "latest").resolve() == run.directory
    about = json.loads((run.directory / "run.json").read_text())
    assert about["why"] == "quarterly"
    assert (about["started_utc"], about["ended_utc"]) == ("2026-11-21T09:33:06.000Z", None)
    assert {"user", "host", "python", "command", "commit", "packages"} <= about.keys()


def test_a_run_ends_with_its_verdicts_and_the_digests_of_its_records(tmp_path, clock):
    run = Run.start(tmp_path, clock=clock)
    directory = run.drill_directory("outage")
    write_atomically(directory / "record.json", {"verdict": "MET"})
    (run.drill_directory("broken") / "record.json").write_text("{")
    clock.advance(60)
    run.end(exit_code=0)
    run.end()
    _, end = runs.entries(run.log)
    assert end["event"] == "end"
    assert end["verdicts"] == {"outage": "MET", "broken": "INCONCLUSIVE"}
    assert end["records"].keys() == {"outage/record.json", "broken/record.json"}
    assert end["exit_code"] == 0
    assert json.loads((run.directory / "run.json").read_text())["ended_utc"] == "2026-11-21T09:34:06.000Z"
    assert runs.unfinished(run.log) == []
    assert runs.verify(run.log) == []


def test_a_drill_that_runs_twice_hides_neither(tmp_path, clock):
    run = Run.start(tmp_path, clock=clock)
    names = [run.drill_directory(name).name for name in ("outage", "outage", "outage", "a[b/c] é", "..")]
    assert names == ["outage", "outage-2", "outage-3", "a_b_c__é", "drill"]


def test_workers_join_a_run_and_add_facts(tmp_path, clock):
    run = Run.start(tmp_path, clock=clock)
    worker = Run.join(run.directory, clock)
    worker.describe(cluster={"nodes": 3})
    run.describe(plan="sha256:1")
    about = json.loads((run.directory / "run.json").read_text())
    assert (about["cluster"], about["plan"], worker.id) == ({"nodes": 3}, "sha256:1", run.id)
    assert worker.records() == []
    with pytest.raises(UsageError, match=r"no run\.json"):
        Run.join(tmp_path / "none")


def test_latest_follows_the_newest_run(tmp_path, clock):
    for _ in range(2):
        run = Run.start(tmp_path, clock=clock)
    assert (tmp_path / "latest").readlink().name == run.id
    assert sorted(path.name for path in tmp_path.iterdir() if path.is_symlink()) == ["latest"]


def edit(lines):
    lines[1] = lines[1].replace(b"MET", b"MISSED" if b"MISSED" not in lines[1] else b"MET")


@pytest.mark.parametrize(
    ("tamper", "said"),
    [
        (edit, "line 3: does not follow"),
        (lambda lines: lines.pop(1), "line 2: found seq 2, accepted: 1"),
        (lambda lines: lines.insert(1, lines[0]), "line 2: found seq 0"),
        (lambda lines: lines.reverse(), "line 1: found seq 3"),
        (lambda lines: lines.__setitem__(2, b"garbage"), "line 3: not an entry"),
        (lambda lines: lines.__setitem__(2, b"[]"), "line 3: not an entry"),
        (lambda lines: lines.pop(0), "ended without having started"),
    ],
)
def test_tampering_shows(tmp_path, clock, tamper, said):
    log = two_runs(tmp_path, clock)
    assert runs.verify(log) == []
    lines = log.read_bytes().splitlines()
    tamper(lines)
    log.write_bytes(b"\n".join(lines) + b"\n")
    assert any(said in problem for problem in runs.verify(log)), runs.verify(log)


def test_what_a_chain_cannot_see_its_head_kept_elsewhere_does(tmp_path, clock):
    log = two_runs(tmp_path, clock)
    head = runs.head(log)
    lines = log.read_bytes().splitlines(keepends=True)
    log.write_bytes(b"".join(lines[:2]))
    assert runs.verify(log) == []
    assert runs.head(log) != head


@pytest.mark.parametrize("half", [b'{"seq": 4, "pr', b"half", b"x" * 100_000])
def test_half_a_line_shows_until_the_next_entry_sets_it_aside_and_says_so(tmp_path, clock, half):
    log = two_runs(tmp_path, clock)
    with log.open("ab") as file:
        file.write(half)
    (problem,) = runs.verify(log)
    assert problem.startswith("line 5: half an entry: a writer was killed")
    run = Run.start(tmp_path, clock=clock)
    run.end()
    assert runs.verify(log) == []
    assert runs.unfinished(log) == []
    entries = runs.entries(log)
    assert [entry["seq"] for entry in entries] == list(range(6))
    said = {"bytes": len(half), "sha256": hashlib.sha256(half).hexdigest(), "text": half.decode()[:300]}
    assert (entries[4]["half_line"], "half_line" in entries[5]) == (said, False)
    (remark,) = chain.remarks(runs.lines(log))
    assert remark.startswith(f"line 5: half a line of {len(half)} bytes was set aside")


def test_a_line_that_lacks_its_end_alone_is_a_whole_entry(tmp_path, clock):
    log = two_runs(tmp_path, clock)
    log.write_bytes(log.read_bytes().removesuffix(b"\n"))
    assert runs.verify(log) == []
    runs.append(log, {"event": "start", "run": "next"}, clock)
    assert runs.verify(log) == []
    assert "half_line" not in runs.entries(log)[4]
    assert len(runs.entries(log)) == 5


def test_an_append_reads_the_last_line_and_not_the_years_before_it(tmp_path, monkeypatch):
    log = tmp_path / "log.jsonl"
    for number in range(300):
        runs.append(log, {"event": "start", "run": f"run-{number}", "note": "é" * 500})
    read = 0

    def counted(line):
        nonlocal read
        read += len(line)
        return json.loads(line)

    monkeypatch.setattr(runs, "_entry", counted)
    monkeypatch.setattr(runs, "_split", lambda content: pytest.fail("the whole log was read"))
    assert runs.append(log, {"event": "start", "run": "next"})["seq"] == 300
    assert 0 < read < 2 * log.stat().st_size / 300
    monkeypatch.undo()
    assert runs.verify(log) == []


def test_entries_longer_than_a_block_chain_too(tmp_path):
    log = tmp_path / "log.jsonl"
    for length in (1, runs._BLOCK - 1, runs._BLOCK, 3 * runs._BLOCK, 2):
        runs.append(log, {"event": "start", "run": "x" * length})
    assert runs.verify(log) == []
    assert len(runs.entries(log)) == 5


@pytest.mark.parametrize(
    "foreign",
    [b"\n", b"\n\n", b"garbage\n", b"[]\n", b'{"seq": "4"}\n', b"[" * 9000 + b"\n", b'{"seq": ' + b"9" * 5000 + b"}\n"],
)
def test_what_is_no_entry_shows_alone_whatever_it_is(tmp_path, clock, foreign):
    log = two_runs(tmp_path, clock)
    with log.open("ab") as file:
        file.write(foreign)
    runs.append(log, {"event": "start", "run": "next"})
    runs.append(log, {"event": "end", "run": "next"})
    problems = runs.verify(log)
    assert {problem.partition(":")[0] for problem in problems} <= {"line 5", "line 6"}
    assert problems[0].startswith("line 5")
    assert len(problems) <= 2
    assert runs.entries(log)[-1]["seq"] == len(runs.lines(log)) - 1


def test_a_cut_off_run_is_named_and_a_missing_log_too(tmp_path, clock):
    log = two_runs(tmp_path, clock)
    lost = Run.start(tmp_path, clock=clock)
    Run.start(tmp_path, clock=clock).end()
    assert runs.unfinished(log) == [lost.id]
    for ask in (runs.verify, runs.unfinished, runs.entries, runs.head):
        with pytest.raises(UsageError, match="unreadable"):
            ask(tmp_path / "none.jsonl")


def append_many(log, name):
    for n in range(50):
        runs.append(log, {"event": "start", "run": f"{name}-{n}"})


def test_processes_append_without_losing_or_mixing_entries(tmp_path):
    log = tmp_path / "log.jsonl"
    processes = [multiprocessing.get_context("fork").Process(target=append_many, args=(log, name)) for name in "abcd"]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
        assert process.exitcode == 0
    assert runs.verify(log) == []
    assert len(runs.entries(log)) == 200


@pytest.mark.parametrize(
    ("argv", "masked"),
    [
        (["pytest", "--db-password", "hunter2", "-x"], ["pytest", "--db-password", "***", "-x"]),
        (["pytest", "--token=abc"], ["pytest", "--token=***"]),
        (["pytest", "--password", "-x"], ["pytest", "--password", "-x"]),
        (
            ["env", "API_TOKEN=abc", "pytest", "tests/test_tokens.py"],
            ["env", "API_TOKEN=***", "pytest", "tests/test_tokens.py"],
        ),
    ],
)
def test_secrets_do_not_reach_the_evidence_by_the_command_line(argv, masked):
    assert runs.mask_arguments(argv) == masked
    assert runs.provenance(argv)["command"] == masked


def test_provenance_does_without_git_and_a_name(monkeypatch, tmp_path):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PATH", "")
    monkeypatch.setattr(runs.getpass, "getuser", lambda: (_ for _ in ()).throw(KeyError("uid")))
    about = runs.provenance([])
    assert about["commit"] is None
    assert about["user"].isdigit()


def git(place, *arguments):
    subprocess.run(["git", "-C", place, *arguments], check=True, capture_output=True)


def test_a_checkout_that_git_does_not_answer_for_is_unknown_and_never_clean(tmp_path, monkeypatch):
    place = tmp_path / "checkout"
    place.mkdir()
    monkeypatch.chdir(place)
    for name in [name for name in os.environ if name.startswith("GIT_")]:
        monkeypatch.delenv(name)
    monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path))

    def said():
        about = runs.provenance()
        return about["commit"], about["uncommitted_changes"], about.get("commit_unknown")

    assert said()[:2] == (None, None)
    assert "not a git repository" in said()[2]
    git(place, "init", "--quiet")
    assert said()[:2] == (None, None), "no commit yet"
    (place / "file").write_text("x")
    git(place, "add", "file")
    git(place, "-c", "user.name=x", "-c", "user.email=x@example.com", "commit", "--quiet", "--message=x")
    commit, changed, why = said()
    assert (len(commit), changed, why) == (40, False, None)
    (place / "file").write_text("y")
    assert said() == (commit, True, None)
    # Another owner, as in a container whose user is not the one who checked out.
    monkeypatch.setenv("GIT_TEST_ASSUME_DIFFERENT_OWNER", "1")
    monkeypatch.setenv("GIT_CONFIG_GLOBAL", os.devnull)
    assert said()[:2] == (None, None)
    assert "dubious ownership" in said()[2]
    monkeypatch.setenv("PATH", "")
    assert said()[:2] == (None, None)
    assert schema.problems("run-v1", {**runs.provenance(), "schema": runs.SCHEMA, "run": "x", "ended_utc": None,
                                      "started_utc": "2026-11-21T09:33:06.000Z"}) == []  # fmt: skip
