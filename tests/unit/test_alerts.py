"""Alerts: what receivers were told, what a drill makes of it, and the faults and procedures around them, on fakes."""

from __future__ import annotations

import json
import time
from datetime import UTC, datetime, timedelta

import pytest

from drills import measures, record
from drills.alerts import Alert, Heartbeat, Notice, firing, notices
from drills.errors import BadReading, Inconclusive, NotDetected, NotRecovered, UsageError
from drills.faults import alertmanager_scaled_away, schedule_deleted
from drills.procedures import Alerting
from drills.procedures.schedules import Schedules
from drills.verdicts import Verdict

from .fake_apiserver import CUSTOM, FakeApiServer
from .scripted import Unplugged, told
from .test_drill import LIMITS, make, plug_in, service  # noqa: F401 - fixtures

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)
SCHEDULES = "/apis/velero.io/v1/namespaces/velero/schedules"
DEPLOYMENTS = "/apis/apps/v1/namespaces/monitoring/deployments"
PODS = "/api/v1/namespaces/monitoring/pods"


def line(at, alert, status="firing", receiver="critical", **labels):
    """One request of Alertmanager's webhook, as the receiver writes it down."""
    about = {"status": status, "labels": {"alertname": alert, **labels}, "startsAt": "2026-11-21T11:58:00Z"}
    body = {"receiver": receiver, "status": status, "alerts": [about], "version": "4"}
    return json.dumps({"at": at.timestamp(), "receiver": f"/{receiver}", "body": json.dumps(body)}) + "\n"


def after(seconds):
    return NOON + timedelta(seconds=seconds)


# What receivers were told


def test_a_notification_says_what_fires_who_was_told_and_when_it_arrived():
    text = line(NOON, "VeleroBackupFailed", schedule="daily", severity="critical")
    (notice,) = notices(text)
    assert (notice.at, notice.firing) == (NOON, True)
    assert notice.facts == {
        "name": "VeleroBackupFailed", "severity": "critical", "receiver": "critical",
        "labels": {"alertname": "VeleroBackupFailed", "schedule": "daily", "severity": "critical"},
        "firing_utc": "2026-11-21T11:58:00Z",
    }  # fmt: skip
    assert not notices(line(NOON, "VeleroBackupFailed", "resolved"))[0].firing


def test_what_is_still_being_written_is_left_for_the_next_time():
    text = line(NOON, "A") + line(after(1), "A")[:-20]
    assert [notice.at for notice in notices(text)] == [NOON]
    assert notices("") == []


@pytest.mark.parametrize(
    "text", ["<html>\n", '{"at": 1}\n', '{"at": 1, "receiver": "/critical", "body": ""}\n', "[]\n", "7\n"]
)
def test_what_is_no_notification_is_no_silence_either(text):
    with pytest.raises(BadReading, match="no notification"):
        notices(text)


def test_an_alert_is_told_apart_by_its_name_and_labels():
    text = line(NOON, "TooOld", schedule="a") + line(NOON, "TooOld", schedule="b") + line(NOON, "Failed", schedule="a")
    heard = Alert(lambda: text, "TooOld", {"schedule": "a"}).heard()
    assert [notice.facts["labels"] for notice in heard] == [{"alertname": "TooOld", "schedule": "a"}]
    assert len(Alert(lambda: text, "TooOld").heard()) == 2


def test_what_fires_is_what_each_source_said_last():
    text = line(NOON, "TooOld", schedule="a") + line(NOON, "TooOld", schedule="b")
    text += line(after(5), "TooOld", "resolved", schedule="a")
    (still,) = firing(notices(text))
    assert json.loads(still)["schedule"] == "b"


