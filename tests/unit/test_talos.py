"""The recovery of etcd on Talos, on a stand-in for talosctl: what is refused, what is sent, to whom, in which order."""

from __future__ import annotations

import contextlib
import inspect
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from drills.commands import Commands
from drills.drill import Drill
from drills.errors import BadReading, EnvironmentFailed, FaultHadNoEffect, ProcedureFailed, UsageError, WaitTimeout
from drills.faults import BlastRadius, etcd_members_wiped
from drills.history import History
from drills.objectives import Objective
from drills.probes import callable_probe
from drills.procedures import EtcdMembers, TalosEtcdMembers, talos, talos_machines
from drills.talosctl import Talosctl, TalosNode
from drills.verdicts import Verdict

from . import fake_talosctl
from .fake_apiserver import Answer, FakeApiServer

PLANES = [TalosNode(f"plane-{number}", f"10.0.0.{number}") for number in (1, 2, 3)]
WORKER = TalosNode("worker-1", "10.0.0.9")
ALL = "10.0.0.1,10.0.0.2,10.0.0.3"
RUNBOOK = Path(__file__).parents[2] / "docs/runbooks/talos-etcd.md"


class Talos:
    """The machines behind the stand-in: what they are like now, and what talosctl was told."""

    def __init__(self, path):
        self.path = path
        old = {"data": "old", "member_of": ["old"], "away": 0, "stale": 0, "keys": 1287}
        usual = {"elects": False, "hangs": False, "learner": False}
        self.write({node.address: {"name": node.name, **old, **usual} for node in PLANES})

    def read(self):
        return json.loads(self.path.read_text())

    def write(self, machines):
        self.path.write_text(json.dumps(machines))

    def make(self, number, **facts):
        machines = self.read()
        machines[f"10.0.0.{number}"].update(facts)
        self.write(machines)

    def lose(self, *numbers):
        for number in numbers:
            self.make(number, data="")

    def told(self, *words):
        """What was called, without what was only asked, or only what holds these words."""
        log = self.path.with_suffix(".log")
        lines = log.read_text().splitlines() if log.exists() else []
        asked = (" service ", " etcd status", " etcd members", " list ")
        if words:
            return [line for line in lines if all(word in line for word in words)]
        return [line for line in lines if not any(word in line for word in asked)]


@pytest.fixture
def machines(tmp_path, monkeypatch):
    (tmp_path / "bin").mkdir()
    program = tmp_path / "bin/talosctl"
    program.write_text(f'#!/bin/sh\nexec {sys.executable} -I -S {fake_talosctl.__file__} "$@"\n')
    program.chmod(0o755)
    monkeypatch.setenv("PATH", str(program.parent), prepend=":")
    monkeypatch.setenv("FAKE_TALOS", str(tmp_path / "machines.json"))
    monkeypatch.setattr(talos, "_LOOK_EVERY_S", 0.02)
    return Talos(tmp_path / "machines.json")


@pytest.fixture
def api():
    server = FakeApiServer()
    server.put("/api/v1/namespaces", {"metadata": {"name": "kube-system"}})
    yield server
    server.stop()


def drill_of(tmp_path, **options):
    history = History(None, tmp_path / "history.jsonl")
    commands = Commands(tmp_path / "commands.log", history)
    return Drill("outage", Objective("1m"), history, commands, directory=tmp_path, **options)


@pytest.fixture
def drill(tmp_path):
    made = drill_of(tmp_path)
    yield made
    made.close()


def members_of(drill, kube, tmp_path):
    return TalosEtcdMembers(drill, kube, Talosctl(drill.commands), PLANES, [WORKER], tmp_path)


@pytest.fixture
def etcd(drill, kube, machines, tmp_path):
    return members_of(drill, kube, tmp_path)


@pytest.fixture
def talosctl(drill, machines):
    return Talosctl(drill.commands)


def steps(drill):
    return [event.fields["name"] for event in drill.history.events("step") if event.fields["state"] == "ended"]


# The procedure


def test_the_calls_are_those_of_the_other_procedure():
    for name in ("take", "recover", "whole"):
        ours, theirs = (inspect.signature(getattr(kind, name)) for kind in (TalosEtcdMembers, EtcdMembers))
        assert ours == theirs, name


