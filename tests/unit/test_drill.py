import ssl
import subprocess
import threading
import time
import unittest
from datetime import timedelta

import botocore.exceptions
import psycopg
import pytest

from drills import kube, measures, record
from drills.books import Finding
from drills.clock import SystemClock
from drills.commands import Commands
from drills.drill import FOREVER, Drill
from drills.errors import (
    BadReading,
    EnvironmentFailed,
    FaultHadNoEffect,
    MeasuringBroke,
    NotRecovered,
    NotSteady,
    ProcedureFailed,
    UsageError,
    WaitTimeout,
    WriteRefused,
)
from drills.faults import BlastRadius
from drills.history import History
from drills.ledger import Writer
from drills.objectives import Objective
from drills.verdicts import Verdict

from .scripted import Service, Unplugged

LIMITS = {"recovered_within": 3.0, "damage_within": 0.3}


@pytest.fixture
def service():
    return Service()


@pytest.fixture
def make(tmp_path, service):
    """Makes drills in milliseconds; whatever happens, none leaves a thread, and each leaves a valid record."""
    before = set(threading.enumerate())
    made = []

    def make_(sabotage=(), objective=None, ledger=True, clock=None, phase_s=None):
        directory = tmp_path / f"drill-{len(made)}"
        history = History(clock, directory / "history.jsonl")
        commands = Commands(directory / "commands.log", history)
        drill = Drill(
            "outage",
            objective or Objective("2s", "1s"),
            history,
            commands,
            title="The shop is unplugged",
            scenario="scenarios/test_outage.py",
            runbook="docs/runbooks/plug-in.md",
            sabotage=sabotage,
            directory=directory,
            need_steady=5,
            need_stable=8,
            phase_s=phase_s,
        )
        if ledger:
            drill.watch(Writer(service, history, "orders", rate_hz=100.0, timeout_s=0.2))
        made.append(drill)
        return drill

    yield make_
    for drill in made:
        drill.close()
        drill.close()
        written = record.load(drill.directory / "record.json")
        assert written == drill.recorded()
        assert record.rejudge(written, History.load(drill.directory / "history.jsonl")) == written
    assert set(threading.enumerate()) <= before


def held(drill, service):
    drill.holds(service.probe(), within=5)
    return Unplugged(service)


def plug_in(service, after=0.05):
    time.sleep(after)
    service.up = True


def names(drill):
    return [event.fields["name"] for event in drill.history.events("phase")]


@pytest.mark.parametrize("phase_s", [0.0, 0.25])
def test_a_random_time_passes_between_the_steady_state_and_the_fault(make, service, phase_s):
    drill = make(phase_s=phase_s)
    with drill.disruption(held(drill, service), **LIMITS), drill.recovery("plug it in"):
        plug_in(service)
    assert names(drill)[:3] == ["steady", "waiting", "disrupted"]
    waited = measures.phase_at(drill.history, "disrupted") - measures.phase_at(drill.history, "waiting")
    assert phase_s <= waited < phase_s + 2
    written = {event.t for event in drill.history.events("receipt")}
    assert phase_s == 0 or sum(1 for t in written if 0 < measures.issued_at(drill.history) - t < phase_s) > 3


def test_a_service_that_goes_away_while_the_random_time_passes_was_not_steady(make, service):
    drill = make(phase_s=0.3)
    fault = held(drill, service)
    drill._steady_within_s = 0.2
    threading.Timer(0.1, lambda: setattr(service, "up", False)).start()
    with pytest.raises(NotSteady, match="not steady before the fault"), drill.disruption(fault, **LIMITS):
        pass
    assert measures.issued_at(drill.history) is None
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE


