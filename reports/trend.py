"""What was achieved against what was promised, over all runs: a row of panels a drill, RTA left and RPA right.

How to read it:
- One place a run, in order of time and evenly spaced, because drills come nightly and also ten in an afternoon; dates
  stand below.
- A dot is a figure of a run that met its objectives, a cross one of a run that missed them; the bar through an RTA is
  its bounds. An arrow at the upper edge is a run whose service never came back (or whose data was never read, in
  RPA).
- An inconclusive run, or one whose environment failed, has no figure: the line breaks and a sign stands on the axis.
- The objective is the dashed line; where it was changed, it steps.
- Beside the drill's name: whether its newest run was worse than usual (see `regression`), met or not.
- Scale: seconds from 0, even. Where the objective is more than eight times the largest figure, the scale is
  logarithmic above 1 s (and says so), or the figures would all lie on the floor.

Sabotaged runs are no drills of recovery and are left out (`Evidence.honest`).
"""

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import FixedLocator, FuncFormatter

from drills.verdicts import Verdict

from .frame import latest_line
from .palette import LIGHT, VERDICT_WORD
from .picture import (
    NARROW_IN,
    SIZE,
    WIDE_IN,
    Key,
    Part,
    blank,
    drawing,
    even_ticks,
    fitted,
    label_seconds,
    lay_key,
    log_ticks,
    panel,
    save_png,
    width_px,
)
from .regression import Regression, newest_regressions
from .words import seconds

_FAR = 8.0  # an objective this many times the largest figure asks for a logarithmic scale
_PLOT_IN = 1.3
_BELOW_IN = 0.42
_ABOVE_IN = 0.62


Worse = Mapping[str, Sequence[Regression]]


def write_trend(table: pd.DataFrame, path: Path, worse: Worse | None = None) -> Path:
    """Write trend.png from the rows of `Evidence.honest`; `worse` as `newest_regressions` finds it in them."""
    return save_png(draw_trend(table, worse, first_line=True), path)


def draw_trend(
    table: pd.DataFrame, worse: Worse | None = None, *, first_line: bool = False, narrow: bool = False
) -> Figure:
    """Draw the trend of each drill in a table; an empty table gives a picture that says so.

    Args:
        table: the rows of `Evidence.honest`.
        worse: what was worse than usual; found in the table if not given.
        first_line: say first how the newest runs went, for a picture that stands alone.
        narrow: for a telephone.

    """
    with drawing():
        return _draw(table, newest_regressions(table) if worse is None else worse, first_line, narrow)


def _draw(table: pd.DataFrame, worse: Worse, first_line: bool, narrow: bool) -> Figure:
    width_in = NARROW_IN if narrow else WIDE_IN
    if table.empty:
        figure = blank(width_in, 0.6)
        figure.text(0.02, 0.5, "No trend: no drill has been recorded yet.", va="center", color=LIGHT.faint)
        return figure
    groups = [(str(name), rows) for name, rows in table.groupby("drill", sort=True)]
    left_in, right_in, between_in = 0.72, 0.2, 0.85
    plot_in = width_in - left_in - right_in if narrow else (width_in - left_in - right_in - between_in) / 2
    key = _key(width_in - 0.3, objective=bool(table[["rto_s", "rpo_s"]].notna().to_numpy().any()))
    above_in = _ABOVE_IN + (0.16 if narrow else 0)
    row_in = above_in + _PLOT_IN + _BELOW_IN + ((_PLOT_IN + _BELOW_IN + 0.25) if narrow else 0)
    line_in = 0.3 if first_line else 0.0
    height_in = line_in + key.height_in + 0.15 + row_in * len(groups)
    figure = blank(width_in, height_in)
    if first_line:
        words = fitted(latest_line(table), width_in - 0.3, SIZE + 2, "bold")
        figure.text(0.15 / width_in, 1 - 0.1 / height_in, words, va="top", fontsize=SIZE + 2, fontweight="bold")
    top = height_in - line_in - key.height_in - 0.15
    key.draw(panel_for_key(figure, 0.15, top, width_in - 0.3))
    for name, rows in groups:
        place = (top - 0.06) / height_in
        words = fitted(name, width_in - 0.3, SIZE + 0.5, "bold")
        text = figure.text(0.15 / width_in, place, words, va="top", fontsize=SIZE + 0.5, fontweight="bold")
        if narrow:
            beside, place = 0.15, (top - 0.24) / height_in
        else:
            beside = 0.27 + width_px(figure, text) / figure.dpi
        figure.text(
            beside / width_in,
            place,
            _counts(rows, worse.get(name, ())),
            va="top",
            fontsize=SIZE - 0.5,
            color=LIGHT.faint,
        )
        bottom = top - above_in - _PLOT_IN
        _panel(panel(figure, left_in, bottom, plot_in, _PLOT_IN), rows, "rta_s", "rto_s", "RTA", "RTO", narrow=narrow)
        if narrow:
            bottom -= _PLOT_IN + _BELOW_IN + 0.25
            left = left_in
        else:
            left = left_in + plot_in + between_in
        _panel(panel(figure, left, bottom, plot_in, _PLOT_IN), rows, "rpa_s", "rpo_s", "RPA", "RPO", narrow=narrow)
        top -= row_in
    return figure


