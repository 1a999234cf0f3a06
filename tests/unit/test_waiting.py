from __future__ import annotations

import pytest

from drills.clock import FakeClock
from drills.errors import UsageError, WaitTimeout
from drills.waiting import RETRY_AFTER_CAP_S, wait_until


class OverloadedError(Exception):
    def __init__(self, retry_after_s: float | None = None) -> None:
        super().__init__("too many\n requests")
        self.retry_after_s = retry_after_s


def test_returns_the_first_truthy_answer_and_looks_no_more():
    clock, answers = FakeClock(), iter([None, 0, "up", "never asked"])

    assert wait_until(lambda: next(answers), what="it", within_s=10, every_s=1, clock=clock) == "up"
    assert clock.monotonic() == 2
    assert next(answers) == "never asked"


def test_gives_up_at_the_deadline_with_the_last_state():
    clock = FakeClock()

    with pytest.raises(WaitTimeout) as timeout:
        wait_until(
            lambda: None,
            what="the shop to answer",
            within_s=5,
            every_s=2,
            clock=clock,
            describe=lambda _: f"closed at {clock.monotonic():g}",
        )

    assert clock.monotonic() == 5
    assert (timeout.value.what, timeout.value.deadline_s, timeout.value.last) == (
        "the shop to answer",
        5,
        "closed at 5",
    )
    assert "the shop to answer" in str(timeout.value)


def test_takes_a_last_look_at_the_deadline_itself():
    clock = FakeClock()
    assert wait_until(lambda: clock.monotonic() >= 5, what="it", within_s=5, every_s=2, clock=clock)


def test_an_answer_long_after_the_deadline_does_not_count():
    clock = FakeClock()

    def hangs() -> bool:
        clock.advance(60)
        return True

    with pytest.raises(WaitTimeout, match=r"met, but 55\.0 s after the deadline"):
        wait_until(hangs, what="it", within_s=5, clock=clock)


def test_named_errors_are_ridden_out_and_told_at_the_deadline_beside_the_state_before_them():
    clock, answers = FakeClock(), iter(["", *[OverloadedError()] * 99])

    def look() -> str:
        answer = next(answers)
        if isinstance(answer, Exception):
            raise answer
        return answer

    with pytest.raises(WaitTimeout) as timeout:
        wait_until(
            look, what="it", within_s=3, clock=clock, retry_on=(OverloadedError,), describe=lambda _: "phase=New"
        )

    assert timeout.value.last == "OverloadedError: too many requests (before that: phase=New)"
    assert isinstance(timeout.value.__cause__, OverloadedError)


@pytest.mark.parametrize("error", [ZeroDivisionError(), KeyError("x"), OSError()])
def test_any_other_error_ends_the_wait_at_once(error):
    clock = FakeClock()

    def look() -> None:
        raise error

    with pytest.raises(type(error)):
        wait_until(look, what="it", within_s=3, clock=clock, retry_on=(OverloadedError,))
    assert clock.monotonic() == 0


@pytest.mark.parametrize(
    ("asked", "waited"),
    [(2.0, 2.0), (0.0, 0.2), (None, 0.2), (3600.0, RETRY_AFTER_CAP_S)],
    ids=["2 s", "0", "none", "1 h"],
)
def test_honours_the_pause_a_server_asks_for_up_to_a_cap(asked, waited):
    clock, errors = FakeClock(), iter([OverloadedError(asked)])

    def look() -> bool:
        for error in errors:
            raise error
        return True

    assert wait_until(look, what="it", within_s=30, clock=clock, retry_on=(OverloadedError,))
    assert clock.monotonic() == pytest.approx(waited)


def test_no_pause_goes_past_the_deadline():
    clock = FakeClock()

    def look() -> None:
        raise OverloadedError(5.0)

    with pytest.raises(WaitTimeout):
        wait_until(look, what="it", within_s=1.5, clock=clock, retry_on=(OverloadedError,))
    assert clock.monotonic() == 1.5


@pytest.mark.parametrize("within_s", [0, -1, float("nan")])
def test_a_wait_needs_a_deadline(within_s):
    with pytest.raises(UsageError, match="within_s"):
        wait_until(lambda: True, what="it", within_s=within_s)
