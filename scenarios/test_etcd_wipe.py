"""The cluster loses its memory: etcd's data is wiped and etcd comes back empty.

Procedure under test: docs/runbooks/etcd-restore.md
Source: the backup and DR article, chapter 2 and its plan's "etcd_failure"; production: RTO 1 hour, RPO 15 minutes.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="1h",
    rpo="15m",
    source="backup and DR article, dr-plan, production",
    runbook="docs/runbooks/etcd-restore.md",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13"],
    workers=1,
    own_cluster=True,
)


@pytest.mark.drill(
    proves="a cluster with an empty etcd comes back from its snapshot while its workloads go on",
)
def test_wiped_etcd_is_restored_from_snapshot(drill, cluster, register, web, etcd):
    """Etcd is wiped and restarts empty."""
    web.open(replicas=2)
    register.enter(30)
    snapshot = etcd.take()
    register.enter(10)  # acknowledged after the snapshot: the data at risk

    drill.holds(register.answers, web.still_shows_its_page)
    with drill.disruption(faults.etcd_wiped(cluster.control_plane, cluster.kube), damage_within="3m"):
        with drill.recovery("restore the snapshot"):
            etcd.restore(snapshot)
            etcd.controllers_work(web.namespace, web.image)

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert register.found(up_to=30) == 30, "every object from before the snapshot is back"


@pytest.mark.drill(
    proves="a snapshot that was taken during a space alarm is restored, and the cluster takes writes again",
    slow="2 minutes",
)
def test_snapshot_with_a_space_alarm_is_restored(drill, cluster, register, web, etcd):
    """Etcd is wiped; its only snapshot holds a space alarm, under which a restored etcd refuses every write."""
    web.open(replicas=2)
    register.enter(30)
    snapshot = etcd.take_with_alarm()
    register.enter(10)  # acknowledged after the snapshot: the data at risk

    drill.holds(register.answers, web.still_shows_its_page)
    with drill.disruption(faults.etcd_wiped(cluster.control_plane, cluster.kube), damage_within="3m"):
        with drill.recovery("restore the snapshot and disarm its alarm"):
            etcd.restore(snapshot)
            etcd.controllers_work(web.namespace, web.image)

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert register.found(up_to=30) == 30, "every object from before the snapshot is back"
