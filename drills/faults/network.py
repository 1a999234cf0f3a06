"""Faults of the network: a node cut off, names that resolve no more, Services that lead nowhere."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from typing import Literal, TypeAlias, get_args

from drills.errors import EnvironmentFailed, UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.healing import each
from drills.kube import RIDDEN_OUT, Kube
from drills.nodes import Node
from drills.waiting import in_a_line

TABLE = "drills_cut"
"""The nftables table (family inet) that cuts a node off; nothing else is in it."""

TIMER = "drills-cut"
"""The transient systemd unit that ends a cut which lasts only so long."""

CHAINS = ("KUBE-SERVICES", "KUBE-NODEPORTS")
"""kube-proxy's way in, in iptables mode: without these two every Service is an address that leads nowhere."""

# On the device and before connection tracking: what is established is cut too, as when a cable is pulled.
_CUT = f"""table inet {TABLE} {{
  chain arriving {{ type filter hook prerouting priority -400; iifname "eth0" drop; }}
  chain leaving {{ type filter hook output priority -400; oifname "eth0" drop; }}
  chain passing {{ type filter hook forward priority -400; oifname "eth0" drop; }}
}}"""

_EXEC_TIMEOUT_S = 30.0
_DNS = ("coredns", "kube-system")

DnsHow: TypeAlias = Literal["killed", "scaled away"]
ProxyHow: TypeAlias = Literal["killed", "wedged"]


