"""The plan's loader: what it gives, what it refuses and where it says so."""

import hashlib
import json
import os
import re
from datetime import date, timedelta
from pathlib import Path

import pytest
import yaml
from hypothesis import example, given, settings
from hypothesis import strategies as st
from jsonschema import Draft202012Validator

from drills import plan
from drills.errors import UsageError
from drills.objectives import Objective
from drills.plan import parse

ROOT = Path(__file__).parents[2]
SAMPLE = ROOT / "docs/sample/dr-plan.yaml"
OWN = ROOT / "dr-plan.yaml"

WHOLE = """\
schema: pytest-drills/plan/v1
version: 1.10
updated: 2026-11-21
objectives:
  tier:
    critical: {rto: 1 hour, rpo: 15 minutes, mtd: 4h, source: BIA 2026}
    low: {rto: 3 days, rpo: 1 week}
  object:
    secrets: {rpo: 0}
backups:
  etcd: {every: 6 hours, retention: 30 days}
procedures:
  restore:
    runbook: https://wiki.example/restore
    steps:
      - {step: fetch it, command: aws s3 cp, expected: 10 minutes}
      - {step: look, expected: 90s}
      - {step: hope}
defaults:
  frequency: quarterly
  participants: [{name: Hana, role: operator}]
  approver: Aiko
  scope: {systems: [shop], data: [orders]}
drills:
  etcd_wiped:
    objective: tier/critical
    tier: critical
    environment: production
    procedure: restore
    backup: etcd
    controls: [CP-9, 8.5]
    why: it happens
    approver: Ken
    approved_on: 2026-11-01
    scope: {data: [keys]}
    next: 2026-12-01
  etcd_*: {objective: [tier/low, object/secrets], frequency: 45 days}
  etcd_wiped_*: {objective: tier/low}
  twin: {objective: tier/low, scenario: scenarios/test_a.py}
gaps:
  - {what: the archive, why: costs, until: 2027-01-01}
"""
MINIMAL = """\
schema: pytest-drills/plan/v1
version: "1"
objectives: {g: {c: {rto: 1h}}}
drills: {d: {objective: g/c}}
"""


def problems(text):
    """What the loader says of a plan, a line a problem, without the file's name."""
    with pytest.raises(UsageError) as refused:
        parse(text, Path("p.yaml"))
    lines = str(refused.value).splitlines()
    assert all(line.startswith("p.yaml:") for line in lines)
    return [line.removeprefix("p.yaml:") for line in lines]


def altered(old, new):
    assert WHOLE.count(old) == 1
    return WHOLE.replace(old, new)


# --- what it gives ---


def test_a_drill_gets_all_that_the_plan_says_of_it():
    found = parse(WHOLE).entry_for("etcd_wiped", "scenarios/test_etcd.py")
    assert found.name == "etcd_wiped"
    assert found.objective == Objective("1h", "15m", "4h", source="dr-plan.yaml 1.10, tier/critical: BIA 2026")
    assert (found.tier, found.environment, found.controls) == ("critical", "production", ("CP-9", "8.5"))
    assert (found.backup, found.runbook) == (("etcd",), "https://wiki.example/restore")
    assert found.frequency == timedelta(days=92)
    assert found.expected_steps() == [
        {"name": "fetch it", "command": "aws s3 cp", "expected_s": 600.0},
        {"name": "look", "command": "", "expected_s": 90.0},
        {"name": "hope", "command": "", "expected_s": None},
    ]
    assert found.meta() == {
        "participants": [{"name": "Hana", "role": "operator"}],
        "approver": "Ken",
        "approved_on": "2026-11-01",
        "planned_on": "2026-12-01",
        "scope": {"systems": ["shop"], "data": ["keys"]},
        "why": "it happens",
    }


def test_of_several_classes_each_figure_is_the_strictest():
    objective = parse(WHOLE).entry_for("etcd_lost").objective
    assert (objective.rto, objective.rpo, objective.mtd) == (timedelta(days=3), timedelta(0), None)
    assert objective.source == "dr-plan.yaml 1.10, tier/low; object/secrets"


