import itertools

import pytest

from drills import errors
from drills.errors import (
    CutOff,
    EnvironmentFailed,
    FaultHadNoEffect,
    MeasuringBroke,
    NotRecovered,
    NotSteady,
    ProcedureFailed,
    WaitTimeout,
)
from drills.history import Event
from drills.objectives import Objective
from drills.verdicts import Failure, Verdict, exit_code, judge, worst

from .scripted import Script, told

OBJECTIVE = Objective("5s", "2s")


def verdict(story, objective=OBJECTIVE, failure=None):
    judgement = judge(getattr(story, "history", story), objective, failure)
    return judgement.verdict, judgement.why


def in_order(script):
    """The events in the order of their times: what was added to a whole drill is before its end."""
    return sorted(script.history.events(), key=lambda event: event.t)


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
        "recovered in 4.00 s (at most 4.00 s, RTO 5 s); 3 of 105 acknowledged writes lost, 0.30 s back (RPO 2 s)",
    )


def test_time_over_the_objective_is_missed():
    assert verdict(told(down=(10.1, 16.0))) == (
        Verdict.MISSED,
        "recovered in 6.00 s (at most 6.00 s), over the RTO of 5 s",
    )


def test_the_upper_bound_is_what_is_compared():
    script = told(down=None)  # the widest gap is between the last write before the fault and the first one after it
    assert verdict(script, Objective("0.10s"))[0] is Verdict.MISSED
    assert verdict(script, Objective("0.13s"))[0] is Verdict.MET


def test_data_over_the_objective_is_missed():
    assert verdict(told(lost=30)) == (
        Verdict.MISSED,
        "30 acknowledged writes lost and 0 deletions undone, the oldest 3.00 s before the fault, against an RPO of 2 s",
    )


def test_an_rpo_of_zero_allows_no_loss_whatever_its_age():
    assert verdict(told(), Objective("5s", 0))[0] is Verdict.MET
    assert verdict(told(lost=1), Objective("5s", 0))[0] is Verdict.MISSED
    gone = told(lost=1)
    assert verdict(gone, Objective("5s", "1s"))[0] is Verdict.MET
    assert "against an RPO of 0 s" in verdict(gone, Objective("5s", 0))[1]


def test_without_a_receipt_before_the_fault_no_data_was_at_stake():
    story = [event for event in told().history.events() if event.kind != "receipt" or event.t > 10.0]
    found, why = verdict(story)
    assert found is Verdict.INCONCLUSIVE
    assert "no data was at stake" in why


def test_objectives_that_were_not_set_are_not_judged():
    assert verdict(told(down=(10.1, 18.0)), Objective(rpo="2s"))[0] is Verdict.MET
    assert verdict(told(lost=90), Objective(rto="5s"))[0] is Verdict.MET
    assert verdict(told(), Objective()) == (Verdict.INCONCLUSIVE, "no objective was set to judge by")


def test_the_downtime_in_all_is_held_against_the_mtd():
    assert verdict(told(), Objective("5s", "2s", "5s"))[0] is Verdict.MET
    flapping = [
        Event(event.t, event.utc, event.kind, {**event.fields, "ok": False})
        if event.kind == "reading" and 10.5 <= event.fields["sent"] < 13.0
        else event
        for event in told(down=None).history.events()
    ]
    assert verdict(flapping, Objective("5s", "2s", "5s"))[0] is Verdict.MET
    assert verdict(flapping, Objective(rpo="2s", mtd="2s"))[1].endswith("s in all, over the MTD of 2 s")


def test_a_disturbance_after_stable_counts_for_nothing():
    script = told(end=20.0)
    for place in range(200):
        script.reading(19.85 + place * 0.0005, ok=False)  # the harness heals its own fault
    script.write(107, 19.9, acknowledged=False)
    assert verdict(in_order(script), Objective("5s", "2s", "5s"))[0] is Verdict.MET


