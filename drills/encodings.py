r"""Texts in disguise: where a secret stands in a content, in whatever usual encodings, one within another.

Nobody can list all spellings of a secret: `%70`, `\x70`, `\160`, `&#112;`, `p` in UTF-16, Base64 wrapped at 76
columns, Base64 of that. So it is the content that is undone. In two passes, because the exact one is slow:

- A sieve. With all escapes undone and all but letters and digits left out, content and secret look the same however
  the secret is spelled, quoted, wrapped or indented. Runs of Base64, Base32, hex and decimal bytes are decoded and
  sieved in turn. This takes a few passes over the content, whatever is in it.
- Where the sieve holds something back, in a window of some kilobytes, each encoding is undone by itself and one after
  another, every byte knows where it came from, and the secret is looked for as it is.
"""

from __future__ import annotations

import base64
import binascii
import re
from bisect import bisect_right
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from html import unescape

Span = tuple[int, int]

_WINDOW = 8192
_DEEPEST = 4  # encodings within one another
_MOST_NODES = 240  # ways to undo one window
_SURE = 6  # letters and digits of a secret by which the sieve can tell it from other text
_APART = b"\xff\0\xff"  # between texts that are searched as one
_SWALLOWED = 5  # characters at its beginning that a half escape before it may take along, as `%a` does `b`
_GAPS = 12  # letters and digits of a secret that are looked for with anything but these between them

_BYTE, _OCTAL = rb"[xX]([0-9A-Fa-f]{2})", rb"([0-3][0-7]{2})"
_NO_BACKSLASH = b"()" * 7 + b"(?!)"
# A run of backslashes is taken whole or not at all: begun at each of them, a long one would take its length squared.
_RUN = rb"(?<!\\)\\++"
_NUMERIC = _RUN + (
    rb"(?:[uU]([dD][89abAB][0-9A-Fa-f]{2})\\++[uU]([dD][c-fC-F][0-9A-Fa-f]{2})"
    rb"|U([0-9A-Fa-f]{8})|[uU]([0-9A-Fa-f]{4})|u\{([0-9A-Fa-f]{1,6})\}|" + _BYTE + rb"|" + _OCTAL + rb")"
)
_PERCENT = rb"%([0-9A-Fa-f]{2})"
_ENTITY = rb"&(?:#[xX]0*([0-9A-Fa-f]{1,6})|#0*([0-9]{1,7})|([A-Za-z][0-9A-Za-z]{1,31}));"
_CONTROL = _RUN + rb"([abefnrtv0])"
_CONTROLS = dict(zip(b"abefnrtv0", b"\a\b\x1b\f\n\r\t\v\0", strict=True))
_NAMED = {ord(name): bytes([code]) for name, code in zip("abefnrtv0", _CONTROLS.values(), strict=True)}

_NOT_PLAIN = bytes(code for code in range(256) if not chr(code).isalnum() or code > 127)
_HAS_ESCAPES = re.compile(rb"[\\%&\0\n]|=[0-9A-F]{2}")
_QUOTED_PRINTABLE = re.compile(rb"=([0-9A-F]{2})|=\r?\n")
_IS_QUOTED = re.compile(rb"=\r?\n|(?:=[0-9A-F]{2}){2}|=3D")
_LINE_END = re.compile(rb"(?:[\"']|(?<![ \t\\\"']))[ \t]*+\\*+\r?\n[ \t|>+#]*+[\"']?")
_SPELT_LINE_END = re.compile(_RUN + b"(?:[nr][ \t]*+)?")
_BASE64_ALPHABET = rb"A-Za-z0-9+/_\-"
_HEX_RUN = re.compile(rb"(?:(?:0[xX]|\\{1,4}x)?[0-9A-Fa-f]{2}[ \t,:;-]{0,2}){6,}")
_DECIMAL_RUN = re.compile(rb"(?:[0-9]{1,3}(?:,[ \t\n]{0,40}|[ \t\n]{1,40})){5,}[0-9]{1,3}")
_BASE32_RUN = re.compile(rb"[A-Z2-7]{10,}")
_URL_SAFE = bytes.maketrans(b"-_", b"+/")


