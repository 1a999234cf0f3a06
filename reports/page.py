"""report.html: one file that holds everything, opens anywhere, and fetches nothing.

Pictures stand in it as SVG in the page's own colours (light, dark and paper); each is drawn twice, for a desk and for a
telephone. A content security policy inside the page forbids every fetch, should a record ever smuggle an address in.

Text is set in the reader's own fonts, Japanese ones before Chinese ones. Where a reader's machine has no font for a
script, that machine shows its own placeholder; the pictures hold letters as outlines and need no font (see
`picture`).
"""

import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from drills.errors import UsageError
from drills.history import Event, History
from drills.record import write_atomically

from . import words
from .headline import headline
from .palette import DARK, LIGHT, VERDICT_ROLE, VERDICT_SIGN, VERDICT_WORD, roles
from .picture import inline_svg
from .timeline import draw_timeline
from .trend import draw_trend
from .view import Problem, View, read_run
from .waterfall import draw_waterfall

TEMPLATES = Path(__file__).parent / "templates"
_LATEST_RUNS = 60  # a page's trend shows this many newest runs of each drill; trend.png shows all


@dataclass(frozen=True)
class Picture:
    """One picture in two widths, as SVG elements."""

    wide: Markup
    narrow: Markup


@dataclass(frozen=True)
class Section:
    """What the page shows of one drill."""

    anchor: str
    view: View
    timeline: Picture | None
    waterfall: Picture | None
    trouble: str


def write_page(run_dir: Path, trend: pd.DataFrame | None = None) -> Path:
    """Write report.html of a run; of `trend`, the rows of `Evidence.honest`, it shows its own drills' newest."""
    views, problems = read_run(run_dir)
    path = run_dir / "report.html"
    write_atomically(path, render_page(views, problems, read_about(run_dir), run_dir.name, trend))
    return path


def read_about(run_dir: Path) -> Mapping[str, object]:
    """Read run.json; what is absent or broken comes back as a note that says so."""
    try:
        about = json.loads((run_dir / "run.json").read_bytes())
    except (OSError, ValueError) as problem:
        return {"run.json": f"could not be read: {problem}"}
    return about if isinstance(about, dict) else {"run.json": f"a {type(about).__name__} found; accepted: an object"}


def render_page(
    views: Sequence[View],
    problems: Sequence[Problem],
    about: Mapping[str, object],
    run: str,
    trend: pd.DataFrame | None = None,
) -> str:
    """Render the page of one run as HTML text."""
    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["seconds"] = words.seconds
    environment.filters["objective"] = words.objective
    environment.filters["breakable"] = _breakable
    return environment.get_template("report.html.j2").render(
        headline=headline(views, problems),
        sections=[_section(index, view) for index, view in enumerate(views, 1)],
        problems=problems,
        trend=_trend(views, trend),
        about=flat(about),
        run=run,
        light=roles(LIGHT),
        dark=roles(DARK),
        role=VERDICT_ROLE,
        sign=VERDICT_SIGN,
        word=VERDICT_WORD,
        bounds=words.bounds,
        flat=flat,
    )


def flat(value: object, name: str = "") -> list[tuple[str, str]]:
    """Lay nested facts out as (name, text) pairs, `packages: pytest`; a list of plain values stands on one line."""
    if isinstance(value, Mapping):
        return [pair for key, inner in value.items() for pair in flat(inner, _named(name, str(key)))]
    if isinstance(value, list) and any(isinstance(item, Mapping | list) for item in value):
        return [pair for number, inner in enumerate(value, 1) for pair in flat(inner, _named(name, str(number)))]
    if isinstance(value, list):
        value = " ".join(str(item) for item in value)
    if value is None or value == "":
        return []
    text = ("yes" if value else "no") if isinstance(value, bool) else str(value)
    return [(words.clean(name), words.clean(text))]


def _named(outer: str, inner: str) -> str:
    readable = inner.replace("_", " ")
    return f"{outer}: {readable}" if outer else readable


def load_events(view: View) -> list[Event]:
    """Load the history beside a record.

    Raises UsageError when there is none or it cannot be read.
    """
    if view.place is None:
        raise UsageError("history: found a record without a place; accepted: one read from a run's directory")
    return History.load(view.place.with_name("history.jsonl")).events()


def _breakable(name: str) -> Markup:
    """Let a long name break behind its underscores, dots and slashes instead of within a word."""
    return Markup(re.sub(r"([_./-])", r"\1<wbr>", str(escape(name))))  # noqa: S704 - escaped the line before


def _section(index: int, view: View) -> Section:
    anchor = f"drill-{index}"
    try:
        events = load_events(view)
    except UsageError as problem:
        return Section(anchor, view, None, _waterfall(anchor, view), words.clean(problem))
    label = f"Timeline of {view.drill}: {view.why}"
    timeline = Picture(
        Markup(inline_svg(draw_timeline(view, events, titled=False), f"{anchor}-timeline", label)),  # noqa: S704 - ours
        Markup(  # noqa: S704 - drawn by us; every text in it is an outline or escaped by inline_svg
            inline_svg(draw_timeline(view, events, narrow=True, titled=False), f"{anchor}-timeline-narrow", label)
        ),
    )
    return Section(anchor, view, timeline, _waterfall(anchor, view), "")


def _waterfall(anchor: str, view: View) -> Picture | None:
    if not view.bars:
        return None
    label = "Waterfall: " + "; ".join(f"{bar.name} {words.seconds(bar.end_s - bar.start_s)}" for bar in view.bars)
    return Picture(
        Markup(inline_svg(draw_waterfall(view), f"{anchor}-waterfall", label)),  # noqa: S704 - as above
        Markup(inline_svg(draw_waterfall(view, narrow=True), f"{anchor}-waterfall-narrow", label)),  # noqa: S704 - as above
    )


def _trend(views: Sequence[View], table: pd.DataFrame | None) -> Picture | None:
    if table is None:
        return None
    ours = table[table["drill"].isin([view.drill for view in views])]
    again = ours[
        ours.groupby("drill")["drill"].transform("size") > 1
    ]  # one run is no trend: the table above says it all
    newest = again.groupby("drill", sort=False).tail(_LATEST_RUNS)
    if newest.empty:
        return None
    label = "Recovery time and recovery point of the newest runs against their objectives"
    return Picture(
        Markup(inline_svg(draw_trend(newest), "trend", label)),  # noqa: S704 - as above
        Markup(inline_svg(draw_trend(newest, narrow=True), "trend-narrow", label)),  # noqa: S704 - as above
    )
