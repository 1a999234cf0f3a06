"""What Velero's backups hold: which are chosen, what they lack of the volumes, and what Velero says went wrong."""

from __future__ import annotations

import json

import pytest

from drills.commands import Commands
from drills.drill import Drill
from drills.errors import ProcedureFailed, WaitTimeout
from drills.history import History
from drills.objectives import Objective
from drills.procedures.holdings import bound_claims, chosen_by, gap, includes, valid_label
from drills.procedures.results import first_error
from drills.procedures.velero import Velero

from .fake_apiserver import CUSTOM, FakeApiServer

VELERO = "/apis/velero.io/v1/namespaces/velero/"
BACKUPS, RESTORES, FILES = VELERO + "backups", VELERO + "restores", VELERO + "podvolumebackups"
CORE = "/api/v1/namespaces/shop/"
KINDS = [("restores", "Restore"), ("podvolumebackups", "PodVolumeBackup"), ("podvolumerestores", "PodVolumeRestore")]


@pytest.fixture
def api(monkeypatch):
    more = [{"name": name, "kind": kind, "namespaced": True} for name, kind in KINDS]
    monkeypatch.setitem(CUSTOM, "velero.io/v1", [*CUSTOM["velero.io/v1"], *more])
    server = FakeApiServer()
    yield server
    server.stop()


@pytest.fixture
def begin(tmp_path):
    made = []

    def begin_(sabotage=()):
        directory = tmp_path / f"drill-{len(made)}"
        history = History(None, directory / "history.jsonl")
        commands = Commands(directory / "commands.log", history)
        made.append(Drill("x", Objective("1m"), history, commands, directory=directory, sabotage=sabotage))
        return made[-1]

    yield begin_
    for one in made:
        one.close()


@pytest.fixture
def drill(begin):
    return begin()


@pytest.fixture
def program(tmp_path):
    """Velero's program: it says what stands in a file named after what it is asked."""
    path = tmp_path / "velero"
    path.write_text(f"""#!/bin/sh
shift 4
echo "$@" >>{tmp_path}/asked
cat {tmp_path}/said-$1-$2-$3 2>/dev/null
exit 0
""")
    path.chmod(0o755)
    return path


@pytest.fixture
def velero(drill, kube, program, tmp_path):
    return Velero(drill, kube, program, tmp_path / "kubeconfig")


def asked(tmp_path) -> list[str]:
    return (tmp_path / "asked").read_text().splitlines() if (tmp_path / "asked").exists() else []


def put(api, name: str, minute: int = 0, phase: str = "Completed", **spec) -> dict:
    started = f"2026-11-30T09:{minute:02d}:00Z"
    status = {"phase": phase, "startTimestamp": started}
    return api.put(BACKUPS, {"metadata": {"name": name}, "spec": spec, "status": status})


def says_it_holds(tmp_path, backup: str, **kinds: list[str]) -> None:
    listed = {f"apps/v1/{kind}": names for kind, names in kinds.items()}
    (tmp_path / f"said-backup-describe-{backup}").write_text(json.dumps({"status": {"resourceList": listed}}))


def notes(drill) -> list[str]:
    return [event.fields["text"] for event in drill.history.events("note")]


# Which namespaces


