"""A whole platform built anew from what survives outside its cluster: docs/runbooks/platform-rebuild.md.

What survives is git, the object store, a bundle of what is installed by hand, and the private key of the exports. The
order is that of who needs whom: Secrets before what has passwords, the operator before its database, data before what
uses it, users last.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Generic, Protocol, TypeVar

import yaml

from drills.bucket import Bucket, Stored, fetch, put
from drills.clock import Clock, SystemClock
from drills.commands import Commands
from drills.drill import Drill
from drills.errors import DrillError, EnvironmentFailed, ProcedureFailed, WriteRefused
from drills.kube import RIDDEN_OUT, Kube, Manifest, NotFound, pod_ready
from drills.procedures.archive import Archive
from drills.procedures.gitops import APPLICATIONS, WORKLOADS, is_well, state_of
from drills.procedures.gitops import NAMESPACE as ARGOCD
from drills.procedures.postgres import Postgres, bootstrap_from_archive
from drills.procedures.rebuild import Cluster
from drills.procedures.sealed import NAMESPACE as SEALING
from drills.procedures.secrets import Secrets
from drills.redaction import kept
from drills.repository import APPLICATION, Repository
from drills.waiting import wait_until

PROJECT = "project"
"""The file, beside those of the Applications, that says what they may deploy from where."""

ORDER = ("secrets", "operator", "database", "directory", "storefront")
"""The Applications, each after those that it needs."""

CLUSTER_FILE = "database/cluster.yaml"
VOLUME_FILE = "directory/volume.yaml"
RECOVERED_ARCHIVE = "shop-rebuilt"
"""The archive of the recovered database: no two clusters may write to one."""

INSTALLED_WITHIN_S = 300.0
DEPLOYED_WITHIN_S = 600.0
LOADED_WITHIN_S = 120.0

_CONFIGURATION = "/etc/directory/slapd.conf"

C = TypeVar("C", bound=Cluster)


class Declared(Protocol):
    """A platform as it is kept outside every cluster."""

    @property
    def namespace(self) -> str:
        """Where its own things are."""
        ...

    @property
    def repository(self) -> Repository:
        """What Argo CD deploys: a directory for each Application, and the Applications themselves."""
        ...

    @property
    def url(self) -> str:
        """The repository as the clusters know it."""
        ...

    @property
    def bundle(self) -> Mapping[str, Path]:
        """The manifests of what is installed by hand, by namespace."""
        ...

    @property
    def secrets(self) -> Sequence[str]:
        """The names of the Secrets that are sealed in the repository."""
        ...

    @property
    def loading(self) -> Manifest:
        """A pod on the directory's volume, in which its entries are loaded."""
        ...

    @property
    def declared(self) -> Sequence[Manifest]:
        """The database's Cluster, as it was made first."""
        ...

    @property
    def archives(self) -> str:
        """Where in the object store the database's archives are."""
        ...


class Site(Protocol[C]):
    """Where clusters are made, and users are sent."""

    def new_cluster(self) -> C:
        """Make a cluster of the lost one's shape, ready and with its storage class, and see that it goes afterwards."""
        ...

    def load_images(self, cluster: C) -> None:
        """Bring the platform's images to a cluster's nodes, where others would be pulled."""
        ...

    def move_users(self, cluster: C) -> Sequence[str]:
        """Let the users' names lead to a cluster; returns what each stands for now, one a line."""
        ...


@dataclass(frozen=True)
class Saved:
    """What the platform is rebuilt from, beside git and the database's archive."""

    sealing_key: Stored
    directory: Stored


