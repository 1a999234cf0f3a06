"""A drill of the user's own workload, in a repository of the user's own: its images are on no node and in no registry.

One is on the container engine, as `docker build` would leave it; the other is in an archive beside the scenario.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from drills.fixtures.engine import Engine
from drills.fixtures.images.own import contents
from drills.fixtures.objectstore import IMAGE

from .conftest import Held, hold

ORDERS, MAILER = "registry.example.com/shop/orders:1.4.2", "registry.example.com/shop/mailer:7"

SCENARIO = """
import pytest

from drills import faults, http_probe
from drills.kube import deployment_available

APP = {"app": "orders"}


def container(port, image):
    return {
        "name": f"port-{port}",
        "image": image,
        "args": ["--port", f":{port}", "--health", "/health", "posix", "/tmp"],
        "env": [{"name": name, "value": "any"} for name in ("ROOT_ACCESS_KEY", "ROOT_SECRET_KEY")],
        "readinessProbe": {"httpGet": {"path": "/health", "port": port}, "periodSeconds": 1},
    }


@pytest.mark.drill(rto="5m", control_planes=1, workers=0, images=[IMAGES[8080], "build/mailer.tar"])
def test_orders_come_back(drill, cluster, kube, namespace, controllers):
    ""\"The order service's pod is killed.""\"
    template = {"metadata": {"labels": APP}, "spec": {"containers": [container(*one) for one in IMAGES.items()]}}
    deployment = {
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": "orders"},
        "spec": {"selector": {"matchLabels": APP}, "template": template},
    }
    service = {
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": "orders"},
        "spec": {"type": "NodePort", "selector": APP, "ports": [{"port": 80, "targetPort": 8081, "nodePort": 30002}]},
    }
    kube.apply([deployment, service], namespace)
    kube.wait_for("Deployment", "orders", namespace, condition=deployment_available, what="orders run", within_s=60)
    (pod,) = kube.list("Pod", namespace, labels="app=orders")
    orders = http_probe("orders are taken", cluster.entries(30002), path="/health")

    drill.holds(orders)
    with drill.disruption(faults.pod_killed(kube, namespace, pod["metadata"]["name"])):
        with drill.recovery("the controller replaces the pod"):
            controllers.replace("Deployment", "orders", namespace)

    assert drill.rta <= drill.objective.rto
"""


@pytest.fixture(scope="module")
def repository(engine: Engine, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """A scenario, an archive, and an image that only the engine has."""
    made = tmp_path_factory.mktemp("repository")
    (made / "build").mkdir()
    (made / "test_orders.py").write_text(f"IMAGES = {{8080: {ORDERS!r}, 8081: {MAILER!r}}}\n{SCENARIO}")
    for name in (ORDERS, MAILER):
        engine.run("tag", IMAGE, name)
    engine.run("save", "--output", str(made / "build/mailer.tar"), MAILER)
    engine.run("image", "rm", MAILER)
    yield made
    engine.run("image", "rm", ORDERS)


@pytest.fixture(scope="module")
def held(repository: Path) -> Held:
    return hold(evidence=repository / "evidence", scenarios=[str(repository / "test_orders.py")], timeout_s=400)


def test_drill_of_an_own_workload_is_met(held: Held) -> None:
    assert held.verdicts == {"orders_come_back": "MET"}
    assert held.code == 0


def test_record_names_the_digest_of_each_image(held: Held, repository: Path) -> None:
    (record,) = held.records.values()
    mailer = contents(repository / "build/mailer.tar")
    assert set(mailer) == {MAILER}
    assert record["environment"]["images"] == {**mailer, ORDERS: mailer[MAILER]}, "the same image by two names"


def test_an_image_that_is_nowhere_is_noticed_before_a_cluster_is_made(engine: Engine, tmp_path: Path) -> None:
    (tmp_path / "test_orders.py").write_text(
        f"IMAGES = {{8080: 'registry.example.com/shop/none:1', 8081: {MAILER!r}}}\n"
        + SCENARIO.replace(', "build/mailer.tar"', "")
    )
    held = hold(
        "--drill-images", "build", evidence=tmp_path / "evidence", scenarios=[str(tmp_path / "test_orders.py")]
    )  # fmt: skip
    assert held.code == 3, held.output
    assert (
        "image registry.example.com/shop/none:1: the engine has none of that name, and nothing is pulled" in held.output
    )
    assert ": 1 control plane" not in held.output, "no cluster was made for it"