def test_corrupted_duplicated_and_late_losses_are_missed_whatever_the_objective():
    script = told()
    rows = list(script._written["orders"].values())
    script.read_back(19.6, [*rows, rows[0]])
    assert verdict(in_order(script), Objective("5s"))[1] == "1 rows came back more than once (first: row 1)"
    script = told()
    rows = list(script._written["orders"].values())
    script.read_back(19.6, [*rows[1:], type(rows[0]).chained(1, "f" * 16, "forged", "")])
    assert verdict(in_order(script), Objective("5s"))[1] == "1 rows came back corrupted (first: row 1)"
    script = told()
    script.write(107, 15.0)
    script.read_back(19.6, rows)
    assert "1 writes acknowledged by the recovered" in verdict(in_order(script), Objective("5s", "1h"))[1]
    script = told()
    script.event("deleted", 15.0, ledger="orders", seq=7)
    script.read_back(19.6, rows)
    assert "1 deletions acknowledged by the recovered" in verdict(in_order(script), Objective("5s", "5s"))[1]


def test_writes_that_came_back_too_late_are_missed_though_answers_were_in_time():
    script = told()
    rows = list(script._written["orders"].values())
    script.write(107, 16.0, acknowledged=False)
    rows += [script.write(108 + place, 18.0 + 0.1 * place) for place in range(5)]
    script.read_back(19.6, rows)
    assert verdict(in_order(script))[1] == (
        "answers were back in 4.00 s, but writes were acknowledged for good only after 8.00 s, over the RTO of 5 s"
    )
    assert verdict(in_order(script), Objective("9s"))[1] == (
        "recovered in 8.00 s (at most 8.00 s, RTO 9 s), writes last: answers were back in 4.00 s; "
        "0 of 110 acknowledged writes lost"
    )
    script.write(113, 18.9, acknowledged=False)
    assert verdict(in_order(script))[1].endswith("but writes were never acknowledged for good again")


def test_a_service_that_answered_all_along_and_refused_writes_recovered_when_it_took_them():
    script = told(down=None)  # an etcd whose space alarm is on: reads are served
    rows = list(script._written["orders"].values())
    refused = [script.write(107 + place, 10.2 + place, acknowledged=False) for place in range(4)]
    assert refused
    rows += [script.write(120 + place, 14.0 + 0.1 * place) for place in range(5)]
    script.read_back(19.6, rows)
    assert verdict(in_order(script), Objective("3s"))[0] is Verdict.MISSED
    assert "recovered in 4.00 s" in verdict(in_order(script), Objective("5s"))[1]
    assert "writes last: answers were back in 0.00 s" in verdict(in_order(script), Objective("5s"))[1]


def test_a_failed_check_is_missed():
    script = told()
    script.event("check", 19.9, name="config map is there", ok=True, expected="1", got="1")
    assert verdict(in_order(script))[0] is Verdict.MET
    for number in (1, 2):
        script.event("check", 19.9, name=f"secret {number} is there", ok=False, expected="1", got="0")
    failed = (Verdict.MISSED, "check failed: secret 1 is there (expected 1, got 0) and 1 more")
    assert verdict(in_order(script)) == failed


@pytest.mark.parametrize("ok", ["false", "true", 1, None, []])
def test_only_true_passes_a_check(ok):
    script = told()
    script.event("check", 19.9, name="secret is there", ok=ok, expected="1", got="0")
    assert verdict(in_order(script))[0] is Verdict.MISSED


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
        (CutOff("somebody pressed Ctrl-C"), Verdict.INCONCLUSIVE),
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


def test_every_beginning_of_a_drill_is_less_than_a_pass():
    events = told().history.events()
    assert verdict(events)[0] is Verdict.MET
    passed = [number for number in range(len(events)) if verdict(events[:number])[0] is Verdict.MET]
    assert passed == []


def test_a_drill_that_is_still_running_is_judged_as_far_as_it_went():
    events = told().history.events()[:-1]
    assert judge(events, OBJECTIVE).verdict is Verdict.INCONCLUSIVE
    assert judge(events, OBJECTIVE, running=True).verdict is Verdict.MET


def test_what_was_missed_stays_missed_where_the_end_is_missing():
    script = told(down=(10.1, 16.0))
    assert verdict(script.history.events()[:-1])[0] is Verdict.MISSED


def moved(kind, name, t):
    """The whole drill with one of its marks at another time, in the order of the times."""
    key = "state" if kind == "fault" else "name"
    return sorted(
        (
            Event(t, event.utc, event.kind, event.fields)
            if event.kind == kind and event.fields.get(key) == name
            else event
            for event in told().history.events()
        ),
        key=lambda event: event.t,
    )


