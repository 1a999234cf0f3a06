import threading
import time
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from drills.errors import MeasuringBroke, UsageError, WaitTimeout, WriteRefused
from drills.history import History
from drills.ledger import GENESIS, Row, Writer, digest

from .scripted import Service


def writer(service, history=None, **settings):
    return Writer(service, history or History(), "orders", **{"rate_hz": 500.0, "timeout_s": 0.2} | settings)


def test_the_digest_is_fixed_for_all_time():
    # Stored evidence is compared with it: a change here makes every old ledger look corrupted.
    assert digest(1, GENESIS, "order 1", "2026-01-01T00:00:00.000Z") == "24d41aac8c49ab1a"
    assert len(digest(1, GENESIS, "", "")) == 16


@given(st.integers(), st.text(), st.text(), st.text())
def test_a_row_proves_its_content(seq, prev, payload, stamp):
    row = Row.chained(seq, prev, payload, stamp)
    assert row.seal == row.digest
    for edited in (
        replace(row, seq=seq + 1),
        replace(row, prev=prev + "0"),
        replace(row, payload=payload + "x"),
        replace(row, stamp=stamp + "x"),
        replace(row, digest="f" * 16),
    ):
        assert edited.seal != row.digest


@given(st.text(min_size=1), st.text())
def test_a_character_cannot_move_between_fields_unseen(a, b):
    assert digest(1, a, b, "") != digest(1, a[:-1], a[-1] + b, "")


def test_rows_chain_and_receipts_follow_writes():
    service, history = Service(), History()
    one = writer(service, history)
    one.start()
    one.wait_for_receipts(10, 5)
    one.append_once(5)
    one.stop()
    one.stop()
    assert [row.seq for row in service.rows] == list(range(1, len(service.rows) + 1))
    assert [row.prev for row in service.rows] == [GENESIS, *(row.digest for row in service.rows[:-1])]
    assert one.written == len(service.rows) == len(history.events("receipt")) >= 15
    kinds = [event.kind for event in history.events()]
    assert kinds == ["write", "receipt"] * len(service.rows)
    for event in history.events("receipt"):
        assert event.fields["sent"] <= event.fields["acknowledged"] <= event.t


def test_a_refused_row_keeps_its_number_and_its_place_in_the_chain():
    service, history = Service(), History()
    one = writer(service, history)
    one.append_once(2)
    service.takes_writes = False
    with pytest.raises(WaitTimeout, match="connection refused"):
        one.append_once(1, within_s=0.0)
    service.takes_writes = True
    one.append_once(1)
    assert [row.seq for row in service.rows] == [1, 2, 4]
    refused = history.events("write")[2].fields["digest"]
    assert service.rows[-1].prev == refused
    assert [event.fields["seq"] for event in history.events("refused")] == [3]


def test_the_writer_goes_on_through_refusals():
    service = Service(up=False)
    one = writer(service)
    one.start()
    with pytest.raises(WaitTimeout, match="refused") as caught:
        one.wait_for_receipts(1, 0.05)
    assert caught.value.deadline_s == 0.05
    service.up = True
    one.wait_for_receipts(3, 5)
    assert one.running
    one.stop()
    assert not one.running


def test_receipts_count_in_a_row_only():
    class Flaky(Service):
        def append(self, row, timeout_s):
            if row.seq % 3 == 0:
                raise WriteRefused("every third")

    one = writer(Flaky())
    one.start()
    one.wait_for_receipts(2, 5)
    with pytest.raises(WaitTimeout):
        one.wait_for_receipts(3, 0.1)
    one.stop()


def test_sell_retries_until_that_many_are_acknowledged():
    service = Service(up=False)
    threading.Timer(0.05, lambda: setattr(service, "up", True)).start()
    writer(service).append_once(3, within_s=5)
    assert len(service.rows) == 3


def test_a_defect_of_the_store_stops_the_writer_and_is_raised():
    service = Service(defect=KeyError("oops"))
    one = writer(service)
    one.start()
    with pytest.raises(MeasuringBroke, match="oops"):
        one.wait_for_receipts(1, 5)
    with pytest.raises(MeasuringBroke) as caught:
        one.stop()
    assert isinstance(caught.value.__cause__, KeyError)


def test_a_slow_store_skips_rows_instead_of_catching_up():
    class Slow(Service):
        def append(self, row, timeout_s):
            time.sleep(0.03)
            raise WriteRefused("slow")

    history = History()
    one = writer(Slow(), history, rate_hz=100)
    one.start()
    time.sleep(0.2)
    one.stop()
    assert 1 <= len(history.events("write")) <= 8


def test_deletions_are_noted():
    history = History()
    writer(Service(), history).deleted(7)
    assert history.events("deleted")[0].fields == {"ledger": "orders", "seq": 7}


def test_usage_is_checked():
    with pytest.raises(UsageError, match="rate_hz=0"):
        writer(Service(), rate_hz=0)
    one = writer(Service())
    one.start()
    with pytest.raises(UsageError, match="started twice"):
        one.start()
    one.stop()


def test_what_is_kept_is_counted_of_what_was_acknowledged_and_not_of_numbers():
    service = Service()
    one = writer(service)
    one.append_once(5)
    service.takes_writes = False
    with pytest.raises(WaitTimeout):
        one.append_once(1, within_s=0.05)
    service.takes_writes = True
    one.append_once(45)
    assert one.written == 50
    assert service.rows[-1].seq > 50, "refused rows keep their numbers"
    assert len({row.seq for row in service.rows if row.seq <= 50}) < 50
    assert one.kept(service.rows, up_to=50) == 50
    assert one.kept(service.rows[1:], up_to=50) == 49
    assert one.kept(service.rows[:-1], up_to=50) == 49
    assert one.kept(service.rows, up_to=60) == 50, "no more than were acknowledged"
    stranger = replace(service.rows[0], seq=10_000)
    assert one.kept([stranger], up_to=50) == 0


def test_a_writer_that_has_been_taking_writes_is_not_waited_for():
    service = Service()
    one = writer(service)
    one.append_once(5)
    one.wait_until_taking(5, 0.0)
    assert one.is_taking(5)
    assert not one.is_taking(6)
    service.takes_writes = False
    with pytest.raises(WaitTimeout):
        one.append_once(1, within_s=0.01)
    assert not one.is_taking(1)
    with pytest.raises(WaitTimeout, match="refused: connection refused"):
        one.wait_until_taking(1, 0.01)