def test_a_drill_from_steady_to_stable(make, service):
    drill = make()
    fault = held(drill, service)
    drill.backup("dump", "orders.sql", sha256="ab12", size=17)
    with drill.disruption(fault, **LIMITS) as same:
        assert same is drill
        drill.detected(by="alert")
        with drill.recovery("plug it in"):
            with drill.step("find the plug", command="look", by="human"):
                pass
            with drill.step("plug it in"):
                plug_in(service)
        drill.check("the light is on", ok=True, expected="on", got="on")
        time.sleep(0.06)  # the service has been back for a while; stable is what it is after the procedure too
        ended = drill.history.elapsed()
    drill.reconstituted()

    assert drill.rta <= drill.objective.rto
    assert timedelta(seconds=0.05) <= drill.rta
    assert drill.rpa == timedelta(0)
    assert measures.phase_at(drill.history, "stable") - ended >= 7 * 0.005
    assert drill.losses.read
    assert drill.losses.lost == []
    assert drill.losses.acknowledged > 10
    assert drill.losses.unknown > 0
    assert fault.healed == 1
    drill.close()
    assert names(drill) == [
        "steady",
        "disrupted",
        "damaged",
        "detected",
        "recovering",
        "restored",
        "verified",
        "stable",
        "reconstituted",
        "ended",
    ]
    made = drill.recorded()
    assert made["verdict"] == "MET", made["why"]
    assert record.validate(made) == []
    assert made["fault"]["proof"] == ["the shop refuses connections"]
    assert made["backup"]["sha256"] == "ab12"
    assert made["backup"]["age_at_fault_s"] > 0
    assert [(step["name"], step["by"], step["state"]) for step in made["procedure"]["steps"]] == [
        ("find the plug", "human", "ended"),
        ("plug it in", "harness", "ended"),
    ]
    assert made["achieved"]["writes"]["lost"] == 0


def test_the_fault_is_timed_from_before_its_injection(make, service):
    drill = make()
    fault = held(drill, service)
    inject = fault.inject

    def slow():
        inject()
        time.sleep(0.1)

    fault.inject = slow
    with drill.disruption(fault, **LIMITS), drill.recovery("wait"):
        service.up = True
    assert drill.rta >= timedelta(seconds=0.1)


def test_lost_writes_are_measured(make, service):
    drill = make()
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS), drill.recovery("restore"):
        del service.rows[-3:]
        service.up = True
    assert len(drill.losses.lost) == 3
    assert timedelta(0) < drill.rpa < timedelta(seconds=1)
    assert drill.judgement.verdict is Verdict.MET


def test_more_lost_than_promised_is_missed(make, service):
    drill = make(objective=Objective("2s", 0))
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS), drill.recovery("restore"):
        del service.rows[-1]
        service.up = True
    assert drill.rpa > drill.objective.rpo
    assert drill.judgement.verdict is Verdict.MISSED


def test_a_recovery_that_took_too_long_is_measured_and_missed(make, service):
    drill = make(objective=Objective("20ms", "1s"))
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS), drill.recovery("dawdle"):
        plug_in(service, 0.1)
    assert drill.rta > drill.objective.rto
    assert drill.judgement.verdict is Verdict.MISSED
    assert "over the RTO of 0.02 s" in drill.judgement.why


def test_a_fault_that_users_never_notice_recovers_in_no_time(make, service):
    drill = make()
    fault = held(drill, service)
    fault.inject = lambda: None
    answers = iter([[], [], ["one of three replicas is gone"]])
    fault.proof = lambda: next(answers)
    with drill.disruption(fault, **LIMITS):
        pass
    assert drill.rta == timedelta(0)
    assert drill.judgement.verdict is Verdict.MET


# What proves nothing


def test_a_system_that_is_not_steady_is_not_broken_further(make, service):
    service.up = False
    drill = make()
    with pytest.raises(NotSteady, match="connection refused"):
        drill.holds(service.probe(), within=0.2)
    drill.close()
    assert drill.recorded()["verdict"] == "INCONCLUSIVE"
    assert "not steady before the fault" in drill.recorded()["why"]


def test_steady_means_that_writes_are_taken_too(make, service):
    service.takes_writes = False
    drill = make()
    with pytest.raises(NotSteady, match="orders"):
        drill.holds(service.probe(), within=0.2)


def test_what_was_steady_and_no_longer_is_is_not_broken_further(make, service):
    drill = make()
    fault = held(drill, service)
    drill._steady_within_s = 0.1
    service.up = False
    time.sleep(0.05)
    with pytest.raises(NotSteady), drill.disruption(fault, **LIMITS):
        pytest.fail("the body must not run")
    assert drill.history.events("fault") == []


