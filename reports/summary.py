"""summary.md: the run as Markdown for the summary page of a CI job, where GitHub Actions shows it.

GitHub drops a summary of more than 1 MiB whole, and says so to nobody but the log's reader. So this one stays below
900 KiB, a step's earlier output included: rows and sections are left out from the end, where the drills stand that met
their objectives, and the text says below its first line how many.
"""

import html
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from drills import twins
from drills.record import write_atomically
from drills.verdicts import Verdict

from .cells import point_beside_objective, time_beside_objective
from .changes import left_out_of
from .palette import VERDICT_SIGN
from .results import Result, Results, read_results
from .view import Problem, Step
from .words import NOT_MEASURED, line, seconds

LIMIT = 900 * 1024
"""The most bytes that a summary may have: GitHub takes 1 MiB."""

_NOTICE = 512
"""Bytes kept free for the sentence that says what was left out."""

_TEXT = 2000
"""Characters of one text: a reason can hold a whole stack trace."""

_WORSE = 10
"""So many figures that were worse than usual are named."""

_MARKUP = re.compile(r"[\\`*\[\]<>|~&]|(?<!\w)_|_(?!\w)")

_HEADER = (
    "\n| Verdict | Drill | RTA / RTO | RPA / RPO | Writes lost | Evidence |\n"
    "| --- | --- | --- | --- | ---: | --- |\n"
)  # fmt: skip


def write_summary(run_dir: Path, evidence_dir: Path | None = None) -> Path:
    """Write summary.md of a run; with `evidence_dir` it says what was worse than in the runs before."""
    path = run_dir / "summary.md"
    write_atomically(path, render_summary(read_results(run_dir, evidence_dir)))
    return path


def publish_summary(results: Results, environment: Mapping[str, str] = os.environ) -> Path | None:
    """Append the summary to the CI job's own page, where `GITHUB_STEP_SUMMARY` names the file for it.

    What the step has written there before counts against the limit. Returns that file, or None outside GitHub Actions.

    Raises:
        OSError: the file cannot be written to.

    """
    named = environment.get("GITHUB_STEP_SUMMARY")
    if not named:
        return None
    page = Path(named)
    before = page.read_bytes() if page.exists() else b""
    gap = "\n\n" if before else ""
    text = gap + render_summary(results, LIMIT - len(before) - len(gap))
    with page.open("a", encoding="utf-8") as file:
        file.write(text)
    return page


