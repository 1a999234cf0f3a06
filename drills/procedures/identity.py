"""Giving the replicas of an identity server their data back: docs/runbooks/identity-restore.md. Here it is OpenLDAP."""

from __future__ import annotations

from abc import ABC, abstractmethod
from pathlib import Path
from typing import ClassVar

from drills.bucket import ListedBucket, Stored, fetch, put
from drills.commands import Completed
from drills.drill import Drill
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed
from drills.kube import Condition, Kube, Manifest, pod_ready, statefulset_ready
from drills.shell import command_line
from drills.waiting import wait_until

WORKLOAD = "identity"
REPLICAS = (f"{WORKLOAD}-0", f"{WORKLOAD}-1")
RESTORER = f"{WORKLOAD}-restore"
"""The pod that has a replica's volume while the replica is stopped."""

BASE = "dc=drills,dc=test"
"""What all names in the directory end with."""

SERVER_IDS = (1, 2)
"""By which the replicas sign their changes, as their configurations say."""

CHANGE = f"ldapmodify -x -H ldap://127.0.0.1:1389 -D cn=admin,{BASE} -y /etc/identity/password"
"""Changes what it reads as LDIF, as the directory's administrator, whose password stays in the pod."""

READY_WITHIN_S = 180.0
COMMAND_WITHIN_S = 60.0


class IdentityServer(ABC):
    """Two replicas of one identity server, a StatefulSet's, each with a volume of its own."""

    kind: ClassVar[str]
    """What made its backups, for the record."""

    suffix: ClassVar[str]
    """What a backup's name ends with."""

    def __init__(
        self,
        drill: Drill,
        kube: Kube,
        kubectl: Path,
        kubeconfig: Path,
        namespace: str,
        store: ListedBucket,
        prefix: str,
    ) -> None:
        """Say where it is.

        Args:
            drill: the drill.
            kube: the cluster.
            kubectl: the program.
            kubeconfig: for it.
            namespace: the server's.
            store: where backups go.
            prefix: what their keys there begin with.
        """
        self._drill = drill
        self._kube = kube
        self._kubectl = [str(kubectl), "--kubeconfig", str(kubeconfig), "--namespace", namespace]
        self._namespace = namespace
        self._store = store
        self._prefix = prefix
        self._digests: dict[str, str] = {}

    def back_up(self) -> str:
        """Take a backup, put it into the object store and return its key; notes the recovery point.

        Raises:
            EnvironmentFailed: it could not be taken.
        """
        taken = self._drill.history.clock.now()
        content = self._dump(EnvironmentFailed).encode()
        key = f"{self._prefix}/{taken.utc:%Y%m%dT%H%M%SZ}.{self.suffix}"
        self._digests[key] = put(self._store, key, content).sha256
        self._drill.backup(self.kind, key, taken, sha256=self._digests[key], size=len(content))
        return key

    def newest(self) -> str:
        """Find the newest backup, as the runbook's first step does; its key.

        Raises:
            ProcedureFailed: there is none.
        """
        with self._drill.step("find the newest backup", f"aws s3 ls s3://{self._store.bucket}/{self._prefix}/"):
            keys = self._store.keys(f"{self._prefix}/")
            if not keys:
                raise ProcedureFailed(f"the object store has no backup under {self._prefix}/")
            return max(keys)

    def restore(self, key: str) -> None:
        """Bring a backup into the first replica's volume while all are stopped, and seed the others from it.

        Raises:
            ProcedureFailed: the backup is not the one that was taken, or a command failed.
            WaitTimeout: a pod was not there or not ready in time.
        """
        first, *others = REPLICAS
        with self._drill.step("fetch the backup", f"aws s3 cp s3://{self._store.bucket}/{key} backup.{self.suffix}"):
            content = fetch(self._store, Stored(key, self._digests.get(key, "one that was noted")))
        for replica in REPLICAS:
            self._wait_for_room(replica)
        self._scale(0, "stop the identity server")
        self._put_into_volume(first, content.decode())
        self._scale(len(REPLICAS), "start the identity server")
        self._wait_until_serving(first)
        for replica in others:
            self.seed_again(replica)

    @abstractmethod
    def seed_again(self, replica: str) -> None:
        """Give a replica whose volume is new the data of another one, and wait until both have the same.

        Raises:
            ProcedureFailed: a command failed.
            WaitTimeout: the replica did not serve, or did not catch up, in time.
        """

    @abstractmethod
    def _dump(self, fails_as: type[DrillError]) -> str:
        """Return all data of the server, as text."""

    @abstractmethod
    def _put_into_volume(self, replica: str, content: str) -> None:
        """Fill the volume of a stopped replica from a backup, by a temporary pod."""

    def _wait_for_room(self, replica: str) -> None:
        """Wait until the controller has made the pod anew, and with it the volume."""
        self._watch(replica, f"{replica} has a new volume", _running, "runs, and waits for data")

    def _wait_until_serving(self, replica: str) -> None:
        self._watch(replica, f"{replica} serves", pod_ready, "is ready")

    def _watch(self, replica: str, title: str, condition: Condition, what: str) -> None:
        with self._drill.step(title, f"kubectl -n {self._namespace} get pod {replica} --watch", by="kubernetes"):
            self._wait_for(replica, condition, what)

    def _scale(self, replicas: int, title: str) -> None:
        arguments = ["scale", f"statefulset/{WORKLOAD}", f"--replicas={replicas}"]
        with self._drill.step(title, f"kubectl -n {self._namespace} {command_line(arguments)}"):
            self._run(*arguments)
            if not replicas:
                wait_until(
                    lambda: not self._kube.list("Pod", self._namespace, labels=f"app={WORKLOAD}"),
                    what="no replica runs", within_s=self._drill.at_most(READY_WITHIN_S), every_s=0.5,
                )  # fmt: skip

    def _wait_until_all_serve(self, within_s: float) -> None:
        self._kube.wait_for(
            "StatefulSet", WORKLOAD, self._namespace, condition=statefulset_ready, what="both replicas are ready",
            within_s=within_s,
        )  # fmt: skip

    def _workload(self) -> Manifest:
        found = self._kube.get("StatefulSet", WORKLOAD, self._namespace)
        if found is None:
            raise ProcedureFailed(f"there is no StatefulSet {WORKLOAD} in {self._namespace}")
        return found

    def _wait_for(self, pod: str, condition: Condition, what: str) -> None:
        self._kube.wait_for(
            "Pod", pod, self._namespace, condition=condition, what=f"{pod} {what}",
            within_s=self._drill.at_most(READY_WITHIN_S),
        )  # fmt: skip

    def _run(
        self, *arguments: str, text: str | None = None, logged: bool = True,
        fails_as: type[DrillError] = ProcedureFailed,
    ) -> Completed:  # fmt: skip
        return self._drill.commands.run(
            [*self._kubectl, *arguments], timeout_s=self._drill.at_most(COMMAND_WITHIN_S), input=text, logged=logged,
            fails_as=fails_as,
        )  # fmt: skip


