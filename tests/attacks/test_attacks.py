"""Every attack of the table, made for real, against both verifiers."""

import shutil
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from drills import keys, seal
from drills.command import app

from ..unit.sealing import tools, verified, verify_sh
from .document import DOCUMENT, written
from .scene import Scene, make
from .table import ATTACKS, Outcome


@pytest.fixture(scope="module")
def original(tmp_path_factory):
    return make(tmp_path_factory.mktemp("original"))


@pytest.fixture(scope="module")
def path(tmp_path_factory):
    return tools(tmp_path_factory.mktemp("path") / "bin")


@pytest.fixture
def scene(original, tmp_path):
    evidence, team, kept = original
    (tmp_path / "place").mkdir()
    shutil.copytree(kept.parent, tmp_path / "kept")
    return Scene(shutil.copytree(evidence, tmp_path / "evidence", symlinks=True), team, tmp_path / "place")


@pytest.fixture
def published(original, tmp_path):
    keys.PublicKeys.load(original[1]).write(tmp_path / "published")
    return tmp_path / "published"


def by_drills(scene: Scene, published: Path, kept: Path | None) -> tuple[bool, str]:
    older = [] if kept is None else ["--checkpoint", str(kept)]
    result = CliRunner().invoke(app, ["verify", str(scene.evidence), "--keys", str(published), *older])
    assert isinstance(result.exception, SystemExit | None), (result.exception, result.exc_info)
    last = result.output.splitlines()[-1]
    assert (last == "VERIFIED") == (result.exit_code == 0), result.output
    assert last == "VERIFIED" or last.startswith("FAILED: "), result.output
    return result.exit_code == 0, result.output


def by_script(path: Path, scene: Scene, published: Path, kept: Path | None) -> tuple[bool, str]:
    older = {} if kept is None else {"CHECKPOINT": kept}
    done = verify_sh(path, seal.TEMPLATES / "verify.sh", scene.evidence, published, **older)
    assert done.stderr == "", done
    return verified(done), done.stdout


def outcome(whole: bool, output: str, said: str) -> Outcome:
    if not whole:
        return Outcome.FAILED
    return Outcome.SAID if said and said in output else Outcome.UNNOTICED


def test_what_nobody_touched_is_verified(scene, published, path, tmp_path):
    for kept in (None, tmp_path / "kept/14.note"):
        for whole, output in (by_drills(scene, published, kept), by_script(path, scene, published, kept)):
            assert whole, output


@pytest.mark.parametrize("row", ATTACKS, ids=[row.name for row in ATTACKS])
def test_both_verifiers_do_what_the_table_says(row, scene, published, path, tmp_path):
    row.do(scene)
    for kept, expected in ((None, row.alone), (tmp_path / "kept/14.note", row.older)):
        for found, said in ((by_drills(scene, published, kept), row.says),
                            (by_script(path, scene, published, kept), row.script)):  # fmt: skip
            assert outcome(*found, said) is expected, found[1]
            if expected is not Outcome.UNNOTICED:
                assert said in found[1], found[1]


def test_the_table_has_forty_attacks_and_each_name_once():
    assert len(ATTACKS) >= 40
    assert len({row.name for row in ATTACKS}) == len(ATTACKS)
    assert {row.key for row in ATTACKS} == {True, False}
    assert any(row.alone is Outcome.UNNOTICED and row.older is Outcome.FAILED for row in ATTACKS)
    assert any(row.older is Outcome.UNNOTICED for row in ATTACKS), "what nothing can notice is said, too"


def test_the_document_has_this_table():
    text = DOCUMENT.read_text(encoding="utf-8")
    assert written(text) == text, "stale: run `python -m tests.attacks docs/verify.md`"
    changed = text.replace("| edits a record |", "| edits two records |")
    assert changed != text
    assert written(changed) == text


def test_the_command_writes_it(tmp_path):
    copy = Path(shutil.copy(DOCUMENT, tmp_path / "verify.md"))
    copy.write_text(copy.read_text(encoding="utf-8").replace("| edits a record |", "| edits two records |"))
    done = subprocess.run(
        [shutil.which("python") or "python3", "-m", "tests.attacks", copy], cwd=DOCUMENT.parent.parent, check=False
    )
    assert (done.returncode, copy.read_text(encoding="utf-8")) == (0, DOCUMENT.read_text(encoding="utf-8"))