class Builder:
    """The parts of the platform in one cluster, put there one by one; each is waited for until it works."""

    def __init__(
        self,
        commands: Commands,
        kubectl: Path,
        cluster: Cluster,
        declared: Declared,
        *,
        fails_as: type[DrillError],
        at_most: Callable[[float], float] = lambda within_s: within_s,
        clock: Clock | None = None,
    ) -> None:
        """Say where, and what.

        Args:
            commands: run kubectl.
            kubectl: the program.
            cluster: where.
            declared: what.
            fails_as: what a failure of kubectl means: of the procedure, or of what only prepares the drill.
            at_most: shortens each wait.
            clock: the time to live by.
        """
        self.kube: Kube = cluster.kube
        self._commands = commands
        self._kubectl = [str(kubectl), "--kubeconfig", str(cluster.kubeconfig_path)]
        self._declared = declared
        self._fails_as = fails_as
        self._at_most = at_most
        self._clock = clock or SystemClock()

    def install(self, namespace: str) -> None:
        """Install a part of the bundle, and wait for its pods.

        Raises:
            DrillError: (`fails_as`) kubectl failed.
            WaitTimeout: a pod was not ready in time.
        """
        self._apply(self._declared.bundle[namespace])
        for kind, ready in WORKLOADS.items():
            if self.kube.list(kind, namespace):
                self.kube.wait_for_all(
                    kind, namespace, condition=ready, what=f"every {kind} of {namespace} is ready",
                    within_s=self._at_most(INSTALLED_WITHIN_S),
                )  # fmt: skip

    def allow(self, clone: Path) -> None:
        """Let Argo CD know the project, from a clone of the repository; raises as `install`."""
        self._apply(clone / APPLICATIONS / f"{PROJECT}.json")

    def deploy(self, application: str, clone: Path) -> None:
        """Let Argo CD know an Application, from a clone of the repository, and wait until it is synced and healthy.

        Raises:
            DrillError: (`fails_as`) kubectl failed.
            WaitTimeout: it was not in time; says in what state it is.
        """
        seen: list[Manifest] = []
        since = self._clock.now().utc - timedelta(seconds=1)  # Argo CD's stamps are of whole seconds

        def well() -> bool:
            found = self.kube.get(APPLICATION, application, ARGOCD)
            seen[:] = [found] if found else []
            return bool(found) and is_well(seen[0], since)

        self._apply(clone / APPLICATIONS / f"{application}.json")
        wait_until(
            well, what=f"Application {application} is synced and healthy", within_s=self._at_most(DEPLOYED_WITHIN_S),
            every_s=0.5, retry_on=(*RIDDEN_OUT, NotFound),
            describe=lambda _: "; ".join(_in_words(one) for one in seen) or "it is not there",
        )  # fmt: skip

    def load_directory(self, entries: str, clone: Path) -> None:
        """Load a directory's entries into its empty volume, before anything else uses that.

        Raises:
            DrillError: (`fails_as`) kubectl or slapadd failed.
            WaitTimeout: the pod for it did not start, or did not go, in time.
        """
        self._apply(clone / VOLUME_FILE)
        pod, namespace = self._declared.loading["metadata"]["name"], self._declared.namespace
        self.kube.apply(self._declared.loading)
        self.kube.wait_for(
            "Pod", pod, namespace, condition=pod_ready, what="the pod on the directory's volume runs",
            within_s=self._at_most(LOADED_WITHIN_S),
        )  # fmt: skip
        load = ["exec", "--stdin", pod, "--namespace", namespace, "--", "slapadd", "-q", "-f", _CONFIGURATION]
        self._run(*load, input=entries)
        self.kube.delete("Pod", pod, namespace, wait=True, within_s=self._at_most(LOADED_WITHIN_S))

    def read_directory(self) -> str:
        """Return the directory's entries as LDIF, of one instant; it goes on meanwhile.

        Raises:
            DrillError: (`fails_as`) kubectl or slapcat failed.
        """
        where = ["deployment/directory", "--namespace", self._declared.namespace]
        return self._run("exec", *where, "--", "slapcat", "-f", _CONFIGURATION, logged=False)

    def _apply(self, file: Path) -> None:
        # Server-side: definitions are too large for the annotation that a client-side apply makes.
        self._run("apply", "--server-side", "--force-conflicts", "--filename", str(file))

    def _run(self, *arguments: str, input: str | None = None, logged: bool = True) -> str:
        return self._commands.run(
            [*self._kubectl, *arguments], timeout_s=120, input=input, logged=logged, fails_as=self._fails_as
        ).stdout


