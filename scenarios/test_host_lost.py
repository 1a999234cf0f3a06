"""The machine is lost, and everything of the cluster on it. The backups are elsewhere; another machine is ready.

Procedure under test: docs/runbooks/host-rebuild.md
Source: k8s_myHome's recovery guide, level 4 "failure of the host": complete rebuild within 4 hours, RPO 24 hours.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="4h",
    rpo="24h",
    source="k8s_myHome recovery guide, level 4",
    runbook="docs/runbooks/host-rebuild.md",
    controls=["NIST CP-2", "NIST CP-9", "NIST CP-10", "ISO27001 A.5.30", "ISO27001 A.8.13"],
    proves="one procedure rebuilds the whole platform on another machine, from the backups alone",
    workers=1,
    own_cluster=True,
)


def test_lost_host_is_rebuilt_from_the_ground(drill, host, shop, web, velero, host_rebuild):
    """A machine is lost with its cluster, its network and its files; all of it is built anew."""
    web.open(replicas=2)
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)  # acknowledged after the backup: the data at risk
    host_rebuild.note_inventory(shop.namespace)

    drill.holds(shop.takes_orders, web.shows_its_page)
    with drill.disruption(faults.host_lost(host), damage_within="1m"):
        with drill.recovery("rebuild the whole platform"):
            host_rebuild.prepare_host()
            new_cluster = host_rebuild.provision()
            host_rebuild.verify(new_cluster)
            new_velero = host_rebuild.velero(new_cluster)
            backup = host_rebuild.find_backup(new_cluster, new_velero, shop.namespace)
            host_rebuild.restore(new_velero, backup, "shop", "web")
            host_rebuild.move_users(new_cluster)
            host_rebuild.reopen(new_cluster)

    host_rebuild.check_inventory(new_cluster, shop.namespace)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"
