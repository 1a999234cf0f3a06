"""The runbooks under test, as code whose steps are recorded as they run. Each has its text in docs/runbooks."""

from drills.procedures.alerting import Alerting
from drills.procedures.archive import Archive
from drills.procedures.backups import Backups
from drills.procedures.controlplane import ControlPlane, SavedControlPlane
from drills.procedures.etcd import EtcdSnapshots, Snapshot
from drills.procedures.failover import Failover, Strategy
from drills.procedures.gitops import Bundle, GitOps
from drills.procedures.identity import IdentityServer, OpenLDAP
from drills.procedures.jobs import CronJobs
from drills.procedures.kanidm import KanidmServer
from drills.procedures.locations import Locations
from drills.procedures.members import EtcdMembers
from drills.procedures.network import Network
from drills.procedures.node import Nodes
from drills.procedures.offsite import OffSite
from drills.procedures.operator import BackupOperator
from drills.procedures.packs import Packs
from drills.procedures.platform import PlatformRebuild
from drills.procedures.pod import Controllers
from drills.procedures.postgres import BaseBackup, Drop, Postgres
from drills.procedures.rebuild import HostRebuild, Rebuild
from drills.procedures.replicas import Replicas
from drills.procedures.schedules import Retention, Schedules
from drills.procedures.sealed import SealedSecrets
from drills.procedures.secrets import Secrets
from drills.procedures.service import NodeServices
from drills.procedures.snapshots import SnapshotJob
from drills.procedures.talos import TalosEtcdMembers, talos_machines
from drills.procedures.validation import Validation, ValidationJob
from drills.procedures.velero import Backup, Velero
from drills.procedures.volumes import Volumes, VolumeSnapshots
from drills.procedures.wal_retention import WalRetention

__all__ = [
    "Alerting",
    "Archive",
    "Backup",
    "BackupOperator",
    "Backups",
    "BaseBackup",
    "Bundle",
    "ControlPlane",
    "Controllers",
    "CronJobs",
    "Drop",
    "EtcdMembers",
    "EtcdSnapshots",
    "Failover",
    "GitOps",
    "HostRebuild",
    "IdentityServer",
    "KanidmServer",
    "Locations",
    "Network",
    "NodeServices",
    "Nodes",
    "OffSite",
    "OpenLDAP",
    "Packs",
    "PlatformRebuild",
    "Postgres",
    "Rebuild",
    "Replicas",
    "Retention",
    "SavedControlPlane",
    "Schedules",
    "SealedSecrets",
    "Secrets",
    "Snapshot",
    "SnapshotJob",
    "Strategy",
    "TalosEtcdMembers",
    "Validation",
    "ValidationJob",
    "Velero",
    "VolumeSnapshots",
    "Volumes",
    "WalRetention",
    "talos_machines",
]
