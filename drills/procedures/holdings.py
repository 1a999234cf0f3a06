"""What a Velero backup holds: asked of the backup itself, for its phase is Completed whatever it left out."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from fnmatch import fnmatchcase

from drills.faults.budget import selects
from drills.kube import Condition, Kube, Manifest, Manifests, NotFound

VELERO = "velero"
KEPT = ("PersistentVolumeClaim", "StatefulSet", "Deployment", "DaemonSet")
"""Kinds by which a backup that was made by label or kind is compared with a whole one: what holds data or runs pods."""

SYNC_TAKES = timedelta(seconds=5)
"""How long a round through a store may have been under way when something changed."""

_LABEL = 63
_EVERYTHING: tuple[list[str] | None, ...] = (None, [], ["*"])
_OPT_IN, _OPT_OUT = "backup.velero.io/backup-volumes", "backup.velero.io/backup-volumes-excludes"
_EXCLUDED = "velero.io/exclude-from-backup"
_BESIDE_THE_POINT = ("volumesnapshot", "volumegroupsnapshot", "event", "node", "backup", "restore", "podvolume")
"""Beginnings of kinds that a backup may leave out and still hold its namespaces: Velero leaves out snapshots by itself
where it takes none."""


def includes(spec: Manifest, namespace: str) -> bool:
    """Tell whether a backup's or schedule's namespaces take one in.

    No list, an empty one and "*" take in all, less those that are excluded; both lists may hold patterns with *, ? and
    [abc] (velero 1.18, pkg/util/wildcard/expand.go and pkg/util/collections/includes_excludes.go).
    """
    if any(fnmatchcase(namespace, pattern) for pattern in spec.get("excludedNamespaces") or []):
        return False
    return any(fnmatchcase(namespace, pattern) for pattern in spec.get("includedNamespaces") or ["*"])


def chosen_by(spec: Manifest) -> str:
    """Say by what a backup chooses within its namespaces; empty where it takes all that is in them."""
    told = []
    if selector := spec.get("labelSelector"):
        told.append(f"label {_selector(selector)}")
    if selectors := spec.get("orLabelSelectors"):
        told.append("label " + " or ".join(map(_selector, selectors)))
    for key, words in (
        ("includedResources", "kinds"),
        ("includedNamespaceScopedResources", "kinds"),
        ("excludedResources", "all kinds but"),
        ("excludedNamespaceScopedResources", "all kinds but"),
    ):
        if spec.get(key) in _EVERYTHING:
            continue
        kinds = spec[key] if key.startswith("included") else _that_matter(spec[key])
        if kinds:
            told.append(f"{words} {', '.join(kinds)}")
    return "; ".join(told)


def valid_label(name: str) -> str:
    """Return a name as Velero writes it into labels: one of over 63 characters is cut and told apart by its digest."""
    if len(name) <= _LABEL:
        return name
    return name[: _LABEL - 6] + hashlib.sha256(name.encode()).hexdigest()[:6]


def volume_backups(kube: Kube, backup: str) -> Manifests:
    """Return what a backup made of volumes' files."""
    return kube.list("velero.io/v1/PodVolumeBackup", VELERO, labels=f"velero.io/backup-name={valid_label(backup)}")


def synced_since(moment: datetime | None) -> Condition:
    """Make a condition that holds when Velero has gone through a whole storage location, after a moment or at all.

    A location's `lastSyncedTime` is written at the end of a round through its store, when every backup that is there
    was taken over, or could not be (velero 1.18, pkg/controller/backup_sync_controller.go).
    """

    def holds(location: Manifest | None) -> bool:
        at = ((location or {}).get("status") or {}).get("lastSyncedTime")
        return bool(at) and (moment is None or datetime.fromisoformat(str(at)) > moment)

    return holds


