"""A git repository that deploys: what is pushed to it is in the cluster a little later, by way of a GitOps controller.

Commits are made in a clone outside the cluster, and pushed as developers push. The server's acknowledgement of the push
is the receipt; the way from there into the cluster is what a drill measures.
"""

from __future__ import annotations

import json
import os
import subprocess
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from pathlib import Path

from drills.clock import Clock, SystemClock
from drills.errors import BadReading, WriteRefused
from drills.kube import Kube, KubeError
from drills.ledger import Row
from drills.probes import Probe, callable_probe
from drills.redaction import kept_end
from drills.waiting import in_a_line

BRANCH = "main"
APPLICATION = "argoproj.io/v1alpha1/Application"

_AUTHOR = {
    f"GIT_{who}_{what}": value
    for who in ("AUTHOR", "COMMITTER")
    for what, value in (("NAME", "drills"), ("EMAIL", "drills@drills.invalid"))
}
_LOCAL_TIMEOUT_S = 30.0
_HEAD_TIMEOUT_S = 5.0


class Repository:
    """A clone, and the server that it is pushed to.

    Args:
        clone: a directory of the repository's own, made if need be.
        urls: the ways to the server, asked for every time; tried one after the other.

    """

    def __init__(self, clone: Path, urls: Callable[[], Sequence[str]]) -> None:
        clone.mkdir(parents=True, exist_ok=True)
        self.clone = clone
        self.urls = urls
        self._lock = threading.Lock()  # one index, whoever commits

    def commit(self, files: Mapping[str, str], message: str, timeout_s: float = 10.0) -> str:
        """Write files, commit them, push, and return the revision once the server has acknowledged it.

        A push that fails is not taken back: the next one brings its commit along.

        Args:
            files: texts by path.
            message: the commit's.
            timeout_s: how long the push may take.

        Raises:
            WriteRefused: no server acknowledged the push; whether it arrived is unknown.

        """
        with self._lock:
            if not (self.clone / ".git").exists():
                self._git("init", "--quiet", f"--initial-branch={BRANCH}")
            for name, text in files.items():
                path = self.clone / name
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_text(text, encoding="utf-8")
            self._git("add", "--all")
            self._git("commit", "--quiet", "--allow-empty", f"--message={message}")
            self._somewhere("push", "--quiet", to=[f"HEAD:{BRANCH}"], timeout_s=timeout_s)
            return self._git("rev-parse", "HEAD").strip()

    def head(self) -> str:
        """Return the revision that the server has; "" while it has none.

        Raises:
            WriteRefused: it did not say.

        """
        said = self._somewhere("ls-remote", to=[f"refs/heads/{BRANCH}"], timeout_s=_HEAD_TIMEOUT_S)
        return said.partition("\t")[0].strip()

    def _somewhere(self, *command: str, to: Sequence[str], timeout_s: float) -> str:
        """Do it by the first way that works; the time is for all of them together."""
        urls = self.urls()
        refusals = []
        for url in urls:
            try:
                return self._git(*command, url, *to, timeout_s=timeout_s / len(urls))
            except WriteRefused as refusal:
                refusals.append(str(refusal))
        raise WriteRefused("; ".join(refusals) or "there is no way to the git server")

    def _git(self, *arguments: str, timeout_s: float = _LOCAL_TIMEOUT_S) -> str:
        # Nobody's own configuration or hooks, and nothing of a repository that the harness itself may run in.
        own = {name: value for name, value in os.environ.items() if not name.startswith("GIT_")}
        settings = {"GIT_CONFIG_GLOBAL": os.devnull, "GIT_CONFIG_NOSYSTEM": "1", "GIT_TERMINAL_PROMPT": "0"}
        try:
            done = subprocess.run(
                ["git", *arguments], cwd=self.clone, env={**own, **settings, **_AUTHOR},
                stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout_s, check=False,
            )  # fmt: skip
        except (OSError, subprocess.TimeoutExpired) as error:
            raise WriteRefused(f"git {arguments[0]}: {in_a_line(error)}") from error
        if done.returncode:
            raise WriteRefused(f"git {arguments[0]}: {kept_end(' '.join(done.stderr.split()), 300)}")
        return done.stdout


