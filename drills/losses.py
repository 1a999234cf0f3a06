"""What became of the writes that were acknowledged, and how far back the recovered data reaches.

Only a row whose write was acknowledged (a receipt) can be lost. What is held against an RPO is the time from the
oldest write that is missing to the moment at which the service stopped acknowledging writes.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

from drills import marks, recovery
from drills.ledger import GENESIS
from drills.marks import Source, events_of, remembered, us


@dataclass(frozen=True)
class Losses:
    """What became of the acknowledged writes.

    Attributes:
        acknowledged: rows whose write was acknowledged before the ledger was read back.
        lost: acknowledged, never deleted, and missing.
        corrupted: present, and not as written: edited, chained to another row, or never sent at all.
        duplicated: present more than once.
        resurrected: deleted with an acknowledgement, and present.
        unknown: writes whose acknowledgement never came; they count neither way.
        oldest_lost_t: when the oldest write (or deletion) that did not last was acknowledged, seconds since the origin.
        lost_after_restore: those of `lost` that the recovered service itself had acknowledged; no RPO covers them.
        undone_after_restore: those of `resurrected` whose deletion the recovered service itself had acknowledged.
        lost_before_backup: those of `lost`, and of `resurrected`, that every recovery point on offer holds; no RPO
            covers them.
        none_survived: something was acknowledged before the fault, and none of it is there.
        is_oldest_unknown: nothing older than the oldest missing write shows that the data reaches back to it: it is the
            ledger's first one, or none survived.
        read: whether every ledger was read back; without that nothing above is known.

    """

    acknowledged: int = 0
    lost: list[int] = field(default_factory=list)
    corrupted: list[int] = field(default_factory=list)
    duplicated: list[int] = field(default_factory=list)
    resurrected: list[int] = field(default_factory=list)
    unknown: int = 0
    oldest_lost_t: float | None = None
    lost_after_restore: list[int] = field(default_factory=list)
    read: bool = False
    undone_after_restore: list[int] = field(default_factory=list)
    lost_before_backup: list[int] = field(default_factory=list)
    none_survived: bool = False
    is_oldest_unknown: bool = False


@dataclass(frozen=True)
class RecoveryPoint:
    """How far back acknowledged writes are gone.

    Attributes:
        rpa_s: from the oldest missing write to the moment at which the service stopped acknowledging, in seconds; 0 if
            none is missing.
        at_least: whether that is a lower bound only, since nothing that is older shows how much more is gone.
        stopped_s: the moment at which the service stopped acknowledging writes, in seconds since the fault; 0: at the
            fault.

    """

    rpa_s: float
    at_least: bool
    stopped_s: float


@remembered
def losses(history: Source, ledger: str | None = None) -> Losses:
    """Tell what became of the acknowledged writes of one ledger, or of all of them together.

    The last time that a ledger was read back counts; writes acknowledged after that reading began do not.
    """
    names = marks.ledger_names(history) if ledger is None else [ledger]
    parts = [_of_ledger(history, name) for name in names]
    oldest = [part.oldest_lost_t for part in parts if part.oldest_lost_t is not None]
    return Losses(
        acknowledged=sum(part.acknowledged for part in parts),
        lost=[seq for part in parts for seq in part.lost],
        corrupted=[seq for part in parts for seq in part.corrupted],
        duplicated=[seq for part in parts for seq in part.duplicated],
        resurrected=[seq for part in parts for seq in part.resurrected],
        unknown=sum(part.unknown for part in parts),
        oldest_lost_t=min(oldest, default=None),
        lost_after_restore=[seq for part in parts for seq in part.lost_after_restore],
        read=bool(parts) and all(part.read for part in parts),
        undone_after_restore=[seq for part in parts for seq in part.undone_after_restore],
        lost_before_backup=[seq for part in parts for seq in part.lost_before_backup],
        none_survived=any(part.none_survived for part in parts),
        is_oldest_unknown=any(part.is_oldest_unknown for part in parts),
    )


def recovery_point(history: Source) -> float | None:
    """RPA in seconds, see `RecoveryPoint`; None when no fault was issued, or any ledger was not read back."""
    found = point(history)
    return None if found is None else found.rpa_s


def point(history: Source, ledger: str | None = None) -> RecoveryPoint | None:
    """How far back acknowledged writes are gone: those of one ledger, or by default of the one that lost most.

    It is the moment at which the service stopped acknowledging writes minus the acknowledgement of the OLDEST write
    that is missing. That moment is the later of the fault's instant and the last receipt before the outage, for a
    service may serve on for a while and lose all that it acknowledges; a newer write that is missing puts it later
    still. A deletion is a write too: one that was acknowledged and is undone counts like a lost row.

    Returns:
        None when no fault was issued, or any ledger was not read back.

    """
    issued = marks.issued_at(history)
    names = marks.ledger_names(history) if ledger is None else [ledger]
    parts = [_of_ledger(history, name) for name in names]
    if issued is None or not parts or not all(part.read for part in parts):
        return None
    worst = RecoveryPoint(0.0, at_least=False, stopped_s=0.0)
    for name, part in zip(names, parts, strict=True):
        stopped = _stopped_at(history, name, issued, part)
        age = 0.0 if part.oldest_lost_t is None else us(max(0.0, stopped - part.oldest_lost_t))
        worst = RecoveryPoint(
            max(worst.rpa_s, age),
            at_least=worst.at_least or part.is_oldest_unknown,
            stopped_s=max(worst.stopped_s, us(stopped - issued)),
        )
    return worst


def _stopped_at(history: Source, ledger: str, issued: float, lost: Losses) -> float:
    """When the service stopped acknowledging the writes of a ledger, in seconds since the origin."""
    if marks.kind(history) == "validation":
        return issued  # the original goes on, and no copy can hold that
    end = marks.measured_until(history)
    receipts = {e.fields["seq"]: float(e.fields["acknowledged"]) for e in events_of(history, "receipt", ledger)}
    refused = [
        e.fields["seq"] for e in events_of(history, "refused", ledger) if e.t >= issued and (end is None or e.t <= end)
    ]
    last = [t for seq, t in receipts.items() if seq < min(refused)] if refused else []
    covered = set(lost.lost) - set(lost.lost_after_restore)
    undone = set(lost.resurrected) - set(lost.undone_after_restore)
    newest_lost = [receipts[seq] for seq in covered if seq in receipts]
    newest_undone = [e.t for e in events_of(history, "deleted", ledger) if e.fields["seq"] in undone]
    return max([issued, *last, *newest_lost, *newest_undone])


def _back_at(history: Source, ledger: str) -> float | None:
    """From when on the recovered service answers for what it acknowledges, in seconds since the origin."""
    issued = marks.issued_at(history)
    answers = recovery.answers_back(history)
    writes = recovery.writes_back(history, ledger)
    if issued is None or answers is None or writes is None:
        return marks.phase_at(history, "restored")
    return us(issued + max(answers.rta_s, writes.rta_s))


def _offered_at(history: Source) -> float | None:
    """When the oldest of the recovery points that were on offer at the fault was taken; None if there was none.

    The oldest, because a newer one may be spoilt, and passing over it is what such a drill rehearses.
    """
    issued = marks.issued_at(history)
    taken = [float(e.fields["taken_t"]) for e in events_of(history, "backup")]
    return min((t for t in taken if issued is not None and t <= issued), default=None)


@remembered
def _of_ledger(history: Source, ledger: str) -> Losses:
    written = {e.fields["seq"]: e.fields["digest"] for e in events_of(history, "write", ledger)}
    read_back = marks.read_back(history, ledger)
    issued = marks.issued_at(history)
    asked = None if read_back is None else marks.asked_at(read_back)
    if asked is not None and marks.kind(history) == "validation":
        asked = min(asked, issued or asked)  # the original writes on; no copy can hold that
    receipts = {
        e.fields["seq"]: e.fields["acknowledged"]
        for e in events_of(history, "receipt", ledger)
        if asked is None or e.fields["acknowledged"] <= asked
    }
    deletions = {e.fields["seq"]: e.t for e in events_of(history, "deleted", ledger) if asked is None or e.t <= asked}
    unknown = sum(1 for e in events_of(history, "refused", ledger) if e.fields["seq"] not in receipts)
    if read_back is None:
        return Losses(acknowledged=len(receipts), unknown=unknown)

    rows = [(row[0], row[1], row[2]) for row in read_back.fields["rows"]]
    present = Counter(seq for seq, _, _ in rows)
    chain = dict(zip(sorted(written), [GENESIS, *(written[seq] for seq in sorted(written))], strict=False))
    corrupted = sorted({seq for seq, mark, prev in rows if written.get(seq) != mark or chain.get(seq) != prev})
    lost = sorted(seq for seq in receipts if seq not in present and seq not in deletions)
    resurrected = sorted(seq for seq in deletions if seq in present)
    gone = {seq: receipts[seq] for seq in lost} | {seq: deletions[seq] for seq in resurrected}
    back, offered = _back_at(history, ledger), _offered_at(history)
    kept = {seq: t for seq, t in receipts.items() if seq not in deletions}
    before = {seq for seq, t in kept.items() if issued is not None and t <= issued}
    none_survived = bool(before) and not before & present.keys()
    return Losses(
        acknowledged=len(receipts),
        lost=lost,
        corrupted=corrupted,
        duplicated=sorted(seq for seq, times in present.items() if times > 1),
        resurrected=resurrected,
        unknown=unknown,
        oldest_lost_t=min(gone.values(), default=None),
        lost_after_restore=[seq for seq in lost if back is not None and receipts[seq] >= back],
        read=True,
        undone_after_restore=[seq for seq in resurrected if back is not None and deletions[seq] >= back],
        lost_before_backup=sorted(seq for seq, t in gone.items() if offered is not None and t <= offered),
        none_survived=none_survived,
        is_oldest_unknown=none_survived or bool(lost and min(kept, key=lambda seq: kept[seq]) in lost),
    )
