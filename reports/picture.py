"""What every chart shares: fonts, paper, and the two ways out (a PNG file, and SVG drawn into the page).

Pictures are drawn without pyplot, so that nothing global is opened, shown or kept, and no display is needed.

Fonts: text is drawn in DejaVu Sans, which matplotlib brings along; a character it lacks (Japanese, Chinese, Korean)
comes from the first installed font of `FALLBACKS`. Where none of them is installed, each run of such characters is
drawn as one ellipsis: no empty boxes, and the page beside the picture still says the full text in the reader's own
fonts.
"""

import io
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import cache
from html import escape
from pathlib import Path
from typing import Any, ClassVar, NamedTuple

import matplotlib as mpl
from matplotlib import font_manager
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ft2font import FT2Font
from matplotlib.text import Text
from matplotlib.ticker import FixedLocator, FuncFormatter

from drills.record import write_atomically

from .palette import LIGHT, roles
from .words import clean, columns_of, seconds, shortened

FALLBACKS = (
    "Noto Sans CJK JP",
    "Noto Sans JP",
    "Source Han Sans JP",
    "IPAexGothic",
    "IPAGothic",
    "TakaoGothic",
    "VL Gothic",
    "Hiragino Sans",
    "Yu Gothic",
    "Meiryo",
    "MS Gothic",
    "Noto Sans CJK SC",
    "WenQuanYi Zen Hei",
    "Droid Sans Fallback",
)
"""Fonts asked for characters that DejaVu Sans lacks, in this order, when installed."""

WIDE_IN = 11.5
"""Width in inches of a chart for a desk or paper."""

NARROW_IN = 4.5
"""Width in inches of the same chart for a telephone: drawn anew, as a wide one shrunk to 390 pixels cannot be read."""

SIZE = 9.5
"""Size of letters in points."""

PNG_DPI = 130


@cache
def families() -> tuple[str, ...]:
    """Name the fonts to draw with, those installed only, so that matplotlib never warns about absent ones."""
    if not (found := _installed()):
        _add_new_fonts()
        found = _installed()
    return ("DejaVu Sans", *found)


def _installed() -> tuple[str, ...]:
    names = set(font_manager.get_font_names())
    return tuple(name for name in FALLBACKS if name in names)


def _add_new_fonts() -> None:
    """Add what was installed since matplotlib looked for fonts, which it does once, keeping the list in a cache."""
    known = {entry.fname for entry in font_manager.fontManager.ttflist}
    for path in sorted(set(font_manager.findSystemFonts()) - known):
        with suppress(OSError, RuntimeError):  # it is broken, or no outline font; matplotlib passes over it, too
            font_manager.fontManager.addfont(path)


@cache
def _faces() -> tuple[FT2Font, ...]:
    return tuple(
        font_manager.get_font(font_manager.findfont(font_manager.FontProperties(family=name))) for name in families()
    )


@cache
def _has_glyph(character: str) -> bool:
    return any(face.get_char_index(ord(character)) for face in _faces())


def drawable(text: str) -> str:
    """Prepare a text for a picture: one line, no markup, and an ellipsis for what no installed font can draw."""
    line = " ".join(clean(text).split())
    drawn = "".join(character if _has_glyph(character) else "\0" for character in line)
    return re.sub("\0+", "…", drawn).replace("$", r"\$")  # a bare dollar would start a formula


@contextmanager
def drawing() -> Iterator[None]:
    """Set fonts and colours for the pictures made inside, and put matplotlib back as it was for everyone else."""
    style: dict[Any, Any] = {
        "font.family": list(families()),
        "font.size": SIZE,
        "text.color": LIGHT.ink,
        "axes.edgecolor": LIGHT.grid,
        "axes.labelcolor": LIGHT.faint,
        "axes.labelsize": SIZE - 1,
        "axes.unicode_minus": True,
        "xtick.color": LIGHT.faint,
        "ytick.color": LIGHT.faint,
        "xtick.labelsize": SIZE - 1,
        "ytick.labelsize": SIZE - 1,
        "grid.color": LIGHT.grid,
        "hatch.color": LIGHT.page,
        "svg.fonttype": "path",  # letters as outlines: the reader's machine needs none of our fonts
        "svg.hashsalt": "pytest-drills",  # the same record gives the same bytes
        "path.simplify": True,
    }
    with mpl.rc_context(style):
        yield


