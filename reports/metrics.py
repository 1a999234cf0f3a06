"""metrics.prom: the run's figures for Prometheus, as a file for node_exporter's textfile collector.

It is valid OpenMetrics, and valid in the older text format, which is all that node_exporter reads. That one refuses a
whole file for a metric of type `info` or `stateset` (kube-state-metrics #2668), so verdict and standing have the shape
of a state set, one sample a state with the value 0 or 1, and the type gauge.

Sabotaged drills have no figures here, since they say nothing about recovery: they are only counted. The run's id stands
on `drills_run_info` alone, so that every drill keeps its series over all runs.
"""

from collections.abc import Callable, Iterable, Iterator
from enum import StrEnum
from pathlib import Path

from prometheus_client.core import GaugeMetricFamily
from prometheus_client.openmetrics.exposition import generate_latest

from drills.record import write_atomically
from drills.standing import Standing
from drills.verdicts import Verdict

from .results import Result, Results, read_results
from .view import View, instant
from .words import clean

Labelled = Iterable[tuple[list[str], float | None]]

_DRILL = ["drill", "scenario"]
_WRITES = ("acknowledged", "lost", "corrupted", "duplicated", "resurrected")
_OBJECTIVES = ("rto", "rpo", "mtd")
_DURATIONS = {
    "drills_rta_seconds": ("Recovery time achieved.", "rta_s"),
    "drills_rta_low_seconds": ("The least that the recovery can have taken.", "rta_low_s"),
    "drills_rta_high_seconds": ("The most that the recovery can have taken: this is judged.", "rta_high_s"),
    "drills_answers_back_seconds": ("From the fault to the first answer that lasted.", "answers_back_s"),
    "drills_writes_back_seconds": (
        "From the fault to the first write acknowledged after the last refused one.",
        "writes_back_s",
    ),
    "drills_rpa_seconds": ("Recovery point achieved: how far back the oldest lost write was.", "rpa_s"),
    "drills_downtime_seconds": ("How long the service was away in all.", "downtime_s"),
}


def write_metrics(run_dir: Path) -> Path:
    """Write metrics.prom of a run."""
    path = run_dir / "metrics.prom"
    write_atomically(path, render_metrics(read_results(run_dir)))
    return path


def render_metrics(results: Results) -> bytes:
    """Render a run as OpenMetrics text. The first line, a description, holds the run's verdict in words."""
    text: bytes = generate_latest(_Families(results))  # type: ignore[no-untyped-call]
    return text


class _Families:
    """Where prometheus-client collects from; its own registries would add this process."""

    def __init__(self, results: Results) -> None:
        self._results = results
        self._drills = [result for result in results.drills if not result.view.sabotage]

    def collect(self) -> Iterator[GaugeMetricFamily]:
        yield from self._of_the_run()
        yield from self._of_the_drills()

    def _of_the_run(self) -> Iterator[GaugeMetricFamily]:
        results, about = self._results, self._results.about
        said = results.first_line.replace('"', "'").replace("\\", "/")  # parsers differ over what is escaped there
        yield _family("drills_run_verdict", said, ["verdict"], _states(results.verdict))
        facts = {"run": results.run} | {name: str(about.get(name) or "") for name in ("commit", "host", "why")}
        yield _family("drills_run_info", "The last run.", [*facts], [([*facts.values()], 1)])
        for name in ("started", "ended"):
            at = instant(about.get(f"{name}_utc"))
            found: Labelled = [([], at.timestamp() if at else None)]
            yield _family(f"drills_run_{name}_timestamp_seconds", f"When the last run {name}.", [], found)
        for name, said, number in (
            ("drills_run_drills", "Drills of the last run.", len(results.drills)),
            ("drills_run_sabotaged", "Drills that were sabotaged on purpose.", len(results.drills) - len(self._drills)),
            ("drills_run_unreadable", "Drills that left no readable record.", len(results.problems)),
        ):
            yield _family(name, said, [], [([], number)])

    def _of_the_drills(self) -> Iterator[GaugeMetricFamily]:
        def each(name: str, said: str, value: Callable[[Result], float | None]) -> GaugeMetricFamily:
            return _family(name, said, _DRILL, ((_named(result), value(result)) for result in self._drills))

        def many(name: str, said: str, label: str, values: Callable[[Result], Labelled]) -> GaugeMetricFamily:
            samples = (
                ([*_named(result), *labels], value) for result in self._drills for labels, value in values(result)
            )
            return _family(name, said, [*_DRILL, label], samples)

        yield many("drills_verdict", "The drill's verdict.", "verdict", lambda one: _states(one.view.verdict))
        said = "Verdict together with how complete the evidence is."
        yield many("drills_standing", said, "standing", lambda one: _states(one.standing, Standing))
        yield each("drills_missing_fields", "Fields of the evidence that nobody supplied.", _missing)
        for name, (said, field) in _DURATIONS.items():
            yield each(name, said, lambda result, field=field: _achieved(result.view, field))  # type: ignore[misc]
        said = "Recovery point where only a lower bound is known: the oldest lost write was at least this far back."
        yield each("drills_rpa_low_seconds", said, lambda one: one.view.rpa_s if one.view.rpa_at_least else None)
        said = "Time to detect: from the fault until somebody or something noticed it."
        yield each("drills_detection_seconds", said, lambda result: result.view.figure("detection", "t_s"))
        said = "Objectives."
        yield many("drills_objective_seconds", said, "objective", _objectives)
        yield many("drills_writes", "Writes, by what became of them.", "outcome", _writes)
        yield each("drills_last_run_timestamp_seconds", "When the drill was last run.", _ended)


def _family(name: str, said: str, labels: list[str], samples: Labelled) -> GaugeMetricFamily:
    family = GaugeMetricFamily(name, said, labels=labels, unit="seconds" if name.endswith("_seconds") else "")
    for values, number in samples:
        if number is not None:
            family.add_metric([clean(value) for value in values], number)
    return family


def _states(state: StrEnum | None, states: type[StrEnum] = Verdict) -> Labelled:
    return [] if state is None else [([str(each)], float(each is state)) for each in states]


def _named(result: Result) -> list[str]:
    return [result.view.drill, result.view.scenario]


def _missing(result: Result) -> float | None:
    return None if result.standing is None else len(result.missing)


def _objectives(result: Result) -> Labelled:
    return [([name], result.view.figure("objective", f"{name}_s")) for name in _OBJECTIVES]


def _achieved(view: View, field: str) -> float | None:
    """Give a figure that was measured; a lower bound is none, and has a metric of its own."""
    return None if field == "rpa_s" and view.rpa_at_least else view.figure("achieved", field)


def _writes(result: Result) -> Labelled:
    return [([name], result.view.writes(name)) for name in _WRITES]


def _ended(result: Result) -> float | None:
    at = instant(result.view.record.get("ended_utc"))
    return at.timestamp() if at else None
