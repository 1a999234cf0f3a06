"""Kube against a real local HTTP server that misbehaves as API servers in trouble do."""

from __future__ import annotations

import base64
import itertools
import json
import tempfile
import time
from importlib.metadata import version
from secrets import token_bytes

import pytest

from drills.errors import UsageError, WaitTimeout
from drills.kube import (
    PAGE,
    VELERO_ENDED,
    Busy,
    Conflict,
    Denied,
    Kube,
    KubeError,
    NotFound,
    Unreachable,
    daemonset_ready,
    deployment_available,
    describe,
    gone,
    node_ready,
    pod_ready,
    present,
    statefulset_ready,
    velero_phase,
)

from .fake_apiserver import Answer

PODS = "/api/v1/namespaces/shop/pods"
SLACK_S = 0.6
"""How far past its deadline a wait may be measured here: one last look, on a machine that does other things too."""


def pod(name: str = "web", *, ready: bool = False, phase: str = "Running", **metadata) -> dict:
    condition = {"type": "Ready", "status": "True" if ready else "False"}
    if not ready:
        condition["reason"] = "ContainersNotReady"
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, "namespace": "shop", **metadata},
        "spec": {"nodeName": "worker2"},
        "status": {"phase": phase, "conditions": [condition]},
    }


def wait_ready(kube: Kube, within_s: float):
    return kube.wait_for("Pod", "web", "shop", condition=pod_ready, what="web to be ready", within_s=within_s)


# Waits: success only when the condition is really met


def test_a_wait_returns_the_object_that_met_the_condition(api, kube):
    api.put(PODS, pod())
    api.later(0.6, api.put, PODS, pod(ready=True))
    began = time.monotonic()

    assert pod_ready(wait_ready(kube, 10))
    assert 0.5 < time.monotonic() - began < 0.6 + SLACK_S


def test_a_wait_sees_an_object_that_appears_later_and_one_that_is_deleted(api, kube):
    api.later(0.5, api.put, PODS, pod(ready=True))
    assert wait_ready(kube, 10)

    api.later(0.5, api.remove, PODS, "web")
    assert kube.wait_for("Pod", "web", "shop", condition=gone, what="web to be gone", within_s=10) is None


def test_watches_closed_every_half_second_do_not_end_a_wait(api, kube):
    api.close_watches_after_s = 0.5
    api.put(PODS, pod())
    api.later(2.5, api.put, PODS, pod(ready=True))

    assert pod_ready(wait_ready(kube, 10))
    assert sum("watch=true" in path for _, path in api.log) >= 3


def test_watches_closed_every_half_second_and_never_met_time_out_at_the_deadline(api, kube):
    # kr8s 0.20.15 returned success after 0.68 s here, and the Watch of kubernetes 37 ended after 0.5 s without a word.
    api.close_watches_after_s = 0.5
    api.put(PODS, pod())
    assert_times_out_at(3.0, kube, "Running, Ready=False (ContainersNotReady), on worker2")


def test_watches_closed_at_once_do_not_make_a_wait_spin(api, kube):
    api.close_watches_after_s = 0.0
    api.put(PODS, pod())
    assert_times_out_at(2.0, kube, "Ready=False")
    assert len(api.log) < 30  # two a round, five rounds a second, and the last second looks only


def test_a_deaf_watch_costs_a_second_and_no_more(api, kube):
    api.deaf_watches = True
    api.put(PODS, pod())
    api.later(0.3, api.put, PODS, pod(ready=True))
    began = time.monotonic()

    assert wait_ready(kube, 10)
    assert time.monotonic() - began < 1.5 + SLACK_S


def test_a_watch_that_lies_is_not_believed(api, kube):
    api.lying_watches = pod(ready=True)
    api.put(PODS, pod())
    assert_times_out_at(2.0, kube, "Ready=False")


def test_a_watch_whose_version_is_too_old_is_begun_anew(api, kube):
    api.gone_watches = 3
    api.put(PODS, pod())
    api.later(1.5, api.put, PODS, pod(ready=True))
    assert wait_ready(kube, 10)


