"""What etcd's and kubeadm's own programs pass over in silence, and our checks do not: on the real programs, no cluster.

The programs are those that are built for the images; etcd listens on loopback.
"""

from __future__ import annotations

import subprocess
from contextlib import ExitStack, contextmanager
from datetime import UTC, datetime
from types import SimpleNamespace

import pytest
from drills.fixtures.images import definition
from drills.fixtures.toolchain import make_binaries

from drills.commands import Commands
from drills.drill import Drill
from drills.history import History
from drills.objectives import Objective
from drills.procedures import pki
from drills.procedures.etcdctl import Etcdctl, checksum_script
from drills.procedures.members import EtcdMembers
from drills.waiting import wait_until
from tests.ports import kept_port

KUBEADM = """apiVersion: kubeadm.k8s.io/v1beta4
kind: InitConfiguration
localAPIEndpoint: {advertiseAddress: 10.1.2.3}
nodeRegistration: {name: one}
---
apiVersion: kubeadm.k8s.io/v1beta4
kind: ClusterConfiguration
kubernetesVersion: v1.37.0
"""

# A node: what is run on it goes to the member that listens on loopback without TLS.
NODE = """#!/bin/sh
program=$1; shift
for word; do
  shift
  case $word in
    --endpoints=*) word=--endpoints=http://127.0.0.1:PORT;;
    --cacert=* | --cert=* | --key=*) continue;;
    --cacert | --cert | --key) skip=1; continue;;
    https://127.0.0.1:2379/*) word=http://127.0.0.1:PORT/${word#https://127.0.0.1:2379/};;
    *) [ -z "$skip" ] || { skip=; continue; };;
  esac
  set -- "$@" "$word"
done
PATH=PROGRAMS:$PATH exec "$program" "$@"
"""


@pytest.fixture(scope="module")
def programs():
    return make_binaries(definition.components()["etcd"])


@pytest.fixture
def drill(tmp_path):
    history = History(None, tmp_path / "history.jsonl")
    made = Drill(
        "tools", Objective("1m"), history, Commands(tmp_path / "commands.log", history), directory=tmp_path, patience=20
    )
    yield made
    made.close()


@pytest.fixture
def ports():
    with ExitStack() as kept:
        yield [(kept.enter_context(kept_port()), kept.enter_context(kept_port())) for _ in range(3)]


def peer(ports):
    return f"http://127.0.0.1:{ports[1]}"


@contextmanager
def member(programs, drill, directory, name, ports, cluster):
    """Run a real member of etcd on a data directory, and give it as a node."""
    client = f"http://127.0.0.1:{ports[0]}"
    program = directory / f"{name}.sh"
    program.write_text(NODE.replace("PORT", str(ports[0])).replace("PROGRAMS", str(programs)))
    program.chmod(0o755)
    with (directory / f"{name}.log").open("ab") as log:
        process = subprocess.Popen(
            [programs / "etcd", "--name", name, "--data-dir", directory / name, "--listen-client-urls", client,
             "--advertise-client-urls", client, "--listen-peer-urls", peer(ports), "--initial-cluster", cluster,
             "--initial-advertise-peer-urls", peer(ports), "--socket-reuse-address"],
            stdout=log, stderr=log,
        )  # fmt: skip
        try:
            yield SimpleNamespace(name=name, enter=[str(program)], environment={})
        finally:
            process.terminate()
            process.wait(20)


def wait_for(drill, *nodes):
    for node in nodes:
        # An answer, not health: with an alarm a member is unhealthy, and that is what is looked at.
        wait_until(
            lambda node=node: Etcdctl(drill.commands, node).attempt("endpoint", "status").returncode == 0,
            what=f"etcd {node.name} answers", within_s=30,
        )  # fmt: skip