@pytest.mark.parametrize(
    ("kind", "name", "t"),
    [
        ("phase", "steady", 10.2),
        ("phase", "steady", 19.0),
        ("fault", "proved", 9.0),
        ("fault", "proved", 10.55),
        ("phase", "damaged", 9.0),
        ("phase", "damaged", 10.4),
        ("phase", "damaged", 19.9),
        ("phase", "recovering", 10.3),
        ("phase", "stable", 10.4),
        ("phase", "ended", 19.0),
        ("phase", "opened", 1.0),
    ],
)
def test_what_stands_where_it_cannot_have_happened_proves_nothing(kind, name, t):
    events = moved(kind, name, t)
    if name == "opened":
        events = events[1:]
    assert verdict(events)[0] is Verdict.INCONCLUSIVE, verdict(events)


def test_marks_whose_lines_were_moved_prove_nothing():
    events = told().history.events()
    steady = next(event for event in events if event.fields.get("name") == "steady")
    behind = [event for event in events if event is not steady]
    stable = next(number for number, event in enumerate(behind) if event.fields.get("name") == "stable")
    behind.insert(stable, steady)
    assert "out of order" in verdict(behind)[1]


def test_a_second_fault_proves_nothing():
    script = told()
    script.event("fault", 15.0, name="x", target="y", blast_radius="pod", state="issued", proof=[])
    assert "2 faults that were issued" in verdict(in_order(script))[1]


@pytest.mark.parametrize(("down", "found"), [((9.9, 14.0), "down"), ((9.0, 9.1), "steady"), ((8.0, 9.7), "run of 6")])
def test_a_service_that_was_down_before_the_fault_proves_nothing(down, found):
    script = told()
    events = [
        Event(event.t, event.utc, event.kind, {**event.fields, "ok": not down[0] <= event.fields["sent"] < down[1]})
        if event.kind == "reading" and event.fields["sent"] < 10.0
        else event
        for event in script.history.events()
    ]
    verdicts = {need: verdict([with_need(event, need) for event in events]) for need in (None, 5, 40)}
    expected = {
        "down": {None: "INCONCLUSIVE", 5: "INCONCLUSIVE", 40: "INCONCLUSIVE"},
        "steady": {None: "MET", 5: "MET", 40: "INCONCLUSIVE"},
        "run of 6": {None: "MET", 5: "MET", 40: "INCONCLUSIVE"},
    }[found]
    assert {need: str(found) for need, (found, _) in verdicts.items()} == expected
    assert "did not hold up to the fault" in verdicts[40][1]


def with_need(event, need):
    """The event; the phase `steady` says how many good readings showed it, which old histories do not."""
    if need is None or event.fields.get("name") != "steady":
        return event
    return Event(event.t, event.utc, event.kind, {**event.fields, "need": need})


def test_a_service_that_refused_writes_before_the_fault_proves_nothing():
    script = told()
    script.write(99, 9.99, acknowledged=False)
    events = [event for event in in_order(script) if event.kind != "receipt" or event.fields["seq"] != 99]
    assert "refused its last write before it: gone" in verdict(events)[1]


@pytest.mark.parametrize("receipts", range(6))
def test_writes_are_back_when_five_in_a_row_were_acknowledged(receipts):
    events = [
        event for event in told().history.events() if event.kind != "receipt" or event.fields["seq"] <= 100 + receipts
    ]
    found, why = verdict(events)
    if receipts == 0:  # the last write that was answered was refused
        assert (found, "never acknowledged for good" in why) == (Verdict.MISSED, True)
    else:
        assert found is (Verdict.MET if receipts == 5 else Verdict.INCONCLUSIVE), why


def test_no_write_after_the_fault_is_no_proof_that_writes_are_back():
    events = [
        event
        for event in told().history.events()
        if event.kind not in ("write", "receipt", "refused") or event.fields["seq"] < 100
    ]
    rows = next(event for event in events if event.kind == "read_back").fields["rows"]
    rows[:] = [row for row in rows if row[0] < 100]
    assert verdict(events) == (
        Verdict.INCONCLUSIVE,
        "after the fault ledger 'orders' acknowledged 0 writes in a row, and 5 show that it takes writes again",
    )


