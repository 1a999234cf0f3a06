import itertools

import pytest

from drills import errors
from drills.errors import (
    EnvironmentFailed,
    FaultHadNoEffect,
    MeasuringBroke,
    NotRecovered,
    NotSteady,
    ProcedureFailed,
    WaitTimeout,
)
from drills.objectives import Objective
from drills.verdicts import Failure, Verdict, exit_code, judge, worst

from .scripted import Script, told

OBJECTIVE = Objective("5s", "2s")


def verdict(story, objective=OBJECTIVE, failure=None):
    judgement = judge(getattr(story, "history", story), objective, failure)
    return judgement.verdict, judgement.why


def before_the_fault():
    script = Script()
    script.probe()
    script.readings(9.0)
    script.phase("steady", 5.0)
    return script


def given_up():
    """Damaged, and never back."""
    script = Script()
    script.probe()
    script.readings(20.0, ((10.1, 99.0),))
    script.phase("steady", 5.0)
    script.write(1, 6.0)
    script.fault()
    return script


def test_everything_proven_is_met_and_the_reason_has_the_figures():
    assert verdict(told(lost=3)) == (
        Verdict.MET,
        "recovered in 4.00 s (at most 4.00 s, RTO 5 s); 3 of 99 acknowledged writes lost, 0.30 s back (RPO 2 s)",
    )


def test_time_over_the_objective_is_missed():
    assert verdict(told(down=(10.1, 16.0))) == (
        Verdict.MISSED,
        "recovered in 6.00 s (at most 6.00 s), over the RTO of 5 s",
    )


def test_the_upper_bound_is_what_is_compared():
    script = told(down=None)
    assert verdict(script, Objective("0.04s"))[0] is Verdict.MISSED
    assert verdict(script, Objective("0.06s"))[0] is Verdict.MET


def test_data_over_the_objective_is_missed():
    assert verdict(told(lost=30)) == (
        Verdict.MISSED,
        "30 acknowledged writes lost and 0 deletions undone, the oldest 3.00 s before the fault, against an RPO of 2 s",
    )


def test_an_rpo_of_zero_allows_no_loss_whatever_its_age():
    assert verdict(told(), Objective("5s", 0))[0] is Verdict.MET
    assert verdict(told(lost=1), Objective("5s", 0))[0] is Verdict.MISSED
    script = told()
    rows = list(script._written["orders"].values())
    script.write(100, 10.2)  # acknowledged after the fault was issued, and gone: RPA 0, and yet a loss
    script.read_back(19.9, rows)
    assert verdict(script, Objective("5s", "1ms"))[0] is Verdict.MET
    assert verdict(script, Objective("5s", 0))[0] is Verdict.MISSED


def test_without_a_receipt_before_the_fault_no_data_was_at_stake():
    story = [event for event in told().history.events() if event.kind not in ("write", "receipt", "read_back")]
    script = Script()
    row = script.write(1, 15.0)
    script.read_back(19.0, [row])
    found, why = verdict([*story, *script.history.events()])
    assert found is Verdict.INCONCLUSIVE
    assert "no data was at stake" in why


def test_objectives_that_were_not_set_are_not_judged():
    assert verdict(told(down=(10.1, 18.0)), Objective(rpo="2s"))[0] is Verdict.MET
    assert verdict(told(lost=90), Objective(rto="5s"))[0] is Verdict.MET
    assert verdict(told(), Objective()) == (Verdict.INCONCLUSIVE, "no objective was set to judge by")


def test_the_downtime_in_all_is_held_against_the_mtd():
    script = told(end=40.0)
    for place in range(200):
        script.reading(40.0 + place * 0.05, ok=False)
    assert verdict(script, Objective("5s", "2s", "1m"))[0] is Verdict.MET
    assert verdict(script, Objective("5s", "2s", "10s"))[1].endswith("s in all, over the MTD of 10 s")