def restore(programs, snapshot, directory, name, ports, cluster, *options):
    return subprocess.run(
        [programs / "etcdutl", "snapshot", "restore", snapshot, "--data-dir", directory / name, "--name", name,
         "--initial-cluster", cluster, "--initial-advertise-peer-urls", peer(ports), *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip


def checksum(path):
    return subprocess.run(["sh", "-c", checksum_script(str(path))], capture_output=True, text=True, check=False)


def put(etcdctl, count, value):
    for key in range(count):
        etcdctl.run("put", f"key-{key}", value)


def last_check(drill):
    return drill.history.events("check")[-1].fields


def test_a_damaged_snapshot_that_its_own_tool_calls_good_is_noticed(programs, drill, tmp_path, ports):
    snapshot = tmp_path / "etcd.db"
    with member(programs, drill, tmp_path, "a", ports[0], f"a={peer(ports[0])}") as node:
        wait_for(drill, node)
        etcdctl = Etcdctl(drill.commands, node)
        put(etcdctl, 5, "v" * 500)
        etcdctl.run("snapshot", "save", str(snapshot))
    assert checksum(snapshot).returncode == 0
    content = bytearray(snapshot.read_bytes())
    content[content.index(b"v" * 500)] ^= 1
    damaged = tmp_path / "damaged.db"
    damaged.write_bytes(content)
    status = subprocess.run([programs / "etcdutl", "snapshot", "status", damaged], capture_output=True, check=False)
    assert status.returncode == 0, "etcdutl looks at the checksum now: the runbook's trap is out of date"
    assert "damaged: its content has sha256" in checksum(damaged).stderr

    hashed = tmp_path / "hashed.db"
    hashed.write_bytes(snapshot.read_bytes())
    subprocess.run([programs / "etcdutl", "hashkv", hashed], capture_output=True, check=True)
    assert checksum(hashed).returncode == 1, "etcdutl hashkv only reads now: the runbook's trap is out of date"
    assert restore(programs, hashed, tmp_path, "b", ports[0], f"b={peer(ports[0])}").returncode != 0


def test_an_alarm_outlives_its_cluster_in_the_snapshot_until_it_is_disarmed(programs, drill, tmp_path, ports):
    snapshot, cluster = tmp_path / "etcd.db", f"a={peer(ports[0])}"
    with member(programs, drill, tmp_path, "a", ports[0], cluster) as node:
        wait_for(drill, node)
        etcdctl = Etcdctl(drill.commands, node)
        assert etcdctl.alarms() == []
        put(etcdctl, 1, "v")
        etcdctl.arm("NOSPACE")
        assert [alarm.kind for alarm in etcdctl.alarms()] == ["NOSPACE"]
        etcdctl.run("snapshot", "save", str(snapshot))
    restored = tmp_path / "restored"
    restored.mkdir()
    done = restore(programs, snapshot, restored, "a", ports[0], cluster, "--bump-revision", "1000", "--mark-compacted")
    assert done.returncode == 0, done.stderr
    with member(programs, drill, restored, "a", ports[0], cluster) as node:
        wait_for(drill, node)
        etcdctl = Etcdctl(drill.commands, node)
        assert [alarm.kind for alarm in etcdctl.alarms()] == ["NOSPACE"]
        assert etcdctl.attempt("get", "key-0").stdout == "key-0\nv\n"
        assert "space exceeded" in etcdctl.attempt("put", "key-0", "w").stderr
        etcdctl.run("alarm", "disarm")
        assert etcdctl.alarms() == []
        etcdctl.run("put", "key-0", "w")


def test_members_of_different_snapshots_are_healthy_and_their_hashes_tell_them_apart(programs, drill, tmp_path, ports):
    snapshots = [tmp_path / "old.db", tmp_path / "new.db"]
    with member(programs, drill, tmp_path, "seed", ports[0], f"seed={peer(ports[0])}") as node:
        wait_for(drill, node)
        etcdctl = Etcdctl(drill.commands, node)
        put(etcdctl, 5, "old")
        etcdctl.run("snapshot", "save", str(snapshots[0]))
        put(etcdctl, 5, "new")  # the same keys, no compaction: the hashes stay comparable
        etcdctl.run("snapshot", "save", str(snapshots[1]))
    names = "abc"
    cluster = ",".join(f"{name}={peer(port)}" for name, port in zip(names, ports, strict=True))
    for which, alike in ((0, False), (1, True)):
        directory = tmp_path / f"cluster-{which}"
        directory.mkdir()
        with ExitStack() as running:
            for name, port in zip(names, ports, strict=True):
                snapshot = snapshots[which] if name == "a" else snapshots[1]
                assert restore(programs, snapshot, directory, name, port, cluster).returncode == 0
            nodes = [
                running.enter_context(member(programs, drill, directory, name, port, cluster))
                for name, port in zip(names, ports, strict=True)
            ]
            wait_for(drill, *nodes)
            for node in nodes:
                etcdctl = Etcdctl(drill.commands, node)
                wait_until(etcdctl.healthy, what=f"{node.name} is healthy", within_s=30)
            EtcdMembers(drill, None, nodes).agree()
            assert last_check(drill)["name"] == "all members of etcd hold the same data"
            assert last_check(drill)["ok"] is alike, last_check(drill)


@pytest.fixture(scope="module")
def kubeadm():
    return make_binaries(definition.components()["kubernetes"]) / "kubeadm"


def test_kubeadm_passes_over_what_is_wrong_with_the_keys(kubeadm, tmp_path):
    certificates = tmp_path / "pki"
    configuration = tmp_path / "kubeadm.yaml"

    def run(*words, address="10.1.2.3"):
        text = KUBEADM.replace("10.1.2.3", address) + f"certificatesDir: {certificates}\n"
        configuration.write_text(text)
        return subprocess.run([kubeadm, *words, "--config", configuration], capture_output=True, text=True, check=False)

    def problems(address="10.1.2.3"):
        files = {str(path.relative_to(certificates)): path.read_bytes() for path in certificates.rglob("*.*")}
        return pki.problems(files, at=datetime.now(UTC), address=address), files

    done = run("init", "phase", "certs", "all")
    assert done.returncode == 0, done.stderr
    found, before = problems()
    assert found == []

    # Another address: kubeadm keeps the certificate that does not fit.
    assert run("init", "phase", "certs", "all", address="10.1.2.4").returncode == 0
    (found,), _ = problems("10.1.2.4")
    assert found.startswith("apiserver.crt is valid for ")
    assert "the machine has 10.1.2.4" in found

    # The accounts' key is lost: kubeadm makes another one without a word of what that means.
    (certificates / "sa.key").unlink()
    (certificates / "sa.pub").unlink()
    assert run("init", "phase", "certs", "all").returncode == 0
    found, after = problems()
    assert found == []
    assert pki.changed_accounts_key(before, after)

    # The authority's key is lost: kubeadm renews what it can.
    (certificates / "ca.key").unlink()
    done = run("certs", "renew", "all")
    assert done.returncode == 0, done.stderr
    assert problems()[0] == ["ca.key is missing: kubeadm makes another one, or cannot sign with it, and exits 0"]
