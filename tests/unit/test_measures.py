import random
from dataclasses import asdict, dataclass, replace
from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills import marks, measures
from drills.clock import FakeClock
from drills.history import Event, History

from .scripted import Script, told

INTERVAL, TIMEOUT, SLOW = 0.05, 1.0, 0.5
ISSUED = 4.0


@dataclass(frozen=True)
class Down:
    start: float
    end: float
    mode: str


@st.composite
def truths(draw):
    """What really happened: outages after the fault, far enough apart and long enough to be seen."""
    outages, t = [], ISSUED
    for _ in range(draw(st.integers(1, 3))):
        start = t + draw(st.floats(0.0, 2.0))
        end = start + draw(st.floats(0.75, 4.0))
        outages.append(Down(start, end, draw(st.sampled_from(["refuse", "error", "hang", "freeze"]))))
        t = end + 1.5
    return outages


def sampled(outages, seed, until, slow_after=SLOW):
    """The events that a sampler with a random phase, latency and lateness leaves of that truth."""
    dice = random.Random(seed)
    events = [
        Event(
            0.0,
            "",
            "probe",
            {"probe": "p", "interval_s": INTERVAL, "timeout_s": TIMEOUT, "slow_after_s": slow_after, "need": 3},
        ),
        Event(ISSUED, "", "fault", {"state": "issued"}),
    ]
    phase = dice.uniform(0, INTERVAL)
    for place in range(int(until / INTERVAL)):
        sent = phase + place * INTERVAL + (dice.uniform(0, 0.04) if dice.random() < 0.2 else 0.0)
        reaches = sent + dice.uniform(0, 0.01)
        back = dice.uniform(0, 0.01)
        down = next((o for o in outages if o.start <= reaches < o.end), None)
        if down is None:
            answered, ok = reaches + back, True
        elif down.mode in ("refuse", "error"):
            answered, ok = reaches + back, False
        elif down.mode == "hang":
            answered, ok = sent + TIMEOUT, False
        else:
            answered = min(down.end + back, sent + TIMEOUT)
            ok = answered - sent <= slow_after and answered < sent + TIMEOUT
        fields = {"probe": "p", "sent": sent, "answered": answered, "ok": ok, "why": "" if ok else "bad", "via": "h:1"}
        events.append(Event(answered, "", "reading", fields))
    return sorted(events, key=lambda event: event.t)


@given(truths(), st.integers(0, 2**32))
def test_the_true_recovery_lies_within_the_bounds(outages, seed):
    events = sampled(outages, seed, outages[-1].end + 1.5)
    recovery = measures.recovery_time(events)
    assert recovery is not None
    assert recovery.low_s <= outages[-1].end - ISSUED <= recovery.high_s
    assert recovery.rta_s == recovery.high_s
    sent = [reading.sent for reading in measures.readings(events, "p")]
    assert recovery.high_s - recovery.low_s <= max(b - a for a, b in pairwise(sent)) + SLOW + 1e-6


@given(truths(), st.integers(0, 2**32))
def test_every_true_outage_lies_within_its_bounds(outages, seed):
    events = sampled(outages, seed, outages[-1].end + 1.5)
    found = measures.outages(events, "p")
    assert len(found) == len(outages)
    sent = [reading.sent for reading in measures.readings(events, "p")]
    widest = 2 * max(b - a for a, b in pairwise(sent)) + 2 * SLOW + 1e-6
    for outage, truth in zip(found, outages, strict=True):
        assert outage.start_low <= truth.start <= outage.start_high
        assert outage.end_low <= truth.end <= outage.end_high
        assert (outage.start_high - outage.start_low) + (outage.end_high - outage.end_low) <= widest
    down = measures.downtime(events)
    assert down.low - 1e-6 <= sum(truth.end - truth.start for truth in outages) <= down.high + 1e-6
    assert down.low <= down.value <= down.high


