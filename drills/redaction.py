"""Secrets that must not enter the evidence: the passwords of workloads, the keys of object stores.

Whoever makes or is given one says so with `keep_secret`. Histories, command logs and records are cleaned of it as they
are written; sealing searches all other files of the run, too.
"""

from __future__ import annotations

import html
import json
import os
import threading
from base64 import b64encode
from pathlib import Path
from urllib.parse import quote, quote_plus

from drills.errors import UsageError

MARK = "[redacted]"
SHORTEST = 6
SHORTEST_NUMBER = 12


class Secrets:
    """The secrets of this process, in all the forms in which they are looked for."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._known: set[str] = set()
        self._forms: tuple[tuple[str, bytes], ...] = ()
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
            found = {form for known in self._known for form in forms(known)}
            # The longest first: a form that holds another must not be left half readable.
            self._forms = tuple((form, form.encode()) for form in sorted(found, key=len, reverse=True))
            if self._shared is not None:
                _append(self._shared, secret)

    def clean(self, text: str) -> str:
        """Replace every form of every secret by `[redacted]`."""
        for form, _ in self._forms:
            if form in text:
                text = text.replace(form, MARK)
        return text

    def clean_bytes(self, content: bytes) -> bytes:
        """Do the same with a file's content."""
        for _, form in self._forms:
            if form in content:
                content = content.replace(form, MARK.encode())
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


def keep_secret(secret: str) -> str:
    """Keep a text out of this run's evidence, in every usual encoding; returns it, for use in an expression.

    Raises:
        UsageError: it is shorter than 6 characters, or 12 digits.

    """
    SECRETS.register(secret)
    return secret


def forms(secret: str) -> set[str]:
    """Give the forms of a secret that are looked for.

    As it is, escaped for JSON and HTML, percent-encoded, in hex, and in Base64 also where it is a part of what was
    encoded: there its form depends on how many bytes come before it.
    """
    raw = secret.encode()
    escaped = {secret, json.dumps(secret)[1:-1], json.dumps(secret, ensure_ascii=False)[1:-1]}
    escaped |= {html.escape(secret), html.escape(secret, quote=False)}
    percent = {quote(secret, safe=""), quote(secret), quote_plus(secret), "".join(f"%{byte:02X}" for byte in raw)}
    encoded = {b64encode(raw).decode()} | {_within_base64(raw, before) for before in range(3)}
    encoded |= {form.replace("+", "-").replace("/", "_") for form in encoded}
    return (
        escaped
        | percent
        | {_lower_percent(form) for form in percent}
        | encoded
        | {form.rstrip("=") for form in encoded}
        | {raw.hex(), raw.hex().upper()}
    )


def _within_base64(raw: bytes, before: int) -> str:
    """Give the characters of a Base64 text that stand for nothing but `raw`, with so many bytes before it."""
    text = b64encode(bytes(before) + raw).decode()
    return text[-(-before * 8 // 6) : (before + len(raw)) * 8 // 6]


def _lower_percent(form: str) -> str:
    head, *rest = form.split("%")
    return "%".join([head, *(part[:2].lower() + part[2:] for part in rest)])


def _append(path: Path, secret: str) -> None:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(json.dumps(secret) + "\n")
