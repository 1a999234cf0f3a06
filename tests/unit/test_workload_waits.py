"""Waits on workloads: which of them are waited for, when they count as ready, and what keeps their pods where not."""

from __future__ import annotations

import time

import pytest

from drills.errors import WaitTimeout
from drills.kube import (
    Busy,
    Kube,
    daemonset_ready,
    daemonset_settled,
    deployment_available,
    describe,
    gone,
    statefulset_ready,
)

from .fake_apiserver import Answer

APPS = "/apis/apps/v1/namespaces/shop/"
CORE = "/api/v1/namespaces/shop/"


def workload(kind: str, name: str = "web", *, ready: int = 1, wanted: int = 1, spec=None, **status) -> dict:
    counts = {"replicas": wanted, "readyReplicas": ready, "updatedReplicas": wanted, "availableReplicas": ready}
    if kind == "DaemonSet":
        counts = {"desiredNumberScheduled": wanted, "updatedNumberScheduled": wanted, "numberReady": ready}
    return {
        "apiVersion": "apps/v1",
        "kind": kind,
        "metadata": {"name": name, "namespace": "shop", "uid": f"{kind}-{name}"},
        "spec": {"replicas": wanted, **(spec or {})},
        "status": {"observedGeneration": 1, "currentRevision": "a", "updateRevision": "a", **counts, **status},
    }


def put(api, *found: dict) -> None:
    for one in found:
        where = {"Pod": CORE + "pods", "Event": CORE + "events", "Job": "/apis/batch/v1/namespaces/shop/jobs"}
        api.put(where.get(one["kind"], APPS + one["kind"].lower() + "s"), one)


def pod(name: str, owner: str, *, ready: bool = False, container: dict | None = None, **status) -> dict:
    state = {"name": "app", "state": {"waiting": container}} if container else None
    return {
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", "uid": name, "ownerReferences": [{"uid": owner}]},
        "status": {
            "phase": "Running" if ready else "Pending",
            "conditions": [{"type": "Ready", "status": str(ready)}],
            **({"containerStatuses": [state]} if state else {}),
            **status,
        },
    }


def warning(uid: str, reason: str, message: str, kind: str = "Pod", at: str = "2026-11-30T09:00:00Z") -> dict:
    return {
        "kind": "Event",
        "metadata": {"name": f"{uid}-{reason}-{at}", "namespace": "shop"},
        "involvedObject": {"kind": kind, "name": uid, "uid": uid},
        "type": "Warning", "reason": reason, "message": message, "lastTimestamp": at,
    }  # fmt: skip


def late(kube: Kube, within_s: float = 0.4, **options) -> str:
    with pytest.raises(WaitTimeout) as timeout:
        kube.wait_for_workloads("shop", what="the workload is ready", within_s=within_s, **options)
    assert "\n" not in str(timeout.value)
    return timeout.value.last


# Which ones


def test_every_deployment_statefulset_and_daemonset_is_waited_for(api, kube):
    for kind in ("Deployment", "StatefulSet", "DaemonSet"):
        put(api, workload(kind, ready=0))
        assert f"0 of 1 workloads ready; {kind.lower()} web: 0 of 1 ready" in late(kube)
        api.later(0.2, put, api, workload(kind))
        found = kube.wait_for_workloads("shop", what="x", within_s=5)
        assert [one["kind"] for one in found] == [kind]
        api.remove(APPS + kind.lower() + "s", "web")


def test_a_namespace_without_any_is_ready_and_others_are_not_asked(api, kube):
    api.put("/apis/apps/v1/namespaces/other/deployments", workload("Deployment", ready=0))
    began = time.monotonic()
    assert kube.wait_for_workloads("shop", what="x", within_s=5) == []
    assert time.monotonic() - began < 1


def test_those_that_lack_are_named_and_the_others_are_not(api, kube):
    put(api, workload("Deployment", "a"), workload("StatefulSet", "b", ready=0), workload("DaemonSet", "c", ready=0))
    said = late(kube)
    assert said.startswith("1 of 3 workloads ready; statefulset b: 0 of 1 ready; daemonset c: 0 of 1 ready")


def test_labels_and_kinds_choose(api, kube):
    other = workload("Deployment", "other", ready=0)
    web = workload("Deployment")
    web["metadata"]["labels"] = {"app": "web"}
    put(api, other, web)
    assert [one["metadata"]["name"] for one in kube.wait_for_workloads("shop", labels="app=web", what="x", within_s=5)]
    assert kube.wait_for_workloads("shop", kinds=["StatefulSet"], what="x", within_s=5) == []