def test_without_slow_after_a_freeze_that_ends_before_the_time_out_would_go_unseen():
    frozen = [Down(5.0, 5.9, "freeze")]
    assert measures.outages(sampled(frozen, 1, 8.0, slow_after=TIMEOUT), "p") == []
    (seen,) = measures.outages(sampled(frozen, 1, 8.0), "p")
    assert seen.start_low <= 5.0 <= seen.start_high
    assert seen.end_low <= 5.9 <= seen.end_high


def test_recovery_is_the_answer_of_the_first_reading_that_lasted():
    script = Script()
    script.probe()
    script.readings(20.0, ((10.1, 12.0), (13.0, 13.2)))
    script.fault()
    recovery = measures.recovery_time(script.history)
    assert recovery == measures.RecoveryTime(3.202, 3.15, 3.202)
    first, second = measures.outages(script.history, "shop")
    assert (first.readings_bad, second.readings_bad) == (38, 4)
    assert (first.start_low, first.start_high, first.end_low, first.end_high) == (10.05, 10.102, 11.95, 12.002)


def test_without_a_bad_reading_recovery_is_zero_and_its_bound_the_largest_hiding_place():
    script = Script()
    script.probe()
    for sent in (9.9, 10.1, 10.15, 10.5, 10.55, 10.6):
        script.reading(sent)
    script.fault()
    assert measures.recovery_time(script.history) == measures.RecoveryTime(0.0, 0.0, 0.352)
    assert measures.downtime(script.history) == measures.Bounds(0.0, 0.0, 0.0)


@pytest.mark.parametrize("down", [(), ((10.0, 10.3),)])
def test_after_a_stretch_that_nobody_sampled_the_service_may_have_been_back_only_at_its_end(down):
    script = Script()
    script.probe()
    for place in range(400):
        sent = round(place * 0.05, 6)
        if not 12 < sent < 14:  # 2 s without a reading, where sampling may miss 1.15 s
            script.reading(sent, ok=not any(begins <= sent < ends for begins, ends in down))
    script.fault()
    found = measures.recovery_time(script.history)
    assert found.rta_s == (0.302 if down else 0.0)
    assert found.high_s == 4.002


def test_a_reading_under_way_when_the_fault_was_issued_belongs_to_it():
    script = Script()
    script.probe()
    script.reading(9.9)
    script.reading(9.999, 10.02, ok=False)
    for sent in (10.05, 10.1, 10.15):
        script.reading(sent)
    script.fault()
    assert measures.recovery_time(script.history) == measures.RecoveryTime(0.052, 0.0, 0.052)


@pytest.mark.parametrize("until", [14.05, 14.1])
def test_too_short_a_run_is_no_recovery(until):
    script = Script()
    script.probe(need=3)
    script.readings(until, ((10.1, 14.0),))
    script.fault()
    assert measures.recovery_time(script.history) is None


def test_every_probe_of_the_users_must_be_back_and_the_last_one_counts():
    script = Script()
    script.probe("shop")
    script.probe("login")
    script.probe("metrics", role="extra")
    for place in range(400):
        sent = round(place * 0.05, 6)
        script.reading(sent, probe="shop", ok=not 10.1 <= sent < 12)
        script.reading(sent, probe="login", ok=not 11 <= sent < 14)
        script.reading(sent, probe="metrics", ok=sent < 10)
    script.fault()
    assert measures.recovery_time(script.history) == measures.RecoveryTime(4.002, 3.95, 4.002)
    assert measures.downtime(script.history).value == 3.002
    script.reading(20.0, probe="shop", ok=False)
    assert measures.recovery_time(script.history) is None