class NodeCutOff(Fault):
    """A node loses its network and goes on running: its pods are there, and nobody reaches them.

    The proof is a neighbour's: it reaches neither the node's address nor its kubelet.
    """

    name = "node cut off"
    blast_radius = BlastRadius.NODE

    def __init__(self, node: Node, neighbour: Node, address: str, lasts_s: float | None = None) -> None:
        """Aim at one node.

        Args:
            node: the one that is cut off.
            neighbour: the one that is asked whether it still sees it.
            address: the node's address in the node network.
            lasts_s: the cut ends by itself after so many seconds; None for one that stays.
        """
        self.target = f"node/{node.name}"
        self._node = node
        self._neighbour = neighbour
        self._address = address
        self._lasts_s = lasts_s

    def inject(self) -> None:
        """Drop all that the node sends and is sent. A cut that ends by itself is ended by the node's own clock."""
        end = (
            f"systemd-run --quiet --unit={TIMER} --on-active={self._lasts_s:g} --timer-property=AccuracySec=50ms "
            f"nft delete table inet {TABLE} && "
            if self._lasts_s
            else ""
        )
        self._node.exec(["sh", "-c", f"{end}nft -f - <<'RULES'\n{_CUT}\nRULES"], timeout_s=_EXEC_TIMEOUT_S)

    def proof(self) -> list[str]:
        """Tell what the neighbour reaches no more; nothing as long as one of both answers."""
        seen = self._neighbour.exec(
            [
                "bash", "-c",
                f"ping -c 1 -W 1 {self._address} >/dev/null && echo ping; "
                f"timeout 1 bash -c '</dev/tcp/{self._address}/10250' 2>/dev/null && echo kubelet; true",
            ],
            timeout_s=_EXEC_TIMEOUT_S,
        )  # fmt: skip
        if seen.strip():
            answered = " and ".join(seen.split())
            self.unproven = f"{self._neighbour.name} still reaches {self._node.name} ({self._address}): {answered}"
            return []
        return [
            f"{self._neighbour.name} gets no answer to a ping of {self._node.name} ({self._address})",
            f"{self._neighbour.name} cannot connect to its kubelet",
        ]

    def heal(self) -> None:
        """Connect the node again."""
        script = (
            f"systemctl stop {TIMER}.timer 2>/dev/null; "
            f"if nft list table inet {TABLE} >/dev/null 2>&1; then nft delete table inet {TABLE}; fi"
        )
        self._node.exec(["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S)


class DnsDown(Fault):
    """Names resolve no more: CoreDNS is scaled away, or all its pods are killed and nobody told its controller."""

    names = tuple(f"CoreDNS {how}" for how in get_args(DnsHow))
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, kube: Kube, how: DnsHow, replicas: int, pods: dict[str, str]) -> None:
        """Aim at CoreDNS.

        Args:
            kube: the cluster.
            how: killed, or scaled away.
            replicas: how many it has.
            pods: its pods, name to UID.
        """
        self.name = f"CoreDNS {how}"
        self.target = "deployment/kube-system/coredns"
        self._kube = kube
        self._how = how
        self._replicas = replicas
        self._pods = pods

    def inject(self) -> None:
        """Scale CoreDNS to nothing, or kill its pods without grace."""
        if self._how == "scaled away":
            self._kube.patch("Deployment", _DNS[0], {"spec": {"replicas": 0}}, _DNS[1])
            return
        for pod in self._pods:
            self._kube.delete("Pod", pod, _DNS[1], grace_s=0)

    def proof(self) -> list[str]:
        """Tell that every pod that answered for names is gone, and, scaled away, that nobody took their place."""
        try:
            here = {pod["metadata"]["uid"] for pod in self._kube.list("Pod", _DNS[1], labels="k8s-app=kube-dns")} & set(
                self._pods.values()
            )
            slices = self._kube.list("EndpointSlice", _DNS[1], labels="kubernetes.io/service-name=kube-dns")
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        answering = [one for each in slices for one in each.get("endpoints") or []]
        if here or (self._how == "scaled away" and answering):
            self.unproven = f"{len(here)} of its pods are there, {len(answering)} endpoints answer"
            return []
        facts = [f"pod {name} with uid {uid} is gone" for name, uid in sorted(self._pods.items())]
        return facts + (["Service kube-dns has no endpoint"] if not answering else [])

    def heal(self) -> None:
        """Give CoreDNS its replicas back, if the procedure did not."""
        found = self._kube.get("Deployment", *_DNS)
        if found is not None and not found["spec"].get("replicas"):
            self._kube.patch("Deployment", _DNS[0], {"spec": {"replicas": self._replicas}}, _DNS[1])


@dataclass(frozen=True)
class Proxy:
    """kube-proxy on one node."""

    node: Node
    pid: int


class ServicesLeadNowhere(Fault):
    """kube-proxy is dead or wedged on every node, and its rules are gone: every Service is an address without a way.

    Dead kube-proxies alone stop nobody: their rules stay. A wedged one (SIGSTOP) is a running container to kubelet, and
    its DaemonSet has no liveness probe.
    """

    names = tuple(f"kube-proxy {how}, rules flushed" for how in get_args(ProxyHow))
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, proxies: Sequence[Proxy], how: ProxyHow) -> None:
        """Aim at all kube-proxies."""
        self.name = f"kube-proxy {how}, rules flushed"
        self.target = "daemonset/kube-system/kube-proxy"
        self._proxies = proxies
        self._how = how
        self._flushed: dict[str, int] = {}

    def inject(self) -> None:
        """Kill or stop each kube-proxy, then flush its rules: a living one would put them back."""
        signal = {"killed": "KILL", "wedged": "STOP"}[self._how]
        flush = " && ".join(f"iptables -w -t nat -F {chain}" for chain in CHAINS)
        for proxy in self._proxies:
            self._flushed[proxy.node.name] = _rules(proxy.node, f"kill -{signal} {proxy.pid} && {flush} && ")

    def proof(self) -> list[str]:
        """Tell what became of every kube-proxy and of its rules; nothing as long as one is as it was.

        Rules of a killed one come back with its successor, within a second; so they are counted right after the flush.
        """
        facts = []
        for proxy in self._proxies:
            name = proxy.node.name
            state = _run(proxy.node, f"cut -d' ' -f3 /proc/{proxy.pid}/stat 2>/dev/null || echo gone").strip()
            if self._how == "wedged":
                left = _rules(proxy.node) if state == "T" else -1
            else:
                left = self._flushed.get(name, -1) if state in ("gone", "Z") else -1
            if left:
                self.unproven = f"kube-proxy (process {proxy.pid}) on {name} has state {state}, {left} rules are left"
                return []
            what = "does nothing (state T)" if state == "T" else "is gone"
            facts += [f"kube-proxy (process {proxy.pid}) on {name} {what}", f"{name} had no rule left for any Service"]
        return facts

    def heal(self) -> None:
        """End the kube-proxies that are still stopped; kubelet starts new ones, which write all rules anew.

        Raises:
            EnvironmentFailed: some nodes failed; says which, and why. The others are healed all the same.

        """
        each((proxy.node.name, partial(_end_stopped, proxy)) for proxy in self._proxies)


