"""The table of attacks: what somebody does to the evidence, what should notice it, and what did.

One row is one attack. Each is made for real, on evidence of four sealed runs, and both verifiers are asked, with and
without a checkpoint that was kept somewhere else: `drills verify` and verify.sh. What they say must be what the row
says. docs/verify.md has this table: `python -m tests.attacks docs/verify.md` writes it there.
"""

import hashlib
import json
import shutil
from base64 import b64decode
from collections.abc import Callable
from dataclasses import dataclass
from enum import StrEnum

from drills import checkpoint, keys, runs, seal
from drills.clock import FakeClock

from ..unit.sealing import MISSED, SHORT
from .scene import LATE, Scene, one_more


class Outcome(StrEnum):
    """What a verifier did."""

    FAILED = "yes"
    SAID = "said"
    UNNOTICED = "**no**"


FAILED, SAID, UNNOTICED = Outcome.FAILED, Outcome.SAID, Outcome.UNNOTICED


@dataclass(frozen=True)
class Attack:
    """One row.

    Attributes:
        name: what is done, in words.
        key: whether it takes the team's private keys.
        should: what should notice it.
        do: does it.
        alone: what both verifiers do without an older checkpoint.
        older: what they do with one.
        says: what `drills verify` prints, in part.
        script: what verify.sh prints, in part.

    """

    name: str
    key: bool
    should: str
    do: Callable[[Scene], None]
    alone: Outcome
    older: Outcome
    says: str = ""
    script: str = ""


ATTACKS: list[Attack] = []


def attack(
    name: str, should: str, says: str = "", script: str = "", *,
    key: bool = False, alone: Outcome = FAILED, older: Outcome = FAILED,
) -> Callable[[Callable[[Scene], None]], Callable[[Scene], None]]:  # fmt: skip
    def row(do: Callable[[Scene], None]) -> Callable[[Scene], None]:
        ATTACKS.append(Attack(name, key, should, do, alone, older, says, script or says))
        return do

    return row


# --- the log, without the key ---

CHAIN = "the chain of the log"
ONCE = "one start, end and seal a run"
DATES = "the dates in the log"
NOTES = "the checkpoints beside the log"
MANIFEST = "the manifest"
SIGNATURE = "a signature"
END = "the digests in the log's END entry"
FIRST = "the run's first entries in the log"
OLDER = "an older checkpoint"
NOTHING = "nothing can: see below"


@attack("edits a verdict in the log", CHAIN, "does not follow the line before it")
def _(scene):
    scene.log.write_bytes(scene.log.read_bytes().replace(b'"late": "MISSED"', b'"late": "MET"'))


@attack("edits a verdict in the log, and chains the rest again", NOTES, "saw other entries among the first")
def _(scene):
    entries = scene.entries()
    for entry in entries:
        if entry["event"] == "end" and entry["run"] == scene.missed.name:
            entry["verdicts"] = {LATE: "MET"}
    scene.write_chained(entries)


@attack("takes a run out of the middle of the log", CHAIN, "does not follow the line before it")
def _(scene):
    gone = scene.missed
    scene.write([line for line in runs.lines(scene.log) if gone.name.encode() not in line])
    shutil.rmtree(gone)


@attack("takes a run out of the middle, and chains the rest again", NOTES, "the newest were cut off")
def _(scene):
    gone = scene.missed
    scene.write_chained([entry for entry in scene.entries() if entry["run"] != gone.name])
    shutil.rmtree(gone)


@attack("cuts off the newest entries", NOTES, "the newest were cut off")
def _(scene):
    kept = runs.lines(scene.log)[:6]
    for run in scene.ids[2:]:
        shutil.rmtree(scene.evidence / run)
    scene.write(kept)


@attack(
    "cuts off the newest runs, with all that was made of them", OLDER,
    script="the newest were cut off", alone=UNNOTICED, says="the newest were cut off",
)  # fmt: skip
def _(scene):
    for run in scene.ids[2:]:
        shutil.rmtree(scene.evidence / run)
    scene.write(runs.lines(scene.log)[:6])
    scene.without_checkpoints(above=6)


@attack("copies an entry of the log", CHAIN, "does not follow the line before it")
def _(scene):
    lines = runs.lines(scene.log)
    scene.write([*lines[:3], lines[0], *lines[3:]])


