"""Drains: bounded, named after the budget that forbids them, undone only where they were done."""

from __future__ import annotations

import pytest

from drills.commands import Commands
from drills.drill import Drill
from drills.errors import EnvironmentFailed, FaultHadNoEffect, UsageError
from drills.faults.budget import blocking, selects
from drills.faults.drain import node_drained
from drills.faults.healing import each
from drills.history import History
from drills.objectives import Objective
from drills.procedures.node import Nodes

from .fake_apiserver import Answer, FakeApiServer

NODES, PODS = "/api/v1/nodes", "/api/v1/namespaces/shop/pods"
BUDGETS = "/apis/policy/v1/namespaces/shop/poddisruptionbudgets"
CLAIMS, VOLUMES = "/api/v1/namespaces/shop/persistentvolumeclaims", "/api/v1/persistentvolumes"
OWNED = [{"kind": "ReplicaSet", "uid": "rs"}]


@pytest.fixture
def api():
    server = FakeApiServer()
    server.put(NODES, {"kind": "Node", "metadata": {"name": "w"}, "spec": {}})
    yield server
    server.stop()


@pytest.fixture
def commands(tmp_path):
    return Commands(tmp_path / "commands.log")


def pod(name: str = "web-1", owners=OWNED, **spec) -> dict:
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "labels": {"app": "web"}, "ownerReferences": owners},
        "spec": {"nodeName": "w", **spec},
        "status": {"phase": "Running"},
    }


def budget(name: str = "web", *, allowed: int = 0, labels=None) -> dict:
    spec = {"selector": {"matchLabels": labels or {"app": "web"}}}
    status = {"disruptionsAllowed": allowed, "currentHealthy": 1, "desiredHealthy": 1}
    return {"metadata": {"name": name, "namespace": "shop"}, "spec": spec, "status": status}


def kubectl(tmp_path, script: str) -> list[str]:
    program = tmp_path / "kubectl"
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    return [str(program)]


REFUSES = """
echo "node/w cordoned"
for attempt in 1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17 18 19 20; do
  echo "evicting pod shop/web-1" >&2
  echo "error when evicting pods/web-1 -n shop: Cannot evict pod as it would violate a budget" >&2
done
echo "error: unable to drain node w due to error: error when evicting pods/web-1: global timeout reached: 20s" >&2
exit 1
"""


def test_a_budget_that_forbids_the_drain_is_named_on_one_short_line(api, kube, commands, tmp_path):
    api.put(PODS, pod())
    api.put(BUDGETS, budget())
    api.put(BUDGETS, budget("other", labels={"app": "other"}))
    fault = node_drained(kube, "w", commands, kubectl(tmp_path, REFUSES))
    fault.within_s = 20.0
    with pytest.raises(FaultHadNoEffect) as refused:
        fault.inject()
    assert str(refused.value) == (
        "node/w was not drained within 20 s: PodDisruptionBudget shop/web allows no disruption: 1 healthy, 1 wanted"
    )
    assert "--timeout=20s" in (tmp_path / "commands.log").read_text()


@pytest.mark.parametrize(("within_s", "asked"), [(None, "180s"), (600.0, "180s"), (20.0, "20s"), (0.5, "0.5s")])
def test_a_drain_gets_as_long_as_the_damage_may_take(api, kube, commands, tmp_path, within_s, asked):
    api.put(PODS, pod())
    fault = node_drained(kube, "w", commands, kubectl(tmp_path, "exit 0"))
    fault.within_s = within_s
    fault.inject()
    assert f"--timeout={asked}" in (tmp_path / "commands.log").read_text()


def test_without_a_budget_kubectls_own_last_word_is_quoted(api, kube, commands, tmp_path):
    api.put(PODS, pod())
    fault = node_drained(kube, "w", commands, kubectl(tmp_path, REFUSES))
    with pytest.raises(FaultHadNoEffect, match=r"within 180 s: error: unable to drain node w due to .*timeout reached"):
        fault.inject()
    api.always = Answer(503)
    with pytest.raises(Exception, match="503"):
        fault.inject()


def test_pods_that_nobody_would_make_again_are_refused_before_the_drain(api, kube, commands):
    api.put(PODS, pod())
    api.put(PODS, pod("bare", owners=[]))
    api.put(PODS, {**pod("done", owners=[]), "status": {"phase": "Succeeded"}})
    with pytest.raises(UsageError, match=r"no controller owns: shop/bare; accepted"):
        node_drained(kube, "w", commands, [])
    api.remove(PODS, "bare")
    assert node_drained(kube, "w", commands, [])
    with pytest.raises(UsageError, match="invalid value 'none': expected one of w"):
        node_drained(kube, "none", commands, [])


def test_only_what_it_cordoned_is_uncordoned(api, kube, commands, tmp_path):
    api.put(PODS, pod())
    unschedulable = {"spec": {"unschedulable": True}}
    fault = node_drained(kube, "w", commands, kubectl(tmp_path, "exit 0"))
    kube.patch("Node", "w", unschedulable)
    fault.heal()  # never injected: somebody else closed the node
    assert api.objects[NODES, "w"]["spec"] == {"unschedulable": True}
    fault.inject()
    fault.heal()  # and it was closed before the drain
    assert api.objects[NODES, "w"]["spec"] == {"unschedulable": True}

    kube.uncordon("w")
    fault.inject()
    kube.patch("Node", "w", unschedulable)
    fault.heal()
    assert api.objects[NODES, "w"]["spec"] == {}


