"""Realistic histories and records for the tests of the reports, made by the harness's own writers."""

import copy
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from drills.clock import FakeClock
from drills.errors import NotRecovered
from drills.history import History
from drills.ledger import GENESIS, digest
from drills.objectives import Objective
from drills.record import build, write_atomically
from drills.runs import Run

INTERVAL_S = 0.05

COMPLETE: dict[str, Any] = {
    "plan": {"path": "dr-plan.yaml", "sha256": "c1" * 32, "version": "7", "entry": "namespace deletion"},
    "runbook_sha256": "b2" * 32,
    "expected_steps": [{"name": "restore it", "command": "velero restore create", "expected_s": 60.0}],
    "meta": {
        "participants": [{"name": "Bo Lind", "role": "operator"}, {"name": "Ana Ito", "role": "reviewer"}],
        "approver": "Cy Ode",
        "approved_on": "2026-11-14",
        "planned_on": "2026-11-21",
        "independence": "Ana Ito reports to another director than the operator",
        "scope": {"systems": ["shop"], "data": ["orders"], "third_parties": ["none"]},
        "type": "functional",
        "why": "quarterly rehearsal",
    },
}
"""A story's `extra` with all that people have to say of a drill; only the sign-off is still to come."""


@dataclass(frozen=True)
class Story:
    """What happened in a made-up drill; all times in seconds, those after the fault counted from its issue."""

    name: str = "namespace_deletion"
    scenario: str = "scenarios/test_namespace_deletion.py"
    title: str = "Someone deletes the shop's namespace, its volumes included."
    runbook: str = "docs/runbooks/namespace-restore.md"
    fault: str = "namespace_deleted"
    target: str = "namespace shop-7f3a"
    proof: tuple[str, ...] = (
        "namespace shop-7f3a: UID 3c1e… is gone (404 from the API)",
        "the shop answers no reading",
    )
    began: datetime = datetime(2026, 11, 21, 9, 33, 6, tzinfo=UTC)
    steady_s: float = 12.0
    bad_from_s: float | None = 0.31
    bad_until_s: float | None = 18.42
    flaps_s: tuple[tuple[float, float], ...] = ()
    after_s: float = 6.0
    damage_seen_s: float = 0.62
    procedure_s: float = 1.1
    steps: tuple[tuple[str, str, float, str], ...] = (
        ("choose the newest completed backup", "velero backup get -o json", 0.4, "harness"),
        ("restore it", "velero restore create --from-backup shop-20261121 --wait", 11.2, "harness"),
        ("wait until the shop's database takes connections", "", 3.1, "kubernetes"),
    )
    backup_before_s: float | None = 5.0
    lost: int = 0
    rto_s: float | None = 60.0
    rpo_s: float | None = 30.0
    checks: tuple[tuple[str, bool, str, str], ...] = (("secret shop-tls", True, "present", "present"),)
    tier: str = "high"
    controls: tuple[str, ...] = ("NIST-800-53r5:CP-4", "SOC2:A1.3")
    sabotage: tuple[str, ...] = ()
    rate_hz: float = 20.0
    issued: bool = True
    proved: bool = True
    seed: int = 7
    extra: dict[str, Any] = field(default_factory=dict)


