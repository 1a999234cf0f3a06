"""The choice of what `make test` holds: by what a scenario is made of, in a repository with changes."""

import shutil
import subprocess
from pathlib import Path

import pytest

from ..e2e.changed import BUDGET, chosen, parts_of

ROOT = Path(__file__).parents[2]
FOUNDING = ["scenarios/test_etcd_wipe.py"]


@pytest.mark.parametrize(
    ("scenario", "parts"),
    [
        ("namespace_deletion", ["drills/faults/namespace.py", "drills/procedures/velero.py",
                                "docs/runbooks/namespace-restore.md", "scenarios/test_namespace_deletion.py"]),
        ("node_drain", ["drills/faults/node.py", "drills/procedures/node.py", "drills/faults/drain.py",
                        "docs/runbooks/node-drain.md", "docs/runbooks/node-loss.md"]),  # the drain by an import
        ("failover_strategies", ["drills/procedures/failover.py", "drills/procedures/rebuild.py"]),
        ("etcd_members", ["drills/procedures/members.py", "drills/faults/member.py", "drills/faults/etcd.py"]),
    ],
)  # fmt: skip
def test_what_a_scenario_is_made_of(scenario, parts):
    assert set(parts) <= parts_of(ROOT / f"scenarios/test_{scenario}.py", ROOT)


def test_a_scenario_is_not_made_of_what_others_use():
    parts = parts_of(ROOT / "scenarios/test_pod_kill.py", ROOT)
    assert {part for part in parts if part.startswith("drills/")} == {
        "drills/faults/pod.py", "drills/procedures/pod.py",
    }  # fmt: skip


def test_every_fault_and_procedure_belongs_to_a_scenario():
    parts = {part for path in (ROOT / "scenarios").glob("test_*.py") for part in parts_of(path, ROOT)}
    rooms = {
        path.relative_to(ROOT).as_posix()
        for room in ("faults", "procedures")
        for path in (ROOT / "drills" / room).glob("[a-z]*.py")
    }
    assert rooms - parts == set()
    assert all((ROOT / part).is_file() for part in parts)


@pytest.fixture
def repository(tmp_path):
    """A copy of what matters, committed."""
    if shutil.which("git") is None:
        pytest.skip("needs git")
    for part in ("scenarios", "drills/faults", "drills/procedures", "docs/runbooks"):
        shutil.copytree(ROOT / part, tmp_path / part, ignore=shutil.ignore_patterns("__pycache__"))
    who = ["-c", "user.name=x", "-c", "user.email=x@example.org"]
    for words in (["init", "--quiet"], ["add", "."], [*who, "commit", "--quiet", "--message", "x"]):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    return tmp_path


def choose(repository, **environment):
    return chosen(repository, FOUNDING, {"DRILLS_CHANGED_SINCE": "HEAD"} | environment)


def touch(path):
    path.write_text(path.read_text() + "\n# changed\n" if path.exists() else "# new\n")


@pytest.mark.parametrize(
    ("changed", "scenarios"),
    [
        ("scenarios/test_pod_kill.py", ["test_pod_kill"]),
        ("docs/runbooks/namespace-restore.md", ["test_namespace_deletion"]),
        ("drills/faults/namespace.py", ["test_namespace_deletion"]),
        ("drills/procedures/pod.py", ["test_pod_kill"]),
        ("drills/faults/etcd.py", ["test_etcd_members"]),  # the founding drill of it is held anyway
        ("README.md", []),
    ],
)
def test_a_change_chooses_the_scenarios_that_it_concerns(repository, changed, scenarios):
    touch(repository / changed)
    found = choose(repository)
    names = [f"scenarios/{name}.py" for name in scenarios]
    assert set(names) <= set(found.scenarios)
    assert bool(found.scenarios) == bool(names)
    assert all(changed in why for why in found.scenarios.values())
    assert not set(FOUNDING) & set(found.scenarios)
    told = found.lines()
    assert "files changed since HEAD: 1, which" in told[0]
    assert [f"drills: {name} too, for {changed}" in told for name in names] == [True] * len(names)


def test_a_new_scenario_is_one(repository):
    shutil.copy(repository / "scenarios/test_pod_kill.py", repository / "scenarios/test_new.py")
    assert list(choose(repository).scenarios) == ["scenarios/test_new.py"]


def test_the_budget_may_be_given(repository):
    touch(repository / "scenarios/test_pod_kill.py")
    assert choose(repository).budget == BUDGET
    given = choose(repository, DRILLS_CHANGED_BUDGET="25m")
    assert (given.budget, "fit into 25m" in given.lines()[0]) == ("25m", True)


@pytest.mark.parametrize(
    ("base", "why"),
    [
        ("", "names no commit"),
        ("no-such-commit", "what changed since no-such-commit is not known: fatal: bad revision"),
    ],
)
def test_without_a_commit_only_the_founding_drills_are_held(repository, base, why):
    touch(repository / "scenarios/test_pod_kill.py")
    found = choose(repository, DRILLS_CHANGED_SINCE=base)
    assert found.scenarios == {}
    assert why in found.lines()[0]


@pytest.mark.parametrize("without", ["a repository", "git"])
def test_without_git_only_the_founding_drills_are_held(tmp_path, monkeypatch, without):
    if without == "git":
        monkeypatch.setenv("PATH", str(tmp_path))
    else:
        monkeypatch.setenv("GIT_CEILING_DIRECTORIES", str(tmp_path.parent))
    found = choose(tmp_path)
    assert found.scenarios == {}
    assert "is not known" in found.lines()[0]
