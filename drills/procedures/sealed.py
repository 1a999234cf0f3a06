"""Sealed Secrets without their controller and its key: docs/runbooks/sealed-secrets.md.

Sealed Secrets may lie in any repository, because only the key in the cluster opens them. So the key is what a backup
must hold; the controller itself can be installed anew, and makes another key then, which opens nothing.
"""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable
from pathlib import Path
from tempfile import NamedTemporaryFile

from cryptography.x509 import load_pem_x509_certificate

from drills.bucket import Stored
from drills.commands import Commands
from drills.drill import Drill
from drills.errors import EnvironmentFailed
from drills.faults.sealing import KEYS
from drills.kube import Kube, Manifest, deployment_available
from drills.procedures.secrets import Secrets
from drills.waiting import wait_until

NAMESPACE = "sealed-secrets"
CONTROLLER = "sealed-secrets-controller"
SEALED = "bitnami.com/v1alpha1/SealedSecret"
MANAGED = "sealedsecrets.bitnami.com/managed"

READY_WITHIN_S = 120.0
"""The controller makes an RSA key of 4096 bits before it is ready, which takes some seconds of a whole core."""

TRIED_WITHIN_S = 60.0


class SealedSecrets:
    """A namespace's Secrets, sealed, and the controller that unseals them."""

    def __init__(
        self,
        drill: Drill,
        kube: Kube,
        namespace: str,
        manifests: Iterable[Manifest],
        keys: Secrets,
        *,
        kubeseal: Path,
        kubectl: Path,
        kubeconfig: Path,
    ) -> None:
        """Say where they are.

        Args:
            drill: the drill.
            kube: the cluster.
            namespace: of the Secrets.
            manifests: the controller's.
            keys: the Secrets of the controller's namespace, which are its keys.
            kubeseal: the program.
            kubectl: the program.
            kubeconfig: for it.
        """
        self._drill = drill
        self._kube = kube
        self._namespace = namespace
        self._manifests = list(manifests)
        self._keys = keys
        self._kubeseal = str(kubeseal)
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig), "--namespace", NAMESPACE]
        self._said: set[str] = set()

    def open(self) -> None:
        """Install the controller, seal the namespace's Secrets, and let it manage them from now on.

        Raises:
            EnvironmentFailed: kubeseal failed.
            WaitTimeout: the controller was not ready, or had not unsealed them, in time.
        """
        self._install()
        certificate = sealing_certificate(self._kube)
        for secret in self._kube.list("Secret", self._namespace):
            name = secret["metadata"]["name"]
            # Without this word of their owner the controller leaves Secrets alone that it did not make.
            self._kube.patch("Secret", name, {"metadata": {"annotations": {MANAGED: "true"}}}, self._namespace)
            plain = {
                "apiVersion": "v1",
                "kind": "Secret",
                "metadata": {
                    "name": name,
                    "namespace": self._namespace,
                    "labels": secret["metadata"].get("labels") or {},
                },
                "type": secret["type"],
                "data": secret["data"],
            }
            self._kube.apply(seal(self._drill.commands, self._kubeseal, certificate, plain), self._namespace)
        self._wait_until_all("True", "the controller has unsealed everything")

    def close(self) -> None:
        """Remove the controller with its namespace and what it has outside, so that the next drill's can be made."""
        self._kube.delete("Namespace", NAMESPACE, wait=True)
        for one in reversed(self._manifests):
            kind = f"{one['apiVersion']}/{one['kind']}"
            self._kube.delete(kind, one["metadata"]["name"], one["metadata"].get("namespace"))

    def export_key(self) -> Stored:
        """Export the controller's keys, encrypted, into the object store; notes the recovery point.

        Raises:
            EnvironmentFailed: GPG failed.
        """
        self._keys.make_key()
        return self._keys.export()

    def install(self) -> None:
        """Install the controller again, and check that it unseals nothing: it has made a key of its own.

        Raises:
            WaitTimeout: it was not ready in time, or did not try to unseal.
        """
        with self._drill.step("install the controller again", "kubectl apply --filename sealed-secrets.yaml"):
            self._install()
        with self._drill.step("see that its new key unseals nothing", "kubectl get sealedsecrets --all-namespaces"):
            self._wait_until_all("False", "the controller has tried to unseal with its new key, and failed")
        sealed = {one["metadata"]["name"] for one in self._kube.list(SEALED, self._namespace)}
        there = sealed & {one["metadata"]["name"] for one in self._kube.list("Secret", self._namespace)}
        got = f"{', '.join(sorted(there)) or 'none'} of {', '.join(sorted(sealed))}: {'; '.join(sorted(self._said))}"
        self._drill.check("without its key the controller unseals nothing", not there, "no Secret", got)

    def restore_key(self, export: Stored) -> None:
        """Bring the keys back from their export, and let the controller read them, which it does when it starts.

        Raises:
            ProcedureFailed: the export is another one, cannot be decrypted, or was refused.
            WaitTimeout: the controller did not start, or did not unseal, in time.
        """
        if not self._drill.leaves_out("procedure"):
            self._keys.import_(export)
        command = f"rollout restart deployment/{CONTROLLER}"
        with self._drill.step("restart the controller", f"kubectl -n {NAMESPACE} {command}"):
            self._drill.commands.run([*self._kubectl, *command.split()], timeout_s=30)
            self._wait_for_controller()
        with self._drill.step(
            "wait until everything is unsealed", "kubectl get sealedsecrets --all-namespaces", by="kubernetes"
        ):
            self._wait_until_all("True", "the controller has unsealed everything")

    def _install(self) -> None:
        self._kube.apply(self._manifests)
        self._kube.wait_for(
            "CustomResourceDefinition", "sealedsecrets.bitnami.com", condition=_established,
            what="the API knows sealed secrets", within_s=30,
        )  # fmt: skip
        self._wait_for_controller()

    def _wait_for_controller(self) -> None:
        self._kube.wait_for(
            "Deployment", CONTROLLER, NAMESPACE, condition=deployment_available,
            what="the controller is ready", within_s=self._drill.at_most(READY_WITHIN_S),
        )  # fmt: skip

    def _wait_until_all(self, state: str, what: str) -> None:
        wait_until(
            lambda: self._states() == {state},
            what=what,
            within_s=self._drill.at_most(TRIED_WITHIN_S),
            describe=lambda _: "; ".join(sorted(self._said)),
        )

    def _states(self) -> set[str]:
        """Return what the controller last said of each, "True" where it has unsealed it; and keep its words."""
        found = [
            next(iter((one.get("status") or {}).get("conditions") or [{}]))
            for one in self._kube.list(SEALED, self._namespace)
        ]
        self._said = {str(one.get("message") or one.get("status") or "not tried") for one in found}
        return {str(one.get("status", "")) for one in found}