def tell(story: Story, path: Path | None = None) -> History:
    """Record the story's events in the order of their times, as a drill would have."""
    rng = random.Random(story.seed)
    clock = FakeClock(utc=story.began)
    history = History(clock, path)
    origin_utc = story.began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
    events: list[tuple[float, str, dict[str, Any]]] = []
    zero = story.steady_s
    recovered = story.bad_until_s is not None
    back = story.bad_until_s or 0.0
    worked = story.procedure_s + 0.02 + sum(took for _, _, took, _ in story.steps)
    # No drill is stable while its procedure still runs.
    end = zero + max(back, worked) + story.after_s if recovered else zero + 30.0

    def add(t: float, kind: str, **fields: Any) -> None:
        events.append((t, kind, fields))

    def down(t: float) -> bool:
        """Whether the service is down, `t` seconds after the fault."""
        if not story.issued or not story.proved:
            return False
        if any(begin <= t < until for begin, until in story.flaps_s):
            return True
        return story.bad_from_s is not None and t >= story.bad_from_s and (not recovered or t < back)

    add(0.0, "opened", origin_utc=origin_utc, drill=story.name, schema="pytest-drills/history/v1")
    add(
        0.01,
        "probe",
        probe="shop takes orders",
        interval_s=INTERVAL_S,
        timeout_s=1.0,
        slow_after_s=0.5,
        need=20,
        entries=["172.18.0.3:30080"],
        role="user",
    )
    add(1.2, "phase", name="steady")
    count = int((end - 0.05) / INTERVAL_S)
    for n in range(count):
        sent = round(0.02 + n * INTERVAL_S + rng.uniform(0, 0.001), 6)
        bad = down(sent - zero)
        answered = round(sent + (rng.uniform(0.001, 0.01) if not bad else rng.choice([0.002, 0.003, 0.5])), 6)
        why = rng.choice(["connection refused", "connection refused", "no answer within 0.5 s"]) if bad else ""
        add(
            answered,
            "reading",
            probe="shop takes orders",
            sent=sent,
            answered=answered,
            ok=not bad,
            why=why,
            via="" if bad else "172.18.0.3:30080",
        )
    add(end, "probe_ended", probe="shop takes orders", planned=count, taken=count, late_max_s=0.0008)

    rows: list[list[Any]] = []
    receipts: list[int] = []
    prev = GENESIS
    for n in range(int((end - 2.2) * story.rate_hz)):  # the writer stops before its ledger is read back
        seq, t = n + 1, 0.4 + n / story.rate_hz
        payload, when = f"order {seq}", f"{t:.3f}"
        seal = digest(seq, prev, payload, when)
        add(t, "write", ledger="orders", seq=seq, digest=seal)
        if down(t - zero):
            add(t + 0.03, "refused", ledger="orders", seq=seq, why="connection refused")
        else:
            add(t + 0.006, "receipt", ledger="orders", seq=seq, sent=t, acknowledged=t + 0.006)
            receipts.append(seq)
            rows.append([seq, seal, prev])
        prev = seal
    if story.backup_before_s is not None:
        taken = zero - story.backup_before_s
        utc = (story.began + timedelta(seconds=taken)).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        add(
            taken,
            "backup",
            name="shop-20261121",
            backup_kind="velero",
            taken_utc=utc,
            taken_t=taken,
            identity={"sha256": "9f2c" * 16},
        )
    if story.issued:
        common = {"name": story.fault, "target": story.target, "blast_radius": "namespace"}
        add(zero, "fault", **common, state="issued", proof=[])
        add(zero, "phase", name="disrupted")
    if story.issued and story.proved:
        add(zero + story.damage_seen_s, "fault", **common, state="proved", proof=list(story.proof))
        add(zero + story.damage_seen_s, "phase", name="damaged")
        add(zero + story.damage_seen_s + 0.2, "detected", by="probe")
        add(zero + story.damage_seen_s + 0.2, "phase", name="detected")
        add(zero + story.procedure_s, "phase", name="recovering")
        t = zero + story.procedure_s + 0.02
        for number, (name, command, took, by) in enumerate(story.steps, 1):
            add(t, "step", name=name, command=command, by=by, state="started", id=number, detail="")
            t += took
            add(t, "step", name=name, command=command, by=by, state="ended", id=number, detail="")
        if recovered:
            first = next(f["sent"] for _, k, f in events if k == "reading" and f["ok"] and f["sent"] >= zero + back)
            good = next(f["answered"] for _, k, f in events if k == "reading" and f["sent"] == first)
            add(good, "phase", name="restored")
            add(end - 1.5, "phase", name="verified")
            add(end - 1.2, "phase", name="stable")
            for name, ok, expected, got in story.checks:
                add(end - 1.3, "check", name=name, ok=ok, expected=expected, got=got)
            before = [seq for seq in receipts if 0.4 + (seq - 1) / story.rate_hz + 0.006 < zero]
            gone = set(before[len(before) - story.lost :]) if story.lost else set()
            add(end - 1.6, "read_back", ledger="orders", rows=[row for row in rows if row[0] not in gone])
        add(end - 0.1, "fault", **common, state="healed", proof=[])
    add(end, "phase", name="ended")
    for t, kind, fields in sorted(events, key=lambda event: event[0]):
        history.record(kind, at=history.instant(t), **fields)
    history.close()
    return history