@pytest.mark.parametrize(
    ("included", "excluded", "held"),
    [
        (["shop"], None, True),
        (["*"], None, True),
        ([], None, True),
        (None, None, True),
        (None, ["shop"], False),
        (["*"], ["shop"], False),
        (["*"], ["kube-system"], True),
        (["other"], None, False),
        (["other", "shop"], [], True),
        (["sh*"], None, True),
        (["s?op"], None, True),
        (["[rs]hop"], None, True),
        (["[rt]hop"], None, False),
        (["*-prod"], None, False),
        (["*"], ["sh*"], False),
        (["shop.eu"], None, False),
        (["SHOP"], None, False),
    ],
)
def test_namespaces_are_taken_in_as_velero_does(included, excluded, held):
    assert includes({"includedNamespaces": included, "excludedNamespaces": excluded}, "shop") is held
    spec = {key: value for key, value in [("includedNamespaces", included), ("excludedNamespaces", excluded)] if value}
    assert includes(spec, "shop") is held


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ({}, ""),
        ({"labelSelector": None, "includedResources": ["*"], "excludedResources": []}, ""),
        ({"labelSelector": {"matchLabels": {"app": "shop"}}}, "label app=shop"),
        ({"orLabelSelectors": [{"matchLabels": {"a": "1"}}, {"matchLabels": {"b": "2"}}]}, "label a=1 or b=2"),
        ({"labelSelector": {"matchExpressions": [{"key": "a", "operator": "Exists"}]}}, "label a Exists"),
        ({"includedResources": ["secrets"]}, "kinds secrets"),
        ({"excludedNamespaceScopedResources": ["pods", "events"]}, "all kinds but pods"),
        ({"excludedResources": ["volumesnapshots.snapshot.storage.k8s.io"]}, ""),  # Velero's own doing
        ({"includeClusterResources": False, "excludedClusterScopedResources": ["nodes"]}, ""),
    ],
)
def test_what_a_backup_chooses_by_is_said(spec, said):
    assert chosen_by(spec) == said


def test_a_backup_that_names_the_namespace_is_taken_without_asking(api, velero, tmp_path):
    put(api, "old", 1, includedNamespaces=["shop"])
    put(api, "new", 2, includedNamespaces=["shop", "other"])
    put(api, "partial", 3, phase="PartiallyFailed", includedNamespaces=["shop"])
    put(api, "foreign", 4, includedNamespaces=["other"])
    assert [(one.name, one.alone) for one in velero.completed("shop")] == [("new", False), ("old", True)]
    assert asked(tmp_path) == []


@pytest.mark.parametrize(
    "spec", [{}, {"includedNamespaces": ["*"]}, {"includedNamespaces": None}, {"includedNamespaces": ["sh*"]}]
)
def test_a_backup_of_all_namespaces_holds_those_that_were_there(api, velero, tmp_path, spec):
    put(api, "whole", 1, **spec)
    says_it_holds(tmp_path, "whole", Deployment=["shop/web"], ConfigMap=["other/x"])
    (found,) = velero.completed("shop")
    assert (found.name, found.alone) == ("whole", False)
    assert velero.newest("shop") == found
    assert velero.completed("younger") == []
    assert [line for line in asked(tmp_path) if "describe" in line] == ["backup describe whole --details --output json"]


def test_without_the_stores_word_a_backup_of_all_is_taken_at_its_own(api, velero, drill):
    put(api, "whole", 1)
    assert [one.name for one in velero.completed("shop")] == ["whole"]
    assert notes(drill) == ["what backup whole holds could not be asked: it is taken at its word"]


def label(app: str) -> dict:
    return {"includedNamespaces": ["shop"], "labelSelector": {"matchLabels": {"app": app}}}


def test_a_backup_by_label_is_judged_by_what_it_holds(api, velero, drill, tmp_path):
    put(api, "shop-only", 3, **label("shop"))
    assert velero.completed("shop") == []  # nobody says what it holds
    assert notes(drill) == ["backup shop-only is passed over: what it holds could not be asked"]


def test_a_backup_by_label_that_holds_the_namespace_is_found(api, velero, tmp_path):
    put(api, "by-label", 3, **label("shop"))
    put(api, "none-of-it", 4, **label("nobody"))
    says_it_holds(tmp_path, "by-label", Deployment=["shop/shop"], PersistentVolumeClaim=["shop/data"])
    says_it_holds(tmp_path, "none-of-it", Deployment=["other/shop"])
    assert velero.newest("shop").name == "by-label"
    with pytest.raises(
        ProcedureFailed, match=r"no completed backup holds namespace x; there are by-label \(Completed of"
    ):
        velero.newest("x")