def _end_stopped(proxy: Proxy) -> None:
    stopped = f"grep -qs '^{proxy.pid} (kube-proxy) T' /proc/{proxy.pid}/stat"
    _run(proxy.node, f"if {stopped}; then kill -KILL {proxy.pid}; fi")


def node_cut_off(node: Node, neighbour: Node, kube: Kube, lasts_s: float | None = None) -> NodeCutOff:
    """Make the fault that cuts a node off.

    Args:
        node: the one that is cut off.
        neighbour: another one, which must see it now.
        kube: the cluster.
        lasts_s: the cut ends by itself after so many seconds; None for one that stays.

    Raises:
        UsageError: the cluster has no such node, it is its own neighbour, or the time is none.
        KubeError: the API server did not say.
    """
    found = kube.get("Node", node.name)
    addresses = ((found or {}).get("status") or {}).get("addresses") or []
    address = next((str(one["address"]) for one in addresses if one["type"] == "InternalIP"), "")
    if not address:
        raise UsageError(f"node_cut_off: found no address of a node {node.name!r}, accepted: a node of the cluster")
    if node.name == neighbour.name:
        raise UsageError(f"node_cut_off {node.name}: found itself as neighbour, accepted: another node")
    if lasts_s is not None and not lasts_s > 0:
        raise UsageError(f"node_cut_off {node.name}: found lasts_s={lasts_s!r}, accepted: more than 0, or None")
    return NodeCutOff(node, neighbour, address, lasts_s)


def dns_down(kube: Kube, how: DnsHow = "scaled away") -> DnsDown:
    """Make the fault that takes CoreDNS away, and note its pods.

    Raises:
        UsageError: no CoreDNS runs there as kubeadm sets it up.
        KubeError: the API server did not say.
    """
    if how not in ("killed", "scaled away"):
        raise UsageError(f"dns_down: found how={how!r}, accepted: killed, scaled away")
    deployment = kube.get("Deployment", *_DNS)
    pods = {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in kube.list("Pod", _DNS[1], labels="k8s-app=kube-dns")
        if "deletionTimestamp" not in pod["metadata"]
    }
    if deployment is None or not pods:
        found = "no Deployment kube-system/coredns" if deployment is None else "no pod of CoreDNS"
        raise UsageError(f"dns_down: found {found}, accepted: a cluster whose names CoreDNS resolves")
    return DnsDown(kube, how, int(deployment["spec"].get("replicas", 1)), pods)


def services_lead_nowhere(nodes: Sequence[Node], how: ProxyHow = "wedged") -> ServicesLeadNowhere:
    """Make the fault that takes kube-proxy and its rules away on the given nodes, which should be all.

    Raises:
        UsageError: a node has no kube-proxy, or one whose rules are not in iptables.
    """
    if how not in ("killed", "wedged"):
        raise UsageError(f"services_lead_nowhere: found how={how!r}, accepted: killed, wedged")
    proxies = []
    for node in nodes:
        pid = _run(node, "pgrep -x kube-proxy || true").split()
        if len(pid) != 1 or not _rules(node):
            raise UsageError(
                f"services_lead_nowhere: found {len(pid)} kube-proxies with {_rules(node)} rules on {node.name}, "
                "accepted: one, in iptables mode"
            )
        proxies.append(Proxy(node, int(pid[0])))
    return ServicesLeadNowhere(proxies, how)


def _rules(node: Node, first: str = "") -> int:
    """Count the rules that lead to Services, after doing something else first in the same breath."""
    count = "; ".join(f"iptables -w -t nat -S {chain} 2>/dev/null" for chain in CHAINS)
    said = _run(node, f"{first}{{ {count}; }} | grep -c '^-A' || true").strip()
    try:
        return int(said)
    except ValueError as error:
        raise EnvironmentFailed(f"the rules on {node.name} could not be counted: {said!r}") from error


def _run(node: Node, script: str) -> str:
    return node.exec(["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S)
