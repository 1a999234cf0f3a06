"""Libraries that warn by Python's logging, on the terminal, of what a drill does on purpose.

Where nobody has set up logging, Python writes warnings to standard error. A sampler that is stopped, or a reading that
is given up, makes psycopg say so once for each connection ("query cancellation interrupted ... closing connection"), in
the midst of a report. What such a message says is in the history already, as a reading or a refused write with its
reason. Whoever sets up logging still gets all of it.
"""

from __future__ import annotations

import logging

LIBRARIES = ("psycopg", "kubernetes", "urllib3")
"""The clients by which drills talk to what they break; those that are not named keep quiet by themselves."""


def keep_quiet() -> None:
    """Let the libraries log to whoever set logging up, and to nobody else. Idempotent."""
    for name in LIBRARIES:
        logger = logging.getLogger(name)
        if not any(isinstance(handler, logging.NullHandler) for handler in logger.handlers):
            logger.addHandler(logging.NullHandler())
