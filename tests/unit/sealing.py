"""Sealed evidence for tests, and verify.sh as somebody runs it who has neither Python nor network."""

import os
import shutil
import subprocess
from pathlib import Path

from drills import keys, seal
from drills.keys import Keys
from drills.seal import Options, Sealed

from .samples import Story, write_run

TOOLS = ("sh", "openssl", "ssh-keygen", "sha256sum", "cat", "grep", "mktemp", "rm", "sed", "wc")
SHORT = Story(steady_s=3.0, bad_until_s=2.0, after_s=3.0, backup_before_s=1.0, rto_s=60.0)
MISSED = Story(name="late", steady_s=3.0, bad_until_s=2.0, after_s=3.0, backup_before_s=1.0, rto_s=1.0)


def made_keys(place: Path) -> Keys:
    return keys.load(keys.make(place))


def write_sealed(evidence: Path, place: Path, *stories: Story, **options: object) -> Sealed:
    """A run with its reports' places taken by files, sealed as a session would."""
    run = write_run(evidence, *(stories or (SHORT,)))
    (run / "report.html").write_text("<!doctype html>\n<title>Met</title>\n", encoding="utf-8")
    return seal.seal(run, evidence, Options(keys=place, **options))


def tools(directory: Path, *left_out: str) -> Path:
    """A directory that is all of PATH: what verify.sh says it needs, and nothing else."""
    directory.mkdir()
    for name in TOOLS:
        if name not in left_out:
            (directory / name).symlink_to(Path(shutil.which(name)).resolve())
    return directory


def verify_sh(
    path: Path, script: Path, *arguments: object, before: tuple[str, ...] = (), **environment: object
) -> subprocess.CompletedProcess[str]:
    """Run verify.sh with nothing but these tools; `before` is put before its command line."""
    argv = [*before, str(path / "sh"), str(script), *map(str, arguments)]
    clean = {"PATH": str(path), "TMPDIR": os.environ.get("TMPDIR", "/tmp")}  # noqa: S108 - where mktemp works
    return subprocess.run(
        argv, env=clean | {name: str(value) for name, value in environment.items()},
        capture_output=True, text=True, timeout=300, check=False, stdin=subprocess.DEVNULL,
    )  # fmt: skip


def verified(done: subprocess.CompletedProcess[str]) -> bool:
    """Whether its last line and its exit code say so; they must agree."""
    last = done.stdout.splitlines()[-1] if done.stdout else ""
    assert (last == "VERIFIED") == (done.returncode == 0), done
    assert last == "VERIFIED" or last.startswith("FAILED: ") or "yntax error" in done.stderr, done
    return done.returncode == 0