class Holdings:
    """What the backups in a cluster hold, each asked once: a backup does not change any more."""

    def __init__(self, kube: Kube, describe: Callable[[str], str], note: Callable[[str], None]) -> None:
        """Say whom to ask.

        Args:
            kube: the cluster.
            describe: returns what `velero backup describe --details --output json` says of a backup; empty if nothing.
            note: keeps a finding for the record.
        """
        self._kube = kube
        self._describe = describe
        self._note = note
        self._contents: dict[str, dict[str, set[str]] | None] = {}
        self._noted: set[str] = set()

    def holding(self, backups: Iterable[Manifest], namespace: str) -> Manifests:
        """Return those that hold a namespace, in their order, which must be the newest first.

        A backup that names the namespace and chooses nothing within it holds it. Whether any other one does is asked of
        its contents: the namespace may be younger than a backup of all of them, and a label says nothing of what had
        it. One that was chosen by label or kind and lacks what the next whole one has is passed over, with a note.
        """
        candidates = [one for one in backups if includes(one["spec"], namespace)]
        held = []
        for at, one in enumerate(candidates):
            if (within := self._within(one, namespace)) is False:
                continue
            if chosen := chosen_by(one["spec"]):
                whole = next((each for each in candidates[at + 1 :] if not chosen_by(each["spec"])), None)
                lacking = self._lacking(within, whole, namespace)
                if lacking:
                    self._say(f"backup {_name(one)} ({chosen}) is passed over: it lacks {', '.join(sorted(lacking))}")
                    continue
            held.append(one)
        return held

    def _within(self, backup: Manifest, namespace: str) -> dict[str, set[str]] | bool:
        """Return what a backup holds in a namespace by kind; True if that is not known, False if it holds nothing."""
        spec = backup["spec"]
        if namespace in (spec.get("includedNamespaces") or []) and not chosen_by(spec):
            return True
        contents = self._contents_of(_name(backup))
        if contents is not None:
            within = _of_namespace(contents, namespace)
            return within or False
        # Without the store's word there is the cluster's own: whose volumes it holds.
        claims = {_claim(one) for one in volume_backups(self._kube, _name(backup)) if _pod_namespace(one) == namespace}
        if claims:
            return {"PersistentVolumeClaim": claims - {""}}
        if chosen_by(spec):
            self._say(f"backup {_name(backup)} is passed over: what it holds could not be asked")
            return False
        self._say(f"what backup {_name(backup)} holds could not be asked: it is taken at its word")
        return True

    def _lacking(self, within: dict[str, set[str]] | bool, whole: Manifest | None, namespace: str) -> set[str]:
        contents = self._contents_of(_name(whole)) if whole is not None else None
        if not isinstance(within, dict) or contents is None:
            return set()
        there = _of_namespace(contents, namespace)
        return {f"{kind.lower()} {name}" for kind in KEPT for name in there.get(kind, set()) - within.get(kind, set())}

    def _contents_of(self, backup: str) -> dict[str, set[str]] | None:
        """Return what a backup holds, as "namespace/name" by kind; None if nobody says."""
        if backup not in self._contents:
            self._contents[backup] = _resources(self._describe(backup))
        return self._contents[backup]

    def _say(self, text: str) -> None:
        if text not in self._noted:
            self._noted.add(text)
            self._note(text)


# Volumes


@dataclass(frozen=True)
class Claims:
    """The bound claims of a namespace at one moment, the pods that use them, and the volumes behind them."""

    claims: dict[str, Manifest]
    pods: Manifests
    volumes: dict[str, Manifest]


@dataclass(frozen=True)
class Gap:
    """What a backup does not hold of the claims that were bound when it was made, with the reason for each.

    Attributes:
        bound: how many there were.
        missing: nobody said that they may be missing.
        left_out: somebody did: an annotation, a label, or what the backup chooses by.
    """

    bound: int
    missing: dict[str, str] = field(default_factory=dict)
    left_out: dict[str, str] = field(default_factory=dict)


def bound_claims(kube: Kube, namespace: str) -> Claims:
    """Note a namespace's bound claims, before a backup is made of it."""
    claims = {
        one["metadata"]["name"]: one
        for one in kube.list("PersistentVolumeClaim", namespace)
        if (one.get("status") or {}).get("phase") == "Bound"
    }
    if not claims:
        return Claims({}, [], {})
    volumes = {one["metadata"]["name"]: one for one in kube.list("PersistentVolume")}
    return Claims(claims, kube.list("Pod", namespace), volumes)


