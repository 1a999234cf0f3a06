"""What is known of a file-level copy of a running pod's volumes: whether a hook made it whole, what ended meanwhile.

A backup of a live database's files is worth what its timing makes it. PostgreSQL starts from a copy by replaying WAL
from the checkpoint that the copied `pg_control` names. If a checkpoint ended while the files were read, that may be
later than pages that were read before it, and nothing brings those up to date: the copy starts, and is silently
corrupt. Only a hook that makes files which do not change (a base backup, a dump), or that keeps all of them from
changing, rules that out.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from drills.clock import stamp
from drills.drill import Drill
from drills.kube import Kube, KubeError, Manifest

HOOKS = ("pre.hook.backup.velero.io/command", "post.hook.backup.velero.io/command")
"""The annotations of a pod by which Velero runs a command in it before and after its volumes are copied."""

OF_BACKUP = "velero.io/backup-name"
NONE, UNKNOWN = "none", "unknown"
RACE = (
    "one sample of a race: the files of a running pod were copied without a hook, and what they are worth depends on "
    "what was written meanwhile"
)
NO_CHECKPOINT = "no checkpoint ended while the live volume was read"

_SECOND = timedelta(seconds=1)
"""Velero keeps the times of a copy to the second: what ended in the same second may have ended inside."""

_READY = "database system is ready to accept connections"
_PLAIN = re.compile(r"^(\d{4}-\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?) UTC .*? LOG:\s+(.*)$")
_ORDER = re.compile(r"^listing order: (.+)$", re.MULTILINE)
_LONGEST = 300


@dataclass(frozen=True)
class Copy:
    """How the volumes of a backup were copied.

    Attributes:
        hooks: by pod, the commands that ran around its copy; `none` where there was none.
        attempted: how many commands Velero says that it tried, of all pods together.
        failed: how many of them failed.
        began: when the first volume began to be read; None where no volume was.
        ended: when the last one was through, a second later at most.
        checkpoints_inside: how many checkpoints of a PostgreSQL in these pods ended between the two, by its own log;
            None where no log says it: no such database, checkpoints that are not logged, a log that begins too late.
        read_order: in which order the database's directory lists its files, which is that in which they are read, where
            its log says it (`listing order: ...`, as `ls -U` prints it).
    """

    hooks: dict[str, str]
    attempted: int
    failed: int
    began: datetime | None
    ended: datetime | None
    checkpoints_inside: int | None
    read_order: str = UNKNOWN

    @property
    def is_a_race(self) -> bool:
        """Whether the files of a running pod were copied without a hook that ran."""
        return self.began is not None and (NONE in self.hooks.values() or not self.attempted or self.failed > 0)

    @property
    def hook(self) -> str:
        """The hooks in words."""
        if self.is_a_race and not self.attempted:
            return NONE
        said = sorted({text if len(self.hooks) == 1 else f"{pod}: {text}" for pod, text in self.hooks.items()})
        return ("; ".join(said) or NONE)[:_LONGEST]

    def facts(self) -> dict[str, object]:
        """Return what the record of a drill says of it; nothing where no volume was copied."""
        if self.began is None or self.ended is None:
            return {}
        return {
            "hook": self.hook,
            "hooks_attempted": self.attempted,
            "hooks_failed": self.failed,
            "copy_began_utc": stamp(self.began),
            "copy_ended_utc": stamp(self.ended),
            "one_sample_of_a_race": self.is_a_race,
            "read_order": self.read_order,
            "checkpoints_inside": UNKNOWN if self.checkpoints_inside is None else self.checkpoints_inside,
        }


def copy_of(kube: Kube, backup: Manifest, volume_backups: Sequence[Manifest]) -> Copy:
    """Find out how a backup copied its volumes, from the backup, the pods that it was taken of, and their logs.

    Args:
        kube: the cluster that the pods run in.
        backup: Velero's Backup.
        volume_backups: its PodVolumeBackups.
    """
    hook_status = (backup.get("status") or {}).get("hookStatus") or {}
    read = [one for one in volume_backups if (one.get("status") or {}).get("startTimestamp")]
    pods = {(one["spec"]["pod"]["namespace"], one["spec"]["pod"]["name"]) for one in read}
    found = {(namespace, name): kube.get("Pod", name, namespace) or {} for namespace, name in sorted(pods)}
    began = min((_moment(one["status"]["startTimestamp"]) for one in read), default=None)
    # One that never ended was cut off: what ended since then ended inside.
    ends = [_moment(one["status"].get("completionTimestamp") or stamp(datetime.now(UTC))) for one in read]
    ended = max(ends, default=None)
    inside, orders = None, []
    if began and ended:
        logs = [log for (namespace, name), pod in found.items() for log in _logs(kube, name, namespace, pod)]
        known = [count for log in logs if (count := checkpoints(log, began, ended + _SECOND)) is not None]
        inside = sum(known) if known else None
        orders = [order[1].strip() for log in logs if (order := _ORDER.search(log))]
    return Copy(
        {name: _hook(pod) for (_, name), pod in found.items()},
        int(hook_status.get("hooksAttempted", 0)), int(hook_status.get("hooksFailed", 0)), began, ended, inside,
        "; ".join(orders)[:_LONGEST] or UNKNOWN,
    )  # fmt: skip


def restored_nothing(volume_backups: Sequence[Manifest], volume_restores: Sequence[Manifest]) -> list[str]:
    """Return the volumes of which nothing was restored although the backup had something, as POD/VOLUME.

    A restore of nothing, like a verification of nothing, ends as Completed.
    """
    held = {_volume(one): _bytes(one) for one in volume_backups}
    return sorted(
        "/".join(_volume(one)) for one in volume_restores if held.get(_volume(one), 0) > 0 and not _bytes(one)
    )


def _volume(one: Manifest) -> tuple[str, str]:
    return one["spec"]["pod"]["name"], one["spec"]["volume"]


def _bytes(one: Manifest) -> int:
    return int(((one.get("status") or {}).get("progress") or {}).get("bytesDone", 0))


def disturbed(drill: Drill) -> dict[str, int]:
    """Return the backups that the drill has noted and that are worth nothing: how many checkpoints ended in each.

    Only copies of running pods without a hook that worked can be disturbed.
    """
    noted = {event.fields["name"]: event.fields["identity"] for event in drill.history.events("backup")}
    return {
        name: inside
        for name, said in noted.items()
        if said.get("one_sample_of_a_race") and isinstance(inside := said.get("checkpoints_inside"), int) and inside
    }


def weigh(drill: Drill, kube: Kube, namespace: str, name: str) -> None:
    """Note what a restore of a backup can prove at best, before it is made.

    A copy of a running pod's files without a hook that worked is a caveat; one in which a checkpoint is known to have
    ended is a failed check, however sound what comes back looks.

    Args:
        drill: the drill, whose own record is asked first: it knows more than Velero keeps.
        kube: the cluster in which Velero knows the backup.
        namespace: Velero's.
        name: the backup's.
    """
    noted = [event.fields["identity"] for event in drill.history.events("backup") if event.fields["name"] == name]
    if noted:
        race, inside = bool(noted[-1].get("one_sample_of_a_race")), noted[-1].get("checkpoints_inside")
    else:
        found = kube.get("velero.io/v1/Backup", name, namespace) or {}
        race = is_a_race(found, kube.list("velero.io/v1/PodVolumeBackup", namespace, labels=f"{OF_BACKUP}={name}"))
        inside = None
    if not race:
        return
    drill.caveat(RACE)
    if isinstance(inside, int):
        drill.check(NO_CHECKPOINT, not inside, "none", inside or "none")


def is_a_race(backup: Manifest, volume_backups: Sequence[Manifest]) -> bool:
    """Whether a backup, by what Velero keeps of it, copied volumes of running pods without any hook that worked."""
    hook_status = (backup.get("status") or {}).get("hookStatus") or {}
    attempted, failed = int(hook_status.get("hooksAttempted", 0)), int(hook_status.get("hooksFailed", 0))
    return bool(volume_backups) and (attempted == 0 or failed > 0)


def checkpoints(log: str, began: datetime, ended: datetime) -> int | None:
    """Count the checkpoints that a PostgreSQL's log says to have ended in a time; None where it cannot say."""
    entries = [entry for entry in map(_entry, log.splitlines()) if entry]
    since = next((at for at, said in entries if _READY in said), None)
    logged = [at for at, said in entries if said.startswith(("checkpoint complete", "checkpoint starting"))]
    # A server that has logged none may be told not to, and a log that begins after the copy knows nothing of it.
    if since is None or not logged or min(since, entries[0][0]) > began:
        return None
    return sum(began <= at < ended for at, said in entries if said.startswith("checkpoint complete"))


def _entry(line: str) -> tuple[datetime, str] | None:
    """Read a line of PostgreSQL's log, as it writes it itself (in UTC) or as CloudNativePG wraps it."""
    plain = _PLAIN.match(line)
    if plain:
        return datetime.fromisoformat(plain[1]).replace(tzinfo=UTC), plain[2]
    if not line.startswith("{"):
        return None
    try:
        record = json.loads(line).get("record") or {}
        return datetime.fromisoformat(str(record["log_time"]).replace(" UTC", "+00:00")), str(record["message"])
    except (ValueError, KeyError, AttributeError, TypeError):
        return None


def _logs(kube: Kube, name: str, namespace: str, pod: Manifest) -> Iterable[str]:
    for container in (pod.get("spec") or {}).get("containers") or []:
        try:
            yield kube.logs(name, namespace, container=container["name"])
        except KubeError:  # a container that has not started has copied nothing, and no log is no answer
            continue


def _hook(pod: dict[str, Any]) -> str:
    annotations = (pod.get("metadata") or {}).get("annotations") or {}
    said = [f"{key.partition('.')[0]}: {annotations[key]}" for key in HOOKS if annotations.get(key)]
    return "; ".join(said) or NONE


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text)
