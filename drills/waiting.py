"""One way to wait: look, look again, and at the deadline say what was seen last.

Nothing here retries for its own sake. A caller names the exceptions it expects while waiting; every other one ends the
wait at once, because a wait that swallows surprises ends as a time-out that hides its cause.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import NoReturn, TypeVar

from tenacity import RetryCallState, Retrying, retry_if_exception_type, retry_if_result

from drills.clock import Clock, SystemClock
from drills.errors import UsageError, WaitTimeout

T = TypeVar("T")

RETRY_AFTER_CAP_S = 5.0
"""Longest pause granted to a server that asks for one, so that its Retry-After cannot use up a whole wait."""


def wait_until(
    condition: Callable[[], T | None],
    *,
    what: str,
    within_s: float,
    every_s: float = 0.2,
    clock: Clock | None = None,
    retry_on: tuple[type[Exception], ...] = (),
    describe: Callable[[T | None], str] = repr,
) -> T:
    """Call `condition` until its answer is truthy, and return that answer.

    Args:
        condition: looks once; it must be bounded itself, since a look under way is not interrupted.
        what: what is waited for, in words that complete "waited for ...".
        within_s: deadline in seconds from now, on the monotonic clock.
        every_s: seconds between two looks, and so the resolution of the wait: an answer counts until one such interval
            past the deadline (the last look is taken at the deadline), and a later one does not.
        clock: the time to live by; tests give a fake one.
        retry_on: exceptions that are part of waiting (a refused connection). One that has an attribute `retry_after_s`
            lengthens the next pause, up to `RETRY_AFTER_CAP_S`.
        describe: puts a falsy answer into a few words for the time-out. It must not fail and do no I/O.

    Raises:
        WaitTimeout: the deadline passed; carries what was waited for and the last state or error seen.
        UsageError: the deadline is not a positive number of seconds.

    """
    if not within_s > 0:
        raise UsageError(f"wait for {what}: within_s must be a positive number of seconds, found {within_s!r}")
    ticker = clock if clock is not None else SystemClock()
    deadline = ticker.monotonic() + within_s
    state = ""

    def look() -> T | None:
        nonlocal state
        answer = condition()
        late_s = ticker.monotonic() - deadline
        if answer and late_s > every_s:
            state = f"met, but {late_s:.1f} s after the deadline"
            raise WaitTimeout(what, deadline_s=within_s, last=state)
        if not answer:
            state = describe(answer)
        return answer

    def pause(attempt: RetryCallState) -> float:
        wanted = every_s
        if attempt.outcome is not None and attempt.outcome.failed:
            asked = getattr(attempt.outcome.exception(), "retry_after_s", None)
            wanted = max(every_s, min(asked or 0.0, RETRY_AFTER_CAP_S))
        return max(0.0, min(wanted, deadline - ticker.monotonic()))

    def give_up(attempt: RetryCallState) -> NoReturn:
        error = attempt.outcome.exception() if attempt.outcome is not None else None
        last = state
        if error is not None:
            last = in_a_line(error) + (f" (before that: {state})" if state else "")
        raise WaitTimeout(what, deadline_s=within_s, last=last) from error

    met = Retrying(
        retry=retry_if_exception_type(retry_on) | retry_if_result(lambda answer: not answer),
        stop=lambda _: ticker.monotonic() >= deadline,
        wait=pause,
        sleep=ticker.sleep,
        retry_error_callback=give_up,
    )(look)
    if met is None:  # never: a falsy answer is looked at again until give_up raises; said for the type checker
        raise WaitTimeout(what, deadline_s=within_s, last=state)
    return met


def in_a_line(error: BaseException) -> str:
    """Name an error and its text on one line, for messages and records."""
    text = " ".join(str(error).split())
    return f"{type(error).__name__}: {text}" if text else type(error).__name__