def test_a_heartbeat_that_stays_away_is_an_alarm_from_when_it_was_due():
    beats = "".join(line(after(t), "Watchdog", receiver="heartbeat") for t in (0, 30, 60, 200, 230))
    now = [after(240)]
    heartbeat = Heartbeat(Alert(lambda: beats, "Watchdog"), 60.0, lambda: now[0])
    assert heartbeat.name == "silence of alert Watchdog"
    assert [(one.at, one.firing) for one in heartbeat.heard()] == [(after(120), True), (after(200), False)]
    assert firing(heartbeat.heard()) == []
    assert heartbeat.age() == 10
    now[0] = after(291)
    assert [(one.at, one.firing) for one in heartbeat.heard()][2:] == [(after(290), True)]
    assert firing(heartbeat.heard()) == [""]


def test_a_heartbeat_that_never_came_is_infinitely_old_and_no_alarm():
    heartbeat = Heartbeat(Alert(lambda: "", "Watchdog"), 60.0, lambda: NOON)
    assert heartbeat.age() == float("inf")
    assert heartbeat.heard() == []


# A drill that waits for its alert


def held(drill, service):  # noqa: F811
    """A steady state that a busy machine does not take for an unmeasured one."""
    drill.holds(service.probe(timeout_s=2.0), within=5)
    return Unplugged(service)


class Bell:
    """An alarm that a test rings by hand."""

    name = "alert BackupFailed"

    def __init__(self):
        self.said = []
        self.deaf = 0

    def ring(self, on=True, ago_s=0.0):
        self.said.append(Notice(datetime.now(UTC) - timedelta(seconds=ago_s), on, "it", {"severity": "critical"}))

    def heard(self):
        if self.deaf:
            self.deaf -= 1
            raise OSError("nobody answers")
        return list(self.said)


def test_the_time_to_detect_is_when_the_alert_arrived_not_when_it_was_looked_for(make, service):  # noqa: F811
    drill, bell = make(), Bell()
    fault = held(drill, service)
    bell.ring(ago_s=60)
    bell.ring(on=False, ago_s=50)  # an earlier one, that is over
    with drill.disruption(fault, **LIMITS):
        time.sleep(0.05)
        bell.ring()
        rung = drill.history.elapsed()
        time.sleep(0.3)
        bell.deaf = 1
        drill.detects(bell, within=5)
        with drill.recovery("plug it in"):
            plug_in(service)
            bell.ring(on=False)
            drill.resolves(bell)
    drill.close()
    made = drill.recorded()
    assert made["verdict"] == "MET", made["why"]
    assert record.validate(made) == []
    issued = measures.issued_at(drill.history)
    found = made["detection"]
    assert (found["by"], found["alert"]) == ("alert BackupFailed", {"severity": "critical"})
    assert found["t_s"] == pytest.approx(rung - issued, abs=0.03)
    assert found["over_s"] > found["t_s"]
    (phase,) = (phase for phase in made["phases"] if phase["name"] == "detected")
    assert phase["t_s"] == found["t_s"]
    bars = {bar["name"]: bar for bar in made["waterfall"]}
    assert bars["detected"]["end_s"] == found["t_s"]
    assert bars["detected"]["kind"] == "wait"
    assert bars["alert BackupFailed resolves"]["kind"] == "step"
    assert made["checks"][0]["ok"]


def test_an_alert_that_does_not_arrive_is_missed(make, service):  # noqa: F811
    drill, bell = make(), Bell()
    fault = held(drill, service)
    with pytest.raises(NotDetected, match="alert BackupFailed was not heard"), drill.disruption(fault, **LIMITS):
        drill.detects(bell, within=0.1)
    assert drill.judgement.verdict is Verdict.MISSED
    assert "was not heard within 0.1 s of the fault" in drill.judgement.why
    assert drill.recorded()["detection"] is None
    assert fault.healed == 1


def test_an_alert_that_arrives_too_late_is_missed_and_measured(make, service):  # noqa: F811
    drill, bell = make(), Bell()
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS):
        time.sleep(0.2)
        bell.ring()
        drill.detects(bell, within=0.1)
        with drill.recovery("plug it in"):
            plug_in(service)
    assert drill.judgement.verdict is Verdict.MISSED
    assert "alert BackupFailed is heard (expected within 0.1 s of the fault" in drill.judgement.why
    assert drill.recorded()["detection"]["t_s"] > 0.1


