"""What the documentation says is there: links, runbooks, commands, options, fields, and the code of its examples."""

import ast
import inspect
import itertools
import json
import re
import tomllib
import typing
from importlib.metadata import entry_points
from pathlib import Path

import pytest
import typer
import yaml
from drills.fixtures import plugin
from drills.fixtures.plugin.arguments import add_options
from drills.reports.held import NOT_HELD
from drills.reports.scenario_table import parts, table

from drills import faults, history, measures, parse_duration, plan

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"
DOCUMENTS = sorted([*ROOT.glob("*.md"), *(ROOT / "docs").rglob("*.md")])
RUNBOOKS = sorted((ROOT / "docs/runbooks").glob("*.md"))
SCENARIOS = sorted((ROOT / "scenarios").glob("test_*.py"))
SAMPLE = ROOT / "docs/sample"

each_document = pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.relative_to(ROOT).as_posix())


def words(path):
    return path.read_text(encoding="utf-8")


def prose(text):
    """A document without its code."""
    return re.sub(r"^```.*?^```$|^ {4,}.*$|`[^`\n]*`", "", text, flags=re.MULTILINE | re.DOTALL)


def code(text):
    """The lines and words of a document that are code, one a line."""
    fenced = re.findall(r"^```\w*\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)
    indented = re.findall(r"^ {4,}(.+)$", text, flags=re.MULTILINE)
    inline = re.findall(r"`([^`\n]+)`", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL))
    return "\n".join([*fenced, *indented, *inline])


def examples(text):
    return re.findall(r"^```python\n(.*?)^```$", text, flags=re.MULTILINE | re.DOTALL)


def all_code():
    return "\n".join(code(words(path)) for path in DOCUMENTS)


# --- links ---


