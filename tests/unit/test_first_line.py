"""A missed objective is the first thing that every output says; and no output says it of a run that met everything."""

import json
import re
import shutil
from dataclasses import dataclass
from html.parser import HTMLParser
from pathlib import Path

import pypdf
import pytest
import typer
from drills.reports import commands
from drills.reports.annotations import annotations
from drills.reports.controls import catalogue
from drills.reports.frame import read_evidence
from drills.reports.results import read_results
from drills.reports.terminal import closing_table
from drills.reports.trend import draw_trend
from drills.reports.writing import write_reports
from typer.testing import CliRunner

from drills import keys, seal, seal_commands, signoff_commands

from .samples import Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT)
OPEN = Story(**SHORT, name="open", proved=False)
MISSED = Story(**SHORT, name="late", rto_s=1.0)

app = typer.Typer()
for each in (commands, signoff_commands, seal_commands):
    each.register(app)


@dataclass(frozen=True)
class Case:
    """A sealed run with all its reports, which missed an objective or met all of them."""

    run: Path
    keys: Path
    missed: bool

    def drills(self, *arguments: object) -> str:
        """The first line that a command prints."""
        said = CliRunner().invoke(app, [str(argument) for argument in arguments], catch_exceptions=False)
        return next(line for line in said.output.splitlines() if line.strip())


@pytest.fixture(scope="module", params=[True, False], ids=["missed", "met"])
def case(request, tmp_path_factory):
    evidence = tmp_path_factory.mktemp("evidence")
    # Neither the first nor the last, and beside one that proved nothing: a miss outranks both.
    run = write_run(evidence, *((MET, MISSED, OPEN) if request.param else (MET,)))
    write_reports(run, evidence)
    place = keys.make(tmp_path_factory.mktemp("given") / "keys")
    seal.seal(run, evidence, seal.Options(keys=place))
    return Case(run, place, request.param)


class Texts(HTMLParser):
    def __init__(self, page: str) -> None:
        super().__init__()
        self.found, self.within = [], []
        self.feed(page)

    def handle_starttag(self, tag, _):
        self.within.append(tag)

    def handle_endtag(self, tag):
        while self.within and self.within.pop() != tag:
            pass

    def handle_data(self, data):
        if data.strip() and "style" not in self.within:
            self.found.append((self.within[-1] if self.within else "", data.strip()))


def seen(page: Path) -> str:
    """What a page's first heading says, which is also the first text that it shows."""
    texts = Texts(page.read_text(encoding="utf-8")).found
    shown = [(tag, text) for tag, text in texts if tag != "title"]
    assert shown[0][0] in ("span", "b", "h1"), shown[0]
    return f"{shown[0][1]} {shown[1][1]}"


def line(path: Path) -> str:
    return path.read_text(encoding="utf-8").splitlines()[0]


def auditors_page(case: Case, framework: str, tmp_path: Path) -> Path:
    case.drills("controls", framework, "--evidence-dir", case.run.parent, "--out", tmp_path)
    return tmp_path / f"{framework}.html"


def top_of_trend(case: Case) -> str:
    """The text that is highest in the picture."""
    picture = draw_trend(read_evidence(case.run.parent).honest(), first_line=True)
    return max(picture.texts, key=lambda text: text.get_position()[1]).get_text()


def oscal(case: Case, tmp_path: Path) -> str:
    pytest.importorskip("trestle")
    case.drills("oscal", case.run, "--out", tmp_path / "oscal.json")
    return json.loads((tmp_path / "oscal.json").read_text())["assessment-results"]["metadata"]["title"]


def unsealed(case: Case, tmp_path: Path) -> Path:
    """A copy that may be signed off without changing the run of the other tests."""
    return shutil.copytree(case.run.parent, tmp_path / "copy", symlinks=True) / case.run.name