def test_what_comes_after_stable_counts_for_nothing():
    script = Script()
    script.probe()
    script.readings(30.0, ((10.1, 12.0), (20.0, 21.0)))
    script.fault()
    script.phase("stable", 15.0)
    assert measures.recovery_time(script.history).rta_s == 2.002
    assert measures.downtime(script.history).value == pytest.approx(1.902)
    script.write(1, 9.0)
    script.write(2, 12.5)
    script.read_back(14.0, list(script._written["orders"].values()))
    before = measures.losses(script.history), measures.writes_back(script.history)
    script.write(3, 20.5, acknowledged=False)
    script.read_back(22.0, [])
    assert (measures.losses(script.history).lost, measures.writes_back(script.history)) == ([], before[1])


def test_a_service_that_only_came_back_when_the_harness_healed_its_fault_did_not_recover():
    script = Script()
    script.probe()
    script.readings(30.0, ((10.1, 20.0),))
    script.fault()
    script.event("failed", 19.9, kinds=["NotRecovered"], message="not back")
    assert measures.recovery_time(script.history) is None
    assert measures.downtime(script.history).value == pytest.approx(9.8)


def test_an_outage_that_never_ended_counts_up_to_its_last_bad_reading():
    script = Script()
    script.probe()
    script.readings(12.0, ((10.1, 99.0),))
    script.fault()
    (outage,) = measures.outages(script.history, "shop")
    assert outage.end_high is None
    assert measures.downtime(script.history).value == 1.85


def test_nothing_is_measured_where_nothing_happened():
    script = Script()
    assert measures.recovery_time(script.history) is None
    assert measures.recovery_point(script.history) is None
    assert measures.writes_back(script.history) is None
    assert measures.waterfall(script.history) == []
    assert measures.probe_quality(script.history) is None
    assert measures.losses(script.history) == measures.Losses()
    script.probe()
    script.readings(5.0)
    assert measures.recovery_time(script.history) is None


# Data


@dataclass(frozen=True)
class Fate:
    acknowledged: bool
    present: bool


fates = st.lists(st.builds(Fate, st.booleans(), st.booleans()), max_size=30)


def ledger_of(written):
    script = Script()
    script.fault(issued=100.0)
    rows = [script.write(seq, float(seq), acknowledged=fate.acknowledged) for seq, fate in enumerate(written, start=1)]
    script.read_back(200.0, [row for row, fate in zip(rows, written, strict=True) if fate.present])
    return script


@given(fates)
def test_only_receipts_can_be_lost(written):
    losses = measures.losses(ledger_of(written).history)
    assert losses.lost == [seq for seq, fate in enumerate(written, start=1) if fate.acknowledged and not fate.present]
    assert losses.acknowledged == sum(fate.acknowledged for fate in written)
    assert losses.unknown == sum(not fate.acknowledged for fate in written)
    assert losses.corrupted == losses.duplicated == losses.resurrected == []


@given(fates)
def test_losses_do_not_depend_on_writes_of_unknown_outcome(written):
    flipped = [fate if fate.acknowledged else replace(fate, present=not fate.present) for fate in written]
    assert measures.losses(ledger_of(written).history) == measures.losses(ledger_of(flipped).history)


@given(fates, st.data())
def test_losing_more_never_makes_the_recovery_point_better(written, data):
    more = [replace(fate, present=fate.present and data.draw(st.booleans())) for fate in written]
    before, after = (measures.recovery_point(ledger_of(fate).history) for fate in (written, more))
    if written:
        assert before is not None
        assert after is not None
        assert before <= after
    else:
        assert before is None


@given(fates)
def test_the_recovery_point_is_the_age_of_the_oldest_lost_receipt(written):
    lost = [seq for seq, fate in enumerate(written, start=1) if fate.acknowledged and not fate.present]
    expected = round(100.0 - (lost[0] + 0.001), 6) if lost else 0.0
    if written:
        assert measures.recovery_point(ledger_of(written).history) == expected


def three_rows():
    script = Script()
    script.fault(issued=100.0)
    return script, [script.write(seq, float(seq)) for seq in (1, 2, 3)]


