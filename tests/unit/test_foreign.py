"""What a client of a team's own raises, and what it says: something about its target, or about the code that asked."""

import asyncio
import json

import pytest

from drills import foreign
from drills.errors import BadReading, EnvironmentFailed, Inconclusive, MeasuringBroke, UsageError, WaitTimeout
from drills.history import History
from drills.ledger import Writer
from drills.probes import Sampler, callable_probe

from .scripted import Service


class ClientError(Exception):
    """As redis.exceptions.RedisError is."""


class NoSuchKeyError(KeyError):
    """As some libraries derive theirs."""


ABOUT_THE_TARGET = [
    ClientError("Connection closed by server"),
    NoSuchKeyError("order 5"),
    json.JSONDecodeError("Expecting value", "<html>", 0),
    ValueError("invalid literal for int()"),
    UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"),
    AssertionError("status 503"),
    EOFError(),
    RuntimeError("Session is closed"),
    WaitTimeout("a pod", "nothing", 1.0),
    ExceptionGroup("unhandled errors in a TaskGroup", [ClientError("reset"), TimeoutError()]),
]
DEFECTS = [
    KeyError("typo"),
    TypeError("fn() takes 0 positional arguments"),
    AttributeError("no attribute 'get'"),
    NameError("name 'redis' is not defined"),
    ImportError("no module"),
    NotImplementedError(),
    UsageError("found x"),
    EnvironmentFailed("no engine"),
    Inconclusive("nothing"),
    ExceptionGroup("two", [ClientError("reset"), KeyError("typo")]),
    SystemExit(1),
    pytest.fail.Exception("no"),
]


@pytest.mark.parametrize("error", ABOUT_THE_TARGET, ids=lambda error: type(error).__name__)
def test_a_clients_word_about_its_target_is_told_from_a_defect(error):
    assert foreign.is_about_the_target(error)


@pytest.mark.parametrize("error", DEFECTS, ids=lambda error: type(error).__name__)
def test_a_defect_is_none_about_the_target(error):
    assert not foreign.is_about_the_target(error)


def test_what_was_raised_is_said_in_one_line():
    group = ExceptionGroup("x", [ClientError("one\ntwo"), ExceptionGroup("y", [TimeoutError()])])
    assert foreign.in_words(group) == "ClientError: one two; TimeoutError"


class Target:
    """Answers, or raises what it is told to."""

    def __init__(self, error=None):
        self.error = error

    def plain(self, timeout_s):
        if self.error is not None:
            raise self.error

    async def waiting(self, timeout_s):
        await asyncio.sleep(0)
        self.plain(timeout_s)


@pytest.mark.parametrize("kind", ["plain", "waiting"])
@pytest.mark.parametrize("error", ABOUT_THE_TARGET, ids=lambda error: type(error).__name__)
def test_a_clients_exception_is_a_bad_reading_and_measuring_goes_on(kind, error):
    target, history = Target(error), History()
    probe = callable_probe("redis answers", getattr(target, kind), role="user", interval_s=0.01)
    sampler = Sampler([probe], history, need=3)
    sampler.start()
    try:
        with pytest.raises(WaitTimeout) as caught:
            sampler.wait_for_good("redis answers", 3, 0.3)
        assert foreign.in_words(error) in str(caught.value) or str(error) in str(caught.value)
        target.error = None
        sampler.wait_for_good("redis answers", 3, 5.0)
    finally:
        sampler.stop()
    assert any(not event.fields["ok"] for event in history.events("reading"))


@pytest.mark.parametrize("kind", ["plain", "waiting"])
def test_a_defect_of_a_probe_is_named_with_the_probe(kind):
    target = Target(KeyError("typo"))
    sampler = Sampler([callable_probe("redis answers", getattr(target, kind), role="user")], History(), need=3)
    sampler.start()
    with pytest.raises(MeasuringBroke, match=r"sampling died: probe 'redis answers' is defective: KeyError: 'typo'"):
        sampler.wait_for_good("redis answers", 3, 5.0)
    with pytest.raises(MeasuringBroke):
        sampler.stop()


def test_a_client_that_cancels_itself_leaves_no_hole():
    async def cancelled(timeout_s):
        raise asyncio.CancelledError

    history = History()
    sampler = Sampler([callable_probe("x", cancelled, role="user", interval_s=0.01)], history, need=3)
    sampler.start()
    try:
        with pytest.raises(WaitTimeout, match="cancelled by the client itself"):
            sampler.wait_for_good("x", 3, 0.3)
    finally:
        sampler.stop()
    assert len(history.events("reading")) == history.events("probe_ended")[0].fields["taken"] > 3


@pytest.mark.parametrize(
    "error", [ClientError("reset"), NoSuchKeyError("x"), ConnectionResetError("reset"), TimeoutError()]
)
def test_what_a_stores_client_raises_is_a_write_of_unknown_outcome(error):
    service, history = Service(defect=error), History()
    writer = Writer(service, history, "orders", rate_hz=200.0)
    writer.start()
    with pytest.raises(WaitTimeout, match=type(error).__name__):
        writer.wait_for_receipts(3, 0.3)
    service.defect = None
    writer.wait_for_receipts(3, 5.0)
    writer.stop()
    assert {event.fields["why"] for event in history.events("refused")} == {foreign.in_words(error)}


def test_a_bad_reading_says_its_own_words():
    target, history = Target(BadReading("answered 503")), History()
    sampler = Sampler([callable_probe("x", target.plain, role="user", interval_s=0.01)], history, need=3)
    sampler.start()
    with pytest.raises(WaitTimeout, match="answered 503"):
        sampler.wait_for_good("x", 3, 0.2)
    sampler.stop()