def test_an_api_server_in_trouble_is_ridden_out_and_said(api, kube):
    put(api, workload("Deployment"))
    api.script.extend([Answer(503)] * 2)
    assert kube.wait_for_workloads("shop", what="x", within_s=5)
    api.always = Answer(503)
    with pytest.raises(WaitTimeout, match="Busy: 503") as timeout:
        kube.wait_for_workloads("shop", what="x", within_s=0.4)
    assert isinstance(timeout.value.__cause__, Busy)


# When they are ready

OLD = {"currentRevision": "a", "updateRevision": "b", "updatedReplicas": 1, "updatedNumberScheduled": 0}


@pytest.mark.parametrize(
    ("spec", "ready"),
    [
        ({}, False),
        ({"updateStrategy": {"type": "RollingUpdate"}}, False),
        ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 0}}}, False),
        ({"updateStrategy": {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}}, True),
        ({"updateStrategy": {"rollingUpdate": {"partition": 5}}}, True),
        ({"updateStrategy": {"type": "OnDelete"}}, True),
    ],
)
def test_older_replicas_count_where_the_controller_leaves_them(spec, ready):
    assert statefulset_ready(workload("StatefulSet", ready=2, wanted=2, spec=spec, **OLD)) is ready
    assert not statefulset_ready(workload("StatefulSet", ready=1, wanted=2, spec=spec, **OLD))


def test_a_daemonset_that_is_updated_by_deleting_its_pods_counts_as_it_is():
    on_delete = {"updateStrategy": {"type": "OnDelete"}}
    assert daemonset_ready(workload("DaemonSet", ready=2, wanted=2, spec=on_delete, **OLD))
    assert not daemonset_ready(workload("DaemonSet", ready=2, wanted=2, **OLD))
    assert not daemonset_ready(workload("DaemonSet", ready=1, wanted=2, spec=on_delete, **OLD))


def test_a_daemonset_for_no_node_is_settled_and_not_ready():
    none = workload("DaemonSet", ready=0, wanted=0)
    assert daemonset_settled(none)
    assert not daemonset_ready(none)
    unseen = workload("DaemonSet", ready=0, wanted=0, observedGeneration=0)
    assert not daemonset_settled(unseen)


def test_a_paused_deployment_counts_as_it_is():
    assert deployment_available(workload("Deployment", ready=2, wanted=2, spec={"paused": True}, updatedReplicas=0))
    assert not deployment_available(workload("Deployment", ready=1, wanted=2, spec={"paused": True}))
    assert not deployment_available(workload("Deployment", ready=2, wanted=2, updatedReplicas=0))


# Why not


def test_an_image_that_cannot_be_pulled_is_named(api, kube):
    replicas = workload("ReplicaSet", "web-1", ready=0)
    replicas["metadata"]["ownerReferences"] = [{"uid": "Deployment-web"}]
    pull = {"reason": "ErrImagePull", "message": 'failed to pull and unpack image "example.com/web:9": not found'}
    put(api, workload("Deployment", ready=0), replicas, pod("web-1-a", "ReplicaSet-web-1", container=pull))
    put(api, pod("stranger", "elsewhere", container={"reason": "CrashLoopBackOff"}))
    told = 'pod web-1-a: Pending, Ready=False, app waiting (ErrImagePull: failed to pull and unpack image "example.com'
    assert told in late(kube)
    assert "stranger" not in late(kube)
    with pytest.raises(WaitTimeout, match=r"0 of 1 ready; pod web-1-a: .*ErrImagePull"):
        kube.wait_for("Deployment", "web", "shop", condition=deployment_available, what="x", within_s=0.4)
    with pytest.raises(WaitTimeout, match=r"0 of 1; web: 0 of 1 ready; pod web-1-a: .*ErrImagePull"):
        kube.wait_for_all("Deployment", "shop", condition=deployment_available, what="x", within_s=0.4)


@pytest.mark.parametrize("kind", ["StatefulSet", "DaemonSet", "ReplicaSet", "Job"])
def test_the_pods_of_every_kind_of_workload_are_asked(api, kube, kind):
    put(api, workload(kind, ready=0), pod("p", f"{kind}-web", container={"reason": "CreateContainerConfigError"}))
    with pytest.raises(WaitTimeout, match=r"pod p: .*CreateContainerConfigError"):
        kube.wait_for(kind, "web", "shop", condition=lambda _: False, what="x", within_s=0.4)


