"""Everything is lost at once: the cluster with its database, its directory, its Secrets, and what deployed them.

What is left is git, the object store, the bundle of what is installed by hand, and the private key of the exports.

Procedure under test: docs/runbooks/platform-rebuild.md
Source: k8s_myHome's recovery guide, level 4 "complete failure": complete rebuild within 4 hours, RPO 24 hours. What is
backed up, and how, is home-cluster's: the database's WAL all the time, the directory once a day.
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="critical",
    rto="4h",
    rpo="24h",
    source="k8s_myHome recovery guide, level 4",
    runbook="docs/runbooks/platform-rebuild.md",
    controls=["NIST CP-2", "NIST CP-9", "NIST CP-10", "ISO27001 A.5.30", "ISO27001 A.8.13", "SOC2 A1.3"],
    proves="git, object store and one private key are enough to build the whole platform anew, in this order",
    images=["argocd", "cloudnative-pg", "openldap", "sealed-secrets", "storefront"],
    needs=["git", "gpg"],
    workers=0,
    own_cluster=True,
    slow="15 minutes",
)


def test_lost_platform_is_rebuilt_in_order(drill, cluster, storefront, platform_rebuild):
    """A platform is lost as a whole: a shop on a database, a directory and sealed Secrets, deployed from git."""
    storefront.open()
    storefront.sell(100)
    storefront.sign_up(10)
    saved = platform_rebuild.save()
    storefront.sell(20)  # acknowledged after the backups: the data at risk
    storefront.sign_up(5)

    drill.holds(storefront.takes_orders)
    with drill.disruption(faults.cluster_deleted(cluster), damage_within="1m"):
        with drill.recovery("rebuild the platform from git, object store and sealed Secrets"):
            platform_rebuild.provision()
            platform_rebuild.restore_sealing(saved)
            platform_rebuild.install_argocd()
            platform_rebuild.deploy("secrets")
            platform_rebuild.deploy("operator")
            platform_rebuild.recover_database()
            platform_rebuild.restore_directory(saved)
            platform_rebuild.deploy("storefront")
            platform_rebuild.move_users()
            platform_rebuild.protect_again()

    platform_rebuild.check_secrets()
    storefront.note_losses()
    assert drill.rta <= drill.objective.rto
    assert drill.rpa <= drill.objective.rpo
    assert storefront.found(up_to=100) == 100, "every order from before the base backup is back"
    assert storefront.customers_found(up_to=10) == 10, "every customer from before the directory's backup is back"