class OpenLDAP(IdentityServer):
    """OpenLDAP with multi-provider replication: data travels as LDIF, and changes made meanwhile are pulled.

    A replica takes part in the replication from the state that its data says it has (its contextCSN). So a copy of
    another replica need not be the newest: what it lacks is pulled when it starts.
    """

    kind = "slapcat"
    suffix = "ldif"

    def begin(self, content: str) -> None:
        """Fill the first replica from LDIF and the others from it, before a drill; wait until all serve.

        Raises:
            EnvironmentFailed: a command failed.
            WaitTimeout: a replica was not there in time, or not ready.
        """
        for replica in REPLICAS:
            self._kube.wait_for(
                "Pod", replica, self._namespace, condition=_running, what=f"{replica} runs", within_s=READY_WITHIN_S
            )
        first, *others = REPLICAS
        self._fill(first, content, EnvironmentFailed)
        for replica in others:
            self._fill(replica, self._dump(EnvironmentFailed), EnvironmentFailed)
        self._wait_until_all_serve(READY_WITHIN_S)
        self._settle()

    def _settle(self) -> None:
        """Wait until every replica has what is changed on each.

        When a replica meets the other one, it brings itself to the other's state, which includes deleting what that one
        does not have (RFC 4533, 1.3.1, the present phase). A change that is acknowledged in that instant may be gone:
        the first 4 of 100 were seen to be. So there is a second round, with nothing but changes left to be exchanged.
        """
        for round_ in range(2):
            for replica in REPLICAS:
                change = f"dn: {BASE}\nchangetype: modify\nreplace: description\ndescription: {replica}, {round_}\n"
                self._run("exec", "-i", replica, "--", *CHANGE.split(), text=change, fails_as=EnvironmentFailed)
            wait_until(
                self._all_alike, what="every replica has what was changed on each", within_s=READY_WITHIN_S, every_s=0.2
            )

    def _all_alike(self) -> bool:
        first, *others = (self._state(replica) for replica in REPLICAS)
        return all(f"{number:03x}" in first for number in SERVER_IDS) and all(other == first for other in others)

    def seed_again(self, replica: str) -> None:
        """Give a replica whose volume is new the data of the other one, and wait until it has caught up.

        Raises:
            ProcedureFailed: a command failed.
            WaitTimeout: the replica did not serve, or did not catch up, in time.
        """
        source = next(one for one in REPLICAS if one != replica)
        self._wait_for_room(replica)
        dump, load = (f"kubectl -n {self._namespace} exec {pod}" for pod in (source, f"-i {replica}"))
        with self._drill.step(
            f"copy the directory from {source}",
            f"{dump} -- {_slapcat(source)} | {load} -- sh -ec '{_slapadd(replica)}'",
        ):
            content = self._dump(ProcedureFailed, source)
            if not self._drill.leaves_out("procedure"):
                self._fill(replica, content, ProcedureFailed)
        self._wait_until_serving(replica)
        with self._drill.step(
            f"{replica} has caught up", f"{dump} -- ldapsearch -x -LLL -s base -b {BASE} contextCSN", by="kubernetes"
        ):
            wanted = self._state(source)
            if not wanted:
                raise ProcedureFailed(f"{source} shows no contextCSN, so nothing can be compared with it")

            def caught_up() -> bool:
                now = self._state(replica)
                return all(now.get(number, "") >= time for number, time in wanted.items())

            wait_until(
                caught_up,
                what=f"{replica} has all that {source} had", within_s=self._drill.at_most(READY_WITHIN_S), every_s=0.5,
            )  # fmt: skip
        self._wait_until_all_serve(self._drill.at_most(READY_WITHIN_S))
        self._drill.reconstituted()

    def _fill(self, pod: str, content: str, fails_as: type[DrillError], volume_of: str = "") -> None:
        """Fill the volume of a replica that waits for data, which then starts; or another pod's that has the volume."""
        self._run("exec", "-i", pod, "--", "sh", "-ec", _slapadd(volume_of or pod), text=content, fails_as=fails_as)

    def _dump(self, fails_as: type[DrillError], pod: str = REPLICAS[0]) -> str:
        return self._run("exec", pod, "--", *_slapcat(pod).split(), fails_as=fails_as, logged=False).stdout

    def _put_into_volume(self, replica: str, content: str) -> None:
        run = f"kubectl -n {self._namespace}"
        with self._drill.step(
            f"start a pod on the volume of {replica}", f"{run} apply --filename {RESTORER}.yaml", by="harness"
        ):
            self._kube.apply(restorer(self._workload(), replica, {"command": ["sleep", "infinity"]}), self._namespace)
            self._wait_for(RESTORER, pod_ready, "runs")
        with self._drill.step("restore the backup in it", f"{run} exec -i {RESTORER} -- sh -ec '{_slapadd(replica)}'"):
            if not self._drill.leaves_out("procedure"):
                self._fill(RESTORER, content, ProcedureFailed, volume_of=replica)
        with self._drill.step("remove the pod", f"{run} delete pod {RESTORER} --now"):
            self._run("delete", "pod", RESTORER, "--now")

    def _state(self, pod: str) -> dict[str, str]:
        """Return the newest change that a replica has of each, by the number of the replica that it was made on."""
        asked = ("ldapsearch", "-x", "-LLL", "-H", "ldap://127.0.0.1:1389", "-s", "base", "-b", BASE, "contextCSN")
        lines = self._run("exec", pod, "--", *asked).stdout.splitlines()
        stamps = [line.removeprefix("contextCSN: ") for line in lines if line.startswith("contextCSN: ")]
        return {stamp.split("#")[2]: stamp for stamp in stamps}


