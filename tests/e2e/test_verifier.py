"""A stranger checks a sealed run of real drills in a container that has neither Python nor a network."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
from drills.fixtures.engine import Engine
from drills.fixtures.images import debian
from drills.fixtures.images.archive import write_archive
from drills.fixtures.images.definition import Rootfs

from .conftest import Held

IMAGE = "drills.local/verifier:test"
TOOLS = Rootfs("verifier", ("openssl", "openssh-client", "coreutils", "sed", "grep", "dash"))


@pytest.fixture(scope="module")
def verifier(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Debian's openssl, OpenSSH and the usual commands, and nothing else."""
    archive = tmp_path_factory.mktemp("verifier") / "image.tar"
    write_archive(archive, IMAGE, [debian.layer(TOOLS)], {"Env": ["PATH=/usr/bin:/bin"]})
    with archive.open("rb") as stream:
        engine.run("load", stdin=stream, timeout_s=300)
    yield IMAGE
    engine.run("image", "rm", "--force", IMAGE)


def verify(engine: Engine, image: str, pack: Path, *, script: str = "sh verify.sh") -> subprocess.CompletedProcess[str]:
    return engine.run(
        "run", "--rm", "--network=none", "--read-only", "--tmpfs=/tmp", f"--volume={pack}:/pack:ro", "--workdir=/pack",
        image, "sh", "-c", script, check=False,
    )  # fmt: skip


def test_container_has_no_python_and_no_network(engine: Engine, verifier: str, held: Held) -> None:
    said = verify(engine, verifier, held.directory, script="command -v python3 python perl; ls /sys/class/net")
    assert said.stdout.split() == ["lo"]


def test_untouched_run_is_verified(engine: Engine, verifier: str, held: Held) -> None:
    said = verify(engine, verifier, held.directory)
    assert (said.returncode, said.stdout.splitlines()[-1]) == (0, "VERIFIED"), said.stdout + said.stderr


@pytest.mark.parametrize("name", ["run.json", "report.html", "manifest.json", "run.dsse.json", "*/history.jsonl"])
def test_one_flipped_bit_fails_it(engine: Engine, verifier: str, held: Held, tmp_path: Path, name: str) -> None:
    pack = tmp_path / "pack"
    shutil.copytree(held.directory, pack)
    target = sorted(pack.glob(name))[0]
    content = bytearray(target.read_bytes())
    content[len(content) // 2] ^= 1
    target.write_bytes(content)
    said = verify(engine, verifier, pack)
    assert said.returncode == 1
    assert said.stdout.splitlines()[-1].startswith("FAILED:")
