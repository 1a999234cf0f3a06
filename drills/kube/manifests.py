"""What can be applied, read and checked before anything is sent: rendered YAML holds more than objects.

Everything that `kubectl apply --filename` takes is taken: text of several documents in YAML or JSON, files and
directories of it, lists, and documents of which nothing is left but a comment. What kubectl refuses is refused here,
with the place in the text, the field, its value and what is expected instead.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from datetime import date, datetime
from pathlib import Path
from typing import Any, TypeAlias, cast

import yaml

from drills.errors import UsageError
from drills.kube.resources import Manifest

Source: TypeAlias = str | bytes | Path | Manifest | Iterable[Any]
"""Text in YAML or JSON, a file or a directory of it, an object, or several of all these."""

ENDINGS = (".yaml", ".yml", ".json")
"""What is read of a directory, as by kubectl."""

DEEPEST = 100
"""Levels within each other; Kubernetes' own objects stay below 30."""

LARGEST = 500_000
"""Values in one object. The API server takes no more than 3 MiB, whatever is in it."""

_FIRST = ("Namespace", "CustomResourceDefinition")


@dataclass(frozen=True)
class Document:
    """One object, and where it was found, for whoever has to mend it."""

    manifest: Manifest
    where: str

    @property
    def kind(self) -> str:
        """Its kind with group and version, as `Kube` looks kinds up."""
        return f"{self.manifest['apiVersion']}/{self.manifest['kind']}"

    @property
    def goes_first(self) -> bool:
        """Whether others may need it: a namespace, or the definition of a kind."""
        return self.manifest["kind"] in _FIRST

    @property
    def defines(self) -> set[str]:
        """The kinds that it defines, where it is a definition."""
        if self.manifest["kind"] != "CustomResourceDefinition":
            return set()
        spec = self.manifest.get("spec") or {}
        kind = (spec.get("names") or {}).get("kind")
        return {f"{spec.get('group')}/{one.get('name')}/{kind}" for one in spec.get("versions") or []}


def read(source: Source | None) -> list[Document]:
    """Read and check what is to be applied; lists become their items, empty documents nothing.

    An empty list says that there is nothing to apply. Text, files and parsers of which nothing comes do not: a template
    that renders to nothing is a mistake, to kubectl as well.

    Args:
        source: text, a file, a directory, an object, or several of these.

    Raises:
        UsageError: something in it is no object, or there is none at all; names file and line where there are any.

    """
    if isinstance(source, Sequence | Set) and not isinstance(source, str | bytes) and not source:
        return []
    found = [Document(checked(one, where), where) for one, where in _objects(source, "manifest") if one is not None]
    if not found:
        raise UsageError("apply: no objects: expected at least one; what was given is empty, or holds comments alone")
    return found


def checked(manifest: object, where: str = "manifest", *, named: bool = True) -> Manifest:
    """Return an object as plain JSON.

    Args:
        manifest: the object.
        where: where it was found, for the error.
        named: it must have a name; if not, `generateName` will do.

    Raises:
        UsageError: it is no object of Kubernetes; names the field, its value and what is expected.

    """
    if not isinstance(manifest, Mapping):
        hint = "; for a file pass a pathlib.Path" if isinstance(manifest, str) else ""
        raise _invalid(where, "", manifest, f"an object with apiVersion, kind and metadata{hint}")
    found = cast("Manifest", _plain(manifest, where, "", _Budget(where)))
    for field in ("apiVersion", "kind"):
        _want_text(found, field, where)
    if found["apiVersion"].count("/") > 1 or "/" in found["kind"]:
        raise _invalid(where, "apiVersion", f"{found['apiVersion']}, kind {found['kind']}", "GROUP/VERSION, as apps/v1")
    metadata = found.get("metadata")
    if not isinstance(metadata, dict):
        raise _invalid(where, "metadata", metadata, "an object that holds at least the name")
    if "name" not in metadata and "generateName" in metadata:
        if named:
            raise _invalid(where, "metadata.generateName", metadata["generateName"],
                           "metadata.name, by which apply finds objects; create takes this")  # fmt: skip
        _want_text(metadata, "generateName", where, "metadata.")
    else:
        _want_text(metadata, "name", where, "metadata.")
    if metadata.get("namespace") is not None:
        _want_text(metadata, "namespace", where, "metadata.")
    for field in ("labels", "annotations"):
        _want_texts(metadata.get(field), f"metadata.{field}", where)
    return found


