"""Texts that come from outside, made fit for where they go: whole characters, bounded, and harmless on a terminal.

Whatever a scenario, a program or a file says may hold anything: half of a character (from a file's name that is no
UTF-8), a megabyte, a terminal's control codes, a line break with a CI system's command behind it.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

LONGEST = 16_384
"""Characters of one text that evidence keeps: a stack trace and more. What is longer is cut, and says so."""

_LONGEST_NAME = 256
_DEEPEST = 40
_MARK = 48  # characters that the mark of a cut may take
_HALF = re.compile("[\ud800-\udfff]")
_TERMINAL_CODE = re.compile("\x1b\\[[0-9;?]*[ -/]*[@-~]|\x1b\\][^\x07\x1b]{0,4096}(?:\x07|\x1b\\\\)")
# What XML 1.0 cannot hold, production [2] Char; then the C1 controls, among them U+009B, which begins a terminal's
# code as ESC [ does; and what changes the direction of writing (UAX #9), so that a line reads as another than it is.
_UNPRINTABLE = re.compile(
    "[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]|[\x7f-\x84\x86-\x9f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069]"
)
_BREAK = re.compile("[\t\n\x0b\x0c\r\x1c-\x1e\x85\u2028\u2029]+")
# GitHub Actions takes `::command` where a line begins, blanks left aside, and `##[command]` anywhere in it, as Azure
# Pipelines takes `##vso[` and TeamCity `##teamcity[`.
_COMMAND = re.compile(r"^(\s*):(?=:)|#(?=#\w*\[)")


def whole(text: str) -> str:
    r"""Replace each half of a character (a lone surrogate) by what can be written: `\xe9` for a byte, else `\ud800`.

    >>> whole("caf\udce9")
    'caf\\xe9'
    """
    return _HALF.sub(_spelled, text)


def _spelled(found: re.Match[str]) -> str:
    code = ord(found[0])
    # What os.fsdecode makes of a byte that is no UTF-8 (PEP 383).
    return f"\\x{code - 0xDC00:02x}" if 0xDC80 <= code <= 0xDCFF else f"\\u{code:04x}"


def bounded(text: str, most: int = LONGEST, beyond: int = 0) -> str:
    """Cut a text to `most` characters at most, the mark that says how many were left out among them.

    `beyond` is how many characters were left out behind it already, if above 0.

    Secrets must have been taken out before: half of one at the cut would not be recognised.
    """
    beyond = max(0, beyond)
    if len(text) <= most and not beyond:
        return text
    kept = max(0, most - _MARK)
    return f"{text[:kept]}… [{len(text) - kept + beyond:,} characters left out]"


def tail(text: str, most: int, beyond: int = 0) -> str:
    """Give the end of a text, at most so many characters, after a line that says how many were left out.

    `beyond` is how many characters were left out before it already, if above 0.
    """
    left_out = len(text) - most + max(0, beyond)
    return text if len(text) <= most and beyond <= 0 else f"[{left_out} characters left out]\n{text[-most:]}"


def fit(value: Any, clean: Callable[[str], str], most: int = LONGEST, depth: int = 0) -> Any:  # noqa: ANN401 - any JSON
    """Make JSON fit to be kept: texts whole and bounded, numbers beyond 64 bits as texts, nothing nested too deep.

    Args:
        value: any JSON; of other types nothing is changed.
        clean: takes secrets out of a text; asked of each that is cut, before it is.
        most: characters of each text.
        depth: levels of nesting around it.

    """
    if depth > _DEEPEST:
        return "[nested too deep, left out]"
    if isinstance(value, str):
        return bounded(whole(value if len(value) <= most else clean(value)), most)
    if isinstance(value, bool | float | None):
        return value
    if isinstance(value, int):
        return value if abs(value) < 2**63 else bounded(_digits(value), most)
    if isinstance(value, dict):
        return {
            fit(str(key), clean, _LONGEST_NAME, depth + 1): fit(each, clean, most, depth + 1)
            for key, each in value.items()
        }
    return [fit(each, clean, most, depth + 1) for each in value] if isinstance(value, list | tuple) else value


def _digits(value: int) -> str:
    try:
        return str(value)
    except ValueError:  # beyond what Python writes in digits
        return hex(value)


def clean(text: object) -> str:
    """Strip what XML, a page or a terminal cannot hold: colour codes, control characters, changes of direction.

    Tabs and line ends stay.
    """
    return _UNPRINTABLE.sub("", _TERMINAL_CODE.sub("", str(text)))


def line(text: object, most: int = LONGEST) -> str:
    """Make a text one line that no terminal and no CI system takes for a command of its own."""
    return _COMMAND.sub(lambda found: f"{found[0]} ", bounded(clean(_BREAK.sub(" ", whole(str(text)))), most))


def lines(text: object, most: int = LONGEST) -> str:
    """Do the same with each line of a text that may have several."""
    parts = bounded(clean(whole(str(text))).replace("\r", "\n"), most).split("\n")
    return "\n".join(line(part, most) for part in parts)
