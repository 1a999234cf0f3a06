"""A database's primary is lost while its replica is a little behind: failover, asynchronous and synchronous.

Procedure under test: docs/runbooks/database-failover.md
Source: RTO 1 hour and RPO 15 minutes are those of the service tier critical of the backup and DR article, 1.2; the
RPO 0 of a synchronous replica is that of its hot standby, 4.1.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="1h",
    rpo="15m",
    source="service tier critical of the backup and DR article, 1.2",
    runbook="docs/runbooks/database-failover.md",
    controls=["NIST CP-7", "NIST CP-10", "ISO27001 A.8.14", "SOC2 A1.2"],
    images=["cloudnative-pg"],
    proves="a replica takes over by itself, and what an asynchronous one costs that a synchronous one does not",
)


@pytest.mark.parametrize(
    "synchronous",
    [
        pytest.param(False, id="asynchronous"),
        pytest.param(
            True,
            id="synchronous",
            marks=pytest.mark.drill(
                rpo="0s", source="service tier critical and hot standby of the backup and DR article, 1.2 and 4.1"
            ),
        ),
    ],
)
def test_lost_primary_is_replaced_by_its_replica(drill, database, standby, synchronous):
    """A primary loses the link to its only replica and then its pod."""
    database.open(instances=2, synchronous=synchronous)
    database.sell(100)

    drill.holds(database.takes_orders)
    standby.fall_behind(seconds=2)  # what is acknowledged now is on the primary alone, if anything is
    with drill.disruption(faults.pod_killed(database.kube, database.namespace, standby.primary)):
        with drill.recovery("the operator promotes the replica", by="kubernetes"):
            standby.fail_over()
            standby.rejoin()

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert database.found(up_to=100) == 100, "every order from before the link was cut is there"