@attack("exchanges two entries", CHAIN, "does not follow the line before it")
def _(scene):
    lines = runs.lines(scene.log)
    scene.write([*lines[:6], lines[9], *lines[7:9], lines[6], *lines[10:]])


@attack("dates an entry back, and chains the rest again", DATES, "before the entry above it")
def _(scene):
    entries = scene.entries()
    entries[7]["utc"] = "2026-01-01T00:00:00.000Z"
    scene.write_chained(entries)


@attack(
    "says a field twice in an entry, so that readers differ", "the form of the log", "twice", "says one thing twice"
)
def _(scene):
    scene.write_chained(scene.entries())
    lines = runs.lines(scene.log)
    scene.write(
        [line.replace(b'{"late": "MISSED"}', b'{"late": "MISSED"}, "verdicts": {"late": "MET"}') for line in lines]
    )


@attack("adds a second end, which was met", ONCE, "ended a second time", "a second end of run")
def _(scene):
    scene.add("end", scene.missed.name, **{**scene.digests(scene.missed), "verdicts": {LATE: "MET"}})


@attack("adds a second start", ONCE, "started a second time", "a second start of run")
def _(scene):
    scene.add("start", scene.missed.name, run_json_sha256="0" * 64)


@attack("adds a second seal, of another manifest", ONCE, "was sealed a second time", "a second seal of run")
def _(scene):
    scene.add("seal", scene.missed.name, manifest_sha256="0" * 64)


@attack("adds an end of a run that never started", ONCE, "without having started", "which did not start or end before")
def _(scene):
    scene.add("end", "20261121T093306Z-0bad", verdicts={"x": "MET"}, records={})


@attack("adds an entry, dated back", DATES, "before the entry above it")
def _(scene):
    scene.add("sign-off", scene.met.name, utc="2026-01-01T00:00:00.000Z", drill=None, sha256="0" * 64)


@attack("puts a line into the log that is no entry", "the form of the log", "not an entry")
def _(scene):
    scene.log.write_bytes(scene.log.read_bytes() + b"met, all of them\n")


@attack("leaves half a line at the end of the log", "the form of the log", "half an entry", "holds half a line")
def _(scene):
    with scene.log.open("ab") as file:
        file.write(b'{"seq": 14, "prev": "')


@attack(
    "adds start and end of a copied run that was met", "that nobody sealed it", "was never sealed", "was never sealed",
    alone=SAID, older=SAID,
)  # fmt: skip
def _(scene):
    copy = scene.copy_as(scene.met, "20261130T120000Z-0bad")
    scene.unsealed(copy)
    scene.add("start", copy.name, run_json_sha256="0" * 64)
    scene.add("end", copy.name, **scene.digests(copy))


@attack(
    "adds start, end and seal of a copied, sealed run", MANIFEST,
    "the directory 20261130T120000Z-0bad holds the run", "the directory 20261130T120000Z-0bad holds the run",
)  # fmt: skip
def _(scene):
    copy = shutil.copytree(scene.met, scene.evidence / "20261130T120000Z-0bad")
    scene.add("start", copy.name, run_json_sha256="0" * 64)
    scene.add("end", copy.name, **scene.digests(copy))
    scene.add("seal", copy.name, manifest_sha256=hashlib.sha256((copy / "manifest.json").read_bytes()).hexdigest())


@attack("puts another log in place of this one", NOTES, "is of another log")
def _(scene):
    other = Scene(scene.place / "other", scene.team, scene.place)
    one_more(other)
    one_more(other)
    shutil.copy(other.log, scene.log)


@attack(
    "removes the newest checkpoints",
    NOTES,
    "the checkpoint that its sealing made is gone",
    "the checkpoint that the newest seal made is gone",
)
def _(scene):
    scene.without_checkpoints(above=9)


@attack(
    "puts a checkpoint of another log beside this one",
    NOTES,
    "not signed by a trusted key",
    "checkpoints/14.note is not of 14 entries",
)
def _(scene):
    other = Scene(scene.place / "other", scene.team, scene.place)
    one_more(other)
    note, _made = checkpoint.make(other.evidence, keys.load(scene.mallory()))
    for suffix in ("", ".sig"):
        shutil.copy(f"{note}{suffix}", scene.evidence / f"checkpoints/14.note{suffix}")


# --- the files of a run, without the key ---


@attack("edits a record", MANIFEST, "changed: late/record.json")
def _(scene):
    path = scene.missed / LATE / "record.json"
    path.write_text(path.read_text().replace("MISSED", "MET"))


