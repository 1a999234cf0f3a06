"""The runbooks under test, as code whose steps are recorded as they run. Each has its text in docs/runbooks."""

from drills.procedures.etcd import EtcdSnapshots, Snapshot
from drills.procedures.node import Nodes
from drills.procedures.pod import Controllers
from drills.procedures.velero import Backup, Velero

__all__ = ["Backup", "Controllers", "EtcdSnapshots", "Nodes", "Snapshot", "Velero"]
