import json
import shutil
import subprocess
from datetime import UTC, date, datetime, timedelta

import pytest
import typer
from typer.testing import CliRunner

from drills import runs, signoff
from drills.clock import FakeClock
from drills.errors import EnvironmentFailed, UsageError
from drills.record import write_atomically
from drills.signoff import actions, sign_off
from drills.signoff_commands import register
from drills.standing import OWN_SIGN_OFF, sign_offs
from drills.validation import validate_run

from .samples import COMPLETE, Story, write_run

SHORT = {"steady_s": 4.0, "bad_until_s": 3.0, "after_s": 4.0, "backup_before_s": 1.0, "extra": COMPLETE}
DAY = timedelta(days=1)
BEGAN = Story.began
ACCEPTED = ("--by", "Ana Ito", "--role", "reviewer")

app = typer.Typer()
register(app)


def drills(*arguments):
    """Run the command as `drills` does; a refusal is left in `exception`."""
    return CliRunner().invoke(app, [str(argument) for argument in arguments])


@pytest.fixture(scope="module")
def kept(tmp_path_factory):
    evidence = tmp_path_factory.mktemp("kept")
    write_run(evidence, Story(**SHORT), Story(**SHORT, name="etcd_wipe"))
    return evidence


@pytest.fixture
def evidence(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "evidence", symlinks=True)


@pytest.fixture
def run_dir(evidence):
    return (evidence / "latest").resolve()


@pytest.fixture
def clock():
    return FakeClock(utc=BEGAN + DAY)


@pytest.fixture
def sign(run_dir, clock):
    def sign(run=run_dir, **fields):
        clock.advance(1)
        return sign_off(run, **{"by": "Ana Ito", "role": "reviewer", "clock": clock, **fields})

    return sign


def test_a_sign_off_is_added_and_logged_and_changes_nothing_else(evidence, run_dir, sign):
    before = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    first = sign(issues=["nobody was paged"], actions=["page Bo; owner=Bo Lind; due=2026-12-31"], comment="good")
    line = (run_dir / "sign-offs.jsonl").read_bytes()
    second = sign(decision="noted", drill="etcd_wipe")
    after = {path: path.read_bytes() for path in run_dir.rglob("*") if path.is_file()}
    assert after.pop(run_dir / "sign-offs.jsonl").startswith(line)
    assert after == before
    assert sign_offs(run_dir) == [first, second]
    assert first.records.keys() == {"namespace_deletion/record.json", "etcd_wipe/record.json"}
    assert second.records.keys() == {"etcd_wipe/record.json"}
    *_, one, two = runs.entries(evidence / runs.LOG)
    assert (one["event"], one["run"], one["sha256"]) == ("sign-off", run_dir.name, signoff._sha256(line[:-1]))
    assert (two["event"], two["drill"]) == ("sign-off", "etcd_wipe")
    assert runs.verify(evidence / runs.LOG) == []
    assert signoff.problems(run_dir) == []
    assert validate_run(run_dir).complete


@pytest.mark.parametrize(
    ("fields", "said"),
    [
        ({"decision": "maybe"}, "--decision: found 'maybe', accepted: accepted, rejected, noted"),
        ({"by": " "}, "--by: found nothing"),
        ({"role": ""}, "--role: found nothing"),
        ({"issues": [""]}, "--issue: found nothing"),
        ({"drill": "moon"}, "--drill: found 'moon', accepted: etcd_wipe, namespace_deletion"),
        ({"supplied": ["colour=red"]}, "--meta: found the key 'colour', accepted: participants, approver"),
        ({"supplied": ["approver=Eve"]}, "--meta, approver: found 'Eve', accepted: as "),
        ({"by": "BO LIND"}, "--by: found 'BO LIND', who ran it, accepted: somebody else, or --same-person"),
        ({"supplied": ["participants=Ana Ito (operator)"]}, "--by: found 'Ana Ito', who ran it"),
        ({"key": signoff.Path("/no/key")}, "--key: found no file /no/key"),
        ({"actions": ["owner=Bo; due=2026-12-31"]}, "--action, text: found nothing"),
        ({"actions": ["page; due=2026-12-31"]}, "--action, owner: found nothing in"),
        ({"actions": ["page; owner=Bo"]}, "--action, due: found nothing in"),
        ({"actions": ["page; owner=Bo; due=soon"]}, "--action, due: found 'soon', accepted: a date as 2026-12-31"),
        ({"actions": ["page; owner=Bo; due=2026-12-31; state=half"]}, "--action, state: found 'half'"),
        ({"actions": ["page; owner=Bo; owner=Di; due=2026-12-31"]}, "--action, owner: found twice"),
        (
            {"actions": ["page; owner=Bo; dew=2026-12-31"]},
            "--action: found 'dew=2026-12-31', accepted: one of id, owner",
        ),
        ({"actions": ["page; owner=Bo; due=2026-12-31; state=done"]}, "found done for a new action, accepted: open"),
        ({"actions": ["page; id=x-1; owner=Bo; due=2026-12-31"]}, "--action, id: found 'x-1', accepted: none"),
    ],
)
def test_what_is_refused_is_named_and_leaves_nothing_behind(evidence, run_dir, sign, fields, said):
    log = (evidence / runs.LOG).read_bytes()
    with pytest.raises(UsageError) as refused:
        sign(**fields)
    assert said in str(refused.value)
    assert not (run_dir / "sign-offs.jsonl").exists()
    assert (evidence / runs.LOG).read_bytes() == log


