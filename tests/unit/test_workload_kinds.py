"""Procedures take whatever kind a workload is of; keys are sealed for as their controller does."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ed25519
from cryptography.hazmat.primitives.serialization import Encoding

from drills.commands import Commands
from drills.drill import Drill
from drills.errors import EnvironmentFailed, UsageError
from drills.faults.sealing import KEYS
from drills.history import History
from drills.objectives import Objective
from drills.procedures.pod import Controllers
from drills.procedures.sealed import sealing_certificate
from drills.procedures.secrets import Secrets
from drills.procedures.volumes import SNAPSHOT, Volumes, VolumeSnapshots

from .fake_apiserver import CUSTOM

APPS, CORE = "/apis/apps/v1/namespaces/shop/", "/api/v1/namespaces/shop/"
SEALING = "/api/v1/namespaces/sealed-secrets/secrets"


@pytest.fixture
def begin(tmp_path):
    made = []

    def begin_(sabotage=()):
        history = History(None, tmp_path / "d" / f"{len(made)}.jsonl")
        drill = Drill("x", Objective("1m"), history, Commands(tmp_path / "log", history), sabotage=sabotage)
        made.append(drill)
        return drill

    yield begin_
    for one in made:
        one.close()


@pytest.fixture
def kubectl(tmp_path):
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\nshift 2\nprintf "%s\\n" "$*" >>{tmp_path}/asked\n')
    program.chmod(0o755)
    return program


def asked(tmp_path) -> list[str]:
    return (tmp_path / "asked").read_text().splitlines()


def workload(kind: str, ready: int = 1) -> dict:
    counts = dict.fromkeys(("replicas", "readyReplicas", "updatedReplicas", "availableReplicas"), ready)
    if kind == "DaemonSet":
        counts = dict.fromkeys(("desiredNumberScheduled", "updatedNumberScheduled", "numberReady"), ready)
    return {"kind": kind, "metadata": {"name": "web"}, "spec": {"replicas": 1},
            "status": {"observedGeneration": 1, **counts}}  # fmt: skip


# Volumes


@pytest.mark.parametrize(
    ("kind", "stopped"),
    [
        ("StatefulSet", "--namespace shop delete statefulset web --cascade=orphan"),
        ("Deployment", "--namespace shop delete deployment web"),
    ],
)
def test_room_is_made_for_a_volume_of_either_kind(api, kube, begin, kubectl, tmp_path, kind, stopped):
    api.put(APPS + kind.lower() + "s", workload(kind))
    Volumes(begin(), kube, kubectl, tmp_path / "k").remove("web", "shop", "data")
    assert asked(tmp_path)[0] == stopped
    assert asked(tmp_path)[-1] == "--namespace shop delete pvc data"


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment"])
def test_a_snapshot_takes_the_place_of_a_volume_of_either_kind(api, kube, begin, kubectl, tmp_path, monkeypatch, kind):
    snapshots = {"name": "volumesnapshots", "kind": "VolumeSnapshot", "namespaced": True}
    monkeypatch.setitem(CUSTOM, SNAPSHOT.rpartition("/")[0], [snapshots])
    api.put(APPS + kind.lower() + "s", workload(kind))
    api.put(CORE + "persistentvolumeclaims", {"metadata": {"name": "data"}, "spec": {}})
    VolumeSnapshots(begin(), kube, kubectl, tmp_path / "k").restore("shot", "web", "shop", "data")
    scaled = [line for line in asked(tmp_path) if "scale" in line]
    assert scaled == [f"-n shop scale {kind.lower()}/web --replicas={count}" for count in (0, 1)]


# Pods


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment", "DaemonSet"])
def test_the_controller_of_any_kind_is_waited_for(api, kube, begin, kind):
    api.put(APPS + kind.lower() + "s", workload(kind, ready=0 if kind != "DaemonSet" else 1))
    if kind != "DaemonSet":
        api.later(0.3, api.put, APPS + kind.lower() + "s", workload(kind))
    Controllers(begin(), kube).replace(kind, "web", "shop")


def test_a_kind_without_a_controller_of_its_own_is_refused(kube, begin):
    with pytest.raises(UsageError, match="replace: invalid value 'Pod': expected one of StatefulSet, Deployment, Daem"):
        Controllers(begin(), kube).replace("Pod", "web", "shop")


@pytest.mark.parametrize(
    ("kind", "field"), [("StatefulSet", "replicas"), ("Deployment", "replicas"), ("DaemonSet", "template")]
)
def test_sabotaged_the_controller_is_told_to_want_no_pods(api, kube, begin, kind, field):
    api.put(APPS + kind.lower() + "s", workload(kind))
    Controllers(begin(sabotage={"procedure"}), kube).replace(kind, "web", "shop")
    assert api.bodies[-1]["spec"].keys() == {field}


@pytest.mark.parametrize("kind", ["StatefulSet", "Deployment", "DaemonSet"])
def test_pods_that_wait_for_a_secret_are_restarted_whatever_made_them(api, kube, begin, kubectl, tmp_path, kind):
    volumes = [{"name": "v", "secret": {"secretName": "s"}}]
    api.put(CORE + "pods", {"metadata": {"name": "p"}, "spec": {"volumes": volumes, "containers": []}})
    api.put(APPS + kind.lower() + "s", workload(kind))
    Secrets(begin(), kube, "shop", kubectl, tmp_path / "k", None, tmp_path).restart_pods()
    assert asked(tmp_path) == ["--namespace shop delete pod p --wait=false"]


# Sealing keys


def key(api, name: str, begun: datetime, *, active: bool = True, crt: str | None = None) -> str:
    secret = ed25519.Ed25519PrivateKey.generate()
    subject = x509.Name([])
    made = (
        x509.CertificateBuilder(subject, subject, secret.public_key(), x509.random_serial_number())
        .not_valid_before(begun)
        .not_valid_after(begun + timedelta(days=3650))
        .sign(secret, None)
    )
    assert isinstance(made.signature_hash_algorithm, hashes.HashAlgorithm | None)
    pem = made.public_bytes(Encoding.PEM)
    data = base64.b64encode(pem).decode() if crt is None else crt
    api.put(SEALING, {
        "metadata": {"name": name, "labels": {KEYS: "active"} if active else {}}, "data": {"tls.crt": data},
    })  # fmt: skip
    return pem.decode()


def test_secrets_are_sealed_for_the_newest_key_whatever_it_is_called(api, kube):
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    key(api, "a-old", noon - timedelta(days=60))
    newest = key(api, "b-new", noon)
    key(api, "c-older", noon - timedelta(days=30))
    key(api, "d-retired", noon + timedelta(days=1), active=False)
    assert sealing_certificate(kube) == newest


@pytest.mark.parametrize("crt", ["", "bm8gY2VydGlmaWNhdGU=", "not base64!"])
def test_a_key_that_is_none_is_named(api, kube, crt):
    with pytest.raises(EnvironmentFailed, match="no sealing key"):
        sealing_certificate(kube)
    key(api, "k", datetime(2026, 11, 30, tzinfo=UTC), crt=crt)
    with pytest.raises(EnvironmentFailed, match=r"sealing key sealed-secrets/k: tls.crt is no certificate"):
        sealing_certificate(kube)
