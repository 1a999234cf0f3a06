"""The house rules that no linter knows: who may import whom, and what no file may do. Read off the syntax trees."""

import ast
import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from importlib import import_module
from pathlib import Path
from typing import TypeVar

import pytest

import drills

T = TypeVar("T", bound=ast.AST)

HOUSE = Path(__file__).parent.parent.parent
ROOMS = ("drills", "fixtures", "scenarios", "reports")


@dataclass(frozen=True)
class Source:
    """One file: its path in the repository, and its syntax tree."""

    path: str
    tree: ast.Module

    @property
    def room(self) -> str:
        return self.path.partition("/")[0]

    @property
    def package(self) -> list[str]:
        """The package it belongs to once installed, where all rooms are below `drills`."""
        parts = list(Path(self.path).parent.parts)
        return parts if self.room == "drills" else ["drills", *parts]

    def nodes(self, kind: type[T]) -> Iterator[T]:
        return (node for node in ast.walk(self.tree) if isinstance(node, kind))

    def imports(self) -> Iterator[str]:
        """Every module it imports, wherever in the file and under whatever condition, with its whole name."""
        for node in ast.walk(self.tree):
            if isinstance(node, ast.Import):
                yield from (alias.name for alias in node.names)
            elif isinstance(node, ast.ImportFrom):
                base = self.package[: len(self.package) - node.level + 1] if node.level else []
                module = ".".join([*base, *([node.module] if node.module else [])])
                yield module
                yield from (f"{module}.{alias.name}" for alias in node.names)  # which may be a module as well

    def imports_any(self, *modules: str) -> list[str]:
        return [name for name in self.imports() if any(f"{name}.".startswith(f"{module}.") for module in modules)]


def of_the_house(*rooms: str) -> list[Source]:
    return [
        Source(path.relative_to(HOUSE).as_posix(), ast.parse(path.read_text(encoding="utf-8"), path))
        for room in rooms
        for path in sorted((HOUSE / room).rglob("*.py"))
    ]


# --- the rules: each names what breaks it ---


def only_in(home: str, *modules: str) -> Callable[[Source], list[str]]:
    return lambda source: [] if source.path == home else source.imports_any(*modules)


def never(*modules: str) -> Callable[[Source], list[str]]:
    return lambda source: source.imports_any(*modules)


def only_drills_pytest_and_the_standard_library(source: Source) -> list[str]:
    allowed = {"drills", "pytest", *sys.stdlib_module_names}
    foreign = [name for name in source.imports() if name.partition(".")[0] not in allowed]
    return foreign + source.imports_any("drills.fixtures", "drills.reports", "drills.scenarios")


def its_own_room_by_relative_imports(source: Source) -> list[str]:
    named = [
        name
        for node in ast.walk(source.tree)
        for name in (
            [alias.name for alias in node.names]
            if isinstance(node, ast.Import)
            else [node.module or ""]
            if isinstance(node, ast.ImportFrom) and not node.level
            else []
        )
    ]
    return [name for name in named if name.split(".")[:2] == ["drills", source.room] or name.split(".")[0] in ROOMS[1:]]


def no_sleep(source: Source) -> list[str]:
    if source.path == "drills/clock.py":
        return []
    names = {
        alias.asname or alias.name for node in source.nodes(ast.Import) for alias in node.names if alias.name == "time"
    }
    slept = [
        f"line {node.lineno}: {ast.unparse(node)}"
        for node in source.nodes(ast.Attribute)
        if node.attr == "sleep" and isinstance(node.value, ast.Name) and node.value.id in names
    ]
    return slept + source.imports_any("time.sleep")


def no_swallowing(source: Source) -> list[str]:
    """Whoever catches everything must raise, or do something with what was caught."""
    found = []
    for handler in source.nodes(ast.ExceptHandler):
        caught = {node.id for node in ast.walk(handler.type) if isinstance(node, ast.Name)} if handler.type else None
        body = [node for statement in handler.body for node in ast.walk(statement)]
        raises = any(isinstance(node, ast.Raise) for node in body)
        uses = any(isinstance(node, ast.Name) and node.id == handler.name for node in body)
        if caught is None or (caught & {"Exception", "BaseException"} and not raises and not uses):
            found.append(f"line {handler.lineno}: {ast.unparse(handler).splitlines()[0]}")
    suppressed = (
        node for node in source.nodes(ast.Call) if ast.unparse(node.func) in {"suppress", "contextlib.suppress"}
    )
    return found + [
        f"line {call.lineno}: {ast.unparse(call)}"
        for call in suppressed
        if {ast.unparse(argument) for argument in call.args} & {"Exception", "BaseException"}
    ]


def no_shell(source: Source) -> list[str]:
    return [
        f"line {call.lineno}: {ast.unparse(call)}"
        for call in source.nodes(ast.Call)
        if ast.unparse(call.func) in {"os.system", "os.popen", "subprocess.getoutput", "subprocess.getstatusoutput"}
        or any(
            keyword.arg == "shell" and ast.unparse(keyword.value) not in {"False", "None"} for keyword in call.keywords
        )
    ]


