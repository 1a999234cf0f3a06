"""tools/stage.sh: what a stage took, how it ended, and what the host withheld meanwhile."""

import subprocess
from pathlib import Path

import pytest

STAGE = Path(__file__).parents[2] / "tools/stage.sh"
# user nice system idle iowait irq softirq steal guest guest_nice: 1,000 ticks have passed, 100 of them stolen.
BEFORE = "cpu  500 0 200 200 0 0 0 100 0 0\ncpu0 9 9 9 9 9 9 9 9 9 9\n"


# A clock that the machine's load does not move: the second reading is as much later as the stage is to take.
DATE = "#!/bin/sh\nif [ -e read ]; then rm read; echo $((1000 + TOOK)); else : >read; echo 1000; fi\n"


@pytest.fixture
def stage(tmp_path):
    (tmp_path / "stat").write_text(BEFORE)
    (tmp_path / "date").write_text(DATE)
    (tmp_path / "date").chmod(0o755)

    def run(*arguments, after=BEFORE, took=0):
        (tmp_path / "after").write_text(after)
        environment = {"PATH": f"{tmp_path}:/usr/bin:/bin", "TOOK": str(took)}
        environment |= {"STAGES": str(tmp_path / "times"), "PROC_STAT": str(tmp_path / "stat")}
        return subprocess.run(
            [STAGE, *arguments], env=environment, cwd=tmp_path, capture_output=True, text=True, check=False
        )

    return run


def test_a_stage_says_what_it_took_and_hands_its_code_on(stage):
    said = stage("lint", "sh", "-c", "exit 7", took=90)
    assert (said.returncode, said.stdout) == (7, "== stage lint: 90 s, FAILED (7)\n")
    assert stage("types", "true").stdout == "== stage types: 0 s, done\n"
    lines = [line.split() for line in stage().stdout.splitlines()]
    assert lines == [["lint", "90", "s", "FAILED", "(7)"], ["types", "0", "s", "done"], ["together", "90", "s"]]


def test_what_the_host_gave_to_others_is_said(stage):
    # 400 ticks more, 100 of them stolen.
    said = stage("images", "cp", "after", "stat", after="cpu  700 0 200 300 0 0 0 200 0 0\n", took=2)
    assert said.stdout == "== stage images: 2 s, done; the host gave 25 % of the processors' time to others\n"
    assert "25 %" in stage().stdout


def test_of_what_takes_no_second_nothing_is_said(stage):
    said = stage("images", "cp", "after", "stat", after="cpu  700 0 200 300 0 0 0 200 0 0\n")
    assert said.stdout == "== stage images: 0 s, done\n"


def test_a_machine_of_its_own_loses_nothing(stage):
    said = stage("images", "cp", "after", "stat", after="cpu  900 0 200 200 0 0 0 100 0 0\n", took=2)
    assert said.stdout == "== stage images: 2 s, done\n"