def test_corrupted_duplicated_and_late_losses_are_missed_whatever_the_objective():
    script = told()
    rows = list(script._written["orders"].values())
    script.read_back(19.9, [*rows, rows[0]])
    assert verdict(script, Objective("5s"))[1] == "1 rows came back more than once (first: row 1)"
    script = told()
    rows = list(script._written["orders"].values())
    script.read_back(19.9, [*rows[1:], type(rows[0]).chained(1, "f" * 16, "forged", "")])
    assert verdict(script, Objective("5s"))[1] == "1 rows came back corrupted (first: row 1)"
    script = told()
    script.write(100, 15.0)
    script.read_back(19.9, rows)
    assert "which no RPO covers" in verdict(script, Objective("5s", "1h"))[1]


def test_writes_that_came_back_too_late_are_missed_though_answers_were_in_time():
    script = told()
    rows = list(script._written["orders"].values())
    script.write(100, 11.0, acknowledged=False)
    rows.append(script.write(101, 18.0))
    script.read_back(19.9, rows)
    assert verdict(script)[1] == (
        "answers were back in 4.00 s, but writes were acknowledged for good only after 8.00 s, over the RTO of 5 s"
    )
    script.write(102, 18.5, acknowledged=False)
    assert verdict(script)[1].endswith("but writes were never acknowledged for good again")


def test_a_failed_check_is_missed():
    script = told()
    script.event("check", 19.9, name="config map is there", ok=True, expected="1", got="1")
    assert verdict(script)[0] is Verdict.MET
    for number in (1, 2):
        script.event("check", 19.9, name=f"secret {number} is there", ok=False, expected="1", got="0")
    assert verdict(script) == (Verdict.MISSED, "check failed: secret 1 is there (expected 1, got 0) and 1 more")


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (NotRecovered("not back", "refused"), Verdict.MISSED),
        (ProcedureFailed("velero failed"), Verdict.MISSED),
        (WaitTimeout("pods", "pending", 5), Verdict.MISSED),
        (AssertionError("assert 5 >= 100"), Verdict.MISSED),
        (type("Failed", (BaseException,), {})("pytest.fail"), Verdict.MISSED),
        (MeasuringBroke("probe died"), Verdict.INCONCLUSIVE),
        (KeyError("typo"), Verdict.INCONCLUSIVE),
        (KeyboardInterrupt(), Verdict.INCONCLUSIVE),
        (EnvironmentFailed("no disk"), Verdict.ENVIRONMENT),
    ],
)
def test_failures_after_the_damage(failure, expected):
    assert verdict(given_up(), failure=failure)[0] is expected


@pytest.mark.parametrize(
    ("failure", "expected"),
    [
        (NotSteady("bad reading"), Verdict.INCONCLUSIVE),
        (ProcedureFailed("the backup failed"), Verdict.INCONCLUSIVE),
        (WaitTimeout("pods", "pending", 5), Verdict.INCONCLUSIVE),
        (AssertionError("assert 5 >= 100"), Verdict.INCONCLUSIVE),
        (EnvironmentFailed("no disk"), Verdict.ENVIRONMENT),
        (None, Verdict.INCONCLUSIVE),
    ],
)
def test_failures_before_the_damage_prove_nothing(failure, expected):
    assert verdict(before_the_fault(), failure=failure)[0] is expected


@pytest.mark.parametrize(
    ("failure", "instead_of_met"),
    [
        (MeasuringBroke("x"), Verdict.INCONCLUSIVE),
        (KeyError("x"), Verdict.INCONCLUSIVE),
        (EnvironmentFailed("x"), Verdict.ENVIRONMENT),
        (FaultHadNoEffect("x"), Verdict.INCONCLUSIVE),
    ],
)
def test_a_failure_after_the_measuring_never_hides_a_miss_nor_leaves_a_pass(failure, instead_of_met):
    assert verdict(told(down=(10.1, 18.0)), failure=failure)[0] is Verdict.MISSED
    assert verdict(told(), failure=failure)[0] is instead_of_met