def _objects(source: object, where: str) -> Iterator[tuple[object, str]]:
    """Take apart what holds several; whatever else there is comes out as it is, to be refused with its place."""
    if isinstance(source, Path):
        for file in _files(source):
            yield from _texts(_read(file), str(file))
    elif isinstance(source, str | bytes):
        yield from _texts(source, "")
    elif hasattr(source, "read"):
        yield from _texts(source.read(), str(getattr(source, "name", "")))
    elif isinstance(source, Mapping):
        yield from _items(source, where)
    elif isinstance(source, Iterable):
        number = 0
        for number, one in enumerate(_each(source, where), 1):
            # A string among documents is what YAML makes of a bare word; as text it says the same, and with its place.
            yield from _objects(one, f"{where} {number}" if where == "manifest" else f"{where}, item {number}")
    else:
        yield source, where


def _each(documents: Iterable[object], where: str) -> Iterator[object]:
    try:
        yield from documents
    except yaml.YAMLError as error:  # of a parser that is still at work, as in apply(yaml.safe_load_all(text))
        raise _bad_yaml(error, "", 0) from error
    except RecursionError as error:
        raise UsageError(f"{where}: invalid YAML: expected at most {DEEPEST} levels within each other") from error


def _items(found: Mapping[Any, Any], where: str) -> Iterator[tuple[object, str]]:
    """Take a list apart: a `List`, or what the API answers, whose items do not say of what kind they are."""
    kind = str(found.get("kind") or "")
    if not kind.endswith("List") or "items" not in found or isinstance(found["items"], Mapping):
        yield found, where
        return
    items = found["items"]
    if items is None:
        return
    if not isinstance(items, list | tuple):
        raise _invalid(where, "items", items, "a list of objects")
    known = {"apiVersion": found.get("apiVersion"), "kind": kind.removesuffix("List")} if kind != "List" else {}
    for number, one in enumerate(items, 1):
        place = f"{where}, item {number}"
        if isinstance(one, Mapping):
            yield from _items({**known, **one}, place)
        else:
            yield ("nothing" if one is None else one), place


def _texts(text: str | bytes, file: str) -> Iterator[tuple[object, str]]:
    if isinstance(text, bytes):
        try:
            text = text.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            raise UsageError(f"{file or 'manifest'}: invalid text: expected UTF-8: {error}") from error
    text = text.removeprefix("\ufeff")
    for number, (line, one) in enumerate(_json_stream(text) or _yaml_stream(text, file), 1):
        where = f"{file}:{line}" if file else f"manifest, document {number}, line {line}"
        if isinstance(one, Mapping):
            yield from _items(one, where)
        else:
            yield one, where


def _json_stream(text: str) -> list[tuple[int, object]]:
    """Read JSON objects one after the other, which kubectl takes and YAML does not; nothing if it is anything else."""
    decoder, at, found = json.JSONDecoder(), 0, []
    while at < len(text):
        blank = re.compile(r"\s*").match(text, at)
        at = blank.end() if blank else at
        if at == len(text):
            break
        if text[at] != "{":
            return []
        try:
            one, end = decoder.raw_decode(text, at)
        except (ValueError, RecursionError):
            return []
        found.append((text.count("\n", 0, at) + 1, one))
        at = end
    return found


def _yaml_stream(text: str, file: str) -> Iterator[tuple[int, object]]:
    loader = None
    try:
        loader = _Loader(text)
        while loader.check_node():
            node = loader.get_node()
            if node is not None:
                yield node.start_mark.line + 1, loader.construct_document(node)
    except yaml.YAMLError as error:
        raise _bad_yaml(error, file, _line_of(error, text)) from error
    except RecursionError as error:
        raise UsageError(
            f"{file or 'manifest'}: invalid YAML: expected at most {DEEPEST} levels within each other"
        ) from error
    finally:
        if loader is not None:
            loader.dispose()


