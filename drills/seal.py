"""Sealing a run: nothing in its directory can be changed, removed or added afterwards without it showing.

Every file is in manifest.json with its SHA-256; two signed statements are about that manifest; the log of all runs has
an entry with its digest; and a signed checkpoint says what that log is. verify.sh, in the pack, checks all of it with
openssl and ssh-keygen alone.
"""

from __future__ import annotations

import hashlib
import json
import os
from base64 import b64encode
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from string import Template
from typing import Any, Self

from drills import checkpoint, keys, offsite, parsing, runs, standing
from drills.clock import Clock, SystemClock, stamp
from drills.errors import DrillError, UsageError
from drills.keys import Keys
from drills.offsite import Bucket
from drills.record import load, write_atomically
from drills.redaction import SECRETS
from drills.standing import SIGN_OFFS, Standing
from drills.verdicts import Verdict, worst

MANIFEST_SCHEMA = "pytest-drills/manifest/v1"
STATEMENT = "https://in-toto.io/Statement/v1"
TEST_RESULT = "https://in-toto.io/attestation/test-result/v0.1"
# Names of ours identify, and lead nowhere: what they stand for is in docs/schemas.
RECOVERY = "https://pytest-drills.dev/recovery-objectives/v1"
PAYLOAD = "application/vnd.in-toto+json"
BUNDLE = "application/vnd.dev.sigstore.bundle.v0.3+json"
MANIFEST = "manifest.json"
PREDICATES: Mapping[str, str] = {"run": TEST_RESULT, "recovery": RECOVERY}
DIRECTORY = "seal"
NOTE = f"{DIRECTORY}/checkpoint.note"
ENTRY, PROOF = f"{DIRECTORY}/entry.json", f"{DIRECTORY}/proof"
TEMPLATES = Path(__file__).parent / "templates"
# What is made of the manifest, and so cannot be in it; and what people add later.
NOT_LISTED = frozenset(
    {MANIFEST, NOTE, f"{NOTE}.sig", f"{NOTE}.tsr", f"{NOTE}.tsr.sig", ENTRY, PROOF, SIGN_OFFS}
    | {f"{name}.{form}.json" for name in PREDICATES for form in ("dsse", "sigstore")}
)


@dataclass(frozen=True)
class Options:
    """How runs are sealed.

    Attributes:
        keys: the directory of the keys; None for the usual one.
        tsa: the address of a time-stamping authority, or None.
        bucket: where a copy goes, or None.

    """

    keys: Path | None = None
    tsa: str | None = None
    bucket: Bucket | None = None

    @classmethod
    def parse(cls, keys: str | None, tsa: str | None, bucket: str | None) -> Self:
        """Read the options `--drill-keys`, `--drill-tsa` and `--drill-evidence-bucket`; raises UsageError."""
        from drills import timestamps  # here: the time of a start is for those who stamp

        return cls(
            None if keys is None else Path(keys),
            None if tsa is None else timestamps.url_of(tsa),
            None if bucket is None else Bucket.parse(bucket),
        )


@dataclass(frozen=True)
class Sealed:
    """A run that was sealed.

    Attributes:
        run_dir: its directory.
        manifest_sha256: the digest of its manifest.
        checkpoint: the checkpoint of the log that has its entry; None if none could be made.
        redacted: the files that a secret was taken out of.
        copied: how many files were copied to the bucket.
        troubles: what was asked for beside the seal, and failed.

    """

    run_dir: Path
    manifest_sha256: str
    checkpoint: Path | None
    redacted: Sequence[str] = ()
    copied: int = 0
    troubles: Sequence[str] = field(default=())


def is_sealed(run_dir: Path) -> bool:
    """Whether a run was sealed, so that nothing may be written into its directory any more."""
    return (run_dir / MANIFEST).exists()


def redact(run_dir: Path) -> list[str]:
    """Take every secret known to `drills.redaction` out of a run's files, in every usual encoding.

    Returns:
        The files that had one, by path in the run.

    """
    redacted = []
    for name, path in files(run_dir):
        if path.is_symlink() or not path.is_file():
            continue  # which sealing makes a text of, or refuses
        content = path.read_bytes()
        clean = SECRETS.clean_bytes(content)
        if clean != content:
            write_atomically(path, clean)
            redacted.append(name)
    return _rename(run_dir, redacted)