def test_a_backup_by_label_that_lacks_what_an_older_whole_one_has_is_passed_over(api, velero, drill, tmp_path):
    put(api, "whole", 1, includedNamespaces=["shop"])
    put(api, "part", 2, **label("web"))
    put(api, "enough", 0, **label("shop"))
    says_it_holds(tmp_path, "whole", Deployment=["shop/web"], StatefulSet=["shop/db"], Event=["shop/e"])
    says_it_holds(tmp_path, "part", Deployment=["shop/web"])
    says_it_holds(tmp_path, "enough", Deployment=["shop/web"])
    assert [one.name for one in velero.completed("shop")] == ["whole", "enough"]
    assert notes(drill) == ["backup part (label app=web) is passed over: it lacks statefulset db"]
    says_it_holds(tmp_path, "second", Deployment=["shop/web"], StatefulSet=["shop/db"])
    put(api, "second", 5, **label("web"))
    assert velero.newest("shop").name == "second"


def test_without_the_stores_word_volumes_tell_what_a_backup_by_label_holds(api, velero):
    put(api, "by-label", 1, **label("shop"))
    api.put(FILES, file("by-label", "data"))
    assert velero.newest("shop").name == "by-label"


def test_a_program_that_says_no_json_is_no_word(api, velero, tmp_path):
    put(api, "whole", 1)
    (tmp_path / "said-backup-describe-whole").write_text('{"status": {"errorGettingResourceList": "<not found>"}}')
    assert velero.completed("shop")
    (tmp_path / "said-backup-describe-whole").write_text("[]")
    assert velero.completed("shop")


# Restores


def restored(api, name: str, **status) -> None:
    api.put(RESTORES, {"metadata": {"name": name}, "spec": {}, "status": {"phase": "Completed", **status}})


def deployment(ready: int = 1) -> dict:
    counts = dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas", "readyReplicas"), ready)
    return {"kind": "Deployment", "metadata": {"name": "web"}, "spec": {"replicas": 1},
            "status": {"observedGeneration": 1, **counts}}  # fmt: skip


def test_a_restore_waits_for_whatever_workload_there_is(api, velero, tmp_path):
    put(api, "b", includedNamespaces=["shop"])
    restored(api, "b-restore")
    velero.restore(velero.newest("shop"))  # nothing that runs pods: nothing to wait for

    api.put("/apis/apps/v1/namespaces/shop/deployments", deployment())
    restored(api, "b-restore-2")
    velero.restore(velero.newest("shop"))
    assert not any("--include-namespaces" in line for line in asked(tmp_path))


def test_a_restore_that_leaves_a_workload_unready_names_it(api, begin, kube, program, tmp_path, monkeypatch):
    drill = begin()
    monkeypatch.setattr(drill, "at_most", lambda within_s: min(within_s, 0.5))
    put(api, "b", includedNamespaces=["shop"])
    restored(api, "b-restore")
    api.put("/apis/apps/v1/namespaces/shop/deployments", deployment(ready=0))
    velero = Velero(drill, kube, program, tmp_path / "kubeconfig")
    with pytest.raises(WaitTimeout, match="0 of 1 workloads ready; deployment web: 0 of 1 ready"):
        velero.restore(velero.newest("shop"))


def test_of_a_backup_of_more_only_the_namespace_is_restored(api, velero, tmp_path):
    put(api, "whole")
    says_it_holds(tmp_path, "whole", Deployment=["shop/web"])
    for name in ("whole-restore", "whole-secrets", "whole-web", "whole-copy"):
        restored(api, name)
    backup = velero.newest("shop")
    velero.restore(backup)
    velero.restore_only(backup, "secrets")
    velero.restore_part(backup, "web")
    velero.restore_as(backup, "copy", "rules")
    made = [line for line in asked(tmp_path) if line.startswith("restore create")]
    assert len(made) == 4
    assert all("--from-backup whole --include-namespaces shop" in line for line in made)


DESCRIBED = """\
Name:         shop-1-restore
Phase:  PartiallyFailed (run 'velero restore logs shop-1-restore' for more information)

Warnings:
  Velero:     <none>
  Cluster:    could not restore, ClusterRole "x" already exists.
  Namespaces: <none>

Errors:
  Velero:     <none>
  Cluster:    <none>
  Namespaces:
    shop:  error restoring services/shop/web: Service "web" is invalid: spec.ports[0].nodePort: Invalid value: 30003: provided port is already allocated
           error restoring something else

Backup:  shop-1
"""  # noqa: E501 - as Velero prints it