def test_events_up_to_the_deadline_do_not_carry_a_wait_past_it(api, kube):
    for tenth in range(60):
        api.later(tenth / 10, api.put, PODS, pod(labels={"beat": str(tenth)}))
    assert_times_out_at(2.5, kube, "Ready=False")


def test_refused_connections_for_20_s_are_ridden_out(api, kube):
    api.put(PODS, pod(ready=True))
    api.refuse_for(20)
    began = time.monotonic()

    assert wait_ready(kube, 30)
    assert 20 <= time.monotonic() - began < 20 + SLACK_S


def test_connections_cut_and_refused_in_the_middle_of_a_watch_are_ridden_out(api, kube):
    api.put(PODS, pod())
    api.later(0.4, api.refuse_for, 1.0)
    api.later(0.6, api.put, PODS, pod(ready=True))
    assert wait_ready(kube, 10)


def test_refused_to_the_end_times_out_at_the_deadline_with_the_error(api, kube):
    api.refuse()
    assert_times_out_at(1.5, kube, "Unreachable: NewConnectionError", "refused")


@pytest.mark.parametrize("status", [429, 500, 503, 401, 403])
def test_an_api_server_that_will_not_serve_is_ridden_out(api, kube, status):
    api.put(PODS, pod(ready=True))
    api.script.extend([Answer(status, {"Retry-After": "0"})] * 3)
    assert wait_ready(kube, 10)


def test_retry_after_is_honoured(api, kube):
    api.put(PODS, pod(ready=True))
    api.script.append(Answer(429, {"Retry-After": "1"}))
    began = time.monotonic()
    assert wait_ready(kube, 10)
    assert 1.0 <= time.monotonic() - began < 1.0 + SLACK_S


def test_retry_after_an_hour_does_not_carry_a_wait_past_its_deadline(api, kube):
    api.always = Answer(429, {"Retry-After": "3600"}, {"reason": "TooManyRequests", "message": "not now"})
    assert_times_out_at(1.0, kube, "Busy: 429 TooManyRequests: not now")


def test_a_server_that_hangs_does_not_carry_a_wait_past_its_deadline(api, kube):
    api.hang_s = 30
    assert_times_out_at(1.5, kube, "Unreachable: ReadTimeoutError")


def test_an_error_after_a_state_tells_both(api, kube):
    api.put(PODS, pod())
    api.later(0.5, api.refuse)
    assert_times_out_at(2.0, kube, "refused", "before that: Running, Ready=False")


def test_a_request_that_makes_no_sense_ends_a_wait_at_once(api, kube):
    api.always = Answer(400, {}, {"reason": "BadRequest", "message": "no such selector"})
    began = time.monotonic()
    with pytest.raises(KubeError, match="400 BadRequest: no such selector"):
        wait_ready(kube, 10)
    assert time.monotonic() - began < SLACK_S


def assert_times_out_at(deadline_s: float, kube: Kube, *last: str) -> None:
    began = time.monotonic()
    with pytest.raises(WaitTimeout) as timeout:
        wait_ready(kube, deadline_s)
    took_s = time.monotonic() - began
    assert deadline_s <= took_s < deadline_s + SLACK_S
    assert timeout.value.what == "web to be ready"
    assert timeout.value.deadline_s == deadline_s
    for part in last:
        assert part in timeout.value.last


def test_waiting_for_all_wants_them_all_at_once(api, kube):
    for name in ("a", "b", "c"):
        api.put(PODS, pod(name, ready=name != "c", labels={"app": "web"}))
    api.put(PODS, pod("other", labels={"app": "other"}))
    api.later(0.5, api.put, PODS, pod("c", ready=True, labels={"app": "web"}))

    found = kube.wait_for_all("Pod", "shop", labels="app=web", condition=pod_ready, what="web to be up", within_s=10)
    assert [one["metadata"]["name"] for one in found] == ["a", "b", "c"]


