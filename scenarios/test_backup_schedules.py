"""Backups silently stop being made, or fail half-way; and an expired one is gone on the day it is needed.

Procedure under test: docs/runbooks/backup-schedule.md
Source: schedules and retention of HKS' recovery plan; ccplant's recovery plan: priority medium is back within 4 hours,
a deleted namespace within 1 hour, RPO 24 hours.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    source="ccplant recovery plan, priority medium",
    runbook="docs/runbooks/backup-schedule.md",
    controls=["NIST CP-9", "ISO27001 A.8.13", "SOC2 A1.2"],
)


@pytest.mark.parametrize("stopped", [faults.schedule_paused, faults.location_read_only], ids=["paused", "read only"])
@pytest.mark.drill(rto="4h", proves="backups that stopped are noticed by their age, and made again", slow="5 minutes")
def test_backups_that_stopped_are_made_again(drill, shop, schedules, stopped):
    """The schedule is paused, or its storage location read-only; backups are a minute apart here, not a day."""
    schedule = schedules.open(shop.namespace, "* * * * *", allowed_s=90)

    drill.holds(schedules.are_fresh, shop.takes_orders, within="2m")
    with drill.disruption(stopped(shop.kube, schedule, schedules.age), damage_within="3m"):
        drill.detected(by="the newest backup's age")
        with drill.recovery("find out why, undo it, back up at once"):
            schedules.resume()

    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(rto="4h", proves="backups go on in another place when theirs cannot be used", slow="5 minutes")
def test_backups_go_on_in_another_location(drill, shop, schedules, locations):
    """The storage location is read-only and stays so; a second one becomes the default."""
    locations.make_second_known()
    schedule = schedules.open(shop.namespace, "* * * * *", allowed_s=90)

    drill.holds(schedules.are_fresh, shop.takes_orders, within="2m")
    with drill.disruption(faults.location_read_only(shop.kube, schedule, schedules.age), damage_within="3m"):
        drill.detected(by="the newest backup's age")
        with drill.recovery("make the second location the default, back up at once"):
            locations.switch()
            schedules.back_up()

    locations.holds_newest(shop.namespace)
    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(rto="4h", proves="a backup that Velero did not survive is none, and is made again", slow="5 minutes")
def test_backup_is_made_again_when_velero_dies_in_it(drill, shop, velero, schedules):
    """Velero's server is killed in the middle of a backup; no backup may be older than two minutes here, not a day."""
    schedules.open(shop.namespace, "0 2 * * *", allowed_s=120, first_at_once=True)

    drill.holds(schedules.are_fresh, shop.takes_orders, within="2m")
    killed = faults.pod_killed(shop.kube, "velero", velero.server())
    in_it = faults.backup_cut_short(shop.kube, killed, schedules.begin, schedules.age)
    with drill.disruption(in_it, damage_within="4m"):
        drill.detected(by="the newest backup's age")
        with drill.recovery("see the backup fail, back up again"):
            schedules.see_it_fail()
            schedules.back_up()

    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(rto="4h", proves="a backup that lost its store is none, and is made again", slow="8 minutes")
def test_backup_is_made_again_when_its_store_goes_away(drill, shop, cluster, object_store, schedules, locations):
    """The object store can be reached no more, from the middle of a backup on."""
    schedules.open(shop.namespace, "0 2 * * *", allowed_s=120, first_at_once=True)

    drill.holds(schedules.are_fresh, shop.takes_orders, within="2m")
    away = faults.object_store_unreachable(cluster.nodes, object_store)
    in_it = faults.backup_cut_short(shop.kube, away, schedules.begin, schedules.age)
    with drill.disruption(in_it, damage_within="4m"):
        drill.detected(by="the newest backup's age")
        with drill.recovery("reach the store again, see the backup fail, back up again"):
            locations.reach_again()
            schedules.see_it_fail()
            schedules.back_up()

    assert drill.rta <= drill.objective.rto


@pytest.mark.drill(
    rto="1h",
    rpo="24h",
    source="ccplant recovery plan, scenario 2",
    proves="an expired backup is gone with its objects, and the scheduled one that is left is restored",
    slow="6 minutes",
)
def test_scheduled_backup_outlives_an_expired_one(drill, shop, velero, schedules):
    """A namespace is deleted when its newest backup has just expired; the daily one is restored."""
    schedule = velero.schedule(shop.namespace, "0 2 * * *", ttl="720h")
    shop.sell(100)
    velero.backup(shop.namespace, schedule=schedule)
    shop.sell(20)  # in the newer backup alone
    schedules.expires(velero.backup(shop.namespace, ttl="1m"))

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the newest completed backup"):
            velero.restore(velero.newest(shop.namespace))

    velero.unschedule(schedule)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the scheduled backup is back"


@pytest.mark.drill(
    rto="1h",
    rpo="24h",
    source="ccplant recovery plan, scenario 2",
    proves="of each class what must be kept is kept, the rest is gone from the store, and what is left can be restored",
    slow="8 minutes",
)
def test_retention_leaves_what_must_be_kept(drill, shop, velero, retention):
    """Daily, weekly, monthly and yearly backups, a day before and a day after their time; a namespace is deleted."""
    shop.sell(100)
    retention.fill(shop.namespace)
    retention.expire()
    shop.sell(20)  # in none of them

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.namespace_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the newest backup that expiry has left"):
            velero.restore(velero.newest(shop.namespace))

    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert shop.found(up_to=100) == 100, "every order that was sold before the backups is back"
