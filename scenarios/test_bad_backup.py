"""A namespace is deleted, and the backup, its key, its store, or Velero itself fails on that very day.

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
            backups.restore_again(shop.namespace)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"


@pytest.mark.drill(proves="a restore that lost its store is given up, and done again when the store is back")
def test_restore_is_done_again_when_its_store_goes_away(drill, shop, cluster, object_store, velero, backups, locations):
    """A namespace is deleted; the object store can be reached no more, from the middle of the restore on."""
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)

    away = faults.object_store_unreachable(cluster.nodes, object_store)
    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore; the store goes away; reach it again, give that restore up, restore again"):
            backups.restore_while(away, velero.newest(shop.namespace))
            locations.reach_again()
            backups.give_up()
            backups.restore_again(shop.namespace)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"


@pytest.mark.drill(proves="a backup that lacks a volume says so, and is not chosen")
def test_partial_backup_is_not_chosen(drill, shop, velero, backups):
    """A namespace is deleted; its newest backup could not read the volume."""
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)
    partial = backups.make_partial(shop.namespace, shop.pod, shop.claim)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the newest backup that is whole"):
            backups.restore_newest_complete(shop.namespace, partial)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the whole backup is back"


@pytest.mark.drill(
    proves="a backup of a newer Velero is told apart, and the newest known one restored", slow="5 minutes"
)
def test_backup_of_a_newer_velero_is_told_apart(drill, shop, velero, backups):
    """A namespace is deleted; its newest backup was made by a newer Velero than is there to restore it."""
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)
    backups.make_newer(velero.backup(shop.namespace))

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("compare the store with what Velero knows, restore the newest that it knows"):
            backups.restore_newest_known(shop.namespace)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup that is known is back"


@pytest.mark.drill(proves="the last backup does not expire while people decide", slow="5 minutes")
def test_backup_is_restored_past_its_expiry(drill, shop, velero, backups, locations):
    """A namespace is deleted; its only backup is kept for two minutes, and its time is over before the restore."""
    shop.sell(100)
    backup = velero.backup(shop.namespace, ttl="2m")
    shop.sell(20)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("let nothing expire, decide, restore, let go"):
            locations.hold_back()
            backups.outlast_expiry(backup)
            velero.restore(velero.newest(shop.namespace))
            locations.let_go()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"


@pytest.mark.drill(
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