@pytest.mark.parametrize("need", ["absent", None, 0, True, "60"])
def test_a_probe_that_does_not_say_what_lasts_proves_nothing(need):
    events = [
        Event(event.t, event.utc, event.kind, {k: v for k, v in event.fields.items() if k != "need"} | (
            {} if need == "absent" else {"need": need}
        ))
        if event.kind == "probe"
        else event
        for event in told().history.events()
    ]  # fmt: skip
    assert verdict(events)[0] is Verdict.INCONCLUSIVE
    assert "does not say how many" in verdict(events)[1]


def test_data_that_was_read_before_the_service_was_back_proves_nothing():
    events = moved("read_back", None, 12.0)
    early = [
        Event(event.t, event.utc, event.kind, {**event.fields, "asked": 12.0}) if event.kind == "read_back" else event
        for event in events
    ]
    found, why = verdict(early, Objective("5s"))
    assert found is Verdict.INCONCLUSIVE
    assert "read back before the service was back" in why


def emptied(since, *, rpo, backup=None):
    """A drill whose ledger began at `since`, and that "recovered" with an empty database: only new rows are there."""
    script = told()
    kept = [row for seq, row in script._written["orders"].items() if seq > 100]
    if backup is not None:
        script.event("backup", backup, name="b", backup_kind="dump", taken_utc="", taken_t=backup, identity={})
    script.read_back(19.6, kept)
    events = [
        event for event in in_order(script) if event.kind not in ("write", "receipt") or event.t >= since
    ]  # a ledger that began earlier shows more
    return verdict(events, Objective("5s", rpo))


def test_an_empty_database_is_never_a_pass():
    assert emptied(7.0, rpo="1h") == (
        Verdict.INCONCLUSIVE,
        "not one of the writes acknowledged before the fault came back (30 are gone), so the recovery point is not "
        "known: at least 3.00 s back; begin the ledger earlier",
    )
    assert emptied(7.0, rpo="2s")[1] == (
        "30 acknowledged writes lost and 0 deletions undone, the oldest at least 3.00 s before the fault, "
        "against an RPO of 2 s"
    )
    assert emptied(7.0, rpo=None)[0] is Verdict.INCONCLUSIVE
    assert emptied(7.0, rpo="1h", backup=6.0)[0] is Verdict.INCONCLUSIVE, "whatever the backup was, nothing shows it"
    found, why = emptied(7.0, rpo="1h", backup=8.0)
    assert found is Verdict.MISSED
    assert why == "10 writes acknowledged before the recovery point on offer are missing, which no RPO covers"


def test_a_recovery_point_that_is_older_than_the_ledger_is_not_known():
    script = told()
    rows = list(script._written["orders"].values())
    script.read_back(19.6, [row for row in rows if row.seq in (50, 99) or row.seq > 100])
    found, why = verdict(in_order(script), Objective("5s", "1h"))
    assert found is Verdict.INCONCLUSIVE
    assert "the first one of its ledger" in why
    assert verdict(in_order(script), Objective("5s", "9s"))[0] is Verdict.MISSED
    assert verdict(in_order(script), Objective("5s"))[0] is Verdict.MET, "nothing was promised of the data"


def test_writes_that_were_acknowledged_after_the_fault_and_lost_count():
    script = told(down=(14.0, 17.0))
    lost = [script.write(200 + place, 10.0 + 0.1 * place) for place in range(1, 40)]
    assert lost
    found, why = verdict(in_order(script), Objective("8s", "1s"))
    assert found is Verdict.MISSED
    assert why.endswith(
        "the oldest 3.80 s before the service stopped acknowledging writes, 3.90 s after the fault, "
        "against an RPO of 1 s"
    )


# Volumes


def with_fault(events, claims=None, proof=None, ledgers=None, **fields):
    """The drill whose fault took volume claims, and whose ledgers say on which of them they live."""
    made = []
    for event in events:
        if event.kind == "fault":
            said = {**event.fields, **({"claims": claims} if claims is not None else {}), **fields}
            said["proof"] = proof if proof and said["proof"] else said["proof"]
            event = Event(event.t, event.utc, event.kind, said)
        made.append(event)
    for number, (ledger, on) in enumerate((ledgers or {}).items(), 1):
        made.insert(number, Event(0.0, "", "ledger", {"ledger": ledger, "claims": on}))
    return made


def without_data():
    return [
        event
        for event in told().history.events()
        if event.kind not in ("write", "receipt", "refused", "read_back") and event.fields.get("name") != "verified"
    ]