@pytest.mark.parametrize("sabotaged", [True, False])
def test_a_fault_without_effect_is_inconclusive(make, service, sabotaged):
    drill = make(sabotage={"fault"} if sabotaged else ())
    fault = held(drill, service)
    if not sabotaged:
        fault.inject = lambda: None
    with pytest.raises(FaultHadNoEffect), drill.disruption(fault, **LIMITS):
        pytest.fail("the body must not run")
    assert service.up
    assert fault.healed == 1
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE
    issued = drill.history.events("fault")[0].fields
    assert (issued["state"], issued["left_out"]) == ("issued", sabotaged)
    assert drill.recorded()["sabotage"] == (["fault"] if sabotaged else [])
    assert drill.recorded()["evidence_only"] is sabotaged


def test_a_proof_that_is_there_before_the_fault_proves_nothing(make, service):
    drill = make()
    fault = held(drill, service)
    fault.proof = lambda: ["a pod restarted"]
    with pytest.raises(FaultHadNoEffect, match="before the fault was issued: a pod restarted"), drill.disruption(fault):
        pytest.fail("the body must not run")
    assert service.up


def test_a_probe_that_dies_makes_the_drill_inconclusive(make, service):
    drill = make()
    fault = held(drill, service)
    with pytest.raises(MeasuringBroke), drill.disruption(fault, **LIMITS), drill.recovery("plug in"):  # noqa: PT012 - the body of a disruption
        service.probe_defect = KeyError("typo")
        service.up = True
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE
    assert fault.healed == 1


def test_a_writer_that_dies_makes_the_drill_inconclusive(make, service):
    drill = make()
    fault = held(drill, service)
    with pytest.raises(MeasuringBroke, match="disk"), drill.disruption(fault, **LIMITS), drill.recovery("plug in"):  # noqa: PT012 - the body of a disruption
        service.defect = RuntimeError("disk")
        service.up = True
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE


def test_a_crash_of_the_harness_is_never_a_pass(make, service):
    drill = make()
    fault = held(drill, service)
    with pytest.raises(ZeroDivisionError), drill.disruption(fault, **LIMITS):  # noqa: PT012 - the body of a disruption
        service.up = True
        1 / 0  # noqa: B018
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE
    assert "ZeroDivisionError" in drill.judgement.why


def test_a_failed_injection_is_healed_and_no_result(make, service):
    drill = make()
    fault = held(drill, service)

    def inject():
        raise EnvironmentFailed("docker is gone")

    fault.inject = inject
    with pytest.raises(EnvironmentFailed), drill.disruption(fault, **LIMITS):
        pytest.fail("the body must not run")
    assert fault.healed == 1
    assert drill.judgement.verdict is Verdict.ENVIRONMENT


def test_ctrl_c_heals_and_leaves_evidence(make, service):
    drill = make()
    fault = held(drill, service)
    with pytest.raises(KeyboardInterrupt), drill.disruption(fault, **LIMITS):
        raise KeyboardInterrupt
    assert fault.healed == 1
    drill.close()
    assert record.load(drill.directory / "record.json")["verdict"] == "INCONCLUSIVE"


# What is missed


def test_a_service_that_stays_away_is_missed_with_its_last_state(make, service):
    drill = make()
    fault = held(drill, service)
    with pytest.raises(NotRecovered, match="connection refused"), drill.disruption(fault, recovered_within=0.3):
        pass
    assert fault.healed == 1
    time.sleep(0.1)  # healed by the harness, the service answers again: that is no recovery
    drill.close()
    assert drill.rta == FOREVER
    assert not drill.rta <= drill.objective.rto
    assert drill.rpa == FOREVER
    made = drill.recorded()
    assert (made["verdict"], made["achieved"]["rta_s"]) == ("MISSED", None)
    assert made["failure"]["kinds"][0] == "NotRecovered"


def test_a_service_that_answers_and_takes_no_orders_is_missed_and_its_data_still_read(make, service):
    drill = make()
    fault = held(drill, service)
    with pytest.raises(NotRecovered, match="orders"), drill.disruption(fault, recovered_within=0.5):  # noqa: PT012 - the body of a disruption
        service.takes_writes = False
        service.up = True
    assert drill.losses.read
    assert drill.judgement.verdict is Verdict.MISSED


def test_data_that_cannot_be_read_back_is_missed(make, service):
    drill = make()
    fault = held(drill, service)
    read = service.read
    service.read = lambda: (_ for _ in ()).throw(OSError("relation ledger does not exist"))
    with pytest.raises(NotRecovered, match="does not exist"), drill.disruption(fault, recovered_within=0.6):
        service.up = True
    service.read = read
    assert drill.judgement.verdict is Verdict.MISSED
    assert drill.rpa == FOREVER