def test_the_operator_may_sign_off_when_that_is_said_and_it_is_noted_as_a_deviation(run_dir, sign):
    sign(by="Bo Lind", same_person=True, supplied=["deviations=held a day late"])
    (one,) = sign_offs(run_dir)
    assert one.meta == {"deviations": f"held a day late; {OWN_SIGN_OFF}"}
    assert validate_run(run_dir).complete
    assert sign(by="Bo Lind", decision="noted").meta == {}, "a remark is no sign-off"
    assert sign(same_person=True).meta == {}, "somebody else deviates from nothing"


def test_a_record_that_was_changed_since_is_not_signed_off(run_dir, sign):
    path = run_dir / "etcd_wipe" / "record.json"
    write_atomically(path, {**json.loads(path.read_text()), "why": "better"})
    with pytest.raises(UsageError, match="found changed since its run ended"):
        sign()
    sign(drill="namespace_deletion")


def test_a_record_that_sealing_took_a_secret_out_of_is_as_good(evidence, run_dir, sign):
    name, manifest = "etcd_wipe/record.json", run_dir / "manifest.json"
    path = run_dir / name
    write_atomically(path, {**json.loads(path.read_text()), "notes": ["[redacted]"]})
    write_atomically(manifest, {"files": [{"path": name, "sha256": signoff._sha256(path.read_bytes())}]})
    with pytest.raises(UsageError, match="found changed since its run ended"):
        sign()  # a manifest that the log does not know vouches for nothing
    digest = signoff._sha256(manifest.read_bytes())
    runs.append(evidence / runs.LOG, {"event": "seal", "run": run_dir.name, "manifest_sha256": digest})
    assert sign().records[name] == signoff._sha256(path.read_bytes())


def test_a_run_that_never_ended_is_not_accepted(evidence, run_dir, sign):
    log = evidence / runs.LOG
    log.write_text(log.read_text().splitlines()[0] + "\n")
    with pytest.raises(UsageError, match="a run that never ended"):
        sign()
    assert sign(decision="rejected").decision == "rejected"


def test_half_a_line_of_a_killed_writer_is_named(run_dir, sign):
    sign()
    path = run_dir / "sign-offs.jsonl"
    path.write_bytes(path.read_bytes()[:-1] + b'\n{"utc"')
    with pytest.raises(UsageError, match=r"sign-offs\.jsonl"):
        sign()


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda lines: [lines[0].replace(b"good", b"fine"), lines[1]], "1: found a line that the log does not know"),
        (lambda lines: lines[:1], "found no line with the digest"),
        (lambda lines: [lines[0] + b"\r", lines[1]], "1: found a line that the log does not know"),
        (lambda lines: [*lines, lines[0].replace(b"Ana", b"Eva")], "3: found a line that the log does not know"),
    ],
)
def test_a_line_edited_removed_or_put_in_afterwards_shows(run_dir, sign, change, said):
    sign(comment="good")
    sign(decision="noted")
    path = run_dir / "sign-offs.jsonl"
    path.write_bytes(b"".join(line + b"\n" for line in change(path.read_bytes().split(b"\n")[:-1])))
    problems = signoff.problems(run_dir)
    assert any(said in problem for problem in problems), problems
    assert drills("validate", run_dir).exit_code == 1


def test_sign_offs_that_no_log_vouches_for_show(evidence, run_dir, sign):
    sign()
    (evidence / runs.LOG).unlink()
    (problem,) = signoff.problems(run_dir)
    assert "log.jsonl: found nothing" in problem


@pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="ssh-keygen is not installed")
def test_a_sign_off_can_be_signed_with_a_key_of_ones_own(run_dir, sign, tmp_path):
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", key], check=True)
    one = sign(key=key)
    assert one.signature.startswith("-----BEGIN SSH SIGNATURE-----")
    assert signoff._signature_problems(one) == []
    path = run_dir / "sign-offs.jsonl"
    path.write_text(path.read_text().replace("reviewer", "director"))
    assert any("the signature does not fit" in problem for problem in signoff.problems(run_dir))


def test_a_missing_ssh_keygen_is_the_environments_fault(run_dir, sign, tmp_path, monkeypatch):
    (tmp_path / "key").touch()
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(EnvironmentFailed, match="ssh-keygen is not installed"):
        sign(key=tmp_path / "key")
    assert not (run_dir / "sign-offs.jsonl").exists()


# Corrective actions


RAISED = "page Bo, who is on call; owner=Bo Lind; due=2026-12-31"


@pytest.fixture
def raised(sign):
    (action,) = sign(issues=["nobody was paged"], actions=[RAISED]).actions
    return action.id


def held_later(evidence, clock, **story):
    clock.advance(DAY.total_seconds())
    return write_run(evidence, Story(**{**SHORT, **story}, began=clock.now().utc))


def test_an_action_is_raised_and_stated_anew(evidence, run_dir, sign, raised):
    assert raised == f"{run_dir.name[-4:]}-1"
    (one,) = actions(evidence)
    assert (one.action.text, one.action.owner, one.action.due) == ("page Bo, who is on call", "Bo Lind", "2026-12-31")
    assert (one.action.state, one.run, one.drill) == ("open", run_dir.name, None)
    second, third = sign(actions=[RAISED, RAISED], decision="noted", drill="etcd_wipe").actions
    assert [second.id[-2:], third.id[-2:]] == ["-2", "-3"]
    sign(actions=[f"id={raised}; due=2027-01-31"], decision="noted")
    first, *others = actions(evidence)
    assert (first.action.due, first.action.owner, first.action.text) == ("2027-01-31", "Bo Lind", one.action.text)
    assert [other.drill for other in others] == ["etcd_wipe", "etcd_wipe"]
    assert first.raised_utc == one.raised_utc


def test_an_action_is_overdue_after_its_day_and_never_when_done(evidence, clock, sign, raised):
    (one,) = actions(evidence)
    assert not one.overdue(date(2026, 12, 31))
    assert one.overdue(date(2027, 1, 1))
    retest = held_later(evidence, clock)
    sign(retest, actions=[f"id={raised}; state=done; retest={retest.name}/namespace_deletion"])
    (one,) = actions(evidence)
    assert one.action.state == "done"
    assert not one.overdue(date(2027, 1, 1))


def test_an_action_is_done_only_when_a_later_drill_shows_that_it_helped(evidence, run_dir, clock, sign, raised):
    def refused(retest):
        with pytest.raises(UsageError) as refusal:
            sign(actions=[f"id={raised}; state=done; retest={retest}"])
        return str(refusal.value)

    assert "--action, retest: found nothing" in refused("")
    assert "no record of a drill 'moon'" in refused("moon")
    assert "no record of a drill '../x'" in refused("../x")
    assert f"no record of a drill '{run_dir.name}/moon'" in refused(f"{run_dir.name}/moon")
    assert "before the action was raised" in refused(f"{run_dir.name}/etcd_wipe")
    missed = held_later(evidence, clock, rto_s=1.0)
    assert f"{raised} stays open: {missed.name}/namespace_deletion was MISSED" in refused(
        f"{missed.name}/namespace_deletion"
    )
    sabotaged = held_later(evidence, clock, sabotage=("procedure",))
    assert "was sabotaged on purpose" in refused(f"{sabotaged.name}/namespace_deletion")
    assert [one.action.state for one in actions(evidence)] == ["open"]

    met = held_later(evidence, clock)
    sign(actions=[f"id={raised}; state=done; retest={met.name}/namespace_deletion"])
    assert signoff.problems(run_dir) == []
    shutil.rmtree(met)
    (problem,) = signoff.problems(run_dir)
    assert f"{raised} is no longer done: there is no record" in problem


# The commands


