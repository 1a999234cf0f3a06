"""Disaster-recovery drills: real damage, real recovery, honest RTO and RPO.

Every name below is loaded when it is first asked for: the command, and every pytest run beside which this package is
installed, would otherwise load a Kubernetes client and a database driver to print a page of help.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from drills.alerts import Alarm, Alert, Notice
    from drills.clock import Clock, FakeClock, Instant, SystemClock
    from drills.commands import Commands, Completed
    from drills.drill import FOREVER, Drill
    from drills.errors import (
        BadReading,
        DrillError,
        EnvironmentFailed,
        FaultHadNoEffect,
        Inconclusive,
        MeasuringBroke,
        NotDetected,
        NotRecovered,
        NotSteady,
        ProcedureFailed,
        UsageError,
        WaitTimeout,
        WriteRefused,
    )
    from drills.history import Event, History
    from drills.ledger import LedgerStore, Row, Writer
    from drills.objectives import Objective, parse_duration
    from drills.probes import Entry, Probe, Sampler, callable_probe, http_probe, postgres_probe
    from drills.verdicts import Judgement, Verdict

_HOMES = {
    "drills.alerts": ("Alarm", "Alert", "Notice"),
    "drills.clock": ("Clock", "FakeClock", "Instant", "SystemClock"),
    "drills.commands": ("Commands", "Completed"),
    "drills.drill": ("FOREVER", "Drill"),
    "drills.errors": (
        "BadReading",
        "DrillError",
        "EnvironmentFailed",
        "FaultHadNoEffect",
        "Inconclusive",
        "MeasuringBroke",
        "NotDetected",
        "NotRecovered",
        "NotSteady",
        "ProcedureFailed",
        "UsageError",
        "WaitTimeout",
        "WriteRefused",
    ),
    "drills.history": ("Event", "History"),
    "drills.ledger": ("LedgerStore", "Row", "Writer"),
    "drills.objectives": ("Objective", "parse_duration"),
    "drills.probes": ("Entry", "Probe", "Sampler", "callable_probe", "http_probe", "postgres_probe"),
    "drills.verdicts": ("Judgement", "Verdict"),
}
_HOME_OF = {name: module for module, names in _HOMES.items() for name in names}

__all__ = [
    "FOREVER",
    "Alarm",
    "Alert",
    "BadReading",
    "Clock",
    "Commands",
    "Completed",
    "Drill",
    "DrillError",
    "Entry",
    "EnvironmentFailed",
    "Event",
    "FakeClock",
    "FaultHadNoEffect",
    "History",
    "Inconclusive",
    "Instant",
    "Judgement",
    "LedgerStore",
    "MeasuringBroke",
    "NotDetected",
    "NotRecovered",
    "NotSteady",
    "Notice",
    "Objective",
    "Probe",
    "ProcedureFailed",
    "Row",
    "Sampler",
    "SystemClock",
    "UsageError",
    "Verdict",
    "WaitTimeout",
    "WriteRefused",
    "Writer",
    "callable_probe",
    "http_probe",
    "parse_duration",
    "postgres_probe",
]


def __getattr__(name: str) -> object:
    if name not in _HOME_OF:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOME_OF[name]), name)