def test_a_reader_that_hangs_ends_at_the_deadline(make, service):
    drill = make()
    fault = held(drill, service)
    release = threading.Event()
    service.read = lambda: release.wait(20) and []
    with pytest.raises(NotRecovered, match="no answer"), drill.disruption(fault, recovered_within=0.6):
        service.up = True
    release.set()
    for thread in threading.enumerate():
        if thread.name.startswith("bounded"):
            thread.join(5)


def test_a_defect_of_the_reader_proves_nothing(make, service):
    drill = make()
    fault = held(drill, service)
    service.read = lambda: [].pop()
    with pytest.raises(IndexError), drill.disruption(fault, **LIMITS):
        service.up = True
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE


def test_a_failed_procedure_is_missed(make, service):
    drill = make()
    fault = held(drill, service)
    failing = pytest.raises(ProcedureFailed)
    with failing, drill.disruption(fault, **LIMITS), drill.recovery("restore"), drill.step("restore"):
        raise ProcedureFailed("velero: backup not found")
    assert drill.judgement.verdict is Verdict.MISSED
    assert drill.judgement.why == "velero: backup not found"
    assert drill.recorded()["procedure"]["steps"][0]["state"] == "failed"
    assert drill.recorded()["procedure"]["steps"][0]["detail"] == "velero: backup not found"


def test_waiting_in_vain_for_kubernetes_after_the_damage_is_missed(make, service):
    drill = make()
    fault = held(drill, service)
    with pytest.raises(WaitTimeout), drill.disruption(fault, **LIMITS):
        raise WaitTimeout("the pod to come back", "Pending", 60)
    assert drill.judgement.verdict is Verdict.MISSED


def raised_in_recovery(drill, service, raises):
    """Run a whole drill in whose procedure something is raised; give verdict, reason and record."""
    with pytest.raises(BaseException), drill.disruption(held(drill, service), **LIMITS):  # noqa: B017, SIM117 - whatever it is
        with drill.recovery("restore"), drill.step("restore"):
            raises()
    drill.close()
    return drill.judgement.verdict, drill.judgement.why, drill.recorded()


def throws(error):
    def throw():
        raise error

    return throw


CLIENT_ERRORS = [
    kube.Busy(429, "TooManyRequests", "the API server is busy"),
    kube.Denied(403, "Forbidden", "pods is forbidden"),
    kube.KubeError(422, "Invalid", "spec is invalid"),
    kube.Unreachable("Refused", "no connection"),
    botocore.exceptions.EndpointConnectionError(endpoint_url="http://127.0.0.1:9"),
    botocore.exceptions.ClientError({"Error": {"Code": "NoSuchKey", "Message": "gone"}}, "GetObject"),
    psycopg.OperationalError("server closed the connection unexpectedly"),
    psycopg.errors.UndefinedTable('relation "orders" does not exist'),
    OSError(28, "No space left on device"),
    FileNotFoundError(2, "No such file or directory", "backup.tar"),
    TimeoutError("timed out"),
    subprocess.CalledProcessError(1, ["velero"]),
    subprocess.TimeoutExpired(["velero"], 5),
    ssl.SSLError("certificate verify failed"),
    ValueError("no snapshot in the list"),
    KeyError("status"),
    ZeroDivisionError("division by zero"),
    RuntimeError("the restore did not start"),
    ExceptionGroup("two restores", [OSError("one"), ValueError("two")]),
    UsageError("kube.apply: invalid value 'text': expected a manifest"),
    WriteRefused("connection refused"),
    BadReading("503"),
    type("TheirOwnError", (Exception,), {})("quota exceeded"),
]