def test_what_ended_and_what_finds_no_node_is_said(api, kube):
    ended = {"reason": "OOMKilled", "exitCode": 137}
    crashed = {
        "name": "db", "restartCount": 4, "lastState": {"terminated": ended},
        "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s restarting"}},
    }  # fmt: skip
    unscheduled = {
        "type": "PodScheduled", "status": "False", "reason": "Unschedulable",
        "message": "0/3 nodes are available: 3 node(s) had volume node affinity conflict.",
    }  # fmt: skip
    put(api, workload("StatefulSet", ready=0, wanted=3))
    put(api, pod("web-0", "StatefulSet-web", containerStatuses=[crashed]))
    put(api, pod("web-1", "StatefulSet-web", conditions=[unscheduled]), pod("web-2", "StatefulSet-web", ready=True))
    said = late(kube)
    assert "db waiting (CrashLoopBackOff, last OOMKilled, exit code 137), db restarted 4x" in said
    assert "PodScheduled=False (Unschedulable: 0/3 nodes are available: 3 node(s) had volume node affinity conf" in said
    assert "web-2" not in said


def test_a_pod_that_only_waits_to_be_created_is_explained_by_its_newest_warning(api, kube):
    creating = {"reason": "ContainerCreating"}
    put(api, workload("StatefulSet", ready=0), pod("web-0", "StatefulSet-web", container=creating))
    put(api, warning("web-0", "FailedMount", 'secret "old" not found', at="2026-11-30T08:00:00Z"))
    put(api, warning("web-0", "FailedMount", 'secret "password" not found'))
    assert late(kube).endswith('app waiting (ContainerCreating); FailedMount of pod web-0: secret "password" not found')
    with pytest.raises(WaitTimeout, match='FailedMount of pod web-0: secret "password" not found'):
        kube.wait_for("Pod", "web-0", "shop", condition=lambda _: False, what="x", within_s=0.4)


def test_who_refuses_the_pods_is_named_where_there_is_none(api, kube):
    denied = 'create Pod web-0 failed: admission webhook "gate.example.org" denied the request'
    put(api, workload("StatefulSet", ready=0), warning("StatefulSet-web", "FailedCreate", denied, kind="StatefulSet"))
    assert late(kube).endswith(f"FailedCreate of statefulset StatefulSet-web: {denied}")
    quota = [{"type": "ReplicaFailure", "status": "True", "message": 'pods "web-" is forbidden: exceeded quota: small'}]
    assert describe(workload("Deployment", ready=0, conditions=quota)).endswith("is forbidden: exceeded quota: small")


def test_many_pods_and_long_messages_stay_one_short_line(api, kube):
    put(api, workload("StatefulSet", ready=0, wanted=9))
    for number in range(9):
        long = {"reason": "ErrImagePull", "message": "not found\n" * 500}
        put(api, pod(f"web-{number}", "StatefulSet-web", container=long))
    said = late(kube)
    assert len(said) < 1500
    assert said.endswith("; 6 more pods")


def test_why_is_not_asked_of_an_api_server_that_answers_nobody(api, kube):
    put(api, workload("Deployment", ready=0))
    api.later(0.3, setattr, api, "hang_s", 5.0)
    began = time.monotonic()
    with pytest.raises(WaitTimeout):
        kube.wait_for("Deployment", "web", "shop", condition=deployment_available, what="x", within_s=1.5)
    assert time.monotonic() - began < 1.5 + 1.0 + 0.7


def test_a_namespace_that_stays_says_what_holds_it():
    stuck = {
        "kind": "Namespace", "metadata": {"deletionTimestamp": "x"}, "spec": {"finalizers": ["kubernetes"]},
        "status": {"phase": "Terminating", "conditions": [
            {"type": "NamespaceDeletionContentFailure", "status": "False", "message": "All content removed"},
            {"type": "NamespaceContentRemaining", "status": "True",
             "message": "Some resources are remaining: configmaps. has 1 resource instances"},
            {"type": "NamespaceFinalizersRemaining", "status": "True",
             "message": "Some content in the namespace has finalizers remaining: example.org/hold in 1 resource"},
        ]},
    }  # fmt: skip
    assert describe(stuck) == (
        "phase=Terminating, Some resources are remaining: configmaps. has 1 resource instances, Some content in the "
        "namespace has finalizers remaining: example.org/hold in 1 resource, being deleted, held by kubernetes"
    )


def test_waiting_for_a_namespace_to_go_says_what_holds_it(api, kube):
    held = [{"type": "NamespaceFinalizersRemaining", "status": "True", "message": "example.org/hold in 1 resource"}]
    api.put("/api/v1/namespaces", {"kind": "Namespace", "metadata": {"name": "shop"}, "status": {"conditions": held}})
    with pytest.raises(WaitTimeout, match="hold in 1 resource"):
        kube.wait_for("Namespace", "shop", condition=gone, what="it is gone", within_s=0.4)
