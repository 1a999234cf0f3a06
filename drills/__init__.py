"""Disaster-recovery drills: real damage, real recovery, honest RTO and RPO."""

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

__all__ = [
    "FOREVER",
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
    "NotRecovered",
    "NotSteady",
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
