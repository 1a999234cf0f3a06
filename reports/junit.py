"""junit.xml: the run for a CI system's test view. It is a view, no evidence: the records are the evidence.

One testcase a drill, never one an attempt: GitLab takes the first of several testcases with one name, and a failed
drill would show as passed if an earlier entry stood empty (see pytest-rerunfailures #170). Where one run holds
several records of one drill, the worst is the testcase.
- MISSED is a <failure>; INCONCLUSIVE and ENVIRONMENT are an <error>, for nothing was proven about recovery.
- <properties> carry the figures; `[[ATTACHMENT|path]]` in <system-out> is what GitLab and Jenkins' JUnit Attachments
  plugin link to.
"""

import io
import os
from collections.abc import Sequence
from pathlib import Path
from xml.etree import ElementTree as ET

from drills.record import write_atomically
from drills.verdicts import Verdict, worst

from .headline import headline
from .view import Problem, View, read_run
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


def write_junit(run_dir: Path) -> Path:
    """Write junit.xml of a run."""
    views, problems = read_run(run_dir)
    path = run_dir / "junit.xml"
    write_atomically(path, render_junit(views, problems, run_dir.name))
    return path


def render_junit(views: Sequence[View], problems: Sequence[Problem], run: str) -> bytes:
    """Render a run as JUnit XML. Characters that XML cannot hold are left out, whatever text brought them."""
    cases = [_case(view) for view in _one_a_drill(views)] + [_broken(problem) for problem in problems]
    failures = sum(case.find("failure") is not None for case in cases)
    errors = sum(case.find("error") is not None for case in cases)
    time = f"{sum(float(case.get('time', '0')) for case in cases):.3f}"
    counts = {"tests": str(len(cases)), "failures": str(failures), "errors": str(errors), "time": time}
    root = ET.Element("testsuites", {"name": "pytest-drills", **counts})
    suite = ET.SubElement(root, "testsuite", {"name": f"drills {clean(run)}", **counts, "skipped": "0"})
    began = min((view.text("started_utc") for view in views if view.started), default="")
    if began:
        suite.set("timestamp", began)
    _properties(suite, {"run": clean(run), "result": headline(views, problems).line})
    suite.extend(cases)
    ET.indent(root)
    out = io.BytesIO()
    ET.ElementTree(root).write(out, encoding="utf-8", xml_declaration=True)
    return out.getvalue() + b"\n"


def _one_a_drill(views: Sequence[View]) -> list[View]:
    chosen: dict[tuple[str, str], View] = {}
    for view in views:
        name = (view.scenario, view.drill)
        other = chosen.get(name)
        if other is None or worst((view.verdict, other.verdict)) is not other.verdict:
            chosen[name] = view
    return list(chosen.values())


def _case(view: View) -> ET.Element:
    classname = view.scenario.removesuffix(".py").replace("/", ".") or "drills"
    case = ET.Element("testcase", {"classname": classname, "name": view.drill, "time": f"{view.duration_s:.3f}"})
    if view.scenario:
        case.set("file", view.scenario)
    figures = {name: _plain(value) for name, keys in _PROPERTIES.items() if (value := view.figure(*keys)) is not None}
    figures |= {f"writes_{name}": str(count) for name in _WRITES if (count := view.writes(name)) is not None}
    texts = {
        "verdict": str(view.verdict),
        "title": view.title,
        "why": view.why,
        "tier": view.text("tier"),
        "controls": " ".join(view.texts("controls")),
        "sabotage": " ".join(view.sabotage),
    }
    _properties(case, {name: text for name, text in texts.items() if text} | figures)
    if view.verdict is not Verdict.MET:
        tag = "failure" if view.verdict is Verdict.MISSED else "error"
        child = ET.SubElement(case, tag, {"message": " ".join(view.why.split()), "type": str(view.verdict)})
        child.text = "\n".join([view.title, view.why, *view.texts("fault", "proof")])
    if view.place is not None:
        files = [view.place.with_name("timeline.png"), view.place]
        attached = [f"[[ATTACHMENT|{_from_project(path)}]]" for path in files if path.is_file()]
        ET.SubElement(case, "system-out").text = "\n".join(attached)
    return case


def _broken(problem: Problem) -> ET.Element:
    case = ET.Element("testcase", {"classname": "drills", "name": clean(problem.path.parent.name), "time": "0.000"})
    ET.SubElement(case, "error", {"message": clean(problem.found), "type": str(Verdict.INCONCLUSIVE)}).text = clean(
        problem.path
    )
    return case


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
