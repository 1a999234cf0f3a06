"""Kubernetes and Velero as people use them: drills that are held by test_kubernetes_as_used.py, and by nobody else."""

import pytest

from drills import BadReading, callable_probe, faults
from drills.kube import KubeError, describe

pytestmark = pytest.mark.drill(rto="10m", workers=1)

IMAGE = "drills.local/postgres:15"
PAGE = """
# what a template leaves of a part that is switched off
---
apiVersion: v1
kind: PersistentVolumeClaim
metadata: {{name: data, labels: {{app: page}}}}
spec: {{storageClassName: {storage}, accessModes: [ReadWriteOnce], resources: {{requests: {{storage: 50Mi}}}}}}
---
apiVersion: apps/v1
kind: Deployment
metadata: {{name: page, labels: {{app: page}}}}
spec:
  selector: {{matchLabels: {{app: page}}}}
  template:
    metadata: {{labels: {{app: page}}}}
    spec:
      terminationGracePeriodSeconds: 1
      volumes: [{{name: data, persistentVolumeClaim: {{claimName: data}}}}]
      containers:
        - {{name: page, image: "{image}", command: [sleep, "100000"], volumeMounts: [{{name: data, mountPath: /data}}]}}
"""


def deploy(kube, namespace, storage="drills", image=IMAGE, within_s=120):
    """Deploy what has the shape of Velero's own example: a Deployment with a claim, and no StatefulSet."""
    kube.apply(PAGE.format(storage=storage, image=image), namespace)
    kube.wait_for_workloads(namespace, what="the page runs", within_s=within_s)


def runs(kube, namespace, kind="Deployment", name="page"):
    """Make the users' probe of a workload."""

    def ask(timeout_s):
        try:
            found = kube.get(kind, name, namespace, timeout_s=timeout_s)
        except KubeError as error:
            raise BadReading(str(error)) from error
        if not ((found or {}).get("status") or {}).get("readyReplicas"):
            raise BadReading(describe(found))

    return callable_probe(f"{name} runs", ask, role="user", interval_s=0.2, timeout_s=2.0)


def test_deployment_with_a_claim_is_restored(drill, kube, namespace, velero):
    """A namespace is deleted whose only workload is a Deployment with a claim."""
    deploy(kube, namespace)
    velero.backup(namespace)
    drill.holds(runs(kube, namespace))
    with drill.disruption(faults.namespace_deleted(kube, namespace), damage_within="2m"):
        with drill.recovery("restore the newest backup"):
            velero.restore(velero.newest(namespace))


@pytest.mark.parametrize("how", ["all", "label"])
def test_backup_is_found_by_what_it_holds(drill, kube, namespace, velero, how):
    """Backups are made of all namespaces, or by label."""
    deploy(kube, namespace)
    chosen = ["--selector", "app=page"] if how == "label" else []
    velero.run(
        "backup", "create", f"{namespace}-{how}", *chosen, "--default-volumes-to-fs-backup=true",
        "--snapshot-volumes=false", "--wait", timeout_s=300,
    )  # fmt: skip
    drill.holds(runs(kube, namespace))
    with drill.disruption(faults.namespace_deleted(kube, namespace), damage_within="2m"):
        with drill.recovery("restore the newest backup"):
            found = velero.newest(namespace)
            drill.check("the backup is found", found.name == f"{namespace}-{how}", how, found.name)
            velero.restore(found)


def test_volume_that_velero_skips_is_missed(drill, kube, namespace, velero):
    """The claim is of a class that makes hostPath volumes."""
    deploy(kube, namespace, storage="standard")
    velero.backup(namespace)
    drill.holds(runs(kube, namespace))
    with drill.disruption(faults.namespace_deleted(kube, namespace), damage_within="2m"):
        with drill.recovery("restore the newest backup"):
            velero.restore(velero.newest(namespace))


def test_node_port_that_is_taken_is_named(drill, kube, namespace, velero):
    """Someone takes the node port of a lost Service."""
    deploy(kube, namespace)
    spec = {"type": "NodePort", "ports": [{"port": 80, "nodePort": 30003}]}
    service = {"apiVersion": "v1", "kind": "Service", "metadata": {"name": "page"}, "spec": spec}
    kube.apply(service, namespace)
    velero.backup(namespace)
    drill.holds(runs(kube, namespace))
    try:
        with drill.disruption(faults.namespace_deleted(kube, namespace), damage_within="2m"):
            kube.apply(service, "default")
            with drill.recovery("restore the newest backup"):
                velero.restore(velero.newest(namespace))
    finally:
        kube.delete("Service", "page", "default", wait=True)