def anchors(text):
    """The anchors of a document's headings, as GitHub makes them."""
    headings = re.findall(r"^#+ (.+)$", re.sub(r"^```.*?^```$", "", text, flags=re.MULTILINE | re.DOTALL), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def broken_links(document, text):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", prose(text)):
        if re.match(r"[a-z]+:", target):
            continue
        place, _, anchor = target.partition("#")
        path = (document.parent / place).resolve() if place else document
        lost = not path.exists() or not path.is_relative_to(ROOT)
        if lost or (anchor and anchor not in anchors(words(path) if place else text)):
            broken.append(target)
    return broken


@each_document
def test_every_link_leads_somewhere(document):
    assert broken_links(document, words(document)) == []


def test_a_broken_link_is_noticed():
    good = ["#a-title-its-b", "docs/history.md#phases", "docs", "https://example.org"]
    bad = ["#b", "docs/none.md", "docs/history.md#x", "../outside.md"]
    text = "# A Title: it's `b`\n" + "".join(f"[x]({target}) " for target in good + bad)
    assert broken_links(README, text) == bad


# --- what a document must not hold ---


def slips(text):
    """What does not belong into documentation: other scripts, and places on somebody's machine."""
    foreign = re.findall(r"[\u2e80-\u9fff\uac00-\ud7af\u3040-\u30ff\uff00-\uffef\u0400-\u04ff]+", text)
    return foreign + re.findall(r"(?<![\w.~$}/])/(?:work|root|tmp|home|Users)/[\w./-]*", text)


@each_document
def test_no_document_holds_foreign_text_or_local_paths(document):
    assert slips(words(document)) == []


def test_a_slip_is_noticed():
    assert slips("as 復旧 says, in /tmp/x/y and /root/a, but not in ~/.cache/tmp/x or /etc/kubernetes") == [
        "復旧", "/tmp/x/y", "/root/a",  # noqa: S108 - texts
    ]  # fmt: skip


# --- runbooks and scenarios ---


def runbooks_named(source):
    """The runbooks that a scenario's markers name."""
    calls = [node for node in ast.walk(ast.parse(source)) if isinstance(node, ast.Call)]
    return {
        word.value.value
        for call in calls
        if ast.unparse(call.func) == "pytest.mark.drill"
        for word in call.keywords
        if word.arg == "runbook" and isinstance(word.value, ast.Constant)
    }


def test_scenarios_and_runbooks_belong_together():
    named = {runbook for path in SCENARIOS for runbook in runbooks_named(words(path))}
    assert named == {path.relative_to(ROOT).as_posix() for path in RUNBOOKS}
    assert all(runbooks_named(words(path)) for path in SCENARIOS)


@pytest.mark.parametrize("runbook", RUNBOOKS, ids=lambda path: path.stem)
def test_a_runbook_has_its_sections_and_names_the_scenario_that_rehearses_it(runbook):
    text = words(runbook)
    assert re.findall(r"^## (.+)$", text, flags=re.MULTILINE) == [
        "When", "Objective", "Needs", "Steps", "It worked if", "Traps", "Rehearsed by",
    ]  # fmt: skip
    rehearsed = text.partition("## Rehearsed by")[2]
    scenarios = [path for path in SCENARIOS if path.relative_to(ROOT).as_posix() in rehearsed]
    assert len(scenarios) == 1
    assert runbook.relative_to(ROOT).as_posix() in runbooks_named(words(scenarios[0]))
    took = re.findall(r"\d+(?:\.\d+)? (?:s|ms|seconds)\b", rehearsed.replace("a toleration of 10 s", ""))
    assert took == [], "how long it took is the table's to say"


NOTHING_TO_TYPE = {
    "power on NODE",
    "update the DNS records",
    "kubectl get -n NAMESPACE and -n NAMESPACE-copy, by kind and name",
}
"""What stands for a command in steps that are another machine's, or the harness' own code."""


def steps(runbook, before=()):
    """What a runbook's steps say, and those of the runbooks that they send to."""
    text = words(runbook).partition("\n## Steps\n")[2].partition("\n## ")[0]
    there = {runbook.parent / target for target in re.findall(r"\]\(([\w-]+\.md)", text)} - {runbook, *before}
    return text + "".join(steps(other, (runbook, *before)) for other in sorted(there))


def programs(line):
    """What a command line calls: programs with up to two of their words, without options and what is put in."""
    for call in re.split(r"[;|]|&&|\$\(", line):
        bare = re.sub(r" -[\w-]*(=\S+| (?!-)\S+)?", "", call.strip())
        spoken = itertools.takewhile(re.compile(r"[a-z][a-z0-9-]*").fullmatch, bare.split()[:3])
        if name := " ".join(spoken):
            yield name


def untold(command, text):
    """The programs of a command that the text calls nowhere so."""
    lines = [*re.findall(r"^ {4,}(.+)$", text.replace("\\\n", " "), re.MULTILINE), *re.findall(r"`([^`\n]+)`", text)]
    told = [f"{name} " for line in lines for name in programs(line)]
    return [name for name in programs(command) if not any(one.startswith(f"{name} ") for one in told)]


def planned():
    return yaml.safe_load(words(ROOT / "dr-plan.yaml"))["procedures"]


@pytest.mark.parametrize("procedure", planned())
def test_what_a_procedure_runs_stands_in_its_runbook(procedure):
    plan = planned()[procedure]
    text = steps(ROOT / plan["runbook"])
    commands = {step["command"] for step in plan["steps"] if "command" in step} - NOTHING_TO_TYPE
    assert {command: lost for command in commands if (lost := untold(command, text))} == {}


def test_a_command_that_a_runbook_lacks_is_noticed():
    text = "1. Look:\n\n    kubectl -n NAME get pods \\\n      --watch\n    nft list ruleset\n   or `velero backup`"
    assert untold("kubectl -n shop get pods -l app=web; velero backup", text) == []
    assert untold("kubectl -n shop delete pods", text) == ["kubectl delete pods"]
    assert untold("velero backup delete; nft list", text) == ["velero backup delete"]


def unplanned(source, names):
    """The steps in a procedure's code that no plan knows; what is put in stands for anything."""
    found = []
    for call in ast.walk(ast.parse(source)):
        if isinstance(call, ast.Call) and isinstance(call.func, ast.Attribute) and call.func.attr == "step":
            name = call.args[0]
            parts = name.values if isinstance(name, ast.JoinedStr) else [name]
            pattern = "".join(re.escape(part.value) if isinstance(part, ast.Constant) else ".+" for part in parts)
            if not any(re.fullmatch(pattern, known) for known in names):
                found.append(ast.unparse(name))
    return found


def test_every_step_that_a_procedure_takes_is_in_the_plan():
    names = {step["step"] for plan in planned().values() for step in plan["steps"]}
    # Where a twin leaves out what would bring the member, it still waits for it.
    names.add("wait for the new member")
    lost = {path.stem: unplanned(words(path), names) for path in sorted((ROOT / "drills/procedures").glob("*.py"))}
    assert {name: found for name, found in lost.items() if found} == {}


def test_an_unplanned_step_is_noticed():
    source = 'self.step("look")\nself.step(f"wait for {part}", "x")\nself.step(name)\nself.step("leap")'
    assert unplanned(source, {"look", "wait for shop"}) == ["'leap'"]


def test_every_scenario_is_described():
    text = words(ROOT / "docs/scenarios.md")
    assert [path.name for path in SCENARIOS if f"../scenarios/{path.name}" not in text] == []


def test_every_drill_has_a_row_that_says_what_the_plan_says_and_how_far_it_is():
    told = {}
    for row in re.findall(r"^\| (\w+_\w+) \| (.+) \|$", words(ROOT / "docs/scenarios.md"), flags=re.MULTILINE):
        assert row[0] not in told, "one row a drill"
        told[row[0]] = row[1].split(" | ")
    own = plan.load(ROOT / "dr-plan.yaml")
    assert told.keys() == own.drills.keys()
    for name, (runbook, objective, state, *runs) in told.items():
        planned = own.entry_for(name, "")
        assert f"(runbooks/{Path(planned.runbook).name})" in runbook
        rto, _, rpo = objective.partition(" / ")
        assert parse_duration(rto, name) == planned.objective.rto
        assert (None if rpo == "none" else parse_duration(rpo, name)) == planned.objective.rpo
        assert re.fullmatch("met|met, twins held|draft|skipped: .+", state), name
        assert state.startswith("met") == (runs[0] != NOT_HELD), name
        assert ("twins" in state) == (NOT_HELD not in runs), name


# --- commands and options ---


def commands():
    """Every command line of the program `drills`, sub-commands of groups as two words."""
    from drills.command import app

    for entry in entry_points(group="drills.commands"):
        entry.load()(app)

    def below(group, before):
        for name, command in group.commands.items():
            path = f"{before} {name}".strip()
            yield path
            if hasattr(command, "commands"):
                yield from below(command, path)

    return set(below(typer.main.get_command(app), ""))


def unknown_commands(text, known):
    groups = {path.partition(" ")[0] for path in known if " " in path}
    found = set()
    for first, second in re.findall(r"(?m)^(?:[\w./]*/)?drills ([a-z][a-z-]*)(?: ([a-z][a-z-]*)\b)?", text):
        found.add(f"{first} {second}".strip() if first in groups else first)
    return found - known


@pytest.fixture(scope="module")
def known():
    return commands()


def test_every_command_in_the_documentation_exists(known):
    assert unknown_commands(all_code(), known) == set()


def test_every_command_is_documented(known):
    text = all_code()
    leaves = {path for path in known if not any(other.startswith(f"{path} ") for other in known)}
    assert {path for path in leaves if not re.search(rf"\bdrills {path}\b", text)} == set()


def test_an_unknown_command_is_noticed():
    text = "drills run -k x\ndrills imagine\n.venv/bin/drills images burn\ndrills images build"
    assert unknown_commands(text, {"run", "images", "images build"}) == {"imagine", "images burn"}


def options():
    found = set()
    add_options(lambda name, **_: found.add(name))
    return found


def test_documented_and_real_options_are_the_same():
    written = set(re.findall(r"--drill-[a-z-]+", "\n".join(words(path) for path in DOCUMENTS)))
    assert written == {option for option in options() if option.startswith("--drill-")}
    guide = words(ROOT / "docs/writing-scenarios.md")
    assert {option for option in options() if f"| `{option}" not in guide} == set()


def test_every_make_target_in_the_documentation_exists():
    targets = set(re.findall(r"^([a-z-]+):(?!=)", words(ROOT / "Makefile"), flags=re.MULTILINE))
    written = set(re.findall(r"(?m)(?:^|: )make ([a-z-]+)", all_code()))
    assert {"drill", "test"} <= written
    assert written <= targets


# --- fixtures, marker, drill, faults, examples ---


def fixtures():
    """The fixtures that scenarios name, with the class of what each gives."""
    found = {}
    for name, value in vars(plugin).items():
        wrapped = getattr(value, "_get_wrapped_function", None) or getattr(value, "__pytest_wrapped__", None)
        if wrapped is not None:
            function = wrapped() if callable(wrapped) else wrapped.obj
            gives = typing.get_type_hints(function)["return"]
            found[name] = typing.get_args(gives)[0] if typing.get_args(gives) else gives
    return found


def has(kind, attribute):
    """Whether instances of a class have an attribute, its constructor's included."""
    return hasattr(kind, attribute) or any(
        re.search(rf"\bself\.{attribute}\b[^=\n]* = ", inspect.getsource(one)) for one in kind.__mro__[:-1]
    )


def first_cells(text, heading):
    """The code words in the first column of the table under a heading."""
    section = text.partition(f"\n{heading}\n")[2].partition("\n## ")[0]
    rows = re.findall(r"^\| ([^|]+) \|", section, flags=re.MULTILINE)
    return [word for row in rows for word in re.findall(r"`([^`]+)`", row)]


def test_the_guide_lists_every_fixture_and_no_other():
    guide = words(ROOT / "docs/writing-scenarios.md")
    assert set(fixtures()) >= {"drill", "cluster", "shop"}
    assert set(first_cells(guide, "## Fixtures")) == set(fixtures())
    listed = set(re.findall(r"`(\w+)`", "\n".join(re.findall(r"^\| (`.*?) \|", words(README), flags=re.MULTILINE))))
    assert set(fixtures()) - listed == {"platform"}, "scenarios rarely need it"


def test_what_the_guide_says_of_fixtures_and_drill_is_there():
    guide = words(ROOT / "docs/writing-scenarios.md")
    section = guide.partition("\n## Fixtures\n")[2].partition("\n## ")[0]
    for name, text in re.findall(r"^\| `(\w+)` \| (.+) \|$", section, flags=re.MULTILINE):
        for attribute in re.findall(r"`(\w+)(?:\(.*?\))?`", text):
            kind = fixtures()[name]
            assert has(kind, attribute), (name, attribute)
    said = [word for word in first_cells(guide, "## The drill") if word.startswith("drill.")]
    assert len(said) > 10
    for word in said:
        assert has(fixtures()["drill"], word.split(".")[1].partition("(")[0]), word


def test_the_guide_lists_every_field_of_the_marker():
    guide = words(ROOT / "docs/writing-scenarios.md")
    assert set(first_cells(guide, "## The marker")) == set(plugin.MARKER_FIELDS)


def test_the_guide_lists_every_fault():
    guide = words(ROOT / "docs/writing-scenarios.md")
    made = {name for name in faults.__all__ if name.islower()}
    assert set(re.findall(r"`faults\.(\w+)\(", guide)) == made


def problems_of(example):
    """What an example names that is not there: modules and names, fixtures and what they have, marker fields."""
    tree = ast.parse(example)
    problems = []
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom):
            module = __import__(node.module, fromlist=["_"])
            problems += [f"{node.module}.{name.name}" for name in node.names if not hasattr(module, name.name)]
        elif isinstance(node, ast.Attribute) and ast.unparse(node.value) == "faults" and not hasattr(faults, node.attr):
            problems.append(f"faults.{node.attr}")
        elif isinstance(node, ast.Call) and ast.unparse(node.func) == "pytest.mark.drill":
            problems += [f"marker {word.arg}" for word in node.keywords if word.arg not in plugin.MARKER_FIELDS]
    for test in [
        node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    ]:
        given = {argument.arg for argument in test.args.args}
        problems += [f"fixture {name}" for name in given - set(fixtures())]
        problems += [
            ast.unparse(node)
            for node in ast.walk(test)
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id in given
            if node.value.id in fixtures() and not has(fixtures()[node.value.id], node.attr)
        ]
    return problems


