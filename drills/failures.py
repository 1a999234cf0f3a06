"""What ended or disturbed a drill, in a form that a record can keep: what was raised, where, and whose fault it is."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import TracebackType
from typing import Any, Self

from drills.errors import CutOff, DrillError
from drills.redaction import kept

_LONGEST = 8000  # characters of what a failure said: a stack trace and more

RECOVERY = "recovery"
"""Where a failure was raised: inside `drill.recovery`, after the damage was proven."""

# What says that somebody or something ended the test, and nothing of the service: pytest.exit, pytest.skip, unittest's
# skip, a debugger.
_STOPPED = ("Exit", "Skipped", "SkipTest", "BdbQuit")
# pytest-timeout's own words (pytest_timeout.timeout_sigalrm, 1.x to 2.4). It raises what pytest.fail raises.
_TIMED_OUT = re.compile(r"Timeout \(?>\s*\d+(\.\d+)?s\)?( from pytest-timeout\.?)?")
_TIMERS = ("pytest_timeout",)


@dataclass(frozen=True)
class Failure:
    """An exception that ended or disturbed a drill.

    Attributes:
        kinds: the names of its class and of its bases, most special first.
        message: what it said.
        during: `RECOVERY` if the procedure under test raised it; empty for elsewhere.
        defect: where in the harness's own code a bug of it lies, as module:line; empty if the exception is none.

    """

    kinds: tuple[str, ...]
    message: str
    during: str = field(default="", compare=False)  # the same failure, on its way out through several contexts
    defect: str = field(default="", compare=False)

    @classmethod
    def of(cls, error: BaseException, during: str = "") -> Self:
        """Make the failure that an exception stands for.

        Args:
            error: what was raised.
            during: `RECOVERY` if the procedure under test raised it.

        """
        message = kept(" ".join(str(error).split()), _LONGEST) or type(error).__name__
        if _is_timer(error, message):
            return cls.of(CutOff(f"the drill was cut off by a time limit of the test: {message}"))
        kinds = tuple(kind.__name__ for kind in type(error).__mro__ if kind is not object)
        return cls(kinds, message, during, _defect(error))

    @classmethod
    def from_record(cls, data: dict[str, Any] | None) -> Self | None:
        """Read the failure that `as_record` wrote; None for none."""
        if data is None:
            return None
        return cls(tuple(data["kinds"]), data["message"], data.get("during", ""), data.get("defect", ""))

    def as_record(self) -> dict[str, Any]:
        """Write the failure as JSON."""
        return {
            "kinds": list(self.kinds),
            "message": self.message,
            **({"during": self.during} if self.during else {}),
            **({"defect": self.defect} if self.defect else {}),
        }

    def is_a(self, *kinds: str) -> bool:
        """Whether its class or one of its bases has one of these names."""
        return not set(kinds).isdisjoint(self.kinds)

    @property
    def cut_off(self) -> bool:
        """Whether a time limit of the test ended it, which says nothing of the service."""
        return self.is_a(CutOff.__name__) or (self.is_a("Failed") and bool(_TIMED_OUT.fullmatch(self.message)))

    def says_it_failed(self, *, damaged: bool) -> bool:
        """Whether it says that recovery failed, rather than that the drill did.

        Args:
            damaged: whether the damage was proven when it came.

        """
        if self.cut_off or self.is_a("Inconclusive", "EnvironmentFailed", *_STOPPED):
            return False
        # Failed is what pytest.fail() raises; a scenario's own claim that does not hold is a failed check.
        if self.is_a("NotRecovered", "NotDetected", "ProcedureFailed", "AssertionError", "Failed"):
            return True
        if not damaged:
            return False
        # Whatever the procedure under test raises is a procedure that failed, unless the bug is in our own code.
        raised_by_procedure = self.during == RECOVERY and self.is_a("Exception") and not self.defect
        return raised_by_procedure or self.is_a("WaitTimeout")

    def __str__(self) -> str:
        return f"{self.kinds[0]}: {self.message}"


def _is_timer(error: BaseException, message: str) -> bool:
    if type(error).__name__ != "Failed":
        return False
    return bool(_TIMED_OUT.fullmatch(message)) or any(module in _TIMERS for module, _ in _frames(error.__traceback__))


def _defect(error: BaseException) -> str:
    """Say where in the harness's own code a bug lies; empty for what is no bug of the harness.

    A bug is an exception of the language itself (KeyError, TypeError ...) that was raised by a line of ours. OSError is
    none: it says what the world answered. Nor is what a library raised, or a scenario, or what we raise on purpose.
    """
    if isinstance(error, DrillError | OSError) or type(error).__module__ != "builtins":
        return ""
    frames = list(_frames(error.__traceback__))
    if not frames:
        return ""
    module, line = frames[-1]
    if not module.startswith("drills.") or module.startswith("drills.scenarios."):
        return ""
    return f"{module}:{line}"


def _frames(trace: TracebackType | None) -> Iterator[tuple[str, int]]:
    """Give module and line of each frame, the one that raised last."""
    while trace is not None:
        yield str(trace.tb_frame.f_globals.get("__name__", "")), trace.tb_lineno
        trace = trace.tb_next