@pytest.mark.parametrize(
    ("drill", "scenario", "entry"),
    [
        ("etcd_wiped", "", "etcd_wiped"),
        ("etcd_wiped_twice", "", "etcd_wiped_*"),
        ("etcd_lost", "", "etcd_*"),
        ("pod_lost", "", None),
        ("twin", "scenarios/test_a.py", "twin"),
        ("twin", "/site-packages/drills/scenarios/test_a.py", "twin"),
        ("twin", "scenarios/test_b.py", None),
        ("twin", "more-scenarios/test_a.py", None),
        ("twin", "", "twin"),
    ],
)
def test_a_drill_has_its_own_entry_before_any_pattern(drill, scenario, entry):
    found = parse(WHOLE).entry_for(drill, scenario)
    assert (found.name if found else None) == entry


def test_scalars_keep_what_was_written():
    found = parse(
        MINIMAL.replace('"1"', "1.10").replace("g/c}", "g/c, tier: no, why: 2026-01-01, controls: [8.5, 010]}")
    )
    entry = found.entry_for("d")
    assert (found.version, entry.tier, entry.why, entry.controls) == ("1.10", "no", "2026-01-01", ("8.5", "010"))


def test_a_plan_is_known_by_path_digest_and_version(tmp_path, monkeypatch):
    path = tmp_path / "sub" / "dr-plan.yaml"
    path.parent.mkdir()
    path.write_bytes(b"\xef\xbb\xbf" + WHOLE.encode())
    found = plan.load(path)
    digest = hashlib.sha256(path.read_bytes()).hexdigest()  # of the bytes, the mark at their beginning included
    assert (found.path, found.sha256, found.version) == (path, digest, "1.10")
    monkeypatch.chdir(tmp_path)
    entry = found.entry_for("etcd_wiped")
    assert found.reference(entry) == {
        "path": "sub/dr-plan.yaml", "sha256": digest, "version": "1.10", "entry": "etcd_wiped",
    }  # fmt: skip
    assert found.reference(None)["entry"] is None


def test_a_plan_outside_of_the_working_directory_is_known_by_its_name_alone(tmp_path, monkeypatch):
    (tmp_path / "a").mkdir()
    (tmp_path / "dr-plan.yaml").write_text(MINIMAL)
    monkeypatch.chdir(tmp_path / "a")
    assert plan.load(Path("../dr-plan.yaml")).reference(None)["path"] == "dr-plan.yaml"


def test_the_plan_is_the_one_given_else_the_one_in_the_root(tmp_path):
    assert plan.find(None, tmp_path) is None
    (tmp_path / "dr-plan.yaml").write_text(MINIMAL)
    (tmp_path / "other.yaml").write_text(WHOLE)
    assert plan.find(None, tmp_path).version == "1"
    assert plan.find(tmp_path / "other.yaml", tmp_path).version == "1.10"
    with pytest.raises(UsageError, match=r"none\.yaml: found it unreadable \(No such file or directory\)"):
        plan.find(tmp_path / "none.yaml", tmp_path)


@pytest.mark.parametrize(
    ("text", "days"),
    [
        ("daily", 1), ("weekly", 7), ("Monthly", 31), ("quarterly", 92), ("half-yearly", 184), ("half yearly", 184),
        ("yearly", 366), ("90 days", 90), ("every 2 weeks", 14), ("1 month", 30), ("48h", 2),
    ],
)  # fmt: skip
def test_frequencies(text, days):
    found = parse(MINIMAL.replace("g/c}", f"g/c, frequency: {text}}}"))
    assert found.entry_for("d").frequency == timedelta(days=days)


@pytest.mark.parametrize("text", ["quartely", "0", "90", "12 hours", "36h", "11 years", "-5 days", "often", "[daily]"])
def test_other_frequencies_are_refused(text):
    (problem,) = problems(MINIMAL.replace("g/c}", f"g/c, frequency: {text}}}"))
    assert "drills.d.frequency: found" in problem
    assert "accepted: daily, weekly, monthly, quarterly, half-yearly, yearly" in problem


