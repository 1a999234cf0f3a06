"""The backups' own home is lost, and then the data: what is left is the off-site copy of the backups.

Procedure under test: docs/runbooks/object-store-loss.md
Source: HKS' recovery plan, scenario 3 "failure of the data centre": RTO 4 hours, RPO 12 hours; the second storage
location is that of the backup and DR article, 4.5.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="4h",
    rpo="12h",
    source="HKS recovery plan, scenario 3",
    runbook="docs/runbooks/object-store-loss.md",
    controls=["NIST CP-6", "NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "SOC2 A1.3"],
    proves="the off-site copy of the backups is enough when their own store is lost",
    workers=1,
    own_cluster=True,
)


def test_lost_object_store_is_replaced_by_its_copy(drill, shop, replicas, velero, offsite):
    """The primary object store is destroyed with its volume, and the namespace with its data goes too."""
    shop.sell(100)
    velero.backup(shop.namespace)
    replicas.catch_up()
    shop.sell(20)  # acknowledged after the backup: the data at risk

    drill.holds(shop.takes_orders)
    both = faults.together(
        faults.object_store_destroyed(replicas.primary), faults.namespace_deleted(shop.kube, shop.namespace)
    )
    with drill.disruption(both, damage_within="2m"):
        with drill.recovery("restore from the off-site copy"):
            offsite.take_over()
            velero.restore(velero.newest(shop.namespace))

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"
