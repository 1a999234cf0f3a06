"""`make bench`: how far the probe is off, and what the harness adds to the bare commands; all as ratios of one run.

Each command is timed bare and under the harness in turn, with a probe and a writer at work in the harness's turns, on
one cluster of one machine in one run; what the machine does besides hits both. Nothing here passes or fails.
"""

from __future__ import annotations

import os
import secrets
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from drills.fixtures.cluster import Cluster, Shape
from drills.fixtures.images.store import Mode
from drills.fixtures.platform import Platform
from drills.fixtures.progress import Progress
from drills.fixtures.workloads import Shop
from rich.console import Console
from rich.table import Table

from drills import Commands, Drill, History, Objective, SystemClock
from drills.kube import statefulset_ready
from drills.procedures import EtcdSnapshots, Velero

TURNS = 3
DEADLINE_S = 600


class Times:
    """Seconds of the same thing, bare and under the harness."""

    def __init__(self) -> None:
        self.bare: dict[str, list[float]] = {}
        self.harness: dict[str, list[float]] = {}

    @contextmanager
    def of(self, side: dict[str, list[float]], name: str) -> Iterator[None]:
        """Time a block."""
        started = time.monotonic()
        yield
        side.setdefault(name, []).append(time.monotonic() - started)

    def table(self) -> Table:
        """Show the medians and their ratio."""
        table = Table(title=f"harness against bare commands, median of {TURNS}", show_edge=False)
        for column in ("what", "bare", "harness", "ratio", "ratios seen"):
            table.add_column(column, justify="left" if column == "what" else "right")
        for name, bare in self.bare.items():
            harness = self.harness[name]
            ratios = [theirs / ours for theirs, ours in zip(harness, bare, strict=True)]
            table.add_row(
                name,
                f"{statistics.median(bare):.2f} s",
                f"{statistics.median(harness):.2f} s",
                f"{statistics.median(harness) / statistics.median(bare):.2f}",
                f"{min(ratios):.2f} to {max(ratios):.2f}",
            )
        return table


def main() -> None:
    """Measure and print."""
    console = Console(highlight=False)
    console.print(f"{os.cpu_count()} cores, {_memory_gib():.0f} GiB; {' '.join(os.uname()[0:3:2])}")
    probe_error()
    times = Times()
    with Platform(f"bench{secrets.token_hex(2)}", Mode.AUTO, Progress()) as platform:
        creation(platform, times)
        with platform.own_cluster(Shape(1, 1)) as cluster, tempfile.TemporaryDirectory() as scratch:
            snapshots(cluster, times, Path(scratch))
            restores(platform, cluster, times, Path(scratch))
    console.print(times.table())


def probe_error() -> None:
    """Measure scripted outages of real servers; the test's own lines say how late each kind is told."""
    test = Path(__file__).parents[1] / "tests/unit/test_probe_error.py"
    subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-k", "within_its_bounds", str(test)], check=True, timeout=300
    )


def creation(platform: Platform, times: Times) -> None:
    """Create a cluster: kind alone with its own wait, and the harness, whose cluster is ready for a workload."""
    platform.prepare()
    for _ in range(TURNS):
        bare = platform.cluster(Shape(1, 1))
        with times.of(times.bare, "create a cluster"):
            bare.kind_create()
        bare.delete()
        made = platform.cluster(Shape(1, 1))
        try:
            with times.of(times.harness, "create a cluster"):
                made.create()
        finally:
            made.delete()


def snapshots(cluster: Cluster, times: Times, scratch: Path) -> None:
    """Take and check a snapshot of etcd: the tools alone, and the procedure."""
    pki = "--cacert=/etc/kubernetes/pki/etcd/ca.crt --cert=/etc/kubernetes/pki/etcd/healthcheck-client.crt"
    script = (
        f"etcdctl --endpoints=https://127.0.0.1:2379 {pki} --key=/etc/kubernetes/pki/etcd/healthcheck-client.key"
        " snapshot save /var/lib/bench.db && etcdutl snapshot status /var/lib/bench.db && sha256sum /var/lib/bench.db"
    )
    node = cluster.control_plane
    for turn in range(TURNS):
        with times.of(times.bare, "etcd snapshot, checked"):
            _run([*node.enter, "sh", "-c", script], cluster.engine.env())
        drill = _drill(scratch / f"etcd-{turn}")
        with times.of(times.harness, "etcd snapshot, checked"):
            EtcdSnapshots(drill, cluster.kube, node).take()
        drill.close()


def restores(platform: Platform, cluster: Cluster, times: Times, scratch: Path) -> None:
    """Back a namespace up and restore it with Velero: its commands alone, and a drill with probe and writer at work."""
    program = platform.install_velero(cluster)
    velero = [str(program), "--kubeconfig", str(cluster.kubeconfig_path), "--namespace", "velero"]
    options = ["--default-volumes-to-fs-backup=true", "--snapshot-volumes=false", "--wait"]
    for turn in range(TURNS):
        for side, measuring in ((times.bare, False), (times.harness, True)):
            namespace = f"bench-{turn}-{'harness' if measuring else 'bare'}"
            cluster.kube.apply({"apiVersion": "v1", "kind": "Namespace", "metadata": {"name": namespace}})
            drill = _drill(scratch / namespace)
            shop = Shop(drill, cluster, namespace).open()
            if measuring:
                drill.holds(shop.takes_orders)
                procedure = Velero(drill, cluster.kube, program, cluster.kubeconfig_path)
                with times.of(side, "velero backup"):
                    backup = procedure.backup(namespace)
            else:
                with times.of(side, "velero backup"):
                    _run([*velero, "backup", "create", namespace, "--include-namespaces", namespace, *options])
            cluster.kube.delete("Namespace", namespace, wait=True, within_s=120)
            if measuring:
                with times.of(side, "velero restore, until the workload is ready"):
                    procedure.restore(backup)
            else:
                with times.of(side, "velero restore, until the workload is ready"):
                    _run(
                        [
                            *velero,
                            "restore",
                            "create",
                            namespace,
                            "--from-backup",
                            namespace,
                            "--preserve-nodeports",
                            "--wait",
                        ]
                    )
                    cluster.kube.wait_for(
                        "StatefulSet",
                        "shop",
                        namespace,
                        condition=statefulset_ready,
                        what="the shop is back",
                        within_s=120,
                    )
            drill.close()
            shop.close()
            cluster.kube.delete("Namespace", namespace, wait=True, within_s=120)


def _drill(directory: Path) -> Drill:
    directory.mkdir()
    history = History(SystemClock(), directory / "history.jsonl")
    return Drill("bench", Objective(None, None), history, Commands(directory / "commands.log", history))


def _run(argv: list[str], environment: dict[str, str] | None = None) -> None:
    subprocess.run(argv, env=environment, check=True, capture_output=True, timeout=DEADLINE_S)


def _memory_gib() -> float:
    return os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") / 2**30


if __name__ == "__main__":
    main()
