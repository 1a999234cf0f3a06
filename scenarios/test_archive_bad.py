"""The database is lost, and its archive is not what it should be: the recovery fails, says why, and is done otherwise.

Procedure under test: docs/runbooks/database-bad-archive.md
Source: home-cluster's recovery of PostgreSQL: WAL archived in real time, a base backup a day; RTO 1 hour and RPO 15
minutes are those of the service tier critical of the backup and DR article, 1.2.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="1h",
    rpo="15m",
    source="home-cluster, recovery of PostgreSQL; service tier critical of the backup and DR article, 1.2",
    runbook="docs/runbooks/database-bad-archive.md",
    controls=["NIST CP-9(1)", "NIST CP-10", "ISO27001 A.8.13"],
    images=["cloudnative-pg"],
    slow="5 minutes",
)


@pytest.mark.drill(proves="a gap in the WAL fails a recovery beyond it, is named, and what is before it is recovered")
def test_gap_in_the_archive_is_recovered_up_to(drill, database, postgres):
    """A database is lost, and one WAL segment is missing in the middle of its archive."""
    database.open()
    database.sell(100)
    backup = postgres.backup()
    database.sell(20)
    missing = postgres.close_segment()
    database.sell(20)
    postgres.mark("closing-time")
    postgres.close_segment()
    postgres.lose_wal(missing)

    drill.holds(database.takes_orders)
    lost = faults.together(
        faults.pod_killed(database.kube, database.namespace, postgres.primary()),
        faults.namespace_deleted(database.kube, database.namespace),
    )
    with drill.disruption(lost, damage_within="2m"):
        with drill.recovery("see the recovery fail beyond the gap, find the gap, recover up to it"):
            postgres.make_room()
            postgres.fails_to_recover(
                "recovery ended before configured recovery target was reached", {"targetName": "closing-time"}, backup
            )
            found = postgres.look_for_gaps()
            drill.check("the gap is named", found == [missing], [missing], found)
            postgres.recover()
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=100) == 100, "every order from before the base backup is back"


@pytest.mark.drill(proves="a base backup without its WAL fails, is named, and the one before it is recovered")
def test_base_backup_without_its_wal_is_passed_over(drill, database, postgres):
    """A database is lost, and the archive lacks the WAL of its newest base backup."""
    database.open()
    database.sell(100)
    older = postgres.backup()
    database.sell(20)
    newest = postgres.backup()
    database.sell(20)
    postgres.close_segment()  # without a later segment, nobody can see that this backup's own is missing
    postgres.lose_wal(newest.begin_wal)

    drill.holds(database.takes_orders)
    lost = faults.together(
        faults.pod_killed(database.kube, database.namespace, postgres.primary()),
        faults.namespace_deleted(database.kube, database.namespace),
    )
    with drill.disruption(lost, damage_within="2m"):
        with drill.recovery("see the newest base backup fail, recover from the one before it"):
            postgres.make_room()
            postgres.fails_to_recover("first needed WAL in the archive")
            found = postgres.look_for_gaps()
            drill.check("the gap is named", found == [newest.begin_wal], [newest.begin_wal], found)
            postgres.recover(backup=older)
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=100) == 100, "every order from before the older base backup is back"


@pytest.mark.drill(proves="a target that the archive does not reach fails, and the end of the archive is recovered")
def test_target_after_the_last_wal_is_not_reached(drill, database, postgres):
    """A database is lost, and someone wants it as it was at the very instant of the loss."""
    database.open()
    database.sell(100)
    postgres.backup()
    database.sell(20)
    postgres.close_segment()

    drill.holds(database.takes_orders)
    lost = faults.together(
        faults.pod_killed(database.kube, database.namespace, postgres.primary()),
        faults.namespace_deleted(database.kube, database.namespace),
    )
    with drill.disruption(lost, damage_within="2m"):
        with drill.recovery("see the recovery miss its target, recover to the end of the archive"):
            postgres.make_room()
            postgres.fails_to_recover(
                "recovery ended before configured recovery target was reached",
                {"targetTime": drill.history.clock.now().utc.isoformat()},
            )
            postgres.recover()
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=120) == 120, "every order from before the last archived WAL is back"


@pytest.mark.drill(proves="an archive that cannot be reached fails the recovery, which is done once it is back")
def test_recovery_waits_for_its_object_store(drill, database, postgres, cluster, object_store):
    """A database is lost together with the way to its archive."""
    database.open()
    database.sell(100)
    postgres.backup()
    database.sell(20)
    postgres.close_segment()

    drill.holds(database.takes_orders)
    outage = faults.object_store_unreachable(cluster.nodes, object_store)
    lost = faults.together(
        faults.pod_killed(database.kube, database.namespace, postgres.primary()),
        faults.namespace_deleted(database.kube, database.namespace),
        outage,
    )
    with drill.disruption(lost, damage_within="2m"):
        with drill.recovery("see the recovery fail, have the way to the store repaired, recover"):
            postgres.make_room()
            postgres.fails_to_recover("Could not connect to the endpoint URL")
            postgres.reach_archive_again(outage.heal)
            postgres.recover()
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=120) == 120, "every order from before the last archived WAL is back"