def test_waiting_for_all_says_which_are_missing(api, kube):
    api.put(PODS, pod("a", ready=True))
    api.put(PODS, pod("b"))
    with pytest.raises(WaitTimeout) as timeout:
        kube.wait_for_all("Pod", "shop", condition=pod_ready, what="all", within_s=1, at_least=3)
    assert timeout.value.last == "1 of 3; b: Running, Ready=False (ContainersNotReady), on worker2"


def test_nothing_is_not_all(api, kube):
    with pytest.raises(WaitTimeout, match="0 of 1"):
        kube.wait_for_all("Pod", "shop", condition=pod_ready, what="all", within_s=0.5)
    assert kube.wait_for_all("Pod", "shop", condition=pod_ready, what="all", within_s=0.5, at_least=0) == []


def test_a_kind_that_is_not_there_yet_is_waited_for(api, kube):
    with pytest.raises(WaitTimeout, match="absent"):
        kube.wait_for("example.org/v1/Thing", "x", "shop", condition=present, what="x", within_s=0.5)
    assert kube.get("example.org/v1/Thing", "x", "shop") is None
    assert kube.wait_for("example.org/v1/Thing", "x", "shop", condition=gone, what="x", within_s=0.5) is None


# Requests


def test_get_create_apply_patch_delete(api, kube):
    settings = {"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": "settings"}, "data": {"a": "1"}}
    assert kube.get("ConfigMap", "settings", "shop") is None
    assert kube.create(settings, "shop")["data"] == {"a": "1"}
    with pytest.raises(Conflict, match="409 AlreadyExists"):
        kube.create(settings, "shop")

    assert kube.apply({**settings, "data": {"a": "2"}}, "shop")[0]["data"] == {"a": "2"}
    assert "/configmaps/settings?fieldManager=pytest-drills&force=true" in api.log[-1][1]
    assert api.headers[-1]["Content-Type"] == "application/apply-patch+yaml"

    assert kube.patch("ConfigMap", "settings", {"data": {"b": "3"}}, "shop")["data"] == {"a": "2", "b": "3"}
    found = kube.get("ConfigMap", "settings", "shop")
    with pytest.raises(Conflict):
        kube.delete("ConfigMap", "settings", "shop", uid="another")
    assert kube.delete("ConfigMap", "settings", "shop", uid=found["metadata"]["uid"], wait=True)
    assert not kube.delete("ConfigMap", "settings", "shop")


def test_apply_takes_lists_and_knows_where_kinds_live(api, kube):
    kube.apply(
        [
            {"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": "shop"}},
            {
                "apiVersion": "v1",
                "kind": "List",
                "items": [
                    {"apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "web", "namespace": "shop"}},
                    {"apiVersion": "networking.k8s.io/v1", "kind": "NetworkPolicy", "metadata": {"name": "p"}},
                    {"apiVersion": "storage.k8s.io/v1", "kind": "StorageClass", "metadata": {"name": "fast"}},
                    {"apiVersion": "velero.io/v1", "kind": "Backup", "metadata": {"name": "b"}},
                ],
            },
        ],
        namespace="other",
    )
    assert [path.partition("?")[0] for verb, path in api.log if verb == "PATCH"] == [
        "/api/v1/namespaces/shop",
        "/apis/apps/v1/namespaces/shop/deployments/web",
        "/apis/networking.k8s.io/v1/namespaces/other/networkpolicies/p",
        "/apis/storage.k8s.io/v1/storageclasses/fast",
        "/apis/velero.io/v1/namespaces/other/backups/b",
    ]


def test_kinds_that_kubernetes_does_not_bring_along_are_looked_up_once(api, kube):
    for _ in range(2):
        assert kube.get("velero.io/v1/Backup", "b", "velero") is None
    assert [path for _, path in api.log].count("/apis/velero.io/v1") == 1


@pytest.mark.parametrize("kind", ["Backup", "pods"])
def test_an_unknown_kind_is_the_callers_mistake(kube, kind):
    with pytest.raises(UsageError, match="group/version/Kind"):
        kube.get(kind, "b", "velero")