def record_of(story: Story, history: History, failure: BaseException | None = None) -> dict[str, Any]:
    """Judge and record the story with the harness's own code."""
    facts = {
        "environment": {"kind": "kind", "nodes": 3, "kubernetes": "v1.36.1"},
        "tier": story.tier,
        "controls": list(story.controls),
        "harness": {"commit": "c0ffee1"},
        **story.extra,
    }
    return build(
        history,
        Objective(rto=_duration(story.rto_s), rpo=_duration(story.rpo_s), source="BIA 2026-03"),
        drill=story.name,
        title=story.title,
        scenario=story.scenario,
        runbook=story.runbook,
        sabotage=story.sabotage,
        failure=failure,
        facts=facts,
    )


def write_run(evidence: Path, *stories: Story) -> Path:
    """Leave one finished run in an evidence directory, as the harness would; returns the run's directory."""
    clock = FakeClock(utc=stories[0].began)
    facts = {
        "why": "nightly",
        "engine": {"kind": "docker", "version": "28.5.2", "private": False},
        "images": {"registry.example/shop@sha256:" + "ab" * 32: {"origin": "pull", "id": "sha256:" + "cd" * 32}},
    }
    run = Run.start(evidence, facts, clock)
    for story in stories:
        folder = run.drill_directory(story.name)
        history = tell(story, folder / "history.jsonl")
        gave_up = (
            None if story.bad_until_s is not None else NotRecovered("not back within 30 s; last: connection refused")
        )
        place = {"id": f"{run.id}/{folder.name}", "sequence": run.sequence, "attempt": 1}
        write_atomically(folder / "record.json", record_of(story, history, gave_up) | place)
        (folder / "commands.log").write_text("2026-11-21T09:33:19.000Z $ velero version\n-> rc=0 in 0.12 s\n")
        clock.advance(60)
    run.end()
    return run.directory


def write_many(evidence: Path, count: int, *stories: Story, seed: int = 3) -> None:
    """Leave many runs' records, one a night, with figures that wander, miss, stay open and see their objective change.

    Without histories: trends read records only, and 500 histories would take minutes to tell.
    """
    rng = random.Random(seed)
    models = [record_of(story, tell(story)) for story in stories]
    for night in range(count):
        began = datetime(2025, 7, 1, 1, 0, tzinfo=UTC) + timedelta(days=night)
        for model in models:
            record = copy.deepcopy(model)
            stamp = began.isoformat(timespec="milliseconds").replace("+00:00", "Z")
            record["started_utc"] = stamp
            rto, achieved = record["objective"]["rto_s"], record["achieved"]
            if night > count * 0.6 and rto is not None:
                record["objective"]["rto_s"] = rto = rto * 0.75
            luck = rng.random()
            if luck < 0.03:
                record["verdict"], record["why"] = "INCONCLUSIVE", "no damage was observed"
            elif luck < 0.04:
                record["verdict"], record["why"] = "ENVIRONMENT", "the environment failed: kind create cluster"
            elif luck < 0.05:
                record["verdict"] = "MISSED"
                achieved |= {"rta_s": None, "rta_low_s": None, "rta_high_s": None, "rpa_s": None}
            else:
                rta = (achieved["rta_s"] or 1.0) * rng.lognormvariate(0, 0.25)
                achieved |= {"rta_s": rta, "rta_low_s": rta * 0.97, "rta_high_s": rta * 1.01}
                if rng.random() < 0.1:
                    achieved["rpa_s"] = rng.uniform(0.1, 20)
                missed = rto is not None and achieved["rta_high_s"] > rto
                record["verdict"] = "MISSED" if missed else "MET"
            write_atomically(evidence / f"{began:%Y%m%dT%H%M%SZ}-{night:04x}" / record["drill"] / "record.json", record)


def _duration(seconds: float | None) -> timedelta | None:
    return None if seconds is None else timedelta(seconds=seconds)
