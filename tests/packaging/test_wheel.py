"""What `pip install pytest-drills` gives: built, installed and used away from the repository, without any network."""

import ast
import json
import os
import shutil
import subprocess
import sys
import sysconfig
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

pytest.importorskip("build")

REPOSITORY = Path(__file__).parent.parent.parent
ROOMS = {
    "drills": "drills",
    "fixtures": "drills/fixtures",
    "reports": "drills/reports",
    "scenarios": "drills/scenarios",
}
NOT_SHIPPED = shutil.ignore_patterns("__pycache__", "*.pyc")
LIMIT_S = 180


def run(*argv: str | Path, cwd: Path, env: Mapping[str, str] | None = None) -> str:
    done = subprocess.run(
        [str(word) for word in argv], cwd=cwd, env=env, capture_output=True, text=True, timeout=LIMIT_S, check=False
    )
    assert done.returncode == 0, f"{argv}: exit {done.returncode}\n{done.stdout}\n{done.stderr}"
    return done.stdout


@pytest.fixture(scope="module")
def source(tmp_path_factory):
    """A copy of what the wheel is made of: setuptools leaves its traces beside it, and would ship stale ones."""
    copy = tmp_path_factory.mktemp("source")
    for room in ROOMS:
        shutil.copytree(REPOSITORY / room, copy / room, ignore=NOT_SHIPPED)
    for name in ("pyproject.toml", "README.md", "LICENSE"):
        shutil.copy(REPOSITORY / name, copy)
    return copy


@pytest.fixture(scope="module")
def shipped(source):
    """Where each file of the source must be in the wheel."""
    return {
        f"{place}/{path.relative_to(source / room).as_posix()}"
        for room, place in ROOMS.items()
        for path in (source / room).rglob("*")
        if path.is_file()
    }


@pytest.fixture(scope="module")
def wheel(source, shipped, tmp_path_factory):  # `shipped` looks before the build adds to the source
    out = tmp_path_factory.mktemp("dist")
    run(sys.executable, "-m", "build", "--wheel", "--no-isolation", "--outdir", out, ".", cwd=source)
    (built,) = out.glob("*.whl")
    return built


@pytest.fixture(scope="module")
def python(wheel, tmp_path_factory):
    """The interpreter of an environment with the wheel in it, and with this one's packages as its dependencies."""
    place = tmp_path_factory.mktemp("environment")
    run(sys.executable, "-m", "venv", "--without-pip", place, cwd=place)
    interpreter = place / "bin" / "python"
    run(sys.executable, "-m", "pip", "--python", interpreter, "install", "--no-deps", "--no-index", wheel, cwd=place)
    # Paths that a .pth file adds come last, and their own .pth files are not read: an editable install stays out.
    paths = {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}
    (site_packages,) = place.glob("lib/python*/site-packages")
    (site_packages / "dependencies.pth").write_text("\n".join(paths) + "\n")
    where = run(interpreter, "-c", "import drills; print(drills.__file__)", cwd=place).strip()
    assert Path(where) == site_packages / "drills" / "__init__.py"
    return interpreter


def test_the_wheel_holds_every_file_of_the_packages_and_no_other(wheel, shipped):
    found = set(zipfile.ZipFile(wheel).namelist())
    assert {name for name in found if not name.partition("/")[0].endswith(".dist-info")} == shipped
    # Without these, the comparison could be one of nothing with nothing.
    images = {name.split("/")[3] for name in found if name.startswith("drills/fixtures/images/") and "/go.mod" in name}
    assert {"kind", "kubernetes", "containerd", "etcd", "velero"} <= images
    for image in images:
        assert {f"drills/fixtures/images/{image}/{name}" for name in ("component.toml", "go.mod", "go.sum")} <= found
    assert {
        "drills/py.typed",
        "drills/schemas/record-v1.json",
        "drills/templates/VERIFY.md",
        "drills/templates/verify.sh",
        "drills/fixtures/images/debian/component.toml",
        "drills/fixtures/images/node/drills-closed.sh",
        "drills/fixtures/images/node/drills-closed.service",
        "drills/fixtures/manifests/shop.yaml",
        "drills/reports/templates/report.html.j2",
        "drills/scenarios/test_pod_kill.py",
    } <= found


