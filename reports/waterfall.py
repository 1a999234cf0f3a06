"""Where the recovery's seconds went: from the fault issued to a stable service, a bar a stretch, in seconds.

The service-back mark carries its bounds: the truth lies between the last bad reading and the first good answer, and
when the probe's interval matters the reader sees it.
"""

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.text import Text

from .palette import LIGHT
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
    panel,
)
from .view import Bar, View
from .words import NEVER, NOT_MEASURED, bounds, objective, seconds

SERVICE_BACK = "service back"
"""The bar that measures.waterfall ends at the first reading of the lasting good run."""

_PATCH = {"facecolor": LIGHT.page, "edgecolor": "none", "pad": 1.0}  # keeps lines from running through words
_ROW_IN = 0.27
_NARROW_ROW_IN = 0.42
_OBJECTIVE_IN_SIGHT = 1.8


def draw_waterfall(view: View, *, narrow: bool = False) -> Figure:
    """Draw a record's waterfall; a record without one gives a picture that says so."""
    with drawing():
        return _draw(view, view.bars, narrow=narrow)


def _draw(view: View, bars: list[Bar], *, narrow: bool) -> Figure:
    width_in = NARROW_IN if narrow else WIDE_IN
    if not bars:
        figure = blank(width_in, 0.5)
        figure.text(
            0.01,
            0.5,
            "No waterfall: no fault was issued, so nothing was recovered from.",
            va="center",
            color=LIGHT.faint,
        )
        return figure
    left_in, right_in = (0.15, 0.15) if narrow else (3.2, 0.25)
    row_in = _NARROW_ROW_IN if narrow else _ROW_IN
    rows = len(bars) + all(bar.name != SERVICE_BACK for bar in bars)
    plot_in = width_in - left_in - right_in
    key = _key(bars, plot_in)
    rto = view.rto_s
    above_in = 0.05 if rto is None else 0.27  # the objective's name stands between the key and the bars
    bottom_in = 0.5
    height_in = above_in + key.height_in + 0.05 + rows * row_in + bottom_in
    figure = blank(width_in, height_in)
    axes = panel(figure, left_in, bottom_in, plot_in, rows * row_in)
    key.draw(axes, above_in)

    left = min(0.0, *(bar.start_s for bar in bars))
    given_up = _given_up(view, bars)
    last = max(*(bar.end_s for bar in bars), view.rta_high_s or 0.0, given_up or 0.0, 0.1)
    in_sight = rto is not None and rto <= last * _OBJECTIVE_IN_SIGHT
    right = max(last, rto) if rto is not None and in_sight else last
    right += (right - left) * 0.02
    axes.set(xlim=(left, right), ylim=(rows, 0), yticks=[])
    axes.grid(axis="x", linewidth=0.6)
    if rto is not None and in_sight:
        axes.axvline(rto, color=LIGHT.limit, linewidth=1.8, linestyle=(0, (4, 2)), zorder=3)
        axes.annotate(
            f"RTO {objective(rto)}",
            (rto, 0),
            (0, 4),
            textcoords="offset points",
            ha="right" if rto > left + (right - left) * 0.5 else "left",
            color=LIGHT.limit,
            fontweight="bold",
            fontsize=SIZE - 1,
        )
    elif rto is not None:
        axes.annotate(
            f"RTO {objective(rto)}: far to the right →",
            (1, 1),
            (0, 4),
            xycoords="axes fraction",
            textcoords="offset points",
            ha="right",
            color=LIGHT.limit,
            fontweight="bold",
            fontsize=SIZE - 1,
        )

    for row, bar in enumerate(bars):
        back = bar.name == SERVICE_BACK
        _bar(axes, bar, row, left, right, narrow=narrow, labelled=not (back and view.rta_s is not None))
        if back:
            _service_back(axes, view, row, bar.end_s - bar.start_s, narrow=narrow)
    if not any(bar.name == SERVICE_BACK for bar in bars):
        _name(axes, SERVICE_BACK, len(bars), left, narrow=narrow, bold=True)
        if given_up is None:
            _service_back(axes, view, len(bars), None, narrow=narrow)
        else:
            _never_back(axes, bars, given_up, narrow=narrow)
    label_seconds(axes, "x", even_ticks(left, right, 5 if narrow else 10))
    axes.set_xlabel("time since the fault was issued")
    return figure


def _colour(bar: Bar) -> str:
    if bar.kind == "step":
        return LIGHT.human if bar.by == "human" else LIGHT.step
    return LIGHT.wait if bar.kind == "wait" else LIGHT.faint


def _bar(axes: Axes, bar: Bar, row: int, left: float, right: float, *, narrow: bool, labelled: bool) -> None:
    y, thick = (row + 0.52, 0.36) if narrow else (row + 0.2, 0.6)
    colour = _colour(bar)
    # The outline keeps a stretch of milliseconds visible beside one of minutes.
    axes.broken_barh(
        [(bar.start_s, bar.end_s - bar.start_s)],
        (y, thick),
        facecolors=colour,
        edgecolors=colour,
        linewidth=1.2,
        zorder=4,
    )
    _name(axes, bar.name, row, left, narrow=narrow, bold=bar.name == SERVICE_BACK)
    if not labelled:
        return
    inside = bar.end_s > left + (right - left) * (0.86 if narrow else 0.92)
    words = seconds(bar.end_s - bar.start_s)
    if not inside:
        _beside(axes, words, bar.end_s, y + thick / 2, "left", LIGHT.ink)
    elif bar.start_s > left + (right - left) * 0.15:
        _beside(axes, words, bar.start_s, y + thick / 2, "right", LIGHT.ink)
    else:  # a bar from edge to edge: its seconds stand on it
        axes.annotate(
            words,
            ((bar.start_s + bar.end_s) / 2, y + thick / 2),
            ha="center",
            va="center",
            color=LIGHT.page,
            fontweight="bold",
            fontsize=SIZE - 1,
            zorder=6,
        )