def _rename(run_dir: Path, redacted: Sequence[str]) -> list[str]:
    """Take secrets out of the names of files and directories, the deepest first; gives `redacted` by the new names."""
    renamed: dict[Path, Path] = {}
    for place, below, names in os.walk(run_dir, topdown=False, onerror=_unreadable):
        for name in [*names, *below]:
            clean = SECRETS.clean(name)
            if clean != name:
                there = [Path(place, clean), *(Path(place, f"{clean}-{number}") for number in range(2, len(names) + 9))]
                target = next(path for path in there if not path.exists() and not path.is_symlink())
                Path(place, name).rename(target)
                renamed[Path(place, name)] = target
    if not renamed:
        return list(redacted)
    changed = {renamed.get(path, path) for path in map(run_dir.joinpath, redacted)} | set(renamed.values())
    for old, new in renamed.items():
        changed = {new / path.relative_to(old) if path.is_relative_to(old) else path for path in changed}
    return sorted(path.relative_to(run_dir).as_posix() for path in changed if path.is_file())


def seal(
    run_dir: Path,
    evidence_dir: Path,
    options: Options | None = None,
    redacted: Iterable[str] = (),
    clock: Clock | None = None,
) -> Sealed:
    """Seal a run that has ended and whose reports are written.

    Args:
        run_dir: the run's directory.
        evidence_dir: the evidence directory, with the log.
        options: keys, time stamp, copy.
        redacted: what `redact` found before the reports were written; the manifest names it.
        clock: for tests.

    Raises:
        UsageError: the run is sealed already, has no run.json, a file that no manifest can name, or the keys are unfit.
        EnvironmentFailed: a key management service does not sign.

    What fails after that, checkpoint, time stamp or copy, is in the result's `troubles`: the seal holds without it.
    """
    options = options or Options()
    clock = clock or SystemClock()
    log = evidence_dir / runs.LOG
    run = _run_json(run_dir)
    if any(entry.get("event") == "seal" and entry.get("run") == run["run"] for entry in runs.entries(log)):
        raise UsageError(f"seal: found {run_dir} sealed already, accepted: a run that is not")
    signing = keys.obtain(options.keys)
    _links_as_texts(run_dir)
    _files(run_dir)  # refuses what no manifest can name before anything is written
    redacted = sorted({*redacted, *redact(run_dir)})
    now = stamp(clock.now().utc)
    verdict = worst(Verdict(each) for each in run["verdicts"].values())
    _write_instructions(run_dir, signing, run["run"], verdict, now)
    manifest = manifest_of(run_dir, run["run"], verdict, now, redacted)
    write_atomically(run_dir / MANIFEST, manifest)
    digest = hashlib.sha256(manifest).hexdigest()
    records = _records(run_dir)
    standings = {name: _standing(records.get(name), run, run_dir) for name in sorted(run["verdicts"])}
    _sign_statement(run_dir, "run", _test_result(run_dir, records, standings), digest, signing)
    _sign_statement(run_dir, "recovery", _recovery(run, verdict, records, standings), digest, signing)
    entry = runs.append(log, {"event": "seal", "run": run["run"], "manifest_sha256": digest}, clock)

    troubles: list[str] = []
    made: Path | None = None
    copied: list[str] = []
    try:
        made = _checkpoint(run_dir, evidence_dir, int(entry["seq"]), signing)
        if options.tsa is not None:
            time_stamp(made, options.tsa, signing, run_dir)
    except DrillError as error:
        troubles.append(f"{'no time stamp' if made else 'no checkpoint'}: {error}")
    if options.bucket is not None:
        try:
            copied = offsite.copy(options.bucket, run_dir, evidence_dir, clock=clock)
        except DrillError as error:
            troubles.append(f"no whole copy: {error}")
    return Sealed(run_dir, digest, made, redacted, len(copied), troubles)


def manifest_of(run_dir: Path, run: str, verdict: str, sealed_utc: str, redacted: Sequence[str]) -> bytes:
    """Write the manifest of a run's files as they are now: JSON in one form only, a file a line, sorted by path.

    Raises:
        UsageError: a file's name cannot be written in a line of text, or it is neither file nor directory.

    """
    files = [
        {"path": name, "sha256": hashlib.sha256(path.read_bytes()).hexdigest(), "size": path.stat().st_size}
        for name, path in _files(run_dir)
        if name not in NOT_LISTED
    ]
    return manifest_text({"run": run, "verdict": verdict, "sealed_utc": sealed_utc, "redacted": redacted}, files)