@pytest.mark.parametrize(
    ("schedule", "gap"),
    [
        ("* * * * *", timedelta(minutes=1)),
        ("0 */6 * * *", timedelta(hours=6)),
        ("0 2 * * *", timedelta(days=1)),
        ("0 2,3 * * *", timedelta(hours=23)),
        ("*/25 * * * *", timedelta(minutes=25)),
        ("30 4 * * 0", timedelta(days=7)),
        ("30 4 * * 7", timedelta(days=7)),
        ("0 0 * * mon-fri", timedelta(days=3)),
        ("0 0 1 * *", timedelta(days=31)),
        ("0 0 31 * *", timedelta(days=61)),
        ("0 0 1 jan,jul *", timedelta(days=184)),
        ("0 0 29 2 *", timedelta(days=1461)),
        ("0 0 1,15 * mon", timedelta(days=7)),  # cron: either of the two
        ("0 9-17/4 * * *", timedelta(hours=16)),
        ("@hourly", timedelta(hours=1)),
        ("@daily", timedelta(days=1)),
        ("@yearly", timedelta(days=366)),
        ("@every 90m", timedelta(minutes=90)),
        ("@every 1h30m0.5s", timedelta(seconds=5400.5)),
        ("0 0 1 * ?", timedelta(days=31)),  # ? is a star, in Go's cron and in Quartz
        ("0 0 ? * mon", timedelta(days=7)),
        ("0 0 1 * */1", timedelta(days=31)),  # a star to Debian's cron and to Go's; to others every day
        ("0 0 */1 * mon", timedelta(days=7)),
        ("0 0 */2 * mon", timedelta(days=21)),  # Debian's cron: odd Mondays only; Go's: every second day or Monday
        ("0 0 13 * */5", timedelta(days=336)),  # 13th on Sunday or Friday, or either of them
        ("0 0 *,1 * mon", timedelta(days=7)),
        ("0 0 1-31 * mon", timedelta(days=1)),  # no star: one of the two is enough, to every cron
        ("0 0 1 * 0-6", timedelta(days=1)),
        ("0 0 29 2 mon", timedelta(days=350)),
    ],
)
def test_a_schedule_promises_its_longest_gap(schedule, gap):
    found = parse(MINIMAL + f"backups: {{b: {{schedule: '{schedule}', retention: 5 years}}}}\n")
    assert found.backups["b"].longest_gap == gap


@pytest.mark.parametrize(
    "schedule",
    ["60 * * * *", "* 24 * * *", "* * 0 * *", "* * * 13 *", "* * * * 8", "* * * *", "* * * * * *", "*/0 * * * *",
     "5-1 * * * *", "a * * * *", "1,, * * * *", "0 0 30 2 *", "@often", "@every soon", "٣ * * * *", "", "-1 * * * *",
     "@every 1 month", "@every 1d", "@every 1 h", "@every -1h", "@every 0s", "@every 10ms", "@every", "@every 1h 30m",
     "0 0 ?/0 * *", "0 0 L * *", "0 0 * * mon#1"],
)  # fmt: skip
def test_a_schedule_that_cron_would_not_take_is_refused(schedule):
    (problem,) = problems(MINIMAL + f"backups: {{b: {{schedule: '{schedule}', retention: 1 week}}}}\n")
    assert problem.startswith("5:25: backups.b.schedule: found")
    assert "accepted" in problem


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("30 days", (timedelta(days=30), None)), ("4 weeks", (timedelta(days=28), None)),
        ("7 years", (timedelta(days=2555), None)), ("3 copies", (None, 3)), ("1 copy", (None, 1)),
        ("unlimited", (None, None)),
    ],
)  # fmt: skip
def test_retention(text, expected):
    found = parse(MINIMAL + f"backups: {{b: {{every: 1h, retention: {text}}}}}\n").backups["b"].retention
    assert (found.length, found.copies) == expected


# --- what it refuses ---


@pytest.mark.parametrize("text", ["3m", "6M", "3 m", "1h 3m", "12M", "1h3M"])
def test_a_retention_that_two_tools_read_differently_is_refused(text):
    """Barman's and CloudNativePG's m is months."""
    (problem,) = problems(MINIMAL + f"backups: {{b: {{every: 1s, retention: {text}}}}}\n")
    assert problem.startswith(f"5:37: backups.b.retention: found '{text}'")
    assert "is minutes to one reader and months to another; expected " in problem


@pytest.mark.parametrize("text", ["6M", "1h6M", "1hs", "5ms1hs", "0.0000000001s", "9" * 400 + "d", "1e3s", "٣s"])
def test_a_duration_that_is_ambiguous_or_none_is_refused(text):
    (problem,) = problems(MINIMAL.replace("rto: 1h", f"rto: {text}"))
    assert problem.startswith("3:27: objectives.g.c.rto: found")
    assert "accepted: a number with its unit" in problem or "M is minutes to one reader" in problem


