"""allure-results: the run for an Allure report, a step a phase, and beside them the procedure with its steps.

Written after the drill from its record, through Allure's own model and file writer, because only the record knows the
true times: a step opened while the test ran would show when Python noticed, not when the service came back. The files
go to `<run>/allure-results`, away from those that pytest's `--alluredir` collects, so that neither shows a drill
twice.

All times of a test are of one clock: the monotonic distances of the record, set on the stamp of its first phase. A test
reaches from its first phase to its last, and every step lies within; the procedure, whose steps may outlast the phase
in which they began, is a step beside the phases. (Allure takes a step that ends before it begins for one of a day less
that time.)

Allure 2 takes its categories and the report's name from the results. Allure 3 reads neither: it takes both from
allurerc.json, which is written beside them.

An INCONCLUSIVE or ENVIRONMENT drill is `broken` (Allure's word for "the test did not get to judge"), a MISSED one
`failed`. Allure shows the last of several results with one history id, and calls the others retries: so a further
attempt at a drill, and a sabotaged drill, have a history id of their own, and hide no other.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Attachment, Label, Parameter, Status, StatusDetails, TestResult, TestStepResult
from allure_commons.types import AttachmentType, LabelType, Severity

from drills.record import write_atomically
from drills.verdicts import Verdict

from .allure_clock import DrillClock, window
from .allure_history import CATEGORIES, STATUS, category, write_history
from .cells import achieved_point, came_back_last
from .results import Result, Results, read_results
from .summary import escaped
from .timeline import PHASE_WORDS
from .view import Problem, Step, View
from .words import bounds, clean, objective

SEVERITY = {
    "critical": Severity.BLOCKER,
    "high": Severity.CRITICAL,
    "medium": Severity.NORMAL,
    "low": Severity.MINOR,
}
"""A drill's tier as Allure's severity; a tier with another name is `normal`."""

_FILES = (
    ("record.json", AttachmentType.JSON),
    ("history.jsonl", AttachmentType.TEXT),
    ("commands.log", AttachmentType.TEXT),
    ("timeline.png", AttachmentType.PNG),
)


def write_allure(run_dir: Path, evidence_dir: Path | None = None) -> Path:
    """Write a run's allure-results in place of those of an earlier report of it; returns their directory.

    Args:
        run_dir: the run's directory.
        evidence_dir: where earlier runs are, for the history; by default where the run lies.

    """
    folder = run_dir / "allure-results"
    results = read_results(run_dir)
    if folder.is_symlink():
        folder.unlink()  # what it leads to is no part of the run, and would be emptied and written into
    logger = AllureFileLogger(str(folder), clean=True)  # type: ignore[no-untyped-call]
    stands = {id(result.view): result for result in results.drills}
    identity = {}
    for view in results.views:
        result = stands.get(id(view))
        written = _result(view, result, logger)
        if result is not None and not view.sabotage:
            identity[view.scenario, view.drill] = written.historyId
        logger.report_result(written)  # type: ignore[no-untyped-call]
    for problem in results.problems:
        logger.report_result(_broken(problem, run_dir.name))  # type: ignore[no-untyped-call]
    write_atomically(folder / "environment.properties", render_environment(results))
    write_atomically(folder / "categories.json", render_categories())
    write_history(folder, run_dir, evidence_dir or run_dir.parent, identity)
    write_atomically(run_dir / "allurerc.json", render_configuration(results))
    return folder


def render_environment(results: Results) -> str:
    """Render environment.properties, which Allure shows beside its summary; the first line holds the verdict."""
    about = results.about
    engine = about.get("engine")
    packages = about.get("packages")
    facts = {
        "result": results.first_line,
        "run": results.run,
        "reason": about.get("why"),
        "environment": ", ".join(sorted({view.text("environment", "kind") for view in results.views} - {""})),
        "engine": " ".join(str(engine.get(key) or "") for key in ("kind", "version"))
        if isinstance(engine, Mapping)
        else "",
        **({"pytest-drills": packages.get("pytest-drills")} if isinstance(packages, Mapping) else {}),
        **{name: about.get(name) for name in ("host", "platform", "python", "commit")},
        "standing": ", ".join(f"{number} {standing}" for standing, number in results.standings().items()),
    }
    return "".join(f"{name}={_property(text)}\n" for name, text in facts.items() if text)


def render_categories() -> str:
    """Render categories.json, by which Allure groups the drills that did not meet their objectives."""
    return json.dumps(_categories(), indent=2) + "\n"


def render_configuration(results: Results) -> str:
    """Render allurerc.json, from which Allure 3 takes the report's name and the categories."""
    text = json.dumps({"name": results.first_line, "categories": _categories()}, indent=2, ensure_ascii=False)
    return text.replace("{\n ", "{", 1) + "\n"  # the verdict stands on the first line, as in every report