@pytest.mark.parametrize(
    ("described", "error"),
    [
        (
            DESCRIBED,
            'namespace shop: error restoring services/shop/web: Service "web" is invalid: spec.ports[0].nodePort',
        ),
        ("Errors:\n  Velero:  message: /no space error: /disk full\n", "message: /no space error: /disk full"),
        ("Errors:\n  Velero:   <none>\n  Cluster:  error restoring x: denied\n", "error restoring x: denied"),
        ("Errors:\n  Velero:  <none>\n  Cluster:  <none>\n  Namespaces: <none>\n\nBackup:  b\n", ""),
        ("Errors:  <error getting errors: timeout>\n\nBackup:  b\n", ""),
        ("Phase:  Completed\n", ""),
        ("", ""),
    ],
)
def test_veleros_first_error_is_found(described, error):
    assert first_error(described).startswith(error)
    assert bool(first_error(described)) is bool(error)


def test_a_restore_that_fails_says_why(api, velero, tmp_path):
    put(api, "shop-1", includedNamespaces=["shop"])
    restored(api, "shop-1-restore", phase="PartiallyFailed", errors=1)
    (tmp_path / "said-restore-describe-shop-1-restore").write_text(DESCRIBED)
    with pytest.raises(ProcedureFailed, match=r"ended as PartiallyFailed: namespace shop: .*port is already allocated"):
        velero.restore(velero.newest("shop"))
    assert "restore logs shop-1-restore" in asked(tmp_path)


@pytest.mark.parametrize(
    ("status", "why"),
    [
        ({"phase": "FailedValidation", "validationErrors": ["backup not found"]}, "FailedValidation: backup not found"),
        ({"phase": "Failed", "failureReason": "found a restore in progress"}, "Failed: found a restore in progress"),
        ({"phase": "PartiallyFailed"}, "PartiallyFailed: Velero does not say why"),
    ],
)
def test_a_restore_that_fails_otherwise_says_why_too(api, velero, status, why):
    put(api, "b", includedNamespaces=["shop"])
    restored(api, "b-restore", **status)
    with pytest.raises(ProcedureFailed, match=f"restore b-restore ended as {why}"):
        velero.restore(velero.newest("shop"))


# Volumes


def claim(api, name: str = "data", *, volume=None, pod=True, annotations=None, labels=None, phase="Bound") -> None:
    api.put(CORE + "persistentvolumeclaims", {
        "metadata": {"name": name, "labels": labels or {}}, "spec": {"volumeName": f"pv-{name}"},
        "status": {"phase": phase},
    })  # fmt: skip
    api.put("/api/v1/persistentvolumes", {"metadata": {"name": f"pv-{name}"}, "spec": volume or {"local": {}}})
    if pod:
        volumes = [{"name": f"v-{name}", "persistentVolumeClaim": {"claimName": name}}]
        api.put(CORE + "pods", {
            "metadata": {"name": f"pod-{name}", "annotations": annotations or {}},
            "spec": {"volumes": volumes}, "status": {"phase": "Running"},
        })  # fmt: skip


def file(backup: str, name: str, *, phase: str = "Completed", named: bool = True, namespace: str = "shop") -> dict:
    return {
        "metadata": {"name": f"{backup}-{name}", "labels": {"velero.io/backup-name": backup},
                     "annotations": {"velero.io/pvc-name": name} if named else {}},
        "spec": {"pod": {"namespace": namespace, "name": f"pod-{name}"}, "volume": f"v-{name}"},
        "status": {"phase": phase, "snapshotID": "k", "progress": {"bytesDone": 7}},
    }  # fmt: skip


def lacking(kube, spec=None, **status):
    backup = {"metadata": {"name": "b"}, "spec": {"defaultVolumesToFsBackup": True, **(spec or {})}, "status": status}
    return gap(kube, backup, "shop", bound_claims(kube, "shop"))