@pytest.mark.parametrize(
    ("name", "offered"),
    [
        ("test_etcd_wiped", "etcd_wiped"), ("restored[a]", "restored_a"), ("restored[A-1]", "restored_a-1"),
        ("test_x.py::test_restored[a]", "restored_a"), ("restored_?", "restored"), ("Restored_A", "restored_a"),
    ],
)  # fmt: skip
def test_an_entry_that_no_drill_can_have_is_refused(name, offered):
    (problem,) = problems(MINIMAL.replace("{d: {", f"{{'{name}': {{"))
    assert f"drills.{name}: invalid value '{name}', which no drill is called: expected a drill's name" in problem
    assert problem.endswith(f"did you mean {offered!r}?")


@pytest.mark.parametrize(
    "name", ["etcd_wiped", "etcd_*", "whole cluster is lost", "*", "RDS fails", "数据库", "x.repeat-1"]
)
def test_an_entry_that_a_drill_can_have_and_a_planned_one_in_words_are_taken(name):
    assert list(parse(MINIMAL.replace("{d: {", f"{{'{name}': {{")).drills) == [name]


def test_a_pipe_is_refused_and_not_waited_for(tmp_path):
    os.mkfifo(tmp_path / "dr-plan.yaml")
    with pytest.raises(UsageError, match=r"invalid value a named pipe: expected a regular file"):
        plan.load(tmp_path / "dr-plan.yaml")