@each_document
def test_examples_use_what_there_is(document):
    for example in examples(words(document)):
        assert problems_of(example) == []


def test_a_wrong_example_is_noticed():
    example = """
import pytest
from drills import faults, nothing_of_the_kind

@pytest.mark.drill(rto="5m", runbok="x")
def test_x(drill, shop, shopp):
    shop.sell(1)
    shop.buys(1)
    drill.holds(shop.takes_orders, shop.takes_money)
    faults.moon_gone()
"""
    assert sorted(problems_of(example)) == [
        "drills.nothing_of_the_kind", "faults.moon_gone", "fixture shopp", "marker runbok", "shop.buys",
        "shop.takes_money",
    ]  # fmt: skip


def test_the_readme_has_a_whole_example():
    (example,) = examples(words(README))
    namespace = {}
    exec(compile(example, "README.md", "exec"), namespace)  # noqa: S102 - our own text; a scenario does nothing on import
    (test,) = [value for name, value in namespace.items() if name.startswith("test_")]
    assert test.__doc__
    assert namespace["pytestmark"].name == plugin.MARKER
    head, _, foot = parts(README)
    assert len((head + foot).splitlines()) < 200, "but for the table, it can be read at one sitting"


# --- formats ---


def test_every_field_of_a_record_is_explained():
    schema = json.loads(words(ROOT / "docs/schemas/record-v1.json"))
    text = words(ROOT / "docs/evidence.md")
    assert set(schema["properties"]) - set(first_cells(text, "## record.json")) == set()
    inside = {
        f"{name}.{field}"
        for name in ("achieved", "objective", "fault", "procedure", "losses")
        for part in (schema["properties"][name], *schema["properties"][name].get("anyOf", []))
        for field in part.get("properties", {})
        if f"`{field}`" not in text
    }
    assert inside == set()


