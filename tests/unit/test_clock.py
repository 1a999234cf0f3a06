from datetime import UTC, datetime, timedelta, timezone

import pytest

from drills.clock import FakeClock, SystemClock, parse_stamp, stamp


def test_the_system_clock_reads_both_clocks_and_sleeps():
    clock = SystemClock()
    before = clock.now()
    clock.sleep(0.002)
    clock.sleep(-1)
    after = clock.now()
    assert after.monotonic - before.monotonic >= 0.002
    assert after.utc.tzinfo is UTC


def test_a_fake_clock_moves_only_by_hand():
    clock = FakeClock(start=5.0)
    assert clock.now() == clock.now()
    clock.advance(1.5)
    assert clock.monotonic() == 6.5
    assert clock.now().utc == datetime(2026, 1, 1, 0, 0, 1, 500000, tzinfo=UTC)
    clock.sleep(0.5)
    assert clock.monotonic() == 7.0


def test_stepping_the_wall_clock_leaves_the_monotonic_one_alone():
    clock = FakeClock()
    before = clock.now()
    clock.step_wall(-3600)
    after = clock.now()
    assert after.monotonic == before.monotonic
    assert after.utc - before.utc == timedelta(hours=-1)


def test_the_monotonic_clock_never_goes_backwards():
    with pytest.raises(ValueError, match="found -1"):
        FakeClock().advance(-1)


def test_stamps_are_utc_with_milliseconds_and_read_back():
    moment = datetime(2026, 11, 21, 18, 33, 6, 123456, tzinfo=timezone(timedelta(hours=9)))
    assert stamp(moment) == "2026-11-21T09:33:06.123Z"
    assert parse_stamp(stamp(moment)) == moment.replace(microsecond=123000)
    with pytest.raises(ValueError, match="with a zone"):
        parse_stamp("2026-11-21T09:33:06")
