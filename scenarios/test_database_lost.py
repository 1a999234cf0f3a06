"""The database is lost with its namespace and its volumes: what is left is the archive in the object store.

Procedure under test: docs/runbooks/database-restore.md
Source: home-cluster's recovery of PostgreSQL: WAL archived in real time, a base backup a day; RTO 1 hour and RPO 15
minutes are those of the service tier critical of the backup and DR article, 1.2.
"""

from datetime import timedelta

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="1h",
    rpo="15m",
    source="home-cluster, recovery of PostgreSQL; service tier critical of the backup and DR article, 1.2",
    runbook="docs/runbooks/database-restore.md",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "SOC2 A1.3"],
    images=["cloudnative-pg"],
    proves="the archive alone brings the database back, and what is lost is no more than archive_timeout",
)


@pytest.mark.parametrize("archive_timeout_s", [15, 60], ids=["archived every 15 s", "archived every 60 s"])
def test_lost_database_is_recovered_from_its_archive(drill, database, postgres, archive_timeout_s):
    """A database is lost with namespace and volumes, just before its WAL would have been archived."""
    database.open(archive_timeout=f"{archive_timeout_s}s")
    database.sell(100)
    postgres.backup()
    database.sell(20)  # in the WAL only

    drill.holds(database.takes_orders)
    postgres.tail_grows(0.8 * archive_timeout_s)
    lost = faults.together(
        faults.pod_killed(database.kube, database.namespace, postgres.primary()),  # nothing is archived on the way out
        faults.namespace_deleted(database.kube, database.namespace),
    )
    with drill.disruption(lost, damage_within="2m"):
        with drill.recovery("recover a new cluster to the end of the archive"):
            postgres.make_room()
            postgres.recover()
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert drill.rpa <= timedelta(seconds=archive_timeout_s + 10), "what is lost is the tail that was not archived"
    assert database.found(up_to=100) == 100, "every order from before the base backup is back"
