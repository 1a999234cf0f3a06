"""The Kubernetes API as the harness needs it: plain JSON in, plain JSON out, and waits that cannot lie.

transport    one request at a time, and the only module that imports `kubernetes`
errors       what an API server answers instead of what was asked for
resources    where objects of a kind are found
manifests    what can be applied, checked before anything is sent
conditions   what "ready" and "gone" mean
describe     an object's state in one line
reasons      why a workload is not ready, in the words of its pods
waits        waiting for objects
client       `Kube`, which is all of that together
"""

from drills.kube.client import Eviction, Kube
from drills.kube.conditions import (
    VELERO_ENDED,
    daemonset_ready,
    daemonset_settled,
    deployment_available,
    gone,
    node_ready,
    pod_ready,
    present,
    statefulset_ready,
    velero_phase,
)
from drills.kube.describe import describe
from drills.kube.errors import RIDDEN_OUT, Busy, Conflict, Denied, KubeError, NotFound, Unreachable
from drills.kube.resources import Condition, Manifest, Manifests
from drills.kube.transport import CONNECT_TIMEOUT_S, FIELD_MANAGER, PAGE, QUIET_S, READ_TIMEOUT_S
from drills.kube.waits import LOOK_EVERY_S, WORKLOADS

__all__ = [
    "CONNECT_TIMEOUT_S",
    "FIELD_MANAGER",
    "LOOK_EVERY_S",
    "PAGE",
    "QUIET_S",
    "READ_TIMEOUT_S",
    "RIDDEN_OUT",
    "VELERO_ENDED",
    "WORKLOADS",
    "Busy",
    "Condition",
    "Conflict",
    "Denied",
    "Eviction",
    "Kube",
    "KubeError",
    "Manifest",
    "Manifests",
    "NotFound",
    "Unreachable",
    "daemonset_ready",
    "daemonset_settled",
    "deployment_available",
    "describe",
    "gone",
    "node_ready",
    "pod_ready",
    "present",
    "statefulset_ready",
    "velero_phase",
]