@attack("edits a history", MANIFEST, "changed: late/history.jsonl")
def _(scene):
    path = scene.missed / LATE / "history.jsonl"
    path.write_text(path.read_text().replace('"ok": false', '"ok": true'))


@attack("removes a record", MANIFEST, "missing: late/record.json")
def _(scene):
    (scene.missed / LATE / "record.json").unlink()


@attack("adds a file", MANIFEST, "added: late/review.txt")
def _(scene):
    (scene.missed / LATE / "review.txt").write_text("all was well\n")


@attack("puts a link in place of a file", MANIFEST, "changed: report.html")
def _(scene):
    (scene.missed / "report.html").rename(scene.place / "report.html")
    (scene.missed / "report.html").symlink_to(scene.place / "report.html")


@attack("writes a file's name in capitals", MANIFEST, "missing: late/record.json")
def _(scene):
    (scene.missed / LATE / "record.json").rename(scene.missed / LATE / "RECORD.json")


@attack("adds a file whose name is two listed ones, with a line end between", MANIFEST, r"added: run.json\nreport.html")
def _(scene):
    (scene.missed / "run.json\nreport.html").write_text("x")


@attack("adds a file whose name ends in a line end and VERIFIED", MANIFEST, r"added: x\nVERIFIED")
def _(scene):
    (scene.missed / "x\nVERIFIED").write_text("x")


@attack("adds a file whose name hides itself on a terminal", MANIFEST, "FAILED: ")
def _(scene):
    (scene.missed / "x\x1b[1A\x1b[2K\u202eVERIFIED").write_text("x")


@attack("puts an older run that was met in place of this one", MANIFEST, "holds the run")
def _(scene):
    name = scene.missed
    shutil.rmtree(name)
    shutil.copytree(scene.met, name)


@attack("removes the directory of a run", FIRST, "its directory is gone")
def _(scene):
    shutil.rmtree(scene.missed)


@attack("puts a link to another run in place of this one", FIRST, "its directory is gone")
def _(scene):
    missed = scene.missed
    shutil.rmtree(missed)
    missed.symlink_to(scene.met.name)


@attack("copies a run under another id", FIRST, "20261130T120000Z-0bad: is not in the log")
def _(scene):
    shutil.copytree(scene.met, scene.evidence / "20261130T120000Z-0bad")


@attack("copies a run under a name that is no id", FIRST, "quarterly: is not in the log")
def _(scene):
    shutil.copytree(scene.met, scene.evidence / "quarterly")


@attack("takes the seal off a run, and edits its record", FIRST, "missing: manifest.json")
def _(scene):
    missed = scene.missed
    scene.unsealed(missed)
    scene.better(missed)


@attack(
    "edits the record of a run that ended and was never sealed",
    END,
    "changed: late/record.json is not the one in the log's entry of its end",
)
def _(scene):
    run = one_more(scene, MISSED)
    scene.better(run)


@attack("removes what a run says of its place in the log", SIGNATURE, "missing: ")
def _(scene):
    for name in ("checkpoint.note", "checkpoint.note.sig", "entry.json", "proof"):
        (scene.missed / "seal" / name).unlink()


@attack(
    "puts the statements of another run into this one",
    SIGNATURE,
    "manifest.json is not the one that run.dsse.json is about",
)
def _(scene):
    for name in ("run.dsse.json", "run.sigstore.json", "recovery.dsse.json", "recovery.sigstore.json"):
        shutil.copy(scene.met / name, scene.missed / name)


@attack(
    "puts the checkpoint of another log into a run",
    SIGNATURE,
    "not signed by a trusted key",
    "the signature of seal/checkpoint.note does not hold",
)
def _(scene):
    other = Scene(scene.place / "other", scene.team, scene.place)
    one_more(other)
    note, _made = checkpoint.make(other.evidence, keys.load(scene.mallory()))
    for suffix in ("", ".sig"):
        shutil.copy(f"{note}{suffix}", scene.missed / f"seal/checkpoint.note{suffix}")


@attack("puts the time stamp of another file into a run", "the time stamp", "checkpoint.note.tsr")
def _(scene):
    shutil.copy(scene.newest / "seal/checkpoint.note.tsr", scene.missed / "seal/checkpoint.note.tsr")
    shutil.copy(scene.newest / "seal/checkpoint.note.tsr.sig", scene.missed / "seal/checkpoint.note.tsr.sig")