def panel_for_key(figure: Figure, left: float, bottom: float, width: float) -> Axes:
    """Add a line without height for the key to stand on."""
    axes = panel(figure, left, bottom, width, 0.001)
    axes.set_axis_off()
    return axes


def _counts(rows: pd.DataFrame, worse: Sequence[Regression]) -> str:
    verdicts = rows["verdict"].value_counts()
    counts = [f"{verdicts[v]} {VERDICT_WORD[v].lower()}" for v in Verdict if v in verdicts.index]
    figures = " and ".join(each.figure for each in worse)
    note = f"; the newest is worse than usual ({figures})" if figures else ""
    return f"{len(rows)} {'run' if len(rows) == 1 else 'runs'}: {', '.join(counts)}{note}"


def _key(width_in: float, *, objective: bool) -> Key:
    parts = [
        Part(LIGHT.good, "met", "●"),
        Part(LIGHT.bad, "missed", "✖"),
        Part(LIGHT.bad, "never back, or data never read", "▲"),
        Part(LIGHT.inconclusive, "inconclusive", "?"),
        Part(LIGHT.environment, "environment failed", "!"),
    ]
    if objective:
        parts.append(Part(LIGHT.limit, "objective", "╌╌"))
    return lay_key("", parts, width_in)


def _panel(
    axes: Axes, rows: pd.DataFrame, figure_name: str, limit_name: str, achieved: str, limit: str, *, narrow: bool
) -> None:
    x = np.arange(len(rows), dtype="float64")
    verdicts = rows["verdict"].to_numpy()
    conclusive = np.isin(verdicts, [str(Verdict.MET), str(Verdict.MISSED)])
    y = np.where(conclusive, rows[figure_name].to_numpy(dtype="float64"), np.nan)
    limits = rows[limit_name].to_numpy(dtype="float64")
    high = np.where(conclusive, rows["high_s"].to_numpy(dtype="float64"), np.nan) if figure_name == "rta_s" else y
    low = np.where(conclusive, rows["low_s"].to_numpy(dtype="float64"), np.nan) if figure_name == "rta_s" else y
    size = 5.5 if len(rows) <= 60 else 3.5 if len(rows) <= 200 else 2.2

    log = _scale(axes, y, high, limits)
    axes.set_xlim(-0.6, max(len(rows) - 0.4, 0.6))
    axes.grid(axis="y", linewidth=0.6)
    _limit(axes, x, limits, limit)
    if len(rows) <= 120:  # beyond that the joining line is a scribble that hides the dots
        axes.plot(x, y, color=LIGHT.wait, linewidth=0.9, zorder=3)
    for verdict, marker, colour in ((Verdict.MET, "o", LIGHT.good), (Verdict.MISSED, "X", LIGHT.bad)):
        chosen = (verdicts == str(verdict)) & np.isfinite(y)
        if figure_name == "rta_s":
            _bars(axes, x[chosen], y[chosen], low[chosen], high[chosen], colour, few=len(rows) <= 60)
        bigger = 1.35 if verdict is Verdict.MISSED else 1.0
        axes.plot(
            x[chosen], y[chosen], linestyle="none", marker=marker, markersize=size * bigger, color=colour,
            markeredgewidth=0, zorder=6 if verdict is Verdict.MISSED else 5, clip_on=False,
        )  # fmt: skip
    never = (verdicts == str(Verdict.MISSED)) & ~np.isfinite(y)
    if figure_name == "rpa_s":  # where no write was acknowledged, there was none to read back
        never &= rows["acknowledged"].fillna(0).to_numpy(dtype="float64") > 0
    axes.plot(
        x[never], np.full(never.sum(), 0.97), linestyle="none", marker="^", markersize=size + 2, color=LIGHT.bad,
        transform=axes.get_xaxis_transform(), clip_on=False, markeredgewidth=0, zorder=6,
    )  # fmt: skip
    _unproven(axes, x, verdicts, size)
    _dates(axes, rows, narrow=narrow)
    scale = "" if not log else " (log scale)" if narrow else " (scale: logarithmic above 1 s)"
    axes.set_title(achieved + scale, loc="left", fontsize=SIZE - 1, color=LIGHT.faint, y=1, pad=8)


def _bars(
    axes: Axes, x: np.ndarray, y: np.ndarray, low: np.ndarray, high: np.ndarray, colour: str, *, few: bool
) -> None:
    """Draw the bounds as one broken line: matplotlib's errorbar makes an object of each, and thousands take seconds."""
    ends = np.stack([np.fmin(low, y), np.fmax(high, y), np.full_like(y, np.nan)], axis=1).ravel()
    axes.plot(
        np.repeat(x, 3), ends, color=colour, linewidth=1.2 if few else 0.5, zorder=4,
        marker="_" if few else "", markersize=6, markeredgewidth=1.2,
    )  # fmt: skip


