"""All Secrets of the shop's namespace are deleted; its database cannot start without its password.

Procedures under test: docs/runbooks/secrets-restore.md and docs/runbooks/sealed-secrets.md
Source: ccplant's recovery plan: Secrets are backed up daily (RPO 24 hours), at priority high (RTO 1 hour).
"""

import pytest

from drills import faults

pytestmark = pytest.mark.drill(
    tier="high",
    rto="1h",
    rpo="24h",
    source="ccplant recovery plan, Secrets, priority high",
    runbook="docs/runbooks/secrets-restore.md",
    controls=["NIST CP-9", "NIST CP-10", "ISO27001 A.8.13"],
)


@pytest.mark.drill(proves="lost Secrets come back from a Velero backup, and nothing else is touched")
def test_lost_secrets_are_restored_by_velero(drill, shop, velero, secrets):
    """All Secrets of a namespace are deleted; Velero restores the Secrets alone."""
    before = secrets.digests()
    shop.sell(100)
    velero.backup(shop.namespace)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.secrets_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the Secrets of the newest completed backup"):
            secrets.restore(velero, velero.newest(shop.namespace))
            secrets.restart_pods()

    secrets.are_as(before)
    assert drill.rta <= drill.objective.rto
    assert not drill.losses.lost, "the data was never in the Secrets"


@pytest.mark.drill(proves="the Secrets of one application come back by their label, others are left alone")
def test_lost_secrets_are_restored_by_label(drill, shop, velero, secrets):
    """All Secrets of a namespace are deleted; Velero restores those of one application by label."""
    secrets.add("newsletter", labels={"app": "newsletter"})
    before = secrets.digests(labels="app=shop")
    shop.sell(100)
    velero.backup(shop.namespace)

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.secrets_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("restore the shop's Secrets of the newest completed backup"):
            secrets.restore(velero, velero.newest(shop.namespace), labels="app=shop")
            secrets.restart_pods()

    secrets.are_as(before)
    assert drill.rta <= drill.objective.rto
    assert not drill.losses.lost, "the data was never in the Secrets"


@pytest.mark.drill(needs=["gpg"], proves="lost Secrets come back without Velero, from an encrypted export")
def test_lost_secrets_are_restored_from_an_encrypted_export(drill, shop, secrets):
    """All Secrets of a namespace are deleted; an export that was encrypted with GPG is fetched and applied."""
    before = secrets.digests()
    secrets.make_key()
    shop.sell(100)
    export = secrets.export()

    drill.holds(shop.takes_orders)
    with drill.disruption(faults.secrets_deleted(shop.kube, shop.namespace), damage_within="2m"):
        with drill.recovery("decrypt the export and apply it"):
            secrets.import_(export)
            secrets.restart_pods()

    secrets.are_as(before)
    assert drill.rta <= drill.objective.rto
    assert not drill.losses.lost, "the data was never in the Secrets"


@pytest.mark.drill(
    needs=["gpg"],
    images=["sealed-secrets"],
    runbook="docs/runbooks/sealed-secrets.md",
    proves="sealed Secrets open again with the key from its backup, and without it they do not",
)
def test_lost_sealing_key_is_restored(drill, shop, secrets, sealed_secrets):
    """The Sealed Secrets controller is lost with its key, and with it all Secrets of a namespace."""
    before = secrets.digests()
    sealed_secrets.open()
    export = sealed_secrets.export_key()
    shop.sell(100)

    drill.holds(shop.takes_orders)
    lost = faults.together(
        faults.sealing_lost(shop.kube, "sealed-secrets"), faults.secrets_deleted(shop.kube, shop.namespace)
    )
    with drill.disruption(lost, damage_within="2m"):
        with drill.recovery("install the controller and restore its key"):
            sealed_secrets.install()
            sealed_secrets.restore_key(export)
            secrets.restart_pods()

    secrets.are_as(before)
    assert drill.rta <= drill.objective.rto
    assert not drill.losses.lost, "the data was never in the Secrets"