def test_a_claim_of_the_scenario_that_does_not_hold_is_missed_and_figures_say_it_better():
    assert verdict(told(), failure=AssertionError("assert 5 >= 100")) == (Verdict.MISSED, "assert 5 >= 100")
    assert "over the RTO" in verdict(told(down=(10.1, 18.0)), failure=AssertionError("assert rta <= rto"))[1]


def without(kind, **match):
    """The whole drill without the events of a kind."""
    return [
        event
        for event in told().history.events()
        if event.kind != kind or any(event.fields.get(key) != value for key, value in match.items())
    ]


@pytest.mark.parametrize(
    ("missing", "match", "why"),
    [
        ("phase", {"name": "steady"}, "the steady state was never shown"),
        ("fault", {}, "no fault was issued"),
        ("fault", {"state": "proved"}, "no damage was observed"),
        ("phase", {"name": "damaged"}, "no damage was observed"),
        ("phase", {"name": "stable"}, "the drill was cut off"),
        ("receipt", {}, "no data was at stake"),
        ("probe", {}, "no probe of the user's path"),
        ("reading", {}, "no probe of the user's path"),
    ],
)
def test_whatever_is_not_proven_is_inconclusive(missing, match, why):
    found, said = verdict(without(missing, **match))
    assert found is Verdict.INCONCLUSIVE
    assert why in said


def test_data_that_was_never_read_back_is_missed():
    assert verdict(without("read_back")) == (
        Verdict.MISSED,
        "the ledger was never read back, so its data counts as gone",
    )
    assert verdict(without("read_back"), Objective("5s"))[1] == "the service did not come back for good"


def test_a_hole_in_the_sampling_is_inconclusive_and_a_small_one_is_not():
    for hole, expected in ((1.0, Verdict.MET), (1.4, Verdict.INCONCLUSIVE)):
        events = [
            event
            for event in told().history.events()
            if event.kind != "reading" or not 15.0 <= event.fields["sent"] < 15.0 + hole
        ]
        assert verdict(events)[0] is expected, verdict(events)


def test_sabotage_is_judged_like_everything_else():
    script = before_the_fault()
    script.fault(proved=None)
    assert verdict(script, failure=FaultHadNoEffect("no damage was observed"))[0] is Verdict.INCONCLUSIVE


def test_worst_and_exit_codes():
    assert worst([]) is Verdict.INCONCLUSIVE
    assert exit_code([]) == 3
    for pair in itertools.permutations(Verdict, 2):
        assert worst(pair) is min(pair, key=["MISSED", "INCONCLUSIVE", "ENVIRONMENT", "MET"].index)
    assert [exit_code([one]) for one in Verdict] == [0, 1, 3, 3]
    assert exit_code([Verdict.MET, Verdict.ENVIRONMENT, Verdict.MISSED]) == 1


def test_a_failure_survives_its_record():
    failure = Failure.of(ProcedureFailed("velero\n  failed"))
    assert failure.message == "velero failed"
    assert failure.is_a("DrillError")
    assert str(failure) == "ProcedureFailed: velero failed"
    assert Failure.from_record(failure.as_record()) == failure
    assert Failure.from_record(None) is None
    assert Failure.of(KeyboardInterrupt()).message == "KeyboardInterrupt"


def test_the_tree_of_errors_is_the_one_that_is_drawn():
    drawn = [line.strip(" |+-").split()[0] for line in errors.__doc__.splitlines() if "+-" in line]
    real = [
        name
        for name, kind in vars(errors).items()
        if isinstance(kind, type) and issubclass(kind, errors.DrillError) and kind is not errors.DrillError
    ]
    assert sorted(drawn) == sorted(real)
    assert all(getattr(errors, name).__doc__ for name in real)