@pytest.mark.parametrize("named", [True, False])
def test_claims_whose_files_were_read_are_held(api, kube, named):
    claim(api)
    claim(api, "cache", phase="Pending")
    api.put(FILES, file("b", "data", named=named))
    assert (lacking(kube).bound, lacking(kube).missing, lacking(kube).left_out) == (1, {}, {})


@pytest.mark.parametrize(
    ("made", "options", "spec", "why"),
    [
        (None, {"volume": {"hostPath": {"path": "/x"}}}, {}, "a hostPath volume, which Velero skips"),
        (None, {"pod": False}, {}, "no running pod mounts it, and Velero reads files by way of one"),
        (None, {}, {"defaultVolumesToFsBackup": False}, "not asked for as files"),
        (None, {}, {}, "no completed file backup or snapshot of it"),
        ({"phase": "Failed"}, {}, {}, "no completed file backup or snapshot of it"),
        ({"phase": "InProgress"}, {}, {}, "no completed file backup or snapshot of it"),
        ({"namespace": "other"}, {}, {}, "no completed file backup or snapshot of it"),
    ],
)
def test_a_claim_that_nobody_left_out_is_missing(api, kube, made, options, spec, why):
    claim(api, **options)
    if made is not None:
        api.put(FILES, file("b", "data", **made))
    found = lacking(kube, spec)
    assert list(found.missing) == ["data"]
    assert found.missing["data"].startswith(why)
    assert found.left_out == {}


@pytest.mark.parametrize(
    ("options", "spec", "why"),
    [
        (
            {"annotations": {"backup.velero.io/backup-volumes-excludes": "x, v-data"}},
            {},
            "annotation backup.velero.io/b",
        ),
        ({"labels": {"velero.io/exclude-from-backup": "true"}}, {}, "label velero.io/exclude-from-backup"),
        ({}, {"labelSelector": {"matchLabels": {"app": "web"}}}, "the backup takes label app=web"),
        ({}, {"orLabelSelectors": [{"matchLabels": {"app": "web"}}]}, "the backup takes label app=web"),
        ({}, {"includedResources": ["secrets"]}, "the backup takes kinds secrets"),
        ({}, {"excludedResources": ["pods"]}, "the backup takes all kinds but pods"),
    ],
)
def test_a_claim_that_somebody_left_out_is_a_finding(api, kube, options, spec, why):
    claim(api, **options)
    found = lacking(kube, spec)
    assert found.missing == {}
    assert found.left_out["data"].startswith(why)


@pytest.mark.parametrize(
    "spec",
    [
        {"labelSelector": {"matchLabels": {"app": "db"}}},
        {"includedResources": ["pods", "persistentvolumeclaims"]},
        {"excludedResources": ["volumesnapshots.snapshot.storage.k8s.io", "events"]},
    ],
)
def test_a_backup_that_takes_the_claim_in_and_lacks_it_is_no_choice(api, kube, spec):
    claim(api, labels={"app": "db"}, volume={"hostPath": {}})
    assert lacking(kube, spec).missing == {"data": "a hostPath volume, which Velero skips"}


def test_a_volume_that_was_opted_in_and_not_read_is_missing(api, kube):
    claim(api, annotations={"backup.velero.io/backup-volumes": "v-data"})
    found = lacking(kube, {"defaultVolumesToFsBackup": False})
    assert found.missing == {"data": "no completed file backup or snapshot of it"}


def test_snapshots_count_as_held(api, kube, monkeypatch):
    claim(api, volume={"csi": {"volumeHandle": "h"}})
    assert list(lacking(kube).missing) == ["data"]
    content = {"name": "volumesnapshotcontents", "kind": "VolumeSnapshotContent", "namespaced": False}
    monkeypatch.setitem(CUSTOM, "snapshot.storage.k8s.io/v1", [content])
    shot = {
        "metadata": {"name": "c", "labels": {"velero.io/backup-name": "b"}},
        "spec": {"source": {"volumeHandle": "h"}}, "status": {"readyToUse": False},
    }  # fmt: skip
    place = "/apis/snapshot.storage.k8s.io/v1/volumesnapshotcontents"
    api.put(place, shot)
    assert list(lacking(kube).missing) == ["data"]
    api.put(place, {**shot, "status": {"readyToUse": True}})
    assert lacking(kube).missing == {}