def manifest_text(about: Mapping[str, Any], files: Iterable[Mapping[str, Any]]) -> bytes:
    """Give the one form that a manifest's content is written in, which is also the one that is accepted."""
    head = [f'"schema":{canonical(MANIFEST_SCHEMA)},']
    head += [f'"{key}":{canonical(about[key])},' for key in ("run", "verdict", "sealed_utc", "redacted")]
    lines = ",\n".join(canonical(each) for each in sorted(files, key=lambda each: str(each["path"])))
    return "\n".join(["{", *head, '"files":[', lines, "]}", ""]).encode()


def canonical(value: object) -> str:
    """Write JSON in one form only: keys sorted, no spaces."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def envelope_text(payload: str, keyid: str, signature: str) -> str:
    """Give the one form that a DSSE envelope is written in; payload and signature are Base64."""
    signatures = [{"keyid": keyid, "sig": signature}]
    return canonical({"payload": payload, "payloadType": PAYLOAD, "signatures": signatures})


def bundle_text(envelope: str, hint: str) -> str:
    """Give the one form that a Sigstore bundle (v0.3) with a public key is written in."""
    material = {"publicKey": {"hint": hint}, "tlogEntries": []}
    return canonical({"mediaType": BUNDLE, "dsseEnvelope": json.loads(envelope), "verificationMaterial": material})


def proof_text(index: int, path: Iterable[str]) -> bytes:
    """Give the form of seal/proof: the entry's index, and the hashes of its audit path in Base64."""
    return "\n".join([str(index), *path, ""]).encode()


def time_stamp(note: Path, url: str, signing: Keys, run_dir: Path | None = None) -> Path:
    """Have a checkpoint time-stamped: SIZE.note.tsr beside it, and copies in a run that is about to be sealed with it.

    Raises:
        EnvironmentFailed: the authority did not answer, or refused.
        NotGenuine: its answer does not hold.

    """
    from drills import timestamps  # here, as above

    reply = timestamps.stamp(url, note.read_bytes())
    path = note.with_name(f"{note.name}.tsr")
    write_atomically(path, reply)
    if run_dir is not None:
        write_atomically(run_dir / f"{NOTE}.tsr", reply)
        # Who has no certificate of the authority at hand still sees that this is the answer that came.
        write_atomically(run_dir / f"{NOTE}.tsr.sig", checkpoint.ssh_signature(reply, signing))
    return path


def _checkpoint(run_dir: Path, evidence: Path, index: int, signing: Keys) -> Path:
    """Make the checkpoint that has the run's entry, and put it into the run, with the proof that it has."""
    note, made = checkpoint.make(evidence, signing)
    lines = runs.lines(evidence / runs.LOG)[: made.size]
    write_atomically(run_dir / NOTE, note.read_bytes())
    write_atomically(run_dir / f"{NOTE}.sig", note.with_name(f"{note.name}.sig").read_bytes())
    write_atomically(run_dir / ENTRY, lines[index] + b"\n")
    path = (b64encode(each).decode() for each in checkpoint.proof(lines, index))
    write_atomically(run_dir / PROOF, proof_text(index, path))
    return note


def _sign_statement(run_dir: Path, name: str, predicate: Mapping[str, Any], digest: str, signing: Keys) -> None:
    statement = {
        "_type": STATEMENT,
        "subject": [{"name": MANIFEST, "digest": {"sha256": digest}}],
        "predicateType": PREDICATES[name],
        "predicate": predicate,
    }
    from securesystemslib.dsse import Envelope  # here, as above

    envelope = Envelope(canonical(statement).encode(), PAYLOAD, {})
    signature = signing.sign_run(envelope.pae())
    envelope.signatures[signature.keyid] = signature
    data = envelope.to_dict()
    text = envelope_text(data["payload"], signing.public.run_fingerprint, data["signatures"][0]["sig"])
    write_atomically(run_dir / f"{name}.dsse.json", text + "\n")
    write_atomically(run_dir / f"{name}.sigstore.json", bundle_text(text, signing.public.run_hint) + "\n")


Records = Mapping[str, Mapping[str, Any]]
"""The records of a run, by the name of their drills' directories."""