@pytest.mark.parametrize(
    ("old", "new", "said"),
    [
        ("plan/v1", "plan/v2", "1:9: schema: found 'pytest-drills/plan/v2'; accepted: pytest-drills/plan/v1"),
        ("version: 1.10\n", "", "1:1: version: not there; accepted: a value"),
        ("updated: 2026-11-21", "updated: 2026-02-30", "3:10: updated: found '2026-02-30'; accepted: a day"),
        ("updated: 2026-11-21", "updated: 1700000000", "3:10: updated: found '1700000000'; accepted: a date"),
        ("updated: 2026-11-21", "contact: {a: b}", "3:1: contact: not known; accepted: schema, version, updated"),
        ("rto: 3 days,", "rot: 3 days,", "7:11: objectives.tier.low.rot: not known; accepted: rto, rpo, mtd,"),
        ("rto: 3 days,", "rto: 3,", "7:16: objectives.tier.low.rto: found '3'; accepted: a number with its unit"),
        ("rto: 3 days,", "rto: 1:30,", "7:16: objectives.tier.low.rto: found '1:30'; accepted: a number with its unit"),
        ("rto: 3 days,", "rto: -1h,", "7:16: objectives.tier.low.rto: found '-1h'; accepted: a number with its unit"),
        ("rto: 3 days,", "rto: ,", "7:15: objectives.tier.low.rto: found nothing after the name"),
        ("mtd: 4h", "mtd: 4m", "6:51: objectives.tier.critical.mtd: found 4 min; accepted: at least the rto, 1 h"),
        ("{rpo: 0}", "{note: x}", "9:14: objectives.object.secrets: found neither rto nor rpo"),
        ("{rpo: 0}", "[x]", "9:14: objectives.object.secrets: found a list; accepted: fields"),
        ("    low: {rto", "    critical: {rto", "7:5: objectives.tier.critical: found a second time, first in line 6"),
        ("every: 6 hours", "every: 31 days", "11:37: backups.etcd.retention: found 30 d; accepted: at least 31 d"),
        ("every: 6 hours, ", "", "11:9: backups.etcd: found every and schedule, or neither; accepted: one of them"),
        ("{step: hope}", "{command: hope}", "18:9: procedures.restore.steps[2].step: not there"),
        ("{step: hope}", "{step: hope, expect: 1s}", "steps[2].expect: not known; accepted: step, command, expected"),
        ("Hana, role: operator}", "Hana}", "21:18: defaults.participants[0].role: not there"),
        ("objective: tier/critical", "objective: tier/critcal", "etcd_wiped.objective: found 'tier/critcal'; accepted"),
        ("objective: tier/critical", "objective: tier/critcal", "did you mean 'tier/critical'?"),
        ("objective: tier/critical", "objective: critical", "26:16: drills.etcd_wiped.objective: found 'critical'"),
        ("objective: tier/critical", "objective: []", "drills.etcd_wiped.objective: found an empty list"),
        ("[tier/low, object/secrets]", "[tier/low, object/x]", "37:34: drills.etcd_*.objective[1]: found 'object/x'"),
        ("tier: critical", "tier: crit", "27:11: drills.etcd_wiped.tier: found 'crit'; accepted: critical, low"),
        ("procedure: restore", "procedure: pray", "29:16: drills.etcd_wiped.procedure: found 'pray'"),
        ("backup: etcd", "backup: [etcd, tape]", "30:20: drills.etcd_wiped.backup[1]: found 'tape'; accepted: etcd"),
        ("approver: Ken", "type: fuul", "33:11: drills.etcd_wiped.type: found 'fuul'; accepted: component"),
        ("until: 2027-01-01", "until: later", "gaps[0].until: found 'later'; accepted: a date such as 2026-11-21"),
        ("why: it happens", "why: ''", "32:10: drills.etcd_wiped.why: found ''; accepted: text"),
        ("why: it happens", "why: {a: b}", "32:10: drills.etcd_wiped.why: found names with values; accepted: text"),
        ("  object:", "  ob/ject:", "8:3: objectives.ob/ject: found a name with a slash"),
        ("    secrets:", "    sec/rets:", "9:5: objectives.object.sec/rets: found a name with a slash"),
        ("why: it happens", "why: !!python/object:os.system x", "32:10: drills.etcd_wiped.why: found the tag"),
        ("why: it happens", 'why: "\\ud800"', "32:10: drills.etcd_wiped.why: found half a character"),
        ("  etcd: {every", "  ? [a]\n  : {every", "11:5: backups.line 11, column 5: found no name"),
    ],
)  # fmt: skip
def test_what_is_wrong_is_named_with_its_place(old, new, said):
    text = WHOLE.replace(old, new) if WHOLE.count(old) > 1 else altered(old, new)
    assert any(said in problem for problem in problems(text)), problems(text)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "1:1: found nothing; accepted: a plan"),
        ("# only words\n", "1:1: found nothing; accepted: a plan"),
        ("- a\n", "1:1: found a list; accepted: fields"),
        ("a: [1\nb: 2\n", "2:2: not YAML: while parsing a flow sequence"),
        ("a: b: c\n", "1:5: not YAML: mapping values are not allowed here"),
        ("a: 1\n\tb: 2\n", "2:1: not YAML"),
        ("a: 1\n--- \nb: 2\n", "2:1: not YAML"),
        ("a: &x 1\nb: *x\n", "1:4: not YAML: found an anchor"),
        ("a: &x [*x]\n", "1:4: not YAML: found an anchor"),
        ("a: *x\n", "1:4: not YAML: found an alias"),
        ("a: 1\nb: {c: &unused [1]}\n", "2:8: not YAML: found an anchor"),
        ("a: " + "[" * 1000, "1:23: not YAML: found more than 20 levels of nesting"),
        ("a: 1\nb: \x00\n", "2:4: found the character"),
        ('a: "\\UFFFFFFFF"\n', "not YAML"),
        ("%YAML 1." + "9" * 5000 + "\n--- a\n", "not YAML"),
    ],
)
def test_what_is_no_plan_at_all_is_refused_with_its_place(text, said):
    (problem, *_) = problems(text)
    assert said in problem


def test_text_that_is_not_utf_8_is_refused_with_its_place(tmp_path):
    path = tmp_path / "p.yaml"
    path.write_bytes(b"a: 1\nb: \xff\n")
    with pytest.raises(UsageError) as refused:
        plan.load(path)
    assert str(refused.value).startswith(f"{path}:2:4: found ")


def test_all_errors_are_named_at_once_in_the_order_of_the_file():
    text = WHOLE.replace("rto: 1 hour", "rto: soon").replace("every: 6 hours", "schedule: '* *'")
    text = text.replace("procedure: restore", "procedure: pray").replace("frequency: 45 days", "frequenzy: 45 days")
    found = problems(text)
    assert [problem.split(": ")[1] for problem in found] == [
        "objectives.tier.critical.rto", "backups.etcd.schedule",
        "drills.etcd_wiped.procedure", "drills.etcd_*.frequenzy",
    ]  # fmt: skip
    assert found == sorted(found, key=lambda problem: [int(part) for part in problem.split(":")[:2]])


