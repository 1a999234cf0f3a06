"""What a disaster put at stake: the volumes that went with it, and whether anybody watched their data."""

from __future__ import annotations

import re
from collections.abc import Iterable

from drills import marks
from drills.marks import Source, events_of

_MOST_NAMED = 3
# What the fault "namespace deleted" said of volumes before faults named the claims that go with them.
_OLD_PROOF = re.compile(r"(\d+) pods? and (\d+) volume claims? went with it")


def claims_lost(history: Source) -> list[str]:
    """Name the volume claims, as namespace/name, that the fault takes and the plan does not call disposable."""
    issued = next((e.fields for e in events_of(history, "fault") if e.fields.get("state") == "issued"), {})
    spared = set(issued.get("disposable") or ())
    return [claim for claim in issued.get("claims") or () if not spared & {claim, claim.partition("/")[2]}]


def unwatched(history: Source) -> str:
    """Say which volumes the disaster took whose data no ledger watches, so that nothing is known of it.

    A ledger that does not say which claims it lives on counts for all of them. Empty if there is no such volume.
    """
    if marks.kind(history) == "validation":
        return ""
    watching = {str(event.fields.get("ledger")): event.fields.get("claims") for event in events_of(history, "ledger")}
    ledgers = marks.ledger_names(history)
    if any(not watching.get(name) for name in ledgers):
        return ""
    watched = {claim for name in ledgers for claim in watching[name] or ()}
    lost = [claim for claim in claims_lost(history) if not _in(claim, watched)]
    if lost:
        return f"the disaster took {_named(lost)}, and no ledger watched its data, so nothing is known of it"
    number = 0 if ledgers else _told_by_old_proof(history)
    if number:
        return f"the disaster took {number} volume claims, and no ledger watched their data, so nothing is known of it"
    return ""


def _in(claim: str, watched: Iterable[str]) -> bool:
    """Whether a claim is watched; one that is watched may be named without its namespace."""
    return claim in watched or claim.partition("/")[2] in watched


def _told_by_old_proof(history: Source) -> int:
    """Count the claims of a fault that did not name them yet."""
    issued = next((e.fields for e in events_of(history, "fault") if e.fields.get("state") == "issued"), {})
    if "claims" in issued:
        return 0
    told = (_OLD_PROOF.search(fact) for fact in marks.proof(history))
    return sum(int(found.group(2)) for found in told if found)


def _named(claims: list[str]) -> str:
    first = ", ".join(claims[:_MOST_NAMED])
    more = f" and {len(claims) - _MOST_NAMED} more" if len(claims) > _MOST_NAMED else ""
    return f"the volume claim {first}" if len(claims) == 1 else f"the volume claims {first}{more}"
