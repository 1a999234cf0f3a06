"""Commits as a ledger, on a real repository and a fake API; the faults and checks of a GitOps controller, on fakes."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest

from drills import repository as repositories
from drills.clock import FakeClock
from drills.commands import Commands
from drills.drill import Drill
from drills.errors import BadReading, UsageError, WaitTimeout, WriteRefused
from drills.faults import BlastRadius
from drills.faults.gitops import definitions_deleted, service_cut_off
from drills.history import History
from drills.ledger import GENESIS, Row
from drills.objectives import Objective
from drills.procedures.gitops import Bundle, GitOps, _errors, is_well
from drills.repository import CommitLedger, Repository

from .fake_apiserver import CUSTOM, Answer, FakeApiServer

DEFINITIONS = "/apis/apiextensions.k8s.io/v1/customresourcedefinitions"
SERVICES, CONFIG_MAPS = (f"/api/v1/namespaces/shop/{plural}" for plural in ("services", "configmaps"))
DEPLOYMENTS = "/apis/apps/v1/namespaces/shop/deployments"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/shop/endpointslices"
PATIENCE_S = 60.0
"""For git and the fake server on a busy machine; none of it is waited for where all is well."""

APPLICATIONS = "/apis/argoproj.io/v1alpha1/namespaces/argocd/applications"


@pytest.fixture
def api(monkeypatch):
    kinds = [{"name": "applications", "kind": "Application", "namespaced": True}]
    monkeypatch.setitem(CUSTOM, "argoproj.io/v1alpha1", kinds)
    server = FakeApiServer()
    yield server
    server.stop()


@pytest.fixture(autouse=True)
def patient(monkeypatch):
    monkeypatch.setattr(repositories, "_HEAD_TIMEOUT_S", PATIENCE_S)


# The repository


@pytest.fixture
def server(tmp_path):
    if shutil.which("git") is None:
        pytest.skip("needs git")
    path = tmp_path / "server.git"
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", path], check=True)
    return path


@pytest.fixture
def repository(tmp_path, server):
    return Repository(tmp_path / "clone", lambda: [str(server)])


def on(server, *command):
    return subprocess.run(["git", "-C", server, *command], check=True, capture_output=True, text=True).stdout


def test_a_commit_is_pushed_and_its_revision_is_the_servers(repository, server):
    assert repository.head() == ""
    revision = repository.commit({"web/page.yaml": "kind: Page"}, "the first page", PATIENCE_S)
    assert revision == repository.head() == on(server, "rev-parse", "main").strip()
    assert on(server, "show", "main:web/page.yaml") == "kind: Page"


def test_a_push_that_failed_is_brought_along_by_the_next_one(repository, server):
    repository.commit({"a": "1"}, "one", PATIENCE_S)
    server.rename(server.with_suffix(".away"))
    with pytest.raises(WriteRefused, match=r"^git push: "):
        repository.commit({"b": "2"}, "two", PATIENCE_S)
    server.with_suffix(".away").rename(server)
    repository.commit({"c": "3"}, "three", PATIENCE_S)
    assert on(server, "log", "--format=%s", "main").split() == ["three", "two", "one"]


def test_another_way_is_tried_where_one_leads_nowhere(tmp_path, server):
    repository = Repository(tmp_path / "clone", lambda: [str(tmp_path / "nowhere"), str(server)])
    assert repository.commit({"a": "1"}, "one", PATIENCE_S) == on(server, "rev-parse", "main").strip()
    with pytest.raises(WriteRefused, match="no way to the git server"):
        Repository(tmp_path / "clone", list).head()


def test_a_repository_that_the_harness_runs_in_is_left_alone(repository, server, tmp_path, monkeypatch):
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "somebody-elses"))
    repository.commit({"a": "1"}, "one", PATIENCE_S)
    monkeypatch.delenv("GIT_DIR")
    assert not (tmp_path / "somebody-elses").exists()
    assert on(server, "log", "--format=%an %ae", "main") == "drills drills@drills.invalid\n"


# The ledger


@pytest.fixture
def clock():
    return FakeClock()


@pytest.fixture
def ledger(repository, kube, clock):
    return CommitLedger(
        repository, kube, "shop", ("releases", "argocd"), directory="releases", allowed_s=15.0, clock=clock
    )


def rows(n):
    found, prev = [], GENESIS
    for seq in range(1, n + 1):
        found.append(Row.chained(seq, prev, f"release {seq}", "2026-01-01T00:00:00Z"))
        prev = found[-1].digest
    return found


def deploy(api, server, *, status="Synced", revision="main"):
    """What Argo CD does: the repository's ConfigMap into the cluster, and the revision into the Application."""
    api.put(CONFIG_MAPS, json.loads(on(server, "show", f"{revision}:releases/releases.json")))
    sync = {"status": status, "revision": on(server, "rev-parse", revision).strip()}
    api.put(APPLICATIONS, {"metadata": {"name": "releases"}, "status": {"sync": sync}})


