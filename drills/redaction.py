"""Secrets that must not enter the evidence: the passwords of workloads, the keys of object stores.

Whoever makes or is given one says so with `keep_secret`. Histories, command logs and records are cleaned of it as they
are written; sealing searches all other files of the run, too.
"""

from __future__ import annotations

import json
import os
import re
import threading
from functools import cache, partial
from html.entities import html5
from pathlib import Path

from drills import texts
from drills.encodings import Search, Wanted
from drills.errors import UsageError

MARK = b"[redacted]"
SHORTEST = 6
SHORTEST_NUMBER = 12
_KEY_MATERIAL = re.compile(r"(?<!\S)[A-Za-z0-9+/=_-]{24,}(?!\S)")
_MARGIN = 65_536  # characters beyond a cut that are cleaned with the rest: a secret at the cut is recognised whole
_CONTROL = {"\b": b"b", "\f": b"f", "\n": b"n", "\r": b"r", "\t": b"t"}


class Secrets:
    """The secrets of this process, in all the forms in which they are looked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._literal: tuple[bytes, ...] = ()
        self._search = Search(())
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
            self._known |= {secret, *_lines(secret)}
            # The longest first: what holds another secret must not be left half readable.
            self._literal = tuple(
                sorted({known.encode("utf-8", "surrogatepass") for known in self._known}, key=len)[::-1]
            )
            self._search = Search([Wanted.of(known, partial(_spelled, known)) for known in sorted(self._known)])
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
        """Do the same with a file's content, in every usual encoding and in several within one another."""
        for secret in self._literal:
            if secret in content:
                content = content.replace(secret, MARK)
        for first, last in reversed(self._search.spans(content)) if self._known else ():
            content = content[:first] + MARK + content[last:]
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
    said = str(text)
    begin = SECRETS.clean(texts.whole(said[: most + _MARGIN]))
    return texts.bounded(begin, most, len(said) - most - _MARGIN)


def kept_end(text: object, most: int) -> str:
    """Do the same with the end of a text, which says why a program failed; the cut is told in a line before it."""
    said = str(text)
    end = SECRETS.clean(texts.whole(said[-(most + _MARGIN) :]))
    return texts.tail(end, most, len(said) - most - _MARGIN)


def keep_secret(secret: str) -> str:
    """Keep a text out of this run's evidence, in every usual encoding; returns it, for use in an expression.

    Raises:
        UsageError: it is shorter than 6 characters, or 12 digits.

    """
    SECRETS.register(secret)
    return secret


def _lines(secret: str) -> list[str]:
    """Give what is secret by itself in a text of several lines, as each line of a key in PEM is; a log may have one.

    Words that any manifest has, as a kubeconfig does, are none.
    """
    return _KEY_MATERIAL.findall(secret) if "\n" in secret else []


@cache
def _spelled(secret: str) -> re.Pattern[bytes]:
    """Match a secret of which any character may be escaped in a way of its own, as any writer does it."""
    spelled = [b"(?:%b)" % b"|".join(_spellings(character)) for character in secret]
    # Backslashes before the first one may stay; begun at each of a long run, they would take its length squared.
    first = [form.removeprefix(rb"\\*") for form in _spellings(secret[0])]
    first = [rb"(?<!\\)" + form if rb"\\+" in form or secret[0] == "\\" else form for form in first]
    return re.compile(b"".join([b"(?:%b)" % b"|".join(first), *spelled[1:]]))


def _spellings(character: str) -> list[bytes]:
    raw = character.encode("utf-8", "surrogatepass")
    units = character.encode("utf-16-be", "surrogatepass")
    found = [
        rb"\\*" + re.escape(raw),  # as a shell, JSON, or JSON within JSON escapes it
        b"(?i:%b)" % b"".join(b"%%%02x" % byte for byte in raw),
        b"(?i:%b)" % b"".join(rb"\\+x%02x" % byte for byte in raw),
        b"".join(rb"\\+%03o" % byte for byte in raw),
        rb"(?i:\\+u0*%x|\\+u\{0*%x\})" % (ord(character), ord(character)),
        b"(?i:%b)" % b"".join(rb"\\+u%02x%02x" % pair for pair in zip(units[::2], units[1::2], strict=True)),
        b"(?i:&#(?:0*%d|x0*%x);)" % (ord(character), ord(character)),
    ]
    found += [re.escape(f"&{name}").encode() for name, value in html5.items() if value == character and name[-1] == ";"]
    if character in _CONTROL:
        found.append(rb"\\+" + _CONTROL[character])
    return [*found, rb"\+"] if character == " " else found


def _append(path: Path, secret: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(secret) + "\n")