@pytest.mark.parametrize("error", CLIENT_ERRORS, ids=lambda error: type(error).__name__)
def test_whatever_the_procedure_raises_after_the_damage_is_a_failed_recovery(make, service, error):
    verdict, why, made = raised_in_recovery(make(), service, throws(error))
    assert verdict is Verdict.MISSED, why
    assert made["verdict"] == "MISSED"
    assert made["failure"]["during"] == "recovery"
    assert "defect" not in made["failure"]
    assert " ".join(str(error).split())[:40] in why


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (EnvironmentFailed("the disk of the machine is full"), Verdict.ENVIRONMENT),
        (MeasuringBroke("the sampler died"), Verdict.INCONCLUSIVE),
        (KeyboardInterrupt(), Verdict.INCONCLUSIVE),
        (SystemExit(1), Verdict.INCONCLUSIVE),
        (unittest.SkipTest("not today"), Verdict.INCONCLUSIVE),
        (pytest.skip.Exception("not today"), Verdict.INCONCLUSIVE),
        (pytest.exit.Exception("enough"), Verdict.INCONCLUSIVE),
        (pytest.fail.Exception("Timeout (>3.0s) from pytest-timeout."), Verdict.INCONCLUSIVE),
        (pytest.fail.Exception("the restore is empty"), Verdict.MISSED),
    ],
    ids=lambda value: type(value).__name__,
)
def test_what_only_ends_the_test_or_the_harness_says_nothing_of_recovery(make, service, error, expected):
    verdict, why, _ = raised_in_recovery(make(), service, throws(error))
    assert verdict is expected, why


def test_a_bug_in_our_own_code_is_no_failed_recovery_and_says_where_it_lies(make, service):
    drill = make()
    verdict, why, made = raised_in_recovery(drill, service, lambda: drill.backup("dump", "x", "monday"))
    assert verdict is Verdict.INCONCLUSIVE, why
    assert made["failure"]["defect"].startswith("drills.")
    assert why.startswith(f"the harness failed in its own code ({made['failure']['defect']}): AttributeError")


def test_an_error_outside_the_procedure_is_a_bug_of_the_scenario(make, service):
    drill = make()
    with pytest.raises(KeyError), drill.disruption(held(drill, service), **LIMITS):
        raise KeyError("typo")
    assert drill.judgement.verdict is Verdict.INCONCLUSIVE
    assert drill.judgement.why == "the harness failed: KeyError: 'typo'"


def test_an_error_that_the_procedure_handles_is_none(make, service):
    drill = make()
    with drill.disruption(held(drill, service), **LIMITS), drill.recovery("restore"):
        with pytest.raises(OSError, match="first try"):
            raise OSError("first try")
        plug_in(service)
    assert drill.judgement.verdict is Verdict.MET


def test_a_failed_check_is_missed(make, service):
    drill = make()
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS):
        service.up = True
    drill.check("all secrets are back", ok=False, expected=5, got=4)
    assert drill.judgement.verdict is Verdict.MISSED
    assert "all secrets are back (expected 5, got 4)" in drill.judgement.why


class Audited:
    """The service's ledger, whose data is found to be as it is told."""

    def __init__(self, service, *findings):
        self._service, self.findings = service, findings

    def read(self):
        return self._service.read()

    def audit(self):
        if isinstance(self.findings[0], Exception):
            raise self.findings[0]
        return self.findings


@pytest.mark.parametrize(
    ("finding", "verdict", "got"),
    [
        (Finding("the books balance", True, "10", "10"), Verdict.MET, "10"),
        (Finding("the books balance", False, "10", "9"), Verdict.MISSED, "9"),
        (WriteRefused("nobody answers"), Verdict.MISSED, "nobody answers"),
    ],
    ids=["sound", "corrupt", "no answer"],
)
def test_data_that_was_read_back_is_audited_where_its_reader_can(make, service, finding, verdict, got):
    drill = make(ledger=False)
    writer = Writer(service, drill.history, "orders", rate_hz=100.0, timeout_s=0.2)
    drill.watch(writer, Audited(service, finding))
    with drill.disruption(held(drill, service), **LIMITS), drill.recovery("plug it in"):
        plug_in(service)
    (check,) = [event.fields for event in drill.history.events("check")]
    assert check["name"] in ("orders: the books balance", "orders: the data can be audited")
    assert check["got"] == got
    assert drill.judgement.verdict is verdict


def test_what_a_pass_does_not_prove_is_part_of_its_reason_once(make, service):
    drill = make()
    with drill.disruption(held(drill, service), **LIMITS), drill.recovery("plug it in"):
        plug_in(service)
    plain = drill.judgement.why
    drill.caveat("one sample of a race")
    drill.caveat("one sample of a race")
    assert drill.judgement.why == f"{plain}; one sample of a race"
    assert drill.recorded()["caveats"] == ["one sample of a race"]
    drill.check("the light is on", ok=False)
    assert "race" not in drill.judgement.why, "a miss needs no caveat"
    with pytest.raises(UsageError, match="caveat: found no text"):
        drill.caveat(" ")