def sealing_certificate(kube: Kube) -> str:
    """Return what anybody may seal with: the certificate of the controller's newest key, in PEM.

    The controller makes a new key every 30 days and keeps the old ones to unseal with. Newest is the one whose
    certificate began last, as the controller has it by default (sealed-secrets, pkg/controller/main.go,
    getKeyOrderPriority).

    Raises:
        EnvironmentFailed: there is no active key, or none with a certificate; names those that there are.
    """
    found = {}
    for key in kube.list("Secret", NAMESPACE, labels=f"{KEYS}=active"):
        name = key["metadata"]["name"]
        try:
            pem = base64.b64decode((key.get("data") or {}).get("tls.crt") or "", validate=True)
            found[name] = (load_pem_x509_certificate(pem).not_valid_before_utc, pem.decode())
        except ValueError as error:
            raise EnvironmentFailed(f"sealing key {NAMESPACE}/{name}: tls.crt is no certificate: {error}") from error
    if not found:
        raise EnvironmentFailed(f"no sealing key: expected a Secret in {NAMESPACE} with the label {KEYS}=active")
    return max(found.values())[1]


def seal(commands: Commands, kubeseal: str, certificate: str, secret: Manifest) -> Manifest:
    """Return a Secret sealed, which may lie in any repository.

    Args:
        commands: run the program.
        kubeseal: the program.
        certificate: the controller's, in PEM.
        secret: with its namespace; only there does the controller unseal it.

    Raises:
        EnvironmentFailed: kubeseal failed.
    """
    with NamedTemporaryFile("w", suffix=".pem") as file:
        file.write(certificate)
        file.flush()
        sealed = commands.run(
            [kubeseal, "--format", "json", "--cert", file.name],
            input=json.dumps(secret), timeout_s=30, fails_as=EnvironmentFailed,
        ).stdout  # fmt: skip
    # It writes null where it has nothing to say, which whoever compares the cluster with git would look for there.
    made: Manifest = json.loads(sealed, object_pairs_hook=lambda pairs: {k: v for k, v in pairs if v is not None})
    return made


def _established(found: Manifest | None) -> bool:
    conditions = ((found or {}).get("status") or {}).get("conditions") or []
    return any(one["type"] == "Established" and one["status"] == "True" for one in conditions)
