"""Everything that can go wrong in a drill, by what it means for the verdict.

    DrillError
     +- UsageError            exit code 2
     +- EnvironmentFailed     verdict ENVIRONMENT
     +- Inconclusive          verdict INCONCLUSIVE
     |   +- NotSteady
     |   +- FaultHadNoEffect
     |   +- MeasuringBroke
     |   +- CutOff
     +- NotRecovered          verdict MISSED
     +- NotDetected           verdict MISSED
     +- ProcedureFailed       verdict MISSED
     +- WaitTimeout           MISSED once the damage is proved, INCONCLUSIVE before
     +- BadReading            no verdict: one reading of a probe
     +- WriteRefused          no verdict: one write of a workload
     +- NotGenuine            no verdict: evidence that is not what was signed

A failed recovery is a drill result, not a crash; a crash of the harness is never a pass.
"""

# ruff: noqa: N818  the names say what happened to the drill; "NotRecoveredError" would say that the harness is at fault

from __future__ import annotations


class DrillError(Exception):
    """Any failure that the harness knows by name."""


class UsageError(DrillError):
    """Bad input; the message names the file or call, the field, what was found and what is accepted."""


class EnvironmentFailed(DrillError):
    """The cluster, an image or a tool failed, so that nothing was learnt about recovery."""


class Inconclusive(DrillError):
    """The drill proved nothing, neither that recovery works nor that it does not."""


class NotSteady(Inconclusive):
    """The system was not in its steady state before the fault."""


class FaultHadNoEffect(Inconclusive):
    """The fault was issued and no damage was observed."""


class MeasuringBroke(Inconclusive):
    """A probe, a writer or the history failed, so that the figures have holes."""


class CutOff(Inconclusive):
    """Something ended the test before the service was back or given up: a time limit, a signal, a person."""


class NotRecovered(DrillError):
    """The service was not back, or its data not readable, by the deadline; carries the last state seen."""

    def __init__(self, message: str, last: str = "") -> None:
        super().__init__(f"{message}; last seen: {last}" if last else message)
        self.last = last


class NotDetected(DrillError):
    """What was there to notice the disaster did not, or not in time."""


class ProcedureFailed(DrillError):
    """A step of the procedure under test failed."""


class WaitTimeout(DrillError):
    """A condition was not met by its deadline; carries what was waited for and the last state seen."""

    def __init__(self, what: str, last: str, deadline_s: float) -> None:
        super().__init__(f"{what}: not within {deadline_s:g} s; last seen: {last or 'nothing'}")
        self.what = what
        self.last = last
        self.deadline_s = deadline_s


class BadReading(DrillError):
    """The target gave a bad answer to a probe: a fact to record, never a failure of the harness."""


class WriteRefused(DrillError):
    """A store did not acknowledge a write, or could not be read; the outcome of the write is unknown."""


class NotGenuine(DrillError):
    """A signature, a digest or a time stamp does not hold: the evidence is not what was signed."""