def test_a_service_that_flaps_is_back_with_its_lasting_run(make, service):
    drill = make()
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS):
        service.up = True
        time.sleep(0.05)
        service.up = False
        time.sleep(0.05)
        flapped = drill.history.elapsed()
        service.up = True
    issued = drill.history.events("fault")[0].t
    assert drill.rta >= timedelta(seconds=flapped - issued)


def test_a_service_that_goes_away_while_its_data_are_read_is_waited_for_again(make, service):
    drill = make()
    fault = held(drill, service)
    read, times = service.read, []

    def read_and_flinch():
        rows = read()
        times.append(drill.history.elapsed())
        if len(times) == 1:
            service.up = False
            time.sleep(0.05)
            service.up = True
        return rows

    service.read = read_and_flinch
    with drill.disruption(fault, **LIMITS):
        service.up = True
    assert len(times) == 2
    assert drill.rta >= timedelta(seconds=times[0] - drill.history.events("fault")[0].t)
    assert drill.judgement.verdict is Verdict.MET


# Cleaning up


def test_healing_that_fails_never_hides_the_first_cause(make, service):
    drill = make()
    fault = held(drill, service)

    def heal():
        service.up = True
        raise OSError("no route to host")

    fault.heal = heal
    with pytest.raises(ProcedureFailed) as caught, drill.disruption(fault, **LIMITS):
        raise ProcedureFailed("velero failed")
    assert "no route to host" in caught.value.__notes__[0]
    assert drill.judgement.verdict is Verdict.MISSED
    assert "no route to host" in drill.recorded()["notes"][0]


def test_healing_that_fails_alone_is_a_failure_of_the_environment(make, service):
    drill = make()
    fault = held(drill, service)
    fault.heal = lambda: (_ for _ in ()).throw(OSError("no route to host"))
    with pytest.raises(EnvironmentFailed, match="could not be healed"), drill.disruption(fault, **LIMITS):
        service.up = True
    assert drill.judgement.verdict is Verdict.ENVIRONMENT
    assert drill.rta < timedelta(seconds=2), "what was measured stays"


def test_only_the_first_failure_is_judged(make, service):
    drill = make()
    drill.failed(EnvironmentFailed("first"))
    drill.failed(EnvironmentFailed("first"))
    drill.failed(KeyError("second"))
    assert drill.judgement.verdict is Verdict.ENVIRONMENT
    assert [event.kind for event in drill.history.events()][1:] == ["failed", "note"]
    drill.close()


def test_a_failure_after_closing_reaches_the_record(make, service):
    drill = make()
    drill.close()
    drill.failed(KeyError("teardown"))
    assert drill.write() == drill.directory / "record.json"
    assert record.load(drill.directory / "record.json")["failure"]["kinds"][0] == "KeyError"


def test_a_drill_without_a_directory_writes_nothing(service):
    drill = Drill("x", Objective("1s"), History(), None)
    drill.close()
    assert drill.write() is None
    assert drill.recorded()["verdict"] == "INCONCLUSIVE"


# Order and usage


def test_a_scenario_out_of_order_is_told_so(make, service):
    drill = make()
    fault = Unplugged(service)
    with pytest.raises(UsageError, match="holds"), drill.disruption(fault):
        pass
    with pytest.raises(UsageError, match="before any damage"), drill.recovery("early"):
        pass
    with pytest.raises(UsageError, match="no probe of the user's path"):
        drill.holds(service.probe(role="extra"))
    drill.holds(service.probe(), within="5s")
    with pytest.raises(UsageError, match="called twice"):
        drill.holds(service.probe())
    with pytest.raises(UsageError, match="after holds"):
        drill.watch(Writer(service, drill.history))
    with drill.disruption(fault, **LIMITS):
        service.up = True
    with pytest.raises(UsageError, match="second one"), drill.disruption(fault):
        pass


def test_how_long_is_waited_follows_from_the_rto():
    def patience(rto):
        return Drill("x", Objective(rto), History(), None)._patience_s(None)

    assert patience("5m") == 600
    assert patience("1s") == 60
    assert patience("3h") == 1800
    assert patience(None) == 1800
    assert Drill("x", Objective("5m"), History(), None)._patience_s("90s") == 90


