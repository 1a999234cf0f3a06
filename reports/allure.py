"""allure-results: the run for an Allure report, a step a phase and within them a step a procedure step.

Written after the drill from its record, through Allure's own model and file writer, because only the record knows the
true times: a step opened while the test ran would show when Python noticed, not when the service came back. The files
go to `<run>/allure-results`, away from those that pytest's `--alluredir` collects, so that neither shows a drill
twice.

An INCONCLUSIVE or ENVIRONMENT drill is `broken` (Allure's word for "the test did not get to judge"), a MISSED one
`failed`. Allure shows the last of several results with one history id, and calls the others retries: so a further
attempt at a drill, and a sabotaged drill, have a history id of their own, and hide no other.
"""

import hashlib
import json
from collections.abc import Iterator, Mapping
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from uuid import NAMESPACE_URL, uuid5

from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Attachment, Label, Parameter, Status, StatusDetails, TestResult, TestStepResult
from allure_commons.types import AttachmentType, LabelType, Severity

from drills.record import write_atomically
from drills.verdicts import Verdict

from .allure_history import CATEGORIES, STATUS, category, write_history
from .results import Result, Results, read_results
from .timeline import PHASE_WORDS
from .view import Phase, Problem, Step, View, instant
from .words import bounds, clean, objective, seconds

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
    return folder


def render_environment(results: Results) -> str:
    """Render environment.properties, which Allure shows beside its summary; the first line holds the verdict."""
    about = results.about
    engine = about.get("engine")
    packages = about.get("packages")
    facts = {
        "result": results.first_line,
        "run": results.run,
        "held.because": about.get("why"),
        "held.on": ", ".join(sorted({view.text("environment", "kind") for view in results.views} - {""})),
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
    told = [{"name": each.name, "matchedStatuses": [each.status], "messageRegex": each.pattern} for each in CATEGORIES]
    return json.dumps(told, indent=2) + "\n"


def _result(view: View, result: Result | None, logger: AllureFileLogger) -> TestResult:
    """Make one record's result; `result` is None for a further attempt at a drill."""
    full_name = f"{view.scenario}#{view.drill}" if view.scenario else view.drill
    place = view.place.parent.name if view.place else view.drill
    further = f"repeat {view.repeat[0]}" if view.repeat else f"attempt {place}"
    marks = [*([further] if result is None else []), *(["sabotaged"] if view.sabotage else [])]
    identity = hashlib.md5(" ".join([full_name, *marks]).encode(), usedforsecurity=False).hexdigest()
    start, stop = _window(view)
    made = TestResult(
        uuid=str(uuid5(NAMESPACE_URL, f"{view.run}/{place}")),
        historyId=identity,
        testCaseId=identity,
        fullName=full_name,
        name=f"{view.title} ({', '.join(marks)})" if marks else view.title,
        description=_description(view, result),
        status=STATUS[view.verdict],
        stage="finished",
        start=start,
        stop=stop,
        labels=list(_labels(view, result)),
        # Left out of what Allure 3 knows a test by: it would be another one after every run.
        parameters=[Parameter(name=name, value=value, excluded=True) for name, value in _parameters(view)],
        steps=list(_phase_steps(view, stop)),
        titlePath=[part for part in view.scenario.split("/") if part],
    )
    way = category(view)
    if way is not None:
        message = f"{way.key}: {view.why}"
        made.statusDetails = StatusDetails(message=message, trace="\n".join(view.texts("notes")) or None)
    if view.place is not None:
        for file_name, kind in _FILES:
            path = view.place.with_name(file_name)
            if path.is_file():
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


def _window(view: View) -> tuple[int, int]:
    """Give begin and end in milliseconds since 1970.

    The end is the begin plus the monotonic duration, so that a stepped clock bends nothing.
    """
    start = _ms(view.started) if view.started else 0
    return start, start + round(view.duration_s * 1000)


def _phase_steps(view: View, stop: int) -> Iterator[TestStepResult]:
    """Give a step a phase; the procedure's steps stand in the phase in which they began."""
    phases = [phase for phase in view.phases if phase.name != "ended"]
    if not phases:
        return
    zero = _zero(phases[0])
    last = view.phases[-1]
    ends = [following.t_s for _, following in pairwise(phases)] + [max(last.t_s, phases[-1].t_s)]
    for index, (phase, end_s) in enumerate(zip(phases, ends, strict=True)):
        is_last = index == len(phases) - 1
        failed = is_last and view.verdict is not Verdict.MET
        inside = [step for step in view.steps if _belongs(step, phase.t_s, None if is_last else end_s)]
        yield TestStepResult(
            name=PHASE_WORDS.get(phase.name, phase.name),
            status=STATUS[view.verdict] if failed else Status.PASSED,
            stage="finished",
            start=zero + round(phase.t_s * 1000),
            stop=min(zero + round(end_s * 1000), stop) if is_last and stop else zero + round(end_s * 1000),
            steps=[_procedure_step(step, zero, end_s) for step in inside],
        )


def _belongs(step: Step, start_s: float, end_s: float | None) -> bool:
    return step.started_s is not None and start_s <= step.started_s and (end_s is None or step.started_s < end_s)


def _procedure_step(step: Step, zero: int, otherwise_s: float) -> TestStepResult:
    parameters = [Parameter(name="done by", value=step.by)]
    if step.command:
        parameters.append(Parameter(name="command", value=step.command))
    started_s = step.started_s or 0.0
    ended_s = max(otherwise_s, started_s) if step.ended_s is None else step.ended_s
    done = step.ended_s is not None and step.state != "failed"
    return TestStepResult(
        name=step.name,
        status=Status.PASSED if done else Status.FAILED,
        stage="finished",
        start=zero + round(started_s * 1000),
        stop=zero + round(ended_s * 1000),
        parameters=parameters,
    )


def _zero(first: Phase) -> int:
    """Give the fault's instant in milliseconds since 1970, from the first phase's stamp and its monotonic distance."""
    stamp = instant(first.utc)
    return round((_ms(stamp) if stamp else 0) - first.t_s * 1000)


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
    yield "RTO", objective(view.rto_s)
    yield "RPA", seconds(view.rpa_s)
    yield "RPO", objective(view.rpo_s)


def _description(view: View, result: Result | None) -> str:
    lines = [f"{view.verdict}: {view.why}", f"Runbook: {view.text('runbook')}" if view.text("runbook") else ""]
    lines += [f"- {fact}" for fact in view.texts("fault", "proof")]
    lines += [f"Deviation: {text}" for text in view.texts("deviations")]
    lines += [f"Relaxed control: {text}" for text in view.texts("relaxed_controls")]
    if result is not None and result.missing:
        lines.append(f"Missing from the evidence: {', '.join(result.missing)}")
    return "\n".join(line for line in lines if line)


def _property(value: object) -> str:
    """Write a value as Java's properties are written, in ASCII, for Allure reads them as Latin-1."""
    text = " ".join(clean(value).split()).replace("\\", "\\\\")
    units = text.encode("utf-16-be")
    codes = [int.from_bytes(units[at : at + 2]) for at in range(0, len(units), 2)]
    return "".join(chr(code) if code < 0x7F else f"\\u{code:04x}" for code in codes)


def _ms(stamp: datetime) -> int:
    return round(stamp.timestamp() * 1000)
