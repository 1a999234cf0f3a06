"""What only people can say of a drill: who took part, who approved it, what it covered, why it was held.

It comes from the plan, from `--drill-meta KEY=VALUE` and from `drills sign-off --meta KEY=VALUE`. One table says which
keys there are and how their values are written.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from datetime import date
from typing import Any

from drills.errors import UsageError

TYPES = ("component", "functional", "full")
_PERSON = re.compile(r"(?P<name>[^()]*\S)\s*\((?P<role>[^()]*\S[^()]*)\)")

Meta = dict[str, Any]


def _text(text: str) -> str:
    if not text.strip():
        raise ValueError("some text")
    return text.strip()


def _day(text: str) -> str:
    try:
        return date.fromisoformat(text.strip()).isoformat()
    except ValueError as error:
        raise ValueError("a date as 2026-11-21") from error


def _list(text: str) -> list[str]:
    return [_text(part) for part in text.split(";") if part.strip()] or [_text(text)]


def _people(text: str) -> list[dict[str, str]]:
    found = [_PERSON.fullmatch(part.strip()) for part in text.split(";") if part.strip()]
    people = [{key: value.strip() for key, value in match.groupdict().items()} for match in found if match]
    if not people or len(people) < len(found):
        raise ValueError('"Name (role); Name (role)"')
    return people


def _type(text: str) -> str:
    if text.strip() not in TYPES:
        raise ValueError(", ".join(TYPES))
    return text.strip()


KEYS: Mapping[str, Callable[[str], Any]] = {
    "participants": _people,
    "approver": _text,
    "approved_on": _day,
    "planned_on": _day,
    "independence": _text,
    "scope.systems": _list,
    "scope.data": _list,
    "scope.third_parties": _list,
    "type": _type,
    "why": _text,
    "deviations": _list,
    "relaxed_controls": _list,
}
"""Every key that people may give, and how its value is read. Lists are written with semicolons."""


def parse(pairs: Iterable[str], where: str) -> dict[str, str]:
    """Read KEY=VALUE pairs and check them.

    Args:
        pairs: as given on a command line. A key of a list may come again and adds to it.
        where: the option, for the message.

    Returns:
        The values by key, as text: what `expand` takes and what a sign-off keeps.

    Raises:
        UsageError: for a key that is not known, a value that cannot be read, or a single value given twice.

    """
    found: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals:
            raise UsageError(f"{where}: found {pair!r}, accepted: KEY=VALUE with a key of {', '.join(KEYS)}")
        again = isinstance(_value(key, value, where), list)
        if key in found and not again:
            raise UsageError(f"{where}, {key}: found given twice, accepted: once")
        found[key] = f"{found[key]}; {value}" if key in found else value
    return found


def expand(flat: Mapping[str, str], where: str) -> Meta:
    """Turn values by key into the form that records have: `scope` nested, lists as lists, people with their roles.

    Raises:
        UsageError: for a key that is not known or a value that cannot be read.

    """
    nested: Meta = {}
    for key, text in flat.items():
        outer, dot, inner = key.partition(".")
        value = _value(key, text, where)
        if dot:
            nested.setdefault(outer, {})[inner] = value
        else:
            nested[outer] = value
    return nested


def merge(first: Mapping[str, Any], then: Mapping[str, Any]) -> Meta:
    """Complete what was said first by what was said then: lists grow, a single value that is there already stays."""
    merged = dict(first)
    for key, value in then.items():
        there = merged.get(key)
        if not there:
            merged[key] = value
        elif isinstance(there, Mapping) and isinstance(value, Mapping):
            merged[key] = merge(there, value)
        elif isinstance(there, list) and isinstance(value, list):
            merged[key] = there + [entry for entry in value if entry not in there]
    return merged


def _value(key: str, text: str, where: str) -> Any:  # noqa: ANN401 - text, or a list of text or of people
    if key not in KEYS:
        raise UsageError(f"{where}: found the key {key!r}, accepted: {', '.join(KEYS)}")
    try:
        return KEYS[key](text)
    except ValueError as error:
        raise UsageError(f"{where}, {key}: found {text!r}, accepted: {error}") from error