def test_parts_are_left_out_by_name(make, service):
    drill = make(sabotage=["procedure"])
    assert drill.leaves_out("procedure")
    assert not drill.leaves_out("fault")


def test_facts_go_into_the_record_and_measures_are_safe_from_them(make, service):
    drill = make()
    drill.describe(
        environment={"kind": "kind", "nodes": 3}, tier="high", controls=["CP-4"], verdict="MET", drill="other"
    )
    made = drill.recorded()
    assert (made["environment"]["nodes"], made["tier"], made["controls"]) == (3, "high", ["CP-4"])
    assert (made["verdict"], made["drill"]) == ("INCONCLUSIVE", "outage")


def test_backups_are_dated_by_when_their_taking_began(make, service):
    drill = make()
    began = drill.history.clock.now()
    time.sleep(0.02)
    drill.backup("dump", "one", taken=began)
    drill.backup("dump", "two", taken=began.utc, path=drill.directory)
    one, two = (event.fields for event in drill.history.events("backup"))
    assert one["taken_t"] == pytest.approx(two["taken_t"], abs=0.005)
    assert two["identity"] == {"path": str(drill.directory)}


def test_a_stepped_wall_clock_is_flagged_and_changes_no_rta(make, service):
    class Stepped(SystemClock):
        offset = timedelta(0)

        def now(self):
            now = super().now()
            return type(now)(now.monotonic, now.utc + self.offset)

    clock = Stepped()
    drill = make(clock=clock)
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS), drill.recovery("plug in"):
        clock.offset = timedelta(hours=-2)
        service.up = True
    drill.close()
    made = drill.recorded()
    assert made["clock"] == {"stepped": True, "wall_step_s": pytest.approx(7200, abs=0.1)}
    assert 0 <= made["achieved"]["rta_s"] < 2
    assert made["verdict"] == "MET"
    assert len(drill.history.events("clock")) == 1


def test_several_ledgers_are_all_watched(make, service):
    drill = make()
    other = Service()
    drill.watch(Writer(other, drill.history, "stock", rate_hz=100.0, timeout_s=0.2), reader=other)
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS):
        other.rows.clear()
        service.up = True
    assert {event.fields["ledger"] for event in drill.history.events("read_back")} == {"orders", "stock"}
    assert measures.losses(drill.history, "orders").lost == []
    assert measures.losses(drill.history, "stock").lost


def test_a_drill_without_data_has_no_rpa(make, service):
    drill = make(objective=Objective("2s"), ledger=False)
    fault = held(drill, service)
    with drill.disruption(fault, **LIMITS):
        service.up = True
    assert drill.rpa == FOREVER
    assert drill.judgement.verdict is Verdict.MET
    assert "verified" not in names(drill)


def test_blast_radii_are_ordered_by_reach_and_not_by_the_alphabet():
    assert sorted(BlastRadius, key=str) != sorted(BlastRadius) == list(BlastRadius)
    assert BlastRadius.POD < BlastRadius.NAMESPACE < BlastRadius.NODE < BlastRadius.CONTROL_PLANE < BlastRadius.CLUSTER
    assert BlastRadius.CLUSTER > "namespace"
    assert BlastRadius.NODE >= BlastRadius.NODE
    assert BlastRadius.NODE <= BlastRadius.NODE
    assert str(BlastRadius.CONTROL_PLANE) == "control-plane"


@pytest.mark.parametrize(
    ("bad_at", "ok", "got"),
    [
        (0.0, True, "0 bad of 3"),  # before the steady state: nobody had promised anything yet
        (1.5, False, "1 bad of 3, first: refused"),
    ],
)
def test_what_always_held_did_so_from_the_steady_state_on(make, bad_at, ok, got):
    drill = make(ledger=False)
    pages = Service().probe()
    drill.history.record("phase", at=drill.history.instant(1.0), name="steady")
    for sent in (0.0, 0.5, 1.0, 1.5, 2.0):
        drill.history.record(
            "reading", probe=pages.name, sent=sent, answered=sent, ok=sent != bad_at, why="refused", via="here:1"
        )
    drill.always_held(pages)
    check = drill.history.events("check")[0].fields
    assert (check["ok"], check["got"]) == (ok, got)


def test_a_probe_that_was_never_asked_in_the_steady_state_did_not_hold(make):
    drill = make(ledger=False)
    drill.always_held(Service().probe())
    assert drill.history.events("check")[0].fields["ok"] is False