def test_the_commands_on_a_run_from_end_to_end(evidence, run_dir):
    incomplete = drills("validate", "latest", "--evidence-dir", evidence)
    assert incomplete.exit_code == 1
    assert incomplete.output.splitlines()[0] == f"MET: {run_dir.name}, evidence incomplete"
    assert "  missing: sign-off.by: who reviewed the results" in incomplete.output
    assert "  MET, INCOMPLETE: etcd_wipe" in incomplete.output

    late = "page Bo; owner=Bo Lind; due=2026-11-30"
    signed = drills("sign-off", run_dir.name, "--evidence-dir", evidence, *ACCEPTED, "--action", late)
    assert signed.exit_code == 0, signed.output
    assert f"accepted: {run_dir.name} by Ana Ito (reviewer)" in signed.output
    assert f"action {run_dir.name[-4:]}-1, open: page Bo (Bo Lind, due 2026-11-30)" in signed.output
    complete = drills("validate", run_dir)
    assert complete.exit_code == 0
    assert complete.output.splitlines() == [
        f"MET: {run_dir.name}, evidence complete",
        "  MET, PASSED: etcd_wipe",
        "  MET, PASSED: namespace_deletion",
    ]
    as_json = json.loads(drills("validate", "all", "--evidence-dir", evidence, "--json").output)
    assert [(each["run"], each["complete"], each["verdict"]) for each in as_json] == [(run_dir.name, True, "MET")]


def test_actions_are_listed_and_overdue_ones_marked(evidence, sign, raised):
    none = drills("actions", "--evidence-dir", evidence.parent)
    assert (none.exit_code, none.output) == (0, "no actions\n")
    due = datetime.now(UTC).date()
    sign(actions=[f"drill it; owner=Di; due={due - DAY}", f"write it; owner=Di; due={due}"], decision="noted")
    listed = drills("actions", "--evidence-dir", evidence)
    assert listed.exit_code == 1
    lines = listed.output.splitlines()
    (late,) = [line for line in lines if "OVERDUE" in line and "drill it" in line]
    assert "Di" in late
    assert not [line for line in lines if "OVERDUE" in line and "write it" in line]
    as_json = json.loads(drills("actions", "--evidence-dir", evidence, "--json", "--open").output)
    assert [one["overdue"] for one in as_json if one["owner"] == "Di"] == [True, False]
    refused = drills("actions", "--evidence-dir", evidence / "none")
    assert isinstance(refused.exception, UsageError)


def test_a_missed_run_says_so_on_its_first_line_also_when_complete(tmp_path):
    run_dir = write_run(tmp_path, Story(**SHORT), Story(**{**SHORT, "rto_s": 1.0}, name="etcd_wipe"))
    late = ("--action", "faster disks; owner=Bo; due=2026-12-31")
    assert drills("sign-off", run_dir, *ACCEPTED, *late).exit_code == 0
    complete = drills("validate", run_dir)
    assert complete.exit_code == 0
    assert complete.output.splitlines()[0] == f"MISSED, 1 of 2 drills: {run_dir.name}, evidence complete"
    assert "  MISSED, FAILED: etcd_wipe" in complete.output


@pytest.mark.parametrize("which", ["moon", "."])
def test_a_run_that_is_none_is_refused(evidence, which, monkeypatch):
    monkeypatch.chdir(evidence)
    refused = drills("validate", which, "--evidence-dir", evidence)
    assert isinstance(refused.exception, UsageError)
    assert "accepted: " in str(refused.exception)


# What audit frameworks ask of a record (docs/evidence.md, "Complete"), and the field that says it
UNION = {
    "record id": ["id"],
    "sequence number": ["sequence"],
    "plan, with its digest": ["plan", "plan.path", "plan.sha256", "plan.entry"],
    "runbook, with its digest": ["runbook", "runbook_sha256"],
    "scope": ["meta.scope", "meta.scope.systems", "meta.scope.data", "meta.scope.third_parties"],
    "environment": ["environment", "environment.kind"],
    "type": ["meta.type"],
    "scenario": ["scenario", "title"],
    "objectives, with their source": ["objective", "objective.rto_s", "objective.rpo_s", "objective.source"],
    "planned date, approver, approval time": ["meta.planned_on", "meta.approver", "meta.approved_on"],
    "participants and roles": ["meta.participants", "meta.participants.0.role", "meta.participants.0.name"],
    "tester independence": ["meta.independence"],
    "start and end": ["started_utc", "ended_utc", "run:started_utc", "run:ended_utc"],
    "timeline": ["phases", "procedure", "procedure.steps", "procedure.steps.0.started_s", "fault.issued_utc"],
    "clock source": ["clock_source", "clock_source.durations", "clock_source.stamps", "clock"],
    "disaster": ["fault", "fault.name", "fault.target", "fault.proof"],
    "backup used": ["backup", "backup.name", "backup.taken_utc"],
    "achieved": ["achieved", "achieved.rta_s", "achieved.rpa_s"],
    "how measured": ["probe", "history", "history.sha256"],
    "error bound": ["achieved.rta_low_s", "achieved.rta_high_s"],
    "integrity": ["losses", "losses.read", "checks", "checks.0.expected", "checks.0.got", "achieved.writes.lost"],
    "deviations, aborts, reruns": ["deviations", "failure", "attempt", "sabotage"],
    "relaxed controls": ["relaxed_controls"],
    "verdict": ["verdict", "why"],
    "control ids": ["controls"],
    "tool versions": ["harness", "harness.version", "run:packages", "run:engine", "run:engine.version", "run:images"],
    "who, where, with what": ["run:run", "run:user", "run:host", "run:command", "run:commit"],
    "reviewer and sign-off": ["signed:by", "signed:role", "signed:utc", "signed:decision"],
    "issues": ["signed:issues"],
    "corrective actions": [
        f"signed:actions{rest}" for rest in ("", ".0.text", ".0.owner", ".0.due", ".0.state", ".0.retest")
    ],
}