def test_a_lost_quorum_is_wiped_bootstrapped_once_and_joined(etcd, machines, drill):
    snapshot = etcd.take()
    machines.lose(2, 3)
    etcd.recover(snapshot)
    etcd.whole()
    assert machines.told() == [
        f"talosctl -n 10.0.0.1 etcd snapshot {snapshot.path}",
        f"talosctl -n {ALL} reset --graceful=false --reboot --system-labels-to-wipe=EPHEMERAL --timeout=600s",
        f"talosctl -n 10.0.0.1 bootstrap --recover-from={snapshot.path}",
        f"talosctl -n 10.0.0.1 health --control-plane-nodes {ALL} --worker-nodes 10.0.0.9 --wait-timeout=600s",
    ]
    assert {machine["data"] for machine in machines.read().values()} == {"of old on 10.0.0.1"}
    assert steps(drill) == [
        "find out which members live",
        "verify the snapshot",
        "wipe etcd on every control plane",
        "wait until every etcd waits for its bootstrap",
        "bootstrap one control plane from the snapshot",
        "wait for the bootstrapped member",
        "wait for the API server",
        "wait until plane-2 has joined",
        "wait until plane-3 has joined",
        "wait for the cluster's health",
    ]
    assert drill.recorded()["checks"][-1]["ok"]


def test_a_snapshot_is_noted_by_what_talosctl_says_of_it(etcd, drill):
    snapshot = etcd.take()
    (backup,) = drill.history.events("backup")
    assert (snapshot.revision, snapshot.keys) == (4193, 1287)
    assert backup.fields["name"] == Path(snapshot.path).name, "no path of this machine is in the record"
    assert backup.fields["identity"] == {"sha256": snapshot.sha256, "revision": 4193, "keys": 1287, "bytes": 3035136}


def test_a_snapshot_without_a_key_is_none(etcd, machines):
    machines.make(1, keys=0)
    with pytest.raises(EnvironmentFailed, match="holds no key"):
        etcd.take()


def test_what_cannot_be_saved_is_no_drill_result(etcd, machines):
    machines.make(1, away=1)
    with pytest.raises(EnvironmentFailed, match="Unavailable"):
        etcd.take()


@pytest.mark.parametrize("lost", [(), (2,), (1,)])
def test_nothing_is_wiped_while_there_is_a_quorum(etcd, machines, lost):
    snapshot = etcd.take()
    machines.lose(*lost)
    with pytest.raises(ProcedureFailed, match=r"has a leader \(0+\d\), and so a quorum"):
        etcd.recover(snapshot)
    assert len(machines.told()) == 1, "the snapshot, and nothing after it"


def test_nothing_is_wiped_during_an_election(etcd, machines, monkeypatch):
    monkeypatch.setattr(talos, "HEALTH_OUTDATED_WITHIN_S", 0.5)
    snapshot = etcd.take()
    for node in (1, 2, 3):
        machines.make(node, elects=True)
    with pytest.raises(WaitTimeout, match="etcd is healthy nowhere"):
        etcd.recover(snapshot)
    assert not machines.told("reset")


def test_nothing_is_wiped_while_a_member_hangs_that_was_healthy(etcd, machines, monkeypatch):
    monkeypatch.setattr(talos, "HEALTH_OUTDATED_WITHIN_S", 0.5)
    snapshot = etcd.take()
    machines.lose(2, 3)
    machines.make(1, hangs=True, stale=99)
    with pytest.raises(WaitTimeout, match="etcd is healthy nowhere"):
        etcd.recover(snapshot)
    assert not machines.told("reset")


def test_health_from_before_is_waited_out(etcd, machines):
    snapshot = etcd.take()
    machines.lose(2, 3)
    machines.make(1, stale=2)
    etcd.recover(snapshot)
    asked = machines.told("-n 10.0.0.1", "etcd status")
    assert len(asked) == 3, "twice with an old answer, once with one of now"


def test_nothing_is_wiped_when_a_control_plane_cannot_be_asked(etcd, machines):
    snapshot = etcd.take()
    machines.lose(1, 2)
    machines.make(3, away=9)
    with pytest.raises(ProcedureFailed, match="Unavailable"):
        etcd.recover(snapshot)
    assert not machines.told("reset")


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda path: path.unlink(), "is not there"),
        (lambda path: path.write_text("other"), "but was taken with"),
    ],
    ids=["gone", "changed"],
)
def test_nothing_is_wiped_for_a_snapshot_that_is_not_the_one(etcd, machines, spoil, message):
    snapshot = etcd.take()
    machines.lose(1, 2, 3)
    spoil(Path(snapshot.path))
    with pytest.raises(ProcedureFailed, match=message):
        etcd.recover(snapshot)
    assert not machines.told("reset")