class _Loader(yaml.SafeLoader):
    """YAML as kubectl reads it: a date is text, 12:30 is text, 1e3 is a number, and a key stands once."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:
        seen: set[str] = set()
        for key, _ in node.value if isinstance(node, yaml.MappingNode) else []:
            if isinstance(key, yaml.ScalarNode) and key.tag != "tag:yaml.org,2002:merge":
                if key.value in seen:
                    raise yaml.constructor.ConstructorError(
                        None, None, f"found the key {key.value!r} twice", key.start_mark
                    )
                seen.add(key.value)
        return super().construct_mapping(node, deep=deep)


# The rules of go-yaml, by which kubectl reads (sigs.k8s.io/yaml); PyYAML's are those of YAML 1.1 to the letter.
_Loader.yaml_implicit_resolvers = {
    first: [
        rule
        for rule in rules
        if rule[0] not in ("tag:yaml.org,2002:timestamp", "tag:yaml.org,2002:int", "tag:yaml.org,2002:float")
    ]
    for first, rules in yaml.SafeLoader.yaml_implicit_resolvers.items()
}
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:int",
    re.compile(r"^[-+]?(?:0b[01_]+|0o?[0-7_]+|0|[1-9][0-9_]*|0x[0-9a-fA-F_]+)$"),
    list("-+0123456789"),
)
_Loader.add_implicit_resolver(
    "tag:yaml.org,2002:float",
    re.compile(
        r"^(?:[-+]?(?:\.[0-9]+|[0-9]+(?:\.[0-9]*)?)(?:[eE][-+]?[0-9]+)?|[-+]?\.(?:inf|Inf|INF)|\.(?:nan|NaN|NAN))$"
    ),
    list("-+0123456789."),
)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    return loader.construct_yaml_int(yaml.ScalarNode(node.tag, node.value.replace("0o", "0", 1), node.start_mark))


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


class _Budget:
    """Counts values, so that aliases within aliases end as an error and not as all of the memory."""

    def __init__(self, where: str) -> None:
        self._left = LARGEST
        self._where = where

    def spend(self, depth: int) -> None:
        self._left -= 1
        if self._left < 0:
            raise UsageError(f"{self._where}: object too large: expected at most {LARGEST} values")
        if depth > DEEPEST:
            raise UsageError(f"{self._where}: object too deep: expected at most {DEEPEST} levels within each other")


def _plain(value: object, where: str, path: str, budget: _Budget, depth: int = 0) -> object:
    """Return a value as JSON has it; what YAML knows besides (dates, numbers as keys) becomes text, as by kubectl."""
    budget.spend(depth)
    if isinstance(value, Mapping):
        return {
            _key(key, where, path): _plain(one, where, f"{path}.{key}".lstrip("."), budget, depth + 1)
            for key, one in value.items()
        }
    if isinstance(value, list | tuple):
        return [_plain(one, where, f"{path}[{at}]", budget, depth + 1) for at, one in enumerate(value)]
    if value is None or isinstance(value, bool | int):
        return value
    if isinstance(value, str):
        return str(value)
    if isinstance(value, float) and math.isfinite(value):
        return value
    if isinstance(value, datetime):
        return value.isoformat().replace("+00:00", "Z")
    if isinstance(value, date):
        return value.isoformat()
    raise _invalid(where, path, value, "text, a number, true or false, null, a list or an object")


def _key(key: object, where: str, path: str) -> str:
    if isinstance(key, str):
        return str(key)
    if isinstance(key, bool) or key is None:
        return json.dumps(key)
    if isinstance(key, int | float | date):
        return str(key)
    raise _invalid(where, path, key, "text as the name of a field")


def _want_text(found: Manifest, field: str, where: str, path: str = "") -> None:
    value = found.get(field)
    if not isinstance(value, str) or not value:
        quotes = "; put it in quotes" if isinstance(value, bool | int | float) else ""
        raise _invalid(where, path + field, value, f"text{quotes}" if field in found else "text; it is missing")


def _want_texts(found: object, path: str, where: str) -> None:
    if found is None:
        return
    if not isinstance(found, dict):
        raise _invalid(where, path, found, "an object whose values are text")
    for key, value in found.items():
        if value is not None and not isinstance(value, str):
            raise _invalid(where, f"{path}.{key}", value, "text; put it in quotes")


def _invalid(where: str, field: str, value: object, expected: str) -> UsageError:
    shown = repr(value)
    shown = shown if len(shown) <= 80 else f"{shown[:79]}… ({type(value).__name__})"
    place = f"{where}: {field}" if field else where
    return UsageError(f"{place}: invalid value {shown}: expected {expected}")


def _bad_yaml(error: yaml.YAMLError, file: str, line: int) -> UsageError:
    mark = getattr(error, "problem_mark", None)
    line = mark.line + 1 if mark is not None else line
    said = getattr(error, "problem", None) or getattr(error, "reason", None) or str(error)
    place = (f"{file}:{line}" if line else file) if file else f"manifest, line {line}" if line else "manifest"
    return UsageError(f"{place}: invalid YAML: {' '.join(str(said).split())}")


def _line_of(error: yaml.YAMLError, text: str) -> int:
    at = getattr(error, "position", None)
    return text.count("\n", 0, at) + 1 if isinstance(at, int) else 0


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    found = sorted(one for one in path.iterdir() if one.suffix in ENDINGS and one.is_file())
    if not found:
        raise UsageError(f"{path}: no manifests: expected files that end with {', '.join(ENDINGS)}")
    return found


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as error:
        raise UsageError(f"{file}: cannot be read: {error.strerror or error}") from error