@attack(
    "edits a record, and seals all anew with keys of their own",
    "the published keys",
    "not trusted",
    "is not the key in",
)
def _(scene):
    scene.better(scene.missed)
    mallory = scene.mallory()
    for run in scene.ids:
        scene.unsealed(scene.evidence / run)
    ended = [entry for entry in scene.entries() if entry["event"] in ("start", "end")]
    for entry in ended:
        if entry["event"] == "end":
            entry |= scene.digests(scene.evidence / entry["run"])
    scene.write_chained(ended)
    scene.without_checkpoints()
    for run in dict.fromkeys(entry["run"] for entry in ended):
        seal.seal(scene.evidence / run, scene.evidence, seal.Options(keys=mallory))


@attack("puts other public keys into a run", SIGNATURE, "not trusted", "is not the key in")
def _(scene):
    keys.PublicKeys.load(scene.mallory()).write(scene.missed / "seal")


# --- sign-offs ---

SIGNED = "the log's entries of sign-offs"


@attack("edits what somebody signed off", SIGNED, "sign-offs.jsonl")
def _(scene):
    path = scene.missed / "sign-offs.jsonl"
    path.write_text(path.read_text().replace("rejected", "accepted"))


@attack("removes a sign-off", SIGNED, "sign-offs.jsonl")
def _(scene):
    path = scene.missed / "sign-offs.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0])


@attack("exchanges two sign-offs, as the last one decides", SIGNED, "sign-offs.jsonl")
def _(scene):
    path = scene.missed / "sign-offs.jsonl"
    path.write_text("".join(path.read_text().splitlines(keepends=True)[::-1]))


@attack("repeats an earlier sign-off, as the last one decides", SIGNED, "sign-offs.jsonl")
def _(scene):
    path = scene.missed / "sign-offs.jsonl"
    path.write_text(path.read_text() + path.read_text().splitlines(keepends=True)[0])


@attack("copies the sign-offs of another run", SIGNED, "sign-offs.jsonl")
def _(scene):
    shutil.copy(scene.missed / "sign-offs.jsonl", scene.met)


@attack(
    "adds a sign-off in somebody's name, and its entry", "that no checkpoint covers it",
    "in no checkpoint yet", "in no checkpoint", alone=SAID, older=SAID,
)  # fmt: skip
def _(scene):
    path = scene.missed / "sign-offs.jsonl"
    line = path.read_text().splitlines()[0].replace("Bo Lind", "Cy Ode")
    path.write_text(path.read_text() + line + "\n")
    scene.add("sign-off", scene.missed.name, drill=None, sha256=hashlib.sha256(line.encode()).hexdigest())


# --- with the key ---


@attack(
    "edits history and record, adds a second end and seal, and makes a new checkpoint",
    ONCE,
    "ended a second time",
    "a second end of run",
    key=True,
)
def _(scene):
    missed = scene.missed
    scene.better(missed)
    scene.add("end", missed.name, **scene.digests(missed))
    scene.seal_again(missed, scene.team)


@attack(
    "edits a record, and adds a second seal that calls it redacted",
    ONCE,
    "was sealed a second time",
    "a second seal of run",
    key=True,
)
def _(scene):
    missed = scene.missed
    scene.better(missed)
    scene.seal_again(missed, scene.team, ("late/record.json", "run.json"))


@attack("starts a run a second time, now met", ONCE, "started a second time", "a second start of run", key=True)
def _(scene):
    missed = scene.missed
    scene.better(missed)
    scene.add("start", missed.name, run_json_sha256="0" * 64)
    scene.add("end", missed.name, **scene.digests(missed))
    scene.seal_again(missed, scene.team)


@attack(
    "edits a record before the first seal, and calls it redacted",
    END,
    "named as redacted, and nothing in it is",
    key=True,
)
def _(scene):
    run = one_more(scene, MISSED)
    scene.better(run)
    seal.seal(run, scene.evidence, seal.Options(keys=scene.team), ["late/record.json", "run.json"])


@attack("does the same, and puts [redacted] into it", END, "does not say MISSED", key=True)
def _(scene):
    run = one_more(scene, MISSED)
    scene.better(run)
    for name in ("late/record.json", "run.json"):
        path = run / name
        path.write_text(json.dumps({**json.loads(path.read_text()), "more": "[redacted]"}, indent=2) + "\n")
    seal.seal(run, scene.evidence, seal.Options(keys=scene.team), ["late/record.json", "run.json"])


