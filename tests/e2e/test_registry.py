"""`drills images pull` and `lock` against a real registry: digests, platforms, logins, a mirror, refusals, damage.

The registry is the CNCF's, on loopback. What pulls is a private engine of this module's own, which has nothing yet.
"""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from click.testing import Result
from drills.fixtures import commands
from drills.fixtures import engine as engines
from drills.fixtures.engine import Engine
from drills.fixtures.images import definition, node, own, store
from drills.fixtures.images import registry as asked
from drills.fixtures.images.definition import Image, components
from drills.fixtures.images.store import Mode
from typer.testing import CliRunner

from drills.errors import EnvironmentFailed

from ..ports import kept_port
from .registry import AMD64, ARM64, PASSWORD, USER, Pushed, Registry, program, refusing, serve

APART = {"iptables": False, "ip6tables": False, "ip-forward": False}
"""A second daemon would take the first one's rules for its own; this one runs nothing that has a network."""

app = typer.Typer()
commands.register(app)

pytestmark = pytest.mark.skipif(
    os.geteuid() != 0 or not shutil.which("dockerd", path=f"{os.environ['PATH']}:/usr/sbin:/sbin"),
    reason="a second engine, which has no images yet, needs root and dockerd",
)


def drills(*words: str) -> Result:
    return CliRunner().invoke(app, words)


def upstream(reference: str) -> tuple[str, str]:
    """Where the registry keeps the stand-in for an image of the internet's, and its tag."""
    name, _, tag = reference.rpartition(":")
    return name, tag


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    """An open registry with the built images that every run pulls, and a stand-in for each that only some drills do."""
    program()
    with kept_port() as port, serve(tmp_path_factory.mktemp("registry") / "open", port) as made:
        for component in components().values():
            for image in component.images:
                if image.pull and component.extra:
                    made.push(*upstream(image.pull))
                elif image.pull:
                    made.push_archive(store.archive_of(image.name), *upstream(image.pull))
        yield made


@pytest.fixture(scope="module")
def empty(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Engine]:
    """A private engine that holds nothing and stands apart from any other one here."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_STATE_HOME", str(tmp_path_factory.mktemp("state")))
        patch.setattr(engines, "_users_own", lambda: None)
        patch.setattr(engines, "DAEMON", APART)
        with engines.engine() as made:
            assert made.private
            yield made


@pytest.fixture(autouse=True)
def apart(empty: Engine, registry: Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The definitions' own lock file is left alone, and all registries are this one."""
    monkeypatch.setattr(asked, "lock_file", lambda: tmp_path / "lock.json")
    through(monkeypatch, registry.host)


def through(monkeypatch: pytest.MonkeyPatch, host: str) -> None:
    names = ("docker.io", "ghcr.io", "quay.io")
    monkeypatch.setenv(asked.MIRRORS_VARIABLE, ",".join(f"{name}={host}/{name}" for name in names))


@pytest.fixture
def login(empty: Engine) -> Iterator[None]:
    """Who logs in here is logged out afterwards."""
    yield
    (Path(empty.environment["DOCKER_CONFIG"]) / "config.json").unlink(missing_ok=True)


def log_in(engine: Engine, host: str) -> None:
    subprocess.run(
        [engine.binary, "login", "--username", USER, "--password-stdin", host],
        input=PASSWORD, text=True, check=True, capture_output=True, env=engine.env(),
    )  # fmt: skip


def small(registry: Registry, name: str, content: str = "", tag: str = "1") -> tuple[Image, Pushed]:
    """A small image of this test's own in the registry, and what a component would say of it."""
    pushed = registry.push(f"docker.io/tests/{name}", tag, content or name)
    return Image(name=f"drills.local/{name}:1", pull=f"docker.io/tests/{name}:{tag}"), pushed


def wholly_gone(engine: Engine, *names: str) -> None:
    for name in names:
        engine.run("image", "rm", "--force", name, check=False)


# --- all of it, as a user calls it ---


