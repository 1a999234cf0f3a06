"""The faults on fakes: what they ask for, and that their proof says nothing too early. The drills run them for real."""

from __future__ import annotations

import re
import socket
import subprocess
from pathlib import Path

import pytest

from drills.errors import EnvironmentFailed, FaultHadNoEffect, UsageError
from drills.faults import BlastRadius, node
from drills.faults.etcd import MEMBER, etcd_wiped
from drills.faults.namespace import namespace_deleted
from drills.faults.node import node_stopped
from drills.faults.pod import pod_killed

from .fake_apiserver import Answer

NAMESPACES, NODES, VOLUMES = (f"/api/v1/{plural}" for plural in ("namespaces", "nodes", "persistentvolumes"))
PODS, CLAIMS = (f"/api/v1/namespaces/shop/{plural}" for plural in ("pods", "persistentvolumeclaims"))


# Pod


@pytest.fixture
def pod(api):
    return api.put(PODS, {"metadata": {"name": "web-0", "uid": "first"}, "spec": {"nodeName": "worker"}})


@pytest.mark.usefixtures("pod")
def test_a_killed_pod_is_deleted_without_grace_and_proved_gone(api, kube):
    fault = pod_killed(kube, "shop", "web-0")
    assert fault.blast_radius is BlastRadius.POD
    assert fault.target == "pod/shop/web-0 (uid first, on worker)"
    assert fault.proof() == []

    fault.inject()
    assert api.bodies[-1]["gracePeriodSeconds"] == 0
    assert api.bodies[-1]["preconditions"] == {"uid": "first"}
    assert fault.proof() == ["pod web-0 with uid first is gone"]

    api.put(PODS, {"metadata": {"name": "web-0", "uid": "second"}, "spec": {}})
    assert fault.proof() == ["pod web-0 has uid second, not first"]
    fault.heal()
    assert kube.get("Pod", "web-0", "shop") is not None


@pytest.mark.usefixtures("pod")
def test_a_pod_that_went_by_itself_was_not_killed(api, kube):
    fault = pod_killed(kube, "shop", "web-0")
    api.put(PODS, {"metadata": {"name": "web-0", "uid": "second"}, "spec": {}})
    with pytest.raises(FaultHadNoEffect, match="replaced"):
        fault.inject()
    api.remove(PODS, "web-0")
    with pytest.raises(FaultHadNoEffect, match="gone"):
        fault.inject()


@pytest.mark.usefixtures("pod")
def test_killing_wants_a_pod_that_is_there(kube):
    with pytest.raises(UsageError, match="one of web-0"):
        pod_killed(kube, "shop", "web-1")


@pytest.mark.parametrize("status", [403, 429, 500])
@pytest.mark.usefixtures("pod")
def test_an_api_server_in_trouble_proves_no_pod_gone(api, kube, status):
    fault = pod_killed(kube, "shop", "web-0")
    api.always = Answer(status)
    assert fault.proof() == []


# Node


class FakeNode:
    def __init__(self, name: str = "worker") -> None:
        self.name = name
        self.on = True
        self.calls: list[str] = []

    def stop(self) -> None:
        self.calls.append("stop")
        self.on = False

    def start(self) -> None:
        self.calls.append("start")
        self.on = True

    def running(self) -> bool:
        return self.on


@pytest.fixture
def kubelet(monkeypatch):
    listener = socket.create_server(("127.0.0.1", 0))
    monkeypatch.setattr(node, "KUBELET_PORT", listener.getsockname()[1])
    yield listener
    listener.close()


def put_node(api, **labels) -> None:
    status = {"addresses": [{"type": "Hostname", "address": "worker"}, {"type": "InternalIP", "address": "127.0.0.1"}]}
    api.put(NODES, {"metadata": {"name": "worker", "labels": labels}, "status": status})


def test_a_stopped_node_is_proved_by_both_witnesses(api, kube, kubelet):
    put_node(api)
    machine = FakeNode()
    fault = node_stopped(machine, kube)
    assert fault.blast_radius is BlastRadius.NODE
    assert fault.target == "node/worker"
    assert fault.proof() == []

    fault.inject()
    assert fault.proof() == []  # the engine says off, and yet its kubelet answers: another machine, or a lie
    port = kubelet.getsockname()[1]
    kubelet.close()
    assert fault.proof() == ["node worker is not running", f"its kubelet at 127.0.0.1:{port} answers no more"]

    fault.heal()
    fault.heal()
    assert machine.calls == ["stop", "start"]
    assert fault.proof() == []


def test_a_node_network_out_of_reach_gives_no_second_witness(api, kube, kubelet):
    kubelet.close()
    put_node(api)
    fault = node_stopped(FakeNode(), kube)
    fault.inject()
    assert fault.proof() == ["node worker is not running"]


