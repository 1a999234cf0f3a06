"""Backup and restore by someone who may do nothing else: docs/runbooks/backup-operator.md."""

from __future__ import annotations

import base64
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import yaml

from drills.drill import Drill
from drills.kube import Denied, Kube, KubeError, Manifest
from drills.procedures.velero import NAMESPACE, Velero
from drills.redaction import keep_secret
from drills.waiting import wait_until

NAME = "backup-operator"
TOKEN_WITHIN_S = 30.0


class BackupOperator:
    """An account with the role backup-operator alone, and what it may not do.

    Attributes:
        velero: Velero, told what to do by this account.
    """

    def __init__(
        self, drill: Drill, kube: Kube, program: Path, kubeconfig: Path, manifests: Iterable[Manifest]
    ) -> None:
        """Make the account.

        Args:
            drill: the drill.
            kube: the cluster, as its administrator sees it.
            program: the `velero` program.
            kubeconfig: the administrator's; the operator's is written beside it.
            manifests: the account, its token, its role, its binding.

        Raises:
            WaitTimeout: the cluster gave the account no token.
        """
        self._manifests = kube.apply(manifests)
        self._administrator = kube
        token = wait_until(
            lambda: ((kube.get("Secret", NAME, NAMESPACE) or {}).get("data") or {}).get("token"),
            what=f"the token of {NAME}",
            within_s=TOKEN_WITHIN_S,
        )
        self._drill = drill
        self._path = kubeconfig.with_name(f"{kubeconfig.stem}-{NAME}.kubeconfig")
        self._path.touch(mode=0o600)
        self._path.write_text(_as_operator(kubeconfig, keep_secret(base64.b64decode(token).decode())))
        self._own = Kube(self._path, scratch=self._path.parent)
        self.velero = Velero(drill, kube, program, self._path, user=NAME)

    def is_refused_the_rest(self, namespace: str) -> None:
        """Check that the account can neither read Secrets, nor delete backups or the namespace, nor widen its role."""
        attempts = {
            "read Secrets": lambda: self._own.list("Secret", namespace),
            "delete backups": lambda: self._own.delete("velero.io/v1/Backup", "any", NAMESPACE),
            "ask Velero to delete backups": lambda: self._own.create(
                {
                    "apiVersion": "velero.io/v1",
                    "kind": "DeleteBackupRequest",
                    "metadata": {"name": "any"},
                    "spec": {"backupName": "any"},
                },
                NAMESPACE,
            ),
            "delete the namespace": lambda: self._own.delete("Namespace", namespace),
            "widen its role": lambda: self._own.patch("ClusterRole", NAME, {"rules": []}),
        }
        for what, attempt in attempts.items():
            said = _said(attempt)
            self._drill.check(f"{NAME} may not {what}", said == "refused", "refused", said)

    def close(self) -> None:
        """Remove the account with its role, and forget its token."""
        for one in reversed(self._manifests):
            kind = f"{one['apiVersion']}/{one['kind']}"
            self._administrator.delete(kind, one["metadata"]["name"], one["metadata"].get("namespace"))
        self._own.close()
        self._path.unlink(missing_ok=True)


def _said(attempt: Any) -> str:  # noqa: ANN401 - whatever the call returns
    try:
        attempt()
    except Denied:
        return "refused"
    except KubeError as other:
        return str(other)
    return "done"


def _as_operator(kubeconfig: Path, token: str) -> str:
    config = yaml.safe_load(kubeconfig.read_text())
    user = config["contexts"][0]["context"]["user"]
    config["users"] = [{"name": user, "user": {"token": token}}]
    return yaml.safe_dump(config)
