"""What nobody vouches for counts for nothing that was met: in due dates, trends, coverage."""

import os
import shutil
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from drills.reports.frame import read_evidence

from drills import budget, keys, runs
from drills.plan_commands import held_drills
from drills.vouching import unvouched

from .samples import write_run
from .sealing import MISSED, SHORT, write_sealed


@pytest.fixture
def evidence(tmp_path):
    place = keys.make(tmp_path / "keys")
    write_sealed(tmp_path / "evidence", place, SHORT)
    return tmp_path / "evidence"


def held(evidence):
    return [each.run for each in held_drills(evidence).held]


def counted(evidence):
    return sorted(read_evidence(evidence).vouched(evidence).table["run"])


def test_a_sealed_run_that_a_checkpoint_covers_counts(evidence):
    (sealed,) = held(evidence)
    assert unvouched(evidence) == {}
    assert counted(evidence) == [sealed]


def test_a_run_that_is_added_without_a_key_counts_nowhere_and_is_named(evidence):
    (sealed,) = held(evidence)
    added = write_run(evidence, SHORT)
    assert unvouched(evidence) == {added.name: "was never sealed"}
    assert held(evidence) == [sealed]
    assert f"{added.name}: was never sealed: nobody vouches for it, not counted" in held_drills(evidence).problems
    assert counted(evidence) == [sealed]
    digest = "0" * 64
    runs.append(evidence / runs.LOG, {"event": "seal", "run": added.name, "manifest_sha256": digest})
    assert unvouched(evidence) == {added.name: "no checkpoint covers its seal"}
    shutil.copytree(evidence / sealed, evidence / "quarterly")
    assert unvouched(evidence)["quarterly"] == "is not in the log"
    assert counted(evidence) == [sealed]


def test_a_miss_stays_though_nobody_vouches_for_it(evidence):
    missed = write_run(evidence, MISSED)
    assert missed.name in counted(evidence)
    assert missed.name not in held(evidence), "still due"


def test_a_run_of_a_replaced_manifest_or_a_forged_checkpoint_counts_nowhere(evidence):
    (sealed,) = held(evidence)
    note = evidence / "checkpoints/3.note"
    whole = note.read_bytes()
    note.write_bytes(whole.replace(b"\n3\n", b"\n4\n"))
    assert unvouched(evidence) == {sealed: "no checkpoint covers its seal"}
    note.write_bytes(whole)
    (evidence / sealed / "manifest.json").write_text("{}")
    assert unvouched(evidence) == {sealed: "its manifest.json is not the one in the log"}


def test_where_nothing_was_ever_sealed_nothing_can_be_told(tmp_path):
    run = write_run(tmp_path, SHORT)
    assert unvouched(tmp_path) == {}
    assert held(tmp_path) == counted(tmp_path) == [run.name]


# --- no room, no right: the program itself, as its exit codes and lines are what is promised ---


def drills(*arguments):
    program = str(Path(sys.executable).with_name("drills"))
    return subprocess.run([program, *map(str, arguments)], capture_output=True, text=True, check=False)


def test_the_commands_say_what_is_not_counted(evidence, tmp_path):
    added = write_run(evidence, SHORT)
    for command in (["trend"], ["coverage", "--out", tmp_path / "c.html"], ["controls"]):
        done = drills(*command, "--evidence-dir", evidence)
        assert f"{added.name}: was never sealed: nobody vouches for it" in done.stderr, command


@pytest.mark.parametrize(
    ("command", "code"),
    [(["trend", "--out", "{taken}"], 2), (["coverage", "--out", "{taken}"], 2),
     (["trend", "--out", "/dev/full/x.png"], 2), (["report", "latest", "--out", "/proc/nowhere"], 3),
     (["checkpoint", "--keys", "{taken}"], 2)],
)  # fmt: skip
def test_what_cannot_be_written_is_one_line_and_a_documented_exit_code(evidence, tmp_path, command, code):
    (tmp_path / "taken").mkdir()
    done = drills(*(each.format(taken=tmp_path / "taken") for each in command), "--evidence-dir", evidence)
    assert done.returncode == code, done
    assert "Traceback" not in done.stderr
    assert done.stderr.startswith("error: ")
    assert len(done.stderr.strip().splitlines()) == 1