def test_an_alert_that_fired_before_the_fault_shows_nothing(make, service):  # noqa: F811
    drill, bell = make(), Bell()
    fault = held(drill, service)
    bell.ring(ago_s=30)
    with pytest.raises(Inconclusive, match="was there before the fault"), drill.disruption(fault, **LIMITS):
        drill.detects(bell, within=5)
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE


def test_an_alert_that_is_never_over_is_missed(make, service):  # noqa: F811
    drill, bell = make(), Bell()
    fault = held(drill, service)
    with pytest.raises(NotRecovered, match="was not over"), drill.disruption(fault, **LIMITS):  # noqa: PT012 - the body of a disruption
        bell.ring()
        drill.detects(bell, within=5)
        plug_in(service)
        drill.resolves(bell, within=0.3)
    assert drill.judgement.verdict is Verdict.MISSED


def test_nothing_can_be_detected_before_the_fault(make, service):  # noqa: F811
    with pytest.raises(UsageError, match="inside disruption"):
        make().detects(Bell(), within=5)


def test_a_detection_is_measured_from_the_history_alone():
    script = told()
    script.event("detected", 12.5, by="somebody else, later")
    found = measures.detection(script.history)
    assert (found.by, found.t_s, found.alert, found.over_s) == ("alert", 0.6, None, None)
    assert measures.detection([]) is None


# Faults


@pytest.fixture
def api(monkeypatch):
    kinds = {"schedules": "Schedule", "backupstoragelocations": "BackupStorageLocation"}
    more = [{"name": plural, "kind": kind, "namespaced": True} for plural, kind in kinds.items()]
    monkeypatch.setitem(CUSTOM, "velero.io/v1", [*CUSTOM["velero.io/v1"], *more])
    server = FakeApiServer()
    yield server
    server.stop()


def test_a_deleted_schedule_is_proved_by_the_age_of_the_newest_backup_and_made_again(api, kube):
    spec = {"schedule": "0 2 * * *", "template": {"includedNamespaces": ["shop"]}}
    api.put(SCHEDULES, {"metadata": {"name": "daily"}, "spec": spec})
    ages = [30.0]
    fault = schedule_deleted(kube, "daily", lambda: (ages[-1], 90.0))
    ages.append(91.0)
    assert fault.proof() == []  # too old, and nobody deleted anything
    fault.inject()
    ages.append(31.0)
    assert fault.proof() == []
    ages.append(91.0)
    assert fault.proof() == ["schedule/daily is gone", "the newest backup is 91 s old, over 90 s"]
    fault.heal()
    fault.heal()
    assert api.objects[SCHEDULES, "daily"]["spec"] == spec
    assert fault.proof() == []
    with pytest.raises(UsageError, match="no such schedule"):
        schedule_deleted(kube, "weekly", lambda: (0.0, 90.0))


def test_alerting_is_down_when_alertmanager_has_no_pod_and_its_heartbeat_stays_away(api, kube):
    with pytest.raises(UsageError, match="found no deployment/monitoring/alertmanager"):
        alertmanager_scaled_away(kube, "monitoring", lambda: (0.0, 60.0))
    api.put(DEPLOYMENTS, {"metadata": {"name": "alertmanager"}, "spec": {"replicas": 2}})
    api.put(PODS, {"metadata": {"name": "alertmanager-0", "labels": {"app": "alertmanager"}}})
    ages = [61.0]
    fault = alertmanager_scaled_away(kube, "monitoring", lambda: (ages[-1], 60.0))
    assert fault.proof() == []
    fault.inject()
    assert api.objects[DEPLOYMENTS, "alertmanager"]["spec"]["replicas"] == 0
    api.remove(PODS, "alertmanager-0")
    ages.append(59.0)
    assert fault.proof() == []
    ages.append(61.0)
    assert fault.proof() == [
        "deployment/monitoring/alertmanager has no pod", "the last heartbeat was 61 s ago, over 60 s",
    ]  # fmt: skip
    fault.heal()
    assert api.objects[DEPLOYMENTS, "alertmanager"]["spec"]["replicas"] == 2