@dataclass(frozen=True)
class Wanted:
    """A secret as it is looked for.

    Attributes:
        forms: the bytes that it is, in each encoding of characters and with its line ends left out.
        core: its letters and digits, less the first few where there are many; what the sieve looks for.
        sure: whether the core is long enough to tell it from other text.
        whole: whether the sieve finds it whatever stands before it; else its spellings are looked for everywhere.
        spelled: it in any spelling of each of its characters by itself, compiled when first asked for.

    """

    forms: tuple[bytes, ...]
    core: bytes
    sure: bool
    whole: bool
    spelled: Callable[[], re.Pattern[bytes]]

    @classmethod
    def of(cls, secret: str, spelled: Callable[[], re.Pattern[bytes]]) -> Wanted:
        """Prepare a secret; `spelled` gives the pattern of its spellings."""
        raw = secret.encode("utf-8", "surrogatepass")
        forms = {raw, raw.replace(b" ", b"+"), re.sub(rb"\s*\n\s*", b"", raw)}
        if not secret.isascii():
            forms |= {secret.encode(code, "surrogatepass") for code in ("utf-16-le", "utf-16-be", "utf-32-le")}
            forms |= {secret.encode(code, "ignore") for code in ("latin-1", "cp1252") if _fits(secret, code)}
        plain = _sieved(raw)
        whole = len(plain) >= _SURE + _SWALLOWED
        core = plain[_SWALLOWED:] if whole else plain
        return cls(tuple(form for form in forms if len(form) >= 4), core, len(core) >= _SURE, whole, spelled)

    @property
    def bare(self) -> tuple[bytes, ...]:
        """It without its backslashes, in each encoding of characters."""
        return tuple(form for form in (each.replace(b"\\", b"") for each in self.forms) if len(form) >= 4)

    def gapped(self) -> re.Pattern[bytes] | None:
        """Give a pattern of its letters and digits with a few other bytes between; None where they are too few."""
        plain = _sieved(max(self.forms, key=len)) if len(self.core) >= _GAPS else b""
        return re.compile(b"[^0-9A-Za-z]{0,24}".join(bytes([one]) for one in plain)) if plain else None


def _fits(secret: str, code: str) -> bool:
    try:
        secret.encode(code)
    except UnicodeEncodeError:
        return False
    return True


