"""Running programs, with everything they were told and everything they said kept in commands.log."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from drills.clock import Clock, SystemClock, stamp
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed
from drills.history import History
from drills.redaction import SECRETS, kept_end
from drills.shell import command_line

_KEPT = 4000  # characters of each stream that are logged: enough for a stack trace, too little for a dump of a cluster
_TERM_GRACE_S = 2.0
_LIKE_AN_ENTRY = re.compile(r"^(?=\d{4}-\d\d-\d\dT[\d:.]+Z \$ )", re.MULTILINE)


@dataclass(frozen=True)
class Completed:
    """How a program ended; `stdout` and `stderr` are whole and unmasked."""

    argv: list[str]
    returncode: int
    stdout: str
    stderr: str
    seconds: float


class Commands:
    """Runs programs and logs them.

    Args:
        log: the commands.log that each run is appended to.
        history: the drill's history, for its clock.

    """

    def __init__(self, log: Path, history: History | None = None) -> None:
        self.log = log
        self._clock: Clock = history.clock if history is not None else SystemClock()
        self._lock = threading.Lock()

    def run(
        self,
        argv: Sequence[str | Path],
        *,
        timeout_s: float,
        input: str | None = None,
        env: Mapping[str, str] | None = None,
        cwd: Path | None = None,
        check: bool = True,
        secrets: Sequence[str] = (),
        logged: bool = True,
        fails_as: type[DrillError] = ProcedureFailed,
    ) -> Completed:
        """Run a program to its end.

        Args:
            argv: the program and its arguments; no shell reads them.
            timeout_s: after that its whole process group is killed.
            input: text for its standard input; never logged.
            env: variables added to the harness's own.
            cwd: directory to run in.
            check: whether a return code other than 0 is a failure.
            secrets: texts that are masked wherever the harness writes or reports them.
            logged: whether what it writes to its standard output is logged; not where that is data.
            fails_as: what a failure means here: of the procedure under test, or EnvironmentFailed for what only
                prepares it.

        Raises:
            EnvironmentFailed: if the program cannot be started.
            ProcedureFailed: (or `fails_as`) if it failed or ran out of time; with the end of its output.

        """
        words = [str(word) for word in argv]
        mask = _Mask(secrets)
        # Each word is cleaned before it is quoted: a quote within a secret would be written in another way.
        command = mask(command_line([SECRETS.clean(mask(word)) for word in words]))
        started = self._clock.now()
        try:
            process = _Program(
                words,
                stdin=subprocess.DEVNULL if input is None else subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                env=None if env is None else {**os.environ, **env},
                cwd=cwd,
                text=True,
                errors="replace",
                start_new_session=True,  # a group of its own, so that a time-out also ends its children
            )
        except OSError as error:
            self._append(stamp(started.utc), command, "", f"-> not started: {mask(str(error))}")
            raise EnvironmentFailed(f"{mask(words[0])} cannot be started: {mask(str(error))}") from error
        timed_out = False
        try:
            stdout, stderr = process.communicate(input, timeout=timeout_s)
        except subprocess.TimeoutExpired:
            timed_out = True
            stdout, stderr = _end(process)
        except BaseException:
            _end(process)
            raise
        seconds = self._clock.monotonic() - started.monotonic
        said = stdout if logged else f"[{len(stdout)} characters of data]" if stdout else ""
        output = _tail(mask(said)) + _tail(mask(stderr))
        end = f"killed after {timeout_s:g} s" if timed_out else f"rc={process.returncode} in {seconds:.2f} s"
        self._append(stamp(started.utc), command, output, f"-> {end}")
        if timed_out or (check and process.returncode != 0):
            raise fails_as(f"{command}: {end}\n{output.strip()}".strip())
        return Completed(words, process.returncode, stdout, stderr, seconds)

    def _append(self, utc: str, command: str, output: str, end: str) -> None:
        # A program may print what looks like an entry of this log; one blank before it tells the two apart.
        said = _LIKE_AN_ENTRY.sub(" ", output)
        text = SECRETS.clean(f"{utc} $ {command}\n{said}{end}\n")
        with self._lock:
            self.log.parent.mkdir(parents=True, exist_ok=True)
            with self.log.open("a", encoding="utf-8", errors="backslashreplace") as file:
                file.write(text)


class _Program(subprocess.Popen[str]):
    """A program that does not outlive an interrupt which arrives while it is being started.

    `Popen` waits until the child has become the program. What is raised into that wait leaves the child running, and
    nobody with a handle to end it.
    """

    def __init__(self, words: list[str], **options: Any) -> None:  # noqa: ANN401 - whatever Popen takes
        try:
            super().__init__(words, **options)
        except OSError:  # it did not start, and Popen has reaped what was forked
            raise
        except BaseException:
            if getattr(self, "pid", None):
                with suppress(ProcessLookupError):  # not the leader of a group yet
                    os.killpg(self.pid, signal.SIGKILL)
                self.kill()
                self.wait()
            raise


class _Mask:
    """Replaces secrets by stars."""

    def __init__(self, secrets: Sequence[str]) -> None:
        # The longest first: a secret that contains another must not be left half readable.
        self._secrets = sorted((secret for secret in secrets if secret), key=len, reverse=True)

    def __call__(self, text: str) -> str:
        for secret in self._secrets:
            text = text.replace(secret, "***")
        return text


def _tail(text: str) -> str:
    if not text.strip():
        return ""
    cut = kept_end(text, _KEPT)
    return cut if cut.endswith("\n") else cut + "\n"


def _end(process: subprocess.Popen[str]) -> tuple[str, str]:
    """End a program and its children; politely first, so that it can release what it holds."""
    for number in (signal.SIGTERM, signal.SIGKILL):
        try:
            os.killpg(process.pid, number)
            return process.communicate(timeout=_TERM_GRACE_S)
        except ProcessLookupError:
            break
        except subprocess.TimeoutExpired:
            continue
    # A child that left the group may hold the pipes open for ever; what it still says is not waited for.
    for pipe in (process.stdin, process.stdout, process.stderr):
        if pipe is not None:
            pipe.close()
    process.wait()
    return "", ""
