import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser

import pytest
from drills.reports.account import flat, measured
from drills.reports.frame import read_evidence
from drills.reports.headline import headline
from drills.reports.page import write_page
from drills.reports.view import Problem, View, read_run

from drills.record import write_atomically

from .samples import COMPLETE, Story, write_many, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0}
MET = Story(**SHORT)
MISSED = Story(
    **SHORT, name="etcd_quorum_loss", title="三台の control plane のうち二台を失う。", rto_s=2.0, rpo_s=1.0, lost=40
)
STEPS = (("restore <it>", "velero restore create && echo '</code><script>alert(1)</script>'", 1.0, "human"),)
HOSTILE = Story(
    **SHORT,
    name="hostile",
    title='<script src="https://evil.example/x.js"></script>\x00\x1b[31m',
    steps=STEPS,
    proof=("<img src=//evil.example/p.png>",),
)


class Parsed(HTMLParser):
    """Every tag with its attributes, and tags that were never closed."""

    VOID = frozenset({"meta", "wbr", "br", "img", "link", "input", "hr"})

    def __init__(self, text):
        super().__init__()
        self.tags, self.open, self.errors, self.words = [], [], [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in self.VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        if not self.open or self.open.pop() != tag:
            self.errors.append(tag)

    def handle_data(self, data):
        if "style" not in self.open and data.strip():
            self.words.append(data.strip())


@pytest.fixture(scope="module")
def page(tmp_path_factory):
    evidence = tmp_path_factory.mktemp("evidence")
    write_many(evidence, 3, MET)
    run = write_run(evidence, MET, MISSED, HOSTILE)
    return write_page(run, read_evidence(evidence).honest()).read_text()


def test_the_page_is_well_formed_and_fetches_nothing(page):
    parsed = Parsed(page)
    assert parsed.errors == []
    assert parsed.open == []
    for tag, attributes in parsed.tags:
        assert tag not in ("script", "link", "iframe", "object", "img")
        for name in ("src", "href", "xlink:href", "data", "action", "srcset"):
            assert (attributes.get(name) or "#").startswith("#"), (tag, attributes)
        assert not any(name.startswith("on") for name in attributes)
    assert set(re.findall(r"url\((.)", page)) <= {"#"}
    assert "@import" not in page
    assert "default-src 'none'" in page


def test_the_first_line_says_missed_and_the_worst_gap(page):
    words = Parsed(page.split("<body>")[1]).words
    assert words[:3] == ["✗", "Missed:", "1 of 3 drills missed an objective."]
    lead = "".join(words[3:8])
    assert lead.startswith("Worst: etcd_quorum_loss")
    assert "over the R" in lead


def test_every_drill_has_its_row_and_its_section(page):
    parsed = Parsed(page)
    ids = {attributes["id"] for _, attributes in parsed.tags if "id" in attributes}
    assert {"drill-1", "drill-2", "drill-3"} <= ids
    names = [attributes.get("data-name") for tag, attributes in parsed.tags if tag == "td"]
    assert names.count("RTA / RTO") == 3
    for heading in (
        "The disaster, and the proof that it happened",
        "Where the time went",
        "The runbook as executed",
        "Data verification",
        "Recovery point used",
        "Checks after recovery",
        "Completeness of the evidence",
        "Who took part",
        "Sign-offs and corrective actions",
        "How it was measured",
    ):
        assert parsed.words.count(heading) == 3, heading
    assert parsed.words.count("Incident report, a draft") == 1, "one of the three missed"
    assert "三台の control plane のうち二台を失う。" in parsed.words
    assert any("registry.example/shop@sha256" in word for word in parsed.words), "run.json is shown"


def test_pictures_stand_in_the_page_in_two_widths_and_both_themes(page):
    parsed = Parsed(page)
    svgs = [attributes for tag, attributes in parsed.tags if tag == "svg"]
    assert len(svgs) == 2 * (2 * 3 + 1)
    assert all(attributes["role"] == "img" and attributes["aria-label"] for attributes in svgs)
    assert "prefers-color-scheme: dark" in page
    assert "@media print" in page
    ids = [attributes["id"] for _, attributes in parsed.tags if "id" in attributes]
    assert len(ids) == len(set(ids))


def test_no_control_character_reaches_the_page(page):
    assert not re.search("[\x00-\x08\x0b\x0c\x0e-\x1f]", page)


def test_records_with_nothing_in_them_still_make_a_page(tmp_path):
    run = tmp_path / "run"
    write_atomically(run / "bare" / "record.json", {"verdict": "INCONCLUSIVE"})
    write_atomically(run / "torn" / "record.json", '{"verdict": ')
    text = write_page(run).read_text()
    assert Parsed(text).errors == []
    assert "Inconclusive:" in text
    assert "torn/record.json" in text
    assert "No timeline:" in text


def test_an_empty_run_says_that_nothing_was_proven(tmp_path):
    assert "no drill left a record, so nothing was proven" in write_page(tmp_path).read_text()


def told(page):
    """What the page says, on one line."""
    return " ".join(" ".join(Parsed(page).words).replace("\u00a0", " ").split())


def sign(run, **fields):
    line = {
        "schema": "pytest-drills/sign-off/v1", "utc": "2026-11-22T10:00:00.000Z", "run": run.name, "drill": None,
        "by": "Ana Ito", "role": "reviewer", "decision": "accepted", "meta": {}, "issues": [], "actions": [],
        "comment": "",
    }  # fmt: skip
    with (run / "sign-offs.jsonl").open("a") as file:
        file.write(json.dumps(line | fields) + "\n")


def test_what_people_have_to_say_is_there_or_said_to_be_missing(tmp_path):
    run = write_run(tmp_path, replace(MET, extra=COMPLETE), Story(**SHORT, name="nobody_knows"))
    unsigned = told(write_page(run).read_text())
    assert "Bo Lind, operator" in unsigned
    assert "Participants Bo Lind (operator); Ana Ito (reviewer)" in unsigned
    assert "who approved it beforehand meta. approver" in unsigned, "of the drill that says nothing"
    assert "Sign-offs none recorded when this report was written" in unsigned
    action = {
        "id": "A-1",
        "text": "warm standby",
        "owner": "Bo Lind",
        "due": "2026-12-31",
        "state": "open",
        "retest": "",
    }
    sign(run, issues=["too slow"], actions=[action], comment="again in May")
    signed = told(write_page(run).read_text())
    assert "Sign-offs accepted by Ana Ito (reviewer), 2026-11-22" in signed
    assert "1 open, the first due 2026-12-31; 0 done" in signed
    assert "A-1: warm standby Bo Lind 2026-12-31 open" in signed
    assert "too slow" in signed
    assert "again in May" in signed


def test_a_sign_off_nobody_can_read_is_said(tmp_path):
    run = write_run(tmp_path, MET)
    (run / "sign-offs.jsonl").write_text('{"by": \n')
    assert "The sign-offs could not be read:" in told(write_page(run).read_text())


def test_the_runbook_stands_beside_plan_and_last_run(tmp_path):
    steps = (("restore it", "velero restore create", 1.0, "harness"),)
    expected = [{"name": "Restore it", "expected_s": 0.5}, {"name": "call the owner", "command": "", "expected_s": 60}]
    write_run(tmp_path, replace(MET, steps=(("restore it", "velero restore create", 2.0, "harness"),)))
    later = replace(MET, steps=steps, extra={"expected_steps": expected}, began=datetime(2026, 11, 22, tzinfo=UTC))
    run = write_run(tmp_path, later)
    (run / MET.name / "commands.log").write_text(
        "2026-11-22T00:00:05.500Z $ /usr/local/bin/velero --kubeconfig /secret/place/drill.kubeconfig restore create\n"
        "Restore completed\n-> rc=0 in 0.90 s\n"
    )
    page = told(write_page(run).read_text())
    assert "1. restore it velero restore create harness 1.12 s 1 s, late 0.5 s 2 s" in page
    assert (
        "$ velero --kubeconfig drill.kubeconfig restore create Restore completed rc 0, 0.9 s, began 00:00:05 UTC"
        in page
    )
    assert "/secret/place" not in page
    assert re.search("2. call the owner . . not run 60 s .", page)


def test_what_changed_since_the_last_run(tmp_path):
    write_run(tmp_path, MET)
    run = write_run(tmp_path, replace(MET, bad_until_s=3.9, rto_s=2.0, began=datetime(2026, 11, 22, tzinfo=UTC)))
    page = "".join(Parsed(write_page(run).read_text()).words).replace("\u00a0", " ")
    assert "Now missed, was met (last: 2026-11-21 09:33)." in page
    assert "(0.9 s slower)." in page
    assert "RTO is 2 s, was 60 s." in page


@pytest.mark.parametrize(
    ("records", "line"),
    [
        ([{}], "Met: the drill met its objectives. Service back after 18 s at most, 42 s inside the RTO of 60 s."),
        (
            [{}, {"drill": "b", "achieved": {"rta_s": 58.0, "rta_high_s": 59.0}}],
            "Met: all 2 drills met their objectives. "
            "Closest: b, service back after 59 s at most, 1 s inside the RTO of 60 s.",
        ),
        (
            [{}, {"drill": "b", "verdict": "MISSED", "achieved": {"rta_s": None}}],
            "Missed: 1 of 2 drills missed an objective. Worst: b, the service did not come back (RTO 60 s).",
        ),
        (
            [
                {"drill": "b", "verdict": "MISSED", "achieved": {"rta_s": 65.0}},
                {"drill": "twin", "verdict": "MISSED", "achieved": {"rta_s": 600.0}, "sabotage": ["procedure"]},
            ],
            "Missed: 2 of 2 drills missed an objective. Worst: b, service back after 65 s at most, "
            "5 s over the RTO of 60 s.",
        ),
        (
            [{}, {"drill": "twin", "verdict": "MISSED", "achieved": {"rta_s": 65.0}, "sabotage": ["procedure"]}],
            "Missed: 1 of 2 drills missed an objective. Worst: twin (sabotaged on purpose), service back after 65 s "
            "at most, 5 s over the RTO of 60 s.",
        ),
        (
            [{}, {"drill": "twin", "verdict": "INCONCLUSIVE", "why": "no damage was observed", "sabotage": ["fault"]}],
            "Inconclusive: 1 of 2 drills proved nothing. twin (sabotaged on purpose): no damage was observed.",
        ),
        (
            [{"verdict": "MISSED", "why": "check failed: secret"}],
            "Missed: the drill missed its objectives. a: check failed: secret.",
        ),
        (
            [{}, {"verdict": "INCONCLUSIVE", "why": "no damage was observed"}],
            "Inconclusive: 1 of 2 drills proved nothing. a: no damage was observed.",
        ),
        (
            [{"verdict": "ENVIRONMENT", "why": "kind failed"}],
            "Environment failed: the drill could not be run. a: kind failed.",
        ),
    ],
)
def test_headlines(records, line):
    base = {
        "drill": "a",
        "verdict": "MET",
        "objective": {"rto_s": 60.0},
        "achieved": {"rta_s": 17.9, "rta_high_s": 18.0},
    }
    assert headline([View.of(base | record) for record in records]).line == line


def test_a_record_nobody_can_read_is_no_pass(tmp_path):
    problem = Problem(tmp_path / "x" / "record.json", "broken")
    met = View.of({"verdict": "MET"})
    assert headline([met], [problem]).line == "Inconclusive: 1 of 2 drills proved nothing. x: broken."


def test_sabotage_is_remarked(tmp_path):
    run = write_run(tmp_path, Story(**SHORT, sabotage=("fault",), proved=False))
    assert "sabotaged on purpose" in headline(*read_run(run)).remark


@pytest.mark.parametrize(
    ("detection", "said"),
    [
        (None, ""),
        ({"by": "a user", "t_s": 3.0, "alert": None, "over_s": None}, "Detected after 3 s by a user"),
        (
            {"by": "alert X", "t_s": 421.25, "alert": {"receiver": "critical"}, "over_s": 460.0},
            "Detected after 7 min 1 s by alert X, sent to critical; over after 7 min 40 s",
        ),
        ({"by": "", "t_s": "soon", "alert": "x"}, ""),
    ],
)
def test_what_noticed_the_disaster_is_said_where_it_is_known(detection, said):
    assert View.of({"verdict": "MET", "detection": detection}).noticed == said


def test_the_page_says_what_noticed_the_disaster(page):
    assert "Detected after 0.82 s by probe." in page


def test_images_of_the_teams_own_are_named_as_they_are():
    digests = {"registry.example.com/order_service:1_2": "sha256:abc", "mailer:7": "sha256:def"}
    told = dict(measured(View.of({"verdict": "MET", "environment": {"kind": "kind", "images": digests}})))
    assert told["environment: kind"] == "kind"
    assert told["images of the team's own"] == "registry.example.com/order_service:1_2 sha256:abc, mailer:7 sha256:def"
    assert not [name for name, _ in measured(View.of({"verdict": "MET", "environment": 7})) if "environment" in name]


def test_nested_facts_become_lines():
    facts = {
        "user": "a",
        "dirty": True,
        "ci": {},
        "packages": {"pytest_kind": "1"},
        "nodes": [{"name": "n1"}],
        "argv": ["x", "y"],
    }
    assert flat(facts) == [
        ("user", "a"),
        ("dirty", "yes"),
        ("packages: pytest kind", "1"),
        ("nodes: 1: name", "n1"),
        ("argv", "x y"),
    ]