def test_an_object_of_a_namespaced_kind_needs_a_namespace(kube):
    with pytest.raises(UsageError, match="namespace"):
        kube.get("Pod", "web")


def test_lists_are_paged_and_their_items_know_their_kind(api, kube):
    for number in range(PAGE + 7):
        api.put("/api/v1/namespaces/shop/configmaps", {"metadata": {"name": f"c{number}"}})
    found = kube.list("ConfigMap")
    assert len(found) == PAGE + 7
    assert {(one["apiVersion"], one["kind"]) for one in found} == {("v1", "ConfigMap")}


def test_listing_a_kind_that_is_not_there_says_so(kube):
    with pytest.raises(NotFound):
        kube.list("example.org/v1/Thing")


def test_eviction_is_accepted_or_refused_with_the_reason(api, kube):
    api.put(PODS, pod())
    api.budget_refuses = True
    refused = kube.evict("web", "shop")
    assert not refused
    assert "disruption budget" in refused.why

    api.budget_refuses = False
    assert kube.evict("web", "shop")
    assert kube.evict("web", "shop").why == "already gone"


def test_an_overloaded_server_is_not_taken_for_a_disruption_budget(api, kube):
    api.put(PODS, pod())
    api.script.append(Answer(429, {"Retry-After": "1"}, {"reason": "TooManyRequests"}))
    with pytest.raises(Busy) as busy:
        kube.evict("web", "shop")
    assert busy.value.retry_after_s == 1.0


def test_cordon_and_uncordon(api, kube):
    api.put("/api/v1/nodes", {"metadata": {"name": "worker"}, "spec": {}})
    kube.cordon("worker")
    assert kube.get("Node", "worker")["spec"]["unschedulable"] is True
    kube.uncordon("worker")
    assert not kube.get("Node", "worker")["spec"].get("unschedulable")


def test_deletion_says_how_much_grace(api, kube):
    api.put(PODS, pod())
    assert kube.delete("Pod", "web", "shop", grace_s=0)
    assert api.bodies[-1]["gracePeriodSeconds"] == 0


def test_deletion_that_waits_takes_a_successor_of_the_same_name_for_gone(api, kube):
    api.put(PODS, pod(uid="first"))
    api.remove, kept = (lambda *_: api.objects[PODS, "web"]), api.remove  # deletion is accepted and takes its time
    api.later(0.4, kept, PODS, "web")
    api.later(0.5, api.put, PODS, pod(uid="second"))
    assert kube.delete("Pod", "web", "shop", wait=True, within_s=5)


def test_ready_version_logs_and_events(api, kube):
    api.put(PODS, pod())
    for name, moment in (("late", "2026-11-21T09:00:02Z"), ("early", "2026-11-21T09:00:01Z")):
        api.put("/api/v1/namespaces/shop/events", {"metadata": {"name": name}, "lastTimestamp": moment})
    assert kube.ready()
    assert kube.version() == "v1.37.0"
    assert kube.logs("web", "shop", tail=5) == "log of web {'tailLines': '5'}"
    assert [one["metadata"]["name"] for one in kube.events("shop")] == ["early", "late"]
    api.refuse()
    assert not kube.ready()


@pytest.mark.parametrize(
    ("status", "error"),
    [(401, Denied), (403, Denied), (404, NotFound), (409, Conflict), (429, Busy), (500, Busy), (422, KubeError)],
)
def test_refusals_by_what_they_mean(api, kube, status, error):
    api.always = Answer(status, {}, {"reason": "Because", "message": "of this"})
    with pytest.raises(error, match=f"{status} Because: of this") as refused:
        kube.list("Pod")
    assert type(refused.value) is error
    assert refused.value.status == status


def test_an_answer_that_is_no_json_is_no_answer(api, kube):
    api.always = Answer(200, {}, "<html>sign in</html>")
    with pytest.raises(KubeError, match="NotJSON"):
        kube.get("Pod", "web", "shop")
    api.always = Answer(502, {}, "<html>bad gateway</html>")
    with pytest.raises(Busy, match="bad gateway"):
        kube.get("Pod", "web", "shop")


