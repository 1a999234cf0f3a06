"""etcd of three members loses one of them, and all of them.

Procedures under test: docs/runbooks/etcd-member.md and docs/runbooks/etcd-quorum.md
Source: home-cluster's recovery of etcd (here with kubeadm's tools), and the backup and DR article's "etcd_failure".
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "ISO27001 A.8.14"],
    control_planes=3,
    workers=1,
    own_cluster=True,
    slow="4 minutes",
)


@pytest.mark.drill(
    rto="5m",
    rpo="0s",
    source="home-cluster, recovery of etcd: one member of three",
    runbook="docs/runbooks/etcd-member.md",
    proves="one etcd member of three is lost and replaced: users see nothing, no acknowledged object is lost",
)
def test_lost_etcd_member_is_replaced(drill, cluster, register, web, etcd_members):
    """One etcd member of three loses its disk."""
    web.open(replicas=2)
    register.enter(20)
    lost = cluster.nodes[1]

    drill.holds(register.answers, web.still_shows_its_page)
    with drill.disruption(faults.etcd_members_lost([lost], cluster.kube, members=3), damage_within="2m"):
        with drill.recovery("replace the member"):
            etcd_members.replace(lost)
            etcd_members.whole()

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert not drill.losses.lost


@pytest.mark.drill(
    rto="1h",
    rpo="15m",
    source="backup and DR article, dr-plan, production; home-cluster, recovery of etcd",
    runbook="docs/runbooks/etcd-quorum.md",
    images=["backup-jobs"],
    proves="etcd without a quorum comes back from a CronJob's snapshot on one control plane, and the others join it",
)
def test_lost_etcd_quorum_is_restored_from_snapshot(drill, cluster, register, web, etcd_members, snapshot_job):
    """All three etcd members lose their disks."""
    web.open(replicas=2)
    register.enter(30)
    snapshot_job.run()  # out of turn; it is in the object store then
    register.enter(10)  # acknowledged after the snapshot: the data at risk

    drill.holds(register.answers, web.still_shows_its_page)
    with drill.disruption(faults.etcd_members_lost(cluster.nodes[:3], cluster.kube, members=3), damage_within="2m"):
        with drill.recovery("restore one control plane, let the others join"):
            etcd_members.recover(snapshot_job.fetch(cluster.control_plane))
            etcd_members.whole()

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert register.found(up_to=30) == 30, "every object from before the snapshot is back"


@pytest.mark.drill(
    rto="1h",
    rpo="15m",
    source="backup and DR article, dr-plan, production; home-cluster, recovery of etcd",
    runbook="docs/runbooks/etcd-quorum.md",
    proves="etcd members restored from different snapshots, healthy and not alike, are replaced from one snapshot",
)
def test_members_of_different_snapshots_are_replaced_from_one(drill, cluster, register, web, etcd_members):
    """Somebody restores each etcd member from its own node's snapshot: all are healthy, and answer differently."""
    web.open(replicas=2)
    register.enter(30)
    others = [etcd_members.take_on(node) for node in cluster.nodes[1:3]]
    register.enter(20)
    newest = etcd_members.take()
    mixed = [one.path for one in (newest, *others)]

    drill.holds(register.answers, web.still_shows_its_page)
    fault = faults.etcd_restored_from_mixed_snapshots(cluster.nodes[:3], mixed)
    with drill.disruption(fault, damage_within="4m"):
        with drill.recovery("restore one control plane from one snapshot, let the others join"):
            etcd_members.recover(newest)
            etcd_members.whole()

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert register.found(up_to=50) == 50, "every object from before the newest snapshot is back"