def no_assert(source: Source) -> list[str]:
    return [f"line {node.lineno}: {ast.unparse(node)}" for node in source.nodes(ast.Assert)]


def nothing_but_tests(source: Source) -> list[str]:
    """A docstring that names the runbook, imports, `pytestmark`, and test functions without any of their own."""
    found = []
    if source.path.endswith("__init__.py"):
        return [] if all(isinstance(node, ast.Expr) for node in source.tree.body) else ["an __init__ with code"]
    if "under test: docs/runbooks/" not in (ast.get_docstring(source.tree) or ""):
        found.append("its docstring names no procedure under test")
    for node in source.tree.body[1:]:
        test = isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
        mark = isinstance(node, ast.Assign) and [ast.unparse(target) for target in node.targets] == ["pytestmark"]
        if not (test or mark or isinstance(node, ast.Import | ast.ImportFrom)):
            found.append(f"line {node.lineno}: {ast.unparse(node).splitlines()[0]}")
        inner = ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef | ast.Lambda
        found += [
            f"line {below.lineno}: a function within"
            for below in ast.walk(node)
            if below is not node and isinstance(below, inner)
        ]
    return found


@dataclass(frozen=True)
class Rule:
    """A rule, the rooms it holds for, and for each way to break it a file that does."""

    breaks: Callable[[Source], list[str]]
    rooms: tuple[str, ...]
    planted: dict[str, str]


RULES = {
    "the engine knows nothing of what is built on it": Rule(
        never("drills.fixtures", "drills.reports", "drills.scenarios", "fixtures", "reports", "scenarios"),
        ("drills",),
        {
            "from drills.fixtures.cluster import Cluster": "drills/planted.py",
            "def late():\n    from . import reports": "drills/planted.py",
            "from ..fixtures import cluster": "drills/faults/planted.py",
            "import scenarios": "drills/planted.py",
        },
    ),
    "the engine imports no pytest, pandas, matplotlib or allure": Rule(
        never("pytest", "_pytest", "pandas", "matplotlib", "allure", "allure_pytest", "allure_commons"),
        ("drills",),
        {
            "import pytest": "drills/planted.py",
            "from matplotlib import pyplot": "drills/planted.py",
            "if TYPE_CHECKING:\n    import pandas as pd": "drills/planted.py",
        },
    ),
    "kubernetes is imported in drills/kube/transport.py alone": Rule(
        only_in("drills/kube/transport.py", "kubernetes"),
        ROOMS,
        {"from kubernetes import client": "fixtures/planted.py", "import kubernetes.client": "drills/planted.py"},
    ),
    "pytest_kind is imported in fixtures/cluster.py alone": Rule(
        only_in("fixtures/cluster.py", "pytest_kind", "pykube"),
        ROOMS,
        {"from pytest_kind import KindCluster": "fixtures/plugin/ground.py", "import pykube": "drills/planted.py"},
    ),
    "scenarios import drills, pytest and the standard library": Rule(
        only_drills_pytest_and_the_standard_library,
        ("scenarios",),
        {
            "import requests": "scenarios/test_planted.py",
            "from drills.fixtures.workloads import Shop": "scenarios/test_planted.py",
            "from .helpers import shop": "scenarios/test_planted.py",
        },
    ),
    "fixtures and reports do not know each other, nor the scenarios": Rule(
        lambda source: source.imports_any(
            "drills.scenarios", "drills.reports" if source.room == "fixtures" else "drills.fixtures"
        ),
        ("fixtures", "reports"),
        {
            "from drills.reports.frame import frame": "fixtures/planted.py",
            "from ..reports import frame": "fixtures/planted.py",
            "from .. import fixtures": "reports/planted.py",
            "import drills.scenarios": "reports/planted.py",
        },
    ),
    "fixtures and reports import themselves relatively": Rule(
        its_own_room_by_relative_imports,
        ("fixtures", "reports"),
        {
            "from drills.fixtures import cluster": "fixtures/planted.py",
            "import reports.frame": "reports/planted.py",
        },
    ),
    "only drills/clock.py sleeps": Rule(
        no_sleep,
        ROOMS,
        {
            "import time\ntime.sleep(1)": "drills/planted.py",
            "import time as t\nt.sleep(1)": "fixtures/planted.py",
            "from time import sleep as wait": "scenarios/test_planted.py",
        },
    ),
    "nobody swallows what they did not expect": Rule(
        no_swallowing,
        ROOMS,
        {
            "try:\n    f()\nexcept:\n    raise": "drills/planted.py",
            "try:\n    f()\nexcept Exception:\n    pass": "fixtures/planted.py",
            "try:\n    f()\nexcept (OSError, BaseException) as error:\n    log('oh')": "reports/planted.py",
            "with suppress(Exception):\n    f()": "drills/planted.py",
        },
    ),
    "no command goes through a shell": Rule(
        no_shell,
        ROOMS,
        {
            "subprocess.run('kind delete', shell=True)": "fixtures/planted.py",
            "subprocess.run('kind delete', shell=wanted)": "fixtures/planted.py",
            "os.system('kind delete')": "drills/planted.py",
        },
    ),
    "errors have names where there is no test": Rule(
        no_assert, ("drills", "fixtures", "reports"), {"assert ready, 'not ready'": "drills/planted.py"}
    ),
    "a scenario has tests, and nothing else": Rule(
        nothing_but_tests,
        ("scenarios",),
        {
            "'''Procedure under test: docs/runbooks/x.md'''\nclass TestOutage: ...": "scenarios/test_planted.py",
            "'''Procedure under test: docs/runbooks/x.md'''\ndef wait_for(shop): ...": "scenarios/test_planted.py",
            "'''Procedure under test: docs/runbooks/x.md'''\nLIMIT = 5": "scenarios/test_planted.py",
            "'''Procedure under test: docs/runbooks/x.md'''\ndef test_x(f): f(lambda: 1)": "scenarios/test_planted.py",
            "'''An outage'''\ndef test_outage(): ...": "scenarios/test_planted.py",
            "from .helpers import shop": "scenarios/__init__.py",
        },
    ),
}