def test_requests_are_sent_once_and_time_out(api, kube):
    api.hang_s = 30
    began = time.monotonic()
    with pytest.raises(Unreachable, match="ReadTimeoutError"):
        kube.get("Pod", "web", "shop", timeout_s=0.5)
    assert time.monotonic() - began < 0.5 + SLACK_S
    assert len(api.log) == 1


def test_the_users_token_is_sent(api, kube):
    kube.list("Pod")
    assert api.headers[-1]["authorization"] == "Bearer letmein"


def test_a_proxy_from_the_environment_is_not_asked_for_loopback(api, tmp_path, monkeypatch):
    for name in ("http_proxy", "https_proxy", "HTTP_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    for name in ("no_proxy", "NO_PROXY"):
        monkeypatch.delenv(name, raising=False)
    assert Kube(api.kubeconfig(tmp_path)).ready()


def test_a_proxy_from_the_environment_is_asked_for_the_world_outside(api, tmp_path, monkeypatch):
    monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{api.port}")
    monkeypatch.setenv("HTTP_PROXY", f"http://127.0.0.1:{api.port}")
    assert Kube(api.kubeconfig(tmp_path, host="api.example.org")).ready()
    assert api.log[-1][1].startswith("http://api.example.org")


@pytest.mark.skipif(version("kubernetes").startswith("36."), reason="kubernetes 36 does not read proxy-url")
def test_a_proxy_in_the_kubeconfig_is_meant(api, tmp_path):
    path = api.kubeconfig(tmp_path)
    config = json.loads(path.read_text())
    config["clusters"][0]["cluster"]["proxy-url"] = "http://127.0.0.1:9"
    path.write_text(json.dumps(config))
    assert not Kube(path).ready()


def test_certificates_and_keys_lie_where_the_caller_says_and_nowhere_else(api, tmp_path, monkeypatch):
    (common := tmp_path / "tmp").mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(common))
    path = api.kubeconfig(tmp_path)
    config = json.loads(path.read_text())
    config["clusters"][0]["cluster"]["server"] = f"https://127.0.0.1:{api.port}"
    config["users"][0]["user"] = {
        f"client-{what}-data": base64.b64encode(what.encode() + token_bytes(8)).decode()
        for what in ("certificate", "key")
    }
    path.write_text(json.dumps(config))
    Kube(path, scratch=tmp_path / "run")
    held = sorted((tmp_path / "run").iterdir(), key=lambda file: file.read_bytes())
    assert [file.read_bytes()[:3] for file in held] == [b"cer", b"key"]
    assert {file.stat().st_mode & 0o777 for file in held} == {0o600}
    assert list(common.iterdir()) == []


@pytest.mark.parametrize("context", [None, "nowhere"])
def test_a_kubeconfig_that_is_not_there_or_lacks_the_context_is_the_callers_mistake(api, tmp_path, context):
    path = api.kubeconfig(tmp_path) if context else tmp_path / "missing"
    with pytest.raises(UsageError, match=str(path)):
        Kube(path, context)


# Conditions


def workload(kind: str, *, generation: int = 2, wanted: int = 2, **status) -> dict:
    return {
        "kind": kind,
        "metadata": {"name": "web", "generation": generation},
        "spec": {"replicas": wanted},
        "status": {"observedGeneration": 2, **status},
    }


UP = {"replicas": 2, "updatedReplicas": 2, "availableReplicas": 2, "readyReplicas": 2}


@pytest.mark.parametrize(
    ("holds", "change"),
    [
        (True, {}),
        (True, {"wanted": 0, "status": dict.fromkeys(UP, 0)}),
        (False, {"generation": 3}),
        (False, {"status": {"availableReplicas": 1}}),
        (False, {"status": {"updatedReplicas": 1}}),
        (False, {"status": {"replicas": 3}}),
    ],
    ids=["up", "scaled to none", "controller lags", "one unavailable", "one old", "an old one left"],
)
def test_deployment_available(holds, change):
    status = {**UP, **change.pop("status", {})}
    assert deployment_available(workload("Deployment", **change, **status)) is holds


