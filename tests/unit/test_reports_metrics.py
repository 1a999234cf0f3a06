from datetime import UTC, datetime

import pytest
from drills.reports.metrics import render_metrics, write_metrics
from drills.reports.results import results_of
from drills.reports.view import View
from prometheus_client.openmetrics.parser import text_string_to_metric_families as openmetrics
from prometheus_client.parser import text_string_to_metric_families as text_format

from .samples import Story, record_of, tell, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT)
MISSED = Story(**SHORT, name="etcd_quorum_loss", rto_s=2.0, lost=3, scenario="scenarios/test_etcd.py")
SABOTAGED = Story(**SHORT, name="node_lost", rto_s=1.0, sabotage=("procedure",))

parsers = pytest.mark.parametrize("parser", [openmetrics, text_format], ids=["OpenMetrics", "text format"])


def samples(text, parser=openmetrics):
    """Every sample by its name and its labels."""
    return {
        (sample.name, *sorted(sample.labels.items())): sample.value
        for family in parser(text)
        for sample in family.samples
    }


def value(found, name, **labels):
    (number,) = [number for key, number in found.items() if key[0] == name and set(labels.items()) <= set(key[1:])]
    return number


@pytest.fixture(scope="module")
def text(tmp_path_factory):
    return write_metrics(write_run(tmp_path_factory.mktemp("evidence"), MET, MISSED, SABOTAGED)).read_text()


@parsers
def test_the_figures_are_those_of_the_records(text, parser):
    found = samples(text, parser)
    etcd = {"drill": "etcd_quorum_loss", "scenario": "scenarios/test_etcd.py"}
    assert value(found, "drills_run_verdict", verdict="MISSED") == 1
    assert value(found, "drills_run_verdict", verdict="MET") == 0
    assert value(found, "drills_verdict", **etcd, verdict="MISSED") == 1
    assert value(found, "drills_verdict", **etcd, verdict="MET") == 0
    assert value(found, "drills_standing", **etcd, standing="FAILED") == 1
    assert value(found, "drills_standing", drill=MET.name, standing="INCOMPLETE") == 1
    assert value(found, "drills_missing_fields", **etcd) > 3
    low, rta, high = (value(found, f"drills_rta_{name}seconds", **etcd) for name in ("low_", "", "high_"))
    assert 2.9 < low < rta <= high < 3.1
    assert 0 < value(found, "drills_rpa_seconds", **etcd) < 1
    assert value(found, "drills_objective_seconds", **etcd, objective="rto") == 2
    assert value(found, "drills_objective_seconds", **etcd, objective="rpo") == 30
    assert value(found, "drills_writes", **etcd, outcome="lost") == 3
    assert value(found, "drills_writes", drill=MET.name, outcome="lost") == 0
    began = datetime(2026, 11, 21, 9, 33, 6, tzinfo=UTC).timestamp()
    assert began < value(found, "drills_last_run_timestamp_seconds", **etcd) < began + 60


def test_each_state_is_one_of_its_set(text):
    found = samples(text)
    for name, number in (("drills_verdict", 4), ("drills_standing", 5)):
        states = [state for key, state in found.items() if key[0] == name and ("drill", MET.name) in key]
        assert len(states) == number
        assert sum(states) == 1


def test_types_are_those_that_the_older_format_knows(text):
    assert {line.split()[3] for line in text.splitlines() if line.startswith("# TYPE")} == {"gauge"}
    assert text.endswith("# EOF\n")


def test_what_was_not_measured_has_no_sample():
    record = record_of(MET, tell(MET))
    record["verdict"] = "MISSED"
    record["achieved"] |= {"rta_s": None, "rta_low_s": None, "rta_high_s": None, "rpa_s": None}
    record["losses"]["read"] = False
    record["objective"]["rpo_s"] = None
    found = samples(render_metrics(results_of([View.of(record)], [], "run")).decode())
    assert value(found, "drills_verdict", verdict="MISSED") == 1
    names = [key[0] for key in found]
    assert not [name for name in names if name.startswith(("drills_rta", "drills_rpa"))]
    assert [dict(key[1:])["objective"] for key in found if key[0] == "drills_objective_seconds"] == ["rto"]
    assert [dict(key[1:])["outcome"] for key in found if key[0] == "drills_writes"] == ["acknowledged"]


def test_sabotaged_drills_are_counted_and_no_more(text):
    assert "node_lost" not in "\n".join(text.splitlines()[1:])
    assert value(samples(text), "drills_run_drills") == 3
    assert value(samples(text), "drills_run_sabotaged") == 1


def test_a_drill_held_twice_has_one_series_that_of_the_worse(tmp_path):
    record = record_of(MET, tell(MET))
    views = [View.of({**record, "verdict": verdict}) for verdict in ("MET", "MISSED", "MET")]
    rendered = render_metrics(results_of(views, [], "run")).decode()
    lines = [line.rpartition(" ")[0] for line in rendered.splitlines() if not line.startswith("#")]
    assert len(lines) == len(set(lines))
    assert value(samples(rendered), "drills_verdict", verdict="MISSED") == 1


@parsers
def test_it_is_valid_with_any_text(parser):
    text = 'a"b\\c\n{d="e"} \x00\x1b[31m\ufffe 壊れた'
    views = [View.of({"verdict": "MISSED", "drill": text, "scenario": text, "why": text})]
    rendered = render_metrics(results_of(views, [], text, {"why": text})).decode()
    found = samples(rendered, parser)
    assert value(found, "drills_verdict", verdict="MISSED", drill='a"b\\c\n{d="e"}  壊れた') == 1
    assert rendered.startswith("# HELP drills_run_verdict MISSED: the drill missed")


def test_no_series_but_the_runs_own_holds_its_id(text):
    named = [line.partition("{")[0] for line in text.splitlines() if 'run="' in line]
    assert named == ["drills_run_info"]
