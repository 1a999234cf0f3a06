"""What measures goes before what is measured."""

from __future__ import annotations

import os
import sys
import threading
from contextlib import suppress

NICE = -10
"""Enough to be run within milliseconds of waking on a machine whose processors are all busy; see sched(7)."""


def take() -> None:
    """Let the calling thread, and the threads that it starts, go before others, as far as the system permits.

    Readings are few and short, so nothing that is measured misses the time; a starved reading widens the bounds of the
    outage, and a gap in them leaves a drill inconclusive. Without the right to it (CAP_SYS_NICE) nothing changes.
    """
    if sys.platform == "linux":  # elsewhere a thread has no priority of its own in this call
        with suppress(PermissionError):
            os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
