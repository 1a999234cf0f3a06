"""What measures goes before what is measured."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

NICE = -10
"""Enough to be run within milliseconds of waking among the threads of one group of processes; see sched(7)."""

REAL_TIME = 1
"""The lowest priority of those that go before all others, whatever group those are in."""


def take() -> None:
    """Let the calling thread go before others, as far as the system permits; what it starts begins as anybody else.

    Readings are few and short, so nothing that is measured misses the time; a starved reading widens the bounds of the
    outage, and a gap in them leaves a drill inconclusive. Without the right to it (CAP_SYS_NICE) nothing changes.

    Niceness counts within a group of processes only. A session is such a group, and so is all that runs in containers:
    beside busy clusters a thread of niceness -10 was seen to wait half a second for a processor.
    """
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own in these calls
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
            os.sched_setscheduler(0, os.SCHED_RR | os.SCHED_RESET_ON_FORK, os.sched_param(REAL_TIME))
