"""Backup and restore with Velero: docs/runbooks/namespace-restore.md.

Velero says Completed for a backup that skipped a volume, and for a restore whose volume data is still in flight; so its
phases are waited for and never believed: whether the data is back is asked of the workload.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from drills.clock import stamp
from drills.drill import Drill
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed
from drills.kube import VELERO_ENDED, Kube, Manifest, deployment_available, velero_phase
from drills.procedures import copies, holdings, results
from drills.shell import command_line
from drills.waiting import wait_until

NAMESPACE = "velero"
BACKUP_TIMEOUT_S = 300.0
RESTORE_TIMEOUT_S = 600.0
BEGUN_WITHIN_S = 60.0
RESTARTED_WITHIN_S = 120.0
_SAYS_WITHIN_S = 60.0
_TOLD = 5
AUDIT_LOG = "audit.jsonl"


@dataclass(frozen=True)
class Backup:
    """A completed backup.

    Attributes:
        name: its name in Velero.
        namespace: what it holds.
        started: when Velero began it: writes acknowledged later need not be in it.
        alone: it holds nothing but this namespace, so that all of it may be restored.
    """

    name: str
    namespace: str
    started: datetime
    alone: bool = True


class Velero:
    """Velero in one cluster, told what to do by its own command line, as the runbook says.

    Attributes:
        whole: backups hold the volumes even where the drill's procedure is sabotaged: another part of it is then the
            decisive one, and is left out.
    """

    def __init__(self, drill: Drill, kube: Kube, program: Path, kubeconfig: Path, user: str = "administrator") -> None:
        """Say where it is, and who tells it what to do.

        Args:
            drill: the drill.
            kube: the cluster, to look at what Velero did.
            program: the `velero` program.
            kubeconfig: for it; holds the right to do what is asked.
            user: whose kubeconfig it is, for the audit log.
        """
        self.whole = False
        self._user = user
        self._drill = drill
        self._kube = kube
        self._program = program
        self._kubeconfig = kubeconfig
        self._restores = 0
        self._holdings = holdings.Holdings(kube, self._described, self._note)

    def backup(
        self,
        namespace: str,
        *,
        ttl: str = "720h",
        schedule: str = "",
        name: str = "",
        fails_as: type[DrillError] = EnvironmentFailed,
        meanwhile: Callable[[], object] | None = None,
    ) -> Backup:
        """Back a namespace up, its volumes' files included, and note the recovery point that it offers.

        Velero says Completed where it skipped a volume. So the claims that are bound now are compared with what the
        backup made of volumes: one that it lacks is a failed check, and one that an annotation, a label or the backup's
        own selector leaves out is a caveat of the drill.

        Args:
            namespace: what to back up.
            ttl: how long Velero keeps it.
            schedule: a schedule to make it from now, out of turn; what it holds and its ttl are then the schedule's.
            name: its name; by default the namespace's with the time of day.
            fails_as: what it means here that it did not complete: without one there is nothing to rehearse, or, as a
                step of the procedure, ProcedureFailed.
            meanwhile: called again and again until the backup has ended.

        Raises:
            EnvironmentFailed: (or `fails_as`) the backup did not complete.
        """
        name = name or self._new_name(namespace)
        before = holdings.bound_claims(self._kube, namespace)
        holds = ["--from-schedule", schedule] if schedule else [*self._holding(namespace), "--ttl", ttl]
        wait = [] if meanwhile else ["--wait"]
        self._create("backup", name, *holds, *wait, timeout_s=BACKUP_TIMEOUT_S, fails_as=fails_as)
        if meanwhile:
            self._until_ended(name, meanwhile)
        status = self._note_end("backup", name)
        if status.get("phase") != "Completed":
            raise fails_as(f"backup {name} ended as {self._how_it_ended('backup', name, status)}")
        files = holdings.volume_backups(self._kube, name)
        found = self._kube.get("velero.io/v1/Backup", name, NAMESPACE) or {}
        backup = Backup(name, namespace, _moment(status["startTimestamp"]), alone=_alone(found, namespace))
        lacking = holdings.gap(self._kube, found or {"metadata": {"name": name}}, namespace, before)
        self._drill.backup(
            "velero", name, backup.started,
            phase=status["phase"],
            expires=status.get("expiration", ""),
            items=(status.get("progress") or {}).get("itemsBackedUp", 0),
            volumes=len(files),
            volume_bytes=_bytes_in(files),
            volume_snapshots=",".join(sorted(one["status"].get("snapshotID", "") for one in files)),
            claims=lacking.bound,
            claims_missing=",".join(lacking.missing),
            claims_left_out=",".join(lacking.left_out),
            **copies.copy_of(self._kube, found, files).facts(),
        )  # fmt: skip
        self._judge(backup, lacking)
        return backup

    def _judge(self, backup: Backup, lacking: holdings.Gap) -> None:
        """Keep for the record what of the namespace's volumes a backup lacks."""
        for claim, why in lacking.left_out.items():
            self._drill.caveat(f"backup {backup.name} leaves out claim {backup.namespace}/{claim}: {why}")
        told = "; ".join(f"{claim}: {why}" for claim, why in lacking.missing.items())
        if told and self._drill.leaves_out("procedure") and not self.whole:  # meant so: the restore is to show it
            self._note(f"backup {backup.name} lacks volumes of {backup.namespace}, as was asked for: {told}")
        elif lacking.bound > len(lacking.left_out):
            expected = f"{lacking.bound - len(lacking.left_out)} claims"
            self._drill.check(
                f"backup {backup.name} holds the volumes of {backup.namespace}", not told, expected,
                f"missing: {told}" if told else expected,
            )  # fmt: skip

    def _until_ended(self, backup: str, meanwhile: Callable[[], object]) -> None:
        ended = velero_phase(*VELERO_ENDED)

        def once() -> bool:
            meanwhile()
            return ended(self._kube.get("velero.io/v1/Backup", backup, NAMESPACE))

        wait_until(once, what=f"backup {backup} has ended", within_s=BACKUP_TIMEOUT_S, every_s=0.2)

    def begin_backup(self, namespace: str, schedule: str = "") -> str:
        """Begin a backup, wait until it is under way, and return its name; see `end`.

        Args:
            namespace: what to back up.
            schedule: a schedule to make it from, as for `backup`.

        Raises:
            EnvironmentFailed: Velero refused.
            WaitTimeout: it did not begin.
        """
        name = self._new_name(namespace)
        holds = ["--from-schedule", schedule] if schedule else self._holding(namespace)
        self._create("backup", name, *holds, timeout_s=30, fails_as=EnvironmentFailed)
        self._wait_until_begun("backup", name)
        return name

    def begin_restore(self, backup: Backup, name: str) -> None:
        """Begin a restore of a backup and wait until it is under way; see `end`.

        Raises:
            ProcedureFailed: Velero refused.
            WaitTimeout: it did not begin.
        """
        self._create("restore", name, "--from-backup", backup.name, "--preserve-nodeports", timeout_s=30)
        self._wait_until_begun("restore", name)

    def end(self, kind: str, name: str, within_s: float) -> str:
        """Wait until a backup or restore that was begun has ended, and return its phase.

        Args:
            kind: "backup" or "restore".
            name: its name.
            within_s: how long that may take.

        Raises:
            WaitTimeout: it had not ended by then.
        """
        self._kube.wait_for(
            f"velero.io/v1/{kind.title()}", name, NAMESPACE, condition=velero_phase(*VELERO_ENDED),
            what=f"{kind} {name} has ended", within_s=within_s,
        )  # fmt: skip
        return str(self._note_end(kind, name).get("phase", ""))

    def move_queue(self) -> None:
        """Restart the server if its queue may stand still, so that the next backup begins.

        Raises:
            KubeError: the cluster refused.
            WaitTimeout: the server was not back in time.
        """
        if not queue_may_stand_still(self._kube):
            return
        with self._drill.step(
            "restart Velero, whose queue may stand still", f"kubectl -n {NAMESPACE} rollout restart deployment/velero"
        ):
            restart(self._kube, self._drill.at_most(RESTARTED_WITHIN_S))

    def schedule(
        self, namespace: str, cron: str, ttl: str = "720h", *, kind: str = "daily", paused: bool = False
    ) -> str:
        """Have backups of a namespace made at fixed times; return the schedule's name.

        Args:
            namespace: what to back up.
            cron: when, as in "0 2 * * *".
            ttl: how long Velero keeps them.
            kind: what the schedule is called after the namespace.
            paused: it makes none by itself.

        Raises:
            EnvironmentFailed: Velero refused it.
        """
        name = f"{namespace}-{kind}"
        self.run(
            "schedule", "create", name, "--schedule", cron, *self._holding(namespace), "--ttl", ttl,
            *(["--paused"] if paused else []), timeout_s=30, fails_as=EnvironmentFailed,
        )  # fmt: skip
        return name

    def unschedule(self, schedule: str) -> None:
        """Delete a schedule; its backups stay."""
        self.run("schedule", "delete", schedule, "--confirm", timeout_s=30, check=False)

    def newest(self, namespace: str) -> Backup:
        """Find the newest completed backup that holds a namespace, as the runbook's first step does; see `completed`.

        Raises:
            ProcedureFailed: there is none.
        """
        with self._drill.step("find the newest completed backup", "velero backup get"):
            self.run("backup", "get", timeout_s=30)
            found = self.completed(namespace)
            if not found:
                raise ProcedureFailed(f"no completed backup holds namespace {namespace}; {self._there_are()}")
            return found[0]

    def completed(self, namespace: str, timeout_s: float | None = None) -> list[Backup]:
        """Return the completed backups that hold a namespace, the newest first; `timeout_s` bounds the question.

        Backups of all namespaces (no list, "*") or by pattern hold it unless it is excluded, and if it was there. What
        one that was made by label or kind holds is asked of its contents: it must have what the next whole one has.
        """
        found = [
            one
            for one in self._kube.list("velero.io/v1/Backup", NAMESPACE, timeout_s=timeout_s)
            if (one.get("status") or {}).get("phase") == "Completed"
        ]
        found.sort(key=lambda one: _moment(one["status"]["startTimestamp"]), reverse=True)
        return [
            Backup(
                one["metadata"]["name"], namespace, _moment(one["status"]["startTimestamp"]),
                alone=_alone(one, namespace),
            )
            for one in self._holdings.holding(found, namespace)
        ]  # fmt: skip

    def restore(self, backup: Backup) -> None:
        """Restore a backup into its namespace and wait until volumes and pods are there again.

        Raises:
            ProcedureFailed: Velero failed, or said something else than Completed.
            WaitTimeout: the volumes' data or the pods were not there in time.
        """
        copies.weigh(self._drill, self._kube, NAMESPACE, backup.name)
        self._restores += 1
        name = f"{backup.name}-restore" + (f"-{self._restores}" if self._restores > 1 else "")
        self._restore(name, "restore the backup", *_from(backup), "--preserve-nodeports")
        self._wait_for_volumes(name)
        with self._drill.step(
            "wait for the workload",
            f"kubectl -n {backup.namespace} rollout status deployment,statefulset,daemonset",
            by="kubernetes",
        ):
            self._kube.wait_for_workloads(
                backup.namespace, what="the restored workload is ready", within_s=self._drill.at_most(300)
            )

    def restore_only(self, backup: Backup, kind: str, labels: str = "") -> None:
        """Restore the objects of one kind, those with the labels or all, into a namespace that is otherwise there.

        Args:
            backup: what to restore from.
            kind: the resource, as in "secrets".
            labels: a label selector; empty for all.

        Raises:
            ProcedureFailed: Velero failed, or said something else than Completed.
        """
        selector = ["--selector", labels] if labels else []
        self._restore(
            f"{backup.name}-{kind}", f"restore the {kind}", *_from(backup), "--include-resources", kind, *selector,
        )  # fmt: skip

    def restore_part(self, backup: Backup, app: str) -> None:
        """Restore what carries one value of the label `app`, and wait until its pods are ready: their volumes are then.

        Raises:
            ProcedureFailed: Velero failed, or said something else than Completed.
            WaitTimeout: the pods were not ready in time.
        """
        copies.weigh(self._drill, self._kube, NAMESPACE, backup.name)
        self._restore(
            f"{backup.name}-{app}", f"restore {app}", *_from(backup), "--selector", f"app={app}",
            "--preserve-nodeports",
        )  # fmt: skip
        with self._drill.step(
            f"wait for {app}",
            f"kubectl -n {backup.namespace} rollout status deployment,statefulset,daemonset -l app={app}",
            by="kubernetes",
        ):
            self._kube.wait_for_workloads(
                backup.namespace, labels=f"app={app}", what=f"{app} is ready", within_s=self._drill.at_most(300)
            )

    def restore_as(self, backup: Backup, namespace: str, modifiers: str) -> None:
        """Restore a backup into another namespace, beside the original, and wait for its volumes' data.

        Args:
            backup: what to restore.
            namespace: where to.
            modifiers: the ConfigMap with rules for what must not be as in the original, such as node ports.

        Raises:
            ProcedureFailed: Velero failed, or said something else than Completed.
            WaitTimeout: the volumes' data was not there in time.
        """
        copies.weigh(self._drill, self._kube, NAMESPACE, backup.name)
        name = f"{backup.name}-copy"
        self._restore(
            name, "restore the backup beside the original", *_from(backup),
            "--namespace-mappings", f"{backup.namespace}:{namespace}", "--resource-modifier-configmap", modifiers,
        )  # fmt: skip
        self._wait_for_volumes(name)

    def _wait_for_volumes(self, restore: str) -> None:
        selected = f"velero.io/restore-name={holdings.valid_label(restore)}"
        if not self._kube.list("velero.io/v1/PodVolumeRestore", NAMESPACE, labels=selected):
            return
        with self._drill.step("wait for the volumes' data", f"kubectl -n velero get podvolumerestores -l {selected}"):
            self._kube.wait_for_all(
                "velero.io/v1/PodVolumeRestore",
                NAMESPACE,
                labels=selected,
                condition=_phase_is("Completed"),
                what="the volumes' data is restored",
                within_s=self._drill.at_most(RESTORE_TIMEOUT_S),
            )

        found = self._kube.get("velero.io/v1/Restore", restore, NAMESPACE) or {}
        held = holdings.volume_backups(self._kube, str((found.get("spec") or {}).get("backupName", "")))
        nothing = copies.restored_nothing(
            held, self._kube.list("velero.io/v1/PodVolumeRestore", NAMESPACE, labels=selected)
        )
        if nothing:
            raise ProcedureFailed(f"restore {restore} restored nothing of volumes that the backup holds: {nothing}")

    def _restore(self, name: str, step: str, *arguments: str) -> None:
        with self._drill.step(step, f"velero restore create {name} {command_line(arguments)} --wait"):
            self._create("restore", name, *arguments, "--wait", timeout_s=RESTORE_TIMEOUT_S)
        status = self._note_end("restore", name)
        if status.get("phase") != "Completed":
            raise ProcedureFailed(f"restore {name} ended as {self._how_it_ended('restore', name, status)}")

    def _how_it_ended(self, kind: str, name: str, status: Manifest) -> str:
        """Say a backup's or restore's phase, and Velero's first error: its status has only their number."""
        told = [str(one) for one in [status.get("failureReason"), *(status.get("validationErrors") or [])[:1]] if one]
        if not told:
            self._said(kind, "logs", name)  # for whoever reads commands.log; what is quoted is the summary
            told = [results.first_error(self._said(kind, "describe", name)) or "Velero does not say why"]
        return f"{status.get('phase') or 'nothing'}: {told[0]}"

    def _described(self, backup: str) -> str:
        return self._said("backup", "describe", backup, "--details", "--output", "json", logged=False)

    def _said(self, *arguments: str, **options: Any) -> str:  # noqa: ANN401 - see `run`
        """Return what a command prints; nothing where it failed, which commands.log says."""
        try:
            return self.run(*arguments, timeout_s=_SAYS_WITHIN_S, check=False, **options)
        except ProcedureFailed:  # it did not end in time: the object store does not answer
            return ""

    def _there_are(self) -> str:
        """Say which backups there are, for whoever finds none that will do."""
        found = [
            f"{one['metadata']['name']} ({(one.get('status') or {}).get('phase') or 'New'} of "
            f"{', '.join(one['spec'].get('includedNamespaces') or ['all namespaces'])})"
            for one in self._kube.list("velero.io/v1/Backup", NAMESPACE)
        ]
        more = f" and {len(found) - _TOLD} more" if len(found) > _TOLD else ""
        return f"there are {', '.join(sorted(found)[:_TOLD]) or 'none'}{more}"

    def _note(self, text: str) -> None:
        self._drill.history.record("note", text=text)

    def server(self) -> str:
        """Return the name of the server's pod.

        Raises:
            EnvironmentFailed: there is none.
        """
        pods = [
            pod["metadata"]["name"]
            for pod in self._kube.list("Pod", NAMESPACE, labels="deploy=velero")
            if "deletionTimestamp" not in pod["metadata"]
        ]
        if not pods:
            raise EnvironmentFailed("Velero's server has no pod")
        return str(pods[0])

    def _create(self, kind: str, name: str, *arguments: str, **options: Any) -> None:  # noqa: ANN401 - see `run`
        try:
            self.run(kind, "create", name, *arguments, **options)
        except DrillError as refusal:
            self._audit(f"{kind}_create", name, "", refusal=str(refusal).splitlines()[0])
            raise

    def _wait_until_begun(self, kind: str, name: str) -> None:
        self._kube.wait_for(
            f"velero.io/v1/{kind.title()}", name, NAMESPACE, condition=velero_phase("InProgress", *VELERO_ENDED),
            what=f"{kind} {name} is under way", within_s=BEGUN_WITHIN_S,
        )  # fmt: skip

    def _note_end(self, kind: str, name: str) -> dict[str, Any]:
        """Write into the audit log how a backup or restore ended, and return its status."""
        found = self._kube.get(f"velero.io/v1/{kind.title()}", name, NAMESPACE) or {}
        status, spec = found.get("status") or {}, found.get("spec") or {}
        if kind == "backup":
            stored = _bytes_in(holdings.volume_backups(self._kube, name))
            details = {
                "namespaces": spec.get("includedNamespaces", []),
                "storage_location": spec.get("storageLocation", ""),
                "size": f"{stored / 1e6:.1f}MB",
            }
        else:
            details = {"backup": spec.get("backupName", "")}
        self._audit(f"{kind}_create", name, status.get("phase", ""), **details)
        return status

    def audited(self) -> list[str]:
        """Return the actions in the drill's audit log, in their order."""
        return [line["action"] for line in self._lines()]

    def is_audited(self, namespace: str) -> None:
        """Check that the audit log names every backup and restore of a namespace that the cluster has, and no other."""
        backups = {
            one["metadata"]["name"]
            for one in self._kube.list("velero.io/v1/Backup", NAMESPACE)
            if holdings.includes(one["spec"], namespace)
        }
        restores = {
            one["metadata"]["name"]
            for one in self._kube.list("velero.io/v1/Restore", NAMESPACE)
            if one["spec"].get("backupName") in backups
        }
        done = sorted({("backup_create", one) for one in backups} | {("restore_create", one) for one in restores})
        written = sorted({(line["action"], line["resource"]) for line in self._lines()})
        self._drill.check(
            "the audit log names every backup and restore", bool(done) and written == done,
            _said(done), _said(written),
        )  # fmt: skip

    def _lines(self) -> list[dict[str, Any]]:
        log = self._log
        return [json.loads(line) for line in log.read_text().splitlines()] if log and log.exists() else []

    @property
    def _log(self) -> Path | None:
        return self._drill.directory / AUDIT_LOG if self._drill.directory else None

    def _audit(self, action: str, resource: str, status: str, **details: object) -> None:
        """Write who did what, one JSON object a line, beside the drill's record."""
        if self._log is None:
            return
        line = {
            "timestamp": stamp(self._drill.clock.now().utc),
            "action": action,
            "user": self._user,
            "resource": resource,
            "status": "success" if status == "Completed" else "failure",
            "details": {"phase": status, **details},
        }
        with self._log.open("a", encoding="utf-8") as log:
            log.write(json.dumps(line, ensure_ascii=False) + "\n")

    def _new_name(self, namespace: str) -> str:
        return f"{namespace}-{self._drill.history.clock.now().utc:%H%M%S}"

    def _holding(self, namespace: str) -> list[str]:
        # Without its volumes' files a backup completes as well.
        volumes = self.whole or not self._drill.leaves_out("procedure")
        return [
            "--include-namespaces", namespace,
            f"--default-volumes-to-fs-backup={str(volumes).lower()}", "--snapshot-volumes=false",
        ]  # fmt: skip

    def run(self, *arguments: str, **options: Any) -> str:  # noqa: ANN401 - the options of Commands.run
        """Run a command of the `velero` program and return what it printed; the options are those of Commands.run."""
        return self._drill.commands.run(
            [self._program, "--kubeconfig", str(self._kubeconfig), "--namespace", NAMESPACE, *arguments], **options
        ).stdout