def gap(kube: Kube, backup: Manifest, namespace: str, before: Claims) -> Gap:
    """Compare the claims that were bound with what the backup made of volumes: files, snapshots, or moved snapshots.

    Raises:
        KubeError: the API server did not say.
    """
    held = _held(kube, backup, namespace, before)
    missing: dict[str, str] = {}
    left_out: dict[str, str] = {}
    for name in sorted(before.claims.keys() - held):
        wanted, why = _why_missing(name, backup, before)
        (missing if wanted else left_out)[name] = why
    return Gap(len(before.claims), missing, left_out)


def _held(kube: Kube, backup: Manifest, namespace: str, before: Claims) -> set[str]:
    """Name the claims whose volumes a backup holds."""
    name = _name(backup)
    by_label = f"velero.io/backup-name={valid_label(name)}"
    held = set()
    for one in volume_backups(kube, name):
        if _phase(one) == "Completed" and _pod_namespace(one) == namespace:
            held.add(_claim(one) or _claim_of_pod(one, before.pods))
    for one in _if_known(kube, "velero.io/v2alpha1/DataUpload", VELERO, by_label):
        if _phase(one) == "Completed" and (one.get("spec") or {}).get("sourceNamespace") == namespace:
            held.add(str(one["spec"].get("sourcePVC", "")))
    handles = {
        ((one.get("spec") or {}).get("source") or {}).get("volumeHandle")
        for one in _if_known(kube, "snapshot.storage.k8s.io/v1/VolumeSnapshotContent", None, by_label)
        if (one.get("status") or {}).get("readyToUse")
    } - {None}
    for claim in before.claims:
        if (_volume_of(claim, before).get("csi") or {}).get("volumeHandle") in handles:
            held.add(claim)
    # Snapshots by Velero's own plugins are counted in the backup's status; which volumes they are of is known in the
    # store alone. So only a full count, of a backup of nothing else, speaks for those that are left.
    left = {name for name in before.claims.keys() - held if not _on_a_node(_volume_of(name, before))}
    alone = (backup.get("spec") or {}).get("includedNamespaces") == [namespace]
    return held | (left if alone and 0 < len(left) <= _snapshots(backup) else set())


def _why_missing(claim: str, backup: Manifest, before: Claims) -> tuple[bool, str]:
    """Say why a claim's volume is not in a backup, and whether it should be."""
    spec = backup.get("spec") or {}
    found, volume = before.claims[claim], _volume_of(claim, before)
    users = [(pod, name) for pod in before.pods for name in _volumes_of(pod, claim)]
    for one in [found, *(pod for pod, _ in users)]:
        if (one["metadata"].get("labels") or {}).get(_EXCLUDED) == "true":
            return False, f"label {_EXCLUDED}"
    if users and all(name in _annotated(pod, _OPT_OUT) for pod, name in users):
        return False, f"annotation {_OPT_OUT}"
    if chosen := _chosen_away([found, *(pod for pod, _ in users)], spec):
        return False, f"the backup takes {chosen}"
    if _snapshots(backup) and not _on_a_node(volume):
        return False, f"{_snapshots(backup)} snapshots were made, and of which volumes only the store knows"
    if "hostPath" in volume:
        return True, "a hostPath volume, which Velero skips"
    if not [pod for pod, _ in users if (pod.get("status") or {}).get("phase") == "Running"]:
        return True, "no running pod mounts it, and Velero reads files by way of one"
    if not spec.get("defaultVolumesToFsBackup") and not any(name in _annotated(pod, _OPT_IN) for pod, name in users):
        return (
            True,
            "not asked for as files (--default-volumes-to-fs-backup, annotation of the pod), nor snapshotted",
        )
    return True, "no completed file backup or snapshot of it"


def _chosen_away(concerned: Manifests, spec: Manifest) -> str:
    """Say by what a backup passes over a claim and all pods that mount it; empty if it takes one of them in."""
    selectors = [one for one in [spec.get("labelSelector"), *(spec.get("orLabelSelectors") or [])] if one]
    if selectors and not any(
        selects(one, each["metadata"].get("labels") or {}) for one in selectors for each in concerned
    ):
        return chosen_by(spec)
    for key in ("includedResources", "includedNamespaceScopedResources"):
        if spec.get(key) not in _EVERYTHING and not _of_volumes(spec[key]):
            return chosen_by(spec)
    for key in ("excludedResources", "excludedNamespaceScopedResources"):
        if _of_volumes(spec.get(key) or []):
            return chosen_by(spec)
    return ""