def render_summary(results: Results, limit: int = LIMIT) -> str:
    """Render a run as Markdown of at most `limit` bytes; its first lines stay even where there is no room for them.

    The first line says MISSED when one drill missed; the drills follow, the worst first.
    """
    head = [f"# {VERDICT_SIGN[results.verdict]} {escaped(results.first_line)}\n", *_about(results)]
    ordered = results.worst_first
    missed = [each for each in ordered if each.verdict is Verdict.MISSED]
    rows = [*map(_row, missed), *map(_problem, results.problems), *map(_row, ordered[len(missed) :])]
    open_, folded = ([_section(each) for each in ordered if _met(each) is met] for met in (False, True))
    room = limit - _NOTICE - sum(map(_size, head))
    details = _fitting(open_, room // 2)  # why a drill missed is worth more than a long list of those that met
    room -= sum(map(_size, details))
    table = _fitting([_HEADER, *rows], room) if rows else []
    room -= sum(map(_size, table))
    if len(details) == len(open_) and len(table) > len(rows):
        details += _fitting(folded, room)
    notice = _cut(max(len(table) - 1, 0), len(rows), len(details), len(ordered))
    return "".join([head[0], notice, *head[1:], *table, *details])


def escaped(text: object) -> str:
    """Make a text harmless in Markdown: no markup, no HTML, one line, and not endless."""
    return _MARKUP.sub(r"\\\g<0>", _line(text))


def _line(text: object) -> str:
    return " ".join(line(text, _TEXT).split())


def _code(text: str) -> str:
    return f"`{_line(text).replace('`', chr(39)).replace('|', '/')}`" if text else ""


def _about(results: Results) -> Iterator[str]:
    if results.headline.remark:
        yield f"\n**{escaped(results.headline.remark)}**\n"
    for worse in results.worse[:_WORSE]:
        yield f"\n**Worse than usual:** {escaped(worse)}\n"
    if len(results.worse) > _WORSE:
        yield f"\n{len(results.worse) - _WORSE} more were worse than usual; `drills trend` names them.\n"
    left_out = left_out_of(results.about)
    for told in left_out[:_WORSE]:
        yield f"\n**Not run, time budget spent:** {escaped(told)}\n"
    if len(left_out) > _WORSE:
        yield f"\n{len(left_out) - _WORSE} more were not run; run.json names them.\n"
    for series in results.repeated[:_WORSE]:
        yield f"\n**Repeats:** {escaped(series.words)}. {series.caution}\n"
    facts = [f"Run {_code(results.run)}"]
    commit = str(results.about.get("commit") or "")
    if commit:
        changed = " with uncommitted changes" if results.about.get("uncommitted_changes") else ""
        facts.append(f"commit {_code(commit[:12])}{changed}")
    elif "commit" in results.about:
        facts.append("commit unknown")
    if results.about.get("why"):
        facts.append(f"reason: {escaped(results.about['why'])}")
    counted = ", ".join(f"{number} {standing}" for standing, number in results.standings().items())
    if counted:
        facts.append(f"evidence: {counted}")
    yield f"\n{' · '.join(facts)}\n"


def _row(result: Result) -> str:
    view = result.view
    lost, acknowledged = view.writes("lost"), view.writes("acknowledged")
    kind = "repeats" if result.series else "attempts"
    worst_of = f" (the worst of {result.attempts} {kind})" if result.attempts > 1 else ""
    cells = [
        f"{VERDICT_SIGN[result.verdict]} {view.verdict}",
        _code(view.drill) + _sabotaged(result) + worst_of,
        time_beside_objective(view),
        point_beside_objective(view),
        NOT_MEASURED if lost is None or acknowledged is None else f"{lost} of {acknowledged}",
        _evidence(result),
    ]
    return f"| {' | '.join(cells)} |\n"


def _sabotaged(result: Result) -> str:
    if not result.view.sabotage:
        return ""
    return f" (without {twins.told(result.view.sabotage)})" if result.with_twins else " (sabotaged)"


def _problem(problem: Problem) -> str:
    name, verdict = _code(problem.path.parent.name), Verdict.INCONCLUSIVE
    nothing = " | ".join([NOT_MEASURED] * 3)
    return f"| {VERDICT_SIGN[verdict]} {verdict} | {name} | {nothing} | {escaped(problem.found)} |\n"


def _evidence(result: Result) -> str:
    if result.standing is None:
        return "not of the schema"
    gaps = len(result.missing)
    return f"{result.standing}, {gaps} field{'' if gaps == 1 else 's'} missing" if gaps else str(result.standing)


def _met(result: Result) -> bool:
    return result.verdict is Verdict.MET


def _section(result: Result) -> str:
    """Tell of one drill: open to read where it did not meet its objectives, folded where it did."""
    view = result.view
    title = f"{VERDICT_SIGN[result.verdict]} {view.verdict}:"
    body = "".join(_details(result))
    if _met(result):
        # GitHub reads no Markdown on a line of HTML.
        return f"\n<details><summary>{title} {html.escape(_line(view.title))}</summary>\n{body}\n</details>\n"
    return f"\n## {title} {escaped(view.title)}\n{body}"


def _details(result: Result) -> Iterator[str]:
    view = result.view
    if result.why:
        yield f"\n**Why:** {escaped(result.why)}\n"
    fault = view.text("fault", "name")
    facts = [
        ("Scenario", _code(view.scenario)),
        ("Runbook", _code(view.text("runbook"))),
        ("Fault", escaped(f"{fault} on {view.text('fault', 'target')}") if fault else ""),
        ("Proof of the damage", _joined(view.texts("fault", "proof"))),
        ("Objective source", escaped(view.text("objective", "source"))),
        ("Controls", escaped(", ".join(view.texts("controls")))),
        ("Deviations", _joined(view.texts("deviations"))),
        ("Relaxed controls", _joined(view.texts("relaxed_controls"))),
        ("Missing from the evidence", ", ".join(map(_code, result.missing))),
    ]
    yield "\n" + "".join(f"- {name}: {text}\n" for name, text in facts if text)
    failed = [check for check in view.checks if not check.ok]
    if failed:
        yield "\nChecks that failed:\n\n"
        for check in failed:
            yield f"- {escaped(check.name)}: expected {escaped(check.expected)}, got {escaped(check.got)}\n"
    yield from _steps(view.steps)


def _joined(texts: Sequence[str]) -> str:
    return "; ".join(map(escaped, texts))


def _steps(steps: Sequence[Step]) -> Iterator[str]:
    if not steps:
        return
    yield "\n| Step | By | Began | Took |\n| --- | --- | ---: | ---: |\n"
    for step in steps:
        took = seconds(step.took_s, "never ended") + (" (failed)" if step.state == "failed" else "")
        yield f"| {escaped(step.name)} | {escaped(step.by)} | {seconds(step.started_s)} | {took} |\n"


def _fitting(parts: Sequence[str], room: int) -> list[str]:
    """Take the first parts that fit together into so many bytes."""
    taken: list[str] = []
    for part in parts:
        room -= _size(part)
        if room < 0:
            break
        taken.append(part)
    return taken


def _cut(rows: int, all_rows: int, sections: int, all_sections: int) -> str:
    if rows == all_rows and sections == all_sections:
        return ""
    return (
        f"\n**Cut to fit: {rows:,} of {all_rows:,} drills are in the table, {sections:,} of {all_sections:,} are told "
        "in detail. The worst come first; report.html and junit.xml of the run have all of them.**\n"
    )


def _size(text: str) -> int:
    return len(text.encode())
