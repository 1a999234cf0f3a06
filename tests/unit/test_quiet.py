"""What comes out on the terminal when a run is stopped: what the harness says, and no library."""

import logging
import subprocess
import sys
from pathlib import Path

import pytest

from drills import quiet

PROGRAM = Path(__file__).with_name("hanging_postgres.py")


@pytest.mark.parametrize("how", ["stop", "end"])
def test_readings_that_are_given_up_are_nothing_to_warn_of(how):
    done = subprocess.run([sys.executable, str(PROGRAM), how], capture_output=True, text=True, timeout=60, check=True)
    assert done.stdout.splitlines() == ["no answer within 0.3 s"]
    assert done.stderr == ""


@pytest.mark.parametrize("library", quiet.LIBRARIES)
def test_a_library_still_tells_whoever_set_up_logging(library, caplog):
    quiet.keep_quiet()
    quiet.keep_quiet()
    with caplog.at_level(logging.WARNING):
        logging.getLogger(library).warning("closing connection")
    assert [record.message for record in caplog.records] == ["closing connection"]
    assert sum(isinstance(one, logging.NullHandler) for one in logging.getLogger(library).handlers) >= 1