def _test_result(run_dir: Path, records: Records, standings: Mapping[str, Standing]) -> dict[str, Any]:
    """Say how the drills ended in the words of in-toto's test-result predicate.

    An objective that was met is a warning as long as something is missing that a person has to say, the sign-off
    included: consumers of this predicate take PASSED for a release.
    """
    passed = [name for name, each in standings.items() if each is Standing.PASSED]
    warned = [name for name, each in standings.items() if each is Standing.INCOMPLETE]
    failed = [name for name in standings if name not in {*passed, *warned}]
    used = {"run.json": _digest(run_dir / "run.json")}
    for record in records.values():
        if record.get("plan"):
            used[record["plan"]["path"]] = record["plan"]["sha256"]
        if record.get("runbook_sha256"):
            used[record["runbook"]] = record["runbook_sha256"]
    return {
        "result": "FAILED" if failed or not standings else "WARNED" if warned else "PASSED",
        "configuration": [{"name": name, "digest": {"sha256": digest}} for name, digest in used.items()],
        "passedTests": passed,
        "warnedTests": warned,
        "failedTests": failed,
    }


def _recovery(
    run: Mapping[str, Any], verdict: str, records: Records, standings: Mapping[str, Standing]
) -> dict[str, Any]:
    """Say what was promised and what was achieved: the predicate of docs/schemas/recovery-objectives-v1.json."""
    kept = ("objective", "achieved", "controls", "sabotage")
    return {
        "run": run["run"],
        "verdict": verdict,
        "started_utc": run["started_utc"],
        "ended_utc": run["ended_utc"],
        "drills": [
            {
                "drill": name,
                "verdict": run["verdicts"][name],
                "standing": each,
                **{key: records[name].get(key) if name in records else None for key in kept},
            }
            for name, each in standings.items()
        ],
    }


def _standing(record: Mapping[str, Any] | None, run: Mapping[str, Any], run_dir: Path) -> Standing:
    if record is None:
        return Standing.INCONCLUSIVE
    if record["sabotage"] and record["verdict"] == Verdict.MET:
        return Standing.FAILED  # met although something was left out: no tool may take it for recovery
    return standing.standing(record, run, standing.sign_offs(run_dir))


def _records(run_dir: Path) -> dict[str, dict[str, Any]]:
    found = {}
    for path in sorted(run_dir.glob("*/record.json")):
        try:
            found[path.parent.name] = load(path)
        except UsageError:
            continue  # a record that cannot be read proves nothing, and the run's verdicts say so
    return found


def _write_instructions(run_dir: Path, signing: Keys, run: str, verdict: str, now: str) -> None:
    script = (TEMPLATES / "verify.sh").read_bytes()
    write_atomically(run_dir / "verify.sh", script)
    text = Template((TEMPLATES / "VERIFY.md").read_text(encoding="utf-8")).substitute(
        verdict=verdict,
        run=run,
        sealed_utc=now,
        script_sha256=hashlib.sha256(script).hexdigest(),
        run_key=signing.public.run_id,
        checkpoint_key=signing.public.checkpoint_id,
    )
    write_atomically(run_dir / "VERIFY.md", text)
    signing.public.write(run_dir / DIRECTORY)


def _run_json(run_dir: Path) -> dict[str, Any]:
    try:
        run = parsing.json_object(parsing.read_bytes(run_dir / "run.json"))
        return {**run, "verdicts": dict(run.get("verdicts") or {})}
    except (OSError, ValueError, TypeError) as error:
        raise UsageError(f"seal: found {run_dir} without a run.json ({error}), accepted: a run's directory") from error


def files(run_dir: Path) -> list[tuple[str, Path]]:
    """List all that is in a run and is no directory, by path in the run with slashes, links not followed."""
    found = []
    for place, below, names in os.walk(run_dir, onerror=_unreadable):
        found += [Path(place, name) for name in names]
        found += [path for path in (Path(place, name) for name in below) if path.is_symlink()]
    return sorted((path.relative_to(run_dir).as_posix(), path) for path in found)


def _unreadable(error: OSError) -> None:
    raise error  # os.walk would pass over the directory, and its files would be sealed by nobody


def _files(run_dir: Path) -> list[tuple[str, Path]]:
    found = files(run_dir)
    for name, path in found:
        if not name.isprintable() or not path.is_file() or path.is_symlink():
            raise UsageError(f"seal: found {str(path)!r}, accepted: regular files with printable names")
    return found


def _links_as_texts(run_dir: Path) -> None:
    """Put where each symbolic link leads into a file in its place: what is elsewhere is no part of the evidence."""
    for _, path in files(run_dir):
        if path.is_symlink():
            target = path.readlink()
            path.unlink()
            write_atomically(path, f"symbolic link to {target}\n")


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()
