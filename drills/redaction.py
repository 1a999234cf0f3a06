"""Secrets that must not enter the evidence: the passwords of workloads, the keys of object stores.

Whoever makes or is given one says so with `keep_secret`. Histories, command logs and records are cleaned of it as they
are written; sealing searches all other files of the run, too.
"""

from __future__ import annotations

import json
import os
import re
import threading
from base64 import b64encode
from dataclasses import dataclass
from html import unescape
from html.entities import html5
from pathlib import Path

from drills import texts
from drills.errors import UsageError

MARK = b"[redacted]"
SHORTEST = 6
SHORTEST_NUMBER = 12
_PLAIN = re.compile(r"[!-\[\]-~]+")  # visible ASCII without the backslash: what has no spelling of another kind
_ENTITY = re.compile(rb"&(#[xX]?)?0*([0-9A-Za-z]{1,32});")
_CONTROL = {"\b": b"b", "\f": b"f", "\n": b"n", "\r": b"r", "\t": b"t"}


@dataclass(frozen=True)
class _Sought:
    """A secret as texts are searched for it.

    The pattern finds it in every spelling, and takes its time: with the passwords of 74 drills, ten minutes in the
    files of their run. So it is asked only where the secret can be. If every character of a plain one stands there as
    itself, backslashes left aside, so does the secret; else one of them is escaped.
    """

    pattern: re.Pattern[bytes]
    plain: bool
    raw: bytes
    characters: frozenset[str]


class Secrets:
    """The secrets of this process, in all the forms in which they are looked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._sought: tuple[_Sought, ...] = ()
        self._encoded: tuple[bytes, ...] = ()
        self._shared: Path | None = None

    def register(self, secret: str) -> None:
        """Keep a text out of the evidence from now on.

        Raises:
            UsageError: it is shorter than 6 characters, or 12 digits: figures of any evidence would be taken for it.

        """
        shortest = SHORTEST_NUMBER if secret.isdecimal() else SHORTEST
        if len(secret) < shortest:
            raise UsageError(f"secret: found {len(secret)} characters, accepted: {shortest} or more of this kind")
        with self._lock:
            if secret in self._known:
                return
            self._known.add(secret)
            # The longest first: what holds another secret must not be left half readable.
            self._sought = tuple(map(_sought, sorted(self._known, key=len, reverse=True)))
            self._encoded = tuple(sorted({form for known in self._known for form in _encoded(known)}, key=len)[::-1])
            if self._shared is not None:
                _append(self._shared, secret)

    def clean(self, text: str) -> str:
        """Replace every form of every secret by `[redacted]`."""
        if not self._known:
            return text
        content = text.encode("utf-8", "surrogatepass")
        clean = self.clean_bytes(content)
        return text if clean == content else clean.decode("utf-8", "surrogatepass")

    def clean_bytes(self, content: bytes) -> bytes:
        """Do the same with a file's content."""
        for form in self._encoded:
            if form in content:
                content = content.replace(form, MARK)
        bare, escaped = content.replace(b"\\", b""), _escaped_characters(content)
        for one in self._sought:
            if not one.plain or one.raw in bare or not escaped.isdisjoint(one.characters):
                content = one.pattern.sub(MARK, content)
        return content

    def share(self, path: Path) -> None:
        """Tell another process, one that seals what this one writes, by a file that only this user can read."""
        with self._lock:
            self._shared = path
            for secret in self._known:
                _append(path, secret)

    def adopt(self, path: Path) -> None:
        """Take over the secrets that another process shared."""
        for line in path.read_text(encoding="utf-8").splitlines():
            self.register(json.loads(line))


SECRETS = Secrets()


def kept(text: object, most: int = texts.LONGEST) -> str:
    """Make a text fit to be kept: without secrets, of whole characters, and only then cut to `most` of them."""
    return texts.bounded(SECRETS.clean(texts.whole(str(text))), most)


def kept_end(text: object, most: int) -> str:
    """Do the same with the end of a text, which says why a program failed; the cut is told in a line before it."""
    return texts.tail(SECRETS.clean(texts.whole(str(text))), most)


def keep_secret(secret: str) -> str:
    """Keep a text out of this run's evidence, in every usual encoding; returns it, for use in an expression.

    Raises:
        UsageError: it is shorter than 6 characters, or 12 digits.

    """
    SECRETS.register(secret)
    return secret


def _sought(secret: str) -> _Sought:
    """Match a secret of which any character may be escaped, for JSON, HTML or an address, as any writer does it."""
    pattern = re.compile(b"".join(b"(?:%b)" % b"|".join(_spellings(character)) for character in secret))
    return _Sought(pattern, _PLAIN.fullmatch(secret) is not None, secret.encode(), frozenset(secret))


def _escaped_characters(content: bytes) -> set[str]:
    """Give the characters that are somewhere spelled by a number or a name; see `_spellings`."""
    return {
        *(chr(int(digits, 16)) for digits in set(re.findall(rb"%([0-9a-fA-F]{2})", content))),
        *(chr(int(digits, 16)) for digits in set(re.findall(rb"\\[uU]([0-9a-fA-F]{4})", content))),
        *(unescape(f"&{name.decode()};") for name in set(map(b"".join, _ENTITY.findall(content)))),
    }


def _spellings(character: str) -> list[bytes]:
    raw = character.encode()
    units = character.encode("utf-16-be")
    found = [
        rb"\\*" + re.escape(raw),  # as a shell, JSON, or JSON within JSON escapes it
        b"(?i:%b)" % b"".join(b"%%%02x" % byte for byte in raw),
        b"(?i:%b)" % b"".join(rb"\\+u%02x%02x" % pair for pair in zip(units[::2], units[1::2], strict=True)),
        b"(?i:&#(?:0*%d|x0*%x);)" % (ord(character), ord(character)),
    ]
    found += [re.escape(f"&{name}").encode() for name, value in html5.items() if value == character and name[-1] == ";"]
    if character in _CONTROL:
        found.append(rb"\\+" + _CONTROL[character])
    return [*found, rb"\+"] if character == " " else found


def _encoded(secret: str) -> set[bytes]:
    """Give a secret in hex, and in Base64 also as a part of what was encoded: its form depends on the bytes before."""
    raw = secret.encode()
    encoded = {b64encode(raw)} | {_within_base64(raw, before) for before in range(3)}
    encoded |= {form.rstrip(b"=") for form in encoded}
    encoded |= {form.replace(b"+", b"-").replace(b"/", b"_") for form in encoded}
    return encoded | {raw.hex().encode(), raw.hex().upper().encode()}


def _within_base64(raw: bytes, before: int) -> bytes:
    """Give the characters of a Base64 text that stand for nothing but `raw`, with so many bytes before it."""
    text = b64encode(bytes(before) + raw)
    return text[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]


def _append(path: Path, secret: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(secret) + "\n")