@dataclass
class Search:
    """Looks for secrets in contents.

    Args:
        wanted: the secrets.

    """

    wanted: Sequence[Wanted]
    _reach: int = field(init=False)
    _runs: re.Pattern[bytes] = field(init=False)
    _readable: re.Pattern[bytes] | None = field(init=False)

    def __post_init__(self) -> None:
        shortest = min((len(form) for each in self.wanted for form in each.forms), default=6)
        longest = max((len(form) for each in self.wanted for form in each.forms), default=6)
        # Secrets in ASCII, and all their encodings, stand in stretches of ASCII (UTF-16 has NUL between): of a picture,
        # or of what is no Base64 and was decoded, little is left.
        plain = all(form.isascii() for each in self.wanted for form in each.forms)
        self._readable = re.compile(rb"[\0\t\n\r -~]{%d,}" % shortest) if plain else None
        # An encoding takes up to six characters for one, and one within another more; wrapped lines are indented.
        self._reach = min(24 * longest + 256, 4 * _WINDOW)
        self._runs = re.compile(b"[%b]{%d,}" % (_BASE64_ALPHABET, max(6, shortest * 4 // 3)))

    def spans(self, content: bytes) -> list[Span]:
        """Find where secrets stand, in order and without overlaps.

        What comes out is what must be taken out: of Base64 the characters that have a part of the secret in them.
        """
        found: list[Span] = []
        if _HAS_ESCAPES.search(content):
            # So few letters and digits are everywhere, or lost to a half escape before them.
            for each in self.wanted:
                found += [] if each.whole else [match.span() for match in each.spelled().finditer(content)]
        suspects = self._suspects(content, self.wanted, 0)
        if not suspects:
            return _merged(found)
        for begin in range(0, max(1, len(content)), _WINDOW):
            low, high = max(0, begin - self._reach), min(len(content), begin + _WINDOW + self._reach)
            window = content[low:high]
            here = suspects if (low, high) == (0, len(content)) else self._suspects(window, suspects, 0)
            if here:
                found += [(low + first, low + last) for first, last in self._exactly(window, here)]
        return _merged(found)

    # The sieve

    def _suspects(self, content: bytes, wanted: Sequence[Wanted], depth: int) -> list[Wanted]:
        """Name the secrets that a content may hold."""
        if self._readable is not None and not content.isascii():
            content = b"\xff".join(self._readable.findall(content))
        texts = list(_undone(content))
        # Any of a short one's own backslashes may be doubled, and its quotes have one: compared without them all. The
        # texts are searched as one; what would stand across two of them is only suspected, and not found in the window.
        bare = _APART.join({text.replace(b"\\", b"") for text in texts})
        plain = _APART.join({_sieved(text) for text in texts})
        found = {
            id(each) for each in wanted
            if (each.core in plain if each.sure else any(form in bare for form in each.bare))
        }  # fmt: skip
        if depth < _DEEPEST and len(found) < len(wanted):
            rest = [each for each in wanted if id(each) not in found] if found else wanted
            ends = {texts[0], texts[-1]}
            # Base64 in JSON: the line ends in it are spelt, and some writers escape its slashes.
            ends |= {_SPELT_LINE_END.sub(b"", text) for text in ends if b"\\" in text}
            for decoded in self._decoded(ends | {_LINE_END.sub(b"", text) for text in ends}):
                found |= {id(each) for each in self._suspects(decoded, rest, depth + 1)}
        return [each for each in wanted if id(each) in found] if found else []

    def _decoded(self, texts: Iterable[bytes]) -> Iterator[bytes]:
        """Decode what may be encoded bytes, all runs of a kind at once: what a run is cut off from tells nothing."""
        for text in texts:
            runs = [run.translate(_URL_SAFE) for run in self._runs.findall(text)]
            for skip in range(4) if runs else ():
                padded = (run[skip:] + b"A" * (-(len(run) - skip) % 4) for run in runs)
                yield binascii.a2b_base64(b"".join(padded))
            for pattern, decode in ((_HEX_RUN, _from_hex), (_DECIMAL_RUN, _from_decimal), (_BASE32_RUN, _from_base32)):
                if runs := pattern.findall(text):
                    yield from {b"\xff".join(decode(run, skip) for run in runs) for skip in range(2)}

    # Exactly

    def _exactly(self, window: bytes, wanted: Sequence[Wanted]) -> list[Span]:
        found: list[Span] = []
        seen: set[bytes] = set()
        level = [_Node(window)]
        for depth in range(_DEEPEST + 1):
            deeper: list[_Node] = []
            for node in level:
                if node.content in seen or len(seen) > _MOST_NODES:
                    continue
                seen.add(node.content)
                for each in wanted:
                    found += [node.origin(*span) for form in each.forms for span in _all(node.content, form)]
                    found += [node.origin(*match.span()) for match in each.spelled().finditer(node.content)]
                if depth < _DEEPEST:
                    deeper += [made for made in self._ways(node) if self._may_hold(made.content, wanted)]
            level = deeper
        for each in wanted:
            for node in _changed(_Node(window), (_joined, _without_nul)):
                found += [node.origin(*match.span()) for match in each.spelled().finditer(node.content)]
            if (gapped := each.gapped()) is not None:
                found += [match.span() for match in gapped.finditer(window)]
        return found

    def _may_hold(self, content: bytes, wanted: Sequence[Wanted]) -> bool:
        return bool(self._suspects(content, wanted, 1))

    def _ways(self, node: _Node) -> Iterator[_Node]:
        yield from _changed(node, _UNDOING)
        for skip in range(4):
            made = _Node(b"", node)
            for run in self._runs.finditer(node.content):
                encoded = run[0].translate(_URL_SAFE)[skip:]
                encoded += b"A" * (-len(encoded) % 4)
                made.add(binascii.a2b_base64(encoded), run.start() + skip, run.end(), 4 / 3)
                made.add(b"\xff", run.end(), run.end(), 0)
            if made.content:
                yield made
        for pattern, decode in ((_HEX_RUN, _from_hex), (_DECIMAL_RUN, _from_decimal), (_BASE32_RUN, _from_base32)):
            for skip in range(2):
                made = _Node(b"", node)
                for run in pattern.finditer(node.content):
                    decoded = decode(run[0], skip)
                    even = pattern is _HEX_RUN and len(decoded) * 2 + skip in (len(run[0]), len(run[0]) - 1)
                    made.add(decoded, run.start() + (skip if even else 0), run.end(), 2 if even else 0)
                    made.add(b"\xff", run.end(), run.end(), 0)
                if made.content:
                    yield made


class _Node:
    """A content, and for each part of it where in the one that it was made of it came from."""

    def __init__(self, content: bytes, parent: _Node | None = None) -> None:
        self._parts = [content]
        self._parent = parent
        self._length = len(content)
        self._begins: list[int] = [0] if content else []
        self._origins: list[tuple[int, int, float]] = [(0, len(content), 1.0)] if content else []

    @property
    def content(self) -> bytes:
        if len(self._parts) > 1:
            self._parts = [b"".join(self._parts)]
        return self._parts[0] if self._parts else b""

    def add(self, part: bytes, begin: int, end: int, ratio: float) -> None:
        """Append bytes that stand at begin to end of the parent; so many of its bytes for each, 0 for all together."""
        if part:
            self._begins.append(self._length)
            self._origins.append((begin, end, ratio))
            self._parts.append(part)
            self._length += len(part)

    def origin(self, first: int, last: int) -> Span:
        """Give the place of a part of the content in the content that all was made of."""
        low_part, high_part = bisect_right(self._begins, first) - 1, bisect_right(self._begins, last - 1) - 1
        begin, _, ratio = self._origins[low_part]
        low = begin + int((first - self._begins[low_part]) * ratio)
        begin, end, ratio = self._origins[high_part]
        high = min(end, begin - int(-(last - self._begins[high_part]) * ratio // 1)) if ratio else end
        return (low, high) if self._parent is None else self._parent.origin(low, high)


def _changed(node: _Node, ways: Iterable[Callable[[bytes], Iterator[tuple[int, int, bytes]]]]) -> Iterator[_Node]:
    content = node.content
    for way in ways:
        made, place = _Node(b"", node), 0
        for begin, end, becomes in way(content):
            made.add(content[place:begin], place, begin, 1.0)
            made.add(becomes, begin, end, 0)
            place = end
        if place:
            made.add(content[place:], place, len(content), 1.0)
            yield made


def _by(
    pattern: re.Pattern[bytes], becomes: Callable[[re.Match[bytes]], bytes]
) -> Callable[[bytes], Iterator[tuple[int, int, bytes]]]:
    return lambda content: ((match.start(), match.end(), becomes(match)) for match in pattern.finditer(content))


def _character(match: re.Match[bytes]) -> bytes:
    """Give what an escape stands for: by a number a character in UTF-8, of a byte the byte."""
    groups = match.groups()
    if groups[0]:  # two halves of a character
        high, low = int(groups[0], 16), int(groups[1], 16)
        return chr(0x10000 + ((high - 0xD800) << 10) + (low - 0xDC00)).encode()
    for number in groups[2:5]:
        if number:
            return _of_code(int(number, 16))
    if groups[5]:
        return bytes([int(groups[5], 16)])
    if groups[6]:
        return bytes([int(groups[6], 8)])
    if len(groups) > 7 and groups[7]:
        return bytes([int(groups[7], 16)])
    return _entity(groups[8:]) if len(groups) > 8 else match[0]


def _entity(groups: Sequence[bytes | None]) -> bytes:
    if groups[0]:
        return _of_code(int(groups[0], 16))
    if groups[1]:
        return _of_code(int(groups[1]))
    name = (groups[2] or b"").decode()
    return unescape(f"&{name};").encode()


def _of_code(code: int) -> bytes:
    return chr(code).encode("utf-8", "surrogatepass") if code < 0x110000 else b""


_C_ESCAPES = re.compile(_NUMERIC + b"|" + _CONTROL)
_BARE_ESCAPES = re.compile(_NUMERIC + rb"|\\+")
_NAMED_ESCAPE = re.compile(_CONTROL)
# One that a reading does not know is matched by nothing (`(?!)`), so that groups keep their numbers.
_NO_OCTAL = _NUMERIC.replace(_OCTAL, b"((?!))")
_READINGS = tuple(
    re.compile(b"|".join((numeric, _PERCENT, _ENTITY)))
    for numeric in (_NO_BACKSLASH, _NO_OCTAL.replace(_BYTE, b"((?!))"), _NO_OCTAL, _NUMERIC)
)
_ALL = re.compile(b"|".join((_NUMERIC, _PERCENT, _ENTITY, _CONTROL)))
_joined = _by(_LINE_END, lambda _: b"")
_without_nul = _by(re.compile(rb"\0+"), lambda _: b"")


def _c_escape(match: re.Match[bytes]) -> bytes:
    return _NAMED[match[8][0]] if match[8] else _character(match)


def _bare(match: re.Match[bytes]) -> bytes:
    return b"" if set(match[0]) == {0x5C} else _character(match)


def _any_escape(match: re.Match[bytes]) -> bytes:
    return _NAMED[match[12][0]] if match[12] else _character(match)


_UNDOING = (
    _by(_ALL, _any_escape),
    _by(re.compile(_PERCENT), lambda match: bytes([int(match[1], 16)])),
    _by(_C_ESCAPES, _c_escape),
    _by(_BARE_ESCAPES, _bare),
    _by(re.compile(_ENTITY), lambda match: _entity(match.groups())),
    _by(_QUOTED_PRINTABLE, lambda match: bytes([int(match[1], 16)]) if match[1] else b""),
    _joined,
    _without_nul,
)


def _undone(content: bytes) -> Iterator[bytes]:
    r"""Undo escapes level by level, to be sieved.

    What a backslash means depends on who wrote it: `\n` is the end of a line, or an n; `\000` a byte, or three digits;
    `\x41` a letter, or all three. So each reading gives texts of its own, where they differ.
    """
    seen = {content}
    yield content
    for escapes in _READINGS if b"\\" in content else _READINGS[-1:]:
        text = content
        for _ in range(_DEEPEST):
            again = escapes.sub(_character, text) if any(sign in text for sign in (b"\\", b"%", b"&")) else text
            if again == text:
                break
            text = again
            if text not in seen:
                seen.add(text)
                yield text
    if b"\\" in content:
        yield from (_NAMED_ESCAPE.sub(b"", text) for text in list(seen) if b"\\" in text)
    if b"=" in content and _IS_QUOTED.search(content):
        yield _QUOTED_PRINTABLE.sub(lambda match: bytes([int(match[1], 16)]) if match[1] else b"", content)
    yield text


def _sieved(content: bytes) -> bytes:
    return content.translate(None, _NOT_PLAIN)


def _from_hex(run: bytes, skip: int) -> bytes:
    digits = re.sub(rb"0[xX]|\\+x|[^0-9A-Fa-f]", b"", run)[skip:]
    return bytes.fromhex(digits[: len(digits) // 2 * 2].decode())


def _from_decimal(run: bytes, _: int) -> bytes:
    return bytes(number for number in map(int, re.findall(rb"[0-9]+", run)) if number < 256)


def _from_base32(run: bytes, _: int) -> bytes:
    text = run[: len(run) - len(run) % 8 + {0: 0, 1: 0, 2: 2, 3: 2, 4: 4, 5: 5, 6: 5, 7: 7}[len(run) % 8]]
    return base64.b32decode(text + b"=" * (-len(text) % 8))


def _all(content: bytes, form: bytes) -> Iterator[Span]:
    place = content.find(form)
    while place >= 0:
        yield place, place + len(form)
        place = content.find(form, place + len(form))


def _merged(spans: Iterable[Span]) -> list[Span]:
    merged: list[Span] = []
    for first, last in sorted(spans):
        if merged and first < merged[-1][1]:
            merged[-1] = (merged[-1][0], max(merged[-1][1], last))
        elif last > first:
            merged.append((first, last))
    return merged
