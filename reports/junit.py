"""junit.xml: the run for a CI system's test view. It is a view, no evidence: the records are the evidence.

- One testcase a drill, never one an attempt (see `results`; pytest-rerunfailures #170 shows what happens otherwise).
- MISSED is a <failure>; INCONCLUSIVE and ENVIRONMENT are an <error>, for nothing was proven about recovery.
- A testsuite a drill, named by it and by nothing of the run: GitLab knows a test case by suite, class and name, and
  compares it with the same one on another branch.
- The suite holds the <properties> with the figures, and the scenario as its `file`: in a testcase the schema of the
  Jenkins xUnit plugin (junit-10) takes neither, and refuses the whole file.
- `[[ATTACHMENT|path]]` in <system-out> is what GitLab and Jenkins' JUnit Attachments plugin link to. GitLab shows the
  first one only, so the timeline comes first.
"""

import os
import re
from pathlib import Path
from xml.etree import ElementTree as ET

from drills.record import write_atomically
from drills.verdicts import Verdict

from .results import Result, Results, read_results
from .series import Series
from .view import Problem, View
from .words import clean

_PROPERTIES = {
    "rta_s": ("achieved", "rta_s"),
    "rta_low_s": ("achieved", "rta_low_s"),
    "rta_high_s": ("achieved", "rta_high_s"),
    "rto_s": ("objective", "rto_s"),
    "rpa_s": ("achieved", "rpa_s"),
    "rpo_s": ("objective", "rpo_s"),
    "downtime_s": ("achieved", "downtime_s"),
}
_WRITES = ("acknowledged", "lost", "corrupted", "duplicated", "resurrected")
_ATTACHED = ("timeline.png", "record.json", "commands.log", "history.jsonl")


def write_junit(run_dir: Path) -> Path:
    """Write junit.xml of a run."""
    path = run_dir / "junit.xml"
    write_atomically(path, render_junit(read_results(run_dir)))
    return path


def render_junit(results: Results) -> bytes:
    """Render a run as JUnit XML. Characters that XML cannot hold are left out, whatever text brought them."""
    standings = ", ".join(f"{number} {standing}" for standing, number in results.standings().items())
    about = {"run": clean(results.run), "result": results.first_line, "run_standing": standings}
    suites = [_suite(result, about) for result in results.drills] + [_broken(each, about) for each in results.problems]
    if not suites:
        suites = [_suite_of([], "drills", about)]
    totals = {name: sum(int(suite.get(name, "0")) for suite in suites) for name in ("tests", "failures", "errors")}
    time = f"{sum(float(suite.get('time', '0')) for suite in suites):.3f}"
    root = ET.Element("testsuites", {"name": "pytest-drills", **{k: str(v) for k, v in totals.items()}, "time": time})
    root.extend(suites)
    ET.indent(root)
    # The verdict on the first line, for whoever opens the file: a comment cannot stand before the declaration, nor hold
    # two hyphens.
    first = re.sub("-(?=-)", "- ", results.first_line)
    head = f'<?xml version="1.0" encoding="utf-8"?><!-- {first} -->\n'
    return f"{head}{ET.tostring(root, encoding='unicode')}\n".encode()


def _suite(result: Result, about: dict[str, str]) -> ET.Element:
    """Make the suite of one drill: its properties, and the one test case."""
    view = result.view
    classname = view.scenario.removesuffix(".py").replace("/", ".") or "drills"
    case = ET.Element("testcase", {"classname": classname, "name": result.name, "time": f"{view.duration_s:.3f}"})
    if result.verdict is not Verdict.MET:
        tag = "failure" if result.verdict is Verdict.MISSED else "error"
        child = ET.SubElement(case, tag, {"message": " ".join(result.why.split()), "type": str(result.verdict)})
        child.text = "\n".join([view.title, result.why, *view.texts("fault", "proof")])
    if view.place is not None:
        files = [view.place.with_name(name) for name in _ATTACHED]
        attached = [f"[[ATTACHMENT|{_from_project(path)}]]" for path in files if path.is_file()]
        ET.SubElement(case, "system-out").text = "\n".join(attached)
    suite = _suite_of([case], result.name, about | _facts(result) | _figures(view))
    if view.started:
        suite.set("timestamp", view.text("started_utc"))
    if view.scenario:
        suite.set("file", view.scenario)
    return suite


def _suite_of(cases: list[ET.Element], name: str, properties: dict[str, str]) -> ET.Element:
    counts = {
        "tests": str(len(cases)),
        "failures": str(sum(case.find("failure") is not None for case in cases)),
        "errors": str(sum(case.find("error") is not None for case in cases)),
        "skipped": "0",
        "time": f"{sum(float(case.get('time', '0')) for case in cases):.3f}",
    }
    suite = ET.Element("testsuite", {"name": name, **counts})
    _properties(suite, {name: text for name, text in properties.items() if text})
    suite.extend(cases)
    return suite


def _facts(result: Result) -> dict[str, str]:
    view = result.view
    texts = {
        "verdict": str(view.verdict),
        "standing": str(result.standing or ""),
        "missing": " ".join(result.missing),
        "attempts": str(result.attempts) if result.attempts > 1 and not result.series else "",
        **_repeats(result.series),
        "title": view.title,
        "why": view.why,
        "tier": view.text("tier"),
        "environment": view.text("environment", "kind"),
        "runbook": view.text("runbook"),
        "controls": ", ".join(view.texts("controls")),
        "deviations": "; ".join(view.texts("deviations")),
        "relaxed_controls": "; ".join(view.texts("relaxed_controls")),
        "sabotage": " ".join(view.sabotage),
    }
    return {name: clean(text) for name, text in texts.items() if text}


def _repeats(series: Series | None) -> dict[str, str]:
    if series is None:
        return {}
    figures = {
        f"{name}_{which}_s": getattr(figure, which)
        for name, figure in (("rta", series.found.rta_s), ("rpa", series.found.rpa_s))
        for which in ("p50", "p95", "worst")
    }
    return {"repeats": series.counted} | {name: _plain(value) for name, value in figures.items() if value is not None}


def _figures(view: View) -> dict[str, str]:
    figures = {name: _plain(value) for name, keys in _PROPERTIES.items() if (value := view.figure(*keys)) is not None}
    if view.rpa_at_least:
        figures["rpa_at_least"] = "true"  # rpa_s is a lower bound
    return figures | {f"writes_{name}": str(count) for name in _WRITES if (count := view.writes(name)) is not None}


def _broken(problem: Problem, about: dict[str, str]) -> ET.Element:
    name = clean(problem.path.parent.name)
    case = ET.Element("testcase", {"classname": "drills", "name": name, "time": "0.000"})
    ET.SubElement(case, "error", {"message": clean(problem.found), "type": str(Verdict.INCONCLUSIVE)}).text = clean(
        _from_project(problem.path)
    )
    return _suite_of([case], name, about)


def _properties(parent: ET.Element, values: dict[str, str]) -> None:
    properties = ET.SubElement(parent, "properties")
    for name, value in values.items():
        ET.SubElement(properties, "property", {"name": name, "value": value})


def _plain(value: float) -> str:
    """Write a number to the microsecond and without an exponent, which not every CI system's reader knows."""
    return f"{value:.6f}".rstrip("0").rstrip(".")


def _from_project(path: Path) -> str:
    """Name a file as GitLab looks for it: from the project's directory, where its artifacts are collected."""
    base = Path(os.environ.get("CI_PROJECT_DIR") or Path.cwd()).resolve()
    full = path.resolve()
    return clean(full.relative_to(base) if full.is_relative_to(base) else full)
