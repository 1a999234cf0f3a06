"""Histories with every instant given by hand, and a service in memory that breaks when told to."""

from __future__ import annotations

import asyncio
import threading
from dataclasses import dataclass, field
from typing import Any

from drills.clock import FakeClock
from drills.errors import BadReading, WriteRefused
from drills.faults import BlastRadius, Fault
from drills.history import SCHEMA, History
from drills.ledger import GENESIS, Row
from drills.probes import Entry, Probe


class Script:
    """Writes a history event by event, at times of its own choosing."""

    def __init__(self) -> None:
        self.clock = FakeClock(start=1000.0)
        self.history = History(self.clock)
        self.event("opened", 0.0, origin_utc="2026-01-01T00:00:00.000Z", drill="scripted", schema=SCHEMA)
        self._written: dict[str, dict[int, Row]] = {}

    def event(self, kind: str, t: float, **fields: Any) -> None:
        self.history.record(kind, at=self.history.instant(t), **fields)

    def probe(self, name: str = "shop", need: int = 3, role: str = "user", **settings: float) -> None:
        fields = {"interval_s": 0.05, "timeout_s": 1.0, "slow_after_s": 0.5} | settings
        self.event("probe", 0.0, probe=name, need=need, role=role, entries=["h:1"], **fields)

    def reading(
        self, sent: float, answered: float | None = None, *, ok: bool = True, why: str = "refused", probe: str = "shop"
    ) -> None:
        answered = sent + 0.002 if answered is None else answered
        self.event(
            "reading",
            answered,
            probe=probe,
            sent=sent,
            answered=answered,
            ok=ok,
            why="" if ok else why,
            via="h:1",
        )

    def readings(self, until: float, down: tuple[tuple[float, float], ...] = (), interval: float = 0.05) -> None:
        """Readings on time from 0 to `until`, refused while the service is down."""
        for place in range(int(until / interval)):
            sent = round(place * interval, 6)
            self.reading(sent, ok=not any(start <= sent < end for start, end in down))

    def phase(self, name: str, t: float, **fields: Any) -> None:
        self.event("phase", t, name=name, **fields)

    def fault(self, issued: float = 10.0, proved: float | None = 10.5, healed: float | None = None) -> None:
        fields: dict[str, Any] = {"name": "unplugged", "target": "pod/shop", "blast_radius": "pod"}
        self.event("fault", issued, state="issued", proof=[], **fields)
        self.phase("disrupted", issued)
        if proved is not None:
            self.event("fault", proved, state="proved", proof=["it is gone"], **fields)
            self.phase("damaged", proved)
        if healed is not None:
            self.event("fault", healed, state="healed", proof=[], **fields)

    def write(self, seq: int, t: float, *, acknowledged: bool = True, ledger: str = "orders") -> Row:
        rows = self._written.setdefault(ledger, {})
        prev = rows[max(rows)].digest if rows else GENESIS
        row = rows[seq] = Row.chained(seq, prev, f"order {seq}", "2026-01-01T00:00:00.000Z")
        self.event("write", t, ledger=ledger, seq=seq, digest=row.digest)
        if acknowledged:
            self.event("receipt", t + 0.001, ledger=ledger, seq=seq, sent=t, acknowledged=t + 0.001)
        else:
            self.event("refused", t + 0.001, ledger=ledger, seq=seq, why="gone")
        return row

    def read_back(self, t: float, rows: list[Row], ledger: str = "orders") -> None:
        found = [[row.seq, row.seal, row.prev] for row in rows]
        self.event("read_back", t, ledger=ledger, asked=t, rows=found)


def told(down: tuple[float, float] | None = (10.1, 14.0), lost: int = 0, end: float = 20.0) -> Script:
    """A whole drill: steady, fault at 10 s, down for a while, back; `lost` of the last rows before it are missing.

    Row 100 is refused while the service is down, and rows 101 to 106 are acknowledged afterwards.
    """
    back = 10.02 if down is None else down[1] + 0.0005
    script = Script()
    script.probe()
    script.readings(end, () if down is None else (down,))
    script.phase("steady", 5.0)
    rows = [script.write(seq, 0.1 * seq, acknowledged=True) for seq in range(1, 100)]
    if down is not None:
        script.write(100, down[0] + 0.05, acknowledged=False)
    after = [script.write(101 + place, back + 0.01 * place) for place in range(6)]
    script.fault()
    script.event("detected", 10.6, by="alert")
    script.phase("detected", 10.6)
    script.phase("recovering", 11.0, title="restore", by="harness")
    script.event("step", 11.0, id=1, name="restore", command="restore it", by="harness", state="started", detail="")
    script.event("step", 13.0, id=1, name="restore", command="restore it", by="harness", state="ended", detail="")
    script.phase("restored", 10.0 if down is None else down[1] + 0.002)
    script.read_back(end - 0.5, [*rows[: len(rows) - lost], *after])
    script.phase("verified", end - 0.4)
    script.phase("stable", end - 0.2)
    script.phase("ended", end)
    return script


@dataclass
class Service:
    """A service in memory with rows: up or down, read-only, without its table, or with a defect in its client code."""

    up: bool = True
    takes_writes: bool = True
    rows: list[Row] = field(default_factory=list)
    table: bool = True
    defect: BaseException | None = None
    probe_defect: BaseException | None = None
    lock: threading.Lock = field(default_factory=threading.Lock)

    def append(self, row: Row, timeout_s: float) -> None:
        if self.defect is not None:
            raise self.defect
        with self.lock:
            if not (self.up and self.takes_writes and self.table):
                raise WriteRefused("connection refused")
            self.rows.append(row)

    def read(self) -> list[Row]:
        with self.lock:
            if not self.up:
                raise WriteRefused("connection refused")
            if not self.table:
                raise WriteRefused('relation "ledger" does not exist')
            return list(self.rows)

    async def ask(self, entry: Entry, timeout_s: float) -> None:
        await asyncio.sleep(0)
        if self.probe_defect is not None:
            raise self.probe_defect
        if not self.up:
            raise BadReading("connection refused")

    def probe(self, **settings: Any) -> Probe:
        fields: dict[str, Any] = {"interval_s": 0.005, "timeout_s": 1.0} | settings
        return Probe("shop takes orders", [Entry("here", 1)], self.ask, **fields)


class Unplugged(Fault):
    """Takes the service down."""

    name = "unplugged"
    target = "shop"
    blast_radius = BlastRadius.POD

    def __init__(self, service: Service) -> None:
        self.service = service
        self.healed = 0

    def inject(self) -> None:
        self.service.up = False

    def proof(self) -> list[str]:
        return [] if self.service.up else ["the shop refuses connections"]

    def heal(self) -> None:
        self.healed += 1
        self.service.up = True
