"""From inside a drill cluster nothing outside the node network answers, and nothing is even sent, whoever asks.

The outside is a server on this machine, on the end of another bridge, which a container on the same network as the
nodes does reach: so silence is the nodes' doing. What goes to the bridge's own address is what leaves the node network;
it is watched on the wire.
"""

from __future__ import annotations

import ipaddress
import secrets
import socket
import socketserver
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import pytest
from drills.fixtures import network
from drills.fixtures.cluster import Cluster, Shape
from drills.fixtures.engine import Engine
from drills.fixtures.images.store import NODE, Mode
from drills.fixtures.platform import Platform
from drills.fixtures.progress import Progress

from drills.waiting import wait_until

HELPER = "docker.io/kindest/local-path-helper"
NOWHERE = "203.0.113.7"  # TEST-NET-3, RFC 5737: nobody has it
API_SERVICE = "10.96.0.1"
UNUSED_SERVICE = "10.96.77.77"
UNUSED_POD = "10.244.200.9"


class Wire:
    """Sees every IPv4 frame that is sent to a bridge's own end, which is the way out of the network."""

    def __init__(self, bridge: str) -> None:
        self.destinations: set[str] = set()
        self._own = bytes.fromhex(open(f"/sys/class/net/{bridge}/address").read().strip().replace(":", ""))  # noqa: PTH123, SIM115
        self._socket = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0003))
        self._socket.bind((bridge, 0))
        self._socket.settimeout(0.2)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._look, daemon=True)
        self._thread.start()

    def close(self) -> None:
        self._over.set()
        self._thread.join()
        self._socket.close()

    def _look(self) -> None:
        while not self._over.is_set():
            try:
                frame = self._socket.recv(65535)
            except TimeoutError:
                continue
            if frame[:6] == self._own and struct.unpack("!H", frame[12:14])[0] == 0x0800 and not _asks_a_name(frame):
                self.destinations.add(str(ipaddress.ip_address(frame[30:34])))


def _asks_a_name(frame: bytes) -> bool:
    """DNS is what may leave: kind's start script asks for names before the node closes its network."""
    transport = 14 + 4 * (frame[14] & 0x0F)
    return frame[23] in (6, 17) and struct.unpack("!H", frame[transport + 2 : transport + 4])[0] == 53


@dataclass
class Outside:
    """A server beyond the node network, and the watch on what is sent there."""

    address: str
    port: int
    gateway: str
    wire: Wire
    callers: list[str] = field(default_factory=list)

    def left(self) -> set[str]:
        """Where frames went that left the node network, the answers to published ports aside."""
        return self.wire.destinations - {self.gateway}


@pytest.fixture(scope="module")
def platform(engine: Engine) -> Iterator[Platform]:
    with Platform(f"closed{secrets.token_hex(2)}", Mode.AUTO, Progress()) as made:
        yield made


@pytest.fixture(scope="module")
def outside(engine: Engine, platform: Platform) -> Iterator[Outside]:
    beyond = network.create(engine, f"{platform.name}out")
    gateway = "{{(index .IPAM.Config 0).Gateway}}"
    address = engine.run("network", "inspect", beyond, "--format", gateway).stdout.strip()
    own = engine.run("network", "inspect", platform.network, "--format", gateway).stdout.strip()
    identity = engine.run("network", "inspect", platform.network, "--format", "{{.Id}}").stdout.strip()
    made = Outside(address, 0, own, Wire(f"br-{identity[:12]}"))

    class Note(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            made.callers.append(self.client_address[0])
            self.request.sendall(b"HTTP/1.0 200 OK\r\n\r\noutside")

    # On all addresses of this machine: the other bridge's end, and the end of the nodes' own bridge.
    with socketserver.ThreadingTCPServer(("0.0.0.0", 0), Note) as server:  # noqa: S104
        made.port = server.server_address[1]
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield made
        server.shutdown()
    made.wire.close()
    network.remove(engine, beyond)


@pytest.fixture(scope="module")
def cluster(platform: Platform) -> Iterator[Cluster]:
    with platform.own_cluster(Shape(1, 1)) as made:
        yield made


@pytest.fixture(scope="module")
def pods(cluster: Cluster) -> dict[str, str]:
    """Two pods on the worker to ask from: one of the pod network, one of the node's."""
    names = cluster.control_plane.exec(["crictl", "images"]).splitlines()
    (line,) = [line for line in names if line.startswith(HELPER)]
    image = ":".join(line.split()[:2])
    found = {"pod": "asks-from-pod", "hostNetwork pod": "asks-from-node"}
    for kind, name in found.items():
        cluster.kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Pod",
                "metadata": {"name": name, "namespace": "default"},
                "spec": {
                    "hostNetwork": kind == "hostNetwork pod",
                    "nodeName": cluster.workers[0].name,
                    "terminationGracePeriodSeconds": 0,
                    "containers": [
                        {"name": "sh", "image": image, "imagePullPolicy": "Never", "command": ["sleep", "3600"]}
                    ],
                },
            },
            "default",
        )
    for name in found.values():
        cluster.kube.wait_for(
            "Pod", name, "default",
            condition=lambda pod: bool(pod) and pod["status"].get("phase") == "Running",
            what=f"{name} runs", within_s=90,
        )  # fmt: skip
    return found