def blank(width_in: float, height_in: float) -> Figure:
    """Begin a picture of a size in inches."""
    figure = Figure(figsize=(width_in, height_in), facecolor=LIGHT.page)
    FigureCanvasAgg(figure)
    return figure


def panel(figure: Figure, left: float, bottom: float, width: float, height: float) -> Axes:
    """Add axes at a place in inches from the lower left corner, with only the frame lines that help reading."""
    full_width, full_height = figure.get_size_inches()
    axes = figure.add_axes((left / full_width, bottom / full_height, width / full_width, height / full_height))
    axes.set_facecolor("none")
    for side in ("top", "right", "left"):
        axes.spines[side].set_visible(False)
    axes.tick_params(length=0)
    axes.set_axisbelow(True)
    return axes


def width_px(figure: Figure, text: Text) -> float:
    """Measure a text in the picture's pixels."""
    canvas = figure.canvas
    if not isinstance(canvas, FigureCanvasAgg):
        raise TypeError(f"a picture made by blank() is needed to measure text, {type(canvas).__name__} found")
    return float(text.get_window_extent(canvas.get_renderer()).width)  # type: ignore[no-untyped-call]


def fitted(text: str, width_in: float, size: float, weight: str = "normal") -> str:
    """Prepare a text for a picture and cut it so that it fits a width in inches at a size of letters in points."""
    ruler = blank(width_in, 1)
    columns = columns_of(text)
    while True:
        words = drawable(shortened(text, columns))
        measured = width_px(ruler, ruler.text(0, 0, words, fontsize=size, fontweight=weight)) / ruler.dpi
        if measured <= width_in or columns <= 4:
            return words
        columns = min(columns - 1, int(columns * width_in / measured) + 1)


@dataclass(frozen=True)
class Key:
    """What the colours of a chart mean, laid out in lines: (words, colour, points from the left)."""

    lines: list[list[tuple[str, str, float]]]

    LINE_IN: ClassVar[float] = 0.19

    @property
    def height_in(self) -> float:
        """The height it takes in inches."""
        return len(self.lines) * self.LINE_IN

    def draw(self, axes: Axes, above_in: float = 0.05) -> None:
        """Write it above axes."""
        for index, line in enumerate(reversed(self.lines)):
            for words, colour, offset in line:
                axes.annotate(
                    words,
                    (0, 1),
                    (offset, (above_in + index * self.LINE_IN) * 72),
                    xycoords="axes fraction",
                    textcoords="offset points",
                    fontsize=SIZE - 1,
                    color=colour,
                    va="bottom",
                )


class Part(NamedTuple):
    """One entry of a key: a sign in its colour, and what it means."""

    colour: str
    words: str
    sign: str = "■"


def lay_key(heading: str, parts: Sequence[Part], width_in: float) -> Key:
    """Lay out a heading and a key's entries side by side, in as many lines as the width needs."""
    ruler = blank(width_in, 1)

    def points(words: str) -> float:
        return width_px(ruler, ruler.text(0, 0, words, fontsize=SIZE - 1)) * 72 / ruler.dpi

    lines: list[list[tuple[str, str, float]]] = [[]]
    offset = 0.0
    if heading:
        lines[0].append((heading, LIGHT.faint, 0.0))
        offset = points(heading) + 7
    for colour, words, sign in parts:
        before, wide = points(sign) + 4, points(words)
        if offset + before + wide > width_in * 72 and lines[-1]:
            lines.append([])
            offset = 0.0
        lines[-1] += [(sign, colour, offset), (words, LIGHT.faint, offset + before)]
        offset += before + wide + 12
    return Key(lines)


