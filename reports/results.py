"""A run as CI systems are told of it: one result a drill, what its evidence amounts to, and the line that comes first.

One result a drill, never one an attempt: GitLab takes the first of several test cases with one name, Allure the last,
and either way an attempt could hide another. Where one run holds several records of one drill, the worst stands.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path

from drills import standing as standings
from drills import twins
from drills.errors import UsageError
from drills.standing import SignOff, Standing
from drills.verdicts import Verdict, worst

from .changes import read_about
from .headline import RANK, Headline, cannot_fail, counted, headline
from .series import Series, series_of
from .view import Problem, View, read_run
from .words import clean, shortened

_LINE = 600  # columns of the first line: a reason can hold a whole stack trace, and the line must stay one


@dataclass(frozen=True)
class Result:
    """What a CI system is told of one drill.

    Attributes:
        view: its record; of several attempts the worst.
        standing: what the evidence amounts to; None for a record that is not of the schema.
        missing: the fields that nobody supplied, by their paths.
        attempts: how many records of this drill the run holds.
        series: what these show together, where they are its repeats.
        with_twins: whether the run was held with --drill-twins.

    """

    view: View
    standing: Standing | None = None
    missing: tuple[str, ...] = ()
    attempts: int = 1
    series: Series | None = None
    with_twins: bool = False

    @property
    def name(self) -> str:
        """The drill's name, told apart from what it is a twin of."""
        twin = self.view.sabotage and self.with_twins
        return f"{self.view.drill} (without {twins.told(self.view.sabotage)})" if twin else self.view.drill

    @property
    def verdict(self) -> Verdict:
        """What counts: a sabotaged drill that was met is a miss, a twin that ended as it must a pass."""
        return counted(self.view, with_twins=self.with_twins)

    @property
    def why(self) -> str:
        """The reason of what counts."""
        return cannot_fail(self.view) if self.view in twins.passed([self.view]) else self.view.why


@dataclass(frozen=True)
class Results:
    """What a CI system is told of one run.

    Attributes:
        run: the run's name.
        about: its run.json.
        drills: one result a drill, in order of their beginning.
        views: every record, further attempts included.
        problems: the records that cannot be shown.
        worse: the figures that were worse than usual, though they may have met their objectives; a sentence each.

    """

    run: str
    about: Mapping[str, object]
    drills: list[Result]
    views: list[View]
    problems: list[Problem]
    worse: tuple[str, ...] = ()

    @cached_property
    def headline(self) -> Headline:
        """What the run proved, as every report says it."""
        return headline(self.views, self.problems, with_twins=self.with_twins)

    @property
    def with_twins(self) -> bool:
        """Whether the run was held with --drill-twins."""
        return self.about.get("twins") is True

    @property
    def repeated(self) -> list[Series]:
        """The drills that were repeated."""
        return [result.series for result in self.drills if result.series]

    @property
    def verdict(self) -> Verdict:
        """The verdict on all drills together."""
        return self.headline.verdict

    @property
    def first_line(self) -> str:
        """The line that comes first in every output: `MISSED: 1 of 3 drills missed an objective. Worst: ...`."""
        told = " ".join(f"{self.verdict}: {self.headline.sentence}".split())
        return shortened(clean(told), _LINE)

    @property
    def worst_first(self) -> list[Result]:
        """The drills, those that missed before those that proved nothing, and those that met their objectives last."""
        return sorted(self.drills, key=lambda result: RANK[result.verdict])

    def standings(self) -> dict[Standing, int]:
        """Count the drills by what their evidence amounts to; those that none has are left out."""
        counts = {each: sum(result.standing is each for result in self.drills) for each in Standing}
        return {each: number for each, number in counts.items() if number}


def read_results(run_dir: Path, evidence_dir: Path | None = None) -> Results:
    """Read what a CI system is told of a run from its directory.

    Args:
        run_dir: the run's directory.
        evidence_dir: where earlier runs are, to hold this one against; without, nothing is said of what is usual.

    """
    views, problems = read_run(run_dir)
    about = read_about(run_dir)
    try:
        signed = standings.sign_offs(run_dir)
    except UsageError:  # `drills validate` names the line; here it counts as nobody having signed
        signed = []
    results = results_of(views, problems, run_dir.name, about, signed)
    return replace(results, worse=tuple(_worse(run_dir.name, evidence_dir))) if evidence_dir else results


def _worse(run: str, evidence_dir: Path) -> list[str]:
    from .frame import TREND, read_evidence  # here: pandas would slow every start of pytest down
    from .regression import regressions

    try:
        return [clean(each.words) for each in regressions(read_evidence(evidence_dir, TREND).honest(), run)]
    except UsageError:  # no evidence directory: there is nothing to hold the run against
        return []


def results_of(
    views: Sequence[View],
    problems: Sequence[Problem],
    run: str,
    about: Mapping[str, object] | None = None,
    signed: Sequence[SignOff] = (),
) -> Results:
    """Make the results of records that were read already."""
    about = about or {}
    with_twins = about.get("twins") is True
    attempts: dict[tuple[str, str, tuple[str, ...]], list[View]] = {}
    for view in views:
        left_out = tuple(view.sabotage) if with_twins else ()
        attempts.setdefault((view.scenario, view.drill, left_out), []).append(view)
    series = {(each.views[0].scenario, each.drill): each for each in series_of(views)}
    drills = [
        replace(_result(_worst(each), len(each), about, signed), series=series.get(key[:2]), with_twins=with_twins)
        for key, each in attempts.items()
    ]
    return Results(run, about, drills, list(views), list(problems))


def _worst(attempts: Sequence[View]) -> View:
    verdict = worst(view.verdict for view in attempts)
    return next(view for view in attempts if view.verdict is verdict)


def _result(view: View, attempts: int, about: Mapping[str, object], signed: Sequence[SignOff]) -> Result:
    record = {**view.record, "drill": view.drill}
    try:
        standing = standings.standing(record, about, signed)
        missing = [gap.partition(":")[0] for gap in standings.missing(record, about, signed)]
    except (UsageError, AttributeError, KeyError, TypeError, ValueError):
        return Result(view, attempts=attempts)  # a record that is not of the schema; `drills validate` says where
    return Result(view, standing, tuple(missing), attempts)
