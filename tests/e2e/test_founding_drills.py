"""The four founding drills (six tests), held once for real; what they promise is looked up in what they left."""

from __future__ import annotations

import html
import json
import re
import xml.etree.ElementTree as ET
from pathlib import Path

import pytest

from drills import runs
from drills.record import validate

from .conftest import Held, drills

POD, WEB, DRAIN, NODE, NAMESPACE, ETCD = (
    "database_pod_is_replaced_without_losing_a_write",
    "one_of_several_web_pods_is_replaced",
    "node_is_drained_within_the_disruption_budget",
    "dead_node_is_replaced_by_the_others_tolerates_10_s",
    "deleted_namespace_is_restored_from_backup",
    "wiped_etcd_is_restored_from_snapshot",
)
ALL = {POD, WEB, DRAIN, NODE, NAMESPACE, ETCD}


def test_every_objective_is_met(held: Held) -> None:
    assert held.verdicts == dict.fromkeys(ALL, "MET")
    assert held.code == 0


@pytest.mark.parametrize("drill", sorted(ALL))
def test_record_proves_its_fault_and_its_recovery(held: Held, drill: str) -> None:
    record = held.records[drill]
    assert validate(record) == []
    assert record["fault"]["proof"]
    phases = [phase["name"] for phase in record["phases"]]
    assert [name for name in phases if name in {"steady", "disrupted", "recovering", "restored"}] == [
        "steady", "disrupted", "recovering", "restored",
    ] or record["achieved"]["rta_s"] == 0  # fmt: skip
    low, value, high = (record["achieved"][key] for key in ("rta_low_s", "rta_s", "rta_high_s"))
    assert low <= value <= high
    assert value <= record["objective"]["rto_s"]
    assert all(step["ended_s"] >= step["started_s"] for step in record["procedure"]["steps"])
    assert (Path(__file__).parents[2] / record["runbook"]).is_file()


def test_database_loses_no_acknowledged_write(held: Held) -> None:
    achieved = held.records[POD]["achieved"]
    assert achieved["writes"]["acknowledged"] >= 20
    assert achieved["writes"]["lost"] == 0
    assert achieved["rpa_s"] == 0
    assert achieved["rta_s"] > 0, "a killed database without a second of downtime was not killed"


def test_dead_node_shows_the_wait_of_kubernetes_as_its_own_step(held: Held) -> None:
    steps = held.records[NODE]["procedure"]["steps"]
    (notices,) = [step for step in steps if step["name"].startswith("Kubernetes notices")]
    # The node's last heartbeat is up to ten seconds old when it dies, and the grace period runs from there.
    assert 25 <= notices["ended_s"] - notices["started_s"] <= 120
    assert notices["by"] == "kubernetes"


def test_namespace_loses_what_was_sold_after_the_backup_and_nothing_else(held: Held) -> None:
    record = held.records[NAMESPACE]
    writes = record["achieved"]["writes"]
    assert 20 <= writes["lost"] < writes["acknowledged"]
    assert (writes["corrupted"], writes["duplicated"], writes["resurrected"]) == (0, 0, 0)
    assert record["achieved"]["rpa_s"] > 0
    assert record["backup"]["kind"] == "velero"
    identity = record["backup"].get("identity", record["backup"])
    assert identity["volumes"] == 1
    assert identity["volume_bytes"] > 1_000_000, "an empty volume's backup would be smaller than any database"


def test_backup_and_restore_leave_their_lines_in_the_audit_log(held: Held) -> None:
    said = (held.directory / NAMESPACE / "commands.log").read_text()
    asked = re.findall(r"\b(backup|restore) create (\S+)", said)
    lines = [json.loads(line) for line in (held.directory / NAMESPACE / "audit.jsonl").read_text().splitlines()]
    assert [(line["action"], line["resource"]) for line in lines] == [(f"{kind}_create", name) for kind, name in asked]
    assert {line["status"] for line in lines} == {"success"}
    for line in lines:
        assert list(line) == ["timestamp", "action", "user", "resource", "status", "details"]
        assert line["timestamp"].endswith("Z")
    assert lines[0]["details"].keys() >= {"namespaces", "storage_location", "size"}


def test_etcd_forgets_what_came_after_the_snapshot_and_the_cluster_works(held: Held) -> None:
    record = held.records[ETCD]
    assert 10 <= record["achieved"]["writes"]["lost"] < record["achieved"]["writes"]["acknowledged"]
    checks = {check["name"]: check["ok"] for check in record["checks"]}
    assert checks["a Deployment made after the restore gets its pods"]
    assert checks["web still shows its page, all the time"]
    commands = (held.directory / ETCD / "commands.log").read_text()
    assert re.search(r"etcdutl snapshot restore .*--bump-revision \d+ --mark-compacted", commands)


def test_run_leaves_everything_that_it_promises(held: Held) -> None:
    about = json.loads((held.directory / "run.json").read_text())
    assert about["run"] == held.directory.name
    assert about["images"]
    assert set(about["verdicts"]) == ALL
    assert (held.directory / "trend.png").read_bytes().startswith(b"\x89PNG")
    cases = ET.parse(held.directory / "junit.xml").getroot().findall(".//testcase")  # noqa: S314 - our own file
    assert len(cases) == len(ALL)
    allure = [json.loads(path.read_text()) for path in (held.directory / "allure-results").glob("*-result.json")]
    assert len(allure) == len(ALL)
    assert all(result["status"] == "passed" and result["steps"] and result["attachments"] for result in allure)
    page = (held.directory / "report.html").read_text()
    assert not re.search(r'(src|href)="(https?:)?//', page), "the page must need nothing from elsewhere"
    assert all(record["title"] in html.unescape(page) for record in held.records.values())


def test_log_holds_one_run_that_began_and_ended(held: Held) -> None:
    log = held.evidence / runs.LOG
    assert runs.verify(log) == []
    assert [entry["event"] for entry in runs.entries(log)] == ["start", "end", "seal"]
    assert runs.unfinished(log) == []


def test_terminal_closes_with_the_table(held: Held) -> None:
    table = held.output.partition("disaster recovery drills")[2]
    for drill in ALL:
        (line,) = [line for line in table.splitlines() if line.startswith(drill)]
        assert re.search(r"\bMet\b.* / ", line), line


def test_todays_code_judges_the_histories_the_same(held: Held) -> None:
    again = drills("recheck", "all", "--evidence-dir", str(held.evidence))
    assert (again.returncode, again.stdout.strip()) == (0, f"{len(ALL)} records judged again, no difference")
