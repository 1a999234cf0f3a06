"""Giving the replicas of Kanidm their data back: docs/runbooks/identity-restore.md."""

from __future__ import annotations

import json
import re
from pathlib import Path

from drills.bucket import ListedBucket
from drills.drill import Drill
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed
from drills.kube import Kube, Manifest, pod_ready
from drills.procedures.identity import (
    READY_WITHIN_S,
    REPLICAS,
    RESTORER,
    WORKLOAD,
    IdentityServer,
    restorer,
)
from drills.redaction import kept, kept_end

BACKUP = "/data/restore.backup"
REFRESH = "kanidmd refresh-replication-consumer --i-want-to-refresh-this-servers-database"


class KanidmServer(IdentityServer):
    """Kanidm with mutual pull: replicas know each other by certificate, and a new volume brings a new certificate.

    One without data begins an empty domain of its own, and serves it. Its partner must learn its certificate, and it
    must be told to take over all of its partner's data.
    """

    ADMINISTRATOR = "idm_admin"

    kind = "kanidmd scripting backup"
    suffix = "backup"

    def __init__(
        self, drill: Drill, kube: Kube, kubectl: Path, kubeconfig: Path, namespace: str, store: ListedBucket,
        prefix: str, shell_image: str,
    ) -> None:  # fmt: skip
        """Say where it is; see IdentityServer.

        Args:
            drill: the drill.
            kube: the cluster.
            kubectl: the program.
            kubeconfig: for it.
            namespace: the server's.
            store: where backups go.
            prefix: what their keys there begin with.
            shell_image: an image with a shell, which Kanidm's own has not.
        """
        super().__init__(drill, kube, kubectl, kubeconfig, namespace, store, prefix)
        self._shell_image = shell_image

    def begin(self) -> str:
        """Introduce the replicas to each other, before a drill; return the administrator's password.

        Raises:
            EnvironmentFailed: a command failed.
            WaitTimeout: a replica was not ready in time.
        """
        first, *others = REPLICAS
        self._wait_until_all_serve(READY_WITHIN_S)
        self._introduce(EnvironmentFailed, READY_WITHIN_S)
        for replica in others:
            self._refresh(replica, EnvironmentFailed)
        told = self._run(
            "exec", first, "--", "kanidmd", "scripting", "recover-account", self.ADMINISTRATOR,
            fails_as=EnvironmentFailed, logged=False,
        )  # fmt: skip
        for line in told.stdout.splitlines():
            if line.startswith('{"') and (password := json.loads(line).get("output")):
                return str(password)
        raise EnvironmentFailed(f"Kanidm gave {self.ADMINISTRATOR} no password")

    def seed_again(self, replica: str) -> None:
        """Introduce a replica whose volume is new, and have it take over the other one's data.

        Raises:
            ProcedureFailed: a command failed.
            WaitTimeout: a replica did not serve in time.
        """
        run = f"kubectl -n {self._namespace}"
        self._wait_for_room(replica)
        self._wait_until_serving(replica)
        with self._drill.step(
            "introduce the replicas to each other",
            "; ".join(f"{run} exec {one} -- kanidmd show-replication-certificate" for one in REPLICAS)
            + f"; {run} edit configmap {WORKLOAD}; {run} rollout restart statefulset/{WORKLOAD}",
        ):
            self._introduce(ProcedureFailed, self._drill.at_most(READY_WITHIN_S))
        with self._drill.step(f"refresh {replica} from the other one", f"{run} exec {replica} -- {REFRESH}"):
            if not self._drill.leaves_out("procedure"):
                self._refresh(replica, ProcedureFailed)
        self._drill.reconstituted()

    def _introduce(self, fails_as: type[DrillError], within_s: float) -> None:
        """Write each one's certificate into the other one's configuration, and restart both."""
        found = self._kube.get("ConfigMap", WORKLOAD, self._namespace)
        if found is None:
            raise fails_as(f"there is no ConfigMap {WORKLOAD} in {self._namespace}")
        data = {}
        for number, partner in enumerate(reversed(REPLICAS)):
            told = self._run("exec", partner, "--", "kanidmd", "show-replication-certificate", fails_as=fails_as)
            certificate = re.search(r'certificate: "([\w=+/-]+)"', told.stdout + told.stderr)
            if certificate is None:
                raise fails_as(f"{partner} shows no certificate: {kept(told.stderr.strip(), 200)}")
            own = found["data"][f"server-{number}.toml"].partition('[replication."')[0].rstrip()
            data[f"server-{number}.toml"] = (
                f'{own}\n[replication."repl://{partner}.{WORKLOAD}-replicas:8444"]\n'
                f'type = "mutual-pull"\npartner_cert = "{certificate[1]}"\n'
            )
        self._kube.patch("ConfigMap", WORKLOAD, {"data": data}, self._namespace)
        self._run("rollout", "restart", f"statefulset/{WORKLOAD}", fails_as=fails_as)
        self._wait_until_all_serve(within_s)

    def _refresh(self, replica: str, fails_as: type[DrillError]) -> None:
        told = self._run("exec", replica, "--", *REFRESH.split(), fails_as=fails_as)
        said = (told.stdout + told.stderr).strip()
        if not re.search(r"\bsuccess\b", said):  # it ends with 0 whatever came of it
            raise fails_as(f"{replica} was not refreshed: {kept_end(said, 200)}")

    def _dump(self, fails_as: type[DrillError]) -> str:
        command = ("kanidmd", "scripting", "backup")
        return self._run("exec", REPLICAS[0], "--", *command, fails_as=fails_as, logged=False).stdout

    def _put_into_volume(self, replica: str, content: str) -> None:
        run = f"kubectl -n {self._namespace}"
        # Two pods, one after the other: Kanidm's image has no shell to take a file with, and another has no Kanidm.
        with self._drill.step(f"start a pod on the volume of {replica}", f"{run} apply --filename {RESTORER}.yaml"):
            self._start(replica, {"image": self._shell_image, "command": ["sleep", "infinity"]})
            self._wait_for(RESTORER, pod_ready, "runs")
        with self._drill.step("put the backup into it", f"{run} exec -i {RESTORER} -- sh -c 'cat > {BACKUP}'"):
            self._run("exec", "-i", RESTORER, "--", "sh", "-c", f"cat > {BACKUP}", text=content)
        with self._drill.step("remove the pod", f"{run} delete pod {RESTORER} --now"):
            self._run("delete", "pod", RESTORER, "--now")
        if self._drill.leaves_out("procedure"):
            return
        with self._drill.step(
            "restore the backup in a pod of Kanidm's own",
            f"{run} apply --filename {RESTORER}.yaml; {run} logs {RESTORER}",
        ):
            self._start(replica, {"command": ["/sbin/kanidmd", "database", "restore", BACKUP]})
            self._wait_for(RESTORER, _ended, "has ended")
            phase = (self._kube.get("Pod", RESTORER, self._namespace) or {}).get("status", {}).get("phase")
            if phase != "Succeeded":
                raise ProcedureFailed(
                    f"{RESTORER}: {phase}: {kept_end(self._kube.logs(RESTORER, self._namespace), 500)}"
                )
        with self._drill.step("remove the pod", f"{run} delete pod {RESTORER} --now"):
            self._run("delete", "pod", RESTORER, "--now")

    def _start(self, replica: str, container: Manifest) -> None:
        configuration = {"name": "KANIDM_CONFIG", "value": f"/config/server-{replica.rpartition('-')[2]}.toml"}
        made = restorer(self._workload(), replica, {**container, "env": [configuration]})
        self._kube.apply(made, self._namespace)


def _ended(found: Manifest | None) -> bool:
    return ((found or {}).get("status") or {}).get("phase") in ("Succeeded", "Failed")