def test_statefulset_and_daemonset_ready():
    rolled_out = {"currentRevision": "a", "updateRevision": "a"}
    assert statefulset_ready(workload("StatefulSet", **UP, **rolled_out))
    assert not statefulset_ready(workload("StatefulSet", **UP, currentRevision="a", updateRevision="b"))
    assert not statefulset_ready(workload("StatefulSet", **{**UP, "readyReplicas": 1}, **rolled_out))

    counts = {"desiredNumberScheduled": 3, "updatedNumberScheduled": 3, "numberReady": 3}
    assert daemonset_ready(workload("DaemonSet", **counts))
    assert not daemonset_ready(workload("DaemonSet", **{**counts, "numberReady": 2}))
    assert not daemonset_ready(workload("DaemonSet", **dict.fromkeys(counts, 0)))


@pytest.mark.parametrize("condition", [pod_ready, deployment_available, statefulset_ready, daemonset_ready, present])
def test_what_is_absent_or_on_its_way_out_is_not_ready(condition):
    assert not condition(None)
    assert not condition({"metadata": {"name": "x", "deletionTimestamp": "2026-11-21T09:00:00Z"}})


@pytest.mark.parametrize(
    ("status", "ready", "not_ready"), [("True", True, False), ("False", False, True), ("Unknown", False, True)]
)
def test_node_ready(status, ready, not_ready):
    node = {"metadata": {"name": "n"}, "status": {"conditions": [{"type": "Ready", "status": status}]}}
    assert node_ready(True)(node) is ready
    assert node_ready(False)(node) is not_ready
    assert not node_ready(True)(None)
    assert not node_ready(False)(None)


def test_velero_phase():
    assert velero_phase(*VELERO_ENDED)({"status": {"phase": "PartiallyFailed"}})
    assert not velero_phase("Completed")({"status": {"phase": "PartiallyFailed"}})
    assert not velero_phase("Completed")({})
    assert not velero_phase("Completed")(None)


@pytest.mark.parametrize(
    ("found", "line"),
    [
        (None, "absent"),
        ({"kind": "ConfigMap", "metadata": {}}, "present, without status"),
        (
            {
                "kind": "Pod",
                "metadata": {"deletionTimestamp": "x"},
                "status": {
                    "phase": "Pending",
                    "conditions": [{"type": "PodScheduled", "status": "False", "reason": "Unschedulable"}],
                    "containerStatuses": [
                        {"name": "web", "restartCount": 3, "state": {"waiting": {"reason": "CrashLoopBackOff"}}}
                    ],
                },
            },
            "Pending, Ready=unknown, PodScheduled=False (Unschedulable), web waiting (CrashLoopBackOff), "
            "web restarted 3x, being deleted",
        ),
        (workload("Deployment", **{**UP, "readyReplicas": 1, "updatedReplicas": 1}), "1 of 2 ready, 1 updated"),
        (workload("StatefulSet", generation=3), "0 of 2 ready, its controller has not seen the newest version"),
        (workload("DaemonSet", desiredNumberScheduled=2), "0 of 2 ready"),
        (
            {
                "kind": "Node",
                "metadata": {},
                "spec": {"unschedulable": True},
                "status": {"conditions": [{"type": "Ready", "status": "Unknown", "reason": "NodeStatusUnknown"}]},
            },
            "Ready=Unknown (NodeStatusUnknown), cordoned",
        ),
        (
            {"kind": "Restore", "metadata": {}, "status": {"phase": "PartiallyFailed", "errors": 2, "warnings": 0}},
            "phase=PartiallyFailed, errors=2",
        ),
        (
            {
                "kind": "Namespace",
                "metadata": {"deletionTimestamp": "x"},
                "spec": {"finalizers": ["kubernetes"]},
                "status": {"phase": "Terminating"},
            },
            "phase=Terminating, being deleted, held by kubernetes",
        ),
    ],
    ids=itertools.count(),
)
def test_states_are_said_in_one_line(found, line):
    assert describe(found) == line
