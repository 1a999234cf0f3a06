"""One drill as its users saw it: readings, acknowledged writes, phases, and how far away the objective was.

From top to bottom on one time axis, seconds since the fault was issued:
- the phases, each a line with its name, names never one over the other;
- a strip a probe: a low bar while readings were good, a tall one while they were bad (height, not only colour, says
  it);
- writes acknowledged a second; those lost afterwards, and those whose acknowledgement never came, stand out. The time
  from fault issued to service back is shaded. The recovery time objective is a thick dashed line; when it lies so far
  off that the drill would shrink to a sliver, it is named at the edge instead.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from drills.history import Event

from .palette import LIGHT, VERDICT_WORD, verdict_colour
from .picture import (
    NARROW_IN,
    SIZE,
    WIDE_IN,
    Key,
    Part,
    blank,
    drawable,
    drawing,
    even_ticks,
    fitted,
    label_seconds,
    lay_key,
    panel,
    width_px,
)
from .view import View
from .words import objective, seconds, shortened

PHASE_WORDS = {
    "steady": "steady",
    "waiting": "random wait",
    "disrupted": "fault issued",
    "damaged": "damage seen",
    "detected": "detected",
    "recovering": "procedure started",
    "restored": "service back",
    "verified": "data verified",
    "stable": "stable",
    "reconstituted": "reconstituted",
    "ended": "ended",
}
"""Phases as a reader says them."""

_PHASE_COLOUR = {"disrupted": LIGHT.bad, "restored": LIGHT.good}
_OBJECTIVE_IN_SIGHT = 1.8  # an objective up to this many times the drill's length is drawn to scale
_ROW_IN = 0.2
_STRIP_IN = 0.34
_WRITES_IN = 1.15
_GAP_IN = 0.16


@dataclass
class _Flag:
    """A vertical line and the words at its top."""

    x: float
    words: str
    colour: str
    bold: bool = False
    width: float = 0.0  # in seconds
    row: int = 0
    leftward: bool = False

    @property
    def span(self) -> tuple[float, float]:
        return (self.x - self.width, self.x) if self.leftward else (self.x, self.x + self.width)


@dataclass(frozen=True)
class _Span:
    """What part of the drill the picture shows; seconds since `zero`, which is a time of the history."""

    zero: float
    left: float
    right: float
    issued: bool


def draw_timeline(view: View, events: Sequence[Event], *, narrow: bool = False, titled: bool = True) -> Figure:
    """Draw a drill's timeline from its record and its history's events (in order of time).

    A history without readings, writes or even a fault still gives a picture that says what is absent.
    """
    with drawing():
        return _draw(view, events, narrow=narrow, titled=titled)


def objective_drawn(view: View, events: Sequence[Event]) -> bool:
    """Whether the picture holds the objective's line: one that lies far off, or was never set, has none."""
    return _in_sight(view, _span(view, events))


def _in_sight(view: View, span: _Span) -> bool:
    return span.issued and view.rto_s is not None and view.rto_s <= span.right * _OBJECTIVE_IN_SIGHT


