"""A table is dropped by mistake: the database is healthy, and the data is gone.

Procedure under test: docs/runbooks/database-point-in-time.md
Source: home-cluster's recovery of PostgreSQL: WAL archived in real time, a base backup a day, recovery to a point in
time; RTO 1 hour and RPO 15 minutes are those of the service tier critical of the backup and DR article, 1.2.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="1h",
    rpo="15m",
    source="home-cluster, recovery of PostgreSQL; service tier critical of the backup and DR article, 1.2",
    runbook="docs/runbooks/database-point-in-time.md",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "SOC2 A1.3"],
    images=["cloudnative-pg"],
)


@pytest.mark.drill(
    proves="a database is recovered to the instant before a mistake, with all that was acknowledged until then"
)
def test_dropped_table_is_recovered_to_an_instant(drill, database, postgres):
    """A table is dropped; the database is recovered to the instant before."""
    database.open()
    database.sell(100)
    postgres.backup()
    database.sell(20)  # in the WAL only

    drill.holds(database.takes_orders)
    with drill.disruption(faults.table_dropped(database, "ledger")):
        with drill.recovery("recover a new cluster to the instant before the drop"):
            drop = postgres.find_drop("ledger")
            postgres.archive_the_rest()
            postgres.recover({"targetTime": drop.at.isoformat()})
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=120) == 120, "every order from before the drop is back"


@pytest.mark.drill(proves="a database is recovered to the last transaction before a mistake")
def test_dropped_table_is_recovered_to_a_transaction(drill, database, postgres):
    """A table is dropped; the database is recovered to the transaction before."""
    database.open()
    database.sell(100)
    backup = postgres.backup()
    database.sell(20)  # in the WAL only

    drill.holds(database.takes_orders)
    with drill.disruption(faults.table_dropped(database, "ledger")):
        with drill.recovery("recover a new cluster to just before the transaction that dropped it"):
            drop = postgres.find_drop("ledger")
            transaction = postgres.transaction_of(drop, since=backup)
            postgres.archive_the_rest()
            postgres.recover({"targetXID": transaction, "exclusive": True}, backup)
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=120) == 120, "every order from before the drop is back"


@pytest.mark.drill(proves="a database is recovered to the point that was named before a risky change")
def test_dropped_table_is_recovered_to_a_named_point(drill, database, postgres):
    """A table is dropped in a change; the database is recovered to the point that was named before it."""
    database.open()
    database.sell(100)
    backup = postgres.backup()
    postgres.mark("before-the-change")
    database.sell(20)  # acknowledged after the named point: the data at risk

    drill.holds(database.takes_orders)
    with drill.disruption(faults.table_dropped(database, "ledger")):
        with drill.recovery("recover a new cluster to the named point"):
            postgres.archive_the_rest()
            postgres.recover({"targetName": "before-the-change"}, backup)
            postgres.move_users()
            postgres.protect_again()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=100) == 100, "every order from before the named point is back"