@attack(
    "does the same with the figures alone, not the verdict", "`drills recheck`, by the history",
    "a secret was taken out before it was sealed: late/record.json", "late/record.json was redacted",
    key=True, alone=SAID, older=SAID,
)  # fmt: skip
def _(scene):
    run = one_more(scene, MISSED)
    path = run / "late/record.json"
    record = json.loads(path.read_text())
    record["achieved"]["rpa_s"] = 0.0
    path.write_text(json.dumps({**record, "more": "[redacted]"}, indent=2) + "\n")
    seal.seal(run, scene.evidence, seal.Options(keys=scene.team), ["late/record.json"])


def _another_manifest(scene, change):
    missed = scene.missed
    scene.resign(missed, scene.team, change((missed / "manifest.json").read_bytes()))


@attack(
    "signs a manifest that says its verdict twice",
    "the form of the manifest",
    "in the form that it was written in",
    key=True,
)
def _(scene):
    _another_manifest(
        scene, lambda old: old.replace(b'"verdict":"MISSED",\n', b'"verdict":"MISSED",\n"verdict":"MET",\n')
    )


@attack("signs a manifest that lists a file outside of the run", MANIFEST, "missing: ../log.jsonl", key=True)
def _(scene):
    def change(old):
        about = json.loads(old)
        digest = hashlib.sha256(scene.log.read_bytes()).hexdigest()
        more = {"path": "../log.jsonl", "sha256": digest, "size": scene.log.stat().st_size}
        return seal.manifest_text(about, [*about["files"], more])

    _another_manifest(scene, change)


@attack("signs a manifest that lists a file twice, and edits the file", MANIFEST, "changed: ", key=True)
def _(scene):
    path = scene.missed / LATE / "record.json"
    path.write_text(path.read_text().replace("MISSED", "MET"))

    def change(old):
        about = json.loads(old)
        content = path.read_bytes()
        more = {"path": "late/record.json", "sha256": hashlib.sha256(content).hexdigest(), "size": len(content)}
        return seal.manifest_text(about, [*about["files"], more])

    _another_manifest(scene, change)


@attack("signs a manifest that leaves out an edited record", MANIFEST, "added: late/record.json", key=True)
def _(scene):
    scene.better(scene.missed)

    def change(old):
        about = json.loads(old)
        return seal.manifest_text(about, [each for each in about["files"] if each["path"] != "late/record.json"])

    _another_manifest(scene, change)


def _all_again(scene, left_out=(), place=None):
    """Write the log anew, and seal each run again, in the order of before."""
    kept = [run for run in scene.ids if run not in left_out]
    before = scene.entries()
    for run in kept:
        scene.unsealed(scene.evidence / run)
        (scene.evidence / run / "sign-offs.jsonl").unlink(missing_ok=True)
    scene.without_checkpoints()
    scene.log.unlink()
    for run in kept:
        for entry in before:
            if entry["run"] == run and entry["event"] in ("start", "end"):
                more = {name: value for name, value in entry.items() if name not in ("seq", "prev", "utc")}
                if entry["event"] == "end":
                    more |= scene.digests(scene.evidence / run)
                runs.append(scene.log, more)
        seal.seal(scene.evidence / run, scene.evidence, seal.Options(keys=place or scene.team))


@attack("writes all anew without the missed run", OLDER, "kept/", key=True, alone=UNNOTICED)
def _(scene):
    missed = scene.missed
    _all_again(scene, {missed.name})
    shutil.rmtree(missed)


@attack("writes all anew, the missed run judged again", OLDER, "kept/", key=True, alone=UNNOTICED)
def _(scene):
    scene.better(scene.missed)
    _all_again(scene)


@attack("cuts off the log before the missed run's end, and lets it end well", OLDER, "kept/", key=True, alone=UNNOTICED)
def _(scene):
    missed, newest = scene.missed, scene.newest
    scene.better(missed)
    (missed / "sign-offs.jsonl").unlink()
    shutil.rmtree(newest)
    scene.unsealed(missed)
    scene.write(runs.lines(scene.log)[:7])
    scene.without_checkpoints(above=6)
    runs.append(scene.log, {"event": "end", "run": missed.name, **scene.digests(missed)})
    seal.seal(missed, scene.evidence, seal.Options(keys=scene.team))