def test_edits_strangers_and_copies_show():
    script, (one, two, three) = three_rows()
    stranger = replace(one, seq=9)
    script.read_back(200.0, [replace(one, payload="gift"), replace(two, prev=three.digest), three, three, stranger])
    losses = measures.losses(script.history)
    assert losses.corrupted == [1, 2, 9]
    assert losses.duplicated == [3]
    assert losses.lost == []


def test_a_row_that_hangs_on_another_one_is_corrupted():
    script, (one, two, three) = three_rows()
    rows = [[one.seq, one.digest, one.prev], [two.seq, two.digest, three.digest], [three.seq, three.digest, three.prev]]
    script.event("read_back", 200.0, ledger="orders", asked=200.0, rows=rows)
    assert measures.losses(script.history).corrupted == [2]


def test_a_row_that_was_rewritten_with_its_digests_in_order_still_shows():
    script, (one, two, three) = three_rows()
    forged = type(one).chained(1, one.prev, "forged", one.stamp)
    script.read_back(200.0, [forged, two, three])
    assert measures.losses(script.history).corrupted == [1]


def test_a_deleted_row_is_not_lost_and_may_not_come_back():
    script, (one, two, three) = three_rows()
    script.event("deleted", 50.0, ledger="orders", seq=2)
    script.read_back(200.0, [one, three])
    assert measures.losses(script.history).lost == []
    assert measures.recovery_point(script.history) == 0.0
    script.read_back(201.0, [one, two, three])
    assert measures.losses(script.history).resurrected == [2]
    assert measures.recovery_point(script.history) == 50.0


def test_writes_after_the_reading_of_the_data_are_not_missed():
    script, rows = three_rows()
    script.read_back(200.0, rows)
    script.write(4, 300.0)
    losses = measures.losses(script.history)
    assert (losses.acknowledged, losses.lost) == (3, [])


def test_a_write_that_the_recovered_service_acknowledged_and_lost_is_counted_apart():
    script, rows = three_rows()
    script.phase("restored", 120.0)
    script.write(4, 150.0)
    script.read_back(200.0, rows)
    losses = measures.losses(script.history)
    assert losses.lost == losses.lost_after_restore == [4]
    assert measures.recovery_point(script.history) == 0.0


def test_without_reading_back_nothing_is_known_and_nothing_recovered():
    script = told()
    assert measures.recovery_time(script.history) is not None
    script.write(1, 9.0, ledger="stock")
    assert measures.recovery_point(script.history) is None
    assert measures.recovery_time(script.history) is None
    assert not measures.losses(script.history).read
    assert measures.losses(script.history, "orders").read


def test_several_ledgers_count_together():
    script, rows = three_rows()
    other = script.write(1, 60.0, ledger="stock")
    script.write(2, 70.0, ledger="stock")
    script.read_back(200.0, rows[:2])
    script.read_back(200.0, [other], ledger="stock")
    losses = measures.losses(script.history)
    assert (losses.acknowledged, losses.lost) == (5, [3, 2])
    assert measures.recovery_point(script.history) == 96.999
    assert measures.losses(script.history, "stock").lost == [2]


def test_writes_are_back_with_the_first_receipt_after_the_last_refusal():
    script, _ = three_rows()
    script.write(4, 99.0, acknowledged=False)  # before the fault
    assert measures.writes_back(script.history) is None, "no write was acknowledged after the fault"
    for seq, acknowledged in ((5, False), (6, True), (7, False), (8, True)):
        script.write(seq, 100.0 + seq, acknowledged=acknowledged)
    assert measures.writes_back(script.history) == measures.RecoveryTime(8.001, 7.0, 8.001)
    assert measures.writes_in_a_row(script.history, "orders") == 1
    script.write(9, 109.0, acknowledged=False)
    assert measures.writes_back(script.history) is None
    assert measures.writes_in_a_row(script.history, "orders") == 0


def test_writes_that_were_never_refused_may_have_been_away_between_two_receipts():
    script, _ = three_rows()
    for seq, t in ((4, 99.9), (5, 100.4), (6, 100.5)):
        script.write(seq, t)
    assert measures.writes_back(script.history) == measures.RecoveryTime(0.0, 0.0, 0.501)