@pytest.mark.skipif(not os.path.exists("/dev/full"), reason="no /dev/full here")  # noqa: PTH110 - a device
def test_a_full_disk_is_one_line(evidence, tmp_path):
    done = subprocess.run(
        ["sh", "-c", 'ulimit -f 0; trap "" XFSZ; exec "$0" "$@"', str(Path(sys.executable).with_name("drills")),
         "sign-off", "latest", "--by", "Ana Ito", "--role", "head", "--evidence-dir", str(evidence)],
        capture_output=True, text=True, check=False, env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )  # fmt: skip
    assert done.returncode == 3, done
    assert "Traceback" not in done.stderr
    assert "sign-offs.jsonl: cannot be written: File too large" in done.stderr
    assert not list(evidence.glob("*/sign-offs.jsonl"))
    assert runs.verify(evidence / runs.LOG) == []


@pytest.mark.skipif(os.geteuid() == 0 and not shutil.which("setpriv"), reason="root reads every directory")
def test_one_run_that_cannot_be_read_hides_no_other_from_recheck(evidence):
    run, other = (write_run(evidence, SHORT) for _ in range(2))
    record = other / SHORT.name / "record.json"
    record.write_text(record.read_text().replace('"verdict": "MET"', '"verdict": "MISSED"'))
    run.chmod(0)
    plain = ["setpriv", "--bounding-set", "-dac_override,-dac_read_search"] if os.geteuid() == 0 else []
    program = [*plain, str(Path(sys.executable).with_name("drills")), "recheck", "--evidence-dir", str(evidence)]
    try:
        differs = subprocess.run(program, capture_output=True, text=True, check=False)
        shutil.rmtree(other)
        whole = subprocess.run(program, capture_output=True, text=True, check=False)
    finally:
        run.chmod(0o755)
    line = f"Error: {run}: Permission denied: cannot be read, so it was not judged again\n"
    assert (differs.returncode, differs.stderr) == (1, line)
    assert "2 records judged again, 1 differs" in differs.stdout
    assert (whole.returncode, whole.stderr) == (3, line)
    assert "1 record judged again, no difference" in whole.stdout


@pytest.mark.parametrize("name", ["manifest.json", "run.dsse.json", "seal/run.pub.pem", "../checkpoints/3.note"])
def test_a_named_pipe_is_not_waited_for(evidence, name):
    (sealed,) = held(evidence)
    path = evidence / sealed / name
    path.unlink()
    os.mkfifo(path)
    for command in (["verify", evidence], ["verify", evidence / sealed], ["trend", "--evidence-dir", evidence]):
        done = subprocess.run(
            [str(Path(sys.executable).with_name("drills")), *map(str, command)],
            capture_output=True, text=True, check=False, timeout=120,
        )  # fmt: skip
        assert "Traceback" not in done.stderr
        if command[1] == evidence and command[0] == "verify":
            assert done.returncode in (1, 2), done


def test_the_order_of_a_budget_is_that_of_runs_that_somebody_vouches_for(evidence):
    later = datetime(2100, 1, 1, tzinfo=UTC)
    before = budget.look_back(evidence, [SHORT.name], later)
    assert before[SHORT.name].proven is not None
    write_run(evidence, SHORT)
    assert budget.look_back(evidence, [SHORT.name], later) == before
    (sealed,) = held(evidence)
    (evidence / sealed / "manifest.json").write_text("{}")
    assert budget.look_back(evidence, [SHORT.name], later)[SHORT.name].proven is None