@pytest.mark.parametrize("rule", RULES.values(), ids=RULES)
def test_the_house_keeps_its_rules(rule):
    sources = of_the_house(*rule.rooms)
    assert {source.room for source in sources} == set(rule.rooms)
    assert {source.path: found for source in sources if (found := rule.breaks(source))} == {}


@pytest.mark.parametrize(
    ("rule", "path", "text"),
    [(rule, path, text) for rule in RULES.values() for text, path in rule.planted.items()],
)
def test_every_rule_can_be_broken(rule, path, text):
    assert rule.breaks(Source(path, ast.parse(text)))


def test_what_looks_like_a_breach_and_is_none_is_let_pass():
    kept = """
try:
    f()
except Exception as failure:
    failures.append(failure)
try:
    f()
except BaseException:
    undo()
    raise
"""
    assert no_swallowing(Source("reports/planted.py", ast.parse(kept))) == []
    assert no_sleep(Source("drills/planted.py", ast.parse("import time\ntime.monotonic()\nclock.sleep(1)"))) == []
    assert no_sleep(Source("drills/clock.py", ast.parse("import time\ntime.sleep(1)"))) == []
    assert no_shell(Source("drills/planted.py", ast.parse("subprocess.run(['kind'], shell=False)"))) == []
    assert list(Source("fixtures/images/planted.py", ast.parse("from ..engine import Engine")).imports()) == [
        "drills.fixtures.engine",
        "drills.fixtures.engine.Engine",
    ]


def test_the_package_gives_each_of_its_names_and_no_other():
    assert drills.__all__ == sorted(drills._HOME_OF, key=lambda name: (not name.isupper(), name.islower(), name))
    for name, module in drills._HOME_OF.items():
        assert getattr(drills, name) is getattr(import_module(module), name)
    with pytest.raises(AttributeError, match="no attribute 'Dril'"):
        _ = drills.Dril


HEAVY = (
    "securesystemslib", "boto3", "botocore", "kubernetes", "pytest_kind", "pykube", "psycopg", "jsonschema", "pydantic",
    "pandas", "numpy", "matplotlib", "pytest", "rfc3161_client", "typst", "allure", "jinja2",
)  # fmt: skip


def loaded_by(*arguments: str, cwd: Path) -> list[str]:
    code = (
        "import json, sys; from drills import command; sys.argv = json.loads(sys.argv[1])\n"
        "try: command.main()\n"
        "except SystemExit: print('\\n' + json.dumps(sorted({name.partition('.')[0] for name in sys.modules})))"
    )
    told = subprocess.run(
        [sys.executable, "-c", code, json.dumps(["drills", *arguments])],
        capture_output=True, text=True, check=True, cwd=cwd,
    )  # fmt: skip
    modules: list[str] = json.loads(told.stdout.splitlines()[-1])
    assert "typer" in modules
    return [name for name in HEAVY if name in modules]


@pytest.mark.parametrize("command", [("--help",), ("--version",), ("trend", "--help"), ("verify", "--help")])
def test_help_loads_nothing_that_takes_long(tmp_path, command):
    found = loaded_by(*command, cwd=tmp_path)
    assert [
        name for name in found if not (name == "pydantic" and len(command) > 1)
    ] == []  # typer loads that one itself


def test_what_takes_long_is_noticed_where_it_is_loaded(tmp_path):
    (tmp_path / "evidence").mkdir()
    assert {"pandas", "matplotlib"} <= set(loaded_by("trend", cwd=tmp_path))
    assert "boto3" not in loaded_by("trend", cwd=tmp_path)