# --- any text ---


def as_text(written):
    """A plan as the loader reads it: YAML without types."""
    return yaml.load(written, yaml.BaseLoader)  # noqa: S506 - makes nothing but text


PLACED = r"\d+:\d+: .+"
SNIPPETS = st.sampled_from(
    ["x: y", "- a", "? b", "&a", "*a", "!!binary", "rto: 1h", "rpo:", "[", "]", "{", "}", '"', "'", "|", ">", "#",
     "%YAML",
     "---", "...", "\t", "\ufeff", "\x85", "\ud800", "\x00", "1e999", "9" * 400, "<<: {a: b}", "null", "0", "@", "`"]
)  # fmt: skip


@st.composite
def mutilated(draw):
    """The whole plan with something cut out and something put in."""
    begin = draw(st.integers(0, len(WHOLE)))
    end = draw(st.integers(begin, min(len(WHOLE), begin + 40)))
    return WHOLE[:begin] + draw(st.one_of(SNIPPETS, st.text(max_size=8))) + WHOLE[end:]


VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=8), st.dates(), st.binary(max_size=4),
        st.sampled_from(["1h", "9999999999 weeks", "g/c", "@every 1h", "0 0 31 2 *", "99999999999999 years"]),
    ),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from([*"abc", "rto", "objective"]), inner),
    max_leaves=6,
)  # fmt: skip


@st.composite
def misfilled(draw):
    """The whole plan with one value, however deep, replaced by any other."""
    data = as_text(WHOLE)
    part = data
    while True:
        key = draw(st.sampled_from(sorted(part) if isinstance(part, dict) else range(len(part))))
        if not isinstance(part[key], dict | list) or not part[key] or draw(st.booleans()):
            break
        part = part[key]
    part[key] = draw(VALUES)
    return yaml.safe_dump(data, allow_unicode=True)


@given(st.one_of(mutilated(), misfilled(), st.lists(SNIPPETS).map("\n".join), st.text()))
@example('"\\x')
@example("schema: pytest-drills/plan/v1\nversion: '1'\nobjectives: {}\ndrills: {a: {objective: t}}")
@example("schema: pytest-drills/plan/v1\nversion: '1'\nobjectives: {t: {}}\ndrills: {a: {objective: t}}")
@example("a: !<tag:yaml.org,2002:str> b")
@example("? ? ? a")
@example('"\\ud800": 1')
@example('"a\\nb": 1')
@settings(max_examples=200, deadline=None)
def test_any_text_is_a_plan_or_is_refused_with_places(text):
    message = ""
    try:
        found = parse(text, Path("p.yaml"))
    except UsageError as refused:
        message = str(refused)
    else:
        assert all(entry.objective.rto is not None or entry.objective.rpo is not None for entry in found.entries)
        found.doubts()
    assert [line for line in message.split("\n") if line and not re.fullmatch(rf"p\.yaml:{PLACED}", line)] == []
    message.encode()  # it can be printed


# --- doubts ---


def doubts(text, tmp_path):
    path = tmp_path / "dr-plan.yaml"
    path.write_text(text)
    return [str(doubt) for doubt in plan.load(path).doubts()]


def test_a_plan_that_promises_what_it_cannot_keep_is_doubted(tmp_path):
    text = altered("https://wiki.example/restore", "restore.md").replace("expected: 10 minutes", "expected: 1 hour")
    assert doubts(text, tmp_path) == [
        "14:14: procedures.restore.runbook: found 'restore.md', which is not there; accepted: a file's path from the "
        "plan's directory",
        "29:16: drills.etcd_wiped.procedure: its steps are expected to take 3690 s, the rto is 1 h",
        "30:13: drills.etcd_wiped.backup: up to 6 h pass between two backups 'etcd', the rpo is 15 min",
    ]


def test_a_sound_plan_is_not_doubted(tmp_path):
    (tmp_path / "restore.md").write_text("# How\n")
    text = altered("https://wiki.example/restore", "restore.md").replace("every: 6 hours", "every: 15 minutes")
    assert doubts(text, tmp_path) == []


# --- expected and measured ---


