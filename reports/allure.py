"""allure-results: the run for an Allure report, a step a phase and within them a step a procedure step.

Written after the drill from its record, through Allure's own model and file writer, because only the record knows the
true times: a step opened while the test ran would show when Python noticed, not when the service came back. The files
go to `<run>/allure-results`, away from those that pytest's `--alluredir` collects, so that neither shows a drill
twice.

An INCONCLUSIVE or ENVIRONMENT drill is `broken` (Allure's word for "the test did not get to judge"), a MISSED one
`failed`.
"""

import hashlib
import json
from collections.abc import Iterator
from datetime import datetime
from itertools import pairwise
from pathlib import Path
from uuid import NAMESPACE_URL, uuid4, uuid5

from allure_commons.logger import AllureFileLogger
from allure_commons.model2 import Attachment, Label, Parameter, Status, StatusDetails, TestResult, TestStepResult
from allure_commons.types import AttachmentType, LabelType, Severity

from drills.verdicts import Verdict

from .timeline import PHASE_WORDS
from .view import Phase, Step, View, instant, read_run
from .words import bounds, clean, objective, seconds

STATUS = {
    Verdict.MET: Status.PASSED,
    Verdict.MISSED: Status.FAILED,
    Verdict.INCONCLUSIVE: Status.BROKEN,
    Verdict.ENVIRONMENT: Status.BROKEN,
}

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


def write_allure(run_dir: Path) -> Path:
    """Write a run's allure-results in place of those of an earlier report of it; returns their directory."""
    folder = run_dir / "allure-results"
    views, problems = read_run(run_dir)
    logger = AllureFileLogger(str(folder), clean=True)  # type: ignore[no-untyped-call]
    for view in views:
        logger.report_result(_result(view, logger))  # type: ignore[no-untyped-call]
    for problem in problems:
        name = problem.path.parent.name
        details = StatusDetails(message=problem.found)
        broken = TestResult(
            uuid=str(uuid4()), name=name, fullName=name, status=Status.BROKEN, statusDetails=details, stage="finished"
        )
        logger.report_result(broken)  # type: ignore[no-untyped-call]
    about = run_dir / "run.json"
    if about.is_file():
        (folder / "environment.properties").write_text(_environment(about), encoding="utf-8")
    return folder


def _result(view: View, logger: AllureFileLogger) -> TestResult:
    full_name = f"{view.scenario}#{view.drill}" if view.scenario else view.drill
    identity = hashlib.md5(full_name.encode(), usedforsecurity=False).hexdigest()  # what Allure's own plugins use
    start, stop = _window(view)
    result = TestResult(
        uuid=str(uuid5(NAMESPACE_URL, f"{view.run}/{view.place or full_name}")),
        historyId=identity,
        testCaseId=identity,
        fullName=full_name,
        name=view.title,
        description=_description(view),
        status=STATUS[view.verdict],
        stage="finished",
        start=start,
        stop=stop,
        labels=list(_labels(view)),
        parameters=[Parameter(name=name, value=value) for name, value in _parameters(view)],
        steps=list(_phase_steps(view, stop)),
        titlePath=[part for part in view.scenario.split("/") if part],
    )
    if view.verdict is not Verdict.MET:
        result.statusDetails = StatusDetails(message=view.why, trace="\n".join(view.texts("notes")) or None)
    if view.place is not None:
        for file_name, kind in _FILES:
            path = view.place.with_name(file_name)
            if path.is_file():
                source = f"{uuid4()}-attachment.{kind.extension}"
                logger.report_attached_file(str(path), source)  # type: ignore[no-untyped-call]
                result.attachments.append(Attachment(name=file_name, source=source, type=kind.mime_type))
    return result


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


def _labels(view: View) -> Iterator[Label]:
    yield Label(name=LabelType.SEVERITY, value=SEVERITY.get(view.text("tier").lower(), Severity.NORMAL).value)
    yield Label(name=LabelType.FRAMEWORK, value="pytest-drills")
    yield Label(name=LabelType.LANGUAGE, value="python")
    yield Label(name=LabelType.PARENT_SUITE, value="disaster recovery drills")
    if view.scenario:
        yield Label(name=LabelType.SUITE, value=Path(view.scenario).stem)
    if view.text("fault", "name"):
        yield Label(name=LabelType.FEATURE, value=view.text("fault", "name"))
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


def _description(view: View) -> str:
    lines = [view.why, f"Runbook: {view.text('runbook')}" if view.text("runbook") else ""]
    lines += [f"- {fact}" for fact in view.texts("fault", "proof")]
    return "\n".join(line for line in lines if line)


def _environment(about: Path) -> str:
    """Give the few facts that Allure shows beside its summary; a run.json that cannot be read gives none."""
    try:
        facts = json.loads(about.read_bytes())
    except ValueError:
        return ""
    wanted = ("run", "host", "platform", "python", "commit")
    return "".join(f"{name}={clean(facts[name])}\n" for name in wanted if isinstance(facts, dict) and facts.get(name))


def _ms(stamp: datetime) -> int:
    return round(stamp.timestamp() * 1000)
