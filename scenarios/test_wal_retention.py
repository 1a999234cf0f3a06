"""A mistake is noticed late: the oldest point in time that the retention promises is what is left.

Procedure under test: docs/runbooks/database-retention.md
Source: home-cluster's backups: WAL in real time, a base backup a day, base backups and WAL kept for 7 days; RTO 1 hour
of the service tier critical of the backup and DR article, 1.2, RPO 24 hours of a base backup a day.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="1h",
    rpo="24h",
    source="home-cluster, retention of PostgreSQL's backups; service tier critical of the backup and DR article, 1.2",
    runbook="docs/runbooks/database-retention.md",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "SOC2 A1.2"],
    images=["cloudnative-pg"],
    proves="base backups and WAL expire as planned, and the oldest point that is promised can be recovered",
    slow="4 minutes",
)


def test_oldest_promised_point_is_recovered(drill, database, postgres, wal_retention):
    """A table is dropped; the oldest point that the retention promises is recovered."""
    database.open()
    database.sell(50)
    expired = postgres.backup()
    database.sell(50)
    oldest = postgres.backup()
    database.sell(20)
    newest = postgres.backup()
    wal_retention.keep(newest=2)
    wal_retention.holds([oldest, newest])

    drill.holds(database.takes_orders)
    with drill.disruption(faults.table_dropped(database, "ledger")):
        with drill.recovery("see that what expired is refused, recover to the oldest point that is promised"):
            postgres.archive_the_rest()
            postgres.fails_to_recover("no backup found with ID", {"targetImmediate": True}, expired)
            postgres.recover({"targetImmediate": True}, oldest)
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=100) == 100, "every order from before the oldest base backup that is kept is back"
