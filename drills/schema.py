"""The published JSON Schemas (docs/schemas), and what is wrong with data by one of them, field by field."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from jsonschema import Draft202012Validator
    from jsonschema.exceptions import ValidationError

DIRECTORY = Path(__file__).parent / "schemas"


def problems(name: str, data: object) -> list[str]:
    """Say what is wrong, one `field: found, accepted` a string; empty if nothing is.

    Args:
        name: the schema's file without its suffix, such as record-v1.
        data: what a JSON file held.

    """
    errors = [leaf for error in validator(name).iter_errors(data) for leaf in _leaves(error)]
    return sorted(_said(error) for error in errors)


@cache
def validator(name: str) -> Draft202012Validator:
    """Give the validator of a schema by its file's name without suffix."""
    from jsonschema import Draft202012Validator  # here: most commands check nothing, and it takes long to load

    return Draft202012Validator(json.loads((DIRECTORY / f"{name}.json").read_text(encoding="utf-8")))


def _leaves(error: ValidationError) -> Iterator[ValidationError]:
    """Go down to the fields themselves, where one of two forms is accepted and the other is only `null`."""
    deeper = [inner for inner in error.context or () if inner.absolute_path != error.absolute_path]
    missing = [inner for inner in error.context or () if inner.validator in ("required", "additionalProperties")]
    if error.validator != "anyOf" or not (deeper or missing):
        yield error
        return
    for inner in deeper + missing:
        yield from _leaves(inner)


def _said(error: ValidationError) -> str:
    path = ".".join(str(part) for part in error.absolute_path)
    if error.validator == "required":
        # The one that this error is about; the library has it in its message only.
        name = error.message.split("'")[1]
        return f"{path}.{name}: found nothing, accepted: a value".removeprefix(".")
    return f"{path or 'the whole'}: found {_short(error.instance)}, accepted: {_accepted(error)}"


def _accepted(error: ValidationError) -> str:
    if error.validator == "additionalProperties":
        return f"only the fields {', '.join(_known_fields(error))}"
    return f"{error.validator} {_short(error.validator_value)}"


def _known_fields(error: ValidationError) -> list[str]:
    return list(error.schema["properties"]) if isinstance(error.schema, dict) else []


def _short(value: object) -> str:
    text = json.dumps(value, default=repr, ensure_ascii=False)
    return text if len(text) <= 120 else text[:117] + "..."
