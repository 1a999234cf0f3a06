"""Faults of a node's services, the network and the control plane, on fakes: their proof says nothing too early."""

from __future__ import annotations

import subprocess

import pytest

from drills.commands import Commands
from drills.drill import Drill
from drills.errors import EnvironmentFailed, ProcedureFailed, UsageError, WaitTimeout
from drills.faults import (
    BlastRadius,
    control_plane_lost,
    dns_down,
    etcd,
    node_cut_off,
    service_down,
    services_lead_nowhere,
)
from drills.history import History
from drills.objectives import Objective
from drills.procedures import Network

NODES = "/api/v1/nodes"
DEPLOYMENTS = "/apis/apps/v1/namespaces/kube-system/deployments"
PODS = "/api/v1/namespaces/kube-system/pods"
SLICES = "/apis/discovery.k8s.io/v1/namespaces/kube-system/endpointslices"


class FakeNode:
    """Answers each command by the first of its words that it knows."""

    def __init__(self, name: str = "worker", **answers: str) -> None:
        self.name = name
        self.answers = answers
        self.asked: list[str] = []
        self.on = True

    def exec(self, argv, timeout_s):
        command = " ".join(argv)
        self.asked.append(command)
        return next((answer for word, answer in self.answers.items() if word in command), "")

    def stop(self):
        self.on = False

    def start(self):
        self.on = True

    def running(self):
        return self.on


# Services


@pytest.mark.parametrize(
    ("how", "state", "word"), [("killed", "gone", "is gone"), ("killed", "Z", "is gone"), ("wedged", "T", "state T")]
)
def test_a_service_is_down_when_its_process_and_its_health_check_say_so(how, state, word):
    node = FakeNode(systemctl="254\n")
    fault = service_down(node, "kubelet", how)
    assert fault.blast_radius is BlastRadius.NODE
    assert (fault.name, fault.target) == (f"kubelet {how}", "service/worker/kubelet")
    for early in ("S healthy", f"{state} healthy", "S silent"):
        node.answers = {"stat": early}
        assert fault.proof() == []
    node.answers = {"stat": f"{state}\nsilent\n"}
    told, check = fault.proof()
    assert "process 254 of kubelet on worker" in told
    assert word in told
    assert "health check" in check


def test_a_killed_service_is_kept_from_its_restart_and_given_back():
    node = FakeNode(systemctl="254\n")
    fault = service_down(node, "containerd", "killed")
    fault.inject()
    assert "Restart=no" in node.asked[-1]
    assert node.asked[-1].endswith("kill -KILL 254")
    fault.heal()
    assert "rm /run/systemd/system/containerd.service.d/99-drills.conf" in node.asked[-1]
    assert node.asked[-1].endswith("systemctl start containerd")


@pytest.mark.parametrize(
    ("service", "how", "pid", "message"),
    [
        ("sshd", "killed", "1", "accepted: kubelet, containerd"),
        ("kubelet", "broken", "1", "accepted: killed, wedged"),
        ("kubelet", "killed", "0", "no process of kubelet on worker"),
    ],
)
def test_a_service_that_cannot_go_down_is_refused(service, how, pid, message):
    with pytest.raises(UsageError, match=message):
        service_down(FakeNode(systemctl=pid), service, how)


# A node cut off


@pytest.fixture
def worker(api):
    api.put(
        NODES,
        {"metadata": {"name": "worker"}, "status": {"addresses": [{"type": "InternalIP", "address": "10.0.0.9"}]}},
    )


@pytest.mark.usefixtures("worker")
def test_a_node_is_cut_off_when_its_neighbour_gets_no_answer_at_all(kube):
    node, neighbour = FakeNode(), FakeNode("control-plane")
    fault = node_cut_off(node, neighbour, kube)
    for seen in ("ping\nkubelet\n", "ping\n", "kubelet\n"):
        neighbour.answers = {"ping": seen}
        assert fault.proof() == []
    neighbour.answers = {"ping": "\n"}
    assert len(fault.proof()) == 2
    assert "10.0.0.9" in fault.proof()[0]
    fault.inject()
    assert "systemd-run" not in node.asked[-1]
    node_cut_off(node, neighbour, kube, lasts_s=20).inject()
    assert "--on-active=20 " in node.asked[-1]


