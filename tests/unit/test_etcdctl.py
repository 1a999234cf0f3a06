"""What is checked beside etcd's own tools: a snapshot's checksum, alarms, the members' hashes, the node itself."""

from __future__ import annotations

import hashlib
import json
import subprocess
from types import SimpleNamespace

import pytest

from drills.commands import Commands
from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, UsageError
from drills.history import History
from drills.objectives import Objective
from drills.procedures.etcd import EtcdSnapshots, Snapshot
from drills.procedures.etcdctl import Alarm, Etcdctl, checksum_script, read_alarms
from drills.procedures.members import EtcdMembers

MEMBER = 0xDDD5E63C3A55D17B


@pytest.fixture
def drill(tmp_path):
    history = History(None, tmp_path / "history.jsonl")
    made = Drill(
        "outage", Objective("1m"), history, Commands(tmp_path / "commands.log", history), directory=tmp_path, patience=2
    )
    yield made
    made.close()


@pytest.fixture
def node(tmp_path):
    """Make a node on which every program is the same script, which writes down what it was asked."""

    def made(name, script):
        program = tmp_path / name
        program.write_text(f'#!/bin/sh\ncd {tmp_path}\nprintf "%s\\n" "$*" >>{name}.asked\n{script}\n')
        program.chmod(0o755)
        return SimpleNamespace(name=name, enter=[str(program)], environment={})

    return made


def whole(content):
    return content + hashlib.sha256(content).digest()


def check(path):
    return subprocess.run(["sh", "-c", checksum_script(str(path))], capture_output=True, text=True, check=False)


def test_a_whole_snapshot_has_its_own_checksum_at_its_end(tmp_path):
    file = tmp_path / "etcd.db"
    file.write_bytes(whole(b"k" * 1024))
    done = check(file)
    assert (done.returncode, done.stdout.strip()) == (0, hashlib.sha256(b"k" * 1024).hexdigest())


@pytest.mark.parametrize("at", [0, 500, 1023, 1024, 1055])
def test_one_changed_byte_of_a_snapshot_is_noticed_wherever_it_is(tmp_path, at):
    content = bytearray(whole(b"k" * 1024))
    content[at] ^= 1
    file = tmp_path / "etcd.db"
    file.write_bytes(content)
    done = check(file)
    assert done.returncode == 1
    assert "damaged: its content has sha256" in done.stderr


@pytest.mark.parametrize("content", [b"", b"k" * 1024, whole(b"k" * 1024)[:-1], whole(b"k" * 1024) + b"x"])
def test_what_has_no_checksum_at_its_end_is_no_snapshot_to_trust(tmp_path, content):
    file = tmp_path / "etcd.db"
    file.write_bytes(content)
    done = check(file)
    assert done.returncode == 1
    assert f"no checksum at its end ({len(content)} bytes)" in done.stderr


def test_alarms_are_read_as_etcdctl_writes_them():
    assert read_alarms(None) == []
    assert read_alarms([{"memberID": MEMBER, "alarm": 1}, {"memberID": 1, "alarm": 2}]) == [
        Alarm("NOSPACE", "ddd5e63c3a55d17b"), Alarm("CORRUPT", "1"),
    ]  # fmt: skip
    assert str(read_alarms([{"memberID": 17, "alarm": 9}])[0]) == "9 of member 11"


def answer(kind, **fields):
    return json.dumps([{"Endpoint": "x", kind: fields}])


def member(revision, hash_, compacted=1, known=True, applied=None):
    said = answer("HashKV", header={"revision": revision}, hash=hash_, compact_revision=compacted, hash_revision=5)
    status = answer("Status", header={"revision": revision}, raftAppliedIndex=revision if applied is None else applied)
    return f"""case "$*" in
    *"endpoint status"*) echo '{status}';;
    *hashkv*) {f"echo '{said}'" if known else "echo 'mvcc: required revision is a future revision' >&2; exit 1"};;
    esac"""


def checks(drill):
    return [(event.fields["name"], event.fields["ok"], event.fields["got"]) for event in drill.history.events("check")]


def agree(drill, *nodes):
    EtcdMembers(drill, None, nodes).agree()
    ((name, ok, got),) = checks(drill)
    assert name == "all members of etcd hold the same data"
    return ok, got


def test_members_that_hold_the_same_data_agree_at_the_revision_that_all_have(drill, node, tmp_path):
    nodes = [node("a", member(7, 42)), node("b", member(5, 42))]
    assert agree(drill, *nodes) == (True, "a: 42 at revision 5, b: 42 at revision 5")
    assert "endpoint hashkv --rev=5" in (tmp_path / "a.asked").read_text()


def test_members_of_different_snapshots_have_different_hashes(drill, node):
    nodes = [node("a", member(5, 42)), node("b", member(5, 43))]
    assert agree(drill, *nodes) == (False, "a: 42 at revision 5, b: 43 at revision 5")