def recorded_kinds():
    """The kinds of event that the engine records, from its own source."""
    calls = [
        node
        for path in (ROOT / "drills").rglob("*.py")
        for node in ast.walk(ast.parse(words(path)))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr == "record"
    ]
    return {call.args[0].value for call in calls if call.args and isinstance(call.args[0], ast.Constant)}


def test_every_kind_of_event_is_explained():
    text = words(ROOT / "docs/history.md")
    assert history.SCHEMA in text
    assert {"opened", "reading", "receipt", "step"} <= recorded_kinds()
    assert set(re.findall(r"^\| `(\w+)` \|", text, flags=re.MULTILINE)) == recorded_kinds()


def test_every_phase_is_explained():
    text = words(ROOT / "docs/history.md").partition("## Phases")[2]
    row = re.search(r"^\| `phase` \|.*$", words(ROOT / "docs/history.md"), flags=re.MULTILINE)
    named = set(re.findall(r"`(\w+)`", row[0].rpartition("the beginning of")[2]))
    assert {name for name in named if f"`{name}`" not in text} == set()
    used = set(re.findall(r'(?:phase_at\(history, |since_fault\()"(\w+)"', inspect.getsource(measures)))
    assert used
    assert used <= named


def test_the_published_schema_is_the_one_in_use():
    assert words(ROOT / "docs/schemas/record-v1.json") == words(ROOT / "drills/schemas/record-v1.json")


