import asyncio
import contextlib
import os
import subprocess
import sys
import threading
import time

import pytest

from drills import measures, precedence
from drills.errors import BadReading, MeasuringBroke, UsageError, WaitTimeout
from drills.history import History
from drills.probes import Entry, Probe, Sampler, callable_probe, http_probe, postgres_probe


@contextlib.contextmanager
def server(answer):
    """A TCP server on a free port whose connections are handled by `answer(reader, writer)`."""
    ready, ports, loops = threading.Event(), [], []

    async def serve():
        stop = asyncio.Event()
        loops.append((asyncio.get_running_loop(), stop))
        async with await asyncio.start_server(answer, "127.0.0.1", 0) as listening:
            ports.append(listening.sockets[0].getsockname()[1])
            ready.set()
            await stop.wait()
            listening.close()

    thread = threading.Thread(target=lambda: asyncio.run(serve()))
    thread.start()
    ready.wait(5)
    try:
        yield Entry("127.0.0.1", ports[0])
    finally:
        loop, stop = loops[0]
        loop.call_soon_threadsafe(stop.set)
        thread.join(5)


def says(text, delay=0.0):
    """A handler that answers every request with this text."""

    async def answer(reader, writer):
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            await reader.readuntil(b"\r\n\r\n")
            await asyncio.sleep(delay)
            writer.write(text.encode())
            await writer.drain()
        writer.close()

    return answer


def ok(body="orders: 5", headers=""):
    return f"HTTP/1.1 200 OK\r\n{headers}\r\n{body}"


def ask(probe):
    """One question; why the answer was bad, "" if it was good."""
    try:
        asyncio.run(asyncio.wait_for(probe.ask(probe.entries[0], probe.timeout_s), 5))
    except (BadReading, OSError) as bad:
        return str(bad)
    return ""


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (ok(), ""),
        (ok(headers="Content-Length: 9\r\n"), ""),
        (ok("4\r\norde\r\n5;x=y\r\nrs: 5\r\n0\r\n\r\n", "Transfer-Encoding: chunked\r\n"), ""),
        (ok("closed"), "answered 200 without 'orders': 'closed'"),
        ("HTTP/1.1 503 Service Unavailable\r\n\r\norders", "answered 503"),
        ("HTTP/1.1 204 No Content\r\n\r\n", "answered 204"),
        ("", "connection closed before the answer was whole"),
        ("HTTP/1.1 200 OK\r\nContent-Length: 99\r\n\r\norders", "connection closed before the answer was whole"),
        ("SSH-2.0-OpenSSH_9.9\r\n\r\n", "not an HTTP answer"),
        ("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n", "not an HTTP answer"),
        ("HTTP/1.1 200 OK\r\nX: " + "x" * 70000, "not an HTTP answer"),
    ],
)
def test_an_http_answer_is_200_and_whole_and_has_what_is_expected(text, why):
    with server(says(text)) as entry:
        said = ask(http_probe("shop", [entry], "/orders", "orders"))
    assert said.startswith(why)
    assert bool(said) == bool(why)


