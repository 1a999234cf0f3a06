"""Figures as people read them: seconds, objectives and the distance between the two.

One module, because a table that says `300 s` beside a chart that says `5 min` makes the reader check which is meant.
"""

import math
import unicodedata

from drills.texts import clean, line

__all__ = [
    "NEVER", "NONE_SET", "NOT_MEASURED", "bounds", "clean", "columns_of", "line", "objective", "seconds", "shortened",
]  # fmt: skip

NOT_MEASURED = "not measured"
NEVER = "not recovered"
NONE_SET = "none set"


def seconds(value: float | None, absent: str = NOT_MEASURED) -> str:
    """Say a duration given in seconds: `0.42 s`, `72.5 s`, `5 min 3 s`, `2 h 5 min`; `absent` when there is none.

    Two decimals at most: the probe samples 20 times a second, more would be invented, and fewer would print a
    recovery in 60.04 s beside an objective of 60 s as if both were the same.
    """
    if value is None or not math.isfinite(value):
        return absent
    sign = "-" if value < 0 else ""
    size = abs(value)
    if round(size, 2) == 0:
        return "0 s"
    if size < 120:
        return f"{sign}{_trimmed(size)} s"
    whole = round(size)
    hours, rest = divmod(whole, 3600)
    minutes, left = divmod(rest, 60)
    if hours:
        return f"{sign}{hours} h {minutes} min" if minutes else f"{sign}{hours} h"
    return f"{sign}{minutes} min {left} s" if left else f"{sign}{minutes} min"


def bounds(value: float | None, low: float | None, high: float | None, absent: str = NEVER) -> str:
    """Say a measured duration with the bounds between which the truth lies: `12.3 s [12.2 to 12.4 s]`."""
    if value is None:
        return absent
    if low is None or high is None:
        return seconds(value)
    return f"{seconds(value)} [{_trimmed(low)} to {_trimmed(high)} s]"


def objective(value: float | None) -> str:
    """Say an objective given in seconds; `none set` when the drill has none."""
    return seconds(value, absent=NONE_SET)


def shortened(text: str, columns: int) -> str:
    """Cut a text to a number of columns, wide characters counting two, and mark the cut with an ellipsis."""
    if columns_of(text) <= columns:
        return text
    kept = ""
    for character in text:
        if columns_of(kept + character) > columns - 1:
            break
        kept += character
    return kept.rstrip() + "…"


def columns_of(text: str) -> int:
    """Count the columns a text takes on a terminal or chart: wide (Japanese, Chinese, Korean) characters take two."""
    return sum(2 if unicodedata.east_asian_width(character) in "WF" else 1 for character in text)


def _trimmed(value: float) -> str:
    return f"{value:.2f}".rstrip("0").rstrip(".")