def test_the_scenarios_that_come_along_are_found_by_name(python, source, tmp_path):
    said = run(python, "-m", "pytest", "--pyargs", "drills.scenarios", "--collect-only", "-q", cwd=tmp_path)
    found = {
        (Path(line.partition("::")[0]).name, line.partition("::")[2].partition("[")[0])
        for line in said.splitlines()
        if "::" in line
    }
    written = {
        (path.name, node.name)
        for path in (source / "scenarios").glob("test_*.py")
        for node in ast.parse(path.read_text()).body
        if isinstance(node, ast.FunctionDef)
    }
    assert written
    assert found == written
    assert not (tmp_path / "evidence").exists()


def test_a_team_keeps_its_scenarios_in_its_own_repository(python, tmp_path):
    # With directories named like ours, which are theirs.
    for name in ("scenarios", "fixtures", "reports"):
        (tmp_path / name).mkdir()
    (tmp_path / "fixtures" / "__init__.py").write_text("THEIRS = True\n")
    (tmp_path / "scenarios" / "test_blackout.py").write_text(
        """
import pytest

from drills import faults

from fixtures import THEIRS

@pytest.mark.drill(tier="high", rto="15m", rpo="1h")
def test_blackout(drill, shop, velero):
    assert THEIRS
    drill.holds(shop.takes_orders)
"""
    )
    said = run(python, "-m", "pytest", "scenarios", "--setup-plan", "--strict-markers", cwd=tmp_path)
    for fixture in ("platform", "drill", "cluster", "namespace", "shop", "velero"):
        assert f" {fixture}" in said, said
    assert not (tmp_path / "evidence").exists()


def test_a_drill_is_held_and_reported_with_the_wheel_alone(python, tmp_path):
    shutil.copy(REPOSITORY / "tests" / "unit" / "scripted.py", tmp_path)
    (tmp_path / "conftest.py").write_text(
        """
from pathlib import Path
from types import SimpleNamespace

import pytest

@pytest.fixture(scope="session")
def platform(platform):  # the real one, as if all it needs were there; nothing is started
    vars(platform).update(engine=SimpleNamespace(kind="none", version="0", private=False), images=[], kind=Path("kind"))
    return platform
"""
    )
    (tmp_path / "test_outage.py").write_text(
        """
import pytest
from scripted import Service, Unplugged

@pytest.mark.drill(rto="30s")
def test_outage(drill):
    service = Service()
    drill.holds(service.probe())
    with drill.disruption(Unplugged(service)), drill.recovery("plug it in"):
        service.up = True
"""
    )
    environment = {**os.environ, "XDG_CONFIG_HOME": str(tmp_path / "configuration")}  # where its keys are made
    run(python, "-m", "pytest", "-p", "no:cacheprovider", cwd=tmp_path, env=environment)
    latest = tmp_path / "evidence" / "latest"
    assert json.loads((latest / "outage" / "record.json").read_text())["verdict"] == "MET"
    assert "outage" in (latest / "report.html").read_text()
    # The seal's instructions are made from templates that came along, and they work.
    assert latest.resolve().name in (latest / "VERIFY.md").read_text()
    assert run("sh", "verify.sh", cwd=latest).splitlines()[-1] == "VERIFIED"
    (latest / "report.html").write_text("better")
    said = subprocess.run(["sh", "verify.sh"], cwd=latest, capture_output=True, text=True, check=False)
    assert said.returncode == 1
    assert "report.html" in said.stdout


def test_the_command_comes_with_it(python, wheel, tmp_path):
    drills = python.with_name("drills")
    said = run(drills, "--help", cwd=tmp_path)
    for command in ("run", "list", "doctor", "gc", "recheck"):
        assert command in said
    assert run(drills, "--version", cwd=tmp_path).split()[1] == wheel.name.split("-")[1]