class CommitLedger:
    """A ledger of commits: each row is one commit, and is read back from the cluster, where it was deployed.

    All rows are in one ConfigMap, so that the hundredth commit takes no longer to deploy than the first.

    Attributes:
        deploys_commits: the probe of those who push: the last push was taken, and what was taken some time ago is in
            the cluster.

    """

    CONFIG_MAP = "releases"

    def __init__(
        self, repository: Repository, kube: Kube, namespace: str, application: tuple[str, str], *,
        directory: str, allowed_s: float, clock: Clock | None = None,
    ) -> None:  # fmt: skip
        """Say where the rows go; nothing is sent yet.

        Args:
            repository: where they are committed.
            kube: the cluster that they are deployed to.
            namespace: the namespace that they are deployed to.
            application: name and namespace of the Application that deploys them.
            directory: its directory in the repository.
            allowed_s: how long after its push a commit may be missing in the cluster.
            clock: the time to live by; tests give a fake one.

        """
        self._repository = repository
        self._kube = kube
        self._namespace = namespace
        self._application = application
        self._file = f"{directory}/{self.CONFIG_MAP}.json"
        self._allowed_s = allowed_s
        self._clock = clock or SystemClock()
        self._rows: dict[str, str] = {}
        self._refusal = ""  # of the last push
        self._waiting: dict[int, float] = {}  # when rows were acknowledged that were not seen in the cluster yet
        self._lock = threading.Lock()
        self.deploys_commits: Probe = callable_probe(
            f"a commit is taken, and deployed within {allowed_s:g} s", self._deploys, role="user", interval_s=0.1
        )

    def append(self, row: Row, timeout_s: float) -> None:
        """Commit one row and push it; return when the git server acknowledged it.

        Raises:
            WriteRefused: it did not in `timeout_s`; the outcome is unknown.

        """
        self._rows[f"{row.seq:08d}"] = json.dumps(asdict(row))
        manifest = {
            "apiVersion": "v1",
            "kind": "ConfigMap",
            "metadata": {"name": self.CONFIG_MAP},
            "data": self._rows,
        }
        try:
            self._repository.commit({self._file: json.dumps(manifest, indent=1)}, f"release {row.seq}", timeout_s)
        except WriteRefused as refusal:
            self._refusal = str(refusal)
            raise
        self._refusal = ""
        with self._lock:
            self._waiting[row.seq] = self._clock.monotonic()

    def read(self) -> list[Row]:
        """Return every row in the cluster, once the Application says that it has deployed what the git server has.

        Raises:
            WriteRefused: it does not say so yet, or the cluster or the git server did not answer.

        """
        try:
            application = self._kube.get(APPLICATION, *self._application) or {}
            found = self._kube.get("ConfigMap", self.CONFIG_MAP, self._namespace) or {}
        except KubeError as error:
            raise WriteRefused(in_a_line(error)) from error
        head, sync = self._repository.head(), (application.get("status") or {}).get("sync") or {}
        if sync.get("status") != "Synced" or sync.get("revision") != head:
            state = f"{sync.get('status', 'not there')} at {str(sync.get('revision', ''))[:8] or 'no revision'}"
            raise WriteRefused(
                f"the git server is at {head[:8]}, and the Application {self._application[0]} is {state}"
            )
        return [Row(**json.loads(text)) for _, text in sorted((found.get("data") or {}).items())]

    def _deploys(self, timeout_s: float) -> None:
        if self._refusal:
            raise BadReading(f"the last commit was not taken: {self._refusal}")
        try:
            found = self._kube.get("ConfigMap", self.CONFIG_MAP, self._namespace, timeout_s=timeout_s) or {}
        except KubeError as error:
            raise BadReading(str(error)) from error
        deployed = {int(number) for number in found.get("data") or {}}
        if not deployed:
            raise BadReading("no commit is deployed")
        now = self._clock.monotonic()
        with self._lock:
            self._waiting = {seq: since for seq, since in self._waiting.items() if seq not in deployed}
            first, since = min(self._waiting.items(), default=(0, now))
        if now - since > self._allowed_s:
            raise BadReading(f"commit {first} is not deployed {now - since:.0f} s after its push")