def back_at_12():
    """Steady from the start, away from 10.1 s to 12 s after a fault at 10 s; the drill is stable at 19 s."""
    script = Script()
    script.probe()
    script.readings(20.0, ((10.1, 12.0),))
    script.fault()
    script.phase("stable", 19.0)
    return script


def test_recovery_is_the_later_of_answers_and_writes():
    script = back_at_12()
    script.read_back(18.0, [script.write(1, 9.0), script.write(2, 9.99), script.write(3, 11.0)])
    assert measures.recovery_time(script.history) == measures.answers_back(script.history)
    script = back_at_12()
    rows = [script.write(1, 9.0)]
    script.write(2, 14.0, acknowledged=False)
    script.read_back(18.0, [*rows, script.write(3, 15.0)])
    assert measures.answers_back(script.history).rta_s == 2.002
    assert measures.recovery_time(script.history) == measures.RecoveryTime(5.001, 4.0, 5.001)


@pytest.mark.parametrize(
    ("acknowledged_until", "stopped", "rpa"),
    [
        (9.9, 0.0, 1.499),  # the service stopped with the fault
        (14.0, 4.001, 5.5),  # it served on for 4 s, and lost that too
    ],
)
def test_the_recovery_point_counts_back_from_when_the_service_stopped_acknowledging(acknowledged_until, stopped, rpa):
    script = Script()
    script.probe()
    script.readings(30.0, ((acknowledged_until + 0.1, 20.0),))
    script.fault()
    script.phase("stable", 29.0)
    kept = [script.write(1, 8.0)]
    for seq in range(2, 100):
        if (t := 8.0 + 0.5 * (seq - 1)) > acknowledged_until:
            break
        kept += [script.write(seq, t)] if t < 8.4 else []
        if t >= 8.4:
            script.write(seq, t)
    script.write(90, acknowledged_until + 0.2, acknowledged=False)
    kept += [script.write(91, 21.0)]
    script.read_back(28.0, kept)
    found = measures.point(script.history)
    assert (found.stopped_s, found.rpa_s) == (pytest.approx(stopped), pytest.approx(rpa))
    assert not found.at_least


def test_a_service_that_flapped_lost_what_it_acknowledged_in_between_as_well():
    script = Script()
    script.probe()
    script.readings(30.0, ((10.5, 11.0), (14.0, 20.0)))
    script.fault()
    script.phase("stable", 29.0)
    kept = [script.write(1, 8.0)]
    script.write(2, 9.0)
    script.write(3, 10.6, acknowledged=False)
    script.write(4, 13.0)  # acknowledged in between, and gone
    script.write(5, 14.5, acknowledged=False)
    script.read_back(28.0, [*kept, script.write(6, 21.0)])
    found = measures.point(script.history)
    assert (found.stopped_s, found.rpa_s) == (pytest.approx(3.001), pytest.approx(4.0))
    assert measures.losses(script.history).lost_after_restore == []


@pytest.mark.parametrize(
    ("kept", "at_least", "none_survived"),
    [([1, 2, 3], False, False), ([1, 2], False, False), ([2, 3], True, False), ([], True, True), ([4], True, True)],
)
def test_without_anything_older_than_the_oldest_missing_write_the_recovery_point_is_a_lower_bound(
    kept, at_least, none_survived
):
    script, rows = three_rows()
    rows.append(script.write(4, 150.0))
    script.read_back(200.0, [row for row in rows if row.seq in kept])
    losses = measures.losses(script.history)
    assert (losses.is_oldest_unknown, losses.none_survived) == (at_least, none_survived)
    assert measures.point(script.history).at_least is at_least


def test_a_first_row_that_was_deleted_is_not_missing():
    script, (_, two, three) = three_rows()
    script.event("deleted", 50.0, ledger="orders", seq=1)
    script.read_back(200.0, [two, three])
    assert not measures.losses(script.history).is_oldest_unknown
    assert measures.point(script.history).rpa_s == 0.0


