"""Bringing lost Secrets back: docs/runbooks/secrets-restore.md.

No content of a Secret is logged or recorded: only digests are, and what is written to disk is encrypted.
"""

from __future__ import annotations

import hashlib
import json
import tempfile
from collections.abc import Mapping
from pathlib import Path
from secrets import token_hex
from typing import Any

from drills.bucket import Bucket, Stored, fetch, put
from drills.drill import Drill
from drills.errors import EnvironmentFailed
from drills.faults.secret import used_by
from drills.kube import Kube, Manifest, present
from drills.procedures.velero import Backup, Velero
from drills.redaction import keep_secret

RECIPIENT = "drills@drills.invalid"
READY_WITHIN_S = 120.0
_SERVERS_OWN = ("uid", "resourceVersion", "creationTimestamp", "managedFields", "ownerReferences")


class Secrets:
    """What the runbook does with the Secrets of one namespace."""

    def __init__(
        self, drill: Drill, kube: Kube, namespace: str, kubectl: Path, kubeconfig: Path, store: Bucket, keys: Path
    ) -> None:
        """Say where they are.

        Args:
            drill: the drill.
            kube: the cluster.
            namespace: theirs.
            kubectl: the program.
            kubeconfig: for it.
            store: where encrypted exports go.
            keys: a directory for the GPG key, outside the cluster. Its path must be short: GPG's sockets are in it.
        """
        self._drill = drill
        self._kube = kube
        self._namespace = namespace
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig), "--namespace", namespace]
        self._store = store
        self._keys = keys

    def digests(self, labels: str | None = None) -> dict[str, str]:
        """Return what the Secrets hold, as digests by name; of those with the labels, or all."""
        return {
            one["metadata"]["name"]: hashlib.sha256(
                json.dumps([one.get("type"), one.get("data")], sort_keys=True).encode()
            ).hexdigest()
            for one in self._kube.list("Secret", self._namespace, labels=labels)
        }

    def add(self, name: str, labels: Mapping[str, str]) -> None:
        """Make one more Secret, as another application's would be in the same namespace."""
        self._kube.apply(
            {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {"name": name, "labels": dict(labels)},
                "stringData": {"token": keep_secret(token_hex(16))},
            },
            self._namespace,
        )

    def restore(self, velero: Velero, backup: Backup, labels: str = "") -> None:
        """Restore the Secrets of a backup and nothing else; those with the labels, or all.

        Raises:
            ProcedureFailed: Velero failed, or said something else than Completed.
        """
        # Velero completes a restore of nothing, too.
        kind = "configmaps" if self._drill.leaves_out("procedure") else "secrets"
        velero.restore_only(backup, kind, labels)

    def restart_pods(self) -> None:
        """Start the pods that wait for a Secret anew, and wait for the workload.

        They would start by themselves, but the pauses between kubelet's tries grow to two minutes.

        Raises:
            WaitTimeout: the workload was not ready in time.
        """
        with self._drill.step("restart the pods that wait for a Secret", "kubectl -n NAMESPACE delete pod POD"):
            for pod in self._kube.list("Pod", self._namespace):
                started = any(one.get("started") for one in (pod.get("status") or {}).get("containerStatuses") or [])
                if present(pod) and used_by(pod) and not started:
                    self._drill.commands.run(
                        [*self._kubectl, "delete", "pod", pod["metadata"]["name"], "--wait=false"], timeout_s=30
                    )
        with self._drill.step(
            "wait for the workload",
            f"kubectl -n {self._namespace} rollout status deployment,statefulset,daemonset",
            by="kubernetes",
        ):
            self._kube.wait_for_workloads(
                self._namespace, what="the workload is ready", within_s=self._drill.at_most(READY_WITHIN_S)
            )

    def are_as(self, before: Mapping[str, str]) -> None:
        """Check that exactly these Secrets are there, with the content that they had."""
        now = self.digests()
        missing, foreign = sorted(before.keys() - now.keys()), sorted(now.keys() - before.keys())
        changed = sorted(name for name in before.keys() & now.keys() if before[name] != now[name])
        self._drill.check(
            "the Secrets are back as they were",
            before == now,
            f"{', '.join(sorted(before))} unchanged",
            f"missing: {missing}, changed: {changed}, not asked for: {foreign}",
        )

    # By hand, without Velero

    def make_key(self) -> None:
        """Make the key pair that exports are encrypted for; its private half stays outside cluster and object store.

        Raises:
            EnvironmentFailed: GPG failed.
        """
        self._gpg("--quick-generate-key", RECIPIENT, "future-default", "default", "never", fails_as=EnvironmentFailed)

    def export(self) -> Stored:
        """Export the Secrets, encrypt them, and put the file into the object store; notes the recovery point.

        Raises:
            EnvironmentFailed: GPG failed.
            KubeError: the API server did not say.
        """
        taken = self._drill.history.clock.now()
        found = [_portable(one) for one in self._kube.list("Secret", self._namespace)]
        text = json.dumps({"apiVersion": "v1", "kind": "List", "items": found})
        with tempfile.TemporaryDirectory() as scratch:
            file = Path(scratch) / "secrets.json.gpg"
            self._gpg(
                "--trust-model", "always", "--recipient", RECIPIENT, "--output", str(file), "--encrypt",
                input=text, fails_as=EnvironmentFailed,
            )  # fmt: skip
            content = file.read_bytes()
        export = put(self._store, f"secrets/{self._namespace}-{taken.utc:%Y%m%dT%H%M%SZ}.json.gpg", content)
        self._drill.backup("gpg-export", export.key, taken, sha256=export.sha256, secrets=len(found), size=len(content))
        return export

    def import_(self, export: Stored) -> None:
        """Fetch an export, decrypt it and apply it.

        Raises:
            ProcedureFailed: the file is not the one that was exported, cannot be decrypted, or was refused.
        """
        if self._drill.leaves_out("procedure"):  # nobody kept the private key
            self._gpg("--yes", "--delete-secret-keys", self._fingerprint())
        with tempfile.TemporaryDirectory() as scratch:
            encrypted, plain = Path(scratch) / "secrets.json.gpg", Path(scratch) / "secrets.json"
            with self._drill.step(
                "fetch the export", f"aws s3 cp s3://{self._store.bucket}/{export.key} secrets.json.gpg"
            ):
                encrypted.write_bytes(fetch(self._store, export))
            with self._drill.step("decrypt it", "gpg --decrypt --output secrets.json secrets.json.gpg"):
                self._gpg("--output", str(plain), "--decrypt", str(encrypted))
            with self._drill.step("apply it", "kubectl apply --filename secrets.json"):
                self._drill.commands.run([*self._kubectl, "apply", "--filename", str(plain)], timeout_s=60)

    def _fingerprint(self) -> str:
        listed = self._gpg("--with-colons", "--list-secret-keys")
        return next(line.split(":")[9] for line in listed.splitlines() if line.startswith("fpr:"))

    def _gpg(self, *arguments: str, **options: Any) -> str:  # noqa: ANN401 - the options of Commands.run
        return self._drill.commands.run(
            ["gpg", "--homedir", str(self._keys), "--batch", "--pinentry-mode", "loopback", "--passphrase", "",
             *arguments],
            timeout_s=60, **options,
        ).stdout  # fmt: skip


def _portable(secret: Manifest) -> Manifest:
    """Leave out what the server itself wrote: with a resourceVersion in it nothing can be made anew."""
    metadata = {key: value for key, value in secret["metadata"].items() if key not in _SERVERS_OWN}
    return {**secret, "apiVersion": "v1", "kind": "Secret", "metadata": metadata}