def _scale(axes: Axes, y: np.ndarray, high: np.ndarray, limits: np.ndarray) -> bool:
    """Set the scale, its ticks and its units; returns whether it is logarithmic."""
    known = np.concatenate([y[np.isfinite(y)], high[np.isfinite(high)]])
    promised = limits[np.isfinite(limits)]
    largest = float(known.max()) if known.size else 0.0
    top = max(largest, float(promised.max()) if promised.size else 0.0, 1.0)
    log = promised.size > 0 and float(promised.max()) > max(_FAR * largest, 10.0)
    if log:
        # The first second keeps an eighth of the height, whatever is above: the labels of 0 s and 1 s need it.
        axes.set_yscale("symlog", linthresh=1.0, linscale=max(0.35, 0.15 * np.log10(top * 2.2)))
        axes.set_ylim(0, top * 2.2)
        label_seconds(axes, "y", log_ticks(top * 2.2, 5))
    else:
        axes.set_ylim(0, top * 1.18)
        label_seconds(axes, "y", even_ticks(0, top * 1.18, 5))
    return log


def _limit(axes: Axes, x: np.ndarray, limits: np.ndarray, name: str) -> None:
    """Draw the objective as steps, and write its newest value (and what it was before, if it was changed)."""
    known = limits[np.isfinite(limits)]
    if not known.size:
        _corner(axes, f"no {name} was set", LIGHT.faint, "normal")
        return
    # Only where it changes: a dashed line through thousands of equal points takes as long as all the rest.
    changed = np.flatnonzero(
        np.append(True, (limits[1:] != limits[:-1]) & ~(np.isnan(limits[1:]) & np.isnan(limits[:-1])))
    )
    edges = np.append(x[changed] - 0.5, x[-1] + 0.5)
    heights = np.append(limits[changed], limits[-1])
    dashes = (0, (4, 2))
    axes.step(edges, heights, where="post", color=LIGHT.limit, linewidth=1.6, linestyle=dashes, zorder=4, clip_on=False)
    values = list(dict.fromkeys(known.tolist()))
    words = f"{name} {seconds(float(known[-1]))}"
    if len(values) > 1:
        before = next(value for value in reversed(known.tolist()) if value != known[-1])
        words += f" (was {seconds(before)})"
    _corner(axes, words, LIGHT.limit, "bold")


def _corner(axes: Axes, words: str, colour: str, weight: str) -> None:
    axes.annotate(
        words,
        (1, 1),
        (0, 8),
        xycoords="axes fraction",
        textcoords="offset points",
        ha="right",
        fontsize=SIZE - 1,
        fontweight=weight,
        color=colour,
    )


def _unproven(axes: Axes, x: np.ndarray, verdicts: np.ndarray, size: float) -> None:
    for verdict, sign, colour in (
        (Verdict.INCONCLUSIVE, r"$\mathbf{?}$", LIGHT.inconclusive),
        (Verdict.ENVIRONMENT, r"$\mathbf{!}$", LIGHT.environment),
    ):
        chosen = verdicts == str(verdict)
        if not chosen.any():  # the sign would be laid out as a formula for nobody
            continue
        axes.plot(
            x[chosen], np.full(chosen.sum(), 0.06), linestyle="none", marker=sign, markersize=size + 6, color=colour,
            markeredgewidth=0.8, transform=axes.get_xaxis_transform(), clip_on=False, zorder=6,
        )  # fmt: skip


def _dates(axes: Axes, rows: pd.DataFrame, *, narrow: bool) -> None:
    """Write dates below: the first run, the newest, and as many between as have room; a day is written once."""
    count = len(rows)
    wanted = min(count, 3 if narrow else 5)
    places = sorted({round(place) for place in np.linspace(0, count - 1, wanted)})
    stamps = rows["utc"]
    one_day = count > 1 and stamps.dt.normalize().nunique() == 1
    texts = {}
    for place in places:
        stamp = stamps.iloc[place]
        texts[place] = "?" if pd.isna(stamp) else stamp.strftime("%H:%M" if one_day else "%Y-%m-%d")
    if one_day:
        axes.set_xlabel(f"{stamps.min():%Y-%m-%d}, UTC")
    axes.xaxis.set_major_locator(FixedLocator([float(place) for place in places]))
    axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: texts.get(round(value), "")))
    axes.tick_params(axis="x", length=3)
    if count > (6 if narrow else 8):  # so close to the edge, the outermost dates would leave the panel
        labels = axes.get_xticklabels()
        labels[0].set_horizontalalignment("left")
        labels[-1].set_horizontalalignment("right")
