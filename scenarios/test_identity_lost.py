"""An identity server with two replicas loses one of them with its volume, or both.

Procedures under test: docs/runbooks/identity-replica.md and docs/runbooks/identity-restore.md
Source: home-cluster's recovery of its identity server: two replicas that pull from each other, a backup a day in the
object store (RPO 24 hours). RTO 1 hour, and RPO 15 minutes where a replica is left, are those of the service tier
critical of the backup and DR article, 1.2.
"""

import pytest

from drills import faults

pytestmark = [
    pytest.mark.drill(
        tier="critical",
        rto="1h",
        rpo="15m",
        source="service tier critical of the backup and DR article, 1.2",
        runbook="docs/runbooks/identity-replica.md",
        controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "ISO27001 A.8.14", "SOC2 A1.3"],
    ),
    pytest.mark.parametrize(
        "provider",
        [
            pytest.param("openldap", marks=pytest.mark.drill(images=["openldap"])),
            pytest.param("kanidm", marks=pytest.mark.drill(images=["kanidm"], needs=["image registry"])),
        ],
    ),
]


@pytest.mark.drill(proves="a replica that lost its data gets all of it from the other one, which people go on using")
def test_lost_identity_replica_is_seeded_again(drill, kube, identity, identity_server):
    """An identity server loses one of its two replicas with its volume."""
    identity.open()
    identity.change(100)

    drill.holds(identity.takes_logins, *identity.replicas_take_logins)
    with drill.disruption(faults.replicas_lost(kube, identity.namespace, "identity-1"), damage_within="2m"):
        with drill.recovery("seed the new replica from the other one"):
            identity_server.seed_again("identity-1")

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert identity.found(up_to=100) == 100, "both replicas have every change from before"


@pytest.mark.drill(
    rpo="24h",
    source="home-cluster, backups of the identity server; service tier critical of the backup and DR article, 1.2",
    runbook="docs/runbooks/identity-restore.md",
    proves="an identity server that lost all its data comes back from its backup, on both replicas",
)
def test_lost_identity_server_is_restored_from_backup(drill, kube, identity, identity_server):
    """An identity server loses both its replicas with their volumes."""
    identity.open()
    identity.change(100)
    identity_server.back_up()
    identity.change(20)  # acknowledged after the backup: the data at risk

    drill.holds(identity.takes_logins, *identity.replicas_take_logins)
    lost = faults.replicas_lost(kube, identity.namespace, "identity-0", "identity-1")
    with drill.disruption(lost, damage_within="2m"):
        with drill.recovery("restore the newest backup while no replica runs, and seed the other replica"):
            identity_server.restore(identity_server.newest())

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert identity.found(up_to=100) == 100, "every change from before the backup is back, on both replicas"
