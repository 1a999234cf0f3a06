"""What the harness could leave behind on a machine, seen from outside it: by the engine's own words and by /proc."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass, fields
from pathlib import Path

from drills.fixtures import gc, toolchain
from drills.fixtures.engine import Engine, mount_points
from drills.fixtures.paths import state_dir


@dataclass(frozen=True)
class Footprint:
    clusters: frozenset[str]
    containers: frozenset[str]
    networks: frozenset[str]
    volumes: frozenset[str]
    processes: frozenset[str]
    mounts: frozenset[str]
    directories: frozenset[str]
    keys: frozenset[str]

    def beyond(self, before: Footprint) -> dict[str, list[str]]:
        """What is there now and was not before, by sort; empty if nothing was left."""
        more = {one.name: getattr(self, one.name) - getattr(before, one.name) for one in fields(self)}
        return {sort: sorted(names) for sort, names in more.items() if names}


def footprint(engine: Engine) -> Footprint:
    kind = toolchain.run([str(toolchain.kind()), "get", "clusters"], env=engine.env(), timeout_s=60)
    return Footprint(
        clusters=frozenset(kind.split()) - {"No", "kind", "clusters", "found."},
        containers=_words(engine, "ps", "--all", "--format", "{{.Names}}"),
        networks=_words(engine, "network", "ls", "--format", "{{.Name}}"),
        volumes=_words(engine, "volume", "ls", "--format", "{{.Name}}"),
        processes=frozenset(map(str, gc.orphans())) | _shims(),
        mounts=frozenset(mount_points(Path("/proc/self/mountinfo").read_text())),
        directories=frozenset(path.name for path in (state_dir() / "runs").glob("*")),
        keys=frozenset(_keys()),
    )


def _keys() -> Iterator[str]:
    """Files that hold a certificate or a key where every program of this user writes."""
    for path in Path(tempfile.gettempdir()).glob("tmp*"):
        try:
            if path.read_bytes().startswith(b"-----BEGIN "):
                yield path.name
        except OSError:  # a directory, or gone meanwhile
            continue


def _words(engine: Engine, *arguments: str) -> frozenset[str]:
    return frozenset(engine.run(*arguments).stdout.split())


def _shims() -> frozenset[str]:
    """The processes that keep containers: one a container."""
    found = set()
    for path in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            words = path.read_bytes().split(b"\0")
        except OSError:
            continue
        if words[0].endswith(b"containerd-shim-runc-v2") and b"moby" in words:
            found.add(f"{path.parent.name}: {words[words.index(b'-id') + 1].decode()[:12]}")
    return frozenset(found)
