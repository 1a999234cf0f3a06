"""Backups fail, grow old or are not planned any more, and an alert says so: nobody would notice otherwise.

Procedure under test: docs/runbooks/backup-alerts.md
Source: the alerts of ccplant's and HKS' recovery plans and of the backup and DR article, by severity to receivers as
k8s_myHome's recovery guide has it; ccplant's recovery plan, priority medium: back within 4 hours.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="4h",
    source="ccplant recovery plan, priority medium",
    runbook="docs/runbooks/backup-alerts.md",
    controls=["NIST CP-9", "ISO27001 A.8.13", "SOC2 A1.2"],
    images=["monitoring"],
)


@pytest.mark.drill(
    proves="failing backups raise a critical alert, which ends with the next good one", slow="15 minutes"
)
def test_failing_backups_raise_an_alert(drill, shop, cluster, object_store, schedules, locations, alerts):
    """The object store cannot be reached any more, and every backup fails; they are a minute apart here, not a day."""
    schedule = schedules.open(shop.namespace, "* * * * *", allowed_s=150)
    alert = alerts.open().fires("VeleroBackupFailed", schedule=schedule, severity="critical")

    drill.holds(schedules.are_fresh, shop.takes_orders, within="3m")
    with drill.disruption(faults.object_store_unreachable(cluster.nodes, object_store)):
        drill.detects(alert, within="12m")
        with drill.recovery("let Velero reach the store again, and back up at once"):
            locations.reach_again()
            schedules.back_up()
            drill.resolves(alert)

    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(proves="a backup that is too old raises an alert, which ends with a new one", slow="10 minutes")
def test_old_backups_raise_an_alert(drill, shop, schedules, alerts):
    """A schedule is paused and forgotten; its newest backup may be two and a half minutes old here, not a day."""
    schedule = schedules.open(shop.namespace, "* * * * *", allowed_s=150)
    alerts.open(VeleroBackupTooOld={"86400": "150", "1h": "30s"})
    alert = alerts.fires("VeleroBackupTooOld", schedule=schedule, severity="warning")

    drill.holds(schedules.are_fresh, shop.takes_orders, within="3m")
    with drill.disruption(faults.schedule_paused(shop.kube, schedule, schedules.age), damage_within="5m"):
        drill.detects(alert, within="8m")
        with drill.recovery("find out why, undo it, back up at once"):
            schedules.resume()
            drill.resolves(alert)

    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(proves="a schedule that is gone raises an alert, which ends when it is back", slow="10 minutes")
def test_missing_schedule_raises_an_alert(drill, shop, schedules, alerts):
    """The only schedule is deleted: no backup fails, because none is tried."""
    schedule = schedules.open(shop.namespace, "* * * * *", allowed_s=150)
    alerts.open(BackupNotScheduled={"10m": "30s"})
    alert = alerts.fires("BackupNotScheduled", severity="warning")

    drill.holds(schedules.are_fresh, shop.takes_orders, within="3m")
    with drill.disruption(faults.schedule_deleted(shop.kube, schedule, schedules.age), damage_within="5m"):
        drill.detects(alert, within="8m")
        with drill.recovery("make the schedule again, back up at once"):
            schedules.resume()
            drill.resolves(alert)

    assert drill.rta <= drill.objective.rto