def _categories() -> list[dict[str, object]]:
    return [{"name": each.name, "matchedStatuses": [each.status], "messageRegex": each.pattern} for each in CATEGORIES]


def _result(view: View, result: Result | None, logger: AllureFileLogger) -> TestResult:
    """Make one record's result; `result` is None for a further attempt at a drill."""
    full_name = f"{view.scenario}#{view.drill}" if view.scenario else view.drill
    place = view.place.parent.name if view.place else view.drill
    further = f"repeat {view.repeat[0]}" if view.repeat else f"attempt {place}"
    marks = [*([further] if result is None else []), *(["sabotaged"] if view.sabotage else [])]
    identity = hashlib.md5(" ".join([full_name, *marks]).encode(), usedforsecurity=False).hexdigest()
    clock = DrillClock.of(view)
    start, stop = window(view)
    made = TestResult(
        uuid=str(uuid5(NAMESPACE_URL, f"{view.run}/{place}")),
        historyId=identity,
        testCaseId=identity,
        fullName=full_name,
        name=f"{view.title} ({', '.join(marks)})" if marks else view.title,
        description=_description(view, result),
        status=STATUS[result.verdict if result is not None else view.verdict],
        stage="finished",
        start=start,
        stop=stop,
        labels=list(_labels(view, result)),
        # Left out of what Allure 3 knows a test by: it would be another one after every run.
        parameters=[Parameter(name=name, value=value, excluded=True) for name, value in _parameters(view)],
        steps=list(_steps(view, clock)) if clock else [],
        titlePath=[part for part in view.scenario.split("/") if part],
    )
    way = category(view)
    if way is not None:
        message = f"{way.key}: {view.why}"
        made.statusDetails = StatusDetails(message=message, trace="\n".join(view.texts("notes")) or None)
    if view.place is not None:
        for file_name, kind in _FILES:
            path = view.place.with_name(file_name)
            if path.is_file() and not path.is_symlink():
                source = f"{uuid5(NAMESPACE_URL, f'{view.run}/{place}/{file_name}')}-attachment.{kind.extension}"
                logger.report_attached_file(str(path), source)  # type: ignore[no-untyped-call]
                made.attachments.append(Attachment(name=file_name, source=source, type=kind.mime_type))
    return made


def _broken(problem: Problem, run: str) -> TestResult:
    name = problem.path.parent.name
    return TestResult(
        uuid=str(uuid5(NAMESPACE_URL, f"{run}/{name}")),
        name=name,
        fullName=name,
        status=Status.BROKEN,
        statusDetails=StatusDetails(message=f"{Verdict.INCONCLUSIVE}: {problem.found}"),
        stage="finished",
    )


def _steps(view: View, clock: DrillClock) -> Iterator[TestStepResult]:
    """Give a step a phase, and behind the one in which recovery began the procedure with its steps."""
    phases = [phase for phase in view.phases if phase.name != "ended"]
    procedure = _procedure(view, clock)
    if not phases:
        return
    ends = [following.t_s for _, following in pairwise(phases)] + [max(view.phases[-1].t_s, phases[-1].t_s)]
    for index, (phase, end_s) in enumerate(zip(phases, ends, strict=True)):
        failed = index == len(phases) - 1 and view.verdict is not Verdict.MET
        start, stop = clock.window(phase.t_s, end_s)
        yield TestStepResult(
            name=PHASE_WORDS.get(phase.name, phase.name),
            status=STATUS[view.verdict] if failed else Status.PASSED,
            stage="finished",
            start=start,
            stop=stop,
        )
        if procedure is not None and phase.name == "recovering":
            yield procedure
            procedure = None
    if procedure is not None:
        yield procedure