@pytest.fixture(scope="module")
def complete(tmp_path_factory):
    run_dir = write_run(tmp_path_factory.mktemp("complete"), Story(**SHORT, lost=1))
    late = ("--issue", "nobody was paged", "--action", RAISED)
    assert drills("sign-off", run_dir, *ACCEPTED, *late).exit_code == 0
    assert drills("validate", run_dir).exit_code == 0
    return run_dir


@pytest.mark.parametrize("path", [path for paths in UNION.values() for path in paths])
def test_each_field_of_the_union_that_is_taken_out_is_named_with_exit_code_1(complete, path):
    where, _, name = path.rpartition(":")
    files = {"": "namespace_deletion/record.json", "run": "run.json", "signed": "sign-offs.jsonl"}
    file = complete / files[where]
    whole = file.read_bytes()
    data = json.loads(whole)
    *outer, last = name.split(".")
    place = data
    for key in outer:
        place = place[int(key)] if key.isdigit() else place[key]
    del place[last]
    try:
        file.write_text(json.dumps(data))
        found = drills("validate", complete)
    finally:
        file.write_bytes(whole)
    assert found.exit_code == 1, found.output
    named = [line for line in found.output.splitlines() if line.startswith(("  invalid: ", "  missing: "))]
    said = f"run.{name}" if where == "run" else name  # or, of a group, what it holds
    assert any(f" {each}{end}" in line for each in (said, name) for end in ":." for line in named), found.output


def test_meta_why_may_be_the_runs(complete):
    # The one field with two places: the record's own, or the reason given for the whole run.
    record, about = complete / "namespace_deletion" / "record.json", complete / "run.json"
    kept = {path: path.read_bytes() for path in (record, about)}
    try:
        data = json.loads(kept[record])
        del data["meta"]["why"]
        record.write_text(json.dumps(data))
        assert drills("validate", complete).exit_code == 0
        about.write_text(json.dumps({**json.loads(kept[about]), "why": ""}))
        assert "missing: meta.why: why it was held" in drills("validate", complete).output
    finally:
        for path, content in kept.items():
            path.write_bytes(content)


@pytest.mark.parametrize(
    ("file", "change", "said"),
    [
        ("namespace_deletion/record.json", {"verdict": "PASSED"}, 'verdict: found "PASSED", accepted: enum'),
        ("namespace_deletion/record.json", {"id": "r/other"}, "id: found 'r/other', accepted: "),
        ("run.json", {"packages": ["pytest"]}, 'packages: found ["pytest"], accepted: type "object"'),
        ("sign-offs.jsonl", {"decision": "maybe"}, 'decision: found "maybe", accepted: enum'),
        ("sign-offs.jsonl", {"run": "another"}, "run: found 'another', accepted: "),
        ("run.json", "{", "found unreadable"),
        ("namespace_deletion/record.json", None, "namespace_deletion/record.json: found unreadable"),
    ],
)
def test_what_is_invalid_is_named_by_file_field_found_and_accepted(complete, file, change, said):
    path = complete / file
    whole = path.read_bytes()
    try:
        if change is None:
            path.unlink()
        elif isinstance(change, str):
            path.write_text(change)
        else:
            path.write_text(json.dumps({**json.loads(whole), **change}))
        found = drills("validate", complete)
    finally:
        path.write_bytes(whole)
    assert found.exit_code == 1
    assert f"  invalid: {file}" in found.output
    assert said in found.output


def test_a_run_without_a_record_is_not_complete(tmp_path):
    run = runs.Run.start(tmp_path)
    run.end()
    found = validate_run(run.directory)
    assert (found.complete, found.verdict) == (False, "INCONCLUSIVE")
    assert found.invalid == ["found no record of a drill, accepted: at least one"]
