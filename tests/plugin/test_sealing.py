"""How a session seals its run: after the reports, with the workers' secrets taken out, and never hiding a verdict."""

import json
import subprocess

import matplotlib as mpl
import pytest
from drills.reports import index

from drills import genuine, keys, plan_commands
from drills.signoff import sign_off

pytest_plugins = ["pytester"]

DRILL = """
from pathlib import Path

from drills.redaction import keep_secret

@pytest.mark.drill(rto={rto!r})
def test_outage(drill, service, request):
    secret = keep_secret("correct-" + "horse-battery")
    drill.holds(service.probe(), within=5)
    with drill.disruption(Unplugged(service), damage_within=5), drill.recovery("plug it in with " + secret):
        service.up = True
    (drill.directory / "cluster.log").write_text("password: " + secret)
"""


@pytest.fixture(autouse=True)
def _surroundings(monkeypatch):
    monkeypatch.setenv("MPLCONFIGDIR", mpl.get_cachedir())  # in a new home matplotlib would search all fonts again
    monkeypatch.delenv("XDG_CONFIG_HOME", raising=False)
    monkeypatch.delenv("DRILL_KEY_DIR", raising=False)


@pytest.mark.parametrize("arguments", [(), ("-n", "1")], ids=["plain", "xdist"])
def test_a_session_ends_with_a_sealed_run_without_its_secrets(session_of, pytester, arguments):
    session = session_of(DRILL.format(rto="30s"), *arguments, reports=True)
    assert session.code == 0, session.output
    assert [entry["event"] for entry in session.log] == ["start", "end", "seal"]
    found = genuine.check_evidence(session.evidence)
    assert found.problems == []
    manifest = json.loads((session.run / "manifest.json").read_text())
    listed = {each["path"] for each in manifest["files"]}
    assert {"run.json", "report.html", "junit.xml", "outage/record.json"} <= listed, "the reports are sealed too"
    assert manifest["redacted"] == ["outage/cluster.log"]
    assert [
        path for path in session.evidence.rglob("*") if path.is_file() and b"horse-battery" in path.read_bytes()
    ] == []
    assert "plug it in with [redacted]" in (session.run / "report.html").read_text()
    assert "REDACTED a secret was taken out of outage/cluster.log" in session.output
    note = session.evidence / "checkpoints/3.note"
    assert f"sealed; keep a copy somewhere else: {note}" in session.output
    done = subprocess.run(["sh", session.run / "verify.sh"], capture_output=True, text=True, check=False)
    assert done.stdout.splitlines()[-1] == "VERIFIED", done.stdout
    # Made in the user's configuration when first needed; pytester gives the session a home of its own.
    assert keys.PublicKeys.load(pytester.path / ".config/pytest-drills/keys").ids == found.signers[0].ids


@pytest.mark.parametrize(("rto", "code", "verdict"), [("30s", 3, "MET"), ("1ms", 1, "MISSED")])
def test_a_stamp_that_fails_is_told_and_hides_no_verdict(session_of, rto, code, verdict):
    session = session_of(DRILL.format(rto=rto), "--drill-tsa=http://127.0.0.1:1/", reports=True)
    assert session.code == code
    assert session.records["outage"]["verdict"] == verdict
    assert "SEALED, BUT no time stamp: time stamp: http://127.0.0.1:1/" in session.output
    assert genuine.check_evidence(session.evidence).problems == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [(["--drill-keys=none"], "keys: found no directory none"),
     (["--drill-keys=open"], "run.pem open to group or others"),
     (["--drill-tsa=nowhere"], "--drill-tsa: found 'nowhere'"),
     (["--drill-evidence-bucket=nowhere"], "--drill-evidence-bucket: found 'nowhere'")],
)  # fmt: skip
def test_what_a_run_cannot_be_sealed_with_is_refused_before_it_begins(session_of, project, arguments, said):
    (keys.make(project.path / "open") / "run.pem").chmod(0o644)
    session = session_of(DRILL.format(rto="30s"), *arguments)
    assert session.code == pytest.ExitCode.USAGE_ERROR
    assert said in session.output
    assert not session.evidence.exists()


LEARNT_LATE = """
from drills.redaction import keep_secret

@pytest.mark.drill(rto="30s")
def test_outage(drill, service):
    drill.holds(service.probe(), within=5)
    with drill.disruption(Unplugged(service), damage_within=5), drill.recovery("plug it in with correct-horse-battery"):
        service.up = True
    (drill.directory / {name!r}).touch()

def test_what_comes_later_says_that_it_was_a_secret():
    keep_secret("correct-" + "horse-battery")
"""


@pytest.mark.parametrize("sealed", [True, False])
def test_a_record_that_lost_a_secret_at_the_end_is_the_one_that_the_log_names(session_of, sealed):
    # No manifest can name a file whose name has two lines.
    session = session_of(LEARNT_LATE.format(name="notes" if sealed else "two\nlines"), reports=True)
    assert session.counts["passed"] == 2, session.output
    assert ("SEAL FAILED" in session.output) is not sealed
    record = session.run / "outage/record.json"
    assert "plug it in with [redacted]" in record.read_text()
    assert index.read(session.evidence).contradictions == []
    held = plan_commands.held_drills(session.evidence)
    assert (len(held.held), held.problems) == (1, ())
    assert sign_off(session.run, by="Ana Reyes", role="reviewer", decision="accepted").records
    if sealed:
        redacted = json.loads((session.run / "manifest.json").read_text())["redacted"]
        assert {"outage/record.json", "outage/history.jsonl"} <= set(redacted)
