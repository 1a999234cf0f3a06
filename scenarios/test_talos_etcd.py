"""etcd of three members loses its quorum, on control planes that run Talos.

Procedure under test: docs/runbooks/talos-etcd.md
Source: home-cluster's recovery of etcd with talosctl; its etcd is saved once a day.
"""

import pytest

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="1h",
    rpo="24h",
    source="home-cluster, recovery of etcd: a snapshot a day; RTO of the backup and DR article, 1.2",
    runbook="docs/runbooks/talos-etcd.md",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "ISO27001 A.8.14"],
    proves="etcd without a quorum comes back from a snapshot on one Talos control plane, and the others join it",
    needs=["Talos", "talosctl"],
    control_planes=3,
    workers=1,
    own_cluster=True,
)


def test_lost_etcd_quorum_is_restored_on_talos(drill, register, web, etcd, talos_etcd):
    """Two of three etcd members lose their disks, on Talos."""
    web.open(replicas=2)
    register.enter(30)
    snapshot = talos_etcd.take()
    register.enter(10)  # acknowledged after the snapshot: the data at risk

    drill.holds(register.answers, web.still_shows_its_page)
    with drill.disruption(talos_etcd.wiped(2), damage_within="10m"):
        with drill.recovery("wipe every control plane, bootstrap one from the snapshot"):
            talos_etcd.recover(snapshot)
            etcd.controllers_work(web.namespace, web.image)
            talos_etcd.whole()

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert register.found(up_to=30) == 30, "every object from before the snapshot is back"
