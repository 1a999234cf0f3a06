"""How the figures of repeated drills scatter: a row of panels a drill, RTA left and RPA right.

How to read it: a dot a repeat, from the quickest below to the slowest above, so that the height is the share of repeats
that were no worse. A cross is one that missed; an arrow at the right edge one that never came back. Lines mark median,
95th percentile and worst; the objective is dashed, or named with an arrow where it lies far off.
"""

from collections.abc import Sequence
from pathlib import Path

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drills.repeats import Quantiles
from drills.verdicts import Verdict

from .palette import LIGHT
from .picture import (
    NARROW_IN,
    SIZE,
    WIDE_IN,
    Part,
    blank,
    drawing,
    even_ticks,
    fitted,
    label_seconds,
    lay_key,
    panel,
    save_png,
)
from .series import Series, told
from .words import NEVER, objective

_IN_SIGHT = 1.8  # an objective up to this many times the largest figure is drawn to scale
_PLOT_IN, _ABOVE_IN, _BELOW_IN = 1.35, 0.62, 0.45
_CONCLUSIVE = (Verdict.MET, Verdict.MISSED)


def write_repeats(series: Sequence[Series], path: Path) -> Path:
    """Write repeats.png."""
    return save_png(draw_repeats(series), path)


def draw_repeats(series: Sequence[Series], *, narrow: bool = False) -> Figure:
    """Draw how the figures of repeated drills scatter, a row a drill; `series` holds one at least."""
    with drawing():
        return _draw(series, narrow=narrow)


def _draw(series: Sequence[Series], *, narrow: bool) -> Figure:
    width_in = NARROW_IN if narrow else WIDE_IN
    left_in, between_in, right_in = 0.55, 0.75, 0.25
    plot_in = width_in - left_in - right_in if narrow else (width_in - left_in - right_in - between_in) / 2
    parts = [
        Part(LIGHT.good, "met", "●"),
        Part(LIGHT.bad, "missed", "✖"),
        Part(LIGHT.bad, "never back, or data never read", "▲"),
        Part(LIGHT.limit, "objective", "╌╌"),
    ]
    key = lay_key("", parts, width_in - 0.3)
    one_in = _ABOVE_IN + _PLOT_IN + _BELOW_IN
    row_in = one_in + (_PLOT_IN + _BELOW_IN + 0.25 if narrow else 0)
    height_in = key.height_in + 0.15 + row_in * len(series)
    figure = blank(width_in, height_in)
    top = height_in - key.height_in - 0.15
    under_key = panel(figure, 0.15, top, width_in - 0.3, 0.001)
    under_key.set_axis_off()
    key.draw(under_key)
    for each in series:
        heading = fitted(f"{each.drill}: {each.counted}", width_in - 0.3, SIZE + 0.5, "bold")
        place = (top - 0.06) / height_in
        figure.text(0.15 / width_in, place, heading, va="top", fontsize=SIZE + 0.5, fontweight="bold")
        bottom = top - _ABOVE_IN - _PLOT_IN
        _panel(panel(figure, left_in, bottom, plot_in, _PLOT_IN), each, "RTA", each.found.rta_s, each.rto_s)
        left, bottom = (
            (left_in, bottom - _PLOT_IN - _BELOW_IN - 0.25) if narrow else (left_in + plot_in + between_in, bottom)
        )
        _panel(panel(figure, left, bottom, plot_in, _PLOT_IN), each, "RPA", each.found.rpa_s, each.rpo_s)
        top -= row_in
    return figure


def _panel(axes: Axes, series: Series, name: str, figure: Quantiles, promised_s: float | None) -> None:
    axes.set_title(name, loc="left", fontsize=SIZE - 1, color=LIGHT.faint, y=1, pad=8)
    points = _points(series, name)
    if not points:
        axes.set(xticks=[], yticks=[])
        axes.text(0.5, 0.5, "no data at stake" if name == "RPA" else "nothing was measured", ha="center", va="center")
        return
    largest = max((value for value, _ in points if value is not None), default=0.0)
    in_sight = promised_s is not None and promised_s <= max(largest * _IN_SIGHT, 0.1)
    right = max(largest, promised_s if promised_s is not None and in_sight else 0.0, 0.1) * 1.12
    axes.set(xlim=(0, right), ylim=(0, 108), yticks=[50, 95], yticklabels=["50 %", "95 %"])
    axes.grid(axis="both", linewidth=0.6)
    label_seconds(axes, "x", even_ticks(0, right, 5))
    for rank, (value, verdict) in enumerate(points, start=1):
        missed = verdict is Verdict.MISSED
        axes.plot(
            [right if value is None else value], [100 * rank / len(points)], clip_on=False, linestyle="none",
            marker="^" if value is None else "X" if missed else "o", markersize=7 if missed else 5.5,
            color=LIGHT.bad if missed else LIGHT.good, markeredgewidth=0, zorder=5,
        )  # fmt: skip
    for mark in (figure.p50, figure.p95, figure.worst):
        if mark is not None:
            axes.axvline(mark, color=LIGHT.wait, linewidth=1.0, zorder=3)
    if promised_s is not None and in_sight:
        axes.axvline(promised_s, color=LIGHT.limit, linewidth=1.6, linestyle=(0, (4, 2)), zorder=4)
    limit = "no objective" if promised_s is None else f"{name[:2]}O {objective(promised_s)}"
    where = "" if promised_s is None or in_sight else " →"
    quantiles = told(figure, NEVER if name == "RTA" else "never read back")
    axes.annotate(
        fitted(f"{limit}{where}; {quantiles}", axes.get_window_extent().width / axes.figure.dpi - 0.5, SIZE - 1),
        (1, 1), (0, 8), xycoords="axes fraction", textcoords="offset points", ha="right", fontsize=SIZE - 1,
        color=LIGHT.ink,
    )  # fmt: skip


def _points(series: Series, name: str) -> list[tuple[float | None, Verdict]]:
    """Give what each repeat achieved and its verdict, the best first and those that never came back last."""
    found = [
        (view.rta_s if name == "RTA" else view.rpa_s, view.verdict)
        for view in series.views
        if view.verdict in _CONCLUSIVE and (name == "RTA" or view.writes("acknowledged"))
    ]
    return sorted(found, key=lambda point: (point[0] is None, point[0] or 0.0))