def _draw(view: View, events: Sequence[Event], *, narrow: bool, titled: bool) -> Figure:
    span = _span(view, events)
    probes = _probes(events)
    ledgers = any(event.kind in ("receipt", "refused") for event in events)
    width_in = NARROW_IN if narrow else WIDE_IN
    left_in, right_in = (0.45, 0.15) if narrow else (0.7, 0.25)
    plot_in = width_in - left_in - right_in

    flags = _phase_flags(view, span)
    rto = view.rto_s
    drawn_right = span.right
    rto_in_sight = _in_sight(view, span)
    if rto is not None and rto_in_sight:
        drawn_right = max(drawn_right, rto * 1.02)
        flags.append(_Flag(rto, f"RTO {objective(rto)}", LIGHT.limit, bold=True))
    xlim = _place_flags(flags, span.left, drawn_right, width_in, plot_in)
    rows = max((flag.row for flag in flags), default=0) + 1

    lane_in = rows * _ROW_IN
    title_in = (0.34 if titled else 0.06) + (0.2 if rto is not None and not rto_in_sight else 0)
    strips_in = max(1, len(probes)) * (_STRIP_IN + _GAP_IN + 0.14)
    writes = _count_writes(view, events, span, xlim, narrow=narrow)
    key = writes.key(plot_in, narrow=narrow)
    writes_in = _WRITES_IN + key.height_in + _GAP_IN if ledgers else 0
    height_in = title_in + lane_in + strips_in + writes_in + 0.5
    figure = blank(width_in, height_in)

    if titled:
        _title(figure, view, width_in, height_in)
    if rto is not None and not rto_in_sight:
        where = f"RTO {objective(rto)}: far to the right of this picture →" if span.issued else f"RTO {objective(rto)}"
        figure.text(
            (width_in - right_in) / width_in,
            (height_in - title_in + 0.06) / height_in,
            where,
            ha="right",
            va="bottom",
            color=LIGHT.limit,
            fontweight="bold",
            fontsize=SIZE - 1,
        )

    top = height_in - title_in - lane_in
    lane = panel(figure, left_in, top, plot_in, lane_in)
    lane.set_axis_off()
    lane.set(xlim=xlim, ylim=(0, rows))
    plots: list[Axes] = []
    for name in probes or [""]:
        top -= 0.14 + _STRIP_IN + _GAP_IN
        strip = panel(figure, left_in, top + _GAP_IN / 2, plot_in, _STRIP_IN)
        _strip(strip, name, events, span, narrow=narrow)
        plots.append(strip)
    if ledgers:
        top -= writes_in
        bars = panel(figure, left_in, top + _GAP_IN / 2, plot_in, _WRITES_IN)
        _draw_writes(bars, writes)
        key.draw(bars)
        plots.append(bars)

    back = next((flag.x for flag in flags if flag.words.startswith(PHASE_WORDS["restored"])), None)
    damaged = any(phase.name == "damaged" for phase in view.phases)  # a fault without effect disrupted nothing
    for plot in plots:
        plot.set_xlim(xlim)
        plot.set_xticks([])
        if damaged:
            plot.axvspan(0, span.right if back is None else back, color=LIGHT.disrupted, zorder=0, linewidth=0)
        for flag in flags:
            if flag.bold:
                plot.axvline(flag.x, color=flag.colour, linewidth=1.8, linestyle=(0, (4, 2)), zorder=6)
            else:
                plot.axvline(flag.x, color=flag.colour, linewidth=0.8)
    for flag in flags:
        lane.plot(
            [flag.x, flag.x], [0, flag.row + 0.9], color=flag.colour, linewidth=1.8 if flag.bold else 0.8, clip_on=False
        )
        lane.annotate(
            flag.words,
            (flag.x, flag.row + 0.5),
            (-4 if flag.leftward else 4, 0),
            textcoords="offset points",
            ha="right" if flag.leftward else "left",
            va="center",
            color=flag.colour,
            fontsize=SIZE - 1,
            fontweight="bold" if flag.bold else "normal",
        )
    last = plots[-1]
    label_seconds(last, "x", even_ticks(xlim[0], xlim[1], 5 if narrow else 10))
    last.set_xlabel(
        "time since the fault was issued" if span.issued else "time since the drill began (no fault was issued)"
    )
    return figure


def _title(figure: Figure, view: View, width_in: float, height_in: float) -> None:
    word = VERDICT_WORD[view.verdict]
    top = 1 - 0.1 / height_in
    colour = verdict_colour(view.verdict)
    text = figure.text(0.1 / width_in, top, word, va="top", fontsize=SIZE + 1.5, fontweight="bold", color=colour)
    beside = (0.22 + width_px(figure, text) / figure.dpi) / width_in
    figure.text(
        beside, top, fitted(view.title, width_in * (1 - beside) - 0.1, SIZE + 1.5), va="top", fontsize=SIZE + 1.5
    )


def _span(view: View, events: Sequence[Event]) -> _Span:
    issued = next((e.t for e in events if e.kind == "fault" and e.fields.get("state") == "issued"), None)
    first = min((e.t for e in events if e.kind in ("reading", "phase", "receipt")), default=0.0)
    last = max((e.t for e in events), default=1.0)
    if issued is None:
        return _Span(first, 0.0, max(last - first, 1.0), issued=False)
    ends = [phase.t_s for phase in view.phases]
    right = max(last - issued, *ends, 1.0) if ends else max(last - issued, 1.0)
    # A long approach (installing, filling the shop) says nothing about recovery: no more of it than of what followed.
    return _Span(issued, max(first - issued, -max(right, 10.0)), right, issued=True)


def _phase_flags(view: View, span: _Span) -> list[_Flag]:
    flags = []
    for phase in view.phases:
        if not span.issued or phase.t_s < span.left:
            continue
        words = PHASE_WORDS.get(phase.name, phase.name)
        when = "" if phase.name in ("disrupted", "steady") else f" {seconds(phase.t_s)}"
        colour = _PHASE_COLOUR.get(phase.name, LIGHT.faint)
        flags.append(_Flag(phase.t_s, drawable(words + when), colour))
    return flags


