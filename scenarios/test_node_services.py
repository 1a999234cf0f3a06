"""A node's kubelet or containerd is dead, or hangs; its pods go on running.

Procedure under test: docs/runbooks/node-services.md
Source: k8s_myHome's recovery guide, level 2 "failure of a worker node": restart the services, within 1 hour.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="1h",
    source="k8s_myHome recovery guide, level 2",
    runbook="docs/runbooks/node-services.md",
    controls=["NIST CP-10", "ISO27001 A.8.14"],
    proves="a node whose services died or hang works again after their restart",
)


@pytest.mark.parametrize(("service", "how"), [("kubelet", "killed"), ("kubelet", "wedged"), ("containerd", "killed")])
def test_node_service_is_restarted(drill, web, cluster, nodes, node_services, service, how):
    """A service of a worker stops working, and Kubernetes notices."""
    web.open(replicas=2)
    worker = cluster.node(web.pods()[0]["spec"]["nodeName"])

    drill.holds(node_services.know_their_pods(worker.name), web.shows_its_page)
    with drill.disruption(faults.service_down(worker, service, how)):
        with drill.recovery("restart the node's services"):
            nodes.noticed(worker.name)
            node_services.restart(worker)

    assert drill.rta <= drill.objective.rto


def test_wedged_containerd_is_restarted(drill, web, cluster, node_services):
    """A worker's containerd hangs; for Kubernetes the node stays ready, so the services themselves are asked."""
    web.open(replicas=2)
    worker = cluster.node(web.pods()[0]["spec"]["nodeName"])

    drill.holds(node_services.know_their_pods(worker.name), web.shows_its_page)
    with drill.disruption(faults.service_down(worker, "containerd", "wedged")):
        with drill.recovery("find the service that hangs, and restart it"):
            node_services.found_out(worker)
            node_services.restart(worker)

    assert drill.rta <= drill.objective.rto