@attack(
    "dates a run back, and admits that the clock was behind",
    DATES,
    "the clock was",
    "the clock was behind, as it says",
    key=True,
    alone=SAID,
    older=SAID,
)
def _(scene):
    run = runs.Run.start(scene.evidence, clock=FakeClock())
    run.end()
    seal.seal(run.directory, scene.evidence, seal.Options(keys=scene.team))


@attack(
    "seals a run with a key that the team has withdrawn",
    "the published keys, without the withdrawn one",
    "not trusted",
    "is not the key in",
    key=False,
)
def _(scene):
    run = one_more(scene)
    seal.seal(run, scene.evidence, seal.Options(keys=scene.mallory()))


@attack("makes up a run that never took place, and seals it", NOTHING, key=True, alone=UNNOTICED, older=UNNOTICED)
def _(scene):
    seal.seal(one_more(scene), scene.evidence, seal.Options(keys=scene.team))


@attack("leaves a run out of the log from the start", NOTHING, key=True, alone=UNNOTICED, older=UNNOTICED)
def _(scene):
    other = Scene(scene.place / "elsewhere", scene.team, scene.place)
    seal.seal(one_more(other, MISSED), other.evidence, seal.Options(keys=scene.team))


@attack("begins another evidence directory, without the missed run", OLDER, "kept/", key=True, alone=UNNOTICED)
def _(scene):
    shutil.rmtree(scene.evidence)
    scene.evidence.mkdir()
    for _ in range(3):
        seal.seal(one_more(scene, SHORT), scene.evidence, seal.Options(keys=scene.team))


# --- what is signed of an honest run ---

CLAIMS = "run.json and the records"


@attack(
    "seals a missed run by a manifest that says MET", CLAIMS,
    "says MET, and the drills of run.json are MISSED together", key=True,
)  # fmt: skip
def _(scene):
    _another_manifest(scene, lambda old: old.replace(b'"verdict":"MISSED"', b'"verdict":"MET"'))


@attack(
    "edits the verdict in run.json alone before the first seal, and calls it redacted",
    END,
    "run.json does not have the verdicts of the log's entry of its end",
    key=True,
)
def _(scene):
    run = one_more(scene, MISSED)
    about = json.loads((run / "run.json").read_text())
    about |= {"verdicts": {LATE: "MET"}, "more": "[redacted]"}
    (run / "run.json").write_text(json.dumps(about, indent=2) + "\n")
    seal.seal(run, scene.evidence, seal.Options(keys=scene.team), ["run.json"])


@attack(
    "adds a drill that was met between a run's end and its seal",
    END,
    "added: namespace_deletion/record.json is not in the log's entry of its end",
    key=True,
)
def _(scene):
    run = one_more(scene, MISSED)
    shutil.copytree(scene.met / "namespace_deletion", run / "namespace_deletion")
    seal.seal(run, scene.evidence, seal.Options(keys=scene.team))


def _another_statement(scene, name, change):
    missed = scene.missed
    signed = json.loads(b64decode(json.loads((missed / f"{name}.dsse.json").read_text())["payload"]))
    digest = hashlib.sha256((missed / "manifest.json").read_bytes()).hexdigest()
    predicate = signed["predicate"]
    change(predicate)
    seal._sign_statement(missed, name, predicate, digest, keys.load(scene.team))


@attack(
    "signs a test result in which the missed drill passed", CLAIMS,
    "run.dsse.json does not say of late what the run does",
    "run.dsse.json says PASSED, and the run is MISSED", key=True,
)  # fmt: skip
def _(scene):
    _another_statement(
        scene, "run", lambda said: said.update(result="PASSED", passedTests=[LATE], warnedTests=[], failedTests=[])
    )


@attack(
    "signs what was achieved with another figure", CLAIMS,
    "recovery.dsse.json does not say of late, achieved,",
    "recovery.dsse.json does not have what late/record.json says was achieved", key=True,
)  # fmt: skip
def _(scene):
    _another_statement(scene, "recovery", lambda said: said["drills"][0]["achieved"].update(rta_s=0.5))


@attack(
    "signs a promise that the drill kept", CLAIMS,
    "recovery.dsse.json does not say of late, objective,",
    "recovery.dsse.json does not have what late/record.json says was promised", key=True,
)  # fmt: skip
def _(scene):
    _another_statement(scene, "recovery", lambda said: said["drills"][0]["objective"].update(rto_s=60.0))