def _place_flags(flags: list[_Flag], left: float, right: float, width_in: float, plot_in: float) -> tuple[float, float]:
    """Give every flag a row, so that no words cover others and no line runs through words; returns the axis' limits.

    Words stand to the right of their line, and each is higher than every later line it reaches over, as flags on a
    stair. Where a wide gap parts the early flags from the late ones, the late ones are hung to the left of their
    line, to use the room between.
    """
    left, right = left - (right - left) * 0.01, right + (right - left) * 0.01
    if not flags:
        return left, right
    flags.sort(key=lambda flag: flag.x)
    ruler = blank(width_in, 1)
    pixels = [
        width_px(ruler, ruler.text(0, 0, f.words, fontsize=SIZE - 1, fontweight="bold" if f.bold else "normal"))
        for f in flags
    ]
    plot_px = plot_in * ruler.dpi
    pad_px = 12.0
    for flag, wide in zip(flags, pixels, strict=True):
        flag.width = (wide + pad_px) * (right - left) / plot_px
    for cut in _cuts(flags):
        for index, flag in enumerate(flags):
            flag.leftward = index >= cut
        early, late = flags[:cut], flags[cut:]
        fits = (not early or max(f.span[1] for f in early) <= min((f.x for f in late), default=right)) and (
            not late or min(f.span[0] for f in late) >= max((f.x for f in early), default=left)
        )
        if fits:
            _stair(early, late)
            return left, right
    # No gap is wide enough: all to the right, and the axis grows until the last words fit.
    for flag in flags:
        flag.leftward = False
    need = max(
        (flag.x - left) * plot_px / max(plot_px - wide - pad_px, 1.0) for flag, wide in zip(flags, pixels, strict=True)
    )
    right = max(right, left + need)
    for flag, wide in zip(flags, pixels, strict=True):
        flag.width = (wide + pad_px) * (right - left) / plot_px
    _stair(flags, [])
    return left, right


def _cuts(flags: list[_Flag]) -> list[int]:
    """Say where the flags may be parted into early and late ones, the widest gap first."""
    gaps = sorted(range(1, len(flags)), key=lambda index: flags[index - 1].x - flags[index].x)
    return [*gaps, len(flags), 0]


def _stair(early: list[_Flag], late: list[_Flag]) -> None:
    for index in range(len(early) - 1, -1, -1):
        flag = early[index]
        flag.row = max((other.row + 1 for other in early[index + 1 :] if other.x < flag.span[1]), default=0)
    for index, flag in enumerate(late):
        flag.row = max((other.row + 1 for other in late[:index] if other.x > flag.span[0]), default=0)
    # The two stairs meet in the gap between them: lift the later one until no words of one row touch.
    while any(one.row == two.row and one.span[1] > two.span[0] for one in early for two in late):
        for flag in late:
            flag.row += 1


def _probes(events: Sequence[Event]) -> list[str]:
    declared = [str(e.fields.get("probe", "")) for e in events if e.kind == "probe"]
    read = [str(e.fields.get("probe", "")) for e in events if e.kind == "reading"]
    return list(dict.fromkeys(declared + read))


