"""Verdicts against a model whose truth is known: many histories, each judged live, again from its file, and cut short.

`DRILLS_HISTORIES` says how many; `make truth` takes 20,000, which is what a release has passed.
"""

import json
import math
import os
import sys
import time
from collections import Counter
from datetime import timedelta

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from drills import record
from drills.history import History
from drills.marks import may_be_missed_s
from drills.objectives import Objective
from drills.verdicts import Failure, Verdict, judge

from .truth import ANSWERS, FAULT, READ_EVERY, TIMEOUT, WRITE_EVERY, Drilled, World

HISTORIES = int(os.environ.get("DRILLS_HISTORIES", "1500"))
KINDS = (
    "whole", "older", "backup", "backup passed over", "before the ledger", "empty", "hole", "mix", "double", "forge",
    "stranger", "lies", "read-only", "never back", "flaps", "twice", "writes only", "never away", "rolled back",
    "no ledger", "resurrects",
)  # fmt: skip
tenths = st.integers


@st.composite
def worlds(draw):
    """A world of one of the kinds, and what was promised of it."""
    kind = draw(st.sampled_from(KINDS))

    def some(low, high):
        return draw(tenths(round(low * 10), round(high * 10))) / 10 + 0.017

    serves_on = draw(st.sampled_from([0.0, 0.0, 0.4, 1.1, 2.3]))
    start = FAULT + 0.05 + serves_on
    end = start + some(0.8, 3.5)
    point = draw(st.sampled_from([0.6, 1.2, 1.9, 2.6]))
    dark = shut = ((start, end),)
    acts: list[tuple] = []
    more = {}
    mend = end - 0.03  # the data is as it comes back just before the service is
    backup = draw(st.sampled_from([None, 0.9, 1.6]))
    if kind == "older":
        acts, more, backup = [(mend, "restore", point)], {"point": point}, None
    elif kind == "backup":
        backup = draw(st.sampled_from([0.3, 0.9, 1.6, 2.4]))
        acts, more = [(mend, "restore", backup)], {"point": backup}
    elif kind == "backup passed over":
        backup = 2.0
        acts, more = [(mend, "restore", point)], {"point": point}
    elif kind == "before the ledger":
        ago = -some(0.5, 20)
        acts, more = [(mend, "restore", ago)], {"point": ago}
    elif kind == "empty":
        acts, more = [(mend, "empty", None)], {"point": -math.inf}
    elif kind == "hole":
        acts = [(mend, "lose", draw(st.sampled_from([2, 5, 7])))]
    elif kind == "mix":
        acts = [(mend, "mix", point)]
    elif kind in ("double", "forge", "stranger"):
        acts = [(mend, kind, draw(tenths(1, 9)))]
    elif kind == "lies":
        more = {"lies_from": end - 0.02}
    elif kind == "read-only":
        shut = ((start, 99.0 if draw(st.booleans()) else end + some(0.5, 4)),)
    elif kind == "never back":
        dark = shut = ((start, 99.0),)
    elif kind == "flaps":
        spans, at = [(start, end)], end
        for _ in range(draw(tenths(1, 2))):
            at += some(0.7, 1.5)
            spans.append((at, at + some(0.8, 1.5)))
            at = spans[-1][1]
        dark = shut = tuple(spans)
        if draw(st.booleans()):
            acts, more = [(at - 0.03, "restore", point)], {"point": point}
    elif kind == "twice":
        again = end + some(1.0, 2.0)
        dark = shut = ((start, end), (again, again + some(0.8, 1.5)))
        second = draw(st.sampled_from([point, end + 0.5]))
        acts = [(mend, "restore", 2.6), (dark[1][1] - 0.03, "restore", second)]
        more = {"point": min(2.6, second)}
    elif kind == "writes only":
        dark = ()
    elif kind in ("never away", "rolled back"):
        dark = shut = ()
        if kind == "rolled back":
            when = FAULT + some(0.1, 2)
            acts, more = [(when, "restore", point)], {"point": point}
    elif kind == "no ledger":
        gone = draw(st.booleans())
        more = {"has_ledger": False, "data_gone": gone, "claims": ("ns/data",) if gone else ()}
    elif kind == "resurrects":
        acts, more = [(mend, "restore", 1.9)], {"point": 1.9, "deletes": ((2.4, 3), (2.55, 5))}
    if draw(st.booleans()) and "deletes" not in more:
        more["deletes"] = ((draw(st.sampled_from([1.7, 2.8, end + 0.9])), draw(tenths(1, 5))),)
    finished = max([FAULT + 1.0, *(until for _, until in dark + shut if until < 90), *(act[0] for act in acts)])
    rto = draw(st.sampled_from([None, 0.5, 2.0, 3.0, 4.0, 6.0, 9.0]))
    rpo = draw(st.sampled_from([None, 0.0, 1.0, 2.0, 4.0, 10.0, 30.0]))
    mtd = None if rto is None else draw(st.sampled_from([None, rto, rto + 2]))
    if rto is None and rpo is None:
        rto = 4.0
    if not more.get("has_ledger", True):
        rto, rpo = rto if rto is not None else 4.0, None
    world = World(
        dark=dark, shut=shut, acts=tuple(acts), backup=backup,
        procedure_ends=finished - draw(st.sampled_from([0, 0.5])),
        patience_s=max(9.0, finished - FAULT + 4.0),
        check_ok=draw(st.sampled_from([None, None, True, True, True, False])), heals_at_end=draw(st.booleans()),
        blind=draw(st.sampled_from([*[None] * 6, (FAULT + 0.4, FAULT + 1.0), (FAULT + 0.4, FAULT + 2.2)])),
        phase_r=draw(tenths(0, 24)) / 100, phase_w=draw(tenths(0, 29)) / 100, **more,
    )  # fmt: skip
    return kind, world, Objective(*(None if one is None else timedelta(seconds=one) for one in (rto, rpo, mtd)))