def _procedure(view: View, clock: DrillClock) -> TestStepResult | None:
    inside = [_procedure_step(step, clock, view.phases[-1].t_s) for step in view.steps]
    if not inside:
        return None
    name = view.text("procedure", "name")
    return TestStepResult(
        name=f"procedure: {name}" if name else "procedure",
        status=Status.FAILED if any(step.status == Status.FAILED for step in inside) else Status.PASSED,
        stage="finished",
        start=min(step.start for step in inside),
        stop=max(step.stop for step in inside),
        steps=inside,
    )


def _procedure_step(step: Step, clock: DrillClock, last_s: float) -> TestStepResult:
    parameters = [Parameter(name="done by", value=step.by)]
    if step.command:
        parameters.append(Parameter(name="command", value=step.command))
    ended_s = last_s if step.ended_s is None else step.ended_s  # one that never ended was under way to the last
    start, stop = clock.window(ended_s if step.started_s is None else step.started_s, ended_s)
    done = step.ended_s is not None and step.state != "failed"
    return TestStepResult(
        name=step.name,
        status=Status.PASSED if done else Status.FAILED,
        stage="finished",
        start=start,
        stop=stop,
        parameters=parameters,
    )


def _labels(view: View, result: Result | None) -> Iterator[Label]:
    yield Label(name=LabelType.SEVERITY, value=SEVERITY.get(view.text("tier").lower(), Severity.NORMAL).value)
    yield Label(name=LabelType.FRAMEWORK, value="pytest-drills")
    yield Label(name=LabelType.LANGUAGE, value="python")
    yield Label(name=LabelType.PARENT_SUITE, value="disaster recovery drills")
    if view.scenario:
        yield Label(name=LabelType.SUITE, value=Path(view.scenario).stem)
    if view.text("fault", "name"):
        yield Label(name=LabelType.FEATURE, value=view.text("fault", "name"))
    yield Label(name="verdict", value=str(view.verdict))
    if result is not None and result.standing is not None:
        yield Label(name="standing", value=str(result.standing))
    for control in view.texts("controls"):
        yield Label(name=LabelType.TAG, value=control)
        yield Label(name="control", value=control)
    for part in view.sabotage:
        yield Label(name=LabelType.TAG, value=f"sabotaged: {part}")


def _parameters(view: View) -> Iterator[tuple[str, str]]:
    yield "RTA", bounds(view.rta_s, view.rta_low_s, view.rta_high_s)
    if last := came_back_last(view):
        yield "came back last", last
    yield "RTO", objective(view.rto_s)
    yield "RPA", achieved_point(view)
    yield "RPO", objective(view.rpo_s)


def _description(view: View, result: Result | None) -> str:
    """Render the description, which is Markdown: each paragraph ends with an empty line, or a list would swallow it."""
    parts = [f"{view.verdict}: {escaped(view.why)}"]
    if view.text("runbook"):
        parts.append(f"Runbook: {escaped(view.text('runbook'))}")
    if proofs := view.texts("fault", "proof"):
        parts.append("\n".join(f"- {escaped(fact)}" for fact in proofs))
    parts += [f"Deviation: {escaped(text)}" for text in view.texts("deviations")]
    parts += [f"Relaxed control: {escaped(text)}" for text in view.texts("relaxed_controls")]
    if result is not None and result.missing:
        parts.append(f"Missing from the evidence: {escaped(', '.join(result.missing))}")
    return "\n\n".join(parts)


def _property(value: object) -> str:
    """Write a value as Java's properties are written, in ASCII, for Allure reads them as Latin-1."""
    text = " ".join(clean(value).split()).replace("\\", "\\\\")
    units = text.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    return "".join(chr(code) if code < 0x7F else f"\\u{code:04x}" for code in codes)