def test_namespace_that_is_held_names_what_holds_it(drill, kube, namespace):
    """A finalizer that nobody takes away holds the namespace."""
    deploy(kube, namespace)
    held = {"name": "held", "finalizers": ["example.org/hold"]}
    kube.apply({"apiVersion": "v1", "kind": "ConfigMap", "metadata": held}, namespace)
    drill.holds(runs(kube, namespace))
    try:
        with drill.disruption(faults.namespace_deleted(kube, namespace), damage_within="30s"):
            pass
    finally:
        kube.patch("ConfigMap", "held", {"metadata": {"finalizers": None}}, namespace)


def test_budget_that_forbids_a_drain_is_named(drill, kube, namespace, nodes, cluster):
    """One replica, and a budget that wants one."""
    deploy(kube, namespace)
    spec = {"minAvailable": 1, "selector": {"matchLabels": {"app": "page"}}}
    kube.apply({"apiVersion": "policy/v1", "kind": "PodDisruptionBudget", "metadata": {"name": "never"}, "spec": spec},
               namespace)  # fmt: skip
    drill.holds(runs(kube, namespace))
    worker = cluster.workers[0].name
    with drill.disruption(nodes.drained(worker), damage_within="20s"), drill.recovery("uncordon the node"):
        nodes.uncordon(worker)


@pytest.mark.parametrize("strategy", ["OnDelete", "partition"])
def test_older_replicas_are_ready(drill, kube, namespace, controllers, strategy):
    """A StatefulSet keeps replicas of an older version, as it was told to."""
    update = {"type": "OnDelete"}
    if strategy == "partition":
        update = {"type": "RollingUpdate", "rollingUpdate": {"partition": 1}}
    for version in ("1", "2"):
        container = {"name": "c", "image": IMAGE, "command": ["sleep", "100000"]}
        pod = {"terminationGracePeriodSeconds": 1, "containers": [container]}
        template = {"metadata": {"labels": {"app": "set", "version": version}}, "spec": pod}
        spec = {"replicas": 2, "serviceName": "set", "updateStrategy": update,
                "selector": {"matchLabels": {"app": "set"}}, "template": template}  # fmt: skip
        kube.apply(
            {"apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": {"name": "set"}, "spec": spec}, namespace
        )
        kube.wait_for_workloads(namespace, what="the replicas run", within_s=120)
    drill.holds(runs(kube, namespace, "StatefulSet", "set"))
    with drill.disruption(faults.pod_killed(kube, namespace, "set-0")):
        with drill.recovery("the controller replaces the pod"):
            controllers.replace("StatefulSet", "set", namespace)


def test_image_that_nobody_has_is_named(kube, namespace):
    """The image is nowhere, and nodes pull nothing."""
    deploy(kube, namespace, image="registry.example.com/no/such:1", within_s=45)


def test_one_leaves_a_webhook_a_namespace_and_a_node_port(drill, kube, namespace):
    """A drill leaves what would spoil the next one."""
    deploy(kube, namespace)
    kube.apply("""
apiVersion: admissionregistration.k8s.io/v1
kind: ValidatingWebhookConfiguration
metadata: {name: gate.example.org}
webhooks:
  - name: gate.example.org
    admissionReviewVersions: [v1]
    sideEffects: None
    failurePolicy: Fail
    clientConfig: {service: {name: gate, namespace: gate}}
    rules: [{apiGroups: [""], apiVersions: [v1], operations: [CREATE], resources: [pods]}]
---
apiVersion: v1
kind: Namespace
metadata: {name: fixed}
---
apiVersion: v1
kind: Service
metadata: {name: web, namespace: fixed}
spec: {type: NodePort, ports: [{port: 80, nodePort: 30001}]}
""")
    drill.holds(runs(kube, namespace))


def test_the_next_one_is_not_spoilt(drill, kube, namespace, web, controllers):
    """The drill after it is held on another cluster."""
    web.open(replicas=1)
    pod = web.pods()[0]["metadata"]["name"]
    drill.holds(web.shows_its_page)
    with drill.disruption(faults.pod_killed(kube, namespace, pod)), drill.recovery("the controller replaces the pod"):
        controllers.replace("Deployment", "web", namespace)
