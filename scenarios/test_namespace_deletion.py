"""Someone deletes the shop's namespace, its volumes included; its database was at work while it was backed up.

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
)


@pytest.mark.drill(proves="a deleted namespace comes back from its backup, with the data on its volumes")
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


@pytest.mark.drill(
    proves="what a file-level backup of a database at work is worth, with each hook and with none",
    slow="90 seconds each",
)
@pytest.mark.parametrize("hook", ["none", "dump", "frozen"])
def test_database_at_work_is_restored_from_its_files(drill, shop, velero, hook):
    """A namespace is deleted; its database sold and updated goods while its files were backed up."""
    shop.protect(hook)
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


@pytest.mark.drill(
    proves="a live copy in which a checkpoint ended is told apart, and the backup before it restored", slow="2 minutes"
)
def test_live_copy_with_a_checkpoint_in_it_is_passed_over(drill, shop, velero, backups):
    """A namespace is deleted; checkpoints of its database ended while its newest backup was taken."""
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)
    velero.backup(shop.namespace, meanwhile=shop.sell_and_checkpoint)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the newest backup that no checkpoint disturbed"):
            backups.restore_newest_undisturbed(shop.namespace)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the undisturbed backup is back"