@pytest.mark.usefixtures("worker")
@pytest.mark.parametrize(
    ("name", "neighbour", "lasts_s", "message"),
    [
        ("elsewhere", "control-plane", None, "a node of the cluster"),
        ("worker", "worker", None, "another node"),
        ("worker", "control-plane", 0, "more than 0"),
    ],
)
def test_a_node_that_cannot_be_cut_off_is_refused(kube, name, neighbour, lasts_s, message):
    with pytest.raises(UsageError, match=message):
        node_cut_off(FakeNode(name), FakeNode(neighbour), kube, lasts_s)


# DNS


@pytest.fixture
def dns(api):
    api.put(DEPLOYMENTS, {"metadata": {"name": "coredns", "uid": "d"}, "spec": {"replicas": 2}})
    put_dns_pod(api, "coredns-1", "first")
    put_endpoints(api, ["10.244.0.2"])


def put_dns_pod(api, name, uid):
    api.put(PODS, {"metadata": {"name": name, "uid": uid, "labels": {"k8s-app": "kube-dns"}}})


def put_endpoints(api, addresses):
    labels = {"kubernetes.io/service-name": "kube-dns"}
    endpoints = [{"addresses": [address]} for address in addresses]
    api.put(SLICES, {"metadata": {"name": "kube-dns-1", "labels": labels}, "endpoints": endpoints})


@pytest.mark.usefixtures("dns")
def test_dns_is_scaled_away_when_its_pods_and_its_endpoints_are_gone(api, kube):
    fault = dns_down(kube, "scaled away")
    assert fault.proof() == []
    fault.inject()
    assert kube.get("Deployment", "coredns", "kube-system")["spec"]["replicas"] == 0
    api.remove(PODS, "coredns-1")
    assert fault.proof() == []
    put_endpoints(api, [])
    assert fault.proof() == ["pod coredns-1 with uid first is gone", "Service kube-dns has no endpoint"]
    fault.heal()
    assert kube.get("Deployment", "coredns", "kube-system")["spec"]["replicas"] == 2


@pytest.mark.usefixtures("dns")
def test_killed_dns_pods_are_proved_gone_though_others_have_taken_their_place(api, kube):
    fault = dns_down(kube, "killed")
    assert fault.proof() == []
    fault.inject()
    assert api.bodies[-1]["gracePeriodSeconds"] == 0
    put_dns_pod(api, "coredns-2", "second")
    assert fault.proof() == ["pod coredns-1 with uid first is gone"]


def test_dns_that_is_not_there_cannot_go_down(kube):
    with pytest.raises(UsageError, match="no Deployment"):
        dns_down(kube, "killed")


# kube-proxy


def test_a_wedged_kube_proxy_is_proved_by_its_state_and_by_its_lack_of_rules():
    node = FakeNode(pgrep="77\n", iptables="12\n")
    fault = services_lead_nowhere([node], "wedged")
    assert fault.blast_radius is BlastRadius.CLUSTER
    for state, rules in (("S", "12"), ("S", "0"), ("T", "12"), ("gone", "0")):
        node.answers = {"iptables": rules, "stat": state}
        assert fault.proof() == []
    node.answers = {"iptables": "0\n", "stat": "T\n"}
    assert fault.proof() == [
        "kube-proxy (process 77) on worker does nothing (state T)", "worker had no rule left for any Service",
    ]  # fmt: skip


def test_a_killed_kube_proxy_is_proved_though_its_successor_has_written_rules():
    node = FakeNode(pgrep="77\n", iptables="12\n")
    fault = services_lead_nowhere([node], "killed")
    node.answers = {"iptables": "12", "stat": "gone"}
    assert fault.proof() == [], "nothing was flushed yet"
    node.answers = {"iptables": "0"}
    fault.inject()
    node.answers = {"iptables": "12", "stat": "gone"}
    assert len(fault.proof()) == 2
    node.answers = {"iptables": "12", "stat": "S"}
    assert fault.proof() == []


def test_a_node_whose_rules_cannot_be_counted_is_the_environments_failure():
    node = FakeNode(pgrep="77\n", iptables="12\n")
    fault = services_lead_nowhere([node], "wedged")
    node.answers = {"iptables": ""}
    with pytest.raises(EnvironmentFailed, match="worker"):
        fault.inject()


