"""Faults that a GitOps controller suffers from: its kinds are gone, or a Service that it needs leads nowhere."""

from __future__ import annotations

from collections.abc import Mapping

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import RIDDEN_OUT, Kube, describe
from drills.waiting import in_a_line

DEFINITION = "CustomResourceDefinition"
CUT = {"drills.dev/nowhere": "yes"}
"""What the selector of a Service that is cut off asks for besides: no pod has it."""


class DefinitionsDeleted(Fault):
    """Someone deletes the definitions of an operator's kinds, and with them every object of these kinds, everywhere."""

    name = "definitions deleted"
    blast_radius = BlastRadius.CLUSTER

    def __init__(self, kube: Kube, group: str, definitions: Mapping[str, str]) -> None:
        """Aim at the definitions of a group.

        Args:
            kube: the cluster.
            group: the API group.
            definitions: their UIDs by name.

        """
        self.target = f"definitions of {group}: {', '.join(sorted(definitions))}"
        self._kube = kube
        self._definitions = definitions

    def inject(self) -> None:
        """Ask for the deletion of each and wait for nothing."""
        for name, uid in self._definitions.items():
            self._kube.delete(DEFINITION, name, uid=uid)

    def proof(self) -> list[str]:
        """Tell that all of those UIDs are gone; an API server that does not answer proves nothing."""
        try:
            left = [one for one in self._kube.list(DEFINITION) if one["metadata"]["uid"] in self._definitions.values()]
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        if left:
            self.unproven = "; ".join(f"{one['metadata']['name']}: {describe(one)}" for one in left[:3])
            return []
        return [f"definition {name} with uid {uid} is gone" for name, uid in sorted(self._definitions.items())]

    def heal(self) -> None:
        """Do nothing: bringing them back is the procedure's."""


class ServiceCutOff(Fault):
    """A Service loses its pods, which run on: someone changed its selector."""

    name = "service cut off"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, kube: Kube, namespace: str, service: str) -> None:
        """Aim at one Service."""
        self.target = f"service/{namespace}/{service}"
        self._kube = kube
        self._namespace = namespace
        self._service = service

    def inject(self) -> None:
        """Let the selector ask for what no pod has."""
        self._kube.patch("Service", self._service, {"spec": {"selector": CUT}}, self._namespace)

    def proof(self) -> list[str]:
        """Tell that the Service is there and leads to no pod; an API server that does not answer proves nothing."""
        try:
            there = self._kube.get("Service", self._service, self._namespace)
            left = endpoints(self._kube, self._namespace, self._service)
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        self.unproven = f"{self.target} leads to {', '.join(left)}" if there else f"{self.target} is gone itself"
        return [f"{self.target} has no endpoint"] if there and not left else []

    def heal(self) -> None:
        """Take away what was added to the selector, where the procedure did not."""
        found = self._kube.get("Service", self._service, self._namespace)
        if found is not None and CUT.items() <= (found["spec"].get("selector") or {}).items():
            nothing = dict.fromkeys(CUT)
            self._kube.patch("Service", self._service, {"spec": {"selector": nothing}}, self._namespace)


def endpoints(kube: Kube, namespace: str, service: str) -> list[str]:
    """Return the addresses that a Service leads to now.

    Raises:
        KubeError: the API server did not say.

    """
    slices = kube.list("EndpointSlice", namespace, labels=f"kubernetes.io/service-name={service}")
    return sorted(
        address
        for one in slices
        for endpoint in one.get("endpoints") or []
        if (endpoint.get("conditions") or {}).get("ready", True)
        for address in endpoint["addresses"]
    )


def definitions_deleted(kube: Kube, group: str) -> DefinitionsDeleted:
    """Make the fault that deletes all definitions of an API group, such as "argoproj.io".

    Raises:
        UsageError: the cluster has none of that group.
        KubeError: the API server did not say.

    """
    found = {one["metadata"]["name"]: one["metadata"]["uid"] for one in kube.list(DEFINITION) if _group(one) == group}
    if not found:
        groups = ", ".join(sorted({_group(one) for one in kube.list(DEFINITION)})) or "no group"
        raise UsageError(f"definitions_deleted: found no definition of {group!r}, accepted: one of {groups}")
    return DefinitionsDeleted(kube, group, found)


def service_cut_off(kube: Kube, namespace: str, service: str) -> ServiceCutOff:
    """Make the fault that leaves a Service without pods, by way of its selector.

    Raises:
        UsageError: there is no such Service, or it leads to no pod now.
        KubeError: the API server did not say.

    """
    if not endpoints(kube, namespace, service):
        state = "none of that name" if kube.get("Service", service, namespace) is None else "one without endpoints"
        raise UsageError(
            f"service_cut_off {namespace}/{service}: found {state}, accepted: a Service that leads to pods"
        )
    return ServiceCutOff(kube, namespace, service)


def _group(definition: Mapping[str, object]) -> str:
    spec = definition["spec"]
    return str(spec["group"]) if isinstance(spec, dict) else ""
