"""A namespace is deleted, and the backup, its key, or Velero itself fails on that very day.

Procedure under test: docs/runbooks/bad-backup.md
Source: ccplant's recovery plan, scenario 2 "namespace deleted": RTO 1 hour, RPO 24 hours.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="1h",
    rpo="24h",
    source="ccplant recovery plan, scenario 2",
    runbook="docs/runbooks/bad-backup.md",
    controls=["NIST CP-9(1)", "NIST CP-10", "ISO27001 A.8.13"],
)


@pytest.mark.drill(proves="a truncated newest backup is told apart, and the one before it restored")
def test_truncated_backup_is_passed_over(drill, shop, velero, backups):
    """A namespace is deleted; the archive of its newest backup is cut off."""
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)
    backups.truncate(velero.backup(shop.namespace))

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the newest backup that can be restored"):
            backups.restore_newest_good(shop.namespace)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the good backup is back"


@pytest.mark.drill(proves="a backup whose volume data is lost is told apart, and the one before it restored")
def test_backup_without_its_volume_files_is_passed_over(drill, shop, velero, backups):
    """A namespace is deleted; the store has lost the files of its newest backup's volumes."""
    shop.sell(100)
    velero.backup(shop.namespace)
    kept = backups.volume_files(shop.namespace)
    shop.sell(20)
    velero.backup(shop.namespace)
    backups.lose_volume_files(shop.namespace, besides=kept)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the newest backup that can be restored"):
            backups.restore_newest_good(shop.namespace)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the good backup is back"


@pytest.mark.drill(proves="a changed repository key fails loudly, and the one in custody opens the backup")
def test_backup_is_restored_with_the_key_in_custody(drill, shop, velero, backups):
    """A namespace is deleted; the cluster's key to its file backups is a wrong one."""
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)
    backups.change_key()

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("see the restore fail, put the key back, restore again"):
            backups.fails_to_restore(velero.newest(shop.namespace))
            backups.put_key_back()
            backups.remove_leftovers(shop.namespace)
            velero.restore(velero.newest(shop.namespace))

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"


@pytest.mark.drill(proves="a restore that Velero did not survive is given up, and done again")
def test_restore_is_done_again_when_velero_dies_in_it(drill, shop, velero, backups):
    """A namespace is deleted; Velero's server is killed in the middle of the restore."""
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore; Velero dies; clean up and restore again"):
            backups.restore_while_velero_dies(velero.newest(shop.namespace))
            backups.remove_leftovers(shop.namespace)
            velero.restore(velero.newest(shop.namespace))

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"
