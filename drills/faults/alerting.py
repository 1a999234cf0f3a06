"""Faults of what watches: nobody is told of anything any more, and nothing else changes."""

from __future__ import annotations

from drills.errors import BadReading, UsageError
from drills.faults import BlastRadius, Fault
from drills.faults.backup import Limit
from drills.kube import RIDDEN_OUT, Kube
from drills.waiting import in_a_line

ALERTMANAGER = "alertmanager"

_CANNOT_TELL: tuple[type[Exception], ...] = (*RIDDEN_OUT, BadReading, OSError)


class AlertmanagerScaledAway(Fault):
    """Alertmanager is scaled to nothing: alerts still fire, and nobody hears of them.

    The proof is that it has no pod left, and that the heartbeat which always arrives stays away.
    """

    name = "Alertmanager scaled away"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, kube: Kube, namespace: str, heartbeat: Limit) -> None:
        """Aim at the Alertmanager of a namespace.

        Args:
            kube: the cluster.
            namespace: where it runs, as a Deployment whose pods carry its name as the label `app`.
            heartbeat: says how long ago the last heartbeat arrived, and how long ago it may have, in seconds.

        Raises:
            UsageError: there is none, or it has no replicas.

        """
        found = kube.get("Deployment", ALERTMANAGER, namespace)
        self.target = f"deployment/{namespace}/{ALERTMANAGER}"
        self._kube = kube
        self._namespace = namespace
        self._heartbeat = heartbeat
        self._replicas = int((found or {"spec": {}})["spec"].get("replicas", 0))
        if not self._replicas:
            raise UsageError(f"alertmanager_scaled_away: found no {self.target}, accepted: one that has replicas")

    def inject(self) -> None:
        """Scale it to nothing."""
        self._scale(0)

    def proof(self) -> list[str]:
        """Tell that it has no pod and how long ago the last heartbeat was, once that is too long ago."""
        try:
            pods = self._kube.list("Pod", self._namespace, labels=f"app={ALERTMANAGER}")
            age_s, allowed_s = self._heartbeat()
        except _CANNOT_TELL as trouble:
            self.unproven = in_a_line(trouble)
            return []
        if pods or age_s <= allowed_s:
            self.unproven = (
                f"{len(pods)} pods are there; the last heartbeat was {age_s:.0f} s ago ({allowed_s:.0f} s allowed)"
            )
            return []
        return [f"{self.target} has no pod", f"the last heartbeat was {age_s:.0f} s ago, over {allowed_s:.0f} s"]

    def heal(self) -> None:
        """Give it its replicas back, if the procedure did not."""
        found = self._kube.get("Deployment", ALERTMANAGER, self._namespace)
        if found is not None and not found["spec"].get("replicas"):
            self._scale(self._replicas)

    def _scale(self, replicas: int) -> None:
        self._kube.patch("Deployment", ALERTMANAGER, {"spec": {"replicas": replicas}}, self._namespace)


def alertmanager_scaled_away(kube: Kube, namespace: str, heartbeat: Limit) -> AlertmanagerScaledAway:
    """Make the fault that scales Alertmanager to nothing; `heartbeat` gives its last one's age and what that may be.

    Raises:
        UsageError: there is none, or it has no replicas.

    """
    return AlertmanagerScaledAway(kube, namespace, heartbeat)