def refuses_a_pass(truth, world, objective):
    """Say everything for which a pass would be wrong."""
    rto, rpo, mtd = (
        None if one is None else one.total_seconds() for one in (objective.rto, objective.rpo, objective.mtd)
    )
    found = []
    if not truth.back:
        found.append("it was not back for good")
    if rto is not None and truth.recovered_s > rto:
        found.append(f"it was back after {truth.recovered_s:.3f} s")
    if mtd is not None and truth.down_s > mtd:
        found.append(f"it was down for {truth.down_s:.3f} s")
    if truth.broken:
        found.append("rows came back that nobody wrote so")
    if truth.lost_afterwards:
        found.append("it lost what it acknowledged after it was back")
    if truth.lost_of_backup:
        found.append("something is gone that the backup held")
    if world.data_gone:
        found.append("data is gone that nobody watched")
    if world.check_ok is False:
        found.append("a check failed")
    if rpo is not None and (truth.rpa_s > rpo + 1e-6 or (rpo == 0 and truth.lost)):
        found.append(f"data is gone as far back as {truth.rpa_s:.3f} s")
    return found


def may_be_missed(truth, world, objective, achieved):
    """Whether a miss is right: something was broken, or a bound that holds the truth reaches over the objective."""
    reasons = refuses_a_pass(truth, world, objective)
    if [reason for reason in reasons if "nobody watched" not in reason]:
        return True
    rto, mtd = objective.rto, objective.mtd
    if rto is not None and achieved.recovery is not None and achieved.recovery.high_s > rto.total_seconds():
        # The upper bound is what is held against the RTO: no finer than a probe and a writer can tell.
        return truth.recovered_s > rto.total_seconds() - resolution(world)
    if mtd is not None and achieved.downtime.high > mtd.total_seconds():
        return truth.down_s > mtd.total_seconds() - 2 * resolution(world)
    return is_about_the_return(truth, world)


def is_about_the_return(truth, world):
    """Whether something is gone of which nobody can tell to which side of the service's return it belongs."""
    since = FAULT + truth.recovered_s
    return any(since <= t <= since + resolution(world) for t in truth.lost)


def resolution(world):
    blind = 0.0 if world.blind is None else world.blind[1] - world.blind[0]
    return 2 * max(READ_EVERY, WRITE_EVERY) + ANSWERS + blind


def ends_unseen(world):
    """Whether the last outage lies between two readings that are no further apart than sampling may miss."""
    if world.blind is None or not world.dark:
        return False
    (begins, ends), (blind, sees) = world.dark[-1], world.blind
    sees += READ_EVERY + ANSWERS  # the next reading is sent, and answered
    return blind - READ_EVERY <= begins and ends <= sees and sees - blind <= may_be_missed_s(READ_EVERY, TIMEOUT)


