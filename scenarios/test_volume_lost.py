"""A volume's data is deleted, or overwritten with garbage, while its pod runs on.

Procedure under test: docs/runbooks/volume-restore.md
Source: ccplant's recovery plan, scenario 4 "data loss (PVC)": RTO 2 hours, RPO 24 hours.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="2h",
    rpo="24h",
    source="ccplant recovery plan, scenario 4",
    runbook="docs/runbooks/volume-restore.md",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13", "SOC2 A1.3"],
    proves="a volume whose data is lost or garbage is filled again from its file-system backup, in the same namespace",
)


@pytest.mark.parametrize("ruin", [faults.volume_emptied, faults.volume_overwritten], ids=["emptied", "overwritten"])
def test_ruined_volume_is_restored_in_place(drill, shop, cluster, velero, volumes, ruin):
    """A database's volume is ruined under it."""
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)  # acknowledged after the backup: the data at risk

    drill.holds(shop.takes_orders)
    with drill.disruption(ruin(shop.kube, shop.namespace, shop.claim, cluster.node), damage_within="1m"):
        with drill.recovery("replace the volume by the newest completed backup's"):
            volumes.noticed(shop.takes_orders)
            backup = velero.newest(shop.namespace)
            volumes.remove("shop", shop.namespace, shop.claim)
            velero.restore(backup)

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backup is back"


@pytest.mark.drill(
    needs=["VolumeSnapshotClass"],
    proves="a volume whose data is lost is replaced by one from the CSI driver's newest snapshot",
)
def test_lost_volume_is_replaced_from_its_snapshot(drill, shop, cluster, volumes, volume_snapshots):
    """A database's volume is emptied under it, and made anew from a snapshot."""
    shop.sell(100)
    volume_snapshots.take(shop.namespace, "data-shop-0")
    shop.sell(20)  # acknowledged after the snapshot: the data at risk

    drill.holds(shop.takes_orders)
    with drill.disruption(
        faults.volume_emptied(shop.kube, shop.namespace, "data-shop-0", cluster.node), damage_within="1m"
    ):
        with drill.recovery("replace the volume by one from the newest snapshot"):
            volumes.noticed(shop.takes_orders)
            snapshot = volume_snapshots.newest(shop.namespace, "data-shop-0")
            volume_snapshots.restore(snapshot, "shop", shop.namespace, "data-shop-0")

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the snapshot is back"