OUTPUTS = {
    "report.html": lambda case, _: seen(case.run / "report.html"),
    "the title of report.html": lambda case, _: Texts((case.run / "report.html").read_text()).found[0][1],
    "coverage.html": lambda case, _: seen(case.run / "coverage.html"),
    "report.pdf": lambda case, _: pypdf.PdfReader(case.run / "report.pdf").pages[0].extract_text().splitlines()[0],
    "the title of report.pdf": lambda case, _: pypdf.PdfReader(case.run / "report.pdf").metadata.title,
    "summary.md": lambda case, _: line(case.run / "summary.md"),
    "junit.xml": lambda case, _: line(case.run / "junit.xml"),
    "metrics.prom": lambda case, _: line(case.run / "metrics.prom"),
    "environment.properties": lambda case, _: line(case.run / "allure-results/environment.properties"),
    "executor.json": lambda case, _: json.loads((case.run / "allure-results/executor.json").read_text())["reportName"],
    "allurerc.json": lambda case, _: line(case.run / "allurerc.json"),
    "annotations": lambda case, _: annotations(read_results(case.run), case.run, {"GITHUB_ACTIONS": "true"})[0],
    "the closing table": lambda case, _: closing_table(case.run, read_results(case.run), terminal=False),
    "trend.png": lambda case, _: (
        draw_trend(read_evidence(case.run.parent).honest(), first_line=True).texts[0].get_text()
    ),
    "VERIFY.md": lambda case, _: line(case.run / "VERIFY.md"),
    "oscal.json": oscal,
    **{
        f"the auditor's page {each.id}": lambda case, tmp_path, each=each: seen(auditors_page(case, each.id, tmp_path))
        for each in catalogue()
    },
    **{
        f"drills {name}": lambda case, tmp_path, name=name: case.drills(
            name, "--evidence-dir", case.run.parent, *(() if name == "maturity" else ("--out", tmp_path / "out"))
        )
        for name in ("trend", "coverage", "maturity", "controls")
    },
    "drills report": lambda case, tmp_path: case.drills("report", case.run, "--out", tmp_path / "again"),
    "drills oscal": lambda case, tmp_path: case.drills("oscal", case.run, "--out", tmp_path / "oscal.json"),
    "drills validate": lambda case, _: case.drills("validate", case.run),
    "drills verify": lambda case, _: case.drills("verify", case.run, "--keys", case.keys),
    "drills verify, all runs": lambda case, _: case.drills("verify", case.run.parent, "--keys", case.keys),
    "drills sign-off": lambda case, tmp_path: case.drills(
        "sign-off", unsealed(case, tmp_path), "--by", "Ana Ito", "--role", "reviewer"
    ),
}


@pytest.mark.parametrize("output", OUTPUTS.values(), ids=OUTPUTS)
def test_the_first_line_says_whether_an_objective_was_missed(case, output, tmp_path):
    first = " ".join(output(case, tmp_path).split("\n")[0].split())
    said = re.search(r"\b(missed|met)\b", first, re.IGNORECASE)
    assert said, first
    assert said[1].lower() == ("missed" if case.missed else "met"), first


def test_the_incident_report_says_it_first(case):
    drafts = {path.parent.name: line(path) for path in case.run.glob("*/incident.md")}
    assert drafts.keys() == ({MISSED.name} if case.missed else set())
    assert all(first.startswith("# Missed: ") for first in drafts.values())


def test_every_file_that_people_read_is_looked_at(case):
    """A report that is added to a run must be added above, too."""
    known = {name.rpartition(" ")[2] for name in OUTPUTS} | {"incident.md"}
    evidence = {
        "run.json",
        "record.json",
        "history.jsonl",
        "commands.log",
        "timeline.png",
        "manifest.json",
        "verify.sh",
    }
    written = {path.name for path in [*case.run.iterdir(), *case.run.glob("*/*.*")] if path.is_file()}
    views = {name for name in written if not name.endswith((".dsse.json", ".sigstore.json", "-result.json"))}
    in_parts = {path.name for path in [*(case.run / "seal").iterdir(), *(case.run / "allure-results").iterdir()]}
    assert views - evidence - known - in_parts == set()
