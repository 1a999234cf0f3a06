"""The ledger: numbered, chained rows that a workload writes, so that every loss, edit and stranger shows.

Each row carries its number, the digest of the row before it and its own digest. Only a row whose write was
acknowledged (a receipt) can be lost; one whose acknowledgement never came counts neither way.
"""

from __future__ import annotations

import hashlib
import secrets
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

from drills import foreign
from drills.clock import Clock, stamp
from drills.errors import MeasuringBroke, UsageError, WaitTimeout, WriteRefused
from drills.history import History

GENESIS = "0" * 16


def digest(seq: int, prev: str, payload: str, stamp: str) -> str:
    """Give the first 16 hex digits of the SHA-256 over a row's content, its place in the chain included."""
    # Lengths are hashed too: without them a character could move from one field to the next unseen.
    content = "\n".join(f"{len(part)}:{part}" for part in (str(seq), prev, payload, stamp))
    return hashlib.sha256(content.encode()).hexdigest()[:16]


@dataclass(frozen=True)
class Row:
    """One row of a ledger, as written or as read back."""

    seq: int
    prev: str
    payload: str
    stamp: str
    digest: str

    @classmethod
    def chained(cls, seq: int, prev: str, payload: str, stamp: str) -> Row:
        """Make the row that follows the one with the digest `prev`."""
        return cls(seq, prev, payload, stamp, digest(seq, prev, payload, stamp))

    @property
    def seal(self) -> str:
        """The row's digest if content and digest agree, and otherwise one that no written row has."""
        computed = digest(self.seq, self.prev, self.payload, self.stamp)
        if computed == self.digest:
            return computed
        return hashlib.sha256(f"edited {computed} {self.digest}".encode()).hexdigest()[:16]


class LedgerStore(Protocol):
    """Where a ledger is kept: a table, a bucket, a file behind the service under drill."""

    def append(self, row: Row, timeout_s: float) -> None:
        """Write one row; return only when the service acknowledged it as durable.

        Reconnects and fails over by itself. Returns or raises within `timeout_s`.

        Raises:
            WriteRefused: if no acknowledgement came, whatever the reason.

        """
        ...

    def read(self) -> list[Row]:
        """Everything found in the ledger, unfiltered; bounded in time.

        Raises:
            WriteRefused: if it could not be read now.

        """
        ...