def test_lock_and_pull_get_every_image_and_a_node_image_by_digest_through_a_mirror_with_a_login(
    registry: Registry,
    empty: Engine,
    login: None,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    base = registry.push_archive(store.node_base_archive(tmp_path), "docker.io/kindest/node", "v0")
    monkeypatch.setattr(store, "node_reference", lambda: f"docker.io/kindest/node:v0@{base.digest}")
    with (
        kept_port() as closed_port,
        serve(tmp_path / "closed", closed_port, login=True, storage=registry.storage) as closed,
        kept_port() as mirror_port,
        serve(tmp_path / "mirror", mirror_port, login=True, mirrors=closed.host) as mirror,
    ):
        through(monkeypatch, mirror.host)
        refused = drills("images", "lock")
        assert isinstance(refused.exception, EnvironmentFailed)
        told = str(refused.exception)
        assert "the registry wants a login" in told
        assert f'eval "$(drills engine up)"; docker login {mirror.host}' in told
        log_in(empty, mirror.host)

        locked = drills("images", "lock")
        assert locked.exit_code == 0, locked.output
        pulled = drills("images", "pull")
        assert pulled.exit_code == 0, pulled.output

    lock = json.loads((tmp_path / "lock.json").read_text())
    every = {image.pull for component in components().values() for image in component.images if image.pull}
    assert lock.keys() == every
    assert all(lock[name] == registry_digest(registry, name) for name in every)
    states = store.status(empty)
    assert all(state.ready and state.origin == Mode.PULL for state in states), states
    assert drills("images", "status").exit_code == 0
    in_node = {image.name for image in definition.images().values() if image.pull and not image.host}
    assert in_node <= names_in_node(empty)
    assert drills("images", "pull").output == "", "nothing is done twice"


def registry_digest(registry: Registry, reference: str) -> str:
    """What the registry itself says a tag is."""
    name, tag = upstream(reference)
    link = registry.storage / "docker/registry/v2/repositories" / name / "_manifests/tags" / tag / "current/link"
    return link.read_text()


def names_in_node(engine: Engine) -> set[str]:
    """The images that a node's containerd has, of the node image that the engine holds."""
    with node.containerd(engine, store.NODE) as container:
        listed = engine.run("exec", container, "ctr", "--namespace=k8s.io", "images", "list", "--quiet")
        return set(listed.stdout.split())


# --- digests ---


def test_pull_takes_the_locked_digest_although_the_tag_has_moved(registry: Registry, empty: Engine) -> None:
    image, first = small(registry, "moved", "first")
    asked.write_lock({image.pull: asked.digest_of(empty, image.pull)})
    assert asked.locked() == {image.pull: first.digest}
    before = asked.pull_digest(image, "definition")
    _, second = small(registry, "moved", "second")
    wholly_gone(empty, f"{registry.host}/docker.io/tests/moved:1")
    asked.pull_as(empty, image)
    assert content(empty, image.name) == "first"
    assert asked.digest_of(empty, image.pull) == second.digest, "of the two that the engine knows now"
    asked.write_lock({image.pull: second.digest})
    assert asked.pull_digest(image, "definition") != before, "what was pulled is no longer current"
    asked.pull_as(empty, image)
    assert content(empty, image.name) == "second"


def content(engine: Engine, name: str) -> str:
    container = engine.run("create", name).stdout.strip()
    try:
        answer = subprocess.run(
            [engine.binary, "cp", f"{container}:/content", "-"], env=engine.env(), capture_output=True, check=True
        )
        return answer.stdout[512:].split(b"\0")[0].decode()  # a tar file of one small file
    finally:
        engine.run("rm", container)


def test_an_index_is_locked_by_its_own_digest_and_gives_this_machines_image(registry: Registry, empty: Engine) -> None:
    here, other = (AMD64, ARM64) if os.uname().machine == "x86_64" else (ARM64, AMD64)
    ours = registry.push("docker.io/tests/two", "here", "for this machine", here)
    theirs = registry.push("docker.io/tests/two", "there", "for another machine", other)
    both = registry.push_index("docker.io/tests/two", "1", [theirs, ours])
    image = Image(name="drills.local/two:1", pull="docker.io/tests/two:1")
    assert asked.digest_of(empty, image.pull) == both.digest
    asked.write_lock({image.pull: both.digest})
    asked.pull_as(empty, image)
    assert content(empty, image.name) == "for this machine"
    registry.push_index("docker.io/tests/two", "other", [theirs])
    with pytest.raises(EnvironmentFailed, match="but not for this machine's architecture"):
        asked.pull(empty, "docker.io/tests/two:other")


# --- refusals ---


@pytest.mark.parametrize(
    ("code", "told"),
    [(429, "allows no more pulls for now .429."), (503, "is out of order"), (401, "wants a login")],
)
def test_a_registry_that_refuses_says_what_to_do(
    empty: Engine, monkeypatch: pytest.MonkeyPatch, code: int, told: str
) -> None:
    with kept_port() as port, refusing(port, code) as host:
        through(monkeypatch, host)
        with pytest.raises(
            EnvironmentFailed, match=rf"^image {host}/docker\.io/\S+ \(for docker\.io/.* the registry {told}"
        ):
            store.prepare(empty, Mode.PULL)


@pytest.mark.parametrize("code", [429, 503, 401])
def test_where_a_registry_answers_and_refuses_images_are_built_and_that_is_said(
    empty: Engine, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], code: int
) -> None:
    wholly_gone(empty, store.NODE)
    built: list[Engine] = []
    monkeypatch.setattr(store, "_build", lambda engine, _: built.append(engine))
    with kept_port() as port, refusing(port, code) as host:
        through(monkeypatch, host)
        store.prepare(empty, Mode.AUTO)
    assert built == [empty]
    said = capsys.readouterr().err
    assert "a registry answers: pulling" in said
    assert "building from source instead: image " in said


