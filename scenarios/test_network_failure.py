"""The network fails: a node is cut off, names resolve no more, Services lead nowhere.

Procedure under test: docs/runbooks/network-failure.md
Source: k8s_myHome's recovery guide, level 1 "network failure for a while": restart kube-proxy and CoreDNS, look a name
up; by itself or by hand, within 15 minutes.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="15m",
    source="k8s_myHome recovery guide, level 1",
    runbook="docs/runbooks/network-failure.md",
    controls=["NIST CP-10", "ISO27001 A.8.14"],
)


@pytest.mark.drill(proves="a node that is cut off for a moment is back by itself, and its pods were not moved")
def test_node_is_cut_off_for_a_moment(drill, web, cluster, network):
    """A worker's link is dead for 20 s; nobody does anything."""
    web.open(replicas=1)
    pod = web.pods()[0]
    worker = cluster.node(pod["spec"]["nodeName"])

    drill.holds(web.shows_its_page)
    with drill.disruption(faults.node_cut_off(worker, cluster.control_plane, cluster.kube, lasts_s=20)):
        with drill.recovery("the link comes back", by="kubernetes"):
            network.link_comes_back(worker, within_s=60)

    assert [one["metadata"]["uid"] for one in web.pods()] == [pod["metadata"]["uid"]], "the pod was not moved"
    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(proves="the pods of a node that stays cut off move, and when it is back their doubles end")
def test_node_stays_cut_off(drill, web, cluster, nodes, network):
    """A worker's packets are dropped until somebody finds out why; its pods move."""
    web.open(replicas=1, leaves_dead_node_after_s=10)
    worker = cluster.node(web.pods()[0]["spec"]["nodeName"])

    drill.holds(web.shows_its_page)
    with drill.disruption(faults.node_cut_off(worker, cluster.control_plane, cluster.kube)):
        with drill.recovery("let the pods move, then reconnect the node"):
            nodes.noticed(worker.name)
            nodes.pods_move(web.namespace, "app=web", worker.name, within_s=60)
            network.reconnect(worker)
            network.doubles_end(worker, web.namespace, "app=web")

    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(proves="killed CoreDNS pods are replaced and names resolve again, with nobody doing anything")
def test_killed_dns_is_replaced(drill, web, cluster, network):
    """All pods of CoreDNS are killed without grace."""
    web.open(replicas=2)

    drill.holds(web.finds_itself_by_name, web.still_shows_its_page)
    with drill.disruption(faults.dns_down(cluster.kube, "killed")):
        with drill.recovery("the controller replaces CoreDNS", by="kubernetes"):
            network.names_come_back()
            network.names_resolve(web.namespace, "deployment/web")

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(proves="CoreDNS that someone scaled away is given back, and names resolve again")
def test_dns_is_scaled_away(drill, web, cluster, network):
    """Someone scales CoreDNS to nothing."""
    web.open(replicas=2)

    drill.holds(web.finds_itself_by_name, web.still_shows_its_page)
    with drill.disruption(faults.dns_down(cluster.kube, "scaled away")):
        with drill.recovery("give CoreDNS its replicas back and restart it"):
            network.restart_dns()
            network.names_resolve(web.namespace, "deployment/web")

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(own_cluster=True, proves="killed kube-proxies write their rules anew, with nobody doing anything")
def test_killed_proxies_are_restarted(drill, web, cluster, network):
    """kube-proxy is killed on every node, and its rules are flushed."""
    web.open(replicas=2)

    drill.holds(web.shows_its_page)
    with drill.disruption(faults.services_lead_nowhere(cluster.nodes, "killed")):
        with drill.recovery("kubelet restarts kube-proxy", by="kubernetes"):
            network.services_come_back(cluster.nodes)
            network.names_resolve(web.namespace, "deployment/web")

    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(own_cluster=True, proves="wedged kube-proxies are replaced by a restart, and Services lead on again")
def test_wedged_proxies_are_restarted(drill, web, cluster, network):
    """kube-proxy hangs on every node, and its rules are gone: nothing heals by itself."""
    web.open(replicas=2)

    drill.holds(web.shows_its_page)
    with drill.disruption(faults.services_lead_nowhere(cluster.nodes, "wedged")):
        with drill.recovery("restart kube-proxy and CoreDNS"):
            network.restart_proxies()
            network.restart_dns()
            network.names_resolve(web.namespace, "deployment/web")

    assert drill.rta <= drill.objective.rto