def test_a_node_without_kube_proxy_in_iptables_mode_is_refused():
    with pytest.raises(UsageError, match="0 kube-proxies"):
        services_lead_nowhere([FakeNode(iptables="3")])
    with pytest.raises(UsageError, match="with 0 rules"):
        services_lead_nowhere([FakeNode(pgrep="77", iptables="0")])


# Control plane


def put_planes(api, *names):
    for name in names:
        api.put(NODES, {"metadata": {"name": name, "labels": {"node-role.kubernetes.io/control-plane": ""}}})


def test_a_lost_control_plane_is_proved_when_it_is_off_and_nobody_answers(api, kube):
    put_planes(api, "plane")
    node = FakeNode("plane")
    fault = control_plane_lost(node, kube)
    assert fault.proof() == []
    fault.inject()
    assert not node.on
    api.stop()
    facts = fault.proof()
    assert facts[0] == "node plane is not running"
    assert "/etc/kubernetes" in facts[2]
    node.on = True
    assert fault.proof() == []


def test_what_is_left_on_the_disk_is_named(api, kube):
    put_planes(api, "plane")
    with pytest.raises(EnvironmentFailed, match="/var/lib/etcd"):
        control_plane_lost(FakeNode("plane", systemctl="/var/lib/etcd\n"), kube).inject()


def test_one_of_several_control_planes_is_another_disaster(api, kube):
    put_planes(api, "plane", "plane-2")
    with pytest.raises(UsageError, match="found control planes plane, plane-2"):
        control_plane_lost(FakeNode("plane"), kube)


class OpenNode:
    """A node whose crictl is a script."""

    name = "worker"

    def __init__(self, *enter: str) -> None:
        self.enter = enter
        self.environment: dict[str, str] = {}


@pytest.fixture
def network(kube, tmp_path):
    history = History(None, tmp_path / "history.jsonl")
    drill = Drill(
        "cut", Objective("1m"), history, Commands(tmp_path / "commands.log", history), directory=tmp_path, patience="1s"
    )
    yield Network(drill, kube, tmp_path / "kubectl", tmp_path / "kubeconfig")
    drill.close()


def test_doubles_are_over_when_the_node_itself_runs_none(network, tmp_path):
    twice = f'cat {tmp_path}/pods; echo "$*" >{tmp_path}/asked; : >{tmp_path}/pods'
    (tmp_path / "pods").write_text("3f2a9c\n")
    network.doubles_end(OpenNode("sh", "-c", twice), "shop", "app=web")
    assert (tmp_path / "asked").read_text() == "pods --namespace shop --label app=web --state ready --quiet\n"


@pytest.mark.parametrize(("script", "error"), [("echo 3f2a9c", WaitTimeout), ("exit 1", ProcedureFailed)])
def test_a_double_that_runs_on_or_a_node_that_does_not_say_is_no_end(network, script, error):
    with pytest.raises(error):
        network.doubles_end(OpenNode("sh", "-c", script), "shop", "app=web")


class Shell:
    """A control plane whose etcd has its data in a directory here."""

    name = "control-plane"

    def exec(self, argv, timeout_s):
        return subprocess.run(argv, capture_output=True, text=True, check=True, timeout=timeout_s).stdout


def test_an_etcd_member_is_told_by_the_beginning_of_its_oldest_log(tmp_path, monkeypatch):
    monkeypatch.setattr(etcd, "MEMBER", str(tmp_path))
    assert etcd.member_identity(Shell()) == ""
    (tmp_path / "wal").mkdir()
    assert etcd.member_identity(Shell()) == "", "no log yet"
    log = tmp_path / "wal/0-0.wal"
    log.write_bytes(b"a" * 5000)
    first = etcd.member_identity(Shell())
    log.write_bytes(b"a" * 9000)
    (tmp_path / "wal/1-1.wal").write_bytes(b"b")
    (tmp_path / ".touch").touch()
    assert etcd.member_identity(Shell()) == first, "what is written later, and a restart, change nothing"
    log.write_bytes(b"b" * 5000)
    assert etcd.member_identity(Shell()) not in ("", first)
