"""Archives as engines write them, imported into a real node's containerd."""

from __future__ import annotations

import hashlib
import io
import json
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from drills.fixtures.engine import Engine
from drills.fixtures.images import layout, own, store
from drills.fixtures.images.node import containerd, import_archive

from drills.errors import EnvironmentFailed

NAME = "registry.example.com/shop/two:1"
OTHER = "arm64" if layout.architecture() == "amd64" else "amd64"
INDEX = "application/vnd.oci.image.index.v1+json"
MANIFEST = "application/vnd.oci.image.manifest.v1+json"


@pytest.fixture(scope="module")
def node(engine: Engine) -> Iterator[str]:
    with containerd(engine, store.NODE) as container:
        yield container


def partly_held(path: Path) -> Path:
    """An archive as an engine with the containerd image store saves it: another platform is listed and not there."""
    blobs: dict[str, bytes] = {}

    def add(content: object, kind: str) -> dict[str, object]:
        raw = content if isinstance(content, bytes) else json.dumps(content).encode()
        digest = hashlib.sha256(raw).hexdigest()
        blobs[f"blobs/sha256/{digest}"] = raw
        return {"mediaType": kind, "digest": f"sha256:{digest}", "size": len(raw)}

    layer = io.BytesIO()
    with tarfile.open(fileobj=layer, mode="w") as tar:
        tar.addfile(tarfile.TarInfo("content"))
    rootfs = {"type": "layers", "diff_ids": ["sha256:" + hashlib.sha256(layer.getvalue()).hexdigest()]}
    about = {"architecture": layout.architecture(), "os": "linux", "config": {}, "rootfs": rootfs}
    config = add(about, "application/vnd.oci.image.config.v1+json")
    held = add(layer.getvalue(), "application/vnd.oci.image.layer.v1.tar")
    ours = add({"schemaVersion": 2, "mediaType": MANIFEST, "config": config, "layers": [held]}, MANIFEST)
    theirs = {"mediaType": MANIFEST, "digest": "sha256:" + "7" * 64, "size": 500}
    manifests = [
        {**theirs, "platform": {"architecture": OTHER, "os": "linux"}},
        {**ours, "platform": {"architecture": layout.architecture(), "os": "linux"}},
    ]
    top = add({"schemaVersion": 2, "mediaType": INDEX, "manifests": manifests}, INDEX)
    named = {**top, "annotations": {"io.containerd.image.name": NAME}}
    documents = {
        "oci-layout": b'{"imageLayoutVersion": "1.0.0"}',
        "index.json": json.dumps({"schemaVersion": 2, "manifests": [named]}).encode(),
    }
    with tarfile.open(path, "w") as tar:
        for name, raw in {**documents, **blobs}.items():
            member = tarfile.TarInfo(name)
            member.size = len(raw)
            tar.addfile(member, io.BytesIO(raw))
    return path


def names(engine: Engine, node: str) -> list[str]:
    return engine.run("exec", node, "ctr", "--namespace=k8s.io", "images", "list", "--quiet").stdout.split()


def test_an_archive_that_lists_a_platform_which_it_does_not_hold_is_imported(
    engine: Engine, node: str, tmp_path: Path
) -> None:
    archive = partly_held(tmp_path / "two.tar")
    assert own.contents(archive).keys() == {NAME}
    with pytest.raises(EnvironmentFailed, match=r"(?s)two\.tar could not be imported into .*sha256:7{64}: not found"):
        import_archive(engine, node, archive, "--all-platforms")  # as it was done, and kind does
    import_archive(engine, node, archive, "--digests", "--snapshotter=overlayfs")
    assert NAME in names(engine, node)
    unpacked = engine.run("exec", node, "ctr", "--namespace=k8s.io", "snapshots", "list").stdout
    assert len(unpacked.splitlines()) > 1, "and unpacked"


def test_an_archive_of_our_own_and_one_that_docker_saved_are_imported(
    engine: Engine, node: str, tmp_path: Path
) -> None:
    host = next(image for image in store.images().values() if image.host and image.name.startswith("drills.local/"))
    saved = tmp_path / "saved.tar"
    store.save(engine, host.name, saved)
    import_archive(engine, node, saved, "--digests", "--snapshotter=overlayfs")
    assert own.contents(saved).keys() <= set(names(engine, node))
    assert host.name in names(engine, node)