def step(name, took, by="harness"):
    ended = None if took is None else 10.0 + took
    return {"name": name, "command": f"do {name}", "by": by, "started_s": 10.0, "ended_s": ended, "state": "ended"}


def expected(name, seconds):
    return {"name": name, "command": "as planned", "expected_s": seconds}


def test_expected_and_measured_durations_are_compared():
    record = {
        "procedure": {
            "steps": [
                step("Fetch  it", 130.0), step("restore", 59.0), step("wait", 20.0), step("quick", 0.1),
                step("cut off", None), step("unasked", 3.0), step("untimed", 4.0),
                step("again", 1.0), step("again", 9.0),
            ]
        },
        "expected_steps": [
            expected("fetch it", 100.0), expected("restore", 60.0), expected("wait", 60.0), expected("quick", 5.0),
            expected("cut off", 60.0), expected("untimed", None), expected("again", 2.0), expected("again", 3.0),
            expected("left out", 7.0),
        ],
    }  # fmt: skip
    found = plan.compare(record)
    assert [(each.name, each.expected_s, each.measured_s, each.ratio, each.pace) for each in found] == [
        ("Fetch  it", 100.0, 130.0, 1.3, "over"),
        ("restore", 60.0, 59.0, pytest.approx(59 / 60), "within"),
        ("wait", 60.0, 20.0, pytest.approx(1 / 3), "under"),
        ("quick", 5.0, 0.1, 0.02, "within"),
        ("cut off", 60.0, None, None, "open"),
        ("unasked", None, 3.0, None, "not planned"),
        ("untimed", None, 4.0, None, "open"),
        ("again", 2.0, 1.0, 0.5, "within"),
        ("again", 3.0, 9.0, 3.0, "over"),
        ("left out", 7.0, None, None, "not run"),
    ]
    assert (found[0].command, found[0].by) == ("do Fetch  it", "harness")
    assert (found[-1].command, found[-1].by) == ("as planned", "")


def test_a_record_from_before_the_plan_is_compared_with_what_is_given():
    record = {"procedure": {"steps": [step("restore", 5.0)]}}
    assert [each.pace for each in plan.compare(record)] == ["not planned"]
    assert [each.pace for each in plan.compare(record, [expected("restore", 4.0)])] == ["over"]
    assert [each.pace for each in plan.compare({}, [expected("restore", 4.0)])] == ["not run"]


# --- the published schema, and the plans of this repository ---


def test_the_published_schema_is_current():
    """If not: write json.dumps(plan.json_schema(), indent=2) and a line break to both files."""
    current = json.dumps(plan.json_schema(), indent=2, ensure_ascii=False) + "\n"
    assert (ROOT / "docs/schemas/plan-v1.json").read_text() == current
    assert plan.SCHEMA_FILE.read_text() == current
    Draft202012Validator.check_schema(json.loads(current))


@pytest.mark.parametrize("path", [SAMPLE, OWN], ids=["sample", "own"])
def test_the_plans_of_this_repository_are_sound_by_loader_and_schema(path):
    found = plan.load(path)
    assert [str(doubt) for doubt in found.doubts()] == []
    as_written = as_text(path.read_text())
    assert list(Draft202012Validator(plan.json_schema()).iter_errors(as_written)) == []


def test_the_schema_refuses_what_the_loader_refuses():
    errors = Draft202012Validator(plan.json_schema()).iter_errors(
        as_text(altered("rto: 3 days,", "rot: 3 days,").replace("version: 1.10", ""))
    )
    assert {error.validator for error in errors} == {"additionalProperties", "required"}