def _slapcat(pod: str) -> str:
    return f"slapcat -o ldif_wrap=no -f {_configuration(pod)}"


def _slapadd(pod: str) -> str:
    """Fill a volume that has no data; the file `seeded` says that it has, and is what a replica waits for."""
    return (
        f"[ ! -e /data/seeded ]; rm -rf /data/db; mkdir /data/db; slapadd -q -w -f {_configuration(pod)}; "
        "touch /data/seeded"
    )


def _configuration(pod: str) -> str:
    return f"/etc/identity/slapd-{pod.rpartition('-')[2]}.conf"


def restorer(workload: Manifest, replica: str, container: Manifest) -> Manifest:
    """Make a pod with a replica's volume, like the replica but for what the container is given."""
    spec = workload["spec"]["template"]["spec"]
    kept = {key: spec["containers"][0][key] for key in ("name", "image", "imagePullPolicy", "volumeMounts")}
    claim = {"name": "data", "persistentVolumeClaim": {"claimName": f"data-{replica}"}}
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": RESTORER},
        "spec": {
            "restartPolicy": "Never",
            "automountServiceAccountToken": False,
            "securityContext": spec["securityContext"],
            "containers": [{**kept, **container}],
            "volumes": [*spec["volumes"], claim],
        },
    }


def _running(found: Manifest | None) -> bool:
    return bool(
        found is not None
        and "deletionTimestamp" not in found["metadata"]
        and (found.get("status") or {}).get("phase") == "Running"
    )