def _of_volumes(kinds: Iterable[str]) -> list[str]:
    """Return those without which no volume is in a backup: pods and their claims."""
    return [
        kind
        for kind in kinds
        if kind in ("pods", "pod", "po", "persistentvolumeclaims", "persistentvolumeclaim", "pvc")
    ]


def _that_matter(kinds: Iterable[str]) -> list[str]:
    return [kind for kind in kinds if not kind.startswith(_BESIDE_THE_POINT)]


def _volume_of(claim: str, before: Claims) -> Manifest:
    volume = before.volumes.get(before.claims[claim]["spec"].get("volumeName", "")) or {}
    return volume.get("spec") or {}


def _on_a_node(volume: Manifest) -> bool:
    """Tell whether a volume is a directory or disk of one node, of which nobody can take a snapshot."""
    return "hostPath" in volume or "local" in volume


def _snapshots(backup: Manifest) -> int:
    return int((backup.get("status") or {}).get("volumeSnapshotsCompleted", 0))


def _of_namespace(contents: dict[str, set[str]], namespace: str) -> dict[str, set[str]]:
    within = {
        kind: {name.partition("/")[2] for name in names if name.startswith(f"{namespace}/")}
        for kind, names in contents.items()
    }
    return {kind: names for kind, names in within.items() if names}


def _resources(described: str) -> dict[str, set[str]] | None:
    try:
        told = json.loads(described)
    except ValueError:
        return None
    listed = (told.get("status") or {}).get("resourceList") if isinstance(told, dict) else None
    if not isinstance(listed, dict):
        return None
    return {str(kind).rpartition("/")[2]: {str(name) for name in names or []} for kind, names in listed.items()}


def _if_known(kube: Kube, kind: str, namespace: str | None, labels: str) -> Manifests:
    try:
        return kube.list(kind, namespace, labels=labels)
    except NotFound:  # no such kind in this cluster, so none of it
        return []


def _claim(volume_backup: Manifest) -> str:
    return str((volume_backup["metadata"].get("annotations") or {}).get("velero.io/pvc-name", ""))


def _claim_of_pod(volume_backup: Manifest, pods: Sequence[Manifest]) -> str:
    """Find the claim by way of the pod, for file backups of a Velero that does not write it down."""
    spec = volume_backup.get("spec") or {}
    for pod in pods:
        if pod["metadata"]["name"] == (spec.get("pod") or {}).get("name"):
            for one in (pod.get("spec") or {}).get("volumes") or []:
                if one["name"] == spec.get("volume"):
                    return _claim_name(pod, one)
    return ""


def _volumes_of(pod: Manifest, claim: str) -> list[str]:
    """Name a pod's volumes that are a claim's."""
    return [one["name"] for one in (pod.get("spec") or {}).get("volumes") or [] if _claim_name(pod, one) == claim]


def _claim_name(pod: Manifest, volume: Manifest) -> str:
    if "ephemeral" in volume:  # its claim is named so by Kubernetes
        return f"{pod['metadata']['name']}-{volume['name']}"
    return str((volume.get("persistentVolumeClaim") or {}).get("claimName", ""))


def _annotated(pod: Manifest, annotation: str) -> list[str]:
    text = (pod["metadata"].get("annotations") or {}).get(annotation) or ""
    return [one.strip() for one in text.split(",")]


def _pod_namespace(volume_backup: Manifest) -> str:
    return str(((volume_backup.get("spec") or {}).get("pod") or {}).get("namespace", ""))


def _selector(selector: Manifest) -> str:
    labels = [f"{key}={value}" for key, value in (selector.get("matchLabels") or {}).items()]
    for one in selector.get("matchExpressions") or []:
        labels.append(f"{one.get('key')} {one.get('operator')} {', '.join(one.get('values') or [])}".strip())
    return ", ".join(labels)


def _phase(found: Manifest) -> str:
    return str((found.get("status") or {}).get("phase", ""))


def _name(found: Manifest) -> str:
    return str(found["metadata"]["name"])