def test_a_second_bootstrap_is_never_sent(etcd, machines, monkeypatch):
    snapshot = etcd.take()
    machines.lose(1, 2, 3)
    run = Talosctl.run

    def fails_at_bootstrap(self, nodes, *arguments, **options):
        said = run(self, nodes, *arguments, **options)
        if arguments[0] == "bootstrap":  # it was received, and its answer was lost
            machines.lose(1)
            raise ProcedureFailed("connection reset")
        return said

    monkeypatch.setattr(Talosctl, "run", fails_at_bootstrap)
    with pytest.raises(ProcedureFailed, match="connection reset"):
        etcd.recover(snapshot)
    with pytest.raises(ProcedureFailed, match="plane-1 was sent a bootstrap already"):
        etcd.recover(snapshot)
    assert len(machines.told(" bootstrap ")) == 1
    assert len(machines.told(" reset ")) == 1


def test_without_its_decisive_part_nothing_comes_back(tmp_path, kube, machines):
    drill = drill_of(tmp_path, sabotage=["procedure"], patience="1s")
    etcd = members_of(drill, kube, tmp_path)
    snapshot = etcd.take()
    machines.lose(2, 3)
    with pytest.raises(WaitTimeout, match="etcd on plane-1 runs and is healthy"):
        etcd.recover(snapshot)
    assert len(machines.told()) == 1
    drill.close()


@pytest.mark.parametrize(
    ("facts", "got"),
    [
        ({"learner": True}, "plane-1, plane-2 of 3 vote; all healthy"),
        ({"member_of": [], "data": ""}, "not all healthy"),
    ],
)
def test_etcd_is_not_whole_without_a_vote_of_every_member(etcd, machines, drill, facts, got):
    machines.make(3, **facts)
    etcd.whole()
    check = drill.recorded()["checks"][-1]
    assert not check["ok"]
    assert got in check["got"]


# The fault


def test_wiped_members_are_proved_by_their_machines_and_the_api(api, kube, etcd, machines):
    fault = etcd.wiped(2)
    assert (fault.target, fault.blast_radius) == ("etcd/plane-2,plane-3", BlastRadius.CLUSTER)
    assert fault.proof() == []
    fault.inject()
    assert machines.told() == [
        "talosctl -n 10.0.0.2,10.0.0.3 reset --graceful=false --reboot --system-labels-to-wipe=EPHEMERAL --wait=false"
    ]
    while any(machine["away"] for machine in machines.read().values()):
        assert fault.proof() == [], "a machine that boots proves nothing"
    assert fault.proof() == [], "an API server is ready"
    api.always = Answer(500)
    two, three, quorum = fault.proof()
    assert "plane-2: etcd is Preparing, and /var/lib/etcd holds no member" in two
    assert "plane-3" in three
    assert "no quorum" in quorum
    fault.heal()


def test_one_of_three_is_no_lost_quorum(etcd):
    fault = etcd.wiped(1)
    assert fault.blast_radius is BlastRadius.CONTROL_PLANE
    assert not fault.quorum_lost


@pytest.mark.parametrize(
    ("nodes", "message"), [([], "found no machine"), (PLANES[2:], "found etcd Preparing, accepted: Running")]
)
def test_a_wipe_wants_a_machine_whose_etcd_runs(talosctl, kube, machines, nodes, message):
    machines.lose(3)
    with pytest.raises(UsageError, match=message):
        etcd_members_wiped(talosctl, nodes, kube, members=3)


# The drill


class ApiOfMachines:
    """An API server that is there as long as etcd has a quorum."""

    def __init__(self, machines):
        self._machines = machines

    def ready(self):
        known = fake_talosctl.Machines(self._machines.path)
        return any(known.leader(machine["data"]) for machine in known.all.values() if machine["data"])

    def get(self, kind, name):
        return {"metadata": {"name": name}} if self.ready() else None

    def answers(self, timeout_s):
        if not self.ready():
            raise BadReading("no leader")