@pytest.mark.parametrize(
    ("name", "figures"),
    [
        # seed by seed: tiers and environments, kinds of object and urgencies, levels, scenarios
        ("tier/critical", ("1h", "15m")), ("tier/high", ("4h", "1h")), ("tier/medium", ("1d", "1d")),
        ("tier/low", ("3d", "7d")), ("environment/production", ("1h", "15m")), ("environment/staging", ("4h", "1h")),
        ("object/secrets", (None, "24h")), ("object/configuration maps", (None, "24h")),
        ("object/volume data", (None, "24h")), ("object/cluster settings", (None, "7d")),
        ("urgency/high", ("1h", None)), ("urgency/medium", ("4h", None)), ("urgency/low", ("24h", None)),
        ("level/1", ("15m", None)), ("level/2", ("1h", None)), ("level/3", ("2h", None)), ("level/4", ("4h", "24h")),
        ("scenario/namespace deleted", ("1h", "24h")), ("scenario/volume lost", ("2h", "24h")),
        ("scenario/cluster lost", ("4h", "24h")), ("scenario/node lost", ("5m", None)),
        ("scenario/cluster lost, second one stands by", ("15m", "1h")), ("scenario/data centre lost", ("4h", "12h")),
    ],
)  # fmt: skip
def test_the_sample_has_the_objectives_that_teams_publish(name, figures):
    group, _, one = name.partition("/")
    found = plan.load(SAMPLE).objectives[group][one]
    wanted = Objective(*figures)
    assert (found.rto, found.rpo) == (wanted.rto, wanted.rpo)


def test_the_sample_uses_every_field_and_names_every_class():
    found = plan.load(SAMPLE)
    as_written = as_text(SAMPLE.read_text())
    used: dict[str, set[str]] = {}

    def note(part, kind):
        used.setdefault(kind, set()).update(part)

    note(as_written, "Plan")
    for group in as_written["objectives"].values():
        for one in group.values():
            note(one, "Promise")
    for kind, parts in (("Backup", as_written["backups"]), ("Procedure", as_written["procedures"])):
        for one in parts.values():
            note(one, kind)
    for one in as_written["procedures"].values():
        for each in one["steps"]:
            note(each, "Step")
    note(as_written["defaults"], "Said")
    note(as_written["defaults"]["scope"], "Scope")
    for one in as_written["drills"].values():
        note(one, "Entry")
    for kind, fields in used.items():
        known = {field.alias or name for name, field in getattr(plan, kind).model_fields.items()}
        missing = known - fields - (set(as_written["defaults"]) if kind == "Entry" else set())
        assert missing <= {"note", "why"}, kind
    named = {name for entry in found.drills.values() for name in entry.objective}
    assert {group.partition("/")[0] for group in named} == set(found.objectives) - {"tier"}
    assert date(2026, 12, 1) in {entry.next for entry in found.entries}


# --- the recovery point that the plan promises at worst ---


@pytest.mark.parametrize(
    ("classes", "backup", "worst_s"),
    [
        ("[a/backed up]", "[daily, hourly]", 86400.0),  # of several that it restores from the oldest one
        ("[a/backed up]", "[hourly]", 3600.0),
        ("[a/backed up]", "[continuous]", 0.0),
        ("[a/backed up, a/rarer]", "[]", 900.0),  # none named: as often as the classes that hold say, the stricter one
        ("[a/silent]", "[]", None),
    ],
)
def test_how_old_the_newest_backup_may_be_by_the_plan(classes, backup, worst_s):
    text = f"""
schema: pytest-drills/plan/v1
version: "1"
updated: 2026-11-21
system: x
objectives:
  a:
    backed up: {{rto: 1h, rpo: 1d, backup_every: 15m}}
    rarer: {{rto: 1h, rpo: 1d, backup_every: 1h}}
    silent: {{rto: 1h}}
backups:
  daily: {{what: x, schedule: 0 4 * * *, retention: 7 days}}
  hourly: {{what: x, every: 1h, retention: 7 days}}
  continuous: {{what: x, every: continuous, retention: 7 days}}
drills:
  shop_is_restored: {{objective: {classes}, backup: {backup}, disposable: [cache, shop/thumbnails]}}
"""
    entry = plan.parse(text).entries[0]
    expected = None if worst_s is None else {"worst_s": worst_s, "backups": [*entry.backup]}
    assert entry.planned_point() == expected
    assert entry.disposable == ("cache", "shop/thumbnails")


@pytest.mark.parametrize("text", ["0", "0s", "every 0 h"])
def test_every_zero_is_not_continuous(text):
    with pytest.raises(ValueError, match="expected continuous for a stream of changes, or more than 0"):
        plan._interval(text)
    assert plan._interval("continuous") == timedelta(0)


@pytest.mark.parametrize(("cron", "days"), [("0 0 * * 1/2", 3), ("0 0 * * 1-7/2", 2), ("0 0 * * 5/1", 6)])
def test_a_step_over_weekdays_has_no_second_sunday(cron, days):
    assert plan._schedule(cron).longest_gap == timedelta(days=days)
