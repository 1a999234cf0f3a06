"""A pod is killed without grace: the process is gone in the middle of its work.

Procedure under test: docs/runbooks/pod-replacement.md (the controller replaces it; nobody does anything)
Source: ccplant's recovery plan, scenario 1 "loss of a single pod": back by itself within minutes, no data lost.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="5m",
    source="ccplant recovery plan, scenario 1",
    runbook="docs/runbooks/pod-replacement.md",
    controls=["NIST CP-10", "SOC2 A1.3"],
)


@pytest.mark.drill(rpo="0s", proves="a database pod is replaced and no acknowledged write is lost")
def test_database_pod_is_replaced_without_losing_a_write(drill, shop, controllers):
    """The database's pod is killed without grace."""
    shop.sell(20)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.pod_killed(shop.kube, shop.namespace, shop.pod)):
        with drill.recovery("the controller replaces the pod"):
            controllers.replace("StatefulSet", "shop", shop.namespace)

    assert drill.rta <= drill.objective.rto
    assert not drill.losses.lost


@pytest.mark.drill(proves="users do not go down with one of several replicas")
def test_one_of_several_web_pods_is_replaced(drill, web, controllers):
    """One of three stateless replicas is killed without grace."""
    web.open(replicas=3)
    victim = web.pods()[0]["metadata"]["name"]

    drill.holds(web.shows_its_page)
    with drill.disruption(faults.pod_killed(web.kube, web.namespace, victim)):
        with drill.recovery("the controller replaces the pod"):
            controllers.replace("Deployment", "web", web.namespace)

    assert drill.rta <= drill.objective.rto