@pytest.mark.parametrize(
    ("sabotage", "verdict"),
    [((), Verdict.MET), (("fault",), Verdict.INCONCLUSIVE), (("procedure",), Verdict.MISSED)],
    ids=["whole", "fault left out", "procedure left out"],
)
def test_the_drill_is_met_and_its_twins_are_not(tmp_path, machines, sabotage, verdict):
    patience = "1s" if sabotage else None
    drill = drill_of(tmp_path, sabotage=sabotage, need_steady=2, need_stable=2, patience=patience)
    api = ApiOfMachines(machines)
    etcd = members_of(drill, api, tmp_path)
    snapshot = etcd.take()
    drill.holds(callable_probe("the API answers", api.answers, role="user", interval_s=0.02))
    with (
        contextlib.suppress(FaultHadNoEffect, WaitTimeout),
        drill.disruption(etcd.wiped(2), damage_within="1s" if "fault" in sabotage else "20s"),
        drill.recovery("wipe every control plane, bootstrap one from the snapshot"),
    ):
        etcd.recover(snapshot)
        etcd.whole()
    drill.close()
    assert drill.judgement.verdict is verdict
    assert bool(machines.told(" bootstrap ")) is not bool(sabotage)


# The machines


def node(name, *labels, system="Talos (v1.12.0)", address="10.0.0.1"):
    addresses = [{"type": "Hostname", "address": name}]
    addresses += [{"type": "InternalIP", "address": address}] if address else []
    return {
        "metadata": {"name": name, "labels": dict.fromkeys(labels, "")},
        "status": {"addresses": addresses, "nodeInfo": {"osImage": system}},
    }


def test_machines_are_those_of_the_cluster(api, kube):
    for one in (
        node("worker-1", address="10.0.0.9"),
        node("plane-2", talos.CONTROL_PLANE, address="10.0.0.2"),
        node("plane-1", talos.CONTROL_PLANE),
    ):
        api.put("/api/v1/nodes", one)
    assert talos_machines(kube) == (PLANES[:2], [WORKER])


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"system": "Debian GNU/Linux 12"}, "found osImage 'Debian GNU/Linux 12', accepted: Talos"),
        ({"address": ""}, "found no address of type InternalIP"),
    ],
)
def test_other_machines_are_refused(api, kube, options, message):
    api.put("/api/v1/nodes", node("plane-1", talos.CONTROL_PLANE, **options))
    with pytest.raises(UsageError, match=message):
        talos_machines(kube)


def test_an_answer_without_a_state_is_no_answer(talosctl, monkeypatch):
    monkeypatch.setattr(Talosctl, "run", lambda *_, **__: "")
    with pytest.raises(ProcedureFailed, match="names no state for plane-1"):
        talosctl.etcd(PLANES[0])
    with pytest.raises(ProcedureFailed, match="tells of 0 members"):
        talosctl.leader(PLANES[0])


# The command lines


def commands_of(text):
    """The calls of talosctl in a runbook's code, with addresses put in."""
    text = text.replace("NODES", "10.0.0.1,10.0.0.2").replace("NODE", "10.0.0.1")
    return re.findall(r"^ {4,}talosctl (.+)$", text, re.MULTILINE)


def test_every_command_of_the_runbook_is_one_that_talosctl_takes():
    calls = commands_of(RUNBOOK.read_text(encoding="utf-8"))
    assert {fake_talosctl.parse(call.split())[0] for call in calls} == set(fake_talosctl.COMMANDS) - {"list"}


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ("-n 10.0.0.1 reset --graceful false", "accepts 0 to 0 arguments"),
        ("-n 10.0.0.1 reset --system-labels=EPHEMERAL", "unknown flag: --system-labels"),
        ("-n 10.0.0.1 reset --timeout=600", "invalid argument '600' for --timeout"),
        ("-n 10.0.0.1,10.0.0.2 bootstrap --recover-from=x", "not supported with multiple nodes"),
        ("-n 10.0.0.1 etcd snapshot", "accepts 1 to 1 arguments"),
        ("-n 10.0.0.1 etcd health", "unknown command"),
        ("bootstrap --recover-from=x", "nodes are not set"),
    ],
)
def test_the_stand_in_refuses_what_talosctl_refuses(capsys, line, message):
    with pytest.raises(SystemExit):
        fake_talosctl.parse(line.split())
    assert message in capsys.readouterr().err


@pytest.mark.skipif(shutil.which("talosctl") is None, reason="no real talosctl on PATH to ask for its flags")
def test_the_real_talosctl_has_every_flag_of_the_stand_in():
    for command, (*_, own) in fake_talosctl.COMMANDS.items():
        asked = subprocess.run(["talosctl", *command.split(), "--help"], capture_output=True, text=True, timeout=30)
        flags = set(re.findall(r"--([a-z0-9-]+)", asked.stdout))
        assert {*own, "nodes"} - flags == set(), command
