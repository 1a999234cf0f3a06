"""Nothing is broken: the newest backup is restored beside the original, and must be the original.

Procedure under test: docs/runbooks/backup-validation.md
Source: ccplant's recovery plan, weekly validation of the backup; RPO 24 hours, RTO 1 hour for what is urgent.
"""

import pytest

from drills import http_probe

pytestmark = pytest.mark.drill(
    tier="high",
    rto="1h",
    rpo="24h",
    source="ccplant recovery plan, backup validation",
    runbook="docs/runbooks/backup-validation.md",
    controls=["NIST CP-4", "NIST CP-9(1)", "ISO27001 A.8.13", "SOC2 A1.3"],
    proves="the newest backup can be restored, is complete to the last object, and holds the data",
)


def test_newest_backup_is_validated_beside_the_original(drill, shop, web, cluster, velero, validation):
    """The newest backup of a namespace is validated in a scratch namespace."""
    web.open(replicas=1)
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)  # acknowledged after the backup: what a disaster now would cost

    copied_shop, copied_web = cluster.entries(30002), cluster.entries(30003)
    drill.holds(shop.takes_orders, web.still_shows_its_page)
    with drill.validation(validation.copy(), [shop.copy_at(copied_shop)]):
        with drill.recovery("restore the newest completed backup into a scratch namespace"):
            validation.restore(velero.newest(shop.namespace), node_ports={"shop": 30002, "web": 30003})
            validation.compare()
            validation.answers(http_probe("the copied web shows its page", copied_web, expect="open"))

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo


@pytest.mark.drill(
    images=["backup-jobs"],
    proves="a CronJob in the cluster validates the newest backup by itself, and what it says of it is so",
)
def test_newest_backup_is_validated_by_a_cronjob(drill, shop, web, cluster, velero, validation_job):
    """The newest backup of a namespace is validated by a CronJob in the cluster."""
    web.open(replicas=1)
    validation_job.open(node_ports={"shop": 30002, "web": 30003})
    shop.sell(100)
    velero.backup(shop.namespace)
    shop.sell(20)  # acknowledged after the backup: what a disaster now would cost

    drill.holds(shop.takes_orders, web.still_shows_its_page)
    with drill.validation(validation_job.copy(), [shop.copy_at(cluster.entries(30002))]):
        with drill.recovery("let the CronJob validate the newest completed backup"):
            validation_job.run()
            validation_job.compare()

    drill.always_held(web.still_shows_its_page)
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
