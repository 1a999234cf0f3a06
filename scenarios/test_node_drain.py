"""A node is taken out for maintenance, and a node dies.

Procedures under test: docs/runbooks/node-drain.md and docs/runbooks/node-loss.md
Source: HKS' recovery plan, scenario 1 "loss of a single node": pods are rescheduled by Kubernetes, RTO 5 minutes.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="5m",
    source="HKS recovery plan, scenario 1",
    controls=["NIST CP-10", "ISO27001 A.8.14"],
)


@pytest.mark.drill(
    runbook="docs/runbooks/node-drain.md", proves="a node is emptied and refilled without users noticing"
)
def test_node_is_drained_within_the_disruption_budget(drill, web, cluster, nodes):
    """A worker is cordoned and drained for maintenance, and uncordoned afterwards."""
    web.open(replicas=4)
    worker = cluster.workers[0].name

    drill.holds(web.shows_its_page, web.keeps_its_budget)
    with drill.disruption(nodes.drained(worker), damage_within="2m"), drill.recovery("uncordon the node"):
        nodes.uncordon(worker)
        web.wait_until_all_serve(60)

    drill.always_held(web.keeps_its_budget)
    assert drill.rta <= drill.objective.rto


@pytest.mark.parametrize(
    "leaves_after_s",
    [
        pytest.param(10, id="tolerates 10 s"),
        # Kubernetes' own 300 s cannot meet five minutes, 50 s to notice come on top: held against a looser objective.
        pytest.param(
            None,
            id="tolerates 300 s",
            marks=pytest.mark.drill(
                rto="1h", source="service tier critical of the backup and DR article, 1.2", slow="7 minutes"
            ),
        ),
    ],
)
@pytest.mark.drill(
    runbook="docs/runbooks/node-loss.md", proves="a dead node's pods come back elsewhere, and the node too"
)
def test_dead_node_is_replaced_by_the_others(drill, web, cluster, nodes, leaves_after_s):
    """A worker loses its power; Kubernetes notices, its pods move, the worker comes back."""
    web.open(replicas=1, leaves_dead_node_after_s=leaves_after_s)
    worker = cluster.node(web.pods()[0]["spec"]["nodeName"])

    drill.holds(web.shows_its_page)
    with drill.disruption(faults.node_stopped(worker, web.kube)):
        with drill.recovery("let the pods move, then bring the node back"):
            nodes.noticed(worker.name)
            nodes.cordon(worker.name)
            nodes.pods_move(web.namespace, "app=web", worker.name, within_s=400)
            nodes.switch_on(worker)
            nodes.uncordon(worker.name)

    assert drill.rta <= drill.objective.rto
