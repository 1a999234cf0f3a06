"""What the fields of a stored history's events may be, by kind, as docs/history.md lists them.

A history that is read back may be anybody's. What measures take from an event is checked here, once, so that a broken
line is an error with its number instead of a traceback somewhere behind it. Kinds and fields that are not named here
are newer, and pass.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

_LONGEST_S = 1e9
"""As `history` has it: times beyond are no drill's."""


def _text(value: object) -> bool:
    return isinstance(value, str)


def _seconds(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and abs(value) <= _LONGEST_S


def _whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)


def _name(value: object) -> bool:
    return isinstance(value, str | int) and not isinstance(value, bool)


def _flag(value: object) -> bool:
    return isinstance(value, bool)


def _texts(value: object) -> bool:
    return isinstance(value, list) and all(isinstance(each, str) for each in value)


def _object(value: object) -> bool:
    return isinstance(value, dict)


def _rows(value: object) -> bool:
    return isinstance(value, list) and all(
        isinstance(row, list) and len(row) >= 3 and _whole(row[0]) and _text(row[1]) and _text(row[2]) for row in value
    )


_WORDS: Mapping[Callable[[object], bool], str] = {
    _text: "a text",
    _seconds: "seconds, a number up to 1e9",
    _whole: "a whole number",
    _name: "a text or a whole number",
    _flag: "true or false",
    _texts: "a list of texts",
    _object: "an object",
    _rows: "rows as [number, text, text]",
}

_Fields = Mapping[str, Callable[[object], bool]]

_TYPES: Mapping[str, _Fields] = {
    "opened": {"origin_utc": _text, "drill": _text, "schema": _text, "title": _text},
    "phase": {"name": _text, "title": _text, "by": _text, "for_s": _seconds},
    "probe": {"probe": _text, "interval_s": _seconds, "timeout_s": _seconds, "slow_after_s": _seconds, "role": _text,
              "need": _whole},
    "reading": {"probe": _text, "sent": _seconds, "answered": _seconds, "ok": _flag, "why": _text, "via": _text,
                "stalled_s": _seconds},
    "probe_ended": {"probe": _text, "planned": _whole, "taken": _whole, "late_max_s": _seconds, "stalled_s": _seconds},
    "write": {"ledger": _text, "seq": _whole, "digest": _text},
    "receipt": {"ledger": _text, "seq": _whole, "acknowledged": _seconds, "sent": _seconds},
    "refused": {"ledger": _text, "seq": _whole, "why": _text},
    "deleted": {"ledger": _text, "seq": _whole},
    "read_back": {"ledger": _text, "rows": _rows, "asked": _seconds},
    "fault": {"name": _text, "target": _text, "blast_radius": _text, "state": _text, "proof": _texts,
              "left_out": _flag, "purpose": _text},
    "step": {"id": _name, "name": _text, "state": _text, "command": _text, "by": _text, "detail": _text},
    "backup": {"name": _text, "backup_kind": _text, "taken_utc": _text, "taken_t": _seconds, "identity": _object},
    "check": {"name": _text, "ok": _flag, "expected": _text, "got": _text},
    "detected": {"by": _text, "alert": _object},
    "resolved": {"by": _text},
    "clock": {"wall_step_s": _seconds},
    "failed": {"kinds": _texts, "message": _text},
    "deviation": {"text": _text},
    "relaxed_control": {"text": _text},
    "note": {"text": _text},
}  # fmt: skip
"""The fields of each kind, by docs/history.md."""


def check(kind: str, fields: Mapping[str, Any]) -> None:
    """Check the types of an event's fields; whether one is there that judging needs is for the judge to say.

    Args:
        kind: the event's kind; one that is not known passes.
        fields: its fields, without `t`, `utc` and `kind`.

    Raises:
        ValueError: a field has a value of another type; names kind, field, and what is expected.

    """
    for name, fits in _TYPES.get(kind, {}).items():
        if name in fields and not fits(fields[name]):
            raise ValueError(f"{kind}, {name}: invalid value: expected {_WORDS[fits]}")