@pytest.mark.usefixtures("kubelet")
def test_a_control_plane_node_reaches_further(api, kube):
    put_node(api, **{"node-role.kubernetes.io/control-plane": ""})
    assert node_stopped(FakeNode(), kube).blast_radius is BlastRadius.CONTROL_PLANE


def test_a_node_that_is_off_already_shows_before_the_fault(api, kube, kubelet):
    kubelet.close()
    put_node(api)
    machine = FakeNode()
    machine.on = False
    assert node_stopped(machine, kube).proof()


def test_stopping_wants_a_node_of_the_cluster(api, kube):
    put_node(api)
    with pytest.raises(UsageError, match="one of worker"):
        node_stopped(FakeNode("elsewhere"), kube)


# Namespace


@pytest.fixture
def shop(api):
    api.put(NAMESPACES, {"metadata": {"name": "shop", "uid": "ns-1"}})
    api.put(PODS, {"metadata": {"name": "db-0"}})
    api.put(CLAIMS, {"metadata": {"name": "data", "uid": "claim-1"}})
    put_volume(api, "pv-1", "claim-1")
    put_volume(api, "pv-other", "claim-of-another")


def put_volume(api, name: str, claim: str, policy: str = "Delete", phase: str = "Bound") -> None:
    spec = {"claimRef": {"uid": claim}, "persistentVolumeReclaimPolicy": policy}
    api.put(VOLUMES, {"metadata": {"name": name, "uid": f"{name}-uid"}, "spec": spec, "status": {"phase": phase}})


@pytest.mark.usefixtures("shop")
def test_a_deleted_namespace_is_proved_when_it_and_its_volumes_are_gone(api, kube):
    fault = namespace_deleted(kube, "shop")
    assert fault.blast_radius is BlastRadius.NAMESPACE
    assert fault.before.volumes == {"pv-1": "pv-1-uid"}
    assert fault.proof() == []

    there = api.objects[NAMESPACES, "shop"]
    fault.inject()
    api.put(NAMESPACES, {**there, "metadata": {**there["metadata"], "deletionTimestamp": "2026-11-21T09:33:06Z"}})
    assert fault.proof() == []
    api.remove(NAMESPACES, "shop")
    assert fault.proof() == []
    api.remove(VOLUMES, "pv-1")
    assert fault.proof() == [
        "namespace shop with uid ns-1 is gone",
        "volume pv-1 with uid pv-1-uid is gone",
        "1 pods and 1 volume claims went with it",
    ]

    api.put(NAMESPACES, {"metadata": {"name": "shop", "uid": "ns-2"}})  # as a GitOps controller does within seconds
    assert fault.proof()


@pytest.mark.usefixtures("shop")
def test_a_namespace_that_does_not_go_names_what_is_left_in_it_and_what_holds_that(api, kube):
    fault = namespace_deleted(kube, "shop")
    assert fault.proof() == []
    assert fault.unproven == "namespace/shop: present, without status"
    going = {"deletionTimestamp": "2026-11-30T09:00:00Z"}
    api.put(NAMESPACES, {"kind": "Namespace", "metadata": {"name": "shop", "uid": "ns-1", **going}, "status": {}})
    api.put(PODS, {"metadata": {"name": "db-0", **going}})
    settings = "/api/v1/namespaces/shop/configmaps"
    api.put(settings, {"metadata": {"name": "free"}})
    api.put(settings, {"metadata": {"name": "held", "finalizers": ["example.org/hold"], **going}})
    assert fault.proof() == []
    assert fault.unproven.startswith("namespace/shop: being deleted; left in it: Pod db-0 (")
    assert fault.unproven.endswith("ConfigMap held (being deleted, held by example.org/hold)")
    api.remove(NAMESPACES, "shop")
    assert fault.proof() == []
    assert fault.unproven == "volume pv-1: phase=Bound"


@pytest.mark.usefixtures("shop")
def test_a_retained_volume_counts_once_it_is_released(api, kube):
    put_volume(api, "pv-1", "claim-1", "Retain")
    fault = namespace_deleted(kube, "shop")
    fault.inject()
    assert fault.proof() == []
    put_volume(api, "pv-1", "claim-1", "Retain", "Released")
    assert "volume pv-1 with uid pv-1-uid is released, and retained by its class" in fault.proof()


@pytest.mark.usefixtures("shop")
def test_an_api_server_in_trouble_proves_no_namespace_gone(api, kube):
    fault = namespace_deleted(kube, "shop")
    api.refuse()
    assert fault.proof() == []