def test_a_member_with_an_older_state_has_the_others_hash_of_then_and_another_revision_now(drill, node):
    nodes = [node("a", member(5, 42, applied=30)), node("b", member(9, 42, applied=31))]
    assert agree(drill, *nodes) == (False, "a is at revision 5 after entry 30, b at 9 after 31")


@pytest.mark.parametrize("other", [member(5, 42, known=False), member(5, 43, compacted=4)])
def test_hashes_that_cannot_be_compared_yet_are_asked_again(drill, node, other):
    later = f"case $* in *hashkv*) [ -e again ] || {{ touch again; {other}; exit; }};; esac\n{member(5, 42)}"
    ok, _ = agree(drill, node("a", member(5, 42)), node("b", later))
    assert ok


RESTORED = """case "$*" in
*"snapshot status"*) echo '{"hash": 1, "revision": 9, "totalKey": 3, "totalSize": 512, "version": "VERSION"}';;
*sha256sum*) echo "SUM  file";;
*"etcdutl version"*) echo "etcdutl version: 3.7.0";;
*"cat /etc"*) echo "    - --initial-advertise-peer-urls=https://10.0.0.1:2380";;
*"alarm list"*) [ -e disarmed ] || echo '{"alarms": [{"memberID": 17, "alarm": 1}]}'; [ ! -e disarmed ] || echo '{}';;
*"alarm disarm"*) touch disarmed;;
esac"""


def restore(drill, made):
    snapshots = EtcdSnapshots(drill, SimpleNamespace(ready=lambda: True, get=lambda *_: {"metadata": {}}), made)
    snapshots.restore(Snapshot("/x.db", drill.clock.now(), 9, 3, "SUM"), wait_for_nodes=False)


def test_an_alarm_of_the_snapshot_is_disarmed_by_steps_of_their_own(drill, node, tmp_path):
    restore(drill, node("a", RESTORED.replace("VERSION", "3.7.0")))
    asked = (tmp_path / "a.asked").read_text()
    assert asked.index("kubelet") < asked.index("alarm list") < asked.index("defrag") < asked.index("alarm disarm")
    assert ("etcd has no alarm after the restore", True, "none") in checks(drill)
    steps = [event.fields["name"] for event in drill.history.events("step") if event.fields["state"] == "ended"]
    assert "disarm etcd's alarms" in steps


def test_an_alarm_that_stays_is_a_failed_check(drill, node):
    restore(drill, node("a", RESTORED.replace("VERSION", "3.7.0").replace("touch disarmed", ":")))
    assert ("etcd has no alarm after the restore", False, "NOSPACE of member 11") in checks(drill)


def test_a_snapshot_is_not_touched_by_any_tool_before_its_checksum_was_compared(drill, node, tmp_path):
    restore(drill, node("a", RESTORED.replace("VERSION", "3.6.4")))
    first, second, *_ = (tmp_path / "a.asked").read_text().splitlines()
    assert first == f"sh -c {checksum_script('/x.db')}"
    assert "snapshot status" in second


@pytest.mark.parametrize("version", ["3.8.0", "4.0.0"])
def test_a_snapshot_of_a_newer_etcd_is_refused_before_anything_is_stopped(drill, node, tmp_path, version):
    with pytest.raises(ProcedureFailed, match=rf"the snapshot is of etcd {version}, and this is 3\.7"):
        restore(drill, node("a", RESTORED.replace("VERSION", version)))
    assert "systemctl" not in (tmp_path / "a.asked").read_text()


@pytest.mark.parametrize("version", ["", "3.5.0", "3.6.0", "3.7.9"])
def test_a_snapshot_of_the_same_etcd_or_an_older_one_is_restored(drill, node, version):
    restore(drill, node("a", RESTORED.replace("VERSION", version)))


@pytest.mark.parametrize(
    ("there", "why"),
    [
        ("/var/lib/rancher/k3s/server/db/state.db /var/lib/rancher/k3s/server", "found k3s .*kine there is no etcd"),
        ("", "found none"),
    ],
)
def test_a_node_without_kubeadms_etcd_is_refused_by_name(drill, node, there, why):
    made = EtcdSnapshots(drill, None, node("a", f"echo '{there}'"))
    with pytest.raises(UsageError, match=rf"etcd on a: invalid node: expected .*etcd.yaml, {why}"):
        made.take()


def test_a_snapshot_that_was_damaged_on_its_way_to_the_disk_is_none(drill, node):
    made = node("a", 'case "$*" in *"ls -d"*) echo /etc/kubernetes/manifests/etcd.yaml;; *tail*) exit 1;; esac')
    with pytest.raises(EnvironmentFailed, match="tail -c 32"):
        EtcdSnapshots(drill, None, made).take()
    assert not drill.history.events("backup")


def test_a_member_that_does_not_answer_has_no_hash(drill, node):
    assert Etcdctl(drill.commands, node("a", "exit 1")).hash_at(5) is None
