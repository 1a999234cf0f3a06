"""Faults of the services that make a machine a node: kubelet and containerd, dead or wedged."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.nodes import Node

How: TypeAlias = Literal["killed", "wedged"]

HEALTH_CHECKS = {
    "kubelet": "curl --silent --fail --max-time 1 http://127.0.0.1:10248/healthz",
    "containerd": "timeout 2 crictl --timeout 1s version",
}
"""What a service answers as long as it works, asked on the node."""

_EXEC_TIMEOUT_S = 30.0


class ServiceDown(Fault):
    """A node's service is gone, or is there and does nothing. The node's pods go on running.

    Killed alone is no disaster: systemd starts it again within a second. So the unit is told not to, for as long as the
    fault lasts. A wedged process is stopped (SIGSTOP): systemd calls it active, its port still takes connections, and
    nobody answers.
    """

    names = tuple(f"{service} {how}" for service in HEALTH_CHECKS for how in get_args(How))
    blast_radius = BlastRadius.NODE

    def __init__(self, node: Node, service: str, how: How, pid: int) -> None:
        """Aim at one service.

        Args:
            node: where it runs.
            service: its unit, one of `HEALTH_CHECKS`.
            how: killed, or wedged.
            pid: its process now.
        """
        self.name = f"{service} {how}"
        self.target = f"service/{node.name}/{service}"
        self._node = node
        self._service = service
        self._how = how
        self._pid = pid
        self._drop_in = f"/run/systemd/system/{service}.service.d/99-drills.conf"

    def inject(self) -> None:
        """Kill the service so that it stays dead, or stop its process."""
        if self._how == "wedged":
            self._run(f"kill -STOP {self._pid}")
            return
        self._run(
            f"mkdir -p $(dirname {self._drop_in}) && printf '[Service]\\nRestart=no\\n' >{self._drop_in} "
            f"&& systemctl daemon-reload && kill -KILL {self._pid}"
        )

    def proof(self) -> list[str]:
        """Tell what became of the process, once the service also fails its health check."""
        state, healthy = self._run(
            f"cut -d' ' -f3 /proc/{self._pid}/stat 2>/dev/null || echo gone; "
            f"{HEALTH_CHECKS[self._service]} >/dev/null 2>&1 && echo healthy || echo silent"
        ).split()
        wanted = {"killed": ("gone", "Z"), "wedged": ("T",)}[self._how]
        if healthy != "silent" or state not in wanted:
            self.unproven = f"process {self._pid} has state {state}, and its health check says {healthy}"
            return []
        found = "does nothing (state T)" if state == "T" else "is gone"
        return [
            f"process {self._pid} of {self._service} on {self._node.name} {found}",
            f"{self._service} on {self._node.name} fails its health check",
        ]

    def heal(self) -> None:
        """Let systemd look after the service again, and have it run, if the procedure did not."""
        self._run(
            f"if [ -e {self._drop_in} ]; then rm {self._drop_in} && systemctl daemon-reload; fi; "
            f"if grep -qs '^{self._pid} ({self._service}) T' /proc/{self._pid}/stat; then kill -CONT {self._pid}; fi; "
            f"systemctl start {self._service}"
        )

    def _run(self, script: str) -> str:
        return self._node.exec(["sh", "-c", script], timeout_s=_EXEC_TIMEOUT_S)


def service_down(node: Node, service: str, how: How = "killed") -> ServiceDown:
    """Make the fault that kills or wedges a service of a node, and note which process it is now.

    Raises:
        UsageError: the service is not known, or does not run on the node.
    """
    if service not in HEALTH_CHECKS:
        raise UsageError(f"service_down: found service {service!r}, accepted: {', '.join(HEALTH_CHECKS)}")
    if how not in ("killed", "wedged"):
        raise UsageError(f"service_down {service}: found how={how!r}, accepted: killed, wedged")
    said = node.exec(["systemctl", "show", service, "--property=MainPID", "--value"], timeout_s=_EXEC_TIMEOUT_S)
    pid = int(said.strip() or 0)
    if not pid:
        raise UsageError(f"service_down: found no process of {service} on {node.name}, accepted: a service that runs")
    return ServiceDown(node, service, how, pid)