@pytest.mark.usefixtures("shop")
def test_deleting_wants_a_namespace_that_is_there_and_the_same(api, kube):
    with pytest.raises(UsageError, match="none of that name"):
        namespace_deleted(kube, "nowhere")
    fault = namespace_deleted(kube, "shop")
    api.remove(NAMESPACES, "shop")
    with pytest.raises(FaultHadNoEffect, match="gone"):
        fault.inject()
    api.put(NAMESPACES, {"metadata": {"name": "shop", "uid": "ns-2", "deletionTimestamp": "2026-11-21T09:33:06Z"}})
    with pytest.raises(FaultHadNoEffect, match="replaced"):
        fault.inject()
    with pytest.raises(UsageError, match="being deleted already"):
        namespace_deleted(kube, "shop")


# etcd


CRICTL = """#!/bin/sh
case $1 in
    ps) cat "$ROOT/running" ;;
    stop) [ ! -e "$ROOT/will-not-die" ] || exit 1
        mkdir -p "$ROOT/etcd/member/wal" && echo another > "$ROOT/etcd/member/wal/0.wal" ;;  # kubelet starts it again
esac
"""


class FakeControlPlane:
    """A node as far as the fault looks at it: etcd's directory, and a crictl that knows its container."""

    name = "control-plane"

    def __init__(self, root: Path) -> None:
        self._root = root
        self._wal = root / "etcd" / "member" / "wal"
        self._wal.mkdir(parents=True)
        (self._wal / "0.wal").write_text("first\n")
        (root / "running").write_text("3f2a9c\n")
        (root / "crictl").write_text(CRICTL)
        (root / "crictl").chmod(0o755)

    @property
    def log(self) -> str:
        return (self._wal / "0.wal").read_text().strip()

    def set(self, state: str) -> None:
        (self._root / state).write_text("")

    def lose(self) -> None:
        (self._wal / "0.wal").unlink()

    def exec(self, argv: list[str], timeout_s: float) -> str:
        assert argv[:2] == ["sh", "-c"]
        script = argv[2].replace("/var/lib/etcd", str(self._root / "etcd"))
        environment = {"PATH": f"{self._root}:/usr/bin:/bin", "ROOT": str(self._root)}
        done = subprocess.run(
            ["sh", "-c", script], env=environment, capture_output=True, text=True, timeout=timeout_s, check=False
        )
        if done.returncode:
            raise EnvironmentFailed(f"exit code {done.returncode}: {done.stderr}")
        return done.stdout


@pytest.fixture
def control_plane(api, tmp_path):
    api.put(NAMESPACES, {"metadata": {"name": "kube-system", "uid": "old"}})
    return FakeControlPlane(tmp_path)


def test_etcd_is_killed_with_its_data_gone_and_starts_again_empty(kube, control_plane, tmp_path):
    fault = etcd_wiped(control_plane, kube)
    assert fault.blast_radius is BlastRadius.CLUSTER
    assert fault.proof() == []

    fault.inject()
    assert control_plane.log == "another"
    assert [path.name for path in (tmp_path / "etcd").iterdir()] == ["member"]
    fault.heal()
    assert control_plane.log == "another"


def test_an_emptied_etcd_is_proved_by_its_directory_and_the_api_server_together(api, kube, control_plane):
    fault = etcd_wiped(control_plane, kube)
    api.always = Answer(403, {}, {"reason": "Forbidden", "message": "who are you"})
    assert fault.proof() == []  # an API server that has only just started refuses everyone too
    api.always = None

    fault.inject()
    assert fault.proof() == []  # the API server still answers as before
    api.always = Answer(500)
    assert fault.proof() == []
    api.always = Answer(403, {}, {"reason": "Forbidden", "message": "who are you"})
    assert re.fullmatch(rf"{MEMBER} is inode \d+, log \w{{16}}, not inode \d+, log \w{{16}}", fault.proof()[0])
    assert "who are you" in fault.proof()[1]
    api.always = None
    api.put(NAMESPACES, {"metadata": {"name": "kube-system", "uid": "new"}})
    assert fault.proof()[1] == "namespace kube-system has uid new, not old"
    api.remove(NAMESPACES, "kube-system")
    assert fault.proof()[1] == "namespace kube-system is gone"


@pytest.mark.parametrize("state", ["will-not-die", "running"])
def test_an_etcd_that_cannot_be_killed_gets_its_data_back(kube, control_plane, state):
    control_plane.set(state)  # an empty "running": crictl knows no such container
    fault = etcd_wiped(control_plane, kube)
    with pytest.raises(EnvironmentFailed, match="exit code 1"):
        fault.inject()
    fault.heal()
    fault.heal()
    assert control_plane.log == "first"


def test_wiping_wants_an_etcd(kube, control_plane):
    control_plane.lose()
    with pytest.raises(UsageError, match=MEMBER):
        etcd_wiped(control_plane, kube)
