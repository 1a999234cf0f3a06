"""A lost cluster's backups: the newest is known only when Velero has gone through the whole store."""

from __future__ import annotations

from datetime import UTC, datetime
from types import SimpleNamespace

import pytest

from drills.commands import Commands
from drills.drill import Drill
from drills.errors import ProcedureFailed, WaitTimeout
from drills.history import History
from drills.objectives import Objective
from drills.procedures import offsite, rebuild
from drills.procedures.holdings import synced_since
from drills.procedures.velero import Velero

from .fake_apiserver import CUSTOM, FakeApiServer

VELERO = "/apis/velero.io/v1/namespaces/velero/"


@pytest.fixture
def api(monkeypatch):
    location = {"name": "backupstoragelocations", "kind": "BackupStorageLocation", "namespaced": True}
    monkeypatch.setitem(CUSTOM, "velero.io/v1", [*CUSTOM["velero.io/v1"], location])
    server = FakeApiServer()
    yield server
    server.stop()


@pytest.fixture
def drill(tmp_path):
    history = History(None, tmp_path / "d" / "history.jsonl")
    made = Drill("x", Objective("1m"), history, Commands(tmp_path / "log", history), directory=tmp_path / "d")
    yield made
    made.close()


def knows(api, name: str, minute: int) -> None:
    status = {"phase": "Completed", "startTimestamp": f"2026-11-30T09:{minute:02d}:00Z"}
    api.put(
        VELERO + "backups", {"metadata": {"name": name}, "spec": {"includedNamespaces": ["shop"]}, "status": status}
    )


def went_through(api, name: str = "default", at: str = "2999-01-01T00:00:00Z") -> None:
    api.put(VELERO + "backupstoragelocations", {"metadata": {"name": name}, "status": {"lastSyncedTime": at}})


def finding(drill, kube, tmp_path):
    program = tmp_path / "velero"
    program.write_text("#!/bin/sh\nexit 0\n")
    program.chmod(0o755)
    lost = SimpleNamespace(name="lost", kube=kube)
    return rebuild.Rebuild(drill, lost, None), Velero(drill, kube, program, tmp_path / "kubeconfig")


def test_the_older_backup_that_is_known_first_is_not_taken(api, kube, drill, tmp_path):
    made, velero = finding(drill, kube, tmp_path)
    api.put(VELERO + "backupstoragelocations", {"metadata": {"name": "default"}, "status": {"phase": "Available"}})
    knows(api, "older", 1)
    api.later(0.6, knows, api, "newer", 2)
    api.later(1.0, went_through, api)
    assert made.find_backup(SimpleNamespace(kube=kube), velero, "shop").name == "newer"


def test_a_store_that_is_never_gone_through_is_waited_for_to_the_deadline(api, kube, drill, tmp_path, monkeypatch):
    monkeypatch.setattr(rebuild, "SYNCED_WITHIN_S", 0.5)
    made, velero = finding(drill, kube, tmp_path)
    api.put(VELERO + "backupstoragelocations", {"metadata": {"name": "default"}, "status": {"phase": "Unavailable"}})
    knows(api, "older", 1)
    with pytest.raises(WaitTimeout, match="phase=Unavailable"):
        made.find_backup(SimpleNamespace(kube=kube), velero, "shop")


def test_a_store_without_a_backup_of_the_namespace_says_so_at_once(api, kube, drill, tmp_path):
    made, velero = finding(drill, kube, tmp_path)
    went_through(api)
    knows(api, "older", 1)
    with pytest.raises(ProcedureFailed, match=r"no completed backup holds namespace web; there are older"):
        made.find_backup(SimpleNamespace(kube=kube), velero, "web")


def test_the_copy_is_gone_through_after_the_lost_store_was_forgotten(api, kube, drill, tmp_path, monkeypatch):
    monkeypatch.setattr(offsite, "SYNCED_WITHIN_S", 0.5)
    _, velero = finding(drill, kube, tmp_path)
    taking = offsite.OffSite(drill, kube, velero._program, tmp_path / "kubeconfig")
    went_through(api, offsite.COPY, at=datetime.now(UTC).isoformat())  # before that
    with pytest.raises(WaitTimeout, match="all backups in the off-site copy"):
        taking.take_over()
    went_through(api, offsite.COPY)
    taking.take_over()


def test_a_round_counts_from_a_moment_on():
    noon = datetime(2026, 11, 30, 12, tzinfo=UTC)
    at = {"status": {"lastSyncedTime": "2026-11-30T12:00:00Z"}}
    assert synced_since(None)(at)
    assert not synced_since(noon)(at)
    assert synced_since(noon.replace(hour=11))(at)
    for nothing in (None, {}, {"status": {}}, {"status": {"lastSyncedTime": None}}):
        assert not synced_since(None)(nothing)
