"""report.html: one file that holds everything, opens anywhere, and fetches nothing.

Pictures stand in it as SVG in the page's own colours (light, dark and paper); each is drawn twice, for a desk and for a
telephone. A content security policy inside the page forbids every fetch, should a record ever smuggle an address in.

Text is set in the reader's own fonts, Japanese ones before Chinese ones. Where a reader's machine has no font for a
script, that machine shows its own placeholder; the pictures hold letters as outlines and need no font (see
`picture`).
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup, escape

from drills.history import Event
from drills.record import write_atomically

from . import cells, incident, words
from .account import (
    STANDING_MEANS,
    STANDING_ROLE,
    STANDING_WORD,
    DrillAccount,
    RunAccount,
    flat,
    measured,
    read_account,
    read_events,
    recovery,
    verified,
)
from .palette import DARK, LIGHT, VERDICT_ROLE, VERDICT_SIGN, VERDICT_WORD, roles
from .picture import inline_svg
from .repeats import draw_repeats
from .series import Series
from .strategies import compared
from .timeline import draw_timeline, objective_drawn
from .trend import draw_trend
from .view import View
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
    """What the page shows of one drill: what is told of it, and its pictures."""

    told: DrillAccount
    timeline: Picture | None
    waterfall: Picture | None
    objective_drawn: bool


def write_page(run_dir: Path, trend: pd.DataFrame | None = None, evidence_dir: Path | None = None) -> Path:
    """Write report.html of a run.

    Args:
        run_dir: the run's directory.
        trend: the rows of `Evidence.honest`; the page shows the newest of its own drills.
        evidence_dir: where earlier runs are; by default where the run lies.

    """
    path = run_dir / "report.html"
    write_atomically(path, render_page(read_account(run_dir, evidence_dir), trend))
    return path


def render_page(account: RunAccount, trend: pd.DataFrame | None = None) -> str:
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
    environment.filters["achieved_point"] = cells.achieved_point
    environment.filters["planned_point"] = cells.planned_point
    environment.filters["breakable"] = _breakable
    environment.filters["whole"] = _whole
    return environment.get_template("report.html.j2").render(
        account=account,
        headline=account.headline,
        sections=[_section(drill) for drill in account.drills],
        strategies=compared(drill.view for drill in account.drills),
        repeated=account.repeated,
        repeats=_repeats(account.repeated),
        trend=_trend([drill.view for drill in account.drills], trend),
        light=roles(LIGHT),
        dark=roles(DARK),
        role=VERDICT_ROLE,
        sign=VERDICT_SIGN,
        word=VERDICT_WORD,
        standing_word=STANDING_WORD,
        standing_role=STANDING_ROLE,
        standing_means=STANDING_MEANS,
        recovery=recovery,
        flat=flat,
        measured=measured,
        verified=verified,
        repeats_objective=any(each.rto_s is not None or each.rpo_s is not None for each in account.repeated),
        since=incident.since,
        fill_in=incident.FILL_IN,
        questions=incident.QUESTIONS,
    )


def load_events(view: View) -> list[Event]:
    """Load the history beside a record.

    Raises UsageError when there is none or it cannot be read.
    """
    return read_events(view)


def _breakable(name: object) -> Markup:
    """Let a long name break behind its underscores, dots and slashes instead of within a word."""
    return Markup(re.sub(r"([_/]|[.-](?!\d))", r"\1<wbr>", str(_whole(str(name)))))  # noqa: S704 - escaped by _whole


def _whole(text: object) -> Markup:
    """Keep figures and their units on one line: `65.77 s` is read as one word."""
    return Markup(re.sub(r"(\d) (s|min|h)\b", "\\1\u00a0\\2", str(escape(text))))  # noqa: S704 - escaped here


def _section(drill: DrillAccount) -> Section:
    view, anchor = drill.view, drill.anchor
    timeline = None
    if drill.events is not None:
        label = f"Timeline of {view.drill}: {view.why}"
        timeline = Picture(
            Markup(inline_svg(draw_timeline(view, drill.events, titled=False), f"{anchor}-timeline", label)),  # noqa: S704 - ours
            Markup(  # noqa: S704 - drawn by us; every text in it is an outline or escaped by inline_svg
                inline_svg(
                    draw_timeline(view, drill.events, narrow=True, titled=False), f"{anchor}-timeline-narrow", label
                )
            ),
        )
    return Section(drill, timeline, _waterfall(anchor, view), objective_drawn(view, drill.events or []))


def _waterfall(anchor: str, view: View) -> Picture | None:
    if not view.bars:
        return None
    label = "Waterfall: " + "; ".join(f"{bar.name} {words.seconds(bar.end_s - bar.start_s)}" for bar in view.bars)
    return Picture(
        Markup(inline_svg(draw_waterfall(view), f"{anchor}-waterfall", label)),  # noqa: S704 - as above
        Markup(inline_svg(draw_waterfall(view, narrow=True), f"{anchor}-waterfall-narrow", label)),  # noqa: S704 - as above
    )


def _repeats(series: Sequence[Series]) -> Picture | None:
    if not series:
        return None
    label = "Repeats: " + "; ".join(each.words for each in series)
    return Picture(
        Markup(inline_svg(draw_repeats(series), "repeats", label)),  # noqa: S704 - as above
        Markup(inline_svg(draw_repeats(series, narrow=True), "repeats-narrow", label)),  # noqa: S704 - as above
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