def test_a_drain_is_proved_by_a_closed_node_without_its_pods(api, kube, commands):
    api.put(PODS, pod())
    fault = node_drained(kube, "w", commands, [])
    assert fault.proof() == []
    assert fault.unproven == "pod shop/web-1: Running, Ready=unknown, on w"
    api.remove(PODS, "web-1")
    assert fault.proof() == []
    assert fault.unproven == "node w takes pods: Ready=unknown"
    kube.cordon("w")
    assert fault.proof()[0] == "node w is unschedulable"
    api.always = Answer(503)
    assert fault.proof() == []
    assert "503" in fault.unproven


@pytest.mark.parametrize(
    ("host", "bound"),
    [
        ({"key": "kubernetes.io/hostname", "operator": "In", "values": ["w"]}, True),
        ({"key": "kubernetes.io/hostname", "operator": "In", "values": ["w", "x"]}, False),
        ({"key": "topology.kubernetes.io/zone", "operator": "In", "values": ["w"]}, False),
        (None, False),
    ],
)
def test_pods_that_can_run_nowhere_else_are_told_of(api, kube, commands, tmp_path, host, bound):
    api.put(PODS, pod(volumes=[{"name": "data", "persistentVolumeClaim": {"claimName": "data"}}, {"name": "x"}]))
    api.put(CLAIMS, {"metadata": {"name": "data"}, "spec": {"volumeName": "pv"}})
    affinity = {"required": {"nodeSelectorTerms": [{"matchExpressions": [host]}]}} if host else None
    api.put(VOLUMES, {"metadata": {"name": "pv"}, "spec": {"nodeAffinity": affinity} if affinity else {}})
    history = History(None, tmp_path / "d" / "history.jsonl")
    drill = Drill("x", Objective("1m"), history, commands, directory=tmp_path / "d")
    fault = Nodes(drill, kube, tmp_path / "kubectl", tmp_path / "kubeconfig").drained("w")
    kube.cordon("w")
    api.remove(PODS, "web-1")
    told = "pod shop/web-1 can run on no other node: the volume of claim data is a disk or directory of w"
    assert (told in fault.proof()) is bound
    drill.close()
    caveats = drill.recorded().get("caveats") or []
    assert any("the recovery time is that of uncordoning w" in one for one in caveats) is bound


# Budgets


def test_two_budgets_over_one_pod_forbid_it_whatever_they_allow(api, kube):
    api.put(BUDGETS, budget("a", allowed=1))
    assert blocking(kube, [pod()]) == ""
    api.put(BUDGETS, budget("b", allowed=1))
    assert blocking(kube, [pod()]).startswith("pod shop/web-1 is under 2 PodDisruptionBudgets, a and b")


@pytest.mark.parametrize(
    ("selector", "selected"),
    [
        (None, False),
        ({}, True),
        ({"matchLabels": {"app": "web"}}, True),
        ({"matchLabels": {"app": "web", "tier": "x"}}, False),
        ({"matchExpressions": [{"key": "app", "operator": "In", "values": ["web", "shop"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "NotIn", "values": ["web"]}]}, False),
        ({"matchExpressions": [{"key": "tier", "operator": "NotIn", "values": ["x"]}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "Exists"}]}, True),
        ({"matchExpressions": [{"key": "app", "operator": "DoesNotExist"}]}, False),
        ({"matchLabels": {"app": "web"}, "matchExpressions": [{"key": "tier", "operator": "Exists"}]}, False),
    ],
)
def test_selectors_take_in_what_kubernetes_says(selector, selected):
    assert selects(selector, {"app": "web"}) is selected


# Healing


def test_every_place_is_healed_and_every_failure_told():
    done = []

    def bad(text):
        raise OSError(text)

    each([("a", lambda: done.append("a"))])
    with pytest.raises(EnvironmentFailed) as failed:
        each(
            [
                ("a", lambda: bad("no\nroute")),
                ("b", lambda: done.append("b")),
                ("c", lambda: bad("gone")),
                ("d", lambda: done.append("d")),
            ]
        )
    assert done == ["a", "b", "d"]
    assert str(failed.value) == "2 of 4 could not be healed: a: OSError: no route; c: OSError: gone"


def test_what_is_being_deleted_is_no_pod_that_a_drain_must_move(api, kube, commands):
    """In a cluster that drills share, the namespace of the drill before may not be gone yet."""
    api.put("/api/v1/namespaces", {"metadata": {"name": "shop"}})
    api.put("/api/v1/namespaces", {"metadata": {"name": "old", "deletionTimestamp": "2026-11-30T00:00:00Z"}})
    api.put(PODS, pod())
    leaving = pod("web-2")
    leaving["metadata"]["deletionTimestamp"] = "2026-11-30T00:00:00Z"
    api.put(PODS, leaving)
    old = pod("shop-0")
    old["metadata"]["namespace"] = "old"
    api.put("/api/v1/namespaces/old/pods", old)
    assert list(node_drained(kube, "w", commands, [])._pods) == ["shop/web-1"]