def queue_may_stand_still(kube: Kube) -> bool:
    """Tell whether no backup may leave Velero's queue any more: one failed its validation, and none is under way.

    Up to Velero 1.18.3 the server may count such a backup among those that run, for as long as it lives, and it runs no
    more than one at a time (velero issue 10519). Nothing tells from outside whether it does.
    """
    since = [
        pod["status"].get("startTime", "")
        for pod in kube.list("Pod", NAMESPACE, labels="deploy=velero")
        if "deletionTimestamp" not in pod["metadata"]
    ]
    if not since:
        return False
    phases = {
        (one.get("status") or {}).get("phase")
        for one in kube.list("velero.io/v1/Backup", NAMESPACE)
        if one["metadata"]["creationTimestamp"] >= min(since)
    }
    return "FailedValidation" in phases and phases.isdisjoint({"ReadyToStart", "InProgress"})


def restart(kube: Kube, within_s: float) -> None:
    """Restart Velero's server and wait until it is back.

    Raises:
        KubeError: the API server refused.
        WaitTimeout: it was not back in time.
    """
    now = {"metadata": {"annotations": {"kubectl.kubernetes.io/restartedAt": stamp(datetime.now(UTC))}}}
    kube.patch("Deployment", "velero", {"spec": {"template": now}}, NAMESPACE)
    kube.wait_for(
        "Deployment", "velero", NAMESPACE, condition=deployment_available, what="the Velero server is available",
        within_s=within_s,
    )  # fmt: skip


def _from(backup: Backup) -> list[str]:
    """Return the words that restore a backup's namespace and nothing else that it holds."""
    return ["--from-backup", backup.name, *([] if backup.alone else ["--include-namespaces", backup.namespace])]


def _alone(backup: Manifest, namespace: str) -> bool:
    return (backup.get("spec") or {}).get("includedNamespaces") == [namespace]


def _bytes_in(volume_backups: list[dict[str, Any]]) -> int:
    return sum(int(((one.get("status") or {}).get("progress") or {}).get("bytesDone", 0)) for one in volume_backups)


def _said(lines: list[tuple[str, str]]) -> str:
    return ", ".join(" ".join(line) for line in lines) or "nothing"


def _moment(stamp: str) -> datetime:
    return datetime.fromisoformat(stamp)


def _phase_is(phase: str) -> Callable[[dict[str, Any] | None], bool]:
    return lambda found: ((found or {}).get("status") or {}).get("phase") == phase