def test_what_no_registry_has_is_said(registry: Registry, empty: Engine) -> None:
    with pytest.raises(EnvironmentFailed, match="the registry has no such image"):
        asked.pull(empty, "docker.io/tests/absent:1")
    small(registry, "present")
    with pytest.raises(EnvironmentFailed, match="the registry has no such image"):
        asked.pull(empty, f"docker.io/tests/present@sha256:{'0' * 64}")


def test_a_registry_that_is_not_reached_is_said(empty: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    with kept_port() as port:
        through(monkeypatch, f"127.0.0.1:{port}")
        with pytest.raises(EnvironmentFailed, match=r"does not reach the registry: .* the daemon itself needs it"):
            asked.pull(empty, "docker.io/tests/any:1")


# --- damage ---


def layer_of(registry: Registry, pushed: Pushed) -> Path:
    (layer,) = json.loads(registry.blob(pushed.digest).read_text())["layers"]
    return registry.blob(layer["digest"])


def test_a_blob_that_is_missing_is_said(registry: Registry, empty: Engine) -> None:
    image, pushed = small(registry, "incomplete")
    layer_of(registry, pushed).unlink()
    with pytest.raises(EnvironmentFailed, match="the registry lacks a part of this image"):
        asked.pull_as(empty, image)
    assert store.about(empty, image.name) is None


@pytest.mark.parametrize("part", ["layer", "manifest"])
def test_what_was_changed_in_the_registry_is_refused(registry: Registry, empty: Engine, part: str) -> None:
    """The engine is the guard. It is tried with a harmless change: one byte of a file that nobody runs."""
    image, pushed = small(registry, f"changed-{part}")
    damaged = layer_of(registry, pushed) if part == "layer" else registry.blob(pushed.digest)
    raw = bytearray(damaged.read_bytes())
    raw[-12] ^= 1
    damaged.write_bytes(raw)
    asked.write_lock({image.pull: pushed.digest})
    with pytest.raises(EnvironmentFailed):
        asked.pull_as(empty, image)
    assert store.about(empty, image.name) is None


# --- images of the user's own ---


def test_an_image_of_the_users_own_is_pulled_through_the_mirror_under_its_own_name(
    registry: Registry, empty: Engine, tmp_path: Path
) -> None:
    small(registry, "orders")
    archive = own.archive_of(empty, "docker.io/tests/orders:1", tmp_path, pulls=True)
    (name,) = own.contents(archive)
    assert name in {"docker.io/tests/orders:1", "tests/orders:1"}