@pytest.fixture(params=["pod", "hostNetwork pod", "node"])
def ask(request: pytest.FixtureRequest, cluster: Cluster, pods: dict[str, str]) -> Callable[[str, int], bool]:
    """Ask an address from somewhere inside the cluster: did it answer?"""
    worker = cluster.workers[0]
    if request.param == "node":
        return lambda address, port: _connects(cluster.engine, worker.name, address, port)
    name = pods[request.param]
    container = worker.exec(["crictl", "ps", "--quiet", "--label", f"io.kubernetes.pod.name={name}"]).strip()

    def asked(address: str, port: int) -> bool:
        done = cluster.engine.run(
            "exec", worker.name, "crictl", "exec", container, "sh", "-c",
            f"nc -w 2 {address} {port} -e true", check=False,
        )  # fmt: skip
        assert "not found" not in done.stderr, done.stderr
        return done.returncode == 0

    return asked


def _connects(engine: Engine, container: str, address: str, port: int) -> bool:
    script = f"timeout 2 bash -c 'exec 3<>/dev/tcp/{address}/{port}'"
    return engine.run("exec", container, "bash", "-c", script, check=False).returncode == 0


def test_container_beside_the_nodes_does_reach_the_outside(
    engine: Engine, platform: Platform, outside: Outside
) -> None:
    """Without this the other tests could pass because nothing reaches anything."""
    done = engine.run(
        "run", "--rm", f"--network={platform.network}", "--entrypoint=bash", NODE, "-c",
        f"exec 3<>/dev/tcp/{outside.address}/{outside.port}; timeout 1 bash -c 'exec 3<>/dev/tcp/{NOWHERE}/80'; true",
    )  # fmt: skip
    assert done.returncode == 0
    wait_until(lambda: {outside.address, NOWHERE} <= outside.left(), what="the wire shows both", within_s=5)
    assert outside.callers
    outside.callers.clear()
    outside.wire.destinations.clear()


def test_nothing_outside_answers_and_nothing_is_sent(
    ask: Callable[[str, int], bool], cluster: Cluster, outside: Outside
) -> None:
    assert ask(API_SERVICE, 443), "Services must work"
    assert ask(_address(cluster), 6443), "so must the node network"
    assert not ask(outside.address, outside.port)
    assert not ask(outside.gateway, outside.port), "this machine's own end of the bridge is outside too"
    assert not ask(NOWHERE, 80)
    assert not ask(UNUSED_SERVICE, 80)
    assert not ask(UNUSED_POD, 80)
    assert outside.callers == []
    assert outside.left() == set()


@pytest.fixture(scope="module")
def kube_proxy_gone(cluster: Cluster) -> None:
    cluster.kube.delete("DaemonSet", "kube-proxy", "kube-system", wait=True, within_s=60)
    wait_until(
        lambda: not cluster.kube.list("Pod", "kube-system", labels="k8s-app=kube-proxy"),
        what="kube-proxy is gone",
        within_s=60,
    )
    for node in cluster.nodes:
        # kube-proxy leaves its rules behind; a node that was booted without it has none.
        node.exec(
            ["bash", "-c", "iptables -t nat -F; iptables -F; iptables -t mangle -F; conntrack -F 2>/dev/null; true"]
        )


def test_nothing_is_sent_while_kube_proxy_is_dead(
    kube_proxy_gone: None, ask: Callable[[str, int], bool], cluster: Cluster, outside: Outside
) -> None:
    assert ask(_address(cluster), 6443), "the node network works without kube-proxy"
    assert not ask(API_SERVICE, 443), "nobody rewrites a Service's address any more"
    assert not ask(UNUSED_POD, 80)
    assert not ask(outside.address, outside.port)
    assert not ask(NOWHERE, 80)
    assert outside.callers == []
    assert outside.left() == set()


def test_network_is_closed_again_after_a_node_was_restarted(cluster: Cluster, outside: Outside) -> None:
    worker = cluster.workers[0]
    worker.stop()
    worker.start()
    wait_until(
        lambda: cluster.engine.run("exec", worker.name, "systemctl", "is-active", "kubelet", check=False).stdout.strip()
        == "active",
        what="the node has booted", within_s=60,
    )  # fmt: skip
    assert not _connects(cluster.engine, worker.name, outside.address, outside.port)
    assert not _connects(cluster.engine, worker.name, NOWHERE, 80)
    assert outside.left() == set()


def _address(cluster: Cluster) -> str:
    template = "{{range .NetworkSettings.Networks}}{{.IPAddress}}{{end}}"
    return cluster.engine.run("inspect", cluster.control_plane.name, "--format", template).stdout.strip()