class PlatformRebuild(Generic[C]):
    """The platform's replacement, stage by stage."""

    def __init__(
        self,
        drill: Drill,
        lost: C,
        site: Site[C],
        declared: Declared,
        *,
        store: Bucket,
        kubectl: Path,
        gpg: Path,
        scratch: Path,
    ) -> None:
        """Say what is at hand.

        Args:
            drill: the drill.
            lost: the cluster that will be lost.
            site: where another is made.
            declared: the platform.
            store: where backups go.
            kubectl: the program.
            gpg: a directory for the key of the exports; its path must be short, since GPG's sockets are in it.
            scratch: an empty directory.
        """
        self._drill = drill
        self._lost = lost
        self._site = site
        self._declared = declared
        self._store = store
        self._kubectl = kubectl
        self._gpg = gpg
        self._clone = scratch / "platform"
        self._new: C | None = None
        self._digests: dict[str, str] = {}

    # While all is well

    def save(self) -> Saved:
        """Back up the sealing key, the database and the directory; notes their recovery points.

        The database's WAL is archived all the time; the directory has this backup only, and it is the last one noted.

        Raises:
            EnvironmentFailed: one of them could not be saved.
            WaitTimeout: the base backup did not end in time.
        """
        keys = self._secrets(self._lost, SEALING)
        keys.make_key()
        key = keys.export()
        self._postgres(self._lost).backup()
        taken = self._drill.history.clock.now()
        directory = self._save_directory(self._lost, EnvironmentFailed)
        self._drill.backup("slapcat", directory.key, taken, sha256=directory.sha256)
        self._digests = self._sealed(self._lost)
        return Saved(key, directory)

    # Rebuilding

    def provision(self) -> None:
        """Make a new cluster, and bring the platform's images to it.

        Raises:
            EnvironmentFailed: it could not be made.
        """
        self._drill.deviates("the platform's images are on the machine: they are imported into the nodes, not pulled")
        with self._drill.step("build a new cluster", "kind create cluster --name NEW --config SHAPE"):
            self._new = self._site.new_cluster()
        with self._drill.step("bring the images to its nodes", "ctr --namespace=k8s.io images import IMAGES"):
            self._site.load_images(self._new)

    def restore_sealing(self, saved: Saved) -> None:
        """Bring back the sealing key, and then its controller, which would make a key of its own if it found none.

        Raises:
            ProcedureFailed: the export is another one, cannot be decrypted, or was refused; or kubectl failed.
            WaitTimeout: the controller was not ready in time.
        """
        with self._drill.step("make the controller's namespace", f"kubectl create namespace {SEALING}"):
            self._cluster.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": SEALING}})
        self._secrets(self._cluster, SEALING).import_(saved.sealing_key)
        self._install(SEALING, "install the Sealed Secrets controller from its bundle")

    def install_argocd(self) -> None:
        """Install Argo CD, fetch the repository, and say what may be deployed from it.

        Raises:
            ProcedureFailed: kubectl or git failed.
            WaitTimeout: Argo CD was not ready in time.
        """
        self._install(ARGOCD, "install Argo CD from its bundle")
        with self._drill.step("fetch the repository", f"git clone {self._declared.url}"):
            url = self._declared.repository.urls()[0]
            self._drill.commands.run(["git", "clone", "--quiet", url, str(self._clone)], timeout_s=60)
        with self._drill.step(
            "restore the project", f"kubectl apply --server-side --filename {APPLICATIONS}/{PROJECT}.json"
        ):
            self._builder.allow(self._clone)

    def deploy(self, application: str) -> None:
        """Have Argo CD deploy an Application from git, and wait until it is synced and healthy.

        Raises:
            ProcedureFailed: kubectl failed.
            WaitTimeout: it was not in time.
        """
        with self._drill.step(
            f"deploy {application} from git",
            f"kubectl apply --server-side --filename {APPLICATIONS}/{application}.json",
        ):
            self._builder.deploy(application, self._clone)

    def recover_database(self) -> None:
        """Declare in git that the database comes from its archive, and have it deployed.

        Raises:
            ProcedureFailed: git did not take it, or kubectl failed.
            WaitTimeout: the database was not recovered in time.
        """
        with self._drill.step("declare in git that the database is recovered", "git commit --all && git push"):
            cluster = yaml.safe_load((self._clone / CLUSTER_FILE).read_text(encoding="utf-8"))
            text = yaml.safe_dump(recovered(cluster, RECOVERED_ARCHIVE))
            try:
                self._declared.repository.commit({CLUSTER_FILE: text}, "the database is recovered from its archive")
            except WriteRefused as refusal:
                raise ProcedureFailed(f"git did not take the change: {refusal}") from refusal
        self.deploy("database")

    def restore_directory(self, saved: Saved) -> None:
        """Load the directory's backup into its volume, and have the directory deployed on it.

        Raises:
            ProcedureFailed: the backup is another one, or kubectl or slapadd failed.
            WaitTimeout: the directory was not ready in time.
        """
        backup = saved.directory
        with self._drill.step(
            "fetch the directory's backup", f"aws s3 cp s3://{self._store.bucket}/{backup.key} directory.ldif"
        ):
            content = fetch(self._store, backup)
        with self._drill.step(
            "load it into the directory's volume",
            f"kubectl exec -i directory-loading -- slapadd -q -f {_CONFIGURATION} < directory.ldif",
        ):
            self._builder.load_directory(content.decode(), self._clone)
        self.deploy("directory")

    def move_users(self) -> None:
        """Let the users' names lead to the new cluster. They follow when their caches have forgotten the old answer."""
        with self._drill.step("let the users' names lead to the new cluster", "update the DNS records"):
            told = self._site.move_users(self._cluster)
        self._drill.history.record("note", text="; ".join(told))

    def protect_again(self) -> None:
        """Back up what was restored: the database's archive is a new one, of no use without a base backup.

        Raises:
            ProcedureFailed: a backup could not be made.
            WaitTimeout: the base backup did not end in time.
        """
        with self._drill.step(
            "save the directory again", f"kubectl exec deployment/directory -- slapcat -f {_CONFIGURATION}"
        ):
            self._save_directory(self._cluster, ProcedureFailed)
        self._postgres(self._cluster).protect_again()

    def check_secrets(self) -> None:
        """Check that the Secrets that were sealed in git are open again, with the content that they had."""
        now = self._sealed(self._cluster)
        differ = sorted(name for name in self._digests.keys() | now.keys() if self._digests.get(name) != now.get(name))
        self._drill.check(
            "every Secret that is sealed in git is open again, as it was",
            bool(now) and not differ,
            f"{', '.join(sorted(self._digests))} as before",
            f"missing or different: {', '.join(differ) or 'none'}",
        )

    # Parts

    @property
    def _cluster(self) -> C:
        if self._new is None:
            raise ProcedureFailed("there is no new cluster yet: provision() comes first")
        return self._new

    @property
    def _builder(self) -> Builder:
        return self._builder_at(self._cluster, ProcedureFailed)

    def _builder_at(self, cluster: C, fails_as: type[DrillError]) -> Builder:
        return Builder(
            self._drill.commands, self._kubectl, cluster, self._declared,
            fails_as=fails_as, at_most=self._drill.at_most, clock=self._drill.clock,
        )  # fmt: skip

    def _install(self, namespace: str, title: str) -> None:
        file = self._declared.bundle[namespace].name
        with self._drill.step(title, f"kubectl apply --server-side --force-conflicts --filename {file}"):
            self._builder.install(namespace)

    def _secrets(self, cluster: C, namespace: str) -> Secrets:
        return Secrets(
            self._drill, cluster.kube, namespace, self._kubectl, cluster.kubeconfig_path, self._store, self._gpg
        )

    def _sealed(self, cluster: C) -> dict[str, str]:
        found = self._secrets(cluster, self._declared.namespace).digests()
        return {name: digest for name, digest in found.items() if name in self._declared.secrets}

    def _postgres(self, cluster: C) -> Postgres:
        return Postgres(
            self._drill, cluster.kube, self._kubectl, cluster.kubeconfig_path, self._declared,
            Archive(self._store, self._declared.archives),
        )  # fmt: skip

    def _save_directory(self, cluster: C, fails_as: type[DrillError]) -> Stored:
        now = self._drill.history.clock.now().utc
        content = self._builder_at(cluster, fails_as).read_directory().encode()
        return put(self._store, f"directory/{self._declared.namespace}-{now:%Y%m%dT%H%M%SZ}.ldif", content)


def recovered(cluster: Manifest, archive: str) -> Manifest:
    """Return a database's Cluster as it is declared to be recovered from its archive, to the end of that.

    Args:
        cluster: as it is declared.
        archive: the name of the archive that it writes from then on.
    """
    made = deepcopy(cluster)
    bootstrap_from_archive(made["spec"])
    made["spec"]["backup"]["barmanObjectStore"]["serverName"] = archive
    return made


def _in_words(application: Manifest) -> str:
    operation = (application.get("status") or {}).get("operationState") or {}
    said = kept(" ".join(str(operation.get("message", "")).split()), 300)
    return f"{state_of(application)}; sync {operation.get('phase', 'not begun')}{said and ': '}{said}"