def reading(ledger):
    """Take one reading; why it is bad, "" for a good one."""
    probe = ledger.deploys_commits
    try:
        asyncio.run(probe.ask(probe.ways()[0], PATIENCE_S))
    except BadReading as bad:
        return str(bad)
    return ""


def test_rows_are_read_back_from_the_cluster(ledger, api, server):
    written = rows(3)
    for row in written:
        ledger.append(row, PATIENCE_S)
    with pytest.raises(WriteRefused, match="releases is not there at no revision"):
        ledger.read()
    deploy(api, server)
    assert ledger.read() == written


@pytest.mark.parametrize(("status", "revision"), [("OutOfSync", "main"), ("Synced", "main~1")])
def test_what_is_not_yet_deployed_is_not_read_as_lost(ledger, api, server, status, revision):
    for row in rows(2):
        ledger.append(row, PATIENCE_S)
    deploy(api, server, status=status, revision=revision)
    with pytest.raises(WriteRefused, match=f"the Application releases is {status} at "):
        ledger.read()


def test_a_commit_that_the_git_server_lost_is_lost(ledger, api, server):
    for row in rows(2):
        ledger.append(row, PATIENCE_S)
    on(server, "update-ref", "refs/heads/main", "main~1")
    deploy(api, server)
    assert ledger.read() == rows(1)


def test_a_commit_may_be_missing_for_as_long_as_is_allowed(ledger, api, server, clock):
    first, second, third = rows(3)
    assert reading(ledger) == "no commit is deployed"
    ledger.append(first, PATIENCE_S)
    deploy(api, server)
    assert reading(ledger) == ""
    clock.advance(60)
    ledger.append(second, PATIENCE_S)
    clock.advance(14)
    ledger.append(third, PATIENCE_S)
    assert reading(ledger) == ""
    clock.advance(2)
    assert reading(ledger) == "commit 2 is not deployed 16 s after its push"
    deploy(api, server, revision="main~1")
    assert reading(ledger) == ""
    clock.advance(14)
    assert reading(ledger) == "commit 3 is not deployed 16 s after its push"


def test_a_push_that_was_not_taken_is_a_bad_reading_until_one_is(ledger, api, server):
    first, second, third = rows(3)
    ledger.append(first, PATIENCE_S)
    deploy(api, server)
    server.rename(server.with_suffix(".away"))
    with pytest.raises(WriteRefused):
        ledger.append(second, PATIENCE_S)
    assert reading(ledger).startswith("the last commit was not taken: git push: ")
    server.with_suffix(".away").rename(server)
    ledger.append(third, PATIENCE_S)
    assert reading(ledger) == ""
    deploy(api, server)
    assert ledger.read() == [first, second, third], "the one without acknowledgement came along"


def test_an_api_server_in_trouble_is_a_bad_reading(ledger, api, server):
    ledger.append(*rows(1), PATIENCE_S)
    deploy(api, server)
    api.always = Answer(503)
    assert "503" in reading(ledger)
    with pytest.raises(WriteRefused, match="503"):
        ledger.read()


# The faults


@pytest.fixture
def definitions(api):
    for name, group in (("applications", "argoproj.io"), ("appprojects", "argoproj.io"), ("backups", "velero.io")):
        api.put(DEFINITIONS, {"metadata": {"name": f"{name}.{group}", "uid": name}, "spec": {"group": group}})