def test_a_receiver_that_does_not_answer_proves_no_silence(api, kube):
    def nobody():
        raise OSError("refused")

    api.put(DEPLOYMENTS, {"metadata": {"name": "alertmanager"}, "spec": {"replicas": 1}})
    assert alertmanager_scaled_away(kube, "monitoring", nobody).proof() == []


# Procedures


def deployment(api, name, replicas):
    status = {"observedGeneration": 1} | dict.fromkeys(("replicas", "updatedReplicas", "availableReplicas"), replicas)
    api.put(
        DEPLOYMENTS, {"metadata": {"name": name, "generation": 1}, "spec": {"replicas": replicas}, "status": status}
    )


@pytest.fixture
def kubectl(tmp_path):
    """A program that writes down what it is asked."""
    program = tmp_path / "kubectl"
    program.write_text(f'#!/bin/sh\necho "$@" >>{tmp_path}/asked\n')
    program.chmod(0o755)
    return program


def asked(tmp_path):
    return [each.partition(" -n monitoring ")[2] for each in (tmp_path / "asked").read_text().splitlines()]


@pytest.mark.parametrize(("receivers", "met"), [(["critical"], True), (["critical", "default"], False)])
def test_only_what_is_missing_is_brought_back_and_a_test_alert_must_reach_the_right_one(
    make, api, kube, kubectl, tmp_path, receivers, met  # noqa: F811
):  # fmt: skip
    for name in ("prometheus", "receiver"):
        deployment(api, name, 1)
    deployment(api, "alertmanager", 0)
    text = "".join(line(NOON, "AlertingTest", receiver=one) for one in receivers)
    drill = make()
    alerting = Alerting(drill, kube, "monitoring", kubectl, tmp_path / "config", lambda name: Alert(lambda: text, name))
    api.later(0.2, deployment, api, "alertmanager", 1)
    alerting.restore()
    alerting.test()
    get, scale, add = asked(tmp_path)
    assert (get, scale) == ("get deployments", "scale deployment/alertmanager --replicas=1")
    assert add.endswith("alert add AlertingTest severity=critical")
    (check,) = drill.recorded()["checks"]
    assert check["ok"] is met


def test_a_sabotaged_procedure_looks_and_does_nothing(make, api, kube, kubectl, tmp_path):  # noqa: F811
    deployment(api, "alertmanager", 0)
    drill = make(sabotage={"procedure"})
    alerting = Alerting(drill, kube, "monitoring", kubectl, tmp_path / "config", lambda name: Alert(lambda: "", name))
    alerting.restore()
    alerting.test()
    assert asked(tmp_path) == ["get deployments"]


class FakeVelero:
    """Schedules nothing and backs nothing up, and remembers that it was asked."""

    def __init__(self, api):
        self.api, self.did = api, []

    def schedule(self, namespace, cron, ttl):
        self.did.append(f"schedule {namespace} {cron} {ttl}")
        self.api.put(SCHEDULES, {"metadata": {"name": f"{namespace}-daily"}, "spec": {"schedule": cron}})
        return f"{namespace}-daily"

    def completed(self, _namespace, _timeout_s=None):
        return ["the first one"]

    def move_queue(self):
        self.did.append("move the queue")

    def backup(self, namespace, schedule, fails_as):
        self.did.append(f"backup {namespace} from {schedule}")


def test_a_schedule_that_is_gone_is_made_again(make, api, kube):  # noqa: F811
    drill, velero = make(), FakeVelero(api)
    schedules = Schedules(drill, kube, velero, store=None, prefix="")
    schedules.open("shop", "0 2 * * *", allowed_s=90)
    api.remove(SCHEDULES, "shop-daily")
    schedules.resume()
    assert velero.did == ["schedule shop 0 2 * * * 720h"] * 2 + ["move the queue", "backup shop from shop-daily"]
    assert [step["name"] for step in measures.steps(drill.history)] == [
        "look at schedules and storage locations",
        "make the schedule again",
        "make a backup at once",
    ]