def test_volumes_that_no_ledger_watched_are_not_known_to_be_back():
    bare = without_data()
    objective = Objective("5s")
    assert verdict(bare, objective)[0] is Verdict.MET
    assert verdict(with_fault(bare, ["shop/data"]), objective) == (
        Verdict.INCONCLUSIVE,
        "the disaster took the volume claim shop/data, and no ledger watched its data, so nothing is known of it",
    )
    assert "a/1, a/2, a/3 and 1 more" in verdict(with_fault(bare, ["a/1", "a/2", "a/3", "a/4"]), objective)[1]
    for disposable in (["shop/data"], ["data"]):
        assert verdict(with_fault(bare, ["shop/data"], disposable=disposable), objective)[0] is Verdict.MET
    assert (
        verdict(with_fault(bare, ["shop/data", "shop/cache"], disposable=["cache"]), objective)[1].count("shop/") == 1
    )


def test_a_ledger_watches_the_claims_that_it_says_it_lives_on():
    events = told().history.events()
    claims = ["shop/data", "shop/other"]
    assert verdict(with_fault(events, claims))[0] is Verdict.MET, "it does not say, so it counts for all"
    assert verdict(with_fault(events, claims, ledgers={"orders": claims}))[0] is Verdict.MET
    assert verdict(with_fault(events, claims, ledgers={"orders": ["data", "other"]}))[0] is Verdict.MET
    assert "shop/other" in verdict(with_fault(events, claims, ledgers={"orders": ["data"]}))[1]


def test_a_miss_is_a_fact_whatever_is_not_known_of_the_volumes():
    assert verdict(with_fault(without_data(), ["shop/data"]), Objective("3s"))[0] is Verdict.MISSED


def test_old_histories_say_in_their_proof_how_many_claims_went():
    bare = without_data()
    gone = ["namespace shop with uid 1 is gone", "1 pods and 1 volume claims went with it"]
    none = ["namespace web with uid 1 is gone", "2 pods and 0 volume claims went with it"]
    assert verdict(with_fault(bare, proof=gone), Objective("5s"))[0] is Verdict.INCONCLUSIVE
    assert verdict(with_fault(bare, proof=none), Objective("5s"))[0] is Verdict.MET
    assert verdict(with_fault(bare, claims=[], proof=gone), Objective("5s"))[0] is Verdict.MET, (
        "today's faults name them"
    )


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


# What ends a drill early is named


@pytest.mark.parametrize(
    ("failure", "why"),
    [
        (AssertionError("assert backups == []"), "assert backups == []"),
        (ProcedureFailed("velero is not there"), "velero is not there"),
        (KeyError("typo"), "KeyError: 'typo'"),
        (
            type("Failed", (BaseException,), {})("async def functions are not natively supported."),
            "async def functions",
        ),
        (WaitTimeout("the shop", "ImagePullBackOff", 5), "ImagePullBackOff"),
        (NotSteady("not steady: refused"), "not steady: refused"),
    ],
)
def test_what_failed_before_the_damage_is_named(failure, why):
    opened = Script()
    issued = before_the_fault()
    issued.fault(proved=None)
    for script in (opened, before_the_fault(), issued):
        found, said = verdict(script, failure=failure)
        assert found is Verdict.INCONCLUSIVE
        assert why in said
        assert "\n" not in said


def test_a_long_reason_is_cut_visibly_and_stands_in_one_line():
    found, why = verdict(given_up(), failure=ProcedureFailed("no\n" * 4000))
    assert found is Verdict.MISSED
    assert len(why) < 1100
    assert "\n" not in why
    assert why.endswith(" characters left out]")


@pytest.mark.parametrize("message", ["Timeout >3.0s", "Timeout (>3.0s) from pytest-timeout."])
def test_a_time_limit_of_the_test_is_no_miss(message):
    raised = type("Failed", (BaseException,), {})(message)
    for failure in (raised, Failure(("Failed", "BaseException"), message)):  # live, and as an old record has it
        for during in ("", "recovery"):
            failure = Failure.of(raised, during) if failure is raised else failure
            found, why = verdict(given_up(), failure=failure)
            assert found is Verdict.INCONCLUSIVE
            assert "cut off" in why
            assert verdict(told(), failure=failure)[0] is Verdict.INCONCLUSIVE
    said = type("Failed", (BaseException,), {})(f"{message} is what the shop answered")
    assert verdict(given_up(), failure=said)[0] is Verdict.MISSED


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