@pytest.mark.usefixtures("definitions")
def test_deleted_definitions_are_proved_gone_once_all_are(api, kube):
    fault = definitions_deleted(kube, "argoproj.io")
    assert fault.blast_radius is BlastRadius.CLUSTER
    assert fault.target == "definitions of argoproj.io: applications.argoproj.io, appprojects.argoproj.io"
    assert fault.proof() == []
    fault.inject()
    assert [one["metadata"]["name"] for one in kube.list("CustomResourceDefinition")] == ["backups.velero.io"]
    assert fault.proof() == [
        "definition applications.argoproj.io with uid applications is gone",
        "definition appprojects.argoproj.io with uid appprojects is gone",
    ]
    api.put(DEFINITIONS, {"metadata": {"name": "x", "uid": "appprojects"}, "spec": {"group": "argoproj.io"}})
    assert fault.proof() == [], "one of them is still there"
    api.always = Answer(503)
    assert fault.proof() == []


@pytest.mark.usefixtures("definitions")
def test_deleting_definitions_wants_some(kube):
    with pytest.raises(UsageError, match=r"accepted: one of argoproj\.io, velero\.io"):
        definitions_deleted(kube, "example.org")


@pytest.fixture
def service(api):
    api.put(SERVICES, {"metadata": {"name": "web"}, "spec": {"selector": {"app": "web"}}})
    lead(api, [{"addresses": ["10.0.0.1"], "conditions": {"ready": True}}])


def lead(api, endpoints):
    labels = {"kubernetes.io/service-name": "web"}
    api.put(SLICES, {"metadata": {"name": "web-1", "labels": labels}, "endpoints": endpoints})


@pytest.mark.usefixtures("service")
def test_a_service_that_is_cut_off_is_proved_by_its_endpoints(api, kube):
    fault = service_cut_off(kube, "shop", "web")
    assert fault.proof() == []
    fault.inject()
    assert fault.proof() == [], "it still leads to a pod"
    lead(api, [{"addresses": ["10.0.0.1"], "conditions": {"ready": False}}])
    assert fault.proof() == ["service/shop/web has no endpoint"]
    lead(api, None)
    assert fault.proof() == ["service/shop/web has no endpoint"]
    api.remove(SERVICES, "web")
    assert fault.proof() == [], "a Service that is gone is other damage"
    api.always = Answer(503)
    assert fault.proof() == []


@pytest.mark.usefixtures("service")
def test_healing_a_service_takes_away_only_what_the_fault_added(api, kube):
    fault = service_cut_off(kube, "shop", "web")
    fault.heal()
    assert not [verb for verb, _ in api.log if verb == "PATCH"], "there was nothing to heal"
    fault.inject()
    assert kube.get("Service", "web", "shop")["spec"]["selector"] == {"app": "web", "drills.dev/nowhere": "yes"}
    fault.heal()
    assert kube.get("Service", "web", "shop")["spec"]["selector"] == {"app": "web"}
    api.remove(SERVICES, "web")
    fault.heal()


@pytest.mark.usefixtures("service")
def test_cutting_off_wants_a_service_that_leads_to_pods(api, kube):
    with pytest.raises(UsageError, match="found none of that name"):
        service_cut_off(kube, "shop", "other")
    lead(api, [])
    with pytest.raises(UsageError, match="found one without endpoints"):
        service_cut_off(kube, "shop", "web")


# The Applications


WELL = {"reconciledAt": "2026-01-01T12:00:05Z", "sync": {"status": "Synced"}, "health": {"status": "Healthy"}}


@pytest.mark.parametrize(
    ("changes", "well"),
    [
        ({}, True),
        ({"reconciledAt": "2026-01-01T11:59:59Z"}, False),
        ({"sync": {"status": "OutOfSync"}}, False),
        ({"health": {"status": "Progressing"}}, False),
        ({"health": None}, False),
    ],
)
def test_an_application_is_well_by_what_was_found_since_then(changes, well):
    since = datetime(2026, 1, 1, 12, tzinfo=UTC)
    assert is_well({"metadata": {"name": "web"}, "status": {**WELL, **changes}}, since) is well
    assert not is_well({"metadata": {"name": "web"}}, since)


# The procedure


@pytest.fixture
def told(tmp_path):
    """What kubectl was told."""
    path = tmp_path / "told"
    path.touch()
    return path


@pytest.fixture
def gitops(api, kube, repository, tmp_path, told):
    """Make the procedure of a drill, with parts of it left out."""
    kubectl = tmp_path / "kubectl"
    kubectl.write_text(f'#!/bin/sh\nshift 2\nprintf "%s\\n" "$*" >> {told}\n')
    kubectl.chmod(0o755)

    def make(*sabotage):
        history = History(None, tmp_path / "history.jsonl")
        commands = Commands(tmp_path / "commands.log", history)
        drill = Drill("outage", Objective("1h"), history, commands, sabotage=sabotage, patience=2.0)
        bundle = Bundle({"shop": tmp_path / "shop.json"}, repository, "git://git/platform.git", ("web", "releases"))
        return GitOps(drill, kube, kubectl, tmp_path / "kubeconfig", bundle), drill

    return make