class Writer:
    """Appends rows to a ledger at a steady rate, from a thread of its own, and keeps the receipts.

    A refused row keeps its number and the next one chains to it: its outcome is unknown, so the number is never used
    again.

    Args:
        store: where the rows go.
        history: receives write, receipt and refused events.
        name: the ledger's name.
        rate_hz: rows a second; an append that takes longer skips the rows it is late for.
        clock: the history's clock by default.
        timeout_s: how long one append may take.

    """

    def __init__(
        self,
        store: LedgerStore,
        history: History,
        name: str = "ledger",
        rate_hz: float = 20.0,
        clock: Clock | None = None,
        *,
        timeout_s: float = 1.0,
    ) -> None:
        if rate_hz <= 0 or timeout_s <= 0:
            raise UsageError(f"writer {name!r}: found rate_hz={rate_hz}, timeout_s={timeout_s}, accepted: more than 0")
        self.store = store
        self.name = name
        self._history = history
        self._clock = clock or history.clock
        self._interval_s = 1.0 / rate_hz
        self._timeout_s = timeout_s
        self._seq = 0
        self._prev = GENESIS
        self._receipts = 0
        self._in_a_row = 0
        self._last = "nothing was written yet"
        self._failure: BaseException | None = None
        self._stopping = threading.Event()
        self._thread: threading.Thread | None = None
        self._append_lock = threading.Lock()  # one chain, whoever appends
        self._progress = threading.Condition()

    @property
    def written(self) -> int:
        """How many rows were acknowledged so far."""
        return self._receipts

    @property
    def running(self) -> bool:
        """Whether the writer's thread is at work."""
        return self._thread is not None and self._thread.is_alive()

    def start(self) -> None:
        """Begin to write steadily; raises UsageError if it was started before."""
        if self._thread is not None:
            raise UsageError(f"writer {self.name!r}: found it started twice, accepted: once")
        self._thread = threading.Thread(target=self._run, name=f"writer-{self.name}", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Stop writing, after the append under way has ended. Idempotent.

        Raises:
            MeasuringBroke: if the writer died of something its store does not declare, or hangs in its store.

        """
        self._stopping.set()
        if self._thread is not None:
            # An append is bounded by the store's own promise; twice that and some, and the promise is broken.
            self._thread.join(2 * self._timeout_s + 5.0)
            if self._thread.is_alive():
                raise MeasuringBroke(
                    f"writer {self.name!r} hangs in its store's append, beyond its time-out of {self._timeout_s:g} s"
                )
        self._raise_failure()

    def append_once(self, n: int = 1, within_s: float = 30.0) -> None:
        """Append `n` further rows and return when all of them are acknowledged; works before `start` and after `stop`.

        Raises:
            WaitTimeout: if the store did not acknowledge that many in time.

        """
        deadline = self._clock.monotonic() + within_s
        missing = n
        while missing:
            if self._append_next():
                missing -= 1
            elif self._clock.monotonic() >= deadline:
                raise WaitTimeout(f"ledger {self.name!r}: {n} acknowledged rows", self._last, within_s)
            else:
                self._clock.sleep(self._interval_s)  # a store that refuses at once must not be asked in a tight loop

    def deleted(self, seq: int) -> None:
        """Note that the deletion of a row was acknowledged: it must not come back."""
        self._history.record("deleted", ledger=self.name, seq=seq)

    def wait_for_receipts(self, n: int, within_s: float) -> None:
        """Wait until `n` more rows in a row, counted from now, are acknowledged.

        Raises:
            WaitTimeout: if they are not by then; says what the store answered last.
            MeasuringBroke: if the writer has died.

        """
        with self._progress:
            self._in_a_row = 0
            done = self._progress.wait_for(lambda: self._in_a_row >= n or self._failure is not None, within_s)
        self._raise_failure()
        if not done:
            raise WaitTimeout(f"ledger {self.name!r}: {n} acknowledged rows", self._last, within_s)

    def wait_until_taking(self, n: int, within_s: float) -> None:
        """Wait until the last `n` rows, those up to now included, were all acknowledged.

        Raises:
            WaitTimeout: if they are not by then; says what the store answered last.
            MeasuringBroke: if the writer has died.

        """
        with self._progress:
            done = self._progress.wait_for(lambda: self._in_a_row >= n or self._failure is not None, within_s)
        self._raise_failure()
        if not done:
            raise WaitTimeout(f"ledger {self.name!r}: {n} acknowledged rows", self._last, within_s)

    def is_taking(self, n: int) -> bool:
        """Whether the last `n` rows were all acknowledged."""
        with self._progress:
            return self._in_a_row >= n

    def kept(self, rows: Iterable[Row], up_to: int) -> int:
        """Count how many of the first `up_to` rows that were acknowledged are among these.

        Not of the first `up_to` numbers: a row that was refused keeps its number, and may be missing.

        Args:
            rows: what was found in the ledger.
            up_to: how many of the acknowledged rows, in the order of their numbers.

        """
        receipts = (e.fields["seq"] for e in self._history.events("receipt") if e.fields["ledger"] == self.name)
        return len(set(sorted(receipts)[:up_to]) & {row.seq for row in rows})

    def _run(self) -> None:
        due = self._clock.monotonic()
        try:
            while not self._stopping.is_set():
                self._append_next()
                now = self._clock.monotonic()
                due = max(due + self._interval_s, now)
                self._stopping.wait(due - now)
        except BaseException as error:  # noqa: BLE001 - kept for stop(), which raises it: a thread has no caller
            with self._progress:
                self._failure = error
                self._progress.notify_all()

    def _append_next(self) -> bool:
        with self._append_lock:
            self._seq += 1
            payload = f"{self.name} {self._seq} {secrets.token_hex(4)}"
            row = Row.chained(self._seq, self._prev, payload, stamp(self._clock.now().utc))
            self._prev = row.digest
            self._history.record("write", ledger=self.name, seq=row.seq, digest=row.digest)
            sent = self._history.elapsed()
            try:
                self.store.append(row, self._timeout_s)
            except Exception as error:
                # What a client of a team's own raises says no more than a refusal does: nobody knows what became of it.
                if not isinstance(error, WriteRefused | OSError) and not foreign.is_a_librarys(error):
                    raise
                why = str(error) if isinstance(error, WriteRefused) else foreign.in_words(error)
                self._history.record("refused", ledger=self.name, seq=row.seq, why=why)
                self._note(receipt=False, last=f"row {row.seq} refused: {why}")
                return False
            acknowledged = self._history.elapsed()
            self._history.record("receipt", ledger=self.name, seq=row.seq, sent=sent, acknowledged=acknowledged)
            self._note(receipt=True, last=f"row {row.seq} acknowledged")
            return True

    def _note(self, *, receipt: bool, last: str) -> None:
        with self._progress:
            self._receipts += receipt
            self._in_a_row = self._in_a_row + 1 if receipt else 0
            self._last = last
            self._progress.notify_all()

    def _raise_failure(self) -> None:
        if self._failure is not None:
            raise MeasuringBroke(f"writer {self.name!r} died: {self._failure!r}") from self._failure