def _strip(axes: Axes, name: str, events: Sequence[Event], span: _Span, *, narrow: bool) -> None:
    readings = sorted(
        (
            (float(e.fields.get("sent", e.t)) - span.zero, bool(e.fields.get("ok")), str(e.fields.get("why") or ""))
            for e in events
            if e.kind == "reading" and e.fields.get("probe") == name
        ),
        key=lambda reading: reading[0],
    )
    axes.set(ylim=(0, 1), yticks=[])
    heading = f"probe “{name}”" if name else "probe"
    if not readings:
        axes.set_title(f"{heading}: no readings", loc="left", fontsize=SIZE - 1, color=LIGHT.bad, pad=3)
        return
    steps = [after[0] - before[0] for before, after in pairwise(readings)]
    usual = sorted(steps)[len(steps) // 2] if steps else 0.05
    good: list[tuple[float, float]] = []
    bad: list[tuple[float, float]] = []
    begun = 0
    for index in range(1, len(readings) + 1):
        # A run of like readings ends with another answer, or where the probe fell silent: a hole stays a hole.
        silent = index < len(readings) and steps[index - 1] > max(4 * usual, 0.5)
        if index == len(readings) or silent or readings[index][1] != readings[begun][1]:
            until = readings[index - 1][0] + usual if index == len(readings) or silent else readings[index][0]
            (good if readings[begun][1] else bad).append((readings[begun][0], until - readings[begun][0]))
            begun = index
    axes.broken_barh(good, (0, 0.4), facecolors=LIGHT.good, linewidth=0, zorder=2)
    # The outline keeps a single bad reading, a twentieth of a second, visible in a drill of many minutes.
    axes.broken_barh(bad, (0, 1), facecolors=LIGHT.bad, edgecolors=LIGHT.bad, linewidth=1, zorder=3)
    failed = [why for _, ok, why in readings if not ok]
    words = f"{heading}: {_counted(len(readings), 'reading')}, {len(failed)} failed"
    reasons = Counter(why for why in failed if why).most_common(1)
    if reasons and not narrow:
        words += f" (most often: {reasons[0][0]})"
    axes.set_title(
        drawable(shortened(words, 62 if narrow else 150)), loc="left", fontsize=SIZE - 1, color=LIGHT.faint, pad=3
    )


def _counted(number: int, what: str) -> str:
    return f"{number} {what}" if number == 1 else f"{number} {what}s"


_KEPT, _LOST, _UNKNOWN, _UNREAD = 0, 1, 2, 3


@dataclass(frozen=True)
class _Writes:
    """Writes counted by bins of time: bin number -> how many were kept, lost, never acknowledged, never read."""

    bin_s: float
    bins: dict[int, list[int]]

    def total(self, which: int) -> int:
        return sum(numbers[which] for numbers in self.bins.values())

    def key(self, width_in: float, *, narrow: bool) -> Key:
        parts = []
        if self.total(_UNREAD):
            parts.append(Part(LIGHT.inconclusive, f"{self.total(_UNREAD)} acknowledged, not read back: unknown"))
        else:
            parts.append(Part(LIGHT.write, f"{self.total(_KEPT)} acknowledged and kept"))
        if self.total(_LOST):
            parts.append(Part(LIGHT.bad, f"{self.total(_LOST)} acknowledged, then lost"))
        if self.total(_UNKNOWN):
            parts.append(Part(LIGHT.grid, f"{self.total(_UNKNOWN)} never acknowledged"))
        return lay_key("writes:" if narrow else "writes a second; in this picture:", parts, width_in)


def _count_writes(
    view: View, events: Sequence[Event], span: _Span, xlim: tuple[float, float], *, narrow: bool
) -> _Writes:
    lost = view.rows("losses", "lost")
    # What was never read back is drawn as unknown: nobody saw that it was kept.
    read = not view.unread and any(event.kind == "read_back" for event in events)
    # A bin a second, or wider for drills of many minutes, whose seconds are finer than the picture's pixels.
    bin_s = max(1.0, round((xlim[1] - xlim[0]) / (150 if narrow else 400)))
    bins: dict[int, list[int]] = {}
    for event in events:
        if event.kind == "receipt":
            t = float(event.fields.get("acknowledged", event.t))
            which = _UNREAD if not read else _LOST if any(event.fields.get("seq") in rows for rows in lost) else _KEPT
        elif event.kind == "refused":
            t, which = event.t, _UNKNOWN
        else:
            continue
        if xlim[0] <= t - span.zero <= xlim[1]:
            bins.setdefault(int((t - span.zero) // bin_s), [0, 0, 0, 0])[which] += 1
    return _Writes(bin_s, bins)


def _draw_writes(axes: Axes, writes: _Writes) -> None:
    """Draw the counts as filled steps, one shape a colour: bars beside each other would show seams."""
    places = range(min(writes.bins, default=0), max(writes.bins, default=0) + 2)
    edges = [place * writes.bin_s for place in places]
    base = [0.0] * len(edges)
    looks = (
        (_KEPT, LIGHT.write, ""),
        (_LOST, LIGHT.bad, "////"),
        (_UNREAD, LIGHT.inconclusive, "...."),
        (_UNKNOWN, LIGHT.grid, ""),
    )
    for which, colour, hatch in looks:
        heights = [writes.bins.get(place, [0, 0, 0, 0])[which] / writes.bin_s for place in places]
        if any(heights):
            top = [below + height for below, height in zip(base, heights, strict=True)]
            axes.fill_between(edges, base, top, step="post", facecolor=colour, hatch=hatch, linewidth=0, zorder=2)
            base = top
    axes.grid(axis="y", linewidth=0.6, zorder=0)
    axes.set_ylim(0, max([*base, 1.0]) * 1.08)
    axes.locator_params(axis="y", nbins=4, integer=True)