def checks(drill):
    return {event.fields["name"]: event.fields["ok"] for event in drill.history.events("check")}


@pytest.mark.parametrize("corrected", [True, False])
def test_drift_is_met_once_it_is_as_before(api, kube, gitops, corrected):
    api.put(DEPLOYMENTS, {"metadata": {"name": "web"}, "spec": {"replicas": 2}})
    procedure, drill = gitops()
    procedure.someone_scales("web", "shop", 3)
    assert kube.get("Deployment", "web", "shop")["spec"]["replicas"] == 3
    if corrected:
        api.later(0.3, kube.patch, "Deployment", "web", {"spec": {"replicas": 2}}, "shop")
    procedure.drift_is_corrected()
    assert checks(drill) == {"drift of deployment/web is corrected": corrected}


APPLY = "apply --server-side --force-conflicts --filename"


@pytest.mark.usefixtures("service")
def test_a_service_is_reconnected_by_its_manifests(gitops, told, tmp_path):
    procedure, drill = gitops()
    procedure.reconnect("shop", "web")
    assert told.read_text().splitlines() == [
        "-n shop get endpointslices -l kubernetes.io/service-name=web",
        f"{APPLY} {tmp_path}/shop.json",
    ]
    steps = [event.fields["name"] for event in drill.history.events("step") if event.fields["state"] == "ended"]
    assert steps == ["look where the Service leads", "apply its manifests again", "the Service leads to its pods"]


def test_sabotaged_it_is_not_reconnected(api, gitops, told):
    procedure, _ = gitops("procedure")
    lead(api, [])
    with pytest.raises(WaitTimeout, match="web leads to a pod"):
        procedure.reconnect("shop", "web")
    assert APPLY not in told.read_text()


@pytest.mark.parametrize(("sabotage", "restored"), [((), True), (("procedure",), False)])
def test_applications_are_restored_from_the_repository(gitops, repository, told, sabotage, restored):
    repository.commit({"applications/web.json": "{}"}, "one")
    procedure, _ = gitops(*sabotage)
    procedure.restore_applications()
    assert ("apply --server-side --filename" in told.read_text()) is restored
    assert ("/applications" in told.read_text()) is restored


def put_application(api, name, **changes):
    now = (datetime.now(UTC) + timedelta(seconds=5)).strftime("%Y-%m-%dT%H:%M:%SZ")
    status = {**WELL, "reconciledAt": now, **changes}
    api.put(APPLICATIONS, {"metadata": {"name": name}, "status": status})


def test_every_application_must_have_been_well_though_not_all_at_once(api, gitops):
    procedure, _ = gitops()
    put_application(api, "web")
    put_application(api, "releases", sync={"status": "OutOfSync"})

    def turn():
        put_application(api, "web", sync={"status": "OutOfSync"})
        put_application(api, "releases")

    api.later(0.7, turn)
    procedure.applications_are_well()


def test_an_application_that_is_not_well_is_named(api, gitops):
    procedure, _ = gitops()
    put_application(api, "web")
    put_application(api, "releases", conditions=[{"type": "ComparisonError", "message": "connection refused"}])
    put_application(api, "releases", health={"status": "Degraded"})
    with pytest.raises(WaitTimeout, match=r"web Synced Healthy, compared .*; releases Synced Degraded, compared"):
        procedure.applications_are_well()


def test_an_argo_cd_without_kinds_has_no_application_that_is_well(api, gitops, monkeypatch):
    monkeypatch.delitem(CUSTOM, "argoproj.io/v1alpha1")
    procedure, _ = gitops()
    with pytest.raises(WaitTimeout, match="synced and healthy: not within"):
        procedure.applications_are_well()


def test_only_a_failed_comparison_says_that_it_cannot_be_compared():
    conditions = [{"type": "SharedResourceWarning", "message": "a"}, {"type": "ComparisonError", "message": "refused"}]
    assert _errors({"status": {"conditions": conditions}}) == ["refused"]
    assert _errors({}) == []
