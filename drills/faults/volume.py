"""Faults of one volume's data, while the pod that uses it runs on."""

from __future__ import annotations

from collections.abc import Callable

from drills.errors import EnvironmentFailed, UsageError
from drills.faults import BlastRadius, Fault
from drills.kube import Kube
from drills.nodes import Node

_EXEC_TIMEOUT_S = 60.0


class VolumeRuined(Fault):
    """The files of a volume are deleted, or overwritten with random bytes, behind the back of the pod that uses them.

    The pod is not told: a process goes on with what it has open, and may acknowledge writes into files that are no
    more. The proof comes from the node: not one file with content is left as it was.
    """

    names = ("volume emptied", "volume overwritten")
    blast_radius = BlastRadius.NAMESPACE

    def __init__(self, node: Node, claim: str, path: str, *, overwrite: bool) -> None:
        """Aim at one volume as it is now.

        Args:
            node: the node that holds it.
            claim: the claim, as namespace/name.
            path: the volume's directory on the node.
            overwrite: write random bytes over the files instead of deleting them.

        """
        self.name = "volume overwritten" if overwrite else "volume emptied"
        self.target = f"volume of claim/{claim} on {node.name}"
        self.claims = (claim,)
        self._node = node
        self._path = path
        self._overwrite = overwrite
        self._before = self._files()

    def inject(self) -> None:
        """Ruin every file, in one command."""
        find = ["find", self._path, "-mindepth", "1"]
        if self._overwrite:
            command = [*find, "-type", "f", "-size", "+0", "-exec", "shred", "--iterations=1", "--exact", "{}", "+"]
        else:
            command = [*find, "-delete"]
        try:
            self._node.exec(command, timeout_s=_EXEC_TIMEOUT_S)
        except EnvironmentFailed:
            # The pod goes on making and removing files under it; whether enough was ruined is for the proof to say.
            self._node.exec(command, timeout_s=_EXEC_TIMEOUT_S)

    def proof(self) -> list[str]:
        """Tell how many files are ruined, once all are; files that are made anew since then are none of them."""
        if not self._before:
            return []
        now = self._files()
        left = sum(now.get(name) == identity for name, identity in self._before.items())
        self.unproven = f"{left} of {len(self._before)} files of {self._path} are as they were"
        done = "overwritten" if self._overwrite else "gone"
        return [] if left else [f"all {len(self._before)} files of {self._path} are {done} or changed"]

    def heal(self) -> None:
        """Do nothing: bringing the data back is the procedure's, not the harness's."""

    def _files(self) -> dict[str, str]:
        """Return what tells each file with content from what may stand in its place: inode, time and digest."""
        script = (
            'cd "$0" 2>/dev/null || exit 0; find . -type f -size +0 -printf "%p %i-%T@\\n"; echo; '
            "find . -type f -size +0 -exec sha256sum {} + 2>/dev/null || true"
        )
        told = self._node.exec(["sh", "-c", script, self._path], timeout_s=_EXEC_TIMEOUT_S)
        times, _, digests = told.partition("\n\n")
        changed = dict(line.rsplit(" ", 1) for line in times.splitlines() if line)
        held = {line[66:]: line[:64] for line in digests.splitlines()}
        return {name: f"{changed[name]}-{held[name]}" for name in changed.keys() & held.keys()}


def volume_emptied(kube: Kube, namespace: str, claim: str, node: Callable[[str], Node]) -> VolumeRuined:
    """Make the fault that deletes all files of a volume.

    Args:
        kube: the cluster.
        namespace: the claim's namespace.
        claim: the claim.
        node: gives the node of a name.

    Raises:
        UsageError: there is no such claim, it is not bound, or its volume is no directory of a node; or it is a CSI
            driver's, and no pod uses it.
        KubeError: the API server did not say.

    """
    return _ruined(kube, namespace, claim, node, overwrite=False)


def volume_overwritten(kube: Kube, namespace: str, claim: str, node: Callable[[str], Node]) -> VolumeRuined:
    """Make the fault that writes random bytes over all files of a volume; see `volume_emptied`."""
    return _ruined(kube, namespace, claim, node, overwrite=True)


def _ruined(kube: Kube, namespace: str, claim: str, node: Callable[[str], Node], *, overwrite: bool) -> VolumeRuined:
    found = kube.get("PersistentVolumeClaim", claim, namespace)
    if found is None:
        there = ", ".join(sorted(one["metadata"]["name"] for one in kube.list("PersistentVolumeClaim", namespace)))
        raise UsageError(f"volume of {namespace}/{claim}: found no such claim, accepted: one of {there or 'none'}")
    volume = found["spec"].get("volumeName") or "-"
    spec = (kube.get("PersistentVolume", volume) or {}).get("spec") or {}
    if "csi" in spec:
        node_name, path = _mounted(kube, namespace, claim, volume)
        return VolumeRuined(node(node_name), f"{namespace}/{claim}", path, overwrite=overwrite)
    path = (spec.get("local") or spec.get("hostPath") or {}).get("path", "")
    terms = ((spec.get("nodeAffinity") or {}).get("required") or {}).get("nodeSelectorTerms") or []
    names = [
        value
        for term in terms
        for one in (*term.get("matchExpressions", []), *term.get("matchFields", []))
        for value in one["values"]
    ]
    if not path or not names:
        raise UsageError(
            f"volume of {namespace}/{claim}: found {sorted(spec) or 'none bound'}, accepted: a directory of one node"
        )
    return VolumeRuined(node(names[0]), f"{namespace}/{claim}", path, overwrite=overwrite)


def _mounted(kube: Kube, namespace: str, claim: str, volume: str) -> tuple[str, str]:
    """Return the node on which a CSI driver's volume is mounted for its pod, and the directory there."""
    for pod in kube.list("Pod", namespace):
        claims = {(one.get("persistentVolumeClaim") or {}).get("claimName") for one in pod["spec"].get("volumes") or []}
        if claim in claims and pod["spec"].get("nodeName"):
            pods = f"/var/lib/kubelet/pods/{pod['metadata']['uid']}"
            return pod["spec"]["nodeName"], f"{pods}/volumes/kubernetes.io~csi/{volume}/mount"
    raise UsageError(f"volume of {namespace}/{claim}: found no pod that uses it, accepted: one that does")