def save_png(figure: Figure, path: Path) -> Path:
    """Write a picture as a PNG file, whole or not at all."""
    held = io.BytesIO()
    with drawing():
        figure.savefig(held, format="png", dpi=PNG_DPI, metadata={"Software": None})
    write_atomically(path, held.getvalue())
    return path


def inline_svg(figure: Figure, name: str, label: str) -> str:
    """Give a picture as an `<svg>` element, its colours as CSS variables, so that one drawing serves both themes.

    `name` must be unique in the page: it prefixes every id, as ids of two pictures in one page would meet. `label` is
    what a screen reader says.
    """
    held = io.BytesIO()
    with drawing():
        figure.savefig(held, format="svg", transparent=True, metadata={"Date": None, "Creator": None})
    text = held.getvalue().decode()
    text = text[text.index("<svg") :]
    text = re.sub(r"<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    # The page names no address at all, not even a namespace's: HTML knows <svg> without it, and href without xlink.
    text = re.sub(r'\s+xmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href=", "href=")
    # Comments repeat every text; hundredths of a point are finer than any screen: half the page's size goes with them.
    text = re.sub(r"<!--.*?-->", "", text, flags=re.DOTALL)
    text = re.sub(r'( d="[^"]*"| [xy]="[^"]*"|translate\([^)]*\))', lambda part: _HUNDREDTHS.sub(r"\1", part[0]), text)
    text = re.sub(r">\s+<", "><", re.sub(r"\s*\n\s*", " ", text))
    prefix = re.sub(r"[^A-Za-z0-9_-]", "-", name)
    text = re.sub(r'\bid="', f'id="{prefix}-', text)
    text = text.replace('href="#', f'href="#{prefix}-').replace("url(#", f"url(#{prefix}-")
    names = {colour: role for role, colour in roles(LIGHT).items()}
    text = re.sub(
        r"#[0-9a-f]{6}\b",
        lambda match: f"var(--{names[match[0]]}, {match[0]})" if match[0] in names else match[0],
        text,
    )
    size = re.search(r'viewBox="[^"]*"', text)
    opening = f'<svg {size[0] if size else ""} role="img" aria-label="{escape(clean(label))}">'
    return re.sub(r"<svg[^>]*>", lambda _: opening, text, count=1)


_HUNDREDTHS = re.compile(r"(\d+\.\d\d)\d+")
_NICE_S = (
    0.1,
    0.2,
    0.5,
    1,
    2,
    5,
    10,
    15,
    30,
    60,
    120,
    300,
    600,
    900,
    1800,
    3600,
    7200,
    14400,
    28800,
    86400,
    172800,
    604800,
)


def even_ticks(low: float, high: float, at_most: int) -> list[float]:
    """Choose ticks for a span in seconds at steps people count in (5 s, 15 s, 1 min, 5 min ...)."""
    span = max(high - low, 1e-9)
    step = next((step for step in _NICE_S if span / step <= at_most), span / at_most)
    first = -int(-low // step) if low > 0 else int(low / step)
    ticks = []
    place = first
    while place * step <= high + 1e-9:
        if place * step >= low - 1e-9:
            ticks.append(place * step)
        place += 1
    return ticks


def log_ticks(high: float, at_most: int) -> list[float]:
    """Choose ticks for a scale logarithmic above 1 s: 0, 1 s, 10 s, 1 min, 10 min ... up to `high` seconds."""
    ticks = [tick for tick in (1, 10, 60, 600, 3600, 14400, 86400, 604800) if tick <= high * 1.001]
    while len(ticks) > at_most - 1:
        ticks = ticks[1::2] if len(ticks) % 2 == 0 else ticks[::2]
    return [0.0, *map(float, ticks)]


def label_seconds(axes: Axes, which: str, ticks: list[float]) -> None:
    """Put ticks on an axis, labelled with their units."""
    axis = axes.xaxis if which == "x" else axes.yaxis
    axis.set_major_locator(FixedLocator(ticks))
    axis.set_minor_locator(FixedLocator([]))
    axis.set_major_formatter(FuncFormatter(lambda value, _: seconds(value)))
