"""What etcd and its cluster refuse: a new member until all are well connected, objects whose namespace is gone."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from drills.commands import Commands
from drills.drill import Drill
from drills.errors import ProcedureFailed
from drills.history import History
from drills.kube import Kube
from drills.objectives import Objective
from drills.procedures.etcd import EtcdSnapshots
from drills.procedures.members import EtcdMembers

from .fake_apiserver import Answer, FakeApiServer

ETCD = """#!/bin/sh
echo "$*" >> asked
case "$*" in
  *"member list"*) echo '{"members": [{"ID": 16, "name": "b"}]}';;
  *"member add"*)
    if [ ! -e refused ]; then touch refused; echo "Error: REFUSAL" >&2; exit 1; fi
    echo 'ETCD_INITIAL_CLUSTER="a=https://10.0.0.1:2380,b=https://10.0.0.2:2380"';;
  *"cat "*) echo "- --initial-advertise-peer-urls=https://10.0.0.2:2380";;
esac
"""


@pytest.fixture
def drill(tmp_path):
    drill = Drill(
        "outage",
        Objective("1m"),
        history := History(None, tmp_path / "history.jsonl"),
        Commands(tmp_path / "commands.log", history),
        directory=tmp_path,
    )
    yield drill
    drill.close()


@pytest.fixture
def replace(tmp_path, monkeypatch, drill):
    monkeypatch.chdir(tmp_path)

    def replaced(refusal):
        node = tmp_path / "node"
        node.write_text(ETCD.replace("REFUSAL", refusal))
        node.chmod(0o755)
        a, b = (SimpleNamespace(name=name, enter=[str(node)], environment={}) for name in "ab")
        EtcdMembers(drill, None, [a, b]).replace(b)
        return (tmp_path / "asked").read_text()

    return replaced


def test_a_member_is_added_once_etcd_takes_one(replace):
    asked = replace("etcdserver: unhealthy cluster")
    assert asked.count("member add b --peer-urls=https://10.0.0.2:2380") == 2
    assert asked.count("member remove 10") == 1
    assert "--initial-cluster=a=https://10.0.0.1:2380,b=https://10.0.0.2:2380" in asked


def test_what_etcd_refuses_for_another_reason_is_not_asked_again(replace, tmp_path):
    with pytest.raises(ProcedureFailed, match="rc=1\nError: etcdserver: Peer URLs already"):
        replace("etcdserver: Peer URLs already exists")
    assert (tmp_path / "asked").read_text().count("member add") == 1


def test_a_namespace_that_did_not_come_back_is_a_failed_recovery(drill, tmp_path):
    api = FakeApiServer()
    api.always = Answer(404, body={"kind": "Status", "reason": "NotFound", "message": 'namespaces "shop" not found'})
    restored = EtcdSnapshots(drill, Kube(api.kubeconfig(tmp_path)), SimpleNamespace(name="a"))
    try:
        with pytest.raises(ProcedureFailed, match=r'cannot be made after the restore: .*namespaces "shop" not found'):
            restored.controllers_work("shop", "nginx")
    finally:
        api.stop()
