"""Nobody is told of anything any more: a heartbeat that stays away is the only sign of it.

Procedure under test: docs/runbooks/alerting.md
Source: the alert routing of k8s_myHome's recovery guide; ccplant's recovery plan, priority medium: back within 4 hours.
"""

import pytest

from drills import faults


@pytest.mark.drill(
    tier="high",
    rto="4h",
    source="ccplant recovery plan, priority medium",
    runbook="docs/runbooks/alerting.md",
    controls=["NIST CP-10", "ISO27001 A.8.16", "SOC2 CC7.2"],
    images=["monitoring"],
    proves="alerting that is down is noticed by its heartbeat, and a test alert arrives afterwards",
)
def test_silent_alerting_is_noticed_by_its_heartbeat(drill, alerts, alerting):
    """Alertmanager is scaled to nothing; alerts still fire, and nobody hears of them."""
    alerts.open()

    drill.holds(alerts.heartbeat_arrives, within="3m")
    alertmanager_gone = faults.alertmanager_scaled_away(alerts.kube, alerts.namespace, alerts.heartbeat_age)
    with drill.disruption(alertmanager_gone, damage_within="3m"):
        drill.detects(alerts.heartbeat, within="3m")
        with drill.recovery("find the part that is missing, bring it back, send a test alert"):
            alerting.restore()
            alerting.test()
            drill.resolves(alerts.heartbeat)

    assert drill.rta <= drill.objective.rto