def test_an_answer_on_a_connection_that_stays_open_is_taken_at_once():
    async def answer(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(ok(headers="Content-Length: 9\r\n").encode())
        await asyncio.sleep(3)

    with server(answer) as entry:
        before = time.monotonic()
        assert ask(http_probe("shop", [entry])) == ""
        assert time.monotonic() - before < 2


def test_the_request_names_host_and_path():
    asked = []

    async def answer(reader, writer):
        asked.append((await reader.readuntil(b"\r\n\r\n")).decode())
        writer.write(ok().encode())
        writer.close()

    with server(answer) as entry:
        assert ask(http_probe("shop", [entry], "/a?b=c", host="shop.test")) == ""
    assert asked[0].startswith("GET /a?b=c HTTP/1.1\r\nHost: shop.test\r\n")
    assert "Connection: close" in asked[0]


def test_a_closed_port_is_a_bad_reading_that_says_so():
    closed = [("127.0.0.1", 1)]
    with sampling(http_probe("http", closed), postgres_probe("sql", closed, "d", "u", "p")) as (sampler, _):
        for name in ("http", "sql"):
            with pytest.raises(WaitTimeout, match="Connection refused"):
                sampler.wait_for_good(name, 1, 0.3)


def test_a_server_that_is_no_postgres_is_a_bad_reading():
    with server(says("HTTP/1.1 400 Bad Request\r\n\r\n")) as entry:
        assert ask(postgres_probe("shop", [entry], "d", "u", "p"))


def test_callables_may_be_plain_or_async():
    def fine(timeout_s):
        assert timeout_s == 1.0

    async def bad(timeout_s):
        raise BadReading("no")

    assert ask(callable_probe("x", fine)) == ""
    assert ask(callable_probe("x", bad)) == "no"
    assert callable_probe("x", fine).role == "extra"
    assert callable_probe("x", fine, role="user").role == "user"


def test_usage_is_checked():
    with pytest.raises(UsageError, match="entries: found none"):
        http_probe("shop", [])
    with pytest.raises(UsageError, match="slow_after_s=2"):
        http_probe("shop", [("h", 1)], slow_after_s=2)
    with pytest.raises(UsageError, match="interval_s=0"):
        http_probe("shop", [("h", 1)], interval_s=0)
    with pytest.raises(UsageError, match="name of its own"):
        Sampler([http_probe("shop", [("h", 1)])] * 2, History())
    with pytest.raises(UsageError, match="at least one"):
        Sampler([], History())


# Sampling


class Target:
    """What a scripted probe asks: good until told otherwise; `entries` that hang or fail."""

    def __init__(self):
        self.bad = set()
        self.hung = set()
        self.asked = []
        self.defect = None

    async def ask(self, entry, timeout_s):
        self.asked.append(entry.host)
        if self.defect:
            raise self.defect
        if entry.host in self.hung:
            await asyncio.sleep(60)
        if entry.host in self.bad:
            raise BadReading("503")

    def probe(self, *hosts, **settings):
        fields = {"interval_s": 0.01, "timeout_s": 0.3, "failover_after_s": 0.03} | settings
        return Probe("shop", [Entry(host, 1) for host in hosts or ("a",)], self.ask, **fields)


@contextlib.contextmanager
def sampling(*probes, need=5):
    history = History()
    sampler = Sampler(probes, history, need=need)
    sampler.start()
    try:
        yield sampler, history
    finally:
        with contextlib.suppress(MeasuringBroke):
            sampler.stop()
        assert not sampler.running


def test_readings_come_at_a_steady_rate_and_are_declared():
    target = Target()
    with sampling(target.probe("a", "b")) as (sampler, history):
        first = sampler.wait_for_good("shop", 50, 10)
        assert sampler.consecutive_good("shop") >= 50
        sampler.stop()
        with pytest.raises(UsageError, match="started twice"):
            sampler.start()
    declared, ended = history.events("probe")[0].fields, history.events("probe_ended")[0].fields
    assert declared == {
        "probe": "shop",
        "interval_s": 0.01,
        "timeout_s": 0.3,
        "slow_after_s": 0.15,
        "need": 5,
        "entries": ["a:1", "b:1"],
        "role": "user",
    }
    taken = measures.readings(history, "shop")
    assert taken[0] == first
    assert ended["taken"] == len(taken) <= ended["planned"]
    assert all(reading.ok and reading.via == "a:1" for reading in taken)
    # The schedule is absolute: no start is further from it than the lateness that the sampler itself reports.
    for reading in taken:
        off = (reading.sent - taken[0].sent + ended["late_max_s"]) % 0.01
        assert off <= 2 * ended["late_max_s"] + 1e-5
    assert "b" not in target.asked


@pytest.mark.skipif(sys.platform != "linux", reason="elsewhere a thread has no priority of its own")
def test_readings_go_before_everybody_elses_work_where_the_system_permits_it():
    seen = []
    program = "import os; print(os.sched_getscheduler(0), os.nice(0))"

    def standing():
        return os.sched_getscheduler(0), os.getpriority(os.PRIO_PROCESS, threading.get_native_id())

    def read(timeout_s):
        started = subprocess.run([sys.executable, "-SE", "-c", program], capture_output=True, text=True, check=True)
        seen.append((standing(), tuple(int(word) for word in started.stdout.split())))

    before = standing()
    with sampling(callable_probe("priority", read, interval_s=0.5, timeout_s=5.0)) as (sampler, _):
        sampler.wait_for_good("priority", 1, 10)
    first = (os.SCHED_RR | os.SCHED_RESET_ON_FORK, precedence.NICE)
    assert seen[0][0] == (first if os.geteuid() == 0 else before)
    anybody = (os.SCHED_OTHER, 0)  # what the reset makes of it, also where these tests run with a niceness of their own
    assert seen[0][1] == (anybody if os.geteuid() == 0 else before), "what a reading starts begins as anybody else"
    assert standing() == before, "and so do the drill itself, and the commands that it runs"


def test_a_target_that_hangs_makes_bad_readings_and_never_a_gap():
    target = Target()
    target.hung = {"a"}
    with (
        sampling(target.probe(timeout_s=0.3)) as (sampler, history),
        pytest.raises(WaitTimeout, match=r"no answer within 0\.3"),
    ):
        sampler.wait_for_good("shop", 1, 0.6)
    taken = measures.readings(history, "shop")
    assert len(taken) == history.events("probe_ended")[0].fields["taken"] >= 30
    assert not any(reading.ok for reading in taken)
    assert all(reading.answered - reading.sent >= 0.29 for reading in taken)


def test_the_other_entries_are_asked_when_the_first_fails_or_is_slow():
    target = Target()
    for broken in (target.bad, target.hung):
        broken.add("a")
        with sampling(target.probe("a", "b", "c")) as (sampler, history):
            sampler.wait_for_good("shop", 10, 5)
        taken = measures.readings(history, "shop")
        assert all(reading.ok for reading in taken)
        assert {reading.via for reading in taken} <= {"b:1", "c:1"}
        # Only the first reading waits for the entry that hangs; the next ones ask the one that answered last.
        assert sum(1 for reading in taken if reading.answered - reading.sent > 0.025) <= 5
        broken.clear()


def test_one_good_entry_is_enough_and_all_bad_ones_say_why():
    target = Target()
    target.bad, target.hung = {"a"}, {"b"}
    with sampling(target.probe("a", "b")) as (sampler, _):
        with pytest.raises(WaitTimeout) as caught:
            sampler.wait_for_good("shop", 1, 0.5)
        assert "a:1: 503" in caught.value.last
        assert "b:1: no answer within 0.3 s" in caught.value.last
        target.hung.clear()
        sampler.wait_for_good("shop", 5, 5)


def test_an_answer_that_comes_late_is_a_bad_reading():
    async def slow(entry, timeout_s):
        await asyncio.sleep(0.1)

    probe = Probe("shop", [Entry("a", 1)], slow, interval_s=0.01, timeout_s=0.5, slow_after_s=0.05)
    with sampling(probe) as (sampler, history), pytest.raises(WaitTimeout, match=r"answered only after 0\.1"):
        sampler.wait_for_good("shop", 1, 0.3)
    for reading in measures.readings(history, "shop"):
        assert reading.ok or reading.answered - reading.sent > 0.09


def test_a_harness_that_stands_still_is_not_held_against_the_target():
    async def quick(entry, timeout_s):
        await asyncio.sleep(0.02)

    stalls = iter([None] * 20 + [0.3])

    async def stalling(timeout_s):
        # The event loop itself blocks, as on a starved machine.
        stall = next(stalls, None)
        if stall:
            time.sleep(stall)

    probe = Probe("shop", [Entry("a", 1)], quick, interval_s=0.01, timeout_s=0.4, slow_after_s=0.1)
    with sampling(probe, callable_probe("blocker", stalling, interval_s=0.01)) as (sampler, history):
        sampler.wait_for_good("shop", 60, 10)
    taken = measures.readings(history, "shop")
    assert all(reading.ok for reading in taken)
    late = [reading for reading in taken if reading.answered - reading.sent > 0.15]
    assert late
    assert all(reading.stalled_s > 0.1 for reading in late)
    assert measures.probe_quality(history).stalled_s > 0.1
    assert history.events("probe_ended")[0].fields["late_max_s"] > 0.2


def test_a_run_is_broken_by_one_bad_reading_and_counted_from_since():
    target = Target()
    with sampling(target.probe()) as (sampler, history):
        sampler.wait_for_good("shop", 20, 5)
        target.bad = {"a"}
        with pytest.raises(WaitTimeout):
            sampler.wait_for_good("shop", 20, 0.2, since=history.elapsed())
        assert sampler.consecutive_good("shop") == 0
        assert "503" in sampler.last("shop")
        target.bad = set()
        back = history.elapsed()
        first = sampler.wait_for_good("shop", 20, 5, since=back)
        assert first.sent >= back
        assert sampler.consecutive_good("shop", since=history.elapsed() + 1) == 0
        assert "good answer via a:1" in sampler.last("shop")


def test_a_pending_reading_holds_back_those_after_it():
    release = threading.Event()

    async def ask_(entry, timeout_s):
        count = next(counter)
        while count == 10 and not release.is_set():
            await asyncio.sleep(0.005)

    counter = iter(range(10**6))
    probe = Probe("shop", [Entry("a", 1)], ask_, interval_s=0.01, timeout_s=5.0, slow_after_s=4.0)
    with sampling(probe) as (sampler, _):
        with pytest.raises(WaitTimeout):
            sampler.wait_for_good("shop", 12, 0.4)
        assert sampler.consecutive_good("shop") == 10
        release.set()
        sampler.wait_for_good("shop", 30, 5)


def test_a_defect_of_a_probe_breaks_the_measuring_and_wakes_who_waits():
    target = Target()
    with sampling(target.probe()) as (sampler, _):
        sampler.wait_for_good("shop", 3, 5)
        target.defect = KeyError("typo")
        with pytest.raises(MeasuringBroke, match="typo"):
            sampler.wait_for_good("shop", 10**6, 10)
        with pytest.raises(MeasuringBroke):
            sampler.stop()


def test_no_thread_survives_and_pending_readings_are_kept():
    before = set(threading.enumerate())
    target = Target()
    target.hung = {"a"}

    def blocking(timeout_s):
        time.sleep(0.05)

    with sampling(target.probe(), callable_probe("api", blocking, interval_s=0.02, timeout_s=0.2)) as (
        sampler,
        history,
    ):
        time.sleep(0.1)
        sampler.stop()
        sampler.stop()
    assert set(threading.enumerate()) <= before
    for ended in history.events("probe_ended"):
        assert ended.fields["taken"] == len(measures.readings(history, ended.fields["probe"]))
    with pytest.raises(MeasuringBroke, match="sampling ended"):
        sampler.wait_for_good("shop", 1, 1)


def test_stopping_a_sampler_that_never_started_is_nothing():
    sampler = Sampler([Target().probe()], History())
    sampler.stop()
    assert not sampler.running
    assert sampler.last("shop") == "no reading yet"
    assert [probe.name for probe in sampler.probes] == ["shop"]
