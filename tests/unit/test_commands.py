import os
import re
import sys
import threading
import time

import pytest

from drills.clock import FakeClock
from drills.commands import Commands
from drills.errors import EnvironmentFailed, ProcedureFailed
from drills.history import History

PYTHON = sys.executable


@pytest.fixture
def commands(tmp_path):
    return Commands(tmp_path / "evidence" / "commands.log")


def python(program):
    return [PYTHON, "-c", program]


def test_output_and_return_code_come_back_and_are_logged(commands):
    done = commands.run(python("import sys; print('out'); print('err', file=sys.stderr)"), timeout_s=30)
    assert (done.returncode, done.stdout, done.stderr) == (0, "out\n", "err\n")
    assert done.seconds > 0
    log = commands.log.read_text()
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z \$ .*-c 'import sys.*\nout\nerr\n-> rc=0 in \d+\.\d\d s\n", log
    )


def test_output_that_is_data_is_not_logged(commands):
    program = "import sys; print('a hash'); print('err', file=sys.stderr); sys.exit(int(sys.argv[1]))"
    assert commands.run([*python(program), "0"], timeout_s=30, logged=False).stdout == "a hash\n"
    with pytest.raises(ProcedureFailed, match=r"\[7 characters of data\]\nerr") as failure:
        commands.run([*python(program), "1"], timeout_s=30, logged=False)
    assert "a hash\n" not in str(failure.value) + commands.log.read_text()


def test_runs_are_appended_and_dated_by_the_drills_clock(tmp_path):
    commands = Commands(tmp_path / "commands.log", History(FakeClock()))
    for _ in range(2):
        commands.run(["true"], timeout_s=30)
    assert commands.log.read_text() == "2026-01-01T00:00:00.000Z $ true\n-> rc=0 in 0.00 s\n" * 2


def test_a_failure_is_raised_with_the_end_of_the_output(commands):
    program = "import sys; print('x' * 10000 + ' the reason'); sys.exit(3)"
    with pytest.raises(ProcedureFailed, match="the reason") as caught:
        commands.run(python(program), timeout_s=30)
    assert "rc=3" in str(caught.value)
    assert "characters left out" in str(caught.value)
    assert len(str(caught.value)) < 5000
    assert commands.run(python(program), timeout_s=30, check=False).returncode == 3
    with pytest.raises(EnvironmentFailed):
        commands.run(["false"], timeout_s=30, fails_as=EnvironmentFailed)


def test_a_program_that_is_not_there_is_a_failure_of_the_environment(commands):
    with pytest.raises(EnvironmentFailed, match="velero-of-the-moon cannot be started"):
        commands.run(["velero-of-the-moon"], timeout_s=1)
    assert "not started" in commands.log.read_text()


@pytest.mark.parametrize("stubborn", [False, True])
def test_a_time_out_ends_the_whole_process_group(commands, tmp_path, stubborn):
    beat = tmp_path / "beat"
    ignore = "trap '' TERM; " if stubborn else ""
    script = f"{ignore}echo started; while true; do echo x >> {beat}; sleep 0.05; done"
    before = time.monotonic()
    with pytest.raises(ProcedureFailed, match=r"killed after 0\.5 s") as caught:
        commands.run(["sh", "-c", f"sh -c '{script.replace(chr(39), chr(34))}' & wait"], timeout_s=0.5, check=False)
    assert time.monotonic() - before < 10
    assert "started" in str(caught.value) or stubborn
    size = beat.stat().st_size
    time.sleep(0.3)
    assert beat.stat().st_size == size, "the grandchild is still at work"


def test_a_child_that_left_the_group_does_not_hold_the_harness(commands):
    program = "import os, subprocess, time\nsubprocess.Popen(['sleep', '20'], start_new_session=True)\ntime.sleep(20)\n"
    before = time.monotonic()
    with pytest.raises(ProcedureFailed, match="killed"):
        commands.run(python(program), timeout_s=0.3)
    assert time.monotonic() - before < 10


def test_secrets_are_masked_wherever_they_would_show(commands):
    program = "import sys; print(sys.argv[1], sys.stdin.read()); sys.exit(1)"
    with pytest.raises(ProcedureFailed) as caught:
        commands.run(
            [*python(program), "hunter2-long"],
            timeout_s=30,
            input="s3cret",
            secrets=["hunter2", "hunter2-long", "s3cret", ""],
        )
    for text in (str(caught.value), commands.log.read_text()):
        assert "hunter2" not in text
        assert "s3cret" not in text
        assert "-long" not in text
        assert "*** ***" in text


def test_input_environment_and_directory(commands, tmp_path):
    program = "import os, sys; print(sys.stdin.read(), os.environ['DRILL'], os.getcwd(), 'PATH' in os.environ)"
    done = commands.run(python(program), timeout_s=30, input="in", env={"DRILL": "yes"}, cwd=tmp_path)
    assert done.stdout == f"in yes {tmp_path} True\n"
    assert "in yes" in commands.log.read_text()


def test_without_input_a_program_that_reads_gets_none(commands):
    assert commands.run(["cat"], timeout_s=30).stdout == ""


def test_what_is_no_text_does_not_break_the_log(commands):
    assert commands.run(["printf", r"\377ok"], timeout_s=30).stdout == "�ok"


def test_an_interrupt_ends_the_program(commands, tmp_path):
    pid_file = tmp_path / "pid"

    def interrupt():
        while not (pid_file.exists() and pid_file.read_text().strip()):
            time.sleep(0.01)
        import signal

        os.kill(os.getpid(), signal.SIGINT)

    thread = threading.Thread(target=interrupt)
    thread.start()
    with pytest.raises(KeyboardInterrupt):
        commands.run(["sh", "-c", f"echo $$ > {pid_file}; sleep 20"], timeout_s=30)
    thread.join()
    with pytest.raises(ProcessLookupError):
        os.kill(int(pid_file.read_text()), 0)


def test_an_interrupt_while_it_is_started_ends_the_program(commands, tmp_path, monkeypatch):
    import subprocess

    started = []
    real = subprocess.Popen._execute_child

    def interrupted(self, *arguments, **options):
        real(self, *arguments, **options)
        started.append(self.pid)
        raise KeyboardInterrupt

    monkeypatch.setattr(subprocess.Popen, "_execute_child", interrupted)
    with pytest.raises(KeyboardInterrupt):
        commands.run(["sleep", "20"], timeout_s=30)
    with pytest.raises(ProcessLookupError):
        os.kill(started[0], 0)


def test_runs_from_several_threads_do_not_mix_their_lines(commands):
    threads = [
        threading.Thread(target=commands.run, args=(["sh", "-c", f"echo {n}; echo {n}"],), kwargs={"timeout_s": 30})
        for n in range(8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    lines = commands.log.read_text().splitlines()
    for n in range(0, len(lines), 4):
        assert lines[n + 1] == lines[n + 2]
        assert lines[n + 3].startswith("-> rc=0")
