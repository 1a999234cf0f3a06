"""Faults of a namespace's Secrets."""

from __future__ import annotations

from drills.errors import UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import RIDDEN_OUT, Kube, Manifest, describe
from drills.waiting import in_a_line


class SecretsDeleted(Fault):
    """All Secrets of a namespace are deleted, and the pods that use them start anew.

    A running pod keeps what it has mounted, so the deletion alone harms nobody until a pod starts: at the next update,
    on the next node. The fault does not wait for that day. Its proof wants both ends: every Secret of that UID is
    gone, and a pod that started afterwards cannot, because Kubernetes finds no Secret for it.
    """

    name = "Secrets deleted"
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, kube: Kube, namespace: str, *, secrets: dict[str, str], pods: dict[str, str]) -> None:
        """Aim at a namespace as it is now.

        Args:
            kube: the cluster.
            namespace: its name.
            secrets: its Secrets, UID by name.
            pods: the pods that use one of them, UID by name.

        """
        self.target = f"secrets of namespace/{namespace}: {', '.join(sorted(secrets))}"
        self._kube = kube
        self._namespace = namespace
        self._secrets = secrets
        self._pods = pods

    def inject(self) -> None:
        """Delete the Secrets, then the pods, with the grace that any restart gives them."""
        for name, uid in self._secrets.items():
            self._kube.delete("Secret", name, self._namespace, uid=uid)
        for name in self._pods:
            self._kube.delete("Pod", name, self._namespace)

    def proof(self) -> list[str]:
        """Tell what is gone and which pod cannot start; an API server that does not answer proves nothing."""
        try:
            found = self._kube.list("Secret", self._namespace)
            left = [one for one in found if one["metadata"]["uid"] in self._secrets.values()]
            stuck = [] if left else self._stuck()
        except RIDDEN_OUT as trouble:
            self.unproven = in_a_line(trouble)
            return []
        self.unproven = "; ".join(f"Secret {one['metadata']['name']}: {describe(one)}" for one in left[:3])
        self.unproven = self.unproven or "every Secret is gone, and no pod that began since then has complained of it"
        if left or not stuck:
            return []
        return [*(f"Secret {name} with uid {uid} is gone" for name, uid in sorted(self._secrets.items())), *stuck]

    def heal(self) -> None:
        """Do nothing: bringing the Secrets back is the procedure's, not the harness's."""

    def _stuck(self) -> list[str]:
        """Name the pods that began after the fault and wait for a Secret."""
        former = set(self._pods.values())
        begun = {
            pod["metadata"]["uid"]: pod["metadata"]["name"]
            for pod in self._kube.list("Pod", self._namespace)
            if pod["metadata"]["uid"] not in former
        }
        told = {}
        for event in self._kube.events(self._namespace):
            uid, message = event["involvedObject"].get("uid"), str(event.get("message", ""))
            # The same words from a failed mount and from a container whose environment names the Secret.
            if uid in begun and "secret" in message and "not found" in message:
                told[uid] = f"pod {begun[uid]} with uid {uid} cannot start: {event.get('reason')}: {message}"
        return sorted(told.values())


def secrets_deleted(kube: Kube, namespace: str) -> SecretsDeleted:
    """Make the fault that deletes all Secrets of a namespace and restarts the pods that use them.

    Raises:
        UsageError: the namespace has no Secret, or no pod that uses one: nobody would notice.
        KubeError: the API server did not say.

    """
    secrets = {one["metadata"]["name"]: one["metadata"]["uid"] for one in kube.list("Secret", namespace)}
    pods = {
        pod["metadata"]["name"]: pod["metadata"]["uid"]
        for pod in kube.list("Pod", namespace)
        if used_by(pod) & secrets.keys()
    }
    if not pods:
        found = f"Secrets {', '.join(sorted(secrets))}, used by no pod" if secrets else "no Secret"
        raise UsageError(f"secrets_deleted {namespace!r}: found {found}, accepted: a namespace whose pods use a Secret")
    return SecretsDeleted(kube, namespace, secrets=secrets, pods=pods)


def used_by(pod: Manifest) -> set[str]:
    """Name the Secrets that a pod cannot start without: mounted ones, and those its environment is taken from."""
    spec = pod["spec"]
    volumes = [volume.get("secret") for volume in spec.get("volumes") or []]
    containers = [*(spec.get("initContainers") or []), *spec["containers"]]
    sources = [source.get("secretRef") for one in containers for source in one.get("envFrom") or []]
    keys = [(env.get("valueFrom") or {}).get("secretKeyRef") for one in containers for env in one.get("env") or []]
    found = [one.get("secretName") or one.get("name") for one in (*volumes, *sources, *keys) if _needed(one)]
    return {str(name) for name in found}


def _needed(reference: Manifest | None) -> bool:
    return bool(reference) and not (reference or {}).get("optional")