def _service_back(axes: Axes, view: View, row: int, waited_s: float | None, *, narrow: bool) -> None:
    """Mark when the service was back, with its bounds; or say that it never was."""
    at = view.rta_s
    y = row + (0.7 if narrow else 0.5)
    limits = axes.get_xlim()
    if at is None:
        _beside(axes, f"recovery time {NOT_MEASURED}", limits[0], y, "left", LIGHT.bad, bold=True)
        return
    low = at if view.rta_low_s is None else view.rta_low_s
    high = at if view.rta_high_s is None else view.rta_high_s
    axes.errorbar(
        [at],
        [y],
        xerr=[[max(at - low, 0.0)], [max(high - at, 0.0)]],
        fmt="D",
        markersize=6,
        color=LIGHT.good,
        ecolor=LIGHT.good,
        elinewidth=1.5,
        capsize=5,
        zorder=7,
    )
    back = f"back after {bounds(at, view.rta_low_s, view.rta_high_s)}"
    said = [back] if narrow or waited_s is None else [f"{seconds(waited_s)}, {back}", back]
    if at == 0:
        said = [f"never seen away (no gap longer than {seconds(high)})"]
    on_right = (at - limits[0]) < (0.35 if narrow else 0.6) * (limits[1] - limits[0])
    places = [("left", high), ("right", low if waited_s is None else min(low, at - waited_s))]
    # Right of the mark or left of it, with bounds or without: the first that is not cut off by the picture's edge.
    for words in (*said, f"back after {seconds(at)}"):
        for side, x in places if on_right else places[::-1]:
            text = _beside(axes, words, x, y, side, LIGHT.good, away=9, bold=True)
            if _within(axes, text):
                return
            text.remove()
    _beside(axes, seconds(at), places[not on_right][1], y, places[not on_right][0], LIGHT.good, away=9, bold=True)


def _within(axes: Axes, text: Text) -> bool:
    """Whether a text lies within its picture, from edge to edge."""
    figure = axes.get_figure(root=True)
    if figure is None:
        raise TypeError("a text within a picture is needed, one without found")
    left = float(text.get_window_extent().x0)
    right = float(text.get_window_extent().x1)
    return left >= 0 and right <= float(figure.bbox.width)


def _given_up(view: View, bars: list[Bar]) -> float | None:
    """Say when waiting for the service ended in vain; none when it came back."""
    if view.rta_s is not None or any(bar.name == SERVICE_BACK for bar in bars) or not view.phases:
        return None
    return view.phases[-1].t_s


def _never_back(axes: Axes, bars: list[Bar], given_up: float, *, narrow: bool) -> None:
    y, thick = (len(bars) + 0.52, 0.36) if narrow else (len(bars) + 0.2, 0.6)
    start = max(bar.end_s for bar in bars)
    axes.broken_barh(
        [(start, max(given_up - start, 0.0))],
        (y, thick),
        facecolors=LIGHT.bad,
        edgecolors=LIGHT.page,
        hatch="////",
        zorder=4,
    )
    left, right = axes.get_xlim()
    words = f"{NEVER} after {seconds(given_up)}"
    if start - left > (0.45 if narrow else 0.25) * (right - left):
        _beside(axes, words, start, y + thick / 2, "right", LIGHT.bad, bold=True)
    else:
        _beside(axes, words, start, y + thick / 2, "left", LIGHT.bad, bold=True)


def _name(axes: Axes, name: str, row: int, left: float, *, narrow: bool, bold: bool = False) -> None:
    size, weight = SIZE - (0.5 if narrow else 0), "bold" if bold else "normal"
    axes.annotate(
        fitted(name, NARROW_IN - 0.3 if narrow else 3.0, size, weight),
        (left, row + (0.28 if narrow else 0.5)),
        (0, 0) if narrow else (-8, 0),
        textcoords="offset points",
        ha="left" if narrow else "right",
        va="center",
        fontsize=size,
        fontweight=weight,
        annotation_clip=False,
        zorder=6,
        bbox=_PATCH if narrow else None,
    )


def _beside(
    axes: Axes, words: str, x: float, y: float, side: str, colour: str, *, away: float = 5, bold: bool = False
) -> Text:
    return axes.annotate(
        words,
        (x, y),
        (away if side == "left" else -away, 0),
        textcoords="offset points",
        ha=side,
        va="center",
        color=colour,
        fontsize=SIZE - 1,
        fontweight="bold" if bold else "normal",
        zorder=6,
        bbox=_PATCH,
    )


def _key(bars: list[Bar], width_in: float) -> Key:
    words = {
        LIGHT.wait: "waiting",
        LIGHT.step: "step of the procedure",
        LIGHT.human: "step done by a human",
        LIGHT.faint: "phase",
    }
    return lay_key("", [Part(colour, words[colour]) for colour in dict.fromkeys(map(_colour, bars))], width_in)