# --- versions and figures ---


def test_the_changelog_has_the_version():
    version = tomllib.loads(words(ROOT / "pyproject.toml"))["project"]["version"]
    assert re.search(rf"^## \[?{re.escape(version)}\b", words(ROOT / "CHANGELOG.md"), flags=re.MULTILINE)


def test_the_readmes_table_is_the_samples():
    between = parts(README)[1]
    if any(SAMPLE.glob("*/record.json")):
        assert between == table(SAMPLE)
    else:
        assert "|" not in between, "a figure that no committed run stands for"


# --- what was hardened ---


def test_every_entry_of_the_hardening_page_stands_there():
    entries = set(re.findall(r"^\| ([A-F]\d+)", words(ROOT / "docs/hardening.md"), flags=re.MULTILINE))
    last = {"A": 10, "B": 10, "C": 17, "D": 12, "E": 12, "F": 14}
    assert entries == {f"{section}{number}" for section, count in last.items() for number in range(1, count + 1)}


def test_every_test_that_the_hardening_page_names_is_there():
    text = words(ROOT / "docs/hardening.md")
    files = [path for folder in ("tests", "scenarios") for path in (ROOT / folder).rglob("*.py")]
    named = re.findall(r"\b(test_\w+\.py)\b", text)
    assert len(named) > 50
    assert sorted(set(named) - {path.name for path in files}) == []
    defined = set(re.findall(r"^ *def (test_\w+)", "\n".join(map(words, files)), flags=re.MULTILINE))
    assert sorted(set(re.findall(r"::(test_\w+)", text)) - defined) == []
