"""How far off the probes are: real servers with scripted outages, measured against the instants the servers themselves tell.

The claim: the measured bounds contain the true outage every time, and start and end together are uncertain by no more than two
probe intervals plus the request's time-out. The machine that runs this test is not idle, so the sampler's starts may be late
and its loop may stand still; both are taken from what the sampler recorded of itself, never from a constant.
"""

import json
import os
import random
import secrets
import statistics
import subprocess
import sys
from collections import Counter
from dataclasses import dataclass
from pathlib import Path

import pytest

from drills import measures
from drills.history import History
from drills.probes import Sampler, http_probe

MODES = ("refuse", "hang", "error", "freeze")
INTERVAL, TIMEOUT = 0.05, 1.0
SLOW = TIMEOUT / 2
LONGEST = 30.0


@dataclass(frozen=True)
class Truth:
    """One outage as the server tells it; each switch lies between two readings of the clock."""

    server: int
    mode: str
    down: tuple[float, float]
    up: tuple[float, float]

    @property
    def length(self):
        return self.up[1] - self.down[0]


def plans(dice):
    """Two servers for each mode with short outages at random phases, and one server with the longest outage."""
    made = []
    for mode in MODES * 2:
        plan, total = [], 0.0
        while total < LONGEST - 5:
            pause, length = dice.uniform(1.8, 2.5), min(dice.expovariate(0.7) + 0.2, 8.0)
            plan.append((pause, length, mode))
            total += pause + length
        made.append(plan)
    made.append([(dice.uniform(0.5, 1.0), LONGEST, dice.choice(MODES))])
    return made


@pytest.fixture(scope="module")
def seed():
    return int(os.environ.get("DRILLS_TEST_SEED") or secrets.randbits(32))


@pytest.fixture(scope="module")
def measured(seed):
    """The truth and the history of one sampling of all servers."""
    plan = plans(random.Random(seed))
    program = [sys.executable, str(Path(__file__).with_name("outage_server.py")), json.dumps(plan)]
    with subprocess.Popen(program, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        ports = json.loads(process.stdout.readline())["ports"]
        history = History()
        probes = [
            http_probe(str(number), [("127.0.0.1", port)], expect="up", interval_s=INTERVAL, timeout_s=TIMEOUT)
            for number, port in enumerate(ports)
        ]
        sampler = Sampler(probes, history)
        sampler.start()
        for probe in probes:
            sampler.wait_for_good(probe.name, 5, 10)
        process.stdin.write("play\n")
        process.stdin.flush()
        told = [json.loads(process.stdout.readline()) for _ in range(sum(len(outages) for outages in plan))]
        for probe in probes:
            sampler.wait_for_good(probe.name, 5, 20)
        sampler.stop()
        process.stdin.write("end\n")
        process.stdin.flush()
        stalled = json.loads(process.stdout.readline())["stalled"]
    if stalled > SLOW / 2:
        pytest.skip(f"the servers themselves stood still for {stalled:.2f} s: what they tell is not what their users saw")
    origin = history.origin.monotonic
    truths = [
        Truth(one["server"], one["mode"], *(tuple(t - origin for t in one[edge]) for edge in ("down", "up"))) for one in told
    ]
    return truths, history


def found(history, truth):
    """The measured outages that overlap a true one."""
    return [
        outage
        for outage in measures.outages(history, str(truth.server))
        if outage.start_low <= truth.up[1] and outage.end_high >= truth.down[0]
    ]


def slack(history):
    """By how much this machine widened the bounds: two late starts and one standstill, as the sampler recorded them."""
    quality = measures.probe_qualities(history)
    return 2 * max(each.late_max_s for each in quality) + max(each.stalled_s for each in quality)


def test_every_outage_is_seen_unless_it_is_too_short_to_be_one(measured, seed):
    truths, history = measured
    for truth in truths:
        if not found(history, truth):
            # A target that answers late, and still within slow_after, gave a good answer.
            assert truth.mode == "freeze", (seed, truth)
            assert truth.length <= SLOW + INTERVAL + slack(history), (seed, truth)
        else:
            assert len(found(history, truth)) == 1, (seed, truth)


def test_the_bounds_contain_the_truth_every_time(measured, seed):
    truths, history = measured
    for truth in truths:
        for outage in found(history, truth):
            assert outage.start_low <= truth.down[1], (seed, truth, outage)
            assert truth.down[0] <= outage.start_high, (seed, truth, outage)
            assert outage.end_low <= truth.up[1], (seed, truth, outage)
            assert truth.up[0] <= outage.end_high, (seed, truth, outage)


def test_the_bounds_are_no_wider_than_two_intervals_and_the_time_out(measured, seed):
    truths, history = measured
    allowed = 2 * INTERVAL + TIMEOUT
    widths = []
    for truth in truths:
        for outage in found(history, truth):
            width = (outage.start_high - outage.start_low) + (outage.end_high - outage.end_low)
            widths.append(width)
            assert width <= allowed + slack(history) + 1e-6, (seed, truth, outage)
    assert statistics.median(widths) <= allowed, "half of them without any allowance for the machine"


def test_the_lengths_are_right_within_their_bounds(measured, seed, capsys):
    truths, history = measured
    errors = {mode: [] for mode in MODES}
    for truth in truths:
        for outage in found(history, truth):
            low, high = outage.end_low - outage.start_high, outage.end_high - outage.start_low
            assert low <= truth.length, (seed, truth, outage)
            assert truth.up[0] - truth.down[1] <= high, (seed, truth, outage)
            errors[truth.mode].append(outage.end_high - truth.up[0])
    counts = Counter(truth.mode for truth in truths)
    quality = measures.probe_qualities(history)
    with capsys.disabled():
        print(f"\n  seed {seed}; recovery seen late by (median, worst), machine's slack {slack(history) * 1000:.0f} ms:")
        for mode in MODES:
            late = [1000 * error for error in errors[mode]]
            print(f"    {mode:7} {len(late):3} of {counts[mode]:3} seen  {statistics.median(late):5.1f} {max(late):6.1f} ms")
    assert min(each.readings for each in quality) > 0.5 * LONGEST / INTERVAL
    assert {mode for mode, late in errors.items() if late} == set(MODES)
