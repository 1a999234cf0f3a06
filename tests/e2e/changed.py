"""Which drills are held beside the founding ones: those that a change concerns.

`DRILLS_CHANGED_SINCE` names the commit to compare with; without it, or without git, there are none. A change concerns
a scenario when it touches its file, its runbook, a fault that it names, a procedure that one of its fixtures gives, or
what these import of each other.
"""

from __future__ import annotations

import ast
import inspect
import os
import re
import subprocess
import types
import typing
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from drills.fixtures import plugin

from drills import faults

ROOMS = ("drills.faults.", "drills.procedures.")
BUDGET = "10m"


@dataclass(frozen=True)
class Chosen:
    """The scenarios' files, each with what was changed of it, and why these."""

    why: str
    scenarios: Mapping[str, list[str]] = field(default_factory=dict)
    budget: str = BUDGET

    def lines(self) -> list[str]:
        """What to tell whoever waits for them."""
        told = [f"drills: the founding ones; {self.why}"]
        return told + [f"drills: {name} too, for {', '.join(changed)}" for name, changed in self.scenarios.items()]


def chosen(root: Path, founding: Iterable[str], environment: Mapping[str, str] = os.environ) -> Chosen:
    """Choose by what changed; says also why nothing was chosen."""
    base = environment.get("DRILLS_CHANGED_SINCE", "")
    if not base:
        return Chosen("DRILLS_CHANGED_SINCE names no commit to look for changes since")
    try:
        changed = changed_since(base, root)
    except (OSError, subprocess.CalledProcessError) as error:
        said = getattr(error, "stderr", "") or str(error)
        return Chosen(f"what changed since {base} is not known: {' '.join(said.split())[:200]}")
    held = set(founding)
    found = {
        name: sorted(changed & parts)
        for path in sorted((root / "scenarios").glob("test_*.py"))
        if (name := f"scenarios/{path.name}") not in held and changed & (parts := parts_of(path, root))
    }
    budget = environment.get("DRILLS_CHANGED_BUDGET") or BUDGET
    why = f"files changed since {base}: {len(changed)}, which concern {len(found) or 'no'} other scenarios"
    return Chosen(f"{why}, held as far as they fit into {budget}" if found else why, found, budget)


def changed_since(base: str, root: Path) -> set[str]:
    """Name the files that differ from a commit in the work tree, new ones included.

    Raises:
        OSError: there is no git.
        subprocess.CalledProcessError: it does not know the commit, or this is no repository.

    """
    asked = (("diff", "--name-only", base, "--"), ("ls-files", "--others", "--exclude-standard"))
    told = (
        subprocess.run(["git", *words], cwd=root, capture_output=True, text=True, timeout=60, check=True).stdout
        for words in asked
    )
    return {line for text in told for line in text.splitlines()}


def parts_of(scenario: Path, root: Path) -> set[str]:
    """Name the files that a scenario is made of: itself, its runbooks, its faults and its procedures."""
    source = scenario.read_text(encoding="utf-8")
    tree = ast.parse(source)
    named = {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute) and _is_faults(node.value)}
    wanted = {
        argument.arg for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) for argument in node.args.args
    }
    modules = {getattr(faults, name).__module__ for name in named} | set(_given_by(wanted))
    files = {f"{module.replace('.', '/')}.py" for module in _with_imports(modules, root)}
    return {f"scenarios/{scenario.name}", *re.findall(r"docs/runbooks/[\w-]+\.md", source), *files}


def _is_faults(node: ast.expr) -> bool:
    return isinstance(node, ast.Name) and node.id == "faults"


def _given_by(fixtures: Iterable[str]) -> Iterator[str]:
    """Name the modules of what fixtures give, and the fixtures that they ask for themselves."""
    waiting, seen = list(fixtures), set()
    while waiting:
        name = waiting.pop()
        function: Any = getattr(getattr(plugin, name, None), "_get_wrapped_function", lambda: None)()
        if function is None or name in seen:
            continue
        seen.add(name)
        waiting += inspect.signature(function).parameters
        given = typing.get_type_hints(function)["return"]
        for gives in typing.get_args(given) if isinstance(given, types.UnionType) else [given]:
            while arguments := typing.get_args(gives):  # Iterator[Rebuild[Cluster]]
                if typing.get_origin(gives).__module__.startswith(ROOMS):
                    break
                gives = arguments[0]
            yield getattr(typing.get_origin(gives) or gives, "__module__", "")


def _with_imports(modules: Iterable[str], root: Path) -> set[str]:
    """Add what faults and procedures import of each other."""
    waiting, found = [module for module in modules if module.startswith(ROOMS)], set()
    while waiting:
        module = waiting.pop()
        if module in found:
            continue
        found.add(module)
        tree = ast.parse((root / f"{module.replace('.', '/')}.py").read_text(encoding="utf-8"))
        for node in ast.walk(tree):
            if isinstance(node, ast.ImportFrom) and node.module:
                named = [node.module, *(f"{node.module}.{alias.name}" for alias in node.names)]
                waiting += [
                    name for name in named
                    if name.startswith(ROOMS) and (root / f"{name.replace('.', '/')}.py").is_file()
                ]  # fmt: skip
    return found
