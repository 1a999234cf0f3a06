"""Waiting for objects: neither a watch that lies nor a server that falls silent ends a wait."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager

from drills.errors import WaitTimeout
from drills.kube.conditions import daemonset_settled, deployment_available, statefulset_ready
from drills.kube.describe import describe
from drills.kube.errors import RIDDEN_OUT, KubeError, NotFound
from drills.kube.reasons import reasons, silences
from drills.kube.resources import Condition, Manifest, Manifests
from drills.kube.transport import QUIET_S, Requests
from drills.waiting import wait_until

LOOK_EVERY_S = 0.2
"""Pause between two rounds of a wait; it bounds what is asked per second of an API server that closes every watch."""

WORKLOADS: dict[str, Condition] = {
    "StatefulSet": statefulset_ready,
    "Deployment": deployment_available,
    "DaemonSet": daemonset_settled,
}
"""What runs pods for as long as it is there, and when it is ready."""

_LOOK_AT_ALL_EVERY_S = 0.5

_LAST_LOOK_S = 1.0
"""Time-out of what is asked at a deadline, which a busy API server still answers."""

_ASKING_WHY_S = 1.0
"""Time-out of each of the questions that are asked after a deadline, for the reason."""


class Waits(Requests):
    """One cluster's API, and waits on it."""

    def wait_for(
        self,
        kind: str,
        name: str,
        namespace: str | None = None,
        *,
        condition: Condition,
        what: str,
        within_s: float,
    ) -> Manifest | None:
        """Wait until an object meets a condition, and return the object that did (None where absence was waited for).

        The object is listed, watched for a while, and listed again. A watch only says when to look: what it reports is
        believed after a GET has confirmed it. So neither a watch that ends early nor one that lies ends the wait. An
        API server that refuses, is overloaded or broken, or knows nobody is ridden out to the deadline.

        Raises:
            WaitTimeout: not met by the deadline; carries the last state or error seen in one line, and where pods are
                what is missing, what keeps them.
            KubeError: the request makes no sense to the API server (4xx).

        """
        deadline = time.monotonic() + within_s
        last: Manifest | None = None

        def left_s() -> float:
            return max(deadline - time.monotonic(), 0.05)

        def meets(found: Manifest | None) -> bool:
            nonlocal last
            last = found
            return condition(found)

        # Answers are wrapped, since None is what a wait for absence wants: an empty tuple says "not yet".
        def confirmed() -> tuple[Manifest | None, ...]:
            found = self.get(kind, name, namespace, timeout_s=left_s())
            return (found,) if meets(found) else ()

        def look() -> tuple[Manifest | None, ...]:
            fields = f"metadata.name={name}"
            try:
                found, version = self._list(kind, namespace, fields=fields, timeout_s=left_s())
            except NotFound:  # no such kind: a definition that is not there (yet)
                return (None,) if meets(None) else ()
            if meets(found[0] if found else None):
                return confirmed()
            for changed in self._watch(kind, namespace, fields=fields, version=version, until=deadline - QUIET_S):
                if meets(changed):
                    return confirmed()
            return ()

        with self._telling_of_pods(kind, namespace, lambda: [last] if last else []):
            return wait_until(
                look,
                what=what,
                within_s=within_s,
                every_s=LOOK_EVERY_S,
                retry_on=RIDDEN_OUT,
                describe=lambda _: describe(last),
            )[0]

    def wait_for_all(
        self,
        kind: str,
        namespace: str | None = None,
        *,
        labels: str | None = None,
        condition: Condition,
        what: str,
        within_s: float,
        at_least: int = 1,
    ) -> Manifests:
        """Wait until all objects of a selection meet a condition at once, and return them.

        Args:
            kind: the kind.
            namespace: the namespace; None for all.
            labels: a label selector; None for all.
            condition: asked of every object.
            what: what is waited for, in words.
            within_s: deadline in seconds.
            at_least: fewer objects than this are not yet "all": nothing is not all.

        Raises:
            WaitTimeout: not met by the deadline; says how many are, and the state of the first few that are not.
            KubeError: the request makes no sense to the API server (4xx).

        """
        deadline = time.monotonic() + within_s
        seen: Manifests = []

        def look() -> tuple[Manifests, ...]:
            nonlocal seen
            left_s = max(deadline - time.monotonic(), 0.05)
            seen, version = self._list(kind, namespace, labels=labels, timeout_s=left_s)
            if len(seen) >= at_least and all(condition(one) for one in seen):
                return (seen,)
            for _ in self._watch(kind, namespace, labels=labels, version=version, until=deadline - QUIET_S):
                break  # something moved: the whole is listed anew
            return ()

        def lacking() -> Manifests:
            return [one for one in seen if not condition(one)]

        def state(_: object) -> str:
            told = "; ".join(f"{one['metadata']['name']}: {describe(one)}" for one in lacking()[:3])
            return f"{len(seen) - len(lacking())} of {max(len(seen), at_least)}" + (f"; {told}" if told else "")

        with self._telling_of_pods(kind, namespace, lacking):
            return wait_until(
                look, what=what, within_s=within_s, every_s=LOOK_EVERY_S, retry_on=(*RIDDEN_OUT, NotFound),
                describe=state,
            )[0]  # fmt: skip

    def wait_for_workloads(
        self, namespace: str, *, labels: str | None = None, what: str, within_s: float, kinds: Iterable[str] = WORKLOADS
    ) -> Manifests:
        """Wait until every Deployment, StatefulSet and DaemonSet of a namespace is ready, and return them.

        None at all is ready too: a namespace may hold none. Who knows what must be there compares with what comes back.

        Args:
            namespace: the namespace.
            labels: a label selector; None for all of them.
            what: what is waited for, in words.
            within_s: deadline in seconds, for all of them together.
            kinds: which of `WORKLOADS` are waited for.

        Raises:
            WaitTimeout: not all were ready by the deadline; names those that were not, and what keeps their pods.
            KubeError: the request makes no sense to the API server (4xx).

        """
        deadline = time.monotonic() + within_s
        seen: Manifests = []

        def lacking() -> Manifests:
            return [one for one in seen if not WORKLOADS[one["kind"]](one)]

        def look() -> tuple[Manifests, ...]:
            nonlocal seen
            left_s = max(deadline - time.monotonic(), _LAST_LOOK_S)
            seen = [one for kind in kinds for one in self._list(kind, namespace, labels=labels, timeout_s=left_s)[0]]
            return () if lacking() else (seen,)

        def state(_: object) -> str:
            told = "; ".join(f"{_named(one)}: {describe(one)}" for one in lacking()[:3])
            return f"{len(seen) - len(lacking())} of {len(seen)} workloads ready; {told}"

        with self._telling_of_pods("", namespace, lacking):
            return wait_until(
                look, what=what, within_s=within_s, every_s=_LOOK_AT_ALL_EVERY_S, retry_on=RIDDEN_OUT, describe=state
            )[0]

    @contextmanager
    def _telling_of_pods(self, kind: str, namespace: str | None, lacking: Callable[[], Manifests]) -> Iterator[None]:
        """Add to a time-out what keeps the pods of those that were not ready: a workload's own status does not say."""
        try:
            yield
        except WaitTimeout as late:
            if not namespace or not lacking():
                raise
            told = self._reasons(kind, namespace, lacking())
            if not told:
                raise
            raise WaitTimeout(late.what, f"{late.last}; {told}", late.deadline_s) from late

    def _reasons(self, kind: str, namespace: str, lacking: Manifests) -> str:
        def all_of(asked: str, fields: str | None = None) -> Manifests:
            return self._list(asked, namespace, fields=fields, timeout_s=_ASKING_WHY_S)[0]

        try:
            warnings = sorted(all_of("Event", "type=Warning"), key=moment_of)
            if kind == "Pod":
                return silences(lacking, warnings)
            return reasons(lacking, all_of("Pod"), [*all_of("ReplicaSet"), *all_of("Job")], warnings)
        except KubeError:  # it answers nobody just now, which the time-out says
            return ""


def moment_of(event: Manifest) -> str:
    """Return when an event was seen last, as Kubernetes wrote it."""
    series = event.get("series") or {}
    return str(
        series.get("lastObservedTime")
        or event.get("lastTimestamp")
        or event.get("eventTime")
        or event["metadata"].get("creationTimestamp", "")
    )


def _named(found: Manifest) -> str:
    return f"{found['kind'].lower()} {found['metadata']['name']}"
