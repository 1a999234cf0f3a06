"""The runbooks under test, as code whose steps are recorded as they run. Each has its text in docs/runbooks."""

from drills.procedures.controlplane import ControlPlane, SavedControlPlane
from drills.procedures.etcd import EtcdSnapshots, Snapshot
from drills.procedures.members import EtcdMembers
from drills.procedures.network import Network
from drills.procedures.node import Nodes
from drills.procedures.pod import Controllers
from drills.procedures.rebuild import Rebuild
from drills.procedures.secrets import Secrets
from drills.procedures.service import NodeServices
from drills.procedures.validation import Validation
from drills.procedures.velero import Backup, Velero
from drills.procedures.volumes import Volumes

__all__ = [
    "Backup",
    "ControlPlane",
    "Controllers",
    "EtcdMembers",
    "EtcdSnapshots",
    "Network",
    "NodeServices",
    "Nodes",
    "Rebuild",
    "SavedControlPlane",
    "Secrets",
    "Snapshot",
    "Validation",
    "Velero",
    "Volumes",
]
