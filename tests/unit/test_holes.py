"""A history that lost lines in its middle, or has some of another one, is never MET."""

import pytest

from drills.objectives import Objective
from drills.verdicts import Verdict, judge

from .scripted import told

OBJECTIVE = Objective("5s", "2s")


def whole():
    """A drill that is MET, with what its probe says at the end."""
    script = told(down=(10.1, 10.9), lost=3)  # an outage as short as a gap that sampling may have
    count = len(script.history.events("reading"))
    script.event("probe_ended", 19.9, probe="shop", planned=count, taken=count, late_max_s=0.0)
    return sorted(script.history.events(), key=lambda event: event.t)


def judged(events):
    found = judge(events, OBJECTIVE)
    return found.verdict, found.why


def test_the_whole_one_is_met():
    assert judged(whole())[0] is Verdict.MET


@pytest.mark.parametrize(
    ("is_lost", "why"),
    [
        (lambda event: event.kind == "reading" and not event.fields["ok"], "some are missing"),
        (lambda event: event.kind == "reading" and 17 < event.t < 17.2, "some are missing"),
        (lambda event: event.kind == "write", "the history has a receipt of row 1 and not its event `write`"),
    ],
    ids=["the bad readings", "a block of readings", "the writes"],
)
def test_lines_that_are_gone_are_noticed(is_lost, why):
    events = whole()
    kept = [event for event in events if not is_lost(event)]
    assert len(kept) < len(events)
    found = judge(kept, Objective("5s"))
    assert found.verdict is Verdict.INCONCLUSIVE
    assert why in found.why


def test_a_probe_that_nothing_declares_is_noticed():
    script = told(lost=3)
    script.reading(15.0, ok=False, probe="till")
    verdict, why = judged(sorted(script.history.events(), key=lambda event: event.t))
    assert verdict is Verdict.INCONCLUSIVE
    assert "readings of 'till' and not its event `probe`" in why


def test_two_histories_in_one_are_noticed():
    script = told(lost=3)
    script.event("opened", 1.0, origin_utc="2026-01-01T00:00:00.000Z", drill="another", schema="x")
    verdict, why = judged(sorted(script.history.events(), key=lambda event: event.t))
    assert verdict is Verdict.INCONCLUSIVE
    assert "second event `opened`" in why


def test_an_answer_before_its_question_is_noticed():
    script = told(lost=3)
    script.reading(17.001, 16.0)
    verdict, why = judged(sorted(script.history.events(), key=lambda event: event.t))
    assert verdict is Verdict.INCONCLUSIVE
    assert "was answered before it was sent" in why


def test_a_ledger_that_was_read_and_never_written_is_noticed():
    script = told(lost=3)
    script.event("read_back", 19.0, ledger="payments", asked=19.0, rows=[[1, "a", "b"]])
    verdict, why = judged(sorted(script.history.events(), key=lambda event: event.t))
    assert verdict is Verdict.INCONCLUSIVE
    assert "'payments' was read back with rows, and the writes of it are missing" in why


def test_a_miss_stays_one():
    script = told(down=(10.1, 16.0))
    script.reading(15.0, ok=False, probe="till")
    assert judged(sorted(script.history.events(), key=lambda event: event.t))[0] is Verdict.MISSED