def is_clean(world):
    """Whether nothing disturbed the harness, so that there is no excuse for an open verdict."""
    return world.blind is None and not world.data_gone


def is_point_unknown(truth, world):
    """Whether nothing in the ledger shows how far back the data reaches: its first write is gone, or all are."""
    kept = [seq for seq in truth.acknowledged if seq not in [row for t, row in world.deletes]]
    first = min((truth.acknowledged[seq] for seq in kept), default=None)
    return bool(truth.lost) and first is not None and first in truth.lost


def check(kind, world, objective, tmp, seen):
    told = Drilled(world).tell()
    truth, failure = told.truth, Failure.from_record(told.failure)
    judgement = judge(told.history, objective, failure)
    verdict, why, achieved = judgement.verdict, judgement.why, judgement.achieved
    story = f"{kind}: {verdict}: {why}\n{world}\n{objective}\n{truth}"

    wrong = refuses_a_pass(truth, world, objective)
    if verdict is Verdict.MET:
        assert not wrong, f"{wrong}: {story}"
    if verdict is Verdict.MISSED:
        assert may_be_missed(truth, world, objective, achieved), story
    if verdict not in (Verdict.MET, Verdict.MISSED):
        assert not is_clean(world) or is_point_unknown(truth, world), story

    if achieved.recovery is not None:
        assert achieved.recovery.low_s - 1e-6 <= truth.recovered_s, story
        assert truth.recovered_s <= achieved.recovery.high_s + 1e-6 or ends_unseen(world), story
    if told.stable is not None and "no reading was taken" not in why:  # what nobody looked at is in no downtime
        assert achieved.downtime.low - 1e-6 <= truth.down_s <= achieved.downtime.high + 1e-6, story
    if achieved.point is not None:
        late = resolution(world) if is_about_the_return(truth, world) else 0.0
        assert achieved.point.rpa_s <= truth.rpa_s + late + 1e-6, story
        if not achieved.point.at_least:
            assert achieved.point.rpa_s >= truth.rpa_s - 1e-6, story
    if achieved.losses.read and truth.back:
        assert len(achieved.losses.lost) + len(achieved.losses.resurrected) == len(truth.lost), story

    # The same from the file, in the same words.
    made = record.build(told.history, objective, drill="model", failure=failure)
    tmp.write_text("".join(event.line() + "\n" for event in told.history.events()))
    stored = json.loads(json.dumps(made))
    assert record.rejudge(stored, History.load(tmp)) == stored, story
    assert (stored["verdict"], stored["why"]) == (str(verdict), why), story

    # What is cut short is never better than the whole, which only a pass could be.
    events = told.history.events()
    step = max(1, len(events) // 5) if seen["histories"] % 50 else 1
    for cut in {*range(1 + seen["histories"] % step, len(events), step), len(events) - 1}:
        short = judge(events[:cut], objective)
        assert short.verdict is not Verdict.MET, f"cut after {cut} of {len(events)}: {story}"
        if short.verdict is Verdict.MISSED:
            assert verdict is Verdict.MISSED, f"cut after {cut} of {len(events)}, {short.why}: {story}"

    seen["histories"] += 1
    seen[str(verdict)] += 1
    seen[f"{kind}: {verdict}"] += 1
    return verdict


def test_no_verdict_says_what_the_model_refutes(tmp_path, capsys):
    seen = Counter()
    path = tmp_path / "history.jsonl"

    @settings(
        max_examples=HISTORIES, deadline=None, database=None, suppress_health_check=list(HealthCheck), print_blob=True
    )
    @given(worlds())
    def judged(told):
        check(*told, path, seen)

    began = time.monotonic()
    judged()
    took = time.monotonic() - began
    counted = ", ".join(f"{seen[str(verdict)]} {verdict}" for verdict in Verdict if seen[str(verdict)])
    with capsys.disabled():
        sys.stdout.write(f"\n{seen['histories']} histories against the model in {took:.1f} s: {counted}\n")
    assert seen["histories"] >= HISTORIES
    for verdict in (Verdict.MET, Verdict.MISSED, Verdict.INCONCLUSIVE):
        assert seen[str(verdict)] > HISTORIES / 40, f"the model seldom leads to {verdict}, so it tests little: {seen}"