def test_what_was_acknowledged_before_the_oldest_recovery_point_on_offer_must_be_back():
    def held(*taken):
        script, (_, two, three) = three_rows()
        script.event("deleted", 1.5, ledger="orders", seq=3)
        for t in taken:
            script.event("backup", t, name="b", backup_kind="dump", taken_utc="", taken_t=t, identity={})
        script.read_back(200.0, [two, three])
        return measures.losses(script.history).lost_before_backup

    assert held() == []
    assert held(0.5) == []
    assert held(1.2) == [1]
    assert held(1.6, 90.0) == [1, 3], "a deletion that the backup holds is undone"
    assert held(90.0, 0.5) == [], "of several the oldest: a newer one may be spoilt"
    assert held(150.0) == [], "one that was taken after the fault holds what came back"


def test_a_deletion_that_the_recovered_service_acknowledged_and_undid_is_counted_apart():
    script, rows = three_rows()
    script.phase("restored", 120.0)
    script.event("deleted", 110.0, ledger="orders", seq=1)
    script.event("deleted", 150.0, ledger="orders", seq=2)
    script.read_back(200.0, rows)
    losses = measures.losses(script.history)
    assert (losses.resurrected, losses.undone_after_restore) == ([1, 2], [2])


@pytest.mark.parametrize("ok", ["false", "true", 1, None])
def test_only_true_is_a_good_reading(ok):
    script = Script()
    script.probe()
    script.event("reading", 1.0, probe="shop", sent=0.9, answered=1.0, ok=ok, why="", via="")
    assert [reading.ok for reading in measures.readings(script.history, "shop")] == [False]


@pytest.mark.parametrize("need", [None, 0, -3, True, "60", 2.5])
def test_a_probe_that_does_not_say_what_lasts_never_came_back(need):
    script = Script()
    script.event("probe", 0.0, probe="shop", need=need, role="user", interval_s=0.05, timeout_s=1.0, slow_after_s=0.5)
    script.readings(20.0)
    script.fault()
    assert measures.recovery_time(script.history) is None


def test_one_reading_told_many_times_is_one_reading():
    script = Script()
    script.probe(need=3)
    script.readings(9.9)
    script.fault()
    for _ in range(5):
        script.reading(10.1)
    assert measures.recovery_time(script.history) is None


# The rest of the record


def test_the_waterfall_is_complete_and_relative_to_the_fault():
    bars = [(bar.name, bar.start_s, bar.end_s, bar.kind) for bar in measures.waterfall(told().history)]
    assert bars == [
        ("damage seen", 0.0, 0.5, "wait"),
        ("detected", 0.5, 0.6, "wait"),
        ("procedure started", 0.6, 1.0, "wait"),
        ("restore", 1.0, 3.0, "step"),
        ("service back", 3.0, 4.002, "wait"),
        ("data verified", 4.002, 9.6, "phase"),
        ("stable", 9.6, 9.8, "phase"),
    ]


def test_a_step_that_outlasts_the_recovery_leaves_no_negative_bar():
    script = told(down=(10.1, 12.0))
    bars = measures.waterfall(script.history)
    assert all(bar.start_s <= bar.end_s for bar in bars)
    assert ("service back", 1.0, 2.002) in [(bar.name, bar.start_s, bar.end_s) for bar in bars]


def test_phases_are_relative_to_the_fault_and_each_is_told_once():
    script = told()
    script.phase("recovering", 15.0)
    names = [(phase.name, phase.t_s) for phase in measures.phases(script.history)]
    assert names[:4] == [("steady", -5.0), ("disrupted", 0.0), ("damaged", 0.5), ("detected", 0.6)]
    assert names.count(("recovering", 1.0)) == 1
    assert len(names) == 9


