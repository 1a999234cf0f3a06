"""Users who go by a name: probe and ledger look the way in up anew, and follow when it leads elsewhere."""

import asyncio

import pytest

from drills.errors import BadReading, UsageError, WriteRefused
from drills.history import History
from drills.probes import Entry, Probe, Sampler
from drills.stores import PostgresLedger

OLD, NEW = Entry("127.0.0.1", 1001), Entry("127.0.0.1", 1002)


class Place:
    """Where a name leads, and which entry answers."""

    def __init__(self):
        self.ways, self.alive = [OLD], OLD

    def __call__(self):
        if self.ways is None:
            raise OSError("shop is not known")
        return self.ways

    async def ask(self, entry, timeout_s):
        await asyncio.sleep(0)
        if entry != self.alive:
            raise BadReading("refused")


def test_readings_follow_the_name(tmp_path):
    place = Place()
    history = History(path=tmp_path / "history.jsonl")
    sampler = Sampler([Probe("shop", place, place.ask, interval_s=0.01, role="user")], history, need=3)
    sampler.start()
    try:
        assert sampler.wait_for_good("shop", 3, 5).via == str(OLD)
        place.alive = NEW
        place.ways = None
        gone = history.elapsed()
        while sampler.last("shop").startswith("good") or "not known" not in sampler.last("shop"):
            assert history.elapsed() < gone + 5
        place.ways = []
        while "there is no way in" not in sampler.last("shop"):
            assert history.elapsed() < gone + 5
        place.ways = [NEW]
        assert sampler.wait_for_good("shop", 3, 5, since=gone).via == str(NEW)
    finally:
        sampler.stop()


def test_a_ledger_asks_the_name_before_it_connects():
    place = Place()
    ledger = PostgresLedger(place, "postgres", "shop", "secret", connect_timeout_s=0.2)
    try:
        assert ledger.entries == (OLD,)
        place.ways = [NEW]
        with pytest.raises(WriteRefused, match=r"127\.0\.0\.1:1002"):
            ledger._once(lambda connection: connection.commit(), 0.5)
        place.ways = None
        with pytest.raises(WriteRefused, match="shop is not known"):
            ledger._once(lambda connection: connection.commit(), 0.5)
    finally:
        ledger.close()


def test_a_name_that_leads_nowhere_is_no_ledger():
    place = Place()
    place.ways = []
    with pytest.raises(UsageError, match="found none"):
        PostgresLedger(place, "postgres", "shop", "secret")
