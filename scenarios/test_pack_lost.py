"""The backups' file repository has lost a pack, and the newest backup, made after that, is as lost as the old ones.

Procedure under test: docs/runbooks/bad-backup.md
Source: ccplant's recovery plan, scenario 2 "namespace deleted": RTO 1 hour, RPO 24 hours; the second storage location
is that of the backup and DR article, 4.5.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="1h",
    rpo="24h",
    source="ccplant recovery plan, scenario 2",
    runbook="docs/runbooks/bad-backup.md",
    controls=["NIST CP-6", "NIST CP-9(1)", "NIST CP-10", "ISO27001 A.8.13"],
    proves="a completed backup says nothing of a pack lost before it; a copy of the store brings back all of them",
    workers=1,
    own_cluster=True,
)


def test_lost_pack_is_put_back_from_the_copy(drill, shop, replicas, velero, packs):
    """A namespace is deleted; a pack of its files was lost before its newest backup, which completed all the same."""
    shop.sell(100)
    velero.backup(shop.namespace)
    replicas.catch_up()
    lost = packs.lose_one(shop.namespace)
    shop.sell(20)
    velero.backup(shop.namespace)
    shop.sell(20)  # acknowledged after the backup: the data at risk

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("see the newest backup fail, put back the pack that it lacks, restore it"):
            newest = packs.newest_is_as_lost(shop.namespace)
            packs.put_back(shop.namespace, lost)
            velero.restore(newest)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=120) == 120, "every order that was sold before the newest backup is back"
