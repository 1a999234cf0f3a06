"""Evidence of four sealed runs, and what somebody who wants it to say something else has at hand."""

import hashlib
import json
import shutil
from base64 import b64decode, b64encode
from dataclasses import dataclass
from pathlib import Path

from drills import chain, checkpoint, keys, record, runs, seal, signoff
from drills.history import History

from ..unit.samples import Story, write_run
from ..unit.sealing import MISSED, SHORT, write_sealed
from ..unit.timestamping import Authority

LATE = "late"
"""The drill that missed its objective, in the third run."""


@dataclass(frozen=True)
class Scene:
    """What an attack is made on.

    Attributes:
        evidence: the evidence directory: four sealed runs, the third MISSED and signed off, the last stamped.
        team: the team's keys; only attacks with the key use the private ones.
        place: a directory of the attacker's own.

    """

    evidence: Path
    team: Path
    place: Path

    @property
    def log(self) -> Path:
        return self.evidence / runs.LOG

    @property
    def ids(self) -> list[str]:
        return list(chain.first(self.entries(), "start"))

    @property
    def missed(self) -> Path:
        return self.evidence / self.ids[2]

    @property
    def met(self) -> Path:
        return self.evidence / self.ids[0]

    @property
    def newest(self) -> Path:
        return self.evidence / self.ids[3]

    def entries(self) -> list[dict]:
        return runs.entries(self.log)

    def mallory(self) -> Path:
        """Keys that nobody published."""
        return keys.make(self.place / "mallory")

    # --- the log ---

    def write(self, lines: list[bytes]) -> None:
        self.log.write_bytes(b"".join(line + b"\n" for line in lines))

    def write_chained(self, entries: list[dict]) -> None:
        """Write the log anew, so that its chain holds."""
        lines: list[bytes] = []
        for number, entry in enumerate(entries):
            prev = hashlib.sha256(lines[-1]).hexdigest() if lines else chain.GENESIS
            rest = {name: value for name, value in entry.items() if name not in ("seq", "prev")}
            lines.append(json.dumps({"seq": number, "prev": prev, **rest}, ensure_ascii=False).encode())
        self.write(lines)

    def add(self, event: str, run: str, utc: str = "", **more: object) -> None:
        """Chain an entry to the log as it is."""
        newest = self.entries()[-1]["utc"]
        self.write_chained([*self.entries(), {"utc": utc or newest, "event": event, "run": run, **more}])

    def end_of(self, run: str) -> dict:
        return dict(chain.first(self.entries(), "end")[run])

    def without_checkpoints(self, above: int = 0) -> None:
        for note in checkpoint.notes(self.evidence):
            if int(note.stem) > above:
                for path in note.parent.glob(f"{note.name}*"):
                    path.unlink()

    # --- runs ---

    def copy_as(self, run: Path, name: str) -> Path:
        """Copy a run under another id, which its own files then name."""
        copy = shutil.copytree(run, self.evidence / name)
        for path in [copy / "run.json", *copy.glob("*/record.json")]:
            path.write_text(path.read_text().replace(run.name, name))
        return copy

    def better(self, run: Path) -> None:
        """Judge the missed drill again, by an objective that it has met."""
        path = run / LATE / "record.json"
        was = json.loads(path.read_text())
        was["objective"]["rto_s"] = 60.0
        again = record.rejudge(was, History.load(run / LATE / "history.jsonl"))
        assert again["verdict"] == "MET"
        record.write_atomically(path, again)
        about = json.loads((run / "run.json").read_text())
        record.write_atomically(run / "run.json", {**about, "verdicts": {LATE: "MET"}})

    def digests(self, run: Path) -> dict:
        """What an END entry says of a run as it is now."""
        found = {path.relative_to(run).as_posix(): sha(path) for path in sorted(run.glob("*/record.json"))}
        verdicts = {Path(name).parent.name: json.loads((run / name).read_text())["verdict"] for name in found}
        return {"verdicts": verdicts, "records": found, "run_json_sha256": sha(run / "run.json")}

    def unsealed(self, run: Path) -> None:
        for name in (*seal.NOT_LISTED - {"sign-offs.jsonl"}, "verify.sh", "VERIFY.md"):
            (run / name).unlink(missing_ok=True)
        shutil.rmtree(run / seal.DIRECTORY, ignore_errors=True)

    def seal_again(self, run: Path, place: Path, redacted: tuple[str, ...] = ()) -> None:
        """Seal a run that is in the log already, as `seal.seal` would if it did not refuse."""
        self.unsealed(run)
        kept = self.entries()
        self.write_chained([e for e in kept if not (e["event"] == "seal" and e["run"] == run.name)])
        self.without_checkpoints()
        seal.seal(run, self.evidence, seal.Options(keys=place), redacted)
        made = self.entries()[-1]
        self.write_chained([*kept, made])
        self.checkpoint_again(run, place)

    def checkpoint_again(self, run: Path, place: Path) -> None:
        """Make the checkpoint of the log as it is now, and put it and the run's last entry into the run."""
        self.without_checkpoints()
        note, made = checkpoint.make(self.evidence, keys.load(place))
        lines = runs.lines(self.log)
        for suffix in ("", ".sig"):
            shutil.copy(f"{note}{suffix}", run / f"{seal.NOTE}{suffix}")
        (run / seal.ENTRY).write_bytes(lines[-1] + b"\n")
        path = (b64encode(each).decode() for each in checkpoint.proof(lines, made.size - 1))
        (run / seal.PROOF).write_bytes(seal.proof_text(made.size - 1, path))

    def resign(self, run: Path, place: Path, manifest: bytes) -> None:
        """Sign another manifest for a run that is sealed, and write the log anew from its seal on."""
        (run / seal.MANIFEST).write_bytes(manifest)
        digest = hashlib.sha256(manifest).hexdigest()
        for name in seal.PREDICATES:
            payload = json.loads((run / f"{name}.dsse.json").read_text())["payload"]
            predicate = json.loads(b64decode(payload))["predicate"]
            seal._sign_statement(run, name, predicate, digest, keys.load(place))
        entries = self.entries()
        for entry in entries:
            if entry["event"] == "seal" and entry["run"] == run.name:
                entry["manifest_sha256"] = digest
        self.write_chained(entries)
        self.rest_again(place)

    def rest_again(self, place: Path) -> None:
        """After the log was written anew: a checkpoint of all of it, and each run's entry, proof and copy of it."""
        self.without_checkpoints()
        note, _ = checkpoint.make(self.evidence, keys.load(place))
        lines = runs.lines(self.log)
        for number, entry in enumerate(self.entries()):
            run = self.evidence / entry["run"]
            if entry["event"] == "seal" and run.is_dir():
                for suffix in ("", ".sig"):
                    shutil.copy(f"{note}{suffix}", run / f"{seal.NOTE}{suffix}")
                for path in (f"{seal.NOTE}.tsr", f"{seal.NOTE}.tsr.sig"):
                    (run / path).unlink(missing_ok=True)
                (run / seal.ENTRY).write_bytes(lines[number] + b"\n")
                path = (b64encode(each).decode() for each in checkpoint.proof(lines, number))
                (run / seal.PROOF).write_bytes(seal.proof_text(number, path))


def sha(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make(place: Path) -> tuple[Path, Path, Path]:
    """Make the evidence with the harness's own code; returns it, the team's keys, and the checkpoint kept elsewhere."""
    team, evidence = keys.make(place / "team"), place / "evidence"
    for story in (SHORT, SHORT, MISSED):
        write_sealed(evidence, team, story)
    (place / "tsa").mkdir()
    with Authority(place / "tsa") as authority:
        assert write_sealed(evidence, team, SHORT, tsa=authority.url).troubles == []
    missed = evidence / list(chain.first(runs.entries(evidence / runs.LOG), "start"))[2]
    for decision, who in (("accepted", "Bo Lind"), ("rejected", "Ana Ito")):
        signoff.sign_off(missed, by=who, role="head of operations", decision=decision)
    note, _ = checkpoint.make(evidence, keys.load(team))
    kept = place / "kept"
    kept.mkdir()
    for path in note.parent.glob(f"{note.name}*"):
        shutil.copy(path, kept)
    return evidence, team, kept / note.name


def one_more(scene: Scene, story: Story = SHORT) -> Path:
    """Begin and end one more run as the harness does; it is not sealed."""
    return write_run(scene.evidence, story)
