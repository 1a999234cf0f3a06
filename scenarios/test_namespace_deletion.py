"""Someone deletes the shop's namespace, its volumes included.

Procedure under test: docs/runbooks/namespace-restore.md
Source: ccplant's recovery plan, scenario 2 "namespace deleted": RTO 1 hour, RPO 24 hours.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="1h",
    rpo="24h",
    source="ccplant recovery plan, scenario 2",
    runbook="docs/runbooks/namespace-restore.md",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "SOC2 A1.3"],
    proves="a deleted namespace comes back from its backup, with the data on its volumes",
)


def test_deleted_namespace_is_restored_from_backup(drill, shop, velero):
    """A namespace is deleted with its volumes."""
    shop.protect("base backup")
    shop.sell(100)
    velero.backup(shop.namespace, meanwhile=shop.keep_selling)
    shop.sell(20)  # acknowledged after the backup: the data at risk

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the newest completed backup"):
            velero.restore(velero.newest(shop.namespace))

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"