def test_steps_that_failed_or_never_ended_stay_visible():
    script = Script()
    script.fault()
    for id_, state in ((1, "started"), (1, "failed"), (2, "started"), (3, "ended")):
        script.event("step", 10.0 + id_, id=id_, name=f"step {id_}", command="", by="human", state=state, detail="why")
    found = [(step["name"], step["state"], step["ended_s"]) for step in measures.steps(script.history)]
    assert found == [("step 1", "failed", 1.0), ("step 2", "started", None)]


def test_probe_quality_tells_rate_lateness_and_the_largest_gap():
    script = Script()
    script.probe()
    for sent in (0.0, 5.0, 9.95, 10.0, 10.05, 10.5, 10.55):
        script.reading(sent)
    script.fault()
    script.event("probe_ended", 10.6, probe="shop", planned=212, taken=7, late_max_s=0.4)
    quality = measures.probe_quality(script.history)
    assert (quality.planned, quality.readings, quality.late_max_s) == (212, 7, 0.4)
    assert quality.largest_gap_s == 0.45, "gaps before the fault harm nothing"
    script.phase("stable", 12.0)
    assert measures.probe_quality(script.history).largest_gap_s == 1.45, "sampling that ended early is a gap"


def test_a_stepped_wall_clock_changes_no_figure():
    def play(steps):
        clock = FakeClock()
        history = History(clock)
        history.record("opened", origin_utc="2026-01-01T00:00:00.000Z")
        history.record(
            "probe", probe="p", interval_s=0.05, timeout_s=1.0, slow_after_s=0.5, need=3, role="user", entries=[]
        )
        for place in range(200):
            clock.step_wall(steps.get(place, 0.0))
            if place == 100:
                history.record("fault", state="issued", name="", target="", blast_radius="pod", proof=[])
            if place == 110:
                history.record("write", ledger="l", seq=1, digest="d")
                history.record("receipt", ledger="l", seq=1, sent=history.elapsed(), acknowledged=history.elapsed())
            sent = history.elapsed()
            clock.advance(0.05)
            ok = not 100 <= place < 150
            history.record("reading", probe="p", sent=sent, answered=history.elapsed(), ok=ok, why="", via="")
        history.record("read_back", ledger="l", rows=[])
        return history

    plain, stepped = play({}), play({90: 3600.0, 120: -7200.0, 160: timedelta(days=3).total_seconds()})
    for measure in (
        measures.recovery_time,
        measures.recovery_point,
        measures.downtime,
        measures.losses,
        measures.waterfall,
        measures.probe_qualities,
    ):
        assert measure(plain) == measure(stepped)
    assert measures.recovery_time(plain).rta_s == 2.55
    assert [asdict(phase) for phase in measures.phases(plain)] == [asdict(phase) for phase in measures.phases(stepped)]


def test_the_largest_wall_step_is_told():
    script = Script()
    assert measures.wall_step(script.history) == 0.0
    script.event("clock", 1.0, wall_step_s=-3600.0)
    script.event("clock", 2.0, wall_step_s=2.0)
    assert measures.wall_step(script.history) == 3600.0


def test_what_is_remembered_of_a_history_is_what_is_measured_of_it():
    script = told(lost=3)
    seen = marks.indexed(script.history)
    for measure in (
        measures.recovery_time,
        measures.answers_back,
        measures.writes_back,
        measures.losses,
        measures.point,
        measures.downtime,
        measures.probe_qualities,
        measures.waterfall,
    ):
        assert measure(seen) == measure(script.history) == measure(script.history.events()) == measure(seen)
    assert measures.losses(seen, "orders") == measures.losses(script.history, "orders")
    assert measures.losses(seen, "no such") != measures.losses(seen, "orders")
    assert measures.answers_back(seen, until=12.0) is None, "asked otherwise, it is computed again"
    script.read_back(19.7, [])
    assert measures.losses(script.history) != measures.losses(seen), "a live history goes on, what was seen does not"