def test_moved_snapshots_count_as_held(api, kube, monkeypatch):
    claim(api, volume={"csi": {"volumeHandle": "h"}})
    upload = {"name": "datauploads", "kind": "DataUpload", "namespaced": True}
    monkeypatch.setitem(CUSTOM, "velero.io/v2alpha1", [upload])
    moved = {
        "metadata": {"name": "u", "labels": {"velero.io/backup-name": "b"}},
        "spec": {"sourceNamespace": "shop", "sourcePVC": "data"}, "status": {"phase": "InProgress"},
    }  # fmt: skip
    place = "/apis/velero.io/v2alpha1/namespaces/velero/datauploads"
    api.put(place, moved)
    assert list(lacking(kube).missing) == ["data"]
    api.put(place, {**moved, "status": {"phase": "Completed"}})
    assert lacking(kube).missing == {}


def test_counted_snapshots_speak_for_all_of_a_backup_of_one_namespace_and_for_no_disk_of_a_node(api, kube):
    cloud = {"awsElasticBlockStore": {"volumeID": "v"}}
    claim(api, "a", volume=cloud)
    claim(api, "b", volume=cloud)
    one = {"includedNamespaces": ["shop"]}
    assert lacking(kube, one, volumeSnapshotsCompleted=2).missing == {}
    half = lacking(kube, one, volumeSnapshotsCompleted=1)
    assert half.missing == {}
    assert half.left_out["a"] == "1 snapshots were made, and of which volumes only the store knows"
    claim(api, "c", volume={"hostPath": {}})
    assert list(lacking(kube, one, volumeSnapshotsCompleted=3).missing) == ["c"]


def test_long_names_are_labelled_as_velero_does():
    assert valid_label("shop-1") == "shop-1"
    assert len(valid_label("x" * 100)) == 63
    assert valid_label("x" * 100) != valid_label("x" * 101)


def checks(drill) -> list[tuple[str, bool]]:
    return [(one["name"], one["ok"]) for one in drill.recorded()["checks"]]


def test_a_backup_without_a_bound_volume_is_a_failed_check_and_stands_in_the_record(api, velero, drill):
    put(api, "b", includedNamespaces=["shop"], defaultVolumesToFsBackup=True)
    claim(api)
    claim(api, "cache", annotations={"backup.velero.io/backup-volumes-excludes": "v-cache"})
    velero.backup("shop", name="b")
    assert checks(drill) == [("backup b holds the volumes of shop", False)]
    (check,) = drill.recorded()["checks"]
    assert check["got"] == "missing: data: no completed file backup or snapshot of it"
    assert drill.recorded()["caveats"] == [
        "backup b leaves out claim shop/cache: annotation backup.velero.io/backup-volumes-excludes"
    ]
    (event,) = drill.history.events("backup")
    identity = event.fields["identity"]
    assert (identity["claims"], identity["claims_missing"], identity["claims_left_out"]) == (2, "data", "cache")

    api.put(FILES, file("b", "data"))
    velero.backup("shop", name="b")
    assert checks(drill)[1:] == [("backup b holds the volumes of shop", True)]


def test_a_namespace_without_claims_has_nothing_to_check(api, velero, drill):
    put(api, "b", includedNamespaces=["shop"])
    velero.backup("shop", name="b")
    assert checks(drill) == []


def test_sabotaged_the_missing_volume_is_for_the_restore_to_show(api, begin, kube, program, tmp_path):
    put(api, "b", includedNamespaces=["shop"])
    claim(api)
    drill = begin(sabotage={"procedure"})
    Velero(drill, kube, program, tmp_path / "kubeconfig").backup("shop", name="b")
    assert checks(drill) == []
    assert notes(drill)[0].startswith("backup b lacks volumes of shop, as was asked for: data: not asked for as files")
