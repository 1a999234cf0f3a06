"""A namespace is deleted; whoever restores it holds the role backup-operator, and nothing else.

Procedure under test: docs/runbooks/backup-operator.md
Source: HKS' access control for backups; ccplant's recovery plan, scenario 2: RTO 1 hour, RPO 24 hours.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="1h",
    rpo="24h",
    source="ccplant recovery plan, scenario 2",
    runbook="docs/runbooks/backup-operator.md",
    controls=["NIST CP-9", "NIST AC-6", "ISO27001 A.8.13", "ISO27001 A.8.2"],
    proves="backup and restore need no administrator, and who does them can do nothing else",
)


def test_namespace_is_restored_by_the_backup_operator(drill, shop, backup_operator):
    """A namespace is deleted; someone with the role backup-operator alone restores it."""
    velero = backup_operator.velero
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)  # acknowledged after the backup: the data at risk
    backup_operator.is_refused_the_rest(shop.namespace)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the newest completed backup"):
            velero.restore(velero.newest(shop.namespace))

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    velero.is_audited(shop.namespace)
    assert velero.audited() == ["backup_create", "restore_create"], "each left its line in the audit log"
